"""Samples of :mod:`mxcore.ops.norm`."""

from dataclasses import replace

import numpy as np

from ..sampling import A, sample


def along(v, x, axis):
    """A vector that broadcasts along one axis."""
    return v.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def batch_norm(x, gamma, beta, mean, var, train=False, eps=1e-3, momentum=0.9, fix_gamma=True, use_global_stats=False,
               output_mean_var=False, axis=1, **_):
    """Ioffe & Szegedy, with biased variance."""
    over = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    states = None, None
    if train and not use_global_stats:
        m, v = x.mean(over), x.var(over)
        states = momentum * mean + (1 - momentum) * m, momentum * var + (1 - momentum) * v
        mean, var = m, v
    inverse = 1 / np.sqrt(var + eps)
    scale = inverse if fix_gamma else inverse * gamma
    out = (x - along(mean, x, axis)) * along(scale, x, axis) + along(beta, x, axis)
    return (out, mean, inverse, *states) if output_mean_var else (out, *states)




def states(n):
    """Gamma, beta, and the moving statistics, which are not differentiated."""
    return A(n, low=0.5, high=1.5), A(n), *[replace(a, constant=True) for a in (A(n), A(n, low=0.5, high=1.5))]


for name, extra, after in (
    ("BatchNorm", {}, lambda y: y), ("_contrib_SyncBatchNorm", {"key": "a"}, lambda y: y),
    ("_contrib_BatchNormWithReLU", {}, lambda y: np.maximum(y, 0)),
):
    for train in (False, True):
        def reference(*a, train=train, after=after, **at):
            out, *rest = batch_norm(*a, train=train, **at)
            return (after(out), *rest)

        for at in ({"eps": 0.001}, {"fix_gamma": False, "eps": 0.01, "momentum": 0.7},
                   {"use_global_stats": True, "eps": 0.001, "fix_gamma": False}, {"output_mean_var": True, "eps": 0.001}):
            # the gradient ignores what flows into mean and deviation, as MXNet's does
            first = (lambda heads, *a, f=reference, **kw: (heads[0] * f(*a, **kw)[0]).sum()) if "output_mean_var" in at else None
            sample(name, A(4, 3, 2), *states(3), ref=reference, objective=first, train=train, tags=("layer",), rtol=1e-5,
                   half=0.1, **extra, **at)
        if name != "_contrib_SyncBatchNorm":
            sample(name, A(2, 2, 3), *states(3), axis=-1, eps=0.001, ref=reference, train=train, tags=("layer",), half=0.1)
sample("BatchNorm", A(4, 3), *states(3), momentum=1.0, eps=0.001, train=True, tags=("layer",), half=0.1,
       ref=lambda *a, **at: batch_norm(*a, train=True, **at)[:1] + (None, None))


def layer_norm(x, gamma, beta, axis=-1, eps=1e-5, output_mean_var=False):
    """Ba, Kiros & Hinton."""
    mean, std = x.mean(axis, keepdims=True), np.sqrt(x.var(axis, keepdims=True) + eps)
    out = (x - mean) / std * along(gamma, x, axis) + along(beta, x, axis)
    return (out, mean, std) if output_mean_var else out


for shape, at in (((2, 4), {}), ((2, 3, 4), {"eps": 0.1}), ((2, 4, 3), {"axis": 1}), ((4, 2), {"axis": 0}),
                  ((3, 4), {"output_mean_var": True})):
    sample("LayerNorm", A(*shape), A(4, low=0.5, high=1.5), A(4), ref=layer_norm, tags=("layer",), rtol=1e-5,
           objective=(lambda heads, *a, **kw: (heads[0] * layer_norm(*a, **kw)[0]).sum()) if "output_mean_var" in at else None,
           **at)


def group_norm(x, gamma, beta, num_groups=1, eps=1e-5, output_mean_var=False):
    """Wu & He, with one gamma and beta a group."""
    groups = x.reshape(len(x), num_groups, -1)
    mean, std = groups.mean(2), np.sqrt(groups.var(2) + eps)
    out = (groups - mean[..., None]) / std[..., None] * gamma[:, None] + beta[:, None]
    return (out.reshape(x.shape), mean, std) if output_mean_var else out.reshape(x.shape)


for at in ({}, {"num_groups": 2, "eps": 0.1}, {"num_groups": 4}, {"num_groups": 2, "output_mean_var": True}):
    n = at.get("num_groups", 1)
    sample("GroupNorm", A(2, 4, 3), A(n, low=0.5, high=1.5), A(n), ref=group_norm, tags=("layer",), rtol=1e-5,
           objective=(lambda heads, *a, **kw: (heads[0] * group_norm(*a, **kw)[0]).sum()) if "output_mean_var" in at else None,
           **at)
sample("InstanceNorm", A(2, 3, 4), A(3, low=0.5, high=1.5), A(3), tags=("layer",), rtol=1e-5, eps=0.001,
       ref=lambda x, gamma, beta, eps: group_norm(x, gamma, beta, 3, eps))
sample("InstanceNorm", A(2, 3, 2, 2), A(3, low=0.5, high=1.5), A(3), eps=0.1, tags=("layer",),
       ref=lambda x, gamma, beta, eps: group_norm(x, gamma, beta, 3, eps))
