"""Workers of a DataLoader: processes (or threads) that make batches while the parent trains.

Every process has a pipe of its own, so that one that dies takes no lock with it. The parent sends tasks (a ticket, the
indices of a batch, a seed) and gets parcels; it never blocks in sending, because a thread in the worker keeps reading.
"""

import contextlib
import itertools
import multiprocessing
import os
import pickle
import queue
import random
import secrets
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from multiprocessing import connection, resource_tracker
from typing import Any, NamedTuple

import numpy as np

from ...context import cpu
from ...errors import MXNetError
from ...runtime.invoke import STATE
from ...runtime.random import seed as seed_mx
from .batchify import default_mp_batchify_fn, from_host, in_columns
from .shared_batch import BlockStore, Parcel, WorkerBlocks, sigterm_blocked

__all__ = ["ProcessPool", "Seeds", "ThreadPool", "WorkerTimeoutError", "WorkerTraceback"]

_PATIENCE = 2.0  # seconds that a worker gets to finish its batch when it is to end
_ORPHAN_CHECK = 2.0  # seconds between two looks whether the parent is still there


class WorkerTraceback(Exception):
    """Cause of an error that a worker raised: carries the traceback that it had there, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class WorkerTimeoutError(MXNetError, multiprocessing.TimeoutError):
    """A batch did not come within the ``timeout`` of the DataLoader."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no batch came from the workers within {seconds:g} seconds. Perhaps reading or transforming "
                         f"a batch is slow: give the DataLoader a larger timeout, more workers or smaller batches. "
                         f"Perhaps a worker waits for a lock that another thread held when it was forked: try "
                         f"thread_pool=True, or multiprocessing.set_start_method('spawn')")


class Seeds(NamedTuple):
    """Where the random numbers of one epoch start: a number for each generator that a transform may use."""

    python: int
    numpy: int
    mx: int

    def plant(self, number: int) -> None:
        """Seed the generators for batch ``number``, so that it does not matter which worker makes it, and when."""
        random.seed(f"{self.python} {number}")
        np.random.seed([self.numpy, number])
        seed_mx((self.mx + number * 0x9E3779B1) & 0x7FFFFFFF)


class _Task(NamedTuple):
    """A batch to make."""

    ticket: int
    indices: Any  # sequence of indices
    seeds: Seeds
    number: int  # of the batch in its epoch
    spare: str  # block of shared memory to use, or ""


# ---------------------------------------------------------------- in the worker process
def _work(conn: connection.Connection, inherited: Sequence[connection.Connection], parent: int | None, prefix: str,
          dataset: Any, batchify_fn: Callable) -> None:
    """Main function of a worker process: make batches until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not a handler that the parent installed
    for other in inherited:  # or the parent's end of a pipe would stay open when the parent is gone
        other.close()
    tasks: queue.SimpleQueue = queue.SimpleQueue()
    dropped: set[int] = set()
    listener = threading.Thread(target=_listen, args=(conn, parent, tasks, dropped), daemon=True)
    with sigterm_blocked():  # threads inherit it: the main thread gets the signal, when it allows it
        listener.start()
    STATE.recording = STATE.training = False  # a forked worker has these, and the current context, from its parent
    with cpu():
        _serve(conn, tasks, dropped, prefix, dataset, batchify_fn)


def _serve(conn: connection.Connection, tasks: queue.SimpleQueue, dropped: set[int], prefix: str, dataset: Any,
           batchify_fn: Callable) -> None:
    blocks = WorkerBlocks()
    default = batchify_fn is default_mp_batchify_fn
    while (task := tasks.get()) is not None:
        if isinstance(task, str):
            blocks.forget(task)
            continue
        try:
            outcome: Any = Parcel(b"", "")
            if task.ticket not in dropped:
                task.seeds.plant(task.number)
                batch = (_make_columns if default else make_batch)(dataset, batchify_fn, list(task.indices))
                outcome = blocks.pack(batch, task.spare, f"{prefix}{task.ticket}")
                del batch
            dropped.discard(task.ticket)
        except Exception as error:
            outcome = _portable(error)
        try:
            conn.send((task.ticket, outcome))
        except OSError:  # the parent is gone
            return


def _listen(conn: connection.Connection, parent: int | None, tasks: queue.SimpleQueue, dropped: set[int]) -> None:
    """Thread of a worker: pass messages of the parent on; end with it."""
    while True:
        try:
            if not conn.poll(_ORPHAN_CHECK):
                if parent is None or os.getppid() == parent:
                    continue
                message = None
            else:
                message = conn.recv()
        except (EOFError, OSError):
            message = None
        except Exception:  # a message that cannot be unpickled here: the parent is told by this worker's end
            traceback.print_exc()
            os._exit(1)
        if isinstance(message, int):
            dropped.add(message)
            continue
        tasks.put(message)
        if message is None:
            return


def make_batch(dataset: Any, batchify_fn: Callable, indices: Sequence) -> Any:
    """Read the samples and put them together."""
    return batchify_fn([dataset[i] for i in indices])


def _make_columns(dataset: Any, batchify_fn: Callable, indices: Sequence) -> Any:
    """What the default batchify makes, but not stacked yet: ``pack`` does that, straight into shared memory."""
    return in_columns([dataset[i] for i in indices], lambda column: column, lambda array: from_host(array, cpu()))


def _portable(error: Exception) -> tuple[bytes, str, str]:
    """An exception as something that surely can be sent: its pickle (b"" if it has none), summary, traceback."""
    text = "".join(traceback.format_exception(error))
    summary = "".join(traceback.format_exception_only(error)).strip()
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # whatever the class of a user's exception does when it is pickled
        data = b""
    return data, summary, text


# ---------------------------------------------------------------- in the parent
_POOLS: weakref.WeakSet["ProcessPool"] = weakref.WeakSet()


class _Worker(NamedTuple):
    process: Any
    conn: connection.Connection
    tickets: set[int]  # what it was asked for and has not answered


class ProcessPool:
    """Worker processes that make batches of a dataset. Used from one thread at a time.

    Parameters
    ----------
    count : int
        How many processes.
    dataset, batchify_fn
        What they read, and how samples become a batch. With the start method ``fork`` (the default on Linux) the
        workers see the parent's objects as they are now; with ``spawn`` and ``forkserver`` both are pickled.
    """

    def __init__(self, count: int, dataset: Any, batchify_fn: Callable) -> None:
        method = multiprocessing.get_start_method(allow_none=True)
        if method is None:  # as in MXNet: lambdas and open files work in workers without being pickled
            method = "fork" if sys.platform == "linux" else multiprocessing.get_all_start_methods()[0]
        context: Any = multiprocessing.get_context(method)
        self._pid = os.getpid()
        self._prefix = f"mxc{self._pid:x}_{secrets.token_hex(3)}_"  # short: macOS allows 30 characters with a ticket
        self._tickets = itertools.count()
        self._orders: dict[int, tuple[_Worker, _Task]] = {}
        self._outcomes: dict[int, Any] = {}
        self._unwanted: set[int] = set()
        self._blocks = BlockStore()
        self._workers: list[_Worker] = []
        self._closed = False
        resource_tracker.ensure_running()  # before forking: all must report to one tracker
        _POOLS.add(self)
        try:
            for i in range(count):
                self._workers.append(self._start(i, context, dataset, batchify_fn))
        except BaseException:
            self.close()
            raise

    def _start(self, number: int, context: Any, dataset: Any, batchify_fn: Callable) -> _Worker:
        ours, theirs = context.Pipe()
        forked = context.get_start_method() == "fork"
        inherited = [ours, *(w.conn for p in _POOLS for w in p._workers if not p.closed)] if forked else []
        process = context.Process(
            target=_work, name=f"DataLoader worker {number}", daemon=True,
            args=(theirs, inherited, os.getpid() if forked else None, self._prefix, dataset, batchify_fn))
        try:
            with warnings.catch_warnings():
                # Python warns of forking beside any thread, and BLAS has threads. A worker runs the dataset's code
                # only, and BLAS libraries handle a fork themselves.
                warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
                process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            ours.close()
            if forked:
                raise
            raise MXNetError(
                f"the dataset or batchify_fn cannot be sent to worker processes (start method "
                f"{context.get_start_method()!r}): {error}. Define its functions and classes at the top of a module "
                f"instead of lambdas, or use thread_pool=True") from error
        finally:
            theirs.close()
        return _Worker(process, ours, set())

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used (after ``close``, an error, or in a forked child)."""
        return self._closed or os.getpid() != self._pid

    def submit(self, indices: Iterable, seeds: Seeds, number: int) -> int:
        """Ask for a batch; returns the ticket to get it with."""
        indices = list(indices)
        packed: Any = indices
        if indices and isinstance(indices[0], np.int64):  # an array is pickled 10 times faster
            packed = np.array(indices)
        worker = min(self._workers, key=lambda w: len(w.tickets))
        task = _Task(next(self._tickets), packed, seeds, number, self._blocks.spare())
        self._orders[task.ticket] = worker, task
        worker.tickets.add(task.ticket)
        try:
            self._send(worker, task)
        except OSError:
            self._report_death(worker)
        return task.ticket

    def result(self, ticket: int, timeout: float) -> Any:
        """The batch of a ticket.

        Raises
        ------
        WorkerTimeoutError
            If it does not come in ``timeout`` seconds.
        MXNetError
            If a worker process died.
        Exception
            What the dataset or the batchify function raised in the worker, with the traceback from there.
        """
        deadline = time.monotonic() + timeout
        try:
            while ticket not in self._outcomes:
                self._receive(deadline - time.monotonic(), timeout)
            outcome = self._outcomes.pop(ticket)
            if isinstance(outcome, Parcel):
                return self._blocks.unpack(outcome)
        except BaseException:  # among them Ctrl-C, which may have come in the middle of a message
            self.close()
            raise
        raise _exception(*outcome)

    def cancel(self, tickets: Iterable[int]) -> None:
        """Nobody will ask for these any more."""
        if self.closed:
            return
        for ticket in tickets:
            if ticket in self._outcomes:
                self._discard(self._outcomes.pop(ticket))
            elif ticket in self._orders:
                self._unwanted.add(ticket)
                with contextlib.suppress(OSError):  # a worker that died; the next result() will say so
                    self._send(self._orders[ticket][0], ticket)

    def close(self) -> None:
        """End the workers and remove what they left. May be called again, and does nothing in a forked child."""
        if self.closed:
            return
        self._closed = True
        for worker in self._workers:
            with contextlib.suppress(OSError):
                for message in (*worker.tickets, None):
                    worker.conn.send(message)
        deadline = time.monotonic() + _PATIENCE
        for worker in self._workers:
            worker.process.join(max(deadline - time.monotonic(), 0.0))
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.conn.close()
            worker.process.close()
        for ticket in (*self._orders, *self._outcomes):
            self._blocks.remove(f"{self._prefix}{ticket}")
        self._blocks.close()
        self._orders.clear()
        self._outcomes.clear()

    def _send(self, worker: _Worker, message: Any) -> None:
        try:
            worker.conn.send(message)
        except OSError:
            raise
        except BaseException:  # a Ctrl-C in the middle of the message, or indices that cannot be pickled
            self.close()
            raise

    def _receive(self, seconds: float, timeout: float) -> None:
        """Take what workers have sent; wait for the first of it."""
        handles = {h: w for w in self._workers for h in (w.conn, w.process.sentinel)}
        ready = connection.wait(list(handles), max(seconds, 0.0))
        if not ready:
            raise WorkerTimeoutError(timeout)
        for worker in self._workers:
            if worker.conn in ready or worker.process.sentinel in ready:
                try:
                    while worker.conn.poll():
                        self._take(*worker.conn.recv())
                except (EOFError, OSError):
                    self._report_death(worker)

    def _take(self, ticket: int, outcome: Any) -> None:
        worker, task = self._orders.pop(ticket)
        worker.tickets.discard(ticket)
        used = outcome.block if isinstance(outcome, Parcel) else ""
        if task.spare and used and used != task.spare:  # it was too small
            self._blocks.remove(task.spare)
            for other in self._workers:
                with contextlib.suppress(OSError):
                    self._send(other, task.spare)
        elif task.spare and not used:
            self._blocks.put_back(task.spare)
        if ticket in self._unwanted:
            self._unwanted.discard(ticket)
            self._discard(outcome)
        else:
            self._outcomes[ticket] = outcome

    def _discard(self, outcome: Any) -> None:
        if isinstance(outcome, Parcel) and outcome.block:
            self._blocks.adopt(outcome.block)
            self._blocks.put_back(outcome.block)

    def _report_death(self, worker: _Worker) -> None:
        process = worker.process
        process.join(_PATIENCE)
        name, pid, code = process.name, process.pid, process.exitcode
        self.close()
        if code is not None and code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
            cause += {signal.SIGKILL: ", often because memory ran out",
                      signal.SIGBUS: ", often because shared memory (/dev/shm) ran out",
                      signal.SIGSEGV: ", a crash in a native library"}.get(signal.Signals(-code), "")
        else:
            cause = f"ended with exit code {code}"
        raise MXNetError(f"{name} (process {pid}) {cause}. The batches that it was making are lost; iterating over the "
                         f"DataLoader again starts new workers")


def _exception(data: bytes, summary: str, text: str) -> BaseException:
    """The exception that a worker sent, with its traceback as the cause."""
    error: BaseException = pickle.loads(data) if data else MXNetError(f"a DataLoader worker failed: {summary}")
    error.__cause__ = WorkerTraceback(text)
    return error


class ThreadPool:
    """Worker threads with the interface of :class:`ProcessPool`."""

    def __init__(self, count: int, dataset: Any, batchify_fn: Callable) -> None:
        self._pid = os.getpid()
        self._executor = futures.ThreadPoolExecutor(count, "DataLoader worker")
        self._what = dataset, batchify_fn

    def submit(self, indices: Iterable, seeds: Seeds, number: int) -> futures.Future:
        """Ask for a batch. Threads share the parent's generators, so ``seeds`` has no use here."""
        return self._executor.submit(make_batch, *self._what, list(indices))

    def result(self, ticket: futures.Future, timeout: float) -> Any:
        """The batch of a ticket; what the dataset raised is raised here."""
        try:
            return ticket.result(timeout)
        except TimeoutError:
            if ticket.done():  # it is the dataset's own
                raise
            raise WorkerTimeoutError(timeout) from None

    def cancel(self, tickets: Iterable[futures.Future]) -> None:
        """Nobody will ask for these any more."""
        for ticket in tickets:
            ticket.cancel()

    def close(self) -> None:
        """Drop what was not begun; the threads end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used: threads do not come along into a forked child."""
        return os.getpid() != self._pid
