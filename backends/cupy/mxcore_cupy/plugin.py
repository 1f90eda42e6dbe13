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
    """Kernels for windows, updates and recurrent layers; the other operators are made of functions and expressions."""
    if backend != "cupy":
        return None
    from mxcore.registry.kernels import KernelEntry
    from mxcore_device.table import kernels

    recurrent = {op: KernelEntry(f"mxcore_cupy.recurrent:{name}", 10, f"mxcore_cupy.recurrent:takes_{name}", "cudnn")
                 for op, name in (("RNN", "rnn"), ("_backward_RNN", "backward_rnn"))}
    return {**kernels(), **recurrent}


@hookimpl
def mxcore_backend(name: str) -> Any:
    """The backend object."""
    if name != "cupy":
        return None
    from .backend import CudaBackend

    return CudaBackend()
