"""The networks in mxcore, and a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import mxcore as mx
from mxcore import gluon
from mxcore.gluon import nn

__all__ = ["Chain", "Encoder", "LanguageModel", "lenet", "resnet", "training"]


def resnet(layers: list[int], channels: list[int], classes: int) -> Any:
    """ResNet v1; with 50 layers for ``[3, 4, 6, 3]``, ``[64, 256, 512, 1024, 2048]``."""
    vision = gluon.model_zoo.vision
    return vision.ResNetV1(vision.BottleneckV1, layers, channels, classes=classes)


def lenet() -> Any:
    """Two convolutions, two dense layers."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(20, 5, activation="relu"), nn.MaxPool2D(2, 2), nn.Conv2D(50, 5, activation="relu"), nn.MaxPool2D(2, 2),
            nn.Dense(500, activation="relu"), nn.Dense(10))
    return net


class Layer(gluon.HybridBlock):
    """Self-attention and two dense layers, each normalised after its sum."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._heads, self._scale = heads, (width // heads) ** -0.5
        with self.name_scope():
            self.qkv = nn.Dense(3 * width, flatten=False, in_units=width)
            self.proj = nn.Dense(width, flatten=False, in_units=width)
            self.up = nn.Dense(inner, flatten=False, in_units=width)
            self.down = nn.Dense(width, flatten=False, in_units=inner)
            self.norm1, self.norm2 = nn.LayerNorm(in_channels=width), nn.LayerNorm(in_channels=width)
            self.drop = nn.Dropout(dropout) if dropout else None

    def _dropped(self, x: Any) -> Any:
        return self.drop(x) if self.drop is not None else x

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        parts = F.split(self.qkv(x), num_outputs=3, axis=2)
        q, k, v = (F.reshape(F.transpose(F.reshape(t, shape=(0, 0, self._heads, -1)), axes=(0, 2, 1, 3)), shape=(-3, 0, 0))
                   for t in parts)
        weights = self._dropped(F.softmax(F.batch_dot(q, k, transpose_b=True) * self._scale))
        y = F.transpose(F.reshape(F.batch_dot(weights, v), shape=(-4, -1, self._heads, 0, 0)), axes=(0, 2, 1, 3))
        x = self.norm1(x + self._dropped(self.proj(F.reshape(y, shape=(0, 0, -3)))))
        return self.norm2(x + self._dropped(self.down(F.LeakyReLU(self.up(x), act_type="gelu"))))


class Encoder(gluon.HybridBlock):
    """Embedding of words and places, layers, and a classifier of the mean."""

    def __init__(self, layers: int, width: int, heads: int, inner: int, length: int, words: int, classes: int, dropout: float,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.words = nn.Embedding(words, width)
            self.places = self.params.get("places", shape=(1, length, width))
            self.layers = nn.HybridSequential()
            self.layers.add(*[Layer(width, heads, inner, dropout) for _ in range(layers)])
            self.head = nn.Dense(classes, in_units=width)

    def hybrid_forward(self, F: Any, x: Any, places: Any) -> Any:
        return self.head(F.mean(self.layers(F.broadcast_add(self.words(x), places)), axis=1))


class LanguageModel(gluon.HybridBlock):
    """Embedding, two layers of LSTM, and the words' scores; time comes first."""

    def __init__(self, words: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.embed = nn.Embedding(words, width)
            self.rnn = gluon.rnn.LSTM(width, num_layers=2, layout="TNC", input_size=width)
            self.decoder = nn.Dense(words, flatten=False, in_units=width)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.decoder(self.rnn(self.embed(x)))


class Chain(gluon.HybridBlock):
    """A dozen elementwise operators."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = F.sigmoid(F.tanh(x * 2 + 1)) * F.relu(x - 0.5)
        return F.sqrt(F.square(y) + 1e-3) - F.exp(-F.abs(x))


class WithLoss(gluon.HybridBlock):
    """A network and its loss as one block, which is one program."""

    def __init__(self, net: Any, loss: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.net, self.loss = net, loss

    def hybrid_forward(self, F: Any, x: Any, y: Any) -> Any:
        return self.loss(self.net(x), y)


def training(make: Callable[[], Any], x: np.ndarray, y: np.ndarray, ctx: Any, dtype: str, optimizer: str, options: dict,
             how: str, remarks: list[str]) -> Callable[[], Any]:
    """A function that trains for one step and gives the loss of each sample.

    Parameters
    ----------
    make : callable
    x, y : np.ndarray
        Data, or numbers of words, and labels; numbers of words and labels are handed over as float32.
    ctx : Context
    dtype : str
        Of parameters and data; normalisation of batches stays in float32.
    optimizer : str
    options : dict
    how : {"eager", "hybridized", "static_alloc", "one block"}
        The last: network and loss are one block with ``static_alloc``.
    remarks : list of str
        What the programs say of themselves is added after the first steps.
    """
    net, loss = make(), gluon.loss.SoftmaxCrossEntropyLoss()
    net.initialize(mx.init.Xavier(), ctx=ctx)
    net.cast(dtype)
    data, labels = mx.nd.array(x, ctx=ctx, dtype="float32"), mx.nd.array(y, ctx=ctx, dtype="float32")
    if x.dtype.kind == "f":
        data = data.astype(dtype)
    compiled = [net, loss]
    if how == "one block":
        compiled = [WithLoss(net, loss)]
    if how != "eager":
        for block in compiled:
            block.hybridize(static_alloc=how != "hybridized", static_shape=how != "hybridized")
    trainer = gluon.Trainer(net.collect_params(), optimizer, options)
    size, calls = y.shape[0], 0

    def step() -> Any:
        nonlocal calls
        with mx.autograd.record():
            value = compiled[0](data, labels) if how == "one block" else loss(net(data), labels)
        value.backward()
        trainer.step(size)
        calls += 1
        if calls == 4 and how != "eager":
            remarks.extend(line.strip() for block in compiled for line in block.explain().splitlines() if "not recorded" in line)
        return value

    return step
