"""Every hook of mxcore. A plugin is a module (or object) with functions of these names, marked with ``hookimpl``.

A distribution announces its plugin in its ``pyproject.toml``::

    [project.entry-points.mxcore]
    myname = "my_package.plugin"

The plugin module imports nothing heavy: it is imported when plugins are collected; CuPy, PyOpenCL, MPI and the like are
imported at the first use of what needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pluggy

__all__ = ["BackendInfo", "HookSpecs", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("mxcore")
hookimpl = pluggy.HookimplMarker("mxcore")


@dataclass(frozen=True)
class BackendInfo:
    """What a backend says of itself without importing its libraries.

    Attributes
    ----------
    name : str
        The backend's name: also a device kind of its own, so that ``mx.Context(name, 0)`` names it outright.
    kinds : dict of str to int
        Device kinds that it can serve, with its priority for each; the highest wins.
    describe : callable
        Says in a line what it is (versions), or raises what keeps it from working.
    """

    name: str
    kinds: dict[str, int] = field(default_factory=dict)
    describe: Callable[[], str] = str


class HookSpecs:
    """The hooks, in the order in which a program meets them."""

    @hookspec
    def mxcore_backend_info(self) -> BackendInfo | None:
        """Say which device kinds this plugin can serve. Called once, when the first array is made; must be cheap."""

    @hookspec(firstresult=True)
    def mxcore_backend(self, name: str) -> Any:
        """Make the backend called ``name`` (:class:`mxcore.runtime.backend.Backend`), or None if it is not yours.

        Called at the first use of a device that resolved to it; this is where heavy libraries are imported. An
        exception is shown to the user together with the install line.
        """

    @hookspec
    def mxcore_describe(self) -> str | None:
        """Say in a line what this plugin uses on this machine (a library and its version), or why it serves nothing here.

        For ``python -m mxcore.doctor``; a library that is not there is no failure.
        """

    @hookspec
    def mxcore_kernels(self, backend: str) -> dict[str, Any] | None:
        """Kernels for a backend, by operator: ``{"Convolution": "my_package.conv:forward"}``.

        Values are ``"module:function"`` strings, :class:`mxcore.registry.kernels.KernelEntry` for a priority or a
        predicate, or lists of these. A kernel has the signature of the operator's generic one:
        ``f(xp, *arrays, **attrs)``.
        """

    @hookspec
    def mxcore_operators(self) -> None:
        """Import the modules that register operators with :func:`mxcore.registry.register`.

        Called once, before the namespaces ``mx.nd`` and ``mx.sym`` are made, so that the operators appear there.
        """

    @hookspec
    def mxcore_graph_pass(self, stage: str) -> Any:
        """A graph pass for ``stage`` ("inference" or "training"): ``f(heads) -> heads`` over graph entries."""

    @hookspec(firstresult=True)
    def mxcore_lookup(self, kind: str, name: str) -> str | None:
        """Where an optimizer, initializer, metric or iterator called ``name`` is: ``"module:Class"``, or None."""
