"""Samples of :mod:`mxcore.ops.slicing`."""

import numpy as np

from ..sampling import A, sample


def part(x, begin, end, step=None):
    """The key of ``slice``."""
    step = step or (None,) * len(begin)
    return tuple(slice(*k) for k in zip(begin, end, step, strict=True))


def sliced(x, begin, end, step=None):
    """The part."""
    return x[part(x, begin, end, step)]


def assigned(x, value, begin, end, step=None):
    """A copy with the part replaced."""
    out = x.copy()
    out[part(x, begin, end, step)] = value
    return out


for bounds in (
    {"begin": (1,), "end": (3,)}, {"begin": (0, -3), "end": (2, -1)}, {"begin": (None, 1), "end": (None, None)},
    {"begin": (2, 3), "end": (None, 0), "step": (-1, -2)}, {"begin": (0, 0), "end": (3, 4), "step": (2, 3)},
):
    sample("slice", A(3, 4, 2), **bounds, ref=sliced)
    sample("_slice_assign_scalar", A(3, 4, 2), scalar=2.5, **bounds,
           ref=lambda x, scalar, **bounds: assigned(x, scalar, **bounds))
sample("_slice_assign", A(3, 4), A(3, 2), begin=(None, 1), end=(None, 3), ref=assigned)
sample("_slice_assign", A(3, 4), A(2, 2), begin=(0, 3), end=(3, None), step=(2, -2), ref=assigned)

sample("slice_axis", A(3, 4), axis=1, begin=1, end=3, ref=lambda x, axis, begin, end: x[:, begin:end])
sample("slice_axis", A(3, 4), axis=-2, begin=-2, end=None, ref=lambda x, axis, begin, end: x[begin:end])
sample("slice_like", A(3, 4, 2), A(2, 3, 1), ref=lambda x, like: x[:2, :3, :1])
sample("slice_like", A(3, 4), A(9, 2, 7), axes=(1,), ref=lambda x, like, axes: x[:, :2])
sample("slice_like", A(3, 4), A(2, 2), axes=(-1, 0), ref=lambda x, like, axes: x[:2, :2])
sample("_corner", A(2, 3), A(3, 4), ref=lambda x, like: np.pad(x, ((0, 1), (0, 1))))

sample("Crop", A(1, 2, 5, 6), h_w=(3, 4), offset=(1, 2), ref=lambda x, h_w, offset: x[:, :, 1:4, 2:6])
sample("Crop", A(1, 2, 5, 6), h_w=(3, 4), center_crop=True, ref=lambda x, h_w, center_crop: x[:, :, 1:4, 1:5])
sample("Crop", A(1, 2, 5, 6), A(1, 1, 2, 3), offset=(0, 1), ref=lambda x, like, offset: x[:, :, :2, 1:4])
