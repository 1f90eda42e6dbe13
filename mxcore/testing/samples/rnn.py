"""Samples of :mod:`mxcore.ops.rnn`: the reference goes step by step."""

from math import prod

import numpy as np
from scipy.special import expit

from ..sampling import A, C, sample

GATES = {"lstm": 4, "gru": 3, "rnn_relu": 1, "rnn_tanh": 1}


def shapes(inputs, state_size, num_layers, mode, bidirectional=False, projection_size=None, **_):
    """Of the weights of all cells, then of the biases."""
    width, gates, directions = projection_size or state_size, GATES[mode] * state_size, 1 + bidirectional
    weights = []
    for layer in range(num_layers):
        cell = [(gates, width * directions if layer else inputs), (gates, width)]
        weights += (cell + [(projection_size, state_size)] * (projection_size is not None)) * directions
    return weights + [(gates,)] * (2 * num_layers * directions)


def step(mode, gx, gh, h, c):
    """One step of one cell."""
    if mode == "lstm":
        i, f, g, o = np.split(gx + gh, 4, 1)
        c = expit(f) * c + expit(i) * np.tanh(g)
        return expit(o) * np.tanh(c), c
    if mode == "gru":
        (xr, xz, xn), (hr, hz, hn) = np.split(gx, 3, 1), np.split(gh, 3, 1)
        z = expit(xz + hz)
        return (1 - z) * np.tanh(xn + expit(xr + hr) * hn) + z * h, c
    return np.tanh(gx + gh) if mode == "rnn_tanh" else np.maximum(gx + gh, 0), c


def rnn(x, flat, state, *rest, mode, state_size, num_layers, bidirectional=False, projection_size=None, state_outputs=False,
        use_sequence_length=False, **_):
    """Layer by layer, direction by direction."""
    rest = list(rest)
    cell = rest.pop(0) if mode == "lstm" else np.zeros_like(state)
    lengths = rest.pop(0) if use_sequence_length else np.full(x.shape[1], len(x))
    parts, at = [], 0
    for s in shapes(x.shape[2], state_size, num_layers, mode, bidirectional, projection_size):
        parts.append(flat[at:at + prod(s)].reshape(s))
        at += prod(s)
    directions = 1 + bidirectional
    cells, each = num_layers * directions, 3 if projection_size else 2
    hs, cs = [], []
    for layer in range(num_layers):
        ys = []
        for d in range(directions):
            k = layer * directions + d
            wi, wh, *wr = parts[each * k:each * (k + 1)]
            bi, bh = parts[each * cells + 2 * k:][:2]
            h, c, y = state[k], cell[k], np.zeros((*x.shape[:2], projection_size or state_size))
            for t in range(len(x)) if d == 0 else range(len(x) - 1, -1, -1):
                new, new_c = step(mode, x[t] @ wi.T + bi, h @ wh.T + bh, h, c)
                new = new @ wr[0].T if wr else new
                live = (t < lengths)[:, None]
                y[t], h, c = new * live, np.where(live, new, h), np.where(live, new_c, c)
            ys.append(y)
            hs.append(h)
            cs.append(c)
        x = np.concatenate(ys, 2)
    return (x, np.stack(hs), *([np.stack(cs)] if mode == "lstm" else [])) if state_outputs else x


def case(steps=3, batch=2, inputs=2, lengths=None, **at):
    """A sample with parameters and states of the right sizes."""
    cells = at["num_layers"] * (1 + at.get("bidirectional", False))
    size = sum(map(prod, shapes(inputs, **at)))
    states = [A(cells, batch, at.get("projection_size") or at["state_size"])]
    if at["mode"] == "lstm":
        states.append(A(cells, batch, at["state_size"]))
    extra = [] if lengths is None else [C(lengths)]
    sample("RNN", A(steps, batch, inputs), A(size, low=-0.7, high=0.7), *states, *extra, ref=None if at.get("p", 0) > 0 else rnn,
           train=True, tags=("layer",), half=0.1, **at)


for mode in GATES:
    case(mode=mode, state_size=3, num_layers=1)
    case(mode=mode, state_size=2, num_layers=2, bidirectional=True, state_outputs=True, steps=2)
    case(mode=mode, state_size=2, num_layers=1, use_sequence_length=True, lengths=[2, 3], state_outputs=True)
case(mode="lstm", state_size=3, num_layers=1, projection_size=2, state_outputs=True, bidirectional=True, steps=2)
case(mode="lstm", state_size=2, num_layers=1, bidirectional=True, use_sequence_length=True, lengths=[1, 3])
case(mode="gru", state_size=2, num_layers=2, p=0.5, steps=2)
case(mode="lstm", state_size=2, num_layers=1, lstm_state_clip_min=-9.0, lstm_state_clip_max=9.0, lstm_state_clip_nan=True)
sample("_rnn_param_concat", A(3), A(4), A(2), dim=0, tags=("guess",), ref=lambda *a, dim: np.concatenate(a))
sample("_rnn_param_concat", A(2, 3), A(2, 1), ref=lambda *a: np.concatenate(a, 1))
sample("_valid_steps", A(3, 2, 4), C([1, 2]), ref=lambda x, n: (np.arange(3)[:, None] < n)[..., None])
