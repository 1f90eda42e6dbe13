"""Devices of CUDA: memory of CuPy's pools, launches on CuPy's current stream, errors that name what was running."""

from __future__ import annotations

import ctypes as C
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import accumulate
from struct import pack
from typing import Any

import numpy as np

from mxcore.base import config
from mxcore.errors import BackendMissingError, MXNetError, OutOfMemoryError
from mxcore_device.arrays import Array
from mxcore_device.machine import Machine
from mxcore_device.source import LOCAL_SIZE

from .compiler import architecture_for, compiled
from .repeats import ALIGNED, DEVICE_TO_DEVICE, CudaRepeat

__all__ = ["CudaArray", "CudaMachine", "Kernel", "count", "describe", "machine", "opened", "taken", "view"]

#: launches of which the names are kept, for the message of an error that surfaces later
_REMEMBERED = 16
_OUT_OF_MEMORY = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY")


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise BackendMissingError(f"CuPy cannot be imported ({error}); pip install mxcore[cuda13], or mxcore[cuda12] for a "
                                  "driver older than 580") from error
    return cupy


@cache
def count() -> int:
    """How many devices there are.

    Raises
    ------
    BackendMissingError
        CuPy or the driver is missing, or sees no device; says what to do.
    """
    cupy = _cupy()
    try:
        found = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendMissingError(f"CuPy {cupy.__version__} finds no device: {error}. Is there an NVIDIA driver, and is it new "
                                  "enough for this CUDA version (nvidia-smi shows both)?") from error
    if not found:
        raise BackendMissingError(f"CuPy {cupy.__version__} finds no device; CUDA_VISIBLE_DEVICES may hide them")
    return found


def describe() -> str:
    """Versions and devices in a line."""
    from .dnn import version as cudnn

    cupy, number, found = _cupy(), count(), cudnn()
    runtime = cupy.cuda.runtime
    names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(number)]
    version = runtime.runtimeGetVersion()
    cuda = f"CUDA {version // 1000}.{version % 1000 // 10}"
    return f"CuPy {cupy.__version__}, {cuda}, {f'cuDNN {found}' if found else 'without cuDNN'}: {', '.join(names)}"


class Kernel:
    """A kernel that was compiled, and room for its arguments."""

    __slots__ = ("function", "name", "pointers", "room", "sizes")

    def __init__(self, function: Any, name: str) -> None:
        self.function, self.name = function, name
        self.sizes: tuple[int, ...] = ()

    def fit(self, sizes: tuple[int, ...]) -> None:
        """Make room for arguments of these sizes in bytes; the driver is given the address of each."""
        places = [0, *accumulate(-(-n // 8) * 8 for n in sizes)]
        self.room = (C.c_char * max(places[-1], 8))()
        start = C.addressof(self.room)
        self.pointers = (C.c_void_p * max(len(sizes), 1))(*[start + p for p in places[:-1]])
        self.sizes = sizes


class CudaArray(Array):
    """An array on a device of CUDA."""

    __slots__ = ()


class CudaMachine(Machine):
    """One device; see :class:`mxcore_device.machine.Machine`.

    All work goes to the current stream of the calling thread (``cupy.cuda.get_current_stream()``), and memory to CuPy's pool,
    so that programs which use CuPy beside mxcore share both.
    """

    backend = "cupy"
    array_type = CudaArray
    fp64 = gpu = tables = biases = True
    parameter_bytes = 4096
    repeat = CudaRepeat

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.cupy = _cupy()
        properties = self.cupy.cuda.runtime.getDeviceProperties(index)
        self.title = properties["name"].decode()
        self.capability = int(properties["major"]) * 10 + int(properties["minor"])
        self.architecture = architecture_for(self.capability)
        #: wait for each kernel, so that an error comes from the line that caused it
        self.blocking = config("MXCORE_CUDA_BLOCKING") == "1"
        #: float32 products and convolutions may be computed in TensorFloat-32
        self.tf32 = config("MXCORE_CUDA_TF32") == "1"
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        #: the name of a kernel that is launched, for errors that surface later
        self.remember = self._recent.append
        self._set_device = self.cupy.cuda.runtime.setDevice
        self._get_device = self.cupy.cuda.runtime.getDevice
        self.failures = self.cupy.cuda.runtime.CUDARuntimeError, self.cupy.cuda.driver.CUDADriverError
        self._alloc = self.cupy.cuda.alloc
        #: of the driver and the runtime
        self.driver_launch, self.copy = self.cupy.cuda.driver.launchKernel, self.cupy.cuda.runtime.memcpyAsync
        self._stream = self.cupy.cuda.get_current_stream

    def __repr__(self) -> str:
        return f"<CUDA device {self.index}: {self.title}>"

    def enter(self) -> None:
        """Make this device the current one of the thread."""
        if self._get_device() != self.index:
            self._set_device(self.index)

    def current(self) -> Any:
        """CuPy's current stream of this thread; the device has to be the current one."""
        return self._stream()

    def event(self) -> Any:
        """A new event of this device."""
        self.enter()
        return self.cupy.cuda.Event(disable_timing=True)

    @property
    def stream(self) -> int:
        """The handle of the current stream."""
        return int(self._stream().ptr)

    def take(self, nbytes: int) -> Any:
        """Memory from CuPy's pool; what the pool holds free is given up before this fails."""
        if self._get_device() != self.index:
            self._set_device(self.index)
        try:
            return self._alloc(nbytes or 8)
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            free, total = self.cupy.cuda.runtime.memGetInfo()
            raise OutOfMemoryError(f"{self.title} is out of memory: {nbytes:,} bytes were asked for, {free:,} of {total:,} are "
                                   "free; use smaller batches, or let go of arrays and call ctx.empty_cache()") from error

    def put(self, memory: Any, data: np.ndarray) -> None:
        """From pageable memory, on the current stream: the driver has copied it aside when this returns."""
        self.enter()
        with self.errors(f"copying {data.size:,} bytes to it"):
            stream = self.current()
            if self.cupy.cuda.runtime.streamIsCapturing(stream.ptr):
                raise MXNetError("numbers of the host are copied to the device, and would be the same in each replay")
            memory.copy_from_host_async(C.c_void_p(data.ctypes.data), data.size, stream)

    def transfer(self, target: Any, to: int, source: Any, at: int, nbytes: int) -> None:
        """On the current stream."""
        self.enter()
        try:
            self.copy(target.ptr + to, source.ptr + at, nbytes, DEVICE_TO_DEVICE, self.stream)
        except self.failures as error:
            raise self.explained(error, f"copying {nbytes:,} bytes") from error

    @contextmanager
    def shown(self, a: Array) -> Iterator[np.ndarray]:
        """A copy on the host; waits for what computes it."""
        dense = a if a.dense else self.xp.copy(a)
        host = np.empty(a.shape, a.dtype)
        if a.size:
            self.enter()
            with self.errors("copying an array from it"):
                (dense.memory + dense.offset * a.dtype.itemsize).copy_to_host_async(C.c_void_p(host.ctypes.data), host.nbytes)
                self._stream().synchronize()
            self._recent.clear()
        host.flags.writeable = False
        yield host

    def compile(self, source: str, names: Iterable[str]) -> list[Any]:
        """Machine code for this device, from the disk where it has been made before."""
        self.enter()
        code = compiled(source, self.architecture)
        module = self.cupy.cuda.function.Module()
        with self.errors("loading a program"):
            module.load(code)
        return [Kernel(module.get_function(name), name) for name in names]

    def start(self, kernel: Any, count: int, *arguments: Any) -> None:
        """On the current stream; does not wait, unless ``MXCORE_CUDA_BLOCKING=1``."""
        self.enter()
        values = [a if type(a) is bytes else pack("Q", a.ptr) for a in arguments]
        sizes = tuple(map(len, values))
        with self.lock:
            if sizes != kernel.sizes:
                kernel.fit(sizes)
            room = b"".join([v if not len(v) % 8 else v.ljust(-(-len(v) // 8) * 8) for v in values])
            C.memmove(kernel.room, room, len(room))
            self.remember(kernel.name)
            try:
                self.driver_launch(kernel.function.ptr, -(-count // LOCAL_SIZE), 1, 1, LOCAL_SIZE, 1, 1, 0, self.stream,
                             C.addressof(kernel.pointers), 0)
            except Exception as error:
                raise self.explained(error, f"running kernel {kernel.name}") from error
        if self.blocking:
            self.finish()

    def product(self, new: Array, a: Array, b: Array) -> bool:
        """By cuBLASLt."""
        from .blas import product

        return product(self, new, a, b)

    def dense(self, new: Array, x: Array, weight: Array, bias: Array | None) -> bool:
        """By cuBLASLt."""
        from .blas import dense

        return dense(self, new, x, weight, bias)

    def convolution(self, kind: str, new: Array, a: Array, b: Array, *attrs: Any) -> bool:
        """By cuDNN, where it is installed."""
        from .dnn import convolution

        return convolution(self, kind, new, a, b, *attrs)

    def perform(self, call: Callable[..., None], *places: tuple[Any, int]) -> None:
        """A call of a library: ``call(*addresses)``, which has all else it needs in it, of memory from these bytes on."""
        self.enter()
        call(*[memory.ptr + start for memory, start in places])
        tape = self.taping.tape
        if tape is not None:
            tape.noted("performed", call, places)

    def place(self, a: Array) -> tuple[Any, int]:
        """Where an array begins: for :meth:`perform`."""
        return a.memory, a.offset * a.dtype.itemsize

    def addresses(self, arrays: Sequence[Array]) -> list[int]:
        """Device addresses are numbers."""
        return [a.memory.ptr + a.offset * a.dtype.itemsize for a in arrays]

    def ordering(self, function: str) -> Callable[..., Any]:
        """By CuPy."""
        from .ordering import FUNCTIONS

        self.leave()
        return partial(FUNCTIONS[function], self.cupy)

    def shift(self, a: Array) -> int:
        """Bytes beyond an aligned address: kernels are given addresses, which may begin anywhere in a memory."""
        return a.offset * a.dtype.itemsize % ALIGNED

    def alone(self, arrays: tuple) -> tuple:
        """Each array in memory of its own, which begins at most :data:`~mxcore_cupy.repeats.ALIGNED` bytes before it."""
        return tuple([self._alone(a) if isinstance(a, Array) else a for a in arrays])

    def _alone(self, a: Array) -> Array:
        size, beyond = a.dtype.itemsize, self.shift(a)
        return CudaArray(self, a.memory + (a.offset * size - beyond), a.dtype, a.shape, None if a.whole else a.strides,
                         beyond // size)

    def finish(self) -> None:
        """Waits for all streams of the device; an error of a kernel surfaces here, with the names of the last ones."""
        self.enter()
        with self.errors("waiting"):
            self.cupy.cuda.runtime.deviceSynchronize()
        self._recent.clear()

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Errors of CUDA as ones of mxcore."""
        try:
            yield
        except self.failures as error:
            raise self.explained(error, doing) from error

    def explained(self, error: Exception, doing: str) -> MXNetError:
        """An error of CUDA as one of mxcore."""
        text = str(error)
        if any(word in text for word in _OUT_OF_MEMORY):
            return OutOfMemoryError(f"{self.title} is out of memory while {doing}: {text}")
        last = f" The last kernels were: {', '.join(self._recent)}." if self._recent else ""
        return MXNetError(f"{self.title} failed while {doing}: {text}.{last} Kernels run asynchronously: with "
                          "MXCORE_CUDA_BLOCKING=1 the error comes from the line that causes it. After it the process has to be "
                          "started again")


def view(a: Array) -> Any:
    """An array as one of CuPy, on the same memory.

    bfloat16 has CuPy's type of that name where it has one.
    """
    machine, size = a.machine, a.dtype.itemsize
    machine.enter()
    return machine.cupy.ndarray(a.shape, a.dtype, a.memory + a.offset * size, tuple([s * size for s in a.strides]))


def taken(where: CudaMachine, found: Any) -> CudaArray:
    """An array of CuPy on a device as one of ours, on the same memory.

    That may begin anywhere, while kernels rely on memory beginning at a multiple of :data:`~mxcore_cupy.repeats.ALIGNED`.
    """
    size = found.dtype.itemsize
    if found.data.ptr % size:
        found = found.copy()
    beyond = found.data.ptr % ALIGNED
    strides = tuple([s // size for s in found.strides])
    return CudaArray(where, found.data + -beyond, found.dtype, found.shape, strides, beyond // size)


_MACHINES: dict[int, CudaMachine] = {}
_LOCK = threading.Lock()


def machine(index: int) -> CudaMachine:
    """The device of a number, opened at first use."""
    with _LOCK:
        if index not in _MACHINES:
            count()
            _MACHINES[index] = CudaMachine(index)
        return _MACHINES[index]


def opened() -> list[CudaMachine]:
    """The devices in use by this process."""
    return list(_MACHINES.values())
