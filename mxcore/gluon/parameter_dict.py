"""``ParameterDict``: parameters by full name, under a common prefix, possibly shared with another network."""

from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from typing import Any

from .. import initializer
from .. import ndarray as nd
from ..context import Context
from ..dtype import dtype_of
from ..errors import MXNetError
from .parameter import Constant, Parameter, ParameterError
from .structure import listed

__all__ = ["ParameterDict", "load_values", "named_arrays"]

_SAME_PREFIX = ("Please make sure source and target networks have the same prefix, "
                "or save and load with save_parameters and load_parameters, which do not depend on it.")


class ParameterDict:
    """An ordered mapping from full names to parameters.

    Parameters
    ----------
    prefix : str
        Put before every name that :meth:`get` is given.
    shared : ParameterDict, optional
        Where :meth:`get` looks for a parameter before it makes one.

    Examples
    --------
    >>> params = ParameterDict("net_")
    >>> params.get("weight", shape=(2, 3))
    Parameter net_weight (shape=(2, 3), dtype=<class 'numpy.float32'>)
    >>> list(params)
    ['net_weight']
    """

    def __init__(self, prefix: str = "", shared: "ParameterDict | None" = None) -> None:
        self._prefix = prefix
        self._params: dict[str, Parameter] = {}
        self._shared = shared

    def __repr__(self) -> str:
        name = f"{self._prefix} " if self._prefix else ""
        return f"{name}(\n" + "\n".join(f"  {p!r}" for p in self._params.values()) + "\n)"

    # ------------------------------------------------------------------ as a mapping
    def __getitem__(self, key: str) -> Parameter:
        return self._params[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __contains__(self, key: object) -> bool:
        return key in self._params

    def __len__(self) -> int:
        return len(self._params)

    def __bool__(self) -> bool:
        return True  # as in MXNet: `params or default` keeps an empty one

    def items(self) -> ItemsView[str, Parameter]:
        """Pairs of full name and parameter."""
        return self._params.items()

    def keys(self) -> KeysView[str]:
        """Full names."""
        return self._params.keys()

    def values(self) -> ValuesView[Parameter]:
        """The parameters."""
        return self._params.values()

    @property
    def prefix(self) -> str:
        """The prefix of the names."""
        return self._prefix

    # ------------------------------------------------------------------ making parameters
    def _get_impl(self, name: str) -> Parameter | None:
        if name in self._params:
            return self._params[name]
        if self._shared is not None and name in self._shared._params:
            self._params[name] = self._shared._params[name]
            return self._params[name]
        return None

    def get(self, name: str, **kwargs: Any) -> Parameter:
        """The parameter ``prefix + name``: from here, from the shared dictionary, or newly made.

        Parameters
        ----------
        name : str
            Name without the prefix.
        **kwargs
            Arguments of :class:`Parameter`. For one that exists they must agree with what it is; unknown dimensions of
            its shape are filled in.

        Raises
        ------
        ParameterError
            The parameter exists and differs in an attribute.
        """
        full = self._prefix + name
        found = self._get_impl(full)
        if found is None:
            found = self._params[full] = Parameter(full, **kwargs)
            return found
        for key, wanted in kwargs.items():
            stored = getattr(found, key, None)
            if stored is None:
                setattr(found, key, wanted)
            elif wanted is not None and not _agrees(found, key, wanted, stored):
                raise ParameterError(f"Cannot retrieve Parameter '{full}' because desired attribute does not match "
                                     f"with stored for attribute '{key}': desired '{wanted}' vs stored '{stored}'.")
        return found

    def get_constant(self, name: str, value: Any = None) -> Constant:
        """The constant ``prefix + name``, made of ``value`` where it does not exist.

        Raises
        ------
        KeyError
            It does not exist and no value is given.
        ParameterError
            It exists and is no constant, or has another value.
        """
        full = self._prefix + name
        found = self._get_impl(full)
        if found is None:
            if value is None:
                raise KeyError(f"No constant named '{full}'. Please specify value if you want to create a new "
                               "constant.")
            found = self._params[full] = Constant(full, value)
        elif not isinstance(found, Constant):
            raise ParameterError(f"Parameter '{full}' already exists but it is not a constant.")
        elif value is not None:
            wanted = (value if isinstance(value, nd.NDArray) else nd.array(value)).asnumpy()
            stored = found.value.asnumpy()
            if wanted.shape != stored.shape or (wanted != stored).any():
                raise ParameterError(f"Constant '{full}' already exists but it has another value.")
        return found

    def update(self, other: Any) -> None:
        """Take in the parameters of another mapping; one that is here already must be the same object."""
        for name, param in other.items():
            if self._params.setdefault(name, param) is not param:
                raise ParameterError("Cannot update self with other because they have different Parameters with the "
                                     f"same name '{name}'")

    # ------------------------------------------------------------------ acting on all
    def initialize(self, init: Any = None, ctx: Context | Sequence[Context] | None = None, verbose: bool = False,
                   force_reinit: bool = False) -> None:
        """Initialise all; ``init`` (default ``Uniform()``) serves those that have no initializer of their own."""
        chosen = initializer.Uniform() if init is None else initializer.create(init)
        if verbose:
            chosen.set_verbosity(verbose=verbose)
        for param in self._params.values():
            param.initialize(None, ctx, chosen, force_reinit=force_reinit)

    def zero_grad(self) -> None:
        """Set all gradients to 0."""
        for param in self._params.values():
            param.zero_grad()

    def list_ctx(self) -> list[Context]:
        """All contexts of all parameters, each once."""
        return list(dict.fromkeys(c for param in self._params.values() for c in param.list_ctx()))

    def reset_ctx(self, ctx: Context | Sequence[Context]) -> None:
        """Move all to other contexts."""
        for param in self._params.values():
            param.reset_ctx(ctx)

    def setattr(self, name: str, value: Any) -> None:
        """Set an attribute of all, e.g. ``setattr("grad_req", "null")`` or ``setattr("lr_mult", 0.1)``."""
        for param in self._params.values():
            setattr(param, name, value)

    # ------------------------------------------------------------------ files
    def save(self, filename: str, strip_prefix: str = "") -> None:
        """Write all to a ``.params`` file under their full names, less ``strip_prefix``."""
        arrays = {}
        for param in self._params.values():
            if not param.name.startswith(strip_prefix):
                raise ParameterError(
                    f"Prefix '{strip_prefix}' is to be striped before saving, but Parameter's name '{param.name}' does "
                    f"not start with '{strip_prefix}'. this may be due to your Block shares parameters from other "
                    "Blocks or you forgot to use 'with name_scope()' when creating child blocks.")
            arrays[param.name[len(strip_prefix):]] = param._reduce()
        nd.save(filename, arrays)

    def load(self, filename: str, ctx: Context | Sequence[Context] | None = None, allow_missing: bool = False,
             ignore_extra: bool = False, restore_prefix: str = "", cast_dtype: bool = False,
             dtype_source: str = "current") -> None:
        """Read values from a file that :meth:`save`, ``HybridBlock.export`` or ``Module`` wrote.

        Parameters
        ----------
        filename : str
            The file; ``arg:`` and ``aux:`` before its names are ignored.
        ctx : Context or list of Context, optional
            Where to initialise parameters that are not initialised; default: the CPU.
        allow_missing, ignore_extra : bool
            Whether parameters without a value, and values without a parameter, are tolerated.
        restore_prefix : str
            Put before the names of the file.
        cast_dtype : bool
            Whether a difference in type is settled by a cast, towards ``dtype_source`` ('current' or 'saved').
        """
        self.load_dict(named_arrays(filename), ctx, allow_missing, ignore_extra, restore_prefix, filename, cast_dtype,
                       dtype_source)

    def load_dict(self, param_dict: dict[str, nd.NDArray], ctx: Context | Sequence[Context] | None = None,
                  allow_missing: bool = False, ignore_extra: bool = False, restore_prefix: str = "",
                  filename: str | None = None, cast_dtype: bool = False, dtype_source: str = "current") -> None:
        """Take values from a dictionary; arguments as for :meth:`load`. Nothing is changed where one does not fit."""
        for name in self._params:
            if not name.startswith(restore_prefix):
                raise ParameterError(f"restore_prefix is '{restore_prefix}' but Parameters name '{name}' does not "
                                     f"start with '{restore_prefix}'.")
        source = f"file: {filename}" if filename else "param_dict"
        values = {}
        for key, value in param_dict.items():
            name = key[4:] if key.startswith(("arg:", "aux:")) else key
            values[restore_prefix + name] = value
        for name in self._params:
            if name not in values and not allow_missing:
                raise ParameterError(f"Parameter '{name[len(restore_prefix):]}' is missing in {source}, which contains "
                                     f"parameters: {listed(values)}. {_SAME_PREFIX}")
        for name in values:
            if name not in self._params and not ignore_extra:
                raise ParameterError(f"Parameter '{name[len(restore_prefix):]}' loaded from {source} is not present in "
                                     f"ParameterDict, choices are: {listed(self._params)}. Set ignore_extra to True to "
                                     f"ignore. {_SAME_PREFIX}")
        load_values([(self._params[n], v) for n, v in values.items() if n in self._params], ctx, cast_dtype,
                    dtype_source)


def load_values(pairs: list[tuple[Parameter, nd.NDArray]], ctx: Any, cast_dtype: bool, dtype_source: str) -> None:
    """Give each parameter its value, after all have been found to fit: no network is left half loaded."""
    for param, value in pairs:
        param._load_check(value, ctx, cast_dtype, dtype_source)
    for param, value in pairs:
        param._load_init(value, ctx, cast_dtype=cast_dtype, dtype_source=dtype_source)


def named_arrays(filename: str) -> dict[str, nd.NDArray]:
    """The named arrays of a file."""
    found = nd.load(filename)
    if isinstance(found, dict):
        return found
    if not found:  # a file without arrays says nothing about names
        return {}
    raise MXNetError(f"{filename} holds {len(found)} arrays without names; parameters are found by name")


def _agrees(param: Parameter, key: str, wanted: Any, stored: Any) -> bool:
    if key == "shape":
        wanted = (wanted,) if isinstance(wanted, int) else tuple(wanted)
        if len(wanted) != len(stored) or any(a != b and 0 not in (a, b) for a, b in zip(wanted, stored, strict=True)):
            return False
        param._shape = tuple(a or b for a, b in zip(wanted, stored, strict=True))
        return True
    if key == "dtype":
        return dtype_of(wanted) == dtype_of(stored)
    return bool(wanted == stored)
