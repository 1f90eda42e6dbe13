"""Pooling outside of compiled programs.

Each kernel has a function of the same arguments that says whether it takes a call; NumPy's kernels take the others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from mxcore.ops.pooling import windows
from mxcore.registry.bound import Spec, plain_order

from . import pooling as bound
from .eager import Eager, remembered
from .narrow import FLOATS

__all__ = ["pool_scatter", "pool_spread", "pooling", "takes_pool_scatter", "takes_pool_spread", "takes_pooling"]

_SMALL = 1 << 12  # numbers below which NumPy is done before oneDNN has begun
_GEOMETRY = ("kernel", "global_pool", "pooling_convention", "stride", "pad", "layout")
_Shape = tuple[int, ...]


def _spec(shape: _Shape, dtype: np.dtype) -> Spec:
    return Spec(shape, dtype, plain_order(len(shape)))


@remembered
def _plan(bind: Callable[..., Any], plain: bool, dtype: np.dtype, data: _Shape, kind: str, include: bool | None,
          *geometry: Any) -> Eager | None:
    w = windows(data, *geometry)
    if prod(data) < _SMALL or (kind == "avg" and w.kernel == w.spatial):  # a sum over all is NumPy's own loop
        return None
    large, small = _spec(data, dtype), _spec(w.output(data), dtype)
    attrs = {**dict(zip(_GEOMETRY, geometry, strict=True)), "pool_type": kind, "count_include_pad": include}
    ins, out = {bound.bind_pooling: ([large], small), bound.bind_pool_spread: ([small], large),
                bound.bind_pool_scatter: ([small, large, small], large)}[bind]
    found = bind(ins, [out], attrs, False, plain=plain)
    return None if found is None else Eager(found, ins, [out])


def _pooling(data: Any, *, pool_type: str, count_include_pad: bool | None, **attrs: Any) -> Eager | None:
    if data.dtype.char not in FLOATS:
        return None
    return _plan(bound.bind_pooling, data.flags.c_contiguous, data.dtype, data.shape, pool_type, count_include_pad,
                 *[attrs[n] for n in _GEOMETRY])


def takes_pooling(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`pooling` takes a call."""
    return _pooling(*arrays, **attrs) is not None


def pooling(xp: Any, data: np.ndarray, **attrs: Any) -> np.ndarray:
    """``Pooling``."""
    return _pooling(data, **attrs)(data)  # type: ignore[misc]


def _spread(dy: Any, like: Any, *, pool_type: str, count_include_pad: bool | None, **attrs: Any) -> Eager | None:
    if dy.dtype.char not in FLOATS:
        return None
    return _plan(bound.bind_pool_spread, dy.flags.c_contiguous, dy.dtype, tuple(like.shape), pool_type, count_include_pad,
                 *[attrs[n] for n in _GEOMETRY])


def takes_pool_spread(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`pool_spread` takes a call."""
    return _spread(*arrays, **attrs) is not None


def pool_spread(xp: Any, dy: np.ndarray, like: Any, **attrs: Any) -> np.ndarray:
    """``_pool_spread``."""
    return _spread(dy, like, **attrs)(dy)  # type: ignore[misc]


def _scatter(dy: Any, data: Any, peak: Any, **attrs: Any) -> Eager | None:
    if dy.dtype != data.dtype or data.dtype.char not in FLOATS:
        return None
    return _plan(bound.bind_pool_scatter, data.flags.c_contiguous, data.dtype, data.shape, "max", None,
                 *[attrs[n] for n in _GEOMETRY])


def takes_pool_scatter(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`pool_scatter` takes a call."""
    return _scatter(*arrays, **attrs) is not None


def pool_scatter(xp: Any, *arrays: np.ndarray, **attrs: Any) -> np.ndarray:
    """``_pool_scatter``."""
    return _scatter(*arrays, **attrs)(*arrays)  # type: ignore[misc]
