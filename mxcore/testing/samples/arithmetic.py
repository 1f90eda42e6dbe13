"""Samples of :mod:`mxcore.ops.arithmetic`."""

import numpy as np

from ..sampling import A, C, sample

P = A(2, 3, low=0.5, high=1.5)
Q = A(2, 3, low=0.6, high=1.7)

for name, ref in (
    ("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("div", np.divide), ("mod", np.mod),
    ("power", np.power), ("maximum", np.maximum), ("minimum", np.minimum), ("hypot", np.hypot),
    ("equal", np.equal), ("not_equal", np.not_equal), ("greater", np.greater),
    ("greater_equal", np.greater_equal), ("lesser", np.less), ("lesser_equal", np.less_equal),
    ("logical_and", np.logical_and), ("logical_or", np.logical_or), ("logical_xor", np.logical_xor),
):
    elemwise = {"add": "elemwise_add", "sub": "elemwise_sub", "mul": "elemwise_mul", "div": "elemwise_div"}.get(name, f"_{name}")
    sample(elemwise, P, Q, ref=ref)
    sample(f"broadcast_{name}", P, A(2, 1, low=0.7, high=1.3), ref=ref)
    sample(f"broadcast_{name}", A(1, 3, low=0.5, high=1.5), A(2, 1, low=0.7, high=1.3), ref=ref)

for name, ref in (
    ("_plus", lambda a, scalar: a + scalar), ("_minus", lambda a, scalar: a - scalar),
    ("_rminus", lambda a, scalar: scalar - a), ("_mul", lambda a, scalar: a * scalar),
    ("_div", lambda a, scalar: a / scalar), ("_rdiv", lambda a, scalar: scalar / a),
    ("_mod", lambda a, scalar: a % scalar), ("_rmod", lambda a, scalar: scalar % a),
    ("_power", lambda a, scalar: a ** scalar), ("_rpower", lambda a, scalar: scalar ** a),
    ("_maximum", lambda a, scalar: np.maximum(a, scalar)), ("_minimum", lambda a, scalar: np.minimum(a, scalar)),
    ("_hypot", lambda a, scalar: np.hypot(a, scalar)), ("_equal", lambda a, scalar: a == scalar),
    ("_not_equal", lambda a, scalar: a != scalar), ("_greater", lambda a, scalar: a > scalar),
    ("_greater_equal", lambda a, scalar: a >= scalar), ("_lesser", lambda a, scalar: a < scalar),
    ("_lesser_equal", lambda a, scalar: a <= scalar), ("_logical_and", lambda a, scalar: (a != 0) & (scalar != 0)),
    ("_logical_or", lambda a, scalar: (a != 0) | (scalar != 0)),
    ("_logical_xor", lambda a, scalar: (a != 0) ^ (scalar != 0)),
):
    sample(f"{name}_scalar", P, ref=ref, scalar=1.25)

sample("_mod", C([5.0, -5, 5, -5, 3]), C([3.0, 3, -3, -3, 0]), ref=lambda a, b: np.array([2, 1, -1, -2, 0]))
sample("broadcast_maximum", C([1.0, np.nan, 2]), C([np.nan, 1.0, 2]), ref=np.maximum)
sample("broadcast_add", A(2, 1, 3), A(4, 1), ref=np.add)
sample("broadcast_power", A(3, low=0.5, high=2), A(2, 1), ref=np.power)

sample("add_n", A(2, 3), ref=lambda a: a)
sample("add_n", A(2, 3), A(2, 3), A(2, 3), ref=lambda *a: sum(a))
sample("all_finite", A(2, 3), ref=lambda x: 1.0)
sample("all_finite", C([1.0, np.inf]), init_output=False, ref=lambda x, init_output: 0.0)
sample("multi_all_finite", A(2, 3), A(4), num_arrays=2, ref=lambda *a, num_arrays: 1.0)
sample("multi_all_finite", A(2), C([np.nan]), num_arrays=2, init_output=False, ref=lambda *a, **k: 0.0)
