"""The checks that an operator's samples go through, on any device; those of gradients are in :mod:`.gradients`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ndarray as nd
from .. import symbol as sym
from ..context import Context, cpu
from ..ndarray.ndarray import NDArray
from ..registry.op import OPS
from ..runtime.invoke import invoke
from .calling import (
    bound,
    call,
    close,
    floating,
    given,
    has_outputs,
    mode,
    named,
    near,
    on_device,
    seed,
    symbol_of,
    written,
)
from .gradients import (
    check_bound_gradient,
    check_gradient,
    check_gradient_types,
    check_second,
    check_symbolic_second,
    check_third,
)
from .kernels import check_kernels
from .sampling import Sample

__all__ = ["CHECKS", "PORTABLE", "check_agreement", "check_forward", "check_inference", "check_json", "check_memory",
           "check_partial_inference", "check_symbol", "check_types"]


def _as_list(r: Any) -> list:
    return list(r) if isinstance(r, (list, tuple)) else [r]


def check_forward(s: Sample, ctx: Context) -> None:
    """Outputs and written inputs are those of the reference, in float64; all other inputs stay as they are."""
    xs = given(s, ctx)
    outs = call(s, xs, ctx)
    places = written(s)
    before = s.arrays()
    for i, (x, b) in enumerate(zip(xs, before, strict=True)):
        if i not in places:
            np.testing.assert_array_equal(x.asnumpy(), b, err_msg=f"{s.id}: input {i} was changed")
    if s.judge is not None:
        _check_random(s, outs, ctx)
    if s.ref is None:
        return
    want = _as_list(s.ref(*before, **s.attrs))
    for i, (o, w) in enumerate(zip(outs, want, strict=False)):
        w = np.asarray(w)
        close(o.asnumpy(), w if w.ndim else w.reshape(1), s, f"output {i}")
    for place, w in zip(places, want[len(outs):], strict=False):
        close(xs[place].asnumpy(), before[place] if w is None else np.asarray(w), s, f"new value of input {place}")


def _check_random(s: Sample, outs: Sequence[NDArray], ctx: Context) -> None:
    """Plausible values; the same after the same seed, others without."""
    assert s.judge is not None
    got = [o.asnumpy() for o in outs]
    s.judge(got, *s.arrays(), **s.attrs)
    for a, b in zip(got, call(s, given(s, ctx), ctx), strict=True):
        np.testing.assert_array_equal(a, b.asnumpy(), err_msg=f"{s.id}: the same seed gave other numbers")
    exe = bound(symbol_of(s), s, given(s, ctx), ctx)
    seed()
    first, *more = [[o.asnumpy() for o in exe.forward(is_train=s.train)] for _ in range(8)]  # some have two results only
    if all(np.array_equal(a, b) for other in more for a, b in zip(first, other, strict=True)):
        raise AssertionError(f"{s.id}: eight calls in a row gave the same random numbers")


def check_agreement(s: Sample, ctx: Context) -> None:
    """Another device gives what the CPU gives, in float64 and float32."""
    if ctx.device_type == "cpu" or s.judge is not None:
        return
    for dtype in ("float64", "float32"):
        here, there = call(s, given(s, ctx, dtype), ctx), call(s, given(s, cpu(), dtype), cpu())
        for i, (a, b) in enumerate(zip(here, there, strict=True)):
            if a.dtype != b.dtype:
                raise AssertionError(f"{s.id}: output {i} is {a.dtype} on {ctx} and {b.dtype} on the CPU")
            if floating(b) and (dtype == "float32" or b.dtype is not np.float64):
                near(a.asnumpy(), b.asnumpy(), s.single or 1e-4, s, f"output {i} on {ctx}, {dtype}")
            else:
                close(a.asnumpy(), b.asnumpy(), s, f"output {i} on {ctx}")


def check_types(s: Sample, ctx: Context) -> None:
    """In float32, float16 and bfloat16 outputs have the inferred types, and values near those of float64."""
    if all(a.dtype for a in s.inputs) or not has_outputs(s):
        return
    for dtype, tolerance in (("float32", s.single), ("float16", s.half), ("bfloat16", s.half)):
        arrays = s.arrays(dtype)
        got = call(s, on_device(arrays, ctx), ctx)
        if tolerance:
            wide = [a if spec.dtype else a.astype(np.float64) for a, spec in zip(arrays, s.inputs, strict=True)]
            for i, (a, b) in enumerate(zip(got, call(s, on_device(wide, ctx), ctx), strict=True)):
                near(a.asnumpy().astype(np.float64), b.asnumpy().astype(np.float64), tolerance, s, f"output {i} in {dtype}")
        types = {named(i): a.dtype for i, a in enumerate(arrays)}
        inferred = symbol_of(s).infer_type(**types)[1]
        if inferred != [o.dtype for o in got]:
            raise AssertionError(f"{s.id}: inferred types {inferred}, actual {[o.dtype for o in got]} in {dtype}")


def _filled(a: NDArray) -> None:
    xp = a._dev.xp
    xp.copyto(a._data, xp.full(a.shape, 77, dtype=a._data.dtype))


def _check_separate(s: Sample, outs: Sequence[NDArray], inputs: dict[str, NDArray], what: str) -> None:
    before = {n: x.asnumpy() for n, x in inputs.items()}
    for j, o in enumerate(outs):
        others = [(k, other, other.asnumpy()) for k, other in enumerate(outs) if k != j]
        _filled(o)
        for n, x in inputs.items():
            np.testing.assert_array_equal(x.asnumpy(), before[n], err_msg=f"{s.id}: output {j}, {what}, shares memory with {n}")
        for k, other, values in others:
            np.testing.assert_array_equal(other.asnumpy(), values, err_msg=f"{s.id}: outputs {j} and {k}, {what}, share memory")


def check_memory(s: Sample, ctx: Context) -> None:
    """Outputs are arrays of their own, eager and bound; ``out=`` is written to, also where it is an input."""
    if "alias" in s.tags or not has_outputs(s):
        return
    xs = given(s, ctx)
    outs = call(s, xs, ctx)
    values = [o.asnumpy() for o in outs]
    _check_separate(s, outs, {named(i): x for i, x in enumerate(xs)}, "eager")
    exe = bound(symbol_of(s), s, given(s, ctx), ctx)
    if len({id(o) for o in exe.outputs}) != len(outs):
        raise AssertionError(f"{s.id}: {len(outs)} eager outputs, {len(exe.outputs)} bound")
    _check_separate(s, exe.outputs, exe.arg_dict, "bound")
    if not xs:
        return
    op = OPS[s.op]
    for target in ("new", "input"):
        xs = given(s, ctx)
        into = [nd.zeros(v.shape, ctx=ctx, dtype=v.dtype) for v in values]
        if target == "input":
            if len(into) != 1 or xs[0].shape != into[0].shape or xs[0].dtype != into[0].dtype:
                return
            into = [xs[0]]
        seed()
        with mode(s):
            invoke(op, xs, op.parse(s.attrs), into if len(into) > 1 else into[0])
        for i, (o, v) in enumerate(zip(into, values, strict=True)):
            np.testing.assert_array_equal(o.asnumpy(), v, err_msg=f"{s.id}: output {i} with out= ({target})")


def check_symbol(s: Sample, ctx: Context) -> None:
    """A bound symbol gives what the eager call gives, also the states that it writes; so does its backward pass."""
    if not has_outputs(s):
        return
    exe = bound(symbol_of(s), s, given(s, ctx), ctx)
    seed()
    outs = exe.forward(is_train=s.train)
    xs = given(s, ctx)
    eager = call(s, xs, ctx)
    for i, (a, b) in enumerate(zip(outs, eager, strict=True)):
        if a.dtype != b.dtype:
            raise AssertionError(f"{s.id}: output {i} is {a.dtype} bound and {b.dtype} eager")
        close(a.asnumpy(), b.asnumpy(), s, f"output {i}, bound", 10)
    here = exe.arg_dict | exe.aux_dict
    for i in written(s):
        close(here[named(i)].asnumpy(), xs[i].asnumpy(), s, f"new value of input {i}, bound", 10)
    check_bound_gradient(s, ctx)


def check_inference(s: Sample, ctx: Context) -> None:
    """Inferred shapes and types are the actual ones."""
    if not has_outputs(s):
        return
    symbol = symbol_of(s)
    arrays = given(s, ctx, "float32")
    outs = call(s, arrays, ctx)
    out_types = symbol.infer_type(**{named(i): a.dtype for i, a in enumerate(arrays)})[1]
    if out_types != [o.dtype for o in outs]:
        raise AssertionError(f"{s.id}: inferred types {out_types}, actual {[o.dtype for o in outs]}")
    shapes = {named(i): a.shape for i, a in enumerate(arrays)}
    if "dynamic" in s.tags:
        _agrees(s, symbol.infer_shape_partial(**shapes)[1], [o.shape for o in outs], "output")
        return
    out_shapes = symbol.infer_shape(**shapes)[1]
    if out_shapes != [o.shape for o in outs]:
        raise AssertionError(f"{s.id}: inferred shapes {out_shapes}, actual {[o.shape for o in outs]}")


def _agrees(s: Sample, inferred: Sequence[tuple], actual: Sequence[tuple], what: str) -> None:
    """What was inferred of partly known shapes does not contradict the actual ones; () and 0 are unknown."""
    for i, (got, want) in enumerate(zip(inferred, actual, strict=True)):
        if got and (len(got) != len(want) or any(g not in (0, w) for g, w in zip(got, want, strict=True))):
            raise AssertionError(f"{s.id}: {what} {i} is inferred as {got} from partly known shapes; it is {want}")


def check_partial_inference(s: Sample, ctx: Context) -> None:
    """With some inputs or dimensions unknown, inference says nothing wrong; of a layer, the first input tells all."""
    if not s.inputs or not has_outputs(s) or "guess" in s.tags:
        return
    symbol = symbol_of(s)
    arrays = s.arrays("float32")
    shapes = {named(i): a.shape for i, a in enumerate(arrays)}
    args, aux = symbol.list_arguments(), symbol.list_auxiliary_states()
    outs = [o.shape for o in call(s, given(s, cpu()), cpu())]

    def agrees(known: dict[str, Any]) -> None:
        got = symbol.infer_shape_partial(**known)
        _agrees(s, got[0], [shapes[n] for n in args], f"argument (of {args})")
        _agrees(s, got[1], outs, "output")
        _agrees(s, got[2], [shapes[n] for n in aux], f"state (of {aux})")

    agrees({})
    for n, shape in shapes.items():
        agrees({n: shape})
        agrees({k: v for k, v in shapes.items() if k != n})
        for axis in range(len(shape)):
            agrees({**shapes, n: tuple(0 if i == axis else d for i, d in enumerate(shape))})
    actual = {named(i): a.dtype.type for i, a in enumerate(arrays)}
    for types in ({}, {"x0": actual["x0"]}, {n: t for n, t in actual.items() if n != "x0"}):
        found = symbol.infer_type_partial(**types)
        for n, t in zip([*args, *aux], [*found[0], *found[2]], strict=True):
            if t is not None and t != actual[n] and not s.inputs[int(n[1:])].dtype:
                raise AssertionError(f"{s.id}: from the types {types}, that of {n} is inferred as {t}; it is {actual[n]}")
    if len(outs) == 1 and s.judge is None:  # backwards, from the output
        beyond = sym.elemwise_add(symbol, sym.var("y"))
        for known in ({}, {"x0": shapes["x0"]}, {n: d for n, d in shapes.items() if n != "x0"}):
            got = beyond.infer_shape_partial(**known, y=outs[0])
            names = [n for n in beyond.list_arguments() if n != "y"]
            _agrees(s, [d for n, d in zip(beyond.list_arguments(), got[0], strict=True) if n != "y"], [shapes[n] for n in names],
                    f"argument (of {names}, from the output)")
    if "layer" in s.tags:
        got = symbol.infer_shape(x0=arrays[0].shape)
        if got != ([shapes[n] for n in args], outs, [shapes[n] for n in aux]):
            raise AssertionError(f"{s.id}: from the first input alone {got} is inferred; the shapes are {shapes} and {outs}")


def check_json(s: Sample, ctx: Context) -> None:
    """The JSON of a symbol reads back as the same graph, which computes the same."""
    if not has_outputs(s):
        return
    symbol = symbol_of(s)
    again = sym.load_json(symbol.tojson())
    if again.tojson() != symbol.tojson():
        raise AssertionError(f"{s.id}: JSON changes when it is read and written again")
    results = []
    for one in (symbol, again):
        exe = bound(one, s, given(s, ctx), ctx)
        seed()
        results.append([o.asnumpy() for o in exe.forward(is_train=s.train)])
    for i, (x, y) in enumerate(zip(*results, strict=True)):
        np.testing.assert_array_equal(x, y, err_msg=f"{s.id}: output {i} after JSON")


#: name -> check
CHECKS: dict[str, Callable[[Sample, Context], None]] = {
    "forward": check_forward, "agreement": check_agreement, "types": check_types, "memory": check_memory,
    "gradient": check_gradient, "gradient_types": check_gradient_types, "second": check_second, "third": check_third,
    "symbol": check_symbol, "symbolic_second": check_symbolic_second, "inference": check_inference,
    "partial": check_partial_inference, "json": check_json, "kernels": check_kernels,
}
#: those whose outcome depends on the device: the others look at graphs only
PORTABLE = ("forward", "agreement", "types", "memory", "gradient", "gradient_types", "second", "symbol", "kernels")
