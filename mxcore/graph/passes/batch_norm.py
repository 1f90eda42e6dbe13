"""Batch normalisation with fixed statistics: folded into the layer before it, or a scale and a shift."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...registry.op import OPS
from ...registry.schema import Attrs
from ..compose import Value
from ..node import Entry, Node
from .joint import Joint

__all__ = ["fold_batch_norm"]


def fold_batch_norm(joint: Joint) -> None:
    """In inference ``gamma (W x + b - mean) / sqrt(var + eps) + beta`` is one linear layer with other weights.

    The new weights are values of the program, computed again only when a parameter was written. (Jacob et al. 2018,
    *Quantization and Training of Neural Networks*, section 3.2.) A normalisation that follows no linear layer becomes one
    multiplication and one addition.
    """
    if joint.training or joint.seeds:
        return
    users = joint.users()
    ends = joint.ends()
    changed: dict[Entry, Entry] = {}
    for node in joint.forward_nodes():
        if node.op.name != "BatchNorm" or any(e is None for e in node.inputs):  # type: ignore[union-attr]
            continue
        if any((node, j) in users or (node, j) in ends for j in (1, 2, 3)):
            continue
        data, vector = joint.types.get(node.inputs[0]), joint.types.get(node.inputs[1])
        shape = joint.shapes.get(node.inputs[0])
        if shape is None or data is None or data != vector or data.kind != "f":
            continue
        source = node.inputs[0]
        source = changed.get(source, source)
        layer = source[0]
        axis = node.attrs["axis"] % len(shape)
        if _foldable(layer, axis, len(shape)) and len(users.get(source, ())) == 1 and source not in ends:
            changed[(node, 0)] = _folded(joint, node, layer)
        else:
            changed[(node, 0)] = joint.traced(partial(_scaled, node.attrs, axis, len(shape)), node.inputs, node)[0]
    joint.replace(changed)


def _foldable(layer: Node, axis: int, ndim: int) -> bool:
    if layer.op is None:
        return False
    if layer.op.name == "Convolution":
        layout = layer.attrs["layout"]
        return axis == 1 and (layout is None or layout[1] == "C")
    return layer.op.name == "FullyConnected" and axis == ndim - 1


def _factors(attrs: Attrs, gamma: Any, beta: Any, mean: Any, var: Any) -> tuple[Any, Any]:
    """``scale`` and ``shift`` such that the result is ``scale x + shift``."""
    scale = OPS["rsqrt"](OPS["_plus_scalar"](var, scalar=attrs["eps"]))
    if not attrs["fix_gamma"]:
        scale = OPS["elemwise_mul"](scale, gamma)
    return scale, OPS["elemwise_sub"](beta, OPS["elemwise_mul"](mean, scale))


def _folded(joint: Joint, node: Node, layer: Node) -> Entry:
    ndim = len(joint.shapes[layer.inputs[1]])

    def linear(x: Value, weight: Value, bias: Value | None, *statistics: Value) -> Any:
        scale, shift = _factors(node.attrs, *statistics)
        wide = OPS["Reshape"](scale, shape=(-1,) + (1,) * (ndim - 1))
        if bias is not None:
            shift = OPS["elemwise_add"](shift, OPS["elemwise_mul"](bias, scale))
        attrs = {k: v for k, v in layer.attrs.items() if k != "no_bias"}
        return layer.op(x, OPS["broadcast_mul"](weight, wide), shift, no_bias=False, **attrs)  # type: ignore[misc]

    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    entry = joint.traced(linear, (layer.inputs[0], layer.inputs[1], bias, *node.inputs[1:]), layer)[0]
    entry[0].name = node.name
    return entry


def _scaled(attrs: Attrs, axis: int, ndim: int, data: Value, *statistics: Value) -> Any:
    shape = tuple(-1 if i == axis else 1 for i in range(ndim))
    scale, shift = (OPS["Reshape"](v, shape=shape) for v in _factors(attrs, *statistics))
    return OPS["broadcast_add"](OPS["broadcast_mul"](data, scale), shift)
