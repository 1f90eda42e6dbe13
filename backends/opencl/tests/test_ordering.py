"""Sorting, counting and searching by kernels, as on a graphics processor: NumPy's results to the bit, nothing on the host."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mxcore as mx
from mxcore import nd
from mxcore.dtype import CODES, dtype_of
from mxcore.errors import ArgumentError, DTypeError, KernelMissingError, ShapeError
from mxcore_device import sorting
from mxcore_device.host import to_host
from mxcore_numpy.xp import XP as NUMPY

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TYPES = [dtype_of(name) for name in CODES]
INTEGERS = [d for d in TYPES if d.kind in "iu"]
#: short lines, long ones, and what lies between tiles
LENGTHS = [1, 2, 64, 511, 512, 513, 1024, 1025, 2500]


@pytest.fixture(autouse=True)
def on_the_device(machine, monkeypatch):
    """Kernels only: what would run on the host raises."""
    monkeypatch.setattr(machine, "gpu", True)
    monkeypatch.setenv("MXCORE_FALLBACK", "error")


def pool(dtype):
    """Numbers that are special to a type, and a few that will often come twice."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.min + 1, 0, 1, 2, 77, info.max - 1, info.max], dtype)
    return np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1.5, -2.25, 6e-8, -6e-8, 3e4], dtype)


def drawn(dtype, *shape):
    """Random elements of the pool, and for the larger types others too."""
    rng = np.random.default_rng(list(shape))
    a = rng.choice(pool(dtype), shape)
    other = rng.random(shape) < 0.6
    a[other] = (rng.normal(size=shape)[other] * 50).astype("int8").astype(dtype)
    return a


@st.composite
def arrays(draw, dtypes=TYPES, min_dims=1, max_dims=3, max_side=9):
    """An array, and a view of it: a part of it, or its transpose."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=0, max_side=max_side))
    values = pool(dtype)
    a = values[draw(hnp.arrays(np.int8, shape, elements=st.integers(0, len(values) - 1)))]
    key = draw(st.sampled_from([..., (..., slice(None, None, -2)), slice(1, None), None]))
    return a, key


def view(a, key, xp):
    """The part of an array, of NumPy or a device."""
    return xp.transpose(a) if key is None else a[key]


def comparable(a):
    """In a type that NumPy sorts with nan last."""
    return a.astype("float32") if a.dtype.name == "bfloat16" else a


def stable(a, axis):
    return np.argsort(comparable(a), axis=axis, kind="stable")


def same(got, want):
    """Equal in type, shape and every bit (signs of zeros, too)."""
    got, want = to_host(got), np.ascontiguousarray(want).reshape(np.shape(want))
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert got.tobytes() == want.tobytes()


# ---------------------------------------------------------------- order
@few
@given(arrays(), st.data())
def test_sort_and_argsort(machine, drawn, data):
    xp, (a, key) = machine.xp, drawn
    x, a = view(xp.asarray(a), key, xp), view(a, key, np)
    axis = data.draw(st.sampled_from([None, *range(-a.ndim, a.ndim)]))
    order = stable(a, axis)
    same(xp.argsort(x, axis), order)
    same(xp.sort(x, axis=axis), np.take_along_axis(a.reshape(-1) if axis is None else a, order, axis or 0))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", [dtype_of(n) for n in ("int8", "float16", "float32", "int64")], ids=str)
def test_lengths_of_lines(machine, dtype, n):
    xp, a = machine.xp, drawn(dtype, 3, n)
    for lines, axis in ((a, 1), (a.T, 0)):
        order = stable(lines, axis)
        same(xp.argsort(xp.asarray(lines), axis=axis), order)
        same(xp.sort(xp.asarray(lines), axis=axis), np.take_along_axis(lines, order, axis))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_long_line(machine, dtype):
    a = drawn(dtype, 100_003)
    order = stable(a, 0)
    same(machine.xp.argsort(machine.xp.asarray(a), axis=0), order)
    same(machine.xp.sort(machine.xp.asarray(a)), a[order])


def test_many_lines(machine):
    a = np.random.default_rng(0).normal(size=(700, 600)).astype("float32")
    same(machine.xp.sort(machine.xp.asarray(a)[:, ::-1]), np.sort(a[:, ::-1]))


@few
@given(arrays(), st.booleans(), st.data())
def test_argtop(machine, drawn, largest, data):
    a, key = drawn
    x, a = view(machine.xp.asarray(a), key, machine.xp), view(a, key, np)
    axis = data.draw(st.integers(0, a.ndim - 1))
    k = data.draw(st.integers(0, a.shape[axis]))
    lines = np.flip(comparable(a), axis) if largest else comparable(a)  # backwards, so that equal ones keep their order
    order = np.flip(a.shape[axis] - 1 - stable(lines, axis), axis) if largest else stable(lines, axis)
    same(machine.xp.argtop(x, k, axis, largest), order.take(range(k), axis))


@pytest.mark.parametrize("n, k", [(512, 200), (513, 1), (5000, 128), (5000, 129), (5000, 5000), (300_007, 10)])
@pytest.mark.parametrize("largest", [False, True])
def test_few_of_a_long_line(machine, n, k, largest):
    a = drawn(np.dtype("float32"), 2, n)
    same(machine.xp.argtop(machine.xp.asarray(a), k, 1, largest), NUMPY.argtop(a, k, 1, largest))


@pytest.mark.parametrize("n", [0, 1, 1023, 1024, 1025, (1 << 20) + 5])
def test_running_sums(machine, n):
    counts = np.random.default_rng(0).integers(0, 4, n).astype("int32")
    same(sorting.scanned(machine.xp.asarray(counts)), np.concatenate([[0], np.cumsum(counts)]).astype("int32"))


# ---------------------------------------------------------------- what is not zero
@few
@given(arrays())
def test_nonzero(machine, drawn):
    a, key = drawn
    got, want = machine.xp.nonzero(view(machine.xp.asarray(a), key, machine.xp)), np.nonzero(view(a, key, np))
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        same(one, other)


def test_nonzero_of_much_and_of_a_number(machine):
    a = drawn(np.dtype("float32"), 41, 50, 60)
    for got, want in zip(machine.xp.nonzero(machine.xp.asarray(a)), np.nonzero(a), strict=True):
        same(got, want)
    with pytest.raises(ShapeError, match="without axes"):
        machine.xp.nonzero(machine.xp.scalar(1, "float32"))


def test_indices_that_are_truth_values(machine):
    xp, a = machine.xp, np.arange(3000.0).reshape(300, 10).astype("float32")
    x, mask = xp.asarray(a), a % 7 == 0
    same(xp.getitem(x, xp.asarray(mask)), a[mask])
    same(xp.getitem(x, (xp.asarray(mask[:, 0]), slice(2, 4))), a[mask[:, 0], 2:4])
    values = np.arange(mask.sum(), dtype="float32")
    xp.setitem(x, xp.asarray(mask), xp.asarray(values))
    a[mask] = values
    same(x, a)


# ---------------------------------------------------------------- search, counts
@few
@given(arrays(max_dims=1, max_side=30), arrays(min_dims=0), st.sampled_from(["left", "right"]))
def test_searchsorted(machine, line, wanted, side):
    a, v = line[0], wanted[0]
    a = a[stable(a, 0)]
    assume(a.dtype == v.dtype or "bfloat16" not in (a.dtype.name, v.dtype.name))  # it has no common type with most
    dtype = np.result_type(a.dtype, v.dtype)
    x = machine.xp.searchsorted(machine.xp.asarray(a), machine.xp.asarray(v), side=side)
    same(x, np.searchsorted(comparable(a.astype(dtype)), comparable(v.astype(dtype)), side))


def test_searchsorted_refuses(machine):
    x = machine.xp.asarray(np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="one axis"):
        machine.xp.searchsorted(x, x)
    with pytest.raises(ArgumentError, match="left and right"):
        machine.xp.searchsorted(x[0], x, side="top")


@few
@given(st.sampled_from([np.dtype(bool), *INTEGERS]), st.data())
def test_bincount(machine, dtype, data):
    if dtype.name == "uint64":
        dtype = np.dtype("uint32")
    top = 1 if dtype.kind == "b" else data.draw(st.sampled_from([0, 1, 15, 16, 120]))
    a = data.draw(hnp.arrays(np.int64, st.integers(0, 700), elements=st.integers(0, top))).astype(dtype)
    least = data.draw(st.sampled_from([0, 7, 200]))
    same(machine.xp.bincount(machine.xp.asarray(a), minlength=least), np.bincount(a, minlength=least))
    weights = np.random.default_rng(0).integers(-9, 9, a.shape).astype("float32")  # whose sums are exact
    got = machine.xp.bincount(machine.xp.asarray(a), machine.xp.asarray(weights), minlength=least)
    same(got, np.bincount(a, weights, minlength=least).astype("float64"))  # NumPy's is int64 where there is nothing


def test_bincount_of_much(machine):
    a = np.random.default_rng(0).integers(0, 3000, 100_003)
    same(machine.xp.bincount(machine.xp.asarray(a)[::-1]), np.bincount(a))
    weights = np.random.default_rng(1).normal(size=a.shape)
    got = to_host(machine.xp.bincount(machine.xp.asarray(a % 3), weights=machine.xp.asarray(weights)))
    np.testing.assert_allclose(got, np.bincount(a % 3, weights), rtol=1e-10)


def test_bincount_refuses(machine):
    xp = machine.xp
    x = xp.asarray(np.array([3, 1]))
    with pytest.raises(ArgumentError, match="-2 is among them"):
        xp.bincount(xp.asarray(np.array([3, -2])))
    with pytest.raises(ArgumentError, match="minlength=-1"):
        xp.bincount(x, minlength=-1)
    with pytest.raises(DTypeError, match="not float32"):
        xp.bincount(xp.astype(x, "float32"))
    with pytest.raises(ShapeError, match="one axis"):
        xp.bincount(x[None])
    with pytest.raises(ShapeError, match="weights of shape"):
        xp.bincount(x, xp.asarray(np.zeros(3)))


@few
@given(arrays(min_dims=0), st.lists(st.sampled_from(["return_index", "return_inverse", "return_counts"]), unique=True))
def test_unique(machine, drawn, options):
    a, key = drawn
    if a.ndim:
        x, a = view(machine.xp.asarray(a), key, machine.xp), view(a, key, np)
    else:
        x = machine.xp.asarray(a)
    got = machine.xp.unique(x, **dict.fromkeys(options, True))
    everything = np.unique(comparable(a), True, True, True)  # values by the first of equal ones: zeros have signs
    want = [a.reshape(-1)[everything[1]]]
    want += [r for name, r in zip(("return_index", "return_inverse", "return_counts"), everything[1:], strict=True)
             if name in options]
    for one, other in zip(got if options else [got], want, strict=True):
        same(one, other)


def test_unique_of_much(machine):
    a = np.random.default_rng(0).integers(-900, 900, (300, 101)).astype("int16")
    want = np.unique(a, return_index=True, return_inverse=True, return_counts=True)
    got = machine.xp.unique(machine.xp.asarray(a), return_index=True, return_inverse=True, return_counts=True)
    for one, other in zip(got, want, strict=True):
        same(one, other)


def test_other_options_of_unique_are_on_the_host(machine, monkeypatch):
    a = np.array([[1, 2], [1, 2], [0, 2]])
    with pytest.raises(KernelMissingError, match="'unique'"):
        machine.xp.unique(machine.xp.asarray(a), axis=0)
    monkeypatch.setenv("MXCORE_FALLBACK", "allow")
    same(machine.xp.unique(machine.xp.asarray(a), axis=0), np.unique(a, axis=0))


# ---------------------------------------------------------------- operators, other devices
def test_operators(device):
    a = np.random.default_rng(0).integers(-40, 40, (3, 700)).astype("float32")
    want, got = [], []
    for ctx, results in ((mx.cpu(), want), (device, got)):
        x = nd.array(a, ctx=ctx)
        x.attach_grad()
        with mx.autograd.record():
            made = [nd.topk(x, k=5, ret_typ="both", dtype="int32"), nd.topk(x, k=9, ret_typ="mask"),
                    nd.sort(x, is_ascend=False), nd.argsort(x, axis=0, dtype="int32"),
                    nd.contrib.boolean_mask(x, x[:, 0] > x[:, 1], axis=0), nd.histogram(x, bins=9, range=(-30, 30))]
            total = made[0][0].sum() * 2 + (made[2] * made[2]).sum() + made[4].sum()
        total.backward()
        flat = [y for group in made for y in (group if isinstance(group, (list, tuple)) else [group])]
        results += [y.asnumpy() for y in (*flat, x.grad)]
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n", [40, 3000])
def test_calls_that_are_repeated(device, n):
    """The launches of known calls are repeated with other numbers; how many results there are is read anew."""
    for turn in range(5):
        a = np.random.default_rng(turn).permutation(n).astype("float32")
        x, mask = nd.array(a, ctx=device), a % (turn + 2) == 0
        np.testing.assert_array_equal(nd.sort(x).asnumpy(), np.arange(n))
        np.testing.assert_array_equal(nd.topk(x, k=3, dtype="int32").asnumpy(), np.argsort(-a)[:3])
        chosen = nd.contrib.boolean_mask(x, nd.array(mask.astype("float32"), ctx=device))
        np.testing.assert_array_equal(chosen.asnumpy(), a[mask])
        counts, _ = nd.histogram(x, bins=3, range=(0, n / (turn + 1)))
        np.testing.assert_array_equal(counts.asnumpy(), np.histogram(a, 3, (0, n / (turn + 1)))[0])


@pytest.mark.parametrize("gpu", [True, False])
def test_devices_that_are_cpus_leave_it_to_numpy(machine, monkeypatch, gpu):
    monkeypatch.setattr(machine, "gpu", gpu)
    xp, a = machine.xp, np.array([3, 1, 2, 1])
    x, fallbacks, before = xp.asarray(a), mx.runtime.fallbacks(), mx.runtime.routed()
    same(xp.sort(x), np.sort(a))
    same(xp.bincount(x, weights=x), np.bincount(a, weights=a))
    assert mx.runtime.fallbacks() == fallbacks
    new = {key: count - before.get(key, 0) for key, count in mx.runtime.routed().items() if count != before.get(key)}
    assert new == ({} if gpu else {("opencl", "sort"): 1, ("opencl", "bincount"): 1})


def test_order_needs_no_doubles(machine, monkeypatch):
    monkeypatch.setattr(machine, "fp64", False)
    xp, a = machine.xp, drawn(np.dtype("float64"), 3000)
    x = xp.asarray(a)
    same(xp.sort(x), a[stable(a, 0)])
    same(xp.nonzero(x)[0], np.nonzero(a)[0])
    same(xp.searchsorted(xp.sort(x), x), np.searchsorted(np.sort(a), a))
    index = xp.asarray(np.arange(3000))
    with pytest.raises(KernelMissingError, match="'bincount'"):  # sums do
        xp.bincount(index, x)
    monkeypatch.setenv("MXCORE_FALLBACK", "allow")
    same(xp.bincount(index, x), np.bincount(np.arange(3000), a))
