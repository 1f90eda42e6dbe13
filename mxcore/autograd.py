"""Automatic differentiation of eager programs: recording, backward passes, gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .dtype import is_floating
from .errors import GradientError, MXNetError
from .graph.gradient import Call, as_list, gradient_of, sweep
from .graph.node import Entry, Node, Shaped, Variable, free
from .ndarray.ndarray import NDArray
from .registry import register
from .registry.op import OPS, Op
from .registry.schema import EMPTY
from .runtime.invoke import STATE, invoke, wrap
from .runtime.scope import Replay, Scope

__all__ = ["Function", "backward", "get_symbol", "grad", "is_recording", "is_training", "mark_variables", "pause",
           "predict_mode", "record", "set_recording", "set_training", "train_mode"]


# ---------------------------------------------------------------- state
def is_recording() -> bool:
    """Whether calls of this thread are recorded."""
    return STATE.recording


def is_training() -> bool:
    """Whether operators of this thread behave as in training (dropout, batch statistics)."""
    return STATE.training


def set_recording(is_recording: bool) -> bool:
    """Turn recording on or off; returns what it was."""
    previous, STATE.recording = STATE.recording, bool(is_recording)
    return previous


def set_training(train_mode: bool) -> bool:
    """Turn training behaviour on or off; returns what it was."""
    previous, STATE.training = STATE.training, bool(train_mode)
    return previous


def record(train_mode: bool = True) -> Scope:
    """A scope in which calls on marked arrays, and on what follows from them, are recorded.

    >>> x = nd.array([1, 2, 3])
    >>> x.attach_grad()
    >>> with autograd.record():
    ...     y = x * x
    >>> y.backward()
    >>> x.grad.asnumpy()
    array([2., 4., 6.], dtype=float32)
    """
    return Scope(True, train_mode)


def pause(train_mode: bool = False) -> Scope:
    """A scope in which nothing is recorded."""
    return Scope(False, train_mode)


def train_mode() -> Scope:
    """A scope of training behaviour; recording stays as it is."""
    return Scope(None, True)


def predict_mode() -> Scope:
    """A scope of inference behaviour; recording stays as it is."""
    return Scope(None, False)


_REQS = {"write": "write", "add": "add", "null": "null", 0: "null", 1: "write", 3: "add"}


def mark_variables(variables: Any, gradients: Any, grad_reqs: Any = "write") -> None:
    """Make arrays variables: backward passes write their gradients to the given buffers.

    Parameters
    ----------
    variables, gradients : NDArray or list of NDArray
    grad_reqs : {"write", "add", "null"} or list of these
    """
    if isinstance(variables, NDArray):
        variables, gradients = [variables], [gradients]
    if not isinstance(grad_reqs, (list, tuple)):
        grad_reqs = [grad_reqs] * len(variables)
    if not len(variables) == len(gradients) == len(grad_reqs):
        raise MXNetError(f"mark_variables: {len(variables)} variables, {len(gradients)} gradients, {len(grad_reqs)} requests")
    for v, g, req in zip(variables, gradients, grad_reqs, strict=True):
        if g.shape != v.shape:
            raise MXNetError(f"mark_variables: a gradient must have the shape of its variable: {g.shape} and {v.shape}")
        if req not in _REQS:
            raise MXNetError(f"grad_req must be 'write', 'add' or 'null', got {req!r}")
        node = Variable("")
        node.req, node.grad = _REQS[req], g
        v._entry = (node, 0)


# ---------------------------------------------------------------- the two worlds of arrays
class _RawWorld:
    """Values are raw backend arrays: nothing is recorded, what is passed is released."""

    raw = True

    def __init__(self, frees: bool) -> None:
        self.frees = frees

    def call(self, node: Node, mask: Sequence[bool] | None) -> Call | None:
        saved = node.saved
        if saved is None:
            return None
        op: Op = node.op  # type: ignore[assignment]
        call = Call(op, node.attrs, saved[0], saved[1], saved[3] if mask is None else mask)
        if op.raw_rule:
            call.once = self.frees
            call.places = _places(node) if self.frees and STATE.storing >= 0 else [None] * len(node.inputs)
        return call

    def zeros(self, node: Node, j: int) -> Any:
        like = node.saved[1][j]
        return node.saved[2].xp.zeros(like.shape, like.dtype)

    def through(self, call: Call, grads: Sequence[Any]) -> Sequence[Any]:
        return _through_composite(call, grads, None)

    def error(self, node: Node, error: Exception) -> Exception:
        return _explained(node, error)


_RETAIN, _RELEASE = _RawWorld(False), _RawWorld(True)


def _places(node: Node) -> list:
    """The buffers that the gradients of a call's inputs go into, where nothing is in them yet that is needed."""
    read = {id(raw) for raw in node.saved[0]}
    places: list = []
    for entry in node.inputs:
        leaf = None if entry is None else entry[0]
        place = None
        if isinstance(leaf, Variable) and leaf.req == "write" and leaf.grad is not None and leaf.lent != STATE.storing \
                and id(leaf.grad._data) not in read:
            leaf.lent = STATE.storing
            place = leaf.grad._data
        places.append(place)
    return places


class _EagerWorld:
    """Values are NDArrays, and the sweep itself is recorded (``create_graph``)."""

    raw = frees = False  # a graph that is differentiated again keeps its values

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def call(self, node: Node, mask: Sequence[bool] | None) -> Call | None:
        if node.saved is None:
            return None
        ins, outs, dev, wanted = node.saved
        mask = wanted if mask is None else mask
        call = Call(node.op, node.attrs, [self._array(v, dev, e) for v, e in zip(ins, node.inputs, strict=False)],  # type: ignore[arg-type]
                    [self._array(v, dev, (node, j)) for j, v in enumerate(outs)], mask)
        if len(ins) > len(node.inputs):  # what a compiled program kept; see mxcore.runtime.program
            call.replay = ins[-2].generator
        return call

    def _array(self, value: Any, dev: Any, entry: Any) -> Any:
        if value is None:
            return None
        if type(value) is Shaped:  # only its shape is read: one zero, broadcast
            value = dev.xp.broadcast_to(dev.xp.zeros((), value.dtype), value.shape)
        new = wrap(self.cls, value, dev)
        new._entry = entry
        return new

    def zeros(self, node: Node, j: int) -> Any:
        like = node.saved[1][j]
        return wrap(self.cls, node.saved[2].xp.zeros(like.shape, like.dtype), node.saved[2])

    def through(self, call: Call, grads: Sequence[Any]) -> Sequence[Any]:
        return _through_composite(call, grads, self)

    def error(self, node: Node, error: Exception) -> Exception:
        return _explained(node, error)


def _through_composite(call: Call, grads: Sequence[Any], eager: _EagerWorld | None) -> Sequence[Any]:
    """Gradients through a composite's definition: run it again on a small tape of its own, and sweep that.

    Each input is wrapped afresh, so that the inner sweep stops there and an array given twice counts twice.
    """
    op = call.op
    cls = NDArray if eager is None else eager.cls
    marked: list[Any] = []
    with Scope(True, None), Replay(call.replay):
        for i, value in enumerate(call.inputs):
            if value is None:
                marked.append(None)
            elif eager is not None and value._entry is not None:
                marked.append(invoke(OPS["_frontier"], (value,), OPS["_frontier"].parse({})))
            else:
                raw = value if eager is None else value._data
                new = wrap(cls, raw, _device_of_raw(raw) if eager is None else value._dev)
                if call.wants(i):
                    new._entry = (Variable(""), 0)
                marked.append(new)
        results = as_list(op.composite(*marked, **call.attrs))  # type: ignore[misc]
    stops = [None if m is None else m._entry for m in marked]
    heads = [(r._entry, g) for r, g in zip(results, grads, strict=False) if r._entry is not None]
    world = eager if eager is not None else _RELEASE
    found, _ = sweep([h for h, _ in heads], [g for _, g in heads], world, {s[0] for s in stops if s is not None})
    return [gradient_of(found, s) for s in stops]


def _device_of_raw(raw: Any) -> Any:
    from .runtime.device import devices

    for dev in devices():
        if isinstance(raw, dev.array_type):
            return dev
    raise GradientError(f"no device holds arrays of type {type(raw).__name__}")


# ---------------------------------------------------------------- gradients of definitions that look at shapes
def _vjp_inputs(of: Any, arrays: Sequence[Any]) -> tuple[list, Sequence[Any]]:
    """The inputs of the operator, absent ones as None, and the head gradients."""
    present = of[2]
    given = iter(arrays)
    return [next(given) if p else None for p in present], arrays[sum(present):]


def _vjp_of(of: Any, arrays: Sequence[Any], eager: _EagerWorld | None) -> list:
    inputs, grads = _vjp_inputs(of, arrays)
    call = Call(of[0], of[1], inputs, (), [p and is_floating(i.dtype if eager is None else i._data.dtype)
                                           for i, p in zip(inputs, of[2], strict=True)])
    found = _through_composite(call, grads, eager)
    zeros = OPS["zeros_like"]
    return [zeros(i) if g is None else g for i, g in zip(inputs, found, strict=True) if i is not None]


@register("_vjp", outputs=lambda a, n: tuple(f"d{i}" for i in range(sum(a["of"][2]))), uniform=False, shaped=True,
          infer=lambda a, s: (s, s[: sum(a["of"][2])]), types=lambda a, t, n: (t, t[: sum(a["of"][2])]))
def _vjp(xp: Any, *arrays: Any, of: object) -> tuple:
    """Gradients of a composite's inputs for given head gradients: found by recording it, when the arrays are known.

    ``of`` is the operator, its attributes, and which of its inputs are present.
    """
    return tuple(_vjp_of(of, arrays, None))


def _vjp_definition(*arrays: Any, of: Any) -> list:
    return _vjp_of(of, arrays, _EagerWorld(type(arrays[0])))


_vjp.composite = _vjp_definition


def _explained(node: Node, error: Exception) -> Exception:
    if type(error) in (MXNetError, GradientError):
        return error
    shapes = [v.shape for v in node.saved[0] if v is not None] if node.saved else []
    kind = type(error) if isinstance(error, MXNetError) else GradientError
    return kind(f"the gradient of {node.op.name!r} failed (inputs kept from the forward call have shapes {shapes}): "  # type: ignore[union-attr]
                f"{error}")


# ---------------------------------------------------------------- backward
def _heads(heads: Any, head_grads: Any) -> tuple[Sequence, Sequence]:
    heads = (heads,) if isinstance(heads, NDArray) else list(heads)
    if head_grads is None:
        return heads, (None,) * len(heads)
    grads = (head_grads,) if isinstance(head_grads, NDArray) else list(head_grads)
    if len(grads) != len(heads):
        raise MXNetError(f"heads and head_grads must have the same length: {len(heads)} and {len(grads)}")
    return heads, grads


def _starts(heads: Sequence, grads: Sequence) -> tuple[list[Entry], list]:
    """Where a sweep starts, and with what: raw arrays, ones where no gradient is given."""
    entries, raws = [], []
    for h, g in zip(heads, grads, strict=True):
        data = h._data
        if h._entry is None:
            raise MXNetError(
                "cannot differentiate an array that was not computed from a marked one inside autograd.record(): call "
                "attach_grad() on the inputs before recording, and backward() on the result of the recorded computation")
        if g is not None and g.shape != data.shape:
            raise MXNetError(f"a head gradient must have the shape of its head: {g.shape} and {data.shape}")
        entries.append(h._entry)
        raws.append(h._dev.xp.ones(data.shape, data.dtype) if g is None else g._data)
    return entries, raws


def backward(heads: Any, head_grads: Any = None, retain_graph: bool = False, train_mode: bool = True) -> None:
    """Gradients of ``heads`` by all variables that they were computed from, into the variables' buffers.

    Parameters
    ----------
    heads : NDArray or list of NDArray
    head_grads : NDArray or list of NDArray or None, optional
        Gradients that the heads receive; ones by default.
    retain_graph : bool
        Keep what was recorded, so that it can be gone through again.
    train_mode : bool
        Training behaviour of operators that are run again on the way.

    Raises
    ------
    MXNetError
        A head was not recorded, or its graph was freed.
    """
    entries, raws = _starts(*_heads(heads, head_grads))
    state = STATE
    recording, training = state.recording, state.training
    state.recording, state.training, state.storing = False, train_mode, entries[0][0].time if entries else -1
    try:
        found, visited = sweep(entries, raws, _RETAIN if retain_graph else _RELEASE)
        for node, slots in found.items():  # variables
            if node.req != "null" and node.grad is not None:  # type: ignore[attr-defined]
                _store(node, slots)  # type: ignore[arg-type]
        if not retain_graph:
            free(visited)
        if not found:
            raise GradientError("nothing that the heads were computed from wants a gradient: what lies behind them was freed by "
                                "an earlier backward pass; call that one with retain_graph=True")
    finally:
        state.recording, state.training, state.storing = recording, training, -1


def _store(node: Variable, slots: list) -> None:
    target, xp = node.grad, node.grad._dev.xp
    if not slots:
        if node.req == "write":
            xp.copyto(target._data, xp.zeros(target.shape, target._data.dtype))
    elif node.req == "add":
        xp.copyto(target._data, xp.add(target._data, xp.astype(slots[0], target._data.dtype)))
    elif slots[0] is not target._data:
        xp.copyto(target._data, slots[0])
    target._entry = None
    node.fresh = True


def grad(heads: Any, variables: Any, head_grads: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, train_mode: bool = True) -> Any:
    """Gradients of ``heads`` by ``variables``, returned instead of stored.

    Parameters
    ----------
    heads, head_grads
        As in :func:`backward`.
    variables : NDArray or list of NDArray
        Arrays (marked or computed) that the heads depend on.
    retain_graph : bool, optional
        Default: the value of ``create_graph``.
    create_graph : bool
        Record the computation of the gradient, so that it can be differentiated again, to any order.
    train_mode : bool

    Returns
    -------
    list of NDArray
        One for each variable, as MXNet 1.9 returns it for a single variable too.

    Examples
    --------
    >>> x = nd.array([2.])
    >>> x.attach_grad()
    >>> with autograd.record():
    ...     y = x * x * x
    ...     dy, = autograd.grad(y, x, create_graph=True)
    >>> dy.backward()
    >>> dy.asscalar(), x.grad.asscalar()
    (12.0, 12.0)
    """
    variables = [variables] if isinstance(variables, NDArray) else list(variables)
    if not variables:
        raise MXNetError("need at least one variable")
    heads, grads = _heads(heads, head_grads)
    entries, firsts = _starts(heads, grads)
    for v in variables:
        if v._entry is None:
            raise MXNetError("variables must be marked with attach_grad(), or computed from marked arrays, before "
                                "the computation is recorded")
    retain = create_graph if retain_graph is None else retain_graph
    cls = type(heads[0])
    world = _EagerWorld(cls) if create_graph else _RETAIN if retain else _RELEASE
    if create_graph:
        firsts = [wrap(cls, f, h._dev) if g is None else g for h, g, f in zip(heads, grads, firsts, strict=True)]
    with Scope(create_graph, train_mode):
        found, visited = sweep(entries, firsts, world, wanted={v._entry[0] for v in variables})
        if world is _RELEASE:
            free(visited)
    results = []
    taken = {id(g) for g in firsts}  # a sum hands its head gradient on to all its terms
    for v in variables:
        value, dev = gradient_of(found, v._entry), v._dev
        if value is None:
            new = wrap(type(v), dev.xp.zeros(v.shape, v._data.dtype), dev)
        elif create_graph:
            new = value
            if id(value) in taken:
                new = wrap(cls, dev.xp.copy(value._data), dev)
                new._entry = value._entry
        else:
            new = wrap(type(v), dev.xp.copy(value) if id(value) in taken else dev.backend.own(value), dev)
        taken.add(id(value))
        results.append(new)
    return results


def get_symbol(x: NDArray) -> Any:
    """The recorded computation of ``x`` as a Symbol, its variables named ``var0``, ``var1``, ..."""
    from .symbol.symbol import from_tape

    if x._entry is None:
        raise GradientError("get_symbol: this array was not recorded")
    return from_tape(x._entry)


# ---------------------------------------------------------------- user functions
class Function:
    """A function with a gradient of the user's own, for eager programs.

    Derive from it, and give ``forward(self, *inputs)`` and ``backward(self, *output_grads)``, both in NDArrays.

    Examples
    --------
    >>> class Square(autograd.Function):
    ...     def forward(self, x):
    ...         self.save_for_backward(x)
    ...         return x * x
    ...     def backward(self, dy):
    ...         x, = self.saved_tensors
    ...         return 2 * x * dy
    >>> x = nd.array([3.])
    >>> x.attach_grad()
    >>> with autograd.record():
    ...     y = Square()(x)
    >>> y.backward()
    >>> x.grad.asscalar()
    6.0
    """

    def __init__(self) -> None:
        self._used = False
        self.saved_tensors: tuple = ()

    def save_for_backward(self, *args: Any) -> None:
        """Keep arrays for :meth:`backward`, as ``self.saved_tensors``."""
        self.saved_tensors = args

    def forward(self, *inputs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError("a Function needs forward(self, *inputs)")

    def backward(self, *output_grads: Any) -> Any:
        """Compute the gradients of the inputs."""
        raise NotImplementedError("a Function needs backward(self, *output_grads)")

    def __call__(self, *inputs: Any) -> Any:
        """Run :meth:`forward`, recorded as one node."""
        if self._used:
            raise MXNetError("Each Function instance can only be called once. Please create another instance.")
        self._used = True
        recording = STATE.recording
        with Scope(False, None):
            outputs = self.forward(*inputs)
        outs = [outputs] if isinstance(outputs, NDArray) else list(outputs)
        if recording and any(i._entry is not None for i in inputs):
            record_function(self.backward, inputs, outs, type(self).__name__)
        return outputs


def record_function(rule: Callable, inputs: Sequence[NDArray], outs: Sequence[NDArray], name: str) -> None:
    """Put a call with a gradient rule in NDArrays on the tape."""
    dev, cls = outs[0]._dev, type(outs[0])

    def raw_rule(n: Call, *grads: Any) -> list:
        wrapped = not isinstance(grads[0], NDArray)
        arrays = [wrap(cls, g, dev) for g in grads] if wrapped else list(grads)
        with Scope(not wrapped and STATE.recording, None):
            result = as_list(rule(*arrays))
        if len(result) != len(inputs):
            raise GradientError(f"{name}.backward must return as many gradients as forward has inputs: "
                                f"{len(inputs)}, got {len(result)}")
        return [r if r is None or not wrapped else r._data for r in result]

    op = Op(name, rule, OPS["_copy"].schema)
    op.rule, op.outputs = raw_rule, tuple(f"output{j}" for j in range(len(outs)))
    entries = tuple(i._entry for i in inputs)
    shapes = [Shaped(o.shape, o._data.dtype, dev) for o in outs]
    node = Node(op, EMPTY, entries, name, None, ([None] * len(inputs), shapes, dev, [e is not None for e in entries]))
    for j, o in enumerate(outs):
        if o._entry is not None:  # an input handed through
            raise GradientError(f"{name}.forward must return new arrays, not its inputs")
        o._entry = (node, j)
