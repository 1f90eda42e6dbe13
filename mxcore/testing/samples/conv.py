"""Samples of :mod:`mxcore.ops.conv`: references are sums over windows, place by place."""

from itertools import product

import numpy as np

from ..sampling import A, sample

LAST = ("NHWC", "NDHWC", "NWC")


def full(n, stride=(), dilate=(), pad=()):
    """Attributes with their defaults."""
    return stride or (1,) * n, dilate or (1,) * n, pad or (0,) * n


def first(a, layout):
    """Channels first."""
    return np.moveaxis(a, -1, 1) if layout in LAST else a


def last(a, layout):
    """Channels where the layout has them."""
    return np.moveaxis(a, 1, -1) if layout in LAST else a


def windows(large, small, kernel, stride, dilate, pad):
    """(output place, kernel place, input place) that belong together."""
    for o in product(*map(range, small)):
        for k in product(*map(range, kernel)):
            i = tuple(a * s + b * d - p for a, s, b, d, p in zip(o, stride, k, dilate, pad, strict=True))
            if all(0 <= a < n for a, n in zip(i, large, strict=True)):
                yield o, k, i


def groups(n, count):
    """Slices of channels."""
    return [slice(g * n // count, (g + 1) * n // count) for g in range(count)]


def convolution(x, w, b=None, kernel=(), stride=(), dilate=(), pad=(), num_filter=0, num_group=1, layout=None, **_):
    """Correlation."""
    x, w = first(x, layout), first(w, layout)
    stride, dilate, pad = full(len(kernel), stride, dilate, pad)
    small = [(n + 2 * p - d * (k - 1) - 1) // s + 1
             for n, p, d, k, s in zip(x.shape[2:], pad, dilate, kernel, stride, strict=True)]
    y = np.zeros((len(x), len(w), *small))
    for o, k, i in windows(x.shape[2:], small, kernel, stride, dilate, pad):
        for f, c in zip(groups(len(w), num_group), groups(x.shape[1], num_group), strict=True):
            y[(slice(None), f, *o)] += x[(slice(None), c, *i)] @ w[(f, slice(None), *k)].T
    return last(y if b is None else y + b.reshape(-1, *[1] * len(kernel)), layout)


def transposed(g, w, b=None, kernel=(), stride=(), dilate=(), pad=(), adj=(), target_shape=(), num_filter=0, num_group=1,
               layout=None, **_):
    """The transpose of correlation."""
    g, w = first(g, layout), first(w, layout)
    stride, dilate, pad = full(len(kernel), stride, dilate, pad)
    reach = [s * (o - 1) + d * (k - 1) + 1 for s, o, d, k in zip(stride, g.shape[2:], dilate, kernel, strict=True)]
    large = target_shape or [r - 2 * p + a for r, p, a in zip(reach, pad, adj or (0,) * len(kernel), strict=True)]
    if target_shape:
        pad = [(r - t + 1) // 2 for r, t in zip(reach, target_shape, strict=True)]
    x = np.zeros((len(g), num_filter, *large))
    for o, k, i in windows(large, g.shape[2:], kernel, stride, dilate, pad):
        for f, c in zip(groups(g.shape[1], num_group), groups(num_filter, num_group), strict=True):
            x[(slice(None), c, *i)] += g[(slice(None), f, *o)] @ w[(f, slice(None), *k)]
    return last(x if b is None else x + b.reshape(-1, *[1] * len(kernel)), layout)


for data, weight, at in (
    ((2, 3, 5), (4, 3, 3), {"kernel": (3,)}),
    ((2, 2, 6), (2, 1, 2), {"kernel": (2,), "stride": (2,), "pad": (1,), "dilate": (2,), "num_group": 2, "layout": "NCW"}),
    ((2, 3, 4, 5), (2, 3, 3, 2), {"kernel": (3, 2)}),
    ((1, 2, 5, 6), (4, 1, 3, 3), {"kernel": (3, 3), "stride": (2, 1), "pad": (1, 2), "num_group": 2, "layout": "NCHW"}),
    ((1, 2, 6, 5), (3, 2, 2, 2), {"kernel": (2, 2), "dilate": (3, 2), "pad": (1, 0)}),
    ((2, 4, 3, 3), (4, 1, 1, 1), {"kernel": (1, 1), "num_group": 4}),
    ((2, 4, 5, 3), (2, 3, 2, 3), {"kernel": (3, 2), "pad": (1, 1), "stride": (2, 2), "layout": "NHWC"}),
    ((1, 3, 4, 4), (2, 2, 2, 2), {"kernel": (2, 2), "num_group": 2, "layout": "NHWC"}),
    ((1, 2, 3, 3, 4), (3, 2, 2, 2, 2), {"kernel": (2, 2, 2), "pad": (1, 0, 0), "layout": "NCDHW"}),
    ((1, 3, 3, 3, 2), (2, 2, 2, 2, 2), {"kernel": (2, 2, 2), "layout": "NDHWC"}),
):
    count = weight[0]
    for bias in (False, True):
        sample("Convolution", A(*data), A(*weight), *([A(count)] if bias else []), num_filter=count, no_bias=not bias, **at,
               ref=convolution, tags=("layer",))

for data, weight, filters, at in (
    ((2, 3, 4), (3, 2, 3), 2, {"kernel": (3,)}),
    ((1, 4, 3), (4, 1, 2), 2, {"kernel": (2,), "stride": (3,), "adj": (2,), "pad": (1,), "num_group": 2, "layout": "NCW"}),
    ((2, 3, 3, 2), (3, 2, 2, 3), 2, {"kernel": (2, 3), "stride": (2, 1)}),
    ((1, 2, 3, 3), (2, 2, 3, 3), 4, {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "adj": (1, 1), "num_group": 2,
                                     "layout": "NCHW"}),
    ((1, 2, 3, 3), (2, 2, 3, 3), 2, {"kernel": (3, 3), "stride": (2, 2), "target_shape": (6, 6)}),
    ((1, 2, 3, 3), (2, 2, 2, 2), 2, {"kernel": (2, 2), "dilate": (2, 3), "pad": (1, 0)}),
    ((1, 3, 3, 2), (2, 2, 2, 3), 3, {"kernel": (2, 2), "stride": (2, 1), "layout": "NHWC"}),
    ((1, 2, 2, 2, 2), (2, 2, 2, 2, 2), 2, {"kernel": (2, 2, 2), "stride": (1, 2, 1), "layout": "NCDHW"}),
    ((1, 2, 2, 2, 2), (2, 2, 2, 2, 2), 2, {"kernel": (2, 2, 2), "layout": "NDHWC"}),
):
    for bias in (False, True):
        sample("Deconvolution", A(*data), A(*weight), *([A(filters)] if bias else []), num_filter=filters, no_bias=not bias,
               **at, ref=transposed, tags=("layer",))

GEOMETRY = {"kernel": (3, 2), "stride": (2, 1), "dilate": (1, 2), "pad": (1, 0), "num_group": 2}
DATA, WEIGHT, OUT = A(2, 4, 5, 4), A(2, 2, 3, 2), A(2, 2, 3, 2)
sample("_conv", DATA, WEIGHT, **GEOMETRY, ref=convolution)
sample("_conv", DATA, WEIGHT, OUT, **GEOMETRY, ref=lambda x, w, like, **at: convolution(x, w, **at))
sample("_conv", A(1, 2, 6, 6), A(2, 2, 3, 3), A(1, 2, 3, 3), kernel=(3, 3), stride=(2, 2), pad=None)
sample("_conv_data", OUT, WEIGHT, DATA, **GEOMETRY, ref=lambda g, w, like, **at: transposed(g, w, num_filter=4, **at))
sample("_conv_data", OUT, WEIGHT, **GEOMETRY, adj=(0, 0), ref=lambda g, w, **at: transposed(g, w, num_filter=4, **at))
sample("_conv_data", A(1, 2, 3, 3), A(2, 2, 3, 3), kernel=(3, 3), stride=(2, 2), pad=None, size=(6, 6),
       ref=lambda g, w, size, pad, **at: transposed(g, w, num_filter=2, target_shape=size, **at))
sample("_conv_weight", DATA, OUT, **GEOMETRY)
sample("_conv_weight", A(1, 2, 4), A(1, 3, 3), kernel=(2,),
       ref=lambda x, g, kernel: np.stack([np.einsum("nco,nfo->fc", x[:, :, k:k + 3], g) for k in range(2)], -1))
