"""Records what MXNet 1.9.1's initializers do by name: ``python initializers.py`` where mxnet is installed."""

import json
import warnings
from pathlib import Path

import mxnet as mx

NAMES = ["a_weight", "a_bias", "a_gamma", "a_beta", "a_min", "a_max", "a_bias_quantize", "running_mean", "running_var",
         "moving_mean", "moving_var", "moving_inv_var", "moving_avg", "upsampling_x", "upsampling_weight",
         "stn_loc_weight", "stn_loc_bias", "strange", "weight", "loc_bias_weight", "a_weights"]
MARK = 42.0


class Mark(mx.init.Initializer):
    def _init_weight(self, desc, arr):
        arr[:] = MARK


class Counting(mx.init.Initializer):
    """Fills each weight with its number, and remembers names and shapes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __call__(self, desc, arr):
        self.seen.append([str(desc), list(arr.shape)])
        super().__call__(desc, arr)

    def _init_weight(self, desc, arr):
        arr[:] = len(self.seen)


def dispatch(kind, name):
    shape = (1, 1, 4, 4) if "upsampling" in name else (6,) if name == "stn_loc_bias" else (3,)
    arr = mx.nd.full(shape, 7)
    try:
        Mark()(kind(name), arr)
    except ValueError:
        return [list(shape), None]
    return [list(shape), arr.asnumpy().ravel().tolist()]


def fused(mode, layers, bidirectional, size):
    init = Counting()
    arr = mx.nd.zeros((size,))
    mx.init.FusedRNN(None, 3, layers, mode, bidirectional, forget_bias=2.0)._init_weight(
        mx.init.InitDesc("rnn_parameters", global_init=init), arr)
    return {"mode": mode, "layers": layers, "bidirectional": bidirectional, "seen": init.seen,
            "values": arr.asnumpy().tolist()}


def packed(gates, layers, sides, inputs=2, hidden=3):
    return sum(sides * gates * hidden * ((inputs if i == 0 else sides * hidden) + hidden + 2) for i in range(layers))


def filled(init, shape):
    arr = mx.nd.zeros(shape)
    init._init_weight("x_weight", arr)
    return {"dumps": init.dumps(), "shape": list(shape), "values": arr.asnumpy().ravel().tolist()}


warnings.simplefilter("ignore")
I = mx.init
record = {
    "registered": {name: klass.__name__ for name, klass in sorted(mx.registry.get_registry(I.Initializer).items())},
    "mark": MARK,
    "desc": {name: dispatch(I.InitDesc, name) for name in NAMES},
    "legacy": {name: dispatch(str, name) for name in NAMES},
    "dumps": [i.dumps() for i in (
        I.Zero(), I.One(), I.Constant(0.5), I.Constant(mx.nd.array([1, 2])), I.Uniform(), I.Uniform(0.1), I.Normal(2),
        I.Orthogonal(), I.Xavier(), I.Xavier("gaussian", "in", 2), I.MSRAPrelu("out", 0.1), I.Bilinear(), I.LSTMBias(),
        I.FusedRNN(None, 3, 1, "lstm"), I.FusedRNN(I.Uniform(0.1), 3, 1, "gru", True))],
    "filled": [filled(*c) for c in (
        (I.Zero(), (2, 2)), (I.One(), (2, 2)), (I.Constant(0.5), (2,)), (I.Constant(mx.nd.array([1, 2])), (3, 2)),
        (I.Bilinear(), (2, 1, 4, 4)), (I.Bilinear(), (1, 2, 3, 5)), (I.LSTMBias(2.0), (8,)))],
    "fused": [fused("lstm", 2, False, packed(4, 2, 1)), fused("lstm", 2, True, packed(4, 2, 2)),
              fused("gru", 1, True, packed(3, 1, 2)), fused("rnn_tanh", 2, False, packed(1, 2, 1)),
              fused("rnn_relu", 1, False, packed(1, 1, 1))],
}
target = Path(__file__).resolve().parents[1] / "data" / "initializers.json"
target.write_text(json.dumps(record, separators=(",", ":")).replace('{"mode"', '\n{"mode"') + "\n")
