"""Samples of :mod:`mxcore.ops.casting`."""

import numpy as np

from ..sampling import A, C, sample

sample("Cast", A(2, 3), dtype="float64", ref=lambda x, dtype: x)
sample("Cast", A(2, 3), dtype="float32", order=0, ref=lambda x, dtype: x, single=0, half=0)
sample("Cast", A(2, 3, low=-5, high=5), dtype="int32", order=0, ref=lambda x, dtype: np.trunc(x))
sample("Cast", C([0.0, 0.5, -2.0]), dtype="bool", ref=lambda x, dtype: x != 0)
sample("_cast_like", A(2, 3), A(1), ref=lambda x, like: x, tags=("alias",))
sample("_cast_like", C([1.7, -1.7]), A(4, dtype="int32"), ref=lambda x, like: np.trunc(x))
sample("amp_cast", A(2, 3), dtype="float64", ref=lambda x, dtype: x)
sample("amp_cast", A(2, 3), dtype="float16", order=0, rtol=1e-3, ref=lambda x, dtype: x, single=1e-3)
sample("amp_cast", C([1, 2], dtype="int32"), dtype="float16", ref=lambda x, dtype: x)
sample("amp_multicast", A(2, 3), A(4), num_outputs=2, ref=lambda *a, num_outputs: a)
sample("amp_multicast", A(2, dtype="float32"), A(3, dtype="float16"), C([1], dtype="int32"), num_outputs=3,
       ref=lambda *a, num_outputs: a)
sample("amp_multicast", A(2, dtype="float32"), A(3, dtype="float16"), num_outputs=2, cast_narrow=True, rtol=1e-3,
       ref=lambda *a, num_outputs, cast_narrow: a)
