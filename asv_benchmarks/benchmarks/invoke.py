"""The overhead of a call: arrays so small that the arithmetic does not count."""

import mxcore as mx

from .common import DEVICES, device, uniform

CALLS = 100


class Small:
    """A hundred calls on 16x16 arrays, then a wait."""

    params = (DEVICES,)
    param_names = ("device",)

    def setup(self, name):
        self.ctx = device(name)
        self.a, self.b = uniform(16, 16, ctx=self.ctx), uniform(16, 16, ctx=self.ctx, seed=1)
        self.out = mx.nd.zeros((16, 16), ctx=self.ctx)

    def time_add(self, name):
        for _ in range(CALLS):
            self.a + self.b
        mx.nd.waitall()

    def time_add_scalar(self, name):
        for _ in range(CALLS):
            self.a + 1.5
        mx.nd.waitall()

    def time_relu(self, name):
        for _ in range(CALLS):
            mx.nd.relu(self.a)
        mx.nd.waitall()

    def time_sum_axis(self, name):
        for _ in range(CALLS):
            mx.nd.sum(self.a, axis=1)
        mx.nd.waitall()

    def time_dot(self, name):
        for _ in range(CALLS):
            mx.nd.dot(self.a, self.b)
        mx.nd.waitall()

    def time_add_out(self, name):
        for _ in range(CALLS):
            mx.nd.broadcast_add(self.a, self.b, out=self.out)
        mx.nd.waitall()

    def time_inplace(self, name):
        for _ in range(CALLS):
            self.out += self.a
        mx.nd.waitall()


class Arrays:
    """What is done with arrays besides operators."""

    def setup(self):
        self.a = uniform(64, 64, ctx=device("cpu"))
        self.host = self.a.asnumpy()

    def time_create(self):
        mx.nd.zeros((16, 16))

    def time_from_numpy(self):
        mx.nd.array(self.host)

    def time_to_numpy(self):
        self.a.asnumpy()

    def time_row(self):
        self.a[3]

    def time_slice(self):
        self.a[3:9, ::2]

    def time_assign(self):
        self.a[3:9] = 1.0

    def time_scalar(self):
        self.a[0, 0].asscalar()
