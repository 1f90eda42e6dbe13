"""One launch for the updates of many weights, where kernels may be given addresses in a structure (CUDA; not OpenCL).

The parameter of the kernel is a table: for each weight the addresses of its arrays, its rates, and the first of the
work-groups that compute it. That is how "multi-tensor" optimizers work everywhere (NVIDIA's Apex made it known).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate
from struct import Struct, pack
from typing import Any, NamedTuple

import numpy as np

from . import source
from .arrays import Array
from .source import LOCAL_SIZE

__all__ = ["Member", "launches", "program"]

_EACH = 16  # elements of a work-item
_ROOM = 4000  # bytes of parameters that every device takes


class Member(NamedTuple):
    """A weight: its arrays (results, then inputs; all dense and of one shape) and rates, by their numbers, and its size."""

    arrays: tuple[int, ...]
    rates: tuple[int, ...]
    size: int


def _most(arrays: int, rates: int, width: int) -> int:
    """How many weights fit into a table."""
    return (_ROOM - 16) // (8 * arrays + width * max(rates, 1) + 8)


def program(outs: Sequence[np.dtype], ins: Sequence[np.dtype], work: np.dtype, rates: int, head: Sequence[str],
            body: str) -> str:
    """The kernel ``update_many``.

    ``body`` reads and writes elements ``j0``, ``j1``... of the arrays ``p0``, ``p1``... with the rates ``v0``...
    """
    types, c = [*outs, *ins], source.types_of(work)[1]
    most = _most(len(types), rates, work.itemsize)
    kinds = [f"__global {'' if k < len(outs) else 'const '}{source.storage(d)} *" for k, d in enumerate(types)]
    pointers = [f"  {kind}p{k} = ({kind})t.at[w][{k}];\n" for k, kind in enumerate(kinds)]
    places = ", ".join(f"j{k} = i" for k in range(len(types)))
    numbers = "".join(f"  const {c} v{k} = t.rate[w][{k}];\n" for k in range(rates))
    return "\n".join([source.typed(work), *head, f"""
typedef struct {{
  ulong at[{most}][{len(types)}];
  {c} rate[{most}][{max(rates, 1)}];
  int start[{most}], size[{most}], count;
}} Table;
__kernel __attribute__((reqd_work_group_size({LOCAL_SIZE}, 1, 1))) void update_many(const Table t) {{
  int group = get_group_id(0), lane = get_local_id(0), w = 0;
  for (int step = {1 << (most - 1).bit_length()}; step > 0; step /= 2)  // whose groups this is among
    if (w + step < t.count && t.start[w + step] <= group) w += step;
{"".join(pointers)}{numbers}  int first = (group - t.start[w]) * {LOCAL_SIZE * _EACH} + lane;
  for (int k = 0; k < {_EACH}; ++k) {{
    const int i = first + k * {LOCAL_SIZE};
    if (i >= t.size[w]) return;
    const long {places};
{body}
  }}
}}
"""])


def launches(machine: Any, kernel: Any, members: Sequence[Member], work: np.dtype) -> list[Callable[..., None]]:
    """Functions ``f(arrays, rates)`` that run the kernel over all members, as many as it takes tables."""
    most = _most(len(members[0].arrays), len(members[0].rates), work.itemsize)
    return [_launch(machine, kernel, members[begin : begin + most], most, "d" if work.itemsize == 8 else "f")
            for begin in range(0, len(members), most)]


def _launch(machine: Any, kernel: Any, members: Sequence[Member], most: int, code: str) -> Callable[..., None]:
    empty, count, rates = most - len(members), len(members[0].arrays), len(members[0].rates)
    starts = [0, *accumulate(-(-m.size // (LOCAL_SIZE * _EACH)) for m in members)]
    numbers = [*starts[:-1], *[0] * empty, *[m.size for m in members], *[0] * empty, len(members)]
    end = pack(f"{len(numbers)}i", *numbers)
    which, when = [k for m in members for k in m.arrays], [k for m in members for k in m.rates]
    table = Struct(f"={len(which)}Q{8 * empty * count}x{len(when)}{code}").pack
    width = len(table(*which, *when)) + struct.calcsize(code) * (most * max(rates, 1) - len(when))
    size = -(-(width + len(end)) // 8) * 8
    items = starts[-1] * LOCAL_SIZE

    def launch(arrays: Sequence[Array], values: Sequence[float]) -> None:
        at = machine.addresses([arrays[k] for k in which])
        machine.launch(kernel, items, (table(*at, *[values[k] for k in when]).ljust(width, b"\0") + end).ljust(size, b"\0"))

    return launch
