"""Samples of :mod:`mxcore.ops.arithmetic`."""

import numpy as np

from ..sampling import A, sample

P = A(2, 3, low=0.5, high=1.5)
Q = A(2, 3, low=0.6, high=1.7)

for name, ref, order in (
    ("add", np.add, 2), ("sub", np.subtract, 2), ("mul", np.multiply, 2), ("div", np.divide, 2), ("mod", np.mod, 2),
    ("power", np.power, 2), ("maximum", np.maximum, 2), ("minimum", np.minimum, 2), ("hypot", np.hypot, 2),
    ("equal", np.equal, 1), ("not_equal", np.not_equal, 1), ("greater", np.greater, 1),
    ("greater_equal", np.greater_equal, 1), ("lesser", np.less, 1), ("lesser_equal", np.less_equal, 1),
    ("logical_and", np.logical_and, 1), ("logical_or", np.logical_or, 1), ("logical_xor", np.logical_xor, 1),
):
    elemwise = {"add": "elemwise_add", "sub": "elemwise_sub", "mul": "elemwise_mul", "div": "elemwise_div"}.get(name, f"_{name}")
    sample(elemwise, P, Q, ref=ref, order=order)
    sample(f"broadcast_{name}", P, A(2, 1, low=0.7, high=1.3), ref=ref, order=order)
    sample(f"broadcast_{name}", A(1, 3, low=0.5, high=1.5), A(2, 1, low=0.7, high=1.3), ref=ref, order=order)

for name, ref, order in (
    ("_plus", lambda a, scalar: a + scalar, 2), ("_minus", lambda a, scalar: a - scalar, 2),
    ("_rminus", lambda a, scalar: scalar - a, 2), ("_mul", lambda a, scalar: a * scalar, 2),
    ("_div", lambda a, scalar: a / scalar, 2), ("_rdiv", lambda a, scalar: scalar / a, 2),
    ("_mod", lambda a, scalar: a % scalar, 2), ("_rmod", lambda a, scalar: scalar % a, 2),
    ("_power", lambda a, scalar: a ** scalar, 2), ("_rpower", lambda a, scalar: scalar ** a, 2),
    ("_maximum", lambda a, scalar: np.maximum(a, scalar), 2), ("_minimum", lambda a, scalar: np.minimum(a, scalar), 2),
    ("_hypot", lambda a, scalar: np.hypot(a, scalar), 2), ("_equal", lambda a, scalar: a == scalar, 1),
    ("_not_equal", lambda a, scalar: a != scalar, 1), ("_greater", lambda a, scalar: a > scalar, 1),
    ("_greater_equal", lambda a, scalar: a >= scalar, 1), ("_lesser", lambda a, scalar: a < scalar, 1),
    ("_lesser_equal", lambda a, scalar: a <= scalar, 1), ("_logical_and", lambda a, scalar: (a != 0) & (scalar != 0), 1),
    ("_logical_or", lambda a, scalar: (a != 0) | (scalar != 0), 1),
    ("_logical_xor", lambda a, scalar: (a != 0) ^ (scalar != 0), 1),
):
    sample(f"{name}_scalar", P, ref=ref, order=order, scalar=1.25)
