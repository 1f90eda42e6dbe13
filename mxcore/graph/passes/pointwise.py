"""Chains of elementwise operators, and sums of their results, become single loops.

Two neighbours are fused when they have one iteration space and no other kind of operator can stand between them: each
value gets a depth, the largest number of operators that are no loops on a way to it, and only values of one depth share a
loop. So no loop can depend on itself, however the graph branches. (The criterion is that of *Fusion of Parallel Array
Operations*, Kristensen et al. 2016, in the form that needs no search.)

A backward loop computes again what a forward loop could have kept for it, if that is cheap and can be done from values
that are kept anyway.
"""

from __future__ import annotations

import itertools
from math import prod

import numpy as np

from ...registry import expr as E
from ...registry import rules
from ...registry.loop import Loop, Reduction
from ...registry.op import OPS
from ...registry.schema import Attrs
from ..node import Entry, Node, Variable
from .joint import Joint
from .pieces import Piece, piece_of

__all__ = ["pointwise"]

#: operators in one loop at most: scratch memory must stay in the cache
_LONGEST = 48
#: how much may be computed again for a value that then need not be kept: simple functions count 1
_CHEAP = 12
_PRICE = {"add": 1, "subtract": 1, "multiply": 1, "negative": 1, "abs": 1, "maximum": 1, "minimum": 1, "where": 2, "greater": 1,
          "greater_equal": 1, "less": 1, "less_equal": 1, "equal": 1, "not_equal": 1, "divide": 2, "sqrt": 2, "sign": 2}


class _Group:
    """Operators that become one loop."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []


class _Phase:
    """The forward or the backward part: its operators, their pieces and groups."""

    def __init__(self, joint: Joint, nodes: list[Node]) -> None:
        self.joint, self.nodes = joint, nodes
        self.pieces: dict[Node, Piece] = {}
        self.groups: list[_Group] = []
        self.group_of: dict[Node, _Group] = {}
        self._form()

    def _form(self) -> None:
        depth: dict[Node, int] = {}
        generation: dict[Node, int] = {}
        size: dict[_Group, int] = {}
        for node in self.nodes:
            piece = piece_of(self.joint, node)
            before = [e[0] for e in node.inputs if e is not None]
            if piece is None:
                depth[node] = 1 + max((depth.get(b, 0) for b in before), default=0)
                continue
            level = max((depth.get(e[0], 0) + self._apart(e[0], piece) for e in piece.inputs), default=0)
            depth[node] = level
            self.pieces[node] = piece
            if not piece.inputs:
                continue  # a literal: part of whoever reads it
            partners = [e[0] for e in piece.inputs if self._same_space(e[0], piece, level, depth)]
            young = max((generation[p] for p in partners), default=0)
            groups = {self.group_of[p]: None for p in partners if generation[p] == young}
            if sum(size[g] for g in groups) + 1 > _LONGEST:
                young, groups = young + 1, {}
            generation[node] = young
            target = next(iter(groups), None)
            if target is None:
                target = _Group()
                self.groups.append(target)
                size[target] = 0
            for other in list(groups)[1:]:
                for n in other.nodes:
                    self.group_of[n] = target
                target.nodes += other.nodes
                size[target] += size[other]
                other.nodes = []
            target.nodes.append(node)
            size[target] += 1
            self.group_of[node] = target
        self.groups = [g for g in self.groups if g.nodes]
        place = {n: i for i, n in enumerate(self.nodes)}
        for g in self.groups:
            g.nodes.sort(key=place.__getitem__)

    def _apart(self, node: Node, piece: Piece) -> bool:
        """Whether a loop with ``piece`` must come after the one of ``node``: sums are finished only when the loop is."""
        other = self.pieces.get(node)
        return other is not None and (other.axes is not None or other.dtype != piece.dtype)

    def _same_space(self, node: Node, piece: Piece, level: int, depth: dict[Node, int]) -> bool:
        other = self.pieces.get(node)
        return (other is not None and other.axes is None and bool(other.inputs) and depth[node] == level
                and other.shape == piece.shape and other.dtype == piece.dtype)


def pointwise(joint: Joint) -> None:
    """Fuse elementwise operators (see the module)."""
    _align(joint)
    forward = _Phase(joint, joint.forward_nodes())
    backward = _Phase(joint, joint.backward_nodes())
    again = _Again(joint, forward, backward)
    changed: dict[Entry, Entry] = {}
    # backward loops first: what they compute again, forward loops need not put out
    read = joint.ends()
    loops = []
    for phase, other in ((backward, again), (forward, None)):
        for node in phase.nodes:
            if node not in phase.group_of and (node not in phase.pieces or phase.pieces[node].inputs):
                read.update(e for e in node.inputs if e is not None)
        made = []
        for group in reversed(phase.groups):
            found = _Fused(joint, phase, group, other)
            made.append(found)
            read.update(found.leaves)
        loops += made
    for fused in loops:
        changed.update(fused.finish(read))
    joint.replace(changed)


def _align(joint: Joint) -> None:
    """Gradients of sums get back the axes that were dropped, so that they broadcast by NumPy's rule."""
    reshape, changed = OPS["Reshape"], {}
    for node in (*joint.forward_nodes(), *joint.backward_nodes()):
        shape, given = joint.shapes.get((node, 0)), joint.shapes.get(node.inputs[0]) if node.inputs and node.inputs[0] else None
        if node.op.name != "_spread" or shape is None or given is None or 0 in shape:  # type: ignore[union-attr]
            continue
        axes = rules.normalize_axes(node.attrs["axis"], len(shape), node.attrs["exclude"])
        kept = tuple(1 if i in axes else d for i, d in enumerate(shape))
        if given != kept:
            source = (joint.node(reshape, reshape.parse({"shape": kept}), (node.inputs[0],), node), 0)
            attrs = node.op.parse({**node.attrs, "keepdims": True})  # type: ignore[union-attr]
            changed[(node, 0)] = (joint.node(node.op, attrs, (source, *node.inputs[1:]), node), 0)  # type: ignore[arg-type]
    joint.replace(changed)


class _Again:
    """Which forward values a backward loop computes again."""

    def __init__(self, joint: Joint, forward: _Phase, backward: _Phase) -> None:
        self.joint, self.forward = joint, forward
        inside = set(forward.nodes)
        self.kept: set[Entry] = set(joint.heads)  # read as a whole by something that is no loop
        for node in backward.nodes:
            if node in backward.pieces:
                continue
            for i, e in enumerate(node.inputs):
                if e is not None and e[0] in inside and i not in node.op.shape_only:  # type: ignore[union-attr]
                    self.kept.add(e)
        self._price: dict[Entry, float] = {}

    def cheap(self, e: Entry, shape: tuple[int, ...], dtype: np.dtype) -> bool:
        """Whether ``e`` is worth computing again inside a loop over ``shape``."""
        return self._fits(e, shape, dtype) and e not in self.kept and self._cost(e, shape, dtype) <= _CHEAP

    def _fits(self, e: Entry, shape: tuple[int, ...], dtype: np.dtype) -> bool:
        piece = self.forward.pieces.get(e[0])
        return piece is not None and piece.axes is None and piece.shape == shape and piece.dtype == dtype

    def _cost(self, e: Entry, shape: tuple[int, ...], dtype: np.dtype) -> float:
        found = self._price.get(e)
        if found is None:
            piece = self.forward.pieces[e[0]]
            found = float(sum(_PRICE.get(n.fn, 6) for n in E.walk(piece.expr) if n.fn not in ("arg", "const")))
            for i in piece.inputs:
                if i in self.kept or isinstance(i[0], Variable):
                    continue
                if self._fits(i, shape, dtype):
                    found += self._cost(i, shape, dtype)
                elif prod(self.joint.shapes[i]) * 8 > prod(shape):
                    found = float("inf")  # it would have to be kept in the place of this
            self._price[e] = found
        return found


class _Fused:
    """One loop: its expressions over the values it reads."""

    def __init__(self, joint: Joint, phase: _Phase, group: _Group, again: _Again | None) -> None:
        self.joint, self.phase, self.group, self.again = joint, phase, group, again
        first = phase.pieces[group.nodes[0]]
        self.shape, self.dtype = first.shape, first.dtype
        self.leaves: dict[Entry, E.Expr] = {}
        self._names = (f"x{i}" for i in itertools.count())
        self.values: dict[Entry, E.Expr] = {}
        for node in group.nodes:
            self._enter((node, 0), phase.pieces[node])

    def _enter(self, e: Entry, piece: Piece) -> E.Expr:
        operands = {E.arg(n): self._operand(i) for n, i in zip(piece.names, piece.inputs, strict=True)}
        value = self.values[e] = E.substituted(piece.expr, operands)
        return value

    def _operand(self, e: Entry) -> E.Expr:
        found = self.values.get(e)
        if found is not None and not (e[0] in self.phase.pieces and self.phase.pieces[e[0]].axes is not None):
            return found
        piece = self.phase.pieces.get(e[0])
        if piece is not None and not piece.inputs:
            return piece.expr  # a literal
        if self.again is not None:
            before = self.again.forward.pieces.get(e[0])
            if before is not None and not before.inputs:
                return before.expr
            if before is not None and self.again.cheap(e, self.shape, self.dtype):
                return self._enter(e, before)
        leaf = self.leaves.get(e)
        if leaf is None:
            leaf = self.leaves[e] = E.arg(next(self._names))
        return leaf

    def finish(self, read: set[Entry]) -> dict[Entry, Entry]:
        """Make the node, with an output for each value that is read elsewhere."""
        exprs, reductions, dtypes, outs = [], [], [], []
        joint = self.joint
        for node in self.group.nodes:
            e = (node, 0)
            piece = self.phase.pieces[node]
            if e not in read:
                continue
            exprs.append(self.values[e])
            reductions.append(None if piece.axes is None else Reduction(piece.axes, joint.shapes[e]))
            dtypes.append(joint.types[e])
            outs.append(e)
        if not outs:
            return {}
        loop = Loop(self.shape, self.dtype, tuple(a.args[0] for a in self.leaves.values()), tuple(exprs), tuple(reductions))
        like = max(self.group.nodes, key=lambda n: n.time)
        attrs = Attrs({"loop": loop, "dtypes": tuple(dtypes)})
        made = joint.node(OPS["_fused"], attrs, tuple(self.leaves), like)
        made.text = {"__fused__": " ".join(n.op.name for n in self.group.nodes)}  # type: ignore[union-attr]
        return {e: (made, j) for j, e in enumerate(outs)}
