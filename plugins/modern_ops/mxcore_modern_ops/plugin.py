"""What mxcore loads. Imports nothing heavy: operators and kernels are imported when they are needed."""

from typing import Any

from mxcore.hookspecs import hookimpl


@hookimpl
def mxcore_operators() -> None:
    """Register the operators."""
    from . import operators  # noqa: F401  (importing registers)


@hookimpl
def mxcore_kernels(backend: str) -> dict[str, Any] | None:
    """A kernel that beats the generic one on NumPy."""
    return {"rms_norm": "mxcore_modern_ops.numpy_kernels:rms_norm"} if backend == "numpy" else None
