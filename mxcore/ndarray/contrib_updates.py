"""``mx.nd.contrib``: AdamW and LAMB, with lists of arrays where the operators take one flat list."""

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..registry.op import OPS
from ..runtime.invoke import invoke
from .creation import full
from .ndarray import NDArray

__all__ = ["adamw_update", "mp_adamw_update", "multi_adamw_update", "multi_lamb_update", "multi_mp_adamw_update",
           "multi_mp_lamb_update"]


def _scale(rescale_grad: Any, like: NDArray) -> NDArray:
    if isinstance(rescale_grad, NDArray):
        return rescale_grad
    return full((1,), float(rescale_grad), ctx=like.context, dtype="float32")


def _call(name: str, arrays: Sequence[NDArray], out: Any, **attrs: Any) -> Any:
    op = OPS[name]
    return invoke(op, arrays, op.parse(attrs), out)


def adamw_update(weight: NDArray, grad: NDArray, mean: NDArray, var: NDArray, rescale_grad: Any, lr: float, eta: float,
                 beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, wd: float = 0,
                 clip_gradient: float = -1, out: NDArray | None = None, name: str | None = None) -> NDArray:
    """A step of AdamW (Loshchilov & Hutter, ICLR 2019): Adam with its weight decay beside the adaptive step.

    ``weight - eta * (lr * mean / (sqrt(var) + epsilon) + wd * weight)``; ``mean`` and ``var`` are updated in place.

    Parameters
    ----------
    weight, grad, mean, var : NDArray
    rescale_grad : NDArray of one number, or number
        The gradient is multiplied by it; where it is 0, infinite or nan, nothing changes.
    lr, eta, beta1, beta2, epsilon, wd, clip_gradient : float
    out : NDArray, optional
        Usually ``weight``.

    Examples
    --------
    >>> w = nd.array([1.])
    >>> nd.contrib.adamw_update(w, nd.array([3.]), nd.zeros(1), nd.zeros(1), 1.0, lr=0.1, eta=1, out=w).asscalar()
    0.6837722
    """
    return _call("_adamw_update", (weight, grad, mean, var, _scale(rescale_grad, weight)), out, lr=lr, eta=eta,
                 beta1=beta1, beta2=beta2, epsilon=epsilon, wd=wd, clip_gradient=clip_gradient)


def mp_adamw_update(weight: NDArray, grad: NDArray, mean: NDArray, var: NDArray, weight32: NDArray, rescale_grad: Any,
                    lr: float, eta: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8,
                    wd: float = 0, clip_gradient: float = -1, out: NDArray | None = None,
                    name: str | None = None) -> NDArray:
    """:func:`adamw_update` with a float32 copy of the weight, which is updated in place too."""
    return _call("_mp_adamw_update", (weight, grad, mean, var, weight32, _scale(rescale_grad, weight)), out, lr=lr,
                 eta=eta, beta1=beta1, beta2=beta2, epsilon=epsilon, wd=wd, clip_gradient=clip_gradient)


def _interleaved(*lists: Sequence[NDArray]) -> list[NDArray]:
    if len({len(arrays) for arrays in lists}) != 1 or not lists[0]:
        raise ArgumentError(f"the lists must be of one length, at least 1, not {[len(arrays) for arrays in lists]}")
    return [array for group in zip(*lists) for array in group]


def multi_adamw_update(weights: Sequence[NDArray], grads: Sequence[NDArray], mean: Sequence[NDArray],
                       var: Sequence[NDArray], rescale_grad: Any, lrs: Sequence[float], wds: Sequence[float],
                       etas: Sequence[float], out: Any = None, name: str | None = None, size: int = 0,
                       **kwargs: Any) -> Any:
    """:func:`adamw_update` of each of several weights; ``size`` is their number if not 0."""
    arrays = [*_interleaved(weights, grads, mean, var), _scale(rescale_grad, weights[0])]
    return _call("_multi_adamw_update", arrays, out, num_weights=size or len(weights), lrs=tuple(lrs), wds=tuple(wds),
                 etas=tuple(etas), **kwargs)


def multi_mp_adamw_update(weights: Sequence[NDArray], grads: Sequence[NDArray], mean: Sequence[NDArray],
                          var: Sequence[NDArray], weights32: Sequence[NDArray], rescale_grad: Any,
                          lrs: Sequence[float], wds: Sequence[float], etas: Sequence[float], out: Any = None,
                          name: str | None = None, size: int = 0, **kwargs: Any) -> Any:
    """:func:`mp_adamw_update` of each of several weights; ``size`` is their number if not 0."""
    arrays = [*_interleaved(weights, grads, mean, var, weights32), _scale(rescale_grad, weights[0])]
    return _call("_multi_mp_adamw_update", arrays, out, num_weights=size or len(weights), lrs=tuple(lrs),
                 wds=tuple(wds), etas=tuple(etas), **kwargs)


def multi_lamb_update(weights: Sequence[NDArray], grads: Sequence[NDArray], mean: Sequence[NDArray],
                      var: Sequence[NDArray], step_count: Sequence[int], lrs: Sequence[float], wds: Sequence[float],
                      out: Any = None, num_tensors: int = 0, **kwargs: Any) -> Any:
    """A step of LAMB (You et al., ICLR 2020) for each of several weights; means and variances change in place."""
    return _call("_multi_lamb_update", _interleaved(weights, grads, mean, var), out,
                 num_tensors=num_tensors or len(weights), step_count=tuple(step_count), learning_rates=tuple(lrs),
                 wds=tuple(wds), **kwargs)


def multi_mp_lamb_update(weights: Sequence[NDArray], grads: Sequence[NDArray], mean: Sequence[NDArray],
                         var: Sequence[NDArray], weights32: Sequence[NDArray], step_count: Sequence[int],
                         lrs: Sequence[float], wds: Sequence[float], out: Any = None, num_tensors: int = 0,
                         **kwargs: Any) -> Any:
    """:func:`multi_lamb_update` with float32 copies of the weights, which change in place too."""
    return _call("_multi_mp_lamb_update", _interleaved(weights, grads, mean, var, weights32), out,
                 num_tensors=num_tensors or len(weights), step_count=tuple(step_count), learning_rates=tuple(lrs),
                 wds=tuple(wds), **kwargs)
