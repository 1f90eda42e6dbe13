"""Products by cuBLAS: any strides, batches, types; against NumPy."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from mxcore.dtype import dtype_of
from mxcore_device.arrays import from_host
from mxcore_device.host import to_host

TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 2e-3, "bfloat16": 2e-2}


@st.composite
def operands(draw):
    m, n, k = (draw(st.integers(1, 5)) for _ in range(3))
    batch = draw(st.sampled_from([(), (3,), (2, 3), (1, 2)]))
    small = draw(st.sampled_from([batch, (1,) * len(batch), ()]))
    return (*batch, m, k), (*small, k, n), draw(st.integers(0, 3)), draw(st.integers(0, 3))


def strided(machine, host, how):
    """The same values in memory of other strides: as they are, transposed, with gaps, backwards."""
    xp = machine.xp
    if how == 1:
        return xp.swapaxes(from_host(machine, np.ascontiguousarray(np.swapaxes(host, -1, -2))), -1, -2)
    if how == 2:
        wide = np.zeros((*host.shape[:-1], host.shape[-1] * 2 + 1), host.dtype)
        wide[..., 1::2] = host
        return from_host(machine, wide)[..., 1::2]
    if how == 3:
        return from_host(machine, np.ascontiguousarray(host[..., ::-1, :]))[..., ::-1, :]
    return from_host(machine, host)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=operands(), seed=st.integers(0, 9))
def test_matmul_is_numpys(machine, dtype, case, seed):
    left, right, how_left, how_right = case
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape).astype(dtype_of(dtype)) for shape in (left, right))
    found = to_host(machine.xp.matmul(strided(machine, a, how_left), strided(machine, b, how_right)))
    assert found.dtype == a.dtype
    np.testing.assert_allclose(found.astype(float), np.matmul(a.astype(float), b.astype(float)), rtol=TOLERANCE[dtype],
                               atol=TOLERANCE[dtype] * 5)


def test_integers_have_a_kernel_of_their_own(machine):
    a = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert (to_host(machine.xp.matmul(from_host(machine, a), from_host(machine, a.T))) == a @ a.T).all()


def test_nothing_to_sum_gives_zeros(machine):
    a, b = (from_host(machine, np.zeros(shape, np.float32)) for shape in ((3, 0), (0, 2)))
    assert (to_host(machine.xp.matmul(a, b)) == np.zeros((3, 2))).all()


def test_tensor_float_is_a_choice(machine, monkeypatch):
    from mxcore_cupy import blas

    asked = []
    gemm = blas.library().gemm
    monkeypatch.setattr(blas.library(), "gemm", lambda *args: asked.append(args[-2]) or gemm(*args))
    a = from_host(machine, np.eye(4, dtype=np.float32))
    machine.xp.matmul(a, a)
    monkeypatch.setattr(machine, "tf32", True)
    machine.xp.matmul(a, a)
    assert asked == [68, 77]
