"""Resizing pictures as OpenCV 3.4 does it, bit for bit for uint8: nearest, bilinear, bicubic, area, Lanczos.

A resized row (or column) is a weighted sum of a few source pixels, ``taps``. The tables of taps depend on the two
lengths only and are kept. uint8 is computed in fixed point with weights of 11 bits, everything else in floating point.
Interpolation codes are OpenCV's: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos over 8 pixels.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import ArgumentError

__all__ = ["resample"]

NEAREST, LINEAR, CUBIC, AREA, LANCZOS = range(5)
_BITS = 11
_ONE = 1 << _BITS
_F4, _I4, _I8, _U1 = (np.dtype(t) for t in ("float32", "int32", "int64", "uint8"))


def resample(xp: Any, data: Any, height: int, width: int, interp: int) -> Any:
    """Pictures ``(..., H, W, C)`` as ``(..., height, width, C)``, in the same type.

    Raises
    ------
    ArgumentError
        If ``interp`` is no known code.
    """
    if not NEAREST <= interp <= LANCZOS:
        raise ArgumentError(f"interp={interp} is no interpolation; there are 0 nearest, 1 linear, 2 cubic, 3 area and "
                            f"4 Lanczos")
    *lead, h, w, c = data.shape
    if (h, w) == (height, width):
        return xp.copy(data)
    whole = h % height == 0 and w % width == 0
    if interp == LINEAR and whole and h == 2 * height and w == 2 * width:
        interp = AREA  # OpenCV does so, for speed
    if interp == AREA and h >= height and w >= width:
        return _area(xp, data, height, width, whole)
    flat = xp.reshape(data, (*lead, h, w * c))  # long inner loops: a row of pixels is a row of numbers
    columns, rows = spread(w, width, c, interp), taps(h, height, interp, True)
    if interp == NEAREST:
        out = _pick(xp, _pick(xp, flat, rows[0][0], -2), columns[0][0], -1)
    elif data.dtype == _U1:
        out = _fixed_point(xp, flat, columns, rows)
    else:
        compute = data.dtype if data.dtype.char in "fd" else _F4
        out = _weighted(xp, xp.astype(flat, compute), *columns[:2], -1)
        out = _back(xp, _weighted(xp, out, rows[0], [r[:, None] for r in rows[1]], -2), data.dtype)
    return xp.reshape(out, (*lead, height, width, c))


def _pick(xp: Any, data: Any, index: np.ndarray, axis: int) -> Any:
    return xp.take(data, xp.asarray(index), axis=axis)


def _back(xp: Any, values: Any, dtype: np.dtype) -> Any:
    """Computed values in the type of the picture, integers rounded and within their range."""
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        values = xp.minimum(xp.maximum(xp.rint(values), float(low)), float(high))
    return xp.astype(values, dtype)


def _weighted(xp: Any, data: Any, indices: list, weights: list, axis: int) -> Any:
    """Sum over the taps, in the type of ``data``."""
    total = None
    for index, weight in zip(indices, weights, strict=True):
        part = _pick(xp, data, index, axis) * xp.asarray(weight if weight.dtype == data.dtype
                                                         else weight.astype(data.dtype))
        total = part if total is None else total + part
    return total


def _fixed_point(xp: Any, flat: Any, columns: tuple, rows: tuple) -> Any:
    """uint8: exact sums along the rows, then along the columns, and one rounding."""
    line = _weighted(xp, xp.astype(flat, _I4), columns[0], columns[2], -1)
    weights = [r[:, None] for r in rows[2]]
    if len(weights) == 2:  # linear: products of 16 bits, as in OpenCV's vector code
        line = line // 16
        upper, lower = (_pick(xp, line, i, -2) * xp.asarray(w) // 65536 for i, w in zip(rows[0], weights, strict=True))
        return xp.astype((upper + lower + 2) // 4, _U1)
    total = _weighted(xp, xp.astype(line, _I8), rows[0], weights, -2)
    total = (total + _ONE * _ONE // 2) // (_ONE * _ONE)
    return xp.astype(xp.minimum(xp.maximum(total, 0), 255), _U1)


def _area(xp: Any, data: Any, height: int, width: int, whole: bool) -> Any:
    """Shrinking: every new pixel is the mean of the area that it covers."""
    *lead, h, w, c = data.shape
    compute = data.dtype if data.dtype.char == "d" else _F4
    if whole:
        sy, sx = h // height, w // width
        blocks = xp.reshape(data, (*lead, height, sy, width, sx, c))
        axes = (len(lead) + 1, len(lead) + 3)
        if data.dtype == _U1 and sx == sy == 2:
            return xp.astype((xp.sum(xp.astype(blocks, _I4), axis=axes) + 2) // 4, _U1)
        total = xp.sum(xp.astype(blocks, _I4 if data.dtype == _U1 else compute), axis=axes)
        return _back(xp, xp.astype(total, compute) * compute.type(1 / (sx * sy)), data.dtype)
    across = xp.astype(xp.asarray(coverage(w, width)), compute)
    down = xp.astype(xp.asarray(coverage(h, height)), compute)
    out = xp.matmul(across, xp.astype(data, compute))
    out = xp.matmul(down, xp.reshape(out, (*lead, h, width * c)))
    return _back(xp, xp.reshape(out, (*lead, height, width, c)), data.dtype)


# ---------------------------------------------------------------- tables
@lru_cache(maxsize=512)
def spread(n: int, m: int, channels: int, interp: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The taps of columns, for rows whose pixels are ``channels`` numbers next to each other."""
    indices, *weights = taps(n, m, interp, False)
    numbers = np.arange(channels)
    return ([(i[:, None] * channels + numbers).ravel() for i in indices],
            *([np.repeat(w, channels) for w in table] for table in weights))  # type: ignore[return-value]


@lru_cache(maxsize=512)
def taps(n: int, m: int, interp: int, rows: bool) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Which source pixels make each of ``m`` new ones out of ``n``: indices, weights, weights in fixed point.

    Pixels beyond the border are those at the border. For columns, linear interpolation gives all weight to one pixel
    there, for rows it splits it, which rounds differently in fixed point (``rows`` says which).

    >>> index, weight, fixed = taps(2, 4, LINEAR, False)
    >>> index[0].tolist(), weight[1].tolist()
    ([0, 0, 0, 1], [0.0, 0.25, 0.75, 0.0])
    """
    inverse = m / n
    scale = 1.0 / inverse
    new = np.arange(m)
    one = np.float32(1)
    if interp == NEAREST:
        return [np.minimum(np.floor(new * scale).astype(np.int64), n - 1)], [], []
    if interp == AREA:  # enlarging
        start = np.floor(new * scale).astype(np.int64)
        f = ((new + 1) - (start + 1) * inverse).astype(np.float32)
        f = np.where(f <= 0, np.float32(0), f - np.floor(f))
    else:
        place = ((new + 0.5) * scale - 0.5).astype(np.float32)
        start = np.floor(place).astype(np.int64)
        f = (place - start).astype(np.float32)
    if interp in (LINEAR, AREA):
        if not rows:
            f = np.where((start < 0) | (start >= n - 1), np.float32(0), f)
            start = np.clip(start, 0, n - 1)
        first, weights = 0, [one - f, f]
    elif interp == CUBIC:
        first, weights = -1, _cubic(f)
    else:
        first, weights = -3, _lanczos(f)
    indices = [np.clip(start + first + k, 0, n - 1) for k in range(len(weights))]
    return indices, weights, [np.rint(w * np.float32(_ONE)).astype(_I4) for w in weights]


def _cubic(f: np.ndarray) -> list[np.ndarray]:
    """Weights of Keys' cubic convolution with a = -0.75 (Keys 1981), at distances 1 + f, f, 1 - f, 2 - f."""
    a, one = np.float32(-0.75), np.float32(1)
    far = ((a * (f + one) - 5 * a) * (f + one) + 8 * a) * (f + one) - 4 * a
    near = ((a + 2) * f - (a + 3)) * f * f + one
    next_ = ((a + 2) * (one - f) - (a + 3)) * (one - f) * (one - f) + one
    return [far, near, next_, one - far - near - next_]


def _lanczos(f: np.ndarray) -> list[np.ndarray]:
    """Weights of a Lanczos kernel of radius 4, normalised to 1 (constant factors of the kernel cancel)."""
    x = f.astype(np.float64)[:, None] + 3 - np.arange(8)
    hit = f < np.finfo(np.float32).eps
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = (np.sin(np.pi * x) * np.sin(np.pi * x / 4) / (x * x)).astype(np.float32)
    weights[hit] = np.eye(8, dtype=np.float32)[3]
    total = np.zeros(len(f), np.float32)
    for k in range(8):
        total = total + weights[:, k]
    return [weights[:, k] * (np.float32(1) / total) for k in range(8)]


@lru_cache(maxsize=64)
def coverage(n: int, m: int) -> np.ndarray:
    """Matrix ``(m, n)``: how much of each new, larger pixel the old ones cover; every row sums to 1.

    >>> coverage(3, 2).round(3).tolist()
    [[0.667, 0.333, 0.0], [0.0, 0.333, 0.667]]
    """
    scale = 1.0 / (m / n)
    out = np.zeros((m, n), np.float32)
    for i in range(m):
        left = i * scale
        right = left + scale
        size = min(scale, n - left)
        last = min(int(np.floor(right)), n - 1)
        begin = min(int(np.ceil(left)), last)
        if begin - left > 1e-3:
            out[i, begin - 1] = (begin - left) / size
        out[i, begin:last] = 1.0 / size
        if right - last > 1e-3:
            out[i, last] = min(right - last, 1.0, size) / size
    return out
