"""CUDA on the host, for tests: the part of CuPy, NVRTC and cuBLAS that the backend uses, with programs compiled by g++.

The programs are those that run on a graphics processor, prelude included; the instructions of half precision alone are
replaced. Blocks run one after the other, their threads in turn. So everything of the backend runs but the drivers.
"""

from __future__ import annotations

import ctypes as C
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CACHE = Path(tempfile.gettempdir()) / f"mxcore-hostcuda-{hashlib.sha256((HERE / 'device.h').read_bytes()).hexdigest()[:12]}"
DEVICES = 2
ALIGNED = 512  # bytes, as memory of CuPy's pools is
_PTX = ((r'asm\("cvt\.f32\.f16[^:]*: "=f"\((\w+)\) : "h"\((.*?)\)\);', r"\1 = from_half(\2);"),
        (r'asm\("cvt\.rn\.f16\.f(?:32|64)[^:]*: "=h"\((.*?)\) : "[fd]"\((\w+)\)\);', r"\1 = to_half(\2);"))


def available() -> bool:
    """Whether there is a compiler."""
    return shutil.which("g++") is not None and sys.platform == "linux"


def build(text: str) -> bytes:
    """A shared library from C++, kept for the next time."""
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"{hashlib.sha256(text.encode()).hexdigest()}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            source, made = Path(folder, "program.cpp"), Path(folder, "program.so")
            source.write_text(text)
            command = ["g++", "-std=c++17", "-O0", "-w", "-fno-strict-aliasing", "-ffp-contract=off", "-fPIC", "-shared",
                       "-I", HERE]
            done = subprocess.run([*command, source, "-o", made], capture_output=True, text=True)
            if done.returncode:
                raise NVRTCError(done.stderr)
            made.rename(path)
    return path.read_bytes()


class NVRTCError(RuntimeError):
    """A program does not compile."""


class CUDARuntimeError(RuntimeError):
    """A call of the runtime failed."""


class CUDADriverError(RuntimeError):
    """A call of the driver failed."""


class OutOfMemoryError(MemoryError):
    """No memory is left."""


# ---------------------------------------------------------------- memory
class MemoryPointer:
    """An address in memory that lives as long as this does."""

    live = 0
    limit: int | None = None

    def __init__(self, owner: Any, ptr: int) -> None:
        self.owner, self.ptr = owner, ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.owner, self.ptr + offset)

    def copy_from_host_async(self, address: C.c_void_p, nbytes: int, stream: Stream) -> None:
        """From there to here."""
        Stream.do(C.memmove, self.ptr, address, nbytes)

    def copy_to_host_async(self, address: C.c_void_p, nbytes: int) -> None:
        """From here to there."""
        Stream.do(C.memmove, address, self.ptr, nbytes)

    def copy_from_device_async(self, source: MemoryPointer, nbytes: int) -> None:
        """From another place of the device."""
        Stream.do(C.memmove, self.ptr, source.ptr, nbytes)


class _Memory:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = 0  # for __del__, if there is no such room
        try:
            self.room = (C.c_char * (nbytes + ALIGNED))()
        except (MemoryError, OverflowError) as error:
            raise OutOfMemoryError from error
        self.nbytes, self.start = nbytes, -(-C.addressof(self.room) // ALIGNED) * ALIGNED
        MemoryPointer.live += nbytes

    def __del__(self) -> None:
        MemoryPointer.live -= self.nbytes


class MemoryPool:
    """Memory that is used again, with something in it that no kernel should read."""

    def __init__(self) -> None:
        self.all: list[_Memory] = []
        self.free: dict[int, list[_Memory]] = {}

    def malloc(self, nbytes: int) -> MemoryPointer:
        """A block of the pool."""
        free = self.free.setdefault(nbytes, [])
        memory = free.pop() if free else _Memory(nbytes)
        if memory not in self.all:
            self.all.append(memory)
        return MemoryPointer(_Lease(memory, free), memory.start)


class _Lease:
    def __init__(self, memory: _Memory, free: list[_Memory]) -> None:
        self.memory, self.free = memory, free

    def __del__(self) -> None:
        self.free.append(self.memory)


#: where memory comes from
allocators: list[Any] = []


@contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    """Memory comes from there, in the block."""
    allocators.append(allocator)
    try:
        yield
    finally:
        allocators.pop()


# ---------------------------------------------------------------- streams
class Event:
    """A mark in a stream."""

    def __init__(self, disable_timing: bool = False) -> None:
        self.recorded = False

    def record(self, stream: Stream) -> None:
        """Set it."""
        self.recorded = True


class Stream:
    """What is launched on it is done at once, or recorded."""

    ptr = 0
    recording: list | None = None
    broken = False
    replays = 0

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr = 1

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    @staticmethod
    def do(function: Any, *arguments: Any) -> None:
        """Now, or at each replay."""
        if Stream.recording is None:
            function(*arguments)
        else:
            Stream.recording.append((function, arguments))

    @staticmethod
    def wait() -> None:
        """For what was launched."""
        if Stream.recording is not None:
            Stream.broken = True
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing")

    synchronize = wait

    def wait_event(self, event: Event) -> None:
        """Everything is done at once, so events are past when they are waited for; they must have been recorded."""
        if not event.recorded:
            raise CUDARuntimeError("cudaErrorInvalidValue: the event was not recorded")

    def begin_capture(self) -> None:
        """Record from now on."""
        Stream.recording, Stream.broken = [], False
        for one in LIBRARIES.values():
            one.record(True)

    def end_capture(self) -> Any:
        """What was recorded."""
        steps, Stream.recording = Stream.recording, None
        for one in LIBRARIES.values():
            one.record(False)
        if Stream.broken:
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture")

        def launch(stream: Any) -> None:
            Stream.replays += 1
            for function, arguments in steps or ():
                function(*arguments)

        return types.SimpleNamespace(launch=launch)


def alloc(nbytes: int) -> MemoryPointer:
    """Memory, with something in it that no kernel should read."""
    if allocators:
        return allocators[-1](nbytes)
    if MemoryPointer.limit is not None and MemoryPointer.live + nbytes > MemoryPointer.limit:
        raise OutOfMemoryError
    memory = _Memory(nbytes)
    C.memset(memory.start, 0xA5, nbytes)
    return MemoryPointer(memory, memory.start)


class ndarray(np.ndarray):
    """An array of CuPy, which is one of NumPy here."""

    def __new__(cls, shape: tuple, dtype: Any, memptr: MemoryPointer, strides: tuple) -> ndarray:
        """At a place in memory; the strides may be negative or zero."""
        interface = {"shape": shape, "typestr": f"|V{np.dtype(dtype).itemsize}", "strides": strides, "version": 3,
                     "data": (memptr.ptr, False)}
        holder = types.SimpleNamespace(__array_interface__=interface, keep=memptr)
        return np.asarray(holder).view(np.dtype(dtype)).view(cls)

    @property
    def data(self) -> MemoryPointer:  # type: ignore[override]
        """Where it is."""
        return MemoryPointer(self, self.ctypes.data)

    @property
    def device(self) -> Any:
        """The first."""
        return types.SimpleNamespace(id=0)


# ---------------------------------------------------------------- programs
class _Program:
    def __init__(self, text: str) -> None:
        self.text, self.code, self.log = text, b"", ""


def compile_program(program: _Program, options: tuple[str, ...]) -> None:
    """Machine code of the host."""
    text = program.text
    folder = os.environ.get("MXCORE_HOSTCUDA_PROGRAMS")
    if folder:  # for compile_all.py
        source = text[text.index('#line 1 "program.cl"\n') + len('#line 1 "program.cl"\n') :]
        Path(folder, f"{hashlib.sha256(source.encode()).hexdigest()}.cl").write_text(source)
    for pattern, replacement in _PTX:
        text = re.sub(pattern, replacement, text)
    launchers = []
    for name, rest in re.findall(r"__kernel[^;{]*?void\s+(\w+)\((.*?)(?=__kernel|\Z)", text, re.S):
        together = "true" if "barrier(" in rest else "false"
        launchers.append(f'extern "C" void launch_{name}(void **p, unsigned grid, unsigned block) '
                         f"{{ run({name}, p, grid, block, {together}); }}\n"
                         f'extern "C" int sizes_{name}(int *sizes) {{ return sizes_of({name}, sizes); }}')
    try:
        program.code = build("\n".join(['#include "device.h"', text, *launchers]))
    except NVRTCError as error:
        program.log = str(error).replace("program.cl:", "program.cl(").replace(": error", "): error")
        program.log = re.sub(r"program\.cl\((\d+):\d+\)", r"program.cl(\1)", program.log)
        raise NVRTCError("NVRTC_ERROR_COMPILATION (6)") from error


#: address of a kernel to the function that calls it, and what tells the sizes of its arguments
FUNCTIONS: dict[int | None, tuple[Any, Any]] = {}


class Function:
    """A kernel; its address is that of a function which calls it for all threads."""

    def __init__(self, launcher: Any, sizes: Any) -> None:
        self.ptr = C.cast(launcher, C.c_void_p).value
        launcher.argtypes = (C.c_void_p, C.c_uint, C.c_uint)
        FUNCTIONS[self.ptr] = launcher, sizes


class Module:
    """A program that was loaded."""

    def load(self, code: bytes) -> None:
        """From machine code."""
        path = CACHE / f"{hashlib.sha256(code).hexdigest()}.loaded.so"
        if not path.exists():
            path.write_bytes(code)
        self.library = C.CDLL(str(path))

    def get_function(self, name: str) -> Function:
        """A kernel by name."""
        counted = getattr(self.library, f"sizes_{name}")

        def sizes() -> list[int]:
            many = (C.c_int * 64)()
            return many[: counted(many)]

        return Function(getattr(self.library, f"launch_{name}"), sizes)


def launch_kernel(f: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int, params: int,
                  extra: int) -> None:
    """All threads of all blocks."""
    if (gy, gz, by, bz, shared, extra) != (1, 1, 1, 1, 0, 0) or not 0 < gx < 1 << 31:
        raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
    function, arguments = FUNCTIONS[f]
    sizes = arguments()
    places = [C.cast(params, C.POINTER(C.c_void_p))[k] for k in range(len(sizes))]
    values = [C.create_string_buffer(C.string_at(p, n), n) for p, n in zip(places, sizes, strict=True)]  # as they are now
    copied = (C.c_void_p * max(len(values), 1))(*[C.addressof(v) for v in values])
    Stream.do(lambda *_: function(copied, gx, bx), values)


# ---------------------------------------------------------------- modules
class _Runtime:
    """``cupy.cuda.runtime`` with two devices, which share the host's memory."""

    CUDARuntimeError = CUDARuntimeError
    current = 0

    def getDeviceCount(self) -> int:
        return DEVICES

    def getDeviceProperties(self, index: int) -> dict:
        return {"name": b"Host", "major": 9, "minor": 0}

    def setDevice(self, index: int) -> None:
        self.current = index

    def getDevice(self) -> int:
        return self.current

    def memGetInfo(self) -> tuple[int, int]:
        return (1 << 34) - MemoryPointer.live, 1 << 34

    def streamIsCapturing(self, stream: int) -> bool:
        return Stream.recording is not None

    def memcpyAsync(self, target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        if kind != 3:
            raise CUDARuntimeError("cudaErrorInvalidMemcpyDirection: invalid copy direction for memcpy")
        Stream.do(C.memmove, target, source, nbytes)

    def deviceSynchronize(self) -> None:
        Stream.wait()

    def runtimeGetVersion(self) -> int:
        return 13000


class _Recorder:
    """Calls of a library, put among what a stream records."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.heard = C.CFUNCTYPE(None, C.c_int)(lambda k: Stream.do(library.host_replay, k))
        library.host_heard(self.heard)
        self.record = library.host_record


LIBRARIES: dict[str, _Recorder] = {}
#: libraries that are not to be found
missing: set[str] = set()


def library(name: str) -> Any:
    """The host's cuBLAS or cuDNN."""
    if name in missing:
        raise LookupError(name)
    code = build("".join(p.read_text() for p in (HERE / f"{name}.cpp", *HERE.glob(f"{name}_*.cpp"))))
    path = CACHE / f"lib{name}.{hashlib.sha256(code).hexdigest()}.so"  # another tree's tests may have another one loaded
    if not path.exists():
        path.write_bytes(code)
    if name not in LIBRARIES:
        LIBRARIES[name] = _Recorder(C.CDLL(str(path)))
    return types.SimpleNamespace(abs_path=str(path))


def modules() -> dict[str, types.ModuleType]:
    """What to put into ``sys.modules``."""
    cupy, cuda, nvrtc = (types.ModuleType(n) for n in ("cupy", "cupy.cuda", "cupy.cuda.nvrtc"))
    stream = Stream()
    pool = types.SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None, used_bytes=lambda: MemoryPointer.live,
                                 total_bytes=lambda: MemoryPointer.live)
    vars(nvrtc).update(
        NVRTCError=NVRTCError, getVersion=lambda: (13, 0, "host", hashlib.sha256((HERE / "device.h").read_bytes()).hexdigest()),
        getSupportedArchs=lambda: [75, 80, 90, 100], createProgram=lambda text, name, headers, names: _Program(text),
        compileProgram=compile_program, getCUBIN=lambda p: p.code, getProgramLog=lambda p: p.log, destroyProgram=lambda p: None)
    vars(cuda).update(
        runtime=_Runtime(), driver=types.SimpleNamespace(launchKernel=launch_kernel, CUDADriverError=CUDADriverError),
        alloc=alloc, memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError), nvrtc=nvrtc,
        function=types.SimpleNamespace(Module=Module), get_current_stream=lambda: stream, Stream=Stream, Event=Event,
        MemoryPool=MemoryPool, using_allocator=using_allocator, __path__=[])

    def array(function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            found = function(*args, **kwargs)
            if isinstance(found, tuple):
                return tuple([np.asarray(x).view(ndarray) for x in found])
            return np.asarray(found).view(ndarray)

        return called

    vars(cupy).update({name: array(getattr(np, name)) for name in (
        "sort", "argsort", "unique", "searchsorted", "bincount", "nonzero", "moveaxis", "from_dlpack")})
    vars(cupy).update(__version__="14.0", __path__=[], cuda=cuda, ndarray=ndarray, get_default_memory_pool=lambda: pool,
                      ascontiguousarray=lambda a: np.array(a, order="C", copy=None).view(ndarray))
    outer, finder = types.ModuleType("cuda"), types.ModuleType("cuda.pathfinder")
    vars(outer).update(__path__=[], pathfinder=finder)
    vars(finder).update(load_nvidia_dynamic_lib=library, DynamicLibNotFoundError=LookupError)
    return {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.nvrtc": nvrtc, "cuda": outer, "cuda.pathfinder": finder}
