"""From a graph to a plan: kernels chosen and bound, orders of axes settled, memory laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph.node import Entry, Node, Shaped, Variable
from ..graph.passes.joint import Joint
from ..graph.passes.pieces import wide_of
from ..registry import expr as E
from ..registry.bound import PRIVATE, Bound, Epilogue, Order, Spec, order_of, plain_order
from ..registry.kernels import binders_of
from ..registry.loop import Loop
from .memory import Cell, assign
from .steps import BoundStep, Call, Copy, Step

__all__ = ["Plan", "lower"]


@dataclass(eq=False)
class Plan:
    """What runs for one set of shapes.

    Attributes
    ----------
    prologue, forward, backward : lists of steps
    prepared : list of BoundStep
        Those whose ``prepare`` follows from parameters alone.
    size : int
        Number of slots; the inputs come first.
    constants : dict of slot to value
    outs, grads : slots; ``seeds``: slots of the gradients of the outputs
    direct : (input, slot) of the gradients that a bound kernel can write into any memory in C order
    kept : slots that the backward part reads
    nbytes, unplanned : int
        Bytes of the block that the steps share, and of the same values each in memory of its own.
    views : list of (slot, offset, spec)
        What lies where in the block.
    specs : dict of slot to Spec
        What is known of values beforehand.
    """

    prologue: list[Step] = field(default_factory=list)
    forward: list[Step] = field(default_factory=list)
    backward: list[Step] = field(default_factory=list)
    prepared: list[BoundStep] = field(default_factory=list)
    size: int = 0
    constants: dict[int, Any] = field(default_factory=dict)
    hoisted: tuple[int, ...] = ()
    outs: list[int] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    grads: list[int | None] = field(default_factory=list)
    direct: tuple[tuple[int, int], ...] = ()
    kept: tuple[int, ...] = ()
    nbytes: int = 0
    unplanned: int = 0
    views: list[tuple[int, int, Spec]] = field(default_factory=list)
    specs: dict[int, Spec] = field(default_factory=dict)


def lower(joint: Joint, dev: Any, on: frozenset[str]) -> Plan:
    """The plan of a graph on a device; ``on`` are the steps of :data:`mxcore.graph.passes.STEPS` that are switched on."""
    return _Lowering(joint, dev, on).plan


class _Lowering:
    def __init__(self, joint: Joint, dev: Any, on: frozenset[str]) -> None:
        self.joint, self.dev, self.on = joint, dev, on
        self.plan = Plan()
        self.slots: dict[Entry, int] = {(v, 0): i for i, v in enumerate(joint.inputs)}
        self.specs: dict[int, Spec] = {}
        self.static: set[int] = set()
        self.copies: dict[tuple[int, Order], int] = {}
        self.may_bind = "bind" in on and hasattr(dev.backend, "allocate")
        self._leaves()
        forward, backward = joint.forward_nodes(), joint.backward_nodes()
        self._count_users(forward, backward)
        self.absorbed: set[Node] = set()
        self.done: set[Node] = set()
        plan = self.plan
        plan.forward = self._steps(forward)
        plan.seeds = [self.slot((s, 0)) for s in joint.seeds]
        plan.backward = self._steps(backward)
        plan.outs = [self.slot(e) for e in joint.heads]
        plan.grads = [None if e is None else self.slot(e) for e in joint.grads]
        plan.specs = self.specs
        self._hoist()
        self._find_direct()
        plan.size = len(self.slots)
        self._keep()
        self._lay_out()

    # ------------------------------------------------------------ values
    def slot(self, e: Entry) -> int:
        found = self.slots.get(e)
        if found is None:
            found = self.slots[e] = len(self.slots)
        return found

    def _fresh(self) -> int:
        return self.slot((Variable("copy"), 0))

    def _leaves(self) -> None:
        joint = self.joint
        for v in (*joint.inputs, *joint.seeds):
            self._plain_spec((v, 0), v in joint.static and "hoist" in self.on)
        for v, value in joint.constants.items():
            slot = self.slot((v, 0))
            self.plan.constants[slot] = value
            self.specs[slot] = Spec(tuple(value.shape), value.dtype, plain_order(len(value.shape)), True)
            self.static.add(slot)
        for v, (shape, dtype) in joint.outlines.items():
            slot = self.slot((v, 0))
            self.plan.constants[slot] = Shaped(shape, dtype, self.dev)
            self.specs[slot] = Spec(shape, dtype, plain_order(len(shape)), True)
            self.static.add(slot)

    def _plain_spec(self, e: Entry, static: bool = False) -> None:
        shape, dtype = self.joint.shapes.get(e), self.joint.types.get(e)
        slot = self.slot(e)
        if shape is not None and dtype is not None:
            self.specs[slot] = Spec(shape, dtype, plain_order(len(shape)), static)
        if static:
            self.static.add(slot)

    def _count_users(self, *phases: Sequence[Node]) -> None:
        self.users: dict[Entry, list[Node]] = {}
        self.phase: dict[Node, int] = {}
        for number, nodes in enumerate(phases):
            for node in nodes:
                self.phase[node] = number
                for e in node.inputs:
                    if e is not None:
                        self.users.setdefault(e, []).append(node)
        self.ends = self.joint.ends()

    # ------------------------------------------------------------ steps
    def _steps(self, nodes: list[Node]) -> list[Step]:
        steps: list[Step] = []
        for node in nodes:
            if node not in self.absorbed:
                steps += self._step(node)
            self.done.add(node)
        return steps

    def _step(self, node: Node) -> list[Step]:
        op = node.op
        assert op is not None
        ins = tuple(-1 if e is None else self.slot(e) for e in node.inputs)
        count = len(op.output_names(node.attrs, len(ins)))
        entries = [(node, j) for j in range(count)]
        if self.may_bind and (bound := self._bound(node, ins, entries)) is not None:
            return bound
        outs = tuple(self.slot(e) for e in entries)
        call = Call(node, ins, outs, self.dev.name)
        for e in entries:
            self._plain_spec(e)
        pure = op.simple or not (op.mutates or op.schema.wants)
        if pure and ins and all(i < 0 or i in self.static for i in ins):
            self.static.update(outs)
        if op.view and self.may_bind:
            self._look(call)
        else:
            call.tidy = tuple(o for o in outs if o in self.specs) if self.may_bind else ()
        return [call]

    def _look(self, call: Call) -> None:
        """How the result of a view operator lies in memory: try it on memory that nobody reads."""
        specs = [self.specs.get(i) for i in call.ins]
        first = specs[0] if specs else None
        arrays_read = [i for i in call.ins if not isinstance(self.plan.constants.get(i), Shaped)]
        fit = first is not None and len(arrays_read) == 1 and min(first.strides, default=0) >= 0 and \
            all(slot in self.specs for slot in (*call.ins, *call.outs))
        if not fit:
            for slot in call.outs:
                self.specs.pop(slot, None)
            return
        arrays = [self._sample(s) if i in arrays_read else self.plan.constants[i]  # type: ignore[arg-type]
                  for i, s in zip(call.ins, specs, strict=True)]
        results = call.kernel(self.dev.xp, *arrays, **call.attrs)
        for slot, r in zip(call.outs, results if isinstance(results, (tuple, list)) else (results,), strict=False):
            spec = self.specs[slot]
            if r.shape != spec.shape:
                self.specs.pop(slot)
                continue
            order = order_of(r.shape, r.strides, r.dtype.itemsize)
            self.specs[slot] = Spec(spec.shape, spec.dtype, order, slot in self.static, None if order else r.strides)

    def _sample(self, spec: Spec) -> Any:
        backend = self.dev.backend
        if spec.order is not None:
            return backend.allocate(spec)
        reach = sum((n - 1) * step for n, step in zip(spec.shape, spec.strides, strict=True)) + spec.dtype.itemsize
        return backend.place(backend.block(reach, 0), 0, spec)

    def _bound(self, node: Node, ins: tuple[int, ...], entries: list[Entry]) -> list[Step] | None:
        op, joint = node.op, self.joint
        assert op is not None
        binders = binders_of(self.dev.name, op.name)
        if not binders:
            return None
        specs = [None if i < 0 else self.specs.get(i) for i in ins]
        if any(s is None and i >= 0 for s, i in zip(specs, ins, strict=True)):
            return None
        outs: list[Spec] = []
        for e, name in zip(entries, op.output_names(node.attrs, len(ins)), strict=True):
            shape, dtype = joint.shapes.get(e), joint.types.get(e)
            if name in PRIVATE:
                shape = (0,)
            if shape is None or dtype is None:
                return None
            outs.append(Spec(shape, dtype, plain_order(len(shape))))
        places = op.mutated(node.attrs, len(ins))
        news = [specs[p] for p in places]
        outs += [Spec(s.shape, s.dtype, plain_order(len(s.shape))) for s in news]  # type: ignore[union-attr]
        for bind in binders:
            found = self._with_epilogue(node, bind, ins, specs, outs, entries) if "epilogue" in self.on else None
            if found is None:
                bound = bind(specs, outs, node.attrs, joint.training)
                if bound is None:
                    continue
                found = bound, node, ins, entries
            bound, what, ins, entries = found
            for j, length in bound.private.items():
                outs[j] = Spec((length,), outs[j].dtype, plain_order(1))
            slots = tuple(self.slot(e) for e in entries) + tuple(self._fresh() for _ in places)
            return self._placed(what, ins, slots, bound, outs, tuple(ins[p] for p in places))
        return None

    def _with_epilogue(self, node: Node, bind: Any, ins: tuple[int, ...], specs: list, outs: list[Spec],
                       entries: list[Entry]) -> tuple | None:
        """Bind ``node`` together with the loop that is the only reader of its first result."""
        e = entries[0]
        users = self.users.get(e, [])
        if e in self.ends or len(users) != 1 or node.op.name == "_fused":  # type: ignore[union-attr]
            return None
        after = users[0]
        if after.op.name != "_fused" or self.phase[after] != self.phase[node]:  # type: ignore[union-attr]
            return None
        loop: Loop = after.attrs["loop"]
        if len(loop.exprs) != 1 or loop.reductions[0] is not None or loop.shape != outs[0].shape or \
                after.attrs["dtypes"][0] != outs[0].dtype or loop.dtype != wide_of(outs[0].dtype):
            return None
        others = [(n, i) for n, i in zip(loop.names, after.inputs, strict=True) if i != e]
        if len(others) != len(after.inputs) - 1:
            return None
        for _, i in others:  # they must be there already
            if not (isinstance(i[0], Variable) or i[0] in self.done) or self.slot(i) not in self.specs:
                return None
        mine = next(n for n, i in zip(loop.names, after.inputs, strict=True) if i == e)
        renamed = E.substituted(loop.exprs[0], {E.arg(mine): E.arg("acc")})
        more = tuple(self.slot(i) for _, i in others)
        bound = bind([*specs, *[self.specs[i] for i in more]], outs, node.attrs, self.joint.training,
                     Epilogue(renamed, tuple(n for n, _ in others)))
        if bound is None:
            return None
        self.absorbed.add(after)
        shown = Node(node.op, node.attrs, node.inputs, node.name, {**(node.text or {}), **(after.text or {})})
        return bound, shown, ins + more, [(after, 0), *entries[1:]]

    def _placed(self, node: Node, ins: tuple[int, ...], outs: tuple[int, ...], bound: Bound, specs: list[Spec],
                mutated: tuple[int, ...]) -> list[Step]:
        """The step, with copies in front of it where a kernel wants another order of axes."""
        steps: list[Step] = []
        places = list(ins)
        for k, order in enumerate(bound.in_orders):
            if order is None or ins[k] < 0 or self.specs[ins[k]].lies(order):
                continue
            key = ins[k], order
            copy = self.copies.get(key)
            if copy is None:
                copy = self.copies[key] = self._fresh()
                source = self.specs[ins[k]]
                self.specs[copy] = source.ordered(order)
                steps.append(BoundStep(node, (ins[k],), (copy,), self._copy(source, order), [source]))
                if ins[k] in self.static:
                    self.static.add(copy)
            places[k] = copy
        step = BoundStep(node, tuple(places), outs, bound, specs, mutated)
        for slot, spec in zip(outs, step.specs, strict=True):
            self.specs[slot] = spec
        if not mutated and places and all(i < 0 or i in self.static for i in places):
            self.static.update(outs)
            for slot in outs:
                s = self.specs[slot]
                self.specs[slot] = Spec(s.shape, s.dtype, s.order, True)
        if bound.prepared and all(places[i] in self.static for i in bound.prepared):
            step.again = False
            self.plan.prepared.append(step)
        return [*steps, step]

    def _copy(self, source: Spec, order: Order) -> Bound:
        for bind in binders_of(self.dev.name, "_copy"):
            bound = bind([source], [source.ordered(order)], {}, self.joint.training)
            if bound is not None:
                return bound
        return Copy(source, order, self.dev.xp.copyto)

    # ------------------------------------------------------------ when
    def _hoist(self) -> None:
        """Steps that depend on parameters only go into the prologue."""
        plan = self.plan
        for phase in ("forward", "backward"):
            stay: list[Step] = []
            go: list[Step] = []
            for step in getattr(plan, phase):
                (go if step.outs and all(o in self.static for o in step.outs) else stay).append(step)
            plan.prologue += go
            setattr(plan, phase, stay)
        plan.hoisted = tuple(o for s in plan.prologue for o in s.outs)
        for step in plan.prologue:
            if isinstance(step, BoundStep) and step.bound.prepared and not step.again:
                plan.prepared.remove(step)
                step.again = True

    def _find_direct(self) -> None:
        plan = self.plan
        written = {o for s in plan.backward if isinstance(s, BoundStep) for o in s.outs}
        plan.direct = tuple((i, g) for i, g in enumerate(plan.grads) if g is not None and g in written and
                            plan.grads.count(g) == 1 and self.specs[g].lies(plain_order(len(self.specs[g].shape))))

    def _keep(self) -> None:
        """What the backward part reads of the forward part, and what is dead after each step."""
        plan = self.plan
        made = {o for s in plan.forward for o in s.outs} | set(range(len(self.joint.inputs)))
        read = {i for s in plan.backward for i in s.ins if i >= 0} | {g for g in plan.grads if g is not None}
        plan.kept = tuple(sorted(made & read))
        lasting = {*plan.constants, *plan.hoisted}
        alive = {*plan.outs, *plan.kept, *lasting}
        _kill(plan.forward, set(alive))
        _kill(plan.backward, {*[g for g in plan.grads if g is not None], *lasting})

    def _lay_out(self) -> None:
        """Lifetimes, reuse in place, offsets."""
        plan = self.plan
        timeline: list[Step] = [*plan.forward, *plan.backward]
        border, end = len(plan.forward), len(timeline) + 1
        when = {id(s): t if t < border else t + 1 for t, s in enumerate(timeline)}
        planned: dict[int, Cell] = {}
        roots: dict[int, frozenset[int]] = {}
        leaving = {*plan.outs, *[g for g in plan.grads if g is not None]}
        for step in timeline:
            t = when[id(step)]
            if isinstance(step, BoundStep):
                for slot, spec in zip(step.outs, step.specs, strict=True):
                    if spec.nbytes and slot not in leaving:
                        planned[slot] = Cell(spec.nbytes, t, t)
                        roots[slot] = frozenset((slot,))
                        plan.unplanned += spec.nbytes
            else:  # what a kernel returns may share memory with what it was given
                found = frozenset().union(*[roots.get(i, frozenset()) for i in step.ins])
                for slot in step.outs:
                    roots[slot] = found
        last: dict[int, int] = {}

        def use(slot: int, t: int) -> None:
            for r in roots.get(slot, ()):
                last[r] = max(last.get(r, 0), t)

        for step in timeline:
            for i in step.ins:
                use(i, when[id(step)])
        for slot in plan.outs:
            use(slot, border)
        for g in plan.grads:
            if g is not None:
                use(g, end)
        for slot, cell in planned.items():
            cell.last = max(cell.first, last.get(slot, cell.first))
        if "memory" not in self.on:
            return
        cells = self._in_place(timeline, when, planned, roots)
        plan.nbytes = assign(list({id(c): c for c in cells.values()}.values()))
        plan.views = [(slot, cells[slot].offset, self.specs[slot]) for slot in planned]

    def _in_place(self, timeline: list[Step], when: dict[int, int], planned: dict[int, Cell],
                  roots: dict[int, frozenset[int]]) -> dict[int, Cell]:
        cells = dict(planned)
        for step in timeline:
            if not isinstance(step, BoundStep):
                continue
            t = when[id(step)]
            taken: set[int] = set()
            for i, j in step.bound.in_place:
                source, target = step.ins[i], step.outs[j]
                if source not in planned or target not in planned or target in taken:
                    continue
                cell = cells[source]
                if cell.last != t or id(cell) in taken or cell.nbytes != planned[target].nbytes or \
                        any(cells[r] is cell for n, k in enumerate(step.ins) if n != i for r in roots.get(k, ())) or \
                        not self.specs[source].lies(self.specs[target].order):  # type: ignore[arg-type]
                    continue
                cell.last = max(cell.last, planned[target].last)
                cells[target] = cell
                taken.update((target, id(cell)))
        return cells


def _kill(steps: list[Step], seen: set[int]) -> None:
    for step in reversed(steps):
        dead = []
        for slot in (*step.ins, *step.outs):
            if slot >= 0 and slot not in seen:
                seen.add(slot)
                dead.append(slot)
        step.dead = tuple(dead)
