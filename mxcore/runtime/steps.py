"""The steps of a program. Each reads slots of a list of values and fills others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.node import Node
from ..registry.bound import Bound, Order, Spec
from ..registry.kernels import resolve
from .explain import explain
from .invoke import STATE, generator
from .watch import written

__all__ = ["BoundStep", "Call", "Copy", "Step"]


class Step:
    """One step: which slots it reads and fills, and which arrays nobody needs after it.

    ``node`` is what it computes (for errors and for people).
    """

    __slots__ = ("dead", "ins", "node", "outs")

    def __init__(self, node: Node, ins: tuple[int, ...], outs: tuple[int, ...]) -> None:
        self.node, self.ins, self.outs = node, ins, outs
        self.dead: tuple[int, ...] = ()

    def run(self, values: list, dev: Any) -> None:
        """Fill the slots ``outs``."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """For people: what runs."""
        raise NotImplementedError

    def failed(self, values: list, error: Exception) -> Exception:
        """The error to raise when a kernel failed."""
        node = self.node
        arrays = [values[i] if i >= 0 else None for i in self.ins]
        told = explain(node.op, arrays, node.attrs, error)  # type: ignore[arg-type]
        if node.name and f"node {node.name}" not in str(told):
            told.args = (f"in node {node.name}: {told}",)
        return told


class Call(Step):
    """A kernel that allocates what it returns."""

    __slots__ = ("attrs", "kernel", "mutated", "plain", "tidy", "wants")

    def __init__(self, node: Node, ins: tuple[int, ...], outs: tuple[int, ...], backend: str) -> None:
        super().__init__(node, ins, outs)
        op = node.op
        assert op is not None
        self.kernel = op.kernels.get(backend) or resolve(op, backend)
        self.attrs = dict(node.attrs)
        self.wants = op.schema.wants
        self.mutated = tuple(ins[place] for place in op.mutated(node.attrs, len(ins)))
        self.plain = not self.wants and not self.mutated
        self.tidy: tuple[int, ...] = ()  # outputs that bound kernels read, which rely on C order

    def run(self, values: list, dev: Any) -> None:
        """See :class:`Step`."""
        arrays = [values[i] if i >= 0 else None for i in self.ins]
        try:
            if self.plain:
                r = self.kernel(dev.xp, *arrays, **self.attrs)
            else:
                r = self._run_general(arrays, values, dev)
        except Exception as error:
            raise self.failed(values, error) from error
        outs = self.outs
        if type(r) is dev.array_type:
            values[outs[0]] = r
        elif type(r) is tuple:
            for slot, one in zip(outs, r, strict=True):
                values[slot] = one
        else:
            values[outs[0]] = dev.backend.asarray(r)
        for slot in self.tidy:
            if values[slot] is not None:
                values[slot] = dev.xp.ascontiguousarray(values[slot])

    def _run_general(self, arrays: list, values: list, dev: Any) -> Any:
        extra = {}
        if "is_train" in self.wants:
            extra["is_train"] = STATE.training
        if "rng" in self.wants:
            extra["rng"] = generator(dev)
        r = self.kernel(dev.xp, *arrays, **self.attrs, **extra)
        if self.mutated:
            count = len(r) - len(self.mutated)
            for slot, new in zip(self.mutated, r[count:], strict=True):
                if new is not None and STATE.replay is None:
                    dev.xp.copyto(values[slot], new)
                    written(values[slot])
            r = r[:count]
        return r

    @property
    def label(self) -> str:
        """See :class:`Step`."""
        return "kernel " + getattr(self.kernel, "__module__", "").removeprefix("mxcore.")


class BoundStep(Step):
    """A kernel prepared for its shapes, which writes into memory given to it."""

    __slots__ = ("again", "bound", "mutated", "specs")

    def __init__(self, node: Node, ins: tuple[int, ...], outs: tuple[int, ...], bound: Bound, specs: Sequence[Spec],
                 mutated: tuple[int, ...] = ()) -> None:
        super().__init__(node, ins, outs)
        self.bound = bound
        self.specs = tuple(s.ordered(o) for s, o in zip(specs, bound.out_orders, strict=True))
        self.again = bool(bound.prepared)  # prepare before each run
        self.mutated = mutated  # slots whose new values the last outputs are

    def run(self, values: list, dev: Any) -> None:
        """See :class:`Step`."""
        arrays = [values[i] if i >= 0 else None for i in self.ins]
        outs = [values[i] for i in self.outs]
        for j, one in enumerate(outs):
            if one is None:
                values[self.outs[j]] = outs[j] = dev.backend.allocate(self.specs[j])
        try:
            if self.again:
                self.bound.prepare(arrays)
            self.bound.run(arrays, outs)
        except Exception as error:
            raise self.failed(values, error) from error
        if self.mutated and STATE.replay is None:
            for slot, new in zip(self.mutated, outs[-len(self.mutated):], strict=True):
                dev.xp.copyto(values[slot], new)
                written(values[slot])

    @property
    def label(self) -> str:
        """See :class:`Step`."""
        return self.bound.label or type(self.bound).__name__


class Copy(Bound):
    """The same array in another order of axes."""

    def __init__(self, spec: Spec, order: Order, copyto: Any) -> None:
        self.in_orders, self.out_orders = (None,), (order,)
        self._copyto = copyto
        self.label = f"copy to order {order}"

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        """See :class:`Bound`."""
        self._copyto(outs[0], ins[0])
