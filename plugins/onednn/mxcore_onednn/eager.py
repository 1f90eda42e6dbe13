"""Eager calls: bound calls with copies around them, one for each kind of call that was seen."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Spec, plain_order

from .arrangement import Incoming, Room, same_places
from .codes import Arg
from .primitive import Call, Layout, reorder

__all__ = ["Eager", "remembered"]

_PLANS = 512  # for each thread and family of operators

class Eager:
    """A bound call with copies around it: arrays of any strides in, arrays in C order out.

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
        self._results = [Spec(s.shape, s.dtype, plain_order(len(s.shape))) for s in outs]
        written = [Spec(s.shape, s.dtype, o) for s, o in zip(outs, bound.out_orders, strict=True)]
        self._rooms = [Room(w) for w in written]
        self._last = [None if same_places(w.strides, r.strides, r.shape) else
                      Call(reorder(_layout(w), _layout(r)), [Arg.SRC, Arg.DST])
                      for w, r in zip(written, self._results, strict=True)]

    def __call__(self, *arrays: Any) -> Any:
        ins = [a if f is None else f(a) for f, a in zip(self._incoming, arrays, strict=True)]
        if self.bound.prepared:
            self.bound.prepare(ins)
        outs = [np.empty(r.shape, r.dtype) if c is None else room()
                for r, room, c in zip(self._results, self._rooms, self._last, strict=True)]
        self.bound.run(ins, outs)
        self._release()
        for i, call in enumerate(self._last):
            if call is not None:
                written, outs[i] = outs[i], np.empty(self._results[i].shape, self._results[i].dtype)
                call(written, outs[i])
        return outs[0] if len(outs) == 1 else tuple(outs)


def _layout(spec: Spec) -> Layout:
    return Layout(spec.shape, spec.dtype, [s // spec.dtype.itemsize for s in spec.strides])


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
