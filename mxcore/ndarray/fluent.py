"""Methods that arrays get from the operator table; their signatures are in ``fluent.pyi``, which is generated."""

__all__ = ["ArrayMethods"]


class ArrayMethods:
    """Base of ``NDArray``: ``x.sum(axis=0)`` for ``nd.sum(x, axis=0)`` and so on (:data:`mxcore.ndarray.namespace.METHODS`)."""

    __slots__ = ()
