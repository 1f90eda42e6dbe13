"""Names of symbols and blocks: automatic numbers, prefixes."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

__all__ = ["NameManager", "Prefix"]


class NameManager:
    """Gives automatic names: the operator's name in lower case and a count (``convolution0``).

    Use with ``with`` to count from 0 again.

    >>> with mx.name.NameManager():
    ...     mx.sym.exp(mx.sym.Variable("x")).name
    'exp0'
    """

    _state: ClassVar[threading.local] = threading.local()

    def __init__(self) -> None:
        self._counter: dict[str, int] = {}
        self._outer: list[NameManager] = []

    def get(self, name: str | None, hint: str) -> str:
        """``name`` if given, else the next automatic one for ``hint``."""
        if name:
            return name
        count = self._counter.get(hint, 0)
        self._counter[hint] = count + 1
        return f"{hint}{count}"

    def __enter__(self) -> NameManager:
        self._outer.append(current())
        NameManager._state.value = self
        return self

    def __exit__(self, *exc: Any) -> None:
        NameManager._state.value = self._outer.pop()


class Prefix(NameManager):
    """Puts a prefix before every name.

    >>> with mx.name.Prefix("net_"):
    ...     mx.sym.exp(mx.sym.Variable("x"), name="e").name
    'net_e'
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        """The prefix and the name."""
        return self._prefix + super().get(name, hint)


def current() -> NameManager:
    """The manager in force in this thread."""
    found = getattr(NameManager._state, "value", None)
    if found is None:
        found = NameManager._state.value = NameManager()
    return found
