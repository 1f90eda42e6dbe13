"""Parts of arrays: slices by begin, end and step, crops, and arrays with a part replaced."""

from ..errors import ShapeError
from ..registry import Scalar, Shape, Slots, register, rules
from .core import adjoint

# ---------------------------------------------------------------- slice


def _key(ndim, begin, end, step):
    """The slices of the first axes; None leaves a bound or a step open."""
    if len(begin) > ndim or len(begin) != len(end) or (step and len(step) != len(begin)):
        raise ShapeError(f"begin={begin}, end={end}, step={step} must be equally long, for at most {ndim} axes")
    steps = step or (None,) * len(begin)
    if 0 in steps:
        raise ShapeError(f"step={step}: a step cannot be 0")
    return tuple(slice(b, e, s) for b, e, s in zip(begin, end, steps, strict=True))


def _sliced(shape, key):
    lengths = [len(range(*k.indices(d))) if d >= 0 else -1 for d, k in zip(shape, key, strict=False)]
    return (*lengths, *shape[len(key):])


def _slice_shapes(attrs, ins):
    s = ins[0]
    return ins, [None if s is None else _sliced(s, _key(len(s), attrs.begin, attrs.end, attrs.step))]


@register("slice", aliases=("crop", "_sparse_slice", "_npi_slice", "_npx_slice"), infer=_slice_shapes, view=True)
def slice_(xp, data, *, begin: Slots, end: Slots, step: Slots = ()):
    """``data[begin[0]:end[0]:step[0], begin[1]:...]``; bounds count from the end when negative, None leaves one open.

    >>> nd.slice(nd.array([[1, 2, 3], [4, 5, 6]]), begin=(0, 1), end=(None, None)).asnumpy()
    array([[2., 3.],
           [5., 6.]], dtype=float32)
    """
    return data[_key(data.ndim, begin, end, step)]


def _bounds_of(n):
    return {"begin": n.attrs.begin, "end": n.attrs.end, "step": n.attrs.step}


@slice_.gradient
def _(n, g):
    return slice_back(g, n.inputs[0], **_bounds_of(n))


def _placed(xp, data, like, key):
    """Zeros of the shape of ``like`` with ``data`` at ``key``."""
    out = xp.zeros(like.shape, data.dtype)
    xp.setitem(out, key, data)
    return out


@adjoint("_backward_slice")
def slice_back(xp, data, like, *, begin: Slots, end: Slots, step: Slots = ()):
    """Zeros of the shape of ``like`` with ``data`` where :func:`slice` reads."""
    return _placed(xp, data, like, _key(like.ndim, begin, end, step))


@slice_back.gradient
def _(n, g):
    return slice_(g, **_bounds_of(n)), None


def _axis_key(shape, axis, begin, end):
    a = rules.normalize_axis(axis, len(shape))
    n = shape[a]
    if n < 0:
        return a, None
    b = begin + n if begin < 0 else begin
    e = n if end is None else end + n if end < 0 else end
    if not 0 <= b < e <= n:
        raise ShapeError(f"begin={begin}, end={end} pick nothing of, or reach outside of, axis {axis} of {shape}")
    return a, (slice(None),) * a + (slice(b, e),)


def _slice_axis_shapes(attrs, ins):
    s = ins[0]
    if s is None:
        return ins, [None]
    a, key = _axis_key(s, attrs.axis, attrs.begin, attrs.end)
    return ins, [(*s[:a], -1 if key is None else key[a].stop - key[a].start, *s[a + 1:])]


@register("slice_axis", infer=_slice_axis_shapes, view=True)
def slice_axis(xp, data, *, axis: int, begin: int, end: int | None):
    """``begin:end`` of one axis; ``end=None`` is its end.

    >>> nd.slice_axis(nd.array([[1, 2, 3]]), axis=1, begin=-2, end=None).asnumpy()
    array([[2., 3.]], dtype=float32)
    """
    return data[_axis_key(data.shape, axis, begin, end)[1]]


@slice_axis.gradient
def _(n, g):
    return slice_axis_back(g, n.inputs[0], axis=n.attrs.axis, begin=n.attrs.begin, end=n.attrs.end)


@adjoint("_backward_slice_axis")
def slice_axis_back(xp, data, like, *, axis: int, begin: int, end: int | None):
    """Zeros of the shape of ``like`` with ``data`` where :func:`slice_axis` reads."""
    return _placed(xp, data, like, _axis_key(like.shape, axis, begin, end)[1])


@slice_axis_back.gradient
def _(n, g):
    return slice_axis(g, axis=n.attrs.axis, begin=n.attrs.begin, end=n.attrs.end), None


def _like_shape(shape, like, axes):
    if not axes and len(shape) != len(like):
        raise ShapeError(f"slice_like without axes needs equally many dimensions: {shape} and {like}")
    out = list(shape)
    for axis in axes or range(len(shape)):
        a, b = rules.normalize_axis(axis, len(shape), "axes"), rules.normalize_axis(axis, len(like), "axes")
        if 0 <= out[a] < like[b]:
            raise ShapeError(f"slice_like cannot take {like[b]} elements of axis {a} of {shape}")
        out[a] = like[b]
    return tuple(out)


@register("slice_like", types=rules.first_type, uniform=False, shape_only=("shape_like",), view=True,
          infer=lambda a, s: (s, [None if None in s else _like_shape(*s, a.axes)]))
def slice_like(xp, data, shape_like, *, axes: Shape = ()):
    """The beginning of ``data`` along ``axes`` (all by default), as long there as ``shape_like``.

    >>> nd.slice_like(nd.zeros((3, 4)), nd.zeros((2, 2)), axes=(0,)).shape
    (2, 4)
    """
    return data[tuple(slice(0, d) for d in _like_shape(data.shape, shape_like.shape, axes))]


@slice_like.gradient
def _(n, g):
    return corner(g, n.inputs[0]), None


@adjoint("_corner")
def corner(xp, data, like):
    """Zeros of the shape of ``like`` with ``data`` at their beginning."""
    return _placed(xp, data, like, tuple(slice(0, d) for d in data.shape))


@corner.gradient
def _(n, g):
    return slice_like(g, n.inputs[0]), None


# ---------------------------------------------------------------- crops of images
def _crop_window(shape, like, offset, h_w, center_crop):
    """Rows and columns of a crop."""
    height, width = like[2:4] if like is not None else h_w
    if len(shape) != 4:
        raise ShapeError(f"Crop needs a 4-dimensional array (batch, channel, height, width), got shape {shape}")
    y, x = ((shape[2] - height) // 2, (shape[3] - width) // 2) if center_crop else offset
    if -1 not in (*shape[2:], height, width) and not (0 <= y <= shape[2] - height and 0 <= x <= shape[3] - width):
        raise ShapeError(f"a window of {height} x {width} at ({y}, {x}) does not lie in an image of {shape[2:]}")
    return slice(y, y + height), slice(x, x + width)


def _crop_shapes(attrs, ins):
    s = ins[0]
    like = ins[1] if len(ins) > 1 else None
    if s is None or (len(ins) > 1 and like is None):
        return ins, [None]
    _crop_window(s, like, attrs.offset, attrs.h_w, attrs.center_crop)
    return ins, [(*s[:2], *(like[2:4] if like is not None else attrs.h_w))]


@register("Crop", infer=_crop_shapes, types=rules.first_type, uniform=False, shape_only=("crop_like",), view=True)
def crop(xp, data, *crop_like, offset: Shape = (0, 0), h_w: Shape = (0, 0), center_crop: bool = False):
    """A window of an image batch (batch, channel, height, width).

    The window is as large as the image of a second array, or ``h_w``; it lies at ``offset`` (y, x) or in the center.

    >>> nd.Crop(nd.zeros((1, 3, 8, 8)), h_w=(4, 5), center_crop=True).shape
    (1, 3, 4, 5)
    """
    window = _crop_window(data.shape, crop_like[0].shape if crop_like else None, offset, h_w, center_crop)
    return data[(slice(None), slice(None), *window)]


@crop.gradient
def _(n, g):
    back = crop_back(g, n.inputs[0], offset=n.attrs.offset, center_crop=n.attrs.center_crop)
    return [back] + [None] * (len(n.inputs) - 1)


@adjoint("_backward_Crop")
def crop_back(xp, data, like, *, offset: Shape = (0, 0), center_crop: bool = False):
    """Zeros of the shape of ``like`` with ``data`` in the window that :func:`Crop` takes."""
    window = _crop_window(like.shape, data.shape, offset, (), center_crop)
    return _placed(xp, data, like, (slice(None), slice(None), *window))


@crop_back.gradient
def _(n, g):
    return crop(g, n.inputs[0], offset=n.attrs.offset, center_crop=n.attrs.center_crop), None


# ---------------------------------------------------------------- a part replaced
def _assign_shapes(attrs, ins):
    lhs, *rhs = ins
    if lhs is None:
        return ins, [None]
    part = _sliced(lhs, _key(len(lhs), attrs.begin, attrs.end, attrs.step))
    return [lhs, *[rules.merge(r, part, "rhs and the part of lhs that it replaces") for r in rhs]], [lhs]


@register("_slice_assign", aliases=("_crop_assign", "_npi_slice_assign"), infer=_assign_shapes)
def slice_assign(xp, lhs, rhs, *, begin: Slots, end: Slots, step: Slots = ()):
    """A copy of ``lhs`` with ``rhs`` in the place that ``slice`` would read."""
    key = _key(lhs.ndim, begin, end, step)
    if rhs.shape != _sliced(lhs.shape, key):
        raise ValueError("rhs has another shape than the part that it replaces")
    out = xp.copy(lhs)
    xp.setitem(out, key, rhs)
    return out


@slice_assign.gradient
def _(n, g):
    bounds = _bounds_of(n)
    return slice_assign_scalar(g, scalar=0, **bounds), slice_(g, **bounds)


@register("_slice_assign_scalar", aliases=("_crop_assign_scalar", "_npi_slice_assign_scalar"), infer=_assign_shapes)
def slice_assign_scalar(xp, data, *, scalar: Scalar = 0.0, begin: Slots, end: Slots, step: Slots = ()):
    """A copy of ``data`` with a number in the place that ``slice`` would read."""
    out = xp.copy(data)
    xp.setitem(out, _key(data.ndim, begin, end, step), xp.scalar(scalar, data.dtype))
    return out


@slice_assign_scalar.gradient
def _(n, g):
    return slice_assign_scalar(g, scalar=0, **_bounds_of(n))
