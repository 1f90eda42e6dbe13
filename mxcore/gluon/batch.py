"""What training loops do with batches and gradients: split over devices, clip by norm. (MXNet: ``gluon.utils``.)"""

import warnings
from collections.abc import Sequence
from math import isfinite
from typing import Any

from .. import ndarray as nd
from ..context import Context
from ..errors import ArgumentError

__all__ = ["clip_global_norm", "split_and_load", "split_data"]


def split_data(data: Any, num_slice: int, batch_axis: int = 0, even_split: bool = True) -> list[Any]:
    """Cut an array into slices along the batch axis.

    Parameters
    ----------
    data : NDArray or numpy.ndarray
        A batch.
    num_slice : int
        How many slices.
    batch_axis : int
        The axis.
    even_split : bool
        Whether slices must be of equal size; else earlier slices have one more.

    Returns
    -------
    list of the type of data
        Also where there is one slice.

    Raises
    ------
    ArgumentError
        ``even_split`` and the size is no multiple of ``num_slice``.

    Examples
    --------
    >>> import mxcore as mx
    >>> [s.shape for s in split_data(mx.nd.ones((7, 2)), 3, even_split=False)]
    [(3, 2), (2, 2), (2, 2)]
    """
    size = data.shape[batch_axis]
    if even_split and size % num_slice:
        raise ArgumentError(f"data with shape {data.shape} cannot be evenly split into {num_slice} slices along axis "
                            f"{batch_axis}. Use a batch size that's multiple of {num_slice} or set even_split=False to "
                            "allow uneven partitioning of data.")
    step, more = divmod(size, num_slice)
    ends = [(i + 1) * step + min(i + 1, more) for i in range(num_slice)]
    before = (slice(None),) * batch_axis
    return [data[(*before, slice(start, end))] for start, end in zip([0, *ends], ends, strict=False)]


def split_and_load(data: Any, ctx_list: Sequence[Context], batch_axis: int = 0, even_split: bool = True) -> list[Any]:
    """Cut a batch into as many slices as there are contexts, and put each on its context.

    Parameters
    ----------
    data : NDArray or array_like
        A batch.
    ctx_list : list of Context
        The contexts.

    Returns
    -------
    list of NDArray
    """
    array = data if isinstance(data, nd.NDArray) else nd.array(data, ctx=ctx_list[0])
    if len(ctx_list) == 1:
        return [array.as_in_context(ctx_list[0])]
    slices = split_data(array, len(ctx_list), batch_axis, even_split)
    return [part.as_in_context(ctx) for part, ctx in zip(slices, ctx_list, strict=True)]


def clip_global_norm(arrays: Sequence[nd.NDArray], max_norm: float, check_isfinite: bool = True) -> Any:
    """Scale arrays in place so that the 2-norm of all of them together is at most ``max_norm``.

    Parameters
    ----------
    arrays : list of NDArray
        Gradients, on one or several contexts.
    max_norm : float
        The bound.
    check_isfinite : bool
        Whether the norm is read back, to warn where it is nan or inf.

    Returns
    -------
    float, or NDArray of shape (1,) where check_isfinite is False
        The norm before scaling.

    Examples
    --------
    >>> import mxcore as mx
    >>> arrays = [mx.nd.array([3.0, 4.0]), mx.nd.array([12.0])]
    >>> clip_global_norm(arrays, 6.5)
    13.0
    >>> arrays[1].asscalar()
    6.0
    """
    if not arrays:
        raise ArgumentError("clip_global_norm needs at least one array")
    ctx = arrays[0].ctx
    squares = [nd.sum(nd.square(array.astype("float32"))).as_in_context(ctx) for array in arrays]
    norm = nd.sqrt(nd.add_n(*squares))
    if not check_isfinite:
        scale = nd.broadcast_minimum(max_norm / (norm + 1e-8), nd.ones((1,), ctx=ctx))
        for array in arrays:
            array *= scale.astype(array.dtype).as_in_context(array.ctx)
        return norm
    total = float(norm.asscalar())
    if not isfinite(total):
        warnings.warn("nan or inf is detected. Clipping results will be undefined.", UserWarning, stacklevel=2)
        return total
    factor = max_norm / (total + 1e-8)
    if factor < 1:
        for array in arrays:
            array *= factor
    return total
