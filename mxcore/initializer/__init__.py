"""Initializers: how the parameters of a network get their first values (``mx.init``).

An initializer is called with a parameter's name and its array, and fills the array. What it does follows from the end
of the name: ``_weight`` is filled by the initializer's own rule, ``_bias`` and ``_beta`` with zeros, ``_gamma`` with
ones. A variable that carries an ``__init__`` attribute is filled by the initializer named there instead.
"""

from ..registry import named as registry
from .base import InitDesc, Initializer, Load, Mixed, alias, create, register
from .rules import (
    Bilinear,
    Constant,
    FusedRNN,
    LSTMBias,
    MSRAPrelu,
    Normal,
    One,
    Orthogonal,
    Uniform,
    Xavier,
    Zero,
)

__all__ = [
    "Bilinear", "Constant", "FusedRNN", "InitDesc", "Initializer", "LSTMBias", "Load", "MSRAPrelu", "Mixed", "Normal",
    "One", "Orthogonal", "Uniform", "Xavier", "Zero", "alias", "create", "register", "registry",
]
