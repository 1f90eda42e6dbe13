"""The operator that a group of elementwise operators becomes in a compiled program."""

from ..registry import register
from ..registry.loop import run_loop


def _outputs(attrs, count=0):
    return tuple(f"output{j}" for j in range(len(attrs.loop.exprs)))


def _shapes(attrs, ins):
    loop = attrs.loop
    return ins, [loop.shape if r is None else r.shape for r in loop.reductions]


def _types(attrs, types, outputs):
    return types, list(attrs.dtypes)


@register("_fused", infer=_shapes, types=_types, outputs=_outputs, uniform=False, nograd=True)
def fused(xp, *arrays, loop: object, dtypes: object):
    """Several elementwise operators as one loop (:class:`mxcore.registry.loop.Loop`); ``dtypes`` are those of the outputs.

    Made by the pass ``pointwise`` of compiled programs, never by hand; gradients are taken before it.
    """
    return run_loop(xp, loop, arrays, dtypes)
