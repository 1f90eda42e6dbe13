"""A device for the tests: a real one, or with ``MXCORE_TEST_CUDA=host`` the host's imitation (:mod:`hostcuda`).

The imitation takes the place of CuPy for the whole process, so it is asked for by ``python3 dev.py cuda``, which runs these
tests in a process of their own. Without either the tests are skipped.
"""

import os
import sys
from pathlib import Path

import pytest

import mxcore as mx
from mxcore.errors import BackendMissingError

HOST = os.environ.get("MXCORE_TEST_CUDA") == "host"
if HOST:
    sys.path.insert(0, str(Path(__file__).parent))
    import hostcuda

    if hostcuda.available():
        sys.modules.update(hostcuda.modules())


@pytest.fixture(scope="session")
def device():
    """The first CUDA device."""
    if HOST and not hostcuda.available():
        pytest.skip("CUDA on the host needs g++")
    from mxcore_cupy.devices import count

    try:
        count()
    except BackendMissingError as error:
        pytest.skip(f"no CUDA device: {error}")
    return mx.Context("cuda", 0)


@pytest.fixture
def machine(device):
    """What the backend knows of it."""
    from mxcore_cupy.devices import machine

    return machine(0)


@pytest.fixture
def host(device):
    """The imitation, for what no real device can be made to do."""
    if not HOST:
        pytest.skip("only with MXCORE_TEST_CUDA=host")
    return hostcuda
