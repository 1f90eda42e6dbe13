"""What an initializer is: dispatch by name, the registry, and the two that choose among others (Load, Mixed)."""

import json
import logging
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import ndarray as nd
from .. import random
from ..errors import ArgumentError, ShapeError
from ..registry import named as registry

__all__ = ["InitDesc", "Initializer", "Load", "Mixed", "alias", "bilinear", "create", "register"]

_LOG = logging.getLogger(__name__)


class InitDesc(str):
    """The name of a parameter, with what an initializer may want to know about it.

    Parameters
    ----------
    name : str
        The parameter's name; its ending decides how it is initialized.
    attrs : dict of str to str, optional
        The variable's attributes; ``__init__`` names an initializer of its own.
    global_init : Initializer, optional
        The initializer to use for parts of the parameter that have no rule of their own.

    Examples
    --------
    >>> desc = InitDesc("fc1_weight")
    >>> desc, desc.attrs
    ('fc1_weight', {})
    """

    attrs: dict[str, str]
    global_init: "Initializer | None"

    def __new__(cls, name: str, attrs: dict[str, str] | None = None,
                global_init: "Initializer | None" = None) -> "InitDesc":
        """A string that also carries attributes."""
        desc = super().__new__(cls, name)
        desc.attrs = attrs or {}
        desc.global_init = global_init
        return desc


def _root_mean_square(array: Any) -> str:
    return str(np.float32(np.linalg.norm(array.asnumpy().astype("float64")) / math.sqrt(array.size)))


def bilinear(shape: Sequence[int]) -> np.ndarray:
    """The kernel of bilinear interpolation, for every pair of channels of a weight of 4 axes."""
    if len(shape) != 4:
        raise ShapeError(f"Bilinear fills the weight of a 2-D (de)convolution, which has 4 axes; the shape is {shape}")
    height, width = shape[2:]
    half = math.ceil(width / 2.0)
    center = (2 * half - 1 - half % 2) / (2.0 * half)
    row = 1 - np.abs(np.arange(width) / half - center)
    column = 1 - np.abs(np.arange(height) / half - center)
    return np.broadcast_to(np.outer(column, row), shape).astype("float32")


class Initializer:
    """Base of all initializers; a subclass defines ``_init_weight(desc, arr)``, which fills ``arr`` in place.

    Parameters
    ----------
    **kwargs
        The arguments of the initializer, kept for :meth:`dumps`.

    Examples
    --------
    >>> @register
    ... class Rising(Initializer):
    ...     def _init_weight(self, desc, arr):
    ...         arr[:] = nd.arange(arr.size).reshape(arr.shape)
    >>> weight = nd.zeros((2, 2))
    >>> create("rising")(InitDesc("fc_weight"), weight)
    >>> weight.asnumpy().tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """

    def __init__(self, **kwargs: Any) -> None:
        self._kwargs = kwargs
        self._verbose = False
        self._print_func: Callable[[Any], str] | None = None

    def set_verbosity(self, verbose: bool = False, print_func: Callable[[Any], str] | None = None) -> "Initializer":
        """Log (at INFO) what is initialized, and how.

        Parameters
        ----------
        verbose : bool
        print_func : function of an array to str, optional
            What to print of each array; by default the root of its mean square.
        """
        self._verbose = verbose
        self._print_func = print_func or _root_mean_square
        return self

    def _verbose_print(self, desc: str, init: Any, arr: Any) -> None:
        if self._verbose and self._print_func:
            _LOG.info("Initialized %s as %s: %s", desc, init, self._print_func(arr))

    def dumps(self) -> str:
        """Name and arguments as JSON text, from which :func:`create` makes an equal initializer.

        >>> mx.init.Uniform(0.1).dumps()
        '["uniform", {"scale": 0.1}]'
        """
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, desc: str, arr: Any) -> None:
        """Fill ``arr`` by the rule that fits the name.

        Parameters
        ----------
        desc : InitDesc
            The parameter's name. (A plain ``str`` is deprecated, as in MXNet; it also knows the endings
            ``moving_mean``, ``moving_var``, ``moving_inv_var``, ``moving_avg`` and the prefixes ``upsampling`` and
            ``stn_loc``.)
        arr : NDArray
            The array to fill in place.

        Raises
        ------
        ValueError
            The name has no known ending.
        """
        if not isinstance(desc, InitDesc):
            self._legacy_init(desc, arr)
            return
        if desc.global_init is None:
            desc.global_init = self
        init = desc.attrs.get("__init__")
        if init:
            create(init)._init_weight(desc, arr)
            self._verbose_print(desc, init, arr)
            return
        for ending, method in _ENDINGS:
            if desc.endswith(ending):
                getattr(self, method)(desc, arr)
                self._verbose_print(desc, ending, arr)
                return
        self._init_default(desc, arr)

    def _legacy_init(self, name: str, arr: Any) -> None:
        if not isinstance(name, str):
            raise ArgumentError(f"name must be string, not {type(name).__name__}")
        warnings.warn("Calling initializer with init(str, NDArray) has been deprecated. "
                      "Please use init(mx.init.InitDesc(...), NDArray) instead.", DeprecationWarning, stacklevel=3)
        for pattern, method in _LEGACY:
            if re.match(pattern, name):
                getattr(self, method)(name, arr)
                return
        self._init_default(name, arr)

    def _init_bilinear(self, _: str, arr: Any) -> None:
        arr[:] = bilinear(arr.shape)

    def _init_loc_bias(self, _: str, arr: Any) -> None:
        if arr.shape[0] != 6:
            raise ShapeError(f"the bias of an affine transformation has 6 values, not shape {arr.shape}")
        arr[:] = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])  # the identity transformation

    def _init_zero(self, _: str, arr: Any) -> None:
        arr[:] = 0.0

    def _init_one(self, _: str, arr: Any) -> None:
        arr[:] = 1.0

    def _init_bias(self, _: str, arr: Any) -> None:
        arr[:] = 0.0

    def _init_quantized_bias(self, _: str, arr: Any) -> None:
        arr[:] = 0

    def _init_gamma(self, _: str, arr: Any) -> None:
        arr[:] = 1.0

    def _init_beta(self, _: str, arr: Any) -> None:
        arr[:] = 0.0

    def _init_quantized_weight(self, _: str, arr: Any) -> None:
        arr[:] = random.randint(-127, 127, shape=arr.shape, dtype="int32", ctx=arr.context).astype(arr.dtype)

    def _init_weight(self, name: str, arr: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define _init_weight(desc, arr), "
                                  f"which is to fill {name!r}")

    def _init_default(self, name: str, _: Any) -> None:
        raise ValueError(
            f'Unknown initialization pattern for {name}. Default initialization is now limited to "weight", "bias", '
            '"gamma" (1.0), and "beta" (0.0). Please use mx.sym.Variable(init=mx.init.*) to set initialization pattern')

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Initializer) and type(self) is type(other) and self._kwargs == other._kwargs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._kwargs.items())})"


#: ending of a name -> the method that fills such an array
_ENDINGS = (
    ("weight", "_init_weight"), ("bias", "_init_bias"), ("gamma", "_init_gamma"), ("beta", "_init_beta"),
    ("min", "_init_zero"), ("max", "_init_one"),
    ("weight_quantize", "_init_quantized_weight"), ("bias_quantize", "_init_quantized_bias"),
)
#: the same for names given as plain strings, in MXNet's order
_LEGACY = (
    (r"upsampling", "_init_bilinear"), (r"stn_loc.*weight$", "_init_zero"), (r"stn_loc.*bias$", "_init_loc_bias"),
    (r".*bias$", "_init_bias"), (r".*gamma$", "_init_gamma"), (r".*beta$", "_init_beta"),
    (r".*weight$", "_init_weight"), (r".*moving_mean$", "_init_zero"), (r".*moving_var$", "_init_one"),
    (r".*moving_inv_var$", "_init_zero"), (r".*moving_avg$", "_init_zero"),
    (r".*min$", "_init_zero"), (r".*max$", "_init_one"),
)

#: Enter an Initializer subclass (by its lower-case class name), so that it can be named by a string.
register = registry.get_register_func(Initializer, "initializer")
#: Enter an Initializer subclass under further names.
alias = registry.get_alias_func(Initializer, "initializer")
#: Make an initializer from a name and arguments, from JSON text, or give back an initializer as it is.
create = registry.get_create_func(Initializer, "initializer")


class Load:
    """Fill parameters with stored values, and the rest by another initializer.

    Parameters
    ----------
    param : str or dict of str to NDArray
        A file of named arrays (:func:`mxcore.nd.load`), or the arrays; prefixes ``arg:`` and ``aux:`` are dropped.
    default_init : Initializer, optional
        For names that ``param`` does not hold.
    verbose : bool
        Log which parameters were loaded.

    Examples
    --------
    >>> init = mx.init.Load({"arg:fc_weight": nd.array([1, 2])}, default_init=mx.init.Zero())
    >>> weight = nd.zeros(2)
    >>> init(InitDesc("fc_weight"), weight)
    >>> weight.asnumpy().tolist()
    [1.0, 2.0]
    """

    def __init__(self, param: str | Mapping[str, Any], default_init: Callable[[str, Any], None] | None = None,
                 verbose: bool = False) -> None:
        named = nd.load(param) if isinstance(param, str) else param
        if not isinstance(named, Mapping):
            raise ArgumentError("Load needs named arrays (a dict, or a file of one), "
                                f"not {type(named).__name__}: without names nothing can be matched")
        self.param = {re.sub("^(arg|aux):", "", name): array for name, array in named.items()}
        self.default_init = default_init
        self.verbose = verbose

    def __call__(self, name: str, arr: Any) -> None:
        """Fill ``arr`` with what is stored under ``name``.

        Raises
        ------
        ShapeError
            The stored array has another shape.
        ArgumentError
            Nothing is stored under the name and there is no ``default_init``.
        """
        stored = self.param.get(name)
        if stored is not None:
            if tuple(stored.shape) != tuple(arr.shape):
                raise ShapeError(f"Parameter {name} cannot be initialized from loading. Shape mismatch, "
                                 f"target {arr.shape} vs loaded {stored.shape}")
            arr[:] = stored
        elif self.default_init is None:
            raise ArgumentError(f"Cannot Initialize {name}. Not found in loaded param and no default Initializer "
                                "is provided.")
        else:
            self.default_init(name, arr)
        if self.verbose:
            _LOG.info("Initialized %s by %s", name, "default" if stored is None else "loading")


class Mixed:
    """Choose an initializer by matching the name with regular expressions, first match first.

    Parameters
    ----------
    patterns : list of str
        Regular expressions, matched at the start of the name.
    initializers : list of Initializer
        One for each pattern.

    Examples
    --------
    >>> init = mx.init.Mixed([".*bias", ".*"], [mx.init.Zero(), mx.init.One()])
    >>> weight = nd.zeros(2)
    >>> init(InitDesc("fc_weight"), weight)
    >>> weight.asnumpy().tolist()
    [1.0, 1.0]
    """

    def __init__(self, patterns: Sequence[str], initializers: Sequence[Callable[[str, Any], None]]) -> None:
        if len(patterns) != len(initializers):
            raise ArgumentError(f"Mixed takes one initializer for each pattern; there are {len(patterns)} patterns "
                                f"and {len(initializers)} initializers")
        self.map = [(re.compile(pattern), init) for pattern, init in zip(patterns, initializers)]

    def __call__(self, name: str, arr: Any) -> None:
        """Fill ``arr`` by the initializer of the first pattern that matches ``name``.

        Raises
        ------
        ValueError
            No pattern matches.
        """
        for pattern, init in self.map:
            if pattern.match(name):
                init(name, arr)
                return
        raise ValueError(f'Parameter name {name} did not match any pattern. Consider adding a ".*" pattern at the end '
                         "with a default Initializer.")
