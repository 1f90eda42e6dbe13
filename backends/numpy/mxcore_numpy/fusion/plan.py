"""What is known of a fused loop before it is decided how it runs: order in memory, instructions, registers, cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.registry.bound import Order, Spec, plain_order
from mxcore.registry.loop import Loop

from .lower import Lowering, Value
from .registers import Place, Step, allocate, emit, order_of
from .space import majority, padded, same_order

__all__ = ["Plan", "splat"]

_SPLATS: dict[tuple, np.ndarray] = {}


def splat(value: np.ndarray, size: int) -> np.ndarray:
    """Many copies of a number, shared by all loops."""
    key = value.dtype.char, value.tobytes()
    found = _SPLATS.get(key)
    if found is None or found.size < size:
        found = np.full(size, value)
        found.flags.writeable = False
        _SPLATS[key] = found
    return found[:size]


class Plan:
    """A loop for operands of these specs.

    Attributes
    ----------
    order : Order
        In which the loop goes through memory: that of most bytes of the inputs of full size.
    own : list of bool
        Which inputs have the shape of the loop and lie in this order.
    small : list of numpy.ndarray
        Results that broadcast, computed by ``before(ins)`` from the inputs ``prepared``; ``before`` may be None.
    steps, layout
        The instructions and the places of their results.
    cost : float
        Nanoseconds, about, on one thread.
    """

    def __init__(self, loop: Loop, ins: Sequence[Spec], outs: Sequence[Spec]) -> None:
        shape = loop.shape
        self.loop, self.ins, self.outs = loop, ins, outs
        self.order: Order = majority(shape, ins)
        full = [spec.shape == shape for spec in ins]
        self.own = [f and same_order(s.order, self.order, shape) for s, f in zip(ins, full, strict=True)]
        scattered = [f and not own for f, own in zip(full, self.own, strict=True)]
        shapes = [padded(s.shape, len(shape)) for s in ins]
        lowering = Lowering(loop.names, shapes, [s.dtype for s in ins], scattered, loop.dtype, shape)
        values = lowering.lower(loop.exprs)
        for j, (v, r) in enumerate(zip(values, loop.reductions, strict=True)):
            if r is not None and (v.shape != shape or v.op == "const" or (v.op == "in" and not full[v.data])):
                values[j] = Value("fill", (v,), shape, True)  # a sum counts every place
        self.summed = [r is not None for r in loop.reductions]
        self.native = [s.dtype == loop.dtype for s in outs]
        ready = self._prologue(values, lowering.narrow)
        self.steps, direct = order_of(values, self.summed, self.native, ready)
        pairs = [(i, j) for i in range(len(ins)) for j in range(len(outs))
                 if self.own[i] and not self.summed[j] and ins[i].dtype == outs[j].dtype]
        self.layout = allocate(self.steps, direct, ready, pairs, self.native)
        read = {ready[a] for s in self.steps for a in s.args if a in ready}
        self.used_ins = sorted(p.number for p in read if p.kind == "in")
        self.used_small = sorted(p.number for p in read if p.kind == "small")
        self.ufuncs = sum(s.op in Lowering.CODES for s in self.steps)
        one = sum(Lowering.CODES[s.op].cost if s.op in Lowering.CODES else 0.25 for s in self.steps)
        self.cost = one * prod(shape) * loop.dtype.itemsize / 4

    def _prologue(self, values: Sequence[Value], narrow: Callable[[Value], bool]) -> dict[Value, Place]:
        """Find what can be computed before the tiles; the values that are there when they begin."""
        loop, order = self.loop, self.order
        everything, _ = order_of(values, [True] * len(values), [True] * len(values), {})
        inputs: dict[Value, Place] = {}
        small: dict[Value, Place] = {}
        needed: dict[Value, None] = dict.fromkeys(values)  # by the tiles
        before: list[Step] = []
        self.small: list[np.ndarray] = []
        for step in everything:
            for a in step.args:
                if a.op == "in":
                    inputs[a] = Place("in", a.data)
            v = step.result
            if v is not None and v.shape != loop.shape and narrow(v):
                before.append(step)
            elif v is not None:
                needed.update(dict.fromkeys(step.args))
        inputs |= {v: Place("in", v.data) for v in values if v.op == "in"}
        inverse = np.argsort(order).tolist()
        constants: dict[str, Any] = {}
        for step in before:
            v = step.result
            assert v is not None
            small[v] = Place("small", len(self.small))
            dtype = loop.dtype if v.wide else np.dtype("?")
            array = np.empty([v.shape[a] for a in order], dtype).transpose(inverse)
            constants[small[v].name] = array
            self.small.append(array)
            for a in v.args:
                if a.op == "splat":
                    small[a] = Place("splat", len(constants))
                    constants[small[a].name] = splat(a.data, 1)
        self.before: Callable | None = None
        self.prepared: list[int] = []
        if before:
            self.before = emit(before, {**inputs, **small}, [[f"in{k}" for k in range(len(self.ins))]], constants, loop.dtype)
            self.prepared = sorted({inputs[a].number for s in before for a in s.args if a in inputs})
        return {**inputs, **{v: p for v, p in small.items() if p.kind == "small" and v in needed}}

    @property
    def in_orders(self) -> list[Order | None]:
        """As of :class:`mxcore.registry.bound.Bound`: what lies otherwise, or broadcasts, is read with its strides."""
        return [s.order if own else None for s, own in zip(self.ins, self.own, strict=True)]

    @property
    def out_orders(self) -> list[Order]:
        """As of :class:`mxcore.registry.bound.Bound`."""
        return [self.order if r is None else plain_order(len(r.shape)) for r in self.loop.reductions]
