"""Blocks side by side, identity, and pixel shuffle."""

from __future__ import annotations

from typing import Any

from .... import ndarray as nd
from ...block import HybridBlock
from ...nn import HybridSequential, Sequential
from ...nn.pool_layers import as_tuple

__all__ = ["Concurrent", "HybridConcurrent", "Identity", "PixelShuffle1D", "PixelShuffle2D", "PixelShuffle3D"]


class Concurrent(Sequential):
    """Blocks that all get the input; their outputs are concatenated.

    Parameters
    ----------
    axis : int
        The axis along which outputs are concatenated.

    Examples
    --------
    >>> import mxcore as mx
    >>> block = mx.gluon.contrib.nn.Concurrent(axis=1)
    >>> block.add(mx.gluon.nn.Flatten(), mx.gluon.contrib.nn.Identity())
    >>> block(mx.nd.ones((2, 3))).shape
    (2, 6)
    """

    def __init__(self, axis: int = -1, prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def forward(self, x: Any) -> Any:
        return nd.concat(*(block(x) for block in self._children.values()), dim=self.axis)


class HybridConcurrent(HybridSequential):
    """HybridBlocks that all get the input; their outputs are concatenated.

    Parameters
    ----------
    axis : int
        The axis along which outputs are concatenated.

    Examples
    --------
    >>> import mxcore as mx
    >>> block = mx.gluon.contrib.nn.HybridConcurrent(axis=1)
    >>> block.add(mx.gluon.nn.Flatten(), mx.gluon.contrib.nn.Identity())
    >>> block(mx.nd.ones((2, 3))).shape
    (2, 6)
    """

    def __init__(self, axis: int = -1, prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.concat(*(block(x) for block in self._children.values()), dim=self.axis)


class Identity(HybridBlock):
    """Returns its input, for instance as one of the blocks of a :class:`HybridConcurrent`.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.contrib.nn.Identity()(mx.nd.array([1, 2])).asnumpy().tolist()
    [1.0, 2.0]
    """

    def __init__(self, prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return x


class _PixelShuffle(HybridBlock):
    """Moves blocks of channels to space (Shi et al., 2016, https://arxiv.org/abs/1609.05158)."""

    _axes: int

    def __init__(self, factor: int | tuple[int, ...]) -> None:
        super().__init__()
        factors = as_tuple(factor, self._axes)
        assert len(factors) == self._axes, f"wrong length {len(factors)}: {self._axes} factors expected"
        self._factors = factors

    def __repr__(self) -> str:
        shown = self._factors[0] if len(self._factors) == 1 else self._factors
        return f"{type(self).__name__}({shown})"


class PixelShuffle1D(_PixelShuffle):
    """``(n, f * c, w) -> (n, c, w * f)``.

    Parameters
    ----------
    factor : int
        By how much the width grows.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.contrib.nn.PixelShuffle1D(2)(mx.nd.ones((1, 8, 3))).shape
    (1, 4, 6)
    """

    _axes = 1

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        (f,) = self._factors
        x = F.reshape(x, (0, -4, -1, f, 0))  # (n, c, f, w)
        x = F.transpose(x, (0, 1, 3, 2))
        return F.reshape(x, (0, 0, -3))


class PixelShuffle2D(_PixelShuffle):
    """``(n, f1 * f2 * c, h, w) -> (n, c, h * f1, w * f2)``.

    Parameters
    ----------
    factor : int or tuple of 2 int
        By how much height and width grow.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.contrib.nn.PixelShuffle2D((2, 3))(mx.nd.ones((1, 12, 3, 5))).shape
    (1, 2, 6, 15)
    """

    _axes = 2

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        f1, f2 = self._factors
        x = F.reshape(x, (0, -4, -1, f1 * f2, 0, 0))
        x = F.reshape(x, (0, 0, -4, f1, f2, 0, 0))  # (n, c, f1, f2, h, w)
        x = F.transpose(x, (0, 1, 4, 2, 5, 3))
        return F.reshape(x, (0, 0, -3, -3))


class PixelShuffle3D(_PixelShuffle):
    """``(n, f1 * f2 * f3 * c, d, h, w) -> (n, c, d * f1, h * f2, w * f3)``.

    Parameters
    ----------
    factor : int or tuple of 3 int
        By how much depth, height and width grow.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.contrib.nn.PixelShuffle3D((2, 3, 4))(mx.nd.ones((1, 48, 3, 5, 7))).shape
    (1, 2, 6, 15, 28)
    """

    _axes = 3

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        f1, f2, f3 = self._factors
        # one axis after the other: an array has at most 6 axes on MXNet's side of an exported graph
        x = F.reshape(x, (0, -4, -1, f1 * f2 * f3, 0, 0, 0))
        x = F.swapaxes(x, 2, 3)
        x = F.reshape(x, (0, 0, 0, -4, f1, f2 * f3, 0, 0))
        x = F.reshape(x, (0, 0, -3, 0, 0, 0))  # (n, c, d * f1, f2 * f3, h, w)
        x = F.swapaxes(x, 3, 4)
        x = F.reshape(x, (0, 0, 0, 0, -4, f2, f3, 0))
        x = F.reshape(x, (0, 0, 0, -3, 0, 0))  # (n, c, d * f1, h * f2, f3, w)
        x = F.swapaxes(x, 4, 5)
        return F.reshape(x, (0, 0, 0, 0, -3))
