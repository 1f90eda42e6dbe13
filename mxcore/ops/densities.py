"""Densities of the distributions of :mod:`mxcore.ops.random`, differentiable by the samples and by the parameters.

Formulas as in Forbes, Evans, Hastings & Peacock, *Statistical Distributions*, 2011.
"""

import inspect
import math

from ..errors import ShapeError
from ..registry import OPS, elementwise, register, rules
from ..registry import expr as E
from .core import adjoint


# ---------------------------------------------------------------- parameters against samples
def _inner(shape, like, keep):
    """The shape with ones between what the parameters share with the samples in front and the ``keep`` last axes."""
    front = len(shape) - keep
    if len(shape) > len(like) or shape[:front] != like[:front] or shape[front:] != like[len(like) - keep:]:
        raise ShapeError(f"parameters of shape {shape} do not fit samples of shape {like}: the axes of the parameters come "
                         f"first in the shape of the samples{' (and the last is the same)' if keep else ''}")
    return (*shape[:front], *(1,) * (len(like) - len(shape)), *shape[front:])


@adjoint("_expand_inner", view=True)
def expand_inner(xp, data, like, *, keep: int = 0):
    """Parameters repeated for all samples that belong to them."""
    return xp.broadcast_to(xp.reshape(data, _inner(data.shape, like.shape, keep)), like.shape)


@adjoint("_sum_inner")
def sum_inner(xp, data, like, *, keep: int = 0):
    """The sums of what :func:`_expand_inner` repeats."""
    front = len(like.shape) - keep
    return xp.reshape(xp.sum(data, axis=tuple(range(front, data.ndim - keep))), like.shape)


@expand_inner.gradient
def _(n, g):
    return sum_inner(g, n.inputs[0], keep=n.attrs.keep), None


@sum_inner.gradient
def _(n, g):
    return expand_inner(g, n.inputs[0], keep=n.attrs.keep), None


# ---------------------------------------------------------------- one number at each place
def _negative_binomial(x, k, p):
    return E.gammaln(x + k) - E.gammaln(x + 1) - E.gammaln(k) + k * E.log(p) + x * E.log(1 - p)


def _generalized_negative_binomial(x, mu, alpha):
    return _negative_binomial(x, 1 / alpha, 1 / (1 + mu * alpha))


#: distribution: (names of the parameters, logarithm of the density, what the samples are)
_LOGARITHMS = {
    "uniform": (("low", "high"), lambda x, low, high: 0 * x - E.log(high - low),
                "uniform in ``[low, high)`` (samples outside are not told apart)"),
    "normal": (("mu", "sigma"), lambda x, mu, sigma: -0.5 * ((x - mu) / sigma) * ((x - mu) / sigma) - E.log(sigma)
               - 0.5 * math.log(2 * math.pi), "normal with mean ``mu`` and standard deviation ``sigma``"),
    "gamma": (("alpha", "beta"), lambda x, alpha, beta: alpha * E.log(beta) + (alpha - 1) * E.log(x) - beta * x
              - E.gammaln(alpha), "gamma with shape ``alpha`` and rate ``beta``"),
    "exponential": (("lam",), lambda x, lam: E.log(lam) - lam * x, "exponential with rate ``lam``"),
    "poisson": (("lam",), lambda x, lam: x * E.log(lam) - E.gammaln(x + 1) - lam, "Poisson with mean ``lam``"),
    "negative_binomial": (("k", "p"), _negative_binomial, "negative binomial of ``k`` failures of probability ``p``"),
    "generalized_negative_binomial": (("mu", "alpha"), _generalized_negative_binomial,
                                      "negative binomial with mean ``mu`` and dispersion ``alpha``"),
}


def _one_signature(names):
    kind = inspect.Parameter
    return inspect.Signature([kind(n, kind.POSITIONAL_OR_KEYWORD) for n in names])


def _define(name, parameters, logarithm, meaning):
    def each(*args):
        return logarithm(*args)

    each.__signature__ = _one_signature(("sample", *parameters))
    each.__doc__ = f"Logarithm of the density at each place: {meaning}."
    place = elementwise(f"_logpdf_{name}")(each)

    def density(sample, *values, is_log=False):
        r = place(sample, *[expand_inner(v, sample) for v in values])
        return r if is_log else OPS["exp"](r)

    kind = inspect.Parameter
    density.__signature__ = inspect.Signature(
        [kind(n, kind.POSITIONAL_OR_KEYWORD) for n in ("sample", *parameters)]
        + [kind("is_log", kind.KEYWORD_ONLY, annotation=bool, default=False)])
    arrays = ", ".join(["nd.array([0.25, 0.5])", "nd.array([0.5, 0.75])"][: len(parameters)])
    density.__doc__ = (
        f"Density of samples: {meaning}; ``is_log``: its logarithm.\n\n    The axes of the parameters come first in the shape "
        "of the samples; each parameter belongs to all samples behind its place.\n\n"
        f"    >>> nd.random_pdf_{name}(nd.ones((2, 3)), {arrays}).shape\n    (2, 3)\n    ")
    register(f"_random_pdf_{name}", aliases=(f"random_pdf_{name}",), composite=True, infer=_sample_shape)(density)


def _sample_shape(attrs, ins):
    return ins, [ins[0]]


for _name, (_parameters, _logarithm, _meaning) in _LOGARITHMS.items():
    _define(_name, _parameters, _logarithm, _meaning)


# ---------------------------------------------------------------- a vector at each place
def _dirichlet_shapes(attrs, ins):
    sample, alpha = ins
    if sample is not None and alpha is not None:
        rules.merge(alpha[-1:], sample[-1:], "last axes of alpha and sample")
    return ins, [None if sample is None else sample[:-1] or (1,)]


@register("_random_pdf_dirichlet", aliases=("random_pdf_dirichlet",), composite=True, infer=_dirichlet_shapes)
def dirichlet(sample, alpha, *, is_log: bool = False):
    """Density of vectors of probabilities (the last axis): Dirichlet with parameters ``alpha``; ``is_log``: its logarithm.

    >>> nd.random_pdf_dirichlet(nd.array([[0.2, 0.8]]), nd.array([[2, 3]])).asnumpy().round(3)
    array([1.536], dtype=float32)
    """
    a = expand_inner(alpha, sample, keep=1)
    total, ln = OPS["sum"], OPS["gammaln"]
    powers = OPS["elemwise_mul"](OPS["_minus_scalar"](a, scalar=1.0), OPS["log"](sample))
    r = OPS["elemwise_add"](total(OPS["elemwise_sub"](powers, ln(a)), axis=(-1,)), ln(total(a, axis=(-1,))))
    return r if is_log else OPS["exp"](r)
