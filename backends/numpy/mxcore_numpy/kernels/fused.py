"""``_fused``: several elementwise operators as one loop over tiles."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Epilogue, Spec, plain_order
from mxcore.registry.loop import Loop

from ..fusion.loop import bind_loop

__all__ = ["bind", "fused"]

_MOST = 64  # loops that a thread keeps bound for plain calls


class _Kept(threading.local):
    """Loops bound by plain calls: a bound loop serves one thread at a time."""

    def __init__(self) -> None:
        self.loops: dict[tuple, Bound] = {}


_KEPT = _Kept()


def bind(ins: Sequence[Spec], outs: Sequence[Spec], attrs: Any, training: bool, epilogue: Epilogue | None = None) -> Bound | None:
    """The loop for these operands; an epilogue belongs into the loop itself, so none is taken."""
    return None if epilogue is not None else bind_loop(attrs["loop"], ins, outs)


def fused(xp: Any, *arrays: np.ndarray, loop: Loop, dtypes: Sequence[np.dtype]) -> tuple[np.ndarray, ...]:
    """The loop for arrays as they come."""
    key = loop, tuple(dtypes), *[(a.shape, a.dtype) for a in arrays]
    shapes = [loop.shape if r is None else r.shape for r in loop.reductions]
    bound = _KEPT.loops.get(key)
    if bound is None:
        if len(_KEPT.loops) >= _MOST:
            _KEPT.loops.clear()
        outs = [Spec(s, np.dtype(d), plain_order(len(s))) for s, d in zip(shapes, dtypes, strict=True)]
        bound = bind_loop(loop, [Spec(a.shape, a.dtype, plain_order(a.ndim)) for a in arrays], outs)
        _KEPT.loops[key] = bound
    results = tuple(np.empty(s, d) for s, d in zip(shapes, dtypes, strict=True))
    bound.prepare(arrays)
    bound.run(arrays, results)
    return results
