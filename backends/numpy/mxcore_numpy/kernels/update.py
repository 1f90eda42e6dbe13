"""Optimizer updates in place: each weight, gradient and state is read from memory and written to it once.

An update is up to a dozen ufuncs. Over a large array as a whole each of them would go through memory; over a block that
fits into a core's cache together with its states, the first brings it there and the others find it. The blocks of all
weights of a call are one list of work, which threads share.

The operations are those of the generic kernels (:mod:`mxcore.ops.optimizer_update`) in their order, so the results are
the same to the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from operator import attrgetter, is_
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..threads import parallel, width

__all__ = ["adagrad", "adam", "multi_adagrad", "multi_adam", "multi_nag_mom", "multi_rmsprop", "multi_sgd", "multi_sgd_mom",
           "nag_mom", "rmsprop", "sgd", "sgd_mom"]

_BLOCK = 1 << 17  # bytes of one array: six of them are most of a core's second-level cache
_ALONE = 1 << 19  # bytes of weights whose update is not worth waking another thread
_TYPES = (np.dtype("float32"), np.dtype("float64"))
_SHAPE, _DTYPE, _NBYTES = map(attrgetter, ("shape", "dtype", "nbytes"))


class _Scratch(threading.local):
    """For each type, arrays of each shape that is asked for, all in the same memory of this thread."""

    room = _BLOCK

    def __init__(self) -> None:
        memory = np.empty((3, self.room), np.uint8)
        self.of = {dtype: _Shapes(dtype, memory) for dtype in _TYPES}


class _Shapes(dict):
    """Shape -> three arrays, for what is in between: valid until the thread asks again."""

    def __init__(self, dtype: np.dtype, memory: np.ndarray) -> None:
        self.memory = memory.view(dtype)

    def __missing__(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        if len(self) > 1024:
            self.clear()
        found = self[shape] = [m[:prod(shape)].reshape(shape) for m in self.memory]
        return found


_SCRATCH = _Scratch()


def _numbers(dtype: np.dtype, **numbers: float | None) -> SimpleNamespace:
    """Numbers of an update as attributes, in the form that ufuncs take fastest; None stays None."""
    return SimpleNamespace(**{name: None if v is None else np.array(v, dtype) for name, v in numbers.items()})


# ---------------------------------------------------------------- the rules, for one block
# rule(n, *inputs, *results, t, u, v): n are the numbers; t, u and v are scratch. A result may be the memory of the input
# that it replaces, so it is written after that was read for the last time.
def _unless(value: float, neutral: float) -> float | None:
    return None if value == neutral else value


def _common(a: Any) -> dict[str, float | None]:
    """Numbers of the gradient's rescaling and clipping."""
    bound = a["clip_gradient"]
    limits = {"bound": None} if bound < 0 else {"bound": bound, "least": -bound}
    return {"rescale": _unless(a["rescale_grad"], 1.0), **limits}


def _clipped(n: Any, g: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``g``, or ``t`` with its values limited."""
    if n.bound is None:
        return g
    np.maximum(g, n.least, out=t)
    return np.minimum(t, n.bound, out=t)


def _scaled(n: Any, g: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``g``, or ``t`` with its values rescaled and limited."""
    return _clipped(n, g if n.rescale is None else np.multiply(g, n.rescale, t), t)


def _descent(dtype: np.dtype, lr: float, wd: float, a: Any) -> SimpleNamespace:
    numbers = {"bound": None, "rate": lr * a["rescale_grad"]} if a["clip_gradient"] < 0 else {"lr": lr, **_common(a)}
    return _numbers(dtype, decay=lr * wd if wd else None, momentum=a.get("momentum"), **numbers)


def _step(n: Any, w: np.ndarray, g: np.ndarray, t: np.ndarray, u: np.ndarray) -> None:
    """``t``: the learning rate times gradient and decay."""
    if n.bound is None:
        np.multiply(g, n.rate, t)
    else:
        np.multiply(_scaled(n, g, t), n.lr, t)
    if n.decay is not None:
        np.add(t, np.multiply(w, n.decay, u), t)


def _sgd(n: Any, w: Any, g: Any, new: Any, t: Any, u: Any, v: Any) -> None:
    _step(n, w, g, t, u)
    np.subtract(w, t, new)


def _sgd_mom(n: Any, w: Any, g: Any, mom: Any, new: Any, new_mom: Any, t: Any, u: Any, v: Any) -> None:
    _step(n, w, g, t, u)
    np.multiply(mom, n.momentum, new_mom)
    np.subtract(new_mom, t, new_mom)
    np.add(w, new_mom, new)


def _nesterov(dtype: np.dtype, lr: float, wd: float, a: Any) -> SimpleNamespace:
    return _numbers(dtype, lr=lr, wd=_unless(wd, 0.0), momentum=a["momentum"], **_common(a))


def _nag_mom(n: Any, w: Any, g: Any, mom: Any, new: Any, new_mom: Any, t: Any, u: Any, v: Any) -> None:
    g = _scaled(n, g, t)
    np.multiply(g if n.wd is None else np.add(g, np.multiply(w, n.wd, u), u), n.lr, u)
    np.multiply(mom, n.momentum, new_mom)
    np.subtract(new_mom, u, v)
    np.multiply(v, n.momentum, v)
    np.add(w, v, v)
    np.subtract(v, u, new)
    if n.wd is not None:  # the momentum's decay is that of the new weight
        np.multiply(np.add(g, np.multiply(new, n.wd, u), u), n.lr, u)
    np.subtract(new_mom, u, new_mom)


def _decayed_then_clipped(n: Any, w: np.ndarray, g: np.ndarray, u: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``g``, or ``u`` with its values rescaled, decayed and limited."""
    if n.rescale is not None:
        g = np.multiply(g, n.rescale, u)
    if n.wd is not None:
        g = np.add(g, np.multiply(w, n.wd, t), u)
    return _clipped(n, g, u)


def _moments(dtype: np.dtype, lr: float, wd: float, a: Any) -> SimpleNamespace:
    return _numbers(dtype, lr=lr, wd=_unless(wd, 0.0), beta1=a["beta1"], rest1=1.0 - a["beta1"], beta2=a["beta2"],
                    rest2=1.0 - a["beta2"], epsilon=a["epsilon"], **_common(a))


def _adam(n: Any, w: Any, g: Any, mean: Any, var: Any, new: Any, new_mean: Any, new_var: Any, t: Any, u: Any, v: Any) -> None:
    g = _decayed_then_clipped(n, w, g, u, t)
    np.multiply(mean, n.beta1, new_mean)
    np.add(new_mean, np.multiply(g, n.rest1, t), new_mean)
    np.multiply(np.multiply(g, g, t), n.rest2, t)
    np.multiply(var, n.beta2, new_var)
    np.add(new_var, t, new_var)
    np.add(np.sqrt(new_var, t), n.epsilon, t)
    np.divide(np.multiply(new_mean, n.lr, u), t, t)
    np.subtract(w, t, new)


def _adagrad(n: Any, w: Any, g: Any, history: Any, new: Any, new_history: Any, t: Any, u: Any, v: Any) -> None:
    g = _scaled(n, g, u)
    np.add(history, np.multiply(g, g, t), new_history)
    np.divide(g, np.sqrt(np.add(new_history, n.epsilon, t), t), t)
    if n.wd is not None:
        np.add(t, np.multiply(w, n.wd, u), t)
    np.subtract(w, np.multiply(t, n.lr, t), new)


def _sum_of_squares(dtype: np.dtype, lr: float, wd: float, a: Any) -> SimpleNamespace:
    return _numbers(dtype, lr=lr, wd=_unless(wd, 0.0), epsilon=a["epsilon"], **_common(a))


def _mean_square(dtype: np.dtype, lr: float, wd: float, a: Any) -> SimpleNamespace:
    most = a["clip_weights"]
    return _numbers(dtype, lr=lr, wd=_unless(wd, 0.0), gamma=a["gamma1"], rest=1.0 - a["gamma1"], epsilon=a["epsilon"],
                    most=most if most >= 0 else None, fewest=-most, **_common(a))


def _rmsprop(n: Any, w: Any, g: Any, square: Any, new: Any, new_square: Any, t: Any, u: Any, v: Any) -> None:
    g = _decayed_then_clipped(n, w, g, u, t)
    np.multiply(np.multiply(g, g, t), n.rest, t)
    np.multiply(square, n.gamma, new_square)
    np.add(new_square, t, new_square)
    np.sqrt(np.add(new_square, n.epsilon, t), t)
    np.divide(np.multiply(g, n.lr, u), t, t)
    np.subtract(w, t, new)
    if n.most is not None:
        np.minimum(np.maximum(new, n.fewest, out=new), n.most, out=new)


# ---------------------------------------------------------------- all weights of a call
def _pieces(work: Iterable[tuple]) -> Iterator[tuple]:
    """Numbers and arrays of each weight, the arrays in blocks."""
    for n, *arrays in work:
        flat = [a.reshape(-1) for a in arrays]
        step = _BLOCK // flat[0].itemsize
        for start in range(0, flat[0].size, step):
            yield n, *[a[start:start + step] for a in flat]


def _share(rule: Callable, pieces: Iterable[tuple], dtype: np.dtype) -> None:
    scratch = _SCRATCH.of[dtype]
    for piece in pieces:
        rule(*piece, *scratch[piece[1].shape])


def _run(rule: Callable, work: Iterable[tuple], small: bool, dtype: np.dtype) -> None:
    """The rule for the numbers and arrays of each weight."""
    if small:
        _share(rule, work, dtype)
        return
    pieces, threads = list(_pieces(work)), width()
    shares = min(4 * threads, len(pieces)) if threads > 1 else 1
    starts = [len(pieces) * k // shares for k in range(shares + 1)]
    parallel(lambda k: _share(rule, pieces[starts[k]:starts[k + 1]], dtype), shares, threads)


def _fit(columns: Sequence[Sequence[np.ndarray]], arrays: Sequence[np.ndarray]) -> bool:
    """Whether arrays, of each kind a column, are of one type that is computed in, and of one shape for each weight."""
    dtype, shapes = arrays[0].dtype, list(map(_SHAPE, columns[0]))
    return dtype in _TYPES and list(map(_DTYPE, arrays)).count(dtype) == len(arrays) and all(
        list(map(_SHAPE, column)) == shapes for column in columns[1:])


def _apart(outs: Sequence[np.ndarray], ins: Sequence[np.ndarray]) -> bool:
    """Whether no result shares memory with anything else, as far as bounds tell."""
    return not any(np.may_share_memory(o, a) for i, o in enumerate(outs) for a in (*ins, *outs[:i]))


def _writer(rule: Callable, numbers: Callable, size: int, states: int, many: bool) -> Callable:
    """The kernel of a rule for one weight, or for many.

    Parameters
    ----------
    rule
        The update of one block.
    numbers
        ``numbers(dtype, lr, wd, attrs)``: what the rule reads besides arrays.
    size, states
        Inputs of one weight, and how many of these, the last ones, have new values.
    """

    def update(xp: Any, ins: Sequence[Any], outs: Sequence[Any], attrs: Any) -> bool:
        lrs, wds = (attrs["lrs"], attrs["wds"]) if many else ((attrs["lr"],), (attrs["wd"],))
        count = len(lrs)
        if not count or len(ins) != count * size or len(wds) != count or len(outs) != count * (1 + states):
            return False
        given = [ins[k::size] for k in range(size)]
        results = [outs[:count], *[outs[count + k::states] for k in range(states)]]
        replaced = [given[0], *given[size - states:]]
        in_place = all(all(map(is_, new, old)) for new, old in zip(results, replaced))
        if not (_fit(given, ins) if in_place else _fit(given + results, [*ins, *outs]) and _apart(outs, ins)):
            return False
        sizes = list(map(_NBYTES, given[0]))
        small = max(sizes) <= _BLOCK and sum(sizes) <= _ALONE
        if not small and not all(a.flags.c_contiguous for a in (*ins, *outs)):
            return False
        dtype, rates = ins[0].dtype, list(zip(lrs, wds))
        made = {rate: numbers(dtype, *rate, attrs) for rate in set(rates)}
        _run(rule, zip(map(made.__getitem__, rates), *given, *results), small, dtype)
        return True

    return update


sgd, multi_sgd = (_writer(_sgd, _descent, 2, 0, many) for many in (False, True))
sgd_mom, multi_sgd_mom = (_writer(_sgd_mom, _descent, 3, 1, many) for many in (False, True))
nag_mom, multi_nag_mom = (_writer(_nag_mom, _nesterov, 3, 1, many) for many in (False, True))
adam, multi_adam = (_writer(_adam, _moments, 4, 2, many) for many in (False, True))
adagrad, multi_adagrad = (_writer(_adagrad, _sum_of_squares, 3, 1, many) for many in (False, True))
rmsprop, multi_rmsprop = (_writer(_rmsprop, _mean_square, 3, 1, many) for many in (False, True))
