"""Normalization layers: batch, layer, instance and group normalization."""

from __future__ import annotations

from typing import Any

from ...dtype import dtype_of
from ..block import HybridBlock

__all__ = ["BatchNorm", "BatchNormReLU", "GroupNorm", "InstanceNorm", "LayerNorm"]


class _Norm(HybridBlock):
    """A normalization with a scale ``gamma`` and an offset ``beta``, each learned, or fixed at 1 and 0."""

    _kwargs: dict[str, Any]

    def _add_scale_and_offset(self, size: int, center: bool, scale: bool, beta_initializer: Any,
                              gamma_initializer: Any) -> None:
        with self.name_scope():
            self.gamma = self.params.get("gamma", grad_req="write" if scale else "null", shape=(size,),
                                         init=gamma_initializer, allow_deferred_init=True, differentiable=scale)
            self.beta = self.params.get("beta", grad_req="write" if center else "null", shape=(size,),
                                        init=beta_initializer, allow_deferred_init=True, differentiable=center)

    def __repr__(self) -> str:
        return self._described(self._size())

    def _size(self) -> int:
        (size,) = self.gamma.shape or (0,)
        return size

    def _described(self, in_channels: int | None) -> str:
        facts = ", ".join(f"{k}={v}" for k, v in self._kwargs.items())
        return f"{type(self).__name__}({facts}, in_channels={in_channels})"


class BatchNorm(_Norm):
    r"""Batch normalization (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167).

    While training, each channel is normalized by its mean and (biased) variance over the batch, and the running
    statistics move towards them: :math:`r \leftarrow m\,r + (1 - m)\,s`. Otherwise the running statistics normalize.

    Parameters
    ----------
    axis : int
        The channel axis; 1 for the layout NCHW, 3 (or -1) for NHWC.
    momentum : float
        How slowly the running statistics move.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether ``beta`` and ``gamma`` are learned; if not, they stay 0 and 1.
    use_global_stats : bool
        Normalize by the running statistics even while training.
    beta_initializer, gamma_initializer, running_mean_initializer, running_variance_initializer : str or Initializer
        Initializers of the four vectors of length ``in_channels``.
    in_channels : int
        Number of channels; 0 finds it at the first call.

    Notes
    -----
    ``cast("float16")`` leaves the parameters in float32, where statistics are safe.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.BatchNorm()
    >>> layer.initialize()
    >>> layer(mx.nd.ones((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    >>> layer.running_var.shape
    (3,)
    """

    def __init__(self, axis: int = 1, momentum: float = 0.9, epsilon: float = 1e-5, center: bool = True,
                 scale: bool = True, use_global_stats: bool = False, beta_initializer: Any = "zeros",
                 gamma_initializer: Any = "ones", running_mean_initializer: Any = "zeros",
                 running_variance_initializer: Any = "ones", in_channels: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kwargs = {"axis": axis, "eps": epsilon, "momentum": momentum, "fix_gamma": not scale,
                        "use_global_stats": use_global_stats}
        self._axis = axis
        self._add_scale_and_offset(in_channels, center, scale, beta_initializer, gamma_initializer)
        with self.name_scope():
            self.running_mean = self.params.get("running_mean", grad_req="null", shape=(in_channels,),
                                                init=running_mean_initializer, allow_deferred_init=True,
                                                differentiable=False)
            self.running_var = self.params.get("running_var", grad_req="null", shape=(in_channels,),
                                               init=running_variance_initializer, allow_deferred_init=True,
                                               differentiable=False)

    def cast(self, dtype: Any) -> None:
        """Cast the parameters; half precision leaves them in float32."""
        super().cast("float32" if dtype_of(dtype).itemsize == 2 else dtype)

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any) -> Any:
        return F.BatchNorm(x, gamma, beta, running_mean, running_var, name="fwd", **self._kwargs)

    def __repr__(self) -> str:
        return self._described(self._size() or None)


class BatchNormReLU(BatchNorm):
    """:class:`BatchNorm` followed by a rectifier, as one operator. The parameters are those of BatchNorm.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.BatchNormReLU(in_channels=3).gamma.shape
    (3,)
    """

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any) -> Any:
        return F.contrib.BatchNormWithReLU(x, gamma, beta, running_mean, running_var, name="fwd", **self._kwargs)


class InstanceNorm(_Norm):
    r"""Instance normalization: each channel of each sample is normalized by its own mean and variance
    (Ulyanov et al., 2016, https://arxiv.org/abs/1607.08022).

    Parameters
    ----------
    axis : int
        The channel axis.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether ``beta`` and ``gamma`` are learned; if not, they stay 0 and 1.
    beta_initializer, gamma_initializer : str or Initializer
        Initializers of the two vectors of length ``in_channels``.
    in_channels : int
        Number of channels; 0 finds it at the first call.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.InstanceNorm()
    >>> layer.initialize()
    >>> layer(mx.nd.array([[[0, 2]]])).round().asnumpy().tolist()
    [[[-1.0, 1.0]]]
    """

    def __init__(self, axis: int = 1, epsilon: float = 1e-5, center: bool = True, scale: bool = False,
                 beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", in_channels: int = 0,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kwargs = {"eps": epsilon, "axis": axis, "center": center, "scale": scale}
        self._axis = axis
        self._epsilon = epsilon
        self._add_scale_and_offset(in_channels, center, scale, beta_initializer, gamma_initializer)

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any) -> Any:
        if self._axis == 1:
            return F.InstanceNorm(x, gamma, beta, name="fwd", eps=self._epsilon)
        x = F.swapaxes(x, dim1=1, dim2=self._axis)
        return F.swapaxes(F.InstanceNorm(x, gamma, beta, name="fwd", eps=self._epsilon), dim1=1, dim2=self._axis)


class LayerNorm(_Norm):
    r"""Layer normalization: each position is normalized along one axis
    (Ba et al., 2016, https://arxiv.org/abs/1607.06450).

    Parameters
    ----------
    axis : int
        The axis whose mean and variance are taken.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether ``beta`` and ``gamma`` are learned; if not, they stay 0 and 1.
    beta_initializer, gamma_initializer : str or Initializer
        Initializers of the two vectors of length ``in_channels``.
    in_channels : int
        Length of the axis; 0 finds it at the first call.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.LayerNorm()
    >>> layer.initialize()
    >>> layer(mx.nd.array([[0, 2]])).round().asnumpy().tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, axis: int = -1, epsilon: float = 1e-5, center: bool = True, scale: bool = True,
                 beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", in_channels: int = 0,
                 prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self._kwargs = {"eps": epsilon, "axis": axis, "center": center, "scale": scale}
        self._axis = axis
        self._epsilon = epsilon
        self._center = center
        self._scale = scale
        self._add_scale_and_offset(in_channels, center, scale, beta_initializer, gamma_initializer)

    def hybrid_forward(self, F: Any, data: Any, gamma: Any, beta: Any) -> Any:
        return F.LayerNorm(data, gamma=gamma, beta=beta, axis=self._axis, eps=self._epsilon)


class GroupNorm(_Norm):
    r"""Group normalization: the channels (axis 1) are split into groups, each normalized by the mean and variance of
    the group in that sample (Wu and He, 2018, https://arxiv.org/abs/1803.08494).

    Parameters
    ----------
    num_groups : int
        Number of groups; it divides the number of channels.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether ``beta`` and ``gamma`` are learned; if not, they stay 0 and 1.
    beta_initializer, gamma_initializer : str or Initializer
        Initializers of the two vectors of length ``num_groups``: one pair of numbers for each group.

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.GroupNorm(num_groups=2)
    >>> layer.initialize()
    >>> layer(mx.nd.ones((1, 4, 3))).asnumpy().sum().item()
    0.0
    """

    def __init__(self, num_groups: int = 1, epsilon: float = 1e-5, center: bool = True, scale: bool = True,
                 beta_initializer: Any = "zeros", gamma_initializer: Any = "ones", prefix: str | None = None,
                 params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self._kwargs = {"eps": epsilon, "num_groups": num_groups, "center": center, "scale": scale}
        self._num_groups = num_groups
        self._epsilon = epsilon
        self._center = center
        self._scale = scale
        self._add_scale_and_offset(num_groups, center, scale, beta_initializer, gamma_initializer)

    def hybrid_forward(self, F: Any, data: Any, gamma: Any, beta: Any) -> Any:
        return F.GroupNorm(data, gamma=gamma, beta=beta, num_groups=self._num_groups, eps=self._epsilon)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(" + ", ".join(f"{k}={v}" for k, v in self._kwargs.items()) + ")"
