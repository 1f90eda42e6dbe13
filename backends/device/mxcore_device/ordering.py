"""Sorting, counting and searching: a backend's library, or kernels of :mod:`mxcore_device.sorting`; NumPy on mapped memory
where the device is a CPU, which is faster there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mxcore.errors import ArgumentError, DTypeError, ShapeError
from mxcore_numpy.xp import XP as REFERENCE

from . import sorting
from .arrays import Array, empty
from .elementwise import cast
from .host import elsewhere, on_host, routed_call
from .shapes import axis_of

__all__ = ["Ordering"]

_I4, _I8, _F8 = np.dtype("int32"), np.dtype("int64"), np.dtype("float64")


def _checked(machine: Any, *arrays: Array) -> None:
    for a in arrays:
        if a.machine is not machine:
            raise elsewhere(machine, a)


def _lines(machine: Any, a: Array, axis: int | None) -> tuple[Array, int]:
    """A view with that axis last (without one, of the flat array), and the axis."""
    _checked(machine, a)
    if axis is None:
        return machine.xp.reshape(a, (-1,)), 0
    axis = axis_of(axis, a.ndim)
    return (a if axis == a.ndim - 1 else machine.xp.swapaxes(a, axis, -1)), axis


def _back(lines: Array, axis: int) -> Array:
    """The last axis where it was."""
    return lines if axis == lines.ndim - 1 else lines.machine.xp.copy(lines.machine.xp.swapaxes(lines, axis, -1))


def _sort(machine: Any, a: Array, axis: int | None = -1) -> Array:
    """The elements in order; those that are equal (zeros of both signs) keep theirs, nan comes last."""
    lines, axis = _lines(machine, a, axis)
    return _back(machine.xp.take_along_axis(lines, sorting.ordered(sorting.keys_of(lines)), -1), axis)


def _argsort(machine: Any, a: Array, axis: int | None = -1) -> Array:
    """The places that put the elements in order; equal ones keep theirs."""
    lines, axis = _lines(machine, a, axis)
    return _back(cast(sorting.ordered(sorting.keys_of(lines)), _I8), axis)


def _argtop(machine: Any, a: Array, k: int, axis: int, largest: bool) -> Array:
    """The places of the ``k`` largest (smallest) elements, in order; equal ones in that of their places."""
    lines, axis = _lines(machine, a, axis)
    return _back(cast(sorting.top(sorting.keys_of(lines, backwards=largest), k), _I8), axis)


def _nonzero(machine: Any, a: Array) -> tuple[Array, ...]:
    """The indices of what is not 0, an array for each axis. Their number is read from the device."""
    _checked(machine, a)
    if not a.ndim:
        raise ShapeError("nonzero of an array without axes: a single number has no indices")
    return tuple(sorting.places(sorting.scanned(sorting.marks(a)), a.shape))


def _unique(machine: Any, a: Array, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
            **others: Any) -> Any:
    """The different elements in order; on demand where each stands first, which of them each element is, how many there are."""
    if others:
        return on_host(machine, "unique", np.unique, a, return_index=return_index, return_inverse=return_inverse,
                       return_counts=return_counts, **others)
    _checked(machine, a)
    xp = machine.xp
    flat = xp.reshape(a, (-1,))
    keys = sorting.keys_of(flat)
    order = sorting.ordered(keys)
    ranks = sorting.scanned(sorting.heads(keys, order))
    firsts, = sorting.places(ranks, flat.shape)
    index = cast(xp.take(order, firsts, 0), _I8)
    results = [xp.take(flat, index, 0)]
    if return_index:
        results.append(index)
    if return_inverse:
        inverse = empty(machine, flat.shape, _I8)
        xp.put_along_axis(inverse, order, xp.subtract(ranks[1:], 1), 0)
        results.append(xp.reshape(inverse, a.shape))
    if return_counts:
        edges = xp.concatenate([firsts, xp.full((1,), flat.size, _I8)])
        results.append(xp.subtract(edges[1:], edges[:-1]))
    return tuple(results) if len(results) > 1 else results[0]


def _searchsorted(machine: Any, a: Array, v: Any, side: str = "left") -> Array:
    """Where the elements of ``v`` belong in ``a``, which is in order."""
    v = v if isinstance(v, Array) else machine.xp.asarray(v, a.dtype)
    _checked(machine, a, v)
    if a.ndim != 1:
        raise ShapeError(f"searchsorted looks in an array of one axis, not of shape {a.shape}")
    if side not in ("left", "right"):
        raise ArgumentError(f"searchsorted has the sides left and right, not {side!r}")
    dtype = np.result_type(a.dtype, v.dtype)
    return sorting.found(sorting.keys_of(cast(a, dtype)), sorting.keys_of(cast(v, dtype)), side == "right")


def _bincount(machine: Any, x: Array, weights: Array | None = None, minlength: int = 0) -> Array:
    """How often each of the numbers from 0 on occurs, or the sums of their weights in float64.

    By sorting, so nothing depends on the order in which a device runs. The greatest number is read from the device; only as
    many bits as it has are sorted.
    """
    _checked(machine, x)
    if x.ndim != 1:
        raise ShapeError(f"bincount counts in an array of one axis, not of shape {x.shape}")
    if x.dtype.kind not in "iub" or x.dtype.name == "uint64":
        raise DTypeError(f"bincount counts integers that int64 holds, not {x.dtype}")
    if minlength < 0:
        raise ArgumentError(f"minlength={minlength} must not be negative")
    if weights is not None:
        _checked(machine, weights)
        if weights.shape != x.shape:
            raise ShapeError(f"bincount has weights of shape {weights.shape} for numbers of shape {x.shape}")
        if not machine.fp64:
            return on_host(machine, "bincount", np.bincount, x, weights=weights, minlength=minlength)
    xp = machine.xp
    lowest, highest = (int(xp.item(xp.min(x))), int(xp.item(xp.max(x)))) if x.size else (0, -1)
    if lowest < 0:
        raise ArgumentError(f"bincount counts numbers from 0 on, and {lowest} is among them")
    count = max(highest + 1, minlength)
    x = cast(x, _I4 if count < 1 << 31 else _I8)
    keys = sorting.keys_of(x)
    order = sorting.ordered(keys, bits=max(highest, 0).bit_length())
    edges = sorting.found(xp.take(keys, order, 0), sorting.keys_of(xp.arange(count + 1, dtype=x.dtype)), right=False)
    if weights is not None:
        return sorting.totals(cast(xp.take(weights, order, 0), _F8), edges)
    return xp.subtract(edges[1:], edges[:-1])


_KERNELS: dict[str, Callable[..., Any]] = {
    "nonzero": _nonzero, "sort": _sort, "argsort": _argsort, "argtop": _argtop, "unique": _unique,
    "searchsorted": _searchsorted, "bincount": _bincount,
}


class Ordering:
    """The part of ``xp`` that orders and counts."""

    machine: Any


def _install() -> None:
    for name in _KERNELS:
        def function(self: Ordering, *operands: Any, name: str = name, **options: Any) -> Any:
            machine = self.machine
            library = machine.ordering(name)
            if library is not None:
                return library(*operands, **options)
            if machine.gpu:
                return _KERNELS[name](machine, *operands, **options)
            return routed_call(machine, name, getattr(REFERENCE, name), *operands, **options)

        function.__name__, function.__doc__ = name, _KERNELS[name].__doc__
        setattr(Ordering, name, function)


_install()
