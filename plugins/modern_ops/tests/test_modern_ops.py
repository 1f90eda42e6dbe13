"""The plugin as its users meet it: installed, nothing imported."""

import numpy as np
import pytest

import mxcore as mx
from mxcore.testing import loopback
from mxcore.testing.checks import CHECKS
from mxcore.testing.sampling import A, Sample

loopback.install()
SAMPLES = [
    Sample("mish", (A(2, 3),), {}, lambda a: a * np.tanh(np.log1p(np.exp(a)))),
    Sample("rms_norm", (A(4, 3), A(3, low=0.5, high=2)), {"eps": 0.01},
           lambda a, g, eps: a / np.sqrt((a * a).mean(-1, keepdims=True) + eps) * g),
    Sample("rms_norm", (A(2, 3, 4), A(3, low=0.5, high=2)), {"axis": 1},
           lambda a, g, axis: a / np.sqrt((a * a).mean(axis, keepdims=True) + 1e-6) * g.reshape(1, 3, 1), number=1),
]


@pytest.mark.parametrize("kind", ["cpu", "loopback"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)
@pytest.mark.parametrize("check", CHECKS)
def test_sample(sample, kind, check):
    CHECKS[check](sample, mx.Context(kind, 0))


def test_in_gluon_hybridized():
    class Net(mx.gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            with self.name_scope():
                self.gamma = self.params.get("gamma", shape=(4,), init="ones")

        def hybrid_forward(self, F, x, gamma):
            return F.mish(F.rms_norm(x, gamma))

    net = Net()
    net.initialize()
    x = mx.nd.array(np.arange(8).reshape(2, 4))
    eager = net(x).asnumpy()
    net.hybridize()
    np.testing.assert_allclose(net(x).asnumpy(), eager, rtol=1e-6)


def test_wrong_gamma_is_explained():
    with pytest.raises(mx.MXNetError, match="gamma and the axis -1"):
        mx.nd.rms_norm(mx.nd.ones((2, 3)), mx.nd.ones(4))


def test_the_doctor_lists_it():
    assert "modern_ops" in {r.name for r in mx.plugins.records() if r.status == "loaded"}
