"""From a call's arguments to arrays and attributes, for ``mx.nd`` and ``mx.sym`` alike; real signatures for both."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError
from .op import Op

__all__ = ["bind", "signature_of", "target_of"]

_SPACES = ("contrib", "linalg", "sparse", "image", "random")


def _positional(op: Op) -> list[str]:
    """Attributes in the order in which a caller may give them; without inputs, ``ctx`` stands before ``dtype``."""
    names = list(op.schema.attrs)
    if not op.schema.inputs and not op.schema.variadic and "dtype" in names:
        names.insert(names.index("dtype"), "ctx")
    return names


def bind(op: Op, args: Sequence[Any], kwargs: dict[str, Any],
         is_array: Callable[[Any], bool]) -> tuple[list, dict, Any, Any]:
    """Sort the arguments of a call.

    Arrays come first, then attributes in the order of the schema, then ``out`` and ``name``; all may be keywords.

    Returns
    -------
    arrays : list
        In schema order, None where an optional one is absent.
    attrs : dict
        Attributes as given (not parsed).
    out, name
    """
    kwargs = dict(kwargs)
    out, name = kwargs.pop("out", None), kwargs.pop("name", None)
    schema = op.schema
    if schema.variadic:
        arrays = list(args)
        if len(arrays) == 1 and isinstance(arrays[0], (list, tuple)):
            arrays = list(arrays[0])
        while arrays and not is_array(arrays[-1]) and arrays[-1] is not None:
            raise ArgumentError(f"{op.name}: inputs must be arrays, got {arrays[-1]!r}; attributes go by keyword")
        named = [k for k in kwargs if is_array(kwargs[k]) and k not in schema.attrs]
        arrays += [kwargs.pop(k) for k in named]
        data = kwargs.pop(schema.variadic, None)
        if isinstance(data, (list, tuple)):
            arrays += list(data)
        if op.inputs_of is not None and named:  # inputs that have names of their own
            order = op.input_names(op.parse(kwargs), len(arrays))
            by_name = dict(zip(named, arrays[len(arrays) - len(named):], strict=True))
            unknown = [n for n in named if n not in order]
            if unknown:
                raise ArgumentError(f"{op.name}: unknown inputs {unknown}; inputs are {order}")
            placed = arrays[: len(arrays) - len(named)]
            arrays = placed + [by_name.get(n) for n in order[len(placed):]]
        return arrays, kwargs, out, name
    inputs, attrs = schema.inputs, _positional(op)
    arrays = [None] * len(inputs)
    given = {}
    slots = [*inputs, *attrs, "out", "name"]
    if len(args) > len(slots):
        raise ArgumentError(f"{op.name}: takes at most {len(slots)} positional arguments, got {len(args)}: {slots}")
    for i, value in enumerate(args):
        slot = slots[i]
        if i < len(inputs):
            if value is not None and not is_array(value):
                if slot in schema.optional or i >= len(inputs) - len(schema.optional):
                    # MXNet lets attributes follow directly where trailing inputs are optional
                    raise ArgumentError(f"{op.name}: input {slot!r} must be an array, got {type(value).__name__}")
                raise ArgumentError(f"{op.name}: input {slot!r} must be an array, got {type(value).__name__}: "
                                    f"{value!r}; inputs are {inputs}")
            arrays[i] = value
        elif slot == "out":
            out = value
        elif slot == "name":
            name = value
        else:
            given[slot] = value
    for key, value in kwargs.items():
        if key in inputs:
            if value is not None:
                i = inputs.index(key)
                if arrays[i] is not None:
                    raise ArgumentError(f"{op.name}: input {key!r} is given twice")
                if not is_array(value):
                    raise ArgumentError(f"{op.name}: input {key!r} must be an array, got {type(value).__name__}")
                arrays[i] = value
        else:
            given[key] = value
    if op.inputs_of is not None and len(inputs) > 1:
        # arrays by position stand for the inputs that the attributes leave: RNN without state_cell, CTCLoss with one length
        leading = [a for a in args[: len(inputs)] if a is not None]
        if len(leading) > 1 and len(leading) == sum(a is not None for a in arrays):
            wanted = op.input_names(op.parse(given))
            if len(leading) == len(wanted) and wanted != inputs[: len(wanted)]:
                arrays = [None] * len(inputs)
                for n, a in zip(wanted, leading, strict=True):
                    arrays[inputs.index(n)] = a
    return arrays, given, out, name


def signature_of(op: Op) -> inspect.Signature:
    """The signature of the generated function, arrays first, then attributes, then ``out`` and ``name``."""
    kind = inspect.Parameter
    parameters = []
    if op.schema.variadic:
        parameters += [kind(n, kind.POSITIONAL_ONLY) for n in op.schema.inputs]
        parameters.append(kind(op.schema.variadic, kind.VAR_POSITIONAL))
        after: Any = kind.KEYWORD_ONLY
    else:
        parameters += [kind(n, kind.POSITIONAL_OR_KEYWORD, default=None) for n in op.schema.inputs]
        after = kind.POSITIONAL_OR_KEYWORD
    for n in _positional(op):
        a = op.schema.attrs.get(n)
        parameters.append(kind(n, after, default=None if a is None or a.required else a.default))
    taken = {p.name for p in parameters}  # hidden operators may call an input "out"
    parameters += [kind(n, after, default=None) for n in ("out", "name") if n not in taken]
    parameters.append(kind("kwargs", kind.VAR_KEYWORD))
    return inspect.Signature(parameters)


def target_of(op: Op, name: str) -> tuple[str, str]:
    """Namespace and function name under which ``name`` appears: ``_contrib_box_nms`` -> ``("contrib", "box_nms")``."""
    for space in _SPACES:
        prefix = f"_{space}_"
        if name.startswith(prefix):
            return space, name[len(prefix):]
    if name.startswith("linalg_"):
        return "linalg", name[len("linalg_"):]
    if name.startswith("_"):
        return "_internal", name
    return op.namespace, name
