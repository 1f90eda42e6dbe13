"""Bound kernels: one call of a compiled program, prepared once for its shapes, that writes into memory given to it.

A plain kernel ``f(xp, *arrays, **attrs)`` finds out at every call what it is given and allocates what it returns. A
compiled program knows shapes, types and layouts beforehand. For an operator whose :class:`KernelEntry` names a ``bind``
function it asks ::

    bind(ins, outs, attrs, training, epilogue=None) -> Bound | None

once for each place in the program, with the :class:`Spec` of every input (None for one that is absent) and output and
the operator's attributes. ``None`` means: not for these, use the plain kernel. The outputs of an operator that writes to
inputs (``mutates``) are followed by their new values, which the program writes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .expr import Expr

__all__ = ["PRIVATE", "Bound", "Epilogue", "Order", "Spec", "channels_last", "order_of", "plain_order"]

#: names of outputs that belong to a kernel alone: its own backward kernel reads them, and it knows how long they are
PRIVATE = frozenset({"reserve"})

#: the axes of a dense array from the slowest to the fastest in memory: ``(0, 1, 2, 3)`` is C order, ``(0, 2, 3, 1)``
#: channels last of a batch of images
Order = tuple[int, ...]


def plain_order(ndim: int) -> Order:
    """C order.

    >>> plain_order(3)
    (0, 1, 2)
    """
    return tuple(range(ndim))


def channels_last(ndim: int) -> Order:
    """Axis 1 fastest: ``N...C`` in memory, while the array's axes stay ``NC...``.

    >>> channels_last(4)
    (0, 2, 3, 1)
    """
    return (0, *range(2, ndim), 1) if ndim > 2 else tuple(range(ndim))


@dataclass(frozen=True)
class Spec:
    """What is known of an array before it exists.

    Attributes
    ----------
    shape, dtype
        As of the array; the order of axes is always the operator's own.
    order : Order or None
        How it lies in memory: dense, in this order of axes. None: strided in some other way (a slice of something larger).
    static : bool
        It changes only when somebody writes to it (a parameter); see :attr:`Bound.prepared`.
    steps : tuple of int, optional
        The strides in bytes, where ``order`` is None.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    order: Order | None
    static: bool = False
    steps: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.size * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides in bytes: those that follow from ``order``, or ``steps``."""
        if self.order is None and self.steps is not None:
            return self.steps
        return _strides(self.shape, self.dtype.itemsize, self.order or plain_order(len(self.shape)))

    def lies(self, order: Order) -> bool:
        """Whether this memory is also dense in ``order``: axes of length 1 may stand anywhere."""
        if self.order is None:
            return False
        return self.order == order or all(
            a == b for n, a, b in zip(self.shape, self.strides, _strides(self.shape, self.dtype.itemsize, order), strict=True)
            if n > 1)

    def ordered(self, order: Order) -> Spec:
        """The same array in another order."""
        return Spec(self.shape, self.dtype, order, self.static)


def _strides(shape: tuple[int, ...], step: int, order: Order) -> tuple[int, ...]:
    strides = [0] * len(shape)
    for axis in reversed(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def order_of(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Order | None:
    """The order of axes of an array with these strides; None if it is not dense.

    >>> order_of((2, 3, 4), (48, 4, 12), 4)
    (0, 2, 1)
    """
    order = tuple(sorted(plain_order(len(shape)), key=lambda a: (-strides[a] if shape[a] > 1 else 0, a)))
    ones = [a for a in order if shape[a] == 1]  # where they stand does not matter: first
    order = (*ones, *[a for a in order if shape[a] != 1])
    expected = _strides(shape, itemsize, order)
    if all(n == 1 or s == e for n, s, e in zip(shape, strides, expected, strict=True)):
        return plain_order(len(shape)) if Spec(shape, np.dtype(f"V{itemsize}"), order).lies(plain_order(len(shape))) else order
    return None


class Epilogue(NamedTuple):
    """What is to happen to the first output of a kernel before it is stored.

    ``expr`` is a scalar expression over ``"acc"`` (the kernel's result) and the names of further inputs, which follow
    the operator's own in ``ins``. A ``bind`` that cannot do it answers None and is asked again without. Where the output
    is float16 or bfloat16, the arithmetic is in float32, and the result is rounded once, at the end.
    """

    expr: Expr
    names: tuple[str, ...]


class Bound:
    """A prepared call. Subclasses set the attributes in ``__init__`` and define :meth:`run`.

    Attributes
    ----------
    in_orders : sequence of Order or None
        The memory order in which each input is wanted; None: any strides will do, also not dense ones. The program puts
        a copy in front where the order differs.
    out_orders : sequence of Order
        The memory order of each output; the program provides memory of that order.
    in_place : sequence of (input, output)
        Pairs which may be the same memory (same number of bytes and order), when the input is not used afterwards.
    prepared : sequence of int
        Inputs of which :meth:`prepare` makes something that lasts (packed weights). If all of them are static,
        ``prepare`` is called when one of them has changed, otherwise before each :meth:`run`.
    private : mapping of int to int
        Lengths of those outputs (of one axis) that are named in :data:`PRIVATE`; ``bind`` is given 0 for them.
    label : str
        For people: what runs (``"brgconv:avx512_core"``, ``"5 ufuncs in tiles of 32768"``).
    """

    in_orders: Sequence[Order | None] = ()
    out_orders: Sequence[Order] = ()
    in_place: Sequence[tuple[int, int]] = ()
    prepared: Sequence[int] = ()
    private: Mapping[int, int] = MappingProxyType({})
    label: str = ""

    def prepare(self, ins: Sequence[Any]) -> None:
        """Make from ``ins`` what :meth:`run` will use until the next call of this."""

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        """Compute ``outs`` from ``ins``. Never called twice at the same time for one object."""
        raise NotImplementedError
