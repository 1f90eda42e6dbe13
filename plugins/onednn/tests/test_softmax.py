"""Bound softmax and its kin against the plain kernels."""

import numpy as np
import pytest

import mxcore_onednn.softmax as module
from mxcore.registry import expr as E
from mxcore_onednn.softmax import bind_backward_log_softmax, bind_backward_softmax, bind_log_softmax, bind_softmax

BINDS = {"softmax": (bind_softmax, bind_backward_softmax), "log_softmax": (bind_log_softmax, bind_backward_log_softmax)}


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(0, 4, shape).astype(np.float32)


@pytest.mark.parametrize("name", BINDS)
@pytest.mark.parametrize("shape", [(7,), (1, 1), (5, 130), (3, 4, 17), (2, 3, 4, 5)])
def test_every_axis(bound_like_plain, monkeypatch, name, shape):
    forward, backward = BINDS[name]
    monkeypatch.setattr(module, "_SHORT", 1)
    for axis in (*range(len(shape)), -1):
        ran = bound_like_plain(forward, name, [numbers(*shape)], {"axis": axis}, rtol=1e-4)
        assert ran.bound.in_place and ran.bound.label.startswith("jit")
        bound_like_plain(backward, f"_backward_{name}", [numbers(*shape, seed=1), ran.outs[0]], {"axis": axis}, rtol=1e-4,
                         atol=1e-5)


@pytest.mark.parametrize("name", BINDS)
def test_large_numbers(bound_like_plain, name):
    x = np.float32([[1e4, 1e4 - 1, -1e4], [-1e38, 1e38, 0]])
    bound_like_plain(BINDS[name][0], name, [x], {})


def test_channels_of_images(bound_like_plain):
    short, long = numbers(2, 5, 6, 7), numbers(2, 20, 6, 7)
    assert bound_like_plain.bind(bind_softmax, "softmax", [short], {"axis": 1})[0] is None
    assert bound_like_plain(bind_softmax, "softmax", [long], {"axis": 1}).bound.in_orders[0] == (0, 2, 3, 1)
    lying_so = short.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    assert bound_like_plain(bind_softmax, "softmax", [lying_so], {"axis": 1}).outs[0].strides == lying_so.strides


@pytest.mark.parametrize("case", ["temperature", "length", "double", "empty", "epilogue", "double out"])
def test_what_is_left_to_the_plain_kernel(bound_like_plain, case):
    given, attrs, options = [numbers(3, 4)], {}, {}
    if case == "temperature":
        attrs = {"temperature": 2.0}
    elif case == "length":
        given, attrs = [*given, np.int32([1, 2, 3])], {"use_length": True}
    elif case == "double":
        given = [given[0].astype(np.float64)]
    elif case == "empty":
        given = [given[0][:0]]
    elif case == "double out":
        attrs = {"dtype": "float64"}
    else:
        options = {"epilogue": E.arg("acc") * 2}
    assert bound_like_plain.bind(bind_softmax, "softmax", given, attrs, **options)[0] is None
