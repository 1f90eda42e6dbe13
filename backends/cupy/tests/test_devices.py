"""Memory, transfer, errors, several devices."""

import pytest

import mxcore as mx
from mxcore.errors import BackendMissingError, ContextError, MXNetError, OutOfMemoryError


def test_gpu_is_cuda(device):
    assert mx.nd.ones((2,), ctx=mx.gpu())._dev.name == "cupy"
    assert mx.context.num_gpus() >= 1 and len(mx.context.gpu_memory_info(0)) == 2
    x = mx.nd.ones((1000,), ctx=mx.gpu())
    used, held = x.ctx.pool_info()
    assert 4000 <= used <= held


def test_backends_of_one_family_beside_each_other(device):
    """The core knows by the class of a raw array whose it is."""
    pytest.importorskip("pyopencl")
    from mxcore_opencl.platforms import devices

    try:
        devices()
    except BackendMissingError as error:
        pytest.skip(f"no OpenCL device: {error}")
    a, b = mx.nd.ones((2, 3), ctx=device), mx.nd.ones((2, 3), ctx=mx.opencl())
    assert type(a._data) is not type(b._data)
    for x in (a, b):
        x.attach_grad()
        with mx.autograd.record():
            y = mx.nd.dot(x, x.T).sum()
        y.backward()
        assert x.grad.context == x.context and (x.grad.asnumpy() == 4).all()
    assert (a + b.as_in_context(device)).asnumpy().tolist() == [[2] * 3] * 2


def test_out_of_memory_says_how_much(device):
    with pytest.raises(OutOfMemoryError, match=r"4,000,000,000,000,000 bytes were asked for"):
        mx.nd.empty((1000, 1000, 1000, 1000, 1000), ctx=device)
    assert (mx.nd.ones((3,), ctx=device) + 1).asnumpy().tolist() == [2, 2, 2]


def test_memory_comes_back(host, device):
    import gc

    gc.collect()
    before = host.MemoryPointer.live
    x = mx.nd.ones((1000, 1000), ctx=device)
    assert host.MemoryPointer.live >= before + 4_000_000
    del x
    gc.collect()
    assert host.MemoryPointer.live <= before + 100_000  # constants that are kept


def test_a_failing_kernel_is_named_later(host, device, machine, monkeypatch):
    x = mx.nd.ones((3,), ctx=device) * 3  # the name that is remembered
    failing = type(machine.cupy.cuda.runtime)
    monkeypatch.setattr(failing, "deviceSynchronize", lambda self: (_ for _ in ()).throw(
        host.CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")))
    with pytest.raises(MXNetError, match=r"illegal memory access.*The last kernels were: .*_mul.*MXCORE_CUDA_BLOCKING=1"):
        mx.nd.waitall()
    monkeypatch.undo()
    assert x.asnumpy().tolist() == [3, 3, 3]


def test_the_doctor_tells_versions(host, device, monkeypatch):
    from mxcore_cupy import devices, dnn

    assert devices.describe() == "CuPy 14.0, CUDA 13.0, cuDNN 9.12: Host, Host"
    monkeypatch.setattr(dnn, "library", lambda: None)
    assert "without cuDNN" in devices.describe()


def test_blocking(host, machine, monkeypatch):
    waits = []
    monkeypatch.setattr(machine, "blocking", True)
    monkeypatch.setattr(machine, "finish", lambda: waits.append(1))
    machine.xp.add(machine.xp.ones((2,), "float32"), machine.xp.ones((2,), "float32"))
    assert waits


def test_devices_do_not_mix(device):
    if mx.context.num_gpus() < 2:
        pytest.skip("one device")
    a, b = mx.nd.ones((2,), ctx=mx.gpu(0)), mx.nd.ones((2,), ctx=mx.gpu(1))
    with pytest.raises(ContextError):
        a + b
    assert (a + b.as_in_context(mx.gpu(0))).asnumpy().tolist() == [2, 2]


def test_a_copy_to_another_device_does_not_go_by_way_of_the_host(device, monkeypatch):
    if mx.context.num_gpus() < 2:
        pytest.skip("one device")
    x = mx.nd.array([[1, 2, 3], [4, 5, 6]], ctx=mx.gpu(0))
    with monkeypatch.context() as m:
        m.setattr(type(x._dev.backend), "to_host", lambda *_: pytest.fail("by way of the host"))
        y, z = x.as_in_context(mx.gpu(1)), x.T.as_in_context(mx.gpu(1))
        empty = mx.nd.zeros((0, 3), ctx=mx.gpu(0)).as_in_context(mx.gpu(1))
    assert y.context == mx.gpu(1) and y.asnumpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert z.asnumpy().tolist() == [[1, 4], [2, 5], [3, 6]] and empty.shape == (0, 3)


def test_dlpack(device):
    x = mx.nd.array([[1, 2], [3, 4]], ctx=device)
    y = mx.nd.from_dlpack(x)
    assert y.ctx.device_type in ("gpu", "cuda", "cpu")
    assert y.asnumpy().tolist() == [[1, 2], [3, 4]]


def test_a_program_that_does_not_compile_shows_its_line(device, monkeypatch):
    from mxcore_cupy.compiler import compiled

    monkeypatch.delenv("MXCORE_HOSTCUDA_PROGRAMS", raising=False)  # compile_all.py is not to try it
    with pytest.raises(MXNetError, match=r"line 2: int x = nothing;"):
        compiled("__kernel void f(__global int *p) {\nint x = nothing;\np[0] = x; }", "sm_90")


def test_programs_are_kept_on_disk(device, tmp_path, monkeypatch):
    from mxcore_cupy import compiler

    monkeypatch.setenv("MXCORE_HOME", str(tmp_path))
    text = "__kernel void f(__global int *p) { p[0] = 1; }"
    code = compiler.compiled(text, "sm_90")
    (kept,) = (tmp_path / "cuda").glob("*.cubin")
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compiler.compiled(text, "sm_90") == code
    kept.write_bytes(kept.read_bytes()[:-1])  # torn: it is not trusted
    monkeypatch.undo()
    monkeypatch.setenv("MXCORE_HOME", str(tmp_path))
    assert compiler.compiled(text, "sm_90") == code


def test_a_device_that_the_compiler_does_not_know():
    pytest.importorskip("cupy")
    from mxcore_cupy import compiler

    known = compiler.architectures()
    assert compiler.architecture_for(known[-1]) == f"sm_{known[-1]}"
    assert compiler.architecture_for(known[-1] + 7) == f"compute_{known[-1]}"
    with pytest.raises(MXNetError, match="compute capability"):
        compiler.architecture_for(known[0] - 1)
