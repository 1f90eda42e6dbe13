"""Recurrent cells that convolve: simple, LSTM (Shi et al., 2015, https://arxiv.org/abs/1506.04214) and GRU."""

from __future__ import annotations

from typing import Any

from ...nn.pool_layers import as_tuple
from ...rnn import HybridRecurrentCell

__all__ = [
    "Conv1DGRUCell", "Conv1DLSTMCell", "Conv1DRNNCell", "Conv2DGRUCell", "Conv2DLSTMCell", "Conv2DRNNCell",
    "Conv3DGRUCell", "Conv3DLSTMCell", "Conv3DRNNCell",
]

Size = int | tuple[int, ...]


class _ConvCell(HybridRecurrentCell):
    """Two convolutions, of the input and of the hidden state, to ``gates`` blocks of channels.

    The convolution of the state is padded so that it keeps its size; the state has the size of the first convolution's
    result.
    """

    _gates: int
    _axes: int
    _kind: str
    _states = 1

    def __init__(self, input_shape: tuple[int, ...], hidden_channels: int, i2h_kernel: Size, h2h_kernel: Size,
                 i2h_pad: Size = 0, i2h_dilate: Size = 1, h2h_dilate: Size = 1, i2h_weight_initializer: Any = None,
                 h2h_weight_initializer: Any = None, i2h_bias_initializer: Any = "zeros",
                 h2h_bias_initializer: Any = "zeros", conv_layout: str | None = None, activation: Any = "tanh",
                 prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        n = self._axes
        conv_layout = conv_layout or "NC" + "DHW"[3 - n:]
        last = conv_layout.endswith("C")
        in_channels, space = (input_shape[-1], input_shape[:-1]) if last else (input_shape[0], input_shape[1:])
        i2h_kernel, h2h_kernel, i2h_pad, i2h_dilate, h2h_dilate = (
            as_tuple(v, n) for v in (i2h_kernel, h2h_kernel, i2h_pad, i2h_dilate, h2h_dilate))
        assert all(k % 2 for k in h2h_kernel), f"Only support odd number, get h2h_kernel= {h2h_kernel}"
        h2h_pad = tuple(d * (k - 1) // 2 for d, k in zip(h2h_dilate, h2h_kernel, strict=True))
        space = tuple(0 if s == 0 else s + 2 * p - d * (k - 1)
                      for s, p, d, k in zip(space, i2h_pad, i2h_dilate, i2h_kernel, strict=True))
        self._layout = conv_layout
        self._activation = activation
        self._in_channels = in_channels
        self._rows = rows = self._gates * hidden_channels
        self._state_shape = (*space, hidden_channels) if last else (hidden_channels, *space)
        self._convs = [{"num_filter": rows, "kernel": kernel, "pad": pad, "dilate": dilate, "stride": (1,) * n,
                        "layout": conv_layout}
                       for kernel, pad, dilate in ((i2h_kernel, i2h_pad, i2h_dilate),
                                                   (h2h_kernel, h2h_pad, h2h_dilate))]

        def shape(channels: int, kernel: tuple[int, ...]) -> tuple[int, ...]:
            return (rows, *kernel, channels) if last else (rows, channels, *kernel)

        for name, size, init in (("i2h_weight", shape(in_channels, i2h_kernel), i2h_weight_initializer),
                                 ("h2h_weight", shape(hidden_channels, h2h_kernel), h2h_weight_initializer),
                                 ("i2h_bias", (rows,), i2h_bias_initializer),
                                 ("h2h_bias", (rows,), h2h_bias_initializer)):
            setattr(self, name, self.params.get(name, shape=size, init=init, allow_deferred_init=True))

    def _alias(self) -> str:
        return f"conv_{self._kind}"

    def state_info(self, batch_size: int = 0) -> list[dict]:
        return [{"shape": (batch_size, *self._state_shape), "__layout__": self._layout} for _ in range(self._states)]

    def _maps(self, F: Any, t: str, inputs: Any, hidden: Any, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
              h2h_bias: Any) -> tuple[Any, Any]:
        i2h, h2h = self._convs
        return (F.Convolution(inputs, i2h_weight, i2h_bias, name=t + "i2h", **i2h),
                F.Convolution(hidden, h2h_weight, h2h_bias, name=t + "h2h", **h2h))

    def _split(self, F: Any, data: Any, name: str) -> Any:
        return F.SliceChannel(data, num_outputs=self._gates, axis=self._layout.find("C"), name=name)

    def __repr__(self) -> str:
        return (f"{type(self).__name__}({self._in_channels or None} -> {self._rows}, {self._activation}, "
                f"{self._layout})")


class _ConvRNNCell(_ConvCell):
    _gates = 1
    _kind = "rnn"

    def hybrid_forward(self, F: Any, inputs: Any, states: list, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
                       h2h_bias: Any) -> tuple[Any, list]:
        t = f"t{self._counter}_"
        i2h, h2h = self._maps(F, t, inputs, states[0], i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        output = self._activate(F, i2h + h2h, self._activation, name=t + "out")
        return output, [output]


class _ConvLSTMCell(_ConvCell):
    _gates = 4
    _kind = "lstm"
    _states = 2

    def hybrid_forward(self, F: Any, inputs: Any, states: list, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
                       h2h_bias: Any) -> tuple[Any, list]:
        t = f"t{self._counter}_"
        i2h, h2h = self._maps(F, t, inputs, states[0], i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        parts = self._split(F, i2h + h2h, t + "slice")
        i, f = (F.Activation(parts[k], act_type="sigmoid", name=t + name) for k, name in enumerate("if"))
        g = self._activate(F, parts[2], self._activation, name=t + "c")
        o = F.Activation(parts[3], act_type="sigmoid", name=t + "o")
        memory = F.elemwise_add(f * states[1], i * g, name=t + "state")
        output = F.elemwise_mul(o, self._activate(F, memory, self._activation), name=t + "out")
        return output, [output, memory]


class _ConvGRUCell(_ConvCell):
    _gates = 3
    _kind = "gru"

    def hybrid_forward(self, F: Any, inputs: Any, states: list, i2h_weight: Any, h2h_weight: Any, i2h_bias: Any,
                       h2h_bias: Any) -> tuple[Any, list]:
        t = f"t{self._counter}_"
        hidden = states[0]
        i2h, h2h = self._maps(F, t, inputs, hidden, i2h_weight, h2h_weight, i2h_bias, h2h_bias)
        i2h_r, i2h_z, i2h_n = self._split(F, i2h, t + "i2h_slice")
        h2h_r, h2h_z, h2h_n = self._split(F, h2h, t + "h2h_slice")
        reset = F.Activation(i2h_r + h2h_r, act_type="sigmoid", name=t + "r_act")
        update = F.Activation(i2h_z + h2h_z, act_type="sigmoid", name=t + "z_act")
        new = self._activate(F, i2h_n + reset * h2h_n, self._activation, name=t + "h_act")
        output = F.elemwise_add((1.0 - update) * new, update * hidden, name=t + "out")
        return output, [output]


class Conv1DRNNCell(_ConvRNNCell):
    """Simple recurrent cell that convolves along one axis.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of the input without the batch, such as ``(channels, width)``.
    hidden_channels : int
        Number of channels of the state and of the output.
    i2h_kernel, h2h_kernel : int or tuple of int
        Size of the filters of input and state; those of the state are odd.
    i2h_pad : int or tuple of int
        Padding of the input.
    i2h_dilate, h2h_dilate : int or tuple of int
        Distance between the taps of the filters.
    i2h_weight_initializer, h2h_weight_initializer, i2h_bias_initializer, h2h_bias_initializer : str or Initializer
        Initializers of the parameters of the same name.
    conv_layout : str, optional
        Axes of input, state and weight: ``NCW`` (the default) or ``NWC``.
    activation : str or Block
        The nonlinearity.
    prefix, params
        As for :class:`~mxcore.gluon.Block`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv1DRNNCell((3, 8), hidden_channels=4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8)
    """

    _axes = 1


class Conv1DLSTMCell(_ConvLSTMCell):
    """LSTM cell that convolves along one axis. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv1DLSTMCell((3, 8), hidden_channels=4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8)
    """

    _axes = 1


class Conv1DGRUCell(_ConvGRUCell):
    """GRU cell that convolves along one axis. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv1DGRUCell((3, 8), hidden_channels=4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8)
    """

    _axes = 1


class Conv2DRNNCell(_ConvRNNCell):
    """Simple recurrent cell that convolves along two axes. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv2DRNNCell((3, 8, 8), hidden_channels=4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8, 8)
    """

    _axes = 2


class Conv2DLSTMCell(_ConvLSTMCell):
    """LSTM cell that convolves along two axes. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv2DLSTMCell((3, 8, 8), hidden_channels=4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8, 8)
    """

    _axes = 2


class Conv2DGRUCell(_ConvGRUCell):
    """GRU cell that convolves along two axes. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv2DGRUCell((3, 8, 8), hidden_channels=4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8, 8)
    """

    _axes = 2


class Conv3DRNNCell(_ConvRNNCell):
    """Simple recurrent cell that convolves along three axes. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv3DRNNCell((3, 8, 8, 8), 4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8, 8, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8, 8, 8)
    """

    _axes = 3


class Conv3DLSTMCell(_ConvLSTMCell):
    """LSTM cell that convolves along three axes. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv3DLSTMCell((3, 8, 8, 8), 4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8, 8, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8, 8, 8)
    """

    _axes = 3


class Conv3DGRUCell(_ConvGRUCell):
    """GRU cell that convolves along three axes. The parameters are those of :class:`Conv1DRNNCell`.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.contrib.rnn.Conv3DGRUCell((3, 8, 8, 8), 4, i2h_kernel=3, h2h_kernel=3, i2h_pad=1)
    >>> cell.initialize()
    >>> cell(mx.nd.ones((2, 3, 8, 8, 8)), cell.begin_state(2))[0].shape
    (2, 4, 8, 8, 8)
    """

    _axes = 3
