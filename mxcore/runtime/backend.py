"""The backend protocol: all that a device library has to offer so that every generic kernel runs on it.

A backend is two things. First ``xp``, a namespace of array functions named as in NumPy and the array API standard; the
names are listed in :data:`XP`. Second a few methods for memory, transfer and random numbers. Raw arrays carry
``shape``, ``dtype`` (a ``numpy.dtype``), ``ndim`` and ``size``, support Python's arithmetic and comparison operators among
themselves and with numbers, and basic indexing (a view, or a copy that ``setitem`` is never asked to write through). Where
there are views, ``base`` leads from a view to the array (or whatever object) that the memory belongs to, for which it is None
or missing: a write to a view must be heard by who keeps something derived from the whole (:mod:`mxcore.runtime.watch`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from ..registry.bound import Spec

__all__ = ["RNG", "XP", "XP_ELEMENTWISE", "Backend"]

XP_ELEMENTWISE: tuple[str, ...] = (
    "add", "subtract", "multiply", "divide", "negative", "power", "mod", "maximum", "minimum", "hypot", "arctan2",
    "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "abs", "sign", "floor", "ceil", "rint", "round", "trunc",
    "erf", "erfinv", "gamma", "gammaln", "digamma", "polygamma1", "polygamma2",
    "greater", "greater_equal", "less", "less_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite", "where",
)

#: what ``xp`` offers, all with NumPy's meaning unless a comment in :mod:`mxcore_numpy.xp` says more
XP: tuple[str, ...] = (
    *XP_ELEMENTWISE,
    # creation
    "zeros", "ones", "full", "empty", "arange", "linspace", "eye", "asarray",
    # a number in the form that meets arrays of a type fastest: scalar(value, dtype)
    "scalar",
    # the number that an array of one element holds, on the host: waits for the device, so only where a value decides a
    # shape or an error
    "item",
    # type and memory
    "astype", "copy", "copyto", "ascontiguousarray",
    # shape
    "reshape", "transpose", "expand_dims", "squeeze", "broadcast_to", "concatenate", "stack", "flip", "repeat", "tile",
    "pad", "swapaxes",
    # reduction (axis: None, int or tuple; keepdims)
    "sum", "prod", "max", "min", "mean", "any", "all", "argmax", "argmin", "cumsum",
    # products
    "matmul", "tensordot", "einsum",
    # indexing and order
    "getitem", "setitem", "take", "take_along_axis", "put_along_axis", "add_at", "nonzero", "sort", "argsort", "argtop", "unique",
    "tril", "triu", "searchsorted", "bincount",
)

#: methods of a random generator
RNG: tuple[str, ...] = ("random", "standard_normal", "standard_exponential", "standard_gamma", "poisson", "integers",
                        "permutation")


class Backend(Protocol):
    """What a backend object offers. All sizes are in elements, ``index`` is the number of the device."""

    #: the backend's name, also the key of its kernels
    name: ClassVar[str]
    #: the class of its raw arrays
    array_type: type
    #: the namespace of array functions
    xp: Any

    def device_count(self) -> int:
        """How many devices of its own kind there are."""

    # ---- only of a backend that makes kernels of expressions
    def kernel_of(self, op: Any, generic: Any) -> Any:
        """A kernel made of the operator's declaration (:attr:`mxcore.registry.op.Op.expr`), or None: the generic one will do."""

    # ---- only of a backend that remembers what kernels do
    def repeated(self, op: Any, kernel: Any) -> Any:
        """What is called instead of the kernel of an operator, once that is known."""

    # ---- the next three: only of backends whose devices each have an ``xp`` of their own, or differ in kind
    def xp_at(self, index: int) -> Any:
        """The namespace of array functions that makes arrays on a device."""

    def index_of(self, raw: Any) -> int:
        """The number of the device that an array is on."""

    def count_of(self, kind: str) -> int:
        """How many of the devices serve a kind (``"gpu"``): the first ones."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, index: int) -> Any:
        """An array with undefined contents."""

    # ---- the next three: only of backends that have bound kernels (mxcore.registry.bound)
    def allocate(self, spec: Spec) -> Any:
        """An array with undefined contents in a given order of axes."""

    def block(self, nbytes: int, index: int) -> Any:
        """Memory that the values of a compiled program share, aligned to 64 bytes."""

    def place(self, block: Any, offset: int, spec: Spec) -> Any:
        """An array that lies in a block, ``offset`` bytes behind its beginning."""

    # ---- only of a backend that records launches
    def record(self, index: int, run: Callable[[], None]) -> Callable[[], None]:
        """Call ``run``, whose launches on this thread are recorded and not done; what is returned does them all.

        Memory that ``run`` allocates stays as it is as long as the result lives, and is nobody else's.

        Programs that draw random numbers are recorded if generators (:meth:`rng`) have ``recording()``. Called before, it gives
        another one, from which one recording draws. Beside what :data:`RNG` lists that has ``replay(generator)``: called before
        each replay, it lets that draw what ``generator``, the device's of then, would have drawn, and moves ``generator`` on.
        MXNetError for what would be the same in each replay (a ``permutation`` made on the host), and when it is to be copied.

        Raises
        ------
        MXNetError
            It does something that cannot be recorded.
        """

    def from_host(self, array: np.ndarray, index: int) -> Any:
        """A copy of a NumPy array on the device."""

    def to_host(self, raw: Any) -> np.ndarray:
        """A copy on the host; waits for what computes ``raw``."""

    def asarray(self, value: Any) -> Any:
        """A raw array from what a kernel returned, when that is a scalar of the library."""

    def own(self, raw: Any) -> Any:
        """``raw`` itself if it is contiguous and shares memory with nothing, else such a copy."""

    def synchronize(self, index: int | None = None) -> None:
        """Wait until the device has done all that was asked; errors of kernels surface here."""

    def rng(self, seed: int, index: int) -> Any:
        """A random generator that gives raw arrays.

        Of ``numpy.random.Generator`` it has what :data:`RNG` lists: ``random, standard_normal, standard_exponential``
        (``size, dtype``), ``standard_gamma`` (``shape, size, dtype``), ``poisson`` (``lam, size``), ``integers`` (``low,
        high, size, dtype``) and ``permutation`` (of a number); ``shape`` and ``lam`` may be raw arrays that broadcast to
        ``size``. ``random()`` is one number: of Python, or a raw array of shape ().
        """

    def memory_info(self, index: int) -> tuple[int, int]:
        """Free and total bytes."""

    # ---- only of a backend whose devices reach each other
    def across(self, raw: Any, index: int) -> Any:
        """A copy on another of its devices, without the host in between."""

    # ---- only of a backend with a memory pool
    def pool_info(self, index: int) -> tuple[int, int]:
        """Bytes in use, and bytes that the pool has taken from the system."""

    def empty_cache(self, index: int) -> None:
        """Give reserved memory back."""

    def to_dlpack(self, raw: Any, **options: Any) -> Any:
        """A DLPack capsule; ``options`` as in the array API standard."""

    def dlpack_device(self, raw: Any) -> tuple[int, int]:
        """DLPack device type and number."""

    def from_dlpack(self, value: Any) -> Any:
        """A raw array that shares memory with an object that has ``__dlpack__``."""
