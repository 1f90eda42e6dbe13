"""Questions about devices: how many, how much memory."""

from __future__ import annotations

from .context import Context
from .runtime.device import device_count, device_of

__all__ = ["gpu_memory_info", "num_gpus"]


def num_gpus() -> int:
    """How many devices ``mx.gpu(i)`` can name; 0 when no installed backend serves GPUs.

    >>> mx.num_gpus() >= 0
    True
    """
    return device_count("gpu")


def gpu_memory_info(device_id: int = 0) -> tuple[int, int]:
    """Free and total bytes of a GPU's memory.

    Raises
    ------
    BackendMissingError
        No installed backend serves GPUs.
    """
    dev = device_of(Context("gpu", device_id))
    return dev.backend.memory_info(dev.index)
