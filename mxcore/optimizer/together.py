"""One operator call for all the weights that an optimizer is given."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from ..registry.op import OPS
from ..registry.schema import Attrs
from ..runtime.invoke import invoke

__all__ = ["listed", "update_together"]


def listed(*values: Any) -> tuple[Any, ...]:
    """Arguments of ``update`` as lists, whether they came so or one by one."""
    return values if isinstance(values[0], (list, tuple)) else tuple([value] for value in values)


def update_together(name: str, weights: Sequence[Any], groups: Iterable[Sequence[Any]], **attrs: Any) -> None:
    """Call an operator that updates many weights, in place.

    Parameters
    ----------
    name : str
        Of the operator.
    weights : sequence of NDArray
    groups : iterable of sequences of NDArray
        The inputs for each weight.
    **attrs
        Numbers of the types that the operator's schema names; they change from call to call, so they are not parsed.
    """
    op = OPS[name]
    invoke(op, list(chain.from_iterable(groups)), Attrs({**op.schema.defaults, **attrs}), weights)
