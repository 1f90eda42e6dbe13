"""The backend: NumPy's functions on arrays of a class of its own, each call entered in the log."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from mxcore_numpy.backend import NumpyBackend

from .log import Call, enter

warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"mxcore_tracing\b")  # nan and overflow are values


class Traced(np.ndarray):
    """A raw array. What Python's operators do with it is logged as what functions do."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _run(f"operator.{ufunc.__name__}", getattr(ufunc, method), inputs, kwargs)


def _each(function: Callable, value: Any) -> Any:
    """A value with ``function`` applied to each array, and scalar of NumPy, in it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return function(value)
    return type(value)(_each(function, one) for one in value) if type(value) in (tuple, list) else value


def _traced(value: Any) -> Any:
    """What mxcore is given: arrays of this class, also for NumPy's scalars."""
    return _each(lambda a: np.asarray(a).view(Traced), value)


def _run(name: str, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    ins: list = []
    outs: list = []

    def plain(a: Any) -> Any:  # what NumPy is given: its own class, on the same memory
        ins.append(a)
        return a.view(np.ndarray) if type(a) is Traced else a

    args, kwargs = _each(plain, args), {key: _each(plain, value) for key, value in kwargs.items()}
    start = time.perf_counter()
    result = function(*args, **kwargs)
    seconds = time.perf_counter() - start
    _each(outs.append, result)
    given, gave = (tuple([(a.shape, a.dtype) for a in arrays]) for arrays in (ins, outs))
    enter(Call(name, given, gave, sum(a.nbytes for a in (*ins, *outs)), seconds))
    return _traced(result)


class Functions:
    """The functions of a library (``xp``, or the methods of a random generator), logged under a prefix."""

    def __init__(self, library: Any, prefix: str = "") -> None:
        self._library, self._prefix = library, prefix

    def __getattr__(self, name: str) -> Callable:
        function, title = getattr(self._library, name), self._prefix + name

        def logged(*args: Any, **kwargs: Any) -> Any:
            return _run(title, function, args, kwargs)

        setattr(self, name, logged)  # found at once the next time
        return logged

    def __deepcopy__(self, memo: dict) -> Functions:  # of a generator: compiled programs draw the same numbers again
        return Functions(copy.deepcopy(self._library, memo), self._prefix)


class TracingBackend:
    """See :class:`mxcore.runtime.backend.Backend`. Memory is the host's; transfers and views are not logged."""

    name: ClassVar[str] = "tracing"
    array_type = Traced

    def __init__(self) -> None:
        numpy = self._numpy = NumpyBackend()
        self.xp = Functions(numpy.xp)
        self.device_count, self.synchronize = numpy.device_count, numpy.synchronize
        self.memory_info, self.empty_cache = numpy.memory_info, numpy.empty_cache
        self.to_dlpack, self.dlpack_device = numpy.to_dlpack, numpy.dlpack_device
        self.to_host, self.asarray = numpy.to_host, _traced

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, index: int) -> Traced:
        return np.empty(shape, dtype).view(Traced)

    def from_host(self, array: np.ndarray, index: int) -> Traced:
        return np.array(array, order="C").view(Traced)

    def own(self, raw: Traced) -> Traced:  # alone: a view of this class of a NumPy array that nothing else refers to
        alone = type(raw.base) is np.ndarray and raw.base.base is None and raw.base.size == raw.size
        return raw if alone and raw.flags.c_contiguous else self.from_host(raw, 0)

    def rng(self, seed: int, index: int) -> Functions:
        return Functions(self._numpy.rng(seed, index), "random.")

    def from_dlpack(self, value: Any) -> Traced:
        return self._numpy.from_dlpack(value).view(Traced)
