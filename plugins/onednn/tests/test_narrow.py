"""float16 and bfloat16, bound and eager: as float64 arithmetic on the same numbers, rounded once."""

import math

import numpy as np
import pytest

from mxcore import autograd, nd
from mxcore.context import cpu
from mxcore.dtype import bfloat16
from mxcore.gluon import nn
from mxcore.registry import OPS
from mxcore.registry import expr as E
from mxcore.registry.bound import Epilogue, Spec, channels_last, order_of, plain_order
from mxcore.registry.kernels import generic_of
from mxcore.registry.loop import Loop, run_loop
from mxcore.runtime.device import device_of
from mxcore_onednn import (
    convolution,
    convolution_eager,
    layers_eager,
    narrow,
    pooling,
    pooling_eager,
    product,
    rearrange,
    softmax,
)
from mxcore_onednn.arrangement import Incoming

ACC, ROWS, LINE = E.arg("acc"), E.arg("rows"), E.arg("line")
#: half a unit in the last place of a number near 1: the error of one rounding
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
#: the smallest number of float16; bfloat16 has the range of float32
SMALLEST = {"float16": 2.0**-24, "bfloat16": 0, "float32": 0}
TYPES = ["float16", "bfloat16"]


def dtype_named(name):
    return bfloat16() if name == "bfloat16" else np.dtype(name)


@pytest.fixture(params=TYPES)
def dtype(request, onednn):
    return dtype_named(request.param)


@pytest.fixture(params=["as the machine is", "with instructions"])
def code(request, monkeypatch):
    """Also as on a machine that computes with narrow types: oneDNN's own code where it has any."""
    if request.param == "with instructions":
        monkeypatch.setattr(narrow, "native", lambda dtype: True)


def numbers(dtype, *shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def spec_of(array, static=False):
    order = order_of(array.shape, array.strides, array.itemsize)
    return Spec(array.shape, array.dtype, order, static, None if order else array.strides)


def in_order(array, order):
    return array.transpose(order).copy().transpose(np.argsort(order))


def exact(name, arrays, parsed):
    """What the operator gives in float64."""
    doubles = [a if a is None else a.astype(np.float64) for a in arrays]
    return np.asarray(generic_of(OPS[name])(device_of(cpu()).xp, *doubles, **parsed))


def rounded_once(got, want):
    """Whether numbers are off by a rounding at most; float32 sums have an error of their own, which is much smaller."""
    assert got.shape == want.shape
    name, size = got.dtype.name, np.abs(want).max()
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=ROUNDING[name], atol=4e-6 * size + SMALLEST[name])


def check(bind, name, arrays, attrs, epilogue=None, extras=(), training=False, static=(), out=None):
    """Bind, run twice, compare; returns the call."""
    parsed, extras = OPS[name].parse(attrs), dict(extras)
    want = exact(name, arrays, parsed)
    if epilogue is not None:
        loop = Loop(want.shape, want.dtype, ("acc", *extras), (epilogue,), (None,))
        want, = run_loop(device_of(cpu()).xp, loop, [want, *(a.astype(np.float64) for a in extras.values())], [want.dtype])
    given = [*arrays, *extras.values()]
    ins = [spec_of(a, i in static) for i, a in enumerate(given)]
    outs = [Spec(want.shape, out or arrays[0].dtype, plain_order(want.ndim))]
    bound = bind(ins, outs, parsed, training, None if epilogue is None else Epilogue(epilogue, tuple(extras)))
    assert bound is not None, "nothing was bound"
    given = [a if o is None or spec_of(a).lies(o) else in_order(a, o) for a, o in zip(given, bound.in_orders, strict=True)]
    before, result = [a.copy() for a in given], in_order(np.full(want.shape, np.nan, outs[0].dtype), bound.out_orders[0])
    for _ in range(2):
        if bound.prepared:
            bound.prepare(given)
        bound.run(given, [result])
        rounded_once(result, want)
    assert all(np.array_equal(a, b) for a, b in zip(given, before, strict=True)), "an input was changed"
    for i, j in bound.in_place:
        assert j == 0
        shared = in_order(given[i], bound.in_orders[i])
        bound.run([shared if k == i else a for k, a in enumerate(given)], [shared])
        rounded_once(shared, want)
    return bound


# ---------------------------------------------------------------- bound
FAMILIES = {
    "plain": ((2, 8, 9, 7), (16, 8, 3, 3), {}),
    "strided": ((2, 8, 9, 7), (16, 8, 3, 3), {"stride": (2, 2)}),
    "few channels": ((2, 3, 9, 7), (16, 3, 3, 3), {}),
    "groups": ((2, 8, 9, 7), (16, 4, 3, 3), {"num_group": 2}),
    "depthwise": ((2, 16, 9, 7), (16, 1, 3, 3), {"num_group": 16}),
    "dilated": ((2, 8, 9, 7), (16, 8, 3, 3), {"dilate": (2, 2)}),
    "line": ((2, 8, 9), (16, 8, 3), {}),
    "volume": ((1, 8, 5, 4, 3), (16, 8, 3, 3, 3), {}),
}


def family(case):
    data, weight, more = FAMILIES[case]
    kernel = weight[2:]
    n = len(kernel)
    return data, weight, {"kernel": kernel, "stride": (1,) * n, "dilate": (1,) * n, "pad": (1,) * n, "num_group": 1, **more}


@pytest.mark.parametrize("case", FAMILIES)
def test_convolutions(dtype, code, case):
    data, weight, at = family(case)
    x, w = numbers(dtype, *data), numbers(dtype, *weight)
    y = exact("_conv", (x, w), OPS["_conv"].parse(at))
    g = numbers(dtype, *y.shape, seed=1)
    check(convolution.bind_conv, "_conv", (x, w), at)
    check(convolution.bind_conv_data, "_conv_data", (g, w, x), at)
    check(convolution.bind_conv_weight, "_conv_weight", (x, g), at)
    layer = {**at, "num_filter": 16, "no_bias": False}
    check(convolution.bind_convolution, "Convolution", (x, w, numbers(dtype, 16)), layer)
    back = numbers(dtype, weight[0], data[1] // at["num_group"], *weight[2:])
    check(convolution.bind_deconvolution, "Deconvolution", (numbers(dtype, *y.shape), back, numbers(dtype, data[1])),
          {**at, "num_filter": data[1], "no_bias": False})


@pytest.mark.parametrize("end", [E.maximum(ACC, 0), ACC + ROWS, E.maximum(ACC * LINE + ROWS, 0), 1 / (1 + E.exp(-ACC))], ids=repr)
@pytest.mark.parametrize("name", ["Convolution", "Deconvolution"])
def test_what_follows_a_convolution(dtype, code, name, end):
    """Done before the one rounding."""
    arrays = [numbers(dtype, 2, 8, 6, 5), numbers(dtype, *((16, 8) if name == "Convolution" else (8, 16)), 3, 3),
              numbers(dtype, 16)]
    shapes = {"rows": (2, 16, 6, 5), "line": (16, 1, 1)}
    extras = {n: numbers(dtype, *s, seed=3) for n, s in shapes.items() if n in E.leaves(end)}
    _, _, at = family("plain")
    bind = getattr(convolution, "bind_" + name.lower())
    check(bind, name, arrays, {**at, "num_filter": 16, "no_bias": False}, end, extras, static=(1, 2))


def test_small_images_with_many_channels(dtype, monkeypatch):
    """The way by products of matrices, which float32 takes."""
    monkeypatch.setattr(convolution, "suits", lambda g: g.dtype == np.float32)
    _, _, at = family("plain")
    x, w, g = numbers(dtype, 2, 8, 4, 4), numbers(dtype, 16, 8, 3, 3), numbers(dtype, 2, 16, 4, 4)
    layer = {**at, "num_filter": 16, "no_bias": False}
    bounds = [check(convolution.bind_convolution, "Convolution", (x, w, numbers(dtype, 16)), layer, training=True),
              check(convolution.bind_conv_data, "_conv_data", (g, w, x), at),
              check(convolution.bind_conv_weight, "_conv_weight", (x, g), at)]
    assert all(b.label.startswith("columns") for b in bounds if not narrow.native(dtype))


def test_channels_last(dtype, code):
    x, w = numbers(dtype, 2, 7, 6, 8), numbers(dtype, 16, 3, 3, 8)
    _, _, at = family("plain")
    check(convolution.bind_convolution, "Convolution", (x, w), {**at, "num_filter": 16, "no_bias": True, "layout": "NHWC"})


@pytest.mark.parametrize("turn", [False, True])
def test_products(dtype, code, turn):
    a, b, c = numbers(dtype, 12, 40), numbers(dtype, 40, 20), numbers(dtype, 12, 20)
    memory = (lambda m: np.asfortranarray(m)) if turn else np.asarray
    check(product.bind_dot, "dot", (memory(a), memory(b)), {})
    check(product.bind_dot, "dot", (memory(a.T), memory(b.T)), {"transpose_a": True, "transpose_b": True})
    for of in (0, 1):
        check(product.bind_backward_dot, "_backward_dot", (c, memory(a), memory(b)),
              {"transpose_a": False, "transpose_b": False, "of": of})
    check(product.bind_batch_dot, "batch_dot", (numbers(dtype, 5, 6, 7), numbers(dtype, 5, 8, 7)), {"transpose_b": True})
    extras = {"rows": numbers(dtype, 12, 20, seed=2)}
    for static in ((), (1, 2)):
        check(product.bind_dense, "FullyConnected", (a, numbers(dtype, 20, 40), numbers(dtype, 20)), {"num_hidden": 20},
              E.maximum(ACC + ROWS, 0), extras, static=static)


def test_products_of_slices(dtype):
    """Rows longer than needed, and places that no step leads through."""
    large = numbers(dtype, 24, 80)
    check(product.bind_dot, "dot", (large[:12, :40], large[:20, :40]), {"transpose_b": True})
    check(product.bind_dot, "dot", (large[:12, :80:2], large[:20, 1::2]), {"transpose_b": True})


@pytest.mark.parametrize("shape", [(2, 5, 9, 8), (2, 5, 9), (1, 5, 6, 5, 4)])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(dtype, code, kind, shape):
    n = len(shape) - 2
    at = {"kernel": (3,) * n, "stride": (2,) * n, "pad": (1,) * n, "global_pool": False, "pooling_convention": "valid",
          "layout": None}
    whole = {**at, "pool_type": kind, "count_include_pad": False}
    x = numbers(dtype, *shape)
    y = exact("Pooling", (x,), OPS["Pooling"].parse(whole))
    g = numbers(dtype, *y.shape, seed=1)
    check(pooling.bind_pooling, "Pooling", (x,), whole)
    if kind == "max":
        check(pooling.bind_pool_scatter, "_pool_scatter", (g, x, y.astype(dtype)), at)
    else:
        check(pooling.bind_pool_spread, "_pool_spread", (g, x), whole)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(dtype, code, name):
    x = numbers(dtype, 6, 40)
    check(getattr(softmax, "bind_" + name), name, (x,), {"axis": -1})
    check(getattr(softmax, "bind_" + name), name, (numbers(dtype, 2, 40, 3),), {"axis": 1})
    y = exact(name, (x,), OPS[name].parse({"axis": -1})).astype(dtype)
    check(getattr(softmax, "bind_backward_" + name), "_backward_" + name, (numbers(dtype, 6, 40, seed=1), y), {"axis": -1})


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_into_float32(dtype, code, name):
    """As networks in float16 end: nothing is rounded to the narrow type."""
    check(getattr(softmax, "bind_" + name), name, (numbers(dtype, 6, 40),), {"axis": -1, "dtype": "float32"},
          out=np.dtype("float32"))


def test_a_mixture_of_types(onednn):
    a, b = numbers("float16", 12, 40), numbers(bfloat16(), 40, 20)
    check(product.bind_dot, "dot", (a, b), {}, out=np.dtype("float32"))
    assert product.bind_dot([spec_of(a), spec_of(b.astype("float64"))], [Spec((12, 20), a.dtype, (0, 1))],
                            OPS["dot"].parse({}), False) is None


def test_large_arrays_are_converted_in_shares(dtype):
    x = numbers(dtype, 3, 70, 41, 29)
    check(softmax.bind_softmax, "softmax", (x,), {"axis": 1})


def test_numbers_at_the_ends_of_the_range(dtype):
    """Infinities, nan, subnormal numbers, and results too large for the type."""
    top, tiny = {"float16": (65504, 2.0**-24), "bfloat16": (3.3895e38, 1e-38)}[dtype.name]
    a = np.array([[top, 0], [np.inf, 0], [np.nan, 0], [tiny, 0], [top, top], [1, 1]]).astype(dtype)
    b = np.array([[1, 2, 0.5], [0, 0, 1]]).astype(dtype)
    bound = product.bind_dot([spec_of(a), spec_of(b)], [Spec((6, 3), dtype, (0, 1))], OPS["dot"].parse({}), False)
    out = np.empty((6, 3), dtype)
    bound.run([a, b], [out])
    with np.errstate(all="ignore"):
        want = (a.astype(np.float64) @ b.astype(np.float64)).astype(dtype)
    np.testing.assert_array_equal(out.astype(np.float32), want.astype(np.float32))


# ---------------------------------------------------------------- copies
def test_copies_keep_every_number(dtype):
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype).reshape(4, 64, 16, 16)
    last = channels_last(4)
    moved = Incoming(Spec(every.shape, dtype, plain_order(4)), last)(every)
    assert spec_of(moved).lies(last)
    same = moved.view(np.uint16) == every.view(np.uint16)
    with np.errstate(invalid="ignore"):  # a signalling nan may become a quiet one
        assert np.all(same | (np.isnan(every) & np.isnan(moved)))
    bound = rearrange.bind_copy([spec_of(every)], [spec_of(every).ordered(last)], {}, False)
    out = in_order(np.zeros(every.shape, dtype), last)
    bound.run([every], [out])
    assert np.array_equal(out[same].view(np.uint16), every[same].view(np.uint16))


def test_joins(dtype):
    parts = [numbers(dtype, 2, c, 16, 20) for c in (8, 5)]
    bound = check(rearrange.bind_concat, "Concat", [in_order(p, channels_last(4)) for p in parts], {"dim": 1})
    assert bound.out_orders == [channels_last(4)]


# ---------------------------------------------------------------- eager
EAGER = {
    "FullyConnected": ("dense", [(64, 300), (80, 300), (80,)], {"num_hidden": 80}),
    "dot": ("dot", [(64, 300), (500, 300)], {"transpose_b": True}),
    "_backward_dot": ("backward_dot", [(64, 500), (64, 300), (500, 300)], {"transpose_a": False, "transpose_b": True, "of": 1}),
    "batch_dot": ("batch_dot", [(16, 50, 120), (16, 70, 120)], {"transpose_b": True}),
    "softmax": ("softmax", [(64, 300)], {"axis": -1}),
    "_backward_log_softmax": ("backward_log_softmax", [(64, 300), (64, 300)], {"axis": -1}),
}


@pytest.mark.parametrize("name", EAGER)
@pytest.mark.parametrize("memory", [np.ascontiguousarray, np.asfortranarray])
def test_eager_layers(dtype, name, memory):
    function, shapes, attrs = EAGER[name]
    arrays, parsed = [memory(numbers(dtype, *s, seed=i)) for i, s in enumerate(shapes)], OPS[name].parse(attrs)
    assert getattr(layers_eager, "takes_" + function)(*arrays, **parsed)
    got = getattr(layers_eager, function)(None, *arrays, **parsed)
    assert got.dtype == dtype
    rounded_once(got, exact(name, arrays, parsed))


def test_small_products_of_float16_are_left_to_numpy(onednn):
    parsed = OPS["dot"].parse({"transpose_b": True})
    for dtype, taken in ((np.dtype("float16"), False), (bfloat16(), True)):
        assert layers_eager.takes_dot(numbers(dtype, 64, 300), numbers(dtype, 80, 300), **parsed) == taken


@pytest.mark.parametrize("memory", [np.array, lambda a: a[:, ::-1], lambda a: in_order(a, channels_last(4))])
def test_eager_convolutions(dtype, memory):
    x, w = memory(numbers(dtype, 2, 8, 30, 31)), memory(numbers(dtype, 16, 8, 3, 3))
    g = memory(numbers(dtype, 2, 16, 30, 31, seed=1))
    _, _, at = family("plain")
    layer = {**at, "num_filter": 16, "no_bias": False}
    back = memory(numbers(dtype, 16, 8, 3, 3, seed=1))
    for name, arrays, attrs in (("_conv", (x, w), at), ("_conv_data", (g, w, x), at), ("_conv_weight", (x, g), at),
                                ("Convolution", (x, w, numbers(dtype, 16)), layer),
                                ("Deconvolution", (g, back, numbers(dtype, 8)), {**layer, "num_filter": 8})):
        parsed, function = OPS[name].parse(attrs), name.lower().removeprefix("_")
        assert getattr(convolution_eager, "takes_" + function)(*arrays, **parsed)
        got = getattr(convolution_eager, function)(None, *arrays, **parsed)
        assert got.dtype == dtype
        rounded_once(got, exact(name, arrays, parsed))


def test_eager_pooling(dtype):
    x = numbers(dtype, 4, 6, 20, 21)
    parsed = OPS["Pooling"].parse({"kernel": (2, 2), "stride": (2, 2), "pool_type": "max"})
    assert pooling_eager.takes_pooling(x, **parsed)
    y = pooling_eager.pooling(None, x, **parsed)
    rounded_once(y, exact("Pooling", [x], parsed))
    g = numbers(dtype, *y.shape, seed=1)
    at = {n: parsed[n] for n in ("kernel", "global_pool", "pooling_convention", "stride", "pad", "layout")}
    assert pooling_eager.takes_pool_scatter(g, x, y, **at)
    rounded_once(pooling_eager.pool_scatter(None, g, x, y, **at), exact("_pool_scatter", (g, x, y), at))
    assert not pooling_eager.takes_pool_scatter(g.astype("float32"), x, y, **at)


def test_by_operators(dtype):
    """From ``mx.nd`` on, where the resolution of kernels is part of it."""
    x, w = numbers(dtype, 4, 8, 40, 40), numbers(dtype, 16, 8, 3, 3)
    y = nd.Convolution(nd.array(x, dtype=dtype), nd.array(w, dtype=dtype), no_bias=True, kernel=(3, 3), num_filter=16)
    rounded_once(y.asnumpy(), exact("Convolution", (x, w), OPS["Convolution"].parse({"no_bias": True, "kernel": (3, 3),
                                                                                    "num_filter": 16})))
    assert math.isclose(float(nd.softmax(y.reshape((4, -1))).astype("float32").sum().asscalar()), 4, rel_tol=0.02)


def test_in_compiled_programs(dtype):
    """What follows a layer is absorbed, and the gradients are those of float32 networks on the same numbers."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(16, 3, padding=1, in_channels=8, activation="relu"), nn.AvgPool2D(), nn.Flatten(),
            nn.Dense(32, in_units=16 * 36, activation="relu"), nn.Dense(4, in_units=32))
    net.initialize()
    x, found = numbers(dtype, 4, 8, 12, 12), []
    for p in net.collect_params().values():
        p.set_data(nd.array(numbers(dtype, *p.shape).astype("float32") / 8))
    for kind in ("float32", dtype):
        net.cast(kind)
        net.hybridize()
        data = nd.array(x, dtype=kind)
        data.attach_grad()
        with autograd.record():
            y = net(data)
        y.backward()
        found.append([a.astype("float32").asnumpy() for a in (y, data.grad, *[p.grad() for p in net.collect_params().values()])])
    assert "Convolution relu" in net.explain() and "FullyConnected relu" in net.explain()
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=8 * ROUNDING[dtype.name], atol=8 * ROUNDING[dtype.name] * np.abs(want).max())
