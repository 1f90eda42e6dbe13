"""``DataLoader``: batches of a dataset, made here, by threads, or by worker processes ahead of their use."""

import collections
import hashlib
import random
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import ndarray as nd
from ...context import cpu, cpu_pinned
from ...runtime.device import device_of
from ...runtime.invoke import generator
from .batchify import default_batchify_fn, default_mp_batchify_fn
from .sampler import BatchSampler, RandomSampler, SequentialSampler

if TYPE_CHECKING:
    from .workers import ProcessPool, Seeds, ThreadPool

__all__ = ["DataLoader", "default_batchify_fn", "default_mp_batchify_fn"]


class DataLoader:
    """Iterates over a dataset in batches.

    Parameters
    ----------
    dataset : Dataset, NDArray, numpy.ndarray or any sequence
        What to read: ``dataset[i]`` and ``len(dataset)``.
    batch_size : int
        Samples per batch. Required unless ``batch_sampler`` is given.
    shuffle : bool
        Whether to visit the samples in random order (:class:`RandomSampler`).
    sampler : Sampler, optional
        The order, instead of ``shuffle``.
    last_batch : {'keep', 'discard', 'rollover'}, optional
        What to do with an incomplete last batch: yield it (default), drop it, or begin the next epoch with it.
    batch_sampler : Sampler, optional
        Yields lists of indices, in place of ``batch_size``, ``shuffle``, ``sampler`` and ``last_batch``.
    batchify_fn : callable, optional
        Makes a batch of a list of samples; default :func:`default_batchify_fn`.
    num_workers : int
        How many workers make batches ahead; 0: the caller does it when a batch is asked for.
    pin_memory : bool
        Whether to move the arrays of a batch to page-locked memory, ``cpu_pinned(pin_device_id)``.
    pin_device_id : int
        See ``pin_memory``.
    prefetch : int, optional
        How many batches may be made ahead; default ``2 * num_workers``.
    thread_pool : bool
        Whether the workers are threads, not processes: good when reading waits for disks or NumPy does the work, and
        where shared memory is scarce.
    timeout : float
        Seconds to wait for a batch of a worker before giving up.
    auto_reload : bool
        Whether the workers begin the next epoch as soon as one ends (and the first one now).

    Raises
    ------
    ValueError
        If arguments contradict each other.
    AssertionError
        If ``timeout`` is not positive.

    Notes
    -----
    Worker processes live as long as the DataLoader, and end with it, with the interpreter, or at Ctrl-C. Batches come
    in the order of the sampler whatever worker is first. Arrays travel through shared memory and are used where they
    arrive. An exception in the dataset is raised by the iterator with the worker's traceback as its cause.

    The global generators of ``random``, ``numpy.random`` and ``mxcore.random`` are seeded in the worker for every batch
    from the parent's generators and the number of the batch: seeding those in the parent makes random transforms
    repeatable, whatever the number of processes. Generators that a dataset keeps itself are copied to all workers as
    they are.

    Examples
    --------
    >>> from mxcore.gluon.data import ArrayDataset
    >>> loader = DataLoader(ArrayDataset(np.arange(10), np.arange(10) % 2), batch_size=4)
    >>> [data.asnumpy().tolist() for data, label in loader], len(loader)
    ([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], 3)
    """

    def __init__(self, dataset: Any, batch_size: int | None = None, shuffle: bool = False,
                 sampler: Any = None, last_batch: str | None = None, batch_sampler: Any = None,
                 batchify_fn: Callable[[Sequence], Any] | None = None, num_workers: int = 0, pin_memory: bool = False,
                 pin_device_id: int = 0, prefetch: int | None = None, thread_pool: bool = False,
                 timeout: float = 120, auto_reload: bool = False) -> None:
        if timeout <= 0:
            raise AssertionError(f"timeout must be positive, given {timeout}")
        if batch_sampler is None:
            if batch_size is None:
                raise ValueError("batch_size must be specified unless batch_sampler is specified")
            if sampler is None:
                sampler = RandomSampler(len(dataset)) if shuffle else SequentialSampler(len(dataset))
            elif shuffle:
                raise ValueError("shuffle must not be specified if sampler is specified")
            batch_sampler = BatchSampler(sampler, batch_size, last_batch or "keep")
        elif batch_size is not None or shuffle or sampler is not None or last_batch is not None:
            raise ValueError("batch_size, shuffle, sampler and last_batch must not be specified if batch_sampler is "
                             "specified.")
        self._dataset = dataset
        self._batch_sampler = batch_sampler
        self._num_workers = max(num_workers, 0)
        self._prefetch = max(prefetch if prefetch is not None else 2 * self._num_workers, 0)
        self._thread_pool = thread_pool
        self._timeout = timeout
        self._pin = cpu_pinned(pin_device_id) if pin_memory else None
        if batchify_fn is None:
            batchify_fn = default_mp_batchify_fn if self._num_workers and not thread_pool else default_batchify_fn
        self._batchify_fn = batchify_fn
        self._auto_reload = auto_reload
        self._pool: ProcessPool | ThreadPool | None = None
        self._ahead: _Epoch | None = None
        if auto_reload:
            self.refresh()

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def __iter__(self) -> Iterator:
        if not self._num_workers:
            for indices in self._batch_sampler:
                yield self._placed(self._batchify_fn([self._dataset[i] for i in indices]))
            return
        epoch, self._ahead = self._ahead or self._begin(), None
        try:
            yield from map(self._placed, epoch)
        finally:
            epoch.close()
        if self._auto_reload and self._ahead is None:
            self.refresh()

    def refresh(self) -> None:
        """Let the workers begin a new epoch now; the next iterator gets it. Without workers there is nothing to do."""
        self.clean()
        if self._num_workers:
            self._ahead = self._begin()

    def clean(self) -> None:
        """Drop the batches that were made for an iterator that has not begun."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def _begin(self) -> "_Epoch":
        if self._pool is None or self._pool.closed:
            from .workers import ProcessPool, ThreadPool

            kind = ThreadPool if self._thread_pool else ProcessPool
            self._pool = kind(self._num_workers, self._dataset, self._batchify_fn)
            weakref.finalize(self, self._pool.close)
        return _Epoch(self._pool, self._batch_sampler, max(self._prefetch, 1), self._timeout)

    def _placed(self, batch: Any) -> Any:
        """The batch with its arrays in page-locked memory, if that was asked for."""
        if self._pin is None:
            return batch
        if isinstance(batch, nd.NDArray):
            return batch.as_in_context(self._pin)
        if isinstance(batch, (list, tuple)):
            return [self._placed(b) for b in batch]
        return batch


class _Epoch:
    """One pass over the batches, some of them on order with the workers."""

    def __init__(self, pool: Any, batches: Iterable[Sequence], ahead: int, timeout: float) -> None:
        self._pool = pool
        self._batches = enumerate(batches)
        self._timeout = timeout
        self._orders: collections.deque = collections.deque()
        self._seeds: Seeds | None = None
        for _ in range(ahead):
            self._order()

    def _order(self) -> None:
        """Have the next batch made."""
        before = None if self._seeds else _numpy_state()
        number, indices = next(self._batches, (0, None))
        if indices is None:
            return
        if before is not None:
            self._seeds = _new_seeds(before)
        self._orders.append(self._pool.submit(indices, self._seeds, number))

    def __iter__(self) -> Iterator:
        while self._orders:
            batch = self._pool.result(self._orders[0], self._timeout)
            self._orders.popleft()
            self._order()
            yield batch

    def close(self) -> None:
        """Cancel what is on order."""
        self._pool.cancel(self._orders)
        self._orders.clear()
        self._batches = enumerate(())


def _numpy_state() -> bytes:
    """A digest of the state of ``numpy.random``."""
    _, key, position, *_ = np.random.get_state()
    return hashlib.blake2b(np.asarray(key).tobytes() + bytes(str(position), "ascii"), digest_size=4).digest()


def _new_seeds(before: bytes) -> "Seeds":
    """Seeds of an epoch from the parent's generators; ``before`` is NumPy's state before the sampler was asked.

    Numbers are drawn, so that the next epoch gets others; but of ``numpy.random`` only if the sampler drew none, for a
    shuffled order shall not depend on the number of workers.
    """
    from .workers import Seeds

    if _numpy_state() == before:
        np.random.random_sample()
    dev = device_of(cpu())
    mx = dev.backend.to_host(generator(dev).integers(0, 1 << 31, size=1))
    return Seeds(random.getrandbits(32), int.from_bytes(before, "little"), int(mx[0]))
