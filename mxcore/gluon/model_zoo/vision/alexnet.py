"""AlexNet, the one-column variant (Krizhevsky, 2014, https://arxiv.org/abs/1404.5997)."""

from __future__ import annotations

from typing import Any

from ....context import Context, cpu
from ... import nn
from ...block import HybridBlock
from ..model_store import load_pretrained

__all__ = ["AlexNet", "alexnet"]


class AlexNet(HybridBlock):
    """AlexNet.

    Parameters
    ----------
    classes : int
        Number of classes.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.model_zoo.vision.AlexNet(classes=10).output
    Dense(None -> 10, linear)
    """

    def __init__(self, classes: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            self.features.add(
                nn.Conv2D(64, 11, 4, 2, activation="relu"), nn.MaxPool2D(3, 2),
                nn.Conv2D(192, 5, padding=2, activation="relu"), nn.MaxPool2D(3, 2),
                nn.Conv2D(384, 3, padding=1, activation="relu"),
                nn.Conv2D(256, 3, padding=1, activation="relu"),
                nn.Conv2D(256, 3, padding=1, activation="relu"), nn.MaxPool2D(3, 2),
                nn.Flatten(),
                nn.Dense(4096, activation="relu"), nn.Dropout(0.5),
                nn.Dense(4096, activation="relu"), nn.Dropout(0.5))
            self.output = nn.Dense(classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def alexnet(pretrained: bool = False, ctx: Context | None = None, root: str | None = None, **kwargs: Any) -> AlexNet:
    """AlexNet.

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
    net = AlexNet(**kwargs)
    if pretrained:
        load_pretrained(net, "alexnet", ctx or cpu(), root)
    return net
