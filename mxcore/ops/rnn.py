"""Recurrent networks over whole sequences: plain, LSTM, GRU; several layers, both directions.

The definition below is written in operators and is what every gradient follows from; backends have fused kernels for
the forward and the first backward pass.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

from ..errors import ArgumentError, ShapeError
from ..graph.gradient import as_list
from ..graph.vjp import trace_vjp
from ..registry import OPS, register, rules
from .dropout import masked

_MODES = Literal["gru", "lstm", "rnn_relu", "rnn_tanh"]
GATES = {"lstm": 4, "gru": 3, "rnn_relu": 1, "rnn_tanh": 1}


class Layout(NamedTuple):
    """Sizes of a recurrent network, and where its parameters lie in the flat vector.

    The vector holds, layer by layer and direction by direction, the weights of the input and of the state (and of the
    projection), and after all weights the biases in the same order.
    """

    mode: str
    inputs: int
    state_size: int
    num_layers: int
    directions: int
    projection: int

    @property
    def gates(self) -> int:
        """Rows of the weights: gates times state size."""
        return GATES[self.mode] * self.state_size

    @property
    def width(self) -> int:
        """Size of the state that is handed on: the projection's, if there is one."""
        return self.projection or self.state_size

    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of all parameters in order: weights of all cells, then biases of all cells."""
        weights: list[tuple[int, ...]] = []
        for layer in range(self.num_layers):
            inputs = self.inputs if layer == 0 else self.width * self.directions
            cell = [(self.gates, inputs), (self.gates, self.width)]
            if self.projection:
                cell.append((self.projection, self.state_size))
            weights += cell * self.directions
        return weights + [(self.gates,)] * (2 * self.num_layers * self.directions)

    def size(self) -> int:
        """Length of the flat vector."""
        return sum(s[0] * (s[1] if len(s) > 1 else 1) for s in self.shapes())


def layout_of(data, mode, state_size, num_layers, bidirectional, projection_size):
    """The layout for data of a shape."""
    if projection_size and mode != "lstm":
        raise ArgumentError(f"projection_size is for mode='lstm', not {mode!r}")
    return Layout(mode, data[2], state_size, num_layers, 2 if bidirectional else 1, projection_size or 0)


_SIZES = ("mode", "state_size", "num_layers", "bidirectional", "projection_size")


def _rnn_inputs(attrs):
    names = ["data", "parameters", "state"]
    if attrs.mode == "lstm":
        names.append("state_cell")
    if attrs.use_sequence_length:
        names.append("sequence_length")
    return tuple(names)


def _rnn_outputs(attrs, count=0):
    return ("output", "state_output", *(["statecell_output"] if attrs.mode == "lstm" else []), "mask", "reserve")


def _rnn_visible(attrs):
    return 1 if not attrs.state_outputs else 3 if attrs.mode == "lstm" else 2


def _rnn_shapes(attrs, ins):
    data, *rest = ins
    outs = [None] * len(_rnn_outputs(attrs))
    if data is None:
        return ins, outs
    if len(data) != 3:
        raise ShapeError(f"RNN needs data of 3 dimensions (time, batch, features), got {data}")
    lay = layout_of(data, *(attrs[k] for k in _SIZES))
    cells = lay.num_layers * lay.directions
    state = (cells, data[1], lay.width)
    cell = (cells, data[1], lay.state_size)
    expected = {"parameters": (lay.size() if data[2] >= 0 else -1,), "state": state, "state_cell": cell,
                "sequence_length": (data[1],)}
    names = _rnn_inputs(attrs)[1:]
    rest = [rules.merge(s, expected[n], f"{n} and what data and the sizes ask for")
            for n, s in zip(names, rest, strict=True)]
    outs[:2] = (*data[:2], lay.width * lay.directions), state
    if attrs.mode == "lstm":
        outs[2] = cell
    if not attrs.p or lay.num_layers == 1:
        outs[-2] = (1,)  # otherwise it depends on whether the network trains
    return [data, *rest], outs


def _rnn_types(attrs, types, outputs):
    uniform = types[:4] if attrs.mode == "lstm" else types[:3]
    (*got,), outs = rules.uniform(attrs, uniform, outputs)
    return [*got, *types[len(uniform):]], outs


# ---------------------------------------------------------------- the definition, in operators
def _dense(x, weight, bias, rows):
    return OPS["FullyConnected"](x, weight, bias, num_hidden=rows, flatten=False)


def _lstm_step(gx, gh, h, c):
    sigmoid, tanh, mul, add = OPS["sigmoid"], OPS["tanh"], OPS["elemwise_mul"], OPS["elemwise_add"]
    i, f, g, o = OPS["SliceChannel"](add(gx, gh), num_outputs=4, axis=1)
    c = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(g)))
    return mul(sigmoid(o), tanh(c)), c


def _gru_step(gx, gh, h, c):
    sigmoid, mul, add = OPS["sigmoid"], OPS["elemwise_mul"], OPS["elemwise_add"]
    (xr, xz, xn), (hr, hz, hn) = (OPS["SliceChannel"](a, num_outputs=3, axis=1) for a in (gx, gh))
    n = OPS["tanh"](add(xn, mul(sigmoid(add(xr, hr)), hn)))
    return add(n, mul(sigmoid(add(xz, hz)), OPS["elemwise_sub"](h, n))), c


_STEPS = {"lstm": _lstm_step, "gru": _gru_step,
          "rnn_tanh": lambda gx, gh, h, c: (OPS["tanh"](OPS["elemwise_add"](gx, gh)), c),
          "rnn_relu": lambda gx, gh, h, c: (OPS["relu"](OPS["elemwise_add"](gx, gh)), c)}


def _parts(x, count, axis=0):
    return as_list(OPS["SliceChannel"](x, num_outputs=count, axis=axis, squeeze_axis=True))


def _run_cell(lay, x, params, h, c, valid, times):
    """One layer in one direction: outputs in order of time, last state, last cell."""
    wi, wh, wr, bi, bh = params
    steps = _parts(_dense(x, wi, bi, lay.gates), len(times))
    ys = [None] * len(times)
    mul, sub, add = OPS["broadcast_mul"], OPS["elemwise_sub"], OPS["elemwise_add"]
    for t in times:
        new, new_c = _STEPS[lay.mode](steps[t], _dense(h, wh, bh, lay.gates), h, c)
        if wr is not None:
            new = OPS["dot"](new, wr, transpose_b=True)
        if valid is None:
            ys[t], h, c = new, new, new_c
        else:  # behind the end of a sequence the state stays and the output is zero
            ys[t] = mul(new, valid[t])
            h = add(h, mul(sub(new, h), valid[t]))
            c = c if c is None else add(c, mul(sub(new_c, c), valid[t]))
    return OPS["stack"](*ys, axis=0), h, c


def definition(lay, steps, dropping, with_cell, with_valid):
    """The recurrent network as a function of operators ``(data, parameters, state, [cell], [mask], [valid])``."""
    starts, end = [], 0
    for s in lay.shapes():
        starts.append(end)
        end += s[0] * (s[1] if len(s) > 1 else 1)
    cells = lay.num_layers * lay.directions
    each = 3 if lay.projection else 2

    def parameters_of(flat):
        parts = [OPS["Reshape"](p, shape=s) if len(s) > 1 else p for p, s in
                 zip(as_list(OPS["_split_v2"](flat, indices=tuple(starts), axis=0)), lay.shapes(), strict=True)]
        for k in range(cells):
            wi, wh, *wr = parts[each * k:each * (k + 1)]
            yield wi, wh, wr[0] if wr else None, *parts[each * cells + 2 * k:each * cells + 2 * k + 2]

    def forward(data, parameters, state, *rest):
        rest = list(rest)
        cell = _parts(rest.pop(0), cells) if with_cell else [None] * cells
        masks = _parts(rest.pop(0), lay.num_layers - 1) if dropping else None
        valid = _parts(rest.pop(0), steps) if with_valid else None
        states, params = _parts(state, cells), list(parameters_of(parameters))
        x, hs, cs = data, [], []
        for layer in range(lay.num_layers):
            ys = []
            for d in range(lay.directions):
                k = layer * lay.directions + d
                times = range(steps) if d == 0 else range(steps - 1, -1, -1)
                y, h, c = _run_cell(lay, x, params[k], states[k], cell[k], valid, times)
                ys.append(y)
                hs.append(h)
                cs.append(c)
            x = ys[0] if len(ys) == 1 else OPS["Concat"](*ys, dim=2)
            if dropping and layer < lay.num_layers - 1:
                x = masked(x, masks[layer])
        outs = [x, OPS["stack"](*hs, axis=0)]
        return [*outs, OPS["stack"](*cs, axis=0)] if with_cell else outs

    return forward


@lru_cache(maxsize=32)
def _traced(lay, steps, dropping, with_cell, with_valid, heads):
    arguments = 3 + with_cell + dropping + with_valid
    return trace_vjp(definition(lay, steps, dropping, with_cell, with_valid), arguments, heads)


# ---------------------------------------------------------------- the operators
@register("RNN", aliases=("_npx_rnn",), infer=_rnn_shapes, types=_rnn_types, uniform=False, inputs=_rnn_inputs,
          outputs=_rnn_outputs, visible=_rnn_visible)
def rnn(xp, data, parameters, state, state_cell=None, sequence_length=None, *, state_size: int, num_layers: int,
        bidirectional: bool = False, mode: _MODES, p: float = 0.0, state_outputs: bool = False,
        projection_size: int | None = None, lstm_state_clip_min: float | None = None,
        lstm_state_clip_max: float | None = None, lstm_state_clip_nan: bool = False, use_sequence_length: bool = False,
        is_train, rng):
    """A recurrent network over a sequence.

    ``rnn_tanh``, ``rnn_relu``: ``h' = act(W x + b + R h + r)``.
    ``lstm`` (Hochreiter & Schmidhuber 1997; gates i, f, g, o): ``c' = f c + i g``, ``h' = o tanh(c')``.
    ``gru`` (Cho et al. 2014; gates r, z, n):
    ``n = tanh(W x + b + r (R h + r'))``, ``h' = (1 - z) n + z h``.

    Parameters
    ----------
    data : (T, N, C) array
    parameters : 1-d array
        Layer by layer and direction by direction: input weights, state weights (and projection); after all of them the
        biases, input bias before state bias.
    state : (layers * directions, N, state_size) array
        What h starts with.
    state_cell : array of the same shape
        What c starts with; for ``lstm`` only.
    sequence_length : (N,) array
        With ``use_sequence_length``: steps of each sample; behind them outputs are 0 and states stay.
    state_size, num_layers, bidirectional, mode
    p : float
        Dropout between layers, in training.
    state_outputs : bool
        Return the last states too.
    projection_size : int, optional
        For ``lstm``: the state that is handed on is a linear map of h (Sak et al. 2014).
    lstm_state_clip_min, lstm_state_clip_max, lstm_state_clip_nan
        Without effect, as on MXNet's CPU.

    Returns
    -------
    output : (T, N, directions * state_size) array, and the last states where asked for

    >>> x, h = nd.ones((5, 2, 3)), nd.zeros((1, 2, 4))
    >>> nd.RNN(x, nd.zeros(4 * 3 + 4 * 4 + 8), h, mode="rnn_tanh", state_size=4, num_layers=1).shape
    (5, 2, 4)
    """
    if mode != "lstm":  # the inputs then are data, parameters, state, sequence_length, with or without a gap
        state_cell, sequence_length = None, state_cell if sequence_length is None else sequence_length
    lay = checked(data, parameters, state, state_cell, mode, state_size, num_layers, bidirectional, projection_size)
    steps = data.shape[0]
    mask = dropout_mask(xp, data, lay, p, is_train, rng)
    valid = valid_steps(xp, data, sequence_length) if use_sequence_length else None
    run = definition(lay, steps, mask is not None, state_cell is not None, valid is not None)
    outs = run(*(a for a in (data, parameters, state, state_cell, mask, valid) if a is not None))
    return *outs, xp.ones((1,), data.dtype) if mask is None else mask, xp.zeros((0,), data.dtype)


def checked(data, parameters, state, state_cell, mode, state_size, num_layers, bidirectional, projection_size):
    """The layout, after a check that the arrays fit it."""
    if data.ndim != 3:
        raise ShapeError(f"RNN needs data of 3 dimensions (time, batch, features), got {data.shape}")
    lay = layout_of(data.shape, mode, state_size, num_layers, bidirectional, projection_size)
    cells = num_layers * lay.directions
    if parameters.shape != (lay.size(),) or state.shape != (cells, data.shape[1], lay.width):
        raise ShapeError("parameters or state do not fit")
    if mode == "lstm" and (state_cell is None or state_cell.shape != (cells, data.shape[1], state_size)):
        raise ShapeError("state_cell does not fit")
    if not data.shape[0]:
        raise ShapeError("RNN needs at least one step")
    return lay


def dropout_mask(xp, data, lay, p, is_train, rng):
    """What the inputs of all layers but the first are multiplied with, or None."""
    if not (is_train and p > 0 and lay.num_layers > 1):
        return None
    shape = (lay.num_layers - 1, *data.shape[:2], lay.width * lay.directions)
    return xp.astype(xp.astype(rng.random(shape, dtype="float32") < 1 - p, "float32") * (1 / (1 - p)), data.dtype)


def valid_steps(xp, data, lengths):
    """1 at the steps that belong to each sample's sequence: ``(T, N, 1)``."""
    steps = xp.reshape(xp.arange(data.shape[0]), (-1, 1, 1))
    return xp.astype(steps < xp.reshape(lengths, (1, -1, 1)), data.dtype)


@register("_valid_steps", nograd=True, uniform=False, types=rules.first_type, shape_only=(),
          infer=lambda a, s: (s, [None if s[0] is None else (*s[0][:2], 1)]))
def valid_op(xp, data, lengths):
    """1 at the steps that belong to each sample's sequence: ``(T, N, 1)``."""
    return valid_steps(xp, data, lengths)


@rnn.gradient
def _(n, g, *states):
    a, lstm = n.attrs, n.attrs.mode == "lstm"
    data, parameters, state = n.inputs[:3]
    cell = n.inputs[3] if lstm else None
    lengths = n.inputs[-1] if a.use_sequence_length else None
    dh, dc = (*states, None, None)[:2]
    hidden = 3 if lstm else 2
    grads = rnn_backward(g, data, parameters, state, n.out(0), n.out(hidden), n.out(hidden + 1), cell, lengths, dh, dc,
                         **{k: a[k] for k in (*_SIZES, "p", "use_sequence_length")})
    return [*grads] + [None] * (len(n.inputs) - len(grads))


@register("_backward_RNN", composite=True, shaped=True, uniform=False,
          outputs=lambda a, n: ("ddata", "dparameters", "dstate", *(["dcell"] if a.mode == "lstm" else [])),
          infer=lambda a, s: (s, [s[1], s[2], s[3], *([s[7]] if a.mode == "lstm" else [])]),
          types=lambda a, t, n: (t, [t[0]] * n))
def rnn_backward(dy, data, parameters, state, y, mask, reserve, state_cell=None, sequence_length=None, dstate=None,
                 dcell=None, *, mode: _MODES, state_size: int, num_layers: int, bidirectional: bool,
                 projection_size: int | None, p: float, use_sequence_length: bool):
    """Gradients of RNN; ``y``, ``mask`` and ``reserve`` are what the forward pass leaves for fused kernels.

    Defined as the gradient of the definition, which is traced for the number of steps.
    """
    lay = layout_of(data.shape, mode, state_size, num_layers, bidirectional, projection_size)
    dropping = len(mask.shape) > 1
    heads = (True, dstate is not None, dcell is not None)
    trace = _traced(lay, data.shape[0], dropping, state_cell is not None, use_sequence_length, heads)
    valid = valid_op(data, sequence_length) if use_sequence_length else None
    arguments = [data, parameters, state, state_cell, mask if dropping else None, valid]
    grads = trace([a for a in arguments if a is not None], [h for h in (dy, dstate, dcell) if h is not None])
    return grads[:4] if mode == "lstm" else grads[:3]


def _param_shapes(attrs, ins):
    known = [s for s in ins if s is not None]
    if not known:
        return ins, [None]
    axis = rules.normalize_axis(attrs.dim, len(known[0]))
    total = -1 if len(known) < len(ins) or any(s[axis] < 0 for s in known) else sum(s[axis] for s in known)
    return ins, [(*known[0][:axis], total, *known[0][axis + 1:])]


@register("_rnn_param_concat", aliases=("_npi_rnn_param_concat",), infer=_param_shapes)
def rnn_param_concat(xp, *data, dim: int = 1):
    """Arrays joined along ``dim``: the flat parameters of ``RNN`` from its weights and biases."""
    return xp.concatenate(data, axis=dim)


@rnn_param_concat.backwards
def _(attrs, ins, outs):
    """What is missing is shared equally: only the input weights of the first layer, one a direction, can be unknown."""
    known = [s for s in ins if s is not None and s[attrs.dim] >= 0]
    missing = len(ins) - len(known)
    if not missing or not known or outs[0][attrs.dim] < 0:
        return ins
    left, rest = divmod(outs[0][attrs.dim] - sum(s[attrs.dim] for s in known), missing)
    if rest or left <= 0:
        return ins
    axis = attrs.dim % len(outs[0])
    part = (*outs[0][:axis], left, *outs[0][axis + 1:])
    return [s if s is not None and s[axis] >= 0 else part for s in ins]


@rnn_param_concat.gradient
def _(n, g):
    return OPS["Concat"].rule(n, g)
