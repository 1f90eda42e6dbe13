"""Samples of :mod:`mxcore.ops.attention`: references head by head."""

import numpy as np

from ..sampling import A, sample


def heads_of(x, heads, parts):
    """``(T, N, heads * parts * D)`` as ``parts`` arrays ``(N, heads, T, D)``."""
    t, n, width = x.shape
    return np.moveaxis(x.reshape(t, n, heads, parts, width // (heads * parts)), (3, 1, 2, 0), (0, 1, 2, 3))


def scores(q, k):
    """``Q K^T / sqrt(D)``, the heads of all samples behind each other."""
    s = np.einsum("nhid,nhjd->nhij", q, k) / np.sqrt(q.shape[-1])
    return s.reshape(-1, *s.shape[2:])


def weighted(attention, v):
    """Values, weighted, as ``(T, N, heads * D)``."""
    n, heads, _, d = v.shape
    y = np.einsum("nhij,nhjd->inhd", attention.reshape(n, heads, *attention.shape[1:]), v)
    return y.reshape(-1, n, heads * d)


def self_scores(x, heads):
    """Of interleaved queries, keys and values."""
    q, k, _ = heads_of(x, heads, 3)
    return scores(q, k)


sample("_contrib_div_sqrt_dim", A(2, 3), ref=lambda x: x / np.sqrt(3))
sample("_contrib_interleaved_matmul_selfatt_qk", A(3, 2, 12), heads=2, ref=self_scores)
sample("_contrib_interleaved_matmul_selfatt_valatt", A(3, 2, 12), A(4, 3, 3), heads=2,
       ref=lambda x, a, heads: weighted(a, heads_of(x, heads, 3)[2]))
sample("_contrib_interleaved_matmul_encdec_qk", A(3, 2, 4), A(5, 2, 8), heads=2,
       ref=lambda q, kv, heads: scores(heads_of(q, heads, 1)[0], heads_of(kv, heads, 2)[0]))
sample("_contrib_interleaved_matmul_encdec_valatt", A(5, 2, 8), A(4, 3, 5), heads=2,
       ref=lambda kv, a, heads: weighted(a, heads_of(kv, heads, 2)[1]))
