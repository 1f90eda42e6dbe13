"""Metrics: figures recorded from MXNet 1.9.1 (tests/compat/record/metrics.py), and properties."""

import json
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxcore as mx
from mxcore import metric, nd
from mxcore.errors import ArgumentError, ShapeError

RECORD = json.loads((Path(__file__).parents[1] / "compat" / "data" / "metrics.json").read_text())


def values(result: tuple) -> list:
    """The values of a metric, or recorded ones, in which nan is None."""
    found = result[1] if isinstance(result[1], list) else [result[1]]
    assert all(type(v) is float or v is None for v in found)
    return [math.nan if v is None else v for v in found]


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda c: f"{c['metric']}-{c['kwargs']}")
def test_values_as_recorded(case: dict) -> None:
    m = metric.create(case["metric"], **case["kwargs"])
    for update, (local, whole) in zip(case["updates"], case["values"], strict=True):
        if isinstance(update, str):
            getattr(m, update)()
        else:
            m.update(*([nd.array(a) for a in arrays] for arrays in update))
        np.testing.assert_allclose(values(m.get()), values((None, local)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values(m.get_global()), values((None, whole)), rtol=1e-5, atol=1e-6)
    assert [name for name, _ in m.get_name_value()] == case["names"]


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda c: f"{c['metric']}-{c['kwargs']}")
def test_a_metric_made_from_the_configuration_is_the_same(case: dict) -> None:
    m = metric.create(case["metric"], **case["kwargs"])
    config = m.get_config()
    if case["metric"].startswith("top_k"):
        config["name"] = config["name"].rsplit("_", 1)[0]  # as in MXNet, top_k is added to the name once more
    other = metric.create(config)
    assert type(other) is type(m)
    for x in (m, other):
        x.update(*([nd.array(a) for a in arrays] for arrays in case["updates"][0]))
    assert other.get()[0] == m.get()[0]
    np.testing.assert_array_equal(values(other.get()), values(m.get()))


def test_names() -> None:
    registered = metric.registry.get_registry(metric.EvalMetric)
    assert {name: registered[name].__name__ for name in RECORD["registered"]} == RECORD["registered"]


def test_create() -> None:
    assert type(metric.create("Accuracy")).__name__ == "Accuracy"
    assert type(metric.create('["accuracy", {"axis": 2}]')).__name__ == "Accuracy"
    m = metric.MSE()
    assert metric.create(m) is m
    assert metric.create(["acc", m]).metrics[1] is m
    assert type(metric.create(lambda a, b: 1)).__name__ == "CustomMetric"
    for bad in ("nothing", None, 3):
        with pytest.raises(AssertionError):
            metric.create(bad)
    with pytest.raises(ArgumentError, match="already an instance"):
        metric.create(m, name="other")


def test_before_the_first_update() -> None:
    for case in RECORD["cases"]:
        m = metric.create(case["metric"], **case["kwargs"])
        assert all(math.isnan(v) for v in values(m.get()))
        assert str(m) == f"EvalMetric: {dict(m.get_name_value())}"


def test_correlation_of_all_samples_together() -> None:
    r = np.random.default_rng(5)
    a, b = r.normal(0, 1, (2, 30)).astype("float32")
    m = metric.PearsonCorrelation(average="micro")
    m.update([nd.array(a[:10])], [nd.array(b[:10])])
    m.reset_local()
    m.update([nd.array(a[10:15]), nd.array(a[15:])], [nd.array(b[10:15]), nd.array(b[15:])])
    assert m.get()[1] == pytest.approx(np.corrcoef(a[10:], b[10:])[0, 1])
    assert m.get_global()[1] == pytest.approx(np.corrcoef(a, b)[0, 1])
    m.reset()
    assert math.isnan(m.get_global()[1])


def test_by_name() -> None:
    labels, preds = {"l": nd.array([1]), "z": nd.array([0])}, {"o": nd.array([[0.1, 0.9]]), "q": nd.array([[0.1, 0.9]])}
    m = metric.Accuracy(output_names=["o"], label_names=["l"])
    m.update_dict(labels, preds)
    assert m.get() == ("accuracy", 1.0)
    m.reset()
    m.label_names = ["z"]
    m.update_dict(labels, preds)
    assert m.get() == ("accuracy", 0.0)
    m = metric.Accuracy()
    m.update_dict(OrderedDict(labels), OrderedDict(preds))
    assert m.get() == ("accuracy", 0.5)
    m = metric.CompositeEvalMetric(["acc"], output_names=["q"], label_names=["z"])
    m.update_dict(labels, preds)
    assert m.get() == (["accuracy"], [0.0])
    with pytest.raises(ArgumentError, match="'x'; there are l, z"):
        metric.Accuracy(label_names=["x"]).update_dict(labels, preds)


def test_composite() -> None:
    m = metric.CompositeEvalMetric()
    m.add("acc")
    m.add(metric.MSE())
    assert type(m.get_metric(1)) is metric.MSE
    with pytest.raises(ValueError, match="out of range 0 and 2"):
        m.get_metric(5)
    m.update([nd.array([1])], [nd.array([1])])
    m.reset_local()
    assert m.get()[0] == ["accuracy", "mse"]
    assert m.get_global() == (["accuracy", "mse"], [1.0, 0.0])
    m.reset()
    assert all(math.isnan(v) for v in m.get_global()[1])


def test_functions() -> None:
    def worst(label: np.ndarray, pred: np.ndarray) -> np.float32:
        assert isinstance(label, np.ndarray)
        return np.abs(label - pred).max()

    m = metric.np(worst)
    m.update([nd.array([1, 2]), nd.array([3])], [nd.array([1, 5]), nd.array([2])])
    assert m.get() == ("worst", 2.0)
    assert type(m.get()[1]) is float
    assert metric.np(lambda a, b: 1).name == "custom(<lambda>)"
    assert metric.np(worst, name="own").name == "own"
    m = metric.CustomMetric(lambda a, b: (6, 4), allow_extra_outputs=True)
    m.update([nd.ones(2)], [nd.ones(2), nd.ones(2)])
    assert m.get()[1] == 1.5
    with pytest.raises(ShapeError):
        metric.np(worst).update([nd.ones(2)], [nd.ones(2), nd.ones(2)])
    with pytest.raises(NotImplementedError):
        m.get_config()


@pytest.mark.parametrize(("m", "labels", "preds"), [
    (metric.Accuracy(), [1, 2, 3], [[0.1, 0.9]]), (metric.F1(), [0, 1, 2], [[0.1, 0.9]] * 3),
    (metric.F1(), [0, 1], [0, 1]), (metric.MCC(), [0, 1], [[0.1, 0.9]]), (metric.CrossEntropy(), [0, 1], [[0.1, 0.9]]),
    (metric.Perplexity(None), [0, 1, 1], [[0.1, 0.9]] * 2), (metric.TopKAccuracy(2), [0, 1, 1], [[0.1, 0.9]] * 2),
    (metric.TopKAccuracy(2), [[0, 1]], [[[0.1, 0.9]] * 2]), (metric.PearsonCorrelation(), [1, 2], [[1], [2]]),
])
def test_what_does_not_fit(m: metric.EvalMetric, labels: list, preds: list) -> None:
    with pytest.raises(ValueError):
        m.update([nd.array(labels)], [nd.array(preds)])


def test_arguments() -> None:
    with pytest.raises(ArgumentError, match="Please use Accuracy"):
        metric.TopKAccuracy(top_k=1)
    with pytest.raises(ShapeError, match="labels 1 does not match shape of predictions 2"):
        metric.MSE().update([nd.ones(1)], [nd.ones(1), nd.ones(1)])
    with pytest.raises(NotImplementedError):
        metric.EvalMetric("none").update([], [])
    assert metric.check_label_shapes(nd.ones(2), nd.ones(2), wrap=True)[0][0].shape == (2,)
    with pytest.raises(ShapeError, match=r"\(2,\) does not match shape of predictions \(3,\)"):
        metric.check_label_shapes(nd.ones(2), nd.ones(3), shape=True)


def test_metrics_take_numpy_too() -> None:
    for name in ("acc", "ce", "f1", "pcc"):
        m, other = metric.create(name), metric.create(name)
        labels, preds = np.array([1, 0, 1]), np.array([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], "float32")
        m.update([labels], [preds])
        other.update([nd.array(labels)], [nd.array(preds)])
        assert m.get() == other.get()


def test_a_sum_in_float32_would_stand_still() -> None:
    m = metric.Loss()
    m.update(None, nd.array([2.0**24]))
    for _ in range(3):
        m.update(None, nd.array([1.0]))
    assert m.sum_metric == 2.0**24 + 3


@given(st.data())
def test_classification_against_its_definition(data: st.DataObject) -> None:
    n, k = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 5))
    truth = np.array(data.draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
    order = [data.draw(st.permutations(range(k))) for _ in range(n)]  # no ties
    scores = np.array(order, "float32")
    cut = data.draw(st.integers(0, n))
    chosen = [metric.Accuracy(), metric.TopKAccuracy(2), metric.PCC()]
    for m in chosen:
        for part in (slice(0, cut), slice(cut, n)):
            if len(truth[part]):
                m.update([nd.array(truth[part])], [nd.array(scores[part])])
    best = np.argsort(-scores, axis=1)
    assert chosen[0].get()[1] == pytest.approx((best[:, 0] == truth).mean())
    assert chosen[1].get()[1] == pytest.approx((best[:, :2] == truth[:, None]).any(axis=1).mean())
    onehot = np.eye(k)
    x, y = onehot[best[:, 0]] - onehot[best[:, 0]].mean(0), onehot[truth] - onehot[truth].mean(0)
    spread = math.sqrt((x * x).sum() * (y * y).sum())
    if spread > 1e-9:
        assert chosen[2].get()[1] == pytest.approx((x * y).sum() / spread, abs=1e-9)
    else:
        assert math.isnan(chosen[2].get()[1])


def test_mx_metric_is_this() -> None:
    assert mx.metric is metric
