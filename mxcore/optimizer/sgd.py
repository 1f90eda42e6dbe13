"""Gradient descent and its relatives with one step size for all elements."""

import math
from typing import Any

from .. import ndarray as nd
from .. import random
from .base import Optimizer, aggregation_size, is_small, register, zeros_as
from .together import listed, update_together

__all__ = ["DCASGD", "NAG", "SGD", "SGLD", "Signum", "Test", "ccSGD"]


class MomentumOptimizer(Optimizer):
    """Optimizers whose state is a momentum, with the float32 copy of the weight behind it."""

    momentum = 0.0

    def create_state(self, index: Any, weight: Any) -> Any:
        """The momentum, or None if there is none."""
        return zeros_as(weight) if self.momentum != 0.0 else None

    def create_state_multi_precision(self, index: Any, weight: Any) -> Any:
        """The momentum; in mixed precision ``(momentum, float32 copy of the weight)``."""
        if self.multi_precision and is_small(weight):
            copy = weight.astype("float32")
            return self.create_state(index, copy), copy
        self._warn_small(weight)
        return self.create_state(index, weight)


@register
class SGD(MomentumOptimizer):
    """Stochastic gradient descent, with momentum.

    ``state = momentum * state - lr * (rescale_grad * clip(grad) + wd * weight)``; ``weight += state``.

    Parameters
    ----------
    momentum : float
    lazy_update : bool
        For sparse gradients (update only the rows that they have); dense ones are always applied whole.
    **kwargs
        As in :class:`Optimizer`.

    Examples
    --------
    >>> updater = mx.optimizer.get_updater(SGD(learning_rate=0.5, momentum=0.9))
    >>> w = nd.array([1.])
    >>> updater(0, nd.array([1.]), w)
    >>> updater(0, nd.array([0.]), w)
    >>> round(w.asscalar(), 4), updater.states[0].asscalar()
    (0.05, -0.45)
    """

    _takes_any_number = True

    def __init__(self, momentum: float = 0.0, lazy_update: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.aggregate_num = aggregation_size(4)
        self.lazy_update = lazy_update

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight, or lists of weights in one operator call."""
        self._apply(index, weight, grad, state, mixed=False)

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight or several, with float32 copies where there are any."""
        first = weight[0] if isinstance(weight, (list, tuple)) else weight
        self._apply(index, weight, grad, state, mixed=self.multi_precision and is_small(first))

    def _apply(self, index: Any, weight: Any, grad: Any, state: Any, mixed: bool) -> None:
        index, weight, grad, state = listed(index, weight, grad, state)
        self._update_count(index)
        attrs = self._common(lrs=self._get_lrs(index), wds=self._get_wds(index))
        name = "sgd_update"
        if self.momentum != 0.0:
            attrs["momentum"] = self.momentum
            name = "sgd_mom_update"
        groups: Any
        if mixed:
            name = "mp_" + name
            inputs = [s if s[0] is not None else s[1:] for s in state]  # (momentum, copy), or (copy,)
            groups = [(w, g, *s) for w, g, s in zip(weight, grad, inputs)]
        else:
            groups = zip(weight, grad, state) if self.momentum != 0.0 else zip(weight, grad)
        update_together("multi_" + name, weight, groups, **attrs)


@register
class ccSGD(SGD):
    """:class:`SGD` under the name it had when it was written in C++ (deprecated in MXNet too)."""


@register
class NAG(MomentumOptimizer):
    """Nesterov's accelerated gradient.

    ``g = lr * (clip(rescale_grad * grad) + wd * weight)``; ``weight += momentum * (momentum * state - g) - g``;
    ``state = momentum * state - g``, with the decay of the new weight.

    Parameters
    ----------
    momentum : float
        0 makes it plain descent.
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Sutskever, Martens, Dahl & Hinton, *On the importance of initialization and momentum in deep learning*, ICML 2013.
    """

    _takes_any_number = True

    def __init__(self, momentum: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight, or lists of weights in one operator call."""
        index, weight, grad, state = listed(index, weight, grad, state)
        lrs, wds = self._counted_rates(index)
        attrs = self._common(lrs=lrs, wds=wds)
        if self.momentum == 0.0:
            update_together("multi_sgd_update", weight, zip(weight, grad), **attrs)
        else:
            update_together("_multi_nag_mom_update", weight, zip(weight, grad, state), momentum=self.momentum, **attrs)

    def _update_copy(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        self._update_count(index)
        attrs = self._common(lr=self._get_lr(index), wd=self._get_wd(index))
        momentum, copy = state
        if momentum is None:
            nd.mp_sgd_update(weight, grad, copy, out=weight, **attrs)
        else:
            nd.mp_nag_mom_update(weight, grad, momentum, copy, out=weight, momentum=self.momentum, **attrs)


@register
class Signum(Optimizer):
    """Steps of fixed size along the sign of the momentum (signSGD without one).

    ``state = momentum * state - (1 - momentum) * (clip(rescale_grad * grad) + wd * weight)``;
    ``weight = (1 - lr * wd_lh) * weight + lr * sign(state)``.

    Parameters
    ----------
    learning_rate, momentum : float
    wd_lh : float
        Weight decay that is not part of the gradient (Loshchilov & Hutter, 2017).
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Bernstein, Wang, Azizzadenesheli & Anandkumar, *signSGD*, ICML 2018.
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9, wd_lh: float = 0.0, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum
        self.wd_lh = wd_lh

    def create_state(self, index: Any, weight: Any) -> Any:
        """The momentum, or None if there is none."""
        return zeros_as(weight) if self.momentum != 0.0 else None

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        attrs = self._common(lr=self._get_lr(index), wd=self._get_wd(index))
        if state is None:
            nd.signsgd_update(weight, grad, out=weight, **attrs)
        else:
            nd.signum_update(weight, grad, state, out=weight, momentum=self.momentum, wd_lh=self.wd_lh, **attrs)


@register
class SGLD(Optimizer):
    """Stochastic gradient Langevin dynamics: half a step of descent, and noise of variance ``lr``.

    Parameters
    ----------
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Welling & Teh, *Bayesian Learning via Stochastic Gradient Langevin Dynamics*, ICML 2011.
    """

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        noise = random.normal(0, math.sqrt(lr), shape=weight.shape, dtype=weight.dtype, ctx=weight.context)
        weight[:] = weight - lr / 2 * (self._prepared(grad) + wd * weight) + noise


@register
class DCASGD(Optimizer):
    """Asynchronous descent with compensation for the delay of gradients.

    ``state = momentum * state - lr * (g + wd * weight + lamda * g^2 * (weight - previous))``; ``weight += state``.

    Parameters
    ----------
    momentum : float
    lamda : float
        Scale of the compensation.
    **kwargs
        As in :class:`Optimizer`.

    Notes
    -----
    Zheng et al., *Asynchronous Stochastic Gradient Descent with Delay Compensation*, ICML 2017.
    """

    def __init__(self, momentum: float = 0.0, lamda: float = 0.04, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.weight_previous: dict[Any, Any] = {}
        self.lamda = lamda

    def create_state(self, index: Any, weight: Any) -> Any:
        """``(momentum or None, previous weight)``."""
        return zeros_as(weight) if self.momentum != 0.0 else None, weight.copy()

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        grad = self._prepared(grad)
        momentum, previous = state
        step = -lr * (grad + wd * weight + self.lamda * grad * grad * (weight - previous))
        if momentum is not None:
            momentum[:] = self.momentum * momentum + step
            step = momentum
        previous[:] = weight
        weight[:] = weight + step


@register
class Test(Optimizer):
    """Adds the rescaled gradient to the weight, and copies the weight to the state: for tests."""

    def create_state(self, index: Any, weight: Any) -> Any:
        """Zeros."""
        return zeros_as(weight)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight."""
        weight[:] = weight + grad * self.rescale_grad
        state[:] = weight
