"""What mxcore loads. Kernels are entered only where the library is; they are imported when they are needed."""

from typing import Any

from mxcore.hookspecs import hookimpl


@hookimpl
def mxcore_kernels(backend: str) -> dict[str, Any] | None:
    """Kernels for NumPy storage, where oneDNN is to be had."""
    if backend != "numpy":
        return None
    from .library import missing

    if missing():
        return None
    from .table import TABLE

    return TABLE


@hookimpl
def mxcore_describe() -> str:
    """The library's version, or why there is none."""
    from .library import locate, missing, version

    return missing() or f"oneDNN {version()} at {locate()}"
