"""Operators written by users in NDArrays: ``CustomOp``, ``CustomOpProp``, ``register``, and the operator ``Custom``.

They work eagerly, in symbols, and in hybridized nets. Unlike the operators of a plugin they are opaque: they run array by
array in Python, and their gradient is what their ``backward`` says, for first order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import registry
from .errors import ArgumentError, GradientError, MXNetError
from .ndarray.ndarray import NDArray
from .registry.schema import Attrs, Schema, attr_text
from .runtime.device import devices
from .runtime.invoke import wrap
from .runtime.scope import Scope

__all__ = ["CustomOp", "CustomOpProp", "get_all_registered_operators", "register"]

_PROPS: dict[str, type[CustomOpProp]] = {}


class CustomOp:
    """The computation of a custom operator. Derive from it and give ``forward`` and ``backward``."""

    def forward(self, is_train: bool, req: list[str], in_data: list[NDArray], out_data: list[NDArray],
                aux: list[NDArray]) -> None:
        """Compute ``out_data`` from ``in_data``; write with :meth:`assign`."""
        raise NotImplementedError(f"{type(self).__name__} needs forward(is_train, req, in_data, out_data, aux)")

    def backward(self, req: list[str], out_grad: list[NDArray], in_data: list[NDArray], out_data: list[NDArray],
                 in_grad: list[NDArray], aux: list[NDArray]) -> None:
        """Compute ``in_grad``; write with :meth:`assign`."""
        raise NotImplementedError(f"{type(self).__name__} needs backward(req, out_grad, in_data, out_data, in_grad, aux)")

    def assign(self, dst: NDArray, req: str, src: Any) -> None:
        """Write ``src`` to ``dst`` as ``req`` says: ``"write"``, ``"inplace"``, ``"add"`` or ``"null"``."""
        if req in ("write", "inplace"):
            dst[:] = src
        elif req == "add":
            dst[:] += src
        elif req != "null":
            raise MXNetError(f"assign: req must be 'write', 'inplace', 'add' or 'null', got {req!r}")


class CustomOpProp:
    """The signature of a custom operator: names, shapes, types. Keyword arguments of the call come as strings.

    Parameters
    ----------
    need_top_grad : bool
        Whether ``backward`` reads the gradients of the outputs; a loss does not.
    """

    def __init__(self, need_top_grad: bool = True) -> None:
        self.need_top_grad_ = need_top_grad

    def list_arguments(self) -> list[str]:
        """Names of the inputs."""
        return ["data"]

    def list_outputs(self) -> list[str]:
        """Names of the outputs."""
        return ["output"]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the auxiliary states."""
        return []

    def infer_shape(self, in_shape: list) -> tuple:
        """Shapes of inputs, outputs and auxiliary states; by default all like the first input."""
        return in_shape, (in_shape[0],) * len(self.list_outputs()), ()

    def infer_type(self, in_type: list) -> tuple:
        """Types of inputs, outputs and auxiliary states; by default all like the first input."""
        return in_type, [in_type[0]] * len(self.list_outputs()), [in_type[0]] * len(self.list_auxiliary_states())

    def declare_backward_dependency(self, out_grad: Sequence, in_data: Sequence, out_data: Sequence) -> list:
        """What ``backward`` reads (kept for MXNet's sake; everything is at hand here)."""
        deps = list(out_grad) if self.need_top_grad_ else []
        return [*deps, *in_data, *out_data]

    def create_operator(self, ctx: Any, in_shapes: list, in_dtypes: list) -> CustomOp:
        """The computation for given shapes and types."""
        return CustomOp()


def register(reg_name: str) -> Callable[[type[CustomOpProp]], type[CustomOpProp]]:
    """Decorator that enters a :class:`CustomOpProp` under a name, for ``mx.nd.Custom(..., op_type=reg_name)``."""

    def enter(prop_cls: type[CustomOpProp]) -> type[CustomOpProp]:
        if not (isinstance(prop_cls, type) and issubclass(prop_cls, CustomOpProp)):
            raise TypeError(f"register({reg_name!r}) expects a subclass of CustomOpProp, got {prop_cls!r}")
        _PROPS[reg_name] = prop_cls
        return prop_cls

    return enter


def get_all_registered_operators() -> list[str]:
    """Names of all custom operators."""
    return sorted(_PROPS)


# ---------------------------------------------------------------- the operator Custom
class _Call:
    """One use of a custom operator: its prop, and the instance that runs, whose state lives from forward to backward."""

    def __init__(self, kwargs: dict[str, str]) -> None:
        kwargs = dict(kwargs)
        name = kwargs.pop("op_type", None)
        if name is None:
            raise ArgumentError("Custom: Required parameter op_type of string is not presented")
        if name not in _PROPS:
            raise ArgumentError(f"Custom: op_type {name!r} is not registered; registered are {sorted(_PROPS)}")
        try:
            self.prop = _PROPS[name](**kwargs)  # type: ignore[arg-type]
        except TypeError as error:
            raise ArgumentError(f"Custom: {name!r} does not take {kwargs}: {error}") from error
        self.arguments = list(self.prop.list_arguments())
        self.states = list(self.prop.list_auxiliary_states())
        self.outputs = list(self.prop.list_outputs())
        self._ops: dict[Any, CustomOp] = {}

    def op(self, ins: list[NDArray]) -> CustomOp:
        """The instance for inputs of these shapes and types."""
        key = tuple((a.shape, a._data.dtype) for a in ins)
        if key not in self._ops:
            self._ops[key] = self.prop.create_operator(ins[0].context, [list(a.shape) for a in ins], [a.dtype for a in ins])
        return self._ops[key]

    def _ask(self, what: str, known: list) -> Any:
        """What the user's rule says."""
        try:
            return getattr(self.prop, what)(known)
        except Exception as error:
            raise MXNetError(f"{type(self.prop).__name__}.{what}({known}) failed: {type(error).__name__}: {error}") from error

    def shapes(self, ins: list) -> tuple[list, list]:
        """Shapes of inputs (states included) and outputs, by the prop's rule."""
        count = len(self.arguments)
        if not ins or ins[0] is None or -1 in ins[0]:
            return ins, [None] * len(self.outputs)
        known = [[] if s is None or -1 in s else list(s) for s in ins[:count]]
        got, outs, *aux = self._ask("infer_shape", known)
        return [_tuple(s) for s in (*got, *(aux[0] if aux else ()))], [_tuple(s) for s in outs]

    def types(self, ins: list) -> tuple[list, list]:
        """The same for data types."""
        if not ins or ins[0] is None:
            return ins, [None] * len(self.outputs)
        got, outs, *aux = self._ask("infer_type", [(t or ins[0]).type for t in ins[: len(self.arguments)]])
        return [np.dtype(t) for t in (*got, *(aux[0] if aux else ()))], [np.dtype(t) for t in outs]


def _tuple(s: Any) -> tuple[int, ...] | None:
    return tuple(int(d) for d in s) or None


class _CustomSchema(Schema):
    """Any keyword is an attribute, kept as text for the prop; every call has a state of its own."""

    __slots__ = ()

    def parse(self, op_name: str, given: dict[str, Any]) -> Attrs:
        texts = {k: attr_text(v) for k, v in given.items() if k != self.count}
        return Attrs({"op_type": texts.get("op_type"), "call": _Call(texts)}, texts)


def _wrapped(raws: Sequence[Any]) -> list[NDArray]:
    return [wrap(NDArray, r, _device(r)) for r in raws]


def _device(raw: Any) -> Any:
    for dev in devices():
        if isinstance(raw, dev.array_type):
            return dev
    raise MXNetError(f"no device holds arrays of type {type(raw).__name__}")


def _names(attrs: Attrs, count: int) -> tuple[str, ...]:
    return (*attrs.call.arguments, *attrs.call.states)


@registry.register(
    "Custom", outputs=lambda a, n: tuple(a.call.outputs), inputs=_names, uniform=False,
    infer=lambda a, s: a.call.shapes(s), types=lambda a, t, n: a.call.types(t))
def custom(xp: Any, *data: Any, op_type: str, call: object, is_train: bool) -> tuple:
    """A custom operator, by the name it was registered under; other arguments go to its ``CustomOpProp`` as strings."""
    names = (*call.arguments, *call.states)  # type: ignore[attr-defined]
    if len(data) != len(names):
        raise ArgumentError(f"op_type {op_type!r} takes the inputs {list(names)}, and is given {len(data)}")
    arrays = _wrapped(data)
    count = len(call.arguments)  # type: ignore[attr-defined]
    ins, aux = arrays[:count], arrays[count:]
    shapes = call.shapes([a.shape for a in arrays])[1]  # type: ignore[attr-defined]
    types = call.types([a._data.dtype for a in arrays])[1]  # type: ignore[attr-defined]
    outs = [wrap(NDArray, xp.zeros(s, t), ins[0]._dev) for s, t in zip(shapes, types, strict=True)]
    with Scope(False, is_train):
        call.op(ins).forward(is_train, ["write"] * len(outs), ins, outs, aux)  # type: ignore[attr-defined]
    return tuple(o._data for o in outs)


custom.schema.__class__ = _CustomSchema
custom.schema.count = None  # MXNet's files do not count its inputs
custom.aux = lambda attrs: tuple(attrs.call.states)


@custom.gradient
def _(n: Any, *grads: Any) -> Any:
    outs = [n.out(j) for j in range(len(n.attrs.call.outputs))]
    found = _backward(*grads, *n.inputs, *outs, call=n.attrs.call)
    found = list(found) if isinstance(found, (list, tuple)) else [found]
    return found + [None] * (len(n.inputs) - len(found))


def _backward_shapes(attrs: Attrs, ins: list) -> tuple[list, list]:
    first = len(attrs.call.outputs)
    return ins, ins[first : first + len(attrs.call.arguments)]


@registry.register(
    "_backward_Custom", outputs=lambda a, n: tuple(f"d{name}" for name in a.call.arguments), uniform=False,
    infer=_backward_shapes, types=lambda a, t, n: _backward_shapes(a, t))
def _backward(xp: Any, *data: Any, call: object) -> tuple:
    """The gradient that a custom operator computes."""
    arrays = _wrapped(data)
    heads, inputs, states = len(call.outputs), len(call.arguments), len(call.states)  # type: ignore[attr-defined]
    grads, ins = arrays[:heads], arrays[heads : heads + inputs]
    aux, outs = arrays[heads + inputs : heads + inputs + states], arrays[heads + inputs + states :]
    results = [wrap(NDArray, xp.zeros(a.shape, a._data.dtype), a._dev) for a in ins]
    with Scope(False, True):
        call.op(ins).backward(["write"] * len(ins), grads, ins, outs, results, aux)  # type: ignore[attr-defined]
    return tuple(r._data for r in results)


@_backward.gradient
def _(n: Any, *grads: Any) -> Any:
    raise GradientError("the gradient of a Custom operator is computed by its own Python code, which cannot be "
                        "differentiated again; write the operator in operators (docs/howto/add_an_op.md) for higher orders")
