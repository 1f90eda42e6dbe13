"""Finding the library, doing without it, its threads, forked processes, and that nothing is left over."""

import ctypes
import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from mxcore.registry.bound import Spec, channels_last, plain_order
from mxcore_numpy import openmp
from mxcore_onednn import convolution, library, plugin
from mxcore_onednn.arrangement import Incoming
from mxcore_onednn.codes import Algorithm, Arg, Propagation
from mxcore_onednn.primitive import Call, Layout, Primitive, address, aligned, layout_of, reorder

FLOAT = np.dtype("float32")
ATTRS = {"kernel": (3, 3), "stride": (1, 1), "dilate": (1, 1), "pad": (1, 1), "num_group": 1}


def spec(*shape):
    return Spec(shape, FLOAT, plain_order(len(shape)))


def bound_convolution(size=8):
    return convolution.bind_conv([spec(1, 8, size, size), spec(8, 8, 3, 3)], [spec(1, 8, size, size)], ATTRS, False)


def relu(layout):
    return Primitive("eltwise_forward", Propagation.INFERENCE, Algorithm.RELU, layout, layout, 0.0, 0.0)


# ---------------------------------------------------------------- with and without
def test_an_override_that_is_no_file(monkeypatch):
    monkeypatch.setenv(library.OVERRIDE, "/nowhere/libdnnl.so")
    assert library.locate() is None
    assert "/nowhere/libdnnl.so" in library.missing() and library.OVERRIDE in library.missing()
    assert plugin.mxcore_kernels("numpy") is None
    assert "/nowhere/libdnnl.so" in plugin.mxcore_describe()


def test_an_override_that_is_there(onednn, monkeypatch):
    monkeypatch.setenv(library.OVERRIDE, str(library.locate()))
    assert library.missing() is None and plugin.mxcore_kernels("numpy")


def test_only_numpy_gets_kernels(onednn):
    assert plugin.mxcore_kernels("cupy") is None


def test_the_doctor_names_the_version(onednn):
    assert plugin.mxcore_describe().startswith(f"oneDNN {library.version()} at ")


def test_mxcore_computes_without_it():
    code = ("import mxcore as mx, numpy as np; x = mx.nd.ones((1, 8, 64, 64)); w = mx.nd.ones((8, 8, 3, 3));"
            "y = mx.nd.Convolution(x, w, no_bias=True, kernel=(3, 3), num_filter=8); assert y.asnumpy()[0, 0, 1, 1] == 72;"
            "import sys; assert 'mxcore_onednn.primitive' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, library.OVERRIDE: "/nowhere"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# ---------------------------------------------------------------- errors
def test_errors_name_the_function(onednn):
    with pytest.raises(library.OneDNNError, match="dnnl_memory_desc_create_with_strides failed: invalid arguments"):
        Layout((2,) * 13, FLOAT, (1,) * 13)
    double = Layout((1, 8, 4, 4), np.dtype("float64"), (128, 16, 4, 1))
    with pytest.raises(library.Unsupported, match="unimplemented"):
        Primitive("convolution_forward", Propagation.INFERENCE, Algorithm.CONVOLUTION, double,
                  Layout((8, 8, 1, 1), np.dtype("float64")), None, double, (1, 1), (0, 0), (0, 0), (0, 0))


def test_arguments_that_a_primitive_has_not(onednn):
    primitive = relu(Layout((4, 4), FLOAT, (4, 1)))
    assert primitive.layout(Arg.SRC) == primitive.layout(Arg.DST)
    assert primitive.label.startswith("jit")


# ---------------------------------------------------------------- arrays
def test_addresses():
    a = np.arange(12.0)
    for view in (a, a[3:], a.reshape(3, 4)[1:, ::2], a[::-1], np.empty(0)):
        assert address(view) == view.__array_interface__["data"][0]
    assert address(aligned(100)) % 64 == 0 and aligned(100).nbytes == 100


def test_a_call_follows_its_arrays(onednn):
    call = Call(relu(Layout((4, 4), FLOAT, (4, 1))), [Arg.SRC, Arg.DST])
    for seed in range(3):
        x, y = np.random.default_rng(seed).standard_normal((4, 4)).astype("f4"), np.empty((4, 4), "f4")
        call(x, y)
        np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_reorders_between_any_strides(onednn):
    x = np.random.default_rng(0).standard_normal((3, 5, 7, 4)).astype("f4")[:, :, ::2, 1:]
    x, y = x[:, :, :3], np.empty((7, 3, 5, 4), "f4").transpose(1, 2, 0, 3)[:, :, :3, :3]
    Call(reorder(layout_of(x), layout_of(y)), [Arg.SRC, Arg.DST])(x, y)
    np.testing.assert_array_equal(x, y)


def test_inputs_are_copied_only_where_they_must(onednn):
    take = Incoming(spec(2, 5, 3, 4), channels_last(4))
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("f4").transpose(0, 3, 1, 2)
    assert take(x) is x
    large = np.random.default_rng(0).standard_normal((2, 5, 5, 7)).astype("f4")
    for other in (np.ascontiguousarray(x), x[:, ::-1], large[:, :, ::2, :4], large[:, :, :3, ::2],
                  np.broadcast_to(np.float32(1), x.shape)):
        got = take(other)
        assert got.strides == x.strides and got is not other
        np.testing.assert_array_equal(got, other)


# ---------------------------------------------------------------- threads and processes
def threads_of_openmp():
    return openmp.openmp().omp_get_max_threads()


def test_each_thread_has_the_same_number_of_openmp_threads(onednn, monkeypatch):
    monkeypatch.setenv("MXCORE_NUM_THREADS", "3")
    seen = []

    def work():
        bound_convolution()
        seen.append(threads_of_openmp())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [3]


def test_threads_compute_apart(onednn):
    x = np.random.default_rng(0).standard_normal((1, 6, 8, 8)).astype("f4").transpose(0, 3, 1, 2)
    wrong = []

    def work(seed):
        w = np.random.default_rng(seed).standard_normal((8, 8, 3, 3)).astype("f4")
        bound = convolution.bind_conv([spec(*x.shape), spec(8, 8, 3, 3)], [spec(*x.shape)], ATTRS, False)
        out = np.empty((1, 6, 8, 8), "f4").transpose(0, 3, 1, 2)
        bound.prepare([x, w])
        bound.run([x, w], [out])
        first = out.copy()
        for _ in range(50):
            bound.run([x, w], [out])
            if not np.array_equal(out, first):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_computes(onednn):
    """OpenMP's workers do not come along; a child that waited for them would never end."""
    code = """
import os, numpy as np
import mxcore as mx
x, w = mx.nd.ones((4, 16, 64, 64)), mx.nd.ones((16, 16, 3, 3))
conv = lambda: mx.nd.Convolution(x, w, no_bias=True, kernel=(3, 3), num_filter=16).asnumpy()
want = conv()
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(conv(), want) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env={**os.environ, "MXCORE_NUM_THREADS": "2"},
                          capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_settings_of_openmp_do_not_leak(onednn):
    """GOMP_SPINCOUNT is set for loading only, so that programs that are started do not see it."""
    assert "GOMP_SPINCOUNT" not in os.environ or os.environ["GOMP_SPINCOUNT"] != openmp._SPINS


# ---------------------------------------------------------------- nothing is left over
def test_bound_calls_free_all(onednn, monkeypatch):
    gc.collect()  # what other tests have left
    freed = []
    for kind in (Call, Primitive, Layout):
        original = kind.__del__
        monkeypatch.setattr(kind, "__del__", lambda self, original=original: (freed.append(type(self)), original(self)))
    bound = bound_convolution()
    w = np.zeros((8, 8, 3, 3), "f4")
    bound.prepare([None, w])
    before = len([f for f in freed if f is Call])
    del bound
    gc.collect()
    assert len([f for f in freed if f is Call]) == before + 2  # the convolution and the packing
    assert {Call, Primitive, Layout} <= set(freed)


def test_memory_does_not_grow(onednn):
    """Programs that come and go leave nothing behind, neither in Python nor in the library."""
    x = np.zeros((1, 16, 16, 8), "f4").transpose(0, 3, 1, 2)
    w = np.zeros((8, 8, 3, 3), "f4")

    def work(count):
        for _ in range(count):
            bound = bound_convolution(16)
            bound.prepare([x, w])
            bound.run([x, w], [np.empty_like(x)])

    class Info(ctypes.Structure):
        _fields_ = [(n, ctypes.c_size_t) for n in
                    ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

    info = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if info is None:
        pytest.skip("this C library does not say how much is in use")
    info.restype = Info
    work(20)
    gc.collect()
    before = info().uordblks
    work(300)
    gc.collect()
    assert info().uordblks - before < 300 * 1000  # less than a memory object for each


def test_the_interpreter_ends_quietly(onednn):
    code = ("import mxcore as mx; net = mx.gluon.nn.Conv2D(8, 3); net.initialize(); net.hybridize();"
            "net(mx.nd.ones((1, 8, 9, 9))).wait_to_read()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr.decode()) == (0, "")
