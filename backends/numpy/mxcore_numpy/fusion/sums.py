"""Sums over some axes of a tile. NumPy's reduction is slow where few elements lie together; products with ones are not.

A product of more than about nine thousand elements OpenBLAS would spread over threads of its own, which would fight with
those of the loop; so tiles are multiplied in stacks of smaller matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from math import prod

import numpy as np

__all__ = ["summation"]

_ALONE = 1 << 13  # elements of a matrix that BLAS multiplies on the calling thread
_WORTH = 1 << 11  # elements of an array below which numpy.add.reduce is as fast
_WIDE = 128  # elements in a row above which numpy.add.reduce over rows is as fast

_Sum = Callable[[np.ndarray], np.ndarray]


def summation(axes: tuple[int, ...]) -> Callable[[np.ndarray, np.ndarray], None]:
    """A function (value, part) that writes the sums of an array over ``axes``, which it keeps, into ``part``.

    >>> part = np.empty((1, 2))
    >>> summation((0,))(np.arange(6.0).reshape(3, 2), part)
    >>> part
    array([[6., 9.]])
    """
    ways: dict[tuple[int, ...], _Sum | None] = {}
    reduce = np.add.reduce

    def sums(value: np.ndarray, part: np.ndarray) -> None:
        shape = value.shape
        if shape not in ways:
            ways[shape] = _by_products(shape, axes, value.dtype)
        way = ways[shape]
        if way is None or not value.flags.c_contiguous:
            reduce(value, axis=axes, keepdims=True, out=part)
        else:
            part[...] = way(value).reshape(part.shape)

    return sums


def _by_products(shape: tuple[int, ...], axes: tuple[int, ...], dtype: np.dtype) -> _Sum | None:
    """The sum by products with ones, or None where that is no faster."""
    if prod(shape) < _WORTH or dtype.kind != "f":
        return None
    runs = [(summed, prod(n for _, n in run))
            for summed, run in groupby(((a in axes, n) for a, n in enumerate(shape) if n != 1), key=lambda x: x[0])]
    lengths = tuple(n for _, n in runs)
    reduced = [d for d, (summed, _) in enumerate(runs) if summed]
    if not reduced:
        return None
    if reduced[-1] == len(runs) - 1:  # sums of rows
        rows, row = prod(lengths[:-1]), lengths[-1]
        stack = _divisor(rows, _ALONE // row)
        if stack == 0:
            return None
        ones, others = np.ones(row, dtype), tuple(reduced[:-1])

        def of_rows(value: np.ndarray) -> np.ndarray:
            found = np.matmul(value.reshape(rows // stack, stack, row), ones).reshape(lengths[:-1])
            return np.add.reduce(found, axis=others) if others else found

        return of_rows
    outer, rows, row = lengths[:-2], lengths[-2], lengths[-1]
    stack = _divisor(rows, _ALONE // row)
    if row >= _WIDE or stack < 4:
        return None
    left = np.ones((1, stack), dtype)
    between = (*outer, rows // stack, row)
    others = tuple(reduced)  # the last of them: the stacks

    def over_rows(value: np.ndarray) -> np.ndarray:
        found = np.matmul(left, value.reshape(-1, stack, row))
        return np.add.reduce(found.reshape(between), axis=others)

    return over_rows


def _divisor(n: int, most: int) -> int:
    """The largest divisor of ``n`` that is at most ``most``; 0 if there is none.

    >>> _divisor(96, 40)
    32
    """
    return next((k for k in range(min(n, most), 0, -1) if n % k == 0), 0)
