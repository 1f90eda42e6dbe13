"""Fused loops compute what their functions do one by one: any expression, shape, order, type and number of threads."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mxcore.registry import expr as E
from mxcore.registry.bound import Spec, plain_order
from mxcore.registry.loop import Loop, Reduction, run_loop
from mxcore_numpy.fusion.loop import bind_loop
from mxcore_numpy.xp import XP

F4, F8 = np.dtype("float32"), np.dtype("float64")
NAMES = ("a", "b", "c")
UNARY = ["negative", "exp", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan", "arcsin", "arccos",
         "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "erf", "erfinv", "gamma", "gammaln", "digamma",
         "polygamma1", "polygamma2", "abs", "sign", "floor", "ceil", "rint", "round", "trunc"]
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "mod", "hypot", "arctan2"]
TRUTH1 = ["isnan", "isinf", "isfinite", "logical_not"]
TRUTH2 = ["greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor"]
SMOOTH1 = ["negative", "tanh", "sin", "cos", "arctan", "abs", "sign", "square_", "sigmoid_"]


def memory(array, order):
    """The same array, lying in memory in this order."""
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))


def lies(array):
    """The Spec of a dense array."""
    order = tuple(sorted(range(array.ndim), key=lambda axis: (-array.strides[axis] if array.shape[axis] > 1 else 0, axis)))
    spec = Spec(array.shape, array.dtype, order)
    assert all(n == 1 or s == t for n, s, t in zip(array.shape, spec.strides, array.strides))
    return spec


def compute(loop, arrays, dtypes, in_place=False, **options):
    ins = [lies(a) for a in arrays]
    shapes = [loop.shape if r is None else r.shape for r in loop.reductions]
    bound = bind_loop(loop, ins, [Spec(s, np.dtype(t), plain_order(len(s))) for s, t in zip(shapes, dtypes)], **options)
    arrays = [np.copy(a, order="K") for a in arrays]
    outs = []
    for s, t, order in zip(shapes, dtypes, bound.out_orders):
        out = np.empty([s[a] for a in order], t)
        out.view(np.uint8).fill(0xA5) if out.ndim else out.fill(77)
        outs.append(out.transpose(np.argsort(order) if order else ()))
    if in_place:
        taken = set()
        for i, j in bound.in_place:
            if i not in taken and j not in {k for _, k in taken_pairs(bound, taken)}:
                outs[j] = arrays[i]
                taken.add(i)
    bound.prepare(arrays)
    bound.run(arrays, outs)
    return outs, bound


def taken_pairs(bound, taken):
    return [(i, j) for i, j in bound.in_place if i in taken]


def check(loop, arrays, dtypes, rtol=2e-5, atol=2e-5, **options):
    with np.errstate(all="ignore"):
        want = run_loop(XP, loop, arrays, [np.dtype(t) for t in dtypes])
        got, bound = compute(loop, arrays, dtypes, **options)
    for w, g in zip(want, got):
        assert g.dtype == w.dtype and g.shape == w.shape
        np.testing.assert_allclose(g.astype("f8"), w.astype("f8"), rtol=rtol, atol=atol)
    return bound


def simple(e, shape, names=NAMES, dtype=F4):
    return Loop(tuple(shape), dtype, tuple(n for n in names if n in E.leaves(e)), (e,), (None,))


def numbers(rng, shape, dtype=F4):
    special = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, np.inf, -np.inf, np.nan, 3.0], dtype)
    values = rng.normal(size=shape).astype(dtype) * 2
    where = rng.random(shape) < 0.4
    return np.where(where, rng.choice(special, shape), values).astype(dtype)


@pytest.mark.parametrize("dtype", [F4, F8], ids=str)
@pytest.mark.parametrize("fn", UNARY + TRUTH1)
def test_functions_of_one_argument(fn, dtype):
    x = numbers(np.random.default_rng(0), (37, 11), dtype)
    check(simple(E.call(fn, E.arg("a")), x.shape, dtype=dtype), [x], [dtype], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [F4, F8], ids=str)
@pytest.mark.parametrize("fn", BINARY + TRUTH2)
def test_functions_of_two_arguments(fn, dtype):
    rng = np.random.default_rng(1)
    x, y = numbers(rng, (37, 11), dtype), numbers(rng, (37, 11), dtype)
    e = E.Expr(fn, (E.arg("a"), E.arg("b")))
    check(simple(e, x.shape, dtype=dtype), [x, y], [dtype], rtol=1e-5, atol=1e-6)
    for k in (0.0, 2.0, -1.0, 3.0, 0.5):
        check(simple(E.Expr(fn, (E.arg("a"), E.const(k))), x.shape, dtype=dtype), [x], [dtype], rtol=1e-5, atol=1e-6)
        check(simple(E.Expr(fn, (E.const(k), E.arg("a"))), x.shape, dtype=dtype), [x], [dtype], rtol=1e-5, atol=1e-6)


def test_every_function_of_expressions_is_tried():
    assert {*UNARY, *BINARY, *TRUTH1, *TRUTH2, "where"} >= set(E.FUNCTIONS)


@pytest.mark.parametrize("choice", [(E.arg("b"), E.arg("c")), (E.arg("b"), 0), (0, E.arg("b")), (1, 0), (0, 1), (2, 3),
                                    (-0.0, E.arg("b"))],
                         ids=str)
@pytest.mark.parametrize("condition", [E.arg("a") > 0, E.arg("a")], ids=str)
def test_where_takes_bits(condition, choice):
    rng = np.random.default_rng(2)
    e = E.where(condition, *choice)
    loop = simple(e, (40, 30))
    arrays = [numbers(rng, (40, 30)) for _ in loop.names]
    want = run_loop(XP, loop, arrays, [F4])[0]
    (got,), _ = compute(loop, arrays, [F4])
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


# ---------------------------------------------------------------------------------------------- any loop
def unary_of(fn, x):
    return x * x if fn == "square_" else 1 / (1 + E.exp(-x)) if fn == "sigmoid_" else E.call(fn, x)


def grow(children):
    return st.one_of(
        st.builds(unary_of, st.sampled_from(SMOOTH1), children),
        st.builds(E.call, st.sampled_from(["add", "subtract", "multiply", "maximum", "minimum"]), children, children),
        st.builds(lambda c, d, x, y: E.where(E.call(c, d, 0.25), x, y), st.sampled_from(["greater", "less_equal"]),
                  children, children, children),
        st.builds(lambda c, d, x: E.where(E.call(c, d, 0.25), x, 0), st.sampled_from(["greater", "less"]), children, children),
        st.builds(lambda x, y: x / (1 + y * y), children, children))


LEAVES = st.one_of(st.sampled_from([E.arg(n) for n in NAMES]), st.sampled_from([0.5, -1.25, 2.0, 3.0]).map(E.const))
EXPRS = st.recursive(LEAVES, grow, max_leaves=8)


@st.composite
def loops(draw):
    ndim = draw(st.integers(0, 4))
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 13]), min_size=ndim, max_size=ndim)))
    exprs = tuple(draw(st.lists(EXPRS, min_size=1, max_size=3)))
    used = [n for n in NAMES if any(n in E.leaves(e) for e in exprs)]
    assume(used)
    dtype = draw(st.sampled_from([F4, F4, F8]))
    reductions = []
    for _ in exprs:
        if draw(st.integers(0, 2)) == 0:
            axes = tuple(a for a in range(ndim) if draw(st.booleans()))
            kept = tuple(1 if a in axes else n for a, n in enumerate(shape))
            final = draw(st.sampled_from([kept, tuple(n for a, n in enumerate(shape) if a not in axes), (int(np.prod(kept)),)]))
            reductions.append(Reduction(axes, final))
        else:
            reductions.append(None)
    return Loop(shape, dtype, tuple(used), exprs, tuple(reductions))


@st.composite
def cases(draw):
    loop = draw(loops())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    ndim = len(loop.shape)
    arrays = []
    for _ in loop.names:
        shape = tuple(n if draw(st.integers(0, 3)) else 1 for n in loop.shape)
        array = rng.uniform(-2, 2, shape).astype(draw(st.sampled_from([loop.dtype, loop.dtype, F4, np.dtype("float16")])))
        array = memory(array, draw(st.permutations(range(ndim)))) if ndim else array
        lead = 0
        while draw(st.booleans()) and lead < ndim and shape[lead] == 1:
            lead += 1
        arrays.append(array.reshape(array.shape[lead:]))
    outs = [draw(st.sampled_from([loop.dtype, loop.dtype, F4])) for _ in loop.exprs]
    return loop, arrays, outs


@settings(max_examples=300)
@given(cases(), st.sampled_from([None, 1, 7, 16, 50, 200]), st.sampled_from([1, 2, 3]), st.booleans())
def test_loops_equal_their_functions_one_by_one(case, tile, threads, in_place):
    loop, arrays, outs = case
    assume(not any(E.is_bool(e) for e in loop.exprs))
    check(loop, arrays, outs, rtol=2e-4, atol=2e-4, tile=tile, threads=threads, in_place=in_place)
