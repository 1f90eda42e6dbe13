"""Special kernels against generic ones: while operators run, both compute, and their results are compared."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import autograd
from ..context import Context
from ..registry.bound import PRIVATE
from ..registry.kernels import generic_of, kernels_of, load_target
from ..registry.op import OPS, Op
from ..registry.schema import Attrs
from ..runtime.device import device_of
from .calling import call, floating, given, on_device, wanted
from .sampling import Sample

__all__ = ["COMPARED", "check_kernels", "comparing", "special_operators"]

#: operator -> how often one of its special kernels was compared
COMPARED: Counter[str] = Counter()
_TOLERANCE = {np.dtype("float64"): 1e-9, np.dtype("float32"): 2e-5}


def special_operators(backend: str) -> list[Op]:
    """Operators that have special kernels on a backend, apart from those for compiled programs alone."""
    return [op for op in {id(op): op for op in OPS.values()}.values()
            if any(e.target is not None or e.into is not None for e in kernels_of(backend, op.name))]


def _results(r: Any) -> tuple:
    return r if isinstance(r, tuple) else (r,)


def _compare(op: Op, target: Any, backend: Any, got: tuple, want: tuple, attrs: dict, count: int) -> None:
    names = op.output_names(Attrs(attrs, {}), count)
    if len(got) != len(want):
        raise AssertionError(f"{target} gives {len(got)} results, the generic kernel of {op.name} {len(want)}")
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        if (i < len(names) and names[i] in PRIVATE) or b is None:
            continue
        x, y = (backend.to_host(backend.asarray(v)) for v in (a, b))
        if x.dtype != y.dtype or x.shape != y.shape:
            raise AssertionError(f"{target}: result {i} is {x.dtype} {x.shape}, of the generic kernel {y.dtype} {y.shape}")
        tolerance = _TOLERANCE.get(y.dtype, 0.02 if y.dtype.itemsize == 2 and y.dtype.kind not in "iu" else 0)
        x, y = x.astype(np.float64), y.astype(np.float64)
        size = np.abs(y[np.isfinite(y)]).max(initial=0)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * size, err_msg=f"{target}: result {i} of {op.name}")


def _both(op: Op, backend: Any, found: list[str]) -> Callable:
    """A kernel that runs every special kernel that takes the call; differences from the generic one go into ``found``."""
    generic = generic_of(op)
    if generic is None:
        raise AssertionError(f"{op.name} has a special kernel on {backend.name} and no generic one to compare it with")

    def kernel(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        def run(f: Callable) -> Any:  # each draws the same random numbers
            return f(xp, *arrays, **{k: copy.deepcopy(v) if k == "rng" else v for k, v in attrs.items()})

        own = {k: v for k, v in attrs.items() if k not in op.schema.wants}
        result = want = run(generic)
        for entry in reversed(kernels_of(backend.name, op.name)):
            if entry.target is not None and (entry.accepts is None or load_target(entry.accepts)(*arrays, **own)):
                result = run(load_target(entry.target))
                compare(entry.target, _results(result), _results(want), own, arrays)
            for got in () if entry.into is None else _written(op, backend, load_target(entry.into), arrays, own, _results(want)):
                compare(entry.into, got, _results(want), own, arrays)
        return result

    def compare(target: Any, got: tuple, want: tuple, own: dict, arrays: Sequence[Any]) -> None:
        COMPARED[op.name] += 1
        try:
            _compare(op, target, backend, got, want, own, len(arrays))
        except AssertionError as error:
            found.append(str(error))

    return kernel


def _written(op: Op, backend: Any, into: Callable, arrays: Sequence[Any], attrs: dict, want: tuple) -> Iterator[tuple]:
    """What a kernel writes into memory of its own, and in place: each output over the first input that belongs to it."""
    xp, places = backend.xp, op.mutated(Attrs(attrs), len(arrays)) if op.mutates else ()
    outputs = len(want) - len(places)
    for in_place in (False, True):
        ins = [xp.copy(a) for a in arrays]
        outs = [xp.zeros(r.shape, r.dtype) for r in want]
        if in_place:
            outs = [*ins[::len(ins) // outputs][:outputs], *[ins[p] for p in places]]
        if into(xp, ins, outs, Attrs(attrs)):
            yield tuple(outs)


@contextmanager
def comparing(backend: Any) -> Iterator[None]:
    """A scope in which all special kernels of a backend are compared with the generic ones whenever they run.

    Raises
    ------
    AssertionError
        At the end of the scope: what differed.
    """
    found: list[str] = []
    ops = special_operators(backend.name)
    for op in ops:
        op.kernels[backend.name] = _both(op, backend, found)
    try:
        yield
    finally:
        for op in ops:
            del op.kernels[backend.name]
    if found:
        raise AssertionError("\n".join(found))


def check_kernels(s: Sample, ctx: Context) -> None:
    """Special kernels of the device's backend, forward and backward, give what the generic ones give."""
    with comparing(device_of(ctx).backend):
        for dtype in ("float64", "float32"):
            xs = given(s, ctx, dtype)
            for i in wanted(s):
                xs[i].attach_grad()
            with autograd.record(train_mode=s.train):
                outs = call(s, xs, ctx)
            live = [o for o in outs if o._entry is not None and floating(o)]
            if live and s.order:
                rng = np.random.default_rng(s.number)
                heads = on_device([rng.uniform(0.5, 1.5, o.shape).astype(o.dtype) for o in live], ctx)
                autograd.backward(live, heads, train_mode=s.train)
