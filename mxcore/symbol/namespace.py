"""The functions of ``mx.sym``, made from the operator table."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..errors import ArgumentError
from ..graph.json import HIDDEN
from ..registry.binding import bind, signature_of
from ..registry.op import Op
from .fluent import SymbolMethods
from .symbol import Symbol, compose

__all__ = ["function_of", "populate"]


def _is_symbol(v: Any) -> bool:
    return isinstance(v, Symbol)


def function_of(op: Op, name: str, module: str) -> Callable:
    """The composing function of an operator."""
    hint = name.lower()

    def function(*args: Any, **kwargs: Any) -> Symbol:
        attr = kwargs.pop("attr", None)
        own = [] if op.name == "Custom" else [k for k in kwargs if k in HIDDEN or (k.startswith("__") and k.endswith("__"))]
        if own:
            attr = {**(attr or {}), **{k: str(kwargs.pop(k)) for k in own}}
        arrays, given, _, given_name = bind(op, args, kwargs, _is_symbol)
        if op.schema.variadic:
            given.pop(op.schema.count, None)
            if not arrays and op.schema.inputs == ():
                raise ArgumentError(f"{op.name}: needs at least one symbol")
        return compose(op, arrays, op.parse(given), given_name, attr, hint)

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = op.doc
    function.__signature__ = signature_of(op)  # type: ignore[attr-defined]
    return function


def _method_of(function: Callable, name: str) -> Callable:
    def method(self: Symbol, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Same as ``mx.sym.{name}`` with this symbol as the first argument."
    return method


def populate(root: ModuleType) -> None:
    """Fill ``mx.sym``, its sub-namespaces, and the methods of the class."""
    from ..ndarray.namespace import METHODS, fill
    from ..registry.op import OPS

    main = vars(root)
    spaces = {"": main, **{s: vars(main[s]) for s in ("contrib", "linalg", "image", "_internal")}}
    for extra in ("random", "sparse"):
        spaces[extra] = vars(main[extra]) if extra in main else {}
    fill(root, function_of, spaces)
    vars(main["op"]).update({k: v for k, v in main.items() if k in OPS})
    for name in (*METHODS, "reshape", "astype", "transpose"):
        function = main.get(name)
        if function is not None and name not in vars(Symbol):
            setattr(SymbolMethods, name, _method_of(function, name))

    def reshape(self: Symbol, *shape: Any, **kwargs: Any) -> Symbol:
        """The symbol in another shape: ``s.reshape((2, -1))`` or ``s.reshape(2, -1)``."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        return main["reshape"](self, shape=shape or kwargs.pop("shape", ()), **kwargs)

    def astype(self: Symbol, dtype: Any) -> Symbol:
        """The values as another type."""
        return main["cast"](self, dtype=dtype)

    def transpose(self: Symbol, *axes: Any, **kwargs: Any) -> Symbol:
        """The axes in another order."""
        if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
            axes = tuple(axes[0])
        return main["transpose"](self, axes=kwargs.pop("axes", axes), **kwargs)

    for method in (reshape, astype, transpose):
        setattr(SymbolMethods, method.__name__, method)
