"""Operators whose gradient is not their derivative, by intention."""

from ..registry import OPS, Scalar, elementwise, register, rules
from ..registry import expr as E


@elementwise("_contrib_round_ste", aliases=("_sparse__contrib_round_ste",), grad=lambda data: 1)
def round_ste(data):
    """The nearest integer, halves away from zero; the gradient passes unchanged (Bengio et al. 2013, straight-through).

    >>> nd.contrib.round_ste(nd.array([1.4, -1.5])).asnumpy()
    array([ 1., -2.], dtype=float32)
    """
    return E.round_away(data)


@elementwise("_contrib_sign_ste", aliases=("_sparse__contrib_sign_ste",), grad=lambda data: 1)
def sign_ste(data):
    """-1, 0 or 1; the gradient passes unchanged.

    >>> nd.contrib.sign_ste(nd.array([1.4, -1.5])).asnumpy()
    array([ 1., -1.], dtype=float32)
    """
    return E.sign(data)


@register("_contrib_gradientmultiplier", infer=rules.same, view=True)
def gradient_multiplier(xp, data, *, scalar: Scalar = 1.0, is_int: bool = True):
    """The input; gradients are multiplied by ``scalar`` on the way back (-1: Ganin & Lempitsky's gradient reversal).

    >>> nd.contrib.gradientmultiplier(nd.array([2]), scalar=-1).asscalar()
    2.0
    """
    return data


@gradient_multiplier.gradient
def _(n, g):
    return OPS["_mul_scalar"](g, scalar=n.attrs.scalar)
