"""Optimizer states as bytes, in the form in which MXNet 1.x writes and reads them."""

import io
import pickle
import pickletools
from typing import Any

from ..ndarray import NDArray
from ..ndarray.files import reduced

__all__ = ["dumps"]

#: pickles of protocol 3, which MXNet's Pythons read and whose class names can be exchanged, hold no longer bytes
LONGEST = 2 ** 32 - 1


def _array(handle: None) -> None:
    """Stands for MXNet's NDArray in what the pickler writes; its name is exchanged afterwards."""


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, NDArray):
            return NotImplemented
        record = reduced(value)[1][0]
        if len(record) > LONGEST:
            raise OverflowError
        return _array, (None,), {"handle": bytearray(record)}


def _mxnet_name(module: str, name: str) -> tuple[str, str]:
    """What MXNet calls one of mxcore's classes."""
    if (module, name) == (__name__, "_array"):
        return "mxnet.ndarray.ndarray", "NDArray"
    package, _, rest = module.partition(".")
    if package != "mxcore":
        return module, name
    if rest.startswith("optimizer.") and rest != "optimizer.contrib":
        rest = "optimizer.optimizer"
    return f"mxnet.{rest}", name


def dumps(value: Any) -> bytes:
    """Pickle states, so that MXNet can read them and so can :func:`mxcore.files.pickles.loads`.

    Arrays are written as MXNet's NDArrays, optimizers and schedules as MXNet's. States that hold an array of more than
    4 GiB are written under mxcore's own names, for Python cannot write them otherwise.

    >>> from mxcore.files import pickles
    >>> pickles.loads(dumps({0: nd.array([1])}))[0].asscalar()
    1.0
    """
    stream = io.BytesIO()
    try:
        _Pickler(stream, protocol=3).dump(value)
    except OverflowError:
        return pickle.dumps(value, protocol=4)
    data = stream.getvalue()
    parts, done = [], 0
    for opcode, argument, position in pickletools.genops(data):
        if opcode.name == "GLOBAL" and argument is not None and position is not None:
            module, name = argument.split(" ")
            parts += [data[done:position], b"c", "\n".join((*_mxnet_name(module, name), "")).encode()]
            done = position + len(f"c{module}\n{name}\n".encode())
    return b"".join((*parts, data[done:]))
