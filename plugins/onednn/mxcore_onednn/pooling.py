"""Maximum and average over windows, and their gradients: calls bound into compiled programs.

Arrays lie channels last. The gradient of a maximum needs to know where it was: that is found anew, since doing so takes
a fraction of the time in which NumPy compares data with the maxima.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mxcore.ops.pooling import Windows, windows
from mxcore.registry.bound import Bound, Epilogue, Order, Spec, channels_last, plain_order

from .arrangement import Room
from .codes import Algorithm, Arg, Propagation
from .epilogue import match, operand_order
from .library import Unsupported
from .narrow import common, serves_narrow
from .primitive import Binary, Call, Layout, PostOp, Primitive, aligned

__all__ = ["bind_pool_scatter", "bind_pool_spread", "bind_pooling"]


class _Pool:
    """One pooling as oneDNN sees it: channel-first layouts of both sides, and what primitives are made of.

    Attributes
    ----------
    order : Order
        The memory order of the arrays, in axes of the operator.
    small : Spec
        The result.
    """

    def __init__(self, data: Spec, attrs: Mapping[str, Any], kind: str, plain: bool) -> None:
        shape = data.shape
        w = windows(shape, *(attrs[n] for n in ("kernel", "global_pool", "pooling_convention", "stride", "pad", "layout")))
        last = w.first == 1
        ndim = len(shape)
        self.order: Order = plain_order(ndim) if last or plain else channels_last(ndim)
        self._algorithm = _algorithm(w, kind, attrs.get("count_include_pad"))
        self.small = Spec(w.output(shape), data.dtype, self.order)
        self._large, self._small = _layout(data.ordered(self.order), last), _layout(self.small, last)
        row = () if len(w.kernel) > 1 else (1,)  # an axis is pooled as an image of one row: there is fast code for those
        still = (0,) * len(row)
        self._windows = (row + w.stride, row + w.kernel, still + (0,) * len(w.kernel), still + w.pad, still + w.after)
        if not all(max(p, a) < k for p, a, k in zip(w.pad, w.after, w.kernel, strict=True)):
            raise Unsupported("windows that lie beside the data altogether")

    def forward(self, training: bool = False, post: Sequence[PostOp] = ()) -> Primitive:
        """The result; when training, and where the maxima were."""
        return _fast(Primitive("pooling_forward", Propagation.TRAINING if training else Propagation.INFERENCE, self._algorithm,
                               self._large, self._small, *self._windows, post=post))

    def backward(self, hint: Primitive) -> Primitive:
        """The gradient."""
        return _fast(Primitive("pooling_backward", self._algorithm, self._large, self._small, *self._windows, hint))


def _fast(primitive: Primitive) -> Primitive:
    if primitive.label.startswith(("ref", "simple")):
        raise Unsupported("there is only a reference implementation")
    return primitive


def _algorithm(w: Windows, kind: str, include: bool | None) -> Algorithm:
    if kind == "max":
        return Algorithm.POOL_MAX
    if kind != "avg":
        raise Unsupported(f"pool_type={kind!r}")
    if include is not None and not include:
        return Algorithm.POOL_AVG
    if not isinstance(w.sizes(True), int):
        raise Unsupported("windows that reach over the padding")
    return Algorithm.POOL_AVG_WITH_PADDING


def _layout(spec: Spec, last: bool) -> Layout:
    shape, steps = spec.shape, [s // spec.dtype.itemsize for s in spec.strides]
    if last:
        shape, steps = (shape[0], shape[-1], *shape[1:-1]), [steps[0], steps[-1], *steps[1:-1]]
    if len(shape) == 3:
        shape, steps = (*shape[:2], 1, shape[2]), [*steps[:2], steps[2] * shape[2], steps[2]]
    return Layout(shape, spec.dtype, steps)


def _suits(specs: Sequence[Spec]) -> bool:
    return common(specs) is not None and all(0 not in s.shape for s in specs)


# ---------------------------------------------------------------- bound calls
class _Pooling(Bound):
    def __init__(self, pool: _Pool, post: Sequence[PostOp], extras: Sequence[Spec], out: Spec) -> None:
        primitive = pool.forward(post=post)
        binaries = [(Arg.post(i), p.input) for i, p in enumerate(post) if isinstance(p, Binary)]
        self._call = Call(primitive, [Arg.SRC, Arg.DST, *(a for a, _ in binaries)])
        self._operands = [place for _, place in binaries]
        self.in_orders = [pool.order, *(operand_order(out, e.shape) for e in extras)]
        self.out_orders, self.label = [pool.order], f"pooling {primitive.label}"

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self._call(ins[0], outs[0], *[ins[i] for i in self._operands])

    def release(self) -> None:
        """Nothing lasts."""


@serves_narrow(1, own="always")
def bind_pooling(ins: Sequence[Any], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                 epilogue: Epilogue | None = None, plain: bool = False) -> Bound | None:
    """``Pooling``; ``plain`` asks for data in C order instead of channels last."""
    own = len(ins) - (len(epilogue.names) if epilogue else 0)
    if not _suits([*ins[:1], *ins[own:], *outs]) or (epilogue and (attrs["layout"] or "").endswith("C")):
        return None
    post = match(epilogue, outs[0], ins[own:], own)
    try:
        return None if post is None else _Pooling(_Pool(ins[0], attrs, attrs["pool_type"], plain), post, ins[own:], outs[0])
    except Unsupported:
        return None


class _Spread(Bound):
    def __init__(self, pool: _Pool, inputs: int) -> None:
        primitive = pool.backward(pool.forward(True))
        self._call = Call(primitive, [Arg.DIFF_DST, Arg.DIFF_SRC])
        self.in_orders, self.out_orders = [pool.order, None][:inputs], [pool.order]
        self.label = f"pooling {primitive.label}"

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        self._call(ins[0], outs[0])

    def release(self) -> None:
        """Nothing lasts."""


@serves_narrow(1, own="never")
def bind_pool_spread(ins: Sequence[Any], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                     epilogue: Epilogue | None = None, plain: bool = False) -> Bound | None:
    """``_pool_spread``."""
    if epilogue is not None or not _suits([ins[0], outs[0]]):
        return None
    try:
        return _Spread(_Pool(outs[0], attrs, attrs["pool_type"], plain), len(ins))
    except Unsupported:
        return None


class _Scatter(Bound):
    def __init__(self, pool: _Pool) -> None:
        forward = pool.forward(True)
        backward = pool.backward(forward)
        self._find = Call(forward, [Arg.SRC, Arg.DST, Arg.WORKSPACE])
        self._call = Call(backward, [Arg.DIFF_DST, Arg.WORKSPACE, Arg.DIFF_SRC])
        self._bytes, self._room = forward.layout(Arg.WORKSPACE).nbytes, Room(pool.small)
        self.in_orders, self.out_orders = [pool.order, pool.order, None], [pool.order]
        self.label = f"pooling {backward.label}"

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        places = aligned(self._bytes)
        self._find(ins[1], self._room(), places)
        self._call(ins[0], places, outs[0])

    def release(self) -> None:
        """Nothing lasts."""


@serves_narrow(2, own="never")
def bind_pool_scatter(ins: Sequence[Any], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                      epilogue: Epilogue | None = None, plain: bool = False) -> Bound | None:
    """``_pool_scatter``."""
    if epilogue is not None or not _suits([*ins[:2], outs[0]]):
        return None
    try:
        return _Scatter(_Pool(ins[1], attrs, "max", plain))
    except Unsupported:
        return None
