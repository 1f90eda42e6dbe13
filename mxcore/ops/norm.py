"""Normalisation: by batch, layer, group and instance.

All subtract a mean and divide by a deviation over some axes, then scale and shift. The backward operators receive the
mean and deviation of the forward pass, so that fused kernels need not compute them again; their definitions, written in
operators, treat these as functions of the data, so that every further order of derivative is right.
"""

from ..dtype import dtype_of
from ..errors import ShapeError
from ..registry import OPS, get_op, register, rules
from .activation import along
from .core import block_grad
from .reduction import mean, sum


def _kept(value, again):
    """``value``, with the derivative of ``again``, which computes the same anew."""
    return OPS["broadcast_add"](block_grad(value), OPS["elemwise_sub"](again, block_grad(again)))


def _moments(data, eps, **over):
    """Mean and 1 / deviation, in operators."""
    m = mean(data, keepdims=True, **over)
    square = OPS["square"](OPS["broadcast_sub"](data, m))
    return m, OPS["rsqrt"](OPS["_plus_scalar"](mean(square, keepdims=True, **over), scalar=eps))


def _normal_backward(dy, data, gamma, m, inverse, batch, **over):
    """Gradients by data, gamma and beta of ``(data - m) * inverse * gamma + beta``.

    ``gamma``, ``m`` and ``inverse`` broadcast against ``data``; ``over`` names the axes of the mean. ``batch`` is 1 if
    m and inverse are functions of the data, 0 if they are constants, None for 1.
    """
    mul, wide = OPS["elemwise_mul"], OPS["broadcast_mul"]
    normal = wide(OPS["broadcast_sub"](data, m), inverse)
    scaled = dy if gamma is None else wide(dy, gamma)
    back = OPS["broadcast_add"](wide(normal, mean(mul(scaled, normal), keepdims=True, **over)),
                                mean(scaled, keepdims=True, **over))
    if batch is not None:
        back = wide(back, batch)
    return wide(OPS["elemwise_sub"](scaled, back), inverse), mul(dy, normal), dy


def _wide(xp, *arrays):
    """At least float32."""
    return tuple(xp.astype(a, "float32") if a.dtype.itemsize < 4 else a for a in arrays)


# ---------------------------------------------------------------- batch
def _batch_axis(attrs, data):
    return rules.normalize_axis(attrs.get("axis", 1), len(data))


def _batch_norm_shapes(attrs, ins):
    data, vector = ins[0], None
    if data is not None:
        vector = (data[_batch_axis(attrs, data)],)
    for name, s in zip(("gamma", "beta", "moving_mean", "moving_var"), ins[1:], strict=True):
        vector = rules.merge(vector, s, f"{name} and the channels of data")
    if data is not None and vector is not None:
        axis = _batch_axis(attrs, data)
        data = (*data[:axis], vector[0], *data[axis + 1:])
    return [data] + [vector] * 4, [data, vector, vector, (1,)]


def _batch_norm_types(attrs, types, outputs=4):
    data = types[0]
    known = next((t for t in types[1:] if t is not None), None)
    vector = known if data is None or known is not None else data if data.itemsize >= 4 else dtype_of("float32")
    data = vector if data is None else data
    return [data] + [vector] * 4, [data] + [vector] * 3


@register("BatchNorm", aliases=("_npx_batch_norm", "BatchNorm_v1"), infer=_batch_norm_shapes, types=_batch_norm_types,
          uniform=False, outputs=("output", "mean", "var", "batch"), visible=lambda a: 3 if a.output_mean_var else 1,
          aux=("moving_mean", "moving_var"), mutates=("moving_mean", "moving_var"))
def batch_norm(xp, data, gamma, beta, moving_mean, moving_var, *, eps: float = 0.0010000000474974513,
               momentum: float = 0.899999976, fix_gamma: bool = True, use_global_stats: bool = False,
               output_mean_var: bool = False, axis: int = 1, cudnn_off: bool = False,
               min_calib_range: float | None = None, max_calib_range: float | None = None, is_train):
    """Batch normalisation (Ioffe & Szegedy 2015).

    ``(data - mean) / sqrt(var + eps) * gamma + beta``, with mean and (biased) variance for each place of ``axis``:
    those of the batch in training, the moving ones otherwise. In training
    ``moving = momentum moving + (1 - momentum) batch``.

    Parameters
    ----------
    data : array
    gamma, beta : (channels,) arrays
        Scale and shift; float32 when the data are float16.
    moving_mean, moving_var : (channels,) arrays
        Auxiliary states, written in training.
    eps, momentum : float
    fix_gamma : bool
        Gamma counts as 1 and gets a zero gradient. The default, as in MXNet.
    use_global_stats : bool
        Use the moving statistics in training too, and leave them as they are.
    output_mean_var : bool
        Return mean and ``1 / sqrt(var + eps)`` as well.
    axis : int
        The axis of the channels.

    >>> x, one, zero = nd.array([[1.], [3.]]), nd.ones(1), nd.zeros(1)
    >>> nd.BatchNorm(x, one, zero, zero.copy(), one.copy()).asnumpy().round(2).ravel()
    array([1., 3.], dtype=float32)
    """
    axis = rules.normalize_axis(axis, data.ndim)
    if any(v.shape != (data.shape[axis],) for v in (gamma, beta, moving_mean, moving_var)):
        raise ShapeError("gamma, beta and the moving statistics need one element a channel")
    over = tuple(i for i in range(data.ndim) if i != axis)
    shape = tuple(-1 if i == axis else 1 for i in range(data.ndim))
    x = xp.astype(data, gamma.dtype)
    batch = is_train and not use_global_stats
    new_mean = new_var = None
    if batch:
        m = xp.mean(x, axis=over)
        d = x - xp.reshape(m, shape)
        var = xp.mean(d * d, axis=over)
        new_mean, new_var = blended(moving_mean, m, momentum), blended(moving_var, var, momentum)
    else:
        m, var = xp.copy(moving_mean), moving_var
        d = x - xp.reshape(m, shape)
    inverse = xp.astype(1 / xp.sqrt(var + eps), gamma.dtype)
    scale = inverse if fix_gamma else inverse * gamma
    out = xp.astype(d * xp.reshape(scale, shape) + xp.reshape(beta, shape), data.dtype)
    return out, m, inverse, xp.full((1,), float(batch), dtype=gamma.dtype), new_mean, new_var


def blended(moving, batch, momentum):
    """The moving statistic after a batch, or None if it stays."""
    return None if momentum == 1 else moving * momentum + batch * (1 - momentum)


@batch_norm.gradient
def _(n, g, *_):
    return _batch_norm_grads(n, g)


def _batch_norm_grads(n, g):
    a, (data, gamma) = n.attrs, n.inputs[:2]
    grads = batch_norm_backward(g, data, gamma, n.out(1), n.out(2), n.out(3), eps=a.eps, fix_gamma=a.fix_gamma,
                                axis=a.get("axis", 1))
    return [*grads, None, None]


def _first_of(*which):
    """Shape rule: the outputs have the shapes of these inputs."""
    return lambda attrs, ins: (ins, [ins[i] for i in which])


@register("_backward_BatchNorm", outputs=("ddata", "dgamma", "dbeta"), infer=_first_of(1, 2, 2), uniform=False,
          types=lambda a, t, n: (t, [t[1], t[2], t[2]]), composite=True)
def batch_norm_backward(dy, data, gamma, mean, inverse, batch, *, eps: float, fix_gamma: bool, axis: int):
    """Gradients of BatchNorm; ``batch`` is 1 where the statistics are those of the batch, else 0."""
    cast, over, batch = OPS["_cast_like"], {"axis": (axis,), "exclude": True}, block_grad(batch)
    x, g = cast(data, gamma), cast(dy, gamma)
    now_mean, now_inverse = _moments(x, eps, **over)
    wide = OPS["broadcast_mul"]
    m = _kept(along(mean, x, axis=axis), wide(now_mean, batch))
    s = _kept(along(inverse, x, axis=axis), wide(now_inverse, batch))
    scale = None if fix_gamma else along(gamma, x, axis=axis)
    dx, dgamma, dbeta = _normal_backward(g, x, scale, m, s, batch, **over)
    dgamma = OPS["zeros_like"](gamma) if fix_gamma else sum(dgamma, **over)
    return cast(dx, data), dgamma, sum(dbeta, **over)


# ---------------------------------------------------------------- layer
def _layer_norm_shapes(attrs, ins):
    data, gamma, beta = ins
    if data is None:
        vector = rules.merge(gamma, beta, "gamma and beta")
        return [None, vector, vector], [None, None, None]
    axis = rules.normalize_axis(attrs.axis, len(data))
    vector = (data[axis],)
    for name, s in (("gamma", gamma), ("beta", beta)):
        vector = rules.merge(vector, s, f"{name} and the {attrs.axis}-th axis of data")
    data = (*data[:axis], vector[0], *data[axis + 1:])
    one = (*data[:axis], 1, *data[axis + 1:])
    return [data, vector, vector], [data, one, one]


_WITH_MOMENTS = {"outputs": ("output", "mean", "std"), "visible": lambda a: 3 if a.output_mean_var else 1}


@register("LayerNorm", aliases=("_npx_layer_norm",), infer=_layer_norm_shapes, **_WITH_MOMENTS)
def layer_norm(xp, data, gamma, beta, *, axis: int = -1, eps: float = 9.99999975e-06, output_mean_var: bool = False):
    """Layer normalisation (Ba, Kiros & Hinton 2016): mean and variance over one axis of each sample.

    ``(data - mean) / sqrt(var + eps) * gamma + beta``.

    Parameters
    ----------
    data : array
    gamma, beta : arrays, as long as ``axis``
    axis : int
    eps : float
    output_mean_var : bool
        Return mean and ``sqrt(var + eps)`` as well, with length 1 along ``axis``.

    >>> nd.LayerNorm(nd.array([[1, 3]]), nd.ones(2), nd.zeros(2)).asnumpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """
    at = rules.normalize_axis(axis, data.ndim)
    if gamma.shape != (data.shape[at],) or beta.shape != gamma.shape:
        raise ShapeError("gamma and beta must be as long as the axis")
    shape = tuple(-1 if i == at else 1 for i in range(data.ndim))
    x, gamma, beta = _wide(xp, data, gamma, beta)
    m = xp.mean(x, axis=at, keepdims=True)
    d = x - m
    std = xp.sqrt(xp.mean(d * d, axis=at, keepdims=True) + eps)
    out = d / std * xp.reshape(gamma, shape) + xp.reshape(beta, shape)
    return tuple(xp.astype(r, data.dtype) for r in (out, m, std))


@layer_norm.gradient
def _(n, g, *_):
    data, gamma, _ = n.inputs
    return layer_norm_backward(g, data, gamma, n.out(1), n.out(2), eps=n.attrs.eps, axis=n.attrs.axis)


_THREE = {"outputs": ("ddata", "dgamma", "dbeta"), "infer": _first_of(1, 2, 2), "composite": True}


@register("_backward_LayerNorm", **_THREE)
def layer_norm_backward(dy, data, gamma, mean, std, *, eps: float, axis: int):
    """Gradients of LayerNorm."""
    now_mean, now_inverse = _moments(data, eps, axis=(axis,))
    m, s = _kept(mean, now_mean), _kept(OPS["reciprocal"](std), now_inverse)
    dx, dgamma, dbeta = _normal_backward(dy, data, along(gamma, data, axis=axis), m, s, None, axis=(axis,))
    return dx, sum(dgamma, axis=(axis,), exclude=True), sum(dbeta, axis=(axis,), exclude=True)


# ---------------------------------------------------------------- group and instance
def _group_norm_shapes(attrs, ins):
    data, gamma, beta = ins
    groups = attrs.get("num_groups", 0)
    if data is not None and len(data) < 3 and not groups:
        raise ShapeError(f"InstanceNorm needs data of at least 3 dimensions (batch, channels, space), got {data}")
    if data is not None and groups and (len(data) < 2 or (data[1] >= 0 and data[1] % groups)):
        raise ShapeError(f"the channels of data {data} must be divisible by num_groups={groups}")
    count = groups or (data[1] if data is not None else -1)
    vector = (count,)
    for name, s in (("gamma", gamma), ("beta", beta)):
        vector = rules.merge(vector, s, f"{name} and the number of {'groups' if groups else 'channels'}")
    rows = None if data is None else (data[0], count)
    return [data, vector, vector], [data, rows, rows]


def _group_normal(xp, data, gamma, beta, num_groups, eps):
    groups = num_groups or data.shape[1]
    if data.shape[1] % groups or gamma.shape != (groups,) or beta.shape != gamma.shape:
        raise ShapeError("gamma and beta need one element for each group of channels")
    x, gamma, beta = _wide(xp, xp.reshape(data, (data.shape[0], groups, -1)), gamma, beta)
    m = xp.mean(x, axis=2, keepdims=True)
    d = x - m
    std = xp.sqrt(xp.mean(d * d, axis=2, keepdims=True) + eps)
    out = d * (xp.reshape(gamma, (groups, 1)) / std) + xp.reshape(beta, (groups, 1))
    return (xp.astype(xp.reshape(out, data.shape), data.dtype),
            *(xp.astype(xp.reshape(r, (data.shape[0], groups)), data.dtype) for r in (m, std)))


@register("GroupNorm", infer=_group_norm_shapes, **_WITH_MOMENTS)
def group_norm(xp, data, gamma, beta, *, num_groups: int = 1, eps: float = 9.99999975e-06,
               output_mean_var: bool = False):
    """Group normalisation (Wu & He 2018): mean and variance over the channels of a group and all space.

    Parameters
    ----------
    data : (N, C, ...) array
    gamma, beta : (num_groups,) arrays
        One scale and shift a group, as in MXNet 1.9.
    num_groups : int
    eps : float
    output_mean_var : bool
        Return mean and ``sqrt(var + eps)`` as well, of shape ``(N, num_groups)``.

    >>> nd.GroupNorm(nd.array([[[1], [3]]]), nd.ones(1), nd.zeros(1)).asnumpy().round(3).ravel()
    array([-1.,  1.], dtype=float32)
    """
    return _group_normal(xp, data, gamma, beta, num_groups, eps)


@group_norm.gradient
def _(n, g, *_):
    data, gamma, _ = n.inputs
    return group_norm_backward(g, data, gamma, n.out(1), n.out(2), eps=n.attrs.eps, num_groups=n.attrs.num_groups)


@register("InstanceNorm", infer=_group_norm_shapes, outputs=("output", "mean", "std"), visible=1)
def instance_norm(xp, data, gamma, beta, *, eps: float = 0.00100000005):
    """Instance normalisation (Ulyanov et al. 2016): mean and variance over the space of each channel and sample.

    Parameters
    ----------
    data : (N, C, ...) array
    gamma, beta : (C,) arrays
    eps : float

    >>> nd.InstanceNorm(nd.array([[[1, 3]]]), nd.ones(1), nd.zeros(1)).asnumpy().round(2)
    array([[[-1.,  1.]]], dtype=float32)
    """
    return _group_normal(xp, data, gamma, beta, 0, eps)


@instance_norm.gradient
def _(n, g):
    data, gamma, _ = n.inputs
    return group_norm_backward(g, data, gamma, n.out(1), n.out(2), eps=n.attrs.eps, num_groups=0)


@register("_backward_GroupNorm", **_THREE)
def group_norm_backward(dy, data, gamma, mean, std, *, eps: float, num_groups: int):
    """Gradients of GroupNorm; ``num_groups=0``: every channel is a group, InstanceNorm."""
    x, g = (OPS["Reshape"](a, shape=(0, num_groups, -1)) for a in (data, dy))
    now_mean, now_inverse = _moments(x, eps, axis=(2,))
    expand = OPS["_reshape_to_like"]
    m, s = _kept(expand(mean, now_mean), now_mean), _kept(OPS["reciprocal"](expand(std, now_mean)), now_inverse)
    dx, dgamma, dbeta = _normal_backward(g, x, along(gamma, x), m, s, None, axis=(2,))
    return OPS["_reshape_to_like"](dx, data), sum(dgamma, axis=(1,), exclude=True), sum(dbeta, axis=(1,), exclude=True)


# ---------------------------------------------------------------- variants of batch normalisation
_LIKE_BATCH_NORM = {"infer": _batch_norm_shapes, "types": _batch_norm_types, "uniform": False,
                    "outputs": batch_norm.outputs, "aux": batch_norm.aux, "mutates": batch_norm.mutates}


@register("_contrib_SyncBatchNorm", visible=lambda a: 3 if a.output_mean_var else 1, **_LIKE_BATCH_NORM)
def sync_batch_norm(xp, data, gamma, beta, moving_mean, moving_var, *, eps: float = 0.00100000005,
                    momentum: float = 0.899999976, fix_gamma: bool = True, use_global_stats: bool = False,
                    output_mean_var: bool = False, ndev: int = 1, key: str, is_train):
    """``BatchNorm`` over axis 1, for programs that name it so; statistics are those of this process' batch.

    >>> x, one, zero = nd.array([[1.], [3.]]), nd.ones(1), nd.zeros(1)
    >>> nd.contrib.SyncBatchNorm(x, one, zero, zero.copy(), one.copy(), key="a").shape
    (2, 1)
    """
    return batch_norm.fn(xp, data, gamma, beta, moving_mean, moving_var, eps=eps, momentum=momentum,
                         fix_gamma=fix_gamma, use_global_stats=use_global_stats, axis=1, is_train=is_train)


@sync_batch_norm.gradient
def _(n, g, *_):
    return _batch_norm_grads(n, g)


@register("_contrib_BatchNormWithReLU", visible=batch_norm.visible, **_LIKE_BATCH_NORM)
def batch_norm_with_relu(xp, data, gamma, beta, moving_mean, moving_var, *, eps: float = 0.0010000000474974513,
                         momentum: float = 0.899999976, fix_gamma: bool = True, use_global_stats: bool = False,
                         output_mean_var: bool = False, axis: int = 1, cudnn_off: bool = False,
                         min_calib_range: float | None = None, max_calib_range: float | None = None, is_train):
    """``BatchNorm``, then ``relu``.

    >>> x, one, zero = nd.array([[-1.], [3.]]), nd.ones(1), nd.zeros(1)
    >>> nd.contrib.BatchNormWithReLU(x, one, zero, zero.copy(), one.copy()).asnumpy().round(2).ravel()
    array([0., 3.], dtype=float32)
    """
    out, *rest = batch_norm.fn(xp, data, gamma, beta, moving_mean, moving_var, eps=eps, momentum=momentum,
                               fix_gamma=fix_gamma, use_global_stats=use_global_stats, axis=axis, is_train=is_train)
    return xp.maximum(out, xp.zeros((), out.dtype)), *rest


@batch_norm_with_relu.gradient
def _(n, g, *_):
    return _batch_norm_grads(n, get_op("_grad0_relu")(g, n.out()))
