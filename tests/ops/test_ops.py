"""Every operator, by its samples, on every device at hand: see mxcore.testing.checks."""

from collections import defaultdict

import pytest

from mxcore.context import Context
from mxcore.registry import OPS
from mxcore.testing import loopback, sampling
from mxcore.testing.checks import CHECKS, PORTABLE

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")  # nan and inf are values; as the backend does
loopback.install()
SAMPLES = sampling.load()
BY_OP = defaultdict(list)
for _s in SAMPLES:
    BY_OP[OPS[_s.op]].append(_s)


@pytest.mark.parametrize("kind", ["cpu", "loopback"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)
def test_sample(sample, kind):
    for name, check in CHECKS.items():
        if kind == "cpu" or name in PORTABLE:
            check(sample, Context(kind, 0))


#: those without outputs: there is nothing to compose, infer or bind (tests/frontends/test_optimizer.py has them)
SILENT = {"reset_arrays"}


def sampled(op):
    """Whether an operator is tested by samples.

    Not so: those whose attributes hold objects (keys of indexing, callbacks), which only exist between a front-end and
    the operator and are tested there; the hidden ones that gradient rules call, which the gradient checks reach; those
    of plugins, which bring their own samples.
    """
    return op.name not in SILENT and op.schema.cacheable and not op.hidden and op.fn.__module__.startswith("mxcore.")


def test_every_operator_has_a_sample():
    missing = sorted({op.name for op in OPS.values() if sampled(op)} - {op.name for op in BY_OP})
    assert not missing, f"operators without a sample in mxcore/testing/samples: {missing}"


#: attributes that are accepted for MXNet's sake, without effect or, with init_output=False, refused
IDLE = {"cudnn_tune", "cudnn_off", "lazy_update", "sparse_grad", "forward_stype", "infer_range", "init_output"}


def choices(op):
    """Attribute -> the values that a sample must show: every choice of a literal, both truth values."""
    for name, a in op.schema.attrs.items():
        if name not in IDLE and (a.choices or a.type_text.startswith("boolean")):
            yield name, [str(c) for c in a.choices] or ["False", "True"]


def test_every_mode_has_a_sample():
    missing = []
    for op, samples in BY_OP.items():
        if op.name.startswith("_pool_"):  # these get their modes from Pooling, whose gradients reach them
            continue
        for name, values in choices(op):
            seen = {str(op.parse(s.attrs)[name]) for s in samples}
            missing += [f"{op.name}({name}={v})" for v in values if v not in seen]
    assert not missing, f"modes without a sample: {missing}"
