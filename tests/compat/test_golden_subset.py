"""A case of every operator and a few files that MXNet 1.9.1 wrote: eager, through symbols, and on a backend that is no NumPy."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.registry import OPS
from mxcore.testing import loopback

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")  # nan and inf are values, as the backend says
loopback.install()
HERE = Path(__file__).parent
GOLDEN = runpy.run_path(str(HERE / "golden_cases.py"))
FOLDER = GOLDEN["FOLDER"]
THERE = [c for c in GOLDEN["CASES"] if GOLDEN["function"](c["op"], mx.nd) is not None]
SYMBOLIC = [c for c in THERE if c.get("sym") and GOLDEN["function"](c["op"], mx.sym) is not None]
ENTRIES = {e["id"]: e for e in json.loads((FOLDER / "entries.json").read_text())}


def wrong(cases, ctx, run):
    """What is wrong, by case; each is run whatever became of the others."""
    found = {}
    for case in cases:
        try:
            problem = GOLDEN["check"](case, ctx, GOLDEN[run])
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            found[case["id"]] = problem
    return found


@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_eager(kind):
    assert len(THERE) > 380
    bad = wrong(THERE, mx.Context(kind), "eager")
    assert not bad, f"{len(bad)} of {len(THERE)} differ from MXNet:\n" + "\n".join(f"{k}: {v}" for k, v in bad.items())


@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_symbols(kind):
    assert len(SYMBOLIC) > 200
    bad = wrong(SYMBOLIC, mx.Context(kind), "bound")
    assert not bad, f"{len(bad)} of {len(SYMBOLIC)} differ from MXNet:\n" + "\n".join(f"{k}: {v}" for k, v in bad.items())


def test_the_checks_can_fail():
    """A case whose expectation is changed is reported."""
    case = next(c for c in THERE if c["op"] == "square" and "raises" not in c)
    changed = {**case, "out": [{"k": next(iter(case["grads"]))}]}
    assert GOLDEN["check"](case, mx.cpu()) is None
    assert "output 0" in GOLDEN["check"](changed, mx.cpu())
    assert "nothing raised" in GOLDEN["check"]({**case, "raises": ["MXNetError"]}, mx.cpu())
    assert {c["op"] for c in THERE} > {"dot", "Convolution", "exp", "sum"} and len(OPS) > 400


# ---------------------------------------------------------------- files
def arrays(entry):
    with np.load(FOLDER / entry["npz"]) as z:
        return {k: z[k] for k in z.files}


def near(got, want, entry):
    np.testing.assert_allclose(got.asnumpy(), want, rtol=entry["rtol"], atol=entry["atol"])


def form(text):
    graph = json.loads(text)
    return ([(n["op"], n["name"], n.get("attrs", {}), [i[:2] for i in n["inputs"]]) for n in graph["nodes"]],
            [h[:2] for h in graph["heads"]], graph["arg_nodes"])


@pytest.mark.parametrize("name", ENTRIES)
def test_symbol_files(name):
    """Names, shapes, and the same file again."""
    entry = ENTRIES[name]
    s = mx.sym.load(FOLDER / entry["symbol"])
    for what in ("arguments", "auxiliary_states", "outputs"):
        assert getattr(s, f"list_{what}")() == entry[what]
    assert form(s.tojson()) == form((FOLDER / entry["symbol"]).read_text())


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e["kind"] == "symbol"])
@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_bound_symbols(name, kind):
    entry, ctx = ENTRIES[name], mx.Context(kind)
    data, s = arrays(entry), mx.sym.load(FOLDER / entry["symbol"])

    def value(key):
        return mx.nd.array(data[key], dtype=data[key].dtype, ctx=ctx)

    args = {n: value(f"arg:{n}") for n in entry["arguments"]}
    aux = {n: value(f"aux:{n}") for n in entry["auxiliary_states"]}
    grads = {n: mx.nd.zeros(a.shape, dtype=a.dtype, ctx=ctx) for n, a in args.items() if f"g:{n}" in data}
    e = s.bind(ctx, args, grads, {n: "write" if n in grads else "null" for n in args}, aux)
    for i, out in enumerate(e.forward(is_train=False)):
        near(out, data[f"y{i}"], entry)
    assert grads
    for i, out in enumerate(e.forward(is_train=True)):
        near(out, data[f"t{i}"], entry)
    e.backward([value(f"h{i}") for i in range(len(e.outputs))])
    for n, g in grads.items():
        near(g, data[f"g:{n}"], entry)
    shapes = s.infer_shape(**{n: tuple(v) for n, v in entry["infer_from"].items()})
    assert shapes[0] == [a.shape for a in args.values()] and shapes[1] == [data[f"y{i}"].shape for i in range(len(e.outputs))]


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e["kind"] == "gluon"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_exported_nets(name, hybrid):
    entry = ENTRIES[name]
    data = arrays(entry)
    net = mx.gluon.SymbolBlock.imports(str(FOLDER / entry["symbol"]), entry["inputs"], str(FOLDER / entry["export"]))
    net.hybridize(hybrid)
    given = [mx.nd.array(data[f"x{i}"], dtype=data[f"x{i}"].dtype) for i in range(len(entry["inputs"]))]
    found = net(*given)
    for i, out in enumerate(found if isinstance(found, (list, tuple)) else [found]):
        near(out, data[f"y{i}"], entry)
