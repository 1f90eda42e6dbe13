"""Eager calls of products, normalisations, softmax and error units: as NumPy's kernels, also for memory in other orders."""

import threading

import numpy as np
import pytest

from mxcore.context import cpu
from mxcore.errors import MXNetError
from mxcore.registry import get_op
from mxcore.registry.kernels import generic_of
from mxcore.runtime.device import device_of
from mxcore.testing import kernels, sampling
from mxcore_onednn import layers_eager


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def turned(array):
    return np.ascontiguousarray(array.T).T


X, W, B = numbers(64, 300), numbers(80, 300), numbers(80)
IMAGE, C = numbers(4, 16, 20, 20), 16
STATISTICS = [numbers(C, seed=1), numbers(C, seed=2), numbers(C, seed=3), np.abs(numbers(C, seed=4)) + 0.1]
VECTORS = [numbers(300, seed=i) for i in range(2)]
MOMENTS = [X.mean(axis=1, keepdims=True), np.sqrt(X.var(axis=1, keepdims=True) + 1e-5)]
NORM = {"eps": 1e-3, "momentum": 0.9, "fix_gamma": False, "use_global_stats": False, "axis": 1, "is_train": True}
SOFT = {"axis": -1, "temperature": None}
CASES = {
    "FullyConnected": ("dense", [X, W, B], {"num_hidden": 80, "no_bias": False, "flatten": True}),
    "dot": ("dot", [X, W.T], {"transpose_a": False, "transpose_b": False}),
    "_backward_dot": ("backward_dot", [numbers(64, 80), X, W], {"transpose_a": False, "transpose_b": True, "of": 1}),
    "batch_dot": ("batch_dot", [numbers(6, 50, 60), numbers(6, 70, 60)], {"transpose_a": False, "transpose_b": True}),
    "BatchNorm": ("batch_norm", [IMAGE, *STATISTICS], NORM),
    "_backward_BatchNorm": ("backward_batch_norm", [numbers(*IMAGE.shape, seed=5), IMAGE, *STATISTICS[1:], np.ones(1, "f")],
                            {"eps": 1e-3, "fix_gamma": False, "axis": 1}),
    "LayerNorm": ("layer_norm", [X, *VECTORS], {"axis": -1, "eps": 1e-5}),
    "_backward_LayerNorm": ("backward_layer_norm", [numbers(64, 300, seed=6), X, VECTORS[0], *MOMENTS],
                            {"axis": -1, "eps": 1e-5}),
    "softmax": ("softmax", [X], {**SOFT, "dtype": None, "use_length": None}),
    "log_softmax": ("log_softmax", [X], {**SOFT, "dtype": None, "use_length": None}),
    "_backward_softmax": ("backward_softmax", [X, numbers(64, 300, seed=7)], SOFT),
    "_backward_log_softmax": ("backward_log_softmax", [X, -np.abs(numbers(64, 300, seed=7))], SOFT),
    "_gelu": ("gelu", [X], {}),
    "_grad0__gelu": ("backward_gelu", [numbers(64, 300, seed=8), X], {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("memory", [np.array, turned])
def test_as_the_generic_kernel(bound_like_plain, name, memory):
    function, arrays, attrs = CASES[name]
    arrays = [memory(a) for a in arrays]
    xp = device_of(cpu()).xp
    want = generic_of(get_op(name))(xp, *arrays, **attrs)
    assert getattr(layers_eager, "takes_" + function)(*arrays, **attrs)
    for _ in range(2):
        got = getattr(layers_eager, function)(xp, *arrays, **attrs)
        for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (got, want)], strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * max(1, np.abs(b).max()))


SAMPLES = [s for s in sampling.load() if s.op in {*CASES, "LeakyReLU"}]


def test_samples_of_the_operators(bound_like_plain, monkeypatch):
    monkeypatch.setattr(layers_eager, "_LEAST", 1)
    for function, _, _ in CASES.values():
        getattr(layers_eager, function).forget()
    kernels.COMPARED.clear()
    for s in SAMPLES:
        kernels.check_kernels(s, cpu())
    assert set(CASES) <= set(kernels.COMPARED)


def test_images_with_channels_last_stay_so(bound_like_plain):
    image = np.ascontiguousarray(IMAGE.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert layers_eager.batch_norm(None, image, *STATISTICS, **NORM)[0].strides == image.strides


@pytest.mark.parametrize("case", ["small", "double", "wrong", "inference", "temperature"])
def test_calls_that_are_left_to_numpy(bound_like_plain, case):
    name, arrays, attrs = CASES["dot"]
    if case == "small":
        arrays = [a[:3, :3] for a in arrays]
    elif case == "double":
        arrays = [a.astype("float64") for a in arrays]
    elif case == "wrong":
        arrays = [arrays[0], arrays[0]]
    elif case == "inference":
        name, arrays, attrs = CASES["BatchNorm"]
        attrs = {**attrs, "is_train": False}
    else:
        name, arrays, attrs = CASES["softmax"]
        attrs = {**attrs, "temperature": 0.5}
    assert not getattr(layers_eager, "takes_" + name)(*arrays, **attrs)


def test_mistakes_are_explained_by_the_operator(bound_like_plain):
    from mxcore import nd

    with pytest.raises(MXNetError, match=r"dot.*300"):
        nd.dot(nd.array(X), nd.array(X))


def test_threads_have_calls_of_their_own(bound_like_plain):
    _, arrays, attrs = CASES["FullyConnected"]
    want, found = X @ W.T + B, []

    def work():
        for _ in range(20):
            found.append(np.abs(layers_eager.dense(None, *arrays, **attrs) - want).max())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 60 and max(found) < 1e-3
