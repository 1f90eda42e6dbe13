"""The functions of ``mx.nd``, made from the operator table: one function a name, with a real signature."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..context import Context, current_context
from ..errors import ArgumentError
from ..registry.binding import bind, signature_of, target_of
from ..registry.op import OPS, Op
from ..runtime.device import device_of
from ..runtime.invoke import create, invoke
from .fluent import ArrayMethods
from .ndarray import NDArray

__all__ = ["METHODS", "fill", "function_of", "late", "populate"]


def _is_array(v: Any) -> bool:
    return isinstance(v, NDArray)


def function_of(op: Op, name: str, module: str) -> Callable:
    """The eager function of an operator."""
    attrs_free = not any(a.required for a in op.schema.attrs.values())
    if not op.schema.inputs and not op.schema.variadic:
        return _dressed(_creator(op), op, name, module)

    def general(*args: Any, **kwargs: Any) -> Any:
        arrays, given, out, _ = bind(op, args, kwargs, _is_array)
        while arrays and arrays[-1] is None:
            arrays.pop()
        if not arrays or arrays[0] is None:
            raise ArgumentError(f"{op.name}: needs its inputs {op.schema.inputs or op.schema.variadic} as arrays")
        attrs = op.parse(given)
        if not op.schema.variadic and len(arrays) < len(op.schema.inputs):
            needed = op.input_names(attrs)
            absent = [n for i, n in enumerate(op.schema.inputs) if n in needed and (i >= len(arrays) or arrays[i] is None)]
            if absent:
                raise ArgumentError(f"{op.name}: input {absent[0]!r} is missing; inputs are {needed}")
        return invoke(op, arrays, attrs, out)

    # the usual calls, arrays alone, go straight to invoke
    if attrs_free and len(op.schema.inputs) == 1 and not op.schema.variadic:
        defaults = op.parse({})

        def function(*args: Any, **kwargs: Any) -> Any:
            if not kwargs and len(args) == 1 and isinstance(args[0], NDArray):
                return invoke(op, args, defaults)
            return general(*args, **kwargs)
    elif attrs_free and len(op.schema.inputs) == 2 and not op.schema.optional and not op.schema.variadic:
        defaults = op.parse({})

        def function(*args: Any, **kwargs: Any) -> Any:
            if not kwargs and len(args) == 2 and isinstance(args[0], NDArray) and isinstance(args[1], NDArray):
                return invoke(op, args, defaults)
            return general(*args, **kwargs)
    else:
        function = general
    return _dressed(function, op, name, module)


def _creator(op: Op) -> Callable:
    def function(*args: Any, **kwargs: Any) -> Any:
        _, given, out, _ = bind(op, args, kwargs, _is_array)
        ctx = given.pop("ctx", None)
        if out is not None:
            dev = (out[0] if isinstance(out, (list, tuple)) else out)._dev
        else:
            dev = device_of(_context(ctx))
        return create(op, op.parse(given), dev, NDArray, out)

    return function


def _context(ctx: Any) -> Context:
    if ctx is None:
        return current_context()
    if isinstance(ctx, str):
        kind, _, number = ctx.rstrip(")").partition("(")
        return Context(kind, int(number or 0))
    return ctx


def _dressed(function: Callable, op: Op, name: str, module: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = op.doc
    function.__signature__ = signature_of(op)  # type: ignore[attr-defined]
    return function


def fill(root: ModuleType, make: Callable[[Op, str, str], Callable], spaces: dict[str, dict[str, Any]]) -> None:
    """Put the function of every operator name where MXNet has it: ``root``, or a sub-namespace of it.

    Names that ``root`` defines by hand (``array``, ``zeros``) stay.
    """
    for name, op in list(OPS.items()):
        if op.hidden:
            continue
        space, short = target_of(op, name)
        table = spaces[space]
        if short not in table:
            table[short] = make(op, short, root.__name__ + (f".{space}" if space else ""))
        if space == "random" and name not in spaces["_internal"]:  # these are reached by their full names too
            spaces["_internal"][name] = make(op, name, f"{root.__name__}._internal")


def late(root: ModuleType, name: str, make: Callable) -> Callable:
    """The function of an operator that was registered after ``root`` was filled."""
    op = OPS.get(name)
    if op is None or op.hidden or target_of(op, name) != ("", name):
        raise AttributeError(f"module {root.__name__!r} has no attribute {name!r}")
    function = vars(root)[name] = make(op, name, root.__name__)
    return function


#: operators that arrays have as methods: ``x.sum(axis=0)`` is ``nd.sum(x, axis=0)``
METHODS = [
    "abs", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "argmax", "argmax_channel",
    "argmin", "argsort", "broadcast_axes", "broadcast_like", "broadcast_to", "cbrt", "ceil", "clip", "cos",
    "cosh", "degrees", "depth_to_space", "diag", "exp", "expand_dims", "expm1", "fix", "flatten", "flip",
    "floor", "gamma", "gammaln", "log", "log10", "log1p", "log2", "log_softmax", "max", "mean", "min",
    "nanprod", "nansum", "norm", "one_hot", "ones_like", "pad", "pick", "prod", "radians", "rcbrt",
    "reciprocal", "relu", "repeat", "reshape_like", "rint", "round", "rsqrt", "shape_array", "sigmoid",
    "sign", "sin", "sinh", "size_array", "slice", "slice_axis", "slice_like", "softmax", "softmin", "sort",
    "space_to_depth", "split", "split_v2", "sqrt", "square", "squeeze", "sum", "swapaxes", "take", "tan",
    "tanh", "tile", "topk", "transpose", "trunc", "zeros_like",
]


def _transpose(self: NDArray, *axes: Any, **kwargs: Any) -> NDArray:
    """The array with its axes permuted (reversed by default): ``x.transpose((1, 0))`` or ``x.transpose(1, 0)``."""
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = tuple(axes[0] or ())
    op = OPS["transpose"]
    return invoke(op, (self,), op.parse({"axes": kwargs.get("axes") or axes}))


def populate(root: ModuleType) -> None:
    """Fill ``mx.nd``, its sub-namespaces, and the methods of the array class."""
    main = vars(root)
    spaces = {"": main, **{s: vars(main[s]) for s in ("contrib", "linalg", "image", "_internal")}}
    for extra in ("random", "sparse"):
        spaces[extra] = vars(main[extra]) if extra in main else {}
    fill(root, function_of, spaces)
    vars(main["op"]).update({k: v for k, v in main.items() if k in OPS})
    for name in METHODS:
        if name in main and name not in vars(NDArray):
            setattr(ArrayMethods, name, main[name])  # the array is the first argument
    setattr(ArrayMethods, "transpose", _transpose)  # noqa: B010  (the stub says what it is)
