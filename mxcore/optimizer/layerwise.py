"""Optimizers for large batches: the step of each array is scaled by the norms of weight and gradient."""

import math
from collections.abc import Sequence
from typing import Any

from .. import ndarray as nd
from ..ndarray import contrib_updates
from .base import Optimizer, aggregation_size, is_small, register, zeros_as
from .sgd import MomentumOptimizer
from .together import listed

__all__ = ["LAMB", "LARS", "LBSGD"]


@register
class LAMB(Optimizer):
    """Adam whose step in each array is scaled to the norm of the weight.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
    lower_bound, upper_bound : float, optional
        Limits of the weight's norm.
    bias_correction : bool
        Correct mean and variance for their start at 0.
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    You et al., *Large Batch Optimization for Deep Learning: Training BERT in 76 minutes*, ICLR 2020.
    """

    def __init__(self, learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-6,
                 lower_bound: float | None = None, upper_bound: float | None = None, bias_correction: bool = True,
                 **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        self.bias_correction = bias_correction
        self.aggregate_num = max(1, min(45, aggregation_size(45)))

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(mean, variance)``."""
        return zeros_as(weight), zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight, or lists of weights in one operator call."""
        index, weight, grad, state = listed(index, weight, grad, state)
        self._apply(index, weight, grad, state, copies=())

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight or several, with float32 copies where there are any."""
        index, weight, grad, state = listed(index, weight, grad, state)
        if self.multi_precision and is_small(weight[0]):
            self._apply(index, weight, grad, [inner for _, inner in state], copies=[copy for copy, _ in state])
        else:
            self._apply(index, weight, grad, state, copies=())

    def _apply(self, index: Sequence[Any], weight: Sequence[Any], grad: Sequence[Any], state: Sequence[Any],
               copies: Sequence[Any]) -> None:
        self._update_count(index)
        attrs = self._common(beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon,
                             bias_correction=self.bias_correction)
        if self.lower_bound:
            attrs["lower_bound"] = self.lower_bound
        if self.upper_bound:
            attrs["upper_bound"] = self.upper_bound
        attrs.update(step_count=[self._index_update_count[i] for i in index], lrs=self._get_lrs(index),
                     wds=self._get_wds(index), out=list(weight))
        means, variances = [mean for mean, _ in state], [var for _, var in state]
        if copies:
            contrib_updates.multi_mp_lamb_update(weight, grad, means, variances, copies, **attrs)
        else:
            contrib_updates.multi_lamb_update(weight, grad, means, variances, **attrs)


@register
class LARS(MomentumOptimizer):
    """Descent with momentum whose learning rate in each array is ``eta * |w| / (|g| + wd * |w| + eps)``.

    Parameters whose names end in ``gamma``, ``beta`` or ``bias`` keep the plain learning rate.

    Parameters
    ----------
    momentum : float
    lazy_update : bool
        For sparse gradients; dense ones are always applied whole.
    eta, eps : float
    momentum_correction : bool
        Scale the momentum with the learning rate when that changes from one call to the next.
    **kwargs
        As in :class:`Optimizer`. Only parameters whose names end in ``_weight`` are decayed.

    Notes
    -----
    You, Gitman & Ginsburg, *Large Batch Training of Convolutional Networks*, 2017 (arXiv:1708.03888).
    """

    _decayed = ("_weight",)

    def __init__(self, momentum: float = 0.0, lazy_update: bool = True, eta: float = 0.001, eps: float = 0,
                 momentum_correction: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.momentum_correction = momentum_correction
        self.lazy_update = lazy_update
        self.aggregate_num = aggregation_size(4)
        self.eta = eta
        self.eps = eps
        self.skip = 0
        self.last_lr: float | None = None
        self.cur_lr: float | None = None

    def _get_lrs(self, indices: Sequence[Any]) -> list[float]:
        lr = self.learning_rate
        self.last_lr = lr if self.cur_lr is None else self.cur_lr
        self.cur_lr = lr
        return [lr * self._multiplier(index, "lr_mult") for index in indices]

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight, or lists of weights in one operator call."""
        index, weight, grad, state = listed(index, weight, grad, state)
        self._apply(index, weight, grad, state, mixed=False)

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight or several, with float32 copies where there are any."""
        index, weight, grad, state = listed(index, weight, grad, state)
        self._apply(index, weight, grad, state, mixed=self.multi_precision and is_small(weight[0]))

    def _apply(self, index: Sequence[Any], weight: Sequence[Any], grad: Sequence[Any], state: Sequence[Any],
               mixed: bool) -> None:
        self._update_count(index)
        ctx = weight[0].context
        lrs = nd.array(self._get_lrs(index), ctx=ctx, dtype="float32")
        wds = nd.array(self._get_wds(index), ctx=ctx, dtype="float32")
        attrs = self._common(num_weights=len(index))
        name = "sgd_update"
        if self.momentum > 0:
            corrected = self.momentum_correction and self.last_lr
            attrs["momentum"] = self.momentum * (self.cur_lr / self.last_lr if corrected else 1.0)  # type: ignore[operator]
            name = "sgd_mom_update"
        lrs = self._layer_rates(index, weight, grad, lrs, wds)
        if mixed:
            name = "mp_" + name
            states = [s if s[0] is not None else s[1:] for s in state]  # (momentum, copy), or (copy,)
        else:
            states = [() if s is None else (s,) for s in state]
        arrays = [a for group in zip(weight, grad, states) for a in (group[0], group[1], *group[2])]
        getattr(nd, "preloaded_multi_" + name)(*arrays, lrs, wds, out=list(weight), **attrs)

    def _layer_rates(self, index: Sequence[Any], weight: Sequence[Any], grad: Sequence[Any], lrs: Any, wds: Any) -> Any:
        """The learning rates scaled to the layers, all on the device: the host does not wait for norms."""
        plain = [str(self.idx2name.get(i, i)).endswith(("gamma", "beta", "bias")) for i in index]
        if all(plain):
            return lrs
        count = len(index)
        weights, grads = (nd.multi_sum_sq(*arrays, num_arrays=count) for arrays in (weight, grad))
        scaled = nd.multi_lars(lrs, weights, grads, wds, eta=self.eta, eps=self.eps, rescale_grad=self.rescale_grad)
        return nd.where(nd.array(plain, ctx=lrs.context), lrs, scaled) if any(plain) else scaled


@register
class LBSGD(Optimizer):
    """Descent with large batches: gradients of ``batch_scale`` batches are averaged, with a warm-up of the rate.

    Parameters
    ----------
    momentum : float
    multi_precision : bool
    warmup_strategy : {"linear", "power2", "sqrt", "lars"}
        How the learning rate rises to ``batch_scale`` times itself; or ``"lars"``, scaled to the norms of the layer.
    warmup_epochs, batch_scale, updates_per_epoch, begin_epoch, num_epochs : int
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Goyal et al., *Accurate, Large Minibatch SGD*, 2017 (arXiv:1706.02677), and You, Gitman & Ginsburg, 2017.
    """

    def __init__(self, momentum: float = 0.0, multi_precision: bool = False, warmup_strategy: str = "linear",
                 warmup_epochs: int = 5, batch_scale: int = 1, updates_per_epoch: int = 32, begin_epoch: int = 0,
                 num_epochs: int = 60, **kwargs: Any) -> None:
        super().__init__(multi_precision=multi_precision, **kwargs)
        self.momentum = momentum
        self.warmup_strategy = warmup_strategy
        self.warmup_epochs = warmup_epochs
        self.batch_scale = batch_scale
        self.updates_per_epoch = updates_per_epoch
        self.init_updates = begin_epoch * updates_per_epoch
        self.num_epochs = num_epochs
        self.lbmult: float = 1
        self.cumgrads: dict[Any, dict[str, Any]] = {}
        self.adaptive = False
        self.admult = 1

    def _rate(self, updates: int) -> float:
        """By how much the learning rate has risen after a number of updates."""
        whole, most = self.warmup_epochs * self.updates_per_epoch, float(self.batch_scale)
        if updates >= whole:
            return most
        part = updates / whole if updates > 1 else 0.0
        curves = {"linear": part, "power2": part ** 2, "sqrt": math.sqrt(part)}
        return 1.0 + (most - 1.0) * curves.get(self.warmup_strategy, 0.0)

    @staticmethod
    def _layer_rate(weight: Any, grad: Any, wd: float) -> float:
        squares = [float((array.astype("float32") ** 2).sum().asscalar()) for array in (weight, grad)]
        ratio = math.sqrt(squares[0] / (squares[1] + wd * squares[0] + 1e-18))
        return min(100.0, max(0.01, ratio))

    def create_state(self, index: Any, weight: Any) -> Any:
        """The momentum, or None if there is none."""
        return zeros_as(weight) if self.momentum != 0.0 else None

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Add to the gradients of one weight, and update it once ``batch_scale`` of them have come."""
        self._update_count(index)
        held = self.cumgrads.setdefault(index, {"cum_grad": None, "num_cums": self.init_updates})
        held["cum_grad"] = grad.copy() if held["cum_grad"] is None else held["cum_grad"] + grad
        held["num_cums"] += 1
        if held["num_cums"] % self.batch_scale:
            return
        mean, held["cum_grad"] = held["cum_grad"] / self.batch_scale, None
        wd = self._get_wd(index)
        lars = self.warmup_strategy == "lars"
        self.lbmult = self._layer_rate(weight, mean, wd) if lars else self._rate(held["num_cums"])
        attrs = self._common(lr=self._get_lr(index) * self.lbmult, wd=wd)
        if state is None:
            nd.sgd_update(weight, mean, out=weight, **attrs)
        else:
            nd.sgd_mom_update(weight, mean, state, out=weight, momentum=self.momentum, **attrs)
