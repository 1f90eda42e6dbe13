"""Learning rate schedules: functions of the number of updates made so far (``mx.lr_scheduler``).

A scheduler is called with ``num_update``, the largest number of updates that any parameter has had, and returns the
learning rate. Schedulers keep state (how many steps they have passed), so each optimizer needs one of its own.
"""

import itertools
import logging
import math
from collections.abc import Sequence

from .errors import ArgumentError
from .files import pickles

__all__ = ["CosineScheduler", "FactorScheduler", "LRScheduler", "MultiFactorScheduler", "PolyScheduler"]

_LOG = logging.getLogger(__name__)


class LRScheduler:
    """Base of all schedulers: the warm-up, and the learning rate ``base_lr`` that a subclass lets fall.

    Parameters
    ----------
    base_lr : float
        Learning rate at the end of the warm-up. An optimizer that is given a learning rate of its own sets it.
    warmup_steps : int
        Number of updates of the warm-up.
    warmup_begin_lr : float
        Learning rate at its beginning.
    warmup_mode : {"linear", "constant"}
        Rise steadily from ``warmup_begin_lr``, or stay there.

    Raises
    ------
    ArgumentError
        ``warmup_steps`` is no number of updates, or ``warmup_begin_lr`` is above ``base_lr``.

    Examples
    --------
    >>> class Halving(LRScheduler):
    ...     def __call__(self, num_update):
    ...         return self.base_lr / 2 ** num_update
    >>> Halving(base_lr=0.8)(2)
    0.2
    """

    def __init__(self, base_lr: float = 0.01, warmup_steps: int = 0, warmup_begin_lr: float = 0,
                 warmup_mode: str = "linear") -> None:
        if not isinstance(warmup_steps, int) or warmup_steps < 0:
            raise ArgumentError(f"Warmup steps has to be an integer, positive or 0, not {warmup_steps!r}")
        if warmup_begin_lr > base_lr:
            raise ArgumentError("Base lr has to be higher than warmup_begin_lr; "
                                f"they are {base_lr} and {warmup_begin_lr}")
        if warmup_mode not in ("linear", "constant"):
            raise ArgumentError(f"Supports only linear and constant modes of warmup, not {warmup_mode!r}")
        self.base_lr = base_lr
        self.warmup_steps = warmup_steps
        self.warmup_final_lr = base_lr
        self.warmup_begin_lr = warmup_begin_lr
        self.warmup_mode = warmup_mode

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        pickles.admit(f"{cls.__module__}.{cls.__qualname__}", cls)  # states of optimizers may name users' schedules

    def get_warmup_lr(self, num_update: int) -> float:
        """The learning rate during the warm-up.

        >>> LRScheduler(base_lr=1.0, warmup_steps=4).get_warmup_lr(1)
        0.25
        """
        if num_update >= self.warmup_steps:
            raise ArgumentError(f"update {num_update} is after the warm-up of {self.warmup_steps} updates")
        if self.warmup_mode == "constant":
            return self.warmup_begin_lr
        rise = (self.warmup_final_lr - self.warmup_begin_lr) * float(num_update) / float(self.warmup_steps)
        return self.warmup_begin_lr + rise

    def __call__(self, num_update: int) -> float:
        """The learning rate after ``num_update`` updates."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__(num_update)")


def _check_factor(factor: float) -> None:
    if factor > 1.0:
        raise ArgumentError(f"Factor must be no more than 1 to make lr reduce, not {factor}")


class FactorScheduler(LRScheduler):
    """Multiply the learning rate by ``factor`` every ``step`` updates, down to ``stop_factor_lr``.

    Parameters
    ----------
    step : int
    factor : float
    stop_factor_lr : float
    base_lr, warmup_steps, warmup_begin_lr, warmup_mode
        As in :class:`LRScheduler`.

    Examples
    --------
    >>> schedule = FactorScheduler(step=2, factor=0.5, base_lr=1.0)
    >>> [schedule(n) for n in range(1, 7)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, step: int, factor: float = 1, stop_factor_lr: float = 1e-8, base_lr: float = 0.01,
                 warmup_steps: int = 0, warmup_begin_lr: float = 0, warmup_mode: str = "linear") -> None:
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if step < 1:
            raise ArgumentError(f"Schedule step must be greater or equal than 1 round, not {step}")
        _check_factor(factor)
        self.step = step
        self.factor = factor
        self.stop_factor_lr = stop_factor_lr
        self.count = 0

    def __call__(self, num_update: int) -> float:
        """The learning rate after ``num_update`` updates; it never rises again."""
        if num_update < self.warmup_steps:
            return self.get_warmup_lr(num_update)
        while num_update > self.count + self.step:
            self.count += self.step
            self.base_lr *= self.factor
            if self.base_lr < self.stop_factor_lr:
                self.base_lr = self.stop_factor_lr
                _LOG.info("Update[%d]: now learning rate arrived at %0.5e, will not change in the future",
                          num_update, self.base_lr)
            else:
                _LOG.info("Update[%d]: Change learning rate to %0.5e", num_update, self.base_lr)
        return self.base_lr


class MultiFactorScheduler(LRScheduler):
    """Multiply the learning rate by ``factor`` after each of the numbers of updates in ``step``.

    Parameters
    ----------
    step : list of int
        Increasing.
    factor : float
    base_lr, warmup_steps, warmup_begin_lr, warmup_mode
        As in :class:`LRScheduler`.

    Examples
    --------
    >>> schedule = MultiFactorScheduler(step=[2, 3], factor=0.5, base_lr=1.0)
    >>> [schedule(n) for n in range(1, 6)]
    [1.0, 1.0, 0.5, 0.25, 0.25]
    """

    def __init__(self, step: Sequence[int], factor: float = 1, base_lr: float = 0.01, warmup_steps: int = 0,
                 warmup_begin_lr: float = 0, warmup_mode: str = "linear") -> None:
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if not isinstance(step, (list, tuple)) or not step:
            raise ArgumentError(f"Schedule step is a list of at least one number of updates, not {step!r}")
        if step[0] < 1:
            raise ArgumentError(f"Schedule step must be greater or equal than 1 round, not {step[0]}")
        if any(late <= early for early, late in itertools.pairwise(step)):
            raise ArgumentError(f"Schedule step must be an increasing integer list, not {step}")
        _check_factor(factor)
        self.step = list(step)
        self.cur_step_ind = 0
        self.factor = factor
        self.count = 0

    def __call__(self, num_update: int) -> float:
        """The learning rate after ``num_update`` updates; it never rises again."""
        if num_update < self.warmup_steps:
            return self.get_warmup_lr(num_update)
        while self.cur_step_ind < len(self.step) and num_update > self.step[self.cur_step_ind]:
            self.count = self.step[self.cur_step_ind]
            self.cur_step_ind += 1
            self.base_lr *= self.factor
            _LOG.info("Update[%d]: Change learning rate to %0.5e", num_update, self.base_lr)
        return self.base_lr


class _Decay(LRScheduler):
    """A learning rate that falls from ``base_lr`` to ``final_lr`` along a curve, until ``max_update``."""

    def __init__(self, max_update: int, base_lr: float, final_lr: float, warmup_steps: int, warmup_begin_lr: float,
                 warmup_mode: str) -> None:
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if not isinstance(max_update, int) or max_update < 1:
            raise ArgumentError("maximum number of updates must be an integer and strictly positive, "
                                f"not {max_update!r}")
        self.base_lr_orig = base_lr
        self.max_update = max_update
        self.final_lr = final_lr
        self.max_steps = max_update - warmup_steps

    def _curve(self, part: float) -> float:
        """From 1 to 0 as ``part``, the part of the way that is behind us, goes from 0 to 1."""
        raise NotImplementedError

    def __call__(self, num_update: int) -> float:
        """The learning rate after ``num_update`` updates."""
        if num_update < self.warmup_steps:
            return self.get_warmup_lr(num_update)
        if num_update <= self.max_update:
            # a warm-up that takes all updates leaves no way to go: we are at its end
            part = float(num_update - self.warmup_steps) / self.max_steps if self.max_steps > 0 else 1.0
            self.base_lr = self.final_lr + (self.base_lr_orig - self.final_lr) * self._curve(part)
        return self.base_lr


class PolyScheduler(_Decay):
    """Let the learning rate fall from ``base_lr`` to ``final_lr`` as ``(1 - t) ** pwr``.

    Parameters
    ----------
    max_update : int
        Number of updates at which ``final_lr`` is reached.
    base_lr : float
    pwr : float
    final_lr : float
    warmup_steps, warmup_begin_lr, warmup_mode
        As in :class:`LRScheduler`.

    Examples
    --------
    >>> schedule = PolyScheduler(max_update=4, base_lr=1.0, pwr=2)
    >>> [schedule(n) for n in (0, 2, 4, 5)]
    [1.0, 0.25, 0.0, 0.0]
    """

    def __init__(self, max_update: int, base_lr: float = 0.01, pwr: float = 2, final_lr: float = 0,
                 warmup_steps: int = 0, warmup_begin_lr: float = 0, warmup_mode: str = "linear") -> None:
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.power = pwr

    def _curve(self, part: float) -> float:
        return math.pow(1 - part, self.power)


class CosineScheduler(_Decay):
    """Let the learning rate fall from ``base_lr`` to ``final_lr`` along half a cosine wave.

    Parameters
    ----------
    max_update : int
        Number of updates at which ``final_lr`` is reached.
    base_lr : float
    final_lr : float
    warmup_steps, warmup_begin_lr, warmup_mode
        As in :class:`LRScheduler`.

    Notes
    -----
    Loshchilov & Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts*, ICLR 2017 (without the restarts).

    Examples
    --------
    >>> schedule = CosineScheduler(max_update=4, base_lr=1.0)
    >>> [round(schedule(n), 3) for n in (0, 1, 2, 4)]
    [1.0, 0.854, 0.5, 0.0]
    """

    def __init__(self, max_update: int, base_lr: float = 0.01, final_lr: float = 0, warmup_steps: int = 0,
                 warmup_begin_lr: float = 0, warmup_mode: str = "linear") -> None:
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)

    def _curve(self, part: float) -> float:
        return (1 + math.cos(math.pi * part)) / 2
