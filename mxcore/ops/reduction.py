"""Reductions over axes: sums, means, extremes, norms."""

from math import prod as product

from ..registry import OPS, Shape, register, rules


def _axes(data, axis, exclude):
    return rules.normalize_axes(axis, len(data.shape), exclude)


def _shaped(xp, r, data, axes, keepdims):
    """A full reduction without keepdims has shape (1,)."""
    return xp.reshape(r, rules.reduced_shape(data.shape, axes, keepdims)) if len(axes) == len(data.shape) else r


@register("_spread", infer=rules.like_second, types=rules.first_type, uniform=False, shape_only=("like",), view=True)
def spread(xp, data, like, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False, mean: bool = False):
    """A reduced array back in the shape of what was reduced (``mean``: divided by the number of elements)."""
    axes = _axes(like, axis, exclude)
    if mean:
        data = xp.astype(data / _at_least_one(product(like.shape[i] for i in axes)), data.dtype)
    shape = tuple(1 if i in axes else d for i, d in enumerate(like.shape))
    return xp.broadcast_to(xp.reshape(data, shape), like.shape)


@spread.gradient
def _(n, g):
    a = n.attrs
    back = OPS["mean" if a.mean else "sum"](g, axis=a.axis, exclude=a.exclude, keepdims=a.keepdims)
    return OPS["_reshape_to_like"](back, n.inputs[0]), None


def _at_least_one(n):
    return n if n > 0 else 1


def _back(n, g, mean=False):
    a = n.attrs
    return spread(g, n.inputs[0], axis=a.axis, keepdims=a.keepdims, exclude=a.exclude, mean=mean)


@register("sum", aliases=("sum_axis",), infer=rules.reduce)
def sum(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
    """Sum over axes (all by default; ``exclude``: over all others).

    >>> nd.sum(nd.ones((2, 3)), axis=1).asnumpy()
    array([3., 3.], dtype=float32)
    """
    axes = _axes(data, axis, exclude)
    return _shaped(xp, xp.sum(data, axis=axes, keepdims=keepdims), data, axes, keepdims)


@sum.gradient
def _(n, g):
    return _back(n, g)


@register("mean", infer=rules.reduce)
def mean(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
    """Arithmetic mean over axes (of integers: truncated).

    >>> nd.mean(nd.array([1, 2, 3])).asscalar()
    2.0
    """
    axes = _axes(data, axis, exclude)
    total = xp.sum(data, axis=axes, keepdims=keepdims)
    count = _at_least_one(product(data.shape[i] for i in axes))
    return _shaped(xp, xp.astype(total / count, data.dtype), data, axes, keepdims)


@mean.gradient
def _(n, g):
    return _back(n, g, mean=True)


@register("prod", infer=rules.reduce)
def prod(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
    """Product over axes.

    >>> nd.prod(nd.array([2, 3])).asscalar()
    6.0
    """
    axes = _axes(data, axis, exclude)
    return _shaped(xp, xp.prod(data, axis=axes, keepdims=keepdims), data, axes, keepdims)


@prod.gradient
def _(n, g):
    x = n.inputs[0]
    return OPS["elemwise_div"](OPS["elemwise_mul"](_back(n, g), _back(n, n.out())), x)


def _extreme(name, aliases, meaning):
    @register(name, aliases=aliases, infer=rules.reduce)
    def reduce(xp, data, *, axis: Shape | None = None, keepdims: bool = False, exclude: bool = False):
        axes = _axes(data, axis, exclude)
        return _shaped(xp, getattr(xp, name)(data, axis=axes, keepdims=keepdims), data, axes, keepdims)

    reduce.doc = (f"{meaning} over axes; every element that ties gets the whole gradient.\n\n"
                  f"    >>> nd.{name}(nd.array([[1, 5], [4, 2]]), axis=0).shape\n    (2,)\n    ")

    @reduce.gradient
    def _(n, g):
        mask = OPS["_equal"](n.inputs[0], _back(n, n.out()))
        return OPS["elemwise_mul"](_back(n, g), mask)

    return reduce


max = _extreme("max", ("max_axis",), "The largest value")
min = _extreme("min", ("min_axis",), "The smallest value")
