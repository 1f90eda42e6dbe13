"""Convolution, its transpose and its gradients.

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

from .arrangement import Incoming, Outgoing, Packed, WeightView
from .codes import Algorithm, Arg, Propagation
from .columns import ColumnsData, ColumnsLayer, ColumnsWeight, suits
from .epilogue import match, operand_order
from .library import Unsupported
from .narrow import common, serves_narrow
from .primitive import Binary, Call, Layout, PostOp, Primitive

__all__ = ["Geometry", "bind_conv", "bind_conv_data", "bind_conv_weight", "bind_convolution", "bind_deconvolution",
           "geometry_of"]

_FAMILY = ("kernel", "stride", "dilate", "pad", "num_group")
_FEW = 4  # images of so few channels are rearranged by oneDNN itself


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
    dtype: np.dtype  # of the arrays; of ``x`` where they differ


@functools.lru_cache(1024)
def _geometry(x: tuple, weight: tuple, y: tuple, kernel: tuple, stride: tuple, dilate: tuple, pad: tuple | None,
              groups: int, dtype: np.dtype) -> Geometry | None:
    if 0 in x or 0 in weight or 0 in y:
        return None
    stride, dilate, before = geometry(kernel, stride, dilate, pad, x[2:], y[2:])
    after = tuple(s * (o - 1) + d * (k - 1) + 1 - size - p for s, o, d, k, size, p in
                  zip(stride, y[2:], dilate, kernel, x[2:], before, strict=True))
    if min(before) < 0 or any(a <= -s for a, s in zip(after, stride, strict=True)):
        return None
    grouped = (groups, weight[0] // groups, *weight[1:]) if groups > 1 else weight
    return Geometry(x, grouped, y, stride, tuple(d - 1 for d in dilate), before, after, dtype)


def geometry_of(x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...], attrs: Mapping[str, Any],
                dtype: np.dtype | None) -> Geometry | None:
    """The geometry for channel-first shapes and the attributes of an operator of the family; None: not for oneDNN."""
    return None if dtype is None else _geometry(x, weight, y, *[attrs[n] for n in _FAMILY], dtype)


# ---------------------------------------------------------------- primitives
def _layout(shape: tuple[int, ...], dtype: np.dtype, plain: bool = False) -> Layout:
    order = plain_order(len(shape)) if plain else channels_last(len(shape))
    return Layout(shape, dtype, _steps(shape, order))


def _steps(shape: tuple[int, ...], order: Order) -> list[int]:
    return [s // 4 for s in Spec(shape, np.dtype("float32"), order).strides]


def _turned(g: Geometry) -> tuple[int, ...]:
    """Shape of the weight for a primitive that has the channels of the large side first."""
    at = len(g.weight) - len(g.x)
    return (*g.weight[:at], g.weight[at + 1], g.weight[at], *g.weight[at + 2:])


def _fast(primitive: Primitive) -> Primitive:
    """The primitive, if it is no reference implementation: those are slower than NumPy."""
    if primitive.label.startswith("ref"):
        raise Unsupported("there is only a reference implementation")
    return primitive


def _windows(g: Geometry) -> tuple:
    return g.stride, g.gaps, g.before, g.after


def _bias(channels: int, dtype: np.dtype, has: bool) -> Layout | None:
    return Layout((channels,), dtype, [1]) if has else None


def forward(g: Geometry, plain: bool = False, bias: bool = False, post: Sequence[PostOp] = (), hint: bool = False) -> Primitive:
    """``y`` from ``x``; with ``hint`` only the descriptor that primitives of gradients ask for."""
    made = Primitive("convolution_forward", Propagation.TRAINING if hint else Propagation.INFERENCE, Algorithm.CONVOLUTION,
                     _layout(g.x, g.dtype, plain), Layout(g.weight, g.dtype), _bias(g.y[1], g.dtype, bias),
                     _layout(g.y, g.dtype, plain), *_windows(g), post=post, code=not hint)
    return made if hint else _fast(made)


def transposed(g: Geometry, bias: bool = False, post: Sequence[PostOp] = ()) -> Primitive:
    """``x`` from ``y``, as a layer of its own."""
    return _fast(Primitive("deconvolution_forward", Propagation.INFERENCE, Algorithm.DECONVOLUTION, _layout(g.y, g.dtype),
                           Layout(_turned(g), g.dtype), _bias(g.x[1], g.dtype, bias), _layout(g.x, g.dtype), *_windows(g),
                           post=post))


def backward_data(g: Geometry, plain: bool = False) -> Primitive:
    """The gradient by ``x`` from that by ``y``."""
    return _fast(Primitive("convolution_backward_data", Algorithm.CONVOLUTION, _layout(g.x, g.dtype, plain),
                           Layout(g.weight, g.dtype), _layout(g.y, g.dtype, plain), *_windows(g),
                           forward(g, plain, hint=True)))


def backward_weights(g: Geometry, plain: bool = False) -> Primitive:
    """The gradient by the weight."""
    return _fast(Primitive("convolution_backward_weights", Algorithm.CONVOLUTION, _layout(g.x, g.dtype, plain),
                           Layout(g.weight, g.dtype), None, _layout(g.y, g.dtype, plain), *_windows(g),
                           forward(g, plain, hint=True)))


# ---------------------------------------------------------------- bound calls
class _Side(NamedTuple):
    """How arrays of data lie.

    ``last``: the operator has channels on the last axis (``layout="NHWC"``). ``plain``: channels come first in memory.
    """

    last: bool = False
    plain: bool = False

    def first(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape of the operator, channels on axis 1."""
        return (shape[0], shape[-1], *shape[1:-1]) if self.last else shape

    def order(self, ndim: int) -> Order:
        """The memory order that is wanted, in axes of the operator."""
        return plain_order(ndim) if self.last or self.plain else channels_last(ndim)


class _Layer(Bound):
    """``Convolution`` or ``Deconvolution``, bias and post-ops included."""

    def __init__(self, primitive: Primitive, view: WeightView, side: _Side, ins: Sequence[Spec], bias: bool, own: int,
                 out: Spec) -> None:
        ndim, data = len(out.shape), ins[0]
        binaries = [(Arg.post(i), p.input) for i, p in enumerate(primitive.post) if isinstance(p, Binary)]
        self._call = Call(primitive, [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if bias else []), Arg.DST, *(a for a, _ in binaries)])
        self._packed = Packed(primitive.layout(Arg.WEIGHTS), view)
        self._bias, self._operands = bias, tuple(place for _, place in binaries)
        order = side.order(ndim)
        self._take = Incoming(data, order) if side.first(data.shape)[1] <= _FEW else None
        self.in_orders = [None if self._take else order, None, *[plain_order(1) if bias else None] * (own - 2),
                          *(operand_order(out, e.shape) for e in ins[own:])]
        self.out_orders, self.prepared, self.label = [order], (1,), primitive.label
        self.release = self._packed.release

    def prepare(self, ins: Sequence[Any]) -> None:
        self._packed.fill(ins[1])

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        data = ins[0] if self._take is None else self._take(ins[0])
        if self._operands:
            self._call(data, self._packed.memory, *((ins[2],) if self._bias else ()), outs[0], *[ins[i] for i in self._operands])
        elif self._bias:
            self._call(data, self._packed.memory, ins[2], outs[0])
        else:
            self._call(data, self._packed.memory, outs[0])


def _bind_layer(ins: Sequence[Any], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                epilogue: Epilogue | None, bias: bool, reverse: bool, plain: bool) -> Bound | None:
    side = _Side((attrs.get("layout") or "").endswith("C"), plain)
    own = len(ins) - (len(epilogue.names) if epilogue else 0)
    out = outs[0]
    if side.last and epilogue and epilogue.names:
        return None
    data, result = side.first(ins[0].shape), side.first(out.shape)
    large, small = (result, data) if reverse else (data, result)
    g = geometry_of(large, side.first(ins[1].shape), small, attrs,
                    common([*ins[:3 if bias else 2], *ins[own:], out]))
    post = match(epilogue, out, ins[own:], own)
    if g is None or post is None:
        return None
    try:
        if not reverse and not side.last and suits(g):
            return ColumnsLayer(g, ins, bias, own, out, post, training)
        if reverse:
            return _Layer(transposed(g, bias, post), WeightView(_turned(g), side.last, True), side, ins, bias, own, out)
        return _Layer(forward(g, plain, bias, post), WeightView(g.weight, side.last), side, ins, bias, own, out)
    except Unsupported:
        return None


@serves_narrow(2)
def bind_conv(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
              epilogue: Epilogue | None = None, plain: bool = False) -> Bound | None:
    """``_conv``; ``plain`` asks for data in C order instead of channels last."""
    return _bind_layer(ins, outs, attrs, training, epilogue, False, False, plain)


def _has_bias(ins: Sequence[Spec | None], attrs: Mapping[str, Any], epilogue: Epilogue | None) -> bool:
    own = len(ins) - (len(epilogue.names) if epilogue else 0)
    return own > 2 and ins[2] is not None and not attrs["no_bias"]


@serves_narrow(3)
def bind_convolution(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                     epilogue: Epilogue | None = None, plain: bool = False) -> Bound | None:
    """``Convolution``."""
    return _bind_layer(ins, outs, attrs, training, epilogue, _has_bias(ins, attrs, epilogue), False, plain)


@serves_narrow(3)
def bind_deconvolution(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                       epilogue: Epilogue | None = None) -> Bound | None:
    """``Deconvolution``."""
    given = {**attrs, "pad": None} if any(attrs["target_shape"]) else attrs
    return _bind_layer(ins, outs, given, training, epilogue, _has_bias(ins, attrs, epilogue), True, False)


class _Data(Bound):
    def __init__(self, g: Geometry, inputs: int, plain: bool) -> None:
        order = _Side(plain=plain).order(len(g.x))
        primitive = backward_data(g, plain)
        self._packed = Packed(primitive.layout(Arg.WEIGHTS), WeightView(g.weight))
        self._call = Call(primitive, [Arg.DIFF_DST, Arg.WEIGHTS, Arg.DIFF_SRC])
        self.in_orders, self.out_orders = [order, None, None][:inputs], [order]
        self.prepared, self.label, self.release = (1,), primitive.label, self._packed.release

    def prepare(self, ins: Sequence[Any]) -> None:
        self._packed.fill(ins[1])

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self._call(ins[0], self._packed.memory, outs[0])


@serves_narrow(2)
def bind_conv_data(ins: Sequence[Any], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                   epilogue: Epilogue | None = None, plain: bool = False) -> Bound | None:
    """``_conv_data``."""
    if epilogue is not None:
        return None
    g = geometry_of(outs[0].shape, ins[1].shape, ins[0].shape, attrs, common([*ins[:2], outs[0]]))
    try:
        if g is not None and suits(g):
            return ColumnsData(g, len(ins))
        return None if g is None else _Data(g, len(ins), plain)
    except Unsupported:
        return None


class _Weight(Bound):
    def __init__(self, g: Geometry, data: Spec, out: Spec, plain: bool) -> None:
        order = _Side(plain=plain).order(len(g.x))
        primitive = backward_weights(g, plain)
        self._outgoing = Outgoing(primitive.layout(Arg.DIFF_WEIGHTS), _layout(g.weight, g.dtype, plain=True))
        self._call = Call(primitive, [Arg.SRC, Arg.DIFF_DST, Arg.DIFF_WEIGHTS])
        self._take = Incoming(data, order) if data.shape[1] <= _FEW else None
        self.in_orders, self.label = [None if self._take else order, order], primitive.label
        self.out_orders = [plain_order(len(out.shape))]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        data = ins[0] if self._take is None else self._take(ins[0])
        block = self._outgoing.block(outs[0])
        self._call(data, ins[1], block)
        self._outgoing.deliver(block, outs[0])

    def release(self) -> None:
        """Nothing lasts."""


@serves_narrow(2)
def bind_conv_weight(ins: Sequence[Any], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                     epilogue: Epilogue | None = None, plain: bool = False) -> Bound | None:
    """``_conv_weight``."""
    if epilogue is not None:
        return None
    g = geometry_of(ins[0].shape, outs[0].shape, ins[1].shape, attrs, common([*ins, outs[0]]))
    try:
        if g is not None and suits(g):
            return ColumnsWeight(g)
        return None if g is None else _Weight(g, ins[0], outs[0], plain)
    except Unsupported:
        return None
