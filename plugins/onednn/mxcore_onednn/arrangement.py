"""Arrays between the order in which they come and the layout that a primitive wants.

oneDNN's reorders do the copying: they run on all threads and keep to whole cache lines, which makes them up to five
times as fast as a copy between NumPy arrays of different orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mxcore.registry.bound import Bound, Order, Spec, plain_order

from .codes import Arg
from .primitive import Call, Layout, aligned, layout_of, reorder

__all__ = ["Eager", "Incoming", "Outgoing", "Packed", "WeightView", "empty"]

_KEPT = 16  # kinds of strides for which an input keeps a prepared copy


def empty(spec: Spec) -> np.ndarray:
    """New memory for an array, on a cache line."""
    return np.ndarray(spec.shape, spec.dtype, aligned(spec.nbytes), 0, spec.strides)


def _same(strides: Sequence[int], wanted: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether two strides mean the same places."""
    return all(a == b or d == 1 for a, b, d in zip(strides, wanted, shape, strict=True))


def _regular(array: np.ndarray) -> np.ndarray:
    """The array, or a copy where its strides are none that oneDNN takes."""
    size = array.dtype.itemsize
    if all((s > 0 or d == 1) and s % size == 0 for s, d in zip(array.strides, array.shape, strict=True)):
        return array
    return np.ascontiguousarray(array)


class Incoming:
    """An input in the memory order that is wanted: as it is, or a copy."""

    def __init__(self, spec: Spec, order: Order) -> None:
        self.spec = Spec(spec.shape, spec.dtype, order)
        self._wanted = self.spec.strides
        self._calls: dict[tuple[int, ...], Call | None] = {}

    def __call__(self, array: np.ndarray) -> np.ndarray:
        if array.strides == self._wanted:
            return array
        array = _regular(array)
        strides = array.strides
        if strides not in self._calls:
            if len(self._calls) >= _KEPT:
                self._calls.clear()
            same = _same(strides, self._wanted, array.shape)
            target = Layout(array.shape, array.dtype, [s // array.dtype.itemsize for s in self._wanted])
            self._calls[strides] = None if same else Call(reorder(layout_of(array), target), [Arg.SRC, Arg.DST])
        call = self._calls[strides]
        if call is None:
            return array
        copy = empty(self.spec)
        call(array, copy)
        return copy


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
        self.memory: np.ndarray | None = None
        self._strides: tuple[int, ...] | None = None

    def fill(self, weight: np.ndarray) -> None:
        """Pack a weight, of any strides."""
        weight = _regular(weight)
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


# ---------------------------------------------------------------- eager calls
class Eager:
    """A bound call with copies around it: arrays of any strides in, arrays in C order out.

    Parameters
    ----------
    bound : Bound
        With a method ``release()`` that gives back what :meth:`Bound.prepare` made.
    ins, outs : sequence of Spec
    """

    def __init__(self, bound: Any, ins: Sequence[Spec | None], outs: Sequence[Spec]) -> None:
        self.bound: Bound = bound
        self._release = bound.release
        self._incoming = [None if s is None or o is None else Incoming(s, o) for s, o in zip(ins, bound.in_orders, strict=True)]
        self._results = [Spec(s.shape, s.dtype, plain_order(len(s.shape))) for s in outs]
        self._written = [Spec(s.shape, s.dtype, o) for s, o in zip(outs, bound.out_orders, strict=True)]
        self._last = [None if _same(w.strides, r.strides, r.shape) else
                      Call(reorder(_layout(w), _layout(r)), [Arg.SRC, Arg.DST])
                      for w, r in zip(self._written, self._results, strict=True)]

    def __call__(self, *arrays: Any) -> Any:
        ins = [a if f is None else f(a) for f, a in zip(self._incoming, arrays, strict=True)]
        if self.bound.prepared:
            self.bound.prepare(ins)
        outs = [np.empty(r.shape, r.dtype) if c is None else empty(w)
                for r, w, c in zip(self._results, self._written, self._last, strict=True)]
        self.bound.run(ins, outs)
        self._release()
        for i, call in enumerate(self._last):
            if call is not None:
                written, outs[i] = outs[i], np.empty(self._results[i].shape, self._results[i].dtype)
                call(written, outs[i])
        return outs[0] if len(outs) == 1 else tuple(outs)


def _layout(spec: Spec) -> Layout:
    return Layout(spec.shape, spec.dtype, [s // spec.dtype.itemsize for s in spec.strides])
