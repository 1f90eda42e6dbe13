"""The backend object: memory, transfer, random numbers."""

import os
import warnings
from typing import Any, ClassVar

import numpy as np

from .xp import XP

# overflow, division by zero and nan are values to MXNet programs, not warnings
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"mxcore(_numpy)?\b")


class NumpyBackend:
    """See :class:`mxcore.runtime.backend.Backend`."""

    name: ClassVar[str] = "numpy"
    array_type = np.ndarray

    def __init__(self) -> None:
        self.xp = XP

    def device_count(self) -> int:
        """One: all numbers of ``mx.cpu(i)`` are the same memory."""
        return 1

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, index: int) -> np.ndarray:
        """Uninitialised memory."""
        return np.empty(shape, dtype)

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
        """Nothing is held back."""

    def to_dlpack(self, raw: np.ndarray, **options: Any) -> Any:
        """A capsule."""
        return raw.__dlpack__(**options)

    def dlpack_device(self, raw: np.ndarray) -> tuple[int, int]:
        """The CPU."""
        return raw.__dlpack_device__()

    def from_dlpack(self, value: Any) -> np.ndarray:
        """Shares memory."""
        return np.from_dlpack(value)
