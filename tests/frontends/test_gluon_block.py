"""Blocks: registration, calls eager, compiled and symbolic, hooks. Names beside MXNet's are in tests/compat."""

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import DeferredInitializationError, MXNetError
from mxcore.gluon import Block, HybridBlock, Parameter, nn


class Scaled(HybridBlock):
    """Dense, then a learned factor: a child, a parameter, two inputs of which the second may be missing."""

    def __init__(self, units: int = 3, in_units: int = 0, **kwargs) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.dense = nn.Dense(units, in_units=in_units)
            self.factor = self.params.get("factor", shape=(1, units), init="ones")

    def hybrid_forward(self, F, x, more=None, factor=None):
        y = F.broadcast_mul(self.dense(x), factor)
        return y if more is None else y + more


class Plain(Block):
    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.dense = nn.Dense(2, in_units=2)

    def forward(self, x):
        return self.dense(x) if x.asnumpy().sum() > 0 else x


def counted(block_body, **kwargs) -> HybridBlock:
    """A hybrid block that counts how often its code runs."""

    class Counted(HybridBlock):
        calls = 0

        def hybrid_forward(self, F, *args):
            type(self).calls += 1
            return block_body(F, *args)

    return Counted(**kwargs)


X = np.arange(8, dtype="float32").reshape(2, 4) / 7


def x() -> mx.nd.NDArray:
    return mx.nd.array(X)


# ---------------------------------------------------------------- registration
def test_attributes_register_children_and_parameters() -> None:
    net = Scaled(prefix="s_")
    assert list(net._children) == ["dense"] and list(net._reg_params) == ["factor"]
    assert list(net.collect_params()) == ["s_factor", "s_dense0_weight", "s_dense0_bias"]
    assert list(net._collect_params_with_prefix()) == ["factor", "dense.weight", "dense.bias"]
    net.number = 5  # anything else is an attribute like any other
    net.number = "five"


def test_attributes_keep_their_kind() -> None:
    net = Scaled()
    for name, value in (("dense", 5), ("dense", Parameter("p")), ("factor", None)):
        with pytest.raises(TypeError, match=f"Changing attribute type for {name}"):
            setattr(net, name, value)
    with pytest.raises(AssertionError, match="Overriding Parameter attribute factor"):
        net.factor = Parameter("p")
    other = nn.Dense(7)
    net.dense = other
    assert list(net._children.values()) == [other]


def test_parts_need_the_constructor_of_the_base() -> None:
    class Forgetful(HybridBlock):
        def __init__(self) -> None:
            self.dense = nn.Dense(2)

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) of Forgetful"):
        Forgetful()


def test_hybrid_blocks_take_hybrid_children_only() -> None:
    net = Scaled()
    with pytest.raises(ValueError, match="Children of HybridBlock must also be HybridBlock"):
        net.other = Plain()
    with pytest.raises(ValueError, match="please try HybridSequential"):
        net.register_child(Plain())


def test_blocks_hidden_in_containers_are_pointed_out() -> None:
    class Net(Block):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Dense(2)]
            self.known = [nn.Dense(3)]
            self.register_child(self.known[0])

    with pytest.warns(UserWarning, match='"Net.layers" is an unregistered container with Blocks') as caught:
        found = Net().collect_params()
    assert len(caught) == 1 and len(found) == 2


def test_missing_computation() -> None:
    with pytest.raises(NotImplementedError, match="Block does not define forward"):
        Block()(x())
    with pytest.raises(NotImplementedError, match="does not define hybrid_forward"):
        HybridBlock()(x())


def test_apply_visits_children_first_and_returns_the_block() -> None:
    seen = []
    net = Scaled(prefix="s_")
    assert net.apply(lambda block: seen.append(block.name)) is net
    assert seen == ["s_dense0", "s"]


def test_html_is_the_escaped_text() -> None:
    assert Scaled()._repr_html_() == "<pre>" + repr(Scaled()).replace(">", "&gt;") + "</pre>"


def test_a_scope_can_be_entered_again_inside_itself_and_leaves_after_errors() -> None:
    net = nn.HybridSequential(prefix="o_")
    with net.name_scope(), net.name_scope():
        assert nn.Dense(1).prefix == "o_dense0_"
    with pytest.raises(ZeroDivisionError), net.name_scope():
        1 / 0
    assert not nn.Dense(1).prefix.startswith("o_")


# ---------------------------------------------------------------- calls
@pytest.mark.parametrize("hybrid", [False, True])
def test_shapes_come_with_the_first_batch(hybrid: bool) -> None:
    net = Scaled()
    with pytest.raises(MXNetError, match=r"call net.initialize\(\)|Call net.initialize\(\)"):
        net(x())
    net.initialize(mx.init.One())
    if hybrid:
        net.hybridize()
    with pytest.raises(DeferredInitializationError):
        net.dense.weight.data()
    assert net.dense.weight.shape == (3, 0)
    out = net(x())
    assert net.dense.weight.shape == (3, 4)
    np.testing.assert_allclose(out.asnumpy(), np.repeat(X.sum(1, keepdims=True), 3, 1), rtol=1e-6)


def test_shape_inference_that_fails_tells_why() -> None:
    class Net(HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.w = self.params.get("w", shape=(0,), allow_deferred_init=True)

        def hybrid_forward(self, F, x, w):
            return F.no_such_operator(x, w)

    net = Net()
    net.initialize()
    with pytest.raises(ValueError, match=r"Deferred initialization failed.*no_such_operator"):
        net(x())


@pytest.mark.parametrize("args", [(), (mx.nd.ones((2, 3)),)])
def test_compiled_is_eager(args: tuple) -> None:
    net = Scaled(in_units=4)
    net.initialize()
    eager = net(x(), *args)
    net.hybridize()
    for _ in range(3):
        np.testing.assert_allclose(net(x(), *args).asnumpy(), eager.asnumpy(), rtol=1e-6)
    net.hybridize(False)
    np.testing.assert_array_equal(net(x(), *args).asnumpy(), eager.asnumpy())


def test_the_code_runs_once_when_compiled() -> None:
    net = counted(lambda F, a: a * 2)
    net.hybridize()
    for _ in range(4):
        net(x())
    assert net.calls == 1
    net.hybridize()
    net(x())
    assert net.calls == 2
    net.hybridize(False)
    net(x())
    net(x())
    assert net.calls == 4


def test_missing_inputs_at_the_end_may_be_left_out() -> None:
    net = counted(lambda F, a, b=None, c=None: a if b is None else a * b)
    net.hybridize()
    for args in ((x(), None), (x(),), (x(), None, None)):
        np.testing.assert_array_equal(net(*args).asnumpy(), X)
    with pytest.raises(ValueError, match=r"Stored format = \[0, -1\], input format = \[0, 0\]"):
        net(x(), x())
    for wrong in (5, "a", object()):
        with pytest.raises(ValueError, match="must be \\(nested\\) list of Symbol or NDArray, but got"):
            net(x(), wrong)


def test_nested_inputs_and_outputs() -> None:
    net = counted(lambda F, a, bc, d=None: [a + bc[0], (bc[1][0], [bc[1][1] * 2])])
    args = (x(), (x(), [x() * 2, x() * 3]))
    eager = net(*args)
    net.hybridize()
    compiled = net(*args)
    assert isinstance(eager[1], tuple) and isinstance(compiled[1], list)
    for one, other in zip((eager[0], eager[1][0], eager[1][1][0]), (compiled[0], compiled[1][0], compiled[1][1][0])):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy())
    with pytest.raises(ValueError, match="argument structure"):
        net(x(), x())


@pytest.mark.parametrize("hybrid", [False, True])
def test_inputs_are_arrays_or_symbols(hybrid: bool) -> None:
    net = counted(lambda F, a, b=None: a * 2)
    net.hybridize(hybrid)
    for wrong in ((5,), (None,), ([],), ([1, 2],)):
        with pytest.raises(ValueError, match="there must be one NDArray or one Symbol in the input"):
            net(*wrong)
    for mixed in ((x(), mx.sym.var("a")), (mx.sym.var("a"), [x()])):
        with pytest.raises(ValueError, match="mixed NDArrays and Symbols"):
            net(*mixed)


def test_symbols_give_symbols() -> None:
    net = Scaled(prefix="s_")
    out = net(mx.sym.var("in"), mx.sym.var("more"))
    assert out.list_arguments() == ["in", "s_dense0_weight", "s_dense0_bias", "s_factor", "more"]
    net.hybridize()
    assert net(mx.sym.var("in")).list_arguments() == ["in", "s_dense0_weight", "s_dense0_bias", "s_factor"]


def test_a_plain_block_runs_compiled_children() -> None:
    net = Plain()
    net.initialize()
    net.hybridize()
    assert net.dense._active
    assert net(mx.nd.ones((1, 2))).shape == (1, 2)


def test_what_no_output_depends_on_is_pointed_out() -> None:
    net = counted(lambda F, a, b: a * 2)
    net.hybridize()
    with pytest.warns(UserWarning, match="1-th input to HybridBlock is not used"):
        net(x(), x())
    np.testing.assert_array_equal(net(x(), x()).asnumpy(), X * 2)

    class Net(HybridBlock):
        def __init__(self) -> None:
            super().__init__(prefix="n_")
            self.w = self.params.get("w", shape=(1,))

        def hybrid_forward(self, F, x, w):
            return x * 2

    net = Net()
    net.initialize()
    net.hybridize()
    with pytest.warns(UserWarning, match="Parameter n_w is not used"):
        net(x())


# ---------------------------------------------------------------- arrays kept between calls
@pytest.mark.parametrize("hybrid", [False, True])
def test_calls_see_every_change_of_the_parameters(hybrid: bool) -> None:
    net = nn.Dense(1, in_units=4, use_bias=False)
    net.initialize(mx.init.One())
    net.hybridize(hybrid)
    total = X.sum(1)

    def value(factor: float) -> None:
        np.testing.assert_allclose(net(x()).asnumpy()[:, 0], total * factor, rtol=1e-6)

    value(1)
    net.weight.set_data(mx.nd.ones((1, 4)) * 2)
    value(2)
    net.weight.data()[:] = 3
    value(3)
    net.initialize(mx.init.Constant(4), force_reinit=True)
    value(4)
    net.weight.grad_req = "null"
    value(4)
    net.collect_params().reset_ctx(mx.cpu(1))
    out = net(mx.nd.array(X, ctx=mx.cpu(1)))
    assert out.context == mx.cpu(1)
    with pytest.raises(MXNetError, match=r"not initialized on context cpu\(0\)"):
        net(x())
    net.collect_params().reset_ctx(mx.cpu(0))
    value(4)
    net.cast("float64")
    assert net(mx.nd.array(X, dtype="float64")).asnumpy().dtype == np.float64


@pytest.mark.parametrize("hybrid", [False, True])
def test_several_contexts_use_their_own_copies(hybrid: bool) -> None:
    net = nn.Dense(1, in_units=4, use_bias=False)
    net.initialize(mx.init.One(), ctx=[mx.cpu(0), mx.cpu(1)])
    net.hybridize(hybrid)
    net.weight.data(mx.cpu(1))[:] = 2
    for i in (0, 1, 0):
        out = net(mx.nd.array(X, ctx=mx.cpu(i)))
        assert out.context == mx.cpu(i)
        np.testing.assert_allclose(out.asnumpy()[:, 0], X.sum(1) * (i + 1), rtol=1e-6)


@pytest.mark.parametrize("hybrid", [False, True])
def test_gradients_and_running_statistics(hybrid: bool) -> None:
    net = nn.HybridSequential()
    net.add(nn.Dense(3, in_units=4), nn.BatchNorm(in_channels=3), nn.Dense(1, in_units=3))
    net.initialize(mx.init.Constant(0.5))
    net.hybridize(hybrid)
    before = net[1].running_mean.data().asnumpy()
    with mx.autograd.record():
        loss = (net(x()) ** 2).sum()
    loss.backward()
    # the normalised values are -1 and 1 in all three columns, so the outputs are -1.5 and 1.5
    np.testing.assert_allclose(net[2].weight.grad().asnumpy(), [[6, 6, 6]], rtol=1e-3)
    assert net[2].bias.grad().asscalar() == pytest.approx(0, abs=1e-4)
    after = net[1].running_mean.data().asnumpy()
    np.testing.assert_allclose(after, before * 0.9 + 0.1 * X.sum(1).mean() * 0.5, rtol=1e-5)
    net(x())
    np.testing.assert_array_equal(net[1].running_mean.data().asnumpy(), after)


def test_a_child_that_is_replaced_is_traced_anew() -> None:
    net = nn.HybridSequential()
    net.add(nn.Dense(2, in_units=4))
    net.initialize(mx.init.One())
    net.hybridize()
    assert net(x()).shape == (2, 2)
    net.add(nn.Dense(5, in_units=2))
    net[1].initialize(mx.init.One())
    assert net(x()).shape == (2, 5)


# ---------------------------------------------------------------- hooks
def test_hooks_come_in_order_and_go() -> None:
    seen: list = []
    net = nn.Dense(2, in_units=4)
    net.initialize()
    before = net.register_forward_pre_hook(lambda block, args: seen.append(("before", block is net, len(args))))
    after = net.register_forward_hook(lambda block, args, out: seen.append(("after", block is net, out.shape)))
    net(x())
    assert seen == [("before", True, 1), ("after", True, (2, 2))]
    after.detach()
    after.detach()
    net(x())
    assert seen[2:] == [("before", True, 1)]
    before.detach()
    with net.register_forward_hook(lambda *args: seen.append("inside")):
        net(x())
    net(x())
    assert seen[3:] == ["inside"]


def test_hooks_of_hybridized_children_are_warned_of() -> None:
    net = nn.HybridSequential()
    net.add(nn.Dense(2, in_units=4))
    net[0].register_forward_hook(lambda *args: None)
    with pytest.warns(UserWarning, match="hooks will not take effect"):
        net.hybridize()


def test_hooks_of_operators_see_names_and_arrays() -> None:
    seen: dict = {}
    net = nn.Dense(2, in_units=4, activation="relu", prefix="d_")
    net.initialize(mx.init.One())
    net.hybridize()
    plain = net(x()).asnumpy()
    net.register_op_hook(lambda name, op, array: seen.update({(name, op): array.asnumpy()}))
    with mx.autograd.record():
        out = net(x())
    out.backward()
    assert list(seen) == [("d_fwd_output", "FullyConnected"), ("d_relu_fwd_output", "Activation")]
    np.testing.assert_array_equal(seen["d_relu_fwd_output", "Activation"], plain)
    np.testing.assert_array_equal(out.asnumpy(), plain)
    assert net.weight.grad().asnumpy().any()
    seen.clear()
    net.register_op_hook(lambda name, op, array: seen.update({(name, op): array.shape}), monitor_all=True)
    net(x())
    assert seen[("d_fwd_data", "FullyConnected")] == (2, 4) and seen[("d_fwd_weight", "FullyConnected")] == (2, 4)
    assert ("d_relu_fwd_output", "Activation") in seen and len(seen) == 6


# ---------------------------------------------------------------- switches
def test_flags_reach_the_children() -> None:
    net = nn.HybridSequential()
    net.add(nn.Dense(2))
    net.hybridize(static_alloc=True, static_shape=True, forward_bulk_size=3)
    assert net[0]._flags == [("static_alloc", True), ("static_shape", True), ("inline_limit", 2),
                             ("forward_bulk_size", 3)]
    with pytest.raises(MXNetError, match="static_alloc=True"):
        net.hybridize(static_shape=True)
    with pytest.raises(MXNetError, match="no graph backend 'TensorRT'"):
        net.hybridize(backend="TensorRT")
    with pytest.raises(ValueError, match='Must specify "backend"'):
        net.optimize_for(x())


def test_infer_shape_and_type_fill_in_parameters() -> None:
    net = nn.Dense(2)
    net.initialize()
    net.infer_shape(x())
    assert net.weight.shape == (2, 4)
    with pytest.raises(DeferredInitializationError):
        net.weight.data()
    with pytest.raises(AssertionError):
        net.infer_shape(mx.nd.ones((2, 9)))
    net.infer_type(x())
    assert np.dtype(net.weight.dtype) == np.float32


def test_summary_refuses_compiled_blocks_and_takes_its_hooks_away(capsys: pytest.CaptureFixture) -> None:
    net = nn.HybridSequential()
    net.add(nn.Dense(2, activation="relu"))
    net.initialize()
    net.summary(x())
    assert "Dense-2" in capsys.readouterr().out and not net[0]._forward_hooks
    net.hybridize()
    with pytest.raises(AssertionError, match="must not be hybridized to print summary"):
        net.summary(x())
    assert not net[0]._forward_hooks
