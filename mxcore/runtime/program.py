"""Programs: a graph as a flat list of kernel calls, forward and backward, over raw arrays.

Hybridized nets (:mod:`mxcore.runtime.cached_op`) and bound symbols (:mod:`mxcore.executor`) run these. For each set of
input shapes and types the graph and the graph of its gradients (by the one reverse sweep over symbolic values) go through
the passes of :mod:`mxcore.graph.passes`, and :mod:`mxcore.runtime.lowering` makes a plan: bound kernels that write into
one block of memory. A value of which nothing is known before the program runs (its shape depends on data) only makes the
steps around it ordinary ones.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from operator import is_
from typing import Any

from .. import plugins
from ..errors import MXNetError
from ..graph.node import Entry, Node, Variable, topological
from ..graph.passes import Joint, chosen, optimise
from .invoke import HOOKS, STATE, generator, run_kernel
from .listing import Listing, listing
from .lowering import Plan, lower
from .memory import Block, Pool
from .recording import Recording
from .steps import BoundStep, Step
from .watch import Watch

__all__ = ["Kept", "Program", "evaluate"]

_PLANS = 32  # plans kept per program: each holds memory for what follows from parameters


class Kept:
    """What a forward run leaves for the backward run of the same program."""

    __slots__ = ("__weakref__", "block", "generator", "likes", "plan", "pool", "recording", "values")

    def __init__(self, plan: Plan, values: list, likes: list, generator: Any = None, block: Block | None = None,
                 pool: Pool | None = None, recording: Recording | None = None) -> None:
        self.plan, self.values, self.likes, self.generator = plan, values, likes, generator
        self.block, self.pool, self.recording = block, pool, recording

    def release(self) -> None:
        """Give the block back; nothing of it may be read any more."""
        self.values = []
        if self.block is not None:
            self.pool.give(self.block)  # type: ignore[union-attr]
            self.block = None

    __del__ = release


class Program:
    """A graph compiled for one device.

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
    static : sequence of bool, optional
        Which inputs are parameters: what follows from them alone is computed again only when one of them was written.
    record : bool
        Record the launches of a plan and replay them, where the backend can (:mod:`mxcore.runtime.recording`).
    """

    def __init__(self, heads: Sequence[Entry], inputs: Sequence[Variable], dev: Any, wanted: Sequence[bool] = (),
                 static: Sequence[bool] = (), record: bool = False) -> None:
        self.heads, self.inputs, self.dev = list(heads), list(inputs), dev
        self.wanted = tuple(wanted) or (False,) * len(self.inputs)
        self.on = chosen()
        self.record = record and hasattr(dev.backend, "record")
        self.static = tuple(static) if "hoist" in self.on and static else (False,) * len(self.inputs)
        if "plugins" in self.on:
            for change in plugins.graph_passes("training" if any(self.wanted) else "inference"):
                self.heads = list(change(self.heads))
        applied = [n for n in topological([n for n, _ in self.heads]) if n.op is not None]
        #: whether there are constants whose shape must be inferred
        self.open = any(not n.inputs and 0 in n.attrs.get("shape", ()) for n in applied)
        self.random = any("rng" in n.op.schema.wants for n in applied)  # type: ignore[union-attr]
        self._fixed = [i for i, s in enumerate(self.static) if s]
        self._free = [i for i, s in enumerate(self.static) if not s]
        self._runs: dict[Any, _Run] = {}
        self._shapes: tuple = ()
        self._last: list = []
        self._lock = threading.RLock()

    # ------------------------------------------------------------ running
    def forward(self, raws: Sequence[Any]) -> tuple[list, Kept | None]:
        """Outputs, and what the backward run needs (None when no gradient was declared wanted)."""
        with self._lock:
            fixed = [raws[i] for i in self._fixed]
            if len(fixed) != len(self._last) or not all(map(is_, fixed, self._last)):
                self._last, self._shapes = fixed, tuple([(r.shape, r.dtype) for r in fixed])
            free = tuple([(raws[i].shape, raws[i].dtype) for i in self._free])
            key = (STATE.training, free, self._shapes)
            run = self._runs.get(key)
            if run is None:
                run = self._runs[key] = _Run(self, raws)
                if len(self._runs) > _PLANS:
                    del self._runs[next(iter(self._runs))]
            elif len(self._runs) > 1:
                self._runs[key] = self._runs.pop(key)  # the last used is the last to go
            return run.forward(raws, fixed)

    def backward(self, kept: Kept, head_grads: Sequence[Any], once: bool = False, places: Sequence[Any] = ()) -> list:
        """Gradients of the inputs (None where none is wanted or nothing flows); missing head gradients are zero.

        With ``once``, ``kept`` is used up, and a gradient may be written into its one of ``places`` and returned as that.
        """
        with self._lock:
            return _backward(self.dev, kept, head_grads, once, places)

    # ------------------------------------------------------------ looking
    def plans(self) -> list[Plan]:
        """The plans made so far, one for each set of shapes and mode."""
        return [r.plan for r in self._runs.values()]

    def listings(self) -> list[Listing]:
        """The plans in words, with the shapes of the inputs that are no parameters."""
        return [listing(r.plan, f"{'training' if training else 'inference'} on {self.dev.ctx}, inputs "
                        f"{', '.join(f'{d.name}{list(s)}' for s, d in free)}{r.remarks}")
                for (training, free, _), r in self._runs.items()]

    def __repr__(self) -> str:
        lines = [f"{len(p.forward)} forward and {len(p.backward)} backward steps, {p.nbytes} bytes planned"
                 for p in self.plans()]
        return (f"<program of {len(self.inputs)} inputs and {len(self.heads)} outputs on {self.dev.ctx}: "
                f"{'; '.join(lines) or 'not run yet'}>")


class _Run:
    """A program for one set of shapes: its plan, and what it keeps of parameters."""

    def __init__(self, program: Program, raws: Sequence[Any]) -> None:
        dev = self.dev = program.dev
        self.random = program.random and any(program.wanted)
        self.unknown = ""  # why shapes could not be inferred
        given = program.heads, program.inputs, program.wanted, dev.name, STATE.training, program.static
        try:
            joint = Joint(*given, [tuple(r.shape) for r in raws], [r.dtype for r in raws])
        except MXNetError as e:
            if program.open:
                raise
            # shapes or types contradict each other: the operator that finds out when it runs has more to say
            joint = Joint(*given)
            self.unknown = f"; nothing is fused or planned, because {str(e).splitlines()[0]}"
        else:
            optimise(joint, program.on, lambda node, arrays: run_kernel(node.op, dev, arrays, node.attrs))
        self.plan = lower(joint, dev, program.on)
        self.wanted = any(program.wanted)
        # bound kernels rely on what they were told of their inputs: C order
        self.bound = any(isinstance(s, BoundStep) for s in (*self.plan.prologue, *self.plan.forward))
        self.watch: Watch | None = None
        self.derived: list = []
        outs = self.plan.outs
        others = {*self.plan.constants, *self.plan.hoisted, *range(len(raws))}
        # outputs that are not the program's own to give away
        self.lent = [slot in others or slot in outs[:i] for i, slot in enumerate(outs)]
        self.pool: Pool | None = dev.pool if self.plan.nbytes else None
        self.recording = Recording(self.plan, dev, _run) if program.record else None

    @property
    def remarks(self) -> str:
        """What does not go as one may expect."""
        failed = self.recording.failed if self.recording is not None else ""
        return self.unknown + (f"; not recorded, because {failed}" if failed else "")

    def forward(self, raws: Sequence[Any], fixed: list) -> tuple[list, Kept | None]:
        plan, dev = self.plan, self.dev
        state = copy.deepcopy(generator(dev)) if self.random else None
        if self.recording is not None:
            recorded = self.recording.forward(raws, fixed, self._derive)
            if recorded is not None:
                return self._lent(recorded, state)
        block = None
        if self.pool is not None:
            block = self.pool.take(plan.nbytes, plan)
            template = block.templates.get(plan)
            if template is None:
                template = block.templates[plan] = self._template(block)
            values = template.copy()
        else:
            values = [None] * plan.size
            for slot, value in plan.constants.items():
                values[slot] = value
        tidy = dev.xp.ascontiguousarray
        values[: len(raws)] = [tidy(r) for r in raws] if self.bound else raws
        if plan.prologue or plan.prepared:
            self._derive(values, fixed)
        _run(plan.forward, values, dev)
        outs = self._outputs(values, raws)
        if not self.wanted:
            if block is not None:
                self.pool.give(block)  # type: ignore[union-attr]
            return outs, None
        for slot in plan.outs:
            if slot not in plan.kept:
                values[slot] = None
        likes = [(r.shape, r.dtype) for r in outs]
        return outs, Kept(plan, values, likes, state, block, self.pool)

    def _lent(self, values: list, state: Any) -> tuple[list, Kept | None]:
        """Copies of the outputs of a recording, and the values that stay where they are until the backward run."""
        assert self.recording is not None  # whose values they are
        outs = [self.dev.xp.copy(values[slot]) for slot in self.plan.outs]
        if not self.wanted:
            return outs, None
        kept = Kept(self.plan, values, [(r.shape, r.dtype) for r in outs], state, recording=self.recording)
        self.recording.lend(kept)
        return outs, kept

    def _template(self, block: Block) -> list:
        values: list = [None] * self.plan.size
        for slot, value in self.plan.constants.items():
            values[slot] = value
        for slot, offset, spec in self.plan.views:
            values[slot] = self.dev.backend.place(block.memory, offset, spec)
        return values

    def _derive(self, values: list, fixed: list) -> None:
        """Compute anew what follows from parameters, if one of them has changed."""
        watch, plan = self.watch, self.plan
        if watch is None or watch.changed or not all(map(is_, watch.raws, fixed)):
            if watch is None or not all(map(is_, watch.raws, fixed)):
                watch = self.watch = Watch(fixed)
            watch.stale = False
            for slot in plan.hoisted:
                values[slot] = None
            _run(plan.prologue, values, self.dev)
            self.derived = [values[slot] for slot in plan.hoisted]
            for step in plan.prepared:
                step.bound.prepare([values[i] if i >= 0 else None for i in step.ins])
        else:
            for slot, value in zip(plan.hoisted, self.derived, strict=True):
                values[slot] = value

    def _outputs(self, values: list, raws: Sequence[Any]) -> list:
        """The outputs, each in memory of its own."""
        outs: list = []
        own, copied = self.dev.backend.own, self.dev.xp.copy
        for slot, repeated in zip(self.plan.outs, self.lent, strict=True):
            value = values[slot]
            outs.append(copied(value) if repeated or any(value is r for r in raws) else own(value))
        return outs


def _run(steps: list[Step], values: list, dev: Any) -> None:
    if HOOKS:
        _run_watched(steps, values, dev)
        return
    for step in steps:
        step.run(values, dev)
        for slot in step.dead:
            values[slot] = None


def _run_watched(steps: list[Step], values: list, dev: Any) -> None:
    """The same while the profiler looks on."""
    for step in steps:
        finish = [h(step, dev, [values[i] for i in step.ins if i >= 0]) for h in HOOKS]
        step.run(values, dev)
        for f in finish:
            f([values[i] for i in step.outs])
        for slot in step.dead:
            values[slot] = None


def _backward(dev: Any, kept: Kept, head_grads: Sequence[Any], once: bool, places: Sequence[Any]) -> list:
    plan, xp = kept.plan, dev.xp
    if once and kept.recording is not None:
        recorded = kept.recording.backward(kept, head_grads, places)
        if recorded is not None:
            kept.release()
            return recorded
    if once:
        values = kept.values if kept.recording is None else list(kept.values)
    else:
        values = [None] * plan.size
        for slot in (*plan.kept, *plan.constants, *plan.hoisted):
            values[slot] = kept.values[slot]
    for slot, g, (shape, dtype) in zip(plan.seeds, head_grads, kept.likes, strict=True):
        values[slot] = xp.zeros(shape, dtype) if g is None else xp.ascontiguousarray(g)
    if once:
        for index, slot in plan.direct:
            place, spec = places[index], plan.specs[slot]
            if place is not None and place.shape == spec.shape and place.dtype == spec.dtype:
                values[slot] = place
    _run(plan.backward, values, dev)
    own = dev.backend.own
    direct = {slot for _, slot in plan.direct}
    results = [None if s is None else values[s] if s in direct or not plan.views else own(values[s]) for s in plan.grads]
    if once:
        kept.release()
    return results


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

