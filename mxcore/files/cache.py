"""Folders of what can be made again: compiled kernels."""

import contextlib
import os
import sys
from pathlib import Path

from ..base import config

__all__ = ["cache_folder", "prune"]

_MOST, _FEWER = 4000, 3000  # files at which a folder is made smaller, and how many stay


def cache_folder(name: str) -> Path:
    """The folder ``name`` in ``MXCORE_HOME``, or in mxcore's part of the system's folder for caches; it may not exist yet.

    >>> cache_folder("kernels").name
    'kernels'
    """
    home = config("MXCORE_HOME")
    if home:
        return Path(home).expanduser() / name
    if sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "mxcore" / name


def prune(folder: Path, pattern: str) -> None:
    """Where there are thousands of files, remove those that were used least lately: whose time of change is the oldest.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    used = []
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process prunes too
            used.append((path.stat().st_mtime, path))
    if len(used) > _MOST:
        for _, path in sorted(used)[:-_FEWER]:
            path.unlink(missing_ok=True)
