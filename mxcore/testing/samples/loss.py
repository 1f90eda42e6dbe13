"""Samples of :mod:`mxcore.ops.loss`: output layers whose gradient is that of a loss, whatever the head gradient."""

import numpy as np
from scipy import special

from ..sampling import A, C, sample


def loss_layer(op, *inputs, ref, loss, **attrs):
    """A layer with the output ``ref`` and the gradient of ``loss(*inputs, **attrs)``."""
    sample(op, *inputs, ref=ref, objective=lambda heads, *a, **at: loss(*a, **at), tags=("layer",), **attrs)


# ---------------------------------------------------------------- softmax with cross-entropy
def cross_entropy(x, label, grad_scale=1.0, ignore_label=-1.0, multi_output=False, use_ignore=False, preserve_shape=False,
                  normalization="null", smooth_alpha=0.0, **_):
    """Weighted as SoftmaxOutput weights it."""
    shape = x.shape
    if multi_output:
        x = np.moveaxis(x, 1, -1)
    elif not preserve_shape:
        x = x.reshape(len(x), -1)
    x = x.reshape(-1, x.shape[-1])
    log = special.log_softmax(x, -1)
    if label.shape == shape:
        return -grad_scale * (label.reshape(x.shape) * log).sum()
    label = label.ravel()
    use = label != ignore_label if use_ignore else np.ones(label.shape, bool)
    k = x.shape[1]
    target = np.eye(k)[label.astype(int)] * (1 - smooth_alpha) + smooth_alpha / (k - 1) * (1 - np.eye(k)[label.astype(int)])
    by = {"null": np.prod(shape[2:]) if multi_output else 1, "batch": label.size, "valid": max(use.sum(), 1)}[normalization]
    return -grad_scale / by * (use[:, None] * target * log).sum()


def softmax(x, label, multi_output=False, preserve_shape=False, **_):
    """Over the classes."""
    if multi_output:
        return special.softmax(x, 1)
    return special.softmax(x, -1) if preserve_shape else special.softmax(x.reshape(len(x), -1), 1).reshape(x.shape)


CLASSES = C([1, 3, 0])
SPACE = C([[1, 0, 2, 2], [0, 0, 1, 2]])
for at in ({}, {"grad_scale": 0.5, "normalization": "batch"}, {"smooth_alpha": 0.2},
           {"use_ignore": True, "ignore_label": 3, "normalization": "valid"}, {"use_ignore": True, "ignore_label": 0}):
    loss_layer("SoftmaxOutput", A(3, 4), CLASSES, ref=softmax, loss=cross_entropy, **at)
for at in ({}, {"normalization": "batch"}, {"normalization": "valid", "use_ignore": True, "ignore_label": 2}):
    sample("SoftmaxOutput", A(2, 3, 4), SPACE, multi_output=True, ref=softmax,
           objective=lambda heads, *a, **kw: cross_entropy(*a, **kw), **at)
sample("SoftmaxOutput", A(2, 4, 3), SPACE, preserve_shape=True, ref=softmax,
       objective=lambda heads, *a, **kw: cross_entropy(*a, **kw))
sample("SoftmaxOutput", A(2, 3), C([[0.2, 0.3, 0.5], [1, 0, 0]]), ref=softmax, tags=("guess",),
       objective=lambda heads, *a, **kw: cross_entropy(*a, **kw))
sample("SoftmaxOutput", A(3, 4), CLASSES, out_grad=True, ref=softmax, order=0)  # gradient (p - t) p: of no function
sample("softmax_cross_entropy", A(3, 4), CLASSES, tags=("layer",),
       ref=lambda x, label: -special.log_softmax(x, 1)[range(3), label.astype(int)].sum())

sample("_known_softmax", A(2, 3), A(2, 3), multi_output=False, preserve_shape=False, order=0, tags=("alias",))
sample("_known_softmax", A(2, 3), A(2, 3), multi_output=True, preserve_shape=True, order=0, tags=("alias",))
AT = {"multi_output": False, "preserve_shape": False}
sample("_softmax_target", A(3, 4), CLASSES, smooth_alpha=0.0, **AT, ref=lambda p, label, **_: np.eye(4)[label.astype(int)])
sample("_softmax_target", A(2, 3, 4), SPACE, smooth_alpha=0.0, multi_output=True, preserve_shape=False,
       ref=lambda p, label, **_: np.moveaxis(np.eye(3)[label.astype(int)], -1, 1))
sample("_softmax_target", A(2, 4, 3), SPACE, smooth_alpha=0.4, multi_output=False, preserve_shape=True,
       ref=lambda p, label, **_: 0.2 + 0.4 * np.eye(3)[label.astype(int)])
WEIGHT = {"grad_scale": 2.0, "ignore_label": 0.0}
sample("_softmax_weight", A(3, 4), CLASSES, use_ignore=True, normalization="valid", **WEIGHT, **AT,
       ref=lambda p, label, **_: np.repeat([[1.0], [1.0], [0.0]], 4, 1))
sample("_softmax_weight", A(2, 3, 4), SPACE, use_ignore=False, normalization="null", multi_output=True, preserve_shape=False,
       **WEIGHT, ref=lambda p, label, **_: np.full(p.shape, 0.5))
sample("_softmax_weight", A(2, 4, 3), SPACE, use_ignore=False, normalization="batch", multi_output=False, preserve_shape=True,
       **WEIGHT, ref=lambda p, label, **_: np.full(p.shape, 0.25))
sample("_one_hot_like", CLASSES, A(3, 4), ref=lambda label, like: np.eye(4)[label.astype(int)])

# ---------------------------------------------------------------- regression
LABEL = C([[0.1, -0.3, 0.7], [0.2, 0.9, -0.5]])


def per_output(loss):
    """A loss divided by the elements of a sample."""
    return lambda x, label, grad_scale=1.0: grad_scale / x[0].size * loss(x, label.reshape(x.shape)).sum()


for name, link, loss in (
    ("LinearRegressionOutput", lambda x, label, **_: x, lambda x, y: 0.5 * (x - y) ** 2),
    ("LogisticRegressionOutput", lambda x, label, **_: special.expit(x), lambda x, y: np.logaddexp(x, 0) - x * y),
    ("MAERegressionOutput", lambda x, label, **_: x, lambda x, y: np.abs(x - y)),
):
    loss_layer(name, A(2, 3), LABEL, ref=link, loss=per_output(loss))
    loss_layer(name, A(2, 3), LABEL, grad_scale=0.3, ref=link, loss=per_output(loss))
    loss_layer(name, A(3, 1), C([0.1, 0.4, -0.2]), ref=link, loss=per_output(loss))
sample("_per_output", A(2, 3, 4), grad_scale=3.0, ref=lambda x, grad_scale: x / 4)


# ---------------------------------------------------------------- margins
def hinges(x, label, margin=1.0, regularization_coefficient=1.0, use_linear=False):
    """One against all."""
    side = 2 * np.eye(x.shape[1])[label.astype(int)] - 1
    gap = np.maximum(margin - side * x, 0)
    return regularization_coefficient * (gap if use_linear else gap**2).sum()


for at in ({}, {"margin": 0.3}, {"use_linear": True, "margin": 0.5}, {"regularization_coefficient": 0.2}):
    loss_layer("SVMOutput", A(3, 4), CLASSES, ref=lambda x, label, **_: x, loss=hinges, **at)
SIDE = C([[1.0, -1, -1], [-1, -1, 1]])
sample("_hinge", A(2, 3), SIDE, margin=0.4, ref=lambda x, s, margin: np.where(margin > s * x, -s, 0))
sample("_side_of", A(2, 3), A(2, 3), ref=lambda a, b: np.where(a > b, 1, -1))
sample("_squared_hinge", A(2, 3), SIDE, margin=0.4,
       ref=lambda x, s, margin: np.where(margin > s * x, -2 * s * (margin - s * x), 0))

# ---------------------------------------------------------------- any value as a loss
sample("make_loss", A(2, 3), ref=lambda x: x, objective=lambda heads, x: x.sum())
for at, by in (({}, 1), ({"grad_scale": 0.5}, 2), ({"normalization": "batch"}, 2),
               ({"normalization": "valid", "valid_thresh": -5.0}, 6)):
    sample("MakeLoss", A(2, 3), ref=lambda x, **_: x, objective=lambda heads, x, by=by, **_: x.sum() / by, **at)
