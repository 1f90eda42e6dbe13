"""Sorting, counting and searching by CuPy: no fallback, NumPy's results."""

import numpy as np
import pytest

import mxcore as mx


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch):
    monkeypatch.setenv("MXCORE_FALLBACK", "error")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32"])
@pytest.mark.parametrize("axis", [0, 1])
def test_sort_and_topk(device, dtype, axis):
    values = np.random.default_rng(1).permutation(35).reshape(5, 7)
    x = mx.nd.array(values, ctx=device, dtype=dtype)
    assert (mx.nd.sort(x, axis=axis).asnumpy() == np.sort(values, axis=axis)).all()
    assert (mx.nd.argsort(x, axis=axis, dtype="int32").asnumpy() == np.argsort(values, axis=axis)).all()
    best = np.flip(np.sort(values, axis=axis), axis).take([0, 1], axis)
    assert (mx.nd.topk(x, axis=axis, k=2, ret_typ="value").asnumpy() == best).all()


def test_equal_elements_keep_their_order(device):
    x = mx.nd.array([1, 3, 3, 1, 3], ctx=device)
    assert mx.nd.topk(x, k=5, dtype="int32").asnumpy().tolist() == [1, 2, 4, 0, 3]
    assert mx.nd.topk(x, k=5, is_ascend=True, dtype="int32").asnumpy().tolist() == [0, 3, 1, 2, 4]


def test_indexing_by_truth_values(device):
    x = mx.nd.array(np.arange(6), ctx=device)
    assert mx.nd.contrib.boolean_mask(x, mx.nd.array([1, 0, 1, 0, 0, 1], ctx=device)).asnumpy().tolist() == [0, 2, 5]


def test_histogram(device):
    counts, edges = mx.nd.histogram(mx.nd.array([0, 1, 1, 2, 5], ctx=device), bins=5, range=(0, 5))
    assert counts.asnumpy().tolist() == [1, 2, 1, 0, 1] and edges.shape == (6,)
