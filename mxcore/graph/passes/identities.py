"""What known shapes and types make superfluous."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from ..node import Entry, Node, Variable
from .joint import Joint

__all__ = ["constants", "identities", "shapes_only"]

#: operators that hand their first input through
_THROUGH = frozenset(("_copy", "_frontier", "BlockGrad"))
#: operators that do nothing to an input that has the shape of the output already
_IF_SAME_SHAPE = frozenset(("_unbroadcast", "_broadcast_to_like", "_reshape_to_like", "Reshape", "Flatten", "broadcast_to",
                            "broadcast_like", "broadcast_axis", "_rows", "_along", "slice_like"))
_IF_SAME_TYPE = frozenset(("Cast", "_cast_like", "amp_cast"))


def identities(joint: Joint) -> None:
    """Leave out operators that, for these shapes and types, change nothing.

    A value that leaves the program stays an operator's result, so that outputs never are inputs.
    """
    changed: dict[Entry, Entry] = {}
    for node in (*joint.forward_nodes(), *joint.backward_nodes()):
        source = node.inputs[0] if node.inputs else None
        if source is None or (node, 0) in joint.ends():
            continue
        if _changes_nothing(joint, node, source):
            changed[(node, 0)] = source
    joint.replace(changed)


def _changes_nothing(joint: Joint, node: Node, source: Entry) -> bool:
    name = node.op.name  # type: ignore[union-attr]
    if name in _THROUGH:
        return True
    if name in _IF_SAME_SHAPE:
        shape = joint.shapes.get(source)
        return shape is not None and shape == joint.shapes.get((node, 0))
    if name in _IF_SAME_TYPE:
        dtype = joint.types.get(source)
        return dtype is not None and dtype == joint.types.get((node, 0))
    return False


def shapes_only(joint: Joint) -> None:
    """Where an operator reads only the shape of an input, give it the shape, so that the array need not live for it."""
    made: dict[tuple, Entry] = {}
    for node in (*joint.forward_nodes(), *joint.backward_nodes()):
        inputs = list(node.inputs)
        for i, e in enumerate(inputs):
            if e is None or i not in node.op.shape_only or e not in joint.shapes or e not in joint.types:  # type: ignore[union-attr]
                continue
            key = joint.shapes[e], joint.types[e]
            if key not in made:
                v = Variable("shape")
                joint.outlines[v] = key
                joint.shapes[(v, 0)], joint.types[(v, 0)] = key
                made[key] = (v, 0)
            inputs[i] = made[key]
        node.inputs = tuple(inputs)


#: elements of the largest constant that is kept; more would only take memory that fused loops do without
_LARGEST = 1 << 16


def constants(joint: Joint, compute: Callable[[Node, list], Any]) -> None:
    """Compute what depends on nothing, once.

    Parameters
    ----------
    joint : Joint
    compute : function
        ``compute(node, arrays) -> arrays``: runs an operator.
    """
    changed: dict[Entry, Entry] = {}
    value_of: dict[Entry, Any] = {(v, 0): a for v, a in joint.constants.items()}
    for node in (*joint.forward_nodes(), *joint.backward_nodes()):
        op = node.op
        if op.mutates or op.schema.wants:  # type: ignore[union-attr]
            continue
        count = len(op.output_names(node.attrs, len(node.inputs)))  # type: ignore[union-attr]
        shapes = [joint.shapes.get((node, j)) for j in range(count)]
        if any(s is None or prod(s) > _LARGEST for s in shapes) or 0 in node.attrs.get("shape", ()):
            continue
        if not all(e is None or e in value_of for e in node.inputs):
            continue
        results = compute(node, [None if e is None else value_of[e] for e in node.inputs])
        for j, r in enumerate(results):
            v = Variable(f"{node.name or op.name}_{j}")  # type: ignore[union-attr]
            v.time = node.time
            joint.constants[v] = r
            joint.shapes[(v, 0)], joint.types[(v, 0)] = tuple(r.shape), r.dtype
            value_of[(node, j)] = r
            changed[(node, j)] = (v, 0)
    # a value that leaves the program stays an operator's result
    ends = joint.ends()
    joint.replace({e: to for e, to in changed.items() if e not in ends})
