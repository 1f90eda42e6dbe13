"""Reductions by items, groups and pieces: NumPy's results, whatever the shape and the strides."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from mxcore.dtype import dtype_of
from mxcore_device.arrays import from_host
from mxcore_device.host import to_host
from mxcore_device.reductions import beside, split

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = st.lists(st.sampled_from([1, 2, 3, 31, 64, 70, 257]), min_size=1, max_size=3).map(tuple)


@QUICK
@given(shape=SHAPES, data=st.data(), seed=st.integers(0, 99))
def test_sums_and_extremes(machine, shape, data, seed):
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    order = data.draw(st.permutations(range(len(shape))))
    host = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    a = machine.xp.transpose(from_host(machine, host), order)
    host = host.transpose(order)
    for function in ("sum", "max", "min"):
        found = to_host(getattr(machine.xp, function)(a, axis=axes))
        np.testing.assert_allclose(found, getattr(np, function)(host.astype(np.float64), axis=axes), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape, axes", [((300_000,), (0,)), ((5000, 40), (0,)), ((40, 5000), (1,)), ((5, 30_000), (1,)),
                                         ((3, 700, 100), (0, 1)), ((64, 3, 900), (0, 2)), ((70_000, 3), (1,)), ((0, 5), (0,))])
def test_long_ones(machine, shape, axes):
    host = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found = to_host(machine.xp.sum(from_host(machine, host), axis=axes))
    np.testing.assert_allclose(found, host.astype(np.float64).sum(axes), rtol=1e-4, atol=2e-3)


@QUICK
@given(shape=SHAPES, data=st.data(), seed=st.integers(0, 99), dtype=st.sampled_from(["float32", "int32", "uint8", "float16"]))
def test_places(machine, shape, data, seed, dtype):
    axis, few = data.draw(st.integers(0, len(shape) - 1)), data.draw(st.booleans())
    rng = np.random.default_rng(seed)
    host = rng.integers(0, 3 if few else 200, shape).astype(dtype)  # with ties
    if dtype.startswith("float") and data.draw(st.booleans()):
        host[rng.random(shape) < 0.1] = np.nan
    for function in ("argmax", "argmin"):
        found = to_host(getattr(machine.xp, function)(from_host(machine, host), axis=axis))
        np.testing.assert_array_equal(found, getattr(np, function)(host, axis=axis))


def test_work_items_that_are_neighbours_read_neighbours():
    assert beside((4096, 768), (768, 1), (0,)) and not beside((4096, 768), (768, 1), (1,))
    assert not beside((4096, 768), (1, 4096), (0,)) and not beside((1, 5), (5, 1), (1,)) and not beside((1,), (1,), (0,))
    kind, piece, pieces = split(4096, 768, True)
    assert kind == "item" and 768 * pieces > 50_000 and piece * pieces >= 4096
    kind, piece, pieces = split(1 << 26, 1, False)
    assert kind == "group" and pieces > 1000
    assert split(1024, 8192, False)[0] == "group" and split(8, 1 << 20, False) == ("item", 8, 1)
    assert split(3, 1 << 20, True) == ("item", 3, 1)


@given(n=st.integers(0, 1 << 31), results=st.integers(0, 1 << 20), apart=st.booleans())
def test_pieces_cover_all(n, results, apart):
    kind, piece, pieces = split(n, results, apart)
    assert kind in ("item", "group") and piece * pieces >= n and (pieces == 1 or piece * (pieces - 1) < n)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape, axis", [((40_000,), 0), ((700, 300), 0), ((300, 700), 1), ((5, 100), 1)])
def test_short_types_are_summed_in_float32(machine, dtype, shape, axis):
    host = np.random.default_rng(3).uniform(0, 1, shape).astype(dtype_of(dtype))
    a, exact = from_host(machine, host), host.astype(np.float64)
    for name in ("sum", "mean"):
        found = getattr(machine.xp, name)(a, axis=axis)
        wanted = getattr(exact, name)(axis).astype(dtype_of(dtype))
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(to_host(found).astype(float), wanted.astype(float), rtol=1e-3 if dtype == "float16" else 8e-3)
