"""Sums, products, comparisons: between arrays of one shape, of broadcast shapes, and with a number."""

import inspect

import numpy as np

from ..registry import Scalar, elementwise, register, rules
from ..registry import expr as E

_BINARY = {
    # name: (expression, elemwise name and aliases, broadcast name and aliases, derivatives)
    "add": (lambda lhs, rhs: lhs + rhs, ("elemwise_add", "_plus", "_add", "_Plus"),
            ("broadcast_add", "broadcast_plus")),
    "sub": (lambda lhs, rhs: lhs - rhs, ("elemwise_sub", "_minus", "_sub", "_Minus"),
            ("broadcast_sub", "broadcast_minus")),
    "mul": (lambda lhs, rhs: lhs * rhs, ("elemwise_mul", "_mul", "_Mul"), ("broadcast_mul",)),
    "div": (lambda lhs, rhs: lhs / rhs, ("elemwise_div", "_div", "_Div"), ("broadcast_div",)),
    "mod": (lambda lhs, rhs: E.mod(lhs, rhs), ("_mod", "_Mod"), ("broadcast_mod",)),
    "power": (lambda lhs, rhs: lhs ** rhs, ("_power", "_Power"), ("broadcast_power",)),
    "maximum": (lambda lhs, rhs: E.maximum(lhs, rhs), ("_maximum", "_Maximum"), ("broadcast_maximum",)),
    "minimum": (lambda lhs, rhs: E.minimum(lhs, rhs), ("_minimum", "_Minimum"), ("broadcast_minimum",)),
    "hypot": (lambda lhs, rhs: E.hypot(lhs, rhs), ("_hypot", "_Hypot"), ("broadcast_hypot",)),
    "equal": (lambda lhs, rhs: lhs.eq(rhs), ("_equal", "_Equal"), ("broadcast_equal",)),
    "not_equal": (lambda lhs, rhs: lhs.ne(rhs), ("_not_equal", "_Not_Equal"), ("broadcast_not_equal",)),
    "greater": (lambda lhs, rhs: lhs > rhs, ("_greater", "_Greater"), ("broadcast_greater",)),
    "greater_equal": (lambda lhs, rhs: lhs >= rhs, ("_greater_equal", "_Greater_Equal"), ("broadcast_greater_equal",)),
    "lesser": (lambda lhs, rhs: lhs < rhs, ("_lesser", "_Lesser"), ("broadcast_lesser",)),
    "lesser_equal": (lambda lhs, rhs: lhs <= rhs, ("_lesser_equal", "_Lesser_Equal"), ("broadcast_lesser_equal",)),
    "logical_and": (lambda lhs, rhs: E.logical_and(lhs, rhs), ("_logical_and", "_Logical_And"),
                    ("broadcast_logical_and",)),
    "logical_or": (lambda lhs, rhs: E.logical_or(lhs, rhs), ("_logical_or", "_Logical_Or"), ("broadcast_logical_or",)),
    "logical_xor": (lambda lhs, rhs: E.logical_xor(lhs, rhs), ("_logical_xor", "_Logical_Xor"),
                    ("broadcast_logical_xor",)),
}
_MEANING = {
    "add": "Sum", "sub": "Difference ``lhs - rhs``", "mul": "Product",
    "div": "Quotient ``lhs / rhs`` (integers truncate)",
    "mod": "Remainder with the sign of ``rhs``; 0 where ``rhs`` is 0", "power": "``lhs`` to the power ``rhs``",
    "maximum": "The larger of the two; a nan wins, a tie counts for ``lhs``",
    "minimum": "The smaller of the two; a nan wins, a tie counts for ``lhs``", "hypot": "``sqrt(lhs**2 + rhs**2)``",
    "equal": "1 where equal, else 0", "not_equal": "1 where not equal, else 0",
    "greater": "1 where ``lhs > rhs``, else 0",
    "greater_equal": "1 where ``lhs >= rhs``, else 0", "lesser": "1 where ``lhs < rhs``, else 0",
    "lesser_equal": "1 where ``lhs <= rhs``, else 0", "logical_and": "1 where both are non-zero, else 0",
    "logical_or": "1 where one is non-zero, else 0", "logical_xor": "1 where exactly one is non-zero, else 0",
}


def _define() -> None:
    for key, (expression, elemwise, broadcast) in _BINARY.items():
        for (name, *aliases), wide in ((elemwise, False), (broadcast, True)):
            def fn(lhs, rhs, _e=expression):
                return _e(lhs, rhs)

            fn.__signature__ = _TWO
            shapes = "broadcast against each other" if wide else "must be equal"
            fn.__doc__ = (f"{_MEANING[key]}, element by element; shapes {shapes}, types must be equal.\n\n"
                          "    The result has the type of the inputs.\n\n"
                          f"    >>> nd.{name}(nd.array([4, 9]), nd.array([2, 9])).shape\n    (2,)\n    "
                          if not name.startswith("_") else
                          f"{_MEANING[key]}, element by element; shapes {shapes}, types must be equal.")
            elementwise(name, aliases=aliases, broadcast=wide)(fn)


def _two(lhs, rhs):
    """Two arrays."""


_TWO = inspect.signature(_two)
_define()


@register("add_n", aliases=("ElementWiseSum", "_sparse_add_n", "_sparse_ElementWiseSum"), infer=rules.same)
def add_n(xp, *args):
    """Sum of any number of arrays of one shape.

    >>> nd.add_n(nd.ones(2), nd.ones(2), nd.ones(2)).asnumpy()
    array([3., 3.], dtype=float32)
    """
    if any(a.shape != args[0].shape for a in args):
        raise ValueError("shapes differ")
    if len(args) == 1:
        return xp.copy(args[0])
    total = xp.add(args[0], args[1])
    for a in args[2:]:
        total = xp.add(total, a)
    return total


@add_n.gradient
def _(n, g):
    return [g] * len(n.inputs)


# ---------------------------------------------------------------- with a number
def _scalar(name, alias, doc):
    def enter(expression):
        def fn(data, *, scalar: Scalar = 1.0):
            return expression(data, scalar)

        fn.__doc__ = doc + "; the number takes the array's type (int64 for truth values)."
        op = elementwise(name, aliases=(alias,) if alias else ())(fn)
        op.types = rules.with_number
        return op

    return enter


for _name, _alias, _doc, _expression in (
    ("_plus_scalar", "_PlusScalar", "``data + scalar``", lambda a, s: a + s),
    ("_minus_scalar", "_MinusScalar", "``data - scalar``", lambda a, s: a - s),
    ("_rminus_scalar", "_RMinusScalar", "``scalar - data``", lambda a, s: s - a),
    ("_mul_scalar", "_MulScalar", "``data * scalar``", lambda a, s: a * s),
    ("_div_scalar", "_DivScalar", "``data / scalar``", lambda a, s: a / s),
    ("_rdiv_scalar", "_RDivScalar", "``scalar / data``", lambda a, s: s / a),
    ("_mod_scalar", "_ModScalar", "``data % scalar``, sign of the divisor", lambda a, s: E.mod(a, s)),
    ("_rmod_scalar", "_RModScalar", "``scalar % data``, sign of the divisor", lambda a, s: E.mod(s, a)),
    ("_power_scalar", "_PowerScalar", "``data ** scalar``", lambda a, s: a ** s),
    ("_rpower_scalar", "_RPowerScalar", "``scalar ** data``", lambda a, s: s ** a),
    ("_maximum_scalar", "_MaximumScalar", "The larger of ``data`` and ``scalar``", lambda a, s: E.maximum(a, s)),
    ("_minimum_scalar", "_MinimumScalar", "The smaller of ``data`` and ``scalar``", lambda a, s: E.minimum(a, s)),
    ("_hypot_scalar", "_HypotScalar", "``sqrt(data**2 + scalar**2)``", lambda a, s: E.hypot(a, s)),
    ("_equal_scalar", "_EqualScalar", "1 where ``data == scalar``", lambda a, s: a.eq(s)),
    ("_not_equal_scalar", "_NotEqualScalar", "1 where ``data != scalar``", lambda a, s: a.ne(s)),
    ("_greater_scalar", "_GreaterScalar", "1 where ``data > scalar``", lambda a, s: a > s),
    ("_greater_equal_scalar", "_GreaterEqualScalar", "1 where ``data >= scalar``", lambda a, s: a >= s),
    ("_lesser_scalar", "_LesserScalar", "1 where ``data < scalar``", lambda a, s: a < s),
    ("_lesser_equal_scalar", "_LesserEqualScalar", "1 where ``data <= scalar``", lambda a, s: a <= s),
    ("_logical_and_scalar", "_LogicalAndScalar", "1 where both are non-zero", lambda a, s: E.logical_and(a, s)),
    ("_logical_or_scalar", "_LogicalOrScalar", "1 where one is non-zero", lambda a, s: E.logical_or(a, s)),
    ("_logical_xor_scalar", "_LogicalXorScalar", "1 where exactly one is non-zero", lambda a, s: E.logical_xor(a, s)),
):
    _scalar(_name, _alias, _doc)(_expression)


# ---------------------------------------------------------------- are all numbers finite
def _finite(xp, arrays):
    good = xp.all(xp.isfinite(arrays[0]))
    for a in arrays[1:]:
        good = xp.logical_and(good, xp.all(xp.isfinite(a)))
    return xp.reshape(xp.astype(good, np.dtype("float32")), (1,))


@register("all_finite", infer=rules.scalar_output, types=rules.fixed_type("float32"), nograd=True)
def all_finite(xp, data, *, init_output: bool = True):
    """1 if no element is nan or infinite, else 0, as a float32 array of shape (1,).

    (``init_output=False`` has a meaning with ``out=`` only: see ``mx.nd.all_finite``.)

    >>> nd.all_finite(nd.array([1, np.inf])).item()
    0.0
    """
    return _finite(xp, (data,))


@register("multi_all_finite", infer=rules.scalar_output, types=rules.fixed_type("float32"), uniform=False, nograd=True,
          count="num_arrays")
def multi_all_finite(xp, *data, num_arrays: int = 1, init_output: bool = True):
    """1 if no element of any array is nan or infinite, else 0, as a float32 array of shape (1,).

    >>> nd.multi_all_finite(nd.ones(2), nd.array([np.nan]), num_arrays=2).item()
    0.0
    """
    return _finite(xp, data)
