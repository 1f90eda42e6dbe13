"""Samples of :mod:`mxcore.ops.joining`."""

import numpy as np

from ..sampling import A, sample

sample("Concat", A(2, 3), ref=lambda x: x)
sample("Concat", A(2, 3), A(2, 1), A(2, 2), ref=lambda *a: np.concatenate(a, 1))
sample("Concat", A(2, 3, 2), A(4, 3, 2), dim=0, ref=lambda *a, dim: np.concatenate(a, dim))
sample("Concat", A(2, 3, 2), A(2, 3, 1), dim=-1, ref=lambda *a, dim: np.concatenate(a, dim))
sample("stack", A(2, 3), A(2, 3), A(2, 3), ref=lambda *a: np.stack(a))
sample("stack", A(2, 3), A(2, 3), axis=-1, ref=lambda *a, axis: np.stack(a, axis))
sample("stack", A(3), axis=1, ref=lambda *a, axis: np.stack(a, axis))


def split(x, num_outputs, axis=1, squeeze_axis=False):
    """Equal parts."""
    parts = np.split(x, num_outputs, axis)
    return [p.squeeze(axis) for p in parts] if squeeze_axis else parts


sample("SliceChannel", A(2, 6, 2), num_outputs=3, ref=split)
sample("SliceChannel", A(4, 2), num_outputs=2, axis=0, ref=split)
sample("SliceChannel", A(2, 3, 2), num_outputs=3, squeeze_axis=True, ref=split)
sample("SliceChannel", A(3), num_outputs=3, axis=-1, squeeze_axis=True,
       ref=lambda x, **_: [np.array([v]) for v in x])
sample("SliceChannel", A(2, 3), num_outputs=1, ref=split)
sample("_split_v2", A(2, 6), indices=(0, 1, 4), axis=1, ref=lambda x, indices, axis: np.split(x, (1, 4), 1))
sample("_split_v2", A(6, 2), indices=(), sections=3, axis=0, ref=lambda x, **_: np.split(x, 3))
sample("_split_v2", A(3, 2), indices=(0, 1, 2), axis=-2, squeeze_axis=True, ref=lambda x, **_: list(x))

sample("tile", A(2, 3), reps=(2, 1), ref=np.tile)
sample("tile", A(3), reps=(2, 2), ref=np.tile)
sample("tile", A(2, 1, 3), reps=(2,), ref=np.tile)
sample("repeat", A(2, 3), repeats=2, ref=np.repeat)
sample("repeat", A(2, 3), repeats=3, axis=0, ref=np.repeat)
sample("repeat", A(2, 3), repeats=2, axis=-1, ref=np.repeat)
sample("reverse", A(2, 3, 2), axis=(1,), ref=np.flip)
sample("reverse", A(2, 3, 2), axis=(0, -1), ref=np.flip)


def pad(x, mode, pad_width, constant_value=0.0):
    """With one pair an axis."""
    pairs = np.reshape(pad_width, (-1, 2))
    return np.pad(x, pairs, mode, constant_values=constant_value) if mode == "constant" else np.pad(x, pairs, mode)


for mode in ("constant", "edge", "reflect"):
    sample("Pad", A(1, 2, 3, 4), mode=mode, pad_width=(0, 0, 0, 0, 1, 2, 3, 0), ref=pad)
    sample("Pad", A(1, 2, 3, 2, 2), mode=mode, pad_width=(0, 0, 0, 0, 1, 1, 0, 1, 1, 0), ref=pad)
sample("Pad", A(1, 2, 3, 4), mode="constant", constant_value=2.5, pad_width=(0, 0, 0, 0, 1, 0, 0, 2), ref=pad)
