"""float16 and bfloat16: in oneDNN's own code where the machine has instructions for them, else in float32.

Without those instructions oneDNN computes bfloat16 four times as slowly as float32, and float16 not at all. Then inputs are
widened, the float32 kernel computes, and its result is rounded: the same numbers, since oneDNN sums in float32 either way
and rounds once, at the very end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Epilogue, Order, Spec, plain_order
from mxcore_numpy.kernels.scratch import scratch
from mxcore_numpy.threads import parallel, width

from .arrangement import same_places
from .codes import Arg
from .library import instructions
from .primitive import Call, Layout, reorder

__all__ = ["FLOATS", "common", "native", "serves_narrow"]

_FLOAT = np.dtype("float32")
#: codes (``dtype.char``) of the types that kernels take
FLOATS = "feE"
_SHARE = 1 << 15  # elements that are worth a thread
#: bits of the instruction sets that compute with a type (``avx512_core_bf16`` and ``avx512_core_fp16``, or ``avx2_vnni_2``)
_INSTRUCTIONS = {"e": 0x110, "E": 0x90}


def native(dtype: np.dtype) -> bool:
    """Whether oneDNN computes with a type at least as fast as with float32 on this machine."""
    return dtype == _FLOAT or bool(instructions() & _INSTRUCTIONS[dtype.char])


def common(specs: Sequence[Spec | None]) -> np.dtype | None:
    """The type that all have, if it is one that kernels take."""
    types = {s.dtype for s in specs if s is not None}
    return types.pop() if len(types) == 1 and next(iter(types)).char in FLOATS else None


# ---------------------------------------------------------------- conversions
def _line(array: np.ndarray) -> np.ndarray:
    """A dense array as its elements in the order of memory."""
    return array.transpose(np.argsort([-s for s in array.strides], kind="stable")).reshape(-1)


def _by_numpy(source: np.ndarray, target: np.ndarray) -> None:
    """``target[...] = source`` of two arrays with the same strides, by several threads."""
    threads = min(width(), source.size // _SHARE)
    if threads < 2:
        with np.errstate(all="ignore"):  # infinities are results like others
            np.copyto(target, source, casting="unsafe")
        return
    a, b = _line(source), _line(target)
    step = -(-a.size // (2 * threads))

    def share(i: int) -> None:
        part = slice(i * step, (i + 1) * step)
        with np.errstate(all="ignore"):
            np.copyto(b[part], a[part], casting="unsafe")

    parallel(share, 2 * threads, threads)


def _conversion(size: int, source: np.dtype, target: np.dtype) -> Callable[[np.ndarray, np.ndarray], None]:
    """A conversion of so many numbers of two arrays that lie alike."""
    if "e" in (source.char, target.char):
        return _by_numpy  # oneDNN has only a slow one
    return Call(reorder(Layout((size,), source, (1,)), Layout((size,), target, (1,))), [Arg.SRC, Arg.DST])


class _Wide:
    """Memory in float32 for an array, valid until this thread asks for more for the same ``purpose``."""

    def __init__(self, purpose: str, spec: Spec, order: Order) -> None:
        self._purpose, self._shape = purpose, tuple(spec.shape[a] for a in order)
        self._back = None if order == plain_order(len(order)) else np.argsort(order)

    def __call__(self) -> np.ndarray:
        made = scratch(self._purpose, self._shape, _FLOAT)
        return made if self._back is None else made.transpose(self._back)


class _Incoming:
    """An input in float32, in some memory order whatever order it comes in."""

    def __init__(self, place: int, spec: Spec, order: Order) -> None:
        self._room, self._strides = _Wide(f"onednn input {place}", spec, order), spec.ordered(order).strides
        self._convert = _conversion(spec.size, spec.dtype, _FLOAT)

    def __call__(self, array: np.ndarray) -> np.ndarray:
        wide = self._room()
        if array.strides == self._strides or same_places(array.strides, self._strides, array.shape):
            self._convert(array, wide)
        else:
            np.copyto(wide, array)
        return wide


class _Widened(Bound):
    """A kernel in float32 between conversions."""

    def __init__(self, inner: Bound, ins: Sequence[Spec | None], outs: Sequence[Spec], read: Sequence[int]) -> None:
        self._inner, self._run, self._prepare = inner, inner.run, inner.prepare
        self.in_orders, self.out_orders, self.prepared = inner.in_orders, inner.out_orders, inner.prepared
        self.label = f"{inner.label}, in float32"
        self._incoming: list[tuple[int, _Incoming]] = []
        self._lasting: list[tuple[int, _Incoming]] = []
        for i in read:
            spec, order = ins[i], inner.in_orders[i]
            if spec is not None and spec.dtype != _FLOAT:
                made = i, _Incoming(i, spec, order or spec.order or plain_order(len(spec.shape)))
                (self._lasting if i in inner.prepared else self._incoming).append(made)
        self._outgoing = [(j, _Wide(f"onednn output {j}", s, o), _conversion(s.size, _FLOAT, s.dtype))
                          for j, (s, o) in enumerate(zip(outs, inner.out_orders, strict=True)) if s.dtype != _FLOAT]
        self.in_place = [(i, j) for i, j in inner.in_place if ins[i].dtype == outs[j].dtype]  # type: ignore[union-attr]
        if hasattr(inner, "release"):
            self.release = inner.release

    def prepare(self, ins: Sequence[Any]) -> None:
        given = list(ins)
        for i, widen in self._lasting:
            given[i] = widen(given[i])
        self._prepare(given)

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        given, wide = list(ins), list(outs)
        for i, widen in self._incoming:
            given[i] = widen(given[i])
        for j, room, _ in self._outgoing:
            wide[j] = room()
        self._run(given, wide)
        for j, _, narrow in self._outgoing:
            narrow(wide[j], outs[j])


# ---------------------------------------------------------------- binding
def _wide(spec: Spec | None) -> Spec | None:
    if spec is None or spec.dtype == _FLOAT or spec.dtype.char not in FLOATS:
        return spec
    return Spec(spec.shape, _FLOAT, spec.order or plain_order(len(spec.shape)), spec.static)


def serves_narrow(reads: int | Callable[[Mapping[str, Any]], Sequence[int]], own: str = "native") -> Callable[..., Any]:
    """Make a ``bind`` function of float32 kernels one that also takes float16 and bfloat16, or a mixture.

    The function is called with arrays of one narrow type where oneDNN is fast on it, and must refuse types it has no code
    for; otherwise with float32 in place of both.

    Parameters
    ----------
    reads : int or function
        How many of the operator's inputs, from the first, are read for their numbers; or a function that gives their
        places for the attributes of the operator. Inputs of an epilogue are always read.
    own : {"native", "always", "never"}
        When oneDNN's own code for a narrow type is used: where the machine computes with it; always, since what it does is
        mostly moving memory; never, since it also rounds on the way.
    """

    def decorate(bind: Callable[..., Bound | None]) -> Callable[..., Bound | None]:
        @functools.wraps(bind)
        def served(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                   epilogue: Epilogue | None = None, **options: Any) -> Bound | None:
            count = len(ins) - (len(epilogue.names) if epilogue else 0)
            read = [*(range(min(reads, count)) if isinstance(reads, int) else reads(attrs)), *range(count, len(ins))]
            given = [*(ins[i] for i in read), *outs]
            types = {s.dtype for s in given if s is not None}
            if all(t == _FLOAT or t.char not in FLOATS for t in types):
                return bind(ins, outs, attrs, training, epilogue, **options)
            dtype = types.pop()
            if not types and own != "never" and (own == "always" or native(dtype)):
                found = bind(ins, outs, attrs, training, epilogue, **options)
                if found is not None:
                    return found
            inner = bind([_wide(s) for s in ins], [_wide(s) for s in outs], attrs, training, epilogue, **options)
            return None if inner is None else _Widened(inner, ins, outs, read)

        return served

    return decorate
