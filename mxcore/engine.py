"""MXNet's engine settings. Calls here compute at once or on the device's own queue, so bulking changes nothing."""

__all__ = ["bulk", "set_bulk_size"]

_SIZE = [15]


def set_bulk_size(size: int) -> int:
    """Set how many operators MXNet would run as one; returns what it was. Without effect on results."""
    previous, _SIZE[0] = _SIZE[0], int(size)
    return previous


class bulk:
    """A scope of another bulk size.

    >>> with mx.engine.bulk(4):
    ...     mx.nd.ones(2).shape
    (2,)
    """

    def __init__(self, size: int) -> None:
        self._size, self._previous = size, 0

    def __enter__(self) -> "bulk":
        self._previous = set_bulk_size(self._size)
        return self

    def __exit__(self, *exc: object) -> None:
        set_bulk_size(self._previous)
