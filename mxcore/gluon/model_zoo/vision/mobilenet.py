"""MobileNet v1 (Howard et al., 2017, https://arxiv.org/abs/1704.04861) and v2 (Sandler et al., 2018,
https://arxiv.org/abs/1801.04381), with a multiplier on the number of channels."""

from __future__ import annotations

from typing import Any

from ....context import Context, cpu
from ... import nn
from ...block import HybridBlock
from ..model_store import load_pretrained

__all__ = [
    "MobileNet", "MobileNetV2", "get_mobilenet", "get_mobilenet_v2", "mobilenet0_5", "mobilenet0_25", "mobilenet0_75",
    "mobilenet1_0", "mobilenet_v2_0_5", "mobilenet_v2_0_25", "mobilenet_v2_0_75", "mobilenet_v2_1_0",
]


class RELU6(HybridBlock):
    """Rectifier that is cut at 6.

    Examples
    --------
    >>> import mxcore as mx
    >>> RELU6()(mx.nd.array([-1, 3, 9])).asnumpy().tolist()
    [0.0, 3.0, 6.0]
    """

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.clip(x, 0, 6, name="relu6")


def _conv(channels: int, kernel: int = 1, stride: int = 1, pad: int = 0, groups: int = 1, activation: Any = None,
          ) -> list[HybridBlock]:
    layers = [nn.Conv2D(channels, kernel, stride, pad, groups=groups, use_bias=False), nn.BatchNorm()]
    return layers if activation is None else [*layers, activation()]


def _relu() -> HybridBlock:
    return nn.Activation("relu")


class LinearBottleneck(HybridBlock):
    """Inverted residual of MobileNet v2: widen (1x1), filter each channel (3x3), narrow without activation (1x1).

    Parameters
    ----------
    in_channels, channels : int
        Number of input and output channels.
    t : int
        Factor by which the block widens.
    stride : int
        Stride of the 3x3 filter. With stride 1 and as many output as input channels the input is added.

    Examples
    --------
    >>> import mxcore as mx
    >>> block = LinearBottleneck(4, 8, t=6, stride=2)
    >>> block.initialize()
    >>> block(mx.nd.ones((1, 4, 6, 6))).shape
    (1, 8, 3, 3)
    """

    def __init__(self, in_channels: int, channels: int, t: int, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.use_shortcut = stride == 1 and in_channels == channels
        wide = in_channels * t
        with self.name_scope():
            self.out = nn.HybridSequential()
            self.out.add(*_conv(wide, activation=RELU6),
                         *_conv(wide, kernel=3, stride=stride, pad=1, groups=wide, activation=RELU6),
                         *_conv(channels))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        out = self.out(x)
        return F.elemwise_add(out, x) if self.use_shortcut else out


class MobileNet(HybridBlock):
    """MobileNet v1: a stack of depthwise (3x3) and pointwise (1x1) convolutions.

    Parameters
    ----------
    multiplier : float
        Factor on the number of channels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> import mxcore as mx
    >>> net = mx.gluon.model_zoo.vision.MobileNet(0.25, classes=10)
    >>> net.initialize()
    >>> net(mx.nd.ones((1, 3, 32, 32))).shape
    (1, 10)
    """

    def __init__(self, multiplier: float = 1.0, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        widths = [int(x * multiplier) for x in [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]]
        strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(*_conv(widths[0], kernel=3, stride=2, pad=1, activation=_relu))
            for width, out, stride in zip(widths, widths[1:], strides, strict=False):
                self.features.add(*_conv(width, kernel=3, stride=stride, pad=1, groups=width, activation=_relu),
                                  *_conv(out, activation=_relu))
            self.features.add(nn.GlobalAvgPool2D(), nn.Flatten())
            self.output = nn.Dense(classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


# factor t, channels, number of blocks, stride of the first block (table 2 of the paper)
_STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class MobileNetV2(HybridBlock):
    """MobileNet v2: a stack of :class:`LinearBottleneck` blocks.

    Parameters
    ----------
    multiplier : float
        Factor on the number of channels.
    classes : int
        Number of classes.

    Examples
    --------
    >>> import mxcore as mx
    >>> net = mx.gluon.model_zoo.vision.MobileNetV2(0.25, classes=10)
    >>> net.initialize()
    >>> net(mx.nd.ones((1, 3, 32, 32))).shape
    (1, 10)
    """

    def __init__(self, multiplier: float = 1.0, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="features_")
            with self.features.name_scope():
                width = int(32 * multiplier)
                self.features.add(*_conv(width, kernel=3, stride=2, pad=1, activation=RELU6))
                for t, channels, count, stride in _STAGES:
                    for i in range(count):
                        out = int(channels * multiplier)
                        self.features.add(LinearBottleneck(width, out, t, stride if i == 0 else 1))
                        width = out
                last = int(1280 * multiplier) if multiplier > 1.0 else 1280
                self.features.add(*_conv(last, activation=RELU6), nn.GlobalAvgPool2D())
            self.output = nn.HybridSequential(prefix="output_")
            with self.output.name_scope():
                self.output.add(nn.Conv2D(classes, 1, use_bias=False, prefix="pred_"), nn.Flatten())

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def _named(multiplier: float) -> str:
    """0.25 -> ``"0.25"``, 1.0 -> ``"1.0"``: how files name the multiplier."""
    text = f"{multiplier:.2f}"
    return text[:-1] if text in ("1.00", "0.50") else text


def get_mobilenet(multiplier: float, pretrained: bool = False, ctx: Context | None = None, root: str | None = None,
                  **kwargs: Any) -> MobileNet:
    """MobileNet v1 by its multiplier.

    Parameters
    ----------
    multiplier : float
        Factor on the number of channels.
    pretrained : bool
        Whether to load parameters from a local file (see :mod:`mxcore.gluon.model_zoo.model_store`).
    ctx : Context, optional
        Where the parameters are loaded; the CPU by default.
    root : str, optional
        Folder of the file.
    **kwargs
        ``classes``, ``prefix``, ``params``.

    Examples
    --------
    >>> get_mobilenet(0.25, classes=10).output
    Dense(None -> 10, linear)
    """
    net = MobileNet(multiplier, **kwargs)
    if pretrained:
        load_pretrained(net, f"mobilenet{_named(multiplier)}", ctx or cpu(), root)
    return net


def get_mobilenet_v2(multiplier: float, pretrained: bool = False, ctx: Context | None = None, root: str | None = None,
                     **kwargs: Any) -> MobileNetV2:
    """MobileNet v2 by its multiplier; arguments as for :func:`get_mobilenet`.

    Examples
    --------
    >>> get_mobilenet_v2(0.25, classes=10).output[0]
    Conv2D(None -> 10, kernel_size=(1, 1), stride=(1, 1), bias=False)
    """
    net = MobileNetV2(multiplier, **kwargs)
    if pretrained:
        load_pretrained(net, f"mobilenetv2_{_named(multiplier)}", ctx or cpu(), root)
    return net


def mobilenet1_0(**kwargs: Any) -> MobileNet:
    """MobileNet v1; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet(1.0, **kwargs)


def mobilenet0_75(**kwargs: Any) -> MobileNet:
    """MobileNet v1 with 0.75 times the channels; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet(0.75, **kwargs)


def mobilenet0_5(**kwargs: Any) -> MobileNet:
    """MobileNet v1 with 0.5 times the channels; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet(0.5, **kwargs)


def mobilenet0_25(**kwargs: Any) -> MobileNet:
    """MobileNet v1 with 0.25 times the channels; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet(0.25, **kwargs)


def mobilenet_v2_1_0(**kwargs: Any) -> MobileNetV2:
    """MobileNet v2; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet_v2(1.0, **kwargs)


def mobilenet_v2_0_75(**kwargs: Any) -> MobileNetV2:
    """MobileNet v2 with 0.75 times the channels; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet_v2(0.75, **kwargs)


def mobilenet_v2_0_5(**kwargs: Any) -> MobileNetV2:
    """MobileNet v2 with 0.5 times the channels; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet_v2(0.5, **kwargs)


def mobilenet_v2_0_25(**kwargs: Any) -> MobileNetV2:
    """MobileNet v2 with 0.25 times the channels; keyword arguments as for :func:`get_mobilenet`."""
    return get_mobilenet_v2(0.25, **kwargs)
