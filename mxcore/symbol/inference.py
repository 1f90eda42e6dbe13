"""``infer_shape`` and ``infer_type`` of symbols: MXNet's arguments and answers around :mod:`mxcore.graph.infer`."""

from __future__ import annotations

import ast
import operator
from typing import Any

from ..dtype import dtype_of
from ..errors import ArgumentError, ShapeError
from ..graph.infer import infer_shapes, infer_types
from ..graph.node import Node

__all__ = ["infer_shape", "infer_type"]


def _inside(shape: Any) -> tuple[int, ...] | None:
    """MXNet's unknown dimension 0 becomes -1; an empty shape is unknown."""
    try:
        shape = tuple(operator.index(d) for d in (shape if isinstance(shape, (tuple, list)) else (shape,)))
    except TypeError as error:
        raise ArgumentError(f"a shape is a tuple of integers, not {shape!r}") from error
    return tuple(d if d > 0 else -1 for d in shape) or None


def _declared(n: Node) -> tuple[int, ...] | None:
    """The shape that a variable's attributes say."""
    text = n.text["__shape__"]  # type: ignore[index]
    try:
        return _inside(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ShapeError(f"variable {n.name}: its attribute __shape__ is no shape: {text!r}") from error


def _outside(shape: Any) -> tuple[int, ...]:
    return () if shape is None else tuple(0 if d < 0 else d for d in shape)


def _given(sym: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    if args and kwargs:
        raise ValueError("Can only specify known argument shapes either by positional or kwargs way.")
    arguments = sym.list_arguments()
    if args:
        if len(args) > len(arguments):
            raise ArgumentError(f"{len(args)} shapes or types for the arguments {arguments}")
        return {n: a for n, a in zip(arguments, args, strict=False) if a is not None}
    known = {*arguments, *sym.list_auxiliary_states()}
    unknown = [k for k in kwargs if k not in known]
    if unknown:
        raise ArgumentError(f"{unknown} are no arguments of the symbol; arguments are {arguments}")
    return {k: v for k, v in kwargs.items() if v is not None}


def infer_shape(self: Any, *args: Any, _partial: Any = False, **kwargs: Any) -> tuple:
    """Shapes of arguments, outputs and auxiliary states that follow from those given.

    Parameters
    ----------
    *args, **kwargs : shapes
        By position or by name; 0 stands for an unknown dimension.

    Returns
    -------
    arg_shapes, out_shapes, aux_shapes : lists of tuple
        All None if something cannot be inferred.

    Raises
    ------
    ShapeError
        Shapes contradict each other; names the operator and the relation.
    """
    given = _given(self, args, kwargs)
    order = self._order()
    aux = self._aux_nodes(order)
    variables = [n for n in order if n.op is None]
    start: dict[Node, Any] = {}
    for n in variables:
        if n.name in given:
            start[n] = _inside(given[n.name])
        elif n.text and "__shape__" in n.text:
            start[n] = _declared(n)
    found = infer_shapes(self._entries, start)
    arg_shapes = [found.get((n, 0)) for n in variables if n not in aux]
    aux_shapes = [found.get((n, 0)) for n in variables if n in aux]
    out_shapes = [found.get(e) for e in self._entries]
    if not _partial:
        every = [*arg_shapes, *out_shapes, *aux_shapes]
        if any(s is None or -1 in s for s in every):
            import warnings

            unknown = [f"{n.name}: {_outside(found.get((n, 0)))}" for n in variables
                       if found.get((n, 0)) is None or -1 in found[(n, 0)]]
            if unknown:
                warnings.warn("Cannot decide shape for the following arguments (0s in shape means unknown dimensions). "
                              f"Consider providing them as input:\n\t{chr(10).join(unknown)}", stacklevel=2)
            return None, None, None
    return [_outside(s) for s in arg_shapes], [_outside(s) for s in out_shapes], [_outside(s) for s in aux_shapes]


def infer_type(self: Any, *args: Any, _partial: Any = False, **kwargs: Any) -> tuple:
    """Data types of arguments, outputs and auxiliary states that follow from those given, as NumPy types.

    All None if something cannot be inferred.
    """
    given = {k: dtype_of(v) for k, v in _given(self, args, kwargs).items()}
    order = self._order()
    aux = self._aux_nodes(order)
    variables = [n for n in order if n.op is None]
    start = {}
    for n in variables:
        if n.name in given:
            start[n] = given[n.name]
        elif n.text and "__dtype__" in n.text and n.text["__dtype__"] != "-1":
            start[n] = dtype_of(n.text["__dtype__"])
    found = infer_types(self._entries, start)

    def answer(entries: list) -> list:
        return [None if found.get(e) is None else found[e].type for e in entries]

    results = (answer([(n, 0) for n in variables if n not in aux]), answer(self._entries),
               answer([(n, 0) for n in variables if n in aux]))
    if not _partial and any(t is None for r in results for t in r):
        return None, None, None
    return results


