"""OpenCL C for expressions (:mod:`mxcore.registry.source`), and the functions of ``xp`` on integers and truth values."""

from __future__ import annotations

from mxcore.registry.source import FUNCTIONS, Dialect

__all__ = ["ARITY", "FLOAT", "INTEGER", "LANGUAGE", "TRUTH", "TRUTH_VALUED"]

LANGUAGE = Dialect(
    name="OpenCL C",
    types={"float32": "float", "float64": "double"},
    suffix={"float32": "f", "float64": ""},
    functions={
        "tanh": "fabs({0}) > 22.0 ? copysign(1.0, {0}) : tanh({0})",  # PoCL's tanh(inf) is less than 1
        "round": "round({0})",
        "floor_divide": "{1} == 0.0 ? {0} / {1} : rint(({0} - own_mod({0}, {1})) / {1})",
    },
    words={"INFINITY": "(T)INFINITY", "NAN": "(T)NAN"},  # T: the type of the arithmetic
    prefix="static inline ",
)
#: functions on floating-point numbers
FLOAT: tuple[str, ...] = (*FUNCTIONS, "floor_divide")

_BOTH = {
    "add": "a + b", "subtract": "a - b", "multiply": "a * b", "negative": "-a",
    "greater": "a > b", "greater_equal": "a >= b", "less": "a < b", "less_equal": "a <= b", "equal": "a == b",
    "not_equal": "a != b", "logical_and": "(a != 0) && (b != 0)", "logical_or": "(a != 0) || (b != 0)",
    "logical_xor": "(a != 0) != (b != 0)", "logical_not": "a == 0", "where": "a ? b : c", "maximum": "a >= b ? a : b",
    "minimum": "a <= b ? a : b", "sign": "(T)((a > 0) - (a < 0))", "floor": "a", "ceil": "a", "rint": "a", "round": "a",
    "trunc": "a", "isnan": "0", "isinf": "0", "isfinite": "1", "bitwise_and": "a & b", "bitwise_or": "a | b",
}
#: functions on integers, for operands ``a``, ``b``, ``c`` of type ``T``
INTEGER: dict[str, str] = _BOTH | {
    "power": "own_power(a, b)", "mod": "own_mod(a, b)", "floor_divide": "own_floor_divide(a, b)", "abs": "a < 0 ? -a : a",
    "invert": "~a",
}
#: functions on truth values
TRUTH: dict[str, str] = {k: v for k, v in _BOTH.items() if k not in ("subtract", "negative", "sign")} | {
    "abs": "a", "invert": "!a"}
#: functions whose results are truth values
TRUTH_VALUED = frozenset(("greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or",
                          "logical_xor", "logical_not", "isnan", "isinf", "isfinite"))
_TWO = frozenset(("add", "subtract", "multiply", "divide", "power", "mod", "floor_divide", "maximum", "minimum", "hypot",
                  "arctan2", "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and",
                  "logical_or", "logical_xor", "bitwise_and", "bitwise_or"))
ARITY: dict[str, int] = {name: 3 if name == "where" else 2 if name in _TWO else 1 for name in (*FLOAT, *INTEGER)}

#: division that rounds down, as NumPy's; the lowest number by -1 is a trap on some processors
INTEGER_PRELUDE = """
static inline T own_mod(T a, T b) {
  if (b == 0 || ((T)-1 < 0 && b == (T)-1)) return 0;
  T r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static inline T own_floor_divide(T a, T b) {
  if (b == 0) return 0;
  if ((T)-1 < 0 && b == (T)-1) return -a;
  T q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
static inline T own_power(T a, T b) {
  T r = 1;
  for (; b > 0; b >>= 1, a *= a) if (b & 1) r *= a;
  return r;
}
"""
