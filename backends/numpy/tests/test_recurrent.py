"""Recurrent layers of the NumPy backend against the definition: kernels, bound calls, what they keep and lend."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxcore import autograd, gluon, nd
from mxcore.ops.rnn import Layout
from mxcore.registry import OPS
from mxcore.registry.bound import Spec, plain_order
from mxcore.registry.kernels import generic_of
from mxcore_numpy.kernels import rnn, scratch
from mxcore_numpy.xp import XP

MODES = ["lstm", "gru", "rnn_tanh", "rnn_relu"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


class Case:
    """Arrays and attributes of a network, and what the definition gives for them."""

    def __init__(self, mode, layers, both, dtype, steps=3, batch=2, inputs=3, size=2, last=True, seed=0):
        nd.ones(1)  # loads operators
        rng, directions = np.random.default_rng(seed), 2 if both else 1
        self.sizes = {"mode": mode, "state_size": size, "num_layers": layers, "bidirectional": both, "projection_size": None}
        self.attrs = OPS["RNN"].parse({**self.sizes, "state_outputs": True})

        def numbers(*shape):
            return rng.uniform(-0.7, 0.7, shape).astype(dtype)

        lay = Layout(mode, inputs, size, layers, directions, 0)
        states = [numbers(layers * directions, batch, size) for _ in range(2 if mode == "lstm" else 1)]
        self.forward = [numbers(steps, batch, inputs), numbers(lay.size()), *states]
        self.want = generic_of(OPS["RNN"])(XP, *self.forward, **self.attrs, is_train=True, rng=None)
        self.dy = numbers(*self.want[0].shape)
        self.dlast = [numbers(*s.shape) if last else None for s in states] + [None] * (2 - len(states))
        self.want_back = generic_of(OPS["_backward_RNN"])(XP, *self.backward(self.want), **self.back_attrs)

    @property
    def back_attrs(self):
        return {**self.sizes, "p": 0.0, "use_sequence_length": False}

    def backward(self, made):
        """Arguments of the gradient after a forward pass that made this."""
        data, parameters, state, *cell = self.forward
        return [self.dy, data, parameters, state, made[0], made[-2], made[-1], cell[0] if cell else None, None, *self.dlast]


def close(got, want, dtype):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape
        size = TOLERANCE[dtype] * max(1, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=size, err_msg=f"result {i}")


def spec(array):
    return None if array is None else Spec(array.shape, array.dtype, plain_order(array.ndim))


networks = st.builds(Case, st.sampled_from(MODES), st.integers(1, 3), st.booleans(), st.sampled_from(["float32", "float64"]),
                     steps=st.integers(1, 5), batch=st.integers(1, 4), inputs=st.integers(1, 4), size=st.integers(1, 4),
                     last=st.booleans(), seed=st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(case=networks)
def test_kernels(case):
    dtype = case.forward[0].dtype.name
    made = rnn.rnn(XP, *case.forward, **case.attrs, is_train=True, rng=None)
    close(made[:-1], case.want[:-1], dtype)
    kept = made[-1].copy()
    for _ in range(2):  # what was kept serves again
        close(rnn.backward_rnn(XP, *case.backward(made), **case.back_attrs), case.want_back, dtype)
    assert np.array_equal(kept, made[-1])
    quick = rnn.rnn(XP, *case.forward, **case.attrs, is_train=False, rng=None)
    close(quick[:-1], case.want[:-1], dtype)
    assert quick[-1].size == 0


@settings(max_examples=40, deadline=None)
@given(case=networks)
def test_bound_calls(case):
    dtype, outs = case.forward[0].dtype.name, [spec(w) for w in case.want]
    bound = rnn.bind_rnn([spec(a) for a in case.forward], outs, case.attrs, True)
    length = bound.private[len(outs) - 1]
    made = [np.full(w.shape, np.nan, dtype) for w in (*case.want[:-1], np.empty(length))]
    back = rnn.bind_backward_rnn([spec(a) for a in case.backward(made)], [spec(w) for w in case.want_back], case.back_attrs, True)
    for _ in range(2):
        bound.prepare(case.forward)
        bound.run(case.forward, made)
        close(made[:-1], case.want[:-1], dtype)
        grads = [np.full_like(w, np.nan) for w in case.want_back]
        arrays = case.backward(made)
        back.prepare(arrays)
        back.run(arrays, grads)
        close(grads, case.want_back, dtype)


def test_after_inference_the_gradient_follows_from_the_definition():
    case = Case("gru", 2, True, "float32")
    made = rnn.rnn(XP, *case.forward, **case.attrs, is_train=False, rng=None)
    close(rnn.backward_rnn(XP, *case.backward(made), **case.back_attrs), case.want_back, "float32")
    arrays = [spec(a) for a in case.backward(made)]
    assert rnn.bind_backward_rnn(arrays, [spec(w) for w in case.want_back], case.back_attrs, True) is None


@pytest.mark.parametrize("change", [{"p": 0.5}, {"projection_size": 1}, {"use_sequence_length": True}])
def test_what_is_not_bound(change):
    case = Case("lstm", 2, False, "float32")
    attrs = OPS["RNN"].parse({**case.attrs, **change})
    assert rnn.bind_rnn([spec(a) for a in case.forward], [spec(w) for w in case.want], attrs, True) is None
    half = [Spec(a.shape, np.dtype("float16"), plain_order(a.ndim)) for a in case.forward]
    assert rnn.bind_rnn(half, [spec(w) for w in case.want], case.attrs, True) is None


def gradients(layer, x, hybrid):
    """Outputs and gradients of a layer in training, with the loss run twice before either is swept back."""
    if hybrid:
        layer.hybridize()
    x = nd.array(x)
    x.attach_grad()
    losses = []
    for factor in (1, 2):
        with autograd.record():
            y, states = layer(x * factor, layer.begin_state(x.shape[1]))
            loss = (y * y).sum() + sum((s * s * s).sum() for s in states)
        losses.append(loss)
    found = []
    for loss in reversed(losses):
        for _ in range(2):  # twice from the same tape
            loss.backward(retain_graph=True)
            found.append(x.grad.asnumpy())
        found += [p.grad().asnumpy() for p in layer.collect_params().values()]
    return [loss.asnumpy() for loss in losses] + found


@pytest.mark.parametrize("mode", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both", [False, True])
def test_programs_give_what_eager_calls_give(mode, both):
    layer = getattr(gluon.rnn, mode)(4, num_layers=2, bidirectional=both)
    layer.initialize()
    x = np.random.default_rng(1).uniform(-1, 1, (5, 3, 2)).astype(np.float32)
    layer(nd.array(x))
    eager = gradients(layer, x, False)
    for a, b in zip(gradients(layer, x, True), eager, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_dropout_between_layers_in_a_program():
    layer = gluon.rnn.LSTM(3, num_layers=2, dropout=0.5)
    layer.initialize()
    layer.hybridize()
    x = nd.ones((4, 2, 3))
    assert np.array_equal(layer(x).asnumpy(), layer(x).asnumpy())
    with autograd.record():
        a, b = layer(x), layer(x)
        loss = a.sum()
    assert not np.array_equal(a.asnumpy(), b.asnumpy())
    loss.backward()


def test_remembered_networks_keep_no_parameters():
    case = Case("gru", 1, False, "float64")
    made = rnn.rnn(XP, *case.forward, **case.attrs, is_train=True, rng=None)
    rnn.backward_rnn(XP, *case.backward(made), **case.back_attrs)
    alive = weakref.ref(case.forward[1])
    del case
    gc.collect()
    assert alive() is None


def test_lent_memory_comes_back():
    scratch._FREE.clear()
    first = scratch.lent((1000, 3), np.dtype("float32"))
    place, part = first.ctypes.data, first[5:]
    assert place % 64 == 0
    del first
    gc.collect()
    assert scratch.lent((1000, 3), np.dtype("float32")).ctypes.data != place  # the part is still in use
    scratch._FREE.clear()
    del part
    gc.collect()
    other = scratch.lent((7,), np.dtype("float64"))
    again = scratch.lent((3000,), np.dtype("float32"))
    assert again.ctypes.data == place != other.ctypes.data
