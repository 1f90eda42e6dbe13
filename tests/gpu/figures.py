#!/usr/bin/env python3
"""Speed and memory of mxcore beside PyTorch, in the same process and by turns: tables ready for docs/performance.md.

    python3 dev.py gpu --here figures [--minutes 8] [--only resnet50,small] [--json FILE] [--ctx cuda] [--tiny]

Each job is a process of its own, since TensorFloat-32 is chosen when a device is opened and an error of CUDA ends a process.
What is measured is printed at once, and again as tables at the end. Where time runs out, jobs are left out, the least important
first. ``--tiny`` takes small shapes, to see that everything runs; then its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: a job is not begun with less time than this
LEAST_SECONDS = 15.0
#: rounds of a job end after so many; the job itself is ended after twice as many and the time of a start
JOB_SECONDS, START_SECONDS = 45.0, 60.0
#: (what, precision), the most important first
JOBS = (
    ("small", "float32"), ("lenet", "float32"), ("resnet50", "tf32"), ("transformer", "tf32"), ("resnet50", "bfloat16"),
    ("transformer", "bfloat16"), ("resnet50", "float32"), ("transformer", "float32"), ("bandwidth", "float32"),
    ("products", "float32"), ("products", "tf32"), ("lstm", "float32"), ("resnet50", "float16"), ("transformer", "float16"),
    ("lstm", "tf32"))
#: what: (title, unit, whether the ratio is that of mxcore's figure to PyTorch's, what it should be)
TABLES: dict[str, tuple[str, str, bool, str]] = {
    "resnet50": ("ResNet-50 v1, training step, batch 64, 224x224, SGD with momentum", "ms", False, "at least 1"),
    "transformer": ("Transformer encoder, 12 layers, width 768, 128 words, batch 32, training step, Adam", "ms", False, "at least 1"),
    "lenet": ("LeNet, training step, batch 64, SGD with momentum", "ms", False, "captured: at least 3"),
    "lstm": ("LSTM language model (2 layers of 200, 35 words, batch 32), training step", "ms", False, "no bar"),
    "small": ("Calls on 4x4 arrays", "us", True, "at most 1.5"),
    "bandwidth": ("Large arrays, what has to be read and written at least", "GB/s", True, "no bar"),
    "products": ("Products of matrices", "TF/s", True, "no bar")}


# --------------------------------------------------------------------------------------------------------- one process
def work(options: argparse.Namespace) -> int:
    """Do one job; each entry is a line of the file."""
    from bench import Bench

    what, precision = options.job.split(":")
    with open(options.out, "w", encoding="utf-8", buffering=1) as out:
        bench = Bench(options.ctx, options.tiny, precision == "tf32", options.seconds)
        from jobs import perform  # mxcore is imported with it, and may be only after the above

        print(json.dumps({"about": bench.about()}), file=out)
        for entry in perform(bench, what, precision):
            print(json.dumps(entry), file=out)
        counts = bench.mx.runtime.fallbacks()
        if counts:
            print(json.dumps({"remark": f"{options.job}: computed on the host: "
                              + ", ".join(f"{name} {count}" for (_, name), count in sorted(counts.items()))}), file=out)
    return 0


# ------------------------------------------------------------------------------------------------------- all processes
def run(job: str, options: argparse.Namespace, seconds: float) -> Iterator[dict[str, Any]]:
    """The entries of a job, and a remark where it failed."""
    precision = job.split(":")[1]
    env = {"MXCORE_FALLBACK": "allow", **os.environ, "MXCORE_CUDA_TF32": "1" if precision == "tf32" else "0",
           "PYTHONFAULTHANDLER": "1"}
    limit = min(seconds, 2 * JOB_SECONDS + START_SECONDS)
    failure = ""
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder, "out"), Path(folder, "log")
        command = [sys.executable, __file__, "--job", job, "--out", str(out), "--seconds", f"{min(seconds / 2, JOB_SECONDS):.0f}",
                   "--ctx", options.ctx, *["--tiny"] * options.tiny]
        with log.open("w") as messages, subprocess.Popen(command, env=env, stdout=messages, stderr=subprocess.STDOUT) as process:
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                failure = f"was ended after {limit:.0f} s"
                process.send_signal(signal.SIGABRT)  # it says where it was
                time.sleep(1)
                process.kill()
            else:
                failure = f"failed with status {status}" if status else ""
        if out.exists():
            yield from (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
        if failure:
            last = [line[:200] for line in log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-20:]]
            yield {"remark": f"{job} {failure}", "failed": True, "log": last}


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def cell(found: dict[str, Any], unit: str) -> str:
    """Median, and in parentheses the best and, of times, until all was issued."""
    if found["error"] or "median" not in found:
        return "failed"
    more = ("best",) if "/" in unit else ("best", "host")
    return f"{number(found['median'])} ({'; '.join(number(found[name]) for name in more)})"


def ratio(row: dict[str, Any]) -> float | None:
    """PyTorch's time over mxcore's best, or as the table has it; of medians."""
    _, unit, ours_first, _ = TABLES[row["what"]]
    medians = {name: c["median"] for name, c in row["cells"].items() if "median" in c and not c["error"]}
    mine = [m for name, m in medians.items() if name.startswith("mxcore")]
    if not mine or "PyTorch" not in medians:
        return None
    best = max(mine) if "/" in unit else min(mine)
    return best / medians["PyTorch"] if ours_first else medians["PyTorch"] / best


def memory(found: dict[str, Any]) -> str:
    """Gibibytes: taken from the driver, and in parentheses held by the allocator, and arrays at most."""
    if not found["memory"]:
        return "-"
    driver, *others = (f"{found['memory'][k] / 2**30:.2f}" for k in ("driver", "pool", "arrays") if k in found["memory"])
    return f"{driver} ({'; '.join(others)})"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """As markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *rows))


def tables(entries: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """All that was found."""
    about = next((e["about"] for e in entries if "about" in e), {})
    parts = [kernels(e["kernels"]) for e in entries if "kernels" in e]
    parts += ["; ".join(f"{k} {v}" for k, v in about.items()) or "Nothing was measured.", "Medians of rounds (in parentheses: the best; of times also until all was issued)."]
    if options.tiny:
        parts.append("**Small shapes: these figures mean nothing.**")
    rows = [e["row"] for e in entries if "row" in e]
    for what, (title, unit, ours_first, bar) in TABLES.items():
        mine = [r for r in rows if r["what"] == what]
        if mine:
            names = list(dict.fromkeys(name for r in mine for name in r["cells"]))
            ratios = ["-" if (found := ratio(r)) is None else f"{found:.2f}" for r in mine]
            of = "mxcore / PyTorch" if ours_first else "PyTorch / mxcore"
            parts.append(f"{title}\n\n" + table(
                [unit, *names, f"{of} ({bar})"],
                [[r["label"], *[cell(r["cells"][n], unit) if n in r["cells"] else "-" for n in names], q] for r, q in zip(mine, ratios)]))
        if any(c["memory"] for r in mine for c in r["cells"].values()) and unit == "ms":
            parts.append("Memory in GiB: taken from the driver (held by the allocator; of PyTorch also arrays at most)\n\n" + table(
                ["GiB", *names], [[r["label"], *[memory(r["cells"][n]) if n in r["cells"] else "-" for n in names]] for r in mine]))
    remarks = [f"{r['label']}, {name}: {c['error'] or 'the loss is ' + c['loss']}" for r in rows for name, c in r["cells"].items()
               if c["error"] or isinstance(c["loss"], str)]
    remarks += [f"{r['what']}, {r['label']}: {text}" for r in rows for text in r["remarks"]]
    remarks += [e["remark"] for e in entries if "remark" in e]
    return "\n\n".join([*parts, *["\n".join(f"- {text}" for text in remarks)] * bool(remarks)])


def kernels(found: dict[str, Any]) -> str:
    """The kernels that take longest, as a list."""
    if not found["top"]:
        return f"{found['label']}: PyTorch's profiler saw no kernels"
    head = (f"{found['label']}: kernels take {number(found['busy'])} ms of {number(found['wall'])} ms a step, in "
            f"{found['launches']:.0f} launches; the longest:")
    return "\n".join([head, "", *[f"- {number(ms)} ms in {count:.0f}: `{name[:110]}`" for name, ms, count in found["top"]]])


def show(entry: dict[str, Any]) -> None:
    """What was just found, in a line or a few."""
    if "row" in entry:
        r = entry["row"]
        found, unit = ratio(r), TABLES[r["what"]][1]
        cells = [" ".join(filter(None, (name, cell(c, unit), c["error"], f"{memory(c)} GiB" if c["memory"] and unit == "ms" else "")))
                 for name, c in r["cells"].items()]
        told = "" if found is None else f"; ratio {found:.2f}"
        print(f"  {r['label']}: {'; '.join(cells)}{told}", flush=True)
    elif "kernels" in entry:
        print("  " + kernels(entry["kernels"]).split("\n")[0], flush=True)
    elif "remark" in entry:
        print("\n    ".join(["  " + entry["remark"], *entry.get("log", ())]), flush=True)


def main(argv: list[str] | None = None) -> int:
    """The command line; the status is 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=8, help="jobs are left out when these are over (default: 8)")
    parser.add_argument("--only", default="", metavar="JOB,...", help="jobs, or beginnings of their names; --list shows them")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    parser.add_argument("--ctx", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to see that everything runs")
    parser.add_argument("--list", action="store_true", help="print the names of the jobs and stop")
    for internal in ("--job", "--out"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.job:
        return work(options)
    wanted = tuple(word for word in options.only.split(",") if word)
    names = [name for name in (":".join(job) for job in JOBS) if not wanted or name.startswith(wanted)]
    if options.list or not names:
        print("\n".join(":".join(job) for job in JOBS))
        return 0 if options.list else 2
    end = time.perf_counter() + 60 * options.minutes
    entries: list[dict[str, Any]] = []
    for name in names:
        left = end - time.perf_counter()
        if left < LEAST_SECONDS:
            entries.append({"remark": f"{name}: left out, since time ran out"})
            continue
        print(f"{name} ({left:.0f} s are left)", flush=True)
        for entry in run(name, options, left):
            entries.append(entry)
            show(entry)
        if options.json:
            Path(options.json).write_text(json.dumps(entries, indent=1), encoding="utf-8")
    print("\n" + tables(entries, options), flush=True)
    errors = any(c["error"] for e in entries if "row" in e for c in e["row"]["cells"].values())
    return 1 if errors or any(e.get("failed") for e in entries) else 0


if __name__ == "__main__":
    sys.exit(main())
