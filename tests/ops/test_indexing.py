"""Indexing by arrays: places outside, repeated places, orders with ties, bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxcore import autograd, nd
from mxcore.errors import BoundsError

X = nd.array([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("call", [
    lambda: nd.gather_nd(X, nd.array([[2]])), lambda: nd.gather_nd(X, nd.array([[0], [-4]])),
    lambda: nd.take(X, nd.array([2]), mode="raise"), lambda: nd.take(X, nd.array([-1]), mode="raise"),
    lambda: nd.scatter_nd(nd.array([1]), nd.array([[3]]), shape=(3,)),
    lambda: nd.contrib.index_copy(X, nd.array([2]), nd.ones((1, 3))), lambda: X[nd.array([2])], lambda: X[nd.array([-3])],
])
def test_out_of_bounds(call):
    with pytest.raises(IndexError, match="out of bounds for axis") as caught:
        call()
    assert caught.type is BoundsError


def test_index_arrays_count_from_the_end():
    np.testing.assert_array_equal(X[nd.array([-1, 0])].asnumpy(), [[4, 5, 6], [1, 2, 3]])
    np.testing.assert_array_equal(nd.gather_nd(X, nd.array([[-1, 0], [0, -1]])).asnumpy(), [4, 3])


def test_modes_of_take_and_pick():
    np.testing.assert_array_equal(nd.take(X, nd.array([-1, 7])).asnumpy(), X.asnumpy()[[0, 1]])
    np.testing.assert_array_equal(nd.take(X, nd.array([-1, 7]), mode="wrap").asnumpy(), X.asnumpy()[[1, 1]])
    np.testing.assert_array_equal(nd.pick(X, nd.array([-1, 7])).asnumpy(), [1, 6])
    np.testing.assert_array_equal(nd.pick(X, nd.array([-1, 7]), mode="wrap").asnumpy(), [3, 5])


@given(st.integers(1, 40), st.integers(1, 5), st.sampled_from(["clip", "wrap"]), st.integers(0, 2**31))
def test_gradient_of_take_adds_up(rows, width, mode, seed):
    """Few numbers and many: NumPy's add.at, and the kernel for large ones."""
    rng = np.random.default_rng(seed)
    width *= 200 if seed % 2 else 1
    index, head = rng.integers(-4, 9, rows), rng.standard_normal((rows, width)).astype(np.float32)
    w = nd.array(rng.standard_normal((5, width)))
    w.attach_grad()
    with autograd.record():
        y = nd.take(w, nd.array(index), mode=mode)
    y.backward(nd.array(head))
    want = np.zeros((5, width))
    np.add.at(want, index % 5 if mode == "wrap" else np.clip(index, 0, 4), head)
    np.testing.assert_allclose(w.grad.asnumpy(), want, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 150), st.integers(1, 6), st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_topk_is_a_stable_sort(n, k, ascend, few, seed):
    values = np.random.default_rng(seed).integers(0, 9 if few else 10**6, (3, n)).astype(np.float32)
    k = min(k, n)
    want = np.argsort(values if ascend else -values, axis=1, kind="stable")[:, :k]
    top, index = nd.topk(nd.array(values), k=k, ret_typ="both", is_ascend=ascend, dtype="int32")
    np.testing.assert_array_equal(index.asnumpy(), want)
    np.testing.assert_array_equal(top.asnumpy(), np.take_along_axis(values, want, 1))
    mask = nd.topk(nd.array(values), k=k, ret_typ="mask", is_ascend=ascend).asnumpy()
    np.testing.assert_array_equal(np.flatnonzero(mask), np.sort((want + n * np.arange(3)[:, None]).ravel()))
    full = nd.argsort(nd.array(values), is_ascend=ascend, dtype="int64").asnumpy()
    np.testing.assert_array_equal(full[:, :k], want)


@given(st.lists(st.floats(-2, 2, width=32), max_size=30), st.integers(1, 7))
def test_histogram(values, bins):
    x = np.array([*values, 0.5], np.float32)
    counts, edges = nd.histogram(nd.array(x), bins=bins, range=(-1, 1))
    want = np.histogram(x, edges.asnumpy())[0]
    np.testing.assert_array_equal(counts.asnumpy(), want)
    np.testing.assert_array_equal(nd.histogram(nd.array(x), bins=edges)[0].asnumpy(), want)
    assert nd.histogram(nd.array(x), bins=bins)[0].asnumpy().sum() == x.size


def test_norm_neither_overflows_nor_vanishes():
    for size in (1e30, 1e-30):
        np.testing.assert_allclose(nd.norm(nd.array([3 * size, 4 * size])).asscalar(), 5 * size, rtol=1e-6)
    assert nd.norm(nd.array([[0, 0]])).asscalar() == 0
    assert np.isinf(nd.norm(nd.array([1, np.inf])).asscalar())


def test_half_precision_sums_in_single():
    x = nd.ones(70000, dtype="float16")
    assert nd.mean(x).asscalar() == 1 and nd.sum(x[:2049]).asscalar() in (2048, 2050)


def test_embedding_with_numbers_outside():
    w = nd.array([[1, 2], [3, 4]])
    w.attach_grad()
    with autograd.record():
        y = nd.Embedding(nd.array([[0, 9], [-3, 1]]), w, input_dim=2, output_dim=2, sparse_grad=True)
    y.backward()
    np.testing.assert_array_equal(y.asnumpy(), [[[1, 2], [3, 4]], [[1, 2], [3, 4]]])
    np.testing.assert_array_equal(w.grad.asnumpy(), [[2, 2], [2, 2]])
