"""Reading and writing at places that other arrays name: take, pick, gather, scatter, one-hot, where."""

from typing import Literal

import numpy as np

from ..errors import ArgumentError, BoundsError, DTypeError, ShapeError
from ..registry import OPS, DType, Shape, register, rules
from .core import adjoint, constant

_I8 = np.dtype("int64")


def whole(xp, index):
    """Indices as integers: those given in floating point, as MXNet programs do, are truncated."""
    return index if index.dtype.kind in "iu" else xp.astype(index, _I8)


def check_range(xp, index, low, n, what):
    """Raise BoundsError unless all of ``index`` is in ``[low, n)``. (Waits for the device.)"""
    if not index.size:
        return
    outside = xp.logical_or(index < low, index >= n)
    if xp.item(xp.any(outside)):
        first = xp.getitem(index, (outside,))[:1]
        raise BoundsError(f"index {xp.item(first)} is out of bounds for {what} with size {n}")


def _fold(xp, index, n, mode):
    """Indices brought into ``[0, n)``."""
    index = whole(xp, index)
    if index.dtype.kind == "u":
        index = xp.astype(index, _I8)
    return xp.mod(index, n) if mode == "wrap" else xp.minimum(xp.maximum(index, 0), n - 1)


# ---------------------------------------------------------------- take
def _take_shapes(attrs, ins):
    a, index = ins
    if a is None:
        return ins, [None]
    axis = rules.normalize_axis(attrs.axis, len(a))
    return ins, [None if index is None else (*a[:axis], *index, *a[axis + 1:])]


TakeMode = Literal["clip", "raise", "wrap"]


@register("take", aliases=("_npi_take",), infer=_take_shapes, types=rules.first_type, uniform=False)
def take(xp, a, indices, *, axis: int = 0, mode: TakeMode = "clip"):
    """The slices of ``a`` along ``axis`` that ``indices`` name.

    Parameters
    ----------
    a : array
    indices : array of any shape, integers or whole numbers
    mode : {"clip", "wrap", "raise"}
        What an index outside of the axis means: the nearest, modulo the length, or an error.

    Returns
    -------
    array of shape ``a.shape[:axis] + indices.shape + a.shape[axis + 1:]``

    >>> nd.take(nd.array([[1, 2], [3, 4]]), nd.array([1, 5, 0])).asnumpy()
    array([[3., 4.],
           [3., 4.],
           [1., 2.]], dtype=float32)
    """
    axis, index = rules.normalize_axis(axis, a.ndim), whole(xp, indices)
    if mode == "raise":
        check_range(xp, index, 0, a.shape[axis], f"axis {axis}")
        mode = "clip"
    return xp.take(a, index, axis=axis, mode=mode)


@take.gradient
def _(n, g):
    return take_back(g, n.inputs[0], n.inputs[1], axis=n.attrs.axis, mode=n.attrs.mode), None


@adjoint("_backward_take")
def take_back(xp, data, like, indices, *, axis: int = 0, mode: TakeMode = "clip"):
    """Zeros of the shape of ``like`` with the slices of ``data`` added where :func:`take` reads them."""
    axis = rules.normalize_axis(axis, like.ndim)
    out = xp.zeros(like.shape, data.dtype)
    xp.add_at(out, (slice(None),) * axis + (_fold(xp, indices, like.shape[axis], mode),), data)
    return out


@take_back.gradient
def _(n, g):
    return take(g, n.inputs[2], axis=n.attrs.axis, mode=n.attrs.mode), None, None


def _embedding_shapes(attrs, ins):
    data, weight = ins
    weight = rules.merge(weight, (attrs.input_dim, attrs.output_dim), "weight and (input_dim, output_dim)")
    return [data, weight], [None if data is None else (*data, attrs.output_dim)]


@register("Embedding", aliases=("_npx_embedding", "_sparse_Embedding"), infer=_embedding_shapes, uniform=False,
          types=lambda a, t, n: ([t[0], t[1] or a.dtype], [t[1] or a.dtype]))
def embedding(xp, data, weight, *, input_dim: int, output_dim: int, dtype: DType = "float32",
              sparse_grad: bool = False):
    """Rows of ``weight`` for the numbers in ``data``; numbers outside of ``[0, input_dim)`` take the nearest row.

    Parameters
    ----------
    data : array of any shape, whole numbers
    weight : (input_dim, output_dim) array
    dtype : dtype
        Type of ``weight`` where nothing else says it.
    sparse_grad : bool
        Accepted; the gradient is dense.

    >>> nd.Embedding(nd.array([[1, 0]]), nd.array([[1, 2], [3, 4]]), input_dim=2, output_dim=2).asnumpy()
    array([[[3., 4.],
            [1., 2.]]], dtype=float32)
    """
    if weight.shape != (input_dim, output_dim):
        raise ValueError("weight is not (input_dim, output_dim)")
    return xp.take(weight, whole(xp, data), axis=0, mode="clip")


@embedding.gradient
def _(n, g):
    return None, take_back(g, n.inputs[1], n.inputs[0], axis=0, mode="clip")


# ---------------------------------------------------------------- pick: one element a row
PickMode = Literal["clip", "wrap"]


def _picked(shape, axis, keepdims):
    if axis is None:
        raise ArgumentError("pick needs an axis; axis=None is not supported")
    a = rules.normalize_axis(axis, len(shape))
    return a, (*shape[:a], *((1,) if keepdims else ()), *shape[a + 1:]) or (1,)


def _pick_shapes(attrs, ins):
    data, index = ins
    if data is None:
        return ins, [None]
    a, out = _picked(data, attrs.axis, attrs.keepdims)
    if index is not None:
        wide = (*data[:a], 1, *data[a + 1:])
        narrow = _picked(data, attrs.axis, False)[1]
        rules.merge(index, wide if len(index) == len(wide) else narrow, f"index and data without axis {attrs.axis}")
    return ins, [out]


def _places(xp, shape, index, axis, mode):
    return xp.reshape(_fold(xp, index, shape[axis], mode), (*shape[:axis], 1, *shape[axis + 1:]))


@register("pick", aliases=("choose_element_0index", "_npx_pick"), infer=_pick_shapes, types=rules.first_type,
          uniform=False)
def pick(xp, data, index, *, axis: int | None = -1, keepdims: bool = False, mode: PickMode = "clip"):
    """One element along ``axis`` at each place of the other axes: ``out[i] = data[i, index[i]]``.

    >>> nd.pick(nd.array([[1, 2], [3, 4]]), nd.array([1, 0])).asnumpy()
    array([2., 3.], dtype=float32)
    """
    a, out = _picked(data.shape, axis, keepdims)
    return xp.reshape(xp.take_along_axis(data, _places(xp, data.shape, index, a, mode), axis=a), out)


@pick.gradient
def _(n, g):
    return pick_back(g, n.inputs[0], n.inputs[1], axis=n.attrs.axis, mode=n.attrs.mode), None


@adjoint("_backward_pick")
def pick_back(xp, data, like, index, *, axis: int | None = -1, mode: PickMode = "clip"):
    """Zeros of the shape of ``like`` with ``data`` where :func:`pick` reads."""
    a = rules.normalize_axis(axis, like.ndim)
    places = _places(xp, like.shape, index, a, mode)
    out = xp.zeros(like.shape, data.dtype)
    xp.put_along_axis(out, places, xp.reshape(data, places.shape), axis=a)
    return out


@pick_back.gradient
def _(n, g):
    return OPS["_reshape_to_like"](pick(g, n.inputs[2], axis=n.attrs.axis, mode=n.attrs.mode), n.inputs[0]), None, None


def _batch_take_shapes(attrs, ins):
    a, index = ins
    if a is not None and len(a) != 2:
        raise ShapeError(f"batch_take reads a matrix, got shape {a}")
    return ins, [index]


@register("batch_take", composite=True, infer=_batch_take_shapes, types=rules.first_type, uniform=False)
def batch_take(a, indices):
    """One element of each row of a matrix, in the shape of ``indices``.

    >>> nd.batch_take(nd.array([[1, 2], [3, 4]]), nd.array([1, 0], dtype="int32")).asnumpy()
    array([2., 3.], dtype=float32)
    """
    return OPS["_reshape_to_like"](pick(a, indices, axis=1), indices)


def _fill_shapes(attrs, ins):
    return ins, [ins[0]]


@register("fill_element_0index", composite=True, infer=_fill_shapes)
def fill_element_0index(lhs, mhs, rhs):
    """A copy of the matrix ``lhs`` with ``mhs[i]`` at ``[i, rhs[i]]``; places outside of the matrix are skipped.

    >>> nd.fill_element_0index(nd.zeros((1, 2)), nd.array([7]), nd.array([1])).asnumpy()
    array([[0., 7.]], dtype=float32)
    """
    columns = OPS["_contrib_arange_like"](lhs, axis=1)
    here = OPS["broadcast_equal"](OPS["expand_dims"](rhs, axis=1), OPS["expand_dims"](columns, axis=0))
    return where(here, OPS["broadcast_like"](OPS["expand_dims"](mhs, axis=1), lhs), lhs)


# ---------------------------------------------------------------- one_hot
def _one_hot_shapes(attrs, ins):
    if attrs.depth < 0:
        raise ShapeError(f"depth={attrs.depth} must not be negative")
    return ins, [None if ins[0] is None else (*ins[0], attrs.depth)]


@register("one_hot", aliases=("_npx_one_hot",), infer=_one_hot_shapes, types=rules.cast, uniform=False)
def one_hot(xp, indices, *, depth: int, on_value: float = 1.0, off_value: float = 0.0, dtype: DType = "float32"):
    """A new last axis of length ``depth``: ``on_value`` at the index, ``off_value`` elsewhere.

    An index outside of ``[0, depth)`` gives a row of ``off_value``.

    >>> nd.one_hot(nd.array([1, 3]), depth=3).asnumpy()
    array([[0., 1., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    if depth < 0:
        raise ValueError("depth is negative")
    index = xp.expand_dims(whole(xp, indices), -1)
    on, off = xp.scalar(on_value, dtype), xp.scalar(off_value, dtype)
    out = xp.full((*indices.shape, depth), off, dtype=dtype)
    if depth:  # an index outside writes off_value to the nearest place
        inside = xp.logical_and(index >= 0, index < depth)
        xp.put_along_axis(out, _fold(xp, index, depth, "clip"), xp.where(inside, on, off), axis=-1)
    return out


one_hot.gradient(constant)


# ---------------------------------------------------------------- gather and scatter
def _gather_shapes(attrs, ins):
    data, index = ins
    return ins, [None if data is None or index is None else _gathered(data, index)]


def _gathered(data, index):
    """The shape of what is gathered; None while the number of rows of ``index`` is unknown."""
    if index and index[0] < 0:
        return None
    if len(index) < 2 or not 0 < index[0] <= len(data):
        raise ShapeError(f"indices need 2 or more dimensions, the first at most {len(data)} (axes of {data}): {index}")
    return (*index[1:], *data[index[0]:])


def _key(xp, indices, shape):
    """The key of arrays that the rows of ``indices`` are; they may count from the end."""
    index = whole(xp, indices)
    rows = [index[i] for i in range(index.shape[0])]
    for axis, row in enumerate(rows):
        check_range(xp, row, -shape[axis], shape[axis], f"axis {axis}")
    return tuple(rows)


@register("gather_nd", aliases=("_npi_gather_nd", "_npx_gather_nd"), infer=_gather_shapes, types=rules.first_type,
          uniform=False)
def gather_nd(xp, data, indices):
    """``out[j] = data[indices[0, j], indices[1, j], ...]``.

    Raises
    ------
    BoundsError
        An index is outside of its axis.

    >>> nd.gather_nd(nd.array([[1, 2], [3, 4]]), nd.array([[0, 1], [1, 0]])).asnumpy()
    array([2., 3.], dtype=float32)
    """
    _gathered(data.shape, indices.shape)
    return xp.getitem(data, _key(xp, indices, data.shape))


@gather_nd.gradient
def _(n, g):
    return gather_back(g, n.inputs[0], n.inputs[1]), None


@adjoint("_backward_gather_nd")
def gather_back(xp, data, like, indices):
    """Zeros of the shape of ``like`` with ``data`` added where :func:`gather_nd` reads."""
    out = xp.zeros(like.shape, data.dtype)
    xp.add_at(out, _key(xp, indices, like.shape), data)
    return out


@gather_back.gradient
def _(n, g):
    return gather_nd(g, n.inputs[2]), None, None


def _scatter_shapes(attrs, ins):
    data, index = ins
    if index is not None:
        data = rules.merge(data, _gathered(attrs.shape, index), "data and the places that indices name")
    return [data, index], [attrs.shape]


@register("scatter_nd", infer=_scatter_shapes, types=rules.first_type, uniform=False)
def scatter_nd(xp, data, indices, *, shape: Shape):
    """Zeros of ``shape`` with ``out[indices[0, j], indices[1, j], ...] = data[j]``.

    Of several values for one place the last stays.

    >>> nd.scatter_nd(nd.array([5, 6]), nd.array([[2, 0]]), shape=(3,)).asnumpy()
    array([6., 0., 5.], dtype=float32)
    """
    out = xp.zeros(shape, data.dtype)
    if data.shape != _gathered(shape, indices.shape):
        raise ValueError("data has another shape than the places")
    xp.setitem(out, _key(xp, indices, shape), data)
    return out


@scatter_nd.gradient
def _(n, g):
    return gather_nd(g, n.inputs[1]), None


def _scatter_set_shapes(attrs, ins):
    lhs, rhs, index = ins
    lhs = rules.merge(lhs, attrs.shape, "lhs and shape")
    if index is not None:
        rhs = rules.merge(rhs, _gathered(lhs, index), "rhs and the places that indices name")
    return [lhs, rhs, index], [lhs]


@register("_scatter_set_nd", aliases=("_npi_scatter_set_nd",), infer=_scatter_set_shapes, types=rules.first_type,
          uniform=False)
def scatter_set_nd(xp, lhs, rhs, indices, *, shape: Shape):
    """A copy of ``lhs`` with ``out[indices[0, j], indices[1, j], ...] = rhs[j]``."""
    if lhs.shape != shape or rhs.shape != _gathered(shape, indices.shape):
        raise ValueError("shapes do not fit")
    out = xp.copy(lhs)
    xp.setitem(out, _key(xp, indices, shape), rhs)
    return out


@scatter_set_nd.gradient
def _(n, g):
    index = n.inputs[2]
    part = gather_nd(g, index)
    return scatter_set_nd(g, OPS["zeros_like"](part), index, shape=n.attrs.shape), part, None


# ---------------------------------------------------------------- choices
def _where_shapes(attrs, ins):
    c, x, y = ins
    x = y = rules.merge(x, y, "x and y")
    if c is not None and x is not None:
        if len(c) == 1 and len(x) > 1:
            rules.merge(c, x[:1], "condition and the first axis of x")
        else:
            c = x = y = rules.merge(c, x, "condition and x")
    return [c, x, y], [x]


def _where_types(attrs, types, outputs=1):
    found, out = rules.uniform(attrs, types[1:])
    return [types[0], *found], out


@register("where", aliases=("_sparse_where",), infer=_where_shapes, types=_where_types, uniform=False)
def where(xp, condition, x, y):
    """``x`` where ``condition`` is not 0, else ``y``; a condition of one axis chooses rows.

    >>> nd.where(nd.array([1, 0]), nd.array([1, 2]), nd.array([3, 4])).asnumpy()
    array([1., 4.], dtype=float32)
    """
    if x.dtype != y.dtype:
        raise DTypeError(f"x and y must have one data type, found {x.dtype} and {y.dtype}; use astype")
    if condition.ndim == 1 and x.ndim > 1:
        condition = xp.reshape(condition, (condition.shape[0],) + (1,) * (x.ndim - 1))
        rules.merge(condition.shape[:1], x.shape[:1], "condition and the first axis of x")
    else:
        rules.merge(condition.shape, x.shape, "condition and x")
    rules.merge(x.shape, y.shape, "x and y")
    return xp.where(condition if condition.dtype.kind == "b" else xp.not_equal(condition, 0), x, y)


@where.gradient
def _(n, g):
    c, zeros = n.inputs[0], OPS["zeros_like"](g)
    return None, where(c, g, zeros), where(c, zeros, g)


def _mask_shapes(attrs, ins):
    data, index = ins
    if data is None:
        return ins, [None]
    a = rules.normalize_axis(attrs.axis, len(data))
    if index is not None:
        rules.merge(index, data[a:a + 1], f"index and axis {a} of data")
    return ins, [(*data[:a], -1, *data[a + 1:])]


def _chosen(xp, index):
    if index.ndim != 1:
        raise ShapeError(f"index must have one axis, got shape {index.shape}")
    return xp.nonzero(index)[0]


@register("_contrib_boolean_mask", aliases=("_npi_boolean_mask",), infer=_mask_shapes, types=rules.first_type,
          uniform=False)
def boolean_mask(xp, data, index, *, axis: int = 0):
    """The slices of ``data`` along ``axis`` where ``index`` is not 0. How many, only the values say.

    >>> nd.contrib.boolean_mask(nd.array([[1, 2], [3, 4]]), nd.array([0, 1])).asnumpy()
    array([[3., 4.]], dtype=float32)
    """
    if data.shape[axis] != index.shape[0]:
        raise ValueError("lengths differ")
    return xp.take(data, _chosen(xp, index), axis=axis)


@boolean_mask.gradient
def _(n, g):
    return mask_back(g, n.inputs[0], n.inputs[1], axis=n.attrs.axis), None


@adjoint("_backward_contrib_boolean_mask")
def mask_back(xp, data, like, index, *, axis: int = 0):
    """Zeros of the shape of ``like`` with ``data`` where :func:`boolean_mask` reads."""
    out = xp.zeros(like.shape, data.dtype)
    xp.setitem(out, (slice(None),) * (axis % like.ndim) + (_chosen(xp, index),), data)
    return out


@mask_back.gradient
def _(n, g):
    return boolean_mask(g, n.inputs[2], axis=n.attrs.axis), None, None


# ---------------------------------------------------------------- rows replaced
def _index_copy_shapes(attrs, ins):
    old, index, new = ins
    if index is not None and len(index) != 1:
        raise ShapeError(f"index_vector must have one axis, got shape {index}")
    if old is not None:
        rows = (-1 if index is None else index[0], *old[1:])
        new = rules.merge(new, rows, "new_tensor and the rows that it replaces")
    return [old, index, new], [old]


@register("_contrib_index_copy", infer=_index_copy_shapes, types=rules.first_type, uniform=False)
def index_copy(xp, old_tensor, index_vector, new_tensor):
    """A copy of ``old_tensor`` with ``out[index_vector[i]] = new_tensor[i]``.

    >>> nd.contrib.index_copy(nd.zeros((3, 1)), nd.array([2]), nd.array([[7]])).asnumpy()
    array([[0.],
           [0.],
           [7.]], dtype=float32)
    """
    if new_tensor.shape != (*index_vector.shape, *old_tensor.shape[1:]):
        raise ValueError("new_tensor has another shape than the rows")
    index = whole(xp, index_vector)
    check_range(xp, index, 0, old_tensor.shape[0], "axis 0")
    out = xp.copy(old_tensor)
    xp.setitem(out, (index,), new_tensor)
    return out


@index_copy.gradient
def _(n, g):
    index = n.inputs[1]
    rows = take(g, index)
    return index_copy(g, index, OPS["zeros_like"](rows)), None, rows
