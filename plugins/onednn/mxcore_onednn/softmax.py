"""Softmax, its logarithm and their gradients, bound into compiled programs.

oneDNN is fast only where the lines lie in one piece each; so lie those of images whose channels are last in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mxcore.registry.bound import Bound, Epilogue, Order, Spec

from .codes import Algorithm, Arg, Propagation
from .library import Unsupported
from .narrow import common, serves_narrow
from .primitive import Call, Layout, Primitive

__all__ = ["bind_backward_log_softmax", "bind_backward_softmax", "bind_log_softmax", "bind_softmax"]

_SHORT = 16  # lines for which nothing is copied: NumPy, which goes through memory as it lies, is faster then


def _last(shape: tuple[int, ...], axis: int) -> Order:
    """The order of axes in which the lines lie in one piece each."""
    return (*(i for i in range(len(shape)) if i != axis), axis)


def _lines(out: Spec, axis: int) -> Layout:
    length = out.shape[axis]
    return Layout((out.size // length, length), out.dtype, (length, 1))


class _Softmax(Bound):
    def __init__(self, algorithm: Algorithm, out: Spec, axis: int, inputs: int) -> None:
        layout = _lines(out, axis)
        primitive = Primitive("softmax_forward", Propagation.INFERENCE, algorithm, layout, layout, 1)
        self.call = Call(primitive, [Arg.SRC, Arg.DST])
        self._place(_last(out.shape, axis), inputs, primitive.label)

    def _place(self, order: Order, inputs: int, label: str) -> None:
        self.in_orders, self.out_orders, self.in_place, self.label = [order] * inputs, [order], [(0, 0)], label

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self.call(ins[0], outs[0])


class _BackwardSoftmax(_Softmax):
    def __init__(self, algorithm: Algorithm, out: Spec, axis: int, inputs: int) -> None:
        layout = _lines(out, axis)
        hint = Primitive("softmax_forward", Propagation.TRAINING, algorithm, layout, layout, 1, code=False)
        primitive = Primitive("softmax_backward", algorithm, layout, layout, layout, 1, hint)
        self.call = Call(primitive, [Arg.DIFF_DST, Arg.DST, Arg.DIFF_SRC])
        self._place(_last(out.shape, axis), inputs, primitive.label)

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self.call(ins[0], ins[1], outs[0])


def _bind(kind: type[_Softmax], algorithm: Algorithm, ins: Sequence[Spec | None], out: Spec, attrs: Mapping[str, Any],
          epilogue: Epilogue | None) -> Bound | None:
    shape, axis, temperature = out.shape, attrs["axis"], attrs["temperature"]
    if epilogue is not None or common([*ins, out]) is None or not out.size:
        return None
    if attrs.get("use_length") or temperature not in (None, 1) or not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    if shape[axis] < _SHORT and not any(s is not None and s.lies(_last(shape, axis)) for s in ins):
        return None
    try:
        return kind(algorithm, out, axis, len(ins))
    except Unsupported:
        return None


@serves_narrow(1, own="never")
def bind_softmax(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                 epilogue: Epilogue | None = None) -> Bound | None:
    """``softmax`` of whole lines, at temperature 1."""
    return _bind(_Softmax, Algorithm.SOFTMAX, ins, outs[0], attrs, epilogue)


@serves_narrow(1, own="never")
def bind_log_softmax(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                     epilogue: Epilogue | None = None) -> Bound | None:
    """``log_softmax`` at temperature 1."""
    return _bind(_Softmax, Algorithm.LOG_SOFTMAX, ins, outs[0], attrs, epilogue)


@serves_narrow(2, own="never")
def bind_backward_softmax(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                          epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_softmax``."""
    return _bind(_BackwardSoftmax, Algorithm.SOFTMAX, ins, outs[0], attrs, epilogue)


@serves_narrow(2, own="never")
def bind_backward_log_softmax(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                              epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_log_softmax``."""
    return _bind(_BackwardSoftmax, Algorithm.LOG_SOFTMAX, ins, outs[0], attrs, epilogue)
