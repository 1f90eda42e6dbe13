"""Recurrent layers by oneDNN's primitives, as an engine of :mod:`mxcore_numpy.recurrent`.

One primitive computes a layer, both directions of it. On two cores it takes a quarter less time than a loop of oneDNN's
matrix products whose gates NumPy computes, because it spreads the gates over the cores too.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Epilogue, Spec
from mxcore_numpy.recurrent import network
from mxcore_numpy.recurrent.network import Backward, Sizes, States

from .codes import Algorithm, Arg, Propagation
from .library import Unsupported
from .primitive import Call, Layout, Primitive, aligned, reorder

__all__ = ["OneDNNEngine", "backward_rnn", "bind_backward_rnn", "bind_rnn", "rnn", "takes_backward_rnn", "takes_rnn"]

_FLOAT = np.dtype("float32")
_KINDS = {"lstm": "lstm", "gru": "lbr_gru", "rnn_tanh": "vanilla_rnn", "rnn_relu": "vanilla_rnn"}
_ACTIVATIONS = {"rnn_tanh": Algorithm.TANH, "rnn_relu": Algorithm.RELU}
_LEFT_TO_RIGHT, _CONCAT = 1, 3  # directions: one, or both with their results side by side
_OVERWRITE = 1  # flag: gradients by weights replace what the memory held


# ---------------------------------------------------------------- primitives
def _plain(*shape: int) -> Layout:
    steps, step = [0] * len(shape), 1
    for axis in reversed(range(len(shape))):
        steps[axis], step = step, step * shape[axis]
    return Layout(shape, _FLOAT, steps)


class _Layouts:
    """Of the arrays of a layer."""

    def __init__(self, s: Sizes) -> None:
        self.x, self.y = _plain(s.steps, s.batch, s.inputs), _plain(s.steps, s.batch, s.directions * s.n)
        self.states = [_plain(1, s.directions, s.batch, s.n)] * (2 if s.mode == "lstm" else 1)
        self.bias = _plain(1, *_bias_shape(s))
        shapes = [(1, s.directions, k, s.gates, s.n) for k in (s.inputs, s.n)]
        #: weights as oneDNN has them forward, and gradients by them
        self.weights = [_plain(*shape) for shape in shapes]
        self.chosen = [Layout(shape, _FLOAT) for shape in shapes]
        #: weights as the operator has them, those of a direction one after the other
        self.own = [Layout(shape, _FLOAT, (s.cell, s.cell, 1, s.n * k, k)) for shape in shapes for k in shape[2:3]]


def _bias_shape(s: Sizes) -> tuple[int, int, int]:
    return s.directions, 4 if s.mode == "gru" else s.gates, s.n


def _arguments(s: Sizes, layouts: _Layouts, *all_weights: list[Layout]) -> list:
    """Of the functions that make descriptors, after the kind of propagation: for weights, and for gradients by them."""
    extra = [None, None] if s.mode == "lstm" else []  # peepholes and projection
    arguments: list = [_ACTIVATIONS[s.mode]] if s.mode in _ACTIVATIONS else []
    arguments += [_LEFT_TO_RIGHT if s.directions == 1 else _CONCAT]
    for weights in all_weights:
        arguments += [layouts.x, *layouts.states, *weights, *extra, layouts.bias, layouts.y, *layouts.states]
    arguments.append(_OVERWRITE if len(all_weights) > 1 else 0)
    return arguments + ([0.0, 0.0] if s.mode in _ACTIVATIONS else [])  # parameters of the activation


@functools.lru_cache(256)
def _forward(s: Sizes, training: bool) -> Primitive:
    layouts = _Layouts(s)
    return Primitive(f"{_KINDS[s.mode]}_forward", Propagation.TRAINING if training else Propagation.INFERENCE,
                     *_arguments(s, layouts, layouts.weights))


@functools.lru_cache(256)
def _backward(s: Sizes) -> Primitive:
    layouts = _Layouts(s)
    return Primitive(f"{_KINDS[s.mode]}_backward", Propagation.BACKWARD, *_arguments(s, layouts, layouts.chosen, layouts.weights),
                     _forward(s, True))


# ---------------------------------------------------------------- layers
_STATES, _LAST = (Arg.SRC_1, Arg.SRC_2), (Arg.DST_1, Arg.DST_2)
_STATE_GRADIENTS, _LAST_GRADIENTS = (Arg.DIFF_SRC_1, Arg.DIFF_SRC_2), (Arg.DIFF_DST_1, Arg.DIFF_DST_2)


class _Layer:
    """A primitive, and its parameters in the layouts that it wants."""

    def __init__(self, s: Sizes, primitive: Primitive) -> None:
        self.s, self.count, layouts = s, 2 if s.mode == "lstm" else 1, _Layouts(s)
        self.second = s.gates * s.n * s.inputs  # where the weights of the state begin
        wanted = [primitive.layout(a) for a in (Arg.WEIGHTS, Arg.WEIGHTS_1)]
        self._bytes = [w.nbytes for w in wanted]
        self.weights: list[np.ndarray] = []
        self._pack = [Call(reorder(own, w), [Arg.SRC, Arg.DST]) for own, w in zip(layouts.own, wanted, strict=True)]
        self.bias = aligned(4 * int(np.prod(_bias_shape(s)))).view(_FLOAT).reshape(_bias_shape(s))

    def fill(self, weights: np.ndarray, biases: np.ndarray) -> None:
        """Pack the parameters."""
        if self.s.mode == "gru":
            weights = self.swapped(weights, np.empty_like(weights))
        flat = weights.reshape(-1)
        self.weights = self.weights or [aligned(size) for size in self._bytes]
        for pack, target, source in zip(self._pack, self.weights, (flat, flat[self.second:]), strict=True):
            pack(source, target)
        b = biases.reshape(self.s.directions, 2, self.s.gates, self.s.n)
        if self.s.mode != "gru":
            np.add(b[:, 0], b[:, 1], out=self.bias)
        else:  # z, r, the inputs' part of n, the state's part of n
            np.add(b[:, 0, 1::-1], b[:, 1, 1::-1], out=self.bias[:, :2])
            self.bias[:, 2], self.bias[:, 3] = b[:, 0, 2], b[:, 1, 2]

    def release(self) -> None:
        """Give the memory of the parameters back."""
        self.weights = []

    def swapped(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Weights of a GRU with z before r, or the other way round."""
        for part in (slice(None, self.second), slice(self.second, None)):
            a, b = (v[:, part].reshape(len(v), 3, -1) for v in (source, target))
            b[:, 0], b[:, 1], b[:, 2] = a[:, 1], a[:, 0], a[:, 2]
        return target

    def some(self, states: Sequence[Any]) -> Sequence[Any]:
        """Those of two that a layer of this mode has: h, or h and c."""
        return states[:self.count]


def _kept(primitive: Primitive) -> int:
    """Numbers in the workspace, in whole cache lines, so that that of the next layer begins with one."""
    return -(-primitive.layout(Arg.WORKSPACE).nbytes // 64) * 16


class _Forward(_Layer):
    """See :class:`mxcore_numpy.recurrent.network.ForwardLayer`."""

    def __init__(self, s: Sizes, training: bool) -> None:
        primitive = _forward(s, training)
        super().__init__(s, primitive)
        self.kept = _kept(primitive) if training else 0
        self._call = Call(primitive, [Arg.SRC, *self.some(_STATES), Arg.WEIGHTS, Arg.WEIGHTS_1, Arg.BIAS, Arg.DST,
                                      *self.some(_LAST), *([Arg.WORKSPACE] if training else [])])

    def run(self, x: np.ndarray, first: States, y: np.ndarray, last: States, kept: np.ndarray) -> None:
        """Compute the layer."""
        self._call(x, *self.some(first), *self.weights, self.bias, y, *self.some(last), *([kept] if self.kept else []))


class _Backward(_Layer):
    """See :class:`mxcore_numpy.recurrent.network.BackwardLayer`."""

    def __init__(self, s: Sizes) -> None:
        primitive, layouts = _backward(s), _Layouts(s)
        super().__init__(s, primitive)
        self.kept = _kept(primitive)
        self._call = Call(primitive, [
            Arg.SRC, *self.some(_STATES), Arg.WEIGHTS, Arg.WEIGHTS_1, Arg.BIAS, Arg.DST, *self.some(_LAST), Arg.WORKSPACE,
            Arg.DIFF_DST, *self.some(_LAST_GRADIENTS), Arg.DIFF_SRC, *self.some(_STATE_GRADIENTS), Arg.DIFF_WEIGHTS,
            Arg.DIFF_WEIGHTS_1, Arg.DIFF_BIAS])
        self._deliver = [Call(reorder(made, own), [Arg.SRC, Arg.DST])
                         for made, own in zip(layouts.weights, layouts.own, strict=True)]
        self._gradient_bytes = [g.nbytes for g in layouts.weights]
        self._dbias = np.empty(_bias_shape(s), _FLOAT)
        self._zeros = np.zeros((s.directions, s.batch, s.n), _FLOAT)

    def run(self, x: np.ndarray, first: States, y: np.ndarray, last: States, kept: np.ndarray, dy: np.ndarray, dlast: States,
            dx: np.ndarray, dfirst: States, dweights: np.ndarray, dbiases: np.ndarray) -> None:
        """Compute the gradients."""
        ends = [self._zeros if d is None else d for d in self.some(dlast)]
        gradients = [aligned(size) for size in self._gradient_bytes]
        self._call(x, *self.some(first), *self.weights, self.bias, y, *self.some(last), kept, dy, *ends, dx, *self.some(dfirst),
                   *gradients, self._dbias)
        gru = self.s.mode == "gru"
        target = np.empty_like(dweights) if gru else dweights
        flat = target.reshape(-1)
        for deliver, source, place in zip(self._deliver, gradients, (flat, flat[self.second:]), strict=True):
            deliver(source, place)
        b, made = dbiases.reshape(self.s.directions, 2, self.s.gates, self.s.n), self._dbias
        if gru:
            self.swapped(target, dweights)
            b[:, :, :2], b[:, :, 2] = made[:, None, 1::-1], made[:, 2:]
        else:
            b[...] = made[:, None]


class OneDNNEngine:
    """See :class:`mxcore_numpy.recurrent.network.Engine`; for float32."""

    name = "oneDNN"

    def forward(self, sizes: Sizes, training: bool) -> _Forward:
        """A layer; raises ``Unsupported`` where oneDNN has none."""
        return _Forward(sizes, training)

    def backward(self, sizes: Sizes) -> _Backward:
        """A layer; raises ``Unsupported`` where oneDNN has none."""
        return _Backward(sizes)


_ENGINE = OneDNNEngine()


# ---------------------------------------------------------------- compiled programs
def bind_rnn(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
             epilogue: Epilogue | None = None) -> Bound | None:
    """``RNN`` of float32, without dropout."""
    try:
        return None if epilogue is not None else network.bind_forward(_ENGINE, ins, outs, attrs, training, "f")
    except Unsupported:
        return None


def bind_backward_rnn(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                      epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_RNN`` of float32."""
    try:
        return None if epilogue is not None else network.bind_backward(_ENGINE, ins, outs, attrs, "f")
    except Unsupported:
        return None


# ---------------------------------------------------------------- eager calls
def takes_rnn(data: Any, *arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`rnn` takes a call."""
    return network.takes(attrs, data.shape, data.dtype, "f")


def rnn(xp: Any, data: np.ndarray, parameters: np.ndarray, state: np.ndarray, state_cell: np.ndarray | None = None,
        sequence_length: None = None, *, p: float, is_train: bool, rng: Any, **attrs: Any) -> tuple:
    """``RNN``."""
    return network.run_forward(_ENGINE, xp, data, parameters, state, state_cell, p, is_train, rng, attrs)


def _found(data: Any, reserve: Any, attrs: Mapping[str, Any]) -> Backward | None:
    return network.find_backward(_ENGINE, data, reserve, attrs) if network.takes(attrs, data.shape, data.dtype, "f") else None


def takes_backward_rnn(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`backward_rnn` takes a call: whether :func:`rnn` has left what it needs."""
    return _found(arrays[1], arrays[6], attrs) is not None


def backward_rnn(xp: Any, *arrays: np.ndarray | None, **attrs: Any) -> tuple:
    """``_backward_RNN``."""
    return network.run_backward(_found(arrays[1], arrays[6], attrs), arrays)  # type: ignore[arg-type]
