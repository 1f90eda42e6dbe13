"""How a loop goes through memory: its dimensions, what each operand does along them, and how the work is cut.

The work is cut into *units*: some dimensions are enumerated, at most one is cut into pieces, and over the others a unit
loops. Units go to *shares*, which threads take one by one; what a share computes does not depend on who takes it.

Where the fastest dimensions are so short that vector instructions would find little to do, they are a *group* that is
gone through together with the dimension before it, some hundred elements at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from mxcore.registry.bound import Order, Spec, plain_order
from mxcore.registry.loop import Loop, Reduction
from mxcore_numpy.fusion.space import Space, Tiles, strides_in

__all__ = ["Cut", "Operand", "Shape"]

_TILE, _LEAST = 1 << 15, 1 << 11  #: elements of a unit, at most and at least
_RUN = 64  #: elements that should lie together when dimensions are gone through in another order
_BYTE = np.dtype("u1")


@dataclass(frozen=True)
class Operand:
    """An array: ``kind`` is in, out, or sum; strides in elements along the dimensions, 0 where it has one element."""

    kind: str
    number: int
    spec: Spec
    strides: tuple[int, ...]

    @property
    def spread(self) -> tuple[bool, ...]:
        """Along which dimensions it has more than one element."""
        return tuple(s != 0 for s in self.strides)


@dataclass(frozen=True)
class Cut:
    """Which dimensions units enumerate, which one is cut, and into pieces of how many elements."""

    units: tuple[int, ...]
    axis: int | None
    step: int
    nest: tuple[int, ...]  #: dimensions that a unit loops over, the one that is cut among them
    group: tuple[int, ...] = ()  #: short ones at the end

    def pieces(self, dims: Sequence[int]) -> int:
        """Of the dimension that is cut."""
        return 1 if self.axis is None else -(-dims[self.axis] // self.step)

    def count(self, dims: Sequence[int]) -> int:
        """Of units."""
        return prod(dims[d] for d in self.units) * self.pieces(dims)


class Shape:
    """Dimensions and operands of a loop.

    Parameters
    ----------
    loop : Loop
    ins, outs : sequence of Spec
        As the arrays will lie in memory.
    order : Order
        In which the loop goes through memory.
    threads : int
        That may share the work.

    Attributes
    ----------
    dims : tuple of int
        Lengths, slowest first.
    operands : list of Operand
    """

    def __init__(self, loop: Loop, ins: Sequence[Spec], outs: Sequence[Spec], order: Order, threads: int,
                 used: Sequence[int]) -> None:
        self.loop = loop
        strides = [strides_in(ins[i], loop.shape) for i in used]
        strides += [_of_sum(loop.shape, r) if r else strides_in(s, loop.shape)
                    for s, r in zip(outs, loop.reductions, strict=True)]
        space = Space(loop.shape, order, strides)
        self.dims = space.dims
        names = [("in", i, ins[i]) for i in used]
        names += [("sum" if r else "out", j, s) for j, (s, r) in enumerate(zip(outs, loop.reductions, strict=True))]
        self.operands = [Operand(*name, tuple(own[g[-1]] if g else 0 for g in space.groups))
                         for name, own in zip(names, strides, strict=True)]
        self.sums = [o for o in self.operands if o.kind == "sum"]
        self.cut = self._cut(threads)

    def _cut(self, threads: int) -> Cut:
        dims = self.dims
        group = self._group()
        rows = dims[: len(dims) - len(group)]
        last = len(rows) - 1
        size = prod(dims)
        tile = min(_TILE, max(size // (8 * threads), _LEAST))
        if self.sums:
            apart = self._apart(tile, threads, group)
            if apart is not None:
                return apart
        tiles = Tiles.cut(rows, max(tile // (size // prod(rows)), 1))
        step = tiles.step if tiles.axis < last or group else min(-(-tiles.step // 64) * 64, dims[last])
        return Cut(tuple(range(tiles.axis)), tiles.axis, step, tuple(range(tiles.axis, last + 1)), group)

    def _group(self) -> tuple[int, ...]:
        """The last dimensions that are short together."""
        dims, first = self.dims, len(self.dims)
        while first > 0 and prod(dims[first - 1:]) < _RUN:
            first -= 1
        return tuple(range(first, len(dims))) if first > 0 else ()

    def _apart(self, tile: int, threads: int, group: tuple[int, ...]) -> Cut | None:
        """A cut by which no two units add to one place, if it makes enough of them and memory is read in long runs."""
        dims, last = self.dims, len(self.dims) - 1
        kept = [d for d in range(last + 1) if all(o.strides[d] for o in self.sums)]
        if not kept or set(kept) & set(group):
            return None
        axis, step = None, 1
        if kept[-1] == last:
            axis, step = last, min(max(-(-min(tile, dims[last] // (4 * threads)) // 64) * 64, 4 * _RUN), dims[last])
            kept.pop()
            run = step
        else:
            run = prod(dims[kept[-1] + 1:])
        nest = tuple(d for d in range(last + 1) if d not in kept and d not in group)
        cut = Cut(tuple(kept), axis, step, nest, group)
        return cut if cut.count(dims) >= 4 * threads and run >= _RUN and nest else None

    def is_apart(self, o: Operand) -> bool:
        """Whether no two units add to one place of a sum."""
        cut = self.cut
        split = cut.axis is not None and cut.pieces(self.dims) > 1 and not o.strides[cut.axis]
        return all(o.strides[d] for d in cut.units) and not split


def _of_sum(shape: tuple[int, ...], r: Reduction) -> tuple[int, ...]:
    """Strides of a sum along the axes of the loop: it lies in plain order."""
    kept = Spec(tuple(1 if a in r.axes else n for a, n in enumerate(shape)), _BYTE, plain_order(len(shape)))
    return strides_in(kept, shape)
