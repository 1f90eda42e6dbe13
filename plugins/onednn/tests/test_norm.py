"""Bound normalisations against the plain kernels: statistics, moving averages, flags, memory, in place."""

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd
from mxcore.gluon import nn
from mxcore.registry import expr as E
from mxcore_onednn.norm import (
    bind_backward_batch_norm,
    bind_backward_layer_norm,
    bind_batch_norm,
    bind_batch_norm_with_relu,
    bind_layer_norm,
)

CLOSE = {"rtol": 1e-4, "atol": 2e-6}
RELU = E.maximum(E.arg("acc"), 0)


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(0.5, 2, shape).astype(np.float32)


def operands(shape, axis=1):
    c = shape[axis]
    return [numbers(*shape), numbers(c, seed=1), numbers(c, seed=2), numbers(c, seed=3), np.abs(numbers(c, seed=4)) + 0.1]


SHAPES = [((6, 8), 1), ((4, 16, 3, 5), 1), ((2, 12, 9), 1), ((2, 4, 4, 5, 6), 1), ((3, 4, 5, 8), -1), ((8, 5, 3), 0), ((1, 4), 1)]


@pytest.mark.parametrize("fix_gamma", [True, False])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_batch_norm_and_its_gradient(bound_like_plain, shape, axis, fix_gamma):
    attrs = {"axis": axis, "fix_gamma": fix_gamma, "eps": 1e-3, "momentum": 0.8}
    given = operands(shape, axis)
    ran = bound_like_plain(bind_batch_norm, "BatchNorm", given, attrs, training=True, **CLOSE)
    assert ran.bound.in_orders[0][-1] == axis % len(shape)
    _, mean, inverse, batch, *_ = ran.outs
    del attrs["momentum"]
    for flag in (batch, np.zeros_like(batch)):
        bound_like_plain(bind_backward_batch_norm, "_backward_BatchNorm",
                         [numbers(*shape, seed=5), *given[:2], mean, inverse, flag], attrs, training=True, rtol=1e-3, atol=1e-5)


def test_what_is_normalised_already_lies_as_wanted(bound_like_plain):
    given = operands((2, 8, 3, 3))
    given[0] = np.ascontiguousarray(given[0].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    ran = bound_like_plain(bind_batch_norm, "BatchNorm", given, {}, training=True, **CLOSE)
    assert ran.outs[0].strides == given[0].strides


@pytest.mark.parametrize("momentum", [0.0, 1.0, 0.9])
def test_moving_statistics(bound_like_plain, momentum):
    bound_like_plain(bind_batch_norm, "BatchNorm", operands((5, 8, 2)), {"momentum": momentum}, training=True, **CLOSE)


@pytest.mark.parametrize(("mean", "deviation", "eps"), [(1000, 1, 1e-3), (0, 1e-4, 1e-5), (0, 1e-4, 1e-2), (-3, 0, 1e-3)])
def test_statistics_are_exact(bound_like_plain, mean, deviation, eps):
    """Large means, variances far below eps, and none at all."""
    given = operands((16, 8, 4, 4))
    given[0] = (mean + deviation * numbers(16, 8, 4, 4)).astype(np.float32)
    attrs = {"eps": eps, "fix_gamma": False}
    ran = bound_like_plain(bind_batch_norm, "BatchNorm", given, attrs, training=True, rtol=1e-3, atol=1e-4)
    x = given[0].astype(np.float64)
    np.testing.assert_allclose(ran.outs[2], 1 / np.sqrt(x.var(axis=(0, 2, 3)) + eps), rtol=1e-5)
    back = [numbers(16, 8, 4, 4, seed=5), *given[:2], *ran.outs[1:4]]
    bound_like_plain(bind_backward_batch_norm, "_backward_BatchNorm", back, {**attrs, "axis": 1}, training=True, rtol=1e-3,
                     atol=1e-3)


@pytest.mark.parametrize("fix_gamma", [True, False])
def test_rectified_on_the_way(bound_like_plain, fix_gamma):
    given, attrs = operands((4, 16, 3, 3)), {"fix_gamma": fix_gamma}
    a = bound_like_plain(bind_batch_norm, "BatchNorm", given, attrs, training=True, epilogue=RELU, **CLOSE)
    b = bound_like_plain(bind_batch_norm_with_relu, "_contrib_BatchNormWithReLU", given, attrs, training=True, **CLOSE)
    assert np.array_equal(a.outs[0], b.outs[0]) and (a.outs[0] == 0).any()


@pytest.mark.parametrize("case", ["inference", "global", "double", "half data", "empty", "epilogue", "operand", "odd"])
def test_batch_norm_that_is_left_to_the_plain_kernel(bound_like_plain, case):
    given, attrs, options = operands((4, 7 if case == "odd" else 8)), {}, {"training": case != "inference"}
    if case == "global":
        attrs = {"use_global_stats": True}
    elif case == "double":
        given = [a.astype(np.float64) for a in given]
    elif case == "half data":
        given[0] = given[0].astype(np.float16)
    elif case == "empty":
        given[0] = given[0][:0]
    elif case == "epilogue":
        options["epilogue"] = E.tanh(E.arg("acc"))
    elif case == "operand":
        options |= {"epilogue": E.arg("acc") + E.arg("r"), "extras": {"r": numbers(4, 8)}}
    with np.errstate(all="ignore"):
        assert bound_like_plain.bind(bind_batch_norm, "BatchNorm", given, attrs, **options)[0] is None


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 64), (2, 3, 4, 33), (9,), (4, 1)])
def test_layer_norm_and_its_gradient(bound_like_plain, shape):
    given = [numbers(*shape), numbers(shape[-1], seed=1), numbers(shape[-1], seed=2)]
    ran = bound_like_plain(bind_layer_norm, "LayerNorm", given, {"eps": 1e-4}, **CLOSE)
    bound_like_plain(bind_backward_layer_norm, "_backward_LayerNorm", [numbers(*shape, seed=3), *given[:2], *ran.outs[1:]],
                     {"eps": 1e-4, "axis": -1}, rtol=1e-3, atol=1e-5)


def test_layer_norm_of_rows_that_hardly_vary(bound_like_plain):
    x = (100 + 1e-3 * numbers(6, 40)).astype(np.float32)
    given = [x, numbers(40, seed=1), numbers(40, seed=2)]
    ran = bound_like_plain(bind_layer_norm, "LayerNorm", given, {"eps": 1e-5}, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(ran.outs[2][:, 0], np.sqrt(x.astype(float).var(axis=1) + 1e-5), rtol=1e-4)


@pytest.mark.parametrize("case", ["axis", "double", "epilogue"])
def test_layer_norm_that_is_left_to_the_plain_kernel(bound_like_plain, case):
    given, options = [numbers(4, 4), numbers(4), numbers(4)], {}
    if case == "double":
        given = [a.astype(np.float64) for a in given]
    elif case == "epilogue":
        options["epilogue"] = RELU
    attrs = {"axis": 0} if case == "axis" else {}
    assert bound_like_plain.bind(bind_layer_norm, "LayerNorm", given, attrs, **options)[0] is None


def net():
    made = nn.HybridSequential()
    made.add(nn.Conv2D(6, 3), nn.BatchNorm(), nn.Activation("relu"), nn.Conv2D(4, 3), nn.BatchNorm(scale=False), nn.Flatten(),
             nn.Dense(5), nn.LayerNorm())
    return made


def trained(hybrid, bound_like_plain):
    """Gradients and moving statistics after some steps."""
    mx.random.seed(7)
    made = net()
    made.initialize(mx.init.Xavier())
    x = nd.array(numbers(3, 2, 9, 9))
    made(x)
    if hybrid:
        made.hybridize()
    for _ in range(3):
        with autograd.record():
            loss = (made(x) * nd.arange(5)).sum()
        loss.backward()
    values = [p.data().asnumpy() for p in made.collect_params().values()]
    return [made(x).asnumpy(), *values, *[p.grad().asnumpy() for p in made.collect_params().values() if p.grad_req != "null"]]


def test_inside_a_net(bound_like_plain):
    for a, b in zip(trained(False, bound_like_plain), trained(True, bound_like_plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
