"""``Updater``: an optimizer together with the states of the weights that it updates."""

import sys
from typing import Any

from ..base import config
from ..errors import FileFormatError
from ..files import pickles
from ..ndarray import NDArray
from .base import Optimizer
from .states import dumps
from .together import listed

__all__ = ["Updater", "get_updater"]


class Updater:
    """Updates weights by index, and keeps their states: what a key-value store or a trainer calls.

    Parameters
    ----------
    optimizer : Optimizer

    Attributes
    ----------
    optimizer : Optimizer
    states : dict
        State by index.
    states_synced : dict
        Whether the state is where its weight is (states that come from a file are moved at their first use).
    aggregate_updates : bool
        Whether the optimizer takes several weights at once.

    Examples
    --------
    >>> updater = mx.optimizer.get_updater(mx.optimizer.create("sgd", learning_rate=0.5))
    >>> w = nd.array([1.])
    >>> updater(0, nd.array([1.]), w)
    >>> w.asscalar()
    0.5
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.states: dict[Any, Any] = {}
        self.states_synced: dict[Any, bool] = {}
        self._setting = config("MXCORE_OPTIMIZER_AGGREGATION_SIZE")
        self.aggregate_updates = self._at_once() > 0

    def __call__(self, index: Any, grad: Any, weight: Any) -> None:
        """Update a weight, or each of lists of indices, gradients and weights."""
        keys, grads, weights = listed(index, grad, weight)
        if not weights:
            return
        optimizer, states, synced = self.optimizer, self.states, self.states_synced
        optimizer._set_current_context(weights[0].context.device_id)
        keys = [key.decode() if isinstance(key, bytes) else key for key in keys]  # bytes: of a key-value store
        for key, one in zip(keys, weights, strict=True):
            if key not in states:
                states[key] = optimizer.create_state_multi_precision(key, one)
            elif not synced[key]:
                states[key] = self.sync_state_context(states[key], one.context)
            synced[key] = True
        found = [states[key] for key in keys]
        update = optimizer.update_multi_precision
        if not self.aggregate_updates:
            for one in zip(keys, weights, grads, found, strict=True):
                update(*one)
            return
        size, types = self._at_once(), [one.dtype for one in weights]
        if len(keys) <= size and types.count(types[0]) == len(types):
            update(keys, weights, grads, found)
            return
        for kind in dict.fromkeys(types):
            group = [one for one in zip(types, keys, weights, grads, found, strict=True) if one[0] is kind]
            for start in range(0, len(group), size):
                update(*map(list, list(zip(*group[start:start + size]))[1:]))

    def _at_once(self) -> int:
        """How many weights the optimizer takes in one call; 0 if it takes no lists."""
        if not self.optimizer._takes_any_number:
            return self.optimizer.aggregate_num
        return sys.maxsize if self._setting is None else int(self._setting)

    def sync_state_context(self, state: Any, context: Any) -> Any:
        """The state, with its arrays on ``context``."""
        if isinstance(state, NDArray):
            return state.as_in_context(context)
        if isinstance(state, (tuple, list)):
            return type(state)(self.sync_state_context(one, context) for one in state)
        return state

    def set_states(self, states: bytes) -> None:
        """Take states, and the optimizer if it is there, from what :meth:`get_states` gave, here or in MXNet.

        The bytes are read without running code from them (:mod:`mxcore.files.pickles`).

        Raises
        ------
        FileFormatError
            They are no states; nothing is changed then.
        """
        found = pickles.loads(states, "optimizer states")
        optimizer = self.optimizer
        if isinstance(found, tuple) and len(found) == 2:
            found, optimizer = found
        if not isinstance(found, dict) or not isinstance(optimizer, Optimizer):
            raise FileFormatError("optimizer states are a dict of states by index, or that and an optimizer; this is "
                                  f"a {type(found).__name__} with a {type(optimizer).__name__}")
        self.states, self.optimizer = found, optimizer
        self.states_synced = dict.fromkeys(found, False)
        self.aggregate_updates = self._at_once() > 0

    def get_states(self, dump_optimizer: bool = False) -> bytes:
        """The states (and the optimizer, with its counts of updates) as bytes that MXNet can read too.

        >>> updater = mx.optimizer.get_updater(mx.optimizer.create("sgd", momentum=0.9))
        >>> updater(0, nd.ones(1), nd.ones(1))
        >>> other = mx.optimizer.get_updater(mx.optimizer.create("adam"))
        >>> other.set_states(updater.get_states(dump_optimizer=True))
        >>> type(other.optimizer).__name__, other.optimizer.num_update
        ('SGD', 1)
        """
        return dumps((self.states, self.optimizer) if dump_optimizer else self.states)


def get_updater(optimizer: Optimizer) -> Updater:
    """An :class:`Updater` of the optimizer."""
    return Updater(optimizer)
