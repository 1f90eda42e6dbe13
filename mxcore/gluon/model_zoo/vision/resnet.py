"""Residual networks: v1 (He et al., 2015, https://arxiv.org/abs/1512.03385) and v2, which normalizes and activates
before each convolution (He et al., 2016, https://arxiv.org/abs/1603.05027)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....context import Context, cpu
from ... import nn
from ...block import HybridBlock
from ..model_store import load_pretrained

__all__ = [
    "BasicBlockV1", "BasicBlockV2", "BottleneckV1", "BottleneckV2", "ResNetV1", "ResNetV2", "get_resnet", "resnet18_v1",
    "resnet18_v2", "resnet34_v1", "resnet34_v2", "resnet50_v1", "resnet50_v2", "resnet101_v1", "resnet101_v2",
    "resnet152_v1", "resnet152_v2",
]


def _conv3x3(channels: int, stride: int, in_channels: int) -> nn.Conv2D:
    return nn.Conv2D(channels, kernel_size=3, strides=stride, padding=1, use_bias=False, in_channels=in_channels)


def _conv1x1(channels: int, stride: int = 1, in_channels: int = 0, use_bias: bool = False) -> nn.Conv2D:
    return nn.Conv2D(channels, kernel_size=1, strides=stride, use_bias=use_bias, in_channels=in_channels)


def _relu(F: Any, x: Any) -> Any:
    return F.Activation(x, act_type="relu")


class _BlockV1(HybridBlock):
    """A rectifier over the sum of ``body(x)`` and a shortcut: a 1x1 convolution if ``downsample``, else ``x``."""

    def __init__(self, channels: int, stride: int, downsample: bool = False, in_channels: int = 0,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.body = nn.HybridSequential(prefix="")
        self.body.add(*self._layers(channels, stride, in_channels))
        self.downsample = None
        if downsample:
            self.downsample = nn.HybridSequential(prefix="")
            self.downsample.add(_conv1x1(channels, stride, in_channels), nn.BatchNorm())

    def _layers(self, channels: int, stride: int, in_channels: int) -> list[HybridBlock]:
        raise NotImplementedError

    def _shortcut(self, x: Any) -> Any:
        return self.downsample(x) if self.downsample else x


class BasicBlockV1(_BlockV1):
    """Block of two 3x3 convolutions, for ResNet v1 with 18 or 34 layers.

    Parameters
    ----------
    channels : int
        Number of output channels.
    stride : int
        Stride of the first convolution.
    downsample : bool
        Whether the shortcut changes shape.
    in_channels : int
        Number of input channels; 0 finds it at the first call.

    Examples
    --------
    >>> import mxcore as mx
    >>> block = mx.gluon.model_zoo.vision.BasicBlockV1(8, 2, downsample=True, in_channels=4)
    >>> block.initialize()
    >>> block(mx.nd.ones((1, 4, 6, 6))).shape
    (1, 8, 3, 3)
    """

    def _layers(self, channels: int, stride: int, in_channels: int) -> list[HybridBlock]:
        return [_conv3x3(channels, stride, in_channels), nn.BatchNorm(), nn.Activation("relu"),
                _conv3x3(channels, 1, channels), nn.BatchNorm()]

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return _relu(F, self._shortcut(x) + self.body(x))


class BottleneckV1(_BlockV1):
    """Block of 1x1, 3x3 and 1x1 convolutions with a quarter of the channels between, for ResNet v1 from 50 layers on.
    The parameters are those of :class:`BasicBlockV1`.

    Examples
    --------
    >>> import mxcore as mx
    >>> block = mx.gluon.model_zoo.vision.BottleneckV1(8, 1, in_channels=8)
    >>> block.initialize()
    >>> block(mx.nd.ones((1, 8, 6, 6))).shape
    (1, 8, 6, 6)
    """

    def _layers(self, channels: int, stride: int, in_channels: int) -> list[HybridBlock]:
        return [_conv1x1(channels // 4, stride, use_bias=True), nn.BatchNorm(), nn.Activation("relu"),
                _conv3x3(channels // 4, 1, channels // 4), nn.BatchNorm(), nn.Activation("relu"),
                _conv1x1(channels, use_bias=True), nn.BatchNorm()]

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return _relu(F, self.body(x) + self._shortcut(x))


class BasicBlockV2(HybridBlock):
    """Block of two 3x3 convolutions, for ResNet v2 with 18 or 34 layers.
    The parameters are those of :class:`BasicBlockV1`.

    Examples
    --------
    >>> import mxcore as mx
    >>> block = mx.gluon.model_zoo.vision.BasicBlockV2(8, 2, downsample=True, in_channels=4)
    >>> block.initialize()
    >>> block(mx.nd.ones((1, 4, 6, 6))).shape
    (1, 8, 3, 3)
    """

    def __init__(self, channels: int, stride: int, downsample: bool = False, in_channels: int = 0,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bn1 = nn.BatchNorm()
        self.conv1 = _conv3x3(channels, stride, in_channels)
        self.bn2 = nn.BatchNorm()
        self.conv2 = _conv3x3(channels, 1, channels)
        self.downsample = _conv1x1(channels, stride, in_channels) if downsample else None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = _relu(F, self.bn1(x))
        shortcut = self.downsample(y) if self.downsample else x
        y = self.conv2(_relu(F, self.bn2(self.conv1(y))))
        return y + shortcut


class BottleneckV2(HybridBlock):
    """Block of 1x1, 3x3 and 1x1 convolutions with a quarter of the channels between, for ResNet v2 from 50 layers on.
    The parameters are those of :class:`BasicBlockV1`.

    Examples
    --------
    >>> import mxcore as mx
    >>> block = mx.gluon.model_zoo.vision.BottleneckV2(8, 1, in_channels=8)
    >>> block.initialize()
    >>> block(mx.nd.ones((1, 8, 6, 6))).shape
    (1, 8, 6, 6)
    """

    def __init__(self, channels: int, stride: int, downsample: bool = False, in_channels: int = 0,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bn1 = nn.BatchNorm()
        self.conv1 = _conv1x1(channels // 4)
        self.bn2 = nn.BatchNorm()
        self.conv2 = _conv3x3(channels // 4, stride, channels // 4)
        self.bn3 = nn.BatchNorm()
        self.conv3 = _conv1x1(channels)
        self.downsample = _conv1x1(channels, stride, in_channels) if downsample else None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = _relu(F, self.bn1(x))
        shortcut = self.downsample(y) if self.downsample else x
        y = self.conv1(y)
        y = self.conv2(_relu(F, self.bn2(y)))
        y = self.conv3(_relu(F, self.bn3(y)))
        return y + shortcut


class _ResNet(HybridBlock):
    """``features`` and ``output``; the stages are made alike in both versions."""

    features: nn.HybridSequential
    output: nn.Dense

    def _check(self, layers: list[int], channels: list[int]) -> None:
        assert len(layers) == len(channels) - 1, \
            f"channels must have one more entry than layers: {len(channels)} and {len(layers)}"

    def _add_stages(self, block: Callable[..., HybridBlock], layers: list[int], channels: list[int]) -> None:
        for i, depth in enumerate(layers):
            stage = nn.HybridSequential(prefix=f"stage{i + 1}_")
            with stage.name_scope():
                stage.add(block(channels[i + 1], 1 if i == 0 else 2, channels[i + 1] != channels[i],
                                in_channels=channels[i], prefix=""))
                for _ in range(depth - 1):
                    stage.add(block(channels[i + 1], 1, False, in_channels=channels[i + 1], prefix=""))
            self.features.add(stage)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


class ResNetV1(_ResNet):
    """ResNet v1.

    Parameters
    ----------
    block : type
        :class:`BasicBlockV1` or :class:`BottleneckV1`.
    layers : list of int
        Number of blocks in each stage.
    channels : list of int
        Number of channels after the first convolution and after each stage.
    classes : int
        Number of classes.
    thumbnail : bool
        Whether images are small (32x32): a 3x3 convolution of stride 1 replaces the first layers.

    Examples
    --------
    >>> import mxcore as mx
    >>> vision = mx.gluon.model_zoo.vision
    >>> net = vision.ResNetV1(vision.BasicBlockV1, [1, 1], [4, 4, 8], classes=3, thumbnail=True)
    >>> net.initialize()
    >>> net(mx.nd.ones((1, 3, 8, 8))).shape
    (1, 3)
    """

    def __init__(self, block: type[HybridBlock], layers: list[int], channels: list[int], classes: int = 1000,
                 thumbnail: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._check(layers, channels)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            if thumbnail:
                self.features.add(_conv3x3(channels[0], 1, 0))
            else:
                self.features.add(nn.Conv2D(channels[0], 7, 2, 3, use_bias=False), nn.BatchNorm(),
                                  nn.Activation("relu"), nn.MaxPool2D(3, 2, 1))
            self._add_stages(block, layers, channels)
            self.features.add(nn.GlobalAvgPool2D())
            self.output = nn.Dense(classes, in_units=channels[-1])


class ResNetV2(_ResNet):
    """ResNet v2. The parameters are those of :class:`ResNetV1`, with :class:`BasicBlockV2` or :class:`BottleneckV2`.

    Examples
    --------
    >>> import mxcore as mx
    >>> vision = mx.gluon.model_zoo.vision
    >>> net = vision.ResNetV2(vision.BasicBlockV2, [1, 1], [4, 4, 8], classes=3, thumbnail=True)
    >>> net.initialize()
    >>> net(mx.nd.ones((1, 3, 8, 8))).shape
    (1, 3)
    """

    def __init__(self, block: type[HybridBlock], layers: list[int], channels: list[int], classes: int = 1000,
                 thumbnail: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._check(layers, channels)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(nn.BatchNorm(scale=False, center=False))
            if thumbnail:
                self.features.add(_conv3x3(channels[0], 1, 0))
            else:
                self.features.add(nn.Conv2D(channels[0], 7, 2, 3, use_bias=False), nn.BatchNorm(),
                                  nn.Activation("relu"), nn.MaxPool2D(3, 2, 1))
            self._add_stages(block, layers, channels)
            self.features.add(nn.BatchNorm(), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Flatten())
            self.output = nn.Dense(classes, in_units=channels[-1])


_NETS = {1: (ResNetV1, BasicBlockV1, BottleneckV1), 2: (ResNetV2, BasicBlockV2, BottleneckV2)}
_DEPTHS = {18: (False, [2, 2, 2, 2]), 34: (False, [3, 4, 6, 3]), 50: (True, [3, 4, 6, 3]), 101: (True, [3, 4, 23, 3]),
           152: (True, [3, 8, 36, 3])}


def get_resnet(version: int, num_layers: int, pretrained: bool = False, ctx: Context | None = None,
               root: str | None = None, **kwargs: Any) -> HybridBlock:
    """A residual network by version and depth.

    Parameters
    ----------
    version : int
        1 or 2.
    num_layers : int
        18, 34, 50, 101 or 152.
    pretrained : bool
        Whether to load parameters from a local file (see :mod:`mxcore.gluon.model_zoo.model_store`).
    ctx : Context, optional
        Where the parameters are loaded; the CPU by default.
    root : str, optional
        Folder of the file.
    **kwargs
        ``classes``, ``thumbnail``, ``prefix``, ``params``.

    Returns
    -------
    ResNetV1 or ResNetV2

    Examples
    --------
    >>> get_resnet(1, 18, classes=10).output
    Dense(512 -> 10, linear)
    """
    assert num_layers in _DEPTHS, f"Invalid number of layers: {num_layers}. Options are {list(_DEPTHS)}"
    assert version in _NETS, f"Invalid resnet version: {version}. Options are 1 and 2."
    bottleneck, layers = _DEPTHS[num_layers]
    make, basic, narrow = _NETS[version]
    channels = [64, 256, 512, 1024, 2048] if bottleneck else [64, 64, 128, 256, 512]
    net = make(narrow if bottleneck else basic, layers, channels, **kwargs)
    if pretrained:
        load_pretrained(net, f"resnet{num_layers}_v{version}", ctx or cpu(), root)
    return net


def resnet18_v1(**kwargs: Any) -> HybridBlock:
    """ResNet v1 with 18 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(1, 18, **kwargs)


def resnet34_v1(**kwargs: Any) -> HybridBlock:
    """ResNet v1 with 34 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(1, 34, **kwargs)


def resnet50_v1(**kwargs: Any) -> HybridBlock:
    """ResNet v1 with 50 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(1, 50, **kwargs)


def resnet101_v1(**kwargs: Any) -> HybridBlock:
    """ResNet v1 with 101 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(1, 101, **kwargs)


def resnet152_v1(**kwargs: Any) -> HybridBlock:
    """ResNet v1 with 152 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(1, 152, **kwargs)


def resnet18_v2(**kwargs: Any) -> HybridBlock:
    """ResNet v2 with 18 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(2, 18, **kwargs)


def resnet34_v2(**kwargs: Any) -> HybridBlock:
    """ResNet v2 with 34 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(2, 34, **kwargs)


def resnet50_v2(**kwargs: Any) -> HybridBlock:
    """ResNet v2 with 50 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(2, 50, **kwargs)


def resnet101_v2(**kwargs: Any) -> HybridBlock:
    """ResNet v2 with 101 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(2, 101, **kwargs)


def resnet152_v2(**kwargs: Any) -> HybridBlock:
    """ResNet v2 with 152 layers; keyword arguments as for :func:`get_resnet`."""
    return get_resnet(2, 152, **kwargs)
