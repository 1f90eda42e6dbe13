"""Files of blocks: parameters, exported graphs, SymbolBlock, architectures, checkpoints."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import FileFormatError, MXNetError
from mxcore.gluon import HybridBlock, SymbolBlock, nn

X = np.arange(8, dtype="float32").reshape(2, 4) / 7


def x() -> mx.nd.NDArray:
    return mx.nd.array(X)


def trained(prefix: str | None = None) -> HybridBlock:
    net = nn.HybridSequential(prefix=prefix)
    with net.name_scope():
        net.add(nn.Dense(3, activation="relu"), nn.BatchNorm(), nn.Dense(2))
    net.initialize(mx.init.Uniform(0.5))
    with mx.autograd.record():
        net(x())
    return net


def fresh() -> HybridBlock:
    net = nn.HybridSequential()
    with net.name_scope():
        net.add(nn.Dense(3, activation="relu"), nn.BatchNorm(), nn.Dense(2))
    return net


@pytest.mark.parametrize("hybrid", [False, True])
def test_parameters_do_not_depend_on_prefixes(tmp_path: Path, hybrid: bool) -> None:
    net, other = trained(), fresh()
    path = str(tmp_path / "net.params")
    net.save_parameters(path)
    other.hybridize(hybrid)
    other.load_parameters(path)
    np.testing.assert_allclose(other(x()).asnumpy(), net(x()).asnumpy(), rtol=1e-6)


@pytest.mark.parametrize(("change", "message"), [
    (lambda a: a.pop("2.bias"), r"Parameter '2.bias' is missing in file.*'0.weight'"),
    (lambda a: a.update({"3.bias": mx.nd.ones((1,))}), "'3.bias' loaded from file .* is not present"),
    (lambda a: a.update({"2.bias": mx.nd.ones((7,))}), r"shape incompatible expected \(2,\) vs saved \(7,\)"),
])
def test_files_that_do_not_fit_leave_the_net_alone(tmp_path: Path, change, message: str) -> None:
    path = str(tmp_path / "net.params")
    trained().save_parameters(path)
    arrays = mx.nd.load(path)
    change(arrays)
    mx.nd.save(path, arrays)
    net = trained()
    before = [p.data().asnumpy() for p in net.collect_params().values()]
    with pytest.raises(AssertionError, match=message):
        net.load_parameters(path)
    for param, value in zip(net.collect_params().values(), before, strict=True):
        np.testing.assert_array_equal(param.data().asnumpy(), value)


def test_missing_and_extra_are_tolerated_when_asked(tmp_path: Path) -> None:
    path = str(tmp_path / "net.params")
    mx.nd.save(path, {"0.weight": mx.nd.ones((3, 4)), "9.weight": mx.nd.ones((1,))})
    net = trained()
    net.load_parameters(path, allow_missing=True, ignore_extra=True)
    assert (net[0].weight.data().asnumpy() == 1).all()


def test_structural_names_without_dots_are_recognised(tmp_path: Path) -> None:
    """A block whose attribute is called otherwise than its parameter; MXNet cannot read back what it wrote here."""

    class Net(HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.w = self.params.get("weight_of_net", shape=(2,), init="ones")

    path = str(tmp_path / "net.params")
    net, other = Net(), Net()
    net.initialize()
    net.save_parameters(path)
    other.load_parameters(path)
    assert other.w.data().asnumpy().tolist() == [1, 1]


def test_legacy_files(tmp_path: Path) -> None:
    path = str(tmp_path / "net.params")
    net, other = trained(), fresh()
    with pytest.warns(UserWarning, match="save_params is deprecated"):
        net.save_params(path)
    with pytest.warns(UserWarning, match="load_params is deprecated"):
        other.load_params(path)
    np.testing.assert_allclose(other(x()).asnumpy(), net(x()).asnumpy(), rtol=1e-6)


@pytest.mark.parametrize("ctx", [None, [mx.cpu(0), mx.cpu(1)]])
def test_export_and_imports(tmp_path: Path, ctx: list | None) -> None:
    net = trained("net_")
    path = str(tmp_path / "net")
    with pytest.raises(MXNetError, match=r"first call block.hybridize\(\)"):
        net.export(path)
    net.hybridize()
    expected = net(x()).asnumpy()
    net.export(path, epoch=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net-0003.params", "net-symbol.json"]
    names = set(mx.nd.load(f"{path}-0003.params"))
    assert {"arg:net_dense0_weight", "aux:net_batchnorm0_running_var"} <= names and len(names) == 8
    block = SymbolBlock.imports(f"{path}-symbol.json", "data", f"{path}-0003.params", ctx)
    for c in ctx or [mx.cpu()]:
        np.testing.assert_array_equal(block(mx.nd.array(X, ctx=c)).asnumpy(), expected)
    symbol, args, aux = mx.model.load_checkpoint(path, 3)
    bound = symbol.bind(mx.cpu(), {**args, "data": x()}, aux_states=aux)
    np.testing.assert_allclose(bound.forward(is_train=False)[0].asnumpy(), expected, rtol=1e-6)


def test_imported_blocks_train_and_export_again(tmp_path: Path) -> None:
    net = trained("net_")
    net.hybridize()
    net(x())
    path = str(tmp_path / "net")
    net.export(path)
    block = SymbolBlock.imports(f"{path}-symbol.json", ["data"], f"{path}-0000.params")
    for one in (net, block):
        with mx.autograd.record():
            loss = (one(x()) ** 2).sum()
        loss.backward()
    assert block.params["net_batchnorm0_running_mean"].grad_req == "null"
    for name in ("net_dense0_weight", "net_batchnorm0_gamma", "net_dense1_bias"):
        np.testing.assert_allclose(block.params[name].grad().asnumpy(), net.collect_params()[name].grad().asnumpy(),
                                   rtol=1e-5, atol=1e-7)
    mean = "net_batchnorm0_running_mean"
    np.testing.assert_allclose(block.params[mean].data().asnumpy(), net.collect_params()[mean].data().asnumpy())
    block.export(str(tmp_path / "again"))
    one, two = (json.loads((tmp_path / f"{n}-symbol.json").read_text()) for n in ("net", "again"))
    assert one == two
    assert set(mx.nd.load(str(tmp_path / "again-0000.params"))) == set(mx.nd.load(f"{path}-0000.params"))


def test_imports_without_a_file_are_initialized_by_the_user(tmp_path: Path) -> None:
    net = trained("net_")
    net.hybridize()
    net(x())
    path = str(tmp_path / "net")
    net.export(path)
    block = SymbolBlock.imports(f"{path}-symbol.json", "data")
    with pytest.raises(MXNetError, match="has not been initialized"):
        block(x())
    block.initialize()
    assert block(x()).shape == (2, 2)
    assert block.params["net_batchnorm0_running_var"].data().asnumpy().tolist() == [1, 1, 1]  # as the symbol says
    with pytest.raises(AssertionError, match="is missing in file"):
        SymbolBlock.imports(f"{path}-symbol.json", "input", f"{path}-0000.params")


def test_symbol_blocks_inside_hybrid_blocks() -> None:
    data = mx.sym.var("data")
    inner = SymbolBlock(mx.sym.FullyConnected(data, num_hidden=3, name="fc"), data)

    class Net(HybridBlock):
        def __init__(self, **kwargs) -> None:
            super().__init__(**kwargs)
            with self.name_scope():
                self.body = inner
                self.top = nn.Dense(2)

        def hybrid_forward(self, F, x):
            return self.top(F.relu(self.body(x)))

    net = Net()
    net.initialize(mx.init.One())
    eager = net(x()).asnumpy()
    net.hybridize()
    np.testing.assert_allclose(net(x()).asnumpy(), eager, rtol=1e-6)
    assert {"fc_weight", "fc_bias"} <= set(net.collect_params())
    assert net(mx.sym.var("q")).list_arguments()[:3] == ["q", "fc_weight", "fc_bias"]


def test_symbol_blocks_share_parameters_with_the_net_they_come_from() -> None:
    net = nn.Dense(3, in_units=4)
    net.initialize()
    block = SymbolBlock(net(mx.sym.var("data")), mx.sym.var("data"), params=net.collect_params())
    assert block.params[net.weight.name] is net.weight
    block.reset_ctx(mx.cpu(1))
    assert net.weight.list_ctx() == [mx.cpu(1)]
    block.reset_ctx(mx.cpu(0))
    np.testing.assert_allclose(block(x()).asnumpy(), net(x()).asnumpy(), rtol=1e-6)


def test_symbol_blocks_check_inputs() -> None:
    data = mx.sym.var("data")
    hidden = mx.sym.relu(data)
    with pytest.raises(AssertionError, match="Input symbols must be variable, but <Symbol"):
        SymbolBlock(hidden * 2, [data, hidden])
    block = SymbolBlock(hidden, data)
    with pytest.raises(AssertionError, match="Invalid input format"):
        block(data, data)
    with pytest.raises(AssertionError, match="first argument to forward"):
        block([data])
    with pytest.raises(ValueError, match="argument structure"):
        block(x(), x())


def test_half_precision_symbol_blocks_keep_normalizations() -> None:
    data = mx.sym.var("data")
    graph = mx.sym.BatchNorm(mx.sym.FullyConnected(data, num_hidden=3, name="fc"), name="bn")
    block = SymbolBlock(graph, data)
    block.cast("float16")
    assert {name: np.dtype(p.dtype).name for name, p in block.params.items()} == {
        "fc_weight": "float16", "fc_bias": "float16", "bn_gamma": "float32", "bn_beta": "float32",
        "bn_moving_mean": "float32", "bn_moving_var": "float32"}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@pytest.mark.parametrize("hybrid", [False, True])
def test_copies_are_nets_of_their_own(copied, hybrid: bool) -> None:
    net = trained()
    net.hybridize(hybrid)
    expected = net(x()).asnumpy()
    other = copied(net)
    np.testing.assert_array_equal(other(x()).asnumpy(), expected)
    with mx.autograd.record():
        loss = other(x()).sum()
    loss.backward()
    assert other[2].bias.grad().asnumpy().tolist() == [2, 2]
    assert net[2].bias.grad().asnumpy().tolist() == [0, 0]
    other.initialize(mx.init.One(), force_reinit=True)
    np.testing.assert_array_equal(net(x()).asnumpy(), expected)
    block = copied(SymbolBlock(net(mx.sym.var("data")), mx.sym.var("data"), params=net.collect_params()))
    np.testing.assert_allclose(block(x()).asnumpy(), expected, rtol=1e-6)


def test_architecture_files(tmp_path: Path) -> None:
    path = str(tmp_path / "net")
    net = trained()
    net.hybridize()
    expected = net(x()).asnumpy()
    net.save(path)
    other = fresh()
    other.load(path)
    assert other._active
    np.testing.assert_array_equal(other(x()).asnumpy(), expected)
    smaller = nn.HybridSequential()
    smaller.add(nn.Dense(3))
    with pytest.raises(FileFormatError, match="3 children, this one has 1"):
        smaller.load(path)
    with pytest.raises(FileFormatError, match="another architecture"):
        nn.Dense(2).load(path)
    (tmp_path / "net-model.json").write_text("{")
    with pytest.raises(FileFormatError, match="does not hold the architecture"):
        other.load(path)


def test_checkpoints_are_checked(tmp_path: Path) -> None:
    path = str(tmp_path / "net")
    mx.model.save_checkpoint(path, 1, None, {"w": mx.nd.ones((2,))}, {"m": mx.nd.zeros((1,))})
    assert not (tmp_path / "net-symbol.json").exists()
    args, aux = mx.model.load_params(path, 1)
    assert list(args) == ["w"] and list(aux) == ["m"]
    mx.nd.save(f"{path}-0002.params", {"w": mx.nd.ones((2,))})
    with pytest.raises(FileFormatError, match="'w' starts with neither"):
        mx.model.load_params(path, 2)
    mx.nd.save(f"{path}-0003.params", [mx.nd.ones((2,))])
    with pytest.raises(FileFormatError, match="1 arrays have no names"):
        mx.model.load_params(path, 3)
    mx.model.save_checkpoint(path, 4, None, {}, {})
    assert mx.model.load_params(path, 4) == ({}, {})
