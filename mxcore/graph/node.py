"""Nodes and their traversal. A tape entry and a symbol are the same thing: a pair (node, output index)."""

import itertools
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from ..registry.op import Op
from ..registry.schema import EMPTY, Attrs

__all__ = ["Entry", "Node", "Shaped", "Variable", "by_time", "free", "topological"]


_CLOCK = itertools.count()


class Shaped:
    """Stands for an array of which only shape, type and device matter (the tape keeps it instead of the array)."""

    __slots__ = ("dev", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any, dev: Any) -> None:
        self.shape, self.dtype, self.dev = shape, dtype, dev

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    def __repr__(self) -> str:
        return f"<shape {self.shape} {self.dtype}>"


class Node:
    """An application of an operator.

    Attributes
    ----------
    op : Op or None
        None for a variable.
    attrs : Attrs
        Parsed attributes.
    inputs : tuple of Entry or None
        ``None`` stands for a constant of the tape: nothing flows back to it.
    name : str
        Only symbols have names.
    text : dict
        User attributes of symbols (``__lr_mult__``, ``ctx_group``, ...).
    saved : tuple or None
        Tape only: the values that the gradient rule reads, inputs then outputs; see :mod:`mxcore.autograd`.
    time : int
        Counts up: a node is made after its inputs, so this is a topological order.
    freed : int
        Tape only: when :func:`free` was called.
    """

    __slots__ = ("__weakref__", "attrs", "freed", "inputs", "name", "op", "saved", "text", "time")
    freed: int

    def __init__(self, op: Op | None, attrs: Attrs, inputs: tuple, name: str = "", text: dict[str, str] | None = None,
                 saved: Any = None) -> None:
        self.op = op
        self.attrs = attrs
        self.inputs = inputs
        self.name = name
        self.text = text
        self.saved = saved
        self.time = next(_CLOCK)

    def __repr__(self) -> str:
        return f"<node {self.name or '?'}: {self.op.name if self.op else 'variable'}>"


Entry = tuple[Node, int]


class Variable(Node):
    """A leaf: an input of a symbol, or an array whose gradient was asked for."""

    __slots__ = ("fresh", "grad", "lent", "req")

    def __init__(self, name: str = "", text: dict[str, str] | None = None) -> None:
        Node.__init__(self, None, EMPTY, (), name, text)
        self.grad: Any = None
        self.req = "write"
        self.fresh = False
        self.lent = -1  # the backward pass that may have written the gradient into its place already


def free(nodes: Iterable[Node]) -> None:
    """Let go of what the tape kept of nodes, and of the graph behind them. Arrays that were computed are constants now."""
    now = next(_CLOCK)
    for node in nodes:
        node.saved, node.inputs, node.freed = None, (), now


def topological(heads: Iterable[Node], stop: Any = ()) -> list[Node]:
    """Nodes that ``heads`` depend on, inputs before users, in depth-first order (MXNet's listing order)."""
    order: list[Node] = []
    seen: set[Node] = set(stop)
    for head in heads:
        if head in seen:
            continue
        seen.add(head)
        stack: list[tuple[Node, Iterator]] = [(head, iter(head.inputs))]
        while stack:
            node, rest = stack[-1]
            for entry in rest:
                if entry is not None and entry[0] not in seen:
                    child = entry[0]
                    seen.add(child)
                    if child.inputs:
                        stack.append((child, iter(child.inputs)))
                        break
                    order.append(child)
            else:
                stack.pop()
                order.append(node)
    return order


_TIME = attrgetter("time")


def by_time(heads: Iterable[Node], stop: Iterable[Node] = ()) -> list[Node]:
    """The nodes that ``heads`` depend on, in the order in which they were made; cheaper than :func:`topological`."""
    seen: set[Node] = set(stop)
    found: list[Node] = []
    stack = list(heads)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        found.append(node)
        for entry in node.inputs:
            if entry is not None and entry[0] not in seen:
                stack.append(entry[0])
    found.sort(key=_TIME)
    return found
