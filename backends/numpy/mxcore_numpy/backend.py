"""The backend object: memory, transfer, random numbers."""

import ctypes
import os
import sys
import warnings
from typing import Any, ClassVar

import numpy as np

from mxcore.base import config
from mxcore.registry.bound import Spec, plain_order

from .xp import XP

# overflow, division by zero and nan are values to MXNet programs, not warnings
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"mxcore(_numpy)?\b")


def _keep_freed_memory() -> None:
    """Ask glibc to keep what arrays free instead of giving it back to the system at once.

    By default a large result costs a page fault for every 4 KiB of it each time, which rivals the arithmetic: SGD and
    Adam on a 256 x 256 weight took five times as long. Elsewhere than on glibc nothing is changed.
    """
    if not sys.platform.startswith("linux") or config("MXCORE_KEEP_MEMORY") == "0":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library, which has no such setting
    mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, at the highest value that glibc takes
    mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


def _limit_threads() -> None:
    """``MXCORE_NUM_THREADS`` limits the threads of the BLAS library that NumPy uses."""
    wanted = os.environ.get("MXCORE_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(wanted), user_api="blas")


class NumpyBackend:
    """See :class:`mxcore.runtime.backend.Backend`."""

    name: ClassVar[str] = "numpy"
    array_type = np.ndarray

    def __init__(self) -> None:
        self.xp = XP
        _keep_freed_memory()
        _limit_threads()

    def device_count(self) -> int:
        """One: all numbers of ``mx.cpu(i)`` are the same memory."""
        return 1

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, index: int) -> np.ndarray:
        """Uninitialised memory."""
        return np.empty(shape, dtype)

    def allocate(self, spec: Spec) -> np.ndarray:
        """Uninitialised memory in a given order of axes."""
        plain = np.empty([spec.shape[a] for a in spec.order], spec.dtype)
        return plain.transpose(np.argsort(spec.order)) if spec.order != plain_order(plain.ndim) else plain

    def block(self, nbytes: int, index: int) -> np.ndarray:
        """Memory for a program's values, aligned for vector registers."""
        memory = np.empty(nbytes + 64, np.uint8)
        start = -memory.__array_interface__["data"][0] % 64
        return memory[start : start + nbytes]

    def place(self, block: np.ndarray, offset: int, spec: Spec) -> np.ndarray:
        """An array that lies in a block."""
        return np.ndarray(spec.shape, spec.dtype, block, offset, spec.strides)

    def from_host(self, array: np.ndarray, index: int) -> np.ndarray:
        """A contiguous copy."""
        return np.array(array, order="C", copy=True)

    def to_host(self, raw: np.ndarray) -> np.ndarray:
        """A copy."""
        return np.array(raw, order="C", copy=True)

    def asarray(self, value: Any) -> np.ndarray:
        """NumPy's full reductions give scalars; they become arrays."""
        return np.asarray(value)

    def own(self, raw: np.ndarray) -> np.ndarray:
        """A view becomes a contiguous copy."""
        if raw.base is None and raw.flags.c_contiguous:
            return raw
        return np.array(raw, order="C", copy=True)

    def synchronize(self, index: int | None = None) -> None:
        """Nothing to wait for: NumPy computes when it is called."""

    def rng(self, seed: int, index: int) -> np.random.Generator:
        """PCG64, a stream a device."""
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))

    def memory_info(self, index: int) -> tuple[int, int]:
        """Free and total bytes of the host."""
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")

    def empty_cache(self, index: int) -> None:
        """Give back what glibc keeps for the next arrays."""
        if sys.platform.startswith("linux"):
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)

    def to_dlpack(self, raw: np.ndarray, **options: Any) -> Any:
        """A capsule."""
        return raw.__dlpack__(**options)

    def dlpack_device(self, raw: np.ndarray) -> tuple[int, int]:
        """The CPU."""
        return raw.__dlpack_device__()

    def from_dlpack(self, value: Any) -> np.ndarray:
        """Shares memory."""
        device = getattr(value, "__dlpack_device__", lambda: (1, 0))()
        try:
            capsule = value.__dlpack__(max_version=(1, 0))
        except TypeError:  # a library that knows nothing newer than DLPack 0
            capsule = value.__dlpack__()
        host = np.from_dlpack(_Exported(capsule, device))
        if host.flags.writeable or "versioned" in repr(capsule):  # version 1 says whether memory may be written
            return host
        return np.asarray(_Writable(host))


class _Exported:
    """A capsule that is there already, in the form in which NumPy asks for one."""

    def __init__(self, capsule: Any, device: tuple[int, int]) -> None:
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class _Writable:
    """Memory that NumPy took for read-only because DLPack 0 does not say; it lives as long as the array made of this."""

    def __init__(self, host: np.ndarray) -> None:
        self.host = host
        self.__array_interface__ = {**host.__array_interface__, "data": (host.__array_interface__["data"][0], False)}
