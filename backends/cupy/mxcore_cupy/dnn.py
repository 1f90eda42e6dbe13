"""Convolutions by cuDNN, called through ``ctypes``, where it is installed; without it the kernels of ``mxcore_device`` run.

Descriptors, the choice of an algorithm and the size of its workspace are made once for each set of shapes, types and
attributes. The functions are those of cuDNN's C API (version 9): a call is one function of the library with device
addresses, which a captured stream records as it is.
"""

from __future__ import annotations

import ctypes as C
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from mxcore_device.arrays import Array

from .libraries import Library, Made, UnservedError

__all__ = ["TYPES", "convolution", "handle", "integers", "library", "made", "math_type", "tensor", "version"]

TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 9}  # cudnnDataType_t
_CROSS_CORRELATION, _NCHW = 1, 0
_DEFAULT_MATH, _TENSOR_MATH, _FMA_MATH = 0, 1, 3
_ALGORITHMS = 8  # at most so many are asked for
_WORKSPACE = 256 << 20  # bytes; algorithms that want more are passed over
_PLANS = 1024
_NOT_SUPPORTED = 3  # the thousands of the statuses that say so


class _Performance(C.Structure):
    """``cudnnConvolution*AlgoPerf_t``."""

    _fields_ = (("algorithm", C.c_int), ("status", C.c_int), ("time", C.c_float), ("memory", C.c_size_t),
                ("determinism", C.c_int), ("math", C.c_int), ("reserved", C.c_int * 3))


class _Kind(NamedTuple):
    """The three functions for one of the three products of a convolution."""

    choose: str
    size: str
    run: str


_KINDS = {
    "forward": _Kind("cudnnGetConvolutionForwardAlgorithm_v7", "cudnnGetConvolutionForwardWorkspaceSize",
                     "cudnnConvolutionForward"),
    "data": _Kind("cudnnGetConvolutionBackwardDataAlgorithm_v7", "cudnnGetConvolutionBackwardDataWorkspaceSize",
                  "cudnnConvolutionBackwardData"),
    "weight": _Kind("cudnnGetConvolutionBackwardFilterAlgorithm_v7", "cudnnGetConvolutionBackwardFilterWorkspaceSize",
                    "cudnnConvolutionBackwardFilter"),
}


class _Sizes(NamedTuple):
    """Of the larger image, the window (weight) and the smaller image."""

    large: tuple[int, ...]
    window: tuple[int, ...]
    small: tuple[int, ...]


@cache
def library() -> Library | None:
    """cuDNN, loaded at the first call: of the wheels of NVIDIA or of the system; None where there is none."""
    try:
        return Library("cudnn", "cuDNN", "cudnnGetErrorString", lambda status: status // 1000 == _NOT_SUPPORTED)
    except LookupError:
        return None


def version() -> str | None:
    """As ``"9.12"``; None where cuDNN is not installed."""
    found = library()
    if found is None:
        return None
    found.loaded.cudnnGetVersion.restype = C.c_size_t
    number = found.loaded.cudnnGetVersion()  # 91200: since version 9 two digits each
    return f"{number // 10000}.{number // 100 % 100}"


def made(create: str) -> Made:
    """What the function ``cudnnCreate...`` makes."""
    return library().made(create)  # type: ignore[union-attr]


def math_type(dtype: str, tf32: bool) -> int:
    """``cudnnMathType_t``: tensor cores for short types, float32 in TensorFloat-32 only where that is allowed."""
    return _TENSOR_MATH if dtype in ("float16", "bfloat16") else _FMA_MATH if dtype == "float32" and not tf32 else _DEFAULT_MATH


def integers(values: Sequence[int]) -> Any:
    """An array of ``int``."""
    return (C.c_int * len(values))(*values)


def tensor(shape: Sequence[int], dtype: str) -> Made:
    """A descriptor of a dense array."""
    new, step = made("cudnnCreateTensorDescriptor"), 1
    strides: list[int] = []
    for n in reversed(shape):
        strides.insert(0, step)
        step *= n
    library()("cudnnSetTensorNdDescriptor", new, TYPES[dtype], len(shape), integers(shape), integers(strides))  # type: ignore[misc]
    return new


def _filter(shape: Sequence[int], dtype: str) -> Made:
    new = made("cudnnCreateFilterDescriptor")
    library()("cudnnSetFilterNdDescriptor", new, TYPES[dtype], _NCHW, len(shape), integers(shape))  # type: ignore[misc]
    return new


class _Plan:
    """A convolution for certain shapes: its descriptors, algorithm and workspace."""

    def __init__(self, handle: Any, kind: str, sizes: _Sizes, dtype: str, groups: int, stride: tuple[int, ...],
                 dilate: tuple[int, ...], pad: tuple[int, ...], tf32: bool) -> None:
        call = library()
        assert call is not None  # :func:`convolution` has asked
        data, weight, out = tensor(sizes.large, dtype), _filter(sizes.window, dtype), tensor(sizes.small, dtype)
        self.how = made("cudnnCreateConvolutionDescriptor")
        work = "float64" if dtype == "float64" else "float32"
        call("cudnnSetConvolutionNdDescriptor", self.how, len(pad), integers(pad), integers(stride), integers(dilate),
             _CROSS_CORRELATION, TYPES[work])
        call("cudnnSetConvolutionGroupCount", self.how, groups)
        call("cudnnSetConvolutionMathType", self.how, math_type(dtype, tf32))
        self.operands = {"forward": (data, weight, out), "data": (weight, out, data), "weight": (data, out, weight)}[kind]
        self.run = _KINDS[kind].run
        self.algorithm, self.workspace = self._chosen(handle, kind, call)
        self.one = (C.c_double if work == "float64" else C.c_float)(1)
        self.zero = (C.c_double if work == "float64" else C.c_float)(0)

    def _chosen(self, handle: Any, kind: str, call: Library) -> tuple[int, int]:
        """The first algorithm, of those that cuDNN expects to be fastest, that is served and small enough."""
        a, b, c = self.operands
        found, many = C.c_int(), (_Performance * _ALGORITHMS)()
        call(_KINDS[kind].choose, handle, a, b, self.how, c, _ALGORITHMS, C.byref(found), many)
        for one in many[: found.value]:
            if one.status == 0 and one.memory <= _WORKSPACE:
                size = C.c_size_t()
                call(_KINDS[kind].size, handle, a, b, self.how, c, one.algorithm, C.byref(size))
                return one.algorithm, size.value
        raise UnservedError(f"cuDNN has no algorithm for {_KINDS[kind].run} with these shapes")

    def __call__(self, handle: Any, a: int, b: int, c: int, workspace: int) -> None:
        """``c`` from ``a`` and ``b``, which are addresses."""
        first, second, third = self.operands
        address = C.c_void_p
        library()(self.run, handle, C.byref(self.one), first, address(a), second, address(b), self.how,  # type: ignore[misc]
                  self.algorithm, address(workspace), C.c_size_t(self.workspace), C.byref(self.zero), third, address(c))


class _Context(threading.local):
    """Handles and plans of a thread, by device."""

    def __init__(self) -> None:
        self.handles: dict[int, tuple[Any, list[int]]] = {}
        self.plans: OrderedDict[Any, _Plan | None] = OrderedDict()  # None: our own kernels

    def handle(self, machine: Any) -> Any:
        """The handle of a device, set to its current stream."""
        machine.enter()
        if machine.index not in self.handles:
            self.handles[machine.index] = made("cudnnCreate"), [-1]
        handle, last = self.handles[machine.index]
        stream = machine.stream
        if last[0] != stream:
            library()("cudnnSetStream", handle, C.c_void_p(stream))  # type: ignore[misc]
            last[0] = stream
        machine.keep(handle)
        return handle


_CONTEXT = _Context()


def handle(machine: Any) -> Any:
    """The calling thread's handle of a device, set to its current stream."""
    return _CONTEXT.handle(machine)


def convolution(machine: Any, kind: str, new: Array, a: Array, b: Array, groups: int, stride: tuple[int, ...],
                dilate: tuple[int, ...], pad: tuple[int, ...]) -> bool:
    """One of the three products of a convolution.

    Parameters
    ----------
    kind : str
        ``forward``: from data and weight; ``data``: from the gradient of the output and weight; ``weight``: from data and the
        gradient of the output.
    new, a, b : Array
        Dense, in the order of the axes ``N, C, ...``.

    Returns
    -------
    bool
        False where there is no cuDNN, or it does not serve the type or sizes: then nothing was written.
    """
    dtype = new.dtype.name
    if dtype not in TYPES or not a.size or not b.size or library() is None:
        return False
    large, window, small = {"forward": (a, b, new), "data": (new, b, a), "weight": (a, new, b)}[kind]
    if any((n + 2 * p - d * (k - 1) - 1) // s + 1 != m for n, m, k, s, d, p in
           zip(large.shape[2:], small.shape[2:], window.shape[2:], stride, dilate, pad, strict=True)):
        return False  # cuDNN derives the size of the output, which is another here
    lead = (1,) if len(pad) == 1 else ()  # cuDNN has no images of one axis
    sizes = _Sizes(*[x.shape[:2] + lead + x.shape[2:] for x in (large, window, small)])
    key = machine.index, kind, sizes, dtype, groups, stride, dilate, pad, machine.tf32
    plans = _CONTEXT.plans
    if key not in plans:
        try:
            plans[key] = _Plan(handle(machine), kind, sizes, dtype, groups, lead + stride, lead + dilate, (0,) * len(lead) + pad,
                               machine.tf32)
        except UnservedError:
            plans[key] = None
        if len(plans) > _PLANS:
            plans.popitem(last=False)
    plan = plans[key]
    if plan is None:
        return False
    first, second = (b, a) if kind == "data" else (a, b)
    room = machine.allocate(plan.workspace)
    machine.perform(lambda *addresses: plan(handle(machine), *addresses), *map(machine.place, (first, second, new)),
                    (room, 0))
    return True
