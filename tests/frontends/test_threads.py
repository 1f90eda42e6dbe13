"""Threads: what belongs to one, and what several use at once."""

import threading

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd, sym
from mxcore.testing import loopback

loopback.install()


def together(work, count=4):
    """Run ``work(i)`` in threads that begin together; what one raises is raised here."""
    start, errors = threading.Barrier(count), []

    def body(i):
        try:
            start.wait(30)
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    if errors:
        raise errors[0]


def test_scopes_belong_to_the_thread():
    with mx.Context("loopback", 1), mx.AttrScope(mood="main"), mx.name.Prefix("main_"), autograd.record():
        def other(i):
            assert mx.current_context() == mx.cpu() and not autograd.is_recording() and not autograd.is_training()
            assert sym.var("a").list_attr() == {}
            assert sym.exp(sym.var("a")).name == "exp0"
            with mx.Context("loopback", i % 2), mx.name.Prefix(f"t{i}_"):
                assert nd.zeros(1).context == mx.Context("loopback", i % 2)
                assert sym.exp(sym.var("a")).name == f"t{i}_exp0"

        together(other)
        assert mx.current_context() == mx.Context("loopback", 1) and sym.exp(sym.var("a")).name == "main_exp0"
    assert mx.current_context() == mx.cpu()


class Net(mx.gluon.HybridBlock):
    """Holds a constant whose length follows from the input."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.dense = mx.gluon.nn.Dense(3, in_units=5, flatten=False)
            self.drop = mx.gluon.nn.Dropout(0.5)

    def hybrid_forward(self, F, x):
        return self.drop(F.tanh(self.dense(F.concat(x, F.ones(shape=(0, 1)), dim=1))))


@pytest.mark.parametrize("record", [False, True])
def test_one_net_in_several_threads(record):
    """Each thread with inputs of a length of its own."""
    net = Net()
    net.initialize(mx.init.Uniform(1))
    inputs = [nd.random.uniform(-1, 1, (n, 4)) for n in range(1, 5)]
    net.hybridize()  # a dimension of 0 is open in a graph
    wanted = [net(x).asnumpy() for x in inputs]
    net.hybridize()

    def work(i):
        x = inputs[i].copy()
        x.attach_grad()
        for _ in range(30):
            if record:
                with autograd.record():
                    y = net(x)
                assert y.shape == (i + 1, 3)
                autograd.grad(y, x)
            else:
                np.testing.assert_allclose(net(x).asnumpy(), wanted[i], rtol=1e-5)

    together(work)


def test_first_uses_at_once():
    """Kernels, attributes and derived operators are made at first use, by whichever thread comes first."""
    from mxcore.registry import OPS
    from mxcore.registry.kernels import clear

    clear("numpy")
    for name in [n for n in OPS if n.startswith("_grad")]:
        OPS[name].schema.cache.clear()

    def work(i):
        x = nd.array([0.5, 1.5], dtype="float64")
        x.attach_grad()
        with autograd.record():
            y = nd.arctan(x) * nd.cbrt(x) + nd.log1p(x + i)
            g, = autograd.grad(y, x, create_graph=True)
        g.backward()
        v = x.asnumpy()
        want = np.cbrt(v) / (1 + v**2) + np.arctan(v) / (3 * np.cbrt(v) ** 2) + 1 / (1 + v + i)
        np.testing.assert_allclose(g.asnumpy(), want, rtol=1e-9)

    together(work, 8)


def test_operators_of_a_fresh_process_are_loaded_once(tmp_path):
    """Threads that touch ``mx.nd`` at the same moment, in a program that has done nothing else."""
    import subprocess
    import sys

    program = """
import threading
import mxcore as mx
start, seen = threading.Barrier(6), []
def work(i):
    start.wait(30)
    seen.append(float((mx.nd.ones(3) * i).sum().asscalar()))
threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sorted(seen), "mish" in vars(mx.nd) or "modern_ops" not in {r.name for r in mx.plugins.records()})
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[0.0, 3.0, 6.0, 9.0, 12.0, 15.0] True\n", done.stderr
