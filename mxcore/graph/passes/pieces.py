"""What single operators are to a fused loop: a scalar expression of their inputs, or a sum over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from ...registry import expr as E
from ...registry import rules
from ..node import Entry, Node
from .joint import Joint

__all__ = ["Piece", "broadcasts", "piece_of", "wide_of"]

_FLOATS = frozenset(np.dtype(t) for t in ("float32", "float64"))
_SHORT = frozenset(("float16", "bfloat16"))
_X, _Y = E.arg("x"), E.arg("y")


class Piece(NamedTuple):
    """One operator inside a loop.

    Attributes
    ----------
    expr : Expr
        Its value (what is summed, for a sum) over ``names``.
    names : tuple of str
    inputs : tuple of Entry
        What the names stand for; further inputs of the node matter by their shape only.
    shape : tuple of int
        The iteration space.
    dtype : numpy.dtype
        Of the arithmetic.
    axes : tuple of int or None
        A sum over these axes.
    """

    expr: E.Expr
    names: tuple[str, ...]
    inputs: tuple[Entry, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    axes: tuple[int, ...] | None = None


def piece_of(joint: Joint, node: Node) -> Piece | None:
    """``node`` as a part of a loop; None if it is nothing of the kind, or types or shapes are not known to fit."""
    shape, dtype = joint.shapes.get((node, 0)), joint.types.get((node, 0))
    if shape is None or dtype is None:
        return None
    if not _float(dtype):
        return None
    special = _SPECIAL.get(node.op.name)  # type: ignore[union-attr]
    if special is not None:
        return special(joint, node, shape, wide_of(dtype))
    if node.op.expr is None:  # type: ignore[union-attr]
        return None
    return _mapped(joint, node, shape, dtype)


def wide_of(dtype: np.dtype) -> np.dtype:
    """The type in which loops compute on numbers of a type."""
    return dtype if dtype in _FLOATS else np.dtype("float32")


def _mapped(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece | None:
    op = node.op
    assert op is not None and op.expr is not None
    for e in node.inputs:
        if e is None or joint.types.get(e) != dtype or not broadcasts(joint.shapes.get(e), shape):
            return None
    values = {E.attr(a): E.const(float(node.attrs[a])) for a in op.schema.attrs}
    e = E.substituted(op.expr, values)
    if E.is_bool(e):  # comparisons give numbers
        e = E.Expr("where", (e, E.ONE, E.ZERO))
    return Piece(e, op.schema.inputs[: len(node.inputs)], node.inputs, shape, wide_of(dtype))


def broadcasts(small: tuple[int, ...] | None, large: tuple[int, ...]) -> bool:
    """Whether NumPy's rule broadcasts ``small`` to ``large``."""
    return small is not None and len(small) <= len(large) and \
        all(s in (1, n) for s, n in zip(reversed(small), reversed(large), strict=False))


# ---------------------------------------------------------------- operators that have no expression but could have one
def _literal(value: float) -> Callable[..., Piece]:
    def piece(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece:
        return Piece(E.const(value), (), (), shape, dtype)

    return piece


def _full(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece:
    return Piece(E.const(float(node.attrs["value"])), (), (), shape, dtype)


def _sum_of_two(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece | None:
    lhs, rhs = node.inputs
    if joint.shapes.get(lhs) != shape or joint.shapes.get(rhs) != shape or not _types(joint, node.inputs, dtype):
        return None
    return Piece(E.Expr("add", (_X, _Y)), ("x", "y"), (lhs, rhs), shape, dtype)


def _sum_of_many(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece | None:
    if any(joint.shapes.get(e) != shape for e in node.inputs) or not _types(joint, node.inputs, dtype):
        return None
    names = tuple(f"x{i}" for i in range(len(node.inputs)))
    total = E.arg(names[0])
    for n in names[1:]:
        total = E.Expr("add", (total, E.arg(n)))
    return Piece(total, names, node.inputs, shape, dtype)


def _float(dtype: np.dtype | None) -> bool:
    return dtype is not None and (dtype in _FLOATS or dtype.name in _SHORT)


def _types(joint: Joint, inputs: Sequence[Entry | None], dtype: np.dtype) -> bool:
    """Whether arithmetic on the inputs is done in ``dtype``."""
    types = [joint.types.get(e) for e in inputs if e is not None]
    return all(_float(t) and wide_of(t) == dtype for t in types)  # type: ignore[arg-type]


def _through(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece | None:
    """Casts and broadcasts."""
    source = node.inputs[0]
    found = joint.types.get(source)
    if found is None or not _float(found) or not broadcasts(joint.shapes.get(source), shape):
        return None
    wide = wide_of(found)
    return Piece(_X, ("x",), (source,), shape, wide if wide.itemsize > dtype.itemsize else dtype)


def _unbroadcast(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece | None:
    source = node.inputs[0]
    full = joint.shapes.get(source)
    if full is None or not broadcasts(shape, full) or shape == full or not _types(joint, node.inputs[:1], dtype):
        return None
    lead = len(full) - len(shape)
    axes = (*range(lead), *(i + lead for i, d in enumerate(shape) if d == 1 and full[i + lead] != 1))
    return Piece(_X, ("x",), (source,), full, dtype, axes)


def _reduced(mean: bool) -> Callable[..., Piece | None]:
    def piece(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece | None:
        source = node.inputs[0]
        full = joint.shapes.get(source)
        if full is None or 0 in full or not _types(joint, node.inputs, dtype):
            return None
        axes = rules.normalize_axes(node.attrs["axis"], len(full), node.attrs["exclude"])
        e = E.Expr("multiply", (_X, E.const(1 / prod(full[a] for a in axes)))) if mean else _X
        return Piece(e, ("x",), (source,), full, dtype, tuple(axes))

    return piece


def _spread(joint: Joint, node: Node, shape: tuple[int, ...], dtype: np.dtype) -> Piece | None:
    """The gradient of a sum: broadcast over the axes that were summed."""
    source = node.inputs[0]
    given = joint.shapes.get(source)
    if given is None or not _types(joint, node.inputs[:1], dtype) or 0 in shape:
        return None
    axes = rules.normalize_axes(node.attrs["axis"], len(shape), node.attrs["exclude"])
    kept = tuple(1 if i in axes else d for i, d in enumerate(shape))
    if given != kept:
        return None
    e = E.Expr("multiply", (_X, E.const(1 / prod(shape[a] for a in axes)))) if node.attrs["mean"] else _X
    return Piece(e, ("x",), (source,), shape, dtype)


_SPECIAL = {
    "zeros_like": _literal(0.0), "ones_like": _literal(1.0), "_zeros": _literal(0.0), "_ones": _literal(1.0), "_full": _full,
    "_grad_add": _sum_of_two, "add_n": _sum_of_many,
    "Cast": _through, "_cast_like": _through, "amp_cast": _through,
    "broadcast_to": _through, "broadcast_like": _through, "broadcast_axis": _through, "_broadcast_to_like": _through,
    "_unbroadcast": _unbroadcast, "sum": _reduced(False), "mean": _reduced(True), "_spread": _spread,
}
