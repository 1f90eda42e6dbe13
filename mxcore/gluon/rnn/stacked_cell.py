"""Cells made of cells: stacks, and pairs that read in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ndarray as nd
from ..parameter import tensor_types
from .base_cell import HybridRecurrentCell, RecurrentCell
from .sequences import as_sequence, initial_states, mask_steps, reverse_steps

__all__ = ["BidirectionalCell", "HybridSequentialRNNCell", "SequentialRNNCell"]


class _CellStack(RecurrentCell):
    """What the two stacks share: the output of each cell is the input of the next, the states stand side by side."""

    def add(self, cell: RecurrentCell) -> None:
        """Append a cell on top."""
        self.register_child(cell)

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return _state_info(self, batch_size)

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list:
        """The states of all cells; arguments as for :meth:`RecurrentCell.begin_state`."""
        self._refuse_if_modified()
        return _begin_state(self, batch_size, func, **kwargs)

    def unroll(self, length: int, inputs: Any, begin_state: Any = None, layout: str = "NTC",
               merge_outputs: bool | None = None, valid_length: Any = None) -> tuple[Any, list]:
        """Unroll the cells one after another; arguments as for :meth:`RecurrentCell.unroll`."""
        self.reset()
        inputs, _, F, batch_size = as_sequence(length, inputs, layout, None)
        states = iter(initial_states(self, F, begin_state, inputs, batch_size))
        cells = _cells_of(self)
        new_states: list = []
        for cell in cells:
            own = [next(states) for _ in cell.state_info()]
            inputs, after = cell.unroll(length, inputs, begin_state=own, layout=layout, valid_length=valid_length,
                                        merge_outputs=merge_outputs if cell is cells[-1] else None)
            new_states += after
        return inputs, new_states

    def _step(self, inputs: Any, states: list) -> tuple[Any, list]:
        remaining = iter(states)
        new_states: list = []
        for cell in _cells_of(self):
            inputs, after = cell(inputs, [next(remaining) for _ in cell.state_info()])
            new_states += after
        return inputs, new_states

    def __len__(self) -> int:
        return len(self._children)

    def __getitem__(self, i: int) -> RecurrentCell:
        return _cells_of(self)[i]

    def __repr__(self) -> str:
        cells = "\n".join(f"({i}): " + repr(cell).replace("\n", "\n  ") for i, cell in self._children.items())
        return f"{type(self).__name__}(\n{cells}\n)"


class SequentialRNNCell(_CellStack):
    """Cells stacked: each step's output of one is the input of the next.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.SequentialRNNCell()
    >>> cell.add(mx.gluon.rnn.LSTMCell(4))
    >>> cell.add(mx.gluon.rnn.GRUCell(3))
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 5)), cell.begin_state(batch_size=2))[0].shape
    (2, 3)
    """

    def forward(self, inputs: Any, states: list) -> tuple[Any, list]:
        self._counter += 1
        return self._step(inputs, states)


class HybridSequentialRNNCell(_CellStack, HybridRecurrentCell):
    """As :class:`SequentialRNNCell`, for cells that can be hybridized.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.HybridSequentialRNNCell()
    >>> cell.add(mx.gluon.rnn.LSTMCell(4))
    >>> cell.initialize()
    >>> cell.hybridize()
    >>> cell(mx.nd.ones((2, 5)), cell.begin_state(batch_size=2))[0].shape
    (2, 4)
    """

    def hybrid_forward(self, F: Any, inputs: Any, states: list) -> tuple[Any, list]:
        return self._step(inputs, states)


class BidirectionalCell(HybridRecurrentCell):
    """Two cells over a sequence, one forwards, one backwards; their outputs are concatenated. It can only be unrolled.

    Parameters
    ----------
    l_cell, r_cell : RecurrentCell
        The cells that read forwards and backwards.
    output_prefix : str
        Start of the names of the concatenated outputs.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.BidirectionalCell(mx.gluon.rnn.LSTMCell(4), mx.gluon.rnn.LSTMCell(4))
    >>> cell.initialize()
    >>> cell.unroll(5, mx.nd.ones((2, 5, 3)), merge_outputs=True)[0].shape
    (2, 5, 8)
    """

    def __init__(self, l_cell: RecurrentCell, r_cell: RecurrentCell, output_prefix: str = "bi_") -> None:
        super().__init__(prefix="", params=None)
        self.register_child(l_cell, "l_cell")
        self.register_child(r_cell, "r_cell")
        self._output_prefix = output_prefix

    def __call__(self, inputs: Any, states: list) -> Any:
        raise NotImplementedError("Bidirectional cannot be stepped. Please use unroll")

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return _state_info(self, batch_size)

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list:
        """The states of both cells; arguments as for :meth:`RecurrentCell.begin_state`."""
        self._refuse_if_modified()
        return _begin_state(self, batch_size, func, **kwargs)

    def unroll(self, length: int, inputs: Any, begin_state: Any = None, layout: str = "NTC",
               merge_outputs: bool | None = None, valid_length: Any = None) -> tuple[Any, list]:
        """Unroll both cells and join their outputs; arguments as for :meth:`RecurrentCell.unroll`."""
        self.reset()
        steps, axis, F, batch_size = as_sequence(length, inputs, layout, False)
        turned = reverse_steps(F, steps, valid_length)
        states = initial_states(self, F, begin_state, steps, batch_size)
        l_cell, r_cell = _cells_of(self)
        count = len(l_cell.state_info(batch_size))
        left, l_states = l_cell.unroll(length, steps, begin_state=states[:count], layout=layout,
                                       merge_outputs=merge_outputs, valid_length=valid_length)
        right, r_states = r_cell.unroll(length, turned, begin_state=states[count:], layout=layout,
                                        merge_outputs=False, valid_length=valid_length)
        right = reverse_steps(F, right, valid_length)
        merged = isinstance(left, tensor_types) if merge_outputs is None else merge_outputs
        left, *_ = as_sequence(None, left, layout, merged)
        right, *_ = as_sequence(None, right, layout, merged)
        if merged:
            outputs = F.concat(left, right, dim=2, name=f"{self._output_prefix}out")
        else:
            outputs = [F.concat(a, b, dim=1, name=f"{self._output_prefix}t{i}")
                       for i, (a, b) in enumerate(zip(left, right, strict=True))]
        if valid_length is not None:
            outputs = mask_steps(F, outputs, length, valid_length, axis, merged)
        return outputs, l_states + r_states

    def __repr__(self) -> str:
        return f"{type(self).__name__}(forward={self._children['l_cell']!r}, backward={self._children['r_cell']!r})"


def _cells_of(cell: RecurrentCell) -> list[Any]:
    return list(cell._children.values())


def _state_info(cell: RecurrentCell, batch_size: int) -> list[dict]:
    return [info for child in _cells_of(cell) for info in child.state_info(batch_size)]


def _begin_state(cell: RecurrentCell, batch_size: int, func: Callable, **kwargs: Any) -> list:
    return [state for child in _cells_of(cell)
            for state in child.begin_state(batch_size=batch_size, func=func, **kwargs)]
