"""Programs: a graph as a flat list of kernel calls, forward and backward, over raw arrays.

Hybridized nets (:mod:`mxcore.runtime.cached_op`) and bound symbols (:mod:`mxcore.executor`) run these. The backward part
is the graph that the one reverse sweep gives over symbolic values; what it reads of the forward part is kept, arrays of
which it reads only the shape as their shape. Everything else is let go right after its last use.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..graph.compose import leaf
from ..graph.gradient import SHAPE, WHOLE, symbolic_gradient
from ..graph.infer import infer_shapes
from ..graph.node import Entry, Node, Shaped, Variable, topological
from ..registry.kernels import resolve
from .explain import explain
from .invoke import STATE, generator

__all__ = ["Kept", "Program", "evaluate"]


class Kept:
    """What a forward run leaves for the backward run of the same program."""

    __slots__ = ("generator", "values")

    def __init__(self, values: dict[int, Any], generator: Any) -> None:
        self.values, self.generator = values, generator


class _Step:
    """One kernel call: where its inputs are, where its outputs go, and what is dead afterwards."""

    __slots__ = ("attrs", "dead", "ins", "kernel", "mutated", "node", "outs", "plain", "wants")

    def __init__(self, node: Node, ins: tuple, outs: tuple, backend: str) -> None:
        op = node.op
        assert op is not None
        self.node, self.ins, self.outs = node, ins, outs
        self.kernel = op.kernels.get(backend) or resolve(op, backend)
        self.attrs = dict(node.attrs)
        self.wants = op.schema.wants
        self.mutated = tuple(ins[place] for place in op.mutated(node.attrs, len(ins)))
        self.plain = not self.wants and not self.mutated
        self.dead: tuple[int, ...] = ()


class Program:
    """A graph compiled for one backend.

    Parameters
    ----------
    heads : entries
        The outputs.
    inputs : variables
        In the order in which calls give their values.
    dev : Device
        Where it runs.
    wanted : sequence of bool, optional
        For which inputs gradients will be asked; none by default.
    """

    def __init__(self, heads: Sequence[Entry], inputs: Sequence[Variable], dev: Any, wanted: Sequence[bool] = ()) -> None:
        self.heads, self.inputs, self.dev = list(heads), list(inputs), dev
        self.wanted = tuple(wanted)
        self.slots: dict[Entry, int] = {(v, 0): i for i, v in enumerate(self.inputs)}
        order = [n for n in topological([n for n, _ in heads]) if n.op is not None]
        self.steps = [self._step(n) for n in order]
        self.out_slots = [self._slot(e) for e in heads]
        self.kept: dict[int, int] = {}
        self.back_steps: list[_Step] = []
        self.grad_slots: list[int | None] = []
        if any(self.wanted):
            self._differentiate(order)
        self._kill(self.steps, {*self.out_slots, *self.kept})
        # outputs must not share memory with inputs, nor with each other
        fresh: set[int] = set()
        views = {self._slot((s.node, j)) for s in self.steps if s.node.op.view or s.node.op.name == "_frontier"  # type: ignore[union-attr]
                 for j in range(len(s.outs))}
        self.copied = []
        for slot in self.out_slots:
            self.copied.append(slot in views or slot in fresh or slot < len(self.inputs))
            fresh.add(slot)
        self.open = [i for i, s in enumerate(self.steps) if not s.ins and 0 in s.attrs.get("shape", ())]
        self._filled: dict[tuple, list[_Step]] = {}
        self.random = any("rng" in s.wants for s in self.steps)

    def _slot(self, entry: Entry) -> int:
        found = self.slots.get(entry)
        if found is None:
            found = self.slots[entry] = len(self.slots)
        return found

    def _step(self, node: Node) -> _Step:
        op = node.op
        assert op is not None
        ins = tuple(-1 if e is None else self._slot(e) for e in node.inputs)
        count = len(op.output_names(node.attrs, len(ins)))
        return _Step(node, ins, tuple(self._slot((node, j)) for j in range(count)), self.dev.name)

    def _differentiate(self, forward: list[Node]) -> None:
        heads = [leaf(f"head{j}") for j in range(len(self.heads))]
        self.head_slots = [self._slot(h.entry) for h in heads]
        self.likes = [self._slot(e) for e in self.heads]
        variables = [v for v, w in zip(self.inputs, self.wanted, strict=True) if w]
        found = symbolic_gradient(self.heads, heads, [(v, 0) for v in variables])
        grads = iter(found)
        entries = [next(grads) if w else None for w in self.wanted]
        values = [g for g in found if g is not None]
        known = {*forward, *self.inputs}
        order = [n for n in topological([g.entry[0] for g in values], known) if n.op is not None]
        self.back_steps = [self._step(n) for n in order]
        uses: dict[int, int] = {self._slot(e): SHAPE for e in self.heads}
        for node in order:
            for i, e in enumerate(node.inputs):
                if e is not None and e[0] in known:
                    slot = self._slot(e)
                    level = SHAPE if i in node.op.shape_only else WHOLE  # type: ignore[union-attr]
                    uses[slot] = max(uses.get(slot, 0), level)
        for g in values:
            if g.entry[0] in known:
                uses[self._slot(g.entry)] = WHOLE
        self.kept = uses
        self.grad_slots = [None if g is None else self._slot(g.entry) for g in entries]
        self._kill(self.back_steps, {s for s in self.grad_slots if s is not None})

    @staticmethod
    def _kill(steps: list[_Step], alive: set[int]) -> None:
        seen = set(alive)
        for step in reversed(steps):
            dead = []
            for slot in (*step.ins, *step.outs):
                if slot >= 0 and slot not in seen:
                    seen.add(slot)
                    dead.append(slot)
            step.dead = tuple(dead)

    # ------------------------------------------------------------ running
    def _run(self, steps: list[_Step], values: list) -> None:
        xp, kind, dev = self.dev.xp, self.dev.array_type, self.dev
        for step in steps:
            arrays = [values[i] if i >= 0 else None for i in step.ins]
            try:
                if step.plain:
                    r = step.kernel(xp, *arrays, **step.attrs)
                else:
                    extra = {}
                    if "is_train" in step.wants:
                        extra["is_train"] = STATE.training
                    if "rng" in step.wants:
                        extra["rng"] = generator(dev)
                    r = step.kernel(xp, *arrays, **step.attrs, **extra)
                    if step.mutated:
                        count = len(r) - len(step.mutated)
                        for slot, new in zip(step.mutated, r[count:], strict=True):
                            if new is not None and STATE.replay is None:
                                xp.copyto(values[slot], new)
                        r = r[:count]
            except Exception as error:
                name = step.node.name
                failed = explain(step.node.op, arrays, step.node.attrs, error)  # type: ignore[arg-type]
                if name and f"node {name}" not in str(failed):
                    failed.args = (f"in node {name}: {failed}",)
                raise failed from error
            if type(r) is kind:
                values[step.outs[0]] = r
            elif type(r) is tuple:
                for slot, one in zip(step.outs, r, strict=True):
                    values[slot] = one
            else:
                values[step.outs[0]] = dev.backend.asarray(r)
            for slot in step.dead:
                values[slot] = None

    def forward(self, raws: Sequence[Any]) -> tuple[list, Kept | None]:
        """Outputs, and what the backward run needs (None when no gradient was declared wanted)."""
        steps = self._with_shapes(tuple([r.shape for r in raws])) if self.open else self.steps
        values: list[Any] = [None] * len(self.slots)
        values[: len(raws)] = raws
        state = copy.deepcopy(generator(self.dev)) if self.random and self.kept else None
        self._run(steps, values)
        own = self.dev.xp.copy
        outs = [own(values[s]) if c else values[s] for s, c in zip(self.out_slots, self.copied, strict=True)]
        if not self.kept and not any(self.wanted):
            return outs, None
        kept = {s: values[s] if level == WHOLE else Shaped(values[s].shape, values[s].dtype, self.dev)
                for s, level in self.kept.items()}
        return outs, Kept(kept, state)

    def _with_shapes(self, shapes: tuple) -> list[_Step]:
        """The steps where constants whose shape the graph left open (dimension 0) have the one that follows from the inputs."""
        found = self._filled.get(shapes)
        if found is None:
            known = infer_shapes(self.heads, dict(zip(self.inputs, shapes, strict=True)))
            found = list(self.steps)
            for i in self.open:
                step = found[i] = copy.copy(self.steps[i])
                shape = known.get((step.node, 0))
                if shape is None or -1 in shape:
                    raise ShapeError(f"the shape {step.node.attrs.shape} of {step.node.name} is open, and the inputs do not "
                                     f"determine it: inferred {shape}")
                step.attrs = {**step.node.attrs, "shape": shape}
            self._filled[shapes] = found
        return found

    def backward(self, kept: Kept, head_grads: Sequence[Any], once: bool = False) -> list:
        """Gradients of the inputs (None where none is wanted or nothing flows); missing head gradients are zero.

        With ``once``, ``kept`` is emptied, so that each value goes after its last use.
        """
        values: list = [None] * len(self.slots)
        for slot, value in kept.values.items():
            values[slot] = value
        xp = self.dev.xp
        for slot, g, like in zip(self.head_slots, head_grads, self.likes, strict=True):
            shape = kept.values[like]
            values[slot] = xp.zeros(shape.shape, shape.dtype) if g is None else g
        if once:
            kept.values = {}
        self._run(self.back_steps, values)
        return [None if s is None else values[s] for s in self.grad_slots]

    def __repr__(self) -> str:
        return (f"<program: {len(self.steps)} forward and {len(self.back_steps)} backward steps, {len(self.inputs)} "
                f"inputs, {len(self.heads)} outputs, {len(self.kept)} values kept, on {self.dev.ctx}>")


def evaluate(heads: Sequence[Entry], bound: dict[Node, Any], apply: Any) -> list:
    """The values of ``heads`` by applying operators one by one to whatever ``bound`` holds (the eager definition)."""
    values: dict[Entry, Any] = {(n, 0): v for n, v in bound.items()}
    for node in topological([n for n, _ in heads]):
        if node.op is None or (node, 0) in values:
            continue
        arrays = [None if e is None else values[e] for e in node.inputs]
        result = apply(node.op, arrays, node.attrs)
        for j, one in enumerate(result if isinstance(result, (list, tuple)) else [result]):
            values[(node, j)] = one
    return [values[e] for e in heads]
