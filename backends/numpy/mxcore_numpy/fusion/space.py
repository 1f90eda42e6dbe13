"""The iteration space of a loop: the fewest dimensions in the order of memory, and tiles of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from mxcore.registry.bound import Order, Spec, plain_order

__all__ = ["Space", "Tiles", "majority", "padded", "same_order", "strides_in"]


def padded(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """A shape with ones in front.

    >>> padded((3,), 2)
    (1, 3)
    """
    return (1,) * (ndim - len(shape)) + tuple(shape)


def same_order(a: Order | None, b: Order | None, shape: Sequence[int]) -> bool:
    """Whether two orders are the same memory: axes of length 1 may stand anywhere.

    >>> same_order((0, 1, 2), (1, 0, 2), (4, 1, 3))
    True
    """
    return a is not None and b is not None and [x for x in a if shape[x] != 1] == [x for x in b if shape[x] != 1]


def majority(shape: tuple[int, ...], specs: Sequence[Spec]) -> Order:
    """The order in which most bytes of the operands of full size lie; C order if there is none.

    Between equals another order than C: what chose it for itself is likely to want it again.
    """
    votes: list[tuple[Order, int]] = []
    for spec in specs:
        if spec.shape == shape and spec.order is not None:
            for k, (order, weight) in enumerate(votes):
                if same_order(order, spec.order, shape):
                    votes[k] = order, weight + spec.nbytes
                    break
            else:
                votes.append((spec.order, spec.nbytes))
    plain = plain_order(len(shape))
    return max(votes, key=lambda v: (v[1], not same_order(v[0], plain, shape)))[0] if votes else plain


def strides_in(spec: Spec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of an operand along the axes of the space, in elements; 0 where it broadcasts."""
    lead = len(shape) - len(spec.shape)
    own = [s // spec.dtype.itemsize for s in spec.strides]
    return tuple(0 if axis < lead or spec.shape[axis - lead] == 1 else own[axis - lead] for axis in range(len(shape)))


class Space:
    """Dimensions of a loop.

    Parameters
    ----------
    shape, order
        Of the iteration space.
    strides
        Of each operand along the axes of ``shape`` (0: it broadcasts). Neighbouring axes become one dimension where they
        are one for every operand.

    Attributes
    ----------
    dims : tuple of int
        Lengths, slowest first.
    groups : tuple of tuple of int
        The axes that each is made of.

    >>> Space((4, 3, 5, 5), (0, 1, 2, 3), [(75, 25, 5, 1), (0, 1, 0, 0)]).dims
    (4, 3, 25)
    """

    def __init__(self, shape: tuple[int, ...], order: Order, strides: Sequence[tuple[int, ...]]) -> None:
        self.shape, self.order = shape, order
        groups: list[list[int]] = []
        for axis in order:
            if shape[axis] == 1:
                continue
            last = groups[-1][-1] if groups else None
            if last is not None and all(s[last] == s[axis] * shape[axis] for s in strides):
                groups[-1].append(axis)
            else:
                groups.append([axis])
        self.groups = tuple(map(tuple, groups)) or ((),)
        self.dims = tuple(prod(shape[a] for a in g) for g in self.groups)

    def spread(self, strides: tuple[int, ...]) -> tuple[bool, ...]:
        """Along which dimensions an operand has more than one element."""
        return tuple(any(strides[a] for a in g) for g in self.groups)


class Tiles(NamedTuple):
    """Tiles of about ``size`` elements: pieces of dimension ``axis``, for each place of the dimensions before it."""

    dims: tuple[int, ...]
    axis: int
    step: int

    @classmethod
    def cut(cls, dims: tuple[int, ...], size: int) -> Tiles:
        """Even pieces of the slowest dimension below which everything fits.

        >>> Tiles.cut((8, 1000), 2500)
        Tiles(dims=(8, 1000), axis=0, step=2)
        """
        axis = len(dims) - 1
        inner = 1
        while axis > 0 and inner * dims[axis] <= size:
            inner *= dims[axis]
            axis -= 1
        step = max(size // inner, 1)
        step = -(-dims[axis] // -(-dims[axis] // step))
        if step > 256:
            step = min(-(-step // 64) * 64, dims[axis])  # pieces begin where a cache line does
        return cls(dims, axis, step)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a whole tile."""
        return (self.step, *self.dims[self.axis + 1:])

    @property
    def pieces(self) -> int:
        """Along the dimension that is cut."""
        return -(-self.dims[self.axis] // self.step)

    @property
    def number(self) -> int:
        """Of all tiles."""
        return prod(self.dims[: self.axis]) * self.pieces

    @property
    def rest(self) -> int:
        """Length of the last piece."""
        return self.dims[self.axis] - (self.pieces - 1) * self.step

    def part(self, tile: int, spread: tuple[bool, ...]) -> tuple[int | slice, ...]:
        """Where an operand that is spread along these dimensions has its part of a tile."""
        tile, piece = divmod(tile, self.pieces)
        index: list[int | slice] = []
        for d in range(self.axis - 1, -1, -1):
            tile, at = divmod(tile, self.dims[d])
            index.append(at if spread[d] else 0)
        index.reverse()
        start = piece * self.step
        index.append(slice(start, start + self.step) if spread[self.axis] else slice(None))
        return tuple(index)
