"""Samplers: the order in which a :class:`~mxcore.gluon.data.DataLoader` visits a dataset."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np

__all__ = ["BatchSampler", "FilterSampler", "IntervalSampler", "RandomSampler", "Sampler", "SequentialSampler"]


class Sampler:
    """Base class: something that can be iterated, yields sample indices, and has a length.

    Subclasses implement ``__iter__`` and ``__len__``; both raise ``NotImplementedError`` here.
    """

    def __iter__(self) -> Iterator:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not define __len__")


class SequentialSampler(Sampler):
    """The indices ``start, start + 1, ..., start + length - 1``.

    Parameters
    ----------
    length : int
        How many indices.
    start : int
        The first one.

    Examples
    --------
    >>> list(SequentialSampler(3, start=2))
    [2, 3, 4]
    """

    def __init__(self, length: int, start: int = 0) -> None:
        self._length = length
        self._start = start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._start + self._length))

    def __len__(self) -> int:
        return self._length


class RandomSampler(Sampler):
    """The indices below ``length`` in random order, a new order for every pass.

    The order is drawn from ``numpy.random``, so ``numpy.random.seed`` makes it repeatable; the same seed
    gives the same order as MXNet.

    Parameters
    ----------
    length : int
        How many indices.

    Examples
    --------
    >>> sorted(int(i) for i in RandomSampler(3))
    [0, 1, 2]
    """

    def __init__(self, length: int) -> None:
        self._length = length

    def __iter__(self) -> Iterator:
        indices = np.arange(self._length)
        np.random.shuffle(indices)
        return iter(indices)

    def __len__(self) -> int:
        return self._length


class FilterSampler(Sampler):
    """The indices of those samples for which ``fn(sample)`` is true (asked once, at construction).

    Parameters
    ----------
    fn : callable
        Takes a sample, returns whether to keep it.
    dataset : Dataset
        Where the samples come from.

    Examples
    --------
    >>> list(FilterSampler(lambda sample: sample > 5, [4, 6, 5, 7]))
    [1, 3]
    """

    def __init__(self, fn: Callable[[Any], bool], dataset: Any) -> None:
        self._fn = fn
        self._dataset = dataset
        self._indices = [i for i in range(len(dataset)) if fn(dataset[i])]

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


class IntervalSampler(Sampler):
    """Every ``interval``-th index below ``length``, then (with ``rollover``) those that were skipped.

    Parameters
    ----------
    length : int
        How many indices there are.
    interval : int
        The step between two samples.
    rollover : bool
        Whether to start again at 1, 2, ... until every index was visited.

    Examples
    --------
    >>> list(IntervalSampler(7, interval=3))
    [0, 3, 6, 1, 4, 2, 5]
    >>> list(IntervalSampler(7, interval=3, rollover=False))
    [0, 3, 6]
    """

    def __init__(self, length: int, interval: int, rollover: bool = True) -> None:
        if not 1 <= interval <= length:
            raise AssertionError(f"Interval {interval} must be at least 1 and smaller than or equal to length {length}")
        self._length = length
        self._interval = interval
        self._rollover = rollover

    def __iter__(self) -> Iterator[int]:
        for start in range(self._interval if self._rollover else 1):
            yield from range(start, self._length, self._interval)

    def __len__(self) -> int:
        # MXNet gives the whole length here without rollover too; this is the number of indices that come
        return self._length if self._rollover else -(-self._length // self._interval)


class BatchSampler(Sampler):
    """Groups the indices of another sampler into lists of ``batch_size``.

    Parameters
    ----------
    sampler : Sampler
        Where the indices come from.
    batch_size : int
        How many indices a batch has.
    last_batch : {'keep', 'discard', 'rollover'}
        What happens to an incomplete last batch: it is yielded, thrown away, or becomes the beginning of the
        next pass.

    Raises
    ------
    ValueError
        If ``last_batch`` is none of the three or ``batch_size`` is not positive.

    Examples
    --------
    >>> list(BatchSampler(SequentialSampler(5), 2, "keep"))
    [[0, 1], [2, 3], [4]]
    >>> rolling = BatchSampler(SequentialSampler(5), 2, "rollover")
    >>> list(rolling), list(rolling)
    ([[0, 1], [2, 3]], [[4, 0], [1, 2], [3, 4]])
    """

    def __init__(self, sampler: Iterable, batch_size: int, last_batch: str = "keep") -> None:
        if last_batch not in ("keep", "discard", "rollover"):
            raise ValueError(f"last_batch must be one of 'keep', 'discard', or 'rollover', but got {last_batch}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, but got {batch_size}")
        self._sampler = sampler
        self._batch_size = batch_size
        self._last_batch = last_batch
        self._left: list = []

    def __iter__(self) -> Iterator[list]:
        batch, self._left = self._left, []
        for index in self._sampler:
            batch.append(index)
            if len(batch) == self._batch_size:
                yield batch
                batch = []
        if batch and self._last_batch == "keep":
            yield batch
        elif self._last_batch == "rollover":
            self._left = batch

    def __len__(self) -> int:
        assert isinstance(self._sampler, Sized)
        if self._last_batch == "keep":
            return -(-len(self._sampler) // self._batch_size)
        return (len(self._sampler) + len(self._left)) // self._batch_size
