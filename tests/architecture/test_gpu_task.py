"""``dev.py gpu``: a workspace that is used as it lies there, parts that fail alone, and the figures, small and on the CPU."""

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "tests" / "gpu" / "figures.py"
PROJECTS = [tomllib.loads(p.read_text(encoding="utf-8"))["project"]
            for p in (ROOT / "pyproject.toml", *ROOT.glob("backends/*/pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml"))]


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mxcore_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dev() -> ModuleType:
    return loaded(ROOT / "dev.py")


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    return loaded(FIGURES)


# ------------------------------------------------------------------------------------------------- nothing is installed
def python(path: str, program: str, *options: str) -> list:
    """What a program prints as JSON, on that PYTHONPATH."""
    done = subprocess.run([sys.executable, *options, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_staged_workspace_names_every_plugin(dev: ModuleType, tmp_path: Path) -> None:
    program = ("import json; from importlib import metadata; print(json.dumps(sorted("
               "[p.name, p.value, p.dist.name, p.dist.version] for p in metadata.entry_points(group='mxcore'))))")
    found = python(dev.staged(tmp_path), program, "-S")  # no site-packages, where the workspace may be installed
    version = next(p["version"] for p in PROJECTS if "version" in p)
    expected = [[name, target, p["name"], version] for p in PROJECTS
                for name, target in p.get("entry-points", {}).get("mxcore", {}).items()]
    assert found == sorted(expected) and len(found) >= 6


def test_a_staged_workspace_has_every_distribution(dev: ModuleType, tmp_path: Path) -> None:
    program = ("import json; from importlib import metadata; print(json.dumps(sorted("
               "d.name for d in metadata.distributions() if d.name.startswith('mxcore'))))")
    assert python(dev.staged(tmp_path), program, "-S") == sorted(p["name"] for p in PROJECTS)


def test_a_staged_workspace_loads_its_plugins(dev: ModuleType, tmp_path: Path) -> None:
    program = ("import json, mxcore; print(json.dumps([[r.name, r.status, r.traceback] for r in mxcore.plugins.records()]))")
    names = {name for p in PROJECTS for name in p.get("entry-points", {}).get("mxcore", {})}
    found = python(dev.staged(tmp_path), program)
    assert names <= {name for name, _, _ in found}
    assert not [r for r in found if r[0] in names and r[1:] != ["loaded", ""]]


def test_what_was_on_the_path_stays_there(dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "of the user")
    assert dev.staged(tmp_path).split(os.pathsep)[-1] == "of the user"


# ------------------------------------------------------------------------------------------------------------ the parts
@pytest.fixture
def parts(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list:
    """The parts that ran, with the arguments for figures; the kit fails."""
    ran: list = []

    def part(name: str) -> tuple:
        def run(python: object, env: dict, seconds: float, rest: list) -> int:
            assert seconds > 0 and "PYTHONPATH" in env and python == sys.executable
            ran.append((name, rest))
            return 3 if name == "kit" else 0

        return 1, run

    monkeypatch.setattr(dev, "GPU_PARTS", {name: part(name) for name in dev.GPU_PARTS})
    return ran


def test_a_part_that_fails_does_not_stop_the_others(dev: ModuleType, parts: list, capsys: pytest.CaptureFixture) -> None:
    assert dev.gpu(["--here"]) == 1
    assert [name for name, _ in parts] == ["doctor", "kit", "tests", "figures"]
    last = capsys.readouterr().out.split("all parts:")[1]
    assert "FAILED (3)" in last and last.count(" ok") == 3


def test_parts_can_be_named_and_other_arguments_are_for_the_figures(dev: ModuleType, parts: list) -> None:
    assert dev.gpu(["--here", "figures", "--minutes", "2", "--only", "small", "doctor"]) == 0
    assert parts == [("figures", ["--only", "small"]), ("doctor", ["--only", "small"])]


def test_minutes_are_a_number(dev: ModuleType) -> None:
    with pytest.raises(dev.Trouble, match="--minutes needs a number, not 'few'"):
        dev.gpu(["--minutes", "few"])


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_program_that_hangs_is_ended_and_says_where_it_was(dev: ModuleType, capfd: pytest.CaptureFixture) -> None:
    env = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    program = "import resource, time; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); time.sleep(600)"
    assert dev.run(sys.executable, "-c", program, env=env, seconds=2) != 0
    captured = capfd.readouterr()
    assert "it is ended after 2 s" in captured.out and 'File "<string>", line 1' in captured.err


# ---------------------------------------------------------------------------------------------------------- the figures
def measure(*arguments: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, FIGURES, "--ctx", "cpu", "--tiny", *arguments], env={**os.environ, **env}, text=True,
                          capture_output=True, timeout=300)


def test_a_job_gives_a_table_and_json(tmp_path: Path) -> None:
    done = measure("--only", "lstm:float32", "--json", str(tmp_path / "f.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    entries = json.loads((tmp_path / "f.json").read_text())
    row = next(e["row"] for e in entries if "row" in e)
    assert all(0 < row["cells"][f"mxcore {way}"]["best"] <= row["cells"][f"mxcore {way}"]["median"]
               for way in ("hybridized", "static_alloc"))
    assert isinstance(row["cells"]["mxcore hybridized"]["loss"], float)
    assert "| ms | mxcore hybridized | mxcore static_alloc |" in done.stdout and "\n| float32 | " in done.stdout


def test_a_job_that_fails_is_told_with_its_reason() -> None:
    done = measure("--only", "products:tf32", MXCORE_PLUGINS="")
    assert done.returncode == 1
    assert "products:tf32 failed with status 1" in done.stdout and "BackendMissingError" in done.stdout


def test_jobs_without_time_are_left_out() -> None:
    done = measure("--only", "small,products", "--minutes", "0")
    assert done.returncode == 0 and done.stdout.count("left out, since time ran out") == 3


def test_an_unknown_job_names_those_that_exist(figures: ModuleType) -> None:
    done = measure("--only", "resnet18")
    assert done.returncode == 2 and done.stdout.split() == [":".join(job) for job in figures.JOBS]


def cells(**seconds: float) -> dict:
    return {name.replace("_", " "): {"median": s, "best": s, "host": s, "error": "", "memory": {}, "loss": None}
            for name, s in seconds.items()}


@pytest.mark.parametrize(("what", "expected"), [("lenet", 3.0), ("small", 1 / 3), ("bandwidth", 2 / 3)])
def test_ratios_are_what_the_bars_are_about(figures: ModuleType, what: str, expected: float) -> None:
    row = {"what": what, "cells": cells(mxcore=1.0, mxcore_captured=2.0, PyTorch=3.0, PyTorch_faster=0.1)}
    assert figures.ratio(row) == pytest.approx(expected)  # times: the smallest counts; rates: the largest


def test_a_variant_without_a_figure_has_no_part_in_the_ratio(figures: ModuleType) -> None:
    row = {"what": "lenet", "cells": cells(mxcore=1.0, PyTorch=3.0)}
    row["cells"]["mxcore"] = {"error": "OutOfMemoryError: no", "memory": {}, "loss": None}
    assert figures.ratio(row) is None and figures.cell(row["cells"]["mxcore"], "ms") == "failed"


def test_every_job_has_a_table(figures: ModuleType) -> None:
    assert {what for what, _ in figures.JOBS} == set(figures.TABLES)
