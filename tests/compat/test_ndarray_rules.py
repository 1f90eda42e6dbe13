"""Types, values, creation and reshape codes as MXNet 1.9.1 answered; recorded by ``record/ndarray_rules.py``."""

import itertools
import json
import operator
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")  # nan and inf are values, as the backend says
DATA = Path(__file__).parent / "data" / "ndarray"
LEFT, RIGHT, OF = [1, 2, 7, 0], [2, 3, 2, 1], [1, 4, 9, 4]
SORTS = {("argsort", "float16"), ("sort", "float16")}
TYPES = ["float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"]
#: relative tolerance of values, by type: two correctly rounded libraries differ in the last place
NEAR = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-9}


def table(name: str) -> list:
    return json.loads((DATA / f"{name}.json").read_text())


def known(row: dict) -> bool:
    """Whether mxcore does better on purpose: MXNet computes little of truth values, and does not sort float16."""
    better = "bool" in (row.get("right"), row.get("of")) or (row.get("op"), row.get("of")) in SORTS
    return row.get("raises") == "MXNetError" and better


def judge(row: dict, call) -> None:
    if "raises" in row:
        with pytest.raises(Exception) as caught:
            call()
        assert row["raises"] in [c.__name__ for c in type(caught.value).__mro__], repr(caught.value)
        return
    got = call()
    got = got[0] if isinstance(got, list) else got
    if "python" in row:
        assert type(got).__name__ == row["python"]
        return
    host = got.asnumpy()
    assert host.dtype.name == row["dtype"]
    assert list(host.shape) == row["shape"]
    want = np.array([float(v) for v in row["values"]])
    near = NEAR.get(row["dtype"], 0)
    np.testing.assert_allclose(host.ravel().astype(float), want, rtol=near, atol=near)


def of(row: dict, side: str, values: list):
    return mx.nd.array(values, dtype=row[side]) if side in row else eval(row["scalar"])


def name_of(row: dict) -> str:
    return "-".join(str(v) for k, v in row.items() if k in ("op", "left", "scalar", "right", "of", "call"))


@pytest.mark.parametrize("row", [r for r in table("arithmetic") if not known(r)], ids=name_of)
def test_arithmetic(row):
    judge(row, lambda: getattr(operator, row["op"])(of(row, "left", LEFT), of(row, "right", RIGHT if "left" in row else LEFT)))


@pytest.mark.parametrize("op", ["add", "mul", "truediv", "pow", "eq", "lt"])
def test_two_types_never_mix(op):
    for a, b in itertools.permutations(TYPES, 2):
        with pytest.raises(mx.MXNetError, match=rf"one data type.*{a}.*{b}|{a}.*{b}"):
            getattr(operator, op)(mx.nd.array(LEFT, dtype=a), mx.nd.array(RIGHT, dtype=b))


def function(name: str, x):
    if name == "flip0":
        return mx.nd.flip(x, axis=0)
    if name == "sum_axis":
        return mx.nd.sum(x.reshape((2, 2)), axis=1)
    if name == "argmax_channel":
        return mx.nd.argmax_channel(x.reshape((2, 2)))
    return getattr(mx.nd, name)(x)


@pytest.mark.parametrize("row", [r for r in table("functions") if not known(r)], ids=name_of)
def test_functions(row):
    judge(row, lambda: function(row["op"], mx.nd.array(OF, dtype=row["of"])))


#: MXNet gives an array without dimensions, which little else in it can take, or refuses a dimension of 0
BETTER = {
    "mx.nd.array(5)": (1,), "mx.nd.array(np.float32(2))": (1,), "mx.nd.array(np.array(3))": (1,), "mx.nd.zeros((0, 2))": (0, 2),
    "mx.nd.arange(0)": (0,), "mx.nd.array([mx.nd.array([1]), mx.nd.array([2])])": (2, 1),
}


@pytest.mark.parametrize("row", table("creation"), ids=name_of)
def test_creation(row):
    if row["call"] in BETTER:
        assert eval(row["call"]).shape == BETTER[row["call"]]
    elif "complex64" in row["call"]:  # a KeyError in MXNet
        with pytest.raises(mx.MXNetError, match="complex64"):
            eval(row["call"])
    else:
        judge(row, lambda: eval(row["call"]))


def reshapes() -> list:
    """Without those where a -1 is read after -2 or -4: there MXNet infers another dimension than the one that is -1."""
    rows = []
    for row in table("reshape"):
        codes = row[1][::-1] if row[2] else list(row[1])
        while -4 in codes:
            at = codes.index(-4)
            codes[at:at + 3] = [-2]
        if -2 not in codes or -1 not in codes[codes.index(-2):]:
            rows.append(row)
    return rows


def test_reshape():
    assert len(reshapes()) > 600
    wrong = []
    for shape, code, reverse, want in reshapes():
        try:
            got = list(mx.nd.zeros(tuple(shape)).reshape(tuple(code), reverse=reverse).shape)
        except mx.MXNetError:
            got = None
        if got != want:
            wrong.append((shape, code, reverse, want, got))
    assert not wrong, f"{len(wrong)}: shape, code, reverse, MXNet's answer, ours: {wrong[:8]}"


def test_reshape_of_symbols():
    """The same codes in a graph."""
    for shape, code, reverse, want in reshapes():
        symbol = mx.sym.reshape(mx.sym.var("x"), shape=tuple(code), reverse=reverse)
        if want is None:
            with pytest.raises(mx.MXNetError):
                symbol.infer_shape(x=tuple(shape))
        else:
            assert symbol.infer_shape(x=tuple(shape))[1] == [tuple(want)], (shape, code, reverse)
