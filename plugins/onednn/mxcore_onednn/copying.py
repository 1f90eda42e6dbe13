"""Copies into another memory order, as compiled programs put them between steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mxcore.registry.bound import Bound, Epilogue, Spec

from .codes import Arg
from .primitive import Call, Layout, reorder

__all__ = ["bind_copy"]

_SMALL = 1 << 14  # numbers below which NumPy is done before oneDNN has begun


class _Copy(Bound):
    def __init__(self, source: Spec, target: Spec) -> None:
        size = source.dtype.itemsize
        there, here = (Layout(s.shape, s.dtype, [step // size for step in s.strides]) for s in (source, target))
        primitive = reorder(there, here)
        self._call = Call(primitive, [Arg.SRC, Arg.DST])
        self.in_orders, self.out_orders = (source.order,), (target.order,)  # type: ignore[assignment]
        self.label = f"copy to order {target.order}, {primitive.label}"

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self._call(ins[0], outs[0])


def bind_copy(ins: Sequence[Any], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
              epilogue: Epilogue | None = None) -> Bound | None:
    """``_copy`` from the order in which the input lies to that of the output, of float32 and int32.

    None where NumPy is as fast: few numbers, the same order on both sides, an input that is a part of something larger.
    """
    source, target = ins[0], outs[0]
    if (epilogue is not None or source.dtype != target.dtype or source.dtype.name not in ("float32", "int32")
            or source.order is None or source.order == target.order or source.size < _SMALL):
        return None
    return _Copy(source, target)
