"""Arrays in safetensors files, and the choice of the format by suffix."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxcore.errors import ArgumentError, DTypeError, FileFormatError, MXNetError
from mxcore.files import params
from mxcore.files.arrays import read_arrays, write_arrays

library = pytest.importorskip("safetensors")
DTYPES = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16", "uint16", "uint32",
          "uint64"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safetensors") / "net.safetensors"


@given(st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(lambda name: name != "__metadata__"),
    st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))),
    max_size=4))
def test_round_trip(path: Path, values: dict[str, np.ndarray]) -> None:
    write_arrays(path, values.values(), list(values))
    arrays, names = read_arrays(path)
    assert names == list(values)  # in the order given, which safetensors alone does not keep
    for array, value in zip(arrays, values.values(), strict=True):
        assert (array.dtype, array.shape, array.context) == (value.dtype, value.shape, (1, 0))
        assert array.data.tobytes() == value.tobytes() and array.data.flags.writeable


def test_a_list_stays_a_list(path: Path) -> None:
    write_arrays(path, [np.float32([i]) for i in range(12)])
    arrays, names = read_arrays(str(path))
    assert names == [] and [a.data[0] for a in arrays] == list(range(12))
    write_arrays(path, [])
    assert read_arrays(path) == ([], [])


def test_bfloat16_and_odd_layouts(path: Path) -> None:
    whole = np.arange(6, dtype=">f4").reshape(2, 3)
    write_arrays(path, [np.ones(2, ml_dtypes.bfloat16), whole.T, whole[:, ::-2]], ["b", "t", "s"])
    (b, t, s), _ = read_arrays(path)
    assert b.dtype == ml_dtypes.bfloat16 and t.dtype == np.float32
    np.testing.assert_array_equal(t.data, whole.T)
    np.testing.assert_array_equal(s.data, whole[:, ::-2])


def test_files_of_the_library_itself(path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    save_file({"w": np.ones((2, 2), "float16")}, path, metadata={"format": "pt"})
    (w,), names = read_arrays(path)
    assert names == ["w"] and w.dtype == np.float16
    write_arrays(path, [w], ["again"])
    np.testing.assert_array_equal(load_file(path)["again"], np.ones((2, 2), "float16"))


def test_the_suffix_selects_the_format(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.params", [np.ones(2)], ["x"])
    write_arrays(tmp_path / "a", [np.ones(2)], ["x"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "a.params").read_bytes() == params.to_bytes([np.ones(2)], ["x"])
    assert read_arrays(tmp_path / "a.params")[1] == ["x"]
    write_arrays(tmp_path / "a.safetensors", [np.ones(2)], ["x"])
    assert b'"x"' in (tmp_path / "a.safetensors").read_bytes()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    rows = params.HostArray(np.ones((1, 2)), "row_sparse", (np.array([0]),), (2, 2))
    with pytest.raises(ArgumentError, match="'r' is row_sparse"):
        write_arrays(path, [np.ones(1), rows], ["d", "r"])
    with pytest.raises(ArgumentError, match="one name"):
        write_arrays(path, [np.ones(1), np.ones(1)], ["d", "d"])
    with pytest.raises(ArgumentError, match="1 names for 2"):
        write_arrays(path, [np.ones(1), np.ones(1)], ["d"])
    with pytest.raises(DTypeError):
        write_arrays(path, [np.ones(1, "complex64")], ["d"])
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError):
        read_arrays(path)
    save_file({"c": np.ones(1, "complex64")}, path)
    with pytest.raises(FileFormatError, match=r"a\.safetensors"):
        read_arrays(path)
    for note in ("list", '["b"]', "[1]", "{", "7"):
        save_file({"a": np.ones(1)}, path, metadata={"mxcore.order": note})
        with pytest.raises(FileFormatError, match="names noted"):
            read_arrays(path)


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, [np.float32([1, 2]), np.array([True]), np.array(7)], ["weight", "mask", "count"])
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FileFormatError, match=r"a\.safetensors"):
            read_arrays(path)
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                arrays, names = read_arrays(path)
            except FileFormatError:
                continue
            assert len(arrays) == 3 and len(names) in (0, 3)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(MXNetError, match="pip install safetensors"):
        write_arrays(tmp_path / "a.safetensors", [np.ones(1)])
