"""``@elementwise``: an operator from one scalar expression, with derivatives to any order derived from it."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from . import expr as E
from . import rules
from .kernels import resolve
from .op import OPS, Op, enter_op, get_op
from .schema import Scalar, Schema

__all__ = ["derived", "elementwise"]



def elementwise(
    name: str,
    *,
    aliases: Sequence[str] = (),
    grad: Callable | Sequence[Callable | None] | None = None,
    broadcast: bool = False,
    nograd: bool = False,
    namespace: str = "",
) -> Callable[[Callable], Op]:
    """Enter an operator whose value at a place is a scalar expression of its inputs there.

    The decorated function is called once with expressions for its inputs and attributes and returns an expression
    (:mod:`mxcore.registry.expr`); its signature is the operator's schema.

    Parameters
    ----------
    name, aliases, namespace
        As in :func:`mxcore.registry.register`.
    grad : function, or one per input
        The derivative where the derived one is not the best form: a function of the same inputs and ``out``
        (the operator's value). ``None``: derive it.
    broadcast : bool
        Inputs of different shapes are broadcast; otherwise shapes must be equal.
    nograd : bool
        Not differentiable.

    Notes
    -----
    An integer array goes through floating-point functions in floating point and is truncated; a number given as an
    attribute takes the array's type first; results of comparisons take the type of the first input; float16 and bfloat16 compute
    in float32 and round once. All of it as in MXNet.
    """

    def enter(fn: Callable) -> Op:
        op = Op(name, fn, Schema(fn, 0))
        op.aliases, op.namespace, op.nograd = tuple(aliases), namespace, nograd
        op.broadcast = broadcast
        inputs, attrs = op.schema.inputs, list(op.schema.attrs)
        op.expr = fn(*[E.arg(i) for i in inputs], **{a: E.attr(a) for a in attrs})
        op.infer = rules.broadcast if broadcast else rules.same
        op.grads = (grad,) if callable(grad) else tuple(grad or ())  # type: ignore[attr-defined]
        op.sources = getattr(fn, "sources", ())  # type: ignore[attr-defined]  # see derived
        if not nograd:
            op.rule = _rule_of(op)
        return enter_op(op)

    return enter


_OUT = E.arg("the value of the operator")


def _partial(op: Op, index: int) -> E.Expr:
    """d op / d input ``index`` in terms of the inputs and of ``_OUT``."""
    given = op.grads[index] if index < len(op.grads) else None  # type: ignore[attr-defined]
    if given is None:
        return E.derivative(op.expr, op.schema.inputs[index], _OUT)  # type: ignore[arg-type]
    return E.lift(given(*[_OUT if n == "out" else E.attr(n) if n in op.schema.attrs else E.arg(n)
                          for n in inspect.signature(given).parameters]))


def _times(g: E.Expr, partial: E.Expr) -> E.Expr:
    if partial.fn == "where" and E.ZERO in partial.args[1:]:  # a choice, so that 0 * inf does not become nan
        return E.where(partial.args[0], *[E.ZERO if p == E.ZERO else _times(g, p) for p in partial.args[1:]])
    if partial == E.const(-1):
        return -g
    if partial.fn == "divide" and partial.args[0] == E.ONE:
        return g / partial.args[1]
    return g * partial


def _rule_of(op: Op) -> Callable:
    #: for each input: the operator of head gradient times partial derivative, which values it takes beside the head
    #: gradient (-1: the output), and which attributes. No operator: the derivative is 1; no sources either: it is 0.
    partials: dict[int, tuple[Op | None, tuple[int, ...] | None, tuple[str, ...]]] = {}

    def prepare(index: int) -> tuple:
        partial = _partial(op, index)
        if partial == E.ZERO or partial == E.ONE:
            partials[index] = None, None if partial == E.ZERO else (), ()
        else:
            by = get_op(f"_grad{index}_{op.name}")
            partials[index] = by, by.sources, tuple(by.schema.attrs)  # type: ignore[attr-defined]
        return partials[index]

    def unbroadcast(d: Any, like: Any) -> Any:
        shape = getattr(d, "shape", None)  # a traced value has none
        return d if shape is not None and shape == like.shape else OPS["_unbroadcast"](d, like)

    def rule(n: Any, g: Any) -> list:
        result = []
        for i in range(len(op.schema.inputs)):
            d = None
            if n.wants(i):
                by, sources, names = partials.get(i) or prepare(i)
                if sources is not None:
                    d = g
                    if by is not None:
                        operands = [n.out(0) if s < 0 else n.inputs[s] for s in sources]
                        d = by(g, *operands, **{a: n.attrs[a] for a in names})
                    if op.broadcast:
                        d = unbroadcast(d, n.inputs[i])
            result.append(d)
        return result

    def raw(node: Any, g: Any) -> list:
        """The rule for a node of the tape on raw arrays, straight to the kernels."""
        ins, outs, dev, mask = node.saved
        result = []
        for i, wanted in enumerate(mask):
            d = None
            if wanted:
                by, sources, names = partials.get(i) or prepare(i)
                if sources is not None:
                    d = g
                    if by is not None:
                        kernel = by.kernels.get(dev.name) or resolve(by, dev.name)
                        operands = [outs[0] if s < 0 else ins[s] for s in sources]
                        if names:
                            d = kernel(dev.xp, g, *operands, **{a: node.attrs[a] for a in names})
                        else:
                            d = kernel(dev.xp, g, *operands)
                    if op.broadcast and d.shape != ins[i].shape:
                        d = OPS["_unbroadcast"](d, ins[i])
            result.append(d)
        return result

    op.raw_gradient = raw
    return rule


def derived(name: str) -> Op | None:
    """The hidden operator ``_grad{i}_{op}``: head gradient times d op / d input i. Made at first use, of any order."""
    index, _, base = name[len("_grad"):].partition("_")
    if not index.isdigit():
        return None
    op = get_op(base)
    if op.expr is None:
        return None
    partial = _partial(op, int(index))
    used = E.leaves(partial)
    taken = [*op.schema.inputs, *op.schema.attrs]
    head = next(n for n in ("g", "h", "k", "u", "v", "w") if n not in taken)
    own = next(n for n in ("y", "z", "y2", "y3", "y4", "y5") if n not in taken)
    sources = [i for i, n in enumerate(op.schema.inputs) if n in used]
    operands = [op.schema.inputs[i] for i in sources]
    if _OUT.args[0] in used:
        sources.append(-1)
        operands.append(own)
    value = E.substituted(_times(E.arg(head), partial), {_OUT: E.arg(own)})
    attrs = [a for a in op.schema.attrs if a in E.leaves(partial, "attr")]

    def definition(*_: Any, **__: Any) -> E.Expr:
        return value

    kind = inspect.Parameter
    definition.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [kind(n, kind.POSITIONAL_OR_KEYWORD) for n in (head, *operands)]
        + [kind(a, kind.KEYWORD_ONLY, annotation=Scalar, default=kind.empty) for a in attrs])
    definition.__doc__ = f"Head gradient times the derivative of ``{op.name}`` by its input {index}: ``{value!r}``."
    definition.sources = tuple(sources)  # type: ignore[attr-defined]
    return elementwise(name, broadcast=True)(definition)
