from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import kstest

from lexicon.data import load_digits, stratified_split
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import sample_positions
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts, random_csr
from lexicon.sparsity.sparse_initialization import sparse_glorot_uniform, sparse_he_normal
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import glorot_uniform, he_normal

# The worked case: three neurons, four inputs. Neuron 0 has all, neuron 1 one, neuron 2 none.
INDPTR, INDICES = np.array([0, 4, 5, 5]), np.array([0, 1, 2, 3, 2])


class Ones:
    """Stand in for a generator: every normal draw is 1, every uniform one the upper bound."""

    def standard_normal(self, size, dtype):
        return np.ones(size, dtype)

    def uniform(self, low, high):
        np.testing.assert_array_equal(low, -high)
        return high


def positions(n_out, n_in, density, rng):
    drawn = sample_positions(n_out * n_in, round(density * n_out * n_in), rng=rng)
    return np.searchsorted(drawn, np.arange(n_out + 1) * n_in), drawn % n_in


def test_by_hand():
    values = sparse_he_normal(INDPTR, rng=Ones(), dtype=np.float64)
    np.testing.assert_allclose(values**2, [0.5, 0.5, 0.5, 0.5, 2], rtol=1e-15)
    # With inputs of mean square 1, E[y²] is the sum of a row's variances; ReLU halves it.
    real = np.array([values[:4] @ values[:4], values[4:] @ values[4:], 0]) / 2
    np.testing.assert_allclose(real, [1, 1, 0], rtol=1e-15)
    dense = np.array([4, 1, 0]) * (2 / 4) / 2
    np.testing.assert_array_equal(dense, [1, 0.25, 0])
    assert dense.mean() == pytest.approx(5 / 12)  # the density
    assert real.mean() == pytest.approx(2 / 3)  # the share of neurons with inputs


def test_by_hand_glorot():
    # Fan-outs 1, 1, 2, 1: bounds √(6 / (4 + 1)), for column 2 √(6 / (4 + 2)); √(6 / (1 + 2)).
    bounds = sparse_glorot_uniform(INDPTR, INDICES, 4, rng=Ones(), dtype=np.float64)
    np.testing.assert_allclose(bounds**2, [1.2, 1.2, 1.0, 1.2, 2.0], rtol=1e-15)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_at_density_one_it_is_the_dense_rule_to_the_last_bit(n_out, n_in, seed):
    indptr, indices = np.arange(n_out + 1) * n_in, np.tile(np.arange(n_in), n_out)
    values = sparse_he_normal(indptr, rng=np.random.default_rng(seed), dtype=np.float64)
    dense = he_normal(n_in, n_out, rng=np.random.default_rng(seed), dtype=np.float64)
    np.testing.assert_array_equal(values.reshape(n_out, n_in), dense)
    for dtype in (np.float32, np.float64):
        values = sparse_glorot_uniform(
            indptr, indices, n_in, rng=np.random.default_rng(seed), dtype=dtype
        )
        dense = glorot_uniform(n_in, n_out, rng=np.random.default_rng(seed), dtype=dtype)
        np.testing.assert_array_equal(values.reshape(n_out, n_in), dense, strict=True)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(0, 99))
def test_any_fan_ins(fan_in, seed):
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(fan_in)])
    indices = np.concatenate([np.sort(rng.permutation(6)[:k]) for k in fan_in]).astype(np.int32)
    kept = indptr.copy(), indices.copy()
    for dtype in (np.float32, np.float64):
        he = sparse_he_normal(indptr, rng=np.random.default_rng(seed), dtype=dtype)
        again = sparse_he_normal(
            indptr.astype(np.int32), rng=np.random.default_rng(seed), dtype=dtype
        )
        np.testing.assert_array_equal(he, again, strict=True)
        again = sparse_he_normal(
            indptr.astype(np.uint64), rng=np.random.default_rng(seed), dtype=dtype
        )
        np.testing.assert_array_equal(he, again, strict=True)
        unit = np.random.default_rng(seed).standard_normal(sum(fan_in), dtype)
        for k, (start, end) in zip(fan_in, pairwise(indptr), strict=True):
            expected = unit[start:end] * dtype(np.sqrt(2 / k) if k else 0)
            np.testing.assert_array_equal(he[start:end], expected, strict=True)
        glorot = sparse_glorot_uniform(indptr, indices, 6, rng=rng, dtype=dtype)
        assert glorot.shape == he.shape == (sum(fan_in),)
        assert glorot.dtype == he.dtype == dtype
        fan_out = [int((indices == j).sum()) for j in range(6)]
        connections = [(k, j) for j, k in zip(indices, np.repeat(fan_in, fan_in), strict=True)]
        for value, (k, j) in zip(glorot, connections, strict=True):
            assert abs(value) <= np.sqrt(6 / (k + fan_out[j])) * (1 + 1e-6)
    np.testing.assert_array_equal(indptr, kept[0])
    np.testing.assert_array_equal(indices, kept[1])


def test_the_distributions(rng):
    indptr, indices = positions(300, 200, 0.1, rng)
    fan_in, fan_out = np.diff(indptr), np.bincount(indices, minlength=200)
    values = sparse_he_normal(indptr, rng=rng)
    assert values.dtype == np.float32
    assert kstest(values / np.sqrt(2 / np.repeat(fan_in, fan_in)), "norm").pvalue > 0.01
    values = sparse_glorot_uniform(indptr, indices, 200, rng=rng)
    assert values.dtype == np.float32
    bound = np.sqrt(6 / (np.repeat(fan_in, fan_in) + fan_out[indices]))
    assert kstest(values / bound, "uniform", (-1, 2)).pvalue > 0.01
    # Variance 2 / (fan_in + fan_out), a third of the bound squared.
    assert np.mean(values**2 / (bound**2 / 3)) == pytest.approx(1, abs=0.03)


def test_random_csr_draws_these_values():
    for dtype in (np.float32, np.float64):
        weight = random_csr((30, 40), 200, rng=np.random.default_rng(3), dtype=dtype)
        rng = np.random.default_rng(3)
        sample_positions(1200, 200, rng=rng)
        values = sparse_he_normal(weight.indptr, rng=rng, dtype=dtype)
        np.testing.assert_array_equal(weight.data, values, strict=True)


def test_expected_squares_of_every_output_and_every_input_gradient(rng):
    # Over 20,000 draws of the values at fixed positions, one sample forwards and one backwards.
    indptr, indices = positions(12, 10, 0.3, rng)
    fan_in = np.diff(indptr)
    x, dy = np.abs(rng.standard_normal(10)), rng.standard_normal(12)
    there = csr_array((np.ones(len(indices)), indices, indptr), (12, 10)).toarray()
    y, dx = np.zeros(12), np.zeros(10)
    for _ in range(20_000):
        there[there != 0] = sparse_he_normal(indptr, rng=rng, dtype=np.float64)
        y += (there @ x) ** 2 / 20_000
        dx += (dy @ there) ** 2 / 20_000
    pattern = there != 0
    variance = pattern * 2 / np.maximum(fan_in, 1)[:, None]
    np.testing.assert_allclose(y, variance @ x**2, rtol=0.06)
    np.testing.assert_allclose(dx, dy**2 @ variance, rtol=0.06)


def through(layers, density, real, rng, width=500, samples=200):
    """Mean squares of the signal after every ReLU and of the gradient before it, top down."""
    x = np.abs(rng.standard_normal((samples, width)))
    signal, stack = [np.mean(x**2)], []
    for _ in range(layers):
        indptr, indices = positions(width, width, density, rng)
        values = sparse_he_normal(indptr, rng=rng, dtype=np.float64)
        if not real:
            values = rng.standard_normal(len(indices)) * np.sqrt(2 / width)
        layer = CSRLinear(csr_array((values, indices, indptr), (width, width)))
        x = layer.forward(x)
        fires = x > 0
        x = x * fires
        signal.append(np.mean(x**2))
        stack.append((layer, fires))
    dy = rng.standard_normal((samples, width))
    gradient = [np.mean(dy**2)]
    for layer, fires in reversed(stack):
        dy = layer.backward(dy * fires)
        gradient.append(np.mean(dy**2))
    return np.array(signal), np.array(gradient)


@pytest.mark.parametrize("density", [0.05, 0.2])
def test_real_fan_in_keeps_the_mean_square_and_the_dense_rule_multiplies_by_the_density(density):
    factor = {}
    for real in (True, False):
        rows = [through(4, density, real, np.random.default_rng(seed)) for seed in range(5)]
        for name, way in (("signal", 0), ("gradient", 1)):
            factor[real, name] = np.mean([r[way][4] / r[way][0] for r in rows]) ** (1 / 4)
    for name in ("signal", "gradient"):
        assert factor[True, name] == pytest.approx(1, abs=0.05)
        assert factor[False, name] == pytest.approx(density, rel=0.05)


def test_backwards_the_layer_as_a_whole_keeps_what_its_shape_says(rng):
    # n_out / n_in as in a dense layer with He's rule (before ReLU twice that), times neurons heard.
    for n_out, n_in, density in ((600, 200, 0.1), (200, 600, 0.1), (400, 100, 0.01)):
        factors = []
        for _ in range(20):
            weight = random_csr(
                (n_out, n_in), round(density * n_out * n_in), rng=rng, dtype=np.float64
            )
            dy = rng.standard_normal((100, n_out))
            factors.append(np.mean((weight.T @ dy.T) ** 2) / np.mean(dy**2))
        heard = 1 - (1 - density) ** n_in
        assert np.mean(factors) == pytest.approx(2 * n_out / n_in * heard, rel=0.03)


def test_pitfall_the_gradient_follows_the_fan_out(rng):
    indptr, indices = positions(2000, 2000, 0.005, rng)
    fan_out = np.bincount(indices, minlength=2000)
    he = sparse_he_normal(indptr, rng=rng, dtype=np.float64)
    glorot = sparse_glorot_uniform(indptr, indices, 2000, rng=rng, dtype=np.float64)
    dy = rng.standard_normal((2000, 50))
    few, many = fan_out <= 5, fan_out >= 15
    ratio, spread = {}, {}
    for name, values in (("he", he), ("glorot", glorot)):
        dx = csr_array((values, indices, indptr), (2000, 2000)).T @ dy
        square = (dx**2).mean(axis=1)
        ratio[name] = square[many].mean() / square[few].mean()
        spread[name] = square.std() / square.mean()
    outputs = fan_out[many].mean() / fan_out[few].mean()
    assert outputs > 3
    assert ratio["he"] == pytest.approx(outputs, rel=0.15)  # as many times the outputs
    assert ratio["glorot"] < 0.75 * ratio["he"]  # halfway, not equal
    assert ratio["glorot"] > 1.5
    assert spread["glorot"] < 0.75 * spread["he"]


def test_an_input_without_outputs_gets_no_gradient_and_a_neuron_without_inputs_no_signal():
    values = sparse_he_normal(INDPTR, rng=np.random.default_rng(0), dtype=np.float64)
    layer = CSRLinear(csr_array((values, INDICES, INDPTR), (3, 4)), np.array([0.0, 0.0, 7.0]))
    y = layer.forward(np.random.default_rng(1).standard_normal((5, 4)))
    np.testing.assert_array_equal(y[:, 2], np.full(5, 7.0))
    dx = CSRLinear(layer.weight[1:2])
    dx.forward(np.ones((1, 4)))
    np.testing.assert_array_equal(dx.backward(np.ones((1, 1)))[0] != 0, [0, 0, 1, 0])


@pytest.mark.parametrize("k", [1, 2, 4])
def test_pitfall_few_inputs_and_a_neuron_is_born_silent(rng, k):
    # Inputs are not negative: all k weights negative, and no input can wake it. That is 2^-k.
    indptr = np.arange(4001) * k
    values = sparse_he_normal(indptr, rng=rng, dtype=np.float64).reshape(4000, k)
    silent = (values < 0).all(axis=1)
    assert silent.mean() == pytest.approx(2.0**-k, abs=3 * np.sqrt(2.0**-k / 4000))
    x = np.abs(rng.standard_normal((300, k)))
    y = np.maximum(x @ values.T, 0)
    assert (y[:, silent] == 0).all()
    assert (y[:, ~silent] > 0).any(axis=0).mean() > 0.95
    # The mean square is right all the same, and is carried by the others.
    assert np.mean(y**2) / np.mean(x**2) == pytest.approx(1, abs=0.1)


def test_noise_falls_with_the_fan_in(rng):
    # Of centred inputs a neuron's mean square varies by √(2 / fan_in) of itself.
    for k in (1, 4, 16, 64):
        values = sparse_he_normal(np.arange(5001) * k, rng=rng, dtype=np.float64).reshape(5000, k)
        square = (values**2).sum(axis=1)  # E[y²] over inputs of mean square 1, uncorrelated
        assert square.mean() == pytest.approx(2, rel=0.06)
        assert square.std() / square.mean() == pytest.approx(np.sqrt(2 / k), rel=0.1)


def test_pitfall_one_scale_for_the_layer_keeps_its_mean_and_not_its_neurons(rng):
    # Half of the neurons have 2 inputs, half have 18: ten on average.
    fan_in = np.tile([2, 18], 500)
    indptr = np.concatenate([[0], np.cumsum(fan_in)])
    indices = np.concatenate([rng.choice(200, k, replace=False) for k in fan_in])
    x = rng.standard_normal((200, 300))
    real = sparse_he_normal(indptr, rng=rng, dtype=np.float64)
    one = rng.standard_normal(len(indices)) * np.sqrt(2 / fan_in.mean())
    for values, loud in ((real, 1), (one, 9)):
        y = csr_array((values, indices, indptr), (1000, 200)) @ x
        square = (y**2).mean(axis=1)
        assert square.mean() == pytest.approx(2, rel=0.1)
        assert square[1::2].mean() / square[::2].mean() == pytest.approx(loud, rel=0.15)


def after_training(depth, epochs, seed, real):
    """Test accuracies after so many epochs, and then so many more; and the last loss."""
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    sizes = [64, *[200] * depth, 10]
    counts = [round(0.1 * a * b) for a, b in pairwise(sizes)]
    network = mlp_of_counts(sizes, counts, rng=rng)
    for layer in network.layers[::2] if not real else []:
        fan_in = np.diff(layer.weight.indptr)
        layer.params["weight"] *= np.repeat(np.sqrt(fan_in / layer.weight.shape[1]), fan_in)
    optimizer = Momentum(network, learning_rate=0.05)
    read = []
    for more in epochs:
        history = train(network, optimizer, x, labels, epochs=more, batch_size=64, rng=rng)
        read.append(accuracy(network, x_test, labels_test))
    return np.array(read), history[-1].loss


def test_claim_the_dense_rule_stops_training():
    # It would hold if the dense rule ended behind. Within 0.05 of accuracy counts as level: over
    # eight seeds it is 0.007 to 0.04 behind, and on another BLAS not quite the same.
    for seed in range(3):
        read, loss = after_training(5, [5], seed, real=False)  # five hidden layers: has not begun
        assert read[0] < 0.3
        assert abs(loss - np.log(10)) < 0.01
        assert after_training(5, [5], seed, real=True)[0][0] > 0.85
        # Two hidden layers: far behind after five epochs, level after twenty. Late, not lost.
        (real, _), (dense, _) = (after_training(2, [5, 15], seed, real) for real in (True, False))
        early, late = real - dense
        assert early > 0.2
        assert abs(late) < 0.05


def test_bad_input(rng):
    state = rng.bit_generator.state

    def both(match, error, indptr=INDPTR, **settings):
        with pytest.raises(error, match=match):
            sparse_he_normal(indptr, rng=rng, **settings)
        with pytest.raises(error, match=match):
            sparse_glorot_uniform(indptr, INDICES, 4, rng=rng, **settings)

    for dtype in (np.int64, np.float16, np.longdouble):
        both("dtype must be float32 or float64, got", TypeError, dtype=dtype)
    both("indptr must be integers, got float64", TypeError, INDPTR.astype(float))
    for indptr in ([], [0], [1, 5], [0, 4, 3, 5], [[0, 5]]):
        both("indptr must be", ValueError, np.array(indptr, np.int64))
    with pytest.raises(TypeError, match="indices must be integers, got float64"):
        sparse_glorot_uniform(INDPTR, INDICES.astype(float), 4, rng=rng)
    for indices in (INDICES[:4], np.append(INDICES, 1), INDICES[None]):
        with pytest.raises(ValueError, match=r"indices must be \(5,\), got"):
            sparse_glorot_uniform(INDPTR, indices, 4, rng=rng)
    with pytest.raises(ValueError, match="indices must be 0 to 2, got 0 to 3"):
        sparse_glorot_uniform(INDPTR, INDICES, 3, rng=rng)
    with pytest.raises(ValueError, match="indices must be 0 to 3, got -1 to 2"):
        sparse_glorot_uniform(INDPTR, INDICES - 1, 4, rng=rng)
    with pytest.raises(ValueError, match="n_in must be at least 1, got 0"):
        sparse_glorot_uniform(np.array([0, 0]), INDICES[:0], 0, rng=rng)
    assert rng.bit_generator.state == state
