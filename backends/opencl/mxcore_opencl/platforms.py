"""Platforms and devices: found at first use, graphics processors first; the queue, pool and programs of each."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from mxcore.base import config
from mxcore.errors import BackendMissingError, MXNetError, OutOfMemoryError
from mxcore_device.arrays import Array
from mxcore_device.machine import Machine
from mxcore_device.source import LOCAL_SIZE

__all__ = ["OpenCLArray", "OpenCLMachine", "count_of", "devices", "explain", "machine", "machine_count", "opened"]

_OUT_OF_MEMORY = ("MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_RESOURCES", "OUT_OF_HOST_MEMORY", "INVALID_BUFFER_SIZE")
_LOST = ("DEVICE_NOT_AVAILABLE", "INVALID_COMMAND_QUEUE", "INVALID_CONTEXT", "INVALID_DEVICE", "DEVICE_NOT_FOUND")
_NO_DRIVER = ("no OpenCL platform was found. PyOpenCL is installed, but no driver (ICD) is: install the OpenCL driver of your "
              "graphics card, or, for the CPU alone, pip install mxcore[pocl]")


@cache
def devices() -> tuple[Any, ...]:
    """All devices of all platforms: graphics processors and accelerators, then CPUs.

    Raises
    ------
    BackendMissingError
        There is no platform, or none has a device; says what to install.
    """
    try:
        import pyopencl as cl
    except ImportError as error:
        raise BackendMissingError(f"PyOpenCL cannot be imported ({error}); pip install mxcore[opencl]") from error
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:  # the loader's way to say that it has no driver
        raise BackendMissingError(f"{_NO_DRIVER} ({error})") from error
    found = []
    for platform in platforms:
        try:
            found += platform.get_devices()
        except cl.Error as error:
            if "DEVICE_NOT_FOUND" not in str(error):
                raise MXNetError(f"the OpenCL platform {platform.name!r} cannot list its devices: {error}") from error
    if not found:
        names = ", ".join(p.name for p in platforms)
        raise BackendMissingError(f"the OpenCL platforms ({names}) have no device" if names else _NO_DRIVER)
    return tuple(sorted(found, key=lambda d: bool(d.type & cl.device_type.CPU)))


def machine_count() -> int:
    """How many devices there are."""
    return len(devices())


def count_of(kind: str) -> int:
    """How many devices serve a kind of context: as ``gpu`` those that are no CPUs, unless ``MXCORE_BACKEND_GPU=opencl``."""
    import pyopencl as cl

    if kind != "gpu" or config("MXCORE_BACKEND_GPU") == "opencl":
        return machine_count()
    return sum(not d.type & cl.device_type.CPU for d in devices())


class OpenCLArray(Array):
    """An array on a device of OpenCL."""

    __slots__ = ()


class OpenCLMachine(Machine):
    """One device with what is needed to work on it; see :class:`mxcore_device.machine.Machine`.

    Attributes
    ----------
    device, context, queue : pyopencl objects; the queue runs commands in order
    gpu : bool
        As told by the type of the device; ``MXCORE_OPENCL_ROUTE=gpu`` (or ``cpu``) decides otherwise.
    is_cpu : bool
        The device is a CPU: its memory is the host's.
    """

    backend = "opencl"
    array_type = OpenCLArray

    def __init__(self, index: int, device: Any) -> None:
        import pyopencl as cl
        from pyopencl.tools import ImmediateAllocator, MemoryPool

        super().__init__(index)
        self.device, self.title = device, device.name.strip()
        try:
            self.context = cl.Context([device])
            self.queue = cl.CommandQueue(self.context)
        except cl.Error as error:
            raise explain(self, error) from error
        self.pool = MemoryPool(ImmediateAllocator(self.queue))
        route = config("MXCORE_OPENCL_ROUTE")
        self.is_cpu = bool(device.type & cl.device_type.CPU)
        self.gpu = route == "gpu" if route else not self.is_cpu
        self.fp64 = "cl_khr_fp64" in device.extensions
        self.parameter_bytes = int(device.max_parameter_size)
        self.largest = int(device.max_mem_alloc_size)
        self._windows: dict[int, _Window] = {}  # memory that the host has mapped, by address

    def __repr__(self) -> str:
        return f"<OpenCL device {self.index}: {self.title} of {self.device.platform.name.strip()}>"

    def take(self, nbytes: int) -> Any:
        """Memory from the pool."""
        import pyopencl as cl

        if nbytes > self.largest:
            raise OutOfMemoryError(f"an array of {nbytes:,} bytes does not fit on {self!r}: one allocation may have at most "
                                   f"{self.largest:,} bytes there")
        try:
            return self.pool.allocate(max(nbytes, 8))
        except cl.Error:
            self.pool.free_held()  # and once more, now that nothing is held back
        try:
            return self.pool.allocate(max(nbytes, 8))
        except cl.Error as error:
            raise explain(self, error, f"allocating {nbytes:,} bytes") from error

    def put(self, memory: Any, data: np.ndarray) -> None:
        """Waits until it is done."""
        import pyopencl as cl

        try:
            cl.enqueue_copy(self.queue, memory, data, is_blocking=True)
        except cl.Error as error:
            raise explain(self, error, f"copying {data.size:,} bytes to it") from error

    def transfer(self, target: Any, to: int, source: Any, at: int, nbytes: int) -> None:
        """Does not wait."""
        import pyopencl as cl

        try:
            cl.enqueue_copy(self.queue, target, source, byte_count=nbytes, src_offset=at, dst_offset=to)
        except cl.Error as error:
            raise explain(self, error, f"copying {nbytes:,} bytes") from error

    @contextmanager
    def shown(self, a: Array) -> Iterator[np.ndarray]:
        """Where it is, without a copy, if the device is a CPU; waits for what computes it."""
        if not a.size:
            yield np.empty(a.shape, a.dtype)
            return
        key, size = a.memory.int_ptr, a.dtype.itemsize
        with self.lock:
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = _Window(self, a.memory)
            else:
                self.finish()  # a kernel may have been enqueued since it was mapped
            window.users += 1
        try:
            yield np.ndarray(a.shape, a.dtype, window.bytes, a.offset * size, [s * size for s in a.strides])
        finally:
            with self.lock:
                window.users -= 1
                if not window.users:
                    del self._windows[key]
                    window.bytes.base.release(self.queue)

    def compile(self, source: str, names: Iterable[str]) -> list[Any]:
        """From the cache on disk where the program has been built before."""
        import pyopencl as cl

        try:
            with warnings.catch_warnings():  # remarks of a compiler on generated text
                warnings.simplefilter("ignore", cl.CompilerWarning)
                program = cl.Program(self.context, source).build()
            return [cl.Kernel(program, name) for name in names]
        except cl.Error as error:
            raise explain(self, error, "building a program", source) from error

    def start(self, kernel: Any, count: int, *arguments: Any) -> None:
        """Does not wait."""
        import pyopencl as cl

        with self.lock:
            try:
                number = kernel._set_arg_buf  # 40 times as fast as set_arg, which tries other kinds first
                for i, a in enumerate(arguments):
                    if type(a) is bytes:
                        number(i, a)
                    else:
                        kernel.set_arg(i, a)
                cl.enqueue_nd_range_kernel(self.queue, kernel, (-(-count // LOCAL_SIZE) * LOCAL_SIZE,), (LOCAL_SIZE,))
            except cl.Error as error:
                raise explain(self, error, f"running kernel {kernel.function_name}") from error

    def finish(self) -> None:
        """Empties the queue."""
        import pyopencl as cl

        try:
            self.queue.finish()
        except cl.Error as error:
            raise explain(self, error, "waiting") from error


class _Window:
    """A buffer that is mapped, and by how many: drivers do not count (PoCL refuses to unmap twice)."""

    def __init__(self, machine: OpenCLMachine, memory: Any) -> None:
        import pyopencl as cl

        flags = cl.map_flags.READ | cl.map_flags.WRITE
        try:
            self.bytes, _ = cl.enqueue_map_buffer(machine.queue, memory, flags, 0, (memory.size,), np.uint8)
        except cl.Error as error:
            raise explain(machine, error, "mapping an array") from error
        self.users = 0


_MACHINES: dict[int, OpenCLMachine] = {}
_LOCK = threading.Lock()


def machine(index: int) -> OpenCLMachine:
    """The device of a number, opened at first use."""
    with _LOCK:
        if index not in _MACHINES:
            _MACHINES[index] = OpenCLMachine(index, devices()[index])
        return _MACHINES[index]


def opened() -> list[OpenCLMachine]:
    """The devices in use by this process."""
    return list(_MACHINES.values())


def explain(where: OpenCLMachine, error: Exception, doing: str = "", source: str = "") -> MXNetError:
    """An error of the driver as one of mxcore's, with what a person can do about it."""
    text, name = str(error), where.title
    at = f" while {doing}" if doing else ""
    if source:
        return MXNetError(f"the compiler of {name!r} refuses a generated program{at}. This is a bug of mxcore-opencl or of the "
                          f"driver (version {where.device.driver_version}).\n{_log(text)}\n{_lines(text, source)}")
    if isinstance(error, MemoryError) or any(word in text for word in _OUT_OF_MEMORY):
        total = where.device.global_mem_size
        return OutOfMemoryError(f"{name!r} is out of memory{at}: {_log(text)}. Its memory is {total:,} bytes; use "
                                "smaller batches, or let go of arrays and call ctx.empty_cache()")
    if any(word in text for word in _LOST):
        return MXNetError(f"{name!r} was lost{at}: {_log(text)}. Drivers reset a device whose kernel failed or took too long; "
                          "what was on it is gone, and the process has to be started again")
    return MXNetError(f"{name!r} failed{at}: {_log(text)}")


def _log(text: str) -> str:
    """What the driver says, without repetitions and not at length."""
    lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip() and "(source saved as" not in line)
    return "\n".join(list(lines)[:12])


def _lines(text: str, source: str) -> str:
    """The lines of the source that the compiler complains about."""
    lines = source.splitlines()
    wanted = dict.fromkeys(int(n) for line in text.splitlines() if "error" in line for n in re.findall(r":(\d+):\d+:", line))
    return "\n".join(f"line {n}: {lines[n - 1].strip()}" for n in list(wanted)[:5] if n <= len(lines))
