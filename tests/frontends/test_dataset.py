"""Datasets and samplers; the figures in the tables are MXNet 1.9.1's."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxcore as mx
from mxcore.gluon import data as D


def plus_one(value):
    return value + 1


def test_methods_of_a_dataset():
    ds = D.SimpleDataset(list(range(7)))
    assert list(ds.filter(lambda v: v % 2 == 0)) == [0, 2, 4, 6]
    assert list(ds.transform(lambda v: v * 10)) == [0, 10, 20, 30, 40, 50, 60]
    assert list(ds.take(3)) == [0, 1, 2]
    assert list(ds.take(None)) == list(ds.take(100)) == list(range(7))
    assert list(ds.take(0)) == []
    assert list(ds.sample(D.SequentialSampler(3, 2))) == [2, 3, 4]
    assert ds[-1] == 6 and ds.take(3)[-1] == 2
    with pytest.raises(IndexError):
        ds.take(3)[3]


@given(st.integers(0, 40), st.integers(1, 9))
def test_shards_are_contiguous_and_whole(length, count):
    shards = [list(D.SimpleDataset(range(length)).shard(count, i)) for i in range(count)]
    assert [i for shard in shards for i in shard] == list(range(length))
    lengths = [len(s) for s in shards]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] - lengths[-1] <= 1


def test_errors_of_dataset_methods():
    ds = D.SimpleDataset(list(range(7)))
    for count, index in ((3, -1), (3, 3), (0, 0)):
        with pytest.raises(AssertionError, match="ndex"):
            ds.shard(count, index)
    with pytest.raises(TypeError, match="Invalid sampler type"):
        ds.sample([1, 2])
    with pytest.raises(ValueError, match="negative"):
        ds.take(-1)
    with pytest.raises(NotImplementedError):
        D.Dataset()[0]
    with pytest.raises(NotImplementedError):
        len(D.Dataset())


def test_transform_gets_tuples_as_arguments():
    pairs = D.ArrayDataset([1, 2, 3], [4, 5, 6])
    assert pairs[0] == (1, 4)
    assert list(pairs.transform(lambda a, b: a + b)) == [5, 7, 9]
    assert list(pairs.transform_first(lambda a: a * 10)) == [(10, 4), (20, 5), (30, 6)]
    assert list(D.SimpleDataset([1, 2]).transform_first(lambda a: a * 10)) == [10, 20]
    assert list(pairs.filter(lambda sample: sample[0] > 1)) == [(2, 5), (3, 6)]


def test_lazy_and_eager_transforms():
    calls = []

    def fn(value):
        calls.append(value)
        return -value

    ds = D.SimpleDataset([1, 2, 3])
    lazy = ds.transform(fn)
    assert calls == []
    assert lazy[1] == -2 and lazy[1] == -2 and calls == [2, 2]
    calls.clear()
    eager = ds.transform(fn, lazy=False)
    assert calls == [1, 2, 3]
    assert list(eager) == [-1, -2, -3] and calls == [1, 2, 3]
    assert isinstance(eager, D.SimpleDataset)


def test_array_dataset():
    x = mx.nd.arange(6).reshape((3, 2))
    image, label = D.ArrayDataset(x, mx.nd.arange(3))[1]
    assert isinstance(image, mx.nd.NDArray) and image.asnumpy().tolist() == [2, 3]
    assert type(label) is np.float32 and label == 1
    assert D.ArrayDataset(x)[2].asnumpy().tolist() == [4, 5]
    row, number = D.ArrayDataset(np.arange(6).reshape(3, 2), np.arange(3))[1]
    assert type(row) is np.ndarray and type(number) is np.int64
    nested = D.ArrayDataset(D.SimpleDataset([1, 2]), D.SimpleDataset([3, 4]).transform_first(plus_one))
    assert list(nested) == [(1, 4), (2, 5)]
    with pytest.raises(AssertionError, match="same length"):
        D.ArrayDataset([1, 2], [1, 2, 3])
    with pytest.raises(AssertionError, match="at least 1"):
        D.ArrayDataset()


def test_transformed_dataset_can_be_pickled():
    ds = D.ArrayDataset([1, 2], [3, 4]).transform_first(plus_one).shard(2, 1)
    assert list(pickle.loads(pickle.dumps(ds))) == list(ds)


# ---------------------------------------------------------------- samplers
def test_sequential_filter_and_interval_samplers():
    assert list(D.SequentialSampler(3)) == [0, 1, 2]
    assert list(D.SequentialSampler(3, 2)) == [2, 3, 4] and len(D.SequentialSampler(3, 2)) == 3
    chosen = D.FilterSampler(lambda v: v > 4, D.SimpleDataset(range(7)))
    assert list(chosen) == [5, 6] and len(chosen) == 2
    assert list(D.IntervalSampler(13, 3)) == [0, 3, 6, 9, 12, 1, 4, 7, 10, 2, 5, 8, 11]
    assert list(D.IntervalSampler(13, 3, rollover=False)) == [0, 3, 6, 9, 12]
    with pytest.raises(AssertionError, match="smaller than or equal"):
        D.IntervalSampler(3, 5)


@given(st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_length_of_interval_sampler(length, interval, rollover):
    if interval <= length:
        sampler = D.IntervalSampler(length, interval, rollover)
        assert len(list(sampler)) == len(sampler)


def test_random_sampler_gives_the_order_that_mxnet_gives():
    state = np.random.get_state()
    try:
        np.random.seed(3)
        sampler = D.RandomSampler(5)
        assert [list(sampler), list(sampler)] == [[3, 4, 1, 0, 2], [2, 1, 3, 4, 0]]
    finally:
        np.random.set_state(state)
    assert len(sampler) == 5 and type(next(iter(sampler))) is np.int64


def test_batch_sampler():
    numbers = D.SequentialSampler(7)
    assert list(D.BatchSampler(numbers, 3, "keep")) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(D.BatchSampler(numbers, 3, "discard")) == [[0, 1, 2], [3, 4, 5]]
    rolling = D.BatchSampler(numbers, 3, "rollover")
    assert [(len(rolling), list(rolling), len(rolling)) for _ in range(4)] == [
        (2, [[0, 1, 2], [3, 4, 5]], 2), (2, [[6, 0, 1], [2, 3, 4]], 3), (3, [[5, 6, 0], [1, 2, 3], [4, 5, 6]], 2),
        (2, [[0, 1, 2], [3, 4, 5]], 2)]
    assert [len(D.BatchSampler(numbers, 3, m)) for m in ("keep", "discard", "rollover")] == [3, 2, 2]
    with pytest.raises(ValueError, match="last_batch must be one of 'keep', 'discard', or 'rollover', but got foo"):
        D.BatchSampler(numbers, 3, "foo")
    with pytest.raises(ValueError, match="batch_size"):
        D.BatchSampler(numbers, 0)


@given(st.integers(0, 30), st.integers(1, 8), st.sampled_from(["keep", "discard", "rollover"]), st.integers(1, 4))
def test_length_of_batch_sampler(length, size, mode, passes):
    sampler = D.BatchSampler(D.SequentialSampler(length), size, mode)
    seen = []
    for _ in range(passes):
        expected = len(sampler)
        batches = list(sampler)
        assert len(batches) == expected
        assert all(len(b) == size for b in (batches[:-1] if mode == "keep" else batches))
        seen += [i for batch in batches for i in batch]
    if mode == "rollover":
        assert seen == (list(range(length)) * passes)[:len(seen)]
        assert length * passes - len(seen) < size
