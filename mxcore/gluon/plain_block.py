"""``Block``: a layer or network as a tree of named children and parameters, computed imperatively."""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from .. import ndarray as nd
from ..context import Context
from ..errors import ArgumentError
from . import architecture
from .hooks import HookHandle
from .parameter import Parameter, ParameterError
from .parameter_dict import ParameterDict, load_values, named_arrays
from .scope import _BlockScope
from .structure import listed
from .summary import summarize

__all__ = ["Block"]


class Block:
    """Base of all layers and networks.

    Assigning blocks and parameters to attributes registers them; inside ``with self.name_scope():`` they are named
    under this block's prefix. Subclasses write :meth:`forward`.

    Parameters
    ----------
    prefix : str, optional
        Put before the names of parameters and children; default: class name and number, e.g. ``dense0_``.
    params : ParameterDict, optional
        Parameters to share: those of another block (``other.params``).

    Examples
    --------
    >>> from mxcore.gluon import nn
    >>> class Net(Block):
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         with self.name_scope():
    ...             self.first = nn.Dense(4, in_units=2)
    ...     def forward(self, x):
    ...         return self.first(x) * 2
    >>> list(Net(prefix="net_").collect_params())
    ['net_dense0_weight', 'net_dense0_bias']
    """

    def __init__(self, prefix: str | None = None, params: ParameterDict | None = None) -> None:
        self._empty_prefix = prefix == ""
        self._prefix, self._params = _BlockScope.create(prefix, params, self._alias())
        self._name = self._prefix.removesuffix("_")
        self._scope = _BlockScope(self)
        self._children: dict[str, Block] = {}
        self._reg_params: dict[str, Parameter] = {}
        self._forward_hooks: dict[int, Callable] = {}
        self._forward_pre_hooks: dict[int, Callable] = {}

    def __repr__(self) -> str:
        return self._repr_of((key, value) for key, value in self.__dict__.items() if isinstance(value, Block))

    def _repr_of(self, children: Any) -> str:
        lines = "\n".join(f"  ({key}): " + repr(child).replace("\n", "\n  ") for key, child in children)
        return f"{type(self).__name__}(\n{lines}\n)"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, (Parameter, Block)) and not isinstance(value, type(old)):
            raise ArgumentError(f"Changing attribute type for {name} from {type(old)} to {type(value)} is not allowed.")
        if isinstance(value, (Block, Parameter)):
            if "_children" not in self.__dict__:
                raise AttributeError(f"call super().__init__() of {type(self).__name__} before assigning blocks or "
                                     f"parameters to it ({name})")
            if isinstance(value, Block):
                self.register_child(value, name)
            else:
                if name in self._reg_params and self._reg_params[name] is not value:
                    raise ParameterError(f"Overriding Parameter attribute {name} is not allowed. If you want to share "
                                         "parameters between blocks, please set 'params' at Block construction "
                                         "instead.")
                self._reg_params[name] = value
        object.__setattr__(self, name, value)

    # ------------------------------------------------------------------ names and parts
    def _alias(self) -> str:
        return type(self).__name__.lower()

    @property
    def prefix(self) -> str:
        """Prefix of the names of parameters and children."""
        return self._prefix

    @property
    def name(self) -> str:
        """The prefix without the underscore at its end."""
        return self._name

    def name_scope(self) -> _BlockScope:
        """The scope in which children are made: ``with self.name_scope(): self.dense = nn.Dense(20)``."""
        return self._scope

    @property
    def params(self) -> ParameterDict:
        """The parameters of this block alone; :meth:`collect_params` gives those of its children too."""
        return self._params

    def register_child(self, block: "Block", name: str | None = None) -> None:
        """Make ``block`` a child, under ``name`` or its number. Assigning it to an attribute does this."""
        self._children[str(len(self._children)) if name is None else name] = block

    def collect_params(self, select: str | None = None) -> ParameterDict:
        """The parameters of this block and its descendants.

        Parameters
        ----------
        select : str, optional
            A regular expression; parameters whose full name matches it (from its start) are taken.

        Examples
        --------
        >>> from mxcore.gluon import nn
        >>> list(nn.Dense(2, prefix="d_").collect_params(".*weight"))
        ['d_weight']
        """
        self._check_container_with_block()
        found = ParameterDict(self._params.prefix)
        if select is None:
            found.update(self.params)
        else:
            match = re.compile(select).match
            found.update({name: value for name, value in self.params.items() if match(name)})
        for child in self._children.values():
            found.update(child.collect_params(select))
        return found

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        """Parameters under the names that ``save_parameters`` writes: attribute names joined by dots."""
        if prefix:
            prefix += "."
        found = {prefix + key: value for key, value in self._reg_params.items()}
        for name, child in self._children.items():
            found.update(child._collect_params_with_prefix(prefix + name))
        return found

    def _check_container_with_block(self) -> None:
        children = {id(child) for child in self._children.values()}
        for name, value in self.__dict__.items():
            if isinstance(value, (list, tuple, dict)) and not name.startswith("__") and name != "_children" \
                    and any(id(b) not in children for b in _blocks_in(value)):
                warnings.warn(f'"{type(self).__name__}.{name}" is an unregistered container with Blocks. Note that '
                              "Blocks inside the list, tuple or dict will not be registered automatically. Make sure "
                              "to register them using register_child() or switching to "
                              "nn.Sequential/nn.HybridSequential instead. ", UserWarning, stacklevel=3)

    # ------------------------------------------------------------------ files
    def save_parameters(self, filename: str, deduplicate: bool = False) -> None:
        """Write the parameters under their structural names (``0.weight``), which do not depend on prefixes.

        Parameters
        ----------
        filename : str
            The file.
        deduplicate : bool
            Whether a parameter that stands at several places is written once.
        """
        params = self._collect_params_with_prefix()
        if deduplicate:
            params = {name: param for param, name in {param: name for name, param in params.items()}.items()}
        nd.save(filename, {name: param._reduce() for name, param in params.items()})

    def load_parameters(self, filename: str, ctx: Context | Sequence[Context] | None = None,
                        allow_missing: bool = False, ignore_extra: bool = False, cast_dtype: bool = False,
                        dtype_source: str = "current") -> None:
        """Read what :meth:`save_parameters` (or ``collect_params().save``, or ``export``) wrote.

        Parameters
        ----------
        filename : str
            The file.
        ctx : Context or list of Context, optional
            Where to initialise parameters that are not initialised; default: the CPU.
        allow_missing, ignore_extra : bool
            Whether parameters without a value, and values without a parameter, are tolerated.
        cast_dtype : bool
            Whether a difference in type is settled by a cast, towards ``dtype_source`` ('current' or 'saved').

        Raises
        ------
        ParameterError
            Names, shapes or types do not fit; the parameters keep what they had.
        """
        loaded = named_arrays(filename)
        params = self._collect_params_with_prefix()
        if not loaded and not params:
            return
        if not any("." in name for name in loaded) and loaded.keys() != params.keys():
            # names of a file without structure are those of ParameterDict.save
            self.collect_params().load_dict(loaded, ctx, allow_missing, ignore_extra, self.prefix, filename, cast_dtype,
                                            dtype_source)
            return
        if not allow_missing:
            names: dict[Parameter, list[str]] = {}
            for name, param in params.items():
                names.setdefault(param, []).append(name)
            for same in names.values():
                if not any(name in loaded for name in same):
                    raise ParameterError(f"Parameter '{same[0]}' is missing in file '{filename}', which contains "
                                         f"parameters: {listed(loaded)}. Set allow_missing=True to ignore missing "
                                         "parameters.")
        if not ignore_extra:
            for name in loaded:
                if name not in params:
                    raise ParameterError(f"Parameter '{name}' loaded from file '{filename}' is not present in this "
                                         f"Block, which contains parameters {listed(params)}. Set ignore_extra=True to "
                                         "ignore.")
        load_values([(params[n], value) for n, value in loaded.items() if n in params], ctx, cast_dtype, dtype_source)

    def save_params(self, filename: str) -> None:
        """Deprecated in MXNet: full names less this block's prefix; see :meth:`save_parameters`."""
        warnings.warn("save_params is deprecated. Please use save_parameters. Note that if you want load from "
                      "SymbolBlock later, please use export instead.", UserWarning, stacklevel=2)
        self.collect_params().save(filename, strip_prefix=self.prefix)

    def load_params(self, filename: str, ctx: Context | Sequence[Context] | None = None, allow_missing: bool = False,
                    ignore_extra: bool = False) -> None:
        """Deprecated in MXNet: see :meth:`load_parameters`."""
        warnings.warn("load_params is deprecated. Please use load_parameters.", UserWarning, stacklevel=2)
        self.load_parameters(filename, ctx, allow_missing, ignore_extra)

    def save(self, prefix: str) -> None:
        """Write ``<prefix>-model.json`` (the tree of blocks) and ``<prefix>-model.params`` for :meth:`load`."""
        architecture.save(self, f"{prefix}-model.json")
        self.save_parameters(f"{prefix}-model.params")

    def load(self, prefix: str) -> None:
        """Give a block that was built by the same code the names, hybridization and parameters of a saved one."""
        architecture.load(self, f"{prefix}-model.json")
        self.load_parameters(f"{prefix}-model.params")

    def _graph_description(self) -> dict[str, Any]:
        """What the architecture file says of this block besides its children."""
        return {}

    # ------------------------------------------------------------------ acting on the tree
    def apply(self, fn: Callable[["Block"], Any]) -> "Block":
        """Call ``fn`` with every descendant, then with this block; returns this block."""
        for child in self._children.values():
            child.apply(fn)
        fn(self)
        return self

    def initialize(self, init: Any = None, ctx: Context | Sequence[Context] | None = None, verbose: bool = False,
                   force_reinit: bool = False) -> None:
        """Initialise all parameters, see :meth:`ParameterDict.initialize`; ``init`` defaults to ``Uniform()``."""
        self.collect_params().initialize(init, ctx, verbose, force_reinit)

    def hybridize(self, active: bool = True, **kwargs: Any) -> None:
        """Switch the hybrid blocks below this one to compiled graphs (or back)."""
        for child in self._children.values():
            child.hybridize(active, **kwargs)

    def cast(self, dtype: Any) -> None:
        """Change the type of all parameters."""
        for child in self._children.values():
            child.cast(dtype)
        for param in self.params.values():
            param.cast(dtype)

    # ------------------------------------------------------------------ computing
    def register_forward_pre_hook(self, hook: Callable[["Block", tuple], None]) -> HookHandle:
        """Have ``hook(block, inputs)`` called before each forward pass."""
        handle = HookHandle()
        handle.attach(self._forward_pre_hooks, hook)
        return handle

    def register_forward_hook(self, hook: Callable[["Block", tuple, Any], None]) -> HookHandle:
        """Have ``hook(block, inputs, output)`` called after each forward pass."""
        handle = HookHandle()
        handle.attach(self._forward_hooks, hook)
        return handle

    def register_op_hook(self, callback: Callable[[str, str, nd.NDArray], None], monitor_all: bool = False) -> None:
        """Have ``callback(name, operator, array)`` called for each operator that hybrid blocks below this one run.

        Parameters
        ----------
        callback : callable
            Gets the name of an operator's output (with ``monitor_all`` of its inputs too), the operator's name, and
            the array.
        monitor_all : bool
            Whether inputs are shown too.
        """
        for child in self._children.values():
            child.register_op_hook(callback, monitor_all)

    def __call__(self, *args: Any) -> Any:
        if self._forward_pre_hooks:
            for hook in tuple(self._forward_pre_hooks.values()):
                hook(self, args)
        out = self.forward(*args)
        if self._forward_hooks:
            for hook in tuple(self._forward_hooks.values()):
                hook(self, args, out)
        return out

    def forward(self, *args: Any) -> Any:
        """The computation; subclasses override it.

        Raises
        ------
        NotImplementedError
            The class did not.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def summary(self, *inputs: Any) -> None:
        """Print each layer's output shape and number of parameters for the given inputs.

        The network must be initialised and not hybridized.
        """
        summarize(self, inputs)


def _blocks_in(value: Any) -> list[Block]:
    if isinstance(value, Block):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [block for item in value for block in _blocks_in(item)]
