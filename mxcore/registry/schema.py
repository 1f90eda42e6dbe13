"""Schemas: what an operator accepts, read from its kernel's signature.

An attribute is a keyword-only parameter; its annotation says how a Python value, or the text that a JSON file keeps,
becomes the value that kernels and rules see. Annotations in use: ``int``, ``float``, ``bool``, ``str``, ``Shape``,
``Slots`` (a shape that may hold ``None``), ``Floats``, ``DType``, ``Scalar``, ``Literal[...]`` and ``X | None`` of these.
"""

import ast
import inspect
import operator
import types
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtype import dtype_of, name_of
from ..errors import ArgumentError, DTypeError

__all__ = ["EMPTY", "Attribute", "Attrs", "DType", "Floats", "Scalar", "Schema", "Shape", "Slots", "attr_text"]


class DType:
    """Annotation of an attribute that is a data type; kernels receive a ``numpy.dtype``."""


class Scalar:
    """Annotation of a number that takes the array's type; kernels receive an int or a float."""


Shape = tuple[int, ...]
Slots = tuple[int | None, ...]
Floats = tuple[float, ...]

#: keyword-only parameters that the runtime fills in; they are no attributes
RESERVED = ("is_train", "rng")


class Attrs(dict):
    """Parsed attributes of one call, complete with defaults; treated as immutable, so that calls can share it.

    Reads as a dict (for ``kernel(**attrs)``) and by name (``n.attrs.axis`` in gradient rules). ``given`` is the text of
    what the caller gave, as JSON keeps it; ``saves`` caches what the tape must keep for a call of this kind.
    """

    __slots__ = ("given", "saves")

    def __init__(self, values: dict[str, Any], given: dict[str, str] | None = None) -> None:
        super().__init__(values)
        self.given = {} if given is None else given
        self.saves: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no attribute {name!r} here; there are {sorted(self)}") from None


EMPTY = Attrs({})


# ---------------------------------------------------------------- reading values
def _int(v: Any) -> int:
    if isinstance(v, str):
        return int(v)
    try:
        return operator.index(v)
    except TypeError:
        if isinstance(v, (float, np.floating)) and float(v).is_integer():
            return int(v)
        if getattr(v, "size", 0) == 1 and hasattr(v, "asscalar"):
            return int(v.asscalar())
        raise


def _float(v: Any) -> float:
    if hasattr(v, "asscalar"):
        v = v.asscalar()
    if v is None or isinstance(v, (list, tuple)):
        raise ValueError
    return float(v)


def _scalar(v: Any) -> int | float:
    if isinstance(v, str):
        return float(v)
    if isinstance(v, (bool, np.bool_)):
        return int(v)
    if isinstance(v, (int, float)):
        return v
    if hasattr(v, "item"):
        return v.item()
    return float(v)


def _bool(v: Any) -> bool:
    if isinstance(v, str):
        low = v.lower()
        if low in ("true", "1"):
            return True
        if low in ("false", "0"):
            return False
        raise ValueError
    if isinstance(v, (bool, int, np.integer, np.bool_)):
        return bool(v)
    raise ValueError


def _str(v: Any) -> str:
    if not isinstance(v, str):
        raise ValueError
    return v


def _sequence(v: Any) -> tuple:
    if isinstance(v, str):
        text = v.strip().replace("L", "")
        if text and text[0] in "([":
            v = ast.literal_eval(text if text not in ("(,)", "[,]") else "()")
        else:
            v = ast.literal_eval(text + ",") if text else ()
    if isinstance(v, (list, tuple)):
        return tuple(v)
    if hasattr(v, "tolist"):
        v = v.tolist()
        return tuple(v) if isinstance(v, list) else (v,)
    return (v,)


def _shape(v: Any) -> tuple[int, ...]:
    return tuple(_int(x) for x in _sequence(v))


def _slots(v: Any) -> tuple[int | None, ...]:
    return tuple(None if x is None else _int(x) for x in _sequence(v))


def _floats(v: Any) -> tuple[float, ...]:
    return tuple(float(x) for x in _sequence(v))


_READERS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    int: (_int, "int"), float: (_float, "float"), bool: (_bool, "boolean"), str: (_str, "string"),
    Shape: (_shape, "Shape(tuple)"), Slots: (_slots, "Shape(tuple, None allowed)"),
    Floats: (_floats, "tuple of float"), DType: (dtype_of, "dtype"), Scalar: (_scalar, "number"),
    object: (lambda v: v, "object"),  # between a front-end and its hidden operators only, never in files
}


def attr_text(value: Any) -> str:
    """An attribute value as JSON files keep it.

    >>> attr_text((3, 3)), attr_text(True), attr_text(np.dtype("float32"))
    ('(3, 3)', 'True', 'float32')
    """
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return name_of(value)
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, np.generic):
        value = value.item()
    return str(value)


class Attribute:
    """One attribute: its name, how its value is read, its default, and a description for errors and docs."""

    __slots__ = ("choices", "default", "name", "optional", "read", "required", "type_text")

    def __init__(self, name: str, annotation: Any, default: Any) -> None:
        self.name = name
        self.required = default is inspect.Parameter.empty
        self.optional = False
        self.choices: tuple = ()
        self.read: Callable[[Any], Any]
        origin = typing.get_origin(annotation)
        if origin in (typing.Union, types.UnionType):
            rest = [a for a in typing.get_args(annotation) if a is not type(None)]
            self.optional = len(rest) < len(typing.get_args(annotation))
            annotation = rest[0] if len(rest) == 1 else Scalar
            origin = typing.get_origin(annotation)
        if origin is typing.Literal:
            self.choices = typing.get_args(annotation)
            self.read, self.type_text = self._choice, "{" + ", ".join(f"'{c}'" for c in self.choices) + "}"
        elif annotation in _READERS:
            self.read, self.type_text = _READERS[annotation]
        else:
            raise TypeError(f"attribute {name!r} is annotated with {annotation!r}, which is no attribute type")
        if self.optional:
            self.type_text += " or None"
        self.default = default if self.required or default is None else self.parse(default)

    def _choice(self, v: Any) -> Any:
        if v in self.choices:
            return v
        for c in self.choices:
            if str(c) == str(v):
                return c
        raise ValueError

    def parse(self, value: Any) -> Any:
        """The value that kernels see, from a Python value or its text."""
        if value is None or (type(value) is str and value == "None"):
            if self.optional:
                return None
            raise ValueError
        return self.read(value)

    def text(self, given: Any, value: Any) -> str:
        """The text of a value as files keep it: as it was given, if MXNet reads that."""
        kind = self.type_text.removesuffix(" or None")
        if not isinstance(given, str) and (
                kind == "int" or (kind.startswith("Shape") and isinstance(given, (tuple, list)))
                or (hasattr(given, "shape") and not isinstance(given, np.generic))):
            given = value
        elif isinstance(given, (bool, np.bool_)) and kind in ("float", "number"):
            given = int(given)
        return attr_text(given)

    def describe(self) -> str:
        """The attribute in a line, as error messages and docs show it."""
        need = "required" if self.required else f"optional, default={attr_text(self.default)}"
        return f"{self.name} : {self.type_text}, {need}"


_CONSTANT = frozenset({int, float, bool, str, type, type(None)})


def _is_constant(v: Any) -> bool:
    """Whether a value cannot change (an array of one element is read as a number too)."""
    if type(v) is tuple:
        return all(map(_is_constant, v))
    return type(v) in _CONSTANT or isinstance(v, (np.dtype, np.generic))


class Schema:
    """Inputs and attributes of an operator.

    Attributes
    ----------
    inputs : tuple of str
        Names of the positional arrays.
    optional : frozenset of str
        Those of ``inputs`` that may be left out.
    variadic : str or None
        Name of ``*arrays`` if the operator takes any number of them.
    attrs : dict of str to Attribute
    wants : frozenset of str
        Which of the reserved words (``is_train``, ``rng``) the kernel asks for.
    """

    __slots__ = ("attrs", "cache", "cacheable", "count", "defaults", "inputs", "optional", "variadic", "wants")

    def __init__(self, fn: Callable, skip: int, count: str = "num_args") -> None:
        parameters = list(inspect.signature(fn, eval_str=True).parameters.values())[skip:]
        arrays = [p for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
        variadic = [p.name for p in parameters if p.kind == p.VAR_POSITIONAL]
        keyword = [p for p in parameters if p.kind == p.KEYWORD_ONLY]
        self.inputs = tuple(p.name for p in arrays)
        self.optional = frozenset(p.name for p in arrays if p.default is not p.empty)
        self.variadic = variadic[0] if variadic else None
        self.count = count if variadic else None
        self.wants = frozenset(p.name for p in keyword if p.name in RESERVED)
        self.attrs = {p.name: Attribute(p.name, p.annotation, p.default) for p in keyword if p.name not in RESERVED}
        self.defaults = Attrs({a.name: a.default for a in self.attrs.values() if not a.required})
        self.cache: dict[Any, Attrs] = {}
        self.cacheable = all(a.type_text != "object" for a in self.attrs.values())

    def parse(self, op_name: str, given: dict[str, Any]) -> Attrs:
        """Complete, typed attributes from what a caller gave.

        Raises
        ------
        ArgumentError
            Unknown attribute, a required one missing, or a value that cannot be read.
        """
        if not given and len(self.defaults) == len(self.attrs):
            return self.defaults
        if not self.cacheable:
            return self._parse(op_name, given)
        try:
            key = tuple([(k, v or repr(v), type(v)) for k, v in given.items()])  # 0.0 and -0.0 are equal, and two things
            found = self.cache.get(key)
        except (TypeError, ValueError):  # a list or an array among the values
            return self._parse(op_name, given)
        if found is not None:
            return found
        attrs = self._parse(op_name, given)
        if all(map(_is_constant, given.values())):
            if len(self.cache) > 512:
                self.cache.clear()
            self.cache[key] = attrs
        return attrs

    def _parse(self, op_name: str, given: dict[str, Any]) -> Attrs:
        values = dict(self.defaults)
        texts = {}
        for name, value in given.items():
            attribute = self.attrs.get(name)
            if attribute is None:
                if not self.attrs or name == self.count or (name == "ctx" and not self.inputs):
                    texts[name] = attr_text(value)
                    continue
                raise ArgumentError(f"{op_name}: Cannot find argument '{name}', Possible Arguments:\n"
                                    "----------------\n" + "\n".join(a.describe() for a in self.attrs.values()))
            try:
                values[name] = attribute.parse(value)
            except (ValueError, TypeError, DTypeError, SyntaxError, OverflowError) as error:
                raise ArgumentError(f"{op_name}: Invalid Parameter format for {name} expect "
                                    f"{attribute.type_text} but value='{value}'") from error
            texts[name] = attribute.text(value, values[name])
        missing = [a for a in self.attrs.values() if a.name not in values]
        if missing:
            raise ArgumentError(f"{op_name}: Required parameter {missing[0].name} of {missing[0].type_text} is not "
                                f"presented, in operator {op_name}. Possible Arguments:\n"
                                + "\n".join(a.describe() for a in self.attrs.values()))
        return Attrs({name: values[name] for name in self.attrs}, texts)
