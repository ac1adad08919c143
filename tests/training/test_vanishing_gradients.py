import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm as normal

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, sigmoid, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import numerical_gradient
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.layer_norm import LayerNorm
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.vanishing_gradients import Sizes, gradient_sizes, layer_factor

HE, DEPTH = 2**0.5, 20


def chain(depth, weight=1.0):
    """Single neurons with weight 1 whose sums are all 0 when fed with 0.5; a bias to match."""
    layers = []
    for _ in range(depth):
        layers += [Linear(np.array([[weight]]), np.array([-weight / 2])), Activation(sigmoid)]
    return Sequential(layers[:-1])


def stack(f, gain, norm, rng, *, depth=DEPTH, width=32, dtype=np.float64):
    layers, n_in = [], 64
    for _ in range(depth):
        layers.append(Linear(rng.normal(0, gain / n_in**0.5, (width, n_in)).astype(dtype)))
        layers += ([norm(width, dtype=dtype)] if norm else []) + [Activation(f)]
        n_in = width
    return Sequential([*layers, Linear(rng.normal(0, n_in**-0.5, (10, n_in)).astype(dtype))])


def sizes_of(network, x, labels):
    loss = CrossEntropy()
    return list(
        gradient_sizes(network, x, lambda z: (loss.forward(z, labels), loss.backward())[1]).values()
    )


def slopes_of(network, x):
    slopes = []
    for layer in network.layers:
        if isinstance(layer, Activation):
            slopes.append(layer.function(x)[1])
        x = layer.forward(x)
    return slopes


def test_by_hand():
    sizes = gradient_sizes(chain(11), np.array([[0.5]]), lambda y: np.ones_like(y))
    assert list(sizes) == [f"{2 * i}.weight" for i in range(11)]
    back = [size.output for size in reversed(sizes.values())]
    np.testing.assert_allclose(back, 0.25 ** np.arange(11), rtol=1e-12)
    assert back[10] == pytest.approx(1e-6, rel=0.05)
    # Each weight stands beside an input of 0.5.
    np.testing.assert_allclose(
        [size.weight for size in reversed(sizes.values())], np.array(back) / 2, rtol=1e-12
    )
    fours = gradient_sizes(chain(11, 4.0), np.array([[0.5]]), lambda y: np.ones_like(y))
    np.testing.assert_allclose([size.output for size in fours.values()], 1, rtol=1e-12)
    assert chain(2, 4.0).layers[0].params["bias"] == -2
    assert layer_factor(np.array([[1.0]]), np.array([[0.25]])) == 0.25
    # Two outputs: 9 + 16 in the mean 12.5, times 2; slopes 1 and 0: half. The root of 12.5.
    factor = layer_factor(np.array([[3.0, 3.0], [4.0, 4.0]]), np.array([[1.0, 0.0]]))
    assert factor == pytest.approx(12.5**0.5, rel=1e-12)


def test_sizes_are_those_of_measured_gradients(rng):
    x, labels = rng.standard_normal((4, 64)), np.array([1, 0, 2, 9])
    network, loss = stack(tanh, 1.0, None, rng, depth=2, width=5), CrossEntropy()
    sizes = sizes_of(network, x, labels)
    for size, name in zip(sizes, ("0", "2", "4"), strict=True):
        for kind, parameter in [("weight", "weight"), ("bias", "bias")]:
            theta = network.params[f"{name}.{parameter}"]
            measured = numerical_gradient(lambda: loss.forward(network.forward(x), labels), theta)
            if kind == "weight":
                assert size.weight == pytest.approx(np.sqrt(np.mean(measured**2)), rel=1e-6)
            else:
                # A bias moves an output of every sample: its gradient is the sum over them.
                assert network.grads[f"{name}.bias"] == pytest.approx(measured, abs=1e-8)
    top = loss.forward(network.forward(x), labels), loss.backward()
    assert sizes[-1].output == pytest.approx(np.sqrt(np.mean(top[1] ** 2)), rel=1e-12)
    assert isinstance(sizes[0], Sizes)
    assert sizes[0] == (sizes[0].output, sizes[0].weight)


def test_sizes_do_not_depend_on_the_width_or_type_and_see_layers_inside():
    wide = Sequential([Linear(np.ones((3, 2))), Sequential([Linear(np.ones((1, 3)))])])
    sizes = gradient_sizes(wide, np.ones((5, 2)), lambda y: np.full_like(y, 2))
    assert sizes == {"0.weight": (2, 10), "1.0.weight": (2, 20)}
    # Squares below what float32 can hold.
    tiny = Sequential([Linear(np.ones((1, 1), np.float32))])
    sizes = gradient_sizes(tiny, np.ones((1, 1), np.float32), lambda y: np.full_like(y, 1e-30))
    assert sizes["0.weight"].output == pytest.approx(1e-30, rel=1e-6, abs=0)


def test_a_sparse_network_has_sizes_too(rng):
    network = sparse_mlp([64, 16, 10], density=0.2, rng=rng)
    x, labels = load_digits()
    sizes = sizes_of(network, x[:50], labels[:50])
    weights = [g for name, g in network.grads.items() if name.endswith("weight")]
    for size, gradient in zip(sizes, weights, strict=True):
        assert size.weight == pytest.approx(np.sqrt(np.mean(gradient**2)), rel=1e-4)


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 5))
def test_no_layer_stretches_by_more_than_slope_times_largest_singular_value(seed, m, n, gain):
    rng = np.random.default_rng(seed)
    weight, z, dz = gain * rng.standard_normal((m, n)), rng.standard_normal((3, n)), None
    layers = [Activation(sigmoid), Linear(weight)]
    dz = rng.standard_normal((3, m))
    for layer in layers:
        z = layer.forward(z)
    back = layers[0].backward(layers[1].backward(dz))
    assert np.linalg.norm(back) <= np.linalg.norm(weight, 2) * np.linalg.norm(dz) / 4 + 1e-12


def test_the_factor_is_the_mean_over_draws(rng):
    """Of the squares; the weights are drawn anew, everything else stays."""
    slope, dz = rng.uniform(0, 1, (20, 6)), rng.standard_normal((20, 4))
    # Independent of the slopes, also in this small batch: every sample has the same length.
    dz /= np.linalg.norm(dz, axis=1, keepdims=True)
    squares, factors = [], []
    for _ in range(2000):
        weight = rng.normal(0, 0.7, (4, 6))
        squares.append(np.mean(((dz @ weight) * slope) ** 2) / np.mean(dz**2))
        factors.append(layer_factor(weight, slope) ** 2)
    expected = 4 * 0.49 * np.mean(slope**2)
    assert np.mean(squares) == pytest.approx(expected, rel=0.03)
    assert np.mean(factors) == pytest.approx(expected, rel=0.03)


def gaussian(function):
    halves = [(-9, 0), (0, 9)]
    return sum(quad(lambda z: function(z) * normal.pdf(z), *half)[0] for half in halves)


def test_the_table_of_the_page():
    x, labels = (array[:200] for array in load_digits())
    x = x.astype(np.float64)
    slope = gaussian(lambda z: (expit(z) * expit(-z)) ** 2)
    square, mean = gaussian(lambda z: expit(z) ** 2), gaussian(expit)
    # ReLU: mean(f'²) = mean(f²) = 1/2, mean(f) = 1 / √2π.
    table = [
        (sigmoid, 1, None, None, 0.23, 0.23),
        (sigmoid, 4, None, None, 0.62, 0.61),
        (sigmoid, 1, LayerNorm, (slope / square) ** 0.5, 0.39, 0.39),
        (sigmoid, 1, BatchNorm, (slope / (square - mean**2)) ** 0.5, 1.02, 1.02),
        (tanh, 1, None, None, 0.94, 0.94),
        (relu, 1, None, None, 0.69, 0.69),
        (relu, HE, None, None, 0.97, 0.97),
        (relu, 2 * HE, None, None, 1.95, 1.96),
        (relu, HE, LayerNorm, 1.0, 1.0, 1.01),
        (relu, HE, BatchNorm, (0.5 / (0.5 - 1 / (2 * np.pi))) ** 0.5, 1.21, 1.28),
    ]
    for f, gain, norm, closed, formula, printed in table:
        measured, predicted = [], []
        for seed in [*range(5), *range(300, 305)]:
            network = stack(f, gain, norm, np.random.default_rng(seed))
            sizes = sizes_of(network, x, labels)
            measured.append((sizes[0].output / sizes[DEPTH - 1].output) ** (1 / (DEPTH - 1)))
            weights = [w for name, w in network.params.items() if name.endswith("weight")]
            pairs = zip(weights[1:-1], slopes_of(network, x)[:-1], strict=True)
            factors = [layer_factor(weight, slope) for weight, slope in pairs]
            predicted.append(np.prod(factors) ** (1 / (DEPTH - 1)))
        assert np.mean(measured[:5]) == pytest.approx(printed, abs=0.0075)
        assert (closed or np.mean(predicted[:5])) == pytest.approx(formula, abs=0.0075)
        # The draw moves the table by this much.
        assert np.mean(measured[5:]) == pytest.approx(printed, rel=0.05)
        assert (closed or np.mean(predicted[5:])) == pytest.approx(formula, rel=0.05)
        # Only batch norm with ReLU is not what the formula says.
        ratio = np.mean(measured) / (closed or np.mean(predicted))
        assert (abs(ratio - 1) < 0.03) == ((f, norm) != (relu, BatchNorm))


def learned(f, gain, norm, seed, learning_rate):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = stack(f, gain, norm, rng, depth=10, dtype=np.float32)
    optimizer = Momentum(network, learning_rate=learning_rate)
    train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
    return accuracy(network, x_test, labels_test)


def test_what_can_be_learned_from_it():
    for seed in (0, 300):
        for learning_rate in (0.003, 0.02, 0.1):
            assert learned(sigmoid, 1, None, seed, learning_rate) < 0.15
        assert learned(relu, HE, None, seed, 0.01) > 0.5
        assert learned(sigmoid, 1, BatchNorm, seed, 0.01) > 0.85


def test_pitfall_judged_by_all_layers_together():
    x, labels = load_digits()
    network = mlp([64, *[32] * 10, 10], rng=np.random.default_rng(0), activation=sigmoid)
    sizes = [size.weight for size in sizes_of(network, x, labels)]
    norms = {name: np.sum(gradient.astype(float) ** 2) for name, gradient in network.grads.items()}
    total = sum(norms.values()) ** 0.5
    assert total == pytest.approx(0.5, abs=0.05)
    assert sizes[0] < 1e-6
    assert (norms["20.weight"] + norms["20.bias"]) ** 0.5 > 0.9 * total


def test_pitfall_relu_cures_it():
    x, labels = load_digits()
    for scale, low, high in [(0.5, 1e-6, 3e-5), (1.0, 0.01, 0.1), (2.0, 20, 300)]:
        network = mlp([64, *[32] * 10, 10], rng=np.random.default_rng(0))
        for theta in network.params.values():
            theta *= np.float32(scale)
        sizes = sizes_of(network, x, labels)
        # Small, right or large, but alike in all layers; the gradient that arrives is not.
        assert low < min(size.weight for size in sizes) < max(size.weight for size in sizes) < high
        factor = (sizes[0].output / sizes[9].output) ** (1 / 9)
        assert factor == pytest.approx(scale, rel=0.15)


def test_pitfall_a_flat_loss_has_other_causes():
    x, labels = load_digits()
    rng = np.random.default_rng(2)
    network = mlp([64, *[32] * 10, 10], rng=rng)
    before = sizes_of(network, x, labels)
    assert min(size.weight for size in before) > 1e-3
    optimizer = Momentum(network, learning_rate=0.1)
    history = train(network, optimizer, x, labels, epochs=2, batch_size=32, rng=rng)
    assert history[-1].loss == pytest.approx(np.log(10), abs=0.05)
    assert [size.weight for size in sizes_of(network, x, labels)] == [0] * 11
    assert network.grads["20.bias"].any()


def test_bad_input():
    for shape in [(3,), (0, 3), (3, 0), (1, 2, 3)]:
        with pytest.raises(ValueError, match=r"weight must be \(out, in\), neither of them 0"):
            layer_factor(np.ones(shape), np.ones((2, 3)))
    for shape in [(3,), (0, 3), (2, 4), (2, 2, 3)]:
        with pytest.raises(ValueError, match=r"slope must be \(N ≥ 1, 3\), got"):
            layer_factor(np.ones((4, 3)), np.ones(shape))
