"""The shared library: where it is, loading it once, its functions with checked status, its threads.

``libdnnl.so.3`` of the wheel ``onednn-cpu-gomp`` computes with GNU OpenMP, which is loaded first, as
:mod:`mxcore_numpy.openmp` says. The number of its threads is a property of the calling thread: :class:`Thread` sets it.
"""

from __future__ import annotations

import ctypes as C
import functools
import os
import site
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

from mxcore.base import config, default_threads
from mxcore.errors import MXNetError
from mxcore_numpy.openmp import openmp

from .codes import Status

__all__ = ["OneDNNError", "Thread", "Threads", "Unsupported", "engine", "function", "instructions", "library", "locate",
           "missing", "threads", "version"]

DISTRIBUTION, FILE = "onednn-cpu-gomp", "libdnnl.so.3"
OVERRIDE = "MXCORE_ONEDNN_LIBRARY"


class OneDNNError(MXNetError):
    """A function of oneDNN failed."""


class Unsupported(OneDNNError):
    """oneDNN has no implementation for this call on this machine."""


# ---------------------------------------------------------------- finding
def locate() -> Path | None:
    """Path of the library, or None.

    ``MXCORE_ONEDNN_LIBRARY`` says where; otherwise the ``lib`` folders of the environment and of user installs, and
    the files that the wheel recorded.
    """
    named = config(OVERRIDE)
    if named:
        return Path(named) if Path(named).is_file() else None
    for prefix in (sys.prefix, site.getuserbase(), sys.base_prefix):
        path = Path(prefix, "lib", FILE)
        if path.is_file():
            return path
    try:
        files = metadata.files(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:
        return None
    return next((path for f in files if f.name == FILE and (path := Path(str(f.locate())).resolve()).is_file()), None)


def missing() -> str | None:
    """Why there is no library, as a sentence; None where there is one."""
    if locate() is None:
        named = config(OVERRIDE)
        if named:
            return f"{OVERRIDE}={named} is no file"
        return f"{FILE} was not found: pip install {DISTRIBUTION} (x86-64 Linux)"
    try:
        openmp()
    except OSError as error:
        return f"{FILE} needs GNU OpenMP of the system (package libgomp1 or libgomp): {error}"
    return None


@functools.cache
def library() -> C.CDLL:
    """The library, loaded at the first call.

    Raises
    ------
    OneDNNError
        It is not there or cannot be loaded.
    """
    reason = missing()
    if reason:
        raise OneDNNError(f"oneDNN is not to be had: {reason}")
    try:
        lib = C.CDLL(str(locate()))
    except OSError as error:
        raise OneDNNError(f"{locate()} cannot be loaded: {error}. MXCORE_PLUGINS names the plugins to use where this one is "
                          "not wanted") from error
    for destroy in (lib.dnnl_memory_destroy, lib.dnnl_stream_destroy):
        destroy.argtypes = (C.c_void_p,)  # takes the handle as a number, also while the interpreter shuts down
    return lib


@functools.cache
def function(name: str) -> Any:
    """A function of the C API that returns a status, as one that raises.

    Arguments must be ctypes values (:mod:`mxcore_onednn.primitive` makes them).
    """
    found = library()["dnnl_" + name]
    found.restype, found.errcheck = C.c_int, _check
    return found


def _check(status: Any, found: Any, arguments: tuple) -> Any:
    if status:
        failed(status, found.__name__)
    return status


def failed(status: int, name: str) -> None:
    """Raise what a status other than success means."""
    what = Status(status).name.lower().replace("_", " ") if status in Status._value2member_map_ else f"status {status}"
    raise (Unsupported if status == Status.UNIMPLEMENTED else OneDNNError)(f"oneDNN's {name} failed: {what}")


class _Version(C.Structure):
    _fields_ = [("major", C.c_int), ("minor", C.c_int), ("patch", C.c_int), ("hash", C.c_char_p)]


def version() -> str:
    """As ``"3.2.0"``."""
    get = library().dnnl_version
    get.restype = C.POINTER(_Version)
    v = get().contents
    return f"{v.major}.{v.minor}.{v.patch}"


@functools.cache
def instructions() -> int:
    """The instruction sets that oneDNN uses on this machine, as bits of its ``dnnl_cpu_isa_t``.

    ``ONEDNN_MAX_CPU_ISA`` in the environment takes some away.
    """
    return library().dnnl_get_effective_cpu_isa()


# ---------------------------------------------------------------- engine and threads
@functools.cache
def engine() -> C.c_void_p:
    """The CPU engine of this process."""
    made = C.c_void_p()
    function("engine_create")(C.byref(made), C.c_int(1), C.c_size_t(0))
    return made


class Thread:
    """What a Python thread has of its own: a stream, a scratchpad, and its number of OpenMP threads.

    Attributes
    ----------
    stream : int
        Handle of the stream.
    address, size : int
        The scratchpad, the same memory for all primitives of the thread; see :meth:`grow`.
    """

    __slots__ = ("_block", "_destroy", "address", "size", "stream")

    def __init__(self) -> None:
        openmp().omp_set_num_threads(C.c_int(default_threads()))
        made = C.c_void_p()
        function("stream_create")(C.byref(made), engine(), C.c_uint(1))
        self.stream, self._destroy = made.value, library().dnnl_stream_destroy
        self.address = self.size = 0

    def grow(self, size: int) -> None:
        """Make the scratchpad one of at least ``size`` bytes, on a cache line."""
        import numpy as np

        self._block = np.empty(size + 64, "uint8")
        self.address, self.size = -(-self._block.ctypes.data // 64) * 64, size

    def __del__(self) -> None:
        if hasattr(self, "stream"):  # not where the constructor raised
            self._destroy(self.stream)


class Threads(threading.local):
    """Has in ``mine`` the :class:`Thread` of the thread that asks."""

    def __init__(self) -> None:
        self.mine = Thread()


@functools.cache
def threads() -> Threads:
    """The threads of this process.

    OpenMP's workers do not survive a fork, and a child would wait for them for ever: they are sent home before one.
    """
    pause = getattr(openmp(), "omp_pause_resource_all", None)  # of OpenMP 5, GCC 9
    if pause is not None and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: pause(C.c_int(1)))
    return Threads()
