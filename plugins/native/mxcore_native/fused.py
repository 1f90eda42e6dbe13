"""``_fused`` by compiled code: bound to what runs until the compiler is done, and then to its function."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.registry import expr as E
from mxcore.registry.bound import Bound, Epilogue, Spec, plain_order
from mxcore.registry.kernels import binders_of
from mxcore.registry.loop import Loop
from mxcore.registry.source import C
from mxcore_numpy.threads import parallel, width

from . import gomp
from .compiler import CompileError, compiler, mode
from .cost import nanoseconds
from .dialect import FAST, dialect
from .nest import Nest, Word
from .shape import Shape
from .workshop import WORKSHOP

__all__ = ["Native", "bind", "native"]

_RUNS = 3  # after so many a loop is worth compiling
_ALONE = 30_000.0  # nanoseconds of work that are not worth waking another thread
_QUICK = 5_000.0  # nanoseconds of work for which the interpreter lock is kept


def bind(ins: Sequence[Spec], outs: Sequence[Spec], attrs: dict[str, Any], training: bool,
         epilogue: Epilogue | None = None) -> Bound | None:
    """The loop for these operands, compiled or to be compiled; None where NumPy is as fast."""
    if epilogue is not None:
        return None
    other = _other(ins, outs, attrs, training)
    if other is None:
        return None
    try:
        return native(other, attrs["loop"], ins, outs, width())
    except CompileError as error:
        WORKSHOP.trouble = str(error)
        WORKSHOP.tell()
        return other


def _other(*given: Any) -> Bound | None:
    """What would be bound if this plugin were not there."""
    binders = binders_of("numpy", "_fused")
    for binder in binders[binders.index(bind) + 1:] if bind in binders else binders:
        found = binder(*given)
        if found is not None:
            return found
    return None


def native(other: Bound, loop: Loop, ins: Sequence[Spec], outs: Sequence[Spec], threads: int) -> Bound:
    """The loop as ``other`` has bound it, compiled; ``other`` itself where that is not worth it.

    Raises
    ------
    CompileError
        The compiler cannot be run at all.
    """
    read = {n for e in loop.exprs for n in E.leaves(e)}
    used = [i for i, n in enumerate(loop.names) if n in read]
    lying = [s if o is None else s.ordered(o) for s, o in zip(ins, other.in_orders, strict=True)]
    written = [s.ordered(o) for s, o in zip(outs, other.out_orders, strict=True)]
    vector = compiler().vector
    work = nanoseconds(loop, vector | FAST)
    arrays = [*[lying[i] for i in used], *written]
    if work is None or not prod(loop.shape) or not all(map(_is_plain, arrays)) or not all(_fits(s, loop) for s in written):
        return other
    order = next((o for o, r in zip(other.out_orders, loop.reductions, strict=True) if r is None), None) or \
        next((s.order for s in lying if s.shape == loop.shape and s.order is not None), None) or plain_order(len(loop.shape))
    work *= prod(loop.shape)
    if work < _ALONE:
        threads = 1
    nest = Nest(Shape(loop, lying, written, order, threads, used), threads, dialect(vector))
    return Native(other, nest, threads, work < _QUICK)


def _is_plain(s: Spec) -> bool:
    """Whether it is known how an array lies, in whole elements, and its type is one that is computed with."""
    known = (s.order is not None or s.steps is not None) and s.dtype.name in C.types
    return known and all(step % s.dtype.itemsize == 0 for step in s.strides)


def _fits(s: Spec, loop: Loop) -> bool:
    """Whether a result is rounded once: float64 to two bytes would go through float32."""
    return s.dtype.name in ("float32", "float64") or (s.dtype.name in C.stores and loop.dtype.name == "float32")


class Native(Bound):
    """A loop that another bound call computes until its own function is there.

    Parameters
    ----------
    other : Bound
        It says what orders are wanted and what may be in place.
    nest : Nest
    threads : int
    quick : bool
        It takes so little time that the interpreter lock is kept.
    """

    def __init__(self, other: Bound, nest: Nest, threads: int, quick: bool = False) -> None:
        self.other, self.quick = other, quick
        self.in_orders, self.out_orders = other.in_orders, other.out_orders
        self.in_place, self.prepared = other.in_place, other.prepared
        self.kernel = WORKSHOP.kernel(nest.text, nest.functions)
        self.words = array("q", nest.words)
        self.buffers = [np.zeros(n) for _, n in nest.buffers]
        for (slot, _), buffer in zip(nest.buffers, self.buffers, strict=True):
            self.words[slot] = buffer.__array_interface__["data"][0]
        self.threads = self.words[Word.THREADS] = threads if nest.shares > 1 else 1
        self.runs = 0
        self.waits = mode() == "wait"
        if self.kernel.call is not None:
            self._switch()
        elif self.waits:
            WORKSHOP.note(self.kernel)

    @property
    def label(self) -> str:  # type: ignore[override]
        """For people."""
        return "compiled loop" if self.kernel.call is not None else f"{self.other.label}, until it is compiled"

    def prepare(self, ins: Sequence[np.ndarray]) -> None:
        """What the other one needs; compiled code needs nothing."""
        if self.kernel.call is None:
            self.other.prepare(ins)

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """The loop; this method is replaced when the function is there."""
        kernel = self.kernel
        if self.waits and kernel.call is None:
            WORKSHOP.finish()
        if kernel.call is not None:
            self._switch()
            self.run(ins, outs)
            return
        WORKSHOP.tell()
        if kernel.failed:
            self.run = self.other.run  # type: ignore[method-assign]
        else:
            self.runs += 1
            if self.runs >= _RUNS:
                WORKSHOP.ask(kernel)
        self.other.run(ins, outs)

    def _switch(self) -> None:
        """From now on the compiled function."""
        kernel, words, elsewhere = self.kernel, self.words, self._elsewhere
        call = kernel.quick if self.quick else kernel.call
        at = ctypes.c_void_p(words.buffer_info()[0])
        given, taken, address = Word.INS, Word.OUTS, Word.PARALLEL

        def alone(ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
            words[given], words[taken] = id(ins), id(outs)
            if call(at):
                elsewhere(ins, outs)

        def together(ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
            words[given], words[taken], words[address] = id(ins), id(outs), gomp.parallel_address()
            if call(at):
                elsewhere(ins, outs)

        def in_pool(ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
            words[given], words[taken] = id(ins), id(outs)
            if kernel.begin(at):
                parallel(lambda _: kernel.work(at), self.threads, self.threads)
            else:
                elsewhere(ins, outs)

        self.run = alone if self.threads < 2 else together if gomp.parallel_address() else in_pool  # type: ignore[method-assign]

    def _elsewhere(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """Arrays in something else than lists, or that lie otherwise than the program said."""
        if type(ins) is not list or type(outs) is not list:
            self.run(list(ins), list(outs))
        else:
            self.other.prepare(ins)
            self.other.run(ins, outs)
