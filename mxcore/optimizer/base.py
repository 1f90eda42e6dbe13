"""What an optimizer is: learning rates, decays, counts of updates, mixed precision, and the registry."""

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..base import config
from ..errors import ArgumentError
from ..files import pickles

__all__ = ["Optimizer", "aggregation_size", "create", "is_small", "register", "zeros_as"]


def is_small(weight: Any) -> bool:
    """Whether an array is of a type too small to sum up many small updates in."""
    return np.dtype(weight.dtype).name in ("float16", "bfloat16")


def aggregation_size(default: int) -> int:
    """How many weights one call of ``update`` takes: what the user set, or MXNet's default for the optimizer."""
    value = config("MXCORE_OPTIMIZER_AGGREGATION_SIZE")
    return default if value is None else int(value)


def zeros_as(weight: Any) -> Any:
    """Zeros of the shape, type and place of an array."""
    return weight.zeros_like()


class Optimizer:
    """Base of all optimizers.

    A subclass defines ``create_state(index, weight)``, what has to be remembered for a weight, and ``update(index,
    weight, grad, state)``, which changes weight and state in place.

    Parameters
    ----------
    rescale_grad : float
        Gradients are multiplied by it (often 1 / batch size).
    param_idx2name : dict of int to str, optional
        Names of the parameters by index. Those that do not end in ``_weight`` or ``_gamma`` are not decayed.
    wd : float
        Weight decay: the weight of the L2 penalty.
    clip_gradient : float, optional
        Rescaled gradients are limited to ``[-clip_gradient, clip_gradient]``.
    learning_rate : float, optional
        Default 0.01, or that of ``lr_scheduler``.
    lr_scheduler : LRScheduler, optional
        Learning rate by number of updates.
    sym : Symbol, optional
        Its variables' ``__lr_mult__`` and ``__wd_mult__`` attributes are obeyed.
    begin_num_update : int
        Number of updates made before.
    multi_precision : bool
        Keep float32 copies of float16 (and bfloat16) weights.
    param_dict : dict of int to Parameter, optional
        Gluon's parameters by index; their ``lr_mult`` and ``wd_mult`` are obeyed.

    Attributes
    ----------
    num_update : int
        The largest number of updates that any parameter has had.
    aggregate_num : int
        How many weights one call of ``update`` takes as lists at most; 0 if it takes no lists. Optimizers whose results do
        not depend on it (SGD, NAG, Adam, AdaGrad, RMSProp) get all weights of a type at once, whatever it says.

    Examples
    --------
    >>> @Optimizer.register
    ... class Plain(Optimizer):
    ...     def update(self, index, weight, grad, state):
    ...         self._update_count(index)
    ...         weight -= self._get_lr(index) * self.rescale_grad * grad
    >>> w = nd.array([1.])
    >>> create("plain", learning_rate=0.5).update(0, w, nd.array([1.]), None)
    >>> w.asscalar()
    0.5
    """

    #: lower-case name -> class
    opt_registry: ClassVar[dict[str, type["Optimizer"]]] = {}
    #: endings of the names of parameters that are decayed
    _decayed: ClassVar[tuple[str, ...]] = ("_weight", "_gamma")
    #: whether ``update`` takes lists of any length, and does what it would do one by one; not inherited by a class that
    #: changes how a weight is updated
    _takes_any_number: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        changed = {"update", "update_multi_precision", "_get_lr", "_get_wd"} & vars(cls).keys()
        if changed and "_takes_any_number" not in vars(cls):
            cls._takes_any_number = False

    def __init__(self, rescale_grad: float = 1.0, param_idx2name: dict[Any, str] | None = None, wd: float = 0.0,
                 clip_gradient: float | None = None, learning_rate: float | None = None, lr_scheduler: Any = None,
                 sym: Any = None, begin_num_update: int = 0, multi_precision: bool = False,
                 param_dict: dict[int, Any] | None = None) -> None:
        self.rescale_grad = rescale_grad
        self.lr_scheduler = lr_scheduler
        if lr_scheduler is None and learning_rate is None:
            learning_rate = 0.01
        if lr_scheduler is not None and learning_rate is not None:
            if lr_scheduler.base_lr != learning_rate:
                warnings.warn("learning rate from ``lr_scheduler`` has been overwritten by ``learning_rate`` in "
                              "optimizer.", UserWarning, stacklevel=3)
            lr_scheduler.base_lr = learning_rate
        self.lr = learning_rate
        self.wd = wd
        self.lr_mult: dict[Any, float] = {}
        self.wd_mult: dict[Any, float] = {}
        self.begin_num_update = begin_num_update
        self.num_update = begin_num_update
        # one count per device: copies of a parameter on several devices are updated each
        self._all_index_update_counts: dict[int, dict[Any, int]] = {0: {}}
        self._index_update_count = self._all_index_update_counts[0]
        self.clip_gradient = clip_gradient
        self.multi_precision = multi_precision
        self.aggregate_num = 0
        if not isinstance(param_idx2name, (dict, type(None))):
            raise ArgumentError("param_idx2name should be a dict of param indexes to names, "
                                f"not {type(param_idx2name).__name__}")
        self.idx2name = dict(param_idx2name or {})
        self.sym_info = (sym.attr_dict(), sym.list_arguments()) if sym is not None else ()
        self.param_dict = param_dict or {}
        self.allow_np_array = False
        self.set_lr_mult({})
        self.set_wd_mult({})

    # ------------------------------------------------------------ registry
    @staticmethod
    def register(klass: type["Optimizer"]) -> type["Optimizer"]:
        """Decorator: enter an optimizer under its lower-case class name, for :func:`create`; states may name it."""
        name = klass.__name__.lower()
        old = Optimizer.opt_registry.get(name)
        if old is not None:
            warnings.warn(f"WARNING: New optimizer {klass.__module__}.{klass.__name__} is overriding existing "
                          f"optimizer {old.__module__}.{old.__name__}", UserWarning, stacklevel=2)
        Optimizer.opt_registry[name] = klass
        pickles.admit(f"{klass.__module__}.{klass.__qualname__}", klass)
        return klass

    @staticmethod
    def create_optimizer(name: str, **kwargs: Any) -> "Optimizer":
        """Make an optimizer from its name and arguments.

        Raises
        ------
        ArgumentError
            There is no optimizer of that name.
        """
        klass = Optimizer.opt_registry.get(str(name).lower())
        if klass is None:
            raise ArgumentError(f"Cannot find optimizer {name}; there are {', '.join(sorted(Optimizer.opt_registry))}")
        return klass(**kwargs)

    # ------------------------------------------------------------ what subclasses do
    def create_state(self, index: Any, weight: Any) -> Any:
        """What has to be remembered for a weight: None, an array, or a tuple of these."""
        return None

    def create_state_multi_precision(self, index: Any, weight: Any) -> Any:
        """The state, with a float32 copy of the weight first where mixed precision asks for one."""
        if self.multi_precision and is_small(weight):
            copy = weight.astype("float32")
            return copy, self.create_state(index, copy)
        self._warn_small(weight)
        return self.create_state(index, weight)

    def _warn_small(self, weight: Any) -> None:
        if is_small(weight) and not self.multi_precision:
            warnings.warn(f"Accumulating with {np.dtype(weight.dtype).name} in optimizer can lead to poor accuracy or "
                          "slow convergence. Consider using multi_precision=True option of the "
                          f"{type(self).__name__} optimizer", UserWarning, stacklevel=4)

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Change ``weight`` and ``state`` in place. With ``aggregate_num`` above 0, all four may be lists."""
        raise NotImplementedError(f"{type(self).__name__} does not define update(index, weight, grad, state)")

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """:meth:`update` of the float32 copy where there is one, which is then rounded into the weight.

        Where :meth:`update` takes lists, this takes lists too, of weights of one type.
        """
        first = weight[0] if isinstance(weight, (list, tuple)) else weight
        if not self.multi_precision or not is_small(first):
            self.update(index, weight, grad, state)
        elif first is weight:
            self._update_copy(index, weight, grad, state)
        else:
            for one in zip(index, weight, grad, state):
                self._update_copy(*one)

    def _update_copy(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        copy, inner = state
        self.update(index, copy, grad.astype("float32"), inner)
        weight[:] = copy.astype(weight.dtype)

    # ------------------------------------------------------------ learning rates and decays
    @property
    def learning_rate(self) -> float:
        """The current learning rate, before multipliers."""
        return self.lr if self.lr_scheduler is None else self.lr_scheduler(self.num_update)  # type: ignore[return-value]

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate.

        Raises
        ------
        UserWarning
            The optimizer has a scheduler, which decides (an exception, as in MXNet).
        """
        if self.lr_scheduler is not None:
            raise UserWarning("LRScheduler of the optimizer has already been defined. Note that set_learning_rate can "
                              "mutate the value of the learning rate of the optimizer only when the LRScheduler of the "
                              "optimizer is undefined.")
        self.lr = lr

    def set_lr_scale(self, args_lrscale: Any) -> None:
        """Raises DeprecationWarning: use :meth:`set_lr_mult`."""
        raise DeprecationWarning("set_lr_scale is gone; use set_lr_mult instead")

    def set_lr_mult(self, args_lr_mult: dict[Any, float]) -> None:
        """Multiply the learning rate of parameters: by index or by name.

        Multipliers of the symbol's attributes stay unless they are given anew.
        """
        self.lr_mult = {**self._of_symbol("__lr_mult__"), **args_lr_mult}

    def set_wd_mult(self, args_wd_mult: dict[Any, float]) -> None:
        """Multiply the weight decay of parameters: by index or by name.

        Parameters whose names end in neither ``_weight`` nor ``_gamma`` are not decayed unless they are given here.
        """
        undecayed = {name: 0.0 for name in self.idx2name.values() if not name.endswith(self._decayed)}
        self.wd_mult = {**undecayed, **self._of_symbol("__wd_mult__"), **args_wd_mult}

    def _of_symbol(self, key: str) -> dict[Any, float]:
        if not self.sym_info:
            return {}
        attrs, names = self.sym_info
        return {name: float(attrs[name][key]) for name in names if key in attrs.get(name, ())}

    def _set_current_context(self, device_id: int) -> None:
        """Count updates for a device of that number from now on."""
        self._index_update_count = self._all_index_update_counts.setdefault(device_id, {})

    def _update_count(self, index: Any) -> None:
        """Count an update of a parameter, or of each of a list."""
        counts, most = self._index_update_count, self.num_update
        for one in index if isinstance(index, (list, tuple)) else (index,):
            count = counts[one] = counts.get(one, self.begin_num_update) + 1
            if count > most:
                most = count
        self.num_update = most

    def _counted_rates(self, indices: Sequence[Any]) -> tuple[list[float], list[float]]:
        """Count an update of each parameter, one after the other; its learning rate and decay are those of then."""
        if self.lr_scheduler is None and len(indices) > 1:
            self._update_count(indices)
            return self._get_lrs(indices), self._get_wds(indices)
        lrs, wds = [], []
        for index in indices:
            self._update_count(index)
            lrs.append(self._get_lr(index))
            wds.append(self._get_wd(index))
        return lrs, wds

    def _get_lrs(self, indices: Sequence[Any]) -> list[float]:
        """The learning rates of parameters."""
        lr, params = self.learning_rate, self.param_dict
        return [lr * (params[i].lr_mult if i in params else self._multiplier(i, "lr_mult")) for i in indices]

    def _get_lr(self, index: Any) -> float:
        """The learning rate of a parameter."""
        return self._get_lrs([index])[0]

    def _get_wds(self, indices: Sequence[Any]) -> list[float]:
        """The weight decays of parameters."""
        wd, params = self.wd, self.param_dict
        return [wd * (params[i].wd_mult if i in params else self._multiplier(i, "wd_mult")) for i in indices]

    def _get_wd(self, index: Any) -> float:
        """The weight decay of a parameter."""
        return self._get_wds([index])[0]

    def _multiplier(self, index: Any, kind: str) -> float:
        if index in self.param_dict:
            return getattr(self.param_dict[index], kind)
        table = getattr(self, kind)
        if index in table:
            return table[index]
        return table.get(self.idx2name.get(index), 1.0)

    def _common(self, **more: Any) -> dict[str, Any]:
        """Attributes that the update operators share."""
        more["rescale_grad"] = self.rescale_grad
        if self.clip_gradient:
            more["clip_gradient"] = self.clip_gradient
        return more

    def _prepared(self, grad: Any) -> Any:
        """The gradient, rescaled and clipped, for updates that are written in array operations."""
        grad = grad * self.rescale_grad
        return grad if self.clip_gradient is None else grad.clip(-self.clip_gradient, self.clip_gradient)

    # ------------------------------------------------------------ states
    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["param_dict"]  # parameters belong to the net
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.param_dict = {}


#: Enter an optimizer under its lower-case class name.
register = Optimizer.register


def create(name: str, **kwargs: Any) -> Optimizer:
    """Make an optimizer from its name and arguments.

    >>> create("sgd", momentum=0.9).momentum
    0.9
    """
    return Optimizer.create_optimizer(name, **kwargs)
