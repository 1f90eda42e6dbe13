"""``mx.sym``: symbols and the operators on them, each a function that composes."""

import sys
from types import ModuleType

from .. import autograd as _autograd  # the operator _vjp
from ..ndarray.namespace import late as _late
from . import namespace, random
from .creation import arange, eye, full, histogram, linspace, ones, split_v2, zeros
from .operators import FUNCTIONS as _FUNCTIONS
from .symbol import Group, Symbol, load, load_json, var

Variable = var


def _space(name: str) -> ModuleType:
    module = ModuleType(f"{__name__}.{name}", f"Operators of ``mx.sym.{name}``.")
    sys.modules[module.__name__] = module
    return module


contrib, linalg, image, _internal, op = map(_space, ("contrib", "linalg", "image", "_internal", "op"))
globals().update(_FUNCTIONS)
namespace.populate(sys.modules[__name__])
fromjson = load_json


def __getattr__(name: str):
    """Operators that were registered after this module was made."""
    return _late(sys.modules[__name__], name, namespace.function_of)
