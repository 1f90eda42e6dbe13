"""The operator record and ``@register``: one place per operator."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from .schema import Attrs, Schema

if TYPE_CHECKING:
    from .expr import Expr

__all__ = ["APPLY", "OPS", "Op", "alias", "get_op", "register"]

#: every name (aliases too) -> record
OPS: dict[str, Op] = {}

#: type of a value -> how an operator is applied to values of it: ``apply(op, arrays, attrs)``.
#: Front-ends enter their classes, backends their raw arrays; so operators can call operators without importing either.
APPLY: dict[type, Callable[[Op, Sequence[Any], Attrs], Any]] = {}


_DERIVING = threading.RLock()
_DERIVED = frozenset(f"_grad{i}" for i in range(10))


class Op:
    """One operator: schema, kernels, shape rule, gradient rule.

    Calling it applies it to whatever its first array is: an NDArray (eager, recorded), a raw backend array (no tape),
    or a Symbol (composition). Arrays are positional, attributes are keywords.
    """

    __slots__ = ("__dict__", "aliases", "aux", "broadcast", "composite", "doc", "expr", "fn", "generic_kernel", "hidden",
                 "infer", "infer_back", "inputs_of", "kernels", "loss", "mutates", "name", "namespace", "nograd",
                 "outputs", "plain", "raw_gradient", "raw_rule", "rule", "schema", "several", "shape_only", "simple", "shaped",
                 "strict", "types", "uniform", "view", "visible", "writers")

    def __init__(self, name: str, fn: Callable, schema: Schema) -> None:
        self.name = name
        self.fn = fn
        self.schema = schema
        self.doc = fn.__doc__
        self.aliases: tuple[str, ...] = ()
        self.composite: Callable | None = None
        self.generic_kernel: Callable | None = None
        self.expr: Expr | None = None
        self.kernels: dict[str, Callable] = {}  # backend name -> resolved kernel
        self.writers: dict[str, Callable | None] = {}  # the same of kernels that write where they are told
        self.rule: Callable | None = None
        self.raw_gradient: Callable | None = None  # the rule for a node of the tape on raw arrays, where it can be shorter
        self.raw_rule = False  # the rule works on raw arrays only; other worlds go through the composite
        self.infer: Callable | None = None
        self.infer_back: Callable | None = None
        self.types: Callable | None = None
        self.outputs: tuple[str, ...] | Callable = ("output",)
        self.visible: int | Callable | None = None
        self.inputs_of: Callable | None = None
        self.aux: tuple[str, ...] | Callable = ()  # names, or f(attrs) -> names
        self.mutates: tuple[str, ...] | Callable = ()
        self.shape_only: Container[int] = frozenset()
        self.uniform = True
        self.broadcast = False
        self.view = False
        self.loss = False
        self.hidden = name.startswith("_backward") or name[:6] in _DERIVED
        self.nograd = False
        self.shaped = False
        self.plain = True
        self.simple = True  # on raw arrays: one kernel call, one result
        self.several = True  # may have several visible outputs
        self.strict = 0  # what invoke checks of several inputs: 1 one type, 2 one type and one shape
        self.namespace = ""

    # ------------------------------------------------------------ declaring
    def gradient(self, rule: Callable) -> Callable:
        """Decorator: the gradient rule, ``rule(n, *head_gradients) -> one gradient per input``."""
        self.rule = rule
        return rule

    def backwards(self, rule: Callable) -> Callable:
        """Decorator: what the shapes of the outputs tell about the inputs, ``rule(attrs, ins, outs) -> ins``."""
        self.infer_back = rule
        return rule

    # ------------------------------------------------------------ applying
    def __call__(self, *arrays: Any, **attrs: Any) -> Any:
        first = arrays[0]
        apply = APPLY.get(type(first)) or _apply_of(type(first), self)
        return apply(self, arrays, self.schema.parse(self.name, attrs))

    def parse(self, attrs: dict[str, Any]) -> Attrs:
        """Complete, typed attributes from what a caller gave (see :meth:`Schema.parse`)."""
        return self.schema.parse(self.name, attrs)

    def on(self, arrays: Sequence[Any], attrs: Attrs) -> Any:
        """Apply with parsed attributes (gradient rules that keep them)."""
        first = arrays[0]
        return (APPLY.get(type(first)) or _apply_of(type(first), self))(self, arrays, attrs)

    # ------------------------------------------------------------ facts
    def input_names(self, attrs: Attrs, count: int | None = None) -> tuple[str, ...]:
        """Names of the inputs that a call with these attributes takes (``count`` of them when variadic)."""
        if self.schema.variadic:
            fixed = self.schema.inputs
            if count is None:
                count = int(attrs.given.get(self.schema.count, 0))  # type: ignore[arg-type]
            if self.inputs_of is not None:
                return self.inputs_of(attrs, count)
            return fixed + tuple(f"arg{i}" for i in range(count - len(fixed)))
        if self.inputs_of is not None:
            return self.inputs_of(attrs)
        return tuple(n for n in self.schema.inputs if n not in self.schema.optional)

    def aux_positions(self, attrs: Attrs, count: int) -> tuple[int, ...]:
        """Which of ``count`` inputs are auxiliary states."""
        if not self.aux:
            return ()
        states = self.aux(attrs) if callable(self.aux) else self.aux
        names = self.input_names(attrs, count) if self.schema.variadic else self.schema.inputs
        return tuple(i for i, n in enumerate(names[:count]) if n in states)

    def output_names(self, attrs: Attrs, count: int = 0) -> tuple[str, ...]:
        """Names of all outputs, hidden ones last; ``count`` is the number of inputs."""
        return self.outputs(attrs, count) if callable(self.outputs) else self.outputs

    def visible_count(self, attrs: Attrs, count: int = 0) -> int:
        """How many outputs a caller sees."""
        if self.visible is None:
            return len(self.output_names(attrs, count))
        return self.visible(attrs) if callable(self.visible) else self.visible

    def mutated(self, attrs: Attrs, count: int) -> tuple[int, ...]:
        """Positions, among ``count`` inputs, of those whose new values the kernel returns after its outputs."""
        if callable(self.mutates):
            return self.mutates(attrs, count)
        return tuple(self.schema.inputs.index(name) for name in self.mutates)

    @property
    def differentiable(self) -> bool:
        """Whether a gradient can be had: by a rule, an expression, or through the composite."""
        return not self.nograd and (self.rule is not None or self.composite is not None)

    def __repr__(self) -> str:
        inputs = list(self.schema.inputs) + ([f"*{self.schema.variadic}"] if self.schema.variadic else [])
        attrs = [a.name if a.required else f"{a.name}={a.default!r}" for a in self.schema.attrs.values()]
        return f"<operator {self.name}({', '.join(inputs + (['*'] if attrs else []) + attrs)})>"


def _apply_of(cls: type, op: Op) -> Callable:
    for base in cls.__mro__:
        if base in APPLY:
            APPLY[cls] = APPLY[base]
            return APPLY[cls]
    raise ArgumentError(f"{op.name}: the first input is a {cls.__module__}.{cls.__name__}, which is no array; "
                        f"expected an NDArray or a Symbol for {op.schema.inputs[:1] or (op.schema.variadic,)}")


def register(
    name: str,
    *,
    aliases: Sequence[str] = (),
    infer: Callable | None = None,
    types: Callable | None = None,
    outputs: Sequence[str] | Callable = ("output",),
    visible: int | Callable | None = None,
    inputs: Callable | None = None,
    aux: Sequence[str] = (),
    mutates: Sequence[str] | Callable = (),
    shape_only: Sequence[str] = (),
    uniform: bool = True,
    view: bool = False,
    loss: bool = False,
    composite: bool = False,
    shaped: bool = False,
    nograd: bool = False,
    count: str = "num_args",
    namespace: str = "",
) -> Callable[[Callable], Op]:
    """Enter an operator into the table; the decorated function is its generic kernel, and its signature the schema.

    Parameters
    ----------
    name, aliases
        MXNet's registry name (JSON files hold it) and its other names.
    infer, types
        Shape and type rules (:mod:`mxcore.registry.rules`). ``types`` defaults to "all of one type".
    outputs : names, or ``f(attrs, n_inputs) -> names``
    visible : how many outputs callers see (number, or ``f(attrs)``); default all.
    inputs : ``f(attrs) -> names`` when attributes decide which optional inputs take part; ``f(attrs, count)`` if variadic.
    aux : inputs that are auxiliary states (written in training, never differentiated).
    mutates : inputs whose new values the kernel returns after its outputs (None: unchanged); ``invoke`` writes them back,
        unless a kernel of the backend updates in place (:func:`mxcore.registry.kernels.writer_of`).
        ``f(attrs, n_inputs) -> positions`` for variadic operators.
    shape_only : inputs of which only shape and type are used (the name of ``*arrays``: all of those); the tape keeps no
        array for them.
    uniform : all inputs must have one data type.
    view : the kernel may return a view of its input; eager calls then copy, graphs do not.
    loss : the gradient ignores the head gradient.
    composite : the function takes no ``xp`` and is written in operators; no rule is needed.
    shaped : the composite or rule looks at shapes, so it can only be traced with arrays.
    nograd : not differentiable (integer results, updates, random numbers).
    count : name of the attribute that holds the number of inputs of a variadic operator.
    namespace : ``"contrib"``, ``"linalg"``, ``"image"``, ``"random"``, ``"sparse"``: where the front-ends put it;
        by default it follows from the prefix of the name.
    """

    def enter(fn: Callable) -> Op:
        op = Op(name, fn, Schema(fn, 0 if composite else 1, count))
        op.aliases = tuple(aliases)
        op.infer, op.types, op.inputs_of = infer, types, inputs
        op.outputs = outputs if callable(outputs) else tuple(outputs)
        op.visible, op.loss, op.view, op.nograd, op.shaped = visible, loss, view, nograd, shaped
        op.aux, op.mutates = tuple(aux), mutates if callable(mutates) else tuple(mutates)
        op.shape_only = frozenset(op.schema.inputs.index(i) for i in shape_only if i != op.schema.variadic)
        if op.schema.variadic in shape_only:
            op.shape_only = range(len(op.schema.inputs), sys.maxsize)
        op.uniform, op.namespace = uniform, namespace
        if composite:
            op.composite = fn
        else:
            op.generic_kernel = fn
        return enter_op(op)

    return enter


def enter_op(op: Op) -> Op:
    """Put a finished record into the table under all its names."""
    single = not callable(op.outputs) and len(op.outputs) == 1
    op.simple = single and not (op.mutates or op.schema.wants)
    op.plain = single and not (op.view or op.mutates or op.schema.wants)
    several = len(op.schema.inputs) > 1 or op.schema.variadic is not None
    op.several = callable(op.visible) or (op.visible or len(op.outputs) if not callable(op.outputs) else 2) != 1
    op.strict = 0 if not several or not op.uniform else 2 if op.expr is not None and not op.broadcast else 1
    for name in (op.name, *op.aliases):
        if name in OPS:
            raise ValueError(f"operator name {name!r} is taken by {OPS[name]!r}")
        OPS[name] = op
    return op


def alias(op: Op, *names: str) -> None:
    """Further names for an operator."""
    for name in names:
        if OPS.setdefault(name, op) is not op:
            raise ValueError(f"operator name {name!r} is taken by {OPS[name]!r}")
    op.aliases += names


def get_op(name: str) -> Op:
    """The operator of a name, with a helpful error if there is none.

    Raises
    ------
    ArgumentError
        Names the closest existing operators.
    """
    op = OPS.get(name)
    if op is None and name.startswith("_grad"):
        from .elementwise import derived

        with _DERIVING:  # another thread may want the same
            op = OPS.get(name) or derived(name)
    if op is None:
        import difflib

        close = difflib.get_close_matches(name, OPS, 3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise ArgumentError(f"operator {name!r} is not registered{hint}")
    return op
