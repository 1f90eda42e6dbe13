"""Recurrent layers and cells: what MXNet 1.9.1 gave, and layers against cells."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mxcore as mx
from mxcore.gluon import HybridBlock, rnn

COMPAT = Path(__file__).parents[1] / "compat"
PROGRAM = runpy.run_path(str(COMPAT / "record" / "gluon_layers.py"))
LAYERS, CELLS = (PROGRAM["recorded"](s, COMPAT / "data" / "gluon") for s in ("recurrent", "cells"))


def test_every_case_was_recorded() -> None:
    assert sorted(LAYERS) == sorted(PROGRAM["names"]("recurrent"))
    assert sorted(CELLS) == sorted(PROGRAM["names"]("cells"))


@pytest.mark.parametrize("hybridize", [False, True], ids=["eager", "hybridized"])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layer_as_recorded(name: str, hybridize: bool) -> None:
    assert PROGRAM["differences"](PROGRAM["run"](mx, "recurrent", name, hybridize), LAYERS[name]) == []


@pytest.mark.parametrize("hybridize", [False, True], ids=["eager", "hybridized"])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_cell_as_recorded(name: str, hybridize: bool) -> None:
    assert PROGRAM["differences"](PROGRAM["run"](mx, "cells", name, hybridize), CELLS[name]) == []


def sequence(*shape: int) -> mx.nd.NDArray:
    return mx.nd.array(PROGRAM["values"](shape, 9))


def filled(block):
    PROGRAM["fill"](mx, block)
    return block


# ---------------------------------------------------------------- layers against cells
@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(["RNN", "LSTM", "GRU"]), layers=st.integers(1, 3), both=st.booleans(),
       layout=st.sampled_from(["TNC", "NTC"]), steps=st.integers(1, 4))
def test_a_layer_equals_its_cells(kind: str, layers: int, both: bool, layout: str, steps: int) -> None:
    layer = getattr(rnn, kind)(3, layers, layout=layout, bidirectional=both, input_size=2)
    layer.initialize()
    filled(layer)
    x = sequence(*((steps, 2, 2) if layout == "TNC" else (2, steps, 2)))
    states = [sequence(*i["shape"]) for i in layer.state_info(2)]
    output, new_states = layer(x, states)
    # states of the layer stand layer by layer in one array, those of the cells one after another
    own = [s[i] for i in range(states[0].shape[0]) for s in states]
    wanted, wanted_states = layer._unfuse().unroll(steps, x, begin_state=own, layout=layout, merge_outputs=True)
    assert np.allclose(output.asnumpy(), wanted.asnumpy(), atol=1e-5)
    flat = [s[i].asnumpy() for i in range(states[0].shape[0]) for s in new_states]
    assert all(np.allclose(a, b.asnumpy(), atol=1e-5) for a, b in zip(flat, wanted_states, strict=True))


def test_unfused_cells_share_the_parameters() -> None:
    layer = rnn.GRU(3, 2, dropout=0.2, bidirectional=True, input_size=2)
    cells = layer._unfuse()
    assert [type(c).__name__ for c in cells._children.values()] == ["BidirectionalCell", "DropoutCell",
                                                                    "BidirectionalCell"]
    assert all(a is b for a, b in zip(cells.collect_params().values(), layer.collect_params().values(), strict=True))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_gradients_of_layer_and_cells_agree(kind: str) -> None:
    layer = getattr(rnn, kind)(3, 2, input_size=2)
    layer.initialize()
    filled(layer)
    x = sequence(4, 2, 2)
    found = []
    for call in (lambda: layer(x), lambda: layer._unfuse().unroll(4, x, layout="TNC", merge_outputs=True)[0]):
        with mx.autograd.record():
            y = (call() ** 2).sum()
        y.backward()
        found.append({n: p.grad().asnumpy() for n, p in layer.collect_params().items()})
    for name, grad in found[0].items():
        assert np.allclose(grad, found[1][name], atol=1e-4), name


# ---------------------------------------------------------------- calling layers
@pytest.mark.parametrize("hybridize", [False, True])
def test_with_and_without_states_by_turns(hybridize: bool) -> None:
    layer = rnn.LSTM(3, input_size=2)
    layer.initialize()
    if hybridize:
        layer.hybridize()
    x = sequence(4, 2, 2)
    for _ in range(2):
        alone = layer(x)
        output, states = layer(x, layer.begin_state(2))
        assert isinstance(alone, mx.nd.NDArray) and len(states) == 2
        assert np.allclose(alone.asnumpy(), output.asnumpy(), atol=1e-6)


def test_sequence_length_stops_each_sequence() -> None:
    layer = rnn.GRU(3, input_size=2, use_sequence_length=True, bidirectional=True)
    layer.initialize()
    filled(layer)
    x, lengths = sequence(4, 3, 2), [2, 4, 1]
    output, states = layer(x, layer.begin_state(3), mx.nd.array(lengths))
    for i, n in enumerate(lengths):
        own, own_states = layer(x[:n, i:i + 1], layer.begin_state(1), mx.nd.array([n]))
        assert np.allclose(output[:n, i].asnumpy(), own[:, 0].asnumpy(), atol=1e-5)
        assert (output[n:, i].asnumpy() == 0).all() if n < 4 else True
        assert np.allclose(states[0][:, i].asnumpy(), own_states[0][:, 0].asnumpy(), atol=1e-5)


def test_more_than_ten_layers_have_file_names() -> None:
    names = list(rnn.RNN(2, 11)._collect_params_with_prefix("r"))
    assert names[-1] == "r._unfused.10.h2h_bias" and len(set(names)) == 44


def test_begin_state_passes_arguments_on() -> None:
    layer = rnn.LSTM(3, 2, dtype="float64")
    assert [s.dtype for s in layer.begin_state(2)] == [np.float64] * 2
    assert layer.begin_state(2, func=mx.nd.ones, dtype="float32")[0].asnumpy().tolist() == [[[1] * 3] * 2] * 2
    assert layer.begin_state(2, func=mx.sym.var)[1].name.endswith("h0_1")
    assert mx.nd.array([0]).dtype == rnn.RNNCell(2).begin_state(1)[0].dtype


def test_states_of_a_wrong_shape() -> None:
    layer = rnn.GRU(3, input_size=2)
    layer.initialize()
    with pytest.raises(ValueError, match=r"Expecting \(1, 2, 3\), got \(1, 5, 3\)"):
        layer(sequence(4, 2, 2), mx.nd.zeros((1, 5, 3)))


def test_in_a_network_that_is_saved_and_loaded(tmp_path: Path) -> None:
    class Net(HybridBlock):
        def __init__(self, **kwargs) -> None:
            super().__init__(**kwargs)
            with self.name_scope():
                self.rnn = rnn.LSTM(3, 2, layout="NTC", bidirectional=True)

        def hybrid_forward(self, F, x):
            return self.rnn(x)

    a, b = Net(), Net()
    a.initialize()
    x = sequence(2, 4, 3)
    y = a(x).asnumpy()
    a.save_parameters(str(tmp_path / "a.params"))
    b.load_parameters(str(tmp_path / "a.params"))
    b.hybridize()
    assert np.allclose(b(x).asnumpy(), y, atol=1e-6)
    b.export(str(tmp_path / "b"))
    c = mx.gluon.SymbolBlock.imports(str(tmp_path / "b-symbol.json"), ["data"], str(tmp_path / "b-0000.params"))
    assert (c(x).asnumpy() == b(x).asnumpy()).all()


# ---------------------------------------------------------------- cells
def test_a_modified_cell_must_not_be_called_itself() -> None:
    cell = rnn.RNNCell(3)
    wrapped = rnn.ResidualCell(cell)
    with pytest.raises(AssertionError, match="Call the modifier cell instead"):
        cell.begin_state(2)
    with pytest.raises(AssertionError, match="Call the modifier cell instead"):
        rnn.ZoneoutCell(cell)
    assert len(wrapped.begin_state(batch_size=2)) == 1
    assert wrapped.collect_params().keys() == cell.collect_params().keys()


def test_zoneout_keeps_elements_of_the_step_before() -> None:
    cell = rnn.ZoneoutCell(rnn.RNNCell(50, input_size=2), zoneout_outputs=0.5, zoneout_states=0.5)
    cell.initialize()
    x = sequence(1, 3, 2)
    with mx.autograd.record():
        outputs, _ = cell.unroll(3, x)
    first, second = (o.asnumpy() for o in outputs[:2])
    assert 0 < (first == 0).mean() < 1
    assert 0 < (second == first).mean() < 1
    calm, _ = cell.unroll(3, x)
    assert (calm[0].asnumpy() != 0).all()


def test_variational_dropout_keeps_its_mask() -> None:
    cell = mx.gluon.contrib.rnn.VariationalDropoutCell(rnn.RNNCell(50, input_size=2), drop_outputs=0.5)
    cell.initialize()
    with mx.autograd.record():
        steps = [o.asnumpy() == 0 for o in cell.unroll(3, sequence(1, 3, 2), merge_outputs=False)[0]]
    assert (steps[0] == steps[1]).all() and (steps[0] == steps[2]).all() and 0 < steps[0].mean() < 1


def test_a_cell_of_ones_own() -> None:
    class Decay(rnn.HybridRecurrentCell):
        def state_info(self, batch_size=0):
            return [{"shape": (batch_size, 2), "__layout__": "NC"}]

        def hybrid_forward(self, F, x, states):
            new = x + states[0] * 0.5
            return new, [new]

    outputs, states = Decay().unroll(3, mx.nd.ones((1, 3, 2)), merge_outputs=True)
    assert outputs.asnumpy()[0, :, 0].tolist() == [1, 1.5, 1.75]
    assert states[0].asnumpy().tolist() == [[1.75, 1.75]]


def test_reset_numbers_the_steps_again() -> None:
    cell = rnn.RNNCell(2, input_size=2, prefix="c_")
    x, h = mx.sym.var("x"), mx.sym.var("h")
    names = [cell(x, [h])[0].name for _ in range(2)]
    cell.reset()
    assert [*names, cell(x, [h])[0].name] == ["c_t0_out", "c_t1_out", "c_t0_out"]


@pytest.mark.parametrize("make", [
    lambda: rnn.ZoneoutCell(rnn.RNNCell(50, input_size=2), 0.5),
    lambda: mx.gluon.contrib.rnn.VariationalDropoutCell(rnn.RNNCell(50, input_size=2), drop_outputs=0.5),
])
def test_hybridized_cells_that_remember_still_do(make) -> None:
    class Net(HybridBlock):
        def __init__(self, **kwargs) -> None:
            super().__init__(**kwargs)
            with self.name_scope():
                self.cell = make()

        def hybrid_forward(self, F, x):
            return self.cell.unroll(2, x, merge_outputs=True)[0]

    net = Net()
    net.initialize()
    x = sequence(1, 2, 2)
    for hybridize in (False, True):
        net.hybridize(hybridize)
        with mx.autograd.record():
            first, second = net(x).asnumpy()[0]
        assert 0 < (first == 0).mean() < 1
        assert 0 < (second == first).mean() < 1
    cell, states = net.cell, net.cell.begin_state(batch_size=1)
    cell.reset()
    with mx.autograd.record():
        first, states = cell(x[:, 0], states)
        second, _ = cell(x[:, 1], states)
    assert 0 < (second.asnumpy() == first.asnumpy()).mean() < 1


# ---------------------------------------------------------------- shapes that follow from the outputs
@pytest.mark.parametrize(("make", "found"), [
    (lambda: rnn.LSTM(4, 2, prefix="a_"), {"a_l0_i2h_weight": (16, 3)}),
    (lambda: rnn.GRU(4, 2, bidirectional=True, prefix="a_"), {"a_l0_i2h_weight": (12, 3), "a_r0_i2h_weight": (12, 3)}),
    (lambda: rnn.LSTM(4, projection_size=2, bidirectional=True, prefix="a_"), {"a_r0_i2h_weight": (16, 3)}),
])
def test_weights_of_the_first_layer_follow_from_the_data(make, found: dict) -> None:
    symbol = make()(mx.sym.var("x"))
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(x=(5, 2, 3))[0], strict=True))
    assert found.items() <= shapes.items()


@pytest.mark.parametrize("make", [lambda: rnn.LSTMCell(4), lambda: rnn.GRUCell(4),
                                  lambda: mx.gluon.contrib.rnn.LSTMPCell(4, 2)])
@pytest.mark.parametrize("batch", [1, 5])
def test_begin_states_of_an_unrolled_graph_follow_from_the_data(make, batch: int) -> None:
    class Net(HybridBlock):
        def __init__(self, **kwargs) -> None:
            super().__init__(**kwargs)
            with self.name_scope():
                self.cell = make()

        def hybrid_forward(self, F, x):
            return self.cell.unroll(3, x, merge_outputs=True)[0]

    net = Net()
    net.initialize()
    x = sequence(batch, 3, 2)
    eager = net(x).asnumpy()
    net.hybridize()
    assert np.allclose(net(x).asnumpy(), eager, atol=1e-6)
