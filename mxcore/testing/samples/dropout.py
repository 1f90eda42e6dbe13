"""Samples of :mod:`mxcore.ops.dropout`."""

import numpy as np

from ..sampling import A, C, sample


def dropped(outs, x, p=0.5, axes=(), **_):
    """A fraction near ``p`` is 0, the rest is scaled; the same for all places of ``axes``."""
    out, = outs
    zero = out == 0
    np.testing.assert_allclose(out[~zero], x[~zero] / (1 - p), rtol=1e-6)
    assert abs(zero.mean() - p) < 0.1, zero.mean()
    for axis in axes:
        assert (zero == zero.take([0], axis)).all()


sample("Dropout", A(3, 4), ref=lambda x: x)
sample("Dropout", A(40, 50, low=0.5), train=True, judge=dropped, order=0)
sample("Dropout", A(40, 60, low=0.5), mode="always", p=0.3, judge=dropped, order=0)
sample("Dropout", A(500, 2, 2, low=0.5), axes=(1, 2), p=0.4, train=True, judge=dropped, order=0)
sample("Dropout", A(3, 4), p=0.4, train=True)
sample("Dropout", A(3, 4), p=0.4, axes=(0,), train=True)
sample("Dropout", A(3, 4), p=0, train=True, ref=lambda x, p: x)
sample("Dropout", A(3, 4), p=1, train=True, ref=lambda x, p: np.zeros_like(x))
sample("_masked", A(2, 3), C([[0.0, 2, 2], [2, 0, 2]]), ref=np.multiply)
sample("_masked", A(2, 3), C([[1.0]]), ref=lambda x, m: x, tags=("alias",))
