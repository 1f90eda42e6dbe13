"""Products of matrices and dense layers by cuBLASLt, called through ``ctypes``.

CuPy's own functions refuse to run while a stream is captured, copy the operands of batched products, and multiply bfloat16
without tensor cores; ``cublasLtMatmul`` does all of it, and adds a bias before it rounds. What it needs besides addresses
(descriptors, an algorithm, the size of its workspace) is made once for each signature: a plan.
"""

from __future__ import annotations

import ctypes as C
from functools import cache, lru_cache, partial
from math import prod
from typing import Any

from mxcore.dtype import dtype_of
from mxcore.errors import MXNetError
from mxcore_device.arrays import Array

from .libraries import Library, Made, UnservedError

__all__ = ["dense", "library", "product"]

_FLOAT, _DOUBLE = 0, 1  # cudaDataType
_SUMS, _SUMS_TF32, _SUMS_DOUBLE = 68, 77, 70  # cublasComputeType_t
#: cudaDataType, cublasComputeType_t and the cudaDataType of the factors: short types are summed in float32
_TYPES = {dtype_of("float32"): (_FLOAT, _SUMS, _FLOAT), dtype_of("float64"): (_DOUBLE, _SUMS_DOUBLE, _DOUBLE),
          dtype_of("float16"): (2, _SUMS, _FLOAT), dtype_of("bfloat16"): (14, _SUMS, _FLOAT)}
_TRANSPOSE_A, _TRANSPOSE_B, _EPILOGUE, _BIAS_POINTER = 3, 4, 7, 8  # cublasLtMatmulDescAttributes_t
_ADD_BIAS = 4  # cublasLtEpilogue_t
_BATCHES, _BATCH_STEP = 5, 6  # cublasLtMatrixLayoutAttribute_t
_MOST_WORKSPACE, _REDUCTIONS, _ALIGNMENTS = 1, 3, (5, 6, 7, 8)  # cublasLtMatmulPreferenceAttributes_t; A, B, C, D
_IN_COMPUTE_TYPE = 2  # cublasLtReductionScheme_t: parts of a sum are not rounded to a short type
_NOT_SERVED = 8, 15  # cublasStatus_t: the device or the library has no such product

_WORKSPACE = 32 << 20  # bytes, what NVIDIA advises for Hopper
_ALIGNED = 256  # bytes: no algorithm asks for more
_PLANS = 1024
_MOST, _MOST_BATCHES = (1 << 31) - 1, (1 << 16) - 1  # matrices are numbered along an axis of the grid

_Operand = tuple[bool, int, int]  # whether it is transposed, steps between its rows (columns) and between matrices


class _Heuristic(C.Structure):
    """``cublasLtMatmulHeuristicResult_t``."""

    _fields_ = (("algorithm", C.c_uint64 * 8), ("workspace", C.c_size_t), ("status", C.c_int), ("waves", C.c_float),
                ("reserved", C.c_int * 4))


@cache
def library() -> Library:
    """cuBLASLt, loaded at the first call: of the wheels of CUDA or of the system.

    Raises
    ------
    MXNetError
        It is not there.
    """
    try:
        found = Library("cublasLt", "cuBLASLt", "cublasLtGetStatusString", _NOT_SERVED.__contains__)
    except LookupError as error:
        raise MXNetError("cuBLASLt was not found: pip install mxcore[cuda13] brings it, or the CUDA toolkit of the system does "
                         f"({error})") from error
    pointer = C.c_void_p
    found.loaded.cublasLtMatmul.argtypes = (*(pointer,) * 14, C.c_size_t, pointer)
    return found


@cache
def _handle(machine: Any) -> Made:
    """The library's context of a device, which has no state of its own: plans use it under the device's lock."""
    machine.enter()
    return library().made("cublasLtCreate")


def _set(kind: str, made: Made, attribute: int, value: Any) -> None:
    library()(f"cublasLt{kind}SetAttribute", made, attribute, C.byref(value), C.c_size_t(C.sizeof(value)))


def _layout(number: int, rows: int, columns: int, step: int, count: int, apart: int) -> Made:
    """Matrices that lie column by column."""
    made = library().made("cublasLtMatrixLayoutCreate", number, C.c_uint64(rows), C.c_uint64(columns), C.c_int64(step))
    _set("MatrixLayout", made, _BATCHES, C.c_int32(count))
    _set("MatrixLayout", made, _BATCH_STEP, C.c_int64(apart))
    return made


class _Plan:
    """A product of one signature, ready but for the addresses: ``plan(new, a, b[, bias][, workspace])``.

    Parameters
    ----------
    sizes : tuple of int
        m, n and k of a matrix, and how many there are.
    left, right : tuple
        How the operands lie.
    bias : bool
        A vector is added to each row.
    alignment : int
        Bytes, of which all addresses are multiples.

    Attributes
    ----------
    workspace : int
        Bytes that a call wants besides, at a multiple of 256; 0: none.

    Raises
    ------
    UnservedError
    """

    def __init__(self, machine: Any, dtype: Any, sizes: tuple[int, int, int, int], left: _Operand, right: _Operand, bias: bool,
                 alignment: int, tf32: bool) -> None:
        call, (m, n, k, count), (number, sums, factor) = library(), sizes, _TYPES[dtype]
        how = call.made("cublasLtMatmulDescCreate", _SUMS_TF32 if number == _FLOAT and tf32 else sums, factor)
        # cuBLAS counts by columns, so it is told to compute the transpose: new' = b' a'
        _set("MatmulDesc", how, _TRANSPOSE_A, C.c_int32(right[0]))
        _set("MatmulDesc", how, _TRANSPOSE_B, C.c_int32(left[0]))
        self.bias = C.c_void_p(alignment) if bias else None
        if self.bias is not None:
            _set("MatmulDesc", how, _EPILOGUE, C.c_uint32(_ADD_BIAS))
            self.note_bias = partial(call, "cublasLtMatmulDescSetAttribute", how, _BIAS_POINTER, C.byref(self.bias),
                                     C.c_size_t(C.sizeof(self.bias)))
            self.note_bias()  # the heuristic reads its alignment
        a = _layout(number, *((k, n) if right[0] else (n, k)), right[1], count, right[2])
        b = _layout(number, *((m, k) if left[0] else (k, m)), left[1], count, left[2])
        c = _layout(number, n, m, n, count, m * n)
        wish = call.made("cublasLtMatmulPreferenceCreate")
        _set("MatmulPreference", wish, _MOST_WORKSPACE, C.c_uint64(_WORKSPACE))
        _set("MatmulPreference", wish, _REDUCTIONS, C.c_uint32(_IN_COMPUTE_TYPE))
        for which in _ALIGNMENTS:
            _set("MatmulPreference", wish, which, C.c_uint32(alignment))
        handle, found, best = _handle(machine), C.c_int(), _Heuristic()
        with machine.lock:
            machine.enter()
            call("cublasLtMatmulAlgoGetHeuristic", handle, how, a, b, c, c, wish, 1, C.byref(best), C.byref(found))
        if not found.value or best.status:
            raise UnservedError(f"cuBLASLt has no algorithm for {count} products of {(m, k)} by {(k, n)} in {dtype}")
        one, zero = [(C.c_double if factor == _DOUBLE else C.c_float)(x) for x in (1, 0)]
        self.machine, self.run, self.workspace = machine, call.loaded.cublasLtMatmul, best.workspace
        self.alive = handle, how, one, a, b, zero, c, best
        #: their addresses: numbers are what ``ctypes`` passes fastest
        self.places = handle.value, how.value, C.addressof(one), a.value, b.value, C.addressof(zero), c.value, C.addressof(best)

    def __call__(self, new: int, a: int, b: int, *more: int) -> None:
        handle, how, one, right, left, zero, out, algorithm = self.places
        machine, workspace = self.machine, more[-1] if self.workspace else 0
        with machine.lock:  # threads share plans, in which the bias is noted
            if self.bias is not None:
                self.bias.value = more[0]
                self.note_bias()
            status = self.run(handle, how, one, b, right, a, left, zero, new, out, new, out, algorithm, workspace, self.workspace,
                              machine.stream)
        if status:
            raise library().error("cublasLtMatmul", status)


@lru_cache(_PLANS)
def _plan(*signature: Any) -> _Plan | None:
    """The plan of a signature; None if the library has none."""
    try:
        return _Plan(*signature)
    except UnservedError:
        return None


def _operand(a: Array) -> _Operand | None:
    """None if it has to be copied: neither rows nor columns are dense, or the matrices do not follow at one distance."""
    shape, strides = a.shape, a.strides
    rows, columns, down, right = shape[-2], shape[-1], strides[-2], strides[-1]
    apart = _step(shape[:-2], strides[:-2]) if a.ndim > 2 else 0
    if apart is None or apart < 0:
        return None
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return False, max(down, columns) if rows > 1 else columns, apart
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return True, max(right, rows) if columns > 1 else rows, apart
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


def _readable(a: Array) -> tuple[Array, _Operand]:
    """The array or a copy of it, and how it lies."""
    how = _operand(a)
    return (a, how) if how is not None else _readable(a.machine.xp.copy(a))


def product(machine: Any, new: Array, a: Array, b: Array) -> bool:
    """``new = a @ b`` over the last two axes; False for types and sizes that cuBLASLt has not.

    Parameters
    ----------
    new : (..., m, n) array
        Dense.
    a, b : (..., m, k) and (..., k, n) arrays
        With any strides; copied only if neither their rows nor their columns are dense.
    """
    if new.dtype not in _TYPES:
        return False
    b, right = _readable(b)
    return _multiply(machine, new, a, b, right, None)


def dense(machine: Any, new: Array, x: Array, weight: Array, bias: Array | None) -> bool:
    """``new = x @ weight.T + bias``; False for types and sizes that cuBLASLt has not.

    Parameters
    ----------
    new, x, weight, bias : (m, n), (m, k), (n, k) and (n,) arrays
        As for :func:`product`.
    """
    if new.dtype not in _TYPES:
        return False
    weight, (turned, step, apart) = _readable(weight)
    return _multiply(machine, new, x, weight, (not turned, step, apart), bias)


def _multiply(machine: Any, new: Array, a: Array, b: Array, right: _Operand, bias: Array | None) -> bool:
    a, left = _readable(a)  # alive until the launch
    (m, n), k, count = new.shape[-2:], a.shape[-1], prod(new.shape[:-2])
    if count > 1 and not right[2] and not left[0] and left[2] == m * left[1]:  # one matrix of many rows by one
        m, count, left = m * count, 1, (False, left[1], 0)
    if not k or m > _MOST or n > _MOST or k > _MOST or count > _MOST_BATCHES:
        return False
    place = machine.place
    places = [place(new), place(a), place(b)]
    if bias is not None:
        places.append(place(bias if bias.dense else machine.xp.copy(bias)))
    bits = _ALIGNED
    for memory, start in places:
        bits |= memory.ptr + start
    plan = _plan(machine, new.dtype, (m, n, k, count), left, right, bias is not None, bits & -bits, machine.tf32)
    if plan is None:
        return False
    if plan.workspace:  # a call's own: streams and threads share none, and a recording keeps it with the rest of its memory
        places.append((machine.allocate(plan.workspace), 0))
    machine.perform(plan, *places)
    return True
