"""``dev.py``: what it says when the machine is the trouble, and when it installs."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module, with a workspace and an environment of its own that hold nothing yet."""
    spec = importlib.util.spec_from_file_location("mxcore_dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "backends" / "b").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "core"\n')
    (tmp_path / "backends" / "b" / "pyproject.toml").write_text('[project]\nname = "core-b"\n')
    (tmp_path / ".venv").mkdir()
    for name, value in (("ROOT", tmp_path), ("VENV", tmp_path / ".venv"), ("STAMP", tmp_path / ".venv" / "stamp.json"),
                        ("PYTHON", Path(sys.executable))):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)  # no uv
    return module


@pytest.fixture
def builds(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list:
    """What ``ensure`` would have installed: (extras, whether into a new environment)."""
    done: list = []
    monkeypatch.setattr(dev, "build", lambda uv, extras, fresh: done.append((extras, fresh)))
    return done


def test_an_old_python_is_told_so_and_what_to_run() -> None:
    program = f"import sys; sys.version_info = (3, 9, 1); exec(open({str(ROOT / 'dev.py')!r}).read())"
    done = subprocess.run([sys.executable, "-c", program, "demo"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "mxcore needs Python 3.11 or later, and this is 3.9" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_task_names_those_that_exist() -> None:
    done = subprocess.run([sys.executable, ROOT / "dev.py", "dmeo"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "no task 'dmeo'; there are demo, test" in done.stderr


def test_help_describes_every_task(dev: ModuleType) -> None:
    text = dev.usage()
    assert all(f"    {name}" in text for name in dev.TASKS)


@pytest.mark.parametrize(("output", "sentence"), [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
    ("NewConnectionError('...: Failed to establish a new connection: [Errno -2] Name or service not known')",
     "the package index cannot be reached"),
    ("error: Failed to fetch: dns error: failed to lookup address information", "the package index cannot be reached"),
    ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...", "is not trusted"),
    ("[Errno 13] Permission denied: '/usr/lib/python3'", "no permission to write"),
    ("Segmentation fault", "as it was"),
])
def test_an_installer_that_fails_is_explained(dev: ModuleType, output: str, sentence: str) -> None:
    assert sentence in dev.explain(output, "as it was")


def test_a_failing_step_shows_its_output_and_raises(dev: ModuleType, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(dev.Trouble, match="the disk is full"):
        dev.install_step(sys.executable, "-c", "import sys; print('No space left on device'); sys.exit(1)")
    assert "No space left on device" in capsys.readouterr().out


def test_a_python_without_venv(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(dev.Trouble, match=r"no venv module.*apt install python3\.\d+-venv"):
        dev.make_venv(None)


def test_a_full_disk_is_noticed_before_anything_is_done(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5_000_000}))
    with pytest.raises(dev.Trouble, match="the disk is full: 5 MB are free"):
        dev.ensure("test")


def test_a_second_run_installs_nothing(dev: ModuleType, builds: list) -> None:
    dev.ensure("plot")
    dev.ensure("plot")
    assert builds == [(["plot"], True)]


def test_another_task_adds_its_extras_to_the_same_environment(dev: ModuleType, builds: list) -> None:
    dev.ensure("plot")
    dev.ensure("test")
    dev.ensure("plot")
    assert builds == [(["plot"], True), (["plot", "test"], False)]


def test_an_extra_that_another_includes_is_there(dev: ModuleType, builds: list, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "core"\n[project.optional-dependencies]\n'
                                             'dev = ["core[test]", "ruff>=1"]\ntest = ["core[plot,image]"]\n')
    dev.ensure("dev")
    dev.ensure("plot")
    assert builds == [(["dev"], True)]


def test_a_changed_pyproject_installs_anew(dev: ModuleType, builds: list, tmp_path: Path) -> None:
    dev.ensure("plot")
    (tmp_path / "backends" / "b" / "pyproject.toml").write_text('[project]\nname = "core-b"\nversion = "2"\n')
    dev.ensure("plot")
    assert builds == [(["plot"], True), (["plot"], True)]


def test_a_failed_installation_is_not_taken_for_done(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise dev.Trouble("no")

    dev.STAMP.write_text("[not json")
    monkeypatch.setattr(dev, "build", fail)
    with pytest.raises(dev.Trouble):
        dev.ensure("plot")
    assert dev.read_stamp() == {}


def test_uv_that_fails_gives_way_to_pip(dev: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture) -> None:
    tools = []

    def build(uv: str | None, extras: list[str], fresh: bool) -> None:
        tools.append(uv)
        if uv:
            raise dev.Trouble("no index.")

    monkeypatch.setattr(dev.shutil, "which", lambda name: "/bin/uv")
    monkeypatch.setattr(dev, "build", build)
    dev.ensure("plot")
    assert tools == ["/bin/uv", None] and "Trying again with venv and pip" in capsys.readouterr().out
