"""Convolution and inner product of bytes: sums are exact, results as from exact sums."""

import threading

import numpy as np
import pytest

from mxcore.context import cpu
from mxcore.errors import ArgumentError, ShapeError
from mxcore.registry import OPS
from mxcore.registry.kernels import generic_of
from mxcore.runtime.device import device_of
from mxcore_onednn import quantized
from mxcore_onednn.library import Unsupported

LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}
CASES = {
    "plain": ((2, 16, 9, 7), (24, 16, 3, 3), {"pad": (1, 1)}),
    "odd": ((3, 5, 9, 7), (7, 5, 3, 2), {"pad": (1, 0)}),
    "few channels": ((2, 3, 12, 12), (16, 3, 5, 5), {"pad": (2, 2), "stride": (2, 2)}),
    "one by one": ((2, 16, 9, 7), (24, 16, 1, 1), {}),
    "strided": ((2, 16, 9, 8), (24, 16, 3, 3), {"stride": (2, 3)}),
    "dilated": ((2, 16, 9, 8), (24, 16, 3, 3), {"dilate": (2, 2), "pad": (2, 2)}),
    "groups": ((2, 16, 9, 7), (8, 4, 3, 3), {"num_group": 4, "pad": (1, 1)}),
    "depthwise": ((2, 16, 9, 7), (16, 1, 3, 3), {"num_group": 16, "pad": (1, 1)}),
    "line": ((2, 16, 9), (24, 16, 3), {"pad": (1,)}),
    "volume": ((1, 8, 5, 4, 6), (16, 8, 3, 3, 3), {"pad": (1, 1, 1)}),
}


@pytest.fixture(autouse=True)
def _machine(onednn):
    if not quantized.available():
        pytest.skip("no instructions for bytes")


def bytes_of(dtype, *shape, seed=0):
    low, high = LIMITS[dtype]
    return np.random.default_rng((seed, *shape)).integers(low, high, shape, endpoint=True).astype(dtype)


def sums_of(data, weight, zero=0, **geometry):
    """The sums, in float64, which holds all of them."""
    n = data.ndim - 2
    family = {"stride": (1,) * n, "dilate": (1,) * n, "pad": (0,) * n, "num_group": 1, "kernel": weight.shape[2:], **geometry}
    return generic_of(OPS["_conv"])(device_of(cpu()).xp, data.astype("float64") - zero, weight.astype("float64"), **family)


def column(vector, ndim=4):
    return np.asarray(vector, np.float64).reshape(-1, *(1,) * (ndim - 2))


@pytest.mark.parametrize("zero", [0, 7])
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_sums_are_exact(case, dtype, zero):
    shape, weight_shape, geometry = CASES[case]
    x, w = bytes_of(dtype, *shape), bytes_of("int8", *weight_shape)
    bias = np.random.default_rng(0).integers(-5000, 5000, len(w)).astype("int32")
    want = sums_of(x, w, zero, **geometry)
    got = quantized.convolution(x, w, data_zero=zero, **geometry)
    assert got.dtype == np.int32 and np.array_equal(got, want)
    want = np.maximum(want + column(bias, x.ndim), 0)
    assert np.array_equal(quantized.convolution(x, w, bias, data_zero=zero, relu=True, **geometry), want)


@pytest.mark.parametrize("zero", [0, 100])
@pytest.mark.parametrize("dtype", LIMITS)
def test_sums_that_float32_does_not_hold(dtype, zero):
    x, w = (bytes_of(t, *s) | 64 for t, s in ((dtype, (1, 600, 5, 6)), ("int8", (20, 600, 3, 3))))
    zero = -zero if dtype == "int8" else zero
    x, w = np.abs(x.astype("int16")).astype(dtype), np.abs(w.astype("int16")).clip(0, 127).astype("int8")
    bias, want = np.int32([2**25 + 1] * 20), sums_of(x, w, zero, pad=(1, 1))
    assert np.abs(want).max() > 1 << 24
    assert np.array_equal(quantized.convolution(x, w, bias, pad=(1, 1), data_zero=zero), want + 2**25 + 1)
    x, w = x.reshape(30, 600)[:, ::-1], w.reshape(-1, 600)
    x, w = np.tile(x, 8), np.tile(w, 8)
    want = (x.astype("int64") - zero) @ w.astype("int64").T
    assert np.abs(want).max() > 1 << 24
    assert np.array_equal(quantized.inner_product(x, w, data_zero=zero), want)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("to", LIMITS)
@pytest.mark.parametrize("case", ["plain", "odd", "few channels", "groups", "depthwise"])
def test_results_in_bytes(case, dtype, to):
    """With powers of two all arithmetic is exact: halves go to the even number, and what is too large to the limit."""
    shape, weight_shape, geometry = CASES[case]
    x, w = bytes_of(dtype, *shape), bytes_of("int8", *weight_shape)
    bias = np.random.default_rng(1).integers(-500, 500, len(w)).astype("int32")
    scale = 2.0 ** -np.random.default_rng(2).integers(5, 10, len(w))
    real = (sums_of(x, w, **geometry) + column(bias)) * column(scale)
    assert (np.abs(real % 1) == 0.5).any()
    for relu, zero in ((False, 0), (True, 0), (False, 3), (True, 120)):
        want = np.clip(np.rint((np.maximum(real, 0) if relu else real) + zero), *LIMITS[to])
        got = quantized.convolution(x, w, bias, scale=scale, relu=relu, out_zero=zero, out_dtype=to, **geometry)
        assert got.dtype == to and np.array_equal(got, want)


@pytest.mark.parametrize("zero", [0, 11])
@pytest.mark.parametrize("scale", [0.0003, "by channel"])
def test_scales_and_a_bias_of_any_kind(scale, zero):
    x, w, bias = bytes_of("uint8", 2, 16, 9, 7), bytes_of("int8", 24, 16, 3, 3), np.linspace(-3, 3, 24, dtype="float32")
    scale = np.linspace(1e-4, 1e-3, 24) if scale == "by channel" else scale
    real = sums_of(x, w, zero) * (scale if np.isscalar(scale) else column(scale)) + column(bias)
    got = quantized.convolution(x, w, bias, scale=scale, data_zero=zero, out_dtype="float32")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, real, rtol=1e-5, atol=1e-5)
    got = quantized.convolution(x, w, bias, scale=scale, data_zero=zero, out_dtype="int8")
    assert np.abs(got - real.clip(-128, 127)).max() < 0.5001


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (64, 300, 80)])
def test_inner_product(dtype, shape):
    n, k, m = shape
    x, w, bias = bytes_of(dtype, n, k), bytes_of("int8", m, k), np.arange(m, dtype="int32")
    for zero in (0, 9):
        want = (x.astype("int64") - zero) @ w.astype("int64").T
        assert np.array_equal(quantized.inner_product(x, w, data_zero=zero), want)
        want = want + bias
        assert np.array_equal(quantized.inner_product(x, w, bias, data_zero=zero, relu=True), np.maximum(want, 0))
        scale = 2.0 ** -np.arange(5, 5 + m).clip(5, 9)
        for to, (low, high) in LIMITS.items():
            got = quantized.inner_product(x, w, bias, scale=scale, data_zero=zero, out_zero=2, out_dtype=to)
            assert np.array_equal(got, np.clip(np.rint(want * scale + 2), low, high))
        got = quantized.inner_product(x, w, bias.astype("float32"), scale=0.25, data_zero=zero, out_dtype="float32")
        np.testing.assert_allclose(got, (want - bias) * 0.25 + bias, rtol=1e-6)


def test_memory_of_any_order():
    x, w = bytes_of("int8", 2, 16, 9, 14), bytes_of("int8", 24, 16, 3, 6)
    for a, b in ((x[:, :, :, ::2], w[..., ::2]), (x[:, ::-1], w[:, ::-1]), (x.swapaxes(2, 3), w.swapaxes(2, 3))):
        got = quantized.convolution(a, b)
        assert np.array_equal(got, sums_of(np.ascontiguousarray(a), np.ascontiguousarray(b)))
        assert np.moveaxis(got, 1, -1).flags.c_contiguous
    a, b = bytes_of("uint8", 40, 12).T, bytes_of("int8", 30, 80)[:, ::2]
    assert np.array_equal(quantized.inner_product(a, b), a.astype("int64") @ b.T.astype("int64"))


def test_threads_have_calls_of_their_own():
    x, w, right = bytes_of("uint8", 4, 16, 9, 9), bytes_of("int8", 24, 16, 3, 3), []
    want = sums_of(x, w)

    def work():
        right.extend(np.array_equal(quantized.convolution(x, w), want) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert right == [True] * 30


X, W = np.ones((1, 4, 5, 5), "uint8"), np.ones((2, 4, 3, 3), "int8")
WRONG = [
    ((X.astype("int16"), W), {}, ArgumentError, "uint8 or int8"),
    ((X, W.view("uint8")), {}, ArgumentError, "weight int8"),
    ((X[:0], W), {}, ShapeError, "nothing"),
    ((X[0], W), {}, ShapeError, "do not fit"),
    ((X, W[:, :3]), {}, ShapeError, "4 channels"),
    ((X, W), {"stride": (1,)}, ShapeError, "2 numbers each"),
    ((X[:, :, :2], W), {}, ShapeError, "larger than"),
    ((X, W, np.ones(3, "int32")), {}, ShapeError, "bias"),
    ((X, W), {"scale": 1.0}, ArgumentError, "not scaled"),
    ((X, W, np.ones(2, "float32")), {}, ArgumentError, "bias must be int32"),
    ((X, W), {"out_dtype": "int8"}, ArgumentError, "scale is needed"),
    ((X, W), {"out_dtype": "int16", "scale": 1}, ArgumentError, "out_dtype"),
    ((X, W), {"out_dtype": "float32", "scale": 1, "out_zero": 1}, ArgumentError, "zero point"),
    ((X, W), {"data_zero": 256}, ArgumentError, "data_zero"),
    ((X, W), {"out_dtype": "int8", "scale": 1, "out_zero": -129}, ArgumentError, "out_zero"),
    ((X, W), {"out_dtype": "int8", "scale": [1, 2, 3]}, ShapeError, "scale"),
]


@pytest.mark.parametrize(("arrays", "options", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_mistakes(arrays, options, error, text):
    with pytest.raises(error, match=text):
        quantized.convolution(*arrays, **options)


def test_mistakes_in_products(monkeypatch):
    with pytest.raises(ShapeError, match=r"\(N, K\)"):
        quantized.inner_product(X, W)
    monkeypatch.setattr(quantized, "instructions", lambda: 0x27)  # AVX-512 without VNNI
    with pytest.raises(Unsupported, match="VNNI"):
        quantized.inner_product(X[0, 0], W[0, 0])
