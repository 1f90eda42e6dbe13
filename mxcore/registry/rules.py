"""Shape and type rules.

A shape rule is ``rule(attrs, inputs) -> (inputs, outputs)``: it receives what is known of the input shapes and returns
the same, completed as far as the relation allows, and the output shapes. An unknown shape is ``None``, an unknown
dimension is ``-1``. A type rule is the same over data types. Rules run forwards and backwards until nothing changes
(:mod:`mxcore.graph.infer`), so a rule must accept anything partly unknown. A relation that cannot hold raises
``ShapeError`` or ``DTypeError`` that says which relation, with the shapes.
"""

import functools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from .schema import Attrs

__all__ = ["broadcast", "broadcast_shapes", "cast", "elements", "fixed_type", "first_type", "known", "merge", "normalize_axes",
           "normalize_axis", "reduce", "same", "scalar_output", "uniform", "with_number"]

ShapeT = tuple[int, ...] | None
Shapes = list[ShapeT]


def known(shape: ShapeT) -> bool:
    """Whether all of a shape is known."""
    return shape is not None and -1 not in shape


def merge(a: ShapeT, b: ShapeT, what: str = "shapes") -> ShapeT:
    """What two partial views of one shape say together.

    >>> merge((2, -1), (-1, 3))
    (2, 3)
    """
    if a is None or a == b:
        return b
    if b is None:
        return a
    if len(a) != len(b):
        raise ShapeError(f"{what} must be equal: {a} and {b} have {len(a)} and {len(b)} dimensions")
    out = []
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if x != y and x >= 0 and y >= 0:
            raise ShapeError(f"{what} must be equal: {a} and {b} differ in dimension {i}: {x} and {y}")
        out.append(max(x, y))
    return tuple(out)


def elements(shape: ShapeT) -> int | None:
    """Number of elements, or None when unknown."""
    return prod(shape) if shape is not None and -1 not in shape else None


def normalize_axis(axis: int, ndim: int, what: str = "axis") -> int:
    """A non-negative axis, or ShapeError."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{what}={axis} is out of bounds for {ndim} dimensions: expected {-ndim} <= {what} < {ndim}")
    return axis % ndim if ndim else 0


@functools.lru_cache(4096)
def normalize_axes(axis: Any, ndim: int, exclude: bool = False) -> tuple[int, ...]:
    """Sorted non-negative axes; ``None`` and ``()`` mean all, ``exclude`` inverts.

    >>> normalize_axes((-1,), 3), normalize_axes(None, 2), normalize_axes((0,), 3, exclude=True)
    ((2,), (0, 1), (1, 2))
    """
    if axis is None or axis == ():
        return tuple(range(ndim))
    chosen = {normalize_axis(a, ndim) for a in ((axis,) if isinstance(axis, int) else axis)}
    if exclude:
        return tuple(i for i in range(ndim) if i not in chosen)
    return tuple(sorted(chosen))


# ---------------------------------------------------------------- shape rules
def same(attrs: Attrs, ins: Shapes) -> tuple[Shapes, Shapes]:
    """All inputs and the output have one shape."""
    shape: ShapeT = None
    for s in ins:
        shape = merge(shape, s, "shapes of the inputs")
    return [shape] * len(ins), [shape]


def batch(attrs: Attrs, ins: Shapes, outs: Shapes) -> Shapes:
    """Backwards: the first axis of the first input is that of the output."""
    data, out = ins[0], outs[0]
    if data is None or out is None:
        return ins
    return [merge(data, (out[0],) + (-1,) * (len(data) - 1), "first axis of input and output"), *ins[1:]]


def broadcast_shapes(shapes: Sequence[ShapeT]) -> ShapeT:
    """The NumPy-broadcast shape of several; unknown where an unknown decides."""
    if any(s is None for s in shapes):
        return None
    known_shapes = [s for s in shapes if s is not None]
    ndim = max((len(s) for s in known_shapes), default=0)
    out = [1] * ndim
    for s in known_shapes:
        for i, d in enumerate(s, ndim - len(s)):
            if d == out[i] or d == 1:
                continue
            if out[i] == 1:
                out[i] = d
            elif -1 in (d, out[i]):
                out[i] = max(d, out[i])  # an unknown against n > 1 is 1 or n: the result is n
            else:
                raise ShapeError(f"shapes {' and '.join(map(str, shapes))} do not broadcast: dimension {i} is "
                                 f"{out[i]} and {d}; they must be equal or 1")
    return tuple(out)


def broadcast(attrs: Attrs, ins: Shapes) -> tuple[Shapes, Shapes]:
    """Inputs broadcast against each other as in NumPy."""
    return ins, [broadcast_shapes(ins)]


@functools.lru_cache(4096)
def reduced_shape(shape: ShapeT, axis: Any, keepdims: bool, exclude: bool = False) -> ShapeT:
    """Shape after a reduction; a full reduction without keepdims has shape (1,), there being no 0-dim arrays."""
    if shape is None:
        return None
    axes = normalize_axes(axis, len(shape), exclude)
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes) or (1,)


def reduce(attrs: Attrs, ins: Shapes) -> tuple[Shapes, Shapes]:
    """Reduction over ``axis`` with ``keepdims`` and ``exclude``."""
    out = reduced_shape(ins[0], attrs.get("axis"), attrs.get("keepdims", False), attrs.get("exclude", False))
    return ins, [out]


def scalar_output(attrs: Attrs, ins: Shapes) -> tuple[Shapes, Shapes]:
    """One number, shape (1,)."""
    return ins, [(1,)]


def like_second(attrs: Attrs, ins: Shapes) -> tuple[Shapes, Shapes]:
    """The output has the shape of the second input."""
    return ins, [ins[1]]


# ---------------------------------------------------------------- type rules
Types = list[np.dtype | None]


def uniform(attrs: Attrs, ins: Types, outputs: int = 1) -> tuple[Types, Types]:
    """All inputs and outputs have one data type (the default)."""
    found = None
    for t in ins:
        if t is not None:
            if found is not None and t != found:
                raise DTypeError(f"all inputs must have one data type, found {found} and {t}; use astype or Cast")
            found = t
    return [found] * len(ins), [found] * outputs


def first_type(attrs: Attrs, ins: Types, outputs: int = 1) -> tuple[Types, Types]:
    """The outputs have the type of the first input; the others are free."""
    return ins, [ins[0]] * outputs


def with_number(attrs: Attrs, ins: Types, outputs: int = 1) -> tuple[Types, Types]:
    """An array and a number: the array decides, only truth values become int64 (as in MXNet)."""
    return ins, [np.dtype("int64") if ins[0] is not None and ins[0].kind == "b" else ins[0]] * outputs


def fixed_type(dtype: str) -> Callable:
    """The output has a fixed type whatever comes in."""

    def rule(attrs: Attrs, ins: Types, outputs: int = 1) -> tuple[Types, Types]:
        return ins, [np.dtype(dtype)] * outputs

    return rule


def cast(attrs: Attrs, ins: Types, outputs: int = 1) -> tuple[Types, Types]:
    """The output has the type that the attribute ``dtype`` names (the input's when that is None)."""
    return ins, [attrs["dtype"] if attrs.get("dtype") is not None else (ins[0] if ins else np.dtype("float32"))] * outputs
