"""``mx.nd``: the NDArray and the operators on it, each an eager function made from the table."""

import sys
from types import ModuleType

from .. import operator as _operator  # the operator Custom
from . import contrib_updates, namespace, random
from .creation import (
    arange,
    array,
    concatenate,
    empty,
    eye,
    from_dlpack,
    from_numpy,
    full,
    histogram,
    linspace,
    moveaxis,
    onehot_encode,
    ones,
    split_v2,
    to_dlpack_for_read,
    to_dlpack_for_write,
    waitall,
    zeros,
)
from .files import load, load_frombuffer, save
from .finite import all_finite, multi_all_finite
from .ndarray import NDArray
from .scalars import (
    add,
    divide,
    equal,
    greater,
    greater_equal,
    hypot,
    lesser,
    lesser_equal,
    logical_and,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    modulo,
    multiply,
    not_equal,
    power,
    subtract,
    true_divide,
)


def _space(name: str) -> ModuleType:
    module = ModuleType(f"{__name__}.{name}", f"Operators of ``mx.nd.{name}``.")
    sys.modules[module.__name__] = module
    return module


contrib, linalg, image, _internal, op = map(_space, ("contrib", "linalg", "image", "_internal", "op"))
vars(contrib).update({name: getattr(contrib_updates, name) for name in contrib_updates.__all__})
namespace.populate(sys.modules[__name__])


def __getattr__(name: str):
    """Operators that were registered after this module was made."""
    return namespace.late(sys.modules[__name__], name, namespace.function_of)
