"""``Symbol``: outputs of graph nodes with names, composed, inspected, inferred, saved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import attribute
from .. import name as names
from ..dtype import code_of
from ..errors import ArgumentError, GradientError, MXNetError
from ..files.atomic import atomic_write
from ..graph.compose import Value
from ..graph.gradient import symbolic_gradient
from ..graph.json import HIDDEN, from_json, to_json, upgraded
from ..graph.node import Entry, Node, Variable, topological
from ..ops import load as load_operators
from ..registry.op import APPLY, OPS, Op
from ..registry.schema import Attrs
from .fluent import SymbolMethods
from .inference import infer_shape, infer_type

__all__ = ["Group", "Symbol", "Variable", "from_tape", "load", "load_json", "var"]

load_operators()


class Symbol(SymbolMethods):
    """One or more outputs of a graph of operators.

    Made by :func:`var` and by operators on symbols. Names, listing order and files are those of MXNet.

    Examples
    --------
    >>> x = mx.sym.var("x")
    >>> y = mx.sym.FullyConnected(x, num_hidden=3, name="fc")
    >>> y.list_arguments()
    ['x', 'fc_weight', 'fc_bias']
    """

    __slots__ = ("__weakref__", "_entries")
    __array_priority__ = 1000.0

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = list(entries)

    # ------------------------------------------------------------ names and structure
    @property
    def name(self) -> str | None:
        """The name of the node, or None for a group."""
        nodes = {n for n, _ in self._entries}
        return next(iter(nodes)).name if len(nodes) == 1 else None

    def _order(self) -> list[Node]:
        return topological([n for n, _ in self._entries])

    def _aux_nodes(self, order: list[Node]) -> set[Node]:
        found = set()
        for n in order:
            if n.op is not None and n.op.aux:
                for i in n.op.aux_positions(n.attrs, len(n.inputs)):
                    e = n.inputs[i]
                    if e is not None:
                        found.add(e[0])
        return found

    def list_arguments(self) -> list[str]:
        """Names of the inputs, auxiliary states left out, in depth-first order."""
        order = self._order()
        aux = self._aux_nodes(order)
        return [n.name for n in order if n.op is None and n not in aux]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the auxiliary states."""
        order = self._order()
        aux = self._aux_nodes(order)
        return [n.name for n in order if n.op is None and n in aux]

    def list_inputs(self) -> list[str]:
        """Names of all inputs, auxiliary states included, in depth-first order."""
        return [n.name for n in self._order() if n.op is None]

    def list_outputs(self) -> list[str]:
        """Names of the outputs: ``<node>_<output>``; a variable has its own name."""
        return [output_name(e) for e in self._entries]

    @property
    def num_outputs(self) -> int:
        """How many outputs there are."""
        return len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Symbol]:
        return (Symbol([e]) for e in self._entries)

    def __getitem__(self, index: int | str | slice) -> Symbol:
        if isinstance(index, str):
            found = [i for i, n in enumerate(self.list_outputs()) if n == index]
            if len(found) != 1:
                problem = "There are multiple outputs with name" if found else "Cannot find output that matches name"
                raise ValueError(f'{problem} "{index}"; outputs are {self.list_outputs()}')
            index = found[0]
        if isinstance(index, slice):
            return Group([Symbol([e]) for e in self._entries[index]])
        if not isinstance(index, (int, np.integer)):
            raise TypeError("Symbol only support integer index to fetch i-th output")
        if index >= len(self._entries):
            raise IndexError(f"output {index} of {len(self._entries)}")
        return Symbol([self._entries[index]])

    def get_internals(self) -> Symbol:
        """All outputs of all nodes, as a group; index it by name.

        >>> y = mx.sym.exp(mx.sym.var("x"), name="e")
        >>> y.get_internals().list_outputs()
        ['x', 'e_output']
        """
        entries: list[Entry] = []
        for n in self._order():
            count = 1 if n.op is None else n.op.visible_count(n.attrs, len(n.inputs))
            entries += [(n, j) for j in range(count)]
        return Symbol(entries)

    def get_children(self) -> Symbol | None:
        """The inputs of the node, as a group; None for a variable."""
        inputs = [e for n in dict.fromkeys(n for n, _ in self._entries) for e in n.inputs if e is not None]
        return Symbol(inputs) if inputs else None

    def get_inputs(self) -> Symbol:
        """All inputs, as a group."""
        return Symbol([(n, 0) for n in self._order() if n.op is None])

    # ------------------------------------------------------------ attributes
    def attr(self, key: str) -> str | None:
        """One attribute of the node, as text."""
        return self.list_attr().get(key)

    def list_attr(self, recursive: bool = False) -> dict[str, str]:
        """Attributes of the node, those of the operator included."""
        if recursive:
            raise DeprecationWarning("Symbol.list_attr with recursive=True has been deprecated. Please use attr_dict instead.")
        if len({n for n, _ in self._entries}) != 1:
            return {}
        return _attrs_of(self._entries[0][0])

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """Attributes of all nodes, by name."""
        found = {n.name: _attrs_of(n) for n in self._order()}
        return {k: v for k, v in found.items() if v}

    def _set_attr(self, **kwargs: str) -> None:
        for key, value in kwargs.items():
            if not isinstance(value, str):
                raise ValueError("Set Attr only accepts string values")
            for n in {n for n, _ in self._entries}:
                n.text = {**(n.text or {}), upgraded(key): value}

    # ------------------------------------------------------------ composition
    def __call__(self, *args: Any, **kwargs: Any) -> Symbol:
        """The same graph with variables replaced by other symbols, by position or by name.

        >>> y = mx.sym.exp(mx.sym.var("x"), name="e")
        >>> y(x=mx.sym.var("z")).list_arguments()
        ['z']
        """
        new_name = kwargs.pop("name", None)
        if args and kwargs:
            raise TypeError("compose only accept input Symbols either as positional or keyword arguments, not both")
        arguments = self.list_inputs()
        if len(args) > len(arguments):
            raise TypeError(f"compose: {len(args)} symbols for the inputs {arguments}")
        replaced = dict(zip(arguments, args, strict=False)) if args else kwargs
        for k, s in replaced.items():
            if not isinstance(s, Symbol):
                raise TypeError("Compose expect `Symbol` as arguments")
            if k not in arguments:
                raise ArgumentError(f"compose: {k!r} is not an input; inputs are {arguments}")
        return self._replace({k: s._single() for k, s in replaced.items()}, new_name)

    def _replace(self, by_name: dict[str, Entry], new_name: str | None = None) -> Symbol:
        moved: dict[Entry, Entry] = {}
        fresh: dict[Node, Node] = {}
        for n in self._order():
            if n.op is None and n.name in by_name:
                moved[(n, 0)] = by_name[n.name]
            elif any(e is not None and (e in moved or e[0] in fresh) for e in n.inputs):
                inputs = tuple(None if e is None else moved.get(e) or (fresh.get(e[0], e[0]), e[1]) for e in n.inputs)
                fresh[n] = Node(n.op, n.attrs, inputs, n.name, n.text)
        out = [moved.get(e) or (fresh.get(e[0], e[0]), e[1]) for e in self._entries]
        if new_name and len({n for n, _ in out}) == 1:
            node = out[0][0]
            out[0][0].name = new_name if node.op is not None else node.name
        return Symbol(out)

    def __copy__(self) -> Symbol:
        return Symbol(self._entries)

    def __deepcopy__(self, memo: Any = None) -> Symbol:
        copies: dict[Node, Node] = {}
        for n in self._order():
            if n.op is None:
                copies[n] = Variable(n.name, dict(n.text) if n.text else None)
            else:
                inputs = tuple(None if e is None else (copies[e[0]], e[1]) for e in n.inputs)
                copies[n] = Node(n.op, n.attrs, inputs, n.name, dict(n.text) if n.text else None)
        return Symbol([(copies[n], j) for n, j in self._entries])

    def __reduce__(self) -> tuple:
        return load_json, (self.tojson(),)

    def _single(self) -> Entry:
        if len(self._entries) != 1:
            raise MXNetError(f"a symbol with {len(self._entries)} outputs {self.list_outputs()} cannot be one input; pick an "
                             "output by index")
        return self._entries[0]

    # ------------------------------------------------------------ inference
    infer_shape = infer_shape
    infer_type = infer_type

    def infer_shape_partial(self, *args: Any, **kwargs: Any) -> tuple:
        """Like :meth:`infer_shape`, for what can be inferred; unknown shapes are ``()``, unknown dimensions 0."""
        return infer_shape(self, *args, _partial=True, **kwargs)

    def infer_type_partial(self, *args: Any, **kwargs: Any) -> tuple:
        """Like :meth:`infer_type`, for what can be inferred."""
        return infer_type(self, *args, _partial=True, **kwargs)

    # ------------------------------------------------------------ gradient
    def gradient(self, wrt: str | Sequence[str]) -> Symbol:
        """The gradient of the sum of the outputs by named inputs, as a symbol.

        >>> x = mx.sym.var("x")
        >>> (x * x).gradient("x").eval(x=mx.nd.array([3.]))[0].asscalar()
        6.0
        """
        wanted = [wrt] if isinstance(wrt, str) else list(wrt)
        inputs = {n.name: n for n in self._order() if n.op is None}
        absent = [w for w in wanted if w not in inputs]
        if absent:
            raise ArgumentError(f"gradient: {absent} are not inputs; inputs are {list(inputs)}")
        heads = [OPS["ones_like"](Value(e)) for e in self._entries]
        found = symbolic_gradient(self._entries, heads, [(inputs[w], 0) for w in wanted])
        entries = [OPS["zeros_like"](Value((inputs[w], 0))).entry if g is None else g.entry
                   for w, g in zip(wanted, found, strict=True)]
        manager = names.current()
        for n in topological([n for n, _ in entries]):
            if not n.name:
                n.name = manager.get(None, n.op.name.lower().lstrip("_") if n.op else "var")
        return Symbol(entries)

    # ------------------------------------------------------------ files and text
    def tojson(self, remove_amp_cast: bool = True) -> str:
        """The text of a ``-symbol.json`` file."""
        return to_json(self._entries)

    def save(self, fname: str | os.PathLike, remove_amp_cast: bool = True) -> None:
        """Write a ``-symbol.json`` file."""
        with atomic_write(os.fspath(fname), "w") as f:
            f.write(self.tojson(remove_amp_cast))

    def debug_str(self) -> str:
        """The graph in words, a line or two for each node."""
        lines = ["Symbol Outputs:"]
        lines += [f"\toutput[{i}]={n.name}({j})" for i, (n, j) in enumerate(self._entries)]
        for n in self._order():
            if n.op is None:
                lines.append(f"Variable:{n.name}")
                continue
            lines += ["--------------------", f"Op:{n.op.name}, Name={n.name}", "Inputs:"]
            for i, e in enumerate(n.inputs):
                if e is not None:
                    lines.append(f"\targ[{i}]={e[0].name}({e[1]})" + (" version=0" if e[0].op is None else ""))
            attrs = _attrs_of(n)
            if attrs:
                lines.append("Attrs:")
                lines += [f"\t{k}={v}" for k, v in sorted(attrs.items())]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        if self.name is not None:
            return f"<Symbol {self.name}>"
        return f"<Symbol group [{', '.join(n.name for n, _ in self._entries)}]>"

    def _repr_html_(self) -> str:
        from ..ndarray.html import symbol_html

        return symbol_html(self)

    # ------------------------------------------------------------ execution
    def bind(self, ctx: Any, args: Any, args_grad: Any = None, grad_req: Any = "write", aux_states: Any = None,
             group2ctx: Any = None, shared_exec: Any = None) -> Any:
        """An executor over given arrays; see :class:`mxcore.executor.Executor`."""
        from ..executor import bind

        return bind(self, ctx, args, args_grad, grad_req, aux_states)

    def simple_bind(self, ctx: Any, grad_req: Any = "write", type_dict: Any = None, stype_dict: Any = None,
                    group2ctx: Any = None, shared_arg_names: Any = None, shared_exec: Any = None,
                    shared_buffer: Any = None, **kwargs: Any) -> Any:
        """An executor over new arrays whose shapes follow from ``kwargs`` (name = shape)."""
        from ..executor import simple_bind

        return simple_bind(self, ctx, grad_req, type_dict, shared_exec, shared_buffer, kwargs)

    def eval(self, ctx: Any = None, **kwargs: Any) -> list:
        """Outputs for given arrays (name = array).

        >>> (mx.sym.var("a") + 1).eval(a=mx.nd.ones(2))[0].asnumpy()
        array([2., 2.], dtype=float32)
        """
        from ..context import current_context

        return self.bind(ctx or current_context(), kwargs, grad_req="null").forward()

    def __bool__(self) -> bool:
        raise NotImplementedError("a Symbol has no truth value: it has no value before it is bound or evaluated")

    __hash__ = object.__hash__


def _attrs_of(node: Node) -> dict[str, str]:
    out = dict(node.text or {})
    for hidden in HIDDEN:  # listed under both names, as MXNet does
        if f"__{hidden}__" in out:
            out[hidden] = out[f"__{hidden}__"]
    if node.op is not None:
        out.update(node.attrs.given)
        if node.op.schema.count is not None:
            out[node.op.schema.count] = str(len(node.inputs))
    return out


def output_name(entry: Entry) -> str:
    """``fc1_output``; a variable has its own name."""
    node, j = entry
    if node.op is None:
        return node.name
    outputs = node.op.output_names(node.attrs, len(node.inputs))
    return f"{node.name}_{outputs[j]}"


# ---------------------------------------------------------------- making symbols
#: attributes of the variables that are made for an operator's inputs, beside those that they inherit
_INITIAL = {
    ("BatchNorm", "moving_mean"): {"__init__": '["zero", {}]'}, ("BatchNorm", "moving_var"): {"__init__": '["one", {}]'},
    ("LeakyReLU", "gamma"): {"__init__": '["Constant", {"value": 0.25}]'},
}


def _text(attr: dict[str, str] | None) -> dict[str, str]:
    """User attributes: those given, and those of the scope."""
    return {upgraded(k): v for k, v in attribute.current().get(attr).items()}


def compose(op: Op, arrays: Sequence[Symbol | None], attrs: Attrs, name: str | None = None,
            attr: dict[str, str] | None = None, hint: str | None = None) -> Symbol:
    """A node of ``op``. Inputs that the attributes ask for and nobody gave become variables ``<name>_<input>``."""
    name = names.current().get(name, (hint or op.name).lower())
    text = _text(attr)
    entries: list[Any] = [None if a is None else a._single() for a in arrays]
    if not op.schema.variadic or op.inputs_of is not None:
        wanted = op.input_names(attrs, len(entries))
        complete = sum(e is not None for e in entries) == len(wanted)  # also where attributes leave out one in the middle
        for i, n in enumerate(() if complete else op.schema.inputs if not op.schema.variadic else wanted):
            if i >= len(entries):
                entries.append(None)
            if entries[i] is None and n in wanted:
                # MXNet's variables inherit the attributes, and some know how to begin
                v = Variable(f"{name}_{n}", {**text, **attrs.given, **_INITIAL.get((op.name, n), {})} or None)
                entries[i] = (v, 0)
        while entries and entries[-1] is None:
            entries.pop()
    node = Node(op, attrs, tuple(entries), name, text or None)
    return Symbol([(node, j) for j in range(op.visible_count(attrs, len(entries)))])


def _apply(op: Op, arrays: Sequence[Any], attrs: Attrs) -> Any:
    made = compose(op, arrays, attrs)
    return made if len(made._entries) == 1 else list(made)


APPLY[Symbol] = _apply


def var(name: str, attr: dict[str, str] | None = None, shape: Any = None, lr_mult: float | None = None,
        wd_mult: float | None = None, dtype: Any = None, init: Any = None, stype: Any = None, profiler_scope: Any = None,
        **kwargs: str) -> Symbol:
    """A variable.

    Parameters
    ----------
    name : str
    attr : dict of str, optional
    shape, dtype : optional
        What is known of it, for inference.
    lr_mult, wd_mult : float, optional
        Factors that optimizers apply.
    init : Initializer or str, optional
    **kwargs
        Attributes with names of the form ``__x__``.
    """
    if not isinstance(name, str):
        raise TypeError(f"Expect a string for variable `name`, got {type(name).__name__}")
    text = _text(attr)
    if shape is not None:
        text["__shape__"] = str(tuple(shape) if not isinstance(shape, int) else (shape,))
    if lr_mult is not None:
        text["__lr_mult__"] = str(lr_mult)
    if wd_mult is not None:
        text["__wd_mult__"] = str(wd_mult)
    if dtype is not None:
        text["__dtype__"] = str(code_of(dtype))
    if init is not None:
        text["__init__"] = init if isinstance(init, str) else init.dumps()
    if stype is not None:
        text["__storage_type__"] = str({"default": 0, "row_sparse": 1, "csr": 2}.get(stype, stype))
    for k, v in kwargs.items():
        if not (k.startswith("__") and k.endswith("__")):
            raise ValueError(f"Attribute name={k} is not supported. Additional attributes must start and end with double "
                             "underscores, e.g, __yourattr__")
        text[k] = str(v)
    return Symbol([(Variable(name, text or None), 0)])


def Group(symbols: Sequence[Symbol], create_fn: Any = None) -> Symbol:
    """The outputs of several symbols as one."""
    if not symbols or any(not isinstance(s, Symbol) for s in symbols):
        raise TypeError("Expected a list of symbols as input")
    return Symbol([e for s in symbols for e in s._entries])


def load(fname: str | os.PathLike) -> Symbol:
    """Read a ``-symbol.json`` file, of MXNet 0.8 or later."""
    path = os.fspath(fname)
    with open(path, encoding="utf-8") as f:
        try:
            text = f.read()
        except UnicodeDecodeError as error:
            from ..errors import FileFormatError

            raise FileFormatError(f"{path}: not a symbol file: {error}") from error
    return Symbol(from_json(text, path))


def load_json(json_str: str) -> Symbol:
    """A symbol from the text of a ``-symbol.json`` file."""
    if not isinstance(json_str, str):
        raise TypeError("fname required to be string")
    return Symbol(from_json(json_str))


def from_tape(entry: Entry) -> Symbol:
    """A recorded computation as a symbol; variables are named ``var0``, ..., constants too."""
    copies: dict[Node, Node] = {}
    count = 0
    manager = names.NameManager()
    for n in topological([entry[0]]):
        if n.op is None or n.saved is None:
            if n is entry[0] and n.op is not None:
                raise GradientError(f"get_symbol: the graph behind {n.op.name!r} was freed by a backward pass")
            copies[n] = Variable(f"var{count}")
            count += 1
            continue
        inputs: list[Entry] = []
        for e in n.inputs:
            if e is None:
                inputs.append((Variable(f"var{count}"), 0))
                count += 1
            else:
                inputs.append((copies[e[0]], e[1]))
        copies[n] = Node(n.op, n.attrs, tuple(inputs), manager.get(None, n.op.name.lower()))
    return Symbol([(copies[entry[0]], entry[1])])


