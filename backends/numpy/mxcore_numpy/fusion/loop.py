"""Running a fused loop: over the whole of small arrays at once, over tiles of large ones in threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Spec, plain_order
from mxcore.registry.loop import Loop

from ..threads import parallel, width
from .lower import Lowering, Value
from .registers import Place, allocate, emit, order_of
from .space import Space, Tiles, majority, padded, same_order, strides_in

__all__ = ["FusedLoop"]

_ARENA = 3 << 19  # bytes of scratch registers of a thread
_NEAR = 3 << 18  # bytes that a tile's registers and operands should not exceed: most of a core's second-level cache
_LEAST, _MOST = 1 << 13, 1 << 17  # elements of a tile
_ALONE = 40_000.0  # nanoseconds of work that are not worth waking another thread
_SMALL = 1 << 16  # elements of a result that is computed before the tiles
_SHORT = 512  # elements in a row below which a repeated row is written out

_NUMBERS = itertools.count()


class _Arena(threading.local):
    """Scratch memory of one thread, shared by all its loops."""

    def __init__(self) -> None:
        memory = np.empty(_ARENA + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.memory = memory[start : start + _ARENA]
        self.number = next(_NUMBERS)


_THREAD = _Arena()
_SPLATS: dict[tuple, np.ndarray] = {}


def _splat(value: np.ndarray, size: int) -> np.ndarray:
    """Many copies of a number, shared by all loops."""
    key = value.dtype.char, value.tobytes()
    found = _SPLATS.get(key)
    if found is None or found.size < size:
        found = _SPLATS[key] = np.full(size, value)
        found.flags.writeable = False
    return found[:size]


class _Whole:
    """How an operand is looked at as an array of the space's dimensions."""

    def __init__(self, space: Space, spread: tuple[bool, ...]) -> None:
        present = set(itertools.chain.from_iterable(g for g, s in zip(space.groups, spread, strict=True) if s))
        self.logical = tuple(n if a in present else 1 for a, n in enumerate(space.shape))
        self.order = None if space.order == plain_order(len(space.shape)) else space.order
        self.dims = tuple(n if s else 1 for n, s in zip(space.dims, spread, strict=True))
        self.spread = spread

    def __call__(self, a: np.ndarray) -> np.ndarray:
        if self.order is None:
            return a.reshape(self.dims)
        return a.reshape(self.logical).transpose(self.order).reshape(self.dims)


class FusedLoop(Bound):
    """A loop bound to its operands.

    Parameters
    ----------
    loop : Loop
    ins, outs : sequence of Spec
    threads : int, optional
        At most so many; default :func:`mxcore_numpy.threads.width`.
    tile : int, optional
        Elements of a tile; default by the number of registers.
    """

    def __init__(self, loop: Loop, ins: Sequence[Spec], outs: Sequence[Spec], threads: int | None = None,
                 tile: int | None = None) -> None:
        shape, ndim, dtype = loop.shape, len(loop.shape), loop.dtype
        self.loop = loop
        order = majority(shape, ins)
        full = [spec.shape == shape for spec in ins]
        own = [f and same_order(s.order, order, shape) for s, f in zip(ins, full, strict=True)]
        self.in_orders = [s.order if o else None for s, o in zip(ins, own, strict=True)]
        self.out_orders = [order if r is None else plain_order(len(r.shape)) for r in loop.reductions]
        lowering = Lowering(loop.names, [padded(s.shape, ndim) for s in ins], [s.dtype for s in ins], dtype, ndim)
        values = lowering.lower(loop.exprs)
        for j, (v, r) in enumerate(zip(values, loop.reductions, strict=True)):
            if r is not None and (v.shape != shape or v.op == "const" or (v.op == "in" and not full[v.data])):
                values[j] = Value("fill", (v,), shape, True)  # a sum counts every place
        self._prologue(lowering, values, ins, order)
        native = [s.dtype == dtype for s in outs]
        reduced = [r is not None for r in loop.reductions]
        steps, direct = order_of(values, reduced, native, self.ready)
        pairs = [(i, j) for i in range(len(ins)) for j in range(len(outs))
                 if own[i] and not reduced[j] and ins[i].dtype == outs[j].dtype]
        places, wide, byte, self.in_place = allocate(steps, direct, self.ready, pairs, native)
        used = {places[a] for s in steps for a in s.args if a in places}
        self.used_ins = sorted(p.number for p in used if p.kind == "in")
        self.used_small = sorted(p.number for p in used if p.kind == "small")

        size = prod(shape)
        work = size * (dtype.itemsize / 4) * sum(
            Lowering.CODES[s.op].cost if s.op in Lowering.CODES else 0.25 for s in steps)
        threads = width() if threads is None else threads
        operands = len(self.used_ins) + len(outs) - sum(reduced)
        per_element = dtype.itemsize * (wide + operands) + byte
        best = _NEAR // max(per_element, 1)
        best = min(max(1 << best.bit_length() - 1, _LEAST), _MOST, _ARENA // max(dtype.itemsize * wide + byte, 1) - 1024)
        if threads > 1 and work > _ALONE:
            best = min(best, max(-(-size // (2 * threads)), _LEAST))
        else:
            threads = 1
        best = best if tile is None else tile
        self.threads, self.wide, self.byte = threads, wide, byte
        self.kinds = [s.dtype for s in outs]
        self.views: dict[tuple, list] = {}
        self.alone = size <= best and (threads == 1 or work <= _ALONE)
        ufuncs = sum(s.op in Lowering.CODES for s in steps)
        emitted = (steps, places, (wide, byte), len(ins), len(self.small))
        if self.alone:
            axes = {j: {"axis": r.axes, "keepdims": True} for j, r in enumerate(loop.reductions) if r is not None}
            self.body, self.splats = emit(*emitted, axes, len(outs), dtype)
            self.tile_shape, self.tile_order = shape, order
            self.kept = [None if r is None else tuple(1 if a in r.axes else n for a, n in enumerate(shape))
                         for r in loop.reductions]
            self.label = f"{ufuncs} ufuncs at once"
        else:
            self._cut(ins, order, emitted, best)
            self.label = f"{ufuncs} ufuncs in tiles of {prod(self.tiles.shape)}"
        self.reduces = any(reduced)

    # ------------------------------------------------------------------------------------------------------ preparing
    def _prologue(self, lowering: Lowering, values: Sequence[Value], ins: Sequence[Spec], order: tuple) -> None:
        """Results that broadcast are computed once, before the tiles."""
        loop = self.loop
        limit = min(prod(loop.shape) // 4, _SMALL)
        self.ready: dict[Value, Place] = {}
        for v in lowering.values.values():
            for a in v.args:
                if a.op == "in":
                    self.ready[a] = Place("in", a.data)
        for v in (*values, *lowering.done.values()):
            if v.op == "in":
                self.ready[v] = Place("in", v.data)
        inputs = dict(self.ready)
        self.small: list[np.ndarray] = []
        small: dict[Value, Place] = {}

        def narrow(v: Value) -> bool:
            return bool(v.args) and prod(v.shape) <= limit and v.shape != loop.shape and len(v.shape) == len(loop.shape)

        wanted = [v for v in lowering.values.values() if narrow(v)]
        steps, _ = order_of(wanted, [False] * len(wanted), [False] * len(wanted), inputs)
        steps = [s for s in steps if s.result is not None]
        needed = set(values)
        for v in lowering.values.values():
            if not narrow(v):
                needed.update(v.args)
        keep: set[Value] = set()
        for s in reversed(steps):  # only what the tiles need
            if s.result in needed or s.result in keep:
                keep.update((s.result, *s.args))
        steps = [s for s in steps if s.result in keep]
        inverse = np.argsort(order) if order else ()
        for s in steps:
            v = s.result
            small[v] = Place("small", len(self.small))
            dtype = loop.dtype if v.wide else np.dtype("?")
            self.small.append(np.empty([v.shape[a] for a in order], dtype).transpose(inverse))
        self.ready.update(small)
        self.before: Callable | None = None
        if steps:
            self.before, splats = emit(steps, {**inputs, **small}, (0, 0), len(ins), len(self.small), {}, 0, loop.dtype)
            self.before_splats = [s.data for s in splats]
            self.prepared = sorted({inputs[a].number for s in steps for a in s.args if a in inputs})

    def _cut(self, ins: Sequence[Spec], order: tuple, emitted: tuple, size: int) -> None:
        """Dimensions, tiles, and how every operand is cut."""
        loop = self.loop
        shape, dtype = loop.shape, loop.dtype
        whole = strides_in(Spec(shape, dtype, order), shape)
        of_ins = [strides_in(ins[i], shape) for i in self.used_ins]
        of_small = [tuple(0 if n == 1 else s // a.itemsize for n, s in zip(a.shape, a.strides, strict=True))
                    for a in (self.small[k] for k in self.used_small)]
        of_reduced = {}
        for j, r in enumerate(loop.reductions):
            if r is not None:
                kept = tuple(1 if a in r.axes else n for a, n in enumerate(shape))
                of_reduced[j] = strides_in(Spec(kept, dtype, order), shape)
        space = Space(shape, order, [whole, *of_ins, *of_small, *of_reduced.values()])
        self.tiles = tiles = Tiles.cut(space.dims, size)
        self.tile_shape, self.tile_order = tiles.shape, plain_order(len(tiles.shape))
        spreads: dict[tuple[bool, ...], int] = {}

        def whole_of(strides: tuple[int, ...]) -> tuple[_Whole, int, bool]:
            """The view, the number of its index pattern, and whether it is to be written out for a tile."""
            spread = space.spread(strides)
            row = 1  # elements at a stretch within a tile
            for d in range(len(spread) - 1, tiles.axis - 1, -1):
                if spread[d] != spread[-1]:
                    break
                row *= tiles.dims[d]
            block = not any(spread[: tiles.axis + 1]) and any(spread) and row < _SHORT
            return _Whole(space, spread), spreads.setdefault(spread, len(spreads)), block

        self.whole_ins = [(i, *whole_of(s)) for i, s in zip(self.used_ins, of_ins, strict=True)]
        self.whole_small = [(k, *whole_of(s)) for k, s in zip(self.used_small, of_small, strict=True)]
        self.whole_outs: list[tuple[_Whole, int] | None] = []
        self.direct: list[bool] = []
        axes: dict[int, dict[str, Any]] = {}
        for j, r in enumerate(loop.reductions):
            view, pattern, _ = whole_of(whole if r is None else of_reduced[j])
            self.whole_outs.append((view, pattern))
            spread = view.spread
            if r is not None:
                inner = tuple(d - tiles.axis for d in range(tiles.axis, len(spread)) if not spread[d])
                axes[j] = {"axis": inner, "keepdims": True}
            cut = any(not s for s in spread[: tiles.axis]) or (not spread[tiles.axis] and tiles.pieces > 1)
            kept_axes = [a for g, s in zip(space.groups, spread, strict=True) if s for a in g]
            self.direct.append(r is None or (not cut and kept_axes == sorted(kept_axes) and self.kinds[j] == dtype))
        self.space = space
        self.body, self.splats = emit(*emitted, axes, len(self.kinds), dtype)
        patterns = list(spreads)
        self.indices = [[tiles.index(t, p) for p in patterns] for t in range(tiles.count)]
        shares = min(tiles.count, 4 * self.threads if self.threads > 1 else 1)
        if not all(self.direct):  # one sum for each share
            shares = min(shares, 2 * self.threads)
        self.starts = [tiles.count * k // shares for k in range(shares + 1)]

    def _registers(self) -> list[list[np.ndarray]]:
        """Registers in this thread's memory: for whole tiles and for the last piece."""
        arena = _THREAD
        found = self.views.get(arena.number)
        if found is not None:
            return found
        if len(self.views) > 4 * self.threads + 8:
            self.views.clear()  # of threads that are gone
        shapes = [self.tile_shape]
        if not self.alone and self.tiles.rest != self.tiles.step:
            shapes.append((self.tiles.rest, *self.tile_shape[1:]))
        found = []
        size = prod(self.tile_shape)
        inverse = np.argsort(self.tile_order) if self.tile_order else ()
        for shape in shapes:
            n = prod(shape)
            physical = [shape[a] for a in self.tile_order]

            def placed(flat: np.ndarray, physical: list[int] = physical) -> np.ndarray:
                return flat.reshape(physical).transpose(inverse)

            registers, at = [], 0
            for count, dtype in ((self.wide, self.loop.dtype), (self.byte, np.dtype("?"))):
                for _ in range(count):
                    flat = arena.memory[at : at + n * dtype.itemsize].view(dtype)
                    registers.append(placed(flat))
                    at += -(-size * dtype.itemsize // 64) * 64
            registers += [placed(_splat(v.data, n)) for v in self.splats]
            found.append(registers)
        self.views[arena.number] = found
        return found

    # -------------------------------------------------------------------------------------------------------- running
    def prepare(self, ins: Sequence[np.ndarray]) -> None:
        """Compute what broadcasts."""
        if self.before is not None:
            self.before(ins, self.small, (), (), self.before_splats)

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """The loop."""
        if not self.alone:
            with np.errstate(all="ignore"):
                self._run_tiles(ins, outs)
        elif not self.reduces:
            self.body(ins, self.small, outs, (), self._registers()[0])
        else:
            parts = [None if k is None else o.reshape(k) if t == self.loop.dtype else np.empty(k, self.loop.dtype)
                     for o, k, t in zip(outs, self.kept, self.kinds, strict=True)]
            self.body(ins, self.small, outs, parts, self._registers()[0])
            for o, p, t in zip(outs, parts, self.kinds, strict=True):
                if p is not None and t != self.loop.dtype:
                    o[...] = p.reshape(o.shape)

    def _run_tiles(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        tiles, indices, starts = self.tiles, self.indices, self.starts
        dtype = self.loop.dtype
        operands: list[tuple[np.ndarray, int]] = []  # arrays and index patterns; -1: the same for every tile
        places: list[list[int]] = []
        for source, wholes in ((ins, self.whole_ins), (self.small, self.whole_small)):
            for k, view, pattern, block in wholes:
                a = view(source[k])
                if block:
                    a, pattern = self._block(a), -1
                operands.append((a, pattern))
        del places
        shares = len(starts) - 1
        targets: list[tuple[np.ndarray, int] | None] = []
        sums: dict[int, np.ndarray] = {}
        for j, (view, pattern) in enumerate(self.whole_outs):
            if self.loop.reductions[j] is None or self.direct[j]:
                targets.append((view(outs[j]), pattern))
            else:
                sums[j] = np.zeros((shares, *view.dims), np.float64)
                targets.append(None)
        count_in, count_small = len(ins), len(self.small)
        whole_in, whole_small = self.whole_ins, self.whole_small
        split = len(whole_in)

        def share(number: int) -> None:
            registers = self._registers()
            full, rest = registers[0], registers[-1]
            temporary = {j: np.empty([1 if d in () else n for d, n in enumerate(self._part_shape(j))], dtype) for j in sums}
            tile_ins: list[Any] = [None] * count_in
            tile_small: list[Any] = [None] * count_small
            tile_outs: list[Any] = [None] * len(targets)
            parts: list[Any] = [None] * len(targets)
            pieces = tiles.pieces
            for t in range(starts[number], starts[number + 1]):
                index = indices[t]
                last = t % pieces == pieces - 1
                length = tiles.rest if last else tiles.step
                for (a, p), (k, *_) in zip(operands[:split], whole_in, strict=True):
                    tile_ins[k] = a[index[p]] if p >= 0 else a[:length]
                for (a, p), (k, *_) in zip(operands[split:], whole_small, strict=True):
                    tile_small[k] = a[index[p]] if p >= 0 else a[:length]
                for j, target in enumerate(targets):
                    if target is None:
                        part = temporary[j]
                        parts[j] = part[:length] if part.shape[0] > 1 else part
                    elif self.loop.reductions[j] is None:
                        tile_outs[j] = target[0][index[target[1]]]
                    else:
                        parts[j] = target[0][index[target[1]]]
                self.body(tile_ins, tile_small, tile_outs, parts, rest if last else full)
                for j, total in sums.items():
                    region = total[number][index[self.whole_outs[j][1]]]
                    np.add(region, parts[j], out=region)

        parallel(share, shares, self.threads)
        for j, total in sums.items():
            self._finish(j, total.sum(axis=0), outs[j])

    def _part_shape(self, j: int) -> tuple[int, ...]:
        """Of what one tile adds to a sum."""
        spread = self.whole_outs[j][0].spread
        return tuple(n if s else 1 for n, s in zip(self.tile_shape, spread[self.tiles.axis:], strict=True))

    def _finish(self, j: int, total: np.ndarray, out: np.ndarray) -> None:
        """A sum over the space's dimensions as an output."""
        space, view = self.space, self.whole_outs[j][0]
        logical = [view.logical[a] for a in space.order]
        out[...] = total.reshape(logical).transpose(np.argsort(space.order)).reshape(out.shape)

    def _block(self, a: np.ndarray) -> np.ndarray:
        """An operand that is the same for all tiles, written out for one."""
        block = np.empty(self.tile_shape, a.dtype)
        outer = a[(0,) * self.tiles.axis]
        block[:1] = outer
        done, length = 1, len(block)
        while done < length:
            more = min(done, length - done)
            block[done : done + more] = block[:more]
            done += more
        return block
