"""Normalisation by batch and layer, bound into compiled programs.

The operators keep other statistics than oneDNN: ``1 / sqrt(var + eps)`` (batch) or ``sqrt(var + eps)`` (layer) where oneDNN
has the (biased) variance. They are converted, a few numbers a channel or row; only ``var + eps`` matters on the way back,
so that nothing is lost where the variance is small.

Channels lie last in memory for batch normalisation, as they do between convolutions; oneDNN is several times as fast there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Epilogue, Order, Spec, plain_order

from .codes import Algorithm, Arg, Propagation
from .epilogue import match
from .library import Unsupported
from .primitive import Call, Eltwise, Layout, Primitive

__all__ = ["bind_backward_batch_norm", "bind_backward_layer_norm", "bind_batch_norm", "bind_batch_norm_with_relu",
           "bind_layer_norm"]

_FLOAT = np.dtype("float32")
_GIVEN_STATISTICS, _SCALE, _SHIFT = 1, 2, 4  # flags
_RELU = Eltwise(Algorithm.RELU)
_LINE = plain_order(1)


def _floats(*specs: Spec | None) -> bool:
    return all(s is not None and s.dtype == _FLOAT and s.size for s in specs)


def _compiled(kind: Any, *arguments: Any) -> Bound | None:
    """The call; None where oneDNN has no compiled code for it: what it has instead is slower than NumPy."""
    try:
        bound = kind(*arguments)
    except Unsupported:
        return None
    return bound if "jit" in bound.label else None


# ---------------------------------------------------------------- batch
def _channels_last(shape: tuple[int, ...], axis: int) -> tuple[Order, Layout]:
    """The memory order with the channels of ``axis`` last, and how oneDNN sees such memory: ``(N, C, 1, space)``."""
    order = (*(i for i in range(len(shape)) if i != axis), axis)
    channels = shape[axis]
    count = shape[0] if axis and len(shape) > 2 else 1
    space = prod(shape) // (channels * count)
    return order, Layout((count, channels, 1, space), _FLOAT, (channels * space, 1, channels * space, channels))


class _BatchNorm(Bound):
    """In training: statistics of the batch."""

    def __init__(self, shape: tuple[int, ...], axis: int, attrs: Mapping[str, Any], relu: bool) -> None:
        order, layout = _channels_last(shape, axis)
        self.eps, self.momentum, self.scale = attrs["eps"], attrs["momentum"], not attrs["fix_gamma"]
        primitive = Primitive("batch_normalization_forward", Propagation.TRAINING, layout, layout, self.eps,
                              _SHIFT | (_SCALE if self.scale else 0), post=[_RELU] if relu else ())
        self.call = Call(primitive, [Arg.SRC, Arg.DST, Arg.MEAN, Arg.VARIANCE, Arg.SHIFT, *([Arg.SCALE] if self.scale else [])])
        self.variance = np.empty(shape[axis], _FLOAT)
        self.in_orders, self.out_orders = [order, *[_LINE] * 4], [order, *[_LINE] * 5]
        self.in_place, self.label = [(0, 0)], primitive.label

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        data, gamma, beta, *moving = ins
        out, mean, inverse, batch, *new = outs
        self.call(data, out, mean, self.variance, beta, *((gamma,) if self.scale else ()))
        np.add(self.variance, self.eps, out=inverse)
        np.sqrt(inverse, out=inverse)
        np.reciprocal(inverse, out=inverse)
        batch.fill(1)
        for before, now, after in zip(moving, (mean, self.variance), new, strict=True):
            np.multiply(before, self.momentum, out=after)
            after += now * (1 - self.momentum)


def _relu_only(epilogue: Epilogue | None, out: Spec) -> bool | None:
    """Whether there is a rectifier to do; None if there is something else."""
    post = match(epilogue, out, (), 0) if epilogue is None or not epilogue.names else None
    return None if post is None or post not in ([], [_RELU]) else bool(post)


def bind_batch_norm(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                    epilogue: Epilogue | None = None) -> Bound | None:
    """``BatchNorm``, where it uses the statistics of the batch."""
    if not training or attrs["use_global_stats"] or not _floats(*ins[:5]):
        return None
    shape: tuple[int, ...] = ins[0].shape  # type: ignore[union-attr]
    relu = _relu_only(epilogue, outs[0])
    if relu is None:
        return None
    return _compiled(_BatchNorm, shape, attrs.get("axis", 1) % len(shape), attrs, relu)


def bind_batch_norm_with_relu(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                              epilogue: Epilogue | None = None) -> Bound | None:
    """``_contrib_BatchNormWithReLU``, where it uses the statistics of the batch."""
    if epilogue is not None or not training or attrs["use_global_stats"] or not _floats(*ins[:5]):
        return None
    shape: tuple[int, ...] = ins[0].shape  # type: ignore[union-attr]
    return _compiled(_BatchNorm, shape, attrs["axis"] % len(shape), attrs, True)


class _BackwardBatchNorm(Bound):
    def __init__(self, shape: tuple[int, ...], axis: int, attrs: Mapping[str, Any]) -> None:
        order, self.layout = _channels_last(shape, axis)
        self.eps, self.scale = attrs["eps"], not attrs["fix_gamma"]
        self.of_batch = self._call(0)
        self.of_constants: Call | None = None
        self.variance = np.empty(shape[axis], _FLOAT)
        self.in_orders, self.out_orders = [order, order, *[_LINE] * 4], [order, _LINE, _LINE]
        self.in_place, self.label = [(0, 0)], self.of_batch.primitive.label

    def _call(self, flags: int) -> Call:
        flags |= _SHIFT | (_SCALE if self.scale else 0)
        hint = Primitive("batch_normalization_forward", Propagation.TRAINING, self.layout, self.layout, self.eps, flags,
                         code=False)
        primitive = Primitive("batch_normalization_backward", Propagation.BACKWARD, self.layout, self.layout, self.layout,
                              self.eps, flags, hint)
        return Call(primitive, [Arg.DIFF_DST, Arg.SRC, Arg.MEAN, Arg.VARIANCE, Arg.DIFF_SRC, Arg.DIFF_SHIFT,
                                *([Arg.SCALE, Arg.DIFF_SCALE] if self.scale else [])])

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        dy, data, gamma, mean, inverse, batch = ins
        dx, dgamma, dbeta = outs
        call = self.of_batch
        if not batch[0]:
            call = self.of_constants = self.of_constants or self._call(_GIVEN_STATISTICS)
        np.multiply(inverse, inverse, out=self.variance)
        np.reciprocal(self.variance, out=self.variance)
        np.subtract(self.variance, self.eps, out=self.variance)
        if not self.scale:
            dgamma.fill(0)
        call(dy, data, mean, self.variance, dx, dbeta, *((gamma, dgamma) if self.scale else ()))


def bind_backward_batch_norm(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                             epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_BatchNorm``."""
    if epilogue is not None or not _floats(*ins):
        return None
    shape: tuple[int, ...] = ins[1].shape  # type: ignore[union-attr]
    return _compiled(_BackwardBatchNorm, shape, attrs["axis"] % len(shape), attrs)


# ---------------------------------------------------------------- layer
def _rows(shape: tuple[int, ...]) -> tuple[Layout, Layout]:
    """Rows of the last axis, and one number for each."""
    length = shape[-1]
    count = prod(shape) // length
    return Layout((count, length), _FLOAT, (length, 1)), Layout((count,), _FLOAT, (1,))


class _LayerNorm(Bound):
    def __init__(self, shape: tuple[int, ...], eps: float) -> None:
        rows, numbers = _rows(shape)
        primitive = Primitive("layer_normalization_forward", Propagation.TRAINING, rows, rows, numbers, eps, _SCALE | _SHIFT)
        self.call = Call(primitive, [Arg.SRC, Arg.SCALE, Arg.SHIFT, Arg.DST, Arg.MEAN, Arg.VARIANCE])
        plain = plain_order(len(shape))
        self.eps, self.in_orders, self.out_orders = eps, [plain, _LINE, _LINE], [plain] * 3
        self.in_place, self.label = [(0, 0)], primitive.label

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self.call(*ins, *outs)
        std = outs[2]
        np.add(std, self.eps, out=std)
        np.sqrt(std, out=std)


def bind_layer_norm(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                    epilogue: Epilogue | None = None) -> Bound | None:
    """``LayerNorm`` over the last axis."""
    if epilogue is not None or not _floats(*ins):
        return None
    shape: tuple[int, ...] = ins[0].shape  # type: ignore[union-attr]
    if attrs["axis"] not in (-1, len(shape) - 1):
        return None
    return _compiled(_LayerNorm, shape, attrs["eps"])


class _BackwardLayerNorm(Bound):
    def __init__(self, shape: tuple[int, ...], eps: float) -> None:
        rows, numbers = _rows(shape)
        hint = Primitive("layer_normalization_forward", Propagation.TRAINING, rows, rows, numbers, eps, _SCALE | _SHIFT,
                         code=False)
        primitive = Primitive("layer_normalization_backward", Propagation.BACKWARD, rows, rows, rows, numbers, eps,
                              _SCALE | _SHIFT, hint)
        self.call = Call(primitive, [Arg.DIFF_DST, Arg.SRC, Arg.SCALE, Arg.SHIFT, Arg.MEAN, Arg.VARIANCE, Arg.DIFF_SRC,
                                     Arg.DIFF_SCALE, Arg.DIFF_SHIFT])
        plain = plain_order(len(shape))
        self.eps, self.variance = eps, np.empty((*shape[:-1], 1), _FLOAT)
        self.in_orders, self.out_orders = [plain, plain, _LINE, plain, plain], [plain, _LINE, _LINE]
        self.in_place, self.label = [(0, 0)], primitive.label

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        dy, data, gamma, mean, std = ins
        np.multiply(std, std, out=self.variance)
        np.subtract(self.variance, self.eps, out=self.variance)
        # the shift is an argument although nothing depends on it: any vector will do
        self.call(dy, data, gamma, gamma, mean, self.variance, *outs)


def bind_backward_layer_norm(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                             epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_LayerNorm`` over the last axis."""
    if epilogue is not None or not _floats(*ins):
        return None
    shape: tuple[int, ...] = ins[1].shape  # type: ignore[union-attr]
    if attrs["axis"] not in (-1, len(shape) - 1):
        return None
    return _compiled(_BackwardLayerNorm, shape, attrs["eps"])
