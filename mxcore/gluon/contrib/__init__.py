"""Layers that MXNet keeps outside its core."""

from . import nn

__all__ = ["nn"]
