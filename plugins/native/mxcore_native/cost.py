"""What a loop costs in compiled code, and whether that is worth it."""

from __future__ import annotations

from collections.abc import Collection

from mxcore.registry import expr as E
from mxcore.registry.loop import Loop
from mxcore.registry.source import FUNCTIONS, called

__all__ = ["nanoseconds"]

_MEMORY = 0.2  # to read or write one float32 in the cache
_SIMPLE = 0.05
#: of one float32, on one thread with AVX-512, about; functions of libmvec and what is computed number by number
_PRICES = {
    "divide": 0.15, "sqrt": 0.2, "exp": 0.5, "expm1": 0.7, "log": 0.6, "log2": 0.5, "log10": 0.5, "log1p": 1.0, "cbrt": 0.8,
    "sin": 0.6, "cos": 0.6, "tan": 0.9, "arcsin": 0.8, "arccos": 0.8, "arctan": 0.8, "sinh": 0.8, "cosh": 0.6, "tanh": 0.6,
    "arcsinh": 1.4, "arccosh": 1.6, "arctanh": 1.0, "erf": 1.2, "power": 4.8, "hypot": 0.5, "arctan2": 1.1}
#: functions that compilers have instructions for, or that NumPy computes number by number too
_ANYWAY = frozenset(("fabs", "sqrt", "floor", "ceil", "rint", "trunc", "copysign", "erf", "hypot", "tgamma", "own_gammaln",
                     "own_erfinv", "own_digamma", "own_polygamma1", "own_polygamma2", "own_mod"))
_ONE_BY_ONE = 20.0


def nanoseconds(loop: Loop, vector: Collection[str]) -> float | None:
    """For each place of the loop, on one thread; None where NumPy is faster.

    Parameters
    ----------
    vector
        Functions of C (``"expf"``) that the compiler calls for several numbers at once.
    """
    wide = loop.dtype.itemsize // 4
    total = _MEMORY * (len(loop.names) + len(loop.exprs))
    for fn in dict.fromkeys(n for e in loop.exprs for n in E.walk(e)):
        if fn.fn not in FUNCTIONS:
            continue
        names = called(FUNCTIONS[fn.fn])
        slow = [n for n in names if n + ("f" if wide == 1 else "") not in vector]
        if any(n not in _ANYWAY for n in slow):
            return None
        total += _ONE_BY_ONE if any(n.startswith("own_") or n in ("tgamma", "erf", "hypot") for n in slow) else \
            _PRICES.get(fn.fn, _SIMPLE)
    return total * wide
