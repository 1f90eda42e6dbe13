"""The backend object: devices of OpenCL, and what their drivers tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from mxcore.errors import ContextError
from mxcore_device.arrays import Array, from_host
from mxcore_device.backend import DeviceBackend

from .platforms import OpenCLArray, OpenCLMachine, count_of, machine, machine_count, opened

__all__ = ["OpenCLBackend"]


class OpenCLBackend(DeviceBackend):
    """See :class:`mxcore.runtime.backend.Backend`."""

    name: ClassVar[str] = "opencl"
    array_type = OpenCLArray

    def __init__(self) -> None:
        machine_count()  # fails here, with what to install, where there is no device

    def machine(self, index: int) -> OpenCLMachine:
        """The device of a number, opened at first use."""
        return machine(index)

    def opened(self) -> Iterable[OpenCLMachine]:
        """The devices in use by this process."""
        return opened()

    def device_count(self) -> int:
        """All devices, graphics processors first."""
        return machine_count()

    def count_of(self, kind: str) -> int:
        """How many of them serve a kind: as ``gpu`` those that are one, or all if the user has chosen this backend for it."""
        return count_of(kind)

    def memory_info(self, index: int) -> tuple[int, int]:
        """Total bytes as the driver tells, less what the pool of this process has taken (drivers do not tell what is free)."""
        one = machine(index)
        total = int(one.device.global_mem_size)
        return max(0, total - int(one.pool.managed_bytes)), total

    def pool_info(self, index: int) -> tuple[int, int]:
        """Bytes in use, and bytes that the pool has taken from the driver."""
        pool = machine(index).pool
        return int(pool.active_bytes), int(pool.managed_bytes)

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
        self._cpu(raw)
        return self.to_host(raw).__dlpack__(**options)

    def dlpack_device(self, raw: Array) -> tuple[int, int]:
        """The CPU, where the device is one."""
        self._cpu(raw)
        return 1, 0

    def from_dlpack(self, value: Any) -> Array:
        """A copy on the first device: OpenCL cannot use memory of others as it is."""
        from mxcore.runtime.device import backend_named

        return from_host(machine(0), np.asarray(backend_named("numpy").from_dlpack(value)))

    @staticmethod
    def _cpu(raw: Array) -> None:
        if not raw.machine.is_cpu:
            raise ContextError(f"DLPack has no way to share the memory of {raw.machine!r}; use asnumpy(), which copies")
