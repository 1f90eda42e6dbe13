"""From contexts to devices: which installed backend serves a kind, decided at first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from .. import plugins
from ..base import config
from ..context import Context
from ..errors import BackendMissingError, ContextError
from ..registry import kernels
from ..registry.op import APPLY, Op
from ..registry.schema import Attrs
from .invoke import apply_raw
from .memory import Pool

__all__ = ["Device", "backend_named", "device_count", "device_of", "devices", "forget", "moved", "raw_device"]

_SAME = {"cpu_pinned": "cpu", "cpu_shared": "cpu"}
_INSTALL = {
    "cpu": "pip install mxcore-numpy",
    "gpu": "pip install mxcore[cuda13]   (NVIDIA; or cuda12), or: pip install mxcore[opencl]   (AMD, Intel)",
    "cupy": "pip install mxcore[cuda13]", "cuda": "pip install mxcore[cuda13]", "opencl": "pip install mxcore[opencl]",
}


class Device:
    """A context bound to the backend that serves it. Arrays point to one of these."""

    __slots__ = ("array_type", "backend", "ctx", "index", "name", "pool", "random", "xp")

    def __init__(self, ctx: Context, backend: Any) -> None:
        self.ctx = ctx
        self.backend = backend
        self.name: str = backend.name
        self.xp = backend.xp_at(ctx.device_id) if hasattr(backend, "xp_at") else backend.xp
        self.array_type = backend.array_type
        self.index = ctx.device_id
        self.pool = Pool(backend, self.index)
        self.random: Any = None  # generator, made at first use by mxcore.runtime.random

    def __repr__(self) -> str:
        return f"<device {self.ctx} by backend {self.name}>"


def moved(raw: Any, source: Device, target: Device) -> Any:
    """A copy on another device: directly where one backend serves both and can, else by way of the host."""
    across = getattr(target.backend, "across", None)
    if across is not None and source.backend is target.backend:
        return across(raw, target.index)
    return target.backend.from_host(source.backend.to_host(raw), target.index)


_LOCK = threading.RLock()
_DEVICES: dict[Context, Device] = {}
_BACKENDS: dict[str, Any] = {}
_FAILED: dict[str, BaseException] = {}


def device_of(ctx: Context) -> Device:
    """The device that a context means.

    Raises
    ------
    BackendMissingError
        No backend serves the kind; says which kinds are installed, what to install, and what failed.
    ContextError
        The backend has no device of that number.
    """
    found = _DEVICES.get(ctx)
    if found is None:
        with _LOCK:
            found = _DEVICES.get(ctx)
            if found is None:
                found = _DEVICES[ctx] = _resolve(ctx)
    return found


def _resolve(ctx: Context) -> Device:
    kind = _SAME.get(ctx.device_type, ctx.device_type)
    backend = _backend_for(kind)
    count = _count(backend, kind)
    if kind != "cpu" and not 0 <= ctx.device_id < count:
        raise ContextError(f"{ctx} does not exist: backend {backend.name!r} has {count} device(s), numbered from 0")
    return Device(ctx, backend)


def _candidates(kind: str) -> list[Any]:
    infos = plugins.backend_infos()
    wanted = config(f"MXCORE_BACKEND_{kind.upper()}") if kind in ("cpu", "gpu") else None
    serving = [i for i in infos if kind in i.kinds or kind == i.name]
    if wanted:
        serving = [i for i in serving if i.name == wanted]
    return sorted(serving, key=lambda i: -i.kinds.get(kind, 0))


def _backend_for(kind: str) -> Any:
    errors = {}
    for info in _candidates(kind):
        try:
            backend = backend_named(info.name)
        except Exception as error:
            errors[info.name] = error
            continue
        if _count(backend, kind) > 0:
            return backend
        errors[info.name] = ContextError(f"backend {info.name!r} found no device of this kind")
    installed = sorted({k for i in plugins.backend_infos() for k in (*i.kinds, i.name)})
    lines = [f"no backend serves the device kind {kind!r}; installed kinds: {', '.join(installed) or 'none'}."]
    lines.append(f"To have it: {_INSTALL.get(kind, f'install a plugin that serves {kind!r}')}")
    wanted, selected = config(f"MXCORE_BACKEND_{kind.upper()}") if kind in ("cpu", "gpu") else None, config("MXCORE_PLUGINS")
    if wanted:
        lines.append(f"MXCORE_BACKEND_{kind.upper()}={wanted} allows no other backend than that.")
    if selected is not None:
        lines.append(f"MXCORE_PLUGINS={selected} lets no other plugins load than those it names.")
    lines += [f"backend {name!r} is installed but failed: {type(e).__name__}: {e}" for name, e in errors.items()]
    broken = [r for r in plugins.records() if r.traceback]
    lines += [f"plugin {r.name!r} failed (python -m mxcore.doctor shows why)" for r in broken]
    raise BackendMissingError("\n".join(lines)) from next(iter(errors.values()), None)


def _count(backend: Any, kind: str) -> int:
    """The devices of a backend that serve a kind."""
    return backend.count_of(kind) if hasattr(backend, "count_of") else backend.device_count()


def backend_named(name: str) -> Any:
    """The backend called ``name``, made at first use, its kernels and those that plugins have for it entered."""
    backend = _BACKENDS.get(name)
    if backend is not None:
        return backend
    with _LOCK:
        if name in _BACKENDS:
            return _BACKENDS[name]
        if name in _FAILED:
            raise _FAILED[name]
        try:
            backend = plugins.make_backend(name)
        except Exception as error:
            _FAILED[name] = error
            raise
        if backend is None:
            raise BackendMissingError(f"no plugin makes a backend called {name!r}")
        for plugin_name, table in plugins.kernels_for(name):
            kernels.add_kernels(name, table, plugin_name)
        if hasattr(backend, "kernel_of"):
            kernels.MAKERS[name] = backend.kernel_of
        if hasattr(backend, "repeated"):
            kernels.REPEATERS[name] = backend.repeated
        _BACKENDS[name] = backend
        APPLY[backend.array_type] = _apply_where(backend) if hasattr(backend, "xp_at") else apply_raw(backend)
        if len(_BACKENDS) == 1 and config("MXCORE_PROFILER_AUTOSTART") == "1":
            from .profile import PROFILE

            PROFILE.start()
    return backend


class _Place:
    """A backend as :func:`mxcore.runtime.invoke.apply_raw` sees it, whose ``xp`` is that of one device."""

    def __init__(self, backend: Any, index: int) -> None:
        self.name, self.array_type, self.asarray = backend.name, backend.array_type, backend.asarray
        self.xp = backend.xp_at(index)
        self.backend, self.index = backend, index


def _apply_where(backend: Any) -> Callable:
    """How operators are applied to raw arrays where each device has an ``xp`` of its own: with that of the first array."""
    ways: dict[int, Callable] = {}

    def apply(op: Op, raws: Sequence[Any], attrs: Attrs) -> Any:
        index = next(backend.index_of(raw) for raw in raws if raw is not None)
        way = ways.get(index)
        if way is None:
            way = ways[index] = apply_raw(_Place(backend, index))
        return way(op, raws, attrs)

    return apply


def device_count(kind: str) -> int:
    """How many devices of a kind there are; 0 when no backend serves it."""
    try:
        return _count(_backend_for(kind), kind)
    except BackendMissingError:
        return 0


def devices() -> list[Device]:
    """The devices in use by this process."""
    return list(_DEVICES.values())


def forget() -> None:
    """Resolve contexts afresh (after plugins were added). What resolves to the same backend as before stays as it is."""
    _FAILED.clear()
    for ctx, dev in list(_DEVICES.items()):
        kind = _SAME.get(ctx.device_type, ctx.device_type)
        if next((info.name for info in _candidates(kind)), None) != dev.name:
            del _DEVICES[ctx]


def raw_device(backend: Any) -> Device:
    """The device that raw arrays of a backend are on, for generators; where arrays do not know it, the first one in use."""
    if isinstance(backend, _Place):
        return device_of(Context(backend.name, backend.index))
    used = [dev for dev in _DEVICES.values() if dev.backend is backend]
    return min(used, key=lambda dev: dev.index) if used else device_of(Context(backend.name, 0))
