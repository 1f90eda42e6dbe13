"""The log: totals since the start, and single calls while somebody asks for them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an array function: those of ``xp``, ``operator.add`` (Python's ``+``), ``random.poisson`` (of a generator).

    ``inputs`` and ``outputs`` are the shapes and dtypes of the arrays among the arguments and results, also of those in lists
    and tuples; ``nbytes`` is the size of all of these.
    """

    function: str
    inputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    nbytes: int
    seconds: float


_LOCK = threading.Lock()
_OPEN: list[list[Call]] = []
_TOTALS: dict[str, list] = {}  # function -> calls, seconds, bytes


def enter(call: Call) -> None:
    """Count a call, and add it to the logs that are open."""
    with _LOCK:
        for calls in _OPEN:
            calls.append(call)
        total = _TOTALS.setdefault(call.function, [0, 0.0, 0])
        for i, more in enumerate((1, call.seconds, call.nbytes)):
            total[i] += more


@contextmanager
def log() -> Iterator[list[Call]]:
    """A list of every call that any thread makes until the block ends."""
    calls: list[Call] = []
    with _LOCK:
        _OPEN.append(calls)
    try:
        yield calls
    finally:
        with _LOCK:
            _OPEN[:] = [one for one in _OPEN if one is not calls]  # not remove: equal lists are not the same


def report() -> str:
    """A table of all calls since the start or ``reset()``, by function: number, seconds, bytes. The slowest come first."""
    with _LOCK:
        rows = sorted(_TOTALS.items(), key=lambda row: -row[1][1])
        return "\n".join([f"{'function':24}{'calls':>10}{'seconds':>12}{'bytes':>18}",
                          *(f"{name:24}{n:>10}{s:>12.6f}{b:>18,}" for name, (n, s, b) in rows)])


def reset() -> None:
    """Count from zero again."""
    with _LOCK:
        _TOTALS.clear()
