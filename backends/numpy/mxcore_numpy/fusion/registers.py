"""The instructions of a loop in order, a place for each result, and all of it as one Python function.

Places are scratch registers (arrays of the size of a tile, used again when what they hold is not read any more), the
tiles of outputs, and the small arrays of results that do not change from tile to tile.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .lower import Lowering, Value

__all__ = ["Body", "Place", "Step", "allocate", "emit", "order_of"]


class Place(NamedTuple):
    """Where a value is. ``kind``: in, small, out, part (a reduction's result), wide, byte, splat or const."""

    kind: str
    number: int


class Step(NamedTuple):
    """One instruction: ``op`` of :attr:`Lowering.CODES`, ``store`` (a copy to an output) or ``reduce``."""

    op: str
    args: tuple[Value, ...]
    result: Value | None
    out: int | None = None


class Body(NamedTuple):
    """A function ``f(ins, small, outs, parts, registers)`` over one tile, and what it needs.

    ``registers`` are the wide ones, then the bytes, then the splats. ``in_place`` has the pairs (input, output) which may
    be the same memory.
    """

    function: Any
    wide: int
    bytes: int
    splats: tuple[Value, ...]
    in_place: tuple[tuple[int, int], ...]
    steps: tuple[Step, ...]
    ins: tuple[int, ...]


def order_of(outputs: Sequence[Value], reduced: Sequence[bool], native: Sequence[bool],
             ready: dict[Value, Place]) -> tuple[list[Step], dict[Value, int]]:
    """Steps, operands before results, and which values are made in an output's own memory.

    Parameters
    ----------
    outputs
        The value of each output.
    reduced, native
        Of each output: whether it is a sum of the value, and whether it has the type of the arithmetic.
    ready
        Values that are there before the loop begins.
    """
    steps: list[Step] = []
    seen = set(ready)
    direct: dict[Value, int] = {}

    def visit(value: Value) -> None:
        stack = [(value, False)]  # expressions may be deeper than Python's stack
        while stack:
            v, ready_now = stack.pop()
            if v in seen or not v.args:
                continue
            if ready_now:
                seen.add(v)
                steps.append(Step(v.op, v.args, v))
            else:
                stack.append((v, True))
                stack.extend((a, False) for a in reversed(v.args))

    for j, value in enumerate(outputs):
        visit(value)
        if reduced[j]:
            steps.append(Step("reduce", (value,), None, j))
        elif native[j] and value.args and value not in ready and value not in direct:
            direct[value] = j
        else:
            steps.append(Step("store", (value,), None, j))
    return steps, direct


def allocate(steps: Sequence[Step], direct: dict[Value, int], ready: dict[Value, Place], pairs: Sequence[tuple[int, int]],
             native: Sequence[bool]) -> tuple[dict[Value, Place], int, int, tuple[tuple[int, int], ...]]:
    """A place for every result.

    A result takes the place of an operand that is read for the last time, else a free register, else the memory of an
    output that is not made yet, else a new register. The memory of an output is not touched before the inputs of
    ``pairs`` with it have been read, so that both may be the same.

    Returns
    -------
    places, number of wide registers, number of byte registers, pairs which may be the same memory
    """
    last: dict[Value, int] = {}
    made: dict[int, int] = {}
    for t, step in enumerate(steps):
        for a in step.args:
            last[a] = t
        if step.out is not None and step.op == "store":
            made[step.out] = t
        elif step.result in direct:
            made[direct[step.result]] = t
    # a value made in an output's memory stays there: nothing else is put there afterwards
    input_read: dict[int, int] = {}
    for value, place in ready.items():
        if place.kind == "in":
            input_read[place.number] = max(last.get(value, -1), input_read.get(place.number, -1))
    possible = [(i, j) for i, j in pairs if j in made and input_read.get(i, -1) <= made[j]]
    open_from = {j: max([input_read.get(i, -1) for i, k in possible if k == j], default=0) for j in made}
    places = dict(ready)
    free: dict[str, list[int]] = {"wide": [], "byte": []}
    count = {"wide": 0, "byte": 0}
    lent: dict[int, int] = {}  # output -> until when its memory serves as a register
    for t, step in enumerate(steps):
        for a in dict.fromkeys(step.args):
            place = places.get(a)
            if place is not None and last[a] == t and place.kind in free:
                free[place.kind].append(place.number)
        value = step.result
        if value is None:
            continue
        if value in direct:
            places[value] = Place("out", direct[value])
            continue
        kind = "wide" if value.wide else "byte"
        until = last[value]
        if free[kind]:
            places[value] = Place(kind, free[kind].pop())
            continue
        lender = next((j for j in made if kind == "wide" and native[j] and open_from[j] <= t and until <= made[j]
                       and lent.get(j, -1) <= t), None)
        if lender is not None:
            places[value] = Place("out", lender)
            lent[lender] = until
        else:
            places[value] = Place(kind, count[kind])
            count[kind] += 1
    return places, count["wide"], count["byte"], tuple(possible)


def _name(place: Place) -> str:
    return f"{place.kind}{place.number}"


def emit(steps: Sequence[Step], places: dict[Value, Place], counts: tuple[int, int], ins: int, smalls: int,
         reductions: dict[int, dict[str, Any]], outs: int, dtype: np.dtype) -> tuple[Any, tuple[Value, ...]]:
    """The function of the steps, and the splats that it reads.

    ``reductions`` has for each reduced output the arguments of ``numpy.add.reduce``.
    """
    scope: dict[str, Any] = {"__name__": "mxcore_numpy.fusion.body"}  # warnings of this package are turned off
    bits = np.dtype(f"i{dtype.itemsize}")
    views = {"i": bits, "s": np.dtype("i1"), "b": np.dtype("?")}
    splats: dict[Value, Place] = {}
    lines: list[ast.stmt] = []
    viewed: set[str] = set()

    def load(name: str) -> ast.expr:
        return ast.Name(name, ast.Load())

    def bind(name: str, value: Any) -> str:
        scope.setdefault(name, value)
        return name

    def operand(value: Value, view: str) -> ast.expr:
        if value.op == "const":
            data = value.data
            if view == "i":
                data = data.view(bits)
            return load(bind(f"const_{data.dtype.char}_{data.tobytes().hex()}", data))
        if value.op == "splat":
            place = splats.setdefault(value, Place("splat", len(splats)))
        else:
            place = places[value]
        return seen(place, view)

    def seen(place: Place, view: str) -> ast.expr:
        name = _name(place)
        if view == "f" or (view == "b" and place.kind == "byte"):
            return load(name)
        other = f"{name}_{view}"
        if other not in viewed:
            viewed.add(other)
            call = ast.Call(ast.Attribute(load(name), "view", ast.Load()), [load(bind(f"type_{view}", views[view]))], [])
            lines.append(ast.Assign([ast.Name(other, ast.Store())], call))
        return load(other)

    def copy(target: ast.expr, source: ast.expr) -> ast.stmt:
        return ast.Assign([ast.Subscript(target, ast.Constant(...), ast.Store())], source)

    for step in steps:
        if step.op == "store":
            assert step.out is not None
            lines.append(copy(load(f"out{step.out}"), operand(step.args[0], "f")))
            continue
        if step.op == "reduce":
            assert step.out is not None
            options = reductions[step.out]
            words = [ast.keyword(k, load(bind(f"{k}_{step.out}", v))) for k, v in options.items()]
            words.append(ast.keyword("out", load(f"part{step.out}")))
            lines.append(ast.Expr(ast.Call(load(bind("reduce", np.add.reduce)), [operand(step.args[0], "f")], words)))
            continue
        code = Lowering.CODES[step.op]
        assert step.result is not None
        arguments = [operand(a, v) for a, v in zip(step.args, code.ins, strict=True)]
        result = seen(places[step.result], code.out)
        if code.call is None:
            lines.append(copy(result, arguments[0]))
            continue
        function = load(bind(f"do_{step.op}", code.call))
        if code.form == "value":
            lines.append(copy(result, ast.Call(function, arguments, [])))
        elif code.form == "named":
            lines.append(ast.Expr(ast.Call(function, arguments, [ast.keyword("out", result)])))
        else:
            lines.append(ast.Expr(ast.Call(function, [*arguments, result], [])))

    def unpack(source: str, names: Sequence[str]) -> Iterator[ast.stmt]:
        if names:
            targets = ast.Tuple([ast.Name(n, ast.Store()) for n in names], ast.Store())
            yield ast.Assign([targets], load(source))

    wide, byte = counts
    registers = [f"wide{k}" for k in range(wide)] + [f"byte{k}" for k in range(byte)] \
        + [f"splat{k}" for k in range(len(splats))]
    sources = {"ins": [f"in{k}" for k in range(ins)], "small": [f"small{k}" for k in range(smalls)],
               "outs": [f"out{k}" for k in range(outs)], "parts": [f"part{k}" for k in range(outs)],
               "registers": registers}
    if not reductions:
        sources["parts"] = []
    opening = [line for source, names in sources.items() for line in unpack(source, names)]
    arguments = ast.arguments([], [ast.arg(p) for p in sources], None, [], [], None, [])
    definition = ast.FunctionDef(name="body", args=arguments, body=[*opening, *lines] or [ast.Pass()], decorator_list=[])
    if sys.version_info >= (3, 12):
        definition.type_params = []
    module = ast.fix_missing_locations(ast.Module([definition], []))
    exec(compile(module, "<fused loop>", "exec"), scope)
    return scope["body"], tuple(splats)
