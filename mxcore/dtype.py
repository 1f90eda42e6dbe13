"""Data types: NumPy dtypes, MXNet's integer codes for them, and bfloat16.

The codes are those written into ``.params`` files and ``__dtype__`` attributes.
"""

import numpy as np

__all__ = ["CODES", "FLOATS", "bfloat16", "code_of", "dtype_of", "is_floating", "name_of"]

#: MXNet's integer code -> name (bfloat16 has 12 in MXNet 1.9).
CODES: dict[int, str] = {
    0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool",
    8: "int16", 9: "uint16", 10: "uint32", 11: "uint64", 12: "bfloat16",
}
_NUMBER = {name: code for code, name in CODES.items()}
FLOATS = ("float16", "bfloat16", "float32", "float64")
_CACHE: dict[object, np.dtype] = {}


def bfloat16() -> np.dtype:
    """The bfloat16 dtype (from ``ml_dtypes``, imported at first use)."""
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def dtype_of(spec: object, default: object = "float32") -> np.dtype:
    """The NumPy dtype meant by ``spec``.

    Parameters
    ----------
    spec : None, str, int, type, numpy.dtype, or anything with a ``dtype``
        ``None`` means ``default``; an int is MXNet's type code; a string may also be a code ("0").

    Returns
    -------
    numpy.dtype

    Raises
    ------
    DTypeError
        If ``spec`` names no type that mxcore knows.

    Examples
    --------
    >>> dtype_of("float16"), dtype_of(4), dtype_of(None)
    (dtype('float16'), dtype('int32'), dtype('float32'))
    """
    try:
        found = _CACHE.get(spec)
    except TypeError:  # not hashable: it must carry a dtype
        found = None
    if found is not None:
        return found
    if spec is None:
        return dtype_of(default)
    result = _resolve(spec)
    if result.name not in _NUMBER:
        from .errors import DTypeError

        raise DTypeError(f"{spec!r} is not a data type of mxcore; there are {', '.join(_NUMBER)}")
    if isinstance(spec, (str, type, np.dtype)):  # not int: True and 1.0 would find what 1 means
        _CACHE[spec] = result
    return result


def _resolve(spec: object) -> np.dtype:
    if isinstance(spec, np.dtype):
        return spec.newbyteorder("=") if spec.byteorder == ">" else spec
    if isinstance(spec, str):
        if spec == "bfloat16":
            return bfloat16()
        if spec.lstrip("-").isdigit():
            spec = int(spec)
    if isinstance(spec, int) and not isinstance(spec, bool):
        if spec in CODES:
            return dtype_of(CODES[spec])
    elif not isinstance(spec, type) and hasattr(spec, "dtype"):
        return dtype_of(spec.dtype)  # "anything with a dtype" is a dtype argument
    else:
        try:
            return np.dtype(spec)  # type: ignore[call-overload]
        except TypeError:
            pass
    from .errors import DTypeError

    raise DTypeError(f"{spec!r} is not a data type; try one of {', '.join(_NUMBER)}")


def code_of(dtype: object) -> int:
    """MXNet's integer code of ``dtype``.

    >>> code_of("float32"), code_of("int64")
    (0, 6)
    """
    return _NUMBER[dtype_of(dtype).name]


def name_of(dtype: object) -> str:
    """The name of ``dtype`` as MXNet writes it in attributes.

    >>> name_of(np.float32)
    'float32'
    """
    return dtype_of(dtype).name


def is_floating(dtype: np.dtype) -> bool:
    """Whether gradients can flow through values of ``dtype``."""
    return dtype.kind == "f" or dtype.name == "bfloat16"
