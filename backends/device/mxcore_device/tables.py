"""One launch for the updates of many weights, where kernels may be given addresses in a structure (CUDA; not OpenCL).

The parameter of the kernel is a table: for each weight the addresses of its arrays, its rates, and the first of the
work-groups that compute it. That is how "multi-tensor" optimizers work everywhere (NVIDIA's Apex made it known).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from struct import pack
from typing import Any, NamedTuple

import numpy as np

from . import source
from .arrays import Array
from .source import LOCAL_SIZE

__all__ = ["Member", "launch", "program"]

_EACH = 16  # elements of a work-item
_ROOM = 4000  # bytes of parameters that every device takes


class Member(NamedTuple):
    """A weight: its arrays (results, then inputs), all dense and of one shape, and its rates."""

    arrays: tuple[Array, ...]
    rates: tuple[float, ...]


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


def launch(machine: Any, kernel: Any, members: Sequence[Member], work: np.dtype) -> None:
    """Run the kernel over all members, as many tables as it takes."""
    count, rates = len(members[0].arrays), len(members[0].rates)
    most, code = _most(count, rates, work.itemsize), "d" if work.itemsize == 8 else "f"
    for begin in range(0, len(members), most):
        some = members[begin : begin + most]
        sizes = [m.arrays[0].size for m in some]
        groups = [-(-n // (LOCAL_SIZE * _EACH)) for n in sizes]
        starts = [0, *accumulate(groups)]
        empty = most - len(some)
        at = [machine.address(a) for m in some for a in m.arrays] + [0] * (empty * count)
        values = [r for m in some for r in (m.rates or (0.0,))] + [0.0] * (empty * max(rates, 1))
        numbers = [*starts[:-1], *[0] * empty, *sizes, *[0] * empty, len(some)]
        table = pack(f"{len(at)}Q{len(values)}{code}{len(numbers)}i", *at, *values, *numbers)
        machine.launch(kernel, starts[-1] * LOCAL_SIZE, table.ljust(-(-len(table) // 8) * 8, b"\0"))
