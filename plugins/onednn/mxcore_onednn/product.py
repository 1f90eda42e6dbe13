"""Matrix products: ``dot``, ``batch_dot``, ``FullyConnected`` and their gradients, bound into compiled programs.

Each is ``C = A B`` (for every place of the batch axes of ``batch_dot``), where A and B are matrices seen in arrays that
may lie transposed, or in rows longer than needed (what BLAS calls a leading dimension). Nothing is copied for that.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mxcore.registry.bound import Bound, Epilogue, Order, Spec, plain_order

from .codes import Arg
from .epilogue import match
from .library import Unsupported
from .narrow import common, serves_narrow
from .primitive import Binary, Call, Layout, PostOp, Primitive, aligned, reorder

__all__ = ["Factor", "Matrix", "bind_backward_dot", "bind_batch_dot", "bind_dense", "bind_dot"]


# ---------------------------------------------------------------- arrays as matrices
class Matrix(NamedTuple):
    """Matrices in an array: how many, their sizes, and the steps in elements from one to the next."""

    batch: int
    rows: int
    columns: int
    next_matrix: int
    next_row: int
    next_column: int
    dtype: np.dtype

    @property
    def turned(self) -> Matrix:
        """Rows for columns."""
        return Matrix(self.batch, self.columns, self.rows, self.next_matrix, self.next_column, self.next_row, self.dtype)

    def layout(self, batched: bool, chosen: bool = False) -> Layout:
        """For a primitive; with ``chosen`` the one that it likes best."""
        shape = (self.batch, self.rows, self.columns)[0 if batched else 1:]
        return Layout(shape, self.dtype, None if chosen else
                      (self.next_matrix, self.next_row, self.next_column)[0 if batched else 1:])


def _merged(shape: Sequence[int], steps: Sequence[int]) -> tuple[int, int] | None:
    """Axes as one: its size and step; None if no single step leads through them."""
    size, step = 1, 0
    for n, s in reversed([(n, s) for n, s in zip(shape, steps, strict=True) if n > 1]):
        if size == 1:
            step = s
        elif s != step * size:
            return None
        size *= n
    return size, step


def _matrix(spec: Spec, batch: int, rows: int) -> Matrix | None:
    """The array as matrices: ``batch`` axes, then ``rows`` axes that are the rows, the others the columns.

    None where the memory is not such that one axis has neighbours next to each other and the other a step that leads
    past them.
    """
    steps = [s // spec.dtype.itemsize for s in spec.strides]
    found = [_merged(spec.shape[part], steps[part]) for part in
             (slice(batch), slice(batch, batch + rows), slice(batch + rows, None))]
    if None in found:
        return None
    (count, next_matrix), (m, down), (n, right) = found  # type: ignore[misc]
    if n == 1 or right == 1:
        right = 1
        down = down if m > 1 else n
        fits = down >= n
    else:
        down = down if m > 1 else 1
        fits = down == 1 and right >= m
    if count == 1:
        next_matrix = m * n
    return Matrix(count, m, n, next_matrix, down, right, spec.dtype) if fits and next_matrix > 0 else None


class Factor(NamedTuple):
    """A factor of a product: which input, how many of its axes are rows, and whether it is to be transposed."""

    place: int
    rows: int
    turned: bool = False


# ---------------------------------------------------------------- the call
class _Room(threading.local):
    """Memory of a thread for what lives only while a product is computed."""

    def __init__(self) -> None:
        self._memory = aligned(0)

    def of(self, size: int) -> np.ndarray:
        """At least ``size`` bytes."""
        if size > self._memory.nbytes:
            self._memory = aligned(size)
        return self._memory


_ROOM = _Room()


def _worth_packing(a: Matrix, b: Matrix) -> bool:
    """Whether B is to be packed for each call.

    In plain rows its panels are strided through memory again for every block of rows of A; from some hundred rows on
    that costs more than packing it once (5 to 20 per cent of the product).
    """
    return b.batch == 1 and b.next_column == 1 and b.columns > 1 and a.rows >= 256 and a.columns >= 192


class _Product(Bound):
    def __init__(self, a: Matrix, b: Matrix, c: Matrix, places: tuple[int, ...], static: bool, post: Sequence[PostOp],
                 orders: Sequence[Order | None], out: Order) -> None:
        batched, bias = c.batch > 1, len(places) > 2
        line = Layout((1, c.columns), c.dtype, (c.columns, 1)) if bias else None
        given = b.layout(batched)
        primitive = Primitive("matmul", a.layout(batched), b.layout(batched, static or _worth_packing(a, b)), line,
                              c.layout(batched), post=post)
        operands = [(Arg.post(i), p.input) for i, p in enumerate(post) if isinstance(p, Binary)]
        self.call = Call(primitive, [Arg.SRC, Arg.WEIGHTS, *([Arg.BIAS] if bias else []), *(k for k, _ in operands), Arg.DST])
        self.places = (*places, *(p for _, p in operands))
        self.pack: Call | None = None
        self.packed: np.ndarray | None = None
        chosen = primitive.layout(Arg.WEIGHTS)
        self.in_orders, self.out_orders, self.label = orders, (out,), primitive.label
        if chosen != given:
            self.pack, self.size = Call(reorder(given, chosen), [Arg.SRC, Arg.DST]), chosen.nbytes
            self.label += ", packed"
            if static:
                self.prepared, self.packed = (places[1],), aligned(self.size)

    def prepare(self, ins: Sequence[Any]) -> None:
        self.pack(ins[self.places[1]], self.packed)  # type: ignore[misc, arg-type]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        given = [ins[i] for i in self.places]
        if self.packed is not None:
            given[1] = self.packed
        elif self.pack is not None:
            room = _ROOM.of(self.size)
            self.pack(given[1], room)
            given[1] = room
        self.call(*given, outs[0])


def _flat(extra: Spec, out: Spec, c: Matrix) -> Spec | None:
    """An operand of an epilogue for the output as matrices: of its size, one line for all rows, or one number."""
    if extra.shape == out.shape:
        shape: tuple[int, ...] = (c.batch, c.rows, c.columns)[0 if c.batch > 1 else 1:]
    elif extra.size == 1:
        shape = (1,)
    elif extra.size == extra.shape[-1] == out.shape[-1] == c.columns:
        shape = (c.columns,)
    else:
        return None
    return Spec(shape, out.dtype, plain_order(len(shape)))


def _plain(spec: Spec) -> Spec:
    return spec.ordered(plain_order(len(spec.shape)))


def _factor(spec: Spec, batch: int, f: Factor) -> tuple[Matrix, Order | None]:
    """A factor as a matrix, and the memory order in which it is wanted; None: as it is."""
    m, order = _matrix(spec, batch, f.rows), None
    if m is None:
        spec = _plain(spec)
        m, order = _matrix(spec, batch, f.rows), spec.order
    assert m is not None
    return m.turned if f.turned else m, order


def _bind(ins: Sequence[Spec | None], out: Spec, left: Factor, right: Factor, batch: int, rows: int, training: bool,
          epilogue: Epilogue | None, bias: int | None = None) -> Bound | None:
    """``out = left right``; ``rows`` of the axes of ``out`` after ``batch`` ones are rows."""
    own = len(ins) - (len(epilogue.names) if epilogue else 0)
    places = (left.place, right.place, *(() if bias is None else (bias,)))
    given = [s for s in (ins[i] for i in places) if s is not None]
    if len(given) < len(places) or common([*given, out, *ins[own:]]) is None or not all(s.size for s in (*given, out)):
        return None
    orders: list[Order | None] = [None] * own
    a, orders[left.place] = _factor(given[0], batch, left)
    b, orders[right.place] = _factor(given[1], batch, right)
    if bias is not None:
        orders[bias] = plain_order(1)
    out = _plain(out)
    c, _ = _factor(out, batch, Factor(0, rows))
    others = [s for s in ins[own:] if s is not None]
    extras = [e for e in (_flat(s, out, c) for s in others) if e is not None]
    shape = (c.batch, c.rows, c.columns)[0 if c.batch > 1 else 1:]
    post = match(epilogue, _plain(Spec(shape, c.dtype, None)), extras, own, plain_order(len(shape))) \
        if len(extras) == len(ins) - own else None
    if post is None:
        return None
    orders += [plain_order(len(s.shape)) for s in others]
    static = not training and given[1].static
    try:
        bound = _Product(a, b, c, places, static, post, orders, plain_order(len(out.shape)))
    except Unsupported:
        return None
    return None if bound.label.startswith("ref") else bound


# ---------------------------------------------------------------- operators
@serves_narrow(2)
def bind_dot(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
             epilogue: Epilogue | None = None) -> Bound | None:
    """``dot`` of arrays of two axes or more."""
    a, b = ins[:2]
    if a is None or b is None or min(len(a.shape), len(b.shape)) < 2:
        return None
    free = len(a.shape) - 1
    left = Factor(0, 1, True) if attrs["transpose_a"] else Factor(0, free)
    right = Factor(1, len(b.shape) - 1, True) if attrs["transpose_b"] else Factor(1, 1)
    return _bind(ins, outs[0], left, right, 0, free, training, epilogue)


@serves_narrow(lambda attrs: (0, 2 - attrs["of"]))
def bind_backward_dot(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                      epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_dot``: from C = A B come dA = dC B' and dB = A' dC, each transposed where its factor was."""
    dy, a, b = ins[:3]
    if dy is None or a is None or b is None or min(len(a.shape), len(b.shape)) < 2:
        return None
    ta, tb, free_a, free_b = attrs["transpose_a"], attrs["transpose_b"], len(a.shape) - 1, len(b.shape) - 1
    head = Factor(0, free_a)
    if attrs["of"] == 0:
        other = Factor(2, free_b, False) if tb else Factor(2, 1, True)
        factors = (_turned(other), _turned(head)) if ta else (head, other)
        rows = 1 if ta else free_a
    else:
        other = Factor(1, 1, False) if ta else Factor(1, free_a, True)
        factors = (_turned(head), _turned(other)) if tb else (other, head)
        rows = free_b if tb else 1
    return _bind(ins, outs[0], *factors, 0, rows, training, epilogue)


def _turned(f: Factor) -> Factor:
    return f._replace(turned=not f.turned)


@serves_narrow(2)
def bind_batch_dot(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                   epilogue: Epilogue | None = None) -> Bound | None:
    """``batch_dot``."""
    a, b = ins[:2]
    if a is None or b is None or len(a.shape) < 3 or a.shape[:-2] != b.shape[:-2]:
        return None
    return _bind(ins, outs[0], Factor(0, 1, attrs["transpose_a"]), Factor(1, 1, attrs["transpose_b"]), len(a.shape) - 2, 1,
                 training, epilogue)


@serves_narrow(3)
def bind_dense(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
               epilogue: Epilogue | None = None) -> Bound | None:
    """``FullyConnected``."""
    own = len(ins) - (len(epilogue.names) if epilogue else 0)
    x, weight = ins[:2]
    if x is None or weight is None or len(x.shape) < 2 or weight.shape[0] != attrs["num_hidden"]:
        return None
    rows = 1 if attrs["flatten"] else len(x.shape) - 1
    bias = 2 if own > 2 and ins[2] is not None and not attrs["no_bias"] else None
    return _bind(ins, outs[0], Factor(0, rows), Factor(1, 1, True), 0, rows, training, epilogue, bias)
