"""``Joint``: the forward and the backward graph of one program, for known shapes and types. Passes change it in place."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...errors import ShapeError
from ...registry.op import Op
from ...registry.schema import Attrs
from ..compose import Value, leaf
from ..gradient import symbolic_gradient
from ..infer import infer_shapes, infer_types, op_shapes, op_types
from ..node import Entry, Node, Variable, topological

__all__ = ["Joint"]


class Joint:
    """Copies of the nodes of a graph, with the graph of its gradients; free to be changed.

    Parameters
    ----------
    heads : entries
        The outputs.
    inputs : variables
        Of the program, in order.
    wanted : sequence of bool
        For which of them gradients are asked.
    backend : str
        Name of the backend it will run on.
    training : bool
        Whether operators behave as in training.
    static : sequence of bool
        Which inputs change only when somebody writes to them (parameters).
    shapes, types : sequences, optional
        Of the inputs; without them nothing is known of any value.

    Raises
    ------
    MXNetError
        They contradict each other.

    Attributes
    ----------
    heads, grads : list of entries (None among the gradients: nothing flows there)
    seeds : list of Variable
        The gradients of the outputs.
    shapes, types : dict of Entry
        What is known of values; what is missing is known only when the program runs.
    constants : dict of Variable to array
        Values that are the same in each run.
    outlines : dict of Variable to (shape, type)
        Inputs of which only that is read.
    """

    def __init__(self, heads: Sequence[Entry], inputs: Sequence[Variable], wanted: Sequence[bool], backend: str,
                 training: bool, static: Sequence[bool] = (), shapes: Sequence[tuple[int, ...]] | None = None,
                 types: Sequence[Any] | None = None) -> None:
        self.backend, self.training = backend, training
        self.inputs = list(inputs)
        self.static = {v for v, s in zip(inputs, static, strict=False) if s}
        self.constants: dict[Variable, Any] = {}
        self.outlines: dict[Variable, tuple[tuple[int, ...], Any]] = {}
        copies: dict[Node, Node] = {v: v for v in self.inputs}
        for node in topological([n for n, _ in heads]):
            if node not in copies:
                made = Node(node.op, node.attrs, _moved(node.inputs, copies), node.name, node.text)
                made.time = node.time
                copies[node] = made
        self.heads: list[Entry] = [(copies[n], j) for n, j in heads]
        self.seeds: list[Variable] = []
        self.grads: list[Entry | None] = []
        if any(wanted):
            seeds = [leaf(f"head{j}") for j in range(len(heads))]
            self.seeds = [s.entry[0] for s in seeds]  # type: ignore[misc]
            found = iter(symbolic_gradient(self.heads, seeds, [(v, 0) for v, w in zip(inputs, wanted, strict=True) if w]))
            values: list[Value | None] = [next(found) if w else None for w in wanted]
            self.grads = [None if v is None else v.entry for v in values]
        self.shapes: dict[Entry, tuple[int, ...]] = {}
        self.types: dict[Entry, Any] = {}
        if shapes is not None and types is not None:
            self._infer_all(shapes, types)

    def _infer_all(self, shapes: Sequence[tuple[int, ...]], types: Sequence[Any]) -> None:
        known: dict[Node, Any] = dict(zip(self.inputs, shapes, strict=True))
        dtypes: dict[Node, Any] = dict(zip(self.inputs, types, strict=True))
        self.shapes = _whole(infer_shapes(self.heads, known))
        self.types = infer_types(self.heads, dtypes)
        for seed, head in zip(self.seeds, self.heads, strict=False):
            for table in (self.shapes, self.types):
                if head in table:
                    table[(seed, 0)] = table[head]
        for node in self.forward_nodes():
            self._fill(node)
        for node in self.backward_nodes():
            self._fill(node)
            self.infer(node)

    def _fill(self, node: Node) -> None:
        """A constant whose shape the graph left open (dimension 0) gets the one that follows from the inputs."""
        if not node.inputs and 0 in node.attrs.get("shape", ()):
            shape = self.shapes.get((node, 0))
            if shape is None or 0 in shape:
                raise ShapeError(f"the shape {node.attrs.shape} of {node.name} is open, and the inputs do not determine it: "
                                 f"inferred {shape}")
            node.attrs = Attrs({**node.attrs, "shape": shape}, node.attrs.given)

    # ------------------------------------------------------------ looking
    def forward_nodes(self) -> list[Node]:
        """Applications that the outputs need, in the order in which they are to run."""
        return self._ordered([n for n, _ in self.heads], ())

    def backward_nodes(self) -> list[Node]:
        """Applications that only the gradients need, in the order in which they are to run."""
        return self._ordered([e[0] for e in self.grads if e is not None], self._reached([n for n, _ in self.heads]))

    def _reached(self, ends: Iterable[Node]) -> set[Node]:
        return {*topological(ends)}

    @staticmethod
    def _ordered(ends: Iterable[Node], behind: Any) -> list[Node]:
        """By the time when the nodes were made, as far as their inputs allow: values then live shortly."""
        nodes = [n for n in topological([n for n in ends if n not in behind], behind) if n.op is not None]
        waiting: dict[Node, int] = {}
        users: dict[Node, list[Node]] = {}
        inside = set(nodes)
        for n in nodes:
            before = {e[0] for e in n.inputs if e is not None and e[0] in inside}
            waiting[n] = len(before)
            for b in before:
                users.setdefault(b, []).append(n)
        ready = [(n.time, i, n) for i, n in enumerate(nodes) if not waiting[n]]
        place = {n: i for i, n in enumerate(nodes)}
        heapq.heapify(ready)
        order = []
        while ready:
            n = heapq.heappop(ready)[2]
            order.append(n)
            for u in users.get(n, ()):
                waiting[u] -= 1
                if not waiting[u]:
                    heapq.heappush(ready, (u.time, place[u], u))
        return order

    def users(self) -> dict[Entry, list[Node]]:
        """Who reads each value."""
        found: dict[Entry, list[Node]] = {}
        for node in (*self.forward_nodes(), *self.backward_nodes()):
            for e in node.inputs:
                if e is not None:
                    found.setdefault(e, []).append(node)
        return found

    def ends(self) -> set[Entry]:
        """Values that leave the program."""
        return {*self.heads, *[e for e in self.grads if e is not None]}

    # ------------------------------------------------------------ changing
    def node(self, op: Op, attrs: Attrs, inputs: Sequence[Entry | None], like: Node) -> Node:
        """A new application, that stands where ``like`` did."""
        made = Node(op, attrs, tuple(inputs), like.name, like.text)
        made.time = like.time
        self.infer(made)
        return made

    def infer(self, node: Node) -> None:
        """Find shapes and types of the outputs of one node from those of its inputs."""
        op = node.op
        assert op is not None
        for table, rule in ((self.shapes, op_shapes), (self.types, op_types)):
            _, outs = rule(op, node.attrs, [None if e is None else table.get(e) for e in node.inputs])
            for j, found in enumerate(outs):
                if found is not None and not (table is self.shapes and -1 in found):
                    table[(node, j)] = found

    def traced(self, function: Callable, inputs: Sequence[Entry | None], like: Node) -> list[Entry]:
        """What ``function`` makes of values when it calls operators, as new nodes that stand where ``like`` did."""
        values = [None if e is None else Value(e) for e in inputs]
        result = function(*values)
        entries = [r.entry for r in (result if isinstance(result, (list, tuple)) else (result,))]
        for node in topological([n for n, _ in entries], {e[0] for e in inputs if e is not None}):
            if node.op is not None and (node, 0) not in self.shapes:
                node.time, node.name = like.time, node.name or like.name
                self.infer(node)
        return entries

    def replace(self, changed: dict[Entry, Entry]) -> None:
        """Let all who read a key of ``changed`` read its value instead."""
        if not changed:
            return

        def final(e: Entry | None) -> Entry | None:
            while e in changed:
                e = changed[e]
            return e

        nodes = [*self.forward_nodes(), *self.backward_nodes()]
        fresh = topological([final(e)[0] for e in changed])  # type: ignore[index]
        for node in {*nodes, *fresh}:
            if any(e in changed for e in node.inputs):
                node.inputs = tuple([final(e) for e in node.inputs])
        self.heads = [final(e) for e in self.heads]  # type: ignore[misc]
        self.grads = [final(e) for e in self.grads]


def _moved(inputs: Sequence[Entry | None], copies: dict[Node, Node]) -> tuple:
    return tuple([None if e is None else (copies[e[0]], e[1]) for e in inputs])


def _whole(shapes: dict[Entry, Any]) -> dict[Entry, tuple[int, ...]]:
    return {e: s for e, s in shapes.items() if s is not None and -1 not in s}
