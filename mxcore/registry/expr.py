"""Scalar expressions: an elementwise operator is one of these, written once.

From it come the kernel over a backend's ``xp`` (:func:`render`), the derivatives (:func:`derivative`), and the source
of fused loops. The functions below build expressions; operators of Python work on them too.

Derivatives follow the usual table (Abramowitz & Stegun, *Handbook of Mathematical Functions*, ch. 3, 4, 6, 7).
"""

import ast
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["FLOATING", "FUNCTIONS", "Expr", "arg", "call", "const", "derivative", "is_bool", "leaves", "render", "substituted"]


class Expr:
    """A node of a scalar expression: ``fn`` applied to ``args``; leaves are ``arg`` (an array), ``attr``, ``const``."""

    __slots__ = ("_hash", "args", "fn")

    def __init__(self, fn: str, args: tuple) -> None:
        self.fn, self.args = fn, args
        self._hash = hash((fn, args))  # kept, since expressions share parts and would be hashed over and over

    def __add__(self, o: Any) -> "Expr":
        return call("add", self, o)

    def __radd__(self, o: Any) -> "Expr":
        return call("add", o, self)

    def __sub__(self, o: Any) -> "Expr":
        return call("subtract", self, o)

    def __rsub__(self, o: Any) -> "Expr":
        return call("subtract", o, self)

    def __mul__(self, o: Any) -> "Expr":
        return call("multiply", self, o)

    def __rmul__(self, o: Any) -> "Expr":
        return call("multiply", o, self)

    def __truediv__(self, o: Any) -> "Expr":
        return call("divide", self, o)

    def __rtruediv__(self, o: Any) -> "Expr":
        return call("divide", o, self)

    def __pow__(self, o: Any) -> "Expr":
        return call("power", self, o)

    def __rpow__(self, o: Any) -> "Expr":
        return call("power", o, self)

    def __neg__(self) -> "Expr":
        return call("negative", self)

    def __gt__(self, o: Any) -> "Expr":
        return call("greater", self, o)

    def __ge__(self, o: Any) -> "Expr":
        return call("greater_equal", self, o)

    def __lt__(self, o: Any) -> "Expr":
        return call("less", self, o)

    def __le__(self, o: Any) -> "Expr":
        return call("less_equal", self, o)

    def eq(self, o: Any) -> "Expr":
        """Equality as an expression (``==`` compares nodes)."""
        return call("equal", self, o)

    def ne(self, o: Any) -> "Expr":
        """Inequality as an expression."""
        return call("not_equal", self, o)

    def __eq__(self, o: object) -> bool:
        return self is o or (isinstance(o, Expr) and self._hash == o._hash and self.fn == o.fn and self.args == o.args)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self.fn in ("arg", "attr", "const"):
            return str(self.args[0])
        return f"{self.fn}({', '.join(map(repr, self.args))})"


def arg(name: str) -> Expr:
    """An array operand."""
    return Expr("arg", (name,))


def attr(name: str) -> Expr:
    """A scalar attribute."""
    return Expr("attr", (name,))


def const(value: float) -> Expr:
    """A literal number."""
    return Expr("const", (value,))


ZERO, ONE = const(0), const(1)


def lift(v: Any) -> Expr:
    """A number as an expression; an expression as it is."""
    return v if isinstance(v, Expr) else const(v)


def call(fn: str, *args: Any) -> Expr:
    """``fn(*args)``, with the simplifications that derivatives need (0 + x, 1 * x, 0 * x, --x)."""
    a = tuple(lift(x) for x in args)
    if fn == "add":
        if a[0] == ZERO:
            return a[1]
        if a[1] == ZERO:
            return a[0]
    elif fn == "subtract" and a[1] == ZERO:
        return a[0]
    elif fn == "multiply":
        if ZERO in a:
            return ZERO
        if a[0] == ONE:
            return a[1]
        if a[1] == ONE:
            return a[0]
    elif fn == "negative":
        if a[0].fn == "negative":
            return a[0].args[0]
        if a[0].fn == "const":
            return const(-a[0].args[0])
    elif fn == "divide" and a[0] == ZERO:
        return ZERO
    return Expr(fn, a)


def where(condition: Any, x: Any, y: Any) -> Expr:
    """``x`` where the condition holds, else ``y``."""
    x, y = lift(x), lift(y)
    return x if x == y else call("where", condition, x, y)


def _maker(name: str) -> Callable[..., Expr]:
    def make(*args: Any) -> Expr:
        return call(name, *args)

    make.__name__ = name
    make.__doc__ = f"The expression ``{name}(...)``."
    return make


exp, expm1, log, log2 = _maker("exp"), _maker("expm1"), _maker("log"), _maker("log2")
log10, log1p, sqrt, cbrt = _maker("log10"), _maker("log1p"), _maker("sqrt"), _maker("cbrt")
sin, cos, tan, hypot = _maker("sin"), _maker("cos"), _maker("tan"), _maker("hypot")
arcsin, arccos, arctan, arctan2 = _maker("arcsin"), _maker("arccos"), _maker("arctan"), _maker("arctan2")
sinh, cosh, tanh = _maker("sinh"), _maker("cosh"), _maker("tanh")
arcsinh, arccosh, arctanh = _maker("arcsinh"), _maker("arccosh"), _maker("arctanh")
erf, erfinv, gamma, gammaln = _maker("erf"), _maker("erfinv"), _maker("gamma"), _maker("gammaln")
digamma, polygamma1, polygamma2 = _maker("digamma"), _maker("polygamma1"), _maker("polygamma2")
absolute, sign, floor, ceil, rint = _maker("abs"), _maker("sign"), _maker("floor"), _maker("ceil"), _maker("rint")
round_away, trunc, mod = _maker("round"), _maker("trunc"), _maker("mod")
maximum, minimum = _maker("maximum"), _maker("minimum")
logical_and, logical_or = _maker("logical_and"), _maker("logical_or")
logical_xor, logical_not = _maker("logical_xor"), _maker("logical_not")
isnan, isinf, isfinite = _maker("isnan"), _maker("isinf"), _maker("isfinite")


_LN2, _LN10, _2_SQRTPI = math.log(2), math.log(10), 2 / math.sqrt(math.pi)
_Partials = Callable[..., tuple]


def _none(*a: Any) -> tuple:
    return (0,) * (len(a) - 1)


#: function -> partial derivatives ``f(*args, out)``. Functions that are constant almost everywhere have zeros.
FUNCTIONS: dict[str, _Partials] = {
    "add": lambda a, b, o: (1, 1),
    "subtract": lambda a, b, o: (1, -1),
    "multiply": lambda a, b, o: (b, a),
    "divide": lambda a, b, o: (1 / b, -(a / (b * b))),
    "negative": lambda a, o: (-1,),
    "power": lambda a, b, o: (b * call("power", a, b - 1), log(a) * o),
    "exp": lambda a, o: (o,),
    "expm1": lambda a, o: (o + 1,),
    "log": lambda a, o: (1 / a,),
    "log2": lambda a, o: (1 / (a * _LN2),),
    "log10": lambda a, o: (1 / (a * _LN10),),
    "log1p": lambda a, o: (1 / (1 + a),),
    "sqrt": lambda a, o: (0.5 / o,),
    "cbrt": lambda a, o: (1 / (3 * o * o),),
    "sin": lambda a, o: (cos(a),),
    "cos": lambda a, o: (-sin(a),),
    "tan": lambda a, o: (1 + o * o,),
    "arcsin": lambda a, o: (1 / sqrt(1 - a * a),),
    "arccos": lambda a, o: (-1 / sqrt(1 - a * a),),
    "arctan": lambda a, o: (1 / (1 + a * a),),
    "sinh": lambda a, o: (cosh(a),),
    "cosh": lambda a, o: (sinh(a),),
    "tanh": lambda a, o: (1 - o * o,),
    "arcsinh": lambda a, o: (1 / sqrt(a * a + 1),),
    "arccosh": lambda a, o: (1 / sqrt(a * a - 1),),
    "arctanh": lambda a, o: (1 / (1 - a * a),),
    "erf": lambda a, o: (_2_SQRTPI * exp(-(a * a)),),
    "erfinv": lambda a, o: (exp(o * o) / _2_SQRTPI,),
    "gamma": lambda a, o: (o * digamma(a),),
    "gammaln": lambda a, o: (digamma(a),),
    "digamma": lambda a, o: (polygamma1(a),),
    "polygamma1": lambda a, o: (polygamma2(a),),
    "abs": lambda a, o: (sign(a),),
    "maximum": lambda a, b, o: (where(a >= b, 1, 0), where(a >= b, 0, 1)),
    "minimum": lambda a, b, o: (where(a <= b, 1, 0), where(a <= b, 0, 1)),
    "mod": lambda a, b, o: (1, -floor(a / b)),
    "hypot": lambda a, b, o: (a / o, b / o),
    "arctan2": lambda a, b, o: (b / (a * a + b * b), -(a / (a * a + b * b))),
    "where": lambda c, a, b, o: (0, where(c, 1, 0), where(c, 0, 1)),
    "sign": _none, "floor": _none, "ceil": _none, "rint": _none, "round": _none, "trunc": _none,
    "greater": _none, "greater_equal": _none, "less": _none, "less_equal": _none, "equal": _none, "not_equal": _none,
    "logical_and": _none, "logical_or": _none, "logical_xor": _none, "logical_not": _none,
    "isnan": _none, "isinf": _none, "isfinite": _none,
}
_BOOL = frozenset(("greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or",
                   "logical_xor", "logical_not", "isnan", "isinf", "isfinite"))
#: functions whose values on integers are computed in floating point and truncated, as in MXNet
FLOATING = frozenset(("divide", "power", "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos",
                      "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
                      "erf", "erfinv", "gamma", "gammaln", "digamma", "polygamma1", "polygamma2", "hypot", "arctan2",
                      "floor", "ceil", "rint", "round", "trunc"))


def is_bool(e: Expr) -> bool:
    """Whether the value of ``e`` is a truth value."""
    return e.fn in _BOOL


def walk(e: Expr) -> list[Expr]:
    """The distinct nodes of ``e``, operands before results."""
    seen: dict[Expr, None] = {}
    stack = [(e, iter(e.args))]
    while stack:
        node, rest = stack[-1]
        for a in rest:
            if isinstance(a, Expr) and a not in seen:
                stack.append((a, iter(a.args)))
                break
        else:
            seen.setdefault(node)
            stack.pop()
    return list(seen)


def leaves(e: Expr, kind: str = "arg") -> list[str]:
    """Names of the array operands (or attributes) that ``e`` reads."""
    return [n.args[0] for n in walk(e) if n.fn == kind]


def substituted(e: Expr, values: dict[Expr, Expr]) -> Expr:
    """``e`` with its leaves replaced; nothing is simplified, since 0 * x is no zero where x may be infinite."""
    done = dict(values)
    for node in walk(e):
        if node not in done:
            leaf = not node.args or not isinstance(node.args[0], Expr)
            done[node] = node if leaf else Expr(node.fn, tuple([done[a] for a in node.args]))
    return done[e]


def derivative(e: Expr, name: str, out: Expr | None = None) -> Expr:
    """d ``e`` / d ``name``; where the derivative of the whole uses the value of the whole, ``out`` stands for it."""
    nodes = walk(e)
    adjoint: dict[Expr, Expr] = {e: ONE}
    total: Expr = ZERO
    for node in reversed(nodes):
        bar = adjoint.get(node)
        if bar is None or bar == ZERO:
            continue
        if node.fn == "arg":
            if node.args[0] == name:
                total = total + bar
            continue
        if node.fn in ("attr", "const"):
            continue
        if node.fn not in FUNCTIONS:
            raise ArithmeticError(f"{node.fn} has no derivative")
        value = out if out is not None and node == e else node
        for a, p in zip(node.args, FUNCTIONS[node.fn](*node.args, value), strict=True):
            # a mask times a gradient is written as a choice: 0 * inf must not become nan
            p = lift(p)
            if p == ZERO or name not in leaves(a):
                continue
            term = where(p.args[0], bar if p.args[1] == ONE else ZERO, bar if p.args[2] == ONE else ZERO) \
                if p.fn == "where" and {p.args[1], p.args[2]} == {ZERO, ONE} else bar * p
            if p == const(-1):
                term = -bar
            adjoint[a] = adjoint[a] + term if a in adjoint else term
    return total


# ---------------------------------------------------------------- rendering for xp
_NUMBER = {"add": ast.Add, "subtract": ast.Sub, "multiply": ast.Mult, "divide": ast.Div, "power": ast.Pow}


def render(e: Expr, parameters: Sequence[str], name: str) -> tuple[Callable, tuple[float, ...]]:
    """A Python function ``f(xp, *parameters, *constants)`` that computes ``e`` with the functions of ``xp``.

    Common subexpressions are computed once. Literals that meet arrays become parameters, so that a backend can pass them
    in the form that it handles fastest. The syntax tree is built and compiled directly; no text is generated.

    Returns
    -------
    function, constants
    """
    constants: dict[str, float] = {}
    uses: dict[Expr, int] = {}
    for node in walk(e):
        for a in node.args:
            if isinstance(a, Expr):
                uses[a] = uses.get(a, 0) + 1
    body: list[ast.stmt] = []
    built: dict[Expr, ast.expr] = {}
    for node in walk(e):
        if node.fn in ("arg", "attr"):
            code: ast.expr = ast.Name(node.args[0], ast.Load())
        elif node.fn == "const":
            code = ast.Constant(node.args[0])
        elif node.fn in _NUMBER and not leaves(node):
            # among numbers only: Python's arithmetic, whose result does not decide the type of an array
            code = ast.BinOp(built[node.args[0]], _NUMBER[node.fn](), built[node.args[1]])
        else:
            function = ast.Attribute(ast.Name("xp", ast.Load()), node.fn, ast.Load())
            operands = []
            for a in node.args:
                code = built[a]
                if a.fn == "const":
                    parameter = f"k{len(constants)}_"
                    constants[parameter] = a.args[0]
                    code = ast.Name(parameter, ast.Load())
                operands.append(code)
            code = ast.Call(function, operands, [])
            if uses.get(node, 0) > 1:
                temporary = f"t{len(body)}_"
                body.append(ast.Assign([ast.Name(temporary, ast.Store())], code))
                code = ast.Name(temporary, ast.Load())
        built[node] = code
    body.append(ast.Return(built[e]))
    arguments = ast.arguments([], [ast.arg(p) for p in ("xp", *parameters, *constants)], None, [], [], None, [])
    definition = ast.FunctionDef(name="kernel", args=arguments, body=body, decorator_list=[])
    if sys.version_info >= (3, 12):
        definition.type_params = []
    module = ast.fix_missing_locations(ast.Module([definition], []))
    scope: dict[str, Any] = {"__name__": f"mxcore.kernel.{name}"}
    exec(compile(module, f"<kernel of {name}>", "exec"), scope)
    return scope["kernel"], tuple(constants.values())
