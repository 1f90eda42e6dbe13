"""Reading and writing by indices that are arrays: gather, scatter, scattered sums."""

from __future__ import annotations

import operator
from math import prod
from struct import pack
from typing import Any, NamedTuple

import numpy as np

from mxcore.errors import BoundsError, ShapeError

from . import source
from .arrays import Array, broadcast_shapes, empty, is_basic, view_of
from .elementwise import MOVES, cast, copy_into
from .host import on_host
from .shapes import axis_of, broadcast_to

__all__ = ["Indexing"]

_I4, _I8, _F4 = np.dtype("int32"), np.dtype("int64"), np.dtype("float32")
#: what happens to an index outside of the axis; NEGATIVE counts from the end first; FLAT is one that is known to be right
CLIP, WRAP, NEGATIVE, FLAT = range(4)
_FIXED = f"""
static inline long fixed_(long k, long n, int mode) {{
  if (mode == {FLAT}) return k;
  if (mode == {WRAP}) {{ k %= n; return k < 0 ? k + n : k; }}
  if (mode == {NEGATIVE} && k < 0) k += n;
  return k < 0 ? 0 : k >= n ? n - 1 : k;
}}
"""


def _program() -> tuple[str, dict]:
    text = [source.frame(2).declaration, source.frame(3).declaration, _FIXED]
    names: dict[tuple, str] = {}
    tail, at = ["long n", "long step", "int mode"], "fixed_(p2[j2], n, mode) * step"
    for index in ("int", "long"):
        for size, c in MOVES.items():
            for name, body in (("gather", f"  p0[j0] = p1[j1 + {at}];"), ("scatter", f"  p1[j1 + {at}] = p0[j0];")):
                parameters = [f"__global {c} *p0", f"__global {c} *p1", f"__global const {index} *p2", *tail]
                text.append(source.kernel(f"{name}_{index}_{size}", parameters, 3, body))
                names[name, index, size] = f"{name}_{index}_{size}"
        parameters = ["__global long *p0", "__global const long *p1", f"__global const {index} *p2", *tail]
        text.append(source.kernel(f"place_{index}", parameters, 3, f"  p0[j0] = p1[j1] + {at};"))
        names["place", index] = f"place_{index}"
    return "".join(text), names


def _sums(dtype: np.dtype) -> tuple[str, dict]:
    """Scattered sums: in order, a work-item for each place beside the indexed ones; or all at once by atomic operations."""
    c, memory = source.types_of(dtype)[1], source.storage(dtype)
    text = [source.typed(dtype), source.frame(2).declaration, source.frame(3).declaration]
    at = "j0 + p2[k]"
    parameters = [f"__global {memory} *p0", f"__global const {memory} *p1", "__global const long *p2"]
    text.append(source.kernel("add_in_order", [*parameters, "int count", "long step"], 2, f"""  for (int k = 0; k < count; ++k) {{
    T v = {source.loads(dtype, "p0", at)} + {source.loads(dtype, "p1", "j1 + k * step")};
    {source.stores(dtype, "p0", at, "v")}
  }}"""))
    names = {("add_in_order", dtype): "add_in_order"}
    if dtype.itemsize == 4:
        back, forth = ("as_float", "as_int") if c == "float" else (f"({c})", "(int)")
        parameters[0] = "__global int *p0"
        text.append(source.kernel("add_at_once", parameters, 3, f"""#ifdef __CUDACC__
  atomicAdd((T *)(p0 + j0 + p2[j2]), (T)p1[j1]);
#else
  volatile __global int *place = p0 + j0 + p2[j2];
  int old = *place, now;
  do {{ now = old; old = atomic_cmpxchg(place, now, {forth}({back}(now) + p1[j1])); }} while (old != now);
#endif"""))
        names["add_at_once", dtype] = "add_at_once"
    return "".join(text), names


class _Chosen(NamedTuple):
    """What a key means: ``view`` with the indexed axes gone, the flat ``places`` in it, the shape of the result and the axes
    of the result along which ``places`` lie (``first`` to ``first + places.ndim``)."""

    view: Array
    places: Array
    shape: tuple[int, ...]
    first: int


class Indexing:
    """The part of ``xp`` about indices."""

    machine: Any
    nonzero: Any  # of mxcore_device.ordering

    # ---------------------------------------------------------------- one array of indices along one axis
    def _index(self, indices: Any) -> Array:
        a = indices if isinstance(indices, Array) else self.machine.xp.asarray(indices, _I8)
        return a if a.dtype in (_I4, _I8) else cast(a, _I8)

    def _move(self, what: str, outer: Array, inner: Array, inner_strides: tuple[int, ...], index: Array,
              index_strides: tuple[int, ...], n: int, step: int, mode: int) -> None:
        """``outer[...] = inner[... + index * step]`` (gather), or the other way round (scatter)."""
        machine = self.machine
        plan = source.layout(outer.shape, outer.strides, inner_strides, index_strides)
        if not plan.n:
            return
        if not n:
            raise BoundsError("an index into an axis of length 0")
        if what == "place":
            key: tuple = ("place", "int" if index.dtype == _I4 else "long")
        else:
            key = (what, "int" if index.dtype == _I4 else "long", outer.dtype.itemsize)
        machine.launch(machine.kernel(key, _program), plan.n, outer.memory, inner.memory, index.memory, pack("q", n),
                       pack("q", step), pack("i", mode), plan.packed + pack("3q", outer.offset, inner.offset, index.offset))

    def take(self, a: Array, indices: Any, axis: int, mode: str = "clip") -> Array:
        """Slices by index; outside of the axis the nearest one, or with ``mode="wrap"`` modulo its length."""
        axis, index = axis_of(axis, a.ndim), self._index(indices)
        shape = a.shape[:axis] + index.shape + a.shape[axis + 1 :]
        new = empty(self.machine, shape, a.dtype)
        inner = a.strides[:axis] + (0,) * index.ndim + a.strides[axis + 1 :]
        along = (0,) * axis + index.strides + (0,) * (a.ndim - axis - 1)
        self._move("gather", new, a, inner, index, along, a.shape[axis], a.strides[axis], WRAP if mode == "wrap" else CLIP)
        return new

    def _along(self, a: Array, index: Array, axis: int, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        wide = broadcast_to(index, shape)
        inner = tuple([0 if i == axis or n == 1 else s for i, (n, s) in enumerate(zip(a.shape, a.strides, strict=True))])
        return inner, wide.strides

    def take_along_axis(self, a: Array, indices: Array, axis: int) -> Array:
        """One element for each index, in its own line."""
        axis, index = axis_of(axis, a.ndim), self._index(indices)
        if index.ndim != a.ndim:
            raise ShapeError(f"indices of shape {index.shape} must have as many dimensions as the array {a.shape}")
        others = broadcast_shapes(*[x.shape[:axis] + (1,) + x.shape[axis + 1 :] for x in (a, index)])
        shape = others[:axis] + (index.shape[axis],) + others[axis + 1 :]
        new = empty(self.machine, shape, a.dtype)
        inner, along = self._along(a, index, axis, shape)
        self._move("gather", new, a, inner, index, along, a.shape[axis], a.strides[axis], NEGATIVE)
        return new

    def put_along_axis(self, a: Array, indices: Array, values: Any, axis: int) -> None:
        """Write one element for each index, in its own line."""
        axis, index = axis_of(axis, a.ndim), self._index(indices)
        shape = a.shape[:axis] + (index.shape[axis],) + a.shape[axis + 1 :]
        values = broadcast_to(self._values(values, a.dtype), shape)
        inner, along = self._along(a, index, axis, shape)
        self._move("scatter", values, a, inner, index, along, a.shape[axis], a.strides[axis], NEGATIVE)

    def _values(self, values: Any, dtype: np.dtype) -> Array:
        return cast(values, dtype) if isinstance(values, Array) else self.machine.xp.asarray(np.asarray(values), dtype)

    # ---------------------------------------------------------------- NumPy's keys
    def _expanded(self, a: Array, key: Any) -> list:
        """The key with Ellipsis written out, arrays as arrays of indices."""
        found: list = []
        for k in key if type(key) is tuple else (key,):
            if isinstance(k, (list, np.ndarray)):
                k = self.machine.xp.asarray(k)
            if isinstance(k, Array) and k.dtype.kind == "b":
                found += self.nonzero(k) if k.ndim else [k]
            else:
                found.append(self._index(k) if isinstance(k, Array) else k)
        taken = sum(k is not None and k is not Ellipsis for k in found)
        if taken > a.ndim:
            raise BoundsError(f"too many indices: {taken} for an array of shape {a.shape}")
        rest = [slice(None)] * (a.ndim - taken)
        for at, k in enumerate(found):
            if k is Ellipsis:
                return found[:at] + rest + found[at + 1 :]
        return found + rest

    def _chosen(self, a: Array, key: Any) -> _Chosen:
        entries = self._expanded(a, key)
        shape: list[int] = []
        strides: list[int] = []
        arrays: list[tuple[Array, int, int]] = []
        offset, axis, first, apart, closed = a.offset, 0, -1, False, False
        for k in entries:
            if k is None or type(k) is slice:
                closed = first >= 0
                part = view_of(a, (a.shape[axis],), (a.strides[axis],), 0)[k] if k is not None else None
                shape.append(1 if part is None else part.shape[0])
                strides.append(0 if part is None else part.strides[0])
                if part is not None:
                    offset += part.offset
                    axis += 1
                continue
            apart = apart or closed
            first = len(shape) if first < 0 else first
            n, step = a.shape[axis], a.strides[axis]
            if isinstance(k, Array):
                arrays.append((k, n, step))
            else:
                i = operator.index(k)
                if not -n <= i < n:
                    raise BoundsError(f"index {i} is out of bounds for axis {axis} with size {n}")
                offset += (i + n if i < 0 else i) * step
            axis += 1
        wide = broadcast_shapes(*[x.shape for x, _, _ in arrays])
        places = self.machine.xp.scalar(0, _I8)
        for x, n, step in arrays:
            new = empty(self.machine, wide, _I8)
            before, now = broadcast_to(places, wide).strides, broadcast_to(x, wide).strides
            self._move("place", new, places, before, x, now, n, step, NEGATIVE)
            places = new
        first = 0 if apart else first
        view = view_of(a, tuple(shape), tuple(strides), offset)
        return _Chosen(view, places, (*shape[:first], *wide, *shape[first:]), first)

    @staticmethod
    def _strides(c: _Chosen) -> tuple[tuple[int, ...], tuple[int, ...]]:
        v, at = c.view.strides, c.first
        inner = v[:at] + (0,) * c.places.ndim + v[at:]
        return inner, (0,) * at + c.places.strides + (0,) * (len(v) - at)

    def getitem(self, a: Array, key: Any) -> Array:
        """NumPy's indexing; a view where the key has no arrays."""
        if is_basic(key if type(key) is tuple else (key,)):
            return a[key]
        c = self._chosen(a, key)
        new = empty(self.machine, c.shape, a.dtype)
        inner, along = self._strides(c)
        self._move("gather", new, c.view, inner, c.places, along, 1, 1, FLAT)
        return new

    def setitem(self, a: Array, key: Any, value: Any) -> None:
        """NumPy's ``a[key] = value``."""
        values = self._values(value, a.dtype)
        if is_basic(key if type(key) is tuple else (key,)):
            target = a[key]
            copy_into(target, self._fitting(values, target.shape))
            return
        mask = key[0] if type(key) is tuple and len(key) == 1 else key
        if isinstance(mask, Array) and mask.dtype.kind == "b" and values.size == 1:
            mask = view_of(mask, mask.shape + (1,) * (a.ndim - mask.ndim), mask.strides + (0,) * (a.ndim - mask.ndim))
            copy_into(a, self.machine.xp.where(mask, self.machine.xp.reshape(values, ()), a))
            return
        c = self._chosen(a, key)
        inner, along = self._strides(c)
        self._move("scatter", broadcast_to(self._fitting(values, c.shape), c.shape), c.view, inner, c.places, along, 1, 1, FLAT)

    @staticmethod
    def _fitting(values: Array, shape: tuple[int, ...]) -> Array:
        """Leading axes of length 1 that the place lacks are dropped, as NumPy does in assignments."""
        while values.ndim > len(shape) and values.shape[0] == 1:
            values = values[0]
        return values

    def add_at(self, a: Array, key: Any, value: Any) -> None:
        """``a[key] += value`` where repeated places add up: in the order of the indices, or on a graphics processor at once."""
        machine = self.machine
        values = self._values(value, a.dtype)
        if is_basic(key if type(key) is tuple else (key,)):
            target = a[key]
            copy_into(target, machine.xp.add(target, values))
            return
        if machine.gpu and a.dtype.itemsize == 2 and source.is_float(a.dtype):  # rounded once, and by many work-items
            total = cast(a, _F4)
            self.add_at(total, key, cast(values, _F4))
            copy_into(a, total)
            return
        c = self._chosen(a, key)
        if a.dtype.name == "float64" and not machine.fp64:
            total = on_host(machine, "add_at", lambda x, i, v: _added(x, i, v, c), a, c.places, broadcast_to(values, c.shape))
            copy_into(a, total)
            return
        wide = broadcast_to(values, c.shape)
        at, ndim = c.first, c.places.ndim
        if machine.gpu and a.dtype.itemsize == 4:
            inner, along = self._strides(c)
            plan = source.layout(c.shape, inner, wide.strides, along)
            if plan.n:
                kernel = machine.kernel(("add_at_once", a.dtype), lambda: _sums(a.dtype))
                machine.launch(kernel, plan.n, c.view.memory, wide.memory, c.places.memory,
                               plan.packed + pack("3q", c.view.offset, wide.offset, c.places.offset))
            return
        # the axes of the indices as one, in front
        order = (*range(at, at + ndim), *range(at), *range(at + ndim, wide.ndim))
        count = prod(c.places.shape)
        lines = machine.xp.reshape(machine.xp.transpose(wide, order), (count, *c.view.shape))
        places = machine.xp.ascontiguousarray(machine.xp.reshape(c.places, (count,)))
        if places.offset:
            places = machine.xp.copy(places)
        plan = source.layout(c.view.shape, c.view.strides, lines.strides[1:])
        if plan.n and count:
            machine.launch(machine.kernel(("add_in_order", a.dtype), lambda: _sums(a.dtype)), plan.n, c.view.memory, lines.memory,
                           places.memory, pack("i", count), pack("q", lines.strides[0]),
                           plan.packed + pack("2q", c.view.offset, lines.offset))

    # ---------------------------------------------------------------- triangles
    def tril(self, a: Array, k: int = 0) -> Array:
        """The part on and below a diagonal, zero elsewhere."""
        mask = self.machine.xp.asarray(np.tri(a.shape[-2], a.shape[-1], k, dtype=bool))
        return self.machine.xp.where(mask, a, self.machine.xp.scalar(0, a.dtype))

    def triu(self, a: Array, k: int = 0) -> Array:
        """The part on and above a diagonal, zero elsewhere."""
        mask = self.machine.xp.asarray(~np.tri(a.shape[-2], a.shape[-1], k - 1, dtype=bool))
        return self.machine.xp.where(mask, a, self.machine.xp.scalar(0, a.dtype))


def _added(x: np.ndarray, places: np.ndarray, values: np.ndarray, c: _Chosen) -> np.ndarray:
    """Scattered sums on the host, for a device without doubles."""
    flat = np.ascontiguousarray(x).reshape(-1).copy()
    inner, _ = Indexing._strides(c)
    count = prod(c.shape)
    steps = np.zeros(c.shape, np.int64)
    for axis, (n, s) in enumerate(zip(c.shape, inner, strict=True)):
        steps += (np.arange(n) * s).reshape((-1,) + (1,) * (len(c.shape) - 1 - axis))
    wide = np.broadcast_to(places.reshape(places.shape + (1,) * (len(c.shape) - c.first - places.ndim)), c.shape)
    np.add.at(flat, (steps + wide).reshape(count) + c.view.offset, values.reshape(count))
    return flat.reshape(x.shape)
