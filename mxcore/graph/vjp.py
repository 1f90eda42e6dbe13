"""Gradients of a definition in operators, as values: traced once into a graph, then replayed on arrays of any kind."""

from collections.abc import Callable, Sequence
from typing import Any

from ..registry.op import APPLY
from .compose import leaf
from .gradient import as_list, symbolic_gradient
from .node import Entry, Node, topological

__all__ = ["Trace", "trace_vjp"]


class Trace:
    """The gradient of a function of operators, ready to be applied.

    Parameters
    ----------
    inputs : nodes of the arguments, then of the head gradients
    results : entries of the gradients, None where nothing flows
    """

    def __init__(self, inputs: Sequence[Node], results: Sequence[Entry | None]) -> None:
        self.inputs, self.results = inputs, results
        self.order = [n for n in topological([r[0] for r in results if r is not None]) if n.op is not None]

    def __call__(self, arguments: Sequence[Any], head_grads: Sequence[Any]) -> list[Any]:
        """Gradients of the arguments: arrays, NDArrays (recorded, if recording is on) or symbols, as what is given."""
        given = zip(self.inputs, [*arguments, *head_grads], strict=True)
        values: dict[Node, Sequence[Any]] = {n: (v,) for n, v in given}
        for node in self.order:
            arrays = [None if e is None else values[e[0]][e[1]] for e in node.inputs]
            assert node.op is not None
            values[node] = as_list(APPLY[type(arrays[0])](node.op, arrays, node.attrs))
        return [None if r is None else values[r[0]][r[1]] for r in self.results]


def trace_vjp(definition: Callable, arguments: int, heads: Sequence[bool]) -> Trace:
    """Trace the gradient of ``definition(*arguments) -> outputs`` by all its arguments.

    Parameters
    ----------
    definition : callable
        Written in operators; must not look at shapes (close over them).
    arguments : int
        How many there are.
    heads : sequence of bool
        Which outputs have a head gradient.
    """
    leaves = [leaf(f"in{i}") for i in range(arguments)]
    outputs = as_list(definition(*leaves))
    given = [(o, leaf(f"head{j}")) for j, (o, has) in enumerate(zip(outputs, heads, strict=False)) if has]
    grads = symbolic_gradient([o.entry for o, _ in given], [g for _, g in given], [v.entry for v in leaves])
    inputs = [v.entry[0] for v in leaves] + [g.entry[0] for _, g in given]
    return Trace(inputs, [None if g is None else g.entry for g in grads])
