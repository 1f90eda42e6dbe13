"""What errors say: the operator, its arguments by name with shapes and types, the relation that fails, the user's line."""

import subprocess
import sys

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, errors, nd, sym

X = (2, 3)


def ones(*shape, dtype="float32"):
    return nd.ones(shape, dtype=dtype)


CALLS = {
    "dense": (lambda: nd.FullyConnected(ones(2, 3), ones(4, 5), ones(4), num_hidden=4), errors.ShapeError,
              ["FullyConnected(data: float32 (2, 3), weight: float32 (4, 5), bias: float32 (4,), num_hidden=4)", "(4, 3)",
               "must be equal", "dimension 1: 5 and 3"]),
    "dot": (lambda: nd.dot(ones(2, 3), ones(4, 5)), errors.ShapeError,
            ["dot(lhs: float32 (2, 3), rhs: float32 (4, 5))", "last axis of lhs", "first of rhs"]),
    "convolution": (lambda: nd.Convolution(ones(1, 3, 8, 8), ones(4, 2, 3, 3), ones(4), kernel=(3, 3), num_filter=4),
                    errors.ShapeError, ["Convolution(data: float32 (1, 3, 8, 8), weight: float32 (4, 2, 3, 3)", "kernel=(3, 3)"]),
    "concat": (lambda: nd.concat(ones(1, 3), ones(2, 4), dim=1), errors.ShapeError,
               ["Concat(data[0]: float32 (1, 3), data[1]: float32 (2, 4), dim=1)", "dimension 0: 1 and 2"]),
    "add": (lambda: ones(2, 3) + ones(2, 4), errors.ShapeError,
            ["broadcast_add(lhs: float32 (2, 3), rhs: float32 (2, 4))", "dimension 1 is 3 and 4", "equal or 1"]),
    "elementwise": (lambda: nd.elemwise_mul(ones(2, 3), ones(1, 3)), errors.ShapeError,
                    ["(2, 3) and (1, 3)", "broadcast_mul would broadcast them"]),
    "types": (lambda: ones(2) * ones(2, dtype="float64"), errors.DTypeError,
              ["broadcast_mul(lhs: float32 (2,), rhs: float64 (2,))", "one data type, found float32 and float64", "astype"]),
    "reshape": (lambda: ones(2, 3).reshape((4, 4)), errors.ShapeError,
                ["Reshape(data: float32 (2, 3), shape=(4, 4))", "6 elements", "16 elements"]),
    "axis": (lambda: ones(2, 3).sum(axis=5), errors.ShapeError, ["sum(data: float32 (2, 3), axis=(5,))", "-2 <= axis < 2"]),
    "index": (lambda: nd.take(ones(3, 2), nd.array([5]), mode="raise"), IndexError,
              ["take(a: float32 (3, 2), indices: float32 (1,), mode='raise')", "index 5 is out of bounds for axis 0 with size 3"]),
    "memory": (lambda: ones(10**6, 1) + ones(1, 10**8), MemoryError,
               ["broadcast_add(lhs: float32 (1000000, 1), rhs: float32 (1, 100000000))", "(1000000, 100000000)"]),
    "creation": (lambda: nd.zeros((10**9, 10**9)), MemoryError, ["_zeros(shape=(1000000000, 1000000000)"]),
    "block": (lambda: block()(ones(2, 3)), errors.ShapeError, ["FullyConnected(data: float32 (2, 3)", "5 and 3"]),
    "hybridized": (lambda: block(True)(ones(2, 3)), errors.ShapeError,
                   ["in node mine_fwd", "FullyConnected(data: float32 (2, 3)", "5 and 3"]),
}


def block(hybrid=False):
    net = mx.gluon.nn.Dense(4, in_units=5, prefix="mine_")
    net.initialize()
    net.hybridize(hybrid)
    return net


@pytest.mark.parametrize(("call", "kind", "words"), CALLS.values(), ids=CALLS.keys())
def test_calls(call, kind, words):
    with pytest.raises(mx.MXNetError) as caught:
        call()
    text = str(caught.value)
    assert isinstance(caught.value, kind)
    for word in words:
        assert word in text, text
    assert f"\n  at {__file__}:" in text, text  # the user's line, with its text
    assert "lambda" in text.splitlines()[-1]


def test_the_users_line_is_where_the_call_is():
    with pytest.raises(mx.MXNetError) as caught:
        nd.dot(ones(2, 3), ones(2, 3))  # this very line
    assert "# this very line" in str(caught.value)


def test_the_cause_is_kept():
    with pytest.raises(mx.MXNetError) as caught:
        ones(2, 3) + ones(4)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_is_explained_once():
    """Through a composite, a gradient and a compiled net the message does not grow with every layer."""
    with pytest.raises(mx.MXNetError) as caught:
        block(True)(ones(2, 3))
    text = str(caught.value)
    assert text.count("FullyConnected(") == 1 and text.count("\n  at ") == 1


# ---------------------------------------------------------------- symbols
def chain():
    x = sym.var("x")
    return sym.FullyConnected(sym.FullyConnected(x, num_hidden=3, name="fc1"), num_hidden=2, name="fc2")


def test_inference_names_the_node_and_where_shapes_come_from():
    with pytest.raises(errors.ShapeError) as caught:
        chain().infer_shape(x=(2, 3), fc2_weight=(2, 5))
    text = str(caught.value)
    for word in ("operator fc2", "[FullyConnected]", "(2, 5) and (2, 3)", "data=(2, 3) (from fc1)", "weight=(2, 5) (from fc2_weight)"):
        assert word in text, text
    with pytest.raises(errors.DTypeError, match=r"operator total.*float32 and int32.*lhs=float32 \(from a\), rhs=int32 \(from b\)"):
        sym.elemwise_add(sym.var("a"), sym.var("b"), name="total").infer_type(a="float32", b="int32")


def test_binding():
    x = ones(2, 3)
    with pytest.raises(errors.ShapeError, match=r"operator fc1.*\(3, 4\) and \(3, 3\)"):
        chain().bind(mx.cpu(), {"x": x, "fc1_weight": ones(3, 4), "fc1_bias": ones(3), "fc2_weight": ones(2, 3), "fc2_bias": ones(2)})
    with pytest.raises(ValueError, match=r"`fc1_weight` is missing in `args`; needed are \['x', 'fc1_weight'"):
        chain().bind(mx.cpu(), {"x": x})
    with pytest.raises(TypeError, match="'x' is ndarray"):
        sym.exp(sym.var("x")).bind(mx.cpu(), {"x": np.ones(2)})
    with pytest.raises(mx.MXNetError, match=r"simple_bind: the given shapes.*do not determine"), pytest.warns(UserWarning):
        chain().simple_bind(mx.cpu(), fc1_weight=(3, 3))


def test_a_node_that_fails_in_an_executor():
    e = sym.take(sym.var("a"), sym.var("i"), mode="raise", name="look").bind(mx.cpu(), {"a": ones(2), "i": nd.array([7])})
    with pytest.raises(mx.MXNetError, match=r"in node look: take\(a: float32 \(2,\).*index 7"):
        e.forward()


# ---------------------------------------------------------------- gradients
def test_a_gradient_that_fails_says_which():
    class Bad(autograd.Function):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            return nd.dot(dy, ones(5, 5))

    x = ones(2, 3)
    x.attach_grad()
    with autograd.record():
        y = Bad()(x)
    with pytest.raises(mx.MXNetError) as caught:
        y.backward()
    for word in ("gradient of 'Bad' failed", "dot(lhs: float32 (2, 3), rhs: float32 (5, 5))"):
        assert word in str(caught.value)


# ---------------------------------------------------------------- the family
@pytest.mark.parametrize(("kind", "builtin"), [
    ("ArgumentError", TypeError), ("ArgumentError", ValueError), ("ShapeError", ValueError), ("BoundsError", IndexError),
    ("DTypeError", TypeError), ("ContextError", ValueError), ("OperatorError", ValueError), ("FileFormatError", ValueError),
    ("OutOfMemoryError", MemoryError), ("GradientError", RuntimeError), ("BackendMissingError", RuntimeError),
    ("KernelMissingError", RuntimeError)])
def test_errors_are_those_of_mxnet_and_of_python(kind, builtin):
    assert issubclass(getattr(errors, kind), mx.MXNetError) and issubclass(getattr(errors, kind), builtin)
    assert set(errors.__all__) >= {kind}


def test_an_uncaught_error_is_readable():
    done = subprocess.run([sys.executable, "-c", "import mxcore as mx\nmx.nd.dot(mx.nd.ones((2, 3)), mx.nd.ones((4, 5)))"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-2:]
    assert last[0].startswith("mxcore.errors.ShapeError: dot(lhs: float32 (2, 3), rhs: float32 (4, 5)): ")
    assert last[1].startswith("  at <string>:2")
