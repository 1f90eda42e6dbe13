"""Products, normalisation, softmax and error units outside of compiled programs.

Each kernel is a bound call, made at the first call with arrays of some shapes and strides and kept. It takes only calls
that are worth it; NumPy's kernels take the others, and those that are wrong, which they explain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mxcore.errors import MXNetError
from mxcore.graph.infer import op_shapes, op_types
from mxcore.registry import get_op
from mxcore.registry.bound import Bound, Order, Spec, order_of, plain_order
from mxcore.registry.schema import Attrs

from .arrangement import Incoming
from .eager import remembered
from .eltwise import bind_backward_gelu, bind_gelu
from .narrow import FLOATS
from .norm import bind_backward_batch_norm, bind_backward_layer_norm, bind_batch_norm, bind_layer_norm
from .product import bind_backward_dot, bind_batch_dot, bind_dense, bind_dot
from .softmax import bind_backward_log_softmax, bind_backward_softmax, bind_log_softmax, bind_softmax

_LEAST = 1 << 14  # elements of the largest array; with fewer NumPy is done before oneDNN has begun
_CONVERTED = 1 << 17  # the same for products of float16, where most of the work is to convert, with which threads help


class _Call:
    """A bound call that makes arrays for its results, in the memory order in which they are written."""

    def __init__(self, bound: Bound, ins: Sequence[Spec | None], outs: Sequence[Spec]) -> None:
        self.run, self.incoming, self.outs = bound.run, [], []
        for spec, order in zip(ins, bound.in_orders, strict=True):
            self.incoming.append(None if order is None or spec is None else Incoming(spec, order))
        for spec, order in zip(outs, bound.out_orders, strict=True):
            plain = order == plain_order(len(order))
            self.outs.append((tuple(spec.shape[a] for a in order), spec.dtype, None if plain else tuple(np.argsort(order))))

    def __call__(self, *arrays: np.ndarray | None) -> Any:
        ins = [a if f is None or a is None else f(a) for f, a in zip(self.incoming, arrays, strict=True)]
        outs = []
        for shape, dtype, back in self.outs:
            made = np.empty(shape, dtype)
            outs.append(made if back is None else made.transpose(back))
        self.run(ins, outs)
        return outs[0] if len(outs) == 1 else tuple(outs)


def _spec(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype) -> Spec:
    order: Order | None = order_of(shape, strides, dtype.itemsize)
    return Spec(shape, dtype, order, False, None if order else strides)


def _made(bind: Callable[..., Bound | None], name: str, least: int, places: tuple, values: tuple) -> _Call | None:
    op, training = get_op(name), False
    attrs = dict(values)
    if "is_train" in op.schema.wants:
        training = attrs.pop("is_train", False)
    ins = [None if p is None else _spec(*p) for p in places]
    parsed = Attrs(attrs, {})
    try:
        _, shapes = op_shapes(op, parsed, [s and s.shape for s in ins])
        _, types = op_types(op, parsed, [s and s.dtype for s in ins])
    except MXNetError:
        return None  # the plain kernel says what is wrong
    if None in shapes or None in types or max(s.size for s in ins if s) < least:
        return None
    outs = [Spec(s, t, plain_order(len(s))) for s, t in zip(shapes, types, strict=True)]
    outs += [ins[i].ordered(plain_order(1)) for i in op.mutated(parsed, len(ins))]  # type: ignore[union-attr]
    bound = bind(ins, outs, parsed, training)
    return None if bound is None else _Call(bound, ins, outs)


def _kernel(name: str, bind: Callable[..., Bound | None], product: bool = False) -> tuple[Callable, Callable]:
    """The kernel of an operator, and the function that says whether it takes a call."""

    @remembered
    def made(places: tuple, values: tuple) -> _Call | None:
        half = product and any(p is not None and p[2].char == "e" for p in places)
        return _made(bind, name, _CONVERTED if half else _LEAST, places, values)

    def find(arrays: Sequence[Any], attrs: dict[str, Any]) -> _Call | None:
        for a in arrays:
            if a is not None and a.dtype.char not in FLOATS:
                return None
        return made(tuple([None if a is None else (a.shape, a.strides, a.dtype) for a in arrays]), tuple(attrs.items()))

    def takes(*arrays: Any, **attrs: Any) -> bool:
        """Whether the kernel takes this call."""
        return find(arrays, attrs) is not None

    def kernel(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        """See the operator."""
        return find(arrays, attrs)(*arrays)  # type: ignore[misc]

    kernel.forget = made.forget  # type: ignore[attr-defined]
    return kernel, takes


dense, takes_dense = _kernel("FullyConnected", bind_dense)
dot, takes_dot = _kernel("dot", bind_dot, product=True)
backward_dot, takes_backward_dot = _kernel("_backward_dot", bind_backward_dot, product=True)
batch_dot, takes_batch_dot = _kernel("batch_dot", bind_batch_dot, product=True)
batch_norm, takes_batch_norm = _kernel("BatchNorm", bind_batch_norm)
backward_batch_norm, takes_backward_batch_norm = _kernel("_backward_BatchNorm", bind_backward_batch_norm)
layer_norm, takes_layer_norm = _kernel("LayerNorm", bind_layer_norm)
backward_layer_norm, takes_backward_layer_norm = _kernel("_backward_LayerNorm", bind_backward_layer_norm)
softmax, takes_softmax = _kernel("softmax", bind_softmax)
log_softmax, takes_log_softmax = _kernel("log_softmax", bind_log_softmax)
backward_softmax, takes_backward_softmax = _kernel("_backward_softmax", bind_backward_softmax)
backward_log_softmax, takes_backward_log_softmax = _kernel("_backward_log_softmax", bind_backward_log_softmax)
gelu, takes_gelu = _kernel("_gelu", bind_gelu)
backward_gelu, takes_backward_gelu = _kernel("_grad0__gelu", bind_backward_gelu)
