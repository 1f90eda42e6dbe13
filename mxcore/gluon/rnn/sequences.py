"""Sequences as one array or as a list of steps, and what unrolling does to either."""

from __future__ import annotations

from typing import Any

from ... import ndarray as nd
from ... import symbol as sym
from ..parameter import tensor_types

__all__ = ["as_sequence", "initial_states", "mask_steps", "reverse_steps", "split_steps"]


def as_sequence(length: int | None, inputs: Any, layout: str, merge: bool | None,
                in_layout: str | None = None) -> tuple[Any, int, Any, int]:
    """A sequence in the form asked for.

    Parameters
    ----------
    length : int or None
        Number of steps; None if the inputs tell.
    inputs : NDArray, Symbol, or list of them
        One array with a time axis, or one array for each step (then without it).
    layout : str
        The axes wanted, such as ``NTC``.
    merge : bool or None
        True: one array. False: a list of steps. None: as it comes.
    in_layout : str, optional
        The axes of ``inputs``, if they differ.

    Returns
    -------
    tuple
        The sequence, its time axis, the namespace (``mx.nd`` or ``mx.sym``) and the batch size (0 for symbols).
    """
    axis = layout.find("T")
    in_axis = axis if in_layout is None else in_layout.find("T")
    batch_size = 0
    if isinstance(inputs, tensor_types):
        F = nd if isinstance(inputs, nd.NDArray) else sym
        if isinstance(inputs, nd.NDArray):
            batch_size = inputs.shape[layout.find("N")]
            assert length is None or length == inputs.shape[in_axis], \
                f"cannot unroll {length} steps over inputs of shape {inputs.shape} in layout {layout}"
            length = inputs.shape[in_axis]
        if merge is False:
            assert length is not None, "the number of steps in a symbol must be given"
            return split_steps(F, inputs, length, in_axis), axis, F, batch_size
        if axis != in_axis:
            inputs = F.swapaxes(inputs, dim1=axis, dim2=in_axis)
        return inputs, axis, F, batch_size
    assert length is None or len(inputs) == length, f"cannot unroll {length} steps over {len(inputs)} inputs"
    F = nd if isinstance(inputs[0], nd.NDArray) else sym
    if F is nd:  # a step has no time axis, so the batch axis moves down if it stood behind
        batch_size = inputs[0].shape[layout.replace("T", "").find("N")]
    return (F.stack(*inputs, axis=axis) if merge else list(inputs)), axis, F, batch_size


def split_steps(F: Any, data: Any, length: int, axis: int) -> list:
    """The steps of a sequence in one array, each without the time axis."""
    steps = F.split(data, axis=axis, num_outputs=length, squeeze_axis=True)
    return [steps] if length == 1 else list(steps)


def mask_steps(F: Any, data: Any, length: int, valid_length: Any, axis: int, merge: bool | None) -> Any:
    """The sequence with zeros beyond ``valid_length`` (``(batch,)``), as one array or (``merge=False``) as steps."""
    if not isinstance(data, tensor_types):
        data = F.stack(*data, axis=axis)
    masked = F.SequenceMask(data, sequence_length=valid_length, use_sequence_length=True, axis=axis)
    return masked if merge else split_steps(F, masked, length, axis)


def reverse_steps(F: Any, steps: list, valid_length: Any) -> list:
    """The steps in reverse; with ``valid_length``, each sequence is reversed within its own length."""
    if valid_length is None:
        return list(reversed(steps))
    turned = F.SequenceReverse(F.stack(*steps, axis=0), sequence_length=valid_length, use_sequence_length=True)
    return split_steps(F, turned, len(steps), 0)


def initial_states(cell: Any, F: Any, begin_state: Any, inputs: Any, batch_size: int) -> Any:
    """``begin_state``, or the states that the cell starts with on the device (and in the type) of the inputs."""
    if begin_state is not None:
        return begin_state
    if F is sym:
        return cell.begin_state(func=F.zeros, batch_size=batch_size)
    first: Any = inputs if isinstance(inputs, tensor_types) else inputs[0]
    return cell.begin_state(func=F.zeros, batch_size=batch_size, ctx=first.context, dtype=first.dtype)
