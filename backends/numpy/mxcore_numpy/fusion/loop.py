"""Running a fused loop: over the whole of small arrays at once, over tiles of large ones in threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from math import prod
from operator import getitem
from typing import Any, NamedTuple

import numpy as np

from mxcore.registry.bound import Bound, Spec, plain_order
from mxcore.registry.loop import Loop, Reduction

from ..threads import parallel, width
from .plan import Plan, splat
from .registers import emit
from .space import Space, Tiles, strides_in
from .sums import summation

__all__ = ["AtOnce", "InTiles", "bind_loop"]

_ARENA = 3 << 20  # bytes of scratch registers of a thread
# Elements of a tile. Its registers and operands should be in the second-level cache of a core. But between two calls a
# thread needs the interpreter, which another may hold just then, and waking up costs as much as a thousand elements: so
# with threads tiles are not much smaller than what was best for two, 48 to 64 thousand, however many registers there are.
_NEAR = 1 << 20  # bytes
_LEAST, _LEAST_SHARED, _MOST = 1 << 13, 3 << 14, 1 << 17
_OWN = 1 << 15  # bytes of registers that a small loop has for itself
_ALONE = 100_000.0  # nanoseconds of work that are not worth waking another thread
_SHORT = 512  # elements in a row below which a repeated row is written out

_F8 = np.dtype("float64")
_BOOL = np.dtype("?")
_NUMBERS = itertools.count()


class _Arena(threading.local):
    """Scratch memory of one thread, shared by all its loops."""

    def __init__(self) -> None:
        memory = np.empty(_ARENA + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.memory = memory[start : start + _ARENA]
        self.number = next(_NUMBERS)


_THREAD = _Arena()


def bind_loop(loop: Loop, ins: Sequence[Spec], outs: Sequence[Spec], threads: int | None = None,
              tile: int | None = None) -> Bound:
    """A loop bound to its operands.

    Parameters
    ----------
    loop : Loop
    ins, outs : sequence of Spec
        Different inputs must be different memory, or be read only.
    threads : int, optional
        At most so many; default :func:`mxcore_numpy.threads.width`.
    tile : int, optional
        Elements of a tile; default by the number of registers.
    """
    plan = Plan(loop, ins, outs)
    size = prod(loop.shape)
    threads = width() if threads is None else threads
    if plan.cost <= _ALONE:
        threads = 1
    layout, itemsize = plan.layout, loop.dtype.itemsize
    scratch = max(itemsize * layout.wide + layout.byte, 1)
    if tile is None:
        operands = len(plan.used_ins) + len(outs) - sum(plan.summed)
        least = _LEAST if threads == 1 else _LEAST_SHARED
        tile = min(max(_NEAR // (scratch + itemsize * operands) >> 10 << 10, least), _MOST)
        if threads > 1:  # as many for each
            each = -(-size // threads)
            tile = max(-(-each // -(-each // tile)), _LEAST)
    tile = min(tile, _ARENA * 3 // 4 // scratch)  # pieces are rounded up by a fourth at most
    return AtOnce(plan) if size <= tile and threads == 1 else InTiles(plan, tile, threads)


class _Registers:
    """Registers of a loop in the memory of the thread that asks.

    Parameters
    ----------
    shapes
        Of whole tiles, and of others that occur. The first is the largest.
    order
        Of their axes in memory.
    """

    def __init__(self, plan: Plan, shapes: Sequence[tuple[int, ...]], order: Sequence[int]) -> None:
        layout = plan.layout
        self.types = [plan.loop.dtype] * layout.wide + [_BOOL] * layout.byte
        self.views = [np.dtype(f"i{t.itemsize}") for t in self.types]
        kinds = [f"wide{k}" for k in range(layout.wide)] + [f"byte{k}" for k in range(layout.byte)]
        self.names = kinds + [f"{k}_{'i' if k.startswith('wide') else 's'}" for k in kinds] \
            + [f"splat{k}" for k in range(len(layout.splats))]
        self.splats = [v.data for v in layout.splats]
        self.shapes, self.order, self.inverse = shapes, order, np.argsort(order).tolist()
        size = prod(shapes[0])
        self.starts = list(itertools.accumulate((-(-size * t.itemsize // 64) * 64 for t in self.types), initial=0))
        self.made: dict[int, list[list[np.ndarray]]] = {}

    @property
    def nbytes(self) -> int:
        """Of all."""
        return self.starts[-1]

    def within(self, memory: np.ndarray) -> list[list[np.ndarray]]:
        """For each shape the registers, their bits as integers, and the splats: what ``names`` says."""
        found = []
        for shape in self.shapes:
            n, physical = prod(shape), [shape[a] for a in self.order]
            flat = [memory[at : at + n * t.itemsize].view(t) for at, t in zip(self.starts, self.types, strict=False)]
            flat += [a.view(t) for a, t in zip(flat, self.views, strict=True)]
            flat += [splat(v, n) for v in self.splats]
            found.append([a.reshape(physical).transpose(self.inverse) for a in flat])
        return found

    def here(self) -> list[list[np.ndarray]]:
        """In the memory of this thread."""
        arena = _THREAD
        found = self.made.get(arena.number)
        if found is None:
            if len(self.made) > 64:
                self.made.clear()  # threads come and go
            found = self.made[arena.number] = self.within(arena.memory)
        return found


class _Loop(Bound):
    """What both ways have in common."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.in_orders, self.out_orders, self.in_place = plan.in_orders, plan.out_orders, plan.layout.in_place
        self.before, self.prepared = plan.before, plan.prepared

    def prepare(self, ins: Sequence[np.ndarray]) -> None:
        """Compute what broadcasts."""
        if self.before is not None:
            self.before(ins)


def _sum_all(r: Reduction, shape: tuple[int, ...], dtype: np.dtype, out: np.dtype) -> Callable:
    """A function (value, result) that sums a whole array."""
    kept = tuple(1 if a in r.axes else n for a, n in enumerate(shape))
    sums = summation(r.axes)
    if out == dtype:
        return sums if r.shape == kept else lambda value, part: sums(value, part.reshape(kept))

    def store(value: np.ndarray, part: np.ndarray) -> None:
        found = np.empty(kept, dtype)
        sums(value, found)
        part[...] = found.reshape(part.shape)

    return store


class AtOnce(_Loop):
    """Ufunc by ufunc over whole arrays: small ones, on the calling thread."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        loop = plan.loop
        self.label = f"{plan.ufuncs} ufuncs at once"
        registers = _Registers(plan, [loop.shape], plan.order)
        constants: dict[str, Any] = {f"small{k}": a for k, a in enumerate(plan.small)}
        outputs = []
        for j, r in enumerate(loop.reductions):
            outputs.append(f"out{j}" if r is None else f"part{j}")
            if r is not None:
                constants[f"sum{j}"] = _sum_all(r, loop.shape, loop.dtype, plan.outs[j].dtype)
        groups = [[f"in{k}" for k in range(len(plan.ins))], outputs]
        self.registers = None
        if registers.nbytes <= _OWN:
            constants |= zip(registers.names, registers.within(np.empty(registers.nbytes, np.uint8))[0], strict=True)
        else:
            self.registers = registers
            groups.append(registers.names)
        self.body = emit(plan.steps, plan.layout.places, groups, constants, loop.dtype)

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """The loop."""
        if self.registers is None:
            self.body(ins, outs)
        else:
            self.body(ins, outs, self.registers.here()[0])


class _View(NamedTuple):
    """How an operand is looked at with the dimensions of the space: its shape before its axes are put in the order of
    memory, and after neighbours are joined."""

    logical: tuple[int, ...]
    dims: tuple[int, ...]


class _Total(NamedTuple):
    """A sum to which many tiles add: the output, its view, the shape of what a tile adds."""

    number: int
    view: _View
    part: tuple[int, ...]


class InTiles(_Loop):
    """Tile by tile, in threads."""

    def __init__(self, plan: Plan, size: int, threads: int) -> None:
        super().__init__(plan)
        loop, order = plan.loop, plan.order
        shape, dtype = loop.shape, loop.dtype
        self.threads, self.dtype = threads, dtype
        self.plain = order == plain_order(len(shape))
        strides = self._strides()
        self.space = space = Space(shape, order, list(strides.values()))
        self.tiles = tiles = Tiles.cut(space.dims, size)
        self.label = f"{plan.ufuncs} ufuncs in tiles of {prod(tiles.shape)}"
        self.operands: list[tuple[int, _View]] = []  # place among inputs, small arrays and outputs
        self.blocks: list[int] = []  # places in ``operands`` of those that are written out for a tile
        self.totals: list[_Total] = []
        starts = {"in": 0, "small": len(plan.ins), "out": len(plan.ins) + len(plan.small)}
        starts["part"] = starts["out"]
        names: list[str] = []
        spreads: list[tuple[bool, ...]] = []
        constants: dict[str, Any] = {}
        for (kind, number), own in strides.items():
            spread = space.spread(own)
            present = [a for g, s in zip(space.groups, spread, strict=True) if s for a in g]
            view = _View(tuple(n if a in present else 1 for a, n in enumerate(shape)),
                         tuple(n if s else 1 for n, s in zip(space.dims, spread, strict=True)))
            if kind == "part":
                inner = range(tiles.axis, len(spread))
                constants[f"sum{number}"] = summation(tuple(d - tiles.axis for d in inner if not spread[d]))
                if self._is_cut(spread) or plan.outs[number].dtype != dtype or present != sorted(present):
                    part = tuple(n if s else 1 for n, s in zip(tiles.shape, spread[tiles.axis:], strict=True))
                    self.totals.append(_Total(number, view, part))
                    continue
            if kind in ("in", "small") and self._is_block(spread):
                self.blocks.append(len(self.operands))
            self.operands.append((starts[kind] + number, view))
            names.append(f"{kind}{number}")
            spreads.append(spread)
        names += [f"part{t.number}" for t in self.totals]
        of_totals = [tuple(n != 1 for n in t.view.dims) for t in self.totals]
        #: for each tile: where it is in each operand, in what is added to sums, and in the sums; the number of its shape
        self.pieces: list[tuple[list[Any], list[Any], int]] = []
        for t in range(tiles.number):
            last = t % tiles.pieces == tiles.pieces - 1
            within = slice(0, tiles.rest if last else tiles.step)
            index: list[Any] = [within if k in self.blocks else tiles.part(t, s) for k, s in enumerate(spreads)]
            index += [within] * len(self.totals)
            self.pieces.append((index, [tiles.part(t, s) for s in of_totals], int(last and tiles.rest != tiles.step)))
        shapes = [tiles.shape]
        if tiles.rest != tiles.step:
            shapes.append((tiles.rest, *tiles.shape[1:]))
        self.registers = _Registers(plan, shapes, plain_order(len(tiles.shape)))
        self.body = emit(plan.steps, plan.layout.places, [names, self.registers.names], constants, dtype)
        shares = min(tiles.number, (2 if self.totals else 4) * threads if threads > 1 else 1)  # a share has sums of its own
        self.shares = [self.pieces[tiles.number * k // shares : tiles.number * (k + 1) // shares] for k in range(shares)]

    def _strides(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """Strides of what the body reads and writes, along the axes of the loop."""
        plan, shape, dtype, order = self.plan, self.plan.loop.shape, self.plan.loop.dtype, self.plan.order
        strides = {("in", i): strides_in(plan.ins[i], shape) for i in plan.used_ins}
        for k in plan.used_small:
            a = plan.small[k]
            strides["small", k] = tuple(0 if n == 1 else s // a.itemsize for n, s in zip(a.shape, a.strides, strict=True))
        for j, r in enumerate(plan.loop.reductions):
            kept = shape if r is None else tuple(1 if a in r.axes else n for a, n in enumerate(shape))
            strides["out" if r is None else "part", j] = strides_in(Spec(kept, dtype, order), shape)
        return strides

    def _is_block(self, spread: tuple[bool, ...]) -> bool:
        """Whether an operand is the same for all tiles and changes or stays for a few elements at a time only."""
        row = 1
        for d in range(len(spread) - 1, self.tiles.axis - 1, -1):
            if spread[d] != spread[-1]:
                break
            row *= self.tiles.dims[d]
        return not any(spread[: self.tiles.axis + 1]) and any(spread) and row < _SHORT

    def _is_cut(self, spread: tuple[bool, ...]) -> bool:
        """Whether several tiles add to one place of a sum."""
        axis = self.tiles.axis
        return not all(spread[:axis]) or (not spread[axis] and self.tiles.pieces > 1)

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """The loop."""
        with np.errstate(all="ignore"):
            arrays = (*ins, *self.plan.small, *outs)
            if self.plain:
                wholes = [arrays[k].reshape(v.dims) for k, v in self.operands]
            else:
                order = self.plan.order
                wholes = [arrays[k].reshape(v.logical).transpose(order).reshape(v.dims) for k, v in self.operands]
            for k in self.blocks:
                wholes[k] = self._block(wholes[k])
            if self.totals:
                self._run_with_sums(wholes, outs)
            else:
                self._run_plain(wholes)

    def _run_plain(self, wholes: list[np.ndarray]) -> None:
        body, here, shares = self.body, self.registers.here, self.shares

        def share(number: int) -> None:
            registers = here()
            for index, _, shape in shares[number]:
                body(list(map(getitem, wholes, index)), registers[shape])

        parallel(share, len(shares), self.threads)

    def _run_with_sums(self, wholes: list[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        body, here, shares, totals, add = self.body, self.registers.here, self.shares, self.totals, np.add
        sums = [np.zeros((len(shares), *t.view.dims), _F8) for t in totals]

        def share(number: int) -> None:
            registers = here()
            operands = wholes + [np.empty(t.part, self.dtype) for t in totals]
            mine = [s[number] for s in sums]
            for index, places, shape in shares[number]:
                tile: list[np.ndarray] = list(map(getitem, operands, index))
                body(tile, registers[shape])
                for total, place, part in zip(mine, places, tile[len(wholes):], strict=True):
                    region = total[place]
                    add(region, part, region)

        parallel(share, len(shares), self.threads)
        order = self.plan.order
        for t, s in zip(totals, sums, strict=True):
            value = np.add.reduce(s, axis=0).reshape([t.view.logical[a] for a in order])
            out = outs[t.number]
            out[...] = value.transpose(np.argsort(order).tolist()).reshape(out.shape)

    def _block(self, a: np.ndarray) -> np.ndarray:
        """An operand that is the same for all tiles, written out for one."""
        block = np.empty(self.tiles.shape, a.dtype)
        block[:1] = a[(0,) * self.tiles.axis]
        done = 1
        while done < len(block):  # by copies of what is there: long rows
            more = min(done, len(block) - done)
            block[done : done + more] = block[:more]
            done += more
        return block
