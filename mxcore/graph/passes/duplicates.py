"""Common subexpressions are computed once."""

from __future__ import annotations

from typing import Any

from ..node import Entry, Node
from .joint import Joint

__all__ = ["duplicates"]


def duplicates(joint: Joint) -> None:
    """Merge applications of one operator to the same values with the same attributes.

    Forward and backward part are looked at apart: a backward step that repeats a forward one is cheaper than what keeping
    its value would cost in memory.
    """
    for nodes in (joint.forward_nodes(), joint.backward_nodes()):
        first: dict[Any, Node] = {}
        changed: dict[Entry, Entry] = {}
        for node in nodes:
            op = node.op
            if op.mutates or op.schema.wants:  # type: ignore[union-attr]  # what it gives depends on more than its inputs
                continue
            key = _key(node, changed)
            if key is None:
                continue
            found = first.setdefault(key, node)
            if found is not node:
                for j in range(len(op.output_names(node.attrs, len(node.inputs)))):  # type: ignore[union-attr]
                    changed[(node, j)] = (found, j)
        joint.replace(changed)


def _key(node: Node, changed: dict[Entry, Entry]) -> Any:
    key = (node.op, tuple([changed.get(e, e) if e is not None else None for e in node.inputs]),
           tuple([(k, _frozen(v)) for k, v in node.attrs.items()]))
    try:
        hash(key)
    except TypeError:
        return None  # an attribute that is an object of its own
    return key


def _frozen(value: Any) -> Any:
    # 0.0 and -0.0, 1 and True are equal but not the same
    return (type(value), repr(value)) if isinstance(value, (bool, float)) else value
