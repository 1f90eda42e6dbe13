"""Products of matrices by cuBLAS, called through ``ctypes``.

CuPy's own functions refuse to run while a stream is captured, copy the operands of batched products, and multiply bfloat16
without tensor cores; this is the one function that does all of it, ``cublasGemmStridedBatchedEx``.
"""

from __future__ import annotations

import ctypes as C
import sys
import threading
from functools import cache
from math import prod
from typing import Any, NamedTuple

from mxcore.errors import MXNetError
from mxcore_device.arrays import Array

__all__ = ["library", "product"]

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType
_COMPUTE = {"float32": 68, "float64": 70, "float16": 68, "bfloat16": 68}  # cublasComputeType_t: short ones are summed in float32
_COMPUTE_TF32 = 77
_DEFAULT_ALGORITHM = -1
_WORKSPACE = 32 << 20  # bytes, what NVIDIA advises for Hopper; a fixed one is what captured streams need
_MOST = (1 << 31) - 1


class _Library:
    """``libcublas``, and the functions of it that are used, with checked status."""

    def __init__(self, loaded: Any) -> None:
        self.create = loaded.cublasCreate_v2
        self.destroy = loaded.cublasDestroy_v2
        self.set_stream = loaded.cublasSetStream_v2
        self.set_workspace = loaded.cublasSetWorkspace_v2
        self.gemm = loaded.cublasGemmStridedBatchedEx
        self.create.argtypes = (C.POINTER(C.c_void_p),)
        self.destroy.argtypes = (C.c_void_p,)
        self.set_stream.argtypes = (C.c_void_p, C.c_void_p)
        self.set_workspace.argtypes = (C.c_void_p, C.c_void_p, C.c_size_t)
        pointer, integer, long = C.c_void_p, C.c_int, C.c_longlong
        self.gemm.argtypes = (pointer, integer, integer, integer, integer, integer, pointer, pointer, integer, integer, long,
                              pointer, integer, integer, long, pointer, pointer, integer, integer, long, integer, integer,
                              integer)


@cache
def library() -> _Library:
    """cuBLAS, loaded at the first call: of the wheels of CUDA or of the system.

    Raises
    ------
    MXNetError
        It is not there.
    """
    from cuda import pathfinder

    try:
        return _Library(C.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path))
    except (pathfinder.DynamicLibNotFoundError, OSError) as error:
        raise MXNetError(f"cuBLAS was not found: pip install mxcore[cuda13] brings it, or the CUDA toolkit of the system does "
                         f"({error})") from error


def _check(status: int, doing: str) -> None:
    if status:
        raise MXNetError(f"cuBLAS failed with status {status} while {doing}")


class _Handle:
    """A context of cuBLAS for one device and thread, with memory of its own."""

    def __init__(self, machine: Any) -> None:
        handle = C.c_void_p()
        self.value: int | None = None
        machine.enter()
        _check(library().create(C.byref(handle)), "creating a context")
        self.value = handle.value
        self.memory = machine.allocate(_WORKSPACE)
        self.stream = -1

    def __del__(self) -> None:
        if self.value and not sys.is_finalizing():  # then the driver may be gone
            library().destroy(self.value)

    def on(self, stream: int) -> Any:
        """The handle, set to a stream. Setting it resets the workspace."""
        if stream != self.stream:
            _check(library().set_stream(self.value, stream), "choosing a stream")
            _check(library().set_workspace(self.value, self.memory.ptr, _WORKSPACE), "setting its workspace")
            self.stream = stream
        return self.value


class _Handles(threading.local):
    def __init__(self) -> None:
        self.of: dict[int, _Handle] = {}


_HANDLES = _Handles()


class _Operand(NamedTuple):
    """A matrix as cuBLAS wants it: whether it is transposed, steps between columns and between matrices."""

    transposed: bool
    step: int
    batch: int


def _operand(a: Array) -> _Operand | None:
    """None if it has to be copied: neither rows nor columns are dense, or the matrices do not follow at one distance."""
    (rows, columns), (down, right) = a.shape[-2:], a.strides[-2:]
    batch = _step(a.shape[:-2], a.strides[:-2])
    if batch is None or batch < 0:
        return None
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return _Operand(False, max(down, columns) if rows > 1 else columns, batch)
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return _Operand(True, max(right, rows) if columns > 1 else rows, batch)
    return None


def _step(shape: tuple[int, ...], strides: tuple[int, ...]) -> int | None:
    """The one distance between neighbours when the axes are walked as one; None if there is no such."""
    step, count = 0, 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n == 1:
            continue
        if count == 1:
            step = s
        elif s != step * count:
            return None
        count *= n
    return step


def product(machine: Any, new: Array, a: Array, b: Array) -> bool:
    """``new = a @ b`` over the last two axes; False for types and sizes that cuBLAS has not."""
    dtype, (m, k), n = new.dtype.name, a.shape[-2:], b.shape[-1]
    if dtype not in _TYPES or not k or max(m, n, k, prod(new.shape[:-2])) > _MOST:
        return False
    a, b = [x if _operand(x) is not None else machine.xp.copy(x) for x in (a, b)]  # alive until the launch
    left, right = _operand(a), _operand(b)
    if left is None or right is None or max(left.step, right.step) > _MOST:
        return False
    sizes = m, k, n, prod(new.shape[:-2])
    machine.perform(lambda *addresses: _multiply(machine, dtype, sizes, left, right, *addresses),
                    *map(machine.place, (new, a, b)))
    return True


def _multiply(machine: Any, dtype: str, sizes: tuple[int, ...], left: _Operand, right: _Operand, new: int, a: int,
              b: int) -> None:
    handle = _HANDLES.of.get(machine.index)
    if handle is None:
        handle = _HANDLES.of[machine.index] = _Handle(machine)
    machine.keep(handle)
    m, k, n, count = sizes
    scalar = C.c_double if dtype == "float64" else C.c_float
    one, zero, kind = scalar(1), scalar(0), _TYPES[dtype]
    compute = _COMPUTE_TF32 if dtype == "float32" and machine.tf32 else _COMPUTE[dtype]
    # cuBLAS counts by columns, so it is told to compute the transpose: new' = b' a'
    _check(library().gemm(
        handle.on(machine.stream), int(right.transposed), int(left.transposed), n, m, k, C.addressof(one), b, kind,
        right.step, right.batch, a, kind, left.step, left.batch, C.addressof(zero), new, kind, n, m * n, count, compute,
        _DEFAULT_ALGORITHM), f"multiplying {count} matrices of {(m, k)} by {(k, n)} of {dtype}")
