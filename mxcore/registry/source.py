"""Scalar expressions as statements of a C-like language.

What is computed is written here once, in *portable text*: C in which ``real`` is the type of the arithmetic, decimal
numbers have that type, and functions have the names of C's ``<math.h>``. A :class:`Dialect` says how a language spells
types, numbers and functions, and which functions it has of its own; a further language is a further small table.

The results are those of :func:`mxcore.registry.loop.run_loop` over NumPy, to a few units in the last place: nan goes
through ``maximum``, ``mod`` has the sign of the divisor, ``round`` goes away from zero, and no operation is reordered or
contracted (say so to the compiler: ``-ffp-contract=off`` or the like).

Sources of the functions that C lacks: S. Winitzki, *A handy approximation for the error function and its inverse* (2008),
improved by Halley's method, for erfinv; Abramowitz & Stegun 6.3.5-6.3.18 and 6.4.6-6.4.13 (recurrence, reflection,
asymptotic series) for digamma and its derivatives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from . import expr as E

__all__ = ["C", "Dialect", "Source", "Statement", "Value", "called", "portable"]

#: portable text of a function's value; ``{0}`` is its first operand, an atom
FUNCTIONS: dict[str, str] = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}", "negative": "-{0}",
    "abs": "fabs({0})", "power": "pow({0}, {1})", "hypot": "hypot({0}, {1})", "arctan2": "atan2({0}, {1})",
    **{name: name + "({0})" for name in ("exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan",
                                         "sinh", "cosh", "tanh", "floor", "ceil", "rint", "trunc", "erf")},
    **{"arc" + name: "a" + name + "({0})" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "gamma": "tgamma({0})", "gammaln": "own_gammaln({0})", "erfinv": "own_erfinv({0})", "digamma": "own_digamma({0})",
    "polygamma1": "own_polygamma1({0})", "polygamma2": "own_polygamma2({0})", "mod": "own_mod({0}, {1})",
    "round": "trunc({0}) + copysign(fabs({0} - trunc({0})) >= 0.5 ? 1.0 : 0.0, {0})",
    "sign": "({0} > 0.0 ? 1.0 : 0.0) - ({0} < 0.0 ? 1.0 : 0.0)",  # of nan: 0
    "maximum": "{0} != {0} ? {0} : {0} > {1} ? {0} : {1}",  # nan in either is the result
    "minimum": "{0} != {0} ? {0} : {0} < {1} ? {0} : {1}",
    "where": "{0} ? {1} : {2}",
    "greater": "{0} > {1}", "greater_equal": "{0} >= {1}", "less": "{0} < {1}", "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}", "not_equal": "{0} != {1}", "logical_and": "{0} & {1}", "logical_or": "{0} | {1}",
    "logical_xor": "{0} != {1}", "logical_not": "!{0}", "isnan": "{0} != {0}", "isinf": "fabs({0}) == INFINITY",
    "isfinite": "fabs({0}) < INFINITY",
}

#: powers with these exponents are products and roots; pow takes the square root of -0.0 and -infinity for that of 0.0 and
#: infinity, which some versions of NumPy follow
_POWERS = {1.0: "{0}", 2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}", 4.0: "({0} * {0}) * ({0} * {0})", -1.0: "1.0 / {0}",
           -2.0: "1.0 / ({0} * {0})", 0.5: "sqrt({0})",
           -0.5: "1.0 / ({0} == -INFINITY ? INFINITY : sqrt({0}) + 0.0)"}

#: portable text of functions that languages lack
OWN: dict[str, str] = {
    "own_mod": """real own_mod(real a, real b) {
    const real r = fmod(a, b);
    const real m = r == 0.0 ? copysign(0.0, b) : (b < 0.0) != (r < 0.0) ? r + b : r;
    return b == 0.0 ? 0.0 : m;
}""",
    "own_gammaln": """real own_gammaln(real x) {
    return fabs(x) == INFINITY ? x : lgamma(x);
}""",
    # near 1 the equation is solved for 1 - |y|, which is exact
    "own_erfinv": """real own_erfinv(real y) {
    const real a = fabs(y), rest = 1.0 - a;
    if (!(rest > 0.0)) return rest == 0.0 ? copysign(INFINITY, y) : NAN;
    const real l = log(rest * (1.0 + a)), h = 4.330746750799873 + 0.5 * l;
    real x = sqrt(fabs(sqrt(h * h - 6.802721088435374 * l) - h));
    for (int k = 0; k < 3; k++) {
        const real e = (a < 0.5 ? erf(x) - a : rest - erfc(x)) / (1.1283791670955126 * exp(-x * x));
        x -= e / (1.0 + x * e);
    }
    return copysign(x, y);
}""",
    "own_digamma": """real own_digamma(real x) {
    real r = 0.0;
    if (x == 0.0) return copysign(INFINITY, -x);
    if (x < 0.0) {
        if (x == floor(x)) return NAN;
        r = -3.141592653589793 / tan(3.141592653589793 * (x - rint(x)));
        x = 1.0 - x;
    }
    for (; x < 10.0; x += 1.0) r -= 1.0 / x;
    const real z = 1.0 / (x * x);
    const real s = z * (0.08333333333333333 - z * (0.008333333333333333 - z * (0.003968253968253968 - z * (
        0.004166666666666667 - z * (0.007575757575757576 - z * (0.021092796092796094 - z * 0.08333333333333333))))));
    return r + log(x) - 0.5 / x - s;
}""",
    "own_polygamma1": """real own_polygamma1(real x) {
    real r = 0.0, side = 1.0;
    if (x <= 0.0) {
        if (x == floor(x)) return INFINITY;
        const real s = sin(3.141592653589793 * (x - rint(x)));
        r = 9.869604401089358 / (s * s);
        side = -1.0;
        x = 1.0 - x;
    }
    for (; x < 10.0; x += 1.0) r += side / (x * x);
    const real z = 1.0 / (x * x);
    const real s = 0.16666666666666666 - z * (0.03333333333333333 - z * (0.023809523809523808 - z * (
        0.03333333333333333 - z * (0.07575757575757576 - z * (0.2531135531135531 - z * 1.1666666666666667)))));
    return r + side * (1.0 / x + 0.5 * z + z / x * s);
}""",
    "own_polygamma2": """real own_polygamma2(real x) {
    real r = 0.0;
    if (x <= 0.0) {
        if (x == floor(x)) return -INFINITY;
        const real t = 3.141592653589793 * (x - rint(x)), s = sin(t);
        r = -62.01255336059963 * cos(t) / (s * s * s);
        x = 1.0 - x;
    }
    for (; x < 10.0; x += 1.0) r -= 2.0 / (x * x * x);
    const real z = 1.0 / (x * x);
    const real s = 0.5 - z * (0.16666666666666666 - z * (0.16666666666666666 - z * (
        0.3 - z * (0.8333333333333334 - z * (3.2904761904761903 - z * 17.5)))));
    return r - z - z / x - z * z * s;
}""",
}

_NUMBER = re.compile(r"(?<![\w.])(\d+\.\d*(?:e[+-]?\d+)?)")
_CALL = re.compile(r"\b([a-z]\w*)(?=\()")
_WORDS = frozenset(("for", "if", "return", "sizeof", "switch", "while"))


def called(text: str) -> list[str]:
    """The functions that portable text calls.

    >>> called(FUNCTIONS["round"])
    ['trunc', 'copysign', 'fabs', 'trunc']
    """
    return [name for name in _CALL.findall(text) if name not in _WORDS]


def portable(node: E.Expr) -> str:
    """The portable text of a function of an expression.

    >>> portable(E.arg("x") ** 2), portable(E.arg("x") ** 2.5)
    ('{0} * {0}', 'pow({0}, {1})')
    """
    if node.fn == "power" and node.args[1].fn == "const":
        return _POWERS.get(node.args[1].args[0], FUNCTIONS["power"])
    return FUNCTIONS[node.fn]


@dataclass(frozen=True)
class Dialect:
    """How a language spells things.

    Attributes
    ----------
    name : str
    types : mapping
        Name of a NumPy type to the name of the type of an element in memory.
    suffix : mapping
        Type of the arithmetic to what follows decimal numbers of it.
    call_suffix : mapping
        Type of the arithmetic to what follows names of functions for it (nothing where functions are overloaded).
    exact : mapping
        Type of the arithmetic to the type in which :data:`OWN` functions compute for it, where that is a wider one.
    functions : mapping
        Function to portable text that is used instead of :data:`FUNCTIONS`.
    own : mapping
        Name of a function to its definition in the language itself (not portable text), used instead of :data:`OWN`.
    loads, stores : mapping
        Name of a short type to text that makes a number of an element ``{0}``, or an element of a number (float32).
    words : mapping
        Spelling of ``INFINITY``, ``NAN`` and ``bool`` where it is another.
    prefix : str
        What stands before the definition of a function.
    """

    name: str
    types: Mapping[str, str]
    suffix: Mapping[str, str]
    call_suffix: Mapping[str, str] = field(default_factory=dict)
    exact: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    loads: Mapping[str, str] = field(default_factory=dict)
    stores: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""

    def typed(self, text: str, dtype: str) -> str:
        """Portable text in the language, for arithmetic of a type.

        >>> C.typed("real y = 0.5 * exp(x);", "float32")
        'float y = 0.5f * expf(x);'
        """
        suffix, after = self.suffix.get(dtype, ""), self.call_suffix.get(dtype, "")
        text = _NUMBER.sub(lambda m: m[1] + suffix, text)
        text = _CALL.sub(lambda m: m[1] if m[1] in _WORDS else m[1] + after, text)
        text = re.sub(r"\breal\b", self.types[dtype], text)
        return re.sub("|".join(rf"\b{w}\b" for w in self.words), lambda m: self.words[m[0]], text) if self.words else text

    def literal(self, value: float, dtype: str) -> str:
        """A number of a type.

        >>> C.literal(-0.1, "float32"), C.literal(2, "float64")
        ('(-0.1f)', '2.0')
        """
        number = np.dtype(dtype).type(value)
        if np.isnan(number):
            return self.words.get("NAN", "NAN")
        text = self.words.get("INFINITY", "INFINITY") if np.isinf(number) else str(abs(number))
        if np.isfinite(number):
            text += ("" if "." in text or "e" in text else ".0") + self.suffix.get(dtype, "")
        return f"(-{text})" if np.signbit(number) else text


class Value(NamedTuple):
    """A value by name: whether it is a truth value, and which operands it was made of."""

    name: str
    truth: bool
    reads: frozenset[str]


class Statement(NamedTuple):
    """The definition of a value; ``kind`` is its type in the language, ``reads`` are the operands it depends on."""

    kind: str
    name: str
    value: str
    reads: frozenset[str]

    @property
    def text(self) -> str:
        """In the language."""
        return f"const {self.kind} {self.name} = {self.value};"


class Source:
    """Writes expressions for arithmetic of one type; equal subexpressions are computed once.

    Parameters
    ----------
    dialect : Dialect
    dtype : numpy.dtype
        Of the arithmetic: one of ``dialect.suffix``.

    Attributes
    ----------
    statements : list of Statement
        Each uses names that were defined before it.
    functions : dict
        Definitions that the statements need, by name, in order.

    Examples
    --------
    >>> s = Source(C, np.dtype("float32"))
    >>> s.operand("data", "data[i]", np.dtype("float32"))
    >>> s.number(s.value(E.exp(E.arg("data") * 0.5) + 1))
    't2'
    >>> print(*[statement.text for statement in s.statements])
    const float x0 = data[i]; const float t0 = x0 * 0.5f; const float t1 = expf(t0); const float t2 = t1 + 1.0f;
    """

    def __init__(self, dialect: Dialect, dtype: np.dtype) -> None:
        self.dialect, self.dtype = dialect, dtype.name
        self.statements: list[Statement] = []
        self.functions: dict[str, str] = {}
        self._values: dict[E.Expr, Value] = {}
        self._numbers: dict[str, str] = {}
        self._truths: dict[str, str] = {}
        self._count = 0

    # ------------------------------------------------------------ memory
    def operand(self, name: str, element: str, dtype: np.dtype) -> None:
        """Read an operand; ``element`` is where it lies in memory, as an element of type ``dtype``."""
        text = self._named(self.dialect.loads, dtype.name, element) or self._cast(element, dtype.name, self.dtype)
        reads = frozenset((name,))
        own = f"x{len(self.statements)}"  # names of operands are anybody's choice, words of the language too
        self.statements.append(Statement(self.dialect.types[self.dtype], own, text, reads))
        self._values[E.arg(name)] = Value(own, False, reads)

    def element(self, number: str, dtype: np.dtype) -> str:
        """A number as an element of memory of type ``dtype``, rounded."""
        narrow = self._cast(number, self.dtype, "float32") if dtype.name in self.dialect.stores else number
        return self._named(self.dialect.stores, dtype.name, narrow) or self._cast(number, self.dtype, dtype.name)

    def _named(self, table: Mapping[str, str], name: str, operand: str) -> str:
        text = table.get(name)
        if text is None:
            return ""
        self._need(text, self.dtype)
        return text.format(operand)

    def _cast(self, text: str, given: str, wanted: str) -> str:
        if wanted == "bool" and given != "bool":
            return f"{text} != 0"
        return text if given == wanted else f"({self.dialect.types[wanted]}){text}"

    # ------------------------------------------------------------ expressions
    def value(self, e: E.Expr) -> Value:
        """Write what ``e`` needs, and return where its value is."""
        values = self._values
        for node in E.walk(e):
            if node not in values:
                values[node] = self._literal(node) if node.fn == "const" else self._call(node)
        return values[e]

    def number(self, value: Value) -> str:
        """A value as a number: a truth value is 0 or 1."""
        if not value.truth:
            return value.name
        if value.name not in self._numbers:
            text = self.dialect.typed(f"{value.name} ? 1.0 : 0.0", self.dtype)
            self._numbers[value.name] = self._define("real", text, value.reads)
        return self._numbers[value.name]

    def truth(self, value: Value) -> str:
        """A value as a truth value: what is not 0, nan too, is true."""
        if value.truth:
            return value.name
        if value.name not in self._truths:
            text = self.dialect.typed(f"{value.name} != 0.0", self.dtype)
            self._truths[value.name] = self._define("bool", text, value.reads)
        return self._truths[value.name]

    def _literal(self, node: E.Expr) -> Value:
        return Value(self.dialect.literal(node.args[0], self.dtype), False, frozenset())

    def _call(self, node: E.Expr) -> Value:
        fn = node.fn
        args = [self._values[a] for a in node.args]
        reads: frozenset[str] = frozenset().union(*[a.reads for a in args])
        if fn.startswith("logical_"):
            names: Iterable[str] = [self.truth(a) for a in args]
        elif fn == "where":
            names = [self.truth(args[0]), *[self.number(a) for a in args[1:]]]
        else:
            names = [self.number(a) for a in args]
        text = self.dialect.functions.get(fn) or portable(node)
        truth = E.is_bool(node)
        return Value(self._define("bool" if truth else "real", self._spelled(text, names), reads), truth, reads)

    def _spelled(self, text: str, names: Iterable[str]) -> str:
        wide = self.dialect.exact.get(self.dtype)
        own = any(n in OWN for n in called(text))
        dtype = wide if own and wide else self.dtype
        self._need(text, dtype)
        if dtype != self.dtype:
            names = [f"({self.dialect.types[dtype]}){n}" for n in names]
        text = self.dialect.typed(text, dtype).format(*names)
        return text if dtype == self.dtype else f"({self.dialect.types[self.dtype]}){text}"

    def _need(self, text: str, dtype: str) -> None:
        for name in called(text):
            if name in self.dialect.own:
                self.functions.setdefault(name, self.dialect.own[name])
            elif name in OWN:
                definition = self.dialect.typed(OWN[name], dtype)
                self.functions.setdefault(name + self.dialect.call_suffix.get(dtype, ""), self.dialect.prefix + definition)

    def _define(self, kind: str, text: str, reads: frozenset[str]) -> str:
        name = f"t{self._count}"
        self._count += 1
        words = self.dialect.words
        spelled = self.dialect.types[self.dtype] if kind == "real" else words.get("bool", "bool")
        self.statements.append(Statement(spelled, name, text, reads))
        return name


# ---------------------------------------------------------------- C
#: float16 and bfloat16 by their bits, without branches, so that compilers vectorise it; rounded to nearest even
_SHORT = {
    "from_bfloat16": """static inline float from_bfloat16(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}""",
    "to_bfloat16": """static inline uint16_t to_bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return x != x ? quiet : rounded;
}""",
    "from_float16": """static inline float from_float16(uint16_t bits) {
    const uint32_t size = (uint32_t)(bits & 0x7fff) << 13, sign = (uint32_t)(bits & 0x8000) << 16;
    float x;
    memcpy(&x, &size, 4);
    x *= 0x1p112f;  /* also of a denormal, the right number */
    uint32_t wide;
    memcpy(&wide, &x, 4);
    wide |= sign | ((bits & 0x7c00) == 0x7c00 ? 0x7f800000 : 0);
    memcpy(&x, &wide, 4);
    return x;
}""",
    "to_float16": """static inline uint16_t to_float16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    const float a = fabsf(x), tiny = (a < 1.0f ? a : 0.0f) + 0.5f;  /* the addition rounds to multiples of 2**-24 */
    uint32_t small;
    memcpy(&small, &tiny, 4);
    const uint32_t usual = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
    const uint32_t large = size > 0x7f800000 ? 0x7e00 | (size >> 13 & 0x3ff) : 0x7c00;
    return sign | (size >= 0x477ff000 ? large : size < 0x38800000 ? small - 0x3f000000 : usual);
}""",
}

#: C11 with ``<math.h> <stdbool.h> <stdint.h> <string.h>``
C = Dialect(
    name="C",
    types={"float32": "float", "float64": "double", "float16": "uint16_t", "bfloat16": "uint16_t", "bool": "bool",
           **{f"{u}int{n}": f"{u}int{n}_t" for u in ("", "u") for n in (8, 16, 32, 64)}},
    suffix={"float32": "f", "float64": ""},
    call_suffix={"float32": "f"},
    exact={"float32": "float64"},
    own=_SHORT,
    loads={"float16": "from_float16({0})", "bfloat16": "from_bfloat16({0})"},
    stores={"float16": "to_float16({0})", "bfloat16": "to_bfloat16({0})"},
    prefix="static ",
)
