"""What Gluon programs give, as plain data: run with MXNet 1.9.1 to record ``data/gluon/cases.json``, and by
``test_gluon_cases.py`` with mxcore to compare.

    python gluon_cases.py mxnet data/gluon/cases.json

Runs on Python 3.8 too, which MXNet 1.9.1 needs.
"""

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile

import numpy as np


def mlp(mx, **kwargs):
    nn = mx.gluon.nn
    net = nn.HybridSequential(**kwargs)
    with net.name_scope():
        net.add(nn.Dense(3, activation="relu"), nn.Dense(2))
    return net


def two_inputs(mx):
    nn = mx.gluon.nn

    class Two(mx.gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.a = nn.Dense(3)
                self.b = nn.BatchNorm()
                self.w = self.params.get("w", shape=(4, 3), init="ones")
                self.e = nn.Dense(3, params=self.a.params)

        def hybrid_forward(self, F, x, y, w):
            z = self.b(self.a(x)) + self.a(y[0])
            return z, [F.dot(z, w, transpose_b=True), -y[1]]

    return Two()


def fill(mx, net):
    """Values that do not depend on a random generator."""
    for i, param in enumerate(net.collect_params().values()):
        values = (np.arange(np.prod(param.shape)) * 0.37 + i) % 1.3 - 0.6
        param.set_data(mx.nd.array(values.reshape(param.shape)))


def flat(arrays):
    return [np.round(np.asarray(a.asnumpy(), "float64"), 5).tolist() for a in arrays]


def temporary(name):
    return os.path.join(tempfile.mkdtemp(), name)


# ---------------------------------------------------------------- names
def case_scopes(mx):
    nn = mx.gluon.nn

    class Sub(nn.HybridSequential):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.add(nn.Dense(2), nn.Dense(3))
            self.add(nn.Dense(4))

    outer = nn.HybridSequential(prefix="o_")
    with outer.name_scope():
        outer.add(Sub(prefix=""), Sub(), Sub(prefix="k_"))
    alone, transparent = Sub(), Sub(prefix="")
    return [list(outer.collect_params().keys()), list(alone.collect_params().keys()),
            list(transparent.collect_params().keys()), list(outer._collect_params_with_prefix()),
            [(b.prefix, b.name) for b in (outer, outer[0], outer[1], outer[2], alone, transparent)]]


def case_prefixes(mx):
    nn = mx.gluon.nn
    return [[b.name, b.prefix, b.weight.name] for b in (
        nn.Dense(2), nn.Dense(2, prefix="abc"), nn.Dense(2, prefix="a_"), nn.Dense(2, prefix=""), nn.Dense(2))]


def case_sharing(mx):
    nn = mx.gluon.nn
    net = nn.HybridSequential(prefix="e_")
    with net.name_scope():
        net.add(nn.Dense(3, in_units=2))
        net.add(nn.Dense(3, in_units=2, params=net[0].params))
        net.add(nn.Dense(3, params=mx.gluon.ParameterDict("zz_")))
    return [list(net.collect_params().keys()), [b.prefix for b in net], net[0].weight is net[1].weight,
            net(mx.sym.var("d")).get_internals().list_outputs(), nn.Dense(3, params=net.params).weight.name]


def case_operator_names(mx):
    class Net(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            y = F.relu(x) + 1
            z = F.relu(y)
            return F.FullyConnected(z, num_hidden=2, name="fc") * y

    net = Net()
    nn = mx.gluon.nn
    unscoped = nn.HybridSequential()
    unscoped.add(nn.Dense(1), nn.Dense(1))
    x = mx.sym.var("d")
    return [block(x).get_internals().list_outputs() for block in (net, net, Net(prefix=""), Net(prefix=""), unscoped)]


def case_selections(mx):
    net = two_inputs(mx)
    return [list(net.collect_params(pattern).keys())
            for pattern in (".*weight|.*w", "two0_dense", "weight", ".*running")]


def case_traced_names(mx):
    net = two_inputs(mx)
    net.initialize()
    net.hybridize()
    net(mx.nd.ones((2, 5)), [mx.nd.ones((2, 5)), mx.nd.ones((1,))])
    path = temporary("two")
    net.export(path, epoch=7)
    with open(path + "-symbol.json") as file:
        graph = json.load(file)
    return [[(n["op"], n["name"], n["inputs"], n.get("attrs")) for n in graph["nodes"]], graph["heads"],
            sorted(mx.nd.load(path + "-0007.params"))]


def case_one_or_several_inputs(mx):
    class Net(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x, y=None, z=None):
            return x if y is None else x * y

    names = []
    for args in ((1,), (1, 1), (1, None), (1, 1, None)):
        net = Net()
        net.hybridize()
        net(*(mx.nd.ones((2,)) if a else None for a in args))
        inputs, out = net._get_graph(*args)
        names.append([[v.name for v in inputs], out.name, net._in_format])
    return names


# ---------------------------------------------------------------- printed forms
def case_reprs(mx):
    nn, gluon = mx.gluon.nn, mx.gluon

    class Net(gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.a = nn.Dense(3)
                self.body = nn.HybridSequential()
                self.body.add(nn.Dense(2, in_units=3))
                self.w = self.params.get("w", shape=(2,), init="ones")
                self.half = self.params.get("half", shape=(1, 2), dtype="float16")

    net = Net()
    return [repr(net), str(net), repr(net.params), repr(net.collect_params()), repr(gluon.Block()),
            repr(gluon.ParameterDict("o_")), repr(gluon.ParameterDict()), repr(net.a.weight), repr(net.w),
            repr(gluon.Parameter("p", shape=3)), repr(gluon.Parameter("p", shape=(3,), dtype="int8")),
            repr(gluon.Constant("c", [[1, 2]])), repr(gluon.Parameter("none"))]


def case_symbol_block_repr(mx):
    d = mx.sym.var("data")
    fc = mx.sym.FullyConnected(d, num_hidden=3, name="fc")
    bn = mx.sym.BatchNorm(fc, name="bn")
    block = mx.gluon.SymbolBlock([bn, [fc, d]], [d])
    return [repr(block), repr(mx.gluon.SymbolBlock(bn, d)), [p.grad_req for p in block.params.values()],
            list(block.collect_params().keys()), block.prefix, block.name]


def case_summary(mx):
    net = two_inputs(mx)
    net.initialize()
    net(mx.nd.ones((2, 5)), [mx.nd.ones((2, 5)), mx.nd.ones((1,))])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        net.summary(mx.nd.ones((2, 5)), [mx.nd.ones((2, 5)), mx.nd.ones((1,))])

    class Outputs(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x, y):
            return [x, [x, None]] if y is None else x

    with contextlib.redirect_stdout(out):
        Outputs().summary(mx.nd.ones((1,)), None)
        dense = mx.gluon.nn.Dense(3, in_units=2)
        dense.initialize()
        dense.bias.grad_req = "null"
        dense.summary(mx.nd.ones((2, 2)))
    return out.getvalue()


# ---------------------------------------------------------------- files
def case_file_names(mx):
    net = mlp(mx)
    net.initialize()
    net(mx.nd.ones((1, 4)))
    found = {}
    path = temporary("x.params")
    net.save_parameters(path)
    found["save_parameters"] = list(mx.nd.load(path))
    net.collect_params().save(path)
    found["full names"] = list(mx.nd.load(path))
    net.collect_params().save(path, strip_prefix=net.prefix)
    found["stripped"] = list(mx.nd.load(path))
    other = two_inputs(mx)
    other.initialize()
    other(mx.nd.ones((2, 5)), [mx.nd.ones((2, 5)), mx.nd.ones((1,))])
    other.save_parameters(path)
    found["shared"] = sorted(mx.nd.load(path))
    other.save_parameters(path, deduplicate=True)
    found["deduplicated"] = list(mx.nd.load(path))
    return found


def case_symbol_block_structured_names(mx):
    d = mx.sym.var("data")

    def names(graph):
        return list(mx.gluon.SymbolBlock(graph, d)._collect_params_with_prefix())

    def dense(data, name, **kwargs):
        return mx.sym.FullyConnected(data, num_hidden=3, name=name, **kwargs)

    return [names(dense(d, "fc", no_bias=True)), names(dense(d, "fc")), names(dense(dense(d, "fc1"), "fc2")),
            names(dense(dense(d, "one"), "two")), names(mx.sym.BatchNorm(dense(d, "fc"), name="bn"))]


def case_saved_architecture(mx):
    nn = mx.gluon.nn
    net = nn.Sequential()
    net.add(nn.Dense(2), mlp(mx))
    net.initialize()
    net(mx.nd.ones((1, 4)))
    path = temporary("net")
    net.save(path)
    with open(path + "-model.json") as file:
        tree = json.load(file)
    dense = tree["sequential0"]["dense1"]
    for key in ("inputs", "symbol"):
        texts = dense[key] if key == "inputs" else [dense[key]]
        dense[key] = [[(n["op"], n["name"], n["inputs"]) for n in json.loads(text)["nodes"]] for text in texts]
    sequential = tree["sequential0"]["hybridsequential2"]
    return [sorted(os.listdir(os.path.dirname(path))), dense, sequential["children"], sequential["hybridized"],
            list(tree["sequential0"]["children"].items()), sorted(tree["sequential0"])]


def case_variables(mx):
    params = mx.gluon.ParameterDict("p_")
    weight = params.get("weight", shape=(2, 0), init=mx.init.Constant(0.5), lr_mult=2.0, wd_mult=0.0,
                        allow_deferred_init=True)
    plain = params.get("plain", shape=(3,), dtype="float16")
    return [{k: v for k, v in p.var().attr_dict()[p.name].items() if k.startswith("__")} for p in (weight, plain)]


# ---------------------------------------------------------------- computing
def case_symbol_block_outputs(mx):
    d = mx.sym.var("data")
    parts = mx.sym.split(d, num_outputs=2)
    x = mx.nd.array([[1, 2, 3, 4]])
    one = mx.gluon.SymbolBlock(parts, d)(x)
    nested = mx.gluon.SymbolBlock([d + 1, [parts, d * 2]], [d])(x)
    return [flat(one), flat(nested[:1]), flat(nested[1][0]), flat(nested[1][1:])]


def case_formats(mx):
    def made(body):
        class Net(mx.gluon.HybridBlock):
            def hybrid_forward(self, F, x):
                return body(F, x)
        return Net()

    kinds = []
    for body in (lambda F, x: x + 1, lambda F, x: (x + 1,), lambda F, x: F.split(x, num_outputs=2),
                 lambda F, x: [x, (x, [x])], lambda F, x: F.topk(x, k=1, ret_typ="both")[0]):
        net = made(body)
        eager = type(net(mx.nd.ones((2, 2)))).__name__
        net.hybridize()
        kinds.append([eager, type(net(mx.nd.ones((2, 2)))).__name__, net._out_format])
    return kinds


def case_trained(mx):
    found = {}
    for kvstore in (None, "device", "local"):
        for several in (False, True):
            for on_store in (None, False):
                contexts = [mx.cpu(0), mx.cpu(1)] if several else [mx.cpu(0)]
                net = mx.gluon.nn.Dense(2, in_units=3, prefix="d_")
                net.initialize(mx.init.One(), ctx=contexts)
                trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.5},
                                           kvstore=kvstore, update_on_kvstore=on_store)
                for n in range(2):
                    with mx.autograd.record():
                        losses = [(net(mx.nd.ones((2, 3), ctx=c)) * (i + 1 + n)).sum() for i, c in enumerate(contexts)]
                    mx.autograd.backward(losses)
                    trainer.step(4)
                key = f"{kvstore}, {len(contexts)} contexts, {on_store}"
                found[key] = [flat(net.weight.list_data()), flat(net.weight.list_grad())]
    return found


def case_multipliers(mx):
    net = mx.gluon.nn.Dense(2, in_units=3, prefix="d_")
    net.initialize(mx.init.One())
    net.weight.lr_mult = 0
    net.bias.wd_mult = 3
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 1, "wd": 0.1, "rescale_grad": 0.5})
    found = []
    for batch in (2, 4):
        with mx.autograd.record():
            loss = net(mx.nd.ones((2, 3))).sum()
        loss.backward()
        trainer.step(batch)
        found.append([flat([net.weight.data(), net.bias.data()]), trainer._optimizer.rescale_grad])
    return found


def case_scheduled(mx):
    net = mx.gluon.nn.Dense(1, in_units=1, prefix="d_")
    net.initialize(mx.init.One())
    scheduler = mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=0.1)
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "lr_scheduler": scheduler})
    rates = [trainer.learning_rate]
    for _ in range(3):
        with mx.autograd.record():
            loss = net(mx.nd.ones((1, 1)))
        loss.backward()
        trainer.step(1)
        rates.append(trainer.learning_rate)
    return [round(float(r), 7) for r in rates] + flat([net.weight.data()])


def case_stale(mx):
    found = []
    for ignore in (False, True):
        net = mlp(mx)
        net.initialize(mx.init.One())
        net(mx.nd.ones((1, 2)))
        trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
        for _ in range(2):
            with mx.autograd.record():
                loss = net[0](mx.nd.ones((1, 2))).sum()
            loss.backward()
            try:
                trainer.step(1, ignore_stale_grad=ignore)
                found.append("stepped")
            except UserWarning as error:
                found.append(str(error).split(" on context")[0].split("hybridsequential")[0])
        found.append(flat([net[0].weight.data(), net[1].weight.data()]))
    return found


def case_grad_req(mx):
    net = mx.gluon.nn.Dense(2, in_units=3, prefix="q_")
    net.initialize(mx.init.One())
    net.collect_params().setattr("grad_req", "add")

    def run():
        with mx.autograd.record():
            y = net(mx.nd.ones((4, 3)))
        y.backward()
        return flat([net.weight.grad()])

    found = [run(), run()]
    net.collect_params().zero_grad()
    found.append(run())
    net.weight.grad_req = "null"
    return [*found, net.weight._grad is None]


def case_hybridized_training(mx):
    found = []
    for hybrid in (False, True):
        net = two_inputs(mx)
        net.initialize(mx.init.One())
        x = mx.nd.array(np.linspace(-1, 1, 10).reshape(2, 5))
        y = mx.nd.array(np.linspace(0, 1, 10).reshape(2, 5) ** 2)
        if hybrid:
            net.hybridize()
        net(x, [y, mx.nd.ones((1,))])
        for _ in range(2):
            with mx.autograd.record():
                z, (p, q) = net(x, [y, mx.nd.ones((1,))])
                loss = (z * z).sum() + (p * mx.nd.arange(8).reshape((2, 4))).sum() + q.sum()
            loss.backward()
            mx.nd.waitall()
        found.append([flat([p.data()]) + ([] if p.grad_req == "null" else flat([p.grad()]))
                      for p in net.collect_params().values()])
    return found


def case_splits(mx):
    utils, nd = mx.gluon.utils, mx.nd
    return [[list(part.shape) for part in utils.split_data(nd.ones(shape), n, axis, even)] for shape, n, axis, even in (
        ((6, 2), 3, 0, True), ((8, 2), 3, 0, False), ((2, 9), 3, 1, True), ((2, 8), 3, 1, False), ((2, 8), 1, 1, True),
        ((7, 2), 5, 0, False))] + [
        flat(utils.split_and_load(np.arange(8).reshape(4, 2), [mx.cpu(0), mx.cpu(1)])),
        [str(a.context) for a in utils.split_and_load([[1, 2], [3, 4]], [mx.cpu(0), mx.cpu(1)])],
        str(np.dtype(utils.split_and_load(nd.ones((4,), dtype="int32"), [mx.cpu(0), mx.cpu(1)])[0].dtype))]


def case_clipped(mx):
    found = []
    for bound, check in ((6.5, True), (100.0, True), (1.0, False)):
        arrays = [mx.nd.array([3.0, 4.0]), mx.nd.array([12.0], ctx=mx.cpu(1))]
        norm = mx.gluon.utils.clip_global_norm(arrays, bound, check)
        found.append([float(norm) if check else [float(norm.asscalar()), list(norm.shape)], flat(arrays)])
    return found


def case_deferred(mx):
    nn = mx.gluon.nn
    net = nn.HybridSequential(prefix="d_")
    with net.name_scope():
        net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Flatten(), nn.Dense(2))
    shapes = [[list(p.shape) for p in net.collect_params().values()]]
    net.initialize()
    net.infer_shape(mx.nd.ones((1, 3, 5, 5)))
    shapes.append([list(p.shape) for p in net.collect_params().values()])
    try:
        net[3].weight.data()
    except Exception as error:
        shapes.append(type(error).__name__)
    net(mx.nd.ones((1, 3, 5, 5)))
    return [*shapes, list(net[3].weight.data().shape)]


def case_contexts(mx):
    param = mx.gluon.Parameter("x", shape=(0, 2), allow_deferred_init=True)
    param.initialize()
    param.reset_ctx(mx.cpu(1))
    found = [str(param.list_ctx())]
    param.set_data(mx.nd.ones((3, 2)))
    found.append(list(param.shape))
    param._finish_deferred_init()
    found.append(str(param.data().context))
    param.reset_ctx([mx.cpu(0), mx.cpu(2)])
    found += [str(param.list_ctx()), flat(param.list_data()), flat(param.list_grad())]
    with mx.cpu(2):
        found.append(str(param.data().context))
    return found


def case_parameter_types(mx):
    param = mx.gluon.Parameter("x", shape=(2,))
    param.initialize("ones")
    found = [str(np.dtype(param.dtype))]
    param.cast("float16")
    found += [str(np.dtype(a.dtype)) for a in (param, param.data(), param.grad())]
    param.set_data(mx.nd.array([1.5, 2.5]))
    found += [str(np.dtype(param.data().dtype)), flat([param.data()])]
    fixed = mx.gluon.Parameter("x", shape=(2,), differentiable=False)
    fixed.grad_req = "write"
    return [*found, fixed.grad_req]


def case_legacy_files(mx):
    net = mlp(mx)
    net.initialize()
    net(mx.nd.ones((1, 4)))
    fill(mx, net)
    other = mlp(mx)
    path = temporary("x.params")
    net.collect_params().save(path, strip_prefix=net.prefix)
    other.load_parameters(path)
    found = [flat(p.data() for p in other.collect_params().values())]
    net.collect_params().save(path)
    third = mlp(mx, prefix=net.prefix)
    third.collect_params().load(path)
    found.append(flat(p.data() for p in third.collect_params().values()))
    half = mlp(mx)
    half.cast("float16")
    net.save_parameters(path)
    half.load_parameters(path, cast_dtype=True)
    found.append(str(np.dtype(half[0].weight.data().dtype)))
    half.load_parameters(path, cast_dtype=True, dtype_source="saved")
    return [*found, str(np.dtype(half[0].weight.data().dtype))]


CASES = {name[5:]: value for name, value in sorted(globals().items()) if name.startswith("case_")}


def run(mx, name):
    """The result of a case, as it comes back from JSON; automatic names count from 0."""
    with mx.name.NameManager():
        return json.loads(json.dumps(CASES[name](mx)))


if __name__ == "__main__":
    module = importlib.import_module(sys.argv[1])
    results = {name: run(module, name) for name in CASES}
    with open(sys.argv[2], "w") as stream:
        json.dump(results, stream, indent=1, sort_keys=True)
        stream.write("\n")
