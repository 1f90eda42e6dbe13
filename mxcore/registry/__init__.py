"""The operator table: records, schemas read from signatures, shape rules, scalar expressions, kernel resolution."""

from .elementwise import elementwise
from .named import get_alias_func, get_create_func, get_register_func, get_registry
from .op import OPS, Op, alias, get_op, register
from .schema import EMPTY, Attrs, DType, Floats, Scalar, Shape, Slots

__all__ = ["EMPTY", "OPS", "Attrs", "DType", "Floats", "Op", "Scalar", "Shape", "Slots", "alias", "elementwise",
           "get_op", "register", "get_alias_func", "get_create_func", "get_register_func", "get_registry"]
