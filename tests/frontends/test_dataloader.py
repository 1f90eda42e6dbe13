"""DataLoader: batches, worker processes and threads, and what they leave behind: nothing."""

import gc
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import MXNetError
from mxcore.gluon import data as D
from mxcore.gluon.data.dataloader import default_batchify_fn, default_mp_batchify_fn

SHM = Path("/dev/shm")
forked = pytest.mark.skipif(sys.platform != "linux", reason="uses what only forked workers see")


def blocks(pid=None):
    """Names of the shared memory that loaders of a process have."""
    return [p.name for p in SHM.glob(f"mxc{pid or os.getpid():x}_*")] if SHM.is_dir() else []


def workers():
    return [p for p in multiprocessing.active_children() if p.name.startswith("DataLoader worker")]


@pytest.fixture(autouse=True)
def nothing_left():
    """After each test there must be no worker and no shared memory."""
    yield
    gc.collect()
    assert workers() == []
    assert blocks() == []


def values(batch):
    if isinstance(batch, (list, tuple)):
        return [values(b) for b in batch]
    return batch.asnumpy().tolist()


class Numbers(D.Dataset):
    """Sample i is (a row of i's, i); what ``before(i)`` does happens first."""

    def __init__(self, length=10, before=None):
        self.length = length
        self.before = before

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        if self.before is not None:
            self.before(i)
        return np.full((2, 3), i, np.float32), int(i)


# ---------------------------------------------------------------- arguments, batchify
def test_arguments_that_contradict_each_other():
    ds = D.SimpleDataset(range(7))
    numbers = D.SequentialSampler(3)
    batches = D.BatchSampler(numbers, 2)
    for message, arguments in {
        "batch_size must be specified": {},
        "shuffle must not be specified if sampler": {"batch_size": 2, "shuffle": True, "sampler": numbers},
        "must not be specified if batch_sampler": {"batch_size": 2, "batch_sampler": batches},
        "sampler and last_batch must not": {"last_batch": "keep", "batch_sampler": batches},
        "shuffle, sampler and last_batch": {"shuffle": True, "batch_sampler": batches},
        "last_batch must be one of": {"batch_size": 2, "last_batch": "half"},
    }.items():
        with pytest.raises(ValueError, match=message):
            D.DataLoader(ds, **arguments)
    with pytest.raises(AssertionError, match="timeout must be positive"):
        D.DataLoader(ds, 2, timeout=0)


@pytest.mark.parametrize("batchify", [default_batchify_fn, default_mp_batchify_fn])
@pytest.mark.parametrize(("samples", "dtype", "expected"), [
    ([1, 2], "int64", [1, 2]),
    ([1.5, 2.5], "float64", [1.5, 2.5]),
    ([True, False], "bool", [True, False]),
    ([np.int32(1), np.int32(2)], "int32", [1, 2]),
    ([[1, 2], [3, 4]], "int64", [[1, 2], [3, 4]]),
    ([np.ones(2), np.zeros(2)], "float64", [[1, 1], [0, 0]]),
    ([np.ones(2, "i1")], "int8", [[1, 1]]),
    ([np.ones(2, "f2")], "float16", [[1, 1]]),
    ([np.array(2.0), np.array(3.0)], "float64", [2, 3]),
    ([np.ones((0, 3))], "float64", [[]]),
])
def test_types_of_batches(batchify, samples, dtype, expected):
    batch = batchify(samples)
    assert isinstance(batch, mx.nd.NDArray) and batch.dtype == np.dtype(dtype).type
    assert batch.asnumpy().tolist() == expected


def test_batchify_of_arrays_and_tuples():
    batch = default_batchify_fn([mx.nd.array([1, 2], dtype="uint8"), mx.nd.array([3, 4], dtype="uint8")])
    assert batch.dtype == np.uint8 and batch.asnumpy().tolist() == [[1, 2], [3, 4]]
    assert values(default_batchify_fn([((1, 2), 3), ((4, 5), 6)])) == [[[1, 4], [2, 5]], [3, 6]]
    mixed = default_batchify_fn([np.ones(2, "f4"), np.ones(2, "f8")])
    assert mixed.dtype == np.float64
    with mx.Context("cpu", 1):
        assert default_batchify_fn([1, 2]).context == mx.cpu(1)


def test_batchify_copies():
    sample = np.zeros(3, "f4")
    batch = default_batchify_fn([sample])
    sample[:] = 7
    assert batch.asnumpy().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("samples", "error", "message"), [
    ([np.ones(2), np.ones(3)], ValueError, r"differ in shape: \(2,\) and \(3,\)"),
    ([[1, 2], [3]], ValueError, "differ in length"),
    (["a", "b"], TypeError, "'a' of type str"),
    ([{"a": 1}], TypeError, "give the DataLoader a batchify_fn"),
    ([(1, 2), (3,)], ValueError, "different numbers of fields"),
    ([], IndexError, "at least one sample"),
])
def test_samples_that_make_no_batch(samples, error, message):
    with pytest.raises(error, match=message):
        default_batchify_fn(samples)


# ---------------------------------------------------------------- batches
@pytest.mark.parametrize("options", [
    {}, {"num_workers": 1}, {"num_workers": 3}, {"num_workers": 2, "prefetch": 0}, {"num_workers": 2, "prefetch": 7},
    {"num_workers": 2, "thread_pool": True}, {"num_workers": -1},
], ids=str)
def test_batches_come_in_order(options):
    loader = D.DataLoader(Numbers(), 4, **options)
    assert len(loader) == 3
    for _ in range(2):
        batches = list(loader)
        assert all(isinstance(b, list) and isinstance(b[0], mx.nd.NDArray) for b in batches)
        assert [values(label) for _, label in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert all((data.asnumpy()[:, 1, 2] == label.asnumpy()).all() for data, label in batches)
        assert batches[0][0].dtype == np.float32 and batches[0][1].dtype == np.int64


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 2, "thread_pool": True}], ids=str)
@pytest.mark.parametrize(("mode", "expected"), [
    ("keep", [[[0, 1, 2, 3], [4, 5]], [[0, 1, 2, 3], [4, 5]]]),
    ("discard", [[[0, 1, 2, 3]], [[0, 1, 2, 3]]]),
    ("rollover", [[[0, 1, 2, 3]], [[4, 5, 0, 1], [2, 3, 4, 5]]]),
])
def test_last_batch(options, mode, expected):
    loader = D.DataLoader(D.SimpleDataset(range(6)), 4, last_batch=mode, **options)
    assert [[values(b) for b in loader] for _ in range(2)] == expected


@pytest.mark.parametrize("options", [{"num_workers": 3}, {"num_workers": 3, "thread_pool": True}], ids=str)
def test_slow_samples_do_not_change_the_order(options):
    ds = Numbers(12, before=lambda i: time.sleep(0.1 if i % 5 == 0 else 0))
    assert [values(label) for _, label in D.DataLoader(ds, 2, **options)] == [[i, i + 1] for i in range(0, 12, 2)]


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}], ids=str)
def test_sources_of_samples(options):
    assert [values(b) for b in D.DataLoader(np.arange(5), 2, **options)] == [[0, 1], [2, 3], [4]]
    assert [values(b) for b in D.DataLoader(mx.nd.arange(6).reshape((3, 2)), 2, **options)] == [
        [[0, 1], [2, 3]], [[4, 5]]]
    batches = [[1, 2], (3,), np.array([4, 0])]
    assert [values(b) for b in D.DataLoader(range(6), batch_sampler=batches, **options)] == [[1, 2], [3], [4, 0]]
    assert list(D.DataLoader([], 2, **options)) == []


def test_whatever_a_batchify_function_makes_arrives():
    def batchify(samples):
        data = np.stack([s[0] for s in samples])
        return {"data": mx.nd.array(data), "numpy": (data, data[:, ::-1].T), "text": ["a", None, 2.5],
                "n": len(samples), "empty": np.zeros((0, 2), "i2"), "words": np.array(["x", "yz"]),
                "objects": np.array([1, "a"], object),
                "scalar": np.float16(0.5), "zero": np.array(3), "half": data.astype("f2")}

    here = list(D.DataLoader(Numbers(), 4, batchify_fn=batchify))
    there = list(D.DataLoader(Numbers(), 4, batchify_fn=batchify, num_workers=2))
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        assert a.keys() == b.keys()
        assert isinstance(b["data"], mx.nd.NDArray) and (a["data"].asnumpy() == b["data"].asnumpy()).all()
        assert isinstance(b["numpy"], tuple)
        assert all((x == y).all() for x, y in zip(a["numpy"], b["numpy"], strict=True))
        for key in ("empty", "words", "objects", "zero", "half"):
            assert b[key].dtype == a[key].dtype and b[key].shape == a[key].shape and (b[key] == a[key]).all()
        assert all(b[k] == a[k] for k in ("text", "n", "scalar"))


def test_bfloat16_travels():
    (batch,) = D.DataLoader(mx.nd.ones((2, 3), dtype="bfloat16"), 2, num_workers=1)
    assert batch.dtype == mx.nd.ones((1,), dtype="bfloat16").dtype and batch.shape == (2, 3)


def test_two_iterators_at_once():
    loader = D.DataLoader(range(10), 2, num_workers=2)
    pairs = [(values(a), values(b)) for a, b in zip(loader, loader, strict=True)]
    assert pairs == [([i, i + 1], [i, i + 1]) for i in range(0, 10, 2)]


def test_workers_neither_record_nor_use_the_current_context():
    class State(Numbers):
        def __getitem__(self, i):
            return int(mx.autograd.is_recording()), int(mx.autograd.is_training()), mx.current_context().device_id

    for options in ({"num_workers": 1}, {"num_workers": 1, "thread_pool": True}):
        with mx.autograd.record(), mx.cpu(3):
            assert [values(b) for b in D.DataLoader(State(2), 2, **options)] == [[[0, 0], [0, 0], [0, 0]]]


def test_pinned_memory():
    for options in ({}, {"num_workers": 1}):
        data, label = next(iter(D.DataLoader(Numbers(), 2, pin_memory=True, pin_device_id=0, **options)))
        assert data.context == mx.cpu_pinned(0) == label.context
        assert values(label) == [0, 1]


# ---------------------------------------------------------------- memory of batches
def test_held_batches_keep_their_values():
    ds = Numbers(200)
    held = list(D.DataLoader(ds, 2, num_workers=2))  # more than may stay in shared memory
    assert len(held) == 100
    assert all((data.asnumpy()[:, 0, 0] == [2 * i, 2 * i + 1]).all() for i, (data, _) in enumerate(held))
    first = held[0][0]
    first[:] = -1  # writable, and nobody else's
    assert (held[1][0].asnumpy()[:, 0, 0] == [2, 3]).all()


def test_a_view_keeps_the_memory_of_its_batch():
    iterator = iter(D.DataLoader(Numbers(60), 2, num_workers=2))
    view = next(iterator)[0][1:2]
    raw = np.from_dlpack(next(iterator)[0])
    for _ in iterator:
        pass
    assert (view.asnumpy() == 1).all()
    assert (raw[0] == 2).all() and (raw[1] == 3).all()


@forked
def test_blocks_are_used_again():
    loader = D.DataLoader(Numbers(200), 2, num_workers=2, prefetch=4)
    for _ in loader:
        pass
    assert 1 <= len(blocks()) <= 8


@forked
def test_blocks_that_are_too_small_are_replaced():
    sizes = [1, 2, 50, 3, 5000, 7, 200_000, 1, 300_000]
    loader = D.DataLoader(range(len(sizes)), 1, num_workers=2, prefetch=2,
                          batchify_fn=lambda s: np.full(sizes[s[0]], s[0], "i4"))
    for _ in range(3):
        assert [(len(b), set(b.tolist())) for b in loader] == [(n, {i}) for i, n in enumerate(sizes)]
    assert len(blocks()) <= 6


@forked
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_keeps_the_batches_that_it_inherits():
    loader = D.DataLoader(Numbers(60), 2, num_workers=2)
    iterator = iter(loader)
    batch = next(iterator)[0]
    go, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        os._exit(0 if (batch.asnumpy()[:, 0, 0] == [0, 1]).all() else 1)
    del batch
    for _ in iterator:
        pass
    os.write(tell, b"x")
    assert os.waitpid(child, 0)[1] == 0
    os.close(go)
    os.close(tell)


@forked
def test_too_little_shared_memory_is_said(monkeypatch):
    class Full:
        f_bavail, f_frsize = 1, 1

    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    with pytest.raises(MXNetError, match=r"needs .* MB of shared memory.*thread_pool=True"):
        list(D.DataLoader(Numbers(), 4, num_workers=1))


# ---------------------------------------------------------------- errors
def explode(i):
    if i == 5:
        raise KeyError("sample five")


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 2, "thread_pool": True}], ids=str)
def test_an_error_of_the_dataset_is_raised_here(options):
    loader = D.DataLoader(Numbers(before=explode), 2, **options)
    for _ in range(2):
        seen = []
        with pytest.raises(KeyError, match="sample five") as caught:
            seen.extend(values(label) for _, label in loader)
        if options.get("num_workers") and not options.get("thread_pool"):
            assert "in explode" in str(caught.value.__cause__)
    iterator = iter(loader)
    assert [values(next(iterator)[1]) for _ in range(2)] == [[0, 1], [2, 3]]


class PickyError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


@forked
def test_an_error_that_cannot_be_pickled():
    def fail(i):
        raise PickyError("this", "that")

    with pytest.raises(MXNetError, match="PickyError: this and that") as caught:
        list(D.DataLoader(Numbers(before=fail), 2, num_workers=1))
    assert "in fail" in str(caught.value.__cause__)


@forked
@pytest.mark.parametrize(("death", "message"), [
    (lambda: os._exit(7), "ended with exit code 7"),
    (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL, often because memory ran out"),
])
def test_a_worker_that_dies_is_reported(death, message):
    loader = D.DataLoader(Numbers(40, before=lambda i: death() if i == 9 else None), 2, num_workers=2)
    started = time.monotonic()
    with pytest.raises(MXNetError, match=rf"DataLoader worker \d \(process \d+\).*{message}"):
        list(loader)
    assert time.monotonic() - started < 20
    assert values(next(iter(loader))[1]) == [0, 1]  # new workers


@forked
def test_workers_killed_between_two_epochs():
    loader = D.DataLoader(range(8), 2, num_workers=2)
    list(loader)
    for process in workers():
        process.kill()
        process.join()
    with pytest.raises(MXNetError, match="SIGKILL"):
        list(loader)
    assert len(list(loader)) == 4


@pytest.mark.parametrize("options", [{}, {"thread_pool": True}], ids=str)
def test_a_slow_batch_times_out(options):
    loader = D.DataLoader(Numbers(before=lambda i: time.sleep(0.6)), 2, num_workers=1, timeout=0.2, **options)
    with pytest.raises(multiprocessing.TimeoutError, match=r"within 0.2 seconds") as caught:
        list(loader)
    assert isinstance(caught.value, MXNetError)


def test_a_timeout_of_the_dataset_itself_is_its_own_error():
    def fail(i):
        raise TimeoutError("disk")

    for options in ({}, {"thread_pool": True}):
        with pytest.raises(TimeoutError, match="disk"):
            list(D.DataLoader(Numbers(before=fail), 2, num_workers=1, **options))


# ---------------------------------------------------------------- ending
def test_an_iterator_left_half_way():
    loader = D.DataLoader(Numbers(100), 2, num_workers=2, prefetch=8)
    for stop in (1, 3, 30):
        iterator = iter(loader)
        for i in range(stop):
            assert values(next(iterator)[1]) == [2 * i, 2 * i + 1]
        del iterator
    assert [values(label)[0] for _, label in loader] == list(range(0, 100, 2))
    assert len(blocks()) <= 2 * (8 + 2)


def test_workers_end_with_their_loader():
    loader = D.DataLoader(Numbers(), 2, num_workers=2)
    held = next(iter(loader))
    assert len(workers()) == 2
    pids = [p.pid for p in workers()]
    del loader
    gc.collect()
    assert workers() == [] and blocks() == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert values(held[1]) == [0, 1]  # its memory outlives the name


def test_workers_stay_between_epochs():
    loader = D.DataLoader(Numbers(), 2, num_workers=2)
    list(loader)
    pids = {p.pid for p in workers()}
    list(loader)
    assert {p.pid for p in workers()} == pids and len(pids) == 2


def test_auto_reload_begins_the_next_epoch_early():
    seen = []
    ds = Numbers(4, before=seen.append)
    loader = D.DataLoader(ds, 1, num_workers=1, thread_pool=True, auto_reload=True, prefetch=2)

    def wait_for(count):
        deadline = time.monotonic() + 10
        while len(seen) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        return len(seen)

    assert wait_for(2) == 2  # before anybody asked
    assert [values(label) for _, label in loader] == [[0], [1], [2], [3]]
    assert wait_for(6) == 6
    loader.clean()
    loader.refresh()
    assert wait_for(8) == 8
    assert len(list(loader)) == 4
    loader.clean()
    lazy = D.DataLoader(ds, 1, num_workers=1, thread_pool=True)
    seen.clear()
    iter(lazy)
    time.sleep(0.05)
    assert seen == []


# ---------------------------------------------------------------- random numbers
def mx_uniform():
    """A number from the generator of mxcore."""
    return float(mx.nd.image.random_brightness(mx.nd.ones((1, 1, 1)), 0, 1).asscalar())


class Noise(D.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, i):
        import random

        return np.array([random.random(), np.random.rand(), mx_uniform()]), i


def seed(value):
    import random

    random.seed(value)
    np.random.seed(value)
    mx.random.seed(value)


@forked
def test_random_numbers_are_repeatable_and_all_different():
    def epochs(count, **options):
        seed(11)
        loader = D.DataLoader(Noise(), 3, num_workers=count, **options)
        return [[[values(b) for b in batch] for batch in loader] for _ in range(2)]

    two = epochs(2)
    assert epochs(2) == two == epochs(3, prefetch=1)
    for column in range(3):
        numbers = [row[column] for epoch in two for data, _ in epoch for row in data]
        assert len(set(numbers)) == len(numbers)


@forked
def test_each_generator_has_its_own_seed():
    def column(which, generator):
        generator(5)
        return [row[which] for data, _ in D.DataLoader(Noise(), 3, num_workers=2) for row in values(data)]

    import random

    for which, generator in enumerate((random.seed, np.random.seed, mx.random.seed)):
        assert column(which, generator) == column(which, generator)


@forked
def test_workers_do_not_change_the_shuffled_order():
    orders = []
    for count in (0, 2):
        np.random.seed(3)
        loader = D.DataLoader(range(20), 4, shuffle=True, num_workers=count)
        orders.append([[values(b) for b in loader] for _ in range(3)])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]
