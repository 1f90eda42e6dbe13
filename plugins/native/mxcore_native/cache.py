"""Compiled functions on disk.

A file ``KEY.so`` holds the function ``loop_KEY``, and others that were compiled with it: the same file under several names.
The key says what it was made of and for. Files are written under another name and then renamed, so that processes do not
see each other's unfinished ones; each ends with a checksum, since loading a broken library may end the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mxcore.files.cache import cache_folder, prune

__all__ = ["build_folder", "enter", "folder", "load"]

_MARK = b"mxcore-native\0"
_OLD = 24 * 3600  # seconds after which a folder of a build was left by a process that ended


def folder() -> Path:
    """Where they are: ``kernels`` in ``MXCORE_HOME``, or in the folder of the system for caches."""
    return cache_folder("kernels")


def load(key: str) -> ctypes.CDLL | None:
    """The library with ``loop_KEY``; None if there is none, or it is broken or somebody else's."""
    path = folder() / f"{key}.so"
    try:
        with open(path, "rb") as f:
            about = os.fstat(f.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
            content = f.read()
    except OSError:
        return None
    body, digest = content[:-32], content[-32:]
    if not body.endswith(_MARK) or hashlib.sha256(body).digest() != digest:
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    with contextlib.suppress(OSError):  # gone already, or a disk that is read only: the time of use is a mere hint
        os.utime(path)
    return library if hasattr(library, f"loop_{key}") else None


@contextlib.contextmanager
def build_folder() -> Iterator[Path]:
    """A new folder for one run of the compiler, on the disk of the cache; removed afterwards.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    home = folder()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in home.glob(".build-*"):
        with contextlib.suppress(OSError):  # another process may be removing it too
            if time.time() - left.stat().st_mtime > _OLD:
                shutil.rmtree(left)
    made = home / f".build-{secrets.token_hex(8)}"
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def enter(library: Path, keys: Iterable[str]) -> None:
    """Put a library that was built in :func:`build_folder` into the cache, under the key of each of its functions."""
    with open(library, "rb+") as f:
        body = f.read() + _MARK
        f.write(_MARK + hashlib.sha256(body).digest())
    library.chmod(0o700)
    for key in keys:
        link = library.with_name(key)
        try:
            os.link(library, link)
        except OSError:  # a file system without links
            shutil.copy2(library, link)
        os.replace(link, folder() / f"{key}.so")
    prune(folder(), "*.so")
