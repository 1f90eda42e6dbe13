"""Name scopes: a block made inside ``with parent.name_scope():`` has its name under the parent's prefix."""

import threading
from types import TracebackType
from typing import TYPE_CHECKING

from .. import name as _name
from .parameter_dict import ParameterDict

if TYPE_CHECKING:
    from .block import Block

__all__ = ["_BlockScope"]


class _Active(threading.local):
    scope: "_BlockScope | None" = None


class _BlockScope:
    """The name scope of one block: counts the children of each kind, and prefixes the operators traced inside.

    A block whose prefix is the empty string has a transparent scope: its children are named as if they stood beside it.
    """

    _current = _Active()

    def __init__(self, block: "Block") -> None:
        self._block = block
        self._counter: dict[str, int] = {}
        self._entered: list[tuple[_BlockScope | None, _name.Prefix]] = []

    @staticmethod
    def create(prefix: str | None, params: ParameterDict | None, hint: str) -> tuple[str, ParameterDict]:
        """The full prefix of a new block, and the dictionary of its parameters.

        Parameters
        ----------
        prefix : str, optional
            As given by the user; None: ``hint`` with the next free number.
        params : ParameterDict, optional
            Parameters to share.
        hint : str
            The kind of block in lower case.
        """
        scope = _BlockScope._current.scope
        if scope is None:
            if prefix is None:
                prefix = _name.current().get(None, hint) + "_"
            return prefix, ParameterDict(prefix if params is None else params.prefix, params)
        if prefix is None:
            number = scope._counter.get(hint, 0)
            scope._counter[hint] = number + 1
            prefix = f"{hint}{number}_"
        parent = scope._block
        own = ParameterDict(parent.params.prefix + prefix, parent.params._shared) if params is None \
            else ParameterDict(params.prefix, params)
        return parent.prefix + prefix, own

    def __enter__(self) -> "_BlockScope":
        if not self._block._empty_prefix:
            manager = _name.Prefix(self._block.prefix)
            self._entered.append((_BlockScope._current.scope, manager))
            _BlockScope._current.scope = self
            manager.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        if not self._block._empty_prefix:
            outer, manager = self._entered.pop()
            manager.__exit__(kind, value, trace)
            _BlockScope._current.scope = outer
