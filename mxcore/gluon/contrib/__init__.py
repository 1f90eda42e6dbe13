"""Layers that MXNet keeps outside its core."""

from . import nn, rnn

__all__ = ["nn", "rnn"]
