"""What a backend computed elsewhere than on its device, counted: nothing moves to the host unseen."""

from __future__ import annotations

import collections
import warnings

from ..base import config
from ..errors import ArgumentError, KernelMissingError

__all__ = ["count_routed", "fall_back", "fallbacks", "routed"]

_FALLBACKS: collections.Counter[tuple[str, str]] = collections.Counter()
_ROUTED: collections.Counter[tuple[str, str]] = collections.Counter()


def fall_back(backend: str, function: str, reason: str = "") -> None:
    """A backend says that it is about to compute a function on the host, because the device cannot.

    With ``MXCORE_FALLBACK=warn`` (the default) the first time is a ``RuntimeWarning``, with ``allow`` it is only counted.

    Raises
    ------
    KernelMissingError
        With ``MXCORE_FALLBACK=error``.
    """
    mode = config("MXCORE_FALLBACK")
    if mode not in ("allow", "warn", "error"):
        raise ArgumentError(f"MXCORE_FALLBACK must be allow, warn or error, not {mode!r}")
    because = f" ({reason})" if reason else ""
    if mode == "error":
        raise KernelMissingError(f"backend {backend!r} has no kernel for {function!r}{because}, and MXCORE_FALLBACK=error "
                                 "forbids to compute it on the host")
    key = backend, function
    _FALLBACKS[key] += 1
    if mode == "warn" and _FALLBACKS[key] == 1:
        warnings.warn(f"backend {backend!r} computes {function!r} on the host{because}; mx.runtime.fallbacks() counts how often, "
                      "MXCORE_FALLBACK=allow silences this", RuntimeWarning, stacklevel=2)


def count_routed(backend: str, function: str) -> None:
    """A backend computes a function on the host by choice, because that is faster there (a CPU that is an OpenCL device)."""
    _ROUTED[backend, function] += 1


def fallbacks() -> dict[tuple[str, str], int]:
    """How often a backend computed a function on the host because its device cannot, by (backend, function)."""
    return dict(_FALLBACKS)


def routed() -> dict[tuple[str, str], int]:
    """How often a backend computed a function on the host because that is faster there, by (backend, function)."""
    return dict(_ROUTED)
