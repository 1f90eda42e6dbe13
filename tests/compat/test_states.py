"""Pickles of MXNet 1.9.1: what they describe goes on as it would have in MXNet."""

from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.files import pickles

DATA = Path(__file__).parent / "data" / "states"


def test_learning_rate_schedules_go_on() -> None:
    """Four schedules were asked for updates 0 to 3, pickled, and asked for updates 4 to 11."""
    schedules = pickles.loads((DATA / "lr_schedulers.pickle").read_bytes())
    assert [type(s).__name__ for s in schedules] == [
        "FactorScheduler", "MultiFactorScheduler", "PolyScheduler", "CosineScheduler"]
    assert all(isinstance(s, mx.lr_scheduler.LRScheduler) for s in schedules)
    np.testing.assert_allclose([[s(i) for i in range(4, 12)] for s in schedules], [
        [0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125], [0.2] * 8,
        [0.108, 0.075, 0.048, 0.027, 0.012, 0.003, 0, 0],
        [0.2618033988749895, 0.2, 0.13819660112501053, 0.0824429495415054, 0.03819660112501053, 0.009788696740969294, 0,
         0]])


@pytest.mark.parametrize("name", sorted(p.stem for p in DATA.glob("*.states")))
def test_states_are_whole(name: str) -> None:
    loaded = pickles.loads((DATA / f"{name}.states").read_bytes())
    states = loaded[0] if isinstance(loaded, tuple) else loaded
    arrays = [a for s in states.values() for a in (s if isinstance(s, tuple) else (s,))]
    assert arrays and all(isinstance(a, mx.nd.NDArray) and np.isfinite(a.asnumpy()).all() for a in arrays)
    if isinstance(loaded, tuple):
        optimizer = loaded[1]
        assert isinstance(optimizer, mx.optimizer.Optimizer)
        assert type(optimizer).__name__.lower() in name and optimizer.num_update == 3
