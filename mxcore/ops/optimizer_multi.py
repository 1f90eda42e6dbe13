"""Optimizer updates of many arrays in one call, and what goes with them: sums of squares, tests for finite values.

The inputs of all arrays stand in one list, those of the first array first: ``weight0, grad0, mom0, weight1, ...``
Outputs are the new weights; states are written back.
"""

import functools
import inspect

import numpy as np

from ..errors import ArgumentError
from ..registry import Floats, Shape, register, rules
from .optimizer_update import (
    adagrad_update,
    adam_update,
    adamw,
    lamb_direction,
    lamb_ratio,
    nag_mom_update,
    rmsprop_update,
    rmspropalex_update,
    rounded,
    sgd,
    sgd_mom,
    widened,
)

_FLOAT32 = np.dtype("float32")


def _grouped(data, size, extra=0):
    """The inputs as one tuple of ``size`` for each weight; ``extra`` inputs at the end belong to all."""
    count, rest = divmod(len(data) - extra, size)
    if rest or count < 1:
        raise ArgumentError(f"the inputs are {size} arrays for each weight"
                            f"{f' and {extra} for all' if extra else ''}, not {len(data)} in all")
    return [data[i * size:(i + 1) * size] for i in range(count)]


def _each(values, count, what):
    if len(values) != count:
        raise ArgumentError(f"{what} has {len(values)} numbers for {count} weights")
    return values


def _multi(name, size, states, extra=0):
    """``@register`` for an update of many: ``size`` inputs a weight, of which ``states`` are written back."""

    @functools.cache
    def places(count):
        return tuple(i * size + place for i in range((count - extra) // size) for place in states)

    def mutated(attrs, count):
        return places(count)

    def shapes(attrs, ins):
        groups = _grouped(ins, size, extra)
        full = [rules.same(attrs, list(group))[0] for group in groups]
        return [shape for group in full for shape in group] + list(ins[len(ins) - extra:]), [g[0] for g in full]

    def types(attrs, ins, outputs=1):
        return ins, [group[0] for group in _grouped(ins, size, extra)]

    def outputs(attrs, count):
        return tuple(f"output{i}" for i in range(max(1, (count - extra) // size)))

    return register(name, infer=shapes, types=types, uniform=False, outputs=outputs, mutates=mutated, nograd=True)


def _wide(xp, groups):
    return [tuple([widened(xp, a) for a in group]) for group in groups]


def _results(xp, groups, results, places):
    """Outputs, then states, from ``(weight, *states)`` of each group; ``places`` are the states' among its inputs."""
    weights = [rounded(xp, result[0], group[0]) for group, result in zip(groups, results)]
    states = [rounded(xp, new, group[place]) for group, result in zip(groups, results)
              for place, new in zip(places, result[1:])]
    return (*weights, *states)


# ---------------------------------------------------------------- stochastic gradient descent
def _sgd(xp, groups, lrs, wds, rescale_grad, clip_gradient):
    return _results(xp, groups, [(sgd(xp, *group, lr, wd, rescale_grad, clip_gradient),)
                                 for group, lr, wd in zip(_wide(xp, groups), lrs, wds)], ())


def _sgd_mom(xp, groups, lrs, wds, momentum, rescale_grad, clip_gradient):
    return _results(xp, groups, [sgd_mom(xp, *group, lr, momentum, wd, rescale_grad, clip_gradient)
                                 for group, lr, wd in zip(_wide(xp, groups), lrs, wds)], (2,))


def _mp_sgd(xp, groups, lrs, wds, rescale_grad, clip_gradient):
    results = []
    for (_, grad, copy), lr, wd in zip(_wide(xp, groups), lrs, wds):
        new = sgd(xp, copy, grad, lr, wd, rescale_grad, clip_gradient)
        results.append((new, new))
    return _results(xp, groups, results, (2,))


def _mp_sgd_mom(xp, groups, lrs, wds, momentum, rescale_grad, clip_gradient):
    results = []
    for (_, grad, mom, copy), lr, wd in zip(_wide(xp, groups), lrs, wds):
        new, mom = sgd_mom(xp, copy, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)
        results.append((new, mom, new))
    return _results(xp, groups, results, (2, 3))


@_multi("multi_sgd_update", 2, ())
def multi_sgd_update(xp, *data, lrs: Floats, wds: Floats, rescale_grad: float = 1.0, clip_gradient: float = -1.0,
                     num_weights: int = 1):
    """``sgd_update`` of each of ``weight0, grad0, weight1, grad1, ...``

    >>> w = nd.array([1.]), nd.array([1.])
    >>> new = nd.multi_sgd_update(w[0], nd.ones(1), w[1], nd.ones(1), out=w, lrs=(0.5, 0.25), wds=(0, 0), num_weights=2)
    >>> [x.asscalar() for x in w]
    [0.5, 0.75]
    """
    groups = _grouped(data, 2)
    return _sgd(xp, groups, _each(lrs, len(groups), "lrs"), _each(wds, len(groups), "wds"), rescale_grad, clip_gradient)


@_multi("multi_sgd_mom_update", 3, (2,))
def multi_sgd_mom_update(xp, *data, lrs: Floats, wds: Floats, momentum: float = 0.0, rescale_grad: float = 1.0,
                         clip_gradient: float = -1.0, num_weights: int = 1):
    """``sgd_mom_update`` of each of ``weight0, grad0, mom0, weight1, ...``"""
    groups = _grouped(data, 3)
    return _sgd_mom(xp, groups, _each(lrs, len(groups), "lrs"), _each(wds, len(groups), "wds"), momentum, rescale_grad,
                    clip_gradient)


@_multi("multi_mp_sgd_update", 3, (2,))
def multi_mp_sgd_update(xp, *data, lrs: Floats, wds: Floats, rescale_grad: float = 1.0, clip_gradient: float = -1.0,
                        num_weights: int = 1):
    """``mp_sgd_update`` of each of ``weight0, grad0, weight32_0, weight1, ...``"""
    groups = _grouped(data, 3)
    return _mp_sgd(xp, groups, _each(lrs, len(groups), "lrs"), _each(wds, len(groups), "wds"), rescale_grad,
                   clip_gradient)


@_multi("multi_mp_sgd_mom_update", 4, (2, 3))
def multi_mp_sgd_mom_update(xp, *data, lrs: Floats, wds: Floats, momentum: float = 0.0, rescale_grad: float = 1.0,
                            clip_gradient: float = -1.0, num_weights: int = 1):
    """``mp_sgd_mom_update`` of each of ``weight0, grad0, mom0, weight32_0, weight1, ...``"""
    groups = _grouped(data, 4)
    return _mp_sgd_mom(xp, groups, _each(lrs, len(groups), "lrs"), _each(wds, len(groups), "wds"), momentum,
                       rescale_grad, clip_gradient)


# ---------------------------------------------------------------- other updates, of each weight as of one alone
def _each_alone(name, single):
    """A hidden operator that makes the update ``single`` of many weights, with a learning rate and a decay for each.

    Optimizers that update all weights at once use it. MXNet has no such operators.
    """
    size, states = len(single.schema.inputs), tuple(map(single.schema.inputs.index, single.mutates))
    numbers = [p for p in inspect.signature(single.fn, eval_str=True).parameters.values()
               if p.kind == p.KEYWORD_ONLY and p.name not in ("lr", "wd")]
    keyword = inspect.Parameter.KEYWORD_ONLY

    def kernel(xp, *data, lrs, wds, **attrs):
        groups = _grouped(data, size)
        rates = zip(_each(lrs, len(groups), "lrs"), _each(wds, len(groups), "wds"))
        results = [single.generic_kernel(xp, *group, lr=lr, wd=wd, **attrs)
                   for group, (lr, wd) in zip(groups, rates)]
        return (*[r[0] for r in results], *[state for r in results for state in r[1:]])

    kernel.__signature__ = inspect.Signature([
        inspect.Parameter("xp", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("data", inspect.Parameter.VAR_POSITIONAL),
        *[inspect.Parameter(n, keyword, annotation=Floats) for n in ("lrs", "wds")], *numbers])
    kernel.__doc__ = f"``{single.name}`` of each of many weights."
    return _multi(name, size, states)(kernel)


multi_nag_mom_update = _each_alone("_multi_nag_mom_update", nag_mom_update)
multi_adam_update = _each_alone("_multi_adam_update", adam_update)
multi_adagrad_update = _each_alone("_multi_adagrad_update", adagrad_update)
multi_rmsprop_update = _each_alone("_multi_rmsprop_update", rmsprop_update)
multi_rmspropalex_update = _each_alone("_multi_rmspropalex_update", rmspropalex_update)


# ---------------------------------------------------------------- with learning rates on the device
def _numbers(xp, array, groups, what):
    """Element ``i`` of an array of numbers, in the type that weight ``i`` computes in and with its axes."""
    if array.shape != (len(groups),):
        raise ArgumentError(f"{what} has shape {array.shape} for {len(groups)} weights")
    return [xp.astype(xp.reshape(array[i:i + 1], (1,) * max(1, group[0].ndim)), group[-1].dtype)
            for i, group in enumerate(_wide(xp, groups))]


def _preloaded(xp, data, size):
    groups = _grouped(data, size, extra=2)
    return groups, _numbers(xp, data[-2], groups, "lrs"), _numbers(xp, data[-1], groups, "wds")


@_multi("preloaded_multi_sgd_update", 2, (), extra=2)
def preloaded_multi_sgd_update(xp, *data, rescale_grad: float = 1.0, clip_gradient: float = -1.0, num_weights: int = 1):
    """``multi_sgd_update`` whose learning rates and decays are arrays, the last two inputs."""
    groups, lrs, wds = _preloaded(xp, data, 2)
    return _sgd(xp, groups, lrs, wds, rescale_grad, clip_gradient)


@_multi("preloaded_multi_sgd_mom_update", 3, (2,), extra=2)
def preloaded_multi_sgd_mom_update(xp, *data, momentum: float = 0.0, rescale_grad: float = 1.0,
                                   clip_gradient: float = -1.0, num_weights: int = 1):
    """``multi_sgd_mom_update`` whose learning rates and decays are arrays, the last two inputs."""
    groups, lrs, wds = _preloaded(xp, data, 3)
    return _sgd_mom(xp, groups, lrs, wds, momentum, rescale_grad, clip_gradient)


@_multi("preloaded_multi_mp_sgd_update", 3, (2,), extra=2)
def preloaded_multi_mp_sgd_update(xp, *data, rescale_grad: float = 1.0, clip_gradient: float = -1.0,
                                  num_weights: int = 1):
    """``multi_mp_sgd_update`` whose learning rates and decays are arrays, the last two inputs."""
    groups, lrs, wds = _preloaded(xp, data, 3)
    return _mp_sgd(xp, groups, lrs, wds, rescale_grad, clip_gradient)


@_multi("preloaded_multi_mp_sgd_mom_update", 4, (2, 3), extra=2)
def preloaded_multi_mp_sgd_mom_update(xp, *data, momentum: float = 0.0, rescale_grad: float = 1.0,
                                      clip_gradient: float = -1.0, num_weights: int = 1):
    """``multi_mp_sgd_mom_update`` whose learning rates and decays are arrays, the last two inputs."""
    groups, lrs, wds = _preloaded(xp, data, 4)
    return _mp_sgd_mom(xp, groups, lrs, wds, momentum, rescale_grad, clip_gradient)


@register("multi_lars", infer=rules.same, nograd=True)
def multi_lars(xp, lrs, weights_sum_sq, grads_sum_sq, wds, *, eta: float, eps: float, rescale_grad: float = 1.0):
    """Layer-wise learning rates (You, Gitman & Ginsburg, *Large Batch Training of Convolutional Networks*, 2017).

    ``lr * eta * |w| / (|g| * rescale_grad + wd * |w| + eps)``, and ``lr`` where a norm is 0; the inputs are arrays with
    one number for each layer.
    """
    weights, grads = xp.sqrt(weights_sum_sq), xp.sqrt(grads_sum_sq) * rescale_grad
    usable = xp.logical_and(xp.greater(weights, 0), xp.greater(grads, 0))
    below = xp.where(usable, grads + wds * weights + eps, weights * 0 + 1)
    return xp.astype(xp.where(usable, lrs * eta * weights / below, lrs), lrs.dtype)


# ---------------------------------------------------------------- Adam's family
def _adamw_each(xp, data, size, lrs, beta1, beta2, epsilon, wds, etas, clip_gradient):
    groups = _grouped(data, size, extra=1)
    each = zip(_wide(xp, groups), *(_each(v, len(groups), n) for v, n in ((lrs, "lrs"), (wds, "wds"), (etas, "etas"))))
    results = []
    for (weight, grad, mean, var, *copy), lr, wd, eta in each:
        new, (_, mean, var) = adamw(xp, copy[0] if copy else weight, grad, mean, var, data[-1], lr, beta1, beta2, epsilon,
                                    wd, eta, clip_gradient)
        results.append((new, mean, var, new))
    return _results(xp, groups, results, (2, 3, 4)[:size - 2])


@_multi("_multi_adamw_update", 4, (2, 3), extra=1)
def multi_adamw_update(xp, *data, lrs: Floats, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8,
                       wds: Floats, etas: Floats, clip_gradient: float = -1.0, num_weights: int = 1):
    """``_adamw_update`` of each of ``weight0, grad0, mean0, var0, weight1, ...``; ``rescale_grad`` comes last."""
    return _adamw_each(xp, data, 4, lrs, beta1, beta2, epsilon, wds, etas, clip_gradient)


@_multi("_multi_mp_adamw_update", 5, (2, 3, 4), extra=1)
def multi_mp_adamw_update(xp, *data, lrs: Floats, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8,
                          wds: Floats, etas: Floats, clip_gradient: float = -1.0, num_weights: int = 1):
    """``_mp_adamw_update`` of each of ``weight0, grad0, mean0, var0, weight32_0, ...``; ``rescale_grad`` comes last."""
    return _adamw_each(xp, data, 5, lrs, beta1, beta2, epsilon, wds, etas, clip_gradient)


def _norm(xp, x):
    return xp.sqrt(xp.reshape(xp.sum(x * x), (1,) * max(1, x.ndim)))


def _lamb_each(xp, data, size, learning_rates, beta1, beta2, epsilon, wds, rescale_grad, lower_bound, upper_bound,
               clip_gradient, bias_correction, step_count):
    groups = _grouped(data, size)
    numbers = ((learning_rates, "learning_rates"), (wds, "wds"), (step_count, "step_count"))
    results = []
    for group, lr, wd, t in zip(_wide(xp, groups), *(_each(v, len(groups), n) for v, n in numbers)):
        weight, grad, mean, var, *copy = group
        master = copy[0] if copy else weight
        step, mean, var = lamb_direction(xp, master, grad, mean, var, beta1, beta2, epsilon, t, bias_correction, wd,
                                         rescale_grad, clip_gradient)
        ratio = lamb_ratio(xp, _norm(xp, weight), _norm(xp, step), lower_bound, upper_bound)
        new = master - lr * ratio * step
        results.append((new, mean, var, new))
    return _results(xp, groups, results, (2, 3, 4)[:size - 2])


@_multi("_multi_lamb_update", 4, (2, 3))
def multi_lamb_update(xp, *data, learning_rates: Floats, beta1: float = 0.9, beta2: float = 0.999,
                      epsilon: float = 1e-6, wds: Floats, rescale_grad: float = 1.0, lower_bound: float = -1.0,
                      upper_bound: float = -1.0, clip_gradient: float = -1.0, bias_correction: bool = True,
                      step_count: Shape, num_tensors: int = 1):
    """Both phases of LAMB for each of ``weight0, grad0, mean0, var0, weight1, ...``"""
    return _lamb_each(xp, data, 4, learning_rates, beta1, beta2, epsilon, wds, rescale_grad, lower_bound, upper_bound,
                      clip_gradient, bias_correction, step_count)


@_multi("_multi_mp_lamb_update", 5, (2, 3, 4))
def multi_mp_lamb_update(xp, *data, learning_rates: Floats, beta1: float = 0.9, beta2: float = 0.999,
                         epsilon: float = 1e-6, wds: Floats, rescale_grad: float = 1.0, lower_bound: float = -1.0,
                         upper_bound: float = -1.0, clip_gradient: float = -1.0, bias_correction: bool = True,
                         step_count: Shape, num_tensors: int = 1):
    """Both phases of LAMB for each of ``weight0, grad0, mean0, var0, weight32_0, weight1, ...``"""
    return _lamb_each(xp, data, 5, learning_rates, beta1, beta2, epsilon, wds, rescale_grad, lower_bound, upper_bound,
                      clip_gradient, bias_correction, step_count)


# ---------------------------------------------------------------- many arrays at once
def _one_number(attrs, ins, outputs=1):
    return ins, [_FLOAT32]


@register("multi_sum_sq", infer=lambda a, ins: (ins, [(len(ins),)]), types=_one_number, uniform=False, nograd=True)
def multi_sum_sq(xp, *data, num_arrays: int):
    """The sum of squares of each array, as one float32 array.

    >>> nd.multi_sum_sq(nd.array([3, 4]), nd.array([1, 1, 1]), num_arrays=2).asnumpy()
    array([25.,  3.], dtype=float32)
    """
    values = [xp.astype(x, _FLOAT32) for x in data]
    return xp.concatenate([xp.reshape(xp.sum(v * v), (1,)) for v in values], axis=0)


@register("reset_arrays", infer=lambda a, ins: (ins, []), types=lambda a, ins, outputs=0: (ins, []), uniform=False,
          outputs=lambda attrs, count: (), mutates=lambda attrs, count: tuple(range(count)), nograd=True)
def reset_arrays(xp, *data, num_arrays: int):
    """Set all arrays to zero, in place; there is no output.

    >>> x = nd.ones(2)
    >>> nd.reset_arrays(x, num_arrays=1)
    []
    >>> x.asnumpy()
    array([0., 0.], dtype=float32)
    """
    return tuple(xp.zeros(x.shape, x.dtype) for x in data)
