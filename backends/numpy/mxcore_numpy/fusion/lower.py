"""From scalar expressions to instructions: one ufunc call each, with what NumPy does slowly written in another way.

A value is *wide* (an element of the loop's type, or a mask of as many bits) or a truth value of one byte. Instructions
look at a register through a view, a letter of their signature: ``f`` the numbers, ``i`` their bits as integers, ``b``
truth values, ``s`` the same bytes as signed integers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import introspect

from mxcore.registry import expr as E

from ..xp import XP

__all__ = ["Code", "Lowering", "Value"]


_SMALL = 1 << 16  #: elements of a result that is computed before the tiles


class Code(NamedTuple):
    """An instruction: what is called, the views of its operands and result, nanoseconds for one float32."""

    call: Callable | None  #: None: a copy, which converts
    ins: str
    out: str
    cost: float
    form: str = "out"  #: "out": ``call(*ins, result)``; "named": ``call(*ins, out=result)``; "value": result[...] = call(*ins)


class Value:
    """A number for each place: the result of an instruction, an input (``in``), a literal (``const``, ``splat``)."""

    __slots__ = ("args", "data", "op", "shape", "wide")

    def __init__(self, op: str, args: tuple[Value, ...], shape: tuple[int, ...], wide: bool, data: Any = None) -> None:
        self.op, self.args, self.shape, self.wide, self.data = op, args, shape, wide, data

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))})" if self.args else f"{self.op}:{self.data}"


@functools.cache
def _vector_expm1() -> bool:
    """Whether NumPy computes expm1 of float32 with vector instructions here."""
    found = introspect.opt_func_info(func_name="^expm1$", signature="float32").get("expm1", {})
    return any(not kind["current"].startswith("baseline") for kind in found.values())


def _codes() -> dict[str, Code]:
    table = {name: Code(getattr(np, name), "f", "f", cost) for name, cost in (
        ("negative", 0.14), ("abs", 0.14), ("square", 0.14), ("sqrt", 0.29), ("reciprocal", 0.26), ("exp", 0.8),
        ("expm1", 0.56), ("sinh", 0.7), ("cosh", 0.63), ("tanh", 0.55), ("sin", 1.1), ("cos", 1.1), ("floor", 0.14),
        ("ceil", 0.14), ("rint", 0.14), ("trunc", 0.14), ("arctan", 0.9), ("arcsinh", 1.5), ("log", 0.6), ("log2", 0.36),
        ("log1p", 0.8), ("log10", 0.37), ("cbrt", 0.54), ("arcsin", 0.7), ("arccos", 0.8), ("arctanh", 1.0), ("tan", 0.9),
        ("arccosh", 1.5))}
    table |= {name: Code(getattr(np, name), "ff", "f", cost) for name, cost in (
        ("add", 0.25), ("subtract", 0.25), ("multiply", 0.25), ("divide", 0.27), ("power", 1.3), ("hypot", 5.0),
        ("arctan2", 1.1), ("remainder", 18.0))}
    # NumPy wants the result of these two by name
    table |= {name: Code(getattr(np, name), "ff", "f", 0.2, "named") for name in ("maximum", "minimum")}
    table |= {name: Code(getattr(np, name), "ff", "b", 0.14) for name in (
        "greater", "greater_equal", "less", "less_equal", "equal", "not_equal")}
    table |= {name: Code(getattr(np, name), "f", "b", 0.12) for name in ("isnan", "isinf", "isfinite")}
    table |= {name: Code(getattr(np, name), "bb", "b", 0.06) for name in ("logical_and", "logical_or", "logical_xor")}
    table |= {name: Code(getattr(XP, name), "f", "f", 24.0, "value") for name in (
        "erf", "erfinv", "gamma", "gammaln", "digamma", "polygamma1", "polygamma2")}
    return table | {
        "logical_not": Code(np.logical_not, "b", "b", 0.06),
        "number": Code(None, "b", "f", 0.2),  # a truth value as 0 or 1
        "load": Code(None, "f", "f", 1.0),  # an input of another type
        "fill": Code(None, "f", "f", 0.2),  # what broadcasts, at every place
        "spread": Code(None, "s", "i", 0.2),  # a byte as an integer with its sign
        "float": Code(None, "s", "f", 0.2),
        "mask": Code(np.negative, "s", "s", 0.06),  # 1 becomes -1, all bits set
        "inverse_mask": Code(np.subtract, "ss", "s", 0.06),
        "and": Code(np.bitwise_and, "ii", "i", 0.2),
        "or": Code(np.bitwise_or, "ii", "i", 0.2),
        "xor": Code(np.bitwise_xor, "ii", "i", 0.2),
        "minus": Code(np.subtract, "ss", "s", 0.06),
    }


#: erf(x) = tanh(x P(x^2)), coefficients from the highest: atanh(erf(x)) / x fitted in x^2 over [0, 9] by least squares,
#: reweighted until the greatest relative error of erf is least (Lawson's method). In float32 within 2e-7 of erf
#: everywhere; P stays positive and grows, so the function goes to 1.
_ERF = (1.4097232e-07, -5.6567719e-06, 8.7583685e-05, -0.00061968161, -0.000191911205, 0.10276908, 1.12837923)


class Lowering:
    """Values of one loop, each made once.

    Parameters
    ----------
    names, shapes, dtypes
        Of the inputs; the shapes have as many axes as the loop.
    scattered
        Of each input, whether its elements lie far from each other when the loop goes through memory.
    dtype : numpy.dtype
        Of the arithmetic.
    shape : tuple of int
        Of the loop.
    """

    CODES = _codes()

    def __init__(self, names: Sequence[str], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype],
                 scattered: Sequence[bool], dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.unit = (1,) * len(shape)
        self.most = min(prod(shape) // 4, _SMALL)
        self.bits = np.dtype(f"i{dtype.itemsize}")
        self.sign_bit = np.array(np.iinfo(self.bits).min, self.bits).view(dtype)
        self.values: dict[tuple, Value] = {}
        self.done: dict[E.Expr, Value] = {}
        self.uses: dict[E.Expr, int] = {}
        for i, (name, shape, t) in enumerate(zip(names, shapes, dtypes, strict=True)):
            value = self.done[E.arg(name)] = Value("in", (), shape, t == dtype, i)
            if t != dtype:
                self.done[E.arg(name)] = self.make("load", value)
        self.scattered = [E.arg(name) for name, s in zip(names, scattered, strict=True) if s]

    def lower(self, exprs: Sequence[E.Expr]) -> list[Value]:
        """The values of expressions, all wide."""
        for node in dict.fromkeys(n for e in exprs for n in E.walk(e)):
            for a in node.args:
                if isinstance(a, E.Expr):
                    self.uses[a] = self.uses.get(a, 0) + 1
        for e in exprs:
            self.uses[e] = self.uses.get(e, 0) + 1
        for a in self.scattered:
            if self.uses.get(a, 0) > 1 and self.done[a].op == "in":
                self.done[a] = self.make("load", self.done[a])
        results = []
        for e in exprs:
            for node in E.walk(e):
                if node not in self.done:
                    self.done[node] = self.const(node.args[0]) if node.fn == "const" else self.node(node)
            results.append(self.wide(self.done[e]))
        return results

    # ------------------------------------------------------------------------------------------------- making values
    def const(self, value: Any) -> Value:
        """A literal as an array of no dimensions, which ufuncs take fastest."""
        data = np.array(value, self.dtype)
        key = ("const", data.tobytes())
        if key not in self.values:
            self.values[key] = Value("const", (), self.unit, True, data)
        return self.values[key]

    def splat(self, value: Value) -> Value:
        """A literal as an array of the tile's size, for functions that NumPy has no fast loop for with one number."""
        if value.op != "const":
            return value
        key = ("splat", value.data.tobytes())
        if key not in self.values:
            self.values[key] = Value("splat", (), self.unit, True, value.data)
        return self.values[key]

    def make(self, op: str, *args: Value) -> Value:
        """The result of an instruction."""
        key = (op, *map(id, args))
        found = self.values.get(key)
        if found is None:
            code = self.CODES[op]
            wide = code.out in "fi"
            if code.call is not None and wide and all(a.op == "const" for a in args):
                views = [a.data if v == "f" else a.data.view(self.bits) for a, v in zip(args, code.ins, strict=True)]
                with np.errstate(all="ignore"):
                    data = np.asarray(code.call(*views)).astype(self.bits if code.out == "i" else self.dtype)
                found = self.const(data.view(self.dtype))
            else:
                shape = np.broadcast_shapes(*[a.shape for a in args])
                found = Value(op, args, shape, wide)
            self.values[key] = found
        return found

    def narrow(self, value: Value) -> bool:
        """Whether a value broadcasts, so that it is computed before the tiles."""
        return value.op == "const" or prod(value.shape) <= self.most

    def wide(self, value: Value) -> Value:
        """A truth value as a number."""
        return value if value.wide else self.make("number", value)

    def truth(self, value: Value) -> Value:
        """A number as a truth value: nan is true."""
        return self.make("not_equal", value, self.const(0)) if value.wide else value

    # -------------------------------------------------------------------------------------------------- expressions
    def node(self, node: E.Expr) -> Value:
        """The value of an expression whose operands are there."""
        args = [self.done[a] for a in node.args]
        if node.fn == "where":
            return self._leaky(node) or self._where(*args)
        if node.fn.startswith("logical_"):
            return self.make(node.fn, *[self.truth(a) for a in args])
        better = {"add": self._one_and_exp, "multiply": self._product}.get(node.fn)
        if better is not None and (value := better(node)) is not None:
            return value
        args = [self.wide(a) for a in args]
        special = getattr(self, f"_{node.fn}", None)
        return special(*args) if special is not None else self.make(node.fn, *args)

    def _one_and_exp(self, node: E.Expr) -> Value | None:
        """``1 + exp(x)``, of the logistic function, as ``2 + expm1(x)``: as accurate, and where it pays the faster one."""
        for a, b in (node.args, node.args[::-1]):
            if a == E.ONE and b.fn == "exp" and self.uses[b] == 1 and self.dtype.itemsize == 4 and _vector_expm1():
                return self.make("add", self.make("expm1", self.wide(self.done[b.args[0]])), self.const(2))
        return None

    def _product(self, node: E.Expr) -> Value | None:
        """A product of several factors: numbers, and what broadcasts, are multiplied with each other, which is little or no
        work; signs are numbers; a reciprocal becomes a division."""
        few: list[Value] = []
        many: list[Value] = []
        below: list[Value] = []
        rest = [node]
        while rest:
            e = rest.pop()
            single = e is node or self.uses[e] == 1
            if e.fn in ("multiply", "negative") and single:
                rest += e.args[::-1]
                if e.fn == "negative":
                    few.append(self.const(-1))
                continue
            if e.fn == "const" and not 1e-6 < abs(e.args[0]) < 1e6:
                return None  # in another order there might be an overflow
            value = self.wide(self.done[e])
            if self.narrow(value):
                few.append(value)
            elif e.fn == "divide" and e.args[0] == E.ONE and single:
                below.append(self.wide(self.done[e.args[1]]))
            else:
                many.append(value)
        if not many or not (len(few) > 1 or below or any(v.op == "const" and v.data < 0 for v in few)):
            return None
        result = functools.reduce(self._multiply, many)
        for value in below:
            result = self._divide(result, value)
        few.sort(key=lambda v: prod(v.shape))
        return self._multiply(result, functools.reduce(self._multiply, few)) if few else result

    def _leaky(self, node: E.Expr) -> Value | None:
        """``x`` where positive, else ``k x`` with a ``k`` up to 1, as the larger one of both."""
        condition, x, less = node.args
        if condition.fn in ("greater", "greater_equal") and condition.args == (x, E.ZERO) and less.fn == "multiply":
            for k, y in (less.args, less.args[::-1]):
                if y == x and k.fn == "const" and 1e-6 < k.args[0] <= 1:
                    return self.make("maximum", self.wide(self.done[x]), self.done[less])
        return None

    def _negative(self, a: Value) -> Value:
        if a.op == "abs":
            return self.make("or", a.args[0], self.const(self.sign_bit))
        if a.op == "negative":
            return a.args[0]
        if a.op == "multiply" and a.args[1].op == "const":
            return self.make("multiply", a.args[0], self.const(-a.args[1].data))
        return self.make("negative", a)

    def _multiply(self, a: Value, b: Value) -> Value:
        if a is b:
            return self.make("square", a)
        if a.op == "const":
            a, b = b, a
        if b.op == "const" and abs(b.data) == 1:
            return a if b.data > 0 else self._negative(a)
        return self.make("multiply", a, b)

    def _add(self, a: Value, b: Value) -> Value:
        for x, y in ((a, b), (b, a)):
            if y.op == "negative":
                return self.make("subtract", x, y.args[0])
        return self.make("add", a, b)

    def _subtract(self, a: Value, b: Value) -> Value:
        return self.make("add", a, b.args[0]) if b.op == "negative" else self.make("subtract", a, b)

    def _divide(self, a: Value, b: Value) -> Value:
        if b.op == "const" and 1e-30 < abs(b.data) < 1e30 and abs(math.frexp(float(b.data))[0]) == 0.5:
            return self.make("multiply", a, self.const(1 / b.data))  # by a power of two: exact
        return self.make("divide", a, b)

    def _power(self, a: Value, b: Value) -> Value:
        if b.op == "const":
            if b.data == 2:
                return self.make("square", a)
            if b.data == 3:
                return self.make("multiply", self.make("square", a), a)
            if b.data == -1:
                return self.make("reciprocal", a)
        return self.make("power", a, b)

    def _maximum(self, a: Value, b: Value) -> Value:
        return self.make("maximum", self.splat(a), self.splat(b))

    def _minimum(self, a: Value, b: Value) -> Value:
        return self.make("minimum", self.splat(a), self.splat(b))

    def _erf(self, a: Value) -> Value:
        """SciPy's takes 24 ns an element, this 4."""
        if self.dtype.itemsize != 4:
            return self.make("erf", a)
        square = self.make("square", a)
        p = self.const(_ERF[0])
        for k in _ERF[1:]:
            p = self.make("add", self.make("multiply", p, square), self.const(k))
        return self.make("tanh", self.make("multiply", p, a))

    def _mod(self, a: Value, b: Value) -> Value:
        r = self.make("remainder", a, b)
        return r if b.op == "const" and b.data != 0 else self._where(self.make("not_equal", b, self.const(0)), r, self.const(0))

    def _sign(self, a: Value) -> Value:
        above, below = self.make("greater", a, self.const(0)), self.make("less", a, self.const(0))
        return self.make("float", self.make("minus", above, below))  # nan is neither

    def _round(self, a: Value) -> Value:
        whole = self.make("trunc", a)
        rest = self.make("abs", self.make("subtract", a, whole))
        up = self.make("number", self.make("greater_equal", rest, self.const(0.5)))
        sign = self.make("and", a, self.const(self.sign_bit))
        return self.make("add", whole, self.make("or", up, sign))

    def _where(self, c: Value, a: Value, b: Value) -> Value:
        """By bits: choosing element by element mispredicts every other branch, which costs ten times as much."""
        c, a, b = self.truth(c), self.wide(a), self.wide(b)
        if b.op == "const" and a.op == "const" and not b.data.view(self.bits) and a.data == 1:
            return self.make("number", c)
        if b.op == "const" and not b.data.view(self.bits):
            return self.make("and", a, self.make("spread", self.make("mask", c)))
        if a.op == "const" and not a.data.view(self.bits):
            one = Value("const", (), self.unit, False, np.array(1, np.int8))
            one = self.values.setdefault(("byte",), one)
            return self.make("and", b, self.make("spread", self.make("inverse_mask", c, one)))
        mask = self.make("spread", self.make("mask", c))
        return self.make("xor", b, self.make("and", self.make("xor", a, b), mask))
