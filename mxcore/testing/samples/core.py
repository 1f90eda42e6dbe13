"""Samples of :mod:`mxcore.ops.core`."""

import numpy as np

from ..sampling import A, sample

sample("_copy", A(2, 3), ref=lambda x: x)
sample("_frontier", A(2, 3), ref=lambda x: x, tags=("alias",))
sample("BlockGrad", A(2, 3), ref=lambda x: x, objective=lambda heads, x: 0.0)
sample("_grad_add", A(2, 3), A(2, 3), ref=np.add)
sample("zeros_like", A(2, 3), ref=np.zeros_like)
sample("ones_like", A(2, 3), ref=np.ones_like)

sample("_unbroadcast", A(2, 3), A(2, 3), ref=lambda x, like: x, tags=("alias",))
sample("_unbroadcast", A(4, 2, 3), A(2, 1), ref=lambda x, like: x.sum((0, 2)).reshape(2, 1))
sample("_unbroadcast", A(4, 2, 3), A(1), ref=lambda x, like: x.sum().reshape(1))
sample("_unbroadcast", A(1), A(2, 3), ref=lambda x, like: np.broadcast_to(x, (2, 3)), tags=("alias",))
sample("_broadcast_to_like", A(2, 1), A(4, 2, 3), ref=lambda x, like: np.broadcast_to(x, like.shape))
sample("_reshape_to_like", A(2, 6), A(3, 4), ref=lambda x, like: x.reshape(like.shape))
