"""Bound matrix products against the plain kernels: shapes, memory, flags, epilogues, packed weights."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxcore.registry import expr as E
from mxcore_onednn.product import bind_backward_dot, bind_batch_dot, bind_dense, bind_dot

ACC = E.arg("acc")
FLAGS = pytest.mark.parametrize(("ta", "tb"), [(False, False), (True, False), (False, True), (True, True)])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def laid(shape, how, seed=0):
    """An array of a shape whose memory is plain, transposed, in longer rows, or every other element of something."""
    if how == "plain":
        return numbers(*shape, seed=seed)
    if how == "reversed":
        return numbers(*shape[::-1], seed=seed).T
    if how == "rows":
        return numbers(*shape[:-1], shape[-1] + 5, seed=seed)[..., :shape[-1]]
    if how == "swapped":
        return np.swapaxes(numbers(*shape[:-2], shape[-1], shape[-2], seed=seed), -1, -2)
    return numbers(*shape[:-1], 2 * shape[-1], seed=seed)[..., ::2]


@FLAGS
@pytest.mark.parametrize("memory", [("plain", "plain"), ("reversed", "rows"), ("rows", "reversed"), ("sparse", "sparse")])
def test_dot_and_its_gradients(bound_like_plain, ta, tb, memory):
    m, k, n = 13, 7, 33
    a, b = laid((k, m) if ta else (m, k), memory[0]), laid((n, k) if tb else (k, n), memory[1], 1)
    flags = {"transpose_a": ta, "transpose_b": tb}
    ran = bound_like_plain(bind_dot, "dot", [a, b], flags)
    assert (ran.bound.in_orders[0] is None) == (memory[0] != "sparse")
    dy = laid((m, n), memory[1], 2)
    for of in (0, 1):
        bound_like_plain(bind_backward_dot, "_backward_dot", [dy, a, b], {**flags, "of": of})


@FLAGS
def test_dot_of_more_axes(bound_like_plain, ta, tb):
    a = numbers(5, 2, 3) if ta else numbers(2, 3, 5)
    b = numbers(4, 6, 5) if tb else numbers(5, 4, 6)
    flags = {"transpose_a": ta, "transpose_b": tb}
    ran = bound_like_plain(bind_dot, "dot", [a, b], flags)
    for of in (0, 1):
        bound_like_plain(bind_backward_dot, "_backward_dot", [ran.outs[0], a, b], {**flags, "of": of})


@quick
@given(sizes=st.tuples(*[st.integers(1, 40)] * 3), ta=st.booleans(), tb=st.booleans(),
       memory=st.tuples(*[st.sampled_from(["plain", "reversed", "rows", "sparse"])] * 2))
def test_dot_of_any_size(bound_like_plain, sizes, ta, tb, memory):
    m, k, n = sizes
    bound_like_plain(bind_dot, "dot", [laid((k, m) if ta else (m, k), memory[0]), laid((n, k) if tb else (k, n), memory[1])],
                     {"transpose_a": ta, "transpose_b": tb}, rtol=1e-4)


@FLAGS
@pytest.mark.parametrize("memory", ["plain", "swapped", "rows", "sparse", "reversed"])
@pytest.mark.parametrize("batch", [(1,), (5,), (2, 3)])
def test_batch_dot(bound_like_plain, ta, tb, memory, batch):
    m, k, n = 9, 20, 17
    a, b = laid((*batch, *((k, m) if ta else (m, k))), memory), laid((*batch, *((n, k) if tb else (k, n))), memory, 1)
    bound_like_plain(bind_batch_dot, "batch_dot", [a, b], {"transpose_a": ta, "transpose_b": tb})


def test_a_batch_inside_the_rows_is_not_copied(bound_like_plain):
    qkv = numbers(6, 4, 3 * 16)
    a, b = (qkv[:, :, i * 16:(i + 1) * 16].transpose(1, 0, 2) for i in range(2))
    ran = bound_like_plain(bind_batch_dot, "batch_dot", [a, b], {"transpose_b": True})
    assert ran.bound.in_orders == [None, None]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("static", [(), (1, 2)])
@pytest.mark.parametrize(("shape", "flatten"), [((6, 10), True), ((4, 5, 10), False), ((3, 2, 5), True), ((1, 10), True)])
def test_dense(bound_like_plain, shape, flatten, bias, static):
    weight = numbers(24, 10)
    given = [numbers(*shape), weight, *([numbers(24)] if bias else [])]
    for training in (False, True):
        ran = bound_like_plain(bind_dense, "FullyConnected", given, {"num_hidden": 24, "flatten": flatten, "no_bias": not bias},
                               static=static, training=training)
        assert not (training and ran.bound.prepared)


def test_weights_that_stay_are_packed(bound_like_plain):
    given = [numbers(32, 256), numbers(512, 256)]
    attrs = {"num_hidden": 512, "no_bias": True}
    assert bound_like_plain(bind_dense, "FullyConnected", given, attrs, static=(1,)).bound.prepared == (1,)
    assert not bound_like_plain(bind_dense, "FullyConnected", given, attrs).bound.prepared


@FLAGS
def test_large_factors_are_packed_for_each_call(bound_like_plain, ta, tb):
    m, k, n = 300, 200, 70
    a, b = numbers(*((k, m) if ta else (m, k))), numbers(*((n, k) if tb else (k, n)))
    ran = bound_like_plain(bind_dot, "dot", [a, b], {"transpose_a": ta, "transpose_b": tb}, rtol=1e-4)
    assert ran.bound.label.endswith("packed") == (not tb) and not ran.bound.prepared


def test_dense_after_channels_last(bound_like_plain):
    x = numbers(2, 4, 4, 3).transpose(0, 3, 1, 2)
    ran = bound_like_plain(bind_dense, "FullyConnected", [x, numbers(7, 48)], {"num_hidden": 7, "no_bias": True})
    assert ran.bound.in_orders[0] == (0, 1, 2, 3)


ENDS = {
    "relu": (E.maximum(ACC, 0), {}),
    "tanh": (E.tanh(ACC), {}),
    "sigmoid": (1 / (1 + E.exp(-ACC)), {}),
    "gelu": (0.5 * ACC * (1 + E.erf(ACC * math.sqrt(0.5))), {}),
    "scaled": (ACC * 0.125, {}),
    "residual": (E.arg("r") + ACC, {"r": (4, 5, 24)}),
    "residual and relu": (E.maximum(ACC + E.arg("r"), 0), {"r": (4, 5, 24)}),
    "a line": (E.tanh(ACC * E.arg("v")) + E.arg("w"), {"v": (24,), "w": (1, 1, 24)}),
    "a number": (ACC * E.arg("s"), {"s": (1,)}),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("bias", [True, False])
def test_what_follows_is_done_on_the_way(bound_like_plain, end, bias):
    expr, shapes = ENDS[end]
    extras = {n: numbers(*s, seed=9) for n, s in shapes.items()}
    given = [numbers(4, 5, 10), numbers(24, 10), *([numbers(24)] if bias else [])]
    ran = bound_like_plain(bind_dense, "FullyConnected", given, {"num_hidden": 24, "flatten": False, "no_bias": not bias},
                           epilogue=expr, extras=extras)
    assert "ref" not in ran.bound.label


def test_scores_are_scaled_on_the_way(bound_like_plain):
    a, b = numbers(6, 9, 8), numbers(6, 11, 8)
    bound_like_plain(bind_batch_dot, "batch_dot", [a, b], {"transpose_b": True}, epilogue=ACC * 0.125)
    bound_like_plain(bind_batch_dot, "batch_dot", [a, b], {"transpose_b": True}, epilogue=ACC + E.arg("m"),
                     extras={"m": numbers(6, 9, 11)})


@pytest.mark.parametrize("case", ["function", "operand", "type", "empty", "vector"])
def test_what_is_left_to_the_plain_kernel(bound_like_plain, case):
    a, b, options = numbers(4, 5), numbers(5, 6), {}
    if case == "function":
        options = {"epilogue": E.call("arcsinh", ACC)}
    elif case == "operand":
        options = {"epilogue": ACC + E.arg("v"), "extras": {"v": numbers(4, 1)}}
    elif case == "type":
        a, b = a.astype(np.float64), b.astype(np.float64)
    elif case == "empty":
        a = a[:0]
    else:
        b = numbers(5)
    bound, _ = bound_like_plain.bind(bind_dot, "dot", [a, b], {}, **options)
    assert bound is None
