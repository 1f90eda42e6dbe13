"""Products of multi-head attention on interleaved projections (Vaswani et al. 2017).

Sequences are time-major, ``(T, N, heads * parts * D)``, with queries, keys and values of a head beside each other, so that
one dense layer makes all of them.
"""

import math

from ..registry import OPS, register, rules
from .products import batch_dot


@register("_contrib_div_sqrt_dim", infer=rules.same)
def div_sqrt_dim(xp, data):
    """The input divided by the square root of its last dimension.

    >>> nd.contrib.div_sqrt_dim(nd.ones((1, 4))).asnumpy()
    array([[0.5, 0.5, 0.5, 0.5]], dtype=float32)
    """
    return xp.astype(data / math.sqrt(data.shape[-1]), data.dtype)


@div_sqrt_dim.gradient
def _(n, g):
    return div_sqrt_dim(g)


def _head(data, heads, parts, which):
    """One part of every head as a stack of matrices: ``(N * heads, T, D)``."""
    x = OPS["Reshape"](data, shape=(0, 0, heads, parts, -1))
    if parts > 1:
        x = OPS["slice_axis"](x, axis=3, begin=which, end=which + 1)
    return OPS["Reshape"](OPS["transpose"](x, axes=(1, 2, 3, 0, 4)), shape=(-3, -3, 0))


def _joined(data, heads):
    """``(N * heads, T, D)`` as ``(T, N, heads * D)``."""
    x = OPS["Reshape"](data, shape=(-4, -1, heads, 0, 0))
    return OPS["Reshape"](OPS["transpose"](x, axes=(2, 0, 1, 3)), shape=(0, 0, -3))


def _scores(queries, keys):
    return batch_dot(div_sqrt_dim(queries), keys, transpose_b=True)


@register("_contrib_interleaved_matmul_selfatt_qk", composite=True)
def selfatt_qk(queries_keys_values, *, heads: int):
    """Scores of self-attention, ``Q K^T / sqrt(D)``.

    Parameters
    ----------
    queries_keys_values : (T, N, heads * 3 * D) array
    heads : int

    Returns
    -------
    (N * heads, T, T) array

    >>> nd.contrib.interleaved_matmul_selfatt_qk(nd.ones((5, 2, 24)), heads=2).shape
    (4, 5, 5)
    """
    return _scores(_head(queries_keys_values, heads, 3, 0), _head(queries_keys_values, heads, 3, 1))


@register("_contrib_interleaved_matmul_selfatt_valatt", composite=True)
def selfatt_valatt(queries_keys_values, attention, *, heads: int):
    """Values of self-attention, weighted.

    Parameters
    ----------
    queries_keys_values : (T, N, heads * 3 * D) array
    attention : (N * heads, T, T) array
    heads : int

    Returns
    -------
    (T, N, heads * D) array

    >>> nd.contrib.interleaved_matmul_selfatt_valatt(nd.ones((5, 2, 24)), nd.ones((4, 5, 5)), heads=2).shape
    (5, 2, 8)
    """
    return _joined(batch_dot(attention, _head(queries_keys_values, heads, 3, 2)), heads)


@register("_contrib_interleaved_matmul_encdec_qk", composite=True)
def encdec_qk(queries, keys_values, *, heads: int):
    """Scores of attention from one sequence to another, ``Q K^T / sqrt(D)``.

    Parameters
    ----------
    queries : (Tq, N, heads * D) array
    keys_values : (Tk, N, heads * 2 * D) array
    heads : int

    Returns
    -------
    (N * heads, Tq, Tk) array

    >>> nd.contrib.interleaved_matmul_encdec_qk(nd.ones((5, 2, 8)), nd.ones((3, 2, 16)), heads=2).shape
    (4, 5, 3)
    """
    return _scores(_head(queries, heads, 1, 0), _head(keys_values, heads, 2, 0))


@register("_contrib_interleaved_matmul_encdec_valatt", composite=True)
def encdec_valatt(keys_values, attention, *, heads: int):
    """Values of attention from one sequence to another, weighted.

    Parameters
    ----------
    keys_values : (Tk, N, heads * 2 * D) array
    attention : (N * heads, Tq, Tk) array
    heads : int

    Returns
    -------
    (Tq, N, heads * D) array

    >>> nd.contrib.interleaved_matmul_encdec_valatt(nd.ones((3, 2, 16)), nd.ones((4, 5, 3)), heads=2).shape
    (5, 2, 8)
    """
    return _joined(batch_dot(attention, _head(keys_values, heads, 2, 1)), heads)
