"""Changing shape without changing values: reshape and its codes, transpose, joining and splitting."""

from math import prod

from ..errors import ShapeError
from ..registry import OPS, Shape, register, rules
from .core import adjoint


def target_shape(shape, codes, reverse=False):
    """The shape that reshape codes give (0 keep, -1 infer, -2 all the rest, -3 merge two, -4 split one).

    >>> target_shape((2, 3, 4), (-3, 0)), target_shape((2, 6), (0, -4, 2, -1))
    ((6, 4), (2, 2, 3))
    """
    source = list(reversed(shape)) if reverse else list(shape)
    given = list(reversed(codes)) if reverse else list(codes)  # so that -4 a b reads b a -4
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
            a = d // b if a == -1 and b else a
            b = d // a if b == -1 and a else b
            if a * b != d or a < 0:
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
def reshape(xp, data, *, shape: Shape = (), reverse: bool = False, target_shape: Shape = (),
            keep_highest: bool = False):
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


@reshape.backwards
def _(attrs, ins, outs):
    """One unknown dimension of the input follows from the number of elements."""
    shape, size = ins[0], rules.elements(outs[0])
    if shape is None or size is None or shape.count(-1) != 1:
        return ins
    others = -prod(shape)
    return [tuple(size // others if d < 0 else d for d in shape)] if others and size % others == 0 else ins


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


# ---------------------------------------------------------------- the same elements under other axes
def _reshaped(n, g):
    return OPS["_reshape_to_like"](g, n.inputs[0])


def _expand_shapes(attrs, ins):
    s = ins[0]
    if s is None:
        return ins, [None]
    a = rules.normalize_axis(attrs.axis, len(s) + 1)
    return ins, [(*s[:a], 1, *s[a:])]


@register("expand_dims", aliases=("_npi_expand_dims",), infer=_expand_shapes, view=True)
def expand_dims(xp, data, *, axis: int):
    """A new axis of length 1 at position ``axis``.

    >>> nd.expand_dims(nd.zeros((2, 3)), axis=1).shape
    (2, 1, 3)
    """
    a = rules.normalize_axis(axis, data.ndim + 1)
    return xp.reshape(data, (*data.shape[:a], 1, *data.shape[a:]))


expand_dims.gradient(_reshaped)


def _squeezed(shape, axis):
    if axis is None:
        return tuple(d for d in shape if d != 1) or (1,)
    axes = {rules.normalize_axis(a, len(shape)) for a in axis}
    for a in axes:
        if shape[a] not in (1, -1):
            raise ShapeError(f"cannot squeeze axis {a} of {shape}: its length is {shape[a]}, not 1")
    return tuple(d for i, d in enumerate(shape) if i not in axes) or (1,)


def _squeeze_shapes(attrs, ins):
    s = ins[0]
    return ins, [None if s is None or (attrs.axis is None and -1 in s) else _squeezed(s, attrs.axis)]


@register("squeeze", infer=_squeeze_shapes, view=True)
def squeeze(xp, data, *, axis: Shape | None = None):
    """Without axes of length 1: those named, or all.

    >>> nd.squeeze(nd.zeros((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    return xp.reshape(data, _squeezed(data.shape, axis))


squeeze.gradient(_reshaped)


def _swapped(ndim, dim1, dim2):
    order = list(range(ndim))
    a, b = rules.normalize_axis(dim1, ndim, "dim1"), rules.normalize_axis(dim2, ndim, "dim2")
    order[a], order[b] = order[b], order[a]
    return order


def _swap_shapes(attrs, ins):
    s = ins[0]
    return ins, [None if s is None else tuple(s[i] for i in _swapped(len(s), attrs.dim1, attrs.dim2))]


@register("SwapAxis", aliases=("swapaxes", "_npi_swapaxes"), infer=_swap_shapes, view=True)
def swap_axis(xp, data, *, dim1: int = 0, dim2: int = 0):
    """Two axes exchanged.

    >>> nd.SwapAxis(nd.zeros((2, 3, 4)), dim1=0, dim2=2).shape
    (4, 3, 2)
    """
    return xp.transpose(data, _swapped(data.ndim, dim1, dim2))


@swap_axis.gradient
def _(n, g):
    return swap_axis(g, dim1=n.attrs.dim1, dim2=n.attrs.dim2)


def _like_range(shape, begin, end, side):
    """Non-negative bounds of the axes that reshape_like replaces or takes."""
    ndim = len(shape)
    b = 0 if begin is None else begin + ndim if begin < 0 else begin
    e = ndim if end is None else end + ndim if end < 0 else end
    if not 0 <= b <= e <= ndim:
        raise ShapeError(f"{side}_begin={begin}, {side}_end={end} are no range of the {ndim} axes of {shape}")
    return b, e


def _reshaped_like(lhs, rhs, attrs):
    b, e = _like_range(lhs, attrs["lhs_begin"], attrs["lhs_end"], "lhs")
    p, q = _like_range(rhs, attrs["rhs_begin"], attrs["rhs_end"], "rhs")
    out = (*lhs[:b], *rhs[p:q], *lhs[e:])
    if -1 not in lhs and -1 not in out and prod(out) != prod(lhs):
        raise ShapeError(f"reshape_like cannot give {lhs} ({prod(lhs)} elements) the shape {out} ({prod(out)})")
    return out


def _reshape_like_shapes(attrs, ins):
    return ins, [None if None in ins else _reshaped_like(*ins, attrs)]


@register("reshape_like", aliases=("_npx_reshape_like",), infer=_reshape_like_shapes, types=rules.first_type,
          uniform=False, shape_only=("rhs",), view=True)
def reshape_like(xp, lhs, rhs, *, lhs_begin: int | None = None, lhs_end: int | None = None,
                 rhs_begin: int | None = None, rhs_end: int | None = None):
    """``lhs`` in the shape of ``rhs``; with bounds, axes ``lhs_begin:lhs_end`` become ``rhs_begin:rhs_end`` of ``rhs``.

    >>> nd.reshape_like(nd.zeros((6, 5)), nd.zeros((2, 3, 4)), lhs_end=1, rhs_end=2).shape
    (2, 3, 5)
    """
    bounds = {"lhs_begin": lhs_begin, "lhs_end": lhs_end, "rhs_begin": rhs_begin, "rhs_end": rhs_end}
    return xp.reshape(lhs, _reshaped_like(lhs.shape, rhs.shape, bounds))


@reshape_like.gradient
def _(n, g):
    return _reshaped(n, g), None


# ---------------------------------------------------------------- broadcasting
def _unbroadcast(n, g):
    return OPS["_unbroadcast"](g, n.inputs[0])


def _widened(shape, out):
    for d, t in zip(shape, out, strict=True):
        if d != t and d != 1 and -1 not in (d, t):
            raise ShapeError(f"cannot broadcast {shape} to {out}: only axes of length 1 can grow")
    return out


def _broadcast_target(shape, target):
    if len(shape) != len(target):
        raise ShapeError(f"cannot broadcast {shape} to {target}: they have {len(shape)} and {len(target)} dimensions")
    return _widened(shape, tuple(t or d for d, t in zip(shape, target, strict=True)))


@register("broadcast_to", view=True,
          infer=lambda a, s: (s, [None if s[0] is None else _broadcast_target(s[0], a.shape)]))
def broadcast_to(xp, data, *, shape: Shape = ()):
    """Axes of length 1 repeated up to ``shape``; 0 keeps an axis.

    >>> nd.broadcast_to(nd.array([[1], [2]]), shape=(0, 2)).asnumpy()
    array([[1., 1.],
           [2., 2.]], dtype=float32)
    """
    return xp.broadcast_to(data, _broadcast_target(data.shape, shape))


broadcast_to.gradient(_unbroadcast)


def _axis_target(shape, axis, size):
    if len(axis) != len(size):
        raise ShapeError(f"broadcast_axis needs one size for each axis, got axis={axis} and size={size}")
    out = list(shape)
    for a, d in zip(axis, size, strict=True):
        out[rules.normalize_axis(a, len(shape))] = d
    return _widened(shape, tuple(out))


@register("broadcast_axis", aliases=("broadcast_axes",), view=True,
          infer=lambda a, s: (s, [None if s[0] is None else _axis_target(s[0], a.axis, a.size)]))
def broadcast_axis(xp, data, *, axis: Shape = (), size: Shape = ()):
    """Axes of length 1 repeated ``size`` times.

    >>> nd.broadcast_axis(nd.zeros((1, 2, 1)), axis=(0, 2), size=(3, 4)).shape
    (3, 2, 4)
    """
    return xp.broadcast_to(data, _axis_target(data.shape, axis, size))


broadcast_axis.gradient(_unbroadcast)


def _like_target(lhs, rhs, lhs_axes, rhs_axes):
    if (lhs_axes is None) != (rhs_axes is None):
        raise ShapeError("broadcast_like needs both lhs_axes and rhs_axes, or neither")
    if lhs_axes is None:
        return _broadcast_target(lhs, rhs)
    if len(lhs_axes) != len(rhs_axes) or not lhs_axes:
        raise ShapeError(f"broadcast_like needs as many lhs_axes as rhs_axes, at least one: {lhs_axes} and {rhs_axes}")
    return _axis_target(lhs, lhs_axes, [rhs[rules.normalize_axis(a, len(rhs), "rhs_axes")] for a in rhs_axes])


@register("broadcast_like", types=rules.first_type, uniform=False, shape_only=("rhs",), view=True,
          infer=lambda a, s: (s, [None if None in s else _like_target(*s, a.lhs_axes, a.rhs_axes)]))
def broadcast_like(xp, lhs, rhs, *, lhs_axes: Shape | None = None, rhs_axes: Shape | None = None):
    """``lhs`` with axes of length 1 repeated up to the shape of ``rhs`` (or to some of its axes).

    >>> nd.broadcast_like(nd.zeros((1, 3)), nd.zeros((2, 3))).shape
    (2, 3)
    """
    return xp.broadcast_to(lhs, _like_target(lhs.shape, rhs.shape, lhs_axes, rhs_axes))


@broadcast_like.gradient
def _(n, g):
    return _unbroadcast(n, g), None


# ---------------------------------------------------------------- blocks and diagonals
def _block_sizes(shape, block, to_space):
    if len(shape) != 4:
        raise ShapeError(f"a 4-dimensional array (batch, channel, height, width) is needed, got shape {shape}")
    n, c, h, w = shape
    if block < 1:
        raise ShapeError(f"block_size={block} must be at least 1")
    if to_space:
        if c >= 0 and c % (block * block):
            raise ShapeError(f"the {c} channels of {shape} do not divide by block_size**2 = {block * block}")
        return n, c // (block * block) if c >= 0 else -1, h * block if h >= 0 else -1, w * block if w >= 0 else -1
    if (h >= 0 and h % block) or (w >= 0 and w % block):
        raise ShapeError(f"height and width of {shape} must divide by block_size={block}")
    return n, c * block * block if c >= 0 else -1, h // block if h >= 0 else -1, w // block if w >= 0 else -1


def _block_shapes(to_space):
    return lambda attrs, ins: (ins, [None if ins[0] is None else _block_sizes(ins[0], attrs.block_size, to_space)])


@register("depth_to_space", infer=_block_shapes(True), view=True)
def depth_to_space(xp, data, *, block_size: int):
    """Channels rearranged into blocks of space: (n, c b b, h, w) becomes (n, c, h b, w b).

    >>> nd.depth_to_space(nd.zeros((1, 8, 2, 3)), block_size=2).shape
    (1, 2, 4, 6)
    """
    n, c, h, w = _block_sizes(data.shape, block_size, True)
    blocks = xp.reshape(data, (n, block_size, block_size, c, *data.shape[2:]))
    return xp.reshape(xp.transpose(blocks, (0, 3, 4, 1, 5, 2)), (n, c, h, w))


@register("space_to_depth", infer=_block_shapes(False), view=True)
def space_to_depth(xp, data, *, block_size: int):
    """Blocks of space rearranged into channels: (n, c, h b, w b) becomes (n, c b b, h, w).

    >>> nd.space_to_depth(nd.zeros((1, 2, 4, 6)), block_size=2).shape
    (1, 8, 2, 3)
    """
    n, c, h, w = _block_sizes(data.shape, block_size, False)
    blocks = xp.reshape(data, (n, data.shape[1], h, block_size, w, block_size))
    return xp.reshape(xp.transpose(blocks, (0, 3, 5, 1, 2, 4)), (n, c, h, w))


@depth_to_space.gradient
def _(n, g):
    return space_to_depth(g, block_size=n.attrs.block_size)


@space_to_depth.gradient
def _(n, g):
    return depth_to_space(g, block_size=n.attrs.block_size)


def _diagonal(shape, k, axis1, axis2):
    """The order that puts the two axes last, the places of the diagonal on their flattened plane, and its length."""
    a, b = rules.normalize_axis(axis1, len(shape), "axis1"), rules.normalize_axis(axis2, len(shape), "axis2")
    if a == b:
        raise ShapeError(f"axis1 and axis2 are the same axis {a}")
    rows, columns = shape[a], shape[b]
    length = min(rows, columns - k) if k >= 0 else min(rows + k, columns)
    if length <= 0:
        raise ShapeError(f"{shape} has no diagonal k={k} in axes {axis1} and {axis2}")
    first = k if k >= 0 else -k * columns
    places = slice(first, first + (length - 1) * (columns + 1) + 1, columns + 1)
    return [*(i for i in range(len(shape)) if i not in (a, b)), a, b], places, length


def _diag_shapes(attrs, ins):
    s = ins[0]
    if not rules.known(s):
        return ins, [None]
    if len(s) == 1:
        return ins, [(s[0] + abs(attrs.k),) * 2]
    order, _, length = _diagonal(s, attrs.k, attrs.axis1, attrs.axis2)
    return ins, [(*(s[i] for i in order[:-2]), length)]


@register("diag", infer=_diag_shapes)
def diag(xp, data, *, k: int = 0, axis1: int = 0, axis2: int = 1):
    """The ``k``-th diagonal in the plane of two axes, placed last; of a vector, the matrix that has it as diagonal.

    >>> nd.diag(nd.array([[1, 2], [3, 4]])).asnumpy()
    array([1., 4.], dtype=float32)
    """
    if data.ndim == 1:
        m = data.shape[0] + abs(k)
        _, places, _ = _diagonal((m, m), k, 0, 1)
        out = xp.zeros((m * m,), data.dtype)
        xp.setitem(out, places, data)
        return xp.reshape(out, (m, m))
    order, places, _ = _diagonal(data.shape, k, axis1, axis2)
    planes = xp.transpose(data, order)
    return xp.copy(xp.reshape(planes, (*planes.shape[:-2], planes.shape[-2] * planes.shape[-1]))[..., places])


@diag.gradient
def _(n, g):
    a = n.attrs
    return diag_back(g, n.inputs[0], k=a.k, axis1=a.axis1, axis2=a.axis2)


@adjoint("_backward_diag")
def diag_back(xp, data, like, *, k: int = 0, axis1: int = 0, axis2: int = 1):
    """Zeros of the shape of ``like`` with ``data`` on the diagonal that :func:`diag` reads."""
    if like.ndim == 1:
        return diag.fn(xp, data, k=k)
    order, places, _ = _diagonal(like.shape, k, axis1, axis2)
    shape = tuple(like.shape[i] for i in order)
    out = xp.zeros((*shape[:-2], shape[-2] * shape[-1]), data.dtype)
    xp.setitem(out, (..., places), data)
    back = [order.index(i) for i in range(len(order))]
    return xp.transpose(xp.reshape(out, shape), back)


@diag_back.gradient
def _(n, g):
    a = n.attrs
    return diag(g, k=a.k, axis1=a.axis1, axis2=a.axis2), None


# ---------------------------------------------------------------- shapes as values
@register("shape_array", aliases=("_npx_shape_array",), types=rules.fixed_type("int64"), nograd=True,
          shape_only=("data",), infer=lambda a, s: (s, [None if s[0] is None else (len(s[0]),)]))
def shape_array(xp, data):
    """The shape as an int64 array.

    >>> nd.shape_array(nd.zeros((2, 3))).asnumpy()
    array([2, 3])
    """
    return xp.asarray(data.shape, dtype="int64")


@register("size_array", infer=rules.scalar_output, types=rules.fixed_type("int64"), nograd=True, shape_only=("data",))
def size_array(xp, data):
    """The number of elements as an int64 array of shape (1,).

    >>> nd.size_array(nd.zeros((2, 3))).asnumpy()
    array([6])
    """
    return xp.asarray((prod(data.shape),), dtype="int64")
