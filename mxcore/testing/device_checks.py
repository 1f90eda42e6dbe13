"""What a device has to do beside computing operators: memory, transfer, errors, threads, random numbers.

:mod:`.training_checks` and :mod:`.leak_checks` have those of training and of what is kept.
"""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import autograd, plugins
from .. import ndarray as nd
from ..context import Context, cpu
from ..dtype import CODES, dtype_of
from ..errors import ContextError, DTypeError, MXNetError, OutOfMemoryError, ShapeError
from ..gluon import nn
from ..runtime import random as mx_random
from ..runtime.backend import RNG, XP
from ..runtime.device import device_count, device_of
from .functions import check_function, check_operators
from .leak_checks import memory_bytes_returned, memory_returned
from .training_checks import TASKS, course, filled

__all__ = ["DEVICE_CHECKS", "device_checks", "visible"]


def _same(got: Any, want: Any, what: str) -> None:
    got = got.asnumpy() if isinstance(got, nd.NDArray) else np.asarray(got)
    if got.dtype != want.dtype or got.shape != want.shape or got.tobytes() != np.ascontiguousarray(want).tobytes():
        raise AssertionError(f"{what}: {got.dtype} {got.shape} {got!r:.80}, expected {want.dtype} {want.shape} {want!r:.80}")


def _raises(kind: type[Exception], f: Callable[[], Any], *words: str) -> None:
    """``f`` fails with the kind of error, whose text has the words; also if the failure shows only when it is waited for."""
    try:
        result = f()
        if isinstance(result, nd.NDArray):
            result.wait_to_read()
    except kind as error:
        missing = [w for w in words if w not in str(error)]
        if missing:
            raise AssertionError(f"the error lacks {missing}: {error}") from error
        return
    raise AssertionError(f"{kind.__name__} was expected")


# ---------------------------------------------------------------- memory
def memory_round_trip(ctx: Context) -> None:
    """Every data type and shape comes back from the device bit for bit."""
    dev = device_of(ctx)
    for name in CODES.values():
        for shape in ((3, 4), (0, 3), (1,), (2, 1, 3), (1000,)):
            a = (np.arange(np.prod(shape)).reshape(shape) % 7).astype(dtype_of(name))
            _same(dev.backend.to_host(dev.backend.from_host(a, dev.index)), a, f"{name} {shape} to the device and back")
            _same(nd.array(a, ctx=ctx, dtype=a.dtype), a, f"nd.array of {name} {shape}")


def memory_is_copied(ctx: Context) -> None:
    """What came from the host, or went there, shares nothing with the device; strides of the host do not matter."""
    a = np.arange(12.0).reshape(3, 4)
    x = nd.array(a, ctx=ctx, dtype="float64")
    y = nd.array(a.T[::-1, ::2], ctx=ctx, dtype="float64")
    _same(y, np.ascontiguousarray(a.T[::-1, ::2]), "a strided array of the host")
    a[:] = 0
    _same(x, np.arange(12.0).reshape(3, 4), "the host's array was written after the transfer")
    host = x.asnumpy()
    host[:] = 7
    _same(x, np.arange(12.0).reshape(3, 4), "the host's copy was written")


def memory_empty(ctx: Context) -> None:
    """``empty`` has the shape and type asked for, and is memory of its own."""
    dev = device_of(ctx)
    for name in ("float32", "int64", "bool", "bfloat16"):
        raw = dev.backend.empty((2, 3), dtype_of(name), dev.index)
        if raw.shape != (2, 3) or raw.dtype != dtype_of(name) or type(raw) is not dev.array_type:
            raise AssertionError(f"empty((2, 3), {name}) is {type(raw)} {raw.dtype} {raw.shape}")
    x, y = nd.zeros((4,), ctx=ctx), nd.zeros((4,), ctx=ctx)
    x[:] = 1
    _same(y, np.zeros(4, np.float32), "two arrays share memory")


def memory_views(ctx: Context) -> None:
    """Basic indexing gives views that write through; ``own`` gives arrays that do not."""
    x = nd.array(np.arange(12.0).reshape(3, 4), ctx=ctx)
    x[1:3][:] = -1
    want = np.arange(12, dtype=np.float32).reshape(3, 4)
    want[1:3] = -1
    _same(x, want, "writing through a view")
    y = x[0]
    y += 5
    want[0] += 5
    _same(x, want, "adding to a view in place")
    backend = device_of(ctx).backend
    owned = backend.own(x._data[0])
    device_of(ctx).xp.setitem(owned, slice(None), 9.0)
    _same(x, want, "writing to what own() gave for a view")
    _same(x.copy().T, np.ascontiguousarray(want.T), "a transposed copy")


def memory_reports(ctx: Context) -> None:
    """Free and total bytes, the cache, waiting."""
    dev = device_of(ctx)
    free, total = dev.backend.memory_info(dev.index)
    if not (isinstance(free, int) and isinstance(total, int) and 0 <= free <= total and total > 0):
        raise AssertionError(f"memory_info gives {free!r} free of {total!r} bytes")
    if dev.backend.device_count() < 1:
        raise AssertionError("device_count is less than 1 on a device that is there")
    x = nd.ones((3,), ctx=ctx) * 2
    dev.backend.synchronize(dev.index)
    dev.backend.synchronize()
    dev.backend.empty_cache(dev.index)
    x.wait_to_read()
    nd.waitall()
    _same(x, np.full(3, 2, np.float32), "a result after synchronize and empty_cache")


def memory_writes_are_heard(ctx: Context) -> None:
    """What compiled programs keep of parameters is made anew when one was written: whole, in part, through views of views."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 1, in_channels=4), nn.BatchNorm(in_channels=4))  # folded: one weight follows from five parameters
    net.initialize(ctx=ctx)
    net.hybridize()
    x = nd.array(np.random.default_rng(0).normal(size=(2, 4, 3, 3)), ctx=ctx)
    weight, bias = net[0].weight.data(ctx), net[0].bias.data(ctx)
    for name, target in (("whole", weight), ("a row", weight[1:2]), ("a view of a view", weight.reshape((2, 8))[1:][0])):
        for value in (2.0, 3.0):  # the second time nothing but the write tells
            net(x)
            target[:] = value
            target += 1
            want = nd.Convolution(x, weight, bias, kernel=(1, 1), num_filter=4) / (1 + 1e-5) ** 0.5
            np.testing.assert_allclose(net(x).asnumpy(), want.asnumpy(), rtol=1e-4, atol=1e-4,
                                       err_msg=f"a compiled network after its weight was written ({name})")


# ---------------------------------------------------------------- transfer
def visible() -> list[Context]:
    """The CPU, and the devices of all installed backends, each by the backend's name; of each backend two at most."""
    names = sorted({info.name for info in plugins.backend_infos()})
    return [cpu(), *(Context(name, i) for name in names for i in range(min(device_count(name), 2)))]


def _own(ctx: Context) -> list[Context]:
    """The devices of the kind, three at most; of the CPU, whose numbers mean the same memory, two."""
    count = 2 if ctx.device_type == "cpu" else device_count(ctx.device_type)
    return list(dict.fromkeys([ctx, *(Context(ctx.device_type, i) for i in range(min(count, 3)))]))


def transfer_between_devices(ctx: Context) -> None:
    """Between each device of the kind and every device that is visible, both ways: bit for bit, into memory of its own."""
    own = _own(ctx)
    pairs = [(here, there) for here in own for there in dict.fromkeys([*own, *visible()])]
    for source, target in dict.fromkeys([*pairs, *((there, here) for here, there in pairs)]):
        what = f"from {source} to {target}"
        for name in ("float32", "float64", "bfloat16", "int64", "bool"):
            a = (np.arange(12).reshape(3, 4) % 5).astype(dtype_of(name))
            x = nd.array(a, ctx=source, dtype=a.dtype)
            y = x.as_in_context(target)
            _same(y, a, f"{name} {what}")
            if y.context != target:
                raise AssertionError(f"as_in_context {what} is on {y.context}")
            z = nd.zeros((3, 4), ctx=target, dtype=a.dtype)
            x[1:].copyto(z[1:])
            _same(z, np.concatenate([np.zeros_like(a[:1]), a[1:]]), f"a part of an array of {name}, into a part, {what}")
            z[:] = x
            _same(z, a, f"an array of {name}, assigned {what}")
            x.T.copyto(z.reshape((4, 3)))
            _same(z, np.ascontiguousarray(a.T).reshape(3, 4), f"a transposed array of {name} {what}")
            y = x.copyto(target)
            y[:] = 0
            _same(x, a, f"an array of {name}, after its copy {what} was written,")
        _same(nd.zeros((0, 3), ctx=source).copyto(target), np.zeros((0, 3), np.float32), f"an empty array {what}")


def transfer_of_gradients(ctx: Context) -> None:
    """A gradient is on the device of its array, and has its history from there alone."""
    a = np.random.default_rng(0).uniform(size=(5, 7)).astype(np.float32)
    x = nd.array(a).as_in_context(ctx)
    x.attach_grad()
    with autograd.record():
        y = (x * x).sum()
    y.backward()
    assert x.grad is not None
    _same(x.grad, a * 2, "a gradient")
    if x.grad.context != ctx:
        raise AssertionError(f"the gradient of an array on {ctx} is on {x.grad.context}")


def transfer_dlpack(ctx: Context) -> None:
    """DLPack out and in, on the same memory."""
    backend = device_of(ctx).backend
    for name in ("float32", "float64", "float16", "int32", "int64", "uint8", "bool"):
        a = (np.arange(6).reshape(2, 3) % 2).astype(name)
        x = nd.array(a, ctx=ctx, dtype=name)
        back = backend.from_dlpack(x)
        _same(backend.to_host(back), a, f"{name} through DLPack")
    kind, number = backend.dlpack_device(x._data)
    if not (isinstance(int(kind), int) and number >= 0):
        raise AssertionError(f"dlpack_device gives {(kind, number)}")


def transfer_pickle(ctx: Context) -> None:
    """Pickles carry the values."""
    x = nd.array([[1, 2.5]], ctx=ctx)
    _same(pickle.loads(pickle.dumps(x)), np.array([[1, 2.5]], np.float32), "through a pickle")


# ---------------------------------------------------------------- errors
def errors_are_explained(ctx: Context) -> None:
    """Errors name the operator, its arguments and the relation; afterwards the device computes on."""
    data, weight = nd.ones((2, 3), ctx=ctx), nd.ones((4, 5), ctx=ctx)
    _raises(ShapeError, lambda: nd.FullyConnected(data, weight, num_hidden=4, no_bias=True), "FullyConnected", "(2, 3)", "(4, 5)")
    _raises(ShapeError, lambda: nd.elemwise_add(data, weight), "elemwise_add")
    _raises(ShapeError, lambda: nd.broadcast_add(data, weight), "broadcast_add")
    _raises(ShapeError, lambda: nd.concat(data, weight, dim=0))
    _raises(ShapeError, lambda: nd.reshape(data, shape=(4, 5)), "Reshape")
    _raises(DTypeError, lambda: nd.elemwise_mul(data, nd.ones((2, 3), ctx=ctx, dtype="float64")), "float64")
    _same(data + data, np.full((2, 3), 2, np.float32), "a sum after errors")


def errors_of_devices(ctx: Context) -> None:
    """Arrays of different devices do not meet, whichever; devices that are not there are named."""
    here = nd.ones((2, 2), ctx=ctx)
    net = nn.Dense(2, in_units=2)
    net.initialize(ctx=ctx)
    for other in dict.fromkeys([*_own(ctx), *visible()]):
        if other == ctx:
            continue
        there = nd.ones((2, 2), ctx=other)

        def add_in_place(there: nd.NDArray = there) -> nd.NDArray:
            mine = here.copy()
            mine += there
            return mine

        def record(there: nd.NDArray = there) -> nd.NDArray:
            here.attach_grad()
            with autograd.record():
                return nd.dot(here, there)

        for f in (partial(nd.broadcast_add, here, there), partial(nd.concat, here, there), partial(nd.dot, there, here),
                  add_in_place, record, partial(nd.FullyConnected, there, here, num_hidden=2, no_bias=True)):
            _raises(ContextError, f, str(ctx), str(other))
        for hybridized in (False, True):
            net.hybridize(hybridized)
            net(here)
            _raises(MXNetError, partial(net, there), str(ctx), str(other))
            _same(net(here), net(here).asnumpy(), "a network after an input of another device")
    _same(here + here, np.full((2, 2), 2, np.float32), "a sum after errors")
    if ctx.device_type != "cpu":
        count = device_count(ctx.device_type)
        _raises(ContextError, lambda: nd.ones((2,), ctx=Context(ctx.device_type, count + 5)), str(count))


def errors_of_memory(ctx: Context) -> None:
    """Too large an array is an OutOfMemoryError, and the next one is made."""
    _raises(OutOfMemoryError, lambda: nd.zeros((2**25, 2**27), ctx=ctx))
    _raises(OutOfMemoryError, lambda: nd.empty((2**25, 2**27), ctx=ctx))
    _raises(MXNetError, lambda: nd.broadcast_to(nd.ones((1, 1), ctx=ctx), shape=(2**25, 2**27)))
    _same(nd.zeros((2,), ctx=ctx), np.zeros(2, np.float32), "an array after one that was too large")


# ---------------------------------------------------------------- threads
def _in_threads(work: Callable[[int], None], count: int = 6) -> None:
    failures: list[BaseException] = []

    def guarded(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def threads_compute(ctx: Context) -> None:
    """Threads compute at the same time, with arrays of their own and with a common one, eagerly and with gradients."""
    common = nd.array(np.eye(8), ctx=ctx)

    def work(i: int) -> None:
        x = nd.full((8, 8), i + 1.0, ctx=ctx)
        x.attach_grad()
        for step in range(5):
            with autograd.record():
                y = (nd.dot(x, common) * x).sum()
            y.backward()
            _same(x.grad, np.full((8, 8), 2 * (i + 1.0), np.float32), f"the gradient of thread {i}, step {step}")

    _in_threads(work)


def threads_keep_apart(ctx: Context) -> None:
    """Recording in one thread records nothing in another."""
    inside, checked = threading.Event(), threading.Event()
    seen = []

    def work(i: int) -> None:
        if i == 0:
            with autograd.record():
                inside.set()
                checked.wait(10)
        else:
            inside.wait(10)
            x = nd.ones((2,), ctx=ctx)
            x.attach_grad()
            seen.append((autograd.is_recording(), (x * 2)._entry is None))
            checked.set()

    _in_threads(work, 2)
    if seen != [(False, True)]:
        raise AssertionError(f"the second thread recorded: {seen}")


def threads_train(ctx: Context) -> None:
    """Threads train hybridized networks of their own and ask a common one, all at once: each gets what it gets alone."""
    common = filled(TASKS["mlp"], ctx)
    common.hybridize()
    inputs = [nd.array(np.random.default_rng(i).normal(size=(i + 1, 10)), ctx=ctx) for i in range(6)]
    answers = [common(x).asnumpy() for x in inputs]
    ways = [("mlp", "sgd", "hybridized"), ("convnet", "adam", "hybridized"), ("mlp", "adam", "eager")]
    alone = [course(TASKS[net], ctx, optimizer, mode, seed=9, steps=5) for net, optimizer, mode in ways]

    def work(i: int) -> None:
        net, optimizer, mode = ways[i % 3]
        losses, outputs = course(TASKS[net], ctx, optimizer, mode, seed=9, steps=5)
        np.testing.assert_allclose(losses, alone[i % 3][0], rtol=1e-4, err_msg=f"the losses of {ways[i % 3]} in thread {i}")
        np.testing.assert_allclose(outputs, alone[i % 3][1], rtol=1e-2, atol=1e-3, err_msg=f"{ways[i % 3]} in thread {i}")
        for _ in range(5):
            np.testing.assert_allclose(common(inputs[i]).asnumpy(), answers[i], rtol=1e-4, atol=1e-5,
                                       err_msg=f"the common network in thread {i}")

    _in_threads(work)


def threads_hand_over(ctx: Context) -> None:
    """What one thread has computed, another computes on with at once, without waiting for the device."""
    ready: queue.Queue[nd.NDArray | None] = queue.Queue()
    sums: list[nd.NDArray] = []

    def work(i: int) -> None:
        if i == 0:
            try:
                for k in range(30):
                    x: Any = nd.full((64, 64), k, ctx=ctx)
                    for _ in range(4):
                        x = nd.dot(x, nd.full((64, 64), 1 / 64, ctx=ctx))
                    ready.put(x)
            finally:
                ready.put(None)
        else:
            while (given := ready.get(timeout=60)) is not None:
                sums.append((given * 2).mean())

    _in_threads(work, 2)
    _same(nd.concat(*sums, dim=0), np.arange(30, dtype=np.float32) * 2, "means that a second thread took")


# ---------------------------------------------------------------- random numbers
def random_streams(ctx: Context) -> None:
    """A seed determines what follows; devices have different streams; no two calls are alike."""

    def draw(where: Context) -> np.ndarray:
        return nd.random_normal(shape=(50,), ctx=where).asnumpy()

    mx_random.seed(3)
    first, second = draw(ctx), draw(ctx)
    mx_random.seed(3)
    _same(draw(ctx), first, "the numbers after a seed")
    if np.array_equal(first, second):
        raise AssertionError("two calls gave the same random numbers")
    mx_random.seed(4)
    if np.array_equal(draw(ctx), first):
        raise AssertionError("two seeds gave the same random numbers")
    if device_of(ctx).backend.device_count() > 1:
        mx_random.seed(3)
        if np.array_equal(draw(Context(ctx.device_type, int(ctx.device_id == 0))), first):
            raise AssertionError("two devices gave the same random numbers")


def random_generator(ctx: Context) -> None:
    """Every method of a generator: shapes, types, moments."""
    dev = device_of(ctx)
    rng = dev.backend.rng(1, dev.index)
    missing = [n for n in RNG if not hasattr(rng, n)]
    if missing:
        raise AssertionError(f"the generator lacks {missing}")

    def host(raw: Any) -> np.ndarray:
        return dev.backend.to_host(raw)

    def moments(raw: Any, dtype: str, mean: float, var: float) -> None:
        a = host(raw)
        if a.shape != (60, 50) or (dtype and a.dtype != dtype):
            raise AssertionError(f"{a.dtype} {a.shape}, expected {dtype} (60, 50)")
        a = a.astype(np.float64)
        if abs(a.mean() - mean) > 5 * np.sqrt(var / a.size) or abs(a.var() - var) > 0.25 * var:
            raise AssertionError(f"mean {a.mean()}, variance {a.var()}; expected {mean} and {var}")

    size = (60, 50)
    for dtype in ("float32", "float64"):
        moments(rng.random(size, dtype=dtype), dtype, 0.5, 1 / 12)
        moments(rng.standard_normal(size, dtype=dtype), dtype, 0, 1)
        moments(rng.standard_exponential(size, dtype=dtype), dtype, 1, 1)
        moments(rng.standard_gamma(2.5, size, dtype=dtype), dtype, 2.5, 2.5)
        lam = dev.backend.from_host(np.full((60, 1), 3, dtype), dev.index)
        moments(rng.standard_gamma(lam, size, dtype=dtype), dtype, 3, 3)
        moments(rng.poisson(lam, size), "", 3, 3)
    moments(rng.poisson(4.0, size), "", 4, 4)
    moments(rng.integers(0, 5, size, dtype="int32"), "int32", 2, 2)
    a = host(rng.random(size, dtype="float32"))
    if a.min() < 0 or a.max() >= 1:
        raise AssertionError(f"random() reaches from {a.min()} to {a.max()}")
    np.testing.assert_array_equal(np.sort(host(rng.permutation(20))), np.arange(20))
    one = rng.random()
    if not isinstance(one, float) and one.shape != ():
        raise AssertionError(f"random() without a size has shape {one.shape}")


# ---------------------------------------------------------------- raw arrays
def raw_operators(ctx: Context) -> None:
    """Python's operators and basic indexing on raw arrays."""
    check_operators(device_of(ctx).backend)


def _function_check(name: str) -> Callable[[Context], None]:
    def check(ctx: Context) -> None:
        check_function(device_of(ctx).backend, name)

    check.__doc__ = f"``xp.{name}`` on its examples."
    return check


#: name -> check of a device
DEVICE_CHECKS: dict[str, Callable[[Context], None]] = {
    f.__name__: f for f in (
        memory_round_trip, memory_is_copied, memory_empty, memory_views, memory_writes_are_heard, memory_reports,
        memory_returned, memory_bytes_returned, transfer_between_devices, transfer_of_gradients, transfer_dlpack,
        transfer_pickle, errors_are_explained, errors_of_devices, errors_of_memory, threads_compute, threads_keep_apart,
        threads_train, threads_hand_over, random_streams, random_generator, raw_operators)
}


def device_checks() -> dict[str, Callable[[Context], None]]:
    """All checks of a device, those of the functions of its ``xp`` included, by name."""
    return DEVICE_CHECKS | {f"xp_{name}": _function_check(name) for name in XP}
