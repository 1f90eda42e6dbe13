"""Optimizer updates in place: the bits of the generic kernels, whatever the sizes, blocks and threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxcore as mx
from mxcore import nd
from mxcore.registry.kernels import generic_of, writer_of
from mxcore.registry.op import OPS
from mxcore_numpy.kernels import update
from mxcore_numpy.xp import XP

nd.zeros(1)  # the backend is there, and its table of kernels
#: operator of one weight -> how many inputs, how many states, the states that are positive
RULES = {"sgd_update": (2, 0, ()), "sgd_mom_update": (3, 1, ()), "nag_mom_update": (3, 1, ()), "adam_update": (4, 2, (3,)),
         "rmsprop_update": (3, 1, (2,)), "_adagrad_update": (3, 1, (2,))}
MANY = {"sgd_update": "multi_sgd_update", "sgd_mom_update": "multi_sgd_mom_update"}
COMMON = [{}, {"rescale_grad": 0.125}, {"rescale_grad": 0.5, "clip_gradient": 0.2}, {"clip_gradient": 0.0}]
OWN = {"sgd_mom_update": {"momentum": 0.9}, "nag_mom_update": {"momentum": 0.9}, "rmsprop_update": {"clip_weights": 0.7}}


def arrays_of(name, shapes, dtype, seed=0):
    """The inputs of an update of weights of these shapes."""
    rng = np.random.default_rng(seed)
    size, _, positive = RULES[name]
    return [rng.uniform(0.1 if k in positive else -1, 1, shape).astype(dtype) for shape in shapes for k in range(size)]


def outs_of(name, ins, count):
    """Where the results belong: the weights, then the states of each."""
    size, states, _ = RULES[name]
    return [*ins[::size], *[ins[i * size + k] for i in range(count) for k in range(size - states, size)]]


def both(name, shapes, dtype, rates, attrs, into=None):
    """What the generic kernel gives and what is written, for weights with their ``(lr, wd)``."""
    many = len(shapes) > 1
    op = OPS[MANY.get(name, f"_multi_{name.lstrip('_')}") if many else name]
    numbers = {"lrs": [lr for lr, _ in rates], "wds": [wd for _, wd in rates]} if many else dict(zip(("lr", "wd"), rates[0]))
    ins = arrays_of(name, shapes, dtype)
    a = op.parse({**numbers, **OWN.get(name, {}), **attrs})
    want = generic_of(op)(XP, *ins, **a)
    outs = outs_of(name, ins, len(shapes)) if into is None else into(ins)
    assert writer_of(op, "numpy")(XP, ins, outs, a)
    return want if isinstance(want, tuple) else (want,), outs


@pytest.mark.parametrize("name", RULES)
@given(shapes=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4),
       dtype=st.sampled_from(["float32", "float64"]), wds=st.lists(st.sampled_from([0.0, 0.1]), min_size=4, max_size=4),
       common=st.sampled_from(COMMON), threads=st.integers(1, 3), block=st.sampled_from([64, 1024, update._BLOCK]))
@settings(max_examples=25, deadline=None)
def test_bits(name, shapes, dtype, wds, common, threads, block):
    rates = [(0.1 * (1 + i // 2), wd) for i, wd in enumerate(wds[:len(shapes)])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(update, "_BLOCK", block)
        patch.setattr(update, "_ALONE", block)
        patch.setattr(update, "width", lambda: threads)
        want, got = both(name, shapes, dtype, rates, common)
    for w, g in zip(want, got, strict=True):
        np.testing.assert_array_equal(w, g)


@pytest.mark.parametrize("name", RULES)
def test_large_weights_in_threads(name):
    shapes = [(300, 1000), (7,), (65536,), (3, 3, 11, 13)]
    want, got = both(name, shapes, "float32", [(0.1, 0.01)] * 4, {"rescale_grad": 1 / 128})
    for w, g in zip(want, got, strict=True):
        np.testing.assert_array_equal(w, g)


@pytest.mark.parametrize("name", RULES)
def test_results_elsewhere(name):
    inputs = []

    def elsewhere(ins):
        inputs.extend((a, a.copy()) for a in ins)
        return [np.empty_like(o) for o in outs_of(name, ins, 2)]

    want, got = both(name, [(5, 2), (3,)], "float64", [(0.1, 0.1), (0.2, 0.0)], {}, elsewhere)
    for w, g in zip(want, got, strict=True):
        np.testing.assert_array_equal(w, g)
    for a, before in inputs:
        np.testing.assert_array_equal(a, before)


def refused(ins, outs, **numbers):
    """Whether the in-place kernel leaves a call of ``multi_sgd_mom_update`` to the plain one, with nothing written."""
    op = OPS["multi_sgd_mom_update"]
    before = [a.copy() for a in (*ins, *outs)]
    done = writer_of(op, "numpy")(XP, ins, outs, op.parse({"lrs": (0.1,), "wds": (0.0,), "momentum": 0.9, **numbers}))
    if not done:
        for a, b in zip((*ins, *outs), before, strict=True):
            np.testing.assert_array_equal(a, b)
    return not done


def test_what_is_left_to_the_plain_kernel():
    w, g, m = arrays_of("sgd_mom_update", [(4, 6)], "float32")
    assert refused([w, g, m], [w])  # no place for the state
    assert refused([w, g, m], [w, m], lrs=(0.1, 0.2))
    assert refused([w, g.astype("float64"), m], [w, m])
    assert refused([w, g[:, :1].copy(), m], [w, m])
    assert refused([a.astype("float16") for a in (w, g, m)], [w.astype("float16"), m.astype("float16")])
    assert refused([w, g, m], [g, m])  # over something that is read
    memory = np.zeros(40, "float32")
    assert refused([memory[:24], g.ravel(), m.ravel()], [memory[1:25], m.ravel()])
    assert refused([], [], lrs=(), wds=())
    big = np.zeros((600, 600), "float32")
    assert refused([big.T, big.T.copy(), big.T.copy()], [big.T, big.copy()])  # cannot be cut into blocks as it lies
    views = [a.T for a in (w, g, m)]
    assert not refused(views, [views[0], views[2]])  # small ones may lie as they like
    many = [np.zeros((150, 200), "float32").T for _ in range(3 * 5)]
    assert refused(many, [*many[::3], *many[2::3]], lrs=(0.1,) * 5, wds=(0.0,) * 5)
    assert not refused([w, g, m], [w, m])


def test_programs_see_no_difference():
    """A call that may not write in place (one that is recorded) gives the same."""
    results = []
    for recording in (False, True):
        w, g, m = (nd.array(a) for a in arrays_of("sgd_mom_update", [(3, 4)], "float32"))
        with mx.autograd.record() if recording else mx.autograd.pause():
            out = nd.sgd_mom_update(w, g, m, out=w, lr=0.1, momentum=0.9)
        assert out is w
        results.append((w.asnumpy(), m.asnumpy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(mx.MXNetError, match="shape"):
        nd.sgd_mom_update(w, g, m, out=nd.zeros(3), lr=0.1)
    fresh = nd.zeros((3, 4))
    before = w.asnumpy()
    nd.sgd_update(w, g, out=fresh, lr=0.5)
    np.testing.assert_array_equal(w.asnumpy(), before)
    np.testing.assert_array_equal(fresh.asnumpy(), before - np.float32(0.5) * g.asnumpy())
