"""Layers: what MXNet 1.9.1 gave (printed forms, names, symbols, numbers, gradients), eager and hybridized, and more."""

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import MXNetError
from mxcore.gluon import nn

COMPAT = Path(__file__).parents[1] / "compat"
PROGRAM = runpy.run_path(str(COMPAT / "record" / "gluon_layers.py"))
EXPECTED = PROGRAM["recorded"]("layers", COMPAT / "data" / "gluon")


def test_every_layer_was_recorded() -> None:
    assert sorted(EXPECTED) == sorted(PROGRAM["names"]("layers"))


@pytest.mark.parametrize("hybridize", [False, True], ids=["eager", "hybridized"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_as_recorded(name: str, hybridize: bool) -> None:
    assert PROGRAM["differences"](PROGRAM["run"](mx, "layers", name, hybridize), EXPECTED[name]) == []


def image(*shape: int) -> mx.nd.NDArray:
    return mx.nd.array(PROGRAM["values"](shape, 7))


# ---------------------------------------------------------------- containers
def test_sequential_runs_and_slices_plain_blocks() -> None:
    net = nn.Sequential()
    net.add(nn.Lambda(lambda x: (x, x + 1)), nn.Lambda(lambda pair: pair[1] * 2))
    assert net(mx.nd.array([1, 2])).asnumpy().tolist() == [4, 6]
    assert [type(b) for b in net] == [nn.Lambda] * 2 and len(net[:1]) == 1


def test_sequential_of_hybrid_blocks_warns_when_hybridized() -> None:
    net = nn.Sequential(prefix="plain_")
    with net.name_scope():
        net.add(nn.Dense(2, in_units=2))
    with pytest.warns(UserWarning, match="All children of this Sequential layer 'plain_' are HybridBlocks"):
        net.hybridize()
    mixed = nn.Sequential()
    mixed.add(nn.Dense(2), nn.Lambda("relu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed.hybridize()


def test_a_slice_shares_the_layers() -> None:
    net = nn.HybridSequential()
    net.add(nn.Dense(4), nn.Dense(3), nn.Dense(2))
    assert net[1:][0] is net[1]


def test_shared_parameters() -> None:
    a = nn.Dense(3, in_units=3)
    b = nn.Dense(3, in_units=3, params=a.params)
    a.initialize()
    assert b.weight is a.weight
    x = image(2, 3)
    assert (a(x).asnumpy() == b(x).asnumpy()).all()


# ---------------------------------------------------------------- shapes found later
@pytest.mark.parametrize(("layer", "shape", "found"), [
    (lambda: nn.Dense(2), (4, 3, 5), (2, 15)),
    (lambda: nn.Dense(2, flatten=False), (4, 3, 5), (2, 5)),
    (lambda: nn.Conv1D(6, 3, groups=2), (1, 4, 9), (6, 2, 3)),
    (lambda: nn.Conv2D(6, (3, 2)), (1, 4, 9, 9), (6, 4, 3, 2)),
    (lambda: nn.Conv2DTranspose(6, 3), (1, 4, 5, 5), (4, 6, 3, 3)),
    (lambda: nn.Conv3D(2, 2), (1, 3, 4, 4, 4), (2, 3, 2, 2, 2)),
])
@pytest.mark.parametrize("hybridize", [False, True])
def test_deferred_shapes(layer, shape: tuple, found: tuple, hybridize: bool) -> None:
    net = layer()
    net.initialize()
    if hybridize:
        net.hybridize()
    net(image(*shape))
    assert net.weight.shape == found
    assert net.weight.data().shape == found


def test_initializers_by_name_and_by_object() -> None:
    net = nn.Dense(2, in_units=2, weight_initializer="ones", bias_initializer=mx.init.Constant(3))
    net.initialize(mx.init.Zero())
    assert net.weight.data().asnumpy().tolist() == [[1, 1], [1, 1]]
    assert net.bias.data().asnumpy().tolist() == [3, 3]


# ---------------------------------------------------------------- what layers compute
def test_batch_norm_running_statistics() -> None:
    x = PROGRAM["values"]((4, 3, 5, 5), 3) * 2 + 1
    layer = nn.BatchNorm(momentum=0.8)
    layer.initialize()
    with mx.autograd.record():
        layer(mx.nd.array(x))
    mx.nd.waitall()
    assert np.allclose(layer.running_mean.data().asnumpy(), 0.2 * x.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(layer.running_var.data().asnumpy(), 0.8 + 0.2 * x.var((0, 2, 3)), atol=1e-5)
    before = layer.running_mean.data().asnumpy()
    layer(mx.nd.array(x))
    assert (layer.running_mean.data().asnumpy() == before).all()


def test_fixed_scale_stays_fixed() -> None:
    layer = nn.LayerNorm(scale=False, in_channels=3)
    layer.collect_params().setattr("grad_req", "add")
    assert layer.gamma.grad_req == "null" and layer.beta.grad_req == "add"


@pytest.mark.parametrize("hybridize", [False, True])
def test_dropout_in_training(hybridize: bool) -> None:
    layer = nn.Dropout(0.25)
    if hybridize:
        layer.hybridize()
    x = mx.nd.ones((200, 100))
    with mx.autograd.record():
        a, b = layer(x).asnumpy(), layer(x).asnumpy()
    assert set(np.unique(a)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((a == 0).mean() - 0.25) < 0.02
    assert (a != b).any()
    assert (layer(x).asnumpy() == 1).all()


def test_dropout_shares_the_mask_along_axes() -> None:
    with mx.autograd.record():
        y = nn.Dropout(0.5, axes=(1,))(mx.nd.ones((50, 20))).asnumpy()
    assert (y == y[:, :1]).all() and 0 < (y == 0).mean() < 1


def test_lambda_by_name() -> None:
    x = mx.nd.array([-1, 2])
    assert nn.Lambda("relu")(x).asnumpy().tolist() == nn.HybridLambda("relu")(x).asnumpy().tolist() == [0, 2]
    assert nn.Lambda("relu")._func_name == "relu"


@pytest.mark.parametrize(("first", "last"), [
    (lambda **k: nn.MaxPool1D(2, 1, 1, **k), "NWC"),
    (lambda **k: nn.AvgPool1D(3, 2, **k), "NWC"),
    (lambda **k: nn.MaxPool2D(3, 2, 1, ceil_mode=True, **k), "NHWC"),
    (lambda **k: nn.AvgPool2D((2, 3), 1, 1, count_include_pad=False, **k), "NHWC"),
    (lambda **k: nn.GlobalAvgPool2D(**k), "NHWC"),
    (lambda **k: nn.GlobalMaxPool3D(**k), "NDHWC"),
])
def test_pooling_with_channels_last(first, last: str) -> None:
    n = len(last) - 2
    x = PROGRAM["values"]((2, 3, 6, 5, 4)[: n + 2], 5)
    wanted = first()(mx.nd.array(x)).asnumpy()
    found = first(layout=last)(mx.nd.array(np.moveaxis(x, 1, -1).copy())).asnumpy()
    assert np.allclose(np.moveaxis(found, -1, 1), wanted, atol=1e-6)


@pytest.mark.parametrize("layer", [lambda **k: nn.Conv2D(4, (3, 2), 2, 1, groups=1, **k),
                                   lambda **k: nn.Conv2DTranspose(4, (3, 2), 2, 1, 1, **k)])
def test_convolution_with_channels_last(layer) -> None:
    x = PROGRAM["values"]((2, 3, 6, 5), 5)
    first, last = layer(), layer(layout="NHWC")
    for net, data in ((first, x), (last, np.moveaxis(x, 1, -1).copy())):
        net.initialize()
        net(mx.nd.array(data))
    last.weight.set_data(mx.nd.array(np.moveaxis(first.weight.data().asnumpy(), 1, -1).copy()))
    last.bias.set_data(first.bias.data())
    found = last(mx.nd.array(np.moveaxis(x, 1, -1).copy())).asnumpy()
    assert np.allclose(np.moveaxis(found, -1, 1), first(mx.nd.array(x)).asnumpy(), atol=1e-5)


def test_types() -> None:
    net = nn.HybridSequential()
    net.add(nn.Conv2D(2, 3, in_channels=1), nn.BatchNorm(in_channels=2), nn.Dense(3, in_units=8))
    net.cast("float64")
    net.initialize()
    x = image(2, 1, 4, 4).astype("float64")
    assert net(x).dtype == np.float64
    net.hybridize()
    assert net(x).dtype == np.float64


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(("call", "words"), [
    (lambda: nn.Conv2D(4, 3, strides=(1, 1, 1)), ["Conv2D", "strides=(1, 1, 1)", "2 numbers"]),
    (lambda: nn.Conv2D(4, 3, groups=3), ["groups=3", "channels=4"]),
    (lambda: nn.Conv2D(4, 3, groups=2, in_channels=3), ["groups=2", "in_channels=3"]),
    (lambda: nn.Conv2DTranspose(4, 3, output_padding=1), ["output_padding=(1, 1)", "strides=(1, 1)"]),
])
def test_errors_name_the_arguments(call, words: list[str]) -> None:
    with pytest.raises(MXNetError) as error:
        call()
    assert all(word in str(error.value) for word in words)
