"""Memory of the device seen by NumPy, and functions that are computed that way: every one is counted.

On a CPU the memory is mapped where it is, without a copy; on a graphics processor the driver copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mxcore.errors import ContextError
from mxcore.runtime.fallback import count_routed, fall_back
from mxcore_numpy.xp import XP

from .buffer import Array, empty, from_host
from .platforms import explain

__all__ = ["elsewhere", "mapped", "on_host", "routed", "routed_operator", "to_host"]

BACKEND = "opencl"


def elsewhere(machine: Any, a: Array) -> ContextError:
    """The error for an array of another device."""
    return ContextError(f"arrays of different devices meet: {machine!r} and {a.machine!r}; use as_in_context")


class _Window:
    """A buffer that is mapped, and by how many: drivers do not count (PoCL refuses to unmap twice)."""

    def __init__(self, machine: Any, memory: Any) -> None:
        import pyopencl as cl

        flags = cl.map_flags.READ | cl.map_flags.WRITE
        try:
            self.bytes, _ = cl.enqueue_map_buffer(machine.queue, memory, flags, 0, (memory.size,), np.uint8)
        except cl.Error as error:
            raise explain(machine, error, "mapping an array") from error
        self.users = 0


@contextmanager
def mapped(a: Array) -> Iterator[np.ndarray]:
    """The elements of ``a`` as a NumPy array, until the end of the block; waits for what computes them."""
    if not a.size:
        yield np.empty(a.shape, a.dtype)
        return
    machine, key, size = a.machine, a.memory.int_ptr, a.dtype.itemsize
    with machine.lock:
        window = machine.windows.get(key)
        if window is None:
            window = machine.windows[key] = _Window(machine, a.memory)
        else:
            machine.finish()  # a kernel may have been enqueued since it was mapped
        window.users += 1
    try:
        yield np.ndarray(a.shape, a.dtype, window.bytes, a.offset * size, [s * size for s in a.strides])
    finally:
        with machine.lock:
            window.users -= 1
            if not window.users:
                del machine.windows[key]
                window.bytes.base.release(machine.queue)


def to_host(a: Array) -> np.ndarray:
    """A copy."""
    with mapped(a) as m:
        return np.array(m, order="C")


def _call(machine: Any, f: Callable, operands: tuple, options: dict) -> Any:
    maps, given = [], []
    try:
        for x in operands:
            if isinstance(x, Array):
                if x.machine is not machine:
                    raise elsewhere(machine, x)
                maps.append(mapped(x))
                given.append(maps[-1].__enter__())
            else:
                given.append(x)
        found = f(*given, **options)
        if isinstance(found, tuple):
            return tuple([from_host(machine, np.asarray(r)) for r in found])
        return from_host(machine, np.asarray(found))
    finally:
        for m in reversed(maps):
            m.__exit__(None, None, None)


def on_host(machine: Any, function: str, f: Callable, *operands: Any, **options: Any) -> Any:
    """``f`` of NumPy on mapped arrays: a fallback.

    Raises
    ------
    KernelMissingError
        ``MXCORE_FALLBACK=error`` forbids it.
    """
    fall_back(BACKEND, function, f"on {machine.device.name.strip()}")
    return _call(machine, f, operands, options)


def routed_operator(machine: Any, name: str, kernel: Callable, arrays: Sequence[Any], attrs: dict) -> Any:
    """A kernel of the NumPy backend on mapped arrays, by choice (see :func:`routed`)."""
    count_routed(BACKEND, name)
    return _call(machine, lambda *given: kernel(XP, *given, **attrs), tuple(arrays), {})


def routed(machine: Any, function: str, f: Callable, shape: tuple[int, ...], dtype: np.dtype, *operands: Array) -> Array:
    """``f(*arrays, out)`` of NumPy on mapped arrays, by choice: where the device is a CPU, BLAS is faster than any kernel."""
    count_routed(BACKEND, function)
    new = empty(machine, shape, dtype)
    maps = [mapped(new), *[mapped(x) for x in operands]]
    given, entered = [], []
    try:
        for m in maps:
            given.append(m.__enter__())
            entered.append(m)
        f(*given[1:], given[0])
    finally:
        for m in reversed(entered):
            m.__exit__(None, None, None)
    return new
