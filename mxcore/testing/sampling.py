"""Samples: calls of operators that the checks run. One line a sample; the author of an operator writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dtype import dtype_of

__all__ = ["SAMPLES", "A", "Array", "C", "I", "Sample", "load", "sample"]


@dataclass(frozen=True)
class Array:
    """A random input: uniform in ``[low, high)``, or integers; distinct values, so that there are no ties.

    ``constant``: not differentiated (indices, lengths, labels). ``dtype``: always of this type, whatever the check runs in.
    """

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    integer: bool = False
    constant: bool = False
    values: Any = None
    dtype: str | None = None

    def make(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        """The array, of ``dtype`` (legacy operators take indices as floats too)."""
        kind = dtype_of(self.dtype or dtype)
        if self.values is not None:
            return np.asarray(self.values).astype(kind)
        if self.integer:
            return rng.integers(int(self.low), int(self.high), self.shape).astype(kind)
        n = int(np.prod(self.shape))
        spread = self.low + (self.high - self.low) * (rng.permutation(n) + rng.uniform(0.2, 0.8, n)) / max(n, 1)
        return spread.reshape(self.shape).astype(kind)


def A(*shape: int, low: float = -1.0, high: float = 1.0, dtype: str | None = None) -> Array:
    """A differentiable input of a shape, uniform in ``[low, high)``; one of a fixed ``dtype`` is not differentiated."""
    return Array(shape, low, high, constant=dtype is not None, dtype=dtype)


def I(*shape: int, high: int, low: int = 0, dtype: str | None = None) -> Array:  # noqa: E743 - like A and C
    """Integers in ``[low, high)``, not differentiated."""
    return Array(shape, low, high, integer=True, constant=True, dtype=dtype)


def C(values: Any, dtype: str | None = None) -> Array:
    """Given values, not differentiated."""
    return Array(np.shape(values), constant=True, values=values, dtype=dtype)


@dataclass(frozen=True)
class Sample:
    """One call.

    Attributes
    ----------
    op : str
        Registry name.
    inputs : tuple of Array
    attrs : dict
    ref : callable, optional
        The same in NumPy: ``ref(*arrays, **attrs)`` gives the visible outputs, then the new values of inputs that the
        operator writes (None: stays); judged in float64.
    objective : callable, optional
        Where the gradient is by definition not that of the outputs (losses, BlockGrad): ``objective(heads, *arrays,
        **attrs)``, the number whose gradient it is; ``heads`` are the head gradients.
    judge : callable, optional
        Of random operators: ``judge(outputs, *arrays, **attrs)`` raises AssertionError if the values are implausible.
    order : int
        To which order gradients are checked (0: not differentiable).
    train : bool
        Run in training mode.
    rtol, atol : float
        In float64.
    single : float
        Relative tolerance of float32 against float64; 0: only types are checked.
    half : float
        The same of float16 and bfloat16.
    tags : frozenset of str
        ``layer``: all shapes follow from that of the first input; ``guess``: what follows from it is only the usual one;
        ``dynamic``: the shape depends on values; ``alias``: a helper between operators that may hand its input through.
    """

    op: str
    inputs: tuple[Array, ...]
    attrs: dict[str, Any]
    ref: Callable | None = None
    objective: Callable | None = None
    judge: Callable | None = None
    order: int = 3
    train: bool = False
    rtol: float = 1e-6
    atol: float = 1e-8
    single: float = 1e-4
    half: float = 0.05
    number: int = 0
    tags: frozenset[str] = field(default_factory=frozenset)

    @property
    def id(self) -> str:
        """Name and number, as pytest shows it."""
        return f"{self.op}-{self.number}"

    def arrays(self, dtype: str = "float64") -> list[np.ndarray]:
        """The inputs, the same in every run."""
        rng = np.random.default_rng([sum(self.op.encode()), self.number])
        return [a.make(rng, dtype) for a in self.inputs]


SAMPLES: list[Sample] = []
_COUNT: dict[str, int] = {}


def sample(op: str, *inputs: Array, ref: Callable | None = None, objective: Callable | None = None,
           judge: Callable | None = None, order: int = 3, train: bool = False, rtol: float = 1e-6, atol: float = 1e-8,
           single: float = 1e-4, half: float = 0.05, tags: Sequence[str] = (), attrs: dict[str, Any] | None = None,
           **named: Any) -> None:
    """Enter a sample: an operator, its inputs, its attributes; for the rest see :class:`Sample`.

    Inputs are made by :func:`A` (differentiated), :func:`I` (integers) and :func:`C` (given values). Attributes are
    keywords; those that have the name of a parameter of this function go into ``attrs``.
    """
    number = _COUNT[op] = _COUNT.get(op, -1) + 1
    SAMPLES.append(Sample(op, inputs, {**(attrs or {}), **named}, ref, objective, judge, order, train, rtol, atol, single,
                          half, number, frozenset(tags)))


def load() -> list[Sample]:
    """All shipped samples."""
    import importlib
    import pkgutil

    from . import samples

    for module in pkgutil.iter_modules(samples.__path__):
        importlib.import_module(f"{samples.__name__}.{module.name}")
    return SAMPLES
