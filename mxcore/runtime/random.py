"""Random numbers: one generator a device, all derived from one seed, the same for eager and compiled programs."""

from __future__ import annotations

import secrets
from typing import Any

from ..context import Context
from .device import device_of, devices

__all__ = ["seed", "seed_device"]

_SEED: list[int | None] = [None]
_OWN: dict[Context, int] = {}


def seed(seed_state: int, ctx: str | Context = "all") -> None:
    """Seed the random generators.

    Parameters
    ----------
    seed_state : int
    ctx : Context or "all"
        One device, or all devices, those first used later included. Devices get different streams from one seed.
    """
    value = int(seed_state)
    if ctx == "all":
        _SEED[0] = value
        _OWN.clear()
        for dev in devices():
            dev.random = None
    else:
        ctx = Context(ctx)
        _OWN[ctx] = value
        device_of(ctx).random = None


def seed_device(dev: Any) -> None:
    """Give a device its generator."""
    if dev.ctx in _OWN:
        dev.random = dev.backend.rng(_OWN[dev.ctx], dev.index)
        return
    if _SEED[0] is None:
        _SEED[0] = secrets.randbits(31)
    dev.random = dev.backend.rng(_SEED[0], dev.index)
