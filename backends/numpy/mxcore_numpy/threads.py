"""The pool of threads of the CPU backend.

A loop is cut into shares, which threads take one by one until none is left. NumPy's ufuncs release the interpreter lock
while they compute, so Python threads are enough. The calling thread takes part and waits only for shares that a thread
is at work on; a thread that wakes too late finds nothing to do, and nobody waits for it.
"""

import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

from mxcore.base import default_threads

__all__ = ["parallel", "width"]


class _Job:
    """Shares of one loop: who takes a number computes that share."""

    def __init__(self, task: Callable[[int], None], count: int) -> None:
        self.task, self.count = task, count
        self.take = itertools.count().__next__
        self.finished: list[None] = []
        self.errors: list[BaseException] = []
        self.all_done = threading.Lock()
        self.all_done.acquire()

    def work(self) -> None:
        """Compute shares until none is left. After an error the remaining ones are only counted."""
        task, count, take, finished = self.task, self.count, self.take, self.finished
        while (share := take()) < count:
            try:
                if not self.errors:
                    task(share)
            except BaseException as error:  # goes to the caller
                self.errors.append(error)
            finished.append(None)
            if len(finished) == count:
                self.end()

    def end(self) -> None:
        """Let the caller go on. Two threads may both see the last share finished."""
        try:
            self.all_done.release()
        except RuntimeError:  # the other one was first
            return


class _Pool:
    """Threads that wait for jobs; made at the first use."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """No threads: at the start, and in a forked child, which has only the thread that forked."""
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.started = 0
        self.lock = threading.Lock()
        self.inside = threading.local()

    def ensure(self, count: int) -> None:
        """At least ``count`` threads."""
        with self.lock:
            while self.started < count:
                self.started += 1
                threading.Thread(target=self.serve, args=(self.jobs,), name=f"mxcore-{self.started}", daemon=True).start()

    def serve(self, jobs: "SimpleQueue[_Job]") -> None:
        """What each thread does for ever."""
        self.inside.worker = True
        np.seterr(all="ignore")  # of this thread: overflow and nan are values, not warnings
        while True:
            jobs.get().work()


_POOL = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def width() -> int:
    """Threads that a loop may use, the calling one included.

    >>> width() >= 1
    True
    """
    return default_threads()


def parallel(task: Callable[[int], None], count: int, threads: int) -> None:
    """``task(0)`` to ``task(count - 1)``, in any order, by at most ``threads`` threads; returns when all are done.

    A task that itself calls this runs its shares alone, so that no thread of the pool waits for another.

    Raises
    ------
    BaseException
        The first error of a task. Shares not begun by then are left out.
    """
    if threads < 2 or count < 2 or getattr(_POOL.inside, "worker", False):
        for share in range(count):
            task(share)
        return
    helpers = min(threads, count) - 1
    if _POOL.started < helpers:
        _POOL.ensure(helpers)
    job = _Job(task, count)
    for _ in range(helpers):
        _POOL.jobs.put(job)
    job.work()
    job.all_done.acquire()
    if job.errors:
        raise job.errors[0]
