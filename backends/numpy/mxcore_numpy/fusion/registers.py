"""The instructions of a loop in order, a place for each result, and all of it as one Python function.

Places are the operands, scratch registers (arrays of the size of a tile, used again when what they hold is not read any
more), the tiles of outputs, and small arrays of results that do not change from tile to tile.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .lower import Lowering, Value

__all__ = ["Layout", "Place", "Step", "allocate", "emit", "order_of"]

#: nanoseconds an element from which on a function hides the latency of writing to memory that is in no cache
_HIDES = 0.4


class Place(NamedTuple):
    """Where a value is: ``kind`` is in, small, out, part (a reduction's result), wide, byte or splat."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        """In the function."""
        return f"{self.kind}{self.number}"


class Step(NamedTuple):
    """One instruction: ``op`` of :attr:`Lowering.CODES`, ``store`` (a copy to output ``out``) or ``sum`` (likewise)."""

    op: str
    args: tuple[Value, ...]
    result: Value | None
    out: int | None = None


class Layout(NamedTuple):
    """Where everything is; the numbers of wide and byte registers; the numbers that need an array of copies; and the
    pairs (input, output) which may be the same memory."""

    places: dict[Value, Place]
    wide: int
    byte: int
    splats: tuple[Value, ...]
    in_place: tuple[tuple[int, int], ...]


def order_of(outputs: Sequence[Value], summed: Sequence[bool], native: Sequence[bool],
             ready: Mapping[Value, Place]) -> tuple[list[Step], dict[Value, int]]:
    """Steps, operands before results, and which values are made in an output's own memory.

    Parameters
    ----------
    outputs
        The value of each output.
    summed, native
        Of each output: whether it is a sum of the value, and whether it has the type of the arithmetic.
    ready
        Values that are there before the loop begins.
    """
    steps: list[Step] = []
    seen = set(ready)
    direct: dict[Value, int] = {}
    for j, value in enumerate(outputs):
        stack = [(value, False)]  # expressions may be deeper than Python's stack
        while stack:
            v, operands_done = stack.pop()
            if v in seen or not v.args:
                continue
            if operands_done:
                seen.add(v)
                steps.append(Step(v.op, v.args, v))
            else:
                stack.append((v, True))
                stack.extend((a, False) for a in reversed(v.args))
        if summed[j]:
            steps.append(Step("sum", (value,), None, j))
        elif native[j] and value.args and value not in ready and value not in direct:
            direct[value] = j
        else:
            steps.append(Step("store", (value,), None, j))
    return steps, direct


def allocate(steps: Sequence[Step], direct: Mapping[Value, int], ready: Mapping[Value, Place],
             pairs: Sequence[tuple[int, int]], native: Sequence[bool]) -> Layout:
    """A place for every result.

    A result takes the place of an operand that is read for the last time, else a free register, else the memory of an
    output that is not made yet, else a new register. The memory of an output is not touched before the inputs of
    ``pairs`` with it have been read, so that both may be the same. Functions that take long write to an output's memory
    first if they can: the time that it takes to bring it into the cache is hidden behind their arithmetic.
    """
    last: dict[Value, int] = {}
    made: dict[int, int] = {}  # output -> the step that writes it
    for t, step in enumerate(steps):
        for a in step.args:
            last[a] = t
        if step.op == "store" and step.out is not None:
            made[step.out] = t
        elif step.result is not None and step.result in direct:
            made[direct[step.result]] = t
    read = {place.number: last.get(value, -1) for value, place in ready.items() if place.kind == "in"}
    in_place = [(i, j) for i, j in pairs if j in made and read.get(i, -1) <= made[j]]
    open_from = {j: max([read.get(i, -1) for i, k in in_place if k == j], default=0) for j in made}
    places = dict(ready)
    free: dict[str, list[int]] = {"wide": [], "byte": []}
    count = {"wide": 0, "byte": 0}
    lent: dict[int, int] = {}  # output -> until when its memory serves as a register
    splats: dict[Value, Place] = {}
    for t, step in enumerate(steps):
        for a in dict.fromkeys(step.args):
            if a.op == "splat":
                splats.setdefault(a, Place("splat", len(splats)))
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
        lender = next((j for j in made if kind == "wide" and native[j] and open_from[j] <= t and last[value] <= made[j]
                       and lent.get(j, -1) <= t), None)
        if free[kind] and (lender is None or Lowering.CODES[step.op].cost < _HIDES):
            places[value] = Place(kind, free[kind].pop())
        elif lender is not None:
            places[value] = Place("out", lender)
            lent[lender] = last[value]
        else:
            places[value] = Place(kind, count[kind])
            count[kind] += 1
    return Layout({**places, **splats}, count["wide"], count["byte"], tuple(splats), tuple(in_place))


class _Writer:
    """The function's statements, and the objects that they name."""

    def __init__(self, places: Mapping[Value, Place], constants: Mapping[str, Any], given: Iterable[str],
                 dtype: np.dtype) -> None:
        self.places = places
        self.bits = np.dtype(f"i{dtype.itemsize}")
        # the package's name, so that its filter of warnings holds here
        self.scope: dict[str, Any] = {"__name__": "mxcore_numpy.fusion.body", **constants}
        self.views = {"i": self.bits, "s": np.dtype("i1"), "b": np.dtype("?")}
        self.lines: list[ast.stmt] = []
        self.viewed = {*constants, *given}  # views that are there

    def object(self, name: str, value: Any) -> ast.expr:
        """The name of an object that the function uses."""
        self.scope.setdefault(name, value)
        return ast.Name(name, ast.Load())

    def operand(self, value: Value, view: str) -> ast.expr:
        """A value through a view."""
        if value.op == "const":
            data = value.data.view(self.bits) if view == "i" else value.data
            return self.object(f"const_{data.dtype.char}_{data.tobytes().hex()}", data)
        return self.place(self.places[value], view)

    def place(self, place: Place, view: str) -> ast.expr:
        """An array through a view, which is made at its first use."""
        if view == "f" or (view == "b" and place.kind == "byte"):
            return ast.Name(place.name, ast.Load())
        name = f"{place.name}_{view}"
        if name not in self.viewed:
            self.viewed.add(name)
            method = ast.Attribute(ast.Name(place.name, ast.Load()), "view", ast.Load())
            made = ast.Call(method, [self.object(f"type_{view}", self.views[view])], [])
            self.lines.append(ast.Assign([ast.Name(name, ast.Store())], made))
        return ast.Name(name, ast.Load())

    def call(self, function: ast.expr, arguments: list[ast.expr], out: ast.expr | None = None) -> None:
        """``function(*arguments)``, with the result in ``out``."""
        words = [] if out is None else [ast.keyword("out", out)]
        self.lines.append(ast.Expr(ast.Call(function, arguments, words)))

    def copy(self, target: ast.expr, source: ast.expr) -> None:
        """``target[...] = source``, which converts."""
        self.lines.append(ast.Assign([ast.Subscript(target, ast.Constant(...), ast.Store())], source))

    def step(self, step: Step) -> None:
        """One instruction."""
        if step.op == "store":
            self.copy(ast.Name(f"out{step.out}", ast.Load()), self.operand(step.args[0], "f"))
            return
        if step.op == "sum":
            self.call(ast.Name(f"sum{step.out}", ast.Load()),
                      [self.operand(step.args[0], "f"), ast.Name(f"part{step.out}", ast.Load())])
            return
        code = Lowering.CODES[step.op]
        assert step.result is not None
        arguments = [self.operand(a, v) for a, v in zip(step.args, code.ins, strict=True)]
        result = self.place(self.places[step.result], code.out)
        if code.call is None:
            self.copy(result, arguments[0])
            return
        function = self.object(f"do_{step.op}", code.call)
        if code.form == "value":
            self.copy(result, ast.Call(function, arguments, []))
        elif code.form == "named":
            self.call(function, arguments, result)
        else:
            self.call(function, [*arguments, result])


def emit(steps: Sequence[Step], places: Mapping[Value, Place], groups: Sequence[Sequence[str]], constants: Mapping[str, Any],
         dtype: np.dtype) -> Callable[..., None]:
    """The function of the steps.

    Parameters
    ----------
    groups
        For each parameter of the function, a sequence of arrays, the names of these.
    constants
        Other arrays by name, and for each sum a function ``sum{j}(value, part)``.
    """
    writer = _Writer(places, constants, itertools.chain.from_iterable(groups), dtype)
    parameters = [f"group{k}" for k in range(len(groups))]
    for parameter, names in zip(parameters, groups, strict=True):
        if names:
            targets = ast.Tuple([ast.Name(n, ast.Store()) for n in names], ast.Store())
            writer.lines.append(ast.Assign([targets], ast.Name(parameter, ast.Load())))
    for step in steps:
        writer.step(step)
    arguments = ast.arguments([], [ast.arg(p) for p in parameters], None, [], [], None, [])
    definition = ast.FunctionDef(name="body", args=arguments, body=writer.lines or [ast.Pass()], decorator_list=[])
    if sys.version_info >= (3, 12):
        definition.type_params = []
    module = ast.fix_missing_locations(ast.Module([definition], []))
    exec(compile(module, "<fused loop>", "exec"), writer.scope)
    return writer.scope["body"]
