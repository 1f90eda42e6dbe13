"""Plugins: found by entry point, loaded one by one, never fatal. ``python -m mxcore.plugins`` lists them.

Nothing here is on the path of a computation: plugins fill tables, which are read elsewhere.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pluggy

from . import hookspecs
from .base import config

__all__ = ["GROUP", "PluginRecord", "add", "backend_infos", "descriptions", "kernels_for", "load_operators", "main",
           "make_backend", "manager", "records"]

GROUP = "mxcore"


@dataclass
class PluginRecord:
    """What became of one entry point: its distribution, and the traceback if it failed."""

    name: str
    target: str
    distribution: str = ""
    version: str = ""
    status: str = "loaded"
    traceback: str = ""


_LOCK = threading.RLock()
_MANAGER: pluggy.PluginManager | None = None
_RECORDS: dict[str, PluginRecord] = {}
_OPERATORS_LOADED = False
#: set by the thread that loads, for the case that a plugin's own imports ask for what is just being loaded
_LOADING: pluggy.PluginManager | None = None
_COLLECTING = False


def manager() -> pluggy.PluginManager:
    """The plugin manager, with all plugins that could be loaded."""
    global _MANAGER, _LOADING
    if _MANAGER is None:
        with _LOCK:
            if _MANAGER is None:
                if _LOADING is not None:
                    return _LOADING
                _LOADING = pluggy.PluginManager("mxcore")
                _LOADING.add_hookspecs(hookspecs.HookSpecs)
                _load_entry_points(_LOADING)
                _MANAGER, _LOADING = _LOADING, None
    return _MANAGER


def _load_entry_points(pm: pluggy.PluginManager) -> None:
    from importlib import metadata

    setting = config("MXCORE_PLUGINS")
    allowed = None if setting is None else {n.strip() for n in setting.split(",") if n.strip()}
    if allowed is not None and not allowed:
        return
    for point in metadata.entry_points(group=GROUP):
        record = PluginRecord(point.name, point.value)
        if point.dist is not None:
            record.distribution, record.version = point.dist.name, point.dist.version
        first = _RECORDS.get(point.name)
        if first is not None:
            if first.target != point.value:  # the same one is met twice where a path is listed twice
                record.status = f"ignored: the name is taken by {first.distribution or first.target}"
                _RECORDS[f"{point.name} of {record.distribution or point.value}"] = record
            continue
        _RECORDS[point.name] = record
        if allowed is not None and point.name not in allowed:
            record.status = "not selected by MXCORE_PLUGINS"
            continue
        try:
            plugin = point.load()
            unknown = [n for n in dir(plugin) if n.startswith("mxcore_") and not hasattr(hookspecs.HookSpecs, n)]
            pm.register(plugin, point.name)
        except (Exception, SystemExit):  # one broken plugin must not take the others down; the doctor shows it
            _failed(point.name)
            if pm.has_plugin(point.name):
                pm.unregister(name=point.name)
        else:
            if unknown:
                record.status = f"loaded; there are no hooks {', '.join(unknown)}"
    for name in sorted((allowed or set()) - set(_RECORDS)):
        _RECORDS[name] = PluginRecord(name, "-", status="not installed, but MXCORE_PLUGINS names it")


def _failed(name: str) -> None:
    """Record the exception that is being handled as the failure of a plugin."""
    record = _RECORDS.setdefault(name, PluginRecord(name, "-"))
    record.status, record.traceback = "failed", traceback.format_exc()


def _call(hook_name: str, *args: Any) -> Iterator[tuple[str, Any]]:
    """What each plugin's hook of a name gives; a plugin whose hook raises is recorded as failed, and passed over."""
    for name, plugin in manager().list_name_plugin():
        hook = getattr(plugin, hook_name, None)
        if hook is None:
            continue
        try:
            result = hook(*args)
        except (Exception, SystemExit):
            _failed(name)
            continue
        if result is not None:
            yield name, result


def add(plugin: Any, name: str) -> None:
    """Register a plugin by hand (tests, notebooks). Its operators and kernels are entered at once."""
    from .registry import kernels

    pm = manager()
    pm.register(plugin, name)
    _RECORDS[name] = PluginRecord(name, getattr(plugin, "__name__", repr(plugin)))
    _collect_operators(name, plugin)
    hook = getattr(plugin, "mxcore_kernels", None)
    if hook is not None:
        for backend in {b for b, _ in kernels._TABLE} | {i.name for i in backend_infos()}:
            kernels.add_kernels(backend, hook(backend) or {}, name)


def records() -> list[PluginRecord]:
    """What is installed, what loaded, and why something did not."""
    manager()
    return list(_RECORDS.values())


def descriptions() -> dict[str, str]:
    """What plugins say of themselves, by name (``mxcore_describe``)."""
    return {name: str(line) for name, line in _call("mxcore_describe")}


def backend_infos() -> list[hookspecs.BackendInfo]:
    """The backends that installed plugins announce."""
    found = []
    for name, info in _call("mxcore_backend_info"):
        if isinstance(info, hookspecs.BackendInfo):
            found.append(info)
        elif not _RECORDS[name].traceback:
            _RECORDS[name].status = "failed"
            _RECORDS[name].traceback = f"mxcore_backend_info() gave {info!r}, which is no mxcore.hookspecs.BackendInfo"
    return found


def make_backend(name: str) -> Any:
    """The backend of a name, by the plugin that announces it; None if no plugin does. What keeps it from working is raised."""
    for plugin_name, plugin in manager().list_name_plugin():
        hook = getattr(plugin, "mxcore_backend", None)
        if hook is None:
            continue
        try:
            backend = hook(name)
        except Exception:
            announce = getattr(plugin, "mxcore_backend_info", None)
            info = announce() if announce is not None else None
            if isinstance(info, hookspecs.BackendInfo) and info.name == name:
                raise
            _failed(plugin_name)  # it was not even asked for its own
            continue
        if backend is not None:
            return backend
    return None


def kernels_for(backend: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kernels that plugins have for a backend, by plugin."""
    return _call("mxcore_kernels", backend)


def graph_passes(stage: str) -> list[Any]:
    """The graph passes that plugins have for a stage (``"inference"`` or ``"training"``)."""
    return [change for _, change in _call("mxcore_graph_pass", stage)]


def load_operators() -> None:
    """Let plugins register their operators (once). One that fails is recorded, and leaves no operator behind."""
    global _OPERATORS_LOADED, _COLLECTING
    if _OPERATORS_LOADED:
        return
    with _LOCK:
        if _OPERATORS_LOADED or _COLLECTING or _LOADING is not None:
            return
        _COLLECTING = True
        for name, plugin in manager().list_name_plugin():
            _collect_operators(name, plugin)
        _OPERATORS_LOADED, _COLLECTING = True, False


def _collect_operators(name: str, plugin: Any) -> None:
    from .registry import OPS

    hook = getattr(plugin, "mxcore_operators", None)
    if hook is None:
        return
    before = dict(OPS)
    try:
        hook()
    except (Exception, SystemExit):
        OPS.clear()
        OPS.update(before)
        _failed(name)


def main() -> int:
    """Print what is installed, what loaded, and why something did not."""
    from .ops import load  # above this layer: only to see which plugins fail to enter their operators

    load()
    found = records()
    if not found:
        print("no plugins: none installed, or MXCORE_PLUGINS is empty")
    for r in found:
        print(f"{r.name:16} {r.status:10} {r.distribution} {r.version}  ({r.target})")
        if r.traceback:
            print("    " + r.traceback.rstrip().replace("\n", "\n    "))
    infos = backend_infos()
    print("\nbackends:")
    for info in sorted(infos, key=lambda i: i.name):
        kinds = ", ".join(f"{k} (priority {p})" for k, p in info.kinds.items())
        print(f"  {info.name:14} serves {kinds}")
    return 1 if any(r.traceback for r in found) else 0


if __name__ == "__main__":
    from mxcore import plugins  # the one that the rest of mxcore knows, not this second copy

    raise SystemExit(plugins.main())
