"""The classes that networks are made of, under the module name that MXNet gives them."""

from .hybrid_block import HybridBlock
from .plain_block import Block
from .symbol_block import SymbolBlock

__all__ = ["Block", "HybridBlock", "SymbolBlock"]
