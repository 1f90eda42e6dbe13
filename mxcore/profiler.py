"""``mx.profiler``: how long operators take and what memory their results hold; tables, and traces for Perfetto.

Three things come out: a table of statistics (:func:`dumps`), a trace (:func:`dump`, a file that
https://ui.perfetto.dev and ``chrome://tracing`` open), and what a program itself adds to both (:class:`Task`,
:class:`Frame`, :class:`Event`, :class:`Counter`, :class:`Marker`, :func:`scope`).

While the profiler runs, each operator waits for its device before and after, so times are those of the work and not of
handing it over. While it is stopped or paused it costs nothing.

Steps of hybridized networks and bound symbols appear under the operators that they compute, several that run as one in
brackets; gradients of recorded calls as ``_backward_`` and the operator's name. Times are inclusive: a gradient that is
computed through other operators contains theirs.

Examples
--------
>>> import os, tempfile
>>> file = os.path.join(tempfile.mkdtemp(), "profile.json")
>>> profiler = mx.profiler
>>> profiler.set_config(profile_all=True, aggregate_stats=True, filename=file)
>>> profiler.set_state("run")
>>> x = nd.ones((64, 64))
>>> with profiler.scope("first:"):
...     y = nd.dot(x, x)
>>> profiler.set_state("stop")
>>> "first:dot" in profiler.dumps(reset=True)
True
>>> profiler.dump()
>>> os.path.exists(file)
True

Notes
-----
Where MXNet 1.9's figures mislead, these do not follow: the average of a counter and of the memory in use is the mean of
its values (MXNet prints half of the range), counters may be negative, a span that is stopped without having been
started is not recorded, and every file that is written is a whole JSON document (MXNet's is one after the last dump only).
``continuous_dump`` is off unless it is asked for. There is no C API, so ``profile_api`` adds nothing.
"""

from __future__ import annotations

import contextlib
import json
import threading
import warnings
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from .errors import ArgumentError, MXNetError
from .runtime.profile import BYTES, COUNT, PROFILE, SCOPE, Settings, Stat

__all__ = ["Counter", "Domain", "Event", "Frame", "Marker", "ProfilerError", "Task", "dump", "dump_profile", "dumps", "pause",
           "profiler_set_config", "profiler_set_state", "resume", "scope", "set_config", "set_kvstore_handle", "set_state",
           "start", "stop"]

profiler_kvstore_handle: Any = None


class ProfilerError(ArgumentError, AssertionError, KeyError):
    """The profiler was asked for something that it does not know; also what MXNet raises for it."""

    __str__ = Exception.__str__


# ---------------------------------------------------------------- configuration and state
_BOOLS = {"1": True, "true": True, "0": False, "false": False}


def set_config(**kwargs: Any) -> None:
    """Choose what is recorded, and where it is written. What is not given has its default again.

    Parameters
    ----------
    filename : str
        File of the trace, default ``profile.json``.
    profile_all : bool
        Everything, whatever the following four say; default False.
    profile_symbolic : bool
        Steps of hybridized networks and bound symbols; default True.
    profile_imperative : bool
        Operators that are called one by one, and their gradients; default True.
    profile_memory : bool
        Bytes of results, and what all results that are alive hold on each device; default True.
    profile_api : bool
        Accepted; there is no C API to record.
    continuous_dump : bool
        Write the trace so far every ``dump_period`` seconds, each time as a whole; default False.
    dump_period : float
        In seconds, default 1.
    aggregate_stats : bool
        Keep the statistics that :func:`dumps` prints; default False.
    profile_process : {"worker", "server"}
        Servers exist in distributed training only.

    Raises
    ------
    ArgumentError
        An unknown name, or a value that cannot be read.

    Examples
    --------
    >>> mx.profiler.set_config(profile_all=True, aggregate_stats=True, filename="trace.json")
    >>> mx.profiler.set_config(agregate_stats=True)
    Traceback (most recent call last):
    mxcore.profiler.ProfilerError: Cannot find argument 'agregate_stats', ...
    """
    _worker(kwargs.pop("profile_process", "worker"))
    known = {f.name: type(f.default) for f in fields(Settings)}
    chosen: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name not in known:
            raise ProfilerError(f"Cannot find argument {name!r}, possible arguments: {', '.join([*known, 'profile_process'])}")
        if known[name] is bool:
            chosen[name] = _BOOLS.get(str(value).lower())
            if chosen[name] is None:
                raise ProfilerError(f"Invalid Parameter format for {name} expect boolean but value={value!r}")
        elif known[name] is float:
            try:
                chosen[name] = float(value)
            except (TypeError, ValueError):
                raise ProfilerError(f"Invalid Parameter format for {name} expect float but value={value!r}") from None
        else:
            chosen[name] = str(value)
    settings = Settings(**chosen)
    if settings.dump_period <= 0:
        raise ProfilerError(f"dump_period must be greater than 0, got {settings.dump_period}")
    if settings.profile_all:
        settings.profile_symbolic = settings.profile_imperative = settings.profile_memory = settings.profile_api = True
    PROFILE.configure(settings)


def _worker(profile_process: Any) -> None:
    if profile_process == "server":
        raise MXNetError("profile_process='server' profiles the servers of a distributed kvstore, and there are none; "
                         "each process profiles itself with profile_process='worker'")
    if profile_process != "worker":
        raise ProfilerError(f"profile_process must be 'worker' or 'server', got {profile_process!r}")


def set_state(state: str = "stop", profile_process: str = "worker") -> None:
    """Let the profiler ``run``, or ``stop``; a run also ends a pause.

    Raises
    ------
    ArgumentError
        Another state.

    Examples
    --------
    >>> mx.profiler.set_state("run")
    >>> mx.profiler.set_state("stop")
    """
    _worker(profile_process)
    if state not in ("run", "stop"):
        raise ProfilerError(f"state must be 'run' or 'stop', got {state!r}")
    if state == "run":
        PROFILE.start()
    else:
        PROFILE.stop()


def start(profile_process: str = "worker") -> None:
    """The same as ``set_state("run")``."""
    set_state("run", profile_process)


def stop(profile_process: str = "worker") -> None:
    """The same as ``set_state("stop")``."""
    set_state("stop", profile_process)


def pause(profile_process: str = "worker") -> None:
    """Record nothing until :func:`resume`. Pauses do not nest, and are nothing to a profiler that is stopped."""
    _worker(profile_process)
    PROFILE.pause(True)


def resume(profile_process: str = "worker") -> None:
    """Go on after :func:`pause`."""
    _worker(profile_process)
    PROFILE.pause(False)


@contextlib.contextmanager
def scope(name: str = "<unk>:", append_mode: bool = True) -> Iterator[str]:
    """Put a name before those of all operators called by this thread inside a ``with`` block.

    Parameters
    ----------
    name : str
        A colon is added where it does not end with one; the default stands for no name.
    append_mode : bool
        Inside other scopes: put their names before this one.

    Yields
    ------
    str
        The whole prefix.

    Examples
    --------
    >>> with mx.profiler.scope("encoder"), mx.profiler.scope("attention:") as prefix:
    ...     print(prefix)
    encoder:attention:
    """
    outer = SCOPE.get() if append_mode else ""
    token = SCOPE.set(outer + ("" if name == "<unk>:" else name.removesuffix(":") + ":"))
    try:
        yield SCOPE.get()
    finally:
        SCOPE.reset(token)


def set_kvstore_handle(handle: Any) -> None:
    """Kept for programs that call it: remember the kvstore whose servers would be profiled."""
    global profiler_kvstore_handle
    profiler_kvstore_handle = handle


# ---------------------------------------------------------------- results
def dump(finished: bool = True, profile_process: str = "worker") -> None:
    """Write the trace to the file that :func:`set_config` named: as a whole, replacing what was there in one step.

    Parameters
    ----------
    finished : bool
        Stop the profiler, and begin anew with the next run. Otherwise recording goes on, and the next dump holds all of
        this one too.

    Raises
    ------
    MXNetError
        The profiler was not run since the last finished dump.
    OSError
        The file cannot be written.
    """
    _worker(profile_process)
    PROFILE.dump(bool(finished))


_SORTS = {"total": "Total", "avg": "Avg", "min": "Min", "max": "Max", "count": "Count"}


def dumps(reset: bool = False, format: str = "table", sort_by: str = "total", ascending: bool = False) -> str:
    """The statistics as text.

    Parameters
    ----------
    reset : bool
        Begin anew.
    format : {"table", "json"}
    sort_by : {"total", "avg", "min", "max", "count"}
        By which column rows stand in their section.
    ascending : bool

    Returns
    -------
    str
        A section for each category (``operator``, the domains of the program), in milliseconds, and for memory in
        units of 1000 bytes: ``Device Storage`` has what the results alive held, sampled whenever that changed, and
        ``operator,memory`` the sizes of an operator's results. Counters stand among the times, in thousandths, with
        their last value as the total. As JSON: ``{"Time": {section: {name: {"Count", "Total", "Min", "Max", "Avg"}}},
        "Memory": ..., "Unit": ...}``. Empty without ``aggregate_stats``.

    Raises
    ------
    AssertionError
        An argument has another value than these.

    Examples
    --------
    >>> mx.profiler.set_config(aggregate_stats=True)
    >>> mx.profiler.dumps(reset=True).split()[:2]
    ['Profile', 'Statistics:']
    """
    for name, value, allowed in (("format", format, ("table", "json")), ("sort_by", sort_by, tuple(_SORTS)),
                                 ("ascending", ascending, (False, True)), ("reset", reset, (False, True))):
        if value not in allowed:
            raise ProfilerError(f"Invalid value provided for {name}: {value}. Support: {', '.join(map(repr, allowed))}")
    found = PROFILE.sections(bool(reset))
    if found is None:
        return ""
    sections: dict[tuple[str, bool], list[tuple[str, dict[str, float]]]] = {}
    for (section, kind), stats in found.items():
        rows = sections.setdefault((section, kind == BYTES), [])
        rows += [(name, _figures(stat, kind)) for name, stat in stats.items()]
    for (_, memory), rows in sections.items():
        key = "Max" if memory and sort_by == "total" else _SORTS[sort_by]
        rows.sort(key=lambda row: row[1][key], reverse=not ascending)
    ordered = sorted(sections.items())
    if format == "table":
        return "\nProfile Statistics:\n\tNote the difference in units for different entries.\n" + "".join(
            _table(section, memory, rows) for (section, memory), rows in ordered)
    times, bytes_ = ({section: dict(rows) for (section, memory), rows in ordered if memory is wanted}
                     for wanted in (False, True))
    return json.dumps({"Time": times, "Memory": bytes_, "Unit": {"Time": "ms", "Memory": "kB"}}, indent=4) + "\n"


def _figures(stat: Stat, kind: str) -> dict[str, float]:
    """A row: milliseconds, thousandths of a counter's values, or thousands of bytes."""
    unit = 1e3 if kind in (COUNT, BYTES) else 1e6
    row: dict[str, float] = {"Count": stat.count}
    if kind != BYTES:
        row["Total"] = round((stat.last if kind == COUNT else stat.total) / unit, 6)
    return row | {"Min": round((stat.low or 0) / unit, 6), "Max": round(stat.high / unit, 6),
                  "Avg": round(stat.total / stat.count / unit, 6)}


def _table(section: str, memory: bool, rows: list[tuple[str, dict[str, float]]]) -> str:
    heads = ["Total Count", *(["Time (ms)"] if not memory else ()),
             *(f"{name} Use  (kB)" if memory else f"{name} Time (ms)" for name in ("Min", "Max", "Avg"))]
    lines = [section, "=================", f"{'Name':<25}{_columns(heads)}",
             f"{'----':<25}{_columns(['-' * len(h) for h in heads])}"]
    for name, row in rows:
        lines.append(f"{name:<25}{_columns([str(row['Count']), *(f'{row[k]:.4f}' for k in row if k != 'Count')])}")
    return "\n".join(lines) + "\n\n"


def _columns(texts: list[str]) -> str:
    return " ".join(f"{text:>16}" for text in texts)


# ---------------------------------------------------------------- what programs record themselves
def _named(what: str, name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentError(f"the name of a {what} must be a str, got {type(name).__name__}")
    return name


class Domain:
    """A group of tasks, frames, counters and markers: a section of the table, a process of the trace.

    Examples
    --------
    >>> domain = mx.profiler.Domain("input pipeline")
    >>> with domain.new_task("decode"):
    ...     pass
    """

    def __init__(self, name: str) -> None:
        self.name = _named("domain", name)

    def __str__(self) -> str:
        return self.name

    def new_task(self, name: str) -> Task:
        """A :class:`Task` of this domain."""
        return Task(self, name)

    def new_frame(self, name: str) -> Frame:
        """A :class:`Frame` of this domain."""
        return Frame(self, name)

    def new_counter(self, name: str, value: int | None = None) -> Counter:
        """A :class:`Counter` of this domain."""
        return Counter(self, name, value)

    def new_marker(self, name: str) -> Marker:
        """A :class:`Marker` of this domain."""
        return Marker(self, name)


def _domain(domain: Any) -> Domain:
    if not isinstance(domain, Domain):
        raise ArgumentError(f"a profiler.Domain is needed, got {type(domain).__name__}")
    return domain


class _Duration:
    """Something with a beginning and an end; also a context manager."""

    def __init__(self, name: str, category: str) -> None:
        self.name = _named(type(self).__name__.lower(), name)
        self._category = category
        self._start: int | None = None

    def start(self) -> None:
        """Begin; again: begin anew."""
        self._start = PROFILE.now()

    def stop(self) -> None:
        """End, and record it if the profiler runs and :meth:`start` was called before."""
        if self._start is not None:
            PROFILE.duration(self.name, self._category, self._start, self._details())
            self._start = None

    def _details(self) -> dict[str, Any]:
        return {}

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __str__(self) -> str:
        return self.name


class Task(_Duration):
    """A piece of work of one kind, timed each time it is done; tasks may nest and overlap.

    Parameters
    ----------
    domain : Domain
    name : str

    Examples
    --------
    >>> task = mx.profiler.Task(mx.profiler.Domain("training"), "validate")
    >>> task.start()
    >>> task.stop()
    """

    def __init__(self, domain: Domain, name: str) -> None:
        super().__init__(name, _domain(domain).name)


class Frame(_Duration):
    """One of a sequence of periods, such as training steps; the trace numbers them.

    Parameters
    ----------
    domain : Domain
    name : str

    Examples
    --------
    >>> step = mx.profiler.Domain("training").new_frame("step")
    >>> for batch in range(3):
    ...     with step:
    ...         pass
    """

    def __init__(self, domain: Domain, name: str) -> None:
        super().__init__(name, f"{_domain(domain).name},frame")
        self._count = 0

    def _details(self) -> dict[str, Any]:
        self._count += 1
        return {"frame": self._count}


class Event(_Duration):
    """A period of the program, in no domain.

    Examples
    --------
    >>> with mx.profiler.Event("warm up"):
    ...     pass
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "event")


class Counter:
    """A number that changes over time.

    Parameters
    ----------
    domain : Domain
    name : str
    value : int, optional
        What it begins with; 0 without a record of it.

    Examples
    --------
    >>> images = mx.profiler.Domain("input pipeline").new_counter("images", 0)
    >>> images += 32
    >>> images.decrement()
    """

    def __init__(self, domain: Domain, name: str, value: int | None = None) -> None:
        self.name = _named("counter", name)
        self._category = _domain(domain).name
        self._value = 0
        self._lock = threading.Lock()
        if value is not None:
            self.set_value(value)

    def _set(self, value: Any, keep: int) -> None:
        try:
            change = int(value)
        except (TypeError, ValueError):
            raise ArgumentError(f"a counter counts in integers, got {value!r}") from None
        with self._lock:
            self._value = keep * self._value + change
            PROFILE.counter(self.name, self._category, self._value)

    def set_value(self, value: int) -> None:
        """Make it ``value``."""
        self._set(value, 0)

    def increment(self, delta: int = 1) -> None:
        """Add ``delta``."""
        self._set(delta, 1)

    def decrement(self, delta: int = 1) -> None:
        """Subtract ``delta``."""
        self._set(-delta, 1)

    def __iadd__(self, delta: int) -> Counter:
        self.increment(delta)
        return self

    def __isub__(self, delta: int) -> Counter:
        self.decrement(delta)
        return self

    def __str__(self) -> str:
        return self.name


_MARKS = {"global": "g", "process": "p", "thread": "t", "task": "p", "marker": "p"}


class Marker:
    """An instant in time.

    Parameters
    ----------
    domain : Domain
    name : str

    Examples
    --------
    >>> mx.profiler.Domain("training").new_marker("learning rate changed").mark()
    """

    def __init__(self, domain: Domain, name: str) -> None:
        self.name = _named("marker", name)
        self.domain = _domain(domain)

    def mark(self, scope: str = "process") -> None:
        """Record the present instant.

        Parameters
        ----------
        scope : {"global", "process", "thread", "task", "marker"}
            How far across the trace it is drawn.

        Raises
        ------
        ArgumentError
            Another scope.
        """
        if scope not in _MARKS:
            raise ProfilerError(f"scope must be one of {', '.join(map(repr, _MARKS))}, got {scope!r}")
        PROFILE.mark(self.name, f"{self.domain.name},instant_marker", _MARKS[scope])


# ---------------------------------------------------------------- names of before
def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"profiler.{old}() is deprecated. Please use profiler.{new}() instead", stacklevel=3)


def profiler_set_config(mode: str = "symbolic", filename: str = "profile.json") -> None:
    """Deprecated: :func:`set_config` with ``profile_<mode>=True``."""
    _deprecated("profiler_set_config", "set_config")
    set_config(**{f"profile_{mode}": True, "filename": filename})


def profiler_set_state(state: str = "stop") -> None:
    """Deprecated: :func:`set_state`."""
    _deprecated("profiler_set_state", "set_state")
    set_state(state)


def dump_profile() -> None:
    """Deprecated: :func:`dump`."""
    _deprecated("dump_profile", "dump")
    dump(True)
