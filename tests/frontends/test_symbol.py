"""Symbols: names as MXNet gives them, attributes, composition, inference, files of every layout, gradients."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxcore as mx
from mxcore import nd, sym
from mxcore.errors import FileFormatError


@pytest.fixture(autouse=True)
def _fresh_names():
    with mx.name.NameManager():
        yield


def x(name="x", **kwargs):
    return sym.var(name, **kwargs)


def dense(data=None, name="f", **kwargs):
    return sym.FullyConnected(x() if data is None else data, num_hidden=4, name=name, **kwargs)


# ---------------------------------------------------------------- names
#: what MXNet 1.9.1 calls these, in a fresh NameManager each
NAMES = {
    "a + b": "_plus0", "a + 1": "_plusscalar0", "1 + a": "_plusscalar0", "a - b": "_minus0", "a - 1": "_minusscalar0",
    "1 - a": "_rminusscalar0", "a * b": "_mul0", "a * 2": "_mulscalar0", "a / b": "_div0", "a / 2": "_divscalar0",
    "2 / a": "_rdivscalar0", "a ** b": "_power0", "a ** 2": "_powerscalar0", "2 ** a": "_rpower_scalar0", "a % b": "_mod0",
    "a % 2": "_modscalar0", "2 % a": "_rmodscalar0", "-a": "_mulscalar0", "a == b": "_equal0", "a != b": "_not_equal0",
    "a > b": "_greater0", "a >= b": "_greater_equal0", "a < b": "_lesser0", "a <= b": "_lesser_equal0",
    "a == 1": "_equal_scalar0",
    "a > 1": "_greater_scalar0", "a <= 1": "_lesser_equal_scalar0", "abs(a)": "abs0",
    "sym.exp(a)": "exp0", "sym.FullyConnected(a, num_hidden=2)": "fullyconnected0", "sym.BatchNorm(a)": "batchnorm0",
    "sym.Convolution(a, kernel=(1, 1), num_filter=1)": "convolution0", "sym.concat(a, b)": "concat0",
    "sym.Concat(a, b)": "concat0",
    "sym.maximum(a, b)": "_maximum0", "sym.maximum(a, 1)": "_maximumscalar0", "sym.power(a, b)": "_power0",
    "sym.broadcast_add(a, b)": "broadcast_add0", "a.sum()": "sum0", "a.reshape((1,))": "reshape0",
    "sym.Reshape(a, shape=(1,))": "reshape0",
    "sym.zeros((1,))": "_zeros0", "sym.arange(3)": "_arange0", "sym.full((1,), 2)": "_full0",
    "sym.split(a, num_outputs=2)": "split0",
    "sym.SliceChannel(a, num_outputs=2)": "slicechannel0", "sym.add_n(a, b)": "add_n0",
    "sym.ElementWiseSum(a, b)": "elementwisesum0",
    "sym.flatten(a)": "flatten0", "a.astype('int32')": "cast0", "sym.stop_gradient(a)": "stop_gradient0",
    "sym.BlockGrad(a)": "blockgrad0", "sym.SwapAxis(a)": "swapaxis0", "sym.random.uniform(shape=(1,))": "_random_uniform0",
    "sym.contrib.arange_like(a)": "arange_like0", "sym.SoftmaxOutput(a)": "softmaxoutput0", "sym.hypot(a, b)": "_hypot0",
    "sym.LinearRegressionOutput(a)": "linearregressionoutput0", "sym._internal._plus_scalar(a, scalar=1)": "_plus_scalar0",
}


@pytest.mark.parametrize(("expression", "name"), NAMES.items())
def test_automatic_names(expression, name):
    assert eval(expression, {"sym": sym, "a": x("a"), "b": x("b")}).name == name


def test_counters():
    assert [sym.exp(x()).name, sym.exp(x()).name, sym.exp(x(), name="mine").name, sym.exp(x()).name] == ["exp0", "exp1", "mine",
        "exp2"]
    with mx.name.NameManager():
        assert sym.exp(x()).name == "exp0"
    assert sym.exp(x()).name == "exp3"


def test_prefix():
    with mx.name.Prefix("p_"):
        a, b = sym.exp(x()), sym.exp(x(), name="n")
        f = sym.FullyConnected(b, num_hidden=2)
        with mx.name.Prefix("q_"):
            c = sym.exp(a)
        d = sym.exp(a)
    assert [a.name, b.name, c.name, d.name] == ["p_exp0", "p_n", "q_exp0", "p_exp1"]
    assert f.list_arguments() == ["x", "p_fullyconnected0_weight", "p_fullyconnected0_bias"]


OUTPUTS = [
    (lambda: sym.BatchNorm(x(), name="b"), ["b_output"], ["x", "b_gamma", "b_beta"], ["b_moving_mean", "b_moving_var"]),
    (lambda: sym.BatchNorm(x(), name="b", output_mean_var=True), ["b_output", "b_mean", "b_var"], ["x", "b_gamma", "b_beta"],
     ["b_moving_mean", "b_moving_var"]),
    (lambda: sym.split(x(), num_outputs=2, name="s"), ["s_output0", "s_output1"], ["x"], []),
    (lambda: sym.LayerNorm(x(), name="l", output_mean_var=True), ["l_output", "l_mean", "l_std"], ["x", "l_gamma", "l_beta"], []),
    (lambda: sym.topk(x(), ret_typ="both", name="t"), ["t_output0", "t_output1"], ["x"], []),
    (lambda: sym.RNN(x(), state_size=1, num_layers=1, mode="lstm", state_outputs=True, name="r"),
     ["r_output", "r_state_output", "r_statecell_output"], ["x", "r_parameters", "r_state", "r_state_cell"], []),
    (lambda: dense(no_bias=True), ["f_output"], ["x", "f_weight"], []),
    (lambda: sym.SoftmaxOutput(x(), name="s"), ["s_output"], ["x", "s_label"], []),
    (lambda: sym.LeakyReLU(x(), act_type="prelu", name="p"), ["p_output"], ["x", "p_gamma"], []),
    (lambda: sym.Dropout(x(), name="d"), ["d_output"], ["x"], []),
    (lambda: sym.Deconvolution(x(), kernel=(1, 1), num_filter=1, name="d"), ["d_output"], ["x", "d_weight"], []),
    (lambda: x(), ["x"], ["x"], []),
    (lambda: sym.exp(x()) + sym.sin(x()), ["_plus0_output"], ["x", "x"], []),
]


@pytest.mark.parametrize(("make", "outputs", "arguments", "states"), OUTPUTS)
def test_lists(make, outputs, arguments, states):
    s = make()
    assert (s.list_outputs(), s.list_arguments(), s.list_auxiliary_states()) == (outputs, arguments, states)
    assert s.list_inputs() == arguments + states
    assert len(s) == s.num_outputs == len(outputs)
    assert s.get_internals().list_outputs() == arguments + states + [o for o in outputs if o != "x"] or len(outputs) == 1


# ---------------------------------------------------------------- attributes
def test_scopes_of_attributes():
    with mx.AttrScope(ctx_group="g", __lr_mult__="2"):
        a = sym.var("a", attr={"mood": "x"})
        with mx.AttrScope(ctx_group="h"):
            f = dense(a, attr={"__k__": "v"})
    assert a.list_attr() == {"mood": "x", "__lr_mult__": "2", "lr_mult": "2", "__ctx_group__": "g", "ctx_group": "g"}
    own = {"num_hidden": "4", "__k__": "v", "__lr_mult__": "2", "lr_mult": "2", "__ctx_group__": "h", "ctx_group": "h"}
    assert f.list_attr() == own
    assert f.attr_dict() == {"a": a.list_attr(), "f_weight": own, "f_bias": own, "f": own}
    assert (f.attr("ctx_group"), f.attr("num_hidden"), f.attr("absent"), a.attr("mood")) == ("h", "4", None, "x")
    assert x().list_attr() == {}  # the scope is over
    with pytest.raises(ValueError, match="string"):
        mx.AttrScope(a=1)


def test_attributes_of_variables():
    v = sym.var("v", shape=(1, 2), lr_mult=2, wd_mult=0.5, dtype="float16", init=mx.init.One(), stype="default", __x__="y")
    assert v.list_attr() == {"__shape__": "(1, 2)", "__lr_mult__": "2", "lr_mult": "2", "__wd_mult__": "0.5", "wd_mult": "0.5",
                             "__dtype__": "2", "__init__": '["one", {}]', "__storage_type__": "0", "__x__": "y"}
    assert sym.Variable is sym.var and sym.var("a", {"k": "v"}).attr("k") == "v"
    with pytest.raises(ValueError, match="foo"):
        sym.var("v", foo="1")
    with pytest.raises(TypeError, match="string for variable"):
        sym.var(3)
    v._set_attr(mood="so", ctx_group="dev")
    assert v.attr("mood") == "so" and v.attr("__ctx_group__") == v.attr("ctx_group") == "dev"
    with pytest.raises(ValueError, match="string"):
        v._set_attr(mood=1)
    with pytest.raises(DeprecationWarning):
        v.list_attr(recursive=True)


def test_attributes_by_keyword():
    """``lr_mult=`` and names with underscores are attributes of the symbol, not of the operator; its variables inherit them."""
    f = dense(lr_mult="2", __y__="1")
    assert f.attr_dict()["f_weight"] == f.list_attr() == {"num_hidden": "4", "__lr_mult__": "2", "lr_mult": "2", "__y__": "1"}
    assert sym.exp(x(), __y__="1").list_attr() == {"__y__": "1"}


def test_variables_know_how_to_begin():
    attrs = sym.BatchNorm(x(), eps=1e-3, name="b").attr_dict()
    assert attrs["b_moving_mean"] == {"__init__": '["zero", {}]', "eps": "0.001"}
    assert attrs["b_moving_var"] == {"__init__": '["one", {}]', "eps": "0.001"}
    assert attrs["b_gamma"] == {"eps": "0.001"}
    assert sym.LeakyReLU(x(), act_type="prelu", name="p").attr_dict()["p_gamma"]["__init__"] == '["Constant", {"value": 0.25}]'


# ---------------------------------------------------------------- structure
def test_groups_and_indices():
    g = sym.Group([x("a"), sym.exp(x("b"), name="e"), sym.split(x("c"), num_outputs=2, name="s")])
    assert g.list_outputs() == ["a", "e_output", "s_output0", "s_output1"] and g.name is None
    assert (g[0].name, g["e_output"].name, g[-1].list_outputs(), g[2:].list_outputs()) == (
        "a", "e", ["s_output1"], ["s_output0", "s_output1"])
    assert [s.list_outputs() for s in g] == [[o] for o in g.list_outputs()]
    assert repr(g) == "<Symbol group [a, e, s, s]>" and repr(g[1]) == "<Symbol e>"
    for key, error in (("none", ValueError), (9, IndexError), (-5, IndexError), (1.5, TypeError)):
        with pytest.raises(error):
            g[key]
    twice = sym.Group([g[1], g[1]])
    with pytest.raises(ValueError, match="multiple outputs"):
        twice["e_output"]
    for wrong in ([], [3], None):
        with pytest.raises(TypeError):
            sym.Group(wrong)


def test_internals_and_children():
    f = sym.FullyConnected(sym.exp(x(), name="e"), num_hidden=1, name="f")
    internals = f.get_internals()
    assert internals.list_outputs() == ["x", "e_output", "f_weight", "f_bias", "f_output"]
    assert internals["e_output"].list_arguments() == ["x"]
    assert f.get_children().list_outputs() == ["e_output", "f_weight", "f_bias"]
    assert x().get_children() is None
    assert sym.Group([f, sym.sin(x("z"))]).get_children().list_outputs() == ["e_output", "f_weight", "f_bias", "z"]
    assert sym.BatchNorm(x(), name="b").get_inputs().list_outputs() == ["x", "b_gamma", "b_beta", "b_moving_mean", "b_moving_var"]


def test_composition():
    f, g = dense(), sym.exp(x("z"), name="g")
    assert f(x=g).list_arguments() == f(g).list_arguments() == ["z", "f_weight", "f_bias"]
    assert f(f_weight=g).list_arguments() == ["x", "z", "f_bias"]
    assert f(x=g, name="new").list_outputs() == ["new_output"]
    assert f.list_arguments() == ["x", "f_weight", "f_bias"] and f.name == "f"  # untouched
    both = sym.Group([f, f.get_internals()["f_output"] * 2])(x=g)
    assert both.list_arguments() == ["z", "f_weight", "f_bias"]
    shared = x("w")
    tied = dense(weight=shared, name="one") + dense(weight=shared, name="two")
    assert tied.list_arguments() == ["x", "w", "one_bias", "x", "two_bias"]
    with pytest.raises(TypeError, match="Symbols either"):
        f(g, x=g)
    with pytest.raises(TypeError, match="Compose expect"):
        f(3)
    with pytest.raises(mx.MXNetError, match="'nothing' is not an input; inputs are"):
        f(nothing=g)
    with pytest.raises(TypeError, match="4 symbols for the inputs"):
        f(g, g, g, g)
    with pytest.raises(mx.MXNetError, match=r"2 outputs \['s_output0', 's_output1'\] cannot be one input"):
        sym.exp(sym.split(x(), num_outputs=2, name="s"))


def test_a_composition_computes():
    f = (x() * 2 + x("y"))(x=sym.sin(x("a"), name="s"), y=x("a"))
    v = np.array([0.3, 1.0], "float32")
    got = f.eval(a=nd.array(v))[0].asnumpy() if len(set(f.list_arguments())) == len(f.list_arguments()) else None
    assert got is None  # two variables of one name are two inputs
    a = x("a")
    f = (x() * 2 + x("y"))(x=sym.sin(a), y=a)
    np.testing.assert_allclose(f.eval(a=nd.array(v))[0].asnumpy(), np.sin(v) * 2 + v, rtol=1e-6)


def test_python_protocol():
    a = x()
    with pytest.raises(NotImplementedError, match="truth value"):
        bool(a)
    for other in ("text", None, [1], nd.ones(1)):
        with pytest.raises(TypeError):
            a + other
        with pytest.raises(TypeError):
            sym.maximum(a, other)
    assert sym.maximum(3, 4) == 4 and sym.power(2, 3) == 8
    assert len({a, a, x()}) == 2
    b = copy.copy(a)
    assert b.tojson() == a.tojson()
    assert "Op:FullyConnected, Name=f" in dense().debug_str() and "num_hidden=4" in dense().debug_str()
    assert "f_weight" in dense()._repr_html_() or "f" in dense()._repr_html_()


def test_methods():
    a = x(shape=(2, 3))
    calls = {(3, 2): a.T if hasattr(a, "T") else a.transpose(), (6,): a.reshape((-1,)), (1,): a.sum(), (2,): a.sum(axis=1),
             (2, 3): a.astype("float16"), (3, 2, 1): a.transpose().expand_dims(2), (2, 1, 3): a.reshape(2, 1, -1)}
    for shape, s in calls.items():
        assert s.infer_shape()[1] == [shape]


# ---------------------------------------------------------------- inference
def test_infer_shape():
    f = dense()
    answer = ([(2, 3), (4, 3), (4,)], [(2, 4)], [])
    assert f.infer_shape(x=(2, 3)) == f.infer_shape((2, 3)) == answer
    assert f.infer_shape_partial() == ([(), (), ()], [()], [])
    assert f.infer_shape_partial(x=(0, 3)) == ([(0, 3), (4, 3), (4,)], [(0, 4)], [])
    with pytest.warns(UserWarning, match=r"Cannot decide shape(.|\n)*x: \(\)"):
        assert f.infer_shape() == (None, None, None)
    with pytest.warns(UserWarning, match=r"x: \(0, 3\)"):
        assert f.infer_shape(x=(0, 3)) == (None, None, None)
    assert dense(x(shape=(2, 3))).infer_shape() == answer
    assert sym.BatchNorm(x(), name="b").infer_shape(x=(2, 5, 1)) == ([(2, 5, 1), (5,), (5,)], [(2, 5, 1)], [(5,), (5,)])


def test_inference_goes_both_ways():
    a = x("a") + x("b")
    assert a.infer_shape(a=(2, 3)) == a.infer_shape(b=(2, 3)) == a.infer_shape(None, (2, 3)) == ([(2, 3)] * 2, [(2, 3)], [])
    assert a.infer_shape(a=(2, 0), b=(0, 3)) == ([(2, 3)] * 2, [(2, 3)], [])
    chain = sym.exp(sym.relu(x("a")) * 2) + x("b")
    assert chain.infer_shape(b=(5,))[0] == [(5,), (5,)]
    assert chain.infer_type(b="float16")[0] == [np.float16] * 2


def test_wrong_shapes_and_types():
    f = dense()
    with pytest.raises(ValueError, match="positional or kwargs"):
        f.infer_shape((2, 3), x=(2, 3))
    with pytest.raises(mx.MXNetError, match=r"\['zz'\] are no arguments of the symbol; arguments are \['x'"):
        f.infer_shape(zz=(1,))
    with pytest.raises(mx.MXNetError, match=r"zz"):
        f.infer_type(zz="float32")
    for wrong in ("a", (1.5,), ("a", 2), 2.5):
        with pytest.raises(TypeError, match="a shape is a tuple of integers"):
            f.infer_shape(x=wrong)
    with pytest.raises(mx.MXNetError, match="4 shapes or types"):
        f.infer_shape((1,), (1,), (1,), (1,))
    with pytest.raises(mx.MXNetError, match="'floaty' is not a data type"):
        f.infer_type(x="floaty")


def test_infer_type():
    f = dense()
    assert f.infer_type(x="float64") == f.infer_type(np.float64) == ([np.float64] * 3, [np.float64], [])
    assert sym.cast(x(), dtype="int32").infer_type(x="float64") == ([np.float64], [np.int32], [])
    assert sym.exp(x(dtype="float16")).infer_type() == ([np.float16], [np.float16], [])
    partial = (x("a") * sym.cast(x("b"), dtype="float16")).infer_type_partial()
    assert partial == ([np.float16, None], [np.float16], [])
    assert (x() + 1).infer_type(x="bool") == ([np.bool_], [np.int64], [])
    assert (x() + 1).infer_type(x="int8") == ([np.int8], [np.int8], [])


# ---------------------------------------------------------------- files
def net():
    data = sym.var("data", lr_mult=2, shape=(0, 1, 8, 8))
    c = sym.Convolution(data, kernel=(3, 3), num_filter=4, pad=(1, 1), name="c")
    b = sym.BatchNorm(c, fix_gamma=False, name="b")
    p = sym.Pooling(sym.relu(b), kernel=(2, 2), stride=(2, 2), pool_type="max", name="p")
    parts = sym.split(sym.Flatten(p), num_outputs=2, axis=1, name="s")
    joined = sym.concat(parts[0] * 0.5, sym.clip(parts[1], 0, 6), dim=1, name="j")
    return sym.Group([sym.SoftmaxOutput(sym.FullyConnected(joined, num_hidden=3, name="f"), name="out"), parts[1]])


def form(text):
    """What a file says, less the version."""
    graph = json.loads(text)
    return [(n["op"], n["name"], n.get("attrs", {}), [i[:2] for i in n["inputs"]]) for n in graph["nodes"]], \
        [h[:2] for h in graph["heads"]], graph["arg_nodes"]


def test_json_there_and_back(tmp_path):
    s = net()
    again = sym.load_json(s.tojson())
    assert form(again.tojson()) == form(s.tojson())
    for what in ("list_arguments", "list_outputs", "list_auxiliary_states", "attr_dict"):
        assert getattr(again, what)() == getattr(s, what)()
    s.save(tmp_path / "net-symbol.json")
    assert form(sym.load(tmp_path / "net-symbol.json").tojson()) == form(s.tojson())
    assert sym.fromjson(s.tojson()).list_outputs() == s.list_outputs()
    for other in (copy.deepcopy(s), pickle.loads(pickle.dumps(s))):
        assert form(other.tojson()) == form(s.tojson())
        other.get_internals()["c_output"]._set_attr(mood="changed")
        assert s.get_internals()["c_output"].attr("mood") is None


def test_the_layout_of_the_file():
    """As MXNet 1.9.1 writes it: text everywhere, variables listed, auxiliary inputs marked."""
    graph = json.loads(sym.BatchNorm(x(lr_mult=2), eps=0.001, name="b").tojson())
    assert graph["nodes"] == [
        {"op": "null", "name": "x", "attrs": {"__lr_mult__": "2"}, "inputs": []},
        {"op": "null", "name": "b_gamma", "attrs": {"eps": "0.001"}, "inputs": []},
        {"op": "null", "name": "b_beta", "attrs": {"eps": "0.001"}, "inputs": []},
        {"op": "null", "name": "b_moving_mean", "attrs": {"__init__": '["zero", {}]', "eps": "0.001"}, "inputs": []},
        {"op": "null", "name": "b_moving_var", "attrs": {"__init__": '["one", {}]', "eps": "0.001"}, "inputs": []},
        {"op": "BatchNorm", "name": "b", "attrs": {"eps": "0.001"},
         "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 1], [4, 0, 1]]}]
    assert graph["arg_nodes"] == [0, 1, 2, 3, 4] and graph["heads"] == [[5, 0, 0]]
    assert graph["node_row_ptr"][:6] == [0, 1, 2, 3, 4, 5] and len(graph["node_row_ptr"]) == 7
    assert graph["attrs"] == {"mxnet_version": ["int", 10901]}


@pytest.mark.parametrize(("make", "attrs"), [
    (lambda: x() + 1, {"scalar": "1"}), (lambda: x() + 1.0, {"scalar": "1.0"}), (lambda: x() + True, {"scalar": "1"}),
    (lambda: x() * 1e-10, {"scalar": "1e-10"}), (lambda: sym.clip(x(), 0, 1), {"a_max": "1", "a_min": "0"}),
    (lambda: sym.sum(x(), axis=1), {"axis": "1"}), (lambda: sym.sum(x(), axis=(0, 1)), {"axis": "(0, 1)"}),
    (lambda: sym.cast(x(), dtype=np.float16), {"dtype": "float16"}), (lambda: sym.zeros((2,)),
        {"dtype": "float32", "shape": "(2,)"}),
    (lambda: sym.slice(x(), begin=(None, 1), end=(2, None)), {"begin": "(None, 1)", "end": "(2, None)"}),
    (lambda: sym.concat(x(), x("y")), {"num_args": "2"}), (lambda: sym.Dropout(x(), p=0.3), {"p": "0.3"}),
    (lambda: sym.arange(1, 5, 2), {"dtype": "float32", "infer_range": "False", "repeat": "1", "start": "1", "step": "2",
                                   "stop": "5"}),
    (lambda: sym.Convolution(x(), kernel=(3, 3), num_filter=np.int64(4), no_bias=1), {"kernel": "(3, 3)", "no_bias": "1",
        "num_filter": "4"})])
def test_text_of_attributes(make, attrs):
    assert json.loads(make().tojson())["nodes"][-1]["attrs"] == attrs
    assert json.loads(sym.load_json(make().tojson()).tojson())["nodes"][-1]["attrs"] == attrs


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_older_layouts(key):
    """Before 1.0 attributes stood under "attr", before 0.9 those of operators under "param"; 0.8 left states out."""
    graph = json.loads(net().tojson())
    for n in graph["nodes"]:
        attrs = n.pop("attrs", None)
        if attrs is None:
            continue
        if key == "param" and n["op"] != "null":
            n["param"] = {k: v for k, v in attrs.items() if not k.startswith("__")}
            n["attr"] = {"ctx_group": "dev", "lr_mult": "3"}
        else:
            n[key] = attrs
    if key == "param":
        graph.pop("node_row_ptr")
        graph.pop("attrs")
        graph["heads"] = [h[:2] for h in graph["heads"]]
        for n in graph["nodes"]:
            n["inputs"] = [i[:2] for i in n["inputs"]]
            n["backward_source_id"] = -1
    s = sym.load_json(json.dumps(graph))
    assert s.list_arguments() == net().list_arguments() and s.list_auxiliary_states() == ["b_moving_mean", "b_moving_var"]
    assert s.get_internals()["c_output"].attr("kernel") == "(3, 3)"
    if key == "param":
        assert s.get_internals()["c_output"].attr("ctx_group") == "dev"
        assert s.get_internals()["c_output"].list_attr()["__lr_mult__"] == "3"
    assert s.infer_shape(data=(2, 1, 8, 8))[1] == [(2, 3), (2, 32)]


def test_states_that_old_files_leave_out():
    graph = {"nodes": [{"op": "null", "name": n, "param": {}, "inputs": [], "backward_source_id": -1} for n in ("x", "b_gamma",
        "b_beta")]
             + [{"op": "BatchNorm", "name": "b", "param": {"eps": "0.001"}, "inputs": [[0, 0], [1, 0], [2, 0]],
                 "backward_source_id": -1}],
             "arg_nodes": [0, 1, 2], "heads": [[3, 0]]}
    s = sym.load_json(json.dumps(graph))
    assert s.list_arguments() == ["x", "b_gamma", "b_beta"] and s.list_auxiliary_states() == ["b_moving_mean", "b_moving_var"]


VARIABLE = '{"op": "null", "name": "x", "inputs": []}'


@pytest.mark.parametrize("text", [
    "", "xx", "[]", "null", "3", '"text"', "{}", '{"nodes": 3, "heads": []}', '{"nodes": [], "heads": [[0, 0]]}',
    '{"nodes": [3], "heads": []}', '{"nodes": [{}], "heads": []}', '{"nodes": [{"op": "null", "name": "x"}], "heads": [[0]]}',
    '{"nodes": [$X], "heads": [[0, 1, 0]]}',
    '{"nodes": [$X], "heads": [[-1, 0, 0]]}',
    '{"nodes": [$X], "heads": [["a", 0, 0]]}',
    '{"nodes": [{"op": "null", "name": 3, "inputs": []}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": "exp", "name": "e", "inputs": [[0, 0, 0]]}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": "exp", "name": "e", "inputs": [[7, 0, 0]]}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": "exp", "name": "e", "inputs": [[-1, 0, 0]]}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": "exp", "name": "e", "inputs": []}], "heads": [[0, 0, 0]]}',
    '{"nodes": [$X, {"op": "exp", "name": "e", "inputs": [[0, 1, 0]]}], "heads": [[1, 0, 0]]}',
    '{"nodes": [$X, {"op": "exp", "name": "e", "inputs": [[0, 0], [0, 0]]}], "heads": [[1, 0, 0]]}',
    '{"nodes": [$X, {"op": "exp", "name": "e", "inputs": [[0, 0]]}], "heads": [[1, 5, 0]]}',
    '{"nodes": [{"op": "null", "name": "x", "inputs": [], "attrs": {"__shape__": "oops"}}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": "null", "name": "x", "inputs": [], "attrs": [1]}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": "nobody", "name": "x", "inputs": []}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": ["exp"], "name": "x", "inputs": []}], "heads": [[0, 0, 0]]}',
    '{"nodes": [{"op": "FullyConnected", "name": "x", "attrs": {"num_hidden": "many"}, "inputs": []}], "heads": [[0, 0, 0]]}',
    "[" * 100_000, '{"nodes": ' * 100_000])
def test_broken_files(text, tmp_path):
    text = text.replace("$X", VARIABLE)
    path = tmp_path / "broken-symbol.json"
    path.write_text(text)
    for read in (lambda: sym.load_json(text), lambda: sym.load(path)):
        with pytest.raises(mx.MXNetError) as caught:
            use(read())
        assert str(caught.value)
    if "name" not in text:
        assert isinstance(caught.value, FileFormatError)


def use(s):
    """What one does with a symbol that was read: nothing else than our errors may come of it."""
    s.tojson()
    s.list_outputs(), s.list_arguments(), s.list_auxiliary_states(), s.attr_dict()
    s.get_internals().list_outputs()
    s.infer_shape_partial()
    s.infer_type_partial()


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "binary-symbol.json"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(FileFormatError, match=r"binary-symbol\.json"):
        sym.load(path)
    with pytest.raises(FileNotFoundError):
        sym.load(tmp_path / "absent-symbol.json")
    with pytest.raises(TypeError):
        sym.load_json(3)


WHOLE = json.loads(net().tojson())
JUNK = st.one_of(st.none(), st.booleans(), st.integers(-3, 99), st.floats(), st.text(max_size=3), st.builds(list), st.builds(dict),
                 st.lists(st.integers(-2, 20), max_size=3))


def places(value, path=()):
    """The paths to all values inside."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for k, v in items:
        yield from places(v, (*path, k))


PLACES = [p for p in places(WHOLE) if p]


@pytest.mark.filterwarnings("ignore:Cannot decide shape")
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.one_of(st.just("delete"), JUNK)), min_size=1, max_size=3))
def test_damaged_files_give_our_errors(changes):
    graph = copy.deepcopy(WHOLE)
    for path, new in changes:
        at = graph
        try:
            for k in path[:-1]:
                at = at[k]
            if new == "delete":
                del at[path[-1]]
            else:
                at[path[-1]] = copy.deepcopy(new)  # drawn lists and dicts may be one object
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
    try:
        use(sym.load_json(json.dumps(graph)))
    except mx.MXNetError:
        pass


@given(st.text(max_size=50))
def test_any_text_is_refused(text):
    with pytest.raises(mx.MXNetError):
        sym.load_json(text)


@given(st.integers(0, len(json.dumps(WHOLE)) - 1))
def test_cut_files_are_refused(n):
    with pytest.raises(FileFormatError):
        sym.load_json(json.dumps(WHOLE)[:n])


# ---------------------------------------------------------------- gradients
def test_gradient_to_order_two():
    a, b = x("a"), x("b")
    f = sym.sin(a) * b + a**3
    first = f.gradient(["a", "b"])
    second = sym.Group([first[0].gradient("a"), first[0].gradient("b")])
    va, vb = np.array([0.3, -1.2]), np.array([2.0, 0.5])
    arrays = {"a": nd.array(va, dtype="float64"), "b": nd.array(vb, dtype="float64")}
    got = [o.asnumpy() for o in [*first.eval(**arrays), *second.eval(**arrays)]]
    want = [np.cos(va) * vb + 3 * va**2, np.sin(va), -np.sin(va) * vb + 6 * va, np.cos(va)]
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-9)
    again = sym.load_json(second.tojson())
    np.testing.assert_allclose(again.eval(**arrays)[0].asnumpy(), want[2], rtol=1e-9)


def test_gradient_of_layers():
    """Of a dense layer with tanh: the symbolic gradient is that of autograd."""
    f = sym.tanh(sym.FullyConnected(x(), num_hidden=2, name="f"))
    g = f.gradient(["x", "f_weight", "f_bias"])
    rng = np.random.RandomState(0)
    arrays = {n: nd.array(rng.uniform(-1, 1, s)) for n, s in zip(f.list_arguments(), f.infer_shape(x=(3, 4))[0], strict=True)}
    assert g.infer_shape(x=(3, 4))[1] == [(3, 4), (2, 4), (2,)]
    for a in arrays.values():
        a.attach_grad()
    with mx.autograd.record():
        y = nd.tanh(nd.FullyConnected(*[arrays[n] for n in f.list_arguments()], num_hidden=2))
    y.backward()
    found = g.bind(mx.cpu(), {n: arrays[n] for n in g.list_arguments()}).forward()
    for n, a in zip(f.list_arguments(), found, strict=True):
        np.testing.assert_allclose(a.asnumpy(), arrays[n].grad.asnumpy(), rtol=1e-5, atol=1e-6)


def test_gradients_where_nothing_flows():
    f = sym.BlockGrad(x("a")) * 2 + x("b")
    got = f.gradient(["a", "b"]).eval(a=nd.ones(2), b=nd.ones(2))
    assert [g.asnumpy().tolist() for g in got] == [[0, 0], [1, 1]]
    with pytest.raises(mx.MXNetError, match=r"\['c'\] are not inputs; inputs are \['a', 'b'\]"):
        f.gradient("c")
    grouped = sym.Group([x("a") * 2, x("a") * 3])
    with pytest.raises(mx.MXNetError, match="called"):
        grouped.bind(mx.cpu(), {"a": nd.ones(1)})
