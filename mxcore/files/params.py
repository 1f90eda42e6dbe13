"""MXNet's binary file of arrays (``.params``), read and written with NumPy alone.

The layout was worked out from files that MXNet 1.9.1 wrote and from what it accepts. All numbers are little-endian::

    file     u64 0x112, u64 0, u64 count, that many records, u64 count of names (0: the file is a list), the names
    name     u64 length, UTF-8 text
    record   V2, V3: u32 magic, i32 storage (0 dense, 1 row_sparse, 2 csr), [sparse: shape of the values], shape,
                     context, i32 type code, [sparse: i32 type code and shape of each index array], values, indices
             V1:     u32 magic, shape, context, i32 type code, values
             V0:     shape with u32 extents, context, i32 type code, values (no magic: the rank comes first)
    shape    u32 rank, i64 extents
    context  i32 kind of device, i32 its number

V3 differs from V2 in its magic alone: it was written under np-shape semantics, where a rank of 0 is a scalar rather
than an array that does not exist.
"""

import io
import math
import os
import stat
import struct
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from ..dtype import CODES, code_of, dtype_of
from ..errors import ArgumentError, FileFormatError, MXNetError, ShapeError
from .atomic import atomic_write

__all__ = ["HostArray", "read", "read_record", "record_to_bytes", "to_bytes", "write"]

LIST_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
STYPES = ("default", "row_sparse", "csr")
_INDEX_ARRAYS = {"default": (), "row_sparse": ("indices",), "csr": ("indptr", "indices")}
_MAX_RANK = 64  # of a NumPy array
_SMALLEST_RECORD = 20  # rank 1 in V0: rank, extent, context, type code


@dataclass(frozen=True, eq=False)
class HostArray:
    """An array in host memory as a file stores it: dense, or the parts of a sparse one.

    Parameters
    ----------
    data : numpy.ndarray
        The values: all of them if dense, the stored rows (row_sparse) or elements (csr) otherwise.
    stype : {"default", "row_sparse", "csr"}
        The storage type.
    aux : tuple of numpy.ndarray
        ``()``, ``(indices,)`` for row_sparse, ``(indptr, indices)`` for csr.
    shape : tuple of int, optional
        The shape of the whole array; default the shape of ``data``, which is right for dense arrays only.
    context : (int, int)
        MXNet's type id and number of the device that the array was on; (1, 0) is cpu(0).

    Raises
    ------
    ShapeError
        If the parts do not fit together: wrong ranks or lengths, indices out of range, a decreasing ``indptr``.

    Examples
    --------
    >>> rows = HostArray(np.ones((1, 2)), "row_sparse", (np.array([3]),), (5, 2))
    >>> rows.shape, rows.dtype
    ((5, 2), dtype('float64'))
    """

    data: np.ndarray
    stype: str = "default"
    aux: tuple[np.ndarray, ...] = ()
    shape: tuple[int, ...] = None  # type: ignore[assignment]  # set below
    context: tuple[int, int] = (1, 0)

    def __post_init__(self) -> None:
        if self.shape is None:
            object.__setattr__(self, "shape", self.data.shape)
        problem = _inconsistency(self)
        if problem:
            raise ShapeError(problem)

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        return self.data.dtype


def _inconsistency(array: HostArray) -> str | None:
    """What is wrong with the parts of an array, if anything."""
    data, aux, shape, stype = array.data, array.aux, array.shape, array.stype
    if stype not in _INDEX_ARRAYS:
        return f"storage type {stype!r} is none of {', '.join(STYPES)}"
    if len(aux) != len(_INDEX_ARRAYS[stype]):
        return f"{stype} needs {len(_INDEX_ARRAYS[stype])} index arrays, not {len(aux)}"
    if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in aux):
        return f"index arrays of {stype} must be integers of one dimension"
    if stype == "default":
        return None if data.shape == shape else f"values of shape {data.shape} in an array of shape {shape}"
    indices = aux[-1]
    if stype == "row_sparse":
        if not shape or data.shape != (len(indices), *shape[1:]):
            return f"row_sparse of shape {shape}: values of shape {data.shape} do not match {len(indices)} row indices"
        limit = shape[0]
    else:
        indptr = aux[0]
        if len(shape) != 2 or len(indptr) != shape[0] + 1:
            return f"csr of shape {shape}: indptr has {len(indptr)} elements instead of rows + 1"
        if data.shape != (len(indices),):
            return f"csr: values of shape {data.shape} do not match {len(indices)} column indices"
        if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr[1:] < indptr[:-1]).any():
            return f"csr: indptr does not rise from 0 to {len(indices)}, the number of stored elements"
        limit = shape[1]
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < limit:
        return f"{stype} of shape {shape}: indices reach from {indices.min()} to {indices.max()}"
    return None


class _Source:
    """A binary stream of known length: what does not fit into the rest is refused before memory is taken for it."""

    def __init__(self, stream: io.BufferedIOBase, length: int, label: str) -> None:
        self.stream, self.length, self.label = stream, length, label
        self.offset = 0
        self.place = ""  # the record being read, for messages

    def fail(self, problem: str) -> FileFormatError:
        place = f", {self.place}" if self.place else ""
        return FileFormatError(f"{self.label}: {problem} (at byte {self.offset} of {self.length}{place})")

    def need(self, count: int, what: str) -> None:
        """Check that ``count`` bytes remain."""
        if count > self.length - self.offset:
            raise self.fail(f"truncated or corrupt: {what} needs {count} bytes, {self.length - self.offset} remain")

    def take(self, count: int, what: str) -> bytes:
        self.need(count, what)
        data = self.stream.read(count)
        if len(data) != count:
            raise self.fail(f"the file became shorter while {what} was read")
        self.offset += count
        return data

    def unpack(self, form: str, what: str) -> tuple[int, ...]:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form), what))

    def shape(self, what: str, extent: str = "q", rank: int | None = None) -> tuple[int, ...]:
        if rank is None:
            (rank,) = self.unpack("i", f"the rank of {what}")
        if not 0 <= rank <= _MAX_RANK:
            raise self.fail(f"{what} has rank {rank}, expected 0 to {_MAX_RANK}")
        shape = self.unpack(f"{rank}{extent}", f"{what} of rank {rank}")
        if any(n < 0 for n in shape):
            raise self.fail(f"{what} {shape} has a negative extent")
        return shape

    def dtype(self, what: str) -> np.dtype:
        (code,) = self.unpack("i", f"the type code of {what}")
        if code not in CODES:
            raise self.fail(f"type code {code} of {what} is unknown, expected 0 to {max(CODES)}")
        return dtype_of(code)

    def array(self, shape: tuple[int, ...], dtype: np.dtype, what: str) -> np.ndarray:
        self.need(math.prod(shape) * dtype.itemsize, f"{what} of shape {shape} and type {dtype}")
        try:
            array = np.empty(shape, dtype)
        except ValueError as error:  # an extent of 0 beside one that NumPy cannot count
            raise self.fail(f"{what} of shape {shape}: {error}") from None
        raw = array.reshape(-1).view(np.uint8)
        if raw.size and self.stream.readinto(raw.data) != raw.size:
            raise self.fail(f"the file became shorter while {what} were read")
        self.offset += raw.size
        if dtype == np.bool_ and raw.size and raw.max() > 1:
            raise self.fail(f"{what} of type bool hold a byte that is neither 0 nor 1")
        return array.byteswap() if sys.byteorder == "big" else array


def _source(file: Any, label: str | None) -> _Source:
    """The source for a path, a buffer, or a binary file object (read from where it stands)."""
    if isinstance(file, (bytes, bytearray, memoryview)):
        return _Source(io.BytesIO(file), memoryview(file).nbytes, label or "buffer")
    if isinstance(file, (str, os.PathLike)):
        stream = open(file, "rb")  # closed by read
        status = os.fstat(stream.fileno())
        if stat.S_ISREG(status.st_mode):
            return _Source(stream, status.st_size, label or os.fspath(file))
        with stream:  # a pipe or device has no length
            return _source(stream.read(), label or os.fspath(file))
    if hasattr(file, "read"):
        return _source(file.read(), label or str(getattr(file, "name", "file object")))
    raise ArgumentError(f"cannot read arrays from {type(file).__name__}: give a path, bytes or a binary file object")


def _read_record(source: _Source) -> HostArray:
    (magic,) = source.unpack("I", "the magic number of an array")
    stype, stored = "default", None
    if magic in (V2, V3):
        (number,) = source.unpack("i", "the storage type")
        if not 0 <= number < len(STYPES):
            raise source.fail(f"storage type {number} is unknown, expected 0 (dense), 1 (row_sparse) or 2 (csr)")
        stype = STYPES[number]
        if stype != "default":
            stored = source.shape("the shape of the stored values")
        shape = source.shape("the shape")
    elif magic == V1:
        shape = source.shape("the shape")
    elif magic <= _MAX_RANK:
        shape = source.shape("the shape", extent="I", rank=magic)
    else:
        raise source.fail(f"no array starts with {magic:#010x}; expected {V1:#x} to {V3:#x} (or a rank, in old files)")
    if not shape and magic != V3:
        raise source.fail("the array was saved before it had a shape, so it has no values")
    context = source.unpack("ii", "the context")
    dtype = source.dtype("the values")
    aux = [(name, source.dtype(name), source.shape(f"the shape of {name}")) for name in _INDEX_ARRAYS[stype]]
    data = source.array(shape if stored is None else stored, dtype, "the values")
    indices = tuple(source.array(shape_, dtype_, name) for name, dtype_, shape_ in aux)
    try:
        return HostArray(data, stype, indices, shape, (context[0], context[1]))
    except ShapeError as error:
        raise source.fail(str(error)) from None


def _read_list(source: _Source) -> tuple[list[HostArray], list[str]]:
    magic, reserved, count = source.unpack("QQQ", "the header")
    if magic != LIST_MAGIC:
        raise source.fail(f"not a file of arrays: it starts with {magic:#x}, expected {LIST_MAGIC:#x}")
    if reserved != 0:
        raise source.fail(f"the reserved word is {reserved:#x}, expected 0")
    source.need(count * _SMALLEST_RECORD, f"a list of {count} arrays")
    arrays = []
    for index in range(count):
        source.place = f"array {index} of {count}"
        arrays.append(_read_record(source))
    source.place = ""
    (named,) = source.unpack("Q", "the number of names")
    if named not in (0, count):
        raise source.fail(f"{named} names for {count} arrays")
    names = []
    for index in range(named):
        source.place = f"name of array {index}"
        (length,) = source.unpack("Q", "the length of a name")
        raw = source.take(length, "a name")
        try:
            names.append(raw.decode())
        except UnicodeDecodeError:
            raise source.fail(f"the name {raw[:40]!r} is not UTF-8") from None
    source.place = ""
    if source.offset != source.length:
        raise source.fail(f"{source.length - source.offset} bytes follow the end of the list")
    return arrays, names


def read(file: Any, label: str | None = None) -> tuple[list[HostArray], list[str]]:
    """Read a ``.params`` file of any version, whole or not at all.

    Parameters
    ----------
    file : str, os.PathLike, bytes-like or binary file object
        A path (``~`` is not expanded), the content itself, or an open file, read from where it stands to its end.
    label : str, optional
        What to call the file in messages.

    Returns
    -------
    (list of HostArray, list of str)
        The arrays, and as many names, or no names if the file holds a plain list.

    Raises
    ------
    FileFormatError
        If the file is truncated, corrupt or of another format. No memory is taken beyond what the file holds.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> arrays, names = read(to_bytes([np.float32([1, 2])], ["w"]))
    >>> names, arrays[0].data
    (['w'], array([1., 2.], dtype=float32))
    """
    source = _source(file, label)
    with source.stream:
        return _read_list(source)


def read_record(data: "bytes | bytearray | memoryview", label: str = "pickled array") -> HostArray:
    """Read one array without a list around it, as a pickled MXNet NDArray holds it.

    Raises
    ------
    FileFormatError
        If the bytes are not exactly one array.

    Examples
    --------
    >>> read_record(record_to_bytes(np.float32([1, 2]))).data
    array([1., 2.], dtype=float32)
    """
    source = _source(data, label)
    array = _read_record(source)
    if source.offset != source.length:
        raise source.fail(f"{source.length - source.offset} bytes follow the end of the array")
    return array


def _shape_bytes(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<i{len(shape)}q", len(shape), *shape)


def _header_bytes(array: HostArray, np_shape: bool) -> bytes:
    """All of a record that stands before the values."""
    if not array.shape and not np_shape:
        raise ShapeError("an array without dimensions can only be saved under np-shape semantics (np_shape=True)")
    if array.stype != "default" and np_shape:
        raise ArgumentError(f"a {array.stype} array cannot be saved under np-shape semantics (np_shape=True)")
    parts = [struct.pack("<Ii", V3 if np_shape else V2, STYPES.index(array.stype))]
    if array.stype != "default":
        parts.append(_shape_bytes(array.data.shape))
    parts.append(_shape_bytes(array.shape))
    parts.append(struct.pack("<iii", *array.context, code_of(array.dtype)))
    parts += [struct.pack("<i", code_of(index.dtype)) + _shape_bytes(index.shape) for index in array.aux]
    return b"".join(parts)


def _write_values(out: IO[bytes], array: HostArray) -> None:
    for part in (array.data, *array.aux):
        values = np.ascontiguousarray(part, dtype_of(part.dtype))
        if sys.byteorder == "big":
            values = values.byteswap()
        out.write(values.reshape(-1).view(np.uint8).data)


def _write_list(out: IO[bytes], arrays: Collection[Any], names: Sequence[str], np_shape: bool) -> None:
    if len(names) not in (0, len(arrays)):
        raise ArgumentError(f"{len(names)} names for {len(arrays)} arrays")
    out.write(struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays)))
    for index, array in enumerate(arrays):
        array = array if isinstance(array, HostArray) else HostArray(np.asarray(array))
        try:
            header = _header_bytes(array, np_shape)
        except MXNetError as error:
            name = f" {names[index]!r}" if names else ""
            raise type(error)(f"cannot save array {index}{name}: {error}") from None
        out.write(header)
        _write_values(out, array)
    out.write(struct.pack("<Q", len(names)))
    for name in names:
        text = name.encode()
        out.write(struct.pack("<Q", len(text)) + text)


def write(path: "str | os.PathLike[str]", arrays: Collection[Any], names: Sequence[str] = (),
          np_shape: bool = False) -> None:
    """Write arrays as a ``.params`` file, byte for byte as MXNet 1.9.1 would.

    The file appears at ``path`` only once it is complete.

    Parameters
    ----------
    path : str or os.PathLike
        The file; ``~`` is not expanded.
    arrays : collection of HostArray or numpy.ndarray
        What to write, taken one by one. Plain NumPy arrays are written as being on cpu(0).
    names : sequence of str
        As many names as arrays, or none for a plain list.
    np_shape : bool
        Write version V3, which MXNet reads under np-shape semantics only and which knows arrays of no dimension;
        otherwise V2.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        If an array cannot be expressed in the format, or the names do not match.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "w.params")
    >>> write(path, [np.zeros((2, 3), "float32")], ["w"])
    >>> read(path)[1]
    ['w']
    """
    with atomic_write(path, "wb") as out:
        _write_list(out, arrays, names, np_shape)


def to_bytes(arrays: Collection[Any], names: Sequence[str] = (), np_shape: bool = False) -> bytes:
    """The content of the file that :func:`write` would write.

    Examples
    --------
    >>> len(to_bytes([]))
    32
    """
    out = io.BytesIO()
    _write_list(out, arrays, names, np_shape)
    return out.getvalue()


def record_to_bytes(array: Any, np_shape: bool = False) -> bytes:
    """One array without a list around it, as MXNet pickles an NDArray.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        As :func:`write`.

    Examples
    --------
    >>> len(record_to_bytes(np.float32([1, 2])))
    40
    """
    array = array if isinstance(array, HostArray) else HostArray(np.asarray(array))
    out = io.BytesIO()
    out.write(_header_bytes(array, np_shape))
    _write_values(out, array)
    return out.getvalue()
