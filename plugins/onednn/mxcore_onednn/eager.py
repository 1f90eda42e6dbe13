"""Eager calls: bound calls with copies around them, one for each kind of call that was seen."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from mxcore.registry.bound import Bound, Spec
from mxcore.runtime.invoke import STATE
from mxcore.runtime.watch import Watch

from .arrangement import Incoming, Room

__all__ = ["Eager", "remembered"]

_PLANS = 512  # for each thread and family of operators
_WEIGHTS = 64  # that are kept packed, for each plan


class Eager:
    """A bound call with copies in front of it: arrays of any strides in, results in the order in which they are written.

    Weights that come again, in calls that are not recorded, stay packed until they are written to or gone: inference
    applies the same ones over and over, while training changes them between the calls.

    Parameters
    ----------
    bound : Bound
        With a method ``release()`` that gives back what :meth:`Bound.prepare` made.
    ins, outs : sequence of Spec
    again : callable, optional
        Makes another such bound call; without it nothing stays packed.
    """

    def __init__(self, bound: Any, ins: Sequence[Spec | None], outs: Sequence[Spec],
                 again: Callable[[], Any] | None = None) -> None:
        self.bound: Bound = bound
        self._release = bound.release
        self._again = again
        self._weights: dict[int, _Weight] = {}
        self._place = bound.prepared[0] if again is not None and len(bound.prepared) == 1 else -1
        self._incoming = [None if s is None or o is None else Incoming(s, o) for s, o in zip(ins, bound.in_orders, strict=True)]
        self._rooms = [Room(s.ordered(o)) for s, o in zip(outs, bound.out_orders, strict=True)]

    def __call__(self, *arrays: Any) -> Any:
        if self._place >= 0 and not STATE.recording:
            weight = self._weight(arrays[self._place])
            if weight is not None:
                return self._with(weight, arrays)
        ins = [a if f is None else f(a) for f, a in zip(self._incoming, arrays, strict=True)]
        if self.bound.prepared:
            self.bound.prepare(ins)
        outs = [room() for room in self._rooms]
        self.bound.run(ins, outs)
        self._release()
        return outs[0] if len(outs) == 1 else tuple(outs)


    def _weight(self, raw: Any) -> _Weight | None:
        """A weight that was seen before; None for one that is new here."""
        weights, key = self._weights, id(raw)
        found = weights.get(key)
        if found is None:
            weights[key] = _Weight(raw, lambda _: weights.pop(key, None))
            if len(weights) > _WEIGHTS:
                weights.pop(next(iter(weights)), None)
        return found

    def _with(self, weight: _Weight, arrays: Sequence[Any]) -> Any:
        ins = [a if f is None or i == self._place else f(a) for i, (f, a) in enumerate(zip(self._incoming, arrays, strict=True))]
        watch = weight.watch
        if watch is None or watch.changed:
            incoming = self._incoming[self._place]
            ins[self._place] = ins[self._place] if incoming is None else incoming(ins[self._place])
            if weight.bound is None or watch is None:
                weight.bound = self._again()  # type: ignore[misc]
                watch = weight.watch = Watch([arrays[self._place]], keep=False)
            watch.stale = False
            weight.bound.prepare(ins)  # type: ignore[union-attr]
        outs = [room() for room in self._rooms]
        weight.bound.run(ins, outs)  # type: ignore[union-attr]
        return outs[0] if len(outs) == 1 else tuple(outs)


class _Weight:
    """A weight that may come again: while it lives, the call that holds it packed, and who hears of writes to it."""

    def __init__(self, raw: Any, gone: Callable[[Any], Any]) -> None:
        self.raw = weakref.ref(raw, gone)
        self.bound: Bound | None = None
        self.watch: Watch | None = None


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
