"""Small networks of the kinds that have to train on the device alone: the losses of the CPU, and no fallback."""

import numpy as np
import pytest

import mxcore as mx
from mxcore import gluon
from mxcore.gluon import nn, rnn


def lenet():
    """Two convolutions with pooling, two dense layers."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, activation="relu"), nn.MaxPool2D(2, 2), nn.Conv2D(6, 3, activation="tanh"), nn.AvgPool2D(2, 2),
            nn.Flatten(), nn.Dense(8, activation="relu"), nn.Dropout(0.0), nn.Dense(3))
    return net, (4, 1, 12, 12)


class _Residual(gluon.HybridBlock):
    def __init__(self, channels, stride):
        super().__init__()
        with self.name_scope():
            self.body = nn.HybridSequential()
            self.body.add(nn.Conv2D(channels, 3, strides=stride, padding=1, use_bias=False), nn.BatchNorm(),
                          nn.Activation("relu"), nn.Conv2D(channels, 3, padding=1, use_bias=False), nn.BatchNorm())
            self.side = nn.Conv2D(channels, 1, strides=stride, use_bias=False)

    def hybrid_forward(self, F, x):
        return F.Activation(self.body(x) + self.side(x), act_type="relu")


def resnet():
    """Two residual blocks, one of which halves the image."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, padding=1), _Residual(4, 1), _Residual(6, 2), nn.GlobalAvgPool2D(), nn.Dense(3))
    return net, (3, 2, 8, 8)


class _Language(gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.embedding = nn.Embedding(11, 6)
            self.lstm = rnn.LSTM(5, layout="NTC")
            self.out = nn.Dense(3)

    def hybrid_forward(self, F, x):
        y = self.lstm(self.embedding(F.floor(F.abs(x) * 5)))
        return self.out(F.SequenceLast(F.swapaxes(y, 0, 1)))


def lstm():
    """An embedding, an LSTM and a dense layer on the last step."""
    return _Language(), (4, 5)


class _Transformer(gluon.HybridBlock):
    def __init__(self, units=8, heads=2):
        super().__init__()
        self.units, self.heads = units, heads
        with self.name_scope():
            self.embedding = nn.Embedding(11, units)
            self.qkv = nn.Dense(3 * units, flatten=False)
            self.project = nn.Dense(units, flatten=False)
            self.norm1, self.norm2 = nn.LayerNorm(), nn.LayerNorm()
            self.wide, self.narrow = nn.Dense(16, flatten=False), nn.Dense(units, flatten=False)
            self.drop = nn.Dropout(0.0)
            self.out = nn.Dense(3)

    def hybrid_forward(self, F, x):
        x = self.embedding(F.floor(F.abs(x) * 5))
        q, k, v = F.split(self.qkv(x), num_outputs=3, axis=2)

        def apart(a):
            a = F.transpose(F.reshape(a, (0, 0, self.heads, -1)), axes=(0, 2, 1, 3))
            return F.reshape(a, (-1, 5, self.units // self.heads))

        scores = F.softmax(F.batch_dot(apart(q), apart(k), transpose_b=True) / (self.units // self.heads) ** 0.5)
        mixed = F.reshape(F.transpose(F.reshape(F.batch_dot(self.drop(scores), apart(v)), (-4, -1, self.heads, 0, 0)),
                                      axes=(0, 2, 1, 3)), (0, 0, -1))
        x = self.norm1(x + self.project(mixed))
        return self.out(self.norm2(x + self.narrow(F.LeakyReLU(self.wide(x), act_type="gelu"))))


def transformer():
    """One layer of a Transformer over embedded tokens."""
    return _Transformer(), (3, 5)


NETS = {f.__name__: f for f in (lenet, resnet, lstm, transformer)}


def losses(name, ctx, hybridize=True, optimizer="sgd", steps=4):
    """The loss at each step of training the network on numbers that are always the same."""
    rng = np.random.default_rng(0)
    net, shape = NETS[name]()
    net.initialize(mx.init.Zero(), ctx=mx.cpu())
    x, y = rng.normal(size=shape).astype("float32"), (np.arange(shape[0]) % 3).astype("float32")
    net(mx.nd.array(x))
    for p in net.collect_params().values():  # shapes are known now; weights from NumPy, the same for every device
        if p.name.endswith("weight") or "lstm" in p.name:
            p.set_data(mx.nd.array(rng.normal(scale=0.4, size=p.shape)))
    net.collect_params().reset_ctx(ctx)
    if hybridize:
        net.hybridize()
    loss, found = gluon.loss.SoftmaxCrossEntropyLoss(), []
    trainer = gluon.Trainer(net.collect_params(), optimizer, {"learning_rate": 0.05})
    x, y = mx.nd.array(x, ctx=ctx), mx.nd.array(y, ctx=ctx)
    for _ in range(steps):
        with mx.autograd.record():
            value = loss(net(x), y)
        value.backward()
        trainer.step(shape[0])
        found.append(value.mean())
    return [float(v.asscalar()) for v in found]


@pytest.fixture(autouse=True)
def _on_the_device_alone(monkeypatch):
    monkeypatch.setenv("MXCORE_FALLBACK", "error")
    monkeypatch.setenv("MXCORE_FUSE_AFTER", "1")


@pytest.mark.parametrize("hybridize", [False, True], ids=["eager", "hybridized"])
@pytest.mark.parametrize("name", NETS)
def test_training_as_on_the_cpu(device, route, name, hybridize):
    before = mx.runtime.fallbacks()
    np.testing.assert_allclose(losses(name, device, hybridize), losses(name, mx.cpu()), rtol=1e-4)
    assert mx.runtime.fallbacks() == before


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "lamb", "adagrad", "nag"])
def test_optimizers(device, optimizer):
    want = losses("lenet", mx.cpu(), True, optimizer, 3)
    np.testing.assert_allclose(losses("lenet", device, True, optimizer, 3), want, rtol=1e-4)
