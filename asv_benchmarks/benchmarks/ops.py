"""Operators at the sizes of real networks: forward, and forward with backward."""

import mxcore as mx

from .common import DEVICES, device, labels, uniform

CASES = {  # name: shapes of the inputs, the call
    "exp": (((512, 512),), lambda x: mx.nd.exp(x)),
    "broadcast_add": (((512, 512), (1, 512)), lambda x, y: mx.nd.broadcast_add(x, y)),
    "sum_axis": (((512, 512),), lambda x: mx.nd.sum(x, axis=1)),
    "transpose": (((64, 32, 128),), lambda x: mx.nd.transpose(x, axes=(2, 0, 1))),
    "softmax": (((256, 1000),), lambda x: mx.nd.softmax(x)),
    "dot": (((256, 512), (512, 256)), lambda x, y: mx.nd.dot(x, y)),
    "fully_connected": (((64, 784), (256, 784), (256,)),
                        lambda x, w, b: mx.nd.FullyConnected(x, w, b, num_hidden=256)),
    "convolution_5x5": (((32, 20, 12, 12), (50, 20, 5, 5), (50,)),
                        lambda x, w, b: mx.nd.Convolution(x, w, b, kernel=(5, 5), num_filter=50)),
    "convolution_3x3": (((8, 32, 28, 28), (32, 32, 3, 3)),
                        lambda x, w: mx.nd.Convolution(x, w, kernel=(3, 3), pad=(1, 1), num_filter=32, no_bias=True)),
    "max_pooling": (((32, 20, 24, 24),),
                    lambda x: mx.nd.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max")),
    "layer_norm": (((512, 256), (256,), (256,)), lambda x, g, b: mx.nd.LayerNorm(x, g, b)),
}


class Forward:
    """One call, waited for."""

    params = (tuple(CASES), DEVICES)
    param_names = ("case", "device")

    def setup(self, case, name):
        ctx = device(name)
        shapes, self.call = CASES[case]
        self.inputs = [uniform(*shape, ctx=ctx, seed=i) for i, shape in enumerate(shapes)]

    def time_call(self, case, name):
        self.call(*self.inputs).wait_to_read()


class Backward(Forward):
    """One recorded call and its gradients, waited for."""

    def setup(self, case, name):
        super().setup(case, name)
        for x in self.inputs:
            x.attach_grad()

    def time_call(self, case, name):
        with mx.autograd.record():
            y = self.call(*self.inputs)
        y.backward()
        mx.nd.waitall()


class Index:
    """Rows picked by number."""

    params = (DEVICES,)
    param_names = ("device",)

    def setup(self, name):
        ctx = device(name)
        self.table, self.rows = uniform(10000, 64, ctx=ctx), labels(4096, 10000, ctx=ctx)

    def time_take(self, name):
        mx.nd.take(self.table, self.rows).wait_to_read()

    def time_embedding(self, name):
        mx.nd.Embedding(self.rows, self.table, input_dim=10000, output_dim=64).wait_to_read()
