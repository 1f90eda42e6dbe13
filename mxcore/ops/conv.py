"""Convolution and its transpose.

Three bilinear maps make a closed family, each the gradient of the others by one argument, so that every order of
derivative is again a convolution (Dumoulin & Visin, *A guide to convolution arithmetic*, 2016):

======================  ===========================  =====================================================
``_conv(x, w)``         ``y[o] = sum w[k] x[so+dk]``  the correlation itself
``_conv_data(g, w)``    ``x[so+dk] += w[k] g[o]``     its gradient by the data, which is Deconvolution
``_conv_weight(x, g)``  ``w[k] = sum x[so+dk] g[o]``  its gradient by the weight
======================  ===========================  =====================================================

Their arrays are channel-first, ``x: (N, C, ...)``, ``w: (F, C / groups, ...)``, ``g: (N, F, ...)``. ``pad=None``
centres the windows by the sizes of both sides, which is what Deconvolution does with a target shape.
"""

from typing import Literal

from ..errors import ArgumentError, ShapeError
from ..registry import OPS, Shape, register, rules
from .reduction import sum
from .window import complete, count, places, taps

_LAYOUTS = Literal["NCDHW", "NCHW", "NCW", "NDHWC", "NHWC"]


def geometry(kernel, stride, dilate, pad, large, small):
    """Stride, dilation and padding complete; ``large`` and ``small`` are the spatial sizes of x and y."""
    stride, dilate, given = complete(kernel, stride, dilate, pad or ())
    if pad is None:
        given = tuple((s * (o - 1) + d * (k - 1) + 2 - t) // 2
                      for k, s, d, o, t in zip(kernel, stride, dilate, small, large, strict=True))
    return stride, dilate, given


def counts_of(data, weight, like, kernel, stride, dilate, pad, num_group):
    """Check a convolution's arrays; its geometry and output size."""
    if data.ndim != len(kernel) + 2 or weight.shape[2:] != kernel or weight.shape[1] * num_group != data.shape[1]:
        raise ShapeError(f"data {data.shape} and weight {weight.shape} do not fit each other, kernel={kernel} and "
                         f"num_group={num_group}")
    small = None if like is None else like.shape[2:]
    stride, dilate, pad = geometry(kernel, stride, dilate, pad, data.shape[2:], small)
    if small is None:
        small = tuple(map(count, data.shape[2:], kernel, stride, dilate, pad))
    return stride, dilate, pad, small


def _wide(xp, *arrays):
    """At least float32."""
    return tuple(xp.astype(a, "float32") if a.dtype.itemsize < 4 else a for a in arrays)


def _padded(xp, data, pad):
    return xp.pad(data, ((0, 0), (0, 0), *((p, p) for p in pad))) if any(pad) else data


def _grouped(xp, a, groups):
    """``(N, C, ...)`` as ``(N, groups, C / groups, all the rest)``."""
    return xp.reshape(a, (a.shape[0], groups, a.shape[1] // groups, -1))


def _tap_weights(xp, weight, tap, groups):
    """The weights of one place of the window as a stack of matrices ``(groups, F / groups, C / groups)``."""
    w = xp.getitem(weight, (slice(None), slice(None), *tap))
    return xp.reshape(w, (groups, weight.shape[0] // groups, weight.shape[1]))


_ALL = (slice(None), slice(None))


def _conv_shapes(attrs, ins):
    data, weight = ins[:2]
    if len(ins) > 2 and ins[2] is not None:
        return ins, [ins[2]]
    if data is None or weight is None:
        return ins, [None]
    if attrs.pad is None:
        return ins, [(data[0], weight[0], *(-1 for _ in attrs.kernel))]
    stride, dilate, pad = complete(attrs.kernel, attrs.stride, attrs.dilate, attrs.pad)
    return ins, [(data[0], weight[0], *map(count, data[2:], attrs.kernel, stride, dilate, pad))]


@register("_conv", infer=_conv_shapes, shape_only=("like",))
def conv(xp, data, weight, like=None, *, kernel: Shape, stride: Shape = (), dilate: Shape = (), pad: Shape | None = (),
         num_group: int = 1):
    """The correlation of ``data`` and ``weight`` (``like`` has the shape of the result)."""
    stride, dilate, pad, small = counts_of(data, weight, like, kernel, stride, dilate, pad, num_group)
    x, w = _wide(xp, data, weight)
    x = _padded(xp, x, pad)
    y = None
    for tap in taps(kernel):
        piece = _grouped(xp, xp.getitem(x, _ALL + places(tap, small, stride, dilate)), num_group)
        term = xp.matmul(_tap_weights(xp, w, tap, num_group), piece)
        y = term if y is None else y + term
    return xp.astype(xp.reshape(y, (data.shape[0], weight.shape[0], *small)), data.dtype)


@conv.gradient
def _(n, g):
    data, weight = n.inputs[:2]
    at = _family(n.attrs)
    return (conv_data(g, weight, data, **at) if n.wants(0) else None,
            conv_weight(data, g, **at) if n.wants(1) else None, None)[: len(n.inputs)]


def _family(attrs):
    return {k: attrs[k] for k in ("kernel", "stride", "dilate", "pad", "num_group")}


def large_size(dy, like, kernel, stride, dilate, pad, adj, size):
    """Spatial size that a transposed convolution gives, and its geometry."""
    small = dy.shape[2:]
    large = like.shape[2:] if like is not None else size or None
    stride, dilate, pad = geometry(kernel, stride, dilate, pad, large, small)
    if large is None:
        large = tuple(s * (o - 1) + d * (k - 1) + 1 - 2 * p + a for s, o, d, k, p, a in
                      zip(stride, small, dilate, kernel, pad, adj or (0,) * len(kernel), strict=True))
    return stride, dilate, pad, large


def _data_shapes(attrs, ins):
    dy, weight = ins[:2]
    if len(ins) > 2 and ins[2] is not None:
        return ins, [ins[2]]
    if dy is None or weight is None:
        return ins, [None]
    return ins, [(dy[0], weight[1] * attrs.num_group, *_deconv_sizes(attrs, dy[2:], attrs.size))]


@register("_conv_data", infer=_data_shapes, shape_only=("like",))
def conv_data(xp, dy, weight, like=None, *, kernel: Shape, stride: Shape = (), dilate: Shape = (),
              pad: Shape | None = (), num_group: int = 1, adj: Shape = (), size: Shape = ()):
    """Gradient of ``_conv`` by its data; the size follows from ``like``, or ``size``, or the geometry and ``adj``."""
    stride, dilate, pad, large = large_size(dy, like, kernel, stride, dilate, pad, adj, size)
    small = dy.shape[2:]
    g, w = _wide(xp, dy, weight)
    g = _grouped(xp, g, num_group)
    channels = weight.shape[1] * num_group
    # what the windows reach may end before the padded input does, or behind it
    reach = tuple(max(t + 2 * p, s * (o - 1) + d * (k - 1) + 1)
                  for t, p, s, o, d, k in zip(large, pad, stride, small, dilate, kernel, strict=True))
    x = xp.zeros((dy.shape[0], channels, *reach), g.dtype)
    for tap in taps(kernel):
        term = xp.matmul(xp.swapaxes(_tap_weights(xp, w, tap, num_group), 1, 2), g)
        key = _ALL + places(tap, small, stride, dilate)
        xp.setitem(x, key, xp.getitem(x, key) + xp.reshape(term, (dy.shape[0], channels, *small)))
    x = xp.getitem(x, _ALL + tuple(slice(p, p + t) for p, t in zip(pad, large, strict=True)))
    return xp.astype(xp.ascontiguousarray(x), dy.dtype)


@conv_data.gradient
def _(n, h):
    dy, weight = n.inputs[:2]
    at = _family(n.attrs)
    return (conv(h, weight, dy, **at) if n.wants(0) else None,
            conv_weight(h, dy, **at) if n.wants(1) else None, None)[: len(n.inputs)]


def _weight_shapes(attrs, ins):
    data, dy = ins
    if data is None or dy is None:
        return ins, [None]
    return ins, [(dy[1], data[1] // attrs.num_group if data[1] >= 0 else -1, *attrs.kernel)]


@register("_conv_weight", infer=_weight_shapes)
def conv_weight(xp, data, dy, *, kernel: Shape, stride: Shape = (), dilate: Shape = (), pad: Shape | None = (),
                num_group: int = 1):
    """Gradient of ``_conv`` by its weight."""
    small = dy.shape[2:]
    stride, dilate, pad = geometry(kernel, stride, dilate, pad, data.shape[2:], small)
    x, g = _wide(xp, data, dy)
    x, g = _padded(xp, x, pad), _grouped(xp, g, num_group)
    terms = []
    for tap in taps(kernel):
        piece = _grouped(xp, xp.getitem(x, _ALL + places(tap, small, stride, dilate)), num_group)
        terms.append(xp.sum(xp.matmul(g, xp.swapaxes(piece, 2, 3)), axis=0))
    w = xp.stack(terms, axis=-1)
    return xp.astype(xp.reshape(w, (dy.shape[1], data.shape[1] // num_group, *kernel)), data.dtype)


@conv_weight.gradient
def _(n, h):
    data, dy = n.inputs
    at = _family(n.attrs)
    return conv_data(dy, h, data, **at) if n.wants(0) else None, conv(data, h, dy, **at) if n.wants(1) else None


# ---------------------------------------------------------------- the public operators
def _channel_last(layout):
    return layout is not None and layout[-1] == "C"


def _first(shape, last):
    return shape if shape is None or not last else (shape[0], shape[-1], *shape[1:-1])


def _last(shape, last):
    return shape if shape is None or not last else (shape[0], *shape[2:], shape[1])


def _check_layout(attrs, data):
    dims = len(attrs.kernel)
    if not 1 <= dims <= 3:
        raise ShapeError(f"kernel={attrs.kernel} must have 1, 2 or 3 axes")
    if attrs.layout is not None and len(attrs.layout) != dims + 2:
        raise ArgumentError(f"layout {attrs.layout} does not go with a kernel of {dims} axes")
    if data is not None and len(data) != dims + 2:
        raise ShapeError(f"data must have {dims + 2} dimensions (batch, channels and the {dims} of kernel="
                         f"{attrs.kernel}), got {data}")


def _channels(attrs, weight, outer, inner, name):
    """Weight shape ``(outer, inner / groups, *kernel)`` as far as known."""
    groups = attrs.num_group
    if attrs.num_filter % groups or (name == "data" and inner >= 0 and inner % groups):
        raise ShapeError(f"num_filter={attrs.num_filter} and the {inner} channels of data must be divisible by "
                         f"num_group={groups}")
    expected = (outer, inner // groups if inner >= 0 else -1, *attrs.kernel)
    return rules.merge(weight, expected, "weight and what data, num_filter, num_group and kernel ask for")


def _convolution_shapes(attrs, ins):
    data, weight, *bias = ins
    last = _channel_last(attrs.layout)
    _check_layout(attrs, data)
    x, w = _first(data, last), _first(weight, last)
    stride, dilate, pad = complete(attrs.kernel, attrs.stride, attrs.dilate, attrs.pad)
    w = _channels(attrs, w, attrs.num_filter, -1 if x is None else x[1], "data")
    out = None if x is None else (x[0], attrs.num_filter, *map(count, x[2:], attrs.kernel, stride, dilate, pad))
    bias = [rules.merge(b, (attrs.num_filter,), "bias and (num_filter,)") for b in bias]
    return [data, _last(w, last), *bias], [_last(out, last)]


def _without_bias(attrs):
    return ("data", "weight") if attrs.no_bias else ("data", "weight", "bias")


def _apply(xp, kernel, data, weight, bias, last):
    """Run a channel-first kernel on arrays of either layout, and add the bias."""
    if last:
        data, weight = _to_first(xp.transpose, data), _to_first(xp.transpose, weight)
    y = kernel(data, weight)
    if bias is not None:
        y = xp.add(y, xp.reshape(bias, (-1,) + (1,) * (y.ndim - 2)))
    return xp.ascontiguousarray(xp.transpose(y, (0, *range(2, y.ndim), 1))) if last else y


def _to_first(transpose, a):
    return transpose(a, (0, a.ndim - 1, *range(1, a.ndim - 1)))


@register("Convolution", aliases=("_npx_convolution", "Convolution_v1"), infer=_convolution_shapes,
          inputs=_without_bias)
def convolution(xp, data, weight, bias=None, *, kernel: Shape, stride: Shape = (), dilate: Shape = (), pad: Shape = (),
                num_filter: int, num_group: int = 1, workspace: int = 1024, no_bias: bool = False,
                cudnn_tune: Literal["fastest", "limited_workspace", "off"] | None = None, cudnn_off: bool = False,
                layout: _LAYOUTS | None = None):
    """Convolution (strictly: correlation) over 1, 2 or 3 spatial axes.

    ``y[n, f, o] = bias[f] + sum over c, k of weight[f, c, k] x[n, c, stride * o + dilate * k - pad]``; an axis of size
    ``d`` becomes ``(d + 2 pad - dilate (kernel - 1) - 1) // stride + 1``.

    Parameters
    ----------
    data : (N, C, spatial...) array
        Or channel-last, when ``layout`` says so.
    weight : (num_filter, C / num_group, kernel...) array
        With a channel-last layout ``(num_filter, kernel..., C / num_group)``.
    bias : (num_filter,) array
        Absent with ``no_bias``.
    kernel, stride, dilate, pad : tuple of int
        One number a spatial axis.
    num_filter, num_group : int
        Output channels; groups of channels that do not mix.
    layout : str, optional
        ``"NCW"``, ``"NCHW"``, ``"NCDHW"`` (the defaults), ``"NHWC"`` or ``"NDHWC"``.
    workspace, cudnn_tune, cudnn_off
        Accepted for MXNet's sake, without effect.

    Raises
    ------
    ShapeError
        The window exceeds the padded input, or channels, groups and weight do not fit.

    >>> nd.Convolution(nd.ones((1, 1, 4, 4)), nd.ones((2, 1, 3, 3)), nd.zeros(2), kernel=(3, 3), num_filter=2).shape
    (1, 2, 2, 2)
    """
    if weight.shape[0] != num_filter:
        raise ShapeError(f"weight {weight.shape} has not num_filter={num_filter} rows")
    at = {"kernel": kernel, "stride": stride, "dilate": dilate, "pad": pad, "num_group": num_group}
    return _apply(xp, lambda x, w: conv(x, w, **at), data, weight, None if no_bias else bias, _channel_last(layout))


def _moved(n, *arrays):
    """Arrays of the call's layout as channel-first."""
    if not _channel_last(n.attrs.layout):
        return arrays
    dims = len(n.attrs.kernel)
    order = (0, dims + 1, *range(1, dims + 1))
    return [None if a is None else OPS["transpose"](a, axes=order) for a in arrays]  # None: the tape did not keep it


def _back(n, *grads):
    if _channel_last(n.attrs.layout):
        order = (0, *range(2, len(n.attrs.kernel) + 2), 1)
        grads = [None if g is None else OPS["transpose"](g, axes=order) for g in grads]
    return list(grads)


convolution.backwards(rules.batch)


@convolution.gradient
def _(n, g):
    at = _family(n.attrs)
    g, data, weight = _moved(n, g, *n.inputs[:2])
    grads = _back(n, conv_data(g, weight, data, **at) if n.wants(0) else None,
                  conv_weight(data, g, **at) if n.wants(1) else None)
    if len(n.inputs) > 2:
        grads.append(sum(g, axis=(1,), exclude=True) if n.wants(2) else None)
    return grads


def _deconv_sizes(attrs, small, target):
    if target:
        return target
    stride, dilate, pad = complete(attrs.kernel, attrs.stride, attrs.dilate, attrs.pad or ())
    adj = attrs.adj or (0,) * len(attrs.kernel)
    return tuple(-1 if o < 0 else s * (o - 1) + d * (k - 1) + 1 - 2 * p + a
                 for o, s, d, k, p, a in zip(small, stride, dilate, attrs.kernel, pad, adj, strict=True))


def _deconvolution_shapes(attrs, ins):
    data, weight, *bias = ins
    last = _channel_last(attrs.layout)
    _check_layout(attrs, data)
    x, w = _first(data, last), _first(weight, last)
    w = _channels(attrs, w, -1 if x is None else x[1], attrs.num_filter, "num_filter")
    out = None
    if x is not None:
        target = attrs.target_shape if any(attrs.target_shape) else ()
        sizes = _deconv_sizes(attrs, x[2:], target)
        stride, dilate, _ = complete(attrs.kernel, attrs.stride, attrs.dilate, ())
        for t, o, s, d, k in zip(target, x[2:], stride, dilate, attrs.kernel, strict=False):
            reach = s * (o - 1) + d * (k - 1) + 1
            if o >= 0 and t > reach:
                raise ShapeError(f"target_shape={target} is too large: {o} elements reach {reach}")
        if any(a >= s for a, s in zip(attrs.adj, stride, strict=False)) and not target:
            raise ShapeError(f"adj={attrs.adj} must be smaller than stride={stride}")
        if any(o >= 0 and t <= 0 for o, t in zip(x[2:], sizes, strict=True)):
            raise ShapeError(f"pad={attrs.pad} leaves nothing of the output: {sizes}")
        out = (x[0], attrs.num_filter, *sizes)
    bias = [rules.merge(b, (attrs.num_filter,), "bias and (num_filter,)") for b in bias]
    return [data, _last(w, last), *bias], [_last(out, last)]


def _deconv_family(attrs):
    at = _family(attrs)
    if any(attrs.target_shape):
        at["pad"] = None
    return at


@register("Deconvolution", aliases=("_npx_deconvolution",), infer=_deconvolution_shapes, inputs=_without_bias)
def deconvolution(xp, data, weight, bias=None, *, kernel: Shape, stride: Shape = (), dilate: Shape = (),
                  pad: Shape = (), adj: Shape = (), target_shape: Shape = (), num_filter: int, num_group: int = 1,
                  workspace: int = 512, no_bias: bool = True,
                  cudnn_tune: Literal["fastest", "limited_workspace", "off"] | None = None,
                  cudnn_off: bool = False, layout: _LAYOUTS | None = None):
    """Transposed convolution: what maps the output gradient of a convolution to that of its data.

    An axis of size ``o`` becomes ``stride (o - 1) + dilate (kernel - 1) + 1 - 2 pad + adj``.

    Parameters
    ----------
    data : (N, C, spatial...) array
    weight : (C, num_filter / num_group, kernel...) array
    bias : (num_filter,) array
        Absent with ``no_bias``, which is the default here.
    adj : tuple of int
        Added to the size of the output, less than ``stride``.
    target_shape : tuple of int
        Size of the output; ``pad`` and ``adj`` follow from it then.
    kernel, stride, dilate, pad, num_filter, num_group, layout
        As in ``Convolution``.

    >>> nd.Deconvolution(nd.ones((1, 2, 3, 3)), nd.ones((2, 4, 2, 2)), kernel=(2, 2), stride=(2, 2), num_filter=4).shape
    (1, 4, 6, 6)
    """
    last = _channel_last(layout)
    size = target_shape if any(target_shape) else ()
    channels, filters = (-1, 0) if last else (1, 1)
    if weight.shape[0] != data.shape[channels] or weight.shape[-1 if last else filters] * num_group != num_filter:
        raise ShapeError("channels of data, num_filter and weight do not fit")
    if not size and any(a >= s for a, s in zip(adj, stride or (1,) * len(kernel), strict=False)):
        raise ShapeError(f"adj={adj} must be smaller than stride={stride}")
    at = {"kernel": kernel, "stride": stride, "dilate": dilate, "pad": None if size else pad, "num_group": num_group,
          "adj": adj, "size": size}
    return _apply(xp, lambda x, w: conv_data(x, w, **at), data, weight, None if no_bias else bias, last)


@deconvolution.gradient
def _(n, g):
    at = _deconv_family(n.attrs)
    g, data, weight = _moved(n, g, *n.inputs[:2])
    grads = _back(n, conv(g, weight, data, **at) if n.wants(0) else None,
                  conv_weight(g, data, **at) if n.wants(1) else None)
    if len(n.inputs) > 2:
        grads.append(sum(g, axis=(1,), exclude=True) if n.wants(2) else None)
    return grads
