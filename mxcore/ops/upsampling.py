"""Other sizes for feature maps: by repetition, by averages of regions, by bilinear interpolation.

The last two are separable and linear, ``y = A x B^T``: the gradient is the same with both matrices transposed.
"""

from functools import lru_cache
from math import ceil
from typing import Literal

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..registry import OPS, Shape, register, rules
from .conv import deconvolution


# ---------------------------------------------------------------- repetition
def _nearest_shapes(attrs, ins):
    data = ins[0]
    if data is None:
        return ins, [None]
    if len(ins) > 1:
        return ins, [(*data[:2], *((-1, -1) if ins[1] is None else ins[1][2:]))]
    return ins, [(*data[:2], *(-1 if d < 0 else d * attrs.scale for d in data[2:]))]


def _factors(small, large):
    if len(small) != 4 or any(b % a for a, b in zip(small[2:], large[2:], strict=True)):
        raise ShapeError(f"maps of {small} cannot be repeated to the size of {large}")
    return tuple(b // a for a, b in zip(small[2:], large[2:], strict=True))


@register("_nearest", infer=_nearest_shapes, shape_only=("like",))
def nearest(xp, data, like=None, *, scale: int = 1):
    """Every element of ``(N, C, H, W)`` repeated ``scale`` times along both axes, or to the size of ``like``."""
    n, c, h, w = data.shape
    a, b = (scale, scale) if like is None else _factors(data.shape, like.shape)
    wide = xp.broadcast_to(xp.reshape(data, (n, c, h, 1, w, 1)), (n, c, h, a, w, b))
    return xp.ascontiguousarray(xp.reshape(wide, (n, c, h * a, w * b)))


@nearest.gradient
def _(n, g):
    return [nearest_sum(g, n.inputs[0])] + [None] * (len(n.inputs) - 1)


@register("_nearest_sum", infer=rules.like_second, shape_only=("like",))
def nearest_sum(xp, data, like):
    """Sums over the places that one element of ``like`` was repeated to."""
    n, c, h, w = like.shape
    a, b = _factors(like.shape, data.shape)
    return xp.sum(xp.reshape(data, (n, c, h, a, w, b)), axis=(3, 5))


@nearest_sum.gradient
def _(n, g):
    return nearest(g, n.inputs[0]), None


def _upsampling_inputs(attrs, count):
    if attrs.sample_type == "bilinear":
        return ("data", "weight")
    return tuple(f"arg{i}" for i in range(count))


@register("UpSampling", composite=True, inputs=_upsampling_inputs)
def upsampling(*data, scale: int, num_filter: int = 0, sample_type: Literal["bilinear", "nearest"],
               multi_input_mode: Literal["concat", "sum"] = "concat", workspace: int = 512):
    """Larger feature maps.

    Parameters
    ----------
    *data : (N, C, H, W) arrays
        For ``nearest`` any number, all enlarged to ``scale`` times the size of the first, then joined along the channels
        or added up. For ``bilinear`` the data and the weight of a transposed convolution that interpolates.
    scale : int
    num_filter : int
        Channels, for ``bilinear``.
    sample_type : {"nearest", "bilinear"}
    multi_input_mode : {"concat", "sum"}
    workspace
        Accepted for MXNet's sake, without effect.

    >>> nd.UpSampling(nd.array([[[[1, 2]]]]), scale=2, sample_type="nearest").asnumpy()[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]], dtype=float32)
    """
    if sample_type == "bilinear":
        size, pad = 2 * scale - scale % 2, ceil((scale - 1) / 2)
        return deconvolution(*data, kernel=(size, size), stride=(scale, scale), pad=(pad, pad), num_filter=num_filter,
                             num_group=num_filter)
    maps = [nearest(data[0], scale=scale)]
    maps += [nearest(x, maps[0]) for x in data[1:]]
    if len(maps) == 1:
        return maps[0]
    return OPS["add_n"](*maps) if multi_input_mode == "sum" else OPS["Concat"](*maps, dim=1)


# ---------------------------------------------------------------- separable linear maps
@lru_cache(maxsize=256)
def weights(kind, size, out):
    """The matrix ``(out, size)`` that maps a line of ``size`` elements to one of ``out``.

    >>> weights("average", 4, 2)
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]])
    """
    m = np.zeros((out, size))
    if kind == "average":
        for i in range(out):
            start, stop = i * size // out, -(-(i + 1) * size // out)
            m[i, start:stop] = 1 / (stop - start)
        return m
    if kind == "corners":
        at = np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        at = np.maximum((np.arange(out) + 0.5) * (size / out if out > 1 else 0.0) - 0.5, 0)
    low = np.minimum(at.astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    rows, part = np.arange(out), at - low
    np.add.at(m, (rows, low), 1 - part)
    np.add.at(m, (rows, high), part)
    return m


def _matrices(xp, kind, small, large, dtype):
    return tuple(xp.asarray(weights(kind, a, b).astype(dtype)) for a, b in zip(small, large, strict=True))


def _maps(xp, kind, data, sizes, back):
    """``A x B^T`` for every map, or ``A^T x B``."""
    x = xp.astype(data, "float32") if data.dtype.itemsize < 4 else data
    if back:
        a, b = _matrices(xp, kind, sizes, data.shape[2:], x.dtype)
        y = xp.matmul(xp.matmul(xp.transpose(a), x), b)
    else:
        a, b = _matrices(xp, kind, data.shape[2:], sizes, x.dtype)
        y = xp.matmul(xp.matmul(a, x), xp.transpose(b))
    return xp.astype(y, data.dtype)


_KINDS = Literal["average", "corners", "centres"]


@register("_resample", infer=lambda a, s: (s, [_resampled(s[0], a.size if len(s) == 1 else s[1])]),
          shape_only=("like",))
def resample(xp, data, like=None, *, kind: _KINDS, size: Shape = ()):
    """Maps ``(N, C, H, W)`` brought to another size, that of ``like`` or ``size``."""
    return _maps(xp, kind, data, size if like is None else like.shape[2:], False)


def _resampled(data, size):
    return None if data is None or not size else (*data[:2], *size[-2:])


@resample.gradient
def _(n, g):
    return [resample_back(g, n.inputs[0], kind=n.attrs.kind)] + [None] * (len(n.inputs) - 1)


@register("_backward_resample", infer=rules.like_second, shape_only=("like",))
def resample_back(xp, dy, like, *, kind: _KINDS):
    """The transposed map of ``_resample``."""
    return _maps(xp, kind, dy, like.shape[2:], True)


@resample_back.gradient
def _(n, h):
    return resample(h, n.inputs[0], kind=n.attrs.kind), None


def _four(data, name):
    if data is not None and len(data) != 4:
        raise ShapeError(f"{name} needs data of 4 dimensions (batch, channels, height, width), got {data}")


def _adaptive_size(output_size):
    if len(output_size) > 2:
        raise ArgumentError(f"output_size={output_size} must have one or two numbers")
    return tuple(output_size) * (2 // len(output_size)) if output_size else (1, 1)


def _adaptive_shapes(attrs, ins):
    _four(ins[0], "AdaptiveAvgPooling2D")
    return ins, [_resampled(ins[0], _adaptive_size(attrs.output_size))]


@register("_contrib_AdaptiveAvgPooling2D", infer=_adaptive_shapes, composite=True)
def adaptive_avg_pooling(data, *, output_size: Shape = ()):
    """Averages over as many regions as the output has elements.

    Parameters
    ----------
    data : (N, C, H, W) array
    output_size : tuple of int
        Height and width of the output, or one number for both; 1 by default.

    >>> nd.contrib.AdaptiveAvgPooling2D(nd.ones((1, 2, 5, 7)), output_size=3).shape
    (1, 2, 3, 3)
    """
    return resample(data, kind="average", size=_adaptive_size(output_size))


_MODES = Literal["like", "odd_scale", "size", "to_even_down", "to_even_up", "to_odd_down", "to_odd_up"]


def _resized(attrs, d, name):
    """New size of an axis."""
    mode, scale = attrs["mode"], attrs[f"scale_{name}"]
    if d < 0 and (mode != "size" or scale is not None):
        return -1
    if mode == "size":
        return attrs[name] if scale is None else int(d * scale)
    if mode == "odd_scale":
        return int(d * scale) if d % 2 == 0 else int((d - 1) * scale) + 1
    parity = 0 if "even" in mode else 1
    return d if d % 2 == parity else d + (1 if mode.endswith("up") else -1)


def _resize_shapes(attrs, ins):
    data = ins[0]
    _four(data, "BilinearResize2D")
    if data is None or (attrs.mode == "like" and ins[1] is None):
        return ins, [None]
    if attrs.mode == "like":
        return ins, [(*data[:2], *ins[1][2:])]
    return ins, [(*data[:2], _resized(attrs, data[2], "height"), _resized(attrs, data[3], "width"))]


@register("_contrib_BilinearResize2D", infer=_resize_shapes, shape_only=("like",),
          inputs=lambda a: ("data", "like") if a.mode == "like" else ("data",))
def bilinear_resize(xp, data, like=None, *, height: int = 1, width: int = 1, scale_height: float | None = None,
                    scale_width: float | None = None, mode: _MODES = "size", align_corners: bool = True):
    """Feature maps of another size by bilinear interpolation.

    Parameters
    ----------
    data : (N, C, H, W) array
    like : array
        With ``mode="like"``: its height and width are those of the result.
    height, width : int
        Size of the result, unless scales are given.
    scale_height, scale_width : float, optional
        Size of the result in units of the input's.
    mode : str
        ``"size"``, ``"like"``; ``"odd_scale"``: scaled so that odd sizes stay odd; ``"to_even_down"`` and the like: the
        nearest even or odd size.
    align_corners : bool
        Whether the corners of input and output fall on each other, rather than the corners of their pixels.

    >>> nd.contrib.BilinearResize2D(nd.array([[[[0, 2]]]]), height=1, width=3).asnumpy()
    array([[[[0., 1., 2.]]]], dtype=float32)
    """
    if data.ndim != 4 or (mode == "like" and like is None):
        raise ShapeError("data must have 4 dimensions, and mode 'like' needs a second array")
    if mode == "like":
        size = like.shape[2:]
    else:
        attrs = {"mode": mode, "height": height, "width": width, "scale_height": scale_height, "scale_width": scale_width}
        size = _resized(attrs, data.shape[2], "height"), _resized(attrs, data.shape[3], "width")
    return _maps(xp, _kind(align_corners), data, size, False)


def _kind(align_corners):
    return "corners" if align_corners else "centres"


@bilinear_resize.gradient
def _(n, g):
    return [resample_back(g, n.inputs[0], kind=_kind(n.attrs.align_corners))] + [None] * (len(n.inputs) - 1)
