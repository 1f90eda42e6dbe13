"""The plugin as its users meet it: installed, and a context named. The conformance kit says whether it computes right."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
import mxcore_tracing
from mxcore import autograd, nd
from mxcore.testing import conformance

HERE = Path(__file__).resolve().parent.parent
TRACING = mx.Context("tracing")


@pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")  # nan and inf are values; as the backend does
def test_it_conforms():
    """What the kit has of devices, training and leaks, and of samples the first of each operator in four checks."""
    part = "^(device:|training:|leak:objects)|-0:(forward|agreement|gradient|symbol)$"
    report = conformance.run("tracing", HERE / "xfails.txt", only=part)
    assert report and not report.skipped and not report.expected, report
    assert report.passed > 1500


def test_it_takes_under_200_lines():
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in (HERE / "mxcore_tracing").rglob("*.py")) < 200


def test_it_serves_its_own_kind_only():
    info = next(i for i in mx.plugins.backend_infos() if i.name == "tracing")
    assert info.kinds == {}
    before = mxcore_tracing.report()
    with mxcore_tracing.log() as calls:
        (nd.ones((2, 3)) + 1).asnumpy()
    assert calls == [] and mxcore_tracing.report() == before


def test_a_call_is_logged_with_what_it_was_given_and_gave():
    a, b = nd.ones((2, 3), ctx=TRACING), nd.ones((3, 4), ctx=TRACING, dtype="float32")
    with mxcore_tracing.log() as calls:
        nd.dot(a, b)
        nd.concat(a, a, dim=0)
    product, joined = (next(c for c in calls if c.function == name) for name in ("matmul", "concatenate"))
    assert product.inputs == (((2, 3), "float32"), ((3, 4), "float32"))
    assert product.outputs == (((2, 4), "float32"),)
    assert product.nbytes == 4 * (6 + 12 + 8) and product.seconds > 0
    assert joined.inputs == (((2, 3), "float32"),) * 2 and joined.outputs == (((4, 3), "float32"),)


def test_operators_of_python_and_generators_are_logged():
    x = nd.ones((5,), ctx=TRACING)._data
    with mxcore_tracing.log() as calls:
        y = x + 2
        y *= x
        nd.random_normal(shape=(2, 2), ctx=TRACING)
    assert type(y) is type(x) and y.tolist() == [3] * 5
    assert [c.function for c in calls][:2] == ["operator.add", "operator.multiply"]
    assert "random.standard_normal" in {c.function for c in calls}


def test_logs_are_nested_and_end_with_their_block():
    x = nd.ones((5,), ctx=TRACING)
    with mxcore_tracing.log() as outer:
        with mxcore_tracing.log() as inner:
            nd.exp(x)
        nd.log(x)
    nd.sin(x)
    assert [c.function for c in inner] == ["exp"] and [c.function for c in outer] == ["exp", "log"]
    with pytest.raises(ZeroDivisionError), mxcore_tracing.log() as calls:
        raise ZeroDivisionError
    nd.exp(x)
    assert calls == []


def test_the_report_counts_the_calls_of_all_threads():
    x = nd.ones((2, 5), ctx=TRACING)
    mxcore_tracing.reset()
    threads = [threading.Thread(target=lambda: [nd.exp(x) for _ in range(50)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    nd.sqrt(x)
    head, *rows = mxcore_tracing.report().splitlines()
    assert head.split() == ["function", "calls", "seconds", "bytes"]
    table = {row.split()[0]: row.split()[1:] for row in rows}
    assert table["exp"][0] == "200" and table["exp"][2] == "16,000" and table["sqrt"][0] == "1"
    seconds = [float(row.split()[2]) for row in rows]
    assert seconds == sorted(seconds, reverse=True)
    mxcore_tracing.reset()
    assert mxcore_tracing.report() == head


def test_a_compiled_network_shows_what_it_saves():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(2, 3, in_channels=2), mx.gluon.nn.BatchNorm(in_channels=2))
    net.initialize(ctx=TRACING)
    x = nd.ones((1, 2, 5, 5), ctx=TRACING)
    with mxcore_tracing.log() as eager:
        want = net(x).asnumpy()
    net.hybridize()
    net(x)
    with mxcore_tracing.log() as compiled:
        np.testing.assert_allclose(net(x).asnumpy(), want, rtol=1e-5)
    assert 0 < len(compiled) < len(eager)


def test_gradients_are_logged_too():
    x = nd.ones((3,), ctx=TRACING)
    x.attach_grad()
    with autograd.record():
        y = nd.exp(x)
    with mxcore_tracing.log() as calls:
        y.backward()
    assert calls


def test_the_readme_runs(capsys):
    program = re.search(r"```python\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    mxcore_tracing.reset()
    exec(program, {})
    printed = capsys.readouterr().out
    assert "matmul (((4, 3), dtype('float32'))" in printed and re.search(r"^matmul +1 +\d", printed, re.MULTILINE), printed
