"""``Compiled``: a traced block as a function of its inputs; puts parameters and inputs in the order of the graph."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError, DeferredInitializationError
from ..ndarray import NDArray
from ..runtime.cached_op import CachedOp
from ..runtime.listing import Listing
from ..symbol import Group, Symbol
from . import parameter as _parameter
from .structure import MISSING, flatten, regroup

if TYPE_CHECKING:
    from .hybrid_block import HybridBlock

__all__ = ["Compiled"]


class Compiled:
    """The compiled graph of a hybrid block.

    What a call needs beyond the inputs is kept: for each device the list of all arrays that the graph takes, with gaps
    for the inputs. It is thrown away when a parameter gets other arrays.
    """

    __slots__ = ("_block", "_count", "_epoch", "_filled", "_flat", "_gaps", "_in_format", "_op", "_out_format",
                 "_params")

    def __init__(self, block: "HybridBlock", inputs: list[Symbol], out: Symbol) -> None:
        self._block = block
        self._in_format = block._in_format
        self._out_format = block._out_format
        self._count = len(inputs)
        self._flat = block._in_format == [0] * len(inputs)
        self._op: Any
        params = block._graph_params()
        if block._callback is None:
            self._op = CachedOp(out, block._flags, params)
        else:
            self._op = _Watched(out, block._flags, block._callback, block._monitor_all)
        places = {var.name: i for i, var in enumerate(inputs)}
        names = self._op.names
        self._gaps = [(i, places[name]) for i, name in enumerate(names) if name in places]
        self._params = [(i, params[name]) for i, name in enumerate(names) if name not in places]
        self._warn_unused(set(names), [str(var.name) for var in inputs], params)
        self._filled: dict[Any, list[Any]] = {}
        self._epoch = -1

    @staticmethod
    def _warn_unused(used: set[str], inputs: list[str], params: dict[str, _parameter.Parameter]) -> None:
        for i, name in enumerate(inputs):
            if name not in used:
                warnings.warn(f"The {i}-th input to HybridBlock is not used by any computation. Is this intended?",
                              UserWarning, stacklevel=6)
        unused = [name for name in params if name not in used]
        if unused:
            warnings.warn(f"Parameter {', '.join(unused)} is not used by any computation. Is this intended?",
                          UserWarning, stacklevel=6)

    def __call__(self, args: tuple) -> Any:
        """The outputs for the inputs, in the nesting that the block returns."""
        arrays: Any = args
        if not self._flat or len(args) != self._count:
            arrays = self._checked(args)
        else:
            for value in args:
                if not isinstance(value, NDArray):
                    arrays = self._checked(args)
        if self._epoch != _parameter._EPOCH:
            self._filled.clear()
            self._epoch = _parameter._EPOCH
        device = arrays[0]._dev
        kept = self._filled.get(device)
        values = (kept or self._fill(device, args)).copy()
        for position, index in self._gaps:
            values[position] = arrays[index]
        out = self._op(*values)
        if self._out_format == 0:
            return out
        return regroup(out if isinstance(out, list) else [out], self._out_format)

    def explain(self) -> Listing:
        """See :meth:`HybridBlock.explain`."""
        return Listing("\n\n".join(self._op.listings()))

    def _checked(self, args: tuple) -> list[NDArray]:
        flat, form = flatten(args, "input")
        short, long = sorted((form, self._in_format), key=len)
        # missing inputs at the end may be left out: hybrid_forward has defaults for them
        if long[:len(short)] != short or any(item != MISSING for item in long[len(short):]):
            raise ArgumentError("The argument structure of HybridBlock does not match the cached version. Stored "
                                f"format = {self._in_format}, input format = {form} (0: an array, -1: None)")
        return [value for value in flat if value is not None]

    def _fill(self, device: Any, args: tuple) -> list[Any]:
        try:
            values: list[Any] = [None] * (len(self._gaps) + len(self._params))
            for position, param in self._params:
                values[position] = param.data(device.ctx)
        except DeferredInitializationError:
            self._block._finish_deferred_init(args, (param for _, param in self._params))
            self._epoch = _parameter._EPOCH
            return self._fill(device, args)
        self._filled[device] = values
        return values


class _Watched:
    """A graph that shows what each operator gives (and takes) to a callback, after it ran."""

    def listings(self) -> list[Listing]:
        """The compiled programs in words."""
        return self._op.listings()

    def __init__(self, out: Symbol, flags: Sequence[tuple[str, Any]], callback: Callable[[str, str, NDArray], None],
                 monitor_all: bool) -> None:
        internals = out.get_internals()
        self._callback = callback
        self._hidden = len(internals._entries)
        self._op = CachedOp(Group([internals, out]), flags)
        self.names = self._op.names
        place = {entry: i for i, entry in enumerate(internals._entries)}
        self._shown: list[tuple[str, str, int]] = []
        inputs_shown = set()
        for (node, _), name, i in zip(internals._entries, internals.list_outputs(), range(self._hidden), strict=True):
            if node.op is None:
                continue
            if monitor_all and node not in inputs_shown:
                inputs_shown.add(node)
                labels = (*node.op.schema.inputs, *(f"input{j}" for j in range(len(node.inputs))))
                for label, entry in zip(labels, node.inputs, strict=False):
                    self._shown.append((f"{node.name}_{label}", node.op.name, place[entry]))
            self._shown.append((name, node.op.name, i))

    def __call__(self, *values: NDArray) -> Any:
        results = self._op(*values)
        for name, operator, i in self._shown:
            self._callback(name, operator, results[i])
        heads = results[self._hidden:]
        return heads[0] if len(heads) == 1 else heads
