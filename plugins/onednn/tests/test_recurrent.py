"""oneDNN's recurrent layers against the definition: eager kernels, bound calls, and who takes what."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxcore import autograd, gluon, nd
from mxcore.context import cpu
from mxcore.ops.rnn import Layout
from mxcore.registry import OPS
from mxcore.registry.bound import Spec, plain_order
from mxcore.registry.kernels import generic_of
from mxcore.runtime.device import device_of
from mxcore_onednn import recurrent

quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
modes = st.sampled_from(["lstm", "gru", "rnn_tanh", "rnn_relu"])
counts = st.integers(1, 5)


def xp():
    return device_of(cpu()).xp


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).uniform(-0.7, 0.7, shape).astype(np.float32)


class Case:
    """Arrays and attributes of a network."""

    def __init__(self, mode="lstm", layers=2, both=False, steps=4, batch=3, inputs=5, size=6, last=True, seed=0):
        nd.ones(1)  # loads operators
        directions = 1 + both
        self.sizes = {"mode": mode, "state_size": size, "num_layers": layers, "bidirectional": both, "projection_size": None}
        self.attrs = OPS["RNN"].parse({**self.sizes, "state_outputs": True})
        self.back_attrs = {**self.sizes, "p": 0.0, "use_sequence_length": False}
        count = 2 if mode == "lstm" else 1
        states = [numbers(layers * directions, batch, size, seed=seed + k) for k in range(count)]
        parameters = numbers(Layout(mode, inputs, size, layers, directions, 0).size(), seed=seed)
        self.forward = [numbers(steps, batch, inputs, seed=seed), parameters, *states]
        self.want = generic_of(OPS["RNN"])(xp(), *self.forward, **self.attrs, is_train=True, rng=None)
        self.dy = numbers(*self.want[0].shape, seed=seed + 2)
        self.dlast = [numbers(*s.shape, seed=seed + 3) if last else None for s in states] + [None] * (2 - count)
        self.want_back = generic_of(OPS["_backward_RNN"])(xp(), *self.backward(self.want), **self.back_attrs)

    def backward(self, made):
        """Arguments of the gradient after a forward pass that made this."""
        data, parameters, state, *cell = self.forward
        return [self.dy, data, parameters, state, made[0], made[-2], made[-1], cell[0] if cell else None, None, *self.dlast]


def close(got, want):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        size = 3e-5 * max(1, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=size, err_msg=f"result {i}")


def spec(array):
    return None if array is None else Spec(array.shape, array.dtype, plain_order(array.ndim))


networks = st.builds(Case, modes, st.integers(1, 3), st.booleans(), counts, counts, counts, st.integers(1, 20), st.booleans(),
                     st.integers(0, 9))


@quick
@given(case=networks)
def test_eager_calls(onednn, case):
    assert recurrent.takes_rnn(*case.forward, **case.attrs)
    made = recurrent.rnn(xp(), *case.forward, **case.attrs, is_train=True, rng=None)
    close(made[:-1], case.want[:-1])
    arrays = case.backward(made)
    assert recurrent.takes_backward_rnn(*arrays, **case.back_attrs)
    for _ in range(2):  # the workspace serves again
        close(recurrent.backward_rnn(xp(), *arrays, **case.back_attrs), case.want_back)
    predicted = recurrent.rnn(xp(), *case.forward, **case.attrs, is_train=False, rng=None)
    close(predicted[:-1], case.want[:-1])
    assert not recurrent.takes_backward_rnn(*case.backward(predicted), **case.back_attrs)


@quick
@given(case=networks)
def test_bound_calls(onednn, case):
    outs = [spec(w) for w in case.want]
    bound = recurrent.bind_rnn([spec(a) for a in case.forward], outs, case.attrs, True)
    made = [np.full(w.shape, np.nan, np.float32) for w in (*case.want[:-1], np.empty(bound.private[len(outs) - 1]))]
    back = recurrent.bind_backward_rnn([spec(a) for a in case.backward(made)], [spec(w) for w in case.want_back],
                                       case.back_attrs, True)
    for _ in range(2):
        bound.prepare(case.forward)
        bound.run(case.forward, made)
        close(made[:-1], case.want[:-1])
        arrays, grads = case.backward(made), [np.full_like(w, np.nan) for w in case.want_back]
        back.prepare(arrays)
        back.run(arrays, grads)
        close(grads, case.want_back)


@pytest.mark.parametrize("change", [{"p": 0.5}, {"projection_size": 1}, {"use_sequence_length": True}])
def test_what_is_not_bound(onednn, change):
    case = Case()
    attrs = OPS["RNN"].parse({**case.attrs, **change})
    assert recurrent.bind_rnn([spec(a) for a in case.forward], [spec(w) for w in case.want], attrs, True) is None
    double = [Spec(a.shape, np.dtype("float64"), plain_order(a.ndim)) for a in case.forward]
    assert recurrent.bind_rnn(double, [spec(w) for w in case.want], case.attrs, True) is None
    assert not recurrent.takes_rnn(case.forward[0].astype("float64"), *case.forward[1:], **case.attrs)


def test_what_the_numpy_kernel_kept_is_not_taken(onednn):
    from mxcore_numpy.kernels import rnn

    case = Case()
    made = rnn.rnn(xp(), *case.forward, **case.attrs, is_train=True, rng=None)
    assert not recurrent.takes_backward_rnn(*case.backward(made), **case.back_attrs)
    mine = recurrent.rnn(xp(), *case.forward, **case.attrs, is_train=True, rng=None)
    close(rnn.backward_rnn(xp(), *case.backward(mine), **case.back_attrs), case.want_back)


def test_eager_dropout(onednn):
    case = Case(mode="gru", steps=6)
    attrs = OPS["RNN"].parse({**case.attrs, "p": 0.5})
    rng = device_of(cpu()).backend.rng
    made = recurrent.rnn(xp(), *case.forward, **attrs, is_train=True, rng=rng(3, 0))
    want = generic_of(OPS["RNN"])(xp(), *case.forward, **attrs, is_train=True, rng=rng(3, 0))
    close(made[:-1], want[:-1])
    assert 0 < (made[-2] == 0).mean() < 1
    back = {**case.back_attrs, "p": 0.5}
    close(recurrent.backward_rnn(xp(), *case.backward(made), **back),
          generic_of(OPS["_backward_RNN"])(xp(), *case.backward(want), **back))


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_layer_uses_it(onednn, hybrid, monkeypatch):
    ran = []
    for of in (recurrent._Forward, recurrent._Backward):
        monkeypatch.setattr(of, "run", lambda self, *a, run=of.run: (ran.append(type(self).__name__), run(self, *a))[1])
    layer = gluon.rnn.LSTM(5, num_layers=2)
    layer.initialize()
    if hybrid:
        layer.hybridize()
    with autograd.record():
        y = layer(nd.ones((3, 2, 4)))
    y.backward()
    assert ran == ["_Forward"] * 2 + ["_Backward"] * 2
