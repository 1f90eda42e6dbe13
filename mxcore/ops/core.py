"""Operators that the machinery itself is made of: identity, zeros, gradient sums, indexing, broadcasting back."""

from functools import partial
from math import prod

from ..registry import register, rules
from ..registry.schema import Attrs


@register("_copy", aliases=("identity",), infer=rules.same, view=True)
def copy(xp, data):
    """The same values in a new array.

    >>> nd.identity(nd.array([1, 2])).asnumpy()
    array([1., 2.], dtype=float32)
    """
    return data


@copy.gradient
def _(n, g):
    return g


@register("_frontier", infer=rules.same)
def frontier(xp, data):
    """Identity that marks where the sweep through a composite stops."""
    return data


@frontier.gradient
def _(n, g):
    return g


@register("BlockGrad", aliases=("stop_gradient",), infer=rules.same, view=True)
def block_grad(xp, data):
    """The input; no gradient flows back.

    >>> nd.BlockGrad(nd.array([3])).item()
    3.0
    """
    return data


@block_grad.gradient
def _(n, g):
    return None


@register("_grad_add", infer=rules.same)
def grad_add(xp, lhs, rhs):
    """Sum of two gradients."""
    return xp.add(lhs, rhs)


@grad_add.gradient
def _(n, g):
    return g, g


@register("zeros_like", infer=rules.same, shape_only=("data",))
def zeros_like(xp, data):
    """Zeros of the shape and type of the input.

    >>> nd.zeros_like(nd.array([1, 2])).asnumpy()
    array([0., 0.], dtype=float32)
    """
    return xp.zeros(data.shape, data.dtype)


@zeros_like.gradient
def _(n, g):
    return None


@register("ones_like", infer=rules.same, shape_only=("data",))
def ones_like(xp, data):
    """Ones of the shape and type of the input.

    >>> nd.ones_like(nd.array([5, 2])).asnumpy()
    array([1., 1.], dtype=float32)
    """
    return xp.ones(data.shape, data.dtype)


@ones_like.gradient
def _(n, g):
    return None


def constant(n, *heads):
    """The gradient rule of what is constant almost everywhere: nothing flows back, and a backward pass is no error."""
    return [None] * len(n.inputs)


#: decorator for linear operators ``(data, like, ...)`` that bring ``data`` into the shape of ``like``
adjoint = partial(register, infer=rules.like_second, types=rules.first_type, uniform=False, shape_only=("like",))


# ---------------------------------------------------------------- broadcasting and back
@adjoint("_unbroadcast")
def unbroadcast(xp, data, like):
    """Sum over the axes along which ``like`` was broadcast to the shape of ``data``."""
    shape = like.shape
    if data.shape == shape:
        return data
    lead = len(data.shape) - len(shape)
    if lead < 0 or prod(data.shape) < prod(shape):  # the gradient itself is broadcast (a constant head)
        return xp.broadcast_to(data, shape)
    axes = (*range(lead), *(i + lead for i, d in enumerate(shape) if d == 1 and data.shape[i + lead] != 1))
    return xp.reshape(xp.sum(data, axis=axes), shape)


@unbroadcast.gradient
def _(n, g):
    return unbroadcast(g, n.inputs[0]), None  # it goes both ways


@adjoint("_broadcast_to_like", view=True)
def broadcast_like_exact(xp, data, like):
    """Broadcast to the shape of ``like``."""
    return xp.broadcast_to(data, like.shape)


@broadcast_like_exact.gradient
def _(n, g):
    return unbroadcast(g, n.inputs[0]), None


@adjoint("_reshape_to_like", view=True)
def reshape_to_like(xp, data, like):
    """The same elements in the shape of ``like``."""
    return xp.reshape(data, like.shape)


@reshape_to_like.gradient
def _(n, g):
    return reshape_to_like(g, n.inputs[0]), None


# ---------------------------------------------------------------- indexing (NDArray only)
class Slot:
    """Marks the place of array ``number`` among the indices of a key."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"<index array {self.number}>"


def fill(key: tuple, arrays: tuple) -> tuple:
    """The key with its arrays in place."""
    return tuple([arrays[k.number] if type(k) is Slot else k for k in key])


def _getitem_shapes(attrs: Attrs, ins: list) -> tuple[list, list]:
    import numpy as np

    if not all(rules.known(s) for s in ins):
        return ins, [None]
    arrays = tuple(np.broadcast_to(np.zeros((), np.int64), s) for s in ins[1:])
    return ins, [np.broadcast_to(np.zeros(()), ins[0])[fill(attrs.key, arrays)].shape]


@register("_getitem", infer=_getitem_shapes, types=rules.first_type, uniform=False, view=True)
def getitem(xp, data, *indices, key: object):
    """``data[key]`` with NumPy's meaning; places of arrays in the key are marked by ``Slot``."""
    return xp.getitem(data, fill(key, indices))


@getitem.gradient
def _(n, g):
    return [index_add(g, *n.inputs, key=n.attrs.key)] + [None] * (len(n.inputs) - 1)


@register("_index_add", infer=lambda a, s: (s, [s[1]]), types=rules.first_type, uniform=False, shape_only=("like",))
def index_add(xp, data, like, *indices, key: object):
    """Zeros of the shape of ``like`` with ``data`` added at ``key``."""
    out = xp.zeros(like.shape, data.dtype)
    if indices:
        xp.add_at(out, fill(key, indices), data)
    else:
        xp.setitem(out, key, data)
    return out


@index_add.gradient
def _(n, g):
    return [getitem(g, *n.inputs[2:], key=n.attrs.key)] + [None] * (len(n.inputs) - 1)


__all__ = ["Slot", "adjoint", "constant", "fill"]
