"""Convolutions by cuDNN and by the kernels that stand in for it, against the CPU."""

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd

CASES = [  # axes, groups, stride, dilation, padding
    (2, 1, 1, 1, 1), (2, 2, 2, 1, 1), (1, 1, 2, 2, 1), (3, 2, 1, 1, 0), (2, 1, 3, 2, 2), (2, 4, 1, 1, 1),
]


def results(ctx, axes, groups, stride, dilate, pad, dtype):
    rng = np.random.default_rng(0)
    x = mx.nd.array(rng.standard_normal((2, 4) + (9, 8, 7)[:axes]), ctx=ctx, dtype=dtype)
    w = mx.nd.array(rng.standard_normal((4, 4 // groups) + (3,) * axes), ctx=ctx, dtype=dtype)
    x.attach_grad()
    w.attach_grad()
    how = {"kernel": (3,) * axes, "stride": (stride,) * axes, "dilate": (dilate,) * axes, "pad": (pad,) * axes,
           "num_group": groups, "no_bias": True}
    with autograd.record():
        y = mx.nd.Convolution(x, w, num_filter=4, **how)
        loss = (y * y).sum()
    loss.backward()
    back = mx.nd.Deconvolution(y, w, num_filter=4, **how)
    return [a.asnumpy() for a in (y, x.grad, w.grad, back)]


@pytest.mark.parametrize("library", ["cudnn", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_convolution_and_its_gradients_are_the_cpus(device, monkeypatch, case, dtype, library):
    from mxcore_cupy import dnn

    if library == "none":
        monkeypatch.setattr(dnn, "library", lambda: None)
    elif dnn.library() is None:
        pytest.skip("cuDNN is not installed")
    for found, wanted in zip(results(device, *case, dtype), results(mx.cpu(), *case, dtype), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max())


def test_plans_are_made_once(host, device):
    from mxcore_cupy import dnn

    results(device, 2, 1, 1, 1, 1, "float32")
    before = dict(dnn._CONTEXT.plans)
    results(device, 2, 1, 1, 1, 1, "float32")
    assert before and dict(dnn._CONTEXT.plans) == before


def test_what_the_library_does_not_serve_goes_to_our_kernels(host, device, machine, monkeypatch):
    from mxcore_cupy import dnn

    monkeypatch.setattr(machine, "known", {})  # calls that have been noted would be repeated as they were
    monkeypatch.setattr(dnn._CONTEXT, "plans", type(dnn._CONTEXT.plans)())
    monkeypatch.setattr(dnn, "_WORKSPACE", 10)  # less than every algorithm wants
    case = CASES[0]
    for found, wanted in zip(results(device, *case, "float32"), results(mx.cpu(), *case, "float32"), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max())
    assert dnn._CONTEXT.plans and set(dnn._CONTEXT.plans.values()) == {None}


def test_types_that_the_library_lacks_go_to_our_kernels(host, device):
    x = mx.nd.ones((1, 2, 5, 5), ctx=device, dtype="float64").astype("int32")
    w = mx.nd.ones((3, 2, 3, 3), ctx=device, dtype="float64").astype("int32")
    y = mx.nd.Convolution(x, w, kernel=(3, 3), num_filter=3, no_bias=True)
    assert (y.asnumpy() == 18).all() and y.dtype == np.int32
