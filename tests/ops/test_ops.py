"""Every operator, by its samples, on every device at hand: see mxcore.testing.checks."""

import pytest

from mxcore.context import Context
from mxcore.registry import OPS
from mxcore.testing import loopback, sampling
from mxcore.testing.checks import CHECKS

loopback.install()
SAMPLES = sampling.load()


@pytest.mark.parametrize("kind", ["cpu", "loopback"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)
def test_sample(sample, kind):
    for name, check in CHECKS.items():
        if kind == "cpu" or name in ("forward", "gradient", "symbol"):
            check(sample, Context(kind, 0))


def test_every_operator_has_a_sample():
    have = {OPS[s.op] for s in SAMPLES}
    missing = sorted({op.name for op in OPS.values() if not op.hidden} - {op.name for op in have})
    assert not missing, f"operators without a sample in mxcore/testing/samples: {missing}"
