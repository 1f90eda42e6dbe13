"""Learning rate schedules: figures recorded from MXNet 1.9.1 (tests/compat/record/lr_schedulers.py), and properties."""

import json
import logging
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxcore as mx
from mxcore.errors import ArgumentError

RECORD = json.loads((Path(__file__).parents[1] / "compat" / "data" / "lr_schedulers.json").read_text())
L = mx.lr_scheduler


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda c: f"{c['schedule']}-{c['base_lr']}-{c['kwargs']}")
def test_values_as_recorded(case: dict) -> None:
    schedule = getattr(L, case["schedule"])(**case["kwargs"])
    assert sorted(vars(schedule)) == case["attributes"]  # pickled optimizers hold schedules by these names
    if case["base_lr"] is not None:
        schedule.base_lr = case["base_lr"]
    assert [schedule(n) for n in RECORD["updates"]] == pytest.approx(case["values"], abs=1e-9)


@pytest.mark.parametrize("make", [
    lambda: L.LRScheduler(warmup_steps=1.5), lambda: L.LRScheduler(warmup_steps=-1),
    lambda: L.LRScheduler(warmup_begin_lr=1), lambda: L.LRScheduler(warmup_mode="other"),
    lambda: L.LRScheduler(0.1, 10).get_warmup_lr(10), lambda: L.FactorScheduler(0), lambda: L.FactorScheduler(1, 1.5),
    lambda: L.MultiFactorScheduler([]), lambda: L.MultiFactorScheduler([0, 2]), lambda: L.MultiFactorScheduler([2, 2]),
    lambda: L.MultiFactorScheduler(3), lambda: L.MultiFactorScheduler([1], 2), lambda: L.PolyScheduler(0),
    lambda: L.PolyScheduler(10.0), lambda: L.CosineScheduler(0),
])
def test_errors(make) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_base_has_no_curve() -> None:
    with pytest.raises(NotImplementedError):
        L.LRScheduler()(1)


def test_a_poly_schedule_may_be_all_warm_up() -> None:
    schedule = L.PolyScheduler(3, base_lr=1.0, warmup_steps=3)
    assert [schedule(n) for n in (0, 3, 4)] == [0.0, 0.0, 0.0]


def test_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    schedule = L.FactorScheduler(1, 0.1, stop_factor_lr=0.05, base_lr=1.0)
    with caplog.at_level(logging.INFO):
        schedule(2)
        schedule(3)
    assert [r.getMessage() for r in caplog.records] == [
        "Update[2]: Change learning rate to 1.00000e-01",
        "Update[3]: now learning rate arrived at 5.00000e-02, will not change in the future"]


warm = {"base_lr": st.floats(0.1, 10), "warmup_steps": st.integers(0, 20), "warmup_begin_lr": st.floats(0, 0.1)}
schedules = st.one_of(
    st.builds(L.FactorScheduler, step=st.integers(1, 9), factor=st.floats(0, 1), stop_factor_lr=st.just(1e-3), **warm),
    st.builds(L.MultiFactorScheduler, step=st.sets(st.integers(1, 60), min_size=1).map(sorted),
              factor=st.floats(0, 1), **warm),
    st.builds(L.PolyScheduler, max_update=st.integers(21, 60), pwr=st.floats(0.1, 3), final_lr=st.just(0.01), **warm),
    st.builds(L.CosineScheduler, max_update=st.integers(21, 60), final_lr=st.just(0.01), **warm))


@given(schedules)
def test_rates_rise_to_the_base_and_then_fall(schedule: L.LRScheduler) -> None:
    base, warm_steps = schedule.base_lr, schedule.warmup_steps
    values = [schedule(n) for n in range(70)]
    assert all(0 <= v <= base * (1 + 1e-12) for v in values)
    assert values[:warm_steps] == sorted(values[:warm_steps])
    falling = values[warm_steps:]
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))
    if hasattr(schedule, "final_lr"):
        assert values[schedule.max_update] == values[-1] == pytest.approx(0.01)
