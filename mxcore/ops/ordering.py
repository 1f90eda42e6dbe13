"""Order: sort, argsort, topk, shuffle, histogram."""

from typing import Literal

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..registry import DType, Floats, register, rules
from .core import adjoint, constant

_F8, _I8 = np.dtype("float64"), np.dtype("int64")


def _line(xp, data, axis):
    """The array and the axis to order along; without an axis the flat array."""
    if axis is None:
        return xp.reshape(data, (-1,)), 0
    return data, rules.normalize_axis(axis, data.ndim)


def _top(xp, data, count, axis, ascend):
    """Indices of the ``count`` first elements in order."""
    if count < data.shape[axis]:
        return xp.argtop(data, count, axis=axis, largest=not ascend)
    return _order(xp, data, axis, ascend)


def _order(xp, data, axis, ascend):
    """Indices that sort along ``axis``; equal elements keep their order, also descending."""
    if ascend:
        return xp.argsort(data, axis=axis)
    return data.shape[axis] - 1 - xp.flip(xp.argsort(xp.flip(data, axis=axis), axis=axis), axis=axis)


def _sorted_shapes(attrs, ins):
    s = ins[0]
    if s is None or attrs.axis is not None:
        if s is not None:
            rules.normalize_axis(attrs.axis, len(s))
        return ins, [s]
    size = rules.elements(s)
    return ins, [(-1 if size is None else size,)]


# ---------------------------------------------------------------- elements along an axis, and back
@register("_take_along", types=rules.first_type, uniform=False, infer=rules.like_second)
def take_along(xp, data, index, *, axis: int | None = -1):
    """``out[i, j] = data[i, index[i, j]]`` along ``axis``; without an axis of the flat array."""
    data, axis = _line(xp, data, axis)
    return xp.take_along_axis(data, index, axis=axis)


@take_along.gradient
def _(n, g):
    return put_along(g, n.inputs[0], n.inputs[1], axis=n.attrs.axis), None


@adjoint("_put_along")
def put_along(xp, data, like, index, *, axis: int | None = -1):
    """Zeros of the shape of ``like`` with ``data`` where :func:`take_along` reads (each place once)."""
    out = xp.zeros(like.shape, data.dtype)
    flat, axis = _line(xp, out, axis)
    xp.put_along_axis(flat, index, data, axis=axis)
    return xp.reshape(flat, like.shape)


@put_along.gradient
def _(n, g):
    return take_along(g, n.inputs[2], axis=n.attrs.axis), None, None


# ---------------------------------------------------------------- sort
@register("sort", aliases=("_npi_sort",), infer=_sorted_shapes, outputs=("output0",))
def sort(xp, data, *, axis: int | None = -1, is_ascend: bool = True):
    """The elements in order along an axis (without one, those of the flat array).

    >>> nd.sort(nd.array([3, 1, 2]), is_ascend=False).asnumpy()
    array([3., 2., 1.], dtype=float32)
    """
    data, axis = _line(xp, data, axis)
    r = xp.sort(data, axis=axis)
    return r if is_ascend else xp.copy(xp.flip(r, axis=axis))


@sort.gradient
def _(n, g):
    x, a = n.inputs[0], n.attrs
    return put_along(g, x, argsort(x, axis=a.axis, is_ascend=a.is_ascend, dtype="int64"), axis=a.axis)


@register("argsort", aliases=("_npi_argsort",), infer=_sorted_shapes, types=rules.cast, uniform=False)
def argsort(xp, data, *, axis: int | None = -1, is_ascend: bool = True, dtype: DType = "float32"):
    """The indices that sort along an axis, as ``dtype``; equal elements keep their order.

    >>> nd.argsort(nd.array([3, 1, 2])).asnumpy()
    array([1., 2., 0.], dtype=float32)
    """
    data, axis = _line(xp, data, axis)
    return xp.astype(_order(xp, data, axis, is_ascend), dtype)


argsort.gradient(constant)


# ---------------------------------------------------------------- topk
def _count(shape, axis, k):
    n = shape[axis]
    if 0 <= n < k:
        raise ShapeError(f"k={k} elements of axis {axis} of {shape}: it has only {n}")
    return k if k > 0 else n


def _topk_outputs(attrs, count):
    return {"value": ("output0", "index"), "both": ("output0", "output1", "index")}.get(attrs.ret_typ, ("output",))


def _topk_shapes(attrs, ins):
    s, count = ins[0], len(_topk_outputs(attrs, 1))
    if s is None or attrs.ret_typ == "mask":
        return ins, [s] * count
    axis = 0 if attrs.axis is None else rules.normalize_axis(attrs.axis, len(s))
    if attrs.axis is None:
        size = rules.elements(s)
        s = (-1 if size is None else size,)
    return ins, [(*s[:axis], _count(s, axis, attrs.k), *s[axis + 1:])] * count


def _topk_types(attrs, types, outputs=1):
    found = {"value": [types[0], _I8], "both": [types[0], attrs.dtype, _I8], "mask": [types[0]]}
    return types, found.get(attrs.ret_typ, [attrs.dtype])


@register("topk", aliases=("_npx_topk",), infer=_topk_shapes, types=_topk_types, uniform=False, outputs=_topk_outputs,
          visible=lambda a: 2 if a.ret_typ == "both" else 1)
def topk(xp, data, *, axis: int | None = -1, k: int = 1,
         ret_typ: Literal["both", "indices", "mask", "value"] = "indices", is_ascend: bool = False,
         dtype: DType = "float32"):
    """The ``k`` largest (``is_ascend``: smallest) elements along an axis, in order; equal ones in that of their places.

    Parameters
    ----------
    axis : int or None
        None: of the flat array.
    k : int
        0 or less: all.
    ret_typ : {"indices", "value", "both", "mask"}
        Their indices (as ``dtype``), values, values and indices, or 1 where they stand in ``data`` and 0 elsewhere.

    >>> nd.topk(nd.array([[3, 1, 2]]), k=2, ret_typ="value").asnumpy()
    array([[3., 2.]], dtype=float32)
    """
    line, axis = _line(xp, data, axis)
    count = _count(line.shape, axis, k)
    index = _top(xp, line, count, axis, is_ascend)
    if ret_typ == "indices":
        return xp.astype(index, dtype)
    if ret_typ == "mask":
        out = xp.zeros(line.shape, data.dtype)
        xp.put_along_axis(out, index, xp.scalar(1, data.dtype), axis=axis)
        return xp.reshape(out, data.shape)
    value = xp.take_along_axis(line, index, axis=axis)
    return (value, index) if ret_typ == "value" else (value, xp.astype(index, dtype), index)


@topk.gradient
def _(n, *heads):
    kind = n.attrs.ret_typ
    if kind in ("indices", "mask"):
        return None
    return put_along(heads[0], n.inputs[0], n.out(1 if kind == "value" else 2), axis=n.attrs.axis)


# ---------------------------------------------------------------- shuffle, histogram
@register("_shuffle", aliases=("shuffle", "_npi_shuffle"), infer=rules.same, nograd=True)
def shuffle(xp, data, *, rng):
    """The slices along the first axis in random order, all orders equally likely.

    >>> sorted(nd.shuffle(nd.array([1, 2, 3])).asnumpy().tolist())
    [1.0, 2.0, 3.0]
    """
    return xp.take(data, rng.permutation(data.shape[0]), axis=0)


def _histogram_shapes(attrs, ins):
    if attrs.bin_cnt is not None:
        return ins, [(attrs.bin_cnt,), (attrs.bin_cnt + 1,)]
    edges = ins[1] if len(ins) > 1 else None
    return ins, [None if edges is None else (edges[0] - 1 if edges[0] > 0 else -1,), edges]


@register("_histogram", aliases=("_npi_histogram",), infer=_histogram_shapes, types=lambda a, t, n: (t, [_I8, t[0]]),
          outputs=("output0", "output1"), nograd=True,
          inputs=lambda a: ("data", "bins") if a.bin_cnt is None else ("data",))
def histogram(xp, data, bins=None, *, bin_cnt: int | None = None, range: Floats | None = None):
    """How many elements fall into each bin, as int64, and the edges of the bins.

    The edges are ``bins``, or ``bin_cnt`` equal bins over ``range``. A bin holds its lower edge but not its upper one;
    the last holds both. What lies outside is not counted.
    """
    values = xp.reshape(data, (-1,))
    if bin_cnt is None:
        count = bins.shape[0] - 1
        place = xp.searchsorted(bins, values, side="right") - 1
        place = xp.where(xp.equal(values, bins[count]), count - 1, place)
        inside = xp.logical_and(place >= 0, place < count)
    else:
        if range is None or len(range) != 2 or bin_cnt < 1 or not range[0] < range[1]:
            raise ArgumentError(f"bin_cnt={bin_cnt} bins need a range (low, high), got {range}")
        count, (low, high) = bin_cnt, range
        bins = xp.astype(xp.linspace(low, high, count + 1), data.dtype)
        inside = xp.logical_and(values >= bins[0], values <= bins[count])
        guess = (xp.astype(xp.where(inside, values, bins[0]), _F8) - low) * (count / (high - low))
        place = xp.minimum(xp.astype(guess, _I8), count - 1)
        # a rounded guess may be one bin off: the edges decide
        place = place - xp.astype(values < xp.take(bins, place, axis=0), _I8)
        above = xp.logical_and(values >= xp.take(bins, place + 1, axis=0), place < count - 1)
        place = place + xp.astype(above, _I8)
    counts = xp.bincount(xp.where(inside, place, count), minlength=count + 1)
    return xp.astype(counts[:count], _I8), xp.copy(bins)
