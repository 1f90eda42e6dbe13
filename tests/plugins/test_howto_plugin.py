"""``docs/howto/add_a_plugin.md``: the plugin it builds works as the page says, installed and with nothing imported."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto" / "add_a_plugin.md").read_text(encoding="utf-8")
CODE = dict(zip(("project", "plugin", "operators", "fast", "use", "printed", "test"),
                re.findall(r"```(?:toml|python|text)\n(.*?)```", PAGE, re.DOTALL), strict=True))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks as if the distribution of the page were installed there."""
    home = tmp_path_factory.mktemp("site")
    package, info = home / "my_ops", home / "my_ops-0.1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    for name in ("plugin", "operators", "fast"):
        (package / f"{name}.py").write_text(CODE[name])
    project = tomllib.loads(CODE["project"])["project"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["mxcore"]
    (info / "entry_points.txt").write_text("[mxcore]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    return home


def run(site: Path, *words: str, **settings: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, cwd=site,
                          env=dict(os.environ, PYTHONPATH=path, **settings))


def test_it_is_used_as_the_page_says(site: Path) -> None:
    done = run(site, "-W", "error", "-c", CODE["use"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == CODE["printed"]


def test_its_kernel_is_the_one_that_runs(site: Path) -> None:
    program = ("import mxcore as mx, my_ops.fast as fast; fast.clipped_square = lambda xp, data, limit: data * 0 + 7;"
               "print(mx.nd.clipped_square(mx.nd.ones(1)).asscalar())")
    assert float(run(site, "-c", program).stdout) == 7


def test_its_tests_pass(site: Path) -> None:
    (site / "test_my_ops.py").write_text(CODE["test"])
    done = run(site, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_my_ops.py")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "skipped" not in done.stdout


def test_it_is_listed(site: Path) -> None:
    assert re.search(r"my_ops +loaded +my-ops 0\.1\.0", run(site, "-m", "mxcore.plugins").stdout)


def test_it_can_be_left_out(site: Path) -> None:
    done = run(site, "-c", CODE["use"], MXCORE_PLUGINS="numpy")
    assert done.returncode == 1 and "clipped_square" in done.stderr


def test_a_broken_one_takes_nothing_else_down(site: Path) -> None:
    operators = site / "my_ops" / "operators.py"
    whole = operators.read_text()
    try:
        operators.write_text(whole + "\nimport nowhere_to_be_found\n")
        program = "import mxcore as mx; print(mx.nd.ones(2).asnumpy(), hasattr(mx.nd, 'clipped_square'))"
        assert run(site, "-c", program).stdout == "[1. 1.] False\n"
        for module in ("mxcore.plugins", "mxcore.doctor"):
            listed = run(site, "-m", module)
            assert listed.returncode == 1 and "nowhere_to_be_found" in listed.stdout
    finally:
        operators.write_text(whole)
