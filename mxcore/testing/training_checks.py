"""Training on a device follows the CPU: networks, eager and compiled, by the losses of their first steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np

from .. import autograd
from .. import ndarray as nd
from ..context import Context, cpu
from ..gluon import HybridBlock, Trainer
from ..gluon.loss import SoftmaxCrossEntropyLoss
from ..gluon.nn import BatchNorm, Conv2D, Dense, GlobalAvgPool2D, HybridSequential, LayerNorm, MaxPool2D
from ..gluon.rnn import LSTM

__all__ = ["MODES", "OPTIMIZERS", "TASKS", "Task", "check_training", "course", "filled", "training_checks"]

STEPS = 10


class Recurrent(HybridBlock):
    """An LSTM, whose last state is classified."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.lstm = LSTM(8, layout="NTC", input_size=5)
            self.head = Dense(3, in_units=8)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """``(N, T, C)`` to ``(N, 3)``."""
        return self.head(F.slice_axis(self.lstm(x), axis=1, begin=-1, end=None))


class Attention(HybridBlock):
    """A block of a Transformer with one head, whose mean over time is classified.

    Queries and keys have no bias: a key's has no influence, so its gradient is nothing but rounding, which Adam enlarges.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.query, self.key = (Dense(6, flatten=False, use_bias=False, in_units=6) for _ in range(2))
            self.value = Dense(6, flatten=False, in_units=6)
            self.norm = LayerNorm(in_channels=6)
            self.widen = Dense(12, flatten=False, activation="relu", in_units=6)
            self.narrow = Dense(6, flatten=False, in_units=12)
            self.head = Dense(3, in_units=6)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """``(N, T, 6)`` to ``(N, 3)``."""
        scores = F.batch_dot(self.query(x), self.key(x), transpose_b=True) / 6**0.5
        x = self.norm(x + F.batch_dot(F.softmax(scores, axis=-1), self.value(x)))
        return self.head((x + self.narrow(self.widen(x))).mean(axis=1))


def _sequence(*layers: HybridBlock) -> HybridBlock:
    net = HybridSequential()
    net.add(*layers)
    return net


def _mlp() -> HybridBlock:
    return _sequence(Dense(16, activation="relu", in_units=10), Dense(8, activation="tanh", in_units=16), Dense(3, in_units=8))


def _convnet() -> HybridBlock:
    """No bias before a normalisation, which takes it away again (see :class:`Attention`)."""
    return _sequence(Conv2D(4, 3, padding=1, use_bias=False, in_channels=2, activation="relu"), BatchNorm(in_channels=4),
                     MaxPool2D(2), Conv2D(6, 3, use_bias=False, in_channels=4), BatchNorm(in_channels=6), GlobalAvgPool2D(),
                     Dense(3, in_units=6))


@dataclass(frozen=True)
class Task:
    """A network with three classes, and the shape of its input. Nothing in it is random."""

    build: Callable[[], HybridBlock]
    shape: tuple[int, ...]


TASKS: dict[str, Task] = {
    "mlp": Task(_mlp, (12, 10)), "convnet": Task(_convnet, (6, 2, 8, 8)), "lstm": Task(Recurrent, (6, 4, 5)),
    "attention": Task(Attention, (6, 4, 6)),
}
#: name -> arguments of ``hybridize``; None: eager
MODES: dict[str, dict[str, Any] | None] = {
    "eager": None, "hybridized": {}, "static": {"static_alloc": True, "static_shape": True}}
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "wd": 1e-3}), "adam": ("adam", {"learning_rate": 0.01})}


def filled(task: Task, ctx: Context, seed: int = 0) -> HybridBlock:
    """The task's network on a device, its weights drawn on the host, so that they are the same on all devices."""
    rng = np.random.default_rng(seed)
    net = task.build()
    net.initialize(ctx=ctx)
    for name, p in net.collect_params().items():
        if not name.endswith(("gamma", "beta", "running_mean", "running_var")):
            p.set_data(nd.array(rng.uniform(-0.5, 0.5, p.shape), ctx=ctx))
    return net


def course(task: Task, ctx: Context, optimizer: str, mode: str, seed: int = 0,
           steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Train a new network of the task.

    Returns
    -------
    losses : array of shape (steps,)
        The mean loss before each step.
    outputs : array of shape (N, 3)
        What the network gives for its data in the end, in inference mode.
    """
    net = filled(task, ctx, seed)
    flags = MODES[mode]
    if flags is not None:
        net.hybridize(**flags)
    rng = np.random.default_rng(seed + 1)
    x = nd.array(rng.normal(size=task.shape), ctx=ctx)
    y = nd.array(rng.integers(0, 3, task.shape[0]), ctx=ctx)
    kind, settings = OPTIMIZERS[optimizer]
    loss, trainer = SoftmaxCrossEntropyLoss(), Trainer(net.collect_params(), kind, dict(settings))
    losses = []
    for _ in range(steps):
        with autograd.record():
            values = loss(net(x), y)
        values.backward()
        trainer.step(task.shape[0])
        losses.append(values.mean())
    return np.array([float(v.asscalar()) for v in losses]), net(x).asnumpy()


@cache
def _reference(name: str, optimizer: str) -> tuple[np.ndarray, np.ndarray]:
    return course(TASKS[name], cpu(), optimizer, "eager")


def check_training(ctx: Context, name: str, mode: str, optimizer: str) -> None:
    """Losses of ten steps to a thousandth, and what the trained network gives, are those of eager training on the CPU."""
    losses, outputs = course(TASKS[name], ctx, optimizer, mode)
    want, right = _reference(name, optimizer)
    np.testing.assert_allclose(losses, want, rtol=1e-3, atol=1e-4, err_msg=f"the losses of {name} with {optimizer}, {mode}")
    np.testing.assert_allclose(outputs, right, rtol=1e-2, atol=1e-2 * np.abs(right).max(),
                               err_msg=f"the outputs of the trained {name} with {optimizer}, {mode}")


def training_checks() -> dict[str, Callable[[Context], None]]:
    """All checks of training, by name: ``"<network>-<mode>-<optimizer>"``."""
    return {"-".join(words): partial(check_training, name=words[0], mode=words[1], optimizer=words[2])
            for words in product(TASKS, MODES, OPTIMIZERS)}
