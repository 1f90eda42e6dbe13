"""Cases of the golden corpus in ``data/golden``: what MXNet 1.9.1 gave for calls of its operators.

``test_golden_subset.py`` runs them. Values in a case: ``{"$a": name}`` an array as an NDArray, ``{"$n": name}`` as a NumPy
array, ``$t`` a tuple, ``$s`` a slice, ``$e`` an ellipsis, ``$f`` nan or an infinity, ``$arg`` the very argument of that
number, ``$dtype`` a type.
"""

import gzip
import json
from pathlib import Path

import numpy as np

import mxcore as mx
from mxcore import autograd

FOLDER = Path(__file__).parent / "data" / "golden"
_FILE = json.loads(gzip.decompress((FOLDER / "cases.json.gz").read_bytes()))
_BYTES = gzip.decompress((FOLDER / "cases.bin.gz").read_bytes())
CASES = _FILE["cases"]


def array(name):
    dtype, shape, place = _FILE["arrays"][name]
    return np.frombuffer(_BYTES, dtype, int(np.prod(shape)), place).reshape(shape).copy()


def on(ctx):
    """How an input is made on a device."""
    return lambda name: mx.nd.array(array(name), dtype=array(name).dtype, ctx=ctx)


def decode(value, make, made, args=()):
    """A value of a case; ``make`` makes the arrays, ``made`` keeps them by name."""
    if isinstance(value, list):
        return [decode(v, make, made, args) for v in value]
    if not isinstance(value, dict):
        return value
    (tag, inner), = value.items()
    if tag == "$a":
        if inner not in made:
            made[inner] = make(inner)
        return made[inner]
    if tag == "$arg":
        return args[inner]
    plain = {"$n": array, "$f": float, "$dtype": lambda t: getattr(np, t if t != "bool" else "bool_"), "$e": lambda _: Ellipsis}
    if tag in plain:
        return plain[tag](inner)
    return {"$t": tuple, "$s": lambda v: slice(*v)}[tag]([decode(v, make, made, args) for v in inner])


def function(op, space):
    """What a case calls, or None if there is no such operator."""
    head, _, name = op.partition(".")
    if head in ("method", "prop"):
        if not hasattr(mx.nd.NDArray, name):
            return None
        return (lambda x, *a, **k: getattr(x, name)(*a, **k)) if head == "method" else lambda x: getattr(x, name)
    found = space
    for part in op.split("."):
        found = getattr(found, part, None)
    return found


def flat(result):
    return [r for one in result for r in flat(one)] if isinstance(result, (list, tuple)) else [result]


def eager(case, ctx):
    """Outputs, gradients and inputs after the call, by name."""
    made: dict = {}
    args = decode(case.get("args", []), on(ctx), made)
    kwargs = {k: decode(v, on(ctx), made, args) for k, v in case.get("kwargs", {}).items()}
    kwargs |= {"ctx": ctx} if not made and "ctx" not in kwargs and case["op"] in CREATORS else {}
    wanted = list(case.get("grads", ()))
    for name in wanted:
        made[name].attach_grad(case.get("req", "write"))
    for _ in range(2 if case.get("req") == "add" else 1):
        if case.get("mode") == "train":
            with autograd.record():
                outs = flat(function(case["op"], mx.nd)(*args, **kwargs))
        else:
            outs = flat(function(case["op"], mx.nd)(*args, **kwargs))
        if wanted:
            heads = [i for i in range(len(outs)) if str(i) in case["heads"]]
            autograd.backward([outs[i] for i in heads], [on(ctx)(case["heads"][str(i)]) for i in heads])
    return outs, {n: made[n].grad for n in wanted}, {n: made[n] for n in case.get("after", ())}


CREATORS = ("zeros", "ones", "full", "arange", "eye", "linspace")


def bound(case, ctx):
    """The same through a symbol and its executor."""
    made: dict = {}
    variables: dict = {}

    def variable(name):
        made[name] = on(ctx)(name)
        variables[f"v{len(variables)}"] = name
        return mx.sym.var(f"v{len(variables) - 1}")

    seen: dict = {}
    args = decode(case.get("args", []), variable, seen)
    kwargs = {k: decode(v, variable, seen, args) for k, v in case.get("kwargs", {}).items()}
    s = function(case["op"], mx.sym)(*args, **kwargs)
    s = mx.sym.Group(list(s)) if isinstance(s, (list, tuple)) else s
    req = {v: case.get("req", "write") if n in case.get("grads", ()) else "null" for v, n in variables.items()}
    grads = {v: mx.nd.zeros(made[n].shape, dtype=made[n].dtype, ctx=ctx) for v, n in variables.items() if req[v] != "null"}
    values = {v: made[n] for v, n in variables.items()}
    e = s.bind(ctx, {n: values[n] for n in s.list_arguments()}, grads, req, {n: values[n] for n in s.list_auxiliary_states()})
    for _ in range(2 if case.get("req") == "add" else 1):
        outs = e.forward(is_train=case.get("mode") == "train")
        if grads:
            e.backward([on(ctx)(case["heads"][str(i)]) if str(i) in case["heads"] else mx.nd.zeros(o.shape, dtype=o.dtype, ctx=ctx)
                        for i, o in enumerate(outs)])
    return outs, {variables[v]: g for v, g in grads.items()}, {n: made[n] for n in case.get("after", ())}


def differs(got, want, case, what):
    """None, or how an array differs from what MXNet gave."""
    got = got.asnumpy() if hasattr(got, "asnumpy") else np.asarray(got)
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return f"{what}: {got.dtype} {got.shape}, expected {want.dtype} {want.shape}"
    if want.dtype.kind not in "fc":
        return None if np.array_equal(got, want) else f"{what}: {got.tolist()}, expected {want.tolist()}"
    wide = want.astype("float64")
    rms = np.sqrt(np.mean(wide[np.isfinite(wide)] ** 2)) if np.isfinite(wide).any() else 1.0
    near = np.isclose(got.astype("float64"), wide, case["rtol"], case["atol"] * max(1.0, rms), equal_nan=True)
    return None if near.all() else f"{what}: {got.tolist()}, expected {want.tolist()}"


def check(case, ctx, run=eager):
    """None, or what is wrong."""
    if "raises" in case:
        try:
            run(case, ctx)
        except Exception as error:
            names = [c.__name__ for c in type(error).__mro__]
            return None if set(names) & set(case["raises"]) else f"raised {names[0]}, expected {case['raises']}"
        return f"nothing raised, expected {case['raises']}"
    outs, grads, after = run(case, ctx)
    if len(outs) != len(case["out"]):
        return f"{len(outs)} outputs, expected {len(case['out'])}"
    problems = []
    for i, (got, want) in enumerate(zip(outs, case["out"], strict=True)):
        if "k" in want:
            problems.append(differs(got, array(want["k"]), case, f"output {i}"))
        elif "shape" in want:
            if list(got.shape) != want["shape"] or np.dtype(got.dtype).name != want["dtype"]:
                problems.append(f"output {i}: {got.dtype} {got.shape}, expected {want['dtype']} {want['shape']}")
        elif "n" in want:
            problems.append(None if got is None else f"output {i}: {got!r}, expected None")
        elif "v" in want:
            value = float(want["v"]["$f"]) if isinstance(want["v"], dict) else want["v"]
            value = tuple(value) if isinstance(value, list) else value
            same = str(got) == value or getattr(got, "__name__", None) == value if isinstance(value, str) else got == value
            problems.append(None if same else f"output {i}: {got!r}, expected {value!r}")
    problems += [differs(grads[n], array(w), case, f"gradient of {n}") for n, w in case.get("grads", {}).items()]
    problems += [differs(after[n], array(w), case, f"{n} after the call") for n, w in case.get("after", {}).items()]
    return "; ".join(filter(None, problems)) or None
