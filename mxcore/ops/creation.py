"""Arrays from nothing: constants, ranges, diagonals."""

from ..dtype import dtype_of
from ..registry import DType, Shape, register, rules


def _shape_of(attrs, ins):
    """In a graph a dimension of 0 is one that others decide (states of recurrent nets: the batch)."""
    return ins, [tuple(d or -1 for d in attrs.shape)]


@register("_zeros", aliases=("_npi_zeros",), infer=_shape_of, types=rules.cast, nograd=True)
def zeros(xp, *, shape: Shape, dtype: DType = "float32"):
    """Zeros of the given shape."""
    return xp.zeros(shape, dtype)


@register("_zeros_without_dtype", infer=_shape_of, types=lambda a, t, n: (t, [_coded(a.dtype)]), nograd=True)
def zeros_without_dtype(xp, *, shape: Shape, dtype: int = -1):
    """Zeros of the given shape; the type is a number of MXNet's table, -1 for float32 (in files of old networks)."""
    return xp.zeros(shape, _coded(dtype))


def _coded(code):
    return dtype_of(None if code < 0 else code)


@register("_ones", infer=_shape_of, types=rules.cast, nograd=True)
def ones(xp, *, shape: Shape, dtype: DType = "float32"):
    """Ones of the given shape."""
    return xp.ones(shape, dtype)


@register("_full", infer=_shape_of, types=rules.cast, nograd=True)
def full(xp, *, shape: Shape, dtype: DType = "float32", value: float):
    """One value in the given shape."""
    return xp.astype(xp.full(shape, value), dtype)


def _arange_shape(attrs, ins):
    start, stop = (attrs.start, attrs.stop) if attrs.stop is not None else (0.0, attrs.start)
    count = max(0, -int(-(stop - start) // attrs.step)) if (stop - start) / attrs.step > 0 else 0
    return ins, [(count * attrs.repeat,)]


@register("_arange", infer=_arange_shape, types=rules.cast, nograd=True)
def arange(xp, *, start: float, stop: float | None = None, step: float = 1.0, repeat: int = 1,
           infer_range: bool = False, dtype: DType = "float32"):
    """``start, start + step, ...`` below ``stop``, each ``repeat`` times; with one bound, from 0 to it."""
    if stop is None:
        start, stop = 0.0, start
    values = xp.astype(xp.arange(start, stop, step), dtype)
    return xp.repeat(values, repeat) if repeat != 1 else values


@register("_linspace", infer=lambda a, s: (s, [(a.num,)]), types=rules.cast, nograd=True)
def linspace(xp, *, start: float, stop: float, num: int, endpoint: bool = True, dtype: DType = "float32"):
    """``num`` values from ``start`` to ``stop``."""
    return xp.astype(xp.linspace(start, stop, num, endpoint=endpoint), dtype)


@register("_eye", infer=lambda a, s: (s, [(a.N, a.M or a.N)]), types=rules.cast, nograd=True)
def eye(xp, *, N: int, M: int = 0, k: int = 0, dtype: DType = "float32"):
    """Ones on the ``k``-th diagonal of an ``N x M`` matrix (``M = 0``: square)."""
    return xp.eye(N, M or N, k, dtype=dtype)
