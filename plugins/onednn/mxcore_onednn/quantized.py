"""Convolution and inner product of 8-bit integers.

Functions over NumPy arrays for quantized operators: data of uint8 or int8, weights of int8, sums of int32, which are the
result or are brought to int8, uint8 or float32 by scales::

    sum    = convolution(data - data_zero, weight)               exact
    result = sum + bias                                          int32
    result = sum * scale + bias                                  float32
    result = saturate(round(sum * scale + bias + out_zero))      int8, uint8

With data = ``data_scale`` * (``data`` - ``data_zero``) and so on, ``scale`` is ``data_scale * weight_scale / out_scale``: one
number, or one for each output channel. Numbers half way between two integers become the even one.

The machine must have instructions that sum products of bytes in 32 bits (AVX-VNNI or AVX-512 VNNI); the older ones saturate at
16 bits on the way. :func:`available` says whether it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.errors import ArgumentError, ShapeError
from mxcore.registry.bound import Spec, channels_last, plain_order

from .arrangement import Incoming, Packed, Room, WeightView
from .codes import Algorithm, Arg, Propagation
from .convolution import Geometry, geometry_of
from .eager import remembered
from .library import Unsupported, instructions
from .primitive import Call, Eltwise, Layout, Primitive

__all__ = ["available", "convolution", "inner_product"]

_BYTES = {"uint8": (0, 255), "int8": (-128, 127)}
_RESULTS = ("int32", "float32", "int8", "uint8")
_INT8, _INT32, _FLOAT = np.dtype("int8"), np.dtype("int32"), np.dtype("float32")
_INSTRUCTIONS = 0x48  # bits of avx512_core_vnni and avx2_vnni
_EXACT = 1 << 24  # oneDNN brings sums into float32 where it corrects them for zero points or signed data


def available() -> bool:
    """Whether the machine multiplies bytes without saturating on the way.

    >>> available() in (True, False)
    True
    """
    return bool(instructions() & _INSTRUCTIONS)


# ---------------------------------------------------------------- prepared layers
class _End:
    """What becomes of sums.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the result.
    scale, bias : numpy.ndarray or None
        In float32, one number for each channel; None for sums as they are.
    whole : numpy.ndarray or None
        The bias that is added to sums, in int32.
    """

    def __init__(self, channels: int, bias: Any, scale: Any, data_zero: int, out_zero: int, relu: bool, out_dtype: Any) -> None:
        self.dtype, self.relu, self.data_zero, self.out_zero = np.dtype(out_dtype), bool(relu), int(data_zero), int(out_zero)
        if self.dtype.name not in _RESULTS:
            raise ArgumentError(f"out_dtype is one of {', '.join(_RESULTS)}, not {self.dtype.name}")
        if bias is not None and (bias.shape != (channels,) or bias.dtype not in (_INT32, _FLOAT)):
            raise ShapeError(f"bias must be int32 or float32 of shape ({channels},), not {bias.dtype.name} of shape {bias.shape}")
        self.scale = self.bias = self.whole = None
        if self.dtype == _INT32:
            if scale is not None or out_zero or (bias is not None and bias.dtype != _INT32):
                raise ArgumentError("sums in int32 are not scaled: scale and out_zero belong to the other types of results, and "
                                    "the bias must be int32")
            self.whole = bias
            return
        if scale is None:
            raise ArgumentError(f"scale is needed for results in {self.dtype.name}")
        if self.dtype == _FLOAT and out_zero:
            raise ArgumentError("results in float32 have no zero point")
        _check_zero("out_zero", self.out_zero, self.dtype)
        given = np.asarray(scale, np.float64)
        if given.shape not in ((), (1,), (channels,)):
            raise ShapeError(f"scale must be a number or of shape ({channels},), its shape is {given.shape}")
        self.scale = np.ascontiguousarray(np.broadcast_to(given, (channels,)), _FLOAT)
        if bias is not None:
            self.bias = np.ascontiguousarray(bias * given if bias.dtype == _INT32 else bias, _FLOAT)

    @property
    def options(self) -> tuple:
        """What a primitive depends on."""
        return self.dtype, self.scale is not None, self.bias is not None, bool(self.data_zero), bool(self.out_zero), \
            self.relu and self.scale is not None

    def extras(self) -> list[np.ndarray]:
        """Arguments of a call, in the order of :class:`_Layer`."""
        zeros = [np.full(1, z, _INT32) for z in (self.data_zero, self.out_zero) if z]
        return [a for a in (self.bias, self.scale) if a is not None] + zeros

    def finish(self, sums: np.ndarray) -> np.ndarray:
        """Bias and rectifier of int32 results, where float32 would not hold every sum."""
        if self.whole is not None:
            sums += self.whole.reshape(-1, *(1,) * (sums.ndim - 2))
        if self.dtype == _INT32 and self.relu:
            np.maximum(sums, 0, out=sums)
        return sums


class _Layer:
    """A primitive with copies around it."""

    def __init__(self, kind: str, before: tuple, data: Spec, view: WeightView, line: tuple[int, ...], out: Spec, after: tuple,
                 mask: int, options: tuple) -> None:
        dtype, scaled, bias, data_zero, out_zero, relu = options
        channels, zeros = line[-1], [*([Arg.SRC] if data_zero else []), *([Arg.DST] if out_zero else [])]
        primitive = Primitive(
            kind, *before, _layout(data), Layout(view.shape, _INT8),
            Layout(line, _FLOAT, (channels, 1)[-len(line):]) if bias else None, _layout(out), *after,
            post=[Eltwise(Algorithm.RELU)] if relu else (), scales={Arg.WEIGHTS: mask} if scaled else {}, zeros=zeros)
        if primitive.label.startswith("ref"):
            raise Unsupported(f"there is only a reference implementation for {data.dtype.name} to {dtype.name} of these shapes")
        one = Layout((1,), _INT32, (1,))
        own = {Arg.scales(Arg.WEIGHTS): Layout((channels,), _FLOAT, (1,)), **{Arg.zero_point(z): one for z in zeros}}
        self._call = Call(primitive, [Arg.SRC, Arg.WEIGHTS, Arg.DST, *([Arg.BIAS] if bias else []),
                                      *([Arg.scales(Arg.WEIGHTS)] if scaled else []), *map(Arg.zero_point, zeros)], own)
        self._take, self._packed, self._room = Incoming(data, data.order), Packed(primitive.layout(Arg.WEIGHTS), view), Room(out)  # type: ignore[arg-type]
        self.label = primitive.label

    def __call__(self, data: np.ndarray, weight: np.ndarray, end: _End) -> np.ndarray:
        self._packed.fill(weight)
        out = self._room()
        self._call(self._take(data), self._packed.memory, out, *end.extras())
        self._packed.release()
        return out


def _layout(spec: Spec) -> Layout:
    return Layout(spec.shape, spec.dtype, [s // spec.dtype.itemsize for s in spec.strides])


@remembered
def _convolution(g: Geometry, options: tuple) -> _Layer:
    last = channels_last(len(g.x))
    return _Layer("convolution_forward", (Propagation.INFERENCE, Algorithm.CONVOLUTION), Spec(g.x, g.dtype, last),
                  WeightView(g.weight), (g.y[1],), Spec(g.y, options[0], last), (g.stride, g.gaps, g.before, g.after),
                  3 if len(g.weight) > len(g.x) else 1, options)


@remembered
def _product(rows: int, inner: int, columns: int, dtype: np.dtype, options: tuple) -> _Layer:
    plain = plain_order(2)
    return _Layer("matmul", (), Spec((rows, inner), dtype, plain), WeightView((inner, columns), turned=True), (1, columns),
                  Spec((rows, columns), options[0], plain), (), 2, options)


# ---------------------------------------------------------------- functions
def _checked(data: Any, weight: Any, zero: int) -> None:
    if not available():
        raise Unsupported("this machine has no instructions that multiply bytes exactly (AVX-VNNI or AVX-512 VNNI)")
    if data.dtype.name not in _BYTES or weight.dtype != _INT8:
        raise ArgumentError(f"data must be uint8 or int8 and weight int8, they are {data.dtype.name} and {weight.dtype.name}")
    _check_zero("data_zero", zero, data.dtype)
    if not data.size or not weight.size:
        raise ShapeError(f"there is nothing in arrays of shapes {data.shape} and {weight.shape}")


def _check_zero(name: str, zero: int, dtype: np.dtype) -> None:
    low, high = _BYTES.get(dtype.name, (0, 0))
    if not low <= zero <= high:
        raise ArgumentError(f"{name} is a number of the type that it stands for zero in: {zero} is none of {dtype.name}")


def _shifted(data: np.ndarray, end: _End, terms: int) -> tuple[np.ndarray, int] | None:
    """For sums of many terms: the data as uint8, and the number that stands for zero in it; None where oneDNN is exact."""
    largest = terms * 128 * (max(map(abs, _BYTES[data.dtype.name])) + abs(end.data_zero))
    if end.dtype != _INT32 or (data.dtype == np.uint8 and not end.data_zero) or largest < _EXACT:
        return None
    if data.dtype == np.uint8:
        return data, end.data_zero
    return (data.view(np.uint8) ^ np.uint8(128)), end.data_zero + 128


def _framed(data: np.ndarray, zero: int, border: Sequence[int]) -> np.ndarray:
    """Images with what stands for zero around them."""
    inside = [slice(p, p + size) for size, p in zip(data.shape[2:], border, strict=True)]
    images = np.full((len(data), *(size + 2 * p for size, p in zip(data.shape[2:], border, strict=True)), data.shape[1]), zero,
                     np.uint8)
    images[:, *inside] = np.moveaxis(data, 1, -1)
    return np.moveaxis(images, -1, 1)


def _corrected(sums: np.ndarray, weight: np.ndarray, zero: int) -> np.ndarray:
    """Sums over shifted data as sums over the data."""
    excess = weight.reshape(len(weight), -1).sum(axis=1, dtype=_INT32) * np.int32(zero)
    sums -= excess.reshape(-1, *(1,) * (sums.ndim - 2))
    return sums


def convolution(data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *, stride: Sequence[int] = (),
                dilate: Sequence[int] = (), pad: Sequence[int] = (), num_group: int = 1, scale: Any = None, data_zero: int = 0,
                out_zero: int = 0, relu: bool = False, out_dtype: Any = "int32") -> np.ndarray:
    """Convolution of 8-bit images, over one to three axes of space.

    Parameters
    ----------
    data : numpy.ndarray
        uint8 or int8, of shape ``(N, C, *space)``, in any memory order.
    weight : numpy.ndarray
        int8, ``(F, C / num_group, *kernel)``.
    bias : numpy.ndarray, optional
        ``(F,)``: int32, added to the sums (and scaled with them), or float32, added after scaling.
    stride, dilate, pad, num_group
        As of ``Convolution``. What is padded is ``data_zero``.
    scale : float or array of shape (F,), optional
        For results other than int32, which need it.
    data_zero, out_zero : int
        What stands for zero in data and in a result of 8 bits.
    relu : bool
        Negative results become zero (``out_zero`` in quantized results).
    out_dtype : {"int32", "float32", "int8", "uint8"}
        Type of the result.

    Returns
    -------
    numpy.ndarray
        ``(N, F, *counts)``, channels last in memory. int32 is exact; the others are as by float32 arithmetic on exact sums.

    Raises
    ------
    ArgumentError, ShapeError
        Arguments that do not fit together.
    Unsupported
        The machine cannot do it, see :func:`available`, or oneDNN has no implementation (some zero points).

    Examples
    --------
    >>> x, w = np.full((1, 4, 3, 3), 200, "uint8"), np.full((2, 4, 3, 3), -2, "int8")
    >>> convolution(x, w, pad=(1, 1))[0, 0]
    array([[ -6400,  -9600,  -6400],
           [ -9600, -14400,  -9600],
           [ -6400,  -9600,  -6400]], dtype=int32)
    >>> convolution(x, w, scale=[-0.01, -0.001], out_dtype="int8").ravel()
    array([127,  14], dtype=int8)
    """
    _checked(data, weight, data_zero)
    n = data.ndim - 2
    if n not in (1, 2, 3) or weight.ndim != data.ndim:
        raise ShapeError(f"images have one to three axes of space, weights as many: {data.shape} and {weight.shape} do not fit")
    if num_group < 1 or len(weight) % num_group or weight.shape[1] * num_group != data.shape[1]:
        raise ShapeError(f"a weight of shape {weight.shape} in {num_group} groups does not fit {data.shape[1]} channels")
    kernel, steps, gaps, border = weight.shape[2:], tuple(stride) or (1,) * n, tuple(dilate) or (1,) * n, tuple(pad) or (0,) * n
    if not len(steps) == len(gaps) == len(border) == n or min(*steps, *gaps) < 1 or min(border) < 0:
        raise ShapeError(f"stride {steps}, dilate {gaps} and pad {border} must be {n} numbers each")
    counts = tuple((size + 2 * p - d * (k - 1) - 1) // s + 1
                   for size, p, d, k, s in zip(data.shape[2:], border, gaps, kernel, steps, strict=True))
    if min(counts) < 1:
        raise ShapeError(f"the kernel {kernel} is larger than the padded image of {data.shape[2:]}")
    end = _End(len(weight), bias, scale, data_zero, out_zero, relu, out_dtype)
    attrs: dict[str, Any] = {"kernel": kernel, "stride": steps, "dilate": gaps, "pad": border, "num_group": num_group}
    small, shifted = (len(data), len(weight), *counts), _shifted(data, end, prod(weight.shape[1:]))
    if shifted is not None:
        data, end.data_zero, attrs["pad"] = _framed(*shifted, border), 0, (0,) * n
    g = geometry_of(data.shape, weight.shape, small, attrs, data.dtype)
    assert g is not None
    sums = _convolution(g, end.options)(data, weight, end)
    return end.finish(sums if shifted is None else _corrected(sums, weight, shifted[1]))


def inner_product(data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *, scale: Any = None, data_zero: int = 0,
                  out_zero: int = 0, relu: bool = False, out_dtype: Any = "int32") -> np.ndarray:
    """``data @ weight.T`` of 8-bit numbers.

    Parameters
    ----------
    data : numpy.ndarray
        uint8 or int8, ``(N, K)``.
    weight : numpy.ndarray
        int8, ``(M, K)``.
    bias, scale, data_zero, out_zero, relu, out_dtype
        As of :func:`convolution`, with ``M`` for the channels.

    Returns
    -------
    numpy.ndarray
        ``(N, M)``. int32 is exact; the others are as by float32 arithmetic on exact sums.

    Raises
    ------
    ArgumentError, ShapeError, Unsupported
        As :func:`convolution`.

    Examples
    --------
    >>> x, w = np.full((2, 300), 255, "uint8"), np.full((3, 300), 127, "int8")
    >>> inner_product(x, w, np.int32([0, 1, 2]))[0]
    array([9715500, 9715501, 9715502], dtype=int32)
    >>> inner_product(x, w, scale=1e-6, out_zero=100, out_dtype="uint8")[0]
    array([110, 110, 110], dtype=uint8)
    """
    _checked(data, weight, data_zero)
    if data.ndim != 2 or weight.ndim != 2 or data.shape[1] != weight.shape[1]:
        raise ShapeError(f"data of shape (N, K) and weight of shape (M, K) are needed, not {data.shape} and {weight.shape}")
    end = _End(len(weight), bias, scale, data_zero, out_zero, relu, out_dtype)
    shifted = _shifted(data, end, data.shape[1])
    if shifted is not None:
        data, end.data_zero = shifted[0], 0
    found = _product(*data.shape, len(weight), data.dtype, end.options)(data, weight, end)
    return end.finish(found if shifted is None else _corrected(found, weight, shifted[1]))
