"""Definitions in place of the operators that have nothing better on the backend."""

from __future__ import annotations

from functools import partial

from ...registry.kernels import kernels_of
from ..node import Node
from .joint import Joint

__all__ = ["inline"]


def inline(joint: Joint) -> None:
    """Replace composites by what they are made of, unless the backend has a kernel for the whole."""
    done: set[Node] = set()
    while True:
        changed = {}
        for node in (*joint.forward_nodes(), *joint.backward_nodes()):
            if node in done:
                continue
            done.add(node)
            op = node.op
            if (op.composite is None or op.generic_kernel is not None or op.shaped or op.mutates or op.schema.wants  # type: ignore[union-attr]
                    or kernels_of(joint.backend, op.name)):  # type: ignore[union-attr]
                continue
            entries = joint.traced(partial(op.composite, **node.attrs), node.inputs, node)  # type: ignore[union-attr]
            for j, e in enumerate(entries):
                changed[(node, j)] = e
        if not changed:
            return
        joint.replace(changed)
