#!/usr/bin/env python3
"""One command for everything: sets up .venv with the whole workspace and runs a task in it.

    python3 dev.py demo [arguments of examples/train_digits.py]
    python3 dev.py test [arguments of pytest]

Needs Python 3.11 or later and nothing else: no make, no compiler. uv is used when it is there, else venv and pip.
"""

import sys

NEEDED = (3, 11)

if sys.version_info < NEEDED:  # before anything that an older Python would stumble over
    from shutil import which

    newer = [n for n in ("python3.14", "python3.13", "python3.12", "python3.11") if which(n)]
    sys.exit("dev.py: mxcore needs Python %d.%d or later, and this is %d.%d (%s).\n%s" % (
        NEEDED + sys.version_info[:2] + (sys.executable, "Run it with a newer one: %s dev.py %s" % (
            newer[0], " ".join(sys.argv[1:])) if newer else "Install a newer one from https://www.python.org/downloads/")))

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("MXCORE_VENV", ROOT / ".venv")).absolute()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "mxcore-dev.json"
NEEDED_BYTES = 1_000_000_000
GPUS = ("sm_80", "sm_90", "sm_100")  # A100, H100, B200

# What an installer says when the machine, and not the project, is the trouble -> what to tell the person.
TROUBLES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("No space left on device", "Errno 28", "os error 28", "Disk quota exceeded"),
     f"the disk is full: free about 1 GB where {VENV} and the temporary folder ({tempfile.gettempdir()}) are."),
    (("Temporary failure in name resolution", "Name or service not known", "nodename nor servname",
      "Failed to establish a new connection", "NewConnectionError", "Network is unreachable", "ConnectTimeoutError",
      "ReadTimeoutError", "Read timed out", "Connection refused", "Cannot connect to proxy", "dns error",
      "error sending request", "client error (Connect)", "Could not connect"),
     "the package index cannot be reached: check the network (or pip's proxy and index settings) and run this again."),
    (("CERTIFICATE_VERIFY_FAILED", "invalid peer certificate"),
     "the certificate of the package index is not trusted: set the certificates of pip (or uv) for this network."),
    (("Permission denied", "Errno 13", "Read-only file system"),
     f"no permission to write: make {ROOT} writable, or set MXCORE_VENV to a folder that is."),
)


class Trouble(Exception):
    """Something that the person has to settle; the message is all that is printed."""


def say(text: str) -> None:
    """A line about what is being done, in order with the output of the programs that are run."""
    print(f"dev.py: {text}", flush=True)


# ---------------------------------------------------------------------------------------------------- running programs
def show(command: list[str]) -> str:
    """A command as a person would type it; a whole program among the arguments is left out."""
    return " ".join("..." if "\n" in word else word.replace(str(ROOT) + os.sep, "") for word in command)


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT, seconds: float | None = None) -> int:
    """Run a program in the foreground and return its exit status; one that takes longer than ``seconds`` is ended."""
    words = [str(c) for c in command]
    say("$ " + show(words))
    if seconds is None:
        return subprocess.run(words, cwd=cwd, env=env).returncode
    with subprocess.Popen(words, cwd=cwd, env=env) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            say(f"it is ended after {seconds:.0f} s")
            if os.name != "nt":
                process.send_signal(signal.SIGABRT)  # with PYTHONFAULTHANDLER=1 it says where it was
                time.sleep(1)
            process.kill()
            return process.wait() or 1


def install_step(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run an installer, passing its output on; where it fails, raise what to do about it."""
    words = [str(c) for c in command]
    say("$ " + show(words))
    lines = []
    with subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as process:
        for line in process.stdout or ():
            lines.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
    if process.returncode:
        raise Trouble(explain("".join(lines), f"'{Path(words[0]).name}' failed with status {process.returncode}; "
                              "its messages above say why."))


def explain(output: str, otherwise: str) -> str:
    """The sentence for what an installer printed."""
    return next((sentence for signs, sentence in TROUBLES if any(s in output for s in signs)), otherwise)


# -------------------------------------------------------------------------------------------------- the environment
def distributions() -> list[Path]:
    """The folders of the workspace that hold a distribution: the core first, then backends, then plugins."""
    parts = [p.parent for kind in ("backends", "plugins") for p in sorted(ROOT.glob(f"{kind}/*/pyproject.toml"))]
    return [ROOT, *parts]


def table(folder: Path) -> dict:
    """The ``[project]`` table of a distribution."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def fingerprint() -> str:
    """What an installation depends on: the Python, this file and every pyproject.toml."""
    digest = hashlib.sha256(repr((sys.version, platform.machine(), str(ROOT))).encode())
    for folder in distributions():
        digest.update(str(folder).encode() + (folder / "pyproject.toml").read_bytes())
    return digest.hexdigest()


def read_stamp() -> dict:
    """What was installed, or nothing where that is not known."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def inside() -> bool:
    """Whether this very process runs on the Python of .venv (which must not be deleted under it)."""
    return Path(sys.prefix).resolve() == VENV.resolve()


def check_disk() -> None:
    """Refuse to start what cannot end well."""
    home = next(p for p in (VENV, *VENV.parents) if p.exists())
    free = shutil.disk_usage(home).free
    if free < NEEDED_BYTES:
        raise Trouble(f"the disk is full: {free / 1e6:.0f} MB are free at {home}, about "
                      f"{NEEDED_BYTES / 1e6:.0f} MB are needed.")


def make_venv(uv: str | None) -> None:
    """Create .venv with pip in it."""
    say(f"making {VENV} with Python {platform.python_version()}{' and uv' if uv else ''}")
    if uv:
        install_step(uv, "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, VENV)
        return
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        raise Trouble("this Python has no venv module. On Debian or Ubuntu: "
                      f"sudo apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv (or install uv).")
    install_step(sys.executable, "-m", "venv", "--clear", VENV)


def install(uv: str | None, extras: list[str]) -> None:
    """Install every distribution of the workspace, editable, with extras of the core."""
    say(f"installing {', '.join(table(d)['name'] for d in distributions())} with the extras {', '.join(extras)}")
    pip = [uv, "pip", "install", "--python", PYTHON] if uv else [
        PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--progress-bar", "off"]
    places = [f"{ROOT}[{','.join(extras)}]", *map(str, distributions()[1:])]
    install_step(*pip, *(word for place in places for word in ("--editable", place)))


def covered(extras: Iterable[str]) -> set[str]:
    """These extras of the core and those that they name in turn, as ``mxcore[image,plot]``."""
    project = table(ROOT)
    found, todo = set(), list(extras)
    while todo:
        extra = todo.pop()
        found.add(extra)
        for requirement in project.get("optional-dependencies", {}).get(extra, ()):
            name, _, more = requirement.partition("[")
            if name == project["name"]:
                todo += more.partition("]")[0].split(",")
    return found


def ensure(*wanted: str) -> None:
    """Make .venv hold the workspace with at least these extras; quick where it does already."""
    stamp = read_stamp()
    current = stamp.get("fingerprint") == fingerprint() and PYTHON.exists()
    have = set(stamp.get("extras", ())) if current else set()
    if current and set(wanted) <= covered(have):
        return
    check_disk()
    uv = shutil.which("uv")
    extras = sorted(have | set(wanted))
    start = time.perf_counter()
    STAMP.unlink(missing_ok=True)
    try:
        build(uv, extras, fresh=not current)
    except Trouble as error:
        if not uv:
            raise
        say(f"uv could not do it ({error}) Trying again with venv and pip.")  # pip may have settings that uv lacks
        build(None, extras, fresh=True)
    STAMP.write_text(json.dumps({"fingerprint": fingerprint(), "extras": extras}), encoding="utf-8")
    say(f"installed in {time.perf_counter() - start:.0f} s")


def build(uv: str | None, extras: list[str], fresh: bool) -> None:
    """Make the environment (anew where asked) and install into it."""
    if not inside() and (fresh or not PYTHON.exists()):
        make_venv(uv)
    install(uv, extras)


# ----------------------------------------------------------------------------------------------------------- the tasks
def install_all(args: list[str]) -> int:
    """Only set up .venv with all that any task needs."""
    ensure("dev")
    say(f"ready: {show([str(PYTHON)])}")
    return 0


def demo(args: list[str]) -> int:
    """Train, evaluate, export and reload a network on real handwritten digits."""
    ensure("plot", *["pocl"] * any("opencl" in word for word in args))  # a device for it, if there is no other
    return run(PYTHON, ROOT / "examples" / "train_digits.py", *args)


def test(args: list[str]) -> int:
    """Run the test suite; arguments go to pytest."""
    ensure("test")
    return run(PYTHON, "-m", "pytest", *args)


def lint(args: list[str]) -> int:
    """Check the style (ruff); arguments go to ruff, such as --fix."""
    ensure("dev")
    return run(BIN / "ruff", "check", *args)


def types(args: list[str]) -> int:
    """Check the types (mypy); arguments go to mypy."""
    ensure("dev")
    return run(PYTHON, "-m", "mypy", *args)


def layers(args: list[str]) -> int:
    """Check that modules import only from lower layers (import-linter)."""
    ensure("dev")
    return run(BIN / "lint-imports", *args)


def bench(args: list[str]) -> int:
    """Run the benchmarks (asv) on this working tree; --quick runs each once."""
    ensure("dev")
    asv = [PYTHON, "-m", "asv"]
    folder = ROOT / "asv_benchmarks"
    if not (Path.home() / ".asv-machine.json").exists():  # asv asks once what machine this is; the defaults are right
        run(*asv, "machine", "--yes", cwd=folder)
    return run(*asv, "run", "--python=same", "--show-stderr", *args, cwd=folder)


def wheels(args: list[str]) -> int:
    """Build the wheel of every distribution; install each alone in an empty venv and try it there."""
    ensure("dev")
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    keep = Path(args[0]).absolute() if args else None
    with tempfile.TemporaryDirectory(prefix="mxcore-wheels-") as scratch:
        place, empty = keep or Path(scratch, "wheels"), Path(scratch, "empty")
        empty.mkdir()
        install_step(*pip, "wheel", "--quiet", "--wheel-dir", place, *distributions())  # with what they depend on
        for folder in distributions():
            name = table(folder)["name"]
            venv = Path(scratch, "venv-" + name)
            say(f"trying the wheel of {name} in an empty venv")
            install_step(sys.executable, "-m", "venv", "--without-pip", venv)
            python = venv / PYTHON.relative_to(VENV)
            install_step(*pip, "--python", python, "install", "--quiet", "--no-index", "--find-links", place, name)
            status = run(python, "-I", "-W", "error", "-c", SMOKE, name, cwd=empty)
            if status:
                return status
    say("every wheel installs alone and works")
    return 0


def opencl(args: list[str]) -> int:
    """Judge the OpenCL backend on PoCL, a device from pip: conformance kit, then its tests."""
    if not (sys.platform.startswith("linux") and platform.machine() == "x86_64"):
        say("PoCL comes as a wheel for x86-64 Linux only; there is nothing to run here")
        return 0
    ensure("test", "pocl")
    folder = ROOT / "backends" / "opencl"  # PoCL compiles for half a second: only what the kit calls often becomes one kernel
    status = run(PYTHON, "-m", "mxcore.testing.conformance", "--kind", "opencl", "--xfails", folder / "xfails.txt", *args,
                 env={"MXCORE_FUSE_AFTER": "50", **os.environ, "MXCORE_FALLBACK": "allow"})
    return status or run(PYTHON, "-m", "pytest", folder / "tests")


def cuda(args: list[str]) -> int:
    """Judge the CUDA backend without a GPU: kit and tests on the host, then all its programs compiled for GPUs."""
    if not sys.platform.startswith("linux") or not shutil.which("g++"):
        say("CUDA on the host needs Linux and g++; there is nothing to run here")
        return 0
    ensure("test", "nvrtc")
    tests = ROOT / "backends" / "cupy" / "tests"
    with tempfile.TemporaryDirectory() as programs:
        host = {**os.environ, "MXCORE_TEST_CUDA": "host", "MXCORE_HOME": str(Path(programs) / "home"),
                "MXCORE_HOSTCUDA_PROGRAMS": programs}
        status = 0
        for device in "01":  # the imitation has two; what is kept for one of them must not reach the other
            status = run(PYTHON, tests / "kit.py", "--kind", "cuda", "--device", device, "--xfails", tests.parent / "xfails.txt",
                         *args, env={"MXCORE_FUSE_AFTER": "50", **host, "MXCORE_FALLBACK": "error"}) or status
        status = run(PYTHON, "-m", "pytest", tests, env=host) or status
        real = {**os.environ, "MXCORE_HOME": host["MXCORE_HOME"]}
        return run(PYTHON, tests / "compile_all.py", programs, *GPUS, env=real) or status


def staged(folder: Path) -> str:
    """A PYTHONPATH on which the whole workspace stands as if it were installed.

    ``folder`` gets what an installer would write of each distribution: its version, and the entry points by which plugins
    are found.
    """
    core = re.findall(r'"(.+)"', (ROOT / "mxcore" / "_version.py").read_text(encoding="utf-8"))[0]
    for place in distributions():
        project = table(place)
        name, version = project["name"], project.get("version", core)
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        lines = [line for group, points in project.get("entry-points", {}).items()
                 for line in (f"[{group}]", *(f"{point} = {target}" for point, target in points.items()))]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return os.pathsep.join([str(folder), *map(str, distributions()), *filter(None, [os.environ.get("PYTHONPATH")])])


def gpu(args: list[str]) -> int:
    """Run on an NVIDIA GPU what needs one; parts: doctor kit tests figures; --here installs nothing.

    Without parts, all run, each in its share of --minutes (default 9.5). With --here the Python that runs this must have what
    the distributions require. Other arguments go to tests/gpu/figures.py, such as --json FILE; --only, --list.
    """
    here, minutes = False, 9.5
    chosen: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word in GPU_PARTS:
            chosen.append(word)
        elif word == "--here":
            here = True
        elif word == "--minutes":
            minutes = minutes_of(next(words, ""))
        else:
            rest.append(word)
    if importlib.util.find_spec("resource"):
        import resource  # a part that has to be ended is not to leave its memory behind as a file

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with tempfile.TemporaryDirectory(prefix="mxcore-gpu-") as scratch:
        env = {**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
        python: str | Path = PYTHON
        if here:
            python = sys.executable
            env |= {"PYTHONPATH": staged(Path(scratch)), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        else:
            ensure("test", "cuda13", "cudnn")
        return gpu_parts(python, env, chosen or list(GPU_PARTS), 60 * minutes, rest)


def minutes_of(word: str) -> float:
    """The number that follows --minutes."""
    try:
        return float(word)
    except ValueError:
        raise Trouble(f"--minutes needs a number, not '{word}'.") from None


def gpu_parts(python: str | Path, env: dict[str, str], chosen: list[str], seconds: float, rest: list[str]) -> int:
    """Run the parts one after the other, whatever becomes of them, and sum up."""
    end, lines, failed = time.perf_counter() + seconds, [], False
    for place, name in enumerate(chosen):
        left = max(end - time.perf_counter(), 1)
        share, part = GPU_PARTS[name]
        start = time.perf_counter()
        status = part(python, env, left * share / sum(GPU_PARTS[n][0] for n in chosen[place:]), rest)
        failed = failed or status != 0
        lines.append(f"{name:<8} {time.perf_counter() - start:4.0f} s  {f'FAILED ({status})' if status else 'ok'}")
        say(lines[-1])
    say("\n    ".join(["all parts:", *lines]))
    return int(failed)


def gpu_count(python: str | Path, env: dict[str, str]) -> int:
    """How many devices the CUDA backend sees; 0 where it cannot say, which the doctor explains."""
    asked = subprocess.run([str(python), "-c", "import mxcore_cupy.devices as d; print(d.count())"], env=env, cwd=ROOT,
                           capture_output=True, text=True)
    return 0 if asked.returncode else int(asked.stdout)


def gpu_doctor(python: str | Path, env: dict[str, str], seconds: float, rest: list[str]) -> int:
    """The devices, and what is installed for them; fails where there is none."""
    if shutil.which("nvidia-smi"):
        run("nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.sm", "--format=csv,noheader", seconds=seconds)
    status = run(python, "-m", "mxcore.doctor", env=env, seconds=seconds)
    return status or int(not gpu_count(python, env))


def gpu_kit(python: str | Path, env: dict[str, str], seconds: float, rest: list[str]) -> int:
    """The conformance kit on each device."""
    devices, status = max(gpu_count(python, env), 1), 0
    for device in range(devices):
        status = run(python, "-m", "mxcore.testing.conformance", "--kind", "cuda", "--device", str(device), "--xfails",
                     ROOT / "backends" / "cupy" / "xfails.txt", seconds=seconds / devices,
                     env={"MXCORE_FUSE_AFTER": "50", **env, "MXCORE_FALLBACK": "error"}) or status
    return status


def gpu_tests(python: str | Path, env: dict[str, str], seconds: float, rest: list[str]) -> int:
    """The tests of the CUDA backend, on the device."""
    return run(python, "-m", "pytest", "-q", "-rfE", "--tb=short", ROOT / "backends" / "cupy" / "tests", env=env, seconds=seconds)


def gpu_figures(python: str | Path, env: dict[str, str], seconds: float, rest: list[str]) -> int:
    """Speed and memory beside PyTorch."""
    return run(python, ROOT / "tests" / "gpu" / "figures.py", "--minutes", f"{(seconds - 5) / 60:.2f}", *rest, env=env,
               seconds=seconds + 60)


#: what runs, and its share of the time
GPU_PARTS: dict[str, tuple[int, Callable[[str | Path, dict[str, str], float, list[str]], int]]] = {
    "doctor": (1, gpu_doctor), "kit": (8, gpu_kit), "tests": (3, gpu_tests), "figures": (8, gpu_figures)}


def stubs(args: list[str]) -> int:
    """Write the type stubs anew from the operator table; --check only compares."""
    ensure("test")
    return run(PYTHON, "-m", "mxcore.testing.stubs", *args)


# What must work where only one distribution (and what it requires) is installed: where that includes the core, its
# plugins load and a network learns.
SMOKE = """
import importlib, importlib.metadata as metadata, sys
name = sys.argv[1]
dist = metadata.distribution(name)
version = dist.version
files = [str(f) for f in dist.files]
assert any(f.endswith('py.typed') for f in files), 'no py.typed in the wheel'
assert any('LICENSE' in f for f in files), 'no licence in the wheel'
assert not any(f.startswith(('tests/', 'examples/')) for f in files), 'tests in the wheel'
entries = dist.entry_points.select(group='mxcore')
try:
    import mxcore as mx
except ModuleNotFoundError:
    assert name != 'mxcore'
    for entry in entries:
        importlib.import_module(entry.module.partition('.')[0])
    print(name, version, 'alone, without the core: imports')
    sys.exit()
assert mx.__version__ == version
for entry in entries:
    entry.load()
assert not [r for r in mx.plugins.records() if r.traceback], mx.plugins.records()
net = mx.gluon.nn.Dense(1)
net.initialize(mx.init.Zero())
trainer = mx.gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.1})
x = mx.nd.array([[1, 0], [0, 1], [1, 1]])
y = mx.nd.array([[2], [-1], [1]])
for _ in range(200):
    with mx.autograd.record():
        loss = mx.gluon.loss.L2Loss()(net(x), y)
    loss.backward()
    trainer.step(3)
assert abs(net(x) - y).max().asscalar() < 0.1, net(x)
print(name, version, 'alone: a network learns')
"""

TASKS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo, "test": test, "lint": lint, "types": types, "layers": layers, "stubs": stubs, "opencl": opencl,
    "cuda": cuda, "gpu": gpu, "bench": bench,
    "wheels": wheels, "install": install_all}


def usage() -> str:
    """The help text, from the docstrings."""
    tasks = (f"    {name:<8}{(task.__doc__ or '').splitlines()[0]}\n" for name, task in TASKS.items())
    return f"{__doc__}\nTasks:\n{''.join(tasks)}"


def main(argv: list[str]) -> int:
    """Run the task that the arguments name."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in TASKS:
        raise Trouble(f"no task '{argv[0]}'; there are {', '.join(TASKS)}.")
    return TASKS[argv[0]](argv[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Trouble as error:
        sys.exit(f"dev.py: {error}")
    except OSError as error:
        sys.exit(f"dev.py: {explain(str(error), str(error))}")
    except KeyboardInterrupt:
        sys.exit("dev.py: interrupted")
