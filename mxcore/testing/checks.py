"""The checks that an operator's samples go through, on any device.

Gradients are judged by random projection: for random directions u, v the number ``v . J u`` is computed by the gradient
rules and by central differences in float64 (the method of autograd's ``check_grads``); order 2 does the same to the
gradient. A wrong entry anywhere shows with probability one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import autograd
from .. import ndarray as nd
from .. import symbol as sym
from ..context import Context
from ..ndarray.ndarray import NDArray
from ..registry.op import APPLY, OPS
from ..runtime import random as mx_random
from ..runtime.device import device_of
from ..runtime.invoke import create
from ..symbol.symbol import compose
from .sampling import Sample

__all__ = ["CHECKS", "check_forward", "check_gradient", "check_inference", "check_json", "check_second", "check_symbol",
           "check_symbolic_second"]


def _call(s: Sample, arrays: Sequence[NDArray], ctx: Context) -> list[NDArray]:
    op = OPS[s.op]
    attrs = op.parse(s.attrs)
    if not arrays:
        made = create(op, attrs, device_of(ctx), NDArray)
    else:
        made = APPLY[NDArray](op, arrays, attrs)
    return list(made) if isinstance(made, (list, tuple)) else [made]


def _inputs(s: Sample, ctx: Context, dtype: str = "float64") -> list[NDArray]:
    return [nd.array(a, ctx=ctx, dtype=a.dtype) for a in s.arrays(dtype)]


def _mode(s: Sample) -> Any:
    return autograd.train_mode() if s.train else autograd.predict_mode()


def _close(got: np.ndarray, want: np.ndarray, s: Sample, what: str, factor: float = 1.0) -> None:
    if got.shape != want.shape:
        raise AssertionError(f"{s.id}: {what}: shape {got.shape}, expected {want.shape}")
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=s.rtol * factor, atol=s.atol * factor,
                               err_msg=f"{s.id}: {what}")


def check_forward(s: Sample, ctx: Context) -> None:
    """The outputs are those of the reference, in float64, and the types follow the inputs in float32."""
    if s.random:
        return
    with _mode(s):
        outs = _call(s, _inputs(s, ctx), ctx)
    if s.ref is not None:
        want = s.ref(*s.arrays(), **s.attrs)
        for i, (o, w) in enumerate(zip(outs, want if isinstance(want, (list, tuple)) else [want], strict=False)):
            w = np.asarray(w)
            _close(o.asnumpy(), w if w.ndim else w.reshape(1), s, f"output {i}")
    mx_random.seed(1)
    with _mode(s):
        single = _call(s, _inputs(s, ctx, "float32"), ctx)
    for i, (a, b) in enumerate(zip(single, outs, strict=True)):
        if a.shape != b.shape:
            raise AssertionError(f"{s.id}: output {i} has shape {a.shape} in float32 and {b.shape} in float64")


def _directions(s: Sample, arrays: Sequence[np.ndarray], salt: int) -> list[np.ndarray]:
    rng = np.random.default_rng([salt, s.number])
    return [np.zeros_like(a) if spec.constant else rng.uniform(-1, 1, a.shape) for a, spec in zip(arrays, s.inputs, strict=True)]


def _wanted(s: Sample) -> list[int]:
    return [i for i, a in enumerate(s.inputs) if not a.constant]


def _gradients(s: Sample, xs: list[NDArray], heads: list[np.ndarray], ctx: Context, create_graph: bool) -> list[NDArray]:
    """Gradients of ``sum(out * head)`` by the differentiable inputs; called inside ``record``."""
    outs = _call(s, xs, ctx)
    grads = [nd.array(h, ctx=ctx, dtype="float64") for h in heads]
    live = [(o, g) for o, g in zip(outs, grads, strict=False) if o._entry is not None and o._data.dtype.kind == "f"]
    return autograd.grad([o for o, _ in live], [xs[i] for i in _wanted(s)], [g for _, g in live], create_graph=create_graph)


def _heads(s: Sample, ctx: Context) -> list[np.ndarray]:
    mx_random.seed(7)
    with _mode(s):
        outs = _call(s, _inputs(s, ctx), ctx)
    rng = np.random.default_rng([11, s.number])
    return [rng.uniform(0.5, 1.5, o.shape) for o in outs]


def _numeric(f: Callable[[list[np.ndarray]], float], arrays: list[np.ndarray], u: list[np.ndarray], eps: float = 1e-5) -> float:
    plus = f([a + eps * d for a, d in zip(arrays, u, strict=True)])
    minus = f([a - eps * d for a, d in zip(arrays, u, strict=True)])
    return (plus - minus) / (2 * eps)


def _marked(arrays: Sequence[np.ndarray], s: Sample, ctx: Context) -> list[NDArray]:
    xs = [nd.array(a, ctx=ctx, dtype="float64") for a in arrays]
    for i in _wanted(s):
        xs[i].attach_grad()
    return xs


def check_gradient(s: Sample, ctx: Context) -> None:
    """First order: the gradient rule against central differences."""
    if s.order < 1 or s.random or not _wanted(s):
        return
    heads = _heads(s, ctx)
    arrays = s.arrays()
    u = _directions(s, arrays, 3)
    loss = OPS[s.op].loss

    def value(at: list[np.ndarray]) -> float:
        mx_random.seed(7)
        with _mode(s):
            outs = _call(s, [nd.array(a, ctx=ctx, dtype="float64") for a in at], ctx)
        return float(sum((o.asnumpy() * h).sum() for o, h in zip(outs, heads, strict=True) if o._data.dtype.kind == "f"))

    xs = _marked(arrays, s, ctx)
    mx_random.seed(7)
    with autograd.record(train_mode=s.train):
        grads = _gradients(s, xs, heads, ctx, False)
    if loss:
        return  # the gradient of a loss operator is not that of its output
    got = sum(float((g.asnumpy() * u[i]).sum()) for i, g in zip(_wanted(s), grads, strict=True))
    np.testing.assert_allclose(got, _numeric(value, arrays, u), rtol=1e-5, atol=1e-6, err_msg=f"{s.id}: gradient")


def check_second(s: Sample, ctx: Context) -> None:
    """Second order: the gradient of the gradient against central differences of the gradient."""
    if s.order < 2 or s.random or not _wanted(s):
        return
    heads = _heads(s, ctx)
    arrays = s.arrays()
    u, v = _directions(s, arrays, 3), _directions(s, arrays, 5)

    def projected(at: list[np.ndarray]) -> float:
        mx_random.seed(7)
        xs = _marked(at, s, ctx)
        with autograd.record(train_mode=s.train):
            grads = _gradients(s, xs, heads, ctx, False)
        return sum(float((g.asnumpy() * v[i]).sum()) for i, g in zip(_wanted(s), grads, strict=True))

    mx_random.seed(7)
    xs = _marked(arrays, s, ctx)
    with autograd.record(train_mode=s.train):
        grads = _gradients(s, xs, heads, ctx, True)
        total = None
        for i, g in zip(_wanted(s), grads, strict=True):
            term = (g * nd.array(v[i], ctx=ctx, dtype="float64")).sum()
            total = term if total is None else total + term
    got = 0.0
    if total is not None and total._entry is not None:
        total.backward()
        got = sum(float((xs[i].grad.asnumpy() * u[i]).sum()) for i in _wanted(s))
    np.testing.assert_allclose(got, _numeric(projected, arrays, u), rtol=1e-4, atol=1e-5, err_msg=f"{s.id}: second order")


def _symbol(s: Sample) -> Any:
    op = OPS[s.op]
    variables = [sym.var(f"x{i}") for i in range(len(s.inputs))]
    return compose(op, variables, op.parse(s.attrs), "node"), variables


def _bound(symbol: Any, s: Sample, arrays: list[NDArray], ctx: Context, req: str) -> Any:
    by_name = {f"x{i}": a for i, a in enumerate(arrays)}
    names = symbol.list_arguments()
    grads = {n: nd.zeros(by_name[n].shape, ctx=ctx, dtype=by_name[n].dtype) for n in names
             if req != "null" and int(n[1:]) in _wanted(s)}
    return symbol.bind(ctx, {n: by_name[n] for n in names}, grads, req, {n: by_name[n] for n in symbol.list_auxiliary_states()})


def check_symbol(s: Sample, ctx: Context) -> None:
    """A bound symbol gives what the eager call gives, forward and backward."""
    symbol, _ = _symbol(s)
    mx_random.seed(7)
    exe = _bound(symbol, s, _inputs(s, ctx), ctx, "write" if s.order and not s.random else "null")
    outs = exe.forward(is_train=s.train)
    mx_random.seed(7)
    with _mode(s):
        eager = _call(s, _inputs(s, ctx), ctx)
    for i, (a, b) in enumerate(zip(outs, eager, strict=True)):
        if a.dtype != b.dtype:
            raise AssertionError(f"{s.id}: output {i} is {a.dtype} bound and {b.dtype} eager")
        if not s.random:
            _close(a.asnumpy(), b.asnumpy(), s, f"output {i}, bound", 10)
    if s.order < 1 or s.random or not _wanted(s):
        return
    heads = _heads(s, ctx)
    mx_random.seed(7)
    exe.forward(is_train=s.train)
    exe.backward([nd.array(h, ctx=ctx, dtype=o.dtype) for h, o in zip(heads, outs, strict=True)], is_train=s.train)
    mx_random.seed(7)
    xs = _marked(s.arrays(), s, ctx)
    with autograd.record(train_mode=s.train):
        grads = _gradients(s, xs, heads, ctx, False)
    for i, g in zip(_wanted(s), grads, strict=True):
        _close(exe.grad_dict[f"x{i}"].asnumpy(), g.asnumpy(), s, f"gradient of input {i}, bound", 10)


def check_symbolic_second(s: Sample, ctx: Context) -> None:
    """``Symbol.gradient`` twice gives what two eager passes give."""
    if s.order < 2 or s.random or not _wanted(s):
        return
    symbol, _ = _symbol(s)
    names = [f"x{i}" for i in _wanted(s)]
    arrays = s.arrays()
    with _mode(s):
        first = symbol.gradient(names)
        second = sym.Group([sym.sum(g * sym.var(f"v{n[1:]}")) for g, n in zip(first, names, strict=True)])
        second = second.gradient(names)
    v = _directions(s, arrays, 5)
    values = {f"x{i}": nd.array(a, ctx=ctx, dtype="float64") for i, a in enumerate(arrays)}
    values |= {f"v{i}": nd.array(v[i], ctx=ctx, dtype="float64") for i in _wanted(s)}
    mx_random.seed(7)
    exe = second.bind(ctx, {n: values[n] for n in second.list_arguments()}, grad_req="null",
                      aux_states={n: values[n] for n in second.list_auxiliary_states()})
    got = exe.forward(is_train=s.train)
    mx_random.seed(7)
    xs = _marked(arrays, s, ctx)
    outs = [np.ones(o.shape) for o in _call(s, _inputs(s, ctx), ctx)]
    mx_random.seed(7)
    with autograd.record(train_mode=s.train):
        grads = _gradients(s, xs, outs, ctx, True)
        total = sum((g * values[f"v{i}"]).sum() for i, g in zip(_wanted(s), grads, strict=True))
    if total._entry is not None:
        total.backward()
    for i, g in zip(_wanted(s), got, strict=True):
        _close(g.asnumpy(), xs[i].grad.asnumpy(), s, f"second gradient of input {i}, symbolic", 100)


def check_inference(s: Sample, ctx: Context) -> None:
    """Inferred shapes and types are the actual ones."""
    symbol, _ = _symbol(s)
    arrays = _inputs(s, ctx, "float32")
    with _mode(s):
        outs = _call(s, arrays, ctx)
    shapes = {f"x{i}": a.shape for i, a in enumerate(arrays)}
    types = {f"x{i}": a.dtype for i, a in enumerate(arrays)}
    _, out_shapes, _ = symbol.infer_shape(**shapes)
    if "dynamic" in s.tags:
        return
    if out_shapes != [o.shape for o in outs]:
        raise AssertionError(f"{s.id}: inferred shapes {out_shapes}, actual {[o.shape for o in outs]}")
    _, out_types, _ = symbol.infer_type(**types)
    if out_types != [o.dtype for o in outs]:
        raise AssertionError(f"{s.id}: inferred types {out_types}, actual {[o.dtype for o in outs]}")


def check_json(s: Sample, ctx: Context) -> None:
    """The JSON of a symbol reads back as the same graph, which computes the same."""
    symbol, _ = _symbol(s)
    again = sym.load_json(symbol.tojson())
    if again.tojson() != symbol.tojson():
        raise AssertionError(f"{s.id}: JSON changes when it is read and written again")
    if s.random:
        return
    mx_random.seed(7)
    a = _bound(symbol, s, _inputs(s, ctx), ctx, "null").forward(is_train=s.train)
    mx_random.seed(7)
    b = _bound(again, s, _inputs(s, ctx), ctx, "null").forward(is_train=s.train)
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        np.testing.assert_array_equal(x.asnumpy(), y.asnumpy(), err_msg=f"{s.id}: output {i} after JSON")


#: name -> check
CHECKS: dict[str, Callable[[Sample, Context], None]] = {
    "forward": check_forward, "gradient": check_gradient, "second": check_second, "symbol": check_symbol,
    "symbolic_second": check_symbolic_second, "inference": check_inference, "json": check_json,
}
