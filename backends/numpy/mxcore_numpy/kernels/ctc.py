"""Connectionist temporal classification: forward and backward recursions over whole batches."""

from typing import Any

import numpy as np

from mxcore.ops.ctc import NEVER, assigned, checked, ctc_backward, plan
from mxcore.ops.ctc import ctc_loss as generic


def _log_softmax(data: np.ndarray) -> np.ndarray:
    x = data - np.maximum.reduce(data, axis=2, keepdims=True)
    return x - np.log(np.add.reduce(np.exp(x), axis=2, keepdims=True))


def _log_sum(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    largest = np.maximum(np.maximum(a, b), c)
    return np.log(np.exp(a - largest) + np.exp(b - largest) + np.exp(c - largest)) + largest


def _moved(a: np.ndarray, by: int) -> np.ndarray:
    r = np.full_like(a, NEVER)
    if by > 0:
        r[:, by:] = a[:, :-by]
    else:
        r[:, :by] = a[:, -by:]
    return r


def _forward(scores: np.ndarray, skip: np.ndarray, start: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Log-probability of all beginnings of paths, for each step and place."""
    alpha = np.empty_like(scores)
    alpha[0] = start + scores[0]
    for t in range(1, len(scores)):
        a = alpha[t - 1]
        new = _log_sum(a, _moved(a, 1), _moved(a, 2) + skip) + scores[t]
        alpha[t] = np.where(valid[t] > 0, new, a)
    return alpha


def _total(alpha: np.ndarray, end: np.ndarray) -> np.ndarray:
    last = alpha[-1] + end
    peak = np.maximum.reduce(last, axis=1, keepdims=True)
    return np.log(np.add.reduce(np.exp(last - peak), axis=1)) + peak[:, 0]


def _scores(data: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logp = _log_softmax(data)
    at = np.broadcast_to(np.clip(classes, 0, data.shape[2] - 1), (len(data), *classes.shape))
    return logp, np.take_along_axis(logp, at, axis=2)


def ctc_loss(xp: Any, data: np.ndarray, label: np.ndarray, data_lengths: np.ndarray | None = None,
             label_lengths: np.ndarray | None = None, *, use_data_lengths: bool, use_label_lengths: bool,
             blank_label: str) -> np.ndarray:
    """``CTCLoss``."""
    if data.dtype.char not in "fd":
        return generic.fn(xp, data, label, data_lengths, label_lengths, use_data_lengths=use_data_lengths,
                          use_label_lengths=use_label_lengths, blank_label=blank_label)
    checked(data, label)
    lengths = assigned(data_lengths, label_lengths, use_data_lengths, use_label_lengths)
    classes, skip, start, end, valid = plan(xp, data, label, *lengths, blank_label)
    total = _total(_forward(_scores(data, classes)[1], skip, start, valid), end)
    return np.where(total > NEVER / 2, -total, data.dtype.type(0))


def backward_ctc_loss(xp: Any, dy: np.ndarray, data: np.ndarray, label: np.ndarray, data_lengths: np.ndarray | None = None,
                      label_lengths: np.ndarray | None = None, *, blank_label: str) -> np.ndarray:
    """``_backward_CTCLoss``: softmax less the share of each class in all paths (Graves et al. 2006, eq. 16)."""
    if data.dtype.char not in "fd":
        return ctc_backward.composite(dy, data, label, data_lengths, label_lengths, blank_label=blank_label)
    classes, skip, start, end, valid = plan(xp, data, label, data_lengths, label_lengths, blank_label)
    logp, scores = _scores(data, classes)
    alpha = _forward(scores, skip, start, valid)
    total = _total(alpha, end)
    reach = _moved(skip, -2)  # a skip from a place is allowed where it is allowed at its target
    beta = np.empty_like(scores)
    beta[-1] = end
    for t in range(len(scores) - 2, -1, -1):
        b = beta[t + 1] + scores[t + 1]
        new = _log_sum(b, _moved(b, -1), _moved(b, -2) + reach)
        beta[t] = np.where(valid[t + 1] > 0, new, beta[t + 1])
    share = np.exp(alpha + beta - total[:, None])
    paths = np.zeros_like(data)
    steps, batch = np.arange(len(data))[:, None, None], np.arange(data.shape[1])[None, :, None]
    np.add.at(paths, (steps, batch, np.clip(classes, 0, data.shape[2] - 1)[None]), share)
    weight = np.where(total > NEVER / 2, dy, data.dtype.type(0))[:, None] * valid
    return (np.exp(logp) - paths) * weight
