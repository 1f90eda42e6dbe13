"""Copies between memory orders, bound into compiled programs: other orders of axes, reshapes that are no views, joins.

oneDNN's reorders run on all threads, and a program has memory ready for the result, where NumPy's copies run on one thread
into fresh pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mxcore.registry.bound import Bound, Epilogue, Order, Spec, channels_last, plain_order

from .codes import Arg, moved_as
from .library import Unsupported
from .narrow import FLOATS
from .primitive import Call, Layout, reorder

__all__ = ["bind_concat", "bind_copy", "bind_reshape"]

_LEAST = 4096  # elements; NumPy is through with less before a call of oneDNN has begun


def _fits(spec: Spec | None) -> bool:
    """Whether oneDNN takes such memory: each step leads past all places of the axes with smaller ones."""
    if spec is None or spec.dtype.char not in FLOATS or spec.size == 0:
        return False
    reach = size = spec.dtype.itemsize
    for step, count in sorted(zip(spec.strides, spec.shape, strict=True)):
        if count > 1:
            if step < reach or step % size:
                return False
            reach = step * count
    return True


def _steps(spec: Spec) -> list[int]:
    """Strides in elements; those of axes of length 1, where nothing depends on them, as in C order."""
    plain = spec.ordered(plain_order(len(spec.shape))).strides
    return [(p if n == 1 else s) // spec.dtype.itemsize for n, s, p in zip(spec.shape, spec.strides, plain, strict=True)]


def _reorder(source: Spec, target: Sequence[int]) -> Call:
    dtype = moved_as(source.dtype)
    made = reorder(Layout(source.shape, dtype, _steps(source)), Layout(source.shape, dtype, target))
    if made.label.startswith("ref"):  # much slower than NumPy
        raise Unsupported(f"a copy by {made.label}")
    return Call(made, [Arg.SRC, Arg.DST])


class _Copy(Bound):
    """All elements of the input, in C order of its axes or in another one."""

    def __init__(self, source: Spec, target: Spec, out: Order) -> None:
        self.call = _reorder(source, _steps(target))
        self.in_orders, self.out_orders, self.label = [None], [out], self.call.primitive.label

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self.call(ins[0], outs[0])


def bind_copy(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
              epilogue: Epilogue | None = None) -> Bound | None:
    """``_copy`` into another order of axes."""
    source, out = ins[0], outs[0]
    if epilogue is not None or not _fits(source) or source.size < _LEAST or source.lies(out.order):  # type: ignore[union-attr, arg-type]
        return None
    try:
        return _Copy(source, out, out.order)  # type: ignore[arg-type]
    except Unsupported:
        return None


def _is_view(spec: Spec, shape: Sequence[int]) -> bool:
    """Whether an array has a view of this shape: every run of axes that lie in one piece becomes whole axes."""
    runs: list[list[int]] = []
    for n, step in zip(spec.shape, spec.strides, strict=True):
        if n > 1:
            if runs and runs[-1][1] == n * step:
                runs[-1] = [runs[-1][0] * n, step]
            else:
                runs.append([n, step])
    sizes, size = [n for n, _ in runs], 1
    for n in shape:
        size *= n
        if n > 1 and size == sizes[0]:
            del sizes[0]
            size = 1
        elif n > 1 and size > sizes[0]:
            return False
    return True


def bind_reshape(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                 epilogue: Epilogue | None = None) -> Bound | None:
    """``Reshape`` and its kin, where the result cannot share memory with the input."""
    source, out = ins[0], outs[0]
    if epilogue is not None or not _fits(source) or source.size < _LEAST or _is_view(source, out.shape):  # type: ignore[union-attr, arg-type]
        return None
    try:
        bound = _Copy(source, source.ordered(plain_order(len(source.shape))), plain_order(len(out.shape)))  # type: ignore[union-attr, arg-type]
    except Unsupported:
        return None
    bound.in_orders = [None] * len(ins)  # the others matter by their shape
    return bound


class _Concat(Bound):
    def __init__(self, ins: Sequence[Spec], out: Spec, axis: int) -> None:
        order, start = out.order, 0
        self.parts = []
        for spec in ins:
            key = (*[slice(None)] * axis, slice(start, start + spec.shape[axis]))
            self.parts.append((_reorder(spec, _steps(out)), key))
            start += spec.shape[axis]
        self.in_orders, self.out_orders, self.label = [None] * len(ins), [order], self.parts[0][0].primitive.label  # type: ignore[list-item]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        out = outs[0]
        for (call, key), array in zip(self.parts, ins, strict=True):
            call(array, out[key])


def bind_concat(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                epilogue: Epilogue | None = None) -> Bound | None:
    """``Concat``; channels stay last in memory where those of the first input lie so."""
    out = outs[0]
    if epilogue is not None or out.size < _LEAST or not all(_fits(s) and s.dtype == out.dtype for s in ins):  # type: ignore[union-attr]
        return None
    ndim = len(out.shape)
    last = channels_last(ndim)
    order = last if ins[0].lies(last) and not ins[0].lies(plain_order(ndim)) else plain_order(ndim)  # type: ignore[union-attr]
    try:
        return _Concat(ins, out.ordered(order), attrs["dim"] % ndim)  # type: ignore[arg-type]
    except Unsupported:
        return None
