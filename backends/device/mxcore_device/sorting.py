"""The order of keys: kernels that sort, search and count on graphics processors, for :mod:`mxcore_device.ordering`.

Elements become unsigned integers in the same order first, from their bits alone (Herf 2001, *Radix Tricks*), so that there
is one set of kernels for all types and none needs double precision: nan is the greatest number, zeros of both signs are equal.

Short lines are put in order by counting, for each element, those before it (comparison counting, Knuth, *The Art of Computer
Programming* vol. 3, 5.2): one launch, and all work-items of a group read the same neighbours. Long lines by a stable radix
sort from the lowest digit of 4 bits on (Satish, Harris & Garland 2009, *Designing Efficient Sorting Algorithms for Manycore
GPUs*): work-groups count the digits of their tile, the running sums of all counts (Blelloch 1990) say where each group's
elements of each digit go, and each group sorts its tile in local memory so that neighbours are written together. The sums
run over lines, digits and tiles in this order, so many lines are sorted in the same launches as one.
"""

from __future__ import annotations

from math import prod
from struct import pack
from typing import Any

import numpy as np

from . import source
from .arrays import Array, empty
from .elementwise import MOVES
from .source import LOCAL_SIZE

__all__ = ["SHORT", "found", "heads", "keys_of", "marks", "ordered", "places", "scanned", "totals", "top"]

_I4, _I8, _F8 = np.dtype("int32"), np.dtype("int64"), np.dtype("float64")
#: how long a line may be whose elements are counted one by one
SHORT = 512
_EACH, _BITS = 16, 4  # elements of a work-item, bits of a digit
_TILE, _DIGITS = _EACH * LOCAL_SIZE, 1 << _BITS
#: bits of infinity by the type's name
_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF0000000000000}

_HEAD = f"""#define GROUP __attribute__((reqd_work_group_size({LOCAL_SIZE}, 1, 1)))
#define LOCAL {LOCAL_SIZE}
#define EACH {_EACH}
#define TILE {_TILE}
#define DIGITS {_DIGITS}
#define AT(p) ((p) + (p) / EACH)  // places in local memory, so that neighbours do not wait for each other's bank
"""
#: exclusive running sums over a group: of ``sum`` into ``before``
_BEFORE = """  sums[lane] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int step = 1; step < LOCAL; step *= 2) {
    int other = lane >= step ? sums[lane - step] : 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    sums[lane] += other;
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  int before = sums[lane] - sum;
"""
_COUNTING = f"""{_HEAD}
__kernel GROUP void scan_tiles(__global int *p0, __global int *p1, __global const int *p2, int n) {{
  __local int tile[AT(TILE)], sums[LOCAL];
  int lane = get_local_id(0), group = get_group_id(0), start = group * TILE;
  for (int p = lane; p < TILE; p += LOCAL) tile[AT(p)] = p < n - start ? p2[start + p] : 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  int sum = 0;
  for (int k = 0; k < EACH; ++k) sum += tile[AT(lane * EACH) + k];
{_BEFORE}  if (lane == LOCAL - 1) {{
    p1[group] = before + sum;
    if (n - start <= TILE) p0[n] = before + sum;
  }}
  for (int k = 0; k < EACH; ++k) {{
    int p = AT(lane * EACH) + k, c = tile[p];
    tile[p] = before;
    before += c;
  }}
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int p = lane; p < TILE; p += LOCAL) if (p < n - start) p0[start + p] = tile[AT(p)];
}}
__kernel GROUP void scan_add(__global int *p0, __global const int *p1, int n, int tiles) {{
  int i = get_global_id(0);
  if (i <= n) p0[i] += p1[min(i / TILE, tiles - 1)];
}}
__kernel GROUP void places(__global long *p0, __global const int *p1, int n, int step, int size) {{
  int i = get_global_id(0);
  if (i < n && p1[i] != p1[i + 1]) p0[p1[i]] = i / step % size;
}}
"""
_SORTING = f"""{_HEAD}
#define DIGIT(key) ((int)((key) >> shift) & (DIGITS - 1))
__kernel GROUP void count_before(__global int *p0, __global const K *p1, int total, int n, int piece, int keep, int width) {{
  int i = get_global_id(0);
  if (i >= total) return;
  int row = i / n, at = i - row * n, first = at / piece * piece, end = first + min(piece, n - first), before = 0;
  __global const K *line = p1 + (long)row * n;
  K key = line[at];
  for (int j = first; j < end; ++j) before += line[j] < key || (line[j] == key && j < at);
  if (before < keep) p0[(long)row * width + at / piece * keep + before] = at;
}}
__kernel GROUP void count_digits(__global int *p0, __global const K *p1, int n, int tiles, int shift) {{
  __local ushort counts[DIGITS * LOCAL];
  __local int sums[LOCAL];
  int lane = get_local_id(0), row = get_group_id(0) / tiles, tile = get_group_id(0) - row * tiles;
  int start = row * n + tile * TILE, m = min(TILE, n - tile * TILE);
  for (int d = 0; d < DIGITS; ++d) counts[d * LOCAL + lane] = 0;
  for (int p = lane; p < m; p += LOCAL) counts[DIGIT(p1[start + p]) * LOCAL + lane] += 1;
  barrier(CLK_LOCAL_MEM_FENCE);
  int sum = 0;  // a few work-items for each digit
  for (int k = 0; k < DIGITS; ++k) sum += counts[lane * DIGITS + k];
  sums[lane] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lane < DIGITS) {{
    sum = 0;
    for (int k = 0; k < LOCAL / DIGITS; ++k) sum += sums[lane * (LOCAL / DIGITS) + k];
    p0[((long)row * DIGITS + lane) * tiles + tile] = sum;
  }}
}}
__kernel GROUP void move_digits(__global K *p0, __global int *p1, __global const K *p2, __global const int *p3,
                                __global const int *p4, int n, int tiles, int shift, int fresh) {{
  __local K keys[AT(TILE)];
  __local ushort origin[TILE], counts[DIGITS * LOCAL];
  __local int sums[LOCAL], target[DIGITS];
  int lane = get_local_id(0), row = get_group_id(0) / tiles, tile = get_group_id(0) - row * tiles;
  int start = row * n + tile * TILE, m = min(TILE, n - tile * TILE);
  K mine[EACH];
  for (int p = lane; p < m; p += LOCAL) keys[AT(p)] = p2[start + p];
  for (int d = 0; d < DIGITS; ++d) counts[d * LOCAL + lane] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  int own = min(EACH, m - lane * EACH);  // neighbours, so that equal ones keep their order; less than none for the last lanes
  #pragma unroll
  for (int k = 0; k < EACH; ++k) if (k < own) {{
    mine[k] = keys[AT(lane * EACH) + k];
    counts[DIGIT(mine[k]) * LOCAL + lane] += 1;
  }}
  barrier(CLK_LOCAL_MEM_FENCE);
  int sum = 0;
  for (int k = 0; k < DIGITS; ++k) sum += counts[lane * DIGITS + k];
{_BEFORE}  for (int k = 0; k < DIGITS; ++k) {{
    int c = counts[lane * DIGITS + k];
    counts[lane * DIGITS + k] = before;
    before += c;
  }}
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lane < DIGITS) target[lane] = p4[((long)row * DIGITS + lane) * tiles + tile] - counts[lane * LOCAL];
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll
  for (int k = 0; k < EACH; ++k) if (k < own) {{
    int to = counts[DIGIT(mine[k]) * LOCAL + lane];
    counts[DIGIT(mine[k]) * LOCAL + lane] = to + 1;
    keys[AT(to)] = mine[k];
    origin[to] = lane * EACH + k;
  }}
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int p = lane; p < m; p += LOCAL) {{
    K key = keys[AT(p)];
    int to = target[DIGIT(key)] + p;
    p0[to] = key;
    p1[to] = fresh ? tile * TILE + origin[p] : p3[start + origin[p]];
  }}
}}
__kernel GROUP void find_places(__global long *p0, __global const K *p1, __global const K *p2, int count, int n, int right) {{
  int i = get_global_id(0);
  if (i >= count) return;
  K key = p2[i];
  int low = 0, high = n;
  while (low < high) {{
    int middle = low + (high - low) / 2;
    if (p1[middle] < key || (right && p1[middle] == key)) low = middle + 1; else high = middle;
  }}
  p0[i] = low;
}}
__kernel GROUP void heads(__global int *p0, __global const K *p1, __global const int *p2, int n) {{
  int i = get_global_id(0);
  if (i < n) p0[i] = i == 0 || p1[p2[i]] != p1[p2[i - 1]];
}}
"""
_TOTALS = f"""{_HEAD}{source.DOUBLE}
__kernel GROUP void totals(__global double *p0, __global const double *p1, __global const long *p2) {{
  __local double sums[LOCAL];
  int lane = get_local_id(0), bin = get_group_id(0);
  double sum = 0;
  for (long k = p2[bin] + lane; k < p2[bin + 1]; k += LOCAL) sum += p1[k];
  sums[lane] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int width = LOCAL / 2; width > 0; width /= 2) {{
    if (lane < width) sums[lane] += sums[lane + width];
    barrier(CLK_LOCAL_MEM_FENCE);
  }}
  if (lane == 0) p0[bin] = sums[0];
}}
"""


def _counting(machine: Any, name: str) -> Any:
    names = ("scan_tiles", "scan_add", "places")
    return machine.kernel(("ordering", name), lambda: (_COUNTING, {("ordering", k): k for k in names}))


def _sorting(machine: Any, name: str, key: np.dtype) -> Any:
    """A kernel on keys of 32 or 64 bits."""
    names = ["count_before", "count_digits", "move_digits", "find_places", "heads"]

    def make() -> tuple[str, dict]:
        text = [source.frame(2).declaration, f"typedef {MOVES[key.itemsize]} K;\n", _SORTING]
        for size in (1, 2, 4) if key.itemsize == 4 else (8,):
            operands = f"__global const {MOVES[size]} *p1"
            text.append(source.kernel(f"keys_{size}", ["__global K *p0", operands, "K sign", "K infinity", "K turned"], 2, """
  K x = p1[j1], number = x & ~sign, negative = x & sign;
  K key = infinity == 0 ? x ^ sign : number > infinity ? ~(K)0 : number == 0 ? sign : negative ? x ^ (2 * sign - 1) : x | sign;
  p0[j0] = key ^ turned;"""))
            text.append(source.kernel(f"marks_{size}", ["__global int *p0", operands, "K mask"], 2, """
  p0[j0] = ((K)p1[j1] & mask) != 0;"""))
            names.extend((f"keys_{size}", f"marks_{size}"))
        return "".join(text), {("ordering", k, key): k for k in names}

    return machine.kernel(("ordering", name, key), make)


def _bits(dtype: np.dtype) -> tuple[np.dtype, str, int, int]:
    """The type of the keys, its code for :func:`struct.pack`, the bit of the sign (0: none) and infinity (0: an integer)."""
    source.types_of(dtype)  # a type that devices have
    key = np.dtype("uint64" if dtype.itemsize == 8 else "uint32")
    sign = 0 if dtype.kind in "ub" else 1 << (8 * dtype.itemsize - 1)
    return key, "Q" if dtype.itemsize == 8 else "I", sign, _INFINITY.get(dtype.name, 0)


def keys_of(a: Array, backwards: bool = False) -> Array:
    """Unsigned integers in the order of the elements, or in the opposite one, dense."""
    key, code, sign, infinity = _bits(a.dtype)
    new = empty(a.machine, a.shape, key)
    plan = source.layout(a.shape, new.strides, a.strides)
    if plan.n:
        turned = 2 ** (8 * key.itemsize) - 1 if backwards else 0
        a.machine.launch(_sorting(a.machine, f"keys_{a.dtype.itemsize}", key), plan.n, new.memory, a.memory, pack(code, sign),
                         pack(code, infinity), pack(code, turned), plan.packed + pack("2q", 0, a.offset))
    return new


def marks(a: Array) -> Array:
    """1 (int32) for each element that is not 0."""
    key, code, sign, infinity = _bits(a.dtype)
    new = empty(a.machine, a.shape, _I4)
    plan = source.layout(a.shape, new.strides, a.strides)
    if plan.n:
        mask = 2 ** (8 * key.itemsize) - 1 - (sign if infinity else 0)
        a.machine.launch(_sorting(a.machine, f"marks_{a.dtype.itemsize}", key), plan.n, new.memory, a.memory, pack(code, mask),
                         plan.packed + pack("2q", 0, a.offset))
    return new


def scanned(counts: Array) -> Array:
    """Sums of all before each place, and of all at the end (int32): one longer than ``counts``, which is dense int32.

    The sums must stay below 2**31.
    """
    machine, n = counts.machine, counts.size
    if not n:
        return machine.xp.zeros((1,), _I4)
    tiles = -(-n // _TILE)
    new, sums = empty(machine, (n + 1,), _I4), empty(machine, (tiles,), _I4)
    machine.launch(_counting(machine, "scan_tiles"), tiles * LOCAL_SIZE, new.memory, sums.memory, counts.memory, pack("i", n))
    if tiles > 1:
        machine.launch(_counting(machine, "scan_add"), n + 1, new.memory, scanned(sums).memory, pack("i", n), pack("i", tiles))
    return new


def places(ranks: Array, shape: tuple[int, ...]) -> list[Array]:
    """Where the sums of :func:`scanned` grow, in an array of that shape: the indices (int64) along each axis.

    How many there are is read from the device.
    """
    machine, n = ranks.machine, ranks.size - 1
    count = int(machine.xp.item(machine.xp.copy(ranks[n:])))
    columns, step = [], n
    for size in shape:
        new = empty(machine, (count,), _I8)
        if count:
            step //= size
            machine.launch(_counting(machine, "places"), n, new.memory, ranks.memory, pack("i", n), pack("i", step),
                           pack("i", size))
        columns.append(new)
    return columns


def _ranked(keys: Array, piece: int, keep: int) -> Array:
    """The places (int32) of the ``keep`` least of each ``piece`` of the lines, in order; one piece after the other."""
    machine, n = keys.machine, keys.shape[-1]
    width = n // piece * keep + min(n % piece, keep)
    new = empty(machine, (*keys.shape[:-1], width), _I4)
    if keys.size:
        machine.launch(_sorting(machine, "count_before", keys.dtype), keys.size, new.memory, keys.memory,
                       *[pack("i", k) for k in (keys.size, n, piece, keep, width)])
    return new


def ordered(keys: Array, bits: int | None = None) -> Array:
    """The places (int32) that put each line (the last axis) in order; equal keys keep theirs.

    Parameters
    ----------
    keys : Array
        Dense, as :func:`keys_of` makes them.
    bits : int, optional
        Keys differ in so many of their lowest bits only.
    """
    machine, n = keys.machine, keys.shape[-1]
    if n <= SHORT or not keys.size:
        return _ranked(keys, max(n, 1), n)
    rows, tiles = prod(keys.shape[:-1]), -(-n // _TILE)
    counts = empty(machine, (rows * _DIGITS * tiles,), _I4)
    pairs = [(empty(machine, keys.shape, keys.dtype), empty(machine, keys.shape, _I4)) for _ in range(2)]
    count, move = _sorting(machine, "count_digits", keys.dtype), _sorting(machine, "move_digits", keys.dtype)
    now, origin = keys, pairs[1][1]  # of which nothing is read the first time
    for shift in range(0, max(8 * keys.dtype.itemsize if bits is None else bits, 1), _BITS):
        numbers = [pack("i", k) for k in (n, tiles, shift)]
        machine.launch(count, rows * tiles * LOCAL_SIZE, counts.memory, now.memory, *numbers)
        then, to = pairs[0]
        machine.launch(move, rows * tiles * LOCAL_SIZE, then.memory, to.memory, now.memory, origin.memory,
                       scanned(counts).memory, *numbers, pack("i", not shift))
        now, origin = then, to
        pairs.reverse()
    return origin


def top(keys: Array, count: int, bits: int | None = None) -> Array:
    """The places (int32) of the ``count`` least of each line, in order; equal keys keep theirs.

    Few of a long line are looked for in its pieces first, then among what was found.
    """
    n = keys.shape[-1]
    if n <= SHORT:
        return _ranked(keys, max(n, 1), count)
    if 4 * count > SHORT:
        return ordered(keys, bits)[..., :count]
    xp, some = keys.machine.xp, _ranked(keys, SHORT, count)
    return xp.take_along_axis(some, top(xp.take_along_axis(keys, some, -1), count, bits), -1)


def found(keys: Array, values: Array, right: bool) -> Array:
    """How many (int64) of the ``keys``, which are in order, come before each value, with ``right`` also those equal to it."""
    new = empty(keys.machine, values.shape, _I8)
    if new.size:
        keys.machine.launch(_sorting(keys.machine, "find_places", keys.dtype), new.size, new.memory, keys.memory, values.memory,
                            *[pack("i", k) for k in (new.size, keys.size, right)])
    return new


def heads(keys: Array, order: Array) -> Array:
    """1 (int32) for each of the keys in that order that differs from the one before it."""
    new = empty(keys.machine, order.shape, _I4)
    if new.size:
        keys.machine.launch(_sorting(keys.machine, "heads", keys.dtype), new.size, new.memory, keys.memory, order.memory,
                            pack("i", new.size))
    return new


def totals(values: Array, edges: Array) -> Array:
    """Sums of ``values`` (float64, dense) from each of the ``edges`` (int64, dense) to the next."""
    machine = values.machine
    new = empty(machine, (edges.size - 1,), _F8)
    if new.size:
        kernel = machine.kernel(("ordering", "totals"), lambda: (_TOTALS, {("ordering", "totals"): "totals"}))
        machine.launch(kernel, new.size * LOCAL_SIZE, new.memory, values.memory, edges.memory)
    return new
