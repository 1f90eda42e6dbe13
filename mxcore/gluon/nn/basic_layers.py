"""Containers, dense layers, dropout, embedding and blocks made of functions; with them the normalization layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from ... import ndarray as nd
from ... import symbol as sym
from ..block import Block, HybridBlock
from .activations import Activation
from .norm_layers import BatchNorm, BatchNormReLU, GroupNorm, InstanceNorm, LayerNorm

__all__ = ["BatchNorm", "BatchNormReLU", "Dense", "Dropout", "Embedding", "Flatten", "GroupNorm", "HybridLambda",
           "HybridSequential", "InstanceNorm", "Lambda", "LayerNorm", "Sequential"]


class _Stack(Block):
    """What the two sequential containers share: an ordered list of children."""

    def add(self, *blocks: Block) -> None:
        """Append blocks at the end, in the order given."""
        for block in blocks:
            self.register_child(block)

    def __getitem__(self, key: int | slice) -> Any:
        chosen = list(self._children.values())[key]
        if not isinstance(chosen, list):
            return chosen
        part = type(self)(prefix=self._prefix)
        with part.name_scope():
            part.add(*chosen)
        return part

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Block]:
        return iter(list(self._children.values()))

    def __repr__(self) -> str:
        return self._repr_of(self._children.items())


class Sequential(_Stack):
    """Blocks applied one after another.

    Use :class:`HybridSequential` where every child is a HybridBlock: it can be compiled as a whole.

    Examples
    --------
    >>> import mxcore as mx
    >>> net = mx.gluon.nn.Sequential()
    >>> with net.name_scope():
    ...     net.add(mx.gluon.nn.Dense(10, activation="relu"), mx.gluon.nn.Dense(20))
    >>> len(net)
    2
    """

    def __init__(self, prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)

    def forward(self, x: Any) -> Any:
        for block in self._children.values():
            x = block(x)
        return x

    def hybridize(self, active: bool = True, **kwargs: Any) -> None:
        """Compile the children that are HybridBlocks; warns if that is all of them."""
        if self._children and all(isinstance(child, HybridBlock) for child in self._children.values()):
            warnings.warn(f"All children of this Sequential layer '{self.prefix}' are HybridBlocks. Consider using "
                          "HybridSequential for the best performance.", stacklevel=2)
        super().hybridize(active, **kwargs)


class HybridSequential(_Stack, HybridBlock):
    """HybridBlocks applied one after another; the whole can be hybridized and exported.

    Examples
    --------
    >>> import mxcore as mx
    >>> net = mx.gluon.nn.HybridSequential()
    >>> with net.name_scope():
    ...     net.add(mx.gluon.nn.Dense(10, activation="relu"), mx.gluon.nn.Dense(20))
    >>> net.initialize()
    >>> net.hybridize()
    >>> net(mx.nd.ones((4, 3))).shape
    (4, 20)
    """

    def __init__(self, prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        for block in self._children.values():
            x = block(x)
        return x


class Dense(HybridBlock):
    r"""Fully connected layer :math:`y = \mathrm{act}(x W^T + b)`.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str, optional
        Name of an activation applied to the result (see :class:`Activation`); none by default.
    use_bias : bool
        Whether there is a bias vector.
    flatten : bool
        True: all axes but the first are flattened, ``(n, ...) -> (n, units)``.
        False: the last axis alone is mapped, ``(..., in_units) -> (..., units)``.
    dtype : str or numpy.dtype
        Type of the parameters.
    weight_initializer, bias_initializer : str or Initializer, optional
        Initializers of ``weight`` ``(units, in_units)`` and ``bias`` ``(units,)``.
    in_units : int
        Number of inputs; 0 finds it at the first call.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Dense(3, activation="relu")
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 5))).shape
    (2, 3)
    >>> layer.weight.shape
    (3, 5)
    """

    def __init__(self, units: int, activation: str | None = None, use_bias: bool = True, flatten: bool = True,
                 dtype: Any = "float32", weight_initializer: Any = None, bias_initializer: Any = "zeros",
                 in_units: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._flatten = flatten
        self._units = units
        self._in_units = in_units
        with self.name_scope():
            self.weight = self.params.get("weight", shape=(units, in_units), init=weight_initializer, dtype=dtype,
                                          allow_deferred_init=True)
            self.bias = self.params.get("bias", shape=(units,), init=bias_initializer, dtype=dtype,
                                        allow_deferred_init=True) if use_bias else None
            self.act = None if activation is None else Activation(activation, prefix=activation + "_")

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        y = F.FullyConnected(x, weight, bias, no_bias=bias is None, num_hidden=self._units, flatten=self._flatten,
                             name="fwd")
        return y if self.act is None else self.act(y)

    def __repr__(self) -> str:
        units, in_units = self.weight.shape or (0, 0)
        return f"{type(self).__name__}({in_units or None} -> {units}, {self.act if self.act else 'linear'})"


class Dropout(HybridBlock):
    r"""Sets a random part of the input to zero while training and scales the rest by :math:`1 / (1 - rate)`
    (Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html). Outside training it passes the input.

    Parameters
    ----------
    rate : float
        Probability that an element is dropped.
    axes : tuple of int
        Axes along which one decision is shared; none by default.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.Dropout(0.5)(mx.nd.ones((2,))).asnumpy().tolist()
    [1.0, 1.0]
    """

    def __init__(self, rate: float, axes: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rate = rate
        self._axes = axes

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self._rate > 0:
            return F.Dropout(x, p=self._rate, axes=self._axes, name="fwd", cudnn_off=False)
        return F.identity(x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p = {self._rate}, axes={self._axes})"


class Embedding(HybridBlock):
    """Table of vectors looked up by index: ``(...) -> (..., output_dim)``.

    Parameters
    ----------
    input_dim : int
        Number of rows; indices run from 0 to ``input_dim - 1`` (others are clipped).
    output_dim : int
        Length of a row.
    dtype : str or numpy.dtype
        Type of the table and of the result.
    weight_initializer : str or Initializer, optional
        Initializer of ``weight`` ``(input_dim, output_dim)``.
    sparse_grad : bool
        Whether the gradient of the table is a ``row_sparse`` array, which holds only the rows that were used.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.Embedding(10, 4)
    >>> layer.initialize()
    >>> layer(mx.nd.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(self, input_dim: int, output_dim: int, dtype: Any = "float32", weight_initializer: Any = None,
                 sparse_grad: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kwargs = {"input_dim": input_dim, "output_dim": output_dim, "dtype": dtype, "sparse_grad": sparse_grad}
        with self.name_scope():
            self.weight = self.params.get("weight", shape=(input_dim, output_dim), init=weight_initializer, dtype=dtype,
                                          allow_deferred_init=True,
                                          grad_stype="row_sparse" if sparse_grad else "default")

    def hybrid_forward(self, F: Any, x: Any, weight: Any) -> Any:
        return F.Embedding(x, weight, name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        return "{block}({input_dim} -> {output_dim}, {dtype})".format(block=type(self).__name__, **self._kwargs)


class Flatten(HybridBlock):
    """Keeps the first axis and flattens the others: ``(n, a, b, ...) -> (n, a * b * ...)``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.Flatten()(mx.nd.ones((2, 3, 4))).shape
    (2, 12)
    """

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.Flatten(x)

    def __repr__(self) -> str:
        return type(self).__name__


class Lambda(Block):
    """A function as a block.

    Parameters
    ----------
    function : str or callable
        Name of a function of ``mx.nd``, or a callable that takes the inputs.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.Lambda("relu")(mx.nd.array([-1, 1])).asnumpy().tolist()
    [0.0, 1.0]
    """

    def __init__(self, function: str | Callable, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        if isinstance(function, str):
            assert hasattr(nd, function), f"Function name {function} is not found in ndarray."
            self._func_impl = getattr(nd, function)
        else:
            self._func_impl = _checked(function)
        self._func_name = _name_of(function)

    def forward(self, *args: Any) -> Any:
        return self._func_impl(*args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._func_name})"


class HybridLambda(HybridBlock):
    """A function as a block that can be hybridized.

    Parameters
    ----------
    function : str or callable
        Name of a function that both ``mx.nd`` and ``mx.sym`` have, or a callable ``f(F, x, *args)``, where ``F`` is
        ``mx.nd`` or ``mx.sym``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.HybridLambda(lambda F, x: F.square(x) + 1)(mx.nd.array([3])).asnumpy().tolist()
    [10.0]
    """

    def __init__(self, function: str | Callable, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        if isinstance(function, str):
            assert hasattr(nd, function) and hasattr(sym, function), \
                f"Function name {function} is not found in symbol/ndarray."
            self._func = lambda F, *args: getattr(F, function)(*args)
        else:
            self._func = _checked(function)
        self._func_name = _name_of(function)

    def hybrid_forward(self, F: Any, x: Any, *args: Any) -> Any:
        return self._func(F, x, *args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._func_name})"


def _checked(function: Any) -> Callable:
    if not callable(function):
        raise ValueError(f"Unrecognized function in lambda: {function} of type {type(function)}")
    return function


def _name_of(function: str | Callable) -> str:
    return function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
