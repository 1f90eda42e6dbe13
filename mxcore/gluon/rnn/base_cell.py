"""The bases of the recurrent cells: states, steps and unrolling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ndarray as nd
from ..block import Block, HybridBlock
from ..nn.activations import LeakyReLU
from .sequences import as_sequence, initial_states, mask_steps

__all__ = ["HybridRecurrentCell", "RecurrentCell"]


class RecurrentCell(Block):
    """Base of the cells: ``output, new_states = cell(input, states)``.

    Subclasses write :meth:`state_info` and the step itself. Names of the operators in a step start with ``t0_``,
    ``t1_``, ...; :meth:`reset` starts again at 0.

    Examples
    --------
    >>> import mxcore as mx
    >>> cell = mx.gluon.rnn.RNNCell(4)
    >>> cell.initialize()
    >>> output, states = cell(mx.nd.ones((2, 3)), cell.begin_state(2))
    >>> output.shape
    (2, 4)
    """

    def __init__(self, prefix: str | None = None, params: Any = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self._modified = False
        self.reset()

    def reset(self) -> None:
        """Forget what was counted or kept during the last sequence; call it before the next one."""
        self._init_counter = -1
        self._counter = -1
        for cell in self._children.values():
            if isinstance(cell, RecurrentCell):
                cell.reset()

    def state_info(self, batch_size: int = 0) -> list[dict]:
        """Shape and layout of each state, as a list of dicts."""
        raise NotImplementedError(f"{type(self).__name__} does not define state_info")

    def begin_state(self, batch_size: int = 0, func: Callable = nd.zeros, **kwargs: Any) -> list:
        """The states to start a sequence with.

        Parameters
        ----------
        batch_size : int
            Number of sequences.
        func : callable
            Makes an array of ``shape=...``: ``mx.nd.zeros`` (the default), ``mx.nd.ones``, ``mx.sym.zeros`` ...
        **kwargs
            More arguments of ``func``, such as ``ctx`` or ``dtype``.

        Returns
        -------
        list of NDArray or Symbol
        """
        self._refuse_if_modified()
        states = []
        for info in self.state_info(batch_size):
            self._init_counter += 1
            states.append(func(name=f"{self._prefix}begin_state_{self._init_counter}", **{**info, **kwargs}))
        return states

    def _refuse_if_modified(self) -> None:
        assert not self._modified, ("After applying modifier cells (e.g. ZoneoutCell) the base cell cannot be called "
                                    "directly. Call the modifier cell instead.")

    def unroll(self, length: int, inputs: Any, begin_state: Any = None, layout: str = "NTC",
               merge_outputs: bool | None = None, valid_length: Any = None) -> tuple[Any, list]:
        """Run the cell over a sequence.

        Parameters
        ----------
        length : int
            Number of steps.
        inputs : NDArray, Symbol, or list of them
            The whole sequence as one array in ``layout``, or a list of ``length`` arrays ``(batch, channels)``.
        begin_state : list of NDArray or Symbol, optional
            The states to start with; zeros by default.
        layout : str
            Axes of a sequence in one array: ``NTC`` or ``TNC``.
        merge_outputs : bool, optional
            True returns the outputs as one array, False as a list of steps, None as it comes.
        valid_length : NDArray or Symbol, optional
            Number of valid steps of each sequence, ``(batch,)``: outputs beyond it are 0, and the states returned are
            those of the last valid step.

        Returns
        -------
        outputs : NDArray, Symbol or list
        states : list
            The states after the last step.
        """
        self.reset()
        steps, axis, F, batch_size = as_sequence(length, inputs, layout, False)
        states = initial_states(self, F, begin_state, steps, batch_size)
        outputs = []
        history = []
        for step in steps[:length]:
            output, states = self(step, states)
            outputs.append(output)
            history.append(states)
        if valid_length is not None:
            states = [F.SequenceLast(F.stack(*same, axis=0), sequence_length=valid_length, use_sequence_length=True,
                                     axis=0) for same in zip(*history, strict=True)]
            outputs = mask_steps(F, outputs, length, valid_length, axis, True)
        outputs, *_ = as_sequence(length, outputs, layout, merge_outputs)
        return outputs, states

    def _activate(self, F: Any, inputs: Any, activation: Any, **kwargs: Any) -> Any:
        """Apply an activation given by name or as a block."""
        if activation in ("tanh", "relu", "sigmoid", "softsign"):
            return getattr(F, activation)(inputs, **kwargs)
        if isinstance(activation, str):
            return F.Activation(inputs, act_type=activation, **kwargs)
        if isinstance(activation, LeakyReLU):
            return F.LeakyReLU(inputs, act_type="leaky", slope=activation._alpha, **kwargs)
        return activation(inputs)

    def forward(self, inputs: Any, states: list) -> tuple[Any, list]:
        """One step: the output and the new states."""
        self._counter += 1
        return super().forward(inputs, states)


class HybridRecurrentCell(RecurrentCell, HybridBlock):
    """Base of the cells that can be hybridized; subclasses write ``hybrid_forward(self, F, inputs, states, ...)``.

    Examples
    --------
    >>> import mxcore as mx
    >>> issubclass(mx.gluon.rnn.LSTMCell, mx.gluon.rnn.HybridRecurrentCell)
    True
    """

    def hybrid_forward(self, F: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define hybrid_forward")
