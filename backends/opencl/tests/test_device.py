"""Devices: what is found, errors for a person, fallbacks, random numbers, several devices, the device part of the kit."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest

import mxcore as mx
from mxcore import nd
from mxcore.errors import BackendMissingError, ContextError, KernelMissingError, MXNetError, OutOfMemoryError
from mxcore.testing import conformance


def host(a):
    from mxcore_device.host import to_host

    return to_host(a)


@pytest.mark.parametrize("case", [c for c in conformance.cases("opencl") if c.name.startswith("device:")], ids=str)
def test_kit(device, case, monkeypatch):
    monkeypatch.setenv("MXCORE_FALLBACK", "allow")
    case.run()


def test_a_program_that_does_not_compile_shows_its_line(machine, capfd):
    with pytest.raises(MXNetError, match=r"line 2: int x = nothing;") as caught:
        machine.compile("__kernel void f(__global int *p) {\nint x = nothing;\np[0] = x; }", ["f"])
    assert "bug of mxcore-opencl or of the driver" in str(caught.value)


def test_memory_has_an_end(machine, device):
    with pytest.raises(OutOfMemoryError, match="one allocation may have at most"):
        nd.zeros((1 << 20, 1 << 14), ctx=device)


def test_errors_of_the_driver_are_explained(machine):
    from mxcore_opencl.platforms import explain

    assert isinstance(explain(machine, RuntimeError("clEnqueue failed: OUT_OF_RESOURCES")), OutOfMemoryError)
    assert "was lost while waiting" in str(explain(machine, RuntimeError("DEVICE_NOT_AVAILABLE"), "waiting"))
    assert "failed while x: odd" in str(explain(machine, RuntimeError("odd"), "x"))


def test_without_a_platform(monkeypatch):
    pyopencl = pytest.importorskip("pyopencl")
    from mxcore_opencl import platforms

    monkeypatch.setattr(pyopencl, "get_platforms", list)
    with pytest.raises(BackendMissingError, match=r"pip install mxcore\[pocl\]"):
        platforms.devices.__wrapped__()


def test_fallbacks_are_counted_warned_of_and_forbidden(device, machine, monkeypatch):
    monkeypatch.setattr(machine, "fp64", False)
    x = nd.array([3, 1, 2], ctx=device, dtype="float64")
    monkeypatch.setenv("MXCORE_FALLBACK", "error")
    with pytest.raises(KernelMissingError, match="MXCORE_FALLBACK=error"):
        nd.cumsum(x)
    monkeypatch.setenv("MXCORE_FALLBACK", "allow")
    before = mx.runtime.fallbacks().get(("opencl", "cumsum"), 0)
    np.testing.assert_array_equal(nd.cumsum(x).asnumpy(), [3, 4, 6])
    assert mx.runtime.fallbacks()["opencl", "cumsum"] == before + 1


def test_products_are_routed_and_counted(device, machine, monkeypatch):
    x = nd.ones((2, 3), ctx=device)
    for gpu, more in ((False, 1), (True, 0)):
        monkeypatch.setattr(machine, "gpu", gpu)
        before = mx.runtime.routed().get(("opencl", "matmul"), 0)
        np.testing.assert_array_equal(nd.dot(x, x.T).asnumpy(), np.full((2, 2), 3))
        assert mx.runtime.routed().get(("opencl", "matmul"), 0) == before + more


def test_random_numbers_come_from_seed_and_number_of_the_call(device, machine):
    from mxcore_device.random import Generator

    one, other = Generator(machine, 7), Generator(machine, 7)
    first = host(one.random((1000,), "float32"))
    np.testing.assert_array_equal(first, host(other.random((1000,), "float32")))
    again = copy.deepcopy(one)
    np.testing.assert_array_equal(host(one.standard_normal((9,))), host(again.standard_normal((9,))))
    assert not np.array_equal(first, host(one.random((1000,), "float32")))
    assert not np.array_equal(first, host(Generator(machine, 8).random((1000,), "float32")))


METHODS = {
    "random": ((40,),), "standard_normal": ((40,), "float32"), "standard_exponential": ((40,),), "standard_gamma": (0.7, (40,)),
    "poisson": (20.0, (40,)), "integers": (-5, 99, (40,)),
}


@pytest.mark.parametrize("call", [0, (1 << 32) - 2])
def test_a_recording_draws_what_its_generator_would(machine, call):
    from mxcore.runtime.backend import RNG
    from mxcore_device.random import Generator

    assert {*METHODS, "permutation"} == set(RNG)
    present = Generator(machine, 4, call)
    recording, first = present.recording(), copy.deepcopy(present)
    recording.replay(present)
    for name, arguments in METHODS.items():
        np.testing.assert_array_equal(host(getattr(recording, name)(*arguments)), host(getattr(first, name)(*arguments)))
    assert present.call == call
    recording.replay(present)  # from here on it is known how many numbers it takes
    assert present.call == call + len(METHODS) == first.call
    np.testing.assert_array_equal(host(present.random((9,))), host(first.random((9,))))


def test_a_recording_refuses_what_would_be_the_same_each_time(machine):
    from mxcore_device.random import Generator

    recording = Generator(machine, 4).recording()
    with pytest.raises(MXNetError, match="made by the host"):
        recording.permutation(5)
    with pytest.raises(MXNetError, match="cannot keep the state"):
        copy.deepcopy(recording)


def test_a_kernel_that_draws_is_not_repeated(machine):
    from mxcore_device.random import Generator
    from mxcore_device.repeats import Repeated

    rng, x = Generator(machine, 4), machine.xp.ones((30,), "float32")
    kernel = Repeated("noise", lambda xp, a: a + rng.random(a.shape, "float32"))
    assert len({host(kernel(machine.xp, x)).tobytes() for _ in range(6)}) == 6


def test_distributions(machine):
    stats = pytest.importorskip("scipy.stats")
    from mxcore_device.random import Generator

    rng, n = Generator(machine, 3), (20000,)
    for got, want in ((rng.random(n), stats.uniform()), (rng.standard_normal(n, "float32"), stats.norm()),
                      (rng.standard_exponential(n), stats.expon()), (rng.standard_gamma(0.4, n), stats.gamma(0.4)),
                      (rng.standard_gamma(6.5, n), stats.gamma(6.5))):
        assert stats.kstest(host(got), want.cdf).pvalue > 1e-4
    for mean in (0.5, 4.0, 60.0):
        drawn = host(rng.poisson(mean, n))
        values = np.arange(drawn.min(), drawn.max() + 1)
        expected = stats.poisson(mean).pmf(values) * n[0]
        seen = np.array([(drawn == v).sum() for v in values])
        often = expected > 5
        assert ((seen[often] - expected[often]) ** 2 / expected[often]).sum() < 3 * often.sum() + 30
    dice = host(rng.integers(-2, 4, n, "int32"))
    assert set(dice) == set(range(-2, 4))


def python(program, **environment):
    """Run a program in a process of its own."""
    return subprocess.run([sys.executable, "-W", "ignore", "-c", program], env={**os.environ, **environment}, capture_output=True,
                          text=True, timeout=300)


def test_two_devices(device):
    """PoCL gives as many CPUs as it is told to."""
    if "Portable" not in __import__("pyopencl").get_platforms()[0].name:
        pytest.skip("the platform is not PoCL")
    program = """
import numpy as np, mxcore as mx
from mxcore import nd, autograd
a, b = mx.Context('opencl', 0), mx.Context('opencl', 1)
x = nd.array(np.arange(6).reshape(2, 3), ctx=b)
x.attach_grad()
with autograd.record():
    y = (nd.softmax(x) * nd.one_hot(nd.array([1, 0], ctx=b), 3)).sum() + nd.zeros(1, ctx=b)
y.backward()
assert y.context == b and x.grad.context == b and x.grad._data.machine.index == 1, (y.context, x.grad)
z = x.as_in_context(a) + 1
assert z._data.machine.index == 0 and z.asnumpy()[1, 2] == 6
try:
    x + z
except mx.MXNetError as error:
    assert 'opencl(0)' in str(error) and 'opencl(1)' in str(error)
else:
    raise AssertionError('arrays of two devices met')
"""
    done = python(program, POCL_DEVICES="pthread pthread")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("asked", ["", "opencl"])
def test_what_mx_gpu_means(device, asked, monkeypatch):
    """A CPU serves ``mx.gpu()`` only if the user says so."""
    if not all(d.type & 2 for d in __import__("mxcore_opencl.platforms", fromlist=["devices"]).devices()):
        pytest.skip("there is a graphics processor")
    program = "import mxcore as mx; print(mx.nd.ones(2, ctx=mx.gpu()).sum().asscalar(), mx.num_gpus())"
    monkeypatch.delenv("MXCORE_BACKEND_GPU", raising=False)
    done = python(program, **{"MXCORE_BACKEND_GPU": asked} if asked else {})
    if asked:
        assert done.stdout.split() == ["2.0", "1"], done.stderr[-2000:]
    else:
        assert done.returncode and "no device of this kind" in done.stderr


def test_a_device_without_doubles(device, machine, monkeypatch):
    """float64 is computed on the host there, and counted; other types are not."""
    monkeypatch.setattr(machine, "fp64", False)
    monkeypatch.setenv("MXCORE_FALLBACK", "allow")
    a = np.random.default_rng(0).normal(size=(4, 3))
    x = nd.array(a, ctx=device, dtype="float64")
    before = sum(mx.runtime.fallbacks().values())
    index = nd.array([1, 1, 3], ctx=device, dtype="int32")
    for got, want in ((nd.exp(x) + x, np.exp(a) + a), (x.sum(axis=0), a.sum(axis=0)), (nd.dot(x, x.T), a @ a.T),
                      (x.astype("float32"), a.astype("float32")), (nd.sigmoid(x), 1 / (1 + np.exp(-a))),
                      (nd.take(x, index), a[[1, 1, 3]]), (nd.cumsum(x, axis=1), a.cumsum(axis=1)),
                      (x.argmax(axis=1), a.argmax(axis=1))):
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-6)
    assert nd.random.normal(shape=(3,), dtype="float64", ctx=device).dtype == np.float64
    assert sum(mx.runtime.fallbacks().values()) > before
    monkeypatch.setenv("MXCORE_FALLBACK", "error")
    y = nd.array(a, ctx=device)
    np.testing.assert_allclose((nd.dot(y, y.T) + nd.exp(y).sum()).asnumpy(), a @ a.T + np.exp(a).sum(), rtol=1e-4)


def test_contexts_by_kind(device):
    assert mx.opencl() == mx.Context("opencl", 0) and mx.opencl(1).device_id == 1
    with pytest.raises(AttributeError, match=r"no attribute 'abacus'$"):
        mx.abacus  # noqa: B018


def test_the_pool_tells_what_it_holds(device):
    x = nd.ones((1000,), ctx=device)
    used, held = x.ctx.pool_info()
    assert 4000 <= used <= held
    with pytest.raises(ContextError, match="no memory pool"):
        mx.cpu().pool_info()
