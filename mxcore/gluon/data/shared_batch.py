"""Batches on their way from a worker process to its parent: arrays through shared memory, the rest as a small pickle.

A worker takes a batch apart into its arrays, which it writes into one block of shared memory, and everything else (the
nesting, numbers, strings), which is pickled with the places of the arrays in it. The parent puts the batch together
again around views of the block. So array data are never pickled, and are copied once: into the block. When the last
array on a block is gone, the block is used again for a later batch: its pages are mapped already, on both sides, and
mapping pages costs more than filling them.
"""

import io
import os
import pickle
import signal
import weakref
from collections.abc import Callable
from multiprocessing import shared_memory
from typing import Any, NamedTuple

import numpy as np

from ... import ndarray as nd
from ...context import cpu
from ...errors import MXNetError
from .batchify import Column, from_host, host_array

__all__ = ["BlockStore", "Parcel", "WorkerBlocks", "sigterm_blocked"]

_ALIGN = 64  # bytes; what vector instructions like
_PLAIN = "biufcmMSUV"  # kinds of types whose values lie in the array itself
_SHM = "/dev/shm"  # where Linux keeps shared memory
#: With so many blocks in the user's hands, further batches move to ordinary memory: every block costs a file descriptor
#: and a piece of a file system that is small in many containers.
_LEASE_LIMIT = 32


class Parcel(NamedTuple):
    """What a worker sends for a batch: the pickle, and the name of the block ("" if there are no arrays)."""

    payload: bytes
    block: str


class _Place(NamedTuple):
    """Where in the block an array lies, and what it was."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    kind: type

    def view(self, data: np.ndarray) -> np.ndarray:
        size = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        return data[self.offset:self.offset + size].view(self.dtype).reshape(self.shape)


class _Lease:
    """The memory of a block for NumPy, which keeps this object as long as there are arrays on it.

    (Arrays on ``SharedMemory.buf`` itself would make closing it fail, also at its garbage collection.)
    """

    def __init__(self, block: shared_memory.SharedMemory) -> None:
        self.block = block
        assert block.buf is not None
        self.__array_interface__ = np.frombuffer(block.buf, np.uint8).__array_interface__


# ---------------------------------------------------------------- the worker's side
class _Pickler(pickle.Pickler):
    """Replaces arrays by their places and remembers how to write them there."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.size = 0
        self.writes: list[tuple[_Place, Callable[[np.ndarray], Any]]] = []

    def persistent_id(self, obj: Any) -> _Place | None:
        if type(obj) is Column:
            return self._place(obj.shape, obj.dtype, nd.NDArray, obj.write)
        if isinstance(obj, nd.NDArray):
            array = host_array(obj)
            return self._place(array.shape, array.dtype, type(obj), lambda out: np.copyto(out, array))
        if type(obj) in (np.ndarray, np.memmap):
            dtype = obj.dtype
            if dtype.kind in _PLAIN and dtype.itemsize and not dtype.hasobject:
                return self._place(obj.shape, dtype, np.ndarray, lambda out: np.copyto(out, obj))
        return None

    def _place(self, shape: tuple, dtype: np.dtype, kind: type, write: Callable[[np.ndarray], Any]) -> _Place:
        place = _Place(self.size, shape, dtype, kind)
        self.writes.append((place, write))
        self.size += -(-int(np.prod(shape, dtype=np.int64)) * dtype.itemsize // _ALIGN) * _ALIGN
        return place


class WorkerBlocks:
    """The blocks that a worker writes to; it keeps them mapped until it is told to forget them."""

    def __init__(self) -> None:
        self._blocks: dict[str, shared_memory.SharedMemory] = {}

    def forget(self, name: str) -> None:
        """The parent has no more use for this block."""
        self._blocks.pop(name, None)

    def pack(self, batch: Any, spare: str, name: str) -> Parcel:
        """Take a batch apart.

        Parameters
        ----------
        batch : any
            What the batchify function made.
        spare : str
            Name of a block to use if it is large enough, or "".
        name : str
            What to call a new block.

        Raises
        ------
        MXNetError
            If there is too little shared memory.
        """
        file = io.BytesIO()
        pickler = _Pickler(file)
        pickler.dump(batch)
        if not pickler.writes:
            return Parcel(file.getvalue(), "")
        block = self._get(spare, pickler.size) or self._create(name, pickler.size)
        data = np.asarray(_Lease(block))
        for place, write in pickler.writes:
            write(place.view(data))
        return Parcel(file.getvalue(), block.name.lstrip("/"))

    def _get(self, spare: str, size: int) -> shared_memory.SharedMemory | None:
        if not spare:
            return None
        if spare not in self._blocks:
            self._blocks[spare] = shared_memory.SharedMemory(spare)
        block = self._blocks[spare]
        return block if block.size >= size else None

    def _create(self, name: str, size: int) -> shared_memory.SharedMemory:
        if os.path.isdir(_SHM):  # writing beyond what there is would kill this process with SIGBUS
            space = os.statvfs(_SHM)
            free = space.f_bavail * space.f_frsize
            if free < size:
                raise MXNetError(
                    f"a batch needs {size / 1e6:.1f} MB of shared memory, but {_SHM} has {free / 1e6:.1f} MB left. Use "
                    f"smaller batches, fewer workers or a smaller prefetch; or thread_pool=True; or give the container "
                    f"more shared memory (docker run --shm-size)")
        with sigterm_blocked():  # until the block has its size and the resource tracker knows it
            block = shared_memory.SharedMemory(name, create=True, size=size + size // 8 + _ALIGN)
        self._blocks[name] = block
        return block


class sigterm_blocked:
    """Context in which a request to terminate this process waits. Threads started in it never get one."""

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def __exit__(self, *exc: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


# ---------------------------------------------------------------- the parent's side
_STORES: weakref.WeakSet["BlockStore"] = weakref.WeakSet()


def _before_fork() -> None:
    for store in list(_STORES):
        store.keep_for_child()


os.register_at_fork(before=_before_fork)


class _Unpickler(pickle.Unpickler):
    """Puts views of ``data`` where the pickle has places."""

    def __init__(self, payload: bytes, data: np.ndarray) -> None:
        super().__init__(io.BytesIO(payload))
        self.data = data

    def persistent_load(self, pid: Any) -> Any:
        array = pid.view(self.data)
        return array if pid.kind is np.ndarray else from_host(array, cpu(), pid.kind)


class BlockStore:
    """The parent's book of blocks: which are free, and which hold arrays that somebody still uses."""

    def __init__(self) -> None:
        self._blocks: dict[str, shared_memory.SharedMemory] = {}
        self._free: list[str] = []
        self._leases: dict[str, weakref.ref[_Lease]] = {}
        self._inherited: set[str] = set()
        _STORES.add(self)

    def spare(self) -> str:
        """The name of a free block, or "". It has to be given back: to ``unpack`` in a parcel, or to ``put_back``."""
        if not self._free:
            self._reclaim()
        return self._free.pop() if self._free else ""

    def put_back(self, name: str) -> None:
        """A block is free (again)."""
        self._free.append(name)

    def unpack(self, parcel: Parcel) -> Any:
        """Put a batch together. Its arrays lie in the block, which becomes free when the last of them is gone."""
        if not parcel.block:
            return pickle.loads(parcel.payload)
        lease = _Lease(self.adopt(parcel.block))
        if len(self._leases) >= _LEASE_LIMIT:
            self._reclaim()
        if len(self._leases) < _LEASE_LIMIT:
            self._leases[parcel.block] = weakref.ref(lease)
            data = np.asarray(lease)
        else:
            data = np.array(lease)
            self.put_back(parcel.block)
        return _Unpickler(parcel.payload, data).load()

    def adopt(self, name: str) -> shared_memory.SharedMemory:
        """Map a block that a worker has made, if it is not mapped yet."""
        if name not in self._blocks:
            self._blocks[name] = shared_memory.SharedMemory(name)
        return self._blocks[name]

    def remove(self, name: str) -> None:
        """Take a block out of the book and remove its name; the memory goes when nobody has it mapped."""
        try:
            self.adopt(name).unlink()
        except FileNotFoundError:
            return
        del self._blocks[name]

    def close(self) -> None:
        """Remove all blocks. Arrays that somebody has stay valid."""
        for name in list(self._blocks):
            self.remove(name)
        self._free.clear()
        self._leases.clear()

    def keep_for_child(self) -> None:
        """A forked child sees the memory of the arrays that it inherits: these blocks must not be used again."""
        self._reclaim()
        self._inherited.update(self._leases)

    def _reclaim(self) -> None:
        """Find the blocks whose last array is gone.

        They are looked for rather than announced by a finalizer, which would run in any thread, at any point, and
        swallow a Ctrl-C that arrives in it.
        """
        for name in [n for n, lease in self._leases.items() if lease() is None]:
            del self._leases[name]
            if name in self._inherited:
                self._inherited.discard(name)
                self.remove(name)
            else:
                self.put_back(name)
