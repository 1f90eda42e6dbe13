"""Losses: what MXNet 1.9.1 gave (printed forms, symbols, numbers, gradients), eager and hybridized, and more."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxcore as mx
from mxcore.gluon import loss

COMPAT = Path(__file__).parents[1] / "compat"
PROGRAM = runpy.run_path(str(COMPAT / "record" / "gluon_layers.py"))
EXPECTED = PROGRAM["recorded"]("losses", COMPAT / "data" / "gluon")


def test_every_loss_was_recorded() -> None:
    assert sorted(EXPECTED) == sorted(PROGRAM["names"]("losses"))
    classes = {name.partition("(")[0] for name in EXPECTED}
    assert classes | {"Loss"} == set(loss.__all__)


@pytest.mark.parametrize("hybridize", [False, True], ids=["eager", "hybridized"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_as_recorded(name: str, hybridize: bool) -> None:
    if name.startswith("CTCLoss") and not hasattr(mx.nd, "CTCLoss"):
        pytest.skip("there is no operator CTCLoss")
    assert PROGRAM["differences"](PROGRAM["run"](mx, "losses", name, hybridize), EXPECTED[name]) == []


def probabilities(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype("float32")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 5), k=st.integers(2, 6))
def test_sparse_and_dense_labels_agree(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    pred = mx.nd.array(rng.normal(size=(n, k)))
    label = rng.integers(0, k, n)
    sparse = loss.SoftmaxCELoss()(pred, mx.nd.array(label))
    dense = loss.SoftmaxCELoss(sparse_label=False)(pred, mx.nd.array(np.eye(k)[label]))
    assert np.allclose(sparse.asnumpy(), dense.asnumpy(), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 5), k=st.integers(1, 6))
def test_logits_and_probabilities_agree(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    x = mx.nd.array(rng.normal(size=(n, k)))
    label = mx.nd.array(rng.integers(0, 2, (n, k)))
    pos = mx.nd.array(rng.uniform(0.5, 2, (1, k)))
    for extra in ((), (None, pos)):
        a = loss.SigmoidBCELoss()(x, label, *extra)
        b = loss.SigmoidBCELoss(from_sigmoid=True)(mx.nd.sigmoid(x), label, *extra)
        assert np.allclose(a.asnumpy(), b.asnumpy(), atol=1e-4)


def test_large_logits_do_not_overflow() -> None:
    x, one = mx.nd.array([[200, -200]]), mx.nd.array([[0, 1]])
    assert loss.SigmoidBCELoss()(x, one).asnumpy().tolist() == [200]
    assert loss.SoftmaxCELoss()(mx.nd.array([[1000, 0]]), mx.nd.array([0])).asnumpy().tolist() == [0]


def test_samples_of_weight_zero_have_no_gradient() -> None:
    x = mx.nd.array(np.arange(6).reshape(3, 2))
    x.attach_grad()
    with mx.autograd.record():
        y = loss.L2Loss()(x, mx.nd.zeros((3, 2)), mx.nd.array([[1], [0], [2]]))
    y.backward()
    assert x.grad.asnumpy().tolist() == [[0, 0.5], [0, 0], [4, 5]]


def test_full_poisson_loss_of_count_zero_is_finite_and_trains() -> None:
    pred, target = mx.nd.array([0.5, 1]), mx.nd.array([0, 3])
    pred.attach_grad()
    with mx.autograd.record():
        y = loss.PoissonNLLLoss(compute_full=True)(pred, target)
    y.backward()
    stirling = 3 * np.log(3) - 3 + 0.5 * np.log(2 * np.pi * 3)
    wanted = (np.exp(0.5) + np.exp(1) - 3 + stirling) / 2
    assert np.allclose(y.asnumpy(), wanted, atol=1e-5)
    assert np.allclose(pred.grad.asnumpy(), [np.exp(0.5) / 2, (np.exp(1) - 3) / 2], atol=1e-5)


def test_cosine_of_a_zero_vector_is_zero() -> None:
    zero, x = mx.nd.zeros((1, 2)), mx.nd.array([[1, 2]])
    assert loss.CosineEmbeddingLoss()(zero, x, mx.nd.array([1])).asnumpy().tolist() == [[1]]


def test_losses_accept_labels_of_another_shape() -> None:
    pred, label = mx.nd.array([[1], [2]]), mx.nd.array([0, 0])
    assert loss.L1Loss()(pred, label).asnumpy().tolist() == [1, 2]


def test_a_weight_must_be_a_number() -> None:
    with pytest.raises(TypeError, match="L1Loss: weight must be a number"):
        loss.L1Loss(weight="heavy")(mx.nd.zeros((1, 1)), mx.nd.zeros((1, 1)))


def test_a_loss_of_ones_own() -> None:
    class Cubic(loss.Loss):
        def hybrid_forward(self, F, pred, label):
            return F.mean(F.abs(pred - label) ** 3, axis=self._batch_axis, exclude=True)

    cubic = Cubic(weight=None, batch_axis=0)
    x = mx.nd.array([[1, 3]])
    eager = cubic(x, mx.nd.zeros((1, 2))).asnumpy().tolist()
    cubic.hybridize()
    assert cubic(x, mx.nd.zeros((1, 2))).asnumpy().tolist() == eager == [14]
