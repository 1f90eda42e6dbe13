"""``mx.nd.random`` (and ``mx.random``): random arrays."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from ..context import Context, current_context
from ..errors import ArgumentError
from ..registry.op import OPS
from ..runtime.device import device_of
from ..runtime.invoke import create, invoke
from .ndarray import NDArray

__all__ = ["exponential", "gamma", "generalized_negative_binomial", "multinomial", "negative_binomial", "normal",
           "poisson", "randint", "randn", "shuffle", "uniform"]


class MixedParametersError(ArgumentError, AssertionError):
    """Some parameters of a distribution are arrays and some are numbers."""


def parameters_are_arrays(name: str, values: dict[str, Any], array: type) -> bool:
    """Whether the parameters of a distribution are arrays (or symbols) rather than numbers; all must be of one kind."""
    kinds = {isinstance(v, array) for v in values.values()}
    if len(kinds) > 1:
        found = ", ".join(f"{n}: {type(v).__name__}" for n, v in values.items())
        raise MixedParametersError(f"{name}: Distribution parameters must all have the same type, but got {found}")
    if kinds == {True}:
        return True
    for n, v in values.items():
        if not isinstance(v, (Number, np.generic)):
            raise ArgumentError(f"{name}: Distribution parameters must be either {array.__name__} or numbers, but {n} "
                                f"is a {type(v).__name__}")
    return False


def _draw(name: str, values: dict[str, Any], shape: Any, dtype: Any, ctx: Context | None, out: NDArray | None,
          kwargs: dict[str, Any]) -> Any:
    attrs = {"shape": shape, "dtype": dtype}
    unknown = set(kwargs) - {"name"}
    if unknown:
        raise ArgumentError(f"random.{name}: unknown arguments {sorted(unknown)}")
    attrs = {k: v for k, v in attrs.items() if v is not None}
    if parameters_are_arrays(name, values, NDArray):
        op = OPS[f"_sample_{name}"]
        return invoke(op, tuple(values.values()), op.parse(attrs), out)
    op = OPS[f"_random_{name}"]
    if out is not None:
        attrs.setdefault("shape", out.shape)
    if dtype is None and out is not None and name != "randint":
        attrs["dtype"] = out._data.dtype
    dev = out._dev if out is not None else device_of(Context(ctx) if ctx is not None else current_context())
    return create(op, op.parse({**values, **attrs}), dev, NDArray, out)


def uniform(low: Any = 0, high: Any = 1, shape: Any = None, dtype: Any = None, ctx: Context | None = None,
            out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Uniform random numbers in ``[low, high)``.

    Parameters
    ----------
    low, high : numbers, or arrays of one shape
        With arrays each place gives numbers of its own.
    shape : int or tuple, optional
        How many numbers; with arrays, for each place. Default: one.
    dtype : dtype, optional
        A floating-point type, float32 by default.
    ctx : Context, optional
        The device; with arrays it is theirs.
    out : NDArray, optional
        Where to write.

    Examples
    --------
    >>> nd.random.uniform(0, 1, shape=(2, 3)).shape
    (2, 3)
    >>> nd.random.uniform(nd.array([0, 10]), nd.array([1, 11]), shape=4).shape
    (2, 4)
    """
    return _draw("uniform", {"low": low, "high": high}, shape, dtype, ctx, out, kwargs)


def normal(loc: Any = 0, scale: Any = 1, shape: Any = None, dtype: Any = None, ctx: Context | None = None,
           out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Normal random numbers with mean ``loc`` and standard deviation ``scale``; other arguments as in :func:`uniform`.

    >>> nd.random.normal(0, 1, shape=(2, 3)).shape
    (2, 3)
    """
    return _draw("normal", {"loc": loc, "scale": scale}, shape, dtype, ctx, out, kwargs)


def randn(*shape: int, loc: Any = 0, scale: Any = 1, dtype: Any = None, ctx: Context | None = None,
          out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Normal random numbers; the arguments are the dimensions.

    >>> nd.random.randn(2, 3).shape
    (2, 3)
    """
    return _draw("normal", {"loc": loc, "scale": scale}, shape, dtype, ctx, out, kwargs)


def gamma(alpha: Any = 1, beta: Any = 1, shape: Any = None, dtype: Any = None, ctx: Context | None = None,
          out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Gamma random numbers with shape ``alpha`` and scale ``beta``; other arguments as in :func:`uniform`.

    >>> nd.random.gamma(2, 0.5, shape=3).shape
    (3,)
    """
    return _draw("gamma", {"alpha": alpha, "beta": beta}, shape, dtype, ctx, out, kwargs)


def exponential(scale: Any = 1, shape: Any = None, dtype: Any = None, ctx: Context | None = None,
                out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Exponential random numbers with mean ``scale``; other arguments as in :func:`uniform`.

    >>> nd.random.exponential(2, shape=3).shape
    (3,)
    """
    if not parameters_are_arrays("exponential", {"scale": scale}, NDArray) and scale <= 0:
        raise ArgumentError(f"random exponential needs scale > 0, got scale={scale}")
    return _draw("exponential", {"lam": 1.0 / scale}, shape, dtype, ctx, out, kwargs)


def poisson(lam: Any = 1, shape: Any = None, dtype: Any = None, ctx: Context | None = None, out: NDArray | None = None,
            **kwargs: Any) -> NDArray:
    """Poisson random numbers with mean ``lam``, as floating-point numbers; other arguments as in :func:`uniform`.

    >>> nd.random.poisson(3, shape=3).shape
    (3,)
    """
    return _draw("poisson", {"lam": lam}, shape, dtype, ctx, out, kwargs)


def negative_binomial(k: Any = 1, p: Any = 1, shape: Any = None, dtype: Any = None, ctx: Context | None = None,
                      out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Successes before the ``k``-th failure, which has probability ``p``; other arguments as in :func:`uniform`.

    >>> nd.random.negative_binomial(3, 0.5, shape=3).shape
    (3,)
    """
    return _draw("negative_binomial", {"k": k, "p": p}, shape, dtype, ctx, out, kwargs)


def generalized_negative_binomial(mu: Any = 1, alpha: Any = 1, shape: Any = None, dtype: Any = None,
                                  ctx: Context | None = None, out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Negative binomial random numbers by mean ``mu`` and dispersion ``alpha``; other arguments as in :func:`uniform`.

    >>> nd.random.generalized_negative_binomial(3, 0.2, shape=3).shape
    (3,)
    """
    return _draw("generalized_negative_binomial", {"mu": mu, "alpha": alpha}, shape, dtype, ctx, out, kwargs)


def randint(low: int, high: int, shape: Any = None, dtype: Any = None, ctx: Context | None = None,
            out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """Random integers, uniform in ``low, ..., high - 1``, as int32 (default) or int64.

    >>> nd.random.randint(0, 10, shape=(2, 3)).shape
    (2, 3)
    """
    if isinstance(low, NDArray) or isinstance(high, NDArray):
        raise ArgumentError("random.randint: low and high must be integers")
    return _draw("randint", {"low": low, "high": high}, shape, dtype, ctx, out, kwargs)


def multinomial(data: NDArray, shape: Any = None, get_prob: bool = False, out: Any = None, dtype: Any = "int32",
                **kwargs: Any) -> Any:
    """Categories drawn with the probabilities in the last axis of ``data``.

    Parameters
    ----------
    data : (..., k) NDArray
        Probabilities; each row is one distribution.
    shape : int or tuple, optional
        How many to draw for each distribution.
    get_prob : bool
        Give the logarithms of the probabilities of what was drawn too (differentiable).
    dtype : dtype
        Of the categories.

    >>> nd.random.multinomial(nd.array([[0, 1], [1, 0]]), shape=2).asnumpy()
    array([[1, 1],
           [0, 0]], dtype=int32)
    """
    op = OPS["_sample_multinomial"]
    attrs = {"get_prob": get_prob, "dtype": dtype, **({} if shape is None else {"shape": shape})}
    return invoke(op, (data,), op.parse(attrs), out)


def shuffle(data: NDArray, out: NDArray | None = None, **kwargs: Any) -> NDArray:
    """The slices of ``data`` along its first axis in random order (``out=data`` for in place).

    >>> nd.random.shuffle(nd.zeros((3, 2))).shape
    (3, 2)
    """
    op = OPS["_shuffle"]
    return invoke(op, (data,), op.parse({}), out)
