"""Optimizers: figures recorded from MXNet 1.9.1 (tests/compat/record/optimizers.py), and what must hold anyway."""

import json
import pickletools
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxcore as mx
from mxcore import nd
from mxcore.errors import ArgumentError, FileFormatError, MXNetError, ShapeError
from mxcore.optimizer import base

RECORD = json.loads((Path(__file__).parents[1] / "compat" / "data" / "optimizers.json").read_text())
NAMES = {0: "a_weight", 1: "b_bias"}


def label(case: dict) -> str:
    return f"{case['optimizer']}-{case['dtype']}-{case['scheduler'] is not None}-{case['kwargs']}"


def made(case: dict) -> mx.optimizer.Optimizer:
    kwargs = dict(case["kwargs"])
    if case["scheduler"]:
        name, arguments = case["scheduler"]
        kwargs["lr_scheduler"] = getattr(mx.lr_scheduler, name)(**arguments)
    if case["named"]:
        kwargs["param_idx2name"] = NAMES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a learning rate overrides the scheduler's
        return mx.optimizer.create(case["optimizer"], **kwargs)


def flat(state: object) -> list[np.ndarray]:
    if isinstance(state, (list, tuple)):
        return [x for part in state for x in flat(part)]
    return [] if state is None else [state.asnumpy().ravel()]


class Run:
    """The recorded program, here."""

    def __init__(self, case: dict) -> None:
        self.random = np.random.RandomState(7)
        self.dtype = case["dtype"]
        self.updater = mx.optimizer.get_updater(made(case))
        self.weights = [nd.array(self.random.uniform(-1, 1, s), dtype=self.dtype) for s in RECORD["shapes"]]

    def step(self, together: bool = False) -> np.ndarray:
        grads = [nd.array(self.random.uniform(-1, 1, w.shape), dtype=self.dtype) for w in self.weights]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Accumulating with float16")
            if together:
                self.updater([0, 1], grads, self.weights)
            else:
                for i, w in enumerate(self.weights):
                    self.updater(i, grads[i], w)
        return np.concatenate([w.asnumpy().ravel() for w in self.weights])


def close(got: np.ndarray, wanted: list, dtype: str) -> None:
    tolerance = 3e-6 if dtype == "float32" else 4e-3
    np.testing.assert_allclose(got.astype("float64"), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", RECORD["cases"], ids=label)
def test_steps_as_recorded(case: dict) -> None:
    run = Run(case)
    for wanted in case["weights"]:
        close(run.step(), wanted, case["dtype"])
    assert run.updater.optimizer.learning_rate == pytest.approx(case["learning_rate"])
    for i, wanted in enumerate(case["states"]):
        got = flat(run.updater.states[i])
        assert [len(array) for array in got] == [len(array) for array in wanted]
        for array, values in zip(got, wanted, strict=True):
            close(array, values, case["dtype"])


@pytest.mark.parametrize("case", [c for c in RECORD["cases"] if c["optimizer"] in ("sgd", "lars", "lamb", "adam")
                                  and not c["scheduler"]], ids=label)
def test_lists_of_weights_give_the_same(case: dict) -> None:
    run = Run(case)
    for wanted in case["weights"]:
        close(run.step(together=True), wanted, case["dtype"])


@pytest.mark.parametrize("case", [c for c in RECORD["cases"] if c["optimizer"] != "lbsgd"], ids=label)
def test_states_go_on_in_another_updater(case: dict) -> None:
    run = Run(case)
    for _ in range(3):
        run.step()
    fresh = mx.optimizer.get_updater(mx.optimizer.create("test"))
    fresh.set_states(run.updater.get_states(dump_optimizer=True))
    assert type(fresh.optimizer) is type(run.updater.optimizer)
    run.updater = fresh
    for wanted in case["weights"][3:]:
        close(run.step(), wanted, case["dtype"])


def test_names() -> None:
    assert set(RECORD["names"]) <= set(mx.optimizer.Optimizer.opt_registry)
    for name in RECORD["names"]:
        assert type(mx.optimizer.create(name.upper())).__name__.lower() == name


def test_states_name_only_classes_of_mxnet() -> None:
    schedule = mx.lr_scheduler.PolyScheduler(10, base_lr=0.1)
    updater = mx.optimizer.get_updater(mx.optimizer.SGD(momentum=0.9, lr_scheduler=schedule))
    updater(0, nd.ones(2), nd.ones(2))
    named = {a for op, a, _ in pickletools.genops(updater.get_states(True)) if "GLOBAL" in op.name}
    assert named == {"mxnet.ndarray.ndarray NDArray", "builtins bytearray", "mxnet.optimizer.optimizer SGD",
                     "mxnet.lr_scheduler PolyScheduler"}


def test_long_arrays_are_written_under_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mxcore.optimizer.states.LONGEST", 10)
    updater = mx.optimizer.get_updater(mx.optimizer.SGD(momentum=0.9))
    updater(0, nd.ones(2), nd.ones(2))
    data = updater.get_states(True)
    assert b"mxnet" not in data
    updater.set_states(data)
    assert updater.optimizer.momentum == 0.9
    assert updater.states[0].asnumpy().tolist() == pytest.approx([-0.01, -0.01])


def test_own_optimizers_and_schedules_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.Optimizer, "opt_registry", dict(base.Optimizer.opt_registry))
    mx.optimizer.register(Twice)
    updater = mx.optimizer.get_updater(mx.optimizer.create("twice", lr_scheduler=Slow(base_lr=0.5)))
    weight = nd.array([1.0])
    updater(0, nd.array([0.25]), weight)
    assert weight.asscalar() == 0.75
    updater.set_states(updater.get_states(dump_optimizer=True))
    assert type(updater.optimizer) is Twice
    updater(0, nd.array([0.25]), weight)
    assert weight.asscalar() == 0.625


class Slow(mx.lr_scheduler.LRScheduler):
    def __call__(self, num_update: int) -> float:
        return self.base_lr / num_update


class Twice(mx.optimizer.Optimizer):
    def update(self, index: object, weight: nd.NDArray, grad: nd.NDArray, state: object) -> None:
        self._update_count(index)
        weight -= self._get_lr(index) * 2 * grad


def test_a_second_class_of_a_name_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.Optimizer, "opt_registry", dict(base.Optimizer.opt_registry))
    with pytest.warns(UserWarning, match="overriding existing optimizer"):
        mx.optimizer.register(type("SGD", (mx.optimizer.Optimizer,), {}))


# ---------------------------------------------------------------- rates, decays, counts
def test_multipliers() -> None:
    opt = mx.optimizer.SGD(learning_rate=0.1, wd=0.5, param_idx2name={**NAMES, 2: "c_gamma", 3: "d_beta", 4: "mean"})
    assert opt._get_wds([0, 1, 2, 3, 4, 5]) == [0.5, 0.0, 0.5, 0.0, 0.0, 0.5]
    opt.set_wd_mult({"b_bias": 2.0, 5: 3.0})
    assert opt._get_wds([0, 1, 2, 3, 5]) == [0.5, 1.0, 0.5, 0.0, 1.5]
    opt.set_lr_mult({"a_weight": 2.0, 5: 7.0})
    assert opt._get_lrs([0, 1, 5]) == pytest.approx([0.2, 0.1, 0.7])
    opt.set_lr_mult({})
    assert opt._get_lr(0) == 0.1


def test_lars_decays_weights_only() -> None:
    opt = mx.optimizer.LARS(wd=0.5, param_idx2name={**NAMES, 2: "c_gamma"})
    assert opt._get_wds([0, 1, 2]) == [0.5, 0.0, 0.0]


def test_parameters_decide_their_multipliers() -> None:
    class Parameter:
        lr_mult, wd_mult = 3.0, 4.0

    opt = mx.optimizer.SGD(param_dict={0: Parameter()}, wd=0.1, learning_rate=0.1, param_idx2name=NAMES)
    opt.set_lr_mult({0: 100.0})
    assert opt._get_lr(0) == pytest.approx(0.3)
    assert opt._get_wd(0) == pytest.approx(0.4)
    assert "param_dict" not in opt.__getstate__()


def test_attributes_of_a_symbol() -> None:
    class Symbol:
        def attr_dict(self) -> dict:
            return {"v_weight": {"__lr_mult__": "0.25", "__wd_mult__": "0.5"}, "fc": {"num_hidden": "2"}}

        def list_arguments(self) -> list:
            return ["v_weight", "fc_bias"]

    opt = mx.optimizer.SGD(sym=Symbol(), param_idx2name={0: "v_weight", 1: "fc_bias"})
    assert opt.lr_mult == {"v_weight": 0.25}
    assert opt.wd_mult == {"v_weight": 0.5, "fc_bias": 0.0}
    opt.set_lr_mult({"v_weight": 3.0})
    assert opt.lr_mult == {"v_weight": 3.0}


def test_counts_by_device() -> None:
    opt = mx.optimizer.SGD(begin_num_update=10)
    opt._update_count(3)
    opt._update_count([3, 4])
    assert opt.num_update == 12
    assert opt._index_update_count == {3: 12, 4: 11}
    opt._set_current_context(2)
    opt._update_count(3)
    assert opt._index_update_count == {3: 11}
    opt._set_current_context(0)
    assert opt._index_update_count == {3: 12, 4: 11}


def test_learning_rate_and_schedule() -> None:
    opt = mx.optimizer.SGD(learning_rate=0.1)
    opt.set_learning_rate(0.3)
    assert opt.learning_rate == 0.3
    assert mx.optimizer.SGD().learning_rate == 0.01
    schedule = mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=0.7)
    opt = mx.optimizer.SGD(lr_scheduler=schedule)
    assert opt.learning_rate == 0.7
    opt.num_update = 5
    assert opt.learning_rate == pytest.approx(0.175)
    with pytest.raises(UserWarning, match="already been defined"):
        opt.set_learning_rate(0.3)
    with pytest.raises(DeprecationWarning):
        opt.set_lr_scale({})
    with pytest.warns(UserWarning, match="overwritten"):
        mx.optimizer.SGD(learning_rate=0.2, lr_scheduler=schedule)
    assert schedule.base_lr == 0.2


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"Cannot find optimizer nothing; there are .*adam"):
        mx.optimizer.create("nothing")
    with pytest.raises(ArgumentError, match="dict of param indexes"):
        mx.optimizer.SGD(param_idx2name=["a"])
    with pytest.raises(TypeError, match="momentums"):
        mx.optimizer.create("sgd", momentums=1)
    with pytest.raises(NotImplementedError):
        mx.optimizer.Optimizer().update(0, nd.ones(1), nd.ones(1), None)
    updater = mx.optimizer.get_updater(mx.optimizer.SGD())
    with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\)"):
        updater(0, nd.ones(3), nd.ones(2))
    with pytest.raises(ShapeError, match="one shape"):
        updater([0, 1], [nd.ones(2), nd.ones((1,))], [nd.ones(2), nd.ones(2)])
    with pytest.raises(ShapeError, match="matrices"):
        mx.optimizer.get_updater(mx.optimizer.GroupAdaGrad())(0, nd.ones(2), nd.ones(2))
    with pytest.raises(MXNetError, match="decay"):
        mx.optimizer.get_updater(mx.optimizer.GroupAdaGrad(wd=0.1))(0, nd.ones((2, 1)), nd.ones((2, 1)))


@pytest.mark.parametrize("data", [b"", b"x", b"\x80\x03]q\x00.", b"\x80\x03}q\x00K\x01\x86q\x01.",
                                  b"cos\nsystem\n(S'true'\ntR."])
def test_bytes_that_are_no_states(data: bytes) -> None:
    updater = mx.optimizer.get_updater(mx.optimizer.SGD(momentum=0.9))
    updater(0, nd.ones(2), nd.ones(2))
    with pytest.raises(FileFormatError):
        updater.set_states(data)
    assert list(updater.states) == [0]
    assert updater.optimizer.momentum == 0.9


# ---------------------------------------------------------------- the updater
def test_keys_in_bytes() -> None:
    updater = mx.optimizer.get_updater(mx.optimizer.Adam())
    updater(b"w", nd.ones(1), nd.ones(1))
    updater("w", nd.ones(1), nd.ones(1))
    assert list(updater.states) == ["w"]
    assert updater.optimizer._index_update_count == {"w": 2}


def test_states_move_to_their_weight() -> None:
    updater = mx.optimizer.get_updater(mx.optimizer.SGD(momentum=0.9))
    updater(0, nd.ones(1), nd.ones(1))
    updater.set_states(updater.get_states())
    assert updater.states_synced == {0: False}
    updater(0, nd.ones(1, ctx=mx.cpu(1)), nd.ones(1, ctx=mx.cpu(1)))
    assert updater.states_synced == {0: True}
    assert updater.states[0].context == mx.cpu(1)
    moved = updater.sync_state_context((nd.ones(1), None, [nd.ones(1)], 3), mx.cpu(2))
    assert moved[0].context == moved[2][0].context == mx.cpu(2)
    assert moved[1] is None
    assert moved[3] == 3


class Counting(mx.optimizer.SGD):
    """Notes how many weights each call gets."""

    calls: list = []

    def update_multi_precision(self, index: list, weight: list, grad: list, state: list) -> None:
        self.calls.append((len(index), {w.dtype for w in weight}))
        super().update_multi_precision(index, weight, grad, state)


@pytest.mark.parametrize(("setting", "wanted"), [(None, [4, 1, 2]), ("2", [2, 2, 1, 2]), ("10", [5, 2])])
def test_weights_are_updated_in_groups(monkeypatch: pytest.MonkeyPatch, setting: str | None, wanted: list) -> None:
    if setting is not None:
        monkeypatch.setenv("MXNET_OPTIMIZER_AGGREGATION_SIZE", setting)
    monkeypatch.setattr(Counting, "calls", [])
    updater = mx.optimizer.get_updater(Counting(momentum=0.9, learning_rate=1.0))
    weights = [nd.zeros(2, dtype="float64" if i in (1, 4) else "float32") for i in range(7)]
    updater(list(range(7)), [nd.full(2, i, dtype=w.dtype) for i, w in enumerate(weights)], weights)
    assert [count for count, _ in Counting.calls] == wanted
    assert all(len(types) == 1 for _, types in Counting.calls)
    for i, w in enumerate(weights):
        assert w.asnumpy().tolist() == [-i, -i]


@pytest.mark.parametrize("name", ["sgd", "nag", "adam", "adagrad", "rmsprop"])
def test_all_weights_of_a_type_at_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cls, calls = mx.optimizer.Optimizer.opt_registry[name], []
    update = cls.update_multi_precision

    def noted(self: object, index: object, *arrays: object) -> None:
        calls.append(index)
        update(self, index, *arrays)

    monkeypatch.setattr(cls, "update_multi_precision", noted)
    weights = [nd.zeros(2, dtype="float64" if i in (1, 4) else "float32") for i in range(7)]
    updater = mx.optimizer.get_updater(mx.optimizer.create(name))
    updater(list(range(7)), [nd.ones_like(w) for w in weights], weights)
    assert calls == [[0, 2, 3, 5, 6], [1, 4]]
    del calls[:]
    monkeypatch.setenv("MXNET_OPTIMIZER_AGGREGATION_SIZE", "3")
    updater = mx.optimizer.get_updater(mx.optimizer.create(name))
    updater(list(range(7)), [nd.ones_like(w) for w in weights], weights)
    assert calls == [[0, 2, 3], [5, 6], [1, 4]]


@pytest.mark.parametrize("name", ["nag", "adam", "adagrad", "rmsprop"])
def test_together_is_one_after_the_other(name: str) -> None:
    """Also where a schedule looks at the number of updates, and some weights had more of them."""
    results = []
    for together in (False, True):
        opt = mx.optimizer.create(name, learning_rate=0.5, wd=0.1, clip_gradient=0.7, param_idx2name={1: "b_bias"},
                                  lr_scheduler=mx.lr_scheduler.FactorScheduler(step=1, factor=0.5, base_lr=0.5))
        updater = mx.optimizer.get_updater(opt)
        weights = [nd.array([1.0, 2.0]), nd.array([3.0]), nd.array([[4.0], [5.0]])]
        grads = [nd.array([0.5, -1.0]), nd.array([2.0]), nd.array([[0.1], [0.2]])]
        updater(2, grads[2], weights[2])
        for _ in range(2):
            if together:
                updater([0, 1, 2], grads, weights)
            else:
                for i in range(3):
                    updater(i, grads[i], weights[i])
        results.append([w.asnumpy() for w in weights] + flat(list(updater.states.values())))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_changed_rule_gets_its_weights_one_by_one() -> None:
    class Halved(mx.optimizer.Adam):
        """A learning rate of its own."""

        def _get_lr(self, index: object) -> float:
            return super()._get_lr(index) / 2

    class Noted(mx.optimizer.Adam):
        """Counts weights as if there were only ever one."""

        def update(self, index: int, weight: nd.NDArray, grad: nd.NDArray, state: tuple) -> None:
            assert weight.shape == (1,)
            super().update(index, weight, grad, state)

    plain, halved, noted = nd.ones(1), nd.ones(1), nd.ones(1)
    for opt, weight in ((mx.optimizer.Adam(0.1), plain), (Halved(0.1), halved), (Noted(0.1), noted)):
        mx.optimizer.get_updater(opt)([0], [nd.ones(1)], [weight])
    assert plain.asscalar() == noted.asscalar() == pytest.approx(0.9)
    assert halved.asscalar() == pytest.approx(0.95)


def test_updates_are_in_place() -> None:
    for name in RECORD["names"]:
        if name == "groupadagrad":
            continue
        weight = nd.array([1.0, 2.0])
        alias = weight[0:2]
        mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=0.5))(0, nd.array([1.0, -1.0]), weight)
        assert not np.array_equal(alias.asnumpy(), [1.0, 2.0]), name


def test_mixed_precision_keeps_small_steps() -> None:
    for name, kwargs in (("sgd", {}), ("sgd", {"momentum": 0.5}), ("nag", {"momentum": 0.5}), ("adam", {}),
                         ("lamb", {}), ("adagrad", {})):
        opt = mx.optimizer.create(name, learning_rate=1e-4, multi_precision=True, **kwargs)
        updater = mx.optimizer.get_updater(opt)
        weight = nd.ones(4, dtype="float16")
        for _ in range(40):
            updater(0, nd.full(4, 1, dtype="float16"), weight)
        assert weight.dtype == np.float16
        assert (weight.asnumpy() < 1 - 5e-4).all(), name  # each step alone is below half a float16 of 1
        copies = [s for s in flat(updater.states[0]) if s.dtype == np.float32]
        assert any(np.abs(copy - weight.asnumpy().astype("float32")).max() < 5e-4 for copy in copies), name


def test_small_weights_without_copies_warn() -> None:
    with pytest.warns(UserWarning, match="float16"):
        mx.optimizer.get_updater(mx.optimizer.Adam())(0, nd.ones(1, dtype="float16"), nd.ones(1, dtype="float16"))


def test_langevin_noise() -> None:
    mx.random.seed(3)
    updater = mx.optimizer.get_updater(mx.optimizer.SGLD(learning_rate=0.01))
    weight = nd.ones(4000)
    updater(0, nd.full(4000, 2), weight)
    moved = weight.asnumpy() - 1
    assert abs(moved.mean() + 0.01) < 0.01
    assert abs(moved.std() - 0.1) < 0.01


def test_delay_compensation_with_momentum() -> None:
    updater = mx.optimizer.get_updater(mx.optimizer.DCASGD(momentum=0.5, learning_rate=0.1, lamda=0.0))
    plain = mx.optimizer.get_updater(mx.optimizer.SGD(momentum=0.5, learning_rate=0.1))
    one, other = nd.array([1.0]), nd.array([1.0])
    for g in (1.0, -2.0, 0.5):
        updater(0, nd.array([g]), one)
        plain(0, nd.array([g]), other)
    assert one.asscalar() == pytest.approx(other.asscalar())


def test_arrays_are_reset_in_place() -> None:
    arrays = [nd.ones((2, 3)), nd.ones(4, dtype="int32")]
    assert nd.reset_arrays(*arrays, num_arrays=2) == []
    assert [a.asnumpy().any() for a in arrays] == [False, False]
    assert arrays[1].dtype == np.int32


def test_rows_have_one_rate_each() -> None:
    updater = mx.optimizer.get_updater(mx.optimizer.GroupAdaGrad(learning_rate=0.1, eps=0.0))
    weight = nd.zeros((2, 2))
    updater(0, nd.array([[3, 4], [0, 1]]), weight)
    wanted = -0.1 * np.array([[3, 4], [0, 1]]) / np.sqrt([[12.5], [0.5]])
    np.testing.assert_allclose(weight.asnumpy(), wanted, rtol=1e-6)


@settings(max_examples=25)
@given(st.sampled_from(["sgd", "nag", "adam", "adagrad", "rmsprop", "adamax", "nadam", "ftml", "lamb", "signum"]),
       st.integers(0, 2**31 - 1))
def test_every_optimizer_goes_downhill(name: str, seed: int) -> None:
    r = np.random.default_rng(seed)
    target = nd.array(r.uniform(1, 2, 5) * r.choice([-1, 1], 5))
    weight = nd.array(r.uniform(-1, 1, 5))
    kwargs = {"momentum": 0.5} if name in ("sgd", "nag", "signum") else {}
    updater = mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=0.02, **kwargs))
    before = float(((weight - target) ** 2).sum().asscalar())
    for _ in range(30):
        updater(0, 2 * (weight - target), weight)
    assert float(((weight - target) ** 2).sum().asscalar()) < before
