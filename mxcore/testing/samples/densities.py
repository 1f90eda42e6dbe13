"""Samples of :mod:`mxcore.ops.densities`."""

import numpy as np

from ..sampling import A, C, sample

X = A(2, 3, low=0.2, high=1.9)
ONE, TWO = A(2, low=0.3, high=0.9), A(2, low=1.1, high=2.5)


def _of(distribution, arguments, log="logpdf"):
    """SciPy's density with the parameters that ``arguments`` makes of ours."""

    def reference(x, *parameters, is_log=False):
        from scipy import stats

        frozen = getattr(stats, distribution)(**arguments(*[p.reshape(*p.shape, *(1,) * (x.ndim - p.ndim)) for p in parameters]))
        r = getattr(frozen, log)(x)
        return r if is_log else np.exp(r)

    return reference


NORMAL = _of("norm", lambda mu, sigma: {"loc": mu, "scale": sigma})
GAMMA = _of("gamma", lambda alpha, beta: {"a": alpha, "scale": 1 / beta})
EXPONENTIAL = _of("expon", lambda lam: {"scale": 1 / lam})
POISSON = _of("poisson", lambda lam: {"mu": lam}, "logpmf")
NEGATIVE = _of("nbinom", lambda k, p: {"n": k, "p": p}, "logpmf")
DISPERSED = _of("nbinom", lambda mu, alpha: {"n": 1 / alpha, "p": 1 / (1 + mu * alpha)}, "logpmf")
COUNTS = C([[0, 1, 4], [2, 3, 1]])

for is_log in (False, True):
    sample("_random_pdf_uniform", A(2, 3, low=0.95, high=1.05), ONE, TWO, is_log=is_log,
           ref=lambda x, low, high, is_log: np.broadcast_to(
               (-np.log(high - low) if is_log else 1 / (high - low))[:, None], x.shape))
    sample("_random_pdf_normal", X, ONE, TWO, is_log=is_log, ref=NORMAL)
    sample("_random_pdf_gamma", X, TWO, ONE, is_log=is_log, ref=GAMMA)
    sample("_random_pdf_exponential", X, TWO, is_log=is_log, ref=EXPONENTIAL)
    sample("_random_pdf_poisson", COUNTS, TWO, is_log=is_log, ref=POISSON)
    sample("_random_pdf_negative_binomial", COUNTS, TWO, ONE, is_log=is_log, ref=NEGATIVE)
    sample("_random_pdf_generalized_negative_binomial", COUNTS, TWO, ONE, is_log=is_log, ref=DISPERSED)
for name, ref, x, parameters in (
    ("normal", NORMAL, X, (X, X)), ("gamma", GAMMA, X, (X, X)), ("exponential", EXPONENTIAL, X, (X,)),
    ("poisson", POISSON, COUNTS, (X,)), ("negative_binomial", NEGATIVE, COUNTS, (X, A(2, 3, low=0.1, high=0.9))),
    ("generalized_negative_binomial", DISPERSED, COUNTS, (X, X)),
):
    sample(f"_logpdf_{name}", x, *parameters, ref=lambda *a, ref=ref: ref(*a, is_log=True))
sample("_logpdf_uniform", X, A(2, 3), A(2, 3, low=2, high=3), ref=lambda x, low, high: -np.log(high - low))
sample("_random_pdf_normal", A(2, 3, 2), A(2, 3), A(2, 3, low=0.5, high=2), ref=NORMAL)
sample("_random_pdf_dirichlet", A(2, 3, 2, low=0.1, high=0.9), A(2, 2, low=1.2, high=3))
sample("_random_pdf_dirichlet", A(3, low=0.1, high=0.9), A(3, low=1.2, high=3), is_log=True)
sample("_expand_inner", A(2, 2), A(2, 3, 2), keep=1, ref=lambda p, x, keep: np.broadcast_to(p[:, None], x.shape))
sample("_sum_inner", A(2, 3, 4), A(2), ref=lambda g, p: g.sum((1, 2)))
