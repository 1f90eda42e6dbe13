"""Datasets: collections of samples that are addressed by an index."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...ndarray import NDArray
from .sampler import FilterSampler, Sampler

__all__ = ["ArrayDataset", "Dataset", "SimpleDataset"]


class Dataset:
    """Base class of datasets: anything with ``__getitem__(idx)`` and ``__len__()``.

    Subclasses implement those two; the methods here make new datasets out of it. All of them are lazy views,
    except ``transform(..., lazy=False)``.

    Examples
    --------
    >>> squares = SimpleDataset(range(6)).transform(lambda v: v * v)
    >>> list(squares), list(squares.filter(lambda v: v % 2 == 0).take(2))
    ([0, 1, 4, 9, 16, 25], [0, 4])
    """

    def __getitem__(self, idx: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not define __len__")

    def __iter__(self) -> Iterator:
        return (self[i] for i in range(len(self)))

    def filter(self, fn: Callable[[Any], bool]) -> "Dataset":
        """The samples for which ``fn(sample)`` is true.

        ``fn`` runs over all samples at once; the samples themselves are read (and transformed) again when asked for.
        """
        return self.sample(FilterSampler(fn, self))

    def shard(self, num_shards: int, index: int) -> "Dataset":
        """Part ``index`` of ``num_shards`` contiguous parts; the first ones are longer by one where it does not divide.

        Raises
        ------
        AssertionError
            If ``index`` does not lie in ``range(num_shards)``.
        """
        if index < 0:
            raise AssertionError("Index must be non-negative")
        if index >= num_shards:
            raise AssertionError(f"Shard index of out bound: {index} out of {num_shards}")
        length, longer = divmod(len(self), num_shards)
        start = length * index + min(index, longer)
        return _Selection(self, range(start, start + length + (index < longer)))

    def take(self, count: int | None) -> "Dataset":
        """The first ``count`` samples (all of them if ``count`` is None or too large)."""
        if count is not None and count < 0:
            raise ValueError(f"count must not be negative, but is {count}")
        return _Selection(self, range(len(self) if count is None else min(count, len(self))))

    def sample(self, sampler: Sampler) -> "Dataset":
        """The samples whose indices ``sampler`` yields, in that order.

        Raises
        ------
        TypeError
            If ``sampler`` is not a :class:`Sampler`.
        """
        if not isinstance(sampler, Sampler):
            raise TypeError(f"Invalid sampler type: {type(sampler)}. Expected gluon.data.Sampler instead.")
        return _Selection(self, list(sampler))

    def transform(self, fn: Callable, lazy: bool = True) -> "Dataset":
        """Every sample passed through ``fn``; a tuple is given to it as separate arguments.

        Parameters
        ----------
        fn : callable
            Takes a sample, returns the new one.
        lazy : bool
            True: ``fn`` runs whenever a sample is read (what random augmentation needs). False: it runs once for
            all samples now, and the results stay in memory.
        """
        transformed = _Transformed(self, fn)
        return transformed if lazy else SimpleDataset(list(transformed))

    def transform_first(self, fn: Callable, lazy: bool = True) -> "Dataset":
        """Like :meth:`transform`, but ``fn`` sees only the first element of each sample (the data, not the label)."""
        return self.transform(_OnFirst(fn), lazy)


class SimpleDataset(Dataset):
    """Makes a dataset of anything with ``len`` and indexing, for example a list.

    Examples
    --------
    >>> SimpleDataset(["a", "b"])[1]
    'b'
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    def __getitem__(self, idx: int) -> Any:
        return self._data[idx]

    def __len__(self) -> int:
        return len(self._data)


class ArrayDataset(Dataset):
    """Zips arrays, lists or datasets of the same length: sample ``i`` is the tuple of their ``i``-th elements.

    With one argument a sample is the element itself. A one-dimensional NDArray (labels, as a rule) yields NumPy
    scalars, as in MXNet.

    Parameters
    ----------
    *args : NDArray, numpy.ndarray, Dataset, list or any sequence

    Raises
    ------
    AssertionError
        If there is no argument, or the lengths differ.

    Examples
    --------
    >>> ArrayDataset([1, 2, 3], ["a", "b", "c"])[1]
    (2, 'b')
    """

    def __init__(self, *args: Any) -> None:
        if not args:
            raise AssertionError("Needs at least 1 arrays")
        self._length = len(args[0])
        self._data: list[Sequence] = []
        for i, data in enumerate(args):
            if len(data) != self._length:
                raise AssertionError(f"All arrays must have the same length; array[0] has length {self._length} "
                                     f"while array[{i}] has {len(data)}.")
            flat = isinstance(data, NDArray) and len(data.shape) == 1
            self._data.append(data.asnumpy() if flat else data)

    def __getitem__(self, idx: int) -> Any:
        if len(self._data) == 1:
            return self._data[0][idx]
        return tuple([data[idx] for data in self._data])

    def __len__(self) -> int:
        return self._length


class _Selection(Dataset):
    """Some samples of a dataset, by their indices."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self._dataset = dataset
        self._indices = indices

    def __getitem__(self, idx: int) -> Any:
        return self._dataset[self._indices[idx]]

    def __len__(self) -> int:
        return len(self._indices)


class _Transformed(Dataset):
    """Samples of a dataset, each passed through a function when it is read."""

    def __init__(self, dataset: Any, fn: Callable) -> None:
        self._dataset = dataset
        self._fn = fn

    def __getitem__(self, idx: int) -> Any:
        sample = self._dataset[idx]
        return self._fn(*sample) if isinstance(sample, tuple) else self._fn(sample)

    def __len__(self) -> int:
        return len(self._dataset)


class _OnFirst:
    """``fn`` applied to the first argument only; a class, so that it can be pickled for spawned workers."""

    def __init__(self, fn: Callable) -> None:
        self._fn = fn

    def __call__(self, first: Any, *rest: Any) -> Any:
        return (self._fn(first), *rest) if rest else self._fn(first)
