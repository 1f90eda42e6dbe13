"""Settings of the whole test suite: hypothesis profiles, and the names that doctests see."""

import os

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None)  # a loaded machine is slow, not wrong
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True, scope="session")
def _doctest_names(doctest_namespace: dict) -> None:
    """Examples in docstrings may use these names without importing them."""
    import numpy as np

    import mxcore as mx

    doctest_namespace.update(mx=mx, np=np, nd=mx.nd, sym=mx.sym, autograd=mx.autograd)
