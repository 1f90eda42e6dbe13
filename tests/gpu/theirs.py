"""The same networks in PyTorch, and a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["Encoder", "LanguageModel", "chain", "lenet", "resnet", "training"]


class Bottleneck(nn.Module):
    """As in v1 of mxcore: the stride is in the first convolution, the small ones have biases."""

    def __init__(self, before: int, channels: int, stride: int, downsample: bool) -> None:
        super().__init__()
        inner = channels // 4
        self.body = nn.Sequential(
            nn.Conv2d(before, inner, 1, stride), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, 1, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)) \
            if downsample else nn.Identity()

    def forward(self, x: Any) -> Any:
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


def resnet(layers: list[int], channels: list[int], classes: int) -> nn.Module:
    """ResNet v1; with 50 layers for ``[3, 4, 6, 3]``, ``[64, 256, 512, 1024, 2048]``."""
    before = channels[0]
    made: list[nn.Module] = [nn.Conv2d(3, before, 7, 2, 3, bias=False), nn.BatchNorm2d(before), nn.ReLU(inplace=True),
                             nn.MaxPool2d(3, 2, 1)]
    for stage, (depth, after) in enumerate(zip(layers, channels[1:])):
        for i in range(depth):
            made.append(Bottleneck(before, after, 2 if stage and not i else 1, before != after))
            before = after
    return nn.Sequential(*made, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def lenet() -> nn.Module:
    """Two convolutions, two dense layers; for images of 28x28."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))


class Layer(nn.Module):
    """Self-attention and two dense layers, each normalised after its sum."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, fused: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.fused = heads, dropout, fused
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def _attention(self, q: Any, k: Any, v: Any) -> Any:
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout)
        weights = torch.softmax(torch.matmul(q, k.transpose(2, 3)) * q.shape[3] ** -0.5, -1)
        return torch.matmul(self._dropped(weights), v)

    def _dropped(self, x: Any) -> Any:
        return F.dropout(x, self.dropout) if self.dropout else x

    def forward(self, x: Any) -> Any:
        n, length, width = x.shape
        q, k, v = (t.reshape(n, length, self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, 2))
        y = self._attention(q, k, v).transpose(1, 2).reshape(n, length, width)
        x = self.norm1(x + self._dropped(self.proj(y)))
        return self.norm2(x + self._dropped(self.down(F.gelu(self.up(x)))))


class Encoder(nn.Module):
    """Embedding of words and places, layers, and a classifier of the mean."""

    def __init__(self, layers: int, width: int, heads: int, inner: int, length: int, words: int, classes: int, dropout: float,
                 fused: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Parameter(torch.zeros(1, length, width))
        self.layers = nn.Sequential(*[Layer(width, heads, inner, dropout, fused) for _ in range(layers)])
        self.head = nn.Linear(width, classes)

    def forward(self, x: Any) -> Any:
        return self.head(self.layers(self.words(x) + self.places).mean(1))


class LanguageModel(nn.Module):
    """Embedding, two layers of LSTM, and the words' scores; time comes first."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.rnn = nn.LSTM(width, width, 2)
        self.decoder = nn.Linear(width, words)

    def forward(self, x: Any) -> Any:
        return self.decoder(self.rnn(self.embed(x))[0])


def chain(x: Any) -> Any:
    """A dozen elementwise operators."""
    y = torch.sigmoid(torch.tanh(x * 2 + 1)) * torch.relu(x - 0.5)
    return torch.sqrt(torch.square(y) + 1e-3) - torch.exp(-torch.abs(x))


def training(make: Callable[[], nn.Module], x: np.ndarray, y: np.ndarray, device: str, dtype: str, optimizer: str, options: dict,
             channels_last: bool = False, fused: bool = False) -> Callable[[], Any]:
    """A function that trains for one step and gives the loss.

    Parameters
    ----------
    make : callable
    x, y : np.ndarray
    device, dtype : str
        Normalisation of batches stays in float32.
    optimizer : {"sgd", "adam"}
    options : dict
        As mxcore names them.
    channels_last : bool
        Also lets cuDNN search for the fastest convolutions.
    fused : bool
        The optimizer's update as one kernel.
    """
    net = make().to(device, getattr(torch, dtype))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    data, labels = torch.from_numpy(x).to(device), torch.from_numpy(y).long().to(device)
    data = data.to(getattr(torch, dtype)) if x.dtype.kind == "f" else data.long()
    if channels_last:
        net, data = net.to(memory_format=torch.channels_last), data.contiguous(memory_format=torch.channels_last)
    if optimizer == "sgd":
        update: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), options["learning_rate"], options["momentum"])
    else:
        update = torch.optim.Adam(net.parameters(), options["learning_rate"], eps=options["epsilon"], fused=fused or None)
    net.train()

    def step() -> Any:
        torch.backends.cudnn.benchmark = channels_last
        update.zero_grad()
        scores = net(data)
        loss = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1))
        loss.backward()
        update.step()
        return loss

    return step
