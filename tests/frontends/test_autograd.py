"""Recording, backward passes, retained and freed graphs, and writes while recording."""

import gc
import threading
import weakref

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd, nd


def marked(*values, req="write", dtype="float32"):
    x = nd.array(values, dtype=dtype)
    x.attach_grad(req)
    return x


def host(a):
    return a.asnumpy().tolist()


# ---------------------------------------------------------------- state
def state():
    return autograd.is_recording(), autograd.is_training()


def test_scopes_nest_as_in_mxnet():
    seen = [state()]
    with autograd.record():
        seen.append(state())
        with autograd.pause():
            seen.append(state())
            with autograd.train_mode():
                seen.append(state())
        with autograd.predict_mode():
            seen.append(state())
        with autograd.pause(train_mode=True):
            seen.append(state())
        seen.append(state())
    with autograd.record(train_mode=False):
        seen.append(state())
    with autograd.train_mode():
        seen.append(state())
    seen.append(state())
    on, off = True, False
    assert seen == [(off, off), (on, on), (off, off), (off, on), (on, off), (off, on), (on, on), (on, off), (off, on), (off, off)]


def test_setters_return_what_was():
    assert [autograd.set_training(True), autograd.set_training(False), autograd.set_recording(True),
            autograd.set_recording(False)] == [False, True, False, True]


def test_scopes_end_with_an_error_and_can_be_used_again():
    scope = autograd.record()
    for _ in range(2):
        with pytest.raises(KeyError), scope:
            assert state() == (True, True)
            with scope:
                raise KeyError
        assert state() == (False, False)


def test_a_scope_is_a_decorator():
    @autograd.record()
    def f(x):
        """Square."""
        return x * x

    x = marked(3)
    f(x).backward()
    assert host(x.grad) == [6] and f.__name__ == "f" and f.__doc__ == "Square."
    assert state() == (False, False)


def test_state_belongs_to_the_thread():
    seen, go, done = [], threading.Event(), threading.Event()

    def other():
        seen.append(state())
        with autograd.record(train_mode=False):
            go.set()
            done.wait(20)
            seen.append(state())

    with autograd.record():
        thread = threading.Thread(target=other)
        thread.start()
        assert go.wait(20)
        assert state() == (True, True)
        done.set()
        thread.join(20)
    assert seen == [(False, False), (True, False)]


def test_threads_record_and_differentiate_side_by_side():
    results = {}

    def work(k):
        x = marked(*range(1, 5))
        for _ in range(20):
            with autograd.record():
                y = (nd.exp(x * 0.1) * k + x * x).sum()
            y.backward()
        results[k] = x.grad.asnumpy()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    x = np.arange(1, 5)
    for k in range(4):
        np.testing.assert_allclose(results[k], 0.1 * k * np.exp(0.1 * x) + 2 * x, rtol=1e-5)


# ---------------------------------------------------------------- requests and heads
def test_write_add_null():
    w, a, n = marked(1, 2), marked(1, 2, req="add"), marked(1, 2, req="null")
    for _ in range(3):
        with autograd.record():
            y = w * a * n
        y.backward()
    assert host(w.grad) == [1, 4] and host(a.grad) == [3, 12] and host(n.grad) == [0, 0]
    a.grad[:] = 0
    with autograd.record():
        y = a * 2
    y.backward()
    assert host(a.grad) == [2, 2]


@pytest.mark.parametrize("req", ["sum", None, 7])
def test_unknown_request(req):
    with pytest.raises(mx.MXNetError, match="grad_req must be 'write', 'add' or 'null'"):
        nd.ones(1).attach_grad(req)


def test_head_gradients():
    x = marked(1, 2, 3)
    with autograd.record():
        y = x * x
        z = x * 5
    y.backward(nd.array([1, 10, 100]), retain_graph=True)
    assert host(x.grad) == [2, 40, 600]
    autograd.backward([y, z], [nd.array([1, 0, 0]), None])  # None: ones
    assert host(x.grad) == [7, 5, 5]


def test_wrong_heads():
    x = marked(1, 2, 3)
    with autograd.record():
        y = x * x
    with pytest.raises(mx.MXNetError, match=r"shape of its head: \(2,\) and \(3,\)"):
        y.backward(nd.ones(2))
    with pytest.raises(mx.MXNetError, match="same length: 1 and 2"):
        autograd.backward([y], [None, None])
    for lost in (nd.ones(1), x.detach() * 2, (x * 2)):
        with pytest.raises(mx.MXNetError, match="attach_grad"):
            lost.backward()


def test_unused_variables_and_blocked_paths():
    x, other = marked(1, 2), marked(1, 2)
    x.grad[:] = other.grad[:] = 7
    with autograd.record():
        y = nd.BlockGrad(x)
    y.backward()
    assert host(x.grad) == [0, 0]  # reached, nothing flows
    assert host(other.grad) == [7, 7]  # not reached


def test_the_same_array_twice():
    x = marked(3)
    with autograd.record():
        y = x * x + nd.broadcast_mul(x, x) + nd.concat(x, x, dim=0).sum() + nd.add_n(x, x, x)
    y.backward()
    assert host(x.grad) == [6 + 6 + 2 + 3]


def test_paths_join():
    x = marked(0.5)
    with autograd.record():
        a = nd.exp(x)
        b = a * a + nd.sin(a)
        c = b * a
    c.backward()
    e = np.exp(0.5)
    np.testing.assert_allclose(x.grad.asnumpy(), (3 * e**2 + np.sin(e) + e * np.cos(e)) * e, rtol=1e-6)


def test_several_outputs_of_which_some_are_used():
    x = marked(*range(6))
    with autograd.record():
        _, b, c = nd.split(x, 3, axis=0)
        y = (b * b).sum() + c[0]
    y.backward()
    assert host(x.grad) == [0, 0, 4, 6, 1, 0]


def test_types_of_gradients():
    x = marked(1, 2, 3, dtype="float64")
    h = marked(1, 2, 3, dtype="float16")
    i = marked(1, 2, 3, dtype="int32")
    with autograd.record():
        y = x * x + h.astype("float64") + (i * 2).astype("float64") * x
    y.backward()
    assert [g.dtype for g in (x.grad, h.grad, i.grad)] == [np.float64, np.float16, np.int32]
    assert host(x.grad) == [4, 8, 12] and host(h.grad) == [1, 1, 1] and host(i.grad) == [2, 4, 6]


def test_a_leaf_is_a_head():
    x = marked(1, 2)
    x.backward(nd.array([5, 6]))
    assert host(x.grad) == [5, 6]


def test_mark_variables():
    a, b = nd.array([1, 2]), nd.array([3, 4])
    ga, gb = nd.zeros(2), nd.ones(2)
    autograd.mark_variables([a, b], [ga, gb], ["write", "add"])
    with autograd.record():
        y = a * b
    y.backward()
    assert a.grad is ga and host(ga) == [3, 4] and host(gb) == [2, 3]
    c, gc_ = nd.ones(2), nd.zeros(2)
    autograd.mark_variables(c, gc_)
    with autograd.record():
        y = c * 4
    y.backward()
    assert host(gc_) == [4, 4]


@pytest.mark.parametrize(("variables", "gradients", "reqs", "words"), [
    ([nd.ones(2)], [nd.ones(3)], "write", r"shape of its variable: \(3,\) and \(2,\)"), ([nd.ones(2)], [], "write",
        "1 variables, 0"),
    ([nd.ones(2)], [nd.ones(2)], ["write", "add"], "2 requests"), ([nd.ones(2)], [nd.ones(2)], "sum", "grad_req")])
def test_wrong_marks(variables, gradients, reqs, words):
    with pytest.raises(mx.MXNetError, match=words):
        autograd.mark_variables(variables, gradients, reqs)


def test_marking_an_intermediate_cuts_the_graph():
    x = marked(1, 2, 3)
    with autograd.record():
        y = x * x
        y.attach_grad()
        z = y * 2
    z.backward()
    assert host(x.grad) == [0, 0, 0] and host(y.grad) == [2, 2, 2]


def test_marking_again_begins_afresh():
    x = marked(1, 2)
    with autograd.record():
        y = x * x
    x.attach_grad()
    y.backward()
    assert host(x.grad) == [0, 0]


def test_detach_and_drop():
    x = marked(1, 2, 3)
    with autograd.record():
        y = x.detach() * x
    y.backward()
    assert host(x.grad) == [1, 2, 3]
    assert x.detach().grad is None
    x.drop_grad()
    assert x.grad is None


def test_the_gradient_is_no_part_of_the_graph():
    x = marked(1, 2)
    with autograd.record():
        y = x * x
    y.backward()
    first = x.grad.copy()
    x.grad[:] = 0
    assert host(first) == [2, 4]


# ---------------------------------------------------------------- retained and freed graphs
def test_retain_graph():
    x = marked(1, 2)
    with autograd.record():
        y = x**3
    y.backward(retain_graph=True)
    assert host(x.grad) == [3, 12]
    y.backward()
    with pytest.raises(mx.MXNetError, match=r"'_power_scalar' was freed.*retain_graph=True"):
        y.backward()


def test_a_part_that_another_pass_freed():
    x = marked(1, 2)
    with autograd.record():
        shared = x * x
        y, z = shared * 2, shared * 3
    y.backward()
    with pytest.raises(mx.MXNetError, match="'broadcast_mul' was freed"):
        z.backward()


def test_state_that_is_carried_on():
    """What a backward pass went through is a constant afterwards (truncated backpropagation through time)."""
    h, x, grads = nd.ones(3), marked(1, 2, 3), []
    for _ in range(3):
        with autograd.record():
            h = x * h + x
            y = h.sum()
        y.backward()
        grads.append(host(x.grad))
    assert grads == [[2, 2, 2], [3, 5, 7], [4, 11, 22]]  # as MXNet 1.9.1 computes


def test_a_carried_state_does_not_hold_its_past():
    h, x = nd.ones(3), marked(1, 2, 3)
    node = None
    for _ in range(3):
        with autograd.record():
            h = x * h
        node = node or weakref.ref(h._entry[0])
        h.backward()
    gc.collect()
    assert node() is None


def test_nothing_left_to_differentiate():
    x = marked(1, 2)
    with autograd.record():
        y = x * x
    y.backward()
    with autograd.record():
        z = y * 2
    with pytest.raises(mx.MXNetError, match="freed"):
        z.backward()


# ---------------------------------------------------------------- writes
def test_writes_between_forward_and_backward_count():
    """Outside of ``record`` a write is the program's affair; the gradient is that at the new value, as in MXNet."""
    x, c = marked(1, 2, 3), nd.array([2, 2, 2])
    with autograd.record():
        y = x * x
        z = nd.exp(x)
        w = z * z
        v = x * c
    x[:] = 10
    z[:] = 10
    c[:] = 7
    autograd.backward([y, v])
    assert host(x.grad) == [27, 27, 27]
    w.backward()
    assert host(x.grad) == [200, 200, 200]


def test_a_result_that_is_changed_afterwards_keeps_its_graph():
    x = marked(1, 2)
    with autograd.record():
        y = x * 2
    y += 1
    y.backward()
    assert host(x.grad) == [2, 2] and host(y) == [3, 5]
    with autograd.record():
        y = x * 2
    y[0] = 100
    with autograd.record():
        z = y * y
    z.backward()
    assert host(x.grad) == [400, 16]


WRITES = {
    "+=": lambda a: a.__iadd__(1), "-=": lambda a: a.__isub__(1), "*=": lambda a: a.__imul__(2),
    "/=": lambda a: a.__itruediv__(2), "%=": lambda a: a.__imod__(2), "**=": lambda a: a.__ipow__(2),
    "x[:]": lambda a: a.__setitem__(slice(None), 0), "x[0]": lambda a: a.__setitem__(0, 1),
    "x[[0]]": lambda a: a.__setitem__([0], 1), "out": lambda a: nd.exp(nd.ones(2), out=a),
    "copyto": lambda a: nd.ones(2).copyto(a), "slice_assign": lambda a: a.slice_assign(1, (0,), (1,)),
    "zeros": lambda a: nd.zeros(2, out=a), "random": lambda a: nd.random.uniform(out=a),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.parametrize("what", ["variable", "result", "constant"])
def test_no_writes_to_what_is_being_recorded(write, what):
    x, constant = marked(1, 2), nd.array([3, 4])
    with autograd.record():
        result = x * constant
        y = result * result
        target = {"variable": x, "result": result, "constant": constant}[what]
        before = host(target)
        with pytest.raises(mx.MXNetError, match="not supported when recording with autograd"):
            write(target)
        with autograd.pause():
            write(target.copy())
    assert host(target) == before
    y.backward()
    assert host(x.grad) == [18, 64]


def test_writes_while_recording_that_are_fine():
    x, c, unused = marked(1, 2, 3), nd.zeros(3), nd.zeros(3)
    with autograd.record():
        c[:] = 5
        unused += 2
        unused[1] = 0
        y = x * c + unused
        added = nd.ones(3)
        z = x + added
        added += 1  # a sum keeps none of its terms
    autograd.backward([y, z])
    assert host(x.grad) == [6, 6, 6]


def test_a_constant_may_be_written_once_its_graph_is_gone():
    x, c = marked(1, 2), nd.zeros(2)
    for i in range(3):
        with autograd.record():
            c[:] = i
            y = x * c
        y.backward()
        assert host(x.grad) == [i, i]
    with autograd.record():
        x * c  # dropped
        gc.collect()
        c += 1


def test_in_place_on_an_input():
    x, c = marked(1, 2), nd.ones(2)
    with autograd.record(), pytest.raises(mx.MXNetError, match="out is also an input"):
        c *= x


def test_setting_a_whole_array_is_recorded():
    x = marked(1, 2, 3)
    weights = nd.array([[1, 2, 3], [4, 5, 6]])
    for write in (lambda a, v: a.__setitem__(slice(None), v), lambda a, v: a.__setitem__(Ellipsis, v),
                  lambda a, v: v.broadcast_to((2, 3)).copyto(a), lambda a, v: nd.broadcast_to(v.reshape((1, 3)), (2, 3), out=a)):
        a = nd.zeros((2, 3))
        with autograd.record():
            write(a, x * 2)
            y = (a * weights).sum()
        y.backward()
        assert host(x.grad) == [10, 14, 18] and host(a) == [[2, 4, 6]] * 2


@pytest.mark.parametrize("key", [0, (slice(None), 1), [0, 1], (0, slice(None, None, 2)), np.array([True, False])])
def test_setting_a_part_to_a_recorded_value(key):
    x, a = marked(1, 2, 3), nd.zeros((2, 3))
    with autograd.record():
        value = (x * 2).sum()
        with pytest.raises(mx.MXNetError, match=r"only a whole array.*concat or stack"):
            a[key] = value
        a[key] = value.detach()
