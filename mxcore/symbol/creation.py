"""Symbols of constants and ranges."""

from __future__ import annotations

from typing import Any

from ..dtype import dtype_of, name_of
from ..errors import ArgumentError
from ..registry.op import OPS
from .symbol import Symbol, compose

__all__ = ["arange", "eye", "full", "histogram", "linspace", "ones", "split_v2", "zeros"]


def _make(op_name: str, kwargs: dict[str, Any], /, **attrs: Any) -> Symbol:
    op = OPS[op_name]
    name, attr = kwargs.pop("name", None), dict(kwargs.pop("attr", None) or {})
    attr |= {k: str(kwargs.pop(k)) for k in list(kwargs) if k.startswith("__")}
    given: dict[str, Any] = {**attrs, **kwargs}
    return compose(op, (), op.parse(given), name, attr, op_name)


def zeros(shape: Any, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Zeros of a shape."""
    return _make("_zeros", kwargs, shape=shape, dtype=name_of(dtype_of(dtype)))


def ones(shape: Any, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Ones of a shape."""
    return _make("_ones", kwargs, shape=shape, dtype=name_of(dtype_of(dtype)))


def full(shape: Any, val: float, dtype: Any = None, **kwargs: Any) -> Symbol:
    """One value in a shape."""
    return _make("_full", kwargs, shape=shape, dtype=name_of(dtype_of(dtype)), value=float(val))


def eye(N: int, M: int = 0, k: int = 0, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Ones on a diagonal."""
    return _make("_eye", kwargs, N=N, M=M, k=k, dtype=name_of(dtype_of(dtype)))


def arange(start: float, stop: float | None = None, step: float = 1.0, repeat: int = 1, infer_range: bool = False,
           name: str | None = None, dtype: Any = None) -> Symbol:
    """Evenly spaced values."""
    return _make("_arange", {"name": name}, start=start, stop=stop, step=step, repeat=repeat, infer_range=infer_range,
                 dtype=name_of(dtype_of(dtype)))


def linspace(start: float, stop: float, num: int, endpoint: bool = True, name: str | None = None,
             dtype: Any = None) -> Symbol:
    """Evenly spaced values, a given number of them."""
    return _make("_linspace", {"name": name}, start=start, stop=stop, num=num, endpoint=endpoint,
                 dtype=name_of(dtype_of(dtype)))


def split_v2(ary: Symbol, indices_or_sections: int | tuple[int, ...], axis: int = 0,
             squeeze_axis: bool = False) -> Symbol:
    """Equal parts, or parts that begin at the given indices; see :func:`mxcore.nd.split_v2`."""
    op = OPS["_split_v2"]
    attrs: dict[str, Any] = {"axis": axis, "squeeze_axis": squeeze_axis}
    if isinstance(indices_or_sections, int):
        attrs |= {"indices": (), "sections": indices_or_sections}
    else:
        attrs |= {"indices": (0, *indices_or_sections)}
    return compose(op, (ary,), op.parse(attrs))


def histogram(a: Symbol, bins: int | Symbol = 10, range: tuple[float, float] | None = None, **kwargs: Any) -> Symbol:
    """Counts and edges of bins: a number of equal ones over ``range``, or those with the edges ``bins``."""
    op = OPS["_histogram"]
    if isinstance(bins, Symbol):
        return compose(op, (a, bins), op.parse({}), kwargs.get("name"), kwargs.get("attr"))
    if range is None:
        raise ArgumentError("histogram: range is needed with a number of bins")
    return compose(op, (a,), op.parse({"bin_cnt": bins, "range": tuple(range)}), kwargs.get("name"), kwargs.get("attr"))
