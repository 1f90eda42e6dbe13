"""Evaluation metrics: running statistics of predictions against labels (``mx.metric``).

A metric is updated with lists of labels and predictions, batch by batch. ``get`` gives its value since the last
``reset`` or ``reset_local``, ``get_global`` since the last ``reset``. Sums are kept in Python floats.

>>> metric = create("acc")
>>> metric.update([nd.array([0, 1])], [nd.array([[0.9, 0.1], [0.7, 0.3]])])
>>> metric.get()
('accuracy', 0.5)
"""

from ..registry import named as registry
from .base import (
    CompositeEvalMetric,
    CustomMetric,
    EvalMetric,
    alias,
    check_label_shapes,
    create,
    np,
    register,
)
from .classification import (
    F1,
    MCC,
    PCC,
    Accuracy,
    CrossEntropy,
    NegativeLogLikelihood,
    Perplexity,
    TopKAccuracy,
)
from .regression import MAE, MSE, RMSE, Caffe, Loss, PearsonCorrelation, Torch

__all__ = [
    "Accuracy", "Caffe", "CompositeEvalMetric", "CrossEntropy", "CustomMetric", "EvalMetric", "F1", "Loss", "MAE",
    "MCC", "MSE", "NegativeLogLikelihood", "PCC", "PearsonCorrelation", "Perplexity", "RMSE", "TopKAccuracy", "Torch",
    "alias", "check_label_shapes", "create", "np", "register", "registry",
]
