"""Softmax, losses and normalisation: one kernel, or a few, against the definitions made of functions."""

import itertools

import numpy as np
import pytest
from ml_dtypes import bfloat16

import mxcore as mx
from mxcore import nd
from mxcore.registry.kernels import generic_of
from mxcore.registry.op import OPS
from mxcore_device import norms, rows
from mxcore_device.host import to_host

ACCURATE = {"float64": 1e-11, "float32": 3e-5, "float16": 2e-2, "bfloat16": 0.15}
SHAPES = [((5, 7), -1), ((3, 200), 1), ((2, 300, 6), 1), ((4, 30, 6), 1), ((6,), 0)]
TYPED = [*[(*one, "float32") for one in SHAPES], *[(*one, "float16") for one in SHAPES[:2]], (*SHAPES[1], bfloat16),
         (*SHAPES[0], "float64")]
IMAGES = [((5, 7), -1), ((3, 4, 9, 11), 1), ((300, 3), 1), ((4, 6, 5, 3), 1), ((2, 3, 50, 50), 1), ((6, 9, 4), -1)]


@pytest.fixture
def against(device, machine, monkeypatch):
    """Run a kernel and the definition of its operator; returns how many launches each took."""
    nd.ones(1, ctx=device)  # from now on operators know these arrays
    launches, launch = [], machine.launch
    monkeypatch.setattr(machine, "launch", lambda kernel, *rest: (launches.append(1), launch(kernel, *rest)))

    def compare(name, kernel, *arrays, accurate=None, **attrs):
        found, counts = [], []
        for f in (generic_of(OPS[name]), kernel):
            launches.clear()
            results = f(machine.xp, *arrays, **attrs)
            counts.append(len(launches))
            found.append(results if isinstance(results, tuple) else (results,))
        for want, got in zip(*found, strict=True):
            assert (want is None) == (got is None)
            if want is None:
                continue
            assert got.shape == want.shape
            assert got.dtype == want.dtype or got.dtype.name == "bfloat16"  # NumPy has no bfloat16 by float
            want, got = to_host(want).astype("float64"), to_host(got).astype("float64")
            size = max(1, np.abs(np.where(np.isfinite(want), want, 0)).max())
            tolerance = accurate or ACCURATE[arrays[0].dtype.name]
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * size)
        return tuple(counts)

    return compare


@pytest.fixture
def array(machine):
    """Random numbers on the device."""
    rng = np.random.default_rng(0)
    return lambda *shape, dtype="float32", off=0.0: machine.xp.asarray((rng.normal(size=shape) + off).astype(dtype))


@pytest.mark.parametrize("shape, axis, dtype", TYPED)
def test_softmax(machine, against, array, shape, axis, dtype):
    x, dy = array(*shape, dtype=dtype), array(*shape, dtype=dtype)
    for temperature in (None, 2.5):
        at = {"axis": axis, "temperature": temperature}
        more = {"dtype": None, "use_length": False}
        assert against("softmax", rows.softmax, x, **at, **more)[1] == 1
        assert against("log_softmax", rows.log_softmax, x, **at, **more)[1] == 1
        y, z = rows.softmax(machine.xp, x, **at), rows.log_softmax(machine.xp, x, **at)
        assert against("_backward_softmax", rows.backward_softmax, dy, y, **at)[1] == 1
        assert against("_backward_log_softmax", rows.backward_log_softmax, dy, z, **at)[1] == 1


@pytest.mark.parametrize("length", ["int32", "float32"])
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_softmax_of_the_first_elements(machine, against, array, shape, axis, length):
    at = axis % len(shape)
    counts = np.random.default_rng(1).integers(0, shape[axis] + 1, shape[:at] + shape[at + 1 :]).astype(length)
    assert against("softmax", rows.softmax, array(*shape), machine.xp.asarray(counts), axis=axis, temperature=None, dtype=None,
                   use_length=True)[1] == 1


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("times", [1, 40], ids=["item", "group"])
@pytest.mark.parametrize("row", [[np.inf, 1, 2], [-np.inf, -np.inf], [-np.inf, 0, 1], [np.nan, 1, 2], [1, np.inf, -np.inf],
                                 [-3.4028235e38, 0, 1], [-3.4028235e38, -3.4028235e38], [88, 88, 3e38], [-3e38, 3e38]])
def test_softmax_of_infinities(machine, against, name, row, times):
    x = machine.xp.asarray(np.array([row * times], "float32"))
    against(name, getattr(rows, name), x, axis=-1, temperature=None, dtype=None, use_length=False)


@pytest.mark.parametrize("label", ["float32", "int32"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 200)])
def test_cross_entropy(machine, against, array, shape, label):
    x = array(*shape)
    classes = machine.xp.asarray(np.random.default_rng(1).integers(0, shape[1], shape[0]).astype(label))
    assert against("softmax_cross_entropy", rows.softmax_cross_entropy, x, classes)[1] == 2
    assert against("_one_hot_like", rows.one_hot_like, classes, x, accurate=1e-6)[1] == 1
    outside = machine.xp.asarray(np.full(shape[0], -1, label))
    against("softmax_cross_entropy", rows.softmax_cross_entropy, x, outside)


@pytest.mark.parametrize("shape, multi_output, preserve_shape", [((5, 7), False, False), ((5, 7, 3), True, False),
                                                                 ((4, 3, 70), False, True), ((4, 3, 7), False, False)])
def test_gradient_of_an_output_layer(machine, against, array, shape, multi_output, preserve_shape):
    p = machine.xp.abs(array(*shape))
    places = (shape[0], int(np.prod(shape[2:]))) if multi_output else shape[:-1]
    label = machine.xp.asarray(np.random.default_rng(1).integers(0, 3, places).astype("float32"))
    for normalization, use_ignore, (out_grad, smooth) in itertools.product(("null", "batch", "valid"), (False, True),
                                                                           ((False, 0.0), (True, 0.1))):
        _, launches = against("_backward_SoftmaxOutput", rows.backward_softmax_output, p, label, grad_scale=1.5, ignore_label=1.0,
                              multi_output=multi_output, use_ignore=use_ignore, preserve_shape=preserve_shape,
                              normalization=normalization, out_grad=out_grad, smooth_alpha=smooth)
        assert launches == 1 or (use_ignore and normalization == "valid")


@pytest.mark.parametrize("shape, axis, dtype", TYPED)
def test_layer_norm(machine, against, array, shape, axis, dtype):
    x, dy = array(*shape, dtype=dtype, off=2), array(*shape, dtype=dtype)
    gamma, beta = array(shape[axis], dtype=dtype, off=1), array(shape[axis], dtype=dtype)
    assert against("LayerNorm", norms.layer_norm, x, gamma, beta, axis=axis, eps=1e-5, output_mean_var=False)[1] == 1
    _, mean, std = norms.layer_norm(machine.xp, x, gamma, beta, axis=axis, eps=1e-5)
    assert against("_backward_LayerNorm", norms.backward_layer_norm, dy, x, gamma, mean, std, eps=1e-5, axis=axis)[1] <= 3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape, groups", [((3, 6, 5, 4), 3), ((2, 4, 9), 1), ((2, 8, 300), 4), ((5, 6), 2)])
def test_group_and_instance_norm(machine, against, array, shape, groups, dtype):
    x, dy = array(*shape, dtype=dtype, off=2), array(*shape, dtype=dtype)
    gamma, beta = array(groups, dtype=dtype, off=1), array(groups, dtype=dtype)
    assert against("GroupNorm", norms.group_norm, x, gamma, beta, num_groups=groups, eps=1e-5, output_mean_var=False)[1] == 1
    _, mean, std = norms.group_norm(machine.xp, x, gamma, beta, num_groups=groups, eps=1e-5)
    assert against("_backward_GroupNorm", norms.backward_group_norm, dy, x, gamma, mean, std, eps=1e-5, num_groups=groups)[1] == 2
    if len(shape) > 2:
        gamma, beta = array(shape[1], dtype=dtype, off=1), array(shape[1], dtype=dtype)
        assert against("InstanceNorm", norms.instance_norm, x, gamma, beta, eps=1e-5)[1] == 1


@pytest.mark.parametrize("shape, axis, types", [*[(*image, ("float32", "float32")) for image in IMAGES],
                                                (*IMAGES[1], ("float16", "float32")), (*IMAGES[4], ("float16", "float32")),
                                                (*IMAGES[0], (bfloat16, bfloat16))])
def test_batch_norm(machine, against, array, shape, axis, types):
    dtype, vector = types
    n = shape[axis]
    x, dy = array(*shape, dtype=dtype, off=2), array(*shape, dtype=dtype)
    gamma, beta, mean = (array(n, dtype=vector, off=1) for _ in range(3))
    var = machine.xp.abs(array(n, dtype=vector)) + gamma * 0
    for fix_gamma, is_train in itertools.product((False, True), repeat=2):
        attrs = {"eps": 1e-3, "momentum": 0.9, "fix_gamma": fix_gamma, "use_global_stats": False, "axis": axis,
                 "is_train": is_train}
        vectors = gamma, beta, mean, machine.xp.astype(var, vector)
        assert against("BatchNorm", norms.batch_norm, x, *vectors, **attrs)[1] == (3 if is_train else 2)
        _, m, inverse, batch, *_ = norms.batch_norm(machine.xp, x, *vectors, **attrs)
        assert against("_backward_BatchNorm", norms.backward_batch_norm, dy, x, gamma, m, inverse, batch, eps=1e-3,
                       fix_gamma=fix_gamma, axis=axis)[1] == 3


def test_a_deviation_that_is_small_beside_the_mean(machine, array):
    x = np.random.default_rng(0).normal(size=(4, 3, 5000)) + 3000
    data = machine.xp.asarray(x.astype("float32"))
    one = machine.xp.asarray(np.ones(3, "float32"))
    _, m, inverse, *_ = norms.batch_norm(machine.xp, data, one, one, one, one, eps=0, momentum=0.9, fix_gamma=True,
                                         use_global_stats=False, axis=1, is_train=True)
    np.testing.assert_allclose(to_host(m), x.mean((0, 2)), rtol=1e-6)
    np.testing.assert_allclose(to_host(inverse), 1 / x.std((0, 2)), rtol=1e-3)
    wide = machine.xp.asarray(np.ones(5000, "float32"))
    _, _, std = norms.layer_norm(machine.xp, data, wide, wide, eps=0)
    np.testing.assert_allclose(to_host(std)[..., 0], x.std(2), rtol=1e-3)


def test_views_are_read_where_they_lie(machine, array):
    x = array(5, 9, 12)
    views = [x[1:4], machine.xp.transpose(x, (0, 2, 1))[:, ::2], machine.xp.broadcast_to(x[0, 0], (3, 12))]
    for view in views:
        want = to_host(rows.softmax(machine.xp, machine.xp.copy(view)))
        np.testing.assert_array_equal(to_host(rows.softmax(machine.xp, view)), want)


def _second(name, ctx, arrays, **attrs):
    """Result, gradient and the gradient of the gradient's square."""
    given = [nd.array(a, ctx=ctx) for a in arrays]
    for a in given:
        a.attach_grad()
    with mx.autograd.record():
        y = getattr(nd, name)(*given, **attrs)
        first = mx.autograd.grad((y * y * y).sum(), given[:1], create_graph=True)[0]
        (first * first).sum().backward()
    return [a.asnumpy() for a in (y, first, *[g.grad for g in given])]


@pytest.mark.parametrize("name, vectors, attrs", [
    ("softmax", 0, {"axis": 1}), ("log_softmax", 0, {"temperature": 2.0}), ("LayerNorm", 2, {"axis": 1}),
    ("GroupNorm", 2, {"num_groups": 3}), ("InstanceNorm", 2, {})])
def test_gradients_of_second_order(device, name, vectors, attrs):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 3, 4)), *[rng.normal(size=3) + 1 for _ in range(vectors)]]
    for got, want in zip(_second(name, device, arrays, **attrs), _second(name, mx.cpu(), arrays, **attrs), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3 * max(1, np.abs(want).max()))
