"""Recurrent networks: one product for the inputs of all steps, and for each step only that of the state.

The gates of every step are kept for the backward pass, where again only one product a step depends on the one before;
the gradients by the weights are products over all steps (Appleyard, Kocisky & Blunsom 2016).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mxcore.ops.rnn import Layout, checked, dropout_mask, layout_of, rnn_backward
from mxcore.ops.rnn import rnn as generic_rnn

#: gates kept of each step, in units of the state size
_KEPT = {"lstm": 6, "gru": 4, "rnn_relu": 0, "rnn_tanh": 0}


def _sigmoid(z: np.ndarray) -> None:
    """In place; ``exp`` may overflow to infinity, which gives 0."""
    np.negative(z, out=z)
    np.exp(z, out=z)
    np.add(z, 1, out=z)
    np.reciprocal(z, out=z)


class _Cell:
    """Parameters of one layer and direction, as views of the flat vector."""

    def __init__(self, lay: Layout, flat: np.ndarray, offsets: list[int], number: int) -> None:
        shapes, cells = lay.shapes(), lay.num_layers * lay.directions
        index = [2 * number, 2 * number + 1, 2 * cells + 2 * number, 2 * cells + 2 * number + 1]
        self.wi, self.wh, self.bi, self.bh = (flat[offsets[i]:offsets[i + 1]].reshape(shapes[i]) for i in index)


def _cells(lay: Layout, flat: np.ndarray) -> list[_Cell]:
    offsets = [0]
    for s in lay.shapes():
        offsets.append(offsets[-1] + s[0] * (s[1] if len(s) > 1 else 1))
    return [_Cell(lay, flat, offsets, k) for k in range(lay.num_layers * lay.directions)]


class _Memory:
    """What the forward pass keeps: for each cell its gates and outputs, in one flat array."""

    def __init__(self, lay: Layout, steps: int, batch: int, flat: np.ndarray | None, dtype: Any) -> None:
        kept, h = _KEPT[lay.mode], lay.state_size
        each, layer = steps * batch * kept * h, steps * batch * h * lay.directions
        cells = lay.num_layers * lay.directions
        self.flat = np.empty(cells * each + (lay.num_layers - 1) * layer, dtype) if flat is None else flat
        self.gates = self.flat[:cells * each].reshape(cells, steps, batch, kept * h)
        self.layers = self.flat[cells * each:].reshape(lay.num_layers - 1, steps, batch, h * lay.directions)


def _times(steps: int, direction: int) -> range:
    return range(steps) if direction == 0 else range(steps - 1, -1, -1)


def rnn(xp: Any, data: np.ndarray, parameters: np.ndarray, state: np.ndarray, state_cell: np.ndarray | None = None,
        sequence_length: np.ndarray | None = None, *, state_size: int, num_layers: int, bidirectional: bool, mode: str,
        p: float, projection_size: int | None, use_sequence_length: bool, is_train: bool, rng: Any, **rest: Any) -> tuple:
    """``RNN``; with projection or lengths by the generic kernel."""
    sizes = {"mode": mode, "state_size": state_size, "num_layers": num_layers, "bidirectional": bidirectional,
             "projection_size": projection_size}
    if projection_size or use_sequence_length or data.dtype.char not in "fd":
        return generic_rnn.fn(xp, data, parameters, state, state_cell, sequence_length, p=p, is_train=is_train, rng=rng,
                              use_sequence_length=use_sequence_length, **sizes)
    lay = checked(data, parameters, state, state_cell, *sizes.values())
    steps, batch, _ = data.shape
    mask = dropout_mask(xp, data, lay, p, is_train, rng)
    memory, cells = _Memory(lay, steps, batch, None, data.dtype), _cells(lay, parameters)
    out = np.empty((steps, batch, state_size * lay.directions), data.dtype)
    hs, cs = np.empty_like(state), None if mode != "lstm" else np.empty_like(state_cell)
    x, forward = data, _FORWARD[mode]
    with np.errstate(over="ignore"):
        for layer in range(num_layers):
            y = memory.layers[layer] if layer < num_layers - 1 else out
            for d in range(lay.directions):
                k = layer * lay.directions + d
                part = y[:, :, d * state_size:(d + 1) * state_size]
                hs[k], last = forward(cells[k], x, state[k], None if cs is None else state_cell[k], part,
                                      memory.gates[k], _times(steps, d), mode)
                if cs is not None:
                    cs[k] = last
            x = y if mask is None or layer == num_layers - 1 else y * mask[layer]
    states = (hs,) if cs is None else (hs, cs)
    return out, *states, np.ones(1, data.dtype) if mask is None else mask, memory.flat


def _inputs(cell: _Cell, x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """``W x + b`` of all steps."""
    steps, batch, width = x.shape
    z = np.matmul(x.reshape(steps * batch, width), cell.wi.T)
    np.add(z, bias, out=z)
    return z.reshape(steps, batch, -1)


def _forward_lstm(cell: _Cell, x: np.ndarray, h: np.ndarray, c: np.ndarray, y: np.ndarray, kept: np.ndarray,
                  times: range, mode: str) -> tuple:
    """Keeps i, f, g, o, c and tanh(c)."""
    n = h.shape[1]
    z, wh = _inputs(cell, x, cell.bi + cell.bh), cell.wh.T
    spare = np.empty_like(h)
    for t in times:
        gates = np.matmul(h, wh, out=kept[t, :, :4 * n])
        np.add(gates, z[t], out=gates)
        i, f, g, o, new, squashed = (kept[t, :, k * n:(k + 1) * n] for k in range(6))
        _sigmoid(gates[:, :2 * n])
        np.tanh(g, out=g)
        _sigmoid(o)
        np.multiply(f, c, out=new)
        np.add(new, np.multiply(i, g, out=spare), out=new)
        np.tanh(new, out=squashed)
        h = np.multiply(o, squashed)
        y[t], c = h, new
    return h, c


def _forward_gru(cell: _Cell, x: np.ndarray, h: np.ndarray, c: None, y: np.ndarray, kept: np.ndarray, times: range,
                 mode: str) -> tuple:
    """Keeps r, z, n and the state's part of n."""
    n = h.shape[1]
    zs, wh = _inputs(cell, x, cell.bi), cell.wh.T
    for t in times:
        own = np.matmul(h, wh)
        np.add(own, cell.bh, out=own)
        gates, new, part = kept[t, :, :2 * n], kept[t, :, 2 * n:3 * n], kept[t, :, 3 * n:]
        np.add(own[:, :2 * n], zs[t, :, :2 * n], out=gates)
        _sigmoid(gates)
        part[...] = own[:, 2 * n:]
        np.multiply(gates[:, :n], part, out=new)
        np.add(new, zs[t, :, 2 * n:], out=new)
        np.tanh(new, out=new)
        h = h - new
        np.multiply(h, gates[:, n:], out=h)
        np.add(h, new, out=h)
        y[t] = h
    return h, None


def _forward_plain(cell: _Cell, x: np.ndarray, h: np.ndarray, c: None, y: np.ndarray, kept: np.ndarray, times: range,
                   mode: str) -> tuple:
    z, wh = _inputs(cell, x, cell.bi + cell.bh), cell.wh.T
    for t in times:
        h = np.matmul(h, wh)
        np.add(h, z[t], out=h)
        if mode == "rnn_tanh":
            np.tanh(h, out=h)
        else:
            np.maximum(h, 0, out=h)
        y[t] = h
    return h, None


_FORWARD: dict[str, Callable] = {"lstm": _forward_lstm, "gru": _forward_gru, "rnn_tanh": _forward_plain,
                                 "rnn_relu": _forward_plain}


# ---------------------------------------------------------------- backward
def backward_rnn(xp: Any, dy: np.ndarray, data: np.ndarray, parameters: np.ndarray, state: np.ndarray, y: np.ndarray,
                 mask: np.ndarray, reserve: np.ndarray, state_cell: np.ndarray | None = None,
                 sequence_length: np.ndarray | None = None, dstate: np.ndarray | None = None,
                 dcell: np.ndarray | None = None, *, mode: str, state_size: int, num_layers: int, bidirectional: bool,
                 projection_size: int | None, **rest: Any) -> tuple:
    """``_backward_RNN``; by its definition where the forward pass was."""
    sizes = {"mode": mode, "state_size": state_size, "num_layers": num_layers, "bidirectional": bidirectional,
             "projection_size": projection_size}
    if projection_size or rest["use_sequence_length"] or data.dtype.char not in "fd":
        return tuple(rnn_backward.composite(dy, data, parameters, state, y, mask, reserve, state_cell, sequence_length,
                                            dstate, dcell, **sizes, **rest))
    lay = layout_of(data.shape, *sizes.values())
    steps, batch, _ = data.shape
    memory = _Memory(lay, steps, batch, reserve, data.dtype)
    flat = np.empty_like(parameters)
    cells, grads, dropping = _cells(lay, parameters), _cells(lay, flat), mask.ndim > 1
    dh0, dc0 = np.empty_like(state), None if mode != "lstm" else np.empty_like(state_cell)
    for layer in range(num_layers - 1, -1, -1):
        out = y if layer == num_layers - 1 else memory.layers[layer]
        x = data if layer == 0 else memory.layers[layer - 1]
        if layer and dropping:
            x = x * mask[layer - 1]
        dx = None
        for d in range(lay.directions):
            k = layer * lay.directions + d
            part = slice(d * state_size, (d + 1) * state_size)
            before = _before(out[:, :, part], state[k], d)
            last = None if dcell is None else dcell[k], None if dc0 is None else state_cell[k]
            dz, dz_state, dh0[k], first = _BACKWARD[mode](
                cells[k], dy[:, :, part], before, out[:, :, part], memory.gates[k], None if dstate is None else dstate[k],
                *last, _times(steps, 1 - d), d)
            if dc0 is not None:
                dc0[k] = first
            _weights(grads[k], x, before, dz, dz_state)
            term = np.matmul(dz.reshape(steps * batch, -1), cells[k].wi).reshape(x.shape)
            dx = term if dx is None else np.add(dx, term, out=dx)
        if layer and dropping:
            np.multiply(dx, mask[layer - 1], out=dx)
        dy = dx
    return (dy, flat, dh0) if dc0 is None else (dy, flat, dh0, dc0)


def _before(out: np.ndarray, first: np.ndarray, direction: int) -> np.ndarray:
    """The state that each step started from."""
    h = np.empty(out.shape, out.dtype)
    if direction == 0:
        h[0], h[1:] = first, out[:-1]
    else:
        h[-1], h[:-1] = first, out[1:]
    return h


def _weights(grad: _Cell, x: np.ndarray, before: np.ndarray, dz: np.ndarray, dz_state: np.ndarray) -> None:
    rows = dz.shape[0] * dz.shape[1]
    flat, own = dz.reshape(rows, -1), dz_state.reshape(rows, -1)
    np.matmul(flat.T, x.reshape(rows, -1), out=grad.wi)
    np.matmul(own.T, before.reshape(rows, -1), out=grad.wh)
    np.add.reduce(flat, axis=0, out=grad.bi)
    np.add.reduce(own, axis=0, out=grad.bh)


def _steps_back(times: range, dy: np.ndarray, dh: np.ndarray | None) -> Iterator[tuple[int, np.ndarray]]:
    """Each step with the gradient that its output receives from above; the last one gets that of the last state too."""
    for number, t in enumerate(times):
        yield t, dy[t] + dh if number == 0 and dh is not None else dy[t]


def _backward_lstm(cell: _Cell, dy: np.ndarray, before: np.ndarray, out: np.ndarray, kept: np.ndarray,
                   dh: np.ndarray | None, dc: np.ndarray | None, c0: np.ndarray, times: range, direction: int) -> tuple:
    n = before.shape[2]
    i, f, g, o, c, squashed = (kept[:, :, k * n:(k + 1) * n] for k in range(6))
    earlier = _before(c, c0, direction)
    # all that does not wait for a later step: d gate = dc * slope (o: dh * slope)
    slope = np.empty((*kept.shape[:2], 4 * n), kept.dtype)
    np.multiply(g * i, 1 - i, out=slope[:, :, :n])
    np.multiply(earlier * f, 1 - f, out=slope[:, :, n:2 * n])
    np.multiply(i, 1 - g * g, out=slope[:, :, 2 * n:3 * n])
    np.multiply(squashed * o, 1 - o, out=slope[:, :, 3 * n:])
    through = o * (1 - squashed * squashed)
    wh, back = cell.wh, None
    carry = np.zeros_like(c0) if dc is None else dc.copy()
    spare = np.empty_like(c0)
    for t, head in _steps_back(times, dy, dh):
        total = head if back is None else np.add(head, back, out=back)
        np.add(carry, np.multiply(total, through[t], out=spare), out=carry)
        dz = slope[t]
        for k in range(3):
            part = dz[:, k * n:(k + 1) * n]
            np.multiply(part, carry, out=part)
        part = dz[:, 3 * n:]
        np.multiply(part, total, out=part)
        np.multiply(carry, f[t], out=carry)
        back = np.matmul(dz, wh)
    return slope, slope, back, carry


def _backward_gru(cell: _Cell, dy: np.ndarray, before: np.ndarray, out: np.ndarray, kept: np.ndarray,
                  dh: np.ndarray | None, dc: None, c0: None, times: range, direction: int) -> tuple:
    n = before.shape[2]
    r, z, new, part = (kept[:, :, k * n:(k + 1) * n] for k in range(4))
    slope = np.empty((*kept.shape[:2], 3 * n), kept.dtype)
    stay = 1 - z
    np.multiply(before - new, z * stay, out=slope[:, :, n:2 * n])
    np.multiply(stay, 1 - new * new, out=slope[:, :, 2 * n:])
    np.multiply(slope[:, :, 2 * n:] * part, r * (1 - r), out=slope[:, :, :n])
    own = slope.copy()
    np.multiply(own[:, :, 2 * n:], r, out=own[:, :, 2 * n:])
    wh, back = cell.wh, None
    for t, head in _steps_back(times, dy, dh):
        total = head if back is None else np.add(head, back, out=back)
        for d in (slope[t], own[t]):
            d = d.reshape(len(d), 3, n)
            np.multiply(d, total[:, None], out=d)
        back = np.matmul(own[t], wh)
        np.add(back, total * z[t], out=back)
    return slope, own, back, None


def _backward_plain(cell: _Cell, dy: np.ndarray, before: np.ndarray, out: np.ndarray, kept: np.ndarray,
                    dh: np.ndarray | None, dc: None, c0: None, times: range, direction: int, relu: bool = False) -> tuple:
    slope = (out > 0).astype(out.dtype) if relu else 1 - out * out
    wh, back = cell.wh, None
    for t, head in _steps_back(times, dy, dh):
        total = head if back is None else np.add(head, back, out=back)
        np.multiply(slope[t], total, out=slope[t])
        back = np.matmul(slope[t], wh)
    return slope, slope, back, None


def _backward_relu(*args: Any) -> tuple:
    return _backward_plain(*args, relu=True)


_BACKWARD: dict[str, Callable] = {"lstm": _backward_lstm, "gru": _backward_gru, "rnn_tanh": _backward_plain,
                                  "rnn_relu": _backward_relu}
