"""Weights between the order of the operator and the layout that a primitive chose."""

from __future__ import annotations

import numpy as np

from .codes import Arg
from .library import this_thread
from .primitive import Call, Layout, aligned, reorder

__all__ = ["Packed", "Staged", "grouped_strides"]


def grouped_strides(strides: tuple[int, ...], shape: tuple[int, ...], last: bool) -> tuple[int, ...]:
    """Strides of ``(groups, F / groups, C / groups, *kernel)``, or without groups, from those of a weight.

    ``last``: the weight's channels are on its last axis.
    """
    if last:
        strides = (strides[0], strides[-1], *strides[1:-1])
    return strides if len(shape) == len(strides) else (strides[0] * shape[1], *strides)


def _regular(array: np.ndarray) -> np.ndarray:
    """The array, or a copy where its strides are none that oneDNN takes."""
    size = array.dtype.itemsize
    if all((s > 0 or d == 1) and s % size == 0 for s, d in zip(array.strides, array.shape, strict=True)):
        return array
    return np.ascontiguousarray(array)


class Packed:
    """A weight in the layout that a primitive reads.

    Parameters
    ----------
    layout : Layout
        That one.
    shape : tuple of int
        As the primitive sees it, perhaps with a first axis of groups.
    last : bool
        The operator's weight has its channels on the last axis.
    """

    def __init__(self, layout: Layout, shape: tuple[int, ...], last: bool) -> None:
        self.layout, self.shape, self.last = layout, shape, last
        self.memory = aligned(layout.nbytes)
        self._strides: tuple[int, ...] | None = None

    def fill(self, weight: np.ndarray) -> None:
        """Pack a weight, of any strides."""
        weight = _regular(weight)
        if weight.strides != self._strides:
            size = weight.dtype.itemsize
            steps = grouped_strides(weight.strides, self.shape, self.last)
            source = Layout(self.shape, weight.dtype, [s // size for s in steps])
            self._call, self._strides = Call(reorder(source, self.layout), [Arg.SRC, Arg.DST]), weight.strides
        self._call(weight, self.memory)


class Staged:
    """The gradient by a weight, from the layout that a primitive writes to C order."""

    def __init__(self, layout: Layout, shape: tuple[int, ...]) -> None:
        steps, step = [0] * len(shape), 1
        for axis in reversed(range(len(shape))):
            steps[axis], step = step, step * shape[axis]
        plain = Layout(shape, np.dtype("float32"), steps)
        self.nbytes = layout.nbytes
        self._call = None if layout == plain else Call(reorder(layout, plain), [Arg.SRC, Arg.DST])
        self._thread = this_thread()

    def block(self, out: np.ndarray) -> np.ndarray:
        """Where the primitive is to write."""
        return out if self._call is None else self._thread.staging(self.nbytes)

    def deliver(self, block: np.ndarray, out: np.ndarray) -> None:
        """Bring what was written to its place."""
        if self._call is not None:
            self._call(block, out)
