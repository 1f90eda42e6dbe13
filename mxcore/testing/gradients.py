"""Checks of gradients, by random projection.

For random directions u the number ``D1 = J u . head`` is computed by the gradient rules and by central differences of the
outputs in float64 (the method of autograd's ``check_grads``). ``D2`` is the derivative of ``D1`` along another direction:
by the rules, and by central differences of ``D1``; and so on. A wrong entry anywhere shows with probability one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import autograd
from .. import ndarray as nd
from .. import symbol as sym
from ..context import Context
from ..ndarray.ndarray import NDArray
from .calling import bound, call, close, floating, given, mode, named, on_device, seed, symbol_of, wanted
from .sampling import Sample

__all__ = ["check_bound_gradient", "check_gradient", "check_gradient_types", "check_second", "check_symbolic_second",
           "check_third"]

_EPS = 1e-5


def _heads(s: Sample, ctx: Context) -> list[np.ndarray]:
    rng = np.random.default_rng([11, s.number])
    return [rng.uniform(0.5, 1.5, o.shape) for o in call(s, given(s, ctx), ctx)]


def _direction(s: Sample, arrays: Sequence[np.ndarray], order: int) -> list[np.ndarray]:
    rng = np.random.default_rng([3, order, s.number])
    chosen = wanted(s)
    return [rng.uniform(-1, 1, a.shape) if i in chosen else np.zeros(a.shape) for i, a in enumerate(arrays)]


def _marked(arrays: Sequence[np.ndarray], which: Sequence[int], ctx: Context) -> list[NDArray]:
    xs = on_device(arrays, ctx)
    for i in which:
        xs[i].attach_grad()
    return xs


def _gradients(s: Sample, xs: list[NDArray], which: Sequence[int], heads: Sequence[np.ndarray], ctx: Context,
               create_graph: bool) -> list[NDArray] | None:
    """Gradients of ``sum(out * head)``; called inside ``record``. None if no output depends on the inputs."""
    outs = call(s, xs, ctx)
    live = [(o, nd.array(h, ctx=ctx, dtype=o.dtype)) for o, h in zip(outs, heads, strict=True)
            if o._entry is not None and floating(o)]
    if not live:
        return None
    return autograd.grad([o for o, _ in live], [xs[i] for i in which], [g for _, g in live], create_graph=create_graph,
                         train_mode=s.train)


def _value(s: Sample, at: Sequence[np.ndarray], heads: Sequence[np.ndarray], ctx: Context) -> float:
    if s.objective is not None:
        return float(s.objective(heads, *at, **s.attrs))
    outs = call(s, on_device(at, ctx), ctx)
    return float(sum((o.asnumpy().astype(np.float64) * h).sum() for o, h in zip(outs, heads, strict=True) if floating(o)))


def _derivative(s: Sample, at: Sequence[np.ndarray], order: int, heads: Sequence[np.ndarray],
                directions: Sequence[Sequence[np.ndarray]], ctx: Context) -> float:
    """The directional derivative of an order by the gradient rules; of order 0 the value."""
    if order == 0:
        return _value(s, at, heads, ctx)
    which = wanted(s)
    xs = _marked(at, which, ctx)
    with autograd.record(train_mode=s.train):
        grads = _gradients(s, xs, which, heads, ctx, order > 1)
        for k in range(1, order):
            if grads is None:
                return 0.0
            terms = [(g * nd.array(directions[k - 1][i], ctx=ctx, dtype=g.dtype)).sum()
                     for i, g in zip(which, grads, strict=True)]
            total = terms[0]
            for t in terms[1:]:
                total = total + t
            if total._entry is None:
                return 0.0
            grads = autograd.grad(total, [xs[i] for i in which], create_graph=k + 1 < order, train_mode=s.train)
    if grads is None:
        return 0.0
    return sum(float((g.asnumpy() * directions[order - 1][i]).sum()) for i, g in zip(which, grads, strict=True))


def _check_order(s: Sample, order: int, ctx: Context, tolerance: float) -> None:
    if s.order < order or not wanted(s):
        return
    heads, arrays = _heads(s, ctx), s.arrays()
    directions = [_direction(s, arrays, k) for k in range(order)]
    got = _derivative(s, arrays, order, heads, directions, ctx)

    def beside(sign: float) -> float:
        at = [a + sign * _EPS * d if i in wanted(s) else a
              for i, (a, d) in enumerate(zip(arrays, directions[order - 1], strict=True))]
        return _derivative(s, at, order - 1, heads, directions, ctx)

    want = (beside(1) - beside(-1)) / (2 * _EPS)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance / 10, err_msg=f"{s.id}: derivative of order {order}")


def check_gradient(s: Sample, ctx: Context) -> None:
    """First order: the gradient rule against central differences, and each gradient alone as together with the others."""
    _check_order(s, 1, ctx, 1e-5)
    which = wanted(s)
    if s.order < 1 or len(which) < 2:
        return
    heads, arrays = _heads(s, ctx), s.arrays()

    def found(some: Sequence[int]) -> list[np.ndarray]:
        xs = _marked(arrays, some, ctx)
        with autograd.record(train_mode=s.train):
            grads = _gradients(s, xs, some, heads, ctx, False)
        return [np.zeros(arrays[i].shape) for i in some] if grads is None else [g.asnumpy() for g in grads]

    for i, together in zip(which, found(which), strict=True):
        close(found([i])[0], together, s, f"gradient of input {i}, asked for alone")


def check_gradient_types(s: Sample, ctx: Context) -> None:
    """Gradients have the types of their arrays, also in float32, float16 and bfloat16, and are finite there."""
    which = wanted(s)
    if s.order < 1 or not which:
        return
    heads = _heads(s, ctx)
    for dtype in ("float32", "float16", "bfloat16"):
        xs = _marked(s.arrays(dtype), which, ctx)
        with autograd.record(train_mode=s.train):
            grads = _gradients(s, xs, which, heads, ctx, False)
        for i, g in zip(which, grads or (), strict=False):
            if g.dtype != xs[i].dtype:
                raise AssertionError(f"{s.id}: the gradient of input {i} is {g.dtype}, the input {xs[i].dtype}")
            if (s.single if dtype == "float32" else s.half) and not np.isfinite(g.asnumpy().astype(np.float64)).all():
                raise AssertionError(f"{s.id}: the gradient of input {i} is not finite in {dtype}")


def check_second(s: Sample, ctx: Context) -> None:
    """Second order: the gradient of the gradient against central differences of the gradient."""
    _check_order(s, 2, ctx, 1e-4)


def check_third(s: Sample, ctx: Context) -> None:
    """Third order against central differences of the second."""
    _check_order(s, 3, ctx, 1e-4)


def check_bound_gradient(s: Sample, ctx: Context) -> None:
    """The backward pass of a bound symbol gives what the eager one gives; ``grad_req="add"`` adds."""
    which = wanted(s)
    if s.order < 1 or not which:
        return
    heads, arrays = _heads(s, ctx), s.arrays()
    xs = _marked(arrays, which, ctx)
    with autograd.record(train_mode=s.train):
        grads = _gradients(s, xs, which, heads, ctx, False)
    want = [np.zeros(arrays[i].shape) if grads is None else grads[k].asnumpy() for k, i in enumerate(which)]
    for req, times in (("write", 1), ("add", 2)):
        exe = bound(symbol_of(s), s, given(s, ctx), ctx, req)
        for _ in range(2):
            seed()
            outs = exe.forward(is_train=s.train)
            exe.backward([nd.array(h, ctx=ctx, dtype=o.dtype) for h, o in zip(heads, outs, strict=True)], is_train=s.train)
        if s.train and exe.aux_dict:
            continue  # the second pass saw other states
        for i, w in zip(which, want, strict=True):
            close(exe.grad_dict[named(i)].asnumpy(), times * w, s, f"gradient of input {i}, bound, grad_req={req!r}", 10)


def check_symbolic_second(s: Sample, ctx: Context) -> None:
    """``Symbol.gradient`` twice gives what two eager passes give."""
    which = wanted(s)
    if s.order < 2 or not which:
        return
    symbol, arrays = symbol_of(s), s.arrays()
    names = [named(i) for i in which]
    with mode(s):
        first = symbol.gradient(names)
        second = sym.Group([sym.sum(g * sym.var(f"v{n[1:]}")) for g, n in zip(first, names, strict=True)]).gradient(names)
    v = _direction(s, arrays, 0)
    values: dict[str, Any] = {named(i): a for i, a in enumerate(given(s, ctx))}
    values |= {f"v{i}": nd.array(v[i], ctx=ctx, dtype="float64") for i in which}
    exe = second.bind(ctx, {n: values[n] for n in second.list_arguments()}, grad_req="null",
                      aux_states={n: values[n] for n in second.list_auxiliary_states()})
    seed()
    got = exe.forward(is_train=s.train)
    xs = _marked(arrays, which, ctx)
    ones = [np.ones(o.shape) for o in call(s, given(s, ctx), ctx)]
    with autograd.record(train_mode=s.train):
        grads = _gradients(s, xs, which, ones, ctx, True)
        total = None if grads is None else sum((g * values[f"v{i}"]).sum() for i, g in zip(which, grads, strict=True))
    if total is None or total._entry is None:
        want = [np.zeros(arrays[i].shape) for i in which]
    else:
        want = [g.asnumpy() for g in autograd.grad(total, [xs[i] for i in which], train_mode=s.train)]
    for i, g, w in zip(which, got, want, strict=True):
        close(g.asnumpy(), w, s, f"second gradient of input {i}, symbolic", 100)
