"""Products of matrices: a tiled kernel on graphics processors, NumPy's BLAS on mapped memory where the device is a CPU."""

from __future__ import annotations

from math import prod
from struct import pack
from typing import Any

import numpy as np

from mxcore.errors import ShapeError
from mxcore.registry.kernels import generic_of
from mxcore.registry.op import OPS
from mxcore_numpy.xp import XP as REFERENCE

from . import source
from .arrays import Array, broadcast_shapes, empty
from .elementwise import cast
from .host import elsewhere, on_host, routed
from .reductions import head_of
from .shapes import axis_of, broadcast_to
from .source import LOCAL_SIZE

__all__ = ["Products", "contracted", "dense", "tiled", "tiles"]

#: a work-group of 8 x 8 work-items makes a tile of 32 x 32, each item 4 x 4 of it, in steps of 16 along the sum
TILE, STEP = 32, 16
_TILED = """
__kernel __attribute__((reqd_work_group_size({local}, 1, 1)))
void {name}(__global {memory} *p0, __global const {memory} *p1, __global const {memory} *p2, {parameters}) {{
  __local T a[{step}][{tile} + 1], b[{step}][{tile} + 1];
  int lane = get_local_id(0), group = get_group_id(0);
  int across = (s.n + {tile} - 1) / {tile}, down = (s.m + {tile} - 1) / {tile};
  int row = (group / across) % down * {tile}, column = group % across * {tile}, i = group / (across * down);
{prepare}  T sum[4][4];
  for (int y = 0; y < 4; ++y) for (int x = 0; x < 4; ++x) sum[y][x] = 0;
  int ty = lane / 8, tx = lane % 8;
  for (int k0 = 0; k0 < s.k; k0 += {step}) {{
    for (int e = lane; e < {tile} * {step}; e += {local}) {{
      // neighbours read neighbours: along the axis that is the faster in memory
      int r = {fast_a} ? e / {step} : e % {tile}, k = {fast_a} ? e % {step} : e / {tile};
      a[k][r] = row + r < s.m && k0 + k < s.k ? {load_a} : (T)0;
      int c = {fast_b} ? e / {step} : e % {tile}, h = {fast_b} ? e % {step} : e / {tile};
      b[h][c] = column + c < s.n && k0 + h < s.k ? {load_b} : (T)0;
    }}
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = 0; k < {step}; ++k) {{
      T u[4], v[4];
      for (int y = 0; y < 4; ++y) u[y] = a[k][ty + 8 * y];
      for (int x = 0; x < 4; ++x) v[x] = b[k][tx + 8 * x];
      for (int y = 0; y < 4; ++y) for (int x = 0; x < 4; ++x) sum[y][x] += u[y] * v[x];
    }}
    barrier(CLK_LOCAL_MEM_FENCE);
  }}
  for (int y = 0; y < 4; ++y) for (int x = 0; x < 4; ++x) {{
    int r = row + ty + 8 * y, c = column + tx + 8 * x;
    if (r < s.m && c < s.n) {{ {store} }}
  }}
}}
"""


def tiled(name: str, dtype: np.dtype, parameters: str, prepare: str, load_a: str, load_b: str, store: str, fast_a: str,
          fast_b: str) -> str:
    """A kernel ``C = A B`` in tiles, whose elements are expressions.

    ``load_a`` is ``A[row + r, k0 + k]``, ``load_b`` is ``B[k0 + h, column + c]`` and ``store`` writes ``sum[y][x]`` to
    ``C[r, c]``; ``s.m``, ``s.n``, ``s.k`` are the lengths and ``i`` the number of the matrix. ``fast_a`` and ``fast_b`` say
    whether ``k`` is the faster axis in memory. ``prepare`` stands in front.
    """
    return _TILED.format(name=name, local=LOCAL_SIZE, memory=source.storage(dtype), tile=TILE, step=STEP, parameters=parameters,
                         prepare=prepare, load_a=load_a, load_b=load_b, store=store, fast_a=fast_a, fast_b=fast_b)


def tiles(m: int, n: int) -> int:
    """How many tiles a matrix has."""
    return -(-m // TILE) * -(-n // TILE)


def contracted(dtype: np.dtype) -> str:
    """The beginning of a program in which products may be added in one step."""
    return source.typed(dtype).replace(source.HEAD, "#pragma OPENCL FP_CONTRACT ON\n")


def _program(dtype: np.dtype) -> tuple[str, dict]:
    shape = "typedef struct { int m, n, k, batches; long am, ak, bk, bn; } Shape;\n"
    text = tiled(
        "gemm", dtype, "const Shape s, const Layout3 l", head_of(3), fast_a="s.ak == 1", fast_b="s.bk == 1",
        load_a=source.loads(dtype, "p1", "j1 + (row + r) * s.am + (k0 + k) * s.ak"),
        load_b=source.loads(dtype, "p2", "j2 + (k0 + h) * s.bk + (column + c) * s.bn"),
        store=source.stores(dtype, "p0", "j0 + (long)r * s.n + c", "sum[y][x]"))
    return contracted(dtype) + source.frame(3).declaration + shape + text, {("gemm", dtype): "gemm"}


def _matmul_into(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    if a.dtype.itemsize == 2 and a.dtype.kind not in "iu":
        out[...] = np.matmul(a.astype(np.float32), b.astype(np.float32))
    else:
        np.matmul(a, b, out=out)


class Products:
    """The part of ``xp`` that multiplies matrices."""

    machine: Any

    def matmul(self, a: Array, b: Array) -> Array:
        """NumPy's ``matmul``; float16 and bfloat16 are summed in float32."""
        machine = self.machine
        for x in (a, b):
            if x.machine is not machine:
                raise elsewhere(machine, x)
        if a.dtype != b.dtype:
            dtype = np.result_type(a.dtype, b.dtype)
            a, b = cast(a, dtype), cast(b, dtype)
        if not a.ndim or not b.ndim:
            raise ShapeError(f"matmul wants arrays of at least one dimension, not {a.shape} and {b.shape}")
        row, column = a.ndim == 1, b.ndim == 1
        a, b = a[None] if row else a, b[:, None] if column else b
        if a.shape[-1] != b.shape[-2]:
            raise ShapeError(f"matmul of shapes {a.shape} and {b.shape}: {a.shape[-1]} and {b.shape[-2]} differ")
        new = self._product(a, b)
        return new[..., 0 if row else slice(None), 0 if column else slice(None)] if row or column else new

    def _product(self, a: Array, b: Array) -> Array:
        machine, dtype = self.machine, a.dtype
        batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        shape = (*batch, m, n)
        if dtype.name == "float64" and not machine.fp64:
            return on_host(machine, "matmul", REFERENCE.matmul, a, b)
        if not machine.gpu:
            return routed(machine, "matmul", _matmul_into, shape, dtype, a, b)
        new = empty(machine, shape, dtype)
        wide_a, wide_b = broadcast_to(a, (*batch, m, k)), broadcast_to(b, (*batch, k, n))
        if new.size and not machine.product(new, wide_a, wide_b):
            plan = source.layout(batch, new.strides[:-2], wide_a.strides[:-2], wide_b.strides[:-2])
            kernel = machine.kernel(("gemm", dtype), lambda: _program(dtype))
            machine.launch(kernel, tiles(m, n) * prod(batch) * LOCAL_SIZE, new.memory, a.memory, b.memory,
                           pack("4i4q", m, n, k, plan.n, a.strides[-2], a.strides[-1], b.strides[-2], b.strides[-1]),
                           plan.packed + pack("3q", 0, a.offset, b.offset))
        return new

    def tensordot(self, a: Array, b: Array, axes: Any) -> Array:
        """NumPy's ``tensordot``, as one product of matrices."""
        if isinstance(axes, (int, np.integer)):
            axes = (range(a.ndim - axes, a.ndim), range(axes))
        left, right = ([x] if isinstance(x, (int, np.integer)) else list(x) for x in axes)
        left, right = [axis_of(x, a.ndim) for x in left], [axis_of(x, b.ndim) for x in right]
        if [a.shape[x] for x in left] != [b.shape[x] for x in right]:
            raise ShapeError(f"shapes {a.shape} and {b.shape} differ along the axes {left} and {right}")
        rows, columns = [x for x in range(a.ndim) if x not in left], [x for x in range(b.ndim) if x not in right]
        xp, inner = self.machine.xp, prod([a.shape[x] for x in left])
        shape_a, shape_b = tuple([a.shape[x] for x in rows]), tuple([b.shape[x] for x in columns])
        u = xp.reshape(xp.transpose(a, [*rows, *left]), (prod(shape_a), inner))
        v = xp.reshape(xp.transpose(b, [*right, *columns]), (inner, prod(shape_b)))
        return xp.reshape(self.matmul(u, v), (*shape_a, *shape_b))

    def einsum(self, subscripts: str, *arrays: Array) -> Array:
        """NumPy's ``einsum`` of one or two arrays, each letter once in an array; as a product of matrices."""
        inputs, arrow, out = subscripts.replace(" ", "").partition("->")
        terms = inputs.split(",")
        if len(arrays) > 2 or "." in subscripts or not arrow or any(len(set(t)) != len(t) for t in (*terms, out)):
            return on_host(self.machine, "einsum", REFERENCE.einsum, subscripts, *arrays)
        xp = self.machine.xp
        operands = list(arrays)
        for i, (a, t) in enumerate(zip(arrays, tuple(terms), strict=True)):  # what only one array has, and the result lacks
            other = "".join(terms[:i] + terms[i + 1 :]) + out
            gone = tuple([k for k, letter in enumerate(t) if letter not in other])
            if gone:
                operands[i], terms[i] = xp.sum(a, axis=gone), "".join(letter for letter in t if letter in other)
        if len(operands) == 1:
            return xp.copy(xp.transpose(operands[0], [terms[0].index(letter) for letter in out]))
        (a, b), (s, t) = operands, terms
        both = [x for x in s if x in t and x in out]
        inner = [x for x in s if x in t and x not in out]
        rows, columns = [x for x in s if x not in t], [x for x in t if x not in s]
        size = dict(zip(s + t, a.shape + b.shape, strict=True))
        u = xp.reshape(xp.transpose(a, [s.index(x) for x in both + rows + inner]),
                       [size[x] for x in both] + [prod(size[x] for x in rows), prod(size[x] for x in inner)])
        v = xp.reshape(xp.transpose(b, [t.index(x) for x in both + inner + columns]),
                       [size[x] for x in both] + [prod(size[x] for x in inner), prod(size[x] for x in columns)])
        order = both + rows + columns
        wide = xp.reshape(self.matmul(u, v), [size[x] for x in order])
        return xp.copy(xp.transpose(wide, [order.index(x) for x in out])) if order != list(out) else wide


def dense(xp: Any, data: Array, weight: Array, bias: Array | None = None, **attrs: Any) -> Array:
    """The kernel of ``FullyConnected``: product and bias in one call of a library, where the device has one."""
    new = _dense(xp, data, weight, None if attrs["no_bias"] else bias, attrs["num_hidden"], attrs["flatten"])
    return new if new is not None else generic_of(OPS["FullyConnected"])(xp, data, weight, bias, **attrs)  # type: ignore[misc]


def _dense(xp: Any, data: Array, weight: Array, bias: Array | None, hidden: int, flatten: bool) -> Array | None:
    """None: by functions, which also say what is wrong."""
    machine, dtype = xp.machine, data.dtype
    given = (data, weight) if bias is None else (data, weight, bias)
    if not machine.biases or data.ndim < 2 or any(
            not isinstance(a, Array) or a.machine is not machine or a.dtype != dtype or not a.size for a in given):
        return None
    inputs = prod(data.shape[1:]) if flatten else data.shape[-1]
    if weight.shape != (hidden, inputs) or (bias is not None and bias.shape != (hidden,)):
        return None
    new = empty(machine, ((data.shape[0],) if flatten else data.shape[:-1]) + (hidden,), dtype)
    rows, out = [a if a.ndim == 2 else xp.reshape(a, (data.size // inputs, -1)) for a in (data, new)]
    return new if machine.dense(out, rows, weight, bias) else None
