"""Layers and samplers that MXNet keeps outside its core."""

from . import data, nn, rnn

__all__ = ["data", "nn", "rnn"]
