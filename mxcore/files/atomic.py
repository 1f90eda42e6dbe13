"""Whole files or none: write under a temporary name, then put the file in place in one step."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ..errors import ArgumentError

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: "str | os.PathLike[str]", mode: str = "wb", encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file to be written that appears at ``path`` only if the block ends without an exception.

    The temporary file stands in the same folder, so the last step is a rename. If the block fails, the temporary
    file is removed and what was at ``path`` before is untouched. The permissions of a file that is replaced are kept,
    symbolic links are followed, and devices and pipes (``/dev/stdout``) are written to directly.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write. ``~`` is not expanded.
    mode : {"wb", "w"}
        Binary or text.
    encoding : str, optional
        Of a text file; default UTF-8.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to, or the disk is full.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "notes.txt")
    >>> with atomic_write(file, "w") as out:
    ...     _ = out.write("whole")
    >>> file.read_text()
    'whole'
    """
    if mode not in ("w", "wb"):
        raise ArgumentError(f"atomic_write: mode {mode!r} is neither 'w' nor 'wb'")
    encoding = encoding or (None if mode == "wb" else "utf-8")
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, mode, encoding=encoding) as direct:
            yield direct
        return
    # A name of its own length: the target's name may already be as long as the file system allows.
    temporary = os.path.join(os.path.dirname(target), f".mxcore-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, mode.replace("w", "x"), encoding=encoding) as file:
            yield file
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
