"""Functions of one number, element by element."""

import math

from ..registry import Scalar, elementwise
from ..registry import expr as E


def _unary(name, doc, expression, grad=None, aliases=(), example="0.5"):
    def fn(data):
        return expression(data)

    shown = f"contrib.{name[9:]}" if name.startswith("_contrib_") else f"_internal.{name}" if name[0] == "_" else name
    fn.__doc__ = (f"{doc}\n\n    Integers are computed in floating point and truncated, as in MXNet.\n\n"
                  f"    >>> nd.{shown}(nd.array([{example}])).shape\n    (1,)\n    ")
    return elementwise(name, aliases=aliases, grad=grad)(fn)


_unary("exp", "e to the power of the input.", E.exp)
_unary("expm1", "``exp(data) - 1``, accurate near 0.", E.expm1)
_unary("log", "Natural logarithm.", E.log)
_unary("log2", "Logarithm to base 2.", E.log2)
_unary("log10", "Logarithm to base 10.", E.log10)
_unary("log1p", "``log(1 + data)``, accurate near 0.", E.log1p)
_unary("sqrt", "Square root.", E.sqrt)
_unary("rsqrt", "``1 / sqrt(data)``.", lambda a: 1 / E.sqrt(a), grad=lambda data, out: -0.5 * (out / data))
_unary("cbrt", "Cube root.", E.cbrt)
_unary("rcbrt", "``1 / cbrt(data)``.", lambda a: 1 / E.cbrt(a), grad=lambda data, out: (-1 / 3) * (out / data))
_unary("square", "The square.", lambda a: a * a, grad=lambda data: 2 * data)
_unary("reciprocal", "``1 / data``.", lambda a: 1 / a, grad=lambda data: -1 / (data * data))
_unary("negative", "The input with opposite sign.", lambda a: -a, aliases=("_np_negative",))
_unary("abs", "Absolute value.", E.absolute)
_unary("sign", "-1, 0 or 1; 0 for nan.", E.sign)
_unary("floor", "The largest integer not above.", E.floor)
_unary("ceil", "The smallest integer not below.", E.ceil)
_unary("rint", "The nearest integer; halves go down.",
       lambda a: E.where(a - E.floor(a) <= E.ceil(a) - a, E.floor(a), E.ceil(a)),
       grad=lambda data: 0)
_unary("round", "The nearest integer; halves go away from zero.", E.round_away)
_unary("trunc", "The integer part.", E.trunc)
_unary("fix", "The nearest integer towards zero.", E.trunc)
_unary("sin", "Sine, of radians.", E.sin)
_unary("cos", "Cosine, of radians.", E.cos)
_unary("tan", "Tangent, of radians.", E.tan)
_unary("arcsin", "Inverse sine, in radians.", E.arcsin)
_unary("arccos", "Inverse cosine, in radians.", E.arccos)
_unary("arctan", "Inverse tangent, in radians.", E.arctan)
_unary("sinh", "Hyperbolic sine.", E.sinh)
_unary("cosh", "Hyperbolic cosine.", E.cosh)
_unary("tanh", "Hyperbolic tangent.", E.tanh)
_unary("arcsinh", "Inverse hyperbolic sine.", E.arcsinh)
_unary("arccosh", "Inverse hyperbolic cosine.", E.arccosh, example="1.5")
_unary("arctanh", "Inverse hyperbolic tangent.", E.arctanh)
_unary("degrees", "Radians to degrees.", lambda a: a * (180 / math.pi))
_unary("radians", "Degrees to radians.", lambda a: a * (math.pi / 180))
_unary("erf", "Error function.", E.erf)
_unary("erfinv", "Inverse error function.", E.erfinv)
_unary("gamma", "Gamma function.", E.gamma)
_unary("gammaln", "Logarithm of the absolute value of the gamma function.", E.gammaln)
_unary("digamma", "Logarithmic derivative of the gamma function.", E.digamma)
_unary("relu", "``max(data, 0)``; nan stays nan.", lambda a: E.maximum(a, 0), grad=lambda out: E.where(out > 0, 1, 0))
_unary("sigmoid", "``1 / (1 + exp(-data))``.", lambda a: 1 / (1 + E.exp(-a)), grad=lambda out: out * (1 - out))
_unary("softsign", "``data / (1 + abs(data))``.", lambda a: a / (1 + E.absolute(a)),
       grad=lambda data: 1 / ((1 + E.absolute(data)) * (1 + E.absolute(data))))
_unary("logical_not", "1 where the input is 0, else 0.", E.logical_not)
_unary("_contrib_isnan", "1 where nan, else 0.", E.isnan)
_unary("_contrib_isinf", "1 where infinite, else 0.", E.isinf)
_unary("_contrib_isfinite", "1 where finite, else 0.", E.isfinite)
# softplus and its stable form: log(1 + exp(a)) = max(a, 0) + log1p(exp(-|a|))
softrelu = _unary("_softrelu", "``log(1 + exp(data))``.", lambda a: E.maximum(a, 0) + E.log1p(E.exp(-E.absolute(a))),
                  grad=lambda data: 1 / (1 + E.exp(-data)))


@elementwise("hard_sigmoid", grad=lambda data, alpha, beta, out: E.where(out > 0, E.where(out < 1, alpha, 0), 0))
def hard_sigmoid(data, *, alpha: float = 0.2, beta: float = 0.5):
    """``max(0, min(1, alpha * data + beta))``.

    >>> nd.hard_sigmoid(nd.array([0.])).item()
    0.5
    """
    return E.maximum(0, E.minimum(1, alpha * data + beta))


@elementwise("clip", grad=lambda data, a_min, a_max: E.where(data >= a_min, E.where(data <= a_max, 1, 0), 0))
def clip(data, *, a_min: float, a_max: float):
    """Values limited to ``[a_min, a_max]``.

    >>> nd.clip(nd.array([-1, 5]), 0, 3).asnumpy()
    array([0., 3.], dtype=float32)
    """
    return E.minimum(E.maximum(data, a_min), a_max)


@elementwise("smooth_l1")
def smooth_l1(data, *, scalar: Scalar = 1.0):
    """``0.5 (s x)^2`` where ``|x| < 1/s^2``, else ``|x| - 0.5/s^2`` (Girshick, Fast R-CNN, 2015).

    >>> nd.smooth_l1(nd.array([2.]), scalar=1).item()
    1.5
    """
    square = scalar * scalar
    return E.where(E.absolute(data) < 1 / square, 0.5 * square * data * data, E.absolute(data) - 0.5 / square)
