"""Windows of images as columns of a matrix, and back."""

from math import prod

from ..errors import ShapeError
from ..registry import Shape, register
from .window import complete, count, places, taps

_ALL = (slice(None), slice(None))


def _columns(attrs, sizes):
    stride, dilate, pad = complete(attrs.kernel, attrs.stride, attrs.dilate, attrs.pad)
    return tuple(map(count, sizes, attrs.kernel, stride, dilate, pad))


def _im2col_shapes(attrs, ins):
    data = ins[0]
    if data is None:
        return ins, [None]
    if len(data) != len(attrs.kernel) + 2:
        raise ShapeError(f"im2col needs data with {len(attrs.kernel)} spatial axes, got {data}")
    counts = _columns(attrs, data[2:])
    return ins, [(data[0], -1 if data[1] < 0 else data[1] * prod(attrs.kernel), -1 if -1 in counts else prod(counts))]


@register("im2col", infer=_im2col_shapes)
def im2col(xp, data, *, kernel: Shape, stride: Shape = (), dilate: Shape = (), pad: Shape = ()):
    """All windows of the input side by side.

    Parameters
    ----------
    data : (N, C, spatial...) array
    kernel, stride, dilate, pad : tuple of int

    Returns
    -------
    (N, C * product of kernel, number of windows) array

    >>> nd.im2col(nd.ones((1, 2, 4, 4)), kernel=(3, 3)).shape
    (1, 18, 4)
    """
    stride, dilate, pad = complete(kernel, stride, dilate, pad)
    counts = tuple(map(count, data.shape[2:], kernel, stride, dilate, pad))
    x = xp.pad(data, ((0, 0), (0, 0), *((p, p) for p in pad))) if any(pad) else data
    pieces = [xp.reshape(xp.getitem(x, _ALL + places(tap, counts, stride, dilate)), (*data.shape[:2], -1))
              for tap in taps(kernel)]
    return xp.reshape(xp.stack(pieces, axis=2), (data.shape[0], -1, prod(counts)))


@im2col.gradient
def _(n, g):
    return col2im_like(g, n.inputs[0], **n.attrs)


@register("_col2im_like", infer=lambda a, s: (s, [s[1]]), shape_only=("like",))
def col2im_like(xp, data, like, *, kernel: Shape, stride: Shape = (), dilate: Shape = (), pad: Shape = ()):
    """Columns added up at the places of their windows, in an array of the shape of ``like``."""
    return _added(xp, data, like.shape[2:], kernel, stride, dilate, pad)


@col2im_like.gradient
def _(n, h):
    return im2col(h, **n.attrs), None


def _added(xp, data, sizes, kernel, stride, dilate, pad):
    stride, dilate, pad = complete(kernel, stride, dilate, pad)
    counts = tuple(map(count, sizes, kernel, stride, dilate, pad))
    n, rows, columns = data.shape
    if rows % prod(kernel) or columns != prod(counts):
        raise ShapeError(f"{rows} rows and {columns} columns do not fit {prod(counts)} windows of {kernel}")
    parts = xp.reshape(data, (n, rows // prod(kernel), prod(kernel), *counts))
    x = xp.zeros((n, rows // prod(kernel), *(d + 2 * p for d, p in zip(sizes, pad, strict=True))), data.dtype)
    for i, tap in enumerate(taps(kernel)):
        key = _ALL + places(tap, counts, stride, dilate)
        xp.setitem(x, key, xp.getitem(x, key) + xp.getitem(parts, (slice(None), slice(None), i)))
    inside = _ALL + tuple(slice(p, p + d) for p, d in zip(pad, sizes, strict=True))
    return xp.ascontiguousarray(xp.getitem(x, inside))


def _col2im_shapes(attrs, ins):
    data = ins[0]
    if data is None:
        return ins, [None]
    channels = -1 if data[1] < 0 else data[1] // prod(attrs.kernel)
    return [(data[0], data[1], prod(_columns(attrs, attrs.output_size)))], [(data[0], channels, *attrs.output_size)]


@register("col2im", infer=_col2im_shapes)
def col2im(xp, data, *, output_size: Shape, kernel: Shape, stride: Shape = (), dilate: Shape = (), pad: Shape = ()):
    """Columns added up at the places of their windows: the transpose of :func:`im2col`.

    Parameters
    ----------
    data : (N, C * product of kernel, number of windows) array
    output_size : tuple of int
        Spatial size of the result.
    kernel, stride, dilate, pad : tuple of int

    >>> nd.col2im(nd.ones((1, 18, 4)), output_size=(4, 4), kernel=(3, 3)).shape
    (1, 2, 4, 4)
    """
    return _added(xp, data, output_size, kernel, stride, dilate, pad)


@col2im.gradient
def _(n, g):
    return im2col(g, **{k: n.attrs[k] for k in ("kernel", "stride", "dilate", "pad")})
