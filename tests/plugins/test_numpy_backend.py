"""Settings of the NumPy backend, each in a process of its own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import mxcore as mx
mx.nd.ones(1)
import threadpoolctl
print([i["num_threads"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"])
"""


def threads(**env: str) -> str:
    plain = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={**plain, **env})
    return done.stdout.strip()


def test_threads_of_blas_follow_the_setting():
    if threads() == "[]":
        pytest.skip("NumPy's BLAS library is none that threadpoolctl knows")
    assert threads(MXCORE_NUM_THREADS="1").startswith("[1")


def test_kept_memory_can_be_turned_off():
    assert threads(MXCORE_KEEP_MEMORY="0", MXCORE_NUM_THREADS="1")
