"""Convolution: windows unrolled by a strided view (im2col), then BLAS products.

Only a block of windows is unrolled at a time, small enough to stay in the second-level cache, and the products write
straight into the result, so that nothing is transposed or copied twice. Groups are a batch axis of the product, which
makes depthwise convolutions fast without a case of their own (Chellapilla et al. 2006 for the method).
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from mxcore.ops.conv import convolution as generic
from mxcore.ops.conv import counts_of, geometry, large_size
from mxcore.ops.window import places, taps

from .scratch import scratch

_BLOCK = 1 << 19  # bytes of unrolled windows at a time
_COLUMNS = 256  # a product with fewer columns spends its time on packing the weights
_IMAGES, _ROW = 16, 12  # from so many images on, and up to such rows of windows, images go last
_DEPTH = 1024  # least length of the sums in a gradient by the weight, where adding up the parts costs


def _in_float(kernel: Callable, result: np.dtype, *arrays: np.ndarray) -> np.ndarray:
    """Run on float32 what NumPy has no BLAS for."""
    return kernel(*[a.astype(np.float32) for a in arrays]).astype(result)


def _windows(x: np.ndarray, kernel: tuple, stride: tuple, dilate: tuple, counts: tuple) -> np.ndarray:
    """All windows of a contiguous array as a view ``(N, C, *kernel, *counts)``."""
    steps = x.strides
    strides = (*steps[:2], *(d * b for d, b in zip(dilate, steps[2:], strict=True)),
               *(s * b for s, b in zip(stride, steps[2:], strict=True)))
    return np.ndarray((*x.shape[:2], *kernel, *counts), x.dtype, x, 0, strides)


def _blocks(images: int, counts: tuple, image_bytes: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Pieces of work: some images, or some rows of windows of one image; at least ``columns`` windows where there are."""
    rows, row = counts[0], prod(counts[1:])
    if image_bytes > 2 * _BLOCK and rows * row > 2 * columns:
        step = max(_BLOCK * rows // image_bytes, -(-columns // row), 1)
        for n in range(images):
            for a in range(0, rows, step):
                yield slice(n, n + 1), slice(a, min(a + step, rows))
        return
    step = max(_BLOCK // max(image_bytes, 1), -(-columns // max(rows * row, 1)), 1)
    for n in range(0, images, step):
        yield slice(n, min(n + step, images)), slice(0, rows)


def _pointwise(kernel: tuple, stride: tuple, pad: tuple) -> bool:
    return all(k == 1 for k in kernel) and all(s == 1 for s in stride) and not any(pad)


def _short(images: int, counts: tuple) -> bool:
    """Whether rows of windows are so short that walking along the images is faster than along the rows."""
    return images >= _IMAGES and counts[-1] <= _ROW


def _images_last(a: np.ndarray) -> np.ndarray:
    """``(N, C, ...)`` as one image ``(1, C, ..., N)``: the images are a further spatial axis, with windows of 1."""
    return np.ascontiguousarray(a.reshape(len(a), -1).T).reshape(1, *a.shape[1:], len(a))


def _images_first(a: np.ndarray) -> np.ndarray:
    n = a.shape[-1]
    return np.ascontiguousarray(a.reshape(-1, n).T).reshape(n, *a.shape[1:-1])


class _Padded:
    """Images with a border of zeros, one block of them at a time, in memory that is used again."""

    def __init__(self, x: np.ndarray, pad: tuple) -> None:
        self.x, self.pad = np.ascontiguousarray(x), pad
        self.now: tuple | None = None
        self.buffer: np.ndarray | None = None  # sized by the first block, the largest
        self.inside = (slice(None), slice(None), *(slice(p, p + d) for p, d in zip(pad, x.shape[2:], strict=True)))

    def __getitem__(self, images: slice) -> np.ndarray:
        if not any(self.pad):
            return self.x[images]
        count = images.stop - images.start
        if self.buffer is None:
            sizes = (d + 2 * p for d, p in zip(self.x.shape[2:], self.pad, strict=True))
            self.buffer = scratch("padded", (count, self.x.shape[1], *sizes), self.x.dtype)
            self.buffer.fill(0)
        if self.now != (images.start, images.stop):
            self.buffer[:count][self.inside] = self.x[images]
            self.now = images.start, images.stop
        return self.buffer[:count]


def correlate(x: np.ndarray, w: np.ndarray, stride: tuple, dilate: tuple, pad: tuple, counts: tuple, groups: int,
              bias: np.ndarray | None = None) -> np.ndarray:
    """Correlation of channel-first floats, with bias."""
    (n, c), f, kernel = x.shape[:2], w.shape[0], w.shape[2:]
    q, k = prod(counts), c // groups * prod(kernel)
    weights = w.reshape(groups, f // groups, k)
    y = np.empty((n, f, *counts), x.dtype)
    out = y.reshape(n, groups, f // groups, q)
    shift = None if bias is None else bias.reshape(groups, -1, 1)
    if _pointwise(kernel, stride, pad):
        np.matmul(weights, x.reshape(n, groups, k, q), out=out)
        if shift is not None:
            np.add(out, shift, out=out)
        return y
    if _short(n, counts):
        return _images_first(correlate(_images_last(x), w[..., None], (*stride, 1), (*dilate, 1), (*pad, 0), (*counts, n),
                                       groups, bias))
    source, row = _Padded(x, pad), q // max(counts[0], 1)
    for images, rows in _blocks(n, counts, groups * k * q * x.itemsize, _COLUMNS):
        high = rows.stop - rows.start
        view = _windows(source[images], kernel, stride, dilate, counts)[(..., rows, *(slice(None),) * (len(counts) - 1))]
        block = scratch("windows", view.shape, x.dtype)
        np.copyto(block, view)
        target = out[images, :, :, rows.start * row:rows.stop * row]
        np.matmul(weights, block.reshape(len(view), groups, k, high * row), out=target)
        if shift is not None:
            np.add(target, shift, out=target)
    return y


def conv(xp: Any, data: np.ndarray, weight: np.ndarray, like: Any = None, *, kernel: tuple, stride: tuple = (),
         dilate: tuple = (), pad: tuple | None = (), num_group: int = 1, bias: np.ndarray | None = None) -> np.ndarray:
    """``_conv``."""
    stride, dilate, pad, counts = counts_of(data, weight, like, kernel, stride, dilate, pad, num_group)

    def run(x: np.ndarray, w: np.ndarray, *b: np.ndarray) -> np.ndarray:
        return correlate(x, w, stride, dilate, pad, counts, num_group, *b)

    arrays = (data, weight) if bias is None else (data, weight, bias)
    return run(*arrays) if data.dtype.char in "fd" else _in_float(run, data.dtype, *arrays)


def convolution(xp: Any, data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *, num_filter: int,
                layout: str | None = None, no_bias: bool = False, **attrs: Any) -> np.ndarray:
    """``Convolution``, the bias added block by block."""
    if weight.shape[0] != num_filter or (layout is not None and layout[-1] == "C"):
        return generic.fn(xp, data, weight, bias, num_filter=num_filter, layout=layout, no_bias=no_bias, **attrs)
    at = {k: attrs[k] for k in ("kernel", "stride", "dilate", "pad", "num_group")}
    return conv(xp, data, weight, bias=None if no_bias else bias, **at)


# ---------------------------------------------------------------- gradient by the data
def _turned(w: np.ndarray, groups: int) -> np.ndarray:
    """The weights of the transposed map: channels swapped, windows reversed."""
    f, c, *kernel = w.shape
    back = (slice(None),) * 3 + (slice(None, None, -1),) * len(kernel)
    return np.ascontiguousarray(w.reshape(groups, f // groups, c, *kernel).swapaxes(1, 2)[back]).reshape(
        groups * c, f // groups, *kernel)


def spread(g: np.ndarray, w: np.ndarray, stride: tuple, dilate: tuple, pad: tuple, large: tuple,
           groups: int) -> np.ndarray:
    """Transposed correlation of channel-first floats."""
    (n, f), c, kernel, counts = g.shape[:2], w.shape[1] * groups, w.shape[2:], g.shape[2:]
    q, k = prod(counts), w.shape[1] * prod(kernel)
    if _pointwise(kernel, stride, pad) and large == counts:
        weights = w.reshape(groups, f // groups, k).swapaxes(1, 2)
        return np.matmul(weights, g.reshape(n, groups, f // groups, q)).reshape(n, c, *large)
    around = tuple(d * (t - 1) - p for d, t, p in zip(dilate, kernel, pad, strict=True))
    full = tuple(o + d * (t - 1) - 2 * p for o, d, t, p in zip(counts, dilate, kernel, pad, strict=True))
    if (all(s == 1 for s in stride) and min(around) >= 0 and full == large and 4 * prod(large) <= 5 * q and f <= 2 * c
            and groups * n * q >= 4 * f):
        # of nearly the size of the input: a correlation with the turned weights writes every place once
        return correlate(g, _turned(w, groups), stride, dilate, around, large, groups)
    if _short(n, counts):
        return _images_first(_scattered(_images_last(g), w[..., None], (*stride, 1), (*dilate, 1), (*pad, 0), (*large, n),
                                        groups))
    return _scattered(g, w, stride, dilate, pad, large, groups)


def _scattered(g: np.ndarray, w: np.ndarray, stride: tuple, dilate: tuple, pad: tuple, large: tuple,
               groups: int) -> np.ndarray:
    """Products with all taps at once, then each tap added to its places (col2im)."""
    (n, f), c, kernel, counts = g.shape[:2], w.shape[1] * groups, w.shape[2:], g.shape[2:]
    q, k, row = prod(counts), w.shape[1] * prod(kernel), prod(counts[1:])
    weights = w.reshape(groups, f // groups, k).swapaxes(1, 2)
    heads = np.ascontiguousarray(g).reshape(n, groups, f // groups, q)
    reach = tuple(max(t + 2 * p, s * (o - 1) + d * (m - 1) + 1) for t, p, s, o, d, m in
                  zip(large, pad, stride, counts, dilate, kernel, strict=True))
    x = np.zeros((n, c, *reach), g.dtype)
    apart = all(s > d * (m - 1) for s, d, m in zip(stride, dilate, kernel, strict=True))  # windows do not overlap
    every, high, keys = (slice(None), slice(None)), 0, []
    for images, rows in _blocks(n, counts, groups * k * q * g.itemsize, _COLUMNS):
        part = heads[images, :, :, rows.start * row:rows.stop * row]
        terms = scratch("windows", (len(part), groups, k, part.shape[-1]), g.dtype)
        np.matmul(weights, part, out=terms)
        if high != rows.stop - rows.start:
            high = rows.stop - rows.start
            keys = [((*every, *places(tap, (high, *counts[1:]), stride, dilate)), (*every, *tap)) for tap in taps(kernel)]
        terms = terms.reshape(len(part), c, *kernel, high, *counts[1:])
        target = x[(images, slice(None), slice(rows.start * stride[0], None))]
        for place, tap in keys:
            at = target[place]
            if apart:
                at[...] = terms[tap]
            else:
                np.add(at, terms[tap], out=at)
    if reach == large:
        return x
    return np.ascontiguousarray(x[(slice(None), slice(None), *(slice(p, p + t) for p, t in
                                                               zip(pad, large, strict=True)))])


def conv_data(xp: Any, dy: np.ndarray, weight: np.ndarray, like: Any = None, *, kernel: tuple, stride: tuple = (),
              dilate: tuple = (), pad: tuple | None = (), num_group: int = 1, adj: tuple = (),
              size: tuple = ()) -> np.ndarray:
    """``_conv_data``."""
    stride, dilate, pad, large = large_size(dy, like, kernel, stride, dilate, pad, adj, size)

    def run(g: np.ndarray, w: np.ndarray) -> np.ndarray:
        return spread(g, w, stride, dilate, pad, large, num_group)

    return run(dy, weight) if dy.dtype.char in "fd" else _in_float(run, dy.dtype, dy, weight)


# ---------------------------------------------------------------- gradient by the weight
def collect(x: np.ndarray, g: np.ndarray, kernel: tuple, stride: tuple, dilate: tuple, pad: tuple,
            groups: int) -> np.ndarray:
    """``w[f, c, k] = sum x[n, c, so + dk] g[n, f, o]`` of channel-first floats."""
    (n, c), f, counts = x.shape[:2], g.shape[1], g.shape[2:]
    q, k, row, dims = prod(counts), c // groups * prod(kernel), prod(counts[1:]), len(kernel)
    direct = _pointwise(kernel, stride, pad)
    if not direct and _short(n, counts):
        return collect(_images_last(x), _images_last(g), (*kernel, 1), (*stride, 1), (*dilate, 1), (*pad, 0),
                       groups)[..., 0]
    heads = np.ascontiguousarray(g).reshape(n, groups, f // groups, q)
    total, source = None, _Padded(x, pad)
    merged = k > q  # one product sums over several images: windows first, images behind them
    order = (*range(1, dims + 2), 0, *range(dims + 2, 2 * dims + 2)) if merged else range(2 * dims + 2)
    for images, rows in _blocks(n, counts, groups * k * q * x.itemsize, _DEPTH if merged else _COLUMNS):
        part = slice(rows.start * row, rows.stop * row)
        head = heads[images, :, :, part]
        if direct and (len(head) == 1 or not merged):
            block = source[images].reshape(-1, groups, k, q)[..., part]
        else:
            view = _windows(source[images], kernel, stride, dilate, counts)
            view = view[(..., rows, *(slice(None),) * (dims - 1))].transpose(order)
            block = scratch("windows", view.shape, x.dtype)
            np.copyto(block, view)
            block = block.reshape(groups, k, -1) if merged else block.reshape(len(head), groups, k, -1)
        if merged and len(head) > 1:
            head = np.moveaxis(head, 0, 2).reshape(groups, f // groups, -1)
        term = np.matmul(head, block.swapaxes(-1, -2))
        if term.ndim == 4:
            term = term[0] if len(term) == 1 else np.add.reduce(term, axis=0)
        total = term if total is None else np.add(total, term, out=total)
    if total is None:
        total = np.zeros((groups, f // groups, k), x.dtype)
    return total.reshape(f, c // groups, *kernel)


def conv_weight(xp: Any, data: np.ndarray, dy: np.ndarray, *, kernel: tuple, stride: tuple = (), dilate: tuple = (),
                pad: tuple | None = (), num_group: int = 1) -> np.ndarray:
    """``_conv_weight``."""
    stride, dilate, pad = geometry(kernel, stride, dilate, pad, data.shape[2:], dy.shape[2:])

    def run(x: np.ndarray, g: np.ndarray) -> np.ndarray:
        return collect(x, g, kernel, stride, dilate, pad, num_group)

    return run(data, dy) if data.dtype.char in "fd" else _in_float(run, data.dtype, data, dy)
