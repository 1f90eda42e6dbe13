"""Examples of every function that a backend's ``xp`` offers, judged by the NumPy backend; and of Python's operators."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..dtype import dtype_of
from ..runtime.backend import XP
from ..runtime.device import backend_named

__all__ = ["check_function", "check_operators", "examples"]

#: functions of one number: between what
_UNARY = {
    "negative": (-2, 2), "exp": (-2, 2), "expm1": (-2, 2), "log": (0.2, 3), "log2": (0.2, 3), "log10": (0.2, 3),
    "log1p": (-0.7, 2), "sqrt": (0.2, 3), "cbrt": (-2, 2), "sin": (-3, 3), "cos": (-3, 3), "tan": (-1, 1),
    "arcsin": (-0.9, 0.9), "arccos": (-0.9, 0.9), "arctan": (-2, 2), "sinh": (-2, 2), "cosh": (-2, 2), "tanh": (-2, 2),
    "arcsinh": (-2, 2), "arccosh": (1.2, 3), "arctanh": (-0.9, 0.9), "abs": (-2, 2), "sign": (-2, 2), "floor": (-3, 3),
    "ceil": (-3, 3), "rint": (-3, 3), "round": (-3, 3), "trunc": (-3, 3), "erf": (-2, 2), "erfinv": (-0.9, 0.9),
    "gamma": (0.5, 4), "gammaln": (0.5, 4), "digamma": (0.5, 4), "polygamma1": (0.5, 4), "polygamma2": (0.5, 4),
    "isnan": (-1, 1), "isinf": (-1, 1), "isfinite": (-1, 1), "logical_not": (-1, 1),
}
_BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "hypot", "arctan2", "mod", "power", "greater",
           "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor")
_SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 1.5, 2.5])
_REDUCE: tuple[dict[str, Any], ...] = ({}, {"axis": 1}, {"axis": (0, 2)}, {"axis": -1, "keepdims": True})

Example = tuple[tuple, dict[str, Any]]


def _random(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return np.random.default_rng(list(shape)).uniform(low, high, shape)


def _elementwise(name: str) -> Iterator[Example]:
    if name in _UNARY:
        low, high = _UNARY[name]
        yield (_random(3, 4, low=low, high=high),), {}
        if name in ("sign", "isnan", "isinf", "isfinite", "abs", "logical_not", "exp"):
            yield (_SPECIAL,), {}
        if name == "round":
            yield (_SPECIAL[3:],), {}
    elif name in _BINARY:
        low = 0.3 if name in ("divide", "power", "mod") else -2
        for a, b in (((2, 3), (2, 3)), ((2, 3), (1, 3)), ((3,), (2, 1)), ((), (4,))):
            yield (_random(*a, low=low), _random(*b, low=low)), {}
        if name in ("maximum", "minimum", "greater", "equal", "not_equal", "less_equal"):
            yield (_SPECIAL, _SPECIAL[::-1].copy()), {}
    elif name == "where":
        yield (_random(2, 3) > 0, _random(2, 3), _random(1, 3)), {}
        yield (_random(3) > 0, _random(2, 3), np.float64(2)), {}
    if name == "mod":
        yield (np.array([5.0, -5, 5, -5, 3]), np.array([3.0, 3, -3, -3, 0])), {}


def _rest() -> dict[str, list[Example]]:
    x, y, v = _random(2, 3, 4), _random(3, 4), _random(6)
    index = np.array([2, 0, 1, 2])
    each = np.array([[0, 2, 1, 0], [1, 1, 2, 0]])
    order = np.array([[2, 0, 3, 1], [0, 1, 2, 3], [3, 2, 1, 0]])
    found: dict[str, list[Example]] = {
        "zeros": [(((2, 3),), {}), (((2,), "int32"), {})], "ones": [(((2, 3),), {}), (((2,), "float16"), {})],
        "full": [(((2, 3), 1.5), {}), (((), 2), {"dtype": "int64"})], "empty": [(((2, 3), "float32"), {})],
        "arange": [((5,), {}), ((1, 7, 2), {"dtype": "int64"}), ((0.5, 2, 0.5), {})],
        "linspace": [((0, 1, 5), {}), ((0, 1, 4), {"endpoint": False})],
        "eye": [((3,), {}), ((2, 4, 1), {"dtype": "float32"}), ((4, 3, -1), {})],
        "asarray": [(([1, 2],), {"dtype": "int64"}), ((y,), {}), ((2.5,), {"dtype": "float32"})],
        "scalar": [((1.5, np.dtype("float32")), {}), ((-0.0, np.dtype("float64")), {}), ((7, np.dtype("int32")), {})],
        "item": [((np.array([2.5]),), {}), ((np.array(True),), {}), ((np.array([[7]]),), {})],
        "astype": [((y, "int32"), {}), ((y, np.dtype("float16")), {}), ((y > 0, "float32"), {}), ((y, dtype_of("bfloat16")), {})],
        "copy": [((y,), {})], "copyto": [((y.copy(), _random(3, 4) * 2), {}), ((np.zeros((3, 4), np.int32), y * 3), {})],
        "ascontiguousarray": [((y,), {})],
        "reshape": [((x, (6, 4)), {}), ((x, (2, -1)), {}), ((v, (2, 1, 3)), {}), ((v[:1], ()), {})],
        "transpose": [((x,), {}), ((x, (1, 2, 0)), {})], "expand_dims": [((y, 1), {}), ((y, -1), {})],
        "squeeze": [((v.reshape(1, 6, 1),), {}), ((v.reshape(1, 6, 1), 0), {})],
        "broadcast_to": [((y, (2, 3, 4)), {}), ((v.reshape(6, 1), (6, 2)), {}), ((np.float64(2), (3,)), {})],
        "concatenate": [(([y, y * 2],), {"axis": 0}), (((y, y),), {"axis": 1})],
        "stack": [(([y, y * 2],), {"axis": 0}), (((y, y),), {"axis": -1})],
        "flip": [((x,), {"axis": 1}), ((x,), {"axis": (0, 2)})],
        "repeat": [((v, 2), {}), ((y, 3), {"axis": 1})], "tile": [((y, (2, 1)), {}), ((v, (2, 2)), {})],
        "pad": [((y, ((1, 0), (0, 2))), {}), ((y, ((1, 1), (0, 2))), {"constant_values": 1.5}),
                ((y, ((1, 2), (3, 0))), {"mode": "edge"}), ((y, ((1, 2), (3, 0))), {"mode": "reflect"})],
        "swapaxes": [((x, 0, 2), {}), ((x, -1, 1), {})],
        "sum": [((x,), k) for k in _REDUCE] + [((x,), {"axis": 0, "dtype": "float64"})],
        "prod": [((x,), k) for k in _REDUCE], "max": [((x,), k) for k in _REDUCE], "min": [((x,), k) for k in _REDUCE],
        "mean": [((x,), k) for k in _REDUCE],
        "any": [((x > 1.5,), k) for k in _REDUCE], "all": [((x > -1.9,), k) for k in _REDUCE],
        "argmax": [((x,), {"axis": 1}), ((v,), {"axis": 0})], "argmin": [((x,), {"axis": -1})],
        "cumsum": [((x,), {"axis": 1}), ((v,), {"axis": 0})],
        "matmul": [((y, y.T.copy()), {}), ((x, _random(2, 4, 5)), {}), ((x, _random(4, 5)), {})],
        "tensordot": [((x, y, ((1, 2), (0, 1))), {}), ((x, _random(4, 2), ((2,), (0,))), {})],
        "einsum": [(("ijk,jk->i", x, y), {}), (("ij,kj->ik", y, y), {})],
        "getitem": [((y, (slice(None), 1)), {}), ((x, (0, slice(None, None, -2))), {}), ((y, (index, index)), {}),
                    ((y, index), {}), ((y, (None, ..., 0)), {}), ((y, y > 0), {})],
        "setitem": [((y.copy(), (slice(0, 2), 1), 7.0), {}), ((y.copy(), (index[:3],), _random(3, 4) * 5), {}),
                    ((x.copy(), (slice(None), slice(None, None, 2)), np.float64(3)), {})],
        "take": [((y, index), {"axis": 0}), ((y, np.array([[-9, 9], [1, 2]])), {"axis": 1, "mode": "clip"}),
                 ((y, np.array([-1, 5])), {"axis": 0, "mode": "wrap"})],
        "take_along_axis": [((y, order), {"axis": 1}), ((y, each), {"axis": 0})],
        "put_along_axis": [((y.copy(), order, np.arange(12.0).reshape(3, 4)), {"axis": 1}),
                           ((y.copy(), order[:, :1], 9.0), {"axis": 1})],
        "add_at": [((y.copy(), (index,), _random(4, 4)), {}), ((v.copy(), (np.array([1, 1, 1]),), np.array([1.0, 2, 3])), {}),
                   ((x.copy(), (slice(None), index), _random(2, 4, 4)), {})],
        "nonzero": [((np.array([0, 3, 0, 1]),), {})], "sort": [((x,), {"axis": 1}), ((v,), {"axis": -1})],
        "argsort": [((np.array([[3.0, 1, 3, 1], [2, 2, 2, 0]]),), {"axis": 1}), ((x,), {"axis": 0})],
        "argtop": [((np.array([[3.0, 1, 3, 1], [2, 2, 2, 0]]), 3, 1, True), {}), ((x, 1, 0, False), {}),
                   ((_random(200), 3, 0, True), {}), ((np.arange(200.0) // 2, 3, 0, False), {})],
        "unique": [((np.array([3, 1, 3, 2, 1]),), {})], "tril": [((y,), {}), ((x, 1), {})], "triu": [((y,), {}), ((x, -1), {})],
        "searchsorted": [((np.arange(5.0), v), {}), ((np.arange(5.0), np.array([0.0, 2, 4, 9])), {"side": "right"})],
        "bincount": [((np.array([0, 2, 2, 5]),), {"minlength": 8}), ((np.array([1, 1]),), {"minlength": 0})],
    }
    return found


def examples() -> dict[str, list[Example]]:
    """Calls of every function in :data:`mxcore.runtime.backend.XP`: ``(args, kwargs)`` with NumPy arrays."""
    return {name: list(_elementwise(name)) for name in XP} | _rest()


_WRITES = frozenset({"copyto", "setitem", "add_at", "put_along_axis"})
_VIEWS_HOST = frozenset({"asarray"})


def _moved(value: Any, backend: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return backend.from_host(np.asarray(value), 0)
    if type(value) in (list, tuple):
        return type(value)(_moved(v, backend) for v in value)
    return value


def _retyped(value: Any, dtype: str) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(dtype)
    if isinstance(value, np.float64):
        return np.dtype(dtype).type(value)
    if type(value) in (list, tuple):
        return type(value)(_retyped(v, dtype) for v in value)
    return value


def _back(value: Any, backend: Any) -> list:
    if type(value) in (tuple, list):
        return [x for v in value for x in _back(v, backend)]
    if isinstance(value, backend.array_type):
        return [backend.to_host(value)]
    return [np.asarray(value)]


def _equal(got: Any, want: Any, what: str, tolerance: float) -> None:
    if got.shape != want.shape or got.dtype != want.dtype:
        raise AssertionError(f"{what}: {got.dtype} {got.shape}, expected {want.dtype} {want.shape}")
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance / 10, err_msg=what)


def check_function(backend: Any, name: str) -> None:
    """A function of ``xp`` on its examples, in float64 and float32: values, shapes and types as on the NumPy backend."""
    reference = backend_named("numpy")
    calls = examples()[name]
    if not calls:
        raise AssertionError(f"xp.{name} has no example in mxcore.testing.functions")
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        for number, (args, kwargs) in enumerate(calls):
            args, what = _retyped(args, dtype), f"xp.{name}, example {number} in {dtype}"
            results = []
            for b in (backend, reference):
                given = args if name in _VIEWS_HOST else _moved(args, b)
                r = getattr(b.xp, name)(*given, **kwargs)
                if np.isscalar(r) and name != "item":  # a full reduction of NumPy
                    r = b.asarray(r)
                results.append(_back(given[0] if name in _WRITES else r, b))
            if name == "empty":
                results = [[np.zeros_like(a) for a in r] for r in results]
            if len(results[0]) != len(results[1]):
                raise AssertionError(f"{what}: {len(results[0])} results, expected {len(results[1])}")
            for got, want in zip(*results, strict=True):
                _equal(got, want, what, tolerance)


_OPERATORS: tuple[Callable, ...] = (
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.pow, operator.gt, operator.ge,
    operator.lt, operator.le, operator.eq, operator.ne)


def check_operators(backend: Any) -> None:
    """Python's operators on raw arrays, among themselves and with numbers; basic indexing; the attributes of arrays."""
    for dtype in ("float64", "float32", "int32", "int64"):
        a, b = (_random(2, 3, low=1, high=4).astype(dtype), _random(1, 3, low=1, high=4).astype(dtype))
        x, y = backend.from_host(a, 0), backend.from_host(b, 0)
        for f in _OPERATORS:
            for got, want in ((f(x, y), f(a, b)), (f(x, 2), f(a, 2)), (f(3, x), f(3, a))):
                _equal(backend.to_host(backend.asarray(got)), want, f"{f.__name__} of raw arrays in {dtype}", 1e-5)
        for f in (operator.neg, operator.abs):
            _equal(backend.to_host(f(x)), f(a), f"{f.__name__} of a raw array in {dtype}", 0)
        for key in (0, -1, slice(None), (0, slice(1, None)), (..., None, 1), (slice(None, None, -1), 2)):
            _equal(backend.to_host(backend.asarray(x[key])), np.asarray(a[key]), f"raw array at {key}", 0)
        if (x.shape, x.ndim, x.size, x.dtype) != (a.shape, a.ndim, a.size, a.dtype):
            raise AssertionError(f"attributes of a raw array: {(x.shape, x.ndim, x.size, x.dtype)}")
    t, u = backend.from_host(np.array([True, False, True]), 0), backend.from_host(np.array([True, True, False]), 0)
    for f, want in ((operator.and_, [True, False, False]), (operator.or_, [True, True, True])):
        _equal(backend.to_host(f(t, u)), np.array(want), f"{f.__name__} of truth values", 0)
    _equal(backend.to_host(~t), np.array([False, True, False]), "invert of truth values", 0)
