"""NumPy's engine: one layer in one direction, for each kind of cell.

Forward, the inputs of all steps are multiplied at once, and each step has only the product with the state. The gates are
kept, so that backward again only one product a step waits for the one before; the gradients by the weights are products
over all steps (Appleyard, Kocisky & Blunsom 2016). Within a step everything works in place on arrays that fit into the
cache, in few calls.

Arrays are (steps, batch, width), dense. Direction 1 goes through the steps backwards; *in order* below means in the
order in which they are computed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.scratch import scratch
from .network import Sizes, States

__all__ = ["CELLS", "NUMPY", "Cell", "NumpyEngine", "Parameters", "Sequence"]


class Parameters(NamedTuple):
    """Of one cell, or their gradients."""

    wi: np.ndarray
    wh: np.ndarray
    bi: np.ndarray
    bh: np.ndarray


class Sequence(NamedTuple):
    """What both passes of a cell work on.

    ``x``: inputs, ``h``, ``c``: first states (``c`` for LSTM), ``y``: states of all steps, ``kept``: flat memory for what
    backward needs.
    """

    x: np.ndarray
    h: np.ndarray
    c: Any
    y: np.ndarray
    kept: np.ndarray


def _flat(a: np.ndarray) -> np.ndarray:
    """Steps and samples as rows."""
    return a.reshape(-1, a.shape[-1])


def _before(first: np.ndarray, ordered: np.ndarray) -> list[np.ndarray]:
    """What each step starts from."""
    return [first, *ordered[:-1]]


def _columns(z: np.ndarray, count: int) -> np.ndarray:
    """Equal parts of the columns, one after the other."""
    return z.reshape(len(z), count, -1).transpose(1, 0, 2)


def _logistic(z: np.ndarray) -> None:
    """In place, by tanh, which is fast: tanh(z / 2) / 2 + 1 / 2."""
    half = z.dtype.type(0.5)
    np.multiply(z, half, z)
    np.tanh(z, z)
    np.multiply(z, half, z)
    np.add(z, half, z)


class Cell:
    """A kind of cell, for sizes and a direction.

    Attributes
    ----------
    kept : int
        Numbers that the forward pass leaves.
    """

    units = 0  #: what is kept of each step and sample, in units of the state size

    def __init__(self, sizes: Sizes, direction: int) -> None:
        self.mode, self.steps, self.batch, self.n = sizes.mode, sizes.steps, sizes.batch, sizes.n
        self.direction, self.dtype, self.gates = direction, sizes.dtype, sizes.gates
        self.kept = self.units * sizes.steps * sizes.batch * sizes.n

    # ------------------------------------------------------------ given by each kind
    def forward(self, p: Parameters, s: Sequence, last: States) -> None:
        """Fill ``s.y``, ``s.kept`` and ``last``."""
        raise NotImplementedError

    def steps_back(self, wh: np.ndarray, s: Sequence, dh: np.ndarray, dh0: np.ndarray, dlast: States, dc0: np.ndarray) -> tuple:
        """Gradients by the gates of all steps as the inputs have them, and as the states have them.

        ``dh`` holds the gradients by ``s.y`` and is overwritten; ``dh0`` holds zeros and is added to.
        """
        raise NotImplementedError

    # ------------------------------------------------------------ the same for all
    def order(self, a: np.ndarray) -> np.ndarray:
        """A view of all steps, in order."""
        return a[::-1] if self.direction else a

    def room(self, purpose: str, *shape: int) -> np.ndarray:
        """Memory until the next cell asks for the same purpose."""
        return scratch(f"rnn {purpose}", shape, self.dtype)

    def inputs(self, p: Parameters, x: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
        """``W x + b`` of all steps."""
        np.matmul(_flat(x), p.wi.T, out=_flat(out))
        np.add(out, bias, out)

    def turned(self, weight: np.ndarray) -> np.ndarray:
        """The transpose, dense: products of few rows are twice as fast with it."""
        out = self.room("turned", *weight.shape[::-1])
        np.copyto(out, weight.T)
        return out

    def backward(self, p: Parameters, s: Sequence, dy: np.ndarray, dlast: States, dx: np.ndarray, dfirst: States,
                 grads: Parameters, add: bool) -> None:
        """Fill ``dfirst`` and ``grads``; fill ``dx``, or add to it."""
        dh = self.room("dh", *s.y.shape)
        np.copyto(dh, dy)
        if dlast.h is not None:
            end = self.order(dh)[-1]
            np.add(end, dlast.h, end)
        dfirst.h.fill(0)
        to_x, to_h = self.steps_back(p.wh, s, dh, dfirst.h, dlast, dfirst.c)
        rows = _flat(to_x)
        if add:
            np.add(dx, np.matmul(rows, p.wi).reshape(dx.shape), dx)
        else:
            np.matmul(rows, p.wi, out=_flat(dx))
        np.matmul(rows.T, _flat(s.x), out=grads.wi)
        earlier = self.room("earlier", *s.y.shape)
        for start, before in zip(self.order(earlier), _before(s.h, self.order(s.y)), strict=True):
            np.copyto(start, before)
        np.matmul(_flat(to_h).T, _flat(earlier), out=grads.wh)
        np.add.reduce(rows, axis=0, out=grads.bi)
        if to_h is to_x:
            np.copyto(grads.bh, grads.bi)
        else:
            np.add.reduce(_flat(to_h), axis=0, out=grads.bh)


class Lstm(Cell):
    """Keeps the gates, in columns i, f, g, o, and the c of all steps.

    NumPy goes through the rows of one gate, which lie apart, four times slower than through a dense array. Therefore the
    gates of a step are copied into dense arrays, and their gradients back into columns, while they are in the cache.
    """

    units = 5

    def _memory(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gates and c, in order."""
        gates, cs = np.split(kept, (4 * self.steps * self.batch * self.n,))
        return gates.reshape(self.steps, self.batch, 4 * self.n), cs.reshape(self.steps, self.batch, self.n)

    def forward(self, p: Parameters, s: Sequence, last: States) -> None:
        """See :class:`Cell`."""
        gates, cs = self._memory(s.kept)
        self.inputs(p, s.x, p.bi + p.bh, gates)
        wh, z, h, c = self.turned(p.wh), self.room("gates", self.batch, 4 * self.n), s.h, s.c
        i, f, g, o, u, w = dense = self.room("dense", 6, self.batch, self.n)
        i_f = dense[:2]
        for outside, new, y in zip(self.order(gates), self.order(cs), self.order(s.y), strict=True):
            np.matmul(h, wh, out=z)
            np.add(_columns(outside, 4), _columns(z, 4), dense[:4])
            _logistic(i_f)
            np.tanh(g, g)
            _logistic(o)
            np.copyto(_columns(outside, 4), dense[:4])
            np.multiply(i, g, u)
            np.multiply(f, c, w)
            np.add(u, w, new)
            np.tanh(new, u)
            np.multiply(o, u, y)
            h, c = y, new
        np.copyto(last.h, h)
        np.copyto(last.c, c)

    def steps_back(self, wh: np.ndarray, s: Sequence, dh: np.ndarray, dh0: np.ndarray, dlast: States, dc0: np.ndarray) -> tuple:
        """See :class:`Cell`."""
        gates, cs = map(self.order, self._memory(s.kept))
        dgates, back = self.room("dgates", *gates.shape), self.room("back", *dh0.shape)
        dh, out, ys = self.order(dh), self.order(dgates), self.order(s.y)
        targets, before, dc = _before(dh0, dh), _before(s.c, cs), dc0
        np.copyto(dc, 0 if dlast.c is None else dlast.c)
        i, f, g, o, ig, fc, _, _, dg, do, w = dense = self.room("dense", 11, self.batch, self.n)
        i_f, ig_fc, d_i_f, d_i_f_g, do_w = dense[:2], dense[4:6], dense[6:8], dense[6:9], dense[9:]
        multiply, subtract, one = np.multiply, np.subtract, np.ones((), self.dtype)
        for k in range(self.steps - 1, -1, -1):
            y = ys[k]
            np.copyto(dense[:4], _columns(gates[k], 4))
            # h = o tanh(c): do = dh h (1 - o), dc += dh (o - h tanh(c))
            np.tanh(cs[k], w)
            multiply(y, w, w)
            subtract(o, w, w)
            subtract(one, o, do)
            multiply(y, do, do)
            multiply(do_w, dh[k], do_w)
            np.add(dc, w, dc)
            # c = i g + f c: di = dc i g (1 - i), df = dc f c (1 - f), dg = dc (i - i g g)
            multiply(i, g, ig)
            multiply(f, before[k], fc)
            subtract(one, i_f, d_i_f)
            multiply(d_i_f, ig_fc, d_i_f)
            multiply(ig, g, dg)
            subtract(i, dg, dg)
            multiply(d_i_f_g, dc, d_i_f_g)
            multiply(dc, f, dc)
            np.copyto(_columns(out[k], 4), dense[6:10])
            np.add(targets[k], np.matmul(out[k], wh, out=back), targets[k])
        return dgates, dgates


class Gru(Cell):
    """Keeps of each step r, z, n and the state's part of n: dense arrays one after the other."""

    units = 4

    def forward(self, p: Parameters, s: Sequence, last: States) -> None:
        """See :class:`Cell`."""
        n, b = self.n, self.batch
        zs = self.room("inputs of gates", self.steps, b, 3 * n)
        self.inputs(p, s.x, p.bi, zs)
        wh, own, h = self.turned(p.wh), self.room("gates", b, 3 * n), s.h
        everything = s.kept.reshape(self.steps, 4, b, n)
        for kept, outside, y in zip(*map(self.order, (everything, zs, s.y)), strict=True):
            r, z, new, part = kept
            np.matmul(h, wh, out=own)
            np.add(own, p.bh, own)
            np.copyto(part, own[:, 2 * n:])
            own[:, 2 * n:] = 0
            np.add(_columns(outside, 3), _columns(own, 3), kept[:3])
            _logistic(kept[:2])
            np.multiply(r, part, y)
            np.add(new, y, new)
            np.tanh(new, new)
            np.subtract(h, new, y)
            np.multiply(y, z, y)
            np.add(y, new, y)
            h = y
        np.copyto(last.h, h)

    def steps_back(self, wh: np.ndarray, s: Sequence, dh: np.ndarray, dh0: np.ndarray, dlast: States, dc0: np.ndarray) -> tuple:
        """See :class:`Cell`."""
        n, b, steps = self.n, self.batch, self.steps
        to_xs, to_hs = self.room("dgates", steps, b, 3 * n), self.room("dgates of the state", steps, b, 3 * n)
        dr, dz, dn, dpart, w = dense = self.room("dense", 5, b, n)
        slopes, d_r_z, d_z_n = dense[:3], dense[:2], dense[1:3]
        multiply, subtract, one = np.multiply, np.subtract, np.ones((), self.dtype)
        rows: list = [self.order(v) for v in (s.kept.reshape(steps, 4, b, n), to_xs, to_hs, dh)]
        rows += [_before(s.h, self.order(s.y)), _before(dh0, rows[-1])]
        for k in range(steps - 1, -1, -1):
            kept, to_x, to_h, total, before, target = [v[k] for v in rows]
            r, z, new, part = kept
            # slopes: s (1 - s) of the logistic function, 1 - t t of tanh
            multiply(kept[:3], kept[:3], slopes)
            subtract(kept[:2], d_r_z, d_r_z)
            subtract(one, dn, dn)
            # h' = n + z (h - n)
            subtract(before, new, w)
            multiply(dz, w, dz)
            subtract(one, z, w)
            multiply(dn, w, dn)
            multiply(d_z_n, total, d_z_n)
            # n = tanh(x + r part)
            multiply(dn, r, dpart)
            multiply(dr, dn, dr)
            multiply(dr, part, dr)
            np.copyto(_columns(to_x, 3), slopes)
            np.copyto(to_h[:, :2 * n], to_x[:, :2 * n])
            np.copyto(to_h[:, 2 * n:], dpart)
            multiply(total, z, w)
            np.add(target, w, target)
            np.add(target, np.matmul(to_h, wh, out=w), target)
        return to_xs, to_hs


class Plain(Cell):
    """``rnn_tanh`` and ``rnn_relu``: keeps nothing but its outputs."""

    def forward(self, p: Parameters, s: Sequence, last: States) -> None:
        """See :class:`Cell`."""
        self.inputs(p, s.x, p.bi + p.bh, s.y)
        wh, z, h, relu = self.turned(p.wh), self.room("gates", self.batch, self.n), s.h, self.mode == "rnn_relu"
        for y in self.order(s.y):
            np.add(y, np.matmul(h, wh, out=z), y)
            if relu:
                np.maximum(y, 0, out=y)
            else:
                np.tanh(y, y)
            h = y
        np.copyto(last.h, h)

    def steps_back(self, wh: np.ndarray, s: Sequence, dh: np.ndarray, dh0: np.ndarray, dlast: States, dc0: np.ndarray) -> tuple:
        """See :class:`Cell`."""
        dgates, back = self.room("dgates", *dh.shape), self.room("back", *dh0.shape)
        relu, one = self.mode == "rnn_relu", np.ones((), self.dtype)
        ys, dh, out = self.order(s.y), self.order(dh), self.order(dgates)
        targets = _before(dh0, dh)
        for k in range(self.steps - 1, -1, -1):
            y, d = ys[k], out[k]
            if relu:
                np.sign(y, d)
            else:
                np.multiply(y, y, d)
                np.subtract(one, d, d)
            np.multiply(d, dh[k], d)
            np.add(targets[k], np.matmul(d, wh, out=back), targets[k])
        return dgates, dgates


CELLS: dict[str, type[Cell]] = {"lstm": Lstm, "gru": Gru, "rnn_tanh": Plain, "rnn_relu": Plain}


# ---------------------------------------------------------------- layers
class _Layer:
    """The cells of a layer; see :class:`ForwardLayer` and :class:`BackwardLayer`."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.cells = sizes, [CELLS[sizes.mode](sizes, d) for d in range(sizes.directions)]
        self.kept = sum(cell.kept for cell in self.cells)

    def fill(self, weights: np.ndarray, biases: np.ndarray) -> None:
        self.filled = self.parameters(weights, biases)

    def release(self) -> None:
        self.filled = []

    def parameters(self, weights: np.ndarray, biases: np.ndarray) -> list[Parameters]:
        """Of the cells, as views."""
        rows, inputs = self.sizes.gates * self.sizes.n, self.sizes.inputs
        return [Parameters(w[:rows * inputs].reshape(rows, inputs), w[rows * inputs:].reshape(rows, -1), *b)
                for w, b in zip(weights, biases, strict=True)]

    def sequence(self, d: int, x: np.ndarray, first: States, y: np.ndarray, kept: np.ndarray) -> Sequence:
        """Of a direction. ``y`` is of both: dense memory of the direction's own stands for its half."""
        if self.sizes.directions > 1:
            y = scratch("rnn states", (*y.shape[:2], self.sizes.n), y.dtype)
        each = self.cells[d].kept
        return Sequence(x, first.h[d], first.c[d] if first.c is not None else None, y, kept[d * each:(d + 1) * each])

    def half(self, whole: np.ndarray, d: int) -> np.ndarray:
        """The columns of a direction."""
        return whole[:, :, d * self.sizes.n:(d + 1) * self.sizes.n]


def _of(states: States, d: int) -> States:
    return States(*[None if s is None else s[d] for s in states])


class _Forward(_Layer):
    def run(self, x: np.ndarray, first: States, y: np.ndarray, last: States, kept: np.ndarray) -> None:
        for d, cell in enumerate(self.cells):
            s = self.sequence(d, x, first, y, kept)
            cell.forward(self.filled[d], s, _of(last, d))
            if s.y is not y:
                np.copyto(self.half(y, d), s.y)


class _Backward(_Layer):
    def run(self, x: np.ndarray, first: States, y: np.ndarray, last: States, kept: np.ndarray, dy: np.ndarray, dlast: States,
            dx: np.ndarray, dfirst: States, dweights: np.ndarray, dbiases: np.ndarray) -> None:
        for d, (cell, grads) in enumerate(zip(self.cells, self.parameters(dweights, dbiases), strict=True)):
            s = self.sequence(d, x, first, y, kept)
            if s.y is not y:
                np.copyto(s.y, self.half(y, d))
            cell.backward(self.filled[d], s, self.half(dy, d), _of(dlast, d), dx, _of(dfirst, d), grads, add=d > 0)


class NumpyEngine:
    """See :class:`mxcore_numpy.recurrent.network.Engine`."""

    name = "numpy"

    def forward(self, sizes: Sizes, training: bool) -> _Forward:
        """A layer of float32 or float64."""
        return _Forward(sizes)

    def backward(self, sizes: Sizes) -> _Backward:
        """A layer of float32 or float64."""
        return _Backward(sizes)


NUMPY = NumpyEngine()
