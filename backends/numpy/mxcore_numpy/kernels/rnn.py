"""``RNN`` and its first gradient: see :mod:`mxcore_numpy.recurrent`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mxcore.ops.rnn import rnn as generic_rnn
from mxcore.ops.rnn import rnn_backward
from mxcore.registry.bound import Bound, Epilogue, Spec

from ..recurrent.cells import NUMPY
from ..recurrent.network import bind_backward, bind_forward, find_backward, run_backward, run_forward, takes

__all__ = ["backward_rnn", "bind_backward_rnn", "bind_rnn", "rnn"]


def rnn(xp: Any, data: np.ndarray, parameters: np.ndarray, state: np.ndarray, state_cell: np.ndarray | None = None,
        sequence_length: np.ndarray | None = None, *, p: float, is_train: bool, rng: Any, **attrs: Any) -> tuple:
    """``RNN``; with projection or lengths by the generic kernel."""
    if not takes(attrs, data.shape, data.dtype):
        return generic_rnn.fn(xp, data, parameters, state, state_cell, sequence_length, p=p, is_train=is_train, rng=rng, **attrs)
    return run_forward(NUMPY, xp, data, parameters, state, state_cell, p, is_train, rng, attrs)


def backward_rnn(xp: Any, dy: np.ndarray, data: np.ndarray, parameters: np.ndarray, state: np.ndarray, y: np.ndarray,
                 mask: np.ndarray, reserve: np.ndarray, state_cell: np.ndarray | None = None,
                 sequence_length: np.ndarray | None = None, dstate: np.ndarray | None = None,
                 dcell: np.ndarray | None = None, **attrs: Any) -> tuple:
    """``_backward_RNN``; by its definition where the forward pass has kept nothing for it."""
    arrays = [dy, data, parameters, state, y, mask, reserve, state_cell, sequence_length, dstate, dcell]
    network = find_backward(NUMPY, data, reserve, attrs) if takes(attrs, data.shape, data.dtype) else None
    if network is None:
        return tuple(rnn_backward.composite(*arrays, **attrs))  # type: ignore[misc]
    return run_backward(network, arrays)


def bind_rnn(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
             epilogue: Epilogue | None = None) -> Bound | None:
    """``RNN`` in a compiled program, without dropout."""
    return None if epilogue is not None else bind_forward(NUMPY, ins, outs, attrs, training)


def bind_backward_rnn(ins: Sequence[Spec | None], outs: Sequence[Spec], attrs: Mapping[str, Any], training: bool,
                      epilogue: Epilogue | None = None) -> Bound | None:
    """``_backward_RNN`` in a compiled program."""
    return None if epilogue is not None else bind_backward(NUMPY, ins, outs, attrs)
