"""Loops over one function for which oneDNN has faster code than a chain of ufuncs: the Gaussian error unit, and its gradient."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mxcore.registry import expr as E
from mxcore.registry import get_op
from mxcore.registry.bound import Bound, Epilogue, Order, Spec, plain_order
from mxcore.registry.loop import Loop

from .codes import Algorithm, Arg, Propagation
from .library import Unsupported
from .primitive import Call, Layout, Primitive

__all__ = ["bind_backward_gelu", "bind_fused", "bind_gelu"]

_FLOAT = np.dtype("float32")
#: operator -> its function
_FORWARD = {"_gelu": Algorithm.GELU_ERF}
#: derivative of an operator, times the gradient of its result -> the function
_BACKWARD = {"_grad0__gelu": Algorithm.GELU_ERF}


@functools.lru_cache(64)
def _named(name: str, arguments: tuple[str, ...]) -> E.Expr:
    """The expression of an operator, its inputs called by these names."""
    op = get_op(name)
    places = {E.arg(a): E.arg(b) for a, b in zip(op.schema.inputs, arguments, strict=True)}

    def moved(e: E.Expr) -> E.Expr:
        if e.fn in ("arg", "const"):
            return places.get(e, e)
        return E.Expr(e.fn, tuple(moved(a) for a in e.args))

    return moved(op.expr)  # type: ignore[arg-type]


class _Eltwise(Bound):
    def __init__(self, algorithm: Algorithm, size: int, order: Order, places: Sequence[int]) -> None:
        line = Layout((size,), _FLOAT, (1,))
        if len(places) == 1:
            primitive = Primitive("eltwise_forward", Propagation.INFERENCE, algorithm, line, line, 0.0, 0.0)
            arguments = [Arg.SRC, Arg.DST]
        else:
            hint = Primitive("eltwise_forward", Propagation.TRAINING, algorithm, line, line, 0.0, 0.0, code=False)
            primitive = Primitive("eltwise_backward", algorithm, line, line, line, 0.0, 0.0, hint)
            arguments = [Arg.DIFF_DST, Arg.SRC, Arg.DIFF_SRC]
        self.call, self.places = Call(primitive, arguments), places
        self.in_orders, self.out_orders, self.in_place = [order] * len(places), [order], [(places[0], 0)]
        self.label = f"{algorithm.name.lower()}, {primitive.label}"

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self.call(*[ins[i] for i in self.places], outs[0])


def _bind(algorithm: Algorithm, ins: Sequence[Spec | None], out: Spec, places: Sequence[int],
          epilogue: Epilogue | None) -> Bound | None:
    if epilogue is not None or not out.size or any(s is None or s.dtype != _FLOAT or s.shape != out.shape for s in (*ins, out)):
        return None
    first: Spec = ins[0]  # type: ignore[assignment]
    try:
        return _Eltwise(algorithm, out.size, first.order or plain_order(len(first.shape)), places)
    except Unsupported:
        return None


def bind_fused(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
               epilogue: Epilogue | None = None) -> Bound | None:
    """``_fused``, where the loop is one of these functions of whole arrays."""
    loop: Loop = attrs["loop"]
    found = _function(loop)
    if found is None or loop.reductions[0] is not None or outs[0].shape != loop.shape:
        return None
    return _bind(found[0], ins, outs[0], found[1], epilogue)


def bind_gelu(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
              epilogue: Epilogue | None = None) -> Bound | None:
    """``_gelu``."""
    return _bind(Algorithm.GELU_ERF, ins, outs[0], (0,), epilogue)


def bind_backward_gelu(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                       epilogue: Epilogue | None = None) -> Bound | None:
    """``_grad0__gelu``."""
    return _bind(Algorithm.GELU_ERF, ins, outs[0], (0, 1), epilogue)


def _function(loop: Loop) -> tuple[Algorithm, tuple[int, ...]] | None:
    """Which function the loop is, and the places of its inputs: (the gradient,) the argument."""
    if len(loop.names) not in (1, 2) or len(loop.exprs) != 1:
        return None
    table, orders = (_FORWARD, ((0,),)) if len(loop.names) == 1 else (_BACKWARD, ((0, 1), (1, 0)))
    for name, algorithm in table.items():
        for places in orders:
            if loop.exprs[0] == _named(name, tuple(loop.names[i] for i in places)):
                return algorithm, places
    return None
