"""The pool of threads: all shares, errors, nested use, several callers, forks, the end of the process."""

import os
import subprocess
import sys
import threading
import time

import pytest

from mxcore_numpy.threads import parallel, width


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_every_share_once(threads, count):
    done = []
    parallel(done.append, count, threads)
    assert sorted(done) == list(range(count))


def test_other_threads_take_part():
    here, seen = threading.get_ident(), set()
    both = threading.Barrier(2, timeout=60)

    def task(share):
        seen.add(threading.get_ident())
        both.wait()

    parallel(task, 2, 2)
    assert len(seen) == 2 and here in seen


@pytest.mark.parametrize("threads", [1, 3])
def test_errors_reach_the_caller_and_the_pool_goes_on(threads):
    def task(share):
        if share == 3:
            raise KeyError("three")

    for _ in range(20):
        with pytest.raises(KeyError, match="three"):
            parallel(task, 8, threads)
    test_every_share_once(threads, 50)


def test_tasks_may_be_parallel_themselves():
    done = []
    parallel(lambda i: parallel(lambda k: done.append((i, k)), 10, 4), 10, 4)
    assert sorted(done) == [(i, k) for i in range(10) for k in range(10)]


def test_several_callers_at_once():
    results = {}

    def caller(n):
        for _ in range(30):
            found = []
            parallel(found.append, 20, 3)
            results.setdefault(n, set()).add(tuple(sorted(found)))

    callers = [threading.Thread(target=caller, args=(n,)) for n in range(4)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert results == {n: {tuple(range(20))} for n in range(4)}


def test_nobody_waits_for_a_thread_that_wakes_late():
    parallel(lambda share: time.sleep(0.001), 8, 4)
    for _ in range(200):  # the caller has mostly done all before another thread wakes
        test_every_share_once(4, 2)


PROGRAM = """
import os, sys
from mxcore_numpy.threads import parallel
done = []
parallel(done.append, 100, 3)
child = os.fork() if sys.argv[1] == "fork" else 0
again = []
parallel(again.append, 100, 3)
assert sorted(again) == list(range(100)) == sorted(done)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("how", ["plain", "fork"] if hasattr(os, "fork") else ["plain"])
def test_processes_end_and_fork(how):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM, how], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_width_is_the_setting(monkeypatch):
    monkeypatch.setenv("MXCORE_NUM_THREADS", "3")
    assert width() == 3
