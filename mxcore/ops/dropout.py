"""Dropout."""

from typing import Literal

from ..errors import ArgumentError
from ..registry import Shape, register


def _dropout_shapes(attrs, ins):
    if not 0 <= attrs.p <= 1:
        raise ArgumentError(f"value {attrs.p} for Parameter p exceed bound [0, 1]: p is the fraction that is dropped")
    data = ins[0]
    axes = () if data is None else tuple(a % len(data) for a in attrs.axes)
    return ins, [data, None if data is None else tuple(1 if i in axes else d for i, d in enumerate(data))]


@register("Dropout", aliases=("_npx_dropout",), infer=_dropout_shapes, outputs=("output", "mask"), visible=1)
def dropout(xp, data, *, p: float = 0.5, mode: Literal["always", "training"] = "training", axes: Shape = (),
            cudnn_off: bool | None = False, is_train, rng):
    """Zeros a random part of the input and scales the rest so that the expectation stays (Srivastava et al. 2014).

    Parameters
    ----------
    data : array
    p : float
        The fraction that is dropped, between 0 and 1.
    mode : {"training", "always"}
        Act in training only, or always.
    axes : tuple of int
        Axes along which one decision holds for all elements.
    cudnn_off
        Accepted for MXNet's sake, without effect.

    >>> nd.Dropout(nd.ones((2, 2)), p=0.9).asnumpy()
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """
    if not 0 <= p <= 1:
        raise ArgumentError(f"value {p} for Parameter p exceed bound [0, 1]: p is the fraction that is dropped")
    if p == 0 or not (is_train or mode == "always"):
        return xp.copy(data), xp.ones((1,) * data.ndim, data.dtype)
    kept = tuple(a % data.ndim for a in axes)
    shape = tuple(1 if i in kept else d for i, d in enumerate(data.shape))
    chosen = xp.astype(rng.random(shape, dtype="float32") < 1 - p, "float32")
    mask = xp.astype(chosen * (1 / (1 - p) if p < 1 else 0), data.dtype)
    return data * mask, mask


@dropout.gradient
def _(n, g):
    return masked(g, n.out(1))


@register("_masked", infer=lambda a, s: (s, [s[0]]))
def masked(xp, data, mask):
    """``data * mask``, where the mask is a constant; one of a single element is 1 and does nothing."""
    return data if mask.size == 1 and data.size != 1 else data * mask


@masked.gradient
def _(n, g):
    return masked(g, n.inputs[1]), None
