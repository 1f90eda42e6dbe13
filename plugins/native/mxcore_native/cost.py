"""What a loop costs in compiled code, and whether that is worth it."""

from __future__ import annotations

from collections.abc import Collection

from mxcore.registry import expr as E
from mxcore.registry.loop import Loop
from mxcore.registry.source import FUNCTIONS, called, portable

__all__ = ["nanoseconds"]

_MEMORY = 0.2  # to read or write one float32 in the cache
_SIMPLE = 0.05
#: of one float32, on one thread with AVX-512, about
_PRICES = {
    "divide": 0.15, "sqrt": 0.2, "exp": 0.35, "expm1": 0.5, "log": 0.4, "log2": 0.4, "log10": 0.4, "log1p": 0.8, "cbrt": 0.6,
    "sin": 0.5, "cos": 0.5, "tan": 0.7, "arcsin": 0.6, "arccos": 0.6, "arctan": 0.6, "sinh": 0.6, "cosh": 0.5, "tanh": 0.4,
    "arcsinh": 1.2, "arccosh": 1.3, "arctanh": 0.8, "erf": 0.5, "hypot": 0.4, "arctan2": 0.9}
#: functions of C that compilers have instructions for, or that NumPy computes number by number too
_ANYWAY = frozenset(("fabs", "sqrt", "floor", "ceil", "rint", "trunc", "copysign", "erf", "hypot", "tgamma", "own_gammaln",
                     "own_erfinv", "own_digamma", "own_polygamma1", "own_polygamma2", "own_mod"))
_SLOWER = frozenset(("pow",))  #: of libmvec, three times the price of NumPy's
_ONE_BY_ONE = 20.0


def nanoseconds(loop: Loop, vector: Collection[str]) -> float | None:
    """For each place of the loop, on one thread; None where NumPy is faster.

    Parameters
    ----------
    vector
        Functions of C (``"expf"``) that are computed for several numbers at once.
    """
    wide = loop.dtype.itemsize // 4
    total = _MEMORY * (len(loop.names) + len(loop.exprs))
    for node in dict.fromkeys(n for e in loop.exprs for n in E.walk(e)):
        if node.fn not in FUNCTIONS:
            continue
        names = called(portable(node))
        if any(n not in _ANYWAY and (n in _SLOWER or n + ("f" if wide == 1 else "") not in vector) for n in names):
            return None
        slow = any(n.startswith("own_") or n == "tgamma" for n in names)
        total += _ONE_BY_ONE if slow else _PRICES.get(node.fn, _SIMPLE)
    return total * wide
