"""Wide kernels, which read 16 bytes at once, against the general ones; where they must not be used."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

import mxcore as mx
from mxcore import nd
from mxcore.registry import expr as E
from mxcore.registry.loop import Loop
from mxcore_device import places
from mxcore_device.fused import _run_fused
from mxcore_device.host import to_host


@pytest.fixture
def wide(device, machine, monkeypatch):
    """The wide kernel also for short arrays; the names of the kernels that are asked for."""
    monkeypatch.setattr(machine, "gpu", True)
    monkeypatch.setattr(places, "WIDE_FROM", 1)
    asked, kernel = [], machine.kernel
    monkeypatch.setattr(machine, "kernel", lambda key, make: (asked.append(key[0] == "wide"), kernel(key, make))[1])
    return asked


def numbers(*shape):
    return np.random.default_rng(list(shape)).normal(size=shape)


@pytest.mark.parametrize("dtype", ["float32", "float16", bfloat16, "int8", "int64"])
@pytest.mark.parametrize("n", [1, 3, 16, 67, 128])
def test_functions(machine, wide, dtype, n):
    xp, a, b = machine.xp, (numbers(n) * 9).astype(dtype), (numbers(n + 1)[1:] * 9).astype(dtype)
    x, y = xp.asarray(a), xp.asarray(b)
    np.testing.assert_array_equal(to_host(xp.add(x, y)), a + b)
    np.testing.assert_array_equal(to_host(xp.add(x, y[:1])), a + b[:1])
    np.testing.assert_array_equal(to_host(xp.greater(x, y)), a > b)
    np.testing.assert_array_equal(to_host(xp.where(xp.greater(x, y), x, y)), np.where(a > b, a, b))
    assert all(wide)


def test_casts_and_fills(machine, wide):
    a = (numbers(1001) * 9).astype("float32")
    x = machine.xp.asarray(a)
    for dtype in ("float16", "float64", "int32", "bool", bfloat16):
        np.testing.assert_array_equal(to_host(machine.xp.astype(x, dtype)), a.astype(dtype))
    np.testing.assert_array_equal(to_host(machine.xp.full((1001,), 2.5, "float16")), np.full(1001, 2.5, "float16"))
    assert all(wide)


@pytest.mark.parametrize("key, expected", [((slice(None), slice(1, None)), False), ((slice(None, None, 2),), False),
                                           ((slice(3, 5),), False), ((slice(4, 7),), True)])
def test_views_without_the_alignment_are_for_the_general_kernel(machine, wide, key, expected):
    a = numbers(8, 7).astype("float32")
    x = machine.xp.asarray(a)[key]
    wide.clear()
    np.testing.assert_array_equal(to_host(machine.xp.multiply(x, x)), a[key] * a[key])
    assert wide == [expected]


@pytest.mark.parametrize("n", [5, 4096])
def test_loops(machine, wide, monkeypatch, n):
    monkeypatch.setenv("MXCORE_FUSE_AFTER", "0")
    x, y, z = (E.arg(name) for name in "xyz")
    loop = Loop((n,), np.dtype("float32"), ("x", "y", "z"), (E.maximum(x * y + z, 0), E.exp(x)), (None, None))
    arrays = [numbers(n).astype("float32"), numbers(n).astype("float16"), np.full(1, 0.5, "float32")]
    got = _run_fused(machine.xp, *map(machine.xp.asarray, arrays), loop=loop, dtypes=[np.dtype("float16"), np.dtype("float32")])
    a, b, c = arrays
    np.testing.assert_allclose(to_host(got[0]), np.maximum(a * b.astype("float32") + c, 0).astype("float16"), rtol=1e-3)
    np.testing.assert_allclose(to_host(got[1]), np.exp(a), rtol=1e-5)
    assert all(wide)


def test_operators_and_updates(device, machine, wide, monkeypatch):
    monkeypatch.setenv("MXCORE_FUSE_AFTER", "0")
    found = []
    for ctx in (mx.cpu(), device):
        w, g, m, v = (nd.array(np.abs(numbers(37)) + k, ctx=ctx, dtype="float32") for k in range(4))
        for _ in range(4):
            nd.adam_update(w, g, m, v, out=w, lr=0.1)
        y = nd.smooth_l1(w, scalar=1.5)
        for _ in range(3):
            y = nd.smooth_l1(y, scalar=1.5)
        found.append([a.asnumpy() for a in (w, m, v, y)])
    assert any(wide)
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_small_arrays_and_cpus_need_no_wide_kernel(machine, route, monkeypatch):
    asked, kernel = [], machine.kernel
    monkeypatch.setattr(machine, "kernel", lambda key, make: (asked.append(key[0] == "wide"), kernel(key, make))[1])
    x = machine.xp.asarray(np.ones(places.WIDE_FROM - 1, "float32"))
    machine.xp.add(x, x)
    machine.xp.add(machine.xp.asarray(np.ones(places.WIDE_FROM, "float32")), 1)
    assert asked == [False, route == "gpu"]
