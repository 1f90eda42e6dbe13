"""A compiled program for people: its steps, what was fused, where values lie, bytes planned against bytes unplanned."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from .lowering import Plan
from .steps import BoundStep, Copy, Step

__all__ = ["Listing", "listing"]


class Listing(str):
    """Text that shows itself as it is, also in notebooks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self)}</pre>"


def listing(plan: Plan, title: str = "program") -> Listing:
    """The steps of a plan as a table.

    The columns: number; operator (for a loop: the operators in it); what runs; the result; its place in the block (``+``
    and the offset in bytes, ``own`` for memory of its own, ``same`` where it takes the place of an input).
    """
    offsets = {slot: offset for slot, offset, _ in plan.views}
    lines = [title]
    for name, steps in (("when parameters change", plan.prologue), ("forward", plan.forward), ("backward", plan.backward)):
        if steps:
            lines.append(f"  {name}: {len(steps)} steps")
            lines += [f"    {line}" for line in _table(_rows(steps, plan, offsets))]
    fused = [len(_inside(s)) for s in (*plan.prologue, *plan.forward, *plan.backward) if len(_inside(s)) > 1]
    lines.append(f"  {len(fused)} fused groups with {sum(fused)} operators; {len(plan.kept)} values kept for the backward part")
    lines.append(f"  bytes planned: {plan.nbytes:,} in one block; unplanned: {plan.unplanned:,}")
    return Listing("\n".join(lines))


def _inside(step: Step) -> list[str]:
    """The operators that a step computes."""
    text = (step.node.text or {}).get("__fused__", "")
    name = step.node.op.name  # type: ignore[union-attr]
    after = text.split()
    return after if name == "_fused" else [name, *after]


def _rows(steps: Iterable[Step], plan: Plan, offsets: dict[int, int]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for number, step in enumerate(steps):
        copies = isinstance(step, BoundStep) and isinstance(step.bound, Copy)
        what = "copy" if copies else " ".join(_inside(step))
        if step.node.name and not copies:
            what = f"{step.node.name}: {what}"
        rows.append((str(number), _short(what, 60), step.label, _results(step, plan), _places(step, offsets)))
    return rows


def _results(step: Step, plan: Plan) -> str:
    shown = []
    for slot in step.outs[:2]:
        spec = plan.specs.get(slot)
        shown.append("?" if spec is None else f"{spec.dtype.name}{list(spec.shape)}{_order(spec)}")
    return " ".join(shown) + (f" and {len(step.outs) - 2} more" if len(step.outs) > 2 else "")


def _order(spec: Any) -> str:
    if spec.order is None:
        return " strided"
    return "" if spec.lies(tuple(range(len(spec.shape)))) else f" in order {spec.order}"


def _places(step: Step, offsets: dict[int, int]) -> str:
    if not isinstance(step, BoundStep):
        return "own"
    places = []
    for slot in step.outs[:2]:
        if slot not in offsets:
            places.append("own")
        elif any(offsets.get(i) == offsets[slot] for i in step.ins):
            places.append("same")
        else:
            places.append(f"+{offsets[slot]}")
    return " ".join(places)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
