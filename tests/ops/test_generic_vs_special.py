"""Every special kernel of a backend gives what the generic kernel of its operator gives, over the samples."""

import numpy as np
import pytest

from mxcore.context import cpu
from mxcore.registry import OPS
from mxcore.registry.kernels import KernelEntry, add_kernels, kernels_of
from mxcore.runtime.device import device_of
from mxcore.testing import kernels, sampling

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")  # nan and inf are values; as the backend does
SAMPLES = sampling.load()


def test_special_kernels_agree_with_generic_ones():
    failures = []
    for s in SAMPLES:
        try:
            kernels.check_kernels(s, cpu())
        except AssertionError as error:
            failures.append(f"{s.id}: {error}")
    assert not failures, "\n".join(failures)
    name = device_of(cpu()).name
    special = {op.name for op in kernels.special_operators(name) if op.fn.__module__.startswith("mxcore.")
               and any(e.source in ("", name) for e in kernels_of(name, op.name))}  # plugins may have some for large arrays only
    special.discard("_fused")  # made by a pass; tests/frontends/test_passes.py and the backend's own tests compare it
    unreached = sorted(special - set(kernels.COMPARED))
    assert not unreached, f"special kernels that no sample reaches: {unreached}"


@pytest.fixture
def table(monkeypatch):
    """The table of special kernels, put back afterwards."""
    from mxcore.registry import kernels as registry

    monkeypatch.setattr(registry, "_TABLE", {k: list(v) for k, v in registry._TABLE.items()})
    yield
    OPS["sinh"].kernels.clear()


def wrong(xp, data):
    return xp.sinh(data) + 1e-3


def right(xp, data):
    return (np.exp(data) - np.exp(-data)) / 2


def test_a_wrong_kernel_is_found(table):
    sample = next(s for s in SAMPLES if s.op == "sinh")
    before = kernels.COMPARED["sinh"]
    add_kernels("numpy", {"sinh": KernelEntry(right)})
    kernels.check_kernels(sample, cpu())
    assert kernels.COMPARED["sinh"] > before
    add_kernels("numpy", {"sinh": KernelEntry(wrong, accepts=lambda data: data.ndim == 7)})
    kernels.check_kernels(sample, cpu())
    add_kernels("numpy", {"sinh": KernelEntry(wrong)})
    with pytest.raises(AssertionError, match="wrong"):
        kernels.check_kernels(sample, cpu())
