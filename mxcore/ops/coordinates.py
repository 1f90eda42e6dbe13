"""Indices as values: counts, coordinates, and places in flat arrays."""

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..registry import Shape, register, rules
from .core import constant
from .indexing import whole

_I8 = np.dtype("int64")


def _index_array_shapes(attrs, ins):
    s = ins[0]
    if s is None:
        return ins, [None]
    axes = range(len(s)) if attrs.axes is None else [rules.normalize_axis(a, len(s), "axes") for a in attrs.axes]
    return ins, [(*s, len(axes))]


@register("_contrib_index_array", infer=_index_array_shapes, types=rules.fixed_type("int64"), shape_only=("data",))
def index_array(xp, data, *, axes: Shape | None = None):
    """At each place its own indices (those of ``axes``), along a new last axis, as int64.

    >>> nd.contrib.index_array(nd.zeros((2, 2)))[1, 0].asnumpy()
    array([1, 0])
    """
    ndim, shape = data.ndim, data.shape
    chosen = range(ndim) if axes is None else [rules.normalize_axis(a, ndim, "axes") for a in axes]
    lines = []
    for a in chosen:
        line = xp.reshape(xp.arange(shape[a], dtype=_I8), (-1, *(1,) * (ndim - 1 - a)))
        lines.append(xp.broadcast_to(line, shape))
    return xp.stack(lines, axis=-1)


index_array.gradient(constant)


def _arange_like_shapes(attrs, ins):
    s = ins[0]
    if s is None or attrs.axis is None:
        return ins, [s]
    return ins, [(s[rules.normalize_axis(attrs.axis, len(s))],)]


@register("_contrib_arange_like", aliases=("_npx_arange_like",), infer=_arange_like_shapes, shape_only=("data",))
def arange_like(xp, data, *, start: float = 0.0, step: float = 1.0, repeat: int = 1, ctx: str = "",
                axis: int | None = None):
    """``start, start + step, ...``, each ``repeat`` times, in the shape of ``data``, or as long as one of its axes.

    (``ctx`` is accepted; the device is that of ``data``.)

    >>> nd.contrib.arange_like(nd.zeros((2, 3)), axis=1).asnumpy()
    array([0., 1., 2.], dtype=float32)
    """
    shape = data.shape if axis is None else (data.shape[rules.normalize_axis(axis, data.ndim)],)
    steps = xp.arange(rules.elements(shape), dtype=_I8)
    if repeat != 1:
        steps = steps // repeat
    return xp.reshape(xp.astype(start + step * steps, data.dtype), shape)


arange_like.gradient(constant)


def _strides(shape):
    out = [1]
    for d in shape[:0:-1]:
        out.append(out[-1] * d)
    return out[::-1]


def _needs_shape(shape):
    if not shape:
        raise ArgumentError("shape is needed: the shape of the array that is indexed")
    return shape


@register("_unravel_index", aliases=("unravel_index",),
          infer=lambda a, s: (s, [None if s[0] is None else (len(_needs_shape(a.shape)), *s[0])]))
def unravel_index(xp, data, *, shape: Shape | None = None):
    """Places in a flat array as indices of an array of ``shape``, one row an axis (the first ``shape`` may be -1).

    >>> nd.unravel_index(nd.array([5]), shape=(2, 3)).asnumpy()
    array([[1.],
           [2.]], dtype=float32)
    """
    index = whole(xp, data)
    rows = []
    for axis, stride in enumerate(_strides(_needs_shape(shape))):
        row = index // stride
        rows.append(row if axis == 0 else xp.mod(row, shape[axis]))
    return xp.astype(xp.stack(rows, axis=0), data.dtype)


def _ravel_shapes(attrs, ins):
    s = ins[0]
    if s is not None and s[0] not in (-1, len(_needs_shape(attrs.shape))):
        raise ShapeError(f"data needs one row for each axis of shape={attrs.shape}, got shape {s}")
    return ins, [None if s is None else s[1:] or (1,)]


@register("_ravel_multi_index", aliases=("ravel_multi_index",), infer=_ravel_shapes)
def ravel_multi_index(xp, data, *, shape: Shape | None = None):
    """Indices of an array of ``shape``, one row an axis, as places in the flat array (the first ``shape`` may be -1).

    >>> nd.ravel_multi_index(nd.array([[1], [2]]), shape=(2, 3)).asnumpy()
    array([5.], dtype=float32)
    """
    strides = _strides(_needs_shape(shape))
    if data.shape[0] != len(strides):
        raise ValueError("one row an axis")
    index = whole(xp, data)
    place = index[0] * strides[0]
    for axis in range(1, len(strides)):
        place = place + index[axis] * strides[axis]
    return xp.astype(xp.reshape(place, data.shape[1:] or (1,)), data.dtype)


unravel_index.gradient(constant)
ravel_multi_index.gradient(constant)
