"""CUDA graphs: a hybridized network with ``static_alloc=True`` is recorded, and learns as one that is not."""

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, gluon


def network(dropout=0.0):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(4, 3, activation="relu", in_channels=1), gluon.nn.BatchNorm(in_channels=4), gluon.nn.MaxPool2D(2, 2),
            gluon.nn.Flatten(), gluon.nn.Dropout(dropout), gluon.nn.Dense(3, in_units=36))
    return net


def train(ctx, static, steps=6, dropout=0.0):
    mx.random.seed(1)
    np.random.seed(1)
    net = network(dropout)
    net.initialize(mx.init.Xavier())
    net.collect_params().reset_ctx(ctx)
    net.hybridize(static_alloc=static)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    rng, losses = np.random.default_rng(0), []
    for _ in range(steps):
        x = mx.nd.array(rng.standard_normal((4, 1, 8, 8)), ctx=ctx)
        y = mx.nd.array(rng.integers(0, 3, 4), ctx=ctx)
        with autograd.record():
            loss = loss_of(net(x), y)
        loss.backward()
        trainer.step(4)
        losses.append(loss.mean().asscalar())
    return losses, net


def test_a_recorded_network_learns_the_same(device):
    plain, _ = train(mx.cpu(), False)
    recorded, net = train(device, True)
    np.testing.assert_allclose(recorded, plain, rtol=1e-4)
    assert "not recorded" not in str(net.explain())


def test_the_graphs_are_replayed(host, device):
    before = host.Stream.replays
    train(device, True, steps=6)
    assert host.Stream.replays - before == 2 * 4  # two warm steps, then forward and backward of four


def test_inference_gives_arrays_of_its_own(device):
    _, net = train(device, True, steps=1)
    rng = np.random.default_rng(3)
    data = [mx.nd.array(rng.standard_normal((4, 1, 8, 8)), ctx=device) for _ in range(6)]
    together = [net(x) for x in data]  # a recording writes to the same places again
    net.hybridize(static_alloc=False)
    for x, y in zip(data, together, strict=True):
        np.testing.assert_allclose(y.asnumpy(), net(x).asnumpy(), rtol=1e-5)


def test_a_second_forward_run_before_the_backward_run(device):
    _, net = train(device, True, steps=4)
    a, b = (mx.nd.array(np.random.default_rng(k).standard_normal((4, 1, 8, 8)), ctx=device) for k in range(2))
    net.hybridize(static_alloc=True)
    for _ in range(4):
        with autograd.record():
            both = net(a).sum() + net(b).sum()
        both.backward()
    weight = net[5].weight
    found = weight.grad().asnumpy()
    net.hybridize(active=False)
    with autograd.record():
        both = net(a).sum() + net(b).sum()
    both.backward()
    np.testing.assert_allclose(found, weight.grad().asnumpy(), rtol=1e-3, atol=1e-4)


def test_random_numbers_are_not_recorded(device):
    _, net = train(device, True, steps=4, dropout=0.5)
    assert "not recorded, because it draws random numbers" in str(net.explain())


def test_a_parameter_with_new_memory(device):
    _, net = train(device, True, steps=4)
    x = mx.nd.array(np.ones((4, 1, 8, 8)), ctx=device)
    for _ in range(4):
        net(x)
    net[5].weight.set_data(net[5].weight.data() * 2)
    twice = net(x).asnumpy()
    net.hybridize(active=False)
    np.testing.assert_allclose(twice, net(x).asnumpy(), rtol=1e-5)


def test_a_recording_keeps_the_numbers_that_it_reads(host, device, machine, monkeypatch):
    from mxcore_cupy.graphs import recorded

    xp = machine.xp
    x, y = xp.ones((4,), "float32"), xp.zeros((4,), "float32")

    def step():
        xp.copyto(y, xp.multiply(x, 3.25))

    step()  # kernels are compiled, the number is made
    replay = recorded(machine, step)
    monkeypatch.setattr(machine, "_numbers", type(machine._numbers)())  # the cache lets go of it
    host.alloc(8)  # what would be written over it
    xp.copyto(y, 0.0)
    replay()
    assert machine.recorded is None and replay.read
    with machine.mapped(y) as found:
        assert found.tolist() == [3.25] * 4


def test_what_cannot_be_recorded_says_why(host, device):
    from mxcore.errors import MXNetError
    from mxcore_cupy.devices import machine
    from mxcore_cupy.graphs import recorded

    with pytest.raises(MXNetError, match="capturing"):
        recorded(machine(0), machine(0).finish)
    x = mx.nd.ones((3,), ctx=device)
    assert (x + 1).asnumpy().tolist() == [2, 2, 2]  # and nothing is left in between
