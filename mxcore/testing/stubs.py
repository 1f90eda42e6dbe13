"""Type stubs from the operator table: ``python -m mxcore.testing.stubs`` writes them, ``--check`` only compares.

Editors complete every ``mx.nd`` and ``mx.sym`` function and every method of arrays and symbols from these files.
Operators of plugins are not in them: stubs are written with ``MXCORE_PLUGINS=numpy``.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["generate", "main"]

_HEAD = '"""Generated from the operator table by ``python -m mxcore.testing.stubs``; do not edit."""\n\n'
_SCALARS = {"int": "int", "float": "float", "boolean": "bool", "string": "str", "number": "float",
            "dtype": "DTypeLike", "Shape(tuple)": "ShapeLike", "Shape(tuple, None allowed)": "Sequence[int | None] | int",
            "tuple of float": "Sequence[float] | float", "object": "Any"}
_COMMON = ("from collections.abc import Sequence\nfrom typing import Any\n\n")
_TYPES = "\nDTypeLike = Any\nShapeLike = Sequence[int] | int\n"


def _annotation(attribute: Any) -> str:
    text = attribute.type_text.removesuffix(" or None")
    base = f"Literal[{', '.join(map(repr, attribute.choices))}]" if attribute.choices else _SCALARS[text]
    return f"{base} | None" if attribute.optional or attribute.required or attribute.default is None else base


def _default(attribute: Any) -> str:
    value = attribute.default
    if attribute.required:
        return "..."
    return repr(value) if isinstance(value, (int, float, str, bool, tuple, type(None))) and value == value else "..."


def _signature(op: Any, array: str, out: bool, method: bool) -> str:
    schema = op.schema
    parts: list[str] = ["self"] if method else []
    inputs = list(schema.inputs[1:] if method else schema.inputs)
    if schema.variadic:
        parts.append(f"*{schema.variadic}: {array}")
    else:
        parts += [f"{n}: {array}" + (" | None = ..." if n in schema.optional or array != "NDArray" else " = ...") for n in inputs]
    parts += [f"{a.name}: {_annotation(a)} = {_default(a)}" for a in schema.attrs.values()]
    taken = {*schema.inputs, *schema.attrs}
    if out and "out" not in taken:
        parts.append(f"out: {array} | Sequence[{array}] | None = ...")
    if "name" not in taken:
        parts.append("name: str | None = ...")
    parts.append("**kwargs: Any")
    return ", ".join(parts)


def _result(op: Any, array: str) -> str:
    if op.several and array == "NDArray":
        return "Any"
    return array


def _functions(space: dict[str, Any], array: str, names: list[str], indent: str, static: bool) -> list[str]:
    from ..registry.binding import target_of
    from ..registry.op import OPS

    by_function = {target_of(op, n): op for n, op in OPS.items() if not op.hidden}
    lines = []
    for name in names:
        op = by_function.get(((static and space["__name__"].rpartition(".")[2]) or "", name))
        if op is None or not name.isidentifier():
            continue
        if static:
            lines.append(f"{indent}@staticmethod")
        lines.append(f"{indent}def {name}({_signature(op, array, True, False)}) -> {_result(op, array)}: ...")
    return lines


def _exports(source: Path) -> list[str]:
    """The hand-written imports of a package's ``__init__`` as explicit re-exports."""
    lines = []
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for a in node.names:
                if not (a.asname or a.name).startswith("_") and a.name != "namespace":
                    module = f".{node.module}" if node.module else "."
                    lines.append(f"from {module} import {a.name} as {a.asname or a.name}")
    return sorted(lines)


def _package(module: ModuleType, array: str, extra: str) -> str:
    from ..registry.op import OPS

    source = Path(module.__file__ or "")
    exports = _exports(source)
    taken = {line.rsplit(" ", 1)[1] for line in exports}
    spaces = [n for n in ("contrib", "linalg", "image", "_internal") if isinstance(getattr(module, n, None), ModuleType)]
    main = sorted(n for n in vars(module) if n in OPS and callable(vars(module)[n]) and n not in taken)
    lines = [_HEAD + _COMMON.replace("import Any", "import Any, Literal") + "\n".join(exports), extra + _TYPES]
    lines += _functions(vars(module), array, main, "", False)
    for space in spaces:
        inner = vars(getattr(module, space))
        body = _functions(inner, array, sorted(n for n in inner if not n.startswith("__")), "    ", True)
        lines += ["", f"class {space}:", *(body or ["    ..."])]
    lines += ["", "def __getattr__(name: str) -> Any: ...", ""]
    return "\n".join(lines)


def _fluent(cls: type, array: str, title: str) -> str:
    from ..registry.op import OPS

    lines = [_HEAD + _COMMON.replace("import Any", "import Any, Literal")
             + (f"from .{array.lower()} import {array}\n") + _TYPES, f"class {title}:"]
    for name in sorted(vars(cls)):
        function = vars(cls)[name]
        if (name.startswith("__") and not (callable(function) and name not in ("__init_subclass__",))) or name in (
                "__module__", "__doc__", "__slots__"):
            continue
        op = OPS.get(name)
        if op is not None and name not in ("reshape", "transpose"):
            lines.append(f"    def {name}({_signature(op, array, True, True)}) -> {_result(op, array)}: ...")
        elif name in ("reshape", "transpose"):
            lines.append(f"    def {name}(self, *args: Any, **kwargs: Any) -> {array}: ...")
        elif name.startswith("__") and len(inspect.signature(function).parameters) == 2:
            ignore = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
            lines.append(f"    def {name}(self, other: Any) -> {array}: ...{ignore}")
        else:
            lines.append(f"    def {name}(self, *args: Any, **kwargs: Any) -> {array}: ...")
    return "\n".join([*lines, ""])


def generate() -> dict[Path, str]:
    """The text of every stub file."""
    from .. import ndarray, symbol
    from ..ndarray.fluent import ArrayMethods
    from ..symbol.fluent import SymbolMethods

    nd, sym = Path(ndarray.__file__ or "").parent, Path(symbol.__file__ or "").parent
    from ..symbol.operators import FUNCTIONS

    pairs = "\n".join(f"def {n}(lhs: Any, rhs: Any) -> Any: ..." for n in sorted(FUNCTIONS))
    return {
        nd / "__init__.pyi": _package(ndarray, "NDArray", ""),
        nd / "fluent.pyi": _fluent(ArrayMethods, "NDArray", "ArrayMethods"),
        sym / "__init__.pyi": _package(symbol, "Symbol", "\nVariable = var\nfromjson = load_json\n" + pairs + "\n"),
        sym / "fluent.pyi": _fluent(SymbolMethods, "Symbol", "SymbolMethods"),
    }


def main(args: list[str]) -> int:
    """Write the stubs, or with ``--check`` say which are stale."""
    if os.environ.get("MXCORE_PLUGINS") != "numpy":  # the same table whatever is installed
        env = dict(os.environ, MXCORE_PLUGINS="numpy")
        return subprocess.run([sys.executable, "-m", "mxcore.testing.stubs", *args], env=env, check=False).returncode
    stale = []
    for path, text in generate().items():
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if "--check" not in args:
                path.write_text(text)
                print(f"wrote {path}")
    if "--check" in args and stale:
        print("stale stubs (run python -m mxcore.testing.stubs):", *stale, sep="\n  ")
        return 1
    print("stubs are fresh" if not stale else f"{len(stale)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
