"""The cells that compute: simple recurrent units, long short-term memory and gated recurrent units."""

from __future__ import annotations

from typing import Any

from ..parameter import Parameter
from .base_cell import HybridRecurrentCell

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]


class _GatedCell(HybridRecurrentCell):
    """A cell made of two linear maps, from the input and from the hidden state, to ``gates`` blocks of units.

    ``projection`` is the size that the hidden state is projected to, and the initializer of that map.
    """

    i2h_weight: Parameter

    def __init__(self, gates: int, hidden_size: int, i2h_weight_initializer: Any, h2h_weight_initializer: Any,
                 i2h_bias_initializer: Any, h2h_bias_initializer: Any, input_size: int, prefix: str | None,
                 params: Any, projection: tuple[int, Any] | None = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self._hidden_size = hidden_size
        self._input_size = input_size
        self._rows = rows = gates * hidden_size
        out_size, h2r_weight_initializer = projection or (hidden_size, None)
        specs = [("i2h_weight", (rows, input_size), i2h_weight_initializer),
                 ("h2h_weight", (rows, out_size), h2h_weight_initializer),
                 ("h2r_weight", (out_size, hidden_size), h2r_weight_initializer),
                 ("i2h_bias", (rows,), i2h_bias_initializer),
                 ("h2h_bias", (rows,), h2h_bias_initializer)]
        for name, shape, init in specs:
            if projection or name != "h2r_weight":
                setattr(self, name, self.params.get(name, shape=shape, init=init, allow_deferred_init=True))

    def _maps(self, F: Any, t: str, inputs: Any, hidden: Any, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
              h2h_bias: Any) -> tuple[Any, Any]:
        return (F.FullyConnected(inputs, i2h_weight, i2h_bias, num_hidden=self._rows, name=t + "i2h"),
                F.FullyConnected(hidden, h2h_weight, h2h_bias, num_hidden=self._rows, name=t + "h2h"))

    def _sizes(self) -> str:
        rows, inputs = self.i2h_weight.shape or (0, 0)
        return f"{inputs or None} -> {rows}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sizes()})"


class RNNCell(_GatedCell):
    r"""Simple recurrent unit :math:`h_t = \phi(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})`.

    Parameters
    ----------
    hidden_size : int
        Number of units.
    activation : str or Block
        The nonlinearity.
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer : str or Initializer
        Initializers of the parameters of the same name.
    input_size : int
        Number of inputs; 0 finds it at the first call.
    prefix, params
        As for :class:`~mxcore.gluon.Block`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.RNNCell(4)
    >>> cell.initialize()
    >>> outputs, states = cell.unroll(5, mx.nd.ones((2, 5, 3)), merge_outputs=True)
    >>> outputs.shape, states[0].shape
    ((2, 5, 4), (2, 4))
    """

    def __init__(self, hidden_size: int, activation: Any = "tanh", i2h_weight_initializer: Any = None,
                 h2h_weight_initializer: Any = None, i2h_bias_initializer: Any = "zeros",
                 h2h_bias_initializer: Any = "zeros", input_size: int = 0, prefix: str | None = None,
                 params: Any = None) -> None:
        super().__init__(1, hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                         h2h_bias_initializer, input_size, prefix, params)
        self._activation = activation

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"}]

    def _alias(self) -> str:
        return "rnn"

    def hybrid_forward(self, F: Any, inputs: Any, states: list, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
                       h2h_bias: Any) -> tuple[Any, list]:
        t = f"t{self._counter}_"
        i2h, h2h = self._maps(F, t, inputs, states[0], i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        total = F.elemwise_add(i2h, h2h, name=t + "plus0")
        output = self._activate(F, total, self._activation, name=t + "out")
        return output, [output]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sizes()}, {self._activation})"


class LSTMCell(_GatedCell):
    r"""Long short-term memory (Hochreiter and Schmidhuber, 1997), gates in the order i, f, c, o.

    .. math::
        i, f, g, o &= \sigma, \sigma, \tanh, \sigma\,(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
        c_t &= f\,c_{t-1} + i\,g, \qquad h_t = o \tanh c_t

    Parameters
    ----------
    hidden_size : int
        Number of units.
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer : str or Initializer
        Initializers of the parameters of the same name.
    input_size : int
        Number of inputs; 0 finds it at the first call.
    prefix, params
        As for :class:`~mxcore.gluon.Block`.
    activation, recurrent_activation : str
        The nonlinearities of the memory and of the gates.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.LSTMCell(4)
    >>> cell.initialize()
    >>> output, states = cell(mx.nd.ones((2, 3)), cell.begin_state(2))
    >>> output.shape, len(states)
    ((2, 4), 2)
    """

    def __init__(self, hidden_size: int, i2h_weight_initializer: Any = None, h2h_weight_initializer: Any = None,
                 i2h_bias_initializer: Any = "zeros", h2h_bias_initializer: Any = "zeros", input_size: int = 0,
                 prefix: str | None = None, params: Any = None, activation: str = "tanh",
                 recurrent_activation: str = "sigmoid") -> None:
        super().__init__(4, hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                         h2h_bias_initializer, input_size, prefix, params)
        self._activation = activation
        self._recurrent_activation = recurrent_activation

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"},
                {"shape": (batch_size, self._hidden_size), "__layout__": "NC"}]

    def _alias(self) -> str:
        return "lstm"

    def hybrid_forward(self, F: Any, inputs: Any, states: list, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
                       h2h_bias: Any) -> tuple[Any, list]:
        t = f"t{self._counter}_"
        i2h, h2h = self._maps(F, t, inputs, states[0], i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        total = F.elemwise_add(i2h, h2h, name=t + "plus0")
        parts = F.SliceChannel(total, num_outputs=4, name=t + "slice")
        gate = self._recurrent_activation
        i = self._activate(F, parts[0], gate, name=t + "i")
        f = self._activate(F, parts[1], gate, name=t + "f")
        g = self._activate(F, parts[2], self._activation, name=t + "c")
        o = self._activate(F, parts[3], gate, name=t + "o")
        memory = F.elemwise_add(F.elemwise_mul(f, states[1], name=t + "mul0"), F.elemwise_mul(i, g, name=t + "mul1"),
                                name=t + "state")
        shown = F.Activation(memory, act_type=self._activation, name=t + "activation0")
        output = F.elemwise_mul(o, shown, name=t + "out")
        return output, [output, memory]


class GRUCell(_GatedCell):
    r"""Gated recurrent unit (Cho et al., 2014, https://arxiv.org/abs/1406.1078), gates in the order r, z, n.

    .. math::
        r, z &= \sigma\,(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
        n &= \tanh\,(W_{in} x_t + b_{in} + r\,(W_{hn} h_{t-1} + b_{hn})) \\
        h_t &= (1 - z)\,n + z\,h_{t-1}

    The reset gate acts after the matrix product, as in cuDNN.

    Parameters
    ----------
    hidden_size : int
        Number of units.
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer : str or Initializer
        Initializers of the parameters of the same name.
    input_size : int
        Number of inputs; 0 finds it at the first call.
    prefix, params
        As for :class:`~mxcore.gluon.Block`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.GRUCell(4)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3)), cell.begin_state(2))[0].shape
    (2, 4)
    """

    def __init__(self, hidden_size: int, i2h_weight_initializer: Any = None, h2h_weight_initializer: Any = None,
                 i2h_bias_initializer: Any = "zeros", h2h_bias_initializer: Any = "zeros", input_size: int = 0,
                 prefix: str | None = None, params: Any = None) -> None:
        super().__init__(3, hidden_size, i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer,
                         h2h_bias_initializer, input_size, prefix, params)

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return [{"shape": (batch_size, self._hidden_size), "__layout__": "NC"}]

    def _alias(self) -> str:
        return "gru"

    def hybrid_forward(self, F: Any, inputs: Any, states: list, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
                       h2h_bias: Any) -> tuple[Any, list]:
        t = f"t{self._counter}_"
        hidden = states[0]
        i2h, h2h = self._maps(F, t, inputs, hidden, i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        i2h_r, i2h_z, i2h_n = F.SliceChannel(i2h, num_outputs=3, name=t + "i2h_slice")
        h2h_r, h2h_z, h2h_n = F.SliceChannel(h2h, num_outputs=3, name=t + "h2h_slice")
        reset = F.Activation(F.elemwise_add(i2h_r, h2h_r, name=t + "plus0"), act_type="sigmoid", name=t + "r_act")
        update = F.Activation(F.elemwise_add(i2h_z, h2h_z, name=t + "plus1"), act_type="sigmoid", name=t + "z_act")
        new = F.Activation(F.elemwise_add(i2h_n, F.elemwise_mul(reset, h2h_n, name=t + "mul0"), name=t + "plus2"),
                           act_type="tanh", name=t + "h_act")
        kept = F.elemwise_sub(F.ones_like(update, name=t + "ones_like0"), update, name=t + "minus0")
        output = F.elemwise_add(F.elemwise_mul(kept, new, name=t + "mul1"),
                                F.elemwise_mul(update, hidden, name=t + "mul20"), name=t + "out")
        return output, [output]
