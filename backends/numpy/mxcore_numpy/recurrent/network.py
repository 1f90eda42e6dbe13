"""Layers of a recurrent network together: as calls bound to their shapes, and as the kernels of eager calls."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from mxcore.ops.rnn import GATES, Layout, checked, dropout_mask, layout_of
from mxcore.registry.bound import Bound, Spec, plain_order

from ..kernels.scratch import lent, scratch

__all__ = ["Backward", "BackwardLayer", "Engine", "Forward", "ForwardLayer", "Sizes", "States", "bind_backward", "bind_forward",
           "find_backward", "run_backward", "run_forward", "takes"]

SIZES = ("mode", "state_size", "num_layers", "bidirectional", "projection_size")


# ---------------------------------------------------------------- what an engine does
class Sizes(NamedTuple):
    """Of one layer: ``n`` is the state size."""

    mode: str
    steps: int
    batch: int
    inputs: int
    n: int
    directions: int
    dtype: np.dtype

    @property
    def gates(self) -> int:
        """Number of gates."""
        return GATES[self.mode]

    @property
    def cell(self) -> int:
        """Numbers in the weights of one direction: (gates * n, inputs) for the inputs, then (gates * n, n)."""
        return self.gates * self.n * (self.inputs + self.n)


class States(NamedTuple):
    """Of one layer: (directions, batch, n). ``c`` is for LSTM only; gradients that are None are zeros."""

    h: Any
    c: Any


class ForwardLayer(Protocol):
    """A layer for the forward pass."""

    kept: int  #: numbers that :meth:`run` leaves for the backward pass

    def fill(self, weights: np.ndarray, biases: np.ndarray) -> None:
        """Take the parameters: (directions, cell) and (directions, 2, gates * n)."""

    def release(self) -> None:
        """Let go of the parameters; :meth:`fill` comes before the next :meth:`run`."""

    def run(self, x: np.ndarray, first: States, y: np.ndarray, last: States, kept: np.ndarray) -> None:
        """Fill ``y``, (steps, batch, directions * n), ``last`` and ``kept``."""


class BackwardLayer(Protocol):
    """A layer for the backward pass."""

    kept: int  #: as of the forward pass

    def fill(self, weights: np.ndarray, biases: np.ndarray) -> None:
        """Take the parameters."""

    def release(self) -> None:
        """Let go of the parameters; :meth:`fill` comes before the next :meth:`run`."""

    def run(self, x: np.ndarray, first: States, y: np.ndarray, last: States, kept: np.ndarray, dy: np.ndarray, dlast: States,
            dx: np.ndarray, dfirst: States, dweights: np.ndarray, dbiases: np.ndarray) -> None:
        """Fill ``dx``, ``dfirst``, ``dweights`` and ``dbiases``."""


class Engine(Protocol):
    """Makes layers. All arrays are dense and in C order."""

    name: str

    def forward(self, sizes: Sizes, training: bool) -> ForwardLayer:
        """Without ``training`` nothing needs to be kept."""

    def backward(self, sizes: Sizes) -> BackwardLayer:
        """For what :meth:`forward` has kept."""


def takes(attrs: Mapping[str, Any], shape: tuple[int, ...], dtype: Any, types: str = "fd") -> bool:
    """Whether networks of layers are made: no projection, no lengths, a type of those named by their characters."""
    return not attrs["projection_size"] and not attrs["use_sequence_length"] and np.dtype(dtype).char in types and 0 not in shape


# ---------------------------------------------------------------- the two passes
class _Network(Bound):
    """What both passes have in common: how parameters and reserve are laid out."""

    layers: Sequence[Any]

    def __init__(self, lay: Layout, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.lay, self.lstm = lay, lay.mode == "lstm"
        steps, batch, _ = shape
        width = lay.width * lay.directions
        self.sizes = [Sizes(lay.mode, steps, batch, lay.inputs if k == 0 else width, lay.state_size, lay.directions, dtype)
                      for k in range(lay.num_layers)]
        self.outputs = (steps, batch, width)
        self.states = (lay.num_layers, lay.directions, batch, lay.state_size)

    def reserve_size(self) -> int:
        """Numbers kept for the backward pass: by each layer, outputs of all layers but the last, last states."""
        parts = (1 + self.lstm) * int(np.prod(self.states)) + (len(self.layers) - 1) * int(np.prod(self.outputs))
        return parts + sum(layer.kept for layer in self.layers)

    def memory(self, reserve: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """What each layer keeps, outputs of all layers but the last, last states."""
        ends = np.cumsum([*[layer.kept for layer in self.layers], (len(self.layers) - 1) * int(np.prod(self.outputs))])
        *kept, outputs, states = np.split(reserve, ends)
        return kept, outputs.reshape(-1, *self.outputs), states.reshape(1 + self.lstm, *self.states)

    def parameters(self, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights and biases of each layer, as views."""
        d, g = self.lay.directions, self.lay.gates
        ends = np.cumsum([*[d * s.cell for s in self.sizes], *[2 * d * g] * len(self.sizes)])[:-1]
        parts, count = np.split(flat, ends), len(self.sizes)
        return [(w.reshape(d, -1), b.reshape(d, 2, g)) for w, b in zip(parts[:count], parts[count:], strict=True)]

    def prepare(self, ins: Sequence[Any]) -> None:
        """See :class:`Bound`."""
        for layer, (weights, biases) in zip(self.layers, self.parameters(ins[self.prepared[0]]), strict=True):
            layer.fill(weights, biases)

    def release(self) -> None:
        """Let go of what :meth:`prepare` made: a network that is remembered for its sizes keeps no parameters."""
        for layer in self.layers:
            layer.release()

    def by_layer(self, array: np.ndarray | None) -> Any:
        """States of all layers: (layers, directions, batch, n)."""
        return [None] * len(self.layers) if array is None else array.reshape(self.states)

    def masked(self, x: np.ndarray, mask: np.ndarray | None, number: int) -> np.ndarray:
        """The inputs of a layer, after dropout."""
        if mask is None or mask.ndim == 1 or number == 0:
            return x
        return np.multiply(x, mask[number - 1], out=scratch("rnn inputs", x.shape, x.dtype))


class Forward(_Network):
    """``RNN``: from (data, parameters, state, [cell]) to (y, last states..., mask, reserve).

    ``training`` False: the reserve is empty.
    """

    prepared = (1,)

    def __init__(self, engine: Engine, lay: Layout, shape: tuple[int, ...], dtype: np.dtype, training: bool) -> None:
        super().__init__(lay, shape, dtype)
        self.training, self.label = training, f"recurrent layers: {engine.name}"
        self.layers = [engine.forward(s, training) for s in self.sizes]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        """See :class:`Bound`."""
        outs[-2].fill(1)
        self.compute(ins, outs, None)

    def compute(self, ins: Sequence[Any], outs: Sequence[Any], mask: np.ndarray | None) -> None:
        """With a mask for dropout between layers."""
        x, reserve = ins[0], outs[-1]
        if not self.training:
            reserve = scratch("rnn reserve", (self.reserve_size(),), x.dtype)
        kept, between, ends = self.memory(reserve)
        first = self.by_layer(ins[2]), self.by_layer(ins[3] if self.lstm else None)
        last = self.by_layer(outs[1]), self.by_layer(outs[2] if self.lstm else None)
        for k, layer in enumerate(self.layers):
            y = between[k] if k < len(between) else outs[0]
            layer.run(self.masked(x, mask, k), States(first[0][k], first[1][k]), y, States(last[0][k], last[1][k]), kept[k])
            x = y
        if self.training:
            for end, states in zip(ends, last, strict=False):
                np.copyto(end, states)


class Backward(_Network):
    """``_backward_RNN``."""

    prepared = (2,)

    def __init__(self, engine: Engine, lay: Layout, shape: tuple[int, ...], dtype: np.dtype) -> None:
        super().__init__(lay, shape, dtype)
        self.label = f"recurrent layers backward: {engine.name}"
        self.layers = [engine.backward(s) for s in self.sizes]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        """See :class:`Bound`."""
        dy, data, _, state, out, mask, reserve, cell, _, dstate, dcell = [*ins, *[None] * 11][:11]
        kept, between, ends = self.memory(reserve)
        last = ends[0], ends[-1] if self.lstm else self.by_layer(None)
        first, dlast = (self.by_layer(state), self.by_layer(cell)), (self.by_layer(dstate), self.by_layer(dcell))
        dfirst = self.by_layer(outs[2]), self.by_layer(outs[3] if self.lstm else None)
        gradients = self.parameters(outs[1])
        for k in range(len(self.layers) - 1, -1, -1):
            y = between[k] if k < len(between) else out
            x = self.masked(between[k - 1] if k else data, mask, k)
            dx = scratch(f"rnn dx {k % 2}", x.shape, x.dtype) if k else outs[0]
            self.layers[k].run(x, States(first[0][k], first[1][k]), y, States(last[0][k], last[1][k]), kept[k], dy,
                               States(dlast[0][k], dlast[1][k]), dx, States(dfirst[0][k], dfirst[1][k]), *gradients[k])
            if k and mask.ndim > 1:
                np.multiply(dx, mask[k - 1], out=dx)
            dy = dx


# ---------------------------------------------------------------- compiled programs
def _placed(network: _Network, ins: Sequence[Spec | None], outs: Sequence[Spec]) -> Bound:
    network.in_orders = [None if s is None else plain_order(len(s.shape)) for s in ins]
    network.out_orders = [plain_order(len(s.shape)) for s in outs]
    return network


def bind_forward(engine: Engine, ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                 types: str = "fd") -> Bound | None:
    """``RNN`` without dropout, and data of one of the types."""
    data: Spec = ins[0]  # type: ignore[assignment]
    if attrs["p"] or not takes(attrs, data.shape, data.dtype, types) or any(s.dtype != data.dtype for s in outs):
        return None
    network = Forward(engine, layout_of(data.shape, *[attrs[k] for k in SIZES]), data.shape, data.dtype, training)
    network.private = {len(outs) - 1: network.reserve_size() if training else 0}
    return _placed(network, ins, outs)


def bind_backward(engine: Engine, ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any],
                  types: str = "fd") -> Bound | None:
    """``_backward_RNN``, where the forward pass was bound for the same engine."""
    data, reserve = ins[1], ins[6]
    if data is None or reserve is None or not takes(attrs, data.shape, data.dtype, types):
        return None
    network = Backward(engine, layout_of(data.shape, *[attrs[k] for k in SIZES]), data.shape, data.dtype)
    return _placed(network, ins, outs) if reserve.shape == (network.reserve_size(),) else None


# ---------------------------------------------------------------- eager calls
class _Remembered(threading.local):
    """The networks that a thread used last: some engines take milliseconds to prepare one."""

    _MOST = 16

    def __init__(self) -> None:
        self.networks: OrderedDict[tuple, _Network] = OrderedDict()

    def find(self, of: type[_Network], *key: Any) -> Any:
        full = of, *key
        found = self.networks.pop(full, None) or of(*key)
        self.networks[full] = found
        if len(self.networks) > self._MOST:
            self.networks.popitem(last=False)
        return found


_REMEMBERED = _Remembered()


def _dense(arrays: Sequence[np.ndarray | None]) -> list:
    return [None if a is None else np.ascontiguousarray(a) for a in arrays]


def run_forward(engine: Engine, xp: Any, data: np.ndarray, parameters: np.ndarray, state: np.ndarray,
                state_cell: np.ndarray | None, p: float, is_train: bool, rng: Any, sizes: Mapping[str, Any]) -> tuple:
    """``RNN`` of arrays as they come."""
    lay = checked(data, parameters, state, state_cell, *[sizes[k] for k in SIZES])
    ins = _dense([data, parameters, state, state_cell])
    mask = dropout_mask(xp, data, lay, p, is_train, rng)
    network = _REMEMBERED.find(Forward, engine, lay, data.shape, data.dtype, bool(is_train))
    states = [np.empty_like(s) for s in ins[2:] if s is not None]
    outs = [np.empty(network.outputs, data.dtype), *states, np.ones(1, data.dtype) if mask is None else mask,
            lent((network.reserve_size() if is_train else 0,), data.dtype)]
    network.prepare(ins)
    network.compute(ins, outs, mask)
    network.release()
    return tuple(outs)


def find_backward(engine: Engine, data: np.ndarray, reserve: np.ndarray, sizes: Mapping[str, Any]) -> Backward | None:
    """The backward pass for a forward pass that left this reserve; None if that was not of this engine."""
    network = _REMEMBERED.find(Backward, engine, layout_of(data.shape, *[sizes[k] for k in SIZES]), data.shape, data.dtype)
    return network if reserve.shape == (network.reserve_size(),) else None


def run_backward(network: Backward, arrays: Sequence[np.ndarray | None]) -> tuple:
    """``_backward_RNN`` of arrays as they come."""
    ins = _dense(arrays)
    outs = [np.empty_like(a) for a in (ins[1], ins[2], ins[3], ins[7]) if a is not None]
    network.prepare(ins)
    network.run(ins, outs)
    network.release()
    return tuple(outs)
