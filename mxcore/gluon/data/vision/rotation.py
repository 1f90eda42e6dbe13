"""Turning pictures by any angle, with bilinear interpolation, on the host."""

import math

import numpy as np

from .... import ndarray as nd
from ..batchify import from_host, host_array

__all__ = ["rotate"]


def rotate(tensor: nd.NDArray, degrees: float, zoom_in: bool = False, zoom_out: bool = False) -> nd.NDArray:
    """Turn a tensor counter-clockwise around its middle; what comes from outside is 0.

    Parameters
    ----------
    tensor : NDArray
        float32, ``(C, H, W)`` or ``(N, C, H, W)``.
    degrees : float
        The angle.
    zoom_in, zoom_out : bool
        Enlarge until no corner is empty, or shrink until nothing is lost; not both.

    Returns
    -------
    NDArray
        Of the same shape, on the same device.

    Raises
    ------
    TypeError
        If ``tensor`` is not float32.
    ValueError
        If both zooms are asked for, or the shape is not that of a tensor of pictures.
    """
    if zoom_in and zoom_out:
        raise ValueError("`zoom_in` and `zoom_out` cannot be both True")
    if tensor.dtype is not np.float32:
        raise TypeError("This transformation only supports float32. Consider calling it after ToTensor")
    if tensor.ndim not in (3, 4):
        raise ValueError(f"rotate takes (C, H, W) or (N, C, H, W), but got shape {tensor.shape}")
    source = host_array(tensor)
    h, w = source.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # how much larger than the picture the box around the turned picture is
    excess = max(abs(cos) + abs(sin) * h / w, abs(cos) + abs(sin) * w / h)
    zoom = 1 / excess if zoom_in else excess if zoom_out else 1.0
    y = (np.arange(h)[:, None] - (h - 1) / 2) * zoom
    x = (np.arange(w) - (w - 1) / 2) * zoom
    column = x * cos - y * sin + (w - 1) / 2
    row = x * sin + y * cos + (h - 1) / 2
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    out = np.zeros_like(source)
    for dx, across in ((0, left + 1 - column), (1, column - left)):
        for dy, down in ((0, top + 1 - row), (1, row - top)):
            i, j = top + dy, left + dx
            weight = np.where((i >= 0) & (i < h) & (j >= 0) & (j < w), across * down, 0).astype(np.float32)
            out += source[..., i.clip(0, h - 1), j.clip(0, w - 1)] * weight
    return from_host(out, tensor.context, type(tensor))
