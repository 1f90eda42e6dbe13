"""``.params`` files of MXNet 1.9.1: read to the same values, written to the same bytes."""

from pathlib import Path

import numpy as np
import pytest

from mxcore.files import params

DATA = Path(__file__).parent / "data" / "params"
RESAVED = {"v0.params": "v0_resaved.params", "v1.params": "v1_resaved.params"}  # MXNet writes V2 whatever it read
FILES = sorted(path.name for path in DATA.glob("*.params"))


def dense(array: params.HostArray) -> np.ndarray:
    """The whole array, zeros included."""
    whole = np.zeros(array.shape, array.dtype)
    if array.stype == "default":
        whole[...] = array.data
    elif array.stype == "row_sparse":
        whole[array.aux[0]] = array.data
    else:
        indptr, indices = array.aux
        whole[np.repeat(np.arange(array.shape[0]), np.diff(indptr)), indices] = array.data
    return whole


def test_there_are_files() -> None:
    assert len(FILES) >= 14


@pytest.mark.parametrize("name", FILES)
def test_saved_again_it_has_the_bytes_that_mxnet_writes(name: str, tmp_path: Path) -> None:
    arrays, names = params.read(DATA / name)
    expected = (DATA / RESAVED.get(name, name)).read_bytes()
    params.write(tmp_path / "again.params", arrays, names, np_shape=name.startswith("np_"))
    assert (tmp_path / "again.params").read_bytes() == expected
    assert params.to_bytes(arrays, names, np_shape=name.startswith("np_")) == expected


@pytest.mark.parametrize("name", ["dict", "list", "np_dict", "sparse"])
def test_values_are_those_that_mxnet_read(name: str) -> None:
    arrays, names = params.read(DATA / f"{name}.params")
    expected = np.load(DATA / f"{name}.npz")
    assert len(arrays) == len(expected.files)
    for key, array in zip(names or map(str, range(len(arrays))), arrays, strict=True):
        np.testing.assert_array_equal(dense(array), expected[key])
        assert array.shape == expected[key].shape


def test_types_of_all_kinds() -> None:
    arrays, names = params.read(DATA / "dict.params")
    types = {n: str(a.dtype) for n, a in zip(names, arrays, strict=True)}
    assert types == {"w_float32": "float32", "w_float64": "float64", "w_float16": "float16", "w_uint8": "uint8",
                     "w_int32": "int32", "w_int8": "int8", "w_int64": "int64", "bool": "bool", "one": "float32",
                     "rank5": "float32"}


def test_bfloat16_and_contexts() -> None:
    (w, pinned), names = params.read(DATA / "bfloat16.params")
    assert names == ["w", "pinned"] and str(w.dtype) == "bfloat16"
    np.testing.assert_allclose(w.data.astype("float32"), [[1, -2.5, 3.140625], [0, 65280, 1e-3]], rtol=0.01)
    assert w.context == (1, 0) and pinned.context == (3, 2)


def test_storage_types() -> None:
    arrays, names = params.read(DATA / "sparse.params")
    stypes = {n: a.stype for n, a in zip(names, arrays, strict=True)}
    assert stypes == {"csr": "csr", "rsp": "row_sparse", "dense": "default", "csr64": "csr",
                      "empty_rsp": "row_sparse", "empty_csr": "csr"}
    assert {n: a.shape for n, a in zip(names, arrays, strict=True)}["empty_csr"] == (2, 5)


def test_old_layouts() -> None:
    (weight, count, image, half), names = params.read(DATA / "v0.params")
    assert names == ["arg:weight", "count", "image", "half"]
    np.testing.assert_array_equal(weight.data, np.arange(6, dtype="float32").reshape(2, 3) / 4)
    np.testing.assert_array_equal(count.data, np.int32([-7, 8, 2**30]))
    np.testing.assert_array_equal(image.data, np.uint8([[[250], [3]]]))
    np.testing.assert_array_equal(half.data, np.float16([0.5, -2]))
    (first, second), names = params.read(DATA / "v1.params")
    assert names == ["first", "second"] and first.shape == (2, 3) and second.dtype == np.int32


def test_an_empty_dict_reads_as_a_list() -> None:
    assert params.read(DATA / "empty.params") == ([], [])


SHARED = Path(__file__).resolve().parents[3] / "shared" / "golden" / "interop"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the recorded files of MXNet beside the checkout")
def test_every_recorded_file() -> None:
    paths = [*SHARED.rglob("*.params"), *SHARED.glob("ndarray/*.v0")]
    assert len(paths) > 40
    for path in paths:
        arrays, names = params.read(path)
        if path.name not in ("v1.params", "legacy_ndarray.v0"):
            assert params.to_bytes(arrays, names, path.name.startswith("np_")) == path.read_bytes(), path
