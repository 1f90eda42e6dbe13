"""Reductions over axes, and running sums.

A work-item for a result where neighbouring results come from neighbouring elements, else a work-group, whose work-items take
turns and meet in a tree. Long axes are reduced in pieces first, whose results are reduced again: that keeps a large device busy
and float32 sums short.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from struct import pack
from typing import Any

import numpy as np

from mxcore.errors import ShapeError
from mxcore_numpy.xp import XP as REFERENCE

from . import source
from .arrays import Array, contiguous_strides, empty, view_of
from .elementwise import cast
from .host import on_host
from .shapes import axis_of
from .source import LOCAL_SIZE

__all__ = ["BY_GROUP", "BY_ITEM", "Reductions", "beside", "head_of", "reduced", "split"]

_BOOL, _I8, _F4, _F8 = np.dtype(bool), np.dtype("int64"), np.dtype("float32"), np.dtype("float64")
_LOWEST = {"char": "CHAR_MIN", "short": "SHRT_MIN", "int": "INT_MIN", "long": "LONG_MIN"}
_HIGHEST = {"char": "CHAR_MAX", "short": "SHRT_MAX", "int": "INT_MAX", "long": "LONG_MAX", "uchar": "UCHAR_MAX",
            "ushort": "USHRT_MAX", "uint": "UINT_MAX", "ulong": "ULONG_MAX"}
#: what keeps a large device busy: so many work-items, or so many work-groups; and the least elements of a piece for one
_BUSY, _LEAST = {"item": 1 << 16, "group": 1 << 12}, {"item": 32, "group": 1024}

SPACES = f"typedef struct {{ int n, nd; int shape[{source.AXES}]; int step[{source.AXES}]; int piece, pieces; }} Line;\n"
PLACE = """static inline long place_(const Line *r, int k) {
  if (r->nd == 1) return (long)k * r->step[0];
  long j = 0;
  for (int d = r->nd - 1; d > 0; --d) {
    int up = k / r->shape[d];
    j += (long)(k - up * r->shape[d]) * r->step[d];
    k = up;
  }
  return j + (long)k * r->step[0];
}
"""
#: by work-items and by work-groups; ``{first}`` to ``{last}`` are filled in by who makes the kernel
BY_ITEM = """__kernel __attribute__((reqd_work_group_size({local}, 1, 1)))
void {name}_item({parameters}, const {line} r, const {layout} l) {{
  int t = get_global_id(0);
  if (t >= l.n * r.pieces) return;
  int i = t % l.n, part = t / l.n;
{head}  A acc = {identity};
  int end = min(r.n, (part + 1) * r.piece);
  for (int k = part * r.piece; k < end; ++k) {{
{value}    acc = {combine};
  }}
{store}}}
"""
BY_GROUP = """__kernel __attribute__((reqd_work_group_size({local}, 1, 1)))
void {name}_group({parameters}, const {line} r, const {layout} l) {{
  __local A sums[{local}];
  int lane = get_local_id(0), t = get_group_id(0);
  int i = t % l.n, part = t / l.n;
{head}  A acc = {identity};
  int end = min(r.n, (part + 1) * r.piece);
  for (int k = part * r.piece + lane; k < end; k += {local}) {{
{value}    acc = {combine};
  }}
  sums[lane] = acc;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int width = {local} / 2; width > 0; width /= 2) {{
    if (lane < width) {{ A v = sums[lane + width]; acc = sums[lane]; sums[lane] = {combine}; }}
    barrier(CLK_LOCAL_MEM_FENCE);
  }}
  if (lane == 0) {{ acc = sums[0];
{store}  }}
}}
"""
#: the place of the best element by a work-group; of equal ones the first
BY_GROUPS = """__kernel __attribute__((reqd_work_group_size({local}, 1, 1)))
void {name}(__global long *p0, __global const {memory} *p1, int count, long step, const Layout2 l) {{
  __local T bests[{local}];
  __local int places[{local}];
  int lane = get_local_id(0), i = get_group_id(0);
{head}  T best = 0;
  int place = -1;
  for (int k = lane; k < count; k += {local}) {{
    T v = {value};
    if (place < 0 || ({better})) {{ best = v; place = k; }}
  }}
  bests[lane] = best; places[lane] = place;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int width = {local} / 2; width > 0; width /= 2) {{
    if (lane < width && places[lane + width] >= 0) {{
      T v = bests[lane + width];
      int at = places[lane + width];
      best = bests[lane]; place = places[lane];
      if (place < 0 || ({better}) || (at < place && !({worse}))) {{ bests[lane] = v; places[lane] = at; }}
    }}
    barrier(CLK_LOCAL_MEM_FENCE);
  }}
  if (lane == 0) p0[j0] = places[0];
}}
"""


def head_of(count: int) -> str:
    """The index arithmetic of a frame, for a place ``i`` that is known."""
    lines = source.frame(count).head.splitlines(keepends=True)
    return "".join(lines[2:])


def _functions(dtype: np.dtype) -> dict[str, tuple[str, str, str]]:
    """name -> (identity, how ``acc`` and ``v`` are combined, type of the accumulator)."""
    c = source.types_of(dtype)[1]
    truth = {"any": ("0", "acc || v != 0", "int"), "all": ("1", "acc && v != 0", "int")}
    if dtype.kind == "b":
        return truth | {"sum": ("0", "acc | v", "T"), "prod": ("1", "acc & v", "T"), "max": ("0", "acc | v", "T"),
                        "min": ("1", "acc & v", "T")}
    floating = source.is_float(dtype)
    low, high = ("-INFINITY", "INFINITY") if floating else (_LOWEST.get(c, "0"), _HIGHEST[c])
    nan = "acc != acc || " if floating else ""  # what is nan stays
    return truth | {"sum": ("0", "acc + v", "T"), "prod": ("1", "acc * v", "T"),
                    "max": (low, f"{nan}acc > v ? acc : v", "T"), "min": (high, f"{nan}acc < v ? acc : v", "T")}


def _program(dtype: np.dtype) -> tuple[str, dict]:
    text, names = [source.typed(dtype), source.frame(2).declaration, SPACES, PLACE], dict[tuple, str]()
    memory = source.storage(dtype)
    for function, (identity, combine, accumulator) in _functions(dtype).items():
        text.append(f"#define A {accumulator}\n")
        for out in dict.fromkeys((_out(function, dtype, 1), _out(function, dtype, 2))):
            name = f"r_{function}_{out}"
            fields = {
                "local": LOCAL_SIZE, "name": name, "line": "Line", "layout": "Layout2", "head": head_of(2), "identity": identity,
                "combine": combine, "parameters": f"__global {source.storage(out)} *p0, __global const {memory} *p1",
                "value": f"    T v = {source.loads(dtype, 'p1', 'j1 + place_(&r, k)')};\n",
                "store": "  " + source.stores(out, "p0", "j0 + (long)part * l.n", "acc") + "\n"}
            for kind, template in (("item", BY_ITEM), ("group", BY_GROUP)):
                text.append(template.format(**fields))
                names[function, kind, dtype, out] = f"{name}_{kind}"
        text.append("#undef A\n")
    return "".join(text), names


def _out(function: str, dtype: np.dtype, pieces: int) -> np.dtype:
    """The type of results: sums of pieces of short types stay in float32."""
    if function in ("any", "all"):
        return _BOOL
    return _F4 if pieces > 1 and function in ("sum", "prod") and dtype.itemsize == 2 and source.is_float(dtype) else dtype


def _places(dtype: np.dtype) -> tuple[str, dict]:
    """The place of the greatest (least) element; nan is greatest and least. Running sums."""
    text, names = [source.typed(dtype), source.frame(2).declaration, SPACES, PLACE], dict[tuple, str]()
    memory, floating = source.storage(dtype), source.is_float(dtype)
    for function, sign in (("argmax", ">"), ("argmin", "<")):
        better = f"best == best && (v {sign} best || v != v)" if floating else f"v {sign} best"
        value = source.loads(dtype, "p1", "j1 + (long)k * step")
        parameters = ["__global long *p0", f"__global const {memory} *p1", "int count", "long step"]
        text.append(source.kernel(f"p_{function}", parameters, 2, f"""  int k = 0, found = 0;
  T best = {value};
  for (k = 1; k < count; ++k) {{ T v = {value}; if ({better}) {{ best = v; found = k; }} }}
  p0[j0] = found;"""))
        names[function, dtype] = f"p_{function}"
        worse = f"v == v && (best {sign} v || best != best)" if floating else f"best {sign} v"
        text.append(BY_GROUPS.format(local=LOCAL_SIZE, name=f"p_{function}_group", memory=memory, value=value, better=better,
                                     worse=worse, head=head_of(2)))
        names[function, "group", dtype] = f"p_{function}_group"
    value = source.loads(dtype, "p1", "j1 + (long)k * from")
    text.append(source.kernel("p_cumsum", [f"__global {memory} *p0", f"__global const {memory} *p1", "int count", "long step",
                                           "long from"], 2, f"""  T sum = 0;
  for (int k = 0; k < count; ++k) {{ sum += {value}; {source.stores(dtype, "p0", "j0 + (long)k * step", "sum")} }}"""))
    names["cumsum", dtype] = "p_cumsum"
    return "".join(text), names


@lru_cache(8192)
def line(shape: tuple[int, ...], steps: tuple[int, ...], piece: int, pieces: int) -> bytes:
    """The structure ``Line``: the axes that are reduced, and how long the pieces are."""
    plan = source.layout(shape, steps)
    return plan.packed + pack("2i", piece, pieces)


def beside(shape: tuple[int, ...], strides: tuple[int, ...], axes: Sequence[int]) -> bool:
    """Whether the neighbours in memory belong to different results when ``axes`` are reduced.

    >>> beside((4, 5), (5, 1), (0,)), beside((4, 5), (5, 1), (1,))
    (True, False)
    """
    steps = [(abs(s), -i) for i, (n, s) in enumerate(zip(shape, strides, strict=True)) if n > 1 and s]
    return bool(steps) and -min(steps)[1] not in axes


def split(n: int, results: int, apart: bool) -> tuple[str, int, int]:
    """By item or by group, length and number of the pieces, for ``results`` sums of ``n`` elements.

    Neighbouring work-items are to read neighbouring elements: of different results where these lie ``apart`` from each other
    (:func:`beside`), else along what is summed, in a group. Where there are few results, pieces of them keep the device busy.
    """
    if apart and results >= LOCAL_SIZE // 2 and n * results >= 1 << 17:
        kind = "item"
    else:
        kind = "group" if n >= (LOCAL_SIZE // 2 if results < 4096 else LOCAL_SIZE) else "item"
    pieces = max(1, min(n // _LEAST[kind], _BUSY[kind] // max(results, 1)))
    piece = max(1, -(-n // pieces))
    return kind, piece, max(1, -(-n // piece))


def reduced(a: Array, function: str, axes: tuple[int, ...], wide: bool = False) -> Array:
    """One result for each place of the other axes; the reduced axes are gone. ``wide``: sums of short types in float32."""
    machine = a.machine
    rest = [i for i in range(a.ndim) if i not in axes]
    shape, inner = tuple([a.shape[i] for i in rest]), tuple([a.shape[i] for i in axes])
    n, results = prod(inner), prod(shape)
    if not n and function in ("max", "min"):
        raise ShapeError(f"{function} of an array of shape {a.shape}: there is nothing along the axes {axes}")
    kind, piece, pieces = split(n, results, beside(a.shape, a.strides, axes))
    final = _out(function, a.dtype, 2 if wide else 1)
    out = final if pieces == 1 else _out(function, a.dtype, pieces)
    new = empty(machine, (pieces, *shape) if pieces > 1 else shape, out)
    if results:
        kernel = machine.kernel((function, kind, a.dtype, out), lambda: _program(a.dtype))
        plan = source.layout(shape, contiguous_strides(shape), tuple([a.strides[i] for i in rest]))
        count = results * pieces * (LOCAL_SIZE if kind == "group" else 1)
        machine.launch(kernel, count, new.memory, a.memory, line(inner, tuple([a.strides[i] for i in axes]), piece, pieces),
                       plan.packed + pack("2q", 0, a.offset))
    return cast(reduced(new, function, (0,)), final) if pieces > 1 else new


class Reductions:
    """The part of ``xp`` that reduces."""

    machine: Any

    def _reduce(self, function: str, a: Array, axis: Any, keepdims: bool, wide: bool = False) -> Array:
        machine = self.machine
        axes = tuple(range(a.ndim)) if axis is None else \
            (axis_of(axis, a.ndim),) if isinstance(axis, (int, np.integer)) else tuple(sorted(axis_of(x, a.ndim) for x in axis))
        if a.dtype == _F8 and not machine.fp64:
            return on_host(machine, function, getattr(REFERENCE, function), a, axis=axis, keepdims=keepdims)
        new = reduced(a, function, axes, wide)
        if keepdims:
            shape = tuple([1 if i in axes else n for i, n in enumerate(a.shape)])
            new = view_of(new, shape, contiguous_strides(shape)) if new.ndim != a.ndim else new
        return new

    def sum(self, a: Array, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Array:
        """In the type of the array, or another."""
        return self._reduce("sum", a if dtype is None else cast(a, np.dtype(dtype)), axis, keepdims)

    def prod(self, a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        """The product, in the type of the array."""
        return self._reduce("prod", a, axis, keepdims)

    def max(self, a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        """The greatest; nan if there is one."""
        return self._reduce("max", a, axis, keepdims)

    def min(self, a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        """The least; nan if there is one."""
        return self._reduce("min", a, axis, keepdims)

    def any(self, a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        """Whether one is not zero."""
        return self._reduce("any", a, axis, keepdims)

    def all(self, a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        """Whether none is zero."""
        return self._reduce("all", a, axis, keepdims)

    def mean(self, a: Array, axis: Any = None, keepdims: bool = False) -> Array:
        """The mean; of integers in float64."""
        dtype = a.dtype if a.dtype.kind not in "iub" else _F8
        work = _F4 if dtype.itemsize == 2 else dtype
        total = self._reduce("sum", a if dtype.itemsize == 2 else cast(a, work), axis, keepdims, wide=True)
        n = a.size // total.size if total.size else 1
        return cast(self.machine.xp.divide(total, self.machine.xp.scalar(n, work)), dtype)

    def _place(self, function: str, a: Array, axis: int | None) -> Array:
        machine = self.machine
        if axis is None:
            a, axis = machine.xp.reshape(a, (-1,)), 0
        axis = axis_of(axis, a.ndim)
        if not a.shape[axis]:
            raise ShapeError(f"{function} of an array of shape {a.shape}: there is nothing along axis {axis}")
        if a.dtype == _F8 and not machine.fp64:
            return on_host(machine, function, getattr(REFERENCE, function), a, axis=axis)
        shape = a.shape[:axis] + a.shape[axis + 1 :]
        new = empty(machine, shape, _I8)
        if new.size:
            n = a.shape[axis]
            group = n >= LOCAL_SIZE and not (beside(a.shape, a.strides, (axis,)) and new.size >= _BUSY["group"])
            kernel = machine.kernel((function, "group", a.dtype) if group else (function, a.dtype), lambda: _places(a.dtype))
            plan = source.layout(shape, new.strides, a.strides[:axis] + a.strides[axis + 1 :])
            machine.launch(kernel, plan.n * (LOCAL_SIZE if group else 1), new.memory, a.memory, pack("i", n),
                           pack("q", a.strides[axis]), plan.packed + pack("2q", 0, a.offset))
        return new

    def argmax(self, a: Array, axis: int | None = None) -> Array:
        """The place of the greatest, the first of equal ones."""
        return self._place("argmax", a, axis)

    def argmin(self, a: Array, axis: int | None = None) -> Array:
        """The place of the least, the first of equal ones."""
        return self._place("argmin", a, axis)

    def cumsum(self, a: Array, axis: int | None = None) -> Array:
        """Running sums; of small integers and truth values in int64."""
        machine = self.machine
        if axis is None:
            a, axis = machine.xp.reshape(a, (-1,)), 0
        axis = axis_of(axis, a.ndim)
        a = cast(a, np.cumsum(np.zeros(1, a.dtype)).dtype)
        if a.dtype == _F8 and not machine.fp64:
            return on_host(machine, "cumsum", np.cumsum, a, axis=axis)
        new = empty(machine, a.shape, a.dtype)
        if new.size:
            kernel = machine.kernel(("cumsum", a.dtype), lambda: _places(a.dtype))
            shape = a.shape[:axis] + a.shape[axis + 1 :]
            plan = source.layout(shape, new.strides[:axis] + new.strides[axis + 1 :], a.strides[:axis] + a.strides[axis + 1 :])
            machine.launch(kernel, plan.n, new.memory, a.memory, pack("i", a.shape[axis]), pack("q", new.strides[axis]),
                           pack("q", a.strides[axis]), plan.packed + pack("2q", 0, a.offset))
        return new
