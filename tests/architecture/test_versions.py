"""One version everywhere: the core states it, every distribution of the workspace repeats it."""

import re
import tomllib
from pathlib import Path

import pytest

import mxcore

ROOT = Path(__file__).resolve().parents[2]
PARTS = sorted([*ROOT.glob("backends/*/pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml")])


def project(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def test_the_package_states_its_version() -> None:
    text = (ROOT / "mxcore" / "_version.py").read_text(encoding="utf-8")
    assert mxcore.__version__ == re.search(r'__version__ = "(.+)"', text)[1]


def test_the_changelog_knows_the_version() -> None:
    assert f"## {mxcore.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PARTS, ids=lambda p: p.parent.name)
def test_every_distribution_has_the_version_of_the_core(path: Path) -> None:
    assert project(path)["version"] == mxcore.__version__


@pytest.mark.parametrize("path", [ROOT / "pyproject.toml", *PARTS], ids=lambda p: p.parent.name)
def test_requirements_have_a_lower_bound_only(path: Path) -> None:
    table = project(path)
    extras = [r for group in table.get("optional-dependencies", {}).values() for r in group]
    for requirement in table.get("dependencies", []) + extras:
        if not requirement.startswith("mxcore["):
            assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?>=[0-9.]+( *;.*)?", requirement), requirement


def test_the_numpy_backend_does_not_require_the_core() -> None:
    table = project(ROOT / "backends" / "numpy" / "pyproject.toml")
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in table["dependencies"]]
    assert "mxcore" not in names  # the core requires it: a circle would tie the two releases together
