"""Softmax and its kin, in place on one copy."""

from typing import Any

import numpy as np

from mxcore.ops.activation import log_softmax as generic_log_softmax
from mxcore.ops.activation import softmax as generic_softmax


def _shifted(data: np.ndarray, axis: int, temperature: float | None) -> np.ndarray:
    x = data - np.maximum.reduce(data, axis=axis, keepdims=True)
    return x if temperature is None or temperature == 1 else np.divide(x, temperature, out=x)


def _plain(data: np.ndarray, axis: int) -> bool:
    return data.dtype.char in "fd" and -data.ndim <= axis < data.ndim and data.size > 0


def softmax(xp: Any, data: np.ndarray, length: np.ndarray | None = None, *, axis: int, temperature: float | None,
            dtype: Any, use_length: bool | None) -> np.ndarray:
    """``softmax``."""
    if (use_length and length is not None) or not _plain(data, axis):
        return generic_softmax.fn(xp, data, length, axis=axis, temperature=temperature, dtype=dtype, use_length=use_length)
    x = _shifted(data, axis, temperature)
    np.exp(x, out=x)
    np.divide(x, np.add.reduce(x, axis=axis, keepdims=True), out=x)
    return x if dtype is None else x.astype(dtype, copy=False)


def log_softmax(xp: Any, data: np.ndarray, *, axis: int, temperature: float | None, dtype: Any,
                use_length: bool | None) -> np.ndarray:
    """``log_softmax``."""
    if not _plain(data, axis):
        return generic_log_softmax.fn(xp, data, axis=axis, temperature=temperature, dtype=dtype, use_length=use_length)
    x = _shifted(data, axis, temperature)
    total = np.add.reduce(np.exp(x), axis=axis, keepdims=True)
    np.subtract(x, np.log(total, out=total), out=x)
    return x if dtype is None else x.astype(dtype, copy=False)


def _scaled(d: np.ndarray, temperature: float | None) -> np.ndarray:
    return d if temperature is None or temperature == 1 else np.divide(d, temperature, out=d)


def backward_softmax(xp: Any, dy: np.ndarray, out: np.ndarray, *, axis: int, temperature: float | None) -> np.ndarray:
    """``_backward_softmax``."""
    d = dy * out
    total = np.add.reduce(d, axis=axis, keepdims=True)
    np.subtract(d, np.multiply(out, total), out=d)
    return _scaled(d, temperature)


def backward_log_softmax(xp: Any, dy: np.ndarray, out: np.ndarray, *, axis: int,
                         temperature: float | None) -> np.ndarray:
    """``_backward_log_softmax``."""
    d = np.exp(out)
    np.multiply(d, np.add.reduce(dy, axis=axis, keepdims=True), out=d)
    return _scaled(np.subtract(dy, d, out=d), temperature)
