"""Kernels made of expressions: an elementwise operator, or a whole loop of a compiled program, is one launch.

Compiling takes from a twentieth of a second to half a second, so an expression is compiled when it has been computed
``MXCORE_FUSE_AFTER`` times (2 by default); until then its functions run one by one, by kernels that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from struct import pack
from typing import Any

import numpy as np

from mxcore.base import config
from mxcore.dtype import FLOATS, dtype_of
from mxcore.errors import ArgumentError
from mxcore.registry import expr as E
from mxcore.registry.loop import Loop, run_loop
from mxcore.registry.source import Source

from . import source
from .arrays import Array, broadcast_shapes, contiguous_strides, empty
from .elementwise import cast, run, strides_for
from .functions import LANGUAGE
from .host import elsewhere
from .places import Places
from .reductions import BY_GROUP, BY_ITEM, beside, head_of, reduced, split
from .source import LOCAL_SIZE

__all__ = ["fuse_after", "kernel_of"]

_FLOATS = frozenset(map(dtype_of, FLOATS))
_F8 = np.dtype("float64")


def fuse_after() -> int:
    """After how many calls an expression is compiled."""
    text = config("MXCORE_FUSE_AFTER") or ""
    if not text.isdigit():
        raise ArgumentError(f"MXCORE_FUSE_AFTER must be a number of calls, not {text!r}")
    return int(text)


def kernel_of(op: Any, generic: Callable | None) -> Callable | None:
    """The kernel of an operator that is declared by an expression, and of loops; None for the others."""
    if op.name == "_fused":
        return _run_fused
    if op.expr is None or op.generic_kernel is not None or generic is None:
        return None
    functions = [n for n in E.walk(op.expr) if n.fn not in ("arg", "attr", "const")]
    if len(functions) + E.is_bool(op.expr) < 2 and not E.leaves(op.expr, "attr"):
        return None  # a function of xp is a kernel already
    return _Operator(op, generic)


def _pragma(*dtypes: np.dtype) -> str:
    return source.DOUBLE if any(d.name == "float64" for d in dtypes) else ""


# ---------------------------------------------------------------- operators
class _Operator:
    """The kernel of an elementwise operator: ``f(xp, *arrays, **attrs)``."""

    def __init__(self, op: Any, generic: Callable) -> None:
        self.name, self.generic, self.after = op.name, generic, fuse_after()
        self.inputs, self.attrs = list(op.schema.inputs), [a for a in op.schema.attrs if a in E.leaves(op.expr, "attr")]
        self.expr = op.expr
        self.calls = 0

    def __call__(self, xp: Any, *arrays: Any, **attrs: Any) -> Any:
        first = arrays[0]
        dtype, machine = first.dtype, xp.machine
        if self.calls < self.after:
            self.calls += 1
            machine.passing()
            return self.generic(xp, *arrays, **attrs)
        values = [attrs[a] for a in self.attrs]
        double = dtype == _F8
        if dtype not in _FLOATS or (double and not machine.fp64) \
                or any(a.dtype != dtype for a in arrays) or not all(isinstance(v, (int, float)) for v in values):
            return self.generic(xp, *arrays, **attrs)
        for a in arrays:
            if a.machine is not machine:
                raise elsewhere(machine, a)
        shape = first.shape if all(a.shape == first.shape for a in arrays) else broadcast_shapes(*[a.shape for a in arrays])
        new = empty(machine, shape, dtype)
        code = "d" if double else "f"
        run((self.expr, dtype, len(arrays)), lambda wide: self._program(dtype, wide), shape, (new, *arrays),
            *[pack(code, v) for v in values])
        return new

    def _program(self, dtype: np.dtype, wide: bool) -> tuple[str, dict]:
        work = source.arithmetic(dtype)
        names = {E.arg(n): E.arg(f"x{k}") for k, n in enumerate(self.inputs)}
        names |= {E.attr(n): E.arg(f"s{k}") for k, n in enumerate(self.attrs)}
        writer = Source(LANGUAGE, work)
        for k in range(len(self.inputs)):
            writer.operand(f"x{k}", source.loads(dtype, f"p{k + 1}", f"j{k + 1}"), work)
        for k in range(len(self.attrs)):
            writer.operand(f"s{k}", f"v{k}", work)
        value = writer.number(writer.value(E.substituted(self.expr, names)))
        numbers = tuple([f"const {source.types_of(dtype)[1]} v{k}" for k in range(len(self.attrs))])
        body = "".join(f"  {s.text};\n" for s in writer.statements) + "  " + source.stores(dtype, "p0", "j0", value)
        places = Places(source.kernel_name(self.name), (dtype,), (dtype,) * len(self.inputs), body, numbers)
        return places.program([source.typed(dtype), *writer.functions.values()], (self.expr, dtype, len(self.inputs)), wide)


# ---------------------------------------------------------------- loops
_COUNTS: dict[Any, int] = {}


def _run_fused(xp: Any, *arrays: Any, loop: Loop, dtypes: Sequence[np.dtype]) -> tuple:
    """A loop: its plain outputs by one kernel, and each of its sums by one, with nothing in between stored."""
    machine = xp.machine
    types = tuple([a.dtype for a in arrays])
    key = loop.dtype, loop.exprs, loop.reductions, types, tuple(dtypes)
    calls = _COUNTS.get(key, 0)
    doubles = any(d == _F8 for d in (loop.dtype, *types, *dtypes))
    size = 48 + 40 * (len(arrays) + sum(r is None for r in loop.reductions))
    if calls < fuse_after():
        machine.passing()
    if calls < fuse_after() or (doubles and not machine.fp64) or 2 * size + 8 * len(arrays) > machine.parameter_bytes:
        _COUNTS[key] = calls + 1
        return run_loop(xp, loop, arrays, dtypes)
    for a in arrays:
        if a.machine is not machine:
            raise elsewhere(machine, a)
    results: list[Any] = [None] * len(loop.exprs)
    plain = [j for j, r in enumerate(loop.reductions) if r is None]
    if plain:
        outs = [empty(machine, loop.shape, dtypes[j]) for j in plain]
        wanted = tuple([d.dtype for d in outs])
        exprs = tuple([loop.exprs[j] for j in plain])
        run(("loop", loop.dtype, loop.names, exprs, types, wanted), lambda wide: _plain(loop, exprs, types, wanted, wide),
            loop.shape, (*outs, *arrays))
        for j, out in zip(plain, outs, strict=True):
            results[j] = out
    for j, r in enumerate(loop.reductions):
        if r is not None:
            total = cast(_summed(machine, loop, loop.exprs[j], r.axes, arrays, types), dtypes[j])
            results[j] = machine.array_type(machine, total.memory, total.dtype, r.shape)
    return tuple(results)


def _operands(writer: Source, loop: Loop, types: Sequence[np.dtype], at: Callable[[int], tuple[str, str]]) -> None:
    for k, (name, dtype) in enumerate(zip(loop.names, types, strict=True)):
        pointer, index = at(k)
        writer.operand(name, source.loads(dtype, pointer, index), source.arithmetic(dtype))


def _plain(loop: Loop, exprs: tuple[E.Expr, ...], types: tuple[np.dtype, ...], wanted: tuple[np.dtype, ...],
           wide: bool) -> tuple[str, dict]:
    writer = Source(LANGUAGE, loop.dtype)
    _operands(writer, loop, types, lambda k: (f"p{len(wanted) + k}", f"j{len(wanted) + k}"))
    values = [writer.number(writer.value(e)) for e in exprs]
    body = "".join(f"  {s.text};\n" for s in writer.statements)
    body += "".join(f"  {source.stores(d, f'p{k}', f'j{k}', v)}\n" for k, (d, v) in enumerate(zip(wanted, values, strict=True)))
    return Places("loop", wanted, types, body).program(
        [_pragma(*types, *wanted), source.typed(loop.dtype), *writer.functions.values()],
        ("loop", loop.dtype, loop.names, exprs, types, wanted), wide)


def _summed(machine: Any, loop: Loop, e: E.Expr, axes: tuple[int, ...], arrays: Sequence[Array], types: tuple) -> Array:
    """The sum of an expression over axes, in the type of the loop's arithmetic; the axes are gone."""
    rest = [i for i in range(len(loop.shape)) if i not in axes]
    shape, inner = tuple([loop.shape[i] for i in rest]), tuple([loop.shape[i] for i in axes])
    n, results = prod(inner), prod(shape)
    strides = [strides_for(a, loop.shape) for a in arrays]
    large = max(range(len(arrays)), key=lambda k: arrays[k].size, default=None)
    kind, piece, pieces = split(n, results, large is not None and beside(loop.shape, strides[large], axes))
    new = empty(machine, (pieces, *shape) if pieces > 1 else shape, loop.dtype)
    if results:
        kernel = machine.kernel(("sum", kind, loop.dtype, loop.names, e, types), lambda: _sums(loop, e, types))
        outer = source.layout(shape, contiguous_strides(shape), *[tuple([s[i] for i in rest]) for s in strides])
        line = source.layout(inner, *[tuple([s[i] for i in axes]) for s in strides]).packed
        count = results * pieces * (LOCAL_SIZE if kind == "group" else 1)
        machine.launch(kernel, count, new.memory, *[a.memory for a in arrays], line + pack("2i", piece, pieces),
                       outer.packed + pack(f"{len(arrays) + 1}q", 0, *[a.offset for a in arrays]))
    return reduced(new, "sum", (0,)) if pieces > 1 else new


def _sums(loop: Loop, e: E.Expr, types: tuple) -> tuple[str, dict]:
    count = len(types)
    line = (f"typedef struct {{ int n, nd; int shape[{source.AXES}]; int step[{max(count, 1)}][{source.AXES}]; "
            "int piece, pieces; } Line;\n")
    writer = Source(LANGUAGE, loop.dtype)
    _operands(writer, loop, types, lambda k: (f"p{k + 1}", f"q{k + 1}"))
    value = writer.number(writer.value(e))
    walk = ["    int rest_ = k;", *[f"    long q{k + 1} = j{k + 1};" for k in range(count)],
            "    for (int d = r.nd - 1; d > 0; --d) {", "      int up_ = rest_ / r.shape[d], at_ = rest_ - up_ * r.shape[d];",
            *[f"      q{k + 1} += (long)at_ * r.step[{k}][d];" for k in range(count)], "      rest_ = up_;", "    }",
            *[f"    q{k + 1} += (long)rest_ * r.step[{k}][0];" for k in range(count)],
            *[f"    {s.text};" for s in writer.statements], f"    A v = {value};\n"]
    memory = source.storage(loop.dtype)
    parameters = [f"__global {memory} *p0", *[f"__global const {source.storage(d)} *p{k}" for k, d in enumerate(types, 1)]]
    fields = {"local": LOCAL_SIZE, "name": "sum", "line": "Line", "layout": f"Layout{count + 1}", "head": head_of(count + 1),
              "identity": "0", "parameters": ", ".join(parameters), "combine": "acc + v", "value": "\n".join(walk),
              "store": "  p0[j0 + (long)part * l.n] = acc;\n"}
    text = [_pragma(*types), source.typed(loop.dtype), *writer.functions.values(), source.frame(count + 1).declaration, line,
            "#define A T\n", BY_ITEM.format(**fields), BY_GROUP.format(**fields)]
    return "\n".join(text), {("sum", kind, loop.dtype, loop.names, e, types): f"sum_{kind}" for kind in ("item", "group")}
