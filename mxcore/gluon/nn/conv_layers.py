"""Convolutions, transposed convolutions and padding; with them the pooling layers."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError
from ..block import HybridBlock
from .activations import Activation
from .pool_layers import (
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalAvgPool3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPool3D,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
    as_tuple,
)

__all__ = [
    "AvgPool1D", "AvgPool2D", "AvgPool3D", "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D",
    "Conv3DTranspose", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D", "GlobalMaxPool1D", "GlobalMaxPool2D",
    "GlobalMaxPool3D", "MaxPool1D", "MaxPool2D", "MaxPool3D", "ReflectionPad2D",
]

Size = int | tuple[int, ...]


class _Conv(HybridBlock):
    """What all convolutions share; ``op_name`` is the operator, ``adj`` the output padding of the transposed ones."""

    def __init__(self, channels: int, kernel_size: tuple[int, ...], strides: Size, padding: Size, dilation: Size,
                 groups: int, layout: str, in_channels: int = 0, activation: str | None = None, use_bias: bool = True,
                 weight_initializer: Any = None, bias_initializer: Any = "zeros", op_name: str = "Convolution",
                 adj: Size | None = None, prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        n = len(kernel_size)
        self._channels = channels
        self._in_channels = in_channels
        self._op_name = op_name
        strides = self._spatial("strides", strides, n)
        self._kwargs: dict[str, Any] = {
            "kernel": kernel_size, "stride": strides, "dilate": self._spatial("dilation", dilation, n),
            "pad": self._spatial("padding", padding, n), "num_filter": channels, "num_group": groups,
            "no_bias": not use_bias, "layout": layout}
        if channels % groups or in_channels % groups:
            raise ArgumentError(f"{type(self).__name__}: groups={groups} does not divide channels={channels}"
                                + (f" and in_channels={in_channels}" if in_channels else ""))
        if adj is not None:
            self._kwargs["adj"] = adj = self._spatial("output_padding", adj, n)
            if any(a >= s for a, s in zip(adj, strides, strict=True)):
                raise ArgumentError(f"{type(self).__name__}: output_padding={adj} must be less than strides={strides}")
        # a convolution keeps its filters first, a transposed one (as the gradient of a convolution) last
        first, second = (in_channels, channels // groups) if adj is not None else (channels, in_channels // groups)
        shape = (first, *kernel_size, second) if layout.endswith("C") else (first, second, *kernel_size)
        with self.name_scope():
            self.weight = self.params.get("weight", shape=shape, init=weight_initializer, allow_deferred_init=True)
            self.bias = self.params.get("bias", shape=(channels,), init=bias_initializer,
                                        allow_deferred_init=True) if use_bias else None
            self.act = None if activation is None else Activation(activation, prefix=activation + "_")

    def _spatial(self, name: str, value: Size, n: int) -> tuple[int, ...]:
        value = as_tuple(value, n)
        if len(value) != n:
            raise ArgumentError(f"{type(self).__name__}: {name}={value} must be a number or {n} numbers, "
                                f"as many as kernel_size has")
        return value

    def _alias(self) -> str:
        return "conv"

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        inputs = (x, weight) if bias is None else (x, weight, bias)
        y = getattr(F, self._op_name)(*inputs, name="fwd", **self._kwargs)
        return y if self.act is None else self.act(y)

    def __repr__(self) -> str:
        given = self._kwargs
        n = len(given["kernel"])
        first, second = (self.weight.shape or (0, 0))[:2]
        parts = [f"{second or None} -> {first}", f"kernel_size={given['kernel']}", f"stride={given['stride']}"]
        if given["pad"] != (0,) * n:
            parts.append(f"padding={given['pad']}")
        if given["dilate"] != (1,) * n:
            parts.append(f"dilation={given['dilate']}")
        if given["num_group"] != 1:
            parts.append(f"groups={given['num_group']}")
        if self.bias is None:
            parts.append("bias=False")
        if self.act is not None:
            parts.append(repr(self.act))
        return f"{type(self).__name__}({', '.join(parts)})"


def _kernel(kernel_size: Size, n: int) -> tuple[int, ...]:
    kernel_size = as_tuple(kernel_size, n)
    assert len(kernel_size) == n, f"kernel_size must be a number or a list of {n} ints"
    return kernel_size


def _check_layout(layout: str, *allowed: str) -> None:
    assert layout in allowed, f"Only supports {' and '.join(map(repr, allowed))} layout for now"


class Conv1D(_Conv):
    """1-D convolution (cross-correlation): ``(n, in_channels, width) -> (n, channels, out_width)``.

    The parameters are those of :class:`Conv2D` with one spatial axis; ``layout`` is ``NCW``.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Conv1D(4, 3, padding=1)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 5, 8))).shape
    (2, 4, 8)
    """

    def __init__(self, channels: int, kernel_size: Size, strides: Size = 1, padding: Size = 0, dilation: Size = 1,
                 groups: int = 1, layout: str = "NCW", activation: str | None = None, use_bias: bool = True,
                 weight_initializer: Any = None, bias_initializer: Any = "zeros", in_channels: int = 0,
                 **kwargs: Any) -> None:
        _check_layout(layout, "NCW")
        super().__init__(channels, _kernel(kernel_size, 1), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, **kwargs)


class Conv2D(_Conv):
    """2-D convolution (cross-correlation) of ``(n, in_channels, height, width)``.

    The result is ``(n, channels, out_height, out_width)``, where on each axis
    ``out = floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1``.

    Parameters
    ----------
    channels : int
        Number of output channels (filters).
    kernel_size : int or tuple of int
        Size of the filter along each spatial axis.
    strides, padding, dilation : int or tuple of int
        Step of the window, zeros added on both sides, and distance between the taps of the filter.
    groups : int
        Input and output channels are split into this many groups, each convolved on its own.
    layout : str
        Order of the axes of data and weight: ``NCHW`` or ``NHWC``.
    activation : str, optional
        Name of an activation applied to the result (see :class:`Activation`); none by default.
    use_bias : bool
        Whether each output channel has a bias.
    weight_initializer, bias_initializer : str or Initializer, optional
        Initializers of ``weight`` ``(channels, in_channels / groups, height, width)`` and ``bias`` ``(channels,)``.
    in_channels : int
        Number of input channels; 0 finds it at the first call.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Conv2D(4, kernel_size=3, strides=2, padding=1, activation="relu")
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 3, 8, 8))).shape
    (2, 4, 4, 4)
    >>> layer.weight.shape
    (4, 3, 3, 3)
    """

    def __init__(self, channels: int, kernel_size: Size, strides: Size = (1, 1), padding: Size = (0, 0),
                 dilation: Size = (1, 1), groups: int = 1, layout: str = "NCHW", activation: str | None = None,
                 use_bias: bool = True, weight_initializer: Any = None, bias_initializer: Any = "zeros",
                 in_channels: int = 0, **kwargs: Any) -> None:
        _check_layout(layout, "NCHW", "NHWC")
        super().__init__(channels, _kernel(kernel_size, 2), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, **kwargs)


class Conv3D(_Conv):
    """3-D convolution (cross-correlation) of ``(n, in_channels, depth, height, width)``.

    The parameters are those of :class:`Conv2D` with three spatial axes; ``layout`` is ``NCDHW`` or ``NDHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Conv3D(4, kernel_size=2)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 2, 5, 5, 5))).shape
    (1, 4, 4, 4, 4)
    """

    def __init__(self, channels: int, kernel_size: Size, strides: Size = (1, 1, 1), padding: Size = (0, 0, 0),
                 dilation: Size = (1, 1, 1), groups: int = 1, layout: str = "NCDHW", activation: str | None = None,
                 use_bias: bool = True, weight_initializer: Any = None, bias_initializer: Any = "zeros",
                 in_channels: int = 0, **kwargs: Any) -> None:
        _check_layout(layout, "NCDHW", "NDHWC")
        super().__init__(channels, _kernel(kernel_size, 3), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, **kwargs)


class Conv1DTranspose(_Conv):
    """1-D transposed convolution: ``(n, in_channels, width) -> (n, channels, out_width)``.

    The parameters are those of :class:`Conv2DTranspose` with one spatial axis; ``layout`` is ``NCW``.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Conv1DTranspose(4, 3, strides=2)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 5, 8))).shape
    (2, 4, 17)
    """

    def __init__(self, channels: int, kernel_size: Size, strides: Size = 1, padding: Size = 0,
                 output_padding: Size = 0, dilation: Size = 1, groups: int = 1, layout: str = "NCW",
                 activation: str | None = None, use_bias: bool = True, weight_initializer: Any = None,
                 bias_initializer: Any = "zeros", in_channels: int = 0, **kwargs: Any) -> None:
        _check_layout(layout, "NCW")
        super().__init__(channels, _kernel(kernel_size, 1), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, op_name="Deconvolution",
                         adj=output_padding, **kwargs)


class Conv2DTranspose(_Conv):
    """2-D transposed convolution ("deconvolution"): what the gradient of :class:`Conv2D` does to its input.

    Shapes go the other way: on each axis
    ``out = (in - 1) stride - 2 padding + dilation (kernel - 1) + 1 + output_padding``.

    Parameters
    ----------
    output_padding : int or tuple of int
        Rows added to the end of the output; less than the stride.
    channels, kernel_size, strides, padding, dilation, groups, layout, activation, use_bias, weight_initializer, \
bias_initializer, in_channels
        As for :class:`Conv2D`; ``weight`` is ``(in_channels, channels / groups, height, width)``.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Conv2DTranspose(4, kernel_size=4, strides=2, padding=1)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 3, 8, 8))).shape
    (2, 4, 16, 16)
    """

    def __init__(self, channels: int, kernel_size: Size, strides: Size = (1, 1), padding: Size = (0, 0),
                 output_padding: Size = (0, 0), dilation: Size = (1, 1), groups: int = 1, layout: str = "NCHW",
                 activation: str | None = None, use_bias: bool = True, weight_initializer: Any = None,
                 bias_initializer: Any = "zeros", in_channels: int = 0, **kwargs: Any) -> None:
        _check_layout(layout, "NCHW", "NHWC")
        super().__init__(channels, _kernel(kernel_size, 2), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, op_name="Deconvolution",
                         adj=output_padding, **kwargs)


class Conv3DTranspose(_Conv):
    """3-D transposed convolution of ``(n, in_channels, depth, height, width)``.

    The parameters are those of :class:`Conv2DTranspose` with three spatial axes; ``layout`` is ``NCDHW`` or ``NDHWC``.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Conv3DTranspose(4, kernel_size=2, strides=2)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 2, 3, 3, 3))).shape
    (1, 4, 6, 6, 6)
    """

    def __init__(self, channels: int, kernel_size: Size, strides: Size = (1, 1, 1), padding: Size = (0, 0, 0),
                 output_padding: Size = (0, 0, 0), dilation: Size = (1, 1, 1), groups: int = 1, layout: str = "NCDHW",
                 activation: str | None = None, use_bias: bool = True, weight_initializer: Any = None,
                 bias_initializer: Any = "zeros", in_channels: int = 0, **kwargs: Any) -> None:
        _check_layout(layout, "NCDHW", "NDHWC")
        super().__init__(channels, _kernel(kernel_size, 3), strides, padding, dilation, groups, layout, in_channels,
                         activation, use_bias, weight_initializer, bias_initializer, op_name="Deconvolution",
                         adj=output_padding, **kwargs)


class ReflectionPad2D(HybridBlock):
    """Pads height and width of ``(n, c, h, w)`` with the reflection of the image at its border.

    Parameters
    ----------
    padding : int or tuple of 8 int
        Width of the border; a tuple gives the width before and after each of the four axes.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.ReflectionPad2D(1)(mx.nd.array([[[[1, 2], [3, 4]]]])).asnumpy()[0, 0, 0].tolist()
    [4.0, 3.0, 4.0, 3.0]
    """

    def __init__(self, padding: int | tuple[int, ...] = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(padding, int):
            padding = (0, 0, 0, 0, padding, padding, padding, padding)
        assert len(padding) == 8, f"padding must be a number or 8 numbers (before and after each axis), not {padding}"
        self._padding = tuple(padding)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.pad(x, mode="reflect", pad_width=self._padding)
