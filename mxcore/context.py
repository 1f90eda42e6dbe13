"""``Context``: a device named by kind and number, a pure value, and the stack of current contexts.

Which installed backend serves a kind is decided at first use by :mod:`mxcore.runtime.device`.
"""

import threading
from typing import ClassVar

from .errors import ContextError

__all__ = ["Context", "cpu", "cpu_pinned", "cpu_shared", "current_context", "gpu", "gpu_memory_info", "num_gpus"]


class _Stack(threading.local):
    def __init__(self) -> None:
        self.items: list[Context] = []


_STACK = _Stack()


class Context:
    """A device: a kind (``"cpu"``, ``"gpu"``, or a backend's own kind) and a number.

    Contexts compare and hash by value and can be used as context managers.

    Parameters
    ----------
    device_type : str, int or Context
        The kind, MXNet's type id (1 cpu, 2 gpu, 3 cpu_pinned, 5 cpu_shared), or a context to copy.
    device_id : int
        The number of the device among those of its kind.

    Examples
    --------
    >>> Context("cpu", 1)
    cpu(1)
    >>> with Context("cpu", 1):
    ...     current_context()
    cpu(1)
    """

    __slots__ = ("device_id", "device_type")
    devtype2str: ClassVar[dict[int, str]] = {1: "cpu", 2: "gpu", 3: "cpu_pinned", 5: "cpu_shared"}
    devstr2type: ClassVar[dict[str, int]] = {"cpu": 1, "gpu": 2, "cpu_pinned": 3, "cpu_shared": 5}
    default_ctx: ClassVar["Context"]

    def __init__(self, device_type: "str | int | Context", device_id: int = 0) -> None:
        if isinstance(device_type, Context):
            device_id = device_type.device_id
            device_type = device_type.device_type
        elif isinstance(device_type, int):
            device_type = self.devtype2str[device_type]
        self.device_type: str = device_type
        self.device_id: int = int(device_id)

    @property
    def device_typeid(self) -> int:
        """MXNet's number of the kind; kinds that MXNet never had count from 100."""
        known = self.devstr2type.get(self.device_type)
        return known if known is not None else 100 + sum(self.device_type.encode()) % 100

    def __hash__(self) -> int:
        return hash((self.device_type, self.device_id))

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Context) and self.device_type == other.device_type
                and self.device_id == other.device_id)

    def __repr__(self) -> str:
        return f"{self.device_type}({self.device_id})"

    __str__ = __repr__

    def __enter__(self) -> "Context":
        _STACK.items.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _STACK.items.pop()

    def __reduce__(self) -> tuple:
        return Context, (self.device_type, self.device_id)

    def empty_cache(self) -> None:
        """Give memory that the backend of this device holds in reserve back to the system."""
        from .runtime.device import device_of

        dev = device_of(self)
        dev.pool.clear()  # memory of compiled programs that no run is using
        dev.backend.empty_cache(self.device_id)

    def pool_info(self) -> tuple[int, int]:
        """Bytes that arrays use, and bytes that the backend's memory pool holds for them and for the next ones.

        Raises
        ------
        ContextError
            The backend has no pool of its own (NumPy leaves memory to the C library).
        """
        from .runtime.device import device_of

        dev = device_of(self)
        if not hasattr(dev.backend, "pool_info"):
            raise ContextError(f"backend {dev.name!r} has no memory pool of its own, so there is nothing to tell of {self}")
        return dev.backend.pool_info(self.device_id)


Context.default_ctx = Context("cpu", 0)


def cpu(device_id: int = 0) -> Context:
    """The CPU context. All numbers mean the same memory, but compare as different contexts.

    >>> cpu() == cpu(0)
    True
    """
    return Context("cpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """Page-locked host memory where a backend offers it, else plain host memory."""
    return Context("cpu_pinned", device_id)


def cpu_shared(device_id: int = 0) -> Context:
    """Host memory that worker processes share."""
    return Context("cpu_shared", device_id)


def gpu(device_id: int = 0) -> Context:
    """The GPU context; resolved at first use among the installed backends (CUDA before OpenCL)."""
    return Context("gpu", device_id)


def current_context() -> Context:
    """The innermost context entered with ``with``, else ``cpu(0)``."""
    return _STACK.items[-1] if _STACK.items else Context.default_ctx


def num_gpus() -> int:
    """How many devices ``mx.gpu(i)`` can name; 0 when no installed backend serves GPUs.

    >>> num_gpus() >= 0
    True
    """
    from .runtime.device import device_count

    return device_count("gpu")


def gpu_memory_info(device_id: int = 0) -> tuple[int, int]:
    """Free and total bytes of a GPU's memory.

    Raises
    ------
    BackendMissingError
        No installed backend serves GPUs.
    """
    from .runtime.device import device_of

    dev = device_of(Context("gpu", device_id))
    return dev.backend.memory_info(dev.index)
