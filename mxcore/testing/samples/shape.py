"""Samples of :mod:`mxcore.ops.shape`."""

import numpy as np

from ..sampling import A, sample

for before, codes, after in (
    ((2, 3, 4), (4, 6), (4, 6)), ((2, 3, 4), (0, -1), (2, 12)), ((2, 3, 4), (-2,), (2, 3, 4)), ((2, 3, 4), (-3, 0), (6, 4)),
    ((2, 6), (0, -4, 2, -1), (2, 2, 3)), ((2, 3, 4), (-1, 0, 0), (2, 3, 4)), ((4, 3), (-4, -1, 2, -2), (2, 2, 3)),
    ((2, 3, 4), (2, -3), (2, 12)),
):
    sample("Reshape", A(*before), shape=codes, ref=lambda x, shape, after=after: x.reshape(after))
sample("Reshape", A(10, 5, 4), shape=(-1, 0), reverse=True, ref=lambda x, shape, reverse: x.reshape(50, 4))
sample("Reshape", A(2, 12), shape=(0, 3, 4, -4), reverse=True, ref=lambda x, shape, reverse: x.reshape(2, 3, 4))
sample("Reshape", A(2, 3, 4), target_shape=(0, 4), keep_highest=False, ref=lambda x, **_: x.reshape(6, 4))
sample("Reshape", A(2, 3, 4), target_shape=(0, 0), keep_highest=True, ref=lambda x, **_: x.reshape(2, 12))
sample("Flatten", A(2, 3, 4), ref=lambda x: x.reshape(2, 12))
sample("Flatten", A(3), ref=lambda x: x.reshape(3, 1))
sample("transpose", A(2, 3, 4), ref=np.transpose)
sample("transpose", A(2, 3, 4), axes=(1, 2, 0), ref=np.transpose)
sample("transpose", A(2, 3, 4), axes=(-1, 0, 1), ref=np.transpose)
sample("expand_dims", A(2, 3), axis=1, ref=np.expand_dims)
sample("expand_dims", A(2, 3), axis=-1, ref=np.expand_dims)
sample("squeeze", A(1, 3, 1, 2), ref=np.squeeze)
sample("squeeze", A(1, 3, 1, 2), axis=(0,), ref=np.squeeze)
sample("squeeze", A(1, 1), ref=lambda x: x.reshape(1))
sample("SwapAxis", A(2, 3, 4), dim1=0, dim2=2, ref=lambda x, dim1, dim2: x.swapaxes(dim1, dim2))
sample("SwapAxis", A(2, 3, 4), dim1=1, dim2=-1, ref=lambda x, dim1, dim2: x.swapaxes(dim1, dim2))
sample("reshape_like", A(2, 6), A(3, 4), ref=lambda x, like: x.reshape(3, 4))
sample("reshape_like", A(6, 5), A(2, 3, 4), lhs_end=1, rhs_end=2, ref=lambda x, like, **_: x.reshape(2, 3, 5))
sample("reshape_like", A(2, 12), A(9, 3, 4), lhs_begin=-1, rhs_begin=1, ref=lambda x, like, **_: x.reshape(2, 3, 4))

sample("broadcast_to", A(2, 1, 3), shape=(2, 4, 3), ref=np.broadcast_to)
sample("broadcast_to", A(1, 3), shape=(2, 0), ref=lambda x, shape: np.broadcast_to(x, (2, 3)))
sample("broadcast_axis", A(1, 2, 1), axis=(0, 2), size=(3, 4), ref=lambda x, axis, size: np.broadcast_to(x, (3, 2, 4)))
sample("broadcast_like", A(1, 3), A(2, 3), ref=lambda x, like: np.broadcast_to(x, (2, 3)))
sample("broadcast_like", A(1, 2, 3), A(5, 4), lhs_axes=(0,), rhs_axes=(-1,),
       ref=lambda x, like, **_: np.broadcast_to(x, (4, 2, 3)))


def depth_to_space(x, block_size):
    """Channels as (block, block, channel)."""
    n, c, h, w = x.shape
    b = block_size
    return x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


sample("depth_to_space", A(2, 8, 2, 3), block_size=2, ref=depth_to_space)
sample("space_to_depth", A(1, 2, 4, 6), block_size=2,
       ref=lambda x, block_size: x.reshape(1, 2, 2, 2, 3, 2).transpose(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3))
sample("diag", A(3), ref=np.diag)
sample("diag", A(3), k=-2, ref=np.diag)
sample("diag", A(3, 4), k=1, ref=np.diag)
sample("diag", A(3, 4), k=-1, ref=np.diag)
sample("diag", A(2, 3, 4), k=1, axis1=2, axis2=0, ref=lambda x, k, axis1, axis2: np.diagonal(x, k, axis1, axis2))
sample("diag", A(2, 3, 4), ref=np.diagonal)
sample("shape_array", A(2, 3), ref=lambda x: np.array(x.shape))
sample("size_array", A(2, 3), ref=np.size)
