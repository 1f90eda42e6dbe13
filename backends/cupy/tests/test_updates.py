"""Optimizers on the device: the CPU's weights, and one launch for all of them."""

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, gluon


def train(ctx, optimizer, options, dtype="float32", steps=6):
    """Parameters of many sizes after some steps."""
    rng = np.random.default_rng(0)
    params = gluon.ParameterDict()
    for k, shape in enumerate([(3,), (2500,), (7, 5), (1,), (40, 40)]):
        p = params.get(f"w{k}", shape=shape, dtype=dtype)
        p.initialize(init=mx.init.Constant(mx.nd.array(rng.standard_normal(shape), dtype=dtype)), ctx=ctx)
    trainer = gluon.Trainer(params, optimizer, options)
    for _ in range(steps):
        with autograd.record():
            loss = sum([((p.data() - 1) ** 2).sum() for p in params.values()])
        loss.backward()
        trainer.step(1)
    return [p.data().asnumpy() for p in params.values()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer, options", [
    ("sgd", {"learning_rate": 0.1}), ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.01}),
    ("adam", {"learning_rate": 0.1}),
    ("rmsprop", {"learning_rate": 0.01}), ("adagrad", {"learning_rate": 0.1}), ("ftrl", {"learning_rate": 0.1})], ids=str)
def test_weights_are_the_cpus(device, optimizer, options, dtype):
    for found, wanted in zip(train(device, optimizer, options, dtype), train(mx.cpu(), optimizer, options, dtype), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_all_weights_are_updated_in_one_launch(device, machine, monkeypatch):
    train(device, "sgd", {"learning_rate": 0.1, "momentum": 0.9})  # kernels are made after some calls
    names = []
    launch = machine.launch
    monkeypatch.setattr(machine, "launch", lambda kernel, *rest: names.append(kernel.name) or launch(kernel, *rest))
    train(device, "sgd", {"learning_rate": 0.1, "momentum": 0.9}, steps=2)
    assert names.count("update_many") == 2 and "update" not in names


def test_more_weights_than_a_table_holds(device, machine):
    from mxcore_device import tables

    count = 3 * tables._most(5, 1, 4) + 1
    weights = [mx.nd.full((4,), k, ctx=device) for k in range(count)]
    states = [mx.nd.zeros((4,), ctx=device) for _ in weights]
    arrays = [a for w, s in zip(weights, states, strict=True) for a in (w, mx.nd.ones((4,), ctx=device), s)]
    for _ in range(5):
        mx.nd.multi_sgd_mom_update(*arrays, lrs=[0.5] * count, wds=[0.0] * count, momentum=0.0, num_weights=count, out=weights)
    assert [float(w.asnumpy()[3]) for w in weights] == [k - 2.5 for k in range(count)]
