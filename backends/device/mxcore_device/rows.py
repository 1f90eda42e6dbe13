"""Rows: kernels that walk an axis a few times, gather some numbers on the way and write what follows from them.

A kernel is said once, as passes over a row, and made in two kinds: a work-item for a row, where rows are short or lie side
by side, and a work-group for a row, whose work-items take turns and meet in a tree. Arrays are seen as ``(outer, n, inner)``.
Arithmetic is in float32 for short types. The norms of :mod:`mxcore_device.norms` are made of the same passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, prod
from struct import pack
from typing import Any, Literal, NamedTuple

import numpy as np
from ml_dtypes import finfo

from mxcore.registry.kernels import generic_of
from mxcore.registry.op import OPS

from . import source
from .arrays import Array, empty
from .elementwise import cast
from .functions import LANGUAGE
from .host import elsewhere
from .products import contracted
from .reductions import reduced
from .source import LOCAL_SIZE

__all__ = ["ACROSS", "ALONG", "PLANES", "Kernel", "Kind", "Pass", "Sizes", "Walk", "backward_log_softmax", "backward_softmax",
           "backward_softmax_output", "dense", "generic", "kind_along", "launch", "log_softmax", "one_hot_like", "served",
           "sized", "softmax", "softmax_cross_entropy", "work_of"]

Kind = Literal["item", "group"]

#: ``base``: where the inputs begin
_SIZES = "typedef struct { int rows, n, inner, count, piece; long base[8]; } Rows;\n"


class Walk(NamedTuple):
    """How the places ``at`` of a row follow from its number.

    ``begin`` comes once, ``start`` and ``step`` belong to the loop over ``k``, whose end is ``end``; ``{lanes}`` is by how much
    ``k`` grows.
    """

    begin: str
    start: str
    at: str
    step: str


#: rows are the places of (outer, inner), and their elements the n along the axis
ALONG = Walk("  const long first = (long)(row / r.inner) * r.n * r.inner + row % r.inner;\n  const int end = r.n;\n",
             "int k = lane", "first + (long)k * r.inner", "k += {lanes}")
#: rows are the n places of the axis, and pieces of them: their elements are ``piece`` of all places of (outer, inner)
ACROSS = Walk("  const int c = row % r.n, from = row / r.n * r.piece, end = from + min(r.piece, r.count - from);\n"
              "  const int up = {lanes} / r.inner, on = {lanes} % r.inner;\n",
              "int k = from + lane, o = k / r.inner, i = k % r.inner", "((long)o * r.n + c) * r.inner + i",
              "k += {lanes}, o += up, i += on, o += i >= r.inner, i -= i >= r.inner ? r.inner : 0")
#: groups walk pieces of the inner axis, items have an element; of the axis only the place ``c`` is wanted
PLANES: dict[Kind, Walk] = {
    "group": Walk("  const int parts = (r.inner + r.piece - 1) / r.piece, plane = row / parts, from = row % parts * r.piece;\n"
                  "  const int c = plane % r.n, end = min(r.inner, from + r.piece);\n",
                  "int k = from + lane", "(long)plane * r.inner + k", "k += {lanes}"),
    "item": Walk("  const int c = row / r.inner % r.n, end = 1;\n", "int k = 0", "row", "++k"),
}


class Pass(NamedTuple):
    """One walk over a row.

    ``state`` has the numbers that are gathered, and their beginnings; ``each`` adds an element; ``merge`` adds what another
    work-item has gathered, whose numbers are called as these with a 2 at the end; ``after`` comes when all is gathered.
    """

    state: dict[str, str]
    each: str
    merge: str
    after: str = ""


class Kernel(NamedTuple):
    """A kernel over rows. Outputs are ``p0``..., inputs follow; statements know ``row``, ``k`` and ``at``.

    ``begin`` comes first, ``write`` is done for each element after the passes, and ``finish`` once a row.
    """

    outs: tuple[np.dtype, ...]
    ins: tuple[np.dtype, ...]
    work: np.dtype
    walk: Walk | dict[Kind, Walk] = ALONG
    numbers: tuple[str, ...] = ()
    begin: str = ""
    passes: tuple[Pass, ...] = ()
    write: str = ""
    finish: str = ""

    def at(self, pointer: int, index: str = "at") -> str:
        """The expression that reads an element of an operand."""
        return source.loads((*self.outs, *self.ins)[pointer], f"p{pointer}", index)

    def to(self, pointer: int, index: str, value: str) -> str:
        """The statement that writes an element of an output."""
        return source.stores(self.outs[pointer], f"p{pointer}", index, f"(T)({value})")


def _text(k: Kernel, name: str, kind: Kind) -> str:
    walk = k.walk[kind] if isinstance(k.walk, dict) else k.walk
    group, lanes = kind == "group", str(LOCAL_SIZE if kind == "group" else 1)
    # no output shares memory with another array, so the next elements may be read before the last are written
    parameters = [f"__global {source.storage(d)} *restrict p{i}" for i, d in enumerate(k.outs)]
    parameters += [f"__global const {source.storage(d)} *restrict p{i}" for i, d in enumerate(k.ins, len(k.outs))]
    parameters += [f"const T {n}" for n in k.numbers]
    lines = [f"__kernel __attribute__((reqd_work_group_size({LOCAL_SIZE}, 1, 1)))\n",
             f"void {name}({', '.join(parameters)}, const Rows r) {{\n"]
    if group:
        shared = dict.fromkeys(s for p in k.passes for s in p.state)
        lines += [f"  __local T {s}_[{LOCAL_SIZE}];\n" for s in shared]
        lines.append("  const int lane = get_local_id(0), row = get_group_id(0);\n")
    else:
        lines.append("  const int lane = 0, row = get_global_id(0);\n  if (row >= r.rows) return;\n")
    lines += [f"  p{i} += r.base[{i - len(k.outs)}];\n" for i in range(len(k.outs), len(k.outs) + len(k.ins))]
    lines += [walk.begin.replace("{lanes}", lanes), k.begin]
    loop = f"  for ({walk.start}; k < end; {walk.step}) {{\n    const long at = {walk.at};\n".replace("{lanes}", lanes)
    for number, one in enumerate(k.passes):
        lines += [f"  T {s} = {start};\n" for s, start in one.state.items()]
        lines += [loop, f"    {one.each}\n", "  }\n"]
        if group:
            lines.append(_met(one, wait=number > 0))
        lines.append(f"  {one.after}\n")
    if k.write:
        lines += [loop, f"    {k.write}\n", "  }\n"]
    if k.finish:
        lines.append(f"  if (lane == 0) {{ {k.finish} }}\n")
    return "".join([*lines, "}\n"])


def _met(one: Pass, wait: bool) -> str:
    """What all work-items of a group have gathered, in each of them."""
    barrier = "barrier(CLK_LOCAL_MEM_FENCE);"
    put = " ".join(f"{s}_[lane] = {s};" for s in one.state)
    take = " ".join(f"const T {s}2 = {s}_[lane + width];" for s in one.state)
    whole = " ".join(f"{s} = {s}_[0];" for s in one.state)
    return (f"{f'  {barrier}' if wait else ''}  {put}\n  {barrier}\n"
            f"  for (int width = {LOCAL_SIZE // 2}; width > 0; width /= 2) {{\n"
            f"    if (lane < width) {{ {take} {one.merge} {put} }}\n    {barrier}\n  }}\n  {whole}\n")


def _program(k: Kernel, kind: Kind, key: tuple) -> tuple[str, dict]:
    double = source.DOUBLE if any(d.name == "float64" for d in (*k.outs, *k.ins)) else ""
    return "".join([contracted(k.work), double, _SIZES, _text(k, "rows", kind)]), {key: "rows"}


class Sizes(NamedTuple):
    """The structure ``Rows``, but for the offsets: how many rows, and what their walk needs (``places`` is its ``count``)."""

    rows: int
    n: int
    inner: int
    places: int = 0
    piece: int = 0


def launch(key: tuple, make: Callable[[], Kernel], kind: Kind, sizes: Sizes, outs: Sequence[Array], ins: Sequence[Array],
           *numbers: float) -> None:
    """Run a kernel over dense arrays; outputs begin where their memory does.

    ``key`` names what ``make`` makes: a name, the type of the arithmetic, and what else the kernel depends on.
    """
    first = outs[0]
    machine = first.machine
    for a in ins:
        if a.machine is not machine:
            raise elsewhere(machine, a)
    key = *key, kind
    kernel = machine.kernel(key, lambda: _program(make(), kind, key))
    code = "d" if key[1].itemsize == 8 else "f"
    offsets = [a.offset for a in ins] + [0] * (8 - len(ins))
    machine.launch(kernel, sizes.rows * (LOCAL_SIZE if kind == "group" else 1), *[a.memory for a in (*outs, *ins)],
                   *[pack(code, x) for x in numbers], pack("5i4x8q", *sizes, *offsets))


# ---------------------------------------------------------------- shared by operators
def generic(name: str) -> Callable:
    """The kernel of functions of an operator: for what the kernels here do not take, and for its errors."""
    kernel = generic_of(OPS[name])
    if kernel is None:
        raise AssertionError(f"{name} has no generic kernel")
    return kernel


def work_of(dtype: np.dtype) -> np.dtype:
    """The type of the arithmetic."""
    return source.arithmetic(dtype)


def served(machine: Any, data: Array, *more: Any) -> bool:
    """Whether the kernels take these arrays: floating-point numbers that the device has, and some elements."""
    return 0 < data.size < 1 << 31 and all(
        isinstance(a, Array) and source.is_float(a.dtype) and (machine.fp64 or a.dtype.itemsize < 8) for a in (data, *more))


def sized(shape: Sequence[int], axis: int) -> tuple[int, int, int]:
    """``(outer, n, inner)`` for an axis."""
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def dense(a: Array) -> Array:
    """In C order; a copy only if it is not."""
    return a if a.dense else a.machine.xp.copy(a)


def kind_along(rows: int, n: int, inner: int) -> Kind:
    """Neighbouring work-items are to read neighbouring places, and all are to have something to do."""
    return "group" if (n >= LOCAL_SIZE if inner == 1 else n >= 4 * LOCAL_SIZE and rows < 4096) else "item"


def _run(key: tuple, make: Callable[[], Kernel], shape: tuple[int, int, int], outs: Sequence[Array], ins: Sequence[Array],
         *numbers: float) -> None:
    outer, n, inner = shape
    rows = outer * inner
    launch(key, make, kind_along(rows, n, inner), Sizes(rows, n, inner), outs, [dense(a) for a in ins], *numbers)


# ---------------------------------------------------------------- softmax
def _peak(value: str, inside: str, work: np.dtype) -> Pass:
    """The greatest element, and the sum of the exponentials relative to it, in one pass (Milakov & Gimelshein 2018).

    The lowest number stands for none, so that infinities meet as in ``exp(x - max(x))``: a row with ``inf`` becomes nan.
    """
    low = LANGUAGE.literal(float(finfo(work).min), work.name)
    each = (f"if ({inside}) {{ const T v = {value}; "
            "if (v > peak) { sum = sum * exp((peak - v) * scale) + (v - v + 1); peak = v; } "
            "else sum += exp((v - peak) * scale); }")
    merge = ("const T high = peak > peak2 ? peak : peak2; "
             "sum = sum * exp((peak - high) * scale) + sum2 * exp((peak2 - high) * scale); peak = high;")
    return Pass({"peak": low, "sum": "0"}, each, merge)


def _softmax(of: np.dtype, to: np.dtype, length: np.dtype | None, log: bool) -> Kernel:
    work = work_of(of)
    k = Kernel((to,), (of,) if length is None else (of, length), work, numbers=("scale",))
    value = k.at(1)
    inside = "1" if length is None else "k < count"
    result = f"({value} - peak) * scale - sum" if log else f"exp(({value} - peak) * scale) * sum"
    known = _peak(value, inside, work)._replace(after="sum = log(sum);" if log else "sum = 1 / sum;")
    begin = ""
    if length is not None:
        c = source.types_of(length)[1]
        begin, result = f"  const {c} count = {k.at(2, 'row')};\n", f"{inside} ? {result} : (T)0"
    return k._replace(begin=begin, passes=(known,), write=k.to(0, "at", result))


def _soft(name: str, xp: Any, data: Array, length: Array | None, axis: int, temperature: float | None,
          dtype: Any) -> Array | None:
    """None: not by this kernel."""
    machine = xp.machine
    to = data.dtype if dtype is None else np.dtype(dtype)
    scale = 1.0 if temperature is None else temperature
    if not served(machine, data) or not source.is_float(to) or (to.itemsize == 8 and to != data.dtype) \
            or not -data.ndim <= axis < data.ndim or not (scale > 0 and isfinite(scale) and isfinite(1 / scale)):
        return None
    axis %= data.ndim
    if length is not None and (length.shape != data.shape[:axis] + data.shape[axis + 1 :] or
                               (length.dtype.itemsize == 8 and length.dtype.kind == "f" and not machine.fp64)):
        return None
    new = empty(machine, data.shape, to)
    counts = None if length is None else length.dtype
    _run((name, work_of(data.dtype), data.dtype, to, counts), lambda: _softmax(data.dtype, to, counts, name == "log_softmax"),
         sized(data.shape, axis), (new,), (data,) if length is None else (data, length), 1 / scale)
    return new


def softmax(xp: Any, data: Array, length: Array | None = None, *, axis: int = -1, temperature: float | None = None,
            dtype: Any = None, use_length: bool | None = False) -> Array:
    """The kernel of ``softmax``."""
    new = _soft("softmax", xp, data, length if use_length else None, axis, temperature, dtype)
    return new if new is not None else generic("softmax")(xp, data, length, axis=axis, temperature=temperature, dtype=dtype,
                                                          use_length=use_length)


def log_softmax(xp: Any, data: Array, *, axis: int = -1, temperature: float | None = None, dtype: Any = None,
                use_length: bool | None = False) -> Array:
    """The kernel of ``log_softmax``."""
    new = _soft("log_softmax", xp, data, None, axis, temperature, dtype)
    return new if new is not None else generic("log_softmax")(xp, data, axis=axis, temperature=temperature, dtype=dtype,
                                                              use_length=use_length)


def _backward(dtype: np.dtype, log: bool) -> Kernel:
    k = Kernel((dtype,), (dtype, dtype), work_of(dtype), numbers=("scale",))
    dy, y = k.at(1), k.at(2)
    once = Pass({"sum": "0"}, f"sum += {dy if log else f'{dy} * {y}'};", "sum += sum2;")
    result = f"({dy} - exp({y}) * sum) * scale" if log else f"{y} * ({dy} - sum) * scale"
    return k._replace(passes=(once,), write=k.to(0, "at", result))


def _soft_back(name: str, xp: Any, dy: Array, out: Array, axis: int, temperature: float | None) -> Array:
    scale = 1.0 if temperature is None else temperature
    if not served(xp.machine, out, dy) or (dy.shape, dy.dtype) != (out.shape, out.dtype) or not -out.ndim <= axis < out.ndim \
            or not scale or not isfinite(1 / scale):
        return generic(name)(xp, dy, out, axis=axis, temperature=temperature)
    new = empty(xp.machine, out.shape, out.dtype)
    _run((name, work_of(out.dtype), out.dtype), lambda: _backward(out.dtype, "log" in name),
         sized(out.shape, axis % out.ndim), (new,), (dy, out), 1 / scale)
    return new


def backward_softmax(xp: Any, dy: Array, out: Array, *, axis: int = -1, temperature: float | None = None) -> Array:
    """The kernel of ``_backward_softmax``."""
    return _soft_back("_backward_softmax", xp, dy, out, axis, temperature)


def backward_log_softmax(xp: Any, dy: Array, out: Array, *, axis: int = -1, temperature: float | None = None) -> Array:
    """The kernel of ``_backward_log_softmax``."""
    return _soft_back("_backward_log_softmax", xp, dy, out, axis, temperature)


# ---------------------------------------------------------------- cross-entropy
def _entropy(of: np.dtype, label: np.dtype) -> Kernel:
    work = work_of(of)
    k = Kernel((work,), (of, label), work, numbers=("scale", "least"))
    known = _peak(k.at(1), "1", work)
    begin = f"  const long place = (long){k.at(2, 'row')};\n"
    read = k.at(1, "first + place")
    finish = (f"const T p = place >= 0 && place < end ? exp({read} - peak) / sum : sum - sum; "
              f"{k.to(0, 'row', '-log(p < least ? least : p)')}")
    return k._replace(begin=begin, passes=(known,), finish=finish)


def softmax_cross_entropy(xp: Any, data: Array, label: Array) -> Array:
    """The kernel of ``softmax_cross_entropy``."""
    if not served(xp.machine, data) or data.ndim != 2 or label.shape != data.shape[:1] or \
            (label.dtype.name == "float64" and not xp.machine.fp64):
        return generic("softmax_cross_entropy")(xp, data, label)
    losses = empty(xp.machine, label.shape, work_of(data.dtype))
    _run(("softmax_cross_entropy", losses.dtype, data.dtype, label.dtype), lambda: _entropy(data.dtype, label.dtype),
         sized(data.shape, 1), (losses,), (data, label), 1.0, 1e-8)
    return xp.reshape(cast(reduced(losses, "sum", (0,)), data.dtype), (1,))


def _hot(label: np.dtype, to: np.dtype) -> Kernel:
    k = Kernel((to,), (label,), work_of(to))
    return k._replace(begin=f"  const long place = (long){k.at(1, 'row')};\n", write=k.to(0, "at", "k == place"))


def one_hot_like(xp: Any, label: Array, like: Any) -> Array:
    """The kernel of ``_one_hot_like``."""
    dtype = np.dtype(like.dtype)
    if not source.is_float(dtype) or not prod(like.shape) or len(like.shape) != 2 or label.shape != like.shape[:1] or \
            ("float64" in (dtype.name, label.dtype.name) and not xp.machine.fp64):
        return generic("_one_hot_like")(xp, label, like)
    new = empty(xp.machine, like.shape, dtype)
    _run(("_one_hot_like", work_of(dtype), dtype, label.dtype), lambda: _hot(label.dtype, dtype), sized(like.shape, 1), (new,),
         (label,))
    return new


def _output(dtype: np.dtype, label: np.dtype, ignoring: bool, counted: bool, squared: bool) -> Kernel:
    numbers = ("high", "low", "factor", "labels", "ignored") if ignoring else ("high", "low", "factor", "labels")
    k = Kernel((dtype,), (dtype, label, work_of(dtype)) if counted else (dtype, label), work_of(dtype), numbers=numbers)
    mark = k.at(2, "row")
    count = f"(float){k.at(3, '0')}" if counted else "(float)labels"
    weight = f"1 / {count} * (float)factor"
    begin = (f"  const long place = (long){mark};\n"  # weights are in float32, as the operator's definition has them
             f"  const float w = {f'(T){mark} == ignored ? (float)0 : {weight}' if ignoring else weight};\n")
    d = f"const T p = {k.at(1)}, d = p - (k == place ? high : low);"
    return k._replace(begin=begin, write=f"{d} {k.to(0, 'at', '(d * p) * w' if squared else 'd * w')}")


def backward_softmax_output(xp: Any, out: Array, label: Array, *, grad_scale: float, ignore_label: float, multi_output: bool,
                            use_ignore: bool, preserve_shape: bool, normalization: str, out_grad: bool,
                            smooth_alpha: float) -> Array:
    """The kernel of ``_backward_SoftmaxOutput`` for labels that are classes."""
    machine, dtype = xp.machine, out.dtype
    axis = 1 if multi_output or not preserve_shape else out.ndim - 1
    outer, n, inner = sized(out.shape, axis)
    if not multi_output and not preserve_shape:
        n, inner = n * inner, 1
    if not served(machine, out) or label.shape == out.shape or label.size < outer * inner \
            or (label.dtype.name == "float64" and not machine.fp64):
        return generic("_backward_SoftmaxOutput")(
            xp, out, label, grad_scale=grad_scale, ignore_label=ignore_label, multi_output=multi_output, use_ignore=use_ignore,
            preserve_shape=preserve_shape, normalization=normalization, out_grad=out_grad, smooth_alpha=smooth_alpha)
    high, low = 1.0, 0.0
    if smooth_alpha and not multi_output:
        high, low = 1 - smooth_alpha, smooth_alpha / (n - 1)
    over, counts = max(outer * inner, 1), []
    counted = normalization == "valid" and use_ignore
    if counted:
        labels = xp.reshape(label, (-1,))[: outer * inner]
        many = xp.maximum(xp.sum(xp.astype(xp.not_equal(labels, ignore_label), "float32")), 1.0)
        counts = [cast(many, work_of(dtype))]
    elif normalization != "valid":
        over = label.size if normalization == "batch" else inner
    new = empty(machine, out.shape, dtype)
    _run(("_backward_SoftmaxOutput", work_of(dtype), dtype, label.dtype, use_ignore, counted, out_grad),
         lambda: _output(dtype, label.dtype, use_ignore, counted, out_grad), (outer, n, inner), (new,), (out, label, *counts),
         high, low, grad_scale, over, *([ignore_label] if use_ignore else []))
    return new
