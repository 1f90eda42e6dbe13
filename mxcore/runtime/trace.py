"""Traces in the JSON format of Chrome's trace viewer, which Perfetto opens too.

The format is described in "Trace Event Format" (Google, 2016): complete events (``X``), asynchronous pairs (``b``,
``e``), counters (``C``), instants (``i``) and metadata (``M``), with times in microseconds.
"""

from __future__ import annotations

import datetime
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._version import __version__
from ..files.atomic import atomic_write

__all__ = ["Event", "write_trace"]

#: phase, name, category, place (a device, or the category), number of the thread, start and duration in ns, details: a
#: dict, and of a complete event ``(dict or None, inputs, results, scope)``, of arrays their (shape, dtype)
Event = tuple[str, str, str, str, int, int, int, Any]

_ORIGIN = time.perf_counter_ns()
_STARTED = datetime.datetime.now(datetime.UTC)


def _details(args: dict[str, Any] | None, inputs: Sequence[tuple], results: Sequence[tuple], scope: str) -> dict[str, Any]:
    found = dict(args or ())
    for prefix, arrays in (("", inputs), ("result_", results)):
        if arrays:
            found[f"{prefix}shapes"] = [shape for shape, _ in arrays]
            found[f"{prefix}dtypes"] = [dtype.name for _, dtype in arrays]
    if results:
        found["bytes"] = sum(math.prod(shape) * dtype.itemsize for shape, dtype in results)
    if scope:
        found["scope"] = scope
    return found


def _lines(events: Sequence[Event], threads: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    places: dict[str, int] = {}
    seen: dict[tuple[int, int], None] = {}
    for event in events:
        seen[places.setdefault(event[3], len(places)), event[4]] = None
    for place, pid in places.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": place}}
    for pid, tid in seen:
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": threads[tid]}}
    for phase, name, category, place, tid, start, length, args in sorted(events, key=lambda e: (e[5], -e[6])):
        one = {"ph": phase, "name": name, "cat": category, "pid": places[place], "tid": tid, "ts": (start - _ORIGIN) / 1000}
        if phase == "X":
            yield {**one, "dur": length / 1000, "args": _details(*args)}
        elif phase == "b":
            one["id"] = hex(args["id"])
            yield {**one, "args": {k: v for k, v in args.items() if k != "id"}}
            yield {**one, "ph": "e", "ts": (start + length - _ORIGIN) / 1000}
        elif phase == "C":
            yield {**one, "args": {name: args["value"]}}
        else:
            yield {**one, **args}


def write_trace(filename: str, events: Sequence[Event], threads: Mapping[int, str], memory: dict[str, dict[str, int]]) -> None:
    """Write a trace: a whole file, or none.

    Parameters
    ----------
    filename : str
    events : sequence of Event
    threads : mapping
        The names of the threads, by number.
    memory : dict
        What is known of each device's memory; kept under ``otherData``.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    other = {"version": f"mxcore {__version__}", "started": _STARTED.isoformat(), "memory": memory}
    with atomic_write(filename, "w") as file:
        file.write(f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(other)}, "traceEvents": [\n')
        for i, line in enumerate(_lines(events, threads)):
            file.write(("" if i == 0 else ",\n") + json.dumps(line))
        file.write("\n]}\n")
