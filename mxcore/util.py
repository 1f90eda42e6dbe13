"""MXNet's ``mx.util``: questions about NumPy semantics and installed GPUs."""

from __future__ import annotations

from .context import gpu_memory_info, num_gpus

__all__ = ["get_gpu_count", "get_gpu_memory", "is_np_array", "is_np_shape", "makedirs"]


def is_np_shape() -> bool:
    """Whether shapes follow NumPy (0-dimensional and empty arrays); legacy semantics until the np front-end is on."""
    return False


def is_np_array() -> bool:
    """Whether Gluon works on ``mx.np`` arrays."""
    return False


def get_gpu_count() -> int:
    """How many GPUs ``mx.gpu(i)`` can name."""
    return num_gpus()


def get_gpu_memory(gpu_dev_id: int) -> tuple[int, int]:
    """Free and total bytes of a GPU."""
    return gpu_memory_info(gpu_dev_id)


def makedirs(d: str) -> None:
    """Make a folder and those above it; fine if it exists."""
    import os

    os.makedirs(os.path.expanduser(d), exist_ok=True)
