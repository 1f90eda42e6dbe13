"""The ``.params`` format: round trips, and what is done with files that are damaged."""

import io
import os
import struct
import threading
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxcore.errors import ArgumentError, DTypeError, FileFormatError, ShapeError
from mxcore.files import params
from mxcore.files.params import HostArray

DTYPES = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16", "uint16", "uint32",
          "uint64", ml_dtypes.bfloat16]


def dense_arrays(least: int = 1) -> st.SearchStrategy[HostArray]:
    shapes = hnp.array_shapes(min_dims=least, max_dims=4, min_side=0, max_side=4)
    plain = st.sampled_from(DTYPES[:-1]).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
    short = hnp.arrays("uint16", shapes).map(lambda a: a.view(ml_dtypes.bfloat16))
    contexts = st.tuples(st.integers(1, 5), st.integers(0, 7))
    return st.builds(HostArray, st.one_of(plain, short), context=contexts)


@st.composite
def sparse_arrays(draw: st.DrawFn) -> HostArray:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    values = draw(hnp.arrays(draw(st.sampled_from(["float32", "float64", "int32"])), (rows, columns)))
    mask = draw(hnp.arrays(bool, (rows, columns)))
    if draw(st.booleans()):
        kept = np.flatnonzero(mask[:, 0])
        return HostArray(values[kept], "row_sparse", (kept,), (rows, columns))
    indptr = np.concatenate([[0], np.cumsum(mask.sum(1))])
    return HostArray(values[mask], "csr", (indptr, np.nonzero(mask)[1]), (rows, columns))


def same(a: HostArray, b: HostArray) -> bool:
    parts = zip((a.data, *a.aux), (b.data, *b.aux), strict=True)
    return ((a.stype, a.shape, a.context, a.dtype) == (b.stype, b.shape, b.context, b.dtype)
            and all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in parts))


def small_file() -> bytes:
    """One array of each storage type, and a scalar type each with its own hazards."""
    return params.to_bytes([
        np.float32([[1, 2], [3, 4]]), np.array([True, False, True]),
        HostArray(np.float32([[5, 6]]), "row_sparse", (np.array([1]),), (3, 2)),
        HostArray(np.float32([7, 8]), "csr", (np.array([0, 1, 2]), np.array([2, 0])), (2, 3)),
    ], ["weight", "mask", "rows", "csr"])


def old_file() -> bytes:
    """A list of a V0 and a V1 array."""
    v0 = struct.pack("<II", 1, 2) + struct.pack("<iii", 1, 0, 0) + np.float32([1, 2]).tobytes()
    v1 = struct.pack("<Iiq", params.V1, 1, 2) + struct.pack("<iii", 1, 0, 4) + np.int32([3, 4]).tobytes()
    return struct.pack("<QQQ", 0x112, 0, 2) + v0 + v1 + struct.pack("<Q", 0)


def np_file() -> bytes:
    return params.to_bytes([np.float32(2.5), np.zeros((0, 3), "float16")], ["scalar", "nothing"], np_shape=True)


FILES = {"V2": small_file(), "V0 and V1": old_file(), "V3": np_file()}


# ------------------------------------------------------------------------------------------------------- round trips
@given(st.lists(st.one_of(dense_arrays(), sparse_arrays()), max_size=4), st.data())
def test_round_trip(arrays: list[HostArray], data: st.DataObject) -> None:
    count = data.draw(st.sampled_from([0, len(arrays)]))
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    names = data.draw(st.lists(text, min_size=count, max_size=count))
    again, found = params.read(params.to_bytes(arrays, names))
    assert found == names and len(again) == len(arrays)
    assert all(map(same, arrays, again))


@given(st.lists(dense_arrays(least=0), max_size=3))
def test_round_trip_under_np_shape(arrays: list[HostArray]) -> None:
    again, names = params.read(params.to_bytes(arrays, np_shape=True))
    assert names == [] and all(map(same, arrays, again))


@given(st.one_of(dense_arrays(), sparse_arrays()))
def test_one_record(array: HostArray) -> None:
    assert same(params.read_record(params.record_to_bytes(array)), array)


@pytest.mark.parametrize("np_shape", [False, True])
def test_every_kind_of_source(tmp_path: Path, np_shape: bool) -> None:
    path = tmp_path / "a~b.params"
    params.write(path, [np.arange(3.0)], ["x"], np_shape)
    data = path.read_bytes()
    for source in (path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data)):
        (array,), names = params.read(source)
        assert names == ["x"] and array.data.tolist() == [0, 1, 2]
        array.data[0] = 5  # a copy that is the caller's own
    with open(path, "rb") as file:
        assert params.read(file)[1] == ["x"]
    assert path.read_bytes() == data


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(small_file(),))
    writer.start()
    assert params.read(pipe)[1] == ["weight", "mask", "rows", "csr"]
    writer.join()


def test_any_layout_in_memory_is_written_in_order() -> None:
    whole = np.arange(12, dtype="float32").reshape(3, 4)
    for array in (whole.T, whole[::-1, ::2], whole.astype(">f4"), np.asfortranarray(whole)):
        (again,), _ = params.read(params.to_bytes([array]))
        np.testing.assert_array_equal(again.data, array)
        assert again.dtype == np.float32 and again.data.flags.c_contiguous


def test_the_versions_that_are_written() -> None:
    assert params.to_bytes([np.float32([1])])[24:28] == struct.pack("<I", params.V2)
    assert params.to_bytes([np.float32([1])], np_shape=True)[24:28] == struct.pack("<I", params.V3)


# ---------------------------------------------------------------------------------------------------- what is refused
def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "kept.params"
    params.write(path, [np.float32([1])])
    before = path.read_bytes()
    rows = HostArray(np.ones((1, 2)), "row_sparse", (np.array([0]),), (2, 2))
    for error, arrays, names, np_shape in (
            (ShapeError, [np.float32(1)], [], False), (DTypeError, [np.ones(2, complex)], [], False),
            (DTypeError, [np.array(["a"])], [], False), (ArgumentError, [np.ones(1)], ["a", "b"], False),
            (ArgumentError, [rows], [], True)):
        with pytest.raises(error):
            params.write(path, arrays, names, np_shape)
    with pytest.raises(ShapeError, match=r"array 1 'b'"):
        params.write(path, [np.ones(1), np.float32(1)], ["a", "b"])
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["kept.params"]
    with pytest.raises(ArgumentError, match="int"):
        params.read(7)


def test_parts_that_do_not_fit() -> None:
    i = np.array
    for arguments in (
            (np.ones((2, 2)), "row_sparse", (i([0, 3]),), (3, 2)), (np.ones((2, 2)), "row_sparse", (i([0]),), (3, 2)),
            (np.ones((1, 2)), "row_sparse", (i([-1]),), (3, 2)), (np.ones((1, 2)), "row_sparse", (i([0.0]),), (3, 2)),
            (np.ones((1, 2)), "row_sparse", (), (3, 2)), (np.ones((1, 2)), "coo", (), (3, 2)),
            (np.ones(2), "csr", (i([0, 2]), i([0, 1])), (2, 2)),
            (np.ones(2), "csr", (i([0, 2, 1]), i([0, 1])), (2, 2)),
            (np.ones(2), "csr", (i([0, 1, 3]), i([0, 1])), (2, 2)),
            (np.ones(2), "csr", (i([0, 1, 2]), i([0, 2])), (2, 2)),
            (np.ones(3), "csr", (i([0, 1, 2]), i([0, 1])), (2, 2)), (np.ones(2), "default", (), (3,))):
        with pytest.raises(ShapeError):
            HostArray(*arguments)


def replaced(data: bytes, offset: int, form: str, *values: int) -> bytes:
    new = struct.pack("<" + form, *values)
    return data[:offset] + new + data[offset + len(new):]


# Offsets in small_file(): magic 24, storage type 28, rank 32, extents 36 and 44, context 52, type code 60.
@pytest.mark.parametrize(("data", "words"), [
    (b"", "needs 24 bytes, 0 remain"),
    (replaced(small_file(), 0, "Q", 0x113), "starts with 0x113, expected 0x112"),
    (replaced(small_file(), 8, "Q", 1), "reserved word"),
    (replaced(small_file(), 16, "Q", 2**63), f"a list of {2**63} arrays needs"),
    (replaced(small_file(), 16, "Q", 2**40), "remain"),
    (replaced(small_file(), 24, "I", 0xDEADBEEF), "0xdeadbeef; expected"),
    (replaced(small_file(), 28, "i", 3), "storage type 3"),
    (replaced(small_file(), 28, "i", -1), "storage type -1"),
    (replaced(small_file(), 32, "i", 2**30), "has rank 1073741824"),
    (replaced(small_file(), 32, "i", -1), "has rank -1"),
    (replaced(small_file(), 32, "i", 0), "before it had a shape"),
    (replaced(small_file(), 36, "q", 2**62), f"({2**62}, 2) and type float32 needs {2**65} bytes"),
    (replaced(small_file(), 36, "qq", 0, 2**62), "the values of shape (0,"),
    (replaced(small_file(), 36, "q", -2), "negative extent"),
    (replaced(small_file(), 60, "i", 13), "type code 13 of the values is unknown, expected 0 to 12"),
    (small_file() + b"x", "1 bytes follow"),
    (small_file()[:-1], "a name needs 3 bytes, 2 remain (at byte"),
    (small_file()[:-1] + b"\xff", "not UTF-8"),
    (params.to_bytes([np.ones(1)])[:-8] + struct.pack("<Q", 3), "3 names for 1 arrays"),
    (small_file().replace(np.array([True, False, True]).tobytes(), b"\1\2\1"), "neither 0 nor 1"),
], ids=lambda v: v if isinstance(v, str) else f"{len(v)} bytes")
def test_what_cannot_be_read(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.params"
    path.write_bytes(data)
    with pytest.raises(FileFormatError) as info:
        params.read(path)
    message = str(info.value)
    assert words in message and str(path) in message and "at byte" in message
    with pytest.raises(FileFormatError, match="checkpoint 7: "):
        params.read(data, label="checkpoint 7")


def test_the_message_tells_the_array() -> None:
    with pytest.raises(FileFormatError, match=r"array 3 of 4\)"):
        params.read(small_file()[:300])
    data = small_file()
    at = data.index(struct.pack("<qqq", 0, 1, 2))
    with pytest.raises(FileFormatError, match=r"csr: indptr does not rise .*array 3 of 4\)"):
        params.read(replaced(data, at, "q", 1))


def test_one_record_and_nothing_else() -> None:
    data = params.record_to_bytes(np.ones(2))
    for damaged in (data[:-1], data + b"\0", b""):
        with pytest.raises(FileFormatError, match="pickled array"):
            params.read_record(damaged)


@pytest.mark.parametrize("version", FILES)
def test_every_prefix_is_refused(version: str) -> None:
    data = FILES[version]
    params.read(data)
    for length in range(len(data)):
        with pytest.raises(FileFormatError):
            params.read(data[:length])


def read_or_refuse(data: bytes) -> int:
    """Bytes that reading took at its peak; the result is arrays or a FileFormatError, nothing else."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        arrays, names = params.read(data)
    except FileFormatError:
        pass
    else:
        assert len(names) in (0, len(arrays)) and all(isinstance(a.data, np.ndarray) for a in arrays)
    return tracemalloc.get_traced_memory()[1] - before


@pytest.mark.parametrize("version", FILES)
def test_every_flipped_byte_is_read_or_refused(version: str) -> None:
    data = FILES[version]
    tracemalloc.start()
    try:
        for position in range(len(data)):
            for flip in (0x01, 0x80, 0xFF):
                damaged = bytearray(data)
                damaged[position] ^= flip
                assert read_or_refuse(bytes(damaged)) < 50_000 + 4 * len(data)
    finally:
        tracemalloc.stop()


@given(st.sampled_from(list(FILES)), st.binary(min_size=1, max_size=24), st.integers(0, 600))
def test_overwritten_stretches_are_read_or_refused(version: str, junk: bytes, position: int) -> None:
    data = bytearray(FILES[version])
    position %= len(data)
    data[position:position + len(junk)] = junk
    tracemalloc.start()
    try:
        assert read_or_refuse(bytes(data)) < 50_000 + 4 * len(data)
    finally:
        tracemalloc.stop()


def test_reading_takes_the_memory_of_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "big.params"
    params.write(path, [np.zeros(1 << 20, "float32"), np.zeros(1 << 20, "float32")])
    tracemalloc.start()
    try:
        params.read(path)
        assert tracemalloc.get_traced_memory()[1] < 8.5 * (1 << 20)
        os.truncate(path, 5 << 20)
        tracemalloc.reset_peak()
        with pytest.raises(FileFormatError):
            params.read(path)
        assert tracemalloc.get_traced_memory()[1] < 4.5 * (1 << 20)
    finally:
        tracemalloc.stop()
