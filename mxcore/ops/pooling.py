"""Pooling over sliding windows.

Averages and sums are linear: the gradient of ``Pooling`` is ``_pool_spread``, and the gradient of that is ``Pooling``.
A maximum passes gradients to one place of each window, the first that holds it: ``_pool_scatter``, whose own gradient
is ``_pool_gather``. So every order of derivative exists.
"""

from functools import lru_cache
from math import prod
from typing import Literal

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..registry import OPS, Shape, elementwise, register, rules
from ..registry import expr as E
from .window import complete, places, taps

_LAYOUTS = Literal["NCDHW", "NCHW", "NCW", "NDHWC", "NHWC", "NWC"]
_KINDS = Literal["avg", "lp", "max", "sum"]
_CONVENTIONS = Literal["full", "same", "valid"]


class Windows:
    """Geometry of the windows of one pooling: all that kernels need, computed once for each shape.

    Attributes
    ----------
    first : int
        The first spatial axis, 1 (channel-last) or 2.
    spatial, kernel, stride, pad, counts : tuple of int
        Sizes of the input and the window, steps, padding before the input, numbers of windows.
    after : tuple of int
        Padding after the input that the last windows reach.
    """

    def __init__(self, shape, kernel, global_pool, convention, stride, pad, layout):
        last = layout is not None and layout[-1] == "C"
        self.first = 1 if last else 2
        self.spatial = shape[1:-1] if last else shape[2:]
        if global_pool:
            kernel, stride, pad = self.spatial, (), ()
        elif not kernel:
            raise ArgumentError("kernel is needed unless global_pool is set")
        if len(kernel) != len(self.spatial) or not 1 <= len(kernel) <= 3:
            raise ShapeError(f"kernel={kernel} needs one number for each spatial axis of data {shape}, 1 to 3 of them")
        if layout is not None and len(layout) != len(shape):
            raise ArgumentError(f"layout {layout} does not fit data {shape}")
        self.kernel = kernel
        self.stride, _, self.pad = complete(kernel, stride, (), pad)
        self.counts = tuple(map(self._count, self.spatial, kernel, self.stride, self.pad, [convention] * len(kernel)))
        self.after = tuple(max(0, (o - 1) * s + k - d - p) for o, s, k, d, p in
                           zip(self.counts, self.stride, kernel, self.spatial, self.pad, strict=True))

    @staticmethod
    def _count(d, k, s, p, convention):
        if d < 0:
            return -1
        if convention == "same":
            if p:
                raise ArgumentError("pooling_convention='same' goes without pad")
            return -(-d // s)
        if k > d + 2 * p:
            raise ShapeError(f"a window of {k} exceeds the input of {d} padded by {p} on both sides")
        return (-(-(d + 2 * p - k) // s) if convention == "full" else (d + 2 * p - k) // s) + 1

    @property
    def padding(self):
        """Widths for ``xp.pad``."""
        before = [(0, 0)] * self.first
        return (*before, *zip(self.pad, self.after, strict=True), *([(0, 0)] if self.first == 1 else []))

    @property
    def inside(self):
        """Where the input lies in the padded array."""
        return (slice(None),) * self.first + tuple(slice(p, p + d) for p, d in zip(self.pad, self.spatial, strict=True))

    def output(self, shape):
        """Shape of the result."""
        return (shape[0], *self.counts, shape[-1]) if self.first == 1 else (*shape[:2], *self.counts)

    def at(self, tap):
        """Where element ``tap`` of all windows lies in the padded array."""
        return (slice(None),) * self.first + places(tap, self.counts, self.stride, (1,) * len(tap))

    def sizes(self, include_pad):
        """Elements that an average is taken over: a number, or an array over the windows (and channels, last)."""
        total = None
        axes = zip(self.spatial, self.kernel, self.stride, self.pad, self.counts, strict=True)
        for i, (d, k, s, p, n) in enumerate(axes):
            start = np.arange(n) * s - p
            if include_pad:
                size = np.minimum(start + k, d + p) - start
            else:
                size = np.minimum(start + k, d) - np.maximum(start, 0)
            size = np.maximum(size, 1).reshape((-1,) + (1,) * (len(self.counts) - 1 - i))
            total = size if total is None else total * size
        if (total == prod(self.kernel)).all():
            return prod(self.kernel)
        return total[..., None] if self.first == 1 else total


@lru_cache(maxsize=256)
def windows(shape, kernel, global_pool, pooling_convention, stride, pad, layout):
    """The geometry of a pooling; see :class:`Windows`."""
    return Windows(shape, kernel, global_pool, pooling_convention, stride, pad, layout)


def _geometry(attrs):
    return tuple(attrs[k] for k in ("kernel", "global_pool", "pooling_convention", "stride", "pad", "layout"))


def _pooling_shapes(attrs, ins):
    if attrs.pool_type == "lp" and attrs.p_value not in (1, 2, 3):
        raise ArgumentError(f"pool_type='lp' needs p_value 1, 2 or 3, got {attrs.p_value}")
    data = ins[0]
    if data is None:
        return ins, [None]
    if attrs.global_pool and -1 in data:  # the window would be of unknown size
        ones = tuple(1 for _ in data[2:])
        return ins, [(data[0], *ones, data[-1]) if (attrs.layout or "").endswith("C") else (*data[:2], *ones)]
    return ins, [windows(data, *_geometry(attrs)).output(data)]


def _wide(xp, a):
    return xp.astype(a, "float32") if a.dtype.itemsize < 4 else a


def _lowest(dtype):
    return float(np.finfo("float32" if dtype.itemsize < 4 and dtype.kind != "f" else dtype).min)


@register("Pooling", aliases=("_npx_pooling", "Pooling_v1"), infer=_pooling_shapes)
def pooling(xp, data, *, kernel: Shape = (), pool_type: _KINDS = "max", global_pool: bool = False,
            cudnn_off: bool = False, pooling_convention: _CONVENTIONS = "valid",
            stride: Shape = (), pad: Shape = (), p_value: int | None = None, count_include_pad: bool | None = None,
            layout: _LAYOUTS | None = None):
    """Maximum, average, sum or p-norm over sliding windows.

    Parameters
    ----------
    data : (N, C, spatial...) array
        1 to 3 spatial axes; channel-last when ``layout`` says so.
    kernel, stride, pad : tuple of int
        Size and step (1 by default) of the windows, and padding on both sides.
    pool_type : {"max", "avg", "sum", "lp"}
        ``lp`` is ``(sum x**p)**(1/p)`` with ``p_value`` 1, 2 or 3.
    global_pool : bool
        One window over all of the input; kernel, stride and pad are ignored.
    pooling_convention : {"valid", "full", "same"}
        Rounding of the number of windows: ``valid`` down, so that all lie inside; ``full`` up; ``same`` gives
        ``ceil(size / stride)``.
    count_include_pad : bool
        Whether an average divides by padded places too (default: yes).
    layout : str, optional
    cudnn_off
        Accepted for MXNet's sake, without effect.

    Raises
    ------
    ShapeError
        The window exceeds the padded input, or does not have as many axes.

    >>> nd.Pooling(nd.array([[[1, 5, 2, 3]]]), kernel=(2,), stride=(2,)).asnumpy()
    array([[[5., 3.]]], dtype=float32)
    """
    w = windows(data.shape, kernel, global_pool, pooling_convention, stride, pad, layout)
    fill, join = 0.0, xp.add
    x = data
    if pool_type == "max":
        fill, join = _lowest(data.dtype), xp.maximum
    else:
        x = _wide(xp, x)
        if pool_type == "lp":
            if p_value not in (1, 2, 3):
                raise ArgumentError(f"pool_type='lp' needs p_value 1, 2 or 3, got {p_value}")
            x = x if p_value == 1 else x * x if p_value == 2 else x * x * x
    if any(w.pad) or any(w.after):
        x = xp.pad(x, w.padding, constant_values=fill)
    y = None
    for tap in taps(w.kernel):
        piece = xp.getitem(x, w.at(tap))
        y = piece if y is None else join(y, piece)
    if pool_type == "avg":
        y = y / _divisor(xp, w, count_include_pad, y)
    elif pool_type == "lp" and p_value > 1:
        y = xp.sqrt(y) if p_value == 2 else xp.cbrt(y)
    return xp.astype(xp.ascontiguousarray(y), data.dtype)


def _divisor(xp, w, count_include_pad, like):
    sizes = w.sizes(count_include_pad is None or count_include_pad)
    return sizes if isinstance(sizes, int) else xp.asarray(sizes.astype(like.dtype))


@elementwise("_over", grad=(lambda lhs, rhs: E.where(rhs.eq(0), 0, 1 / rhs),
                            lambda lhs, rhs: E.where(rhs.eq(0), 0, -(lhs / (rhs * rhs)))))
def over(lhs, rhs):
    """``lhs / rhs``, and 0 where ``rhs`` is 0."""
    return E.where(rhs.eq(0), 0, lhs / rhs)


def _family(attrs):
    return {k: attrs[k] for k in ("kernel", "global_pool", "pooling_convention", "stride", "pad", "layout")}


@pooling.gradient
def _(n, g):
    a, at, x = n.attrs, _family(n.attrs), n.inputs[0]
    if a.pool_type == "max":
        return scatter(g, x, n.out(), **at)
    if a.pool_type == "lp":
        return _lp_backward(g, x, n.out(), a.p_value, at)
    return spread(g, x, pool_type=a.pool_type, count_include_pad=a.count_include_pad, **at)


def _lp_backward(g, x, out, p, at):
    """``x**(p-1)`` times what the windows spread of ``g / y**(p-1)``."""
    mul = OPS["elemwise_mul"]
    for _ in range(p - 1):
        g = over(g, out)
    dx = spread(g, x, pool_type="sum", **at)
    for _ in range(p - 1):
        dx = mul(dx, x)
    return dx


@register("_pool_spread", infer=rules.like_second, shape_only=("like",))
def spread(xp, dy, like, *, pool_type: Literal["avg", "sum"], count_include_pad: bool | None = None, kernel: Shape = (),
           global_pool: bool = False, pooling_convention: _CONVENTIONS = "valid", stride: Shape = (), pad: Shape = (),
           layout: _LAYOUTS | None = None):
    """Gradient of an average or a sum over windows: every place gets its share of each window that it lies in."""
    w = windows(like.shape, kernel, global_pool, pooling_convention, stride, pad, layout)
    g = _wide(xp, dy)
    if pool_type == "avg":
        g = g / _divisor(xp, w, count_include_pad, g)
    return _gathered(xp, w, like, dy, (g for _ in taps(w.kernel)))


def _gathered(xp, w, like, dy, pieces):
    """The sum of pieces, one a tap, at their places in an array of the shape of ``like``."""
    shape = tuple(d + before + after for d, (before, after) in zip(like.shape, w.padding, strict=True))
    x = None
    for tap, piece in zip(taps(w.kernel), pieces, strict=True):
        if x is None:
            x = xp.zeros(shape, piece.dtype)
        key = w.at(tap)
        xp.setitem(x, key, xp.getitem(x, key) + piece)
    return xp.astype(xp.ascontiguousarray(xp.getitem(x, w.inside)), dy.dtype)


@spread.gradient
def _(n, h):
    a = n.attrs
    return pooling(h, pool_type=a.pool_type, count_include_pad=a.count_include_pad, **_family(a)), None


def _first_maxima(xp, w, data, peak):
    """For each tap, where it is the first of its window to hold the maximum."""
    x = data
    if any(w.pad) or any(w.after):
        x = xp.pad(x, w.padding, constant_values=_lowest(data.dtype))
    free = None
    for tap in taps(w.kernel):
        here = xp.getitem(x, w.at(tap)) == peak
        if free is None:
            free = xp.logical_not(here)
        else:
            here = xp.logical_and(here, free)
            free = xp.logical_and(free, xp.logical_not(here))
        yield here


@register("_pool_scatter", infer=lambda a, s: (s, [s[1]]))
def scatter(xp, dy, data, peak, *, kernel: Shape = (), global_pool: bool = False,
            pooling_convention: _CONVENTIONS = "valid", stride: Shape = (), pad: Shape = (),
            layout: _LAYOUTS | None = None):
    """Gradient of max pooling: ``dy`` goes to the first place of each window that holds its maximum ``peak``."""
    w = windows(data.shape, kernel, global_pool, pooling_convention, stride, pad, layout)
    zero = xp.zeros((), dy.dtype)
    return _gathered(xp, w, data, dy, (xp.where(here, dy, zero) for here in _first_maxima(xp, w, data, peak)))


@scatter.gradient
def _(n, h):
    return gather(h, n.inputs[1], n.inputs[2], **_family(n.attrs)), None, None


@register("_pool_gather", infer=lambda a, s: (s, [s[2]]))
def gather(xp, values, data, peak, *, kernel: Shape = (), global_pool: bool = False,
           pooling_convention: _CONVENTIONS = "valid", stride: Shape = (), pad: Shape = (),
           layout: _LAYOUTS | None = None):
    """Of each window the element of ``values`` where ``data`` has the window's maximum ``peak``."""
    w = windows(data.shape, kernel, global_pool, pooling_convention, stride, pad, layout)
    if any(w.pad) or any(w.after):
        values = xp.pad(values, w.padding)
    y, zero = None, xp.zeros((), peak.dtype)
    for tap, here in zip(taps(w.kernel), _first_maxima(xp, w, data, peak), strict=True):
        term = xp.where(here, xp.getitem(values, w.at(tap)), zero)
        y = term if y is None else y + term
    return y


@gather.gradient
def _(n, g):
    return scatter(g, n.inputs[1], n.inputs[2], **_family(n.attrs)), None, None


# ---------------------------------------------------------------- local response normalisation
@register("_channel_sum", infer=rules.same)
def channel_sum(xp, data, *, nsize: int):
    """At each channel the sum over ``nsize`` channels around it; its own transpose."""
    if nsize % 2 == 0:
        raise ArgumentError(f"nsize={nsize} must be odd: a window has a middle")
    half, channels = nsize // 2, data.shape[1]
    x = xp.pad(data, ((0, 0), (half, half), *((0, 0),) * (data.ndim - 2)))
    y = None
    for i in range(nsize):
        piece = xp.getitem(x, (slice(None), slice(i, i + channels)))
        y = piece if y is None else y + piece
    return y


@channel_sum.gradient
def _(n, g):
    return channel_sum(g, nsize=n.attrs.nsize)


@register("LRN", infer=rules.same, composite=True)
def lrn(data, *, alpha: float = 9.99999975e-05, beta: float = 0.75, knorm: float = 2.0, nsize: int):
    """Local response normalisation across channels (Krizhevsky et al. 2012).

    ``data / (knorm + alpha / nsize * s)**beta`` with ``s`` the sum of squares over the ``nsize`` channels around each.

    >>> nd.LRN(nd.ones((1, 3, 1, 1)), nsize=3, alpha=3, knorm=0, beta=1).asnumpy().ravel().round(3)
    array([0.5  , 0.333, 0.5  ], dtype=float32)
    """
    scale = OPS["_mul_scalar"](channel_sum(OPS["square"](data), nsize=nsize), scalar=alpha / nsize)
    power = OPS["_power_scalar"](OPS["_plus_scalar"](scale, scalar=knorm), scalar=-beta)
    return OPS["elemwise_mul"](data, power)


__all__ = ["Windows", "windows"]
