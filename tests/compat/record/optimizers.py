"""Records what MXNet 1.9.1's optimizers do to two small weights: ``python optimizers.py`` where mxnet is installed."""

import json
import warnings
from pathlib import Path

import mxnet as mx
import numpy as np

STEPS = 6
SHAPES = [(2, 3), (4,)]
NAMES = {0: "a_weight", 1: "b_bias"}
FACTOR = ["FactorScheduler", {"step": 2, "factor": 0.5, "base_lr": 0.3}]
CLIPPED = {"wd": 0.1, "clip_gradient": 0.4, "rescale_grad": 0.5}

#: name, arguments, scheduler, whether the parameters have names, data type
CASES = [
    *(("sgd", kw, None, True, "float32") for kw in (
        {}, {"momentum": 0.9}, {"momentum": 0.5, **CLIPPED}, {"clip_gradient": 0.0},
        {"learning_rate": 0.3, "wd": 0.2})),
    ("sgd", {"momentum": 0.9}, FACTOR, True, "float32"),
    ("ccsgd", {"momentum": 0.9, "wd": 0.1}, None, False, "float32"),
    *(("nag", kw, None, True, "float32") for kw in ({}, {"momentum": 0.9}, {"momentum": 0.5, **CLIPPED})),
    *(("signum", kw, None, False, "float32") for kw in (
        {}, {"momentum": 0.0, "wd": 0.1}, {"momentum": 0.5, "wd_lh": 0.1, **CLIPPED})),
    *(("dcasgd", kw, None, False, "float32") for kw in ({}, {"lamda": 0.5, **CLIPPED})),
    *(("adam", kw, None, True, "float32") for kw in (
        {}, {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3}, {"learning_rate": 0.05, **CLIPPED})),
    ("adam", {}, FACTOR, True, "float32"),
    *((name, kw, None, False, "float32") for name in ("adagrad", "adadelta", "adamax", "nadam", "ftrl", "ftml")
      for kw in ({}, {"learning_rate": 0.2, **CLIPPED})),
    ("ftrl", {"lamda1": 0.3, "beta": 0.5}, None, False, "float32"),
    *(("rmsprop", kw, None, False, "float32") for kw in (
        {}, {"learning_rate": 0.05, "gamma1": 0.8, "epsilon": 1e-3, **CLIPPED},
        {"learning_rate": 0.05, "centered": True, "gamma2": 0.8, **CLIPPED}, {"clip_weights": 0.5})),
    *(("lamb", kw, None, True, "float32") for kw in (
        {}, {"learning_rate": 0.05, **CLIPPED}, {"bias_correction": False, "wd": 0.1},
        {"lower_bound": 3.0, "upper_bound": 5.0}, {"upper_bound": 0.5})),
    *(("lars", kw, None, names, "float32") for names in (True, False) for kw in (
        {}, {"momentum": 0.9, "wd": 0.1}, {"eta": 0.05, "eps": 0.1, "momentum": 0.5, "wd": 0.1, "rescale_grad": 0.5})),
    ("lars", {"momentum": 0.9}, FACTOR, True, "float32"),
    ("lars", {"momentum": 0.9, "momentum_correction": False}, FACTOR, True, "float32"),
    *(("lbsgd", kw, None, False, "float32") for kw in (
        {}, {"momentum": 0.9, "batch_scale": 2},
        {"batch_scale": 2, "warmup_strategy": "sqrt", "warmup_epochs": 1, "updates_per_epoch": 4},
        {"batch_scale": 3, "warmup_strategy": "power2", "momentum": 0.5, "warmup_epochs": 1},
        {"batch_scale": 2, "warmup_strategy": "lars", "momentum": 0.9, "wd": 0.1},
        {"batch_scale": 2, "begin_epoch": 1, "updates_per_epoch": 3}, {"batch_scale": 2, "warmup_strategy": "other"})),
    ("test", {"rescale_grad": 0.5}, None, False, "float32"),
    *((name, {"multi_precision": True, **kw}, None, True, "float16") for name, kw in (
        ("sgd", {}), ("sgd", {"momentum": 0.9, "wd": 0.1}), ("nag", {}), ("nag", {"momentum": 0.9}), ("adam", {}),
        ("signum", {}), ("rmsprop", {}), ("adagrad", {}), ("ftrl", {}), ("lamb", {"wd": 0.1}), ("lamb", {}),
        ("lars", {"momentum": 0.9}), ("lbsgd", {"momentum": 0.9}))),
    *((name, kw, None, True, "float16") for name, kw in (
        ("sgd", {"momentum": 0.9, "wd": 0.1}), ("nag", {"momentum": 0.9}), ("adam", {}))),
]


def flat(state):
    """Arrays of a state, nested tuples flattened."""
    if isinstance(state, (list, tuple)):
        return [x for part in state for x in flat(part)]
    return [] if state is None else [state.asnumpy().ravel().tolist()]


def run(name, kwargs, scheduler, named, dtype):
    r = np.random.RandomState(7)
    if scheduler:
        kwargs = dict(kwargs, lr_scheduler=getattr(mx.lr_scheduler, scheduler[0])(**scheduler[1]))
    if named:
        kwargs = dict(kwargs, param_idx2name=NAMES)
    updater = mx.optimizer.get_updater(mx.optimizer.create(name, **kwargs))
    weights = [mx.nd.array(r.uniform(-1, 1, s), dtype=dtype) for s in SHAPES]
    steps = []
    for _ in range(STEPS):
        for i, w in enumerate(weights):
            updater(i, mx.nd.array(r.uniform(-1, 1, w.shape), dtype=dtype), w)
        steps.append([round(float(v), 7) for w in weights for v in w.asnumpy().ravel()])
    states = [[[round(v, 7) for v in array] for array in flat(updater.states[i])] for i in (0, 1)]
    return {"weights": steps, "states": states, "learning_rate": updater.optimizer.learning_rate}


warnings.simplefilter("ignore")
record = {"shapes": SHAPES, "names": sorted(mx.optimizer.Optimizer.opt_registry), "cases": [
    {"optimizer": c[0], "kwargs": c[1], "scheduler": c[2], "named": c[3], "dtype": c[4], **run(*c)} for c in CASES]}
target = Path(__file__).resolve().parents[1] / "data" / "optimizers.json"
target.write_text(json.dumps(record, separators=(",", ":")).replace('{"optimizer"', '\n{"optimizer"') + "\n")
