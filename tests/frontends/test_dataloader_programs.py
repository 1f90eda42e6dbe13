"""DataLoader in whole programs: start methods, Ctrl-C, sudden ends. Nothing may be left behind or written to stderr."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

SHM = Path("/dev/shm")
forked = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def blocks(pid):
    """Names of the shared memory that loaders of a process have."""
    return [p.name for p in SHM.glob(f"mxc{pid:x}_*")] if SHM.is_dir() else []

PRELUDE = """
    import multiprocessing, os, signal, sys, time
    import numpy as np
    from mxcore.gluon import data as D

    class Numbers(D.Dataset):
        def __len__(self):
            return 40
        def __getitem__(self, i):
            return np.full(1000, i, "f4"), i

    def total(samples):
        return np.stack([s[0] for s in samples]).sum()
"""


def program(tmp_path, body):
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(body))
    return subprocess.Popen([sys.executable, "-W", "error", str(script)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)


def run(tmp_path, body, expect=0):
    process = program(tmp_path, body)
    out, err = process.communicate(timeout=60)
    assert process.returncode == expect, err
    assert blocks(process.pid) == []
    return out, err


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_start_methods(tmp_path, method):
    out, err = run(tmp_path, f"""
        if __name__ == "__main__":
            multiprocessing.set_start_method("{method}")
            loader = D.DataLoader(Numbers(), 10, num_workers=2)
            for _ in range(2):
                pairs = [(data.asnumpy(), label.asnumpy()) for data, label in loader]
                print([int(label[0]) for data, label in pairs if (data[3] == label[3]).all()])
            print([int(b) for b in D.DataLoader(Numbers(), 20, num_workers=1, batchify_fn=total)])
            try:
                list(D.DataLoader(Numbers(), 20, num_workers=1, batchify_fn=lambda s: s))
            except RuntimeError as error:
                print(type(error).__name__, error)
    """)
    assert err == ""
    assert out.splitlines()[:3] == ["[0, 10, 20, 30]"] * 2 + ["[190000, 590000]"]
    assert "MXNetError" in out and f"start method '{method}'" in out and "thread_pool=True" in out


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "del iterator"])
def test_the_interpreter_ends_with_a_loader_in_use(tmp_path, end):
    out, err = run(tmp_path, f"""
        if __name__ == "__main__":
            loader = D.DataLoader(Numbers(), 2, num_workers=2)
            iterator = iter(loader)
            batch = next(iterator)
            print(batch[1].asnumpy().tolist(), flush=True)
            {end}
    """)
    assert (out, err) == ("[0, 1]\n", "")


def test_an_uncaught_error_leaves_nothing(tmp_path):
    _, err = run(tmp_path, """
        if __name__ == "__main__":
            for batch in D.DataLoader(Numbers(), 2, num_workers=2):
                raise ValueError("mine")
    """, expect=1)
    assert err.rstrip().endswith("ValueError: mine") and "resource_tracker" not in err


def test_control_c(tmp_path):
    process = program(tmp_path, """
        if __name__ == "__main__":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
            loader = D.DataLoader(Numbers(), 2, num_workers=2)
            iterator = iter(loader)
            next(iterator)
            print(*[p.pid for p in multiprocessing.active_children()], flush=True)
            while True:
                for batch in loader:
                    pass
    """)
    pids = [int(p) for p in process.stdout.readline().split()]
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    try:
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # or it would go on for ever
        process.communicate()
        raise
    assert len(pids) == 2
    assert err.rstrip().endswith("KeyboardInterrupt") and err.count("Traceback") == 1, err
    assert "resource_tracker" not in err and "leaked" not in err
    assert blocks(process.pid) == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_loader_goes_on_after_control_c(tmp_path):
    out, err = run(tmp_path, """
        class Slow(Numbers):
            def __getitem__(self, i):
                time.sleep(0.02)
                return i
        if __name__ == "__main__":
            loader = D.DataLoader(Slow(), 20, num_workers=2)
            list(loader)  # Python itself drops an interrupt that comes while it forks
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                list(loader)
            except KeyboardInterrupt:
                print("interrupted")
            print([b.asnumpy().tolist()[0] for b in loader])
    """)
    assert (out, err) == ("interrupted\n[0, 20]\n", "")


@forked
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    process = program(tmp_path, """
        if __name__ == "__main__":
            first = D.DataLoader(Numbers(), 2, num_workers=2)
            second = D.DataLoader(Numbers(), 2, num_workers=1)
            next(iter(first)), next(iter(second))
            print(*[p.pid for p in multiprocessing.active_children()], flush=True)
            time.sleep(60)
    """)
    pids = [int(p) for p in process.stdout.readline().split()]
    process.kill()
    process.communicate(timeout=60)
    assert len(pids) == 3
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    while blocks(process.pid) and time.monotonic() < deadline:  # the resource tracker removes them
        time.sleep(0.1)
    assert blocks(process.pid) == []
