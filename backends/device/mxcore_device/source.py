"""Pieces of generated programs: C types and how they lie in memory, index arithmetic, the frame of a kernel.

Programs are OpenCL C, and so plain that a page of definitions makes them CUDA C++ as well (``mxcore_cupy/prelude.py``): no
vector types, no images, work-groups of one axis and of one size, ``get_global_id(0)``, ``barrier(CLK_LOCAL_MEM_FENCE)``,
``atomic_cmpxchg`` on int.

float16 and bfloat16 are only ways to store a number: arithmetic is in float32, with one rounding at the store. That works on
devices without half precision too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from mxcore.errors import DTypeError, MXNetError

from .functions import INTEGER_PRELUDE

__all__ = ["AXES", "DOUBLE", "HEAD", "LOCAL_SIZE", "Frame", "Layout", "arithmetic", "frame", "is_float", "kernel",
           "kernel_name", "layout", "loads", "storage", "stores", "typed", "types_of"]

#: work-items in a group, everywhere: PoCL compiles a kernel anew for each size
LOCAL_SIZE = 64
#: axes that a kernel can walk, after neighbours that lie in one piece have been merged
AXES = 8
_ATTRIBUTE = f"__kernel __attribute__((reqd_work_group_size({LOCAL_SIZE}, 1, 1))) void"
#: without it PoCL takes literals for floats
DOUBLE = "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"
HEAD = "#pragma OPENCL FP_CONTRACT OFF\n"

#: dtype name -> (C type in memory, C type of the arithmetic)
_TYPES = {
    "float32": ("float", "float"), "float64": ("double", "double"), "float16": ("half", "float"), "bfloat16": ("ushort", "float"),
    "int8": ("char", "char"), "int16": ("short", "short"), "int32": ("int", "int"), "int64": ("long", "long"),
    "uint8": ("uchar", "uchar"), "uint16": ("ushort", "ushort"), "uint32": ("uint", "uint"), "uint64": ("ulong", "ulong"),
    "bool": ("uchar", "uchar"),
}
_BFLOAT = """
static inline float from_bf16(ushort x) { return as_float((uint)x << 16); }
static inline ushort to_bf16(float x) {
  uint u = as_uint(x);
  return x != x ? (ushort)((u >> 16) | 0x40) : (ushort)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
"""


def types_of(dtype: np.dtype) -> tuple[str, str]:
    """The C types of an element in memory and in arithmetic.

    >>> types_of(np.dtype("float16"))
    ('half', 'float')
    """
    try:
        return _TYPES[dtype.name]
    except KeyError:
        raise DTypeError(f"devices have no arrays of {dtype}, but of {', '.join(_TYPES)}") from None


def storage(dtype: np.dtype) -> str:
    """The C type of an element in memory."""
    return types_of(dtype)[0]


def loads(dtype: np.dtype, pointer: str, index: str) -> str:
    """The expression that reads an element."""
    name = dtype.name
    if name == "float16":
        return f"vload_half({index}, {pointer})"
    return f"from_bf16({pointer}[{index}])" if name == "bfloat16" else f"{pointer}[{index}]"


def stores(dtype: np.dtype, pointer: str, index: str, value: str) -> str:
    """The statement that writes an element."""
    name = dtype.name
    if name == "float16":
        return f"vstore_half_rte({value}, {index}, {pointer});"
    if name == "bfloat16":
        return f"{pointer}[{index}] = to_bf16({value});"
    if name == "bool":
        return f"{pointer}[{index}] = ({value}) != 0;"
    return f"{pointer}[{index}] = {value};"


def typed(dtype: np.dtype) -> str:
    """What a program whose arithmetic is in the type of ``dtype`` begins with: ``T`` and functions on integers."""
    c = types_of(dtype)[1]
    double = DOUBLE if c == "double" else ""
    return f"{HEAD}{double}{_BFLOAT}typedef {c} T;\n{INTEGER_PRELUDE if dtype.kind in 'iu' else ''}"


def is_float(dtype: np.dtype) -> bool:
    """Whether arithmetic on it is in floating point.

    >>> is_float(np.dtype("float16")), is_float(np.dtype("uint8"))
    (True, False)
    """
    return types_of(dtype)[1] in ("float", "double")


def arithmetic(dtype: np.dtype) -> np.dtype:
    """The type in which numbers of a type are computed: float32 for the short ones."""
    return np.dtype("float32") if is_float(dtype) and dtype.itemsize == 2 else dtype


def kernel_name(text: str) -> str:
    """A name for a kernel that may be anything in Python."""
    return "k_" + "".join(ch if ch.isalnum() else "_" for ch in text)


class Frame(NamedTuple):
    """The frame of a kernel that walks an iteration space: its first lines, in which ``j0``, ``j1``... are the places of the
    operands that belong to place ``i``."""

    declaration: str
    head: str


@lru_cache(None)
def frame(count: int) -> Frame:
    """The frame for a number of operands."""
    declaration = (f"typedef struct {{ int n, nd; int shape[{AXES}]; int step[{count}][{AXES}]; long base[{count}]; }} "
                   f"Layout{count};\n")
    lines = ["  int i = get_global_id(0);", "  if (i >= l.n) return;"]
    lines += [f"  long j{k} = l.base[{k}];" for k in range(count)]
    lines.append("  int rest_ = i;")
    lines.append("  for (int d = l.nd - 1; d > 0; --d) {")
    lines.append("    int up_ = rest_ / l.shape[d], at_ = rest_ - up_ * l.shape[d];")
    lines += [f"    j{k} += (long)at_ * l.step[{k}][d];" for k in range(count)]
    lines += ["    rest_ = up_;", "  }"]
    lines += [f"  j{k} += (long)rest_ * l.step[{k}][0];" for k in range(count)]
    return Frame(declaration, "\n".join(lines) + "\n")


def kernel(name: str, parameters: Sequence[str], count: int, body: str) -> str:
    """A kernel over an iteration space, without the declaration of its layout."""
    return f"{_ATTRIBUTE} {name}({', '.join(parameters)}, const Layout{count} l) {{\n{frame(count).head}{body}\n}}\n"


class Layout(NamedTuple):
    """An iteration space as the kernels want it: number of places, and the structure up to the offsets.

    ``flat`` has the steps of the operands if all that are not 0 are 1, and one axis is left.
    """

    n: int
    packed: bytes
    flat: tuple[int, ...] | None = None


@lru_cache(8192)
def layout(shape: tuple[int, ...], *strides: tuple[int, ...]) -> Layout:
    """The structure ``Layout`` for operands of these strides (in elements), with as few axes as possible.

    Raises
    ------
    MXNetError
        More places than an int counts, or more axes than kernels walk.
    """
    n = prod(shape)
    if n >= 1 << 31:
        raise MXNetError(f"an array of shape {shape} has {n:,} elements; kernels of devices count up to 2**31 - 1")
    sizes, steps = _merged(shape, strides)
    if len(sizes) > AXES:
        raise MXNetError(f"arrays of shape {shape} lie in more than {AXES} pieces of different strides")
    flat = tuple([s[0] for s in steps]) if len(sizes) == 1 and all(s[0] in (0, 1) for s in steps) else None
    pad = AXES - len(sizes)
    numbers = [n, len(sizes), *sizes, *[1] * pad]
    for one in steps:
        numbers += [*one, *[0] * pad]
    try:
        return Layout(n, struct.pack(f"{len(numbers)}i", *numbers), flat)
    except struct.error as error:
        raise MXNetError(f"an array of shape {shape} has strides beyond 2**31 elements") from error


def _merged(shape: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> tuple[list[int], list[list[int]]]:
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        if sizes and all(s[-1] == t[axis] * n for s, t in zip(steps, strides, strict=True)):
            sizes[-1] *= n
            for s, t in zip(steps, strides, strict=True):
                s[-1] = t[axis]
        else:
            sizes.append(n)
            for s, t in zip(steps, strides, strict=True):
                s.append(t[axis])
    return (sizes, steps) if sizes else ([1], [[0] for _ in strides])
