"""The conformance kit: the backends at hand conform, and it finds what does not."""

import subprocess
import sys
import time

import numpy as np
import pytest

from mxcore.errors import ArgumentError, FileFormatError
from mxcore.runtime.backend import XP
from mxcore.runtime.device import backend_named
from mxcore.testing import conformance, functions, loopback

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")  # nan and inf are values; as the backend does
ONE = "^(exp-0|BatchNorm-4|Convolution-6|RNN-0|_random_normal-0|sgd_mom_update-0|sum-1):"


@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_devices_conform(kind):
    report = conformance.run(kind, only=f"^(device:|training:|leak:objects)|{ONE}")  # test_ops runs the other samples
    assert report, report
    assert report.passed > 200 and not report.skipped


def test_every_function_has_examples():
    assert [n for n in XP if not functions.examples()[n]] == []


def test_cases_are_named_after_samples_and_checks():
    names = [c.name for c in conformance.cases("loopback")]
    assert len(set(names)) == len(names)
    assert {"device:memory_views", "device:xp_take", "exp-0:forward", "exp-0:second"} <= set(names)


@pytest.fixture
def broken(monkeypatch):
    """The loopback backend with an error of a thousandth in ``exp``, and without ``tan``."""
    conformance.cases("loopback")
    xp = backend_named("loopback").xp
    right = xp.exp
    monkeypatch.setattr(xp, "exp", lambda a: right(a) * 1.001)
    monkeypatch.setattr(xp, "tan", lambda a: 1 / 0)


def test_failures_are_found(broken):
    report = conformance.run("loopback", only="^(exp-0|tan-0|sin-0):|^device:xp_(exp|tan|sin)$")
    assert not report
    assert {"exp-0:forward", "exp-0:agreement", "tan-0:forward", "device:xp_exp", "device:xp_tan"} <= set(report.failed)
    assert not any("sin" in name for name in report.failed)
    assert "FAILED exp-0:forward: AssertionError" in str(report)
    assert "ZeroDivisionError" in report.failed["device:xp_tan"]


@pytest.fixture
def spoil(monkeypatch):
    """Puts another function in the place of one of the loopback backend, which is given the right one first."""
    def put(name, wrong, where=None):
        backend = backend_named("loopback")
        where = where or (backend.xp if hasattr(backend.xp, name) else backend)
        right = getattr(where, name)
        monkeypatch.setattr(where, name, lambda *args, **kwargs: wrong(right, *args, **kwargs))

    conformance.cases("loopback")
    return put


def failures(only):
    report = conformance.run("loopback", only=only)
    assert report.failed and not report.passed, report
    return report.failed


def test_training_that_departs_from_the_cpu_is_found(spoil):
    spoil("matmul", lambda right, *args: right(*args) * 1.01)
    failed = failures("^training:(mlp|attention)-(eager|hybridized)")
    assert len(failed) == 8 and "the losses of mlp with adam, eager" in failed["training:mlp-eager-adam"]


def test_copies_between_devices_that_go_wrong_are_found(spoil):
    def from_host(right, array, index):
        return right(array[::-1] if index == 1 and array.dtype == np.int64 else array, index)

    spoil("from_host", from_host)
    assert "int64 from loopback(0) to loopback(1)" in failures("^device:transfer_between")["device:transfer_between_devices"]


def test_devices_that_meet_unnoticed_are_found(monkeypatch):
    monkeypatch.setattr("mxcore.runtime.invoke._check_device", lambda *args: None)
    failures("^device:errors_of_devices")


def test_threads_that_share_memory_are_found(spoil):
    """Products of a shape go through the same memory, as if the library had one for all threads."""
    scratch = {}

    def product(right, *args):
        result = right(*args)
        shared = scratch.setdefault((result.shape, result.dtype), result)
        shared._a[...] = result._a
        time.sleep(1e-4)  # another thread comes
        return loopback.Buffer(shared._a.copy())

    spoil("matmul", product)
    spoil("tensordot", product)
    failures("^device:threads_(compute|train)$")


def test_arrays_that_are_kept_are_found(spoil):
    kept = []

    def from_host(right, *args):
        kept.append(right(*args))
        return kept[-1]

    spoil("from_host", from_host)
    failed = failures("^leak:|device:memory_(returned|bytes)")
    assert "Buffer" in failed["leak:objects-eager"]


def test_writes_that_are_not_heard_are_found(monkeypatch):
    conformance.cases("loopback")
    monkeypatch.delattr(loopback.Buffer, "base")
    failures("^device:memory_writes_are_heard$")


def test_what_nobody_can_tell_is_skipped_with_the_reason(monkeypatch, tmp_path):
    file = tmp_path / "xfails.txt"
    file.write_text("leak:bytes-*  # never passed\n")
    for name in ("leak_checks.tracemalloc.get_traced_memory", "loopback.LoopbackBackend.memory_info"):
        monkeypatch.setattr(f"mxcore.testing.{name}", lambda *args: (10**9, 10**9))
    report = conformance.run("loopback", file, only="^(leak:bytes|device:memory_(bytes|returned))")
    assert report and report.passed == 1, report
    assert set(report.skipped) == {"leak:bytes-eager", "leak:bytes-hybridized", "device:memory_bytes_returned"}
    assert "SKIPPED leak:bytes-eager: neither memory_info nor" in str(report)


def test_failures_can_be_expected(broken, tmp_path):
    file = tmp_path / "xfails.txt"
    file.write_text("# a table\n\nexp-0:*  # inexact\ndevice:xp_exp  # inexact\n")
    report = conformance.run("loopback", file, only="^exp-0:(forward|agreement)|xp_exp$")
    assert report, report
    assert report.expected == {"exp-0:forward": "inexact", "exp-0:agreement": "inexact", "device:xp_exp": "inexact"}


def test_expected_failures_that_pass_are_failures(tmp_path):
    file = tmp_path / "xfails.txt"
    file.write_text("sin-0:forward  # was wrong once\n")
    report = conformance.run("loopback", file, only="^sin-0:")
    assert not report
    assert report.fixed == ["sin-0:forward"]
    assert "take it out" in str(report)


def test_patterns_that_fit_nothing_are_failures(tmp_path, monkeypatch):
    file = tmp_path / "xfails.txt"
    file.write_text("no_such_operator-*  # gone\n")
    few = [c for c in conformance.cases("loopback") if c.name.startswith("sin-0")]
    monkeypatch.setattr(conformance, "cases", lambda kind, device_id=0: few)
    report = conformance.run("loopback", file)
    assert not report
    assert report.idle == ["no_such_operator-*"]


@pytest.mark.parametrize("line", ["exp-0:forward", "exp-0:forward #", "exp-0:forward  #   "])
def test_an_expected_failure_needs_a_reason(tmp_path, line):
    file = tmp_path / "xfails.txt"
    file.write_text(f"# a comment\n{line}\n")
    with pytest.raises(FileFormatError, match=r"line 2.*no reason"):
        conformance.read_xfails(file)


def test_a_wrong_pattern_is_explained():
    with pytest.raises(ArgumentError, match="regular expression"):
        conformance.run("loopback", only="(")


def test_command_line(capsys, tmp_path):
    assert conformance.main(["--list", "--only", "^sin-0:forward$"]) == 0
    assert capsys.readouterr().out == "sin-0:forward\n"
    assert conformance.main(["--only", "^sin-0:", "--verbose"]) == 0
    assert "sin-0:forward\n" in capsys.readouterr().out
    file = tmp_path / "xfails.txt"
    file.write_text("sin-0:forward  # was wrong once\n")
    assert conformance.main(["--kind", "cpu", "--only", "^sin-0:", "--xfails", str(file)]) == 1
    assert "PASSED, but is expected to fail: sin-0:forward" in capsys.readouterr().out


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "mxcore.testing.conformance", "--kind", "loopback", "--only", "^device:raw"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("loopback: 1 passed, 0 failed")


# what the protocol asks for beyond NumPy: the NumPy backend is the reference of the others, so it is judged by values
@pytest.mark.parametrize(("call", "want"), [
    (lambda xp: xp.sign(np.array([np.nan, -2.0, 0.0, 3.0])), [0, -1, 0, 1]),
    (lambda xp: xp.round(np.array([-2.5, -0.5, 0.5, 1.5, 2.4])), [-3, -1, 1, 2, 2]),
    (lambda xp: xp.mod(np.array([5.0, -5.0, 5.0, 3.0]), np.array([3.0, 3.0, -3.0, 0.0])), [2, 1, -1, 0]),
    (lambda xp: xp.take(np.arange(4), np.array([-9, 9, 2]), axis=0), [0, 3, 2]),
    (lambda xp: xp.take(np.arange(4), np.array([-1, 5]), axis=0, mode="wrap"), [3, 1]),
    (lambda xp: xp.argsort(np.array([2.0, 1, 2, 1]), axis=0), [1, 3, 0, 2]),
    (lambda xp: xp.argtop(np.array([2.0, 1, 2, 1]), 3, 0, True), [0, 2, 1]),
    (lambda xp: xp.argtop(np.array([2.0, 1, 2, 1]), 3, 0, False), [1, 3, 0]),
    (lambda xp: xp.sum(np.full(300, 1, np.uint8)), np.uint8(300 % 256)),
])
def test_functions_of_the_reference(call, want):
    got = call(backend_named("numpy").xp)
    np.testing.assert_array_equal(got, want)
    if isinstance(want, np.generic):
        assert got.dtype == want.dtype


def test_products_of_half_precision_keep_their_type():
    import ml_dtypes

    xp = backend_named("numpy").xp
    for dtype in (np.float16, ml_dtypes.bfloat16):
        a = np.ones((2, 300), dtype)
        for product in (xp.matmul(a, a.T), xp.tensordot(a, a, ((1,), (1,))), xp.einsum("ij,kj->ik", a, a)):
            assert product.dtype == dtype
            np.testing.assert_array_equal(product.astype(np.float32), np.full((2, 2), 300, np.float32))
