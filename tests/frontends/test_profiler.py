"""The profiler: tables as MXNet prints them, traces that viewers open, and nothing at all while it is off."""

import json
import os
import threading
import time
from collections import Counter as Tally
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxcore as mx
from mxcore import autograd, nd
from mxcore import profiler as p
from mxcore.errors import MXNetError
from mxcore.graph import gradient
from mxcore.runtime import invoke, trace
from mxcore.runtime.profile import PROFILE
from mxcore.testing import loopback

loopback.install()

# What MXNet 1.9.1 prints.
TITLE = "\nProfile Statistics:\n\tNote the difference in units for different entries.\n"
TIMES = """=================
Name                          Total Count        Time (ms)    Min Time (ms)    Max Time (ms)    Avg Time (ms)
----                          -----------        ---------    -------------    -------------    -------------
"""
BYTES = """=================
Name                          Total Count    Min Use  (kB)    Max Use  (kB)    Avg Use  (kB)
----                          -----------    -------------    -------------    -------------
"""


@pytest.fixture
def file(tmp_path):
    """Runs with everything on; afterwards as if it had never run."""
    file = tmp_path / "profile.json"
    p.set_config(profile_all=True, aggregate_stats=True, filename=file)
    p.set_state("run")
    yield file
    clear(file)


def clear(file):
    p.set_config(filename=file, aggregate_stats=True)
    p.set_state("run")
    p.dump()
    p.dumps(reset=True)
    p.set_config()


def off():
    return not invoke.HOOKS and not gradient.HOOKS and not PROFILE.active


def figures(reset=False, **kwargs):
    return json.loads(p.dumps(reset, format="json", **kwargs))


def times(section="operator", **kwargs):
    return figures(**kwargs)["Time"].get(section, {})


def counts(section="operator"):
    return {name: row["Count"] for name, row in times(section).items()}


def events(file, **wanted):
    found = json.loads(file.read_text())["traceEvents"]
    return [e for e in found if all(e.get(k) == v for k, v in wanted.items())]


# ---------------------------------------------------------------- tables
def test_table_as_mxnet_prints_it(file):
    x = nd.ones((10, 10))
    y = nd.dot(x, x)
    domain = p.Domain("dom")
    with domain.new_task("a_task_with_a_name_longer_than_its_column"):
        pass
    domain.new_counter("ctr", 5).increment(3)
    domain.new_marker("here").mark()
    with domain.new_frame("fr"), p.Event("ev"):
        pass
    text = p.dumps()
    del y
    assert text.startswith(TITLE + "Device Storage\n" + BYTES + "Memory: cpu/0                           2           0.4000  "
                           "         0.8000           0.6000\n\ndom\n" + TIMES)
    assert "\nctr                                     2           0.0080           0.0050           0.0080           0.0065\n" in text
    assert "\na_task_with_a_name_longer_than_its_column               1           " in text
    assert "\n\ndom,instant_marker\n" + TIMES + "\n" in text
    assert text.endswith("\n\n")
    lines = text.split("\n")
    sections = [lines[i - 1] for i, line in enumerate(lines) if line.startswith("=====")]
    assert sections == ["Device Storage", "dom", "dom,frame", "dom,instant_marker", "event", "operator", "operator,memory"]
    assert "\noperator\n" + TIMES in text
    assert "\noperator,memory\n" + BYTES in text
    row = next(line for line in lines if line.startswith("dot "))
    assert len(row) == 25 + 16 + 4 * 17
    count, total, low, high, mean = row.split()[1:]
    assert count == "1"
    assert float(total) == float(low) == float(high) == float(mean) > 0


def test_json_has_the_figures_of_the_table(file):
    for _ in range(3):
        nd.exp(nd.ones(4))
    found = figures()
    assert list(found) == ["Time", "Memory", "Unit"]
    assert found["Unit"] == {"Time": "ms", "Memory": "kB"}
    row = found["Time"]["operator"]["exp"]
    assert list(row) == ["Count", "Total", "Min", "Max", "Avg"]
    assert list(found["Memory"]["Device Storage"]["Memory: cpu/0"]) == ["Count", "Min", "Max", "Avg"]
    assert found["Memory"]["operator,memory"]["exp"] == {"Count": 3, "Min": 0.016, "Max": 0.016, "Avg": 0.016}
    line = next(line for line in p.dumps().split("\n") if line.startswith("exp "))
    assert line.split()[1:] == [str(row["Count"]), *(f"{row[k]:.4f}" for k in ("Total", "Min", "Max", "Avg"))]


@pytest.mark.parametrize("by", ["total", "avg", "min", "max", "count"])
@pytest.mark.parametrize("ascending", [False, True])
def test_order_of_rows(file, by, ascending):
    x = nd.ones(3)
    for n, op in enumerate((nd.exp, nd.log, nd.sin, nd.cos)):
        for _ in range(n + 1):
            op(x)
    for section in (figures(sort_by=by, ascending=ascending)["Time"], figures(sort_by=by, ascending=ascending)["Memory"]):
        for rows in section.values():
            values = [r[by.capitalize() if by.capitalize() in r else "Max"] for r in rows.values()]
            assert values == sorted(values, reverse=not ascending)
    names = [line.split()[0] for line in p.dumps(sort_by=by, ascending=ascending).split("\noperator\n")[1].split("\n\n")[0].split("\n")[3:]]
    assert names == list(times(sort_by=by, ascending=ascending))
    assert set(names) == {"_ones", "exp", "log", "sin", "cos"}


def test_reset_begins_anew(file):
    nd.exp(nd.ones(2))
    assert counts() == {"_ones": 1, "exp": 1}
    figures(reset=True)
    assert p.dumps() == TITLE
    assert p.dumps(format="json").endswith("}\n")
    nd.log(nd.ones(2))
    assert counts() == {"_ones": 1, "log": 1}


def test_no_statistics_unless_asked_for(file):
    p.set_config(filename=file)
    nd.exp(nd.ones(2))
    assert p.dumps() == p.dumps(format="json") == ""
    p.dump()
    assert len(events(file, name="exp")) == 1


# ---------------------------------------------------------------- traces
def test_trace_is_valid(file):
    x = nd.ones((2, 3))
    x.attach_grad()
    with autograd.record(), p.scope("net:"):
        y = nd.dot(x, x, transpose_b=True)
    y.backward()
    domain = p.Domain("dom")
    with domain.new_task("t"), domain.new_frame("f"), p.Event("e"):
        domain.new_counter("c", 1)
        domain.new_marker("m").mark("thread")
    p.dump()
    found = json.loads(file.read_text())
    assert found["displayTimeUnit"] == "ms"
    assert found["otherData"]["memory"]["cpu/0"]["peak"] > 0
    named = {e["pid"]: e["args"]["name"] for e in found["traceEvents"] if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]) for e in found["traceEvents"] if e["name"] == "thread_name"}
    assert sorted(named.values()) == ["cpu/0", "dom", "dom,frame", "dom,instant_marker", "event"]
    assert Tally(e["ph"] for e in found["traceEvents"])["X"] == 3
    begun = {}
    for e in found["traceEvents"]:
        assert isinstance(e["name"], str)
        assert e["pid"] in named
        if e["ph"] == "M":
            continue
        assert (e["pid"], e["tid"]) in threads
        assert isinstance(e["ts"], float)
        assert e["ts"] > 0
        if e["ph"] == "X":
            assert e["dur"] > 0
            assert named[e["pid"]] == "cpu/0"
        elif e["ph"] == "b":
            assert begun.setdefault((e["cat"], e["id"]), e) is e
        elif e["ph"] == "e":
            start = begun.pop((e["cat"], e["id"]))
            assert start["name"] == e["name"]
            assert start["ts"] <= e["ts"]
        elif e["ph"] == "i":
            assert e["s"] in "gpt"
        else:
            assert e["ph"] == "C"
            assert list(e["args"]) == [e["name"]]
    assert not begun
    dot, = [e for e in found["traceEvents"] if e["name"] == "net:dot"]
    assert dot["args"] == {"shapes": [[2, 3], [2, 3]], "dtypes": ["float32"] * 2, "result_shapes": [[2, 2]],
                           "result_dtypes": ["float32"], "bytes": 16, "scope": "net:"}
    back, = [e for e in found["traceEvents"] if e["name"] == "_backward_dot"]
    assert back["args"]["shapes"] == [[2, 2]]
    assert back["args"]["result_shapes"] == [[2, 3], [2, 3]]


def test_statistics_agree_with_the_trace(file):
    x = nd.ones((5, 5))
    for _ in range(7):
        x = nd.dot(x, x) * 0.1
    with p.Event("ev"):
        nd.waitall()
    before = figures()["Time"]
    p.dump()
    for section, rows in before.items():
        for name, row in rows.items():
            if section == "operator":
                spans = [e["dur"] for e in events(file, ph="X", cat=section, name=name)]
            else:
                begun, ended = (events(file, ph=ph, cat=section, name=name) for ph in "be")
                spans = [e["ts"] - b["ts"] for b, e in zip(begun, ended, strict=True)]
            assert row["Count"] == len(spans)
            assert row["Total"] == pytest.approx(sum(spans) / 1000, abs=2e-6)
            assert row["Min"] == pytest.approx(min(spans) / 1000, abs=2e-6)
            assert row["Max"] == pytest.approx(max(spans) / 1000, abs=2e-6)
            assert row["Avg"] == pytest.approx(row["Total"] / row["Count"], abs=2e-6)
    assert before["operator"]["dot"]["Count"] == 7


def test_dumps_and_runs(file):
    nd.exp(nd.ones(2))
    p.dump(finished=False)
    assert [len(events(file, name=n)) for n in ("exp", "log")] == [1, 0]
    nd.log(nd.ones(2))
    p.dump(finished=False)
    assert [len(events(file, name=n)) for n in ("exp", "log")] == [1, 1]
    p.dump()
    assert [len(events(file, name=n)) for n in ("exp", "log")] == [1, 1]
    assert off()
    with pytest.raises(MXNetError, match="hasn't been run"):
        p.dump()
    p.set_state("run")
    nd.sin(nd.ones(2))
    p.set_state("stop")
    p.dump()
    assert [len(events(file, name=n)) for n in ("exp", "sin")] == [0, 1]


def test_whole_files_only(file, monkeypatch):
    nd.exp(nd.ones(2))
    p.dump(finished=False)
    first = file.read_text()
    nd.log(nd.ones(2))
    left = [4]

    def fails(value, real=json.dumps):
        left[0] -= 1
        if left[0] < 0:
            raise OSError("disk full")
        return real(value)

    with monkeypatch.context() as patch:
        patch.setattr(trace.json, "dumps", fails)
        with pytest.raises(OSError, match="disk full"):
            p.dump()
    assert file.read_text() == first
    assert os.listdir(file.parent) == [file.name]
    p.dump()  # nothing was lost
    assert len(events(file, name="exp")) == len(events(file, name="log")) == 1


def test_continuous_dump(file):
    p.set_config(filename=file, continuous_dump=True, dump_period=0.02)
    nd.exp(nd.ones(2))
    deadline = time.monotonic() + 30
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(events(file, name="exp")) == 1
    p.set_state("stop")
    assert all(t.name != "profiler" or not t.is_alive() or t.join(30) is None for t in threading.enumerate())


# ---------------------------------------------------------------- on and off
def test_off_is_off(file):
    assert len(invoke.HOOKS) == len(gradient.HOOKS) == 1
    p.set_state("run")
    assert len(invoke.HOOKS) == len(gradient.HOOKS) == 1
    for turn_off, turn_on in ((p.pause, p.resume), (p.set_state, lambda: p.set_state("run")), (p.stop, p.start),
                              (p.dump, lambda: p.set_state("run"))):
        turn_off()
        assert off()
        nd.exp(nd.ones(2))
        turn_on()
        assert not off()
    assert counts() == {}


def test_waits_for_the_device_only_while_on(file, monkeypatch):
    dev = nd.ones(2, ctx=mx.Context("loopback"))._dev
    waits = []
    monkeypatch.setattr(type(dev.backend), "synchronize", lambda self, index=None: waits.append(index))
    x = nd.ones(2, ctx=mx.Context("loopback"))
    assert waits == [0, 0]
    nd.exp(x)
    assert waits == [0] * 4
    p.set_state("stop")
    nd.exp(x)
    assert waits == [0] * 4
    p.dump()
    pids = {e["args"]["name"]: e["pid"] for e in events(file, name="process_name")}
    assert [e["pid"] for e in events(file, name="exp")] == [pids["loopback/0"]]


STEPS = st.lists(st.sampled_from(["run", "stop", "pause", "resume", "op"]), max_size=25)


@given(STEPS)
def test_states(tmp_path_factory, steps):
    file = tmp_path_factory.getbasetemp() / "states.json"
    p.set_config(aggregate_stats=True, filename=file)
    running = paused = False
    expected = 0
    x = nd.ones(2)
    for step in steps:
        if step == "op":
            nd.exp(x)
            expected += running and not paused
        elif step in ("run", "stop"):
            p.set_state(step)
            running, paused = step == "run", False
        elif step == "pause":
            p.pause()
            paused = running
        else:
            p.resume()
            paused = False
        assert off() is not (running and not paused)
    assert counts().get("exp", 0) == expected
    clear(file)
    assert off()


def test_kinds_of_operators(file):
    x = nd.ones((2, 2))
    x.attach_grad()
    net = mx.gluon.nn.Dense(2)
    net.initialize()
    net.hybridize()
    net(x)
    for flags, expected in (({}, {"exp", "FullyConnected"}), ({"profile_symbolic": False}, {"exp"}),
                            ({"profile_imperative": False}, {"FullyConnected"}),
                            ({"profile_imperative": 0, "profile_all": 1}, {"exp", "FullyConnected"}),
                            ({"profile_imperative": "0", "profile_symbolic": "false"}, set())):
        p.set_config(aggregate_stats=True, filename=file, **flags)
        p.dumps(reset=True)
        with autograd.record():
            y = nd.exp(x)
        y.backward()
        net(x)
        assert set(counts()) - {"_backward_exp", "copy"} == expected
        assert ("_backward_exp" in counts()) is ("exp" in expected)


def test_failures_are_not_recorded(file):
    with pytest.raises(MXNetError):
        nd.dot(nd.ones((2, 3)), nd.ones((2, 3)))
    assert counts() == {"_ones": 2}


def test_gradients(file):
    x = nd.ones((3, 3))
    x.attach_grad()
    with autograd.record():
        loss = (nd.log(x) + nd.dot(nd.exp(x), x)).sum()
    loss.backward()
    assert {n for n in counts() if n.startswith("_backward")} == {"_backward_sum", "_backward_broadcast_add", "_backward_dot",
                                                                 "_backward_exp", "_backward_log"}
    on = x.grad.asnumpy()
    p.set_state("stop")
    with autograd.record():
        loss = (nd.log(x) + nd.dot(nd.exp(x), x)).sum()
    loss.backward()
    np.testing.assert_array_equal(on, x.grad.asnumpy())
    p.set_state("run")
    p.dumps(reset=True)
    with autograd.record():
        y = nd.sin(x)
        slope, = autograd.grad(y, x, create_graph=True)
    slope.backward()
    assert {"sin", "_grad0_sin", "_backward_grad0_sin"} <= set(counts())


def test_hybridized_gives_the_same(file):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(4, activation="relu"), mx.gluon.nn.Dense(2))
    net.initialize(mx.init.One())
    x = nd.array(np.arange(6).reshape(2, 3))
    expected = net(x).asnumpy()
    net.hybridize()
    with autograd.record():
        y = net(x)
    y.backward()
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-6)
    found = counts()
    assert any("FullyConnected" in name for name in found)
    assert not any("CachedOp" in name for name in found)
    p.dump()
    steps = [e["args"] for e in events(file, ph="X") if "kernel" in e["args"]]
    assert "dense" in str([s["node"] for s in steps])


# ---------------------------------------------------------------- memory
def test_memory_that_results_hold(file):
    p.dumps(reset=True)
    before = PROFILE.memory()["cpu/0"]["held"]
    x = nd.ones((1000,))
    y = nd.exp(x)
    view = y.reshape((10, 100))
    assert PROFILE.memory()["cpu/0"]["held"] == before + 8000
    del y
    assert PROFILE.memory()["cpu/0"]["held"] == before + 8000  # the view keeps it
    del view
    assert PROFILE.memory()["cpu/0"]["held"] == before + 4000
    p.pause()
    del x
    p.resume()
    assert PROFILE.memory()["cpu/0"]["held"] == before
    row = figures()["Memory"]["Device Storage"]["Memory: cpu/0"]
    assert row["Count"] == 3  # what was freed while paused is no sample
    assert (row["Min"], row["Max"]) == ((before + 4000) / 1000, (before + 8000) / 1000)
    assert row["Avg"] == pytest.approx((3 * before + 16000) / 3000, abs=1e-6)
    p.dump()
    values = [e["args"]["Memory: cpu/0"] for e in events(file, ph="C")]
    assert values[-3:] == [before + 4000, before + 8000, before + 4000]


def test_memory_of_arrays_that_cannot_be_watched(file, monkeypatch):
    def refuse(raw, gone):
        raise TypeError(f"cannot create weak reference to {type(raw).__name__!r} object")

    ctx = mx.Context("loopback")
    monkeypatch.setattr("mxcore.runtime.profile.weakref", SimpleNamespace(ref=refuse))
    monkeypatch.setattr(type(nd.ones(2, ctx=ctx)._dev.backend), "memory_info", lambda self, index: (300, 1000))
    p.dumps(reset=True)
    nd.ones(2, ctx=ctx)
    assert figures()["Memory"]["Device Storage"]["Memory: loopback/0"]["Max"] == 0.7


def test_no_memory_section_unless_wanted(file):
    p.set_config(filename=file, aggregate_stats=True, profile_memory=False)
    nd.exp(nd.ones(100))
    assert figures()["Memory"] == {}
    assert "Use  (kB)" not in p.dumps()


# ---------------------------------------------------------------- threads
def test_threads(file):
    wait = threading.Barrier(6)
    p.dumps(reset=True)
    counter = p.Domain("dom").new_counter("c")

    def work(n):
        x = nd.ones(4)
        wait.wait(60)
        with p.scope(f"thread{n}:"):
            for _ in range(50):
                nd.exp(x)
                counter.increment()

    threads = [threading.Thread(target=work, args=(n,), name=f"worker {n}") for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert counts() == {"_ones": 6, **{f"thread{n}:exp": 50 for n in range(6)}}
    assert times("dom")["c"]["Total"] == 0.3
    assert times("dom")["c"]["Count"] == 300
    p.dump()
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events(file, name="thread_name")}
    for n in range(6):
        assert {names[e["pid"], e["tid"]] for e in events(file, name=f"thread{n}:exp")} == {f"worker {n}"}


def test_switching_while_others_work(file):
    stop = threading.Event()
    failed = []

    def work():
        x = nd.ones(4)
        try:
            while not stop.wait(0.001):
                nd.exp(x)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for _ in range(20):
        p.pause()
        p.resume()
        p.dump(finished=False)
        p.dumps(reset=True)
    stop.set()
    for t in threads:
        t.join()
    assert not failed
    assert len(events(file, name="exp")) > 0


# ---------------------------------------------------------------- what programs record
def test_scopes(file):
    x = nd.ones(2)
    with p.scope("a") as outer:
        nd.exp(x)
        with p.scope("b:") as inner:
            nd.exp(x)
        with p.scope("c", append_mode=False) as fresh:
            nd.exp(x)
        with p.scope() as unnamed:
            nd.exp(x)
        with pytest.raises(ZeroDivisionError), p.scope("d"):
            1 / 0
        nd.exp(x)
    nd.exp(x)
    assert (outer, inner, fresh, unnamed) == ("a:", "a:b:", "c:", "a:")
    assert counts() == {"_ones": 1, "a:exp": 3, "a:b:exp": 1, "c:exp": 1, "exp": 1}


def test_durations(file):
    domain = p.Domain("dom")
    assert [str(o) for o in (domain, p.Task(domain, "t"), p.Frame(domain, "f"), p.Event("e"), p.Counter(domain, "c"))] == [
        "dom", "t", "f", "e", "c"]
    task = domain.new_task("task")
    task.stop()  # was not started
    assert counts("dom") == {}
    task.start()
    task.start()
    task.stop()
    task.stop()
    assert counts("dom") == {"task": 1}
    p.set_state("stop")
    across = domain.new_task("across")
    across.start()
    p.set_state("run")
    across.stop()
    across.start()
    p.pause()
    across.stop()
    p.resume()
    assert counts("dom") == {"task": 1, "across": 1}
    step = domain.new_frame("step")
    for _ in range(3):
        with step as entered:
            assert entered is step
    assert counts("dom,frame") == {"step": 3}
    first, second = p.Event("first"), p.Event("second")
    first.start()
    second.start()
    first.stop()
    second.stop()
    assert counts("event") == {"first": 1, "second": 1}
    p.dump()
    assert [e["args"]["frame"] for e in events(file, name="step", ph="b")] == [1, 2, 3]
    assert len({e["id"] for e in events(file, ph="b")}) == 7


def test_counters(file):
    domain = p.Domain("dom")
    quiet, counter = domain.new_counter("quiet"), domain.new_counter("c", 5)
    counter += 3
    counter -= 10
    assert isinstance(counter, p.Counter)
    counter.increment(4)
    counter.decrement()
    counter.decrement(2.0)
    p.pause()
    counter += 100
    p.resume()
    counter.set_value("7")
    row = times("dom")["c"]
    assert row == {"Count": 7, "Total": 0.007, "Min": -0.002, "Max": 0.008, "Avg": round(20 / 7 / 1000, 6)}
    assert "quiet" not in times("dom")
    quiet.increment()
    assert times("dom")["quiet"]["Total"] == 0.001
    p.dump()
    assert [e["args"]["c"] for e in events(file, name="c", ph="C")] == [5, 8, -2, 2, 1, -1, 7]


def test_markers(file):
    marker = p.Marker(p.Domain("dom"), "m")
    for scope in ("global", "process", "thread", "task", "marker"):
        marker.mark(scope)
    marker.mark()
    assert times("dom,instant_marker") == {}
    p.dump()
    assert [e["s"] for e in events(file, ph="i", cat="dom,instant_marker", name="m")] == list("gptppp")
