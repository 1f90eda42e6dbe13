"""Copies between devices as part of a recorded computation."""

from __future__ import annotations

from typing import Any

from ..registry import register, rules
from ..runtime.device import Device, moved
from ..runtime.invoke import STATE, record_call, wrap
from .ndarray import NDArray

__all__ = ["copy_recorded"]


@register("_copy_to_device", infer=rules.same)
def _copy_to_device(xp: Any, data: Any, *, source: object, target: object) -> Any:
    """The values on another device."""
    return move(data, source, target)


@_copy_to_device.gradient
def _(n: Any, g: Any) -> Any:
    source, target = n.attrs.source, n.attrs.target
    if isinstance(g, NDArray):
        return copy_recorded(g, source)
    if isinstance(g, target.array_type):
        return move(g, target, source)
    return _copy_to_device(g, source=target, target=source)


def move(raw: Any, source: Any, target: Any) -> Any:
    """A copy of a raw array of ``source`` on ``target``."""
    if source.backend is target.backend and source.index == target.index:
        return target.xp.copy(raw)
    return moved(raw, source, target)


def copy_recorded(x: NDArray, dev: Device) -> NDArray:
    """A copy of ``x`` on ``dev`` through which gradients flow back."""
    new = wrap(type(x), move(x._data, x._dev, dev), dev)
    if STATE.recording and x._entry is not None:
        attrs = _copy_to_device.parse({"source": x._dev, "target": dev})
        record_call(_copy_to_device, attrs, (x,), (new._data,), (new,))
    return new
