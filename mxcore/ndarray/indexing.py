"""``x[key]`` and ``x[key] = value``: basic, integer-array and boolean indexing.

As in MXNet, basic indexing that picks a contiguous piece gives a view that shares memory; other keys give copies.
While recording, the result is recorded like any operator.
"""

from __future__ import annotations

from numbers import Integral, Number
from typing import Any

import numpy as np

from ..errors import MXNetError, ShapeError
from ..ops.core import Slot
from ..ops.indexing import check_range
from ..registry.op import OPS
from ..registry.schema import Attrs
from ..runtime.invoke import STATE, check_write, record_call, wrap
from ..runtime.watch import written
from .ndarray import NDArray

__all__ = ["getitem", "setitem"]

_GET = OPS["_getitem"]


def getitem(x: NDArray, key: Any) -> NDArray:
    """``x[key]``."""
    plain, arrays = _normalize(x, key)
    if arrays and len(plain) == 1 and isinstance(plain[0], Slot):
        index = arrays[0]
        if index._data.dtype.kind != "b" and not isinstance(key, tuple):
            check_range(x._dev.xp, index._data, -x.shape[0], x.shape[0], "axis 0")
            return OPS["take"](x, index, axis=0, mode="wrap")  # rows, counted from the end where negative
    attrs = _attrs(plain)
    dev = x._dev
    try:
        if arrays:
            filled = tuple([arrays[k.number]._data if type(k) is Slot else k for k in plain])
            raw = dev.xp.getitem(x._data, filled)
            if type(raw) is not dev.array_type:
                raw = dev.backend.asarray(raw)
            raw = dev.backend.own(raw)
        else:
            raw = dev.xp.getitem(x._shared(), plain)
            if type(raw) is not dev.array_type:
                raw = dev.backend.asarray(raw)
            if not _contiguous(x.shape, plain):
                raw = dev.backend.own(raw)
    except IndexError as error:
        raise IndexError(f"{error}; the array has shape {x.shape}, the key is {key!r}") from error
    if raw.ndim == 0 and not _zero_dim(x):  # there are no 0-dimensional arrays
        raw = dev.xp.reshape(raw, (1,))
        if not arrays and STATE.recording and x._entry is not None:
            plain = (*plain[:-1], slice(plain[-1], plain[-1] + 1 or None))
            attrs = _attrs(plain)
        elif arrays:
            attrs = _attrs((*plain, None))
    new = wrap(type(x), raw, dev)
    if STATE.recording and x._entry is not None:
        record_call(_GET, attrs, (x, *arrays), (raw,), (new,))
    return new


_PLANS: dict[Any, Any] = {}


def _attrs(key: tuple) -> Attrs:
    """Attributes of one indexing; what the tape keeps does not depend on the key."""
    attrs = Attrs({"key": key})
    attrs.saves = _PLANS
    return attrs


def _zero_dim(x: NDArray) -> bool:
    return getattr(type(x), "allows_zero_dim", False)


def _contiguous(shape: tuple[int, ...], key: tuple) -> bool:
    """Whether a basic key picks one contiguous piece of a contiguous array."""
    axis, partial = 0, False
    for k in key:
        if k is None:
            continue
        n = shape[axis]
        axis += 1
        if isinstance(k, slice):
            start, stop, step = k.indices(n)
            length = len(range(start, stop, step))
            if partial and length != n:
                return False
            if step != 1 and length > 1:
                return False
            if (length != n and length != 1) or (length == n and n != 1):
                partial = True
        elif partial:
            return False
    return True


def _normalize(x: NDArray, key: Any) -> tuple[tuple, list[NDArray]]:
    """The key as a full tuple of ints, slices, None and Slots, and the arrays that the slots stand for."""
    if not isinstance(key, tuple):
        key = (key,)
    arrays: list[NDArray] = []
    out: list[Any] = []
    used = 0
    ellipsis = None
    for k in key:
        if isinstance(k, NDArray):
            raw = k._raw_on(x._dev)
            if raw.dtype.kind not in "iub":
                raw = x._dev.xp.astype(raw, np.dtype("int64"))
            out.append(Slot(len(arrays)))
            arrays.append(wrap(NDArray, raw, x._dev))
            used += raw.ndim if raw.dtype.kind == "b" else 1
        elif isinstance(k, (list, np.ndarray, range)) or (isinstance(k, tuple) and len(key) > 1):
            host = np.asarray(k.asnumpy() if hasattr(k, "asnumpy") else k)
            if host.dtype.kind not in "iub":
                if host.size and host.dtype.kind != "f":
                    raise IndexError(f"arrays used as indices must hold integers or booleans, got {host.dtype}")
                host = host.astype(np.int64)
            out.append(Slot(len(arrays)))
            arrays.append(wrap(NDArray, x._dev.backend.from_host(host, x._dev.index), x._dev))
            used += host.ndim if host.dtype.kind == "b" else 1
        elif k is None:
            out.append(None)
        elif k is Ellipsis:
            if ellipsis is not None:
                raise IndexError("an index can only have a single ellipsis ('...')")
            ellipsis = len(out)
            out.append(k)
        elif isinstance(k, (bool, np.bool_)):
            out.append(Slot(len(arrays)))
            arrays.append(wrap(NDArray, x._dev.backend.from_host(np.asarray(bool(k)), x._dev.index), x._dev))
        elif isinstance(k, (Integral, np.integer)):
            n = x.shape[used] if ellipsis is None and used < x.ndim else None
            if n is not None and not -n <= int(k) < n:
                raise IndexError(f"index {k} is out of bounds for axis {used} with size {n}; the array has shape {x.shape}")
            out.append(int(k) + n if n is not None and k < 0 else int(k))
            used += 1
        elif isinstance(k, slice):
            out.append(slice(*[None if v is None else _as_int(v) for v in (k.start, k.stop, k.step)]))
            if k.step == 0:
                raise ValueError("slice step cannot be zero")
            used += 1
        else:
            raise IndexError(f"indices must be integers, slices, None, Ellipsis, lists or arrays, got {type(k).__name__}")
    if used > x.ndim:
        raise IndexError(f"too many indices: the array has {x.ndim} dimensions (shape {x.shape}), the key has {used}")
    full = [slice(None)] * (x.ndim - used)
    if ellipsis is not None:
        out[ellipsis:ellipsis + 1] = full
    elif not arrays:
        out += full
    axis = 0
    for i, k in enumerate(out):  # integers behind an ellipsis
        if k is None or isinstance(k, Slot):
            axis += k is not None
            continue
        if isinstance(k, int) and axis < x.ndim and not 0 <= k < x.shape[axis] and not arrays:
            n = x.shape[axis]
            if not -n <= k < n:
                raise IndexError(f"index {k} is out of bounds for axis {axis} with size {n}; the array has shape {x.shape}")
            out[i] = k + n
        axis += 1
    return tuple(out), arrays


def _as_int(v: Any) -> int:
    if isinstance(v, NDArray):
        return int(v.item())
    return int(v)


def setitem(x: NDArray, key: Any, value: Any) -> None:
    """``x[key] = value``: the value is broadcast and takes the array's type."""
    if STATE.recording:
        check_write(x)
    dev = x._dev
    plain, arrays = _normalize(x, key)
    if STATE.recording and isinstance(value, NDArray) and value._entry is not None:
        if arrays or any(k != slice(None) for k in plain):
            raise MXNetError("Inplace operations (+=, x[:]=, out=, etc) are not supported when recording with autograd: only a "
                             f"whole array (x[:] = ...) can be set to a recorded value, not the part {key!r}. Put the parts "
                             "together with concat or stack, or write outside of autograd.record().")
        if value.ndim > x.ndim:
            value = value.reshape(value.shape[value.ndim - x.ndim:])
        x._assign_recorded(value)
        return
    filled = tuple([arrays[k.number]._data if type(k) is Slot else k for k in plain])
    if isinstance(value, NDArray):
        raw = value._raw_on(dev)
    elif isinstance(value, (Number, np.generic)):
        raw = value
    else:
        try:
            host = np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value)
            raw = dev.backend.from_host(host.astype(x._data.dtype, copy=False), dev.index)
        except (ValueError, TypeError) as error:
            raise TypeError(f"NDArray does not support assignment with non-array-like object {value!r} of type "
                            f"{type(value).__name__}") from error
    if not isinstance(raw, (Number, np.generic)) and raw.dtype != x._data.dtype:
        raw = dev.xp.astype(raw, x._data.dtype)
    if isinstance(raw, (Number, np.generic)) and x._data.dtype.kind in "iu":
        raw = int(raw)  # type: ignore[arg-type]
    try:
        dev.xp.setitem(x._data, filled, _squeezed(dev, x._data, filled, raw))
        written(x._data)
    except ValueError as error:
        if "read-only" in str(error):
            raise MXNetError("the memory of this array is read-only: it is shared with a library that does not let it be "
                             "written; write to a copy()") from error
        raise ShapeError(f"cannot assign a value of shape {getattr(raw, 'shape', ())} to key {key!r} of an array of shape "
                         f"{x.shape}: {error}") from error


def _squeezed(dev: Any, target: Any, key: tuple, raw: Any) -> Any:
    """A value with extra leading axes of length 1 loses them, as MXNet allows."""
    if not hasattr(raw, "shape") or raw.ndim == 0:
        return raw
    extra = 0
    room = sum(1 for k in key if isinstance(k, slice) or k is None) + max(
        (k.ndim for k in key if hasattr(k, "ndim")), default=0) + target.ndim - sum(1 for k in key if k is not None)
    while raw.ndim - extra > max(room, 0) and raw.shape[extra] == 1:
        extra += 1
    return dev.xp.reshape(raw, raw.shape[extra:]) if extra else raw
