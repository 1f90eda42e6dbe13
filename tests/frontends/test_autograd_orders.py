"""Gradients of gradients, functions of the user's own, recorded symbols, and what the tape keeps."""

import gc
import weakref

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd
from mxcore.graph.gradient import NOTHING, SHAPE, WHOLE, saves
from mxcore.registry import OPS


def marked(*values, req="write", dtype="float32"):
    x = nd.array(values, dtype=dtype)
    x.attach_grad(req)
    return x


def host(a):
    return a.asnumpy().tolist()


# ---------------------------------------------------------------- grad, higher orders
def test_grad_returns():
    x, unused = marked(1, 2, 3), marked(1)
    x.grad[:] = 9
    with autograd.record():
        y = x * x
        z = y * 2
    found = autograd.grad(z, [x, y, unused], nd.ones(3), retain_graph=True)
    assert [host(g) for g in found] == [[4, 8, 12], [2, 2, 2], [0]]
    assert host(x.grad) == [9, 9, 9]
    assert isinstance(autograd.grad(z, x), list)
    with pytest.raises(mx.MXNetError, match="freed"):
        autograd.grad(z, x)
    with pytest.raises(mx.MXNetError, match="at least one variable"):
        autograd.grad(z, [])
    with pytest.raises(mx.MXNetError, match="marked"):
        autograd.grad(z, nd.ones(1))


def test_gradients_are_arrays_of_their_own():
    x, y = marked(1, 2), marked(3, 4)
    with autograd.record():
        z = x + y
    head = nd.ones(2)
    a, b = autograd.grad(z, [x, y], head)
    a[:] = 5
    assert host(b) == [1, 1] and host(head) == [1, 1]


@pytest.mark.parametrize("hybrid", [False, True])
def test_to_order_three(hybrid):
    class F(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return F.sin(x) * F.exp(x * 0.5) + x**4

    f = F()
    if hybrid:
        f.hybridize()
    x = marked(0.3, -1.2, 2.0, dtype="float64")
    with autograd.record():
        y = f(x)
        d1, = autograd.grad(y, x, create_graph=True)
        d2, = autograd.grad(d1, x, create_graph=True)
        d3, = autograd.grad(d2, x, create_graph=True)
    d3.backward()
    v = x.asnumpy()
    e, s, c = np.exp(v / 2), np.sin(v), np.cos(v)
    # each derivative of e^(x/2) (a sin + b cos) is e^(x/2) ((a/2 - b) sin + (b/2 + a) cos)
    a, b = 1.0, 0.0
    poly = [v**4, 4 * v**3, 12 * v**2, 24 * v, 24 * np.ones_like(v)]
    for k, got in enumerate((y, d1, d2, d3, x.grad)):
        np.testing.assert_allclose(got.asnumpy(), e * (a * s + b * c) + poly[k], rtol=1e-9)
        a, b = a / 2 - b, b / 2 + a


def test_second_order_with_head_gradients_that_are_variables():
    x, v = marked(1, 2, dtype="float64"), marked(3, 4, dtype="float64")
    with autograd.record():
        y = x**3
        g, = autograd.grad(y, x, v, create_graph=True)
        z = (g * g).sum()
    z.backward()
    xs, vs = np.array([1., 2]), np.array([3., 4])
    np.testing.assert_allclose(x.grad.asnumpy(), 36 * xs**3 * vs**2)
    np.testing.assert_allclose(v.grad.asnumpy(), 18 * xs**4 * vs)


def test_a_gradient_penalty_reaches_the_weights():
    """The use of second order that programs have: the norm of an input's gradient as part of the loss."""
    rng = np.random.RandomState(0)
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(4, activation="tanh", in_units=3), mx.gluon.nn.Dense(1, in_units=4))
    net.initialize()
    net.cast("float64")
    for p in net.collect_params().values():
        p.set_data(nd.array(rng.uniform(-1, 1, p.shape), dtype="float64"))
    x = marked(*rng.uniform(-1, 1, (2, 3)).tolist(), dtype="float64")

    def penalty():
        with autograd.record():
            g, = autograd.grad(net(x), x, create_graph=True)
            return (g * g).sum()

    results = []
    for hybrid in (False, True):
        net.hybridize(hybrid)
        penalty().backward()
        results.append([p.grad().asnumpy() for p in net.collect_params().values()])
    w, got = net[0].weight, results[0][0]
    numeric = np.zeros(w.shape)
    base = w.data().asnumpy()
    for i in np.ndindex(*w.shape):
        for sign in (1, -1):
            moved = base.copy()
            moved[i] += sign * 1e-5
            w.set_data(nd.array(moved, dtype="float64"))
            numeric[i] += sign * penalty().asscalar() / 2e-5
    np.testing.assert_allclose(got, numeric, rtol=1e-6, atol=1e-8)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_composites_with_shared_inputs():
    """A composite's definition is differentiated with each input counted once, whatever it shares."""
    if "mish" not in OPS:
        pytest.skip("the plugin modern_ops is not installed")
    x = marked(0.5, -1, dtype="float64")
    with autograd.record():
        a = nd.mish(x)
        y = nd.mish(a + x) * x
        g, = autograd.grad(y, x, create_graph=True)
    g.backward()

    def f(v):
        def m(u):
            return u * np.tanh(np.log1p(np.exp(u)))
        return m(m(v) + v) * v

    v, h = x.asnumpy(), 1e-4
    np.testing.assert_allclose(g.asnumpy(), (f(v + h) - f(v - h)) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(x.grad.asnumpy(), (f(v + h) - 2 * f(v) + f(v - h)) / h**2, rtol=1e-5)


def test_dropout_and_batchnorm_are_replayed_unchanged():
    """Differentiating a hybridized net twice runs its definition again: with the same mask, and states left alone."""
    class Net(mx.gluon.HybridBlock):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = mx.gluon.nn.BatchNorm(in_channels=3)
            self.drop = mx.gluon.nn.Dropout(0.5)

        def hybrid_forward(self, F, x):
            return self.drop(F.tanh(self.norm(x)) * x)

    net = Net()
    net.initialize()
    net.cast("float64")
    data = np.random.RandomState(1).uniform(-1, 1, (4, 3))
    results = []
    for hybrid in (False, True):
        net.norm.running_mean.set_data(nd.zeros(3, dtype="float64"))
        net.norm.running_var.set_data(nd.ones(3, dtype="float64"))
        net.hybridize(hybrid)
        x = nd.array(data, dtype="float64")
        x.attach_grad()
        mx.random.seed(3)
        with autograd.record():
            y = net(x)
            after = net.norm.running_mean.data().asnumpy(), net.norm.running_var.data().asnumpy()
            g, = autograd.grad(y, x, create_graph=True)
            z = (g * g).sum()
        z.backward()
        np.testing.assert_array_equal(net.norm.running_mean.data().asnumpy(), after[0])
        np.testing.assert_array_equal(net.norm.running_var.data().asnumpy(), after[1])
        np.testing.assert_allclose(after[0], 0.1 * data.mean(0), rtol=1e-12)
        results.append([a.asnumpy() for a in (y, g, x.grad)])
        assert (results[-1][0] == 0).any() and (results[-1][0] != 0).any()
    for eager, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(eager, compiled, rtol=1e-9, atol=1e-12)


def test_backward_of_dropout_uses_the_mask_of_forward():
    x = nd.ones((50,))
    x.attach_grad()
    with autograd.record():
        y = nd.Dropout(x, p=0.5)
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), y.asnumpy())
    assert set(y.asnumpy().tolist()) == {0, 2}


# ---------------------------------------------------------------- Function
class Scaled(autograd.Function):
    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, x, y):
        assert not autograd.is_recording()
        self.save_for_backward(x, y)
        return x * y * self.k, x + y

    def backward(self, dp, ds):
        x, y = self.saved_tensors
        return dp * y * self.k + ds, dp * x * self.k + ds


def test_function():
    x, y = marked(1, 2), marked(3, 4)
    with autograd.record():
        p, s = Scaled(10)(x, y)
        z = p + s * 100
    z.backward()
    assert host(x.grad) == [130, 140] and host(y.grad) == [110, 120]
    f = Scaled(1)
    f(x, y)
    with pytest.raises(mx.MXNetError, match="only be called once"):
        f(x, y)


def test_function_of_constants_and_outside_of_record():
    x = marked(1)
    p, _ = Scaled(2)(x, nd.array([5]))
    with pytest.raises(mx.MXNetError):
        p.backward()
    with autograd.record():
        p, _ = Scaled(2)(x, nd.array([5]))
    p.backward()
    assert host(x.grad) == [10]


def test_function_is_differentiated_again_through_its_backward():
    class Cube(autograd.Function):
        def forward(self, x):
            self.save_for_backward(x)
            return x * x * x

        def backward(self, dy):
            x, = self.saved_tensors
            return 3 * x * x * dy

    x = marked(2)
    with autograd.record():
        g, = autograd.grad(Cube()(x), x, create_graph=True)
        z = g * g
    z.backward()
    assert host(g) == [12] and host(x.grad) == [2 * 12 * 12]


def test_functions_that_are_wrong():
    class Few(Scaled):
        def backward(self, dp, ds):
            return dp

    class Raises(Scaled):
        def backward(self, dp, ds):
            raise KeyError("mine")

    class Handed(autograd.Function):
        def forward(self, x):
            return x

    x, y = marked(1), marked(2)
    with autograd.record():
        few, raises = Few(1)(x, y)[0], Raises(1)(x, y)[0]
        with pytest.raises(mx.MXNetError, match="must return new arrays"):
            Handed()(x)
    with pytest.raises(mx.MXNetError, match=r"Few\.backward must return as many gradients as forward has inputs: 2, got 1"):
        few.backward()
    with pytest.raises(mx.MXNetError, match="mine") as caught:
        raises.backward()
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(NotImplementedError, match="forward"):
        autograd.Function()(x)


# ---------------------------------------------------------------- get_symbol
def test_get_symbol():
    x, y = marked(1, 2), nd.array([3, 4])
    with autograd.record():
        z = nd.sin(x) * y + 2
    symbol = autograd.get_symbol(z)
    assert symbol.list_arguments() == ["var0", "var1"]
    ops = [n.op.name for n in symbol._order() if n.op is not None]
    assert ops == ["sin", "broadcast_mul", "_plus_scalar"]
    out = symbol.eval(var0=x, var1=y)[0]
    np.testing.assert_allclose(out.asnumpy(), z.asnumpy(), rtol=1e-6)
    assert mx.sym.load_json(symbol.tojson()).list_arguments() == ["var0", "var1"]
    z.backward()
    with pytest.raises(mx.MXNetError, match="freed"):
        autograd.get_symbol(z)
    with pytest.raises(mx.MXNetError, match="not recorded"):
        autograd.get_symbol(y)


# ---------------------------------------------------------------- what the tape keeps
@pytest.mark.parametrize(("name", "attrs", "ins", "outs"), [
    ("broadcast_add", {}, (SHAPE, SHAPE), (NOTHING,)), ("elemwise_add", {}, (NOTHING, NOTHING), (NOTHING,)),
    ("elemwise_mul", {}, (WHOLE, WHOLE), (NOTHING,)), ("sin", {}, (WHOLE,), (NOTHING,)), ("exp", {}, (NOTHING,), (WHOLE,)),
    ("sigmoid", {}, (NOTHING,), (WHOLE,)), ("_mul_scalar", {"scalar": 2}, (NOTHING,), (NOTHING,)),
    ("sum", {}, (SHAPE,), (NOTHING,)), ("Reshape", {"shape": (-1,)}, (SHAPE,), (NOTHING,)),
    ("FullyConnected", {"num_hidden": 2}, (WHOLE, WHOLE, NOTHING), (NOTHING,)),
    ("argmax", {}, (NOTHING,), (NOTHING,)),
])
def test_saves(name, attrs, ins, outs):
    op = OPS[name]
    found = saves(op, op.parse(attrs), (True,) * len(ins))
    assert found[:2] == (ins, outs)


def test_saves_depend_on_what_is_asked():
    op = OPS["elemwise_mul"]
    assert saves(op, op.parse({}), (True, False))[0] == (NOTHING, WHOLE)
    assert saves(op, op.parse({}), (False, True))[0] == (WHOLE, NOTHING)


class Watched(np.ndarray):
    """NumPy's arrays have no weak references; those of a subclass do."""


def alive(make):
    """Which of the arrays that ``make`` yields on the way live on while its result does."""
    kept = []

    def watched(a):
        a._data = a._data.view(Watched)
        kept.append(weakref.ref(a._data))
        return a

    result = make(watched)
    gc.collect()
    return [k() is not None for k in kept], result


def test_the_tape_lets_go_of_what_no_gradient_needs():
    x = marked(1, 2, 3)

    def make(watched):
        with autograd.record():
            a = watched(x + 1)
            b = watched(a + 2)  # + keeps nothing of a
            c = watched(nd.sin(b))  # sin keeps b
            return c * 2  # a number: keeps nothing of c

    found, result = alive(make)
    assert found == [False, True, False]
    result.backward()


def test_activations_go_as_the_sweep_passes():
    """When the gradient of an early layer is computed, what later layers kept is gone."""
    seen = []

    class Probe(autograd.Function):
        def forward(self, x):
            return x * 1

        def backward(self, dy):
            seen.append([r() is not None for r in kept])
            return dy

    x, kept = marked(1, 2, 3), []

    def record():
        with autograd.record():
            h = Probe()(x)
            for _ in range(4):
                h = nd.sin(h)
                h._data = h._data.view(Watched)
                kept.append(weakref.ref(h._data))
            return nd.sin(h)

    y = record()
    gc.collect()
    assert [r() is not None for r in kept] == [True] * 4
    gc.disable()  # by reference counts alone
    try:
        y.backward()
    finally:
        gc.enable()
    assert seen == [[False] * 4]


def test_memory_of_a_backward_pass():
    """A chain of n kept activations: backward needs a few arrays more, not n."""
    import tracemalloc

    n, size = 20, 50_000 * 4
    x = nd.ones(50_000)
    x.attach_grad()

    def record():
        with autograd.record():
            h = x
            for _ in range(n):
                h = nd.sin(h)
        return h

    record().backward()
    tracemalloc.start()
    y = record()
    forward, _ = tracemalloc.get_traced_memory()
    assert forward > (n - 1) * size  # the test measures what it means to
    tracemalloc.reset_peak()
    y.backward()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < forward + 6 * size
    assert after < 3 * size
