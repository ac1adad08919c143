from copy import deepcopy
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.learning_rate_finder import Sweep, smoothed, sweep_rates
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches
from lexicon.training.training_loop import accuracy, train

RATES = np.array([0.001, 0.01, 0.1, 1.0, 10.0])  # the page's
LOSSES = np.array([2.3, 2.2, 1.2, 0.9, 5.0])


def heavy_ball(network):
    return Momentum(network, learning_rate=1.0)


def plain(network):
    return StochasticGradientDescent(network, learning_rate=1.0)


def setting(seed, hidden=4):
    rng = np.random.default_rng(seed)
    data = stratified_split(*load_digits(), rng=rng)
    return data, mlp([64, *[32] * hidden, 10], rng=rng), rng


def swept(network, data, rng, make=heavy_ball, **settings):
    x, labels, _, _ = data
    return sweep_rates(network, make, x, labels, **{"batch_size": 32, "rng": rng, **settings})


def reached(rate, network, data, rng):
    x, labels, x_test, labels_test = data
    trained = deepcopy(network)
    optimizer = Momentum(trained, learning_rate=rate)
    train(trained, optimizer, x, labels, epochs=4, batch_size=32, rng=rng)
    return accuracy(trained, x_test, labels_test)


@cache
def ordinary(seed):
    data, network, rng = setting(seed)
    return swept(network, data, rng)


def test_by_hand_five_rates():
    sweep = Sweep(RATES, LOSSES, LOSSES, window=1)
    assert sweep.suggestion == 0.1
    assert sweep.minimum == 1.0
    falls = LOSSES[:-2] - LOSSES[2:]
    np.testing.assert_allclose(falls, [1.1, 1.3, -3.8])


def test_by_hand_three_losses_smoothed():
    uncorrected = lfilter([0.5], [1, -0.5], [4.0, 2.0, 1.0])
    np.testing.assert_array_equal(uncorrected, [2, 2, 1.5])
    np.testing.assert_allclose(smoothed(np.array([4.0, 2.0, 1.0]), 0.5), [4, 8 / 3, 12 / 7])
    np.testing.assert_allclose([8 / 3, 12 / 7], [2.67, 1.71], atol=0.005)  # the page's digits


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 0.99))
def test_smoothing_is_scipys_filter_over_the_sum_of_its_shares(values, smoothing):
    t = np.arange(1, len(values) + 1)
    expected = lfilter([1 - smoothing], [1, -smoothing], values) / (1 - smoothing**t)
    np.testing.assert_allclose(smoothed(np.array(values), smoothing), expected, atol=1e-9)


@given(st.floats(-5, 5), st.floats(0, 0.99))
def test_a_constant_stays_and_no_smoothing_changes_nothing(level, smoothing):
    np.testing.assert_allclose(smoothed(np.full(30, level), smoothing), level, atol=1e-10)
    values = np.array([3.0, level, 1.0])
    np.testing.assert_array_equal(smoothed(values, 0.0), values)


def test_the_delay_of_the_smoothed_loss():
    line = smoothed(np.arange(1000.0), 0.95)
    np.testing.assert_allclose(np.arange(1000)[-100:] - line[-100:], 19)
    factor = np.geomspace(1e-5, 10, 200)[19] / 1e-5
    assert factor == pytest.approx(3.7, abs=0.05)


@given(st.integers(1, 12), st.integers(0, 30))
def test_the_suggestion_is_the_middle_of_the_steepest_part(window, seed):
    rng = np.random.default_rng(seed)
    losses = np.cumsum(rng.uniform(-1, 0.2, 80)) + 100
    losses[60:] += 5.0 * np.arange(20)
    rates = np.geomspace(1e-4, 1, 80)
    sweep = Sweep(rates, losses, losses, window)
    half, lowest = max(window // 2, 1), window + np.argmin(losses[window:])
    falls = {t: losses[t - half] - losses[t + half] for t in range(window, lowest + 1)}
    assert sweep.suggestion == rates[max(falls, key=falls.get)]
    assert sweep.minimum == rates[lowest]


def test_the_first_losses_and_those_after_the_lowest_do_not_count():
    losses = np.array([9.0, 1.0, 3.0, 3.0, 2.9, 2.5, 2.3, 2.2, 2.4, 8.0])
    rates = np.geomspace(1e-5, 1, 10)
    sweep = Sweep(rates, losses, losses, window=2)
    assert sweep.suggestion == rates[5]  # falls by 0.6, not by 9 - 3
    assert sweep.minimum == rates[7]  # 2.2, not 1
    losses = np.array([2.5, 2.4, 2.0, 3.0, 1.0, 1.1, 9.0])  # steepest around the lowest itself
    sweep = Sweep(rates[:7], losses, losses, window=1)
    assert sweep.suggestion == sweep.minimum == rates[4]
    # Before the explosion, not in the way down from it.
    losses = np.array([3.0, 3.0, 2.9, 2.5, 2.0, 9.0, 3.5, 2.2])
    sweep = Sweep(rates[:8], losses, losses, window=1)
    assert sweep.minimum == rates[4]
    assert sweep.suggestion == rates[3]


def test_the_sweep_is_a_training_with_rising_rates():
    data, network, _ = setting(0, hidden=1)
    x, labels, _, _ = data
    sweep = swept(network, data, np.random.default_rng(5), steps=60, lowest=1e-3, highest=0.1)
    copy, criterion, losses = deepcopy(network), CrossEntropy(), []
    optimizer, rng = Momentum(copy, learning_rate=1.0), np.random.default_rng(5)
    batches = [batch for _ in range(3) for batch in minibatches(len(x), 32, rng=rng)][:61]
    for t, batch in enumerate(batches):
        losses.append(criterion.forward(copy.forward(x[batch]), labels[batch]))
        copy.backward(criterion.backward())
        if t < 60:
            optimizer.learning_rate = 1e-3 * 100 ** (t / 59)
            optimizer.step()
    np.testing.assert_allclose(sweep.rates, 1e-3 * 100 ** (np.arange(60) / 59))
    np.testing.assert_allclose(sweep.raw, losses[1:], rtol=1e-4)  # after each step
    np.testing.assert_array_equal(sweep.losses, smoothed(sweep.raw, 0.95))
    assert sweep.window == 20


def test_the_run_stops_when_the_loss_has_risen_to_four_times_its_lowest():
    for seed in range(2):
        data, network, rng = setting(seed)
        sweep = swept(network, data, rng, highest=100.0)
        assert len(sweep.rates) == len(sweep.raw) == len(sweep.losses) < 200
        lowest = np.minimum.accumulate(sweep.losses)
        assert (sweep.losses[:-1] <= 4 * lowest[:-1]).all()
        assert np.isfinite(sweep.raw).all()
        assert sweep.losses[-1] > 4 * lowest[-1]  # the step that ended it is shown


def test_the_run_stops_when_a_loss_is_not_finite():
    data, network, rng = setting(0)
    sweep = swept(network, data, rng, lowest=1.0, highest=1e30, steps=30)
    assert len(sweep.rates) == len(sweep.raw) < 30
    assert np.isfinite(sweep.raw).all()
    with pytest.raises(ValueError, match="exploded at once: sweep from a lower rate"):
        _ = sweep.suggestion
    with pytest.raises(ValueError, match="exploded at once"):
        _ = sweep.minimum


def test_logits_that_are_finite_but_too_far_apart_stop_it_too():
    class Far:
        params, grads = {}, {}
        calls = 0

        def forward(self, x):
            self.calls += 1
            return np.tile(np.float32([3e38, -3e38] if self.calls > 4 else [0, 0]), (len(x), 1))

        def backward(self, dy):
            return dy

    optimizer = SimpleNamespace(learning_rate=1.0, step=lambda: None)
    sweep = sweep_rates(
        Far(),
        lambda copy: optimizer,
        np.zeros((4, 1)),
        np.ones(4, int),
        batch_size=2,
        rng=np.random.default_rng(0),
    )
    np.testing.assert_allclose(sweep.raw, np.full(3, np.log(2)))


def test_nothing_of_yours_is_changed_and_the_seed_decides():
    data, network, _ = setting(3)
    kept = {name: theta.copy() for name, theta in network.params.items()}
    handed = [array.copy() for array in data]
    optimizers = []

    def make(copy):
        optimizers.append(Momentum(copy, learning_rate=1.0))
        return optimizers[-1]

    first, again, other = (
        swept(network, data, np.random.default_rng(seed), make, steps=40) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.raw, again.raw)
    assert first.raw[0] != other.raw[0]
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, kept[name])
    assert network.grads == {}
    for array, copy in zip(data, handed, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert len(optimizers) == 3
    for optimizer in optimizers:
        assert optimizer.network is not network
        assert (optimizer.network.params["0.weight"] != kept["0.weight"]).any()


def test_a_csr_network_is_swept_and_can_be_rewired_and_trained_afterwards():
    data, _, rng = setting(0)
    x, labels, x_test, labels_test = data
    network = sparse_mlp([64, 64, 10], density=0.2, rng=rng)
    kept = network.params["0.weight"].copy()
    copies = []

    def make(copy):
        copies.append(copy)
        return heavy_ball(copy)

    sweep = swept(network, data, rng, make)
    np.testing.assert_array_equal(network.params["0.weight"], kept)
    layer = copies[0].layers[0]
    assert layer.params["weight"] is layer.weight.data  # the copy is a whole CSR layer
    assert not np.shares_memory(layer.weight.data, network.layers[0].weight.data)
    optimizer = Momentum(network, learning_rate=sweep.suggestion)
    train(
        network,
        optimizer,
        x,
        labels,
        epochs=4,
        batch_size=32,
        rng=rng,
        after_epoch=lambda _: rewire_network(network, optimizer, fraction=0.1, rng=rng),
    )
    assert accuracy(network, x_test, labels_test) > 0.85


def test_ids_are_swept_too():
    rng = np.random.default_rng(0)
    ids = rng.integers(6, size=200)
    table = Embedding(rng.standard_normal((6, 3), dtype=np.float32), sparse=True)
    network = Sequential([table, Linear(np.zeros((3, 3), np.float32))])
    sweep = sweep_rates(network, plain, ids, ids % 3, batch_size=20, rng=rng, highest=1e3)
    assert 0.01 < sweep.suggestion < sweep.minimum


def test_the_suggestion_and_the_minimum_over_ten_seeds():
    results, dead = {}, 0
    for seed in range(10, 20):
        data, network, rng = setting(seed)
        copies = []
        sweep = swept(
            network, data, rng, lambda copy, copies=copies: copies.append(copy) or heavy_ball(copy)
        )
        hidden = data[0]
        for layer in copies[0].layers[:-1]:
            hidden = layer.forward(hidden)
        dead += len(sweep.rates) == 200 and not hidden.any()
        rates = sweep.suggestion, sweep.minimum, sweep.minimum / 10
        results[seed] = [reached(rate, network, data, rng) for rate in rates]
        if seed == 16:
            third = reached(sweep.suggestion / 3, network, data, rng)
    assert dead > 2  # no explosion: the last hidden layer says nothing at all
    suggestion, minimum, tenth = np.array([*results.values()]).T
    assert (suggestion >= 0.85).sum() >= 8
    assert results[16][0] < 0.6  # the one that was too high
    assert third >= 0.85
    assert (minimum < 0.6).sum() >= 8
    assert (tenth >= 0.85).all()
    assert suggestion.mean() > minimum.mean() + 0.2


def test_pitfall_a_slow_sweep_suggests_lower_rates_and_its_minimum_is_no_longer_bad():
    for seed in range(10, 12):
        short = ordinary(seed)
        data, network, rng = setting(seed)
        long = swept(network, data, rng, steps=800)
        assert 2 < short.suggestion / long.suggestion < 7
        assert short.minimum / long.minimum > 2
        rates = long.suggestion, long.minimum
        suggestion, minimum = (reached(rate, network, data, rng) for rate in rates)
        assert minimum > suggestion


def test_pitfall_the_optimiser_and_the_depth_matter():
    for seed in range(10, 12):
        deep = ordinary(seed)
        data, network, rng = setting(seed)
        assert swept(network, data, rng, plain).suggestion > 1.5 * deep.suggestion
        data, network, rng = setting(seed, hidden=1)
        shallow = swept(network, data, rng)
        assert shallow.suggestion > 1.5 * deep.suggestion
        assert shallow.minimum > 1.5 * deep.minimum
        assert reached(shallow.suggestion, network, data, rng) > 0.9


def test_pitfall_the_swept_copy_is_destroyed():
    data, network, rng = setting(10)
    copies = []

    def make(copy):
        copies.append(copy)
        return heavy_ball(copy)

    sweep = swept(network, data, rng, make)
    assert accuracy(copies[0], *data[2:]) < 0.3
    assert sweep.losses[-1] > 1.5 * sweep.losses.min()


def test_a_loss_that_falls_nowhere_has_no_suggestion():
    flat = Sweep(RATES, LOSSES, np.array([1.0, 1.0, 1.1, 1.2, 1.3]), window=1)
    with pytest.raises(ValueError, match="the loss falls nowhere"):
        _ = flat.suggestion
    assert flat.minimum == 0.01


def test_noise_alone_has_a_suggestion_too():
    data, network, rng = setting(0)
    sweep = swept(network, data, rng, lowest=1e-9, highest=1e-8)
    assert 1e-9 < sweep.suggestion < 1e-8  # at which nothing can be learned
    assert sweep.losses.min() > 0.9 * sweep.losses[20]


def test_bad_input_draws_nothing():
    data, network, rng = setting(0, hidden=1)
    x, labels, _, _ = data
    state = rng.bit_generator.state
    for lowest, highest in (0.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, np.inf):
        with pytest.raises(ValueError, match="lowest must be above 0 and below highest, got"):
            swept(network, data, rng, lowest=lowest, highest=highest)
    for steps in (1, 0, -3):
        with pytest.raises(ValueError, match="steps must be 2 or more, got"):
            swept(network, data, rng, steps=steps)
    for bad in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got"):
            swept(network, data, rng, smoothing=bad)
        with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got"):
            smoothed(LOSSES, bad)
    for bad in (0, len(x) + 1):
        with pytest.raises(ValueError, match="batch_size must be 1 to"):
            swept(network, data, rng, batch_size=bad)
    with pytest.raises(ValueError, match=rf"labels must be \({len(x)},\), got"):
        swept(network, (x, labels[1:], None, None), rng)
    broken = x.copy()
    broken[3, 4] = np.nan
    with pytest.raises(ValueError, match="x must be finite"):
        swept(network, (broken, labels, None, None), rng)
    assert rng.bit_generator.state == state
    network.params["0.weight"][0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="the network returned logits that are not finite"):
        swept(network, data, rng)
