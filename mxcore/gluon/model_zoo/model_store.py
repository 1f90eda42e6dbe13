"""Parameter files of the ready-made networks, on the local disk."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ...base import config
from ...context import Context
from ...errors import MXNetError

__all__ = ["get_model_file", "load_pretrained", "purge"]


def _folder(root: str | os.PathLike | None) -> Path:
    home = config("MXCORE_HOME") or os.path.join("~", ".mxnet")
    return Path(home if root is None else root, *(("models",) if root is None else ())).expanduser()


def get_model_file(name: str, root: str | os.PathLike | None = None) -> str:
    """The local file with the parameters of a network.

    MXNet's server of trained parameters is gone and nothing is downloaded: the files are those that an earlier
    MXNet left on the disk (``resnet18_v1-a0666292.params``), or your own (``resnet18_v1.params``).

    Parameters
    ----------
    name : str
        Name of the network as in :func:`mxcore.gluon.model_zoo.vision.get_model`.
    root : str, optional
        The folder; ``models`` below ``$MXCORE_HOME`` (default ``~/.mxnet``) if not given.

    Returns
    -------
    str
        Path of the file.

    Raises
    ------
    MXNetError
        If there is no such file, or more than one.

    Examples
    --------
    >>> get_model_file("resnet18_v1", root="no/such/folder")
    Traceback (most recent call last):
        ...
    mxcore.errors.MXNetError: There is no file with parameters of 'resnet18_v1' in no/such/folder...
    """
    folder = _folder(root)
    named = folder / f"{name}.params"
    if named.is_file():
        return str(named)
    pattern = re.compile(re.escape(name) + r"-[0-9a-f]{8}\.params")
    found = sorted(p for p in folder.iterdir() if pattern.fullmatch(p.name)) if folder.is_dir() else []
    if len(found) == 1:
        return str(found[0])
    if found:
        raise MXNetError(f"There are {len(found)} files with parameters of '{name}' in {folder} "
                         f"({', '.join(p.name for p in found)}): keep one, or name it {named.name}")
    raise MXNetError(f"There is no file with parameters of '{name}' in {folder}. MXNet's trained parameters are no "
                     f"longer hosted, so pretrained=True needs a local file: put {named.name} (or "
                     f"{name}-<8 hex digits>.params, as MXNet named its downloads) there, pass root=<the folder that "
                     "has it>, or leave out pretrained and call load_parameters(file)")


def load_pretrained(net: Any, name: str, ctx: Context, root: str | os.PathLike | None) -> None:
    """Load the parameters of the network ``name`` from its local file into ``net``; see :func:`get_model_file`."""
    net.load_parameters(get_model_file(name, root), ctx=ctx)


def purge(root: str | os.PathLike | None = None) -> None:
    """Delete all parameter files in the folder of :func:`get_model_file`.

    Parameters
    ----------
    root : str, optional
        The folder.
    """
    folder = _folder(root)
    for path in folder.glob("*.params") if folder.is_dir() else ():
        path.unlink()
