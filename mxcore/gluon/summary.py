"""The table that ``Block.summary`` prints."""

from typing import TYPE_CHECKING, Any

from ..ndarray import NDArray
from ..symbol import Symbol
from .parameter import Parameter, ParameterError

if TYPE_CHECKING:
    from .plain_block import Block

__all__ = ["summarize"]

_ROW = "{:>20}  {:>42} {:>15}"


def summarize(block: "Block", inputs: tuple) -> None:
    """Run ``block`` on ``inputs`` and print a row a layer: name, output shape, number of parameters.

    Raises
    ------
    ParameterError
        A block in it is hybridized, so that its layers do not run one by one.
    """
    rows: list[tuple[str, Any, list[Parameter]]] = []
    handles: list = []

    def shown(layer: "Block", _inputs: tuple, output: Any) -> None:
        if not _has_symbol(output):  # shape inference calls layers too
            rows.append((f"{type(layer).__name__}-{len(rows) + 1}", _shape(output), list(layer.params.values())))

    def watch(layer: "Block") -> None:
        from .nn import HybridSequential, Sequential

        if getattr(layer, "_active", False):
            raise ParameterError(f'"{layer.name}" must not be hybridized to print summary.')
        if not isinstance(layer, (HybridSequential, Sequential)):
            handles.append(layer.register_forward_hook(shown))

    try:
        block.apply(watch)
        block(*inputs)
    finally:
        for handle in handles:
            handle.detach()
    used = [param for _, _, params in rows for param in params]
    total, unique = _count(used), _count(set(used))
    trainable = _count(param for param in used if param.grad_req != "null")
    print("-" * 80)
    print(_ROW.format("Layer (type)", "Output Shape", "Param #"))
    print("=" * 80)
    print(_ROW.format("Input", str(_shape(inputs)), 0))
    for name, shape, params in rows:
        print(_ROW.format(name, str(shape), _count(params)))
    print("=" * 80)
    print("Parameters in forward computation graph, duplicate included")
    print(f"   Total params: {total}")
    print(f"   Trainable params: {trainable}")
    print(f"   Non-trainable params: {total - trainable}")
    print(f"Shared params in forward computation graph: {total - unique}")
    print(f"Unique parameters in model: {unique}")
    print("-" * 80)


def _count(params: Any) -> int:
    return sum(param.data(param.list_ctx()[0]).size for param in params)


def _has_symbol(values: Any) -> bool:
    return isinstance(values, Symbol) or (isinstance(values, (list, tuple)) and any(map(_has_symbol, values)))


def _shape(values: Any, top: bool = True) -> str:
    """Shapes in the nesting of the values; the outermost list is written without brackets."""
    if isinstance(values, NDArray):
        return str(values.shape)
    if not isinstance(values, (list, tuple)):
        return str(values)
    inner = ", ".join(_shape(value, False) for value in values)
    return inner if top else f"[{inner}]"
