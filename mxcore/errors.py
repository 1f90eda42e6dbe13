"""The MXNetError family: what goes wrong in mxcore is raised as one of these.

Every class also derives from the built-in exception that a Python programmer would expect
(``TypeError`` for a wrong argument, ``ValueError`` for a wrong value, ...), so both
``except MXNetError`` and ``except ValueError`` work.
"""

__all__ = [
    "MXNetError", "ArgumentError", "ShapeError", "BoundsError", "DTypeError", "ContextError", "OperatorError", "GradientError",
    "BackendMissingError", "KernelMissingError", "FileFormatError", "DeferredInitializationError", "OutOfMemoryError",
]


class MXNetError(RuntimeError):
    """Base of all errors that mxcore raises on purpose (named as in MXNet)."""


class ArgumentError(MXNetError, TypeError, ValueError):
    """An operator or function was called with an unknown, missing or malformed argument."""


class ShapeError(MXNetError, ValueError):
    """Shapes of the inputs do not satisfy the operator's relation."""


class BoundsError(MXNetError, IndexError):
    """An index is outside of the array."""


class DTypeError(MXNetError, TypeError):
    """Data types of the inputs do not satisfy the operator's relation."""


class ContextError(MXNetError, ValueError):
    """Arrays of different devices meet in one call, or a device does not exist."""


class OperatorError(MXNetError, ValueError):
    """An operator failed while it ran (the cause is attached as ``__cause__``)."""


class GradientError(MXNetError):
    """A gradient was asked for that cannot be had: not recorded, freed, or not differentiable."""


class BackendMissingError(MXNetError):
    """No installed backend serves the device kind that was asked for."""


class KernelMissingError(MXNetError):
    """Neither a kernel nor a composite exists for an operator on a device."""


class FileFormatError(MXNetError, ValueError):
    """A file is truncated, corrupt, or not of the format that was expected."""


class DeferredInitializationError(MXNetError):
    """A parameter's value was asked for before its shape was known."""


class OutOfMemoryError(MXNetError, MemoryError):
    """A device could not provide the memory that was asked for."""
