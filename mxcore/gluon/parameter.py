"""``Parameter``: a named array of a network, one copy a context, initialised when its shape is known; ``Constant``."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

from numpy import float32

from .. import autograd, initializer
from .. import ndarray as nd
from .. import symbol as sym
from ..context import Context, cpu, current_context
from ..dtype import dtype_of
from ..errors import DeferredInitializationError, MXNetError

__all__ = ["Constant", "DeferredInitializationError", "Parameter", "ParameterError", "tensor_types"]

#: The types that take part in a network's computation.
tensor_types = (sym.Symbol, nd.NDArray)

_STYPES = ("default", "row_sparse", "csr")
_TICKS = itertools.count(1)
_EPOCH = 0


class ParameterError(MXNetError, AssertionError, ValueError):
    """A parameter cannot take what it was given: a wrong shape, type, name or context."""


def epoch() -> int:
    """A number that changes whenever any parameter replaces its arrays.

    Blocks keep the arrays of their parameters between calls for as long as it stays the same. Writing new values into
    the arrays that are there does not change it.
    """
    return _EPOCH


def _replaced() -> None:
    global _EPOCH
    _EPOCH = next(_TICKS)


def shape_is_known(shape: Sequence[int] | None) -> bool:
    """Whether every dimension of ``shape`` is known (0 and -1 stand for unknown ones).

    >>> shape_is_known((2, 3)), shape_is_known((2, 0)), shape_is_known(None)
    (True, False, False)
    """
    return shape is not None and all(d > 0 for d in shape)


def contexts_of(ctx: Context | Sequence[Context] | None) -> list[Context]:
    """The list of contexts that a ``ctx`` argument means (None: the current context)."""
    if ctx is None:
        return [current_context()]
    found = [ctx] if isinstance(ctx, Context) else list(ctx)
    for c in found:
        if not isinstance(c, Context):
            raise ParameterError(f"ctx must be a Context or a list of them, not {ctx!r}")
    return found


class Parameter:
    """A named array that a network learns, with its gradient, on one or several contexts.

    Parameters
    ----------
    name : str
        Full name, unique within a network.
    grad_req : {'write', 'add', 'null'}
        Whether ``backward`` overwrites the gradient, adds to it, or computes none.
    shape : tuple of int, int or None
        0 stands for a dimension that the first batch of data will tell.
    dtype : str or dtype
        Type of the elements.
    lr_mult, wd_mult : float
        Factors on the learning rate and the weight decay of the optimizer.
    init : Initializer or str, optional
        How to initialise; default: what ``initialize`` is called with.
    allow_deferred_init : bool
        Whether ``initialize`` may be called before the shape is known.
    differentiable : bool
        False fixes ``grad_req`` at 'null'.
    stype, grad_stype : {'default', 'row_sparse', 'csr'}
        Storage of the values and of the gradient; arrays exist for 'default' only.

    Examples
    --------
    >>> w = Parameter("weight", shape=(2, 3))
    >>> w.initialize("ones")
    >>> w.data().shape, w.grad().shape
    ((2, 3), (2, 3))
    """

    def __init__(self, name: str, grad_req: str = "write", shape: Any = None, dtype: Any = float32,
                 lr_mult: float = 1.0, wd_mult: float = 1.0, init: Any = None, allow_deferred_init: bool = False,
                 differentiable: bool = True, stype: str = "default", grad_stype: str = "default") -> None:
        for what, value in (("stype", stype), ("grad_stype", grad_stype)):
            if value not in _STYPES:
                raise ParameterError(f"{what} of Parameter '{name}' must be one of {', '.join(_STYPES)}, not {value!r}")
        self.name = name
        self.lr_mult = lr_mult
        self.wd_mult = wd_mult
        self.init = init
        self._allow_deferred_init = allow_deferred_init
        self._differentiable = differentiable
        self._shape = (shape,) if isinstance(shape, int) else None if shape is None else tuple(shape)
        self._dtype = dtype
        self._stype = stype
        self._grad_stype = grad_stype
        self._var: sym.Symbol | None = None
        self._data: list[nd.NDArray] | None = None
        self._grad: list[nd.NDArray] | None = None
        self._ctx_list: list[Context] = []
        # while initialisation waits for the shape: (init, contexts, default_init, data or None)
        self._deferred_init: tuple = ()
        self._trainer: Any = None
        self._grad_req = "null"
        self.grad_req = grad_req

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.name} (shape={self.shape}, dtype={self.dtype})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer": None, "_var": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._data is not None and self._grad is not None:
            autograd.mark_variables(self._data, self._grad, self._grad_req)

    # ------------------------------------------------------------------ what it is
    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape, with 0 for unknown dimensions; assigning may fill in those only."""
        return self._shape

    @shape.setter
    def shape(self, shape: Sequence[int]) -> None:
        shape = tuple(shape)
        old = self._shape
        if old is not None and not (len(old) == len(shape)
                                    and all(a in (b, 0, -1) for a, b in zip(old, shape, strict=True))):
            raise ParameterError(f"shape {shape} does not fit Parameter '{self.name}' of shape {old}")
        self._shape = shape

    @property
    def dtype(self) -> Any:
        """The element type, as it was given; assigning casts the arrays that exist."""
        return self._dtype

    @dtype.setter
    def dtype(self, dtype: Any) -> None:
        self.cast(dtype)

    @property
    def stype(self) -> str:
        """Storage type of the values."""
        return self._stype

    @property
    def grad_req(self) -> str:
        """'write', 'add' or 'null'; assigning drops the gradient arrays ('null') or makes new ones."""
        return self._grad_req

    @grad_req.setter
    def grad_req(self, req: str) -> None:
        if req not in ("write", "add", "null"):
            raise ParameterError(f"grad_req of Parameter '{self.name}' must be one of 'write', 'add', or 'null', "
                                 f"but got {req!r}")
        if not self._differentiable:
            req = "null"
        if req == self._grad_req:
            return
        self._grad_req = req
        if self._data is not None:
            if req == "null":
                self._grad = None
                self._data = [a.detach() for a in self._data]
                _replaced()
            else:
                self._init_grad()

    def var(self) -> sym.Symbol:
        """The symbol that stands for this parameter; it carries shape, type, multipliers and initializer."""
        if self._var is None:
            self._var = sym.var(self.name, shape=self._shape, dtype=self._dtype, lr_mult=self.lr_mult,
                                wd_mult=self.wd_mult, init=self.init, stype=self._stype)
        return self._var

    # ------------------------------------------------------------------ values
    def _missing(self) -> MXNetError:
        if self._deferred_init:
            return DeferredInitializationError(
                f"Parameter '{self.name}' has not been initialized yet because initialization was deferred. Actual "
                "initialization happens during the first forward pass. Please pass one batch of data through the "
                "network before accessing Parameters. You can also avoid deferred initialization by specifying "
                "in_units, num_features, etc., for network layers.")
        return MXNetError(
            f"Parameter '{self.name}' has not been initialized. Call net.initialize() first. Note that you should "
            "initialize parameters and create Trainer with Block.collect_params() instead of Block.params because the "
            "later does not include Parameters of nested child Blocks")

    def _check_and_get(self, arrays: list[nd.NDArray] | None, ctx: Context | None) -> nd.NDArray:
        """The array of ``arrays`` on ``ctx``."""
        if arrays is None:
            raise self._missing()
        if ctx is None:
            if len(arrays) == 1:
                return arrays[0]
            ctx = current_context()
        for c, array in zip(self._ctx_list, arrays, strict=True):
            if c == ctx:
                return array
        raise MXNetError(f"Parameter '{self.name}' was not initialized on context {ctx}. "
                         f"It was only initialized on {self._ctx_list}.")

    def data(self, ctx: Context | None = None) -> nd.NDArray:
        """The values on ``ctx`` (None: the only context, or the current one).

        Raises
        ------
        MXNetError
            Not initialised, or not on this context.
        DeferredInitializationError
            The shape is not known yet: pass data through the network first.
        """
        return self._check_and_get(self._data, ctx)

    def list_data(self) -> list[nd.NDArray]:
        """The values on all contexts, in the order given to ``initialize``."""
        if self._data is None:
            raise self._missing()
        return self._data

    def _check_grad(self) -> None:
        if self._data is not None and self._grad is None:
            raise MXNetError(f"Cannot get gradient array for Parameter '{self.name}' because grad_req='null'")

    def grad(self, ctx: Context | None = None) -> nd.NDArray:
        """The gradient on ``ctx`` (None: the only context, or the current one)."""
        self._check_grad()
        return self._check_and_get(self._grad, ctx)

    def list_grad(self) -> list[nd.NDArray]:
        """The gradients on all contexts."""
        if self._grad is None:
            self._check_grad()
            raise self._missing()
        return self._grad

    def list_ctx(self) -> list[Context]:
        """The contexts it is, or will be, initialised on."""
        if self._data is not None:
            return self._ctx_list
        if self._deferred_init:
            return self._deferred_init[1]
        raise MXNetError(f"Parameter '{self.name}' has not been initialized; call net.initialize() first")

    def _no_rows(self, what: str) -> MXNetError:
        return MXNetError(f"{what} of Parameter '{self.name}' is not available: its storage type is {self._stype}. "
                          "Please use data() or list_data() instead.")

    def row_sparse_data(self, row_id: nd.NDArray) -> nd.NDArray:
        """The rows ``row_id`` of a row_sparse parameter; an error for dense ones, as in MXNet."""
        raise self._no_rows("row_sparse_data()")

    def list_row_sparse_data(self, row_id: nd.NDArray) -> list[nd.NDArray]:
        """The rows ``row_id`` on all contexts; an error for dense parameters, as in MXNet."""
        raise self._no_rows("list_row_sparse_data()")

    def set_data(self, data: nd.NDArray) -> None:
        """Write new values on all contexts; the shape must fit. Before deferred initialisation they are kept for it."""
        if not hasattr(data, "shape"):
            raise ParameterError(f"Parameter '{self.name}' takes an array, not {data!r}")
        self.shape = data.shape
        if self._data is None:
            if not self._deferred_init:
                raise ParameterError(f"Parameter '{self.name}' has not been initialized; call net.initialize() first")
            self._deferred_init = (*self._deferred_init[:3], data)
            return
        with autograd.pause():
            for array in self._data:
                array[:] = data

    def zero_grad(self) -> None:
        """Set the gradients to 0; nothing happens where there are none."""
        with autograd.pause():
            for grad in self._grad or ():
                grad[:] = 0

    def _reduce(self) -> nd.NDArray:
        """The values on the host: the mean over the contexts."""
        arrays = self.list_data()
        if len(arrays) == 1:
            return arrays[0].as_in_context(cpu())
        with autograd.pause():
            total = arrays[0].copyto(cpu())
            for array in arrays[1:]:
                total += array.as_in_context(cpu())
            total /= len(arrays)
        return total

    # ------------------------------------------------------------------ life
    def initialize(self, init: Any = None, ctx: Context | Sequence[Context] | None = None,
                   default_init: Any = None, force_reinit: bool = False) -> None:
        """Make the arrays and fill them.

        Parameters
        ----------
        init : Initializer or str, optional
            Overrides the parameter's own ``init``.
        ctx : Context or list of Context, optional
            Where; default: the current context.
        default_init : Initializer or str, optional
            Used where neither ``init`` nor the parameter's own is given; default ``Uniform()``.
        force_reinit : bool
            Whether to start again where it is initialised already (else: a warning).

        Raises
        ------
        ParameterError
            The shape is not known and ``allow_deferred_init`` is False.
        """
        if self._data is not None and not force_reinit:
            warnings.warn(f"Parameter '{self.name}' is already initialized, ignoring. Set force_reinit=True to "
                          "re-initialize.", UserWarning, stacklevel=2)
            return
        contexts = contexts_of(ctx)
        default = initializer.Uniform() if default_init is None else default_init
        chosen = init if init is not None else default if self.init is None else self.init
        if not shape_is_known(self._shape) and not self._allow_deferred_init:
            raise ParameterError(f"Cannot initialize Parameter '{self.name}' because it has invalid shape: "
                                 f"{self._shape}.")
        self._data = self._grad = None
        self._deferred_init = (chosen, contexts, default, None)
        if shape_is_known(self._shape):
            self._finish_deferred_init()

    def _finish_deferred_init(self) -> None:
        if not self._deferred_init:
            return
        chosen, contexts, default, data = self._deferred_init
        if not shape_is_known(self._shape):
            raise ParameterError(f"Cannot initialize Parameter '{self.name}' because it has invalid shape: "
                                 f"{self._shape}. Please specify in_units, in_channels, etc for `Block`s.")
        with autograd.pause():
            if data is None:
                data = nd.zeros(self._shape, dtype=self._dtype, ctx=cpu())
                description = initializer.InitDesc(self.name, {"__init__": chosen})
                initializer.create(default)(description, data)
            self._init_impl(data.astype(self._dtype, copy=False), contexts)
        self._deferred_init = ()

    def _init_impl(self, data: nd.NDArray, contexts: Sequence[Context]) -> None:
        if self._stype != "default":
            raise MXNetError(f"Parameter '{self.name}' has storage type {self._stype}; parameters are dense here: "
                             "leave stype at 'default'")
        self._ctx_list = list(contexts)
        self._data = [data.copyto(c) for c in self._ctx_list]
        self._init_grad()

    def _init_grad(self) -> None:
        _replaced()
        if self._grad_req == "null":
            self._grad = None
            return
        if self._grad_stype != "default":
            raise MXNetError(f"the gradient of Parameter '{self.name}' has storage type {self._grad_stype}; gradients "
                             "are dense here: leave sparse_grad at False")
        data = self.list_data()
        self._grad = [nd.zeros(a.shape, dtype=a.dtype, ctx=c) for a, c in zip(data, self._ctx_list, strict=True)]
        autograd.mark_variables(data, self._grad, self._grad_req)

    def _load_check(self, data: nd.NDArray, ctx: Any, cast_dtype: bool, dtype_source: str) -> None:
        """Raise what :meth:`_load_init` would raise, before anything is changed."""
        failed = f"Failed loading Parameter '{self.name}' from saved params: "
        if dtype_source not in ("current", "saved"):
            raise ParameterError(f"dtype_source must be 'current' or 'saved', not {dtype_source!r}")
        mine = self._shape
        if mine is not None and not (len(mine) == len(data.shape) and all(
                a in (b, 0, -1) for a, b in zip(mine, data.shape, strict=True))):
            raise ParameterError(f"{failed}shape incompatible expected {mine} vs saved {data.shape}")
        if not cast_dtype and self._dtype is not None and dtype_of(self._dtype) != dtype_of(data.dtype):
            raise ParameterError(f"{failed}dtype incompatible expected {dtype_of(self._dtype)} vs saved "
                                 f"{dtype_of(data.dtype)}. Set cast_dtype=True to cast the dtype of saved params.")
        if ctx is not None and (self._data is not None or self._deferred_init):
            if set(contexts_of(ctx)) != set(self.list_ctx()):
                raise ParameterError(f"Failed to load Parameter '{self.name}' on {contexts_of(ctx)} because it was "
                                     f"previous initialized on {self.list_ctx()}.")

    def _load_init(self, data: nd.NDArray, ctx: Any, cast_dtype: bool = False, dtype_source: str = "current") -> None:
        """Take values from a file; initialises on ``ctx`` (default: as ``initialize`` said, else the CPU)."""
        self._load_check(data, ctx, cast_dtype, dtype_source)
        if self._dtype is None:
            self._dtype = data.dtype
        elif cast_dtype and dtype_source == "saved":
            self.cast(data.dtype)
        elif cast_dtype:
            data = data.astype(self._dtype, copy=False)
        self.shape = data.shape
        if self._data is not None:
            self.set_data(data)
            return
        if self._deferred_init:
            contexts = self._deferred_init[1]
        else:
            contexts = [cpu()] if ctx is None else contexts_of(ctx)
        with autograd.pause():
            self._init_impl(data, contexts)
        self._deferred_init = ()

    def reset_ctx(self, ctx: Context | Sequence[Context]) -> None:
        """Move to other contexts; the values become the mean over the contexts there were."""
        contexts = contexts_of(ctx)
        if self._data is not None:
            with autograd.pause():
                self._init_impl(self._reduce(), contexts)
        elif self._deferred_init:
            init, _, default, data = self._deferred_init
            self._deferred_init = (init, contexts, default, data)
        else:
            raise ParameterError(f"Cannot reset context for Parameter '{self.name}' because it has not been "
                                 "initialized.")

    def cast(self, dtype: Any) -> None:
        """Change the type of values and gradients."""
        self._dtype = dtype
        self._var = None
        if self._data is not None:
            with autograd.pause():
                self._data = [a.astype(dtype) for a in self._data]
                self._init_grad()

    def _set_trainer(self, trainer: Any) -> None:
        self._trainer = trainer


class Constant(Parameter):
    """A parameter that training leaves alone: its value is fixed and its gradient is not computed.

    Parameters
    ----------
    name : str
        Full name.
    value : array_like
        The value, float32 unless it is an array of another type.

    Examples
    --------
    >>> c = Constant("scale", [[1.0, 2.0]])
    >>> c.initialize()
    >>> c.data().asnumpy().tolist()
    [[1.0, 2.0]]
    """

    def __init__(self, name: str, value: Any) -> None:
        self.value: nd.NDArray = value if isinstance(value, nd.NDArray) else nd.array(value)
        super().__init__(name, grad_req="null", shape=self.value.shape, dtype=self.value.dtype,
                         init=f"Constant_{name}")

    @property
    def grad_req(self) -> str:
        """Always 'null'."""
        return "null"

    @grad_req.setter
    def grad_req(self, req: str) -> None:
        if req != "null":
            warnings.warn(f'Constant parameter "{self.name}" does not support grad_req other than "null", and new '
                          f'value "{req}" is ignored.', UserWarning, stacklevel=2)

    def _finish_deferred_init(self) -> None:
        if self._deferred_init:
            kept = self._deferred_init[3]
            self._deferred_init = (*self._deferred_init[:3], self.value if kept is None else kept)
            super()._finish_deferred_init()


def __getattr__(name: str) -> Any:
    if name == "ParameterDict":  # MXNet has it in this module; it imports this one
        from .parameter_dict import ParameterDict

        return ParameterDict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
