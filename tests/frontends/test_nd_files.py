"""``nd.save``, ``nd.load`` and pickled arrays."""

import copy
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import FileFormatError, ShapeError
from mxcore.files import params, pickles
from mxcore.files.params import HostArray

DATA = Path(__file__).parents[1] / "compat" / "data"


def equal(a: mx.nd.NDArray, b: mx.nd.NDArray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.asnumpy().tobytes() == b.asnumpy().tobytes()


# --------------------------------------------------------------------------------------------------------------- files
@pytest.mark.parametrize("suffix", ["params", "safetensors", "anything"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64",
                                   "bool"])
def test_a_dict_comes_back(tmp_path: Path, suffix: str, dtype: str) -> None:
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    file = str(tmp_path / f"net.{suffix}")
    saved = {"arg:w": mx.nd.array([[1, 0], [3, 4]], dtype=dtype), "aux:ä": mx.nd.array([7], dtype=dtype)}
    mx.nd.save(file, saved)
    found = mx.nd.load(file)
    assert list(found) == list(saved) and all(equal(found[k], saved[k]) for k in saved)
    assert all(a.context == mx.cpu() for a in found.values())


@pytest.mark.parametrize("suffix", ["params", "safetensors"])
def test_lists_and_single_arrays(tmp_path: Path, suffix: str) -> None:
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    file = tmp_path / f"a.{suffix}"
    arrays = [mx.nd.array([i]) for i in range(11)]
    mx.nd.save(file, arrays)
    found = mx.nd.load(file)
    assert isinstance(found, list) and [a.asscalar() for a in found] == list(range(11))
    mx.nd.save(file, arrays[3])
    assert [a.asscalar() for a in mx.nd.load(file)] == [3]
    for empty in ([], {}):
        mx.nd.save(file, empty)
        assert mx.nd.load(file) == []


def test_a_view_is_saved_as_what_it_shows(tmp_path: Path) -> None:
    a = mx.nd.array(np.arange(12).reshape(3, 4))
    mx.nd.save(tmp_path / "a", [a[1], a.T, a[:, 1:3]])
    row, turned, part = mx.nd.load(tmp_path / "a")
    np.testing.assert_array_equal(row.asnumpy(), [4, 5, 6, 7])
    np.testing.assert_array_equal(turned.asnumpy(), a.asnumpy().T)
    np.testing.assert_array_equal(part.asnumpy(), a.asnumpy()[:, 1:3])


@pytest.mark.parametrize("name", ["dict", "list", "empty", "single", "lenet", "bi_gru-0000", "bfloat16"])
def test_the_bytes_of_mxnet(tmp_path: Path, name: str) -> None:
    source = DATA / "params" / f"{name}.params"
    found = mx.nd.load(str(source))
    if name == "bfloat16":  # saved by MXNet from pinned memory, which it loads as cpu(0)
        assert found.pop("pinned").context == mx.cpu()
        expected = params.to_bytes([params.read(source)[0][0]], ["w"])
    else:
        expected = source.read_bytes()
    mx.nd.save(str(tmp_path / "again"), found)
    assert (tmp_path / "again").read_bytes() == expected
    from_buffer = mx.nd.load_frombuffer(expected)
    assert len(from_buffer) == len(found)


def test_what_mxnet_refuses_too(tmp_path: Path) -> None:
    a, file = mx.nd.ones(2), str(tmp_path / "x")
    for data in ([a, 3], {"a": a, "b": 3}, {1: a}, [np.ones(2)]):
        with pytest.raises(TypeError, match="save only accept dict str->NDArray or list of NDArray"):
            mx.nd.save(file, data)
    for data in ((a, a), 3, None, np.ones(2), (x for x in [a])):
        with pytest.raises(ValueError, match="data needs to either be a NDArray, dict of str, NDArray pairs or a list"):
            mx.nd.save(file, data)
    with pytest.raises(TypeError, match="fname required to be a string"):
        mx.nd.load(3)
    with pytest.raises(TypeError, match="fname required to be a string"):
        mx.nd.save(3, a)
    with pytest.raises(TypeError, match="buf required to be a string"):
        mx.nd.load_frombuffer("text")
    with pytest.raises(mx.MXNetError, match="No such file or directory"):
        mx.nd.load(file)
    with pytest.raises(mx.MXNetError, match=r"cannot write .*: No such file or directory"):
        mx.nd.save(str(tmp_path / "no" / "folder"), a)
    with pytest.raises(ShapeError, match=r"array 1 'b'.* without dimensions"):
        mx.nd.save(file, {"a": a, "b": mx.nd.from_numpy(np.array(1.0))})
    assert not os.listdir(tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "net.params"
    mx.nd.save(file, {"w": mx.nd.ones((2, 3)), "b": mx.nd.ones(3)})
    data = file.read_bytes()
    for damaged in (data[:60], data + b"x", data[:32] + struct.pack("<i", 50) + data[36:], b""):
        file.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"net\.params: .* \(at byte"):
            mx.nd.load(file)
        with pytest.raises(mx.MXNetError, match="buffer: "):
            mx.nd.load_frombuffer(damaged)


def test_a_sparse_array_is_named(tmp_path: Path) -> None:
    rows = HostArray(np.ones((1, 2)), "row_sparse", (np.array([0]),), (2, 2))
    params.write(tmp_path / "a", [np.ones(2), rows], ["dense", "emb"])
    with pytest.raises(mx.MXNetError, match=r"array 1 \('emb'\) of the file is of storage type 'row_sparse'"):
        mx.nd.load(tmp_path / "a")


def test_contexts_in_files() -> None:
    hosts = [HostArray(np.ones(1, "float32"), context=c) for c in [(1, 3), (2, 99), (3, 0), (5, 1), (7, 0)]]
    found = mx.nd.load_frombuffer(params.to_bytes(hosts))
    assert [a.context for a in found] == [mx.cpu(0)] * 5  # there is no GPU of number 99 anywhere
    (host,), _ = params.read(DATA / "params" / "single.params")
    assert host.context == (1, 0)


def test_the_context_is_stored(tmp_path: Path) -> None:
    mx.nd.save(tmp_path / "a", [mx.nd.ones(1, ctx=mx.cpu(2)), mx.nd.ones(1, ctx=mx.cpu_pinned())])
    assert [a.context for a in params.read(tmp_path / "a")[0]] == [(1, 2), (3, 0)]


# ------------------------------------------------------------------------------------------------------------- pickles
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("loads", [pickle.loads, pickles.loads], ids=["pickle", "mxcore"])
def test_pickled_arrays(protocol: int, loads: Callable) -> None:
    arrays = [mx.nd.array([[1, 2]], dtype=t) for t in ("float32", "float16", "int64", "bool", "bfloat16")]
    arrays += [mx.nd.ones((0, 3)), mx.nd.from_numpy(np.array(2.5)), mx.nd.ones(2, ctx=mx.cpu(1))]
    found = loads(pickle.dumps({"a": arrays, "again": arrays[0]}, protocol))
    assert found["again"] is found["a"][0]
    for a, b in zip(arrays, found["a"], strict=True):
        assert equal(a, b) and a.context == b.context
        b[...] = 0  # its own memory
    assert arrays[0].asnumpy().tolist() == [[1, 2]]


def test_copies_of_the_standard_library() -> None:
    a = mx.nd.array([1, 2])
    a.attach_grad()
    for b in (copy.deepcopy(a), copy.copy(a)):
        assert equal(a, b) and b.grad is None
        b[:] = 0
    assert a.asnumpy().tolist() == [1, 2]


@pytest.mark.parametrize("name", ["updater_adam", "updater_sgd", "updater_sgd_mp", "updater_ftrl", "updater_adagrad"])
def test_states_of_mxnet_hold_arrays(name: str) -> None:
    states = pickles.loads((DATA / "states" / f"{name}.states").read_bytes())
    assert sorted(states) == [0, 1]
    for state, shape in ((states[0], (2, 3)), (states[1], (4,))):
        for a in state if isinstance(state, tuple) else (state,):
            assert isinstance(a, mx.nd.NDArray) and a.shape == shape and a.dtype == np.float32
            assert np.isfinite((a + 1).asnumpy()).all()


@pytest.mark.parametrize("data", [
    b"c%s\nNDArray\n(NtR.", b"c%s\nNDArray\n(NtR}b.", b"c%s\nNDArray\n(NtRNb.", b"c%s\nNDArray\n(I5\ntRNb.",
    b"c%s\nNDArray\n)R}S'handle'\nI1\nsb.", b"c%s\nNDArray\n)R}S'handle'\nC\x03abcsb.", b"c%s\nNDArray\n)\x81}b.",
    b"c%s\nNDArray\n}b.",
])
def test_arrays_that_are_not_whole(data: bytes) -> None:
    with pytest.raises(FileFormatError):
        pickles.loads(data % b"mxnet.ndarray.ndarray")


def test_pickled_arrays_are_checked() -> None:
    data = pickle.dumps(mx.nd.ones(2), 4)
    assert pickles.loads(data.replace(b"cpu", b"tpu")).context == mx.cpu()  # a device that is not here
    for old, new in ((b"\x8c\x03cpu", b"\x4b\x01"), (struct.pack("<I", params.V2), b"abcd"), (b"K\0", b"N")):
        assert old in data
        with pytest.raises(FileFormatError):
            pickles.loads(data.replace(old, new, 1))
    with pytest.raises(FileFormatError, match="on a int instead of a context"):
        pickles.loads(b"cmxcore.ndarray.files\nunpickle\n(C\1aK\1tR.")
