"""Optimizer updates of one array: the new weight is the output, new states are written back.

Called as ``nd.sgd_update(weight, grad, out=weight, lr=0.1)``. In all of them the gradient is multiplied by
``rescale_grad``, then clipped to ``[-clip_gradient, clip_gradient]`` if that is not negative; a weight decay ``wd``
adds ``wd * weight`` to it. The ``mp_`` forms keep a float32 copy ``weight32`` of a weight of a smaller type: they
compute with the copy and give it back rounded.
"""

import functools
import inspect
from math import prod

import numpy as np

from ..errors import ShapeError
from ..registry import register, rules

_FLOAT32 = np.dtype("float32")


def check_shapes(first, *others):
    """Raise ShapeError if arrays that belong together differ in shape: NumPy would broadcast them."""
    for other in others:
        if other.shape != first.shape:
            raise ShapeError(f"weight, gradient and states must have one shape: {first.shape} and {other.shape}")


def widened(xp, array):
    """float16 and bfloat16 as float32, in which updates compute; other types as they are."""
    return xp.astype(array, _FLOAT32) if array.dtype.itemsize == 2 else array


def rounded(xp, result, like):
    """A result in the type of the array whose new value it is."""
    return result if result.dtype == like.dtype else xp.astype(result, like.dtype)


def update(name, *, mutates=(), infer=rules.same, types=None, like=0, **options):
    """``@register`` for an update: float16 and bfloat16 are computed in float32 and rounded once.

    The kernel returns its output and the new values of ``mutates``. ``types`` is for inputs that differ in type; ``like``
    is the number of the input whose type the output has.
    """

    def enter(kernel):
        inputs = list(inspect.signature(kernel).parameters)[1:]
        places = like, *(inputs.index(state) for state in mutates)

        @functools.wraps(kernel)
        def widening(xp, *arrays, **attrs):
            results = kernel(xp, *[widened(xp, a) for a in arrays], **attrs)
            if not mutates:
                return rounded(xp, results, arrays[like])
            return tuple([rounded(xp, r, arrays[i]) for r, i in zip(results, places)])

        return register(name, infer=infer, types=types, uniform=types is None, mutates=mutates, nograd=True,
                        **options)(widening)

    return enter


def clipped(xp, values, bound):
    """``values`` limited to ``[-bound, bound]``; a negative bound means no limit."""
    return values if bound < 0 else xp.minimum(xp.maximum(values, -bound), bound)


def scaled(xp, grad, rescale_grad, clip_gradient):
    """The gradient, rescaled and clipped."""
    return clipped(xp, grad if rescale_grad == 1.0 else grad * rescale_grad, clip_gradient)


def decayed(grad, weight, wd):
    """The gradient with the weight decay's part."""
    return grad if wd == 0.0 else grad + wd * weight


def _decayed_then_clipped(xp, weight, grad, wd, rescale_grad, clip_gradient):
    """The order of Adam, RMSProp and FTML: the decay is clipped too."""
    grad = grad if rescale_grad == 1.0 else grad * rescale_grad
    return clipped(xp, decayed(grad, weight, wd), clip_gradient)


# ---------------------------------------------------------------- stochastic gradient descent
# Large weights are bound by memory: numbers are multiplied with each other before they meet an array, and ``+=`` works on
# arrays that were made here (a backend without in-place operators makes new ones).
def _step(xp, weight, grad, lr, wd, rescale_grad, clip_gradient):
    """``lr * (grad + wd * weight)``, in an array of its own."""
    if clip_gradient < 0:
        step = grad * (lr * rescale_grad)
    else:
        step = scaled(xp, grad, rescale_grad, clip_gradient) * lr
    if not (isinstance(wd, float) and wd == 0.0):
        step += weight * (lr * wd)
    return step


def sgd(xp, weight, grad, lr, wd, rescale_grad, clip_gradient):
    """The weight after a step of plain descent; ``lr`` and ``wd`` are numbers, or arrays that broadcast."""
    check_shapes(weight, grad)
    return weight - _step(xp, weight, grad, lr, wd, rescale_grad, clip_gradient)


def sgd_mom(xp, weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient):
    """Weight and momentum after a step of descent with momentum."""
    check_shapes(weight, grad, mom)
    mom = mom * momentum
    mom -= _step(xp, weight, grad, lr, wd, rescale_grad, clip_gradient)
    return weight + mom, mom


@update("sgd_update", aliases=("_sparse_sgd_update",))
def sgd_update(xp, weight, grad, *, lr: float, wd: float = 0.0, rescale_grad: float = 1.0, clip_gradient: float = -1.0,
               lazy_update: bool = True):
    """A step of gradient descent: ``weight - lr * (grad + wd * weight)``.

    >>> w = nd.array([1, 2])
    >>> nd.sgd_update(w, nd.array([1, 1]), out=w, lr=0.5).asnumpy()
    array([0.5, 1.5], dtype=float32)
    """
    return sgd(xp, weight, grad, lr, wd, rescale_grad, clip_gradient)


@update("sgd_mom_update", aliases=("_sparse_sgd_mom_update",), mutates=("mom",))
def sgd_mom_update(xp, weight, grad, mom, *, lr: float, momentum: float = 0.0, wd: float = 0.0,
                   rescale_grad: float = 1.0, clip_gradient: float = -1.0, lazy_update: bool = True):
    """Gradient descent with momentum (Polyak 1964).

    ``mom = momentum * mom - lr * (grad + wd * weight)``; ``weight + mom``.

    >>> w, m = nd.array([1.]), nd.array([0.2])
    >>> nd.sgd_mom_update(w, nd.array([1.]), m, out=w, lr=0.5, momentum=0.5).asscalar(), m.asscalar()
    (0.6, -0.4)
    """
    return sgd_mom(xp, weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)


@update("mp_sgd_update", types=rules.first_type, mutates=("weight32",))
def mp_sgd_update(xp, weight, grad, weight32, *, lr: float, wd: float = 0.0, rescale_grad: float = 1.0,
                  clip_gradient: float = -1.0, lazy_update: bool = True):
    """:func:`sgd_update` with a float32 copy of the weight."""
    new = sgd(xp, weight32, grad, lr, wd, rescale_grad, clip_gradient)
    return new, new


@update("mp_sgd_mom_update", types=rules.first_type, mutates=("mom", "weight32"))
def mp_sgd_mom_update(xp, weight, grad, mom, weight32, *, lr: float, momentum: float = 0.0, wd: float = 0.0,
                      rescale_grad: float = 1.0, clip_gradient: float = -1.0, lazy_update: bool = True):
    """:func:`sgd_mom_update` with a float32 copy of the weight."""
    new, mom = sgd_mom(xp, weight32, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)
    return new, mom, new


def _nag(xp, weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient):
    check_shapes(weight, grad, mom)
    grad = scaled(xp, grad, rescale_grad, clip_gradient)
    step = lr * decayed(grad, weight, wd)
    new = weight + momentum * (momentum * mom - step) - step
    # MXNet writes the weight first and reads it again for the momentum, so that its decay is that of the new weight
    return new, momentum * mom - lr * decayed(grad, new, wd)


@update("nag_mom_update", mutates=("mom",))
def nag_mom_update(xp, weight, grad, mom, *, lr: float, momentum: float = 0.0, wd: float = 0.0,
                   rescale_grad: float = 1.0, clip_gradient: float = -1.0):
    """Nesterov's accelerated gradient, with the momentum looked ahead by one step.

    ``g = lr * (grad + wd * weight)``; ``weight + momentum * (momentum * mom - g) - g``;
    ``mom = momentum * mom - lr * (grad + wd * new weight)`` (Sutskever, Martens, Dahl & Hinton, ICML 2013).
    """
    return _nag(xp, weight, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)


@update("mp_nag_mom_update", types=rules.first_type, mutates=("mom", "weight32"))
def mp_nag_mom_update(xp, weight, grad, mom, weight32, *, lr: float, momentum: float = 0.0, wd: float = 0.0,
                      rescale_grad: float = 1.0, clip_gradient: float = -1.0):
    """:func:`nag_mom_update` with a float32 copy of the weight."""
    new, mom = _nag(xp, weight32, grad, mom, lr, momentum, wd, rescale_grad, clip_gradient)
    return new, mom, new


@update("signsgd_update")
def signsgd_update(xp, weight, grad, *, lr: float, wd: float = 0.0, rescale_grad: float = 1.0,
                   clip_gradient: float = -1.0):
    """A step of fixed size against the sign of the gradient: ``(1 - lr * wd) * weight - lr * sign(grad)``.

    Bernstein, Wang, Azizzadenesheli & Anandkumar, *signSGD*, ICML 2018.
    """
    check_shapes(weight, grad)
    return (1.0 - lr * wd) * weight - lr * xp.sign(grad)


@update("signum_update", mutates=("mom",))
def signum_update(xp, weight, grad, mom, *, lr: float, momentum: float = 0.0, wd: float = 0.0,
                  rescale_grad: float = 1.0, clip_gradient: float = -1.0, wd_lh: float = 0.0):
    """A step of fixed size along the sign of the momentum.

    ``mom = momentum * mom - (1 - momentum) * (grad + wd * weight)``; ``(1 - lr * wd_lh) * weight + lr * sign(mom)``
    (Bernstein, Wang, Azizzadenesheli & Anandkumar, *signSGD*, ICML 2018; decay of Loshchilov & Hutter, 2017).
    """
    check_shapes(weight, grad, mom)
    grad = decayed(scaled(xp, grad, rescale_grad, clip_gradient), weight, wd)
    mom = momentum * mom - (1.0 - momentum) * grad
    return (1.0 - lr * wd_lh) * weight + lr * xp.sign(mom), mom


# ---------------------------------------------------------------- adaptive steps
@update("adam_update", aliases=("_sparse_adam_update",), mutates=("mean", "var"))
def adam_update(xp, weight, grad, mean, var, *, lr: float, beta1: float = 0.9, beta2: float = 0.999,
                epsilon: float = 1e-8, wd: float = 0.0, rescale_grad: float = 1.0, clip_gradient: float = -1.0,
                lazy_update: bool = True):
    """A step of Adam; the correction of the bias is part of ``lr``.

    ``mean = beta1 * mean + (1 - beta1) * grad``; ``var = beta2 * var + (1 - beta2) * grad^2``;
    ``weight - lr * mean / (sqrt(var) + epsilon)`` (Kingma & Ba, ICLR 2015).

    >>> w, m, v = nd.array([1.]), nd.zeros(1), nd.zeros(1)
    >>> nd.adam_update(w, nd.array([2.]), m, v, out=w, lr=0.1, beta1=0.5, beta2=0.75).asscalar()
    0.9
    """
    check_shapes(weight, grad, mean, var)
    grad = _decayed_then_clipped(xp, weight, grad, wd, rescale_grad, clip_gradient)
    mean = mean * beta1
    mean += grad * (1.0 - beta1)
    square = grad * grad
    square *= 1.0 - beta2
    var = var * beta2
    var += square
    below = xp.sqrt(var)
    below += epsilon
    step = mean * lr
    step /= below
    return weight - step, mean, var


@update("_adagrad_update", mutates=("history",))
def adagrad_update(xp, weight, grad, history, *, lr: float, epsilon: float = 1e-7, wd: float = 0.0,
                   rescale_grad: float = 1.0, clip_gradient: float = -1.0):
    """A step divided by the root of the sum of squared gradients (Duchi, Hazan & Singer, JMLR 2011).

    ``history = history + grad^2``; ``weight - lr * (grad / sqrt(history + epsilon) + wd * weight)``. MXNet has it for
    sparse gradients only.
    """
    check_shapes(weight, grad, history)
    grad = scaled(xp, grad, rescale_grad, clip_gradient)
    history = history + grad * grad
    return weight - lr * decayed(grad / xp.sqrt(history + epsilon), weight, wd), history


@update("rmsprop_update", mutates=("n",))
def rmsprop_update(xp, weight, grad, n, *, lr: float, gamma1: float = 0.95, epsilon: float = 1e-8, wd: float = 0.0,
                   rescale_grad: float = 1.0, clip_gradient: float = -1.0, clip_weights: float = -1.0):
    """A step divided by the root of a running mean of squared gradients (Tieleman & Hinton, 2012).

    ``n = gamma1 * n + (1 - gamma1) * grad^2``; ``weight - lr * grad / sqrt(n + epsilon)``, clipped to ``clip_weights``.
    """
    check_shapes(weight, grad, n)
    grad = _decayed_then_clipped(xp, weight, grad, wd, rescale_grad, clip_gradient)
    n = gamma1 * n + (1.0 - gamma1) * (grad * grad)
    return clipped(xp, weight - lr * grad / xp.sqrt(n + epsilon), clip_weights), n


@update("rmspropalex_update", mutates=("n", "g", "delta"))
def rmspropalex_update(xp, weight, grad, n, g, delta, *, lr: float, gamma1: float = 0.95, gamma2: float = 0.9,
                       epsilon: float = 1e-8, wd: float = 0.0, rescale_grad: float = 1.0,
                       clip_gradient: float = -1.0, clip_weights: float = -1.0):
    """:func:`rmsprop_update`, centred and with momentum (Graves 2013, arXiv:1308.0850, equations 38 to 45).

    ``delta = gamma2 * delta - lr * grad / sqrt(n - g^2 + epsilon)``; ``weight + delta``.
    """
    check_shapes(weight, grad, n, g, delta)
    grad = _decayed_then_clipped(xp, weight, grad, wd, rescale_grad, clip_gradient)
    n = gamma1 * n + (1.0 - gamma1) * (grad * grad)
    g = gamma1 * g + (1.0 - gamma1) * grad
    delta = gamma2 * delta - lr * grad / xp.sqrt(n - g * g + epsilon)
    return clipped(xp, weight + delta, clip_weights), n, g, delta


@update("ftrl_update", aliases=("_sparse_ftrl_update",), mutates=("z", "n"))
def ftrl_update(xp, weight, grad, z, n, *, lr: float, lamda1: float = 0.01, beta: float = 1.0, wd: float = 0.0,
                rescale_grad: float = 1.0, clip_gradient: float = -1.0):
    """A step of FTRL-Proximal (McMahan et al., *Ad Click Prediction*, KDD 2013, algorithm 1).

    ``lamda1`` and ``wd`` are the weights of the L1 and L2 penalties.
    """
    check_shapes(weight, grad, z, n)
    grad = scaled(xp, grad, rescale_grad, clip_gradient)
    squares = n + grad * grad
    z = z + grad - (xp.sqrt(squares) - xp.sqrt(n)) * (1.0 / lr) * weight
    step = (xp.sign(z) * lamda1 - z) / ((beta + xp.sqrt(squares)) / lr + wd)
    return xp.astype(xp.where(xp.abs(z) > lamda1, step, step * 0), weight.dtype), z, squares


@update("ftml_update", mutates=("d", "v", "z"))
def ftml_update(xp, weight, grad, d, v, z, *, lr: float, beta1: float = 0.6, beta2: float = 0.999,
                epsilon: float = 1e-8, t: int, wd: float = 0.0, rescale_grad: float = 1.0, clip_grad: float = -1.0):
    """A step of Follow the Moving Leader (Zheng & Kwok, ICML 2017, algorithm 1); ``t`` counts steps from 1."""
    check_shapes(weight, grad, d, v, z)
    grad = _decayed_then_clipped(xp, weight, grad, wd, rescale_grad, clip_grad)
    v = beta2 * v + (1.0 - beta2) * (grad * grad)
    new_d = (1.0 - beta1 ** t) / lr * (xp.sqrt(v / (1.0 - beta2 ** t)) + epsilon)
    z = beta1 * z + (1.0 - beta1) * grad - (new_d - beta1 * d) * weight
    return -z / new_d, new_d, v, z


# ---------------------------------------------------------------- LAMB
def lamb_direction(xp, weight, grad, mean, var, beta1, beta2, epsilon, t, bias_correction, wd, rescale_grad,
                   clip_gradient):
    """LAMB's step before it is scaled, and the new mean and variance."""
    check_shapes(weight, grad, mean, var)
    grad = scaled(xp, grad, rescale_grad, clip_gradient)
    mean = beta1 * mean + (1.0 - beta1) * grad
    var = beta2 * var + (1.0 - beta2) * (grad * grad)
    if bias_correction:
        step = (mean / (1.0 - beta1 ** t)) / (xp.sqrt(var / (1.0 - beta2 ** t)) + epsilon)
    else:
        step = mean / (xp.sqrt(var) + epsilon)
    return decayed(step, weight, wd), mean, var


def lamb_ratio(xp, r1, r2, lower_bound, upper_bound):
    """LAMB's trust ratio of the norms of weight and step; 1 where one of them is 0."""
    if lower_bound > 0:
        r1 = xp.maximum(r1, lower_bound)
    if upper_bound > 0:
        r1 = xp.minimum(r1, upper_bound)
    nothing = xp.logical_or(xp.equal(r1, 0), xp.equal(r2, 0))
    return xp.astype(xp.where(nothing, r1 * 0 + 1, r1 / xp.where(nothing, r2 * 0 + 1, r2)), r1.dtype)


def _direction_types(attrs, ins, outputs=1):
    return ins, [ins[4]]


def _phase2_shapes(attrs, ins):
    weight, step = rules.merge(ins[0], ins[1]), ins[1]
    r1, r2 = (rules.merge(r, (1,), "the norms") for r in ins[2:4])
    return [weight, step, r1, r2, *([weight] * (len(ins) - 4))], [weight]


@update("lamb_update_phase1", mutates=("mean", "var"))
def lamb_update_phase1(xp, weight, grad, mean, var, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-6,
                       t: int, bias_correction: bool = True, wd: float, rescale_grad: float = 1.0,
                       clip_gradient: float = -1.0):
    """The direction of LAMB's step (You et al., *Large Batch Optimization for Deep Learning*, ICLR 2020).

    ``mean / (sqrt(var) + epsilon) + wd * weight``, with mean and variance as in Adam, corrected for bias at step ``t``.
    """
    return lamb_direction(xp, weight, grad, mean, var, beta1, beta2, epsilon, t, bias_correction, wd, rescale_grad,
                          clip_gradient)


@update("mp_lamb_update_phase1", types=_direction_types, like=4, mutates=("mean", "var"))
def mp_lamb_update_phase1(xp, weight, grad, mean, var, weight32, *, beta1: float = 0.9, beta2: float = 0.999,
                          epsilon: float = 1e-6, t: int, bias_correction: bool = True, wd: float,
                          rescale_grad: float = 1.0, clip_gradient: float = -1.0):
    """:func:`lamb_update_phase1` with a float32 copy of the weight; the direction has its type."""
    return lamb_direction(xp, weight32, grad, mean, var, beta1, beta2, epsilon, t, bias_correction, wd, rescale_grad,
                          clip_gradient)


@update("lamb_update_phase2", infer=_phase2_shapes)
def lamb_update_phase2(xp, weight, g, r1, r2, *, lr: float, lower_bound: float = -1.0, upper_bound: float = -1.0):
    """LAMB's step along the direction ``g``: ``weight - lr * r1 / r2 * g``.

    ``r1`` and ``r2`` are the norms of weight and direction, of shape (1,); ``r1`` is kept within the bounds that are
    positive, and the ratio is 1 where a norm is 0.
    """
    check_shapes(weight, g)
    return weight - lr * lamb_ratio(xp, r1, r2, lower_bound, upper_bound) * g


@update("mp_lamb_update_phase2", infer=_phase2_shapes, types=rules.first_type, mutates=("weight32",))
def mp_lamb_update_phase2(xp, weight, g, r1, r2, weight32, *, lr: float, lower_bound: float = -1.0,
                          upper_bound: float = -1.0):
    """:func:`lamb_update_phase2` with a float32 copy of the weight."""
    check_shapes(weight, g, weight32)
    new = weight32 - lr * lamb_ratio(xp, r1, r2, lower_bound, upper_bound) * g
    return new, new


# ---------------------------------------------------------------- AdamW
def adamw(xp, weight, grad, mean, var, rescale_grad, lr, beta1, beta2, epsilon, wd, eta, clip_gradient):
    """Weight, and (gradient, mean, variance), after a step of AdamW; unchanged where the scale is 0, infinite or nan.

    A dynamic loss scale is told that way to have overflowed; asking the device would make the host wait.
    """
    check_shapes(weight, grad, mean, var)
    if prod(rescale_grad.shape) != 1:
        raise ShapeError(f"rescale_grad is one number; its shape is {rescale_grad.shape}")
    scale = xp.astype(xp.reshape(rescale_grad, (1,) * max(1, weight.ndim)), weight.dtype)
    usable = xp.logical_and(xp.isfinite(scale), xp.not_equal(scale, 0))
    new_grad = clipped(xp, grad * scale, clip_gradient)
    new_mean = beta1 * mean + (1.0 - beta1) * new_grad
    new_var = beta2 * var + (1.0 - beta2) * (new_grad * new_grad)
    new = weight - eta * (lr * new_mean / (xp.sqrt(new_var) + epsilon) + wd * weight)
    new, *states = (xp.where(usable, after, before)
                    for after, before in ((new, weight), (new_grad, grad), (new_mean, mean), (new_var, var)))
    return new, states


def _adamw_shapes(attrs, ins):
    (shape, *_), (out,) = rules.same(attrs, [s for i, s in enumerate(ins) if i != len(ins) - 1])
    return [shape] * (len(ins) - 1) + [ins[-1]], [out]


@update("_adamw_update", infer=_adamw_shapes, types=rules.first_type, mutates=("grad", "mean", "var"))
def adamw_update(xp, weight, grad, mean, var, rescale_grad, *, lr: float, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8, wd: float = 0.0, eta: float, clip_gradient: float = -1.0):
    """Adam with weight decay beside it (Loshchilov & Hutter, ICLR 2019); ``rescale_grad`` is an array of one number.

    ``weight - eta * (lr * mean / (sqrt(var) + epsilon) + wd * weight)``; nothing changes where ``rescale_grad`` is 0,
    infinite or nan. The gradient, too, is left rescaled and clipped, as in MXNet.
    """
    new, (grad, mean, var) = adamw(xp, weight, grad, mean, var, rescale_grad, lr, beta1, beta2, epsilon, wd, eta,
                                   clip_gradient)
    return new, grad, mean, var


@update("_mp_adamw_update", infer=_adamw_shapes, types=rules.first_type, mutates=("mean", "var", "weight32"))
def mp_adamw_update(xp, weight, grad, mean, var, weight32, rescale_grad, *, lr: float, beta1: float = 0.9,
                    beta2: float = 0.999, epsilon: float = 1e-8, wd: float = 0.0, eta: float,
                    clip_gradient: float = -1.0):
    """:func:`adamw_update` with a float32 copy of the weight."""
    new, (_, mean, var) = adamw(xp, weight32, grad, mean, var, rescale_grad, lr, beta1, beta2, epsilon, wd, eta,
                                clip_gradient)
    return new, mean, var, new
