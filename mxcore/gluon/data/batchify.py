"""Batchify: how a list of samples becomes a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import ndarray as nd
from ...context import Context, current_context
from ...errors import ArgumentError, DTypeError, ShapeError
from ...runtime.device import device_of
from ...runtime.invoke import wrap

__all__ = ["Column", "default_batchify_fn", "default_mp_batchify_fn", "from_host", "host_array", "in_columns"]


def host_array(array: nd.NDArray) -> np.ndarray:
    """The values of an NDArray as a NumPy array: its own memory if it is on the host, else a copy."""
    raw = array._data
    return raw if type(raw) is np.ndarray else array.asnumpy()


def from_host(array: np.ndarray, ctx: Context, kind: type = nd.NDArray) -> nd.NDArray:
    """An NDArray on ``ctx`` of the class ``kind``; on the host it takes over the memory of ``array``."""
    dev = device_of(ctx)
    return wrap(kind, array if dev.array_type is np.ndarray else dev.backend.from_host(array, dev.index), dev)


class Column:
    """One field of all samples of a batch, not stacked yet: whoever stacks it says where to.

    Parameters
    ----------
    parts : sequence of numpy.ndarray
        One array per sample; all must have one shape. Types may differ and are promoted.
    """

    __slots__ = ("dtype", "parts", "shape")

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        first = parts[0].shape
        self.dtype: np.dtype = parts[0].dtype
        for part in parts:
            if part.shape != first:
                raise ShapeError(f"the samples of a batch differ in shape: {first} and {part.shape}; bring them to one "
                                 f"shape, or give the DataLoader a batchify_fn that pads them")
            if part.dtype != self.dtype:
                self.dtype = np.result_type(self.dtype, part.dtype)
        self.parts = parts
        self.shape = (len(parts), *first)

    def write(self, out: np.ndarray) -> np.ndarray:
        """Stack into ``out``, an array of this column's shape and type."""
        for i, part in enumerate(self.parts):
            out[i] = part
        return out


def in_columns(samples: Sequence, stack: Callable[[Column], Any], single: Callable[[np.ndarray], Any]) -> Any:
    """Turn samples into a batch.

    Tuples become lists, field by field; arrays go through ``stack``, and numbers (or nested lists of them), made one
    array, through ``single``.
    """
    if not len(samples):
        raise IndexError("a batch needs at least one sample")
    first = samples[0]
    if isinstance(first, tuple):
        lengths = {len(s) for s in samples}
        if len(lengths) > 1:
            raise ArgumentError(f"the samples of a batch have different numbers of fields: {sorted(lengths)}")
        return [in_columns(field, stack, single) for field in zip(*samples, strict=True)]
    if isinstance(first, nd.NDArray):
        if type(first._data) is not np.ndarray:
            return nd.stack(*samples)  # it stays on its device
        return stack(Column([host_array(s) for s in samples]))
    if type(first) is np.ndarray and first.dtype.kind in "biufV":
        return stack(Column(samples))
    return single(_numbers(samples))


def _numbers(samples: Sequence) -> np.ndarray:
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise ShapeError(f"the samples of a batch differ in length: {error}; give the DataLoader a batchify_fn that "
                         f"pads them") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"cannot make a batch of samples like {samples[0]!r:.60} of type {type(samples[0]).__name__}: "
                         f"the default batchify takes arrays, numbers, lists of numbers and tuples of these; give the "
                         f"DataLoader a batchify_fn")
    return array


def default_batchify_fn(data: Sequence) -> Any:
    """Stack samples into a batch.

    Parameters
    ----------
    data : list of samples
        NDArrays, NumPy arrays, numbers, lists of numbers, or tuples of these.

    Returns
    -------
    NDArray, or list of them
        One array with a new first axis and the samples' type (float64 stays float64); for tuples a list with one
        array per field.

    Raises
    ------
    ShapeError
        If shapes of samples differ.
    DTypeError
        If samples are of a kind that makes no array (strings, dicts).

    Examples
    --------
    >>> data, label = default_batchify_fn([(np.zeros((2, 2)), 1), (np.ones((2, 2)), 0)])
    >>> data.shape, data.dtype, label.asnumpy().tolist()
    ((2, 2, 2), <class 'numpy.float64'>, [1, 0])
    """
    ctx = current_context()
    return in_columns(data, lambda column: from_host(column.write(np.empty(column.shape, column.dtype)), ctx),
                      lambda array: from_host(array, ctx))


def default_mp_batchify_fn(data: Sequence) -> Any:
    """What worker processes use in place of :func:`default_batchify_fn`: the same batches.

    Called by a user it does the same. A worker process stacks straight into the shared memory that its parent reads.
    """
    return default_batchify_fn(data)
