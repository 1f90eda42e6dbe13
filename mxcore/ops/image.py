"""Pictures: to tensors, normalisation, cropping, resizing, flipping, and random changes of colour.

Pictures are ``(height, width, channels)`` or, where said, ``(N, height, width, channels)``; tensors have the channels
first. uint8 results are truncated and kept within 0 to 255, as in MXNet.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..registry import OPS, Floats, Shape, register, rules
from .resampling import resample

_F4 = np.dtype("float32")
#: how much red, green and blue make grey (ITU-R BT.601)
_GREY = (0.299, 0.587, 0.114)
#: standard deviations of ImageNet's colours along their principal axes, times the axes (Krizhevsky et al. 2012)
_PCA = np.array([[55.46 * -0.5675, 4.794 * 0.7192, 1.148 * 0.4009],
                 [55.46 * -0.5808, 4.794 * -0.0045, 1.148 * -0.8140],
                 [55.46 * -0.5836, 4.794 * -0.6948, 1.148 * 0.4203]], np.float32)


def _picture(shape: Any, batched: bool = True) -> tuple:
    """Check that a known shape is that of a picture (or of a batch of them, if that is allowed)."""
    if len(shape) != 3 and not (batched and len(shape) == 4):
        form = "(height, width, channels)" + (" or (N, height, width, channels)" if batched else "")
        raise ShapeError(f"a picture must have shape {form}, but got {tuple(shape)}")
    return tuple(shape)


def _single(attrs, ins):
    """Shape rule: one picture, whose shape stays."""
    if ins[0] is not None:
        _picture(ins[0], batched=False)
    return ins, [ins[0]]


def _clipped(xp, values, dtype):
    """Computed floats in the type of the picture: small integers are truncated and kept within their range."""
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        info = np.iinfo(dtype)
        values = xp.minimum(xp.maximum(values, float(info.min)), float(info.max))
    return xp.astype(values, dtype)


# ---------------------------------------------------------------- to tensors
def _first(attrs, ins):
    s = ins[0]
    if s is not None:
        *lead, h, w, c = _picture(s)
        return ins, [(*lead, c, h, w)]
    return ins, [None]


def _last(attrs, ins):
    s = ins[0]
    if s is not None:
        *lead, c, h, w = _picture(s)
        return ins, [(*lead, h, w, c)]
    return ins, [None]


@register("_image_to_tensor", aliases=("_npx__image_to_tensor",), infer=_first, types=rules.fixed_type("float32"))
def to_tensor(xp, data):
    """Channels first, divided by 255, as float32: ``(H, W, C)`` to ``(C, H, W)``, also with a leading batch axis.

    >>> nd.image.to_tensor(nd.full((1, 2, 3), 51, dtype="uint8")).asnumpy()[0]
    array([[0.2, 0.2]], dtype=float32)
    """
    *lead, _, _, _ = _picture(data.shape)
    n = len(lead)
    tensor = xp.ascontiguousarray(xp.transpose(data, (*range(n), n + 2, n, n + 1)))
    return xp.astype(tensor, _F4) / 255.0


@register("_backward_image_to_tensor", infer=_last, types=rules.fixed_type("float32"))
def from_tensor(xp, data):
    """The transpose of ``_image_to_tensor``: channels last, values divided by 255."""
    *lead, _, _, _ = _picture(data.shape)
    n = len(lead)
    return xp.astype(xp.ascontiguousarray(xp.transpose(data, (*range(n), n + 1, n + 2, n))), _F4) / 255.0


@to_tensor.gradient
def _(n, g):
    return OPS["_cast_like"](from_tensor(g), n.inputs[0])


@from_tensor.gradient
def _(n, g):
    return OPS["_cast_like"](to_tensor(g), n.inputs[0])


def _normalize_shapes(attrs, ins):
    s = ins[0]
    if s is not None:
        if len(s) not in (3, 4):
            raise ShapeError(f"Input tensor must have shape (channels, height, width), or (N, channels, height, "
                             f"width), but got {s}")
        if s[-3] >= 0:
            _channels(attrs["mean"], attrs["std"], s[-3], s)
    return ins, [s]


def _channels(mean, std, channels, shape):
    if channels not in (1, 3):
        raise ShapeError(f"The first dimension of input tensor must be the channel dimension with either 1 or 3 "
                         f"elements, but got input with shape {tuple(shape)}")
    for name, value in (("mean", mean), ("std", std)):
        if len(value) not in (1, channels):
            raise ShapeError(f"Invalid {name} for input with shape {tuple(shape)}. {name} must have either 1 or "
                             f"{channels} elements, but got {value}")


@lru_cache(maxsize=256)
def _per_channel(values: tuple, dtype: np.dtype) -> np.ndarray:
    return np.array(values, dtype).reshape(-1, 1, 1)


@register("_image_normalize", aliases=("_npx__image_normalize",), infer=_normalize_shapes)
def normalize(xp, data, *, mean: Floats = (0.0, 0.0, 0.0, 0.0), std: Floats = (1.0, 1.0, 1.0, 1.0)):
    """``(data - mean) / std`` of a tensor ``(C, H, W)`` or ``(N, C, H, W)``, C being 1 or 3.

    ``mean`` and ``std`` are one number each, or one for each channel.

    >>> nd.image.normalize(nd.ones((3, 1, 1)), mean=(0, 1, 2), std=(1, 1, 0.5)).asnumpy().ravel()
    array([ 1.,  0., -2.], dtype=float32)
    """
    _channels(mean, std, data.shape[-3], data.shape)
    x = data if data.dtype.char in "fd" else xp.astype(data, _F4)
    out = (x - xp.asarray(_per_channel(mean, x.dtype))) / xp.asarray(_per_channel(std, x.dtype))
    if data.dtype.kind in "iu" and data.dtype.itemsize < 4:  # beyond the range, C wraps around
        out = xp.astype(out, np.dtype("int32"))
    return xp.astype(out, data.dtype)


@normalize.gradient
def _(n, g):
    return normalize(g, mean=(0.0,), std=n.attrs.std)


# ---------------------------------------------------------------- crop, resize, flip
def _crop_shapes(attrs, ins):
    s = ins[0]
    if s is None:
        return ins, [None]
    _picture(s)
    if attrs.width < 1 or attrs.height < 1:
        raise ShapeError(f"Input height and width must be greater than 0, got {attrs.height} and {attrs.width}")
    for begin, size, full, what in ((attrs.x, attrs.width, s[-2], "width"), (attrs.y, attrs.height, s[-3], "height")):
        if begin < 0 or 0 <= full < begin + size:
            raise ShapeError(f"the piece from {begin} to {begin + size} does not lie in the {what} {full} of the "
                             f"picture, shape {s}")
    return ins, [(*s[:-3], attrs.height, attrs.width, s[-1])]


@register("_image_crop", aliases=("_npx__image_crop",), infer=_crop_shapes)
def crop(xp, data, *, x: int, y: int, width: int, height: int):
    """The piece of a picture (or of each of a batch) whose left upper corner is at column ``x`` and row ``y``.

    >>> nd.image.crop(nd.zeros((4, 5, 3)), x=1, y=0, width=2, height=3).shape
    (3, 2, 3)
    """
    s = _picture(data.shape)
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > s[-2] or y + height > s[-3]:
        raise ShapeError(f"the piece of {width} x {height} at column {x}, row {y} does not lie in a picture of shape "
                         f"{s}")
    piece = data[y:y + height, x:x + width] if len(s) == 3 else data[:, y:y + height, x:x + width]
    return xp.copy(piece)


@register("_backward_image_crop", infer=rules.like_second, shape_only=("like",), uniform=False, types=rules.first_type)
def crop_backward(xp, data, like, *, x: int, y: int, width: int, height: int):
    """The piece in its place in a picture of zeros of the shape of ``like``."""
    out = xp.zeros(like.shape, data.dtype)
    place = (slice(y, y + height), slice(x, x + width))
    xp.setitem(out, place if len(like.shape) == 3 else (slice(None), *place), data)
    return out


@crop.gradient
def _(n, g):
    return crop_backward(g, n.inputs[0], **n.attrs)


@crop_backward.gradient
def _(n, g):
    return crop(g, **n.attrs), None


def _window_shapes(attrs, ins):
    s = ins[0]
    return ins, [None if s is None else (attrs.height, attrs.width, _picture(s, batched=False)[2])]


@register("_image_window", infer=_window_shapes, nograd=True)
def window(xp, data, *, x: int, y: int, width: int, height: int, fill: float = 0.0):
    """As :func:`mxcore.nd.image.crop`, but the piece may reach beyond the picture, where it holds ``fill``.

    >>> nd.image.window(nd.ones((1, 1, 1)), x=-1, y=0, width=3, height=1, fill=5).asnumpy().ravel()
    array([5., 1., 5.], dtype=float32)
    """
    h, w, c = _picture(data.shape, batched=False)
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, w), min(y + height, h)
    if right - left == width and bottom - top == height:
        return xp.copy(data[top:bottom, left:right])
    out = xp.full((height, width, c), fill, dtype=data.dtype)
    if left < right and top < bottom:
        xp.setitem(out, (slice(top - y, bottom - y), slice(left - x, right - x)), data[top:bottom, left:right])
    return out


def _new_size(size, keep_ratio, h, w):
    """Height and width after resizing; unknown (-1) if the old ones are and matter."""
    if len(size) not in (1, 2):
        raise ArgumentError(f"Input size dimension must be 1 or 2, but got {len(size)}: size={size}")
    if any(v < 1 for v in size):
        raise ArgumentError(f"Input size should be greater than 0, but got {size}")
    if len(size) == 2:
        return size[1], size[0]
    if not keep_ratio:
        return size[0], size[0]
    if h < 0 or w < 0:
        return -1, -1
    return (size[0] * h // w, size[0]) if h > w else (size[0], size[0] * w // h)


def _resize_shapes(attrs, ins):
    s = ins[0]
    if s is None:
        return ins, [None]
    *lead, h, w, c = _picture(s)
    return ins, [(*lead, *_new_size(attrs.size, attrs.keep_ratio, h, w), c)]


@register("_image_resize", aliases=("_npx__image_resize",), infer=_resize_shapes, nograd=True)
def resize(xp, data, *, size: Shape = (), keep_ratio: bool = False, interp: int = 1):
    """A picture (or a batch of them) in another size.

    ``size`` is ``(width, height)`` or one number: both edges, or with ``keep_ratio`` the shorter one. ``interp`` is 0
    nearest, 1 bilinear, 2 bicubic, 3 area, 4 Lanczos, all as in OpenCV.

    >>> nd.image.resize(nd.zeros((4, 6, 3), dtype="uint8"), size=3, keep_ratio=True).shape
    (3, 4, 3)
    """
    *_, h, w, _ = _picture(data.shape)
    height, width = _new_size(size, keep_ratio, h, w)
    return resample(xp, data, height, width, interp)


def _cv_shapes(attrs, ins):
    s = ins[0]
    return ins, [None if s is None else (attrs.h, attrs.w, _picture(s, batched=False)[2])]


@register("_cvimresize", aliases=("_npi_cvimresize",), infer=_cv_shapes, nograd=True)
def cv_resize(xp, src, *, w: int, h: int, interp: int = 1):
    """A picture resized to width ``w`` and height ``h``; ``interp`` as in :func:`mxcore.nd.image.resize`.

    >>> nd._internal._cvimresize(nd.zeros((4, 6, 3), dtype="uint8"), 3, 2).shape
    (2, 3, 3)
    """
    _picture(src.shape, batched=False)
    if w < 1 or h < 1:
        raise ArgumentError(f"width and height must be at least 1, got {w} and {h}")
    return resample(xp, src, h, w, interp)


def _border_shapes(attrs, ins):
    if ins[0] is None:
        return ins, [None]
    h, w, c = _picture(ins[0], batched=False)
    return ins, [(h if h < 0 else h + attrs.top + attrs.bot, w if w < 0 else w + attrs.left + attrs.right, c)]


def _beyond(n, before, after, kind):
    """For places from ``-before`` to ``n + after - 1``, the pixel out of ``n`` that is taken there."""
    place = np.arange(-before, n + after)
    if kind == 1:
        return np.clip(place, 0, n - 1)
    if kind == 3:
        return place % n
    period = max(2 * n - (2 if kind == 4 else 0), 1)
    place = place % period
    return np.where(place < n, place, (period if kind == 4 else period - 1) - place)


@register("_cvcopyMakeBorder", aliases=("_npi_cvcopyMakeBorder",), infer=_border_shapes, nograd=True)
def make_border(xp, src, *, top: int, bot: int, left: int, right: int, type: int = 0, value: float = 0.0,
                values: Floats = ()):
    """A picture with a border around it.

    ``type`` is 0: the border holds ``value``, or ``values`` (one for each channel); 1: the outermost pixel goes on;
    2 and 4: the picture is mirrored, with and without its outermost pixel; 3: the picture is repeated. As in OpenCV.

    >>> nd._internal._cvcopyMakeBorder(nd.ones((1, 1, 1)), 0, 0, 1, 2, value=5).asnumpy().ravel()
    array([5., 1., 5., 5.], dtype=float32)
    """
    h, w, c = _picture(src.shape, batched=False)
    if min(top, bot, left, right) < 0 or not 0 <= type <= 4:
        raise ArgumentError(f"the border must not be negative and its type 0 to 4, got top={top}, bot={bot}, "
                            f"left={left}, right={right}, type={type}")
    if type:
        rows, columns = _beyond(h, top, bot, type), _beyond(w, left, right, type)
        return xp.take(xp.take(src, xp.asarray(rows), axis=0), xp.asarray(columns), axis=1)
    if values and len(values) != c:
        raise ArgumentError(f"values must be {c} numbers, one for each channel, got {values}")
    fill = np.array(values or (value,), np.float64)
    fill = (np.rint(fill) if src.dtype.kind in "iu" else fill).astype(src.dtype)
    out = xp.empty((h + top + bot, w + left + right, c), src.dtype)
    xp.setitem(out, (slice(None),) * 3, xp.asarray(fill))
    xp.setitem(out, (slice(top, top + h), slice(left, left + w)), src)
    return out


@lru_cache(maxsize=64)
def _mirrored(width: int, channels: int) -> np.ndarray:
    """Where each number of a row of pixels comes from in the mirror image."""
    return (np.arange(width)[::-1, None] * channels + np.arange(channels)).ravel()


def _flip(xp, data, axis):
    h, w, c = _picture(data.shape, batched=False)
    if axis == 0:
        return xp.copy(data[::-1])
    rows = xp.reshape(data, (h, w * c))  # three times as fast as data[:, ::-1], whose inner loop is a pixel
    return xp.reshape(xp.take(rows, xp.asarray(_mirrored(w, c)), axis=1), (h, w, c))


@register("_image_flip_left_right", aliases=("_npx__image_flip_left_right",), infer=_single)
def flip_left_right(xp, data):
    """The mirror image of a picture.

    >>> nd.image.flip_left_right(nd.array([[[1], [2], [3]]])).asnumpy().ravel()
    array([3., 2., 1.], dtype=float32)
    """
    return _flip(xp, data, 1)


@flip_left_right.gradient
def _(n, g):
    return flip_left_right(g)


@register("_image_flip_top_bottom", aliases=("_npx__image_flip_top_bottom",), infer=_single)
def flip_top_bottom(xp, data):
    """A picture turned upside down (mirrored, not rotated).

    >>> nd.image.flip_top_bottom(nd.array([[[1]], [[2]]])).asnumpy().ravel()
    array([2., 1.], dtype=float32)
    """
    return _flip(xp, data, 0)


@flip_top_bottom.gradient
def _(n, g):
    return flip_top_bottom(g)


def _flip_perhaps(xp, data, axis, rng):
    chosen = rng.random() < 0.5
    if isinstance(chosen, bool):
        return _flip(xp, data, axis) if chosen else xp.copy(data)
    return xp.where(chosen, _flip(xp, data, axis), data)  # known on the device only


@register("_image_random_flip_left_right", aliases=("_npx__image_random_flip_left_right",), infer=_single, nograd=True)
def random_flip_left_right(xp, data, *, rng):
    """The picture or its mirror image, with equal probability."""
    return _flip_perhaps(xp, data, 1, rng)


@register("_image_random_flip_top_bottom", aliases=("_npx__image_random_flip_top_bottom",), infer=_single, nograd=True)
def random_flip_top_bottom(xp, data, *, rng):
    """The picture as it is or upside down, with equal probability."""
    return _flip_perhaps(xp, data, 0, rng)


# ---------------------------------------------------------------- colour
def _factor(xp, rng, low, high):
    """A random number between two that are not negative: a float, or on a device an array of one float32."""
    if low < 0 or high < 0:
        raise ArgumentError(f"factors must not be negative, got {low} and {high}")
    value = min(low, high) + abs(high - low) * rng.random()
    return value if isinstance(value, float) else xp.astype(value, _F4)


def _grey(xp, x):
    return x[..., 0] * _GREY[0] + x[..., 1] * _GREY[1] + x[..., 2] * _GREY[2]


def _brightness(xp, x, factor):
    return x * factor


def _contrast(xp, x, factor):
    grey = _grey(xp, x) if x.shape[2] == 3 else x
    return x * factor + (1 - factor) * xp.mean(grey)


def _saturation(xp, x, factor):
    if x.shape[2] == 1:
        return x
    # MXNet's grey value is the share of blue alone; kept, for programs tuned with it
    return x * factor + x[..., 2:] * xp.asarray(np.float32(_GREY[2])) * (1 - factor)


def _hue(xp, x, factor):
    """Turn the hue by ``factor`` of a full circle in the HLS model (Joblove & Greenberg 1978), rounding as OpenCV."""
    if x.shape[2] == 1:
        return x
    planes = xp.ascontiguousarray(xp.transpose(x, (2, 0, 1))) / 255.0
    r, g, b = planes[0], planes[1], planes[2]
    high, low = xp.max(planes, axis=0), xp.min(planes, axis=0)
    span, both = high - low, high + low
    light = both * 0.5
    coloured = span > 1.1920929e-07
    strength = span / xp.where(coloured, xp.where(light < 0.5, both, 2.0 - high - low), 1.0)
    sixty = 60.0 / xp.where(coloured, span, 1.0)
    hue = xp.where(high == r, (g - b) * sixty, xp.where(high == g, (b - r) * sixty + 120.0, (r - g) * sixty + 240.0))
    hue = (xp.where(hue < 0, hue + 360.0, hue) + factor * 360.0) * np.float32(1 / 60.0)
    hue = hue - 6.0 * xp.floor(hue / 6.0)
    top = xp.where(light <= 0.5, light * (1.0 + strength), light + strength - light * strength)
    bottom = 2.0 * light - top
    # along the colour circle each channel rises, stays high, falls and stays low
    place = xp.stack([xp.maximum(2.0 - hue, hue - 4.0), xp.minimum(hue, 4.0 - hue), xp.minimum(hue - 2.0, 6.0 - hue)])
    between = bottom + (top - bottom) * xp.maximum(place, 0.0)
    out = xp.where(coloured, xp.where(place >= 1.0, top, between), light) * 255.0
    return xp.ascontiguousarray(xp.transpose(out, (1, 2, 0)))


def _recoloured(xp, data, change, factor):
    """One change of colour of one picture, computed in float32 or float64."""
    if _picture(data.shape, batched=False)[2] not in (1, 3):
        raise ShapeError(f"The last dimension of input image must be the channel dimension with either 1 or 3 "
                         f"elements, but got input with shape {data.shape}")
    x = data if data.dtype.char in "fd" else xp.astype(data, _F4)
    new = change(xp, x, factor)
    return xp.copy(data) if new is x else _clipped(xp, new, data.dtype)


@register("_image_random_brightness", aliases=("_npx__image_random_brightness",), infer=_single, nograd=True)
def random_brightness(xp, data, *, min_factor: float, max_factor: float, rng):
    """The picture times a random factor between ``min_factor`` and ``max_factor``.

    >>> nd.image.random_brightness(nd.ones((1, 1, 3)), 2, 2).asnumpy().ravel()
    array([2., 2., 2.], dtype=float32)
    """
    return _recoloured(xp, data, _brightness, _factor(xp, rng, min_factor, max_factor))


@register("_image_random_contrast", aliases=("_npx__image_random_contrast",), infer=_single, nograd=True)
def random_contrast(xp, data, *, min_factor: float, max_factor: float, rng):
    """Differences from the mean grey times a random factor between ``min_factor`` and ``max_factor``.

    >>> nd.image.random_contrast(nd.array([[[10], [30]]]), 0.5, 0.5).asnumpy().ravel()
    array([15., 25.], dtype=float32)
    """
    return _recoloured(xp, data, _contrast, _factor(xp, rng, min_factor, max_factor))


@register("_image_random_saturation", aliases=("_npx__image_random_saturation",), infer=_single, nograd=True)
def random_saturation(xp, data, *, min_factor: float, max_factor: float, rng):
    """Colours strengthened by a random factor between ``min_factor`` and ``max_factor``.

    As in MXNet, what is mixed in is 0.114 times the blue channel rather than the grey value.

    >>> nd.image.random_saturation(nd.array([[[10, 20, 30]]]), 1, 1).asnumpy().ravel()
    array([10., 20., 30.], dtype=float32)
    """
    return _recoloured(xp, data, _saturation, _factor(xp, rng, min_factor, max_factor))


@register("_image_random_hue", aliases=("_npx__image_random_hue",), infer=_single, nograd=True)
def random_hue(xp, data, *, min_factor: float, max_factor: float, rng):
    """The hue turned by a random share of the colour circle between ``min_factor`` and ``max_factor``.

    >>> nd.image.random_hue(nd.array([[[255, 0, 0]]]), 1 / 3, 1 / 3).asnumpy().ravel().round()
    array([  0., 255.,   0.], dtype=float32)
    """
    return _recoloured(xp, data, _hue, _factor(xp, rng, min_factor, max_factor))


@register("_image_random_color_jitter", aliases=("_npx__image_random_color_jitter",), infer=_single, nograd=True)
def random_color_jitter(xp, data, *, brightness: float, contrast: float, saturation: float, hue: float, rng):
    """Random brightness, contrast, saturation and hue, in random order.

    Each factor is drawn from ``[max(0, 1 - v), 1 + v]``; 0 leaves that property alone.
    """
    _picture(data.shape, batched=False)
    changes = [(_brightness, brightness), (_contrast, contrast), (_saturation, saturation), (_hue, hue)]
    order = rng.permutation(4)
    for i in range(4):
        change, strength = changes[xp.item(order[i])]
        if strength > 0:
            data = _recoloured(xp, data, change, _factor(xp, rng, max(0.0, 1.0 - strength), 1.0 + strength))
    return xp.copy(data)


def _lighted(xp, data, alpha):
    """The picture plus ``alpha`` (three numbers, an array) along the principal axes of ImageNet's colours."""
    channels = _picture(data.shape, batched=False)[2]
    if channels == 1:
        return xp.copy(data)
    if channels != 3:
        raise ShapeError(f"the picture must have 1 or 3 channels, but its shape is {data.shape}")
    x = data if data.dtype.char in "fd" else xp.astype(data, _F4)
    shift = xp.sum(xp.asarray(_PCA) * alpha, axis=1)
    return _clipped(xp, x + xp.astype(shift, x.dtype), data.dtype)


@register("_image_adjust_lighting", aliases=("_npx__image_adjust_lighting",), infer=_single)
def adjust_lighting(xp, data, *, alpha: Floats):
    """The picture plus given amounts of ImageNet's three principal colours (AlexNet's noise, Krizhevsky et al. 2012).

    >>> nd.image.adjust_lighting(nd.zeros((1, 1, 3)), alpha=(1, 0, 0)).asnumpy().ravel().round(2)
    array([-31.47, -32.21, -32.37], dtype=float32)
    """
    if len(alpha) != 3:
        raise ArgumentError(f"alpha must have three elements, got {alpha}")
    return _lighted(xp, data, xp.asarray(np.array(alpha, np.float32)))


@adjust_lighting.gradient
def _(n, g):
    return g


@register("_image_random_lighting", aliases=("_npx__image_random_lighting",), infer=_single, nograd=True)
def random_lighting(xp, data, *, alpha_std: float = 0.05, rng):
    """The picture plus normally distributed amounts (standard deviation ``alpha_std``) of ImageNet's principal colours.

    >>> nd.image.random_lighting(nd.ones((1, 1, 3)), alpha_std=0).asnumpy().ravel()
    array([1., 1., 1.], dtype=float32)
    """
    return _lighted(xp, data, xp.astype(rng.standard_normal((3,)) * alpha_std, _F4))
