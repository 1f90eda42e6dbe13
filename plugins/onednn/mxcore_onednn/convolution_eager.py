"""Convolution outside of compiled programs.

Each kernel has a function of the same arguments that says whether it takes a call; NumPy's kernels take the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.ops.conv import counts_of, large_size
from mxcore.registry.bound import Spec, plain_order

from . import convolution as bound
from .eager import Eager, remembered
from .narrow import FLOATS

__all__ = ["conv", "conv_data", "conv_weight", "convolution", "deconvolution", "takes_conv", "takes_conv_data",
           "takes_conv_weight", "takes_convolution", "takes_deconvolution"]

_SMALL = 1 << 17  # multiply-adds below which NumPy is done before oneDNN has begun
_WIDE = 100  # places of an image from which on oneDNN's products on arrays in C order keep up with BLAS
_FAMILY = ("kernel", "stride", "dilate", "pad", "num_group")
_LAYER = (*_FAMILY, "layout", "no_bias", "target_shape")
_Shape = tuple[int, ...]


def _ghost(shape: _Shape | None) -> np.ndarray | None:
    """An array that has only a shape."""
    return None if shape is None else np.broadcast_to(np.float32(0), shape)


def _float(*arrays: Any) -> np.dtype | None:
    """The type of the arrays, if they are of one that kernels take."""
    dtype = arrays[0].dtype
    if dtype.char not in FLOATS:
        return None
    for a in arrays:
        if a is not None and a.dtype != dtype:
            return None
    return dtype


def _first(shape: _Shape, last: bool) -> _Shape:
    return (shape[0], shape[-1], *shape[1:-1]) if last else shape


def _last(shape: _Shape, last: bool) -> _Shape:
    return (shape[0], *shape[2:], shape[1]) if last else shape


def _plan(bind: Callable[..., Any], attrs: Mapping[str, Any], ins: Sequence[_Shape], out: _Shape, large: _Shape,
          weight: _Shape, small: _Shape, dtype: np.dtype) -> Eager | None:
    """A plan for arrays of these shapes; the last three are those of the convolution, channel first."""
    options = {}
    if bind is not bound.bind_deconvolution:  # for which NumPy has no kernel of its own
        if prod(small) * prod(weight[1:]) < _SMALL:
            return None
        if not attrs.get("layout") and attrs["num_group"] == 1 and set(attrs["kernel"]) == {1} and large[2:] == small[2:]:
            if prod(small[2:]) < _WIDE:
                return None
            options["plain"] = True  # a product of matrices, for which nothing is rearranged
    specs, result = [Spec(s, dtype, plain_order(len(s))) for s in ins], [Spec(out, dtype, plain_order(len(out)))]
    attrs = dict(attrs)

    def make() -> Any:
        return bind(specs, result, attrs, False, **options)

    found = make()
    return None if found is None else Eager(found, specs, result, make)


# ---------------------------------------------------------------- forward
@remembered
def _conv_plan(dtype: np.dtype, data: _Shape, weight: _Shape, like: _Shape | None, *values: Any) -> Eager | None:
    counts = counts_of(_ghost(data), _ghost(weight), _ghost(like), *values)[-1]
    small = (data[0], weight[0], *counts)
    return _plan(bound.bind_conv, dict(zip(_FAMILY, values, strict=True)), (data, weight), small, data, weight, small, dtype)


def _conv(data: Any, weight: Any, like: Any = None, *, kernel: tuple, stride: tuple = (), dilate: tuple = (),
          pad: tuple | None = (), num_group: int = 1) -> Eager | None:
    dtype = _float(data, weight)
    if dtype is None:
        return None
    return _conv_plan(dtype, data.shape, weight.shape, None if like is None else like.shape, kernel, stride, dilate, pad,
                      num_group)


def takes_conv(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`conv` takes a call."""
    return _conv(*arrays, **attrs) is not None


def conv(xp: Any, *arrays: Any, **attrs: Any) -> np.ndarray:
    """``_conv``."""
    return _conv(*arrays, **attrs)(*arrays[:2])  # type: ignore[misc]


@remembered
def _convolution_plan(dtype: np.dtype, shapes: tuple[_Shape, ...], num_filter: int, *values: Any) -> Eager | None:
    attrs = dict(zip(_LAYER, values, strict=False))
    last = (attrs["layout"] or "").endswith("C")
    data, weight = _first(shapes[0], last), _first(shapes[1], last)
    if weight[0] != num_filter:
        return None
    small = (data[0], num_filter, *counts_of(_ghost(data), _ghost(weight), None, *values[:5])[-1])
    return _plan(bound.bind_convolution, attrs, shapes, _last(small, last), data, weight, small, dtype)


def _convolution(*arrays: Any, num_filter: int, layout: str | None = None, no_bias: bool = False,
                 **attrs: Any) -> tuple[Any, Any]:
    arrays = arrays[:2] if no_bias or arrays[-1] is None else arrays
    dtype = _float(*arrays)
    if dtype is None:
        return None, arrays
    values = (*[attrs[n] for n in _FAMILY], layout, no_bias)
    return _convolution_plan(dtype, tuple(a.shape for a in arrays), num_filter, *values), arrays


def takes_convolution(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`convolution` takes a call."""
    return _convolution(*arrays, **attrs)[0] is not None


def convolution(xp: Any, *arrays: Any, **attrs: Any) -> np.ndarray:
    """``Convolution``."""
    plan, arrays = _convolution(*arrays, **attrs)
    return plan(*arrays)


@remembered
def _deconvolution_plan(dtype: np.dtype, shapes: tuple[_Shape, ...], num_filter: int, adj: _Shape, *values: Any) -> Eager | None:
    attrs = dict(zip(_LAYER, values, strict=True))
    last = (attrs["layout"] or "").endswith("C")
    data, weight = _first(shapes[0], last), _first(shapes[1], last)
    size = attrs["target_shape"] if any(attrs["target_shape"]) else ()
    if (weight[0] != data[1] or weight[1] * attrs["num_group"] != num_filter
            or (not size and any(a >= s for a, s in zip(adj, attrs["stride"] or (1,) * len(adj), strict=False)))):
        return None  # the generic kernel says what is wrong
    pad = None if size else attrs["pad"]
    counts = large_size(_ghost(data), None, attrs["kernel"], attrs["stride"], attrs["dilate"], pad, adj, size)[-1]
    large = (data[0], num_filter, *counts)
    return _plan(bound.bind_deconvolution, attrs, shapes, _last(large, last), large, weight, data, dtype)


def _deconvolution(*arrays: Any, num_filter: int, layout: str | None = None, no_bias: bool = True,
                   target_shape: tuple = (), adj: tuple = (), **attrs: Any) -> tuple[Any, Any]:
    arrays = arrays[:2] if no_bias or arrays[-1] is None else arrays
    dtype = _float(*arrays)
    if dtype is None:
        return None, arrays
    values = (*[attrs[n] for n in _FAMILY], layout, no_bias, target_shape)
    return _deconvolution_plan(dtype, tuple(a.shape for a in arrays), num_filter, adj, *values), arrays


def takes_deconvolution(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`deconvolution` takes a call."""
    return _deconvolution(*arrays, **attrs)[0] is not None


def deconvolution(xp: Any, *arrays: Any, **attrs: Any) -> np.ndarray:
    """``Deconvolution``."""
    plan, arrays = _deconvolution(*arrays, **attrs)
    return plan(*arrays)


# ---------------------------------------------------------------- gradients
@remembered
def _data_plan(dtype: np.dtype, dy: _Shape, weight: _Shape, like: _Shape | None, adj: _Shape, size: _Shape,
               *values: Any) -> Eager | None:
    kernel, stride, dilate, pad, groups = values
    large = (dy[0], weight[1] * groups, *large_size(_ghost(dy), _ghost(like), kernel, stride, dilate, pad, adj, size)[-1])
    attrs = dict(zip(_FAMILY, values, strict=True))
    return _plan(bound.bind_conv_data, attrs, (dy, weight), large, large, weight, dy, dtype)


def _conv_data(dy: Any, weight: Any, like: Any = None, *, kernel: tuple, stride: tuple = (), dilate: tuple = (),
               pad: tuple | None = (), num_group: int = 1, adj: tuple = (), size: tuple = ()) -> Eager | None:
    dtype = _float(dy, weight)
    if dtype is None or weight.shape[0] != dy.shape[1]:
        return None
    return _data_plan(dtype, dy.shape, weight.shape, None if like is None else like.shape, adj, size, kernel, stride, dilate, pad,
                      num_group)


def takes_conv_data(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`conv_data` takes a call."""
    return _conv_data(*arrays, **attrs) is not None


def conv_data(xp: Any, *arrays: Any, **attrs: Any) -> np.ndarray:
    """``_conv_data``."""
    return _conv_data(*arrays, **attrs)(*arrays[:2])  # type: ignore[misc]


@remembered
def _weight_plan(dtype: np.dtype, data: _Shape, dy: _Shape, *values: Any) -> Eager | None:
    attrs = dict(zip(_FAMILY, values, strict=True))
    weight = (dy[1], data[1] // attrs["num_group"], *attrs["kernel"])
    return _plan(bound.bind_conv_weight, attrs, (data, dy), weight, data, weight, dy, dtype)


def _conv_weight(data: Any, dy: Any, *, kernel: tuple, stride: tuple = (), dilate: tuple = (), pad: tuple | None = (),
                 num_group: int = 1) -> Eager | None:
    dtype = _float(data, dy)
    return None if dtype is None else _weight_plan(dtype, data.shape, dy.shape, kernel, stride, dilate, pad, num_group)


def takes_conv_weight(*arrays: Any, **attrs: Any) -> bool:
    """Whether :func:`conv_weight` takes a call."""
    return _conv_weight(*arrays, **attrs) is not None


def conv_weight(xp: Any, *arrays: Any, **attrs: Any) -> np.ndarray:
    """``_conv_weight``."""
    return _conv_weight(*arrays, **attrs)(*arrays)  # type: ignore[misc]
