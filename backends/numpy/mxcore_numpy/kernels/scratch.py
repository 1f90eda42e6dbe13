"""Memory that kernels use again and again: fresh pages from the system cost as much as the arithmetic on them."""

import threading
from collections import deque
from math import prod

import numpy as np

__all__ = ["lent", "scratch"]

_LARGEST = 1 << 24  # bytes that a thread keeps for one purpose


class _Kept(threading.local):
    def __init__(self) -> None:
        self.blocks: dict[str, np.ndarray] = {}


_KEPT = _Kept()


def _block(size: int) -> np.ndarray:
    """Memory that begins with a cache line: vectors across two lines cost twice."""
    memory = np.empty(size + 64, np.uint8)
    start = -memory.__array_interface__["data"][0] % 64
    return memory[start:start + size]


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
        block = _KEPT.blocks[purpose] = _block(size)
    return block[:size].view(dtype).reshape(shape)


#: blocks that nobody uses; the oldest one goes when there are too many
_FREE: deque[np.ndarray] = deque(maxlen=8)


class _Lease:
    """Memory that joins the free blocks when nothing refers to it any more."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: np.ndarray) -> None:
        self.block, self.__array_interface__ = block, block.__array_interface__

    def __del__(self) -> None:
        _FREE.append(self.block)


def lent(shape: tuple, dtype: np.dtype) -> np.ndarray:
    """An array with undefined contents whose memory is used again when the array and all views of it are gone.

    For large results of few sizes: what glibc gives for more than 32 MiB are fresh pages each time.

    >>> lent((2, 3), np.dtype("float32")).shape
    (2, 3)
    """
    size = prod(shape) * dtype.itemsize
    return np.asarray(_Lease(_free_block(size))).view(dtype).reshape(shape)


def _free_block(size: int) -> np.ndarray:
    for _ in range(len(_FREE)):
        try:
            block = _FREE.popleft()
        except IndexError:  # other threads took the rest
            break
        if block.nbytes == size:
            return block
        _FREE.append(block)
    return _block(size)
