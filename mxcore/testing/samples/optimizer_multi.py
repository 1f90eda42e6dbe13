"""Samples of :mod:`mxcore.ops.optimizer_multi`: each weight on its own, by the formulas for one."""

import numpy as np

from ..sampling import A, C, sample
from .optimizer_update import (
    adagrad,
    adam,
    adamw,
    lamb_phase1,
    lamb_phase2,
    nag_mom,
    rmsprop,
    rmspropalex,
    sgd,
    sgd_mom,
    with_copy,
)

SHAPES = (2, 3), (4,)


def groups(*kinds):
    """Inputs of two weights of different shapes: a letter each, ``v`` for a positive state, ``l`` for a large one."""
    return [A(*shape, low={"v": 0.1, "l": 2.0}.get(kind, -1.0), high=3.0 if kind == "l" else 1.0)
            for shape in SHAPES for kind in kinds]


def each(update, size, extra=0):
    """The update of each group of ``size`` inputs: all new weights, then all new states."""

    def ref(*arrays, lrs=None, wds=None, num_weights=2, **more):
        if extra:
            lrs, wds = arrays[-2:]
        count = (len(arrays) - extra) // size
        results = [update(*arrays[i * size:(i + 1) * size], lr=lrs[i], wd=wds[i], **more) for i in range(count)]
        results = [r if isinstance(r, tuple) else (r,) for r in results]
        return *(r[0] for r in results), *(state for r in results for state in r[1:])

    return ref


RATES = {"lrs": (0.1, 0.3), "wds": (0.0, 0.1), "num_weights": 2}
LOADED = [C([0.1, 0.3]), C([0.0, 0.1])]
CLIPPED = {"rescale_grad": 0.5, "clip_gradient": 0.3}
for name, kinds, update in (("sgd_update", "wg", sgd), ("sgd_mom_update", "wgm", sgd_mom),
                            ("mp_sgd_update", "wgc", with_copy(sgd)), ("mp_sgd_mom_update", "wgmc", with_copy(sgd_mom))):
    for more in ({}, CLIPPED):
        momentum = {"momentum": 0.9} if "mom" in name else {}
        sample("multi_" + name, *groups(*kinds), order=0, ref=each(update, len(kinds)), **RATES, **momentum, **more)
        sample("preloaded_multi_" + name, *groups(*kinds), *LOADED, order=0, ref=each(update, len(kinds), 2), num_weights=2,
               **momentum, **more)
for name, kinds, update in (("nag_mom_update", "wgm", nag_mom), ("adam_update", "wgmv", adam), ("adagrad_update", "wgv", adagrad),
                            ("rmsprop_update", "wgv", rmsprop), ("rmspropalex_update", "wglmm", rmspropalex)):
    for more in ({}, CLIPPED):
        sample(f"_multi_{name}", *groups(*kinds), order=0, ref=each(update, len(kinds)), lrs=(0.1, 0.3), wds=(0.0, 0.1), **more)


def lars(lrs, weights, grads, wds, eta, eps, rescale_grad=1.0):
    """Learning rates of layers."""
    w, g = np.sqrt(weights), np.sqrt(grads) * rescale_grad
    return np.array([lr * eta * a / (b + wd * a + eps) if a and b else lr
                     for lr, a, b, wd in zip(lrs, w, g, wds, strict=True)])


SUMS = C([0.1, 0.2, 0.3, 0.4]), C([4.0, 0.0, 2.0, 9.0]), C([1.0, 3.0, 0.0, 16.0]), C([0.0, 0.1, 0.1, 0.2])
sample("multi_lars", *SUMS, order=0, ref=lars, eta=0.5, eps=0.01)
sample("multi_lars", *SUMS, order=0, ref=lars, eta=0.5, eps=0.0, rescale_grad=0.25)


def multi_adamw(size):
    """AdamW of each group; the scale of the gradients comes last."""

    def ref(*arrays, lrs, wds, etas, num_weights=2, **more):
        weights, states = [], []
        for i in range(num_weights):
            w, g, mean, var, *copy = arrays[i * size:(i + 1) * size]
            new, _, mean, var = adamw(copy[0] if copy else w, g, mean, var, arrays[-1], lr=lrs[i], wd=wds[i], eta=etas[i],
                                      **more)
            weights.append(new)
            states += [mean, var, new][:size - 2]
        return *weights, *states

    return ref


for scale in (0.5, np.nan):
    for more in ({}, {"beta1": 0.5, "beta2": 0.6, "epsilon": 0.01, "clip_gradient": 0.3}):
        sample("_multi_adamw_update", *groups(*"wgmv"), C([scale]), order=0, ref=multi_adamw(4), etas=(0.7, 1.0), **RATES,
               **more)
        sample("_multi_mp_adamw_update", *groups(*"wgmvc"), C([scale]), order=0, ref=multi_adamw(5), etas=(0.7, 1.0), **RATES,
               **more)


def multi_lamb(size):
    """Both phases of LAMB for each group."""

    def ref(*arrays, learning_rates, wds, step_count, lower_bound=-1.0, upper_bound=-1.0, num_tensors=2, **more):
        weights, states = [], []
        for i in range(num_tensors):
            w, g, mean, var, *copy = arrays[i * size:(i + 1) * size]
            master = copy[0] if copy else w
            step, mean, var = lamb_phase1(master, g, mean, var, step_count[i], wds[i], **more)
            new = lamb_phase2(master, step, np.linalg.norm(w), np.linalg.norm(step), learning_rates[i], lower_bound,
                              upper_bound)
            weights.append(new)
            states += [mean, var, new][:size - 2]
        return *weights, *states

    return ref


STEPS = {"learning_rates": (0.1, 0.3), "wds": (0.0, 0.1), "step_count": (1, 3), "num_tensors": 2}
for more in ({}, {"bias_correction": False, "lower_bound": 1.2, "upper_bound": 1.5, **CLIPPED}):
    sample("_multi_lamb_update", *groups(*"wgmv"), order=0, ref=multi_lamb(4), **STEPS, **more)
    sample("_multi_mp_lamb_update", *groups(*"wgmvc"), order=0, ref=multi_lamb(5), **STEPS, **more)

sample("multi_sum_sq", A(2, 3), A(4), order=0, num_arrays=2, rtol=1e-5,  # always in float32
       ref=lambda *arrays, num_arrays: np.array([(a**2).sum() for a in arrays]))
