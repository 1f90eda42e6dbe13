"""Samples of :mod:`mxcore.ops.upsampling`: references element by element."""

import numpy as np

from ..sampling import A, sample


def repeated(x, scale):
    """Both spatial axes repeated."""
    return x.repeat(scale, 2).repeat(scale, 3)


def joined(x, y, scale, multi_input_mode="concat", **_):
    """Two inputs, the second brought to the size of the first."""
    large = repeated(x, scale)
    other = repeated(y, large.shape[2] // y.shape[2])
    return large + other if multi_input_mode == "sum" else np.concatenate([large, other], 1)


def stamped(x, w, scale, **_):
    """Every element adds its multiple of the weight, ``scale`` apart."""
    size, pad = w.shape[2], -(-(scale - 1) // 2)
    n, c, h, width = x.shape
    y = np.zeros((n, c, scale * (h - 1) + size, scale * (width - 1) + size))
    for i in range(h):
        for j in range(width):
            y[:, :, i * scale:i * scale + size, j * scale:j * scale + size] += x[:, :, i, j, None, None] * w[:, 0]
    return y[:, :, pad:y.shape[2] - pad, pad:y.shape[3] - pad]


def averaged(x, output_size=(1,), **_):
    """Region by region."""
    h, w = tuple(output_size) * (2 // len(output_size))
    y = np.zeros((*x.shape[:2], h, w))
    for i in range(h):
        for j in range(w):
            rows = slice(i * x.shape[2] // h, -(-(i + 1) * x.shape[2] // h))
            columns = slice(j * x.shape[3] // w, -(-(j + 1) * x.shape[3] // w))
            y[:, :, i, j] = x[:, :, rows, columns].mean((2, 3))
    return y


def places(size, out, align_corners):
    """Where the elements of the output lie on a line of the input."""
    if align_corners:
        return np.linspace(0, size - 1, out) if out > 1 else np.zeros(1)
    return np.maximum((np.arange(out) + 0.5) * size / out - 0.5, 0)


def resized(x, size, align_corners=True):
    """Line by line with :func:`numpy.interp`."""
    for axis, out in ((2, size[0]), (3, size[1])):
        at = places(x.shape[axis], out, align_corners)
        x = np.apply_along_axis(lambda line, at=at: np.interp(at, np.arange(len(line)), line), axis, x)
    return x


sample("UpSampling", A(1, 2, 2, 3), scale=2, sample_type="nearest", num_args=1, ref=lambda x, scale, **_: repeated(x, scale))
sample("UpSampling", A(1, 2, 2, 2), A(1, 1, 4, 4), scale=4, sample_type="nearest", num_args=2, ref=joined)
sample("UpSampling", A(1, 2, 2, 2), A(1, 2, 4, 4), scale=4, sample_type="nearest", multi_input_mode="sum", num_args=2,
       ref=joined)
sample("UpSampling", A(1, 2, 2, 3), A(2, 1, 4, 4), scale=2, sample_type="bilinear", num_filter=2, num_args=2, ref=stamped)
sample("UpSampling", A(1, 2, 2, 3), A(2, 1, 5, 5), scale=3, sample_type="bilinear", num_filter=2, num_args=2, ref=stamped)
sample("_nearest", A(1, 2, 2, 3), scale=3, ref=repeated)
sample("_nearest", A(1, 2, 2, 2), A(1, 1, 4, 6), ref=lambda x, like: x.repeat(2, 2).repeat(3, 3))
sample("_nearest_sum", A(1, 2, 4, 6), A(1, 2, 2, 2), ref=lambda x, like: x.reshape(1, 2, 2, 2, 2, 3).sum((3, 5)))
sample("_contrib_AdaptiveAvgPooling2D", A(1, 2, 4, 5), ref=averaged)
sample("_contrib_AdaptiveAvgPooling2D", A(1, 2, 4, 5), output_size=(3,), ref=averaged)
sample("_contrib_AdaptiveAvgPooling2D", A(1, 2, 4, 5), output_size=(2, 7), ref=averaged)
sample("_resample", A(1, 2, 4, 5), kind="average", size=(2, 3), ref=lambda x, kind, size: averaged(x, size))
sample("_resample", A(1, 2, 4, 5), kind="corners", size=(7, 3), ref=lambda x, kind, size: resized(x, size))
sample("_resample", A(1, 2, 4, 5), kind="centres", size=(7, 3), ref=lambda x, kind, size: resized(x, size, False))
sample("_contrib_BilinearResize2D", A(1, 2, 4, 5), height=7, width=3,
       ref=lambda x, height, width: resized(x, (height, width)))
sample("_contrib_BilinearResize2D", A(1, 2, 4, 5), height=7, width=3, align_corners=False,
       ref=lambda x, height, width, align_corners: resized(x, (height, width), align_corners))
sample("_contrib_BilinearResize2D", A(1, 2, 4, 5), A(1, 1, 6, 2), mode="like", ref=lambda x, y, mode: resized(x, (6, 2)))
for mode, scales, size in (("size", (1.5, 2.0), (6, 10)), ("odd_scale", (1.5, 2.0), (6, 9))):
    sample("_contrib_BilinearResize2D", A(1, 2, 4, 5), mode=mode, scale_height=scales[0], scale_width=scales[1],
           ref=lambda x, size=size, **_: resized(x, size))
for mode, size in (("to_even_down", (4, 4)), ("to_even_up", (4, 6)), ("to_odd_down", (3, 5)), ("to_odd_up", (5, 5))):
    sample("_contrib_BilinearResize2D", A(1, 2, 4, 5), mode=mode, ref=lambda x, mode, size=size: resized(x, size))
