"""Copies, reshapes and joins that are bound, against the plain kernels; and what stays a view."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mxcore_onednn.rearrange as rearrange
from mxcore.registry.bound import Spec
from mxcore_onednn.rearrange import bind_concat, bind_copy, bind_reshape

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch):
    monkeypatch.setattr(rearrange, "_LEAST", 1)


def spec_of(array):
    from mxcore.registry.bound import order_of

    order = order_of(array.shape, array.strides, 4)
    return Spec(array.shape, array.dtype, order, False, None if order else array.strides)


@quick
@given(data=st.data(), shape=st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_copies_between_all_orders(bound_like_plain, data, shape):
    source, target = (data.draw(st.permutations(range(len(shape)))) for _ in range(2))
    array = numbers(*[shape[a] for a in source]).transpose(np.argsort(source))
    if data.draw(st.booleans()):
        array = array[:, 1:] if array.ndim > 1 and array.shape[1] > 1 else array[:1]
    spec = spec_of(array)
    out = spec.ordered(tuple(target))
    bound = bind_copy([spec], [out], {}, False)
    assert (bound is None) == spec.lies(tuple(target))
    if bound is not None:
        made = np.empty([array.shape[a] for a in target], np.float32).transpose(np.argsort(target))
        bound.run([array], [made])
        assert np.array_equal(made, array)


CASES = {
    "heads": (lambda: numbers(2, 5, 3, 4).transpose(0, 2, 1, 3), (-3, 0, 0), True),
    "heads of a part": (lambda: numbers(2, 5, 36)[:, :, 12:24].reshape(2, 5, 3, 4).transpose(0, 2, 1, 3), (-3, 0, 0), True),
    "split of a part": (lambda: numbers(2, 5, 36)[:, :, 12:24], (0, 0, 3, -1), False),
    "flat": (lambda: numbers(2, 3, 4, 5).transpose(0, 3, 1, 2), (0, -1), True),
    "batch of a part": (lambda: numbers(4, 5, 6)[:, 1:], (2, 2, 4, 6), False),
    "plain": (lambda: numbers(4, 6), (2, 2, 6), False),
    "ones": (lambda: numbers(4, 1, 6).transpose(1, 0, 2), (4, 1, 6), False),
    "turned": (lambda: numbers(4, 6).T, (-1,), True),
}


@pytest.mark.parametrize("case", CASES)
def test_reshape_copies_only_what_is_no_view(bound_like_plain, case):
    make, shape, copied = CASES[case]
    array = make()
    bound, want = bound_like_plain.bind(bind_reshape, "Reshape", [array], {"shape": shape})
    assert (bound is not None) == copied == (not np.shares_memory(array, want[0]))
    if copied:
        bound_like_plain(bind_reshape, "Reshape", [array], {"shape": shape}, rtol=0, atol=0)


@quick
@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_views_are_known_as_numpy_makes_them(bound_like_plain, data, shape):
    order = data.draw(st.permutations(range(len(shape))))
    array = numbers(*[shape[a] for a in order]).transpose(np.argsort(order))
    if data.draw(st.booleans()):
        array = array[..., :max(1, array.shape[-1] - 1)]
    count, target = array.size, []
    while count > 1 and len(target) < 4:
        d = data.draw(st.sampled_from([d for d in range(1, count + 1) if count % d == 0]))
        target.append(d)
        count //= d
    target.append(count)
    if array.size > 1:
        assert rearrange._is_view(spec_of(array), target) == np.shares_memory(array, array.reshape(target))


def test_kin_of_reshape(bound_like_plain):
    array = numbers(2, 3, 4, 5).transpose(0, 3, 1, 2)
    for name in ("Flatten", "_rows", "_reshape_to_like", "reshape_like"):
        like = [numbers(6, 20)] if name.endswith("like") else []
        bound_like_plain(bind_reshape, name, [array, *like], {}, rtol=0, atol=0)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_concat(bound_like_plain, dim):
    def shape(n):
        return tuple(n if i == dim % 4 else d for i, d in enumerate((2, 3, 4, 5)))

    parts = [numbers(*shape(3)), numbers(*shape(1)), numbers(*shape(4))]
    ran = bound_like_plain(bind_concat, "Concat", parts, {"dim": dim}, rtol=0, atol=0)
    assert ran.bound.out_orders[0] == (0, 1, 2, 3)
    parts[0] = np.ascontiguousarray(parts[0].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    ran = bound_like_plain(bind_concat, "Concat", parts, {"dim": dim}, rtol=0, atol=0)
    assert ran.bound.out_orders[0] == (0, 2, 3, 1)


def test_concat_of_two_axes_and_of_parts(bound_like_plain):
    bound_like_plain(bind_concat, "Concat", [numbers(4, 9)[:, 2:5], numbers(4, 3)], {"dim": 1}, rtol=0, atol=0)


def test_what_is_left_to_numpy(bound_like_plain, monkeypatch):
    array = np.broadcast_to(np.float32([[1], [2]]), (2, 3))
    assert bound_like_plain.bind(bind_reshape, "Reshape", [array], {"shape": (-1,)})[0] is None
    assert bound_like_plain.bind(bind_reshape, "Reshape", [numbers(3, 4).astype("float64").T], {"shape": (-1,)})[0] is None
    assert bound_like_plain.bind(bind_concat, "Concat", [np.int32([[1]]), np.int32([[2]])], {})[0] is None
    monkeypatch.undo()
    assert bound_like_plain.bind(bind_reshape, "Reshape", [numbers(3, 4).T], {"shape": (-1,)})[0] is None
