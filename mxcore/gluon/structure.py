"""Nested lists of inputs and outputs: flattened with a format that tells how to put them together again."""

from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import ArgumentError
from ..ndarray import NDArray
from ..symbol import Symbol

__all__ = ["flatten", "listed", "regroup"]

#: The format of a missing input. That of an array is 0, that of a symbol with n > 1 outputs is n, that of a list is the
#: list of its items' formats.
MISSING = -1


def flatten(args: Any, what: str) -> tuple[list, Any]:
    """The arrays (or symbols, or None) in nested lists and tuples, in order, and the format of the nesting.

    Parameters
    ----------
    args : array, Symbol, None, or nested list or tuple of them
        ``what`` ("input" or "output") names it in errors.

    Returns
    -------
    list, int or list
        The flat values; the format: 0 for one value, n for a symbol of n outputs, -1 for None, else a list of formats.

    Raises
    ------
    ArgumentError
        Something else stands among the values.

    Examples
    --------
    >>> flatten((None, [None]), "input")
    ([None, None], [-1, [-1]])
    """
    if isinstance(args, NDArray):
        return [args], 0
    if isinstance(args, Symbol):
        outputs = len(args.list_outputs())
        return [args], outputs if outputs > 1 else 0
    if args is None:
        return [None], MISSING
    if not isinstance(args, (list, tuple)):
        raise ArgumentError(f"When hybridized, the {what} of HybridBlock must be (nested) list of Symbol or NDArray, "
                            f"but got {args} of type {type(args)}")
    flat: list = []
    formats = []
    for arg in args:
        values, form = flatten(arg, what)
        flat += values
        formats.append(form)
    return flat, formats


def regroup(flat: Iterable, form: Any) -> Any:
    """The inverse of :func:`flatten`; nested tuples come back as lists.

    >>> regroup([1, 2, 3], [0, [0, 0]])
    [1, [2, 3]]
    """
    return _take(iter(flat), form)


def _take(values: Iterator, form: Any) -> Any:
    if isinstance(form, int):
        return next(values) if form <= 0 else [next(values) for _ in range(form)]
    return [_take(values, item) for item in form]


def listed(names: Iterable[str], limit: int = 7) -> str:
    """``'a', 'b', ..., 'z'``: names for a message, the middle left out where there are many.

    >>> listed("abc"), listed("abcdefgh", 4)
    ("'a', 'b', 'c'", "'a', 'b', ..., 'g', 'h'")
    """
    quoted = [f"'{name}'" for name in names]
    if len(quoted) > limit:
        quoted = [*quoted[:limit // 2], "...", *quoted[-(limit // 2):]]
    return ", ".join(quoted)
