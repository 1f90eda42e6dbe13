"""DenseNet (Huang et al., 2017, https://arxiv.org/abs/1608.06993)."""

from __future__ import annotations

from typing import Any

from ....context import Context, cpu
from ... import nn
from ...block import HybridBlock
from ...contrib.nn import HybridConcurrent, Identity
from ..model_store import load_pretrained

__all__ = ["DenseNet", "densenet121", "densenet161", "densenet169", "densenet201", "get_densenet"]


def _dense_layer(growth_rate: int, bn_size: int, dropout: float) -> HybridConcurrent:
    """The input beside ``growth_rate`` new channels."""
    new = nn.HybridSequential(prefix="")
    new.add(nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(bn_size * growth_rate, 1, use_bias=False),
            nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(growth_rate, 3, padding=1, use_bias=False))
    if dropout:
        new.add(nn.Dropout(dropout))
    both = HybridConcurrent(axis=1, prefix="")
    both.add(Identity(), new)
    return both


def _transition(channels: int) -> nn.HybridSequential:
    """Fewer channels and half the size, between two stages."""
    block = nn.HybridSequential(prefix="")
    block.add(nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(channels, 1, use_bias=False), nn.AvgPool2D(2, 2))
    return block


class DenseNet(HybridBlock):
    """DenseNet: each layer sees the outputs of all layers before it in its stage.

    Parameters
    ----------
    num_init_features : int
        Number of channels after the first convolution.
    growth_rate : int
        Number of channels that each layer adds.
    block_config : list of int
        Number of layers in each stage.
    bn_size : int
        Width of the 1x1 convolutions, in units of ``growth_rate``.
    dropout : float
        Dropout after each layer.
    classes : int
        Number of classes.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.model_zoo.vision.DenseNet(8, 4, [1, 1], classes=10).output
    Dense(None -> 10, linear)
    """

    def __init__(self, num_init_features: int, growth_rate: int, block_config: list[int], bn_size: int = 4,
                 dropout: float = 0, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(nn.Conv2D(num_init_features, 7, 2, 3, use_bias=False), nn.BatchNorm(),
                              nn.Activation("relu"), nn.MaxPool2D(3, 2, 1))
            channels = num_init_features
            for i, layers in enumerate(block_config):
                stage = nn.HybridSequential(prefix=f"stage{i + 1}_")
                with stage.name_scope():
                    stage.add(*(_dense_layer(growth_rate, bn_size, dropout) for _ in range(layers)))
                self.features.add(stage)
                channels += layers * growth_rate
                if i + 1 < len(block_config):
                    channels //= 2
                    self.features.add(_transition(channels))
            self.features.add(nn.BatchNorm(), nn.Activation("relu"), nn.AvgPool2D(7), nn.Flatten())
            self.output = nn.Dense(classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


_DEPTHS = {121: (64, 32, [6, 12, 24, 16]), 161: (96, 48, [6, 12, 36, 24]), 169: (64, 32, [6, 12, 32, 32]),
           201: (64, 32, [6, 12, 48, 32])}


def get_densenet(num_layers: int, pretrained: bool = False, ctx: Context | None = None, root: str | None = None,
                 **kwargs: Any) -> DenseNet:
    """DenseNet by its depth.

    Parameters
    ----------
    num_layers : int
        121, 161, 169 or 201.
    pretrained : bool
        Whether to load parameters from a local file (see :mod:`mxcore.gluon.model_zoo.model_store`).
    ctx : Context, optional
        Where the parameters are loaded; the CPU by default.
    root : str, optional
        Folder of the file.
    **kwargs
        ``bn_size``, ``dropout``, ``classes``, ``prefix``, ``params``.
    """
    assert num_layers in _DEPTHS, f"Invalid number of layers: {num_layers}. Options are {list(_DEPTHS)}"
    net = DenseNet(*_DEPTHS[num_layers], **kwargs)
    if pretrained:
        load_pretrained(net, f"densenet{num_layers}", ctx or cpu(), root)
    return net


def densenet121(**kwargs: Any) -> DenseNet:
    """DenseNet with 121 layers; keyword arguments as for :func:`get_densenet`."""
    return get_densenet(121, **kwargs)


def densenet161(**kwargs: Any) -> DenseNet:
    """DenseNet with 161 layers; keyword arguments as for :func:`get_densenet`."""
    return get_densenet(161, **kwargs)


def densenet169(**kwargs: Any) -> DenseNet:
    """DenseNet with 169 layers; keyword arguments as for :func:`get_densenet`."""
    return get_densenet(169, **kwargs)


def densenet201(**kwargs: Any) -> DenseNet:
    """DenseNet with 201 layers; keyword arguments as for :func:`get_densenet`."""
    return get_densenet(201, **kwargs)
