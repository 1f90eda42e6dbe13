"""Recurrent cells, under the module name that MXNet gives them."""

from .base_cell import HybridRecurrentCell, RecurrentCell
from .gated_cell import GRUCell, LSTMCell, RNNCell
from .modifier_cell import DropoutCell, ModifierCell, ResidualCell, ZoneoutCell
from .stacked_cell import BidirectionalCell, HybridSequentialRNNCell, SequentialRNNCell

__all__ = [
    "BidirectionalCell", "DropoutCell", "GRUCell", "HybridRecurrentCell", "HybridSequentialRNNCell", "LSTMCell",
    "ModifierCell", "RNNCell", "RecurrentCell", "ResidualCell", "SequentialRNNCell", "ZoneoutCell",
]
