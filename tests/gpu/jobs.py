"""What is measured, each job in a process of its own: rows of figures, and the kernels that take longest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import ours
from bench import Bench, Variant

__all__ = ["perform"]

Entry = dict[str, Any]
SGD = {"learning_rate": 0.01, "momentum": 0.9}
#: whose kernels are listed
PROFILED = ("mxcore hybridized", "PyTorch")


def perform(bench: Bench, what: str, precision: str) -> Iterator[Entry]:
    """Entries as they are known: ``{"row": ...}`` or ``{"kernels": ...}``."""
    bench.load_libraries()
    yield from _WORK[what](bench, precision)


def _milliseconds(seconds: float) -> float:
    return seconds * 1e3


def _row(bench: Bench, what: str, label: str, variants: list[Variant], remarks: list[str] | None = None,
         scale: Callable[[float], float] = _milliseconds) -> Entry:
    bench.compare(variants)
    return {"row": {"what": what, "label": label, "remarks": sorted(set(remarks or ())),
                    "cells": {v.name: v.result(scale) for v in variants}}}


def _kernels(bench: Bench, label: str, variants: list[Variant]) -> Iterator[Entry]:
    for v in variants:
        if v.name in PROFILED and v.step is not None and bench.torch is not None:
            try:
                found = bench.kernels(v.step)
            except Exception as error:  # the rows that follow matter more
                yield {"remark": f"{label}, {v.name}: no profile: {type(error).__name__}: {error}", "failed": True}
            else:
                yield {"kernels": {"label": f"{label}, {v.name}", **found}}


# ---------------------------------------------------------------------------------------------------- training steps
def _sides(bench: Bench, network: str, arguments: dict[str, Any], x: np.ndarray, y: np.ndarray, precision: str, optimizer: str,
           options: dict[str, float], ways: tuple[str, ...], others: dict[str, dict]) -> tuple[list[Variant], list[str]]:
    """The variants of a training step, and what mxcore's programs will say of themselves.

    Parameters
    ----------
    network : str
        Its name, in both modules, which takes ``arguments``.
    ways : tuple of str
        As of ``ours.training``.
    others : dict
        What follows ``PyTorch`` in the name of a variant, to further arguments of ``theirs.training``.
    """
    dtype = "float32" if precision == "tf32" else precision
    remarks: list[str] = []
    make = partial(getattr(ours, network), **arguments)
    variants = [Variant(f"mxcore {way}", partial(ours.training, make, x, y, bench.ctx, dtype, optimizer, options, way, remarks))
                for way in ways]
    if bench.torch is not None:
        import theirs

        for name, more in others.items():
            make = partial(getattr(theirs, network), **arguments, **more if network == "Encoder" else {})
            variants.append(Variant(f"PyTorch{name}", partial(theirs.training, make, x, y, bench.torch_device, dtype, optimizer,
                                                              options, **more)))
    return variants, remarks


def _resnet50(bench: Bench, precision: str) -> Iterator[Entry]:
    network, many, size = {"layers": [3, 4, 6, 3], "channels": [64, 256, 512, 1024, 2048], "classes": 1000}, 64, 224
    if bench.tiny:
        network, many, size = {"layers": [1, 1], "channels": [8, 16, 32], "classes": 10}, 2, 32
    x = bench.uniform(many, 3, size, size)
    variants, remarks = _sides(bench, "resnet", network, x, np.arange(many) % 10, precision, "sgd", SGD, ("hybridized", "static_alloc"),
                               {"": {}, ", channels last": {"channels_last": True}})
    yield _row(bench, "resnet50", precision, variants, remarks)
    yield from _kernels(bench, f"ResNet-50 {precision}", variants)


def _transformer(bench: Bench, precision: str) -> Iterator[Entry]:
    network = {"layers": 12, "width": 768, "heads": 12, "inner": 3072, "length": 128, "words": 30000, "classes": 2}
    many = 32
    if bench.tiny:
        network, many = {"layers": 2, "width": 16, "heads": 2, "inner": 32, "length": 6, "words": 50, "classes": 2}, 2
    x = bench.random.integers(0, network["words"], (many, network["length"]))
    options = {"learning_rate": 1e-4, "epsilon": 1e-4 if precision == "float16" else 1e-8}  # 1e-8 is 0 in float16
    for dropout in (0.0, 0.1):
        label = f"{precision}, dropout {dropout:g}"
        variants, remarks = _sides(bench, "Encoder", {**network, "dropout": dropout}, x, np.arange(many) % 2, precision, "adam",
                                   options, ("hybridized", "static_alloc"),
                                   {"": {}, ", fused attention and Adam": {"fused": True}})
        yield _row(bench, "transformer", label, variants, remarks)
        if not dropout:
            yield from _kernels(bench, f"Transformer {label}", variants)
        del variants  # and the memory that they hold


def _lenet(bench: Bench, precision: str) -> Iterator[Entry]:
    many = 2 if bench.tiny else 64
    variants, remarks = _sides(bench, "lenet", {}, bench.uniform(many, 1, 28, 28), np.arange(many) % 10, precision, "sgd", SGD,
                               ("eager", "hybridized", "static_alloc", "one block"), {"": {}})
    yield _row(bench, "lenet", precision, variants, remarks)
    yield from _kernels(bench, f"LeNet {precision}", variants)


def _lstm(bench: Bench, precision: str) -> Iterator[Entry]:
    words, width, length, many = (20, 8, 3, 2) if bench.tiny else (1000, 200, 35, 32)
    x = bench.random.integers(0, words, (length, many))
    variants, remarks = _sides(bench, "LanguageModel", {"words": words, "width": width}, x, x, precision, "sgd", SGD,
                               ("hybridized", "static_alloc"), {"": {}})
    yield _row(bench, "lstm", precision, variants, remarks)


# --------------------------------------------------------------------------------------------------- single operators
def _small(bench: Bench, precision: str) -> Iterator[Entry]:
    """Calls on 4x4 arrays, as many as can be issued."""
    calls, links = (10, 5) if bench.tiny else (1000, 50)
    mx, nd = bench.mx, bench.mx.nd
    a, b, bias = nd.ones((4, 4), ctx=bench.ctx), nd.ones((4, 4), ctx=bench.ctx), nd.ones((4,), ctx=bench.ctx)
    w = nd.ones((4, 4), ctx=bench.ctx)
    w.attach_grad()

    def chain() -> None:
        with mx.autograd.record():
            z = w
            for _ in range(links):
                z = z * a + b
        z.backward()

    ours: dict[str, Callable[[], Any]] = {
        "add": lambda: a + b, "relu": lambda: nd.relu(a), "softmax": lambda: nd.softmax(a),
        "dense": lambda: nd.FullyConnected(a, b, bias, num_hidden=4), "chain and backward, each operator": chain}
    theirs: dict[str, Callable[[], Any]] = {}
    torch = bench.torch
    if torch is not None:
        ta, tb, tw = (torch.ones(4, 4, device=bench.torch_device) for _ in range(3))
        tbias = torch.ones(4, device=bench.torch_device)
        tw.requires_grad_()

        def their_chain() -> None:
            tw.grad = None
            z = tw
            for _ in range(links):
                z = z * ta + tb
            z.backward(ta)

        theirs = {"add": lambda: ta + tb, "relu": lambda: torch.relu(ta), "softmax": lambda: torch.softmax(ta, -1),
                  "dense": lambda: torch.nn.functional.linear(ta, tb, tbias), "chain and backward, each operator": their_chain}

    def often(function: Callable[[], Any], count: int) -> Callable[[], Callable[[], None]]:
        def step() -> None:
            for _ in range(count):
                function()

        return lambda: step

    for name in ours:
        long = name.startswith("chain")
        count = calls // (10 * links) or 1 if long else calls
        variants = [Variant(side, often(table[name], count)) for side, table in (("mxcore", ours), ("PyTorch", theirs))
                    if name in table]
        yield _row(bench, "small", name, variants,
                   scale=lambda s, per=count * (2 * links if long else 1): s / per * 1e6)


def _bandwidth(bench: Bench, precision: str) -> Iterator[Entry]:
    """Large arrays; bytes are those that have to be read and written at least."""
    nd, torch = bench.mx.nd, bench.torch
    million = 1 << 10 if bench.tiny else 1 << 20
    flat, rows, images = (64 * million,), (64 * 1024, 1024), (64, 256, 56, 56)
    if bench.tiny:
        rows, images = (8, 128), (2, 4, 6, 6)
    width, channels = rows[1], images[1]
    chain = ours.Chain()
    chain.hybridize()
    if torch is not None:
        import theirs

        functional = torch.nn.functional

    def batch_norm(x: Any, *vectors: Any) -> Any:
        with bench.mx.autograd.train_mode():
            return nd.BatchNorm(x, *vectors, fix_gamma=False)

    none = (0, 0)
    # name: (shape, arrays read and written, length and number of further vectors, mxcore, PyTorch)
    table: dict[str, tuple] = {
        "chain of 12 operators, 64M": (flat, 2, none, lambda x: chain(x), lambda x: theirs.chain(x)),
        "add a number, 64M": (flat, 2, none, lambda x: x + 1, lambda x: x + 1),
        "sum, 64M": (flat, 1, none, lambda x: x.sum(), lambda x: x.sum()),
        f"sum of rows, {rows[0]}x{width}": (rows, 1, none, lambda x: x.sum(axis=1), lambda x: x.sum(1)),
        f"sum of columns, {rows[0]}x{width}": (rows, 1, none, lambda x: x.sum(axis=0), lambda x: x.sum(0)),
        "transposed copy": (rows, 2, none, lambda x: nd.transpose(x), lambda x: x.t().contiguous()),
        f"softmax of rows, {rows[0]}x{width}": (rows, 2, none, lambda x: nd.softmax(x), lambda x: torch.softmax(x, -1)),
        "layer norm of rows": (rows, 2, (width, 2), lambda x, g, b: nd.LayerNorm(x, g, b),
                               lambda x, g, b: functional.layer_norm(x, (width,), g, b)),
        f"batch norm, {'x'.join(map(str, images))}": (
            images, 2, (channels, 4), batch_norm,
            lambda x, g, b, m, v: functional.batch_norm(x, m, v, g, b, training=True))}
    for name, (shape, passes, (size, number), function, other) in table.items():
        numbers = bench.uniform(*shape)
        arrays = [nd.array(numbers, ctx=bench.ctx), *(nd.ones((size,), ctx=bench.ctx) for _ in range(number))]
        variants = [Variant("mxcore", partial(partial, function, *arrays))]  # built, it is the function with its arrays
        if torch is not None:
            tensors = [torch.from_numpy(numbers).to(bench.torch_device),
                       *(torch.ones(size, device=bench.torch_device) for _ in range(number))]
            variants.append(Variant("PyTorch", partial(partial, other, *tensors)))
        yield _row(bench, "bandwidth", name, variants, scale=lambda s, n=passes * numbers.nbytes: n / s / 1e9)


def _products(bench: Bench, precision: str) -> Iterator[Entry]:
    n = 16 if bench.tiny else 4096
    numbers = bench.uniform(n, n)
    for kind in (precision, *(("bfloat16", "float16") if precision == "float32" else ())):
        dtype = "float32" if kind == "tf32" else kind
        a = bench.mx.nd.array(numbers, ctx=bench.ctx).astype(dtype)
        variants = [Variant("mxcore", lambda a=a: lambda: bench.mx.nd.dot(a, a))]
        if bench.torch is not None:
            t = bench.torch.from_numpy(numbers).to(bench.torch_device, getattr(bench.torch, dtype))
            variants.append(Variant("PyTorch", lambda t=t: lambda: t @ t))
        yield _row(bench, "products", f"{n}x{n}, {kind}", variants, scale=lambda s: 2 * n**3 / s / 1e12)


_WORK: dict[str, Callable[[Bench, str], Iterator[Entry]]] = {
    "small": _small, "lenet": _lenet, "resnet50": _resnet50, "transformer": _transformer, "bandwidth": _bandwidth,
    "products": _products, "lstm": _lstm}
