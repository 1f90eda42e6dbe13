"""Operators of Python on arrays: values, broadcasting, gradients, in place, with ``out=``; conversions to Python."""

import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mxcore as mx
from mxcore import autograd, nd
from mxcore.testing import loopback

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")  # nan and inf are values, as the backend says
loopback.install()

BINARY = ["add", "sub", "mul", "truediv", "mod", "pow"]
COMPARE = ["eq", "ne", "gt", "ge", "lt", "le"]
NUMBERS = st.floats(-4, 4, width=32).map(lambda v: round(v, 2))


def reference(op, a, b):
    """NumPy's result in float64, with MXNet's remainder of a division by zero."""
    if op == "mod":
        return np.where(b == 0, 0, np.mod(a, np.where(b == 0, 1, b)))
    return getattr(operator, op)(a, b)


@st.composite
def pairs(draw):
    """Two arrays whose shapes broadcast."""
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=4, max_side=3))
    return [draw(hnp.arrays("float32", s, elements=NUMBERS)) for s in shapes.input_shapes]


@given(pairs(), st.sampled_from(BINARY + COMPARE))
def test_operators_broadcast_as_numpy(ab, op):
    a, b = ab
    with np.errstate(all="ignore"):
        want = reference(op, a.astype("float64"), b.astype("float64"))
    got = getattr(operator, op)(nd.array(a), nd.array(b))
    assert got.dtype is np.float32 and got.shape == want.shape
    if op == "mod":  # the remainder of nearly the divisor is nearly 0, on one side or the other
        off = np.abs(got.asnumpy() - want)
        assert np.minimum(off, np.abs(off - np.abs(b))).max(initial=0) < 1e-4
    else:
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-4, atol=1e-6)


@given(pairs(), st.sampled_from(["add", "sub", "mul", "truediv"]))
def test_gradients_are_summed_over_what_was_broadcast(ab, op):
    a, b = (v.astype("float64") for v in ab)
    b = np.where(np.abs(b) < 0.5, 1, b)
    x, y = nd.array(a, dtype="float64"), nd.array(b, dtype="float64")
    x.attach_grad()
    y.attach_grad()
    with autograd.record():
        z = getattr(operator, op)(x, y)
    head = np.random.RandomState(0).uniform(1, 2, z.shape)
    z.backward(nd.array(head, dtype="float64"))
    da, db = {"add": (1, 1), "sub": (1, -1), "mul": (b, a), "truediv": (1 / b, -a / b**2)}[op]
    for grad, d, shape in ((x.grad, da, a.shape), (y.grad, db, b.shape)):
        want = head * d + np.zeros_like(head)
        want = want.sum(tuple(range(want.ndim - len(shape))))
        want = want.sum(tuple(i for i, n in enumerate(shape) if n == 1 and want.shape[i] != 1), keepdims=True)
        assert grad.shape == shape
        np.testing.assert_allclose(grad.asnumpy(), want, rtol=1e-9)


@given(hnp.arrays("float32", hnp.array_shapes(max_dims=3, max_side=3), elements=NUMBERS), NUMBERS,
       st.sampled_from(BINARY + COMPARE), st.booleans())
def test_numbers_on_either_side(a, number, op, left):
    x = nd.array(a)
    got = getattr(operator, op)(*((number, x) if left else (x, number)))
    sides = (np.float64(np.float32(number)), a.astype("float64"))
    with np.errstate(all="ignore"):
        want = reference(op, *[np.asarray(s) for s in (sides if left else sides[::-1])])
    assert got.dtype is np.float32
    if op == "mod":
        off = np.abs(got.asnumpy() - want)
        assert np.minimum(off, np.abs(off - np.abs(a if left else number))).max(initial=0) < 1e-4
    else:
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("kind", ["cpu", "loopback"])
def test_in_place(op, kind):
    ctx = mx.Context(kind)
    for other in (nd.array([[2, 3, 4]], ctx=ctx), nd.array([2], ctx=ctx), 3):
        x = nd.array([[5, 6, 7], [1, 2, 3]], ctx=ctx)
        alias = x.reshape((3, 2))
        want = getattr(operator, op)(x, other).asnumpy()
        same = getattr(operator, f"i{op}")(x, other)
        assert same is x
        np.testing.assert_array_equal(x.asnumpy(), want)
        if kind == "cpu":
            np.testing.assert_array_equal(alias.asnumpy().ravel(), want.ravel())  # the same memory


def test_in_place_needs_the_shape():
    x = nd.ones((1, 3))
    with pytest.raises(mx.MXNetError, match=r"out has shape \(1, 3\), but the result has shape \(2, 3\)"):
        x += nd.ones((2, 3))
    with pytest.raises(TypeError):
        x += "text"


@given(st.data())
def test_shapes_that_do_not_broadcast(data):
    a, b = data.draw(st.sampled_from([((2, 3), (2, 4)), ((3,), (2,)), ((2, 1, 3), (4, 2, 2)), ((4, 3), (4,))]))
    op = data.draw(st.sampled_from(BINARY + COMPARE))
    with pytest.raises(mx.MXNetError) as caught:
        getattr(operator, op)(nd.ones(a), nd.ones(b))
    assert str(a) in str(caught.value) and str(b) in str(caught.value) and "broadcast" in str(caught.value)


def test_operands_that_are_none():
    x = nd.ones(2)
    for op in (*BINARY, "gt", "le", "matmul"):
        for other in ("a", None, [1, 2], object()):
            with pytest.raises(TypeError):
                getattr(operator, op)(x, other)
    assert (x == None) is False and (x != None) is True  # noqa: E711
    assert (x == "a") is False


def test_unary_operators():
    x = nd.array([-1, 2])
    assert (-x).asnumpy().tolist() == [1, -2] and abs(x).asnumpy().tolist() == [1, 2]
    assert (nd.ones((2, 3)) @ nd.ones((3, 4))).asnumpy().tolist() == [[3] * 4] * 2


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "true_divide", "modulo", "power", "maximum", "minimum",
                                  "hypot", "equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal",
                                  "logical_and", "logical_or", "logical_xor"])
def test_functions_of_two(name):
    """Arrays or numbers on either side give one answer."""
    f = getattr(nd, name)
    a, b = nd.array([3, 0, 5]), nd.array([2, 7, 5])
    both = f(a, b).asnumpy()
    assert both.dtype == np.float32
    for i, (x, y) in enumerate([(3, 2), (0, 7), (5, 5)]):
        assert math.isclose(f(x, y), both[i], rel_tol=1e-6)
        np.testing.assert_allclose(f(nd.array([x]), y).asnumpy(), both[i:i + 1], rtol=1e-6)
        np.testing.assert_allclose(f(x, nd.array([y])).asnumpy(), both[i:i + 1], rtol=1e-6)
    with pytest.raises(TypeError, match="not supported"):
        f(a, "text")


# ---------------------------------------------------------------- out=
def test_out():
    x, y = nd.array([1, 4]), nd.zeros(2)
    assert nd.sqrt(x, out=y) is y and y.asnumpy().tolist() == [1, 2]
    assert nd.sqrt(x, y) is y  # positional, after the arrays
    assert nd.broadcast_add(x, x, out=x) is x and x.asnumpy().tolist() == [2, 8]
    a, b = nd.zeros((1, 2)), nd.zeros((1, 2))
    got = nd.split(nd.array([[1, 2, 3, 4]]), 2, axis=1, out=[a, b])
    assert got[0] is a and got[1] is b and b.asnumpy().tolist() == [[3, 4]]
    view = nd.zeros((2, 2))
    nd.square(x, out=view[1])
    assert view.asnumpy().tolist() == [[0, 0], [4, 64]]


@pytest.mark.parametrize(("out", "match"), [
    (lambda: nd.zeros(3), r"out has shape \(3,\), but the result has shape \(2,\)"),
    (lambda: nd.zeros(2, dtype="float64"), "out is float64, but the result is float32"),
    (lambda: [nd.zeros(2), nd.zeros(2)], "out has 2 arrays, but the operator has 1 outputs"),
    (lambda: np.zeros(2, "float32"), "out must be an array, got ndarray"),
    (lambda: nd.zeros(2, ctx=mx.Context("loopback")), r"out is on loopback\(0\), but the inputs are on cpu\(0\)")])
def test_wrong_out(out, match):
    with pytest.raises(mx.MXNetError, match=match):
        nd.exp(nd.ones(2), out=out())


def test_out_is_recorded():
    x = nd.array([1, 2])
    x.attach_grad()
    with autograd.record():
        y = nd.zeros(2)
        nd.square(x, out=y)
        z = y * 3
    z.backward()
    assert x.grad.asnumpy().tolist() == [6, 12]


# ---------------------------------------------------------------- to Python
def test_numbers_of_python():
    one = nd.array([2.5])
    assert (float(one), int(one), bool(one), one.item(), one.asscalar()) == (2.5, 2, True, 2.5, 2.5)
    assert type(float(one)) is float and type(int(one)) is int and type(one.item()) is float
    assert type(one.asscalar()) is np.float32
    assert bool(nd.array([[0]])) is False and float(nd.ones((1, 1, 1))) == 1
    assert int(nd.array([2**40], dtype="int64")) == 2**40
    assert float(nd.array([1.5], dtype="bfloat16")) == 1.5
    index = nd.array([2], dtype="int32")
    assert [10, 20, 30][index] == 30 and operator.index(index) == 2 and list(range(index)) == [0, 1]
    assert math.sqrt(nd.array([4])) == 2 and round(float(one)) == 2


def test_several_elements_are_no_number():
    a = nd.ones(2)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(a)
    for f in (float, int, lambda x: x.asscalar(), lambda x: x.item()):
        with pytest.raises(ValueError, match=r"not a scalar.*\(2,\)"):
            f(a)
    for bad in (nd.ones(1), nd.ones(2, dtype="int32")):
        with pytest.raises(TypeError, match="index"):
            operator.index(bad)


def test_iteration_and_membership():
    a = nd.array([[1, 2], [3, 4]])
    assert [r.asnumpy().tolist() for r in a] == [[1, 2], [3, 4]]
    assert [float(v) for v in a[0]] == [1, 2]
    assert len(a) == 2
    first, second = a
    second[:] = 0
    assert a.asnumpy().tolist() == [[1, 2], [0, 0]] and first.shape == (2,)
    assert a.tolist() == [[1, 2], [0, 0]]


def test_arrays_are_keys_by_identity():
    a, b = nd.ones(2), nd.ones(2)
    table = {a: 1, b: 2}
    assert table[a] == 1 and table[b] == 2 and len({a, a, b}) == 2


def test_text():
    assert repr(nd.array([[1, 2.5], [3, 4]])) == "\n[[1.  2.5]\n [3.  4. ]]\n<NDArray 2x2 @cpu(0)>"
    assert str(nd.array([7])) == "\n[7.]\n<NDArray 1 @cpu(0)>"
    assert repr(nd.array([1, 2], dtype="int32", ctx=mx.cpu(1))) == "\n[1 2]\n<NDArray 2 @cpu(1)>"
    assert f"{nd.array([3])}" == "\n[3.]\n<NDArray 1 @cpu(0)>"
    html = nd.array([[1, 2]])._repr_html_()
    assert "<table" in html and "float32" in html and "cpu(0)" in html
    assert len(nd.zeros((1000, 1000))._repr_html_()) < 100_000


def test_waiting():
    a = nd.ones(2) + 1
    a.wait_to_read()
    a.wait_to_write()
    nd.waitall()
    mx.nd.waitall()


# ---------------------------------------------------------------- copies and aliases
def test_what_is_a_copy():
    x = nd.zeros((2, 2))
    for make in (lambda: x.copy(), lambda: x.astype("float32"), lambda: nd.array(x), lambda: x.copyto(mx.cpu(0)),
                 lambda: x.copyto(mx.cpu(1)), lambda: x.T, lambda: x[:, 0], lambda: nd.reshape(x, shape=(4,)),
                 lambda: x.flatten(), lambda: x.expand_dims(0), lambda: nd.identity(x), lambda: nd.BlockGrad(x),
                 lambda: x.squeeze(), lambda: x.swapaxes(0, 1), lambda: x.slice_axis(axis=0, begin=0, end=1),
                 lambda: nd.concat(x, dim=0), lambda: x.transpose((0, 1)), lambda: nd.split(x, 1, axis=0),
                 lambda: x.broadcast_to((2, 2)),
                 lambda: nd.Cast(x, "float32"), lambda: nd.add_n(x), lambda: nd.clip(x, 0, 1), lambda: nd.Dropout(x),
                 lambda: x.repeat(1), lambda: x.tile((1, 1)), lambda: x.flip(axis=()), lambda: x.as_in_context(mx.cpu(1))):
        y = make()
        y[:] = 1
        assert not x.asnumpy().any(), make
        x[:] = 2
        assert y.asnumpy().max() == 1, make
        x[:] = 0


def test_what_is_the_same_memory():
    x = nd.zeros((2, 3))
    for make in (lambda: x[0], lambda: x[0:1], lambda: x.reshape((3, 2)), lambda: x.reshape(-1), lambda: x.detach(),
                 lambda: x.reshape_view((6,)), lambda: x[0][1:2], lambda: x[1, 1:], lambda: x[:]):
        make()[:] = 1
        assert x.asnumpy().any(), make
        x[:] = 0
    assert x.as_in_context(mx.cpu()) is x and x.astype("float32", copy=False) is x and x.as_nd_ndarray() is x
    assert x.astype("int32", copy=False) is not x
    assert x.to_device(mx.cpu()) is x and x.as_in_ctx(mx.cpu(0)) is x


def test_copyto():
    x = nd.array([1.7, 2])
    y = nd.zeros(2, dtype="int32")
    assert x.copyto(y) is y and y.asnumpy().tolist() == [1, 2]
    other = x.copyto(mx.Context("loopback", 1))
    assert other.context == mx.Context("loopback", 1)
    z = nd.zeros(2)
    other.copyto(z)
    assert z.asnumpy().tolist() == x.asnumpy().tolist()
    with pytest.raises(mx.MXNetError, match=r"\(2,\), the target \(3,\)"):
        x.copyto(nd.zeros(3))
    with pytest.raises(TypeError, match="copyto"):
        x.copyto(np.zeros(2))
    with pytest.warns(RuntimeWarning, match="to itself"):
        x.copyto(x)


def test_devices_do_not_mix():
    a, b = nd.ones(2), nd.ones(2, ctx=mx.Context("loopback"))
    for f in (operator.add, operator.gt, nd.broadcast_add, nd.dot, nd.add_n, lambda p, q: nd.concat(p, q, dim=0)):
        with pytest.raises(mx.MXNetError, match=r"different devices: cpu\(0\) and loopback\(0\).*as_in_context"):
            f(a, b)
    b[:] = a  # assignment copies
    a[:] = b * 3
    assert a.asnumpy().tolist() == [3, 3]


def test_gradients_cross_devices():
    x = nd.array([1, 2])
    x.attach_grad()
    with autograd.record():
        y = (x * 2).as_in_context(mx.Context("loopback")) * nd.array([3, 4], ctx=mx.Context("loopback"))
        z = y.copyto(mx.cpu()) * 5
    z.backward()
    assert x.grad.asnumpy().tolist() == [30, 40] and x.grad.context == mx.cpu()
    with autograd.record():
        y = (x * x).as_in_context(mx.Context("loopback"))
        g, = autograd.grad(y * y, x, create_graph=True)
    g.backward()
    assert g.asnumpy().tolist() == [4, 32] and x.grad.asnumpy().tolist() == [12, 48]
