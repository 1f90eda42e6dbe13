"""IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist), plain or gzipped."""

import gzip
import io
import math
import os
import struct
import sys
import zlib

import numpy as np

from ..errors import FileFormatError

__all__ = ["read_idx"]

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_DEFLATE_LIMIT = 1032  # a compressed byte never stands for more
_MAX_RANK = 64  # of a NumPy array


def read_idx(path: "str | os.PathLike[str]") -> np.ndarray:
    """Read the one array that an IDX file holds.

    Whether the file is gzipped is seen from its content, not from its name.

    Parameters
    ----------
    path : str or os.PathLike
        The file; ``~`` is not expanded.

    Returns
    -------
    numpy.ndarray
        Of the shape and type that the header gives (uint8, int8, int16, int32, float32 or float64), in the
        machine's byte order, writable.

    Raises
    ------
    FileFormatError
        If the header is not that of an IDX file or does not match the length of the data, or the compressed data are
        damaged. No memory is taken beyond what the file can hold.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "labels")
    >>> with open(path, "wb") as file:
    ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    label = os.fspath(path)
    with open(path, "rb") as raw:
        limit = os.fstat(raw.fileno()).st_size
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not zipped:
            return _read(raw, limit, label)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(stream, limit * _DEFLATE_LIMIT, label)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FileFormatError(f"{label}: damaged gzip data: {error}") from error


def _read(stream: io.BufferedIOBase, limit: int, label: str) -> np.ndarray:
    """Read from a stream that holds ``limit`` bytes at most."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] > _MAX_RANK:
        kinds = ", ".join(f"{code:#04x}" for code in _TYPES)
        raise FileFormatError(f"{label}: not an IDX file: it starts with {magic.hex(' ') or 'nothing'}, "
                              f"expected 00 00, a type ({kinds}) and a rank of at most {_MAX_RANK}")
    dtype, rank = np.dtype(_TYPES[magic[2]]), magic[3]
    header = stream.read(4 * rank)
    if len(header) < 4 * rank:
        raise FileFormatError(f"{label}: truncated: {rank} extents of 4 bytes expected, {len(header)} bytes remain")
    shape = struct.unpack(f">{rank}I", header)
    size = math.prod(shape) * dtype.itemsize
    if size > limit:
        raise FileFormatError(f"{label}: truncated or corrupt: the header announces {dtype} {shape}, {size} bytes; "
                              f"a file of this length holds {limit} at most")
    array = np.empty(size, np.uint8)
    filled = 0
    while filled < size:  # a gzip stream gives what it has, not all that is asked for
        count = stream.readinto(array.data[filled:])
        if not count:
            raise FileFormatError(f"{label}: truncated: the header announces {dtype} {shape}, {size} bytes, "
                                  f"but the data end after {filled}")
        filled += count
    if stream.read(1):
        raise FileFormatError(f"{label}: more data follow than the {size} bytes of {dtype} {shape} "
                              "that the header announces")
    values = array.view(dtype)
    if sys.byteorder == "little" and dtype.itemsize > 1:
        values.byteswap(inplace=True)
    try:
        return values.reshape(shape)
    except ValueError as error:  # an extent of 0 beside extents that NumPy cannot count
        raise FileFormatError(f"{label}: the shape {shape} in the header: {error}") from None
