"""Convolutions of small images with many channels, as products of matrices.

oneDNN's convolutions go through the whole weight for each image. Where the weight is larger than the cache and the image
small, they wait for memory. Here all windows of a batch are laid out as the rows of one matrix (im2col; Chellapilla et al.
2006), channels last, so that they are copied in runs of whole channels, and oneDNN multiplies: half the time for 512
channels and images of 4 by 4. The same serves where there is one window in an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mxcore.registry.bound import Bound, Spec, channels_last, plain_order

from .arrangement import Outgoing, Packed, Room, WeightView
from .codes import Arg
from .epilogue import operand_order
from .primitive import Binary, Call, Layout, PostOp, Primitive, aligned, reorder

if TYPE_CHECKING:
    from .convolution import Geometry

__all__ = ["ColumnsData", "ColumnsLayer", "ColumnsWeight", "suits"]

_FLOAT = np.dtype("float32")
_PLACES = 16  # windows of an image, at most
_WEIGHT = 1 << 20  # numbers in a weight that no cache holds
_IMAGES = 4  # fewer do not repay the copying
_MATRIX = 1 << 14  # numbers in a weight from which on a single window an image is left to products


def suits(g: Geometry) -> bool:
    """Whether this way is the faster one."""
    if len(g.weight) > len(g.x) or g.y[0] < _IMAGES or g.dtype != _FLOAT:
        return False
    if prod(g.y[2:]) == 1:
        return prod(g.weight) >= _MATRIX
    return prod(g.weight[2:]) > 1 and prod(g.y[2:]) <= _PLACES and prod(g.weight) >= _WEIGHT


def _matrix(rows: int, columns: int, turned: bool = False) -> Layout:
    return Layout((rows, columns), _FLOAT, (1, rows) if turned else (columns, 1))


class _Windows:
    """All windows of a batch, as ``(N, *counts, *kernel, C)``."""

    def __init__(self, g: Geometry) -> None:
        (n, c), sizes = g.x[:2], [b + d + max(a, 0) for b, d, a in zip(g.before, g.x[2:], g.after, strict=True)]
        self.kernel, self.counts = g.weight[2:], g.y[2:]
        self.rows, self.columns = n * prod(self.counts), prod(self.kernel) * c
        self.inside = (slice(None), *(slice(b, b + d) for b, d in zip(g.before, g.x[2:], strict=True)))
        self.bordered = list(g.x[2:]) != sizes
        shape = (n, *sizes, c)
        self._padded = Room(Spec(shape, _FLOAT, plain_order(len(shape))))
        self._shape = (n, *self.counts, *self.kernel, c)
        steps = self._padded.spec.strides
        self._steps = (steps[0], *(s * b for s, b in zip(g.stride, steps[1:-1], strict=True)),
                       *((d + 1) * b for d, b in zip(g.gaps, steps[1:-1], strict=True)), steps[-1])
        self._room = Room(Spec(self._shape, _FLOAT, plain_order(len(self._shape))))
        self.places = [(slice(None), *(slice(t * (d + 1), t * (d + 1) + (o - 1) * s + 1, s) for t, d, o, s in
                                       zip(tap, g.gaps, self.counts, g.stride, strict=True)))
                       for tap in product(*map(range, self.kernel))]

    def zeros(self) -> np.ndarray:
        """Images with their border, all zero."""
        padded = self._padded()
        padded.fill(0)
        return padded

    def matrix(self, data: np.ndarray) -> np.ndarray:
        """The windows of channel-first data, copied out."""
        images = np.moveaxis(data, 1, -1)
        if self.bordered:
            padded = self.zeros()
            padded[self.inside] = images
            images = padded
        columns = self._room()
        np.copyto(columns, np.ndarray(self._shape, _FLOAT, images, 0, self._steps))
        return columns

    def room(self) -> np.ndarray:
        """Memory for windows."""
        return self._room()


class _Weights:
    """The weight as a matrix with a row for each filter, or a column, in the layout that a product wants."""

    def __init__(self, g: Geometry, wanted: Layout, by_column: bool) -> None:
        f, c, *kernel = g.weight
        inner = prod(kernel) * c
        steps = [s // 4 for s in Spec(g.weight, _FLOAT, channels_last(len(g.weight))).strides]
        self._dense = Packed(Layout(g.weight, _FLOAT, steps), WeightView(g.weight))
        source = _matrix(inner, f, turned=True) if by_column else _matrix(f, inner)
        self._bytes = wanted.nbytes
        self.memory: Any = None  # an array, once filled
        self._call = None if source == wanted else Call(reorder(source, wanted), [Arg.SRC, Arg.DST])

    def fill(self, weight: np.ndarray) -> None:
        """Pack a weight."""
        self._dense.fill(weight)
        if self._call is None:
            self.memory = self._dense.memory
            return
        if self.memory is None:
            self.memory = aligned(self._bytes)
        self._call(self._dense.memory, self.memory)
        self._dense.release()

    def release(self) -> None:
        """Give the memory back."""
        self.memory = None
        self._dense.release()


def _flat(post: PostOp, rows: int) -> PostOp:
    """A post-op on images as one on rows of channels."""
    if not isinstance(post, Binary):
        return post
    channels = post.shape[1]
    return post._replace(shape=(rows if prod(post.shape) > channels else 1, channels), strides=(channels, 1))


class ColumnsLayer(Bound):
    """``_conv`` and ``Convolution``; a weight that is ``new`` for each run is not packed, which would take too long."""

    def __init__(self, g: Geometry, ins: Sequence[Spec], bias: bool, own: int, out: Spec, post: Sequence[PostOp],
                 new: bool) -> None:
        w, f, order = _Windows(g), g.y[1], channels_last(len(g.x))
        weight = _matrix(w.columns, f, turned=True) if new else Layout((w.columns, f), _FLOAT)
        primitive = Primitive("matmul", _matrix(w.rows, w.columns), weight, _matrix(1, f) if bias else None,
                              _matrix(w.rows, f), post=[_flat(p, w.rows) for p in post])
        binaries = [(Arg.post(i), p.input) for i, p in enumerate(post) if isinstance(p, Binary)]
        self._call = Call(primitive, [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if bias else []), Arg.DST, *(a for a, _ in binaries)])
        self._windows, self._bias, self._operands = w, bias, [place for _, place in binaries]
        self._packed = _Weights(g, primitive.layout(Arg.WEIGHTS), True)
        self.in_orders = [order, None, *[plain_order(1) if bias else None] * (own - 2),
                          *(operand_order(out, e.shape) for e in ins[own:])]
        self.out_orders, self.prepared, self.label = [order], (1,), f"columns, {primitive.label}"
        self.release = self._packed.release

    def prepare(self, ins: Sequence[Any]) -> None:
        self._packed.fill(ins[1])

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        columns = self._windows.matrix(ins[0])
        self._call(columns, self._packed.memory, *((ins[2],) if self._bias else ()), outs[0], *[ins[i] for i in self._operands])


class ColumnsData(Bound):
    """``_conv_data``."""

    def __init__(self, g: Geometry, inputs: int) -> None:
        w, f, order = _Windows(g), g.y[1], channels_last(len(g.x))
        primitive = Primitive("matmul", _matrix(w.rows, f), Layout((f, w.columns), _FLOAT), None, _matrix(w.rows, w.columns))
        self._call, self._windows = Call(primitive, [Arg.SRC, Arg.WEIGHTS, Arg.DST]), w
        self._packed = _Weights(g, primitive.layout(Arg.WEIGHTS), False)
        self.in_orders, self.out_orders = [order, None, None][:inputs], [order]
        self.prepared, self.label, self.release = (1,), f"columns, {primitive.label}", self._packed.release

    def prepare(self, ins: Sequence[Any]) -> None:
        self._packed.fill(ins[1])

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        w, out = self._windows, np.moveaxis(outs[0], 1, -1)
        columns = w.room()
        self._call(ins[0], self._packed.memory, columns)
        taps = columns.reshape(*columns.shape[:len(w.counts) + 1], -1, columns.shape[-1])
        total = w.zeros()
        for i, place in enumerate(w.places):
            at = total[place]
            np.add(at, taps[..., i, :], out=at)
        out[...] = total[w.inside]


class ColumnsWeight(Bound):
    """``_conv_weight``. Both factors are rearranged first: the product is twice as fast then."""

    def __init__(self, g: Geometry) -> None:
        w, f, order = _Windows(g), g.y[1], channels_last(len(g.x))
        primitive = Primitive("matmul", _matrix(f, w.rows), Layout((w.rows, w.columns), _FLOAT), None, _matrix(f, w.columns))
        packed = primitive.layout(Arg.WEIGHTS)
        self._turn = Call(reorder(_matrix(f, w.rows, turned=True), _matrix(f, w.rows)), [Arg.SRC, Arg.DST])
        self._pack = Call(reorder(_matrix(w.rows, w.columns), packed), [Arg.SRC, Arg.DST])
        self._call, self._windows = Call(primitive, [Arg.SRC, Arg.WEIGHTS, Arg.DST]), w
        written, wanted = (Layout(g.weight, _FLOAT, [s // 4 for s in Spec(g.weight, _FLOAT, o).strides]) for o in
                           (channels_last(len(g.weight)), plain_order(len(g.weight))))
        self._outgoing = Outgoing(written, wanted)
        self._bytes = 4 * f * w.rows, packed.nbytes
        self.in_orders, self.out_orders = [order, order], [plain_order(len(g.weight))]
        self.label = f"columns, {primitive.label}"

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        heads, columns = (aligned(n) for n in self._bytes)
        self._pack(self._windows.matrix(ins[0]), columns)
        self._turn(ins[1], heads)
        block = self._outgoing.block(outs[0])
        self._call(heads, columns, block)
        self._outgoing.deliver(block, outs[0])

    def release(self) -> None:
        """Nothing lasts."""
