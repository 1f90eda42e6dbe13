"""Compiled loops compute what their functions do one by one: any expression, shape, order, type and number of threads."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxcore.registry import expr as E
from mxcore.registry.bound import Spec, plain_order
from mxcore.registry.loop import Loop, Reduction, run_loop
from mxcore.registry.source import FUNCTIONS
from mxcore_native import fused, gomp
from mxcore_numpy.fusion.loop import bind_loop
from mxcore_numpy.xp import XP

F4, F8 = np.dtype("float32"), np.dtype("float64")
NAMES = ("a", "b", "c")
A, B, C = map(E.arg, NAMES)
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.0, -3.0, 3.0, 7.25, -7.25, 100.0, -100.0, np.inf, -np.inf, np.nan]
TWO = {"add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "mod", "hypot", "arctan2", "greater",
       "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor"}
SMOOTH = ["negative", "tanh", "sin", "cos", "arctan", "abs", "sign"]


def memory(array, order):
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order)) if array.ndim else array


def special(dtype):
    """Every pair of special values, the smallest and largest numbers among them, then ordinary ones."""
    info = np.finfo(dtype)
    values = np.array([*SPECIAL, info.tiny, -info.tiny, info.smallest_subnormal, info.max, -info.max, 1 / 3, 1e-8], dtype)
    x, y = np.meshgrid(values, values)
    rng = np.random.default_rng(0)
    more = rng.normal(size=(2, 1001)).astype(dtype) * 2
    return np.concatenate([x.ravel(), more[0]]), np.concatenate([y.ravel(), more[1]])


def near(got, want, dtype):
    """nan and infinity where they should be, and nearly the number."""
    rtol, atol = (2e-6, 1e-6) if dtype == F4 else (1e-11, 1e-11)
    # functions that are computed in another precision may overflow a little earlier or later
    edge = np.isfinite(want) & (np.abs(want.astype("f8")) > np.finfo(dtype).max / 8)
    np.testing.assert_allclose(got[~edge], want[~edge], rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [F4, F8], ids=str)
def test_every_function_with_special_values(compiled, dtype):
    x, y = special(dtype)
    names = [n for n in FUNCTIONS if n != "where"]
    wrong = []
    cases = {}
    for name in names:
        e = E.Expr(name, (A, B) if name in TWO else (A,))
        cases[name] = Loop(x.shape, dtype, ("a", "b"), (e,), (None,)), [x, y], [dtype]
    bounds = {name: compiled.bind(*case) for name, case in cases.items()}
    for name, (loop, arrays, dtypes) in cases.items():
        with np.errstate(all="ignore"):
            want, = run_loop(XP, loop, arrays, dtypes)
        got, = compiled.run(bounds[name], *cases[name])
        if not isinstance(bounds[name], fused.Native):
            continue
        try:
            usual = np.abs(x) >= np.finfo(dtype).tiny  # SciPy takes smaller ones for 0
            near(*((got[usual], want[usual]) if name == "gammaln" else (got, want)), dtype)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)
    assert sum(isinstance(b, fused.Native) for b in bounds.values()) > 25


def test_choices_and_truth_values(compiled):
    x, y = special(F4)
    exprs = [E.where(A > 0, B, 0), E.where(A > 0, 0, B), E.where(A, B, -0.0), E.where(A > B, A, B), (A > 0) + (B > 0),
             (A > 0) - (B > 0), -(A > 0), E.call("logical_xor", A > 0, B), E.where(E.call("logical_not", A), B, A > B),
             E.Expr("greater", (E.const(1), E.const(0))) * A, E.maximum(A, 0), E.minimum(0.5, A), E.where(A > 0, E.exp(A), 0),
             *[E.Expr("power", (A, E.const(k))) for k in (1, 2, 3, 4, -1, -2, 0.5, -0.5)]]
    cases = [(Loop(x.shape, F4, ("a", "b"), (e,), (None,)), [x, y], [F4]) for e in exprs]
    bounds = [compiled.bind(*case) for case in cases]
    s = Spec(x.shape, F4, plain_order(1))
    for bound, (loop, arrays, dtypes), e in zip(bounds, cases, exprs, strict=True):
        got, = compiled.run(bound, loop, arrays, dtypes)
        other = bind_loop(loop, [s, s], [s])  # numbers, where NumPy would add truth values
        want = np.empty_like(got)
        with np.errstate(all="ignore"):
            other.prepare(arrays)
            other.run(arrays, [want])
        usual = ~(np.signbit(x) & ((x == 0) | np.isinf(x))) if e == E.Expr("power", (A, E.const(0.5))) else slice(None)
        np.testing.assert_allclose(got[usual], want[usual], rtol=1e-6, err_msg=repr(e))
        if e.fn == "where" and "exp" not in repr(e):
            np.testing.assert_array_equal(np.signbit(got), np.signbit(want), err_msg=repr(e))


@pytest.mark.parametrize("name, exact", [("exp", np.exp), ("tanh", np.tanh), ("erf", XP.erf)], ids=["exp", "tanh", "erf"])
def test_functions_that_are_written_here(compiled, monkeypatch, name, exact):
    """In units in the last place, over all sizes of numbers, where the compiler has none of its own."""
    real = fused.compiler()
    monkeypatch.setattr(fused, "compiler", lambda: replace(real, vector=frozenset()))
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.integers(0, 1 << 32, 300_000, dtype=np.uint32).view(F4), rng.uniform(-110, 95, 100_000).astype(F4),
                        rng.normal(size=100_000).astype(F4) * 3, np.array(SPECIAL, F4)])
    loop = Loop(x.shape, F4, ("a",), (E.call(name, A),), (None,))
    bound = compiled.bind(loop, [x], [F4])
    got, = compiled.run(bound, loop, [x], [F4])
    assert f"near_{name}f" in bound.kernel.text
    with np.errstate(all="ignore"):
        want = exact(x.astype(F8))
        rounded = want.astype(F4)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(rounded))
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(x)]), np.signbit(want[~np.isnan(x)]))
    ok = np.isfinite(rounded)
    units = np.abs(got[ok] - want[ok]) / np.spacing(np.abs(rounded[ok])).astype(F8)
    assert units.max() < (1.5 if name == "exp" else 7)


# ---------------------------------------------------------------------------------------------- any loop
def grow(children):
    return st.one_of(
        st.builds(E.call, st.sampled_from(SMOOTH), children),
        st.builds(lambda x: 1 / (1 + E.exp(-x)), children),
        st.builds(E.call, st.sampled_from(["add", "subtract", "multiply", "maximum", "minimum"]), children, children),
        st.builds(lambda c, d, x, y: E.where(E.call(c, d, 0.25), x, y), st.sampled_from(["greater", "less_equal"]),
                  LEAVES, children, children),
        st.builds(lambda x, y: x / (1 + y * y), children, children))


LEAVES = st.one_of(st.sampled_from([A, B, C]), st.sampled_from([0.5, -1.25, 2.0, 3.0]).map(E.const))
EXPRS = st.recursive(LEAVES, grow, max_leaves=6)


@st.composite
def cases(draw, longest=(1, 2, 3, 5, 8, 13, 40, 70)):
    ndim = draw(st.integers(0, 4))
    shape = tuple(draw(st.lists(st.sampled_from(longest), min_size=ndim, max_size=ndim)))
    exprs = tuple(draw(st.lists(EXPRS, min_size=1, max_size=3)))
    exprs = tuple(E.where(e, 1, 0) if E.is_bool(e) else e for e in exprs)
    used = tuple(n for n in NAMES if any(n in E.leaves(e) for e in exprs))
    dtype = draw(st.sampled_from([F4, F4, F8]))
    reductions = []
    for _ in exprs:
        if draw(st.booleans()):
            axes = tuple(a for a in range(ndim) if draw(st.booleans()))
            kept = tuple(1 if a in axes else n for a, n in enumerate(shape))
            reductions.append(Reduction(axes, draw(st.sampled_from([kept, (int(np.prod(kept)),)]))))
        else:
            reductions.append(None)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    arrays = []
    for _ in used:
        own = tuple(n if draw(st.integers(0, 3)) else 1 for n in shape)
        array = rng.uniform(-2, 2, own).astype(draw(st.sampled_from([dtype, dtype, F4, np.dtype("float16")])))
        array = memory(array, draw(st.permutations(range(ndim))))
        lead = 0
        while lead < ndim and own[lead] == 1 and draw(st.booleans()):
            lead += 1
        arrays.append(array.reshape(array.shape[lead:]))
    outs = [draw(st.sampled_from([dtype, dtype, F4])) for _ in exprs]
    return Loop(shape, dtype, used, exprs, tuple(reductions)), arrays, outs


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                                                  HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(st.lists(cases(), min_size=3, max_size=6), st.sampled_from([1, 2, 3]), st.booleans())
def test_loops_equal_their_functions_one_by_one(compiled, found, threads, in_place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_ALONE", 0)  # threads, however little there is to do
        compiled.check(*found, rtol=2e-4, atol=2e-4, threads=threads, in_place=in_place)


ORDERS = [(0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 2, 3)]


@pytest.mark.parametrize("threads", [1, 2])
def test_layouts_and_sums_of_larger_arrays(compiled, threads):
    rng = np.random.default_rng(6)
    found = []
    n, X, M, S, W, G = "xmswg", *map(E.arg, "xmswg")
    y = (X - M) * (1 / E.sqrt(S * S + 1e-5)) * W
    back = E.where(y > 0, G, 0)
    for order in ORDERS:
        x, g = (memory(rng.normal(size=(8, 24, 30, 31)).astype(F4), order) for _ in range(2))
        mean, scale = (rng.normal(size=(1, 24, 1, 1)).astype(F4) for _ in range(2))
        weight = rng.normal(size=(24, 1, 1)).astype(F4)
        loop = Loop(x.shape, F4, tuple(n), (E.maximum(y, 0), back, back * X), (None, *[Reduction((0, 2, 3), (24,))] * 2))
        found.append((loop, [x, mean, scale, weight, g], [F4] * 3))
    x = rng.normal(size=(6, 20, 33, 35)).astype(F4)
    other = memory(rng.normal(size=x.shape).astype(F4), (0, 2, 3, 1))
    for arrays in ([x, other], [other, x]):  # in different orders
        found.append((Loop(x.shape, F4, ("a", "b"), (E.tanh(A) * B + A,), (None,)), arrays, [F4]))
    bounds = compiled.check(*found, rtol=1e-3, atol=1e-3, threads=threads)
    assert [b.out_orders[0] for b in bounds[:3]] == ORDERS


@pytest.mark.parametrize("threads", [1, 2])
def test_short_rows(compiled, threads):
    """Dimensions too short for vector instructions, and all ways in which operands and sums may lie along them."""
    rng = np.random.default_rng(7)
    found = []
    for shape, parts, sums in [
            ((900, 20), [(20,), (900, 1)], [(0,), (1,), (0, 1)]),
            ((5, 300, 3, 5), [(3, 5), (300, 1, 5), (5, 1, 3, 1)], [(0, 1), (2, 3), (1, 3), (3,), (0, 2), (0, 1, 2)]),
            ((700, 3, 7, 2), [(3, 1, 2), (700, 1, 7, 1)], [(0,), (1, 3), (0, 2), (2,)])]:
        x = rng.normal(size=shape).astype(F4)
        for part in parts:
            y = rng.uniform(0.5, 2, part).astype(F4)
            value = A * E.tanh(B / (1 + E.sqrt(B)))
            exprs = (value, *[value - B] * len(sums))
            kept = [tuple(1 if a in axes else n for a, n in enumerate(shape)) for axes in sums]
            loop = Loop(shape, F4, ("a", "b"), exprs, (None, *map(Reduction, sums, kept)))
            found.append((loop, [x, y], [F4] * len(exprs)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "_ALONE", 0)
        compiled.check(*found, rtol=1e-4, atol=1e-3, threads=threads)


@pytest.mark.parametrize("shape, axes", [
    ((9, 20_000), (0,)), ((20_000, 9), (0,)), ((20_000, 9), (1,)), ((1000, 4, 30), (0, 2)), ((1000, 4, 30), (1,)),
    ((4, 1000, 30), (0,)), ((100_000,), (0,)), ((3, 20_000, 3), (0, 2)), ((2, 200, 300), (1, 2))], ids=str)
@pytest.mark.parametrize("dtype", [F4, F8], ids=str)
def test_sums_are_accurate_and_the_same_each_time(compiled, shape, axes, dtype):
    x = np.random.default_rng(5).uniform(0, 1, shape).astype(dtype)
    kept = tuple(n for i, n in enumerate(shape) if i not in axes)
    loop = Loop(shape, dtype, ("a",), (A, A * 2), (Reduction(axes, kept), None))
    exact = x.astype(np.float64 if dtype == F4 else np.longdouble).sum(axis=axes)
    for threads in (1, 2):
        bound = compiled.bind(loop, [x], [dtype, dtype], threads=threads)
        runs = [compiled.run(bound, loop, [x], [dtype, dtype])[0] for _ in range(3)]
        np.testing.assert_allclose(runs[0], exact.astype(dtype), rtol=1.2e-7 if dtype == F4 else 5e-14)
        assert all(np.array_equal(r, runs[0]) for r in runs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_types(compiled, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    t = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    every = np.arange(1 << 16, dtype=np.uint16).view(t)  # each number of the type
    wide = np.random.default_rng(4).normal(size=1 << 16).astype(F4) * np.exp2(np.arange(1 << 16) % 60 - 40).astype(F4)
    wide[:9] = [np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, -1e30, 1e-8, 2.0**-25]
    loop = Loop(every.shape, F4, ("a", "b"), (E.Expr("negative", (A,)), E.Expr("negative", (B,))), (None, None))
    bound = compiled.bind(loop, [every, wide], [F4, t])
    got = compiled.run(bound, loop, [every, wide], [F4, t])
    assert isinstance(bound, fused.Native)
    np.testing.assert_array_equal(got[0], -every.astype(F4))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got[1].astype(F4), -wide.astype(t).astype(F4))


def test_types_that_are_left_to_numpy(compiled):
    x = np.ones(50)
    assert not isinstance(compiled.bind(Loop((50,), F8, ("a",), (A + 1,), (None,)), [x], ["float16"]), fused.Native)
    flags = np.arange(50) % 3 == 0
    compiled.check((Loop((50,), F4, ("a", "b"), (A * 2 + B,), (None,)), [flags, np.arange(50, dtype="i4")], [F4]))


@pytest.mark.parametrize("shape, axes", [((0,), (0,)), ((3, 0, 2), (1,)), ((), ()), ((1, 1), (0, 1)), ((1, 7), (0,))])
def test_empty_and_tiny(compiled, shape, axes):
    a = np.ones(shape, F4)
    kept = tuple(n for i, n in enumerate(shape) if i not in axes)
    compiled.check((Loop(shape, F4, ("a",), (E.tanh(A) + 1, A * A), (None, Reduction(axes, kept))), [a], [F4, F4]),
                   (Loop(shape, F4, (), (E.const(2), E.const(3)), (None, Reduction(axes, kept))), [], [F4, F4]))


def test_views_are_read_as_they_lie(compiled):
    whole = np.random.default_rng(1).normal(size=(60, 90)).astype(F4)
    loop = Loop((20, 30), F4, ("a", "b"), (A * 2 + B,), (None,))
    compiled.check((loop, [whole[10:30, 5:65:2], whole[:20, 60:30:-1]], [F4]))


def test_arrays_that_lie_otherwise_than_promised(compiled):
    x = np.random.default_rng(1).normal(size=(40, 40)).astype(F4)
    loop = Loop(x.shape, F4, ("a",), (A * 2 + 1,), (None,))
    bound, = compiled.check((loop, [x], [F4]))
    out = np.empty_like(x)
    bound.run([x.T], [out])
    np.testing.assert_array_equal(out, x.T * 2 + 1)
    bound.run((x,), (out,))  # not lists
    np.testing.assert_array_equal(out, x * 2 + 1)


def test_threads_of_python_where_there_is_no_openmp(compiled, monkeypatch):
    monkeypatch.setattr(gomp, "parallel_address", lambda: 0)
    x = np.random.default_rng(1).normal(size=(400, 500)).astype(F4)
    loop = Loop(x.shape, F4, ("a",), (E.tanh(A), A), (None, Reduction((0,), (500,))))
    bound, = compiled.check((loop, [x], [F4, F4]), atol=1e-3, threads=3)
    assert bound.run.__name__ == "in_pool"


def test_one_function_serves_many_shapes(compiled):
    sizes = [(300, 700), (500, 600), (100_000,)]
    bounds = [compiled.bind(Loop(s, F4, ("a",), (E.exp(A) - 1.75,), (None,)), [np.ones(s, F4)], [F4]) for s in sizes]
    assert len({b.kernel.key for b in bounds}) == 1
