"""Which function computes an operator: priorities, predicates, generic kernels, composites; operators that come late."""

import itertools

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd, sym
from mxcore.errors import KernelMissingError
from mxcore.hookspecs import hookimpl
from mxcore.registry import OPS, elementwise, register, rules
from mxcore.registry import expr as E
from mxcore.registry.kernels import _TABLE, KernelEntry, add_kernels, clear, kernels_of, resolve

_NUMBER = itertools.count()


@pytest.fixture
def op():
    """A fresh operator; gone afterwards."""
    name = f"test_kernels_{next(_NUMBER)}"

    @register(name, infer=rules.same)
    def generic(xp, data, *, k: int = 1):
        """Generic kernel: adds 1000."""
        return data + 1000

    @generic.gradient
    def _(n, g):
        return g

    yield generic
    del OPS[name]
    _TABLE.pop(("numpy", name), None)
    vars(nd).pop(name, None)
    vars(sym).pop(name, None)


def value(op, x=0.0, **attrs):
    return getattr(nd, op.name)(nd.array([x]), **attrs).asscalar()


def adds(amount):
    def kernel(xp, data, *, k=1):
        return data + amount
    return kernel


def only_small(data, *, k=1):
    return data.size < 3


def only_k2(data, *, k=1):
    return k == 2


def test_priorities(op):
    assert value(op) == 1000
    add_kernels("numpy", {op.name: adds(1)})
    assert value(op) == 1
    add_kernels("numpy", {op.name: KernelEntry(adds(5), priority=5)})
    assert value(op) == 5
    add_kernels("numpy", {op.name: [KernelEntry(adds(3), priority=3), KernelEntry(adds(2), priority=2)]})
    assert value(op) == 5
    assert [e.priority for e in kernels_of("numpy", op.name)] == [5, 3, 2, 0]


def test_predicates(op):
    add_kernels("numpy", {op.name: [KernelEntry(adds(10), 10, only_k2), KernelEntry(adds(5), 5, only_small)]})
    assert value(op) == 5 and value(op, k=2) == 10
    many = getattr(nd, op.name)(nd.zeros(4))
    assert many.asnumpy().tolist() == [1000] * 4  # the generic kernel takes what no other does
    assert sym.load_json(getattr(sym, op.name)(sym.var("x"), k=2).tojson()).eval(x=nd.zeros(9))[0].asnumpy()[0] == 10


def test_kernels_named_as_text_are_imported_at_the_first_call(op, tmp_path, monkeypatch):
    (tmp_path / "late_kernels.py").write_text("def f(xp, data, *, k=1):\n    return data + 77\n")
    monkeypatch.syspath_prepend(tmp_path)
    import sys

    add_kernels("numpy", {op.name: "late_kernels:f"})
    assert "late_kernels" not in sys.modules
    assert value(op) == 77 and "late_kernels" in sys.modules
    add_kernels("numpy", {op.name: KernelEntry("late_kernels:absent", priority=9)})
    with pytest.raises(AttributeError, match="absent"):
        value(op)


def test_the_same_kernel_is_entered_once(op):
    kernel = adds(1)
    for _ in range(3):
        add_kernels("numpy", {op.name: kernel})
    assert len(kernels_of("numpy", op.name)) == 1


def test_kernels_of_operators_that_do_not_exist_are_harmless():
    add_kernels("numpy", {"nobody_knows_this": "nowhere:f"})
    assert value(OPS["relu"], 3.0) == 3
    _TABLE.pop(("numpy", "nobody_knows_this"))


def test_what_was_resolved_can_be_forgotten(op):
    assert value(op) == 1000 and "numpy" in op.kernels
    clear("numpy")
    assert "numpy" not in op.kernels and value(op) == 1000


def test_an_operator_for_which_there_is_no_kernel():
    from mxcore.registry.op import Op, enter_op
    from mxcore.registry.schema import Schema

    def nothing(xp, data):
        """Only on an abacus."""

    bare = enter_op(Op("test_kernels_bare", nothing, Schema(nothing, 1)))
    add_kernels("abacus", {"test_kernels_bare": adds(1)})
    try:
        with pytest.raises(KernelMissingError,
                           match=r"'test_kernels_bare' has no kernel on backend 'numpy'.*exist on \['abacus'\]"):
            resolve(bare, "numpy")
        with pytest.raises(mx.MXNetError, match="has no kernel on backend 'numpy'"):
            nd.test_kernels_bare(nd.ones(1))
        add_kernels("numpy", {"test_kernels_bare": KernelEntry(lambda xp, data: data, accepts=lambda data: data.size > 1)})
        assert nd.test_kernels_bare(nd.ones(2)).shape == (2,)
        with pytest.raises(mx.MXNetError, match="no kernel accepts this call"):
            nd.test_kernels_bare(nd.ones(1))
    finally:
        del OPS["test_kernels_bare"], _TABLE["abacus", "test_kernels_bare"], _TABLE["numpy", "test_kernels_bare"]
        vars(nd).pop("test_kernels_bare", None)


def test_operators_that_come_late(op):
    """Registered after ``mx.nd`` and ``mx.sym`` were made; in nets too."""
    assert op.name not in vars(nd)
    assert getattr(nd, op.name).__doc__ == "Generic kernel: adds 1000."
    x = nd.zeros(2)
    x.attach_grad()
    with autograd.record():
        y = getattr(nd, op.name)(x) * 2
    y.backward()
    assert x.grad.asnumpy().tolist() == [2, 2]
    assert getattr(sym, op.name)(sym.var("x")).eval(x=x)[0].asnumpy().tolist() == [1000, 1000]

    class Net(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return getattr(F, op.name)(x)

    net = Net()
    net.hybridize()
    assert net(x).asnumpy().tolist() == [1000, 1000]


def test_registration_refuses_what_is_taken(op):
    with pytest.raises(ValueError, match=f"'{op.name}' is taken"):
        register(op.name)(lambda xp, data: data)


def test_plugins_by_hand():
    """``mx.plugins.add``: a notebook's own plugin, with an operator, its expression and a kernel."""
    calls = []

    class Plugin:
        @hookimpl
        def mxcore_operators(self):
            @elementwise("test_by_hand")
            def by_hand(data):
                """sin(x) * x"""
                return E.sin(data) * data

        @hookimpl
        def mxcore_kernels(self, backend):
            return {"test_by_hand": self.kernel} if backend == "numpy" else None

        @staticmethod
        def kernel(xp, data):
            calls.append(data.shape)
            return np.sin(data) * data

    mx.plugins.add(Plugin(), "by_hand")
    x = nd.array([0.5, 2.0], dtype="float64")
    x.attach_grad()
    with autograd.record():
        y = nd.test_by_hand(x)
        g, = autograd.grad(y, x, create_graph=True)
    g.backward()
    v = x.asnumpy()
    np.testing.assert_allclose(g.asnumpy(), np.sin(v) + v * np.cos(v))
    np.testing.assert_allclose(x.grad.asnumpy(), 2 * np.cos(v) - v * np.sin(v))
    assert calls == [(2,)]
    assert {r.name: r.status for r in mx.plugins.records()}["by_hand"] == "loaded"
    with pytest.raises(ValueError):
        mx.plugins.add(Plugin(), "by_hand")
