"""Sorting, counting and searching by CuPy: no fallback, NumPy's results. The shared kernels, too, run as CUDA."""

import numpy as np
import pytest

import mxcore as mx
from mxcore_device.arrays import from_host
from mxcore_device.host import to_host


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


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
@pytest.mark.parametrize("n", [300, 2500])
def test_the_shared_kernels(machine, monkeypatch, dtype, n):
    monkeypatch.setattr(machine, "ordering", lambda function: None)
    xp, a = machine.xp, np.random.default_rng(0).integers(-60, 60, (2, n)).astype(dtype)
    x = xp.asarray(a)
    assert (to_host(xp.argsort(x, 1)) == np.argsort(a, 1, kind="stable")).all()
    assert (to_host(xp.sort(x, axis=0)) == np.sort(a, 0)).all()
    order = n - 1 - np.argsort(a[:, ::-1], 1, kind="stable")[:, ::-1]
    assert (to_host(xp.argtop(x, 3, 1, True)) == order[:, :3]).all()
    for one, other in zip(xp.nonzero(x), np.nonzero(a), strict=True):
        assert (to_host(one) == other).all()
    for one, other in zip(xp.unique(x, return_inverse=True, return_counts=True), np.unique(a, False, True, True), strict=True):
        assert (to_host(one) == other).all()
    assert (to_host(xp.searchsorted(xp.sort(x[0]), x, side="right")) == np.searchsorted(np.sort(a[0]), a, "right")).all()
    counted = (a[0] % 20).astype("int32")
    got = xp.bincount(xp.asarray(counted), weights=x[1])
    assert (to_host(got) == np.bincount(counted, a[1])).all()


def test_rows_of_one_memory_get_their_own(machine, monkeypatch):
    """CuPy gives the places along each axis as rows of one array, which begin anywhere."""
    from mxcore_cupy.repeats import ALIGNED

    rows = np.zeros((3, 5), np.float32)
    rows[[0, 1, 2], [4, 0, 3]] = 1
    for k in range(4):
        found = machine.xp.nonzero(from_host(machine, np.roll(rows, k, 1)))
        assert all(a.memory.ptr % ALIGNED == 0 and not a.offset for a in found)
        assert [to_host(machine.xp.multiply(a, 2)).tolist() for a in found] == \
            [(2 * i).tolist() for i in np.nonzero(np.roll(rows, k, 1))]


def test_on_the_device_of_the_array(device, host):
    for index in range(host.DEVICES):
        x = mx.nd.array([3, 1, 2], ctx=mx.Context("cuda", index))
        assert mx.nd.sort(x).ctx == x.ctx and (mx.nd.sort(x) + x).asnumpy().tolist() == [4, 3, 5]
