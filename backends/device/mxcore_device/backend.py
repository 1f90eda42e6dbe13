"""The backend object that both CUDA and OpenCL have: memory, transfer, random numbers, which kernels operators get."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from .arrays import Array, empty, from_host
from .fused import kernel_of
from .host import to_host
from .machine import Machine
from .random import Generator
from .repeats import Repeated

__all__ = ["DeviceBackend"]


class DeviceBackend(ABC):
    """See :class:`mxcore.runtime.backend.Backend`. A subclass says which devices there are, and what drivers tell of memory."""

    name: ClassVar[str]
    array_type: type[Array]

    @abstractmethod
    def machine(self, index: int) -> Machine:
        """The device of a number, opened at first use."""

    @abstractmethod
    def opened(self) -> Iterable[Machine]:
        """The devices in use by this process."""

    @abstractmethod
    def device_count(self) -> int:
        """How many devices there are."""

    @abstractmethod
    def memory_info(self, index: int) -> tuple[int, int]:
        """Free and total bytes."""

    @abstractmethod
    def pool_info(self, index: int) -> tuple[int, int]:
        """Bytes in use, and bytes that the pool has taken from the driver."""

    @abstractmethod
    def empty_cache(self, index: int) -> None:
        """Give the pool's free memory back."""

    # ------------------------------------------------------------ shared
    @property
    def xp(self) -> Any:
        """The functions on the first device."""
        return self.machine(0).xp

    def xp_at(self, index: int) -> Any:
        """The functions on a device."""
        return self.machine(index).xp

    def index_of(self, raw: Array) -> int:
        """The number of the device that an array is on."""
        return raw.machine.index

    def kernel_of(self, op: Any, generic: Callable | None) -> Callable | None:
        """Operators that are expressions, and loops, become kernels of their own."""
        return kernel_of(op, generic)

    def repeated(self, op: Any, kernel: Callable) -> Callable:
        """Calls of a known kind are repeated; not those that draw random numbers, or give views."""
        return kernel if "rng" in op.schema.wants or op.view else Repeated(op.name, kernel)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, index: int) -> Array:
        """Memory of the pool."""
        return empty(self.machine(index), shape, dtype)

    def from_host(self, array: np.ndarray, index: int) -> Array:
        """A copy."""
        return from_host(self.machine(index), np.asarray(array))

    def to_host(self, raw: Array) -> np.ndarray:
        """A copy; waits."""
        return to_host(raw)

    def asarray(self, value: Any) -> Array:
        """A number as an array."""
        return value if isinstance(value, Array) else from_host(self.machine(0), np.asarray(value))

    def own(self, raw: Array) -> Array:
        """A view becomes a contiguous copy."""
        return raw if raw.whole else raw.machine.xp.copy(raw)

    def synchronize(self, index: int | None = None) -> None:
        """Wait for a device, or for all."""
        for one in self.opened() if index is None else [self.machine(index)]:
            one.finish()

    def rng(self, seed: int, index: int) -> Generator:
        """Counter-based, so that the numbers depend on the seed alone and not on the device."""
        return Generator(self.machine(index), seed)
