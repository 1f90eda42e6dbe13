"""Calls of operators that are repeated: the same results as the first calls', for any arrays of the same kind."""

import threading

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import mxcore as mx
from mxcore.errors import MXNetError
from mxcore_device.repeats import Repeated

nd = mx.nd
SHAPES = [(3, 4), (1, 4), (3, 1), (2, 3, 4)]
OPERATORS = {
    "add": lambda a, b: nd.broadcast_add(a, b),
    "gelu of a product": lambda a, b: nd.LeakyReLU(nd.broadcast_mul(a, b), act_type="gelu"),
    "softmax": lambda a, b: nd.softmax(a, axis=-1),
    "mean": lambda a, b: nd.mean(a, axis=-1),
    "norm": lambda a, b: nd.L2Normalization(a.reshape((a.shape[0], -1))),
    "dot": lambda a, b: nd.dot(a.reshape((-1, a.shape[-1])), b.reshape((-1, b.shape[-1])), transpose_b=True),
    "where": lambda a, b: nd.where(nd.broadcast_greater(a, b), nd.broadcast_add(a, b), nd.broadcast_sub(a, b)),
    "take": lambda a, b: nd.take(a, nd.array([1, 0, 5], ctx=a.ctx), axis=-1),
    "topk": lambda a, b: nd.topk(a, k=2),
    "concat": lambda a, b: nd.concat(nd.broadcast_add(a, b), nd.broadcast_add(b, a), dim=0),
}


def noted(machine):
    """How many kinds of calls can be repeated."""
    return sum(callable(v) for v in machine.known.values())


@pytest.fixture
def fresh(machine, monkeypatch):
    """Nothing is known yet."""
    monkeypatch.setattr(machine, "known", {})
    return machine


@pytest.fixture
def once(monkeypatch):
    """No kernel runs any more but those that are repeated."""

    def forbid():
        def called(self, *_):
            raise AssertionError(f"{self.name} was not repeated")

        monkeypatch.setattr(Repeated, "_first", called)

    return forbid


def strided(host, how, ctx):
    """These values as an array that lies in memory in one of several ways."""
    if how == 1:
        return nd.array(np.concatenate([host, host]), ctx=ctx)[len(host) :]
    if how == 2:
        return nd.array(np.pad(host, [(1, 0)] + [(0, 0)] * (host.ndim - 1)), ctx=ctx)[1:]
    return nd.array(host, ctx=ctx)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(st.sampled_from(sorted(OPERATORS)), st.sampled_from([(3, 4), (2, 3, 4)]), st.sampled_from(SHAPES),
                                st.integers(0, 2), st.booleans(), st.integers(0, 99)), min_size=1, max_size=4))
def test_any_calls_again_and_again(device, calls):
    for name, one, two, how, same, seed in [c for c in calls for _ in range(4)]:
        rng = np.random.default_rng(seed)
        a, b = (rng.standard_normal(shape).astype(np.float32) for shape in (one, two))
        if name == "dot" and one[-1] != two[-1]:
            continue
        x = strided(a, how, device)
        y = x if same else strided(b, how, device)
        found, wanted = OPERATORS[name](x, y), OPERATORS[name](nd.array(a), nd.array(a if same else b))
        np.testing.assert_allclose(found.asnumpy(), wanted.asnumpy(), rtol=2e-5, atol=1e-5)


def test_the_third_call_runs_no_kernel_of_python(device, fresh, once):
    arrays = [nd.array(np.full((3, 4), k, np.float32), ctx=device) for k in range(1, 9)]
    for a in arrays[:6]:
        a + a  # fused after two calls, noted, repeated
        nd.tanh(a)
        nd.softmax(a)
        nd.FullyConnected(a, a, no_bias=True, num_hidden=3)
    once()
    a, b = arrays[6:]
    assert (a + b).asnumpy().tolist() == [[15] * 4] * 3
    assert (nd.tanh(b).asnumpy() == np.tanh(np.float32(8))).all() and (nd.softmax(a).asnumpy() == 0.25).all()
    assert (nd.FullyConnected(a, b, no_bias=True, num_hidden=3).asnumpy() == 4 * 7 * 8).all()


@pytest.mark.parametrize("hybridized", [False, True])
def test_a_whole_training_step_is_repeated(device, once, hybridized):
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, in_channels=1, activation="tanh"), nn.AvgPool2D(2), nn.BatchNorm(in_channels=4), nn.MaxPool2D(2),
            nn.Conv2D(5, 2, in_channels=4), nn.Flatten(), nn.LayerNorm(in_channels=5), nn.Dense(3, in_units=5))
    net.initialize(ctx=device)
    net.hybridize(hybridized)
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    x, y = nd.array(np.random.default_rng(0).standard_normal((4, 1, 10, 10)), ctx=device), nd.array([0, 1, 2, 0], ctx=device)
    losses = []
    for k in range(14):
        if k == 10:
            once()
        with mx.autograd.record():
            loss = loss_of(net(x), y)
        loss.backward()
        trainer.step(4)
        losses.append(float(loss.mean().asnumpy()[0]) if k in (0, 9) else loss)
    assert losses[9] < losses[0] and float(losses[13].asnumpy().mean()) < losses[9]


def test_attributes_are_part_of_the_kind(device):
    whole, x = nd.array([4, 5], dtype="int32", ctx=device), nd.array([1.0, -1.0], ctx=device)
    for _ in range(5):
        assert (whole * 2).asnumpy().tolist() == [8, 10]
        assert np.signbit((x * 0.0).asnumpy()).tolist() == [False, True]
        assert np.signbit((x * -0.0).asnumpy()).tolist() == [True, False]
        assert nd.clip(x, 0, 1).asnumpy().tolist() == [1, 0] and nd.clip(x, -1, 0).asnumpy().tolist() == [0, -1]
        assert nd.argmax(x, axis=0).asnumpy().tolist() == [0]
        assert np.isnan((x * float("nan")).asnumpy()).all()


def test_what_looks_at_numbers_is_not_repeated(device, fresh):
    for mask in ([1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]):
        rows = nd.contrib.boolean_mask(nd.array(np.arange(6.0).reshape(3, 2), ctx=device), nd.array(mask, ctx=device))
        assert rows.shape == (sum(mask), 2)


def test_what_gives_its_argument_back_is_not_repeated(device):
    x = nd.array([1.0, 2.0], ctx=device)
    for _ in range(5):
        y = nd.identity(x)
        y += 1
        z = x.astype("float32")
        z += 1
        assert x.asnumpy().tolist() == [1, 2] and y.asnumpy().tolist() == z.asnumpy().tolist() == [2, 3]


def test_results_are_not_each_others(device):
    x = nd.array([1.0, 2.0], ctx=device)
    results = [nd.square(x * k) for k in range(6)]
    assert [r.asnumpy().tolist() for r in results] == [[k * k, 4 * k * k] for k in range(6)]


def test_gradients(device):
    def gradient(ctx, k):
        x = nd.array(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4) * k, ctx=ctx)
        x.attach_grad()
        with mx.autograd.record():
            y = nd.softmax(nd.FullyConnected(nd.LayerNorm(x, nd.ones(4, ctx=ctx), nd.zeros(4, ctx=ctx)), x, no_bias=True,
                                             num_hidden=3)).log().sum()
        y.backward()
        return x.grad.asnumpy()

    for k in range(1, 6):
        np.testing.assert_allclose(gradient(device, k), gradient(mx.cpu(), k), rtol=1e-4, atol=1e-5)


def test_several_devices(host, device):
    for k in range(5):
        for index in range(host.DEVICES):
            x = nd.array([-1.0, k], ctx=mx.Context("cuda", index))
            y, here = nd.relu(x) + nd.softmax(x), x.copyto(mx.cpu())
            assert y.ctx == x.ctx
            np.testing.assert_allclose(y.asnumpy(), (nd.relu(here) + nd.softmax(here)).asnumpy(), 1e-5)


def test_threads(device):
    failed = []

    def work(k):
        for i in range(200):
            x = nd.array([k, i], ctx=device)
            found = (nd.tanh(x) + x * 2).asnumpy()
            if not np.allclose(found, np.tanh([k, i]) + 2.0 * np.array([k, i])):
                failed.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_an_error_names_the_kernel(host, device, machine, fresh, monkeypatch):
    def fail(*_):
        raise host.CUDADriverError("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered")

    x = nd.array([1.0, 2.0], ctx=device)
    for _ in range(3):
        nd.cbrt(x)
    monkeypatch.setattr(machine, "driver_launch", fail)
    with pytest.raises(MXNetError, match=r"cbrt.*ILLEGAL_ADDRESS.*The last kernels were: .*f_cbrt"):
        nd.cbrt(x)


def test_each_kernel_may_be_waited_for(device, machine, fresh, monkeypatch):
    waits = []
    monkeypatch.setattr(machine, "blocking", True)
    monkeypatch.setattr(machine, "finish", lambda: waits.append(1))
    x = nd.array([1.0, 2.0], ctx=device)
    for _ in range(5):
        nd.cbrt(x)
    assert len(waits) == 5


def test_no_more_kinds_than_a_bound(device, fresh, monkeypatch):
    from mxcore_device import repeats

    monkeypatch.setattr(repeats, "_MOST", 40)
    x = nd.ones(2, ctx=device)
    for k in range(200):
        x * k
    assert len(fresh.known) <= 40 and (x * 3).asnumpy().tolist() == [3, 3]


def test_memory_in_between_is_used_again(device, fresh):
    x = nd.ones((64, 64), ctx=device)
    for _ in range(4):
        nd.LeakyReLU(x, act_type="selu")
        nd.smooth_l1(x)
        nd.contrib.interleaved_matmul_selfatt_qk(nd.ones((4, 2, 24), ctx=device), heads=2)
    found = [getattr(v, "__self__", v) for v in fresh.known.values() if callable(v)]
    assert noted(fresh) >= 3 and any(len(r.steps) > 1 and r.room for r in found if hasattr(r, "room"))


def test_memory_of_others_that_begins_anywhere(device, host):
    import cupy

    raw = cupy.sort(np.arange(300, dtype=np.float32))
    for begin in (0, 1, 3, 64, 65):
        for _ in range(4):
            x = mx.nd.from_dlpack(raw[begin : begin + 100])
            np.testing.assert_allclose((x * 2 + 1).copyto(mx.cpu()).asnumpy(), np.arange(begin, begin + 100) * 2 + 1)
