"""What a metric is: the running sums, the registry, and metrics made of other metrics or of a function."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ..errors import ArgumentError, ShapeError
from ..registry import named

__all__ = ["CompositeEvalMetric", "CustomMetric", "EvalMetric", "alias", "check_label_shapes", "create", "host", "np",
           "register"]


def host(array: Any) -> numpy.ndarray:
    """The values of an array (of any kind) as a NumPy array."""
    return array.asnumpy() if hasattr(array, "asnumpy") else numpy.asarray(array)


def _number(value: Any) -> float:
    """A Python float from a number or an array of one element."""
    return float(value.item() if isinstance(value, numpy.ndarray) else value)


def check_label_shapes(labels: Any, preds: Any, wrap: bool = False, shape: bool = False) -> tuple[Any, Any]:
    """Check that there are as many labels as predictions.

    Parameters
    ----------
    labels, preds : list of NDArray, or NDArray
    wrap : bool
        Put a lone array into a list.
    shape : bool
        Compare shapes instead of lengths.

    Returns
    -------
    (labels, preds)

    Raises
    ------
    ShapeError
        They differ.

    Examples
    --------
    >>> check_label_shapes([1, 2], [3, 4])
    ([1, 2], [3, 4])
    """
    ours, theirs = (labels.shape, preds.shape) if shape else (len(labels), len(preds))
    if ours != theirs:
        raise ShapeError(f"Shape of labels {ours} does not match shape of predictions {theirs}")
    if wrap:
        labels = labels if isinstance(labels, (list, tuple)) else [labels]
        preds = preds if isinstance(preds, (list, tuple)) else [preds]
    return labels, preds


class EvalMetric:
    """Base of all metrics; a subclass defines ``update(labels, preds)``, which adds to the sums.

    Parameters
    ----------
    name : str
    output_names, label_names : list of str, optional
        Which outputs and labels :meth:`update_dict` takes; default all.
    **kwargs
        Further arguments of the metric, for :meth:`get_config`; ``has_global_stats`` says that ``update`` also keeps
        the global sums.

    Attributes
    ----------
    sum_metric, num_inst : float, int
        Sum of the values and number of instances since the last reset.
    global_sum_metric, global_num_inst : float, int
        The same, not touched by :meth:`reset_local`.

    Examples
    --------
    >>> class Largest(EvalMetric):
    ...     def update(self, labels, preds):
    ...         for pred in preds:
    ...             self.sum_metric += float(pred.max().asscalar())
    ...             self.num_inst += 1
    >>> metric = Largest("largest")
    >>> metric.update(None, [nd.array([1, 3])])
    >>> metric.get()
    ('largest', 3.0)
    """

    def __init__(self, name: str, output_names: Sequence[str] | None = None, label_names: Sequence[str] | None = None,
                 **kwargs: Any) -> None:
        self.name = str(name)
        self.output_names = output_names
        self.label_names = label_names
        self._has_global_stats = kwargs.pop("has_global_stats", False)
        self._kwargs = kwargs
        self.reset()

    def __str__(self) -> str:
        return f"EvalMetric: {dict(self.get_name_value())}"

    def get_config(self) -> dict[str, Any]:
        """The arguments of the metric; :func:`create` makes an equal one from them.

        >>> create("acc").get_config() == {"metric": "Accuracy", "name": "accuracy", "axis": 1,
        ...                                "output_names": None, "label_names": None}
        True
        """
        return {**self._kwargs, "metric": type(self).__name__, "name": self.name, "output_names": self.output_names,
                "label_names": self.label_names}

    def update_dict(self, label: Mapping[str, Any], pred: Mapping[str, Any]) -> None:
        """Update with arrays by name: those of ``output_names`` and ``label_names``, or all.

        Raises
        ------
        ArgumentError
            An output or label that the metric was asked to look at is not there.
        """
        self.update(_chosen(label, self.label_names, "label"), _chosen(pred, self.output_names, "output"))

    def update(self, labels: Any, preds: Any) -> None:
        """Add a batch: lists of labels and of predictions of equal length."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(labels, preds)")

    def _add(self, value: Any, count: int) -> None:
        """Add a batch's value to the local and the global sum."""
        value = _number(value)
        self.sum_metric += value
        self.global_sum_metric += value
        self.num_inst += count
        self.global_num_inst += count

    def reset(self) -> None:
        """Forget everything."""
        self.global_num_inst = 0
        self.global_sum_metric = 0.0
        self.reset_local()

    def reset_local(self) -> None:
        """Begin a new local part; the global sums go on."""
        self.num_inst = 0
        self.sum_metric = 0.0

    def get(self) -> tuple[Any, Any]:
        """Name and value since the last reset; the value is nan before the first update."""
        return self.name, self.sum_metric / self.num_inst if self.num_inst else float("nan")

    def get_global(self) -> tuple[Any, Any]:
        """Name and value since the last :meth:`reset`, whatever :meth:`reset_local` did."""
        if not self._has_global_stats:
            return self.get()
        return self.name, self.global_sum_metric / self.global_num_inst if self.global_num_inst else float("nan")

    def get_name_value(self) -> list[tuple[str, float]]:
        """Pairs of name and value.

        >>> create("acc").get_name_value()
        [('accuracy', nan)]
        """
        return _pairs(self.get())

    def get_global_name_value(self) -> list[tuple[str, float]]:
        """Pairs of name and global value."""
        return _pairs(self.get_global() if self._has_global_stats else self.get())


def _chosen(arrays: Mapping[str, Any], names: Sequence[str] | None, what: str) -> list[Any]:
    if names is None:
        return list(arrays.values())
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ArgumentError(f"the metric needs {what} {missing[0]!r}; there are {', '.join(arrays) or 'none'}")
    return [arrays[name] for name in names]


def _pairs(result: tuple[Any, Any]) -> list[tuple[str, float]]:
    name, value = result
    names = name if isinstance(name, list) else [name]
    values = value if isinstance(value, list) else [value]
    return list(zip(names, values))


#: Enter an EvalMetric subclass (by its lower-case class name, or by a given one).
register = named.get_register_func(EvalMetric, "metric")
#: Enter an EvalMetric subclass under further names.
alias = named.get_alias_func(EvalMetric, "metric")
_create = named.get_create_func(EvalMetric, "metric")


def create(metric: Any, *args: Any, **kwargs: Any) -> EvalMetric:
    """Make a metric.

    Parameters
    ----------
    metric : str, EvalMetric, function, list of these, or configuration
        A name, a metric (given back as it is), a function ``f(label, pred)`` (for :class:`CustomMetric`), several of
        them (for :class:`CompositeEvalMetric`), or what ``get_config`` gave.
    *args, **kwargs
        Arguments of the metric.

    Examples
    --------
    >>> create("top_k_accuracy", top_k=3).name
    'top_k_accuracy_3'
    >>> create(["acc", "ce"]).get_name_value()
    [('accuracy', nan), ('cross-entropy', nan)]
    """
    if callable(metric):
        return CustomMetric(metric, *args, **kwargs)
    if isinstance(metric, (list, tuple)):
        return CompositeEvalMetric([create(child, *args, **kwargs) for child in metric])
    return _create(metric, *args, **kwargs)


@alias("composite")
@register
class CompositeEvalMetric(EvalMetric):
    """Several metrics updated together.

    Parameters
    ----------
    metrics : list of whatever :func:`create` takes, optional
    name, output_names, label_names
        As in :class:`EvalMetric`.

    Examples
    --------
    >>> metric = CompositeEvalMetric(["mae"])
    >>> metric.add("mse")
    >>> metric.get()
    (['mae', 'mse'], [nan, nan])
    """

    def __init__(self, metrics: Sequence[Any] | None = None, name: str = "composite",
                 output_names: Sequence[str] | None = None, label_names: Sequence[str] | None = None) -> None:
        self.metrics = [create(metric) for metric in metrics or ()]
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def add(self, metric: Any) -> None:
        """Add a metric (anything that :func:`create` takes)."""
        self.metrics.append(create(metric))

    def get_metric(self, index: int) -> EvalMetric:
        """The metric at a position.

        Raises
        ------
        ArgumentError
            There is none.
        """
        if not -len(self.metrics) <= index < len(self.metrics):
            raise ArgumentError(f"Metric index {index} is out of range 0 and {len(self.metrics)}")
        return self.metrics[index]

    def update_dict(self, labels: Mapping[str, Any], preds: Mapping[str, Any]) -> None:
        """Update each metric with the arrays that this one looks at."""
        if self.label_names is not None:
            labels = OrderedDict((k, v) for k, v in labels.items() if k in self.label_names)
        if self.output_names is not None:
            preds = OrderedDict((k, v) for k, v in preds.items() if k in self.output_names)
        for metric in self.metrics:
            metric.update_dict(labels, preds)

    def update(self, labels: Any, preds: Any) -> None:
        """Update each metric."""
        for metric in self.metrics:
            metric.update(labels, preds)

    def reset(self) -> None:
        """Reset each metric."""
        for metric in self.metrics:
            metric.reset()

    def reset_local(self) -> None:
        """Reset the local part of each metric."""
        for metric in self.metrics:
            metric.reset_local()

    def get(self) -> tuple[list[str], list[float]]:
        """Names and values of all metrics."""
        return self._gather([metric.get_name_value() for metric in self.metrics])

    def get_global(self) -> tuple[list[str], list[float]]:
        """Names and global values of all metrics."""
        return self._gather([metric.get_global_name_value() for metric in self.metrics])

    @staticmethod
    def _gather(results: list[list[tuple[str, float]]]) -> tuple[list[str], list[float]]:
        pairs = [pair for result in results for pair in result]
        return [name for name, _ in pairs], [value for _, value in pairs]

    def get_config(self) -> dict[str, Any]:
        """The arguments, with the configuration of each metric."""
        return {**super().get_config(), "metrics": [metric.get_config() for metric in self.metrics]}


@register
class CustomMetric(EvalMetric):
    """A metric from a function of NumPy arrays.

    Parameters
    ----------
    feval : function ``(label, pred) -> value`` or ``-> (sum, count)``
    name : str, optional
        Default: the function's name.
    allow_extra_outputs : bool
        There may be more predictions than labels; the extra ones are not looked at.
    output_names, label_names
        As in :class:`EvalMetric`.

    Examples
    --------
    >>> metric = CustomMetric(lambda label, pred: abs(label - pred).max(), name="worst")
    >>> metric.update([nd.array([1, 2])], [nd.array([1, 5])])
    >>> metric.get()
    ('worst', 3.0)
    """

    def __init__(self, feval: Callable[..., Any], name: str | None = None, allow_extra_outputs: bool = False,
                 output_names: Sequence[str] | None = None, label_names: Sequence[str] | None = None) -> None:
        if name is None:
            name = getattr(feval, "__name__", type(feval).__name__)
            name = f"custom({name})" if "<" in name else name
        super().__init__(name, output_names, label_names, feval=feval, allow_extra_outputs=allow_extra_outputs,
                         has_global_stats=True)
        self._feval = feval
        self._allow_extra_outputs = allow_extra_outputs

    def update(self, labels: Any, preds: Any) -> None:
        """Add the function's value for each pair of label and prediction."""
        if not self._allow_extra_outputs:
            labels, preds = check_label_shapes(labels, preds, True)
        for pred, label in zip(preds, labels):
            result = self._feval(host(label), host(pred))
            if isinstance(result, tuple):
                self._add(*result)
            else:
                self._add(result, 1)

    def get_config(self) -> dict[str, Any]:
        """Raises NotImplementedError: a function has no configuration."""
        raise NotImplementedError("CustomMetric cannot be serialized")


def np(numpy_feval: Callable[..., Any], name: str | None = None, allow_extra_outputs: bool = False) -> CustomMetric:
    """A metric from a function of NumPy arrays (``mx.metric.np``); see :class:`CustomMetric`.

    >>> mx.metric.np(lambda label, pred: 0.0, name="nothing").name
    'nothing'
    """
    return CustomMetric(numpy_feval, name, allow_extra_outputs)
