"""``docs/howto/add_a_backend.md``: the backend it builds is complete, as the kit judges it; and the page on operators runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str, language: str = "python") -> list[str]:
    text = (ROOT / "docs" / "howto" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks as if the distribution of the page were installed there."""
    home = tmp_path_factory.mktemp("site")
    package, info = home / "my_tile", home / "my_tile-0.1.0.dist-info"
    package.mkdir()
    info.mkdir()
    announce, arrays, memory, _, kernels, fast, test = blocks("add_a_backend.md")
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(announce + kernels)
    (package / "backend.py").write_text(arrays + memory)
    (package / "fast.py").write_text(fast)
    (home / "test_tile.py").write_text(test)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tile\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[mxcore]\ntile = my_tile.plugin\n")
    return home


def run(site: Path, *words: str, **settings: str) -> str:
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, cwd=site,
                          env={**os.environ, "PYTHONPATH": path, **settings})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_used_as_the_page_says(site: Path) -> None:
    assert run(site, "-W", "error", "-c", blocks("add_a_backend.md")[3]) == blocks("add_a_backend.md", "text")[0]


def test_it_conforms(site: Path) -> None:
    """Of the samples a part, one for each kind of thing; the page's author runs them all."""
    some = "training:.*adam|exp-0|dot-|sum-|Convolution-0|BatchNorm-0|RNN-0|Pooling-0|take-0|topk-0|_random_normal-0|sgd_mom_update-0|Dropout-0|"
    out = run(site, "-m", "mxcore.testing.conformance", "--kind", "tile", "--only", f"^(device:|{some}where-0|concat-0):?")
    assert re.search(r"tile: \d{3,} passed, 0 failed, 0 failed as expected", out), out
    assert "SKIPPED" not in out, out


def test_its_own_test_passes(site: Path) -> None:
    run(site, "-W", "error", "-c", "import test_tile; test_tile.test_it_conforms()")


def test_its_kernel_takes_what_it_accepts(site: Path) -> None:
    program = """
import mxcore as mx, my_tile.fast as fast
calls, right = [], fast.dot
fast.dot = lambda xp, *a, **k: calls.append(a[0].shape) or right(xp, *a, **k)
a = mx.nd.ones((2, 2), ctx=mx.Context("tile"))
mx.nd.dot(a, a), mx.nd.dot(a, a, transpose_a=True), mx.nd.dot(a.astype("float64"), a.astype("float64"))
print(calls)
"""
    assert run(site, "-c", program) == "[(2, 2)]\n"


def test_it_serves_the_cpu_when_asked(site: Path) -> None:
    program = "import mxcore as mx; print(type(mx.nd.ones(1)._data).__name__)"
    assert run(site, "-c", program) == "ndarray\n"
    assert run(site, "-c", program, MXCORE_BACKEND_CPU="tile") == "Tile\n"
    assert "tiles of NumPy" in run(site, "-m", "mxcore.doctor")
    assert "serves cpu (priority 1)" in run(site, "-m", "mxcore.plugins")


def test_the_page_on_operators_runs(tmp_path: Path) -> None:
    """Its blocks in order as one module, judged by the sample that it gives."""
    *code, sample = blocks("add_an_op.md")
    (tmp_path / "page.py").write_text("".join(code))
    program = f"""
import mxcore as mx, numpy as np
from mxcore import autograd, nd
import page
from mxcore.testing.checks import CHECKS
from mxcore.testing.sampling import A, SAMPLES, sample
from mxcore.testing.loopback import install
install()
{sample}
for kind in ("cpu", "loopback"):
    for name, check in CHECKS.items():
        if kind == "cpu" or name in ("forward", "first", "second"):
            check(SAMPLES[-1], mx.Context(kind))
x = nd.array([0.5, -2.0])
np.testing.assert_allclose(nd.swish2(x, beta=2.0).asnumpy(), x.asnumpy() / (1 + np.exp(-2 * x.asnumpy())), rtol=1e-6)
a, b, g = nd.ones((2, 3)), nd.ones((3, 4)), nd.ones((2, 4))
dw = mx.registry.OPS["_backward_mine"](g, a, b.T.T.T)[1]
print(SAMPLES[-1].id, dw.shape)
"""
    assert run(tmp_path, "-W", "error", "-W", "ignore::RuntimeWarning", "-c", program) == "scaled_shift-0 (4, 3)\n"
