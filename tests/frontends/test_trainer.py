"""Trainer: steps, stale gradients, several contexts, states. Numbers beside MXNet's are in tests/compat."""

from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import DeferredInitializationError, MXNetError
from mxcore.gluon import Trainer, nn


def dense(ctx=None, **kwargs) -> nn.Dense:
    net = nn.Dense(1, in_units=2, **kwargs)
    net.initialize(mx.init.One(), ctx=ctx)
    return net


def backward(net, scale: float = 1.0) -> None:
    with mx.autograd.record():
        losses = [(net(mx.nd.ones((1, 2), ctx=c)) * (scale + i)).sum() for i, c in enumerate(net.weight.list_ctx())]
    mx.autograd.backward(losses)


def weights(net) -> list:
    return [a.asnumpy()[0, 0].item() for a in net.weight.list_data()]


TWO = [mx.cpu(0), mx.cpu(1)]


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_step_divides_by_the_batch_size(batch: int) -> None:
    net = dense()
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    backward(net)
    trainer.step(batch)
    assert weights(net) == pytest.approx([1 - 0.5 / batch])


@pytest.mark.parametrize("params", [dict, list, tuple])
def test_parameters_come_as_dictionary_or_sequence(params: type) -> None:
    net = dense()
    found = net.collect_params()
    given = dict(found.items()) if params is dict else params(found.values())
    trainer = Trainer(given, mx.optimizer.SGD(learning_rate=0.5))
    backward(net)
    trainer.step(1)
    assert weights(net) == [0.5]


def test_wrong_arguments() -> None:
    net = dense()
    params = net.collect_params()
    for wrong in (5, [5], {"a": 5}, [], {}):
        with pytest.raises(ValueError, match=r"list or dict of Parameters|no parameters"):
            Trainer(wrong, "sgd")
    with pytest.raises(MXNetError):
        Trainer(params, "no such optimizer")
    with pytest.raises(AssertionError, match="must be None if optimizer is an instance"):
        Trainer(params, mx.optimizer.SGD(), {"momentum": 0.9})
    with pytest.raises(MXNetError, match="no key-value store 'dist_sync'"):
        Trainer(params, "sgd", kvstore="dist_sync")
    with pytest.raises(MXNetError, match="has not been initialized"):
        Trainer(nn.Dense(1, in_units=1).collect_params(), "sgd")
    with pytest.raises(AssertionError, match="same set of contexts"):
        Trainer([net.weight, dense(TWO).weight], "sgd")
    with pytest.raises(MXNetError, match="compression_params"):
        Trainer(dense(TWO).collect_params(), "sgd", compression_params={"type": "2bit"})


def test_a_step_before_the_shapes_are_known_says_so_and_works_later() -> None:
    net = nn.Dense(1)
    net.initialize(mx.init.One())
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    with pytest.raises(DeferredInitializationError):
        trainer.step(1)
    backward(net)
    trainer.step(1)
    assert weights(net) == [0.5]


# ---------------------------------------------------------------- stale gradients
def test_a_stale_gradient_stops_the_step_before_anything_changes() -> None:
    net = nn.HybridSequential()
    net.add(dense(), dense())
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    backward(net[1])
    for _ in range(2):
        with pytest.raises(UserWarning, match="has not been updated by backward since last `step`"):
            trainer.step(1)
    assert weights(net[0]) == weights(net[1]) == [1.0]
    trainer.step(1, ignore_stale_grad=True)
    assert weights(net[0]) == [1.0] and weights(net[1]) == [0.5]
    trainer.step(1, ignore_stale_grad=True)  # nothing is fresh any more
    assert weights(net[1]) == [0.5]


def test_parameters_without_gradient_are_left_out() -> None:
    net = dense()
    net.bias.grad_req = "null"
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    backward(net)
    trainer.step(1)
    assert weights(net) == [0.5] and net.bias.data().asscalar() == 0


def test_update_applies_what_the_user_left_in_the_gradients() -> None:
    net = dense()
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 1.0})
    backward(net)
    net.weight.grad()[:] = 0.25
    trainer.allreduce_grads()
    trainer.update(1)
    assert weights(net) == [0.75]
    with pytest.raises(UserWarning):
        trainer.update(1)


# ---------------------------------------------------------------- several contexts
@pytest.mark.parametrize("kvstore", ["device", "local"])
def test_one_copy_is_updated_and_the_others_follow(kvstore: str) -> None:
    net = dense(TWO)
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.125, "momentum": 0.5}, kvstore=kvstore)
    for _ in range(2):
        backward(net)
        trainer.step(1)
    assert weights(net) == [0.0625, 0.0625]  # 1 - 0.375 - (0.375 + 0.1875)
    assert [g.asnumpy()[0, 0] for g in net.weight.list_grad()] == [1, 2]  # gradients stay each context's own
    for half in (trainer.allreduce_grads, lambda: trainer.update(1)):
        with pytest.raises(AssertionError, match="`update_on_kvstore` to False"):
            half()


def test_each_context_updates_its_own_from_the_sum() -> None:
    net = dense(TWO)
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.125}, update_on_kvstore=False)
    backward(net)
    trainer.allreduce_grads()
    assert [g.asnumpy()[0, 0] for g in net.weight.list_grad()] == [3, 3]
    trainer.update(1)
    assert weights(net) == [0.625, 0.625]


def test_without_a_store_contexts_go_their_own_way() -> None:
    net = dense(TWO)
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.125}, kvstore=None)
    backward(net)
    trainer.step(1)
    assert weights(net) == [0.875, 0.75]


def test_counts_of_updates_do_not_mix_between_contexts() -> None:
    """Adam's bias correction counts steps: two contexts with equal gradients stay equal to one."""
    results = []
    for contexts in ([mx.cpu(0)], TWO):
        net = dense(contexts)
        trainer = Trainer(net.collect_params(), "adam", {"learning_rate": 0.1}, kvstore=None)
        for _ in range(3):
            with mx.autograd.record():
                losses = [(net(mx.nd.ones((1, 2), ctx=c)) ** 2).sum() for c in contexts]
            mx.autograd.backward(losses)
            trainer.step(1)
        results.append(weights(net))
    assert results[1] == pytest.approx(results[0] * 2)


# ---------------------------------------------------------------- learning rates, states
def test_learning_rate() -> None:
    net = dense()
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    assert trainer.learning_rate == 0.5
    trainer.set_learning_rate(0.25)
    backward(net)
    trainer.step(1)
    assert trainer.learning_rate == 0.25 and weights(net) == [0.75]
    assert trainer.optimizer.learning_rate == 0.25


@pytest.mark.parametrize("contexts", [[mx.cpu(0)], TWO])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_saved_states_continue_where_training_was(tmp_path: Path, optimizer: str, contexts: list) -> None:
    options = {"learning_rate": 0.1, **({"momentum": 0.9} if optimizer == "sgd" else {})}

    def run(net, trainer, steps: int) -> None:
        for n in range(steps):
            backward(net, 1.0 + n)
            trainer.step(2)

    straight = dense(contexts)
    trainer = Trainer(straight.collect_params(), optimizer, options)
    run(straight, trainer, 2)
    trainer.save_states(str(tmp_path / "states"))
    straight.save_parameters(str(tmp_path / "params"))
    run(straight, trainer, 2)

    resumed = dense(contexts)
    resumed.load_parameters(str(tmp_path / "params"))
    again = Trainer(resumed.collect_params(), optimizer, {"learning_rate": 0.7})
    again.load_states(str(tmp_path / "states"))
    assert again.learning_rate == 0.1
    run(resumed, again, 2)
    assert weights(resumed) == weights(straight)
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("states", "params")] == []


def test_states_that_cannot_be_written_leave_the_file(tmp_path: Path) -> None:
    net = dense()
    trainer = Trainer(net.collect_params(), "adam")
    backward(net)
    trainer.step(1)
    with pytest.raises(OSError):
        trainer.save_states(str(tmp_path / "missing" / "states"))
    with pytest.raises(FileNotFoundError):
        trainer.load_states(str(tmp_path / "states"))


# ---------------------------------------------------------------- batches (gluon.utils)
def test_the_public_module_of_batches() -> None:
    import mxcore.gluon.utils as utils
    from mxcore.gluon.utils import split_data

    assert mx.gluon.utils is utils and utils.split_data is split_data
    assert {"check_sha1", "clip_global_norm", "download", "split_and_load", "split_data"} <= set(dir(utils))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        utils.nothing


def test_uneven_splits_are_asked_for() -> None:
    for shape, n in (((7, 2), 3), ((2, 2), 3)):
        with pytest.raises(ValueError, match="cannot be evenly split into 3 slices along axis 0"):
            mx.gluon.utils.split_data(mx.nd.ones(shape), n)


def test_host_arrays_are_split_on_the_host() -> None:
    parts = mx.gluon.utils.split_data(np.arange(6), 2)
    assert [type(p) for p in parts] == [np.ndarray, np.ndarray] and parts[1].tolist() == [3, 4, 5]


def test_clipping_warns_of_nan_and_needs_arrays() -> None:
    with pytest.warns(UserWarning, match="nan or inf is detected"):
        arrays = [mx.nd.array([np.inf]), mx.nd.ones((2,))]
        assert np.isinf(mx.gluon.utils.clip_global_norm(arrays, 1.0))
    assert arrays[1].asnumpy().tolist() == [1, 1]
    with pytest.raises(ValueError):
        mx.gluon.utils.clip_global_norm([], 1.0)


def test_clipping_half_precision_does_not_overflow() -> None:
    arrays = [mx.nd.ones((4,), dtype="float16") * 300]
    assert mx.gluon.utils.clip_global_norm(arrays, 60.0) == pytest.approx(600)
    assert arrays[0].asnumpy() == pytest.approx(30, rel=1e-2)
