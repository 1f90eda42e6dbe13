"""GNU OpenMP, whose threads compute for kernels that are written in C."""

import ctypes
import functools
import os

__all__ = ["openmp"]

#: turns that an idle worker makes before it sleeps: some 0.2 s, as in the OpenMP of Intel and LLVM. To wake one that sleeps
#: costs a virtual machine more time than most steps of a network take
_SPINS = "3000000"


@functools.cache
def openmp() -> ctypes.CDLL:
    """The library, loaded so that its idle workers stay awake from step to step.

    ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` in the environment decide otherwise.

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
