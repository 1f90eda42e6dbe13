"""The profiler's face: errors, defaults and signatures as in MXNet; what happens at the ends of processes."""

import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import mxcore as mx
from mxcore import profiler as p
from mxcore.errors import MXNetError


def events(file, name=None):
    return [e for e in json.loads(file.read_text())["traceEvents"] if name in (None, e["name"])]


# ---------------------------------------------------------------- errors, old names, signatures
D = p.Domain("d")
FAILURES = [
    (lambda: p.set_config(foo=1), MXNetError, "Cannot find argument 'foo'"),
    (lambda: p.set_config(aggregate_stats="yes"), MXNetError, "aggregate_stats expect boolean"),
    (lambda: p.set_config(profile_all=None), MXNetError, "profile_all expect boolean"),
    (lambda: p.set_config(dump_period="x"), MXNetError, "dump_period expect float"),
    (lambda: p.set_config(dump_period=-1), MXNetError, "greater than 0"),
    (lambda: p.set_config(profile_process="foo"), MXNetError, "'worker' or 'server'"),
    (lambda: p.set_config(profile_process="server"), MXNetError, "kvstore"),
    (lambda: p.set_state("foo"), KeyError, "^state must be 'run' or 'stop', got 'foo'$"),
    (lambda: p.set_state("run", "foo"), KeyError, "got 'foo'"),
    (lambda: p.set_state("run", "server"), MXNetError, "kvstore"),
    (lambda: p.pause("foo"), KeyError, "foo"),
    (lambda: p.resume("foo"), KeyError, "foo"),
    (lambda: p.dump(profile_process="foo"), KeyError, "foo"),
    (lambda: p.dump(), MXNetError, "hasn't been run"),
    (lambda: p.dumps(format="xml"), AssertionError, "Invalid value provided for format: xml. Support: 'table', 'json'"),
    (lambda: p.dumps(sort_by="name"), AssertionError, "sort_by: name"),
    (lambda: p.dumps(ascending="x"), AssertionError, "ascending: x"),
    (lambda: p.dumps(reset="x"), AssertionError, "reset: x"),
    (lambda: p.Domain(3), TypeError, "name of a domain must be a str, got int"),
    (lambda: p.Task("d", "t"), TypeError, "profiler.Domain is needed, got str"),
    (lambda: p.Frame(D, 3), TypeError, "name of a frame"),
    (lambda: p.Event(None), TypeError, "name of a event"),
    (lambda: p.Counter(D, "c", "x"), ValueError, "counts in integers, got 'x'"),
    (lambda: D.new_counter("c").increment(None), TypeError, "counts in integers"),
    (lambda: p.Marker(D, "m").mark("foo"), MXNetError, "'global', 'process'"),
]


@pytest.mark.parametrize(("call", "kind", "message"), FAILURES)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert isinstance(caught.value, MXNetError)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("form", [bool, int, np.bool_, lambda b: str(int(b)), str, lambda b: str(b).lower()])
def test_booleans(form, wanted):
    value = form(wanted)
    p.set_config(aggregate_stats=value)
    assert (p.dumps() != "") is wanted
    p.set_config()
    assert p.dumps() == ""


def test_old_names(tmp_path):
    file = tmp_path / "old.json"
    for call, new in ((lambda: p.profiler_set_config("all", file), "set_config"), (lambda: p.profiler_set_state("run"), "set_state"),
                      (p.dump_profile, "dump"), (p.profiler_set_state, "set_state")):
        with pytest.warns(UserWarning, match=rf"is deprecated. Please use profiler.{new}\(\) instead") as caught:
            call()
        assert caught[0].filename == __file__
    assert events(file) == []
    with pytest.warns(UserWarning, match="deprecated"), pytest.raises(MXNetError, match="'profile_foo'"):
        p.profiler_set_config("foo")
    p.set_kvstore_handle(3)
    assert p.profiler_kvstore_handle == 3
    p.set_kvstore_handle(None)
    p.set_config()


SIGNATURES = {
    "Counter": "(domain, name, value=None)", "Domain": "(name)", "Event": "(name)", "Frame": "(domain, name)",
    "Marker": "(domain, name)", "Task": "(domain, name)", "dump": "(finished=True, profile_process='worker')",
    "dump_profile": "()", "dumps": "(reset=False, format='table', sort_by='total', ascending=False)",
    "pause": "(profile_process='worker')", "profiler_set_config": "(mode='symbolic', filename='profile.json')",
    "profiler_set_state": "(state='stop')", "resume": "(profile_process='worker')", "set_config": "(**kwargs)",
    "set_kvstore_handle": "(handle)", "set_state": "(state='stop', profile_process='worker')",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_of_mxnet(name):
    found = inspect.signature(getattr(p, name))
    plain = [q.replace(annotation=q.empty) for q in found.parameters.values()]
    assert str(found.replace(parameters=plain, return_annotation=found.empty)) == SIGNATURES[name]


def test_feature():
    assert mx.runtime.Features().is_enabled("PROFILER")


# ---------------------------------------------------------------- processes
def python(code, folder, **env):
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, **env}, check=True, capture_output=True,
                          text=True, timeout=120).stdout


def test_written_at_exit(tmp_path):
    python("import mxcore as mx; mx.profiler.set_state('run'); mx.nd.exp(mx.nd.ones(2))", tmp_path)
    assert len(events(tmp_path / "profile.json", name="exp")) == 1


@pytest.mark.parametrize("name", ["MXNET_PROFILER_AUTOSTART", "MXCORE_PROFILER_AUTOSTART"])
def test_autostart(tmp_path, name):
    python("import mxcore as mx; mx.nd.exp(mx.nd.ones(2))", tmp_path, **{name: "1"})
    assert len(events(tmp_path / "profile.json", name="exp")) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_off_in_forked_processes(tmp_path):
    code = """
import os, warnings, mxcore as mx
from mxcore.runtime import invoke
mx.profiler.set_state("run")
mx.nd.exp(mx.nd.ones(2))
warnings.simplefilter("ignore")
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    mx.nd.log(mx.nd.ones(2))
else:
    assert not invoke.HOOKS
    mx.nd.sin(mx.nd.ones(2))
"""
    python(code, tmp_path)
    assert [len(events(tmp_path / "profile.json", name=n)) for n in ("exp", "log", "sin")] == [1, 1, 0]


def test_import_costs_nothing():
    code = "import sys, mxcore as mx; mx.nd.exp(mx.nd.ones(2)); print([m for m in sys.modules if 'profile' in m])"
    assert python(code, ".") == "[]\n"
