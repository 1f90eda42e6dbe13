"""Reductions over axes: sums, means, extremes, norms."""

from math import prod as product
from typing import Literal

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..registry import OPS, DType, Shape, register, rules
from .core import adjoint, constant

_F4, _F8 = np.dtype("float32"), np.dtype("float64")


def _axes(data, axis, exclude):
    return rules.normalize_axes(axis, len(data.shape), exclude)


def _shaped(xp, r, data, axes, keepdims):
    """A full reduction without keepdims has shape (1,)."""
    return xp.reshape(r, rules.reduced_shape(data.shape, axes, keepdims)) if len(axes) == len(data.shape) else r


@adjoint("_spread", view=True)
def spread(xp, data, like, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False,
           mean: bool = False):
    """A reduced array back in the shape of what was reduced (``mean``: divided by the number of elements)."""
    axes = _axes(like, axis, exclude)
    if mean:
        data = xp.astype(_divided(xp, data, product(like.shape), data.size), data.dtype)
    return xp.broadcast_to(xp.reshape(data, rules.reduced_shape(like.shape, axes, True)), like.shape)


@spread.gradient
def _(n, g):
    a = n.attrs
    back = OPS["mean" if a.mean else "sum"](g, axis=a.axis, exclude=a.exclude, keepdims=a.keepdims)
    return OPS["_reshape_to_like"](back, n.inputs[0]), None


def _half(dtype):
    """float16 and bfloat16: summed in float32 and rounded once."""
    return dtype.itemsize == 2 and dtype.kind not in "iu"


def _total(xp, data, axis, keepdims, exclude):
    if not axis and not keepdims and data.dtype.char in "fd":  # the usual: a loss
        return xp.sum(xp.reshape(data, (1, -1)), axis=1)
    axes = _axes(data, axis, exclude)
    if _half(data.dtype):
        total = xp.sum(data, axis=axes, keepdims=keepdims, dtype=_F4)
    else:
        total = xp.sum(data, axis=axes, keepdims=keepdims)
    return _shaped(xp, total, data, axes, keepdims)


def _divided(xp, total, size, parts):
    """Divided by how many elements, of ``size``, each of the ``parts`` stands for."""
    count = size // parts if size and parts else 1
    return xp.divide(total, xp.scalar(count, total.dtype)) if total.dtype.char in "fd" else total / count


def _back(n, g, mean=False):
    a = n.attrs
    key = "spread mean" if mean else "spread"
    back = a.saves.get(key)
    if back is None:
        back = a.saves[key] = spread.parse({"axis": a.axis, "keepdims": a.keepdims, "exclude": a.exclude, "mean": mean})
    return spread.on((g, n.inputs[0]), back)


@register("sum", aliases=("sum_axis", "_sparse_sum"), infer=rules.reduce)
def sum(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
    """Sum over axes (all by default; ``exclude``: over all others).

    >>> nd.sum(nd.ones((2, 3)), axis=1).asnumpy()
    array([3., 3.], dtype=float32)
    """
    total = _total(xp, data, axis, keepdims, exclude)
    return total if total.dtype == data.dtype else xp.astype(total, data.dtype)


@sum.gradient
def _(n, g):
    return _back(n, g)


def _raw_spread(xp, g, shape, attrs):
    """``_back`` on raw arrays, where the shape is at hand."""
    if g.size != 1:
        g = xp.reshape(g, rules.reduced_shape(shape, attrs["axis"], True, attrs["exclude"]))
    return xp.broadcast_to(g, shape)


def _raw_sum(node, g):
    ins, _, dev, _ = node.saved
    return (_raw_spread(dev.xp, g, ins[0].shape, node.attrs),)


sum.raw_gradient = _raw_sum


@register("mean", aliases=("_sparse_mean",), infer=rules.reduce)
def mean(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
    """Arithmetic mean over axes (of integers: truncated).

    >>> nd.mean(nd.array([1, 2, 3])).item()
    2.0
    """
    total = _total(xp, data, axis, keepdims, exclude)
    return xp.astype(_divided(xp, total, data.size, total.size), data.dtype)


@mean.gradient
def _(n, g):
    return _back(n, g, mean=True)


def _raw_mean(node, g):
    ins, _, dev, _ = node.saved
    shape = ins[0].shape
    g = _divided(dev.xp, g, product(shape), g.size)
    return (_raw_spread(dev.xp, g, shape, node.attrs),)


mean.raw_gradient = _raw_mean


@register("prod", infer=rules.reduce)
def prod(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
    """Product over axes.

    >>> nd.prod(nd.array([2, 3])).item()
    6.0
    """
    axes = _axes(data, axis, exclude)
    return _shaped(xp, xp.prod(data, axis=axes, keepdims=keepdims), data, axes, keepdims)


@prod.gradient
def _(n, g):
    x = n.inputs[0]
    return OPS["elemwise_div"](OPS["elemwise_mul"](_back(n, g), _back(n, n.out())), x)


def _extreme(name, aliases, meaning):
    @register(name, aliases=aliases, infer=rules.reduce)
    def reduce(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
        axes = _axes(data, axis, exclude)
        return _shaped(xp, getattr(xp, name)(data, axis=axes, keepdims=keepdims), data, axes, keepdims)

    reduce.doc = (f"{meaning} over axes; every element that ties gets the whole gradient.\n\n"
                  f"    >>> nd.{name}(nd.array([[1, 5], [4, 2]]), axis=0).shape\n    (2,)\n    ")

    @reduce.gradient
    def _(n, g):
        mask = OPS["_equal"](n.inputs[0], _back(n, n.out()))
        return OPS["elemwise_mul"](_back(n, g), mask)

    return reduce


max = _extreme("max", ("max_axis",), "The largest value")
min = _extreme("min", ("min_axis",), "The smallest value")


# ---------------------------------------------------------------- without nan
def _skipping_nan(name, method, neutral, meaning):
    @register(name, infer=rules.reduce)
    def reduce(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
        axes = _axes(data, axis, exclude)
        if data.dtype.kind not in "iub":
            data = xp.where(xp.isnan(data), xp.scalar(neutral, data.dtype), data)
        r = getattr(xp, method)(data, axis=axes, keepdims=keepdims)
        return _shaped(xp, r, data, axes, keepdims)

    reduce.doc = (f"{meaning} over axes; nan counts as {neutral} and has gradient 0.\n\n"
                  f"    >>> nd.{name}(nd.array([2, np.nan])).item()\n    2.0\n    ")
    return reduce


nansum = _skipping_nan("nansum", "sum", 0, "Sum")
nanprod = _skipping_nan("nanprod", "prod", 1, "Product")


@nansum.gradient
def _(n, g):
    x = n.inputs[0]
    return OPS["elemwise_mul"](_back(n, g), OPS["_equal"](x, x))


@nanprod.gradient
def _(n, g):
    x = n.inputs[0]
    each = OPS["elemwise_div"](OPS["elemwise_mul"](_back(n, g), _back(n, n.out())), x)
    return OPS["where"](OPS["_equal"](x, x), each, OPS["zeros_like"](x))


# ---------------------------------------------------------------- norms and moments
@register("norm", aliases=("_sparse_norm",), infer=rules.reduce, uniform=False,
          types=lambda a, t, n: (t, [t[0] if a.out_dtype is None else a.out_dtype]))
def norm(xp, data, *, ord: int = 2, axis: Shape | None = None, out_dtype: DType | None = None, keepdims: bool = False):
    """Norm of order 1 (sum of absolute values) or 2 (Euclidean) of vectors along ``axis``, or of all elements.

    The sum of squares is taken of values scaled by the largest, so it neither overflows nor vanishes (as in BLAS nrm2).

    >>> nd.norm(nd.array([[3, 4], [6, 8]]), axis=1).asnumpy()
    array([ 5., 10.], dtype=float32)
    """
    if ord not in (1, 2):
        raise ArgumentError(f"ord={ord}: only norms of order 1 and 2 are available")
    axes = _axes(data, axis, False)
    wide = _F8 if data.dtype.kind in "iub" else _F4 if _half(data.dtype) else data.dtype
    x = xp.abs(xp.astype(data, wide))
    if ord == 1 or x.size == 0:
        r = xp.sum(x, axis=axes, keepdims=keepdims)
    else:
        scale = xp.max(x, axis=axes, keepdims=True)
        scale = xp.where(xp.logical_and(scale > 0, xp.isfinite(scale)), scale, xp.scalar(1, x.dtype))
        x = x / scale
        r = xp.sqrt(xp.sum(x * x, axis=axes, keepdims=keepdims))
        r = r * xp.reshape(scale, r.shape)
    r = xp.astype(r, data.dtype if out_dtype is None else out_dtype)
    return _shaped(xp, r, data, axes, keepdims)


@norm.gradient
def _(n, g):
    a, x, out = n.attrs, n.inputs[0], n.out()
    if a.out_dtype is not None:
        g, out = OPS["_cast_like"](g, x), OPS["_cast_like"](out, x)
    if a.ord == 1:
        return OPS["elemwise_mul"](spread(g, x, axis=a.axis, keepdims=a.keepdims), OPS["sign"](x))
    return OPS["elemwise_mul"](spread(OPS["elemwise_div"](g, out), x, axis=a.axis, keepdims=a.keepdims), x)


@register("_square_sum", composite=True)
def square_sum(data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
    """Sum of squares over axes."""
    return sum(OPS["square"](data), axis=axis, keepdims=keepdims, exclude=exclude)


@register("moments", outputs=("output0", "output1"), composite=True)
def moments(data, *, axes: Shape | None = None, keepdims: bool = False):
    """Mean and (biased) variance over axes.

    >>> [m.asnumpy().tolist() for m in nd.moments(nd.array([[1, 3], [5, 9]]), axes=(1,))]
    [[2.0, 7.0], [1.0, 4.0]]
    """
    center = mean(data, axis=axes, keepdims=True)
    var = mean(OPS["square"](OPS["broadcast_sub"](data, center)), axis=axes, keepdims=keepdims)
    return center if keepdims else sum(center, axis=axes), var


def _unit_axes(attrs, ins):
    if attrs.mode != "instance" and ins[0] is not None and len(ins[0]) < 3:
        raise ShapeError(f"L2Normalization with mode={attrs.mode!r} needs at least 3 dimensions, got shape {ins[0]}")
    return ins, [ins[0]]


@register("L2Normalization", composite=True, infer=_unit_axes)
def l2_normalization(data, *, eps: float = 1e-10, mode: Literal["instance", "channel", "spatial"] = "instance"):
    """Vectors scaled to length 1: ``data / sqrt(sum(data**2) + eps)``.

    A vector is all of an instance (axes 1 and on), the channels at a place (axis 1), or the places of a channel (axes 2
    and on).

    >>> nd.L2Normalization(nd.array([[3, 4]])).asnumpy()
    array([[0.6, 0.8]], dtype=float32)
    """
    axis, exclude = {"instance": ((0,), True), "channel": ((1,), False), "spatial": ((0, 1), True)}[mode]
    length = sum(OPS["square"](data), axis=axis, exclude=exclude, keepdims=True)
    return OPS["broadcast_div"](data, OPS["sqrt"](OPS["_plus_scalar"](length, scalar=eps)))


# ---------------------------------------------------------------- places of extremes, running sums
def _place(name, method, meaning):
    @register(name, infer=rules.reduce)
    def place(xp, data, *, axis: int | None = None, keepdims: bool = False):
        if axis is None:
            index = getattr(xp, method)(xp.reshape(data, (-1,)), axis=0)
            index = xp.reshape(index, (1,) * (data.ndim if keepdims else 1))
        else:
            axis = rules.normalize_axis(axis, data.ndim)
            index = getattr(xp, method)(data, axis=axis)
            index = xp.reshape(index, rules.reduced_shape(data.shape, axis, keepdims))
        return xp.astype(index, data.dtype)

    place.doc = (f"Index of {meaning} along an axis (of the flat array by default), the first in a tie, in the type of "
                 f"the input.\n\n    >>> nd.{name}(nd.array([[1, 5], [4, 2]]), axis=1).shape\n    (2,)\n    ")
    place.gradient(constant)
    return place


argmax = _place("argmax", "argmax", "the largest value")
argmin = _place("argmin", "argmin", "the smallest value")


@register("argmax_channel", nograd=True, infer=lambda a, s: (s, [rules.reduced_shape(s[0], 1, False)]))
def argmax_channel(xp, data):
    """Index of the largest value along axis 1, in the type of the input.

    >>> nd.argmax_channel(nd.array([[1, 5], [4, 2]])).asnumpy()
    array([1., 0.], dtype=float32)
    """
    return argmax.fn(xp, data, axis=1)


def _cumsum_shapes(attrs, ins):
    if attrs.axis is None:
        size = rules.elements(ins[0])
        return ins, [(-1 if size is None else size,)]
    if ins[0] is not None:
        rules.normalize_axis(attrs.axis, len(ins[0]))
    return ins, [ins[0]]


def _cumsum_types(attrs, types, outputs=1):
    if attrs.dtype is not None:
        return types, [attrs.dtype]
    return types, [np.dtype("int64") if types[0] == np.dtype(bool) else types[0]]


@register("_np_cumsum", aliases=("cumsum",), infer=_cumsum_shapes, types=_cumsum_types, uniform=False)
def cumsum(xp, a, *, axis: int | None = None, dtype: DType | None = None):
    """Running sums along an axis; without one, of the flat array.

    >>> nd.cumsum(nd.array([1, 2, 3]), axis=0).asnumpy()
    array([1., 3., 6.], dtype=float32)
    """
    if axis is None:
        a, axis = xp.reshape(a, (-1,)), 0
    out = dtype or (np.dtype("int64") if a.dtype.kind == "b" else a.dtype)
    sums = xp.cumsum(xp.astype(a, _F4 if _half(out) else out), axis=rules.normalize_axis(axis, a.ndim))
    return xp.astype(sums, out)


@cumsum.gradient
def _(n, g):
    return cumsum_back(g, n.inputs[0], axis=n.attrs.axis)


@adjoint("_backward_cumsum", types=lambda a, t, n: (t, [t[1]]))
def cumsum_back(xp, data, like, *, axis: int | None = None):
    """Running sums from the end, in the shape and type of ``like``."""
    data = xp.astype(data, like.dtype)
    at = 0 if axis is None else rules.normalize_axis(axis, like.ndim)
    return xp.reshape(xp.flip(xp.cumsum(xp.flip(data, axis=at), axis=at), axis=at), like.shape)


@cumsum_back.gradient
def _(n, g):
    return OPS["_cast_like"](cumsum(g, axis=n.attrs.axis), n.inputs[0]), None
