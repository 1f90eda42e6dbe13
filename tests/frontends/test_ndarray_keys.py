"""Mixed, boolean and broadcast keys against NumPy; second order; what MXNet does where NumPy differs."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mxcore as mx
from mxcore import autograd, nd
from mxcore.testing import loopback

loopback.install()
SHAPE = (3, 4, 2)


def values(shape=SHAPE, dtype="float32"):
    return np.arange(1, np.prod(shape) + 1, dtype=dtype).reshape(shape)


def legacy(a):
    """There are no 0-dimensional arrays."""
    return np.reshape(a, (1,)) if np.ndim(a) == 0 else a


@st.composite
def mixed_keys(draw, shape=SHAPE):
    """Index arrays of shapes that broadcast, beside slices, integers, None and an ellipsis."""
    result = draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=3))
    count = draw(st.integers(1, len(shape)))
    key = []
    for n in shape[:count]:
        if draw(st.booleans()):
            own = tuple(draw(st.sampled_from([1, d])) for d in result[draw(st.integers(0, len(result) - 1)):])
            key.append(draw(hnp.arrays("int32", own, elements=st.integers(-n, n - 1))))
        else:
            bound = st.one_of(st.none(), st.integers(-n, n))
            key.append(draw(st.one_of(st.integers(-n, n - 1), st.builds(slice, bound, bound, st.sampled_from([None, -1, 2])))))
    assume(any(isinstance(k, np.ndarray) for k in key))
    for extra in draw(st.lists(st.sampled_from([None, Ellipsis]), max_size=2, unique_by=str)):
        if extra is None or count < len(shape):
            key.insert(draw(st.integers(0, len(key))) if extra is None else len(key), extra)
    return tuple(key)


def ours(key):
    return tuple(nd.array(k, dtype="int32") if isinstance(k, np.ndarray) else k for k in key)


@given(mixed_keys(), st.booleans())
def test_reading_with_mixed_keys(key, arrays):
    a = values()
    want = legacy(a[key])
    got = nd.array(a)[ours(key) if arrays else key]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.asnumpy(), want)


@given(mixed_keys(), st.booleans())
def test_writing_with_mixed_keys(key, number):
    a = values()
    x = nd.array(a)
    shape = a[key].shape
    a[key] = -7.0
    x[ours(key)] = -7.0 if number else nd.full(shape or (1,), -7) if 0 not in shape else np.zeros(shape)
    np.testing.assert_array_equal(x.asnumpy(), a)


@given(mixed_keys())
def test_gradients_of_mixed_keys(key):
    a = values(dtype="float64")
    x = nd.array(a, dtype="float64")
    x.attach_grad()
    with autograd.record():
        y = (x[ours(key)] ** 3).sum()
        g, = autograd.grad(y, x, create_graph=True) if np.size(a[key]) else (x * 0,)
        z = (g * g).sum()
    z.backward()
    first, count = np.zeros(SHAPE), np.zeros(SHAPE)
    np.add.at(first, key, 3 * a[key] ** 2)
    np.add.at(count, key, 1)
    np.testing.assert_allclose(g.asnumpy(), first)
    np.testing.assert_allclose(x.grad.asnumpy(), 2 * first * 6 * a * count)


@given(hnp.arrays(bool, st.sampled_from([(3,), (3, 4), SHAPE])), st.booleans())
def test_boolean_keys(mask, as_array):
    a = values()
    x = nd.array(a)
    key = nd.array(mask, dtype="bool") if as_array else mask
    assert x[key].shape == a[mask].shape
    np.testing.assert_array_equal(x[key].asnumpy(), a[mask])
    x.attach_grad()
    with autograd.record():
        y = x[key] * 2
    if mask.any():
        y.backward()
        wide = np.broadcast_to(mask.reshape(mask.shape + (1,) * (3 - mask.ndim)), SHAPE)
        np.testing.assert_array_equal(x.grad.asnumpy(), 2 * wide)
    x[key] = 0
    a[mask] = 0
    np.testing.assert_array_equal(x.asnumpy(), a)


@given(st.data())
def test_values_broadcast_when_assigned(data):
    a = values()
    key = data.draw(hnp.basic_indices(SHAPE, allow_ellipsis=True, allow_newaxis=True))
    shape = a[key].shape
    assume(0 not in shape)
    own = tuple(data.draw(st.sampled_from([1, n])) for n in shape[data.draw(st.integers(0, len(shape))):])
    value = data.draw(hnp.arrays("float32", own, elements=st.integers(-9, 9)))
    x = nd.array(a)
    x[key] = nd.array(value) if value.ndim else float(value)
    a[key] = value
    np.testing.assert_array_equal(x.asnumpy(), a)


def test_leading_ones_of_a_value_do_not_matter():
    x = nd.zeros((2, 3))
    x[1] = nd.array([[1, 2, 3]])
    x[0, 1:] = np.array([[[5, 6]]])
    assert x.asnumpy().tolist() == [[0, 5, 6], [1, 2, 3]]
    x[:] = [[7, 8, 9]]
    assert x.asnumpy().tolist() == [[7, 8, 9]] * 2


def test_values_take_the_type_of_the_array():
    x = nd.zeros(3, dtype="int32")
    x[0], x[1], x[2:] = 2.7, nd.array([-1.5]), np.array([True])
    assert x.dtype is np.int32 and x.asnumpy().tolist() == [2, -1, 1]
    b = nd.zeros(2, dtype="bool")
    b[0] = 5
    assert b.asnumpy().tolist() == [True, False]
    h = nd.zeros(1, dtype="bfloat16")
    h[:] = 1.5
    assert float(h) == 1.5


def test_numbers_that_indices_come_as():
    a = nd.array(values())
    for key in (np.int64(1), np.uint8(1), nd.array([1], dtype="int32"), nd.array([1]), [1], (np.int32(1),)):
        assert a[key].asnumpy().ravel().tolist() == a[1].asnumpy().ravel().tolist()
    assert a[1:nd.array([2], dtype="int32")].shape == (1, 4, 2)  # a bound that is an array
    assert a[nd.array([0, 2])].shape == (2, 4, 2)  # float32, as everything in MXNet
    assert a[:, [True, False, True, False]].shape == (3, 2, 2)
    assert a[range(2)].shape == (2, 4, 2)
    assert a[()].shape == SHAPE and a[...].shape == SHAPE and a[None].shape == (1, *SHAPE)
    assert a[0, 0, 0].shape == (1,) and a[0, 0, 0].asscalar() == 1


@pytest.mark.parametrize(("key", "words"), [
    (3, r"index 3 is out of bounds for axis 0 with size 3.*\(3, 4, 2\)"), (-4, "index -4 is out of bounds"),
    ((0, 4), "index 4 is out of bounds for axis 1"), ((Ellipsis, 2), "index 2 is out of bounds for axis 2"),
    ((0, 0, 0, 0), "too many indices.*3 dimensions.*4"), ((Ellipsis, 0, Ellipsis), "single ellipsis"),
    ("name", "integers, slices"), (1.5, "integers, slices"), (np.zeros((2, 4), bool), r"boolean|mismatch|match"),
    ([3], "3"), (["a"], "integers or booleans"), ({1: 2}, "integers, slices")])
def test_keys_that_are_wrong(key, words):
    a = nd.array(values())
    with pytest.raises(IndexError, match=words):
        a[key]
    before = a.asnumpy()
    with pytest.raises(IndexError):
        a[key] = 0
    np.testing.assert_array_equal(a.asnumpy(), before)


@pytest.mark.parametrize("value", ["text", object(), [[1], [1, 2]], {"a": 1}])
def test_values_that_are_no_arrays(value):
    with pytest.raises(TypeError, match="non-array-like"):
        nd.zeros(2)[:] = value


@pytest.mark.parametrize("key", [0, (slice(None), 1), (slice(0, 2), None, Ellipsis, slice(None, None, -1)), [0, 2],
                                 ([[0], [1]], [0, 1]), np.array([True, False, True])])
def test_on_a_backend_that_is_no_numpy(key):
    a = values()
    x = nd.array(a, ctx=mx.Context("loopback"))
    np.testing.assert_array_equal(x[key].asnumpy(), a[key])
    x.attach_grad()
    with autograd.record():
        y = x[key] * 3
    y.backward()
    want = np.zeros(SHAPE)
    np.add.at(want, key, 3)
    np.testing.assert_array_equal(x.grad.asnumpy(), want)
    x[key] = 5
    a[key] = 5
    np.testing.assert_array_equal(x.asnumpy(), a)


# ---------------------------------------------------------------- more elements than 2**31
def broadcast(shape, dtype="uint8"):
    """An array of any size whose elements are one number in memory: what counts is how places are computed."""
    one = np.zeros(1, dtype)
    return nd.NDArray(np.lib.stride_tricks.as_strided(one, shape, (0,) * len(shape)))


def test_large_arrays_are_indexed_by_64_bits():
    n = 2**31 + 7
    x = broadcast((n,))
    assert x.shape == (n,) and x.size == n and len(x) == n
    for key in (n - 1, -1, 2**31, slice(n - 3, None), slice(2**31 - 1, 2**31 + 2), slice(None, None, 2**30), ([n - 1, 0],),
                (Ellipsis, n - 2)):  # a key that is one bare list would copy all to be contiguous
        assert x[key].shape == legacy(x._data[key]).shape
    with pytest.raises(IndexError, match=str(n)):
        x[n]
    assert x[(nd.array([n - 1, -1], dtype="int64"),)].shape == (2,)
    wide = broadcast((2**20, 2**13))
    assert wide.size == 2**33
    assert wide[2**20 - 1, 5:9].shape == (4,)
    assert wide[:, 8191].shape == (2**20,)


def test_large_shapes_are_inferred():
    n = 2**31 + 8
    x = mx.sym.var("x")
    assert mx.sym.reshape(x, shape=(-1, 8)).infer_shape(x=(n,))[1] == [(n // 8, 8)]
    assert mx.sym.Flatten(x).infer_shape(x=(2, 2**20, 2**13))[1] == [(2, 2**33)]
    assert mx.sym.concat(x, x, dim=0).infer_shape(x=(n, 1))[1] == [(2 * n, 1)]
    assert mx.sym.slice_axis(x, axis=0, begin=n - 5, end=None).infer_shape(x=(n,))[1] == [(5,)]
    assert broadcast((n,)).reshape((8, -1)).shape == (8, n // 8)
    assert broadcast((2**20, 2**13)).reshape(-1).shape == (2**33,)


def test_memory_that_is_shared_is_in_c_order():
    """A kernel may give its result in any order of axes; views of it are views all the same."""
    host = np.arange(24.0, dtype="float32").reshape(2, 3, 4)
    for share in (lambda a: a.reshape((6, 4)), lambda a: a[0:1], lambda a: a.detach(), lambda a: a[1]):
        x = mx.nd.array(host)
        x._data = np.asfortranarray(x._data)
        view = share(x)
        view[:] = -1
        assert (view.asnumpy() == -1).all()
        assert (x.asnumpy() == -1).sum() == view.size
        y = mx.nd.array(host)
        y._data = np.asfortranarray(y._data)
        np.testing.assert_array_equal(share(y).asnumpy().ravel(), share(mx.nd.array(host)).asnumpy().ravel())
