"""The rules themselves: from zeros to the packed parameters of recurrent layers."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import ndarray as nd
from .. import random
from ..errors import ArgumentError, ShapeError
from .base import InitDesc, Initializer, alias, bilinear, create, register

__all__ = ["Bilinear", "Constant", "FusedRNN", "LSTMBias", "MSRAPrelu", "Normal", "One", "Orthogonal", "Uniform",
           "Xavier", "Zero"]


@alias("zeros")
@register
class Zero(Initializer):
    """Weights of zero.

    >>> w = nd.ones(2); Zero()(InitDesc("w_weight"), w); w.asnumpy().tolist()
    [0.0, 0.0]
    """

    def __init__(self) -> None:
        super().__init__()

    def _init_weight(self, _: str, arr: Any) -> None:
        arr[:] = 0


@alias("ones")
@register
class One(Initializer):
    """Weights of one.

    >>> w = nd.zeros(2); One()(InitDesc("w_weight"), w); w.asnumpy().tolist()
    [1.0, 1.0]
    """

    def __init__(self) -> None:
        super().__init__()

    def _init_weight(self, _: str, arr: Any) -> None:
        arr[:] = 1


@register
class Constant(Initializer):
    """Weights of one given value.

    Parameters
    ----------
    value : number, or NDArray, numpy.ndarray or list that broadcasts to the parameter's shape

    Examples
    --------
    >>> w = nd.zeros(2); Constant([1, 2])(InitDesc("w_weight"), w); w.asnumpy().tolist()
    [1.0, 2.0]
    """

    def __init__(self, value: Any) -> None:
        host = value.asnumpy() if hasattr(value, "asnumpy") else value
        super().__init__(value=host.tolist() if hasattr(host, "tolist") else host)  # JSON takes lists only
        self.value = value

    def _init_weight(self, _: str, arr: Any) -> None:
        arr[:] = np.asarray(self.value) if isinstance(self.value, (list, tuple)) else self.value


@register
class Uniform(Initializer):
    """Weights from the uniform distribution on ``[-scale, scale)``.

    Parameters
    ----------
    scale : float
    """

    def __init__(self, scale: float = 0.07) -> None:
        super().__init__(scale=scale)
        self.scale = scale

    def _init_weight(self, _: str, arr: Any) -> None:
        random.uniform(-self.scale, self.scale, out=arr)


@register
class Normal(Initializer):
    """Weights from the normal distribution of mean 0.

    Parameters
    ----------
    sigma : float
        Standard deviation.
    """

    def __init__(self, sigma: float = 0.01) -> None:
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def _init_weight(self, _: str, arr: Any) -> None:
        random.normal(0, self.sigma, out=arr)


@register
class Orthogonal(Initializer):
    """Weights that are a random orthogonal matrix: ``W W^T = scale^2 I`` (or ``W^T W``, for tall matrices).

    Arrays of more than two axes are seen as matrices of ``shape[0]`` rows.

    Parameters
    ----------
    scale : float
    rand_type : {"uniform", "normal"}
        Distribution of the matrix whose singular vectors are taken.

    Notes
    -----
    Saxe, McClelland & Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear neural networks*,
    2013 (arXiv:1312.6120).
    """

    def __init__(self, scale: float = 1.414, rand_type: str = "uniform") -> None:
        if rand_type not in ("uniform", "normal"):
            raise ArgumentError(f"rand_type of Orthogonal is 'uniform' or 'normal', not {rand_type!r}")
        super().__init__(scale=scale, rand_type=rand_type)
        self.scale = scale
        self.rand_type = rand_type

    def _init_weight(self, name: str, arr: Any) -> None:
        rows, columns = arr.shape[0], math.prod(arr.shape[1:])
        if self.rand_type == "uniform":
            start = random.uniform(-1.0, 1.0, shape=(rows, columns))
        else:
            start = random.normal(0.0, 1.0, shape=(rows, columns))
        left, _, right = np.linalg.svd(start.asnumpy(), full_matrices=False)
        matrix = left if left.shape == (rows, columns) else right
        arr[:] = (self.scale * matrix).reshape(arr.shape)


@register
class Xavier(Initializer):
    """Weights scaled so that signals keep their size through the layer.

    With ``factor`` the number of inputs (``"in"``), of outputs (``"out"``) or their mean (``"avg"``), the scale is
    ``sqrt(magnitude / factor)``: the bound of the uniform distribution, or the deviation of the normal one.

    Parameters
    ----------
    rnd_type : {"uniform", "gaussian"}
    factor_type : {"avg", "in", "out"}
    magnitude : float

    Raises
    ------
    ShapeError
        When called with an array of fewer than two axes.

    Notes
    -----
    Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks*, AISTATS 2010.
    """

    def __init__(self, rnd_type: str = "uniform", factor_type: str = "avg", magnitude: float = 3) -> None:
        super().__init__(rnd_type=rnd_type, factor_type=factor_type, magnitude=magnitude)
        self.rnd_type = rnd_type
        self.factor_type = factor_type
        self.magnitude = float(magnitude)

    def _init_weight(self, name: str, arr: Any) -> None:
        shape = arr.shape
        if len(shape) < 2:
            raise ShapeError(f"{type(self).__name__} initializer cannot be applied to vector {name}. "
                             f"It requires at least 2D, and the shape is {shape}.")
        receptive = math.prod(shape[2:])
        fan_in, fan_out = shape[1] * receptive, shape[0] * receptive
        factors = {"avg": (fan_in + fan_out) / 2.0, "in": fan_in, "out": fan_out}
        if self.factor_type not in factors:
            raise ArgumentError(f"Incorrect factor type {self.factor_type!r}; it is one of {', '.join(factors)}")
        scale = math.sqrt(self.magnitude / factors[self.factor_type])
        if self.rnd_type == "uniform":
            random.uniform(-scale, scale, out=arr)
        elif self.rnd_type == "gaussian":
            random.normal(0, scale, out=arr)
        else:
            raise ArgumentError(f"Unknown random type {self.rnd_type!r}; it is 'uniform' or 'gaussian'")


@register
class MSRAPrelu(Xavier):
    """Xavier's scheme for layers followed by (leaky) rectifiers: normal, with magnitude ``2 / (1 + slope^2)``.

    Parameters
    ----------
    factor_type : {"avg", "in", "out"}
    slope : float
        Slope of the rectifier below zero.

    Notes
    -----
    He, Zhang, Ren & Sun, *Delving Deep into Rectifiers*, ICCV 2015 (arXiv:1502.01852).
    """

    def __init__(self, factor_type: str = "avg", slope: float = 0.25) -> None:
        super().__init__("gaussian", factor_type, 2.0 / (1 + slope ** 2))
        self._kwargs = {"factor_type": factor_type, "slope": slope}


@register
class Bilinear(Initializer):
    """Weights with which a deconvolution interpolates bilinearly (for upsampling layers).

    >>> w = nd.zeros((1, 1, 2, 4)); Bilinear()(InitDesc("up_weight"), w); w.asnumpy()[0, 0, 0].tolist()
    [0.0625, 0.1875, 0.1875, 0.0625]
    """

    def __init__(self) -> None:
        super().__init__()

    def _init_weight(self, _: str, arr: Any) -> None:
        arr[:] = bilinear(arr.shape)


@register
class LSTMBias(Initializer):
    """The bias of an LSTM: zero, and ``forget_bias`` for the forget gate (the second quarter).

    Biases are filled by this rule only through the ``__init__`` attribute of their variable; a name that ends in
    ``bias`` gets zeros otherwise.

    Parameters
    ----------
    forget_bias : float

    Notes
    -----
    Jozefowicz, Zaremba & Sutskever, *An Empirical Exploration of Recurrent Network Architectures*, ICML 2015.
    """

    def __init__(self, forget_bias: float = 1.0) -> None:
        super().__init__(forget_bias=forget_bias)
        self.forget_bias = forget_bias

    def _init_weight(self, _: str, arr: Any) -> None:
        arr[:] = 0.0
        hidden = arr.shape[0] // 4
        arr[hidden:2 * hidden] = self.forget_bias


#: names of the gates in the packed parameters of the RNN operator
_GATES = {"rnn_relu": ("",), "rnn_tanh": ("",), "lstm": ("_i", "_f", "_c", "_o"), "gru": ("_r", "_z", "_o")}


@register
class FusedRNN(Initializer):
    """Fill the packed parameters of the ``RNN`` operator, gate by gate.

    Each part is given to ``init`` under the name it has in an unfused cell (``l0_i2h_i_weight``, ``r1_h2h_f_bias``);
    the forget gates' biases of an LSTM are set to ``forget_bias``.

    Parameters
    ----------
    init : Initializer, JSON text, or None
        For the parts; ``None``: the global initializer.
    num_hidden, num_layers : int
    mode : {"rnn_relu", "rnn_tanh", "lstm", "gru"}
    bidirectional : bool
    forget_bias : float
    """

    def __init__(self, init: "Initializer | str | None", num_hidden: int, num_layers: int, mode: str,
                 bidirectional: bool = False, forget_bias: float = 1.0) -> None:
        if mode not in _GATES:
            raise ArgumentError(f"mode of FusedRNN is one of {', '.join(_GATES)}, not {mode!r}")
        inner = None if init is None else create(init)
        super().__init__(init=None if inner is None else inner.dumps(), num_hidden=num_hidden, num_layers=num_layers,
                         mode=mode, bidirectional=bidirectional, forget_bias=forget_bias)
        self._init = inner
        self._num_hidden = num_hidden
        self._num_layers = num_layers
        self._mode = mode
        self._bidirectional = bidirectional
        self._forget_bias = forget_bias

    def _parts(self, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the parts, in the order in which they are packed: all weights, then all biases."""
        hidden, gates, sides = self._num_hidden, _GATES[self._mode], "lr" if self._bidirectional else "l"
        per_input = len(sides) * len(gates) * hidden
        later = (self._num_layers - 1) * per_input * (len(sides) * hidden + hidden + 2)
        inputs = (size - later) / per_input - hidden - 2
        if inputs < 1 or not inputs.is_integer():
            raise ShapeError(f"{size} values are no packed parameters of {self!r}: no number of inputs fits")
        for layer in range(self._num_layers):
            columns = int(inputs) if layer == 0 else len(sides) * hidden
            for side in sides:
                yield from ((f"{side}{layer}_i2h{gate}_weight", (hidden, columns)) for gate in gates)
                yield from ((f"{side}{layer}_h2h{gate}_weight", (hidden, hidden)) for gate in gates)
        for layer in range(self._num_layers):
            for side in sides:
                yield from ((f"{side}{layer}_{way}{gate}_bias", (hidden,)) for way in ("i2h", "h2h") for gate in gates)

    def _init_weight(self, desc: str, arr: Any) -> None:
        global_init = getattr(desc, "global_init", None)
        init = self._init or global_init
        if init is None or init is self:
            raise ArgumentError(f"FusedRNN has no initializer for the parts of {desc}: "
                                "give one as init=, or a global_init in the InitDesc")
        start = 0
        for name, shape in self._parts(arr.size):
            part = nd.zeros(shape, ctx=arr.context, dtype=arr.dtype)
            if self._mode == "lstm" and name.endswith("_f_bias"):
                part[:] = self._forget_bias
            else:
                init(InitDesc(name, global_init=global_init), part)
            arr[start:start + part.size] = part.reshape((-1,))
            start += part.size
