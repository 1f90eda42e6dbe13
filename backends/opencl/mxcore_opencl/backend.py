"""The backend object: memory, transfer, random numbers, and which kernels operators get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from mxcore.errors import ContextError

from .buffer import Array, empty, from_host
from .fused import kernel_of
from .host import mapped, to_host
from .platforms import count_of, machine, machine_count, opened

__all__ = ["OpenCLBackend"]


class OpenCLBackend:
    """See :class:`mxcore.runtime.backend.Backend`."""

    name: ClassVar[str] = "opencl"
    array_type = Array

    def __init__(self) -> None:
        machine_count()  # fails here, with what to install, where there is no device

    @property
    def xp(self) -> Any:
        """The functions on the first device."""
        return machine(0).xp

    def xp_at(self, index: int) -> Any:
        """The functions on a device."""
        return machine(index).xp

    def index_of(self, raw: Array) -> int:
        """The number of the device that an array is on."""
        return raw.machine.index

    def kernel_of(self, op: Any, generic: Callable | None) -> Callable | None:
        """Operators that are expressions, and loops, become kernels of their own."""
        return kernel_of(op, generic)

    def device_count(self) -> int:
        """All devices, graphics processors first."""
        return machine_count()

    def count_of(self, kind: str) -> int:
        """How many of them serve a kind: as ``gpu`` those that are one, or all if the user has chosen this backend for it."""
        return count_of(kind)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, index: int) -> Array:
        """Memory of the pool."""
        return empty(machine(index), shape, dtype)

    def from_host(self, array: np.ndarray, index: int) -> Array:
        """A copy."""
        return from_host(machine(index), np.asarray(array))

    def to_host(self, raw: Array) -> np.ndarray:
        """A copy; waits."""
        return to_host(raw)

    def asarray(self, value: Any) -> Array:
        """A number as an array."""
        return value if isinstance(value, Array) else from_host(machine(0), np.asarray(value))

    def own(self, raw: Array) -> Array:
        """A view becomes a contiguous copy."""
        return raw if raw.whole else raw.machine.xp.copy(raw)

    def synchronize(self, index: int | None = None) -> None:
        """Wait for the queue of a device, or of all."""
        for one in opened() if index is None else [machine(index)]:
            one.finish()

    def rng(self, seed: int, index: int) -> Any:
        """Counter-based, so that the numbers depend on the seed alone and not on the device."""
        from .random import Generator

        return Generator(machine(index), seed)

    def memory_info(self, index: int) -> tuple[int, int]:
        """Total bytes as the driver tells, less what the pool of this process has taken (drivers do not tell what is free)."""
        one = machine(index)
        total = int(one.device.global_mem_size)
        return max(0, total - int(one.pool.managed_bytes)), total

    def empty_cache(self, index: int) -> None:
        """Give the pool's free memory back."""
        machine(index).pool.free_held()

    def to_dlpack(self, raw: Array, **options: Any) -> Any:
        """A capsule of a copy in host memory, if the device is a CPU.

        Raises
        ------
        ContextError
            The device is no CPU: no other library knows the memory of OpenCL.
        """
        return self._shared(raw).__dlpack__(**options)

    def dlpack_device(self, raw: Array) -> tuple[int, int]:
        """The CPU, where the device is one."""
        self._cpu(raw.machine)
        return 1, 0

    def from_dlpack(self, value: Any) -> Array:
        """A copy on the first device: OpenCL cannot use memory of others as it is."""
        from mxcore.runtime.device import backend_named

        return from_host(machine(0), backend_named("numpy").from_dlpack(value))

    @staticmethod
    def _cpu(one: Any) -> None:
        if not one.is_cpu:
            raise ContextError(f"DLPack has no way to share the memory of {one!r}; use asnumpy(), which copies")

    def _shared(self, raw: Array) -> np.ndarray:
        self._cpu(raw.machine)
        with mapped(raw) as m:
            return np.array(m, order="C")

