"""The sampler that MXNet keeps outside its core; here it is one of :mod:`mxcore.gluon.data`."""

from ...data import sampler
from ...data.sampler import IntervalSampler

__all__ = ["IntervalSampler", "sampler"]
