"""Elementwise functions with broadcasting, casts and copies: one program for each data type, one kernel for each function."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any

import numpy as np

from mxcore.registry import expr as E
from mxcore.registry.source import Source
from mxcore_numpy.xp import XP as REFERENCE

from . import places, source
from .arrays import Array, broadcast_shapes, empty
from .functions import ARITY, FLOAT, INTEGER, LANGUAGE, TRUTH, TRUTH_VALUED
from .host import elsewhere, on_host
from .places import Places, lanes, wide_from

__all__ = ["MOVES", "Elementwise", "cast", "copy_into", "run", "strides_for"]

_OFFSETS = {k: Struct(f"{k}q").pack for k in range(1, 40)}
_BOOL, _F8 = np.dtype(bool), np.dtype("float64")
_REFERENCE = {"floor_divide": np.floor_divide, "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "invert": np.invert}


def strides_for(a: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides with which ``a`` broadcasts to ``shape``."""
    if a.shape == shape:
        return a.strides
    lead = len(shape) - a.ndim
    return (0,) * lead + tuple([0 if n == 1 else s for n, s in zip(a.shape, a.strides, strict=True)])


def run(key: Any, make: Callable[[bool], tuple[str, dict]], shape: tuple[int, ...], operands: tuple[Array, ...],
        *more: Any) -> None:
    """Run a kernel over an iteration space; all operands have its shape or broadcast to it.

    ``make(False)`` is the program in which the kernel is called ``key``, ``make(True)`` the one with its wide kind, called
    ``("wide", key)``; see :mod:`mxcore_device.places`.
    """
    plan = source.layout(shape, *[strides_for(a, shape) for a in operands])
    if not plan.n:
        return
    machine, offsets = operands[0].machine, [a.offset for a in operands]
    if plan.flat is not None and plan.n >= places.WIDE_FROM and machine.gpu:
        count = lanes([a.dtype for a in operands])
        wide = wide_from(plan.n, plan.flat, count, offsets)
        if wide is not None:
            kernel = machine.kernel(("wide", key), lambda: make(True))
            machine.launch(kernel, -(-plan.n // count), *[a.memory for a in operands], *more, wide)
            return
    kernel = machine.kernel(key, lambda: make(False))
    machine.launch(kernel, plan.n, *[a.memory for a in operands], *more, plan.packed + _OFFSETS[len(operands)](*offsets))


# ---------------------------------------------------------------- programs
def _expression(function: str, dtype: np.dtype, inputs: tuple[np.dtype, ...], functions: dict[str, str]) -> tuple[list[str], str]:
    """Statements, and the value of a function of the operands that ``p1``, ``p2``... point to."""
    elements = [source.loads(one, f"p{k}", f"j{k}") for k, one in enumerate(inputs, 1)]
    if not source.is_float(dtype):
        table = TRUTH if dtype.kind == "b" else INTEGER
        return [f"T {letter} = {e};" for letter, e in zip("abc", elements, strict=False)], table[function]
    work = source.arithmetic(dtype)
    writer = Source(LANGUAGE, work)
    for letter, e, one in zip("abc", elements, inputs, strict=False):
        writer.operand(letter, e, one if one.kind == "b" else work)
    value = writer.value(E.call(function, *map(E.arg, "abc"[: len(inputs)])))
    functions.update(writer.functions)
    return [s.text + ";" for s in writer.statements], value.name


def _function(function: str, dtype: np.dtype, functions: dict[str, str]) -> Places:
    """One function; what it calls goes into ``functions``."""
    out = _BOOL if function in TRUTH_VALUED else dtype
    inputs = (_BOOL, dtype, dtype) if function == "where" else (dtype,) * ARITY[function]
    statements, value = _expression(function, dtype, inputs, functions)
    body = "".join(f"  {line}\n" for line in [*statements, source.stores(out, "p0", "j0", value)])
    return Places(f"f_{function}", (out,), inputs, body)


def _program(dtype: np.dtype) -> tuple[str, dict]:
    """All functions on one data type."""
    functions: dict[str, str] = {}
    table = FLOAT if source.is_float(dtype) else TRUTH if dtype.kind == "b" else INTEGER
    kernels = {function: _function(function, dtype, functions) for function in table}
    head = [source.typed(dtype), *functions.values(),
            *[source.frame(c).declaration for c in sorted({k.operands for k in kernels.values()})]]
    return "\n".join([*head, *[k.general() for k in kernels.values()]]), {(f, dtype): k.name for f, k in kernels.items()}


def _wide_program(function: str, dtype: np.dtype) -> tuple[str, dict]:
    """One function for large arrays."""
    functions: dict[str, str] = {}
    one = _function(function, dtype, functions)
    return one.program([source.typed(dtype), *functions.values()], (function, dtype), wide=True)


#: the C type that has the bits of an element, by its size
MOVES = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}


def _copies(wide: int) -> tuple[str, dict]:
    """Copies of elements by their size; for large arrays (filled with one element) of one size."""
    kernels = {size: Places(f"copy_{size}", (np.dtype(f"u{size}"),), (np.dtype(f"u{size}"),), "  p0[j0] = p1[j1];")
               for size in MOVES}
    if wide:
        return kernels[wide].wide(), {("wide", ("copy", wide)): kernels[wide].name}
    return "".join([source.frame(2).declaration, *[k.general() for k in kernels.values()]]), {
        ("copy", size): k.name for size, k in kernels.items()}


def _cast(of: np.dtype, to: np.dtype) -> Places:
    """A cast, with NumPy's results where C leaves them open."""
    arithmetic = source.types_of(to)[1]
    value = source.loads(of, "p1", "j1")
    if of.kind not in "iub" and to.kind in "iu":
        middle = {"char": "int", "short": "int", "uchar": "int", "ushort": "int", "uint": "long"}.get(arithmetic)
        value = f"({arithmetic})({middle})({value})" if middle else f"({arithmetic})({value})"
    elif to.kind != "b" and not (to.name == "float16" and of.name == "float64"):
        value = f"({arithmetic})({value})"
    return Places(source.kernel_name(f"{of}_{to}"), (to,), (of,), "  " + source.stores(to, "p0", "j0", value))


def _casts(fp64: bool, of: np.dtype, wide: np.dtype | None) -> tuple[str, dict]:
    """Casts of one type to all others; for large arrays to one."""
    from mxcore.dtype import CODES, dtype_of

    head = [source.DOUBLE if fp64 else "", source.typed(of)]
    if wide is not None:
        one = _cast(of, wide)
        return "".join([*head, one.wide()]), {("wide", ("cast", of, wide)): one.name}
    kernels = {to: _cast(of, to) for to in map(dtype_of, CODES.values()) if to != of and (to.name != "float64" or fp64)}
    return "".join([*head, source.frame(2).declaration, *[k.general() for k in kernels.values()]]), {
        ("cast", of, to): k.name for to, k in kernels.items()}


def copy_into(target: Array, a: Array) -> None:
    """Write ``a``, broadcast and cast, into ``target``."""
    machine = target.machine
    if a.machine is not machine:
        raise elsewhere(machine, a)
    if a.memory is target.memory:
        if (a.offset, a.strides, a.shape) == (target.offset, target.strides, target.shape):
            return
        a = machine.xp.copy(a)  # they may overlap
    if a.dtype == target.dtype:
        if target.size and target.dense and a.dense and a.size == target.size:
            size = a.dtype.itemsize
            machine.move(target.memory, target.offset * size, a.memory, a.offset * size, a.size * size)
            return
        size = a.dtype.itemsize
        run(("copy", size), lambda wide: _copies(size if wide else 0), target.shape, (target, a))
    elif not machine.fp64 and "float64" in (a.dtype.name, target.dtype.name):
        host = on_host(machine, "astype", lambda x: x.astype(target.dtype), a)
        copy_into(target, host)
    else:
        of, to = a.dtype, target.dtype
        run(("cast", of, to), lambda wide: _casts(machine.fp64, of, to if wide else None), target.shape, (target, a))


def cast(a: Array, dtype: np.dtype) -> Array:
    """``a`` in another type; itself if it has it."""
    if a.dtype == dtype:
        return a
    new = empty(a.machine, a.shape, dtype)
    copy_into(new, a)
    return new


# ---------------------------------------------------------------- functions
def _probe(x: Any) -> Any:
    return np.ones((), x).reshape(()) if isinstance(x, np.dtype) else x(1)


@lru_cache(None)
def _result(function: str, *types: Any) -> tuple[np.dtype, np.dtype]:
    """The types of arithmetic and result: what NumPy does with operands of these types (Python's own are ``int`` and so on)."""
    reference = _REFERENCE.get(function) or getattr(REFERENCE, function)
    out = np.asarray(reference(*map(_probe, types))).dtype
    if function not in TRUTH_VALUED and function != "where":
        return out, out
    try:
        work = np.result_type(*[t if isinstance(t, np.dtype) else t(1) for t in types[function == "where" :]])
    except TypeError:  # bfloat16 and integers, for which NumPy knows no common type, but functions
        work = np.dtype("float32")
    return work, out


def _as_type(x: Any) -> Any:
    if isinstance(x, (Array, np.generic)) or (isinstance(x, np.ndarray) and not x.ndim):
        return x.dtype
    if type(x) in (bool, int, float):
        return type(x)
    if isinstance(x, np.ndarray):
        raise TypeError("a NumPy array reached the functions of a device; convert it with backend.from_host or xp.asarray")
    raise TypeError(f"arrays and numbers are wanted, not {type(x).__name__}")


class Elementwise:
    """The part of ``xp`` that computes place by place."""

    machine: Any

    def _call(self, function: str, *operands: Any) -> Array:
        types = [_as_type(x) for x in operands]
        work, out = _result(function, *types)
        machine = self.machine
        if work == _F8 and not machine.fp64:
            return on_host(machine, function, _REFERENCE.get(function) or getattr(REFERENCE, function), *operands)
        arrays = []
        for k, x in enumerate(operands):
            wanted = _BOOL if function == "where" and k == 0 else work
            if not isinstance(x, Array):
                x = machine.xp.scalar(x, wanted)
            elif x.dtype != wanted:
                x = cast(x, wanted)
            if x.machine is not machine:
                raise elsewhere(machine, x)
            arrays.append(x)
        shape = arrays[0].shape
        for x in arrays:
            if x.shape != shape:
                shape = broadcast_shapes(*[x.shape for x in arrays])
                break
        new = empty(machine, shape, out)
        run((function, work), lambda wide: _wide_program(function, work) if wide else _program(work), shape, (new, *arrays))
        return new

    def astype(self, a: Any, dtype: Any) -> Array:
        """In another type; the same array if it has it."""
        if not isinstance(a, Array):
            return self.machine.xp.asarray(a, dtype)
        return cast(a, np.dtype(dtype))

    def copy(self, a: Array) -> Array:
        """A contiguous copy."""
        new = empty(a.machine, a.shape, a.dtype)
        copy_into(new, a)
        return new

    def ascontiguousarray(self, a: Array) -> Array:
        """In C order, itself if it is."""
        return a if a.dense else self.copy(a)

    def copyto(self, a: Array, value: Any) -> None:
        """Write into an array, cast to its type."""
        value = value if isinstance(value, Array) else self.machine.xp.asarray(value, a.dtype)
        copy_into(a, value)


def _install() -> None:
    for name in (*FLOAT, "bitwise_and", "bitwise_or", "invert"):
        def function(self: Elementwise, *operands: Any, name: str = name) -> Array:
            return self._call(name, *operands)

        function.__name__, function.__doc__ = name, f"NumPy's ``{name}``."
        setattr(Elementwise, name, function)


_install()
