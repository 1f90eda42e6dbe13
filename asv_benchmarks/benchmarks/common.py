"""What the benchmarks share. Only add to it: a changed value would make old results incomparable."""

import numpy as np

import mxcore as mx

DEVICES = ("cpu", "gpu")


def device(name: str) -> "mx.Context":
    """The context of a device kind; where the machine has none, the benchmark is skipped."""
    if name == "gpu" and mx.num_gpus() == 0:
        raise NotImplementedError("no GPU here")
    return mx.Context(name, 0)


def uniform(*shape: int, ctx: "mx.Context", seed: int = 0) -> "mx.nd.NDArray":
    """Float32 numbers between -1 and 1, the same in every run."""
    return mx.nd.array(np.random.default_rng(seed).uniform(-1, 1, shape), ctx=ctx)


def labels(count: int, classes: int, ctx: "mx.Context") -> "mx.nd.NDArray":
    """Class numbers 0, 1, ... in turn."""
    return mx.nd.array(np.arange(count) % classes, ctx=ctx)
