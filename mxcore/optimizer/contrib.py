"""``mx.optimizer.contrib``: GroupAdaGrad."""

from typing import Any

from .. import ndarray as nd
from ..errors import ArgumentError, ShapeError
from .base import Optimizer, register

__all__ = ["GroupAdaGrad"]


@register
class GroupAdaGrad(Optimizer):
    """AdaGrad with one step size for each row of a matrix, as for embeddings.

    ``history += mean(g^2 of the row)``; ``weight -= lr * g / sqrt(history + eps)``.

    Parameters
    ----------
    eps : float
    **kwargs
        As in :class:`Optimizer`; there is no weight decay.
    """

    def __init__(self, eps: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def create_state(self, index: Any, weight: Any) -> Any:
        """The history, of shape (rows, 1).

        Raises
        ------
        ShapeError
            The weight is no matrix.
        """
        if len(weight.shape) != 2:
            raise ShapeError(f"GroupAdaGrad works on matrices, one step size for each row; weight {index!r} has shape "
                             f"{weight.shape}")
        return nd.zeros((weight.shape[0], 1), ctx=weight.context, dtype=weight.dtype)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Update one weight.

        Raises
        ------
        ArgumentError
            The weight would be decayed.
        """
        self._update_count(index)
        if self._get_wd(index) != 0:
            raise ArgumentError("Weight decay is not supported for GroupAdaGrad")
        grad = self._prepared(grad)
        state[:] = state + grad.square().mean(axis=1, keepdims=True)
        weight[:] = weight - self._get_lr(index) * grad / (state + self.float_stable_eps).sqrt()
