"""Samples of :mod:`mxcore.ops.ctc`: the reference enumerates all paths."""

from itertools import groupby, product

import numpy as np

from ..sampling import A, C, sample


def ctc(x, label, *lengths, use_data_lengths=False, use_label_lengths=False, blank_label="first", **_):
    """Minus the logarithm of the sum over all paths that collapse to the label; 0 where there is none."""
    lengths = list(lengths)
    steps = lengths.pop(0) if use_data_lengths else [len(x)] * x.shape[1]
    classes = x.shape[2]
    blank, padding = (0, 0) if blank_label == "first" else (classes - 1, -1)
    p = np.exp(x) / np.exp(x).sum(2, keepdims=True)
    losses = []
    for n, line in enumerate(label):
        line = [int(c) for c in line]
        end = int(lengths[0][n]) if use_label_lengths else (*line, padding).index(padding)
        total = 0.0
        for path in product(range(classes), repeat=int(steps[n])):
            if [c for c, _ in groupby(path) if c != blank] == line[:end]:
                total += np.prod([p[t, n, c] for t, c in enumerate(path)])
        losses.append(-np.log(total) if total else 0.0)
    return np.array(losses)


FIRST = C([[1, 2, 0], [2, 0, 0], [1, 1, 2]])
LAST = C([[0, 1, -1], [1, -1, -1], [0, 0, 0]])
sample("CTCLoss", A(4, 3, 3), FIRST, ref=ctc)
sample("CTCLoss", A(4, 3, 3), LAST, blank_label="last", ref=ctc)  # the last label does not fit: its loss is 0
sample("CTCLoss", A(4, 3, 3), FIRST, C([4, 2, 4]), use_data_lengths=True, ref=ctc)
sample("CTCLoss", A(4, 3, 3), FIRST, C([3, 2, 4]), C([1, 1, 3]), use_data_lengths=True, use_label_lengths=True, ref=ctc)
sample("_shift", A(2, 4), by=1, fill=-3.0, ref=lambda x, by, fill: np.pad(x, ((0, 0), (1, 0)), constant_values=fill)[:, :-1])
sample("_shift", A(2, 4), by=-2, ref=lambda x, by: np.pad(x, ((0, 0), (0, 2)))[:, 2:])
sample("_or_zero", A(2, 3), limit=0.2, ref=lambda x, limit: np.where(x < limit, x, 0))
sample("_ctc_plan", A(4, 2, 3), C([[1, 2, 0], [1, 1, 2]]), blank_label="first", order=0)
sample("_ctc_plan", A(4, 2, 3), C([[0, 1, -1], [0, 0, 1]]), blank_label="last", order=0)
