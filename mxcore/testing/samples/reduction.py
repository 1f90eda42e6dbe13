"""Samples of :mod:`mxcore.ops.reduction`."""

import numpy as np

from ..sampling import A, C, sample


def axes(ndim, axis=None, exclude=False, **_):
    """The axes that a reduction goes over."""
    if axis is None or axis == ():
        return tuple(range(ndim))
    chosen = {a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
    return tuple(i for i in range(ndim) if (i in chosen) != exclude)


def over(f):
    """A reduction of NumPy with MXNet's attributes."""
    return lambda x, **at: f(x, axis=axes(x.ndim, **at), keepdims=at.get("keepdims", False))


MODES = ({}, {"axis": (1,)}, {"axis": (0, -1), "keepdims": True}, {"axis": (1,), "exclude": True}, {"axis": ()},
         {"keepdims": True})

for name, f in (("sum", np.sum), ("mean", np.mean), ("prod", np.prod), ("max", np.max), ("min", np.min),
                ("nansum", np.nansum), ("nanprod", np.nanprod), ("_square_sum", lambda x, **at: (x * x).sum(**at))):
    for at in MODES:
        sample(name, A(2, 3, 4, low=0.5, high=1.5), ref=over(f), **at)

NAN = C([[np.nan, 2.0], [3.0, np.nan]])
sample("nansum", NAN, axis=(1,), ref=over(np.nansum))
sample("nanprod", NAN, axis=(0,), ref=over(np.nanprod))
sample("max", C([[1.0, np.nan], [3.0, 3.0]]), axis=(1,), ref=over(np.max))


def norm(x, ord=2, axis=None, keepdims=False, out_dtype=None):
    """Of vectors."""
    over = axes(x.ndim, axis)
    total = np.abs(x).sum(over, keepdims=keepdims) if ord == 1 else np.sqrt((x * x).sum(over, keepdims=keepdims))
    return np.reshape(total, total.shape or (1,))


for at in ({}, {"ord": 1}, {"axis": (1,)}, {"axis": (0, 2), "keepdims": True}, {"ord": 1, "axis": (-1,)},
           {"out_dtype": "float64"}):
    sample("norm", A(2, 3, 4), ref=norm, **at)
sample("norm", C([[3e200, 4e200]]), ref=lambda x: np.array([5e200]), single=0, half=0)

sample("_spread", A(3), A(2, 3, 4), axis=(1,), exclude=True, ref=lambda g, x, **_: np.broadcast_to(g[:, None], x.shape))
sample("_spread", A(2, 1, 4), A(2, 3, 4), axis=(1,), keepdims=True, mean=True,
       ref=lambda g, x, **_: np.broadcast_to(g / 3, x.shape))
sample("_spread", A(1), A(2, 3), ref=lambda g, x: np.broadcast_to(g, x.shape))

sample("moments", A(2, 3), ref=lambda x: (x.mean().reshape(1), x.var().reshape(1)))
sample("moments", A(2, 3, 4), axes=(0, 2), ref=lambda x, axes: (x.mean(axes), x.var(axes)))
sample("moments", A(2, 3, 4), axes=(1,), keepdims=True,
       ref=lambda x, axes, keepdims: (x.mean(axes, keepdims=True), x.var(axes, keepdims=True)))


def unit(x, eps=1e-10, mode="instance"):
    """Vectors of length 1."""
    over = {"instance": tuple(range(1, x.ndim)), "channel": (1,), "spatial": tuple(range(2, x.ndim))}[mode]
    return x / np.sqrt((x * x).sum(over, keepdims=True) + eps)


for mode in ("instance", "channel", "spatial"):
    sample("L2Normalization", A(2, 3, 4), mode=mode, ref=unit)
sample("L2Normalization", A(2, 3), eps=0.1, ref=unit)

for name, f in (("argmax", np.argmax), ("argmin", np.argmin)):
    sample(name, A(2, 3), ref=f)
    sample(name, A(2, 3), axis=1, ref=f)
    sample(name, A(2, 3, 2), axis=-2, keepdims=True, ref=lambda x, axis, keepdims, f=f: np.expand_dims(f(x, axis), axis))
    sample(name, C([[2.0, 5, 5], [1, 1, 3]]), axis=1, ref=f)
sample("argmax_channel", A(2, 3), ref=lambda x: x.argmax(1))

sample("_np_cumsum", A(2, 3), ref=np.cumsum)
sample("_np_cumsum", A(2, 3), axis=1, ref=np.cumsum)
sample("_np_cumsum", A(2, 3, 2), axis=-2, dtype="float64", ref=np.cumsum)
