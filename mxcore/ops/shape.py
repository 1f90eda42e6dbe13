"""Changing shape without changing values: reshape and its codes, transpose, joining and splitting."""

from math import prod

from ..errors import ShapeError
from ..registry import OPS, DType, Shape, register, rules


@register("Cast", aliases=("cast",), infer=rules.same, types=rules.cast)
def cast(xp, data, *, dtype: DType):
    """The values as another data type; floats become integers by truncation.

    >>> nd.Cast(nd.array([1.9]), dtype="int32").asnumpy()
    array([1], dtype=int32)
    """
    return xp.astype(data, dtype) if data.dtype != dtype else xp.copy(data)


@cast.gradient
def _(n, g):
    return OPS["_cast_like"](g, n.inputs[0])


@register("_cast_like", infer=lambda a, s: (s, [s[0]]), types=lambda a, t, n: (t, [t[1]]), uniform=False, shape_only=("like",))
def cast_like(xp, data, like):
    """The values as the data type of ``like``."""
    return xp.astype(data, like.dtype)


@cast_like.gradient
def _(n, g):
    return cast_like(g, n.inputs[0]), None


def target_shape(shape, codes, reverse=False):
    """The shape that reshape codes give (0 keep, -1 infer, -2 all the rest, -3 merge two, -4 split one).

    >>> target_shape((2, 3, 4), (-3, 0)), target_shape((2, 6), (0, -4, 2, -1))
    ((6, 4), (2, 2, 3))
    """
    source = list(reversed(shape)) if reverse else list(shape)
    given = list(codes)
    if reverse:  # -4 a b reads from the right as b a -4
        given, i = [], len(codes) - 1
        while i >= 0:
            if i >= 2 and codes[i - 2] == -4:
                given += [-4, codes[i], codes[i - 1]]
                i -= 3
            else:
                given.append(codes[i])
                i -= 1
    out, at, unknown, i = [], 0, None, 0

    def take():
        nonlocal at
        if at >= len(source):
            raise ShapeError(f"reshape code needs more dimensions than {tuple(shape)} has, in {tuple(codes)}")
        at += 1
        return source[at - 1]

    while i < len(given):
        code = given[i]
        if code == 0:
            out.append(take())
        elif code == -1:
            if unknown is not None:
                raise ShapeError(f"only one dimension can be -1 in {tuple(codes)}")
            unknown = len(out)
            out.append(1)
            at += 1
        elif code == -2:
            out += source[at:]
            at = len(source)
        elif code == -3:
            a, b = take(), take()
            out.append(a * b)
        elif code == -4:
            d = take()
            if i + 2 >= len(given):
                raise ShapeError(f"-4 must be followed by two sizes in {tuple(codes)}")
            a, b = given[i + 1], given[i + 2]
            if a == -1 and b == -1:
                raise ShapeError(f"the two sizes after -4 cannot both be -1 in {tuple(codes)}")
            a = d // b if a == -1 else a
            b = d // a if b == -1 else b
            if a * b != d:
                raise ShapeError(f"-4 cannot split {d} into {a} x {b}")
            out += [a, b]
            i += 2
        elif code > 0:
            out.append(code)
            at += 1
        else:
            raise ShapeError(f"{code} is no reshape code, in {tuple(codes)}")
        i += 1
    total = prod(source)
    if unknown is not None:
        rest = prod(out[:unknown] + out[unknown + 1:])
        out[unknown] = total // rest if rest else 0
    if prod(out) != total:
        result = tuple(reversed(out)) if reverse else tuple(out)
        raise ShapeError(f"cannot reshape {tuple(shape)} ({total} elements) to {tuple(codes)}: that is {result}, "
                         f"{prod(out)} elements")
    return tuple(reversed(out)) if reverse else tuple(out)


def _reshape_shapes(attrs, ins):
    if not rules.known(ins[0]):
        fixed = tuple(c if c > 0 else -1 for c in attrs.shape)
        if attrs.shape and all(c >= -1 and c != 0 for c in attrs.shape):
            return ins, [fixed]
        if ins[0] is not None and all(c >= -1 for c in attrs.shape) and not attrs.reverse:
            return ins, [tuple(c if c > 0 else ins[0][i] if c == 0 else -1 for i, c in enumerate(attrs.shape))]
        return ins, [None]
    return ins, [target_shape(ins[0], attrs.shape or _legacy(attrs, ins[0]), attrs.reverse)]


def _legacy(attrs, shape):
    if attrs.target_shape:
        codes = list(attrs.target_shape)
        if attrs.keep_highest:
            codes[0] = shape[0]
        return tuple(-1 if c == 0 else c for c in codes)
    raise ShapeError("reshape needs a shape")


@register("Reshape", aliases=("reshape",), infer=_reshape_shapes, view=True)
def reshape(xp, data, *, shape: Shape = (), reverse: bool = False, target_shape: Shape = (), keep_highest: bool = False):
    """The same elements in another shape.

    Codes: 0 keeps a dimension, -1 infers one, -2 keeps all that remain, -3 merges two, -4 splits one into the two that
    follow. ``reverse`` reads from the right. (``target_shape`` and ``keep_highest`` are of old files.)

    >>> nd.reshape(nd.zeros((2, 3, 4)), shape=(-3, 0)).shape
    (6, 4)
    """
    if not shape:
        codes = list(target_shape)
        if keep_highest and codes:
            codes[0] = data.shape[0]
        shape = tuple(-1 if c == 0 else c for c in codes)
        if not shape:
            raise ShapeError("reshape needs a shape")
    return xp.reshape(data, _target(data.shape, shape, reverse))


_target = target_shape


@reshape.gradient
def _(n, g):
    return OPS["_reshape_to_like"](g, n.inputs[0])


def _flatten_shapes(attrs, ins):
    s = ins[0]
    if s is None:
        return ins, [None]
    rest = rules.elements(s[1:])
    return ins, [(s[0], -1 if rest is None else rest)]


@register("Flatten", aliases=("flatten",), infer=_flatten_shapes, view=True)
def flatten(xp, data):
    """All axes but the first as one.

    >>> nd.flatten(nd.zeros((2, 3, 4))).shape
    (2, 12)
    """
    return xp.reshape(data, (data.shape[0], prod(data.shape[1:])))


@flatten.gradient
def _(n, g):
    return OPS["_reshape_to_like"](g, n.inputs[0])


def _permutation(axes, ndim):
    if not axes:
        return tuple(range(ndim))[::-1]
    order = tuple(rules.normalize_axis(a, ndim, "axes") for a in axes)
    if sorted(order) != list(range(ndim)):
        raise ShapeError(f"axes={axes} is no permutation of the {ndim} axes of the input")
    return order


def _transpose_shapes(attrs, ins):
    s = ins[0]
    return ins, [None if s is None else tuple(s[a] for a in _permutation(attrs.axes, len(s)))]


@register("transpose", infer=_transpose_shapes, view=True)
def transpose(xp, data, *, axes: Shape = ()):
    """The axes in another order (reversed by default).

    >>> nd.transpose(nd.zeros((2, 3, 4)), axes=(0, 2, 1)).shape
    (2, 4, 3)
    """
    return xp.transpose(data, _permutation(axes, data.ndim))


@transpose.gradient
def _(n, g):
    axes = n.attrs.axes
    if not axes:
        return transpose(g)
    order = [a % len(axes) for a in axes]
    return transpose(g, axes=tuple(order.index(i) for i in range(len(order))))
