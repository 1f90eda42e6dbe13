"""Records what MXNet 1.9.1's metrics give, update by update: ``python metrics.py`` where mxnet is installed."""

import json
import math
from pathlib import Path

import mxnet as mx
import numpy as np

r = np.random.RandomState(11)


def scores(n, classes):
    return r.dirichlet(np.ones(classes), n).astype("float32").round(4).tolist()


def labels(n, classes):
    return r.randint(0, classes, n).tolist()


def numbers(*shape):
    return r.normal(0, 1, shape).astype("float32").round(4).tolist()


def batches(*makers):
    """Updates (labels, predictions), with resets between them; the last update has two pairs."""
    pairs = [[[make[0]() for make in makers], [make[1]() for make in makers]] for _ in range(5)]
    double = [pairs[4][0] + pairs[3][0], pairs[4][1] + pairs[3][1]]
    return [pairs[0], pairs[1], "reset_local", pairs[2], double, "reset", pairs[3]]


def classes(n, k):
    return batches((lambda: labels(n, k), lambda: scores(n, k)))


#: metric, arguments, updates
CASES = [
    ("acc", {}, classes(6, 3)), ("accuracy", {"axis": -1}, classes(6, 3)),
    ("acc", {}, batches((lambda: labels(5, 2), lambda: labels(5, 2)))),
    ("acc", {}, batches((lambda: r.randint(0, 3, (2, 4)).tolist(),
                         lambda: r.uniform(0, 1, (2, 3, 4)).round(3).tolist()))),
    ("top_k_accuracy", {"top_k": 2}, classes(7, 4)), ("top_k_acc", {"top_k": 3}, classes(7, 3)),
    *((name, {"average": average}, classes(6, 2)) for name in ("f1", "mcc") for average in ("macro", "micro")),
    ("f1", {}, batches((lambda: [0, 0], lambda: [[0.9, 0.1], [0.8, 0.2]]))),
    ("mcc", {}, batches((lambda: [0, 0], lambda: [[0.9, 0.1], [0.8, 0.2]]))),
    ("mcc", {}, batches((lambda: [1, 0, 1], lambda: [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))),
    ("pcc", {}, classes(8, 4)), ("pcc", {}, classes(8, 2)),
    ("pcc", {}, batches((lambda: labels(6, 5), lambda: labels(6, 3)))),
    ("perplexity", {"ignore_label": None}, classes(5, 4)), ("perplexity", {"ignore_label": 1}, classes(5, 3)),
    ("perplexity", {"ignore_label": -1}, batches((lambda: [0, -1, 2, 1], lambda: scores(4, 3)))),
    ("ce", {}, classes(5, 4)), ("ce", {"eps": 0.1}, classes(5, 4)), ("nll_loss", {}, classes(5, 4)),
    *((name, {}, batches((lambda: numbers(4, 3), lambda: numbers(4, 3)))) for name in ("mae", "mse", "rmse")),
    *((name, {}, batches((lambda: numbers(4), lambda: numbers(4, 1)))) for name in ("mae", "mse", "rmse")),
    *((name, {}, batches((lambda: numbers(4), lambda: numbers(4, 2)))) for name in ("mae", "mse", "rmse")),
    ("pearsonr", {}, batches((lambda: numbers(6), lambda: numbers(6)))),
    *((name, {}, batches((lambda: labels(3, 2), lambda: numbers(3, 2)))) for name in ("loss", "torch", "caffe")),
    ("composite", {"metrics": ["acc", "ce"]}, classes(6, 3)),
]


def plain(result):
    """Names and values, nan as None."""
    name, value = result
    names, values = (name, value) if isinstance(name, list) else ([name], [value])
    return names, [None if math.isnan(v) else round(float(v), 6) for v in values]


def run(name, kwargs, updates):
    metric = mx.metric.create(name, **kwargs)
    out = []
    for update in updates:
        if isinstance(update, str):
            getattr(metric, update)()
        else:
            metric.update(*([mx.nd.array(a) for a in arrays] for arrays in update))
        out.append([plain(metric.get())[1], plain(metric.get_global())[1]])
    return {"names": plain(metric.get())[0], "values": out}


registered = mx.registry.get_registry(mx.metric.EvalMetric)
record = {"registered": {name: klass.__name__ for name, klass in sorted(registered.items())}, "cases": [
    {"metric": name, "kwargs": kwargs, "updates": updates, **run(name, kwargs, updates)}
    for name, kwargs, updates in CASES]}
target = Path(__file__).resolve().parents[1] / "data" / "metrics.json"
target.write_text(json.dumps(record, separators=(",", ":")).replace('{"metric"', '\n{"metric"') + "\n")
