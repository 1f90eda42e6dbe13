"""Samples of :mod:`mxcore.ops.optimizer_update`: the published formulas, in float64."""

import numpy as np

from ..sampling import A, C, sample

W, G, S = A(2, 3), A(2, 3), A(2, 3)  # a weight, a gradient, a state of any sign
V = A(2, 3, low=0.1, high=1.0)  # a state that is positive
CLIPPED = {"wd": 0.1, "rescale_grad": 0.5, "clip_gradient": 0.3}


def gradient(g, w, wd=0.0, rescale_grad=1.0, clip_gradient=-1.0, decay_first=False):
    """The gradient as an update uses it."""
    g = g * rescale_grad + (wd * w if decay_first else 0)
    g = np.clip(g, -clip_gradient, clip_gradient) if clip_gradient >= 0 else g
    return g if decay_first else g + wd * w


def sgd(w, g, lr, **more):
    return w - lr * gradient(g, w, **more)


def sgd_mom(w, g, mom, lr, momentum=0.0, **more):
    mom = momentum * mom - lr * gradient(g, w, **more)
    return w + mom, mom


def nag_mom(w, g, mom, lr, momentum=0.0, wd=0.0, **more):
    ahead = momentum * mom - lr * gradient(g, w, wd, **more)
    new = w + momentum * ahead - lr * gradient(g, w, wd, **more)
    return new, momentum * mom - lr * (gradient(g, w, **more) + wd * new)


def with_copy(update):
    """The update of the copy of the weight, which comes last; the weight is the same rounded."""

    def mixed(w, g, *states, **more):
        results = update(states[-1], g, *states[:-1], **more)
        new, *changed = results if isinstance(results, tuple) else (results,)
        return new, *changed, new

    return mixed


for more in ({"lr": 0.1}, {"lr": 0.2, **CLIPPED}):
    sample("sgd_update", W, G, order=0, ref=sgd, **more)
    sample("mp_sgd_update", W, G, S, order=0, ref=with_copy(sgd), **more)
for more in ({"lr": 0.1}, {"lr": 0.2, "momentum": 0.9}, {"lr": 0.2, "momentum": 0.5, **CLIPPED}):
    sample("sgd_mom_update", W, G, S, order=0, ref=sgd_mom, **more)
    sample("mp_sgd_mom_update", W, G, S, S, order=0, ref=with_copy(sgd_mom), **more)
    sample("nag_mom_update", W, G, S, order=0, ref=nag_mom, **more)
    sample("mp_nag_mom_update", W, G, S, S, order=0, ref=with_copy(nag_mom), **more)


def signsgd(w, g, lr, wd=0.0, **more):
    return (1 - lr * wd) * w - lr * np.sign(g)


def signum(w, g, mom, lr, momentum=0.0, wd_lh=0.0, **more):
    mom = momentum * mom - (1 - momentum) * gradient(g, w, **more)
    return (1 - lr * wd_lh) * w + lr * np.sign(mom), mom


sample("signsgd_update", W, G, order=0, ref=signsgd, lr=0.1)
sample("signsgd_update", W, G, order=0, ref=signsgd, lr=0.1, **CLIPPED)
sample("signum_update", W, G, S, order=0, ref=signum, lr=0.1)
sample("signum_update", W, G, S, order=0, ref=signum, lr=0.1, momentum=0.7, wd_lh=0.2, **CLIPPED)


def adam(w, g, mean, var, lr, beta1=0.9, beta2=0.999, epsilon=1e-8, **more):
    g = gradient(g, w, decay_first=True, **more)
    mean, var = beta1 * mean + (1 - beta1) * g, beta2 * var + (1 - beta2) * g**2
    return w - lr * mean / (np.sqrt(var) + epsilon), mean, var


def adagrad(w, g, history, lr, epsilon=1e-7, wd=0.0, **more):
    g = gradient(g, w, **more)
    history = history + g**2
    return w - lr * (g / np.sqrt(history + epsilon) + wd * w), history


def rmsprop(w, g, n, lr, gamma1=0.95, epsilon=1e-8, clip_weights=-1.0, **more):
    g = gradient(g, w, decay_first=True, **more)
    n = gamma1 * n + (1 - gamma1) * g**2
    new = w - lr * g / np.sqrt(n + epsilon)
    return np.clip(new, -clip_weights, clip_weights) if clip_weights >= 0 else new, n


def rmspropalex(w, g, n, mean, delta, lr, gamma1=0.95, gamma2=0.9, epsilon=1e-8, clip_weights=-1.0, **more):
    g = gradient(g, w, decay_first=True, **more)
    n, mean = gamma1 * n + (1 - gamma1) * g**2, gamma1 * mean + (1 - gamma1) * g
    delta = gamma2 * delta - lr * g / np.sqrt(n - mean**2 + epsilon)
    new = w + delta
    return np.clip(new, -clip_weights, clip_weights) if clip_weights >= 0 else new, n, mean, delta


def ftrl(w, g, z, n, lr, lamda1=0.01, beta=1.0, wd=0.0, **more):
    g = gradient(g, w, **more)
    z, n = z + g - (np.sqrt(n + g**2) - np.sqrt(n)) / lr * w, n + g**2
    return np.where(np.abs(z) > lamda1, (np.sign(z) * lamda1 - z) / ((beta + np.sqrt(n)) / lr + wd), 0), z, n


def ftml(w, g, d, v, z, lr, t, beta1=0.6, beta2=0.999, epsilon=1e-8, clip_grad=-1.0, **more):
    g = gradient(g, w, clip_gradient=clip_grad, decay_first=True, **more)
    v = beta2 * v + (1 - beta2) * g**2
    new_d = (1 - beta1**t) / lr * (np.sqrt(v / (1 - beta2**t)) + epsilon)
    z = beta1 * z + (1 - beta1) * g - (new_d - beta1 * d) * w
    return -z / new_d, new_d, v, z


sample("adam_update", W, G, S, V, order=0, ref=adam, lr=0.1)
sample("adam_update", W, G, S, V, order=0, ref=adam, lr=0.1, beta1=0.5, beta2=0.6, epsilon=0.01, **CLIPPED)
sample("_adagrad_update", W, G, V, order=0, ref=adagrad, lr=0.1)
sample("_adagrad_update", W, G, V, order=0, ref=adagrad, lr=0.1, epsilon=0.01, **CLIPPED)
sample("rmsprop_update", W, G, V, order=0, ref=rmsprop, lr=0.1)
sample("rmsprop_update", W, G, V, order=0, ref=rmsprop, lr=0.1, gamma1=0.5, epsilon=0.01, clip_weights=0.4, **CLIPPED)
LARGE = A(2, 3, low=1.5, high=2.0)  # a mean square that is above the square of the mean
sample("rmspropalex_update", W, G, LARGE, S, S, order=0, ref=rmspropalex, lr=0.1)
sample("rmspropalex_update", W, G, LARGE, S, S, order=0, ref=rmspropalex, lr=0.1, gamma1=0.8, gamma2=0.5, epsilon=0.01,
       clip_weights=0.4, **CLIPPED)
sample("ftrl_update", W, G, S, V, order=0, ref=ftrl, lr=0.1)
sample("ftrl_update", W, G, S, V, order=0, ref=ftrl, lr=0.5, lamda1=0.4, beta=0.5, **CLIPPED)
sample("ftml_update", W, G, V, V, S, order=0, ref=ftml, lr=0.1, t=1)
sample("ftml_update", W, G, V, V, S, order=0, ref=ftml, lr=0.1, t=3, beta1=0.5, beta2=0.6, epsilon=0.01, wd=0.1,
       rescale_grad=0.5, clip_grad=0.3)


def lamb_phase1(w, g, mean, var, t, wd, beta1=0.9, beta2=0.999, epsilon=1e-6, bias_correction=True, **more):
    g = gradient(g, w, **more)
    mean, var = beta1 * mean + (1 - beta1) * g, beta2 * var + (1 - beta2) * g**2
    m, v = (mean / (1 - beta1**t), var / (1 - beta2**t)) if bias_correction else (mean, var)
    return m / (np.sqrt(v) + epsilon) + wd * w, mean, var


def lamb_phase2(w, d, r1, r2, lr, lower_bound=-1.0, upper_bound=-1.0):
    r1 = np.maximum(r1, lower_bound) if lower_bound > 0 else r1
    r1 = np.minimum(r1, upper_bound) if upper_bound > 0 else r1
    return w - lr * (r1 / r2 if r1 and r2 else 1.0) * d


PHASE1 = ({"t": 2, "wd": 0.1}, {"t": 1, "wd": 0.0, "bias_correction": False, "epsilon": 0.01, "beta1": 0.5, "beta2": 0.6,
                                "rescale_grad": 0.5, "clip_gradient": 0.3})
for more in PHASE1:
    sample("lamb_update_phase1", W, G, S, V, order=0, ref=lamb_phase1, **more)
    sample("mp_lamb_update_phase1", W, G, S, V, S, order=0, **more,
           ref=lambda w, g, mean, var, copy, **kw: lamb_phase1(copy, g, mean, var, **kw))
for norms, more in (((2.0, 3.0), {}), ((0.0, 3.0), {}), ((2.0, 0.0), {}), ((2.0, 3.0), {"lower_bound": 2.5}),
                    ((2.0, 3.0), {"lower_bound": 0.1, "upper_bound": 1.5})):
    r1, r2 = C([norms[0]]), C([norms[1]])
    sample("lamb_update_phase2", W, G, r1, r2, order=0, ref=lamb_phase2, lr=0.1, **more)
    sample("mp_lamb_update_phase2", W, G, r1, r2, S, order=0, lr=0.1, **more,
           ref=lambda w, d, r1, r2, copy, **kw: (lamb_phase2(copy, d, r1, r2, **kw),) * 2)


def adamw(w, g, mean, var, scale, lr, eta, beta1=0.9, beta2=0.999, epsilon=1e-8, wd=0.0, clip_gradient=-1.0):
    """Weight, gradient, mean and variance."""
    if not np.isfinite(scale[0]) or scale[0] == 0:
        return w, g, mean, var
    g = gradient(g * scale, w, clip_gradient=clip_gradient)
    mean, var = beta1 * mean + (1 - beta1) * g, beta2 * var + (1 - beta2) * g**2
    return w - eta * (lr * mean / (np.sqrt(var) + epsilon) + wd * w), g, mean, var


def mp_adamw(w, g, mean, var, copy, scale, **more):
    new, _, mean, var = adamw(copy, g, mean, var, scale, **more)
    return new, mean, var, new


for scale, more in ((1.0, {}), (0.5, {"wd": 0.1, "clip_gradient": 0.3, "beta1": 0.5, "beta2": 0.6, "epsilon": 0.01}),
                    (0.0, {}), (np.inf, {}), (np.nan, {"wd": 0.1})):
    sample("_adamw_update", W, G, S, V, C([scale]), order=0, ref=adamw, lr=0.1, eta=0.7, **more)
    sample("_mp_adamw_update", W, G, S, V, S, C([scale]), order=0, ref=mp_adamw, lr=0.1, eta=0.7, **more)
