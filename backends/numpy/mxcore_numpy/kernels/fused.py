"""``_fused``: several elementwise operators as one loop over tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Epilogue, Spec, plain_order
from mxcore.registry.loop import Loop

from ..fusion.loop import bind_loop

__all__ = ["bind", "fused"]


def bind(ins: Sequence[Spec], outs: Sequence[Spec], attrs: dict[str, Any], training: bool,
         epilogue: Epilogue | None = None) -> Bound | None:
    """The loop for these operands; an epilogue belongs into the loop itself, so none is taken."""
    if epilogue is not None:
        return None
    return bind_loop(attrs["loop"], ins, outs)


def fused(xp: Any, *arrays: np.ndarray, loop: Loop, dtypes: Sequence[np.dtype]) -> tuple[np.ndarray, ...]:
    """The loop for arrays as they come, bound for this call alone."""
    ins = [Spec(a.shape, a.dtype, plain_order(a.ndim)) for a in arrays]
    shapes = [loop.shape if r is None else r.shape for r in loop.reductions]
    bound = bind_loop(loop, ins, [Spec(s, np.dtype(d), plain_order(len(s))) for s, d in zip(shapes, dtypes, strict=True)])
    results = tuple(np.empty(s, d) for s, d in zip(shapes, dtypes, strict=True))
    bound.prepare(arrays)
    bound.run(arrays, results)
    return results
