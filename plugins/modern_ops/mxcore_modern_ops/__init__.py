"""Operators that came after MXNet: ``mish``, ``rms_norm``."""
