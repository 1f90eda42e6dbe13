"""What each Gluon layer, loss and network gives, as plain data: run with MXNet 1.9.1 to record ``data/gluon/*.json``,
and by ``tests/frontends/test_gluon_*.py`` with mxcore to compare.

    python gluon_layers.py mxnet ../data/gluon

Runs on Python 3.8 too, which MXNet 1.9.1 needs. Arrays are recorded as their shape and one number, the sum of their
elements times cos(0.7 i + 0.1), which changes with every element and with every exchange of two.
"""

import hashlib
import importlib
import json
import os
import sys

import numpy as np


def values(shape, seed, scale=1.0):
    """Numbers between -1 and 1 that depend on no random generator, and hardly repeat."""
    n = int(np.prod(shape))
    return (np.sin(np.arange(n) * 1.7 + seed * 0.9 + 0.3) * scale).astype("float32").reshape(shape)


def measure(array):
    a = np.asarray(array.asnumpy(), "float64")
    return [list(a.shape), round(float((a.ravel() * np.cos(0.7 * np.arange(a.size) + 0.1)).sum()), 5)]


def listed(y):
    if isinstance(y, (list, tuple)):
        return [a for item in y for a in listed(item)]
    return [y]


def graph(mx, block, inputs):
    """The nodes of the symbol that a block makes: operator, name, numbers of its inputs; and the outputs."""
    out = listed(block(*inputs))
    g = json.loads((out[0] if len(out) == 1 else mx.sym.Group(out)).tojson())
    return [[n["op"], n["name"], [i[:2] for i in n["inputs"]]] for n in g["nodes"]] + [[h[:2] for h in g["heads"]]]


def fill(mx, block):
    """Values for all parameters, by the order of their names; running variances stay positive."""
    for i, (name, p) in enumerate(sorted(block.collect_params().items())):
        a = values(p.shape, i + 1, 0.5)
        p.set_data(mx.nd.array(abs(a) + 0.5 if name.endswith("running_var") else a))


def compute(mx, call, block, inputs, train=True):
    """Outputs outside training; then outputs, gradients of the inputs and of the parameters in training."""
    found = {"out": [measure(a) for a in listed(call(*inputs))]}
    if train:
        for x in inputs:
            x.attach_grad()
        with mx.autograd.record():
            y = listed(call(*inputs))
        mx.autograd.backward(y)
        mx.nd.waitall()
        found["trained"] = [measure(a) for a in y]
        found["input gradients"] = [measure(x.grad) for x in inputs]
        params = sorted(block.collect_params().items())
        found["gradients"] = {n: measure(p.grad()) for n, p in params if p.grad_req != "null"}
        found["states"] = {n: measure(p.data()) for n, p in params if "running" in n}
    return found


def parameters(block):
    """Name, shape, gradient, type and initializer of each parameter."""
    return [[n, list(p.shape), p.grad_req, np.dtype(p.dtype).name, getattr(p.init, "dumps", lambda p=p: p.init)()]
            for n, p in block.collect_params().items()]


def digest(data):
    return hashlib.sha1(json.dumps(data).encode()).hexdigest()[:12]


def fresh_names(mx):
    mx.name.NameManager().__enter__()


def arrays(mx, shapes):
    return [mx.nd.array(values(s, 40 + i)) for i, s in enumerate(shapes)]


# ---------------------------------------------------------------- layers: shape of the input, whether it trains
def concurrent(mx):
    block = mx.gluon.contrib.nn.HybridConcurrent(axis=1, prefix="p_")
    with block.name_scope():
        block.add(mx.gluon.nn.Dense(2), mx.gluon.contrib.nn.Identity(), mx.gluon.nn.Flatten())
    return block


IMAGE, WIDTH, SOLID = (2, 3, 8, 7), (2, 3, 9), (1, 2, 4, 5, 4)
N = "mx.gluon.nn."
LAYERS = {
    "Dense(3)": ((4, 5),),
    "Dense(3, activation='relu', in_units=10)": ((2, 5, 2),),
    "Dense(3, use_bias=False, flatten=False)": ((2, 3, 4),),
    "Dense(2, flatten=False, activation='tanh', weight_initializer='xavier')": ((2, 3, 4),),
    "Dropout(0.3, axes=(1,))": ((3, 4), False),
    "Dropout(0)": ((3, 4),),
    "BatchNorm()": (IMAGE,),
    "BatchNorm(axis=2, momentum=0.7, epsilon=1e-3)": (IMAGE,),
    "BatchNorm(in_channels=3, center=False, scale=False)": (IMAGE,),
    "BatchNorm(use_global_stats=True)": (IMAGE,),
    "InstanceNorm()": (IMAGE,),
    "InstanceNorm(axis=2, epsilon=1e-3, scale=True)": (IMAGE,),
    "LayerNorm()": (IMAGE,),
    "LayerNorm(axis=1, epsilon=1e-3, center=False)": (IMAGE,),
    "GroupNorm(3)": ((2, 6, 4, 5),),
    "GroupNorm(scale=False)": (IMAGE,),
    "Flatten()": (IMAGE,),
    "Activation('relu')": (WIDTH,),
    "Activation('softsign')": (WIDTH,),
    "LeakyReLU(0.2)": (WIDTH,),
    "PReLU()": (WIDTH,),
    "PReLU(in_channels=3)": (IMAGE,),
    "ELU(0.7)": (WIDTH,),
    "SELU()": (WIDTH, False),
    "GELU()": (WIDTH,),
    "Swish()": (WIDTH,),
    "Swish(2)": (WIDTH,),
    "HybridLambda('tanh')": (WIDTH,),
    "HybridLambda(lambda F, x: F.square(x) + x)": (WIDTH,),
    "Conv1D(4, 3, padding=1)": (WIDTH,),
    "Conv1D(6, 3, strides=2, dilation=2, groups=3, use_bias=False)": (WIDTH,),
    "Conv2D(4, 3)": (IMAGE,),
    "Conv2D(4, (2, 3), strides=2, padding=1, dilation=2, activation='relu', in_channels=3)": (IMAGE,),
    "Conv2D(6, 3, groups=3, use_bias=False, in_channels=3)": (IMAGE,),
    "Conv3D(3, (2, 3, 2), padding=(0, 1, 1))": (SOLID,),
    "Conv1DTranspose(4, 3, 2, 1, 1)": (WIDTH,),
    "Conv2DTranspose(4, 3, 2, 1, 1, activation='tanh')": (IMAGE,),
    "Conv2DTranspose(6, (4, 3), groups=3, use_bias=False, in_channels=3)": (IMAGE,),
    "Conv3DTranspose(3, 2, 2)": (SOLID,),
    "MaxPool1D()": (WIDTH,),
    "MaxPool1D(3, 2, 1, ceil_mode=True)": (WIDTH,),
    "MaxPool2D((3, 2), strides=1)": (IMAGE,),
    "MaxPool2D(3, 2, 1, ceil_mode=True)": (IMAGE,),
    "MaxPool3D()": (SOLID,),
    "AvgPool1D(3, 2, 1)": (WIDTH,),
    "AvgPool2D(3, 2, 1, count_include_pad=False)": (IMAGE,),
    "AvgPool2D(3, 2, ceil_mode=True)": (IMAGE, False),
    "AvgPool3D(2)": (SOLID,),
    "GlobalMaxPool1D()": (WIDTH,),
    "GlobalMaxPool2D()": (IMAGE,),
    "GlobalMaxPool3D()": (SOLID,),
    "GlobalAvgPool1D()": (WIDTH,),
    "GlobalAvgPool2D()": (IMAGE,),
    "GlobalAvgPool3D()": (SOLID,),
    "ReflectionPad2D(2)": (IMAGE,),
    "ReflectionPad2D((0, 0, 0, 0, 1, 2, 0, 3))": (IMAGE,),
}


def with_prefix(call):
    head, _, arguments = call.partition("(")
    return head + "(" + arguments[:-1] + (", " if arguments[:-1] else "") + "prefix='p_')"


def layer(mx, call):
    return eval(N + with_prefix(call), {"mx": mx})


def case_layer(mx, name, hybridize=False):
    shape, train = LAYERS[name] if len(LAYERS[name]) == 2 else (LAYERS[name][0], True)
    return case_block(mx, lambda: layer(mx, name), [shape], train, hybridize)


def case_block(mx, make, shapes, train, hybridize):
    fresh_names(mx)
    traced = graph(mx, make(), [mx.sym.var(f"x{i}") for i in range(len(shapes))])
    block = make()
    found = {"repr": repr(block), "graph": traced, "names": list(block._collect_params_with_prefix())}
    block.initialize()
    inputs = arrays(mx, shapes)
    block(*inputs)
    found["shapes"] = {n: list(p.shape) for n, p in block.collect_params().items()}
    fill(mx, block)
    if hybridize:
        block.hybridize()
    found.update(compute(mx, block, block, inputs, train))
    return found


# ---------------------------------------------------------------- blocks that are not one call, and what goes wrong
def case_embedding(mx, hybridize=False):
    fresh_names(mx)
    block = mx.gluon.nn.Embedding(5, 3, prefix="p_")
    block.initialize()
    fill(mx, block)
    if hybridize:
        block.hybridize()
    x = mx.nd.array([[0, 4, 2], [1, 1, 9]])
    with mx.autograd.record():
        y = block(x)
    y.backward()
    return {"repr": repr(block), "graph": graph(mx, block, [mx.sym.var("x")]), "out": measure(y),
            "gradient": measure(block.weight.grad()), "type": np.dtype(y.dtype).name}


def case_concurrent(mx, hybridize=False):
    return case_block(mx, lambda: concurrent(mx), [(2, 3)], True, hybridize)


def case_pixel_shuffle(mx, hybridize=False):
    c = mx.gluon.contrib.nn
    made = ((lambda: c.PixelShuffle1D(2), (2, 4, 3)), (lambda: c.PixelShuffle2D((2, 3)), (1, 12, 2, 3)),
            (lambda: c.PixelShuffle3D((2, 3, 2)), (1, 12, 2, 3, 2)))
    return [case_block(mx, make, [shape], True, hybridize) for make, shape in made]


def case_sequential(mx, hybridize=False):
    nn = mx.gluon.nn
    fresh_names(mx)
    net = nn.HybridSequential(prefix="p_")
    with net.name_scope():
        net.add(nn.Dense(2), nn.HybridSequential(), mx.gluon.contrib.nn.HybridConcurrent())
        net[1].add(nn.Flatten())
        net[2].add(nn.Dropout(0.5), mx.gluon.contrib.nn.Identity(), nn.PReLU())
    part = net[1:]
    return [repr(net), len(net), repr(part), part.prefix, [b.name for b in net], repr(net[-1]), type(net[0:1]).__name__]


def case_parameters(mx, hybridize=False):
    """What layers ask of their parameters."""
    nn = mx.gluon.nn
    made = [nn.Dense(2, prefix="a_"), nn.Conv2D(2, 3, prefix="b_"), nn.BatchNorm(prefix="c_"),
            nn.LayerNorm(prefix="d_", scale=False), nn.InstanceNorm(prefix="e_"),
            nn.GroupNorm(2, prefix="f_", center=False), nn.PReLU(prefix="g_"), nn.Embedding(3, 2, prefix="h_"),
            nn.Dense(2, dtype="float64", bias_initializer=mx.init.One(), prefix="i_"),
            mx.gluon.rnn.LSTM(2, h2h_bias_initializer="ones", prefix="j_")]
    return [parameters(b) for b in made]


def case_cast(mx, hybridize=False):
    nn = mx.gluon.nn
    found = []
    for dtype in ("float16", "float64"):
        net = nn.HybridSequential(prefix="p_")
        with net.name_scope():
            net.add(nn.Dense(2, in_units=2), nn.BatchNorm(in_channels=2))
        net.cast(dtype)
        found.append([np.dtype(p.dtype).name for p in net.collect_params().values()])
    return found


def case_wrong_arguments(mx, hybridize=False):
    """Kinds of errors (AssertionError, ValueError ...)."""
    nn, rnn, loss, vision = mx.gluon.nn, mx.gluon.rnn, mx.gluon.loss, mx.gluon.model_zoo.vision

    def pair():
        return rnn.BidirectionalCell(rnn.RNNCell(3), rnn.RNNCell(3))
    calls = [
        lambda: nn.LeakyReLU(-1), lambda: nn.Conv2D(4, (3, 3, 3)), lambda: nn.Conv2D(4, 3, layout="NCDHW"),
        lambda: nn.Conv1D(4, 3, layout="NWC"), lambda: nn.MaxPool2D((3, 2, 1)), lambda: nn.GlobalAvgPool2D("NCDHW"),
        lambda: nn.ReflectionPad2D((1, 1, 2, 2)), lambda: nn.HybridLambda(3), lambda: nn.HybridLambda("no_such"),
        lambda: nn.Lambda("no_such"), lambda: nn.Sequential()[0], lambda: nn.HybridSequential().add(nn.Lambda("relu")),
        lambda: rnn.GRU(5, layout="NCT"), lambda: rnn.RNN(5, activation="sigmoid"), lambda: rnn.DropoutCell("a"),
        lambda: rnn.ZoneoutCell(pair()), lambda: rnn.RecurrentCell().state_info(), lambda: pair()(mx.sym.var("x"), []),
        lambda: loss.CTCLoss(layout="CNT"), lambda: loss.LogisticLoss(label_format="x"),
        lambda: vision.get_model("no_such"), lambda: vision.get_resnet(3, 18), lambda: vision.get_resnet(1, 19),
        lambda: rnn.RNNCell(4).unroll(3, mx.nd.ones((2, 4, 5)))]
    kinds = (AssertionError, ValueError, KeyError, IndexError, NotImplementedError)
    found = []
    for call in calls:
        try:
            call()
            found.append("no error")
        except kinds as e:
            found.append(next(k.__name__ for k in kinds if isinstance(e, k)))
    return found


# ---------------------------------------------------------------- losses
def loss_inputs():
    probability = abs(values((4, 3), 2)) + 0.1
    probability /= probability.sum(1, keepdims=True)
    signs = np.sign(values((4, 3), 5))
    return {
        "p": values((4, 3), 1), "l": values((4, 3), 3), "q": values((4, 3), 9), "flat": values((12,), 3),
        "w": abs(values((4, 1), 4)), "pw": abs(values((1, 3), 6)), "sign": signs, "binary": (signs + 1) / 2,
        "prob": probability, "logp": np.log(probability), "cls": np.array([2, 0, 1, 1.0]),
        "map": values((2, 3, 5), 7), "mapcls": np.array([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0.0]]),
        "count": np.array([[0, 1, 3], [2, 5, 0], [1, 1, 4], [7, 0, 2.0]]),
        "counted": np.array([[1, 1, 3], [2, 5, 9], [1, 1, 4], [7, 1, 2.0]]), "sides": np.array([1, -1, 1, -1.0]),
        "seq": values((2, 6, 5), 8), "seqT": values((6, 2, 5), 8), "lab": np.array([[0, 1, 2], [3, 3, -1.0]]),
        "labT": np.array([[0, 3], [1, 3], [2, -1.0]]), "len": np.array([5, 6.0]), "lablen": np.array([2, 1.0])}


LOSSES = {
    "L2Loss()": "p l", "L2Loss(weight=0.3)": "p l w", "L2Loss(batch_axis=1)": "p flat",
    "L1Loss()": "p l", "L1Loss(weight=2.0)": "p l w",
    "SigmoidBCELoss()": "p binary", "SigmoidBCELoss(weight=2)": "p binary w pw",
    "SigmoidBCELoss(from_sigmoid=True)": "prob binary",
    "SigmoidBinaryCrossEntropyLoss(from_sigmoid=True)": "prob binary w pw",
    "SoftmaxCELoss()": "p cls", "SoftmaxCELoss(weight=0.5)": "p cls w", "SoftmaxCELoss(sparse_label=False)": "p prob",
    "SoftmaxCrossEntropyLoss(axis=1)": "map mapcls", "SoftmaxCELoss(from_logits=True)": "logp cls",
    "KLDivLoss()": "logp prob", "KLDivLoss(from_logits=False, axis=1, weight=3.0)": "p prob w",
    "HuberLoss()": "p l", "HuberLoss(rho=0.3)": "p l w",
    "HingeLoss()": "p sign", "SquaredHingeLoss(margin=0.5)": "p sign w",
    "LogisticLoss()": "p sign", "LogisticLoss(label_format='binary')": "p binary w",
    "TripletLoss()": "p l q", "TripletLoss(margin=3, weight=2)": "p l q",
    "PoissonNLLLoss()": "p count", "PoissonNLLLoss(from_logits=False)": "prob count w",
    "PoissonNLLLoss(compute_full=True)": "p counted",
    "CosineEmbeddingLoss()": "p l sides", "CosineEmbeddingLoss(margin=0.2, weight=2)": "p l sides w",
    "SDMLLoss()": "p l", "SDMLLoss(smoothing_parameter=0.1)": "p l",
    "CTCLoss()": "seq lab", "CTCLoss(layout='TNC', label_layout='TN')": "seqT labT",
    "CTCLoss(weight=2)": "seq lab len lablen",
}
#: whose symbols differ in how constants enter (or that MXNet cannot trace): only their numbers are compared
UNTRACED = ("SDML", "Cosine", "PoissonNLLLoss(compute_full=True)")


def case_loss(mx, name, hybridize=False):
    fresh_names(mx)
    data = loss_inputs()
    block = eval("mx.gluon.loss." + with_prefix(name), {"mx": mx})
    names = LOSSES[name].split()
    found = {"repr": repr(block)}
    if not name.startswith(UNTRACED):
        found["graph"] = graph(mx, block, [mx.sym.var(n) for n in names])
    if hybridize:
        block.hybridize()
    inputs = [mx.nd.array(data[n]) for n in names]
    found["out"] = np.round(block(*inputs).asnumpy().astype("float64"), 5).tolist()
    if "compute_full" not in name:  # MXNet fails there: it writes in place while it records
        inputs[0].attach_grad()
        with mx.autograd.record():
            y = block(*inputs)
        y.backward()
        found["gradient"] = measure(inputs[0].grad)
    return found


# ---------------------------------------------------------------- recurrent layers and cells
RECURRENT = {
    "RNN(4)": "x", "RNN(4, 2, activation='tanh', layout='NTC', bidirectional=True)": "x",
    "LSTM(4, input_size=3)": "x", "LSTM(4, 2, bidirectional=True)": "x h c",
    "LSTM(4, 2, layout='NTC', state_clip_min=-0.1, state_clip_max=0.1)": "x",
    "LSTM(4, projection_size=2)": "x", "LSTM(4, 2, bidirectional=True, projection_size=3)": "x",
    "GRU(4)": "x h", "GRU(3, 2, layout='NTC', bidirectional=True)": "x", "GRU(4, num_layers=3, dropout=0.2)": "x",
}


def case_recurrent(mx, name, hybridize=False):
    fresh_names(mx)

    def make():
        return eval("mx.gluon.rnn." + with_prefix(name), {"mx": mx})

    wanted = RECURRENT[name].split()[1:]
    block = make()
    symbols = [mx.sym.var("x")] + ([[mx.sym.var(n) for n in wanted]] if wanted else [])
    found = {"repr": repr(block), "graph": graph(mx, make(), symbols), "info": str(block.state_info(2)),
             "names": list(block._collect_params_with_prefix()), "begin": [list(s.shape) for s in block.begin_state(2)]}
    block.initialize()
    x = mx.nd.array(values((4, 5, 3), 50))
    block(x)
    found["shapes"] = {n: list(p.shape) for n, p in block.collect_params().items()}
    fill(mx, block)
    if hybridize:
        block.hybridize()
    batch = 4 if "NTC" in name else 5
    states = [mx.nd.array(values(i["shape"], 60 + k)) for k, i in enumerate(block.state_info(batch))]
    inputs = [x] + states[:len(wanted)]

    def call(x, *s):
        return block(x, list(s)) if s else block(x)
    # dropout is random in training, and MXNet cannot train projections on the CPU
    found.update(compute(mx, call, block, inputs, "dropout" not in name and "projection" not in name))
    return found


def cells():
    """name -> makes a cell, number of states"""
    def seq(kind, *cs):
        def make(R):
            s = getattr(R, kind)(prefix="s_")
            for c in cs:
                s.add(c(R))
            return s
        return make

    def lstm(R):
        return R.LSTMCell(3, prefix="a_")

    def gru(R):
        return R.GRUCell(3, prefix="b_")
    def around(R):
        return R.BidirectionalCell(R.RNNCell(1, prefix="a_"), R.RNNCell(2, prefix="b_"))
    return {
        "RNNCell": lambda R: R.RNNCell(4, prefix="a_"),
        "RNNCell relu": lambda R: R.RNNCell(4, activation="relu", prefix="a_"),
        "RNNCell softrelu": lambda R: R.RNNCell(4, activation="softrelu", prefix="a_"),
        "LSTMCell": lstm, "GRUCell": gru,
        "LSTMCell relu": lambda R: R.LSTMCell(3, prefix="a_", activation="relu", recurrent_activation="softsign"),
        "Sequential": seq("SequentialRNNCell", lstm, lambda R: R.DropoutCell(0.5, prefix="d_"), gru),
        "HybridSequential": seq("HybridSequentialRNNCell", gru, lstm),
        "Bidirectional": lambda R: R.BidirectionalCell(lstm(R), gru(R)),
        "Residual": lambda R: R.ResidualCell(gru(R)), "Zoneout": lambda R: R.ZoneoutCell(lstm(R), 0.2, 0.3),
        "Residual of Bidirectional": lambda R: R.ResidualCell(around(R)),
    }


WAYS = {
    "merged": {"merge_outputs": True}, "as they come": {}, "steps": {"merge_outputs": False}, "list": {"list": True},
    "TNC": {"layout": "TNC", "merge_outputs": True}, "valid": {"valid_length": True, "merge_outputs": True},
    "valid steps": {"valid_length": True, "merge_outputs": False},
    "TNC valid": {"layout": "TNC", "valid_length": True, "merge_outputs": True},
}
#: what MXNet cannot do
FAILING = [("Residual", "valid steps"), ("Residual of Bidirectional", "valid steps")]


def case_cell(mx, name, hybridize=False):
    """A cell unrolled in all ways: symbols and numbers."""
    make = cells()[name]
    cell = make(mx.gluon.rnn)
    found = {way: unrolled(mx, make, hybridize, **kw) for way, kw in WAYS.items() if (name, way) not in FAILING}
    found["facts"] = [repr(cell), cell.prefix, str(cell.state_info(2)), list(cell.collect_params()),
                      list(cell._collect_params_with_prefix())]
    return found


def unrolled(mx, make, hybridize, list=False, valid_length=False, **kw):
    """Which parts of the result are lists, the numbers, and a digest of the symbol (which is too long to keep)."""
    fresh_names(mx)
    x = values((3, 4, 3) if kw.get("layout") == "TNC" else (4, 3, 3), 70)
    steps = [x[:, t] for t in range(3)]

    def run(cell, wrap, valid):
        if valid_length:
            kw["valid_length"] = valid
        out, states = cell.unroll(3, [wrap(s) for s in steps] if list else wrap(x), **kw)
        return [out, states]

    variables = iter("uvwxyz")
    valid = mx.sym.var("valid")
    nodes = graph(mx, lambda: run(make(mx.gluon.rnn), lambda a: mx.sym.var(next(variables)), valid), [])
    cell = make(mx.gluon.rnn)
    cell.initialize()
    valid = mx.nd.array([1, 3, 2, 3])
    run(cell, mx.nd.array, valid)
    fill(mx, cell)
    if hybridize:
        cell.hybridize()
    out = run(cell, mx.nd.array, valid)
    return [[isinstance(o, type([])) for o in out], [measure(a) for a in listed(out)], digest(nodes)]


def case_contrib_cells(mx, hybridize=False):
    c, lstm = mx.gluon.contrib.rnn, mx.gluon.rnn.LSTMCell
    made = [
        (lambda: c.LSTMPCell(4, 2, prefix="a_"), (2, 3)),
        (lambda: c.Conv2DLSTMCell((3, 5, 4), 2, 3, (3, 5), i2h_pad=1, prefix="a_"), (2, 3, 5, 4)),
        (lambda: c.Conv1DGRUCell((3, 6), 2, 3, 3, i2h_dilate=2, h2h_dilate=2, prefix="a_"), (2, 3, 6)),
        (lambda: c.Conv3DRNNCell((2, 3, 3, 3), 2, 3, 3, i2h_pad=1, activation="relu", prefix="a_"), (1, 2, 3, 3, 3)),
        (lambda: c.VariationalDropoutCell(lstm(3, prefix="a_"), 0.2, 0.3, 0.4), (2, 3))]
    return [stepped(mx, make, shape, hybridize) for make, shape in made]


def stepped(mx, make, shape, hybridize):
    fresh_names(mx)
    cell = make()
    variables = [mx.sym.var(v) for v in "xhc"[:len(cell.state_info()) + 1]]
    nodes = graph(mx, lambda x, *s: make()(x, list(s)), variables)
    cell.initialize()
    x = mx.nd.array(values(shape, 80))
    states = [mx.nd.array(values(i["shape"], 81 + k)) for k, i in enumerate(cell.state_info(shape[0]))]
    cell(x, states)
    fill(mx, cell)
    if hybridize:
        cell.hybridize()
    return [repr(cell), cell.prefix, str(cell.state_info(2)), list(cell.collect_params()),
            [measure(a) for a in listed(cell(x, states))], digest(nodes)]


# ---------------------------------------------------------------- networks
ZOO = [
    "alexnet", "densenet121", "densenet161", "densenet169", "densenet201", "inceptionv3", "mobilenet0.25",
    "mobilenet0.5", "mobilenet0.75", "mobilenet1.0", "mobilenetv2_0.25", "mobilenetv2_0.5", "mobilenetv2_0.75",
    "mobilenetv2_1.0", "resnet101_v1", "resnet101_v2", "resnet152_v1", "resnet152_v2", "resnet18_v1", "resnet18_v2",
    "resnet34_v1", "resnet34_v2", "resnet50_v1", "resnet50_v2", "squeezenet1.0", "squeezenet1.1", "vgg11", "vgg11_bn",
    "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "resnet18_v1 thumbnail=True", "resnet50_v2 thumbnail=True", "densenet121 dropout=0.2",
]


def case_network(mx, name, hybridize=False):
    """Kind, number of parameters and of nodes; digests of the printed form, the parameters and the symbol."""
    fresh_names(mx)
    name, _, more = name.partition(" ")
    net = mx.gluon.model_zoo.vision.get_model(name, classes=10, prefix="p_", **eval(f"dict({more})"))
    params, nodes = parameters(net), graph(mx, net, [mx.sym.var("x")])
    parts = repr(net), params, list(net._collect_params_with_prefix()), nodes
    return [type(net).__name__, len(params), len(nodes)] + [digest(p) for p in parts]


OTHERS = {
    "layers": [case_embedding, case_concurrent, case_pixel_shuffle, case_sequential, case_parameters, case_cast,
               case_wrong_arguments],
    "recurrent": [case_contrib_cells],
}
SECTIONS = {"layers": (case_layer, LAYERS), "losses": (case_loss, LOSSES), "recurrent": (case_recurrent, RECURRENT),
            "cells": (case_cell, cells()), "networks": (case_network, ZOO)}


def run(mx, section, name, hybridize=False):
    """The result of one case, as it comes out of JSON."""
    others = {case.__name__[5:]: case for case in OTHERS.get(section, ())}
    result = others[name](mx, hybridize) if name in others else SECTIONS[section][0](mx, name, hybridize)
    return json.loads(json.dumps(result))


def differences(found, expected, where=""):
    """Where two nested results differ; numbers may by 1e-4 of their size."""
    if isinstance(expected, dict) and isinstance(found, dict) and sorted(found) == sorted(expected):
        return [d for key in expected for d in differences(found[key], expected[key], where + "." + key)]
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        return [d for i, item in enumerate(expected) for d in differences(found[i], item, f"{where}[{i}]")]
    if isinstance(expected, float) and isinstance(found, float):
        fine = abs(found - expected) <= 1e-4 * abs(expected) + 5e-5
    else:
        fine = found == expected
    return [] if fine else [f"{where}: {found!r}, MXNet gave {expected!r}"]


def recorded(section, folder):
    with open(os.path.join(folder, section + ".json")) as f:
        return json.load(f)


def names(section):
    return sorted(SECTIONS[section][1]) + [case.__name__[5:] for case in OTHERS.get(section, ())]


def main():
    mx = importlib.import_module(sys.argv[1])
    for section in SECTIONS:
        with open(os.path.join(sys.argv[2], section + ".json"), "w") as f:
            lines = [f"{json.dumps(n)}: {json.dumps(run(mx, section, n))}" for n in names(section)]
            f.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
