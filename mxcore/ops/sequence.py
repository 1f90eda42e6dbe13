"""Batches of sequences of different lengths: mask the rest, take the last, reverse."""

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..registry import register, rules
from .core import adjoint

_I8 = np.dtype("int64")


def _inputs(attrs):
    return ("data", "sequence_length") if attrs.use_sequence_length else ("data",)


def _check_axis(axis, allowed):
    if axis not in allowed:
        raise ArgumentError(f"axis={axis}: the axis of time must be {' or '.join(map(str, allowed))}")


def _with_lengths(attrs, ins, allowed=(0, 1)):
    """Inputs with the length of ``sequence_length`` filled in from the axis of batches."""
    _check_axis(attrs.axis, allowed)
    data, *lengths = ins
    if data is not None and len(data) < 2:
        raise ShapeError(f"sequences need at least 2 dimensions (time and batch), got shape {data}")
    if data is not None and lengths:
        lengths = [rules.merge(lengths[0], (data[1 - attrs.axis],), "sequence_length and (batch,)")]
    return [data, *lengths]


def _same_shapes(attrs, ins):
    ins = _with_lengths(attrs, ins)
    return ins, [ins[0]]


def _before_end(xp, data, lengths, axis):
    """Whether each place (time, batch, 1, ...) lies before the end of its sequence."""
    steps = xp.arange(data.shape[axis], dtype=_I8)
    ones = (1,) * (data.ndim - 2)
    time, batch = ((-1, 1), (1, -1)) if axis == 0 else ((1, -1), (-1, 1))
    return xp.reshape(steps, time + ones) < xp.reshape(xp.astype(lengths, _I8), batch + ones)


@register("SequenceMask", aliases=("_npx_sequence_mask",), infer=_same_shapes, types=rules.first_type, uniform=False,
          inputs=_inputs)
def sequence_mask(xp, data, sequence_length=None, *, use_sequence_length: bool = False, value: float = 0.0,
                  axis: int = 0):
    """Sequences with ``value`` behind their ends.

    Parameters
    ----------
    data : (time, batch, ...) array, or (batch, time, ...) with ``axis=1``
    sequence_length : (batch,) array
        Taken with ``use_sequence_length``; otherwise nothing is masked.

    >>> nd.SequenceMask(nd.ones((2, 2)), nd.array([1, 2]), use_sequence_length=True, value=-1).asnumpy()
    array([[ 1.,  1.],
           [-1.,  1.]], dtype=float32)
    """
    _check_axis(axis, (0, 1))
    if not use_sequence_length:
        return xp.copy(data)
    return xp.where(_before_end(xp, data, sequence_length, axis), data, xp.scalar(value, data.dtype))


@sequence_mask.gradient
def _(n, g):
    used = n.attrs.use_sequence_length
    back = sequence_mask(g, *n.inputs[1:2] if used else (), use_sequence_length=used, axis=n.attrs.axis)
    return [back] + [None] * (len(n.inputs) - 1)


def _last_shapes(attrs, ins):
    ins = _with_lengths(attrs, ins)
    s = ins[0]
    return ins, [None if s is None else (s[1 - attrs.axis], *s[2:])]


def _last_key(xp, shape, lengths, axis):
    """The places of the last elements."""
    batch = xp.arange(shape[1 - axis], dtype=_I8)
    last = batch * 0 + shape[axis] if lengths is None else xp.astype(lengths, _I8)
    last = xp.minimum(xp.maximum(last - 1, 0), shape[axis] - 1)
    return (last, batch) if axis == 0 else (batch, last)


@register("SequenceLast", infer=_last_shapes, types=rules.first_type, uniform=False, inputs=_inputs)
def sequence_last(xp, data, sequence_length=None, *, use_sequence_length: bool = False, axis: int = 0):
    """The last element of each sequence.

    Parameters
    ----------
    data : (time, batch, ...) array, or (batch, time, ...) with ``axis=1``
    sequence_length : (batch,) array
        Taken with ``use_sequence_length``; otherwise the last element in time is the last. A length outside of the axis
        takes the nearest element.

    >>> nd.SequenceLast(nd.array([[1, 2], [3, 4]]), nd.array([1, 2]), use_sequence_length=True).asnumpy()
    array([1., 4.], dtype=float32)
    """
    _check_axis(axis, (0, 1))
    return xp.getitem(data, _last_key(xp, data.shape, sequence_length if use_sequence_length else None, axis))


@sequence_last.gradient
def _(n, g):
    used, axis = n.attrs.use_sequence_length, n.attrs.axis
    back = sequence_last_back(g, n.inputs[0], *n.inputs[1:2] if used else (), use_sequence_length=used, axis=axis)
    return [back] + [None] * (len(n.inputs) - 1)


@adjoint("_backward_SequenceLast",
         inputs=lambda a: ("data", "like", "sequence_length") if a.use_sequence_length else ("data", "like"))
def sequence_last_back(xp, data, like, sequence_length=None, *, use_sequence_length: bool = False, axis: int = 0):
    """Zeros of the shape of ``like`` with ``data`` where :func:`SequenceLast` reads."""
    out = xp.zeros(like.shape, data.dtype)
    xp.setitem(out, _last_key(xp, like.shape, sequence_length if use_sequence_length else None, axis), data)
    return out


@sequence_last_back.gradient
def _(n, g):
    back = sequence_last(g, *n.inputs[2:], use_sequence_length=n.attrs.use_sequence_length, axis=n.attrs.axis)
    return [back] + [None] * (len(n.inputs) - 1)


def _reverse_shapes(attrs, ins):
    ins = _with_lengths(attrs, ins, (0,))
    return ins, [ins[0]]


@register("SequenceReverse", infer=_reverse_shapes, types=rules.first_type, uniform=False, inputs=_inputs)
def sequence_reverse(xp, data, sequence_length=None, *, use_sequence_length: bool = False, axis: int = 0):
    """Each sequence backwards; what is behind its end stays.

    Parameters
    ----------
    data : (time, batch, ...) array
    sequence_length : (batch,) array
        Taken with ``use_sequence_length``; otherwise all of the time is reversed.

    >>> nd.SequenceReverse(nd.array([[1, 2], [3, 4]]), nd.array([1, 2]), use_sequence_length=True).asnumpy()
    array([[1., 4.],
           [3., 2.]], dtype=float32)
    """
    _check_axis(axis, (0,))
    if not use_sequence_length:
        return xp.copy(xp.flip(data, axis=0))
    time = xp.reshape(xp.arange(data.shape[0], dtype=_I8), (-1, 1))
    length = xp.reshape(xp.astype(sequence_length, _I8), (1, -1))
    source = xp.where(time < length, length - 1 - time, time)
    return xp.getitem(data, (source, xp.reshape(xp.arange(data.shape[1], dtype=_I8), (1, -1))))


@sequence_reverse.gradient
def _(n, g):
    used = n.attrs.use_sequence_length
    back = sequence_reverse(g, *n.inputs[1:2] if used else (), use_sequence_length=used)
    return [back] + [None] * (len(n.inputs) - 1)
