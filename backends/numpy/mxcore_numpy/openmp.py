"""GNU OpenMP, whose threads compute for kernels that are written in C."""

import ctypes
import functools
import os

__all__ = ["openmp"]

_SPINS = "1000"  # turns that an idle worker makes before it sleeps; by default it robs other threads of their cores


@functools.cache
def openmp() -> ctypes.CDLL:
    """The library, loaded so that its idle workers sleep soon.

    Raises
    ------
    OSError
        It is not there.
    """
    spins = "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ
    if spins:  # read while it is loaded
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    try:
        return ctypes.CDLL("libgomp.so.1")
    finally:
        if spins:  # not for the processes that this one starts
            del os.environ["GOMP_SPINCOUNT"]
