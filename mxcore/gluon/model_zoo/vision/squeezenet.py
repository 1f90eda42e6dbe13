"""SqueezeNet 1.0 and 1.1 (Iandola et al., 2016, https://arxiv.org/abs/1602.07360)."""

from __future__ import annotations

from typing import Any

from ....context import Context, cpu
from ... import nn
from ...block import HybridBlock
from ...contrib.nn import HybridConcurrent
from ..model_store import load_pretrained

__all__ = ["SqueezeNet", "get_squeezenet", "squeezenet1_0", "squeezenet1_1"]


def _conv(channels: int, kernel: int, padding: int = 0) -> nn.HybridSequential:
    block = nn.HybridSequential(prefix="")
    block.add(nn.Conv2D(channels, kernel, padding=padding), nn.Activation("relu"))
    return block


def _fire(squeeze: int, expand: int) -> nn.HybridSequential:
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side."""
    squeezed = _conv(squeeze, 1)
    paths = HybridConcurrent(axis=1, prefix="")
    paths.add(_conv(expand, 1), _conv(expand, 3, 1))
    block = nn.HybridSequential(prefix="")
    block.add(squeezed, paths)
    return block


def _pool() -> nn.MaxPool2D:
    return nn.MaxPool2D(3, 2, ceil_mode=True)


class SqueezeNet(HybridBlock):
    """SqueezeNet.

    Parameters
    ----------
    version : str
        ``"1.0"`` or ``"1.1"``, which needs less than half of the arithmetic.
    classes : int
        Number of classes.

    Examples
    --------
    >>> import mxcore as mx
    >>> len(mx.gluon.model_zoo.vision.SqueezeNet("1.1", classes=10).features)
    14
    """

    def __init__(self, version: str, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert version in ("1.0", "1.1"), f"Unsupported SqueezeNet version {version}: 1.0 or 1.1 expected"
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            if version == "1.0":
                self.features.add(nn.Conv2D(96, 7, 2), nn.Activation("relu"), _pool(),
                                  _fire(16, 64), _fire(16, 64), _fire(32, 128), _pool(),
                                  _fire(32, 128), _fire(48, 192), _fire(48, 192), _fire(64, 256), _pool(),
                                  _fire(64, 256))
            else:
                self.features.add(nn.Conv2D(64, 3, 2), nn.Activation("relu"), _pool(),
                                  _fire(16, 64), _fire(16, 64), _pool(),
                                  _fire(32, 128), _fire(32, 128), _pool(),
                                  _fire(48, 192), _fire(48, 192), _fire(64, 256), _fire(64, 256))
            self.features.add(nn.Dropout(0.5))
            self.output = nn.HybridSequential(prefix="")
            self.output.add(nn.Conv2D(classes, 1), nn.Activation("relu"), nn.AvgPool2D(13), nn.Flatten())

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def get_squeezenet(version: str, pretrained: bool = False, ctx: Context | None = None, root: str | None = None,
                   **kwargs: Any) -> SqueezeNet:
    """SqueezeNet by its version.

    Parameters
    ----------
    version : str
        ``"1.0"`` or ``"1.1"``.
    pretrained : bool
        Whether to load parameters from a local file (see :mod:`mxcore.gluon.model_zoo.model_store`).
    ctx : Context, optional
        Where the parameters are loaded; the CPU by default.
    root : str, optional
        Folder of the file.
    **kwargs
        ``classes``, ``prefix``, ``params``.
    """
    net = SqueezeNet(version, **kwargs)
    if pretrained:
        load_pretrained(net, f"squeezenet{version}", ctx or cpu(), root)
    return net


def squeezenet1_0(**kwargs: Any) -> SqueezeNet:
    """SqueezeNet 1.0; keyword arguments as for :func:`get_squeezenet`."""
    return get_squeezenet("1.0", **kwargs)


def squeezenet1_1(**kwargs: Any) -> SqueezeNet:
    """SqueezeNet 1.1; keyword arguments as for :func:`get_squeezenet`."""
    return get_squeezenet("1.1", **kwargs)
