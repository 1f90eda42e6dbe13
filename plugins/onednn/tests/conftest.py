"""Running a bound kernel as a compiled program does, and comparing it with the plain kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import mxcore  # registers operators and loads plugins
from mxcore.context import cpu
from mxcore.registry import OPS
from mxcore.registry import expr as E
from mxcore.registry.bound import Bound, Epilogue, Order, Spec, order_of, plain_order
from mxcore.registry.kernels import generic_of
from mxcore.registry.loop import Loop, run_loop
from mxcore.runtime.device import device_of
from mxcore.runtime.invoke import run_kernel


def in_order(array: np.ndarray, order: Order) -> np.ndarray:
    """A copy that lies in memory in this order of axes."""
    return array.transpose(order).copy().transpose(np.argsort(order))


def spec_of(array: np.ndarray, static: bool = False) -> Spec:
    """What a program would know of the array."""
    order = order_of(array.shape, array.strides, array.itemsize)
    return Spec(array.shape, array.dtype, order, static, None if order else array.strides)


class Ran(NamedTuple):
    """What a bound kernel did."""

    bound: Bound
    outs: list[np.ndarray]


class Runner:
    """Binds, runs several times, in place where that is allowed, and compares.

    Compared is with the kernel of an eager call, or with the one that runs on every backend (``generic``).
    """

    def __init__(self, generic: bool = False) -> None:
        self.generic = generic

    def plain(self, name: str, arrays: Sequence[np.ndarray | None], attrs: dict[str, Any]) -> Any:
        """What the kernel gives that it is compared with."""
        parsed = OPS[name].parse(attrs)
        if self.generic:
            return generic_of(OPS[name])(device_of(cpu()).xp, *arrays, **parsed)
        return run_kernel(OPS[name], device_of(cpu()), arrays, parsed)

    def bind(self, bind: Any, name: str, arrays: Sequence[np.ndarray | None], attrs: dict[str, Any], *, training: bool = False,
             epilogue: E.Expr | None = None, extras: dict[str, np.ndarray] | None = None,
             static: Sequence[int] = ()) -> tuple[Bound | None, list[np.ndarray]]:
        """The bound call, or None; and what the plain kernel gives."""
        parsed = OPS[name].parse(attrs)
        with mxcore.autograd.train_mode() if training else mxcore.autograd.predict_mode():
            want = self.plain(name, arrays, attrs)
        want = list(want) if isinstance(want, (list, tuple)) else [want]
        count = len(want) - len(OPS[name].mutated(parsed, len(arrays)))
        mutated = OPS[name].mutated(parsed, len(arrays))
        want = [*want[:count], *(arrays[place] if new is None else new for place, new in zip(mutated, want[count:], strict=True))]
        outs = [Spec(w.shape, w.dtype, plain_order(w.ndim)) for w in want]
        extras = extras or {}
        ins = [None if a is None else spec_of(a, i in static) for i, a in enumerate([*arrays, *extras.values()])]
        end = None
        if epilogue is not None:
            end = Epilogue(epilogue, tuple(extras))
            loop = Loop(want[0].shape, want[0].dtype, ("acc", *extras), (epilogue,), (None,))
            want[0], = run_loop(device_of(cpu()).xp, loop, [want[0], *extras.values()], [want[0].dtype])
        return bind(ins, outs, parsed, training, end), want

    def __call__(self, bind: Any, name: str, arrays: Sequence[np.ndarray | None], attrs: dict[str, Any], *,
                 extras: dict[str, np.ndarray] | None = None, rtol: float = 1e-5, atol: float = 1e-6, **options: Any) -> Ran:
        """Run it and compare all results with those of the plain kernel."""
        bound, want = self.bind(bind, name, arrays, attrs, extras=extras, **options)
        assert bound is not None, "nothing was bound"
        ins = [a if a is None or o is None or spec_of(a).lies(o) else in_order(a, o)
               for a, o in zip([*arrays, *(extras or {}).values()], bound.in_orders, strict=True)]
        before = [None if a is None else a.copy() for a in ins]
        outs = [in_order(np.full(w.shape, np.nan, w.dtype), o) for w, o in zip(want, bound.out_orders, strict=True)]
        for _ in range(2):
            bound.prepare(ins) if bound.prepared else None
            bound.run(ins, outs)
            self.compare(outs, want, rtol, atol)
        for a, b in zip(ins, before, strict=True):
            assert a is None or np.array_equal(a, b), "an input was changed"
        for i, j in bound.in_place:
            shared = in_order(ins[i], bound.in_orders[i] or plain_order(ins[i].ndim))
            given = [shared if k == i else a for k, a in enumerate(ins)]
            target = np.ndarray(outs[j].shape, outs[j].dtype, shared.base if shared.base is not None else shared, 0,
                                outs[j].strides)
            to = [target if k == j else np.full_like(o, np.nan) for k, o in enumerate(outs)]
            bound.run(given, to)
            self.compare(to, want, rtol, atol)
        return Ran(bound, outs)

    @staticmethod
    def compare(outs: Sequence[np.ndarray], want: Sequence[np.ndarray], rtol: float, atol: float) -> None:
        for i, (got, w) in enumerate(zip(outs, want, strict=True)):
            size = float(np.abs(w).max(initial=0))
            np.testing.assert_allclose(got, w, rtol=rtol, atol=atol * max(size, 1e-3), err_msg=f"result {i}")


@pytest.fixture
def bound_like_plain(onednn: None) -> Runner:
    """``bound_like_plain(bind, name, arrays, attrs, ...)``: see :class:`Runner`."""
    return Runner()


@pytest.fixture
def bound_like_generic(onednn: None) -> Runner:
    """As ``bound_like_plain``, against kernels that run on every backend."""
    return Runner(generic=True)


@pytest.fixture
def onednn() -> None:
    """Skips a test where there is no oneDNN."""
    from mxcore_onednn.library import missing

    reason = missing()
    if reason:
        pytest.skip(reason)
