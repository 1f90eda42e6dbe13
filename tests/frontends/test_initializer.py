"""Initializers: figures recorded from MXNet 1.9.1 (tests/compat/record/initializers.py), and properties."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxcore as mx
from mxcore import initializer, nd
from mxcore.errors import ArgumentError, MXNetError, ShapeError
from mxcore.initializer import InitDesc
from mxcore.registry import named

RECORD = json.loads((Path(__file__).parents[1] / "compat" / "data" / "initializers.json").read_text())


class Mark(initializer.Initializer):
    def _init_weight(self, desc: str, arr: nd.NDArray) -> None:
        arr[:] = RECORD["mark"]


class Counting(initializer.Initializer):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list = []

    def __call__(self, desc: str, arr: nd.NDArray) -> None:
        self.seen.append([str(desc), list(arr.shape)])
        super().__call__(desc, arr)

    def _init_weight(self, desc: str, arr: nd.NDArray) -> None:
        arr[:] = len(self.seen)


def filled(init: initializer.Initializer, shape: tuple, name: str = "x_weight", **attrs: str) -> np.ndarray:
    arr = nd.full(shape, 7)
    init(InitDesc(name, attrs), arr)
    return arr.asnumpy()


@pytest.mark.parametrize("name", RECORD["desc"])
def test_the_name_decides(name: str) -> None:
    shape, wanted = RECORD["desc"][name]
    if wanted is None:
        with pytest.raises(ValueError, match=f"Unknown initialization pattern for {name}"):
            filled(Mark(), shape, name)
    else:
        assert filled(Mark(), shape, name).ravel().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("name", RECORD["legacy"])
def test_plain_names(name: str) -> None:
    shape, wanted = RECORD["legacy"][name]
    arr = nd.full(shape, 7)
    with pytest.warns(DeprecationWarning, match="InitDesc"):
        if wanted is None:
            with pytest.raises(ValueError, match=name):
                Mark()(name, arr)
        else:
            Mark()(name, arr)
            assert arr.asnumpy().ravel().tolist() == pytest.approx(wanted)


def test_quantized_weights() -> None:
    mx.random.seed(1)
    arr = nd.zeros((4000,), dtype="int8")
    mx.init.Uniform()(InitDesc("x_weight_quantize"), arr)
    assert arr.asnumpy().min() < -120
    assert arr.asnumpy().max() > 120


@pytest.mark.parametrize("text", RECORD["dumps"])
def test_json_form(text: str) -> None:
    assert initializer.create(text).dumps() == text
    assert initializer.create(text) == initializer.create(text)


@pytest.mark.parametrize("case", RECORD["filled"], ids=lambda c: f"{c['dumps']}-{c['shape']}")
def test_values_as_recorded(case: dict) -> None:
    arr = nd.full(case["shape"], 7)
    initializer.create(case["dumps"])._init_weight("x_weight", arr)
    assert arr.asnumpy().ravel().tolist() == pytest.approx(case["values"])


@pytest.mark.parametrize("case", RECORD["fused"], ids=lambda c: f"{c['mode']}-{c['layers']}-{c['bidirectional']}")
@pytest.mark.parametrize("given_init", [True, False])
def test_packed_parameters(case: dict, given_init: bool) -> None:
    counting = Counting()
    fused = initializer.FusedRNN(None, 3, case["layers"], case["mode"], case["bidirectional"], forget_bias=2.0)
    if given_init:
        fused._init = counting
    arr = nd.full((len(case["values"]),), 7)
    fused._init_weight(InitDesc("rnn_parameters", global_init=None if given_init else counting), arr)
    assert counting.seen == case["seen"]
    assert arr.asnumpy().tolist() == case["values"]


def test_packed_parameters_that_cannot_be() -> None:
    init = initializer.FusedRNN(initializer.Zero(), 3, 1, "lstm")
    with pytest.raises(ShapeError, match="no number of inputs fits"):
        init._init_weight(InitDesc("p"), nd.zeros(7))
    with pytest.raises(ArgumentError, match="no initializer"):
        initializer.FusedRNN(None, 3, 1, "lstm")._init_weight(InitDesc("p"), nd.zeros(84))
    with pytest.raises(ArgumentError, match="mode"):
        initializer.FusedRNN(None, 3, 1, "tanh")
    arr = nd.full(84, 7)
    initializer.create(initializer.FusedRNN("zeros", 3, 1, "lstm").dumps())._init_weight(InitDesc("p"), arr)
    assert sorted(set(arr.asnumpy().tolist())) == [0.0, 1.0]


def test_names() -> None:
    registered = initializer.registry.get_registry(initializer.Initializer)
    assert {name: registered[name].__name__ for name in RECORD["registered"]} == RECORD["registered"]
    assert mx.init is mx.initializer is initializer


@pytest.mark.parametrize("value", [initializer.Constant(4).dumps(), initializer.Constant(4),
                                   '{"initializer": "constant", "value": 4}'])
def test_a_variable_has_an_initializer_of_its_own(value: object) -> None:
    assert filled(initializer.Uniform(), (2,), "x_bias", __init__=value).tolist() == [4.0, 4.0]
    assert filled(initializer.Uniform(), (2,), "x_weight", __init__="ones").tolist() == [1.0, 1.0]


def test_unknown_names() -> None:
    with pytest.raises(AssertionError, match="nothing is not registered"):
        filled(initializer.Uniform(), (2,), "x_bias", __init__="nothing")
    with pytest.raises(MXNetError, match="string type"):
        initializer.create(3)
    with pytest.raises(TypeError, match="string"):
        initializer.Zero()(3, nd.ones(1))


def test_description() -> None:
    desc = InitDesc("a_weight", {"x": "y"}, initializer.Zero())
    assert desc == "a_weight"
    assert desc.attrs == {"x": "y"}
    assert desc.global_init == initializer.Zero()
    desc = InitDesc("a_weight")
    assert desc.attrs == {}
    one = initializer.One()
    one(desc, nd.zeros(1))
    assert desc.global_init is one


def test_equality() -> None:
    assert initializer.Uniform(0.1) == initializer.Uniform(0.1) != initializer.Uniform(0.2)
    assert initializer.Zero() != initializer.One()
    assert initializer.Zero() != 3
    assert repr(initializer.Uniform(0.1)) == "Uniform(scale=0.1)"


# ---------------------------------------------------------------- random ones
@pytest.mark.parametrize(("init", "shape", "deviation"), [
    (initializer.Uniform(0.3), (200, 50), 0.3 / 3**0.5), (initializer.Normal(0.2), (200, 50), 0.2),
    (initializer.Xavier(), (200, 50), (3 / 125 / 3) ** 0.5),
    (initializer.Xavier("gaussian", "in", 2), (200, 50), (2 / 50) ** 0.5),
    (initializer.Xavier("uniform", "out", 1), (20, 10, 5, 5), (1 / 500 / 3) ** 0.5),
    (initializer.MSRAPrelu(slope=0.0), (200, 50), (2 / 125) ** 0.5),
])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_moments(init: initializer.Initializer, shape: tuple, deviation: float, dtype: str) -> None:
    mx.random.seed(17)
    arr = nd.zeros(shape, dtype=dtype)
    init(InitDesc("x_weight"), arr)
    found = arr.asnumpy()
    assert found.dtype == dtype
    assert abs(found.astype("float64").mean()) < 5 * deviation / found.size**0.5
    assert found.astype("float64").std() == pytest.approx(deviation, rel=0.05)
    if "uniform" in init.dumps():
        assert np.abs(found).max() <= deviation * 3**0.5 * 1.001
    again = nd.zeros(shape, dtype=dtype)
    mx.random.seed(17)
    init(InitDesc("x_weight"), again)
    np.testing.assert_array_equal(found, again.asnumpy())


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from(["uniform", "normal"]), st.floats(0.1, 3))
def test_orthogonal_matrices(shape: list, kind: str, scale: float) -> None:
    m = filled(initializer.Orthogonal(scale, kind), tuple(shape)).reshape(shape[0], -1)
    small = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(small, scale**2 * np.eye(len(small)), atol=1e-4)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"vector fc_weight.*\(3,\)"):
        filled(initializer.Xavier(), (3,), "fc_weight")
    with pytest.raises(ValueError, match="factor type"):
        filled(initializer.Xavier(factor_type="none"), (3, 2))
    with pytest.raises(ValueError, match="random type"):
        filled(initializer.Xavier(rnd_type="none"), (3, 2))
    with pytest.raises(ArgumentError, match="rand_type"):
        initializer.Orthogonal(rand_type="none")
    with pytest.raises(ShapeError, match="4 axes"):
        filled(initializer.Bilinear(), (3, 2))
    with pytest.raises(NotImplementedError, match="_init_weight"):
        filled(initializer.Initializer(), (3, 2))


# ---------------------------------------------------------------- those that choose
def test_mixed() -> None:
    init = initializer.Mixed(["bias", ".*"], [initializer.Constant(3), initializer.One()])
    assert filled(init, (1,), "bias").tolist() == [0.0]  # a Constant is for weights
    assert filled(init, (1,), "fc_weight").tolist() == [1.0]
    with pytest.raises(ValueError, match="fc_bias did not match"):
        filled(initializer.Mixed(["weight"], [initializer.Zero()]), (1,), "fc_bias")
    with pytest.raises(ArgumentError, match="2 patterns and 1 initializers"):
        initializer.Mixed(["a", "b"], [initializer.Zero()])


def test_load(tmp_path: Path) -> None:
    stored = {"arg:fc_weight": nd.array([[1, 2]]), "aux:mean": nd.array([3]), "plain": nd.array([4])}
    fname = str(tmp_path / "net.params")
    nd.save(fname, stored)
    for init in (initializer.Load(stored, initializer.One()), initializer.Load(fname, initializer.One())):
        assert filled(init, (1, 2), "fc_weight").tolist() == [[1.0, 2.0]]
        assert filled(init, (1,), "mean").tolist() == [3.0]
        assert filled(init, (1,), "plain").tolist() == [4.0]
        assert filled(init, (1,), "other_weight").tolist() == [1.0]
        with pytest.raises(ShapeError, match=r"target \(2,\) vs loaded \(1, 2\)"):
            filled(init, (2,), "fc_weight")
    with pytest.raises(ArgumentError, match="Cannot Initialize other"):
        filled(initializer.Load(stored), (1,), "other_weight")
    with pytest.raises(ArgumentError, match="named arrays"):
        initializer.Load([nd.ones(1)])


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    init = initializer.Constant(2).set_verbosity(True)
    loud = initializer.One().set_verbosity(True, lambda arr: f"<{arr.shape}>")
    with caplog.at_level(logging.INFO):
        filled(init, (3,), "a_weight")
        filled(loud, (3,), "a_bias")
        filled(loud, (3,), "a_bias", __init__="zeros")
        filled(initializer.Load({"x": nd.ones(1)}, loud, verbose=True), (1,), "x")
        filled(initializer.Load({}, initializer.One(), verbose=True), (1,), "y_weight")
    assert [r.getMessage() for r in caplog.records] == [
        "Initialized a_weight as weight: 2.0", "Initialized a_bias as bias: <(3,)>",
        "Initialized a_bias as zeros: <(3,)>", "Initialized x by loading", "Initialized y_weight by default"]


# ---------------------------------------------------------------- the registry of names
def test_registry() -> None:
    class Base:
        def __init__(self, a: int = 1) -> None:
            self.a = a

    register = named.get_register_func(Base, "thing")
    create = named.get_create_func(Base, "thing")

    @named.get_alias_func(Base, "thing")("Also", "x")
    @register
    class One(Base):
        pass

    assert create("ONE", a=3).a == create("also", 3).a == 3
    assert create('["one", {"a": 9}]').a == create('{"thing": "one", "a": 9}').a == 9
    assert create(thing="one", a=8).a == create({"thing": "x", "a": 8}).a == 8
    one = One(4)
    assert create(one) is create(thing=one) is one
    assert named.get_registry(Base) == {"one": One, "also": One, "x": One}
    with pytest.raises(AssertionError, match="subclass of Base"):
        register(int)
    for bad in (lambda: create("two"), lambda: create(5), lambda: create(), lambda: create(one, 3),
                lambda: create('["one", {}]', 3)):
        with pytest.raises(named.RegistrationError):
            bad()
    with pytest.warns(UserWarning, match="overriding existing thing"):
        register(type("Other", (Base,), {}), "ONE")
    assert type(create("one")).__name__ == "Other"
