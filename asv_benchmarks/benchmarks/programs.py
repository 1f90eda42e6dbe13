"""Compiled programs: networks with and without passes, how long compiling takes, what memory is planned."""

import os

import mxcore as mx
from mxcore import gluon
from mxcore.gluon import nn

from .common import uniform

vision = gluon.model_zoo.vision


class Chain(gluon.HybridBlock):
    """Elementwise operators only: bound by memory if they are one loop."""

    def hybrid_forward(self, F, x):
        y = F.tanh(x * 2 + 1)
        y = F.sigmoid(y) * F.relu(x - 0.5)
        return F.sqrt(F.square(y) + 1e-3) - F.exp(-F.abs(x))


class Encoder(gluon.HybridBlock):
    """A transformer layer."""

    def __init__(self, width=256, heads=4, **kwargs):
        super().__init__(**kwargs)
        self._heads = heads
        with self.name_scope():
            self.qkv, self.proj = nn.Dense(3 * width, flatten=False), nn.Dense(width, flatten=False)
            self.norm1, self.norm2 = nn.LayerNorm(), nn.LayerNorm()
            self.up, self.down = nn.Dense(4 * width, flatten=False), nn.Dense(width, flatten=False)

    def hybrid_forward(self, F, x):
        h = self._heads
        q, k, v = [F.reshape(F.transpose(F.reshape(t, shape=(0, 0, h, -1)), axes=(0, 2, 1, 3)), shape=(-3, 0, 0))
                   for t in F.split(self.qkv(self.norm1(x)), num_outputs=3, axis=2)]
        att = F.softmax(F.batch_dot(q, k, transpose_b=True) * 0.125)
        y = F.transpose(F.reshape(F.batch_dot(att, v), shape=(-4, -1, h, 0, 0)), axes=(0, 2, 1, 3))
        x = x + self.proj(F.reshape(y, shape=(0, 0, -3)))
        return x + self.down(F.LeakyReLU(self.up(self.norm2(x)), act_type="gelu"))


class Language(gluon.HybridBlock):
    """Embedding, two LSTM layers, decoder."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.embed, self.rnn = nn.Embedding(1000, 200), gluon.rnn.LSTM(200, num_layers=2)
            self.decoder = nn.Dense(1000, flatten=False)

    def hybrid_forward(self, F, x):
        return self.decoder(self.rnn(self.embed(x)))


NETS = {
    "chain": (Chain, (2048, 2048)),
    "transformer": (Encoder, (8, 128, 256)),
    "lstm": (Language, (35, 32)),
    "resnet18": (vision.resnet18_v1, (1, 3, 224, 224)),
    "mobilenet_v2": (vision.mobilenet_v2_0_25, (1, 3, 224, 224)),
}


class Programs:
    """One network, hybridized, with all passes and with none."""

    params = (tuple(NETS), ("all", "none"))
    param_names = ("net", "passes")
    timeout = 240

    def setup(self, name, passes):
        self.before = os.environ.get("MXCORE_PASSES")
        os.environ["MXCORE_PASSES"] = passes
        make, shape = NETS[name]
        self.net = make()
        self.net.initialize(mx.init.Xavier())
        self.net.hybridize(static_alloc=True, static_shape=True)
        self.x = uniform(*shape, ctx=mx.cpu())
        if name == "lstm":
            self.x = mx.nd.floor((self.x + 1) * 499)
        self.net(self.x)
        self.train()

    def teardown(self, name, passes):
        if self.before is None:
            del os.environ["MXCORE_PASSES"]
        else:
            os.environ["MXCORE_PASSES"] = self.before

    def train(self):
        self.x.attach_grad()
        with mx.autograd.record():
            y = self.net(self.x)
        y.backward()
        mx.nd.waitall()

    def time_inference(self, name, passes):
        self.net(self.x).wait_to_read()

    def time_forward_backward(self, name, passes):
        self.train()

    def time_compile(self, name, passes):
        self.net.hybridize()
        self.net(self.x).wait_to_read()

    def peakmem_forward_backward(self, name, passes):
        self.train()


class Fusion:
    """Loops as the backend runs them, by size: the price of a call, then of memory."""

    params = (("chain", "relu_backward_and_sum", "gelu"), (256, 65536, 4194304))
    param_names = ("loop", "elements")

    def setup(self, kind, elements):
        forms = {"chain": lambda F, x: F.tanh(x * 2 + 1) * F.sigmoid(x) - F.exp(-F.abs(x)),
                 "gelu": lambda F, x: F.LeakyReLU(x, act_type="gelu"),
                 "relu_backward_and_sum": lambda F, x: F.sum(F.broadcast_greater(x, F.zeros_like(x)) * x, axis=0)}
        self.net = gluon.nn.HybridLambda(forms[kind])
        self.net.hybridize(static_alloc=True)
        self.x = uniform(elements // 64, 64, ctx=mx.cpu())
        self.net(self.x)

    def time_loop(self, kind, elements):
        self.net(self.x).wait_to_read()


class Optimizers:
    """Updates of 62 arrays with 11 million numbers, as of a ResNet-18."""

    params = ("sgd", "adam")
    param_names = ("optimizer",)

    def setup(self, name):
        sizes = [(64, 64, 3, 3)] * 5 + [(128, 128, 3, 3)] * 4 + [(256, 256, 3, 3)] * 4 + [(512, 512, 3, 3)] * 3 + [(256,)] * 46
        self.params = [gluon.Parameter(f"p{i}", shape=s) for i, s in enumerate(sizes)]
        for p in self.params:
            p.initialize(mx.init.Uniform())
        options = {"learning_rate": 0.01, "momentum": 0.9} if name == "sgd" else {"learning_rate": 0.001}
        self.trainer = gluon.Trainer(self.params, name, options)
        self.trainer.step(1, ignore_stale_grad=True)

    def time_step(self, name):
        for p in self.params:
            p.data()._fresh_grad = True
        self.trainer.step(1)


class Profiler:
    """What a small operator costs while nobody looks, and while the profiler does."""

    params = (("off", "on"),)
    param_names = ("profiler",)

    def setup(self, state):
        self.x = mx.nd.ones((16, 16))
        mx.profiler.set_config(profile_all=True, aggregate_stats=True)
        mx.profiler.set_state("run" if state == "on" else "stop")

    def teardown(self, state):
        mx.profiler.set_state("stop")
        mx.profiler.dumps(reset=True)

    def time_add(self, state):
        self.x + self.x
