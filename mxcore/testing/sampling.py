"""Samples: calls of operators that the checks run. One line a sample; the author of an operator writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["SAMPLES", "A", "Array", "Sample", "load", "sample"]


@dataclass(frozen=True)
class Array:
    """A random input: uniform in ``[low, high)``, or integers; distinct values, so that there are no ties.

    ``constant``: not differentiated (indices, lengths, labels).
    """

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    integer: bool = False
    constant: bool = False
    values: Any = None

    def make(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        """The array, of ``dtype`` (legacy operators take indices as floats too)."""
        if self.values is not None:
            return np.asarray(self.values).astype(dtype)
        if self.integer:
            return rng.integers(int(self.low), int(self.high), self.shape).astype(dtype)
        n = int(np.prod(self.shape))
        spread = self.low + (self.high - self.low) * (rng.permutation(n) + rng.uniform(0.2, 0.8, n)) / max(n, 1)
        return spread.reshape(self.shape).astype(dtype)


def A(*shape: int, low: float = -1.0, high: float = 1.0) -> Array:
    """A differentiable input of a shape, uniform in ``[low, high)``."""
    return Array(shape, low, high)


def I(*shape: int, high: int, low: int = 0) -> Array:
    """Integers in ``[low, high)``, not differentiated."""
    return Array(shape, low, high, integer=True, constant=True)


def C(values: Any) -> Array:
    """Given values, not differentiated."""
    return Array(np.shape(values), constant=True, values=values)


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
        The same in NumPy: ``ref(*arrays, **attrs)``; judged in float64.
    order : int
        To which order gradients are checked (0: not differentiable).
    train : bool
        Run in training mode.
    random : bool
        Values are not compared, only shapes and types.
    rtol, atol : float
    """

    op: str
    inputs: tuple[Array, ...]
    attrs: dict[str, Any]
    ref: Callable | None = None
    order: int = 2
    train: bool = False
    random: bool = False
    rtol: float = 1e-6
    atol: float = 1e-8
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


def sample(op: str, *inputs: Array, ref: Callable | None = None, order: int = 2, train: bool = False, random: bool = False,
           rtol: float = 1e-6, atol: float = 1e-8, tags: Sequence[str] = (), **attrs: Any) -> None:
    """Enter a sample. ``inputs`` are made by :func:`A` (differentiated), :func:`I` (integers), :func:`C` (given values)."""
    number = sum(s.op == op for s in SAMPLES)
    SAMPLES.append(Sample(op, inputs, attrs, ref, order, train, random, rtol, atol, number, frozenset(tags)))


def load() -> list[Sample]:
    """All shipped samples."""
    import importlib
    import pkgutil

    from . import samples

    for module in pkgutil.iter_modules(samples.__path__):
        importlib.import_module(f"{samples.__name__}.{module.name}")
    return SAMPLES
