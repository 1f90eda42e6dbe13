"""MXNet's engine settings. Calls here compute at once or on the device's own queue, so bulking changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["bulk", "set_bulk_size"]

_SIZE = [15]


def set_bulk_size(size: int) -> int:
    """Set how many operators MXNet would run as one; returns what it was. Without effect on results."""
    previous, _SIZE[0] = _SIZE[0], int(size)
    return previous


@contextlib.contextmanager
def bulk(size: int) -> Iterator[None]:
    """A scope of another bulk size.

    >>> with mx.engine.bulk(4):
    ...     mx.nd.ones(2).shape
    (2,)
    """
    previous = set_bulk_size(size)
    try:
        yield
    finally:
        set_bulk_size(previous)
