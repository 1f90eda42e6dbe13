"""What the profiler records: spans, counters and marks of every thread, their sums, and the memory that results hold.

There is one recorder, :data:`PROFILE`; :mod:`mxcore.profiler` is its face. While it is off nothing of it is installed
anywhere: ``HOOKS`` of :mod:`mxcore.runtime.invoke` and of :mod:`mxcore.graph.gradient` are empty lists, and a list that
is empty is all that a call looks at. While it is on, every operator waits for its device before and after
(``backend.synchronize``), so that a backend that only queues work is timed by what it does; that makes such programs
slower, and their times true.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import MXNetError
from ..graph import gradient
from ..registry.op import Op
from . import invoke
from .steps import BoundStep, Copy, Step
from .trace import Event, write_trace

__all__ = ["BYTES", "COUNT", "PROFILE", "SCOPE", "TIME", "Profile", "Settings", "Stat"]

#: what is put before the names of operators in this thread, see :func:`mxcore.profiler.scope`
SCOPE: ContextVar[str] = ContextVar("profiler scope", default="")

#: kinds of statistics: nanoseconds; the values of a counter; bytes
TIME, COUNT, BYTES = "time", "count", "bytes"

STORAGE = "Device Storage"

_now = time.perf_counter_ns


def _nothing(results: Any = None) -> None:
    """What a span that is not recorded ends with."""


class _Threads(threading.local):
    """A small number for each thread that records; ``names[number]`` is what the thread is called."""

    names: ClassVar[dict[int, str]] = {}
    _numbers = itertools.count()

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.names[self.number] = threading.current_thread().name


_HERE = _Threads()


@dataclass
class Settings:
    """What to record and where to write it; the meaning of each is in :func:`mxcore.profiler.set_config`."""

    filename: str = "profile.json"
    profile_all: bool = False
    profile_symbolic: bool = True
    profile_imperative: bool = True
    profile_memory: bool = True
    profile_api: bool = True
    aggregate_stats: bool = False
    continuous_dump: bool = False
    dump_period: float = 1.0


class Stat:
    """Count, sum, extremes and last of a series of values."""

    __slots__ = ("count", "high", "last", "low", "total")

    def __init__(self) -> None:
        self.count = self.total = self.high = self.last = 0
        self.low: int | None = None

    def add(self, value: int) -> None:
        """One more value."""
        self.count += 1
        self.total += value
        self.last = value
        self.low = value if self.low is None else min(self.low, value)
        self.high = value if self.count == 1 else max(self.high, value)


class Profile:
    """The recorder. Its methods may be called from any thread.

    Attributes
    ----------
    active : bool
        Whether anything is recorded now: started, and not paused.
    settings : Settings
    """

    def __init__(self) -> None:
        self.active = False
        self.settings = Settings()
        self._running = self._paused = self._ran = self._exits = False
        self._lock, self._writing = threading.RLock(), threading.Lock()
        self._events: list[Event] = []
        #: (section, kind) -> name -> statistics
        self._sections: dict[tuple[str, str], dict[str, Stat]] = {}
        self._ids = itertools.count(1)
        self._devices: dict[str, Any] = {}
        # memory: what changed, entered by whoever notices and summed up when asked for, since arrays die at any time
        self._changes: deque[tuple[int, int, str, int, bool, bool]] = deque()
        self._alive: dict[int, weakref.ref] = {}
        self._held: dict[str, int] = {}
        self._peak: dict[str, int] = {}
        self._writer: threading.Event | None = None

    # ------------------------------------------------------------ state
    def start(self) -> None:
        """Record from now on; also ends a pause."""
        with self._lock:
            if not self._exits:
                self._exits = True
                atexit.register(self._at_exit)
            self._running, self._paused, self._ran = True, False, True
            self._switch()

    def stop(self) -> None:
        """Record no more. What was recorded stays."""
        with self._lock:
            self._running = self._paused = False
            self._switch()

    def pause(self, paused: bool) -> None:
        """Pause or go on; pauses do not nest. Nothing happens while the recorder is stopped."""
        with self._lock:
            self._paused = paused and self._running
            self._switch()

    def configure(self, settings: Settings) -> None:
        """Other settings, at once."""
        with self._lock:
            self.settings = settings
            self._switch()

    def _switch(self) -> None:
        """Install what the state asks for, or take it away."""
        self.active = self._running and not self._paused
        for hooks, hook in ((invoke.HOOKS, self._call), (gradient.HOOKS, self._backward)):
            if self.active and hook not in hooks:
                hooks.append(hook)
            elif not self.active and hook in hooks:
                hooks.remove(hook)
        if self._writer is not None:
            self._writer.set()
            self._writer = None
        if self._running and self.settings.continuous_dump:
            self._writer = threading.Event()
            threading.Thread(target=self._write_on, args=(self._writer, self.settings.dump_period), name="profiler",
                             daemon=True).start()

    # ------------------------------------------------------------ recording
    def span(self, name: str, category: str = "operator", args: dict[str, Any] | None = None, device: Any = None,
             inputs: Sequence[Any] | None = None) -> Callable[..., None]:
        """Start to time something; the function that is returned ends it.

        Parameters
        ----------
        name : str
            Of what is timed; the scope of the thread is put before it.
        category : str
            The section of the table it counts in.
        args : dict, optional
            What the trace shows beside it (values that JSON can hold).
        device : Device, optional
            Where it runs. The device is waited for at the start and at the end.
        inputs : sequence of arrays, optional
            Front-end or raw arrays, of which the trace shows shapes and types.

        Returns
        -------
        callable
            ``finish(results=None)``: an array or a sequence of arrays, whose shapes and bytes are recorded. A span that
            is not finished, or that finishes while the recorder is off, leaves nothing behind.

        Examples
        --------
        >>> from mxcore.runtime.profile import PROFILE
        >>> finish = PROFILE.span("load batch", "data")  # costs a function call while the profiler is off
        >>> finish()
        """
        if not self.active:
            return _nothing
        given = _kinds(_raws(inputs))
        scope = SCOPE.get()
        if device is None:
            place = category
        else:
            place = f"{device.ctx.device_type}/{device.index}"
            self._devices[place] = device
            device.backend.synchronize(device.index)
        start = _now()

        def finish(results: Any = None) -> None:
            if device is not None:
                device.backend.synchronize(device.index)
            end = _now()
            if not self.active:
                return
            raws = _raws(results)
            self._close("X", scope + name, category, place, start, end, (args, given, _kinds(raws), scope))
            if raws and device is not None and self.settings.profile_memory:
                if self.settings.aggregate_stats:
                    with self._lock:
                        self._stat(f"{category},memory", BYTES, scope + name).add(sum(r.size * r.dtype.itemsize for r in raws))
                for raw in raws:
                    self._hold(raw, device, place)

        return finish

    def duration(self, name: str, category: str, start: int, args: dict[str, Any] | None = None) -> None:
        """Record something of the user's that began at ``start`` (see :meth:`now`) and ends now; such may overlap."""
        if self.active:
            self._close("b", name, category, category, start, _now(), {"id": next(self._ids), **(args or {})})

    def counter(self, name: str, category: str, value: int) -> None:
        """Record what a counter of the user's has become."""
        if self.active:
            self._events.append(("C", name, category, category, _HERE.number, _now(), 0, {"value": value}))
            if self.settings.aggregate_stats:
                with self._lock:
                    self._stat(category, COUNT, name).add(value)

    def mark(self, name: str, category: str, scope: str) -> None:
        """Record an instant; ``scope`` is ``g``, ``p`` or ``t`` (all, the process, the thread)."""
        if self.active:
            self._events.append(("i", name, category, category, _HERE.number, _now(), 0, {"s": scope}))
            if self.settings.aggregate_stats:
                with self._lock:  # as in MXNet, a section without rows
                    self._sections.setdefault((category, TIME), {})

    @staticmethod
    def now() -> int:
        """The clock of the recorder, in nanoseconds."""
        return _now()

    def _close(self, phase: str, name: str, category: str, place: str, start: int, end: int, args: Any) -> None:
        self._events.append((phase, name, category, place, _HERE.number, start, end - start, args))
        if self.settings.aggregate_stats:
            with self._lock:
                self._stat(category, TIME, name).add(end - start)

    def _stat(self, section: str, kind: str, name: str) -> Stat:
        rows = self._sections.setdefault((section, kind), {})
        found = rows.get(name)
        if found is None:
            found = rows[name] = Stat()
        return found

    def _call(self, op: Any, device: Any, arrays: Sequence[Any]) -> Callable[..., None]:
        """In ``HOOKS`` of :mod:`mxcore.runtime.invoke`: an operator (eager), or a program's step."""
        if type(op) is Op:
            return self.span(op.name, "operator", None, device, arrays) if self.settings.profile_imperative else _nothing
        if not self.settings.profile_symbolic:
            return _nothing
        return self.span(_step_name(op), "operator", {"kernel": op.label, "node": op.node.name}, device, arrays)

    def _backward(self, node: Any, grads: Sequence[Any]) -> Callable[..., None]:
        """In ``HOOKS`` of :mod:`mxcore.graph.gradient`: the gradient rule of a recorded call."""
        if not self.settings.profile_imperative or node.saved is None or node.op.name == "_CachedOp":
            return _nothing  # the last is a program, whose steps are recorded one by one
        return self.span(f"_backward_{node.op.name.lstrip('_')}", "operator", None, node.saved[2], grads)

    # ------------------------------------------------------------ memory
    def _hold(self, raw: Any, device: Any, place: str) -> None:
        """``raw`` is a result: count the memory behind it, once, until it is freed."""
        owner = raw
        while isinstance(base := getattr(owner, "base", None), type(raw)):
            owner = base
        key, size = id(owner), owner.size * owner.dtype.itemsize
        if key in self._alive:
            return

        def gone(_: Any) -> None:
            self._alive.pop(key, None)
            self._changes.append((_now(), _HERE.number, place, -size, False, self.active))

        try:
            self._alive[key] = weakref.ref(owner, gone)
        except TypeError:  # arrays of a class that cannot be watched: what the device says of itself
            free, total = device.backend.memory_info(device.index)
            self._changes.append((_now(), _HERE.number, place, total - free, True, True))
        else:
            self._changes.append((_now(), _HERE.number, place, size, False, True))

    def _settle(self) -> None:
        """Sum up what changed in memory since the last time."""
        changes = []
        while self._changes:
            changes.append(self._changes.popleft())
        for when, thread, place, size, whole, seen in sorted(changes):
            held = self._held[place] = size if whole else self._held.get(place, 0) + size
            self._peak[place] = max(self._peak.get(place, 0), held)
            if seen:
                name = f"Memory: {place}"
                self._events.append(("C", name, STORAGE, place, thread, when, 0, {"value": held}))
                if self.settings.aggregate_stats:
                    self._stat(STORAGE, BYTES, name).add(held)

    def memory(self) -> dict[str, dict[str, int]]:
        """For each device that was used: bytes that results hold now and held at most, and what the device says is free."""
        with self._lock:
            self._settle()
            found = {}
            for place, device in self._devices.items():
                free, total = device.backend.memory_info(device.index)
                found[place] = {"held": self._held.get(place, 0), "peak": self._peak.get(place, 0), "free": free, "total": total}
            return found

    # ------------------------------------------------------------ results
    def sections(self, reset: bool = False) -> dict[tuple[str, str], dict[str, Stat]] | None:
        """The statistics by (section, kind) and name; None where none were asked for. ``reset``: they begin anew."""
        with self._lock:
            if not self.settings.aggregate_stats:
                return None
            self._settle()
            found = self._sections
            if reset:
                self._sections = {}
            else:
                found = {key: dict(rows) for key, rows in found.items()}
            return found

    def dump(self, finished: bool = True) -> None:
        """Write all that was recorded since the last finished dump to the file of the settings, as a whole.

        Parameters
        ----------
        finished : bool
            Stop, and forget what was written.

        Raises
        ------
        MXNetError
            Nothing was started since the last finished dump.
        OSError
            The file cannot be written; what was recorded is kept.
        """
        with self._writing:
            self._write(finished)

    def _write(self, finished: bool) -> None:
        with self._lock:
            if not self._ran:
                raise MXNetError("Profiler hasn't been run. Config and start profiler first")
            if finished:
                self.stop()
            memory = self.memory()
            events, filename = list(self._events), self.settings.filename
        write_trace(filename, events, _Threads.names, memory)
        if finished:
            with self._lock:
                del self._events[: len(events)]
                self._ran = self._running

    def _write_on(self, stopped: threading.Event, period: float) -> None:
        while not stopped.wait(period):
            with self._writing:
                if not stopped.is_set():
                    self._write(False)

    def _at_exit(self) -> None:
        if self._events:
            self.dump()

    def forked(self) -> None:
        """In a forked process: off, and nothing of the parent's records."""
        self.__init__()  # type: ignore[misc]
        for hooks in (invoke.HOOKS, gradient.HOOKS):
            hooks[:] = [h for h in hooks if getattr(h, "__self__", None) is not self]


def _step_name(step: Step) -> str:
    """The operator that a program's step computes; of several that run as one, all of them in brackets, as in MXNet."""
    if isinstance(step, BoundStep) and isinstance(step.bound, Copy):
        return "copy"
    inside = (step.node.text or {}).get("__fused__", "").split()
    name = step.node.op.name  # type: ignore[union-attr]
    if name != "_fused":
        inside.insert(0, name)
    return inside[0] if len(inside) == 1 else f"[{','.join(inside)}]"


def _raws(results: Any) -> list[Any]:
    """The raw arrays of an array or a sequence of arrays, of a front-end or raw; absent ones are left out."""
    if results is None:
        return []
    several = results if isinstance(results, (list, tuple)) else (results,)
    return [r._data if hasattr(r, "_entry") else r for r in several if r is not None]


def _kinds(raws: list[Any]) -> tuple:
    """Shapes and types; in tuples only, which the garbage collector need not look at again."""
    return tuple([(r.shape, r.dtype) for r in raws])


PROFILE = Profile()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROFILE.forked)
