"""Arrays from nothing: filled ones, ranges, constants of the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array, empty, from_host
from .elementwise import cast, copy_into

__all__ = ["Creation"]


class Creation:
    """The part of ``xp`` that makes arrays. Ranges and tables are made on the host: they are constants, not values."""

    machine: Any

    def empty(self, shape: Any, dtype: Any = np.float64) -> Array:
        """Undefined contents."""
        return empty(self.machine, shape if isinstance(shape, (tuple, list)) else (shape,), dtype)

    def full(self, shape: Any, value: Any, dtype: Any = None) -> Array:
        """All the same."""
        if dtype is None:
            dtype = value.dtype if isinstance(value, Array) else np.asarray(value).dtype
        new = self.empty(shape, dtype)
        copy_into(new, value if isinstance(value, Array) else self.scalar(value, new.dtype))
        return new

    def zeros(self, shape: Any, dtype: Any = np.float64) -> Array:
        """Zeros."""
        return self.full(shape, 0, np.float64 if dtype is None else dtype)

    def ones(self, shape: Any, dtype: Any = np.float64) -> Array:
        """Ones."""
        return self.full(shape, 1, np.float64 if dtype is None else dtype)

    def asarray(self, value: Any, dtype: Any = None) -> Array:
        """An array of the device; what is one already may be handed through."""
        if isinstance(value, Array):
            return value if dtype is None else cast(value, np.dtype(dtype))
        return from_host(self.machine, np.asarray(value, dtype))

    def scalar(self, value: Any, dtype: Any) -> Array:
        """A number as an array of shape ``()``, which is kept for the next use."""
        machine = self.machine
        return machine.number(value, np.dtype(dtype), lambda host: from_host(machine, host))

    def arange(self, *args: Any, **kwargs: Any) -> Array:
        """NumPy's ``arange``."""
        return from_host(self.machine, np.arange(*args, **kwargs))

    def linspace(self, *args: Any, **kwargs: Any) -> Array:
        """NumPy's ``linspace``."""
        return from_host(self.machine, np.linspace(*args, **kwargs))

    def eye(self, *args: Any, **kwargs: Any) -> Array:
        """NumPy's ``eye``."""
        return from_host(self.machine, np.eye(*args, **kwargs))

    def item(self, a: Any) -> Any:
        """The number in an array of one element; waits for the device."""
        from .host import to_host

        return to_host(a).item() if isinstance(a, Array) else a
