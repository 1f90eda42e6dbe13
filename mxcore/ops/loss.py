"""Losses as output layers: the forward pass gives the prediction, the backward pass the gradient of a loss.

Except in ``softmax_cross_entropy`` the head gradient does not enter; that is how MXNet's Module trains.
"""

from math import prod
from typing import Literal

from ..errors import ShapeError
from ..registry import OPS, elementwise, register, rules
from ..registry import expr as E
from .activation import softmax


# ---------------------------------------------------------------- softmax with cross-entropy
def _label_shape(attrs, data):
    """The shape that labels of classes have."""
    if attrs.multi_output:
        rest = rules.elements(data[2:])
        return (data[0], -1 if rest is None else rest)
    return data[:-1]


def _softmax_output_shapes(attrs, ins):
    data, label = ins
    if data is None:
        return ins, [None]
    if len(data) < 2:
        raise ShapeError(f"SoftmaxOutput needs data of at least 2 dimensions, batch and classes, got {data}")
    if label is None:
        return [data, _label_shape(attrs, data)], [data]
    if attrs.multi_output and label not in (data, _label_shape(attrs, data)):
        if len(label) < 2 or (label[0] != data[0] and -1 not in (label[0], data[0])) or (
                rules.known(label) and rules.known(data) and prod(label) != data[0] * prod(data[2:])):
            raise ShapeError(f"label {label} must have the batch and space of data {data}: {_label_shape(attrs, data)}")
    elif not attrs.multi_output and label != data:
        rules.merge(label, _label_shape(attrs, data), "label (of classes) and data without its last axis")
    return [data, label], [data]


class _Layout:
    """How labels and classes lie in the output of a SoftmaxOutput: ``(rows, classes, places)``."""

    def __init__(self, shape, multi_output, preserve_shape):
        if multi_output:
            self.rows, self.classes, self.places = shape[0], shape[1], prod(shape[2:])
        elif preserve_shape:
            self.rows, self.classes, self.places = prod(shape[:-1]), shape[-1], 1
        else:
            self.rows, self.classes, self.places = shape[0], prod(shape[1:]), 1

    def labels(self, xp, label):
        """Class labels as ``(rows, 1, places)``."""
        label = xp.reshape(label, (-1,))
        if label.size != self.rows * self.places:  # 3-D data taken as rows: only the first labels are read
            label = xp.getitem(label, (slice(self.rows * self.places),))
        return xp.reshape(label, (self.rows, 1, self.places))


@register("SoftmaxOutput", aliases=("Softmax",), infer=_softmax_output_shapes, loss=True, shape_only=())
def softmax_output(xp, data, label, *, grad_scale: float = 1.0, ignore_label: float = -1.0, multi_output: bool = False,
                   use_ignore: bool = False, preserve_shape: bool = False,
                   normalization: Literal["batch", "null", "valid"] = "null", out_grad: bool = False,
                   smooth_alpha: float = 0.0):
    """Softmax; backwards the gradient of cross-entropy with the labels, ``(p - onehot(label)) * grad_scale``.

    Parameters
    ----------
    data : array
        ``(N, classes)``; with ``multi_output`` ``(N, classes, ...)``; with ``preserve_shape`` ``(..., classes)``;
        otherwise all axes but the first count as classes.
    label : array
        Classes, of the shape of data without the axis of classes; or probabilities, of the shape of data.
    grad_scale : float
        Factor of the gradient.
    ignore_label, use_ignore
        With ``use_ignore``, places with this label get no gradient.
    normalization : {"null", "batch", "valid"}
        Divide the gradient by 1 (with ``multi_output``: by the number of places of a sample), by the number of labels,
        or by the number of labels that are not ignored.
    out_grad : bool
        Multiply the gradient by the output, as MXNet 1.9 does.
    smooth_alpha : float
        Label smoothing: what the right class gives to the others.

    >>> nd.SoftmaxOutput(nd.zeros((1, 2)), nd.array([1])).asnumpy()
    array([[0.5, 0.5]], dtype=float32)
    """
    expected = data.shape[0] * prod(data.shape[2:]) if multi_output else data.shape[:-1]
    if label.shape != data.shape and (label.size if multi_output else label.shape) != expected:
        raise ShapeError(f"label {label.shape} does not fit data {data.shape}")
    if multi_output:
        return softmax(data, axis=1)
    if preserve_shape or data.ndim == 2:
        return softmax(data)
    return xp.reshape(softmax(xp.reshape(data, (data.shape[0], -1))), data.shape)


@softmax_output.gradient
def _(n, g):
    a, (data, label) = n.attrs, n.inputs
    p = known_softmax(n.out(), data, multi_output=a.multi_output, preserve_shape=a.preserve_shape)
    return softmax_output_backward(p, label, **a), None


@register("_known_softmax", infer=rules.same, shape_only=("data",))
def known_softmax(xp, out, data, *, multi_output: bool, preserve_shape: bool):
    """The softmax of ``data``, which is known to be ``out``. (The output layer itself has the gradient of a loss.)"""
    return out


@known_softmax.gradient
def _(n, g):
    out = n.out()
    if n.attrs.multi_output:
        return None, OPS["_backward_softmax"](g, out, axis=1)
    if n.attrs.preserve_shape:
        return None, OPS["_backward_softmax"](g, out)
    flatten = OPS["Flatten"]
    return None, OPS["_reshape_to_like"](OPS["_backward_softmax"](flatten(g), flatten(out)), out)


_SOFTMAX = {"infer": lambda a, s: (s, [s[0]]), "uniform": False, "types": rules.first_type}


@register("_backward_SoftmaxOutput", composite=True, **_SOFTMAX)
def softmax_output_backward(out, label, *, grad_scale: float, ignore_label: float, multi_output: bool, use_ignore: bool,
                            preserve_shape: bool, normalization: str, out_grad: bool, smooth_alpha: float):
    """Gradient of SoftmaxOutput: the output less the target, weighted."""
    at = {"multi_output": multi_output, "preserve_shape": preserve_shape}
    d = OPS["elemwise_sub"](out, target(out, label, smooth_alpha=smooth_alpha, **at))
    if out_grad:
        d = OPS["elemwise_mul"](d, out)
    return OPS["elemwise_mul"](d, weight(out, label, grad_scale=grad_scale, ignore_label=ignore_label,
                                        use_ignore=use_ignore, normalization=normalization, **at))


@register("_softmax_target", nograd=True, shape_only=("like",), **_SOFTMAX)
def target(xp, like, label, *, multi_output: bool, preserve_shape: bool, smooth_alpha: float):
    """What the softmax should be: 1 at the label (smoothed), or the label itself if it holds probabilities."""
    if label.shape == like.shape:
        return xp.astype(label, like.dtype)
    lay = _Layout(like.shape, multi_output, preserve_shape)
    classes = xp.reshape(xp.arange(lay.classes), (1, -1, 1))
    hit = xp.equal(classes, xp.astype(lay.labels(xp, label), "int64"))
    high, low = 1.0, 0.0
    if smooth_alpha and not multi_output:
        high, low = 1 - smooth_alpha, smooth_alpha / (lay.classes - 1)
    return xp.reshape(xp.astype(xp.where(hit, high, low), like.dtype), like.shape)


@register("_softmax_weight", nograd=True, shape_only=("like",), **_SOFTMAX)
def weight(xp, like, label, *, grad_scale: float, ignore_label: float, use_ignore: bool, normalization: str,
           multi_output: bool, preserve_shape: bool):
    """Factor of each element of the gradient: scale, normalisation, and 0 where the label is ignored."""
    if label.shape == like.shape:
        return xp.full(like.shape, grad_scale, dtype=like.dtype)
    lay = _Layout(like.shape, multi_output, preserve_shape)
    labels = lay.labels(xp, label)
    use = xp.astype(xp.not_equal(labels, ignore_label), "float32") if use_ignore else xp.ones(labels.shape, "float32")
    if normalization == "valid":
        use = use / xp.maximum(xp.sum(use), 1.0)
    else:
        use = use / (label.size if normalization == "batch" else lay.places)
    full = xp.broadcast_to(use * grad_scale, (lay.rows, lay.classes, lay.places))
    return xp.astype(xp.reshape(full, like.shape), like.dtype)


def _cross_entropy_shapes(attrs, ins):
    data, label = ins
    if data is not None:
        if len(data) != 2:
            raise ShapeError(f"softmax_cross_entropy needs data of 2 dimensions, batch and classes, got {data}")
        label = rules.merge(label, data[:1], "label and the rows of data")
    return [data, label], [(1,)]


@register("softmax_cross_entropy", infer=_cross_entropy_shapes)
def softmax_cross_entropy(xp, data, label):
    """Total cross-entropy of softmax with labels, ``-sum log softmax(data)[i, label[i]]``.

    Parameters
    ----------
    data : (N, classes) array
    label : (N,) array
        Classes. Probabilities below 1e-8 count as 1e-8.

    >>> nd.softmax_cross_entropy(nd.zeros((1, 2)), nd.array([1])).asnumpy().round(3)
    array([0.693], dtype=float32)
    """
    if data.ndim != 2 or label.shape != data.shape[:1]:
        raise ShapeError("label must have one element for each row of data")
    p = xp.sum(softmax(data) * _hot(xp, label, data), axis=1)
    return xp.reshape(xp.astype(-xp.sum(xp.log(xp.maximum(p, 1e-8))), data.dtype), (1,))


def _hot(xp, label, like):
    hit = xp.equal(xp.arange(like.shape[1]), xp.astype(xp.expand_dims(label, 1), "int64"))
    return xp.astype(hit, like.dtype)


@register("_one_hot_like", nograd=True, shape_only=("like",), infer=rules.like_second, uniform=False,
          types=lambda a, t, n: (t, [t[1]]))
def one_hot_like(xp, label, like):
    """1 where the column is the label of the row, in the shape and type of ``like``."""
    return _hot(xp, label, like)


@softmax_cross_entropy.gradient
def _(n, g):
    data, label = n.inputs
    d = OPS["elemwise_sub"](softmax(data), one_hot_like(label, data))
    return OPS["broadcast_mul"](d, OPS["Reshape"](g, shape=(1, 1))), None


# ---------------------------------------------------------------- regression
def _regression_shapes(attrs, ins):
    data, label = ins
    if data is not None and label is None:
        label = data[:1] if len(data) == 2 and data[1] == 1 else data
    elif data is not None and rules.known(data) and rules.known(label):
        if label != data and not (prod(label) == prod(data) == data[0] and label[0] == data[0]):
            raise ShapeError(f"label {label} must have the shape of data {data}")
    return [data, label], [data]


def _regression(name, link, back, doc):
    """An output layer with the gradient ``back(out, label) * grad_scale / outputs a sample``."""

    @register(name, aliases=(f"_sparse_{name}",), infer=_regression_shapes, loss=True, view=True)
    def output(xp, data, label, *, grad_scale: float = 1.0):
        if label.shape != data.shape and not label.size == data.size == data.shape[0] == label.shape[0]:
            raise ShapeError(f"label {label.shape} must have the shape of data {data.shape}")
        return OPS[link](data) if link else data

    output.doc = doc

    @output.gradient
    def _(n, g):
        data, label = n.inputs
        out = OPS[link](data) if link else data  # not n.out(), which has the gradient of a loss
        return per_output(back(out, OPS["_reshape_to_like"](label, out)), grad_scale=n.attrs.grad_scale), None

    return output


@register("_per_output", infer=rules.same)
def per_output(xp, data, *, grad_scale: float):
    """``data`` times ``grad_scale``, divided by the number of elements of a sample."""
    return xp.astype(data * (grad_scale / max(prod(data.shape[1:]), 1)), data.dtype)


@per_output.gradient
def _(n, g):
    return per_output(g, grad_scale=n.attrs.grad_scale)


def _difference(out, label):
    return OPS["elemwise_sub"](out, label)


@elementwise("_side_of")
def side_of(lhs, rhs):
    """1 where ``lhs`` is larger, else -1: the gradient of ``|lhs - rhs|``, ties as in MXNet."""
    return E.where(lhs > rhs, 1, -1)


_OUTPUT = """{what}; backwards ``{gradient} * grad_scale / m``, with ``m`` the number of elements of a sample.

    Parameters
    ----------
    data : array
    label : array of the shape of data
    grad_scale : float

    >>> nd.{name}(nd.array([[0.0]]), nd.array([[1.0]])).asnumpy()
    array([[{value}]], dtype=float32)
    """

linear_regression = _regression("LinearRegressionOutput", "", _difference, _OUTPUT.format(
    what="The input", gradient="(data - label)", name="LinearRegressionOutput", value="0."))
logistic_regression = _regression("LogisticRegressionOutput", "sigmoid", _difference, _OUTPUT.format(
    what="The sigmoid of the input", gradient="(sigmoid(data) - label)", name="LogisticRegressionOutput", value="0.5"))
mae_regression = _regression("MAERegressionOutput", "", side_of, _OUTPUT.format(
    what="The input", gradient="sign(data - label)", name="MAERegressionOutput", value="0."))


# ---------------------------------------------------------------- margins
def _svm_shapes(attrs, ins):
    data, label = ins
    if data is not None:
        label = rules.merge(label, data[:-1], "label and data without its last axis")
    return [data, label], [data]


@register("SVMOutput", infer=_svm_shapes, loss=True, view=True)
def svm_output(xp, data, label, *, margin: float = 1.0, regularization_coefficient: float = 1.0,
               use_linear: bool = False):
    """The input; backwards the gradient of a one-against-all support vector machine (Tang 2013).

    Parameters
    ----------
    data : (N, classes) array
    label : (N,) array
        Classes.
    margin : float
    regularization_coefficient : float
        Factor of the gradient.
    use_linear : bool
        Hinge loss (L1) instead of its square (L2).

    >>> nd.SVMOutput(nd.array([[1, 2]]), nd.array([0])).asnumpy()
    array([[1., 2.]], dtype=float32)
    """
    if data.ndim != 2 or label.shape != data.shape[:1]:
        raise ShapeError(f"label {label.shape} must have one element for each row of data {data.shape}")
    return data


@elementwise("_hinge", grad=(lambda data: 0, lambda side: 0))
def hinge(data, side, *, margin: float):
    """Gradient of the hinge loss by a score, ``side`` being 1 for the right class and -1 for others."""
    return E.where(margin > side * data, -side, 0)


@elementwise("_squared_hinge", grad=(lambda data, side, margin: E.where(margin > side * data, 2, 0), lambda side: 0))
def squared_hinge(data, side, *, margin: float):
    """Gradient of the squared hinge loss by a score."""
    return E.where(margin > side * data, -2 * side * (margin - side * data), 0)


@svm_output.gradient
def _(n, g):
    a, (data, label) = n.attrs, n.inputs
    side = OPS["_minus_scalar"](OPS["_mul_scalar"](one_hot_like(label, data), scalar=2), scalar=1)
    d = (hinge if a.use_linear else squared_hinge)(data, side, margin=a.margin)
    return OPS["_mul_scalar"](d, scalar=a.regularization_coefficient), None


# ---------------------------------------------------------------- any value as a loss
@register("make_loss", aliases=("_sparse_make_loss",), infer=rules.same, outputs=("loss",), loss=True, view=True)
def make_loss(xp, data):
    """The input, as a loss: its gradient is 1 whatever the head gradient.

    >>> nd.make_loss(nd.array([3])).asscalar()
    3.0
    """
    return data


@make_loss.gradient
def _(n, g):
    return OPS["ones_like"](g)


@register("MakeLoss", infer=rules.same, loss=True, view=True)
def make_loss_scaled(xp, data, *, grad_scale: float = 1.0, valid_thresh: float = 0.0,
                     normalization: Literal["batch", "null", "valid"] = "null"):
    """The input, as a loss: its gradient is ``grad_scale`` whatever the head gradient.

    Parameters
    ----------
    data : array
    grad_scale : float
    valid_thresh : float
    normalization : {"null", "batch", "valid"}
        Divide the gradient by 1, by the size of the first axis, or by the number of elements above ``valid_thresh``.

    >>> nd.MakeLoss(nd.array([3])).asscalar()
    3.0
    """
    return data


@make_loss_scaled.gradient
def _(n, g):
    return loss_gradient(n.inputs[0], **n.attrs)


@register("_backward_MakeLoss", infer=rules.same, nograd=True)
def loss_gradient(xp, data, *, grad_scale: float, valid_thresh: float, normalization: str):
    """The gradient that MakeLoss sends back."""
    scale = xp.full((), grad_scale, dtype="float32")
    if normalization == "batch":
        scale = scale / data.shape[0]
    elif normalization == "valid":
        scale = scale / xp.maximum(xp.sum(xp.astype(data > valid_thresh, "float32")), 1.0)
    return xp.astype(xp.broadcast_to(scale, data.shape), data.dtype)
