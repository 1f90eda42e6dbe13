"""Inception v3 (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567); images of 299x299."""

from __future__ import annotations

from typing import Any

from ....context import Context, cpu
from ... import nn
from ...block import HybridBlock
from ...contrib.nn import HybridConcurrent
from ..model_store import load_pretrained

__all__ = ["Inception3", "inception_v3"]


def _conv(channels: int, kernel: Any = 1, stride: int = 1, pad: Any = 0) -> nn.HybridSequential:
    block = nn.HybridSequential(prefix="")
    block.add(nn.Conv2D(channels, kernel, stride, pad, use_bias=False), nn.BatchNorm(epsilon=0.001),
              nn.Activation("relu"))
    return block


def _path(*layers: HybridBlock) -> nn.HybridSequential:
    path = nn.HybridSequential(prefix="")
    path.add(*layers)
    return path


def _fork(channels: int) -> HybridConcurrent:
    """1x3 and 3x1 convolutions side by side."""
    fork = HybridConcurrent(axis=1, prefix="")
    fork.add(_path(_conv(channels, (1, 3), pad=(0, 1))), _path(_conv(channels, (3, 1), pad=(1, 0))))
    return fork


def _average(channels: int) -> nn.HybridSequential:
    return _path(nn.AvgPool2D(3, 1, 1), _conv(channels))


def _module_a(pool_channels: int) -> list[HybridBlock]:
    return [_path(_conv(64)),
            _path(_conv(48), _conv(64, 5, pad=2)),
            _path(_conv(64), _conv(96, 3, pad=1), _conv(96, 3, pad=1)),
            _average(pool_channels)]


def _module_b() -> list[HybridBlock]:
    return [_path(_conv(384, 3, 2)),
            _path(_conv(64), _conv(96, 3, pad=1), _conv(96, 3, 2)),
            _path(nn.MaxPool2D(3, 2))]


def _wide(channels: int) -> nn.HybridSequential:
    return _conv(channels, (1, 7), pad=(0, 3))


def _tall(channels: int) -> nn.HybridSequential:
    return _conv(channels, (7, 1), pad=(3, 0))


def _module_c(channels: int) -> list[HybridBlock]:
    return [_path(_conv(192)),
            _path(_conv(channels), _wide(channels), _tall(192)),
            _path(_conv(channels), _tall(channels), _wide(channels), _tall(channels), _wide(192)),
            _average(192)]


def _module_d() -> list[HybridBlock]:
    return [_path(_conv(192), _conv(320, 3, 2)),
            _path(_conv(192), _wide(192), _tall(192), _conv(192, 3, 2)),
            _path(nn.MaxPool2D(3, 2))]


def _module_e() -> list[HybridBlock]:
    return [_path(_conv(320)),
            _path(_path(_conv(384)), _fork(384)),
            _path(_path(_conv(448), _conv(384, 3, pad=1)), _fork(384)),
            _average(192)]


# name of the module, and what makes its parallel paths
_MODULES: list[tuple[str, Any]] = [
    ("A1", lambda: _module_a(32)), ("A2", lambda: _module_a(64)), ("A3", lambda: _module_a(64)), ("B", _module_b),
    ("C1", lambda: _module_c(128)), ("C2", lambda: _module_c(160)), ("C3", lambda: _module_c(160)),
    ("C4", lambda: _module_c(192)), ("D", _module_d), ("E1", _module_e), ("E2", _module_e),
]


class Inception3(HybridBlock):
    """Inception v3.

    Parameters
    ----------
    classes : int
        Number of classes.

    Examples
    --------
    >>> import mxcore as mx
    >>> len(mx.gluon.model_zoo.vision.Inception3(classes=10).features)
    20
    """

    def __init__(self, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(_conv(32, 3, 2), _conv(32, 3), _conv(64, 3, pad=1), nn.MaxPool2D(3, 2),
                              _conv(80), _conv(192, 3), nn.MaxPool2D(3, 2))
            for name, paths in _MODULES:
                module = HybridConcurrent(axis=1, prefix=f"{name}_")
                with module.name_scope():
                    module.add(*paths())
                self.features.add(module)
            self.features.add(nn.AvgPool2D(8), nn.Dropout(0.5))
            self.output = nn.Dense(classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def inception_v3(pretrained: bool = False, ctx: Context | None = None, root: str | None = None,
                 **kwargs: Any) -> Inception3:
    """Inception v3.

    Parameters
    ----------
    pretrained : bool
        Whether to load parameters from a local file (see :mod:`mxcore.gluon.model_zoo.model_store`).
    ctx : Context, optional
        Where the parameters are loaded; the CPU by default.
    root : str, optional
        Folder of the file.
    **kwargs
        ``classes``, ``prefix``, ``params``.
    """
    net = Inception3(**kwargs)
    if pretrained:
        load_pretrained(net, "inceptionv3", ctx or cpu(), root)
    return net
