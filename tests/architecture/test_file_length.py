"""House rules about files: short ones, and none whose name says nothing."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600
PUBLIC_NAMES = {"mxcore/util.py"}  # modules that MXNet's programs import by such a name
EMPTY_NAMES = {"utils.py", "util.py", "common.py", "helpers.py", "helper.py", "misc.py"}


def packages() -> list[Path]:
    """The folders that are shipped: the core, and what stands beside each ``pyproject.toml`` of the workspace."""
    homes = [p.parent for kind in ("backends", "plugins") for p in ROOT.glob(f"{kind}/*/pyproject.toml")]
    return [ROOT / "mxcore"] + sorted(init.parent for home in homes for init in home.glob("*/__init__.py"))


def sources() -> list[Path]:
    """Every Python file of the packages, tests, examples and benchmarks."""
    homes = [*packages(), ROOT / "tests", ROOT / "examples", ROOT / "asv_benchmarks" / "benchmarks"]
    return sorted(p for home in homes for p in home.rglob("*.py"))


def test_there_are_sources() -> None:
    assert ROOT / "mxcore" / "errors.py" in sources()


def test_no_file_is_long() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in sources()}
    assert not {name: n for name, n in lengths.items() if n > LIMIT}, f"files of more than {LIMIT} lines"


@pytest.mark.parametrize("package", packages(), ids=lambda p: p.name)
def test_file_names_say_something(package: Path) -> None:
    found = {p.relative_to(ROOT).as_posix() for p in package.rglob("*.py") if p.name in EMPTY_NAMES}
    assert not found - PUBLIC_NAMES
