"""What mxcore loads first: says cheaply what this backend serves; imports CuPy at first use."""

from typing import Any

from mxcore.hookspecs import BackendInfo, hookimpl


def _describe() -> str:
    from .devices import describe

    return describe()


@hookimpl
def mxcore_backend_info() -> BackendInfo:
    """Graphics processors of NVIDIA, before any other backend."""
    return BackendInfo("cupy", {"gpu": 100, "cuda": 100}, _describe)


@hookimpl
def mxcore_kernels(backend: str) -> dict[str, Any] | None:
    """Kernels for windows and updates; the other operators are made of functions and expressions."""
    if backend != "cupy":
        return None
    from mxcore_device.table import kernels

    return kernels()


@hookimpl
def mxcore_backend(name: str) -> Any:
    """The backend object."""
    if name != "cupy":
        return None
    from .backend import CudaBackend

    return CudaBackend()
