"""``xp`` of one device: the functions that kernels call, by NumPy's names."""

from __future__ import annotations

from typing import Any

from .creation import Creation
from .elementwise import Elementwise
from .indexing import Indexing
from .ordering import Ordering
from .products import Products
from .reductions import Reductions
from .shapes import Shapes

__all__ = ["Functions"]


class Functions(Creation, Elementwise, Shapes, Reductions, Products, Indexing, Ordering):
    """All of :data:`mxcore.runtime.backend.XP`, and what Python's operators need, on ``machine``."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine

    def __deepcopy__(self, memo: Any) -> Functions:
        return self
