"""How the checks call a sample's operator, and how they compare what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import autograd
from .. import ndarray as nd
from .. import symbol as sym
from ..context import Context
from ..dtype import is_floating
from ..ndarray.ndarray import NDArray
from ..registry.op import APPLY, OPS
from ..runtime import random as mx_random
from ..runtime.device import device_of
from ..runtime.invoke import create
from ..symbol.symbol import Symbol, compose
from .sampling import Sample

__all__ = ["SEED", "bound", "call", "close", "floating", "given", "has_outputs", "mode", "named", "near", "on_device", "seed",
           "symbol_of", "wanted", "written"]

SEED = 7


def seed() -> None:
    """Random operators draw the same numbers after every call of this."""
    mx_random.seed(SEED)


def on_device(arrays: Sequence[np.ndarray], ctx: Context) -> list[NDArray]:
    """The arrays on a device, of the same types."""
    return [nd.array(a, ctx=ctx, dtype=a.dtype) for a in arrays]


def given(s: Sample, ctx: Context, dtype: str = "float64") -> list[NDArray]:
    """The inputs of a sample on a device."""
    return on_device(s.arrays(dtype), ctx)


def mode(s: Sample) -> Any:
    """The scope (training or not) in which the sample runs."""
    return autograd.train_mode() if s.train else autograd.predict_mode()


def call(s: Sample, arrays: Sequence[NDArray], ctx: Context) -> list[NDArray]:
    """The visible outputs of the sample's operator."""
    op = OPS[s.op]
    attrs = op.parse(s.attrs)
    seed()
    with mode(s):
        made = APPLY[NDArray](op, arrays, attrs) if arrays else create(op, attrs, device_of(ctx), NDArray)
    return list(made) if isinstance(made, (list, tuple)) else [made]


def wanted(s: Sample) -> list[int]:
    """Which inputs are differentiated: none if the operator has no gradient."""
    return [] if OPS[s.op].nograd else [i for i, a in enumerate(s.inputs) if not a.constant]


def has_outputs(s: Sample) -> bool:
    """Whether the operator gives anything back: one that only writes its inputs is no symbol."""
    op = OPS[s.op]
    return op.visible_count(op.parse(s.attrs), len(s.inputs)) > 0


def written(s: Sample) -> list[int]:
    """Which inputs the operator writes."""
    op = OPS[s.op]
    return list(op.mutated(op.parse(s.attrs), len(s.inputs))) if op.mutates else []


def close(got: np.ndarray, want: np.ndarray, s: Sample, what: str, factor: float = 1.0) -> None:
    """Shapes equal, values within the sample's tolerance times ``factor``."""
    if got.shape != want.shape:
        raise AssertionError(f"{s.id}: {what}: shape {got.shape}, expected {want.shape}")
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=s.rtol * factor, atol=s.atol * factor,
                               err_msg=f"{s.id}: {what}")


def near(got: np.ndarray, want: np.ndarray, tolerance: float, s: Sample, what: str) -> None:
    """Values within a tolerance that is relative to each and to the largest finite one."""
    if got.shape != want.shape:
        raise AssertionError(f"{s.id}: {what}: shape {got.shape}, expected {want.shape}")
    want = want.astype(np.float64)
    finite = np.abs(want[np.isfinite(want)])
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=tolerance, atol=tolerance * max(finite.max(initial=0), 1e-3),
                               err_msg=f"{s.id}: {what}")


def floating(a: NDArray) -> bool:
    """Whether an array holds floating-point numbers."""
    return is_floating(a._data.dtype)


# ---------------------------------------------------------------- symbols
def named(i: int) -> str:
    """The name of the variable for input ``i``."""
    return f"x{i}"


def symbol_of(s: Sample) -> Symbol:
    """The sample's call as a symbol of the variables ``x0, x1, ...``"""
    op = OPS[s.op]
    return compose(op, [sym.var(named(i)) for i in range(len(s.inputs))], op.parse(s.attrs), "node")


def bound(symbol: Symbol, s: Sample, arrays: Sequence[NDArray], ctx: Context, req: str = "null") -> Any:
    """An executor of the sample's symbol, with buffers for the gradients of the differentiated inputs."""
    by_name = {named(i): a for i, a in enumerate(arrays)}
    names = symbol.list_arguments()
    grads = {}
    if req != "null":
        grads = {named(i): nd.zeros(arrays[i].shape, ctx=ctx, dtype=arrays[i].dtype) for i in wanted(s)}
    return symbol.bind(ctx, {n: by_name[n] for n in names}, grads, req if grads else "null",
                       {n: by_name[n] for n in symbol.list_auxiliary_states()})
