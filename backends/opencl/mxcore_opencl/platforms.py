"""Platforms and devices: found at first use, graphics processors first; the queue, pool and programs of each."""

from __future__ import annotations

import re
import threading
import warnings
from collections import OrderedDict
from functools import cache
from typing import Any

import numpy as np

from mxcore.base import config
from mxcore.errors import BackendMissingError, MXNetError, OutOfMemoryError

__all__ = ["LOCAL_SIZE", "Machine", "count_of", "devices", "explain", "machine", "machine_count", "opened"]

#: work-items in a group, everywhere: PoCL compiles a kernel anew for each size
LOCAL_SIZE = 64

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


class Machine:
    """One device with what is needed to work on it.

    Attributes
    ----------
    index : int
    device, context, queue : pyopencl objects; the queue runs commands in order
    gpu : bool
        Kernels are made for a graphics processor: products of matrices run on the device. On a CPU they go through mapped
        memory to NumPy, which is far faster there. ``MXCORE_OPENCL_ROUTE=gpu`` (or ``cpu``) decides otherwise.
    is_cpu : bool
        The device is a CPU: its memory is the host's.
    xp : Functions
        What kernels call.
    fp64 : bool
        The device has double precision.
    lock : threading.RLock
        Held while the arguments of a kernel are set and it is enqueued.
    """

    def __init__(self, index: int, device: Any) -> None:
        import pyopencl as cl
        from pyopencl.tools import ImmediateAllocator, MemoryPool

        self.index, self.device = index, device
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
        self.largest = int(device.max_mem_alloc_size)
        self.lock = threading.RLock()
        self.windows: dict[int, Any] = {}  # memory that the host has mapped, by address
        self._kernels: dict[Any, Any] = {}
        self._numbers: OrderedDict[Any, Any] = OrderedDict()
        from .xp import Functions

        self.xp = Functions(self)

    def __repr__(self) -> str:
        return f"<OpenCL device {self.index}: {self.device.name.strip()} of {self.device.platform.name.strip()}>"

    def allocate(self, nbytes: int) -> Any:
        """Memory from the pool.

        Raises
        ------
        OutOfMemoryError
        """
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

    def kernel(self, key: Any, make: Any) -> Any:
        """The kernel called ``key``; ``make()`` gives the source of a program and the keys of the kernels in it by name."""
        found = self._kernels.get(key)
        if found is None:
            with self.lock:
                if key not in self._kernels:
                    source, names = make()
                    program = self.build(source)
                    import pyopencl as cl

                    for k, name in names.items():
                        self._kernels[k] = cl.Kernel(program, name)
                found = self._kernels[key]
        return found

    def build(self, source: str) -> Any:
        """A program, from the cache on disk where it has been built before.

        Raises
        ------
        MXNetError
            With the compiler's messages and the lines that they mean.
        """
        import pyopencl as cl

        try:
            with warnings.catch_warnings():  # remarks of a compiler on generated text
                warnings.simplefilter("ignore", cl.CompilerWarning)
                return cl.Program(self.context, source).build()
        except cl.Error as error:
            raise explain(self, error, "building a program", source) from error

    def launch(self, kernel: Any, count: int, *arguments: Any) -> None:
        """Enqueue ``count`` work-items (rounded up). Arguments are memory objects, or numbers and structures as bytes."""
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
        """Wait for all that was enqueued."""
        import pyopencl as cl

        try:
            self.queue.finish()
        except cl.Error as error:
            raise explain(self, error, "waiting") from error

    def number(self, value: Any, dtype: np.dtype, make: Any) -> Any:
        """A number as an array of the device, made once: the next use finds it there."""
        key = (np.asarray(value).tobytes() if isinstance(value, float) and not value else value), dtype
        found = self._numbers.get(key)
        if found is None:
            with self.lock:
                found = self._numbers[key] = make(np.asarray(value).astype(dtype))
                if len(self._numbers) > 4096:
                    self._numbers.popitem(last=False)
        return found


_MACHINES: dict[int, Machine] = {}
_LOCK = threading.Lock()


def machine(index: int) -> Machine:
    """The device of a number, opened at first use."""
    with _LOCK:
        if index not in _MACHINES:
            _MACHINES[index] = Machine(index, devices()[index])
        return _MACHINES[index]


def opened() -> list[Machine]:
    """The devices in use by this process."""
    return list(_MACHINES.values())


def explain(where: Machine, error: Exception, doing: str = "", source: str = "") -> MXNetError:
    """An error of the driver as one of mxcore's, with what a person can do about it."""
    text, name = str(error), where.device.name.strip()
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
