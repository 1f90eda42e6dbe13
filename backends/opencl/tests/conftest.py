"""A device for the tests, which are skipped where there is none: pip install mxcore[pocl] brings one."""

import pytest

import mxcore as mx
from mxcore.errors import BackendMissingError


@pytest.fixture(scope="session")
def device():
    """The first OpenCL device."""
    from mxcore_opencl.platforms import devices

    try:
        devices()
    except BackendMissingError as error:
        pytest.skip(f"no OpenCL device: {error}")
    return mx.Context("opencl", 0)


@pytest.fixture
def machine(device):
    """What the backend knows of it."""
    from mxcore_opencl.platforms import machine

    return machine(0)


@pytest.fixture(params=["gpu", "cpu"])
def route(request, machine, monkeypatch):
    """As if the device were a graphics processor, or a CPU."""
    monkeypatch.setattr(machine, "gpu", request.param == "gpu")
    return request.param
