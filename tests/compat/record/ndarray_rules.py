"""Records MXNet 1.9.1's rules for types, reshape codes and creation: ``python ndarray_rules.py`` where mxnet is installed."""

import itertools
import json
import math
import operator
import os
from pathlib import Path

import mxnet as mx
import numpy as np

HERE = Path(__file__).resolve().parent.parent / "data" / "ndarray"
TYPES = ["float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"]
OPERATORS = ["add", "sub", "mul", "truediv", "mod", "pow", "eq", "ne", "gt", "ge", "lt", "le"]
SCALARS = ["2", "2.5", "-3", "0", "True", "np.float64(2.5)", "np.float32(1.5)", "np.int64(3)", "np.int32(3)", "300"]
UNARY = ["abs", "negative", "sign", "square", "round", "floor", "ceil", "rint", "fix", "trunc", "exp", "sqrt", "log", "sin",
         "tanh", "sigmoid", "relu", "reciprocal", "cbrt", "expm1", "logical_not",
         "ones_like", "zeros_like", "BlockGrad", "sum", "mean",
         "prod", "max", "min", "argmax", "argmin", "argsort", "sort", "topk", "norm", "softmax", "log_softmax", "shape_array",
         "size_array", "flip0", "sum_axis", "argmax_channel"]
LEFT, RIGHT = [1, 2, 7, 0], [2, 3, 2, 1]


def answer(call):
    """The type, shape and values of a result, or the class of the exception."""
    try:
        r = call()
        if isinstance(r, (list, tuple)):
            r = r[0]
        if not isinstance(r, mx.nd.NDArray):
            return {"python": type(r).__name__}
        a = r.asnumpy()
        values = [float(v) for v in a.ravel()]
        return {"dtype": a.dtype.name, "shape": list(a.shape),
                "values": [int(v) if math.isfinite(v) and v == int(v) and abs(v) < 1e9 else v if math.isfinite(v) else repr(v)
                           for v in values]}
    except Exception as error:
        return {"raises": type(error).__name__}


def unary(name, x):
    if name == "flip0":
        return mx.nd.flip(x, axis=0)
    if name == "sum_axis":
        return mx.nd.sum(x.reshape((2, 2)), axis=1)
    if name == "argmax_channel":
        return mx.nd.argmax_channel(x.reshape((2, 2)))
    return getattr(mx.nd, name)(x)


def arithmetic():
    rows = []
    for op, a in itertools.product(OPERATORS, TYPES):
        f = getattr(operator, op)
        x = lambda: mx.nd.array(LEFT, dtype=a)  # noqa: B023
        for b in TYPES:
            row = {"op": op, "left": a, "right": b, **answer(lambda: f(x(), mx.nd.array(RIGHT, dtype=b)))}  # noqa: B023
            if a == b:
                rows.append(row)
            else:
                assert row["raises"] == "MXNetError"  # two types never mix: not worth a table
        for text in SCALARS:
            s = eval(text)
            if text == "300" and (op == "pow" or a in ("float16", "float32", "float64")):
                continue  # what is looked at is how a number that is too large meets a small type
            undefined = s < 0 if op == "pow" else op in ("truediv", "mod") and not s
            if undefined and a not in ("float16", "float32", "float64"):
                continue  # an integer through zero: not defined
            rows.append({"op": op, "left": a, "scalar": text, **answer(lambda: f(x(), s))})  # noqa: B023
            if op in ("add", "sub", "mul", "truediv", "mod", "pow") and not text.startswith("np."):
                if op in ("truediv", "mod", "pow") and a not in ("float16", "float32", "float64"):
                    continue  # LEFT holds a zero
                rows.append({"op": op, "scalar": text, "right": a, **answer(lambda: f(s, x()))})  # noqa: B023
    return rows


def inplace():
    rows = []
    for op, a, text in itertools.product(["iadd", "isub", "imul", "itruediv"], TYPES, ["2", "2.5"]):
        rows.append({"op": op, "left": a, "scalar": text,
                     **answer(lambda: getattr(operator, op)(mx.nd.array(LEFT, dtype=a), eval(text)))})  # noqa: B023
    return rows


def functions():
    return [{"op": n, "of": t, **answer(lambda: unary(n, mx.nd.array([1, 4, 9, 4], dtype=t)))}  # noqa: B023
            for n, t in itertools.product(UNARY, TYPES)
            if n != "norm" or t.startswith("float")]  # MXNet rounds an integer norm down at every step


def creation():
    sources = ["[1, 2]", "[1.5, 2]", "[True, False]", "5", "[[1, 2], [3, 4]]", "np.arange(3)", "np.arange(3.)", "np.float32(2)",
               "np.arange(3, dtype='int32')", "np.ones((2, 1), 'float16')", "np.array([True])", "np.array(3)", "()", "[]",
               "mx.nd.array([1, 2], dtype='int32')", "mx.nd.array([1, 2], dtype='float64')",
               "[mx.nd.array([1]), mx.nd.array([2])]"]
    rows = [{"call": f"mx.nd.array({s})"} for s in sources]
    rows += [{"call": f"mx.nd.array({s}, dtype='{t}')"} for s in ("[0, 1.7, -2.2]", "[0, 3]") for t in TYPES]
    rows += [{"call": c} for c in (
        "mx.nd.zeros(3)", "mx.nd.zeros((2, 1), dtype='int64')", "mx.nd.ones((1, 2), dtype=np.float16)", "mx.nd.full((2,), 7)",
        "mx.nd.full((2,), 7.5, dtype='int32')", "mx.nd.arange(4)", "mx.nd.arange(1, 4)", "mx.nd.arange(0, 2, 0.5)",
        "mx.nd.arange(3, repeat=2)", "mx.nd.arange(5, 1, -2)", "mx.nd.arange(2, dtype='int64')", "mx.nd.linspace(0, 1, 3)",
        "mx.nd.linspace(0, 1, 4, endpoint=False)", "mx.nd.eye(2)", "mx.nd.eye(2, 3, 1)", "mx.nd.eye(3, 2, -1, dtype='int32')",
        "mx.nd.zeros_like(mx.nd.ones((2,), dtype='int32'))", "mx.nd.ones(2, dtype=None)", "mx.nd.zeros(())",
        "mx.nd.zeros((0, 2))", "mx.nd.array([1], dtype='complex64')", "mx.nd.array(['a'])", "mx.nd.array([[1], [1, 2]])",
        "mx.nd.arange(0)", "mx.nd.moveaxis(mx.nd.array([[1, 2]]), 0, 1)",
        "mx.nd.concatenate([mx.nd.array([[1]]), mx.nd.array([[2]])], axis=1)",
        "mx.nd.onehot_encode(mx.nd.array([1, 0]), mx.nd.zeros((2, 2)))")]
    return [{**r, **answer(lambda: eval(r["call"]))} for r in rows]  # noqa: B023


def in_child(call):
    """The result of a call, or None if it fails: some codes that do not fit kill MXNet's process."""
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(begin, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(begin)
    with os.fdopen(end) as f:
        text = f.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def reshape():
    rng = np.random.RandomState(5)
    shapes = [s for n in range(1, 5) for s in itertools.product([1, 2, 3, 4, 6], repeat=n)]
    x = {s: mx.nd.zeros(s) for s in shapes}
    mx.nd.waitall()
    pool = [0, -1, -2, -3, -4, 1, 2, 3, 4, 6]
    rows, seen = [], set()
    while len(rows) < 700:
        shape = tuple(int(d) for d in rng.choice([1, 2, 3, 4, 6], rng.randint(1, 5)))
        code = [int(c) for c in rng.choice(pool, rng.randint(1, 6), p=[.2, .2, .1, .15, .1, .05, .07, .05, .05, .03])]
        reverse = bool(rng.randint(2))
        if -4 in code and rng.rand() < 0.8:  # mostly with two sizes that can fit
            at, a = code.index(-4), int(rng.choice([-1, 1, 2, 3]))
            code[at + 1:at + 3] = [a, -1 if a > 0 else 2]
            code = code[::-1] if reverse else code
        code = tuple(code)
        if (shape, code, reverse) in seen:
            continue
        seen.add((shape, code, reverse))
        got = in_child(lambda: list(x[shape].reshape(code, reverse=reverse).shape))  # noqa: B023
        if got is None and rng.rand() < 0.7:
            continue  # most random codes do not fit
        rows.append([list(shape), list(code), reverse, got])
    return rows


if __name__ == "__main__":
    for name, rows in (("arithmetic", arithmetic() + inplace()), ("functions", functions()), ("creation", creation()),
                       ("reshape", reshape())):
        text = "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n"
        (HERE / f"{name}.json").write_text(text)
        print(name, len(rows), len(text))
