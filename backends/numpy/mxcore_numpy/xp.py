"""``xp`` over NumPy: the functions that generic kernels call; where NumPy differs from what is asked, it is said."""

from types import SimpleNamespace
from typing import Any

import numpy as np


def _lazy_special(name: str) -> Any:
    """A function of scipy.special, imported at its first call."""
    found = []

    def function(a: Any) -> Any:
        if not found:
            from scipy import special

            found.append(getattr(special, name))
        return found[0](a)

    return function


def _polygamma(n: int) -> Any:
    def function(a: Any) -> Any:
        from scipy.special import polygamma

        return polygamma(n, a).astype(np.asarray(a).dtype)

    return function


def _round(a: Any) -> Any:
    """Halves away from zero, as in C."""
    t = np.trunc(a)
    return t + np.copysign((np.abs(a - t) >= 0.5).astype(t.dtype), a)


def _sign(a: Any) -> Any:
    """The sign of nan is 0."""
    r = np.sign(a)
    return r if r.dtype.kind in "iub" else np.where(np.isnan(r), r.dtype.type(0), r)


def _mod(a: Any, b: Any) -> Any:
    """Sign of the divisor; x mod 0 is 0."""
    r = np.mod(a, b)
    return np.where(np.equal(b, 0), r.dtype.type(0), r) if not np.all(b) else r


_NUMBERS: dict[Any, np.ndarray] = {}


def _scalar(value: Any, dtype: np.dtype) -> Any:
    """A number as a 0-dimensional array: a ufunc takes it twice as fast as a Python number."""
    if not value:  # 0.0 and -0.0 are one key
        return np.array(value, dtype)
    key = value, dtype.char
    found = _NUMBERS.get(key)
    if found is None:
        if len(_NUMBERS) > 4096:
            _NUMBERS.clear()
        found = _NUMBERS[key] = np.array(value, dtype)
    return found


def _item(a: Any) -> Any:
    return a.item()


def _getitem(a: Any, key: Any) -> Any:
    return a[key]


def _setitem(a: Any, key: Any, value: Any) -> None:
    a[key] = value


def _astype(a: Any, dtype: Any) -> Any:
    return a.astype(dtype, copy=False)


def _copyto(a: Any, value: Any) -> None:
    a[...] = value


def _ones(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """The same as np.ones, at half its price for a small array."""
    a = np.empty(shape, dtype)
    a.fill(1)
    return a


def _ascontiguousarray(a: Any) -> Any:
    """``a`` itself if it is in C order; NumPy would make a number into an array of one axis."""
    return a if a.flags.c_contiguous else np.ascontiguousarray(a)


def _reshape(a: Any, shape: Any) -> Any:
    return a.reshape(shape)


def _broadcast_to(a: Any, shape: tuple[int, ...]) -> Any:
    if a.size == 1 and len(shape) >= a.ndim:
        return np.ndarray(shape, a.dtype, a, 0, (0,) * len(shape))
    old = a.shape
    if old == shape:
        return a
    lead = len(shape) - len(old)
    if lead < 0 or not a.flags.c_contiguous or 0 in shape:
        return np.broadcast_to(a, shape)
    strides = [0] * lead  # the same as np.broadcast_to, without its price
    for d, n, s in zip(old, shape[lead:], a.strides, strict=True):
        if d != n and d != 1:
            return np.broadcast_to(a, shape)  # raises
        strides.append(s if d == n else 0)
    return np.ndarray(shape, a.dtype, a, 0, strides)


def _sum(a: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    return np.add.reduce(a, axis=axis, keepdims=keepdims, dtype=a.dtype if dtype is None else dtype)


def _prod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.multiply.reduce(a, axis=axis, keepdims=keepdims, dtype=a.dtype)


def _max(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.maximum.reduce(a, axis=axis, keepdims=keepdims)


def _min(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.minimum.reduce(a, axis=axis, keepdims=keepdims)


def _product(function: Any) -> Any:
    """Products of float16 and bfloat16 are summed in float32, for which there is BLAS, and rounded once."""

    def product(a: Any, b: Any, *axes: Any) -> Any:
        dtype = a.dtype
        if dtype.itemsize == 2 and dtype.kind not in "iu":
            return function(a.astype(np.float32), b.astype(np.float32), *axes).astype(dtype)
        return function(a, b, *axes)

    return product


def _einsum(subscripts: str, *arrays: Any) -> Any:
    dtype = arrays[0].dtype
    if dtype.itemsize == 2 and dtype.kind not in "iu":
        return np.einsum(subscripts, *[a.astype(np.float32) for a in arrays]).astype(dtype)
    return np.einsum(subscripts, *arrays)


def _take(a: Any, indices: Any, axis: int, mode: str = "clip") -> Any:
    """Slices by index; outside of the axis the nearest one, or with ``mode="wrap"`` modulo its length."""
    return np.take(a, indices, axis=axis, mode=mode)


def _argsort(a: Any, axis: int) -> Any:
    """Equal elements keep their order."""
    return np.argsort(a, axis=axis, kind="stable")


def _argtop(a: Any, k: int, axis: int, largest: bool) -> Any:
    """Indices of the ``k`` largest (smallest) elements, in order; equal elements in the order of their places."""
    n = a.shape[axis]
    lines = np.moveaxis(a, axis, -1)
    index = _few(lines, k, largest) if 4 * k <= n and n >= 64 else None
    if index is None:
        sign = slice(None, None, -1 if largest else 1)  # backwards, so that equal elements keep their order
        order = np.argsort(lines[..., sign], axis=-1, kind="stable")
        index = n - 1 - order[..., : -k - 1 : -1] if largest else order[..., :k]
    return np.moveaxis(index, -1, axis)


def _few(lines: Any, k: int, largest: bool) -> Any:
    """By partition, or None where elements tie for the last place (or are nan)."""
    n = lines.shape[-1]
    found = np.argpartition(lines, n - k if largest else k - 1, axis=-1)
    found = np.sort(found[..., n - k :] if largest else found[..., :k], axis=-1)
    values = np.take_along_axis(lines, found, axis=-1)
    last = (values.min if largest else values.max)(axis=-1, keepdims=True)
    if np.count_nonzero(lines >= last if largest else lines <= last) != found.size:
        return None
    return np.take_along_axis(found, _argtop(values, k, values.ndim - 1, largest), axis=-1)


def _add_at(a: Any, key: Any, value: Any) -> None:
    """``a[key] += value`` where repeated places add up."""
    np.add.at(a, key, value)


XP = SimpleNamespace(
    **{name: getattr(np, name) for name in [
        "add", "subtract", "multiply", "divide", "negative", "power", "maximum", "minimum", "hypot",
        "arctan2", "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan",
        "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "abs", "floor",
        "ceil", "rint", "trunc", "greater", "greater_equal", "less", "less_equal", "equal", "not_equal",
        "logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite", "where",
        "zeros", "full", "empty", "arange", "linspace", "eye", "asarray", "copy",
        "transpose", "expand_dims", "squeeze", "concatenate", "stack", "flip", "repeat", "tile", "pad",
        "swapaxes", "any", "all", "argmax", "argmin", "cumsum", "mean",
        "take_along_axis", "put_along_axis", "nonzero", "sort", "unique", "tril", "triu", "searchsorted",
        "bincount",
    ]},
    matmul=_product(np.matmul), tensordot=_product(np.tensordot), einsum=_einsum, mod=_mod, round=_round, sign=_sign,
    erf=_lazy_special("erf"), erfinv=_lazy_special("erfinv"),
    gamma=_lazy_special("gamma"), gammaln=_lazy_special("gammaln"), digamma=_lazy_special("digamma"),
    polygamma1=_polygamma(1), polygamma2=_polygamma(2), getitem=_getitem, setitem=_setitem, astype=_astype,
    copyto=_copyto, ones=_ones, reshape=_reshape, ascontiguousarray=_ascontiguousarray,
    broadcast_to=_broadcast_to, sum=_sum, prod=_prod, max=_max, min=_min,
    add_at=_add_at, take=_take, argsort=_argsort, argtop=_argtop, scalar=_scalar, item=_item,
)
