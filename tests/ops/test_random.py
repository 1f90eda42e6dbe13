"""Random operators: what they draw, from which generator, in which shapes and types."""

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd
from mxcore.errors import ArgumentError, MXNetError

N = 40_000
# draw, mean, variance
DRAWS = [
    (lambda: nd.random.uniform(-1, 3, N), 1, 16 / 12),
    (lambda: nd.random.normal(2, 3, N), 2, 9),
    (lambda: nd.random.randn(N), 0, 1),
    (lambda: nd.random.gamma(2, 3, N), 6, 18),
    (lambda: nd.random.exponential(2, N), 2, 4),
    (lambda: nd.random.poisson(3, N), 3, 3),
    (lambda: nd.random.negative_binomial(3, 0.4, N), 4.5, 11.25),
    (lambda: nd.random.negative_binomial(3, 1, N), 0, 0),
    (lambda: nd.random.generalized_negative_binomial(2, 0.3, N), 2, 3.2),
    (lambda: nd.random.generalized_negative_binomial(2, 0, N), 2, 2),
    (lambda: nd.random.randint(-2, 3, N), 0, 2),
    (lambda: nd.random.multinomial(nd.array([0.1, 0, 0.3, 0.6]), N), 2.4, 0.84),
    (lambda: nd.random.multinomial(nd.array([1, 3]), N), 0.75, 0.1875),
    (lambda: nd.random_exponential(4, N), 0.25, 1 / 16),
    (lambda: nd.random.exponential_like(nd.zeros(N), lam=4), 0.25, 1 / 16),
    (lambda: nd.random.gamma_like(nd.zeros(N), alpha=4, beta=2), 8, 16),
    (lambda: nd.sample_normal(nd.array([5]), nd.array([2]), shape=N), 5, 4),
    (lambda: nd.sample_exponential(nd.array([2]), shape=N), 0.5, 0.25),
    (lambda: nd.sample_negative_binomial(nd.array([3]), nd.array([0.4]), shape=N), 4.5, 11.25),
    (lambda: nd.sample_generalized_negative_binomial(nd.array([2]), nd.array([0]), shape=N), 2, 2),
]


@pytest.mark.parametrize("draw, mean, variance", DRAWS)
def test_moments(draw, mean, variance):
    mx.random.seed(7)
    x = draw().asnumpy().astype(np.float64)
    assert x.size == N
    assert abs(x.mean() - mean) <= 5 * np.sqrt(variance / N) + 1e-12
    assert abs(x.var() - variance) <= 0.06 * variance + 1e-12


def test_parameters_belong_to_places():
    mx.random.seed(3)
    low, high = nd.array([[0, 10], [20, 30]]), nd.array([[1, 11], [21, 31]])
    x = nd.random.uniform(low, high, shape=(3, 4))
    assert x.shape == (2, 2, 3, 4)
    floor = np.floor(x.asnumpy())
    np.testing.assert_array_equal(floor, np.broadcast_to(low.asnumpy()[..., None, None], floor.shape))
    rows = nd.random.multinomial(nd.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), shape=(2, 5)).asnumpy()
    np.testing.assert_array_equal(rows, np.broadcast_to(np.array([1, 2, 0])[:, None, None], (3, 2, 5)))


def test_a_seed_repeats_the_numbers():
    def draw():
        return np.concatenate([a.asnumpy().ravel() for a in (
            nd.random.uniform(shape=5), nd.random.normal(shape=5), nd.random.poisson(3, shape=5),
            nd.random.shuffle(nd.arange(9)), nd.random.uniform_like(nd.zeros(3)))])

    mx.random.seed(11)
    one = draw()
    np.testing.assert_array_equal(one, (mx.random.seed(11), draw())[1])
    assert not np.array_equal(one, draw())


def test_symbols_draw_what_arrays_draw():
    out = mx.sym.random.normal(1, 2, shape=(2, 3)) + mx.sym.random.uniform(shape=(2, 3), dtype="float32")
    mx.random.seed(5)
    bound = out.bind(mx.cpu(), {}).forward()[0]
    mx.random.seed(5)
    np.testing.assert_allclose(bound.asnumpy(), (nd.random.normal(1, 2, (2, 3)) + nd.random.uniform(shape=(2, 3))).asnumpy())
    a = mx.sym.var("a")
    assert mx.sym.random.uniform(a, a + 1, shape=4).infer_shape(a=(2,))[1] == [(2, 4)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_types(dtype):
    assert nd.random.normal(shape=3, dtype=dtype).asnumpy().dtype.name == dtype
    assert nd.random.poisson_like(nd.zeros(3, dtype=dtype), lam=2).asnumpy().dtype.name == dtype
    out = nd.zeros(3, dtype=dtype)
    assert nd.random.uniform(1, 2, shape=3, out=out) is out and (out.asnumpy() >= 1).all()
    assert nd.random.randint(0, 9, 3, "int64").dtype is np.int64 and nd.random.randint(0, 9).dtype is np.int32


def test_shuffle_moves_slices():
    x = nd.arange(20).reshape((10, 2))
    y = nd.random.shuffle(x).asnumpy()
    np.testing.assert_array_equal(y[:, 0] + 1, y[:, 1])
    assert sorted(y[:, 0]) == list(range(0, 20, 2))
    assert nd.random.shuffle(x, out=x) is x


def test_score_function_gradient():
    p = nd.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    p.attach_grad()
    with autograd.record():
        drawn, log = nd.random.multinomial(p, shape=6, get_prob=True)
        loss = (log * nd.arange(12).reshape((2, 6))).sum()
    loss.backward()
    want = np.zeros((2, 3))
    for i, row in enumerate(drawn.asnumpy()):
        for j, k in enumerate(row):
            want[i, k] += (6 * i + j) / p.asnumpy()[i, k]
            np.testing.assert_allclose(log.asnumpy()[i, j], np.log(p.asnumpy()[i, k]), rtol=1e-6)
    np.testing.assert_allclose(p.grad.asnumpy(), want, rtol=1e-5)


@pytest.mark.parametrize("call", [
    lambda: nd.random.normal(0, -1), lambda: nd.random.uniform(2, 1), lambda: nd.random.poisson(-1),
    lambda: nd.random.exponential(0), lambda: nd.random.gamma(0, 1), lambda: nd.random.randint(3, 3),
    lambda: nd.random.randint(0, 3, dtype="float32"), lambda: nd.random.negative_binomial(1, 2),
    lambda: nd.random.uniform("a"), lambda: nd.random.uniform(nope=1), lambda: nd.sample_normal(nd.zeros(2), nd.zeros(3)),
])
def test_wrong_parameters(call):
    with pytest.raises(MXNetError):
        call()


def test_mixed_parameters():
    with pytest.raises(AssertionError, match="must all have the same type"):
        nd.random.uniform(nd.zeros(2), 1)
    with pytest.raises(ArgumentError):
        mx.sym.random.normal(mx.sym.var("a"), 1)
