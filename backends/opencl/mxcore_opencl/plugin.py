"""What mxcore loads first: says cheaply what this backend serves; imports PyOpenCL at first use."""

from typing import Any

from mxcore.hookspecs import BackendInfo, hookimpl


def _describe() -> str:
    import pyopencl

    from .platforms import devices

    found = ", ".join(f"{d.name.strip()} ({d.platform.name.strip()})" for d in devices())
    return f"PyOpenCL {pyopencl.VERSION_TEXT}: {found}"


@hookimpl
def mxcore_backend_info() -> BackendInfo:
    """Graphics processors, at a priority below CUDA's; as ``mx.opencl(i)`` all devices, CPUs too."""
    return BackendInfo("opencl", {"gpu": 50, "opencl": 100}, _describe)


@hookimpl
def mxcore_kernels(backend: str) -> dict[str, Any] | None:
    """Kernels for windows and updates; the other operators are made of functions and expressions."""
    if backend != "opencl":
        return None
    from mxcore_device.table import kernels

    return kernels()


@hookimpl
def mxcore_backend(name: str) -> Any:
    """The backend object."""
    if name != "opencl":
        return None
    from .backend import OpenCLBackend

    return OpenCLBackend()
