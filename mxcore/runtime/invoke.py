"""The eager call: the only hot file. ``invoke`` finds the kernel, runs it, wraps the result, and records it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from ..errors import ArgumentError, ContextError, DTypeError, MXNetError, ShapeError
from ..graph.gradient import saves
from ..graph.node import Node, Shaped
from ..registry.kernels import resolve, writer_of
from ..registry.op import APPLY, Op
from ..registry.schema import Attrs
from .explain import explain
from .watch import written

__all__ = ["HOOKS", "STATE", "apply_raw", "check_write", "create", "generator", "invoke", "invoke_pair", "record_call",
           "run_kernel", "wrap"]

_new: Any = object.__new__


class _State(threading.local):
    """Per thread: whether calls are recorded, and whether they train."""

    recording = False
    training = False
    #: number of the backward pass that stores gradients in their variables' buffers, or -1
    storing = -1
    #: ``(generator or None,)`` while a definition is run again for its gradient, else None
    replay: tuple | None = None
    #: ``drawn(device)`` gives the generator while launches are recorded, else None
    drawn: Callable[[Any], Any] | None = None


STATE = _State()

#: functions called around every operator while the profiler runs: ``hook(op, device, arrays)``, where ``op`` is the
#: record (eager) or the label of a program's step, gives ``finish(results)``, which is called if the operator succeeds
HOOKS: list[Callable] = []


def wrap(cls: type, raw: Any, dev: Any) -> Any:
    """A front-end array around a raw one."""
    new = _new(cls)
    new._data = raw
    new._dev = dev
    new._entry = None
    return new


def invoke(op: Op, arrays: Sequence[Any], attrs: Attrs, out: Any = None) -> Any:
    """Apply ``op`` to front-end arrays; results have the class and device of the first.

    Parameters
    ----------
    op : Op
    arrays : sequence of arrays, or None for an optional input that is absent
    attrs : Attrs
        Complete (from ``op.parse``).
    out : array or list of arrays, optional
        Where to write the visible outputs.

    Returns
    -------
    array, or list of arrays when the operator has several visible outputs

    Raises
    ------
    ShapeError, DTypeError, ContextError, OperatorError
        With operator, argument names, shapes, types and the failed relation.
    """
    if not op.plain or out is not None or HOOKS:
        return _invoke_general(op, arrays, attrs, out)
    first = arrays[0]
    dev = first._dev
    kernel = op.kernels.get(dev.name) or resolve(op, dev.name)
    try:
        if len(arrays) == 1:
            r = kernel(dev.xp, first._data, **attrs) if attrs else kernel(dev.xp, first._data)
        else:
            raws = [None if a is None else a._data for a in arrays]
            if op.strict:
                _check(op, arrays, raws, dev)
            else:
                _check_device(op, arrays, dev)
            r = kernel(dev.xp, *raws, **attrs)
    except Exception as error:
        raise explain(op, arrays, attrs, error) from error
    if type(r) is not dev.array_type:
        r = dev.backend.asarray(r)
    new = _new(type(first))
    new._data = r
    new._dev = dev
    new._entry = None
    if STATE.recording:
        record_call(op, attrs, arrays, (r,), (new,))
    return new


def invoke_pair(op: Op, lhs: Any, rhs: Any, attrs: Attrs) -> Any:
    """``invoke`` for the arithmetic operators of Python: a plain, broadcasting operator on two arrays."""
    dev, a, b = lhs._dev, lhs._data, rhs._data
    if rhs._dev is not dev or a.dtype is not b.dtype or HOOKS:
        return invoke(op, (lhs, rhs), attrs)
    try:
        r = (op.kernels.get(dev.name) or resolve(op, dev.name))(dev.xp, a, b)
    except Exception as error:
        raise explain(op, (lhs, rhs), attrs, error) from error
    if type(r) is not dev.array_type:
        r = dev.backend.asarray(r)
    new = _new(type(lhs))
    new._data = r
    new._dev = dev
    new._entry = None
    if STATE.recording:
        record_call(op, attrs, (lhs, rhs), (r,), (new,))
    return new


def _check(op: Op, arrays: Sequence[Any], raws: Sequence[Any], dev: Any) -> None:
    a = raws[0]
    dtype = a.dtype
    for other, b in zip(arrays, raws, strict=True):
        if b is None:
            continue
        if b.dtype is not dtype and b.dtype != dtype:
            raise DTypeError(f"all inputs must have one data type, found {dtype} and {b.dtype}; use astype")
        if other._dev is not dev:
            _check_device(op, arrays, dev)
        if op.strict == 2 and b.shape != a.shape:
            raise ShapeError(f"shapes of the inputs must be equal: {a.shape} and {b.shape}; "
                             f"broadcast_{op.name.removeprefix('elemwise_').lstrip('_')} would broadcast them")


def _check_device(op: Op, arrays: Sequence[Any], dev: Any) -> None:
    places = [dev if a is None else a._dev for a in arrays]
    if places.count(dev) != len(places):
        other = next(p for p in places if p is not dev)
        raise ContextError(f"inputs are on different devices: {dev.ctx} and {other.ctx}; use as_in_context")


def run_kernel(op: Op, dev: Any, raws: Sequence[Any], attrs: Attrs) -> tuple:
    """All outputs of a kernel as a tuple, with the reserved words filled in."""
    kernel = op.kernels.get(dev.name) or resolve(op, dev.name)
    wants = op.schema.wants
    if wants:
        extra: dict[str, Any] = {}
        if "is_train" in wants:
            extra["is_train"] = STATE.training
        if "rng" in wants:
            extra["rng"] = generator(dev)
        r = kernel(dev.xp, *raws, **attrs, **extra)
    else:
        r = kernel(dev.xp, *raws, **attrs)
    if type(r) is not tuple:
        r = (r,)
    kind = dev.array_type
    for x in r:
        if type(x) is not kind and x is not None:
            return tuple(x if x is None or type(x) is kind else dev.backend.asarray(x) for x in r)
    return r


def generator(dev: Any) -> Any:
    """The random generator of a device, made at first use."""
    if STATE.drawn is not None:
        return STATE.drawn(dev)
    if STATE.replay is not None and STATE.replay[0] is not None:
        return STATE.replay[0]
    if dev.random is None:
        from .random import seed_device

        seed_device(dev)
    return dev.random


def _invoke_general(op: Op, arrays: Sequence[Any], attrs: Attrs, out: Any) -> Any:
    first = arrays[0]
    return (_hooked if HOOKS else _finish)(op, arrays, attrs, out, first._dev, type(first))


def create(op: Op, attrs: Attrs, dev: Any, cls: type, out: Any = None) -> Any:
    """Apply an operator that has no inputs: on ``dev``, giving arrays of class ``cls``."""
    return (_hooked if HOOKS else _finish)(op, (), attrs, out, dev, cls)


def _hooked(op: Op, arrays: Sequence[Any], attrs: Attrs, out: Any, dev: Any, cls: type) -> Any:
    finish = [hook(op, dev, arrays) for hook in HOOKS]
    results = _finish(op, arrays, attrs, out, dev, cls)
    for f in finish:
        f(results)
    return results


def _finish(op: Op, arrays: Sequence[Any], attrs: Attrs, out: Any, dev: Any, cls: type) -> Any:
    raws = [None if a is None else a._data for a in arrays]
    try:
        if op.strict and len(arrays) > 1:
            _check(op, arrays, raws, dev)
        else:
            _check_device(op, arrays, dev)
        if out is not None:
            outs = list(out) if isinstance(out, (list, tuple)) else [out]
            if _in_their_place(op, raws, attrs, outs, dev):
                return outs[0] if len(outs) == 1 else outs
        results = run_kernel(op, dev, raws, attrs)
        if op.mutates:
            places = op.mutated(attrs, len(arrays))
            count = len(results) - len(places)
            for place, new in zip(places, results[count:], strict=True):
                if new is not None and STATE.replay is None:
                    dev.xp.copyto(raws[place], new)
                    written(raws[place])
            results = results[:count]
        if op.view:
            own, copy = dev.backend.own, dev.xp.copy  # a kernel may hand its input through as it is
            results = tuple([copy(r) if any(r is raw for raw in raws) else own(r) for r in results])
        if out is not None:
            _write(op, arrays, outs, results, attrs)
        else:
            outs = [wrap(cls, r, dev) for r in results[: op.visible_count(attrs, len(arrays))]]
    except Exception as error:
        raise explain(op, arrays, attrs, error) from error
    if STATE.recording:
        record_call(op, attrs, arrays, results, outs)
    return outs[0] if len(outs) == 1 else outs


def _in_their_place(op: Op, raws: Sequence[Any], attrs: Attrs, outs: list, dev: Any) -> bool:
    """Whether a kernel has written the results right where they belong: into ``outs`` and the inputs that it changes."""
    writer = op.writers[dev.name] if dev.name in op.writers else writer_of(op, dev.name)
    if writer is None or STATE.recording or STATE.replay is not None:
        return False
    targets = [o._data for o in outs if getattr(o, "_dev", None) is dev]
    if len(targets) != len(outs):
        return False
    if op.mutates:
        targets += [raws[place] for place in op.mutated(attrs, len(raws))]
    if not writer(dev.xp, raws, targets, attrs):
        return False
    for raw in targets:
        written(raw)
    return True


def _write(op: Op, arrays: Sequence[Any], outs: list, results: Sequence[Any], attrs: Attrs) -> None:
    count = op.visible_count(attrs, len(arrays))
    if len(outs) != count:
        raise ShapeError(f"out has {len(outs)} arrays, but the operator has {count} outputs")
    recorded = STATE.recording and any(a is not None and a._entry is not None for a in arrays)
    for o, r in zip(outs, results, strict=False):
        if not hasattr(o, "_entry"):
            raise ArgumentError(f"out must be an array, got {type(o).__name__}")
        if o.shape != r.shape:
            raise ShapeError(f"out has shape {o.shape}, but the result has shape {r.shape}")
        if o._data.dtype != r.dtype:
            raise DTypeError(f"out is {o._data.dtype}, but the result is {r.dtype}; use astype or another out")
        if arrays and o._dev.backend is not arrays[0]._dev.backend:
            raise ContextError(f"out is on {o._dev.ctx}, but the inputs are on {arrays[0]._dev.ctx}; use as_in_context")
        if STATE.recording:
            check_write(o)
            if recorded and any(o is a for a in arrays):
                raise _in_place("out is also an input")
    for o, r in zip(outs, results, strict=False):
        o._dev.xp.copyto(o._data, r)
        written(o._data)


def check_write(o: Any) -> None:
    """Raise if a write to an array would change what is recorded; asked while recording only, as in MXNet.

    A write outside of ``autograd.record()`` is the program's own affair: gradients are then those at the new values.
    """
    if o._entry is not None:
        node = o._entry[0]
        if node.op is None or node.saved is not None:
            raise _in_place("this array is part of the recorded computation")
        o._entry = None  # that computation was freed
    node = getattr(o, "_kept", lambda: None)()
    if node is not None and node.saved is not None:
        raise _in_place(f"the gradient of {node.op.name!r}, which is recorded, needs the value that this array has")


def _in_place(reason: str) -> MXNetError:
    return MXNetError(f"Inplace operations (+=, x[:]=, out=, etc) are not supported when recording with autograd: {reason}. "
                      "Compute a new array, or write outside of autograd.record().")


_ONE = (True,)


def record_call(op: Op, attrs: Attrs, arrays: Sequence[Any], results: Sequence[Any], outs: Sequence[Any]) -> None:
    """Put a call on the tape, if an input is there: a node that keeps what its gradient rule reads, and nothing else."""
    if len(arrays) == 1:
        entries: tuple = (arrays[0]._entry,)
        mask: tuple = _ONE if entries[0] is not None else ()
    else:
        entries = tuple([None if a is None else a._entry for a in arrays])
        mask = tuple([e is not None for e in entries])
    if True not in mask or op.nograd:
        return
    _, _, some_in, some_out, kept_in, kept_out = attrs.saves.get(mask) or saves(op, attrs, mask)
    node = Node(op, attrs, entries)
    dev = outs[0]._dev
    if some_in:
        kept_in = list(kept_in)
        for i, whole in some_in:
            a = arrays[i]
            if a is not None:
                raw = a._data
                if not whole:
                    raw = Shaped(raw.shape, raw.dtype, dev)
                elif a._entry is None:
                    a._kept = ref(node)  # a constant that must not be written while recording; see check_write
                kept_in[i] = raw
    if kept_out is None:
        kept_out = results
    elif some_out:
        kept_out = list(kept_out)
        for j, whole in some_out:
            r = results[j]
            if r is not None:
                kept_out[j] = r if whole else Shaped(r.shape, r.dtype, dev)
    node.saved = kept_in, kept_out, dev, mask
    if len(outs) == 1:
        outs[0]._entry = (node, 0)
    else:
        for j, o in enumerate(outs):
            o._entry = (node, j)


def _apply_shaped(op: Op, arrays: Sequence[Any], attrs: Attrs) -> Any:
    """An operator of a gradient rule whose first input was kept as its shape only (``zeros_like``)."""
    return APPLY[arrays[0].dev.array_type](op, arrays, attrs)


APPLY[Shaped] = _apply_shaped


def apply_raw(backend: Any) -> Callable:
    """How operators are applied to a backend's raw arrays: no tape, no wrapping (gradient sweeps, composites)."""
    name, xp, kind = backend.name, backend.xp, backend.array_type

    def apply(op: Op, raws: Sequence[Any], attrs: Attrs) -> Any:
        if op.simple:
            r = (op.kernels.get(name) or resolve(op, name))(xp, *raws, **attrs)
            return r if type(r) is kind else backend.asarray(r)
        from .device import raw_device

        results = run_kernel(op, raw_device(backend), raws, attrs)
        if op.mutates:
            results = results[: len(results) - len(op.mutated(attrs, len(raws)))]
        count = op.visible_count(attrs, len(raws))
        return results[0] if count == 1 else list(results[:count])

    return apply
