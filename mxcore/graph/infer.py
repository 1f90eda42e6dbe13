"""Shape and type inference over a graph, forwards and backwards until nothing changes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, MXNetError, ShapeError
from ..registry import rules
from ..registry.op import Op
from ..registry.schema import Attrs
from .compose import leaf
from .gradient import as_list
from .node import Entry, Node, topological

__all__ = ["infer_shapes", "infer_types", "op_shapes", "op_types"]

Known = dict[Entry, Any]


def op_shapes(op: Op, attrs: Attrs, ins: list) -> tuple[list, list]:
    """What an operator's shape rule says; a composite without a rule is inferred through its definition."""
    if op.infer is not None:
        got, outs = op.infer(attrs, list(ins))
        return list(got), list(outs)
    if op.composite is None:
        raise ShapeError(f"operator {op.name!r} has no shape rule")
    if op.shaped:
        return ins, [None] * len(op.output_names(attrs, len(ins)))
    return _through(op, attrs, ins, _shape_step, "shapes")


def op_types(op: Op, attrs: Attrs, ins: list) -> tuple[list, list]:
    """What an operator's type rule says; the default is one type for all."""
    if op.types is None and op.composite is not None and not op.shaped and op.infer is None:
        return _through(op, attrs, ins, _type_step, "types")
    rule = op.types or rules.uniform
    got, outs = rule(attrs, list(ins), len(op.output_names(attrs, len(ins))))
    return list(got), list(outs)


def _through(op: Op, attrs: Attrs, ins: list, step: Callable, what: str) -> tuple[list, list]:
    leaves = [leaf(f"in{i}") for i in range(len(ins))]
    results = as_list(op.composite(*leaves, **attrs))  # type: ignore[misc]
    known: Known = {v.entry: s for v, s in zip(leaves, ins, strict=True) if s is not None}
    heads = [r.entry for r in results]
    _fixpoint(topological([n for n, _ in heads]), known, step, what)
    return [known.get(v.entry) for v in leaves], [known.get(e) for e in heads]


def _shape_step(node: Node, ins: list, outs: list) -> tuple[list, list]:
    assert node.op is not None
    got, made = op_shapes(node.op, node.attrs, ins)
    if node.op.infer in (rules.same, rules.broadcast) and len(made) == 1 and outs[0] is not None:
        # backwards: one shape in, the same shape out
        if node.op.infer is rules.same:
            full = rules.merge(made[0], outs[0], "shapes of input and output")
            got, made = [full] * len(got), [full]
    elif node.op.infer_back is not None and any(o is not None for o in outs):
        got = node.op.infer_back(node.attrs, got, outs)
    return got, made


def _type_step(node: Node, ins: list, outs: list) -> tuple[list, list]:
    assert node.op is not None
    got, made = op_types(node.op, node.attrs, ins)
    if node.op.types in (None, rules.with_number) and made and made[0] is None and any(o is not None for o in outs):
        found = next(o for o in outs if o is not None)
        got, made = [found] * len(got), [found] * len(made)
    return got, made


def _merge_type(a: Any, b: Any, what: str) -> Any:
    if a is not None and b is not None and a != b:
        raise DTypeError(f"{what} must be equal: {a} and {b}")
    return b if a is None else a


def _describe(node: Node, ins: Sequence[Any]) -> str:
    names = node.op.input_names(node.attrs, len(node.inputs)) if node.op else ()
    parts = []
    for i, (e, s) in enumerate(zip(node.inputs, ins, strict=False)):
        name = names[i] if i < len(names) else f"input {i}"
        parts.append(f"{name}={s}" + (f" (from {e[0].name})" if e is not None and e[0].name else ""))
    return ", ".join(parts)


def _fixpoint(order: list[Node], known: Known, step: Callable, what: str) -> None:
    nodes = [n for n in order if n.op is not None]
    combine = rules.merge if step is _shape_step else _merge_type
    quiet, forwards = 0, True
    while quiet < 2:  # done when neither direction finds anything new
        changed = False
        for node in nodes if forwards else reversed(nodes):
            ins = [known.get(e) if e is not None else None for e in node.inputs]
            count = len(node.op.output_names(node.attrs, len(ins)))  # type: ignore[union-attr]
            outs = [known.get((node, j)) for j in range(count)]
            try:
                got, made = step(node, ins, outs)
                for e, new in [*zip(node.inputs, got, strict=False), *(((node, j), m) for j, m in enumerate(made))]:
                    if e is None or new is None:
                        continue
                    old = known.get(e)
                    merged = new if old is None else combine(old, new, f"{what} of {e[0].name or 'a value'}")
                    if old is None or merged != old:  # NumPy finds float64 equal to None
                        known[e] = merged
                        changed = True
            except MXNetError as error:
                raise type(error)(f"Error in operator {node.name or node.op.name}: [{node.op.name}] {error} "  # type: ignore[union-attr]
                                  f"[inputs: {_describe(node, ins)}]") from error
        quiet = 0 if changed else quiet + 1
        forwards = not forwards


def infer_shapes(heads: Sequence[Entry], known: dict[Node, Any]) -> Known:
    """Shapes of all entries that follow from those of some variables (``-1``: unknown dimension).

    Raises
    ------
    ShapeError
        Names the operator, its inputs, and the relation that fails.
    """
    entries: Known = {(n, 0): tuple(s) for n, s in known.items() if s is not None}
    _fixpoint(topological([n for n, _ in heads]), entries, _shape_step, "shapes")
    return entries


def infer_types(heads: Sequence[Entry], known: dict[Node, np.dtype]) -> Known:
    """Data types of all entries that follow from those of some variables."""
    entries: Known = {(n, 0): t for n, t in known.items() if t is not None}
    _fixpoint(topological([n for n, _ in heads]), entries, _type_step, "types")
    return entries
