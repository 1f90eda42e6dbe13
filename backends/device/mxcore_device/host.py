"""Functions that are computed by NumPy on the memory of a device: every one is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from mxcore.errors import ContextError
from mxcore.runtime.fallback import count_routed, fall_back
from mxcore_numpy.xp import XP

from .arrays import Array, empty, from_host

__all__ = ["elsewhere", "on_host", "routed", "routed_call", "routed_operator", "to_host"]


def elsewhere(machine: Any, a: Array) -> ContextError:
    """The error for an array of another device."""
    return ContextError(f"arrays of different devices meet: {machine!r} and {a.machine!r}; use as_in_context")


def to_host(a: Array) -> np.ndarray:
    """A copy."""
    with a.machine.mapped(a) as m:
        return np.array(m, order="C")


def _call(machine: Any, f: Callable, operands: Sequence[Any], options: dict) -> Any:
    def shown(x: Any) -> Any:
        if isinstance(x, Array):
            if x.machine is not machine:
                raise elsewhere(machine, x)
            return maps.enter_context(machine.mapped(x))
        return x

    with ExitStack() as maps:
        found = f(*map(shown, operands), **{name: shown(x) for name, x in options.items()})
        if isinstance(found, tuple):
            return tuple([from_host(machine, np.asarray(r)) for r in found])
        return from_host(machine, np.asarray(found))


def on_host(machine: Any, function: str, f: Callable, *operands: Any, **options: Any) -> Any:
    """``f`` of NumPy on what the arrays hold: a fallback.

    Raises
    ------
    KernelMissingError
        ``MXCORE_FALLBACK=error`` forbids it.
    """
    fall_back(machine.backend, function, f"on {machine.title}")
    return _call(machine, f, operands, options)


def routed_operator(machine: Any, name: str, kernel: Callable, arrays: Sequence[Any], attrs: dict) -> Any:
    """A kernel of the NumPy backend on mapped arrays, by choice (see :func:`routed`)."""
    return routed_call(machine, name, lambda *given: kernel(XP, *given, **attrs), *arrays)


def routed_call(machine: Any, function: str, f: Callable, *operands: Any, **options: Any) -> Any:
    """``f`` of NumPy on mapped arrays, by choice: where the device is a CPU, NumPy orders faster than kernels do."""
    count_routed(machine.backend, function)
    return _call(machine, f, operands, options)


def routed(machine: Any, function: str, f: Callable, shape: tuple[int, ...], dtype: np.dtype, *operands: Array) -> Array:
    """``f(*arrays, out)`` of NumPy on mapped arrays, by choice: where the device is a CPU, BLAS is faster than any kernel."""
    count_routed(machine.backend, function)
    new = empty(machine, shape, dtype)
    with ExitStack() as maps:
        out = maps.enter_context(machine.mapped(new))
        f(*[maps.enter_context(machine.mapped(x)) for x in operands], out)
    return new
