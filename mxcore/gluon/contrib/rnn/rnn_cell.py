"""LSTM with projection, and dropout with one mask for the whole sequence."""

from __future__ import annotations

from typing import Any

from ...rnn import BidirectionalCell, RecurrentCell
from ...rnn.gated_cell import _GatedCell
from ...rnn.modifier_cell import RememberingCell
from ...rnn.sequences import as_sequence, initial_states

__all__ = ["LSTMPCell", "VariationalDropoutCell"]


class LSTMPCell(_GatedCell):
    """Long short-term memory whose hidden state is projected (Sak et al., 2014, https://arxiv.org/abs/1402.1128).

    Parameters
    ----------
    hidden_size : int
        Number of units.
    projection_size : int
        Number of outputs: what the hidden values are projected to.
    i2h_weight_initializer, h2h_weight_initializer, h2r_weight_initializer, i2h_bias_initializer, \
h2h_bias_initializer : str or Initializer
        Initializers of the parameters of the same name.
    input_size : int
        Number of inputs; 0 finds it at the first call.
    prefix, params
        As for :class:`~mxcore.gluon.Block`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.LSTMPCell(8, 3)
    >>> cell.initialize()
    >>> output, states = cell(mx.nd.ones((2, 5)), cell.begin_state(2))
    >>> [s.shape for s in states]
    [(2, 3), (2, 8)]
    """

    def __init__(self, hidden_size: int, projection_size: int, i2h_weight_initializer: Any = None,
                 h2h_weight_initializer: Any = None, h2r_weight_initializer: Any = None,
                 i2h_bias_initializer: Any = "zeros", h2h_bias_initializer: Any = "zeros", input_size: int = 0,
                 prefix: str | None = None, params: Any = None) -> None:
        super().__init__(4, hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                         h2h_bias_initializer, input_size, prefix, params, (projection_size, h2r_weight_initializer))
        self._projection_size = projection_size

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return [{"shape": (batch_size, self._projection_size), "__layout__": "NC"},
                {"shape": (batch_size, self._hidden_size), "__layout__": "NC"}]

    def _alias(self) -> str:
        return "lstmp"

    def hybrid_forward(self, F: Any, inputs: Any, states: list, i2h_weight: Any, h2h_weight: Any, h2r_weight: Any,
                       i2h_bias: Any, h2h_bias: Any) -> tuple[Any, list]:
        t = f"t{self._counter}_"
        i2h, h2h = self._maps(F, t, inputs, states[0], i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        parts = F.SliceChannel(i2h + h2h, num_outputs=4, name=t + "slice")
        i, f = (F.Activation(parts[k], act_type="sigmoid", name=t + name) for k, name in enumerate("if"))
        g = F.Activation(parts[2], act_type="tanh", name=t + "c")
        o = F.Activation(parts[3], act_type="sigmoid", name=t + "o")
        memory = F.elemwise_add(f * states[1], i * g, name=t + "state")
        hidden = F.elemwise_mul(o, F.Activation(memory, act_type="tanh"), name=t + "hidden")
        output = F.FullyConnected(hidden, h2r_weight, num_hidden=self._projection_size, no_bias=True, name=t + "out")
        return output, [output, memory]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sizes()} -> {self._projection_size})"


class VariationalDropoutCell(RememberingCell):
    """Dropout whose mask stays the same over the whole sequence (Gal and Ghahramani, 2016,
    https://arxiv.org/abs/1512.05287); :meth:`reset` draws new masks.

    Parameters
    ----------
    base_cell : RecurrentCell
        The cell to wrap.
    drop_inputs, drop_states, drop_outputs : float
        Probability that an element of the input, of the first state, or of the output is dropped.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.VariationalDropoutCell(mx.gluon.rnn.RNNCell(4), drop_inputs=0.2)
    >>> cell.initialize()
    >>> cell.unroll(3, mx.nd.ones((2, 3, 5)), merge_outputs=True)[0].shape
    (2, 3, 4)
    """

    def __init__(self, base_cell: RecurrentCell, drop_inputs: float = 0.0, drop_states: float = 0.0,
                 drop_outputs: float = 0.0) -> None:
        assert not drop_states or not isinstance(base_cell, BidirectionalCell), (
            "BidirectionalCell doesn't support variational state dropout. "
            "Please add VariationalDropoutCell to the cells underneath instead.")
        super().__init__(base_cell)
        self.drop_inputs = drop_inputs
        self.drop_states = drop_states
        self.drop_outputs = drop_outputs

    def _alias(self) -> str:
        return "vardrop"

    def reset(self) -> None:
        """Forget the masks, too."""
        super().reset()
        self._masks: dict[str, Any] = {}

    def _dropped(self, F: Any, what: str, p: float, data: Any) -> Any:
        if not p:
            return data
        if what not in self._masks:
            self._masks[what] = F.Dropout(F.ones_like(data), p=p)
        return data * self._masks[what]

    def hybrid_forward(self, F: Any, inputs: Any, states: list) -> tuple[Any, list]:
        states = [self._dropped(F, "states", self.drop_states, states[0]), *states[1:]]
        inputs = self._dropped(F, "inputs", self.drop_inputs, inputs)
        output, new_states = self.base_cell(inputs, states)
        return self._dropped(F, "outputs", self.drop_outputs, output), new_states

    def unroll(self, length: int, inputs: Any, begin_state: Any = None, layout: str = "NTC",
               merge_outputs: bool | None = None, valid_length: Any = None) -> tuple[Any, list]:
        """Unroll; without dropout of states, the whole sequence is dropped out of at once."""
        if self.drop_states:
            return super().unroll(length, inputs, begin_state=begin_state, layout=layout, merge_outputs=merge_outputs,
                                  valid_length=valid_length)
        self.reset()
        inputs, axis, F, batch_size = as_sequence(length, inputs, layout, True)
        states = initial_states(self, F, begin_state, inputs, batch_size)
        if self.drop_inputs:
            inputs = F.Dropout(inputs, p=self.drop_inputs, axes=(axis,))
        outputs, states = self.base_cell.unroll(length, inputs, begin_state=states, layout=layout, merge_outputs=True,
                                                valid_length=valid_length)
        if self.drop_outputs:
            outputs = F.Dropout(outputs, p=self.drop_outputs, axes=(axis,))
        outputs, *_ = as_sequence(length, outputs, layout, merge_outputs)
        return outputs, states

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p_out = {self.drop_outputs}, p_state = {self.drop_states})"
