"""The definitions that make the programs of :mod:`mxcore_device.source`, which are plain OpenCL C, CUDA C++.

They need no header, so that the compiler library alone is enough. Half precision is converted by instructions, not by
``cuda_fp16.h``.
"""

from __future__ import annotations

import re

from mxcore_device.source import HEAD, LOCAL_SIZE

__all__ = ["PRELUDE", "options", "translated"]

_GROUP_SIZE = re.compile(r"__attribute__\(\(reqd_work_group_size\([^)]*\)\)\)")
_PARAMETERS = re.compile(r"(?<=void )\w+\([^{]*?\)(?= \{)")
_VALUE = re.compile(r"\bconst (?=\w+ \w+[,)])")
PRELUDE = f"""
#define __kernel extern "C" __global__ __launch_bounds__({LOCAL_SIZE})
#define __global
#define __local __shared__
#define restrict __restrict__
#define volatile
#define inline __device__ __forceinline__
#define long long long
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned short half;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fc00000)
#define CHAR_MIN (-128)
#define CHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MIN (-32768)
#define SHRT_MAX 32767
#define USHRT_MAX 65535
#define INT_MIN (-2147483647 - 1)
#define INT_MAX 2147483647
#define UINT_MAX 4294967295u
#define LONG_MIN (-9223372036854775807LL - 1)
#define LONG_MAX 9223372036854775807LL
#define ULONG_MAX 18446744073709551615ULL
#define CLK_LOCAL_MEM_FENCE
#define barrier(x) __syncthreads()
#define get_global_id(axis) ((int)(blockIdx.x * {LOCAL_SIZE} + threadIdx.x))
#define get_local_id(axis) ((int)threadIdx.x)
#define get_group_id(axis) ((int)blockIdx.x)
#define atomic_cmpxchg(place, old, now) atomicCAS(place, old, now)
static inline float as_float(int x) {{ return __int_as_float(x); }}
static inline float as_float(uint x) {{ return __uint_as_float(x); }}
static inline int as_int(float x) {{ return __float_as_int(x); }}
static inline uint as_uint(float x) {{ return __float_as_uint(x); }}
static inline uint mul_hi(uint a, uint b) {{ return __umulhi(a, b); }}
static inline ulong mul_hi(ulong a, ulong b) {{ return __umul64hi(a, b); }}
static inline float vload_half(long i, const half *p) {{
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(p[i]));
  return x;
}}
static inline void vstore_half_rte(float x, long i, half *p) {{ asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p[i]) : "f"(x)); }}
static inline void vstore_half_rte(double x, long i, half *p) {{ asm("cvt.rn.f16.f64 %0, %1;" : "=h"(p[i]) : "d"(x)); }}
#line 1 "program.cl"
"""


def translated(source: str) -> str:
    """A program in CUDA C++.

    Structures that kernels are given stay where they are: without ``__grid_constant__`` each thread would copy those whose
    arrays it indexes to memory of its own, 200 bytes of an array's layout.
    """
    plain = _GROUP_SIZE.sub("", source)  # CUDA's own attributes are spelled with the same word: no definition of it
    return PRELUDE + "__kernel".join(_constant(part) if k else part for k, part in enumerate(plain.split("__kernel")))


def _constant(kernel: str) -> str:
    return _PARAMETERS.sub(lambda found: _VALUE.sub("const __grid_constant__ ", found[0]), kernel, count=1)


def options(source: str, architecture: str) -> tuple[str, ...]:
    """Options of the compiler. Numbers are IEEE's; products and sums are fused only where the program allows it."""
    contract = "false" if HEAD in source else "true"
    return (f"--gpu-architecture={architecture}", "--std=c++17", f"--fmad={contract}", "--ftz=false", "--prec-div=true",
            "--prec-sqrt=true",
            "--diag-suppress=161,177,550")  # pragmas of OpenCL; functions and values that a program has but does not use
