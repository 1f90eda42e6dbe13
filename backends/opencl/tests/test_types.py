"""Data types: short floats are rounded as NumPy rounds them, integers divide as in NumPy, casts agree."""

import numpy as np
import pytest

from mxcore.dtype import CODES, dtype_of


def host(a):
    from mxcore_device.host import to_host

    return to_host(a)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_short_floats_round_once(machine, name):
    xp, dtype = machine.xp, dtype_of(name)
    bits = np.arange(0, 1 << 16, 7, dtype=np.uint16)
    a = bits.view(dtype)
    x = xp.asarray(a)
    back = host(xp.astype(xp.astype(x, "float32"), dtype))
    number = ~np.isnan(a.astype("float32"))
    np.testing.assert_array_equal(back.view(np.uint16)[number], bits[number])
    assert np.isnan(back.astype("float32")[~number]).all()
    b = np.random.default_rng(0).normal(size=a.shape).astype(dtype)
    with np.errstate(all="ignore"):
        for got, want in ((x + xp.asarray(b), a + b), (x * xp.asarray(b), a * b)):
            got, same = host(got), ~np.isnan(want.astype("float32"))
            np.testing.assert_array_equal(got.view(np.uint16)[same], want.view(np.uint16)[same])
    long = xp.astype(xp.asarray(np.float32([1 + 2.0**-12, 1e30, -70000, 3e-8])), dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(host(long), np.float32([1 + 2.0**-12, 1e30, -70000, 3e-8]).astype(dtype))


@pytest.mark.parametrize("name", ["int8", "int32", "int64", "uint8"])
def test_integers_divide_downwards(machine, name):
    xp = machine.xp
    low = 0 if name == "uint8" else -7
    a, b = np.meshgrid(np.arange(low, 8), [x for x in range(low, 8) if x])
    a, b = a.astype(name), b.astype(name)
    x, y = xp.asarray(a), xp.asarray(b)
    np.testing.assert_array_equal(host(x // y), a // b)
    np.testing.assert_array_equal(host(x % y), a % b)
    np.testing.assert_array_equal(host(x % 0), 0 * a)
    lowest = np.array([np.iinfo(name).min], name)
    assert host(xp.asarray(lowest) // xp.asarray(np.array([-1 if low else 1], name))).shape == (1,)  # no trap


def test_casts_between_all_types(machine):
    xp = machine.xp
    values = np.array([0, 1, 2, 100, 3])
    for one in map(dtype_of, CODES.values()):
        for other in map(dtype_of, CODES.values()):
            a = values.astype(one)
            np.testing.assert_array_equal(host(xp.astype(xp.asarray(a), other)), a.astype(other), err_msg=f"{one} to {other}")
    a = np.float32([-1.5, 2.7, 300, -0.2])
    for name in ("int8", "int32", "int64", "bool"):
        np.testing.assert_array_equal(host(xp.astype(xp.asarray(a), name)), a.astype(name), err_msg=name)


def test_types_of_results_are_those_of_numpy(machine):
    xp = machine.xp
    for name in ("float16", "float32", "int32", "uint8", "bool"):
        a, b = np.ones(2, name), np.ones(2, "float32")
        x, y = xp.asarray(a), xp.asarray(b)
        for got, want in ((x + y, a + b), (x / x, a / a), (x + 1, a + 1), (x * 1.5, a * 1.5), (x > y, a > b), (2.0 - x, 2.0 - a)):
            assert got.dtype == want.dtype, name
            np.testing.assert_allclose(host(got).astype("float64"), want.astype("float64"))
