"""The raw arrays: memory of a device seen through a shape, strides and an offset of our own.

Views (basic indexing, transposes, broadcasts, most reshapes) share memory. Every kernel is given the whole memory and the
offset: OpenCL's own parts of buffers have alignment rules that slices do not keep.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.errors import BoundsError, ShapeError

__all__ = ["Array", "Form", "broadcast_shapes", "contiguous_strides", "empty", "form_of", "from_host", "is_basic", "view_of"]

_new = object.__new__


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of an array in C order.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


class Array:
    """An array on a device. Nothing of it is visible to NumPy; ``backend.to_host`` copies it.

    Each backend derives a class of its own, by which the core knows whose an array is.

    Attributes
    ----------
    machine : Machine
    memory : what the machine allocated
    shape, dtype, ndim, size
    offset, strides : in elements
    whole : bool
        It is all that lies in its memory, in C order: nothing shares with it, except views of it.
    form : Form or None
        See :func:`form_of`.
    """

    __slots__ = ("__weakref__", "dtype", "form", "machine", "memory", "ndim", "offset", "shape", "size", "strides", "whole")
    __array_ufunc__ = None
    __array_priority__ = 2000.0

    def __init__(self, machine: Any, memory: Any, dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...] | None = None,
                 offset: int = 0) -> None:
        self.machine, self.memory, self.dtype, self.shape = machine, memory, dtype, shape
        self.ndim = len(shape)
        self.size = prod(shape)
        self.whole = strides is None
        self.strides = contiguous_strides(shape) if strides is None else strides
        self.offset = offset
        self.form: Form | None = None

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(f"a raw array of the {self.machine.backend} backend was given to NumPy; use xp, or backend.to_host")

    def __bool__(self) -> bool:
        raise TypeError("the truth of a raw array was asked for; kernels must not look at values on the host")

    def __iter__(self) -> Any:
        raise TypeError("a raw array was iterated over; index it, or use xp")

    def __len__(self) -> int:
        raise TypeError("len() of a raw array; use .shape")

    def __repr__(self) -> str:
        return f"<array {self.shape} {self.dtype} on {self.machine!r}>"

    __hash__ = object.__hash__

    @property
    def base(self) -> Any:
        """What the array's memory belongs to, the same for all views of it (:mod:`mxcore.runtime.watch` asks)."""
        return self.memory

    @property
    def dense(self) -> bool:
        """Whether it lies in C order, without gaps."""
        if self.whole:
            return True
        step = 1
        for n, s in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1:
                if s != step:
                    return False
                step *= n
        return True

    def __getitem__(self, key: Any) -> Array:
        """A view, by basic indexing."""
        return _indexed(self, key if type(key) is tuple else (key,))


class Form:
    """All of an array but its memory; arrays of equal forms share one, so that forms are compared by identity."""

    __slots__ = ("dtype", "machine", "ndim", "shape", "size", "strides", "whole")

    def __init__(self, a: Array) -> None:
        self.machine, self.dtype, self.shape, self.strides = a.machine, a.dtype, a.shape, a.strides
        self.ndim, self.size, self.whole = a.ndim, a.size, a.whole

    def array(self, memory: Any, offset: int) -> Array:
        """An array of this form."""
        machine = self.machine
        new = _new(machine.array_type)
        new.machine, new.memory, new.dtype, new.shape, new.strides = machine, memory, self.dtype, self.shape, self.strides
        new.ndim, new.size, new.whole, new.offset, new.form = self.ndim, self.size, self.whole, offset, self
        return new


def form_of(a: Array) -> Form:
    """The form of an array, kept with it; see :meth:`mxcore_device.machine.Machine.shift`."""
    machine = a.machine
    key = a.dtype, a.shape, a.strides, a.whole, machine.shift(a)
    form = machine.forms.get(key)
    if form is None:
        if len(machine.forms) >= 1 << 16:
            machine.forms.clear()
        form = machine.forms.setdefault(key, Form(a))
    a.form = form
    return form


def _install_operators() -> None:
    for name, function in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"),
                           ("floordiv", "floor_divide"), ("mod", "mod"), ("pow", "power"), ("gt", "greater"),
                           ("ge", "greater_equal"), ("lt", "less"), ("le", "less_equal"), ("eq", "equal"),
                           ("ne", "not_equal"), ("and", "bitwise_and"), ("or", "bitwise_or")):
        def forward(self: Array, other: Any, function: str = function) -> Any:
            return getattr(self.machine.xp, function)(self, other)

        def backward(self: Array, other: Any, function: str = function) -> Any:
            return getattr(self.machine.xp, function)(other, self)

        setattr(Array, f"__{name}__", forward)
        if name not in ("gt", "ge", "lt", "le", "eq", "ne"):
            setattr(Array, f"__r{name}__", backward)
    for name, function in (("neg", "negative"), ("abs", "abs"), ("invert", "invert")):
        setattr(Array, f"__{name}__", lambda self, function=function: getattr(self.machine.xp, function)(self))


_install_operators()


def empty(machine: Any, shape: Sequence[int], dtype: Any) -> Array:
    """An array with undefined contents."""
    shape, dtype = tuple([operator.index(n) for n in shape]), np.dtype(dtype)
    if any(n < 0 for n in shape):
        raise ShapeError(f"a shape has no negative numbers: {shape}")
    return machine.array_type(machine, machine.allocate(prod(shape) * dtype.itemsize), dtype, shape)


def from_host(machine: Any, host: np.ndarray) -> Array:
    """A copy of a NumPy array; when this returns, the host's may be changed."""
    new = empty(machine, host.shape, host.dtype)
    if host.size:
        machine.upload(new.memory, np.ascontiguousarray(host).reshape(-1).view(np.uint8))
    return new


def view_of(a: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int | None = None) -> Array:
    """The memory of ``a`` seen in another way."""
    return type(a)(a.machine, a.memory, a.dtype, shape, strides, a.offset if offset is None else offset)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape, by NumPy's rule."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ShapeError(f"shapes cannot be broadcast together: {', '.join(map(str, shapes))}") from error


def is_basic(key: tuple) -> bool:
    """Whether a key (a tuple) is one of basic indexing: numbers, slices, None and Ellipsis."""
    return all(k is None or k is Ellipsis or type(k) is slice or (isinstance(k, (int, np.integer)) and not isinstance(k, bool))
               for k in key)


def _indexed(a: Array, key: tuple) -> Array:
    if not is_basic(key):
        wrong = next(k for k in key if not is_basic((k,)))
        raise TypeError(f"raw arrays have basic indexing only, not by {type(wrong).__name__}; use xp.getitem")
    taken = sum(k is not None and k is not Ellipsis for k in key)
    if taken > a.ndim:
        raise BoundsError(f"too many indices: {taken} for an array of shape {a.shape}")
    if Ellipsis not in key:
        key = (*key, Ellipsis)
    shape, strides, offset, axis = [], [], a.offset, 0
    for k in key:
        if k is None:
            shape.append(1)
            strides.append(0)
        elif k is Ellipsis:
            rest = a.ndim - taken
            shape += a.shape[axis : axis + rest]
            strides += a.strides[axis : axis + rest]
            axis += rest
        elif type(k) is slice:
            start, stop, step = k.indices(a.shape[axis])
            n = len(range(start, stop, step))
            offset += start * a.strides[axis] if n else 0
            shape.append(n)
            strides.append(step * a.strides[axis])
            axis += 1
        else:
            n, i = a.shape[axis], operator.index(k)
            if not -n <= i < n:
                raise BoundsError(f"index {i} is out of bounds for axis {axis} with size {n}")
            offset += (i + n if i < 0 else i) * a.strides[axis]
            axis += 1
    return view_of(a, tuple(shape), tuple(strides), offset)
