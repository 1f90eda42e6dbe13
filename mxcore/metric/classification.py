"""Metrics of classifiers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from .base import EvalMetric, alias, check_label_shapes, host, register

__all__ = ["F1", "MCC", "PCC", "Accuracy", "CrossEntropy", "NegativeLogLikelihood", "Perplexity", "TopKAccuracy"]

Names = Sequence[str] | None


def _classes(array: Any) -> np.ndarray:
    return host(array).astype("int32")


@alias("acc")
@register
class Accuracy(EvalMetric):
    """The part of the predictions that is right.

    Parameters
    ----------
    axis : int
        The axis of the classes. Predictions of the same shape as the labels are classes already.
    name, output_names, label_names
        As in :class:`EvalMetric`.

    Examples
    --------
    >>> metric = Accuracy()
    >>> metric.update([nd.array([0, 1, 1])], [nd.array([[0.3, 0.7], [0, 1.], [0.4, 0.6]])])
    >>> metric.get()
    ('accuracy', 0.6666666666666666)
    """

    def __init__(self, axis: int = 1, name: str = "accuracy", output_names: Names = None,
                 label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names, axis=axis, has_global_stats=True)
        self.axis = axis

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch: labels are class numbers, predictions scores of each class (or class numbers)."""
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            if pred.shape != label.shape:
                pred = pred.argmax(axis=self.axis)
            guess, truth = check_label_shapes(_classes(label).ravel(), _classes(pred).ravel())
            self._add(int((guess == truth).sum()), len(guess))


@alias("top_k_accuracy", "top_k_acc")
@register
class TopKAccuracy(EvalMetric):
    """The part of the predictions whose ``top_k`` best classes hold the right one.

    Parameters
    ----------
    top_k : int
        At least 2.
    name, output_names, label_names
        As in :class:`EvalMetric`; ``_<top_k>`` is added to the name.

    Raises
    ------
    ArgumentError
        ``top_k`` is 1 or less.

    Examples
    --------
    >>> metric = TopKAccuracy(top_k=2)
    >>> metric.update([nd.array([0, 2])], [nd.array([[0.2, 0.3, 0.5], [0.1, 0.5, 0.4]])])
    >>> metric.get()
    ('top_k_accuracy_2', 0.5)
    """

    def __init__(self, top_k: int = 1, name: str = "top_k_accuracy", output_names: Names = None,
                 label_names: Names = None) -> None:
        if top_k <= 1:
            raise ArgumentError(f"Please use Accuracy if top_k is no more than 1 (it is {top_k})")
        super().__init__(f"{name}_{top_k}", output_names, label_names, top_k=top_k, has_global_stats=True)
        self.top_k = top_k

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch: predictions are scores of shape (samples, classes), or class numbers."""
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            scores, truth = host(pred).astype("float32"), _classes(label)
            if scores.ndim > 2:
                raise ShapeError(f"Predictions should be no more than 2 dims; they have shape {scores.shape}")
            check_label_shapes(truth, scores)
            if scores.ndim == 1:
                best = scores.astype("int32")[:, None]
            else:
                best = np.argpartition(scores, -min(self.top_k, scores.shape[1]))[:, -self.top_k:]
            self._add(int((best == truth.reshape(-1, 1)).any(axis=1).sum()), len(scores))


class _BinaryMetric(EvalMetric):
    """Metrics of a 2 x 2 table of counts; ``macro`` averages over batches, ``micro`` counts all samples together."""

    def __init__(self, name: str, output_names: Names, label_names: Names, average: str) -> None:
        self.average = average
        super().__init__(name, output_names, label_names, average=average, has_global_stats=True)

    @staticmethod
    def _score(table: np.ndarray) -> float:
        """The metric of counts ``table[truth, guess]``."""
        raise NotImplementedError

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch: labels are 0 or 1, predictions scores of shape (samples, 2).

        Raises
        ------
        ShapeError
            There are not as many labels as predictions, or predictions have not two axes.
        ArgumentError
            There are more than two classes.
        """
        labels, preds = check_label_shapes(labels, preds, True)
        table = np.zeros((2, 2), dtype="int64")
        for label, pred in zip(labels, preds):
            truth, scores = _classes(label), host(pred)
            if scores.ndim != 2:
                raise ShapeError(f"{type(self).__name__} takes scores of shape (samples, 2), not {scores.shape}")
            check_label_shapes(truth, scores)
            if len(np.unique(truth)) > 2:
                raise ArgumentError(f"{type(self).__name__} currently only supports binary classification.")
            guess = scores.argmax(axis=1)
            for t in (0, 1):
                for g in (0, 1):
                    table[t, g] += int(((truth.ravel() == t) & (guess == g)).sum())
        if self.average == "macro":
            self._add(self._score(table), 1)
            return
        self._table += table
        self._global_table += table
        self.num_inst, self.global_num_inst = int(self._table.sum()), int(self._global_table.sum())
        self.sum_metric = self._score(self._table) * self.num_inst
        self.global_sum_metric = self._score(self._global_table) * self.global_num_inst

    def reset(self) -> None:
        """Forget everything."""
        self._global_table = np.zeros((2, 2), dtype="int64")
        super().reset()

    def reset_local(self) -> None:
        """Begin a new local part; the global counts go on."""
        self._table = np.zeros((2, 2), dtype="int64")
        super().reset_local()


@register
class F1(_BinaryMetric):
    """Harmonic mean of precision and recall of class 1.

    Parameters
    ----------
    name, output_names, label_names
        As in :class:`EvalMetric`.
    average : {"macro", "micro"}
        Mean of the batches' scores, or the score of all samples together.

    Examples
    --------
    >>> metric = F1()
    >>> metric.update([nd.array([0., 1., 1.])], [nd.array([[0.3, 0.7], [0., 1.], [0.4, 0.6]])])
    >>> metric.get()
    ('f1', 0.8)
    """

    def __init__(self, name: str = "f1", output_names: Names = None, label_names: Names = None,
                 average: str = "macro") -> None:
        super().__init__(name, output_names, label_names, average)

    @staticmethod
    def _score(table: np.ndarray) -> float:
        right, claimed, there = float(table[1, 1]), float(table[:, 1].sum()), float(table[1].sum())
        return 2.0 * right / (claimed + there) if right else 0.0


@register
class MCC(_BinaryMetric):
    """Matthews' correlation coefficient of two classes, from -1 to 1.

    Parameters
    ----------
    name, output_names, label_names
        As in :class:`EvalMetric`.
    average : {"macro", "micro"}
        Mean of the batches' scores, or the score of all samples together.

    Notes
    -----
    B. W. Matthews, *Comparison of the predicted and observed secondary structure of T4 phage lysozyme*, 1975.
    Margins of zero are left out of the denominator.

    Examples
    --------
    >>> metric = MCC()
    >>> metric.update([nd.array([0, 1])], [nd.array([[0.9, 0.1], [0.2, 0.8]])])
    >>> metric.get()
    ('mcc', 1.0)
    """

    def __init__(self, name: str = "mcc", output_names: Names = None, label_names: Names = None,
                 average: str = "macro") -> None:
        super().__init__(name, output_names, label_names, average)

    @staticmethod
    def _score(table: np.ndarray) -> float:
        counts = table.astype("float64")
        margins = [m for m in (*counts.sum(axis=0), *counts.sum(axis=1)) if m]
        return float(counts[1, 1] * counts[0, 0] - counts[0, 1] * counts[1, 0]) / math.sqrt(math.prod(margins))


@register
class PCC(EvalMetric):
    """Matthews' correlation coefficient of any number of classes (the discrete Pearson correlation).

    Parameters
    ----------
    name, output_names, label_names
        As in :class:`EvalMetric`.
    has_global_stats : bool

    Notes
    -----
    J. Gorodkin, *Comparing two K-category assignments by a K-category correlation coefficient*, 2004.
    The value is nan while all labels, or all predictions, are of one class.

    Examples
    --------
    >>> metric = PCC()
    >>> metric.update([nd.array([0, 1, 2])], [nd.array([0, 1, 2])])
    >>> round(metric.get()[1], 6)
    1.0
    """

    _table: np.ndarray
    _global_table: np.ndarray

    def __init__(self, name: str = "pcc", output_names: Names = None, label_names: Names = None,
                 has_global_stats: bool = True) -> None:
        super().__init__(name, output_names, label_names, has_global_stats=has_global_stats)

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch: labels are class numbers, predictions scores of each class (axis 1) or class numbers."""
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            if pred.shape != label.shape:
                pred = pred.argmax(axis=1)
            truth, guess = check_label_shapes(_classes(label).ravel(), _classes(pred).ravel())
            count = max(int(truth.max()), int(guess.max())) + 1 - len(self._table)
            if count > 0:
                self._table = np.pad(self._table, (0, count))
                self._global_table = np.pad(self._global_table, (0, count))
            np.add.at(self._table, (guess, truth), 1)
            np.add.at(self._global_table, (guess, truth), 1)
        self.num_inst += 1
        self.global_num_inst += 1

    @staticmethod
    def _score(table: np.ndarray) -> float:
        counts = table.astype("float64")
        total, guesses, truths = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
        spread = (guesses * (total - guesses)).sum() * (truths * (total - truths)).sum()
        if spread == 0:
            return float("nan")
        return float((counts.diagonal() * total - guesses * truths).sum() / math.sqrt(spread))

    @property
    def sum_metric(self) -> float:  # type: ignore[override]
        """The coefficient of the local counts, times the number of updates."""
        return self._score(self._table) * self.num_inst

    @property
    def global_sum_metric(self) -> float:  # type: ignore[override]
        """The coefficient of the global counts, times the number of updates."""
        return self._score(self._global_table) * self.global_num_inst

    def reset(self) -> None:
        """Forget everything."""
        self.global_num_inst = 0
        self._global_table = np.zeros((2, 2), dtype="int64")
        self.reset_local()

    def reset_local(self) -> None:
        """Begin a new local part; the global counts go on."""
        self.num_inst = 0
        self._table = np.zeros_like(self._global_table)


@register
class Perplexity(EvalMetric):
    """``exp`` of the mean negative log probability of the right classes.

    Parameters
    ----------
    ignore_label : int or None
        Samples of this label do not count.
    axis : int
        The axis of the classes.
    name, output_names, label_names
        As in :class:`EvalMetric`.

    Examples
    --------
    >>> metric = Perplexity(ignore_label=None)
    >>> metric.update([nd.array([0, 1])], [nd.array([[0.5, 0.5], [0.5, 0.5]])])
    >>> round(metric.get()[1], 6)
    2.0
    """

    def __init__(self, ignore_label: int | None, axis: int = -1, name: str = "perplexity", output_names: Names = None,
                 label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names, ignore_label=ignore_label, axis=axis, has_global_stats=True)
        self.ignore_label = ignore_label
        self.axis = axis

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch: predictions are probabilities of each class.

        Raises
        ------
        ShapeError
            There are not as many labels as predictions.
        """
        for label, pred in zip(*check_label_shapes(labels, preds, True)):
            given, table = host(label), np.moveaxis(host(pred), self.axis, -1)
            if given.size != table.size // table.shape[-1]:
                raise ShapeError(f"shape mismatch: labels {given.shape} vs. predictions {host(pred).shape} "
                                 f"with classes along axis {self.axis}")
            table = table.reshape(-1, table.shape[-1])
            # like the operator `pick`, labels outside of the classes (those to ignore, often) mean the nearest one
            truth = np.clip(given.ravel().astype("int64"), 0, table.shape[1] - 1)
            chosen = table[np.arange(len(truth)), truth]
            if self.ignore_label is not None:
                chosen = chosen[given.ravel() != self.ignore_label]
            self._add(-np.log(np.maximum(1e-10, chosen.astype("float64"))).sum(), len(chosen))

    def get(self) -> tuple[str, float]:
        """Name and perplexity since the last reset."""
        name, value = super().get()
        return name, math.exp(value)

    def get_global(self) -> tuple[str, float]:
        """Name and perplexity since the last :meth:`reset`."""
        mean = self.global_sum_metric / self.global_num_inst if self.global_num_inst else float("nan")
        return self.name, math.exp(mean)


class _LogLikelihood(EvalMetric):
    """Mean of ``-log(probability of the right class + eps)``."""

    def __init__(self, eps: float, name: str, output_names: Names, label_names: Names) -> None:
        super().__init__(name, output_names, label_names, eps=eps, has_global_stats=True)
        self.eps = eps

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch: predictions are probabilities of shape (samples, classes).

        Raises
        ------
        ShapeError
            There are not as many labels as samples.
        """
        for label, pred in zip(*check_label_shapes(labels, preds, True)):
            truth, table = host(label).ravel().astype("int64"), host(pred)
            if len(truth) != len(table):
                raise ShapeError(f"{len(truth)} labels do not fit predictions of shape {table.shape}")
            chosen = table[np.arange(len(truth)), truth].astype("float64")
            self._add(-np.log(chosen + self.eps).sum(), len(truth))


@alias("ce")
@register
class CrossEntropy(_LogLikelihood):
    """Mean of ``-log(probability of the right class + eps)``.

    Parameters
    ----------
    eps : float
        Keeps the logarithm finite.
    name, output_names, label_names
        As in :class:`EvalMetric`.

    Examples
    --------
    >>> metric = CrossEntropy()
    >>> metric.update([nd.array([0, 1])], [nd.array([[0.5, 0.5], [0.5, 0.5]])])
    >>> round(metric.get()[1], 6)
    0.693147
    """

    def __init__(self, eps: float = 1e-12, name: str = "cross-entropy", output_names: Names = None,
                 label_names: Names = None) -> None:
        super().__init__(eps, name, output_names, label_names)


@alias("nll_loss")
@register
class NegativeLogLikelihood(_LogLikelihood):
    """Mean negative log likelihood: :class:`CrossEntropy` under another name.

    Parameters
    ----------
    eps : float
        Keeps the logarithm finite.
    name, output_names, label_names
        As in :class:`EvalMetric`.

    Examples
    --------
    >>> NegativeLogLikelihood().name
    'nll-loss'
    """

    def __init__(self, eps: float = 1e-12, name: str = "nll-loss", output_names: Names = None,
                 label_names: Names = None) -> None:
        super().__init__(eps, name, output_names, label_names)
