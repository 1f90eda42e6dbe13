"""The one reverse sweep, and what the tape must keep for it.

The sweep walks nodes in reverse topological order and asks each operator's rule for the gradients of its inputs. What a
value *is* is the business of the ``World``: raw backend arrays (plain ``backward``), NDArrays (``create_graph=True``),
or graph values (symbolic gradients, tracing). A rule is written in operators, so it is the same for all of them.

The method is reverse accumulation (Speelpenning 1980; Griewank & Walther, *Evaluating Derivatives*, 2008, ch. 3).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ..errors import GradientError
from ..registry.op import OPS, Op
from ..registry.schema import Attrs
from .compose import Value, leaf
from .node import Entry, Node, by_time, topological

__all__ = ["NOTHING", "SHAPE", "WHOLE", "Call", "GraphWorld", "World", "as_list", "saves", "sweep", "symbolic_gradient"]

NOTHING, SHAPE, WHOLE = 0, 1, 2


class Call:
    """What a gradient rule sees of the call that it differentiates.

    ``n.inputs[i]``, ``n.out(j)`` are values, ``n.attrs`` the attributes, ``n.wants(i)`` whether the gradient of input
    ``i`` is asked for (a rule may return None otherwise). ``n.once`` is set (to True) for a raw rule, if what was kept for
    it is asked for the last time, so that it may let go of it bit by bit.
    """

    __slots__ = ("_mask", "_outs", "attrs", "inputs", "once", "op", "replay")

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

    def call(self, node: Node, mask: Sequence[bool] | None) -> Call | None:
        """The view of ``node`` for its rule; without a mask all inputs that lead somewhere are wanted. None if freed."""

    def zeros(self, node: Node, j: int) -> Any:
        """A zero gradient for output ``j``."""

    def through(self, call: Call, grads: Sequence[Any]) -> Sequence[Any]:
        """Gradients of the inputs of a composite, through its definition."""

    def release(self, node: Node) -> None:
        """The sweep is past ``node``: what it kept may go."""

    def error(self, node: Node, error: Exception) -> Exception:
        """The exception to raise for a rule that failed."""


def as_list(r: Any) -> Sequence[Any]:
    """The result of a rule or composite as a sequence."""
    return r if isinstance(r, (list, tuple)) else (r,)


def sweep(
    heads: Sequence[Entry],
    head_grads: Sequence[Any],
    world: World,
    stop: Iterable[Node] = (),
    wanted: Iterable[Node] | None = None,
) -> tuple[dict[Node, list], list[Node]]:
    """Reverse sweep from ``heads``.

    Parameters
    ----------
    heads, head_grads
        Where to start and with what; a gradient of None contributes nothing.
    world
        The kind of value.
    stop : nodes
        Do not look behind these.
    wanted : nodes, optional
        Only gradients of these are needed (and kept, also for inner nodes); default all variables.

    Returns
    -------
    grads : dict of node to list
        Gradient of each output of the variables, stop nodes and wanted nodes that were reached.
    order : list of Node
        All nodes visited, inputs first.
    """
    pending: dict[Node, list] = {}
    add = OPS["_grad_add"]
    grads: Any

    def accumulate(entry: Entry, g: Any) -> None:
        target, j = entry
        held = pending.get(target)
        if held is None:
            pending[target] = [g] if j == 0 else [None] * j + [g]
        elif len(held) <= j:
            held.extend([None] * (j - len(held)))
            held.append(g)
        else:
            held[j] = g if held[j] is None else add(held[j], g)

    for entry, g in zip(heads, head_grads, strict=True):
        if g is not None:
            accumulate(entry, g)
    order = by_time([n for n, _ in heads], stop)
    keep: set[Node] = set() if wanted is None else set(wanted)
    needed: set[Node] | None = None
    if wanted is not None:
        needed = set(keep)
        for node in order:
            if any(e is not None and e[0] in needed for e in node.inputs) or hasattr(node, "freed"):
                needed.add(node)
    release, raw = world.release, world.raw
    for node in reversed(order):
        op = node.op
        if op is None:
            continue
        grads = pending.get(node)
        if grads is None or op.nograd or (needed is not None and node not in needed):
            release(node)
            continue
        if node not in keep:
            del pending[node]
        mask: Sequence[bool] | None = None
        if needed is not None:
            mask = [e is not None and e[0] in needed for e in node.inputs]
            if True not in mask:
                if hasattr(node, "freed"):
                    _check_freed(node, order, heads)
                release(node)
                continue
        try:
            if raw and op.raw_gradient is not None and mask is None and node.saved is not None:
                result = op.raw_gradient(node, grads[0])
                i = -1
                for entry in node.inputs:
                    i += 1
                    g = result[i]
                    if entry is not None and g is not None:
                        accumulate(entry, g)
                release(node)
                continue
            call = world.call(node, mask)
            if call is None:
                _check_freed(node, order, heads)
                continue
            if op.several:
                total = op.visible_count(node.attrs, len(node.inputs))
                grads = grads[:total] + [None] * (total - len(grads))
                grads = [world.zeros(node, j) if g is None else g for j, g in enumerate(grads)]
            elif len(grads) > 1:  # hidden outputs have no head gradients
                grads = grads[:1]
            rule = op.rule
            if rule is not None and (raw or not op.raw_rule):
                result = rule(call, *grads)
                if type(result) is not list and type(result) is not tuple:
                    result = (result,)
            elif op.composite is not None:
                result = world.through(call, grads)
            else:
                raise GradientError(f"operator {op.name!r} is not differentiable: it has neither a gradient rule nor a "
                                    "composite")
            if len(result) < len(node.inputs):
                raise GradientError(f"the gradient rule of {op.name!r} returned {len(result)} gradients for "
                                    f"{len(node.inputs)} inputs")
        except Exception as error:
            raise world.error(node, error) from error
        i = -1
        for entry in node.inputs:
            i += 1
            g = result[i]
            if entry is not None and g is not None and (mask is None or mask[i]):
                accumulate(entry, g)
        release(node)
    return pending, order


def _check_freed(node: Node, order: Sequence[Node], heads: Sequence[Entry]) -> None:
    """A freed node is a constant to what was recorded afterwards, and an error to what was recorded before."""
    users = [n for n in order if any(e is not None and e[0] is node for e in n.inputs)]
    if any(n is node for n, _ in heads) or any(n.time < getattr(node, "freed", n.time + 1) for n in users):
        raise GradientError(f"the graph behind {node.op.name!r} was freed by an earlier backward pass; "  # type: ignore[union-attr]
                            "call backward(retain_graph=True) to go through it again")


# ---------------------------------------------------------------- graph values
class GraphWorld:
    """Values are outputs of graph nodes: the gradient becomes more graph."""

    raw = False

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
        stops = [None if m is None else m.entry[0] for m in marked]
        found, _ = sweep([r.entry for r in results[: len(grads)]], grads, self, [s for s in stops if s is not None])
        return [found[s][0] if s is not None and s in found else None for s in stops]

    def release(self, node: Node) -> None:
        """See :class:`World`."""

    def error(self, node: Node, error: Exception) -> Exception:
        """See :class:`World`."""
        if isinstance(error, GradientError):
            return error
        return GradientError(f"the gradient of {node.op.name!r} "  # type: ignore[union-attr]
                             f"(node {node.name or 'without a name'}) failed: {error}")


def symbolic_gradient(heads: Sequence[Entry], head_grads: Sequence[Value | None], wanted: Sequence[Entry]) -> list[Value | None]:
    """Graph values of the gradients of ``heads`` by ``wanted``; None where nothing flows."""
    grads, _ = sweep(heads, head_grads, GraphWorld(), wanted=[n for n, _ in wanted])
    out = []
    for node, j in wanted:
        slots = grads.get(node, ())
        out.append(slots[j] if j < len(slots) else None)
    return out


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
    no_inputs, no_outputs : tuples of None, or None
        What to keep where that is nothing at all.
    """
    ins, outs = _trace_saves(op, attrs, len(mask), mask)
    plan = attrs.saves[mask] = (ins, outs, None if any(ins) else (None,) * len(ins), None if any(outs) else (None,) * len(outs))
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
