"""Sliding windows: sizes and places, shared by convolution, pooling and im2col."""

from collections.abc import Iterator
from itertools import product

from ..errors import ArgumentError, ShapeError

__all__ = ["complete", "count", "places", "taps"]


def complete(kernel: tuple, stride: tuple, dilate: tuple, pad: tuple) -> tuple[tuple, tuple, tuple]:
    """Stride, dilation and padding with their defaults 1, 1 and 0, one number an axis.

    >>> complete((3, 3), (), (2, 2), ())
    ((1, 1), (2, 2), (0, 0))
    """
    n = len(kernel)
    found = stride or (1,) * n, dilate or (1,) * n, pad or (0,) * n
    for name, values, least in zip(("stride", "dilate", "pad"), found, (1, 1, 0), strict=True):
        if len(values) != n:
            raise ArgumentError(f"{name}={values} needs one number for each of the {n} axes of kernel={kernel}")
        if min(values, default=least) < least:
            raise ArgumentError(f"{name}={values} must be at least {least} on every axis")
    if min(kernel, default=1) < 1:
        raise ArgumentError(f"kernel={kernel} must be at least 1 on every axis")
    return found


def count(size: int, kernel: int, stride: int, dilate: int, pad: int) -> int:
    """How many windows fit along an axis; -1 if its size is unknown.

    >>> count(28, 5, 1, 1, 0), count(7, 3, 2, 1, 1)
    (24, 4)
    """
    if size < 0:
        return -1
    extent = dilate * (kernel - 1) + 1
    if size + 2 * pad < extent:
        raise ShapeError(f"a window of {extent} (kernel={kernel}, dilate={dilate}) exceeds the input of {size} "
                         f"padded by {pad} on both sides")
    return (size + 2 * pad - extent) // stride + 1


def taps(kernel: tuple) -> Iterator[tuple[int, ...]]:
    """The places inside a window, in row-major order."""
    return product(*map(range, kernel))


def places(tap: tuple, counts: tuple, stride: tuple, dilate: tuple) -> tuple[slice, ...]:
    """Where the element ``tap`` of all windows lies in the padded input."""
    return tuple(slice(t * d, t * d + (c - 1) * s + 1, s)
                 for t, c, s, d in zip(tap, counts, stride, dilate, strict=True))
