"""Memory comes back: arrays die with their last reference, and a thousand steps of training need no more than a few."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import SkipTest
from weakref import ref

import numpy as np

from .. import autograd
from .. import ndarray as nd
from ..context import Context
from ..errors import MXNetError
from ..gluon import Trainer
from ..gluon.nn import Dense
from ..runtime.device import device_of

__all__ = ["leak_checks", "memory_bytes_returned", "memory_returned"]

MEBI = 2**20
WARM, SEGMENTS, STEPS = 100, 4, 250  # steps before the first reading, and between readings


def _tidy(ctx: Context) -> None:
    """Let go of all that nobody refers to, on the host and on the device."""
    nd.waitall()
    gc.collect()
    ctx.empty_cache()


# ---------------------------------------------------------------- what is returned
def memory_returned(ctx: Context) -> None:
    """Raw arrays live no longer than what refers to them: results, gradients, hybridized networks, calls that failed."""
    found: dict[str, list[ref]] = {}

    def watch(what: str, *arrays: Any) -> None:
        for raw in [a._data for a in arrays]:
            try:
                found.setdefault(what, []).append(ref(raw))
            except TypeError as error:
                raise SkipTest(f"nobody can tell whether a raw array lives: {error}") from error

    def work() -> None:
        x = nd.array(np.ones((16, 16)), ctx=ctx)
        x.attach_grad()
        with autograd.record():
            y = nd.softmax(nd.dot(x, x)) * x
        y.backward()
        watch("arrays of an eager call and its gradient", x, y, x.grad)
        try:
            nd.elemwise_add(x, y[:, 1:])
        except MXNetError:
            watch("arrays of a call that failed", x, y)
        net = Dense(16, in_units=16)
        net.initialize(ctx=ctx)
        net.hybridize()
        trainer = Trainer(net.collect_params(), "adam")
        for _ in range(3):
            with autograd.record():
                z = net(x.detach())
            z.backward()
            trainer.step(16)
        watch("arrays of a hybridized network", z, net(x), *[p.data(ctx) for p in net.collect_params().values()],
              *[p.grad(ctx) for p in net.collect_params().values()])

    work()
    _tidy(ctx)
    alive = {what: sum(r() is not None for r in refs) for what, refs in found.items()}
    if any(alive.values()):
        raise AssertionError(f"raw arrays that nobody refers to are alive: {alive}; of {({w: len(r) for w, r in found.items()})}")


@contextmanager
def _metered(ctx: Context) -> Iterator[Callable[[], int]]:
    """A function that tells the bytes that arrays hold on a device.

    They are what Python's allocator tells (it knows NumPy's memory), or the backend's ``memory_info``: the first that
    follows, to a quarter, arrays that are made and deleted.

    Raises
    ------
    SkipTest
        Neither does, as where other programs use the memory that ``memory_info`` tells of.
    """
    dev = device_of(ctx)

    def traced() -> int:
        return tracemalloc.get_traced_memory()[0]

    def told() -> int:
        free, total = dev.backend.memory_info(dev.index)
        return total - free

    def follows(read: Callable[[], int]) -> bool:
        for _ in range(3):
            _tidy(ctx)
            before = read()
            held = [dev.backend.from_host(np.ones(MEBI, np.uint8), dev.index) for _ in range(8)]
            dev.backend.synchronize(dev.index)
            during = read()
            del held
            _tidy(ctx)
            if not (6 * MEBI < during - before < 10 * MEBI and abs(read() - before) < 2 * MEBI):
                return False
        return True

    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        if follows(traced):
            yield traced
            return
    finally:
        if ours:
            tracemalloc.stop()
    if not follows(told):
        raise SkipTest("neither memory_info nor Python's allocator follows the arrays that are made and deleted")
    yield told


def memory_bytes_returned(ctx: Context) -> None:
    """The bytes of deleted arrays, and those of a hybridized network's block, are free again."""
    with _metered(ctx) as read:
        _tidy(ctx)
        before = read()
        held = [nd.full((256, 1024), i, ctx=ctx) + 1 for i in range(16)]
        net = Dense(256, in_units=1024, flatten=False)
        net.initialize(ctx=ctx)
        net.hybridize()
        with autograd.record():
            held.append(net(held[0]))
        held[-1].backward()
        nd.waitall()
        during = read()
        if during - before < 16 * MEBI:
            raise AssertionError(f"arrays of 16 MiB took {during - before} bytes")
        del held, net
        _tidy(ctx)
        after = read()
        if after - before > 2 * MEBI:
            raise AssertionError(f"of {during - before} bytes {after - before} were not given back")


# ---------------------------------------------------------------- what does not grow
def _training(ctx: Context, hybridized: bool) -> Callable[[], None]:
    """One step of training, with the loss looked at: a layer of 4 KiB."""
    net = Dense(32, in_units=32)
    net.initialize(ctx=ctx)
    if hybridized:
        net.hybridize()
    trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 1e-3, "momentum": 0.9})
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(8, 32))

    def step() -> None:
        x = nd.array(batch, ctx=ctx)
        with autograd.record():
            loss = (net(x) ** 2).mean()
        loss.backward()
        trainer.step(8)
        if not np.isfinite(loss.asscalar()):
            raise AssertionError("the loss is not a finite number")

    return step


def _course(ctx: Context, hybridized: bool, read: Callable[[], Any]) -> list[Any]:
    """Readings after the warm-up and after each segment of the thousand steps."""
    step = _training(ctx, hybridized)
    for _ in range(WARM):
        step()
    _tidy(ctx)
    readings = [read()]
    for _ in range(SEGMENTS):
        for _ in range(STEPS):
            step()
        _tidy(ctx)
        readings.append(read())
    return readings


def _leak_objects(ctx: Context, hybridized: bool) -> None:
    """Nothing gathers: there are not more objects after every 250 steps, one for ten steps.

    What grows now and then (a cache that fills, a thread that compiles) does not grow in each of four segments.
    """
    kinds: list[Counter] = []

    def count() -> tuple[int, int]:
        objects = gc.get_objects()
        if not kinds:
            kinds.append(Counter(map(type, objects)))
        return len(objects), sys.getallocatedblocks()  # the second knows what the collector does not: NumPy's arrays

    readings = _course(ctx, hybridized, count)
    grown = [min(b[i] - a[i] for a, b in pairwise(readings)) for i in range(2)]
    if max(grown) >= STEPS // 10:
        more = Counter(map(type, gc.get_objects())) - kinds[0]
        most = ", ".join(f"{n} {kind.__qualname__}" for kind, n in more.most_common(4)) or "arrays of NumPy or the like"
        raise AssertionError(f"each {STEPS} steps of training leave behind at least {grown[0]} objects and {grown[1]} blocks of "
                             f"memory of objects; most of them, in {SEGMENTS * STEPS} steps: {most}")


def _leak_bytes(ctx: Context, hybridized: bool) -> None:
    """A thousand steps take less than 1 KiB a step for good; each has arrays of 1 and of 4 KiB."""
    with _metered(ctx) as read:
        first, *_, last = _course(ctx, hybridized, read)
    if last - first >= SEGMENTS * STEPS * 1024:
        raise AssertionError(f"{SEGMENTS * STEPS} steps of training keep {last - first} bytes for good")


def leak_checks() -> dict[str, Callable[[Context], None]]:
    """All checks for leaks, by name."""
    return {f"{name}-{mode}": partial(check, hybridized=mode == "hybridized")
            for name, check in (("objects", _leak_objects), ("bytes", _leak_bytes)) for mode in ("eager", "hybridized")}
