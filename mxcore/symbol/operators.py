"""Python's operators and the two-sided functions (``maximum``, ``pow``, ...) on symbols, with MXNet's node names."""

from __future__ import annotations

import operator
from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np

from ..registry.op import OPS
from .fluent import SymbolMethods
from .symbol import Symbol, compose

__all__ = ["FUNCTIONS"]


def _make(name: str, both: str, left: str, right: str, python: Callable | None, meaning: str) -> Callable:
    """``both``, ``left``, ``right``: registry aliases; lower-cased they are the hints of automatic names."""

    def function(lhs: Any, rhs: Any) -> Any:
        if isinstance(lhs, Symbol):
            if isinstance(rhs, Symbol):
                op = OPS[both]
                return compose(op, (lhs, rhs), op.parse({}), hint=both)
            if isinstance(rhs, (Number, np.generic)):
                op = OPS[left]
                return compose(op, (lhs,), op.parse({"scalar": rhs}), hint=left)
        elif isinstance(lhs, (Number, np.generic)):
            if isinstance(rhs, Symbol):
                op = OPS[right]
                return compose(op, (rhs,), op.parse({"scalar": lhs}), hint=right)
            if python is not None:
                return python(lhs, rhs)
        raise TypeError(f"{name}: types {type(lhs).__name__} and {type(rhs).__name__} not supported; "
                        "expected symbols or numbers")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning}, of symbols of one shape, or a symbol and a number."
    return function


_TABLE = {
    "add": ("_Plus", "_PlusScalar", "_PlusScalar", operator.add, "Sum"),
    "subtract": ("_Minus", "_MinusScalar", "_RMinusScalar", operator.sub, "Difference"),
    "multiply": ("_Mul", "_MulScalar", "_MulScalar", operator.mul, "Product"),
    "divide": ("_Div", "_DivScalar", "_RDivScalar", operator.truediv, "Quotient"),
    "modulo": ("_Mod", "_ModScalar", "_RModScalar", operator.mod, "Remainder"),
    "power": ("_Power", "_PowerScalar", "_RPowerScalar", operator.pow, "Power"),
    "maximum": ("_Maximum", "_MaximumScalar", "_MaximumScalar", max, "The larger of two"),
    "minimum": ("_Minimum", "_MinimumScalar", "_MinimumScalar", min, "The smaller of two"),
    "hypot": ("_Hypot", "_HypotScalar", "_HypotScalar", np.hypot, "Length of the hypotenuse"),
    "equal": ("_equal", "_equal_scalar", "_equal_scalar", operator.eq, "1 where equal"),
    "not_equal": ("_not_equal", "_not_equal_scalar", "_not_equal_scalar", operator.ne, "1 where not equal"),
    "greater": ("_greater", "_greater_scalar", "_lesser_scalar", operator.gt, "1 where greater"),
    "greater_equal": ("_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar",
                      operator.ge, "1 where not less"),
    "lesser": ("_lesser", "_lesser_scalar", "_greater_scalar", operator.lt, "1 where less"),
    "lesser_equal": ("_lesser_equal", "_lesser_equal_scalar", "_greater_equal_scalar",
                     operator.le, "1 where not greater"),
    "logical_and": ("_logical_and", "_LogicalAndScalar", "_LogicalAndScalar", None, "1 where both are non-zero"),
    "logical_or": ("_logical_or", "_LogicalOrScalar", "_LogicalOrScalar", None, "1 where one is non-zero"),
    "logical_xor": ("_logical_xor", "_LogicalXorScalar", "_LogicalXorScalar", None, "1 where exactly one is non-zero"),
}
FUNCTIONS: dict[str, Callable] = {name: _make(name, *spec) for name, spec in _TABLE.items()}  # type: ignore[arg-type]
FUNCTIONS["pow"], FUNCTIONS["true_divide"] = FUNCTIONS["power"], FUNCTIONS["divide"]


def _method(function: Callable, swapped: bool = False) -> Callable:
    def method(self: Symbol, other: Any) -> Any:
        if not isinstance(other, (Symbol, Number, np.generic)):
            return NotImplemented
        return function(other, self) if swapped else function(self, other)

    return method


for _name, _python in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "mod": "modulo", "pow": "power",
    "eq": "equal", "ne": "not_equal", "gt": "greater", "ge": "greater_equal", "lt": "lesser", "le": "lesser_equal",
}.items():
    setattr(SymbolMethods, f"__{_name}__", _method(FUNCTIONS[_python]))
    if _name in ("add", "sub", "mul", "truediv", "mod", "pow"):
        setattr(SymbolMethods, f"__r{_name}__", _method(FUNCTIONS[_python], swapped=True))
# MXNet names the node of 2 ** x otherwise than that of power(2, x)
setattr(SymbolMethods, "__rpow__",  # noqa: B010  (the stub says what it is)
        _method(_make("power", "_Power", "_PowerScalar", "_rpower_scalar", None, "Power"), swapped=True))


def _negative(self: Symbol) -> Symbol:
    return FUNCTIONS["multiply"](self, -1.0)


def _absolute(self: Symbol) -> Symbol:
    op = OPS["abs"]
    return compose(op, (self,), op.parse({}), hint="abs")


setattr(SymbolMethods, "__neg__", _negative)  # noqa: B010  (the stub says what it is)
setattr(SymbolMethods, "__abs__", _absolute)  # noqa: B010
