"""Cells that change another cell (residual, zoneout), and dropout as a cell."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

from ... import ndarray as nd
from ..parameter import tensor_types
from .base_cell import HybridRecurrentCell, RecurrentCell
from .sequences import as_sequence, mask_steps
from .stacked_cell import BidirectionalCell

__all__ = ["DropoutCell", "ModifierCell", "ResidualCell", "ZoneoutCell"]


class DropoutCell(HybridRecurrentCell):
    """Dropout on the input, as a cell without states (for a :class:`SequentialRNNCell`).

    Parameters
    ----------
    rate : float
        Probability that an element is dropped while training.
    axes : tuple of int
        Axes along which one decision is shared.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.rnn.DropoutCell(0.5)(mx.nd.ones((1, 2)), [])[0].asnumpy().tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, rate: float, axes: tuple[int, ...] = (), prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix, params)
        self._rate = rate
        self._axes = axes
        assert isinstance(rate, Real), "rate must be a number"

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return []

    def _alias(self) -> str:
        return "dropout"

    def hybrid_forward(self, F: Any, inputs: Any, states: list) -> tuple[Any, list]:
        if self._rate > 0:
            inputs = F.Dropout(inputs, p=self._rate, axes=self._axes, name=f"t{self._counter}_fwd")
        return inputs, states

    def unroll(self, length: int, inputs: Any, begin_state: Any = None, layout: str = "NTC",
               merge_outputs: bool | None = None, valid_length: Any = None) -> tuple[Any, list]:
        """Drop out of the whole sequence at once, where it comes in one array."""
        self.reset()
        inputs, _, F, _ = as_sequence(length, inputs, layout, merge_outputs)
        if isinstance(inputs, tensor_types):
            return self.hybrid_forward(F, inputs, begin_state or [])
        return super().unroll(length, inputs, begin_state=begin_state, layout=layout, merge_outputs=merge_outputs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rate={self._rate}, axes={self._axes})"


class ModifierCell(HybridRecurrentCell):
    """Base of the cells that wrap another one; the parameters are those of the base cell.

    Parameters
    ----------
    base_cell : RecurrentCell
        The cell to wrap; afterwards it must not be called itself.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.rnn.ResidualCell(mx.gluon.rnn.GRUCell(4, prefix="gru_")).prefix
    'gru_residualcell'
    """

    def __init__(self, base_cell: RecurrentCell) -> None:
        base_cell._refuse_if_modified()
        base_cell._modified = True
        super().__init__(prefix=base_cell.prefix + self._alias(), params=None)
        self.base_cell = base_cell

    @property
    def params(self) -> Any:
        """The parameters of the base cell."""
        return self.base_cell.params

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return self.base_cell.state_info(batch_size)

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list:
        """The states of the base cell; arguments as for :meth:`RecurrentCell.begin_state`."""
        self._refuse_if_modified()
        self.base_cell._modified = False
        begin = self.base_cell.begin_state(batch_size=batch_size, func=func, **kwargs)
        self.base_cell._modified = True
        return begin

    def hybrid_forward(self, F: Any, inputs: Any, states: list) -> tuple[Any, list]:
        raise NotImplementedError(f"{type(self).__name__} does not define hybrid_forward")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_cell!r})"


class RememberingCell(ModifierCell):
    """A modifier that keeps something from one step to the next, which one step's graph could not do.

    So :meth:`hybridize` compiles the base cell alone. In a block that unrolls it, the whole is compiled.
    """

    def hybridize(self, active: bool = True, *args: Any, **kwargs: Any) -> None:
        self.base_cell.hybridize(active, *args, **kwargs)


class ZoneoutCell(RememberingCell):
    """Zoneout (Krueger et al., 2017, https://arxiv.org/abs/1606.01305): while training, random elements of the output
    and of the states keep the value of the step before.

    Parameters
    ----------
    base_cell : RecurrentCell
        The cell to wrap.
    zoneout_outputs, zoneout_states : float
        Probability that an element of the output, or of a state, is kept.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.rnn.ZoneoutCell(mx.gluon.rnn.RNNCell(4), zoneout_outputs=0.1)
    ZoneoutCell(p_out=0.1, p_state=0.0, RNNCell(None -> 4, tanh))
    """

    def __init__(self, base_cell: RecurrentCell, zoneout_outputs: float = 0.0, zoneout_states: float = 0.0) -> None:
        assert not isinstance(base_cell, BidirectionalCell), (
            "BidirectionalCell doesn't support zoneout since it doesn't support step. "
            "Please add ZoneoutCell to the cells underneath instead.")
        super().__init__(base_cell)
        self.zoneout_outputs = zoneout_outputs
        self.zoneout_states = zoneout_states
        self._prev_output = None

    def _alias(self) -> str:
        return "zoneout"

    def reset(self) -> None:
        """Forget the output of the step before, too."""
        super().reset()
        self._prev_output = None

    def hybrid_forward(self, F: Any, inputs: Any, states: list) -> tuple[Any, list]:
        output, new_states = self.base_cell(inputs, states)

        def keep(p: float, new: Any, old: Any) -> Any:
            return F.where(F.Dropout(F.ones_like(new), p=p), new, old)

        if self.zoneout_outputs != 0:
            before = F.zeros_like(output) if self._prev_output is None else self._prev_output
            output = keep(self.zoneout_outputs, output, before)
        if self.zoneout_states != 0:
            new_states = [keep(self.zoneout_states, new, old) for new, old in zip(new_states, states, strict=True)]
        self._prev_output = output
        return output, new_states

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(p_out={self.zoneout_outputs}, p_state={self.zoneout_states}, "
                f"{self.base_cell!r})")


class ResidualCell(ModifierCell):
    """Adds the input of the base cell to its output (Wu et al., 2016, https://arxiv.org/abs/1609.08144).

    Parameters
    ----------
    base_cell : RecurrentCell
        The cell to wrap; its output has the shape of its input.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.ResidualCell(mx.gluon.rnn.GRUCell(3))
    >>> cell.initialize()
    >>> cell.unroll(4, mx.nd.ones((2, 4, 3)), merge_outputs=True)[0].shape
    (2, 4, 3)
    """

    def hybrid_forward(self, F: Any, inputs: Any, states: list) -> tuple[Any, list]:
        output, states = self.base_cell(inputs, states)
        return F.elemwise_add(output, inputs, name=f"t{self._counter}_fwd"), states

    def unroll(self, length: int, inputs: Any, begin_state: Any = None, layout: str = "NTC",
               merge_outputs: bool | None = None, valid_length: Any = None) -> tuple[Any, list]:
        """Unroll the base cell, then add the inputs; arguments as for :meth:`RecurrentCell.unroll`."""
        self.reset()
        self.base_cell._modified = False
        outputs, states = self.base_cell.unroll(length, inputs, begin_state=begin_state, layout=layout,
                                                merge_outputs=merge_outputs, valid_length=valid_length)
        self.base_cell._modified = True
        merged = isinstance(outputs, tensor_types)
        inputs, axis, F, _ = as_sequence(length, inputs, layout, merged)
        if valid_length is not None:
            inputs = mask_steps(F, inputs, length, valid_length, axis, merged)
        if merged:
            return F.elemwise_add(outputs, inputs), states
        return [F.elemwise_add(o, i) for o, i in zip(outputs, inputs, strict=True)], states
