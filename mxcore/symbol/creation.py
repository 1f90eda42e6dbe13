"""Symbols of constants and ranges."""

from __future__ import annotations

from typing import Any

from ..dtype import dtype_of, name_of
from ..registry.op import OPS
from .symbol import Symbol, compose

__all__ = ["arange", "eye", "full", "linspace", "ones", "zeros"]


def _make(op_name: str, kwargs: dict[str, Any], **attrs: Any) -> Symbol:
    op = OPS[op_name]
    name, attr = kwargs.pop("name", None), dict(kwargs.pop("attr", None) or {})
    attr |= {k: str(kwargs.pop(k)) for k in list(kwargs) if k.startswith("__")}
    return compose(op, (), op.parse({**attrs, **kwargs}), name, attr, op_name)


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
