"""Metrics of numbers: errors, correlation, and the mean of a loss."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .base import EvalMetric, alias, check_label_shapes, host, register

__all__ = ["MAE", "MSE", "RMSE", "Caffe", "Loss", "PearsonCorrelation", "Torch"]

Names = Sequence[str] | None


class _ErrorMetric(EvalMetric):
    """The mean over batches of an error of each batch."""

    @staticmethod
    def _error(difference: np.ndarray) -> float:
        raise NotImplementedError

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch; labels and predictions of one axis count as columns, and shapes may broadcast."""
        for label, pred in zip(*check_label_shapes(labels, preds, True)):
            truth, guess = (a[:, None] if a.ndim == 1 else a for a in (host(label), host(pred)))
            self._add(self._error(truth.astype("float64") - guess), 1)


@register
class MAE(_ErrorMetric):
    """Mean absolute error.

    >>> metric = MAE()
    >>> metric.update([nd.array([1, 2])], [nd.array([2, 5])])
    >>> metric.get()
    ('mae', 2.0)
    """

    def __init__(self, name: str = "mae", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names, has_global_stats=True)

    @staticmethod
    def _error(difference: np.ndarray) -> float:
        return float(np.abs(difference).mean())


@register
class MSE(_ErrorMetric):
    """Mean squared error.

    >>> metric = MSE()
    >>> metric.update([nd.array([1, 2])], [nd.array([2, 5])])
    >>> metric.get()
    ('mse', 5.0)
    """

    def __init__(self, name: str = "mse", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names, has_global_stats=True)

    @staticmethod
    def _error(difference: np.ndarray) -> float:
        return float((difference ** 2).mean())


@register
class RMSE(_ErrorMetric):
    """Mean over batches of the root of the mean squared error.

    >>> metric = RMSE()
    >>> metric.update([nd.array([0, 0])], [nd.array([2, 2])])
    >>> metric.get()
    ('rmse', 2.0)
    """

    def __init__(self, name: str = "rmse", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names, has_global_stats=True)

    @staticmethod
    def _error(difference: np.ndarray) -> float:
        return math.sqrt(float((difference ** 2).mean()))


class _Moments:
    """Running means, squares and products of pairs of numbers."""

    def __init__(self) -> None:
        self.count, self.mean = 0, np.zeros(2)
        self.spread = np.zeros((2, 2))  # sums of products of deviations from the mean

    def add(self, pairs: np.ndarray) -> None:
        """Merge a batch of shape (2, samples): Chan, Golub & LeVeque, 1979."""
        count, mean = pairs.shape[1], pairs.mean(axis=1)
        away, step = pairs - mean[:, None], mean - self.mean
        total = self.count + count
        self.spread += away @ away.T + np.outer(step, step) * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total

    def correlation(self) -> float:
        """Pearson's correlation of all pairs; nan if one side never varied."""
        scale = math.sqrt(self.spread[0, 0] * self.spread[1, 1])
        return float(self.spread[0, 1]) / scale if scale else float("nan")


@alias("pearsonr")
@register
class PearsonCorrelation(EvalMetric):
    """Pearson's correlation of labels and predictions.

    Parameters
    ----------
    name, output_names, label_names
        As in :class:`EvalMetric`.
    average : {"macro", "micro"}
        Mean of the batches' correlations, or the correlation of all samples together.

    Notes
    -----
    MXNet's micro average gives 0 as its global value and is not reset by ``reset_local``; here both work.

    Examples
    --------
    >>> metric = PearsonCorrelation()
    >>> metric.update([nd.array([1, 2, 3])], [nd.array([2, 4, 6])])
    >>> round(metric.get()[1], 6)
    1.0
    """

    def __init__(self, name: str = "pearsonr", output_names: Names = None, label_names: Names = None,
                 average: str = "macro") -> None:
        self.average = average
        super().__init__(name, output_names, label_names, average=average, has_global_stats=True)

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch; each label has the shape of its prediction."""
        for label, pred in zip(*check_label_shapes(labels, preds, True)):
            check_label_shapes(label, pred, False, True)
            pairs = np.stack([host(label).ravel(), host(pred).ravel()]).astype("float64")
            if self.average == "macro":
                self._add(np.corrcoef(pairs)[0, 1], 1)
                continue
            self._moments.add(pairs)
            self._global_moments.add(pairs)
            self.num_inst += 1
            self.global_num_inst += 1
            self.sum_metric = self._moments.correlation() * self.num_inst
            self.global_sum_metric = self._global_moments.correlation() * self.global_num_inst

    def reset(self) -> None:
        """Forget everything."""
        self._global_moments = _Moments()
        super().reset()

    def reset_local(self) -> None:
        """Begin a new local part; the global moments go on."""
        self._moments = _Moments()
        super().reset_local()


@register
class Loss(EvalMetric):
    """The mean of the outputs themselves, for nets whose output is a loss. Labels are not looked at.

    Examples
    --------
    >>> metric = Loss()
    >>> metric.update(None, nd.array([1, 2, 6]))
    >>> metric.get()
    ('loss', 3.0)
    """

    def __init__(self, name: str = "loss", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def update(self, _: Any, preds: Any) -> None:
        """Add all elements of an array, or of a list of arrays."""
        for pred in preds if isinstance(preds, (list, tuple)) else [preds]:
            values = host(pred)
            self._add(values.sum(dtype="float64"), values.size)


@register
class Torch(Loss):
    """:class:`Loss` under the name that nets with Torch criterions used."""

    def __init__(self, name: str = "torch", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names)


@register
class Caffe(Loss):
    """:class:`Loss` under the name that nets with Caffe losses used."""

    def __init__(self, name: str = "caffe", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names)
