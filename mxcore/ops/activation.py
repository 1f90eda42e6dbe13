"""Activation functions and the softmax family."""

import math
from typing import Literal

from ..errors import DTypeError, ShapeError
from ..registry import OPS, DType, elementwise, get_op, register, rules
from ..registry import expr as E
from .reduction import sum

_ACTIVATIONS = {"relu": "relu", "sigmoid": "sigmoid", "softrelu": "_softrelu", "softsign": "softsign", "tanh": "tanh"}


@register("Activation", aliases=("_npx_activation",), infer=rules.same, composite=True)
def activation(data, *, act_type: Literal["relu", "sigmoid", "softrelu", "softsign", "tanh"]):
    """An activation function, element by element.

    Parameters
    ----------
    data : array
    act_type : {"relu", "sigmoid", "softrelu", "softsign", "tanh"}
        ``max(x, 0)``, ``1 / (1 + exp(-x))``, ``log(1 + exp(x))``, ``x / (1 + |x|)``, ``tanh(x)``.

    >>> nd.Activation(nd.array([-1, 2]), act_type="relu").asnumpy()
    array([0., 2.], dtype=float32)
    """
    return OPS[_ACTIVATIONS[act_type]](data)


@activation.gradient
def _(n, g):
    return OPS[_ACTIVATIONS[n.attrs.act_type]].rule(n, g)  # a function of one array: the rule sees the same call


# ---------------------------------------------------------------- LeakyReLU and its kin
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


@elementwise("_leaky", grad=lambda data, slope: E.where(data > 0, 1, slope))
def leaky(data, *, slope: float = 0.25):
    """``data`` where positive, else ``slope * data``."""
    return E.where(data > 0, data, slope * data)


@elementwise("_elu", grad=lambda data, slope, out: E.where(data > 0, 1, slope + out))
def elu(data, *, slope: float = 0.25):
    """``data`` where positive, else ``slope * (exp(data) - 1)``."""
    return E.where(data > 0, data, slope * E.expm1(data))


@elementwise("_selu", grad=lambda data, out: E.where(data > 0, _SELU_SCALE, out + _SELU_SCALE * _SELU_ALPHA))
def selu(data):
    """The exponential linear unit with the constants that keep mean 0 and variance 1."""
    return _SELU_SCALE * E.where(data > 0, data, _SELU_ALPHA * E.expm1(data))


@elementwise("_gelu")
def gelu(data):
    """``data * Phi(data)`` with the distribution function of the normal distribution."""
    return 0.5 * data * (1 + E.erf(data * math.sqrt(0.5)))


@elementwise("_prelu", broadcast=True,
             grad=(lambda data, gamma: E.where(data > 0, 1, gamma), lambda data, gamma: E.where(data > 0, 0, data)))
def prelu(data, gamma):
    """``data`` where positive, else ``gamma * data``."""
    return E.where(data > 0, data, gamma * data)


@elementwise("_contrib_quadratic")
def quadratic(data, *, a: float = 0.0, b: float = 0.0, c: float = 0.0):
    """``a data**2 + b data + c``.

    >>> nd.contrib.quadratic(nd.array([2]), a=1, b=2, c=3).asscalar()
    11.0
    """
    return a * data * data + b * data + c


@register("_rrelu", outputs=("output", "mask"), infer=lambda a, s: (s, [s[0], s[0]]))
def rrelu(xp, data, *, lower_bound: float = 0.125, upper_bound: float = 0.333999991, is_train, rng):
    """Leaky with slopes drawn evenly from an interval in training, with the mean slope else; and the slopes used."""
    if is_train:
        width = upper_bound - lower_bound
        slope = xp.astype(lower_bound + width * rng.random(data.shape, dtype="float32"), data.dtype)
    else:
        slope = xp.astype(xp.full(data.shape, (lower_bound + upper_bound) / 2), data.dtype)
    mask = xp.where(data > 0, xp.ones((), data.dtype), slope)
    return data * mask, mask


@rrelu.gradient
def _(n, g, _):
    return OPS["elemwise_mul"](g, n.out(1))


@register("_along", infer=lambda a, s: (s, [_along_shape(s[0], s[1], a.axis)]), types=rules.first_type, uniform=False,
          shape_only=("like",), view=True)
def along(xp, data, like, *, axis: int = 1):
    """A vector as an array that broadcasts along one axis of ``like``: ``(C,)`` becomes ``(1, C, 1, 1)``."""
    return xp.reshape(data, _along_shape(data.shape, like.shape, axis))


@along.gradient
def _(n, g):
    return OPS["_reshape_to_like"](g, n.inputs[0]), None


def _along_shape(vector, like, axis):
    if vector is None or like is None:
        return None
    if len(vector) != 1:
        return vector
    shape = [1] * len(like)
    shape[axis if -len(like) <= axis < len(like) else -1] = vector[0]
    return tuple(shape)


def _leaky_inputs(attrs):
    return ("data", "gamma") if attrs.act_type == "prelu" else ("data",)


def _leaky_outputs(attrs, count):
    return ("output", "mask") if attrs.act_type == "rrelu" else ("output",)


def _leaky_shapes(attrs, ins):
    data = ins[0]
    if attrs.act_type == "prelu":
        if ins[1] is None and data is not None:
            ins = [data, (data[1] if len(data) > 1 else data[0],)]
        return ins, [data]
    return ins, [data] * len(_leaky_outputs(attrs, 1))


@register("LeakyReLU", aliases=("_npx_leaky_relu",), infer=_leaky_shapes, composite=True, inputs=_leaky_inputs,
          outputs=_leaky_outputs)
def leaky_relu(data, gamma=None, *, act_type: Literal["elu", "gelu", "leaky", "prelu", "rrelu", "selu"] = "leaky",
               slope: float = 0.25, lower_bound: float = 0.125, upper_bound: float = 0.333999991):
    """A rectifier that lets something through below zero; above zero the identity.

    Parameters
    ----------
    data : array
    gamma : (channels,) or (1,) array
        Slopes along axis 1, for ``prelu`` only; learned.
    act_type : {"elu", "gelu", "leaky", "prelu", "rrelu", "selu"}
        Below zero: ``elu`` ``slope * (exp(x) - 1)``; ``leaky`` ``slope * x``; ``prelu`` ``gamma * x``; ``rrelu`` a
        slope drawn from ``[lower_bound, upper_bound]`` in training, their mean else (the slopes are a second output);
        ``selu`` ``l a (exp(x) - 1)`` and ``l x`` above zero. ``gelu`` is ``x * Phi(x)`` everywhere.
    slope, lower_bound, upper_bound : float

    Notes
    -----
    Maas et al. 2013 (leaky), Clevert et al. 2015 (elu), He et al. 2015 (prelu), Xu et al. 2015 (rrelu), Klambauer et
    al. 2017 (selu), Hendrycks & Gimpel 2016 (gelu).

    >>> nd.LeakyReLU(nd.array([-2, 2]), slope=0.5).asnumpy()
    array([-1.,  2.], dtype=float32)
    """
    if act_type == "leaky":
        return leaky(data, slope=slope)
    if act_type == "elu":
        return elu(data, slope=slope)
    if act_type == "prelu":
        if gamma is None:
            raise ShapeError("prelu needs the slopes as its second input, gamma")
        return prelu(data, along(gamma, data))
    if act_type == "rrelu":
        return rrelu(data, lower_bound=lower_bound, upper_bound=upper_bound)
    return gelu(data) if act_type == "gelu" else selu(data)


_LEAKY = {"leaky": leaky, "elu": elu, "gelu": gelu, "selu": selu, "rrelu": rrelu}


@leaky_relu.gradient
def _(n, g, *rest):
    if n.attrs.act_type != "prelu":
        return _LEAKY[n.attrs.act_type].rule(n, g, *rest)
    data, gamma = n.inputs
    slopes = along(gamma, data)
    back = OPS["_unbroadcast"](get_op("_grad1__prelu")(g, data), slopes) if n.wants(1) else None
    return (get_op("_grad0__prelu")(g, data, slopes) if n.wants(0) else None,
            None if back is None else OPS["_reshape_to_like"](back, gamma))


# ---------------------------------------------------------------- softmax
def _softmax_types(attrs, types, outputs=1):
    return types, [attrs.dtype if attrs.dtype is not None else types[0]]


def _compute(xp, data, axis, temperature):
    """The input shifted so that its largest element is 0, divided by the temperature, in at least float32."""
    if data.dtype.kind in "iub":
        raise DTypeError(f"softmax is for floating-point arrays, not {data.dtype}")
    rules.normalize_axis(axis, data.ndim)
    if data.dtype.itemsize < 4:
        data = xp.astype(data, "float32")
    if data.shape[axis] == 0:
        return data
    data = data - xp.max(data, axis=axis, keepdims=True)
    return data if temperature is None or temperature == 1 else data / temperature


def _softmax_shapes(attrs, ins):
    data = ins[0]
    if data is not None:
        axis = rules.normalize_axis(attrs.axis, len(data))
        if len(ins) > 1:
            ins = [data, rules.merge(ins[1], data[:axis] + data[axis + 1:], "length and data without its axis")]
    return ins, [data]


@register("softmax", aliases=("_npx_softmax",), infer=_softmax_shapes, types=_softmax_types, uniform=False,
          inputs=lambda a: ("data", "length") if a.use_length else ("data",), shape_only=())
def softmax(xp, data, length=None, *, axis: int = -1, temperature: float | None = None, dtype: DType | None = None,
            use_length: bool | None = False):
    """``exp(x / T)``, normalised to sum 1 along an axis.

    Parameters
    ----------
    data : array
    length : array, optional
        With ``use_length``: how many elements along ``axis`` count, one number for each place of the other axes; the
        others become 0.
    axis : int
    temperature : float, optional
        ``T``; 1 by default.
    dtype : dtype, optional
        Type of the result; the input's by default.

    >>> nd.softmax(nd.array([0, 0])).asnumpy()
    array([0.5, 0.5], dtype=float32)
    """
    x = data
    if use_length and length is not None:
        at = rules.normalize_axis(axis, data.ndim)
        count = xp.arange(data.shape[at])
        inside = xp.reshape(count, (-1,) + (1,) * (data.ndim - at - 1)) < xp.expand_dims(length, at)
        x = xp.where(inside, x, xp.astype(xp.full((), -math.inf), data.dtype))
    e = xp.exp(_compute(xp, x, axis, temperature))
    y = e / xp.sum(e, axis=axis, keepdims=True)
    if use_length and length is not None:
        y = xp.where(inside, y, xp.zeros((), y.dtype))
    return xp.astype(y, data.dtype if dtype is None else dtype)


@softmax.gradient
def _(n, g):
    dx = softmax_backward(g, n.out(), axis=n.attrs.axis, temperature=n.attrs.temperature)
    return [_as_input(n, dx)] + [None] * (len(n.inputs) - 1)


def _as_input(n, dx):
    return dx if n.attrs.dtype is None else OPS["_cast_like"](dx, n.inputs[0])


@register("_backward_softmax", infer=rules.same, composite=True)
def softmax_backward(dy, out, *, axis: int = -1, temperature: float | None = None):
    """Gradient of softmax in terms of its value: ``y (dy - sum(y dy)) / T``."""
    mul = OPS["elemwise_mul"]
    dx = mul(out, OPS["broadcast_sub"](dy, sum(mul(dy, out), axis=(axis,), keepdims=True)))
    return dx if temperature is None or temperature == 1 else OPS["_div_scalar"](dx, scalar=temperature)


@register("log_softmax", aliases=("_npx_log_softmax",), infer=_softmax_shapes, types=_softmax_types)
def log_softmax(xp, data, *, axis: int = -1, temperature: float | None = None, dtype: DType | None = None,
                use_length: Literal[False] | None = False):
    """Logarithm of :func:`softmax`, without the overflow of computing both.

    >>> nd.log_softmax(nd.array([0, 0])).asnumpy().round(4)
    array([-0.6931, -0.6931], dtype=float32)
    """
    x = _compute(xp, data, axis, temperature)
    return xp.astype(x - xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True)), data.dtype if dtype is None else dtype)


@log_softmax.gradient
def _(n, g):
    return _as_input(n, log_softmax_backward(g, n.out(), axis=n.attrs.axis, temperature=n.attrs.temperature))


@register("_backward_log_softmax", infer=rules.same, composite=True)
def log_softmax_backward(dy, out, *, axis: int = -1, temperature: float | None = None):
    """Gradient of log_softmax in terms of its value: ``(dy - exp(y) sum(dy)) / T``."""
    total = sum(dy, axis=(axis,), keepdims=True)
    dx = OPS["elemwise_sub"](dy, OPS["broadcast_mul"](OPS["exp"](out), total))
    return dx if temperature is None or temperature == 1 else OPS["_div_scalar"](dx, scalar=temperature)


@register("softmin", infer=_softmax_shapes, types=_softmax_types, composite=True)
def softmin(data, *, axis: int = -1, temperature: float | None = None, dtype: DType | None = None,
            use_length: Literal[False] | None = False):
    """:func:`softmax` of the negated input.

    >>> nd.softmin(nd.array([0, 0])).asnumpy()
    array([0.5, 0.5], dtype=float32)
    """
    return softmax(OPS["negative"](data), axis=axis, temperature=temperature, dtype=dtype)


@register("SoftmaxActivation", infer=rules.same, composite=True)
def softmax_activation(data, *, mode: Literal["channel", "instance"] = "instance"):
    """Softmax over all elements of each row of the batch, or (``channel``) along axis 1.

    >>> nd.SoftmaxActivation(nd.zeros((1, 2, 2)))[0, 0].asnumpy()
    array([0.25, 0.25], dtype=float32)
    """
    if mode == "channel":
        return softmax(data, axis=1)
    return OPS["_reshape_to_like"](softmax(OPS["Flatten"](data)), data)
