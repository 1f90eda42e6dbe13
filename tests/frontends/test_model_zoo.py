"""The model zoo: structure, names and symbols as MXNet 1.9.1 makes them; local parameter files."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import MXNetError
from mxcore.gluon.model_zoo import model_store, vision

COMPAT = Path(__file__).parents[1] / "compat"
PROGRAM = runpy.run_path(str(COMPAT / "record" / "gluon_layers.py"))
EXPECTED = PROGRAM["recorded"]("networks", COMPAT / "data" / "gluon")


def test_every_network_was_recorded() -> None:
    assert sorted(EXPECTED) == sorted(PROGRAM["names"]("networks"))
    assert {name.partition(" ")[0] for name in EXPECTED} == set(vision._MODELS)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_as_recorded(name: str) -> None:
    """Printed form, parameters (names, shapes, initializers), file names and symbol: as digests."""
    assert PROGRAM["run"](mx, "networks", name) == EXPECTED[name]


@pytest.mark.parametrize(("make", "size"), [
    (lambda: vision.ResNetV1(vision.BasicBlockV1, [1, 2], [4, 4, 8], classes=5), 32),
    (lambda: vision.ResNetV1(vision.BottleneckV1, [1, 2], [4, 8, 16], classes=5, thumbnail=True), 8),
    (lambda: vision.ResNetV2(vision.BasicBlockV2, [1, 2], [4, 4, 8], classes=5, thumbnail=True), 8),
    (lambda: vision.ResNetV2(vision.BottleneckV2, [1, 2], [4, 8, 16], classes=5), 32),
    (lambda: vision.MobileNet(0.25, classes=5), 32),
    (lambda: vision.mobilenet_v2_0_25(classes=5), 32),
    (lambda: vision.VGG([1, 1], [4, 8], classes=5, batch_norm=True), 8),
    (lambda: vision.DenseNet(8, 4, [1, 2], classes=5), 56),
])
def test_networks_run_and_hybridize(make, size: int) -> None:
    net = make()
    net.initialize(mx.init.Xavier())
    x = mx.nd.array(PROGRAM["values"]((2, 3, size, size), 1))
    y = net(x).asnumpy()
    assert y.shape == (2, 5) and np.isfinite(y).all() and y.any()
    net.hybridize()
    assert np.allclose(net(x).asnumpy(), y, atol=1e-4)


def test_a_thumbnail_network_learns() -> None:
    mx.random.seed(0)
    net = vision.ResNetV1(vision.BasicBlockV1, [1, 1], [4, 4, 8], classes=2, thumbnail=True)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    x = mx.nd.array(PROGRAM["values"]((4, 3, 8, 8), 1))
    label = mx.nd.array([0, 1, 0, 1])
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    history = []
    for _ in range(4):
        with mx.autograd.record():
            value = loss(net(x), label)
        value.backward()
        trainer.step(4)
        history.append(value.mean().asscalar())
    assert history[-1] < history[0]


# ---------------------------------------------------------------- pretrained
@pytest.fixture
def saved(tmp_path: Path) -> Path:
    net = vision.mobilenet_v2_0_25(classes=5)
    net.initialize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.save_parameters(str(tmp_path / "mobilenetv2_0.25.params"))
    return tmp_path


@pytest.mark.parametrize("file", ["mobilenetv2_0.25.params", "mobilenetv2_0.25-ae8f9392.params"])
def test_pretrained_from_a_local_file(saved: Path, file: str) -> None:
    (saved / "mobilenetv2_0.25.params").rename(saved / file)
    net = vision.get_model("MobileNetV2_0.25", classes=5, pretrained=True, root=str(saved))
    assert net.features[0].weight.data().asnumpy().any()


def test_pretrained_below_the_home_folder(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (saved / "models").mkdir()
    (saved / "mobilenetv2_0.25.params").rename(saved / "models" / "mobilenetv2_0.25.params")
    monkeypatch.setenv("MXCORE_HOME", str(saved))
    assert Path(model_store.get_model_file("mobilenetv2_0.25")).parent == saved / "models"
    model_store.purge()
    with pytest.raises(MXNetError):
        model_store.get_model_file("mobilenetv2_0.25")


@pytest.mark.parametrize(("name", "file"), [
    ("resnet18_v1", "resnet18_v1.params"), ("mobilenet1.0", "mobilenet1.0.params"), ("vgg11_bn", "vgg11_bn.params"),
    ("mobilenet0.5", "mobilenet0.5.params"), ("inceptionv3", "inceptionv3.params"), ("alexnet", "alexnet.params"),
    ("squeezenet1.1", "squeezenet1.1.params"), ("densenet121", "densenet121.params"),
])
def test_pretrained_without_a_file_says_what_to_do(tmp_path: Path, name: str, file: str) -> None:
    with pytest.raises(MXNetError) as error:
        vision.get_model(name, pretrained=True, root=str(tmp_path))
    assert all(word in str(error.value) for word in ("no longer hosted", file, str(tmp_path), "load_parameters"))


def test_two_files_are_not_guessed_between(tmp_path: Path) -> None:
    for digest in ("01234567", "89abcdef"):
        (tmp_path / f"vgg11-{digest}.params").touch()
    (tmp_path / "vgg11-of-mine.params").touch()
    with pytest.raises(MXNetError, match=r"2 files .*vgg11-01234567.params, vgg11-89abcdef.params"):
        model_store.get_model_file("vgg11", str(tmp_path))


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"(?s)resnet20 is not supported.*\tresnet18_v1\n"):
        vision.get_model("resnet20")
