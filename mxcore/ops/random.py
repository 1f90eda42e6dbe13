"""Random numbers: with fixed parameters, in the shape of an array, or with parameters of its own at each place.

All draws come from the generator of the device (``mx.random.seed``). Nothing flows back through a draw, except through
the log-probabilities that ``sample_multinomial`` gives.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..registry import OPS, DType, Shape, register, rules
from .core import adjoint, constant

_F4, _F8, _I4, _I8 = map(np.dtype, ("float32", "float64", "int32", "int64"))


# ---------------------------------------------------------------- distributions
def _moved(r, scale, offset):
    """``r * scale + offset``, without a pass over the array where a number says that nothing changes."""
    if type(scale) is not float or scale != 1:
        r = r * scale
    return r if type(offset) is float and offset == 0 else r + offset


def _uniform(rng, size, real, low, high):
    return _moved(rng.random(size, dtype=real), high - low, low)


def _normal(rng, size, real, loc, scale):
    return _moved(rng.standard_normal(size, dtype=real), scale, loc)


def _gamma(rng, size, real, alpha, beta):
    return _moved(rng.standard_gamma(alpha, size, dtype=real), beta, 0.0)


def _exponential(rng, size, real, lam):
    return rng.standard_exponential(size, dtype=real) / lam


def _poisson(rng, size, real, lam):
    return rng.poisson(lam, size)


def _negative_binomial(rng, size, real, k, p):
    """A Poisson variable whose rate is a gamma variable (Devroye, *Non-Uniform Random Variate Generation*, ch. X.4)."""
    return rng.poisson(rng.standard_gamma(k, size, dtype=real) * ((1 - p) / p), size)


def _generalized_negative_binomial(rng, size, real, mu, alpha):
    """The same by mean ``mu`` and dispersion ``alpha``; without dispersion a Poisson variable."""
    tiny = 1e-6  # a gamma variable of shape 1/tiny is its mean to 1 in 1000
    spread = (alpha < tiny) * tiny + alpha
    return rng.poisson(rng.standard_gamma(1 / spread, size, dtype=real) * (mu * spread), size)


class Distribution(NamedTuple):
    """How a distribution is drawn, what its parameters must satisfy, and how arrays of parameters are called."""

    draw: Callable
    parameters: dict[str, Any]  # name: (type, default)
    arrays: tuple[str, ...]
    valid: Callable
    relation: str
    meaning: str


_REAL: dict[str, Any] = dict.fromkeys(("high", "scale", "alpha", "beta", "lam", "p", "mu"), (float, 1.0))
_REAL |= {"low": (float, 0.0), "loc": (float, 0.0), "k": (int, 1)}


def _distribution(draw, names, arrays, valid, relation, meaning):
    return Distribution(draw, {n: _REAL[n] for n in names}, arrays, valid, relation, meaning)


DISTRIBUTIONS = {
    "uniform": _distribution(_uniform, ("low", "high"), ("low", "high"), lambda low, high: high >= low, "low <= high",
                             "uniform in ``[low, high)``"),
    "normal": _distribution(_normal, ("loc", "scale"), ("mu", "sigma"), lambda loc, scale: scale > 0, "scale > 0",
                            "normal with mean ``loc`` and standard deviation ``scale``"),
    "gamma": _distribution(_gamma, ("alpha", "beta"), ("alpha", "beta"), lambda alpha, beta: alpha > 0 and beta > 0,
                           "alpha > 0 and beta > 0", "gamma with shape ``alpha`` and scale ``beta``"),
    "exponential": _distribution(_exponential, ("lam",), ("lam",), lambda lam: lam > 0, "lam > 0",
                                 "exponential with rate ``lam`` (mean ``1 / lam``)"),
    "poisson": _distribution(_poisson, ("lam",), ("lam",), lambda lam: lam >= 0, "lam >= 0",
                             "Poisson with mean ``lam``"),
    "negative_binomial": _distribution(
        _negative_binomial, ("k", "p"), ("k", "p"), lambda k, p: k >= 0 and 0 < p <= 1, "k >= 0 and 0 < p <= 1",
        "negative binomial: successes before the ``k``-th failure, of probability ``p``"),
    "generalized_negative_binomial": _distribution(
        _generalized_negative_binomial, ("mu", "alpha"), ("mu", "alpha"), lambda mu, alpha: mu >= 0 and alpha >= 0,
        "mu >= 0 and alpha >= 0",
        "negative binomial with mean ``mu`` and dispersion ``alpha`` (variance ``mu + alpha mu**2``)"),
}


def _drawn(xp, rng, d, size, dtype, values):
    """Numbers of ``dtype``; real ones are drawn in float32, or float64 where that is asked for."""
    real = _F8 if dtype == _F8 else _F4
    r = d.draw(rng, size, real, *values)
    return r if r.dtype == dtype else xp.astype(r, dtype)


def _checked(name, d, values):
    if not d.valid(*values):
        raise ArgumentError(f"random {name} needs {d.relation}, got " +
                            ", ".join(f"{n}={v}" for n, v in zip(d.parameters, values, strict=True)))
    return values


def _signature(fn, inputs, attrs):
    """The signature ``(xp, *inputs, *, rng, **attrs)`` for a kernel that serves a family of operators."""
    kind = inspect.Parameter
    parameters = [kind(n, kind.POSITIONAL_OR_KEYWORD) for n in ("xp", *inputs)]
    parameters.append(kind("rng", kind.KEYWORD_ONLY))
    parameters += [kind(n, kind.KEYWORD_ONLY, annotation=t, default=v) for n, (t, v) in attrs.items()]
    fn.__signature__ = inspect.Signature(parameters)
    return fn


_SHAPED = {"shape": (Shape | None, None), "dtype": (DType | None, None)}


def _of_shape(attrs, ins):
    return ins, [attrs.shape or (1,)]


def _per_place(attrs, ins):
    found = None
    for s in ins:
        found = rules.merge(found, s, "shapes of the parameters")
    return [found] * len(ins), [None if found is None else found + attrs.shape]


def _real_type(attrs, types, outputs=1):
    return types, [attrs.dtype or _F4]


def _define(name: str, d: Distribution) -> None:
    def fixed(xp, *, rng, shape=None, dtype=None, **parameters):
        return _drawn(xp, rng, d, shape or (1,), dtype or _F4, _checked(name, d, parameters.values()))

    def like(xp, data, *, rng, **parameters):
        return _drawn(xp, rng, d, data.shape, data.dtype, _checked(name, d, parameters.values()))

    def sample(xp, *arrays, rng, shape=(), dtype=None):
        if any(a.shape != arrays[0].shape for a in arrays):
            raise ValueError("shapes of the parameters differ")
        dtype = dtype or _F4
        wide = (*arrays[0].shape, *(1,) * len(shape))
        values = [xp.reshape(xp.astype(a, _F8 if dtype == _F8 else _F4), wide) for a in arrays]
        return _drawn(xp, rng, d, (*arrays[0].shape, *shape), dtype, values)

    _signature(fixed, (), {**d.parameters, **_SHAPED})
    _signature(like, ("data",), d.parameters)
    _signature(sample, d.arrays, {"shape": (Shape, ()), "dtype": (DType | None, None)})
    example = ", ".join(f"{n}={0.5 if n == 'p' else 1}" for n in d.parameters if n not in ("low", "loc"))
    arrays = ", ".join(["nd.array([0.5, 1])"] * len(d.arrays))
    fixed.__doc__ = (f"Random numbers, {d.meaning}.\n\n    Parameters: the distribution's ({', '.join(d.parameters)}), "
                     "``shape`` (default (1,)), ``dtype`` (default float32).\n\n"
                     f"    >>> nd.random_{name}({example}, shape=(2, 3)).shape\n    (2, 3)\n    ")
    like.__doc__ = f"Random numbers, {d.meaning}, in shape and type of ``data``."
    sample.__doc__ = (f"Random numbers, {d.meaning}; each place of the parameters ({', '.join(d.arrays)}) gives "
                      "numbers of its own, ``shape`` of them.\n\n"
                      f"    >>> nd.sample_{name}({arrays}, shape=(3,)).shape\n    (2, 3)\n    ")
    register(f"_random_{name}", aliases=(f"random_{name}", *((name,) if name in ("uniform", "normal") else ())),
             infer=_of_shape, types=_real_type, nograd=True)(fixed)
    register(f"_random_{name}_like", infer=rules.same, shape_only=("data",))(like).gradient(constant)
    enter = register(f"_sample_{name}", aliases=(f"sample_{name}",), infer=_per_place, types=_real_type)
    enter(sample).gradient(constant)


for _name, _d in DISTRIBUTIONS.items():
    _define(_name, _d)


@register("_random_randint", aliases=("random_randint", "_npi_random_randint"), infer=_of_shape, nograd=True,
          types=lambda a, t, n: (t, [a.dtype or _I4]))
def randint(xp, *, rng, low: int, high: int, shape: Shape | None = None, dtype: DType | None = None):
    """Random integers, uniform in ``low, ..., high - 1``, as int32 or int64.

    >>> nd.random_randint(low=5, high=6, shape=2).asnumpy()
    array([5, 5], dtype=int32)
    """
    dtype = dtype or _I4
    if dtype not in (_I4, _I8):
        raise ArgumentError(f"dtype={dtype}: random integers are int32 or int64")
    if low >= high:
        raise ArgumentError(f"random integers need low < high, got low={low}, high={high}")
    return rng.integers(low, high, shape or (1,), dtype=dtype)


# ---------------------------------------------------------------- categories
def _multinomial_shapes(attrs, ins):
    s = ins[0]
    out = None if s is None else (*s[:-1], *attrs.shape) or (1,)
    return ins, [out, out] if attrs.get_prob else [out]


def _multinomial_outputs(attrs, count):
    return ("output0", "output1") if attrs.get_prob else ("output",)


@register("_sample_multinomial", aliases=("sample_multinomial",), infer=_multinomial_shapes,
          outputs=_multinomial_outputs, types=lambda a, t, n: (t, [a.dtype, t[0]][:n]))
def sample_multinomial(xp, data, *, rng, shape: Shape = (), get_prob: bool = False, dtype: DType = "int32"):
    """Categories drawn with the probabilities in the last axis of ``data``.

    Parameters
    ----------
    data : (..., k) array
        Probabilities of the ``k`` categories (scaled so that they sum to 1).
    shape : tuple
        How many to draw for each distribution.
    get_prob : bool
        Give the logarithms of the probabilities of what was drawn too; gradients flow back through them, as the
        REINFORCE method needs (Williams 1992).

    >>> nd.sample_multinomial(nd.array([[0, 1], [1, 0]]), shape=(2,)).asnumpy()
    array([[1, 1],
           [0, 0]], dtype=int32)
    """
    k = data.shape[-1]
    line = xp.cumsum(xp.reshape(xp.astype(data, _F8), (-1,)), axis=0)  # all distributions, one behind the other
    end = xp.reshape(line[k - 1::k], (-1, 1))
    count = end.shape[0]
    start = xp.concatenate([xp.zeros((1, 1), _F8), end[:-1]], axis=0)
    drawn = start + rng.random((count, rules.elements(shape)), dtype=_F8) * (end - start)
    place = xp.reshape(xp.searchsorted(line, xp.reshape(drawn, (-1,)), side="right"), drawn.shape)
    place = place - xp.reshape(xp.arange(count, dtype=_I8), (count, 1)) * k
    place = xp.minimum(xp.maximum(place, 0), k - 1)
    out = xp.astype(xp.reshape(place, (*data.shape[:-1], *shape) or (1,)), dtype)
    return (out, xp.log(chosen.fn(xp, data, out))) if get_prob else out


@sample_multinomial.gradient
def _(n, *heads):
    if not n.attrs.get_prob:
        return None
    x, drawn = n.inputs[0], n.out(0)
    return chosen_back(OPS["elemwise_div"](heads[1], chosen(x, drawn)), x, drawn)


def _rows_and_places(xp, shape, index):
    """The index as integers, one row for each row of an array of ``shape``."""
    return xp.reshape(xp.astype(index, _I8), (rules.elements(shape[:-1]), -1))


@register("_chosen", infer=rules.like_second, types=rules.first_type, uniform=False)
def chosen(xp, data, index):
    """``out[i, j] = data[i, index[i, j]]`` over the last axis, in the shape of ``index``."""
    rows = xp.reshape(data, (-1, data.shape[-1]))
    return xp.reshape(xp.take_along_axis(rows, _rows_and_places(xp, data.shape, index), axis=1), index.shape)


@chosen.gradient
def _(n, g):
    return chosen_back(g, n.inputs[0], n.inputs[1]), None


@adjoint("_backward_chosen")
def chosen_back(xp, data, like, index):
    """Zeros of the shape of ``like`` with ``data`` added where :func:`_chosen` reads."""
    k = like.shape[-1]
    places = _rows_and_places(xp, like.shape, index)
    places = places + xp.reshape(xp.arange(places.shape[0], dtype=_I8) * k, (-1, 1))
    out = xp.zeros((rules.elements(like.shape),), data.dtype)
    xp.add_at(out, (xp.reshape(places, (-1,)),), xp.reshape(data, (-1,)))
    return xp.reshape(out, like.shape)


@chosen_back.gradient
def _(n, g):
    return chosen(g, n.inputs[2]), None, None
