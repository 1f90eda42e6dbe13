"""Indexing where NumPy's own functions are slow: adding up rows, masks of sequences, places prepared for a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from mxcore.registry.bound import Bound, Epilogue, Spec, plain_order

_MOST = 1 << 16  # places that a bound call keeps ready


def worth_a_product(data: np.ndarray, like: np.ndarray, indices: np.ndarray, **attrs: Any) -> bool:
    """Enough rows to pay for a sparse matrix, of a type that SciPy multiplies."""
    return data.size >= 4096 and data.dtype.char in "fd"


def take_back(xp: Any, data: np.ndarray, like: np.ndarray, indices: np.ndarray, *, axis: int = 0, mode: str = "clip") -> Any:
    """The gradient of ``take`` as a product with a sparse matrix of ones, ten times as fast as ``numpy.add.at``."""
    from scipy.sparse import csr_array

    axis %= like.ndim
    n, m = like.shape[axis], indices.size
    index = indices.reshape(-1).astype(np.int64, copy=False)
    index = np.mod(index, n) if mode == "wrap" else np.clip(index, 0, n - 1)
    lead, tail = like.shape[:axis], like.shape[axis + 1:]
    rows = np.moveaxis(data.reshape(*lead, m, *tail), axis, 0).reshape(m, -1)
    ones = csr_array((np.ones(m, data.dtype), index, np.arange(m + 1)), shape=(m, n))
    return np.ascontiguousarray(np.moveaxis((ones.T @ rows).reshape(n, *lead, *tail), 0, axis))


def has_lengths(data: np.ndarray, sequence_length: Any = None, *, use_sequence_length: bool = False, axis: int = 0,
                **attrs: Any) -> bool:
    """Whether anything is to be masked."""
    return use_sequence_length and axis in (0, 1)


def sequence_mask(xp: Any, data: np.ndarray, sequence_length: np.ndarray, *, use_sequence_length: bool = True,
                  value: float = 0.0, axis: int = 0) -> np.ndarray:
    """A copy, then one write behind the end of each sequence."""
    out = np.array(data, order="C")
    for i, end in enumerate(sequence_length.astype(np.int64).tolist()):
        rest = slice(max(end, 0), None)
        out[(rest, i) if axis == 0 else (i, rest)] = value
    return out


# ---------------------------------------------------------------- bound: one element a row
class _Places:
    """Where the elements that an index names along one axis lie in memory, counted from the first."""

    def __init__(self, shape: tuple[int, ...], axis: int, wrap: bool) -> None:
        self.length, self.step, self.wrap = shape[axis], prod(shape[axis + 1:]), wrap
        lines = np.arange(prod(shape[:axis]), dtype=np.int64)[:, None] * (self.length * self.step)
        self.first = (lines + np.arange(self.step)).reshape(-1)
        self.found = np.empty_like(self.first)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """The places, until the next call."""
        found = self.found
        np.copyto(found, index.reshape(-1), casting="unsafe")
        if self.wrap:
            np.mod(found, self.length, out=found)
        else:
            np.maximum(found, 0, out=found)
            np.minimum(found, self.length - 1, out=found)
        if self.step > 1:
            np.multiply(found, self.step, out=found)
        return np.add(found, self.first, out=found)


class _Pick(Bound):
    label = "take"

    def __init__(self, data: Spec, index: Spec, axis: int, wrap: bool) -> None:
        self.places = _Places(data.shape, axis, wrap)
        self.in_orders = [plain_order(len(data.shape)), plain_order(len(index.shape))]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        np.take(ins[0].reshape(-1), self.places(ins[1]), out=outs[0].reshape(-1), mode="clip")


class _BackwardPick(_Pick):
    label = "put"

    def __init__(self, data: Spec, index: Spec, head: Spec, axis: int, wrap: bool) -> None:
        super().__init__(data, index, axis, wrap)
        self.in_orders = [plain_order(len(head.shape)), None, self.in_orders[1]]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        outs[0].fill(0)
        outs[0].reshape(-1)[self.places(ins[2])] = ins[0].reshape(-1)


def _few(data: Spec | None, index: Spec | None, axis: int | None) -> bool:
    return (data is not None and index is not None and axis is not None and -len(data.shape) <= axis < len(data.shape)
            and index.dtype.kind in "iuf" and 0 < index.size <= _MOST and data.size // max(data.shape[axis], 1) == index.size)


def bind_pick(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
              epilogue: Epilogue | None = None) -> Bound | None:
    """``pick`` of so many elements that their places are worth keeping."""
    data, index = ins
    if epilogue is not None or not _few(data, index, attrs["axis"]):
        return None
    bound = _Pick(data, index, attrs["axis"] % len(data.shape), attrs["mode"] == "wrap")  # type: ignore[arg-type, union-attr]
    bound.out_orders = [plain_order(len(outs[0].shape))]
    return bound


def bind_pick_back(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                   epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_pick``."""
    head, _, index = ins
    out = outs[0]
    if epilogue is not None or head is None or head.dtype != out.dtype or not _few(out, index, attrs["axis"]):
        return None
    bound = _BackwardPick(out, index, head, attrs["axis"] % len(out.shape), attrs["mode"] == "wrap")  # type: ignore[arg-type]
    bound.out_orders = [plain_order(len(out.shape))]
    return bound


# ---------------------------------------------------------------- bound: slices
class _Rows(Bound):
    label = "take"
    mode: Any

    def __init__(self, table: int, table_spec: Spec, index: Spec, out: Spec, wrap: bool) -> None:
        self.table, self.index, self.mode = table, 1 - table, "wrap" if wrap else "clip"
        self.numbers = np.empty(index.shape, np.int64)
        orders = {table: plain_order(len(table_spec.shape)), 1 - table: plain_order(len(index.shape))}
        self.in_orders, self.out_orders = [orders[0], orders[1]], [plain_order(len(out.shape))]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        np.copyto(self.numbers, ins[self.index], casting="unsafe")
        np.take(ins[self.table], self.numbers, axis=0, out=outs[0], mode=self.mode)


def _bind_rows(table: Spec | None, index: Spec | None, place: int, out: Spec, wrap: bool) -> Bound | None:
    if table is None or index is None or index.dtype.kind not in "iuf" or not out.size or table.dtype != out.dtype:
        return None
    return _Rows(place, table, index, out, wrap)


def bind_take(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
              epilogue: Epilogue | None = None) -> Bound | None:
    """``take`` along the first axis, where no index is an error."""
    if epilogue is not None or attrs["axis"] != 0 or attrs["mode"] == "raise":
        return None
    return _bind_rows(ins[0], ins[1], 0, outs[0], attrs["mode"] == "wrap")


def bind_embedding(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                   epilogue: Epilogue | None = None) -> Bound | None:
    """``Embedding``."""
    if epilogue is not None or ins[1] is None or ins[1].shape != (attrs["input_dim"], attrs["output_dim"]):
        return None
    return _bind_rows(ins[1], ins[0], 1, outs[0], False)


class _AddedRows(Bound):
    """A product with a sparse matrix of ones, made once; only where the ones are differs from call to call."""

    label = "sparse product"

    def __init__(self, head: Spec, index: Spec, out: Spec, wrap: bool) -> None:
        from scipy.sparse import csc_array

        rows, self.length, self.wrap = index.size, out.shape[0], wrap
        self.numbers = np.empty(rows, np.int64)
        where = np.zeros(rows, np.int32), np.arange(rows + 1, dtype=np.int32)
        self.matrix = csc_array((np.ones(rows, out.dtype), *where), shape=(self.length, rows))
        self.in_orders = [plain_order(len(head.shape)), None, plain_order(len(index.shape))]
        self.out_orders = [plain_order(len(out.shape))]

    def run(self, ins: Sequence[Any], outs: Sequence[Any]) -> None:
        numbers, out = self.numbers, outs[0]
        np.copyto(numbers, ins[2].reshape(-1), casting="unsafe")
        if self.wrap:
            np.mod(numbers, self.length, out=numbers)
        else:
            np.clip(numbers, 0, self.length - 1, out=numbers)
        np.copyto(self.matrix.indices, numbers, casting="same_kind")
        np.copyto(out.reshape(self.length, -1), self.matrix @ ins[0].reshape(len(numbers), -1))


def bind_take_back(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                   epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_take`` along the first axis."""
    head, _, index = ins
    out = outs[0]
    if epilogue is not None or attrs["axis"] != 0 or head is None or index is None or index.dtype.kind not in "iuf" or \
            out.dtype.char not in "fd" or head.dtype != out.dtype or 0 in (index.size, out.size) or out.shape[0] >= 1 << 31:
        return None
    return _AddedRows(head, index, out, attrs["mode"] == "wrap")
