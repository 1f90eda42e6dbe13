"""Recurrent layers by cuDNN against the NumPy backend, and where the operator's definition takes their place."""

import gc
import types
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mxcore as mx
from mxcore import autograd, gluon
from mxcore.ops.rnn import Layout, definition
from mxcore.registry import OPS
from mxcore.registry.kernels import generic_of
from mxcore.runtime.device import device_of
from mxcore_device.arrays import from_host
from mxcore_device.host import to_host

MODES = ["lstm", "gru", "rnn_tanh", "rnn_relu"]
TOLERANCE = {"float32": 3e-5, "float64": 1e-11, "float16": 1e-2, "bfloat16": 6e-2}
FORWARD, DATA, WEIGHTS = range(3)


@pytest.fixture
def recurrent(device):
    """The module, where there is a cuDNN."""
    from mxcore_cupy import dnn, recurrent

    if dnn.library() is None:
        pytest.skip("cuDNN is not installed")
    mx.nd.ones(1, ctx=device)  # the definition takes arrays of the device from now on
    return recurrent


@pytest.fixture
def calls(host, recurrent):
    """Counts calls of cuDNN: forward, for data, for weights."""
    library = host.LIBRARIES["cudnn"].library
    return lambda: [library.host_rnn_calls(k) for k in range(3)]


@pytest.fixture
def without(monkeypatch, machine):
    """A process without cuDNN, from when it is called."""
    from mxcore_cupy import dnn

    def remove():
        monkeypatch.setattr(machine, "known", {})  # calls that have been noted would be repeated as they were
        monkeypatch.setattr(dnn, "library", lambda: None)

    return remove


class Case:
    """Arrays of a network, and what the definition gives for them on the host."""

    def __init__(self, mode, layers, both, dtype="float32", steps=4, batch=3, inputs=5, size=6, last=True, seed=0):
        mx.nd.ones(1)  # loads operators
        rng, directions = np.random.default_rng(seed), 2 if both else 1
        self.lay, self.steps = Layout(mode, inputs, size, layers, directions, 0), steps
        self.sizes = {"mode": mode, "state_size": size, "num_layers": layers, "bidirectional": both, "projection_size": None}
        self.attrs = OPS["RNN"].parse({**self.sizes, "state_outputs": True})

        def numbers(*shape):
            return rng.uniform(-0.7, 0.7, shape).astype(dtype)

        states = [numbers(layers * directions, batch, size) for _ in range(2 if mode == "lstm" else 1)]
        self.forward = [numbers(steps, batch, inputs), numbers(self.lay.size()), *states]
        self.dy = numbers(steps, batch, size * directions)
        self.dlast = [numbers(*s.shape) if last else None for s in states] + [None] * (2 - len(states))

    def back_attrs(self, p=0.0):
        return {**self.sizes, "p": p, "use_sequence_length": False}

    def backward(self, made):
        """Arguments of the gradient after a forward pass that made this."""
        data, parameters, state, *cell = self.forward
        return [self.dy, data, parameters, state, made[0], made[-2], made[-1], cell[0] if cell else None, None, *self.dlast]

    def wanted(self):
        """Of the definition, by NumPy: forward and backward."""
        xp = device_of(mx.cpu()).xp
        made = generic_of(OPS["RNN"])(xp, *self.forward, **self.attrs, is_train=True, rng=None)
        return made, generic_of(OPS["_backward_RNN"])(xp, *self.backward(made), **self.back_attrs())


def put(machine, arrays, how=0):
    """On the device; ``how``: as they are, with axes in another order, or from an odd place on."""
    def one(a):
        if a is None or how == 0:
            return a if a is None else from_host(machine, a)
        if how == 1:
            return machine.xp.transpose(from_host(machine, np.ascontiguousarray(a.T)))
        return machine.xp.reshape(from_host(machine, np.append(a.dtype.type(0), a.ravel()))[1:], a.shape)

    return [one(a) for a in arrays]


def close(got, want, dtype):
    assert len(got) == len(want)
    for k, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape
        a, b = a.astype("float64"), b.astype("float64")
        size = TOLERANCE[dtype] * max(1, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=size, err_msg=f"result {k}")


def hosted(arrays):
    return [to_host(a) for a in arrays]


networks = st.builds(Case, st.sampled_from(MODES), st.integers(1, 3), st.booleans(), st.sampled_from(["float32", "float64"]),
                     steps=st.integers(1, 5), batch=st.integers(1, 4), inputs=st.integers(1, 4), size=st.integers(1, 4),
                     last=st.booleans(), seed=st.integers(0, 99))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=networks, how=st.integers(0, 2))
def test_kernels(recurrent, machine, case, how):
    dtype = case.forward[0].dtype.name
    want, want_back = case.wanted()
    given = put(machine, case.forward, how)
    assert recurrent.takes_rnn(*given, **case.attrs, is_train=True, rng=None)
    made = recurrent.rnn(machine.xp, *given, **case.attrs, is_train=True, rng=None)
    close(hosted(made[:-1]), want[:-1], dtype)
    arguments = put(machine, [a if k not in (4, 5, 6) else None for k, a in enumerate(case.backward(want))], how)
    arguments[4:7] = made[0], made[-2], made[-1]
    assert recurrent.takes_backward_rnn(*arguments, **case.back_attrs())
    assert not recurrent.takes_backward_rnn(*arguments[:6], made[-1][1:], *arguments[7:], **case.back_attrs())
    for _ in range(2):  # what was kept serves again
        close(hosted(recurrent.backward_rnn(machine.xp, *arguments, **case.back_attrs())), want_back, dtype)
    quick = recurrent.rnn(machine.xp, *given, **case.attrs, is_train=False, rng=None)
    close(hosted(quick[:-1]), want[:-1], dtype)
    assert quick[-1].shape == (0,)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_dropout_is_the_operators(recurrent, machine, mode, both):
    """The mask between layers is an output, and forward and backward pass use it as the definition does."""
    case, xp = Case(mode, 3, both, "float64"), machine.xp
    given, attrs = put(machine, case.forward), {**case.attrs, "p": 0.5}
    draws = types.SimpleNamespace(
        random=lambda shape, dtype: from_host(machine, np.random.default_rng(5).random(shape).astype(dtype)))
    made = recurrent.rnn(xp, *given, **attrs, is_train=True, rng=draws)
    mask = made[-2]
    assert mask.shape == (2, 4, 3, case.dy.shape[2]) and set(to_host(mask).ravel()) == {0.0, 2.0}
    run = definition(case.lay, case.steps, True, mode == "lstm", False)
    close(hosted(made[:-2]), hosted(run(*given, mask)), "float64")
    arguments = put(machine, [a if k not in (4, 5, 6) else None for k, a in enumerate(case.backward(case.wanted()[0]))])
    arguments[4:7] = made[0], mask, made[-1]
    assert recurrent.takes_backward_rnn(*arguments, **case.back_attrs(0.5))
    want = generic_of(OPS["_backward_RNN"])(xp, *arguments, **case.back_attrs(0.5))
    close(hosted(recurrent.backward_rnn(xp, *arguments, **case.back_attrs(0.5))), hosted(want), "float64")


def trained(ctx, case, dtype, outputs=True, p=0.0):
    """Outputs and gradients of the operator as a program calls it."""
    arrays = [mx.nd.array(a.astype("float64"), ctx=ctx, dtype=dtype) for a in case.forward]
    for a in arrays:
        a.attach_grad()
    with autograd.record():
        outs = mx.nd.RNN(*arrays, **case.sizes, p=p, state_outputs=outputs)
        outs = outs if isinstance(outs, (list, tuple)) else [outs]
        loss = sum((o * o).sum() for o in outs)
    loss.backward()
    return [a.asnumpy() for a in (*outs, *[x.grad for x in arrays])]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_network_and_its_gradients_are_the_cpus(recurrent, device, mode, both, layers, dtype):
    case = Case(mode, layers, both)
    close(trained(device, case, dtype), trained(mx.cpu(), case, dtype), dtype)


@pytest.mark.parametrize("mode", MODES)
def test_cudnn_computes_it(calls, device, mode):
    case, before = Case(mode, 2, True), calls()
    got = trained(device, case, "float32", outputs=False)  # the last states have no gradient
    assert [b - a for a, b in zip(before, calls(), strict=True)] == [1, 1, 1]
    close(got, trained(mx.cpu(), case, "float32", outputs=False), "float32")


@pytest.mark.parametrize("mode", MODES)
def test_without_cudnn_the_definition_runs(device, without, mode):
    case = Case(mode, 2, True)
    without()
    close(trained(device, case, "float32"), trained(mx.cpu(), case, "float32"), "float32")


def test_dropout_draws_what_the_definition_draws(recurrent, device, without):
    case, got = Case("gru", 2, False), []
    for _ in range(2):
        mx.random.seed(7)
        got.append(trained(device, case, "float32", p=0.5))
        without()
    close(*got, "float32")


def test_what_cudnn_left_is_not_read_by_the_definition(recurrent, device, without):
    """And the other way round: a reserve of another length is another's."""
    case = Case("lstm", 2, True)
    x = mx.nd.array(case.forward[0], ctx=device)
    rest = [mx.nd.array(a, ctx=device) for a in case.forward[1:]]
    x.attach_grad()
    with autograd.record(train_mode=False):  # nothing is kept
        y = mx.nd.RNN(x, *rest, **case.sizes)
    y.backward()
    wanted = x.grad.asnumpy()
    with autograd.record():
        y = mx.nd.RNN(x, *rest, **case.sizes)
    without()
    y.backward()
    close([x.grad.asnumpy()], [wanted], "float32")


def test_a_gradient_asked_for_twice(recurrent, device):
    case = Case("lstm", 2, True)
    x, *rest = [mx.nd.array(a, ctx=device) for a in case.forward]
    x.attach_grad()
    with autograd.record():
        y = mx.nd.RNN(x, *rest, **case.sizes)
    y.backward(retain_graph=True)
    first = x.grad.asnumpy()
    y.backward()
    assert np.isfinite(first).all() and np.array_equal(first, x.grad.asnumpy())


@pytest.mark.parametrize("mode", ["lstm", "gru"])
def test_second_gradients(recurrent, device, mode):
    case, found = Case(mode, 1, False, "float64", steps=2, batch=2, inputs=2, size=2), []
    for ctx in (device, mx.cpu()):
        x, *rest = [mx.nd.array(a, ctx=ctx, dtype="float64") for a in case.forward]
        x.attach_grad()
        with autograd.record():
            y = mx.nd.RNN(x, *rest, **case.sizes)
            first, = autograd.grad((y * y).sum(), [x], create_graph=True, retain_graph=True)
            loss = (first * first).sum()
        loss.backward()
        found.append([first.asnumpy(), x.grad.asnumpy()])
    close(*found, "float64")


@pytest.mark.parametrize("attrs", [{"projection_size": 2}, {"use_sequence_length": True}], ids=["projection", "lengths"])
def test_what_stays_with_the_definition(calls, device, attrs):
    found, before = [], calls()
    for ctx in (device, mx.cpu()):
        rng, projection = np.random.default_rng(0), attrs.get("projection_size") or 0
        size = Layout("lstm", 5, 4, 1, 1, projection).size()
        arrays = [rng.standard_normal(s) for s in ((3, 2, 5), (size,), (1, 2, projection or 4), (1, 2, 4))]
        arrays += [np.array([3, 2])] if "use_sequence_length" in attrs else []
        y = mx.nd.RNN(*[mx.nd.array(a, ctx=ctx) for a in arrays], mode="lstm", state_size=4, num_layers=1, **attrs)
        found.append([y.asnumpy()])
    close(*found, "float32")
    assert calls() == before


def test_sizes_that_are_not_served(recurrent, machine):
    attrs = OPS["RNN"].parse({"mode": "gru", "state_size": 1, "num_layers": 1})
    for shape, dtype in (((65536, 1, 1), "float32"), ((2, 0, 3), "float32"), ((2, 3), "float32"), ((2, 2, 2), "int32")):
        data = types.SimpleNamespace(machine=machine, ndim=len(shape), shape=shape, dtype=np.dtype(dtype))
        assert not recurrent.takes_rnn(data, **attrs, is_train=False, rng=None)


def test_products_are_of_the_precision_that_is_asked_for(host, calls, device, machine, monkeypatch):
    library, found = host.LIBRARIES["cudnn"].library, []
    case = Case("lstm", 1, False)
    for tf32, dtype in ((False, "float32"), (True, "float32"), (False, "float16"), (False, "float64")):
        monkeypatch.setattr(machine, "known", {})
        monkeypatch.setattr(machine, "tf32", tf32)
        trained(device, case, dtype)
        found.append({library.host_rnn_math(k) for k in range(3)})
    assert found == [{3}, {0}, {1}, {0}]  # cudnnMathType_t: without tensor cores, as it likes, with them


@pytest.mark.parametrize("dropping", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_the_flat_vector_is_used_as_it_is_where_cudnn_has_the_same(host, recurrent, machine, mode, dropping):
    """The imitation has a GRU's parameters in another order."""
    network = recurrent._Network(machine, Case(mode, 2, True).lay, 4, 3, np.dtype("float32"), True, dropping)
    assert [part.plain for part in network.parts] == ([False, False] if dropping else [mode != "gru"])
    assert mode == "gru" or [len(part.runs) for part in network.parts] == ([2, 2] if dropping else [1])


def test_plans_are_made_once_and_given_up(recurrent, device, machine, monkeypatch):
    plans = type(recurrent._NETWORKS.of)()
    monkeypatch.setattr(recurrent._NETWORKS, "of", plans)
    monkeypatch.setattr(machine, "known", {})
    case = Case("lstm", 1, False)
    trained(device, case, "float32")
    (first,) = plans.values()
    trained(device, case, "float32")
    assert [*plans.values()] == [first]
    monkeypatch.setattr(recurrent, "_PLANS", 2)
    monkeypatch.setattr(machine, "known", {})
    first = weakref.ref(first)
    for steps in (1, 2, 3):
        trained(device, Case("lstm", 1, False, steps=steps), "float32")
    gc.collect()
    assert len(plans) == 2 and first() is None


# ---------------------------------------------------------------- layers of Gluon
def learned(ctx, cell=gluon.rnn.LSTM, hybrid=None, steps=6):
    """Losses of some steps, and the network."""
    mx.random.seed(1)
    np.random.seed(1)
    net = gluon.nn.HybridSequential()
    net.add(cell(6, num_layers=2, bidirectional=True, input_size=5), gluon.nn.Dense(3, in_units=12, flatten=False))
    net.initialize(mx.init.Xavier())
    net.collect_params().reset_ctx(ctx)
    if hybrid is not None:
        net.hybridize(static_alloc=hybrid)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
    rng, losses = np.random.default_rng(0), []
    for _ in range(steps):
        x = mx.nd.array(rng.standard_normal((4, 3, 5)), ctx=ctx)
        with autograd.record():
            loss = ((net(x) - x[:, :, :3]) ** 2).mean()
        loss.backward()
        trainer.step(1)
        losses.append(loss.asscalar())
    return losses, net


@pytest.mark.parametrize("hybrid", [None, False, True], ids=["eager", "hybrid", "recorded"])
@pytest.mark.parametrize("cell", [gluon.rnn.LSTM, gluon.rnn.GRU])
def test_layers_learn_the_same(recurrent, device, cell, hybrid):
    wanted, _ = learned(mx.cpu(), cell)
    got, net = learned(device, cell, hybrid)
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    assert hybrid is not True or "not recorded" not in str(net.explain())


def test_recordings_hold_calls_of_cudnn(host, calls, device):
    before, replays = calls(), host.Stream.replays
    learned(device, hybrid=True)
    assert [b - a for a, b in zip(before, calls(), strict=True)] == [3, 3, 3]  # two warm steps and the recording
    assert host.Stream.replays - replays == 2 * 4


def test_recordings_keep_what_they_need(host, recurrent, device, machine, monkeypatch):
    from mxcore_cupy.graphs import recorded

    monkeypatch.setattr(recurrent._NETWORKS, "of", type(recurrent._NETWORKS.of)())
    case, xp = Case("lstm", 2, True, steps=3), machine.xp
    given = put(machine, case.forward)
    out = recurrent.rnn(xp, *given, **case.attrs, is_train=False, rng=None)[0]
    wanted, kept = to_host(out), xp.copy(out)

    def step():
        xp.copyto(kept, recurrent.rnn(xp, *given, **case.attrs, is_train=False, rng=None)[0])

    replay = recorded(machine, step)
    plans = [weakref.ref(p) for n in recurrent._NETWORKS.of.values() for p in n.parts]
    recurrent._NETWORKS.of.clear()
    gc.collect()
    xp.copyto(kept, 0.0)
    replay()
    assert np.array_equal(to_host(kept), wanted)
    assert plans and all(p() is not None for p in plans)  # with the lengths of sequences, which the device reads
    del replay
    gc.collect()
    assert all(p() is None for p in plans)
