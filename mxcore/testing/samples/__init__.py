"""Samples of the operators, a module for each module of :mod:`mxcore.ops`."""
