"""Compiled programs give what their operators give one by one, whatever passes are switched on."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxcore as mx
from mxcore import autograd, gluon, nd
from mxcore.errors import ArgumentError
from mxcore.gluon import nn
from mxcore.graph.passes import STEPS, chosen
from mxcore.runtime.memory import Cell, assign
from mxcore.runtime.program import Program

vision = gluon.model_zoo.vision


def lenet():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(6, 5, activation="relu"), nn.MaxPool2D(2, 2), nn.Conv2D(8, 3, activation="tanh"), nn.AvgPool2D(2, 2),
            nn.Dense(20, activation="sigmoid"), nn.Dropout(0.0), nn.Dense(10))
    return net


class Attention(gluon.HybridBlock):
    """A transformer layer."""

    def __init__(self, width=16, heads=2, **kwargs):
        super().__init__(**kwargs)
        self._heads = heads
        with self.name_scope():
            self.qkv = nn.Dense(3 * width, flatten=False)
            self.proj = nn.Dense(width, flatten=False)
            self.norm1, self.norm2 = nn.LayerNorm(), nn.LayerNorm()
            self.up, self.down = nn.Dense(4 * width, flatten=False), nn.Dense(width, flatten=False)

    def hybrid_forward(self, F, x):
        h = self._heads
        q, k, v = [F.reshape(F.transpose(F.reshape(t, shape=(0, 0, h, -1)), axes=(0, 2, 1, 3)), shape=(-3, 0, 0))
                   for t in F.split(self.qkv(self.norm1(x)), num_outputs=3, axis=2)]
        att = F.softmax(F.batch_dot(q, k, transpose_b=True) * 0.3)
        y = F.transpose(F.reshape(F.batch_dot(att, v), shape=(-4, -1, h, 0, 0)), axes=(0, 2, 1, 3))
        x = x + self.proj(F.reshape(y, shape=(0, 0, -3)))
        return F.mean(x + self.down(F.LeakyReLU(self.up(self.norm2(x)), act_type="gelu")), axis=1)


class Language(gluon.HybridBlock):
    """A small recurrent model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.embed, self.rnn = nn.Embedding(20, 8), gluon.rnn.LSTM(8, num_layers=2)
            self.decoder = nn.Dense(20, flatten=False)

    def hybrid_forward(self, F, x):
        return self.decoder(self.rnn(self.embed(x)))


def generator():
    net = nn.HybridSequential()
    net.add(nn.Conv2DTranspose(8, 4, 2, 1), nn.BatchNorm(), nn.Activation("relu"), nn.GroupNorm(2), nn.PReLU(),
            nn.Conv2DTranspose(3, 4, 2, 1), nn.InstanceNorm(), nn.Swish())
    return net


def cells():
    net = gluon.rnn.HybridSequentialRNNCell()
    for cell in (gluon.rnn.GRUCell(6), gluon.rnn.ResidualCell(gluon.rnn.LSTMCell(6))):
        net.add(cell)
    return net


class Unrolled(gluon.HybridBlock):
    """Cells, unrolled into a graph of many small operators."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.cell = cells()

    def hybrid_forward(self, F, x):
        outputs, _ = self.cell.unroll(4, x, layout="NTC", merge_outputs=True)
        return outputs


NETS = {
    "lenet": (lenet, (2, 1, 20, 20)),
    "resnet18_v1": (lambda: vision.get_resnet(1, 18, classes=4, thumbnail=True), (2, 3, 16, 16)),
    "resnet18_v2": (lambda: vision.get_resnet(2, 18, classes=4, thumbnail=True), (2, 3, 16, 16)),
    "mobilenet": (lambda: vision.mobilenet0_25(classes=4), (4, 3, 64, 64)),
    "mobilenet_v2": (lambda: vision.mobilenet_v2_0_25(classes=4), (4, 3, 64, 64)),
    "squeezenet": (lambda: vision.squeezenet1_1(classes=4), (1, 3, 224, 224)),
    "transformer": (Attention, (2, 6, 16)),
    "generator": (generator, (2, 4, 5, 5)),
    "unrolled": (Unrolled, (3, 4, 6)),
    "language": (Language, (7, 3)),
}


def inputs_of(name, shape):
    rng = np.random.RandomState(3)
    return nd.array(rng.randint(0, 20, shape) if name == "language" else rng.uniform(-1, 1, shape).astype("float32"))


def results(net, x, train):
    """Output, gradient of the input, gradients and states after one run."""
    if not train:
        return [net(x).asnumpy()]
    x = x.copy()
    x.attach_grad()
    with autograd.record():
        y = net(x)
        loss = (y * y * 0.5 + y).sum()
    loss.backward()
    params = net.collect_params().values()
    return [y.asnumpy(), x.grad.asnumpy(), *[p.grad().asnumpy() for p in params if p.grad_req != "null"],
            *[p.data().asnumpy() for p in params if p.grad_req == "null"]]


def fresh(name):
    make, shape = NETS[name]
    mx.random.seed(5)
    np.random.seed(5)
    net = make()
    net.initialize(mx.init.Xavier())
    x = inputs_of(name, shape)
    net(x)
    return net, x


def states(net):
    return {k: p.data().asnumpy() for k, p in net.collect_params().items() if p.grad_req == "null"}


def same(found, expected, what, tolerance=5e-3):
    """Equal as wholes: where a relu's input is zero but for rounding, single gradients may come or go."""
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape
        error, size = float(np.linalg.norm(a - b)), float(np.linalg.norm(b))
        assert error <= tolerance * (size + 0.02 * a.size ** 0.5), f"{what}, result {i}: differs by {error} of {size}"


@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", NETS)
def test_optimised_programs_give_the_same(name, train, monkeypatch):
    net, x = fresh(name)
    before = {k: v.copy() for k, v in states(net).items()}
    found = {}
    for passes in ("none", "all"):
        for k, p in net.collect_params().items():
            if k in before:
                p.set_data(nd.array(before[k]))
        monkeypatch.setenv("MXCORE_PASSES", passes)
        net.hybridize()
        mx.random.seed(7)
        first = results(net, x, train)
        found[passes] = first if train else results(net, x, train)
    # relu6 has two places where a rounding error switches a gradient on or off
    same(found["all"], found["none"], name, 3e-2 if name == "mobilenet_v2" else 5e-3)


@pytest.mark.parametrize("name", ["lenet", "resnet18_v1", "transformer", "mobilenet_v2"])
def test_in_double_precision(name, monkeypatch):
    """Where rounding plays no part, to ten digits."""
    net, x = fresh(name)
    net.cast("float64")
    x = x.astype("float64")
    before = {k: v.copy() for k, v in states(net).items()}
    found = []
    for passes in ("none", "all"):
        for k, v in before.items():
            net.collect_params()[k].set_data(nd.array(v, dtype="float64"))
        monkeypatch.setenv("MXCORE_PASSES", passes)
        net.hybridize()
        found.append(results(net, x, True))
    same(found[1], found[0], name, 1e-9)


@pytest.mark.parametrize("step", STEPS)
def test_each_pass_can_be_left_out_and_used_alone(step, monkeypatch):
    net, x = fresh("mobilenet_v2")
    head = Attention()
    head.initialize()
    z = inputs_of("transformer", (2, 6, 16))
    monkeypatch.setenv("MXCORE_PASSES", "none")
    net.hybridize()
    head.hybridize()
    expected = results(net, x, False) + results(head, z, True)
    for text in (step, f"-{step}"):
        monkeypatch.setenv("MXCORE_PASSES", text)
        net.hybridize()
        head.hybridize()
        same(results(net, x, False) + results(head, z, True), expected, text)


def test_names_of_passes_are_checked():
    assert chosen("none") == frozenset()
    assert chosen("all") == chosen("") == frozenset(STEPS)
    assert chosen("-pointwise, -memory") == frozenset(STEPS) - {"pointwise", "memory"}
    with pytest.raises(ArgumentError, match="fuse.*pointwise"):
        chosen("fuse")


# ---------------------------------------------------------------- what is kept between runs
@pytest.fixture
def folded():
    """A net in inference whose convolution has the normalisation folded into it."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, in_channels=2), nn.BatchNorm(in_channels=4), nn.Activation("relu"), nn.Flatten(), nn.Dense(3))
    net.initialize(mx.init.Xavier())
    x = nd.random.uniform(-1, 1, shape=(2, 2, 5, 5))
    net.hybridize()
    net(x)
    net(x)
    return net, x


def eager(net, x):
    net.hybridize(False)
    y = net(x).asnumpy()
    net.hybridize()
    net(x)
    return y


def by_set_data(net):
    net[0].weight.set_data(net[0].weight.data() * 2)


def by_slice(net):
    net[1].running_var.data()[1:3] = 5


def by_operator(net):
    nd.broadcast_add(net[1].beta.data(), nd.ones(1), out=net[1].beta.data())


def by_view(net):
    net[0].weight.data().reshape((-1,))[:] = 0.25


def by_dlpack(net):
    np.from_dlpack(net[1].gamma.data())  # from now on anybody may write
    host = np.from_dlpack(net[0].weight.data())
    host *= -1.5


def by_trainer(net):
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5, "momentum": 0.9})
    with autograd.record():
        loss = net(nd.ones((2, 2, 5, 5))).sum()
    loss.backward()
    trainer.step(1)


@pytest.mark.parametrize("write", [by_set_data, by_slice, by_operator, by_view, by_dlpack, by_trainer])
def test_writes_to_parameters_are_seen(folded, write):
    net, x = folded
    old = net(x).asnumpy()
    write(net)
    found = net(x).asnumpy()
    assert np.abs(found - old).max() > 1e-4
    np.testing.assert_allclose(found, net(x).asnumpy(), rtol=1e-6)
    np.testing.assert_allclose(found, eager(net, x), rtol=1e-4, atol=1e-5)


def test_weights_that_another_library_writes_are_never_kept(folded):
    net, x = folded
    host = np.from_dlpack(net[0].weight.data())
    for factor in (2.0, 0.25):
        host *= factor
        np.testing.assert_allclose(net(x).asnumpy(), eager(net, x), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- one block of memory, many runs
def test_runs_that_overlap_do_not_share_memory():
    net, x = fresh("lenet")
    net.hybridize()
    alone = results(net, x, True)
    other = inputs_of("lenet", NETS["lenet"][1]) * 3
    expected = results(net, other, True)
    a, b = x.copy(), other.copy()
    a.attach_grad()
    b.attach_grad()
    with autograd.record():
        ya = net(a)
        yb = net(b)  # before the backward pass of the first
        la, lb = (ya * ya * 0.5 + ya).sum(), (yb * yb * 0.5 + yb).sum()
    lb.backward()
    net(x)  # and a prediction in between
    la.backward()
    same([ya.asnumpy(), a.grad.asnumpy()], alone[:2], "first")
    same([yb.asnumpy(), b.grad.asnumpy()], expected[:2], "second")


def test_a_graph_that_is_retained_can_be_gone_through_again():
    net, x = fresh("resnet18_v1")
    net.hybridize()
    x.attach_grad()
    with autograd.record():
        y = net(x).sum()
    y.backward(retain_graph=True)
    first = x.grad.asnumpy()
    y.backward(retain_graph=True)
    again = x.grad.asnumpy()
    y.backward()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, x.grad.asnumpy())


def test_outputs_stay_when_the_program_runs_again():
    net, x = fresh("transformer")
    net.hybridize()
    first = net(x)
    kept = first.asnumpy()
    net(x * 2)
    np.testing.assert_array_equal(first.asnumpy(), kept)


def test_gradients_of_gradients():
    net, x = fresh("lenet")
    found = []
    for active in (False, True):
        net.hybridize(active)
        x.attach_grad()
        with autograd.record():
            y = net(x).sum()
            g = autograd.grad(y, x, create_graph=True)[0]
            z = (g * g).sum()
        z.backward()
        found.append(x.grad.asnumpy())
    same(found[1:], found[:1], "second order")


def test_shapes_may_change():
    net, _ = fresh("transformer")
    net.hybridize()
    for length in (3, 6, 4, 3):
        x = nd.random.uniform(-1, 1, shape=(2, length, 16))
        found = net(x).asnumpy()
        net.hybridize(False)
        np.testing.assert_allclose(found, net(x).asnumpy(), rtol=1e-4, atol=1e-5)
        net.hybridize(clear=False)


def test_memory_is_given_back():
    net, x = fresh("resnet18_v1")
    net.hybridize()
    net(x)
    gc.collect()
    programs = sum(isinstance(o, Program) for o in gc.get_objects())
    for _ in range(3):
        net.hybridize()
        net(x)
    gc.collect()
    assert sum(isinstance(o, Program) for o in gc.get_objects()) <= programs


def test_explain_names_steps_and_bytes():
    net, x = fresh("mobilenet_v2")
    net.hybridize()
    with pytest.raises(mx.MXNetError, match="hybridize"):
        net.explain()
    net(x)
    text = net.explain()
    assert "Convolution clip" in text or "Convolution" in text
    assert "fused groups" in text
    assert "bytes planned" in text
    assert "inference" in text


# ---------------------------------------------------------------- properties
@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 30), st.integers(0, 12)), min_size=1, max_size=40))
def test_cells_never_overlap(given_cells):
    cells = [Cell(n, first, first + length) for n, first, length in given_cells]
    total = assign(cells)
    for i, a in enumerate(cells):
        assert a.offset % 64 == 0
        assert a.offset + a.nbytes <= total
        for b in cells[:i]:
            if a.first <= b.last and b.first <= a.last:
                assert a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
    busiest = max(sum(c.nbytes for c in cells if c.first <= t <= c.last) for t in range(45))
    assert total >= busiest


UNARY = ["tanh", "relu", "sigmoid", "square", "sin", "negative", "abs", "BlockGrad", "_copy"]
BINARY = ["broadcast_add", "broadcast_mul", "broadcast_sub", "broadcast_maximum", "broadcast_greater"]
SHAPES = [(3, 4), (1, 4), (3, 1), (1, 1)]


@st.composite
def graphs(draw):
    """A random graph of elementwise operators, broadcasts, sums and products, as a list of instructions."""
    steps = []
    for _ in range(draw(st.integers(3, 25))):
        kind = draw(st.sampled_from(["unary", "unary", "binary", "binary", "sum", "scalar", "fc", "spread"]))
        steps.append((kind, draw(st.integers(0, 1000)), draw(st.integers(0, 1000)), draw(st.integers(0, 1000))))
    return steps


def build(F, steps, leaves):
    values = list(leaves)
    for kind, a, b, c in steps:
        x, y = values[a % len(values)], values[b % len(values)]
        if kind == "unary":
            values.append(getattr(F, UNARY[c % len(UNARY)] if UNARY[c % len(UNARY)] != "_copy" else "identity")(x))
        elif kind == "binary":
            values.append(getattr(F, BINARY[c % len(BINARY)])(x, y))
        elif kind == "scalar":
            values.append(x * (c % 5 - 2) + 0.5)
        elif kind == "sum":
            values.append([F.sum, F.mean][c % 2](x, axis=c % 3 - 1 if c % 3 - 1 else (0,), keepdims=True))
        elif kind == "fc":
            values.append(F.broadcast_add(F.dot(x, x, transpose_b=True) if c % 2 else F.softmax(x), F.sum(y)))
        else:
            values.append(F.broadcast_axis(F.sum(x, axis=1, keepdims=True), axis=1, size=4))
    return values


class Random(gluon.HybridBlock):
    def __init__(self, steps):
        super().__init__()
        self._steps = steps

    def hybrid_forward(self, F, *leaves):
        return (*[F.tanh(v) for v in build(F, self._steps, leaves)[-3:]], F.add_n(*leaves))


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_random_graphs(steps):
    rng = np.random.RandomState(0)
    leaves = [nd.array(rng.uniform(-1, 1, (4, 4)).astype("float32")) for _ in SHAPES]
    found = []
    for active in (False, True):
        net = Random(steps)
        net.hybridize(active)
        for leaf in leaves:
            leaf.attach_grad()
        with autograd.record():
            outs = net(*leaves)
            loss = sum((o * (i + 1)).sum() for i, o in enumerate(outs))
        loss.backward()
        found.append([*[o.asnumpy() for o in outs], *[leaf.grad.asnumpy() for leaf in leaves]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-3, atol=1e-4)


def test_an_executor_sees_what_is_written_to_its_arguments():
    s = mx.sym.Activation(mx.sym.BatchNorm(mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), num_filter=4, name="c"),
                                           name="b", fix_gamma=False), act_type="relu")
    e = s.simple_bind(mx.cpu(), data=(2, 3, 6, 6), grad_req="null")
    rng = np.random.RandomState(1)
    for a in (*e.arg_dict.values(), *e.aux_dict.values()):
        a[:] = nd.array(rng.uniform(0.5, 1.5, a.shape))

    def fresh():
        other = s.bind(mx.cpu(), {k: v.copy() for k, v in e.arg_dict.items()}, aux_states={k: v.copy() for k, v in e.aux_dict.items()})
        return other.forward()[0].asnumpy()

    for name in ("c_weight", "b_gamma", "data"):
        old = e.forward()[0].asnumpy()
        np.testing.assert_allclose(old, fresh(), rtol=1e-5)
        e.arg_dict[name][:] *= 1.5
        assert np.abs(e.forward()[0].asnumpy() - old).max() > 1e-3
        np.testing.assert_allclose(e.forward()[0].asnumpy(), fresh(), rtol=1e-5)
    assert "when parameters change" in e.debug_str()


@pytest.mark.parametrize("req", ["write", "add"])
def test_gradients_of_shared_parameters_add_up(req):
    """A net that is called twice, and a parameter that is also used outside of it."""
    found = []
    for active in (False, True):
        mx.random.seed(2)
        net = nn.Dense(3, in_units=4, activation="tanh")
        net.initialize(mx.init.Xavier())
        net.collect_params().setattr("grad_req", req)
        net.hybridize(active)
        x = nd.random.uniform(-1, 1, shape=(5, 4))
        weight = net.weight.data()
        for _ in range(2):
            with autograd.record():
                loss = net(x).sum() + (net(x * 2) ** 2).sum() + (weight * weight).sum()
            loss.backward()
        found.append([net.weight.grad().asnumpy(), net.bias.grad().asnumpy()])
    same(found[1], found[0], req, 1e-5)


def test_a_gradient_that_is_asked_for_leaves_the_buffers_alone():
    net = nn.Dense(3, in_units=4)
    net.initialize()
    net.hybridize()
    with autograd.record():
        loss = net(nd.ones((2, 4))).sum()
    net.weight.grad()[:] = 7
    wanted = autograd.grad(loss, net.weight.data())
    assert (net.weight.grad().asnumpy() == 7).all()
    np.testing.assert_allclose((wanted[0] if isinstance(wanted, list) else wanted).asnumpy(), np.full((3, 4), 2.0))


class Masked(gluon.HybridBlock):
    """An operator whose result has a shape that depends on values, between others."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.before, self.after = nn.Dense(6, activation="relu", flatten=False), nn.Dense(3, flatten=False)

    def hybrid_forward(self, F, x, mask):
        h = F.tanh(self.before(x) * 2 + 1)
        rows = F.contrib.boolean_mask(h, mask)
        return F.sum(self.after(F.sigmoid(rows) * 3), axis=0)


def test_shapes_that_depend_on_values_cut_the_program():
    found = []
    x = nd.random.uniform(-1, 1, shape=(7, 4))
    for active in (False, True):
        mx.random.seed(3)
        net = Masked()
        net.initialize(mx.init.Xavier())
        net.hybridize(active)
        x.attach_grad()
        for mask in ([1, 0, 1, 1, 0, 0, 1], [0, 0, 1, 0, 0, 0, 1]):
            with autograd.record():
                y = net(x, nd.array(mask))
                loss = (y * y).sum()
            loss.backward()
            found.append([y.asnumpy(), x.grad.asnumpy(), net.before.weight.grad().asnumpy()])
    same(found[2], found[0], "four rows", 1e-4)
    same(found[3], found[1], "two rows", 1e-4)
    assert "_plus_scalar tanh" in net.explain()


def test_empty_cache_gives_the_memory_of_programs_back():
    net, x = fresh("lenet")
    net.hybridize()
    first = net(x).asnumpy()
    pool = x._dev.pool
    assert pool._free
    mx.cpu().empty_cache()
    assert not pool._free
    np.testing.assert_array_equal(net(x).asnumpy(), first)


def test_inputs_in_any_order_of_axes():
    """Memory of another library may lie as it likes, also for a program of one step."""
    host = np.asfortranarray(np.random.RandomState(0).uniform(-1, 1, (48, 64)).astype("float32"))
    for make in (lambda: nn.HybridLambda("tanh"), lambda: nn.HybridLambda(lambda F, x: F.tanh(x) * 2 + F.softmax(x))):
        net = make()
        expected = net(nd.array(host)).asnumpy()
        net.hybridize()
        net(nd.array(host))
        np.testing.assert_allclose(net(nd.from_dlpack(host)).asnumpy(), expected, rtol=1e-5, atol=1e-6)
