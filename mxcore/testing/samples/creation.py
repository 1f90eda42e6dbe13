"""Samples of :mod:`mxcore.ops.creation`."""

import numpy as np

from ..sampling import sample

sample("_zeros", shape=(2, 3), ref=lambda shape: np.zeros(shape))
sample("_zeros", shape=(2, 3), dtype="int32", ref=lambda shape, dtype: np.zeros(shape))
sample("_zeros_without_dtype", shape=(2, 3), ref=lambda shape: np.zeros(shape))
sample("_zeros_without_dtype", shape=(2,), dtype=4, ref=lambda shape, dtype: np.zeros(shape))
sample("_ones", shape=(2, 3), ref=lambda shape: np.ones(shape))
sample("_ones", shape=(4,), dtype="float16", ref=lambda shape, dtype: np.ones(shape))
sample("_full", shape=(2, 3), value=2.5, ref=lambda shape, value: np.full(shape, value))
sample("_full", shape=(2,), value=3, dtype="uint8", ref=lambda shape, value, dtype: np.full(shape, value))
sample("_arange", start=5, ref=lambda start: np.arange(start))
sample("_arange", start=1, stop=4, step=0.5, ref=lambda start, stop, step: np.arange(start, stop, step))
sample("_arange", start=6, stop=0, step=-2, repeat=2, dtype="int32",
       ref=lambda start, stop, step, repeat, dtype: np.repeat(np.arange(start, stop, step), repeat))
sample("_linspace", start=1, stop=3, num=5, ref=lambda start, stop, num: np.linspace(start, stop, num))
sample("_linspace", start=1, stop=3, num=4, endpoint=False,
       ref=lambda start, stop, num, endpoint: np.linspace(start, stop, num, endpoint=endpoint))
sample("_eye", N=3, ref=lambda N: np.eye(N))
sample("_eye", N=2, M=4, k=1, ref=lambda N, M, k: np.eye(N, M, k))
sample("_eye", N=4, M=3, k=-2, dtype="int64", ref=lambda N, M, k, dtype: np.eye(N, M, k))
