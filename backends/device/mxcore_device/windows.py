"""Convolution and pooling: kernels over windows of one to three spatial axes.

A convolution and both its gradients are products of matrices that are never built (implicit GEMM, Chetlur et al. 2014): the
tiled kernel of :mod:`mxcore_device.products` with other expressions for the elements of its matrices. The gradients gather,
so that nothing is added atomically. Where the device is a CPU, the kernels of the NumPy backend run on mapped memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from struct import pack
from typing import Any

import numpy as np
from ml_dtypes import finfo

from mxcore.ops.conv import counts_of, geometry, large_size
from mxcore.ops.pooling import windows
from mxcore.registry.kernels import generic_of, resolve
from mxcore.registry.op import OPS
from mxcore.runtime.device import backend_named

from . import source
from .arrays import Array, empty
from .functions import LANGUAGE
from .host import routed_operator
from .products import contracted, tiled, tiles
from .source import LOCAL_SIZE

__all__ = ["conv", "conv_data", "conv_weight", "pooling", "scatter", "spread"]

_GEOMETRY = """
typedef struct { int in[3], out[3], window[3], stride[3], dilate[3], pad[3]; } Geometry;
typedef struct { int m, n, k, groups, channels, filters, ins, outs, taps; Geometry g; } Shape;
// the place in the input that tap `tap` of window `o` reads, or -1 outside of it
static inline int read_(const Geometry *g, int o, int tap) {
  int at = 0, step = 1;
  for (int d = 2; d >= 0; --d) {
    int i = o % g->out[d] * g->stride[d] + tap % g->window[d] * g->dilate[d] - g->pad[d];
    if (i < 0 || i >= g->in[d]) return -1;
    at += i * step; step *= g->in[d]; o /= g->out[d]; tap /= g->window[d];
  }
  return at;
}
// the window whose tap `tap` reads place `i` of the input, or -1 if there is none
static inline int window_(const Geometry *g, int i, int tap) {
  int at = 0, step = 1;
  for (int d = 2; d >= 0; --d) {
    int o = i % g->in[d] + g->pad[d] - tap % g->window[d] * g->dilate[d];
    if (o < 0 || o % g->stride[d]) return -1;
    o /= g->stride[d];
    if (o >= g->out[d]) return -1;
    at += o * step; step *= g->out[d]; i /= g->in[d]; tap /= g->window[d];
  }
  return at;
}
"""


def _three(values: Sequence[int], fill: int) -> tuple[int, ...]:
    return (fill,) * (3 - len(values)) + tuple(values)


def _packed(ins: Sequence[int], outs: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilate: Sequence[int],
            pad: Sequence[int]) -> bytes:
    parts = (_three(ins, 1), _three(outs, 1), _three(kernel, 1), _three(stride, 1), _three(dilate, 1), _three(pad, 0))
    return pack("18i", *[n for part in parts for n in part])


# ---------------------------------------------------------------- convolution
def _program(dtype: np.dtype) -> tuple[str, dict]:
    def at(pointer: str, index: str) -> str:
        return source.loads(dtype, pointer, index)

    helpers = f"""
static inline T image_(__global const {source.storage(dtype)} *x, int n, int channel, int all, int place, int size) {{
  return place < 0 ? (T)0 : {at("x", "((long)n * all + channel) * size + place")};
}}
"""
    common = {"parameters": "const Shape s", "prepare": "", "fast_a": "1", "fast_b": "0"}
    forward = tiled(
        "conv", dtype, **common, load_a=at("p1", "((long)i * s.m + row + r) * s.k + k0 + k"),
        load_b="image_(p2, (column + c) / s.outs, i * s.channels + (k0 + h) / s.taps, s.channels * s.groups, "
               "read_(&s.g, (column + c) % s.outs, (k0 + h) % s.taps), s.ins)",
        store=source.stores(dtype, "p0", "((long)(c / s.outs) * s.filters * s.groups + i * s.filters + r) * s.outs + c % s.outs",
                            "sum[y][x]"))
    data = tiled(
        "conv_data", dtype, **common,
        load_a=at("p1", "((long)(i * s.filters + (k0 + k) / s.taps) * s.channels + row + r) * s.taps + (k0 + k) % s.taps"),
        load_b="image_(p2, (column + c) / s.ins, i * s.filters + (k0 + h) / s.taps, s.filters * s.groups, "
               "window_(&s.g, (column + c) % s.ins, (k0 + h) % s.taps), s.outs)",
        store=source.stores(dtype, "p0", "((long)(c / s.ins) * s.channels * s.groups + i * s.channels + r) * s.ins + c % s.ins",
                            "sum[y][x]"))
    weight = tiled(
        "conv_weight", dtype, **common | {"fast_b": "1"},
        load_a=at("p1", "((long)((k0 + k) / s.outs) * s.filters * s.groups + i * s.filters + row + r) * s.outs "
                        "+ (k0 + k) % s.outs"),
        load_b="image_(p2, (k0 + h) / s.outs, i * s.channels + (column + c) / s.taps, s.channels * s.groups, "
               "read_(&s.g, (k0 + h) % s.outs, (column + c) % s.taps), s.ins)",
        store=source.stores(dtype, "p0", "((long)i * s.m + r) * s.n + c", "sum[y][x]"))
    return contracted(dtype) + _GEOMETRY + helpers + forward + data + weight, {
        (name, dtype): name for name in ("conv", "conv_data", "conv_weight")}


def _served(machine: Any, dtype: np.dtype) -> bool:
    return source.is_float(dtype) and (machine.fp64 or dtype.name != "float64")


_KERNELS = {"forward": "conv", "data": "conv_data", "weight": "conv_weight"}


def _run(kind: str, machine: Any, new: Array, a: Array, b: Array, sizes: tuple[int, ...], windows: tuple[Any, ...]) -> Array:
    """By a library of the backend, or else by a kernel of this module.

    ``sizes``: the product's m, n, k; groups, channels and filters of a group, places of input and output, taps of a window.
    ``windows``: sizes of input and output, then of windows, strides, dilations and padding.
    """
    if new.size:
        dtype = new.dtype
        a, b = [x if not x.offset and x.dense else machine.xp.copy(x) for x in (a, b)]
        if not machine.convolution(kind, new, a, b, sizes[3], *windows[3:]):
            kernel = machine.kernel((_KERNELS[kind], dtype), lambda: _program(dtype))
            machine.launch(kernel, tiles(*sizes[:2]) * sizes[3] * LOCAL_SIZE, new.memory, b.memory, a.memory,
                           pack("9i", *sizes) + _packed(*windows))
    return new


def _elsewhere(name: str, xp: Any, arrays: Sequence[Any], attrs: dict) -> Any:
    """Another kernel: NumPy's where the device is a CPU, else that of functions."""
    if not xp.machine.gpu:
        backend_named("numpy")  # enters its kernels, if that has not happened yet
        kernel = OPS[name].kernels.get("numpy") or resolve(OPS[name], "numpy")
        return routed_operator(xp.machine, name, kernel, arrays, attrs)
    return _generic(name)(xp, *arrays, **attrs)


def _generic(name: str) -> Callable:
    kernel = generic_of(OPS[name])
    assert kernel is not None  # the operators of this module have one
    return kernel


def conv(xp: Any, data: Array, weight: Array, like: Any = None, **attrs: Any) -> Array:
    """The kernel of ``_conv``."""
    machine, dtype = xp.machine, data.dtype
    if not machine.gpu or not _served(machine, dtype):
        return _elsewhere("_conv", xp, (data, weight, like), attrs)
    kernel, groups = attrs["kernel"], attrs["num_group"]
    stride, dilate, pad, small = counts_of(data, weight, like, kernel, attrs["stride"], attrs["dilate"], attrs["pad"], groups)
    filters, channels, taps, outs = weight.shape[0] // groups, weight.shape[1], prod(kernel), prod(small)
    new = empty(machine, (data.shape[0], weight.shape[0], *small), dtype)
    sizes = filters, data.shape[0] * outs, channels * taps, groups, channels, filters, prod(data.shape[2:]), outs, taps
    return _run("forward", machine, new, data, weight, sizes, (data.shape[2:], small, kernel, stride, dilate, pad))


def conv_data(xp: Any, dy: Array, weight: Array, like: Any = None, **attrs: Any) -> Array:
    """The kernel of ``_conv_data``."""
    machine, dtype = xp.machine, dy.dtype
    if not machine.gpu or not _served(machine, dtype):
        return _elsewhere("_conv_data", xp, (dy, weight, like), attrs)
    kernel, groups = attrs["kernel"], attrs["num_group"]
    stride, dilate, pad, large = large_size(dy, like, kernel, attrs["stride"], attrs["dilate"], attrs["pad"], attrs["adj"],
                                            attrs["size"])
    filters, channels, taps, ins = weight.shape[0] // groups, weight.shape[1], prod(kernel), prod(large)
    new = empty(machine, (dy.shape[0], channels * groups, *large), dtype)
    sizes = channels, dy.shape[0] * ins, filters * taps, groups, channels, filters, ins, prod(dy.shape[2:]), taps
    return _run("data", machine, new, dy, weight, sizes, (large, dy.shape[2:], kernel, stride, dilate, pad))


def conv_weight(xp: Any, data: Array, dy: Array, **attrs: Any) -> Array:
    """The kernel of ``_conv_weight``."""
    machine, dtype = xp.machine, data.dtype
    if not machine.gpu or not _served(machine, dtype):
        return _elsewhere("_conv_weight", xp, (data, dy), attrs)
    kernel, groups, small = attrs["kernel"], attrs["num_group"], dy.shape[2:]
    stride, dilate, pad = geometry(kernel, attrs["stride"], attrs["dilate"], attrs["pad"], data.shape[2:], small)
    filters, channels, taps, outs = dy.shape[1] // groups, data.shape[1] // groups, prod(kernel), prod(small)
    new = empty(machine, (dy.shape[1], channels, *kernel), dtype)
    sizes = filters, channels * taps, dy.shape[0] * outs, groups, channels, filters, prod(data.shape[2:]), outs, taps
    return _run("weight", machine, new, data, dy, sizes, (data.shape[2:], small, kernel, stride, dilate, pad))


# ---------------------------------------------------------------- pooling
def _pools(dtype: np.dtype) -> tuple[str, dict]:
    """One work-item a window, or a place of the input; a maximum's gradient goes to the first place that has it."""
    memory = source.storage(dtype)
    frame = source.frame(1)
    text = [source.typed(dtype), frame.declaration, _GEOMETRY, f"""
// elements that an average is taken over
static inline int divisor_(const Geometry *g, int o, int padded) {{
  int count = 1;
  for (int d = 2; d >= 0; --d) {{
    int start = o % g->out[d] * g->stride[d] - g->pad[d], end = start + g->window[d];
    count *= max(1, padded ? min(end, g->in[d] + g->pad[d]) - start : min(end, g->in[d]) - max(start, 0));
    o /= g->out[d];
  }}
  return count;
}}
static inline int first_(__global const {memory} *x, const Shape *s, int o, T peak) {{
  for (int tap = 0; tap < s->taps; ++tap) {{
    int place = read_(&s->g, o, tap);
    if (place >= 0 && {source.loads(dtype, "x", "place")} == peak) return place;
  }}
  return -1;
}}
"""]
    out, dy = [f"__global {memory} *p0"], f"__global const {memory} *p1"
    element = source.loads(dtype, "p1", "(long)image * s.ins + place")
    lowest = LANGUAGE.literal(float(finfo(dtype).min), source.arithmetic(dtype).name)  # of a window that reads nothing
    for name, start, combine, end in (
            ("max", lowest, "y = (y != y || y > v) ? y : v", ""), ("sum", "0", "y += v", ""),
            ("avg", "0", "y += v", "  y /= divisor_(&s.g, o, s.k);\n")):
        text.append(source.kernel(f"pool_{name}", [*out, dy, "const Shape s"], 1, f"""  int image = i / s.outs, o = i % s.outs;
  T y = {start};
  for (int tap = 0; tap < s.taps; ++tap) {{
    int place = read_(&s.g, o, tap);
    if (place >= 0) {{ T v = {element}; {combine}; }}
  }}
{end}  {source.stores(dtype, "p0", "i", "y")}"""))
    gradient = source.loads(dtype, "p1", "(long)image * s.outs + o")
    loop = """  int image = i / s.ins, place = i % s.ins;
  T x = 0;
  for (int tap = 0; tap < s.taps; ++tap) {{
    int o = window_(&s.g, place, tap);
    if (o >= 0{condition}) x += {value};
  }}
  {store}"""
    store = source.stores(dtype, "p0", "i", "x")
    for name, value in (("sum", gradient), ("avg", f"{gradient} / divisor_(&s.g, o, s.k)")):
        text.append(source.kernel(f"spread_{name}", [*out, dy, "const Shape s"], 1,
                                  loop.format(condition="", value=value, store=store)))
    peak = source.loads(dtype, "p3", "(long)image * s.outs + o")
    plane = f"(__global const {memory} *)p2 + (long)image * s.ins"
    text.append(source.kernel("scatter_max", [*out, dy, f"__global const {memory} *p2", f"__global const {memory} *p3",
                                              "const Shape s"], 1,
                              loop.format(condition=f" && first_({plane}, &s, o, {peak}) == place", value=gradient, store=store)))
    names = {(f"pool {n}", dtype): f"pool_{n}" for n in ("max", "sum", "avg")}
    names |= {(f"spread {n}", dtype): f"spread_{n}" for n in ("sum", "avg")} | {("scatter max", dtype): "scatter_max"}
    return "".join(text), names


def _pool(name: str, xp: Any, shape: tuple[int, ...], w: Any, padded: bool, arrays: Sequence[Array]) -> Array:
    """``shape`` of the result; the arrays are read whole, in C order."""
    machine, dtype = xp.machine, arrays[0].dtype
    new = empty(machine, shape, dtype)
    if new.size:
        arrays = [a if a.dense and not a.offset else xp.copy(a) for a in arrays]
        outs = prod(w.counts)
        sizes = pack("9i", 0, 0, int(padded), 1, 0, 0, prod(w.spatial), outs, prod(w.kernel))
        plan = source.layout(shape, new.strides)
        machine.launch(machine.kernel((name, dtype), lambda: _pools(dtype)), plan.n, new.memory, *[a.memory for a in arrays],
                       sizes + _packed(w.spatial, w.counts, w.kernel, w.stride, (1,) * len(w.kernel), w.pad),
                       plan.packed + pack("q", 0))
    return new


_FAMILY = ("kernel", "global_pool", "pooling_convention", "stride", "pad", "layout")


def _windows(shape: tuple[int, ...], attrs: dict) -> Any:
    return windows(shape, *[attrs[k] for k in _FAMILY])


def pooling(xp: Any, data: Array, **attrs: Any) -> Array:
    """The kernel of ``Pooling`` for maxima, averages and sums over channel-first images of floating-point numbers."""
    kind, w = attrs["pool_type"], _windows(data.shape, attrs)
    if kind == "lp" or w.first != 2 or not _served(xp.machine, data.dtype):
        return _generic("Pooling")(xp, data, **attrs)
    padded = attrs["count_include_pad"] is None or attrs["count_include_pad"]
    return _pool(f"pool {kind}", xp, (*data.shape[:2], *w.counts), w, padded, (data,))


def spread(xp: Any, dy: Array, like: Any, **attrs: Any) -> Array:
    """The kernel of ``_pool_spread``."""
    w = _windows(like.shape, attrs)
    if w.first != 2 or not _served(xp.machine, dy.dtype):
        return _generic("_pool_spread")(xp, dy, like, **attrs)
    padded = attrs["count_include_pad"] is None or attrs["count_include_pad"]
    return _pool(f"spread {attrs['pool_type']}", xp, like.shape, w, padded, (dy,))


def scatter(xp: Any, dy: Array, data: Array, peak: Array, **attrs: Any) -> Array:
    """The kernel of ``_pool_scatter``."""
    w = _windows(data.shape, attrs)
    if w.first != 2 or not _served(xp.machine, dy.dtype) or any(a.dtype != dy.dtype for a in (data, peak)):
        return _generic("_pool_scatter")(xp, dy, data, peak, **attrs)
    return _pool("scatter max", xp, data.shape, w, False, (dy, data, peak))
