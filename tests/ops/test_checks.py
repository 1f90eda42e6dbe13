"""Every check of samples can fail: operators that are wrong in one way each."""

import numpy as np
import pytest

from mxcore.context import Context, cpu
from mxcore.registry import OPS, register, rules
from mxcore.testing import checks, gradients, loopback
from mxcore.testing.sampling import A, Array, Sample

loopback.install()
LOOPBACK = Context("loopback", 0)


@pytest.fixture(autouse=True)
def _table():
    """Operators entered by a test leave the table again."""
    before = dict(OPS)
    yield
    OPS.clear()
    OPS.update(before)


def enter(kernel, gradient=None, **options):
    """The operator ``_wrong``."""
    op = register("_wrong", **{"infer": rules.same, **options})(kernel)
    if gradient is not None:
        op.gradient(gradient)
    return op


def of(*inputs: Array, **options) -> Sample:
    """A sample of it."""
    return Sample("_wrong", inputs or (A(2, 3, low=0.5),), options.pop("attrs", {}), **options)


def square(xp, data):
    return data * data


def square_gradient(n, g):
    return OPS["elemwise_mul"](g, OPS["_mul_scalar"](n.inputs[0], scalar=2.0))


def test_a_right_operator_passes():
    enter(square, square_gradient)
    for name, check in checks.CHECKS.items():
        for ctx in (cpu(), LOOPBACK):
            if ctx == cpu() or name in checks.PORTABLE:
                check(of(ref=np.square), ctx)


def test_values():
    enter(square, square_gradient)
    with pytest.raises(AssertionError, match="output 0"):
        checks.check_forward(of(ref=np.abs), cpu())
    with pytest.raises(AssertionError, match="shape"):
        checks.check_forward(of(ref=np.ravel), cpu())


def test_changed_inputs():
    def kernel(xp, data):
        xp.setitem(data, 0, 0.0)
        return xp.copy(data)

    enter(kernel)
    with pytest.raises(AssertionError, match="input 0 was changed"):
        checks.check_forward(of(), cpu())


def test_written_states():
    def kernel(xp, data, state):
        return data + 1, state + 1

    enter(kernel, mutates=("state",), nograd=True)
    right = of(A(2), A(2), ref=lambda x, s: (x + 1, s + 1))
    checks.check_forward(right, cpu())
    checks.check_symbol(right, cpu())
    with pytest.raises(AssertionError, match="new value of input 1"):
        checks.check_forward(of(A(2), A(2), ref=lambda x, s: (x + 1, s + 2)), cpu())


def test_gradient_of_first_order():
    enter(square, lambda n, g: OPS["elemwise_mul"](g, n.inputs[0]))
    with pytest.raises(AssertionError, match="derivative of order 1"):
        gradients.check_gradient(of(), cpu())


def test_gradient_of_second_order():
    enter(square, lambda n, g: OPS["elemwise_mul"](g, OPS["BlockGrad"](OPS["_mul_scalar"](n.inputs[0], scalar=2.0))))
    gradients.check_gradient(of(), cpu())
    with pytest.raises(AssertionError, match="derivative of order 2"):
        gradients.check_second(of(), cpu())


def test_gradient_of_third_order():
    def cube_gradient(n, g):
        x = n.inputs[0]
        factor = OPS["elemwise_mul"](OPS["_mul_scalar"](x, scalar=6.0), OPS["BlockGrad"](x))  # 6 x^2, derivative 6 x
        half = OPS["elemwise_sub"](factor, OPS["BlockGrad"](OPS["_mul_scalar"](OPS["square"](x), scalar=3.0)))
        return OPS["elemwise_mul"](g, half)

    enter(lambda xp, data: data * data * data, cube_gradient)
    gradients.check_gradient(of(), cpu())
    gradients.check_second(of(), cpu())
    with pytest.raises(AssertionError, match="derivative of order 3"):
        gradients.check_third(of(), cpu())


def test_gradients_asked_for_alone():
    def gradient(n, g):
        both = n.wants(0) and n.wants(1)
        return g if both else OPS["_mul_scalar"](g, scalar=2.0), g

    enter(lambda xp, lhs, rhs: lhs + rhs, gradient)
    with pytest.raises(AssertionError, match="asked for alone"):
        gradients.check_gradient(of(A(2), A(2)), cpu())


def test_objectives_replace_outputs():
    enter(lambda xp, data: xp.copy(data), lambda n, g: OPS["ones_like"](n.inputs[0]))
    gradients.check_gradient(of(objective=lambda heads, x: x.sum()), cpu())
    with pytest.raises(AssertionError, match="order 1"):
        gradients.check_gradient(of(objective=lambda heads, x: (x * heads[0]).sum()), cpu())


def test_inferred_shapes():
    enter(lambda xp, data: xp.transpose(data), nograd=True)
    with pytest.raises(AssertionError, match="inferred shapes"):
        checks.check_inference(of(), cpu())


def test_inferred_types():
    enter(lambda xp, data: xp.astype(data, "float32"), nograd=True)
    with pytest.raises(AssertionError, match="inferred types"):
        checks.check_types(of(), cpu())


def test_values_in_half_precision():
    def kernel(xp, data):
        return xp.astype(data * (2.0 if data.dtype.itemsize == 2 else 1.0), data.dtype)

    enter(kernel, nograd=True)
    with pytest.raises(AssertionError, match="in float16"):
        checks.check_types(of(), cpu())


def test_shared_memory():
    enter(lambda xp, data: data, lambda n, g: g)
    with pytest.raises(AssertionError, match="shares memory with x0"):
        checks.check_memory(of(), cpu())


def test_outputs_that_share_memory():
    def kernel(xp, data):
        out = xp.copy(data)
        return out, out

    enter(kernel, outputs=("a", "b"), infer=lambda a, s: (s, [s[0], s[0]]), nograd=True)
    with pytest.raises(AssertionError, match="share memory"):
        checks.check_memory(of(), cpu())


def test_partial_shapes():
    enter(lambda xp, data, weight: data + weight[0], nograd=True,
          infer=lambda a, s: ([s[0], (1, 1) if s[1] is None else s[1]], [s[0]]))
    with pytest.raises(AssertionError, match="partly known"):
        checks.check_partial_inference(of(A(2, 3), A(1, 3)), cpu())


def test_shapes_from_outputs():
    op = enter(square, square_gradient, infer=lambda a, s: (s, [s[0] and s[0][-2:]]))
    op.backwards(lambda attrs, ins, outs: [(1, *outs[0])] if ins[0] is None and outs[0] is not None else ins)
    with pytest.raises(AssertionError, match="from the output"):
        checks.check_partial_inference(of(), cpu())


def test_partial_types():
    enter(lambda xp, data, index: data + xp.astype(index, data.dtype), uniform=False, nograd=True,
          types=lambda a, t, n: ([t[0], t[1] or np.dtype("int64")], [t[0]]))
    with pytest.raises(AssertionError, match="from the types"):
        checks.check_partial_inference(of(A(2), A(2)), cpu())


def test_types_of_gradients():
    enter(square, lambda n, g: OPS["Cast"](square_gradient(n, g), dtype="float32"))
    with pytest.raises(AssertionError, match="the gradient of input 0 is"):
        gradients.check_gradient_types(of(), cpu())


@pytest.mark.filterwarnings("ignore::RuntimeWarning:mxcore")
def test_gradients_that_overflow():
    enter(square, lambda n, g: OPS["_mul_scalar"](OPS["_mul_scalar"](g, scalar=6e4), scalar=2.0))
    with pytest.raises(AssertionError, match="not finite in float16"):
        gradients.check_gradient_types(of(), cpu())


def test_layers_tell_all_shapes():
    enter(lambda xp, data, weight: data + weight, nograd=True, infer=lambda a, s: (s, [s[0]]))
    s = of(A(2), A(2), tags=frozenset({"layer"}))
    with pytest.warns(UserWarning, match="Cannot decide shape"), pytest.raises(AssertionError, match="first input alone"):
        checks.check_partial_inference(s, cpu())


def test_numbers_that_are_not_random():
    enter(lambda xp, data, *, rng: data + 1, nograd=True)
    with pytest.raises(AssertionError, match="same random numbers"):
        checks.check_forward(of(judge=lambda outs, x: None), cpu())


def test_numbers_that_a_seed_does_not_determine():
    source = np.random.default_rng()
    enter(lambda xp, data, *, rng: data + source.random(), nograd=True)
    with pytest.raises(AssertionError, match="same seed gave other numbers"):
        checks.check_forward(of(judge=lambda outs, x: None), cpu())


def test_judges_are_asked():
    def judge(outs, x):
        assert outs[0].mean() > 5, "too small"

    enter(lambda xp, data, *, rng: data + rng.random(data.shape, dtype="float64"), nograd=True)
    with pytest.raises(AssertionError, match="too small"):
        checks.check_forward(of(judge=judge), cpu())


@pytest.mark.parametrize("kernel", [
    lambda xp, data: np.exp(data),
    lambda xp, data: data.copy(),
    lambda xp, data: xp.exp(data) if data[0, 0] > 0 else data,
    lambda xp, data: xp.add(data, np.ones(3)),
    lambda xp, data: xp.stack(list(data)),
    lambda xp, data: xp.sinc(data),
    lambda xp, data: data[np.array([0, 1])],
], ids=["ufunc", "method", "truth", "host array", "iteration", "unlisted", "index array"])
def test_kernels_that_lean_on_numpy(kernel):
    enter(kernel, nograd=True)
    with pytest.raises(Exception, match=r"raw array|NumPy array|ufuncs|attribute|asks of a backend"):
        checks.check_forward(of(), LOOPBACK)


def test_devices_that_disagree(monkeypatch):
    enter(lambda xp, data: xp.sinh(data), nograd=True)
    checks.check_agreement(of(), LOOPBACK)
    from mxcore.runtime.device import backend_named

    xp = backend_named("loopback").xp
    monkeypatch.setattr(xp, "sinh", lambda a, f=xp.sinh: f(a) * 1.01)
    with pytest.raises(AssertionError, match="output 0 on loopback"):
        checks.check_agreement(of(), LOOPBACK)
