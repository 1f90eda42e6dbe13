"""Parameters: life, contexts, errors, dictionaries, files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxcore as mx
from mxcore.errors import DeferredInitializationError, FileFormatError, MXNetError
from mxcore.gluon import Constant, Parameter, ParameterDict
from mxcore.gluon.parameter import shape_is_known
from mxcore.gluon.structure import flatten, listed, regroup


def made(shape: tuple = (2, 3), **kwargs) -> Parameter:
    param = Parameter("w", shape=shape, **kwargs)
    param.initialize("ones")
    return param


# ---------------------------------------------------------------- one parameter
def test_arrays_and_gradients_have_shape_type_and_values() -> None:
    param = made(dtype="float64")
    assert param.data().shape == param.grad().shape == (2, 3)
    assert np.dtype(param.data().dtype) == np.dtype(param.grad().dtype) == np.float64
    assert param.data().asnumpy().min() == 1 and param.grad().asnumpy().max() == 0


def test_the_gradient_is_the_array_that_backward_writes() -> None:
    param = made()
    grad = param.grad()
    with mx.autograd.record():
        loss = (param.data() * 3).sum()
    loss.backward()
    assert param.grad() is grad and (grad.asnumpy() == 3).all()


def test_access_before_initialization_says_what_to_do() -> None:
    param = Parameter("w", shape=(2,))
    for access in (param.data, param.grad, param.list_data, param.list_grad, param.list_ctx):
        with pytest.raises(MXNetError, match=r"'w' has not been initialized.*net\.initialize\(\)"):
            access()
    assert issubclass(MXNetError, RuntimeError)  # what MXNet raises


def test_access_while_initialization_waits_says_so() -> None:
    param = Parameter("w", shape=(0, 3), allow_deferred_init=True)
    param.initialize()
    for access in (param.data, param.grad, param.list_data, param.list_grad):
        with pytest.raises(DeferredInitializationError, match=r"'w'.*first forward pass"):
            access()
    assert param.list_ctx() == [mx.cpu()]


@pytest.mark.parametrize("shape", [None, (0, 2), (2, 0)])
def test_unknown_shapes_need_deferred_initialization(shape: tuple | None) -> None:
    with pytest.raises(ValueError, match="'w' because it has invalid shape"):
        Parameter("w", shape=shape).initialize()
    param = Parameter("w", shape=shape, allow_deferred_init=True)
    param.initialize("ones")
    param.shape = (2, 2)
    param._finish_deferred_init()
    assert param.data().asnumpy().tolist() == [[1, 1], [1, 1]]


def test_deferred_initialization_does_not_finish_without_a_shape() -> None:
    param = Parameter("w", shape=(0,), allow_deferred_init=True)
    param.initialize()
    with pytest.raises(ValueError, match="Please specify in_units"):
        param._finish_deferred_init()


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 1)])
def test_a_shape_may_only_fill_in_what_is_unknown(shape: tuple) -> None:
    param = Parameter("w", shape=(2, 3))
    with pytest.raises(AssertionError, match="does not fit Parameter 'w'"):
        param.shape = shape
    assert param.shape == (2, 3)


def test_initialize_twice_warns_and_force_reinit_does_it() -> None:
    param = made()
    before = param.data()
    with pytest.warns(UserWarning, match="already initialized, ignoring"):
        param.initialize("zeros")
    assert param.data() is before
    param.initialize("zeros", force_reinit=True)
    assert param.data().asnumpy().max() == 0


def test_own_initializer_comes_before_the_default_and_after_the_given() -> None:
    own = Parameter("a_weight", shape=(1,), init="ones")
    own.initialize(default_init=mx.init.Constant(3))
    assert own.data().asscalar() == 1
    own.initialize(init=mx.init.Constant(2), default_init=mx.init.Constant(3), force_reinit=True)
    assert own.data().asscalar() == 2
    plain = Parameter("b_weight", shape=(1,))
    plain.initialize(default_init=mx.init.Constant(3))
    assert plain.data().asscalar() == 3


def test_wrong_arguments() -> None:
    with pytest.raises(AssertionError, match="must be one of 'write', 'add', or 'null', but got 'sum'"):
        Parameter("w", grad_req="sum")
    with pytest.raises(AssertionError, match="grad_stype of Parameter 'w'"):
        Parameter("w", grad_stype="dense")
    with pytest.raises(MXNetError, match="ones_ is not registered"):
        Parameter("w", shape=(1,)).initialize("ones_")
    with pytest.raises(ValueError, match="ctx must be a Context"):
        Parameter("w", shape=(1,)).initialize(ctx=["cpu"])


def test_sparse_storage_is_an_error_that_says_what_to_leave_out() -> None:
    with pytest.raises(MXNetError, match="leave stype at 'default'"):
        Parameter("w", shape=(2, 3), stype="row_sparse").initialize()
    with pytest.raises(MXNetError, match="sparse_grad"):
        Parameter("w", shape=(2, 3), grad_stype="row_sparse").initialize()
    for rows in (made().row_sparse_data, made().list_row_sparse_data):
        with pytest.raises(MXNetError, match="storage type is default"):
            rows(mx.nd.array([0]))


def test_set_data_writes_in_place_and_outside_of_the_record() -> None:
    param = made()
    array = param.data()
    with mx.autograd.record():
        param.set_data(mx.nd.ones((2, 3)) * 5)
    assert param.data() is array and (array.asnumpy() == 5).all()
    with pytest.raises(AssertionError, match=r"\(3, 2\) does not fit"):
        param.set_data(mx.nd.ones((3, 2)))
    with pytest.raises(AssertionError, match="takes an array"):
        param.set_data(3)
    with pytest.raises(AssertionError, match="not been initialized"):
        Parameter("w", shape=(2,)).set_data(mx.nd.ones((2,)))


def test_set_data_before_the_shape_is_known_is_kept_for_later() -> None:
    param = Parameter("w", shape=(0, 2), allow_deferred_init=True, dtype="float64")
    param.initialize()
    param.set_data(mx.nd.array([[1, 2]]))
    assert param.shape == (1, 2)
    param._finish_deferred_init()
    assert param.data().asnumpy().tolist() == [[1, 2]] and np.dtype(param.data().dtype) == np.float64


def test_grad_req_null_drops_the_gradient_and_others_bring_it_back() -> None:
    param = made()
    param.grad_req = "null"
    for access in (param.grad, param.list_grad):
        with pytest.raises(MXNetError, match="grad_req='null'"):
            access()
    with mx.autograd.record():
        assert not mx.autograd.is_recording() or (param.data() * 1)._entry is None
    param.grad_req = "add"
    for _ in range(2):
        with mx.autograd.record():
            loss = param.data().sum()
        loss.backward()
    assert (param.grad().asnumpy() == 2).all()
    param.zero_grad()
    assert (param.grad().asnumpy() == 0).all()


def test_one_parameter_without_gradient_leaves_the_others_theirs() -> None:
    net = mx.gluon.nn.Dense(2, in_units=3)
    net.initialize()
    net.weight.grad_req = "null"
    with mx.autograd.record():
        loss = net(mx.nd.ones((4, 3)))
    loss.backward()
    assert net.bias.grad().asnumpy().tolist() == [4, 4]


def test_several_contexts() -> None:
    contexts = [mx.cpu(0), mx.cpu(1)]
    param = Parameter("w", shape=(2,))
    param.initialize("ones", ctx=contexts)
    assert [a.context for a in param.list_data()] == [a.context for a in param.list_grad()] == contexts
    with pytest.raises(MXNetError, match=r"'w' was not initialized on context cpu\(2\).*\[cpu\(0\), cpu\(1\)\]"):
        param.data(mx.cpu(2))
    param.data(mx.cpu(1))[:] = 3
    assert param.data().asnumpy().tolist() == [1, 1]
    assert param._reduce().asnumpy().tolist() == [2, 2]  # what is saved: the mean
    param.reset_ctx(mx.cpu(1))
    assert param.list_ctx() == [mx.cpu(1)] and param.data().asnumpy().tolist() == [2, 2]
    with pytest.raises(ValueError, match="Cannot reset context"):
        Parameter("x", shape=(2,)).reset_ctx(mx.cpu())


def test_cast_keeps_values_and_takes_the_symbol_along() -> None:
    param = made()
    assert param.var() is param.var()
    param.cast("float16")
    assert param.data().asnumpy().dtype == np.float16 and param.grad().asnumpy().dtype == np.float16
    assert param.var().attr_dict()["w"]["__dtype__"] == "2"


def test_constants() -> None:
    constant = Constant("c_bias", [[1.0, 2.0]])
    constant.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    assert [a.asnumpy().tolist() for a in constant.list_data()] == [[[1, 2]], [[1, 2]]]
    with pytest.warns(UserWarning, match="does not support grad_req other than"):
        constant.grad_req = "write"
    assert constant.grad_req == "null"
    assert constant.var().attr_dict()["c_bias"]["__init__"] == "Constant_c_bias"
    assert np.dtype(Constant("n", mx.nd.array([1], dtype="int32")).dtype) == np.int32


# ---------------------------------------------------------------- dictionaries
def test_get_makes_once_and_merges_shapes() -> None:
    params = ParameterDict("p_")
    first = params.get("w", shape=(0, 3))
    assert params.get("w", shape=(2, 0)) is first and first.shape == (2, 3)
    assert params.get("w", dtype=np.float32) is first
    for wrong in ({"shape": (2, 4)}, {"shape": (2,)}, {"dtype": "float16"}, {"lr_mult": 3.0}):
        with pytest.raises(AssertionError, match="'p_w' because desired attribute does not match"):
            params.get("w", **wrong)
    assert list(params) == ["p_w"] and len(params) == 1 and "p_w" in params and params["p_w"] is first
    with pytest.raises(KeyError):
        params["w"]


def test_shared_dictionaries_give_the_same_parameters() -> None:
    shared = ParameterDict("p_")
    first = shared.get("w", shape=(1,))
    other = ParameterDict("p_", shared)
    assert other.get("w") is first
    assert other.get("new", shape=(1,)) is other["p_new"] and "p_new" not in shared


def test_constants_of_a_dictionary() -> None:
    params = ParameterDict("p_")
    constant = params.get_constant("c", [1.0, 2.0])
    assert params.get_constant("c") is params.get_constant("c", [1.0, 2.0]) is constant
    with pytest.raises(AssertionError, match="another value"):
        params.get_constant("c", [1.0, 3.0])
    with pytest.raises(KeyError, match="specify value"):
        params.get_constant("d")
    params.get("w", shape=(1,))
    with pytest.raises(AssertionError, match="not a constant"):
        params.get_constant("w", [1.0])


def test_update_refuses_another_parameter_of_the_same_name() -> None:
    one, two = ParameterDict("p_"), ParameterDict("p_")
    one.get("w", shape=(1,))
    two.get("w", shape=(1,))
    with pytest.raises(AssertionError, match="different Parameters with the same name 'p_w'"):
        one.update(two)
    one.update(one)


def test_setattr_reset_ctx_and_zero_grad_reach_all() -> None:
    params = ParameterDict()
    for name in "ab":
        params.get(name, shape=(1,))
    params.initialize("ones", ctx=mx.cpu(1))
    params.setattr("lr_mult", 0.5)
    assert {p.lr_mult for p in params.values()} == {0.5} and params.list_ctx() == [mx.cpu(1)]
    params.reset_ctx([mx.cpu(0), mx.cpu(1)])
    assert params.list_ctx() == [mx.cpu(0), mx.cpu(1)]


# ---------------------------------------------------------------- files
def saved(tmp_path: Path, **arrays) -> str:
    path = str(tmp_path / "x.params")
    mx.nd.save(path, {name: mx.nd.array(value) for name, value in arrays.items()})
    return path


def two(prefix: str = "") -> ParameterDict:
    params = ParameterDict(prefix)
    params.get("a", shape=(2,))
    params.get("b", shape=(0,), allow_deferred_init=True)
    return params


def test_load_takes_values_and_shapes(tmp_path: Path) -> None:
    params = two("p_")
    params.load(saved(tmp_path, **{"arg:a": [1, 2], "aux:b": [3]}), restore_prefix="p_", ctx=mx.cpu(1))
    assert params["p_a"].data().asnumpy().tolist() == [1, 2]
    assert params["p_b"].shape == (1,) and params.list_ctx() == [mx.cpu(1)]


@pytest.mark.parametrize(("arrays", "message"), [
    ({"a": [1, 2]}, "'b' is missing in file"),
    ({"a": [1, 2], "b": [1], "c": [1]}, "'c' loaded from file.* is not present in"),
    ({"b": [1], "a": [1, 2, 3]}, r"'a' from saved params: shape incompatible expected \(2,\) vs saved \(3,\)"),
])
def test_what_does_not_fit_changes_nothing(tmp_path: Path, arrays: dict, message: str) -> None:
    params = two()
    params.initialize("zeros")
    with pytest.raises(AssertionError, match=message):
        params.load(saved(tmp_path, **arrays))
    assert params["a"].data().asnumpy().tolist() == [0, 0] and params["b"].shape == (0,)


def test_missing_and_extra_are_tolerated_when_asked(tmp_path: Path) -> None:
    params = two()
    params.load(saved(tmp_path, a=[1, 2], z=[3]), allow_missing=True, ignore_extra=True)
    assert params["a"].data().asnumpy().tolist() == [1, 2]


def test_types_are_cast_only_when_asked(tmp_path: Path) -> None:
    params = ParameterDict()
    param = params.get("a", shape=(2,), dtype="float16")
    path = saved(tmp_path, a=[1, 2])
    with pytest.raises(AssertionError, match="dtype incompatible expected float16 vs saved float32"):
        params.load(path)
    params.load(path, cast_dtype=True)
    assert param.data().asnumpy().dtype == np.float16
    params.load(path, cast_dtype=True, dtype_source="saved")
    assert param.data().asnumpy().dtype == np.float32 and np.dtype(param.dtype) == np.float32
    with pytest.raises(AssertionError, match="'current' or 'saved'"):
        params.load(path, cast_dtype=True, dtype_source="file")


def test_loading_onto_other_contexts_is_refused(tmp_path: Path) -> None:
    params = ParameterDict()
    params.get("a", shape=(2,)).initialize(ctx=mx.cpu(0))
    with pytest.raises(AssertionError, match=r"\[cpu\(1\)\] because it was previous initialized on \[cpu\(0\)\]"):
        params.load(saved(tmp_path, a=[1, 2]), ctx=mx.cpu(1))


def test_prefixes_of_files_must_fit(tmp_path: Path) -> None:
    params = two("p_")
    params.initialize("zeros")
    with pytest.raises(AssertionError, match="does not start with 'q_'"):
        params.load(saved(tmp_path, a=[1, 2]), restore_prefix="q_")
    with pytest.raises(ValueError, match="is to be striped before saving"):
        params["p_b"].shape = (1,)
        params["p_b"]._finish_deferred_init()
        params.save(str(tmp_path / "y.params"), strip_prefix="q_")
    assert not (tmp_path / "y.params").exists()


def test_damaged_and_nameless_files_are_clear_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.params"
    mx.nd.save(str(path), [mx.nd.ones((2,))])
    with pytest.raises(MXNetError, match="1 arrays without names"):
        two().load(str(path))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FileFormatError):
        two().load(str(path))


# ---------------------------------------------------------------- structure
nested = st.recursive(st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=8)


@given(nested)
def test_regroup_undoes_flatten(value: object) -> None:
    flat, form = flatten(value, "input")
    assert set(flat) <= {None}
    assert regroup(range(len(flat)), form) == regroup(iter(range(len(flat))), form)
    assert regroup(flat, form) == value


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the input of HybridBlock must be .* but got 5 of type <class 'int'>"):
        flatten([None, [5]], "input")


def test_known_shapes_and_lists_of_names() -> None:
    assert [shape_is_known(s) for s in (None, (), (1,), (0, 1), (-1,))] == [False, True, True, False, False]
    assert listed(map(str, range(20)), 6) == "'0', '1', '2', ..., '17', '18', '19'"
