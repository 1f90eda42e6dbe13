"""Training steps and inference of whole networks."""

import numpy as np

import mxcore as mx
from mxcore import gluon
from mxcore.gluon import nn

from .common import DEVICES, device, labels, uniform


def mlp():
    net = nn.HybridSequential()
    net.add(nn.Dense(256, activation="relu"), nn.Dense(128, activation="relu"), nn.Dense(10))
    return net


def lenet():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(20, 5, activation="relu"), nn.MaxPool2D(2, 2),
            nn.Conv2D(50, 5, activation="relu"), nn.MaxPool2D(2, 2),
            nn.Dense(500, activation="relu"), nn.Dense(10))
    return net


NETS = {"mlp": (mlp, (64, 784)), "lenet": (lenet, (64, 1, 28, 28))}


class Net:
    """A network, its data and its trainer."""

    params = (tuple(NETS), ("eager", "hybrid"), DEVICES)
    param_names = ("net", "mode", "device")
    timeout = 120

    def setup(self, name, mode, kind):
        ctx = device(kind)
        make, shape = NETS[name]
        self.x, self.y = uniform(*shape, ctx=ctx), labels(shape[0], 10, ctx=ctx)
        self.net, self.loss = make(), gluon.loss.SoftmaxCrossEntropyLoss()
        self.net.initialize(mx.init.Xavier(), ctx=ctx)
        if mode == "hybrid":
            self.net.hybridize(static_alloc=True, static_shape=True)
            self.loss.hybridize(static_alloc=True, static_shape=True)
        self.trainer = gluon.Trainer(self.net.collect_params(), "sgd", {"learning_rate": 0.01, "momentum": 0.9})
        self.step()

    def step(self):
        with mx.autograd.record():
            loss = self.loss(self.net(self.x), self.y)
        loss.backward()
        self.trainer.step(self.x.shape[0])
        mx.nd.waitall()

    def time_train_step(self, name, mode, kind):
        self.step()

    def time_inference(self, name, mode, kind):
        self.net(self.x).wait_to_read()

    def peakmem_train_step(self, name, mode, kind):
        self.step()


class Data:
    """Batches from memory."""

    def setup(self):
        images = np.zeros((1024, 1, 28, 28), "float32")
        self.loader = gluon.data.DataLoader(gluon.data.ArrayDataset(images, np.arange(1024)), batch_size=64)

    def time_epoch(self):
        for _ in self.loader:
            pass
