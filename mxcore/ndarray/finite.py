"""``nd.all_finite`` and ``nd.multi_all_finite``: as MXNet's, they can collect their answers in one array."""

from __future__ import annotations

from typing import Any

from ..registry.op import OPS
from ..runtime.invoke import invoke
from .ndarray import NDArray

__all__ = ["all_finite", "multi_all_finite"]


def _collected(result: NDArray, init_output: bool, out: NDArray | None) -> NDArray:
    if out is None:
        return result
    out._assign_raw((result if init_output else result * out)._data)
    return out


def all_finite(data: NDArray, init_output: bool = True, out: NDArray | None = None, name: str | None = None) -> NDArray:
    """1 if no element is nan or infinite, else 0, as a float32 array of shape (1,).

    Parameters
    ----------
    data : NDArray
    init_output : bool
        False: ``out`` keeps its 0 if it holds one.
    out : NDArray, optional
        Where to write.

    >>> nd.all_finite(nd.array([1, np.inf])).item()
    0.0
    """
    return multi_all_finite(data, init_output=init_output, out=out)


def multi_all_finite(*data: Any, num_arrays: int = 1, init_output: bool = True, out: NDArray | None = None,
                     name: str | None = None) -> NDArray:
    """1 if no element of any array is nan or infinite, else 0; see :func:`all_finite`.

    >>> good = nd.ones(1)
    >>> for chunk in ([nd.ones(2), nd.array([np.nan])], [nd.ones(3)]):
    ...     _ = nd.multi_all_finite(*chunk, num_arrays=len(chunk), init_output=False, out=good)
    >>> good.item()
    0.0
    """
    arrays = list(data[0]) if len(data) == 1 and isinstance(data[0], (list, tuple)) else list(data)
    op = OPS["multi_all_finite"]
    return _collected(invoke(op, arrays, op.parse({"num_arrays": len(arrays)})), init_output, out)
