"""``Trainer``: applies an optimizer to the parameters of a network, on one or several contexts."""

from collections.abc import Sequence
from typing import Any

from .. import autograd
from .. import optimizer as opt
from ..context import Context
from ..errors import ArgumentError
from ..files.atomic import atomic_write
from ..ndarray import NDArray
from .parameter import Parameter
from .parameter_dict import ParameterDict

__all__ = ["Trainer", "TrainerError"]

#: Stores that live in this process: what they do for one machine, the trainer does itself.
_LOCAL = ("local", "device", "nccl", "local_update_cpu", "local_allreduce_cpu", "local_allreduce_device")


class TrainerError(ArgumentError, AssertionError):
    """A trainer was made or asked for something that does not go together."""


class Trainer:
    """Updates parameters from their gradients.

    Parameters
    ----------
    params : ParameterDict, dict or list of Parameter
        What to train; of a dictionary the parameters are taken in the order of their names.
    optimizer : str or Optimizer
        The rule, or its name.
    optimizer_params : dict, optional
        Arguments of the optimizer where a name is given.
    kvstore : str, optional
        ``None``: each context keeps its own parameters; ``'device'``, ``'local'``: gradients are summed over the
        contexts of this machine.
    compression_params : dict, optional
        Compression of gradients between contexts: not available on one machine.
    update_on_kvstore : bool, optional
        Whether one copy of the parameters is updated and the others are copies of it (default where there are several
        contexts), or each context updates its own from the summed gradients.

    Examples
    --------
    >>> import mxcore as mx
    >>> net = mx.gluon.nn.Dense(1, in_units=1, use_bias=False)
    >>> net.initialize(mx.init.One())
    >>> trainer = Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
    >>> with mx.autograd.record():
    ...     loss = net(mx.nd.ones((2, 1)))
    >>> loss.backward()
    >>> trainer.step(batch_size=2)
    >>> net.weight.data().asscalar()
    0.5
    """

    def __init__(self, params: Any, optimizer: Any, optimizer_params: dict[str, Any] | None = None,
                 kvstore: Any = "device", compression_params: dict[str, Any] | None = None,
                 update_on_kvstore: bool | None = None) -> None:
        self._params = _parameters(params)
        self._param2idx = {param.name: i for i, param in enumerate(self._params)}
        for param in self._params:
            param._set_trainer(self)
        self._contexts = _shared_contexts(self._params)
        self._init_optimizer(optimizer, optimizer_params)
        #: what gradients are multiplied with besides 1 / batch size
        self._scale = self._optimizer.rescale_grad
        several = len(self._contexts) > 1
        if kvstore is not None and kvstore not in _LOCAL:
            raise TrainerError(f"there is no key-value store {kvstore!r} for a Trainer; on one machine use None or one "
                               f"of {', '.join(_LOCAL)}")
        if compression_params is not None and several:
            raise TrainerError("gradients are not compressed between the contexts of one machine: leave "
                               "compression_params at None")
        self._reduces = several and kvstore is not None
        self._update_on_kvstore = self._reduces if update_on_kvstore is None else bool(update_on_kvstore)

    def _init_optimizer(self, optimizer: Any, optimizer_params: dict[str, Any] | None) -> None:
        by_number = dict(enumerate(self._params))
        if isinstance(optimizer, opt.Optimizer):
            if optimizer_params:
                raise TrainerError("optimizer_params must be None if optimizer is an instance of Optimizer instead of "
                                   "str")
            self._optimizer = optimizer
            self._optimizer.param_dict = by_number
        else:
            self._optimizer = opt.create(optimizer, param_dict=by_number, **(optimizer_params or {}))
        self._updaters = [opt.get_updater(self._optimizer) for _ in self._contexts]

    # ------------------------------------------------------------------ learning rate
    @property
    def optimizer(self) -> Any:
        """The optimizer."""
        return self._optimizer

    @property
    def learning_rate(self) -> float:
        """The current learning rate."""
        return self._optimizer.learning_rate

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate; an optimizer that has a scheduler refuses."""
        self._optimizer.set_learning_rate(lr)

    # ------------------------------------------------------------------ steps
    def step(self, batch_size: int, ignore_stale_grad: bool = False) -> None:
        """Update the parameters once: gradients are summed over contexts, divided by ``batch_size`` and applied.

        Parameters
        ----------
        batch_size : int
            Number of samples of the batch.
        ignore_stale_grad : bool
            Whether parameters whose gradient no ``backward`` has written since the last step are left as they are;
            otherwise they are an error.

        Raises
        ------
        UserWarning
            A gradient is stale (an exception, as in MXNet).
        """
        self._optimizer.rescale_grad = self._scale / batch_size
        if self._update_on_kvstore:
            self._update_shared(ignore_stale_grad)
            return
        self._check_stale(ignore_stale_grad)
        self._allreduce_grads()
        self._update(ignore_stale_grad)

    def allreduce_grads(self) -> None:
        """Sum the gradients over the contexts; with :meth:`update` the two halves of :meth:`step`.

        Raises
        ------
        TrainerError
            The trainer updates one copy of the parameters (``update_on_kvstore``).
        """
        self._need_separate_updates("allreduce_grads()")
        self._allreduce_grads()

    def update(self, batch_size: int, ignore_stale_grad: bool = False) -> None:
        """Apply the gradients as they are; arguments and errors as of :meth:`step`."""
        self._need_separate_updates("update()")
        self._optimizer.rescale_grad = self._scale / batch_size
        self._check_stale(ignore_stale_grad)
        self._update(ignore_stale_grad)

    def _need_separate_updates(self, what: str) -> None:
        if self._update_on_kvstore:
            raise TrainerError(f"{what} when parameters are updated on kvstore is not supported. Try setting "
                               "`update_on_kvstore` to False when creating trainer.")

    def _check_stale(self, ignore_stale_grad: bool) -> None:
        for param in self._params:
            if param._data is None:
                param.list_data()  # an error, before any other is looked at
        if ignore_stale_grad:
            return
        for param in self._params:
            if param._grad_req != "null":
                for data in param._data:  # type: ignore[union-attr]
                    if not data._fresh_grad:
                        raise UserWarning(
                            f"Gradient of Parameter `{param.name}` on context {data.ctx} has not been updated by "
                            "backward since last `step`. This could mean a bug in your model that made it only use a "
                            "subset of the Parameters (Blocks) for this iteration. If you are intentionally only using "
                            "a subset, call step with ignore_stale_grad=True to suppress this warning and skip "
                            "updating of Parameters with stale gradient")

    def _allreduce_grads(self) -> None:
        if not self._reduces:
            return
        with autograd.pause():
            for param in self._params:
                if param.grad_req != "null":
                    grads = param.list_grad()
                    total = _sum(grads)
                    for grad in grads:
                        total.copyto(grad)

    def _update(self, ignore_stale_grad: bool) -> None:
        for number, updater in enumerate(self._updaters):
            live = [i for i, param in enumerate(self._params) if param._grad_req != "null" and (
                not ignore_stale_grad or param._data[number]._fresh_grad)]  # type: ignore[index]
            weights = [self._params[i]._data[number] for i in live]  # type: ignore[index]
            for weight in weights:
                weight._fresh_grad = False
            updater(live, [self._params[i]._grad[number] for i in live], weights)  # type: ignore[index]

    def _update_shared(self, ignore_stale_grad: bool) -> None:
        """Update the first copy of each parameter from the summed gradients, and copy it to the other contexts."""
        live = [i for i, param in enumerate(self._params) if param.grad_req != "null" and (
            not ignore_stale_grad or any(weight._fresh_grad for weight in param.list_data()))]
        params = [self._params[i] for i in live]
        with autograd.pause():
            grads = [_sum(param.list_grad()) if self._reduces else param.list_grad()[0] for param in params]
            self._updaters[0](live, grads, [param.list_data()[0] for param in params])
            for param in params:
                first, *others = param.list_data()
                for weight in others:
                    first.copyto(weight)
                for weight in (first, *others):
                    weight._fresh_grad = False

    # ------------------------------------------------------------------ states
    def save_states(self, fname: str) -> None:
        """Write the optimizer and its states (momenta, counts) to a file, in MXNet's format."""
        with atomic_write(fname) as stream:
            stream.write(self._updaters[0].get_states(dump_optimizer=True))

    def load_states(self, fname: str) -> None:
        """Take optimizer and states from a file that :meth:`save_states` wrote, here or in MXNet."""
        with open(fname, "rb") as stream:
            states = stream.read()
        for updater in self._updaters:
            updater.set_states(states)
            updater.optimizer = self._updaters[0].optimizer
        self._optimizer = self._updaters[0].optimizer
        self._optimizer.param_dict = dict(enumerate(self._params))


def _parameters(params: Any) -> list[Parameter]:
    if isinstance(params, (dict, ParameterDict)):
        params = [params[name] for name in sorted(params.keys())]
    if not isinstance(params, (list, tuple)):
        raise ArgumentError(f"First argument must be a list or dict of Parameters, got {type(params)}.")
    for param in params:
        if not isinstance(param, Parameter):
            raise ArgumentError(f"First argument must be a list or dict of Parameters, got list of {type(param)}.")
    if not params:
        raise ArgumentError("there are no parameters to train")
    return list(params)


def _shared_contexts(params: Sequence[Parameter]) -> list[Context]:
    contexts = params[0].list_ctx()
    for param in params[1:]:
        if param.list_ctx() != contexts:
            raise TrainerError("All Parameters must be initialized on the same set of contexts, but Parameter "
                               f"{param.name} is initialized on {param.list_ctx()} while previous Parameters are "
                               f"initialized on {contexts}.")
    return contexts


def _sum(arrays: Sequence[NDArray]) -> NDArray:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array.as_in_context(total.ctx)
    return total
