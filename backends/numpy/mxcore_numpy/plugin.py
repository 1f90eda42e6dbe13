"""What mxcore loads first: says cheaply what this backend serves; imports NumPy code at first use."""

from typing import Any

from mxcore.hookspecs import BackendInfo, hookimpl


def _describe() -> str:
    import numpy

    return f"NumPy {numpy.__version__}"


@hookimpl
def mxcore_backend_info() -> BackendInfo:
    """The CPU, at a priority that faster backends can exceed."""
    return BackendInfo("numpy", {"cpu": 100}, _describe)


@hookimpl
def mxcore_backend(name: str) -> Any:
    """The backend object."""
    if name != "numpy":
        return None
    from .backend import NumpyBackend

    return NumpyBackend()


@hookimpl
def mxcore_kernels(backend: str) -> dict[str, Any] | None:
    """Kernels that beat the generic ones."""
    if backend != "numpy":
        return None
    from .kernels import TABLE

    return TABLE
