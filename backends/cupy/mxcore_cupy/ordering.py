"""Sorting, counting and searching by CuPy (Thrust and CUB), on the memory of our arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mxcore_device.arrays import Array
from mxcore_device.elementwise import cast

from .devices import CudaArray, CudaMachine, taken, view
from .repeats import ALIGNED

__all__ = ["FUNCTIONS"]

_F4 = np.dtype("float32")


def _given(a: Any) -> Any:
    """For CuPy; bfloat16, which it does not sort, as float32, which has the same order."""
    if not isinstance(a, Array):
        return a
    return view(cast(a, _F4) if a.dtype.name == "bfloat16" else a)


def _wrapped(machine: CudaMachine, found: Any, dtype: np.dtype | None = None) -> Array:
    found = machine.cupy.ascontiguousarray(found)
    if found.data.ptr % ALIGNED:  # a row of something larger
        new = machine.xp.copy(taken(machine, found))
    else:
        new = CudaArray(machine, found.data, found.dtype, found.shape)
    return new if dtype is None else cast(new, dtype)


def _nonzero(cupy: Any, a: Array) -> tuple[Array, ...]:
    return tuple([_wrapped(a.machine, i) for i in cupy.nonzero(_given(a))])


def _sort(cupy: Any, a: Array, axis: int = -1) -> Array:
    return _wrapped(a.machine, cupy.sort(_given(a), axis=axis), a.dtype)


def _argsort(cupy: Any, a: Array, axis: int = -1) -> Array:
    return _wrapped(a.machine, cupy.argsort(_given(a), axis=axis, kind="stable"))


def _argtop(cupy: Any, a: Array, k: int, axis: int, largest: bool) -> Array:
    lines = cupy.moveaxis(_given(a), axis, -1)
    n = lines.shape[-1]
    order = cupy.argsort(lines[..., :: -1 if largest else 1], axis=-1, kind="stable")  # backwards: equal ones keep their order
    return _wrapped(a.machine, cupy.moveaxis(n - 1 - order[..., : -k - 1 : -1] if largest else order[..., :k], -1, axis))


def _unique(cupy: Any, a: Array, **options: Any) -> Any:
    found = cupy.unique(_given(a), **options)
    if isinstance(found, tuple):
        return (_wrapped(a.machine, found[0], a.dtype), *[_wrapped(a.machine, i) for i in found[1:]])
    return _wrapped(a.machine, found, a.dtype)


def _searchsorted(cupy: Any, a: Array, v: Array, side: str = "left") -> Array:
    return _wrapped(a.machine, cupy.searchsorted(_given(a), _given(v), side=side))


def _bincount(cupy: Any, a: Array, weights: Any = None, minlength: int = 0) -> Array:
    return _wrapped(a.machine, cupy.bincount(_given(a), _given(weights), minlength=minlength))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "nonzero": _nonzero, "sort": _sort, "argsort": _argsort, "argtop": _argtop, "unique": _unique,
    "searchsorted": _searchsorted, "bincount": _bincount,
}
