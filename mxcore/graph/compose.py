"""Composition without names: ``Value`` is what rules and composites see when they are traced into a graph."""

from collections.abc import Sequence
from typing import Any

from ..registry.op import APPLY, Op
from ..registry.schema import Attrs
from .node import Entry, Node, Variable

__all__ = ["Value", "leaf"]


class Value:
    """One output of a node, as operators see it while a rule or a composite is traced."""

    __slots__ = ("entry",)

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def __repr__(self) -> str:
        return f"<value {self.entry[0]!r}[{self.entry[1]}]>"


def leaf(name: str) -> Value:
    """A fresh variable."""
    return Value((Variable(name), 0))


def _apply(op: Op, arrays: Sequence[Any], attrs: Attrs) -> Any:
    entries = [None if a is None else a.entry for a in arrays]
    while entries and entries[-1] is None:
        entries.pop()
    node = Node(op, attrs, tuple(entries))
    count = op.visible_count(attrs, len(entries))
    return Value((node, 0)) if count == 1 else [Value((node, j)) for j in range(count)]


APPLY[Value] = _apply
