"""``@elementwise``: an operator from one scalar expression, with derivatives to any order derived from it."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import expr as E
from . import rules
from .op import OPS, Op, enter_op, get_op
from .schema import Scalar, Schema

__all__ = ["derived", "elementwise", "kernel_of"]

_F4, _F8, _I4, _I8 = (np.dtype(name) for name in ("float32", "float64", "int32", "int64"))


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
    partials: dict[int, Any] = {}

    def prepare(index: int) -> Any:
        partial = _partial(op, index)
        if partial == E.ZERO or partial == E.ONE:
            partials[index] = int(partial == E.ONE)
        else:
            partials[index] = get_op(f"_grad{index}_{op.name}")
        return partials[index]

    def unbroadcast(d: Any, like: Any) -> Any:
        shape = getattr(d, "shape", None)  # a traced value has none
        return d if shape is not None and shape == like.shape else OPS["_unbroadcast"](d, like)

    def rule(n: Any, g: Any) -> list:
        result = []
        for i in range(len(op.schema.inputs)):
            d = None
            if n.wants(i):
                by = partials.get(i)
                if by is None:
                    by = prepare(i)
                if type(by) is Op:
                    operands = [n.out(0) if s < 0 else n.inputs[s] for s in by.sources]  # type: ignore[attr-defined]
                    if by.schema.attrs:
                        d = by(g, *operands, **{a: n.attrs[a] for a in by.schema.attrs})
                    else:
                        d = by(g, *operands)
                elif by:
                    d = g
                if d is not None and op.broadcast:
                    d = unbroadcast(d, n.inputs[i])
            result.append(d)
        return result

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
    value = _rename(_times(E.arg(head), partial), {_OUT.args[0]: own})
    attrs = [a for a in op.schema.attrs if a in E.leaves(partial, "attr")]

    def definition(*_: Any, **__: Any) -> E.Expr:
        return value

    kind = inspect.Parameter
    definition.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [kind(n, kind.POSITIONAL_OR_KEYWORD) for n in (head, *operands)]
        + [kind(a, kind.KEYWORD_ONLY, annotation=Scalar, default=kind.empty) for a in attrs])
    definition.__doc__ = f"Head gradient times the derivative of ``{op.name}`` by its input {index}: ``{value!r}``."
    result = elementwise(name, broadcast=True)(definition)
    result.sources = tuple(sources)  # type: ignore[attr-defined]
    return result


def _rename(e: E.Expr, names: dict[str, str]) -> E.Expr:
    if e.fn == "arg":
        return E.arg(names.get(e.args[0], e.args[0]))
    return E.Expr(e.fn, tuple(_rename(a, names) if isinstance(a, E.Expr) else a for a in e.args))


# ---------------------------------------------------------------- the generic kernel
def kernel_of(op: Op) -> Callable:
    """The kernel over any ``xp``, rendered from the operator's expression. One for each backend."""
    e = op.expr
    assert e is not None
    attrs = list(op.schema.attrs)
    function, literals = E.render(e, (*op.schema.inputs, *attrs), op.name)
    truth = E.is_bool(e)
    nodes = [n for n in E.walk(e) if n.fn not in ("arg", "attr", "const")]
    if len(nodes) == 1 and not truth and not attrs and not literals and nodes[0].fn not in E.FLOATING:
        return function
    floating = any(n.fn in E.FLOATING for n in nodes)
    scalars = [a for a in attrs if op.schema.attrs[a].type_text == "number"]

    def convert(xp: Any, arrays: tuple, values: dict) -> Any:
        """Other types than float32 and float64."""
        dtype = arrays[0].dtype
        if dtype.kind == "b" and op.types is rules.with_number:
            dtype, arrays = _I8, tuple(xp.astype(a, _I8) for a in arrays)
        compute = dtype
        if dtype.kind in "iub":
            for s in scalars:  # a number takes the array's type
                values = {**values, s: int(values[s]) if dtype.kind != "u" else int(values[s]) % (1 << 8 * dtype.itemsize)}
            if floating:
                compute = _F8 if dtype.itemsize >= 4 else _F4
            elif dtype.kind == "b":
                compute = _I4
        elif dtype.itemsize < 4:
            compute = _F4
        if compute is not dtype:
            arrays = tuple(xp.astype(a, compute) for a in arrays)
        r = function(xp, *arrays, *[values[a] for a in attrs], *literals)
        return r if r.dtype == dtype else xp.astype(r, dtype)

    # literals in the form that the backend likes best, by the type of the arrays
    ready: dict[Any, tuple] = {}

    def prepared(xp: Any, dtype: Any) -> tuple | None:
        if dtype != _F4 and dtype != _F8:
            return None
        ready[dtype] = tuple(xp.scalar(v, dtype) for v in literals)
        return ready[dtype]

    if not attrs and not truth and len(op.schema.inputs) == 1:
        def one_array(xp: Any, data: Any) -> Any:
            constants = ready.get(data.dtype)
            if constants is None:
                constants = prepared(xp, data.dtype)
                if constants is None:
                    return convert(xp, (data,), {})
            return function(xp, data, *constants)

        return one_array
    if not attrs and not truth:
        def several(xp: Any, *arrays: Any) -> Any:
            dtype = arrays[0].dtype
            constants = ready.get(dtype)
            if constants is None:
                constants = prepared(xp, dtype)
                if constants is None:
                    return convert(xp, arrays, {})
            return function(xp, *arrays, *constants)

        return several

    if len(attrs) == 1 and len(op.schema.inputs) == 1 and not truth:
        only = attrs[0]

        def with_number(xp: Any, data: Any, **values: Any) -> Any:
            dtype = data.dtype
            constants = ready.get(dtype)
            if constants is None:
                constants = prepared(xp, dtype)
                if constants is None:
                    return convert(xp, (data,), values)
            return function(xp, data, xp.scalar(values[only], dtype), *constants)

        return with_number

    def general(xp: Any, *arrays: Any, **values: Any) -> Any:
        dtype = arrays[0].dtype
        constants = ready.get(dtype)
        if constants is None:
            constants = prepared(xp, dtype)
            if constants is None:
                return convert(xp, arrays, values)
        r = function(xp, *arrays, *[xp.scalar(values[a], dtype) for a in attrs], *constants)
        return xp.astype(r, dtype) if truth else r

    return general
