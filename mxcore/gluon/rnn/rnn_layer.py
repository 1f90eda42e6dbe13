"""Recurrent layers over whole sequences: RNN, LSTM and GRU on the fused ``RNN`` operator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ... import ndarray as nd
from ... import symbol as sym
from ..block import HybridBlock
from ..parameter import Parameter, tensor_types
from .rnn_cell import (
    BidirectionalCell,
    DropoutCell,
    GRUCell,
    HybridRecurrentCell,
    HybridSequentialRNNCell,
    LSTMCell,
    RNNCell,
)

__all__ = ["GRU", "LSTM", "RNN"]

_GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}
_PARAMETER = re.compile(r"(l|r)(\d+)_((?:i2h|h2h|h2r)_(?:weight|bias))")


class _RNNLayer(HybridBlock):
    """What the three layers share: the parameters of each layer and direction, the states, and the call."""

    def __init__(self, hidden_size: int, num_layers: int, layout: str, dropout: float, bidirectional: bool,
                 input_size: int, i2h_weight_initializer: Any, h2h_weight_initializer: Any,
                 i2h_bias_initializer: Any, h2h_bias_initializer: Any, mode: str, projection_size: int | None,
                 h2r_weight_initializer: Any, lstm_state_clip_min: float | None, lstm_state_clip_max: float | None,
                 lstm_state_clip_nan: bool, dtype: Any, use_sequence_length: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert layout in ("TNC", "NTC"), f"Invalid layout {layout}; must be one of ['TNC' or 'NTC']"
        self._hidden_size = hidden_size
        self._projection_size = projection_size
        self._num_layers = num_layers
        self._mode = mode
        self._layout = layout
        self._dropout = dropout
        self._dir = 2 if bidirectional else 1
        self._input_size = input_size
        self._i2h_weight_initializer = i2h_weight_initializer
        self._h2h_weight_initializer = h2h_weight_initializer
        self._i2h_bias_initializer = i2h_bias_initializer
        self._h2h_bias_initializer = h2h_bias_initializer
        self._lstm_state_clip_min = lstm_state_clip_min
        self._lstm_state_clip_max = lstm_state_clip_max
        self._lstm_state_clip_nan = lstm_state_clip_nan
        self._dtype = dtype
        self._use_sequence_length = use_sequence_length
        self.skip_states: bool | None = None

        rows = _GATES[mode] * hidden_size
        out_size = projection_size or hidden_size
        in_size = input_size
        for layer in range(num_layers):
            for side in ("l", "r")[: self._dir]:
                prefix = f"{side}{layer}_"
                self._register_param(prefix + "i2h_weight", (rows, in_size), i2h_weight_initializer, dtype)
                self._register_param(prefix + "h2h_weight", (rows, out_size), h2h_weight_initializer, dtype)
                self._register_param(prefix + "i2h_bias", (rows,), i2h_bias_initializer, dtype)
                self._register_param(prefix + "h2h_bias", (rows,), h2h_bias_initializer, dtype)
                if projection_size:
                    self._register_param(prefix + "h2r_weight", (projection_size, hidden_size),
                                         h2r_weight_initializer, dtype)
            in_size = out_size * self._dir

    def _register_param(self, name: str, shape: tuple[int, ...], init: Any, dtype: Any) -> None:
        setattr(self, name, self.params.get(name, shape=shape, init=init, allow_deferred_init=True, dtype=dtype))

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        # MXNet keeps the file names of the cells that these layers once consisted of
        if prefix:
            prefix += "."
        found = super()._collect_params_with_prefix()
        return {prefix + _PARAMETER.sub(self._unfused_name, name): value for name, value in found.items()}

    def _unfused_name(self, match: re.Match) -> str:
        side, layer, what = match.groups()
        return f"_unfused.{layer}.{side}_cell.{what}" if self._dir == 2 else f"_unfused.{layer}.{what}"

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """Shape, layout and type of each state, as a list of dicts."""
        raise NotImplementedError

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list:
        """The states to start with.

        Parameters
        ----------
        batch_size : int
            Number of sequences.
        func : callable
            Makes an array of ``shape=...``: ``mx.nd.zeros`` (the default), ``mx.nd.ones``, ``mx.sym.zeros`` ...
        **kwargs
            More arguments of ``func``, such as ``ctx`` or ``dtype``.

        Returns
        -------
        list of NDArray or Symbol
        """
        return [func(name=f"{self._prefix}h0_{i}", **{**info, **kwargs})
                for i, info in enumerate(self.state_info(batch_size))]

    def cast(self, dtype: Any) -> None:
        """Cast the parameters and the states that :meth:`begin_state` will make."""
        super().cast(dtype)
        self._dtype = dtype

    def __call__(self, inputs: Any, states: Any = None, sequence_length: Any = None) -> Any:
        skip = states is None
        if skip != self.skip_states and self.skip_states is not None:
            self._clear_cached_op()  # a compiled graph returns the states or it does not
        self.skip_states = skip
        if skip:
            if isinstance(inputs, nd.NDArray):
                batch_size = inputs.shape[self._layout.find("N")]
                states = self.begin_state(batch_size, ctx=inputs.context, dtype=inputs.dtype)
            else:
                states = self.begin_state(0, func=sym.zeros)
        if isinstance(states, tensor_types):
            states = [states]
        if self._use_sequence_length:
            return super().__call__(inputs, states, sequence_length)
        return super().__call__(inputs, states)

    def hybrid_forward(self, F: Any, x: Any, states: Any, sequence_length: Any = None, **params: Any) -> Any:
        if isinstance(x, nd.NDArray):
            expected = self.state_info(x.shape[self._layout.find("N")])
            for state, info in zip(states, expected, strict=True):
                if state.shape != info["shape"]:
                    raise ValueError(f"Invalid recurrent state shape. Expecting {info['shape']}, got {state.shape}.")
        outputs, states = self._forward_kernel(F, x, states, sequence_length, **params)
        return outputs if self.skip_states else (outputs, states)

    def _forward_kernel(self, F: Any, inputs: Any, states: list, sequence_length: Any, **params: Any) -> tuple:
        if self._layout == "NTC":
            inputs = F.swapaxes(inputs, dim1=0, dim2=1)
        sides = [f"{side}{layer}_" for layer in range(self._num_layers) for side in ("l", "r")[: self._dir]]
        weights = ("i2h_weight", "h2h_weight", "h2r_weight") if self._projection_size else ("i2h_weight", "h2h_weight")
        names = [side + what for whats in (weights, ("i2h_bias", "h2h_bias")) for side in sides for what in whats]
        packed = F._internal._rnn_param_concat(*(params[name].reshape(-1) for name in names), dim=0)
        lengths = {"sequence_length": sequence_length} if self._use_sequence_length else {}
        outputs, *states = F.RNN(
            inputs, packed, *states, use_sequence_length=self._use_sequence_length, state_size=self._hidden_size,
            projection_size=self._projection_size, num_layers=self._num_layers, bidirectional=self._dir == 2,
            p=self._dropout, state_outputs=True, mode=self._mode, lstm_state_clip_min=self._lstm_state_clip_min,
            lstm_state_clip_max=self._lstm_state_clip_max, lstm_state_clip_nan=self._lstm_state_clip_nan, **lengths)
        if self._layout == "NTC":
            outputs = F.swapaxes(outputs, dim1=0, dim2=1)
        return outputs, states

    def _unfuse(self) -> HybridSequentialRNNCell:
        """The same network as a stack of cells that share these parameters."""
        assert not self._projection_size, "_unfuse does not support projection layer yet!"
        make = {"rnn_relu": lambda **kw: RNNCell(self._hidden_size, activation="relu", **kw),
                "rnn_tanh": lambda **kw: RNNCell(self._hidden_size, activation="tanh", **kw),
                "lstm": lambda **kw: LSTMCell(self._hidden_size, **kw),
                "gru": lambda **kw: GRUCell(self._hidden_size, **kw)}[self._mode]
        stack = HybridSequentialRNNCell(prefix=self.prefix, params=self.params)
        with stack.name_scope():
            in_size = self._input_size
            for layer in range(self._num_layers):
                cells: list[HybridRecurrentCell] = [
                    make(prefix=f"{side}{layer}_", input_size=in_size,
                         i2h_weight_initializer=self._i2h_weight_initializer,
                         h2h_weight_initializer=self._h2h_weight_initializer,
                         i2h_bias_initializer=self._i2h_bias_initializer,
                         h2h_bias_initializer=self._h2h_bias_initializer)
                    for side in ("l", "r")[: self._dir]]
                stack.add(BidirectionalCell(cells[0], cells[1]) if self._dir == 2 else cells[0])
                if self._dropout > 0 and layer != self._num_layers - 1:
                    stack.add(DropoutCell(self._dropout))
                in_size = self._hidden_size * self._dir
        return stack

    def __repr__(self) -> str:
        parts = [f"{self._input_size or None} -> {self._hidden_size}", self._layout]
        if self._num_layers != 1:
            parts.append(f"num_layers={self._num_layers}")
        if self._dropout != 0:
            parts.append(f"dropout={self._dropout}")
        if self._dir == 2:
            parts.append("bidirectional")
        return f"{type(self).__name__}({', '.join(parts)})"


class RNN(_RNNLayer):
    r"""Layers of simple recurrent units, :math:`h_t = \phi(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})`.

    Called with ``inputs`` alone it returns the outputs of all steps; with ``inputs, states`` it returns
    ``outputs, new_states``. Outputs have the layout of the inputs and ``hidden_size`` (twice as many where
    bidirectional) channels; the state is ``(num_layers * directions, batch, hidden_size)``.

    Parameters
    ----------
    hidden_size : int
        Number of units in each layer and direction.
    num_layers : int
        Number of layers stacked.
    activation : str
        ``"relu"`` or ``"tanh"``.
    layout : str
        Axes of inputs and outputs: ``TNC`` (time, batch, channels) or ``NTC``.
    dropout : float
        Dropout between the layers, while training.
    bidirectional : bool
        Whether each layer also runs backwards.
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer : str or Initializer
        Initializers of the parameters ``l0_i2h_weight``, ... (``r0_...`` for the backward direction).
    input_size : int
        Number of input channels; 0 finds it at the first call.
    dtype : str or numpy.dtype
        Type of the parameters.
    use_sequence_length : bool, keyword
        Whether the call takes ``sequence_length``, the number of valid steps of each sequence.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.rnn.RNN(100, num_layers=3)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((5, 3, 10))).shape
    (5, 3, 100)
    >>> output, states = layer(mx.nd.ones((5, 3, 10)), layer.begin_state(3))
    >>> [s.shape for s in states]
    [(3, 3, 100)]
    """

    def __init__(self, hidden_size: int, num_layers: int = 1, activation: str = "relu", layout: str = "TNC",
                 dropout: float = 0, bidirectional: bool = False, i2h_weight_initializer: Any = None,
                 h2h_weight_initializer: Any = None, i2h_bias_initializer: Any = "zeros",
                 h2h_bias_initializer: Any = "zeros", input_size: int = 0, dtype: Any = "float32",
                 **kwargs: Any) -> None:
        super().__init__(hidden_size, num_layers, layout, dropout, bidirectional, input_size, i2h_weight_initializer,
                         h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer, "rnn_" + activation,
                         None, None, None, None, False, dtype, **kwargs)

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """One state: the hidden values."""
        return [{"shape": (self._num_layers * self._dir, batch_size, self._hidden_size), "__layout__": "LNC",
                 "dtype": self._dtype}]


class LSTM(_RNNLayer):
    r"""Layers of long short-term memory (Hochreiter and Schmidhuber, 1997; gates in the order i, f, c, o).

    .. math::
        i, f, g, o &= \sigma, \sigma, \tanh, \sigma\,(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
        c_t &= f\,c_{t-1} + i\,g, \qquad h_t = o \tanh c_t

    Called as :class:`RNN`; the states are hidden values and memory. With ``projection_size`` the hidden values are
    projected (Sak et al., 2014, https://arxiv.org/abs/1402.1128), so outputs and hidden state have that many channels.

    Parameters
    ----------
    projection_size : int, optional
        Number of channels that the hidden values are projected to.
    h2r_weight_initializer : str or Initializer, optional
        Initializer of the projection.
    state_clip_min, state_clip_max : float, optional
        Bounds that the memory is clipped to at each step.
    state_clip_nan : bool
        Whether NaN is clipped too.
    hidden_size, num_layers, layout, dropout, bidirectional, input_size, dtype, use_sequence_length, \
i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        As for :class:`RNN`.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.rnn.LSTM(100, num_layers=3)
    >>> layer.initialize()
    >>> output, states = layer(mx.nd.ones((5, 3, 10)), layer.begin_state(3))
    >>> output.shape, [s.shape for s in states]
    ((5, 3, 100), [(3, 3, 100), (3, 3, 100)])
    """

    def __init__(self, hidden_size: int, num_layers: int = 1, layout: str = "TNC", dropout: float = 0,
                 bidirectional: bool = False, input_size: int = 0, i2h_weight_initializer: Any = None,
                 h2h_weight_initializer: Any = None, i2h_bias_initializer: Any = "zeros",
                 h2h_bias_initializer: Any = "zeros", projection_size: int | None = None,
                 h2r_weight_initializer: Any = None, state_clip_min: float | None = None,
                 state_clip_max: float | None = None, state_clip_nan: bool = False, dtype: Any = "float32",
                 **kwargs: Any) -> None:
        super().__init__(hidden_size, num_layers, layout, dropout, bidirectional, input_size, i2h_weight_initializer,
                         h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer, "lstm", projection_size,
                         h2r_weight_initializer, state_clip_min, state_clip_max, state_clip_nan, dtype, **kwargs)

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """Two states: the hidden values (projected, if at all) and the memory."""
        rows = self._num_layers * self._dir
        return [{"shape": (rows, batch_size, size), "__layout__": "LNC", "dtype": self._dtype}
                for size in (self._projection_size or self._hidden_size, self._hidden_size)]


class GRU(_RNNLayer):
    r"""Layers of gated recurrent units (Cho et al., 2014, https://arxiv.org/abs/1406.1078; gates in the order r, z, n).

    .. math::
        r, z &= \sigma\,(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
        n &= \tanh\,(W_{in} x_t + b_{in} + r\,(W_{hn} h_{t-1} + b_{hn})) \\
        h_t &= (1 - z)\,n + z\,h_{t-1}

    The reset gate acts after the matrix product, as in cuDNN. Called as :class:`RNN`.

    Parameters
    ----------
    hidden_size, num_layers, layout, dropout, bidirectional, input_size, dtype, use_sequence_length, \
i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer
        As for :class:`RNN`.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.rnn.GRU(100, layout="NTC", bidirectional=True)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((3, 5, 10))).shape
    (3, 5, 200)
    """

    def __init__(self, hidden_size: int, num_layers: int = 1, layout: str = "TNC", dropout: float = 0,
                 bidirectional: bool = False, input_size: int = 0, i2h_weight_initializer: Any = None,
                 h2h_weight_initializer: Any = None, i2h_bias_initializer: Any = "zeros",
                 h2h_bias_initializer: Any = "zeros", dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(hidden_size, num_layers, layout, dropout, bidirectional, input_size, i2h_weight_initializer,
                         h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer, "gru", None, None, None,
                         None, False, dtype, **kwargs)

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """One state: the hidden values."""
        return [{"shape": (self._num_layers * self._dir, batch_size, self._hidden_size), "__layout__": "LNC",
                 "dtype": self._dtype}]
