"""Products and dense layers by cuBLASLt: any strides, batches, types; against NumPy."""

from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import mxcore as mx
from mxcore import autograd, gluon
from mxcore.dtype import dtype_of
from mxcore.errors import MXNetError, ShapeError
from mxcore_device.arrays import from_host
from mxcore_device.host import to_host
from mxcore_device.products import dense

TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 2e-3, "bfloat16": 2e-2}


@st.composite
def operands(draw):
    m, n, k = (draw(st.integers(1, 5)) for _ in range(3))
    batch = draw(st.sampled_from([(), (3,), (2, 3), (1, 2)]))
    small = draw(st.sampled_from([batch, (1,) * len(batch), ()]))
    return (*batch, m, k), (*small, k, n), draw(st.integers(0, 3)), draw(st.integers(0, 3))


def strided(machine, host, how):
    """The same values in memory of other strides: as they are, transposed, with gaps, backwards."""
    xp = machine.xp
    if how == 1:
        return xp.swapaxes(from_host(machine, np.ascontiguousarray(np.swapaxes(host, -1, -2))), -1, -2)
    if how == 2:
        wide = np.zeros((*host.shape[:-1], host.shape[-1] * 2 + 1), host.dtype)
        wide[..., 1::2] = host
        return from_host(machine, wide)[..., 1::2]
    if how == 3:
        return from_host(machine, np.ascontiguousarray(host[..., ::-1, :]))[..., ::-1, :]
    return from_host(machine, host)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=operands(), seed=st.integers(0, 9))
def test_matmul_is_numpys(machine, dtype, case, seed):
    left, right, how_left, how_right = case
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape).astype(dtype_of(dtype)) for shape in (left, right))
    found = to_host(machine.xp.matmul(strided(machine, a, how_left), strided(machine, b, how_right)))
    assert found.dtype == a.dtype
    np.testing.assert_allclose(found.astype(float), np.matmul(a.astype(float), b.astype(float)), rtol=TOLERANCE[dtype],
                               atol=TOLERANCE[dtype] * 5)


def test_integers_have_a_kernel_of_their_own(machine):
    a = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert (to_host(machine.xp.matmul(from_host(machine, a), from_host(machine, a.T))) == a @ a.T).all()


def test_nothing_to_sum_gives_zeros(machine):
    a, b = (from_host(machine, np.zeros(shape, np.float32)) for shape in ((3, 0), (0, 2)))
    assert (to_host(machine.xp.matmul(a, b)) == np.zeros((3, 2))).all()


@pytest.fixture
def plans(device):
    """The table of plans, empty."""
    from mxcore_cupy import blas

    blas._plan.cache_clear()
    yield blas._plan
    blas._plan.cache_clear()


def signatures(plans, monkeypatch):
    """Those that are asked for from now on: (type, sizes, left, right, bias, alignment, TF32)."""
    from mxcore_cupy import blas

    asked = []
    monkeypatch.setattr(blas, "_plan", lambda machine, *signature: asked.append(signature) or plans(machine, *signature))
    return asked


def random(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype_of(dtype))


def test_tensor_float_is_a_choice(machine, plans, monkeypatch):
    from mxcore_cupy import blas

    asked, loaded = [], blas.library().loaded
    create = loaded.cublasLtMatmulDescCreate
    monkeypatch.setattr(loaded, "cublasLtMatmulDescCreate", lambda *args: asked.append(args[1:]) or create(*args))
    a = from_host(machine, np.eye(4, dtype=np.float32))
    for tf32 in (False, True, False):
        monkeypatch.setattr(machine, "tf32", tf32)
        machine.xp.matmul(a, a)
    assert asked == [(68, 0), (77, 0)]


def test_a_plan_is_made_once(machine, plans):
    for seed in range(5):
        a, b = (from_host(machine, random((2, 4, 4), "float32", seed + k)) for k in range(2))
        machine.xp.matmul(a, b)
    assert (plans.cache_info().misses, plans.cache_info().hits) == (1, 4)
    machine.xp.matmul(a, machine.xp.swapaxes(b, 1, 2))
    assert plans.cache_info().misses == 2


def test_what_plans_hold_is_given_back(host, machine, plans):
    from mxcore_cupy import blas

    a = from_host(machine, random((4, 4), "float32"))
    machine.xp.matmul(a, a)
    plans.cache_clear()
    alive = host.LIBRARIES["cublasLt"].library.host_alive
    assert alive() == blas._handle.cache_info().currsize
    machine.xp.matmul(a, a)
    assert alive() == blas._handle.cache_info().currsize + 4  # the product, and three layouts


def test_one_matrix_after_many_is_one_product(machine, plans, monkeypatch):
    asked = signatures(plans, monkeypatch)
    a, b = random((2, 3, 4, 5), "float32"), random((5, 6), "float32")
    found = to_host(machine.xp.matmul(from_host(machine, a), from_host(machine, b)))
    assert [s[1] for s in asked] == [(24, 6, 5, 1)]
    np.testing.assert_allclose(found, a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_addresses_need_not_be_even(machine, plans, monkeypatch, dtype):
    asked = signatures(plans, monkeypatch)

    def placed(host, at):
        memory = np.zeros(host.size + at, host.dtype)
        memory[at:] = host.reshape(-1)
        return machine.xp.reshape(from_host(machine, memory)[at:], host.shape)

    size = dtype_of(dtype).itemsize
    a, b = random((8, 8), dtype), random((8, 8), dtype, 1)
    for at_a, at_b, alignment in ((0, 0, 256), (1, 0, size), (0, 2, 2 * size), (64, 12, 4 * size), (256, 512, 256)):
        found = to_host(machine.xp.matmul(placed(a, at_a), placed(b, at_b)))
        assert asked[-1][5] == alignment
        np.testing.assert_allclose(found.astype(float), a.astype(float) @ b.astype(float), rtol=TOLERANCE[dtype],
                                   atol=TOLERANCE[dtype] * 5)


def test_a_promise_that_is_broken_is_an_error(host, machine, plans):
    from mxcore_cupy import blas

    signature = machine, np.dtype("float32"), (4, 4, 4, 1), (False, 4, 0), (False, 4, 0), False
    room = machine.allocate(256)
    with pytest.raises(MXNetError, match=r"cuBLASLt: cublasLtMatmul failed: invalid value"):
        blas._plan(*signature, 256, False)(room.ptr, room.ptr, room.ptr + 4)
    blas._plan(*signature, 4, False)(room.ptr, room.ptr + 64, room.ptr + 68)


@pytest.mark.parametrize("how", ["status", "empty"])
def test_where_the_library_has_no_algorithm_our_kernel_runs(machine, plans, monkeypatch, how):
    from mxcore_cupy import blas

    monkeypatch.setattr(blas.library().loaded, "cublasLtMatmulAlgoGetHeuristic", lambda *_: 15 if how == "status" else 0)
    a, b = random((3, 9), "float32"), random((9, 2), "float32")
    assert not machine.product(from_host(machine, a @ b), from_host(machine, a), from_host(machine, b))
    found = to_host(machine.xp.matmul(from_host(machine, a), from_host(machine, b)))
    np.testing.assert_allclose(found, a @ b, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- dense layers
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("flatten", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 9), (2, 3, 4), (1, 1, 7), (0, 3)])
def test_a_dense_layer_is_numpys(device, dtype, flatten, bias, shape):
    x, b = random(shape, dtype), random(6, dtype, 2)
    w = random((6, x[0].size if flatten and len(x) else shape[-1]), dtype, 1)
    arrays = [mx.nd.array(a, ctx=device, dtype=dtype) for a in ((x, w, b) if bias else (x, w))]
    found = mx.nd.FullyConnected(*arrays, num_hidden=6, no_bias=not bias, flatten=flatten).asnumpy()
    rows = x.reshape(len(x), -1) if flatten and len(x) else x
    wanted = rows.astype(float) @ w.astype(float).T + (b.astype(float) if bias else 0)
    assert found.dtype == x.dtype and found.shape == wanted.shape
    np.testing.assert_allclose(found.astype(float), wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 10)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_bias_comes_with_the_product(host, machine, plans, monkeypatch, dtype):
    calls, launches = [], []
    perform, launch = machine.perform, machine.launch
    monkeypatch.setattr(machine, "perform", lambda *args: calls.append(args) or perform(*args))
    monkeypatch.setattr(machine, "launch", lambda *args: launches.append(args) or launch(*args))
    x, w, b = (from_host(machine, random(s, dtype)) for s in ((2, 3, 4), (5, 4), (5,)))
    dense(machine.xp, x, w, b, num_hidden=5, no_bias=False, flatten=False)
    assert (len(calls), len(launches)) == ((1, 1) if dtype == "float64" else (1, 0))  # of doubles the library adds none


def test_a_bias_with_gaps(machine):
    x, w, b = (random(s, "float32", k) for k, s in enumerate(((3, 4), (5, 4), (10,))))
    found = to_host(dense(machine.xp, *(from_host(machine, a) for a in (x, w)), from_host(machine, b)[::-2], num_hidden=5,
                          no_bias=False, flatten=True))
    np.testing.assert_allclose(found, x @ w.T + b[::-2], rtol=1e-5, atol=1e-5)


def test_a_wrong_dense_layer_is_an_error_as_on_the_cpu(device):
    for shapes in (((2, 3), (5, 3), (4,)), ((2, 3), (4, 2), (4,)), ((2, 3), (4, 3), (5,))):
        for ctx in (device, mx.cpu()):
            with pytest.raises(ShapeError, match="FullyConnected"):
                mx.nd.FullyConnected(*(mx.nd.ones(s, ctx=ctx) for s in shapes), num_hidden=4).wait_to_read()


def layers(ctx, dtype="float32"):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(7, flatten=False, in_units=9, activation="relu"), gluon.nn.Dense(3, in_units=21))
    net.initialize(ctx=ctx)
    for k, p in enumerate(net.collect_params().values()):
        p.set_data(mx.nd.array(random(p.shape, dtype, k), ctx=ctx))
    return net


def trained(ctx, calls=1, **how):
    """What the network answers, and the gradients."""
    net = layers(ctx)
    if how:
        net.hybridize(**how)
    for k in range(calls):
        x = mx.nd.array(random((4, 3, 9), "float32", 10 + k), ctx=ctx)
        x.attach_grad()
        with autograd.record():
            y = net(x)
            loss = (y * y).sum()
        loss.backward()
    return [a.asnumpy() for a in (y, x.grad, *(p.grad() for p in net.collect_params().values()))]


def test_gradients_of_dense_layers(device):
    for found, wanted in zip(trained(device), trained(mx.cpu()), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_recorded_dense_layers(device):
    for found, wanted in zip(trained(device, 6, static_alloc=True), trained(mx.cpu(), 6), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- workspaces and threads
def test_a_workspace_is_a_calls_own(host, machine, plans, monkeypatch):
    given, perform = [], machine.perform
    monkeypatch.setattr(machine, "perform", lambda *args: given.append(args) or perform(*args))
    a = from_host(machine, random((9, 9), "float32"))
    for _ in range(3):
        machine.xp.matmul(a, a)
    assert all(call.workspace and len(places) == 4 for call, *places in given)
    rooms = [places[-1][0] for _, *places in given]
    assert len({room.ptr for room in rooms}) == 3 and all(room.owner.nbytes >= plan.workspace for room, (plan, *_) in
                                                          zip(rooms, given, strict=True))


def test_a_recording_keeps_its_workspace(host, machine, plans):
    from mxcore_cupy.graphs import recorded

    xp = machine.xp
    a, out = from_host(machine, random((9, 9), "float32")), xp.zeros((9, 9), "float32")
    replay = recorded(machine, lambda: xp.copyto(out, xp.matmul(a, a)))
    size = plans(machine, np.dtype("float32"), (9, 9, 9, 1), (False, 9, 0), (False, 9, 0), False, 256, False).workspace
    others = [xp.ones((size // 4,), "float32") for _ in range(50)]  # in what is free
    replay()
    assert all((to_host(other) == 1).all() for other in others)
    np.testing.assert_allclose(to_host(out), to_host(a) @ to_host(a), rtol=1e-4, atol=1e-4)


def test_threads_share_plans_and_no_bias(machine, plans):
    x, w = from_host(machine, random((2, 40), "float32")), from_host(machine, random((30, 40), "float32", 1))
    wanted = to_host(x) @ to_host(w).T

    def work(number):
        bias = from_host(machine, np.full(30, number, np.float32))
        wrong = 0
        for _ in range(60):
            found = dense(machine.xp, x, w, bias, num_hidden=30, no_bias=False, flatten=True)
            with machine.lock:
                wrong += not np.allclose(to_host(found), wanted + number, atol=1e-3)
        return wrong

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, (10, 20, 30, 40))) == [0] * 4
    assert plans.cache_info().currsize == 1
