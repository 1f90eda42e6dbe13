"""Entry points: loaded one by one, failures recorded and harmless, restricted by MXCORE_PLUGINS; what the programs print."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from mxcore.hookspecs import hookimpl

@hookimpl
def mxcore_operators():
    from mxcore.registry import register, rules

    @register("{name}_twice", infer=rules.same)
    def twice(xp, data):
        return data + data

    @twice.gradient
    def _(n, g):
        from mxcore.registry import OPS
        return OPS["_mul_scalar"](g, scalar=2.0)
"""
INFO = """
from mxcore.hookspecs import BackendInfo
"""
PLUGINS = {
    "good": GOOD.format(name="good"),
    "also_good": GOOD.format(name="also_good"),
    "broken_import": "import nowhere_to_be_found\n",
    "broken_syntax": "def f(:\n",
    "exits": "raise SystemExit('leaving')\n",
    "broken_operators": GOOD.format(name="half") + "    raise KeyError('no more')\n",
    "exits_in_operators": GOOD.format(name="gone") + "    raise SystemExit(3)\n",
    "takes_a_name": GOOD.replace('"{name}_twice"', '"exp"'),
    "half_an_alias": GOOD.replace('"{name}_twice"', '"fresh_name", aliases=["exp"]'),
    "claims_a_gradient": GOOD.format(name="odd").split("    @twice.gradient")[0],
    "wrong_arguments": "from mxcore.hookspecs import hookimpl\n@hookimpl\ndef mxcore_kernels(planet):\n    return None\n",
    "unknown_hook": "def mxcore_operatorz():\n    raise KeyError\n",
    "raises_about_backends": "def mxcore_backend_info():\n    raise OSError('no driver')\n",
    "no_info": "def mxcore_backend_info():\n    return 'cpu'\n",
    "raises_for_kernels": "def mxcore_kernels(backend):\n    raise OSError('kernels gone')\n",
    "raises_for_any_backend": "def mxcore_backend(name):\n    raise OSError('I know only mine')\n",
    "asks_for_arrays": "import mxcore as mx\nmx.nd.ones(2)\n",
    "asks_for_operators": "from mxcore.ops import load\nload()\n" + GOOD.format(name="eager"),
    "its_backend_fails": INFO + ("def mxcore_backend_info():\n    return BackendInfo('abacus', {'cpu': 900, 'gpu': 5})\n"
                                 "def mxcore_backend(name):\n    if name == 'abacus':\n        raise OSError('a bead is missing')\n"),
}


def install(home: Path, name: str, module: str | None = None, version: str = "1.0") -> None:
    """Make ``home`` look as if a distribution with this plugin were installed there."""
    module = module or f"fake_{name}"
    (home / f"{module}.py").write_text(PLUGINS[name])
    info = home / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[mxcore]\n{name} = {module}\n")


def run(home: Path, *words: str, rc: int = 0, **settings: str) -> str:
    path = os.pathsep.join([str(home), *filter(None, sys.path)])
    env = {k: v for k, v in os.environ.items() if not k.startswith("MXCORE")}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, cwd=home,
                          env={**env, "PYTHONPATH": path, **settings})
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout


#: computes, differentiates, and tells what became of the plugins
PROGRAM = """
import json
import mxcore as mx
x = mx.nd.array([1, 2])
x.attach_grad()
with mx.autograd.record():
    y = mx.nd.exp(x) * 0 + mx.nd.square(x)
y.backward()
assert x.grad.asnumpy().tolist() == [2, 4]
assert mx.sym.exp(mx.sym.var("a")).eval(a=x)[0].shape == (2,)
print(json.dumps({"status": {r.name: r.status for r in mx.plugins.records()},
                  "traceback": {r.name: r.traceback for r in mx.plugins.records()},
                  "ops": sorted(n for n in mx.registry.OPS if n.endswith("_twice") or n == "fresh_name"),
                  "there": [hasattr(space, "good_twice") for space in (mx.nd, mx.sym)]}))
"""


def outcome(home: Path, program: str = PROGRAM, **settings: str) -> dict:
    return json.loads(run(home, "-W", "error", "-c", program, **settings))


BROKEN = {
    "broken_import": "nowhere_to_be_found", "broken_syntax": "SyntaxError", "exits": "leaving", "broken_operators": "no more",
    "exits_in_operators": "SystemExit: 3", "takes_a_name": "operator name 'exp' is taken",
    "half_an_alias": "operator name 'exp' is taken", "wrong_arguments": "planet", "raises_about_backends": "no driver",
    "no_info": "'cpu', which is no mxcore.hookspecs.BackendInfo", "raises_for_kernels": "kernels gone",
    "raises_for_any_backend": "I know only mine", "asks_for_arrays": "ones"}


def test_broken_plugins_are_recorded_and_harmless(tmp_path):
    """All at once, with good ones among them, whose operators are there."""
    for name in (*BROKEN, "good", "also_good", "asks_for_operators"):
        install(tmp_path, name)
    found = outcome(tmp_path)
    for name, words in BROKEN.items():
        assert found["status"][name] == "failed", name
        assert words in found["traceback"][name], found["traceback"][name]
    for name in ("good", "also_good", "numpy", "asks_for_operators"):
        assert found["status"][name] == "loaded" and not found["traceback"][name]
    assert found["ops"] == ["also_good_twice", "eager_twice", "good_twice"] and found["there"] == [True, True]


@pytest.mark.parametrize("name", ["exits", "raises_for_any_backend", "asks_for_operators"])
def test_each_alone(tmp_path, name):
    install(tmp_path, name)
    assert outcome(tmp_path)["status"][name] == ("failed" if name in BROKEN else "loaded")


def test_hooks_that_do_not_exist(tmp_path):
    install(tmp_path, "unknown_hook")
    assert outcome(tmp_path)["status"]["unknown_hook"] == "loaded; there are no hooks mxcore_operatorz"


def test_two_of_one_name(tmp_path):
    install(tmp_path, "good", "fake_one")
    install(tmp_path, "good", "fake_two")
    lines = [line for line in run(tmp_path, "-m", "mxcore.plugins").splitlines() if line.startswith("good ")]
    assert len(lines) == 2 and sum("loaded" in line for line in lines) == 1
    assert sum("ignored: the name is taken by fake-" in line for line in lines) == 1
    assert outcome(tmp_path)["ops"] == ["good_twice"]


# ---------------------------------------------------------------- which are loaded
def test_selection(tmp_path):
    for name in ("good", "also_good", "broken_import"):
        install(tmp_path, name)
    found = outcome(tmp_path, MXCORE_PLUGINS=" numpy, good ,absent")
    assert found["status"]["good"] == found["status"]["numpy"] == "loaded"
    assert found["status"]["also_good"] == found["status"]["broken_import"] == "not selected by MXCORE_PLUGINS"
    assert found["status"]["absent"] == "not installed, but MXCORE_PLUGINS names it"
    assert found["ops"] == ["good_twice"]
    none = run(tmp_path, "-c", "import mxcore as mx; print(mx.plugins.records(), hasattr(mx.sym, 'good_twice'))", MXCORE_PLUGINS="")
    assert none == "[] False\n"


def test_importing_imports_no_plugin(tmp_path):
    install(tmp_path, "exits")
    assert run(tmp_path, "-c", "import sys, mxcore; print('fake_exits' in sys.modules, mxcore.cpu())") == "False cpu(0)\n"


def test_which_backend_serves_the_cpu(tmp_path):
    """The one with the highest priority that works; MXCORE_BACKEND_CPU names one outright."""
    install(tmp_path, "its_backend_fails")
    program = "import mxcore as mx; print(mx.nd.ones(1)._dev.name)"
    assert run(tmp_path, "-c", program) == run(tmp_path, "-c", program, MXCORE_BACKEND_CPU="numpy") == "numpy\n"
    program = """
import mxcore as mx
for call in (lambda: mx.nd.ones(1, ctx=mx.gpu()), lambda: mx.nd.ones(1, ctx=mx.Context("abacus")), lambda: mx.nd.ones(1)):
    try:
        call()
    except mx.MXNetError as error:
        print(error, repr(error.__cause__), sep="; ")
"""
    only = {"MXCORE_PLUGINS": "numpy,its_backend_fails"}  # other backends may be installed and serve the gpu
    out = run(tmp_path, "-c", program, MXCORE_BACKEND_CPU="abacus", **only)
    assert out.count("backend 'abacus' is installed but failed: OSError: a bead is missing") == 3
    assert out.count("OSError('a bead is missing')") == 3
    assert "MXCORE_BACKEND_CPU=abacus allows no other backend than that." in out
    assert "installed kinds: abacus, cpu, gpu, numpy." in out
    out = run(tmp_path, "-c", program, MXCORE_BACKEND_CPU="nobody")
    assert "MXCORE_BACKEND_CPU=nobody" in out


# ---------------------------------------------------------------- the programs
def test_the_list(tmp_path):
    for name in ("good", "broken_operators", "broken_import"):
        install(tmp_path, name)
    out = run(tmp_path, "-m", "mxcore.plugins", rc=1)
    lines = out.splitlines()
    assert "good             loaded     fake-good 1.0  (fake_good)" in lines
    assert any(line.startswith("broken_operators failed") for line in lines)
    assert "    KeyError: 'no more'" in lines and "    ModuleNotFoundError: No module named 'nowhere_to_be_found'" in lines
    assert "  numpy          serves cpu (priority 100)" in lines
    assert "not selected" in run(tmp_path, "-m", "mxcore.plugins", MXCORE_PLUGINS="numpy")
    assert "no plugins" in run(tmp_path, "-m", "mxcore.plugins", MXCORE_PLUGINS="")


def test_the_doctor(tmp_path):
    out = run(tmp_path, "-m", "mxcore.doctor", MXCORE_NUM_THREADS="3")
    for words in ("mxcore ", "Python ", "numpy  ", "BLAS", "threads            3", "MXCORE_NUM_THREADS = 3", "1 device(s), serves cpu",
                  "GiB free", "all well"):
        assert words in out
    for name in ("broken_operators", "its_backend_fails"):
        install(tmp_path, name)
    out = run(tmp_path, "-m", "mxcore.doctor", rc=1)
    assert "KeyError: 'no more'" in out and "2 problem(s)" in out
    assert "abacus             FAILED: OSError: a bead is missing" in out
    out = run(tmp_path, "-m", "mxcore.doctor", rc=1, MXCORE_PLUGINS="")
    assert "none: pip install mxcore-numpy" in out and "1 problem(s)" in out
