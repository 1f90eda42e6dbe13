"""Samples of :mod:`mxcore.ops.im2col`: references window by window."""

from itertools import product

import numpy as np

from ..sampling import A, sample


def windows(sizes, kernel, stride=(), dilate=(), pad=()):
    """For each window the places that it covers in the padded input, one index array an axis."""
    n = len(kernel)
    stride, dilate, pad = stride or (1,) * n, dilate or (1,) * n, pad or (0,) * n
    counts = [(d + 2 * p - r * (k - 1) - 1) // s + 1 for d, k, s, r, p in zip(sizes, kernel, stride, dilate, pad, strict=True)]
    for o in product(*map(range, counts)):
        yield np.ix_(*(np.arange(k) * r + i * s for k, r, i, s in zip(kernel, dilate, o, stride, strict=True)))


def padded(pad, n):
    """Widths for :func:`numpy.pad`."""
    return ((0, 0), (0, 0), *((p, p) for p in pad or (0,) * n))


def im2col(x, kernel, **at):
    """A column a window."""
    wide = np.pad(x, padded(at.get("pad"), len(kernel)))
    columns = [wide[(slice(None), slice(None), *key)].reshape(len(x), -1) for key in windows(x.shape[2:], kernel, **at)]
    return np.stack(columns, 2)


def col2im(x, output_size, kernel, **at):
    """Each column added at the places of its window."""
    channels = x.shape[1] // int(np.prod(kernel))
    wide = np.pad(np.zeros((len(x), channels, *output_size)), padded(at.get("pad"), len(kernel)))
    for i, key in enumerate(windows(output_size, kernel, **at)):
        wide[(slice(None), slice(None), *key)] += x[:, :, i].reshape(len(x), channels, *kernel)
    return wide[(slice(None), slice(None), *(slice(p, p + d) for p, d in
                                             zip(at.get("pad") or (0,) * len(kernel), output_size, strict=True)))]


for shape, at, columns in (
    ((1, 2, 4, 5), {"kernel": (2, 3)}, 9),
    ((2, 1, 4, 5), {"kernel": (2, 2), "stride": (1, 2), "dilate": (2, 1), "pad": (1, 1)}, 12),
    ((1, 2, 5), {"kernel": (3,), "pad": (1,)}, 5),
):
    sample("im2col", A(*shape), ref=im2col, **at)
    rows = shape[1] * int(np.prod(at["kernel"]))
    sample("col2im", A(shape[0], rows, columns), output_size=shape[2:], ref=col2im, **at)
    sample("_col2im_like", A(shape[0], rows, columns), A(*shape),
           ref=lambda x, like, **at: col2im(x, like.shape[2:], **at), **at)
