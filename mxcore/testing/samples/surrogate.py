"""Samples of :mod:`mxcore.ops.surrogate`, whose gradients are not derivatives."""

import numpy as np

from ..sampling import A, sample

sample("_contrib_round_ste", A(2, 3, low=-2, high=2), ref=np.round, order=0)
sample("_contrib_sign_ste", A(2, 3), ref=np.sign, order=0)
sample("_contrib_gradientmultiplier", A(2, 3), ref=lambda x: x)
sample("_contrib_gradientmultiplier", A(2, 3), scalar=-2.0, is_int=False, ref=lambda x, **_: x, order=0)
