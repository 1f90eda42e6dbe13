"""GNU OpenMP's threads, those that oneDNN uses too."""

from __future__ import annotations

import ctypes
import functools
import os

from mxcore_numpy.openmp import openmp

__all__ = ["parallel_address"]

#: set in a forked child: the workers did not come along, and waiting for them would never end
_forked = False


def parallel_address() -> int:
    """Address of ``GOMP_parallel(function, data, threads, flags)``; 0 where it is not to be had."""
    return 0 if _forked else _found()


@functools.cache
def _found() -> int:
    try:
        library = openmp()
    except OSError:
        return 0
    return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value or 0


def _after_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)
