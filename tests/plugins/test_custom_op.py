"""``mx.operator``: users' operators; eager, in symbols, in hybridized nets, with states, and when they are wrong."""

import itertools
import json
from typing import ClassVar

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd, sym
from mxcore.testing import loopback

loopback.install()
calls: list = []
_NUMBER = itertools.count()


def host(a):
    return a.asnumpy().tolist()


class Scale(mx.operator.CustomOp):
    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, is_train, req, in_data, out_data, aux):
        calls.append(("forward", bool(is_train), req, [a.context for a in in_data]))
        self.assign(out_data[0], req[0], in_data[0] * self.k)

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        calls.append(("backward", req))
        self.assign(in_grad[0], req[0], out_grad[0] * self.k)


@mx.operator.register("test_scale")
class ScaleProp(mx.operator.CustomOpProp):
    def __init__(self, k="2"):
        super().__init__(need_top_grad=True)
        assert isinstance(k, str)
        self.k = float(k)

    def create_operator(self, ctx, in_shapes, in_dtypes):
        calls.append(("create", [tuple(s) for s in in_shapes], [np.dtype(t).name for t in in_dtypes]))
        return Scale(self.k)


class Counting(mx.operator.CustomOp):
    """Two inputs, two outputs, and a state that counts the training passes."""

    def forward(self, is_train, req, in_data, out_data, aux):
        if is_train:
            aux[0][:] = aux[0] + 1
        self.assign(out_data[0], req[0], in_data[0] + in_data[1])
        self.assign(out_data[1], req[1], in_data[0] * aux[0])

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.assign(in_grad[0], req[0], out_grad[0] + out_grad[1] * aux[0])
        self.assign(in_grad[1], req[1], out_grad[0])


@mx.operator.register("test_counting")
class CountingProp(mx.operator.CustomOpProp):
    def list_arguments(self):
        return ["a", "b"]

    def list_outputs(self):
        return ["sum", "prod"]

    def list_auxiliary_states(self):
        return ["count"]

    def infer_shape(self, in_shape):
        return [in_shape[0], in_shape[0]], [in_shape[0], in_shape[0]], [[1]]

    def create_operator(self, ctx, in_shapes, in_dtypes):
        return Counting()


@pytest.fixture(autouse=True)
def _fresh():
    calls.clear()
    with mx.name.NameManager():
        yield


# ---------------------------------------------------------------- eager
@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_eager(kind):
    ctx = mx.Context(kind)
    x = nd.array([1, 2], ctx=ctx)
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, k=3, op_type="test_scale")
        z = y * y
    z.backward()
    assert host(y) == [3, 6] and host(x.grad) == [18, 36]
    assert calls == [("create", [(2,)], ["float32"]), ("forward", True, ["write"], [ctx]), ("backward", ["write"])]
    calls.clear()
    nd.Custom(x, op_type="test_scale")
    assert calls[1][:2] == ("forward", False)


def test_types_and_names():
    assert nd.Custom(nd.ones(2, dtype="float64"), op_type="test_scale").dtype is np.float64
    a, b, n = nd.array([1, 2]), nd.array([3, 4]), nd.array([5])
    for got in (nd.Custom(a, b, n, op_type="test_counting"), nd.Custom(b=b, count=n, a=a, op_type="test_counting")):
        assert [host(v) for v in got] == [[4, 6], [5, 10]]


def test_states_are_written_in_training():
    a, b, n = nd.array([1, 2]), nd.array([3, 4]), nd.zeros(1)
    a.attach_grad()
    for i in range(1, 4):
        with autograd.record():
            s, p = nd.Custom(a, b, n, op_type="test_counting")
        autograd.backward([s, p])
        assert host(n) == [i] and host(p) == [i, 2 * i] and host(a.grad) == [1 + i] * 2


def test_gradients_are_asked_for_where_they_are_needed():
    a, b, n = nd.array([1, 2]), nd.array([3, 4]), nd.ones(1)
    b.attach_grad("add")
    for _ in range(2):
        with autograd.record():
            s, _p = nd.Custom(a, b, n, op_type="test_counting")
        s.backward()
    assert host(b.grad) == [2, 2]


# ---------------------------------------------------------------- symbols
def test_symbols():
    s = sym.Custom(sym.var("x"), k=3, op_type="test_scale", name="c")
    assert (s.list_arguments(), s.list_outputs(), s.infer_shape(x=(2,))) == (["x"], ["c_output"], ([(2,)], [(2,)], []))
    assert s.list_attr() == {"op_type": "test_scale", "k": "3"}
    assert sym.Custom(sym.var("x"), op_type="test_scale").name == "custom0"
    e = s.simple_bind(mx.cpu(), x=(2,))
    assert host(e.forward(is_train=True, x=np.ones(2))[0]) == [3, 3]
    e.backward(nd.array([1, 10]))
    assert host(e.grad_dict["x"]) == [3, 30]
    again = sym.load_json(s.tojson())
    assert json.loads(again.tojson())["nodes"][-1]["attrs"] == {"op_type": "test_scale", "k": "3"}
    assert host(again.eval(x=nd.ones(1))[0]) == [3]


def test_symbols_with_states():
    s = sym.Custom(sym.var("x"), op_type="test_counting", name="c")
    assert (s.list_arguments(), s.list_outputs(), s.list_auxiliary_states()) == (["x", "c_b"], ["c_sum", "c_prod"], ["c_count"])
    assert s.infer_shape(x=(2,)) == ([(2,), (2,)], [(2,), (2,)], [(1,)])
    assert s.infer_type(x="float64") == ([np.float64] * 2, [np.float64] * 2, [np.float64])
    e = s.simple_bind(mx.cpu(), x=(2,))
    e.arg_dict["x"][:] = 2
    for _ in range(3):
        e.forward(is_train=True)
    assert [host(o) for o in e.outputs] == [[2, 2], [6, 6]] and host(e.aux_dict["c_count"]) == [3]
    e.backward([nd.ones(2), nd.ones(2)])
    assert host(e.grad_dict["x"]) == [4, 4] and host(e.grad_dict["c_b"]) == [1, 1]  # as MXNet 1.9.1 computes
    e.forward(is_train=False)
    assert host(e.aux_dict["c_count"]) == [3]


# ---------------------------------------------------------------- nets
class Net(mx.gluon.HybridBlock):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.count = self.params.get("count", grad_req="null", shape=(1,), init="zeros", differentiable=False)
            self.dense = mx.gluon.nn.Dense(2, in_units=2)

    def hybrid_forward(self, F, x, count):
        s, p = F.Custom(self.dense(x), x, count, op_type="test_counting")
        return F.Custom(s, op_type="test_scale", k=4) + p


def test_hybridized_nets():
    results = []
    for hybrid in (False, True):
        net = Net()
        net.initialize(mx.init.One())
        net.count.set_data(nd.zeros(1))
        net.hybridize(hybrid)
        x = nd.array([[1, 2]])
        x.attach_grad()
        for _ in range(2):
            with autograd.record():
                y = net(x)
            y.backward()
        results.append([host(v) for v in (y, x.grad, net.dense.weight.grad(), net.count.data(), net(x))])
    assert results[0] == results[1]
    assert results[0][3] == [2]


def test_exported_nets(tmp_path):
    net = mx.gluon.nn.HybridLambda(lambda F, x: F.Custom(x, op_type="test_scale", k=5))
    net.hybridize()
    want = host(net(nd.ones((1, 2))))
    net.export(str(tmp_path / "net"))
    again = mx.gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], None)
    assert host(again(nd.ones((1, 2)))) == want == [[5, 5]]


# ---------------------------------------------------------------- the rest of the interface
def test_assign():
    op, target = mx.operator.CustomOp(), nd.ones(2)
    for req, want in (("null", 1), ("write", 5), ("inplace", 5), ("add", 10)):
        op.assign(target, req, nd.full(2, 5))
        assert host(target) == [want, want]
    with pytest.raises(mx.MXNetError, match="req must be"):
        op.assign(target, "scribble", 1)


def test_registration():
    assert {"test_scale", "test_counting"} <= set(mx.operator.get_all_registered_operators())
    with pytest.raises(TypeError, match="subclass of CustomOpProp"):
        mx.operator.register("wrong")(Scale)
    with pytest.raises(TypeError, match="subclass of CustomOpProp"):
        mx.operator.register("wrong")(3)


def prop(**methods):
    """A registered operator with some methods of its own."""
    name = f"test_wrong_{next(_NUMBER)}"

    class Op(mx.operator.CustomOp):
        forward = methods.pop("forward", Scale.forward)
        backward = methods.pop("backward", Scale.backward)
        k = 1

    class Prop(mx.operator.CustomOpProp):
        names: ClassVar = methods

        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Op()

    for key, value in methods.items():
        setattr(Prop, key, value)
    mx.operator.register(name)(Prop)
    return name


def raises(*args, **kwargs):
    raise KeyError("mine")


@pytest.mark.parametrize(("call", "words"), [
    (lambda: nd.Custom(nd.ones(2)), "Required parameter op_type"),
    (lambda: nd.Custom(nd.ones(2), op_type="nobody"), r"'nobody' is not registered; registered are \[.*'test_scale'"),
    (lambda: nd.Custom(nd.ones(2), op_type="test_scale", zz=3), "'test_scale' does not take .*'zz'"),
    (lambda: nd.Custom(nd.ones(2), op_type="test_counting"), r"takes the inputs \['a', 'b', 'count'\], and is given 1"),
    (lambda: nd.Custom(nd.ones(2), op_type=prop(forward=raises)), r"Custom\(data\[0\]: float32 \(2,\).*mine"),
    (lambda: nd.Custom(nd.ones(2), op_type=prop(create_operator=raises)), "mine"),
    (lambda: nd.Custom(nd.ones(2), op_type=prop(infer_shape=raises)), r"Prop\.infer_shape.*KeyError.*mine"),
    (lambda: nd.Custom(nd.ones(2), op_type=prop(forward=mx.operator.CustomOp.forward)), "needs forward"),
    (lambda: nd.Custom(nd.ones(2), op_type=prop(infer_shape=lambda self, s: (s, [[3]], []))), "cannot assign a value of shape"),
    (lambda: sym.Custom(sym.var("x")), "op_type"),
    (lambda: sym.Custom(sym.var("x"), op_type="nobody"), "'nobody' is not registered"),
    (lambda: sym.load_json(sym.Custom(sym.var("x"), op_type="test_scale").tojson().replace("test_scale", "gone")), "'gone'")])
def test_what_goes_wrong(call, words):
    with pytest.raises(mx.MXNetError, match=words):
        call()


def test_a_backward_that_fails():
    x = nd.ones(2)
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, op_type=prop(backward=raises))
    with pytest.raises(mx.MXNetError, match="mine"):
        y.backward()
    assert not autograd.is_recording()


def test_higher_orders_say_that_they_are_not_there():
    x = nd.ones(2)
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, op_type="test_scale")
        g, = autograd.grad(y * y, x, create_graph=True)
    assert host(g) == [8, 8]
    with pytest.raises(mx.MXNetError, match="computed by its own Python code"):
        g.backward()
