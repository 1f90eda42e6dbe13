"""Scalar expressions over the result of a kernel, as post-ops of oneDNN.

An expression is taken apart from the outside in: what is done last is found first, until ``acc`` is reached. oneDNN's
maxima and clipping turn nan into the limit, as MXNet's ``Activation`` and ``Pooling`` do; NumPy's keep it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mxcore.registry import expr as E
from mxcore.registry.bound import Epilogue, Order, Spec, channels_last, plain_order

from .codes import Algorithm
from .primitive import Binary, Eltwise, PostOp

__all__ = ["match", "operand_order"]

_X, _A, _B = E.arg("*x"), E.arg("*a"), E.arg("*b")  # an expression, and literals
_LOGISTIC = 1 / (1 + E.exp(-_X))
_INF = math.inf

#: expression -> function of its literals that makes the post-op
_FUNCTIONS: list[tuple[E.Expr, object]] = [
    (E.maximum(_X, 0), lambda: Eltwise(Algorithm.RELU)),
    (E.maximum(0, _X), lambda: Eltwise(Algorithm.RELU)),
    (E.minimum(E.maximum(_X, _A), _B), lambda a, b: Eltwise(Algorithm.CLIP_V2, a, b) if a <= b else None),
    (E.maximum(E.minimum(_X, _B), _A), lambda a, b: Eltwise(Algorithm.CLIP_V2, a, b) if a <= b else None),
    (E.maximum(_A, E.minimum(_B, _X)), lambda a, b: Eltwise(Algorithm.CLIP_V2, a, b) if a <= b else None),
    (E.maximum(_X, _A), lambda a: Eltwise(Algorithm.CLIP_V2, a, _INF)),
    (E.minimum(_X, _A), lambda a: Eltwise(Algorithm.CLIP_V2, -_INF, a)),
    (E.where(_X > 0, _X, _X * _A), lambda a: Eltwise(Algorithm.RELU, a)),
    (E.tanh(_X), lambda: Eltwise(Algorithm.TANH)),
    (_LOGISTIC, lambda: Eltwise(Algorithm.LOGISTIC)),
    (_X * _LOGISTIC, lambda: Eltwise(Algorithm.SWISH, 1.0)),
    (_LOGISTIC * _X, lambda: Eltwise(Algorithm.SWISH, 1.0)),
    (0.5 * _X * (1 + E.erf(_X * math.sqrt(0.5))), lambda: Eltwise(Algorithm.GELU_ERF)),
    (E.absolute(_X), lambda: Eltwise(Algorithm.ABS)),
    (_X * _X, lambda: Eltwise(Algorithm.SQUARE)),
    (E.sqrt(_X), lambda: Eltwise(Algorithm.SQRT)),
    (E.exp(_X), lambda: Eltwise(Algorithm.EXP)),
    (-_X, lambda: Eltwise(Algorithm.LINEAR, -1.0, 0.0)),
    (_X + _A, lambda a: Eltwise(Algorithm.LINEAR, 1.0, a)),
    (_A + _X, lambda a: Eltwise(Algorithm.LINEAR, 1.0, a)),
    (_X - _A, lambda a: Eltwise(Algorithm.LINEAR, 1.0, -a)),
    (_A - _X, lambda a: Eltwise(Algorithm.LINEAR, -1.0, a)),
    (_X * _A, lambda a: Eltwise(Algorithm.LINEAR, a, 0.0)),
    (_A * _X, lambda a: Eltwise(Algorithm.LINEAR, a, 0.0)),
    (_X / _A, lambda a: Eltwise(Algorithm.LINEAR, 1.0 / a, 0.0) if a else None),
]
_BINARY = {"add": Algorithm.ADD, "multiply": Algorithm.MUL, "maximum": Algorithm.MAX, "minimum": Algorithm.MIN,
           "subtract": Algorithm.SUB, "divide": Algorithm.DIV}
_SYMMETRIC = ("add", "multiply", "maximum", "minimum")


def _fits(pattern: E.Expr, e: E.Expr, bound: dict[str, E.Expr]) -> bool:
    """Whether ``e`` is ``pattern``, with what its wildcards stand for."""
    if pattern.fn == "arg":
        name = pattern.args[0]
        if name != "*x" and e.fn != "const":
            return False
        return bound.setdefault(name, e) == e
    if pattern.fn == "const":
        return e.fn == "const" and e.args[0] == pattern.args[0]
    return (e.fn == pattern.fn and len(e.args) == len(pattern.args)
            and all(_fits(p, a, bound) for p, a in zip(pattern.args, e.args, strict=True)))


def operand_order(out: Spec, shape: Sequence[int], last: Order | None = None) -> Order | None:
    """The memory order in which a second operand is wanted: that of the output, or C order where it is one line.

    None where oneDNN would be slow on it: only operands of the shape of the output, one number a channel, or a single
    number are taken.
    """
    ndim = len(out.shape)
    if tuple(shape) == out.shape:
        return last or channels_last(ndim)
    full = (1,) * (ndim - len(shape)) + tuple(shape)
    if len(full) == ndim and all(d == 1 or (axis == 1 and d == out.shape[1]) for axis, d in enumerate(full)):
        return plain_order(len(shape))
    return None


def match(epilogue: Epilogue | None, out: Spec, extras: Sequence[Spec], first: int,
          last: Order | None = None) -> list[PostOp] | None:
    """Post-ops for an epilogue, or None where there are none for it.

    Parameters
    ----------
    epilogue : Epilogue or None
        None gives no post-ops.
    out : Spec
        The output, channels on axis 1.
    extras : sequence of Spec
        The inputs that ``epilogue.names`` names; ``first`` is the place of the first among all inputs.
    last : Order, optional
        Memory order of the output and of operands of its shape; channels last if not given.
    """
    if epilogue is None:
        return []
    operands = dict(zip(epilogue.names, enumerate(extras, first), strict=True))
    found: list[PostOp] = []
    e = epilogue.expr
    while e != E.arg("acc"):
        step = _function(e) or _binary(e, out, operands, last)
        if step is None:
            return None
        posts, e = step
        found[:0] = posts
    return found


def _function(e: E.Expr) -> tuple[list[PostOp], E.Expr] | None:
    for pattern, make in _FUNCTIONS:
        bound: dict[str, E.Expr] = {}
        if _fits(pattern, e, bound):
            inner = bound.pop("*x")
            if "acc" not in E.leaves(inner):
                continue
            post = make(*(float(bound[n].args[0]) for n in sorted(bound)))  # type: ignore[operator]
            if post is not None:
                return [post], inner
    return None


def _binary(e: E.Expr, out: Spec, operands: dict[str, tuple[int, Spec]], last: Order | None
            ) -> tuple[list[PostOp], E.Expr] | None:
    algorithm = _BINARY.get(e.fn)
    if algorithm is None:
        return None
    left, right = e.args
    before: list[PostOp] = []
    if left.fn == "arg" and left.args[0] in operands:
        if e.fn == "subtract":  # x - acc = -acc + x
            algorithm, before = Algorithm.ADD, [Eltwise(Algorithm.LINEAR, -1.0, 0.0)]
        elif e.fn not in _SYMMETRIC:
            return None
        left, right = right, left
    if right.fn != "arg" or right.args[0] not in operands:
        return None
    place, spec = operands[right.args[0]]
    order = operand_order(out, spec.shape, last)
    if order is None or spec.dtype != out.dtype:
        return None
    strides = Spec(spec.shape, spec.dtype, order).strides
    ndim, size = len(out.shape), spec.dtype.itemsize
    shape = (1,) * (ndim - len(spec.shape)) + spec.shape
    steps = (spec.nbytes,) * (ndim - len(spec.shape)) + strides
    return [*before, Binary(algorithm, shape, spec.dtype, tuple(s // size for s in steps), place)], left
