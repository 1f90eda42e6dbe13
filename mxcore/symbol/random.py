"""``mx.sym.random``: symbols of random arrays. The numbers are drawn anew whenever the graph runs."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..ndarray.random import parameters_are_arrays
from ..registry.op import OPS
from .symbol import Symbol, compose

__all__ = ["exponential", "gamma", "generalized_negative_binomial", "multinomial", "negative_binomial", "normal",
           "poisson", "randint", "randn", "shuffle", "uniform"]


def _draw(name: str, values: dict[str, Any], shape: Any, dtype: Any, kwargs: dict[str, Any]) -> Symbol:
    attrs = {k: v for k, v in (("shape", shape), ("dtype", dtype)) if v is not None}
    label, attr = kwargs.pop("name", None), kwargs.pop("attr", None)
    if parameters_are_arrays(name, values, Symbol):
        op = OPS[f"_sample_{name}"]
        return compose(op, tuple(values.values()), op.parse({**attrs, **kwargs}), label, attr)
    op = OPS[f"_random_{name}"]
    return compose(op, (), op.parse({**values, **attrs, **kwargs}), label, attr)


def uniform(low: Any = 0, high: Any = 1, shape: Any = None, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Uniform random numbers in ``[low, high)`` (numbers, or symbols); see :func:`mxcore.nd.random.uniform`."""
    return _draw("uniform", {"low": low, "high": high}, shape, dtype, kwargs)


def normal(loc: Any = 0, scale: Any = 1, shape: Any = None, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Normal random numbers; see :func:`mxcore.nd.random.normal`."""
    return _draw("normal", {"loc": loc, "scale": scale}, shape, dtype, kwargs)


def randn(*shape: int, loc: Any = 0, scale: Any = 1, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Normal random numbers; the arguments are the dimensions."""
    return _draw("normal", {"loc": loc, "scale": scale}, shape, dtype, kwargs)


def gamma(alpha: Any = 1, beta: Any = 1, shape: Any = None, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Gamma random numbers with shape ``alpha`` and scale ``beta``; see :func:`mxcore.nd.random.gamma`."""
    return _draw("gamma", {"alpha": alpha, "beta": beta}, shape, dtype, kwargs)


def exponential(scale: Any = 1, shape: Any = None, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Exponential random numbers with mean ``scale``; see :func:`mxcore.nd.random.exponential`."""
    if not parameters_are_arrays("exponential", {"scale": scale}, Symbol) and scale <= 0:
        raise ArgumentError(f"random exponential needs scale > 0, got scale={scale}")
    return _draw("exponential", {"lam": 1.0 / scale}, shape, dtype, kwargs)


def poisson(lam: Any = 1, shape: Any = None, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Poisson random numbers with mean ``lam``; see :func:`mxcore.nd.random.poisson`."""
    return _draw("poisson", {"lam": lam}, shape, dtype, kwargs)


def negative_binomial(k: Any = 1, p: Any = 1, shape: Any = None, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Negative binomial random numbers; see :func:`mxcore.nd.random.negative_binomial`."""
    return _draw("negative_binomial", {"k": k, "p": p}, shape, dtype, kwargs)


def generalized_negative_binomial(mu: Any = 1, alpha: Any = 1, shape: Any = None, dtype: Any = None,
                                  **kwargs: Any) -> Symbol:
    """Negative binomial numbers by mean and dispersion; see :func:`mxcore.nd.random.generalized_negative_binomial`."""
    return _draw("generalized_negative_binomial", {"mu": mu, "alpha": alpha}, shape, dtype, kwargs)


def randint(low: int, high: int, shape: Any = None, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Random integers in ``low, ..., high - 1``; see :func:`mxcore.nd.random.randint`."""
    return _draw("randint", {"low": low, "high": high}, shape, dtype, kwargs)


def multinomial(data: Symbol, shape: Any = None, get_prob: bool = True, dtype: Any = "int32", **kwargs: Any) -> Symbol:
    """Categories drawn with the probabilities in the last axis; see :func:`mxcore.nd.random.multinomial`."""
    op = OPS["_sample_multinomial"]
    label, attr = kwargs.pop("name", None), kwargs.pop("attr", None)
    attrs = {"get_prob": get_prob, "dtype": dtype, **({} if shape is None else {"shape": shape}), **kwargs}
    return compose(op, (data,), op.parse(attrs), label, attr)


def shuffle(data: Symbol, **kwargs: Any) -> Symbol:
    """The slices of ``data`` along its first axis in random order."""
    op = OPS["_shuffle"]
    return compose(op, (data,), op.parse({}), kwargs.pop("name", None), kwargs.pop("attr", None))
