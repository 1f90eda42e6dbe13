"""Convolutions, bound and eager, against the generic kernels: geometries, memory orders, epilogues, small images."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mxcore.registry import OPS
from mxcore.registry import expr as E
from mxcore.registry.bound import Epilogue, Spec, channels_last, plain_order
from mxcore_onednn import convolution, convolution_eager

ACC, ROWS, LINE = E.arg("acc"), E.arg("rows"), E.arg("line")
SIGMOID = 1 / (1 + E.exp(-ACC))
#: kernel, stride, dilation, padding
WINDOWS = [(3, 1, 1, 1), (3, 2, 1, 1), (1, 1, 1, 0), (1, 2, 1, 0), (3, 1, 2, 2), (5, 3, 1, 1), (2, 2, 1, 0), (2, 1, 1, 0)]
NEAR = {"rtol": 1e-4, "atol": 1e-4}
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def spec(*shape, dtype="float32"):
    return Spec(shape, np.dtype(dtype), plain_order(len(shape)))


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def in_order(array, order):
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max(initial=1e-3))


def family(dims, window, groups=1):
    k, s, d, p = window
    return {"kernel": (k,) * dims, "stride": (s,) * dims, "dilate": (d,) * dims, "pad": (p,) * dims, "num_group": groups}


def arrays_of(dims, window, groups, filters=16, channels=8):
    x = numbers(2, channels, *(9, 8, 7)[:dims])
    return x, numbers(filters, channels // groups, *(window[0],) * dims)


# ---------------------------------------------------------------- the closed family
@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize(("dims", "window"), list(itertools.product((1, 2, 3), WINDOWS)))
def test_bound_like_generic(bound_like_generic, dims, window, groups):
    at = family(dims, window, groups)
    x, w = arrays_of(dims, window, groups)
    y = bound_like_generic(convolution.bind_conv, "_conv", (x, w), at, **NEAR).outs[0]
    g = numbers(*y.shape, seed=1)
    bound_like_generic(convolution.bind_conv_data, "_conv_data", (g, w, x), at, **NEAR)
    bound_like_generic(convolution.bind_conv_weight, "_conv_weight", (x, g), at, **NEAR)


@pytest.mark.parametrize(("dims", "window"), list(itertools.product((1, 2, 3), WINDOWS)))
def test_small_images_with_many_channels(bound_like_generic, monkeypatch, dims, window):
    """The way by products of matrices, which is taken for weights too large to be tested here."""
    monkeypatch.setattr(convolution, "suits", lambda g: True)
    at = family(dims, window)
    x, w = arrays_of(dims, window, 1)
    arrays, layer = (x, w, numbers(16, seed=2)), {**at, "num_filter": 16}
    y = bound_like_generic.plain("Convolution", arrays, layer)
    extras = {"rows": numbers(*y.shape, seed=3), "line": numbers(16, *(1,) * dims, seed=4)}
    for training in (True, False):
        ran = bound_like_generic(convolution.bind_convolution, "Convolution", arrays, layer, extras=extras, training=training,
                                 epilogue=E.maximum(ACC * LINE + ROWS, 0), **NEAR)
    g = numbers(*y.shape, seed=1)
    back = bound_like_generic(convolution.bind_conv_data, "_conv_data", (g, w, x), at, **NEAR)
    weight = bound_like_generic(convolution.bind_conv_weight, "_conv_weight", (x, g), at, **NEAR)
    assert all(r.bound.label.startswith("columns") for r in (ran, back, weight))


def test_a_large_weight_on_small_images_takes_that_way(onednn):
    ins = [spec(8, 512, 4, 4), spec(512, 512, 3, 3)]
    bound = convolution.bind_conv(ins, [spec(8, 512, 4, 4)], family(2, (3, 1, 1, 1)), True)
    assert bound.label.startswith("columns")


@given(st.data())
@quick
def test_any_geometry(bound_like_generic, data):
    """Kernels that differ by axis, centred windows (``pad=None``), sizes that leave a rest."""
    dims = data.draw(st.integers(1, 3))
    draw = lambda low, high: tuple(data.draw(st.integers(low, high)) for _ in range(dims))
    kernel, stride, dilate, counts = draw(1, 4), draw(1, 3), draw(1, 2), draw(1, 5)
    groups, pad = data.draw(st.sampled_from([1, 2, 3])), data.draw(st.none() | st.just(draw(0, 2)))
    reach = tuple(s * (o - 1) + d * (k - 1) + 1 for s, o, d, k in zip(stride, counts, dilate, kernel, strict=True))
    if pad is None:
        sizes = tuple(max(1, r - cut) for r, cut in zip(reach, draw(0, 2), strict=True))
    else:
        sizes = tuple(r - 2 * p + min(more, s - 1) for r, p, more, s in zip(reach, pad, draw(0, 2), stride, strict=True))
        assume(min(sizes) > 0)
    x, w = numbers(2, 3 * groups, *sizes), numbers(2 * groups, 3, *kernel)
    g = numbers(2, 2 * groups, *counts, seed=1)
    at = {"kernel": kernel, "stride": stride, "dilate": dilate, "pad": pad, "num_group": groups}
    bound_like_generic(convolution.bind_conv, "_conv", (x, w, g), at, **NEAR)
    bound_like_generic(convolution.bind_conv_data, "_conv_data", (g, w, x), at, **NEAR)
    bound_like_generic(convolution.bind_conv_weight, "_conv_weight", (x, g), at, **NEAR)


def test_data_wants_channels_last_unless_there_are_few(bound_like_generic):
    for channels, order in ((8, channels_last(4)), (3, None)):
        arrays = numbers(1, channels, 6, 6), numbers(8, channels, 3, 3)
        bound = bound_like_generic(convolution.bind_conv, "_conv", arrays, family(2, (3, 1, 1, 1)), **NEAR).bound
        assert bound.in_orders[0] == order and bound.out_orders == [channels_last(4)]


def test_weights_of_any_strides_and_new_ones(bound_like_generic):
    at, x, large = family(2, (3, 1, 1, 1)), numbers(2, 8, 6, 6), numbers(16, 8, 6, 3)
    bound = convolution.bind_conv([spec(2, 8, 6, 6), spec(16, 8, 3, 3)], [spec(2, 16, 6, 6)], at, True)
    data, out = in_order(x, channels_last(4)), in_order(numbers(2, 16, 6, 6), channels_last(4))
    for w in (large[:, :, ::2], large[:, :, 5::-2], large[::-1, :, 1::2], np.broadcast_to(np.float32(2), (16, 8, 3, 3))):
        bound.prepare([data, w])
        bound.run([data, w], [out])
        close(out, bound_like_generic.plain("_conv", (x, np.ascontiguousarray(w)), at))


@pytest.mark.parametrize("dtype", ["float64", "int8", "int32"])
def test_other_types_are_left_to_others(onednn, dtype):
    at = family(2, (3, 1, 1, 1))
    specs = [spec(1, 8, 6, 6, dtype=dtype), spec(8, 8, 3, 3, dtype=dtype)]
    assert convolution.bind_conv(specs, specs[:1], at, False) is None
    assert not convolution_eager.takes_conv(np.ones((1, 8, 60, 60), dtype), np.ones((8, 8, 3, 3), dtype), **at)


def test_nothing_in_a_batch_is_left_to_others(onednn):
    specs = [spec(0, 8, 6, 6), spec(8, 8, 3, 3)]
    assert convolution.bind_conv(specs, specs[:1], family(2, (3, 1, 1, 1)), False) is None


# ---------------------------------------------------------------- layers
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", [None, "NHWC"])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("window", WINDOWS[:6])
def test_layers(bound_like_generic, all_eager, window, groups, layout, bias):
    """``Convolution`` and ``Deconvolution``, bound and eager."""
    axes = (0, 2, 3, 1) if layout else (0, 1, 2, 3)
    x, w = (np.ascontiguousarray(a.transpose(axes)) for a in arrays_of(2, window, groups))
    back = np.ascontiguousarray(numbers(8, 16 // groups, *(window[0],) * 2, seed=1).transpose(axes))
    for name, weight in (("Convolution", w), ("Deconvolution", back)):
        arrays = [x, weight, numbers(16, seed=2)][:3 if bias else 2]
        at = OPS[name].parse({**family(2, window, groups), "num_filter": 16, "layout": layout, "no_bias": not bias})
        bind = getattr(convolution, "bind_" + name.lower())
        want = bound_like_generic(bind, name, arrays, at, **NEAR).outs[0]
        assert getattr(convolution_eager, "takes_" + name.lower())(*arrays, **at)
        close(getattr(convolution_eager, name.lower())(None, *arrays, **at), want)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_deconvolution_to_a_size(bound_like_generic, dims):
    arrays = numbers(2, 8, *(4, 3, 2)[:dims]), numbers(8, 4, *(4,) * dims)
    at = {**family(dims, (4, 3, 1, 1)), "num_filter": 4}
    for more in ({"adj": (2,) * dims}, {"target_shape": (11, 9, 7)[:dims]}):
        bound_like_generic(convolution.bind_deconvolution, "Deconvolution", arrays, {**at, **more}, **NEAR)


EPILOGUES = [
    E.maximum(ACC, 0), E.minimum(E.maximum(ACC, 0), 6), E.minimum(E.maximum(ACC, E.const(-0.5)), 0.25),
    E.where(ACC > 0, ACC, ACC * 0.1), E.tanh(ACC), SIGMOID, ACC * SIGMOID, ACC + ROWS, E.maximum(ROWS + ACC, 0), ROWS - ACC,
    ACC - ROWS, ACC * LINE, E.maximum(ACC * LINE + ROWS, 0), E.maximum(ACC, ROWS) * 2 + 1, -(3 - ACC),
]


@pytest.mark.parametrize("e", EPILOGUES, ids=repr)
@pytest.mark.parametrize("name", ["Convolution", "Deconvolution"])
def test_epilogues(bound_like_generic, name, e):
    arrays = [numbers(2, 8, 6, 5), numbers(16, 8, 3, 3) if name == "Convolution" else numbers(8, 16, 3, 3), numbers(16)]
    both = {"rows": numbers(2, 16, 6, 5, seed=3), "line": numbers(1, 16, 1, 1, seed=4)}
    at = {**family(2, (3, 1, 1, 1)), "num_filter": 16, "no_bias": False}
    bound_like_generic(getattr(convolution, "bind_" + name.lower()), name, arrays, at, epilogue=e,
                       extras={n: a for n, a in both.items() if n in E.leaves(e)}, **NEAR)


@pytest.mark.parametrize("e", [E.sin(ACC), ACC * ACC * ACC, ROWS / ACC, E.maximum(ACC, ROWS + 1), ACC * E.tanh(ACC)], ids=repr)
def test_other_epilogues_are_refused(onednn, e):
    at = OPS["Convolution"].parse({**family(2, (3, 1, 1, 1)), "num_filter": 16, "no_bias": True})
    names = tuple(E.leaves(e)[1:]) if "rows" in E.leaves(e) else ()
    ins = [spec(2, 8, 6, 5), spec(16, 8, 3, 3), *([spec(2, 16, 6, 5)] if names else [])]
    assert convolution.bind_convolution(ins, [spec(2, 16, 6, 5)], at, False, Epilogue(e, ("rows",) if names else ())) is None


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 16, 6, 1), (2, 16, 1, 1), (5,)])
def test_operands_of_other_shapes_are_refused(onednn, shape):
    at = OPS["Convolution"].parse({**family(2, (3, 1, 1, 1)), "num_filter": 16, "no_bias": True})
    ins = [spec(2, 8, 6, 5), spec(16, 8, 3, 3), spec(*shape)]
    assert convolution.bind_convolution(ins, [spec(2, 16, 6, 5)], at, False, Epilogue(ACC + ROWS, ("rows",))) is None


# ---------------------------------------------------------------- eager calls
def forget():
    """Thresholds are part of no key: forget what was decided with others."""
    for plan in ("_conv_plan", "_data_plan", "_weight_plan", "_convolution_plan"):
        getattr(convolution_eager, plan).forget()


@pytest.fixture
def all_eager(monkeypatch):
    """Eager kernels take small calls too."""
    forget()
    monkeypatch.setattr(convolution_eager, "_SMALL", 0)
    monkeypatch.setattr(convolution_eager, "_WIDE", 0)
    yield
    forget()


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize(("dims", "window"), list(itertools.product((1, 2, 3), WINDOWS[:6])))
def test_eager_like_generic(bound_like_generic, all_eager, dims, window, groups):
    at, generic = family(dims, window, groups), bound_like_generic.plain
    x, w = arrays_of(dims, window, groups)
    for data, weight in ((x, w), (x[:, ::-1], w[::-1]), (np.swapaxes(np.swapaxes(x, 0, 1).copy(), 0, 1), w)):
        assert convolution_eager.takes_conv(data, weight, **at)
        y = convolution_eager.conv(None, data, weight, **at)
        close(y, generic("_conv", (np.ascontiguousarray(data), np.ascontiguousarray(weight)), at))
    g = numbers(*y.shape, seed=1)
    assert convolution_eager.takes_conv_data(g, w, x, **at) and convolution_eager.takes_conv_weight(x, g, **at)
    close(convolution_eager.conv_data(None, g, w, x, **at), generic("_conv_data", (g, w, x), at))
    close(convolution_eager.conv_weight(None, x, g, **at), generic("_conv_weight", (x, g), at))


def test_small_calls_are_left_to_numpy(onednn):
    at = family(2, (3, 1, 1, 1))
    assert not convolution_eager.takes_conv(numbers(1, 2, 4, 4), numbers(2, 2, 3, 3), **at)
    assert convolution_eager.takes_conv(numbers(1, 16, 40, 40), numbers(16, 16, 3, 3), **at)
