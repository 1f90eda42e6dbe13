"""Pictures (PNG, JPEG, ... what Pillow reads) as NumPy arrays."""

import io
import os

import numpy as np

from ..errors import FileFormatError, MXNetError

__all__ = ["decode_image", "read_image"]


def read_image(path: "str | os.PathLike[str]", flag: int = 1) -> np.ndarray:
    """Read a picture file.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    flag : {0, 1}
        1: colour, three channels in the order red, green, blue. 0: grey, one channel.

    Returns
    -------
    numpy.ndarray
        uint8, shape ``(height, width, 3 or 1)``, upright (turned as the file's EXIF data say), writable.

    Raises
    ------
    FileFormatError
        If the file is no picture that can be read, or is damaged.
    MXNetError
        If Pillow is not installed.
    OSError
        If the file cannot be opened.
    """
    with open(path, "rb") as file:
        return decode_image(file.read(), flag, os.fspath(path))


def decode_image(data: bytes, flag: int = 1, label: str = "picture") -> np.ndarray:
    """The same for the content of a file; ``label`` names it in errors.

    Examples
    --------
    >>> dot = bytes.fromhex("47494638376101000100800000ff0000000000" "2c00000000010001000002024401003b")
    >>> decode_image(dot).tolist(), decode_image(dot, flag=0).shape
    ([[[255, 0, 0]]], (1, 1, 1))
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MXNetError("reading pictures needs Pillow: pip install mxcore[image]") from error
    try:
        with Image.open(io.BytesIO(data)) as picture:
            upright = ImageOps.exif_transpose(picture)
            array = np.array((upright or picture).convert("RGB" if flag else "L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FileFormatError(f"{label}: cannot read this picture: {error}") from error
    return array if flag else array[:, :, None]
