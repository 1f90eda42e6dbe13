"""A fused loop: several elementwise operators, and reductions of their results, as one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import expr as E

__all__ = ["Loop", "Reduction", "run_loop"]


class Reduction(NamedTuple):
    """A sum over axes of the iteration space, whose result is then given the shape ``shape``."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Loop:
    """What is computed at each place of an iteration space.

    Attributes
    ----------
    shape : tuple of int
        The iteration space.
    dtype : numpy.dtype
        float32 or float64: the type of the arithmetic. Inputs of other types (float16, bfloat16) are converted when they
        are read, outputs when they are written.
    names : tuple of str
        Of the inputs, which broadcast against ``shape`` by NumPy's rule.
    exprs : tuple of Expr
        One for each output, over ``names`` and literals (no attributes). They share subexpressions.
    reductions : tuple of Reduction or None
        For each output: None if it has the shape of the iteration space.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    names: tuple[str, ...]
    exprs: tuple[E.Expr, ...]
    reductions: tuple[Reduction | None, ...]

    def __repr__(self) -> str:
        return "; ".join(f"{e!r}" if r is None else f"sum{r.axes} of {e!r}"
                         for e, r in zip(self.exprs, self.reductions, strict=True))


def run_loop(xp: Any, loop: Loop, arrays: Sequence[Any], dtypes: Sequence[np.dtype]) -> tuple:
    """The loop over any ``xp``, function by function: what a backend without a fused kernel does, and the definition."""
    arrays = [a if a.dtype == loop.dtype else xp.astype(a, loop.dtype) for a in arrays]
    done: dict[E.Expr, Any] = dict(zip(map(E.arg, loop.names), arrays, strict=True))
    results = []
    for e, r, dtype in zip(loop.exprs, loop.reductions, dtypes, strict=True):
        for node in E.walk(e):
            if node in done:
                continue
            if node.fn == "const":
                done[node] = xp.scalar(node.args[0], loop.dtype)
            else:
                done[node] = getattr(xp, node.fn)(*[_operand(xp, done[a], a, node, i, loop.dtype)
                                                    for i, a in enumerate(node.args)])
        value = xp.astype(done[e], loop.dtype) if E.is_bool(e) else done[e]
        if r is not None:
            value = xp.reshape(xp.sum(xp.broadcast_to(value, loop.shape), axis=r.axes), r.shape)
        elif value.shape != loop.shape:
            value = xp.copy(xp.broadcast_to(value, loop.shape))
        results.append(value if value.dtype == dtype else xp.astype(value, dtype))
    return tuple(results)


def _operand(xp: Any, value: Any, e: E.Expr, user: E.Expr, place: int, dtype: np.dtype) -> Any:
    """A truth value counts as 0 or 1, except where one is asked for."""
    logical = user.fn.startswith("logical_") or (user.fn == "where" and place == 0)
    return xp.astype(value, dtype) if E.is_bool(e) and not logical else value
