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
    assert array.size < 2 or all(n == 1 or s == t for n, s, t in zip(array.shape, spec.strides, array.strides))
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
        free = set(range(len(arrays)))
        for j in range(len(outs)):
            i = next((i for i, k in bound.in_place if k == j and i in free), None)
            if i is not None:
                free.remove(i)
                outs[j] = arrays[i]
    bound.prepare(arrays)
    bound.run(arrays, outs)
    return outs, bound


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


@pytest.mark.parametrize("slope", [0.25, 1, 0, 3, -0.5])
@pytest.mark.parametrize("shape", [(40, 30), (300, 500)], ids=str)
def test_leaky(shape, slope):
    x = numbers(np.random.default_rng(3), shape)
    loop = simple(E.where(E.arg("a") > 0, E.arg("a"), slope * E.arg("a")), x.shape)
    (got,), _ = compute(loop, [x], [F4])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, run_loop(XP, loop, [x], [F4])[0])


def test_more_values_at_a_time_than_fit_the_scratch_memory():
    e = E.arg("a")
    values = [E.sin(e + k) for k in range(1, 60)]
    total = E.arg("a")
    for v in values:
        total = total + v
    for v in reversed(values):
        total = total * 0.5 + v
    x = np.random.default_rng(3).normal(size=(400, 301))
    check(simple(total, x.shape, dtype=F8), [x], [F8], threads=2)


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


@settings(max_examples=150)
@given(cases(), st.sampled_from([None, 1, 7, 16, 50, 200]), st.sampled_from([1, 2, 3]), st.booleans())
def test_loops_equal_their_functions_one_by_one(case, tile, threads, in_place):
    loop, arrays, outs = case
    assume(not any(E.is_bool(e) for e in loop.exprs))
    check(loop, arrays, outs, rtol=2e-4, atol=2e-4, tile=tile, threads=threads, in_place=in_place)


@settings(max_examples=60)
@given(cases(), st.sampled_from([1, 30, None]))
def test_runs_do_not_depend_on_what_was_there(case, tile):
    """The same object twice: nothing is left in registers, sums or the memory of outputs."""
    loop, arrays, outs = case
    first, bound = compute(loop, arrays, outs, tile=tile, threads=2)
    again = [np.full_like(o, 7) for o in first]
    bound.prepare(arrays)
    bound.run(arrays, again)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------------------------------------- truth values, types
A, B, C = map(E.arg, NAMES)


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("e, want", [
    (A > B, lambda a, b: a > b),
    ((A > 0) + (B > 0), lambda a, b: (a > 0) * 1.0 + (b > 0)),
    ((A > 0) - (B > 0), lambda a, b: (a > 0) * 1.0 - (b > 0)),
    ((A > 0) * (B > 0), lambda a, b: (a > 0) * (b > 0)),
    (-(A > 0), lambda a, b: -1.0 * (a > 0)),
    (E.call("logical_xor", A > 0, B), lambda a, b: (a > 0) ^ (b != 0)),
    (E.where(E.call("logical_not", A), B, A > B), lambda a, b: np.where(a == 0, b, a > b)),
    (E.Expr("greater", (E.const(1), E.const(0))) * A, lambda a, b: a),
], ids=repr)
def test_truth_values_are_zero_and_one_to_arithmetic(e, want, tile):
    rng = np.random.default_rng(3)
    a, b = (np.round(rng.normal(size=(12, 9))).astype(F4) for _ in range(2))
    loop = Loop((12, 9), F4, ("a", "b"), (e, e), (None, Reduction((0,), (9,))))
    (got, total), _ = compute(loop, [a, b], [F4, F4], tile=tile)
    np.testing.assert_array_equal(got, np.asarray(want(a, b), F4))
    np.testing.assert_allclose(total, got.sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("tile", [None, 50])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "bool", "int8", "int32", "uint8"])
def test_other_types_are_converted_tile_by_tile(dtype, tile):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    t = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    rng = np.random.default_rng(4)
    a = (rng.integers(0, 4, (13, 10)) if t.kind in "biu" else rng.normal(size=(13, 10))).astype(t)
    row = rng.integers(0, 3, (10,)).astype(t)
    loop = Loop((13, 10), F4, ("a", "b"), (A * 2 + B, A + B, A * A), (None, Reduction((0,), (10,)), None))
    out = t if t.kind not in "biu" else F4
    check(loop, [a, row], [out, out, F4], rtol=1e-2 if out != F4 else 1e-6, tile=tile)


@pytest.mark.parametrize("shape, axes", [((0,), (0,)), ((3, 0, 2), (1,)), ((0, 4), (1,)), ((), ()), ((1, 1), (0, 1))])
def test_empty_and_tiny(shape, axes):
    a = np.ones(shape, F4)
    kept = tuple(n for i, n in enumerate(shape) if i not in axes)
    check(Loop(shape, F4, ("a",), (E.tanh(A) + 1, A * A), (None, Reduction(axes, kept))), [a], [F4, F4])


def test_a_loop_of_literals():
    loop = Loop((3, 4), F4, (), (E.const(2), E.const(3)), (None, Reduction((1,), (3,))))
    (two, twelve), _ = compute(loop, [], [F4, F4])
    assert (two == 2).all() and (twelve == 12).all()


# ---------------------------------------------------------------------------------------------- large ones
def test_sums_are_the_same_each_time_and_accurate():
    a = np.random.default_rng(5).uniform(0, 1, (3001, 257)).astype(F4)
    loop = Loop(a.shape, F4, ("a",), (A, A, A), (Reduction((0,), (257,)), Reduction((0, 1), ()), Reduction((1,), (3001, 1))))
    first, bound = compute(loop, [a], [F4] * 3, threads=4, tile=4096)
    for _ in range(5):
        outs = [np.empty_like(o) for o in first]
        bound.run([a], outs)
        assert all((x == y).all() for x, y in zip(first, outs))
    exact = a.astype(F8)
    for got, axes in zip(first, ((0,), (0, 1), (1,))):
        np.testing.assert_allclose(got, exact.sum(axis=axes).reshape(got.shape), rtol=2e-6)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_normalisation_and_its_sums_in_any_layout(order, threads):
    rng = np.random.default_rng(6)
    x, g = (memory(rng.normal(size=(8, 24, 30, 31)).astype(F4), order) for _ in range(2))
    mean, scale = (rng.normal(size=(1, 24, 1, 1)).astype(F4) for _ in range(2))
    weight = rng.normal(size=(24, 1, 1)).astype(F4)
    n, X, M, S, W, G = "xmswg", *map(E.arg, "xmswg")
    y = (X - M) * (1 / E.sqrt(S * S + 1e-5)) * W
    back = E.where(y > 0, G, 0)
    loop = Loop(x.shape, F4, tuple(n), (E.maximum(y, 0), back, back * X), (None, *[Reduction((0, 2, 3), (24,))] * 2))
    bound = check(loop, [x, mean, scale, weight, g], [F4] * 3, rtol=1e-3, atol=1e-3, threads=threads)
    assert bound.out_orders[0] == order
    assert (0, 0) not in bound.in_place  # x is read again
    assert bound.before is not None and set(bound.prepared) == {2, 3}  # what broadcasts is computed once


def test_operands_in_different_orders():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(6, 20, 33, 35)).astype(F4)
    y = memory(rng.normal(size=x.shape).astype(F4), (0, 2, 3, 1))
    loop = Loop(x.shape, F4, ("a", "b"), (E.tanh(A) * B + A,), (None,))
    for arrays in ([x, y], [y, x]):
        bound = check(loop, arrays, [F4], threads=2)
        assert [o is None for o in bound.in_orders] == [a is x for a in arrays]


def test_what_dies_gives_its_memory():
    x = np.random.default_rng(8).normal(size=(300, 400)).astype(F4)
    loop = Loop(x.shape, F4, ("a", "b"), (E.tanh(A) * B + A, B * 2), (None, None))
    bound = check(loop, [x, x + 1], [F4, F4], in_place=True, threads=2)
    assert set(bound.in_place) == {(0, 0), (0, 1), (1, 1)}


def test_errors_of_functions_reach_the_caller(monkeypatch):
    from mxcore_numpy.fusion import loop as module

    x = np.ones((300, 400), F4)
    bound = module.bind_loop(simple(E.tanh(A) + 1, x.shape), [lies(x)], [lies(x)], threads=2, tile=4096)
    with pytest.raises(ValueError):
        bound.run([x], [np.zeros((300, 401), F4)])
    out = np.empty_like(x)
    bound.run([x], [out])
    np.testing.assert_allclose(out, np.tanh(x) + 1)


def test_erf_is_close_everywhere():
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-12, 12, 200_001), [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-30, -1e-38, 3e38]]).astype(F4)
    (got,), _ = compute(simple(E.erf(A), x.shape), [x], [F4])
    want = special.erf(x.astype(F8))
    np.testing.assert_allclose(got, want, rtol=4e-7, atol=0)
    assert np.signbit(got[-4]) and not np.signbit(got[-5])


def test_the_operator_uses_it():
    import mxcore
    from mxcore.registry.kernels import binders_of, resolve
    from mxcore.registry.op import OPS

    mxcore.nd.ones(1)  # the backend is there
    x, row = np.random.default_rng(9).normal(size=(50, 60)).astype(F4), np.arange(60, dtype=F4)
    loop = Loop(x.shape, F4, ("a", "b"), (E.tanh(A + B), A), (None, Reduction((0,), (60,))))
    results = resolve(OPS["_fused"], "numpy")(XP, x, row, loop=loop, dtypes=(F4, F4))
    for got, want in zip(results, run_loop(XP, loop, [x, row], (F4, F4))):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    bind = next(b for b in binders_of("numpy", "_fused") if b.__module__.startswith("mxcore_numpy"))
    bound = bind([lies(x), lies(row)], [lies(x), lies(row)], {"loop": loop}, False)
    assert bound.label == "2 ufuncs at once"
