"""Pooling layers: maximum and average, over windows or over everything."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from ..block import HybridBlock

__all__ = [
    "AvgPool1D", "AvgPool2D", "AvgPool3D", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "GlobalMaxPool3D", "MaxPool1D", "MaxPool2D", "MaxPool3D",
]

Size = int | tuple[int, ...]
_LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def as_tuple(value: Size, n: int) -> tuple[int, ...]:
    """``n`` copies of a number, or the given numbers as a tuple."""
    return (int(value),) * n if isinstance(value, Integral) else tuple(value)  # type: ignore[arg-type]


class _Pooling(HybridBlock):
    """What all pooling layers share; ``n`` is the number of spatial axes."""

    def __init__(self, n: int, pool_size: Size, strides: Size | None, padding: Size, ceil_mode: bool, global_pool: bool,
                 pool_type: str, layout: str, count_include_pad: bool | None = None, **kwargs: Any) -> None:
        first, last = _LAYOUTS[n]
        assert layout in (first, last), f"Only {first} and {last} layouts are valid for {n}D Pooling"
        pool_size = as_tuple(pool_size, n)
        assert len(pool_size) == n, f"pool_size must be a number or a list of {n} ints"
        super().__init__(**kwargs)
        self._kwargs = {"kernel": pool_size, "stride": pool_size if strides is None else as_tuple(strides, n),
                        "pad": as_tuple(padding, n), "global_pool": global_pool, "pool_type": pool_type,
                        "layout": layout, "pooling_convention": "full" if ceil_mode else "valid"}
        if count_include_pad is not None:
            self._kwargs["count_include_pad"] = count_include_pad

    def _alias(self) -> str:
        return "pool"

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.Pooling(x, name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        given = self._kwargs
        return (f"{type(self).__name__}(size={given['kernel']}, stride={given['stride']}, padding={given['pad']}, "
                f"ceil_mode={given['pooling_convention'] == 'full'}, global_pool={given['global_pool']}, "
                f"pool_type={given['pool_type']}, layout={given['layout']})")


class MaxPool1D(_Pooling):
    """Maximum over windows of ``(n, c, width)``.

    The parameters are those of :class:`MaxPool2D` with one spatial axis; ``layout`` is ``NCW`` or ``NWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.MaxPool1D(2)(mx.nd.array([[[1, 3, 2, 5]]])).asnumpy().tolist()
    [[[3.0, 5.0]]]
    """

    def __init__(self, pool_size: Size = 2, strides: Size | None = None, padding: Size = 0, layout: str = "NCW",
                 ceil_mode: bool = False, **kwargs: Any) -> None:
        super().__init__(1, pool_size, strides, padding, ceil_mode, False, "max", layout, **kwargs)


class MaxPool2D(_Pooling):
    """Maximum over windows of ``(n, c, height, width)``.

    On each axis ``out = floor((in + 2 padding - pool_size) / stride) + 1``.

    Parameters
    ----------
    pool_size : int or tuple of int
        Size of the window.
    strides : int or tuple of int, optional
        Step of the window; ``pool_size`` by default.
    padding : int or tuple of int
        Rows added on both sides; they never win.
    ceil_mode : bool
        Round the size of the output up instead of down.
    layout : str
        Order of the axes: ``NCHW`` or ``NHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.MaxPool2D(2)(mx.nd.ones((1, 3, 8, 8))).shape
    (1, 3, 4, 4)
    """

    def __init__(self, pool_size: Size = (2, 2), strides: Size | None = None, padding: Size = 0, layout: str = "NCHW",
                 ceil_mode: bool = False, **kwargs: Any) -> None:
        super().__init__(2, pool_size, strides, padding, ceil_mode, False, "max", layout, **kwargs)


class MaxPool3D(_Pooling):
    """Maximum over windows of ``(n, c, depth, height, width)``.

    The parameters are those of :class:`MaxPool2D` with three spatial axes; ``layout`` is ``NCDHW`` or ``NDHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.MaxPool3D(2)(mx.nd.ones((1, 3, 4, 8, 8))).shape
    (1, 3, 2, 4, 4)
    """

    def __init__(self, pool_size: Size = (2, 2, 2), strides: Size | None = None, padding: Size = 0,
                 ceil_mode: bool = False, layout: str = "NCDHW", **kwargs: Any) -> None:
        super().__init__(3, pool_size, strides, padding, ceil_mode, False, "max", layout, **kwargs)


class AvgPool1D(_Pooling):
    """Average over windows of ``(n, c, width)``.

    The parameters are those of :class:`AvgPool2D` with one spatial axis; ``layout`` is ``NCW`` or ``NWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.AvgPool1D(2)(mx.nd.array([[[1, 3, 2, 6]]])).asnumpy().tolist()
    [[[2.0, 4.0]]]
    """

    def __init__(self, pool_size: Size = 2, strides: Size | None = None, padding: Size = 0, layout: str = "NCW",
                 ceil_mode: bool = False, count_include_pad: bool = True, **kwargs: Any) -> None:
        super().__init__(1, pool_size, strides, padding, ceil_mode, False, "avg", layout, count_include_pad, **kwargs)


class AvgPool2D(_Pooling):
    """Average over windows of ``(n, c, height, width)``.

    On each axis ``out = floor((in + 2 padding - pool_size) / stride) + 1``.

    Parameters
    ----------
    pool_size : int or tuple of int
        Size of the window.
    strides : int or tuple of int, optional
        Step of the window; ``pool_size`` by default.
    padding : int or tuple of int
        Rows added on both sides; they are zero.
    ceil_mode : bool
        Round the size of the output up instead of down.
    layout : str
        Order of the axes: ``NCHW`` or ``NHWC``.
    count_include_pad : bool
        Whether the padding counts in the average.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.AvgPool2D(3, strides=2, padding=1)(mx.nd.ones((1, 3, 8, 8))).shape
    (1, 3, 4, 4)
    """

    def __init__(self, pool_size: Size = (2, 2), strides: Size | None = None, padding: Size = 0,
                 ceil_mode: bool = False, layout: str = "NCHW", count_include_pad: bool = True, **kwargs: Any) -> None:
        super().__init__(2, pool_size, strides, padding, ceil_mode, False, "avg", layout, count_include_pad, **kwargs)


class AvgPool3D(_Pooling):
    """Average over windows of ``(n, c, depth, height, width)``.

    The parameters are those of :class:`AvgPool2D` with three spatial axes; ``layout`` is ``NCDHW`` or ``NDHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.AvgPool3D(2)(mx.nd.ones((1, 3, 4, 8, 8))).shape
    (1, 3, 2, 4, 4)
    """

    def __init__(self, pool_size: Size = (2, 2, 2), strides: Size | None = None, padding: Size = 0,
                 ceil_mode: bool = False, layout: str = "NCDHW", count_include_pad: bool = True, **kwargs: Any) -> None:
        super().__init__(3, pool_size, strides, padding, ceil_mode, False, "avg", layout, count_include_pad, **kwargs)


class _GlobalPooling(_Pooling):
    """Pooling over all of the spatial axes, which keep length 1."""

    def __init__(self, n: int, pool_type: str, layout: str, **kwargs: Any) -> None:
        super().__init__(n, 1, None, 0, True, True, pool_type, layout, **kwargs)


class GlobalMaxPool1D(_GlobalPooling):
    """Maximum over the width: ``(n, c, w) -> (n, c, 1)``.

    Parameters
    ----------
    layout : str
        ``NCW`` or ``NWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.GlobalMaxPool1D()(mx.nd.array([[[1, 3]]])).asnumpy().tolist()
    [[[3.0]]]
    """

    def __init__(self, layout: str = "NCW", **kwargs: Any) -> None:
        super().__init__(1, "max", layout, **kwargs)


class GlobalMaxPool2D(_GlobalPooling):
    """Maximum over height and width: ``(n, c, h, w) -> (n, c, 1, 1)``.

    Parameters
    ----------
    layout : str
        ``NCHW`` or ``NHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.GlobalMaxPool2D()(mx.nd.ones((2, 3, 4, 5))).shape
    (2, 3, 1, 1)
    """

    def __init__(self, layout: str = "NCHW", **kwargs: Any) -> None:
        super().__init__(2, "max", layout, **kwargs)


class GlobalMaxPool3D(_GlobalPooling):
    """Maximum over depth, height and width: ``(n, c, d, h, w) -> (n, c, 1, 1, 1)``.

    Parameters
    ----------
    layout : str
        ``NCDHW`` or ``NDHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.GlobalMaxPool3D()(mx.nd.ones((2, 3, 4, 5, 6))).shape
    (2, 3, 1, 1, 1)
    """

    def __init__(self, layout: str = "NCDHW", **kwargs: Any) -> None:
        super().__init__(3, "max", layout, **kwargs)


class GlobalAvgPool1D(_GlobalPooling):
    """Average over the width: ``(n, c, w) -> (n, c, 1)``.

    Parameters
    ----------
    layout : str
        ``NCW`` or ``NWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.GlobalAvgPool1D()(mx.nd.array([[[1, 3]]])).asnumpy().tolist()
    [[[2.0]]]
    """

    def __init__(self, layout: str = "NCW", **kwargs: Any) -> None:
        super().__init__(1, "avg", layout, **kwargs)


class GlobalAvgPool2D(_GlobalPooling):
    """Average over height and width: ``(n, c, h, w) -> (n, c, 1, 1)``.

    Parameters
    ----------
    layout : str
        ``NCHW`` or ``NHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.GlobalAvgPool2D()(mx.nd.ones((2, 3, 4, 5))).shape
    (2, 3, 1, 1)
    """

    def __init__(self, layout: str = "NCHW", **kwargs: Any) -> None:
        super().__init__(2, "avg", layout, **kwargs)


class GlobalAvgPool3D(_GlobalPooling):
    """Average over depth, height and width: ``(n, c, d, h, w) -> (n, c, 1, 1, 1)``.

    Parameters
    ----------
    layout : str
        ``NCDHW`` or ``NDHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.GlobalAvgPool3D()(mx.nd.ones((2, 3, 4, 5, 6))).shape
    (2, 3, 1, 1, 1)
    """

    def __init__(self, layout: str = "NCDHW", **kwargs: Any) -> None:
        super().__init__(3, "avg", layout, **kwargs)
