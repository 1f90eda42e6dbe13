"""Memory that kernels use again and again: fresh pages from the system cost as much as the arithmetic on them."""

import threading
from math import prod

import numpy as np

__all__ = ["scratch"]

_LARGEST = 1 << 24  # bytes that a thread keeps for one purpose


class _Kept(threading.local):
    def __init__(self) -> None:
        self.blocks: dict[str, np.ndarray] = {}


_KEPT = _Kept()


def scratch(purpose: str, shape: tuple, dtype: np.dtype) -> np.ndarray:
    """An array with undefined contents, valid until the next request of this thread for the same purpose.

    >>> scratch("doctest", (2, 3), np.dtype("float32")).shape
    (2, 3)
    """
    size = prod(shape) * dtype.itemsize
    if size > _LARGEST:
        return np.empty(shape, dtype)
    block = _KEPT.blocks.get(purpose)
    if block is None or block.nbytes < size:
        block = _KEPT.blocks[purpose] = np.empty(size, np.uint8)
    return block[:size].view(dtype).reshape(shape)
