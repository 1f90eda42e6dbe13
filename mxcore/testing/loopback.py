"""The loopback backend: NumPy behind an opaque buffer. What runs on it leans on nothing but the backend protocol.

A buffer refuses ``__array__``, iteration and truth; only ``shape``, ``dtype``, ``ndim``, ``size``, Python's operators and
basic indexing work, as :mod:`mxcore.runtime.backend` says. ``install()`` makes it available as ``mx.Context("loopback")``.
"""

from __future__ import annotations

import copy
import operator
from typing import Any, ClassVar

import numpy as np

from .. import plugins
from ..hookspecs import BackendInfo, hookimpl
from ..runtime.backend import RNG, XP
from ..runtime.device import backend_named, forget

__all__ = ["Buffer", "LoopbackBackend", "install"]


class Buffer:
    """An array that shows nothing of what it is made of."""

    __slots__ = ("__weakref__", "_a")
    __array_ufunc__ = None
    __array_priority__ = 2000.0

    def __init__(self, a: np.ndarray) -> None:
        self._a = a

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    base = property(lambda self: self._a if self._a.base is None else self._a.base)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("a raw array of the loopback backend was given to NumPy; use xp, or backend.to_host")

    def __bool__(self) -> bool:
        raise TypeError("the truth of a raw array was asked for; kernels must not look at values on the host")

    def __iter__(self) -> Any:
        raise TypeError("a raw array was iterated over; index it, or use xp")

    def __len__(self) -> int:
        raise TypeError("len() of a raw array; use .shape")

    def __getitem__(self, key: Any) -> Buffer:
        for k in key if type(key) is tuple else (key,):
            if not (k is None or k is Ellipsis or isinstance(k, (int, np.integer, slice))):
                raise TypeError(f"raw arrays have basic indexing only, not by {type(k).__name__}; use xp.getitem")
        return Buffer(np.asarray(self._a[key]))

    def __repr__(self) -> str:
        return f"<loopback buffer {self.shape} {self.dtype}>"


def _install_operators() -> None:
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "gt", "ge", "lt", "le", "eq", "ne", "and_", "or_"):
        f = getattr(operator, name)
        dunder = name.rstrip("_")

        def forward(self: Buffer, other: Any, f: Any = f) -> Any:
            return Buffer(np.asarray(f(self._a, _open(other))))

        def backward(self: Buffer, other: Any, f: Any = f) -> Any:
            return Buffer(np.asarray(f(_open(other), self._a)))

        setattr(Buffer, f"__{dunder}__", forward)
        if dunder not in ("gt", "ge", "lt", "le", "eq", "ne"):
            setattr(Buffer, f"__r{dunder}__", backward)
    for name in ("neg", "abs", "invert"):
        f = getattr(operator, name)
        setattr(Buffer, f"__{name}__", lambda self, f=f: Buffer(np.asarray(f(self._a))))
    Buffer.__hash__ = object.__hash__  # type: ignore[method-assign]


_install_operators()


def _open(v: Any) -> Any:
    if isinstance(v, Buffer):
        return v._a
    if isinstance(v, np.ndarray) and v.ndim:
        raise TypeError("a NumPy array reached the loopback backend; convert it with backend.from_host or xp.asarray")
    if type(v) in (tuple, list):
        return type(v)(_open(x) for x in v)
    return v


def _close(v: Any, scalars: bool = False) -> Any:
    if isinstance(v, (np.ndarray, np.generic)) or (scalars and isinstance(v, float)):
        return Buffer(np.asarray(v))
    if type(v) in (tuple, list):
        return type(v)(_close(x) for x in v)
    return v


class _Namespace:
    """Functions that take buffers and give buffers, over an object whose functions take and give NumPy arrays.

    Only those that the protocol lists: a kernel that uses another would not run elsewhere. ``host``: functions that take
    NumPy arrays; ``scalars``: numbers are given as buffers too.
    """

    def __init__(self, inner: Any, names: tuple[str, ...], host: tuple[str, ...] = (), scalars: bool = False) -> None:
        self._inner, self._names, self._host, self._scalars = inner, names, host, scalars

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(f"{name!r} is not among what mxcore.runtime.backend asks of a backend: {self._names}")
        inner, host, scalars = getattr(self._inner, name), name in self._host, self._scalars

        def function(*args: Any, **kwargs: Any) -> Any:
            if not host:
                args = tuple(_open(a) for a in args)
                kwargs = {k: _open(v) for k, v in kwargs.items()}
            r = inner(*args, **kwargs)
            return r if name == "item" else _close(r, scalars)

        setattr(self, name, function)
        return function

    def __deepcopy__(self, memo: Any) -> _Namespace:
        return _Namespace(copy.deepcopy(self._inner, memo), self._names, self._host, self._scalars)


class LoopbackBackend:
    """See :class:`mxcore.runtime.backend.Backend`."""

    name: ClassVar[str] = "loopback"
    array_type = Buffer

    def __init__(self) -> None:
        self._numpy = backend_named("numpy")
        self.xp = _Namespace(self._numpy.xp, XP, ("asarray", "scalar"))

    def device_count(self) -> int:
        """Two, so that arrays of different devices can meet."""
        return 2

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, index: int) -> Buffer:
        """Memory filled with a pattern that shows when it is read unwritten."""
        a = np.empty(shape, dtype)
        a.view(np.uint8).fill(0xA5) if a.ndim and a.size else None
        return Buffer(a)

    def from_host(self, array: np.ndarray, index: int) -> Buffer:
        """A copy."""
        return Buffer(np.array(array, order="C"))

    def to_host(self, raw: Buffer) -> np.ndarray:
        """A copy."""
        return np.array(raw._a, order="C")

    def asarray(self, value: Any) -> Buffer:
        """A buffer from a scalar."""
        return value if isinstance(value, Buffer) else Buffer(np.asarray(value))

    def own(self, raw: Buffer) -> Buffer:
        """A view becomes a copy."""
        return Buffer(self._numpy.own(raw._a))

    def synchronize(self, index: int | None = None) -> None:
        """Nothing to wait for."""

    def rng(self, seed: int, index: int) -> Any:
        """The generator of the NumPy backend, so that both draw the same numbers."""
        return _Namespace(self._numpy.rng(seed, index), RNG, scalars=True)

    def memory_info(self, index: int) -> tuple[int, int]:
        """Of the host."""
        return self._numpy.memory_info(0)

    def empty_cache(self, index: int) -> None:
        """Nothing is held back."""

    def to_dlpack(self, raw: Buffer, **options: Any) -> Any:
        """A capsule of the array inside."""
        return raw._a.__dlpack__(**options)

    def dlpack_device(self, raw: Buffer) -> tuple[int, int]:
        """The CPU."""
        return raw._a.__dlpack_device__()

    def from_dlpack(self, value: Any) -> Buffer:
        """Shares memory."""
        return Buffer(np.from_dlpack(value))


class _Plugin:
    @hookimpl
    def mxcore_backend_info(self) -> BackendInfo:
        return BackendInfo("loopback", {}, lambda: "NumPy behind opaque buffers")

    @hookimpl
    def mxcore_backend(self, name: str) -> Any:
        return LoopbackBackend() if name == "loopback" else None


def install() -> None:
    """Make ``mx.Context("loopback", 0)`` available in this process."""
    if not plugins.manager().has_plugin("loopback"):
        plugins.add(_Plugin(), "loopback")
        forget()
