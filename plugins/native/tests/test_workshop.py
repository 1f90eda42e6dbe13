"""The compiler in the background, the cache, and what happens where something is missing or broken."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import mxcore
from mxcore.registry import expr as E
from mxcore.registry.bound import Spec, plain_order
from mxcore.registry.loop import Loop
from mxcore.runtime.device import device_of
from mxcore_native import cache, compiler, fused, plugin
from mxcore_native.workshop import Workshop, describe

F4 = np.dtype("float32")
X = np.random.default_rng(0).normal(size=(30, 40)).astype(F4)


def loop_of(number: float) -> Loop:
    """A loop that no other test has."""
    return Loop(X.shape, F4, ("a",), (E.tanh(E.arg("a")) * number,), (None,))


def right(out: np.ndarray, number: float) -> None:
    """Whether it computed that."""
    np.testing.assert_allclose(out, np.tanh(X) * np.float32(number), rtol=1e-5)


@pytest.fixture
def workshop(compiled, monkeypatch, tmp_path):
    """A workshop of this test alone, whose cache is empty."""
    made = Workshop()
    monkeypatch.setattr(fused, "WORKSHOP", made)
    monkeypatch.setattr("mxcore_native.workshop.WORKSHOP", made)
    monkeypatch.setenv("MXCORE_HOME", str(tmp_path))
    return made


@pytest.fixture
def other_compiler(monkeypatch):
    """``other_compiler(CC)``: from now on this one."""
    def use(text):
        monkeypatch.setenv("CC", text)
        compiler.compiler.cache_clear()

    yield use
    compiler.compiler.cache_clear()


def script(path: Path, text: str) -> str:
    """A program."""
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o700)
    return str(path)


# ---------------------------------------------------------------------------------------------- the background
def test_a_loop_runs_in_numpy_until_it_is_compiled(compiled, workshop, monkeypatch):
    monkeypatch.setenv("MXCORE_NATIVE", "background")
    loop = loop_of(1.01)
    bound = compiled.bind(loop, [X], [F4])
    assert bound.kernel.call is None and "ufuncs" in bound.label
    for _ in range(2):
        right(compiled.run(bound, loop, [X], [F4])[0], 1.01)
    assert not workshop._waiting, "a loop that runs once or twice is not worth it"
    end = time.monotonic() + 120
    while bound.kernel.call is None and time.monotonic() < end:
        right(compiled.run(bound, loop, [X], [F4])[0], 1.01)
        time.sleep(0.01)
    right(compiled.run(bound, loop, [X], [F4])[0], 1.01)
    assert bound.run.__name__ == "alone" and bound.label == "compiled loop"
    assert workshop.compiled == 1


def test_loops_that_wait_are_compiled_together(compiled, workshop, monkeypatch):
    runs = []
    build = compiler.Compiler.build
    monkeypatch.setattr(compiler.Compiler, "build", lambda *args: (runs.append(1), build(*args))[1])
    bounds = [compiled.bind(loop_of(2 + k), [X], [F4]) for k in range(5)]
    right(compiled.run(bounds[0], loop_of(2), [X], [F4])[0], 2)
    assert len(runs) == 1 and workshop.compiled == 5
    right(compiled.run(bounds[4], loop_of(6), [X], [F4])[0], 6)
    assert len(list(cache.folder().glob("*.so"))) == 5 and not list(cache.folder().glob(".build-*"))


def test_threads_that_bind_and_run_at_once(compiled, workshop):
    errors = []

    def work(number):
        try:
            bound = compiled.bind(loop_of(number), [X], [F4])
            right(compiled.run(bound, loop_of(number), [X], [F4])[0], number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(3.5 + k % 3,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert workshop.compiled == 3


# ---------------------------------------------------------------------------------------------- the cache
def kept(number: float, compiled, workshop) -> Path:
    """A compiled loop's file."""
    bound = compiled.bind(loop_of(number), [X], [F4])
    compiled.run(bound, loop_of(number), [X], [F4])
    return cache.folder() / f"{bound.kernel.key}.so"


def test_another_process_finds_it(compiled, workshop):
    kept(4.25, compiled, workshop)
    workshop.kernels.clear()
    bound = compiled.bind(loop_of(4.25), [X], [F4])
    assert bound.kernel.call is not None and workshop.loaded == 1 and bound.run.__name__ == "alone"


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "foreign", "writable", "renamed", "none"])
def test_a_file_that_is_not_ours_is_made_again(compiled, workshop, monkeypatch, tmp_path, damage):
    path = kept(5.25, compiled, workshop)
    content = path.read_bytes()
    damaged = {"cut": content[:3000], "changed": content[:2000] + b"?" + content[2001:], "empty": b"",
               "foreign": b"something else" * 1000, "renamed": kept(5.5, compiled, workshop).read_bytes()}
    monkeypatch.setenv("MXCORE_HOME", str(tmp_path / "second"))  # of which nothing is loaded
    given = cache.folder() / path.name
    given.parent.mkdir(parents=True)
    given.write_bytes(damaged.get(damage, content))
    given.chmod(0o722 if damage == "writable" else 0o700)
    workshop.kernels.clear()
    bound = compiled.bind(loop_of(5.25), [X], [F4])
    assert (bound.kernel.call is None) == (damage != "none")
    right(compiled.run(bound, loop_of(5.25), [X], [F4])[0], 5.25)
    assert (workshop.compiled, workshop.loaded) == ((2, 1) if damage == "none" else (3, 0))
    shutil.copytree(tmp_path / "second", tmp_path / "third")
    monkeypatch.setenv("MXCORE_HOME", str(tmp_path / "third"))
    assert cache.load(bound.kernel.key) is not None, "it was not written anew"


def test_what_an_ended_process_left_is_removed(compiled, workshop):
    left, fresh = (cache.folder() / f".build-{n}" for n in ("left", "fresh"))
    for folder in (left, fresh):
        folder.mkdir(parents=True)
        (folder / "loops.c").touch()
    os.utime(left, (1, 1))
    kept(6.25, compiled, workshop)
    assert not left.exists() and fresh.exists()


def test_a_cache_that_cannot_be_written_is_told(compiled, workshop, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MXCORE_HOME", str(tmp_path / "file"))
    bound = compiled.bind(loop_of(7.25), [X], [F4])
    with pytest.warns(RuntimeWarning, match="cannot be kept in"):
        right(compiled.run(bound, loop_of(7.25), [X], [F4])[0], 7.25)
    assert "cannot be kept" in describe() and bound.kernel.failed


def test_the_cache_is_where_caches_are(monkeypatch):
    monkeypatch.delenv("MXCORE_HOME", raising=False)
    monkeypatch.delenv("MXNET_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert cache.folder() == Path("/some/where/mxcore/kernels") or sys.platform == "darwin"
    monkeypatch.setenv("MXCORE_HOME", "~/mx")
    assert cache.folder() == Path.home() / "mx" / "kernels"


# ---------------------------------------------------------------------------------------------- compilers
def test_no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("MXCORE_NATIVE", raising=False)
    assert plugin.mxcore_kernels("numpy") is None
    assert "no C compiler was found" in plugin.mxcore_describe()
    monkeypatch.setenv("CC", "ccx -m64")
    assert "CC=ccx -m64 was not found" in plugin.mxcore_describe()


def test_switched_off(monkeypatch):
    monkeypatch.setenv("MXCORE_NATIVE", "off")
    assert plugin.mxcore_kernels("numpy") is None and plugin.mxcore_describe() == "off (MXCORE_NATIVE)"
    monkeypatch.setenv("MXCORE_NATIVE", "quick")
    with pytest.raises(Exception, match="MXCORE_NATIVE=quick is not one of background, wait, off"):
        plugin.mxcore_kernels("numpy")


def test_entered_where_there_is_a_compiler(compiled):
    entry = plugin.mxcore_kernels("numpy")["_fused"]
    assert entry.target is None and entry.priority > 0 and entry.bind == "mxcore_native.fused:bind"
    assert plugin.mxcore_kernels("loopback") is None
    assert "vector functions" in plugin.mxcore_describe()


def test_a_compiler_that_fails_is_told_once(compiled, workshop, other_compiler, tmp_path):
    other_compiler(script(tmp_path / "bad", 'case "$1" in --version) echo bad 1.0;; *) echo no such thing >&2; exit 3;; esac\n'))
    bounds = [compiled.bind(Loop(X.shape, F4, ("a",), (E.arg("a") * k,), (None,)), [X], [F4]) for k in (2.0, 3.0)]
    with pytest.warns(RuntimeWarning, match="failed with status 3: no such thing") as told:
        for k, bound in zip((2.0, 3.0), bounds, strict=True):
            for _ in range(2):
                out, = compiled.run(bound, Loop(X.shape, F4, ("a",), (E.arg("a") * k,), (None,)), [X], [F4])
                np.testing.assert_array_equal(out, X * np.float32(k))
    assert len(told) == 1
    assert "no such thing" in describe()


def test_a_compiler_that_does_not_run_is_told(compiled, workshop, other_compiler, tmp_path):
    other_compiler(script(tmp_path / "dead", "exit 1\n"))
    assert compiler.missing() is None
    device_of(mxcore.cpu())  # enters the kernels of NumPy
    s = Spec(X.shape, F4, plain_order(2))
    with pytest.warns(RuntimeWarning, match="--version failed"):
        bound = fused.bind([s], [s], {"loop": loop_of(8.25), "dtypes": (F4,)}, False)
    out = np.empty_like(X)
    bound.run([X], [out])
    right(out, 8.25)


def test_one_source_that_fails_does_not_spoil_the_others(compiled, workshop):
    bounds = [compiled.bind(loop_of(9.25 + k), [X], [F4]) for k in range(3)]
    bounds[1].kernel.text += "\n#error not this one\n"
    with pytest.warns(RuntimeWarning, match="not this one"):
        for k, bound in enumerate(bounds):
            right(compiled.run(bound, loop_of(9.25 + k), [X], [F4])[0], 9.25 + k)
    assert [b.kernel.failed for b in bounds] == [False, True, False] and workshop.compiled == 2


# ---------------------------------------------------------------------------------------------- processes
PROGRAM = """
import os, sys, warnings
import numpy as np
from mxcore.registry import expr as E
from mxcore.registry.bound import Spec, plain_order
from mxcore.registry.loop import Loop
from mxcore_native import fused
from mxcore_native.workshop import WORKSHOP
from mxcore_numpy.fusion.loop import bind_loop

def bound(k, n=300):
    loop = Loop((n, n), np.dtype("f4"), ("a",), (E.tanh(E.arg("a")) * k,), (None,))
    s = [Spec((n, n), np.dtype("f4"), plain_order(2))]
    return fused.native(bind_loop(loop, s, s), loop, s, s, 2)

def check(b, k, n=300):
    x = np.random.default_rng(0).normal(size=(n, n)).astype("f4")
    out = np.empty_like(x)
    b.run([x], [out])
    np.testing.assert_allclose(out, np.tanh(x) * np.float32(k), rtol=1e-5)
"""


def start(tmp_path: Path, text: str, **env: str) -> subprocess.Popen:
    """A program in a process of its own."""
    settings = {**os.environ, "MXCORE_HOME": str(tmp_path), "MXCORE_NATIVE": "wait", **env}
    return subprocess.Popen([sys.executable, "-c", PROGRAM + textwrap.dedent(text)], env=settings, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_processes_share_a_cache(compiled, tmp_path):
    text = """
        loops = [bound(k / 4) for k in range(1, 5)]
        for k, b in enumerate(loops):
            check(b, (k + 1) / 4)
        print(WORKSHOP.compiled + WORKSHOP.loaded)
    """
    running = [start(tmp_path, text) for _ in range(2)]
    for process in running:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and said.strip() == "4", said
    assert len(list((tmp_path / "kernels").iterdir())) == 4
    last = start(tmp_path, text.replace("WORKSHOP.compiled +", ""))
    assert last.communicate(timeout=300)[0].strip() == "4"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes_and_compiles(compiled, tmp_path):
    text = """
        warnings.simplefilter("ignore", DeprecationWarning)
        first, asked = bound(1.5), bound(2.5)
        check(first, 1.5)
        late = bound(3.5)
        child = os.fork()
        if not child:
            check(first, 1.5)
            check(asked, 2.5)
            check(late, 3.5)
            assert late.kernel.call is not None
            os._exit(7)
        status = os.waitpid(child, 0)[1]
        check(late, 3.5)
        print(os.waitstatus_to_exitcode(status))
    """
    said, _ = start(tmp_path, text).communicate(timeout=300)
    assert said.strip() == "7", said


def test_a_process_ends_while_the_compiler_runs(compiled, tmp_path):
    slow = script(tmp_path / "slow", 'case "$1" in --version) echo slow 1.0;; *) exec sleep 600;; esac\n')
    text = """
        import time
        b = bound(1.75)
        for _ in range(3):
            check(b, 1.75)
        while WORKSHOP._process is None:
            time.sleep(0.01)
        print(WORKSHOP._process.pid)
    """
    process = start(tmp_path, text, MXCORE_NATIVE="background", CC=slow)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    pid = int(said)
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
