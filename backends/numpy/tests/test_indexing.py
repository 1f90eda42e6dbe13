"""Bound indexing against the generic kernels: any axis, mode, type of index; indices outside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxcore import nd
from mxcore.registry import OPS
from mxcore.registry.bound import Spec, plain_order
from mxcore_numpy.kernels import indexing
from mxcore_numpy.xp import XP

INDEX_TYPES = st.sampled_from(["float32", "float64", "int32", "int64", "uint8", "int8"])


def spec(array):
    return Spec(array.shape, array.dtype, plain_order(array.ndim))


def check(bind, name, arrays, attrs):
    """What is bound gives, again and again, what the generic kernel gives; None if nothing is bound."""
    op = OPS[name]
    parsed = op.parse(attrs)
    want = op.fn(XP, *arrays, **parsed)
    bound = bind([spec(a) for a in arrays], [spec(want)], parsed, False)
    if bound is None:
        return None
    for _ in range(2):
        out = np.full(want.shape, 77, want.dtype)
        bound.run(arrays, [out])
        assert np.array_equal(out, want)
    assert bound.out_orders == [plain_order(want.ndim)]
    return bound


def indices(data, shape, n):
    dtype = np.dtype(data.draw(INDEX_TYPES))
    low = 0 if dtype.kind == "u" else -2 * n
    values = data.draw(st.lists(st.integers(low, 2 * n), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    found = np.array(values).reshape(shape)
    return (found + (0.5 * np.sign(found) if dtype.kind == "f" else 0)).astype(dtype)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), mode=st.sampled_from(["clip", "wrap"]))
def test_pick_and_its_gradient(data, shape, mode):
    nd.ones(1)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    array = np.arange(np.prod(shape), dtype=data.draw(st.sampled_from(["float32", "float64", "int32", "float16"]))).reshape(shape)
    wide = [1 if i == axis % len(shape) else d for i, d in enumerate(shape)]
    narrow = [d for i, d in enumerate(shape) if i != axis % len(shape)] or [1]
    index = indices(data, data.draw(st.sampled_from([wide, narrow])), shape[axis])
    attrs = {"axis": axis, "mode": mode}
    assert check(indexing.bind_pick, "pick", [array, index], {**attrs, "keepdims": data.draw(st.booleans())}) is not None
    head = np.arange(1, index.size + 1).astype(array.dtype).reshape(narrow)
    assert check(indexing.bind_pick_back, "_backward_pick", [head, array, index], attrs) is not None


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), places=st.lists(st.integers(1, 4), max_size=3))
def test_take_and_embedding(data, shape, places):
    table = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    index = indices(data, places, shape[0])
    for mode in ("clip", "wrap"):
        assert check(indexing.bind_take, "take", [table, index], {"mode": mode}) is not None
        head = np.arange(1, index.size * table[0].size + 1, dtype=np.float32).reshape((*index.shape, *shape[1:]))
        assert check(indexing.bind_take_back, "_backward_take", [head, table, index], {"mode": mode}) is not None
    if len(shape) == 2:
        sizes = {"input_dim": shape[0], "output_dim": shape[1]}
        assert check(indexing.bind_embedding, "Embedding", [index, table], sizes) is not None


def test_what_is_not_bound(monkeypatch):
    table, index = np.ones((3, 4), np.float32), np.zeros(3, np.float32)
    assert check(indexing.bind_take, "take", [table, index], {"axis": 1}) is None
    assert check(indexing.bind_take, "take", [table, index], {"mode": "raise"}) is None
    heads = np.ones((3, 3), np.float32), np.ones((3, 4), np.float16)
    assert check(indexing.bind_take_back, "_backward_take", [heads[0], table, index], {"axis": 1}) is None
    assert check(indexing.bind_take_back, "_backward_take", [heads[1], table, index], {}) is None
    assert check(indexing.bind_pick, "pick", [table[:0], index[:0]], {"axis": 1}) is None
    monkeypatch.setattr(indexing, "_MOST", 2)
    assert check(indexing.bind_pick, "pick", [table, index], {"axis": 1}) is None
    bound = [Spec((2, 3), table.dtype, (0, 1)), Spec((2,), index.dtype, (0,))]
    attrs = OPS["Embedding"].parse({"input_dim": 4, "output_dim": 3})
    assert indexing.bind_embedding(bound[::-1], [Spec((2, 3), table.dtype, (0, 1))], attrs, False) is None


@pytest.mark.parametrize("hybrid", [False, True])
def test_inside_a_net(hybrid):
    from mxcore import autograd, gluon

    net, loss = gluon.nn.Embedding(7, 5), gluon.loss.SoftmaxCrossEntropyLoss()
    net.initialize()
    net.weight.set_data(nd.arange(35).reshape((7, 5)) / 10)
    if hybrid:
        net.hybridize()
        loss.hybridize()
    with autograd.record():
        value = loss(net(nd.array([1, 6, 1])), nd.array([4, 0, 2]))
    value.backward()
    x = (np.arange(35).reshape(7, 5) / 10)[[1, 6, 1]]
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(value.asnumpy(), -np.log(p[range(3), [4, 0, 2]]), rtol=1e-5)
    p[range(3), [4, 0, 2]] -= 1
    want = np.zeros((7, 5))
    np.add.at(want, [1, 6, 1], p)
    np.testing.assert_allclose(net.weight.grad().asnumpy(), want, rtol=1e-4, atol=1e-5)
