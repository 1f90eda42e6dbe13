"""``CachedOp``: a symbol called like an operator. What ``HybridBlock.hybridize`` runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from weakref import ref

from ..errors import ArgumentError, ContextError
from ..graph.node import Node, Shaped, Variable, topological
from ..registry.op import APPLY, OPS, Op
from ..registry.schema import EMPTY
from .invoke import STATE, create, wrap
from .listing import Listing
from .program import Program, evaluate

__all__ = ["CachedOp"]


class CachedOp:
    """A graph as one callable, recorded as one node of the tape.

    Parameters
    ----------
    sym : Symbol
        Anything with ``_entries``.
    parameters : collection of str, optional
        Names of inputs that change only when they are written to: what follows from them alone is kept between calls.
    flags : sequence of (name, value)
        ``static_alloc``, ``static_shape``, ... as MXNet has them.

    Notes
    -----
    Arrays are given in the order of ``sym.list_inputs()``. Auxiliary states are updated in place. A program is compiled
    for each device and each set of inputs whose gradients are wanted, at the first call that needs it.
    """

    def __init__(self, sym: Any, flags: Sequence[tuple[str, Any]] = (), parameters: Collection[str] = ()) -> None:
        self.flags = dict(flags)
        self.heads = list(sym._entries)
        self.inputs = [n for n in topological([n for n, _ in self.heads]) if type(n) is Variable]
        self.names = [n.name for n in self.inputs]
        self._static = tuple([n in parameters for n in self.names])
        self._programs: dict[Any, Program] = {}
        op = Op("_CachedOp", self._definition, OPS["_copy"].schema)
        op.rule, op.raw_rule, op.composite = self._rule, True, self._definition
        op.outputs = tuple(f"output{j}" for j in range(len(self.heads)))
        self.op = op

    def __call__(self, *args: Any, out: Any = None) -> Any:
        """Run on arrays, one for each input; one array, or a list of them."""
        if len(args) != len(self.inputs):
            raise ArgumentError(f"expected {len(self.inputs)} arrays for the inputs {self.names}, got {len(args)}")
        first = args[0] if args else None
        if first is None:
            raise ArgumentError("a graph without inputs has no device to run on")
        dev = first._dev
        mask = None
        if STATE.recording:
            mask = tuple([a._entry is not None for a in args])
            if True not in mask:
                mask = None
        key = (dev, mask)
        program = self._programs.get(key)
        if program is None:
            program = Program(self.heads, self.inputs, dev, mask or (), self._static, bool(self.flags.get("static_alloc")))
            self._programs[key] = program
        raws = []
        for a, n in zip(args, self.names, strict=True):
            if a._dev is not dev:
                raise ContextError(f"input {n!r} is on {a._dev.ctx}, but {self.names[0]!r} is on {dev.ctx}; all inputs of a "
                                   "hybridized block must be on one device")
            raws.append(a._data)
        results, kept = program.forward(raws)
        cls = type(first)
        if out is not None:
            outs = list(out) if isinstance(out, (list, tuple)) else [out]
            for o, r in zip(outs, results, strict=True):
                o._assign_raw(r)
        else:
            outs = [wrap(cls, r, dev) for r in results]
        if kept is not None:
            shapes = [Shaped(r.shape, r.dtype, dev) for r in results]
            node = Node(self.op, EMPTY, tuple([a._entry for a in args]), "", None, ([*raws, kept, program], shapes, dev, mask))
            for a in args:
                if a._entry is None:
                    a._kept = ref(node)
            for j, o in enumerate(outs):
                o._entry = (node, j)
        return outs[0] if len(outs) == 1 else outs

    def _rule(self, n: Any, *grads: Any) -> list:
        kept, program = n.inputs[-2:]
        return program.backward(kept, grads, n.once, n.places)

    def _definition(self, *arrays: Any) -> list:
        """The graph applied operator by operator: for gradients of gradients."""
        like = next(a for a in arrays if a is not None)

        def apply(op: Op, values: Sequence[Any], attrs: Any) -> Any:
            if not values:
                return create(op, attrs, like._dev, type(like))
            return APPLY[type(values[0])](op, values, attrs)

        return evaluate(self.heads, dict(zip(self.inputs, arrays, strict=True)), apply)

    def listings(self) -> list[Listing]:
        """The compiled programs in words."""
        return [text for program in self._programs.values() for text in program.listings()]

    def __repr__(self) -> str:
        return f"<CachedOp of {len(self.inputs)} inputs and {len(self.heads)} outputs>"
