"""Optimizer updates: one kernel for a weight and its states, or for many weights, which writes in their places.

What an update computes is said once, by its generic kernel. That is run on stand-ins for arrays, which note the expressions
that come out; learning rates stay arguments of the kernel, since they change from step to step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from struct import pack
from typing import Any, NamedTuple

import numpy as np

from mxcore.dtype import FLOATS, dtype_of
from mxcore.registry import expr as E
from mxcore.registry.kernels import KernelEntry, generic_of
from mxcore.registry.op import OPS, Op
from mxcore.registry.source import Source
from mxcore.runtime.backend import XP_ELEMENTWISE

from . import source, tables
from .arrays import Array, form_of
from .elementwise import run
from .functions import LANGUAGE
from .fused import fuse_after
from .places import Places
from .tables import Member

__all__ = ["table"]

_FLOATS = frozenset(map(dtype_of, FLOATS))
_F8 = np.dtype("float64")
_RATES = ("lr", "lrs")
#: how many combinations of attributes of one operator get kernels: what changes at each step gets none
_VARIANTS = 12
_PLANS = 256  # of one operator: sets of arrays that are updated together


class _UntraceableError(Exception):
    """The kernel does something else than compute place by place."""


class _Standin:
    """An array, or a learning rate (of type None), as the expression that it is."""

    __array_ufunc__ = None

    def __init__(self, expr: E.Expr, shape: tuple[int, ...], dtype: np.dtype | None) -> None:
        self.expr, self.shape, self.dtype = expr, shape, dtype
        self.ndim, self.size = len(shape), int(np.prod(shape))

    def __bool__(self) -> bool:
        raise _UntraceableError

    def __neg__(self) -> _Standin:
        return _call("negative", self)

    def __abs__(self) -> _Standin:
        return _call("abs", self)

    __iter__ = __len__ = __float__ = __int__ = __bool__


def _call(function: str, *operands: Any) -> _Standin:
    given = [x if isinstance(x, _Standin) else _Standin(E.const(float(x)), (), None) for x in operands]
    known = [x.dtype for x in given if x.dtype is not None]
    shape = np.broadcast_shapes(*[x.shape for x in given])
    return _Standin(E.call(function, *[x.expr for x in given]), shape, np.result_type(*known) if known else None)


for _name, _function in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"), ("pow", "power"),
                         ("gt", "greater"), ("ge", "greater_equal"), ("lt", "less"), ("le", "less_equal"), ("eq", "equal"),
                         ("ne", "not_equal")):
    setattr(_Standin, f"__{_name}__", lambda self, other, f=_function: _call(f, self, other))
    setattr(_Standin, f"__r{_name}__", lambda self, other, f=_function: _call(f, other, self))


class _Functions:
    """``xp`` for stand-ins: the elementwise functions, numbers and types."""

    def __getattr__(self, name: str) -> Callable:
        if name not in XP_ELEMENTWISE:
            raise _UntraceableError(name)
        return lambda *operands: _call(name, *operands)

    def astype(self, a: _Standin, dtype: Any) -> _Standin:
        """The value is rounded when it is stored."""
        return _Standin(a.expr, a.shape, np.dtype(dtype))

    def scalar(self, value: Any, dtype: Any) -> Any:
        """The number."""
        return value


class _Group(NamedTuple):
    """Results of one shape that are computed together: which outputs, from which inputs and rates, and how."""

    outs: tuple[int, ...]
    ins: tuple[int, ...]
    rates: tuple[int, ...]
    exprs: tuple[E.Expr, ...]
    dtypes: tuple[np.dtype, ...]


def _several(rate: Any) -> Sequence[Any]:
    """The rates of all weights, or of the only one."""
    return rate if isinstance(rate, (tuple, list)) else [rate]


def _traced(op: Op, arrays: Sequence[Array], attrs: dict) -> list[_Group]:
    """The groups of an update; raises :class:`_UntraceableError`."""
    kernel = generic_of(op)
    if kernel is None or op.schema.wants:
        raise _UntraceableError
    inputs = [_Standin(E.arg(f"x{k}"), a.shape, a.dtype) for k, a in enumerate(arrays)]
    count, given = 0, dict(attrs)
    for name in _RATES:
        if name in attrs:
            many = _several(attrs[name])
            rates = [_Standin(E.arg(f"s{count + k}"), (), None) for k in range(len(many))]
            count += len(many)
            given[name] = tuple(rates) if many is attrs[name] else rates[0]
    try:
        results = kernel(_Functions(), *inputs, **given)
    except (TypeError, ValueError, AttributeError) as error:  # a stand-in where it needs an array
        raise _UntraceableError from error
    results = results if isinstance(results, tuple) else (results,)
    groups: list[tuple[set[str], list[int]]] = []
    for k, r in enumerate(results):
        if not isinstance(r, _Standin) or r.dtype is None:
            raise _UntraceableError
        reads = {n for n in E.leaves(r.expr) if n[0] == "x"}
        same = next((g for g in groups if g[0] & reads and results[g[1][0]].shape == r.shape), None)
        if same is None:
            groups.append((reads, [k]))
        else:
            same[0].update(reads)
            same[1].append(k)
    return [_grouped(outs, results) for _, outs in groups]


def _grouped(outs: list[int], results: Sequence[_Standin]) -> _Group:
    """With names that depend on the order alone, so that equal groups are one kernel."""
    leaves = dict.fromkeys(n for k in outs for n in E.leaves(results[k].expr))
    ins, rates = ([n for n in leaves if n[0] == letter] for letter in "xs")
    names = {E.arg(n): E.arg(f"{letter}{k}") for letter, some in (("a", ins), ("r", rates)) for k, n in enumerate(some)}
    return _Group(tuple(outs), tuple([int(n[1:]) for n in ins]), tuple([int(n[1:]) for n in rates]),
                  tuple([E.substituted(results[k].expr, names) for k in outs]), tuple([results[k].dtype for k in outs]))  # type: ignore[misc]


class _Writer:
    """``into`` of an update (see :func:`mxcore.registry.kernels.writer_of`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.found: dict[Any, list[_Group] | None] = {}
        #: how arrays of certain forms, that share memory in a certain way, are updated; None: not by kernels of this module
        self.plans: OrderedDict[Any, list[Callable[..., None]] | None] = OrderedDict()

    def __call__(self, xp: Any, ins: Sequence[Any], outs: Sequence[Any], attrs: Mapping[str, Any]) -> bool:
        if self.calls < fuse_after():
            self.calls += 1
            return False
        arrays = (*ins, *outs)
        if not all(isinstance(a, Array) for a in arrays):
            return False
        memories = {id(a.memory): k for k, a in enumerate(arrays)}
        fixed = tuple([(k, tuple(v) if isinstance(v, list) else v) for k, v in attrs.items() if k not in _RATES])
        key = len(ins), fixed, tuple([a.form or form_of(a) for a in arrays]), tuple([memories[id(a.memory)] for a in arrays])
        plan = self.plans.get(key, ())
        if plan == ():
            plan = self.plans[key] = self._plan(xp.machine, ins, outs, dict(attrs), fixed)
            if len(self.plans) > _PLANS:
                self.plans.popitem(last=False)
        if plan is None:
            return False
        rates = [float(v) for n in _RATES if n in attrs for v in _several(attrs[n])]
        for launch in plan:
            launch(arrays, rates)
        return True

    def _plan(self, machine: Any, ins: Sequence[Array], outs: Sequence[Array], attrs: dict,
              fixed: tuple) -> list[Callable[..., None]] | None:
        if any(a.dtype not in _FLOATS or a.machine is not machine or (a.dtype == _F8 and not machine.fp64)
               for a in (*ins, *outs)):
            return None
        key = tuple([(a.shape, a.dtype) for a in ins]), fixed
        if key not in self.found:
            if len(self.found) >= _VARIANTS:
                return None
            try:
                self.found[key] = _traced(OPS[self.name], ins, attrs)
            except _UntraceableError:
                self.found[key] = None
        groups = self.found[key]
        if not groups or sum(len(g.outs) for g in groups) != len(outs) or not _in_place(ins, outs) \
                or any(outs[k].dtype != d for g in groups for k, d in zip(g.outs, g.dtypes, strict=True)):
            return None
        equal: dict[Any, list[tuple[_Group, Member]]] = {}
        for g in groups:
            numbers = (*[len(ins) + k for k in g.outs], *g.ins)
            same = g.exprs, g.dtypes, tuple([ins[k].dtype for k in g.ins])
            equal.setdefault(same, []).append((g, Member(numbers, g.rates, outs[g.outs[0]].size)))
        return [launch for some in equal.values() for launch in _launches(machine, some, (*ins, *outs))]


def _in_place(ins: Sequence[Array], outs: Sequence[Array]) -> bool:
    """Whether an output that shares memory with an input is that very input, so that each place is read before it is written."""
    sharing: dict[int, list[Array]] = {}
    for a in ins:
        sharing.setdefault(id(a.memory), []).append(a)
    return all((a.offset, a.strides, a.shape) == (o.offset, o.strides, o.shape)
               for o in outs for a in sharing.get(id(o.memory), ()))


def _launches(machine: Any, members: Sequence[tuple[_Group, Member]], arrays: Sequence[Array]) -> list[Callable[..., None]]:
    """Functions ``f(arrays, rates)`` for groups that compute the same: in one launch where the device can, and the arrays
    lie without gaps."""
    g, first = members[0]
    types = tuple([arrays[k].dtype for k in first.arrays[len(g.outs) :]])
    work = np.dtype("float64") if any(t == _F8 for t in (*types, *g.dtypes)) else np.dtype("float32")
    key = "update", g.exprs, g.dtypes, types
    together = [m for _, m in members if _alike([arrays[k] for k in m.arrays])] if machine.tables else []
    found: list[Callable[..., None]] = []
    if len(together) > 1:
        kernel = machine.kernel(("many", key), lambda: (_many(g, types, work), {("many", key): "update_many"}))
        found = tables.launches(machine, kernel, [m for m in together if m.size], work)
        members = [(g, m) for g, m in members if not _alike([arrays[k] for k in m.arrays])]
    return found + [_single(m, key, "d" if work == _F8 else "f", lambda wide: _program(g, types, work, key, wide))
                    for _, m in members]


def _alike(arrays: Sequence[Array]) -> bool:
    return all(a.dense and a.shape == arrays[0].shape for a in arrays)


def _single(m: Member, key: Any, code: str, make: Callable[[bool], tuple[str, dict]]) -> Callable[..., None]:
    def launch(arrays: Sequence[Array], rates: Sequence[float]) -> None:
        own = tuple([arrays[k] for k in m.arrays])
        run(key, make, own[0].shape, own, *[pack(code, rates[k]) for k in m.rates])

    return launch


def _many(g: _Group, types: Sequence[np.dtype], work: np.dtype) -> str:
    head, body = _written(g, types, work)
    return tables.program(g.dtypes, types, work, len(g.rates), head, body)


def _program(g: _Group, types: tuple[np.dtype, ...], work: np.dtype, key: Any, wide: bool) -> tuple[str, dict]:
    head, body = _written(g, types, work)
    numbers = tuple([f"const {source.types_of(work)[1]} v{k}" for k in range(len(g.rates))])
    return Places("update", g.dtypes, types, body, numbers).program([source.typed(work), *head], key, wide)


def _written(g: _Group, types: Sequence[np.dtype], work: np.dtype) -> tuple[list[str], str]:
    """Functions, and the statements that read the inputs and write the results."""
    writer, first = Source(LANGUAGE, work), len(g.outs)
    for k, dtype in enumerate(types):
        writer.operand(f"a{k}", source.loads(dtype, f"p{first + k}", f"j{first + k}"), source.arithmetic(dtype))
    for k in range(len(g.rates)):
        writer.operand(f"r{k}", f"v{k}", work)
    values = [writer.number(writer.value(e)) for e in g.exprs]
    body = [f"  {s.text};" for s in writer.statements]
    body += [f"  {source.stores(d, f'p{k}', f'j{k}', v)}" for k, (d, v) in enumerate(zip(g.dtypes, values, strict=True))]
    return list(writer.functions.values()), "\n".join(body)


_ENTRIES: dict[str, KernelEntry] = {}


def table() -> dict[str, KernelEntry]:
    """The writers of all updates."""
    for op in OPS.values():
        if op.name not in _ENTRIES and op.name.endswith("_update"):
            _ENTRIES[op.name] = KernelEntry(into=_Writer(op.name))
    return _ENTRIES
