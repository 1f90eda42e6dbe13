"""Recording and the reverse sweep."""

import mxcore as mx

from .common import DEVICES, device, uniform

CHAIN = 50


class Tape:
    """Gradients of small arrays, where bookkeeping is what costs."""

    params = (DEVICES,)
    param_names = ("device",)

    def setup(self, name):
        ctx = device(name)
        self.w, self.a, self.b = (uniform(16, 16, ctx=ctx, seed=i) for i in range(3))
        self.w.attach_grad()

    def time_exp_sum_backward(self, name):
        with mx.autograd.record():
            loss = mx.nd.exp(self.w).sum()
        loss.backward()
        mx.nd.waitall()

    def time_chain_record(self, name):
        with mx.autograd.record():
            z = self.w
            for _ in range(CHAIN):
                z = z * self.a + self.b
        mx.nd.waitall()

    def time_chain_backward(self, name):
        with mx.autograd.record():
            z = self.w
            for _ in range(CHAIN):
                z = z * self.a + self.b
        z.backward()
        mx.nd.waitall()

    def time_second_order(self, name):
        with mx.autograd.record():
            y = mx.nd.tanh(self.w)
            slope = mx.autograd.grad(y, self.w, create_graph=True, retain_graph=True)[0]
        slope.backward()
        mx.nd.waitall()


class Memory:
    """The tape lets go of what the sweep has passed."""

    def peakmem_deep_chain(self):
        w = uniform(512, 512, ctx=device("cpu"))
        w.attach_grad()
        with mx.autograd.record():
            z = w
            for _ in range(CHAIN):
                z = mx.nd.tanh(z)
        z.backward()
        mx.nd.waitall()
