"""Libraries of NVIDIA, called through ``ctypes``: found, statuses checked, what they make destroyed with its object."""

from __future__ import annotations

import ctypes as C
import sys
from collections.abc import Callable
from typing import Any

from mxcore.errors import MXNetError

__all__ = ["Library", "Made", "UnservedError"]


class UnservedError(MXNetError):
    """A library has nothing for these shapes, types and attributes on this device."""


class Made(C.c_void_p):
    """A handle or descriptor, destroyed with the object."""

    destroy: Any = None

    def __del__(self) -> None:
        if self.value and self.destroy is not None and not sys.is_finalizing():  # then the driver may be gone
            self.destroy(self)


class Library:
    """A library of the wheels of NVIDIA or of the system, whose functions answer a status.

    Parameters
    ----------
    name, title : str
        What pathfinder and people call it.
    words : str
        Its function from a status to a text.
    unserved : callable
        Whether a status says that there is nothing for a call on this device.

    Attributes
    ----------
    loaded : ctypes.CDLL

    Raises
    ------
    LookupError
        It is not installed.
    """

    def __init__(self, name: str, title: str, words: str, unserved: Callable[[int], bool]) -> None:
        from cuda import pathfinder

        try:
            self.loaded: Any = C.CDLL(pathfinder.load_nvidia_dynamic_lib(name).abs_path)
        except (pathfinder.DynamicLibNotFoundError, OSError) as error:
            raise LookupError(str(error)) from error
        self.title, self.unserved = title, unserved
        self.words = getattr(self.loaded, words)
        self.words.restype = C.c_char_p

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call a function by its name.

        Raises
        ------
        UnservedError, MXNetError
        """
        status = getattr(self.loaded, name)(*arguments)
        if status:
            raise self.error(name, status)

    def error(self, name: str, status: int) -> MXNetError:
        """What a status of a function means."""
        words = self.words(status)
        kind = UnservedError if self.unserved(status) else MXNetError
        return kind(f"{self.title}: {name} failed: {words.decode() if words else status}")

    def made(self, create: str, *arguments: Any) -> Made:
        """What a function ``...Create...`` makes, which the one called ``...Destroy...`` will destroy."""
        new = Made()
        self(create, C.byref(new), *arguments)
        new.destroy = getattr(self.loaded, create.replace("Create", "Destroy"))
        return new
