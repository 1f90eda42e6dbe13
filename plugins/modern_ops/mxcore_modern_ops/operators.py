"""The operators: what they compute, their shapes, their gradients."""

from mxcore.registry import OPS, register, rules


@register("mish", composite=True)
def mish(data):
    """``data * tanh(log(1 + exp(data)))`` (Misra, *Mish: A Self Regularized Non-Monotonic Activation Function*, 2019).

    >>> mx.nd.mish(mx.nd.array([0., 1.])).shape
    (2,)
    """
    softplus = OPS["Activation"](data, act_type="softrelu")
    return OPS["elemwise_mul"](data, OPS["tanh"](softplus))


def _shapes(attrs, ins):
    data, gamma = ins
    if data is not None:
        axis = rules.normalize_axis(attrs.axis, len(data))
        gamma = rules.merge(gamma, (data[axis],), f"gamma and the axis {attrs.axis} of data={data}, which it scales:")
    return [data, gamma], [data]


def _along(axis, ndim):
    return tuple(-1 if i == axis % ndim else 1 for i in range(ndim))


@register("rms_norm", infer=_shapes)
def rms_norm(xp, data, gamma, *, axis: int = -1, eps: float = 1e-6):
    """``data / sqrt(mean(data^2) + eps) * gamma`` over one axis (Zhang & Sennrich, 2019).

    Parameters
    ----------
    data : (..., n, ...) array
    gamma : (n,) array
    axis : int
        The axis of length n.
    eps : float

    >>> mx.nd.rms_norm(mx.nd.array([[3., 4.]]), mx.nd.ones(2), eps=0).asnumpy().round(3)
    array([[0.849, 1.131]], dtype=float32)
    """
    scale = xp.sqrt(xp.mean(data * data, axis=axis, keepdims=True) + xp.scalar(eps, data.dtype))
    return data / scale * xp.reshape(gamma, _along(axis, data.ndim))


@rms_norm.gradient
def _(n, g):
    # with r = 1/sqrt(mean(x^2) + eps) and h = g * gamma:  dx = r h - x r^3 mean(h x),  dgamma = sum(g x r)
    data, gamma = n.inputs
    axis, eps = n.attrs.axis, n.attrs.eps
    mul, broadcast_mul, mean = OPS["elemwise_mul"], OPS["broadcast_mul"], OPS["mean"]
    r = OPS["rsqrt"](OPS["_plus_scalar"](mean(mul(data, data), axis=(axis,), keepdims=True), scalar=eps))
    h = mul(g, OPS["_spread_along"](gamma, data, axis=axis))
    inner = mul(mean(mul(h, data), axis=(axis,), keepdims=True), mul(r, mul(r, r)))
    ddata = OPS["elemwise_sub"](broadcast_mul(h, r), broadcast_mul(data, inner))
    dgamma = OPS["sum"](broadcast_mul(mul(g, data), r), axis=(axis,), exclude=True)
    return ddata, OPS["_reshape_to_like"](dgamma, gamma)


@register("_spread_along", infer=rules.like_second, shape_only=("like",), view=True)
def spread_along(xp, data, like, *, axis: int = -1):
    """A vector along one axis of the shape of ``like``."""
    return xp.broadcast_to(xp.reshape(data, _along(axis, like.ndim)), like.shape)


@spread_along.gradient
def _(n, g):
    back = OPS["sum"](g, axis=(n.attrs.axis,), exclude=True)
    return OPS["_reshape_to_like"](back, n.inputs[0]), None
