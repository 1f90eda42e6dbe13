"""``SymbolBlock``: a block made of a symbol, such as one that was exported or written by MXNet."""

from collections.abc import Sequence
from typing import Any

from .. import symbol as sym
from ..context import Context
from ..dtype import dtype_of
from ..ndarray import NDArray
from ..symbol import Symbol
from .hybrid_block import HybridBlock
from .parameter import Parameter, ParameterError
from .parameter_dict import ParameterDict
from .structure import flatten, regroup

__all__ = ["SymbolBlock"]

_NORMALIZATIONS = ("BatchNorm", "SyncBatchNorm", "_contrib_SyncBatchNorm")


class SymbolBlock(HybridBlock):
    """A block that computes a symbol; the variables that are not inputs are its parameters.

    Parameters
    ----------
    outputs : Symbol or (nested) list of Symbol
        What it returns.
    inputs : Symbol or (nested) list of Symbol
        The variables that a call gives values to.
    params : ParameterDict, optional
        Parameters to share, found by the variables' names.

    Examples
    --------
    >>> import mxcore as mx
    >>> x = mx.sym.var("x")
    >>> net = SymbolBlock(mx.sym.relu(x) + 1, x)
    >>> net(mx.nd.array([-1.0, 2.0])).asnumpy().tolist()
    [1.0, 3.0]
    """

    @staticmethod
    def imports(symbol_file: str, input_names: str | Sequence[str], param_file: str | None = None,
                ctx: Context | Sequence[Context] | None = None, allow_missing: bool = False,
                ignore_extra: bool = False) -> "SymbolBlock":
        """A block from the files that ``HybridBlock.export`` or ``Module.save_checkpoint`` wrote.

        Parameters
        ----------
        symbol_file : str
            The ``-symbol.json`` file.
        input_names : str or list of str
            Names of the inputs.
        param_file : str, optional
            The ``.params`` file; without it the block is to be initialised.
        ctx : Context or list of Context, optional
            Where the parameters go; default: the CPU.
        allow_missing, ignore_extra : bool
            Whether parameters without a value, and values without a parameter, are tolerated.
        """
        graph = sym.load(symbol_file)
        names = [input_names] if isinstance(input_names, str) else list(input_names)
        inputs = [sym.var(name) for name in names]
        block = SymbolBlock(graph, inputs[0] if len(inputs) == 1 else inputs)
        if param_file is not None:
            block.collect_params().load(param_file, ctx, allow_missing, ignore_extra, cast_dtype=True,
                                        dtype_source="saved")
        return block

    def __init__(self, outputs: Any, inputs: Any, params: ParameterDict | None = None) -> None:
        super().__init__(prefix=None, params=None)
        self._prefix = ""
        self._params = ParameterDict("", params)
        if isinstance(inputs, Symbol) and len(inputs.list_outputs()) == 1:
            inputs = [inputs]
        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
            outputs = outputs[0]
        variables, self._in_format = flatten(inputs, "input")
        heads, self._out_format = flatten(outputs, "output")
        for variable in variables:
            if not isinstance(variable, Symbol) or len(variable.get_internals().list_outputs()) != 1:
                raise ParameterError(f"Input symbols must be variable, but {variable} is an output of operators")
        graph = heads[0] if len(heads) == 1 else sym.Group(heads)
        taken = {variable.name for variable in variables}
        attributes = graph.attr_dict()
        for names, options in ((graph.list_arguments(), {}), (graph.list_auxiliary_states(), {"grad_req": "null"})):
            for name in names:
                if name not in taken:
                    self.params.get(name, **self._options(name, attributes.get(name, {}), options))
        self._cached_graph = variables, graph
        start = len(_common_prefix(list(self.params)))
        self._reg_params = {name[start:]: param for name, param in self.params.items()}

    def _options(self, name: str, attributes: dict[str, str], more: dict[str, Any]) -> dict[str, Any]:
        """Arguments for a parameter that is new, from its variable; one that is shared is taken as it is."""
        shared = self._params._shared
        if shared is not None and name in shared:
            return {}
        return {"dtype": dtype_of(attributes.get("__dtype__")).type, "init": attributes.get("__init__"),
                "allow_deferred_init": True, **more}

    def __repr__(self) -> str:
        inputs, graph = self._cached_graph
        return f"{type(self).__name__}(\n{graph!r} : {len(inputs)} -> {len(graph.list_outputs())}\n)"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_cached_graph": self._cached_graph}

    def reset_ctx(self, ctx: Context | Sequence[Context]) -> None:
        """Move all parameters to other contexts."""
        self.collect_params().reset_ctx(ctx)

    def _clear_cached_op(self) -> None:
        self._cached_op = None  # the graph is what this block is made of

    def _graph_params(self) -> dict[str, Parameter]:
        return dict(self.params.items())

    def cast(self, dtype: Any) -> None:
        """Change the type of all parameters; those of batch normalisations stay float32 beside float16."""
        super().cast(dtype)
        if dtype_of(dtype).itemsize == 2:
            for name in _normalization_params(self._cached_graph[1]):
                if name in self.params:
                    self.params[name].cast("float32")

    def forward(self, x: Any, *args: Any) -> Any:
        """Compute on arrays, or compose with symbols."""
        if isinstance(x, NDArray):
            return (self._cached_op or self._compile(x, *args))((x, *args))
        if not isinstance(x, Symbol):
            raise ParameterError("HybridBlock requires the first argument to forward be either Symbol or NDArray, but "
                                 f"got {type(x)}")
        given, form = flatten((x, *args), "input")
        if form != self._in_format:
            raise ParameterError(f"Invalid input format: this block takes {self._in_format}, not {form} (0: a symbol)")
        variables, graph = self._cached_graph
        used = set(graph.list_inputs())
        composed = graph(**{var.name: value for var, value in zip(variables, given, strict=True) if var.name in used})
        return regroup(list(composed), self._out_format)

    def hybrid_forward(self, F: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Not used: the symbol is the computation."""
        raise NotImplementedError("a SymbolBlock computes its symbol; call it, or its forward()")


def _common_prefix(names: list[str]) -> str:
    """What all names start with (of a single name: all of it), as MXNet strips it in ``save_parameters``.

    >>> _common_prefix(["fc1_weight", "fc1_bias", "fc2_weight"])
    'fc'
    """
    if not names:
        return ""
    low, high = min(names), max(names)
    for i, letter in enumerate(low):
        if high[i:i + 1] != letter:
            return low[:i]
    return low


def _normalization_params(graph: Symbol) -> list[str]:
    """Names of the variables that go into batch normalisations."""
    nodes = dict.fromkeys(node for node, _ in graph.get_internals()._entries)
    return [entry[0].name for node in nodes if node.op is not None and node.op.name in _NORMALIZATIONS
            for entry in node.inputs if entry is not None and entry[0].op is None]
