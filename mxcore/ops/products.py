"""Matrix products: dot, batch_dot, FullyConnected."""

from ..errors import ShapeError
from ..registry import OPS, register, rules
from .reduction import sum


def _dot_shapes(attrs, ins):
    a, b = ins
    if a is None or b is None:
        return ins, [None]
    left = tuple(reversed(a)) if attrs.transpose_a else a
    right = tuple(reversed(b)) if attrs.transpose_b else b
    if attrs.transpose_a and len(a) > 1:  # transpose means: the first axis goes last
        left = a[1:] + a[:1]
    if attrs.transpose_b and len(b) > 1:
        right = b[-1:] + b[:-1]
    if left[-1] != right[0] and -1 not in (left[-1], right[0]):
        raise ShapeError(f"dot needs the last axis of lhs{' (transposed)' if attrs.transpose_a else ''} to be as long as "
                         f"the first of rhs{' (transposed)' if attrs.transpose_b else ''}: {a} and {b} have "
                         f"{left[-1]} and {right[0]}")
    return ins, [left[:-1] + right[1:] or (1,)]


@register("dot", infer=_dot_shapes)
def dot(xp, lhs, rhs, *, transpose_a: bool = False, transpose_b: bool = False, forward_stype: str | None = None):
    """Product over the last axis of ``lhs`` and the first of ``rhs``.

    For matrices the matrix product. ``transpose_a`` moves the first axis of ``lhs`` to the end, ``transpose_b`` the last
    axis of ``rhs`` to the front, which for matrices is the transpose.

    >>> nd.dot(nd.ones((2, 3)), nd.ones((3, 4))).shape
    (2, 4)
    """
    if lhs.ndim == 2 and rhs.ndim == 2:
        return xp.matmul(xp.transpose(lhs) if transpose_a else lhs, xp.transpose(rhs) if transpose_b else rhs)
    i = 0 if transpose_a else lhs.ndim - 1
    j = rhs.ndim - 1 if transpose_b else 0
    r = xp.tensordot(lhs, rhs, ((i,), (j,)))
    return r if r.ndim else xp.reshape(r, (1,))


@dot.gradient
def _(n, g):
    a, b = n.inputs
    ta, tb = n.attrs.transpose_a, n.attrs.transpose_b
    return _dot_grads(g, a, b, transpose_a=ta, transpose_b=tb, of=0), _dot_grads(g, a, b, transpose_a=ta, transpose_b=tb, of=1)


@register("_backward_dot", infer=lambda a, s: (s, [s[1 + a.of]]))
def _dot_grads(xp, dy, lhs, rhs, *, transpose_a: bool, transpose_b: bool, of: int):
    """Gradient of ``dot`` by one of its inputs."""
    ta, tb = transpose_a, transpose_b
    if lhs.ndim == 2 and rhs.ndim == 2:
        t = xp.transpose
        if of == 0:
            return xp.matmul(t(rhs) if tb else rhs, t(dy)) if ta else xp.matmul(dy, rhs if tb else t(rhs))
        return xp.matmul(t(dy), t(lhs) if ta else lhs) if tb else xp.matmul(lhs if ta else t(lhs), dy)
    free_l, free_r = lhs.ndim - 1, rhs.ndim - 1
    if lhs.ndim == 1 and rhs.ndim == 1:
        return (rhs if of == 0 else lhs) * dy
    if of == 0:
        r = xp.tensordot(dy, rhs, (tuple(range(free_l, free_l + free_r)), tuple(range(free_r) if tb else range(1, free_r + 1))))
        return xp.transpose(r, (free_l, *range(free_l))) if ta else r
    r = xp.tensordot(lhs, dy, (tuple(range(1, free_l + 1) if ta else range(free_l)), tuple(range(free_l))))
    return xp.transpose(r, (*range(1, free_r + 1), 0)) if tb else r


@_dot_grads.gradient
def _(n, h):
    g, a, b = n.inputs
    at = {"transpose_a": n.attrs.transpose_a, "transpose_b": n.attrs.transpose_b}
    if n.attrs.of == 0:  # dA = f(g, B): linear in both
        return dot(h, b, **at), None, _dot_grads(g, h, b, **at, of=1)
    return dot(a, h, **at), _dot_grads(g, a, h, **at, of=0), None


def _batch_dot_shapes(attrs, ins):
    a, b = ins
    if a is None or b is None:
        return ins, [None]
    if len(a) != len(b) or len(a) < 3:
        raise ShapeError(f"batch_dot needs two arrays of the same number of dimensions, at least 3: {a} and {b}")
    m, k = (a[-1], a[-2]) if attrs.transpose_a else (a[-2], a[-1])
    k2, p = (b[-1], b[-2]) if attrs.transpose_b else (b[-2], b[-1])
    if k != k2 and -1 not in (k, k2):
        raise ShapeError(f"batch_dot: inner dimensions {k} and {k2} of {a} and {b} differ")
    return ins, [(*rules.merge(a[:-2], b[:-2], "batch dimensions"), m, p)]


@register("batch_dot", infer=_batch_dot_shapes)
def batch_dot(xp, lhs, rhs, *, transpose_a: bool = False, transpose_b: bool = False, forward_stype: str | None = None):
    """Matrix products of the last two axes, one for each place of the others.

    >>> nd.batch_dot(nd.ones((5, 2, 3)), nd.ones((5, 3, 4))).shape
    (5, 2, 4)
    """
    if lhs.ndim != rhs.ndim or lhs.ndim < 3 or lhs.shape[:-2] != rhs.shape[:-2]:
        raise ValueError("batch dimensions differ")
    return xp.matmul(xp.swapaxes(lhs, -1, -2) if transpose_a else lhs, xp.swapaxes(rhs, -1, -2) if transpose_b else rhs)


@batch_dot.gradient
def _(n, g):
    a, b = n.inputs
    ta, tb = n.attrs.transpose_a, n.attrs.transpose_b
    da = batch_dot(b, g, transpose_a=tb, transpose_b=True) if ta else batch_dot(g, b, transpose_b=not tb)
    db = batch_dot(g, a, transpose_a=True, transpose_b=ta) if tb else batch_dot(a, g, transpose_a=not ta)
    return da, db


def _dense_shapes(attrs, ins):
    data, weight, *bias = ins
    h = attrs.num_hidden
    if data is None:  # MXNet says nothing of the parameters before it knows the input
        return ins, [None]
    weight = rules.merge(weight, (h, -1), "weight and (num_hidden, inputs)")
    if attrs.flatten:
        features = rules.elements(data[1:])
        out = (data[0], h)
    else:
        features, out = data[-1], (*data[:-1], h)
    weight = rules.merge(weight, (h, -1 if features is None else features),
                         f"weight and (num_hidden={h}, {'elements a row' if attrs.flatten else 'last axis'} of "
                         f"data={features})")
    if weight is not None and weight[1] >= 0 and len(data) == 2:
        data = rules.merge(data, (-1, weight[1]), "data and (rows, weight's second axis)")
    return [data, weight, *[rules.merge(b, (h,), "bias and (num_hidden,)") for b in bias]], [out]


@register("FullyConnected", infer=_dense_shapes,
          inputs=lambda a: ("data", "weight") if a.no_bias else ("data", "weight", "bias"))
def fully_connected(xp, data, weight, bias=None, *, num_hidden: int, no_bias: bool = False, flatten: bool = True):
    """Linear map ``y = x W^T + b``.

    Parameters
    ----------
    data : (batch, ...) array
        With ``flatten`` all axes but the first are one; otherwise the map acts on the last axis.
    weight : (num_hidden, inputs) array
    bias : (num_hidden,) array
        Absent with ``no_bias``.

    >>> nd.FullyConnected(nd.ones((2, 3)), nd.ones((4, 3)), nd.zeros(4), num_hidden=4).shape
    (2, 4)
    """
    if weight.shape[0] != num_hidden:
        raise ValueError("num_hidden differs from the rows of weight")
    x = xp.reshape(data, (data.shape[0], -1)) if flatten and data.ndim != 2 else data
    y = xp.matmul(x, xp.transpose(weight))
    return y if bias is None or no_bias else xp.add(y, bias)


@fully_connected.backwards
def _(attrs, ins, outs):
    if attrs.flatten:
        return rules.batch(attrs, ins, outs)
    return [rules.merge(ins[0], (*outs[0][:-1], -1), "data and output (but for the last axis)"), *ins[1:]]


@fully_connected.gradient
def _(n, g):
    grads = fully_connected_backward(g, n.inputs[0], n.inputs[1], flatten=n.attrs.flatten)
    return grads[: len(n.inputs)]


def _dense_back_shapes(attrs, ins):
    _, data, weight = ins
    return ins, [data, weight, None if weight is None else weight[:1]]


@register("_backward_FullyConnected", outputs=("ddata", "dweight", "dbias"), composite=True, infer=_dense_back_shapes)
def fully_connected_backward(dy, data, weight, *, flatten: bool = True):
    """Gradients of FullyConnected, in operators."""
    x = OPS["Flatten"](data) if flatten else rows(data)
    g = dy if flatten else rows(dy)
    return OPS["_reshape_to_like"](dot(g, weight), data), dot(g, x, transpose_a=True), sum(g, axis=(0,))


def _rows_shape(attrs, ins):
    if ins[0] is None:
        return ins, [None]
    count = rules.elements(ins[0][:-1])
    return ins, [(-1 if count is None else count, ins[0][-1])]


@register("_rows", infer=_rows_shape, view=True)
def rows(xp, data):
    """All axes but the last as one: ``(..., n)`` becomes ``(rows, n)``."""
    return xp.reshape(data, (-1, data.shape[-1]))


@rows.gradient
def _(n, g):
    return OPS["_reshape_to_like"](g, n.inputs[0])
