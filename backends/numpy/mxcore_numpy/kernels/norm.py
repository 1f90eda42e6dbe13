"""Normalisation: a few passes over blocks that stay in the cache, sums of products by BLAS.

Data are seen as ``(outer, channels, inner)`` (batch) or ``(rows, inner)`` (layer, group, instance).
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from mxcore.errors import ShapeError
from mxcore.ops.norm import batch_norm as generic_batch_norm
from mxcore.ops.norm import blended, layer_norm_backward
from mxcore.ops.norm import layer_norm as generic_layer_norm

_BLOCK = 1 << 19  # bytes at a time


def _ranges(count: int, each: int) -> Iterator[slice]:
    """Slices of ``count`` things of ``each`` bytes."""
    step = max(1, _BLOCK // max(each, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _floats(a: np.ndarray) -> np.ndarray:
    return a if a.dtype.char in "fd" else a.astype(np.float32)


def _lined(a: np.ndarray, axis: int) -> np.ndarray:
    return np.ascontiguousarray(a).reshape(prod(a.shape[:axis]), a.shape[axis], prod(a.shape[axis + 1:]))


# ---------------------------------------------------------------- batch
def batch_norm(xp: Any, data: np.ndarray, gamma: np.ndarray, beta: np.ndarray, moving_mean: np.ndarray,
               moving_var: np.ndarray, *, eps: float, momentum: float, fix_gamma: bool, use_global_stats: bool, axis: int,
               is_train: bool, **rest: Any) -> tuple:
    """``BatchNorm``."""
    vectors = (gamma, beta, moving_mean, moving_var)
    axis = axis % data.ndim if -data.ndim <= axis < data.ndim else axis
    if axis >= data.ndim or any(v.shape != (data.shape[axis],) for v in vectors) or gamma.dtype.char not in "fd":
        return generic_batch_norm.fn(xp, data, *vectors, eps=eps, momentum=momentum, fix_gamma=fix_gamma, axis=axis,
                                     use_global_stats=use_global_stats, is_train=is_train)
    x = _lined(data if data.dtype == gamma.dtype else data.astype(gamma.dtype), axis)
    out = np.empty_like(x)
    if is_train and not use_global_stats:
        mean, inverse, var = _normalised(x, None if fix_gamma else gamma, beta, eps, out)
        new = blended(moving_mean, mean, momentum), blended(moving_var, var, momentum)
    else:
        mean, new = moving_mean.copy(), (None, None)
        inverse = (1 / np.sqrt(moving_var + eps)).astype(gamma.dtype, copy=False)
        scale = inverse if fix_gamma else inverse * gamma
        _scaled(x, scale, beta - mean * scale, out)
    batch = np.full(1, is_train and not use_global_stats, gamma.dtype)
    return out.reshape(data.shape).astype(data.dtype, copy=False), mean, inverse, batch, *new


def _scaled(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, out: np.ndarray) -> None:
    """``x * scale + shift``, one number a channel."""
    outer, channels, inner = x.shape
    if inner == 1:
        x, out = x.reshape(outer, channels), out.reshape(outer, channels)
        for rows in _ranges(outer, channels * x.itemsize):
            np.multiply(x[rows], scale, out=out[rows])
            np.add(out[rows], shift, out=out[rows])
        return
    x, out = x.reshape(-1, inner), out.reshape(-1, inner)
    scale, shift = (np.tile(v, outer)[:, None] for v in (scale, shift))
    for rows in _ranges(len(x), inner * x.itemsize):
        np.multiply(x[rows], scale[rows], out=out[rows])
        np.add(out[rows], shift[rows], out=out[rows])


def _channels(x: np.ndarray) -> Iterator[slice]:
    """Blocks of channels; all at once when they are innermost."""
    if x.shape[2] == 1:
        yield slice(0, x.shape[1])
    else:
        yield from _ranges(x.shape[1], x.shape[0] * x.shape[2] * x.itemsize)


def _total(a: np.ndarray) -> np.ndarray:
    """Sum for each channel of ``(outer, channels, inner)``."""
    return np.add.reduce(np.add.reduce(a, axis=2), axis=0) if a.shape[2] > 1 else np.add.reduce(a[..., 0], axis=0)


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of ``a * b`` for each channel."""
    if a.shape[2] == 1 and a.dtype.char in "fde":  # einsum has no bfloat16
        return np.einsum("nc,nc->c", a[..., 0], b[..., 0])
    return np.add.reduce(np.vecdot(a, b), axis=0)


def _normalised(x: np.ndarray, gamma: np.ndarray | None, beta: np.ndarray, eps: float, out: np.ndarray) -> tuple:
    count = max(x.shape[0] * x.shape[2], 1)
    mean, var, inverse = (np.empty(x.shape[1], x.dtype) for _ in range(3))
    for c in _channels(x):
        part, d = x[:, c], out[:, c]
        mean[c] = _total(part) / count
        np.subtract(part, mean[c, None], out=d)
        var[c] = _products(d, d) / count
        inverse[c] = 1 / np.sqrt(var[c] + eps)
        np.multiply(d, (inverse[c] if gamma is None else inverse[c] * gamma[c])[:, None], out=d)
        np.add(d, beta[c, None], out=d)
    return mean, inverse, var


def batch_norm_backward(xp: Any, dy: np.ndarray, data: np.ndarray, gamma: np.ndarray, mean: np.ndarray,
                        inverse: np.ndarray, batch: np.ndarray, *, eps: float, fix_gamma: bool, axis: int) -> tuple:
    """``_backward_BatchNorm``: ``dx = a dy + b (x - mean) + c``, three numbers a channel."""
    axis %= data.ndim
    g, x = (_lined(a if a.dtype == gamma.dtype else a.astype(gamma.dtype), axis) for a in (dy, data))
    count, of_batch = max(x.shape[0] * x.shape[2], 1), bool(batch[0])
    dx = np.empty_like(x)
    dgamma, dbeta = np.zeros_like(gamma), np.empty_like(gamma)
    scale = inverse if fix_gamma else inverse * gamma
    spare = None
    for c in _channels(x):
        head, to = g[:, c], dx[:, c]
        dbeta[c] = _total(head)
        if not (of_batch or not fix_gamma):
            np.multiply(head, scale[c, None], out=to)
            continue
        np.subtract(x[:, c], mean[c, None], out=to)
        along = _products(head, to) * inverse[c]
        if not fix_gamma:
            dgamma[c] = along
        if of_batch:
            np.multiply(to, (-scale[c] * inverse[c] * along / count)[:, None], out=to)
            np.add(to, (-scale[c] * dbeta[c] / count)[:, None], out=to)
            if spare is None:
                spare = np.empty(to.shape, to.dtype)
            term = np.multiply(head, scale[c, None], out=spare[:, :to.shape[1]])
            np.add(to, term, out=to)
        else:
            np.multiply(head, scale[c, None], out=to)
    return dx.reshape(data.shape).astype(data.dtype, copy=False), dgamma, dbeta


# ---------------------------------------------------------------- rows: layer, group, instance
def _centred(x: np.ndarray, eps: float) -> tuple:
    """Rows less their mean; mean and deviation of each."""
    mean = np.add.reduce(x, axis=1) / x.shape[1]
    d = x - mean[:, None]
    return d, mean, np.sqrt(np.vecdot(d, d) / x.shape[1] + eps)


def layer_norm(xp: Any, data: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, axis: int, eps: float,
               output_mean_var: bool) -> tuple:
    """``LayerNorm`` over the last axis; over others by the generic kernel."""
    if axis not in (-1, data.ndim - 1) or gamma.shape != data.shape[-1:] or beta.shape != gamma.shape:
        return generic_layer_norm.fn(xp, data, gamma, beta, axis=axis, eps=eps)
    x, gamma, beta = (_floats(a) for a in (np.ascontiguousarray(data).reshape(-1, data.shape[-1]), gamma, beta))
    out = np.empty_like(x)
    mean, std = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    for rows in _ranges(len(x), x.shape[1] * x.itemsize):
        d, mean[rows], std[rows] = _centred(x[rows], eps)
        np.multiply(d, (1 / std[rows])[:, None], out=d)
        np.multiply(d, gamma, out=d)
        np.add(d, beta, out=out[rows])
    moments = (*data.shape[:-1], 1)
    return tuple(a.astype(data.dtype, copy=False) for a in
                 (out.reshape(data.shape), mean.reshape(moments), std.reshape(moments)))


def backward_layer_norm(xp: Any, dy: np.ndarray, data: np.ndarray, gamma: np.ndarray, mean: np.ndarray, std: np.ndarray,
                        *, eps: float, axis: int) -> tuple:
    """``_backward_LayerNorm`` over the last axis; over others by its definition."""
    if axis not in (-1, data.ndim - 1):
        return tuple(layer_norm_backward.composite(dy, data, gamma, mean, std, eps=eps, axis=axis))
    g, x = (_floats(np.ascontiguousarray(a).reshape(-1, a.shape[-1])) for a in (dy, data))
    scale, mean, inverse = _floats(gamma), _floats(mean).reshape(-1, 1), 1 / _floats(std).reshape(-1, 1)
    dx, length = np.empty_like(x), x.shape[1]
    dgamma, dbeta = np.zeros(length, x.dtype), np.zeros(length, x.dtype)
    for rows in _ranges(len(x), length * x.itemsize):
        head, normal = g[rows], x[rows] - mean[rows]
        np.multiply(normal, inverse[rows], out=normal)
        dbeta += np.add.reduce(head, axis=0)
        dgamma += np.einsum("rc,rc->c", head, normal)
        to = np.multiply(head, scale, out=dx[rows])
        _less_moments(to, normal, inverse[rows], length)
    return tuple(a.astype(data.dtype, copy=False) for a in (dx.reshape(data.shape), dgamma, dbeta))


def _less_moments(to: np.ndarray, normal: np.ndarray, inverse: np.ndarray, length: int) -> None:
    """``(to - mean(to) - normal mean(to normal)) inverse``, in place; ``normal`` is used up."""
    along = (np.vecdot(to, normal) / length)[:, None]
    np.subtract(to, (np.add.reduce(to, axis=1) / length)[:, None], out=to)
    np.multiply(normal, along, out=normal)
    np.subtract(to, normal, out=to)
    np.multiply(to, inverse, out=to)


def group_norm(xp: Any, data: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, eps: float, num_groups: int = 0,
               output_mean_var: bool = False) -> tuple:
    """``GroupNorm``, and ``InstanceNorm`` with as many groups as channels."""
    groups = num_groups or data.shape[1]
    if data.shape[1] % groups or gamma.shape != (groups,) or beta.shape != gamma.shape:
        raise ShapeError("gamma and beta need one element for each group of channels")
    x = _floats(np.ascontiguousarray(data).reshape(data.shape[0] * groups, -1))
    scale, shift = (np.tile(_floats(v), data.shape[0]) for v in (gamma, beta))
    out = np.empty_like(x)
    mean, std = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    for rows in _ranges(len(x), x.shape[1] * x.itemsize):
        d, mean[rows], std[rows] = _centred(x[rows], eps)
        np.multiply(d, (scale[rows] / std[rows])[:, None], out=d)
        np.add(d, shift[rows, None], out=out[rows])
    moments = (data.shape[0], groups)
    return tuple(a.astype(data.dtype, copy=False) for a in
                 (out.reshape(data.shape), mean.reshape(moments), std.reshape(moments)))


def backward_group_norm(xp: Any, dy: np.ndarray, data: np.ndarray, gamma: np.ndarray, mean: np.ndarray, std: np.ndarray,
                        *, eps: float, num_groups: int) -> tuple:
    """``_backward_GroupNorm``."""
    groups = num_groups or data.shape[1]
    g, x = (_floats(np.ascontiguousarray(a).reshape(data.shape[0] * groups, -1)) for a in (dy, data))
    mean, inverse = _floats(mean).reshape(-1, 1), 1 / _floats(std).reshape(-1, 1)
    scale = np.tile(_floats(gamma), data.shape[0])[:, None]
    dx, length = np.empty_like(x), x.shape[1]
    dgamma, dbeta = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    for rows in _ranges(len(x), length * x.itemsize):
        head, normal = g[rows], x[rows] - mean[rows]
        np.multiply(normal, inverse[rows], out=normal)
        dbeta[rows] = np.add.reduce(head, axis=1)
        dgamma[rows] = np.vecdot(head, normal)
        _less_moments(np.multiply(head, scale[rows], out=dx[rows]), normal, inverse[rows], length)
    return (dx.reshape(data.shape).astype(data.dtype, copy=False),
            *(v.reshape(-1, groups).sum(axis=0).astype(data.dtype, copy=False) for v in (dgamma, dbeta)))
