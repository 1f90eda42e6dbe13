"""Plugins: found by entry point, loaded one by one, never fatal. ``python -m mxcore.plugins`` lists them.

Nothing here is on the path of a computation: plugins fill tables, which are read elsewhere.
"""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass
from typing import Any

import pluggy

from . import hookspecs
from .base import config

__all__ = ["GROUP", "PluginRecord", "add", "backend_infos", "load_operators", "main", "manager", "records"]

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


def manager() -> pluggy.PluginManager:
    """The plugin manager, with all plugins that could be loaded."""
    global _MANAGER
    if _MANAGER is None:
        with _LOCK:
            if _MANAGER is None:
                found = pluggy.PluginManager("mxcore")
                found.add_hookspecs(hookspecs.HookSpecs)
                _load_entry_points(found)
                _MANAGER = found
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
        if point.name in _RECORDS:
            continue
        _RECORDS[point.name] = record
        if allowed is not None and point.name not in allowed:
            record.status = "not selected by MXCORE_PLUGINS"
            continue
        try:
            pm.register(point.load(), point.name)
        except Exception:  # one broken plugin must not take the others down; the doctor shows it
            record.status, record.traceback = "failed", traceback.format_exc()


def add(plugin: Any, name: str) -> None:
    """Register a plugin by hand (tests, notebooks). Its operators and kernels are entered at once."""
    from .registry import kernels

    pm = manager()
    pm.register(plugin, name)
    _RECORDS[name] = PluginRecord(name, getattr(plugin, "__name__", repr(plugin)))
    _collect_operators(name, plugin)
    for backend in {b for b, _ in kernels._TABLE} | {i.name for i in backend_infos()}:
        hook = getattr(plugin, "mxcore_kernels", None)
        if hook is not None:
            kernels.add_kernels(backend, hook(backend) or {}, name)


def records() -> list[PluginRecord]:
    """What is installed, what loaded, and why something did not."""
    manager()
    return list(_RECORDS.values())


def backend_infos() -> list[hookspecs.BackendInfo]:
    """The backends that installed plugins announce."""
    return [i for i in manager().hook.mxcore_backend_info() if i is not None]


def load_operators() -> None:
    """Let plugins register their operators (once). One that fails is recorded, and leaves no operator behind."""
    global _OPERATORS_LOADED
    if _OPERATORS_LOADED:
        return
    with _LOCK:
        if not _OPERATORS_LOADED:
            _OPERATORS_LOADED = True
            for name, plugin in manager().list_name_plugin():
                _collect_operators(name, plugin)


def _collect_operators(name: str, plugin: Any) -> None:
    from .registry import OPS

    hook = getattr(plugin, "mxcore_operators", None)
    if hook is None:
        return
    before = dict(OPS)
    try:
        hook()
    except Exception:
        OPS.clear()
        OPS.update(before)
        record = _RECORDS.setdefault(name, PluginRecord(name, repr(plugin)))
        record.status, record.traceback = "failed", traceback.format_exc()


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
