"""Methods that symbols get from the operator table; their signatures are in ``fluent.pyi``, which is generated."""

__all__ = ["SymbolMethods"]


class SymbolMethods:
    """Base of ``Symbol``: ``x.sum(axis=0)`` for ``sym.sum(x, axis=0)`` and so on, and Python's operators."""

    __slots__ = ()
