"""Pickled optimizer states, read without running code from them.

MXNet's ``.states`` files are pickles, and a pickle is a program: Python's own unpickler imports and calls what the file
names. This one decodes the opcodes (by :func:`pickletools.genops`, which runs nothing) and carries out those that build
data. A class or function is admitted only if :func:`admit` has put its name into the table; instances are made without
calling ``__init__``, state goes only to objects that the same pickle made, and NumPy arrays are checked against the
bytes that are there. Nothing is allocated from a length in the file before that many bytes were seen to follow.
"""

import importlib
import math
import pickletools
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..context import Context
from ..errors import BackendMissingError, FileFormatError, OutOfMemoryError

__all__ = ["admit", "loads"]


class _Refused(FileFormatError):
    """What the pickle asks for is not admitted (the message still lacks the name of the file)."""


@dataclass(frozen=True)
class _Entry:
    target: object  # the object, or "module:attribute"
    call: Callable[..., Any] | bool = False  # what stands in for it when it is called; True: itself; False: refused
    base: str | None = None  # a class that a family's members must derive from
    state: str | None = None  # "module:function" that gives an instance its state


_TABLE: dict[str, _Entry] = {}
_FAMILIES: dict[str, _Entry] = {}


def admit(name: str, target: object, *, call: "Callable[..., Any] | bool" = False, base: str | None = None,
          state: str | None = None) -> None:
    """Allow pickles to name a class (or function).

    Parameters
    ----------
    name : str
        The qualified name in the pickle, ``"mxnet.context.Context"``. ``"mxnet.optimizer.*"`` admits every public class
        of that name in that package or below it.
    target : object or str
        What stands for it here: the object, or ``"module:attribute"``, imported when a pickle asks for it, which is how
        lower layers name what upper layers define. For a family, ``"module:*"``.
    call : callable or bool
        What happens when the pickle calls it. False: it is refused; instances can only be made empty and then be given
        their state. True: the target is called with the arguments of the pickle; an instance of a class must then be
        given its state. A callable is called in the target's stead and has to check the arguments.
    base : str, optional
        ``"module:attribute"`` of a class that the members of a family must derive from.
    state : str, optional
        ``"module:function"`` that is called with an instance and its state, which then has to follow. Default: the
        ``__setstate__`` of the instance, else the state becomes its attributes.

    Examples
    --------
    >>> admit("old_project.Settings", "argparse:Namespace")
    >>> loads(b"\\x80\\x02cold_project\\nSettings\\n)\\x81}X\\x01\\0\\0\\0aK\\x07sb.")
    Namespace(a=7)
    """
    if name.endswith(".*"):
        _FAMILIES[name[:-1]] = _Entry(target, call, base, state)
    else:
        _TABLE[name] = _Entry(target, call, base, state)


def loads(data: "bytes | bytearray | memoryview", label: str = "pickle") -> Any:
    """Build the object that a pickle of known classes describes.

    Reads protocols 0 to 5, of Python 2 too. Data of built-in types, NumPy arrays, dtypes and scalars are admitted, and
    what :func:`admit` was told: MXNet's NDArray, Context, optimizers and learning-rate schedules, and mxcore's own.

    Parameters
    ----------
    data : bytes-like
        The whole pickle.
    label : str
        What to call it in messages, such as the name of the file.

    Returns
    -------
    object

    Raises
    ------
    FileFormatError
        If the pickle names a class that is not admitted, or is truncated or corrupt.

    Examples
    --------
    >>> import pickle
    >>> loads(pickle.dumps({"lr": 0.1, "steps": [1, 2]}))
    {'lr': 0.1, 'steps': [1, 2]}
    >>> loads(pickle.dumps(print))
    Traceback (most recent call last):
        ...
    mxcore.errors.FileFormatError: pickle: refused: 'builtins.print' is not among the classes that ...
    """
    machine = _Machine(bytes(data))
    try:
        return machine.run()
    except (BackendMissingError, OutOfMemoryError):
        raise  # not the file's fault
    except _Refused as error:
        raise FileFormatError(f"{label}: {error}") from error.__cause__
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        place = f"at byte {machine.position} of {len(machine.data)}"
        raise FileFormatError(f"{label}: truncated or corrupt pickle, {place}: {type(error).__name__}: "
                              f"{str(error)[:200]}") from error


def _resolve(target: object) -> Any:
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _find(module: str, name: str) -> tuple[str, object, _Entry]:
    """The qualified name, the object and the table entry for what a pickle calls ``module.name``."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    if module == "numpy.core" or module.startswith("numpy.core."):  # before NumPy 2
        module = module.replace("numpy.core", "numpy._core", 1)
    qualified = f"{module}.{name}"[:200]
    entry = _TABLE.get(qualified)
    if entry is None and name.isidentifier() and not name.startswith("_"):
        family = next((f for f in _FAMILIES if f"{module}.".startswith(f)), None)
        if family is not None:
            found = _FAMILIES[family]
            entry = _Entry(str(found.target).replace("*", name), found.call, found.base, found.state)
    if entry is None:
        raise _Refused(f"refused: {qualified!r} is not among the classes that such files may name; if you trust it, "
                       f"mxcore.files.pickles.admit({qualified!r}, <the class>) admits it")
    try:
        target = _resolve(entry.target)
    except (ImportError, AttributeError) as error:
        raise _Refused(f"{qualified!r} has no counterpart here ({entry.target})") from error
    if entry.base and not (isinstance(target, type) and issubclass(target, _resolve(entry.base))):
        raise _Refused(f"refused: {qualified!r} is not a class derived from {entry.base}")
    return qualified, target, entry


class _Machine:
    """The stack machine that pickles are programs for, without the opcodes that reach beyond data."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.named: dict[int, tuple[str, object, _Entry]] = {}  # what GLOBAL pushed, by id
        self.made: dict[int, tuple[Any, str | None]] = {}  # what this pickle made and may give a state to, by id
        self.unfinished: dict[int, str] = {}  # ... and those that are nothing without their state

    def run(self) -> Any:
        for opcode, argument, position in pickletools.genops(self.data):
            self.position = position or 0
            if opcode.name == "STOP":
                break
            self.step(opcode.name, argument)
        result = self.pop()
        if self.stack or self.marks or self.position + 1 != len(self.data):
            raise ValueError("something is left over")
        if self.unfinished:
            raise ValueError(f"{next(iter(self.unfinished.values()))} was never given its state")
        return result

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack is empty")
        return self.stack.pop()

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(self.pop() for _ in range(count))[::-1]

    def pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, *kinds: type) -> Any:
        value = self.pop()
        if not isinstance(value, kinds):
            raise TypeError(f"items are added to a {type(value).__name__}")
        self.stack.append(value)
        return value

    def step(self, name: str, argument: Any) -> None:
        push = self.stack.append
        match name:
            case "PROTO":
                if argument > 5:
                    raise ValueError(f"protocol {argument} is unknown")
            case "FRAME":
                if argument > len(self.data) - self.position - 9:
                    raise ValueError(f"a frame of {argument} bytes does not fit into the rest")
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case ("INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "LONG4" | "FLOAT" | "BINFLOAT"
                  | "STRING" | "BINSTRING" | "SHORT_BINSTRING" | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8"
                  | "BYTEARRAY8" | "UNICODE" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8"):
                push(argument)
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET" | "EMPTY_TUPLE":
                push({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}[name]())
            case "MARK":
                self.marks.append(len(self.stack))
            case "POP":
                if self.marks and self.marks[-1] == len(self.stack):
                    self.marks.pop()
                else:
                    self.pop()
            case "POP_MARK":
                self.pop_mark()
            case "DUP":
                push(self.top(object))
            case "LIST":
                push(self.pop_mark())
            case "TUPLE":
                push(tuple(self.pop_mark()))
            case "FROZENSET":
                push(_frozenset(self.pop_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(self.pop_many(int(name[-1])))
            case "DICT":
                push(_pairs(self.pop_mark()))
            case "APPEND":
                item = self.pop()
                self.top(list).append(item)
            case "APPENDS":
                items = self.pop_mark()
                self.top(list).extend(items)
            case "SETITEM":
                items = list(self.pop_many(2))
                self.top(dict).update(_pairs(items))
            case "SETITEMS":
                items = self.pop_mark()
                self.top(dict).update(_pairs(items))
            case "ADDITEMS":
                items = self.pop_mark()
                self.top(set).update(_keys(items))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top(object)
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top(object)
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "GLOBAL":
                self.push_named(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self.push_named(*self.pop_many(2))
            case "REDUCE":
                function, arguments = self.pop_many(2)
                push(self.call(function, arguments))
            case "NEWOBJ":
                kind, arguments = self.pop_many(2)
                if arguments != ():
                    raise TypeError("instances with constructor arguments are not read")
                push(self.make(kind))
            case "BUILD":
                state = self.pop()
                self.build(self.top(object), state)
            case _:
                raise _Refused(f"refused: the opcode {name} has no place in such a file")

    def push_named(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("the name of a class is not text")
        found = _find(module, name)
        self.named[id(found[1])] = found
        self.stack.append(found[1])

    def call(self, function: Any, arguments: Any) -> Any:
        qualified, target, entry = self.named.get(id(function), ("", None, _Entry(None)))
        if target is None or not isinstance(arguments, tuple):
            raise TypeError("something is called that is not a function")
        if target is _reconstructor:  # of protocols 0 and 1: kind, base, state of the base
            kind, base, state = arguments
            if base is not object or state is not None:
                raise TypeError("instances with a built-in base are not read")
            return self.make(kind)
        if entry.call is False:
            raise _Refused(f"refused: the file calls {qualified!r}, which it may only name")
        made = target(*arguments) if entry.call is True else entry.call(*arguments)  # type: ignore[operator]
        self.made[id(made)] = made, entry.state
        if entry.state or (entry.call is True and isinstance(target, type)):
            self.unfinished[id(made)] = qualified
        return made

    def make(self, kind: Any) -> Any:
        if id(kind) not in self.named or not isinstance(kind, type):
            raise TypeError("an instance is made of what is not a class")
        made: Any = object.__new__(kind)
        self.made[id(made)] = made, self.named[id(kind)][2].state
        return made

    def build(self, made: Any, state: Any) -> None:
        if id(made) not in self.made:
            raise TypeError(f"a {type(made).__name__} is given a state")
        self.unfinished.pop(id(made), None)
        named = self.made[id(made)][1]
        setter = _resolve(named) if named else _STATES.get(type(made)) or getattr(type(made), "__setstate__", None)
        if setter is not None:
            setter(made, state)
            return
        if not isinstance(state, dict) or not hasattr(made, "__dict__"):
            raise TypeError(f"a {type(made).__name__} cannot have the state that the file gives it")
        for key, value in state.items():
            if not isinstance(key, str) or callable(getattr(type(made), key, None)):
                raise TypeError(f"{key!r} cannot be an attribute of a {type(made).__name__}")
            made.__dict__[key] = value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(_keys(items[::2]), items[1::2], strict=True))


def _keys(items: list[Any]) -> list[Any]:
    """Check that hashing the items takes no longer than reading them.

    A tuple that holds one tuple twice, which holds one tuple twice, ... takes 2^depth steps to hash.
    """
    for item in items:
        if isinstance(item, tuple) and any(isinstance(part, (tuple, frozenset)) for part in item):
            raise TypeError("a key is a tuple of tuples")
    return items


# What pickles of data call, each with its arguments checked: a plain bytearray(10**12) would take that much memory.


def _reconstructor() -> None:
    """Stands for ``copyreg._reconstructor``, which :meth:`_Machine.call` carries out."""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise ValueError(f"encoding {encoding!r}")
    return text.encode(encoding)


def _bytes(*arguments: Any) -> bytes:
    match arguments:
        case ():
            return b""
        case (bytes() as content,):
            return content
        case (str() as text, str() as encoding):
            return _encode(text, encoding)
    raise TypeError("bytes are not made of bytes")


def _bytearray(*arguments: Any) -> bytearray:
    return bytearray(_bytes(*arguments))


def _items(*arguments: Any) -> list[Any]:
    match arguments:
        case ():
            return []
        case (list() | tuple() as items,):
            return list(items)
    raise TypeError("a container is not made of a list")


def _set(*arguments: Any) -> set[Any]:
    return set(_keys(_items(*arguments)))


def _frozenset(*arguments: Any) -> frozenset[Any]:
    return frozenset(_keys(_items(*arguments)))


def _ordered_dict(*arguments: Any) -> OrderedDict[Any, Any]:
    pairs = _items(*arguments)
    _keys([key for key, _ in pairs])
    return OrderedDict(pairs)


def _defaultdict(*arguments: Any) -> defaultdict[Any, Any]:
    if arguments not in ((), (None,), *((kind,) for kind in _PLAIN_TYPES)):
        raise TypeError("a defaultdict of something else than a built-in type")
    return defaultdict(*arguments)


def _complex(real: float, imag: float) -> complex:
    return complex(float(real), float(imag))


def _dtype(code: Any, align: bool = False, copy: bool = True) -> np.dtype:
    if not isinstance(code, str) or code.lstrip("<>=|") not in _DTYPE_CODES:
        raise TypeError(f"dtype {code!r}")
    return np.dtype(code, copy=True)  # its own, for its state is set next


def _dtype_state(dtype: Any, state: Any) -> None:
    match state:
        case (3 | 4, "<" | ">" | "=" | "|", None, None, None, -1, -1, 0):
            dtype.__setstate__(state)
        case _:
            raise TypeError("a dtype with fields or metadata")


def _checked(dtype: Any, shape: Any, content: Any) -> None:
    """Check that ``content`` is what an array of that type and shape consists of."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, (bytes, bytearray)):
        raise TypeError("an array of objects")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise TypeError(f"an array of shape {shape!r}")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of shape {shape} and type {dtype} in {len(content)} bytes")
    if dtype == np.bool_ and content.translate(None, b"\0\1"):
        raise ValueError("an array of type bool with a byte that is neither 0 nor 1")


def _array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if kind is not np.ndarray or shape != (0,):
        raise TypeError("an array that is not empty before its state is set")
    return np.empty(0, np.int8)


def _array_state(array: Any, state: Any) -> None:
    _, shape, dtype, fortran, content = state
    _checked(dtype, shape, content)
    array.__setstate__((1, shape, dtype, bool(fortran), bytes(content)))


def _scalar(dtype: Any, content: Any) -> Any:
    _checked(dtype, (), content)
    return np.frombuffer(content, dtype)[0]


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    _checked(dtype, shape, content)
    return np.frombuffer(bytes(content), dtype).reshape(shape, order="F" if order == "F" else "C").copy("K")


def _context(kind: Any, number: Any = 0) -> Context:
    if not isinstance(kind, (str, int)) or not isinstance(number, int):
        raise TypeError("a context of something else than a kind and a number")
    return Context(kind, number)


def _context_state(context: Context, state: Any) -> None:
    """MXNet's state of a context, a dict of its attributes."""
    context.device_type = Context.devtype2str[state["device_typeid"]]
    context.device_id = int(state["device_id"])


_PLAIN_TYPES: tuple[type, ...] = (
    bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
_DTYPE_CODES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
_STATES: dict[type, Callable[[Any, Any], None]] = {
    np.ndarray: _array_state, Context: _context_state, **{type(np.dtype(c)): _dtype_state for c in _DTYPE_CODES}}
_CALLS: dict[type, Callable[..., Any] | bool] = {bytes: _bytes, bytearray: _bytearray, set: _set, frozenset: _frozenset,
                                          complex: _complex}

for _type in (*_PLAIN_TYPES, object):
    admit(f"builtins.{_type.__name__}", _type, call=_CALLS.get(_type, False))
admit("builtins.long", int)  # of Python 2
admit("builtins.unicode", str)
for _code in sorted(_DTYPE_CODES):
    admit(f"numpy.{np.dtype(_code).type.__name__}", np.dtype(_code).type)
admit("numpy.bool_", np.bool_)
admit("numpy._core.multiarray._reconstruct", _array, call=_array)
admit("numpy._core.multiarray.scalar", _scalar, call=_scalar)
admit("numpy._core.numeric._frombuffer", _from_buffer, call=_from_buffer)
admit("numpy.ndarray", np.ndarray)
admit("numpy.dtype", np.dtype, call=_dtype)
admit("copyreg._reconstructor", _reconstructor)
admit("_codecs.encode", _encode, call=_encode)
admit("collections.OrderedDict", OrderedDict, call=_ordered_dict)
admit("collections.defaultdict", defaultdict, call=_defaultdict)
for _package in ("mxnet", "mxcore"):
    admit(f"{_package}.context.Context", Context, call=_context)
    admit(f"{_package}.optimizer.*", "mxcore.optimizer:*", base="mxcore.optimizer:Optimizer")
    admit(f"{_package}.lr_scheduler.*", "mxcore.lr_scheduler:*", base="mxcore.lr_scheduler:LRScheduler")
    admit(f"{_package}.ndarray.sparse.CSRNDArray", "mxcore.ndarray.sparse:CSRNDArray", call=True)
    admit(f"{_package}.ndarray.sparse.RowSparseNDArray", "mxcore.ndarray.sparse:RowSparseNDArray", call=True)
    admit(f"{_package}.numpy.ndarray", "mxcore.numpy:ndarray", call=True)
admit("mxnet.ndarray.ndarray.NDArray", "mxcore.ndarray.files:blank", call=True, state="mxcore.ndarray.files:restore")
admit("mxcore.ndarray.files.unpickle", "mxcore.ndarray.files:unpickle", call=True)
