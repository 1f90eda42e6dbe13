"""Dropout by a kernel of its own: what it drops, what it keeps, and that each call and each seed draw their own numbers."""

import numpy as np
import pytest

import mxcore as mx
from mxcore.dtype import dtype_of

nd = mx.nd


def dropped(ctx, x, p, seed=None, **attrs):
    if seed is not None:
        mx.random.seed(seed, ctx=ctx)
    with mx.autograd.train_mode():
        return nd.Dropout(x, p=p, **attrs)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_kept_elements_are_scaled(device, dtype, p):
    x = nd.array(np.random.default_rng(0).standard_normal((37, 211)) + 5, dtype=dtype, ctx=device)
    y = dropped(device, x, p, seed=1).asnumpy()
    kept, factor = y != 0, np.float32(1 / (1 - p) if p < 1 else 0).astype(dtype_of(dtype))
    np.testing.assert_array_equal(y[kept], (x.asnumpy() * factor)[kept])
    assert abs(kept.mean() - (1 - p)) <= 5 * np.sqrt(p * (1 - p) / kept.size)
    for axis in (0, 1):  # nothing follows a pattern
        assert p == 1 or kept.mean(axis).std() < 3 * np.sqrt(p * (1 - p) / kept.shape[axis])


@pytest.mark.parametrize("n", [1, 3, 63, 64, 65, 255, 256, 257, 1023])
def test_any_length_and_any_place(device, n):
    whole = nd.ones((3, n), ctx=device)
    y = dropped(device, whole[1:2], 0.5, seed=3)
    assert y.shape == (1, n) and set(y.asnumpy().ravel().tolist()) <= {0, 2}


def test_calls_differ_and_seeds_repeat(device):
    x = nd.ones((1000,), ctx=device)
    first, second = dropped(device, x, 0.5, seed=5).asnumpy(), dropped(device, x, 0.5).asnumpy()
    assert 0.4 < (first != second).mean() < 0.6
    assert (dropped(device, x, 0.5, seed=5).asnumpy() == first).all()
    assert 0.4 < (dropped(device, x, 0.5, seed=6).asnumpy() != first).mean() < 0.6


def test_the_gradient_drops_the_same(device):
    x = nd.ones((50, 50), ctx=device)
    x.attach_grad()
    with mx.autograd.record():
        y = nd.Dropout(x, p=0.3)
    y.backward()
    assert (x.grad.asnumpy() == y.asnumpy()).all()


def test_one_launch(device, machine, monkeypatch):
    x, names, start = nd.ones((100,), ctx=device), [], machine.start
    dropped(device, x, 0.5)
    monkeypatch.setattr(machine, "start", lambda kernel, *rest: (names.append(kernel.function_name), start(kernel, *rest)))
    dropped(device, x, 0.5)
    assert names == ["dropout"]


def test_one_decision_for_an_axis(device):
    y = dropped(device, nd.ones((40, 30), ctx=device), 0.5, seed=2, axes=(1,)).asnumpy()
    assert ((y == y[:, :1]).all(axis=1)).all() and 0.2 < (y[:, 0] == 0).mean() < 0.8
