"""Products, windows and generated kernels against NumPy, on both routes."""

import numpy as np
import pytest

import mxcore as mx
from mxcore import nd
from mxcore.registry import expr as E
from mxcore.registry.loop import Loop, Reduction, run_loop
from mxcore.registry.op import OPS
from mxcore.runtime.device import backend_named


def host(a):
    from mxcore_device.host import to_host

    return to_host(a)


def numbers(*shape):
    return np.random.default_rng(list(shape)).normal(size=shape).astype("float32")


@pytest.mark.parametrize("a, b", [((33, 17), (17, 40)), ((2, 5, 7), (7, 3)), ((1, 4, 2), (3, 2, 6)), ((7,), (7, 2)),
                                  ((3, 7), (7,)), ((65, 130), (130, 1)), ((2, 0), (0, 3)), ((2, 3, 4, 5), (2, 1, 5, 4))])
def test_matmul(machine, route, a, b):
    xp, u, v = machine.xp, numbers(*a), numbers(*b)
    np.testing.assert_allclose(host(xp.matmul(xp.asarray(u), xp.asarray(v))), u @ v, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_matmul_of_views_and_types(machine, route, dtype):
    xp, u, v = machine.xp, (numbers(20, 6) * 4).astype(dtype), (numbers(9, 12) * 4).astype(dtype)
    got = host(xp.matmul(xp.transpose(xp.asarray(u))[::2, :9], xp.asarray(v)[::-1, 1:7]))
    want = u.T[::2, :9].astype("float64") @ v[::-1, 1:7].astype("float64")
    assert got.dtype == dtype
    np.testing.assert_allclose(got, want.astype(dtype), rtol=2e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("subscripts", ["ij,jk->ik", "bij,bjk->bki", "ij,ij->", "ijk,jk->i", "ij->ji", "ijk->j", "ij,k->kj"])
def test_einsum_as_products(machine, route, subscripts):
    sizes = {"b": 2, "i": 3, "j": 4, "k": 5}
    arrays = [numbers(*[sizes[x] for x in term]) for term in subscripts.partition("->")[0].split(",")]
    got = machine.xp.einsum(subscripts, *map(machine.xp.asarray, arrays))
    np.testing.assert_allclose(host(got), np.einsum(subscripts, *arrays), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims, stride, dilate, pad, groups", [(1, 2, 1, 1, 1), (2, 1, 1, 0, 1), (2, 2, 1, 2, 2), (2, 1, 2, 1, 4),
                                                              (3, 2, 1, 1, 1)])
def test_convolution_and_gradients(device, route, dims, stride, dilate, pad, groups):
    x, w = numbers(2, 4, *(9,) * dims), numbers(8, 4 // groups, *(3,) * dims)
    results = []
    for ctx in (mx.cpu(), device):
        data, weight = nd.array(x, ctx=ctx), nd.array(w, ctx=ctx)
        data.attach_grad()
        weight.attach_grad()
        with mx.autograd.record():
            y = nd.Convolution(data, weight, kernel=(3,) * dims, stride=(stride,) * dims, dilate=(dilate,) * dims,
                               pad=(pad,) * dims, num_group=groups, num_filter=8, no_bias=True)
        y.backward(y)
        results.append([a.asnumpy() for a in (y, data.grad, weight.grad)])
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
@pytest.mark.parametrize("convention, pad, stride", [("valid", 0, 2), ("full", 1, 3), ("valid", 1, 1)])
def test_pooling_and_gradients(device, kind, convention, pad, stride):
    x = np.round(numbers(2, 3, 8, 7) * 2)  # with equal maxima, of which the first counts
    results = []
    for ctx in (mx.cpu(), device):
        data = nd.array(x, ctx=ctx)
        data.attach_grad()
        with mx.autograd.record():
            y = nd.Pooling(data, kernel=(3, 2), pad=(pad, pad), stride=(stride, stride), pool_type=kind,
                           pooling_convention=convention, count_include_pad=False)
        y.backward(y)
        results.append([y.asnumpy(), data.grad.asnumpy()])
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def _loop(dtype="float32"):
    x, w, b = (E.arg(n) for n in ("x", "w", "b"))
    y = E.maximum(x * w + b, 0) * E.tanh(x)
    return Loop((40, 6, 5), np.dtype(dtype), ("x", "w", "b"), (y, E.exp(y * 0.1), y, E.where(y > 0, x, 0)),
                (None, Reduction((0, 2), (1, 6, 1)), None, Reduction((0, 1, 2), ())))


@pytest.mark.parametrize("types", [("float32",) * 3, ("float16", "float32", "bool")])
def test_loops_are_kernels(machine, monkeypatch, types):
    from mxcore_device.fused import _run_fused

    monkeypatch.setenv("MXCORE_FUSE_AFTER", "0")
    arrays = [numbers(40, 6, 5).astype(types[0]), numbers(6, 1).astype(types[1]), numbers(1, 1, 5).astype(types[2])]
    loop, dtypes = _loop(), [np.dtype(n) for n in ("float32", "float32", "float16", "float32")]
    raws = [machine.xp.asarray(a) for a in arrays]
    launches, launch = [], machine.launch
    monkeypatch.setattr(machine, "launch", lambda kernel, *rest: (launches.append(kernel.function_name), launch(kernel, *rest)))
    got = _run_fused(machine.xp, *raws, loop=loop, dtypes=dtypes)
    assert sorted(launches) == ["loop", "sum_group", "sum_group"]
    want = run_loop(backend_named("numpy").xp, loop, arrays, dtypes)
    for a, b in zip(got, want, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(host(a).astype("float64"), b.astype("float64"), rtol=3e-3 if b.dtype == "float16" else 1e-5,
                                   atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name, attrs", [("sigmoid", {}), ("softsign", {}), ("smooth_l1", {"scalar": 1.5}),
                                         ("_rminus_scalar", {"scalar": 2.0})])
def test_operators_are_kernels(device, machine, monkeypatch, name, attrs, dtype):
    monkeypatch.setenv("MXCORE_FUSE_AFTER", "0")
    from mxcore.registry.kernels import generic_of
    from mxcore_device.fused import kernel_of

    op = OPS[name]
    x = nd.array(numbers(3, 5), ctx=device, dtype=dtype)._data
    generic = generic_of(op)
    kernel = kernel_of(op, generic) or generic
    want = host(generic(machine.xp, x, **attrs)).astype("float64")
    launches, launch = [], machine.launch
    monkeypatch.setattr(machine, "launch", lambda kernel, *rest: (launches.append(1), launch(kernel, *rest)))
    got = kernel(machine.xp, x, **attrs)
    assert len(launches) == 1 and got.dtype == x.dtype
    np.testing.assert_allclose(host(got).astype("float64"), want, rtol={"float64": 1e-12, "float32": 1e-5}.get(dtype, 1e-2))


def test_scattered_sums_at_once(machine, route):
    a, i, v = numbers(5, 3), np.random.default_rng(0).integers(0, 5, 400), numbers(400, 3)
    x = machine.xp.asarray(a)
    machine.xp.add_at(x, (machine.xp.asarray(i),), machine.xp.asarray(v))
    want = a.astype("float64")
    np.add.at(want, i, v)
    np.testing.assert_allclose(host(x), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("name, states, attrs", [
    ("sgd_update", 0, {"wd": 0.1}), ("sgd_mom_update", 1, {"momentum": 0.9, "clip_gradient": 0.5}),
    ("adam_update", 2, {"wd": 0.01, "rescale_grad": 0.5}), ("ftrl_update", 2, {})])
def test_updates_are_one_kernel_that_writes_in_place(device, machine, monkeypatch, name, states, attrs, dtype):
    monkeypatch.setenv("MXCORE_FUSE_AFTER", "0")
    arrays = [(np.abs(numbers(5, 3)) + k).astype(dtype) for k in range(2 + states)]
    results = []
    for ctx in (mx.cpu(), device):
        given = [nd.array(a, ctx=ctx, dtype=dtype) for a in arrays]
        for step, lr in enumerate((0.1, 0.05)):
            launches, launch = [], machine.launch
            with monkeypatch.context() as patch:
                patch.setattr(machine, "launch", lambda kernel, *rest, seen=launches, go=launch: (seen.append(1),
                                                                                                  go(kernel, *rest)))
                place = given[0]._data
                getattr(nd, name)(*given, out=given[0], lr=lr, **attrs)
            assert given[0]._data is place
            assert ctx == mx.cpu() or len(launches) == 1, step
        results.append([a.asnumpy().astype("float64") for a in given])
    for want, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol={"float64": 1e-12, "float32": 1e-5}.get(dtype, 2e-3), atol=1e-7)


def test_an_update_that_cannot_be_traced_is_computed_by_functions(device, monkeypatch):
    monkeypatch.setenv("MXCORE_FUSE_AFTER", "0")
    results = []
    for ctx in (mx.cpu(), device):
        w, g, m, v = (nd.array(np.abs(numbers(4, 3)) + k, ctx=ctx) for k in range(4))
        for t in range(1, 16):  # a number that changes at each step, of which no kernels are made without end
            nd.ftml_update(w, g, m, v, nd.zeros((4, 3), ctx=ctx), out=w, lr=0.1, t=t)
        results.append(w.asnumpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4)
