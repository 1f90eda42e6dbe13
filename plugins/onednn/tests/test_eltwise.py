"""Loops that are one function of oneDNN, against the loop's definition."""

import numpy as np
import pytest
from scipy.special import erf

from mxcore import autograd, nd
from mxcore.gluon import nn
from mxcore.registry import expr as E
from mxcore.registry import get_op
from mxcore.registry.loop import Loop, Reduction
from mxcore_onednn.eltwise import bind_fused

X = np.linspace(-9, 9, 3 * 4 * 50, dtype=np.float32).reshape(3, 4, 50)
DY = np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
PHI = 0.5 * (1 + erf(X.astype(float) * 0.5 ** 0.5))


def fused(name, names, reduction=None):
    op = get_op(name)
    places = dict(zip(op.schema.inputs, names, strict=True))

    def moved(e):
        return E.arg(places[e.args[0]]) if e.fn == "arg" else e if e.fn == "const" else E.Expr(e.fn, tuple(map(moved, e.args)))

    shown = tuple(sorted(names))
    return {"loop": Loop(X.shape, np.dtype("float32"), shown, (moved(op.expr),), (reduction,)), "dtypes": (np.dtype("float32"),)}


@pytest.mark.parametrize("turned", [False, True])
def test_gelu(bound_like_plain, turned):
    x = X.transpose(1, 2, 0).copy().transpose(2, 0, 1) if turned else X
    ran = bound_like_plain(bind_fused, "_fused", [x], fused("_gelu", ["a"]), atol=1e-6)
    assert ran.bound.label.startswith("gelu_erf") and ran.outs[0].strides == x.strides
    np.testing.assert_allclose(ran.outs[0], X * PHI, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("names", [("x0", "x1"), ("x1", "x0")])
def test_gradient_of_gelu(bound_like_plain, names):
    given = dict(zip(names, (DY, X), strict=True))
    ran = bound_like_plain(bind_fused, "_fused", [given["x0"], given["x1"]], fused("_grad0__gelu", names), atol=1e-6)
    x = X.astype(float)
    np.testing.assert_allclose(ran.outs[0], DY * (PHI + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)), rtol=1e-5, atol=2e-6)


def test_other_loops_are_left(bound_like_plain):
    bind = bound_like_plain.bind
    assert bind(bind_fused, "_fused", [X], fused("tanh", ["a"]))[0] is None
    assert bind(bind_fused, "_fused", [X], fused("_gelu", ["a"], Reduction((0,), X.shape[1:])))[0] is None
    assert bind(bind_fused, "_fused", [X[:1]], fused("_gelu", ["a"]))[0] is None


def test_inside_a_net(bound_like_plain):
    net = nn.GELU()
    x = nd.array(X)
    x.attach_grad()
    results = []
    for _ in range(2):
        with autograd.record():
            y = net(x)
        y.backward(nd.array(DY))
        results.append((y.asnumpy(), x.grad.asnumpy()))
        net.hybridize()
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)
