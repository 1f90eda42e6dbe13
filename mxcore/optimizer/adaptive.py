"""Optimizers with a step size of its own for each element."""

import math
from typing import Any

from .. import ndarray as nd
from .base import Optimizer, register, zeros_as
from .together import listed, update_together

__all__ = ["AdaDelta", "AdaGrad", "Adam", "Adamax", "FTML", "Ftrl", "Nadam", "RMSProp"]


@register
class Adam(Optimizer):
    """Adam: steps of the mean gradient over the root of the mean squared gradient.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
    lazy_update : bool
        For sparse gradients (update only the rows that they have); dense ones are always applied whole.
    **kwargs
        As in :class:`Optimizer`. The weight decay is part of the gradient.

    Notes
    -----
    Kingma & Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015, with the correction of the bias in the
    learning rate (end of section 2).

    Examples
    --------
    >>> updater = mx.optimizer.get_updater(Adam(learning_rate=0.1))
    >>> w = nd.array([1.])
    >>> updater(0, nd.array([5.]), w)
    >>> round(w.asscalar(), 4)
    0.9
    """

    _takes_any_number = True

    def __init__(self, learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8,
                 lazy_update: bool = True, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.lazy_update = lazy_update

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(mean, variance)``."""
        return zeros_as(weight), zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight, or lists of weights in one operator call."""
        index, weight, grad, state = listed(index, weight, grad, state)
        lrs, wds = self._counted_rates(index)
        times = [self._index_update_count[i] for i in index]
        correction = {t: math.sqrt(1.0 - self.beta2 ** t) / (1.0 - self.beta1 ** t) for t in set(times)}
        groups = [(w, g, mean, var) for w, g, (mean, var) in zip(weight, grad, state)]
        update_together("_multi_adam_update", weight, groups, lrs=[lr * correction[t] for lr, t in zip(lrs, times)],
                        wds=wds, beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon, **self._common())


@register
class AdaGrad(Optimizer):
    """Steps divided by the root of the sum of squared gradients.

    ``history += g^2``; ``weight -= lr * (g / sqrt(history + eps) + wd * weight)``.

    Parameters
    ----------
    eps : float
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Duchi, Hazan & Singer, *Adaptive Subgradient Methods for Online Learning and Stochastic Optimization*, JMLR 2011.
    """

    _takes_any_number = True

    def __init__(self, eps: float = 1e-7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def create_state(self, index: Any, weight: Any) -> Any:
        """The sum of squared gradients."""
        return zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight, or lists of weights in one operator call."""
        index, weight, grad, state = listed(index, weight, grad, state)
        lrs, wds = self._counted_rates(index)
        update_together("_multi_adagrad_update", weight, zip(weight, grad, state), lrs=lrs, wds=wds,
                        epsilon=self.float_stable_eps, **self._common())


@register
class RMSProp(Optimizer):
    """Steps divided by the root of a running mean of squared gradients.

    Parameters
    ----------
    learning_rate : float
    gamma1 : float
        Decay of the running mean.
    gamma2 : float
        Momentum of the centred form.
    epsilon : float
    centered : bool
        Divide by the deviation instead, and use momentum.
    clip_weights : float, optional
        Weights are limited to ``[-clip_weights, clip_weights]``.
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Tieleman & Hinton, *Lecture 6.5: rmsprop*, 2012; centred: Graves, *Generating Sequences With Recurrent Neural
    Networks*, 2013 (arXiv:1308.0850), equations 38 to 45.
    """

    _takes_any_number = True

    def __init__(self, learning_rate: float = 0.001, gamma1: float = 0.9, gamma2: float = 0.9, epsilon: float = 1e-8,
                 centered: bool = False, clip_weights: float | None = None, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.gamma1 = gamma1
        self.gamma2 = gamma2
        self.centered = centered
        self.epsilon = epsilon
        self.clip_weights = clip_weights

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(mean square,)``, or ``(mean square, mean, step)`` if centred."""
        return tuple(zeros_as(weight) for _ in range(3 if self.centered else 1))

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight, or lists of weights in one operator call."""
        index, weight, grad, state = listed(index, weight, grad, state)
        lrs, wds = self._counted_rates(index)
        attrs = self._common(lrs=lrs, wds=wds, gamma1=self.gamma1, epsilon=self.epsilon)
        if self.clip_weights:
            attrs["clip_weights"] = self.clip_weights
        name = "_multi_rmsprop_update"
        if self.centered:
            name, attrs["gamma2"] = "_multi_rmspropalex_update", self.gamma2
        update_together(name, weight, [(w, g, *states) for w, g, states in zip(weight, grad, state)], **attrs)


@register
class AdaDelta(Optimizer):
    """Steps in the proportion of the running means of squared steps and squared gradients; there is no learning rate.

    Parameters
    ----------
    rho : float
        Decay of the running means.
    epsilon : float
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Zeiler, *ADADELTA: An Adaptive Learning Rate Method*, 2012 (arXiv:1212.5701).
    """

    def __init__(self, rho: float = 0.90, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rho = rho
        self.epsilon = epsilon

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(mean squared gradient, mean squared step)``."""
        return zeros_as(weight), zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        wd = self._get_wd(index)
        grad = self._prepared(grad)
        grads, steps = state
        grads[:] = self.rho * grads + (1.0 - self.rho) * grad.square()
        step = (steps + self.epsilon).sqrt() / (grads + self.epsilon).sqrt() * grad
        steps[:] = self.rho * steps + (1.0 - self.rho) * step.square()
        weight[:] = weight - (step + wd * weight)


@register
class Ftrl(Optimizer):
    """FTRL-Proximal: gradient descent that keeps weights of little use at exactly 0.

    Parameters
    ----------
    lamda1 : float
        Weight of the L1 penalty; ``wd`` is that of the L2 penalty.
    learning_rate, beta : float
        Of the learning rate ``learning_rate / (beta + sqrt(sum of squared gradients))`` of each element.
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    McMahan et al., *Ad Click Prediction: a View from the Trenches*, KDD 2013.
    """

    def __init__(self, lamda1: float = 0.01, learning_rate: float = 0.1, beta: float = 1, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.lamda1 = lamda1
        self.beta = beta

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(z, sum of squared gradients)``."""
        return zeros_as(weight), zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        z, n = state
        nd.ftrl_update(weight, grad, z, n, out=weight, lr=self._get_lr(index), wd=self._get_wd(index),
                       lamda1=self.lamda1, beta=self.beta, **self._common())


@register
class FTML(Optimizer):
    """Follow the Moving Leader.

    Parameters
    ----------
    beta1, beta2, epsilon : float
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Zheng & Kwok, *Follow the Moving Leader in Deep Learning*, ICML 2017.
    """

    def __init__(self, beta1: float = 0.6, beta2: float = 0.999, epsilon: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(d, v, z)`` of the paper."""
        return zeros_as(weight), zeros_as(weight), zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        attrs: dict[str, Any] = {"clip_grad": self.clip_gradient} if self.clip_gradient else {}
        d, v, z = state
        nd.ftml_update(weight, grad, d, v, z, out=weight, lr=self._get_lr(index), wd=self._get_wd(index),
                       beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon, t=self._index_update_count[index],
                       rescale_grad=self.rescale_grad, **attrs)


def _decayed_then_clipped(optimizer: Optimizer, index: Any, weight: Any, grad: Any) -> Any:
    grad = grad * optimizer.rescale_grad + optimizer._get_wd(index) * weight
    bound = optimizer.clip_gradient
    return grad if bound is None else grad.clip(-bound, bound)


@register
class Adamax(Optimizer):
    """Adam with the largest gradient seen (decaying) in place of the root of the mean square.

    Parameters
    ----------
    learning_rate, beta1, beta2 : float
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Kingma & Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015, section 7.1. As in MXNet there is no epsilon:
    an element whose gradient was always 0 becomes nan.
    """

    def __init__(self, learning_rate: float = 0.002, beta1: float = 0.9, beta2: float = 0.999, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(mean, largest)``."""
        return zeros_as(weight), zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        lr = self._get_lr(index) / (1.0 - self.beta1 ** self._index_update_count[index])
        grad = _decayed_then_clipped(self, index, weight, grad)
        mean, largest = state
        mean[:] = self.beta1 * mean + (1.0 - self.beta1) * grad
        largest[:] = nd.maximum(self.beta2 * largest, grad.abs())
        weight[:] = weight - lr * mean / largest


@register
class Nadam(Optimizer):
    """Adam with Nesterov's momentum.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
    schedule_decay : float
        How fast the momentum rises to ``beta1``.
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Dozat, *Incorporating Nesterov Momentum into Adam*, 2016. As in MXNet the product of momenta is one for all
    parameters, so that it falls with the number of updates of all of them.
    """

    def __init__(self, learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8,
                 schedule_decay: float = 0.004, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.schedule_decay = schedule_decay
        self.m_schedule = 1.0

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(mean, variance)``."""
        return zeros_as(weight), zeros_as(weight)

    def _momentum(self, t: int) -> float:
        return self.beta1 * (1.0 - 0.5 * 0.96 ** (t * self.schedule_decay))

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        t = self._index_update_count[index]
        lr = self._get_lr(index)
        grad = _decayed_then_clipped(self, index, weight, grad)
        now, ahead = self._momentum(t), self._momentum(t + 1)
        self.m_schedule *= now
        mean, var = state
        mean[:] = self.beta1 * mean + (1.0 - self.beta1) * grad
        var[:] = self.beta2 * var + (1.0 - self.beta2) * grad.square()
        looking = (1.0 - now) / (1.0 - self.m_schedule) * grad + ahead / (1.0 - self.m_schedule * ahead) * mean
        weight[:] = weight - lr * looking / ((var / (1.0 - self.beta2 ** t)).sqrt() + self.epsilon)
