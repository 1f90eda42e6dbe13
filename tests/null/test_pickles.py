"""Pickles read without running code from them."""

import collections
import os
import pickle
import pickletools
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxcore.context import Context, cpu
from mxcore.errors import BackendMissingError, FileFormatError, ShapeError
from mxcore.files import params, pickles

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
STATES = sorted((Path(__file__).parents[1] / "compat" / "data" / "states").glob("*.states"))


class Array:
    """Stands for NDArray: made with None, then given MXNet's state."""

    def __init__(self, handle: None) -> None:
        assert handle is None

    def __setstate__(self, state: dict) -> None:
        self.host = params.read_record(state["handle"])


class Optimizer:
    lr = 0.0

    def update(self) -> None:
        """A method that no state may replace."""


class SGD(Optimizer):
    pass


class Slotted:
    __slots__ = ("a",)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of upper layers, stood in for by those above."""
    monkeypatch.setattr(pickles, "_TABLE", dict(pickles._TABLE))
    monkeypatch.setattr(pickles, "_FAMILIES", {})  # or a damaged name would import the optimizers
    here = {"optimizer": SGD}
    pickles.admit("mxnet.ndarray.ndarray.NDArray", Array, call=True)
    for name in ("SGD", "Adam", "RMSProp"):
        pickles.admit(f"mxnet.optimizer.optimizer.{name}", here["optimizer"])
    pickles.admit(f"{__name__}.Slotted", Slotted)
    pickles.admit(f"{__name__}.SGD", SGD)


def same(a: object, b: object) -> bool:
    return type(a) is type(b) and pickle.dumps(a) == pickle.dumps(b)


# --------------------------------------------------------------------------------------------------------------- data
atoms = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=4),
                  st.binary(max_size=4).map(bytearray), st.complex_numbers())
keys = st.one_of(st.integers(), st.text(max_size=3), st.tuples(st.integers(), st.text(max_size=2)))
trees = st.recursive(atoms, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.lists(inner, max_size=4).map(tuple), st.dictionaries(keys, inner, max_size=3),
    st.dictionaries(keys, inner, max_size=3).map(collections.OrderedDict)), max_leaves=8)


@given(trees, st.sampled_from(PROTOCOLS))
def test_data_of_built_in_types(value: object, protocol: int) -> None:
    assert repr(pickles.loads(pickle.dumps(value, protocol))) == repr(value)


@given(st.one_of(st.sets(keys), st.frozensets(keys)), st.sampled_from(PROTOCOLS))
def test_sets(value: object, protocol: int) -> None:
    found = pickles.loads(pickle.dumps(value, protocol))
    assert type(found) is type(value) and found == value


@given(st.sampled_from(["f4", ">f8", "f2", "u1", ">i4", "i8", "?", "c16"]).flatmap(
    lambda t: hnp.arrays(t, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))), st.sampled_from(PROTOCOLS),
    st.booleans())
def test_numpy_arrays(array: np.ndarray, protocol: int, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    data = pickle.dumps(array, protocol)
    found = pickles.loads(data)
    np.testing.assert_array_equal(found, array)
    assert same(found, pickle.loads(data)) and found.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_values(protocol: int) -> None:
    shared = [1]
    value = {"dtype": np.dtype(">f4"), "type": np.float32, "scalar": np.float64(2.5), "flag": np.bool_(True),
             "context": cpu(3), "builtin": int, "lists": collections.defaultdict(list, a=shared), "again": shared}
    found = pickles.loads(pickle.dumps(value, protocol))
    assert found == value and found["lists"]["b"] == [] and found["again"] is found["lists"]["a"]


def test_names_of_numpy_1_and_python_2() -> None:
    data = pickle.dumps(np.arange(3.0), 2)
    assert b"cnumpy._core.multiarray\n" in data
    assert pickles.loads(data.replace(b"numpy._core", b"numpy.core")).tolist() == [0, 1, 2]
    # as Python 2 wrote {'a': bytearray('\\x00\\xff')}
    data = b"(dp1\nS'a'\np2\nc__builtin__\nbytearray\np3\n(V\0\xff\np4\nS'latin-1'\np5\ntp6\nRp7\ns."
    assert pickles.loads(data) == {"a": bytearray(b"\0\xff")}


def test_self_reference() -> None:
    loop: list = []
    loop.append(loop)
    found = pickles.loads(pickle.dumps(loop))
    assert found[0] is found


# ------------------------------------------------------------------------------------------------------ MXNet's files
@pytest.mark.parametrize("path", STATES, ids=lambda p: p.stem)
def test_states_of_mxnet(path: Path) -> None:
    loaded = pickles.loads(path.read_bytes(), path.name)
    states = loaded[0] if isinstance(loaded, tuple) else loaded
    arrays = [a for s in states.values() for a in (s if isinstance(s, tuple) else (s,))]
    assert arrays and all(isinstance(a, Array) and np.isfinite(a.host.data).all() for a in arrays)
    if isinstance(loaded, tuple):
        assert isinstance(loaded[1], SGD) and loaded[1].lr in (0.1, 0.05, 0.01) and loaded[1].__dict__["wd"] >= 0


def test_there_are_states() -> None:
    assert len(STATES) >= 9


@pytest.mark.parametrize("protocol", range(5))
def test_a_context_of_mxnet(protocol: int) -> None:
    new = {0: b"ccopy_reg\n_reconstructor\n(cmxnet.context\nContext\nc__builtin__\nobject\nNtR",
           1: b"ccopy_reg\n_reconstructor\n(cmxnet.context\nContext\nc__builtin__\nobject\nNtR"}
    made = new.get(protocol, b"\x80\x02cmxnet.context\nContext\n)\x81")
    state = b"(dS'device_typeid'\nI2\nsS'device_id'\nI1\nsS'_old_ctx'\nNsb."
    assert pickles.loads(made + state) == Context("gpu", 1)


def test_families() -> None:
    pickles.admit("mxnet.kind.*", f"{__name__}:*", base="collections:OrderedDict")
    with pytest.raises(FileFormatError, match=r"mxnet\.kind\.sub\.SGD.* has no counterpart|not a class derived"):
        pickles.loads(b"\x80\x02cmxnet.kind.sub\nSGD\n)\x81.")
    pickles.admit("mxnet.kind.*", "collections:*", base="builtins:dict")
    assert pickles.loads(b"\x80\x02cmxnet.kind.sub\nCounter\n.") is collections.Counter
    for name in ("deque", "_tuplegetter", "Counter.fromkeys", "abc.Mapping"):
        with pytest.raises(FileFormatError):
            pickles.loads(b"\x80\x02cmxnet.kind.sub\n" + name.encode() + b"\n.")


# -------------------------------------------------------------------------------------------------- what is refused
class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("echo ran > ran",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_runs(protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileFormatError, match=r"net\.states: refused: '(posix|nt)\.system' is not among"):
        pickles.loads(pickle.dumps({"a": Evil()}, protocol), "net.states")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [print, eval, getattr, os.path.join, np.load, np.lib.format.read_array, type(None),
                                   collections.namedtuple, slice(2), range(3), object.__reduce__, pickles.admit,
                                   np.ones, np.array([object()], dtype=object), np.array(["text"]),
                                   np.zeros(2, "i4,f4"), np.zeros(2, "M8[s]")], ids=repr)
def test_names_and_arrays_that_are_not_admitted(value: object) -> None:
    with pytest.raises(FileFormatError):
        pickles.loads(pickle.dumps(value))


def text(name: str) -> bytes:
    return b"\x8c" + bytes([len(name)]) + name.encode()


def called(module: str, name: str, arguments: bytes) -> bytes:
    """A pickle that calls ``module.name`` with the tuple that ``arguments`` builds."""
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + arguments + b"R."


NUMPY = "numpy._core.multiarray"


@pytest.mark.parametrize("data", [
    called("builtins", "bytearray", b"J\xff\xff\xff\x7f\x85"),  # would take 2 GB
    called("builtins", "bytes", b"J\xff\xff\xff\x7f\x85"),
    called("builtins", "int", text("7") + b"\x85"),
    called("builtins", "object", b")"),
    called("builtins", "set", text("ab") + b"\x85"),
    called("builtins", "complex", b"NN\x86"),
    called("_codecs", "encode", text("a") + text("zip") + b"\x86"),
    called("collections", "defaultdict", text("os") + b"\x85"),
    called("collections", "OrderedDict", b"K\x05\x85"),
    called("copyreg", "_reconstructor", b"NNN\x87"),
    called("numpy", "ndarray", b"J\xff\xff\xff\x7f\x85\x85"),
    called("numpy", "dtype", text("O") + b"\x85"),
    called("numpy", "dtype", text("S2000000000") + b"\x85"),
    called("numpy", "dtype", text("f4,f4") + b"\x85"),
    called(NUMPY, "_reconstruct", text("numpy") + text("ndarray") + b"\x93J\xff\xff\xff\x7f\x85" + b"C\x01b\x87"),
    called(NUMPY, "scalar", b"N" + b"C\x01b\x86"),
    called("mxnet.context", "Context", text("cpu") + text("x") + b"\x86"),
    called("mxnet.ndarray.ndarray", "NDArray", b"N\x85"),  # never given its state
    called("mxnet.ndarray.ndarray", "NDArray", b"K\x07\x85"),
    b"\x80\x02" + b"]R.", b"NK\x01R.", b"N)\x81.", b"]}b.", b"Nb.", b"K\x01K\x02.", b"(K\x01.", b".", b"", b"N", b"N.N",
    b"\x80\x09N.", b"\x80\x04\x95\xff\xff\xff\x7f\0\0\0\0N.",  # a frame beyond the end
    b"h\x05.", b"q\0.", b"}]Ns.", b"(Nu.", b"}(Nu.", b"Na.", b"]Ns.", b"(Ne.", b"(d0", b"0.", b"1.", b"2.", b"t.",
    b"\x87.",
    b"P7\n.", b"NQ.", b"\x82\x01.", b"(ios\nsystem\n.", b"(c__builtin__\nobject\no.",
    b"c__builtin__\nobject\n)}\x92.",  # NEWOBJ_EX
    b"\x97.",  # a buffer from elsewhere
    b"\x8e" + struct.pack("<Q", 2**62) + b"x.", b"\x96" + struct.pack("<Q", 2**40) + b"x.",
    b"B\xff\xff\xff\xff.", b"\x8d" + struct.pack("<Q", 2**63) + b"x.", b"\x8b\xff\xff\xff\x7f.", b"I1x\n.",
    b"L" + b"9" * 5000 + b"L\n.", b"\x93.", b"NN\x93.", b"cos\nsystem\n.", b"c\n\n.", b"cno\xff\n\n.",
], ids=lambda d: repr(d)[:40])
def test_hazards_and_damage(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="pickle: "):
            pickles.loads(data)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_a_huge_memo_index_takes_no_memory() -> None:
    tracemalloc.start()
    try:  # the unpickler of the standard library would make a table of 2^32 entries
        assert pickles.loads(b"]r\xff\xff\xff\xff.") == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_keys_that_take_exponential_time_are_refused() -> None:
    doubled = b"K\x01" + b"2\x86" * 60  # a pair of one pair, twice, 60 deep
    for data in (b"}" + doubled + b"Ns.", b"\x8f(" + doubled + b"\x90.", b"(" + doubled + b"\x91."):
        with pytest.raises(FileFormatError, match="tuple of tuples"):
            pickles.loads(data)


def test_a_class_cannot_be_changed() -> None:
    name = f"c{__name__}\nSGD\n".encode()
    for data in (name + b"}S'lr'\nK\x09sb.", name + b"N}S'lr'\nK\x09s\x86b.",
                 b"\x80\x02" + name + b")\x81N}S'lr'\nK\x09s\x86b."):
        with pytest.raises(FileFormatError):
            pickles.loads(data)
    assert SGD.lr == 0.0
    made = b"\x80\x02" + name + b")\x81"
    assert pickles.loads(made + b"}S'lr'\nK\x09sb.").lr == 9
    with pytest.raises(FileFormatError, match="'update' cannot be an attribute"):
        pickles.loads(made + b"}S'update'\nK\x09sb.")
    with pytest.raises(FileFormatError, match="7 cannot be an attribute"):
        pickles.loads(made + b"}K\x07K\x09sb.")
    with pytest.raises(FileFormatError):
        pickles.loads(made + b"K\x07b.")
    with pytest.raises(FileFormatError):
        pickles.loads(b"\x80\x02c" + f"{__name__}\nSlotted\n".encode() + b")\x81}S'a'\nK\x09sb.")


def test_no_array_larger_than_its_bytes() -> None:
    data = pickle.dumps(np.arange(3, dtype="u1"), 2)
    assert data.count(b"K\x03\x85") == 1
    for shape in (b"J\xff\xff\xff\x7f\x85", b"K\x04\x85", b"K\x03K\x02\x86", b"J\xff\xff\xff\xff\x85", b"N\x85", b"N"):
        with pytest.raises(FileFormatError, match="array of shape"):
            pickles.loads(data.replace(b"K\x03\x85", shape))


def test_a_built_in_dtype_cannot_be_changed() -> None:
    data = pickle.dumps(np.dtype("f4"), 2).replace(b"U\x01<", b"U\x01>").replace(b"X\x01\0\0\0<", b"X\x01\0\0\0>")
    assert pickles.loads(data) == np.dtype(">f4")
    assert np.dtype("f4").byteorder == "="


def test_a_record_that_is_damaged_is_named() -> None:
    data = (Path(__file__).parents[1] / "compat/data/states/updater_sgd.states").read_bytes()
    with pytest.raises(FileFormatError, match=r"net\.states: truncated or corrupt pickle, at byte .*0xf993fa"):
        pickles.loads(data.replace(struct.pack("<I", params.V2), struct.pack("<I", 0xF993FAFF)), "net.states")


def test_faults_that_are_not_the_file_s() -> None:
    def missing(handle: None) -> None:
        raise BackendMissingError("no backend")

    pickles.admit("mxnet.ndarray.ndarray.NDArray", missing, call=True)
    with pytest.raises(BackendMissingError):
        pickles.loads(called("mxnet.ndarray.ndarray", "NDArray", b"N\x85"))
    pickles.admit("mxnet.ndarray.ndarray.NDArray", "no.such.module:NDArray", call=True)
    with pytest.raises(FileFormatError, match="no counterpart here"):
        pickles.loads(called("mxnet.ndarray.ndarray", "NDArray", b"N\x85"))

    def bad(handle: None) -> None:
        raise ShapeError("of the file")

    pickles.admit("mxnet.ndarray.ndarray.NDArray", bad, call=True)
    with pytest.raises(FileFormatError, match="of the file"):
        pickles.loads(called("mxnet.ndarray.ndarray", "NDArray", b"N\x85"))


# --------------------------------------------------------------------------------------------------------------- fuzz
def state_file() -> bytes:
    return (Path(__file__).parents[1] / "compat/data/states/updater_adam_dump.states").read_bytes()


def check(data: bytes) -> None:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        pickles.loads(data)
    except FileFormatError:
        pass
    assert tracemalloc.get_traced_memory()[1] - before < 100_000 + 20 * len(data)


def test_every_prefix_is_refused() -> None:
    data = state_file()
    for length in range(len(data)):
        with pytest.raises(FileFormatError):
            pickles.loads(data[:length])


@pytest.mark.parametrize("data", [
    state_file(), pickle.dumps({"a": np.arange(3), "b": [cpu(1), {2.5}, 2**70]}, 2),
    pickle.dumps([np.float32(1), collections.OrderedDict(a=b"x"), bytearray(b"y")], 0),
], ids=["states", "protocol 2", "protocol 0"])
def test_every_flipped_byte_is_read_or_refused(data: bytes) -> None:
    pickles.loads(data)
    tracemalloc.start()
    try:
        for position in range(len(data)):
            for flip in (0x01, 0x80, 0xFF):
                damaged = bytearray(data)
                damaged[position] ^= flip
                check(bytes(damaged))
    finally:
        tracemalloc.stop()


@given(st.lists(st.sampled_from([op.code.encode("latin1") for op in pickletools.opcodes]), max_size=12),
       st.binary(max_size=12))
def test_any_program_is_read_or_refused(opcodes: list[bytes], junk: bytes) -> None:
    tracemalloc.start()
    try:
        check(b"N)]}" + b"".join(opcodes) + junk + b".")
    finally:
        tracemalloc.stop()
