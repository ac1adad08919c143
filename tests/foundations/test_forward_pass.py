import contextlib
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.neural_network import MLPRegressor

from lexicon.foundations.activation import Activation, relu, sigmoid, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import (
    Layer,
    Sequential,
    Signals,
    evaluating,
    named_layers,
    trace_inputs,
    trace_shapes,
    trace_signals,
)
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear


def small():
    # The page's worked case.
    return [
        Linear(np.array([[1.0, 1.0], [1.0, -1.0], [0.0, 2.0]]), np.array([0.0, 0.0, -1.0])),
        Activation(relu),
        Linear(np.array([[1.0, 2.0, 3.0]]), np.array([-4.0])),
    ]


def drawn(rng, sizes=(4, 5, 3)):
    return [
        Linear(rng.standard_normal((sizes[1], sizes[0])), rng.standard_normal(sizes[1])),
        Activation(tanh),
        Linear(rng.standard_normal((sizes[2], sizes[1])), rng.standard_normal(sizes[2])),
    ]


class Traced:
    # Adds a number, and writes down who was called when.
    def __init__(self, name, amount, calls):
        self.name, self.amount, self.calls = name, amount, calls
        self.params, self.grads = {}, {}

    def forward(self, x):
        self.calls.append((f"{self.name} forward", float(x[0, 0])))
        return x * 10 + self.amount

    def backward(self, dy):
        self.calls.append((f"{self.name} backward", float(dy[0, 0])))
        return dy * 10


def test_by_hand():
    network = Sequential(small())
    x = np.array([[1.0, 2.0]])
    first, activation, last = small()
    np.testing.assert_array_equal(first.forward(x), [[3, -1, 3]])
    np.testing.assert_array_equal(activation.forward(first.forward(x)), [[3, 0, 3]])
    np.testing.assert_array_equal(last.forward(np.array([[3.0, 0.0, 3.0]])), [[8]])
    np.testing.assert_array_equal(network.forward(x), [[8]])
    np.testing.assert_array_equal(network.backward(np.array([[1.0]])), [[1, 7]])
    assert [*network.grads] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    np.testing.assert_array_equal(network.grads["0.weight"], [[1, 2], [0, 0], [3, 6]])
    np.testing.assert_array_equal(network.grads["0.bias"], [1, 0, 3])
    np.testing.assert_array_equal(network.grads["2.weight"], [[3, 0, 3]])
    np.testing.assert_array_equal(network.grads["2.bias"], [1])
    assert trace_shapes(network, x) == [
        ("input", (1, 2)),
        ("Linear", (1, 3)),
        ("Activation", (1, 3)),
        ("Linear", (1, 1)),
    ]


def test_forward_goes_first_to_last_and_backward_last_to_first():
    calls = []
    network = Sequential([Traced("a", 1, calls), Traced("b", 2, calls), Traced("c", 3, calls)])
    assert network.forward(np.array([[5.0]])) == 5123
    assert network.backward(np.array([[1.0]])) == 1000
    assert calls == [
        ("a forward", 5.0),
        ("b forward", 51.0),
        ("c forward", 512.0),
        ("c backward", 1.0),
        ("b backward", 10.0),
        ("a backward", 100.0),
    ]


def test_agrees_with_scikit_learn(rng):
    model = MLPRegressor(hidden_layer_sizes=(5, 6), activation="tanh", max_iter=2, random_state=0)
    x, targets = rng.standard_normal((30, 4)), rng.standard_normal((30, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather train to the end
        model.fit(x, targets)
    layers = []
    for weight, bias in zip(model.coefs_, model.intercepts_, strict=True):
        layers += [Linear(weight.T, bias), Activation(tanh)]
    network = Sequential(layers[:-1])
    np.testing.assert_allclose(network.forward(x), model.predict(x), rtol=1e-12, atol=1e-14)


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((6, 4))
    network = Sequential(drawn(rng))
    assert max(check_layer(network, x, rng=rng).values()) < 1e-8
    # A chain is a layer: it may stand in a chain.
    stack = Sequential(
        [
            Linear(rng.standard_normal((4, 4)), rng.standard_normal(4)),
            Sequential(drawn(rng)),
            Linear(rng.standard_normal((2, 3))),
            Activation(tanh),
        ]
    )
    errors = check_layer(stack, x, rng=rng)
    assert [*errors] == [
        "x",
        "0.weight",
        "0.bias",
        "1.0.weight",
        "1.0.bias",
        "1.2.weight",
        "1.2.bias",
        "2.weight",
        "2.bias",
    ]
    assert max(errors.values()) < 1e-8


@given(st.integers(0, 10**6), st.integers(1, 2))
def test_where_a_chain_is_cut_does_not_matter(seed, cut):
    rng = np.random.default_rng(seed)
    layers, x, dy = drawn(rng), rng.standard_normal((2, 4)), rng.standard_normal((2, 3))
    flat = Sequential(layers)
    y = flat.forward(x)
    dx, grads = flat.backward(dy), [*flat.grads.values()]
    nested = Sequential([Sequential(layers[:cut]), Sequential(layers[cut:])])
    np.testing.assert_array_equal(nested.forward(x), y)
    np.testing.assert_array_equal(nested.backward(dy), dx)
    for theirs, ours in zip(nested.grads.values(), grads, strict=True):
        np.testing.assert_array_equal(theirs, ours)


@given(st.integers(0, 10**6), st.permutations(range(5)))
def test_samples_do_not_see_each_other(seed, order):
    rng = np.random.default_rng(seed)
    network, x = Sequential(drawn(rng)), rng.standard_normal((5, 4))
    y = network.forward(x)
    np.testing.assert_allclose(network.forward(x[order]), y[order], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(network.forward(x[2:3]), y[2:3], rtol=1e-12, atol=1e-14)


@given(st.integers(0, 10**6))
def test_without_an_activation_a_chain_is_one_linear_layer(seed):
    rng = np.random.default_rng(seed)
    first, _, last = drawn(rng)
    x = rng.standard_normal((3, 4))
    one = Linear(
        last.params["weight"] @ first.params["weight"],
        last.params["weight"] @ first.params["bias"] + last.params["bias"],
    )
    np.testing.assert_allclose(
        Sequential([first, last]).forward(x), one.forward(x), rtol=1e-11, atol=1e-12
    )


def test_params_and_grads_are_the_layers_own_arrays(rng):
    layers = drawn(rng)
    network: Layer = Sequential(layers)
    assert network.layers == layers
    assert network.params["0.weight"] is layers[0].params["weight"]
    assert network.params["2.bias"] is layers[2].params["bias"]
    assert network.grads == {}
    network.forward(np.ones((1, 4)))
    network.backward(np.ones((1, 3)))
    assert network.grads["2.weight"] is layers[2].grads["weight"]
    assert network.grads.keys() == network.params.keys()
    network.params["2.bias"] += 1000.0  # in place, as an optimiser does
    assert network.forward(np.ones((1, 4))).min() > 900


def test_a_chain_keeps_its_own_list():
    layers = small()
    network = Sequential(layers)
    layers.pop()
    assert len(network.layers) == 3


def test_trace_goes_layer_by_layer_and_shows_a_chain_as_one():
    rng = np.random.default_rng(0)
    network = Sequential([Sequential(drawn(rng)), Activation(relu)])
    x = rng.standard_normal((7, 4))
    kept = x.copy()
    assert trace_shapes(network, x) == [
        ("input", (7, 4)),
        ("Sequential", (7, 3)),
        ("Activation", (7, 3)),
    ]
    np.testing.assert_array_equal(x, kept)


def test_signals_are_what_each_layer_received_and_the_gradient_of_what_it_returned(rng):
    first, activation, last = small()
    network = Sequential([first, Sequential([activation, last])])  # the page's case, nested
    x = np.array([[1.0, 2.0]])
    signals = trace_signals(network, x, np.ones_like)
    assert [*named_layers(network)] == [("0", first), ("1.0", activation), ("1.1", last)]
    assert [*signals] == ["0.weight", "1.1.weight"]
    assert isinstance(signals["0.weight"], Signals)
    np.testing.assert_array_equal(signals["0.weight"].x, x)
    np.testing.assert_array_equal(signals["0.weight"].dy, [[1, 0, 3]])
    np.testing.assert_array_equal(signals["1.1.weight"].x, [[3, 0, 3]])
    np.testing.assert_array_equal(signals["1.1.weight"].dy, [[1]])
    # Any network: their product is the gradient that a plain pass leaves behind.
    network, x, dy = (
        Sequential(drawn(rng)),
        rng.standard_normal((6, 4)),
        rng.standard_normal((6, 3)),
    )
    returned = []
    signals = trace_signals(network, x, lambda y: [returned.append(y), dy][1])
    np.testing.assert_array_equal(returned[0], network.forward(x))
    network.backward(dy)
    inputs = trace_inputs(network, x)
    assert [*inputs] == [*signals]
    for name, (received, gradient) in signals.items():
        np.testing.assert_array_equal(inputs[name], received)
        expected = network.grads[name]
        np.testing.assert_allclose(gradient.T @ received, expected, rtol=1e-12, atol=1e-12)


def test_the_input_is_not_changed_and_float32_stays(rng):
    network = Sequential([Linear(rng.standard_normal((3, 4), dtype=np.float32)), Activation(relu)])
    x, dy = rng.standard_normal((5, 4), dtype=np.float32), np.ones((5, 3), np.float32)
    kept = x.copy()
    assert network.forward(x).dtype == np.float32
    assert network.backward(dy).dtype == np.float32
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(dy, 1)


def test_what_the_layers_keep_is_as_many_numbers_as_they_were_given():
    x = np.ones((1000, 64), np.float32)
    for function, bytes_a_number in [(sigmoid, 4), (relu, 1)]:
        first, last = Linear(np.ones((32, 64), np.float32)), Linear(np.ones((10, 32), np.float32))
        network = Sequential([first, Activation(function), last])
        tracemalloc.start()
        network.forward(x)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # The first layer's 64 are the caller's x; the activation and the last layer keep 32 each.
        assert kept == pytest.approx(1000 * 32 * (bytes_a_number + 4), rel=0.05)


class Switched(Linear):
    """A layer that works otherwise in use; what it computes does not matter here."""

    training = True


@pytest.mark.parametrize("before", [True, False])
def test_evaluating_switches_every_layer_that_can_be_and_gives_back_what_was(before):
    deep, shallow, plain = Switched(np.eye(2)), Switched(np.eye(2)), Linear(np.eye(2))
    deep.training = before
    network = Sequential([Sequential([deep, Activation(tanh)]), plain, shallow])
    with evaluating(network):
        assert not deep.training
        assert not shallow.training
        assert not hasattr(plain, "training")
    assert deep.training is before
    assert shallow.training is True
    with contextlib.suppress(ZeroDivisionError), evaluating(deep):
        raise ZeroDivisionError
    assert deep.training is before


def test_pitfall_an_activation_applied_twice():
    rng = np.random.default_rng(0)
    x = 3 * rng.standard_normal((200, 8))
    once, twice = Sequential([Activation(relu)]), Sequential([Activation(relu), Activation(relu)])
    np.testing.assert_array_equal(twice.forward(x), once.forward(x))  # no trace of it
    once = Sequential([Activation(sigmoid)])
    twice = Sequential([Activation(sigmoid), Activation(sigmoid)])
    assert once.forward(x).min() < 0.01
    assert once.forward(x).max() > 0.99
    y = twice.forward(x)
    assert 0.5 < y.min() < 0.501
    assert 0.7309 < y.max() < expit(1.0)  # 0.731
    # And what comes back is a quarter of the little that one sigmoid lets through, or less.
    slope = twice.backward(np.ones_like(x))
    once.forward(x)
    assert (slope < once.backward(np.ones_like(x)) / 4).all()
    assert slope.max() < 0.0625  # a quarter of a quarter


def test_pitfall_an_activation_after_the_last_layer():
    network = Sequential([Linear(np.array([[1.0], [-1.0], [2.0]])), Activation(relu)])
    x, labels = np.array([[-1.0], [-2.0]]), np.array([0, 2])
    criterion = CrossEntropy()
    np.testing.assert_array_equal(network.forward(x), [[0, 1, 0], [0, 2, 0]])
    criterion.forward(network.forward(x), labels)
    network.backward(criterion.backward())
    weight = network.grads["0.weight"]
    np.testing.assert_array_equal(weight[[0, 2]], 0)  # the true classes: nothing to learn from
    assert (weight[1] != 0).all()
    criterion.forward(network.layers[0].forward(x), labels)
    network.layers[0].backward(criterion.backward())
    assert (network.grads["0.weight"] != 0).all()


def test_pitfall_one_object_in_two_places():
    bend = Activation(tanh)
    with pytest.raises(ValueError, match="layers must be distinct objects"):
        Sequential([bend, Linear(np.eye(2)), bend])
    x, linear = np.array([[0.5, -1.0]]), Linear(np.eye(2))
    bend.forward(linear.forward(bend.forward(x)))
    dy = linear.backward(bend.backward(np.ones((1, 2))))
    with pytest.raises(RuntimeError, match="forward first"):
        bend.backward(dy)
    # Two objects with the same function are fine.
    network = Sequential([Activation(tanh), Linear(np.eye(2)), Activation(tanh)])
    y = network.forward(x)
    np.testing.assert_allclose(
        network.backward(np.ones((1, 2))), (1 - y**2) * (1 - np.tanh(x) ** 2), rtol=1e-12
    )


def test_bad_input(rng):
    with pytest.raises(ValueError, match="layers must hold at least one layer, got none"):
        Sequential([])
    network = Sequential(small())
    with pytest.raises(RuntimeError, match="forward first"):
        network.backward(np.ones((1, 1)))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 2\), got \(1, 3\)"):
        network.forward(np.ones((1, 3)))
    with pytest.raises(TypeError, match="float64"):
        network.forward(np.ones((1, 2), np.float32))
    network.forward(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"dy must be \(1, 1\), got \(2, 1\)"):
        network.backward(np.ones((2, 1)))
    assert network.grads == {}  # refused by the last layer, before anything was filled
    network.backward(np.ones((1, 1)))
    with pytest.raises(RuntimeError, match="one for each backward"):
        network.backward(np.ones((1, 1)))
    # Layers that do not fit each other are found by the one that cannot take what it gets.
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3\), got \(1, 1\)"):
        Sequential([*small(), Linear(np.ones((2, 3)))]).forward(np.ones((1, 2)))
