"""Shapes: views where strides can say it, copies where not; joining, repeating, padding."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.errors import ArgumentError, ShapeError

from .arrays import Array, contiguous_strides, empty, view_of
from .elementwise import copy_into, strides_for

__all__ = ["Shapes", "axis_of", "broadcast_to"]


def axis_of(axis: Any, ndim: int) -> int:
    """An axis counted from the front."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise ShapeError(f"axis {axis} is out of bounds for an array of {ndim} dimensions")
    return axis % ndim


def broadcast_to(a: Array, shape: Sequence[int]) -> Array:
    """A view with strides of 0."""
    shape = tuple(shape)
    if a.shape == shape:
        return a
    lead = len(shape) - a.ndim
    if lead < 0 or any(n != m and n != 1 for n, m in zip(a.shape, shape[lead:], strict=True)):
        raise ShapeError(f"an array of shape {a.shape} cannot be broadcast to {shape}")
    return view_of(a, shape, strides_for(a, shape))


def _view_strides(a: Array, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides with which the memory of ``a`` has another shape; None if it needs a copy."""
    if a.dense:
        return contiguous_strides(shape)
    old = [(n, s) for n, s in zip(a.shape, a.strides, strict=True) if n != 1]
    strides: list[int] = []
    at, k = 0, 0
    while k < len(shape):
        if shape[k] == 1:
            strides.append(0)
            k += 1
            continue
        first, taken, wanted, top = k, 1, 1, at
        while True:  # a group of new axes that has as many elements as a group of old ones
            if taken <= wanted and at < len(old):
                if at > top and old[at - 1][1] != old[at][1] * old[at][0]:
                    return None
                taken *= old[at][0]
                at += 1
            elif wanted < taken and k < len(shape):
                wanted *= shape[k]
                k += 1
            if taken == wanted and k > first:
                break
        step, group = old[at - 1][1], []
        for n in reversed(shape[first:k]):
            group.append(step)
            step *= n
        strides += reversed(group)
    return tuple(strides)


class Shapes:
    """The part of ``xp`` about shapes."""

    machine: Any

    def reshape(self, a: Array, shape: Any) -> Array:
        """A view where possible; one length may be -1."""
        shape = tuple([operator.index(n) for n in shape]) if isinstance(shape, (tuple, list)) else (operator.index(shape),)
        if -1 in shape:
            rest = -prod(shape)
            if shape.count(-1) > 1 or (a.size % rest if rest else a.size):
                raise ShapeError(f"cannot reshape an array of shape {a.shape} into {shape}")
            shape = tuple([(a.size // rest if rest else 0) if n == -1 else n for n in shape])
        if prod(shape) != a.size:
            raise ShapeError(f"cannot reshape an array of shape {a.shape} into {shape}")
        if shape == a.shape:
            return a
        strides = _view_strides(a, shape) if a.size else contiguous_strides(shape)
        if strides is None:
            a = a.machine.xp.copy(a)
            strides = contiguous_strides(shape)
        return view_of(a, shape, strides)

    def transpose(self, a: Array, axes: Sequence[int] | None = None) -> Array:
        """A view."""
        axes = range(a.ndim - 1, -1, -1) if axes is None else [axis_of(x, a.ndim) for x in axes]
        if sorted(axes) != list(range(a.ndim)):
            raise ShapeError(f"axes={tuple(axes)} do not name each of {a.ndim} dimensions once")
        return view_of(a, tuple([a.shape[x] for x in axes]), tuple([a.strides[x] for x in axes]))

    def swapaxes(self, a: Array, one: int, other: int) -> Array:
        """A view."""
        axes = list(range(a.ndim))
        one, other = axis_of(one, a.ndim), axis_of(other, a.ndim)
        axes[one], axes[other] = other, one
        return self.transpose(a, axes)

    def expand_dims(self, a: Array, axis: Any) -> Array:
        """A view."""
        axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
        ndim = a.ndim + len(axes)
        at = {axis_of(x, ndim) for x in axes}
        return a[tuple([None if i in at else slice(None) for i in range(ndim)])]

    def squeeze(self, a: Array, axis: Any = None) -> Array:
        """A view."""
        if axis is None:
            at = {i for i, n in enumerate(a.shape) if n == 1}
        else:
            at = {axis_of(x, a.ndim) for x in ((axis,) if isinstance(axis, (int, np.integer)) else axis)}
        if any(a.shape[i] != 1 for i in at):
            raise ShapeError(f"axis={axis} of shape {a.shape} cannot be squeezed: its length is not 1")
        return a[tuple([0 if i in at else slice(None) for i in range(a.ndim)])] if at else a

    def broadcast_to(self, a: Any, shape: Any) -> Array:
        """A view."""
        a = a if isinstance(a, Array) else self.machine.xp.asarray(a)
        return broadcast_to(a, shape if isinstance(shape, (tuple, list)) else (shape,))

    def flip(self, a: Array, axis: Any = None) -> Array:
        """A view, backwards."""
        axes = range(a.ndim) if axis is None else (axis,) if isinstance(axis, (int, np.integer)) else axis
        at = {axis_of(x, a.ndim) for x in axes}
        return a[tuple([slice(None, None, -1) if i in at else slice(None) for i in range(a.ndim)])]

    def concatenate(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        """One behind the other."""
        first = arrays[0]
        axis = axis_of(axis, first.ndim)
        dtype = first.dtype
        for a in arrays[1:]:
            if a.ndim != first.ndim or a.shape[:axis] + a.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
                raise ShapeError(f"shapes {[x.shape for x in arrays]} do not fit together along axis {axis}")
            dtype = np.result_type(dtype, a.dtype) if a.dtype != dtype else dtype
        shape = list(first.shape)
        shape[axis] = sum(a.shape[axis] for a in arrays)
        new = empty(self.machine, shape, dtype)
        start = 0
        for a in arrays:
            copy_into(new[(slice(None),) * axis + (slice(start, start + a.shape[axis]),)], a)
            start += a.shape[axis]
        return new

    def stack(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        """Along a new axis."""
        if any(a.shape != arrays[0].shape for a in arrays):
            raise ShapeError(f"arrays to stack must have one shape, found {[a.shape for a in arrays]}")
        return self.concatenate([self.expand_dims(a, axis) for a in arrays], axis=axis)

    def repeat(self, a: Array, repeats: Any, axis: int | None = None) -> Array:
        """Each element several times; ``repeats`` is a number, or numbers of the host."""
        if axis is None:
            a, axis = self.reshape(a, (-1,)), 0
        axis = axis_of(axis, a.ndim)
        if not isinstance(repeats, (int, np.integer)):
            places = np.repeat(np.arange(a.shape[axis]), np.asarray(repeats))
            return self.machine.xp.take(a, self.machine.xp.asarray(places), axis=axis)
        wide = self.expand_dims(a, axis + 1)
        shape = (*a.shape[: axis + 1], int(repeats), *a.shape[axis + 1 :])
        wide = self.machine.xp.copy(broadcast_to(wide, shape))
        return self.reshape(wide, (*a.shape[:axis], a.shape[axis] * int(repeats), *a.shape[axis + 1 :]))

    def tile(self, a: Array, reps: Any) -> Array:
        """The whole several times."""
        reps = tuple(reps) if isinstance(reps, (tuple, list)) else (reps,)
        ndim = max(a.ndim, len(reps))
        reps = (1,) * (ndim - len(reps)) + reps
        old = (1,) * (ndim - a.ndim) + a.shape
        wide = self.reshape(a, [n for m in old for n in (1, m)])
        wide = self.machine.xp.copy(broadcast_to(wide, [n for r, m in zip(reps, old, strict=True) for n in (r, m)]))
        return self.reshape(wide, [r * m for r, m in zip(reps, old, strict=True)])

    def pad(self, a: Array, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Array:
        """More at the ends of the axes: a constant, the edge, or the mirrored inside."""
        widths = np.broadcast_to(np.asarray(pad_width), (a.ndim, 2)).tolist()
        if mode == "constant":
            new = self.machine.xp.full([n + p + q for n, (p, q) in zip(a.shape, widths, strict=True)], constant_values, a.dtype)
            copy_into(new[tuple([slice(p, p + n) for n, (p, _) in zip(a.shape, widths, strict=True)])], a)
            return new
        if mode not in ("edge", "reflect"):
            raise ArgumentError(f"pad has the modes constant, edge and reflect, not {mode!r}")
        for axis, (n, width) in enumerate(zip(a.shape, widths, strict=True)):
            if any(width):
                places = np.pad(np.arange(n), width, mode=mode)  # type: ignore[call-overload]
                a = self.machine.xp.take(a, self.machine.xp.asarray(places), axis=axis)
        return a
