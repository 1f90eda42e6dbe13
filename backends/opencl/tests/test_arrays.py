"""Views, layouts and functions on arrays that lie in memory in any way, against NumPy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxcore.dtype import dtype_of
from mxcore.errors import BoundsError, MXNetError, ShapeError

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def xp(machine):
    return machine.xp


def host(a):
    from mxcore_device.host import to_host

    return to_host(a)


def numbers(*shape):
    return np.random.default_rng(list(shape)).normal(size=shape).astype("float32")


@few
@given(st.data())
def test_views_are_those_of_numpy(xp, data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
    a = numbers(*shape)
    x = xp.asarray(a)
    for _ in range(3):
        kind = data.draw(st.sampled_from(["index", "transpose", "reshape"]))
        if kind == "index":
            key = data.draw(hnp.basic_indices(a.shape, allow_ellipsis=True, allow_newaxis=True, max_dims=5))
            a, x = np.asarray(a[key]), x[key]
        elif kind == "transpose":
            axes = data.draw(st.permutations(range(a.ndim)))
            a, x = a.transpose(axes), xp.transpose(x, axes)
        else:
            shape = (a.size,) if data.draw(st.booleans()) or not a.size else (1, *[n for n in a.shape if n > 1], 1)
            a, x = a.reshape(shape), xp.reshape(x, shape)
        assert x.shape == a.shape
        np.testing.assert_array_equal(host(x), a)
    np.testing.assert_array_equal(host(xp.negative(x)), -a)
    np.testing.assert_allclose(host(xp.sum(x)), a.sum(dtype="float64"), rtol=1e-5, atol=1e-5)


@few
@given(st.data())
def test_indices_that_are_arrays(xp, data):
    a = numbers(4, 3, 5)
    key = data.draw(hnp.integer_array_indices((4, 3), result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    form = data.draw(st.sampled_from([lambda i, j: (i, j), lambda i, j: (i, slice(None), 2), lambda i, j: (slice(None), j),
                                      lambda i, j: (0, slice(None, None, -1), i), lambda i, j: (i, j, slice(1, 4)),
                                      lambda i, j: (None, i, ..., j)]))
    key = form(*key)
    there = tuple(xp.asarray(k) if isinstance(k, np.ndarray) else k for k in key)
    want = a[key]
    np.testing.assert_array_equal(host(xp.getitem(xp.asarray(a), there)), want)
    values = numbers(*want.shape)
    x, b = xp.asarray(a), a.astype("float64")
    xp.add_at(x, there, xp.asarray(values))
    np.add.at(b, key, values)
    np.testing.assert_allclose(host(x), b, rtol=1e-5, atol=1e-6)


def test_writing_by_indices(xp):
    a, i = numbers(5, 4), np.array([3, 0, -1])
    x = xp.asarray(a)
    xp.setitem(x, (xp.asarray(i), slice(1, 3)), xp.asarray(numbers(3, 2)))
    a[i, 1:3] = numbers(3, 2)
    np.testing.assert_array_equal(host(x), a)
    xp.setitem(x, x > 0, 7.0)
    a[a > 0] = 7
    np.testing.assert_array_equal(host(x), a)


def test_views_share_memory_and_overlapping_copies_are_right(xp):
    a = np.arange(10, dtype="float32")
    x = xp.asarray(a)
    xp.setitem(x, slice(1, None), x[:-1])
    a[1:] = a[:-1].copy()
    np.testing.assert_array_equal(host(x), a)
    xp.copyto(x[::2], 0)
    assert host(x)[::2].sum() == 0 and host(x)[1::2].sum() > 0


@pytest.mark.parametrize("shape, axis", [((70000,), None), ((3, 20000), 1), ((20000, 3), 0), ((5, 300, 4), 1),
                                         ((2, 3, 4), (0, 2)), ((9000, 2), 1), ((0, 3), 0), ((4097, 3, 2), (0, 2))])
def test_reductions_of_all_lengths(xp, shape, axis):
    a = numbers(*shape)
    for view, x in ((a, xp.asarray(a)), (a.T, xp.transpose(xp.asarray(a)))):
        axes = axis if isinstance(axis, tuple | None) else (axis,)
        axes = axes if view is a or axes is None else tuple(a.ndim - 1 - i for i in axes)
        np.testing.assert_allclose(host(xp.sum(x, axis=axes)), view.sum(axis=axes, dtype="float64"), rtol=2e-5, atol=2e-4)
        if a.size:
            np.testing.assert_array_equal(host(xp.max(x, axis=axes)), view.max(axis=axes))
            np.testing.assert_array_equal(host(xp.any(x > 4, axis=axes)), (view > 4).any(axis=axes))


def test_nan_goes_through_maxima(xp):
    a = np.array([[1, np.nan, 3], [5, 2, 1]], "float32")
    np.testing.assert_array_equal(host(xp.max(xp.asarray(a), axis=1)), [np.nan, 5])
    np.testing.assert_array_equal(host(xp.maximum(xp.asarray(a), 2)), np.maximum(a, 2))
    np.testing.assert_array_equal(host(xp.argmax(xp.asarray(a), axis=1)), a.argmax(axis=1))


def test_more_axes_than_kernels_walk(xp):
    shape = (2, 3) * 5
    a = numbers(*shape)
    odd, even = a[(slice(None, None, 2), slice(None)) * 5], xp.asarray(a)[(slice(None, None, 2), slice(None)) * 5]
    np.testing.assert_array_equal(host(xp.negative(even)), -odd)


def test_errors(xp):
    from mxcore_device.source import layout

    x = xp.asarray(numbers(3, 4))
    with pytest.raises(BoundsError, match=r"index 7 .* axis 1 with size 4"):
        x[0, 7]
    with pytest.raises(BoundsError, match="too many indices"):
        x[0, 0, 0]
    with pytest.raises(ShapeError, match=r"\(3, 4\) into \(5,\)"):
        xp.reshape(x, (5,))
    with pytest.raises(ShapeError, match="broadcast"):
        xp.add(x, xp.asarray(numbers(5)))
    with pytest.raises(ShapeError, match="nothing along"):
        xp.max(xp.asarray(numbers(0, 3)), axis=0)
    for act in (bool, len, list, np.asarray):
        with pytest.raises(TypeError, match="raw array"):
            act(x)
    with pytest.raises(TypeError, match=r"xp\.getitem"):
        x[[0, 1]]
    with pytest.raises(MXNetError, match="2\\*\\*31"):
        layout((1 << 16, 1 << 16), (0, 0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_sums_at_places_are_rounded_once(machine, monkeypatch, dtype):
    """Small numbers that are added to one place one by one vanish in a short type."""
    monkeypatch.setattr(machine, "gpu", True)
    x, few = (machine.xp.full(shape, value, dtype_of(dtype)) for shape, value in (((3, 2), 16), ((4096, 2), 1 / 256)))
    machine.xp.add_at(x, (machine.xp.full((4096,), 1, "int64"),), few)
    assert host(x).astype(float).tolist() == [[16, 16], [32, 32], [16, 16]]
