"""Arrays between the order in which they come and the layout that a primitive wants.

oneDNN's reorders do the copying: they run on all threads and keep to whole cache lines, which makes them up to five
times as fast as a copy between NumPy arrays of different orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mxcore.registry.bound import Order, Spec

from .codes import Arg, moved_as
from .primitive import Call, Layout, address, aligned, layout_of, reorder

__all__ = ["Incoming", "Outgoing", "Packed", "Room", "WeightView", "same_places"]

_KEPT = 16  # kinds of strides for which an input keeps a prepared copy


class Room:
    """Makes memory for arrays of one kind, beginning with a cache line (vectors across two lines cost twice)."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._shape, self._dtype, self._strides, self._bytes = spec.shape, spec.dtype, spec.strides, spec.nbytes + 64

    def __call__(self) -> np.ndarray:
        block = np.empty(self._bytes, np.uint8)
        return np.ndarray(self._shape, self._dtype, block, -address(block) & 63, self._strides)


def same_places(strides: Sequence[int], wanted: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether two strides mean the same places."""
    return all(a == b or d == 1 for a, b, d in zip(strides, wanted, shape, strict=True))


def _regular(array: np.ndarray) -> bool:
    """Whether the strides are such as oneDNN takes: each goes past all places of the axes with smaller ones."""
    size = reach = array.dtype.itemsize
    for step, count in sorted(zip(array.strides, array.shape, strict=True)):
        if count > 1:
            if step < reach or step % size:
                return False
            reach = step * count
    return True


#: in place of a call: the strides are none that oneDNN takes
_BY_NUMPY: Any = object()


class Incoming:
    """An input in the memory order that is wanted: as it is, or a copy."""

    def __init__(self, spec: Spec, order: Order) -> None:
        wanted = Spec(spec.shape, spec.dtype, order)
        self._room, self._wanted = Room(wanted), wanted.strides
        self._calls: dict[tuple[int, ...], Any] = {}

    def __call__(self, array: np.ndarray) -> np.ndarray:
        strides = array.strides
        if strides == self._wanted:
            return array
        if strides not in self._calls:
            self._prepare(array)
        call = self._calls[strides]
        if call is None:
            return array
        copy = self._room()
        if call is not _BY_NUMPY:
            call(array, copy)
        else:
            copy[...] = array
        return copy

    def _prepare(self, array: np.ndarray) -> None:
        if len(self._calls) >= _KEPT:
            self._calls.clear()
        if same_places(array.strides, self._wanted, array.shape):
            call = None
        elif _regular(array):
            target = Layout(array.shape, moved_as(array.dtype), [s // array.dtype.itemsize for s in self._wanted])
            call = Call(reorder(layout_of(array, moved_as(array.dtype)), target), [Arg.SRC, Arg.DST])
        else:
            call = _BY_NUMPY
        self._calls[array.strides] = call


# ---------------------------------------------------------------- weights
class WeightView(NamedTuple):
    """A weight as a primitive sees it.

    Attributes
    ----------
    shape : tuple of int
        ``(F, C, *kernel)``, or ``(groups, F / groups, C / groups, *kernel)``.
    last : bool
        The operator's weight has its second axis at the end.
    turned : bool
        The primitive has the two axes of channels the other way round than the operator.
    """

    shape: tuple[int, ...]
    last: bool = False
    turned: bool = False

    def layout(self, array: np.ndarray) -> Layout:
        """The layout of the operator's weight."""
        size = array.dtype.itemsize
        steps = [s // size for s in array.strides]
        if self.last:
            steps = [steps[0], steps[-1], *steps[1:-1]]
        channels = 0
        if len(self.shape) > len(steps):
            channels = 1
            steps.insert(0, steps[0] * self.shape[2 if self.turned else 1])
        if self.turned:
            steps[channels], steps[channels + 1] = steps[channels + 1], steps[channels]
        return Layout(self.shape, array.dtype, steps)


class Packed:
    """A weight in the layout that a primitive reads."""

    def __init__(self, layout: Layout, view: WeightView) -> None:
        self._layout, self._view, self._bytes = layout, view, layout.nbytes
        self.memory: Any = None  # an array, once filled
        self._strides: tuple[int, ...] | None = None

    def fill(self, weight: np.ndarray) -> None:
        """Pack a weight, of any strides."""
        if weight.strides != self._strides and not _regular(weight):
            weight = np.ascontiguousarray(weight)
        if weight.strides != self._strides:
            self._call = Call(reorder(self._view.layout(weight), self._layout), [Arg.SRC, Arg.DST])
            self._strides = weight.strides
        if self.memory is None:
            self.memory = aligned(self._bytes)
        self._call(weight, self.memory)

    def release(self) -> None:
        """Give the memory back; the next :meth:`fill` takes new."""
        self.memory = None


class Outgoing:
    """A result from the layout that a primitive writes to the strides of the array that it is for."""

    def __init__(self, written: Layout, wanted: Layout) -> None:
        self._bytes = written.nbytes
        self._call = None if written == wanted else Call(reorder(written, wanted), [Arg.SRC, Arg.DST])

    def block(self, out: np.ndarray) -> np.ndarray:
        """Where the primitive is to write."""
        return out if self._call is None else aligned(self._bytes)

    def deliver(self, block: np.ndarray, out: np.ndarray) -> None:
        """Bring what was written to its place."""
        if self._call is not None:
            self._call(block, out)
