"""Monitors: what MXNet 1.9.1 shows of bound symbols, when, and in what form."""

import logging
import re

import numpy as np
import pytest

import mxcore as mx
from mxcore import nd, sym
from mxcore.errors import MXNetError
from mxcore.monitor import Monitor

FC = sym.FullyConnected(sym.var("data"), num_hidden=3, name="fc")
NET = sym.Activation(FC, act_type="relu", name="act")


def bound(net=NET, value=0.5):
    e = net.simple_bind(mx.cpu(), data=(2, 3))
    for a in e.arg_arrays:
        a[:] = value
    return e


def look(e, monitor, training=True):
    monitor.tic()
    e.forward(is_train=training)
    return monitor.toc()


def watch(*args, e=None, **kwargs):
    monitor = Monitor(*args, **kwargs)
    e = bound() if e is None else e
    monitor.install(e)
    return e, monitor


OUTPUTS = [("fc_output", "1.25\t"), ("act_output", "1.25\t")]
WEIGHTS = [("data", "0.5\t"), ("fc_weight", "0.5\t"), ("fc_bias", "0.5\t")]


# ---------------------------------------------------------------- when
@pytest.mark.parametrize(("interval", "turns"), [(1, [1, 2, 3, 4, 5]), (2, [1, 3, 5]), (4, [1, 5])])
def test_every_so_many_batches(interval, turns):
    e, monitor = watch(interval)
    for batch in range(1, 6):
        found = look(e, monitor)
        assert found == ([(batch, *one) for one in OUTPUTS + WEIGHTS] if batch in turns else [])
    assert monitor.step == 5


def test_nothing_between_toc_and_tic():
    e, monitor = watch(1)
    assert monitor.toc() == []
    e.forward()
    assert monitor.queue == []
    monitor.tic()
    assert [name for _, name, _ in monitor.toc()] == ["data", "fc_weight", "fc_bias"]
    e.forward()
    assert monitor.queue == monitor.toc() == []


# ---------------------------------------------------------------- what
@pytest.mark.parametrize(("pattern", "names"), [
    (".*", ["fc_output", "act_output", "data", "fc_weight", "fc_bias"]), (".*weight|.*output", ["fc_output", "act_output", "fc_weight"]),
    ("fc", ["fc_output", "fc_weight", "fc_bias"]), ("output", []), ("fc_bias$", ["fc_bias"]),
])
@pytest.mark.parametrize("order", [False, True])
def test_pattern_and_order(pattern, names, order):
    found = look(*watch(1, pattern=pattern, sort=order))
    assert [name for _, name, _ in found] == (sorted(names) if order else names)


def test_several_executors():
    e, monitor = watch(1, pattern=".*output")
    other = bound(FC, 1)
    monitor.install(other)
    monitor.tic()
    other.forward()
    e.forward()
    assert monitor.toc() == [(1, "fc_output", "4.0\t"), (1, "fc_output", "1.25\t"), (1, "act_output", "1.25\t")]


def test_states_and_all_inputs():
    net = sym.BatchNorm(FC, name="bn")
    e, monitor = watch(1, monitor_all=True, e=net.simple_bind(mx.cpu(), data=(2, 3)))
    names = [name for _, name, _ in look(e, monitor, training=False)]
    assert names[-7:] == ["data", "fc_weight", "fc_bias", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var"]
    assert {"data", "fc_weight"} <= set(names[:-7])
    assert e.aux_dict["bn_moving_mean"].asnumpy().tolist() == [0, 0, 0]


# ---------------------------------------------------------------- statistics
def test_default_is_the_root_of_the_mean_square():
    e = bound()
    e.arg_dict["data"][:] = nd.arange(6).reshape((2, 3))
    found = dict(one[1:] for one in look(*watch(1, e=e)))
    assert float(found["data"]) == pytest.approx(np.sqrt(np.mean(np.arange(6) ** 2)))
    assert found["data"].endswith("\t")


@pytest.mark.parametrize(("statistic", "text"), [
    (lambda x: x.max(), "1.25\t"), (lambda x: [x.max(), x.min()], "1.25\t1.25\t"), (lambda x: nd.array([3]).astype("int32"), "3\t"),
    (lambda x: nd.array([1, 2]), "[1. 2.]\t"), (lambda x: x, "[[1.25 1.25 1.25]\n [1.25 1.25 1.25]]\t"), (lambda x: [], ""),
])
def test_statistics_as_text(statistic, text):
    assert look(*watch(1, statistic, "fc_output")) == [(1, "fc_output", text)]


@pytest.mark.parametrize("statistic", [lambda x: 1.0, lambda x: (x, x), lambda x: [x, 1.0], lambda x: None])
def test_statistics_must_be_arrays(statistic):
    with pytest.raises(AssertionError, match="statistic of 'fc_output' must be an NDArray or a list") as caught:
        look(*watch(1, statistic, "fc_output"))
    assert isinstance(caught.value, MXNetError)


def test_print(caplog):
    e, monitor = watch(2, pattern="fc_output")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            monitor.tic()
            e.forward()
            assert monitor.toc_print() is None
    assert caplog.messages == ["Batch:       1 fc_output                      1.25\t", "Batch:       3 fc_output                      1.25\t"]


def test_results_are_the_same():
    e = bound()
    alone = e.forward(is_train=True)[0].asnumpy()
    e.backward(nd.ones((2, 3)))
    grad = e.grad_dict["fc_weight"].asnumpy()
    e, monitor = watch(1)
    look(e, monitor)
    e.backward(nd.ones((2, 3)))
    np.testing.assert_array_equal(e.outputs[0].asnumpy(), alone)
    np.testing.assert_array_equal(e.grad_dict["fc_weight"].asnumpy(), grad)


def test_errors_and_names():
    assert mx.mon is mx.monitor
    assert mx.mon.Monitor is Monitor
    with pytest.raises(re.error):
        Monitor(1, pattern="[")
    with pytest.raises(AttributeError, match="set_monitor_callback"):
        Monitor(1).install(mx.gluon.nn.Dense(2))
