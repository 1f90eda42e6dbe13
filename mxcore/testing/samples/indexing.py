"""Samples of :mod:`mxcore.ops.indexing`."""

import numpy as np

from ..sampling import A, C, I, sample


def whole(a):
    """Indices as NumPy wants them."""
    return a.astype(np.int64)


OUTSIDE = C([[-3, 0, 1], [7, 2, 3]])
INSIDE = C([[0, 2, 2], [3, 1, 0]])


def take(a, index, axis=0, mode="clip"):
    """Slices."""
    return np.take(a, whole(index), axis, mode=mode)


sample("take", A(4, 3), OUTSIDE, ref=take)
sample("take", A(4, 3), OUTSIDE, mode="wrap", ref=take)
sample("take", A(4, 3), INSIDE, mode="raise", ref=take)
sample("take", A(2, 4, 3), C([1, 1, 2]), axis=1, ref=take)
sample("take", A(2, 4), C([3, 0], dtype="int32"), axis=-1, ref=take)
sample("take", A(20, 8), I(600, high=20), order=1, ref=take)  # many enough for a special kernel of the gradient
sample("take", A(2, 20, 4), I(600, low=-5, high=25), axis=1, mode="wrap", order=1, ref=take)
sample("Embedding", INSIDE, A(4, 3), input_dim=4, output_dim=3, ref=lambda i, w, **_: w[whole(i)], tags=("layer",))
sample("Embedding", C([9, -1]), A(4, 3), input_dim=4, output_dim=3, ref=lambda i, w, **_: w[[3, 0]])


def pick(x, index, axis=-1, keepdims=False, mode="clip"):
    """One element a place."""
    index = whole(index)
    index = index if index.ndim == x.ndim else np.expand_dims(index, axis)
    index = index % x.shape[axis] if mode == "wrap" else np.clip(index, 0, x.shape[axis] - 1)
    out = np.take_along_axis(x, index, axis)
    return out if keepdims else out.squeeze(axis)


sample("pick", A(3, 4), C([1, 3, 0]), ref=pick)
sample("pick", A(3, 4), C([1, 3, 0]), keepdims=True, ref=pick)
sample("pick", A(3, 4), C([-1, 9, 0]), mode="wrap", ref=pick)
sample("pick", A(3, 4), C([-1, 9, 0]), ref=pick)
sample("pick", A(3, 4), C([1, 2, 0, 1]), axis=0, ref=pick)
sample("pick", A(2, 3, 2), I(2, 1, 2, high=3), axis=1, keepdims=True, ref=pick)
sample("batch_take", A(3, 4), C([1, 3, 0], dtype="int32"), ref=lambda x, i: x[range(3), i])


def filled(lhs, mhs, rhs):
    """One element a row replaced."""
    out = lhs.copy()
    out[range(len(out)), whole(rhs)] = mhs
    return out


sample("fill_element_0index", A(3, 4), A(3), C([1, 3, 0]), ref=filled)
sample("one_hot", C([[0, 2], [1, 3]]), depth=3, ref=lambda i, depth: np.vstack([np.eye(3), np.zeros(3)])[whole(i)])
sample("one_hot", C([1, 0]), depth=2, on_value=5, off_value=-1, dtype="int32", ref=lambda i, **_: np.array([[-1, 5], [5, -1]]))

PLACES = C([[0, 1, 1, 0], [2, 0, 2, 2]])
sample("gather_nd", A(2, 3), PLACES, ref=lambda x, i: x[tuple(whole(i))])
sample("gather_nd", A(2, 3, 4), C([[0, -1], [2, 0]]), ref=lambda x, i: x[tuple(whole(i))])
sample("gather_nd", A(3, 2), C([[2, 0]]), ref=lambda x, i: x[whole(i)[0]])
ONCE = C([[0, 1, 1], [2, 0, 2]])


def scattered(into, value, i):
    """The places replaced."""
    out = into.copy()
    out[tuple(whole(i))] = value
    return out


sample("scatter_nd", A(3), ONCE, shape=(2, 3), ref=lambda x, i, shape: scattered(np.zeros(shape), x, i))
sample("scatter_nd", A(2, 4), C([[2, 0]]), shape=(3, 4), ref=lambda x, i, shape: scattered(np.zeros(shape), x, i))
sample("_scatter_set_nd", A(2, 3), A(3), ONCE, shape=(2, 3), ref=lambda x, y, i, shape: scattered(x, y, i))

sample("where", C([[1, 0, 2], [0, 0, 1]]), A(2, 3), A(2, 3), ref=lambda c, x, y: np.where(c, x, y))
sample("where", C([1, 0]), A(2, 3), A(2, 3), ref=lambda c, x, y: np.where(c[:, None], x, y))
sample("where", C([True, False], dtype="bool"), A(2), A(2), ref=np.where)
sample("_contrib_boolean_mask", A(3, 4), C([1, 0, 1]), ref=lambda x, m: x[m != 0], tags=("dynamic",))
sample("_contrib_boolean_mask", A(3, 4), C([0, 1, 1, 0]), axis=1, ref=lambda x, m, axis: x[:, m != 0], tags=("dynamic",))
sample("_contrib_index_copy", A(4, 2), C([2, 0]), A(2, 2), ref=lambda x, i, y: scattered(x, y, i[None]))
sample("_contrib_index_array", A(2, 3), ref=lambda x: np.moveaxis(np.indices(x.shape), 0, -1))
sample("_contrib_index_array", A(2, 3, 2), axes=(-1, 0), ref=lambda x, axes: np.moveaxis(np.indices(x.shape), 0, -1)[..., [2, 0]])
sample("_contrib_arange_like", A(2, 3), ref=lambda x: np.arange(6).reshape(2, 3))
sample("_contrib_arange_like", A(2, 3), axis=-1, start=1, step=0.5, ref=lambda x, axis, start, step: start + step * np.arange(3))
sample("_contrib_arange_like", A(2, 3), repeat=2, ref=lambda x, repeat: np.arange(6).reshape(2, 3) // 2)
sample("_unravel_index", C([[5, 0], [3, 4]]), shape=(2, 3), ref=lambda i, shape: np.array(np.unravel_index(whole(i), shape)))
sample("_ravel_multi_index", C([[1, 0], [2, 1]]), shape=(2, 3), ref=lambda i, shape: np.ravel_multi_index(whole(i), shape))
sample("_ravel_multi_index", C([[1, 0], [2, 1]]), shape=(-1, 3), ref=lambda i, shape: i[0] * 3 + i[1])
