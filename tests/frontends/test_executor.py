"""Bound symbols: forward, backward, requests, states, reshaping, monitors; what the arrays alias."""

import tracemalloc

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd, sym
from mxcore.testing import loopback

loopback.install()
X = sym.var("x")
DENSE = sym.FullyConnected(X, num_hidden=2, name="f")


def arrays(ctx=None):
    rng = np.random.RandomState(0)
    return {n: nd.array(rng.uniform(-1, 1, s), ctx=ctx) for n, s in (("x", (3, 4)), ("f_weight", (2, 4)), ("f_bias", (2,)))}


def host(a):
    return a.asnumpy().tolist()


def filled(e, seed=0):
    rng = np.random.RandomState(seed)
    for a in e.arg_arrays:
        a[:] = rng.uniform(-1, 1, a.shape)
    return e


# ---------------------------------------------------------------- binding
@pytest.mark.parametrize("how", ["dicts", "lists"])
@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_bind(how, kind):
    ctx = mx.Context(kind)
    args = arrays(ctx)
    grads = {n: nd.zeros(a.shape, ctx=ctx) for n, a in args.items()}
    given = (args, grads) if how == "dicts" else (list(args.values()), list(grads.values()))
    e = DENSE.bind(ctx, *given)
    out = e.forward(is_train=True)
    x, w, b = (args[n].asnumpy() for n in ("x", "f_weight", "f_bias"))
    np.testing.assert_allclose(out[0].asnumpy(), x @ w.T + b, rtol=1e-5)
    head = np.arange(6.0).reshape(3, 2)
    e.backward(nd.array(head, ctx=ctx))
    for name, want in (("x", head @ w), ("f_weight", head.T @ x), ("f_bias", head.sum(0))):
        np.testing.assert_allclose(grads[name].asnumpy(), want, rtol=1e-5)
        assert e.grad_dict[name] is grads[name] and e.arg_dict[name] is args[name]
    assert all(a is b for a, b in zip(e.arg_arrays, args.values(), strict=True))
    assert list(e.arg_dict) == DENSE.list_arguments() and list(e.output_dict) == ["f_output"]
    assert e.outputs[0] is out[0] and e.aux_dict == {} and "f_output" in repr(e)


def test_requests():
    e = DENSE.bind(mx.cpu(), arrays(), {"x": nd.ones((3, 4)), "f_bias": nd.ones(2)}, {"x": "write", "f_bias": "add",
        "f_weight": "write"})
    for _ in range(2):
        e.forward(is_train=True)
        e.backward(nd.ones((3, 2)))
    assert host(e.grad_dict["f_bias"]) == [7, 7] and e.grad_dict["f_weight"] is None
    np.testing.assert_allclose(e.grad_dict["x"].asnumpy(), np.tile(e.arg_dict["f_weight"].asnumpy().sum(0), (3, 1)), rtol=1e-6)
    none = DENSE.simple_bind(mx.cpu(), x=(3, 4), grad_req="null")
    assert none.grad_arrays == [None] * 3
    none.forward(is_train=True)
    none.backward(nd.ones((3, 2)))
    one = DENSE.simple_bind(mx.cpu(), x=(3, 4), grad_req={"f_weight": "write"})
    assert [n for n, g in one.grad_dict.items() if g is not None] == ["f_weight"]
    listed = DENSE.simple_bind(mx.cpu(), x=(3, 4), grad_req=["null", "add", "null"])
    assert [n for n, g in listed.grad_dict.items() if g is not None] == ["f_weight"]


def test_simple_bind():
    e = sym.BatchNorm(X, name="b").simple_bind(mx.cpu(), x=(3, 2), type_dict={"x": "float64"})
    assert {n: (a.shape, a.dtype) for n, a in e.arg_dict.items()} == {
        "x": ((3, 2), np.float64), "b_gamma": ((2,), np.float64), "b_beta": ((2,), np.float64)}
    assert {n: a.shape for n, a in e.aux_dict.items()} == {"b_moving_mean": (2,), "b_moving_var": (2,)}
    assert not any(a.asnumpy().any() for a in e.arg_arrays)
    buffer = {}
    a = DENSE.simple_bind(mx.cpu(), x=(3, 4), shared_buffer=buffer)
    b = DENSE.simple_bind(mx.cpu(), x=(2, 4), shared_buffer=buffer)
    c = DENSE.simple_bind(mx.cpu(), x=(2, 4), shared_exec=a)
    assert a.arg_dict["f_weight"] is b.arg_dict["f_weight"] is c.arg_dict["f_weight"]
    assert b.arg_dict["x"].shape == (2, 4)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: DENSE.bind("cpu", arrays()), TypeError, "Context"),
    (lambda: DENSE.bind(mx.cpu(), {"x": nd.ones((3, 4))}), ValueError, "`f_weight` is missing in `args`"),
    (lambda: DENSE.bind(mx.cpu(), [nd.ones((3, 4))]), ValueError, "Length of args"),
    (lambda: DENSE.bind(mx.cpu(), arrays(), grad_req="sum"), ValueError, "grad_req must be"),
    (lambda: DENSE.bind(mx.cpu(), arrays(), grad_req=["write"]), ValueError, "grad_req has 1 entries"),
    (lambda: DENSE.bind(mx.cpu(), {**arrays(), "x": np.ones((3, 4))}), TypeError, "'x' is ndarray"),
    (lambda: DENSE.bind(mx.cpu(), {**arrays(), "x": nd.ones((3, 5))}), mx.MXNetError, "operator f"),
    (lambda: DENSE.bind(mx.Context("loopback"), arrays()), mx.MXNetError, r"'x' is on cpu\(0\)"),
    (lambda: DENSE.bind(mx.cpu(), arrays(), {"x": nd.ones((1, 1))}), mx.MXNetError, "gradient of 'x'"),
    (lambda: sym.BatchNorm(X, name="b").bind(mx.cpu(), {"x": nd.ones((3, 4)), "b_gamma": nd.ones(4), "b_beta": nd.ones(4)}),
     ValueError, "`b_moving_mean` is missing in `aux_states`"),
    (lambda: (sym.var("a") + sym.var("a")).bind(mx.cpu(), {"a": nd.ones(1)}), mx.MXNetError,
     r"several inputs are called \['a'\]"),
    (lambda: (X + sym.var("y")).eval(x=nd.ones(1)), ValueError, "`y` is missing"),
    (lambda: DENSE.simple_bind(mx.cpu(), y=(1,)), mx.MXNetError, "'y'")])
def test_wrong_bindings(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_eval_and_extra_arguments():
    s = sym.var("a") + sym.var("b")
    assert host(s.eval(a=nd.ones(2), b=nd.ones(2))[0]) == [2, 2]
    assert s.eval(ctx=mx.Context("loopback"), a=nd.ones(2, ctx=mx.Context("loopback")),
                  b=nd.ones(2, ctx=mx.Context("loopback")))[0].context == mx.Context("loopback")
    assert DENSE.bind(mx.cpu(), {**arrays(), "unused": nd.ones(1)}).forward()[0].shape == (3, 2)


# ---------------------------------------------------------------- forward
def test_forward_with_new_values():
    e = filled(DENSE.simple_bind(mx.cpu(), x=(3, 4)))
    before = e.arg_dict["x"]
    new = np.ones((3, 4))
    for value in (nd.array(new), new, new.tolist(), nd.array(new, ctx=mx.Context("loopback"))):
        out, = e.forward(x=value)
        assert e.arg_dict["x"] is before and host(before) == new.tolist()
        np.testing.assert_allclose(out.asnumpy()[0], e.arg_dict["f_weight"].asnumpy().sum(1) + e.arg_dict["f_bias"].asnumpy(),
                                   rtol=1e-5)
    with pytest.raises(TypeError, match="Unknown argument zz; arguments are"):
        e.forward(zz=nd.ones(1))
    with pytest.raises(ValueError, match=r"Argument x, need: \(3, 4\), received: \(2, 4\)"):
        e.forward(x=nd.ones((2, 4)))


def test_arrays_may_be_written_between_calls():
    e = filled(DENSE.simple_bind(mx.cpu(), x=(3, 4)))
    first, = e.forward()
    kept = first.asnumpy()
    e.arg_dict["f_bias"][:] += 1
    second, = e.forward()
    np.testing.assert_allclose(second.asnumpy(), kept + 1, rtol=1e-5)
    np.testing.assert_array_equal(first.asnumpy(), kept)  # results stay as they were


def test_outputs_are_memory_of_their_own():
    e = sym.Group([X, X.reshape((-1,)), X * 1, X]).bind(mx.cpu(), {"x": nd.ones((2, 2))})
    outs = e.forward()
    for o in outs:
        o[:] = 7
    assert host(e.arg_dict["x"]) == [[1, 1], [1, 1]]
    outs[0][:] = 3
    assert host(outs[3]) == [[7, 7], [7, 7]]


def test_outputs_before_forward():
    e = DENSE.simple_bind(mx.cpu(), x=(3, 4))
    assert e.outputs[0].shape == (3, 2) and not e.outputs[0].asnumpy().any()


def test_states_are_written_in_training_only():
    e = sym.BatchNorm(X, name="b", fix_gamma=False, momentum=0.5).simple_bind(mx.cpu(), x=(3, 2))
    e.aux_dict["b_moving_var"][:] = 1
    data = np.array([[1, 2], [3, 4], [5, 9]], "float32")
    e.forward(is_train=False, x=data)
    assert host(e.aux_dict["b_moving_mean"]) == [0, 0]
    e.forward(is_train=True)
    np.testing.assert_allclose(e.aux_dict["b_moving_mean"].asnumpy(), data.mean(0) / 2)
    np.testing.assert_allclose(e.aux_dict["b_moving_var"].asnumpy(), data.var(0) / 2 + 0.5, rtol=1e-6)
    e.backward(nd.ones((3, 2)))
    e.forward(is_train=False)
    e.backward(nd.ones((3, 2)))  # after prediction: computed again, but nothing is learned from it
    np.testing.assert_allclose(e.aux_arrays[0].asnumpy(), data.mean(0) / 2)


# ---------------------------------------------------------------- backward
def test_heads():
    e = sym.Group([X * 3, X * 2]).simple_bind(mx.cpu(), x=(2,))
    e.forward(is_train=True)
    for heads, want in (([nd.ones(2), nd.ones(2) * 10], 23), ([nd.ones(2), None], 3), (None, 5),
                        ({e._symbol.list_outputs()[1]: nd.ones(2)}, 2)):
        e.backward(heads)
        assert host(e.grad_dict["x"]) == [want, want]
    with pytest.raises(mx.MXNetError, match="1 head gradients for 2 outputs"):
        e.backward(nd.ones(2))
    with pytest.raises(mx.MXNetError, match=r"must have its shape \(2,\), got \(3,\)"):
        e.backward([nd.ones(3), None])


def test_backward_without_a_training_forward():
    e = filled(DENSE.simple_bind(mx.cpu(), x=(3, 4)))
    e.backward(nd.ones((3, 2)))
    assert host(e.grad_dict["f_bias"]) == [3, 3]
    assert e.outputs[0].asnumpy().any()
    e.forward(is_train=False)
    e.arg_dict["f_bias"][:] = 0
    e.backward(nd.ones((3, 2)) * 2)
    assert host(e.grad_dict["f_bias"]) == [6, 6]


def test_losses_ignore_head_gradients():
    e = sym.SoftmaxOutput(X, sym.var("label"), name="s").simple_bind(mx.cpu(), x=(2, 3), label=(2,), grad_req={"x": "write"})
    e.forward(is_train=True, x=np.zeros((2, 3)), label=np.array([0, 2]))
    want = np.full((2, 3), 1 / 3) - np.eye(3)[[0, 2]]
    for heads in (None, nd.ones((2, 3)) * 100):
        e.backward(heads)
        np.testing.assert_allclose(e.grad_dict["x"].asnumpy(), want, rtol=1e-6)


def test_backward_uses_the_random_numbers_of_forward():
    e = sym.Dropout(X, p=0.5).simple_bind(mx.cpu(), x=(200,))
    out, = e.forward(is_train=True, x=np.ones(200))
    nd.random.uniform(shape=(7,))
    e.backward(nd.ones(200))
    np.testing.assert_array_equal(e.grad_dict["x"].asnumpy(), out.asnumpy())
    assert set(host(out)) == {0, 2}
    assert host(e.forward(is_train=False)[0]) == [1] * 200


def test_what_forward_keeps_is_let_go(monkeypatch):
    monkeypatch.setenv("MXCORE_PASSES", "none")  # otherwise less is kept, in memory that is kept for the next run
    size = 100_000 * 4
    s = X
    for _ in range(5):
        s = sym.sin(s)
    e = s.simple_bind(mx.cpu(), x=(100_000,))
    e.forward(is_train=False)
    tracemalloc.start()
    e.forward(is_train=False)
    predicted, _ = tracemalloc.get_traced_memory()
    e.forward(is_train=True)
    trained, _ = tracemalloc.get_traced_memory()
    e.forward(is_train=False)
    again, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert trained > predicted + 3.5 * size  # four activations
    assert again < predicted + size / 2


@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_executor_is_autograd(kind):
    """A small convolutional net: outputs, gradients and states of bind are those of eager calls."""
    ctx = mx.Context(kind)
    c = sym.Convolution(X, kernel=(3, 3), num_filter=4, pad=(1, 1), name="c")
    b = sym.BatchNorm(c, fix_gamma=False, name="b")
    p = sym.Pooling(sym.Activation(b, act_type="relu"), kernel=(2, 2), stride=(2, 2), pool_type="max")
    s = sym.FullyConnected(p, num_hidden=3, name="f")
    e = s.simple_bind(ctx, x=(2, 1, 6, 6), type_dict={"x": "float64"})
    filled(e)
    e.aux_dict["b_moving_var"][:] = 1
    args = {n: a.copy() for n, a in e.arg_dict.items()}
    aux = {n: a.copy() for n, a in e.aux_dict.items()}
    for a in args.values():
        a.attach_grad()
    with autograd.record():
        y = nd.Convolution(args["x"], args["c_weight"], args["c_bias"], kernel=(3, 3), num_filter=4, pad=(1, 1))
        y = nd.BatchNorm(y, args["b_gamma"], args["b_beta"], *aux.values(), fix_gamma=False)
        y = nd.Pooling(nd.relu(y), kernel=(2, 2), stride=(2, 2), pool_type="max")
        y = nd.FullyConnected(y, args["f_weight"], args["f_bias"], num_hidden=3)
    head = nd.array(np.random.RandomState(1).uniform(-1, 1, (2, 3)), dtype="float64", ctx=ctx)
    y.backward(head)
    out, = e.forward(is_train=True)
    e.backward(head)
    np.testing.assert_allclose(out.asnumpy(), y.asnumpy(), rtol=1e-10)
    for n in args:
        np.testing.assert_allclose(e.grad_dict[n].asnumpy(), args[n].grad.asnumpy(), rtol=1e-8, atol=1e-12)
    for n in aux:
        np.testing.assert_allclose(e.aux_dict[n].asnumpy(), aux[n].asnumpy(), rtol=1e-12)


# ---------------------------------------------------------------- parameters, shapes, monitors
def test_copy_params_from():
    e = sym.BatchNorm(DENSE, name="b").simple_bind(mx.cpu(), x=(3, 4))
    e.copy_params_from({"f_weight": nd.ones((2, 4), dtype="float64")}, {"b_moving_mean": nd.ones(2)})
    assert e.arg_dict["f_weight"].asnumpy().sum() == 8 and e.aux_dict["b_moving_mean"].asnumpy().sum() == 2
    with pytest.raises(ValueError, match="'zz' that is not in the arguments; there are"):
        e.copy_params_from({"zz": nd.ones(1)})
    with pytest.raises(ValueError, match="'zz' that is not in the auxiliary states"):
        e.copy_params_from({}, {"zz": nd.ones(1)})
    e.copy_params_from({"zz": nd.ones(1)}, {"zz": nd.ones(1)}, allow_extra_params=True)
    with pytest.raises(mx.MXNetError, match=r"\(3, 4\), the target \(2, 4\)"):
        e.copy_params_from({"f_weight": nd.ones((3, 4))})


def test_reshape():
    e = filled(DENSE.simple_bind(mx.cpu(), x=(3, 4)))
    small = e.reshape(x=(2, 4))
    assert small.arg_dict["x"].shape == (2, 4) and small.arg_dict["f_weight"] is e.arg_dict["f_weight"]
    assert small.grad_dict["x"].shape == (2, 4)
    assert small.forward()[0].shape == (2, 2) and e.forward()[0].shape == (3, 2)
    with pytest.raises(mx.MXNetError, match="'x' larger than original"):
        e.reshape(x=(5, 4))
    big = e.reshape(x=(5, 4), allow_up_sizing=True)
    assert big.forward(is_train=True, x=np.ones((5, 4)))[0].shape == (5, 2)
    big.backward(nd.ones((5, 2)))
    assert host(big.grad_dict["f_bias"]) == [5, 5]
    with pytest.raises(mx.MXNetError, match="unspecified array 'f_weight' changed"):
        e.reshape(x=(3, 2))
    assert e.reshape(x=(3, 2), partial_shaping=True).arg_dict["f_weight"].shape == (2, 2)


def test_monitor():
    seen = []
    s = sym.BatchNorm(DENSE, name="b")
    e = filled(s.simple_bind(mx.cpu(), x=(3, 4)))
    e.set_monitor_callback(lambda n, a: seen.append((n, a.shape)))
    e.forward(is_train=True)
    state = host(e.aux_dict["b_moving_mean"])
    assert seen == [("f_output", (3, 2)), ("b_output", (3, 2))]
    seen.clear()
    e.set_monitor_callback(lambda n, a: seen.append(n), monitor_all=True)
    e.forward()
    assert seen == ["x", "f_weight", "f_bias", "f_output", "b_gamma", "b_beta", "b_moving_mean", "b_moving_var", "b_output"]
    assert host(e.aux_dict["b_moving_mean"]) == state and any(state)
    assert "Op:FullyConnected" in e.debug_str()
