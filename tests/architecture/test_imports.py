"""What ``import mxcore`` may load: the start-up budget, kept on ``sys.modules`` and not on seconds."""

import json
import subprocess
import sys

import pytest

FORBIDDEN = ("pluggy", "importlib.metadata", "scipy", "matplotlib", "PIL", "tqdm", "safetensors", "mxcore.gluon",
             "mxcore.plugins", "mxcore_numpy", "cupy", "pyopencl", "multiprocessing", "urllib.request")


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules that ``import mxcore`` adds to those of a bare interpreter with NumPy."""
    program = ("import sys, json, numpy; before = set(sys.modules); import mxcore;"
               "print(json.dumps(sorted(set(sys.modules) - before)))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout))


def test_mxcore_itself_is_loaded(loaded: set[str]) -> None:
    assert "mxcore" in loaded


@pytest.mark.parametrize("name", FORBIDDEN)
def test_import_stays_light(loaded: set[str], name: str) -> None:
    found = sorted(m for m in loaded if m == name or m.startswith(name + "."))
    assert not found, f"import mxcore loads {found[:5]}; import it at its first use instead"
