from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import lfilter
from scipy.sparse import csr_array

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, evaluating
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_averaging import ExponentialMovingAverage, StochasticWeightAveraging

whole = st.integers(-9, 9).map(float)
paths = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=whole)


def averages(kind, path, **settings):
    """Walk along a path, averaging, and return the average after each point."""
    model = SimpleNamespace(params={"theta": np.full_like(path[0], 99.0)}, grads={})
    keeper, seen = kind(model, **settings), []
    for point in path:
        model.params["theta"][:] = point
        keeper.update()
        seen.append(keeper.average.params["theta"].copy())
    return np.array(seen)


def test_by_hand():
    path = np.array([[4.0], [2.0], [3.0], [1.0]])
    plain = averages(StochasticWeightAveraging, path)[:, 0]
    np.testing.assert_allclose(plain, [4, 3, 3, 2.5], rtol=1e-15)
    fading = averages(ExponentialMovingAverage, path, decay=0.5)[:, 0]
    np.testing.assert_allclose(fading, [4, 8 / 3, 20 / 7, 28 / 15], rtol=1e-15)
    np.testing.assert_allclose(fading, [4, 2.667, 2.857, 1.867], atol=5e-4)  # the page's digits
    # Without the correction, begun at 0: half, a quarter and so on of nothing in it.
    np.testing.assert_allclose(lfilter([0.5], [1, -0.5], path[:, 0]), [2, 2, 2.5, 1.75])


@settings(max_examples=15)
@given(paths)
def test_the_plain_mean_is_the_mean(path):
    t = np.arange(1, len(path) + 1)[:, None]
    expected = path.cumsum(axis=0) / t
    np.testing.assert_allclose(
        averages(StochasticWeightAveraging, path), expected, rtol=1e-12, atol=1e-12
    )


@settings(max_examples=15)
@given(paths, st.floats(0, 0.99))
def test_the_fading_mean_is_scipys_filter_over_the_sum_of_its_shares(path, decay):
    t = np.arange(1, len(path) + 1)[:, None]
    filtered = lfilter([1 - decay], [1, -decay], path, axis=0)  # starts at 0
    expected = filtered / (1 - decay**t)
    np.testing.assert_allclose(
        averages(ExponentialMovingAverage, path, decay=decay), expected, rtol=1e-9, atol=1e-9
    )


def test_without_the_correction_the_first_weights_would_stay_for_long():
    assert 1 / 3 < 0.999**1000 < 0.37
    path = np.concatenate([[[0.0]], np.ones((1000, 1))])
    assert averages(ExponentialMovingAverage, path, decay=0.999)[-1, 0] > 0.99


@settings(max_examples=15)
@given(paths)
def test_limits_of_the_fading_mean(path):
    np.testing.assert_array_equal(averages(ExponentialMovingAverage, path, decay=0.0), path)
    np.testing.assert_allclose(
        averages(ExponentialMovingAverage, path, decay=1 - 1e-9),
        averages(StochasticWeightAveraging, path),
        atol=1e-5,
    )


@settings(max_examples=15)
@given(whole, st.integers(1, 20), st.floats(0, 0.999))
def test_of_a_constant_a_constant(value, steps, decay):
    path = np.full((steps, 1), value)
    np.testing.assert_array_equal(averages(StochasticWeightAveraging, path), path)
    np.testing.assert_array_equal(averages(ExponentialMovingAverage, path, decay=decay), path)


def test_before_the_first_update_it_is_a_copy():
    network = Linear(np.ones((2, 3), np.float32))
    keeper = StochasticWeightAveraging(network)
    network.params["weight"] += 1
    assert keeper.average is not network
    np.testing.assert_array_equal(keeper.average.params["weight"], np.ones((2, 3)))
    assert keeper.updates == 0
    keeper.update()
    assert keeper.updates == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_place_of_the_same_type_and_never_touching_the_network(rng, dtype):
    network = Sequential([Linear(rng.standard_normal((2, 3)).astype(dtype)), Activation(relu)])
    keeper = ExponentialMovingAverage(network, decay=0.9)
    arrays_of = dict(keeper.average.params)
    before = {name: theta.copy() for name, theta in network.params.items()}
    for _ in range(3):
        keeper.update()
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])
        assert keeper.average.params[name] is arrays_of[name]
        assert arrays_of[name].dtype == dtype
        assert not np.shares_memory(arrays_of[name], theta)


def test_the_first_point_leaves_nothing_of_what_was_there_before():
    model = SimpleNamespace(params={"theta": np.array([1e8], np.float32)}, grads={})
    keeper = StochasticWeightAveraging(model)
    model.params["theta"][:] = 0.3
    keeper.update()
    assert keeper.average.params["theta"][0] == np.float32(0.3)


# Weights or outputs.


def test_a_linear_layers_mean_weights_give_the_mean_output(rng):
    layer, x = Linear(np.zeros((2, 3))), rng.standard_normal((5, 3))
    keeper, outputs = StochasticWeightAveraging(layer), []
    for _ in range(7):
        for theta in layer.params.values():
            theta[:] = rng.standard_normal(theta.shape)
        keeper.update()
        outputs.append(layer.forward(x))
    np.testing.assert_allclose(keeper.average.forward(x), np.mean(outputs, axis=0), atol=1e-12)


def chain(first, second):
    return Sequential([Linear(np.array([[first]])), Activation(relu), Linear(np.array([[second]]))])


def test_a_deep_networks_mean_weights_do_not():
    # The page's: two networks that compute the same, 4x, and whose mean computes 6.25x.
    x, one, other = np.array([[1.0], [2.0]]), chain(1.0, 4.0), chain(4.0, 1.0)
    np.testing.assert_array_equal(one.forward(x), [[4], [8]])
    np.testing.assert_array_equal(other.forward(x), [[4], [8]])
    keeper = StochasticWeightAveraging(one)
    keeper.update()
    for name, theta in one.params.items():
        theta[:] = other.params[name]
    keeper.update()
    np.testing.assert_array_equal(keeper.average.forward(x), [[6.25], [12.5]])


# Why it works: a noisy parabola.

RATE, CURVATURE = 0.1, 2.0  # ηκ = 0.2


def jitter(rng, steps, rate, keepers=(), balls=1000, settle=200):
    model = SimpleNamespace(params={"theta": np.zeros(balls)}, grads={})
    optimizer = GradientDescent(model, learning_rate=rate)
    made = []
    for step in range(settle + steps):
        if step == settle:
            made = [make(model) for make in keepers]
        model.grads["theta"] = CURVATURE * model.params["theta"] + rng.standard_normal(balls)
        optimizer.step()
        for keeper in made:
            keeper.update()
    return model.params["theta"], [keeper.average.params["theta"] for keeper in made]


def stationary(rate):
    return rate / (CURVATURE * (2 - rate * CURVATURE))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_the_jitter_grows_with_the_rate_and_its_mean_does_not(rng, rate):
    # The page's step 2 and 4, σ = 1: q = η / (κ (2 - ηκ)), and 1 / (κ² n) without η.
    n = 200
    last, (mean,) = jitter(rng, n, rate, [StochasticWeightAveraging])
    assert last.var() == pytest.approx(stationary(rate), rel=0.12)
    assert mean.var() == pytest.approx(1 / (CURVATURE**2 * n), rel=0.15)
    # Exactly, neighbours being alike by r = 1 - ηκ: a sum over all pairs of points.
    r = 1 - rate * CURVATURE
    t = np.arange(n)
    exact = stationary(rate) * (r ** np.abs(t[:, None] - t)).mean()
    assert exact == pytest.approx(1 / (CURVATURE**2 * n), rel=0.1)
    assert mean.var() == pytest.approx(exact, rel=0.12)


def test_the_fading_mean_stops_at_a_variance_of_its_own(rng):
    # The variance of an AR(1) process behind the filter: α/(1 + β) · (1 + βr)/(1 - βr).
    decay, r = 0.9, 1 - RATE * CURVATURE
    expected = stationary(RATE) * (1 - decay) / (1 + decay) * (1 + decay * r) / (1 - decay * r)
    _, (fading,) = jitter(rng, 150, RATE, [lambda m: ExponentialMovingAverage(m, decay=decay)])
    assert fading.var() == pytest.approx(expected, rel=0.12)
    assert expected < stationary(RATE) / 2


def test_the_identity_behind_it(rng):
    # Step 3 of the page, exact on any path: mean θ = -mean ξ / κ - (θₙ - θ₀) / (ηκn).
    n, noise = 30, rng.standard_normal(30)
    theta = np.empty(n + 1)
    theta[0] = 1.0
    for t in range(n):
        theta[t + 1] = theta[t] - RATE * (CURVATURE * theta[t] + noise[t])
    left = theta[:n].mean()
    right = -noise.mean() / CURVATURE - (theta[n] - theta[0]) / (RATE * CURVATURE * n)
    assert left == pytest.approx(right, rel=1e-10)


# Sparse layers.


def test_follows_connections_that_move(rng):
    network = sparse_mlp([6, 5, 4], density=0.5, rng=rng, dtype=np.float64)
    optimizer = Momentum(network, learning_rate=0.1)
    keeper = StochasticWeightAveraging(network)
    dense, present = [], []
    for _ in range(4):
        for theta in network.params.values():
            theta[:] = rng.standard_normal(theta.shape)
        keeper.update()
        weight = network.layers[0].weight
        dense.append(weight.toarray())
        present.append(np.isin(np.arange(30), network.layers[0].positions).reshape(5, 6))
        rewire_network(network, optimizer, fraction=0.3, rng=rng)
    keeper.update()
    dense.append(network.layers[0].weight.toarray())
    present.append(np.isin(np.arange(30), network.layers[0].positions).reshape(5, 6))
    layer, present = keeper.average.layers[0], np.array(present)
    assert (present[0] != present[-1]).any()
    np.testing.assert_array_equal(layer.positions, network.layers[0].positions)
    assert layer.params["weight"] is layer.weight.data
    # What came once and stayed: the mean with zeros for the time when it was not there.
    returned = (np.diff(present.astype(int), axis=0) == 1).sum(axis=0) > (~present[0])
    stayed = present[-1] & ~returned
    assert (stayed & ~present[0]).any()
    assert (stayed & present[0]).any()
    mean = np.mean(dense, axis=0)
    np.testing.assert_allclose(layer.weight.toarray()[stayed], mean[stayed], rtol=1e-12)
    assert (layer.weight.toarray()[~present[-1]] == 0).all()
    x = rng.standard_normal((3, 6))
    keeper.average.backward(keeper.average.forward(x))  # a network in working order


def test_by_hand_a_connection_that_leaves_and_comes_back_starts_anew():
    # One connection alternates between two places; the mean of the dense path would be 1 and 2.
    layer = CSRLinear(csr_array(np.array([[3.0, 0.0]])))
    keeper, seen = StochasticWeightAveraging(layer), []
    for place, value in (0, 3.0), (1, 6.0), (0, 6.0), (0, 2.0):
        layer.reconnect(np.array([place]))
        layer.params["weight"][:] = value
        keeper.update()
        seen.append(keeper.average.weight.toarray()[0])
    # 3; then 6 and one 0; then 6 and two; and what stays goes on: 2 + (2 - 2) / 4.
    np.testing.assert_allclose(seen, [[3, 0], [0, 3], [2, 0], [2, 0]], rtol=1e-15)


def test_a_sparse_average_works_while_training_rewires(rng):
    x, labels, apart, answers = stratified_split(*load_digits(), rng=rng)
    network = sparse_mlp([64, 32, 10], density=0.3, rng=rng)
    optimizer = Momentum(network, learning_rate=0.1)
    keeper = ExponentialMovingAverage(network, decay=0.5)

    def after_epoch(epoch):
        keeper.update()
        rewire_network(network, optimizer, fraction=0.1, rng=rng)

    train(network, optimizer, x, labels, epochs=8, batch_size=32, rng=rng, after_epoch=after_epoch)
    keeper.update()
    assert accuracy(keeper.average, apart, answers) > 0.9


# What the page measures on digits.


@cache
def run(seed):
    rng = np.random.default_rng(seed)
    x, labels, apart, answers = stratified_split(*load_digits(), rng=rng, test_fraction=0.5)
    network = mlp([64, 32, 10], rng=rng)
    settings = {"batch_size": 16}

    def fit(network, epochs, rng, **more):
        optimizer = StochasticGradientDescent(network, learning_rate=0.3)
        return train(network, optimizer, x, labels, epochs=epochs, rng=rng, **settings, **more)

    fit(network, 5, rng)
    lowered, same_rng = deepcopy(network), deepcopy(rng)
    swa = StochasticWeightAveraging(network)
    ema = ExponentialMovingAverage(network, decay=0.98)

    def schedule(step):
        if step:
            swa.update()
            ema.update()
        return 0.3

    fit(network, 5, rng, schedule=schedule)
    steps = -(-len(x) // 16)
    # The same noise, but the rate falls to 0 in a straight line over the last epoch.
    fit(lowered, 5, same_rng, schedule=lambda step: 0.3 * min(1, (5 * steps - step) / steps))

    def loss(network):
        return CrossEntropy().forward(network.forward(apart), answers)

    return {
        "last": loss(network),
        "ema": loss(ema.average),
        "swa": loss(swa.average),
        "lowered": loss(lowered),
    }


def test_on_digits_the_fading_mean_beats_the_last_point_and_ties_with_a_falling_rate():
    runs = [run(seed) for seed in range(6)]
    assert all(r["ema"] < r["last"] for r in runs)
    assert np.median([r["ema"] / r["last"] for r in runs]) < 0.95
    mean = {name: np.mean([r[name] for r in runs]) for name in runs[0]}
    assert mean["lowered"] == pytest.approx(mean["ema"], rel=0.03)
    assert mean["swa"] > 1.02 * mean["ema"]
    # One run happened to end on a bad point.
    assert max(r["last"] for r in runs) > 4 * max(r["ema"] for r in runs)


def permuted(network, order):
    other = deepcopy(network)
    params = other.params
    params["0.weight"][:] = params["0.weight"][order]
    params["0.bias"][:] = params["0.bias"][order]
    params["2.weight"][:] = params["2.weight"][:, order]
    return other


def midpoint(one, other):
    mixed = deepcopy(one)
    for name, theta in mixed.params.items():
        theta[:] = (theta + other.params[name]) / 2
    return mixed


@pytest.mark.parametrize("seed", range(3))
def test_pitfall_the_mean_of_strangers(seed):
    rng = np.random.default_rng(seed)
    x, labels, apart, answers = stratified_split(*load_digits(), rng=rng)
    one, other = (mlp([64, 32, 10], rng=rng) for _ in range(2))
    for network in (one, other):
        train(network, Momentum(network, learning_rate=0.05), x, labels, epochs=8, batch_size=32,
              rng=rng)  # fmt: skip
    alone = [accuracy(network, apart, answers) for network in (one, other)]
    assert min(alone) > 0.93
    assert accuracy(midpoint(one, other), apart, answers) < min(alone) - 0.04
    # The same network with its hidden neurons in another order, and the mean of the two.
    twin = permuted(one, np.roll(np.arange(32), 1))
    np.testing.assert_allclose(twin.forward(apart), one.forward(apart), atol=1e-4)
    assert accuracy(midpoint(one, twin), apart, answers) < alone[0] - 0.04
    # Points of one path are no strangers.
    later = deepcopy(one)
    train(later, Momentum(later, learning_rate=0.05), x, labels, epochs=4, batch_size=32, rng=rng)
    assert accuracy(midpoint(one, later), apart, answers) > alone[0] - 0.01


@pytest.mark.parametrize("seed", range(3))
def test_pitfall_running_statistics_are_those_of_another_network(seed):
    rng = np.random.default_rng(seed)
    x, labels, apart, answers = stratified_split(*load_digits(), rng=rng)
    plain = mlp([64, 32, 10], rng=rng)
    network = Sequential([plain.layers[0], BatchNorm(32), *plain.layers[1:]])
    keeper = ExponentialMovingAverage(network, decay=0.98)
    optimizer = Momentum(network, learning_rate=0.05)

    def schedule(step):
        if step:
            keeper.update()
        return 0.05

    train(network, optimizer, x, labels, epochs=4, batch_size=32, rng=rng, schedule=schedule)
    average = keeper.average
    np.testing.assert_array_equal(average.layers[1].running_mean, np.zeros(32))  # as copied
    stale = accuracy(average, apart, answers)
    for batch in minibatches(len(x), 32, rng=rng):
        average.forward(x[batch])
    fresh = accuracy(average, apart, answers)
    assert fresh > 0.93
    assert fresh > stale + 0.05
    with evaluating(average):
        assert average.layers[1].training is False


def test_pitfall_begun_too_early():
    # A plain mean from the first step on never forgets; the fading one does.
    path = np.concatenate([np.full((10, 1), 50.0), np.zeros((90, 1))])
    assert averages(StochasticWeightAveraging, path)[-1, 0] == pytest.approx(5.0)
    assert averages(ExponentialMovingAverage, path, decay=0.9)[-1, 0] < 0.01
    assert averages(StochasticWeightAveraging, path[10:])[-1, 0] == 0


def test_bad_decay():
    for bad in (-0.1, 1.0, 2.0, np.nan):
        with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got"):
            ExponentialMovingAverage(Linear(np.zeros((1, 1))), decay=bad)


def test_another_network_than_was_copied_changes_nothing(rng):
    network = mlp([3, 4, 2], rng=rng)
    keeper = StochasticWeightAveraging(network)
    before = {name: theta.copy() for name, theta in keeper.average.params.items()}
    kept = network.layers[2]
    network.layers[2] = Linear(np.ones((5, 4), np.float32))
    with pytest.raises(RuntimeError, match=r"layer '2' had parameters .*\(2, 4\).*has .*\(5, 4\)"):
        keeper.update()
    network.layers[2] = Linear(np.ones((2, 4)))
    with pytest.raises(RuntimeError, match=r"layer '2' had parameters .*float32.*has .*float64"):
        keeper.update()
    network.layers[2] = CSRLinear(csr_array(np.ones((2, 4), np.float32)))
    with pytest.raises(RuntimeError, match=r"network had layers .*Linear.*has .*CSRLinear"):
        keeper.update()
    network.layers[2:] = [kept, Activation(relu)]
    with pytest.raises(RuntimeError, match=r"network had layers .* when copied, has"):
        keeper.update()
    for name, theta in keeper.average.params.items():
        np.testing.assert_array_equal(theta, before[name])
    assert keeper.updates == 0
    network.layers[2:] = [kept]
    keeper.update()


def test_a_sparse_layer_of_another_shape_changes_nothing(rng):
    network = sparse_mlp([6, 5, 4], density=0.5, rng=rng)
    keeper = StochasticWeightAveraging(network)
    positions = keeper.average.layers[0].positions.copy()
    rewire_network(network, Momentum(network, learning_rate=0.1), fraction=0.3, rng=rng)
    index = len(network.layers) - 1
    network.layers[index] = CSRLinear(csr_array(np.ones((4, 7), np.float32)))
    with pytest.raises(RuntimeError, match=rf"layer '{index}' had parameters .*\(4, 5\).*\(4, 7\)"):
        keeper.update()
    np.testing.assert_array_equal(keeper.average.layers[0].positions, positions)
    assert keeper.updates == 0
