"""Samples of :mod:`mxcore.ops.pooling`: references go through the windows one by one."""

from itertools import product

import numpy as np

from ..sampling import A, C, sample


def spans(size, kernel, stride, pad, convention):
    """Begin and end of the windows along an axis, in the padded input's coordinates less the padding."""
    if convention == "same":
        count = -(-size // stride)
    elif convention == "full":
        count = -(-(size + 2 * pad - kernel) // stride) + 1
    else:
        count = (size + 2 * pad - kernel) // stride + 1
    return [(o * stride - pad, o * stride - pad + kernel) for o in range(count)]


def pooling(x, kernel=(), pool_type="max", global_pool=False, pooling_convention="valid", stride=(), pad=(), p_value=2,
            count_include_pad=True, layout=None, **_):
    """Window by window."""
    last = layout is not None and layout[-1] == "C"
    x = np.moveaxis(x, -1, 1) if last else x
    sizes = x.shape[2:]
    n = len(sizes)
    if global_pool:
        kernel, stride, pad = sizes, (), ()
    stride, pad = stride or (1,) * n, pad or (0,) * n
    axes = [spans(*a, pooling_convention) for a in zip(sizes, kernel, stride, pad, strict=True)]
    y = np.zeros((*x.shape[:2], *map(len, axes)))
    for at in product(*[range(len(a)) for a in axes]):
        bounds = [axes[i][o] for i, o in enumerate(at)]
        part = x[(..., *[slice(max(b, 0), max(e, 0)) for b, e in bounds])].reshape(*x.shape[:2], -1)
        whole = np.prod([min(e, size + p) - b for (b, e), size, p in zip(bounds, sizes, pad, strict=True)])
        y[(..., *at)] = {
            "max": lambda part=part: part.max(-1), "sum": lambda part=part: part.sum(-1),
            "avg": lambda part=part, whole=whole: part.sum(-1) / (whole if count_include_pad else part.shape[-1]),
            "lp": lambda part=part: (part**p_value).sum(-1) ** (1 / p_value),
        }[pool_type]()
    return np.moveaxis(y, 1, -1) if last else y


GEOMETRIES = (
    ((2, 2, 5), {"kernel": (2,)}),
    ((2, 7, 2), {"kernel": (3,), "stride": (2,), "pad": (1,), "layout": "NWC"}),
    ((1, 2, 5, 6), {"kernel": (3, 2), "stride": (2, 2)}),
    ((1, 2, 5, 6), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "pooling_convention": "full"}),
    ((1, 2, 5, 6), {"kernel": (2, 2), "stride": (2, 2), "pooling_convention": "same", "layout": "NCHW"}),
    ((1, 5, 4, 2), {"kernel": (2, 2), "pad": (1, 1), "stride": (2, 2), "layout": "NHWC"}),
    ((1, 2, 4, 4), {"global_pool": True}),
    ((1, 2, 3, 4, 3), {"kernel": (2, 2, 2), "stride": (1, 2, 1), "layout": "NCDHW"}),
    ((1, 3, 3, 3, 2), {"kernel": (2, 2, 2), "layout": "NDHWC"}),
    ((1, 2, 4), {"kernel": (2,), "layout": "NCW"}),
)
for kind in ("max", "avg", "sum"):
    for shape, at in GEOMETRIES:
        sample("Pooling", A(*shape), pool_type=kind, ref=pooling, **at)
sample("Pooling", A(1, 2, 5, 6), pool_type="avg", kernel=(3, 3), stride=(2, 2), pad=(1, 1), count_include_pad=False, ref=pooling)
sample("Pooling", A(1, 2, 5, 6), pool_type="avg", kernel=(3, 3), stride=(2, 2), pad=(1, 1), count_include_pad=True,
       pooling_convention="full", ref=pooling)
for p in (1, 2, 3):
    sample("Pooling", A(1, 2, 5, 4, low=0.3), pool_type="lp", p_value=p, kernel=(2, 2), stride=(2, 1), ref=pooling)
TIES = C([[[[1.0, 1, 0], [1, 1, 2], [3, 3, 3]]]])
sample("Pooling", TIES, kernel=(2, 2), ref=pooling)
sample("_over", A(2, 3), C([[1.0, 0, 2], [0, 4, -1]]), ref=lambda a, b: np.divide(a, b, out=np.zeros_like(a), where=b != 0))
sample("_over", A(2, 3), A(2, 3, low=0.5, high=2), ref=np.divide)

X, AT = A(1, 2, 4, 4), {"kernel": (2, 2), "stride": (2, 2)}
OUT = A(1, 2, 2, 2)
sample("_pool_spread", OUT, X, pool_type="sum", **AT, ref=lambda g, x, **_: g.repeat(2, 2).repeat(2, 3))
sample("_pool_spread", OUT, X, pool_type="avg", **AT, ref=lambda g, x, **_: g.repeat(2, 2).repeat(2, 3) / 4)
sample("_pool_spread", A(1, 2, 1, 1), X, pool_type="avg", global_pool=True,
       ref=lambda g, x, **_: np.broadcast_to(g / 16, x.shape))
sample("_pool_spread", A(1, 2, 3, 3), X, pool_type="avg", kernel=(3, 3), stride=(2, 2), pad=(1, 1), count_include_pad=False,
       pooling_convention="full")
sample("_pool_spread", A(1, 2, 3, 3), X, pool_type="avg", kernel=(3, 3), stride=(2, 2), pad=(1, 1), count_include_pad=True,
       pooling_convention="full")
sample("_pool_spread", A(1, 3, 3), A(1, 3, 3), pool_type="sum", kernel=(2,), pooling_convention="same")
sample("_pool_spread", A(1, 2, 3), A(1, 4, 3), pool_type="sum", kernel=(2,), stride=(2,), layout="NWC",
       ref=lambda g, x, **_: g.repeat(2, 1))
VALUES = C([[[[1.0, 5, 2], [3, 4, 9]]]])
PEAK = C([[[[5.0, 9]]]])
WINDOW = {"kernel": (2, 2)}
sample("_pool_scatter", A(1, 1, 1, 2), VALUES, PEAK, **WINDOW,
       ref=lambda g, *_, **__: np.array([[[[0, g[0, 0, 0, 0], 0], [0, 0, g[0, 0, 0, 1]]]]]))
sample("_pool_gather", A(1, 1, 2, 3), VALUES, PEAK, **WINDOW,
       ref=lambda v, *_, **__: np.array([[[[v[0, 0, 0, 1], v[0, 0, 1, 2]]]]]))
sample("_pool_scatter", A(1, 1, 1, 1), VALUES, C([[[[9.0]]]]), global_pool=True)
sample("_pool_gather", A(1, 1, 2, 3), VALUES, C([[[[9.0]]]]), global_pool=True)


def channel_sum(x, nsize):
    """Over the channels around each."""
    half = nsize // 2
    return np.stack([x[:, max(0, c - half):c + half + 1].sum(1) for c in range(x.shape[1])], 1)


def lrn(x, nsize, alpha=1e-4, beta=0.75, knorm=2.0):
    """Krizhevsky et al."""
    return x / (knorm + alpha / nsize * channel_sum(x * x, nsize)) ** beta


sample("_channel_sum", A(2, 4, 3), nsize=3, ref=channel_sum)
sample("LRN", A(1, 5, 2, 2), nsize=3, ref=lrn)
sample("LRN", A(1, 5, 2, 2), nsize=5, alpha=0.5, beta=1.5, knorm=1.0, ref=lrn)
