"""Samples of :mod:`mxcore.ops.products`."""

import numpy as np

from ..sampling import A, sample


def dot(a, b, transpose_a=False, transpose_b=False):
    """The first axis of ``a`` last, the last of ``b`` first, where asked for."""
    a = np.moveaxis(a, 0, -1) if transpose_a else a
    b = np.moveaxis(b, -1, 0) if transpose_b else b
    return np.tensordot(a, b, 1)


for left, right, ta, tb in (
    ((2, 3), (3, 4), False, False), ((3, 2), (3, 4), True, False), ((2, 3), (4, 3), False, True), ((3, 2), (4, 3), True, True),
    ((3,), (3,), False, False), ((2, 3), (3,), False, False), ((3,), (3, 4), False, False), ((3, 2), (3,), True, False),
    ((2, 4, 3), (3, 5), False, False), ((2, 3), (3, 2, 2), False, False), ((3, 2, 2), (2, 2, 3), True, True),
    ((2, 2, 3), (2, 3), False, True),
):
    sample("dot", A(*left), A(*right), transpose_a=ta, transpose_b=tb, ref=dot)


def batch_dot(a, b, transpose_a=False, transpose_b=False):
    """Products of the last two axes."""
    return (np.swapaxes(a, -1, -2) if transpose_a else a) @ (np.swapaxes(b, -1, -2) if transpose_b else b)


sample("batch_dot", A(2, 3, 4), A(2, 4, 2), ref=batch_dot)
sample("batch_dot", A(2, 4, 3), A(2, 4, 2), transpose_a=True, ref=batch_dot)
sample("batch_dot", A(2, 3, 4), A(2, 2, 4), transpose_b=True, ref=batch_dot)
sample("batch_dot", A(2, 4, 3), A(2, 2, 4), transpose_a=True, transpose_b=True, ref=batch_dot)
sample("batch_dot", A(2, 2, 3, 4), A(2, 2, 4, 2), ref=batch_dot)


def dense(x, w, b=0, num_hidden=None, no_bias=False, flatten=True):
    """``x w^T + b``."""
    return (x.reshape(len(x), -1) if flatten else x) @ w.T + b


sample("FullyConnected", A(2, 3), A(4, 3), A(4), num_hidden=4, ref=dense, tags=("layer",))
sample("FullyConnected", A(2, 3), A(4, 3), num_hidden=4, no_bias=True, ref=dense, tags=("layer",))
sample("FullyConnected", A(2, 3, 2), A(4, 6), A(4), num_hidden=4, ref=dense, tags=("layer",))
sample("FullyConnected", A(2, 3, 5), A(4, 5), A(4), num_hidden=4, flatten=False, ref=dense, tags=("layer",))
sample("FullyConnected", A(2, 3, 5), A(4, 5), num_hidden=4, flatten=False, no_bias=True, ref=dense, tags=("layer",))
sample("_rows", A(2, 3, 4), ref=lambda x: x.reshape(6, 4))
