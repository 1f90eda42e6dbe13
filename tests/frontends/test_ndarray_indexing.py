"""``x[key]`` and ``x[key] = value`` against NumPy, for keys of every kind; what aliases and what does not; gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxcore import autograd, nd
from mxcore.errors import MXNetError

SHAPES = ((4,), (3, 4), (2, 3, 4), (1, 5, 2))


@st.composite
def basic_keys(draw, shape):
    """Integers, slices, None and an ellipsis; never more indices than axes."""
    def one(n):
        bound = st.one_of(st.none(), st.integers(-n - 1, n + 1))
        return draw(st.one_of(
            st.integers(-n, n - 1), st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, -1, -2]))))

    front = draw(st.integers(0, len(shape)))
    back = draw(st.integers(front, len(shape)))
    key = [one(n) for n in shape[:front]]
    if back < len(shape) or not key:
        key += [Ellipsis, *[one(n) for n in shape[back:]]]
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), None)
    return tuple(key) if len(key) > 1 or draw(st.booleans()) else key[0]


@st.composite
def array_keys(draw, shape):
    """Lists of indices for some axes, slices or integers for others."""
    rows = draw(st.integers(1, 3))
    key = []
    for n in shape[: draw(st.integers(1, len(shape)))]:
        indices = st.lists(st.integers(-n, n - 1), min_size=rows, max_size=rows)
        key.append(draw(st.one_of(indices, indices, st.just(slice(None)), st.integers(0, n - 1))))
    if not any(isinstance(k, list) for k in key):
        key[0] = [0] * rows
    return tuple(key)


def _values(shape):
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


def _legacy(a):
    """There are no 0-dimensional arrays."""
    return np.reshape(a, (1,)) if np.ndim(a) == 0 else a


@given(st.data(), st.sampled_from(SHAPES))
def test_reading_with_basic_keys(data, shape):
    key, a = data.draw(basic_keys(shape)), _values(shape)
    got = nd.array(a)[key].asnumpy()
    np.testing.assert_array_equal(got, _legacy(a[key]))
    assert got.shape == _legacy(a[key]).shape


@given(st.data(), st.sampled_from(SHAPES))
def test_reading_with_index_arrays(data, shape):
    key, a = data.draw(array_keys(shape)), _values(shape)
    as_arrays = tuple(nd.array(k, dtype="int32") if isinstance(k, list) else k for k in key)
    for k in (key, as_arrays):
        got = nd.array(a)[k].asnumpy()
        np.testing.assert_array_equal(got, a[key])
        assert got.shape == a[key].shape


@given(st.data(), st.sampled_from(SHAPES), st.booleans())
def test_writing(data, shape, number):
    keys = data.draw(st.sampled_from([basic_keys, array_keys]))
    key, a = data.draw(keys(shape)), _values(shape)
    x, value = nd.array(a), 7.0 if number else -_values(np.shape(a[key]))
    if keys is array_keys and not number:
        value = -np.ones_like(value)  # a place that is named twice keeps one of its values
    x[key] = value if number or np.ndim(value) == 0 else nd.array(value)
    a[key] = value
    np.testing.assert_array_equal(x.asnumpy(), a)


@given(st.data(), st.sampled_from(SHAPES))
def test_gradients(data, shape):
    keys = data.draw(st.sampled_from([basic_keys, array_keys]))
    key, a = data.draw(keys(shape)), _values(shape)
    x = nd.array(a)
    x.attach_grad()
    with autograd.record():
        y = x[key]
        z = (y * y).sum()
    if np.size(a[key]):
        z.backward()
        want = np.zeros(shape, np.float32)
        np.add.at(want, key, 2 * a[key])
        np.testing.assert_array_equal(x.grad.asnumpy(), want)


def test_contiguous_pieces_alias():
    x = nd.zeros((3, 4))
    x[1][:] = 1
    x[2:3][0, 2] = 5
    x[:][0, 0] = 2
    np.testing.assert_array_equal(x.asnumpy(), [[2, 0, 0, 0], [1, 1, 1, 1], [0, 0, 5, 0]])
    for copied in (x[:, 1], x[::2], x[[0, 1]], x[nd.array([0])]):
        copied[:] = 9
    assert 9 not in x.asnumpy()


def test_boolean_keys():
    a = _values((3, 4))
    mask = a % 2 == 0
    np.testing.assert_array_equal(nd.array(a)[mask].asnumpy(), a[mask])
    np.testing.assert_array_equal(nd.array(a)[nd.array(mask[:, 1], dtype="bool")].asnumpy(), a[mask[:, 1]])
    x = nd.array(a)
    x[mask] = 0
    np.testing.assert_array_equal(x.asnumpy(), np.where(mask, 0, a))


@pytest.mark.parametrize("key", [(3,), (0, 4), (slice(None), -5), (0, 0, 0), ([3],), ([0], [4]), "a", 1.5, (Ellipsis, Ellipsis)])
def test_keys_that_do_not_fit(key):
    with pytest.raises(IndexError):
        nd.zeros((3, 4))[key]


def test_values_that_do_not_fit():
    x = nd.zeros((3, 4))
    with pytest.raises(MXNetError, match="cannot assign"):
        x[0] = nd.zeros(3)
    with pytest.raises(ValueError, match="step"):
        x[::0]


def test_no_writing_into_what_is_recorded():
    x = nd.zeros(3)
    x.attach_grad()
    with autograd.record():
        y = x * 2
        with pytest.raises(MXNetError, match="recording"):
            y[0] = 1
