"""``HybridBlock``: a block that runs imperatively or, hybridized, as one compiled graph traced from the same code."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from .. import ndarray as nd
from .. import symbol as sym
from ..errors import ArgumentError, DeferredInitializationError, MXNetError
from ..ndarray import NDArray
from ..runtime.listing import Listing
from ..symbol import Symbol
from . import parameter as _parameter
from .compiled import Compiled
from .plain_block import Block
from .structure import flatten, regroup

__all__ = ["HybridBlock"]


class HybridBlock(Block):
    """A block written once for arrays and symbols.

    Subclasses write ``hybrid_forward(self, F, x, *args, **params)``, where ``F`` is ``mx.nd`` or ``mx.sym`` and the
    parameters assigned to the block come as keyword arguments. After :meth:`hybridize` the first call traces it into a
    graph, and all calls run that graph.

    Parameters
    ----------
    prefix : str, optional
        Put before the names of parameters and children.
    params : ParameterDict, optional
        Parameters to share.

    Examples
    --------
    >>> import mxcore as mx
    >>> class Scale(HybridBlock):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.factor = self.params.get("factor", shape=(1,), init="ones")
    ...     def hybrid_forward(self, F, x, factor):
    ...         return F.broadcast_mul(x, factor)
    >>> net = Scale()
    >>> net.initialize()
    >>> net.hybridize()
    >>> net(mx.nd.ones((2,))).asnumpy().tolist()
    [1.0, 1.0]
    """

    def __init__(self, prefix: str | None = None, params: Any = None) -> None:
        self._active = False
        self._flags: list[tuple[str, Any]] = []
        self._callback: Callable | None = None
        self._monitor_all = False
        self._reset_graph()
        super().__init__(prefix, params)

    def _reset_graph(self) -> None:
        # (input variables, output symbol), traced from arguments of the format _in_format
        self._cached_graph: tuple = ()
        self._in_format: Any = None
        self._out_format: Any = None
        self._cached_op: Compiled | None = None
        # device -> keyword arguments of hybrid_forward, valid while the parameters keep their arrays
        self._eager_params: dict[Any, dict[str, NDArray]] = {}
        self._eager_epoch = -1

    def __getstate__(self) -> dict[str, Any]:
        # a copy, here or in another process, is traced again
        return {**self.__dict__, "_cached_graph": (), "_cached_op": None, "_eager_params": {}}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, (HybridBlock, _parameter.Parameter)):
            self._clear_cached_op()

    def register_child(self, block: Block, name: str | None = None) -> None:
        """Make a hybrid block a child; others cannot be traced.

        Raises
        ------
        ArgumentError
            ``block`` is no HybridBlock.
        """
        if not isinstance(block, HybridBlock):
            raise ArgumentError(f"Children of HybridBlock must also be HybridBlock, but {block} has type "
                                f"{type(block)}. If you are using Sequential, please try HybridSequential instead.")
        super().register_child(block, name)
        self._clear_cached_op()

    def _clear_cached_op(self) -> None:
        self._reset_graph()

    def explain(self) -> Listing:
        """The compiled programs of this block as text: steps, fused groups, orders of axes, bytes planned and unplanned.

        There is one program for each set of input shapes, for inference and for training.

        Raises
        ------
        MXNetError
            The block is not hybridized, or was not called since.

        Examples
        --------
        >>> import mxcore as mx
        >>> net = mx.gluon.nn.Dense(2, activation="relu", in_units=3)
        >>> net.initialize()
        >>> net.hybridize()
        >>> out = net(mx.nd.ones((1, 3)))
        >>> "forward" in net.explain()
        True
        """
        if self._cached_op is None:
            raise MXNetError(f"{self.name} has no compiled program: call hybridize(), then the block with its inputs")
        return self._cached_op.explain()

    # ------------------------------------------------------------------ switches
    def hybridize(self, active: bool = True, backend: str | None = None, clear: bool = True,
                  static_alloc: bool = False, static_shape: bool = False, inline_limit: int = 2,
                  forward_bulk_size: int | None = None, backward_bulk_size: int | None = None, **kwargs: Any) -> None:
        """Switch this block and those below it to compiled graphs, or back.

        Parameters
        ----------
        active : bool
            Whether to compile.
        backend : str, optional
            Must be None: graphs are not handed to other engines.
        clear : bool
            Whether to trace again.
        static_alloc, static_shape : bool
            Let the graph keep its memory between calls. On devices that can record launches (CUDA), forward and backward part
            are recorded at the third call and replayed from then on.
        inline_limit, forward_bulk_size, backward_bulk_size : int, optional
            Accepted for MXNet's sake; handed to the compiled graph.

        Raises
        ------
        MXNetError
            A backend is named.
        """
        if backend is not None:
            raise MXNetError(f"there is no graph backend {backend!r}: hybridize() without backend= compiles the graph "
                             "for the device it runs on")
        if static_shape and not static_alloc:
            raise ArgumentError("static_shape=True needs static_alloc=True")
        flags = [("static_alloc", static_alloc), ("static_shape", static_shape), ("inline_limit", inline_limit)]
        flags += [(key, size) for key, size in (("forward_bulk_size", forward_bulk_size),
                                                ("backward_bulk_size", backward_bulk_size)) if size is not None]
        self._active = active
        self._flags = flags
        if clear:
            self._clear_cached_op()
        else:
            self._cached_op = None
        if active and (self._forward_hooks or self._forward_pre_hooks):
            warnings.warn(f'"{self}" is being hybridized while still having forward hook/pre-hook. If "{self}" is a '
                          "child of HybridBlock, the hooks will not take effect.", UserWarning, stacklevel=2)
        super().hybridize(active, clear=clear, static_alloc=static_alloc, static_shape=static_shape,
                          inline_limit=inline_limit, forward_bulk_size=forward_bulk_size,
                          backward_bulk_size=backward_bulk_size, **kwargs)

    def optimize_for(self, x: NDArray, *args: Any, backend: str | None = None, clear: bool = False,
                     **kwargs: Any) -> None:
        """MXNet's hand-over of a graph to another engine; there is none, and naming one is an error."""
        if backend is None:
            raise ArgumentError('Must specify "backend" to optimize_for')
        self.hybridize(True, backend, clear, **kwargs)

    def cast(self, dtype: Any) -> None:
        """Change the type of all parameters; the graph is traced again."""
        self._clear_cached_op()
        super().cast(dtype)

    def register_op_hook(self, callback: Callable[[str, str, NDArray], None], monitor_all: bool = False) -> None:
        """Have ``callback(name, operator, array)`` called for each operator of the compiled graph when it runs."""
        self._callback = callback
        self._monitor_all = monitor_all
        self._cached_op = None
        super().register_op_hook(callback, monitor_all)

    # ------------------------------------------------------------------ tracing
    def _get_graph(self, *args: Any) -> tuple:
        """The input variables and the output symbol, traced at the first call."""
        if not self._cached_graph:
            flat, self._in_format = flatten(args, "input")
            several = sum(value is not None for value in flat) > 1
            inputs: list[Symbol] = []
            places: list[Symbol | None] = []
            for value in flat:
                if value is not None:
                    inputs.append(sym.var(f"data{len(inputs)}" if several else "data"))
                places.append(None if value is None else inputs[-1])
            out, self._out_format = flatten(self._traced(*regroup(places, self._in_format)), "output")
            self._cached_graph = inputs, out[0] if len(out) == 1 else sym.Group(out)
        return self._cached_graph

    def _traced(self, *args: Any) -> Any:
        params = {name: param.var() for name, param in self._reg_params.items()}
        with self.name_scope():
            return self.hybrid_forward(sym, *args, **params)

    def _infer_attrs(self, function: str, attribute: str, *args: Any) -> None:
        """Infer shapes or types of all parameters from those of the inputs, and assign them."""
        inputs, out = self._get_graph(*args)
        arrays = [value for value in flatten(args, "input")[0] if value is not None]
        known = {var.name: getattr(value, attribute) for var, value in zip(inputs, arrays, strict=True)}
        found, _, found_aux = getattr(out, function)(**known)
        if found is None:
            raise MXNetError(f"{function} of {self.name} could not tell all {attribute}s from {known}")
        values = dict(zip(out.list_arguments(), found, strict=True))
        values.update(zip(out.list_auxiliary_states(), found_aux, strict=True))
        for name, param in self.collect_params().items():
            if name in values:
                setattr(param, attribute, values[name])

    def infer_shape(self, *args: Any) -> None:
        """Infer the shapes of the parameters from those of the inputs."""
        self._infer_attrs("infer_shape", "shape", *args)

    def infer_type(self, *args: Any) -> None:
        """Infer the types of the parameters from those of the inputs."""
        self._infer_attrs("infer_type", "dtype", *args)

    def _deferred_infer_shape(self, *args: Any) -> None:
        try:
            self.infer_shape(*args)
        except Exception as error:
            raise ArgumentError("Deferred initialization failed because shape cannot be inferred. "
                                f"{error}") from error

    def _finish_deferred_init(self, args: tuple, params: Iterable[_parameter.Parameter]) -> None:
        self._deferred_infer_shape(*args)
        for param in params:
            param._finish_deferred_init()

    # ------------------------------------------------------------------ computing
    def _compile(self, *args: Any) -> Compiled:
        inputs, out = self._get_graph(*args)
        self._cached_op = Compiled(self, inputs, out)
        return self._cached_op

    def forward(self, x: Any, *args: Any) -> Any:
        """Compute: on arrays imperatively or by the compiled graph, on symbols by composing; calls hybrid_forward.

        Raises
        ------
        ArgumentError
            No array and no symbol among the inputs, or both kinds.
        """
        device = x._dev if isinstance(x, NDArray) and not args else _device_of((x, *args))
        if device is None:
            return self._traced(x, *args)
        if self._active:
            return (self._cached_op or self._compile(x, *args))((x, *args))
        if self._eager_epoch != _parameter._EPOCH:
            self._eager_params.clear()
            self._eager_epoch = _parameter._EPOCH
        params = self._eager_params.get(device)
        if params is None:
            try:
                params = {name: param.data(device.ctx) for name, param in self._reg_params.items()}
            except DeferredInitializationError:
                self._finish_deferred_init((x, *args), self._reg_params.values())
                params = {name: param.data(device.ctx) for name, param in self._reg_params.items()}
            self._eager_params[device] = params
        return self.hybrid_forward(nd, x, *args, **params)

    def hybrid_forward(self, F: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The computation; subclasses override it.

        Parameters
        ----------
        F : module
            ``mx.nd`` or ``mx.sym``.
        x, *args
            The inputs.
        **kwargs
            The parameters by the names of the attributes they were assigned to.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define hybrid_forward()")

    # ------------------------------------------------------------------ files
    def export(self, path: str, epoch: int = 0, remove_amp_cast: bool = True) -> None:
        """Write ``<path>-symbol.json`` and ``<path>-<epoch>.params`` for SymbolBlock.imports, Module or other tools.

        Parameters
        ----------
        path : str
            Start of the file names.
        epoch : int
            Written with four digits.
        remove_amp_cast : bool
            Whether casts that mixed precision put in are left out.

        Raises
        ------
        MXNetError
            The block has not been hybridized and called.
        """
        if not self._cached_graph:
            raise MXNetError("Please first call block.hybridize() and then run forward with this block at least once "
                             "before calling export.")
        graph = self._cached_graph[1]
        arguments, states = set(graph.list_arguments()), set(graph.list_auxiliary_states())
        arrays = {}
        for name, param in self._graph_params().items():
            if name in arguments:
                arrays[f"arg:{name}"] = param._reduce()
            elif name in states:
                arrays[f"aux:{name}"] = param._reduce()
        graph.save(f"{path}-symbol.json", remove_amp_cast=remove_amp_cast)
        nd.save(f"{path}-{epoch:04d}.params", arrays)

    def _graph_params(self) -> dict[str, _parameter.Parameter]:
        """The parameters by the names of the graph's variables."""
        return dict(self.collect_params().items())

    def _graph_description(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._cached_graph:
            inputs, out = self._cached_graph
            found = {"in_format": self._in_format, "out_format": self._out_format,
                     "inputs": [var.tojson() for var in inputs], "symbol": out.tojson()}
        return found | {"hybridized": bool(found)}


def _device_of(args: tuple) -> Any:
    """The device of the first array; None where the inputs are symbols."""
    flat: list = []
    _gather(args, flat)
    arrays = [value for value in flat if isinstance(value, NDArray)]
    symbols = len(flat) - len(arrays)
    if arrays and symbols:
        raise ArgumentError("In HybridBlock, we do not support mixed NDArrays and Symbols types for the input. Please "
                            "check the type of the args.")
    if not flat:
        raise ArgumentError("In HybridBlock, there must be one NDArray or one Symbol in the input. Please check the "
                            f"type of the args: {', '.join(type(a).__name__ for a in args)}.")
    return arrays[0]._dev if arrays else None


def _gather(args: Any, found: list) -> None:
    for value in args:
        if isinstance(value, (NDArray, Symbol)):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            _gather(value, found)
