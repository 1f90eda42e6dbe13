"""Activation layers: element-wise nonlinearities as blocks."""

from __future__ import annotations

from typing import Any

from ... import initializer
from ..block import HybridBlock

__all__ = ["ELU", "GELU", "SELU", "Activation", "LeakyReLU", "PReLU", "Swish"]


class Activation(HybridBlock):
    r"""An activation by name, applied element by element.

    Parameters
    ----------
    activation : str
        ``"relu"``, ``"sigmoid"``, ``"tanh"``, ``"softrelu"`` (:math:`\log(1 + e^x)`) or ``"softsign"``.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.Activation("relu")(mx.nd.array([-1, 2])).asnumpy().tolist()
    [0.0, 2.0]
    """

    def __init__(self, activation: str, **kwargs: Any) -> None:
        self._act_type = activation  # before the base class asks _alias() for the prefix
        super().__init__(**kwargs)

    def _alias(self) -> str:
        return self._act_type

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.Activation(x, act_type=self._act_type, name="fwd")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._act_type})"


class LeakyReLU(HybridBlock):
    r"""Rectifier with a small fixed slope: :math:`x` where positive, else :math:`\alpha x`.

    Parameters
    ----------
    alpha : float
        Slope of the negative part, at least 0.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.LeakyReLU(0.5)(mx.nd.array([-2, 2])).asnumpy().tolist()
    [-1.0, 2.0]
    """

    def __init__(self, alpha: float, **kwargs: Any) -> None:
        assert alpha >= 0, "Slope coefficient for LeakyReLU must be no less than 0."
        super().__init__(**kwargs)
        self._alpha = alpha

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.LeakyReLU(x, act_type="leaky", slope=self._alpha, name="fwd")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._alpha})"


class PReLU(HybridBlock):
    r"""Leaky rectifier with a learned slope (He et al., 2015, https://arxiv.org/abs/1502.01852).

    Parameters
    ----------
    alpha_initializer : Initializer
        Initializer of the slope; 0.25 by default.
    in_channels : int
        1 learns one slope for all channels, otherwise one for each channel (axis 1).

    Examples
    --------
    >>> import mxcore as mx
    >>> layer = mx.gluon.nn.PReLU()
    >>> layer.initialize()
    >>> layer(mx.nd.array([[-4, 4]])).asnumpy().tolist()
    [[-1.0, 4.0]]
    """

    def __init__(self, alpha_initializer: Any = initializer.Constant(0.25),  # noqa: B008  (it holds no state)
                 in_channels: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.alpha = self.params.get("alpha", shape=(in_channels,), init=alpha_initializer)

    def hybrid_forward(self, F: Any, x: Any, alpha: Any) -> Any:
        return F.LeakyReLU(x, gamma=alpha, act_type="prelu", name="fwd")


class ELU(HybridBlock):
    r"""Exponential linear unit: :math:`x` where positive, else :math:`\alpha (e^x - 1)`
    (Clevert et al., 2016, https://arxiv.org/abs/1511.07289).

    Parameters
    ----------
    alpha : float
        What the negative part tends to, with a minus sign.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.ELU()(mx.nd.array([0, 2])).asnumpy().tolist()
    [0.0, 2.0]
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._alpha = alpha

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.LeakyReLU(x, act_type="elu", slope=self._alpha)


class SELU(HybridBlock):
    r"""Scaled exponential linear unit of self-normalizing networks
    (Klambauer et al., 2017, https://arxiv.org/abs/1706.02515).

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.SELU()(mx.nd.array([0])).asnumpy().tolist()
    [0.0]
    """

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.LeakyReLU(x, act_type="selu", name="fwd")


class GELU(HybridBlock):
    r"""Gaussian error linear unit :math:`x \Phi(x)`, in its exact form
    (Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415).

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.GELU()(mx.nd.array([0])).asnumpy().tolist()
    [0.0]
    """

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.LeakyReLU(x, act_type="gelu", name="fwd")


class Swish(HybridBlock):
    r"""Swish :math:`x \sigma(\beta x)` (Ramachandran et al., 2017, https://arxiv.org/abs/1710.05941).

    Parameters
    ----------
    beta : float
        Steepness of the gate.

    Examples
    --------
    >>> import mxcore as mx
    >>> mx.gluon.nn.Swish()(mx.nd.array([0])).asnumpy().tolist()
    [0.0]
    """

    def __init__(self, beta: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._beta = beta

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return x * F.sigmoid(self._beta * x, name="fwd")
