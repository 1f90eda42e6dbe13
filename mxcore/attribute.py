"""Attributes of symbols: what ``with AttrScope(...)`` adds to every symbol made inside."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

__all__ = ["AttrScope"]


class AttrScope:
    """Attributes (strings) for all symbols made inside the scope; inner scopes add to and override outer ones.

    >>> with mx.AttrScope(ctx_group="dev1"):
    ...     mx.sym.Variable("a").attr("ctx_group")
    'dev1'
    """

    _state: ClassVar[threading.local] = threading.local()

    def __init__(self, **kwargs: str) -> None:
        for value in kwargs.values():
            if not isinstance(value, str):
                raise ValueError("Attributes need to be string")
        self._attr = kwargs
        self._outer: list[AttrScope] = []

    def get(self, attr: dict[str, str] | None) -> dict[str, str]:
        """The scope's attributes, overridden by ``attr``."""
        if not self._attr:
            return dict(attr) if attr else {}
        return {**self._attr, **(attr or {})}

    def __enter__(self) -> AttrScope:
        outer = current()
        self._outer.append(outer)
        inner = AttrScope(**{**outer._attr, **self._attr})
        AttrScope._state.value = inner
        return self

    def __exit__(self, *exc: Any) -> None:
        AttrScope._state.value = self._outer.pop()


def current() -> AttrScope:
    """The scope in force in this thread."""
    found = getattr(AttrScope._state, "value", None)
    if found is None:
        found = AttrScope._state.value = AttrScope()
    return found
