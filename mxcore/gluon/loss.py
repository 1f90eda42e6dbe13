"""Loss functions as blocks: one number for each sample, averaged over everything else."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from .. import ndarray as nd
from .block import HybridBlock

__all__ = [
    "CTCLoss", "CosineEmbeddingLoss", "HingeLoss", "HuberLoss", "KLDivLoss", "L1Loss", "L2Loss", "LogisticLoss", "Loss",
    "PoissonNLLLoss", "SDMLLoss", "SigmoidBCELoss", "SigmoidBinaryCrossEntropyLoss", "SoftmaxCELoss",
    "SoftmaxCrossEntropyLoss", "SquaredHingeLoss", "TripletLoss",
]

_TINY = 1e-12  # keeps logarithms and quotients finite


def _like(F: Any, x: Any, y: Any) -> Any:
    """``x`` in the shape of ``y``."""
    if isinstance(x, nd.NDArray) and x.shape == y.shape:
        return x
    return F.reshape_like(x, y)


class Loss(HybridBlock):
    """Base of the losses.

    Parameters
    ----------
    weight : float or None
        Factor on the loss; None for none.
    batch_axis : int
        The axis of the samples.
    """

    def __init__(self, weight: float | None, batch_axis: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._weight = weight
        self._batch_axis = batch_axis

    def _weighted(self, F: Any, loss: Any, sample_weight: Any, factor: float = 1.0) -> Any:
        """``loss`` times the weights of samples (broadcast) and times ``factor`` and the weight of the whole loss."""
        if sample_weight is not None:
            loss = F.broadcast_mul(loss, sample_weight)
        if self._weight is None:
            return loss
        if not isinstance(self._weight, Real):
            raise TypeError(f"{type(self).__name__}: weight must be a number, not {self._weight!r}")
        return loss * (self._weight * factor)

    def _mean(self, F: Any, loss: Any) -> Any:
        return F.mean(loss, axis=self._batch_axis, exclude=True)

    def hybrid_forward(self, F: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define hybrid_forward")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_axis={self._batch_axis}, w={self._weight})"


class L2Loss(Loss):
    r"""Half the squared error, :math:`\frac{w}{2} (label - pred)^2`, averaged over each sample.

    Inputs are ``pred``, ``label`` of the same number of elements and, optionally, ``sample_weight`` that broadcasts
    to them. The result has shape ``(batch,)``.

    Parameters
    ----------
    weight : float
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.loss.L2Loss()(mx.nd.array([[1, 3]]), mx.nd.array([[0, 0]])).asnumpy().tolist()
    [2.5]
    """

    def __init__(self, weight: float = 1.0, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        loss = F.square(_like(F, label, pred) - pred)
        return self._mean(F, self._weighted(F, loss, sample_weight, 0.5))


class L1Loss(Loss):
    r"""The absolute error :math:`|label - pred|`, averaged over each sample. Inputs as for :class:`L2Loss`.

    Parameters
    ----------
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.loss.L1Loss()(mx.nd.array([[1, 3]]), mx.nd.array([[0, 0]])).asnumpy().tolist()
    [2.0]
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        loss = F.abs(_like(F, label, pred) - pred)
        return self._mean(F, self._weighted(F, loss, sample_weight))


class SigmoidBinaryCrossEntropyLoss(Loss):
    r"""Cross entropy of two classes, element by element, then averaged over each sample.

    With logits :math:`x` the loss is computed as :math:`\max(x, 0) - x z + \log(1 + e^{-|x|})`, which does not
    overflow. Inputs are ``pred``, ``label`` (0, 1 or between) and, optionally, ``sample_weight`` and ``pos_weight``,
    a factor on the positive class of each output.

    Parameters
    ----------
    from_sigmoid : bool
        Whether ``pred`` are probabilities already.
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> loss = mx.gluon.loss.SigmoidBinaryCrossEntropyLoss()
    >>> round(loss(mx.nd.array([[0]]), mx.nd.array([[1]])).asscalar().item(), 4)
    0.6931
    """

    def __init__(self, from_sigmoid: bool = False, weight: float | None = None, batch_axis: int = 0,
                 **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._from_sigmoid = from_sigmoid

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None, pos_weight: Any = None) -> Any:
        label = _like(F, label, pred)
        if self._from_sigmoid:
            positive = F.log(pred + _TINY) * label
            if pos_weight is not None:
                positive = F.broadcast_mul(positive, pos_weight)
            loss = -(positive + F.log(1.0 - pred + _TINY) * (1.0 - label))
        elif pos_weight is None:
            loss = F.relu(pred) - pred * label + F.Activation(-F.abs(pred), act_type="softrelu")
        else:
            factor = 1 + F.broadcast_mul(pos_weight - 1, label)
            loss = pred - pred * label + factor * (F.Activation(-F.abs(pred), act_type="softrelu") + F.relu(-pred))
        return self._mean(F, self._weighted(F, loss, sample_weight))


SigmoidBCELoss = SigmoidBinaryCrossEntropyLoss


class SoftmaxCrossEntropyLoss(Loss):
    r"""Cross entropy after a softmax: :math:`-\log \mathrm{softmax}(pred)_{label}`, averaged over each sample.

    Inputs are ``pred``, ``label`` and, optionally, ``sample_weight``.

    Parameters
    ----------
    axis : int
        The axis of the classes in ``pred``.
    sparse_label : bool
        Whether ``label`` holds class numbers (``pred``'s shape without ``axis``); else it holds probabilities and
        has the shape of ``pred``.
    from_logits : bool
        Whether ``pred`` are log probabilities already (and the softmax is left out).
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    >>> round(loss(mx.nd.array([[0, 0]]), mx.nd.array([1])).asscalar().item(), 4)
    0.6931
    """

    def __init__(self, axis: int = -1, sparse_label: bool = True, from_logits: bool = False,
                 weight: float | None = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._axis = axis
        self._sparse_label = sparse_label
        self._from_logits = from_logits

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        if not self._from_logits:
            pred = F.log_softmax(pred, axis=self._axis)
        if self._sparse_label:
            loss = -F.pick(pred, label, axis=self._axis, keepdims=True)
        else:
            loss = -F.sum(pred * _like(F, label, pred), axis=self._axis, keepdims=True)
        return self._mean(F, self._weighted(F, loss, sample_weight))


SoftmaxCELoss = SoftmaxCrossEntropyLoss


class KLDivLoss(Loss):
    r"""Kullback-Leibler divergence :math:`\sum label\,(\log label - pred)` of each sample.

    Inputs are ``pred``, ``label`` (probabilities of the same shape) and, optionally, ``sample_weight``.

    Parameters
    ----------
    from_logits : bool
        Whether ``pred`` are log probabilities; if not, a log softmax is applied.
    axis : int
        The axis of that softmax.
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> loss = mx.gluon.loss.KLDivLoss(from_logits=False)
    >>> abs(loss(mx.nd.array([[3, 3]]), mx.nd.array([[0.5, 0.5]])).asscalar().item()) < 1e-6
    True
    """

    def __init__(self, from_logits: bool = True, axis: int = -1, weight: float | None = None, batch_axis: int = 0,
                 **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._from_logits = from_logits
        self._axis = axis

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        if not self._from_logits:
            pred = F.log_softmax(pred, axis=self._axis)
        loss = self._weighted(F, label * (F.log(label + _TINY) - pred), sample_weight)
        return F.sum(loss, axis=self._batch_axis, exclude=True)


class CTCLoss(Loss):
    """Connectionist temporal classification: the negative log likelihood of a label sequence, summed over all
    alignments (Graves et al., 2006, https://www.cs.toronto.edu/~graves/icml_2006.pdf).

    Inputs are ``pred`` (activations before the softmax; the last class is the blank), ``label`` (padded with -1, or
    with lengths) and, optionally, ``pred_lengths``, ``label_lengths`` and ``sample_weight``, each ``(batch,)``.
    The result has shape ``(batch,)``.

    Parameters
    ----------
    layout : str
        Axes of ``pred``: ``NTC`` or ``TNC``.
    label_layout : str
        Axes of ``label``: ``NT`` or ``TN``.
    weight : float, optional
        Factor on the loss.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.loss.CTCLoss(layout="NTC", label_layout="NT")
    CTCLoss(batch_axis=0, w=None)
    """

    def __init__(self, layout: str = "NTC", label_layout: str = "NT", weight: float | None = None,
                 **kwargs: Any) -> None:
        assert layout in ("NTC", "TNC"), f"Only 'NTC' and 'TNC' layouts for pred are supported. Got: {layout}"
        assert label_layout in ("NT", "TN"), f"Only 'NT' and 'TN' layouts for label are supported. Got: {label_layout}"
        super().__init__(weight, label_layout.find("N"), **kwargs)
        self._layout = layout
        self._label_layout = label_layout

    def hybrid_forward(self, F: Any, pred: Any, label: Any, pred_lengths: Any = None, label_lengths: Any = None,
                       sample_weight: Any = None) -> Any:
        if self._layout == "NTC":
            pred = F.swapaxes(pred, dim1=0, dim2=1)
        if self._batch_axis == 1:
            label = F.swapaxes(label, dim1=0, dim2=1)
        lengths = {name: value for name, value in (("data_lengths", pred_lengths), ("label_lengths", label_lengths))
                   if value is not None}
        loss = F.CTCLoss(pred, label, use_data_lengths=pred_lengths is not None,
                         use_label_lengths=label_lengths is not None, blank_label="last", **lengths)
        return self._weighted(F, loss, sample_weight)


class HuberLoss(Loss):
    r"""Squared error near 0 and absolute error beyond ``rho``, averaged over each sample:
    :math:`\frac{1}{2\rho} d^2` for :math:`d = |label - pred| \le \rho`, else :math:`d - \rho / 2`.
    Inputs as for :class:`L2Loss`.

    Parameters
    ----------
    rho : float
        Where the two forms meet.
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.loss.HuberLoss()(mx.nd.array([[3]]), mx.nd.array([[0]])).asnumpy().tolist()
    [2.5]
    """

    def __init__(self, rho: float = 1, weight: float | None = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._rho = rho

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        d = F.abs(_like(F, label, pred) - pred)
        loss = F.where(d > self._rho, d - 0.5 * self._rho, (0.5 / self._rho) * F.square(d))
        return self._mean(F, self._weighted(F, loss, sample_weight))


class HingeLoss(Loss):
    r"""Hinge loss of support vector machines, :math:`\max(0, margin - pred \cdot label)`, averaged over each sample.

    Inputs are ``pred``, ``label`` (-1 or 1) and, optionally, ``sample_weight``.

    Parameters
    ----------
    margin : float
        Where the loss becomes 0.
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.loss.HingeLoss()(mx.nd.array([[0.5]]), mx.nd.array([[-1]])).asnumpy().tolist()
    [1.5]
    """

    def __init__(self, margin: float = 1, weight: float | None = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._margin = margin

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        loss = F.relu(self._margin - pred * _like(F, label, pred))
        return self._mean(F, self._weighted(F, loss, sample_weight))


class SquaredHingeLoss(Loss):
    r"""Squared hinge loss :math:`\max(0, margin - pred \cdot label)^2`, averaged over each sample.
    Inputs as for :class:`HingeLoss`.

    Parameters
    ----------
    margin : float
        Where the loss becomes 0.
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.loss.SquaredHingeLoss()(mx.nd.array([[0.5]]), mx.nd.array([[-1]])).asnumpy().tolist()
    [2.25]
    """

    def __init__(self, margin: float = 1, weight: float | None = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._margin = margin

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        loss = F.square(F.relu(self._margin - pred * _like(F, label, pred)))
        return self._mean(F, self._weighted(F, loss, sample_weight))


class LogisticLoss(Loss):
    r"""Logistic loss :math:`\log(1 + e^{-pred \cdot label})`, averaged over each sample.

    Inputs are ``pred``, ``label`` and, optionally, ``sample_weight``.

    Parameters
    ----------
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.
    label_format : str
        ``"signed"`` for labels -1 and 1, ``"binary"`` for 0 and 1.

    Examples
    --------
    >>> import mxcore as mx
    >>> round(mx.gluon.loss.LogisticLoss()(mx.nd.array([[0]]), mx.nd.array([[-1]])).asscalar().item(), 4)
    0.6931
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, label_format: str = "signed",
                 **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        if label_format not in ("signed", "binary"):
            raise ValueError(f"label_format can only be signed or binary, received {label_format}.")
        self._label_format = label_format

    def hybrid_forward(self, F: Any, pred: Any, label: Any, sample_weight: Any = None) -> Any:
        label = _like(F, label, pred)
        if self._label_format == "signed":
            label = (label + 1.0) / 2.0
        loss = F.relu(pred) - pred * label + F.Activation(-F.abs(pred), act_type="softrelu")
        return self._mean(F, self._weighted(F, loss, sample_weight))


class TripletLoss(Loss):
    r"""Triplet loss :math:`\max(0, \sum (positive - pred)^2 - (negative - pred)^2 + margin)` of each sample
    (Schroff et al., 2015, https://arxiv.org/abs/1503.03832). Inputs are ``pred``, ``positive`` and ``negative``.

    Parameters
    ----------
    margin : float
        How much farther than the positive the negative should be.
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> a, b = mx.nd.array([[0, 0]]), mx.nd.array([[1, 1]])
    >>> mx.gluon.loss.TripletLoss()(a, b, a).asnumpy().tolist()
    [3.0]
    """

    def __init__(self, margin: float = 1, weight: float | None = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._margin = margin

    def hybrid_forward(self, F: Any, pred: Any, positive: Any, negative: Any) -> Any:
        gap = F.square(_like(F, positive, pred) - pred) - F.square(_like(F, negative, pred) - pred)
        loss = F.relu(F.sum(gap, axis=self._batch_axis, exclude=True) + self._margin)
        return self._weighted(F, loss, None)


class PoissonNLLLoss(Loss):
    r"""Negative log likelihood of counts under a Poisson distribution, averaged over everything (one number).

    Inputs are ``pred`` (the mean, or its logarithm), ``target`` (counts), and, optionally, ``sample_weight`` and
    ``epsilon``, a number that keeps the logarithm of a mean of 0 finite.

    Parameters
    ----------
    weight : float, optional
        Factor on the loss.
    from_logits : bool
        Whether ``pred`` is the logarithm of the mean.
    batch_axis : int
        The axis of the samples.
    compute_full : bool
        Add Stirling's approximation of :math:`\log target!` for targets above 1.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.loss.PoissonNLLLoss()(mx.nd.array([[0]]), mx.nd.array([[3]])).asnumpy().tolist()
    [1.0]
    """

    def __init__(self, weight: float | None = None, from_logits: bool = True, batch_axis: int = 0,
                 compute_full: bool = False, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._from_logits = from_logits
        self._compute_full = compute_full

    def hybrid_forward(self, F: Any, pred: Any, target: Any, sample_weight: Any = None, epsilon: float = 1e-8) -> Any:
        target = _like(F, target, pred)
        loss = F.exp(pred) - target * pred if self._from_logits else pred - target * F.log(pred + epsilon)
        if self._compute_full:
            count = F.maximum(target, 1)  # log(0) must not reach the targets that the factor below leaves out
            stirling = count * F.log(count) - count + 0.5 * F.log(2 * math.pi * count)
            loss = loss + stirling * (target > 1)
        return F.mean(self._weighted(F, loss, sample_weight))


class CosineEmbeddingLoss(Loss):
    r"""Pulls pairs together or apart by their cosine: :math:`1 - \cos(x_1, x_2)` for label 1,
    :math:`\max(0, \cos(x_1, x_2) - margin)` for label -1.

    Inputs are ``input1``, ``input2`` (``(batch, n)``), ``label`` (``(batch,)``) and, optionally, ``sample_weight``.
    The result has shape ``(batch, 1)``.

    Parameters
    ----------
    weight : float, optional
        Factor on the loss.
    batch_axis : int
        The axis of the samples.
    margin : float
        Cosine below which a pair of label -1 costs nothing.

    Examples
    --------
    >>> import mxcore as mx
    >>> a = mx.nd.array([[3, 4]])
    >>> mx.gluon.loss.CosineEmbeddingLoss()(a, a, mx.nd.array([-1])).asnumpy().tolist()
    [[1.0]]
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, margin: float = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._margin = margin

    def hybrid_forward(self, F: Any, input1: Any, input2: Any, label: Any, sample_weight: Any = None) -> Any:
        input1 = _like(F, input1, input2)
        label = F.reshape(label, shape=(-1, 1))
        norms = F.reshape(F.norm(input1, axis=-1), shape=(-1, 1)) * F.reshape(F.norm(input2, axis=-1), shape=(-1, 1))
        cosine = F.reshape(F.sum(input1 * input2, axis=-1), shape=(-1, 1)) / F.maximum(norms, _TINY)
        loss = (1 - cosine) * (label == 1) + F.maximum((label == -1) * (cosine - self._margin), 0)
        return self._weighted(F, loss, sample_weight)


class SDMLLoss(Loss):
    r"""Smoothed deep metric learning (Bonadiman et al., 2019, https://arxiv.org/abs/1905.12786).

    Rows of ``x1`` and ``x2`` with the same number belong together; all other rows of the batch serve as negatives.
    The loss of a row is the divergence of the softmax over negative squared distances from the smoothed target.
    Inputs are ``x1`` and ``x2``, ``(batch, n)`` each, with at least two rows; the result has shape ``(batch,)``.

    Parameters
    ----------
    smoothing_parameter : float
        Probability given to the other rows.
    weight : float
        Factor on the loss.
    batch_axis : int
        The axis of the samples.

    Examples
    --------
    >>> import mxcore as mx
    >>> x = mx.nd.array([[0, 0], [9, 9]])
    >>> mx.gluon.loss.SDMLLoss()(x, x).shape
    (2,)
    """

    def __init__(self, smoothing_parameter: float = 0.3, weight: float = 1.0, batch_axis: int = 0,
                 **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self.kl_loss = KLDivLoss(from_logits=True)
        self.smoothing_parameter = smoothing_parameter

    def hybrid_forward(self, F: Any, x1: Any, x2: Any) -> Any:
        gaps = F.broadcast_sub(F.expand_dims(x1, axis=1), F.expand_dims(x2, axis=0))
        log_probability = F.log_softmax(-F.sum(F.square(gaps), axis=2), axis=1)
        same = F.diag(F.ones_like(F.sum(x1, axis=1)))  # the identity, of a size that is known when it runs
        others = F.broadcast_div(1 - same, F.sum(same) - 1)
        target = (1 - self.smoothing_parameter) * same + self.smoothing_parameter * others
        return self._weighted(F, self.kl_loss(log_probability, target), None)
