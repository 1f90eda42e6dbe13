"""Samples of :mod:`mxcore.ops.sequence`."""

import numpy as np

from ..sampling import A, C, sample

LENGTHS = C([2, 4, 1])


def mask(x, lengths=None, use_sequence_length=False, value=0.0, axis=0):
    """``value`` from the end of each sequence on."""
    out = np.array(x if axis == 0 else x.swapaxes(0, 1))
    for i, n in enumerate([] if lengths is None else lengths):
        out[int(n):, i] = value
    return out if axis == 0 else out.swapaxes(0, 1)


sample("SequenceMask", A(4, 3, 2), ref=mask)
sample("SequenceMask", A(4, 3, 2), LENGTHS, use_sequence_length=True, ref=mask)
sample("SequenceMask", A(4, 3), LENGTHS, use_sequence_length=True, value=-1.5, ref=mask)
sample("SequenceMask", A(3, 4, 2), LENGTHS, use_sequence_length=True, axis=1, ref=mask)


def last(x, lengths=None, use_sequence_length=False, axis=0):
    """The last element of each sequence."""
    x = x if axis == 0 else x.swapaxes(0, 1)
    return x[-1] if lengths is None else np.stack([x[int(n) - 1, i] for i, n in enumerate(lengths)])


sample("SequenceLast", A(4, 3, 2), ref=last)
sample("SequenceLast", A(4, 3, 2), LENGTHS, use_sequence_length=True, ref=last)
sample("SequenceLast", A(4, 3), LENGTHS, use_sequence_length=True, ref=last)
sample("SequenceLast", A(3, 4, 2), LENGTHS, use_sequence_length=True, axis=1, ref=last)
sample("SequenceLast", A(3, 4, 2), axis=1, ref=last)


def reverse(x, lengths=None, use_sequence_length=False, axis=0):
    """Each sequence backwards up to its end."""
    out = x.copy()
    for i in range(x.shape[1]):
        n = len(x) if lengths is None else int(lengths[i])
        out[:n, i] = x[:n, i][::-1]
    return out


sample("SequenceReverse", A(4, 3, 2), ref=reverse)
sample("SequenceReverse", A(4, 3, 2), LENGTHS, use_sequence_length=True, ref=reverse)
