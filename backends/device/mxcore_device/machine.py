"""One device, as the kernels of this distribution need it: memory, programs and launches."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .arrays import Array
from .repeats import Repeat, Tape

__all__ = ["Machine"]


class _Taping(threading.local):
    """Per thread: what notes the present call."""

    tape: Tape | None = None


class Machine(ABC):
    """One device. A backend says how its library allocates, compiles and launches; all else is shared.

    Parameters
    ----------
    index : int
        Its number in the backend.

    Attributes
    ----------
    backend, title : str
        The name of the backend, and what the device is called.
    array_type : type
        The backend's class of arrays.
    fp64 : bool
        It has double precision; without, functions on doubles run on the host, counted.
    gpu : bool
        Kernels suit it: products, windows and sorting run on the device. False for a CPU, where NumPy's on the same memory are
        faster.
    parameter_bytes : int
        How large the parameters of a kernel may be together.
    tables : bool
        Kernels may be given addresses (:meth:`addresses`) in structures.
    biases : bool
        A library adds the bias to a product (:meth:`dense`).
    xp : Functions
        What kernels of operators call.
    lock : threading.RLock
        For what must not be done by two threads at once.
    """

    backend: str
    array_type: type[Array]
    title: str
    fp64: bool
    gpu: bool
    parameter_bytes: int
    tables: bool = False
    biases: bool = False
    #: repeats a call that was noted
    repeat: type[Repeat] = Repeat

    def __init__(self, index: int) -> None:
        from .xp import Functions

        self.index = index
        self.lock = threading.RLock()
        self._kernels: dict[Any, Any] = {}
        self._numbers: OrderedDict[Any, Any] = OrderedDict()
        #: what the launches that are being recorded read, besides their arguments' own owners; None: nothing is recorded
        self.recorded: list[Any] | None = None
        self.taping = _Taping()
        #: calls of operators by their kind: how to repeat them, or how many attempts to note them are left
        self.known: dict[tuple, Any] = {}
        self.forms: dict[tuple, Any] = {}
        self.xp = Functions(self)

    # ------------------------------------------------------------ what a backend defines
    @abstractmethod
    def take(self, nbytes: int) -> Any:
        """Memory of at least that size (0 included), which is given back when the last reference goes.

        Raises
        ------
        OutOfMemoryError
        """

    @abstractmethod
    def put(self, memory: Any, data: np.ndarray) -> None:
        """Write bytes of the host to the beginning of ``memory``; when it returns, ``data`` may be changed."""

    @abstractmethod
    def transfer(self, target: Any, to: int, source: Any, at: int, nbytes: int) -> None:
        """Copy bytes from one memory of the device to another, from and to these places."""

    @abstractmethod
    def shown(self, a: Any) -> AbstractContextManager[np.ndarray]:
        """The elements of an array as one of NumPy, to read (and, where ``gpu`` is False, to write) until the block ends."""

    @abstractmethod
    def compile(self, source: str, names: Iterable[str]) -> list[Any]:
        """The kernels of these names in a program.

        ``source`` is OpenCL C of the kind that CUDA understands too: see :mod:`mxcore_device.source`.

        Raises
        ------
        MXNetError
            With the compiler's messages and the lines that they mean.
        """

    @abstractmethod
    def start(self, kernel: Any, count: int, *arguments: Any) -> None:
        """Have ``count`` work-items run, in groups of :data:`~mxcore_device.source.LOCAL_SIZE`, the last one perhaps in part.

        Arguments are memory, or numbers and structures as bytes. Launches of one thread run in their order.
        """

    @abstractmethod
    def finish(self) -> None:
        """Wait for all that was launched; what failed in between is raised here."""

    # ------------------------------------------------------------ what kernels call
    def allocate(self, nbytes: int) -> Any:
        """See :meth:`take`."""
        memory, tape = self.take(nbytes), self.taping.tape
        if tape is not None:
            tape.allocated(memory, nbytes)
        return memory

    def upload(self, memory: Any, data: np.ndarray) -> None:
        """See :meth:`put`."""
        self.leave()
        self.put(memory, data)

    def move(self, target: Any, to: int, source: Any, at: int, nbytes: int) -> None:
        """See :meth:`transfer`."""
        self.transfer(target, to, source, at, nbytes)
        tape = self.taping.tape
        if tape is not None:
            tape.noted("moved", target, to, source, at, nbytes)

    def mapped(self, a: Any) -> AbstractContextManager[np.ndarray]:
        """See :meth:`shown`."""
        self.leave()
        return self.shown(a)

    def launch(self, kernel: Any, count: int, *arguments: Any) -> None:
        """See :meth:`start`."""
        self.start(kernel, count, *arguments)
        tape = self.taping.tape
        if tape is not None:
            tape.noted("launched", kernel, count, arguments)

    def leave(self) -> None:
        """The host, or another library, takes part in a call: it cannot be repeated."""
        tape = self.taping.tape
        if tape is not None:
            tape.failed = True

    def passing(self) -> None:
        """A call is done in a way that will be another the next times."""
        tape = self.taping.tape
        if tape is not None:
            tape.early = True

    # ------------------------------------------------------------ what a backend may define
    def product(self, new: Any, a: Any, b: Any) -> bool:
        """Write the product of matrices (the last two axes, all others equal) into ``new``; False: by our own kernel."""
        return False

    def dense(self, new: Any, x: Any, weight: Any, bias: Any) -> bool:
        """Write ``x @ weight.T + bias`` of matrices and a vector (or None) into ``new``; False: by a product and a sum."""
        return False

    def convolution(self, kind: str, new: Any, a: Any, b: Any, groups: int, stride: tuple[int, ...], dilate: tuple[int, ...],
                    pad: tuple[int, ...]) -> bool:
        """Write a convolution (``forward``), or its gradient by ``data`` or ``weight``, of dense arrays into ``new``.

        ``a`` and ``b`` are data and weight, output gradient and weight, or data and output gradient. False: by the kernels of
        this package.
        """
        return False

    def addresses(self, arrays: Sequence[Any]) -> list[int]:
        """Where the first elements of arrays are, for a device with ``tables``."""
        raise NotImplementedError(f"{self!r} has no addresses")

    def ordering(self, function: str) -> Callable[..., Any] | None:
        """A library's function of ``xp`` that orders or counts (``sort``, ``unique``); None: by :mod:`mxcore_device.ordering`."""
        return None

    # ------------------------------------------------------------ repeated calls
    def shift(self, a: Any) -> int:
        """What of the place of an array in its memory its launches depend on."""
        return a.offset

    def alone(self, arrays: tuple) -> Any:
        """The arrays of a call that is noted, each with memory of its own; None if two share memory, which may matter."""
        given = [a for a in arrays if isinstance(a, Array)]
        return arrays if len({id(a.memory) for a in given}) == len(given) else None

    # ------------------------------------------------------------ shared
    def kernel(self, key: Any, make: Callable[[], tuple[str, dict[Any, str]]]) -> Any:
        """The kernel called ``key``; ``make()`` gives the source of a program, and the names in it by key."""
        found = self._kernels.get(key)
        if found is None:
            with self.lock:
                if key not in self._kernels:
                    source, names = make()
                    self._kernels.update(zip(names, self.compile(source, names.values()), strict=True))
                found = self._kernels[key]
        return found

    def number(self, value: Any, dtype: np.dtype, make: Callable[[np.ndarray], Any]) -> Any:
        """A number as an array of the device, made once: the next use finds it there."""
        key = (np.asarray(value).tobytes() if isinstance(value, float) and not value else value), dtype
        found = self._numbers.get(key)
        if found is None:
            with self.lock:
                found = self._numbers[key] = make(np.asarray(value).astype(dtype))
                if len(self._numbers) > 4096:
                    self._numbers.popitem(last=False)
        self.keep(found)
        return found

    def keep(self, thing: Any) -> None:
        """A recording that is being made needs this as long as it lives, also when a cache lets go of it."""
        if self.recorded is not None:
            self.recorded.append(thing)
