"""Who keeps something that was derived from an array's values, and must hear when somebody writes to it.

Compiled programs keep what follows from parameters alone (packed weights, folded normalisations). Every write to an array
that exists goes through few places of the runtime; each calls :func:`written`. While nothing is watched that costs the
test of an empty dict. Memory that was handed out to another library (DLPack) can be written behind our back, so
nothing derived from it is kept: :func:`shared_out`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

__all__ = ["Watch", "shared_out", "written"]

#: id of the owner of memory -> those who watch it
_WATCHED: dict[int, weakref.WeakSet[Watch]] = {}
#: owners whose memory other libraries may write to
_OUTSIDE: dict[int, weakref.ref] = {}


def _owner(raw: Any) -> Any:
    """What the memory of an array belongs to: the end of the chain of its ``base``."""
    while (base := getattr(raw, "base", None)) is not None:
        raw = base
    return raw


class Watch:
    """Watches the memory of some arrays.

    Parameters
    ----------
    raws : iterable of arrays
    keep : bool
        Keep them alive. Whoever does not must forget the watch when they are gone.

    Attributes
    ----------
    stale : bool
        Somebody wrote since it was last set to False (or could have, unseen).
    """

    def __init__(self, raws: Iterable[Any], keep: bool = True) -> None:
        watched = list(raws)
        self.raws = watched if keep else []
        self.stale = False
        self._outside = False
        for raw in watched:
            key = id(_owner(raw))
            _WATCHED.setdefault(key, weakref.WeakSet()).add(self)
            self._outside = self._outside or key in _OUTSIDE
        weakref.finalize(self, _forget, [id(_owner(raw)) for raw in watched])

    @property
    def changed(self) -> bool:
        """Whether what was derived must be made again."""
        return self.stale or self._outside


def _forget(keys: list[int]) -> None:
    for key in keys:
        watchers = _WATCHED.get(key)
        if watchers is not None and not watchers:
            _WATCHED.pop(key, None)


def written(raw: Any) -> None:
    """Somebody wrote to ``raw``."""
    if _WATCHED:
        watchers = _WATCHED.get(id(_owner(raw)))
        if watchers:
            for watch in list(watchers):
                watch.stale = True


def shared_out(raw: Any) -> None:
    """``raw`` was handed to another library, which may write to it without a word."""
    owner = _owner(raw)
    key = id(owner)
    try:
        _OUTSIDE[key] = weakref.ref(owner, lambda _: _OUTSIDE.pop(key, None))
    except TypeError:  # an owner that cannot be referred to weakly is not watched by id either
        return
    for watch in list(_WATCHED.get(key, ())):
        watch._outside = True
