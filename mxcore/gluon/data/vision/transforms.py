"""Transforms of pictures: blocks that take a picture and give the changed one.

A picture is an NDArray ``(height, width, channels)``, usually uint8; some transforms also take a batch of them. They
come before :class:`ToTensor`, except :class:`Normalize`, :class:`Rotate` and :class:`RandomRotation`, which take what
``ToTensor`` gives. Sizes are ``(width, height)`` or one number for both. Random transforms draw from ``mxcore.random``
if they are HybridBlocks, else from Python's ``random`` (rotations: ``numpy.random``), as in MXNet.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .... import ndarray as nd
from ...block import Block, HybridBlock
from ...nn import HybridSequential, Sequential
from .rotation import rotate

__all__ = ["Cast", "CenterCrop", "Compose", "CropResize", "Normalize", "RandomApply", "RandomBrightness",
           "RandomColorJitter", "RandomContrast", "RandomCrop", "RandomFlipLeftRight", "RandomFlipTopBottom",
           "RandomHue", "RandomLighting", "RandomResizedCrop", "RandomRotation", "RandomSaturation", "Resize", "Rotate",
           "ToTensor"]

Size = int | Sequence[int]


def _pair(size: Size) -> tuple[int, int]:
    """Width and height."""
    if isinstance(size, int):
        return size, size
    width, height = size
    return width, height


class Compose(Sequential):
    """Transforms applied one after another.

    Neighbouring HybridBlocks are put together and compiled as one graph.

    Parameters
    ----------
    transforms : list of Block or callable

    Examples
    --------
    >>> import mxcore as mx
    >>> change = Compose([Resize(30), CenterCrop(24), ToTensor()])
    >>> change(mx.nd.ones((40, 50, 3), dtype="uint8")).shape
    (3, 24, 24)
    """

    def __init__(self, transforms: Sequence[Callable]) -> None:
        super().__init__()
        run: list[HybridBlock] = []
        for transform in (*transforms, None):
            if isinstance(transform, HybridBlock):
                run.append(transform)
                continue
            if len(run) > 1:
                joined = HybridSequential()
                joined.add(*run)
                joined.hybridize()
                self.add(joined)
            elif run:
                run[0].hybridize()
                self.add(run[0])
            run = []
            if transform is not None:
                self.add(transform if isinstance(transform, Block) else _Function(transform))


class _Function(Block):
    """A plain function among the transforms."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Any) -> Any:
        return self._function(x)


class Cast(HybridBlock):
    """The values as another type.

    Parameters
    ----------
    dtype : str or numpy.dtype
    """

    def __init__(self, dtype: Any = "float32") -> None:
        super().__init__()
        self._dtype = dtype

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.cast(x, self._dtype)


class ToTensor(HybridBlock):
    """A picture ``(H, W, C)`` with values in [0, 255] as a float32 tensor ``(C, H, W)`` with values in [0, 1].

    Batches ``(N, H, W, C)`` become ``(N, C, H, W)``.

    Examples
    --------
    >>> import mxcore as mx
    >>> ToTensor()(mx.nd.full((1, 1, 3), 51, dtype="uint8")).asnumpy().ravel()
    array([0.2, 0.2, 0.2], dtype=float32)
    """

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.to_tensor(x)


class Normalize(HybridBlock):
    """``(x - mean) / std`` for each channel of a tensor ``(C, H, W)`` or ``(N, C, H, W)``.

    Parameters
    ----------
    mean, std : float or sequence of floats
        One number, or one for each channel.

    Examples
    --------
    >>> import mxcore as mx
    >>> Normalize(mean=(0, 1, 2), std=2)(mx.nd.ones((3, 1, 1))).asnumpy().ravel()
    array([ 0.5,  0. , -0.5], dtype=float32)
    """

    def __init__(self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        self._mean = tuple(mean) if isinstance(mean, (list, np.ndarray)) else mean
        self._std = tuple(std) if isinstance(std, (list, np.ndarray)) else std

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.normalize(x, self._mean, self._std)


class Resize(HybridBlock):
    """A picture, or a batch of pictures, in another size.

    Parameters
    ----------
    size : int or (width, height)
    keep_ratio : bool
        With one number: it is the length of the shorter edge, and the picture keeps its proportions.
    interpolation : int
        0 nearest, 1 bilinear, 2 bicubic, 3 area, 4 Lanczos, as in OpenCV.

    Examples
    --------
    >>> import mxcore as mx
    >>> Resize((20, 10))(mx.nd.ones((40, 50, 3), dtype="uint8")).shape
    (10, 20, 3)
    """

    def __init__(self, size: Size, keep_ratio: bool = False, interpolation: int = 1) -> None:
        super().__init__()
        self._size = size if isinstance(size, int) else tuple(size)
        self._keep = keep_ratio
        self._interpolation = interpolation

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.resize(x, self._size, self._keep, self._interpolation)


class CropResize(HybridBlock):
    """A piece of a picture (or of each of a batch), resized if a size is given.

    Parameters
    ----------
    x, y : int
        Column and row of the left upper corner.
    width, height : int
        Of the piece.
    size : int or (width, height), optional
        Of the result.
    interpolation : int, optional
        See :class:`Resize`; bilinear by default.
    """

    def __init__(self, x: int, y: int, width: int, height: int, size: Size | None = None,
                 interpolation: int | None = None) -> None:
        super().__init__()
        self._piece = {"x": x, "y": y, "width": width, "height": height}
        self._size = size if size is None or isinstance(size, int) else tuple(size)
        self._interpolation = 1 if interpolation is None else interpolation

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        out = F.image.crop(x, **self._piece)
        return out if self._size is None else F.image.resize(out, self._size, False, self._interpolation)


def _piece(picture: Any, x: int, y: int, width: int, height: int, size: tuple[int, int], interpolation: int) -> Any:
    """A piece of a picture, resized if it has not the size yet."""
    return _resized(nd.image.crop(picture, x=x, y=y, width=width, height=height), size, interpolation)


def _resized(picture: Any, size: tuple[int, int], interpolation: int) -> Any:
    return picture if _size_of(picture) == size else nd.image.resize(picture, size=size, interp=interpolation)


def _fitting(picture_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest width and height with the proportions of ``size`` that fit into the picture, at most ``size``."""
    (w, h), (width, height) = picture_size, (float(size[0]), float(size[1]))
    if h < height:
        width, height = width * h / height, h
    if w < width:
        width, height = w, height * w / width
    return max(int(width), 1), max(int(height), 1)


def _size_of(picture: Any) -> tuple[int, int]:
    height, width, _ = picture.shape
    return width, height


class CenterCrop(Block):
    """The middle of a picture. A picture that is too small is enlarged.

    Parameters
    ----------
    size : int or (width, height)
    interpolation : int
        For pictures that are too small; see :class:`Resize`.

    Examples
    --------
    >>> import mxcore as mx
    >>> CenterCrop((20, 10))(mx.nd.ones((40, 50, 3), dtype="uint8")).shape
    (10, 20, 3)
    """

    def __init__(self, size: Size, interpolation: int = 1) -> None:
        super().__init__()
        self._size = _pair(size)
        self._interpolation = interpolation

    def forward(self, x: Any) -> Any:
        w, h = _size_of(x)
        width, height = _fitting((w, h), self._size)
        return _piece(x, (w - width) // 2, (h - height) // 2, width, height, self._size, self._interpolation)


class RandomCrop(Block):
    """A piece of a picture at a random place, perhaps after a border was put around it.

    MXNet 1.9 has no such transform; GluonCV and later versions have. A picture that is too small is enlarged.

    Parameters
    ----------
    size : int or (width, height)
    padding : int or (horizontal, vertical) or (left, top, right, bottom), optional
        Width of the border.
    fill : number
        What the border holds.
    interpolation : int
        For pictures that are too small; see :class:`Resize`.
    pad : optional
        Another name of ``padding``.

    Examples
    --------
    >>> import mxcore as mx
    >>> RandomCrop(32, padding=4)(mx.nd.ones((32, 32, 3), dtype="uint8")).shape
    (32, 32, 3)
    """

    def __init__(self, size: Size, padding: Size | None = None, fill: float = 0, interpolation: int = 1, *,
                 pad: Size | None = None) -> None:
        super().__init__()
        self._size = _pair(size)
        border = padding if padding is not None else pad if pad is not None else 0
        if not isinstance(border, int) and len(border) == 4:
            self._border = tuple(border)
        else:
            self._border = _pair(border) * 2
        self._fill = fill
        self._interpolation = interpolation

    def forward(self, x: Any) -> Any:
        left, top, right, bottom = self._border
        w, h = _size_of(x)
        all_w, all_h = w + left + right, h + top + bottom
        width, height = _fitting((all_w, all_h), self._size)
        begin = random.randint(0, all_w - width) - left
        first = random.randint(0, all_h - height) - top
        out = nd.image.window(x, x=begin, y=first, width=width, height=height, fill=self._fill)
        return _resized(out, self._size, self._interpolation)


class RandomResizedCrop(Block):
    """A piece of random size, proportions and place, resized (Szegedy et al. 2015).

    Parameters
    ----------
    size : int or (width, height)
    scale : float or (smallest, largest)
        Area of the piece, as a part of the picture's.
    ratio : (smallest, largest)
        Width of the piece by its height.
    interpolation : int
        See :class:`Resize`.

    Notes
    -----
    Ten times at most a piece is drawn that may be larger than the picture; after that the middle is taken.

    Examples
    --------
    >>> import mxcore as mx
    >>> RandomResizedCrop(24)(mx.nd.ones((40, 50, 3), dtype="uint8")).shape
    (24, 24, 3)
    """

    def __init__(self, size: Size, scale: float | tuple[float, float] = (0.08, 1.0),
                 ratio: tuple[float, float] = (3.0 / 4.0, 4.0 / 3.0), interpolation: int = 1) -> None:
        super().__init__()
        self._size = _pair(size)
        self._scale = (scale, 1.0) if isinstance(scale, (int, float)) else scale
        self._ratio = ratio
        self._interpolation = interpolation

    def forward(self, x: Any) -> Any:
        w, h = _size_of(x)
        for _ in range(10):
            area = random.uniform(*self._scale) * w * h
            ratio = math.exp(random.uniform(math.log(self._ratio[0]), math.log(self._ratio[1])))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= w and 0 < height <= h:
                left, top = random.randint(0, w - width), random.randint(0, h - height)
                return _piece(x, left, top, width, height, self._size, self._interpolation)
        width, height = _fitting((w, h), self._size)
        return _piece(x, (w - width) // 2, (h - height) // 2, width, height, self._size, self._interpolation)


class RandomFlipLeftRight(HybridBlock):
    """The picture or its mirror image, with equal probability."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.random_flip_left_right(x)


class RandomFlipTopBottom(HybridBlock):
    """The picture as it is or upside down, with equal probability."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.random_flip_top_bottom(x)


class _RandomColour(HybridBlock):
    """One property of the colours changed by a random factor from ``[max(0, 1 - v), 1 + v]``."""

    _operator = ""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._range = max(0.0, 1.0 - value), 1.0 + value

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return getattr(F.image, self._operator)(x, *self._range)


class RandomBrightness(_RandomColour):
    """The picture times a random factor from ``[max(0, 1 - brightness), 1 + brightness]``."""

    _operator = "random_brightness"

    def __init__(self, brightness: float) -> None:
        super().__init__(brightness)


class RandomContrast(_RandomColour):
    """The contrast changed by a random factor from ``[max(0, 1 - contrast), 1 + contrast]``."""

    _operator = "random_contrast"

    def __init__(self, contrast: float) -> None:
        super().__init__(contrast)


class RandomSaturation(_RandomColour):
    """The saturation changed by a random factor from ``[max(0, 1 - saturation), 1 + saturation]``."""

    _operator = "random_saturation"

    def __init__(self, saturation: float) -> None:
        super().__init__(saturation)


class RandomHue(_RandomColour):
    """The hue turned by at most ``hue`` of the colour circle, either way."""

    _operator = "random_hue"

    def __init__(self, hue: float) -> None:
        super().__init__(hue)


class RandomColorJitter(HybridBlock):
    """Random brightness, contrast, saturation and hue, in random order; 0 leaves a property alone.

    Parameters
    ----------
    brightness, contrast, saturation, hue : float
        See :class:`RandomBrightness` and the others.
    """

    def __init__(self, brightness: float = 0, contrast: float = 0, saturation: float = 0, hue: float = 0) -> None:
        super().__init__()
        self._amounts = brightness, contrast, saturation, hue

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.random_color_jitter(x, *self._amounts)


class RandomLighting(HybridBlock):
    """Noise along the principal axes of ImageNet's colours, as for AlexNet (Krizhevsky et al. 2012).

    Parameters
    ----------
    alpha : float
        Standard deviation of the noise.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self._alpha = alpha

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.image.random_lighting(x, self._alpha)


class RandomApply(Sequential):
    """Transforms that are applied with probability ``p``, all or none.

    Parameters
    ----------
    transforms : Block, or list of them
    p : float
    """

    def __init__(self, transforms: Callable | Sequence[Callable], p: float = 0.5) -> None:
        super().__init__()
        self.transforms = transforms if callable(transforms) else Compose(transforms)
        self.p = p

    def forward(self, x: Any) -> Any:
        return x if self.p < random.random() else self.transforms(x)


class Rotate(Block):
    """Tensors turned counter-clockwise around their middle; size and proportions stay.

    Parameters
    ----------
    rotation_degrees : float
    zoom_in : bool
        Enlarge so that no corner of the result is empty.
    zoom_out : bool
        Shrink so that the whole picture is there.

    Raises
    ------
    TypeError
        If the tensor, ``(C, H, W)`` or ``(N, C, H, W)``, is not float32.

    Examples
    --------
    >>> import mxcore as mx
    >>> Rotate(90)(mx.nd.array([[[1, 2], [3, 4]]])).asnumpy().round(3).tolist()
    [[[2.0, 4.0], [1.0, 3.0]]]
    """

    def __init__(self, rotation_degrees: float, zoom_in: bool = False, zoom_out: bool = False) -> None:
        super().__init__()
        self._arguments = rotation_degrees, zoom_in, zoom_out

    def forward(self, x: Any) -> Any:
        return rotate(x, *self._arguments)


class RandomRotation(Block):
    """Tensors turned by a random angle; see :class:`Rotate`.

    Parameters
    ----------
    angle_limits : (lowest, highest)
        In degrees.
    zoom_in, zoom_out : bool
        See :class:`Rotate`.
    rotate_with_proba : float
        How probable it is that the tensor is turned at all.

    Raises
    ------
    ValueError
        If the limits are not in order, or the probability is none.
    """

    def __init__(self, angle_limits: tuple[float, float], zoom_in: bool = False, zoom_out: bool = False,
                 rotate_with_proba: float = 1.0) -> None:
        super().__init__()
        lowest, highest = angle_limits
        if lowest >= highest:
            raise ValueError("`angle_limits` must be an ordered tuple")
        if not 0 <= rotate_with_proba <= 1:
            raise ValueError("Probability of rotating the image should be between 0 and 1")
        self._limits = lowest, highest
        self._zoom = zoom_in, zoom_out
        self._probability = rotate_with_proba

    def forward(self, x: Any) -> Any:
        if np.random.random() > self._probability:
            return x
        return rotate(x, np.random.uniform(*self._limits), *self._zoom)
