"""Samples of :mod:`mxcore.ops.surrogate`, whose gradients are not derivatives."""

import numpy as np

from ..sampling import A, sample


def straight(heads, x, scalar=1.0, **_):
    """What has the gradient ``scalar * head``."""
    return scalar * (heads[0] * x).sum()


sample("_contrib_round_ste", A(2, 3, low=-2, high=2), ref=np.round, objective=straight)
sample("_contrib_sign_ste", A(2, 3), ref=np.sign, objective=straight)
sample("_contrib_gradientmultiplier", A(2, 3), ref=lambda x: x)
sample("_contrib_gradientmultiplier", A(2, 3), scalar=-2.0, is_int=False, ref=lambda x, **_: x, objective=straight)
