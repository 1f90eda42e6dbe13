"""Settings of the whole test suite: hypothesis profiles, and the names that doctests see."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None)  # a loaded machine is slow, not wrong
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True, scope="session")
def _doctest_names(doctest_namespace: dict) -> None:
    """Examples in docstrings may use these names without importing them."""
    import mxcore as mx

    doctest_namespace.update(mx=mx, np=np, nd=mx.nd, sym=mx.sym, autograd=mx.autograd)


@pytest.fixture(autouse=True)
def _doctest_numbers(request: pytest.FixtureRequest) -> Iterator[None]:
    """In docstrings a NumPy scalar is shown as its number: ``6.0``, not ``np.float32(6.0)``."""
    if isinstance(request.node, pytest.DoctestItem):
        with np.printoptions(legacy="1.25"):
            yield
    else:
        yield
