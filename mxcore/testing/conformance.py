"""The kit that judges a backend: ``python -m mxcore.testing.conformance --kind gpu``.

Its author runs every operator's samples through every check; the checks of memory, of copies between all devices that are
installed, of errors, threads, random numbers and of the functions of ``xp`` (``device:``); networks that are trained beside
the CPU (``training:``); and a thousand steps of training that must leave nothing behind (``leak:``). What a backend cannot do
yet stands in a file of its own, one pattern of case names a line, each with a reason::

    # no float64 in this device's math library
    erfinv-*:second    # erfinv is single precision only
    device:transfer_dlpack    # the driver cannot export memory

The file is strict: a case in it that passes is a failure, and so is a pattern that fits no case. A check that cannot tell
(memory, where neither the backend nor Python knows how much is in use) raises ``unittest.SkipTest`` and is listed with the
reason, neither passed nor failed. From pytest::

    @pytest.mark.parametrize("case", conformance.cases("gpu"), ids=str)
    def test_backend(case):
        case.run()
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from unittest import SkipTest

from ..context import Context
from ..errors import ArgumentError, FileFormatError
from ..runtime.fallback import fallbacks, routed
from . import loopback, sampling
from .checks import CHECKS, PORTABLE
from .device_checks import device_checks
from .leak_checks import leak_checks
from .training_checks import training_checks

__all__ = ["Case", "Report", "cases", "main", "read_xfails", "run"]


@dataclass(frozen=True)
class Case:
    """One check of one sample, or of the device."""

    name: str
    check: Callable[[], None]

    def __str__(self) -> str:
        return self.name

    def run(self) -> None:
        """Raises whatever is wrong, and ``unittest.SkipTest`` (a skip for pytest too) where nobody can tell."""
        with warnings.catch_warnings():  # overflow and nan are values to operators
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"mxcore")
            self.check()


@dataclass
class Report:
    """What came of a run; true if nothing is wrong.

    Attributes
    ----------
    passed : int
    failed : dict of case name to what went wrong
    expected : dict of case name to the reason why it was expected to fail
    skipped : dict of case name to why nobody can tell
    fixed : list of names of cases that were expected to fail and passed
    idle : list of patterns in the file that fit no case
    """

    kind: str
    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    fixed: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not (self.failed or self.fixed or self.idle)

    def __str__(self) -> str:
        lines = [f"FAILED {name}: {text}" for name, text in self.failed.items()]
        lines += [f"PASSED, but is expected to fail: {name}; take it out of the file" for name in self.fixed]
        lines += [f"NO CASE fits the pattern {pattern!r}; take it out of the file" for pattern in self.idle]
        lines += [f"SKIPPED {name}: {reason}" for name, reason in self.skipped.items()]
        lines.append(f"{self.kind}: {self.passed} passed, {len(self.failed)} failed, {len(self.expected)} failed as expected, "
                     f"{len(self.fixed)} passed unexpectedly, {len(self.skipped)} skipped, in {self.seconds:.1f} s")
        return "\n".join(lines)


def cases(kind: str, device_id: int = 0) -> list[Case]:
    """All cases for a device.

    Their names are ``"device:<check>"``, ``"training:<network>-<mode>-<optimizer>"``, ``"leak:<what>-<mode>"`` and
    ``"<operator>-<sample>:<check>"``. The loopback backend is installed, so that there are always devices of another kind.

    Parameters
    ----------
    kind : str
        As in :class:`mxcore.Context`: ``"cpu"``, ``"gpu"``, or the name of a backend.
    device_id : int
    """
    loopback.install()
    ctx = Context(kind, device_id)
    found = [Case(f"{part}:{name}", partial(f, ctx))
             for part, checks in (("device", device_checks()), ("training", training_checks()), ("leak", leak_checks()))
             for name, f in checks.items()]
    for s in sampling.load():
        found += [Case(f"{s.id}:{name}", partial(CHECKS[name], s, ctx)) for name in PORTABLE]
    return found


def read_xfails(path: str | Path) -> dict[str, str]:
    """Patterns of case names that are expected to fail, with their reasons.

    Raises
    ------
    FileFormatError
        A line has no reason.
    """
    found = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        pattern, mark, reason = (part.strip() for part in line.partition("#"))
        if not pattern:
            continue
        if not mark or not reason:
            raise FileFormatError(f"{path}, line {number}: {pattern!r} has no reason: write '{pattern}  # why it fails'")
        found[pattern] = reason
    return found


def run(kind: str, xfails: str | Path | None = None, *, only: str = "", device_id: int = 0,
        progress: Callable[[str], None] | None = None, told: Callable[[str, str], None] | None = None) -> Report:
    """Run the kit.

    Parameters
    ----------
    kind : str
        The device kind to judge.
    xfails : path, optional
        The file of expected failures; see :func:`read_xfails`.
    only : str
        A regular expression: cases whose names it is found in.
    device_id : int
    progress : function, optional
        Called with the name of each case before it runs.
    told : function, optional
        Called with the name of a case that fails, and why, as it fails.

    Examples
    --------
    >>> from mxcore.testing import conformance
    >>> bool(conformance.run("loopback", only="^(device:xp_add|exp-0:)"))
    True
    """
    try:
        chosen = [c for c in cases(kind, device_id) if re.search(only, c.name)]
    except re.error as error:
        raise ArgumentError(f"only={only!r} is no regular expression: {error}") from error
    patterns = read_xfails(xfails) if xfails is not None else {}
    report = Report(kind)
    start = time.perf_counter()
    used: set[str] = set()
    for case in chosen:
        if progress is not None:
            progress(case.name)
        fitting = [p for p in patterns if fnmatchcase(case.name, p)]
        used.update(fitting)
        try:
            case.run()
        except SkipTest as reason:
            report.skipped[case.name] = str(reason)
        except Exception as error:
            if fitting:
                report.expected[case.name] = patterns[fitting[0]]
            else:
                report.failed[case.name] = _short(error)
                if told is not None:
                    told(case.name, report.failed[case.name])
        else:
            if fitting:
                report.fixed.append(case.name)
            else:
                report.passed += 1
    if not only:
        report.idle = [p for p in patterns if p not in used]
    report.seconds = time.perf_counter() - start
    return report


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' | '.join(lines[:4])}"[:400]


def main(argv: Iterable[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mxcore.testing.conformance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kind", default="loopback", help="device kind or backend name to judge (default: loopback)")
    parser.add_argument("--device", type=int, default=0, help="number of the device")
    parser.add_argument("--xfails", metavar="FILE", help="cases that are expected to fail, each with a reason")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose names this is found in")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("--verbose", action="store_true", help="print each case before it runs")
    options = parser.parse_args(None if argv is None else list(argv))
    if options.list:
        print("\n".join(c.name for c in cases(options.kind, options.device) if re.search(options.only, c.name)))
        return 0
    report = run(options.kind, options.xfails, only=options.only, device_id=options.device,
                 progress=(lambda name: print(name, flush=True)) if options.verbose else None,
                 told=lambda name, reason: print(f"fails: {name}: {reason}", file=sys.stderr, flush=True))
    print(report)
    for told, counts in (("because there is no kernel", fallbacks()), ("by choice", routed())):
        if counts:
            listed = ", ".join(f"{function} {count}" for (_, function), count in sorted(counts.items()))
            print(f"computed on the host {told}, with how many calls: {listed}")
    return 0 if report else 1


if __name__ == "__main__":
    sys.exit(main())
