"""Recurrent layers by cuDNN, called through ``ctypes``, where it is installed; elsewhere the operator's definition runs.

One call computes all layers and both directions. Dropout between layers is the operator's own, with a mask that is one of its
outputs: cuDNN's would keep its mask to itself, and gradients of the definition (second ones, or those of another backend) need
it. So with dropout there is one call for each layer, and products with the mask between.

Descriptors, sizes and the places of parameters are found once for each kind of call. cuDNN says where in its memory each matrix
and each bias lies; where that is how the operator's flat vector is laid out, the vector is used as it is, and its gradient is
written as it is.
"""

from __future__ import annotations

import ctypes as C
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from mxcore.ops.rnn import GATES, Layout, checked, dropout_mask, layout_of
from mxcore_device.arrays import Array, from_host

from . import dnn
from .libraries import Made, UnservedError

__all__ = ["backward_rnn", "rnn", "takes_backward_rnn", "takes_rnn"]

_MODES = {"rnn_relu": 0, "rnn_tanh": 1, "lstm": 2, "gru": 3}  # cudnnRNNMode_t
_STANDARD, _DOUBLE_BIAS, _LINEAR_INPUT, _NO_PADDING = 0, 2, 0, 0
_PACKED = 1  # cudnnRNNDataLayout_t: steps first; sequences of one length leave no gaps
_ADD = 0  # cudnnWgradMode_t
_PLANS = 64
_ALIGNED = 256  # bytes: where parts of the reserve begin
_NATURAL = 16  # bytes: the widest loads of kernels
_SIZES = ("mode", "state_size", "num_layers", "bidirectional", "projection_size")


def _call(function: str, *arguments: Any) -> None:
    found = dnn.library()
    assert found is not None  # :func:`_network` has asked
    found(function, *arguments)


def _perform(machine: Any, call: Callable[..., None], *operands: Any) -> None:
    """``call(*addresses)`` of arrays and memory; None stays None."""
    there = [o is not None for o in operands]

    def run(*addresses: int) -> None:
        left = iter(addresses)
        call(*[C.c_void_p(next(left)) if t else None for t in there])

    machine.perform(run, *[machine.place(o) if isinstance(o, Array) else (o, 0) for o in operands if o is not None])


def _ready(a: Array | None) -> Array | None:
    """Dense, and at an address that kernels can read from at once."""
    if a is None or (a.dense and a.offset * a.dtype.itemsize % _NATURAL == 0):
        return a
    return a.machine.xp.copy(a)


def _joined(pieces: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Pieces (from, to, length), those that continue each other made one."""
    runs: list[tuple[int, int, int]] = []
    for at, to, length in sorted(pieces):
        if runs and (at, to) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            at, to, length = runs[-1][0], runs[-1][1], runs.pop()[2] + length
        runs.append((at, to, length))
    return runs


# ---------------------------------------------------------------- one call
class _Layers:
    """Some consecutive layers of a network, which one call computes.

    Attributes
    ----------
    kept : int
        Bytes of what the forward pass leaves for the backward pass; 0 for inference.
    """

    def __init__(self, machine: Any, lay: Layout, first: int, count: int, steps: int, batch: int, dtype: np.dtype,
                 training: bool) -> None:
        handle, name, n, width = dnn.handle(machine), dtype.name, lay.state_size, lay.state_size * lay.directions
        self.machine, self.dtype, self.training = machine, dtype, training
        self.cells = slice(first * lay.directions, (first + count) * lay.directions)
        inputs = lay.inputs if first == 0 else width
        work = dnn.TYPES["float64" if name == "float64" else "float32"]
        self.dropout, self.how = dnn.made("cudnnCreateDropoutDescriptor"), dnn.made("cudnnCreateRNNDescriptor")
        _call("cudnnSetDropoutDescriptor", self.dropout, handle, C.c_float(0), None, C.c_size_t(0), C.c_ulonglong(0))
        _call("cudnnSetRNNDescriptor_v8", self.how, _STANDARD, _MODES[lay.mode], _DOUBLE_BIAS, lay.directions - 1, _LINEAR_INPUT,
              dnn.TYPES[name], work, dnn.math_type(name, machine.tf32), inputs, n, n, count, self.dropout, _NO_PADDING)
        lengths = np.full(batch, steps, np.int32)
        self.x, self.y = [self._data(steps, batch, size, lengths) for size in (inputs, width)]
        self.h = dnn.tensor((count * lay.directions, batch, n), name)
        self.c = self.h if lay.mode == "lstm" else None
        self.on_device = from_host(machine, lengths)
        self.lengths = C.c_void_p(self.on_device.memory.ptr)
        weights, room, kept = C.c_size_t(), C.c_size_t(), C.c_size_t()
        _call("cudnnGetRNNWeightSpaceSize", handle, self.how, C.byref(weights))
        _call("cudnnGetRNNTempSpaceSizes", handle, self.how, int(training), self.x, C.byref(room), C.byref(kept))
        self.weights, self.room, self.kept = weights.value, room.value, kept.value
        #: where parameters lie: bytes in the flat vector, in cuDNN's memory, and how many
        self.runs = _joined(self._pieces(handle, lay))
        self.plain = self.runs == [(0, 0, self.weights)] and self.weights == lay.size() * dtype.itemsize

    def _data(self, steps: int, batch: int, size: int, lengths: np.ndarray) -> Made:
        new = dnn.made("cudnnCreateRNNDataDescriptor")
        _call("cudnnSetRNNDataDescriptor", new, dnn.TYPES[self.dtype.name], _PACKED, steps, batch, size,
              C.c_void_p(lengths.ctypes.data), None)
        return new

    def _pieces(self, handle: Any, lay: Layout) -> list[tuple[int, int, int]]:
        """Where the matrix and the bias of each gate lie."""
        shapes, gates, size = lay.shapes(), GATES[lay.mode], self.dtype.itemsize
        starts = [0, *accumulate(prod(s) for s in shapes)]
        biases = len(shapes) // 2
        memory = self.machine.allocate(self.weights)  # only its address is looked at
        matrix, bias = dnn.made("cudnnCreateTensorDescriptor"), dnn.made("cudnnCreateTensorDescriptor")
        pieces = []
        for layer, cell in enumerate(range(self.cells.start, self.cells.stop)):
            for gate in range(2 * gates):  # those of the input before those of the state
                places = C.c_void_p(), C.c_void_p()
                _call("cudnnGetRNNWeightParams", handle, self.how, layer, C.c_size_t(self.weights), C.c_void_p(memory.ptr), gate,
                      matrix, C.byref(places[0]), bias, C.byref(places[1]))
                of, number = divmod(gate, gates)
                for which, place in zip((2 * cell + of, biases + 2 * cell + of), places, strict=True):
                    length = prod(shapes[which]) // gates * size
                    pieces.append((starts[which] * size + number * length, (place.value or 0) - memory.ptr, length))
        return pieces

    def _space(self, xp: Any, parameters: Array) -> Array:
        """Parameters as cuDNN has them."""
        if self.plain:
            return parameters
        space, (memory, start) = xp.empty((self.weights // self.dtype.itemsize,), self.dtype), self.machine.place(parameters)
        for at, to, length in self.runs:
            self.machine.move(space.memory, to, memory, start + at, length)
        return space

    def forward(self, xp: Any, x: Array, parameters: Array, states: Sequence[Array | None], y: Array,
                ends: Sequence[Array | None], kept: Array | None) -> None:
        """Fill ``y``, the last states, and what is kept in training."""
        machine = self.machine

        def call(x: Any, hx: Any, cx: Any, y: Any, hy: Any, cy: Any, weights: Any, room: Any, kept: Any) -> None:
            machine.keep(self)
            _call("cudnnRNNForward", dnn.handle(machine), self.how, int(self.training), self.lengths, self.x, x, self.y, y,
                  self.h, hx, hy, self.c, cx, cy, C.c_size_t(self.weights), weights, C.c_size_t(self.room), room,
                  C.c_size_t(self.kept), kept)

        _perform(machine, call, x, *states, y, *ends, self._space(xp, parameters), machine.allocate(self.room), kept)

    def backward(self, xp: Any, x: Array, parameters: Array, states: Sequence[Array | None], y: Array, kept: Array, dy: Array,
                 dends: Sequence[Array | None], dx: Array, dstates: Sequence[Array | None], dparameters: Array) -> None:
        """Fill ``dx``, the gradients of the states, and these layers' part of ``dparameters``, which holds zeros."""
        machine = self.machine
        dspace = dparameters if self.plain else xp.zeros((self.weights // self.dtype.itemsize,), self.dtype)

        def call(x: Any, hx: Any, cx: Any, y: Any, dy: Any, dhy: Any, dcy: Any, dx: Any, dhx: Any, dcx: Any, weights: Any,
                 dweights: Any, room: Any, kept: Any) -> None:
            machine.keep(self)
            handle, rooms = dnn.handle(machine), (C.c_size_t(self.room), room, C.c_size_t(self.kept), kept)
            _call("cudnnRNNBackwardData_v8", handle, self.how, self.lengths, self.y, y, dy, self.x, dx, self.h, hx, dhy, dhx,
                  self.c, cx, dcy, dcx, C.c_size_t(self.weights), weights, *rooms)
            _call("cudnnRNNBackwardWeights_v8", handle, self.how, _ADD, self.lengths, self.x, x, self.h, hx, self.y, y,
                  C.c_size_t(self.weights), dweights, *rooms)

        # the first function writes into what was kept, which may be asked for again
        _perform(machine, call, x, *states, y, dy, *dends, dx, *dstates, self._space(xp, parameters), dspace,
                 machine.allocate(self.room), xp.copy(kept))
        if not self.plain:
            memory, start = machine.place(dparameters)
            for at, to, length in self.runs:
                machine.move(memory, start + at, dspace.memory, to, length)


# ---------------------------------------------------------------- all layers
def _of(part: _Layers, states: Sequence[Array | None]) -> list[Array | None]:
    return [None if s is None else s[part.cells] for s in states]


class _Network:
    """A recurrent network for certain sizes."""

    def __init__(self, machine: Any, lay: Layout, steps: int, batch: int, dtype: np.dtype, training: bool,
                 dropping: bool) -> None:
        self.dtype, self.training = dtype, training
        parts = [(k, 1) for k in range(lay.num_layers)] if dropping else [(0, lay.num_layers)]
        self.parts = [_Layers(machine, lay, first, count, steps, batch, dtype, training) for first, count in parts]
        self.outputs = steps, batch, lay.state_size * lay.directions
        ends = list(accumulate([self._elements(p.kept) for p in self.parts], initial=0))
        #: what each part keeps, and the outputs of all parts but the last
        self.kept = [slice(a, b) for a, b in pairwise(ends)]
        each = self._elements(prod(self.outputs) * dtype.itemsize)
        self.between = [slice(ends[-1] + k * each, ends[-1] + k * each + prod(self.outputs)) for k in range(len(parts) - 1)]
        #: elements of the reserve
        self.reserve = ends[-1] + len(self.between) * each if training else 0

    def _elements(self, nbytes: int) -> int:
        return -(-nbytes // _ALIGNED) * _ALIGNED // self.dtype.itemsize

    def forward(self, xp: Any, data: Array, parameters: Array, states: list[Array | None], mask: Array | None) -> tuple:
        """Output, last states, reserve."""
        reserve = xp.empty((self.reserve,), self.dtype)
        ends = [None if s is None else xp.empty(s.shape, self.dtype) for s in states]
        x, last = data, len(self.parts) - 1
        for k, part in enumerate(self.parts):
            y = xp.empty(self.outputs, self.dtype) if k == last else xp.reshape(reserve[self.between[k]], self.outputs)
            part.forward(xp, x, parameters, _of(part, states), y, _of(part, ends),
                         reserve[self.kept[k]] if self.training else None)
            x = y if k == last or mask is None else xp.multiply(y, mask[k])
        return x, *[e for e in ends if e is not None], reserve

    def backward(self, xp: Any, data: Array, parameters: Array, states: list[Array | None], y: Array, mask: Array, reserve: Array,
                 dy: Array, dends: list[Array | None]) -> tuple:
        """Gradients of data, parameters and states."""
        dparameters = xp.zeros(parameters.shape, self.dtype)
        dstates = [None if s is None else xp.empty(s.shape, self.dtype) for s in states]
        between = [xp.reshape(reserve[b], self.outputs) for b in self.between]
        for k in range(len(self.parts) - 1, -1, -1):
            part, x = self.parts[k], xp.multiply(between[k - 1], mask[k - 1]) if k else data
            dx = xp.empty(x.shape, self.dtype)
            part.backward(xp, x, parameters, _of(part, states), y, reserve[self.kept[k]], dy, _of(part, dends), dx,
                          _of(part, dstates), dparameters)
            if k:
                y, dy = between[k - 1], xp.multiply(dx, mask[k - 1])
        return dx, dparameters, *[d for d in dstates if d is not None]


class _Networks(threading.local):
    """Those that a thread has used last; None: cuDNN does not serve this."""

    def __init__(self) -> None:
        self.of: OrderedDict[Any, _Network | None] = OrderedDict()


_NETWORKS = _Networks()


def _network(data: Any, training: bool, dropping: bool, attrs: Mapping[str, Any]) -> _Network | None:
    """None where there is no cuDNN, or it does not serve the type, the sizes or the attributes."""
    if data.ndim != 3 or 0 in data.shape or data.dtype.name not in dnn.TYPES:
        return None
    if attrs["projection_size"] or attrs["use_sequence_length"] or dnn.library() is None:
        return None
    machine, lay, found = data.machine, layout_of(data.shape, *[attrs[k] for k in _SIZES]), _NETWORKS.of
    key = machine.index, lay, data.shape, data.dtype, training, dropping, machine.tf32
    if key in found:
        found.move_to_end(key)
        return found[key]
    try:
        found[key] = _Network(machine, lay, data.shape[0], data.shape[1], data.dtype, training, dropping)
    except UnservedError:
        found[key] = None
    if len(found) > _PLANS:
        found.popitem(last=False)
    return found[key]


# ---------------------------------------------------------------- the operators
def _forward_network(data: Any, attrs: Mapping[str, Any], p: float, is_train: bool) -> _Network | None:
    return _network(data, bool(is_train), bool(is_train) and p > 0 and attrs["num_layers"] > 1, attrs)


def takes_rnn(data: Any, *arrays: Any, p: float, is_train: bool = False, **attrs: Any) -> bool:
    """Whether :func:`rnn` takes a call."""
    return _forward_network(data, attrs, p, is_train) is not None


def rnn(xp: Any, data: Array, parameters: Array, state: Array, state_cell: Array | None = None, *, p: float, is_train: bool,
        rng: Any, **attrs: Any) -> tuple:
    """``RNN``; the reserve is cuDNN's, and the outputs of layers before dropout."""
    lay = checked(data, parameters, state, state_cell, *[attrs[k] for k in _SIZES])
    network, mask = _forward_network(data, attrs, p, is_train), dropout_mask(xp, data, lay, p, is_train, rng)
    x, weights, h, c = [_ready(a) for a in (data, parameters, state, state_cell)]
    *outs, reserve = network.forward(xp, x, weights, [h, c], mask)  # type: ignore[union-attr, arg-type]
    return *outs, xp.ones((1,), data.dtype) if mask is None else mask, reserve


def takes_backward_rnn(dy: Any, data: Any, parameters: Any, state: Any, y: Any, mask: Any, reserve: Any, *arrays: Any, p: float,
                       **attrs: Any) -> bool:
    """Whether :func:`backward_rnn` takes a call: whether :func:`rnn` has left what it needs."""
    found = _network(data, True, mask.ndim > 1, attrs)
    return found is not None and reserve.shape == (found.reserve,)


def backward_rnn(xp: Any, dy: Array, data: Array, parameters: Array, state: Array, y: Array, mask: Array, reserve: Array,
                 state_cell: Array | None = None, sequence_length: None = None, dstate: Array | None = None,
                 dcell: Array | None = None, *, p: float, **attrs: Any) -> tuple:
    """``_backward_RNN``."""
    network = _network(data, True, mask.ndim > 1, attrs)
    dy, data, parameters, state, cell, y, reserve, dh, dc = [  # type: ignore[assignment]
        _ready(a) for a in (dy, data, parameters, state, state_cell, y, reserve, dstate, dcell)]
    return network.backward(xp, data, parameters, [state, cell], y, mask, reserve, dy, [dh, dc])  # type: ignore[union-attr]
