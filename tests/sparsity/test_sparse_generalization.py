import tracemalloc
from copy import deepcopy
from math import comb, exp, log2, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_rel

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.sparsity.sparse_generalization import (
    Generalization,
    Paired,
    description_bits,
    generalization,
    occam_bound,
    paired,
    with_noise_features,
    with_wrong_labels,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train


def test_by_hand():
    # The larger of two inputs is the answer; one of four training samples is mislabelled.
    network = Sequential([Linear(np.eye(2))])
    x = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [1.0, 2.0]])
    found = generalization(network, (x, np.array([0, 1, 0, 0])), (x[:2], np.array([1, 0])))
    assert found == Generalization(train=0.75, test=0.0)
    assert found.gap == 0.75
    assert Generalization(1.0, 0.8).gap == pytest.approx(0.2)
    assert Generalization(0.7, 0.65).gap == pytest.approx(0.05)

    ones = np.ones((2, 3), dtype=np.float32)
    two = np.array([[True, False, False], [False, False, True]])
    zeros = np.zeros(2, dtype=np.float32)
    dense, sparse = (
        description_bits(Sequential([layer, Activation(relu)]))
        for layer in (Linear(ones), CSRLinear.from_dense(ones, two, zeros))
    )
    assert dense == 8 * 32
    assert sparse == pytest.approx(log2(15) + 4 * 32, rel=1e-12)
    assert round(sparse, 1) == 131.9
    assert [round(occam_bound(bits, 1000), 3) for bits in (dense, sparse)] == [0.3, 0.217]

    assert paired([0.8, 0.7, 0.9], [0.9, 0.7, 0.8]) == Paired(
        mean=pytest.approx(0.0, abs=1e-12), error=pytest.approx(0.1 / 3**0.5), wins=1
    )


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.booleans())
def test_positions_take_as_many_bits_as_there_are_choices(n_out, n_in, share, wide):
    dtype = np.float64 if wide else np.float32
    mask = np.arange(n_out * n_in).reshape(n_out, n_in) < round(share * n_out * n_in)
    layer = CSRLinear.from_dense(np.ones((n_out, n_in), dtype), mask, np.zeros(n_out, dtype))
    count = int(mask.sum())
    bits = log2(comb(n_out * n_in, count)) + (64 if wide else 32) * (count + n_out)
    nested = Sequential([Sequential([layer]), Activation(relu), deepcopy(layer)])
    assert description_bits(nested) == pytest.approx(2 * bits, rel=1e-10)


@given(st.floats(0, 1e6), st.integers(1, 10**6), st.floats(0.01, 0.99))
def test_the_bound_solves_its_own_equation(bits, n_samples, confidence):
    # Hoeffding's exp(-2 N ε²) is the share of δ that a network of B bits may spend.
    epsilon = occam_bound(bits, n_samples, confidence=confidence)
    spent = -2 * n_samples * epsilon**2
    np.testing.assert_allclose(spent, np.log(1 - confidence) - bits * np.log(2), rtol=1e-9)
    assert occam_bound(bits + 1, n_samples, confidence=confidence) > epsilon
    assert occam_bound(bits, 4 * n_samples, confidence=confidence) == pytest.approx(epsilon / 2)


def test_the_bound_holds_for_all_at_once():
    # 256 classifiers of 8 bits that all guess, 50 samples: how often does the luckiest of them
    # beat its true error of a half by more than the bound? SciPy's binomial counts exactly.
    epsilon = occam_bound(8, 50, confidence=0.9)
    one = binom.cdf(np.ceil(50 * (0.5 - epsilon)) - 1, 50, 0.5)
    assert 0 < one <= 0.1 / 256
    assert 1 - (1 - one) ** 256 <= 0.1
    assert one <= exp(-2 * 50 * epsilon**2)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=9))
def test_pairs_match_scipy(results):
    first, second = np.array(results).T
    found = paired(first, second)
    assert found.wins == sum(b > a for a, b in results)
    assert found.mean == pytest.approx(second.mean() - first.mean(), abs=1e-12)
    if found.error > 1e-9:
        statistic = ttest_rel(second, first).statistic
        assert found.mean / found.error == pytest.approx(statistic, rel=1e-6, abs=1e-9)
    back = paired(second, first)
    assert back.mean == pytest.approx(-found.mean, abs=1e-15)
    assert back.error == pytest.approx(found.error, abs=1e-15)
    assert back.wins + found.wins + sum(a == b for a, b in results) == len(results)


@given(st.integers(0, 99), st.integers(0, 5), st.sampled_from([np.float32, np.float64]))
def test_noise_is_appended_and_nothing_else(seed, count, dtype):
    rng = np.random.default_rng(seed)
    x = rng.random((6, 4)).astype(dtype)
    before = x.copy()
    longer = with_noise_features(x, count, rng=rng)
    assert longer.shape == (6, 4 + count)
    assert longer.dtype == dtype
    np.testing.assert_array_equal(longer[:, :4], before)
    np.testing.assert_array_equal(x, before)


def test_noise_is_as_loud_as_the_data_and_means_nothing(rng):
    images, labels = load_digits()
    noise = with_noise_features(images, 50, rng=rng)[:, 64:]
    assert abs(noise.mean()) < 0.01
    np.testing.assert_allclose(noise.std(), images.std(), rtol=0.02)
    assert np.abs(np.corrcoef(noise.T, labels)[-1, :-1]).max() < 0.1
    assert np.abs(np.corrcoef(noise.T) - np.eye(50)).max() < 0.15


@given(st.integers(0, 99), st.integers(0, 30), st.floats(0, 1), st.integers(2, 5))
def test_exactly_so_many_labels_are_wrong(seed, size, share, classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=size).astype(np.int8)
    before = labels.copy()
    changed = with_wrong_labels(labels, share, classes=classes, rng=rng)
    assert (changed != labels).sum() == round(share * size)
    assert changed.dtype == labels.dtype
    assert ((changed >= 0) & (changed < classes)).all()
    np.testing.assert_array_equal(labels, before)


def test_wrong_labels_are_everywhere_and_of_every_other_class(rng):
    labels = np.full(9000, 3, dtype=np.int8)
    changed = with_wrong_labels(labels, 0.5, classes=10, rng=rng)
    counts = np.bincount(changed, minlength=10)
    assert counts[3] == 4500
    assert np.abs(np.delete(counts, 3) - 500).max() < 90  # four standard deviations
    halves = (changed != 3).reshape(2, -1).sum(axis=1)
    assert abs(halves[0] - 2250) < 140
    high = with_wrong_labels(np.full(500, 120, np.int8), 1.0, classes=127, rng=rng)
    assert (high >= 0).all()  # 120 + 100 does not fit into int8


def test_what_the_bound_promises_for_the_pages_networks(rng):
    dense, sparse = mlp([64, 64, 10], rng=rng), sparse_mlp([64, 64, 10], density=0.05, rng=rng)
    bits = [description_bits(network) for network in (dense, sparse)]
    assert bits[0] == 153_920
    assert bits[1] < bits[0] / 10
    assert all(occam_bound(b, 1000) > 1 for b in bits)
    assert occam_bound(bits[1], 10**6) < 0.1 < occam_bound(bits[1], 10**5)


def test_nothing_dense_is_made(rng):
    network = sparse_mlp([3000, 3000, 10], density=0.001, rng=rng)
    x, labels = rng.random((5, 3000), dtype=np.float32), np.arange(5)
    tracemalloc.start()
    generalization(network, (x, labels), (x, labels))
    description_bits(network)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000 / 4  # a quarter of a byte for each position


class Runs:
    """Trains a dense network and its rivals on the same data, over five seeds."""

    def __init__(
        self,
        rivals,
        samples,
        *,
        useless=0,
        wrong=0.0,
        rate=0.1,
        batch=25,
        steps=160,
        more=40,
        seeds=5,
    ):
        self.found, self.by_heart = {}, {}
        images, labels = load_digits()
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            inputs = with_noise_features(images, useless, rng=rng)
            x, y, *test = stratified_split(inputs, labels, rng=rng)
            validation = x[-200:], y[-200:]
            x, truth = x[:samples], y[:samples]
            y = with_wrong_labels(truth, wrong, classes=10, rng=rng)
            sizes = [64 + useless, 64, 10]
            start = mlp(sizes, rng=rng)

            def fit(network, steps, weight_decay=0.0, seed=seed, x=x, y=y):
                optimizer = Momentum(network, learning_rate=rate, weight_decay=weight_decay)
                again, epochs = np.random.default_rng(seed), max(1, steps * batch // len(x))
                train(network, optimizer, x, y, epochs=epochs, batch_size=batch, rng=again)
                return network

            most = fit(deepcopy(start), steps)
            for name, value in [("dense", 0), *rivals]:
                if name == "dense":
                    network = fit(deepcopy(most), more)
                elif name == "decay":
                    decays = [fit(deepcopy(start), steps + more, decay) for decay in value]
                    network = max(decays, key=lambda each: accuracy(each, *validation))
                elif name == "narrow":
                    network = fit(mlp([sizes[0], value, 10], rng=rng), steps + more)
                elif name == "random":
                    network = fit(sparse_mlp(sizes, density=1 - value, rng=rng), steps + more)
                else:
                    masks = global_masks(magnitude_scores(most), value)
                    network = fit(prune_network(most, masks), more)
                key = name if name in ("dense", "decay", "narrow") else (name, value)
                self.found.setdefault(key, []).append(generalization(network, (x, y), test))
                if wrong:
                    learned = accuracy(network, x[y != truth], y[y != truth])
                    self.by_heart.setdefault(key, []).append(learned)

    def test(self, name):
        return np.array([each.test for each in self.found[name]])

    def gap(self, name):
        return np.mean([each.gap for each in self.found[name]])

    def gain(self, name, over="dense"):
        return paired(self.test(over), self.test(name))


# A gain is a mean difference in test accuracy of more than 0.01 and of more than two standard
# errors. The settings were chosen on these five seeds; 20 to 24,
# 25 to 29, 100 to 104 and 200 to 204 gave the same verdicts.
def gains(change):
    return change.mean > max(0.01, 2 * change.error)


def loses(change):
    return change.mean < -max(0.01, 2 * change.error)


@pytest.mark.parametrize(("samples", "steps"), [(50, 80), (1000, 160)])
def test_claim_with_few_clean_samples_it_does_not_hold(samples, steps):
    sparse = [("pruned", 0.8), ("pruned", 0.9), ("random", 0.9)]
    runs = Runs(sparse, samples, steps=steps, more=steps // 4)
    assert not any(gains(runs.gain(name)) for name in sparse)
    assert loses(runs.gain(("random", 0.9)))
    assert runs.gain(("random", 0.9)).mean < -0.05
    if samples < 1000:  # the gap is no smaller either
        assert loses(runs.gain(("pruned", 0.9)))
        assert all(runs.gap(name) > runs.gap("dense") for name in sparse)


def test_claim_among_useless_inputs_it_holds_for_pruning_alone():
    rivals = [("pruned", 0.8), ("pruned", 0.9), ("pruned", 0.95), ("random", 0.9)]
    runs = Runs(
        [*rivals, ("narrow", 6), ("decay", (0.01, 0.03))], 100, useless=256, steps=100, more=40
    )
    for name in rivals[:3]:
        assert gains(runs.gain(name))
        assert runs.gain(name).wins == 5 or name == ("pruned", 0.8)
        assert runs.gap(name) < runs.gap("dense") - 0.02
    assert runs.gain(("pruned", 0.95)).mean > 0.05
    assert runs.gain("decay").mean > 0.01
    assert gains(runs.gain(("pruned", 0.95), over="decay"))  # more than the usual cure
    for name in (("random", 0.9), "narrow"):
        assert runs.gain(name).mean < -0.08
        assert runs.gain(name).wins == 0


def test_claim_with_wrong_labels_it_holds_where_there_are_enough_right_ones():
    plan = {"wrong": 0.4, "rate": 0.2, "batch": 50, "steps": 250, "more": 100}
    sparse = [("pruned", 0.8), ("random", 0.8)]
    runs = Runs([*sparse, ("decay", (0.01,))], 500, **plan)
    assert gains(runs.gain(("random", 0.8)))
    assert runs.gain(("pruned", 0.8)).mean > 0.01  # and not always beyond chance
    assert runs.gain("decay").mean > max(runs.gain(name).mean for name in sparse) - 0.01
    learned = {name: np.mean(each) for name, each in runs.by_heart.items()}
    assert learned["random", 0.8] < learned["pruned", 0.8] < learned["dense"]
    assert learned["dense"] > 0.4
    assert learned["random", 0.8] < learned["dense"] / 2
    few = Runs(sparse, 200, seeds=3, **plan)
    assert not any(gains(few.gain(name)) for name in sparse)


def test_pruning_throws_more_of_the_useless_inputs_out():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        images, labels = load_digits()
        x, y, *_ = stratified_split(with_noise_features(images, 256, rng=rng), labels, rng=rng)
        network = mlp([320, 64, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=0.1)
        train(network, optimizer, x[:100], y[:100], epochs=40, batch_size=25, rng=rng)
        kept = global_masks(magnitude_scores(network), 0.95)["0.weight"]
        assert kept[:, :64].mean() > 1.5 * kept[:, 64:].mean()


def test_pitfall_runs_that_differ_are_compared_one_by_one():
    split = np.array([0.70, 0.80, 0.75, 0.85, 0.65])  # some splits are harder
    other = split + np.array([0.02, 0.03, 0.01, 0.02, 0.02])
    found = paired(split, other)
    assert found.mean == pytest.approx(0.02)
    assert found.error < 0.004
    alone = sqrt(split.var(ddof=1) / 5 + other.var(ddof=1) / 5)
    assert alone > 10 * found.error
    assert found.mean < alone < 0.06


def test_pitfall_a_smaller_gap_with_a_worse_test_accuracy():
    rng = np.random.default_rng(0)
    x, y, *test = stratified_split(*load_digits(), rng=rng)
    found = []
    for network in (
        mlp([64, 64, 10], rng=rng),
        sparse_mlp([64, 64, 10], density=0.02, rng=rng),
    ):
        optimizer = Momentum(network, learning_rate=0.1)
        train(network, optimizer, x, y, epochs=10, batch_size=50, rng=rng)
        found.append(generalization(network, (x, y), test))
    dense, sparse = found
    assert sparse.gap < dense.gap
    assert sparse.test < dense.test - 0.4


def test_pitfall_the_dense_rival_did_not_train():
    images, labels = load_digits()
    for centre in (0.5, 0.0):
        rng = np.random.default_rng(0)
        useless = rng.random((1797, 512), dtype=np.float32) - np.float32(0.5 - centre)
        x, y, *test = stratified_split(np.hstack([images, useless]), labels, rng=rng)
        seen = x[:200], y[:200]
        found = []
        for network in (
            mlp([576, 64, 10], rng=rng),
            sparse_mlp([576, 64, 10], density=0.1, rng=rng),
        ):
            optimizer = Momentum(network, learning_rate=0.1)
            train(network, optimizer, *seen, epochs=15, batch_size=25, rng=rng)
            found.append(generalization(network, seen, test))
        dense, sparse = found
        assert sparse.train > 0.99
        if centre:
            assert sparse.test > dense.test + 0.4  # a triumph, until one looks here:
            assert dense.train < 0.3
        else:
            assert dense.train > 0.99
            assert dense.test > sparse.test + 0.05


def test_bad_input(rng):
    x, labels = np.ones((3, 2)), np.array([0, 1, 1])
    network = Sequential([Linear(np.eye(2))])
    with pytest.raises(ValueError, match="labels must be"):
        generalization(network, (x, labels[:2]), (x, labels))
    with pytest.raises(ValueError, match="x must"):
        generalization(network, (x, labels), (x[:0], labels[:0]))
    network.params["0.weight"][0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        generalization(network, (x, labels), (x, labels))

    for first, second in [([1.0], [2.0]), ([1.0, 2.0], [1.0]), (x, x), ([], [])]:
        with pytest.raises(ValueError, match="first and second must be equally many, 2 or more"):
            paired(first, second)
    for bad in ([np.nan, 1.0], [np.inf, 1.0]):
        for pair in ((bad, [0.0, 1.0]), ([0.0, 1.0], bad)):
            with pytest.raises(ValueError, match="first and second must be finite"):
                paired(*pair)

    for bits in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="bits must be 0 or above and finite"):
            occam_bound(bits, 10)
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        occam_bound(1.0, 0)
    for confidence in (0.0, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
            occam_bound(1.0, 10, confidence=confidence)

    with pytest.raises(TypeError, match="x must be floating point, got int64"):
        with_noise_features(np.ones((3, 2), dtype=np.int64), 1, rng=rng)
    for bad in (np.ones(3), np.ones((0, 3)), np.array([[np.nan]]), np.array([[np.inf]])):
        with pytest.raises(ValueError, match=r"x must be \(N, in\), finite and not empty"):
            with_noise_features(bad, 1, rng=rng)
    with pytest.raises(ValueError, match="count must be 0 or more, got -1"):
        with_noise_features(x, -1, rng=rng)

    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        with_wrong_labels(labels.astype(float), 0.5, classes=2, rng=rng)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"share must be in \[0, 1\]"):
            with_wrong_labels(labels, share, classes=2, rng=rng)
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        with_wrong_labels(labels, 0.5, classes=1, rng=rng)
    for bad in (labels + 1, labels - 1, labels[None]):
        with pytest.raises(ValueError, match="labels must be"):
            with_wrong_labels(bad, 0.5, classes=2, rng=rng)
    np.testing.assert_array_equal(labels, [0, 1, 1])
