"""VGG (Simonyan and Zisserman, 2015, https://arxiv.org/abs/1409.1556), with and without batch normalization."""

from __future__ import annotations

from typing import Any

from ....context import Context, cpu
from ....initializer import Xavier
from ... import nn
from ...block import HybridBlock
from ..model_store import load_pretrained

__all__ = ["VGG", "get_vgg", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]


class VGG(HybridBlock):
    """VGG: stages of 3x3 convolutions, each ended by a maximum over 2x2.

    Parameters
    ----------
    layers : list of int
        Number of convolutions in each stage.
    filters : list of int
        Number of channels in each stage.
    classes : int
        Number of classes.
    batch_norm : bool
        Whether batch normalization follows each convolution.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.model_zoo.vision.VGG([1, 1], [8, 16], classes=10).output
    Dense(None -> 10, linear)
    """

    def __init__(self, layers: list[int], filters: list[int], classes: int = 1000, batch_norm: bool = False,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert len(layers) == len(filters), f"layers and filters differ in length: {len(layers)} and {len(filters)}"
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            for count, channels in zip(layers, filters, strict=True):
                for _ in range(count):
                    init = Xavier(rnd_type="gaussian", factor_type="out", magnitude=2)
                    self.features.add(nn.Conv2D(channels, 3, padding=1, weight_initializer=init))
                    if batch_norm:
                        self.features.add(nn.BatchNorm())
                    self.features.add(nn.Activation("relu"))
                self.features.add(nn.MaxPool2D(strides=2))
            for _ in range(2):
                self.features.add(nn.Dense(4096, activation="relu", weight_initializer="normal"), nn.Dropout(0.5))
            self.output = nn.Dense(classes, weight_initializer="normal")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


_FILTERS = [64, 128, 256, 512, 512]
_DEPTHS = {11: [1, 1, 2, 2, 2], 13: [2, 2, 2, 2, 2], 16: [2, 2, 3, 3, 3], 19: [2, 2, 4, 4, 4]}


def get_vgg(num_layers: int, pretrained: bool = False, ctx: Context | None = None, root: str | None = None,
            **kwargs: Any) -> VGG:
    """VGG by its depth.

    Parameters
    ----------
    num_layers : int
        11, 13, 16 or 19.
    pretrained : bool
        Whether to load parameters from a local file (see :mod:`mxcore.gluon.model_zoo.model_store`).
    ctx : Context, optional
        Where the parameters are loaded; the CPU by default.
    root : str, optional
        Folder of the file.
    **kwargs
        ``classes``, ``batch_norm``, ``prefix``, ``params``.

    Examples
    --------
    >>> len(get_vgg(11).features)
    25
    """
    assert num_layers in _DEPTHS, f"Invalid number of layers: {num_layers}. Options are {list(_DEPTHS)}"
    net = VGG(_DEPTHS[num_layers], _FILTERS, **kwargs)
    if pretrained:
        load_pretrained(net, f"vgg{num_layers}{'_bn' if kwargs.get('batch_norm') else ''}", ctx or cpu(), root)
    return net


def vgg11(**kwargs: Any) -> VGG:
    """VGG with 11 layers; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(11, **kwargs)


def vgg13(**kwargs: Any) -> VGG:
    """VGG with 13 layers; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(13, **kwargs)


def vgg16(**kwargs: Any) -> VGG:
    """VGG with 16 layers; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(16, **kwargs)


def vgg19(**kwargs: Any) -> VGG:
    """VGG with 19 layers; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(19, **kwargs)


def vgg11_bn(**kwargs: Any) -> VGG:
    """VGG with 11 layers and batch normalization; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(11, **{**kwargs, "batch_norm": True})


def vgg13_bn(**kwargs: Any) -> VGG:
    """VGG with 13 layers and batch normalization; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(13, **{**kwargs, "batch_norm": True})


def vgg16_bn(**kwargs: Any) -> VGG:
    """VGG with 16 layers and batch normalization; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(16, **{**kwargs, "batch_norm": True})


def vgg19_bn(**kwargs: Any) -> VGG:
    """VGG with 19 layers and batch normalization; keyword arguments as for :func:`get_vgg`."""
    return get_vgg(19, **{**kwargs, "batch_norm": True})
