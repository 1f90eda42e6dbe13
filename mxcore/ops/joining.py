"""Joining, splitting and repeating arrays; padding."""

from math import prod
from typing import Literal

from ..errors import ShapeError
from ..registry import OPS, Shape, register, rules
from .core import adjoint


def _at(axis, key, ndim):
    """A key that takes ``key`` on one axis and everything on the others."""
    return tuple(key if i == axis else slice(None) for i in range(ndim))


# ---------------------------------------------------------------- joining
def _concat_shapes(attrs, ins):
    found = [s for s in ins if s is not None]
    if not found:
        return ins, [None]
    axis = rules.normalize_axis(attrs.dim, len(found[0]), "dim")
    others = None
    for s in found:
        rest = tuple(-1 if i == axis else d for i, d in enumerate(s))
        others = rules.merge(others, rest, f"shapes of the inputs (without dim={attrs.dim})")
    ins = [rules.merge(others, s) for s in ins]
    lengths = [s[axis] for s in ins]
    return ins, [(*others[:axis], -1 if -1 in lengths else sum(lengths), *others[axis + 1:])]


@register("Concat", aliases=("concat", "_sparse_concat"), infer=_concat_shapes)
def concat(xp, *data, dim: int = 1):
    """Arrays joined along axis ``dim``; the other dimensions must be equal.

    >>> nd.concat(nd.zeros((2, 3)), nd.ones((2, 1)), dim=1).shape
    (2, 4)
    """
    return xp.concatenate(data, axis=rules.normalize_axis(dim, data[0].ndim, "dim"))


@concat.gradient
def _(n, g):
    return concat_back(g, *n.inputs, dim=n.attrs.dim)


@register("_backward_Concat", infer=lambda a, s: (s, s[1:]), types=rules.first_type, uniform=False, view=True,
          outputs=lambda a, count: tuple(f"part{i}" for i in range(count - 1)), shape_only=("like",))
def concat_back(xp, data, *like, dim: int = 1):
    """``data`` cut along ``dim`` into pieces of the shapes of ``like``."""
    parts, start, axis = [], 0, dim % data.ndim
    for a in like:
        parts.append(data[_at(axis, slice(start, start + a.shape[axis]), data.ndim)])
        start += a.shape[axis]
    return tuple(parts)


@concat_back.gradient
def _(n, *heads):
    return [concat(*heads, dim=n.attrs.dim)] + [None] * len(heads)


def _stack_shapes(attrs, ins):
    shape = None
    for s in ins:
        shape = rules.merge(shape, s, "shapes of the inputs")
    if shape is None:
        return ins, [None]
    axis = rules.normalize_axis(attrs.axis, len(shape) + 1)
    return [shape] * len(ins), [(*shape[:axis], len(ins), *shape[axis:])]


@register("stack", infer=_stack_shapes)
def stack(xp, *data, axis: int = 0):
    """Arrays of one shape joined along a new axis.

    >>> nd.stack(nd.zeros(3), nd.ones(3), axis=1).shape
    (3, 2)
    """
    return xp.stack(data, axis=rules.normalize_axis(axis, data[0].ndim + 1))


@stack.gradient
def _(n, g):
    return split(g, num_outputs=len(n.inputs), axis=n.attrs.axis, squeeze_axis=True)


# ---------------------------------------------------------------- splitting
def _without(shape, axis):
    return (*shape[:axis], *shape[axis + 1:]) or (1,)


def _split_shapes(attrs, ins):
    s, count = ins[0], attrs.num_outputs
    if s is None:
        return ins, [None] * count
    axis = rules.normalize_axis(attrs.axis, len(s))
    if s[axis] >= 0 and s[axis] % count:
        raise ShapeError(f"cannot split axis {axis} of {s} into {count} equal parts")
    length = s[axis] // count if s[axis] >= 0 else -1
    if attrs.squeeze_axis:
        if length not in (1, -1):
            raise ShapeError(f"squeeze_axis needs parts of length 1 along axis {axis} of {s}, not {length}")
        return ins, [_without(s, axis)] * count
    return ins, [(*s[:axis], length, *s[axis + 1:])] * count


def _numbered(count):
    return tuple(f"output{i}" for i in range(count))


@register("SliceChannel", aliases=("split",), infer=_split_shapes, view=True,
          outputs=lambda a, count: _numbered(a.num_outputs))
def split(xp, data, *, num_outputs: int, axis: int = 1, squeeze_axis: bool = False):
    """``num_outputs`` equal parts along an axis; ``squeeze_axis`` drops that axis where the parts have length 1.

    >>> [p.shape for p in nd.split(nd.zeros((2, 6)), num_outputs=3)]
    [(2, 2), (2, 2), (2, 2)]
    """
    a = rules.normalize_axis(axis, data.ndim)
    n = data.shape[a]
    if n % num_outputs or (squeeze_axis and n != num_outputs):
        raise ValueError("the axis does not divide")
    length = n // num_outputs
    parts = [data[_at(a, slice(i * length, (i + 1) * length), data.ndim)] for i in range(num_outputs)]
    if squeeze_axis:
        parts = [xp.reshape(p, _without(data.shape, a)) for p in parts]
    return tuple(parts)


def _rejoined(n, heads):
    """The parts put together again; an axis that was squeezed out of parts of length 1 comes back."""
    if n.attrs.squeeze_axis:
        return OPS["_reshape_to_like"](stack(*heads, axis=n.attrs.axis), n.inputs[0])
    return concat(*heads, dim=n.attrs.axis)


@split.backwards
def _(attrs, ins, outs):
    whole = ins[0]
    for part in outs:
        if part is not None and not (attrs.squeeze_axis and part == (1,)):  # then of one axis or of two, who knows
            axis = rules.normalize_axis(attrs.axis, len(part) + attrs.squeeze_axis)
            length = 1 if attrs.squeeze_axis else part[axis]
            rest = part[axis:] if attrs.squeeze_axis else part[axis + 1:]
            full = (*part[:axis], length if length < 0 else length * attrs.num_outputs, *rest)
            whole = rules.merge(whole, full, "input and parts of split")
    return [whole]


@split.gradient
def _(n, *heads):
    return _rejoined(n, heads)


def _bounds(length, attrs):
    """Start and end of each part along an axis of ``length``."""
    if attrs["sections"] > 0:
        count = attrs["sections"]
        if length % count:
            raise ShapeError(f"{length} elements do not divide into {count} equal sections")
        return [(i * length // count, (i + 1) * length // count) for i in range(count)]
    starts = [i + length if i < 0 else i for i in attrs["indices"]]
    ends = [*starts[1:], length]
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if not 0 <= start <= end <= length:
            raise ShapeError(f"part {i} of the split at {attrs['indices']} would be {start}:{end} of {length} elements")
    if starts and starts[0]:
        raise ShapeError(f"the indices of a split start with 0, got {attrs['indices']}")
    return list(zip(starts, ends, strict=True))


def _split_v2_shapes(attrs, ins):
    s, count = ins[0], attrs.sections or len(attrs.indices)
    axis = None if s is None else rules.normalize_axis(attrs.axis, len(s))
    if s is None or s[axis] < 0:
        return ins, [None] * count
    bounds = _bounds(s[axis], attrs)
    if attrs.squeeze_axis:
        if any(e - b != 1 for b, e in bounds):
            raise ShapeError(f"squeeze_axis needs parts of length 1 along axis {axis} of {s}: {bounds}")
        return ins, [_without(s, axis)] * count
    return ins, [(*s[:axis], e - b, *s[axis + 1:]) for b, e in bounds]


@register("_split_v2", aliases=("_npi_split",), infer=_split_v2_shapes, view=True,
          outputs=lambda a, count: _numbered(a.sections or len(a.indices)))
def split_v2(xp, data, *, indices: Shape, axis: int = 1, squeeze_axis: bool = False, sections: int = 0):
    """Parts that begin at ``indices`` (the first is 0), or ``sections`` equal parts.

    >>> [p.shape for p in nd.split_v2(nd.zeros((2, 6)), (1, 4), axis=1)]
    [(2, 1), (2, 3), (2, 2)]
    """
    a = rules.normalize_axis(axis, data.ndim)
    bounds = _bounds(data.shape[a], {"indices": indices, "sections": sections})
    parts = [data[_at(a, slice(b, e), data.ndim)] for b, e in bounds]
    if squeeze_axis:
        parts = [xp.reshape(p, _without(data.shape, a)) for p in parts]
    return tuple(parts)


@split_v2.gradient
def _(n, *heads):
    return _rejoined(n, heads)


# ---------------------------------------------------------------- repeating, reversing
def _tiles(shape, reps):
    """Shape and repetitions, the shorter one filled up with ones in front."""
    ndim = max(len(shape), len(reps))
    if any(r < 0 for r in reps):
        raise ShapeError(f"reps={reps} must not be negative")
    return (1,) * (ndim - len(shape)) + tuple(shape), (1,) * (ndim - len(reps)) + tuple(reps)


def _tile_shapes(attrs, ins):
    if ins[0] is None:
        return ins, [None]
    shape, reps = _tiles(ins[0], attrs.reps)
    return ins, [tuple(-1 if d < 0 else d * r for d, r in zip(shape, reps, strict=True))]


@register("tile", aliases=("_npi_tile",), infer=_tile_shapes)
def tile(xp, data, *, reps: Shape):
    """The whole array repeated ``reps`` times along each axis.

    >>> nd.tile(nd.array([1, 2]), reps=(2, 2)).asnumpy()
    array([[1., 2., 1., 2.],
           [1., 2., 1., 2.]], dtype=float32)
    """
    return xp.tile(data, _tiles(data.shape, reps)[1])


@tile.gradient
def _(n, g):
    return tile_back(g, n.inputs[0], reps=n.attrs.reps)


@adjoint("_backward_tile")
def tile_back(xp, data, like, *, reps: Shape):
    """The sum of the tiles of ``data``, each of the shape of ``like``."""
    shape, full = _tiles(like.shape, reps)
    tiles = xp.reshape(data, tuple(x for pair in zip(full, shape, strict=True) for x in pair))
    return xp.reshape(xp.sum(tiles, axis=tuple(range(0, 2 * len(shape), 2))), like.shape)


@tile_back.gradient
def _(n, g):
    return tile(g, reps=n.attrs.reps), None


def _repeat_shapes(attrs, ins):
    s = ins[0]
    if attrs.repeats < 0:
        raise ShapeError(f"repeats={attrs.repeats} must not be negative")
    if attrs.axis is None:
        size = rules.elements(s)
        return ins, [(-1 if size is None else size * attrs.repeats,)]
    if s is None:
        return ins, [None]
    a = rules.normalize_axis(attrs.axis, len(s))
    return ins, [(*s[:a], s[a] * attrs.repeats if s[a] >= 0 else -1, *s[a + 1:])]


@register("repeat", aliases=("_np_repeat",), infer=_repeat_shapes)
def repeat(xp, data, *, repeats: int, axis: int | None = None):
    """Each element (or slice along ``axis``) repeated; without an axis the result is flat.

    >>> nd.repeat(nd.array([1, 2]), repeats=2).asnumpy()
    array([1., 1., 2., 2.], dtype=float32)
    """
    if axis is None:
        return xp.repeat(xp.reshape(data, (-1,)), repeats)
    return xp.repeat(data, repeats, axis=rules.normalize_axis(axis, data.ndim))


@repeat.gradient
def _(n, g):
    return repeat_back(g, n.inputs[0], repeats=n.attrs.repeats, axis=n.attrs.axis)


@adjoint("_backward_repeat")
def repeat_back(xp, data, like, *, repeats: int, axis: int | None = None):
    """The sums of the repetitions in ``data``, in the shape of ``like``."""
    shape = (prod(like.shape),) if axis is None else like.shape
    a = 0 if axis is None else axis % like.ndim
    groups = xp.reshape(data, (*shape[:a + 1], repeats, *shape[a + 1:]))
    return xp.reshape(xp.sum(groups, axis=a + 1), like.shape)


@repeat_back.gradient
def _(n, g):
    return repeat(g, repeats=n.attrs.repeats, axis=n.attrs.axis), None


def _reverse_shapes(attrs, ins):
    if ins[0] is not None:
        for a in attrs.axis:
            rules.normalize_axis(a, len(ins[0]))
    return ins, [ins[0]]


@register("reverse", aliases=("flip",), infer=_reverse_shapes, view=True)
def reverse(xp, data, *, axis: Shape):
    """The elements in reverse order along some axes.

    >>> nd.flip(nd.array([1, 2, 3]), axis=0).asnumpy()
    array([3., 2., 1.], dtype=float32)
    """
    return xp.flip(data, axis=tuple(rules.normalize_axis(a, data.ndim) for a in axis))


@reverse.gradient
def _(n, g):
    return reverse(g, axis=n.attrs.axis)


# ---------------------------------------------------------------- padding
PadMode = Literal["constant", "edge", "reflect"]


def _padding(shape, pad_width, mode):
    """One pair (before, after) for each axis."""
    if len(pad_width) != 2 * len(shape):
        raise ShapeError(f"pad_width={pad_width} needs two numbers (before, after) for each axis of {shape}")
    pairs = tuple(zip(pad_width[::2], pad_width[1::2], strict=True))
    for d, pair in zip(shape, pairs, strict=True):
        if min(pair) < 0:
            raise ShapeError(f"pad_width={pad_width} must not be negative")
        if mode == "reflect" and 0 <= d <= max(pair) and max(pair):
            raise ShapeError(f"reflection can pad an axis of length {d} by at most {max(d - 1, 0)}, not {max(pair)}")
    return pairs


def _pad_shapes(attrs, ins):
    s = ins[0]
    if s is None:
        return ins, [None]
    pairs = _padding(s, attrs.pad_width, attrs.mode)
    return ins, [tuple(-1 if d < 0 else d + b + a for d, (b, a) in zip(s, pairs, strict=True))]


@register("Pad", aliases=("pad",), infer=_pad_shapes)
def pad(xp, data, *, mode: PadMode, pad_width: Shape, constant_value: float = 0.0):
    """The array with a border.

    Parameters
    ----------
    mode : {"constant", "edge", "reflect"}
        The border holds ``constant_value``, repeats the outermost elements, or mirrors what is inside of them.
    pad_width : tuple
        ``(before, after)`` for each axis, all in one tuple.

    >>> nd.pad(nd.ones((1, 1, 2, 2)), mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 2, 0)).shape
    (1, 1, 4, 4)
    """
    pairs = _padding(data.shape, pad_width, mode)
    if mode == "constant":
        return xp.pad(data, pairs, mode=mode, constant_values=constant_value)
    return xp.pad(data, pairs, mode=mode)


@pad.gradient
def _(n, g):
    return pad_back(g, n.inputs[0], mode=n.attrs.mode, pad_width=n.attrs.pad_width)


@adjoint("_backward_Pad", view=True)
def pad_back(xp, data, like, *, mode: PadMode, pad_width: Shape):
    """The inner part of ``data``; what the border copied from it is added where it came from."""
    for axis, (before, after) in enumerate(_padding(like.shape, pad_width, mode)):
        if not before and not after:
            continue
        n = like.shape[axis]
        inner = xp.copy(data[_at(axis, slice(before, before + n), data.ndim)])
        low = data[_at(axis, slice(0, before), data.ndim)]
        high = data[_at(axis, slice(before + n, before + n + after), data.ndim)]
        if mode == "edge":
            low, high = xp.sum(low, axis=axis, keepdims=True), xp.sum(high, axis=axis, keepdims=True)
            targets = slice(0, 1), slice(n - 1, n)
        elif mode == "reflect":
            low, high = xp.flip(low, axis=axis), xp.flip(high, axis=axis)
            targets = slice(1, before + 1), slice(n - 1 - after, n - 1)
        else:
            targets = ()
        for places, addend in zip(targets, (low, high), strict=False):
            key = _at(axis, places, data.ndim)
            xp.setitem(inner, key, inner[key] + addend)
        data = inner
    return data


@pad_back.gradient
def _(n, g):
    return pad(g, mode=n.attrs.mode, pad_width=n.attrs.pad_width), None
