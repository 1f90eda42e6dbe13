"""Attributes of operators: from Python values and from the text that files keep, positions, errors."""

import inspect
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxcore as mx
from mxcore import nd
from mxcore.registry import OPS, DType, Floats, Scalar, Shape, Slots
from mxcore.registry.schema import Schema, attr_text


def kernel(xp, data, bias=None, *, size: int, rate: float = 0.5, flag: bool = False, name: str = "n", shape: Shape = (),
           slots: Slots = (), floats: Floats = (), dtype: DType = "float32", number: Scalar = 1.0,
           mode: Literal["a", "b"] = "a", axis: int | None = None, axes: Shape | None = None, maybe: float | None = None,
           is_train: bool = False):
    """A kernel with an attribute of every kind."""


SCHEMA = Schema(kernel, 1)


def parse(**given):
    return SCHEMA.parse("op", {"size": 1, **given})


def test_the_signature_is_the_schema():
    assert SCHEMA.inputs == ("data", "bias") and SCHEMA.optional == {"bias"} and SCHEMA.variadic is None
    assert list(SCHEMA.attrs) == ["size", "rate", "flag", "name", "shape", "slots", "floats", "dtype", "number", "mode", "axis",
                                  "axes", "maybe"]
    assert SCHEMA.wants == {"is_train"}
    assert SCHEMA.attrs["size"].required and not SCHEMA.attrs["rate"].required
    found = parse()
    assert found == {"size": 1, "rate": 0.5, "flag": False, "name": "n", "shape": (), "slots": (), "floats": (),
                     "dtype": np.dtype("float32"), "number": 1.0, "mode": "a", "axis": None, "axes": None, "maybe": None}
    assert found.rate == 0.5 and found.given == {"size": "1"}
    with pytest.raises(AttributeError, match="no attribute 'rat' here; there are"):
        found.rat


INTS = st.integers(-2**62, 2**62)
FLOATS = st.floats(allow_nan=False)
SHAPES = st.lists(st.integers(-9, 99), max_size=4).map(tuple)
VALUES = {
    "size": INTS, "rate": FLOATS, "flag": st.booleans(), "name": st.text(max_size=9).filter(lambda s: s != "None"), "shape": SHAPES,
    "slots": st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=4).map(tuple),
    "floats": st.lists(st.floats(-1e9, 1e9), max_size=3).map(tuple), "number": st.one_of(FLOATS, st.integers(-2**53, 2**53)),
    "mode": st.sampled_from(["a", "b"]), "axis": st.one_of(st.none(), st.integers(-5, 5)), "axes": st.one_of(st.none(), SHAPES),
    "maybe": st.one_of(st.none(), FLOATS),
    "dtype": st.sampled_from(["float16", "float32", "float64", "bfloat16", "int8", "int32", "int64", "uint8", "bool"]).map(
        mx.dtype.dtype_of),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_values_and_their_text_are_the_same(given_):
    """What JSON keeps of a value is read back as that value."""
    by_value = parse(**given_)
    for k, v in given_.items():
        assert (by_value[k] == v and type(by_value[k]) is type(v)) or k == "number"
    by_text = SCHEMA.parse("op", by_value.given)
    assert by_text == by_value
    assert by_text.given == by_value.given
    assert all(type(t) is str for t in by_value.given.values())


@pytest.mark.parametrize(("name", "given_", "want"), [
    ("size", True, 1), ("size", np.int8(3), 3), ("size", 4.0, 4), ("size", np.float32(4), 4), ("size", "-7", -7),
    ("size", nd.array([5]), 5), ("size", 2**40, 2**40),
    ("rate", 1, 1.0), ("rate", np.float64(2), 2.0), ("rate", "1e-3", 0.001), ("rate", "inf", float("inf")), ("rate", nd.array([2]), 2.0),
    ("flag", 1, True), ("flag", 0, False), ("flag", "1", True), ("flag", "0", False), ("flag", "True", True), ("flag", "false", False),
    ("flag", np.bool_(True), True),
    ("shape", 3, (3,)), ("shape", [1, 2], (1, 2)), ("shape", "(1, 2)", (1, 2)), ("shape", "[1,2]", (1, 2)), ("shape", "()", ()),
    ("shape", "(3,)", (3,)), ("shape", "(3)", (3,)), ("shape", "3", (3,)), ("shape", "(1L, 2L)", (1, 2)), ("shape", "", ()),
    ("shape", "(,)", ()), ("shape", np.array([1, 2]), (1, 2)), ("shape", (np.int64(1), 2.0), (1, 2)), ("shape", nd.array([4, 5]), (4, 5)),
    ("slots", "(None, 2)", (None, 2)), ("slots", None, None), ("slots", [None], (None,)),
    ("floats", 1, (1.0,)), ("floats", "(0.5, 1)", (0.5, 1.0)),
    ("dtype", "int32", np.dtype("int32")), ("dtype", np.int32, np.dtype("int32")), ("dtype", 4, np.dtype("int32")),
    ("dtype", "4", np.dtype("int32")), ("dtype", nd.zeros(1, dtype="int32"), np.dtype("int32")),
    ("number", "2", 2.0), ("number", True, 1), ("number", np.float16(0.5), 0.5), ("number", nd.array([3]), 3.0),
    ("axis", "None", None), ("axis", "2", 2), ("axes", "(0, 1)", (0, 1)), ("axes", "None", None), ("maybe", "0.5", 0.5)])
def test_what_else_is_read(name, given_, want):
    if want is None and name == "slots":
        with pytest.raises(mx.MXNetError, match="Invalid Parameter format for slots"):
            parse(slots=given_)
        return
    got = parse(**{name: given_})[name]
    assert got == want and type(got) is type(want)
    assert parse(**{name: parse(**{name: given_}).given[name]})[name] == want  # the text that files keep


@pytest.mark.parametrize(("name", "value"), [
    ("size", "x"), ("size", 1.5), ("size", None), ("size", "None"), ("size", "1.5"), ("size", (1,)), ("size", float("nan")),
    ("size", float("inf")), ("rate", "half"), ("rate", None), ("rate", (1, 2)), ("flag", "yes"), ("flag", 0.5), ("flag", None),
    ("name", 3), ("name", None), ("shape", "(1, two)"), ("shape", "(1"), ("shape", (1.5,)), ("shape", "__import__('os')"),
    ("shape", None), ("shape", {"a": 1}), ("shape", ((1, 2),)), ("floats", "(a)"), ("dtype", "floaty"), ("mode", "c"), ("mode", 1),
    ("axis", "x"), ("number", "x"), ("number", [1, 2])])
def test_what_is_not_read(name, value):
    with pytest.raises(mx.MXNetError) as caught:
        parse(**{name: value})
    text = str(caught.value)
    assert text.startswith(f"op: Invalid Parameter format for {name} expect {SCHEMA.attrs[name].type_text} but value='")
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, ValueError)


@given(st.text(max_size=30), st.sampled_from(sorted(VALUES)))
def test_any_text_is_read_or_refused(text, name):
    try:
        parse(**{name: text})
    except mx.MXNetError:
        pass


def test_unknown_and_missing_attributes():
    with pytest.raises(mx.MXNetError) as caught:
        parse(sise=3)
    text = str(caught.value)
    assert text.startswith("op: Cannot find argument 'sise', Possible Arguments:")
    assert "size : int, required" in text and "rate : float, optional, default=0.5" in text
    assert "axis : int or None, optional, default=None" in text and "mode : {'a', 'b'}, optional, default=a" in text
    with pytest.raises(mx.MXNetError, match="Required parameter size of int is not presented, in operator op"):
        SCHEMA.parse("op", {})


def test_equal_keys_of_other_types_are_not_mixed_up():
    """Calls are cached by their attributes; 1, 1.0 and True are equal, but are not one attribute."""
    x = nd.array([1, 2], dtype="int32")
    assert (x + 1).asnumpy().tolist() == (x + 1.0).asnumpy().tolist() == (x + True).asnumpy().tolist() == [2, 3]
    op = OPS["_plus_scalar"]
    assert [op.parse({"scalar": v}).given["scalar"] for v in (1, 1.0, True, 0.0, -0.0)] == ["1", "1.0", "1", "0.0", "-0.0"]
    y = nd.array([2.0])
    assert (0.0 * y - 0.0).asnumpy()[0] == 0
    assert str((y * -0.0).asnumpy()[0]) == "-0.0" and str((y * 0.0).asnumpy()[0]) == "0.0"
    assert str((-0.0 / y).asnumpy()[0]) == "-0.0"


def test_what_annotations_may_be():
    def wrong(xp, data, *, table: dict = {}):  # noqa: B006
        pass

    with pytest.raises(TypeError, match="'table' is annotated with .*dict.* no attribute type"):
        Schema(wrong, 1)


@pytest.mark.parametrize(("value", "text"), [
    ((3, 3), "(3, 3)"), ([1, 2], "(1, 2)"), ((1,), "(1,)"), ((), "()"), (True, "True"), (1.5, "1.5"), (1, "1"), (None, "None"),
    (np.float32, "float32"), (np.dtype("int8"), "int8"), (np.float64(0.5), "0.5"), (np.int32(2), "2"), (np.bool_(True), "True"),
    ("relu", "relu"), (1e-5, "1e-05")])
def test_text_as_mxnet_writes_it(value, text):
    assert attr_text(value) == text


# ---------------------------------------------------------------- calls
def test_positions_keywords_and_names():
    x, w, b = nd.ones((2, 3)), nd.ones((4, 3)), nd.ones(4)
    want = nd.FullyConnected(x, w, b, num_hidden=4).asnumpy()
    for call in (lambda: nd.FullyConnected(x, w, b, 4), lambda: nd.FullyConnected(data=x, weight=w, bias=b, num_hidden=4),
                 lambda: nd.FullyConnected(x, bias=b, weight=w, num_hidden="4", no_bias="False"),
                 lambda: nd.FullyConnected(x, w, b, 4, name="fc")):
        np.testing.assert_array_equal(call().asnumpy(), want)
    assert nd.FullyConnected(x, w, None, 4, True).shape == (2, 4)
    assert nd.transpose(x, (1, 0)).shape == (3, 2) and nd.transpose(x, axes=[1, 0]).shape == (3, 2)
    assert nd.concat(x, x).shape == nd.concat(*[x, x]).shape == nd.concat(x, x, dim=1).shape == (2, 6)
    assert nd.stack(x, x, axis=0).shape == (2, 2, 3) and nd.add_n(*[x] * 3).shape == (2, 3)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: nd.FullyConnected(nd.ones((2, 3)), num_hidden=4), "input 'weight' is missing"),
    (lambda: nd.FullyConnected(nd.ones((2, 3)), nd.ones((4, 3)), nd.ones(4)), "Required parameter num_hidden"),
    (lambda: nd.FullyConnected(nd.ones((2, 3)), nd.ones((4, 3)), num_hidden=4), "input 'bias' is missing"),
    (lambda: nd.FullyConnected(nd.ones((2, 3)), nd.ones((4, 3)), nd.ones(4), num_hiden=4), "Cannot find argument 'num_hiden'"),
    (lambda: nd.FullyConnected(nd.ones((2, 3)), nd.ones((4, 3)), data=nd.ones(1), num_hidden=4, no_bias=True), "'data' is given twice"),
    (lambda: nd.exp(), "needs its inputs"),
    (lambda: nd.exp(3), "'data' must be an array, got int: 3"),
    (lambda: nd.exp(np.ones(2)), "'data' must be an array, got ndarray"),
    (lambda: nd.exp(nd.ones(1), nd.ones(1), "name", 3), "takes at most"),
    (lambda: nd.broadcast_add(nd.ones(1), None), "input 'rhs' is missing"),
    (lambda: nd.concat(nd.ones(1), 3), "must be arrays, got 3"),
    (lambda: nd.concat(), "needs its inputs"),
    (lambda: nd.Activation(nd.ones(1), act_type="rely"), r"expect \{.*'relu'.*\} but value='rely'"),
    (lambda: nd.sum(nd.ones(1), axis="first"), "axis expect .* but value='first'"),
    (lambda: nd.one_hot(nd.ones(1)), "Required parameter depth of int"),
    (lambda: nd.Custom(nd.ones(1)), "op_type"), (lambda: nd.Custom(nd.ones(1), op_type="nobody"), "'nobody' is not registered")])
def test_wrong_calls(call, words):
    with pytest.raises(mx.MXNetError, match=words):
        call()


def test_operators_without_attributes_ignore_keywords():
    """As MXNet does (programs pass ``name=`` and leftovers)."""
    assert nd.exp(nd.zeros(1), colour="red").asscalar() == 1


def test_unknown_functions():
    with pytest.raises(AttributeError, match="has no attribute 'convolve'"):
        nd.convolve
    with pytest.raises(AttributeError, match="has no attribute 'convolve'"):
        mx.sym.convolve
    with pytest.raises(AttributeError, match="has no attribute 'ndd'"):
        mx.ndd
    with pytest.raises(mx.MXNetError, match=r"'Convolutoin' is not registered; did you mean Convolution"):
        mx.sym.load_json('{"nodes": [{"op": "Convolutoin", "name": "a", "inputs": []}], "arg_nodes": [], "heads": [[0, 0]]}')


@pytest.mark.parametrize("space", ["nd", "sym"])
def test_every_function_has_a_signature_and_words(space):
    module, seen = getattr(mx, space), 0
    for name, f in vars(module).items():
        if name in OPS and inspect.isfunction(f):
            signature = inspect.signature(f)
            op = OPS[name]
            assert set(op.schema.inputs) <= set(signature.parameters), name
            if hasattr(f, "__signature__"):
                seen += 1
                assert set(op.schema.attrs) <= set(signature.parameters), name
            assert (f.__doc__ and f.__name__ == name) or f.__name__ in OPS or name.startswith("_"), name
    assert seen > 150


def test_signatures():
    assert str(inspect.signature(nd.FullyConnected)).startswith(
        "(data=None, weight=None, bias=None, num_hidden=None, no_bias=False, flatten=True, out=None, name=None")
    assert str(inspect.signature(nd.concat)).startswith("(*")
    assert inspect.signature(mx.sym.Activation).parameters["act_type"].kind.name == "POSITIONAL_OR_KEYWORD"
