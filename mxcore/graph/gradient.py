"""The one reverse sweep, and what the tape must keep for it.

The sweep walks nodes in reverse topological order and asks each operator's rule for the gradients of its inputs. What a
value *is* is the business of the ``World``: raw backend arrays (plain ``backward``), NDArrays (``create_graph=True``),
or graph values (symbolic gradients, tracing). A rule is written in operators, so it is the same for all of them.

The method is reverse accumulation (Speelpenning 1980; Griewank & Walther, *Evaluating Derivatives*, 2008, ch. 3).
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol

from ..errors import GradientError
from ..registry.op import OPS, Op
from ..registry.schema import Attrs
from .compose import Value, leaf
from .node import Entry, Node, by_time, topological

__all__ = ["NOTHING", "SHAPE", "WHOLE", "Call", "GraphWorld", "World", "as_list", "gradient_of", "saves", "sweep",
           "symbolic_gradient"]

NOTHING, SHAPE, WHOLE = 0, 1, 2


class Call:
    """What a gradient rule sees of the call that it differentiates.

    ``n.inputs[i]``, ``n.out(j)`` are values, ``n.attrs`` the attributes, ``n.wants(i)`` whether the gradient of input
    ``i`` is asked for (a rule may return None otherwise). ``n.once`` is set (to True) for a raw rule, if what was kept for
    it is asked for the last time, so that it may let go of it bit by bit; ``n.places[i]`` is then where the gradient of
    input ``i`` will be stored, if it may be written there at once, or None.
    """

    __slots__ = ("_mask", "_outs", "attrs", "inputs", "once", "op", "places", "replay")
    once: bool
    places: list

    def __init__(self, op: Op, attrs: Attrs, inputs: Sequence[Any], outs: Sequence[Any], mask: Sequence[bool]) -> None:
        self.op, self.attrs, self.inputs, self._outs, self._mask = op, attrs, inputs, outs, mask
        self.replay: Any = None  # the generator to draw from when a definition is run again

    def wants(self, i: int) -> bool:
        """Whether the gradient of input ``i`` is asked for."""
        return self._mask[i] if i < len(self._mask) else False

    def out(self, j: int = 0) -> Any:
        """The value of output ``j`` (hidden outputs too)."""
        return self._outs[j]


class World(Protocol):
    """One kind of value that the sweep can run over."""

    #: whether values are raw backend arrays
    raw: bool
    #: whether what the tape kept of a node goes as soon as the sweep is past it
    frees: bool

    def call(self, node: Node, mask: Sequence[bool] | None) -> Call | None:
        """The view of ``node`` for its rule; without a mask all inputs that lead somewhere are wanted. None if freed."""

    def zeros(self, node: Node, j: int) -> Any:
        """A zero gradient for output ``j``."""

    def through(self, call: Call, grads: Sequence[Any]) -> Sequence[Any]:
        """Gradients of the inputs of a composite, through its definition."""

    def error(self, node: Node, error: Exception) -> Exception:
        """The exception to raise for a rule that failed."""


def as_list(r: Any) -> Sequence[Any]:
    """The result of a rule or composite as a sequence."""
    return r if isinstance(r, (list, tuple)) else (r,)


def sweep(
    heads: Sequence[Entry],
    head_grads: Sequence[Any],
    world: World,
    stop: Collection[Node] = (),
    wanted: Collection[Node] | None = None,
) -> tuple[dict[Node, list], list[Node]]:
    """Reverse sweep from ``heads``.

    Parameters
    ----------
    heads, head_grads
        Where to start and with what; a gradient of None contributes nothing.
    world
        The kind of value.
    stop : set of nodes
        Do not look behind these.
    wanted : set of nodes, optional
        Only gradients of these are needed (and kept, also for inner nodes); default all variables.

    Returns
    -------
    grads : dict of node to list
        Gradient of each output of the variables, stop nodes and wanted nodes that were reached; an empty list where no
        gradient flows.
    visited : list of Node
        The operator nodes visited, users before what they use.
    """
    pending: dict[Node, list] = {}
    visited: list[Node] = []
    queue: list[tuple[int, Node]] = []  # latest first: a node is made after its inputs, so all its users come before it
    needed = None if wanted is None else _leading_to(wanted, by_time([n for n, _ in heads], stop))
    plain, frees = world.raw and needed is None and not HOOKS, world.frees
    entries: Sequence[Entry | None] = heads
    flows: Any = head_grads
    while True:
        for entry, g in zip(entries, flows):  # a rule may return more
            if entry is not None:
                target, j = entry
                held = pending.get(target)
                if held is not None:
                    _accumulate(held, j, g)
                else:
                    pending[target] = [g] if j == 0 and g is not None else _accumulate([], j, g)
                    if target.op is not None and target not in stop:
                        heappush(queue, (-target.time, target))
        if not queue:
            return pending, visited
        node = heappop(queue)[1]
        visited.append(node)
        grads, entries = pending.pop(node), node.inputs
        try:
            if plain and grads and node.saved is not None and (raw_gradient := node.op.raw_gradient) is not None:  # type: ignore[union-attr]
                flows = raw_gradient(node, grads[0])
            else:
                if wanted is not None and node in wanted:
                    pending[node] = grads
                flows = (_hooked if HOOKS and world.raw else _flows)(node, grads, needed, world)
        except Exception as error:
            raise world.error(node, error) from error
        if flows is None:
            _check_freed(node, visited, heads)
            flows = ()
        if frees:
            node.saved = None


#: gradients that flow nowhere, as many as are asked for
_NOWHERE = itertools.repeat(None)

#: functions called around every rule of a sweep over raw arrays while the profiler runs: ``hook(node, grads)`` gives
#: ``finish(flows)``, which is called if the rule succeeds and something flows
HOOKS: list[Callable] = []


def _hooked(node: Node, grads: list, needed: set[Node] | None, world: World) -> Iterable[Any] | None:
    finish = [hook(node, grads) for hook in HOOKS]
    raw_gradient = None if needed is not None or not grads or node.saved is None else node.op.raw_gradient  # type: ignore[union-attr]
    flows = _flows(node, grads, needed, world) if raw_gradient is None else raw_gradient(node, grads[0])
    if flows is not None and flows is not _NOWHERE:
        for f in finish:
            f(flows)
    return flows


def _leading_to(wanted: Iterable[Node], order: Iterable[Node]) -> set[Node]:
    """The wanted nodes, those of ``order`` that were computed from them, and those of which that cannot be said any more."""
    found = set(wanted)
    for node in order:
        if hasattr(node, "freed") or any(e is not None and e[0] in found for e in node.inputs):
            found.add(node)
    return found


def _flows(node: Node, grads: list, needed: set[Node] | None, world: World) -> Iterable[Any] | None:
    """The gradients of a node's inputs, by the rule of its operator or through its composite; None if it was freed."""
    op, count = node.op, len(node.inputs)
    assert op is not None
    if not grads or op.nograd or (needed is not None and node not in needed):
        return _NOWHERE
    mask = None
    if needed is not None:
        mask = [e is not None and e[0] in needed for e in node.inputs]
        if True not in mask:
            return None if hasattr(node, "freed") else _NOWHERE
    call = world.call(node, mask)
    if call is None:
        return None
    if op.several:
        total = op.visible_count(node.attrs, count)
        grads = grads[:total] + [None] * (total - len(grads))
        grads = [world.zeros(node, j) if g is None else g for j, g in enumerate(grads)]
    elif len(grads) > 1:  # hidden outputs have no head gradients
        grads = grads[:1]
    if op.rule is not None and (world.raw or not op.raw_rule):
        flows = as_list(op.rule(call, *grads))
    elif op.composite is not None:
        flows = world.through(call, grads)
    else:
        raise GradientError(f"operator {op.name!r} is not differentiable: it has neither a gradient rule nor a composite")
    if len(flows) < count:
        raise GradientError(f"the gradient rule of {op.name!r} returned {len(flows)} gradients for {count} inputs")
    return flows if mask is None else [g if m else None for g, m in zip(flows, mask, strict=False)]


def _accumulate(held: list, j: int, g: Any) -> list:
    """The gradients of a node's outputs with another one for output ``j``."""
    if g is not None:
        if j >= len(held):
            held.extend([None] * (j + 1 - len(held)))
        held[j] = g if held[j] is None else OPS["_grad_add"](held[j], g)
    return held


def gradient_of(found: dict[Node, list], entry: Entry | None) -> Any:
    """The gradient of an entry among what :func:`sweep` found, or None where nothing flows."""
    if entry is None:
        return None
    slots = found.get(entry[0], ())
    return slots[entry[1]] if entry[1] < len(slots) else None


def _check_freed(node: Node, visited: Sequence[Node], heads: Sequence[Entry]) -> None:
    """A freed node is a constant to what was recorded afterwards, and an error to what was recorded before."""
    users = [n for n in visited if any(e is not None and e[0] is node for e in n.inputs)]
    if any(n is node for n, _ in heads) or any(n.time < getattr(node, "freed", n.time + 1) for n in users):
        raise GradientError(f"the graph behind {node.op.name!r} was freed by an earlier backward pass; "  # type: ignore[union-attr]
                            "call backward(retain_graph=True) to go through it again")


# ---------------------------------------------------------------- graph values
class GraphWorld:
    """Values are outputs of graph nodes: the gradient becomes more graph."""

    raw = frees = False

    def call(self, node: Node, mask: Sequence[bool] | None) -> Call:
        """See :class:`World`."""
        if mask is None:
            mask = [e is not None for e in node.inputs]
        count = len(node.op.output_names(node.attrs, len(node.inputs)))  # type: ignore[union-attr]
        return Call(node.op, node.attrs, [None if e is None else Value(e) for e in node.inputs],  # type: ignore[arg-type]
                    [Value((node, j)) for j in range(count)], mask)

    def zeros(self, node: Node, j: int) -> Any:
        """See :class:`World`."""
        return OPS["zeros_like"](Value((node, j)))

    def through(self, call: Call, grads: Sequence[Any]) -> Sequence[Any]:
        """See :class:`World`. Each input is marked by an identity, at which the inner sweep stops."""
        op = call.op
        if op.shaped:
            # its definition looks at shapes, which a graph does not have: differentiate it when they are known
            present = [i is not None for i in call.inputs]
            made = iter(as_list(OPS["_vjp"](*[i for i in call.inputs if i is not None], *grads,
                                            of=(op, call.attrs, tuple(present)))))
            return [next(made) if p else None for p in present]
        identity = OPS["_frontier"]
        marked = [None if i is None else identity(i) for i in call.inputs]
        results = as_list(op.composite(*marked, **call.attrs))  # type: ignore[misc]
        stops = [None if m is None else m.entry for m in marked]
        found, _ = sweep([r.entry for r in results[: len(grads)]], grads, self, {s[0] for s in stops if s is not None})
        return [gradient_of(found, s) for s in stops]

    def error(self, node: Node, error: Exception) -> Exception:
        """See :class:`World`."""
        if isinstance(error, GradientError):
            return error
        return GradientError(f"the gradient of {node.op.name!r} "  # type: ignore[union-attr]
                             f"(node {node.name or 'without a name'}) failed: {error}")


def symbolic_gradient(heads: Sequence[Entry], head_grads: Sequence[Value | None], wanted: Sequence[Entry]) -> list[Value | None]:
    """Graph values of the gradients of ``heads`` by ``wanted``; None where nothing flows."""
    grads, _ = sweep(heads, head_grads, GraphWorld(), wanted={n for n, _ in wanted})
    return [gradient_of(grads, e) for e in wanted]


# ---------------------------------------------------------------- what the tape keeps
def saves(op: Op, attrs: Attrs, mask: tuple[bool, ...]) -> tuple:
    """What the tape must keep of a call, found by tracing its gradient rule once.

    Parameters
    ----------
    mask : tuple of bool
        Which inputs lead to variables.

    Returns
    -------
    inputs, outputs : tuples of NOTHING, SHAPE or WHOLE
    some_inputs, some_outputs : tuples of (int, bool)
        The places where it is not NOTHING, and whether it is WHOLE there.
    no_inputs, no_outputs : tuples of None
        As many as there are inputs and outputs; but no tuple if all the outputs are kept as they are.
    """
    ins, outs = _trace_saves(op, attrs, len(mask), mask)
    some_ins, some_outs = [tuple([(i, m == WHOLE) for i, m in enumerate(modes) if m != NOTHING]) for modes in (ins, outs)]
    no_outs = None if outs == (WHOLE,) * len(outs) else (None,) * len(outs)
    plan = attrs.saves[mask] = (ins, outs, some_ins, some_outs, (None,) * len(ins), no_outs)
    return plan


def _trace_saves(op: Op, attrs: Attrs, count: int, mask: tuple[bool, ...]) -> tuple:
    outputs = len(op.output_names(attrs, count))
    visible = op.visible_count(attrs, count)
    if op.nograd:
        return (NOTHING,) * count, (NOTHING,) * outputs
    if op.rule is None:  # through the composite: its inputs are all it needs
        return (WHOLE,) * count, ((SHAPE if visible > 1 else NOTHING),) * outputs
    if op.shaped:
        return (WHOLE,) * count, (WHOLE,) * outputs
    ins = [leaf(f"in{i}") for i in range(count)]
    outs = [leaf(f"out{j}") for j in range(outputs)]
    heads = [leaf(f"head{j}") for j in range(visible)]
    try:
        results = as_list(op.rule(Call(op, attrs, ins, outs, mask), *heads))
    except GradientError:  # there is none: the sweep says so if it is asked for
        return (NOTHING,) * count, (SHAPE,) * outputs
    use: dict[Node, int] = {}
    returned = [r for r in results if r is not None]
    for r in returned:
        use[r.entry[0]] = WHOLE
    for node in topological([r.entry[0] for r in returned]):
        for i, e in enumerate(node.inputs):
            if e is not None:
                # a call goes by what its first input is, so that one is kept whole
                level = SHAPE if i and node.op is not None and i in node.op.shape_only else WHOLE
                use[e[0]] = max(use.get(e[0], NOTHING), level)
    floor = SHAPE if visible > 1 else NOTHING
    return (tuple(use.get(v.entry[0], NOTHING) for v in ins),
            tuple(max(use.get(v.entry[0], NOTHING), floor) for v in outs))
