"""Records what MXNet 1.9.1's learning rate schedules give: ``python lr_schedulers.py`` where mxnet is installed."""

import json
from pathlib import Path

import mxnet as mx

UPDATES = list(range(1, 25)) + [24, 12, 40]  # they need not rise
WARM = {"warmup_steps": 5, "warmup_begin_lr": 0.1}

#: class, arguments, learning rate that an optimizer sets (or None)
CASES = [
    ("FactorScheduler", {"step": 5, "factor": 0.7, "base_lr": 1.0}, None),
    ("FactorScheduler", {"step": 2, "factor": 0.1, "stop_factor_lr": 0.05, "base_lr": 1.0}, None),
    ("FactorScheduler", {"step": 3, "factor": 0.5, "base_lr": 1.0, **WARM}, None),
    ("FactorScheduler", {"step": 3, "factor": 0.5, "base_lr": 1.0, **WARM}, 0.5),
    ("FactorScheduler", {"step": 4}, 0.3),
    ("MultiFactorScheduler", {"step": [4, 9, 15], "factor": 0.5, "base_lr": 2.0}, None),
    ("MultiFactorScheduler", {"step": [2, 3], "factor": 0.5, "base_lr": 2.0, "warmup_mode": "constant", **WARM}, None),
    ("MultiFactorScheduler", {"step": [1]}, 0.7),
    ("PolyScheduler", {"max_update": 20, "base_lr": 1.0, "pwr": 2, "final_lr": 0.1}, None),
    ("PolyScheduler", {"max_update": 18, "base_lr": 0.5, "pwr": 0.5, **WARM}, None),
    ("PolyScheduler", {"max_update": 10, "base_lr": 1.0}, 0.3),
    ("CosineScheduler", {"max_update": 20, "base_lr": 1.0, "final_lr": 0.1}, None),
    ("CosineScheduler", {"max_update": 20, "base_lr": 1.0, "warmup_mode": "constant", **WARM}, None),
    ("CosineScheduler", {"max_update": 3, "base_lr": 1.0, **WARM}, None),
]


def run(name, kwargs, base_lr):
    schedule = getattr(mx.lr_scheduler, name)(**kwargs)
    if base_lr is not None:
        schedule.base_lr = base_lr
    return [round(schedule(n), 9) for n in UPDATES]


record = {"updates": UPDATES, "cases": [
    {"schedule": n, "kwargs": k, "base_lr": b, "values": run(n, k, b),
     "attributes": sorted(vars(getattr(mx.lr_scheduler, n)(**k)))} for n, k, b in CASES]}
target = Path(__file__).resolve().parents[1] / "data" / "lr_schedulers.json"
target.write_text(json.dumps(record, separators=(",", ":")).replace('{"schedule"', '\n{"schedule"') + "\n")
