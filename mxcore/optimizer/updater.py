"""``Updater``: an optimizer together with the states of the weights that it updates."""

from typing import Any

from ..errors import FileFormatError
from ..files import pickles
from ..ndarray import NDArray
from .base import Optimizer
from .states import dumps

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
        self.aggregate_updates = optimizer.aggregate_num > 0

    def __call__(self, index: Any, grad: Any, weight: Any) -> None:
        """Update a weight, or each of lists of indices, gradients and weights."""
        if isinstance(index, (list, tuple)):
            indices, grads, weights = list(index), list(grad), list(weight)
        else:
            indices, grads, weights = [index], [grad], [weight]
        if not weights:
            return
        self.optimizer._set_current_context(weights[0].context.device_id)
        for i, (key, one) in enumerate(zip(indices, weights, strict=True)):
            if isinstance(key, bytes):  # keys of a key-value store
                key = indices[i] = key.decode()
            if key not in self.states:
                self.states[key] = self.optimizer.create_state_multi_precision(key, one)
            elif not self.states_synced[key]:
                self.states[key] = self.sync_state_context(self.states[key], one.context)
            self.states_synced[key] = True
        update = self.optimizer.update_multi_precision
        if not self.aggregate_updates:
            for key, one, g in zip(indices, weights, grads, strict=True):
                update(key, one, g, self.states[key])
            return
        by_type: dict[Any, list[int]] = {}
        for i, one in enumerate(weights):
            by_type.setdefault(one.dtype, []).append(i)
        size = self.optimizer.aggregate_num
        for places in by_type.values():
            for start in range(0, len(places), size):
                chosen = places[start:start + size]
                update([indices[i] for i in chosen], [weights[i] for i in chosen], [grads[i] for i in chosen],
                       [self.states[indices[i]] for i in chosen])

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
        self.aggregate_updates = optimizer.aggregate_num > 0

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
