import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import lfilter
from scipy.stats import entropy

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.boosting import (
    BoostedKWinners,
    additive_boost,
    effective_neurons,
    multiplicative_boost,
)
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.sparse_vs_dense import paired_difference
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

# Few distinct values, so that ties are the rule and not the exception.
batches = arrays(np.float64, (4, 7), elements=st.integers(-3, 3).map(float))
duties = arrays(np.float64, 7, elements=st.integers(0, 8).map(lambda eighths: eighths / 8))
both = st.sampled_from([multiplicative_boost, additive_boost])


def test_by_hand():
    layer = BoostedKWinners(4, 1, strength=4.0, period=2)
    np.testing.assert_array_equal(layer.duty, [0.25, 0.25, 0.25, 0.25])
    layer.duty = np.array([0.75, 0.25, 0.0, 0.0])
    x, push = np.array([[3.0, 1.0, 1.2, -0.5]]), np.array([-2.0, 0.0, 1.0, 1.0])
    np.testing.assert_allclose(
        multiplicative_boost(x, push), [[0.41, 1.0, 3.26, -1.36]], rtol=0, atol=0.005
    )
    np.testing.assert_allclose(additive_boost(x, push), [[1.0, 1.0, 2.2, 0.5]], rtol=1e-15)
    np.testing.assert_array_equal(layer.forward(x), [[0, 0, 1.2, 0]])  # as it was, not 3.26
    np.testing.assert_array_equal(layer.duty, [0.75, 0.25, 0.0, 0.0])  # forward only looks
    dx = layer.backward(np.array([[10.0, 20.0, 30.0, 40.0]]))
    np.testing.assert_array_equal(dx, [[0, 0, 30.0, 0]])
    np.testing.assert_array_equal(layer.duty, [0.375, 0.125, 0.5, 0.0])
    assert effective_neurons(np.array([2, 2, 0, 0])) == pytest.approx(2)


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((5, 6))
    for boost in (multiplicative_boost, additive_boost):
        layer = BoostedKWinners(6, 3, strength=2.0, boost=boost, period=1e12)
        layer.duty = np.array([1.0, 0.9, 0.6, 0.4, 0.1, 0.0])
        plain = KWinnersTakeAll(3).forward(x)
        assert (layer.forward(x) != plain).any()  # or nothing new would be checked
        assert max(check_layer(layer, x, rng=rng).values()) < 1e-8
        before = Linear(rng.standard_normal((6, 6)), rng.standard_normal(6))
        stack = Sequential([before, layer, Linear(rng.standard_normal((4, 6))), Activation(tanh)])
        assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(batches, duties, st.integers(1, 7), both)
def test_without_strength_or_with_even_duties_it_is_k_wta(x, duty, k, boost):
    weak = BoostedKWinners(7, k, strength=0.0, boost=boost)
    weak.duty = duty
    even = BoostedKWinners(7, k, strength=5.0, boost=boost)
    plain = KWinnersTakeAll(k).forward(x)
    np.testing.assert_array_equal(weak.forward(x), plain)
    np.testing.assert_array_equal(even.forward(x), plain)


@given(batches, duties, st.integers(1, 7), both)
def test_exactly_k_of_the_largest_scores_win_and_pass_unboosted(x, duty, k, boost):
    layer = BoostedKWinners(7, k, strength=3.0, boost=boost)
    layer.duty = duty
    y = layer.forward(x)
    won = layer.backward(np.ones_like(x)) == 1
    assert (won.sum(axis=1) == k).all()
    np.testing.assert_array_equal(y, np.where(won, x, 0))
    u = 3.0 * (k / 7 - duty)
    scores = x * np.exp(u) if boost is multiplicative_boost else x + u
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # NumPy's: largest, then first
    np.testing.assert_array_equal(np.sort(order, axis=1), np.nonzero(won)[1].reshape(4, k))


@given(batches, st.permutations(range(4)), both)
def test_a_batch_moves_the_duties_whatever_its_order(x, order, boost):
    first, second = (BoostedKWinners(7, 2, strength=1.0, boost=boost) for _ in range(2))
    for layer, batch in ((first, x), (second, x[order])):
        layer.forward(batch)
        layer.backward(batch)
    np.testing.assert_allclose(first.duty, second.duty, rtol=0, atol=1e-15)


@given(st.integers(1, 6), st.floats(1, 500))
def test_duties_are_the_moving_average_that_scipy_filters(k, period):
    rng = np.random.default_rng(0)
    layer = BoostedKWinners(6, k, strength=2.0, period=period)
    wins = []
    for x in rng.standard_normal((20, 8, 6)):
        layer.forward(x)
        wins.append((layer.backward(np.ones_like(x))).mean(axis=0))
        assert layer.duty.sum() == pytest.approx(k)
    memory = (1 - 1 / period) ** 8
    start = np.full((1, 6), memory * k / 6)
    filtered, _ = lfilter([1 - memory], [1, -memory], np.array(wins), axis=0, zi=start)
    np.testing.assert_allclose(layer.duty, filtered[-1], rtol=0, atol=1e-12)


def test_the_target_is_zero_push_and_cancels_from_the_choice(rng):
    x, pushes = rng.standard_normal((5, 4)), []
    layer = BoostedKWinners(4, 2, strength=3.0, boost=lambda x, u: pushes.append(u) or x + u)
    layer.duty = np.array([0.5, 1.0, 0.25, 0.25])
    y = layer.forward(x)
    np.testing.assert_allclose(pushes, [[0, -1.5, 0.75, 0.75]], rtol=0, atol=1e-15)
    shifted = BoostedKWinners(4, 2, strength=3.0, boost=lambda x, u: x + u + 0.125)
    shifted.duty = layer.duty
    np.testing.assert_array_equal(shifted.forward(x), y)


def test_the_period_counts_samples_and_not_batches():
    x = np.tile([[3.0, 2.0, 1.0]], (6, 1))
    whole, single = (BoostedKWinners(3, 1, strength=0.0, period=10) for _ in range(2))
    for layer, parts in ((whole, [x]), (single, x[:, None])):
        for part in parts:
            layer.forward(part)
            layer.backward(part)
    np.testing.assert_allclose(whole.duty, single.duty, rtol=1e-14)
    assert whole.duty[0] == pytest.approx(1 - 0.9**6 * 2 / 3)


@given(arrays(np.float64, 6, elements=st.floats(0, 1)), st.floats(0.01, 100))
def test_effective_neurons_against_scipy(wins, scale):
    wins[2] = 0.5  # not all of them 0
    effective = effective_neurons(wins)
    assert effective == pytest.approx(np.exp(entropy(wins)))
    assert effective == pytest.approx(effective_neurons(scale * wins))
    assert 1 - 1e-12 <= effective <= 6 + 1e-12


def test_effective_neurons_at_its_ends():
    assert effective_neurons(np.array([0, 7, 0])) == 1
    assert effective_neurons(np.full(5, 3)) == pytest.approx(5)


def test_the_input_is_not_changed_and_float32_stays(rng):
    x = rng.standard_normal((3, 5), dtype=np.float32)
    kept = x.copy()
    for boost in (multiplicative_boost, additive_boost):
        seen = []
        layer = BoostedKWinners(
            5, 2, strength=1.0, boost=lambda x, u, f=boost, s=seen: s.append(u.dtype) or f(x, u)
        )
        assert layer.forward(x).dtype == np.float32
        assert seen == [np.float32]
        assert layer.backward(np.ones_like(x)).dtype == np.float32
        assert layer.params == layer.grads == {}
        assert layer.duty.dtype == np.float64
        np.testing.assert_array_equal(x, kept)


def trained(seed, boost=additive_boost, strength=0.0, period=1000, fade=False):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    hidden = Linear(he_normal(64, 64, rng=rng))
    layer = BoostedKWinners(64, 5, strength=strength, boost=boost, period=period)
    network = Sequential([hidden, layer, Linear(he_normal(64, 10, rng=rng))])
    fresh = ((KWinnersTakeAll(5).forward(hidden.forward(x))) != 0).sum(axis=0)

    def weaken(epochs):
        layer.strength = strength * (1 - epochs / 10)

    optimizer = Momentum(network, learning_rate=0.05)
    after = weaken if fade else None
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng, after_epoch=after)
    row = [(fresh == 0).sum()]
    for switched in (layer.strength, 0.0):
        layer.strength = switched
        wins = (layer.forward(hidden.forward(x)) != 0).sum(axis=0)
        row += [(wins == 0).sum(), effective_neurons(wins), accuracy(network, x_test, labels_test)]
    return row


def test_claims_on_digits():
    # The thresholds were chosen on seeds 0 to 3; these six were run afterwards. Where they said
    # otherwise, the claim was weakened: see "five of six" and the factor switched off. So it was
    # after ten more, 10 to 19. Counts of dead neurons and signs of differences describe these six.
    def measure(seeds=range(4, 10), **how):
        return np.array([trained(seed, **how) for seed in seeds]).T

    # Rows: dead before training; then dead, effective, accuracy: boost on, then off.
    plain = measure()
    factor = measure(boost=multiplicative_boost, strength=20.0)
    added = measure(strength=50.0)
    assert ((plain[1] >= 26) & (plain[1] <= 43)).all()
    assert (plain[1] > plain[0]).sum() == 5  # five of six: training kills more than it revives
    assert 13.5 < plain[2].mean() < 14.5
    np.testing.assert_array_equal(plain[1:4], plain[4:])
    assert ((factor[1] >= 4) & (factor[1] <= 9)).all()  # fewer, and never none
    assert (added[1] == 0).all()
    assert (added[2] > 56).all()
    # Accuracy against none: a small loss, and a margin of its size.
    for boosted in (added, factor):
        mean, margin = paired_difference(boosted[3], plain[3])
        assert -0.02 < mean < 0
        assert 0.005 < margin < 0.02
    # Switched off: accuracy is lost, and neurons are dead again.
    assert (added[3] > added[6]).all()
    assert (added[3] - added[6]).mean() > 0.05
    assert (factor[3] > factor[6]).all()
    assert (added[4] >= 19).all()
    assert (factor[4] >= 19).all()
    # A short memory is noise: now the boost harms while it is on.
    short = measure(seeds=(4, 5, 6), strength=50.0, period=100)
    assert (short[6] > short[3]).all()
    # Faded out, it leaves fewer dead than none, and the two ways to test agree.
    faded = measure(strength=50.0, period=100, fade=True)
    np.testing.assert_array_equal(faded[1:4], faded[4:])
    assert ((faded[1] >= 8) & (faded[1] <= 18)).all()
    assert (faded[1] < plain[1]).all()
    assert -0.02 < (faded[3] - plain[3]).mean() < 0
    slow = measure(seeds=(4,), strength=50.0, fade=True)
    assert slow[1].min() > faded[1].max()
    strong = measure(seeds=(4,), strength=2000.0)
    assert (strong[3] < 0.7).all()
    assert (strong[1] > 40).all()


def test_pitfall_a_neuron_that_never_wins_is_dead_until_it_is_boosted():
    x = np.random.default_rng(0).standard_normal((32, 3)) + np.array([0.0, 0.0, -9.0])
    wins = {}
    for name, boost, strength in [
        ("none", additive_boost, 0.0),
        ("factor", multiplicative_boost, 60.0),
        ("added", additive_boost, 60.0),
    ]:
        layer = BoostedKWinners(3, 1, strength=strength, boost=boost)
        for _ in range(200):
            y = layer.forward(x)
            layer.backward(y)
        wins[name] = (y != 0).sum(axis=0)
    assert wins["none"][2] == 0
    assert wins["factor"][2] == 0  # -9 times more than 1 is further down
    assert wins["added"][2] > 5


def test_pitfall_a_factor_pushes_negative_values_down():
    x = np.array([[-1.0, -2.0, -3.0, -1.5]])
    for boost, winner in ((multiplicative_boost, 0), (additive_boost, 3)):
        layer = BoostedKWinners(4, 1, strength=4.0, boost=boost)
        layer.duty = np.array([0.75, 0.25, 0.0, 0.0])
        assert layer.forward(x).nonzero()[1] == [winner]


def test_pitfall_switched_off_it_is_another_network():
    x = np.array([[2.0, 1.0, 1.8]])
    layer = BoostedKWinners(3, 1, strength=1.0, boost=additive_boost)
    layer.duty = np.array([0.8, 0.1, 0.1])
    np.testing.assert_array_equal(layer.forward(x), [[0, 0, 1.8]])
    layer.strength = 0.0
    np.testing.assert_array_equal(layer.forward(x), [[2.0, 0, 0]])


def test_pitfall_too_strong_and_all_samples_get_the_same_winners(rng):
    x = rng.standard_normal((100, 8))
    for strength, different in ((0.0, 8), (1000.0, 2)):
        layer = BoostedKWinners(8, 2, strength=strength, boost=additive_boost)
        layer.duty = np.arange(8) / 14
        assert (layer.forward(x) != 0).any(axis=0).sum() == different


def test_bad_input():
    for n, k, message in ((4, 0, "k must be at least 1, got 0"), (4, 5, "k must be 1 to 4, got 5")):
        with pytest.raises(ValueError, match=message):
            BoostedKWinners(n, k, strength=1.0)
    for strength in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="strength must be finite, 0 or more"):
            BoostedKWinners(4, 1, strength=strength)
    for period in (0.9, np.inf, np.nan):
        with pytest.raises(ValueError, match="period must be finite, 1 or more"):
            BoostedKWinners(4, 1, strength=1.0, period=period)
    layer = BoostedKWinners(4, 1, strength=2.0)
    duty = layer.duty = np.array([1.0, 0.0, 0.0, 0.0])
    with pytest.raises(TypeError, match="x must be floating point, got int64"):
        layer.forward(np.ones((2, 4), dtype=np.int64))
    for shape in ((4,), (0, 4), (2, 3), (2, 5), (1, 2, 4)):
        with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 4\), got"):
            layer.forward(np.ones(shape))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="x and its boosted values must be finite"):
            layer.forward(np.array([[1.0, bad, 0.0, 0.0]]))
    layer.strength = 1e4
    with pytest.raises(ValueError, match="lower strength"):
        layer.forward(np.ones((1, 4)))
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.ones((2, 4)))
    layer.strength = 2.0
    layer.forward(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"dy must be \(2, 4\)"):
        layer.backward(np.ones((1, 4)))
    with pytest.raises(TypeError, match="dy must be float64 like the input"):
        layer.backward(np.ones((2, 4), dtype=np.float32))
    assert layer.duty is duty
    np.testing.assert_array_equal(duty, [1.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(layer.backward(np.ones((2, 4))), [[0, 1, 0, 0]] * 2)
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((2, 4)))
    for wins in ([[1.0, 2.0]], [-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], []):
        with pytest.raises(ValueError, match=r"wins must be \(n,\), of at least 0"):
            effective_neurons(np.array(wins))
