"""Copies into other memory orders."""

import itertools

import numpy as np
import pytest

from mxcore.registry.bound import Spec, channels_last, plain_order
from mxcore_onednn.copying import bind_copy

ORDERS = list(itertools.permutations([plain_order(4), channels_last(4), (3, 0, 2, 1)], 2))


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize(("source", "target"), ORDERS)
def test_between_orders(onednn, source, target, dtype):
    shape = (4, 20, 16, 17)
    x = np.arange(np.prod(shape)).astype(dtype).reshape([shape[i] for i in source]).transpose(np.argsort(source))
    bound = bind_copy([Spec(shape, x.dtype, source)], [Spec(shape, x.dtype, target)], {}, False)
    out = np.zeros([shape[i] for i in bound.out_orders[0]], dtype).transpose(np.argsort(bound.out_orders[0]))
    assert bound.out_orders[0] == target
    bound.run([x], [out])
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("change", [{"shape": (2, 3, 4, 5)}, {"dtype": np.dtype("float64")}, {"order": channels_last(4)},
                                    {"order": None, "steps": (1 << 20, 1 << 14, 1 << 9, 4)}])
def test_what_numpy_does(onednn, change):
    source = Spec(**{"shape": (4, 20, 16, 17), "dtype": np.dtype("float32"), "order": plain_order(4), **change})
    target = Spec(source.shape, source.dtype, channels_last(4))
    assert bind_copy([source], [target], {}, False) is None
