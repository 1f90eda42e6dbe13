"""Making arrays: sources, types, contexts, sharing with NumPy and PyTorch through DLPack."""

import copy
import pickle

import numpy as np
import pytest

import mxcore as mx
from mxcore import nd
from mxcore.testing import loopback

loopback.install()
TYPES = ("float16", "float32", "float64", "bfloat16", "uint8", "int8", "int32", "int64", "bool", "int16", "uint16", "uint32",
         "uint64")


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type(dtype):
    a = nd.array([0, 1, 3], dtype=dtype)
    assert np.dtype(a.dtype).name == dtype
    assert a.asnumpy().dtype.name == dtype
    assert a.astype("float32").asnumpy().tolist() == ([0, 1, 1] if dtype == "bool" else [0, 1, 3])
    for made in (nd.zeros((2, 3), dtype=dtype), nd.ones((2, 3), dtype=dtype), nd.full((2, 3), 1, dtype=dtype),
                 nd.empty((2, 3), dtype=dtype), nd.zeros_like(nd.ones((2, 3), dtype=dtype))):
        assert (np.dtype(made.dtype).name, made.shape, made.size, made.ndim) == (dtype, (2, 3), 6, 2)


@pytest.mark.parametrize("spec", [np.float16, np.dtype("float16"), "float16", 2, "2", nd.zeros(1, dtype="float16"),
                                  np.zeros(1, "float16")])
def test_anything_with_a_type_is_a_type(spec):
    assert nd.zeros(2, dtype=spec).dtype is np.float16
    assert nd.array([1], dtype=spec).dtype is np.float16
    assert nd.ones(2).astype(spec).dtype is np.float16


@pytest.mark.parametrize("spec", ["floaty", 99, object(), complex, "complex64", "datetime64[s]", True])
def test_what_is_no_type(spec):
    with pytest.raises(mx.MXNetError, match="data type"):
        nd.zeros(2, dtype=spec)


@pytest.mark.parametrize("source", [
    [[1, 2], [3, 4]], ((1, 2), (3, 4)), np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]], ">i4"),
    np.asfortranarray([[1., 2.], [3., 4.]]), [np.array([1, 2]), np.array([3, 4])], [nd.array([1, 2]), nd.array([3, 4])],
    [[nd.array([1]).asscalar(), 2], [3, 4]], np.arange(5)[1:].reshape(2, 2), np.array([[1, 2], [3, 4]], object),
    memoryview(np.array([[1, 2], [3, 4]]))])
def test_sources(source):
    a = nd.array(source)
    assert a.dtype is np.float32
    assert a.asnumpy().tolist() == [[1, 2], [3, 4]]
    assert a.asnumpy().flags.c_contiguous


def test_a_source_is_copied():
    host, source = np.zeros(3, "float32"), nd.zeros(3)
    a, b, host_again = nd.array(host), nd.array(source), source.asnumpy()
    a[:] = 1
    b[:] = 2
    host_again[:] = 3
    assert not host.any() and not source.asnumpy().any()


@pytest.mark.parametrize("call", [lambda: nd.array("text"), lambda: nd.array([[1], [2, 3]]), lambda: nd.array(["a"]),
                                  lambda: nd.array({"a": 1}), lambda: nd.array([object()])])
def test_no_sources(call):
    with pytest.raises(TypeError, match="array like"):
        call()


@pytest.mark.parametrize("shape", [(), (2, -1), -3])
def test_impossible_shapes(shape):
    for make in (nd.zeros, nd.ones, nd.empty, lambda s: nd.full(s, 1)):
        with pytest.raises(mx.MXNetError, match="dimensions"):
            make(shape)


def test_arrays_without_elements():
    a = nd.zeros((0, 3))
    assert (a.shape, a.size, len(a), list(a), a.asnumpy().tolist()) == ((0, 3), 0, 0, [], [])
    assert (a + 1).shape == (0, 3) and nd.concat(a, nd.ones((2, 3)), dim=0).shape == (2, 3)
    assert bool(a) is False
    assert "0x3" in repr(a)


def test_out_of_creation():
    out = nd.empty(3)
    assert nd.zeros(3, out=out) is out and nd.full(3, 4, out=out) is out
    assert out.asnumpy().tolist() == [4, 4, 4]
    assert nd.full(3, 2, out=nd.empty(3, dtype="int64")).dtype is np.int64
    with pytest.raises(mx.MXNetError, match=r"out has shape \(3,\).*\(2,\)"):
        nd.ones(2, out=out)
    with pytest.raises(mx.MXNetError, match="unknown arguments"):
        nd.zeros(3, colour="red")


# ---------------------------------------------------------------- contexts
def test_contexts():
    assert nd.zeros(1).context == nd.zeros(1).ctx == mx.cpu(0) == mx.Context("cpu") == mx.cpu()
    assert nd.zeros(1, ctx=mx.cpu(3)).context == mx.cpu(3) != mx.cpu()
    with mx.Context("loopback", 1):
        assert mx.current_context() == mx.Context("loopback", 1)
        made = [nd.array([1]), nd.zeros(1), nd.random.uniform(shape=(1,)), nd.arange(1)]
        with mx.cpu():
            assert nd.zeros(1).context == mx.cpu()
        made.append(nd.ones(1))
    assert {a.context for a in made} == {mx.Context("loopback", 1)}
    assert mx.current_context() == mx.cpu()
    assert repr(mx.cpu(2)) == str(mx.cpu(2)) == "cpu(2)"
    assert len({mx.cpu(), mx.cpu(0), mx.gpu(), mx.gpu(0)}) == 2


def test_a_context_that_is_left_by_an_error():
    with pytest.raises(ZeroDivisionError), mx.cpu(5):
        1 / 0
    assert mx.current_context() == mx.cpu(0)


def test_devices_that_do_not_exist():
    with pytest.raises(mx.MXNetError, match=r"loopback\(7\) does not exist.*2 device"):
        nd.zeros(1, ctx=mx.Context("loopback", 7))
    with pytest.raises(mx.MXNetError, match=r"no backend serves the device kind 'abacus'.*installed kinds.*cpu"):
        nd.zeros(1, ctx=mx.Context("abacus"))


def test_arrays_stay_usable_when_plugins_come():
    """Contexts are resolved afresh when a plugin brings a backend; what was made before still meets what comes after."""
    from mxcore.runtime.device import forget

    before = nd.ones(2)
    forget()
    assert (before + nd.ones(2)).asnumpy().tolist() == [2, 2]


# ---------------------------------------------------------------- NumPy
def test_array_protocol():
    a = nd.array([[1, 2], [3, 4]])
    host = np.asarray(a)
    assert host.dtype == np.float32 and host.tolist() == [[1, 2], [3, 4]]
    assert np.array(a, dtype="int64").tolist() == [[1, 2], [3, 4]]
    assert np.sum(np.asarray(a)) == 10
    host[:] = 0
    assert a.asnumpy().sum() == 10  # a copy
    with pytest.raises(ValueError, match="copy"):
        np.asarray(a, copy=False)
    np.testing.assert_array_equal(a, [[1, 2], [3, 4]])


def test_numpy_lets_an_array_decide():
    """``ndarray + NDArray`` and NumPy's numbers on the left are ours, not an object array of NumPy's."""
    a = nd.array([1, 2])
    for result in (np.float32(2) + a, np.float64(2) * a, np.int64(3) - a):
        assert isinstance(result, nd.NDArray) and result.dtype is np.float32


def test_from_numpy():
    host = np.arange(3, dtype="float32")
    a = nd.from_numpy(host)
    assert not host.flags.writeable  # it is shared
    a[0] = 7
    assert host[0] == 7
    other = np.arange(3.)
    b = nd.from_numpy(other, zero_copy=False)
    b[0] = 7
    assert other[0] == 0 and b.dtype is np.float64
    with pytest.raises(ValueError, match="contiguous"):
        nd.from_numpy(np.zeros((2, 3)).T)


# ---------------------------------------------------------------- DLPack
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"])
def test_dlpack_with_numpy(dtype):
    a = nd.array([[0, 1, 1], [1, 0, 1]], dtype=dtype)
    shared = np.from_dlpack(a)
    assert shared.dtype.name == dtype and shared.tolist() == a.asnumpy().tolist()
    a[0, 0] = 1
    assert shared[0, 0]  # the same memory
    host = np.array([[1, 0], [0, 1]], dtype)
    b = nd.from_dlpack(host)
    assert np.dtype(b.dtype).name == dtype and b.asnumpy().tolist() == host.tolist()
    host[0, 1] = 1
    assert b.asnumpy()[0, 1]


def test_dlpack_options_of_version_1():
    a = nd.array([1, 2])
    assert a.__dlpack_device__() == (1, 0)
    assert "dltensor" in repr(a.__dlpack__())
    assert "dltensor_versioned" in repr(a.__dlpack__(max_version=(1, 0)))
    copied = np.from_dlpack(a, copy=True)
    copied[0] = 9
    assert a.asnumpy()[0] == 1


def test_dlpack_capsules_as_in_mxnet():
    a = nd.array([[1, 2]])
    for capsule in (nd.to_dlpack_for_read(a), a.to_dlpack_for_read(), nd.to_dlpack_for_write(a), a.to_dlpack_for_write()):
        assert nd.from_dlpack(capsule).asnumpy().tolist() == [[1, 2]]
    b = nd.from_dlpack(a.to_dlpack_for_write())
    b[:] = 5
    assert a.asnumpy().tolist() == [[5, 5]]


def test_dlpack_says_what_may_be_written():
    class Old:
        """A library of DLPack 0, which does not know the argument ``max_version``."""

        host = np.zeros(3)

        def __dlpack__(self, stream=None):
            return self.host.__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    a = nd.from_dlpack(Old())
    a[1] = 5
    assert Old.host.tolist() == [0, 5, 0]
    fixed = np.zeros(3)
    fixed.flags.writeable = False
    b = nd.from_dlpack(fixed)
    with pytest.raises(mx.MXNetError, match="read-only"):
        b[:] = 1
    with pytest.raises(mx.MXNetError, match="read-only"):
        b += 1
    assert (b + 1).asnumpy().tolist() == [1, 1, 1]


def test_dlpack_between_contexts():
    a = nd.array([1, 2], ctx=mx.Context("loopback"))
    assert nd.from_dlpack(a).context == mx.cpu()
    assert np.from_dlpack(a).tolist() == [1, 2]


def test_dlpack_keeps_memory_alive():
    b = nd.from_dlpack(np.full(100_000, 3.0))
    c = np.from_dlpack(nd.full(100_000, 4))
    junk = [np.zeros(100_000) for _ in range(4)]
    assert len(junk) == 4 and b.asnumpy().min() == 3 and c.min() == 4


def test_dlpack_with_pytorch():
    torch = pytest.importorskip("torch")
    t = torch.arange(3.)
    a = nd.from_dlpack(t)
    t[0] = 8
    assert a.asnumpy().tolist() == [8, 1, 2]
    back = torch.from_dlpack(a * 2)
    assert back.tolist() == [16, 2, 4]
    assert torch.from_dlpack(nd.array([1, 2], dtype="int64")).dtype is torch.int64


# ---------------------------------------------------------------- pickles and copies
@pytest.mark.parametrize("dtype", ["float32", "int64", "bfloat16", "bool"])
def test_pickle(dtype):
    a = nd.array([[1, 0]], dtype=dtype, ctx=mx.cpu(1))
    b = pickle.loads(pickle.dumps(a))
    assert (b.context, b.dtype, b.shape) == (a.context, a.dtype, a.shape)
    assert b.asnumpy().tolist() == a.asnumpy().tolist()
    c = copy.deepcopy(a)
    c[:] = 0
    assert a.asnumpy().tolist() == [[1, 0]]
