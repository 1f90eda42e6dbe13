"""Convolution and its two gradients: calls bound into compiled programs.

Arrays between layers lie channels last, in which oneDNN's kernels are as fast as in its own blocked layouts; weights are
packed into the layout that it chooses.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mxcore.ops.conv import geometry
from mxcore.registry.bound import Bound, Epilogue, Order, Spec, channels_last, plain_order

from .codes import Algorithm, Arg, Propagation
from .epilogue import match, operand_order
from .library import Unsupported
from .primitive import Binary, Call, Layout, PostOp, Primitive
from .weights import Packed, Staged

__all__ = ["Geometry", "bind_conv", "bind_conv_data", "bind_conv_weight", "bind_convolution", "geometry_of"]

_FLOAT = np.dtype("float32")


class Geometry(NamedTuple):
    """A convolution as oneDNN sees it, channel first; ``x`` is the large side, ``y`` the small one.

    ``weight`` has its groups as a first axis: ``(groups, F / groups, C / groups, *kernel)``.
    """

    x: tuple[int, ...]
    weight: tuple[int, ...]
    y: tuple[int, ...]
    stride: tuple[int, ...]
    gaps: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@functools.lru_cache(1024)
def _geometry(x: tuple, weight: tuple, y: tuple, kernel: tuple, stride: tuple, dilate: tuple, pad: tuple | None,
              groups: int) -> Geometry | None:
    if 0 in x or 0 in weight or 0 in y:
        return None
    stride, dilate, before = geometry(kernel, stride, dilate, pad, x[2:], y[2:])
    after = tuple(s * (o - 1) + d * (k - 1) + 1 - size - p for s, o, d, k, size, p in
                  zip(stride, y[2:], dilate, kernel, x[2:], before, strict=True))
    if min(before) < 0 or any(a <= -s for a, s in zip(after, stride, strict=True)):
        return None
    grouped = (groups, weight[0] // groups, *weight[1:]) if groups > 1 else weight
    return Geometry(x, grouped, y, stride, tuple(d - 1 for d in dilate), before, after)


def geometry_of(x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...],
                attrs: Mapping[str, Any]) -> Geometry | None:
    """The geometry for channel-first shapes and the attributes of an operator of the family; None: not for oneDNN."""
    return _geometry(x, weight, y, attrs["kernel"], attrs["stride"], attrs["dilate"], attrs["pad"], attrs["num_group"])


# ---------------------------------------------------------------- primitives
def _steps(shape: tuple[int, ...], order: Order) -> list[int]:
    return [s // 4 for s in Spec(shape, _FLOAT, order).strides]


def _windows(g: Geometry) -> tuple:
    return g.stride, g.gaps, g.before, g.after


def forward(g: Geometry, x: Layout, y: Layout, bias: bool, post: Sequence[PostOp] = (), code: bool = True) -> Primitive:
    """``y`` from ``x``."""
    return Primitive("convolution_forward", Propagation.INFERENCE if code else Propagation.TRAINING, Algorithm.CONVOLUTION, x,
                     Layout(g.weight, _FLOAT), Layout(g.y[1:2], _FLOAT, [1]) if bias else None, y, *_windows(g),
                     post=post, code=code)


def backward_data(g: Geometry, x: Layout, y: Layout) -> Primitive:
    """The gradient by ``x`` from that by ``y``."""
    hint = forward(g, x, y, False, code=False)
    return Primitive("convolution_backward_data", Algorithm.CONVOLUTION, x, Layout(g.weight, _FLOAT), y, *_windows(g), hint)


def backward_weights(g: Geometry, x: Layout, y: Layout) -> Primitive:
    """The gradient by the weight."""
    hint = forward(g, x, y, False, code=False)
    return Primitive("convolution_backward_weights", Algorithm.CONVOLUTION, x, Layout(g.weight, _FLOAT), None, y, *_windows(g),
                     hint)


# ---------------------------------------------------------------- the arrays of an operator
class _Side(NamedTuple):
    """Where channels are in the arrays of a call: ``layout="NHWC"`` has them last."""

    last: bool

    def first(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape (or strides), channels on axis 1."""
        return (shape[0], shape[-1], *shape[1:-1]) if self.last else shape

    def order(self, ndim: int) -> Order:
        """The memory order that is wanted: channels last."""
        return plain_order(ndim) if self.last else channels_last(ndim)


def _all_float(specs: Sequence[Spec | None]) -> bool:
    return all(s is None or s.dtype == _FLOAT for s in specs)


def _last_layout(shape: tuple[int, ...]) -> Layout:
    return Layout(shape, _FLOAT, _steps(shape, channels_last(len(shape))))


# ---------------------------------------------------------------- bound calls
class _Forward(Bound):
    def __init__(self, g: Geometry, side: _Side, bias: bool, post: Sequence[PostOp], extras: Sequence[Spec], out: Spec,
                 own: int) -> None:
        ndim = len(g.x)
        primitive = forward(g, _last_layout(g.x), _last_layout(g.y), bias, post)
        self.packed = Packed(primitive.layout(Arg.WEIGHTS), g.weight, side.last)
        binaries = [(Arg.post(i), p.input) for i, p in enumerate(post) if isinstance(p, Binary)]
        self.call = Call(primitive, [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if bias else []), Arg.DST, *(a for a, _ in binaries)])
        self.bias, self.operands = bias, [place for _, place in binaries]
        self.in_orders = [side.order(ndim), None, *[plain_order(1) if bias else None] * (own - 2),
                          *(operand_order(out, e.shape) for e in extras)]
        self.out_orders, self.prepared, self.label = [side.order(ndim)], (1,), primitive.label

    def prepare(self, ins: Sequence[Any]) -> None:
        self.packed.fill(ins[1])

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self.call(ins[0], self.packed.memory, *((ins[2],) if self.bias else ()), outs[0], *[ins[i] for i in self.operands])


def bind_conv(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
              epilogue: Epilogue | None = None, bias: bool = False) -> Bound | None:
    """``_conv``; with ``bias`` ``Convolution``."""
    side = _Side((attrs.get("layout") or "").endswith("C"))
    own = len(ins) - (len(epilogue.names) if epilogue else 0)
    extras, out = ins[own:], outs[0]
    if not _all_float([*ins[:3 if bias else 2], *extras, out]) or (side.last and epilogue and epilogue.names):
        return None
    g = geometry_of(side.first(ins[0].shape), side.first(ins[1].shape), side.first(out.shape), attrs)
    post = match(epilogue, out, extras, own)
    if g is None or post is None:
        return None
    try:
        return _Forward(g, side, bias, post, extras, out, own)
    except Unsupported:
        return None


def bind_convolution(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                     epilogue: Epilogue | None = None) -> Bound | None:
    """``Convolution``."""
    own = len(ins) - (len(epilogue.names) if epilogue else 0)
    return bind_conv(ins, outs, attrs, training, epilogue, own > 2 and ins[2] is not None and not attrs["no_bias"])


class _Data(Bound):
    def __init__(self, g: Geometry, inputs: int) -> None:
        order = channels_last(len(g.x))
        primitive = backward_data(g, _last_layout(g.x), _last_layout(g.y))
        self.packed = Packed(primitive.layout(Arg.WEIGHTS), g.weight, False)
        self.call = Call(primitive, [Arg.DIFF_DST, Arg.WEIGHTS, Arg.DIFF_SRC])
        self.in_orders, self.out_orders = [order, None, None][:inputs], [order]
        self.prepared, self.label = (1,), primitive.label

    def prepare(self, ins: Sequence[Any]) -> None:
        self.packed.fill(ins[1])

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self.call(ins[0], self.packed.memory, outs[0])


def bind_conv_data(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                   epilogue: Epilogue | None = None) -> Bound | None:
    """``_conv_data``."""
    if epilogue is not None or not _all_float([*ins[:2], outs[0]]):
        return None
    g = geometry_of(outs[0].shape, ins[1].shape, ins[0].shape, attrs)
    try:
        return None if g is None else _Data(g, len(ins))
    except Unsupported:
        return None


class _Weight(Bound):
    def __init__(self, g: Geometry, shape: tuple[int, ...]) -> None:
        order = channels_last(len(g.x))
        primitive = backward_weights(g, _last_layout(g.x), _last_layout(g.y))
        self.staged = Staged(primitive.layout(Arg.DIFF_WEIGHTS), g.weight)
        self.call = Call(primitive, [Arg.SRC, Arg.DIFF_DST, Arg.DIFF_WEIGHTS])
        self.in_orders, self.out_orders, self.label = [order, order], [plain_order(len(shape))], primitive.label

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        block = self.staged.block(outs[0])
        self.call(ins[0], ins[1], block)
        self.staged.deliver(block, outs[0])


def bind_conv_weight(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                     epilogue: Epilogue | None = None) -> Bound | None:
    """``_conv_weight``."""
    if epilogue is not None or not _all_float([*ins, outs[0]]):
        return None
    g = geometry_of(ins[0].shape, outs[0].shape, ins[1].shape, attrs)
    try:
        return None if g is None else _Weight(g, outs[0].shape)
    except Unsupported:
        return None
