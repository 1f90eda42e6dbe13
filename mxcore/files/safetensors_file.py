"""Arrays in safetensors files, by the safetensors library (imported at first use)."""

import json
import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..dtype import code_of, dtype_of
from ..errors import ArgumentError, DTypeError, FileFormatError, MXNetError
from .atomic import atomic_write
from .params import HostArray

__all__ = ["read", "write"]

#: The names of a dict in their order; safetensors itself sorts. A list of arrays has the text "list" instead.
_ORDER = "mxcore.order"
_LIST = "list"


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MXNetError("files with the suffix .safetensors need the safetensors library: "
                         "pip install safetensors") from error
    return safetensors


def read(path: "str | os.PathLike[str]") -> tuple[list[HostArray], list[str]]:
    """Read all arrays of a safetensors file, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        The file; ``~`` is not expanded.

    Returns
    -------
    (list of HostArray, list of str)
        The arrays and their names; no names if :func:`write` wrote a plain list. The order is that in which mxcore
        wrote them, else that of the file.

    Raises
    ------
    FileFormatError
        If the file is truncated, corrupt or of another format, or holds a type that mxcore has not.
    OSError
        If the file cannot be opened.
    """
    library = _library()
    label = os.fspath(path)
    with open(path, "rb"):  # the library's own message names neither the file nor what is wrong with it
        pass
    try:
        with library.safe_open(label, framework="np") as file:
            stored = file.keys()
            note = (file.metadata() or {}).get(_ORDER, "")
            # copied: the library's arrays may be views of the mapped file
            arrays = {name: HostArray(np.array(file.get_tensor(name))) for name in stored}
    except (library.SafetensorError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{label}: not a readable safetensors file: {error}") from error
    for name, array in arrays.items():
        try:
            dtype_of(array.dtype)
        except DTypeError as error:
            raise FileFormatError(f"{label}: array {name!r}: {error}") from None
    order = [str(i) for i in range(len(arrays))] if note == _LIST else _names(note, list(arrays))
    if sorted(order) != sorted(arrays):
        raise FileFormatError(f"{label}: the names noted in the file are not those of its {len(arrays)} arrays")
    return [arrays[name] for name in order], [] if note == _LIST else order


def _names(note: str, default: list[str]) -> list[str]:
    """The names that ``write`` noted; ``default`` in a file from elsewhere."""
    try:
        names = json.loads(note) if note else default
    except ValueError:
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def write(path: "str | os.PathLike[str]", arrays: Collection[Any], names: Sequence[str] = (),
          np_shape: bool = False) -> None:
    """Write dense arrays as a safetensors file, which appears at ``path`` only once it is complete.

    Parameters
    ----------
    path : str or os.PathLike
        The file; ``~`` is not expanded.
    arrays : collection of HostArray or numpy.ndarray
        What to write.
    names : sequence of str
        As many different names as arrays, or none for a plain list (stored under "0", "1", ...).
    np_shape : bool
        Accepted because :func:`mxcore.files.params.write` has it; the format knows arrays of no dimension either way.

    Raises
    ------
    ArgumentError
        If an array is sparse, or the names do not match or are repeated.
    DTypeError
        If an array is of a type that mxcore has not.
    OSError
        If the file cannot be written.
    """
    library = _library()
    hosts = [a if isinstance(a, HostArray) else HostArray(np.asarray(a)) for a in arrays]
    if len(names) not in (0, len(hosts)):
        raise ArgumentError(f"{len(names)} names for {len(hosts)} arrays")
    stored = list(names) or [str(i) for i in range(len(hosts))]
    if len(set(stored)) != len(stored):
        raise ArgumentError("two arrays cannot have one name in a safetensors file")
    tensors = {}
    for name, array in zip(stored, hosts, strict=True):
        if array.stype != "default":
            raise ArgumentError(f"array {name!r} is {array.stype}: safetensors files hold dense arrays only; "
                                "save it in a .params file or make it dense")
        code_of(array.dtype)  # refuses what read would refuse
        tensors[name] = np.asarray(array.data, dtype_of(array.dtype), order="C")
    note = {_ORDER: json.dumps(list(names)) if names else _LIST}
    with atomic_write(path, "wb") as out:
        library.numpy.save_file(tensors, out.name, metadata=note)
