"""Samples of :mod:`mxcore.ops.ordering`."""

import numpy as np

from ..sampling import A, C, sample


def flat(x, axis):
    """The array and the axis to order along."""
    return (x.ravel(), 0) if axis is None else (x, axis)


def order(x, axis, ascend):
    """Indices that sort, equal elements in the order they stand in."""
    return np.argsort(x if ascend else -x, axis, kind="stable")


def sort(x, axis=-1, is_ascend=True):
    """In order."""
    x, axis = flat(x, axis)
    return np.sort(x, axis) if is_ascend else np.flip(np.sort(x, axis), axis)


def argsort(x, axis=-1, is_ascend=True, dtype=None):
    """Indices."""
    return order(*flat(x, axis), is_ascend)


for at in ({}, {"axis": 0}, {"axis": None}, {"is_ascend": False}, {"axis": 1, "is_ascend": False}):
    sample("sort", A(2, 3, 4), ref=sort, **at)
    sample("argsort", A(2, 3, 4), ref=argsort, **at)
TIES = C([[3.0, 1, 3, 1], [2, 2, 2, 0]])
sample("argsort", TIES, dtype="int32", ref=argsort)
sample("argsort", TIES, is_ascend=False, ref=argsort)


def topk(x, axis=-1, k=1, ret_typ="indices", is_ascend=False, dtype=None):
    """The best ``k`` in order."""
    line, at = flat(x, axis)
    index = order(line, at, is_ascend).take(range(k if k > 0 else line.shape[at]), at)
    value = np.take_along_axis(line, index, at)
    if ret_typ == "mask":
        out = np.zeros_like(line)
        np.put_along_axis(out, index, 1, at)
        return out.reshape(x.shape)
    return {"indices": index, "value": value, "both": (value, index)}[ret_typ]


for kind in ("indices", "value", "both", "mask"):
    sample("topk", A(2, 5), k=2, ret_typ=kind, ref=topk)
    sample("topk", A(4, 3), k=2, axis=0, ret_typ=kind, is_ascend=True, ref=topk)
    sample("topk", TIES, k=3, ret_typ=kind, ref=topk)
sample("topk", A(2, 3), axis=None, k=4, ret_typ="both", dtype="int32", ref=topk)
sample("topk", A(2, 3), k=0, ret_typ="value", ref=topk)

ORDER = C([[2, 0, 1], [1, 2, 0]], dtype="int64")
sample("_take_along", A(2, 3), ORDER, ref=lambda x, i: np.take_along_axis(x, i, -1))
sample("_take_along", A(2, 3), C([5, 0, 2], dtype="int64"), axis=None, ref=lambda x, i, axis: x.ravel()[i])
sample("_put_along", A(2, 3), A(2, 3), ORDER, ref=lambda g, x, i: np.take_along_axis(g, np.argsort(i, -1), -1))
sample("_put_along", A(2, 1), A(2, 3), C([[2], [0]], dtype="int64"), axis=1,
       ref=lambda g, x, i, axis: np.array([[0, 0, g[0, 0]], [g[1, 0], 0, 0]]))


def shuffled(outs, x):
    """The same rows, not in the same order."""
    out, = outs
    np.testing.assert_array_equal(out[np.argsort(out[:, 0])], x[np.argsort(x[:, 0])])
    assert (out != x).any()


sample("_shuffle", A(50, 2), judge=shuffled)
DATA = C([[0.0, 1, 2.5, 4], [3, -1, 1, 5]])
sample("_histogram", DATA, bin_cnt=4, range=(0, 4), ref=lambda x, bin_cnt, range: np.histogram(x, bin_cnt, range))
sample("_histogram", DATA, C([0.0, 1, 1.5, 4]), ref=lambda x, bins: np.histogram(x, bins))
