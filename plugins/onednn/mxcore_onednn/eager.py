"""Eager calls: bound calls with copies around them, one for each kind of call that was seen."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from mxcore.registry.bound import Bound, Spec

from .arrangement import Incoming, Room

__all__ = ["Eager", "remembered"]

_PLANS = 512  # for each thread and family of operators

class Eager:
    """A bound call with copies in front of it: arrays of any strides in, results in the order in which they are written.

    Parameters
    ----------
    bound : Bound
        With a method ``release()`` that gives back what :meth:`Bound.prepare` made.
    ins, outs : sequence of Spec
    """

    def __init__(self, bound: Any, ins: Sequence[Spec | None], outs: Sequence[Spec]) -> None:
        self.bound: Bound = bound
        self._release = bound.release
        self._incoming = [None if s is None or o is None else Incoming(s, o) for s, o in zip(ins, bound.in_orders, strict=True)]
        self._rooms = [Room(s.ordered(o)) for s, o in zip(outs, bound.out_orders, strict=True)]

    def __call__(self, *arrays: Any) -> Any:
        ins = [a if f is None else f(a) for f, a in zip(self._incoming, arrays, strict=True)]
        if self.bound.prepared:
            self.bound.prepare(ins)
        outs = [room() for room in self._rooms]
        self.bound.run(ins, outs)
        self._release()
        return outs[0] if len(outs) == 1 else tuple(outs)


class _Remembered(threading.local):
    def __init__(self, build: Callable[..., Any]) -> None:
        self.of = functools.lru_cache(_PLANS)(build)


def remembered(build: Callable[..., Any]) -> Any:
    """Remember what ``build`` makes, for each thread apart: what it makes is used by one thread at a time.

    The function that is returned has a ``forget()``.
    """
    made = _Remembered(build)

    @functools.wraps(build)
    def find(*key: Any) -> Any:
        return made.of(*key)

    find.forget = lambda: made.of.cache_clear()  # type: ignore[attr-defined]
    return find
