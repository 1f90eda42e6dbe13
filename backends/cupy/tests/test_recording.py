"""CUDA graphs: a hybridized network with ``static_alloc=True`` is recorded, and learns as one that is not."""

import copy

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, gluon, nd
from mxcore.registry.op import OPS
from mxcore.runtime.device import device_of
from mxcore.runtime.invoke import generator
from mxcore.runtime.scope import Replay


def network(dropout=0.0):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(4, 3, activation="relu", in_channels=1), gluon.nn.BatchNorm(in_channels=4), gluon.nn.MaxPool2D(2, 2),
            gluon.nn.Flatten(), gluon.nn.Dropout(dropout), gluon.nn.Dense(3, in_units=36))
    return net


class Draws(gluon.HybridBlock):
    """All that generators offer but orders, added to the input."""

    def hybrid_forward(self, F, x):
        r, wide = F.random, {"shape": (4, 5), "dtype": "float64"}
        drawn = (r.uniform(shape=(4, 5)), r.uniform(**wide), r.normal(1, 2, shape=(4, 5)), r.normal(**wide),
                 r.exponential(2, shape=(4, 5)), r.gamma(0.5, 2, shape=(4, 5)), r.gamma(3, **wide), r.poisson(20, shape=(4, 5)),
                 r.randint(-9, 9, shape=(4, 5)), r.negative_binomial(3, 0.4, shape=(4, 5)))
        return x + F.stack(*[F.cast(d, "float32") for d in drawn])


class Shuffles(gluon.HybridBlock):
    def hybrid_forward(self, F, x):
        return F.shuffle(x) + 0 * F.random.uniform(shape=(20,))


def static(net, on=True):
    net.hybridize(static_alloc=on)
    return net


def replays(host, run):
    """How many graphs ``run()`` replays, and what it returns."""
    before = host.Stream.replays
    result = run()
    return host.Stream.replays - before, result


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


def test_gradients_by_parameters_are_written_by_the_recording(host, device, machine, monkeypatch):
    net = gluon.nn.HybridSequential()
    net.add(*[gluon.nn.Dense(4, in_units=4, activation="relu") for _ in range(6)])
    net.initialize(ctx=device)
    net.hybridize(static_alloc=True)
    copies, copy = [], machine.copy
    x = nd.array(np.random.default_rng(2).standard_normal((3, 4)), ctx=device)
    for k in range(6):
        if k == 5:
            monkeypatch.setattr(machine, "copy", lambda *what: copies.append(what) or copy(*what))
        with autograd.record():
            y = net(x)
        y.backward()
    assert 0 < len(copies) <= 3  # input, output, gradient of the output; not those of twelve parameters
    found = [p.grad().asnumpy() for p in net.collect_params().values()]
    net.hybridize(active=False)
    with autograd.record():
        y = net(x)
    y.backward()
    for p, g in zip(net.collect_params().values(), found, strict=True):
        np.testing.assert_allclose(g, p.grad().asnumpy(), rtol=1e-5, atol=1e-6)


def test_gradients_that_are_added_up(device):
    net = static(gluon.nn.Dense(2, in_units=2, use_bias=False))
    net.initialize(ctx=device)
    net.weight.grad_req = "add"
    x = nd.array([[1.0, 2.0]], ctx=device)
    for k in range(1, 7):
        with autograd.record():
            y = net(x) + net(2 * x)
        y.backward()
        assert net.weight.grad().asnumpy().tolist() == [[3 * k, 6 * k]] * 2


class Constants(gluon.HybridBlock):
    """What follows from a parameter and from shapes alone is computed outside of the recording."""

    def __init__(self):
        super().__init__()
        self.weight = self.params.get("weight", shape=(3,), init=mx.init.One())

    def hybrid_forward(self, F, x, weight):
        return F.concat(F.ones_like(x), F.broadcast_mul(x, weight), dim=0)


def test_what_follows_from_parameters_alone(host, device):
    net = static(Constants())
    net.initialize(ctx=device)
    for k in range(6):
        net.weight.set_data(nd.full((3,), k))
        assert net(nd.ones((1, 3), ctx=device)).asnumpy().tolist() == [[1] * 3, [k] * 3]


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


def test_a_recorded_network_with_dropout_learns_the_same(host, device):
    plain, other = train(device, False, dropout=0.5)
    number, (recorded, net) = replays(host, lambda: train(device, True, dropout=0.5))
    assert number == 2 * 4 and "not recorded" not in str(net.explain())
    np.testing.assert_allclose(recorded, plain, rtol=1e-5)
    for a, b in zip(net.collect_params().values(), other.collect_params().values(), strict=True):
        np.testing.assert_allclose(a.data().asnumpy(), b.data().asnumpy(), rtol=1e-3, atol=1e-5)
        if a.grad_req != "null":
            np.testing.assert_allclose(a.grad().asnumpy(), b.grad().asnumpy(), rtol=1e-3, atol=1e-5)
    assert not np.allclose(train(device, True)[0], recorded, rtol=1e-3)  # the dropout did something


def test_recorded_numbers_are_those_of_a_run_step_by_step(host, device):
    x = nd.zeros((10, 4, 5), ctx=device)

    def steps(net):
        mx.random.seed(3)
        return [net(x).asnumpy() for _ in range(6)]

    plain = steps(static(Draws(), False))
    number, recorded = replays(host, lambda: steps(static(Draws())))
    assert number == 4
    np.testing.assert_array_equal(recorded, plain)
    for k in range(10):
        assert len({step[k].tobytes() for step in recorded}) == 6  # no two steps draw the same


def test_a_seed_is_obeyed_between_replays(host, device):
    net, x = static(Draws()), nd.zeros((10, 4, 5), ctx=device)
    for _ in range(4):
        net(x)
    mx.random.seed(11)
    number, (first, second) = replays(host, lambda: (net(x).asnumpy(), net(x).asnumpy()))
    mx.random.seed(11, ctx=device)
    again = net(x).asnumpy()
    mx.random.seed(11)
    static(net, False)
    np.testing.assert_array_equal([first, second], [net(x).asnumpy(), net(x).asnumpy()])
    np.testing.assert_array_equal(again, first)
    assert number == 2 and not np.array_equal(first, second)


def test_nets_and_single_calls_draw_in_turn(host, device):
    x = nd.ones((6, 7), ctx=device)

    def steps(on):
        mx.random.seed(5)
        one, two, seen = static(gluon.nn.Dropout(0.5), on), static(gluon.nn.Dropout(0.25), on), []
        for _ in range(5):
            with autograd.train_mode():
                seen += [one(x), nd.random.normal(shape=(6, 7), ctx=device), two(x), one(x)]
        return [a.asnumpy() for a in seen]

    plain = steps(False)
    number, recorded = replays(host, lambda: steps(True))
    assert number == 8 + 3
    np.testing.assert_array_equal(recorded, plain)
    assert len({a.tobytes() for a in recorded}) == 20


def test_a_gradient_that_runs_the_definition_again_drops_the_same(host, device):
    """A gradient that can be differentiated again comes from the definition, with a copy of the generator of the forward run."""
    x = nd.array(np.random.default_rng(0).standard_normal((5, 8)), ctx=device)
    x.attach_grad()

    def steps(on):
        mx.random.seed(9)
        net, seen = gluon.nn.HybridSequential(), []
        net.add(gluon.nn.Dropout(0.5), gluon.nn.Activation("tanh"))
        static(net, on)

        def step():
            with autograd.record():
                y = net(x)
                nd.random.uniform(shape=(3,), ctx=device)
                g = autograd.grad(y, x, create_graph=True)[0]
            g.backward()
            return [y.asnumpy(), g.asnumpy(), x.grad.asnumpy()]

        for _ in range(5):
            seen += step()
        return seen

    plain = steps(False)
    number, recorded = replays(host, lambda: steps(True))
    assert number == 3
    np.testing.assert_allclose(recorded, plain, rtol=1e-6)
    for y, g, _ in zip(*[iter(recorded)] * 3, strict=True):
        np.testing.assert_array_equal(y == 0, g == 0)


def test_a_definition_that_runs_again_leaves_states_and_generator(device):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.BatchNorm(in_channels=4), gluon.nn.Dropout(0.5))
    net.initialize(ctx=device)
    static(net)
    x = nd.array(np.random.default_rng(0).standard_normal((6, 4)), ctx=device)
    with autograd.train_mode():
        for _ in range(4):
            net(x)
        before = copy.deepcopy(generator(device_of(device)))
        y, mean = net(x).asnumpy(), net[0].running_mean.data().asnumpy()
        with Replay(before):
            again = net(x).asnumpy()
    np.testing.assert_allclose(again, y, rtol=1e-5)
    np.testing.assert_array_equal(net[0].running_mean.data().asnumpy(), mean)


def test_orders_made_by_the_host_are_not_recorded(host, device):
    x = nd.arange(20, ctx=device)

    def steps(net):
        mx.random.seed(2)
        return [net(x).asnumpy() for _ in range(5)]

    plain, net = steps(static(Shuffles(), False)), static(Shuffles())
    number, found = replays(host, lambda: steps(net))
    np.testing.assert_array_equal(found, plain)
    assert number == 0 and "random orders are made by the host, so they cannot be recorded" in str(net.explain())


@pytest.mark.parametrize("case", ["no recording", "another device"])
def test_numbers_that_a_replay_would_repeat_are_not_recorded(host, device, monkeypatch, case):
    if case == "no recording":
        from mxcore_device.random import Generator

        monkeypatch.delattr(Generator, "recording")
        why = "it draws random numbers"
    else:
        other = device_of(mx.Context("cuda", 1))

        def kernel(xp, x, *, rng, **_):
            generator(other).random(x.shape)
            return dropout(xp, x, rng=rng, **_)

        dropout = OPS["Dropout"].kernels["cupy"]
        monkeypatch.setitem(OPS["Dropout"].kernels, "cupy", kernel)
        why = "another generator than its device's"
    net, x = static(gluon.nn.Dropout(0.5)), nd.ones((4, 5), ctx=device)
    with autograd.train_mode():
        number, seen = replays(host, lambda: [net(x).asnumpy() for _ in range(5)])
    assert number == 0 and why in str(net.explain())
    assert len({a.tobytes() for a in seen}) == 5


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
