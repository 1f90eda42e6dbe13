"""The generic kernel of an elementwise operator: its expression over any ``xp``, with MXNet's rules of types."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import expr as E
from . import rules
from .op import Op

__all__ = ["kernel_of"]

_F4, _F8, _I4, _I8 = (np.dtype(name) for name in ("float32", "float64", "int32", "int64"))


def _wrapped(n: int, dtype: np.dtype) -> int:
    """A number as an element of a small or unsigned integer type: modulo its range, as in C."""
    if dtype.kind == "i" and dtype.itemsize >= 4:
        return n
    full = 1 << 8 * dtype.itemsize
    n %= full
    return n - full if dtype.kind == "i" and 2 * n >= full else n


def kernel_of(op: Op) -> Callable:
    """The kernel over any ``xp``, rendered from the operator's expression. One for each backend."""
    e = op.expr
    assert e is not None
    attrs = list(op.schema.attrs)
    function, literals = E.render(e, (*op.schema.inputs, *attrs), op.name)
    truth = E.is_bool(e)
    nodes = [n for n in E.walk(e) if n.fn not in ("arg", "attr", "const")]
    if len(nodes) == 1 and not truth and not attrs and not literals and nodes[0].fn not in E.FLOATING:
        return function
    floating = any(n.fn in E.FLOATING for n in nodes)
    scalars = [a for a in attrs if op.schema.attrs[a].type_text == "number"]

    def convert(xp: Any, arrays: tuple, values: dict) -> Any:
        """Other types than float32 and float64."""
        dtype = arrays[0].dtype
        if dtype.kind == "b" and op.types is rules.with_number:
            dtype, arrays = _I8, tuple(xp.astype(a, _I8) for a in arrays)
        compute = dtype
        if dtype.kind in "iub":
            for s in scalars:  # a number takes the array's type
                values = {**values, s: _wrapped(int(values[s]), dtype)}
            if floating:
                compute = _F8 if dtype.itemsize >= 4 else _F4
            elif dtype.kind == "b":
                compute = _I4
        elif dtype.itemsize < 4:
            compute = _F4
        if compute is not dtype:
            arrays = tuple(xp.astype(a, compute) for a in arrays)
        r = function(xp, *arrays, *[values[a] for a in attrs], *literals)
        return r if r.dtype == dtype else xp.astype(r, dtype)

    # literals in the form that the device likes best, by its functions and the type of the arrays
    ready: dict[Any, tuple] = {}

    def prepared(xp: Any, dtype: Any) -> tuple | None:
        if dtype != _F4 and dtype != _F8:
            return None
        constants = ready[id(xp), dtype] = tuple(xp.scalar(v, dtype) for v in literals)
        return constants

    if not attrs and not truth and len(op.schema.inputs) == 1:
        def one_array(xp: Any, data: Any) -> Any:
            constants = ready.get((id(xp), data.dtype))
            if constants is None:
                constants = prepared(xp, data.dtype)
                if constants is None:
                    return convert(xp, (data,), {})
            return function(xp, data, *constants)

        return one_array
    if not attrs and not truth:
        def several(xp: Any, *arrays: Any) -> Any:
            dtype = arrays[0].dtype
            constants = ready.get((id(xp), dtype))
            if constants is None:
                constants = prepared(xp, dtype)
                if constants is None:
                    return convert(xp, arrays, {})
            return function(xp, *arrays, *constants)

        return several

    if len(attrs) == 1 and len(op.schema.inputs) == 1 and not truth:
        only = attrs[0]

        def with_number(xp: Any, data: Any, **values: Any) -> Any:
            dtype = data.dtype
            constants = ready.get((id(xp), dtype))
            if constants is None:
                constants = prepared(xp, dtype)
                if constants is None:
                    return convert(xp, (data,), values)
            return function(xp, data, xp.scalar(values[only], dtype), *constants)

        return with_number

    def general(xp: Any, *arrays: Any, **values: Any) -> Any:
        dtype = arrays[0].dtype
        constants = ready.get((id(xp), dtype))
        if constants is None:
            constants = prepared(xp, dtype)
            if constants is None:
                return convert(xp, arrays, values)
        r = function(xp, *arrays, *[xp.scalar(values[a], dtype) for a in attrs], *constants)
        return xp.astype(r, dtype) if truth else r

    return general
