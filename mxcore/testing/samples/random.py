"""Samples of :mod:`mxcore.ops.random`: what is drawn is judged by its moments."""

import numpy as np

from ..sampling import A, C, I, sample

#: distribution: mean and variance by the parameters of the operator
MOMENTS = {
    "uniform": lambda low=0.0, high=1.0: ((low + high) / 2, (high - low) ** 2 / 12),
    "normal": lambda loc=0.0, scale=1.0: (loc, scale**2),
    "gamma": lambda alpha=1.0, beta=1.0: (alpha * beta, alpha * beta**2),
    "exponential": lambda lam=1.0: (1 / lam, 1 / lam**2),
    "poisson": lambda lam=1.0: (lam, lam),
    "negative_binomial": lambda k=1, p=1.0: (k * (1 - p) / p, k * (1 - p) / p**2),
    "generalized_negative_binomial": lambda mu=1.0, alpha=1.0: (mu, mu + alpha * mu**2),
}
WHOLE = ("poisson", "negative_binomial", "generalized_negative_binomial")


def moments(x, mean, var):
    """Mean within five deviations, variance within a quarter."""
    assert abs(x.mean() - mean) < 5 * np.sqrt(var / x.size) + 1e-3, (x.mean(), mean)
    assert abs(x.var() - var) < 0.25 * var + 1e-3, (x.var(), var)


def judge(name, names=None):
    """A judge of outputs by the moments of a distribution; parameters are attributes, or arrays called ``names``."""

    def check(outs, *arrays, shape=None, dtype=None, **parameters):
        out = outs[0].astype(np.float64)
        if name in WHOLE:
            np.testing.assert_array_equal(out, np.round(out))
        if names is None:
            moments(out, *MOMENTS[name](**parameters))
        else:
            for i, row in enumerate(out):
                moments(row, *MOMENTS[name](*[a[i] for a in arrays]))

    return check


for name, given, arrays in (
    ("uniform", {"low": -1, "high": 3}, ([-1, 2], [1, 5])), ("normal", {"loc": 2, "scale": 0.5}, ([0, 3], [1, 0.2])),
    ("gamma", {"alpha": 3, "beta": 0.5}, ([2, 9], [1, 0.5])), ("exponential", {"lam": 4}, ([1, 3],)),
    ("poisson", {"lam": 4}, ([1, 6],)), ("negative_binomial", {"k": 3, "p": 0.4}, ([2, 5], [0.5, 0.7])),
    ("generalized_negative_binomial", {"mu": 3, "alpha": 0.2}, ([2, 5], [0.3, 0.1])),
):
    sample(f"_random_{name}", shape=(50, 60), judge=judge(name), **given)
    sample(f"_random_{name}", shape=(3000,), dtype="float64", judge=judge(name), **given)
    sample(f"_random_{name}_like", A(50, 60), judge=judge(name), single=0, half=0, order=0, **given)
    sample(f"_sample_{name}", *[C(a) for a in arrays], shape=(3000,), judge=judge(name, arrays), single=0, half=0)
    sample(f"_sample_{name}", *[C(a) for a in arrays], shape=(60, 50), dtype="float64", judge=judge(name, arrays), single=0,
           half=0)


def integers(outs, low, high, shape, dtype=None):
    """All of them, equally often."""
    values, counts = np.unique(outs[0], return_counts=True)
    np.testing.assert_array_equal(values, np.arange(low, high))
    assert counts.min() > 0.7 * counts.mean()


sample("_random_randint", low=-2, high=4, shape=(3000,), judge=integers)
sample("_random_randint", low=5, high=8, shape=(30, 100), dtype="int64", judge=integers)


def categories(outs, p, shape=(), get_prob=False, dtype=None):
    """As often as their probabilities say."""
    for row, probabilities in zip(outs[0], p, strict=True):
        counts = np.bincount(row.ravel().astype(int), minlength=p.shape[1])
        np.testing.assert_allclose(counts / row.size, probabilities, atol=0.05)
    if get_prob:
        np.testing.assert_allclose(outs[1], np.log(p[np.arange(len(p))[:, None], outs[0].astype(int)]))


P = [[0.2, 0.5, 0.3], [0.7, 0.0, 0.3]]
sample("_sample_multinomial", C(P), shape=(2000,), judge=categories, half=0)
sample("_sample_multinomial", C(P), shape=(40, 50), dtype="float32", judge=categories, half=0)
sample("_sample_multinomial", C([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]), shape=(2000,), get_prob=True, judge=categories, half=0)
sample("_sample_multinomial", A(2, 3, low=0.2, high=0.5), shape=(4,), get_prob=True, train=True, half=0)
sample("_chosen", A(2, 3), I(2, 4, high=3), ref=lambda x, i: np.take_along_axis(x, i.astype(int), 1))
