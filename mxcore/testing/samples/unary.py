"""Samples of :mod:`mxcore.ops.unary`."""

import numpy as np
from scipy import special

from ..sampling import A, C, sample

# name, reference, low and high of the inputs
for name, ref, low, high in (
    ("exp", np.exp, -1, 1), ("expm1", np.expm1, -1, 1), ("log", np.log, 0.3, 2), ("log2", np.log2, 0.3, 2),
    ("log10", np.log10, 0.3, 2), ("log1p", np.log1p, -0.7, 1), ("sqrt", np.sqrt, 0.3, 2),
    ("rsqrt", lambda x: 1 / np.sqrt(x), 0.3, 2), ("cbrt", np.cbrt, 0.3, 2), ("rcbrt", lambda x: 1 / np.cbrt(x), 0.3, 2),
    ("square", np.square, -1, 1), ("reciprocal", lambda x: 1 / x, 0.5, 2), ("negative", np.negative, -1, 1),
    ("abs", np.abs, -1, 1), ("sign", np.sign, -1, 1), ("floor", np.floor, -3, 3), ("ceil", np.ceil, -3, 3),
    ("rint", np.rint, -3, 3), ("round", np.round, -3, 3), ("trunc", np.trunc, -3, 3), ("fix", np.trunc, -3, 3),
    ("sin", np.sin, -3, 3), ("cos", np.cos, -3, 3), ("tan", np.tan, -1, 1), ("arcsin", np.arcsin, -0.9, 0.9),
    ("arccos", np.arccos, -0.9, 0.9), ("arctan", np.arctan, -2, 2), ("sinh", np.sinh, -1, 1), ("cosh", np.cosh, -1, 1),
    ("tanh", np.tanh, -1, 1), ("arcsinh", np.arcsinh, -2, 2), ("arccosh", np.arccosh, 1.3, 3),
    ("arctanh", np.arctanh, -0.8, 0.8), ("degrees", np.degrees, -3, 3), ("radians", np.radians, -90, 90),
    ("erf", special.erf, -1, 1), ("erfinv", special.erfinv, -0.8, 0.8), ("gamma", special.gamma, 0.7, 3),
    ("gammaln", special.gammaln, 0.7, 3), ("digamma", special.digamma, 0.7, 3), ("relu", lambda x: np.maximum(x, 0), -1, 1),
    ("sigmoid", special.expit, -3, 3), ("softsign", lambda x: x / (1 + np.abs(x)), -2, 2),
    ("_softrelu", lambda x: np.logaddexp(x, 0), -3, 3), ("logical_not", np.logical_not, -1, 1),
):
    sample(name, A(3, 4, low=low, high=high), ref=ref, order=2 if name == "digamma" else 3)  # no polygamma(3)

SPECIAL = C([[0.0, -0.0, 1.0], [np.nan, np.inf, -np.inf]])
sample("_contrib_isnan", SPECIAL, ref=np.isnan)
sample("_contrib_isinf", SPECIAL, ref=np.isinf)
sample("_contrib_isfinite", SPECIAL, ref=np.isfinite)
sample("logical_not", SPECIAL, ref=np.logical_not)
sample("sign", SPECIAL, ref=lambda x: np.nan_to_num(np.sign(x), nan=0))  # the sign of nan is 0
sample("relu", SPECIAL, ref=lambda x: np.maximum(x, 0))
HALVES = C([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
sample("round", HALVES, ref=lambda x: np.trunc(x + np.copysign(0.5, x)))  # away from zero
sample("rint", HALVES, ref=lambda x: np.ceil(x - 0.5))  # down
sample("cbrt", A(4, low=-2, high=-0.5), ref=np.cbrt)
sample("_softrelu", C([-800.0, 800.0]), ref=lambda x: np.maximum(x, 0), half=0)

sample("hard_sigmoid", A(3, 4, low=-4, high=4), ref=lambda x: np.clip(0.2 * x + 0.5, 0, 1))
sample("hard_sigmoid", A(3, 4), alpha=0.7, beta=0.4, ref=lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1))
sample("clip", A(3, 4), a_min=-0.5, a_max=0.4, ref=lambda x, a_min, a_max: np.clip(x, a_min, a_max))


def smooth_l1(x, scalar=1.0):
    """Quadratic near 0, linear beyond."""
    q = scalar * scalar
    return np.where(np.abs(x) < 1 / q, 0.5 * q * x * x, np.abs(x) - 0.5 / q)


sample("smooth_l1", A(3, 4, low=-3, high=3), ref=smooth_l1)
sample("smooth_l1", A(3, 4, low=-3, high=3), scalar=0.8, ref=smooth_l1)
