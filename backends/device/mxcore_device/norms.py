"""Normalisation by batch, layer, group and instance, as kernels over rows (:mod:`mxcore_device.rows`).

Deviations are sums of squares of differences from the mean, never differences of squares. Statistics of a batch are gathered
in pieces, which are put together by the formula of Chan, Golub & LeVeque (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import Array, empty
from .rows import ACROSS, PLANES, Kernel, Kind, Pass, Sizes, dense, generic, kind_along, launch, served, sized, work_of
from .source import LOCAL_SIZE

__all__ = ["backward_batch_norm", "backward_group_norm", "backward_layer_norm", "batch_norm", "batch_norm_with_relu",
           "group_norm", "instance_norm", "layer_norm", "sync_batch_norm"]

#: inner axes from which on a work-group walks one; the least elements of a piece; how many work-items or groups suffice
_PLANE, _LEAST, _MOST = 32, {"item": 64, "group": 2048}, {"item": 1 << 17, "group": 1 << 12}


def _pieces(shape: tuple[int, int, int]) -> tuple[Kind, int, int]:
    """How the places of (outer, inner) are gathered for each of the n: by items or groups, length and number of pieces."""
    outer, n, inner = shape
    kind: Kind = "group" if inner >= _PLANE else "item"
    count = outer * inner
    piece = max(_LEAST[kind], -(-count * n // _MOST[kind]))
    return kind, piece, -(-count // piece)


def _totals(work: np.dtype, outs: Sequence[np.dtype], parts: Sequence[Array], pieces: int) -> list[Array]:
    """Sums over the pieces of two arrays ``(pieces, n)``, in these types."""
    n = parts[0].size // pieces

    def make() -> Kernel:
        k = Kernel(tuple(outs), (work, work), work)
        both = Pass({"a": "0", "b": "0"}, f"a += {k.at(2)}; b += {k.at(3)};", "a += a2; b += b2;")
        return k._replace(passes=(both,), finish=f"{k.to(0, 'row', 'a')} {k.to(1, 'row', 'b')}")

    new = [empty(parts[0].machine, (n,), d) for d in outs]
    launch(("totals", work, *outs), make, "group" if pieces >= LOCAL_SIZE else "item", Sizes(n, pieces, n), new, parts)
    return new


# ---------------------------------------------------------------- rows: layer, group, instance
def _normal(dtype: np.dtype, scale: str) -> Kernel:
    """``scale``: the place of gamma and beta."""
    k = Kernel((dtype,) * 3, (dtype,) * 3, work_of(dtype), numbers=("eps",))
    x = k.at(3)
    mean = Pass({"sum": "0"}, f"sum += {x};", "sum += sum2;", "const T mean = sum / r.n;")
    square = Pass({"square": "0"}, f"const T d = {x} - mean; square += d * d;", "square += square2;",
                  "const T deviation = sqrt(square / r.n + eps), inverse = 1 / deviation;")
    return k._replace(passes=(mean, square),
                      write=k.to(0, "at", f"({x} - mean) * inverse * {k.at(4, scale)} + {k.at(5, scale)}"),
                      finish=f"{k.to(1, 'row', 'mean')} {k.to(2, 'row', 'deviation')}")


def _normal_rows(name: str, data: Array, gamma: Array, beta: Array, shape: tuple[int, int, int], groups: int,
                 moments: tuple[int, ...], eps: float) -> tuple[Array, ...]:
    """``groups``: rows that gamma has a number for each of; 0: it has one for each element of a row."""
    machine, dtype, (outer, n, inner) = data.machine, data.dtype, shape
    outs = [empty(machine, data.shape, dtype), empty(machine, moments, dtype), empty(machine, moments, dtype)]
    launch((name, work_of(dtype), dtype), lambda: _normal(dtype, "row % r.count" if groups else "k"),
           kind_along(outer * inner, n, inner), Sizes(outer * inner, n, inner, groups), outs,
           [dense(a) for a in (data, gamma, beta)], eps)
    return tuple(outs)


def _normal_back(dtype: np.dtype, grouped: bool) -> Kernel:
    """With a number of gamma for each row, the sums that its gradient is made of come along."""
    work = work_of(dtype)
    k = Kernel((dtype, work, work) if grouped else (dtype,), (dtype,) * 5, work)
    dy, x, gamma, mean, std = range(len(k.outs), len(k.outs) + 5)
    begin = f"  const T mean = {k.at(mean, 'row')}, inverse = 1 / {k.at(std, 'row')};\n"
    if grouped:
        begin += f"  const T factor = inverse * {k.at(gamma, 'row % r.count')};\n"
    head = k.at(dy) if grouped else f"{k.at(dy)} * {k.at(gamma, 'k')}"
    element = f"const T g = {head}, normal = ({k.at(x)} - mean) * inverse;"
    both = Pass({"a": "0", "b": "0"}, f"{element} a += g; b += g * normal;", "a += a2; b += b2;",
                "const T shift = a / r.n, slope = b / r.n;")
    result = f"(g - shift - normal * slope) * {'factor' if grouped else 'inverse'}"
    return k._replace(begin=begin, passes=(both,), write=f"{element} {k.to(0, 'at', result)}",
                      finish=f"{k.to(1, 'row', 'a')} {k.to(2, 'row', 'b')}" if grouped else "")


def _layer_served(machine: Any, data: Array, gamma: Array, beta: Array, axis: int) -> bool:
    return -data.ndim <= axis < data.ndim and served(machine, data, gamma, beta) \
        and gamma.shape == beta.shape == (data.shape[axis],) and data.dtype == gamma.dtype == beta.dtype


def layer_norm(xp: Any, data: Array, gamma: Array, beta: Array, *, axis: int = -1, eps: float = 9.99999975e-06,
               output_mean_var: bool = False) -> tuple[Array, ...]:
    """The kernel of ``LayerNorm``."""
    if not _layer_served(xp.machine, data, gamma, beta, axis):
        return generic("LayerNorm")(xp, data, gamma, beta, axis=axis, eps=eps, output_mean_var=output_mean_var)
    axis %= data.ndim
    moments = (*data.shape[:axis], 1, *data.shape[axis + 1 :])
    return _normal_rows("LayerNorm", data, gamma, beta, sized(data.shape, axis), 0, moments, eps)


def _layer_sums(dtype: np.dtype) -> Kernel:
    """Over rows, for each element of a row: the gradients of beta and gamma."""
    work = work_of(dtype)
    k = Kernel((work, work), (dtype,) * 4, work, walk=ACROSS)
    sums = Pass({"a": "0", "b": "0"}, f"const T g = {k.at(2)}; a += g; b += g * ({k.at(3)} - {k.at(4, 'k')}) / {k.at(5, 'k')};",
                "a += a2; b += b2;")
    return k._replace(passes=(sums,), finish=f"{k.to(0, 'row', 'a')} {k.to(1, 'row', 'b')}")


def backward_layer_norm(xp: Any, dy: Array, data: Array, gamma: Array, mean: Array, std: Array, *, eps: float,
                        axis: int) -> tuple[Array, ...]:
    """The kernel of ``_backward_LayerNorm``."""
    machine, dtype = xp.machine, data.dtype
    if not _layer_served(machine, data, gamma, gamma, axis) or not served(machine, dy, mean, std) or dy.shape != data.shape \
            or any(a.dtype != dtype for a in (dy, mean, std)):
        return generic("_backward_LayerNorm")(xp, dy, data, gamma, mean, std, eps=eps, axis=axis)
    shape, work = sized(data.shape, axis % data.ndim), work_of(dtype)
    outer, n, inner = shape
    dy, data, gamma, mean, std = [dense(a) for a in (dy, data, gamma, mean, std)]
    dx = empty(machine, data.shape, dtype)
    launch(("_backward_LayerNorm", work, dtype), lambda: _normal_back(dtype, grouped=False), kind_along(outer * inner, n, inner),
           Sizes(outer * inner, n, inner), (dx,), (dy, data, gamma, mean, std))
    kind, piece, pieces = _pieces(shape)
    parts = [empty(machine, (pieces, n) if pieces > 1 else (n,), work) for _ in "ab"]
    launch(("layer sums", work, dtype), lambda: _layer_sums(dtype), kind,
           Sizes(n * pieces, n, inner, outer * inner, piece), parts, (dy, data, mean, std))
    dbeta, dgamma = parts if pieces == 1 and dtype == work else _totals(work, (dtype, dtype), parts, pieces)
    return dx, dgamma, dbeta


def _groups(machine: Any, data: Array, gamma: Array, beta: Array, groups: int) -> tuple[int, int, int] | None:
    """``(rows, elements of a row, 1)``."""
    if data.ndim < 2 or not served(machine, data, gamma, beta):
        return None
    groups = groups or data.shape[1]
    if data.shape[1] % groups or not gamma.shape == beta.shape == (groups,) or not data.dtype == gamma.dtype == beta.dtype:
        return None
    rows = data.shape[0] * groups
    return rows, data.size // rows, 1


def _group_normal(name: str, xp: Any, data: Array, gamma: Array, beta: Array, groups: int, **attrs: Any) -> tuple[Array, ...]:
    shape = _groups(xp.machine, data, gamma, beta, groups)
    if shape is None:
        return generic(name)(xp, data, gamma, beta, **attrs)
    groups = groups or data.shape[1]
    return _normal_rows("GroupNorm", data, gamma, beta, shape, groups, (data.shape[0], groups), attrs["eps"])


def group_norm(xp: Any, data: Array, gamma: Array, beta: Array, *, num_groups: int = 1, eps: float = 9.99999975e-06,
               output_mean_var: bool = False) -> tuple[Array, ...]:
    """The kernel of ``GroupNorm``."""
    return _group_normal("GroupNorm", xp, data, gamma, beta, num_groups, num_groups=num_groups, eps=eps,
                         output_mean_var=output_mean_var)


def instance_norm(xp: Any, data: Array, gamma: Array, beta: Array, *, eps: float = 0.00100000005) -> tuple[Array, ...]:
    """The kernel of ``InstanceNorm``: a group for each channel."""
    return _group_normal("InstanceNorm", xp, data, gamma, beta, 0, eps=eps)


def backward_group_norm(xp: Any, dy: Array, data: Array, gamma: Array, mean: Array, std: Array, *, eps: float,
                        num_groups: int) -> tuple[Array, ...]:
    """The kernel of ``_backward_GroupNorm``."""
    machine, dtype = xp.machine, data.dtype
    shape = _groups(machine, data, gamma, gamma, num_groups)
    if shape is None or not served(machine, dy, mean, std) or dy.shape != data.shape \
            or any(a.dtype != dtype for a in (dy, mean, std)):
        return generic("_backward_GroupNorm")(xp, dy, data, gamma, mean, std, eps=eps, num_groups=num_groups)
    work, groups, (rows, n, _) = work_of(dtype), num_groups or data.shape[1], shape
    parts = [empty(machine, (rows,), work) for _ in "ab"]
    dx = empty(machine, data.shape, dtype)
    launch(("_backward_GroupNorm", work, dtype), lambda: _normal_back(dtype, grouped=True), kind_along(rows, n, 1),
           Sizes(rows, n, 1, groups), (dx, *parts), [dense(a) for a in (dy, data, gamma, mean, std)])
    dbeta, dgamma = _totals(work, (dtype, dtype), parts, data.shape[0])
    return dx, dgamma, dbeta


# ---------------------------------------------------------------- batch
def _batch_served(machine: Any, data: Array, axis: int, *vectors: Array) -> bool:
    return -data.ndim <= axis < data.ndim and served(machine, data, *vectors) \
        and all(v.shape == (data.shape[axis],) and v.dtype == vectors[0].dtype for v in vectors)


def _statistics(data: np.dtype, work: np.dtype) -> Kernel:
    """Mean, and sum of squared differences from it, of each piece."""
    k = Kernel((work, work), (data,), work, walk=ACROSS)
    mean = Pass({"sum": "0"}, f"sum += {k.at(2)};", "sum += sum2;", "const T mean = sum / (end - from);")
    square = Pass({"square": "0"}, f"const T d = {k.at(2)} - mean; square += d * d;", "square += square2;")
    return k._replace(passes=(mean, square), finish=f"{k.to(0, 'row', 'mean')} {k.to(1, 'row', 'square')}")


def _gathered(vector: np.dtype, work: np.dtype) -> Kernel:
    """Of all pieces of a channel; the moving statistics, and that they are those of the batch."""
    k = Kernel((vector,) * 5, (work, work, vector, vector), work, numbers=("eps", "stay", "go"))
    merge = ("if (count2 > 0) { const T all = count + count2, d = mean2 - mean, part = count2 / all; "
             "mean += d * part; square += square2 + d * d * (count * part); count = all; }")
    each = f"const T count2 = min(r.piece, r.count - k * r.piece), mean2 = {k.at(5)}, square2 = {k.at(6)}; {merge}"
    moved = "{} * stay + {} * go"
    finish = [k.to(0, "row", "mean"), k.to(1, "row", "1 / sqrt(var + eps)"), k.to(2, "row", moved.format(k.at(7, "row"), "mean")),
              k.to(3, "row", moved.format(k.at(8, "row"), "var")), f"if (row == 0) {{ {k.to(4, '0', '1')} }}"]
    return k._replace(passes=(Pass({"count": "0", "mean": "0", "square": "0"}, each, merge, "const T var = square / r.count;"),),
                      finish=" ".join(finish))


def _fixed(vector: np.dtype, work: np.dtype) -> Kernel:
    """The moving statistics as they are used."""
    k = Kernel((vector,) * 3, (vector, vector), work, numbers=("eps",))
    finish = [k.to(0, "row", k.at(3, "row")), k.to(1, "row", f"1 / sqrt({k.at(4, 'row')} + eps)"),
              f"if (row == 0) {{ {k.to(2, '0', '0')} }}"]
    return k._replace(finish=" ".join(finish))


def _applied(data: np.dtype, vector: np.dtype, work: np.dtype, fixed: bool) -> Kernel:
    k = Kernel((data,), (data, *(vector,) * 4), work, walk=PLANES)
    gamma = "" if fixed else f" * {k.at(4, 'c')}"
    begin = f"  const T mean = {k.at(2, 'c')}, scale = {k.at(3, 'c')}{gamma}, shift = {k.at(5, 'c')};\n"
    return k._replace(begin=begin, write=k.to(0, "at", f"((T){k.at(1)} - mean) * scale + shift"))


def _over_planes(shape: tuple[int, int, int]) -> tuple[Kind, Sizes]:
    outer, n, inner = shape
    if inner < _PLANE:
        return "item", Sizes(outer * n * inner, n, inner)
    piece = 16 * LOCAL_SIZE
    return "group", Sizes(outer * n * -(-inner // piece), n, inner, 0, piece)


def batch_norm(xp: Any, data: Array, gamma: Array, beta: Array, moving_mean: Array, moving_var: Array, *, eps: float,
               momentum: float, fix_gamma: bool, use_global_stats: bool, axis: int = 1, is_train: bool, **rest: Any) -> tuple:
    """The kernel of ``BatchNorm``."""
    machine, vectors = xp.machine, (gamma, beta, moving_mean, moving_var)
    if not _batch_served(machine, data, axis, *vectors):
        return generic("BatchNorm")(xp, data, *vectors, eps=eps, momentum=momentum, fix_gamma=fix_gamma, axis=axis,
                                    use_global_stats=use_global_stats, is_train=is_train, **rest)
    shape, dtype, vector = sized(data.shape, axis % data.ndim), data.dtype, gamma.dtype
    work, (outer, n, inner) = work_of(vector), shape
    data, gamma, beta, moving_mean, moving_var = [dense(a) for a in (data, *vectors)]
    mean, inverse = empty(machine, (n,), vector), empty(machine, (n,), vector)
    batch = empty(machine, (1,), vector)
    new: tuple[Array | None, Array | None] = None, None
    if is_train and not use_global_stats:
        kind, piece, pieces = _pieces(shape)
        parts = [empty(machine, (pieces, n), work) for _ in "ab"]
        launch(("batch statistics", work, dtype), lambda: _statistics(dtype, work), kind,
               Sizes(n * pieces, n, inner, outer * inner, piece), parts, (data,))
        moved = empty(machine, (n,), vector), empty(machine, (n,), vector)
        launch(("batch gathered", work, vector), lambda: _gathered(vector, work), "group" if pieces >= LOCAL_SIZE else "item",
               Sizes(n, pieces, n, outer * inner, piece), (mean, inverse, *moved, batch), (*parts, moving_mean, moving_var), eps,
               momentum, 1 - momentum)
        new = (None, None) if momentum == 1 else moved
    else:
        launch(("batch fixed", work, vector), lambda: _fixed(vector, work), "item", Sizes(n, 1, n), (mean, inverse, batch),
               (moving_mean, moving_var), eps)
    out = empty(machine, data.shape, dtype)
    launch(("BatchNorm", work, dtype, vector, fix_gamma), lambda: _applied(dtype, vector, work, fix_gamma), *_over_planes(shape),
           (out,), (data, mean, inverse, gamma, beta))
    return out, mean, inverse, batch, *new


def sync_batch_norm(xp: Any, *arrays: Array, ndev: int = 1, key: str = "", **attrs: Any) -> tuple:
    """The kernel of ``_contrib_SyncBatchNorm``."""
    return batch_norm(xp, *arrays, axis=1, **attrs)


def batch_norm_with_relu(xp: Any, *arrays: Array, **attrs: Any) -> tuple:
    """The kernel of ``_contrib_BatchNormWithReLU``."""
    out, *rest = batch_norm(xp, *arrays, **attrs)
    return xp.maximum(out, xp.scalar(0, out.dtype)), *rest


def _batch_sums(data: np.dtype, dy: np.dtype, vector: np.dtype, work: np.dtype) -> Kernel:
    k = Kernel((work, work), (dy, data, vector, vector), work, walk=ACROSS)
    begin = f"  const T mean = {k.at(4, 'c')};\n"
    sums = Pass({"a": "0", "b": "0"}, f"const T g = {k.at(2)}; a += g; b += g * ((T){k.at(3)} - mean);", "a += a2; b += b2;")
    finish = [k.to(0, "row", "a"), k.to(1, "row", "b * " + k.at(5, "c"))]
    return k._replace(begin=begin, passes=(sums,), finish=" ".join(finish))


def _batch_totals(vector: np.dtype, work: np.dtype, fixed: bool) -> Kernel:
    """The sums, and what is given back of them."""
    k = Kernel((work, work, vector, vector), (work, work), work)
    both = Pass({"a": "0", "b": "0"}, f"a += {k.at(4)}; b += {k.at(5)};", "a += a2; b += b2;")
    finish = [k.to(0, "row", "a"), k.to(1, "row", "b"), k.to(2, "row", "0" if fixed else "b"), k.to(3, "row", "a")]
    return k._replace(passes=(both,), finish=" ".join(finish))


def _batch_back(data: np.dtype, dy: np.dtype, vector: np.dtype, work: np.dtype, fixed: bool) -> Kernel:
    k = Kernel((data,), (dy, data, vector, vector, vector, vector, work, work), work, walk=PLANES, numbers=("share",))
    gamma = "" if fixed else f" * {k.at(5, 'c')}"
    begin = (f"  const T mean = {k.at(3, 'c')}, inverse = {k.at(4, 'c')}, scale = inverse{gamma};\n"
             f"  const T each = {k.at(6, '0')} * share;\n"
             f"  const T shift = {k.at(7, 'c')} * each, slope = {k.at(8, 'c')} * each * inverse;\n")
    return k._replace(begin=begin, write=k.to(0, "at", f"(({k.at(1)} - shift) - ((T){k.at(2)} - mean) * slope) * scale"))


def backward_batch_norm(xp: Any, dy: Array, data: Array, gamma: Array, mean: Array, inverse: Array, batch: Array, *, eps: float,
                        fix_gamma: bool, axis: int) -> tuple[Array, ...]:
    """The kernel of ``_backward_BatchNorm``."""
    machine = xp.machine
    if not _batch_served(machine, data, axis, gamma, mean, inverse) or not served(machine, dy, batch) or dy.shape != data.shape \
            or batch.dtype != gamma.dtype:
        return generic("_backward_BatchNorm")(xp, dy, data, gamma, mean, inverse, batch, eps=eps, fix_gamma=fix_gamma, axis=axis)
    shape, dtype, vector = sized(data.shape, axis % data.ndim), data.dtype, gamma.dtype
    work, (outer, n, inner) = work_of(vector), shape
    dy, data, gamma, mean, inverse = [dense(a) for a in (dy, data, gamma, mean, inverse)]
    kind, piece, pieces = _pieces(shape)
    parts = [empty(machine, (pieces, n), work) for _ in "ab"]
    launch(("batch sums", work, dtype, dy.dtype, vector), lambda: _batch_sums(dtype, dy.dtype, vector, work), kind,
           Sizes(n * pieces, n, inner, outer * inner, piece), parts, (dy, data, mean, inverse))
    totals = [empty(machine, (n,), work) for _ in "ab"]
    dgamma, dbeta = empty(machine, (n,), vector), empty(machine, (n,), vector)
    launch(("batch totals", work, vector, fix_gamma), lambda: _batch_totals(vector, work, fix_gamma),
           "group" if pieces >= LOCAL_SIZE else "item", Sizes(n, pieces, n), (*totals, dgamma, dbeta), parts)
    dx = empty(machine, data.shape, dtype)
    launch(("_backward_BatchNorm", work, dtype, dy.dtype, vector, fix_gamma),
           lambda: _batch_back(dtype, dy.dtype, vector, work, fix_gamma), *_over_planes(shape), (dx,),
           (dy, data, mean, inverse, gamma, batch, *totals), 1 / (outer * inner))
    return dx, dgamma, dbeta
