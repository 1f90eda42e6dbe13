"""The memory plan of a program: which values share which bytes of one block, by the times at which they are alive."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

__all__ = ["Block", "Cell", "Pool", "assign"]

_ALIGNMENT = 64  # a cache line, and the width of a vector register


@dataclass
class Cell:
    """Memory for one value, or for several that follow each other in place.

    ``first`` and ``last`` are the numbers of the steps that write it first and read it last.
    """

    nbytes: int
    first: int
    last: int
    offset: int = 0


def assign(cells: list[Cell]) -> int:
    """Give each cell an offset so that no two overlap in time and space; returns the size of the block.

    Large ones first, each at the lowest place that is free for its whole life (greedy by size: Pisarchyk & Lee 2020,
    *Efficient Memory Management for Deep Neural Net Inference*).
    """
    placed: list[Cell] = []
    total = 0
    for cell in sorted(cells, key=lambda c: (-c.nbytes, c.first)):
        size = _aligned(cell.nbytes)
        offset = 0
        for other in placed:  # in the order of their offsets
            if other.last < cell.first or cell.last < other.first:
                continue
            if offset + size <= other.offset:
                break
            offset = max(offset, other.offset + _aligned(other.nbytes))
        cell.offset = offset
        total = max(total, offset + size)
        placed.append(cell)
        placed.sort(key=lambda c: c.offset)
    return total


def _aligned(n: int) -> int:
    return -(-n // _ALIGNMENT) * _ALIGNMENT


class Block:
    """Memory of a device, and the arrays that plans have laid out in it."""

    __slots__ = ("__weakref__", "memory", "nbytes", "templates")

    def __init__(self, memory: Any, nbytes: int) -> None:
        self.memory, self.nbytes = memory, nbytes
        self.templates: weakref.WeakKeyDictionary[Any, list] = weakref.WeakKeyDictionary()


class Pool:
    """Blocks of one device that are free. A block belongs to whoever took it until it is given back.

    There is no lock: a block may come back from a finalizer, which runs in the middle of anything, :meth:`take` included.
    Each operation on the list is atomic, and whoever removes a block from it has the block.
    """

    #: free blocks kept at most
    KEEP = 4

    def __init__(self, backend: Any, index: int) -> None:
        self.backend, self.index = backend, index
        self._free: list[Block] = []

    def take(self, nbytes: int, plan: Any) -> Block:
        """A block of at least that size; one in which ``plan`` is laid out already is preferred."""
        fitting = [b for b in self._free.copy() if nbytes <= b.nbytes <= 2 * nbytes + 4096]
        for block in sorted(fitting, key=lambda b: (plan not in b.templates, b.nbytes)):
            try:
                self._free.remove(block)
            except ValueError:  # another thread was faster
                continue
            return block
        return Block(self.backend.block(nbytes, self.index), nbytes)

    def give(self, block: Block) -> None:
        """Take a block back."""
        self._free.append(block)
        del self._free[: -self.KEEP]

    def clear(self) -> None:
        """Let go of all free blocks."""
        self._free.clear()
