"""Pooling, bound and eager, against the generic kernels."""

import itertools

import numpy as np
import pytest

from mxcore.registry import expr as E
from mxcore.registry.bound import Spec, plain_order
from mxcore_onednn import pooling, pooling_eager

#: kernel, stride, padding; a kernel of 0 is global
WINDOWS = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), (3, 3, 0), (3, 2, 0), (1, 1, 0), (0, 1, 0)]
NEAR = {"rtol": 1e-5, "atol": 1e-5}
HALVES = {"kernel": (2, 2), "pool_type": "avg", "global_pool": False, "p_value": None, "pooling_convention": "valid",
          "stride": (2, 2), "pad": (0, 0), "count_include_pad": None, "layout": None}
FAMILY = ("kernel", "global_pool", "pooling_convention", "stride", "pad", "layout")


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def pools():
    """Every kind of pooling that oneDNN takes."""
    for dims, kind, (k, s, p), full, include, last in itertools.product((1, 2, 3), ("max", "avg"), WINDOWS, (False, True),
                                                                       (True, False), (False, True)):
        if (last and dims == 1) or (full and (s > k or (kind == "avg" and include))) or (kind == "max" and include):
            continue
        yield dims, {"kernel": (k,) * dims if k else (), "pool_type": kind, "global_pool": k == 0, "p_value": None,
                     "pooling_convention": "full" if full else "valid", "stride": (s,) * dims, "pad": (p,) * dims,
                     "count_include_pad": include, "layout": "N" + "DHW"[3 - dims:] + "C" if last else None}


def data_for(dims, attrs):
    shape = (2, 5, *(9, 8, 7)[:dims]) if attrs["layout"] is None else (2, *(9, 8, 7)[:dims], 5)
    return np.round(2 * numbers(*shape)) / 2  # with equal numbers in a window


def test_bound_like_generic(bound_like_generic):
    count = 0
    for dims, attrs in pools():
        x, family = data_for(dims, attrs), {n: attrs[n] for n in FAMILY}
        bound, (y,) = bound_like_generic(pooling.bind_pooling, "Pooling", (x,), attrs, **NEAR)
        assert "jit" in bound.label
        g = numbers(*y.shape, seed=1)
        if attrs["pool_type"] == "max":
            bound_like_generic(pooling.bind_pool_scatter, "_pool_scatter", (g, x, y), family, **NEAR)
        else:
            family |= {n: attrs[n] for n in ("pool_type", "count_include_pad")}
            bound_like_generic(pooling.bind_pool_spread, "_pool_spread", (g, x), family, **NEAR)
        count += 1
    assert count > 100


@pytest.mark.parametrize("change", [{"pool_type": "lp", "p_value": 2}, {"pool_type": "sum"},
                                    {"pooling_convention": "full", "kernel": (3, 3)}, {"kernel": (1, 1), "pad": (1, 1)}])
def test_what_is_left_to_others(bound_like_generic, change):
    attrs = {**HALVES, "count_include_pad": True, **change}
    x = numbers(2, 5, 8, 8)
    y = bound_like_generic.plain("Pooling", (x,), attrs)
    specs = [Spec(a.shape, a.dtype, plain_order(4)) for a in (x, y)]
    assert pooling.bind_pooling(specs[:1], specs[1:], attrs, False) is None


def test_epilogue(bound_like_generic):
    extras = {"rows": numbers(2, 5, 4, 4)}
    bound_like_generic(pooling.bind_pooling, "Pooling", (numbers(2, 5, 8, 8),), HALVES, extras=extras,
                       epilogue=E.maximum(E.arg("acc") + E.arg("rows"), 0), **NEAR)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("window", WINDOWS[:6])
def test_eager_like_generic(bound_like_generic, kind, window):
    (k, s, p), generic = window, bound_like_generic.plain
    x = np.round(2 * numbers(4, 6, 20, 21)) / 2
    attrs = {**HALVES, "kernel": (k, k), "stride": (s, s), "pad": (p, p), "pool_type": kind}
    family = {n: attrs[n] for n in FAMILY}
    assert pooling_eager.takes_pooling(x, **attrs)
    y = pooling_eager.pooling(None, x[:, ::-1], **attrs)
    close(y, generic("Pooling", (x[:, ::-1].copy(),), attrs))
    y, g = np.ascontiguousarray(y[:, ::-1]), numbers(*y.shape)
    if kind == "max":
        assert pooling_eager.takes_pool_scatter(g, x, y, **family)
        close(pooling_eager.pool_scatter(None, g, x, y, **family), generic("_pool_scatter", (g, x, y), family))
    else:
        family |= {n: attrs[n] for n in ("pool_type", "count_include_pad")}
        assert pooling_eager.takes_pool_spread(g, x, **family)
        close(pooling_eager.pool_spread(None, g, x, **family), generic("_pool_spread", (g, x), family))


def test_eager_calls_left_to_numpy(onednn):
    assert not pooling_eager.takes_pooling(numbers(1, 2, 4, 4), **HALVES)
    assert not pooling_eager.takes_pooling(numbers(4, 6, 20, 20).astype("float64"), **HALVES)
    assert not pooling_eager.takes_pooling(numbers(4, 6, 20, 20), **{**HALVES, "global_pool": True})
