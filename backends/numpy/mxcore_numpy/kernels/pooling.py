"""Pooling: one axis after the other where that is the same, block by block so that pieces stay in the cache."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from mxcore.ops.pooling import Windows, windows
from mxcore.ops.pooling import pooling as generic
from mxcore.ops.window import taps

_BLOCK = 1 << 19  # bytes of input at a time


def _flat(w: Windows, a: np.ndarray, sizes: tuple) -> np.ndarray:
    """``(lines, *sizes)`` or channel-last ``(lines, *sizes, C)``: spatial axes begin at 1."""
    return np.ascontiguousarray(a).reshape((-1, *sizes) if w.first == 2 else (a.shape[0], *sizes, a.shape[-1]))


def _blocks(a: np.ndarray) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, a[:1].nbytes))
    for start in range(0, len(a), step):
        yield slice(start, min(start + step, len(a)))


class _Border:
    """Blocks of an array with what lies around them, in memory that is used again."""

    def __init__(self, w: Windows, x: np.ndarray, fill: float) -> None:
        self.x, self.buffer, self.fill = x, None, fill
        self.widths = (*zip(w.pad, w.after, strict=True), *([(0, 0)] if w.first == 1 else []))
        self.needed = any(map(any, self.widths))
        self.inside = (slice(None), *(slice(a, a + d) for (a, _), d in zip(self.widths, x.shape[1:], strict=True)))

    def __getitem__(self, at: slice) -> np.ndarray:
        if not self.needed:
            return self.x[at]
        part = self.x[at]
        if self.buffer is None:
            shape = (len(part), *(a + d + b for (a, b), d in zip(self.widths, part.shape[1:], strict=True)))
            self.buffer = np.full(shape, self.fill, part.dtype)
        block = self.buffer[:len(part)]
        block[self.inside] = part
        return block


def _along(axis: int, tap: int, count: int, stride: int) -> tuple:
    return (slice(None),) * axis + (slice(tap, tap + (count - 1) * stride + 1, stride),)


def _whole(w: Windows) -> bool:
    """One window over all of the input."""
    return w.kernel == w.spatial and not any(w.pad) and all(n == 1 for n in w.counts)


def _reduced(x: np.ndarray, w: Windows, join: np.ufunc, out: np.ndarray) -> None:
    """``join`` over all windows of a block."""
    axes = [i for i, (k, s) in enumerate(zip(w.kernel, w.stride, strict=True), 1) if (k, s) != (1, 1)]
    for axis in axes:
        k, n, s = (v[axis - 1] for v in (w.kernel, w.counts, w.stride))
        to = out if axis == axes[-1] else None
        first = x[_along(axis, 0, n, s)]
        if k == 1:
            x = first
            continue
        r = join(first, x[_along(axis, 1, n, s)], out=to)
        for tap in range(2, k):
            join(r, x[_along(axis, tap, n, s)], out=r)
        x = r
    if x is not out:
        out[...] = x


def pooling(xp: Any, data: np.ndarray, *, kernel: tuple, pool_type: str, global_pool: bool, pooling_convention: str,
            stride: tuple, pad: tuple, layout: str | None, count_include_pad: bool | None, **rest: Any) -> np.ndarray:
    """``Pooling``; the p-norm by its generic kernel."""
    if pool_type == "lp" or data.dtype.char not in "fd":
        return generic.fn(xp, data, kernel=kernel, pool_type=pool_type, global_pool=global_pool, stride=stride, pad=pad,
                          pooling_convention=pooling_convention, layout=layout, count_include_pad=count_include_pad, **rest)
    w = windows(data.shape, kernel, global_pool, pooling_convention, stride, pad, layout)
    out = np.empty(w.output(data.shape), data.dtype)
    x, y = _flat(w, data, w.spatial), out.reshape((-1, *w.counts) if w.first == 2 else out.shape)
    join, fill = (np.maximum, np.finfo(data.dtype).min) if pool_type == "max" else (np.add, 0)
    if _whole(w) and x.size:
        lines = x.reshape(len(x), prod(w.spatial), -1) if w.first == 1 else x.reshape(len(x), -1)
        join.reduce(lines, axis=1, out=y.reshape((len(y), -1) if w.first == 1 else (-1,)))
    else:
        source = _Border(w, x, fill)
        for at in _blocks(x):
            _reduced(source[at], w, join, y[at])
    if pool_type == "avg":
        sizes = w.sizes(count_include_pad is None or count_include_pad)
        np.divide(out, sizes if isinstance(sizes, int) else sizes.astype(data.dtype), out=out)
    return out


def spread(xp: Any, dy: np.ndarray, like: Any, *, pool_type: str, count_include_pad: bool | None, kernel: tuple,
           global_pool: bool, pooling_convention: str, stride: tuple, pad: tuple, layout: str | None) -> np.ndarray:
    """``_pool_spread``."""
    w = windows(like.shape, kernel, global_pool, pooling_convention, stride, pad, layout)
    g = dy if dy.dtype.char in "fd" else dy.astype(np.float32)
    if pool_type == "avg":
        sizes = w.sizes(count_include_pad is None or count_include_pad)
        g = g / (sizes if isinstance(sizes, int) else sizes.astype(g.dtype))
    result = np.empty(like.shape, g.dtype)
    if _whole(w):
        result[...] = g
    else:
        x, g = result.reshape((-1, *w.spatial) if w.first == 2 else result.shape), _flat(w, g, w.counts)
        inside = (slice(None), *(slice(p, p + d) for p, d in zip(w.pad, w.spatial, strict=True)))
        for at in _blocks(x):
            x[at] = _expanded(g[at], w)[inside]
    return result.astype(dy.dtype, copy=False)


def _expanded(g: np.ndarray, w: Windows) -> np.ndarray:
    """Every element added to all places of its window, in a padded block."""
    for axis in range(len(w.kernel), 0, -1):
        k, n, s, p, d, after = (v[axis - 1] for v in (w.kernel, w.counts, w.stride, w.pad, w.spatial, w.after))
        r = np.zeros((*g.shape[:axis], p + d + after, *g.shape[axis + 1:]), g.dtype)
        for tap in range(k):
            at = r[_along(axis, tap, n, s)]
            if s >= k:
                at[...] = g
            else:
                np.add(at, g, out=at)
        g = r
    return g


def scatter(xp: Any, dy: np.ndarray, data: np.ndarray, peak: np.ndarray, *, kernel: tuple, global_pool: bool,
            pooling_convention: str, stride: tuple, pad: tuple, layout: str | None) -> np.ndarray:
    """``_pool_scatter``: each gradient to the first place of its window that holds the maximum."""
    w = windows(data.shape, kernel, global_pool, pooling_convention, stride, pad, layout)
    x, y, g = _flat(w, data, w.spatial), _flat(w, peak, w.counts), _flat(w, dy, w.counts)
    apart = all(s >= k for s, k in zip(w.stride, w.kernel, strict=True))
    source = _Border(w, x, -np.inf if data.dtype.kind == "f" else np.float32(np.finfo(np.float32).min))
    result = np.zeros(source.x.shape, dy.dtype)
    last = tuple(k - 1 for k in w.kernel)
    for at in _blocks(x):
        block, out, top, grad = source[at], result[at], y[at], g[at]
        if source.needed:
            out = np.zeros(block.shape, dy.dtype)
        free, share = np.ones(top.shape, bool), np.empty(grad.shape, grad.dtype)
        here = np.empty(top.shape, bool)
        for tap in taps(w.kernel):
            places = (slice(None), *(_along(0, t, n, s)[0] for t, n, s in zip(tap, w.counts, w.stride, strict=True)))
            if tap == last and not source.needed:  # every window has a place for its gradient
                here = free
            else:
                np.equal(block[places], top, out=here)
                np.logical_and(here, free, out=here)
                np.not_equal(free, here, out=free)
            np.multiply(grad, here, out=share)
            to = out[places]
            if apart:
                to[...] = share
            else:
                np.add(to, share, out=to)
        if source.needed:
            result[at] = out[source.inside]
    return result.reshape(data.shape)
