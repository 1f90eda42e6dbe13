"""Kernels that compute place by place, in two kinds.

The general one walks any strides. The wide one is for arrays that all lie in C order, or have one element: a work-item
computes as many neighbours as are 16 bytes of the widest type, which it reads and writes at once. It pays on graphics
processors where memory is the limit, so only large arrays get it, and only they have it compiled; compilers for CPUs join
neighbours of the general kernel by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Any, NamedTuple

import numpy as np

from . import source
from .source import LOCAL_SIZE

__all__ = ["WIDE_FROM", "Places", "lanes", "wide_from"]

#: elements from which on the wide kernel is used
WIDE_FROM = 1 << 16
_ALIGNED = """#ifdef __cplusplus
#define ALIGNED(bytes) alignas(bytes)
#else
#define ALIGNED(bytes) __attribute__((aligned(bytes)))
#endif
"""


def lanes(dtypes: Sequence[np.dtype]) -> int:
    """How many neighbours a work-item computes.

    >>> lanes([np.dtype("float32"), np.dtype("float16")]), lanes([np.dtype("float16")])
    (4, 8)
    """
    return 16 // max(d.itemsize for d in dtypes)


def wide_from(n: int, steps: Sequence[int], count: int, offsets: Sequence[int]) -> bytes | None:
    """The structure ``Wide`` for operands with these steps that begin there; None if one is not aligned."""
    if any(o % count and s for o, s in zip(offsets, steps, strict=True)):
        return None
    return pack(f"{1 + 2 * len(steps)}q", n, *steps, *offsets)


class Places(NamedTuple):
    """A kernel: what is computed at each place.

    ``body`` reads operands through ``p0[j0]``, ``p1[j1]``...: outputs, then inputs. ``numbers`` are further parameters.
    """

    name: str
    outs: tuple[np.dtype, ...]
    ins: tuple[np.dtype, ...]
    body: str
    numbers: tuple[str, ...] = ()

    @property
    def operands(self) -> int:
        """How many operands there are."""
        return len(self.outs) + len(self.ins)

    def _parameters(self) -> list[str]:
        new = [f"__global {source.storage(d)} *p{k}" for k, d in enumerate(self.outs)]
        new += [f"__global const {source.storage(d)} *p{k}" for k, d in enumerate(self.ins, len(self.outs))]
        return [*new, *self.numbers]

    def general(self) -> str:
        """The kernel for any strides; the declaration of its frame comes before it."""
        return source.kernel(self.name, self._parameters(), self.operands, self.body)

    def program(self, head: Sequence[str], key: Any, wide: bool) -> tuple[str, dict]:
        """A program of this kernel alone, and what it is called: ``key``, or ``("wide", key)``."""
        if wide:
            return "\n".join([*head, self.wide()]), {("wide", key): self.name}
        return "\n".join([*head, source.frame(self.operands).declaration, self.general()]), {key: self.name}

    def wide(self) -> str:
        """The kernel for arrays in C order, with what it needs declared."""
        dtypes, first = (*self.outs, *self.ins), len(self.outs)
        n, bits = lanes(dtypes), [_bits(d) for d in dtypes]
        unrolled = f"#pragma unroll\n    for (int u = 0; u < {n}; ++u)"
        sizes = {c: n * d.itemsize for c, d in zip(bits, dtypes, strict=True)}
        lines = [_ALIGNED, *[f"struct ALIGNED({size}) Wide_{c} {{ {c} x[{n}]; }};\n" for c, size in sizes.items()]]
        lines += [f"typedef struct {{ long n, step[{self.operands}], base[{self.operands}]; }} Wide;\n",
                  f"__kernel __attribute__((reqd_work_group_size({LOCAL_SIZE}, 1, 1)))\n",
                  f"void {self.name}({', '.join(self._parameters())}, const Wide w) {{\n",
                  f"  const long i = (long)get_global_id(0) * {n};\n  if (i >= w.n) return;\n",
                  f"  const int m = w.n - i < {n} ? (int)(w.n - i) : {n};\n"]
        lines += [f"  struct Wide_{c} a{k};\n" for k, c in enumerate(bits)]
        for k, c in enumerate(bits[first:], first):
            lines += ["  {\n", f"    __global const {c} *g = (__global const {c} *)p{k} + w.base[{k}];\n",
                      f"    if (w.step[{k}] && m == {n}) a{k} = *(__global const struct Wide_{c} *)(g + i);\n    else {{\n",
                      f"{unrolled} a{k}.x[u] = u < m ? g[w.step[{k}] ? i + u : 0] : 0;\n    }}\n  }}\n"]
        lines.append("  {\n")  # in here the operands are what was read
        for k, d in enumerate(dtypes):
            pointer = f"{'' if k < first else 'const '}{source.storage(d)} *"
            lines.append(f"    {pointer}p{k} = ({pointer})a{k}.x;\n")
        places = ", ".join(f"j{k} = u" for k in range(self.operands))
        lines.append(f"{unrolled} {{\n      const long {places};\n{self.body}\n    }}\n  }}\n")
        for k, c in enumerate(bits[:first]):
            lines += ["  {\n", f"    __global {c} *g = (__global {c} *)p{k} + w.base[{k}] + i;\n",
                      f"    if (m == {n}) *(__global struct Wide_{c} *)g = a{k};\n    else {{\n",
                      f"{unrolled} if (u < m) g[u] = a{k}.x[u];\n    }}\n  }}\n"]
        return "".join([*lines, "}\n"])


def _bits(dtype: np.dtype) -> str:
    """The C type that holds an element: devices without half precision have pointers to it only."""
    c = source.storage(dtype)
    return "ushort" if c == "half" else c
