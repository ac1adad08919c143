import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.softmax import log_softmax
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import layer_masks, prune_network, random_scores
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.sparsity.taylor_prune import taylor_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train


def gradients(network, x, labels):
    criterion = CrossEntropy()
    criterion.forward(network.forward(x), labels)
    network.backward(criterion.backward())
    return {name: g.copy() for name, g in network.grads.items() if name.endswith("weight")}


def losses(network, x, labels):
    return -log_softmax(network.forward(x))[np.arange(len(labels)), labels].astype(float)


def sample_by_sample(network, x, labels):
    """Loop over samples, each a batch of its own: what the product has to agree with."""
    totals = {name: 0 * w for name, w in network.params.items() if name.endswith("weight")}
    for n in range(len(x)):
        for name, g in gradients(network, x[n : n + 1], labels[n : n + 1]).items():
            totals[name] = totals[name] + np.abs(network.params[name] * g) / len(x)
    return totals


def trained_digits(seed, epochs=10):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=epochs, batch_size=32, rng=rng)
    return network, x, labels, x_test, labels_test, rng


def test_by_hand():
    network = Sequential([Linear(np.array([[2.0, -1.0], [2.0, -1.0]]))])
    x, labels = np.array([[1.0, 1.0], [1.0, 3.0]]), np.array([0, 1])
    scores = taylor_scores(network, x, labels)
    assert [*scores] == ["0.weight"]
    np.testing.assert_allclose(scores["0.weight"], [[1.0, 1.0], [1.0, 1.0]], rtol=1e-15)
    mean = network.grads["0.weight"]  # filled on the way
    np.testing.assert_allclose(mean, [[0, 0.5], [0, -0.5]], atol=1e-15)
    # The mean gradient of the first weight is zero. Without it the losses move far apart:
    before = losses(network, x, labels)
    np.testing.assert_allclose(before, [np.log(2), np.log(2)], rtol=1e-15)
    network.params["0.weight"][0, 0] = 0
    after = losses(network, x, labels)
    np.testing.assert_allclose(after, [2.127, 0.127], atol=0.0005)
    np.testing.assert_allclose((after - before).mean(), 0.434, atol=0.0005)


@given(st.integers(0, 1000), st.integers(1, 6), st.sampled_from([relu, tanh]))
def test_agrees_with_a_loop_over_samples(seed, samples, function):
    rng = np.random.default_rng(seed)
    network = mlp([3, 5, 4], rng=rng, activation=function, dtype=np.float64)
    x, labels = rng.standard_normal((samples, 3)), rng.integers(0, 4, samples)
    scores = taylor_scores(network, x, labels)
    expected = sample_by_sample(network, x, labels)
    assert [*scores] == [*expected] == ["0.weight", "2.weight"]
    for name, score in scores.items():
        np.testing.assert_allclose(score, expected[name], rtol=1e-12, atol=1e-15)


@given(st.integers(0, 1000))
def test_laws(seed):
    rng = np.random.default_rng(seed)
    network = mlp([3, 4, 3], rng=rng, dtype=np.float64)
    x, labels = rng.standard_normal((6, 3)), rng.integers(0, 3, 6)
    scores = taylor_scores(network, x, labels)
    order = rng.permutation(6)
    shuffled = taylor_scores(network, x[order], labels[order])
    twice = taylor_scores(network, np.tile(x, (2, 1)), np.tile(labels, 2))
    for name, g in gradients(network, x, labels).items():
        np.testing.assert_allclose(shuffled[name], scores[name], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(twice[name], scores[name], rtol=1e-12, atol=1e-15)
        # The size of a mean is at most the mean of the sizes, and equal for one sample.
        of_mean = np.abs(network.params[name] * g)
        assert (of_mean <= scores[name] * (1 + 1e-12) + 1e-15).all()
    alone = taylor_scores(network, x[:1], labels[:1])
    for name, g in gradients(network, x[:1], labels[:1]).items():
        np.testing.assert_allclose(alone[name], np.abs(network.params[name] * g), rtol=1e-12)


def test_csr_layers_score_their_stored_positions(rng):
    first = random_csr((6, 5), 17, rng=rng, dtype=np.float64)
    last = random_csr((3, 6), 9, rng=rng, dtype=np.float64)
    sparse = Sequential([Sequential([CSRLinear(first), Activation(relu)]), CSRLinear(last)])
    dense = Sequential(
        [Sequential([Linear(first.toarray()), Activation(relu)]), Linear(last.toarray())]
    )
    x, labels = rng.standard_normal((8, 5)), np.arange(8) % 3
    scores, full = taylor_scores(sparse, x, labels), taylor_scores(dense, x, labels)
    assert [*scores] == [*full] == ["0.0.weight", "1.weight"]
    for name, w in (("0.0.weight", first), ("1.weight", last)):
        rows = np.repeat(np.arange(w.shape[0]), np.diff(w.indptr))
        np.testing.assert_allclose(scores[name], full[name][rows, w.indices], rtol=1e-12)


def test_sparse_scores_allocate_no_dense_weight(rng):
    network = sparse_mlp([3000, 3000, 10], density=0.001, rng=rng)
    x, labels = rng.random((8, 3000), dtype=np.float32), np.arange(8) % 10
    tracemalloc.start()
    taylor_scores(network, x, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000 * 4 / 10  # a tenth of one dense weight in float32


def test_parameters_stay_and_float32_stays(rng):
    network = mlp([3, 4, 2], rng=rng)
    x, labels = rng.random((5, 3), dtype=np.float32), np.arange(5) % 2
    kept, seen = {name: p.copy() for name, p in network.params.items()}, x.copy()
    scores = taylor_scores(network, x, labels)
    for name, p in network.params.items():
        np.testing.assert_array_equal(p, kept[name])
    np.testing.assert_array_equal(x, seen)
    assert all(score.dtype == np.float32 for score in scores.values())
    assert all(scores[name].shape == network.params[name].shape for name in scores)


def test_one_removal_is_foreseen_by_the_size_of_the_product_and_not_by_the_weight():
    # Rank correlation with how much each sample's loss really moves, over three seeds.
    for seed in range(3):
        network, x, labels, _, _, rng = trained_digits(seed)
        error = np.sort(1 - np.exp(-losses(network, x, labels)))[::-1]
        assert error[: len(error) // 10].sum() > 2 / 3 * error.sum()
        x, labels = x[:300], labels[:300]
        scores = taylor_scores(network, x, labels)["0.weight"]
        weight, before = network.params["0.weight"], losses(network, x, labels)
        assert (scores[:, (x == 0).all(axis=0)] == 0).all()  # a blank pixel has no say
        seen = np.flatnonzero(scores)
        places = rng.choice(seen, 100, replace=False)
        moved = []
        for place in places:
            kept, weight.flat[place] = weight.flat[place], 0
            moved.append(losses(network, x, labels) - before)
            weight.flat[place] = kept
        sizes, signs = np.abs(moved).mean(axis=1), np.mean(moved, axis=1)

        def rank_correlation(a, b):
            return np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]

        assert rank_correlation(sizes, scores.flat[places]) > 0.97
        assert rank_correlation(sizes, np.abs(weight).flat[places]) < 0.8
        # The removals that raise the mean loss and those that lower it are about equally many.
        assert 0.35 < (signs > 0).mean() < 0.65


def test_claim_weights_of_small_gradient_can_go():
    # The tolerance is that of magnitude pruning: without much harm is at most 0.02 of mean accuracy
    # against the dense network, trained on for as long where the pruned one was.
    sparsities, seeds = [0.5, 0.8, 0.9], range(5)
    names = ["g", "w mean g", "mean wg", "w", "random"]
    pruned, tuned = np.zeros((2, 5, len(sparsities), len(names)))
    dense = np.zeros((5, 2))
    for seed in seeds:
        network, x, labels, x_test, labels_test, rng = trained_digits(seed)
        taylor = taylor_scores(network, x, labels)
        mean = {name: network.grads[name] for name in taylor}
        criteria = [
            {name: np.abs(g) for name, g in mean.items()},
            {name: np.abs(network.params[name] * g) for name, g in mean.items()},
            taylor,
            magnitude_scores(network),
            random_scores(network, rng=rng),
        ]
        for i, sparsity in enumerate(sparsities):
            for j, scores in enumerate(criteria):
                sparse = prune_network(network, layer_masks(scores, sparsity))
                pruned[seed, i, j] = accuracy(sparse, x_test, labels_test)
                optimizer = Momentum(sparse, learning_rate=0.05)
                again = np.random.default_rng(seed)
                train(sparse, optimizer, x, labels, epochs=2, batch_size=32, rng=again)
                tuned[seed, i, j] = accuracy(sparse, x_test, labels_test)
        dense[seed, 0] = accuracy(network, x_test, labels_test)
        again = np.random.default_rng(seed)
        optimizer = Momentum(network, learning_rate=0.05)
        train(network, optimizer, x, labels, epochs=2, batch_size=32, rng=again)
        dense[seed, 1] = accuracy(network, x_test, labels_test)
    harm = dense.mean(axis=0)[0] - pruned.mean(axis=0)
    after = dense.mean(axis=0)[1] - tuned.mean(axis=0)
    half, most, nearly_all = range(3)
    g, size_of_mean, mean_of_sizes, w, chance = range(5)
    # Just pruned.
    assert 0.1 < harm[half, g] < harm[half, chance]
    assert harm[most, g] > 0.4
    assert harm[half, mean_of_sizes] < harm[half, size_of_mean] < 0.04  # on the border
    assert harm[most, size_of_mean] > 0.2
    assert harm[half, mean_of_sizes] < 0.01  # holds
    assert harm[most, mean_of_sizes] > 0.05
    assert harm[most, mean_of_sizes] < harm[most, size_of_mean] - 0.1
    assert harm[nearly_all, w] < harm[nearly_all, mean_of_sizes]
    # Fine-tuned.
    assert after[half, [g, size_of_mean, mean_of_sizes]].max() < 0.02  # holds
    assert (after[1:, g] > after[1:, chance] - 0.05).all()  # no better than no criterion
    assert after[most, mean_of_sizes] < 0.04
    assert after[nearly_all, w] < after[nearly_all, mean_of_sizes]


def test_pitfall_one_class():
    lead = []
    for seed in range(3):
        network, x, labels, x_test, labels_test, _ = trained_digits(seed)
        read = []
        for seen in (labels == 0, labels >= 0):
            masks = layer_masks(taylor_scores(network, x[seen], labels[seen]), 0.5)
            pruned = prune_network(network, masks)
            others = labels_test != 0
            read.append(accuracy(pruned, x_test[others], labels_test[others]))
        lead.append(read[1] - read[0])
    assert min(lead) > 0
    assert np.mean(lead) > 0.01


def test_pitfall_cancelled_over_the_batch():
    # Ten samples pull one way and ten the other: the weight matters to each, and to no mean.
    network = Sequential([Linear(np.array([[1.0], [1.0]]))])
    x, labels = np.ones((20, 1)), np.arange(20) % 2
    scores = taylor_scores(network, x, labels)["0.weight"]
    of_mean = np.abs(network.params["0.weight"] * network.grads["0.weight"])
    np.testing.assert_allclose(of_mean, 0, atol=1e-15)
    np.testing.assert_allclose(scores, 0.5, rtol=1e-15)


def test_bad_input(rng):
    network = mlp([3, 4, 2], rng=rng, dtype=np.float64)
    x, labels = rng.standard_normal((5, 3)), np.arange(5) % 2
    with pytest.raises(TypeError, match="x must be float64"):
        taylor_scores(network, x.astype(np.float32), labels)
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3\)"):
        taylor_scores(network, x[:, :2], labels)
    with pytest.raises(ValueError, match="labels must be 0 to 1, got 0 to 2"):
        taylor_scores(network, x, np.array([0, 1, 2, 0, 1]))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="x must be finite"):
            taylor_scores(network, np.where(x == x[3, 1], bad, x), labels)
    with pytest.raises(TypeError, match="labels must be integers"):
        taylor_scores(network, x, labels.astype(float))
    assert network.grads == {}
    other = Sequential([MaskedLinear(Linear(np.ones((2, 3))), np.ones((2, 3), dtype=bool))])
    with pytest.raises(TypeError, match="weights in Linear or CSRLinear, got MaskedLinear"):
        taylor_scores(other, x, labels)
    assert other.grads == {}
