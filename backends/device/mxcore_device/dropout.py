"""Dropout in one launch: a call of Philox decides about four elements, with the numbers that the generator gives for them."""

from __future__ import annotations

from struct import pack
from typing import Any

import numpy as np

from . import source
from .arrays import Array, empty
from .random import PHILOX
from .rows import dense, generic, served
from .source import LOCAL_SIZE

__all__ = ["dropout"]

_TEXT = """
__kernel __attribute__((reqd_work_group_size({local}, 1, 1)))
void dropout(__global {memory} *restrict p0, __global {memory} *restrict p1, __global const {memory} *restrict p2,
             __global const ulong *state, ulong key, ulong call, const float stay, const T factor, const int n,
             const long base) {{
  if (state) {{ key = state[0]; call += state[1]; }}
  Stream s = stream_(key, call, get_global_id(0));
  philox_(&s);
  const int first = get_global_id(0) * 4;
  #pragma unroll
  for (int k = 0; k < 4; ++k) {{
    const int i = first + k;
    if (i < n) {{
      const T kept = (s.drawn[k] >> 8) * 5.9604644775390625e-08f < stay ? factor : (T)0, x = {load};
      {mask}
      {store}
    }}
  }}
}}
"""


def _program(dtype: np.dtype) -> tuple[str, dict]:
    text = _TEXT.format(local=LOCAL_SIZE, memory=source.storage(dtype), load=source.loads(dtype, "p2", "base + i"),
                        store=source.stores(dtype, "p0", "i", "x * kept"), mask=source.stores(dtype, "p1", "i", "kept"))
    return source.typed(dtype) + PHILOX + text, {("dropout", dtype): "dropout"}


def dropout(xp: Any, data: Array, *, p: float, mode: str, axes: tuple[int, ...], is_train: bool, rng: Any,
            cudnn_off: bool | None = False) -> tuple[Array, Array]:
    """The kernel of ``Dropout`` where each element is decided about by itself."""
    machine, dtype = xp.machine, data.dtype
    if axes or not 0 < p <= 1 or not (is_train or mode == "always") or not served(machine, data):
        return generic("Dropout")(xp, data, p=p, mode=mode, axes=axes, cudnn_off=cudnn_off, is_train=is_train, rng=rng)
    out, mask, data = empty(machine, data.shape, dtype), empty(machine, data.shape, dtype), dense(data)
    factor = float(np.float32(1 / (1 - p) if p < 1 else 0).astype(dtype))  # as the mask has it
    code = "d" if dtype.itemsize == 8 else "f"
    machine.launch(machine.kernel(("dropout", dtype), lambda: _program(dtype)), -(-data.size // 4), out.memory, mask.memory,
                   data.memory, *rng.next(), pack("f", 1 - p), pack(code, factor), pack("i", data.size), pack("q", data.offset))
    return out, mask
