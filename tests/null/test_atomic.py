"""Files that are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from mxcore.errors import ArgumentError
from mxcore.files.atomic import atomic_write


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with atomic_write(path) as out:
        out.write(b"all")
        out.flush()
        assert not path.exists()
    assert path.read_bytes() == b"all" and os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "old"
    path.write_text("before")
    with pytest.raises(error), atomic_write(path, "w") as out:
        out.write("half")
        raise error
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["old"]


def test_permissions_links_and_text(tmp_path: Path) -> None:
    path, link = tmp_path / "real", tmp_path / "link"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)
    with atomic_write(link, "w") as out:
        out.write("äß")
    assert link.is_symlink() and path.read_bytes() == "äß".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_device_is_not_replaced() -> None:
    with atomic_write(os.devnull) as out:
        out.write(b"gone")
    assert not os.path.isfile(os.devnull)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "no" / "folder"):
        pass
    with pytest.raises(ArgumentError, match="'ab'"), atomic_write(tmp_path / "x", "ab"):
        pass


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with atomic_write(path) as out:
        out.write(b"x")
    assert path.read_bytes() == b"x"
