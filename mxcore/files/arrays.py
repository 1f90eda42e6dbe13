"""Files of arrays in the format that their suffix names: ``.safetensors``, else MXNet's ``.params``."""

import os
from collections.abc import Collection, Sequence
from types import ModuleType
from typing import Any

from . import params
from .params import HostArray

__all__ = ["read_arrays", "write_arrays"]


def _format_of(path: "str | os.PathLike[str]") -> ModuleType:
    if os.fspath(path).endswith(".safetensors"):
        from . import safetensors_file

        return safetensors_file
    return params


def read_arrays(path: "str | os.PathLike[str]") -> tuple[list[HostArray], list[str]]:
    """Read a file of arrays, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        A safetensors file if it ends in ``.safetensors``, else one in MXNet's format.

    Returns
    -------
    (list of HostArray, list of str)
        The arrays, and as many names, or none if the file holds a plain list.

    Raises
    ------
    FileFormatError
        If the file is truncated, corrupt or of another format.
    OSError
        If the file cannot be opened.
    """
    return _format_of(path).read(path)


def write_arrays(path: "str | os.PathLike[str]", arrays: Collection[Any], names: Sequence[str] = (),
                 np_shape: bool = False) -> None:
    """Write a file of arrays, in the format that the suffix names, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        Ends in ``.safetensors`` for that format; any other name means MXNet's.
    arrays : collection of HostArray or numpy.ndarray
        What to write.
    names : sequence of str
        As many names as arrays, or none for a plain list.
    np_shape : bool
        See :func:`mxcore.files.params.write`.

    Raises
    ------
    MXNetError
        If an array cannot be expressed in the format.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile, numpy as np
    >>> path = os.path.join(tempfile.mkdtemp(), "w.safetensors")
    >>> write_arrays(path, [np.ones(2, "float16")], ["w"])
    >>> read_arrays(path)[0][0].data
    array([1., 1.], dtype=float16)
    """
    _format_of(path).write(path, arrays, names, np_shape)
