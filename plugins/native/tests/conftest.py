"""Loops compiled into a cache of their own; skipped where there is no compiler."""

from collections.abc import Iterator

import numpy as np
import pytest

from mxcore.registry.bound import Bound, Spec, order_of, plain_order
from mxcore.registry.loop import Loop, run_loop
from mxcore_native import fused
from mxcore_native.compiler import find
from mxcore_native.workshop import WORKSHOP
from mxcore_numpy.fusion.loop import bind_loop
from mxcore_numpy.xp import XP


def lies(array: np.ndarray) -> Spec:
    """What a program would know of the array."""
    order = order_of(array.shape, array.strides, array.itemsize)
    return Spec(array.shape, array.dtype, order, False, None if order else array.strides)


def memory(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """A copy that lies in memory in this order of axes."""
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order)) if array.ndim else array.copy()


class Runner:
    """Binds loops as programs do, and compares them with their definition."""

    WORKSHOP = WORKSHOP

    def bind(self, loop: Loop, arrays: list, dtypes: list, threads: int = 1) -> Bound:
        """The loop, not compiled yet; the tile interpreter runs until then."""
        shapes = [loop.shape if r is None else r.shape for r in loop.reductions]
        ins, outs = [lies(a) for a in arrays], [Spec(s, np.dtype(t), plain_order(len(s)))
                                                for s, t in zip(shapes, dtypes, strict=True)]
        return fused.native(bind_loop(loop, ins, outs), loop, ins, outs, threads)

    def outs(self, loop: Loop, dtypes: list, bound: Bound) -> list[np.ndarray]:
        """Memory for the results, filled with what would be noticed."""
        shapes = [loop.shape if r is None else r.shape for r in loop.reductions]
        return [memory(np.full(s, 77, t), order) for s, t, order in zip(shapes, dtypes, bound.out_orders, strict=True)]

    def run(self, bound: Bound, loop: Loop, arrays: list, dtypes: list, in_place: bool = False) -> list[np.ndarray]:
        """The results of one run; with ``in_place`` in the memory of inputs, where that is allowed."""
        outs = self.outs(loop, dtypes, bound)
        arrays = [np.copy(a, order="K") for a in arrays]
        free = set(range(len(arrays)))
        for j in range(len(outs)) if in_place else ():
            i = next((i for i, k in bound.in_place if k == j and i in free), None)
            if i is not None:
                free.remove(i)
                outs[j] = arrays[i]
        with np.errstate(all="ignore"):
            bound.prepare(arrays)
            bound.run(arrays, outs)
        return outs

    def check(self, *cases: tuple, rtol: float = 2e-5, atol: float = 2e-5, threads: int = 1,
              in_place: bool = False) -> list[Bound]:
        """Compile loops ``(loop, arrays, dtypes)`` together, run each twice, and compare."""
        bounds = [self.bind(*case, threads=threads) for case in cases]
        for bound, (loop, arrays, dtypes) in zip(bounds, cases, strict=True):
            with np.errstate(all="ignore"):
                want = run_loop(XP, loop, arrays, [np.dtype(t) for t in dtypes])
            for _ in range(2):
                got = self.run(bound, loop, arrays, dtypes, in_place)
                for g, w in zip(got, want, strict=True):
                    np.testing.assert_allclose(g.astype("f8"), w.astype("f8"), rtol=rtol, atol=atol, err_msg=repr(loop))
            if isinstance(bound, fused.Native):
                assert bound.kernel.call is not None, WORKSHOP.trouble
        return bounds


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that is empty at first, and no background."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MXCORE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("MXCORE_NATIVE", "wait")
        yield


@pytest.fixture
def compiled(home: None) -> Runner:
    """``compiled.check((loop, arrays, dtypes), ...)``: see :class:`Runner`."""
    if find() is None:
        pytest.skip("there is no C compiler")
    return Runner()
