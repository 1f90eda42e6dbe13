"""``nd.add`` and its kind: functions that take arrays or numbers on either side."""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np

from ..registry.op import OPS
from ..runtime.invoke import invoke
from .ndarray import NDArray

__all__ = ["add", "divide", "equal", "greater", "greater_equal", "hypot", "lesser", "lesser_equal", "logical_and",
           "logical_or", "logical_xor", "maximum", "minimum", "modulo", "multiply", "not_equal", "power", "subtract",
           "true_divide"]


def _two_sided(name: str, broadcast: str, left: str, right: str, python: Callable, meaning: str) -> Callable:
    """``left``: array with a number on its right; ``right``: with a number on its left."""
    op = OPS[broadcast]

    def function(lhs: Any, rhs: Any) -> Any:
        if isinstance(lhs, NDArray):
            if isinstance(rhs, NDArray):
                return invoke(op, (lhs, rhs), op.parse({}))
            if isinstance(rhs, (Number, np.generic)):
                return invoke(OPS[left], (lhs,), OPS[left].parse({"scalar": rhs}))
        elif isinstance(lhs, (Number, np.generic)):
            if isinstance(rhs, NDArray):
                return invoke(OPS[right], (rhs,), OPS[right].parse({"scalar": lhs}))
            if isinstance(rhs, (Number, np.generic)):
                return python(lhs, rhs)
        raise TypeError(f"{name}: types {type(lhs).__name__} and {type(rhs).__name__} not supported; "
                        "expected arrays or numbers")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (f"{meaning}, element by element, of arrays (broadcast) or numbers.\n\n"
                        f"    >>> nd.{name}(nd.array([1., 2.]), 2).shape\n    (2,)\n    ")
    return function


def _truth(f: Callable) -> Callable:
    return lambda a, b: float(bool(f(a, b)))


add = _two_sided("add", "broadcast_add", "_plus_scalar", "_plus_scalar", operator.add, "Sum")
subtract = _two_sided("subtract", "broadcast_sub", "_minus_scalar", "_rminus_scalar", operator.sub, "Difference")
multiply = _two_sided("multiply", "broadcast_mul", "_mul_scalar", "_mul_scalar", operator.mul, "Product")
divide = _two_sided("divide", "broadcast_div", "_div_scalar", "_rdiv_scalar", operator.truediv, "Quotient")
true_divide = _two_sided("true_divide", "broadcast_div", "_div_scalar", "_rdiv_scalar", operator.truediv, "Quotient")
modulo = _two_sided("modulo", "broadcast_mod", "_mod_scalar", "_rmod_scalar", operator.mod, "Remainder, sign of the divisor")
power = _two_sided("power", "broadcast_power", "_power_scalar", "_rpower_scalar", operator.pow, "Power")
maximum = _two_sided("maximum", "broadcast_maximum", "_maximum_scalar", "_maximum_scalar", max, "The larger of two")
minimum = _two_sided("minimum", "broadcast_minimum", "_minimum_scalar", "_minimum_scalar", min, "The smaller of two")
hypot = _two_sided("hypot", "broadcast_hypot", "_hypot_scalar", "_hypot_scalar", np.hypot, "Length of the hypotenuse")
equal = _two_sided("equal", "broadcast_equal", "_equal_scalar", "_equal_scalar", _truth(operator.eq), "1 where equal")
not_equal = _two_sided("not_equal", "broadcast_not_equal", "_not_equal_scalar", "_not_equal_scalar", _truth(operator.ne),
                       "1 where not equal")
greater = _two_sided("greater", "broadcast_greater", "_greater_scalar", "_lesser_scalar", _truth(operator.gt),
                     "1 where greater")
greater_equal = _two_sided("greater_equal", "broadcast_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar",
                           _truth(operator.ge), "1 where greater or equal")
lesser = _two_sided("lesser", "broadcast_lesser", "_lesser_scalar", "_greater_scalar", _truth(operator.lt),
                    "1 where less")
lesser_equal = _two_sided("lesser_equal", "broadcast_lesser_equal", "_lesser_equal_scalar", "_greater_equal_scalar",
                          _truth(operator.le), "1 where less or equal")
logical_and = _two_sided("logical_and", "broadcast_logical_and", "_logical_and_scalar", "_logical_and_scalar",
                         _truth(lambda a, b: a and b), "1 where both are non-zero")
logical_or = _two_sided("logical_or", "broadcast_logical_or", "_logical_or_scalar", "_logical_or_scalar",
                        _truth(lambda a, b: a or b), "1 where one is non-zero")
logical_xor = _two_sided("logical_xor", "broadcast_logical_xor", "_logical_xor_scalar", "_logical_xor_scalar",
                         _truth(lambda a, b: bool(a) != bool(b)), "1 where exactly one is non-zero")
