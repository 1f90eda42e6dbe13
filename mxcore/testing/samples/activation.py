"""Samples of :mod:`mxcore.ops.activation`."""

import numpy as np
from scipy import special

from ..sampling import A, C, sample

X = A(2, 3, 2, low=-2, high=2)
for kind, f in (("relu", lambda x: np.maximum(x, 0)), ("sigmoid", special.expit), ("softrelu", lambda x: np.logaddexp(x, 0)),
                ("softsign", lambda x: x / (1 + np.abs(x))), ("tanh", np.tanh)):
    sample("Activation", X, act_type=kind, ref=lambda x, act_type, f=f: f(x))

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772


def leaky(x, slope=0.25, **_):
    """Linear on both sides."""
    return np.where(x > 0, x, slope * x)


def elu(x, slope=0.25, **_):
    """Exponential below 0."""
    return np.where(x > 0, x, slope * np.expm1(x))


def selu(x, **_):
    """Scaled elu."""
    return SCALE * elu(x, ALPHA)


def gelu(x, **_):
    """x times the normal distribution function."""
    return x * special.ndtr(x)


def prelu(x, gamma, **_):
    """Slopes along axis 1."""
    return leaky(x, gamma.reshape(-1, *[1] * (x.ndim - 2)))


for kind, f in (("leaky", leaky), ("elu", elu), ("selu", selu), ("gelu", gelu)):
    sample("LeakyReLU", X, act_type=kind, ref=f)
    sample(f"_{kind}", X, ref=f)
for kind, f in (("leaky", leaky), ("elu", elu)):
    sample("LeakyReLU", X, act_type=kind, slope=0.6, ref=f)
sample("LeakyReLU", X, A(3, low=0.1, high=0.5), act_type="prelu", ref=prelu, tags=("layer",))
sample("LeakyReLU", X, A(1, low=0.1, high=0.5), act_type="prelu", ref=prelu, tags=("guess",))
sample("LeakyReLU", A(2, 3), A(3, low=0.1, high=0.5), act_type="prelu", ref=prelu, tags=("layer",))
sample("_prelu", X, A(3, 1, low=0.1, high=0.5), ref=leaky)
for name, at in (("LeakyReLU", {"act_type": "rrelu"}), ("_rrelu", {})):
    sample(name, X, **at, lower_bound=0.2, upper_bound=0.4,
           ref=lambda x, **_: (leaky(x, 0.3), np.where(x > 0, 1, 0.3)))
    sample(name, X, **at, train=True)


def slopes(outs, x, lower_bound=0.125, upper_bound=0.334, **_):
    """The mask holds the slopes, and they are spread over the interval."""
    out, mask = outs
    np.testing.assert_allclose(out, x * mask)
    np.testing.assert_array_equal(mask[x > 0], 1)
    drawn = mask[x <= 0]
    assert (drawn >= lower_bound - 1e-6).all() and (drawn <= upper_bound + 1e-6).all()
    assert abs(drawn.mean() - (lower_bound + upper_bound) / 2) < 0.02


sample("_rrelu", A(30, 40), train=True, judge=slopes, order=0)
sample("_along", A(3), A(2, 3, 4), ref=lambda v, like: v.reshape(1, 3, 1))
sample("_along", A(4), A(2, 3, 4), axis=-1, ref=lambda v, like, axis: v.reshape(1, 1, 4))


def softmax(x, length=None, axis=-1, temperature=1, use_length=False, dtype=None):
    """Normalised exponentials; 0 behind the length."""
    x = x.copy()
    if length is not None:
        moved = np.moveaxis(x, axis, -1)
        moved[np.arange(x.shape[axis]) >= length[..., None]] = -np.inf
    return special.softmax(x / temperature, axis)


for at in ({}, {"axis": 1}, {"temperature": 2.5}, {"axis": 0, "dtype": "float64"}):
    sample("softmax", A(2, 3, 4), ref=softmax, **at)
    sample("softmin", A(2, 3, 4), ref=lambda x, **at: softmax(-x, **at), **at)
    sample("log_softmax", A(2, 3, 4), ref=lambda x, **at: np.log(softmax(x, **at)), **at)
sample("softmax", A(2, 4), C([3, 1]), use_length=True, ref=softmax)
sample("softmax", A(2, 4, 3), C([[3, 1, 4], [2, 4, 1]]), use_length=True, axis=1, ref=softmax)
sample("softmax", C([[1e5, 0, -1e5], [-1e5, -1e5, -1e5]]), ref=softmax, half=0)
sample("SoftmaxActivation", A(2, 3, 4), ref=lambda x: softmax(x.reshape(2, 12)).reshape(x.shape))
sample("SoftmaxActivation", A(2, 3, 4), mode="channel", ref=lambda x, mode: softmax(x, axis=1))
sample("_contrib_quadratic", A(2, 3), a=1.5, b=-2.0, c=0.5, ref=lambda x, a, b, c: a * x * x + b * x + c)
