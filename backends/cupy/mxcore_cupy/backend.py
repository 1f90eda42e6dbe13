"""The backend object: devices of CUDA, CuPy's pools, and sharing arrays with other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from mxcore_device.arrays import Array, empty
from mxcore_device.backend import DeviceBackend

from .devices import CudaArray, CudaMachine, count, machine, opened, taken, view

__all__ = ["CudaBackend"]


class CudaBackend(DeviceBackend):
    """See :class:`mxcore.runtime.backend.Backend`."""

    name: ClassVar[str] = "cupy"
    array_type = CudaArray

    def __init__(self) -> None:
        count()  # fails here, with what to do, where there is no device

    def machine(self, index: int) -> CudaMachine:
        """The device of a number, opened at first use."""
        return machine(index)

    def opened(self) -> Iterable[CudaMachine]:
        """The devices in use by this process."""
        return opened()

    def device_count(self) -> int:
        """The devices that ``CUDA_VISIBLE_DEVICES`` shows."""
        return count()

    def memory_info(self, index: int) -> tuple[int, int]:
        """Free and total bytes, as the driver tells; what CuPy's pool holds for the next arrays counts as free."""
        one = machine(index)
        one.enter()
        free, total = one.cupy.cuda.runtime.memGetInfo()
        return int(free + one.cupy.get_default_memory_pool().free_bytes()), int(total)

    def pool_info(self, index: int) -> tuple[int, int]:
        """Bytes in use, and bytes that CuPy's pool has taken from the driver; graphs have pools of their own."""
        one = machine(index)
        one.enter()
        pool = one.cupy.get_default_memory_pool()
        return int(pool.used_bytes()), int(pool.total_bytes())

    def empty_cache(self, index: int) -> None:
        """Give the pool's free memory back to the driver."""
        one = machine(index)
        one.enter()
        one.cupy.get_default_memory_pool().free_all_blocks()

    def across(self, raw: Array, index: int) -> Array:
        """By the link between the two, if there is one, else as the driver sees fit; neither device is waited for."""
        source, target = raw.machine, machine(index)
        source.enter()
        dense = raw if raw.dense else source.xp.copy(raw)
        new = empty(target, raw.shape, raw.dtype)
        if raw.size:
            with source.errors(f"copying an array to {target.title}"):
                ready, done = source.event(), target.event()
                source.enter()
                ready.record(source.current())
                target.enter()
                target.current().wait_event(ready)
                new.memory.copy_from_device_async(dense.memory + dense.offset * raw.dtype.itemsize, raw.size * raw.dtype.itemsize)
                done.record(target.current())
                source.enter()
                source.current().wait_event(done)  # before the memory is given to something else
        return new

    def record(self, index: int, run: Callable[[], None]) -> Callable[[], None]:
        """As a CUDA graph."""
        from .graphs import recorded

        return recorded(machine(index), run)

    def to_dlpack(self, raw: Array, **options: Any) -> Any:
        """A capsule that shares the memory."""
        return view(raw).__dlpack__(**options)

    def dlpack_device(self, raw: Array) -> tuple[int, int]:
        """CUDA, and the number of the device."""
        kind, index = view(raw).__dlpack_device__()
        return int(kind), int(index)

    def from_dlpack(self, value: Any) -> Array:
        """An array that shares memory with another library's on a device of CUDA."""
        import cupy

        found = cupy.from_dlpack(value)
        return taken(machine(found.device.id), found)
