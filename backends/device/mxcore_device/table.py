"""The kernels that a backend enters besides functions and expressions (``mxcore_kernels`` of its plugin)."""

from __future__ import annotations

from typing import Any

from .updates import table as updates

__all__ = ["kernels"]

_WINDOWS = {"_conv": "conv", "_conv_data": "conv_data", "_conv_weight": "conv_weight", "Pooling": "pooling",
            "_pool_spread": "spread", "_pool_scatter": "scatter"}


def kernels() -> dict[str, Any]:
    """Operator to kernel, or where it is."""
    return {**updates(), **{op: f"mxcore_device.windows:{function}" for op, function in _WINDOWS.items()}}
