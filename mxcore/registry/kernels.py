"""Kernel resolution: which function computes an operator on a backend.

In order: kernels that the backend or plugins entered for the operator, by priority, the first whose predicate accepts
the call; what the backend makes of the operator's expression, where it makes kernels; the generic kernel over the backend's
``xp``; the composite. Resolved once per operator and backend and kept in
``op.kernels``, so a call costs one dict look-up.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import KernelMissingError
from .generic import kernel_of
from .op import OPS, Op
from .schema import Attrs

__all__ = ["MAKERS", "REPEATERS", "KernelEntry", "add_kernels", "binders_of", "clear", "generic_of", "kernels_of", "load_target",
           "resolve", "writer_of"]


@dataclass(frozen=True)
class KernelEntry:
    """One special kernel: where it is (``"package.module:function"``), its priority, and which calls it takes.

    ``accepts`` (also ``"module:function"``) is called with ``(*arrays, **attrs)`` and answers whether the kernel takes
    this call; ``None`` takes all. ``bind`` prepares calls of compiled programs (:mod:`mxcore.registry.bound`), ``into`` is a
    kernel that writes where it is told (:func:`writer_of`); an entry may have these alone, without ``target``.
    """

    target: str | Callable | None = None
    priority: int = 0
    accepts: str | Callable | None = None
    source: str = ""
    bind: str | Callable | None = None
    into: str | Callable | None = None


_TABLE: dict[tuple[str, str], list[KernelEntry]] = {}
#: backend name -> ``f(op, generic kernel or None)``: a kernel that the backend makes of the operator's declaration, or None
MAKERS: dict[str, Callable[[Op, Callable | None], Callable | None]] = {}
#: backend name -> ``f(op, kernel)``: what calls get instead of the kernel, where the backend remembers what kernels do
REPEATERS: dict[str, Callable[[Op, Callable], Callable]] = {}


def add_kernels(backend: str, entries: dict[str, Any], source: str = "") -> None:
    """Enter special kernels of a backend: ``{op name: "module:function" | KernelEntry | list of them}``.

    Only strings are kept: what computes is imported at the first call of the operator.
    """
    for name, found in entries.items():
        for one in found if isinstance(found, (list, tuple)) else [found]:
            entry = one if isinstance(one, KernelEntry) else KernelEntry(one, source=source)
            table = _TABLE.setdefault((backend, name), [])
            if entry not in table:  # a plugin may be asked again
                table.append(entry)
                table.sort(key=lambda e: -e.priority)
        if name in OPS:
            OPS[name].kernels.pop(backend, None)
            OPS[name].writers.pop(backend, None)


def clear(backend: str) -> None:
    """Forget what was resolved for a backend (after its kernel table changed)."""
    for op in OPS.values():
        op.kernels.pop(backend, None)
        op.writers.pop(backend, None)


def kernels_of(backend: str, name: str) -> list[KernelEntry]:
    """Special kernels of an operator on a backend, best first (for ``python -m mxcore.plugins``)."""
    return list(_TABLE.get((backend, name), ()))


def binders_of(backend: str, name: str) -> list[Callable]:
    """The ``bind`` functions of an operator on a backend, best first."""
    return [load_target(e.bind) for e in _TABLE.get((backend, name), ()) if e.bind is not None]


def load_target(target: str | Callable) -> Callable:
    """The function that an entry names."""
    if callable(target):
        return target
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def generic_of(op: Op) -> Callable | None:
    """The kernel ``f(xp, *arrays, **attrs)`` that runs on any backend: the operator's own, or its composite."""
    if op.generic_kernel is not None:
        return op.generic_kernel
    if op.expr is not None:
        return kernel_of(op)
    composite = op.composite
    if composite is None:
        return None

    def kernel(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        result = composite(*arrays, **attrs)
        return tuple(result) if isinstance(result, list) else result

    return kernel


def resolve(op: Op, backend: str) -> Callable:
    """The kernel ``f(xp, *arrays, **attrs)`` of ``op`` on ``backend``.

    Raises
    ------
    KernelMissingError
        Names the backends for which kernels exist.
    """
    kernel = generic_of(op)
    if backend in MAKERS:
        kernel = MAKERS[backend](op, kernel) or kernel
    for entry in reversed(_TABLE.get((backend, op.name), ())):
        if entry.target is None:
            continue
        special = load_target(entry.target)
        kernel = special if entry.accepts is None else _guarded(special, load_target(entry.accepts), kernel)
    if kernel is None:
        having = sorted({b for b, n in _TABLE if n == op.name})
        raise KernelMissingError(f"operator {op.name!r} has no kernel on backend {backend!r}: it has neither a generic "
                                 f"kernel nor a composite; kernels exist on {having or 'no backend'}")
    if backend in REPEATERS:
        kernel = REPEATERS[backend](op, kernel)
    op.kernels[backend] = kernel
    return kernel


def writer_of(op: Op, backend: str) -> Callable | None:
    """The kernel of ``op`` on ``backend`` that writes its results into memory given to it, if there is one.

    It is called as ``f(xp, ins, outs, attrs)`` and answers whether it did it. If not (also where ``outs`` do not fit) it has
    written nothing, and the plain kernel is used. ``outs`` has memory for each output, then for each new value of what the
    operator ``mutates``. Any of it may be the array that stands in ``ins`` too: a state, and the weight of an update.
    Where nothing may be written, because a definition is run again for its gradient, the plain kernel runs.
    """
    found = [load_target(e.into) for e in _TABLE.get((backend, op.name), ()) if e.into is not None]

    def writer(xp: Any, ins: Sequence[Any], outs: Sequence[Any], attrs: Attrs) -> bool:
        return any(f(xp, ins, outs, attrs) for f in found)

    op.writers[backend] = None if not found else found[0] if len(found) == 1 else writer
    return op.writers[backend]


def _guarded(special: Callable, accepts: Callable, otherwise: Callable | None) -> Callable:
    def kernel(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        if accepts(*arrays, **attrs):
            return special(xp, *arrays, **attrs)
        if otherwise is None:
            raise KernelMissingError("no kernel accepts this call, and there is no generic one")
        return otherwise(xp, *arrays, **attrs)

    return kernel
