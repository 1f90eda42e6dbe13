"""Connectionist temporal classification (Graves et al. 2006): the loss of a label sequence of unknown timing.

The probability of a labelling is a sum over paths through the labels with blanks between them; it is computed in
logarithms, step by step. The definition is written in operators, so that every order of derivative follows.
"""

from functools import lru_cache
from typing import Literal

from ..dtype import dtype_of
from ..errors import ShapeError
from ..graph.gradient import as_list
from ..graph.vjp import trace_vjp
from ..registry import OPS, elementwise, register, rules
from ..registry import expr as E
from .activation import log_softmax
from .core import block_grad
from .products import batch_dot

NEVER = -1e30  # the logarithm of 0, finite so that differences stay numbers


def _ctc_inputs(attrs):
    return ("data", "label", *(["data_lengths"] if attrs.use_data_lengths else []),
            *(["label_lengths"] if attrs.use_label_lengths else []))


def _ctc_shapes(attrs, ins):
    data, label, *lengths = ins
    if data is None:
        return ins, [None]
    if len(data) != 3:
        raise ShapeError(f"CTCLoss needs data of 3 dimensions (time, batch, classes), got {data}")
    if label is not None:
        label = rules.merge(label, (data[1], -1), "label and (batch, longest label)")
        if 0 <= data[0] < label[1]:
            raise ShapeError(f"labels of up to {label[1]} elements do not fit {data[0]} steps")
    return [data, label, *(rules.merge(s, (data[1],), "lengths and (batch,)") for s in lengths)], [(data[1],)]


def assigned(data_lengths, label_lengths, use_data_lengths, use_label_lengths):
    """The lengths that were given, whichever slots they came in."""
    if use_label_lengths and not use_data_lengths and label_lengths is None:
        return None, data_lengths
    return data_lengths if use_data_lengths else None, label_lengths if use_label_lengths else None


def at_least_single(dtype):
    """The type to compute in: half precision has no room for ``NEVER``."""
    dtype = dtype_of(dtype)
    return dtype if dtype.itemsize >= 4 else dtype_of("float32")


def plan(xp, data, label, data_lengths, label_lengths, blank_label):
    """What paths are possible, as arrays of 0 (yes) and ``NEVER``.

    Returns
    -------
    classes : (N, S) array
        The labels with blanks between and around them, S = 2 L + 1.
    skip : (N, S) array
        Whether a place can be reached from two places before: between labels that differ.
    start, end : (N, S) arrays
        Where paths begin and end.
    valid : (T, N, 1) array
        1 for the steps of each sequence.
    """
    steps, batch, count = data.shape
    longest, dtype = label.shape[1], at_least_single(data.dtype)
    label = xp.astype(label, "int64")
    blank = 0 if blank_label == "first" else count - 1
    if label_lengths is None:  # up to the first padding
        padding = 0 if blank_label == "first" else -1
        ended = xp.cumsum(xp.astype(xp.equal(label, padding), "int64"), axis=1)
        length = xp.sum(xp.astype(xp.equal(ended, 0), "int64"), axis=1)
    else:
        length = xp.astype(label_lengths, "int64")
    length = xp.reshape(length, (-1, 1))
    inside = xp.arange(longest) < length
    label = xp.where(inside, label, xp.full((), blank, dtype="int64"))
    blanks = xp.full((batch, longest, 1), blank, dtype="int64")
    pairs = xp.reshape(xp.concatenate([blanks, xp.expand_dims(label, 2)], axis=2), (batch, 2 * longest))
    classes = xp.concatenate([pairs, xp.full((batch, 1), blank, dtype="int64")], axis=1)
    place = xp.arange(2 * longest + 1)
    before = xp.concatenate([xp.full((batch, 2), blank, dtype="int64"), classes[:, :-2]], axis=1)
    may_skip = xp.logical_and(xp.not_equal(classes, blank), xp.not_equal(classes, before))
    may_end = xp.logical_and(place >= 2 * length - 1, place <= 2 * length)
    # at the first step only the first blank and the first label, if there is one
    may_start = xp.logical_and(place < 2, place <= 2 * length)

    def log(possible):
        return xp.astype(xp.where(possible, 0.0, NEVER), dtype)

    if data_lengths is None:
        valid = xp.ones((steps, batch, 1), dtype)
    else:
        valid = xp.astype(xp.reshape(xp.arange(steps), (-1, 1, 1)) < xp.reshape(data_lengths, (1, -1, 1)), dtype)
    return classes, log(may_skip), log(may_start), log(may_end), valid


# ---------------------------------------------------------------- the definition, in operators
@register("_shift", infer=rules.same)
def shift(xp, data, *, by: int, fill: float = 0.0):
    """Columns of ``(N, S)`` moved by ``by`` places, with ``fill`` where nothing comes from."""
    edge = xp.full((data.shape[0], min(abs(by), data.shape[1])), fill, dtype=data.dtype)
    if by > 0:
        return xp.concatenate([edge, data[:, :-by]], axis=1)
    return xp.concatenate([data[:, -by:], edge], axis=1)


@shift.gradient
def _(n, g):
    return shift(g, by=-n.attrs.by)


@elementwise("_or_zero", grad=lambda data, limit: E.where(data < limit, 1, 0))
def or_zero(data, *, limit: float):
    """``data`` where it is below ``limit``, else 0."""
    return E.where(data < limit, data, 0)


def _log_sum(*terms):
    """``log(sum(exp(term)))``, the largest taken out first."""
    add, sub, largest = OPS["elemwise_add"], OPS["elemwise_sub"], terms[0]
    for t in terms[1:]:
        largest = OPS["_maximum"](largest, t)
    largest = block_grad(largest)
    total = None
    for t in terms:
        e = OPS["exp"](sub(t, largest))
        total = e if total is None else add(total, e)
    return add(OPS["log"](total), largest)


def definition(steps):
    """The loss as a function of operators: ``(data, hot, skip, start, end, valid)``, ``hot`` one-hot over the classes."""

    def loss(data, hot, skip, start, end, valid):
        add, mul = OPS["elemwise_add"], OPS["broadcast_mul"]
        scores = batch_dot(hot, OPS["transpose"](log_softmax(data), axes=(1, 2, 0)))  # (N, S, T)
        each = as_list(OPS["SliceChannel"](scores, num_outputs=steps, axis=2, squeeze_axis=True))
        inside = as_list(OPS["SliceChannel"](valid, num_outputs=steps, axis=0, squeeze_axis=True))
        alpha = add(start, each[0])
        for t in range(1, steps):
            new = add(_log_sum(alpha, shift(alpha, by=1, fill=NEVER), add(shift(alpha, by=2, fill=NEVER), skip)), each[t])
            alpha = add(mul(new, inside[t]), mul(alpha, OPS["_rminus_scalar"](inside[t], scalar=1)))
        last = add(alpha, end)
        peak = block_grad(OPS["max"](last, axis=(1,), keepdims=True))
        total = OPS["sum"](OPS["exp"](OPS["broadcast_sub"](last, peak)), axis=(1,))
        value = add(OPS["log"](total), OPS["Reshape"](peak, shape=(-1,)))
        return or_zero(OPS["negative"](value), limit=-NEVER / 2)

    return loss


@lru_cache(maxsize=32)
def _traced(steps):
    return trace_vjp(definition(steps), 6, (True,))


_NAMES = {"aliases": ("ctc_loss", "_contrib_CTCLoss", "_contrib_ctc_loss"), "outputs": ("output0",)}


@register("CTCLoss", infer=_ctc_shapes, inputs=_ctc_inputs, uniform=False, types=rules.first_type, **_NAMES)
def ctc_loss(xp, data, label, data_lengths=None, label_lengths=None, *, use_data_lengths: bool = False,
             use_label_lengths: bool = False, blank_label: Literal["first", "last"] = "first"):
    """Connectionist temporal classification: minus the log-probability of each label sequence.

    Parameters
    ----------
    data : (T, N, C) array
        Scores of the classes; softmax is taken inside. One class is the blank.
    label : (N, L) array
        Classes; padded with 0 if the blank is first, with -1 if it is last.
    data_lengths, label_lengths : (N,) arrays
        With ``use_data_lengths`` and ``use_label_lengths``; otherwise all steps count, and labels up to the padding.
    blank_label : {"first", "last"}

    Returns
    -------
    (N,) array
        0 where no path is long enough for the label.

    >>> nd.CTCLoss(nd.zeros((2, 1, 3)), nd.array([[1]])).asnumpy().round(3)
    array([1.099], dtype=float32)
    """
    checked(data, label)
    data_lengths, label_lengths = assigned(data_lengths, label_lengths, use_data_lengths, use_label_lengths)
    classes, skip, start, end, valid = plan(xp, data, label, data_lengths, label_lengths, blank_label)
    wide = xp.astype(data, skip.dtype)
    return xp.astype(definition(data.shape[0])(wide, _hot(xp, classes, wide), skip, start, end, valid), data.dtype)


def checked(data, label):
    """Raise if the arrays do not fit each other."""
    if data.ndim != 3 or label.ndim != 2 or label.shape[0] != data.shape[1] or label.shape[1] > data.shape[0]:
        raise ShapeError(f"label {label.shape} does not fit data {data.shape}: (N, L) and (T, N, C) with L <= T")


def _hot(xp, classes, data):
    return xp.astype(xp.equal(xp.expand_dims(classes, 2), xp.arange(data.shape[2])), data.dtype)


def _plan_shapes(data, label):
    if data is None or label is None:
        return [None] * 5
    places = (data[1], -1 if label[1] < 0 else 2 * label[1] + 1)
    return [(*places, data[2]), places, places, places, (*data[:2], 1)]


@register("_ctc_plan", nograd=True, outputs=("hot", "skip", "start", "end", "valid"), uniform=False,
          infer=lambda a, s: (s, _plan_shapes(s[0], s[1])),
          types=lambda a, t, n: (t, [None if t[0] is None else at_least_single(t[0])] * n))
def ctc_plan(xp, data, label, data_lengths=None, label_lengths=None, *, blank_label: str):
    """The constants that the definition needs."""
    classes, *rest = plan(xp, data, label, data_lengths, label_lengths, blank_label)
    return xp.astype(_hot(xp, classes, data), rest[0].dtype), *rest


@ctc_loss.gradient
def _(n, g):
    a = n.attrs
    data, label, *lengths = (*n.inputs, None, None)[:4]
    lengths = assigned(*lengths, a.use_data_lengths, a.use_label_lengths)
    return [ctc_backward(g, data, label, *lengths, blank_label=a.blank_label)] + [None] * (len(n.inputs) - 1)


@register("_backward_CTCLoss", composite=True, shaped=True, uniform=False, infer=lambda a, s: (s, [s[1]]),
          types=rules.first_type)
def ctc_backward(dy, data, label, data_lengths=None, label_lengths=None, *, blank_label: str):
    """Gradient of CTCLoss by its data: that of the definition, traced for the number of steps."""
    constants = ctc_plan(data, label, data_lengths, label_lengths, blank_label=blank_label)
    dtype = at_least_single(data.dtype)
    if dtype == data.dtype:
        return _traced(data.shape[0])([data, *constants], [dy])[0]
    wide = [OPS["Cast"](a, dtype=dtype) for a in (data, dy)]
    return OPS["_cast_like"](_traced(data.shape[0])([wide[0], *constants], wide[1:])[0], data)
