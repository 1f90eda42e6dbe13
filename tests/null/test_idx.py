"""IDX files."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxcore.errors import FileFormatError
from mxcore.files.idx import read_idx

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(array: np.ndarray) -> bytes:
    """The file that holds ``array``."""
    head = bytes([0, 0, CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx") / "images"


@given(st.sampled_from(list(CODES)).flatmap(lambda t: hnp.arrays(t, hnp.array_shapes(min_dims=0, min_side=0))),
       st.booleans())
def test_round_trip(path: Path, array: np.ndarray, zipped: bool) -> None:
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    found = read_idx(path)
    assert (found.dtype, found.shape) == (array.dtype, array.shape) and found.flags.writeable
    assert found.tobytes() == array.tobytes()


def test_digits_of_a_megabyte(path: Path) -> None:
    images = np.arange(1 << 20, dtype="uint32").astype("uint8").reshape(-1, 32, 32)
    path.write_bytes(gzip.compress(idx(images), 1))
    np.testing.assert_array_equal(read_idx(str(path)), images)


@pytest.mark.parametrize(("data", "words"), [
    (b"", "starts with nothing"), (b"\0\0\x08", "00 00 08"), (b"\1\0\x08\1\0\0\0\0", "not an IDX file"),
    (b"\0\0\x0a\1\0\0\0\0", "not an IDX file"), (b"\0\0\x08\x41" + bytes(400), "rank of at most 64"),
    (b"\0\0\x08\3\0\0\0\1", "3 extents"), (idx(np.uint8([1, 2]))[:-1], "announces uint8 (2,), 2 bytes"),
    (idx(np.uint8([1, 2])) + b"x", "more data follow"),
    (b"\0\0\x0e\2" + b"\xff" * 8 + b"abc", "truncated or corrupt"),
    (b"\0\0\x08\4" + bytes(4) + b"\xff" * 12, "shape (0, 4294967295"),
], ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_refused(path: Path, data: bytes, words: str, zipped: bool) -> None:
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(FileFormatError) as info:
        read_idx(path)
    assert str(path) in str(info.value)
    if not zipped or "data" not in words:
        assert words in str(info.value) or "but the data end" in str(info.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_files_are_read_or_refused(path: Path, zipped: bool) -> None:
    data = idx(np.arange(12, dtype="int16").reshape(3, 4))
    data = gzip.compress(data) if zipped else data
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FileFormatError):
            read_idx(path)
    tracemalloc.start()
    try:
        for position in range(len(data)):
            for flip in (0x01, 0x80, 0xFF):
                damaged = bytearray(data)
                damaged[position] ^= flip
                path.write_bytes(damaged)
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                try:
                    read_idx(path)
                except FileFormatError:
                    pass
                assert tracemalloc.get_traced_memory()[1] - before < 400_000
    finally:
        tracemalloc.stop()


def test_a_bomb_takes_no_more_memory_than_a_file_of_its_length_can_hold(path: Path) -> None:
    path.write_bytes(gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 2**32 - 1) + bytes(1000)))
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=r"holds .* at most"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")
