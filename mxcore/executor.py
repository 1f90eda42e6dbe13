"""``Executor``: a symbol bound to arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .context import Context
from .errors import ArgumentError, MXNetError, ShapeError
from .graph.node import Variable
from .ndarray.creation import zeros
from .ndarray.ndarray import NDArray
from .runtime.device import device_of
from .runtime.invoke import STATE, wrap
from .runtime.program import Program
from .runtime.scope import Replay

__all__ = ["Executor", "bind", "simple_bind"]


class Executor:
    """A symbol bound to arrays for its arguments, their gradients and auxiliary states.

    Made by :meth:`mxcore.symbol.Symbol.bind` and ``simple_bind``.

    Attributes
    ----------
    arg_arrays, grad_arrays, aux_arrays, outputs : lists of NDArray
    arg_dict, grad_dict, aux_dict, output_dict : the same by name
    """

    def __init__(self, symbol: Any, ctx: Context, args: list[NDArray], grads: list[NDArray | None], reqs: list[str],
                 aux: list[NDArray]) -> None:
        self._symbol, self._ctx = symbol, ctx
        self.arg_arrays, self.grad_arrays, self.aux_arrays = args, grads, aux
        self._reqs = reqs
        self.arg_names, self.aux_names = symbol.list_arguments(), symbol.list_auxiliary_states()
        self._dev = device_of(ctx)
        self._outputs: list[NDArray] | None = None
        self._kept: Any = None
        self._monitor: Callable | None = None
        order = [n for n in symbol._order() if n.op is None]
        by_name = dict(zip(self.arg_names, args, strict=True)) | dict(zip(self.aux_names, aux, strict=True))
        self._inputs: list[Variable] = order
        self._arrays = [by_name[n.name] for n in order]
        place = {n: i for i, n in enumerate(self.arg_names)}
        self._arg_of = [place.get(n.name, -1) for n in order]
        wanted = [i >= 0 and reqs[i] != "null" for i in self._arg_of]
        static = _parameters(symbol, order)
        self._plain = Program(symbol._entries, order, self._dev, (), static)
        self._train = Program(symbol._entries, order, self._dev, wanted, static) if any(wanted) else None

    # ------------------------------------------------------------ by name
    @property
    def arg_dict(self) -> dict[str, NDArray]:
        """Arguments by name."""
        return dict(zip(self.arg_names, self.arg_arrays, strict=True))

    @property
    def grad_dict(self) -> dict[str, NDArray | None]:
        """Gradients by the name of their argument."""
        return dict(zip(self.arg_names, self.grad_arrays, strict=True))

    @property
    def aux_dict(self) -> dict[str, NDArray]:
        """Auxiliary states by name."""
        return dict(zip(self.aux_names, self.aux_arrays, strict=True))

    @property
    def outputs(self) -> list[NDArray]:
        """What the last :meth:`forward` computed."""
        if self._outputs is None:
            self.forward()
        return self._outputs  # type: ignore[return-value]

    @property
    def output_dict(self) -> dict[str, NDArray]:
        """Outputs by name."""
        return dict(zip(self._symbol.list_outputs(), self.outputs, strict=True))

    # ------------------------------------------------------------ running
    def forward(self, is_train: bool = False, **kwargs: Any) -> list[NDArray]:
        """Compute the outputs.

        Parameters
        ----------
        is_train : bool
            Training behaviour (dropout, batch statistics), and keep what :meth:`backward` needs.
        **kwargs : arrays
            New values of arguments or auxiliary states, copied in.
        """
        for name, value in kwargs.items():
            target = self.arg_dict.get(name, self.aux_dict.get(name))
            if target is None:
                raise ArgumentError(f"Unknown argument {name}; arguments are {self.arg_names}")
            value = value if isinstance(value, NDArray) else _as_array(value, self._ctx)
            if value.shape != target.shape:
                raise ShapeError(f"Shape not match! Argument {name}, need: {target.shape}, received: {value.shape}")
            value.copyto(target)
        results = self._run(self._train if is_train and self._train is not None else self._plain, is_train)
        if self._monitor is not None:
            with Replay(None):  # states stay as the real run left them
                self._monitor()
        self._outputs = results
        return results

    def _run(self, program: Program, training: bool) -> list[NDArray]:
        previous = STATE.training
        STATE.training = training
        try:
            raws, self._kept = program.forward([a._data for a in self._arrays])
        finally:
            STATE.training = previous
        return [wrap(NDArray, r, self._dev) for r in raws]

    def backward(self, out_grads: Any = None, is_train: bool = True) -> None:
        """Compute gradients of the arguments, into ``grad_arrays`` as ``grad_req`` says.

        Parameters
        ----------
        out_grads : NDArray or list of NDArray or dict, optional
            Gradients that the outputs receive; ones by default (loss operators ignore them).
        """
        if self._train is None:
            return
        if self._kept is None:  # the last forward was for prediction, or there was none
            with Replay(None):  # states stay as they are
                self._outputs = self._run(self._train, is_train)
        heads = self._head_grads(out_grads)
        previous = STATE.training
        STATE.training = is_train
        try:
            grads = self._train.backward(self._kept, heads)
        finally:
            STATE.training = previous
        for i, raw in zip(self._arg_of, grads, strict=True):
            if i < 0 or self._reqs[i] == "null":
                continue
            target = self.grad_arrays[i]
            assert target is not None
            xp = self._dev.xp
            if self._reqs[i] == "add":
                if raw is not None:
                    xp.copyto(target._data, xp.add(target._data, xp.astype(raw, target._data.dtype)))
            else:
                xp.copyto(target._data, xp.zeros(target.shape, target._data.dtype) if raw is None else raw)

    def _head_grads(self, out_grads: Any) -> list:
        outs = self.outputs
        if out_grads is None:
            return [self._dev.xp.ones(o.shape, o._data.dtype) for o in outs]
        if isinstance(out_grads, NDArray):
            out_grads = [out_grads]
        elif isinstance(out_grads, dict):
            out_grads = [out_grads.get(n) for n in self._symbol.list_outputs()]
        if len(out_grads) != len(outs):
            raise ArgumentError(f"backward: {len(out_grads)} head gradients for {len(outs)} outputs "
                                f"{self._symbol.list_outputs()}")
        for name, g, o in zip(self._symbol.list_outputs(), out_grads, outs, strict=True):
            if g is not None and g.shape != o.shape:
                raise ShapeError(f"backward: the head gradient of {name} must have its shape {o.shape}, got {g.shape}")
        return [None if g is None else g._raw_on(self._dev) for g in out_grads]

    def copy_params_from(self, arg_params: dict[str, NDArray], aux_params: dict[str, NDArray] | None = None,
                         allow_extra_params: bool = False) -> None:
        """Copy values into the arguments and auxiliary states of the same names.

        Raises
        ------
        ValueError
            A name is unknown and ``allow_extra_params`` is false.
        """
        for given, here, kind in ((arg_params, self.arg_dict, "arguments"),
                                  (aux_params or {}, self.aux_dict, "auxiliary states")):
            for name, array in given.items():
                if name in here:
                    array.astype(here[name].dtype, copy=False).copyto(here[name])
                elif not allow_extra_params:
                    raise ValueError(f"Find name {name!r} that is not in the {kind}; there are {list(here)}")

    def set_monitor_callback(self, callback: Callable, monitor_all: bool = False) -> None:
        """Call ``callback(name, array)`` for every operator's outputs in every forward (``monitor_all``: inputs too).

        A monitored executor runs the graph once more for it, with everything kept.
        """
        internals = self._symbol.get_internals()
        watched = [(e, n) for e, n in zip(internals._entries, internals.list_outputs(), strict=True)
                   if monitor_all or e[0].op is not None]
        watcher = Program([e for e, _ in watched], self._inputs, self._dev)

        def watch() -> None:
            raws, _ = watcher.forward([a._data for a in self._arrays])
            for (_, name), raw in zip(watched, raws, strict=True):
                callback(name, wrap(NDArray, raw, self._dev))

        self._monitor = watch

    def reshape(self, partial_shaping: bool = False, allow_up_sizing: bool = False, **kwargs: Any) -> Executor:
        """An executor for other input shapes, sharing the arrays whose shape stays.

        Raises
        ------
        MXNetError
            An array of unspecified shape changes, without ``partial_shaping``; one grows, without ``allow_up_sizing``.
        """
        arg_shapes, _, aux_shapes = self._symbol.infer_shape(**kwargs)
        if arg_shapes is None:
            raise ShapeError("Insufficient argument shapes provided.")
        args, grads = [], []
        for name, shape, old, grad in zip(self.arg_names, arg_shapes, self.arg_arrays, self.grad_arrays, strict=True):
            args.append(self._resized(name, shape, old, partial_shaping or name in kwargs, allow_up_sizing))
            grads.append(None if grad is None else grad if grad.shape == shape else zeros(shape, self._ctx, grad.dtype))
        aux = [self._resized(n, s, o, partial_shaping, allow_up_sizing)
               for n, s, o in zip(self.aux_names, aux_shapes, self.aux_arrays, strict=True)]
        return Executor(self._symbol, self._ctx, args, grads, self._reqs, aux)

    def _resized(self, name: str, shape: tuple[int, ...], old: NDArray, may_change: bool, may_grow: bool) -> NDArray:
        if shape == old.shape:
            return old
        if not may_change:
            raise ShapeError(f"Shape of unspecified array {name!r} changed. This can cause the new executor to not share "
                             "parameters with the old one. Please check for error in network. If this is intended, set "
                             "partial_shaping=True to suppress this warning.")
        if int(np.prod(shape)) > old.size:
            if not may_grow:
                raise ShapeError(f"New shape of {name!r} larger than original. First making a big executor and then down "
                                 "sizing it is more efficient than the reverse. If you really want to up size, set "
                                 "allow_up_sizing=True to enable allocation of new arrays.")
            return zeros(shape, self._ctx, old.dtype)
        return old.reshape((-1,))[: int(np.prod(shape))].reshape(shape)

    def debug_str(self) -> str:
        """The graph and the program in words."""
        programs = [p for p in (self._plain, self._train) if p is not None]
        return "\n".join([self._symbol.debug_str(), *[text for p in programs for text in p.listings()], ""])

    def __repr__(self) -> str:
        return f"<Executor of {self._symbol!r} on {self._ctx}: arguments {self.arg_names}, outputs {self._symbol.list_outputs()}>"


def _parameters(symbol: Any, variables: Sequence[Variable]) -> list[bool]:
    """Which variables are parameters, to judge by the inputs of operators that they are."""
    uses: dict[Any, set[str]] = {}
    for node in symbol._order():
        if node.op is not None:
            names = node.op.input_names(node.attrs, len(node.inputs))
            for e, name in zip(node.inputs, names, strict=False):
                if e is not None:
                    uses.setdefault(e[0], set()).add(name)
    learnt = {"weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "parameters"}
    return [bool(uses.get(v)) and uses[v] <= learnt for v in variables]


def _as_array(value: Any, ctx: Context) -> NDArray:
    from .ndarray.creation import array

    return array(value, ctx)


def _ordered(given: Any, names: Sequence[str], what: str, may_miss: bool) -> list:
    if given is None:
        given = {}
    if isinstance(given, dict):
        missing = [n for n in names if n not in given]
        if missing and not may_miss:
            raise ValueError(f"key `{missing[0]}` is missing in `{what}`; needed are {list(names)}")
        return [given.get(n) for n in names]
    if len(given) != len(names):
        raise ValueError(f"Length of {what} do not match number of arguments: {len(given)} arrays for {list(names)}")
    return list(given)


def _requests(grad_req: Any, names: Sequence[str]) -> list[str]:
    if isinstance(grad_req, str):
        reqs = [grad_req] * len(names)
    elif isinstance(grad_req, dict):
        reqs = [grad_req.get(n, "null") for n in names]
    else:
        reqs = list(grad_req)
        if len(reqs) != len(names):
            raise ValueError(f"grad_req has {len(reqs)} entries for the arguments {list(names)}")
    for r in reqs:
        if r not in ("write", "add", "null"):
            raise ValueError(f"grad_req must be 'write', 'add' or 'null', got {r!r}")
    return reqs


def bind(symbol: Any, ctx: Any, args: Any, args_grad: Any, grad_req: Any, aux_states: Any) -> Executor:
    """See :meth:`mxcore.symbol.Symbol.bind`."""
    if not isinstance(ctx, Context):
        raise TypeError("Context type error")
    names, aux_names = symbol.list_arguments(), symbol.list_auxiliary_states()
    for group in (names, aux_names):
        twice = {n for n in group if group.count(n) > 1}
        if twice:
            raise MXNetError(f"several inputs are called {sorted(twice)}; names must be unique to bind")
    arrays = _ordered(args, names, "args", False)
    aux = _ordered(aux_states, aux_names, "aux_states", False)
    grads = _ordered(args_grad, names, "args_grad", True)
    reqs = [r if g is not None else "null" for r, g in zip(_requests(grad_req, names), grads, strict=True)]
    for n, a in zip([*names, *aux_names], [*arrays, *aux], strict=True):
        if not isinstance(a, NDArray):
            raise TypeError(f"Only accept list of NDArrays or dict of str to NDArray: {n!r} is {type(a).__name__}")
        if a.context.device_type != ctx.device_type and a._dev.backend is not device_of(ctx).backend:
            raise MXNetError(f"array {n!r} is on {a.context}, but the executor is bound to {ctx}")
    for n, a, g in zip(names, arrays, grads, strict=True):
        if g is not None and g.shape != a.shape:
            raise ShapeError(f"the gradient of {n!r} must have its shape {a.shape}, got {g.shape}")
    shapes = {n: a.shape for n, a in zip([*names, *aux_names], [*arrays, *aux], strict=True)}
    if all(0 not in s for s in shapes.values()):
        symbol.infer_shape_partial(**shapes)  # contradictions are found here, with the operator's name
    return Executor(symbol, ctx, arrays, grads, reqs, aux)


def simple_bind(symbol: Any, ctx: Any, grad_req: Any, type_dict: Any, shared_exec: Any, shared_buffer: Any,
                shapes: dict[str, Any]) -> Executor:
    """See :meth:`mxcore.symbol.Symbol.simple_bind`."""
    ctx = Context(ctx) if not isinstance(ctx, Context) else ctx
    arg_shapes, _, aux_shapes = symbol.infer_shape(**shapes)
    if arg_shapes is None:
        raise MXNetError(f"simple_bind: the given shapes {shapes} do not determine all others; arguments are "
                         f"{symbol.list_arguments()}")
    arg_types, _, aux_types = symbol.infer_type(**(type_dict or {}))
    names, aux_names = symbol.list_arguments(), symbol.list_auxiliary_states()
    arg_types = arg_types or [np.float32] * len(names)
    aux_types = aux_types or [np.float32] * len(aux_names)
    shared = {} if shared_buffer is None else shared_buffer
    if shared_exec is not None:
        shared = {**shared_exec.arg_dict, **shared_exec.aux_dict}

    def make(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray:
        found = shared.get(name)
        if found is not None and found.shape == tuple(shape):
            return found
        fresh = zeros(shape, ctx, dtype)
        if shared_buffer is not None:
            shared_buffer[name] = fresh
        return fresh

    args = [make(n, s, t or np.float32) for n, s, t in zip(names, arg_shapes, arg_types, strict=True)]
    aux = [make(n, s, t or np.float32) for n, s, t in zip(aux_names, aux_shapes, aux_types, strict=True)]
    reqs = _requests(grad_req, names)
    grads = [zeros(a.shape, ctx, a.dtype) if r != "null" else None for a, r in zip(args, reqs, strict=True)]
    return Executor(symbol, ctx, args, grads, reqs, aux)
