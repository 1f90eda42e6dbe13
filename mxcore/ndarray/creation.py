"""Arrays from Python and NumPy values, and arrays of one value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..context import Context, current_context
from ..dtype import dtype_of
from ..errors import ArgumentError, OutOfMemoryError, ShapeError
from ..registry.op import OPS
from ..runtime.device import Device, device_of, devices
from ..runtime.invoke import invoke, wrap
from ..runtime.watch import shared_out
from .ndarray import NDArray

__all__ = ["arange", "array", "concatenate", "empty", "eye", "from_dlpack", "from_numpy", "full", "histogram",
           "linspace", "moveaxis", "ones", "onehot_encode", "split_v2", "to_dlpack_for_read", "to_dlpack_for_write",
           "waitall", "zeros"]


def _shape(shape: Any) -> tuple[int, ...]:
    found = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(d) for d in shape)
    if not found or min(found) < 0:
        raise ShapeError(f"an array needs dimensions, each of 0 or more, not the shape {found}; one number has shape (1,)")
    return found


def _device(ctx: Any) -> Device:
    return device_of(current_context() if ctx is None else ctx if isinstance(ctx, Context) else Context(ctx))


def array(source_array: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """An array from nested sequences, a NumPy array, or an NDArray (copied).

    Parameters
    ----------
    source_array : array-like
    ctx : Context, optional
        Default: the current context.
    dtype : dtype, optional
        Default: the type of an NDArray, else float32, whatever the source is, as in MXNet.

    Examples
    --------
    >>> nd.array([1, 2]).dtype
    <class 'numpy.float32'>
    """
    dev = _device(ctx)
    if isinstance(source_array, NDArray):
        wanted = source_array._data.dtype if dtype is None else dtype_of(dtype)
        host = source_array.asnumpy()
    else:
        wanted = dtype_of(dtype)
        if hasattr(source_array, "asnumpy"):
            host = source_array.asnumpy()
        else:
            if isinstance(source_array, (list, tuple)) and any(isinstance(v, NDArray) for v in source_array):
                source_array = [v.asnumpy() if isinstance(v, NDArray) else v for v in source_array]
            try:
                host = np.asarray(source_array)
                if host.dtype.kind not in "fiub" and host.dtype.name != "bfloat16":
                    host = host.astype(wanted)
            except (ValueError, TypeError) as error:
                raise TypeError("source_array must be array like object") from error
    if not host.shape:
        host = host.reshape(1)
    return wrap(NDArray, dev.backend.from_host(host.astype(wanted, copy=False), dev.index), dev)


def empty(shape: Any, ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """An array with undefined values."""
    dev = _device(ctx)
    try:
        raw = dev.backend.empty(_shape(shape), dtype_of(dtype), dev.index)
    except MemoryError as error:
        raise OutOfMemoryError(f"no memory for an array of shape {_shape(shape)} on {dev.ctx}: {error}") from error
    return wrap(NDArray, raw, dev)


def zeros(shape: Any, ctx: Context | None = None, dtype: Any = None, **kwargs: Any) -> NDArray:
    """An array of zeros.

    >>> nd.zeros((2, 2)).asnumpy()
    array([[0., 0.],
           [0., 0.]], dtype=float32)
    """
    return _create("_zeros", ctx, kwargs, shape=_shape(shape), dtype=dtype_of(dtype))


def ones(shape: Any, ctx: Context | None = None, dtype: Any = None, **kwargs: Any) -> NDArray:
    """An array of ones.

    >>> nd.ones(2, dtype="int32").asnumpy()
    array([1, 1], dtype=int32)
    """
    return _create("_ones", ctx, kwargs, shape=_shape(shape), dtype=dtype_of(dtype))


def full(shape: Any, val: float, ctx: Context | None = None, dtype: Any = None, out: NDArray | None = None) -> NDArray:
    """An array of one value.

    >>> nd.full(2, 7).asnumpy()
    array([7., 7.], dtype=float32)
    """
    wanted = out.dtype if out is not None and dtype is None else dtype_of(dtype)
    return _create("_full", ctx, {"out": out}, shape=_shape(shape), value=val, dtype=wanted)


def arange(start: float, stop: float | None = None, step: float = 1.0, repeat: int = 1, infer_range: Any = None,
           ctx: Context | None = None, dtype: Any = None) -> NDArray:
    """Evenly spaced values in ``[start, stop)``, each repeated ``repeat`` times.

    >>> nd.arange(3).asnumpy()
    array([0., 1., 2.], dtype=float32)
    """
    return _create("_arange", ctx, {}, start=start, stop=stop, step=step, repeat=repeat, dtype=dtype_of(dtype))


def linspace(start: float, stop: float, num: int, endpoint: bool = True, ctx: Context | None = None,
             dtype: Any = None) -> NDArray:
    """``num`` evenly spaced values from ``start`` to ``stop``.

    >>> nd.linspace(0, 1, 3).asnumpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return _create("_linspace", ctx, {}, start=start, stop=stop, num=num, endpoint=endpoint, dtype=dtype_of(dtype))


def eye(N: int, M: int = 0, k: int = 0, ctx: Context | None = None, dtype: Any = None, **kwargs: Any) -> NDArray:
    """Ones on the ``k``-th diagonal, zeros elsewhere.

    >>> nd.eye(2).asnumpy()
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return _create("_eye", ctx, kwargs, N=N, M=M, k=k, dtype=dtype_of(dtype))


def _create(name: str, ctx: Context | None, kwargs: dict[str, Any], **attrs: Any) -> NDArray:
    from ..runtime.invoke import create

    out = kwargs.pop("out", None)
    kwargs.pop("name", None)
    stype = kwargs.pop("stype", "default")
    kwargs = {k: v for k, v in kwargs.items() if not k.startswith("__")}  # attributes of symbols mean nothing here
    if stype not in (None, "default") or kwargs:
        raise ArgumentError(f"unknown arguments {kwargs or {'stype': stype}}")
    op = OPS[name]
    dev = out._dev if out is not None else _device(ctx)
    return create(op, op.parse(attrs), dev, NDArray, out)


def concatenate(arrays: Sequence[NDArray], axis: int = 0, always_copy: bool = True) -> NDArray:
    """Join arrays along an axis.

    >>> nd.concatenate([nd.ones((1, 2)), nd.zeros((1, 2))]).shape
    (2, 2)
    """
    if not arrays:
        raise ArgumentError("concatenate needs at least one array")
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    op = OPS["Concat"]
    return invoke(op, list(arrays), op.parse({"dim": axis}))


def moveaxis(tensor: NDArray, source: int | Sequence[int], destination: int | Sequence[int]) -> NDArray:
    """Move axes to other positions; the others keep their order.

    >>> nd.zeros((2, 3, 4)).T.shape, nd.moveaxis(nd.zeros((2, 3, 4)), 0, 2).shape
    ((4, 3, 2), (3, 4, 2))
    """
    try:
        np.moveaxis(np.empty((1,) * tensor.ndim), source, destination)  # NumPy judges the axes
    except ValueError as error:
        raise ShapeError(f"moveaxis({tensor.shape}, {source}, {destination}): {error}") from error
    return tensor.transpose(axes=_moved(tensor.ndim, source, destination))


def _moved(ndim: int, source: Any, destination: Any) -> tuple[int, ...]:
    sources = [int(s) % ndim for s in np.atleast_1d(source)]
    axes = [i for i in range(ndim) if i not in sources]
    for d, s in sorted(zip([int(d) % ndim for d in np.atleast_1d(destination)], sources, strict=True)):
        axes.insert(d, s)
    return tuple(axes)


def onehot_encode(indices: NDArray, out: NDArray) -> NDArray:
    """Write rows of a one-hot encoding of ``indices`` into ``out``.

    >>> nd.onehot_encode(nd.array([1]), nd.zeros((1, 3))).asnumpy()
    array([[0., 1., 0.]], dtype=float32)
    """
    op = OPS["one_hot"]
    return invoke(op, (indices,), op.parse({"depth": out.shape[1], "dtype": out.dtype}), out)


def split_v2(ary: NDArray, indices_or_sections: int | Sequence[int], axis: int = 0, squeeze_axis: bool = False) -> Any:
    """Split into equal parts, or at the given indices.

    >>> [p.shape for p in nd.split_v2(nd.zeros((4, 2)), [1])]
    [(1, 2), (3, 2)]
    """
    op = OPS["_split_v2"]
    if isinstance(indices_or_sections, int):
        if ary.shape[axis] % indices_or_sections:
            raise ValueError(f"array split does not result in an equal division: {ary.shape[axis]} elements along axis "
                             f"{axis} in {indices_or_sections} parts")
        attrs = {"indices": (), "axis": axis, "squeeze_axis": squeeze_axis, "sections": indices_or_sections}
    else:
        attrs = {"indices": (0, *indices_or_sections), "axis": axis, "squeeze_axis": squeeze_axis}
    return invoke(op, (ary,), op.parse(attrs))


def histogram(a: NDArray, bins: int | NDArray = 10, range: tuple[float, float] | None = None) -> Any:
    """How many elements of ``a`` fall into each bin (int64), and the edges of the bins.

    Parameters
    ----------
    a : NDArray
    bins : int or NDArray
        A number of equal bins, or their edges.
    range : (float, float), optional
        Where equal bins begin and end; default: from the least to the greatest element.

    >>> [x.asnumpy().tolist() for x in nd.histogram(nd.array([0, 1, 1, 4]), bins=2, range=(0, 4))]
    [[3, 1], [0.0, 2.0, 4.0]]
    """
    op = OPS["_histogram"]
    if isinstance(bins, NDArray):
        return invoke(op, (a, bins), op.parse({}))
    if range is None:
        low, high = (float(a._method(m).asscalar()) for m in ("min", "max")) if a.size else (0.0, 1.0)
        range = (low, high) if low < high else (low - 0.5, high + 0.5)
    return invoke(op, (a,), op.parse({"bin_cnt": bins, "range": tuple(range)}))


def from_numpy(ndarray: np.ndarray, zero_copy: bool = True) -> NDArray:
    """An array on the CPU that shares memory with a NumPy array where it can (then the latter becomes read-only).

    >>> nd.from_numpy(np.arange(3.)).asnumpy()
    array([0., 1., 2.])
    """
    dev = device_of(Context("cpu", 0))
    if not zero_copy:
        return array(ndarray, dtype=ndarray.dtype)
    if not ndarray.flags["C_CONTIGUOUS"]:
        raise ValueError("Only c-contiguous arrays are supported for zero-copy")
    if not isinstance(ndarray, dev.array_type):
        return wrap(NDArray, dev.backend.from_host(ndarray, dev.index), dev)
    shared = ndarray.view()
    shared_out(shared)
    ndarray.flags["WRITEABLE"] = False
    return wrap(NDArray, shared, dev)


def from_dlpack(dlpack: Any) -> NDArray:
    """An array that shares memory with any object that has ``__dlpack__`` (or a capsule that ``to_dlpack_*`` gave).

    >>> nd.from_dlpack(np.arange(3.)).asnumpy()
    array([0., 1., 2.])
    """
    kind = "cpu" if not hasattr(dlpack, "__dlpack_device__") or int(dlpack.__dlpack_device__()[0]) in (1, 3) else "gpu"
    dev = device_of(Context(kind, 0))
    if not hasattr(dlpack, "__dlpack__"):
        dlpack = _Capsule(dlpack)
    raw = dev.backend.from_dlpack(dlpack)
    shared_out(raw)
    return wrap(NDArray, raw, dev)


class _Capsule:
    """A bare DLPack capsule, dressed as the protocol asks."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def to_dlpack_for_read(data: NDArray) -> Any:
    """A DLPack capsule of an array, for reading."""
    return data.to_dlpack_for_read()


def to_dlpack_for_write(data: NDArray) -> Any:
    """A DLPack capsule of an array, for writing."""
    return data.to_dlpack_for_write()


def waitall() -> None:
    """Wait until all devices have done all that was asked of them."""
    for dev in devices():
        dev.backend.synchronize(None)
