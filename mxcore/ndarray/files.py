"""Saving, loading and pickling of arrays, in MXNet's formats (or safetensors, by suffix)."""

import os
from collections.abc import Sequence
from typing import Any

from ..context import Context
from ..errors import ArgumentError, BackendMissingError, ContextError, FileFormatError, MXNetError
from ..files import params
from ..files.arrays import read_arrays, write_arrays
from ..files.params import HostArray
from ..runtime.device import Device, device_of
from ..runtime.invoke import wrap
from .ndarray import NDArray

__all__ = ["load", "load_frombuffer", "save"]


class _OnHost(Sequence):
    """Arrays that come to the host one by one, as they are asked for: a file needs no second copy of all of them."""

    def __init__(self, arrays: Sequence[NDArray]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: Any) -> HostArray:  # type: ignore[override]  # never asked for a slice
        return _to_host(self.arrays[index])


def _to_host(array: NDArray) -> HostArray:
    kind, number = array.context.device_typeid, array.context.device_id
    return HostArray(array.asnumpy(), context=(kind, number) if kind in Context.devtype2str else (1, 0))


def _from_host(host: HostArray, index: int = 0, name: str = "", context: Context | None = None) -> NDArray:
    if host.stype != "default":
        which = f"array {index}" + (f" ({name!r})" if name else "")
        raise MXNetError(f"{which} of the file is of storage type {host.stype!r}; arrays here are dense. "
                         "mxcore.files.params.read gives its parts as NumPy arrays")
    if context is None:  # MXNet keeps the number of a GPU, and takes all of the host's memory for cpu(0)
        context = Context("gpu", host.context[1]) if host.context[0] == 2 else Context("cpu", 0)
    dev = _device(context)
    return wrap(NDArray, dev.backend.from_host(host.data, dev.index), dev)


def _device(context: Context) -> Device:
    """The device that an array was saved on; the CPU where there is no such device, as in MXNet."""
    try:
        return device_of(context)
    except (BackendMissingError, ContextError):
        if context.device_type == "cpu":
            raise
        return device_of(Context("cpu", 0))


def _path(fname: Any) -> str:
    if not isinstance(fname, (str, os.PathLike)):
        raise ArgumentError(f"fname required to be a string or path, not {type(fname).__name__}")
    return os.fspath(fname)


def save(fname: "str | os.PathLike[str]", data: "NDArray | list[NDArray] | dict[str, NDArray]") -> None:
    """Save an array, a list of arrays, or a dict of named arrays to a file.

    The file has the bytes that MXNet 1.9 would write, and appears only once it is complete.

    Parameters
    ----------
    fname : str or os.PathLike
        The file. If it ends in ``.safetensors``, that format is written.
    data : NDArray, list of NDArray, or dict of str to NDArray
        What to save; one array is saved as a list of one.

    Raises
    ------
    ArgumentError
        ``data`` is something else (a TypeError and a ValueError, one of which MXNet raises).
    MXNetError
        The file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> fname = os.path.join(tempfile.mkdtemp(), "net.params")
    >>> mx.nd.save(fname, {"w": mx.nd.ones((2, 2)), "b": mx.nd.zeros(2)})
    >>> sorted(mx.nd.load(fname))
    ['b', 'w']
    """
    names: tuple[str, ...] = ()
    if isinstance(data, NDArray):
        data = [data]
    if isinstance(data, dict):
        names, arrays = tuple(data), list(data.values())
    elif isinstance(data, list):
        arrays = data
    else:
        raise ArgumentError("data needs to either be a NDArray, dict of str, NDArray pairs or a list of NDarrays, "
                            f"not {type(data).__name__}.")
    for key, value in zip(names or range(len(arrays)), arrays, strict=True):
        if not isinstance(value, NDArray) or (names and not isinstance(key, str)):
            raise ArgumentError("save only accept dict str->NDArray or list of NDArray; the item under "
                                f"{key!r} is {type(value).__name__}")
    path = _path(fname)
    try:
        write_arrays(path, _OnHost(arrays), names)
    except OSError as error:
        raise MXNetError(f"cannot write {path!r}: {error.strerror or error}") from error


def load(fname: "str | os.PathLike[str]") -> "list[NDArray] | dict[str, NDArray]":
    """Load the arrays of a file that :func:`save` wrote, here or in any version of MXNet.

    Parameters
    ----------
    fname : str or os.PathLike
        The file. If it ends in ``.safetensors``, it is read as such.

    Returns
    -------
    list or dict
        What was saved; an empty dict comes back as an empty list, a single array as a list of one. Arrays saved on a
        GPU come back on it if it is there, all others on the CPU.

    Raises
    ------
    FileFormatError
        The file is truncated, corrupt, or of another format; nothing is loaded then.
    MXNetError
        The file cannot be opened, or holds a sparse array.
    """
    path = _path(fname)
    try:
        arrays, names = read_arrays(path)
    except OSError as error:
        raise MXNetError(f"cannot open {path!r}: {error.strerror or error}") from error
    return _collected(arrays, names)


def load_frombuffer(buf: "bytes | bytearray | memoryview") -> "list[NDArray] | dict[str, NDArray]":
    """Load arrays from the content of a file in MXNet's format.

    Parameters
    ----------
    buf : bytes-like
        What :func:`save` would have written.

    Returns
    -------
    list or dict
        As :func:`load`.

    Raises
    ------
    FileFormatError
        The content is truncated, corrupt, or of another format.

    Examples
    --------
    >>> from mxcore.files import params
    >>> mx.nd.load_frombuffer(params.to_bytes([np.float32([1, 2])]))[0].asnumpy()
    array([1., 2.], dtype=float32)
    """
    if not isinstance(buf, (bytes, bytearray, memoryview)):
        raise ArgumentError(f"buf required to be a string of bytes, not {type(buf).__name__}")
    return _collected(*params.read(buf))


def _collected(hosts: list[HostArray], names: list[str]) -> "list[NDArray] | dict[str, NDArray]":
    arrays: list[NDArray] = []
    hosts.reverse()
    while hosts:  # each host copy goes as soon as its array is on the device
        index = len(arrays)
        arrays.append(_from_host(hosts.pop(), index, names[index] if names else ""))
    return dict(zip(names, arrays, strict=True)) if names else arrays


# ---------------------------------------------------------------------------------------------------------- pickling
def reduced(array: NDArray) -> tuple[Any, tuple[bytes, Context]]:
    """What ``pickle`` stores of an array: MXNet's record of it, and its context."""
    return unpickle, (params.record_to_bytes(_to_host(array), np_shape=not array.shape), array.context)


def unpickle(record: bytes, context: Context) -> NDArray:
    """The array that :func:`reduced` described; on the CPU if its device is not there."""
    if not isinstance(context, Context):
        raise FileFormatError(f"a pickled array is on a {type(context).__name__} instead of a context")
    return _from_host(params.read_record(record), context=context)


def blank(handle: None = None) -> NDArray:
    """An array without content: how MXNet's pickles begin one, before :func:`restore`."""
    if handle is not None:
        raise FileFormatError("a pickled array of MXNet begins with a handle")
    return NDArray.__new__(NDArray)


def restore(array: NDArray, state: Any) -> None:
    """Give a blank array the state of a pickled NDArray of MXNet."""
    if not isinstance(state, dict) or not isinstance(state.get("handle"), (bytes, bytearray)):
        raise FileFormatError("a pickled array of MXNet has no content")
    loaded = _from_host(params.read_record(state["handle"]))
    array._data, array._dev, array._entry = loaded._data, loaded._dev, None
