"""What mxcore loads. Nothing is entered where there is no compiler."""

from typing import Any

from mxcore.hookspecs import hookimpl


@hookimpl
def mxcore_kernels(backend: str) -> dict[str, Any] | None:
    """Fused loops of compiled programs over NumPy storage."""
    if backend != "numpy":
        return None
    from .compiler import missing

    if missing():
        return None
    from mxcore.registry.kernels import KernelEntry

    return {"_fused": KernelEntry(None, 20, None, "native", "mxcore_native.fused:bind")}


@hookimpl
def mxcore_describe() -> str:
    """The compiler and what it did, or why there is none."""
    from .compiler import missing

    reason = missing()
    if reason:
        return reason
    from .workshop import describe

    return describe()
