"""The demo, run as a user runs it, but for fewer epochs."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "train_digits.py"

pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")


def run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, timeout=600,
                          env=dict(os.environ, MPLBACKEND="Agg"))


def test_the_data_are_the_digits() -> None:
    with np.load(ROOT / "examples" / "data" / "digits.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    assert images.shape == (1797, 8, 8) and images.dtype == np.uint8 and images.max() == 16
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_train_export_and_reload(tmp_path: Path) -> None:
    done = run("--epochs", 3, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout and "bit for bit" in done.stdout
    accuracy = float(done.stdout.split("held-out digits: ")[1].split("%")[0])
    assert accuracy > 90
    assert {p.name for p in tmp_path.iterdir()} == {"digits-symbol.json", "digits-0000.params", "digits.png"}
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_mnist_from_idx_files(tmp_path: Path, packed: bool) -> None:
    generator = np.random.default_rng(0)
    for part, count in (("train", 96), ("t10k", 32)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8)
        labels = generator.integers(0, 10, count, np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            content = header + array.tobytes()
            path = tmp_path / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    done = run("--data", "mnist", "--root", tmp_path, "--epochs", 1, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "96 digits to learn from, 32 held out" in done.stdout


def test_mnist_without_a_folder_says_what_is_missing() -> None:
    done = run("--data", "mnist")
    assert done.returncode == 2 and "--root DIR" in done.stderr


def test_a_device_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    done = run("--ctx", "nosuchdevice", "--out", tmp_path)
    assert done.returncode == 1 and "nosuchdevice" in done.stderr
    assert "Traceback" not in done.stderr
