"""Data types: casts, and the casts of automatic mixed precision."""

import numpy as np

from ..dtype import is_floating
from ..registry import DType, register, rules


@register("Cast", aliases=("cast", "_npi_cast", "_npx_cast"), infer=rules.same, types=rules.cast)
def cast(xp, data, *, dtype: DType):
    """The values as another data type; floats become integers by truncation.

    >>> nd.Cast(nd.array([1.9]), dtype="int32").asnumpy()
    array([1], dtype=int32)
    """
    return xp.astype(data, dtype) if data.dtype != dtype else xp.copy(data)


@register("_cast_like", infer=lambda a, s: (s, [s[0]]), types=lambda a, t, n: (t, [t[1]]), uniform=False,
          shape_only=("like",))
def cast_like(xp, data, like):
    """The values as the data type of ``like``."""
    return xp.astype(data, like.dtype)


@cast_like.gradient
def _(n, g):
    return cast_like(g, n.inputs[0]), None


def _back(n, g):
    return cast_like(g, n.inputs[0])


cast.gradient(_back)


# ---------------------------------------------------------------- mixed precision
def _amp_type(attrs, types, outputs=1):
    t = types[0]
    return types, [attrs.dtype if t is not None and is_floating(t) and is_floating(attrs.dtype) else t]


@register("amp_cast", infer=rules.same, types=_amp_type)
def amp_cast(xp, data, *, dtype: DType):
    """Floating-point values as another floating-point type; other types stay as they are.

    >>> [nd.amp_cast(nd.ones(1, dtype=t), dtype="float16").dtype.__name__ for t in ("float32", "int32")]
    ['float16', 'int32']
    """
    if is_floating(data.dtype) and is_floating(dtype) and data.dtype != dtype:
        return xp.astype(data, dtype)
    return xp.copy(data)


amp_cast.gradient(_back)


def _common(types, narrow):
    """The widest (narrowest) floating-point type among ``types``; float16 and bfloat16 meet in float32."""
    floats = sorted({t for t in types if is_floating(t)}, key=lambda t: t.itemsize)
    if not floats:
        return None
    chosen = floats[0] if narrow else floats[-1]
    if chosen.itemsize == 2 and len([t for t in floats if t.itemsize == 2]) == 2:
        return np.dtype("float32")
    return chosen


def _multicast_types(attrs, types, outputs=1):
    if None in types:
        return types, [None] * len(types)
    common = _common(types, attrs.cast_narrow)
    return types, [common if is_floating(t) else t for t in types]


@register("amp_multicast", infer=lambda a, s: (s, list(s)), types=_multicast_types, uniform=False,
          outputs=lambda a, count: tuple(f"output{i}" for i in range(a.num_outputs)))
def amp_multicast(xp, *data, num_outputs: int, cast_narrow: bool = False):
    """Arrays cast to the widest (``cast_narrow``: narrowest) floating-point type among them; others stay as they are.

    >>> a, b = nd.ones(1, dtype="float16"), nd.ones(1)
    >>> [x.dtype.__name__ for x in nd.amp_multicast(a, b, num_outputs=2)]
    ['float32', 'float32']
    """
    common = _common([a.dtype for a in data], cast_narrow)
    return tuple(xp.astype(a, common) if is_floating(a.dtype) and a.dtype != common else xp.copy(a) for a in data)


@amp_multicast.gradient
def _(n, *heads):
    return [cast_like(g, x) for g, x in zip(heads, n.inputs, strict=True)]
