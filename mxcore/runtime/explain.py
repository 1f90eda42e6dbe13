"""Errors for a person: what failed, with which arguments, which relation, and where in the user's program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..errors import DTypeError, MXNetError, OperatorError, OutOfMemoryError
from ..graph.infer import op_shapes
from ..registry.op import Op
from ..registry.schema import Attrs

__all__ = ["explain", "user_line"]


def user_line() -> str:
    """``file:line`` of the innermost frame outside mxcore, with its source text."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not (name == "mxcore" or name.startswith(("mxcore.", "mxcore_"))):
            import linecache

            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            return f"{frame.f_code.co_filename}:{frame.f_lineno}" + (f": {text}" if text else "")
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def explain(op: Op, arrays: Sequence[Any], attrs: Attrs, error: Exception) -> Exception:
    """The error to raise when a call of ``op`` failed with ``error``: runs the shape rule again to say why."""
    if getattr(error, "explained", False):
        return error
    kind: type[MXNetError] = type(error) if isinstance(error, MXNetError) else OperatorError
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        kind = OutOfMemoryError
    shapes = [None if a is None else a.shape for a in arrays]
    if not isinstance(error, MXNetError):
        try:
            op_shapes(op, attrs, list(shapes))
        except MXNetError as relation:
            kind, text = type(relation), str(relation)
        else:
            if isinstance(error, TypeError) and len({a.dtype for a in arrays if a is not None}) > 1:
                kind = DTypeError
    names = list(op.schema.inputs)
    if op.schema.variadic:
        names += [f"{op.schema.variadic}[{i}]" for i in range(len(arrays) - len(names))]
    parts = [f"{n}: {'absent' if a is None else f'{_dtype(a)} {a.shape}'}" for n, a in zip(names, arrays, strict=False)]
    shown = {k: v for k, v in attrs.items() if k in attrs.given or v != op.schema.attrs[k].default}
    parts += [f"{k}={v!r}" for k, v in shown.items()]
    message = f"{op.name}({', '.join(parts)}): {text}"
    where = user_line()
    if where:
        message += f"\n  at {where}"
    result = kind(message)
    result.explained = True  # type: ignore[attr-defined]
    return result


def _dtype(a: Any) -> str:
    d = getattr(a, "_data", a).dtype
    return getattr(d, "name", str(d))
