import tracemalloc
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, sigmoid, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.activation_prune import activation_scores, firing_rates
from lexicon.sparsity.global_prune import neuron_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

# Whole numbers, so that sums are exact whatever their order.
numbers = st.integers(-3, 3).map(float)
X = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0]])


def small():
    first = Linear(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    return Sequential(
        [first, Activation(relu), Linear(np.array([[1.0, 0.0, 5.0], [0.0, 4.0, 5.0]]))]
    )


def without(network, kept):
    """Remove hidden neurons: the weights that they read, and those that read them."""
    shape = {name: network.params[name].shape for name in ("0.weight", "2.weight")}
    masks = {
        "0.weight": np.broadcast_to(kept[:, None], shape["0.weight"]).copy(),
        "2.weight": np.broadcast_to(kept, shape["2.weight"]).copy(),
    }
    return prune_network(network, masks)


def best(worth, removed):
    kept = np.zeros(len(worth), dtype=bool)
    kept[np.argsort(-worth, kind="stable")[: len(worth) - removed]] = True
    return kept


def fitted(x, labels, rng):
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    return network


@cache
def trained(seed):
    rng = np.random.default_rng(seed)
    data = stratified_split(*load_digits(), rng=rng)
    return fitted(data[0], data[1], rng), data


def test_by_hand():
    network = small()
    rates = firing_rates(network, X)
    assert [*rates] == ["0.weight", "2.weight"]
    np.testing.assert_array_equal(rates["0.weight"], [0.75, 0.25])
    np.testing.assert_array_equal(rates["2.weight"], [0.75, 0.25, 0.0])
    scores = activation_scores(network, X)
    assert [*scores] == ["0.weight", "2.weight"]
    np.testing.assert_array_equal(scores["0.weight"], [[0.75, 0.25]] * 3)
    np.testing.assert_array_equal(scores["2.weight"], [[0.75, 0.25, 0.0]] * 2)
    logits = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 4.0]]
    np.testing.assert_array_equal(network.forward(X), logits)
    # Neuron 2 is dead: nothing changes, though its outgoing weights are the largest.
    dead = without(network, np.array([True, True, False]))
    np.testing.assert_array_equal(dead.forward(X), logits)
    assert magnitude_scores(network)["2.weight"].sum(axis=0).argmax() == 2
    # Neuron 1 fires once in four, and is all that knows class 1.
    rare = without(network, np.array([True, False, True]))
    np.testing.assert_array_equal(rare.forward(X), [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 0.0]])


@given(
    arrays(np.float64, (5, 3), elements=numbers),
    arrays(np.float64, (4, 3), elements=numbers),
    arrays(np.float64, (4,), elements=numbers),
    st.permutations(range(5)),
)
def test_counts_in_plain_loops_and_the_order_of_samples_does_not_matter(x, weight, bias, order):
    network = Sequential([Linear(weight, bias), Activation(relu), Linear(np.ones((2, 4)))])
    rates = firing_rates(network, x)
    for j in range(3):
        assert rates["0.weight"][j] == sum(sample[j] != 0 for sample in x) / 5
    for i in range(4):
        fired = sum(sum(map(float.__mul__, weight[i], s)) + bias[i] > 0 for s in x.tolist())
        assert rates["2.weight"][i] == fired / 5
    again = firing_rates(network, x[order])
    for name in rates:
        np.testing.assert_array_equal(again[name], rates[name])


@given(arrays(np.float64, (6, 3), elements=numbers), arrays(np.float64, (5, 3), elements=numbers))
def test_what_never_fires_can_go_without_any_change(x, weight):
    network = Sequential(
        [Linear(weight), Activation(relu), Linear(np.arange(1.0, 11.0).reshape(2, 5))]
    )
    rates = firing_rates(network, x)
    pruned = without(network, rates["2.weight"] > 0)
    np.testing.assert_array_equal(pruned.forward(x), network.forward(x))
    pixels = np.tile(rates["0.weight"] > 0, (5, 1))  # and so can pixels
    pruned = prune_network(network, {"0.weight": pixels})
    np.testing.assert_array_equal(pruned.forward(x), network.forward(x))


@given(arrays(np.float64, (6, 3), elements=numbers), arrays(np.float64, (5, 3), elements=numbers))
def test_neither_the_sizes_of_outputs_nor_of_outgoing_weights_matter(x, weight):
    plain, scaled = (
        Sequential([Linear(c * weight), Activation(relu), Linear(d * np.ones((2, 5)))])
        for c, d in ((1.0, 1.0), (8.0, -0.5))
    )
    np.testing.assert_array_equal(
        firing_rates(plain, x)["2.weight"], firing_rates(scaled, x)["2.weight"]
    )


def test_the_three_factors_of_the_page(rng):
    # Mean size of what a removal changes = |w| · rate · mean size of the input when it fires.
    network, x = mlp([6, 5, 4], rng=rng, dtype=np.float64), rng.standard_normal((40, 6))
    hidden = np.maximum(network.layers[0].forward(x), 0)
    weight, rates = network.params["2.weight"], firing_rates(network, x)["2.weight"]
    for j in range(5):
        changed = weight.copy()
        changed[:, j] = 0
        moved = np.abs(hidden @ (weight - changed).T).mean(axis=0)
        size = hidden[hidden[:, j] != 0, j].mean()
        np.testing.assert_allclose(moved, np.abs(weight[:, j]) * rates[j] * size, rtol=1e-12)


def test_pruned_per_neuron_every_output_loses_the_same_inputs():
    network, (x, *_) = trained(0)
    masks = neuron_masks(activation_scores(network, x), 0.5)
    for mask in masks.values():
        np.testing.assert_array_equal(mask, np.tile(mask[0], (len(mask), 1)))
    kept = best(firing_rates(network, x)["2.weight"], 32)
    np.testing.assert_array_equal(masks["2.weight"][0], kept)


def test_a_sparse_network_is_scored_where_it_has_weights(rng):
    network, x = mlp([6, 5, 4], rng=rng, dtype=np.float64), rng.standard_normal((40, 6))
    x[:, 2] = 0
    masks = {"0.weight": rng.random((5, 6)) < 0.5, "2.weight": rng.random((4, 5)) < 0.5}
    sparse = prune_network(network, masks)
    for name, mask in masks.items():
        network.params[name][~mask] = 0
    dense = activation_scores(network, x)
    for name, score in activation_scores(sparse, x).items():
        assert score.shape == sparse.params[name].shape
        np.testing.assert_array_equal(score, dense[name][masks[name]])
    assert [*firing_rates(Sequential([sparse]), x)] == ["0.0.weight", "0.2.weight"]
    nested = activation_scores(Sequential([sparse]), x)
    np.testing.assert_array_equal(nested["0.2.weight"], activation_scores(sparse, x)["2.weight"])


def test_nothing_dense_is_allocated_for_a_sparse_network(rng):
    network = sparse_mlp(
        [4000, 4000, 10], density=0.002, rng=rng
    )  # 64 MB of float32 in the dense one
    x = rng.random((4, 4000), dtype=np.float32)
    tracemalloc.start()
    activation_scores(network, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_network_and_input_stay_as_they_were(rng):
    network, x = mlp([6, 5, 4], rng=rng), rng.standard_normal((7, 6), dtype=np.float32)
    theta = {name: value.copy() for name, value in network.params.items()}
    kept = x.copy()
    scores = activation_scores(network, x)
    scores["2.weight"][:] = 9  # their own arrays, not views
    np.testing.assert_array_equal(x, kept)
    for name, value in network.params.items():
        np.testing.assert_array_equal(value, theta[name])


def test_claim_neurons_that_rarely_fire_can_go():
    # Set beforehand: "can go" is a loss of at most 0.02 of mean accuracy; five seeds.
    shares, names = (16, 32, 48), ("rarest", "weakest", "random", "busiest")
    pruned, tuned = np.zeros((2, 5, len(shares), len(names)))
    dense, continued = np.zeros((2, 5))
    never = []
    for seed in range(5):
        network, (x, labels, x_test, labels_test) = trained(seed)
        dense[seed] = accuracy(network, x_test, labels_test)
        rate = firing_rates(network, x)["2.weight"]
        never.append(int((rate == 0).sum()))
        outgoing = np.linalg.norm(network.params["2.weight"], axis=0)
        chance = np.random.default_rng(seed).random(64)
        for i, removed in enumerate((0, *shares)):
            for j, worth in enumerate((rate, outgoing, chance, -rate)[: 4 if removed else 1]):
                smaller = without(network, best(worth, removed))
                if removed:
                    pruned[seed, i - 1, j] = accuracy(smaller, x_test, labels_test)
                if removed == 16 or j == 3:
                    continue  # little to heal, or not on the page
                optimizer = Momentum(smaller, learning_rate=0.05)
                again = np.random.default_rng(seed)
                train(smaller, optimizer, x, labels, epochs=3, batch_size=32, rng=again)
                after = accuracy(smaller, x_test, labels_test)
                if removed:
                    tuned[seed, i - 1, j] = after
                else:
                    continued[seed] = after  # the control: nothing removed, trained as long
    assert min(never) == 1
    assert max(never) == 8
    loss = dense.mean() - pruned.mean(axis=0)
    assert loss[0, 0] < 0.005  # a quarter, the rarest: holds
    assert (pruned[:, 0, 0] > pruned[:, 0, 2]).all()
    assert loss[0, 2] > 0.05  # at random it does not
    assert 0.05 < loss[1, 0] < 0.12  # half: does not hold, half by weight does
    assert loss[1, 1] < 0.02
    assert loss[2, 0] > 0.4  # three quarters: no better than chance
    assert abs(loss[2, 0] - loss[2, 2]) < 0.1
    assert 0.1 < loss[2, 1] < 0.25
    assert (pruned[:, 2, 1] > pruned[:, 2, 0]).all()  # in every single run
    healed = continued.mean() - tuned.mean(axis=0)
    assert (healed[1, :3] < 0.02).all()  # after fine-tuning even a random half can go
    assert (healed[2, :3] < 0.04).all()
    # The most active neurons are the ones to keep.
    assert (pruned[:, :, 3] < pruned[:, :, 0]).all()


def test_claim_a_rare_class_pays_more():
    # Each class in turn is cut to a tenth, two seeds each; half of the neurons go.
    lost = np.zeros((2, 10, 2, 2))  # share removed; class; seed; the rare class, the others
    for rare in range(10):
        for seed in range(2):
            rng = np.random.default_rng(seed)
            x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
            members = np.flatnonzero(labels == rare)
            gone = members[round(0.1 * len(members)) :]
            x, labels = np.delete(x, gone, axis=0), np.delete(labels, gone)
            network = fitted(x, labels, rng)
            rate = firing_rates(network, x)["2.weight"]
            for i, removed in enumerate((16, 32)):
                pruned = without(network, best(rate, removed))
                for j, who in enumerate((labels_test == rare, labels_test != rare)):
                    lost[i, rare, seed, j] = accuracy(
                        network, x_test[who], labels_test[who]
                    ) - accuracy(pruned, x_test[who], labels_test[who])
    mean = lost.mean(axis=(1, 2))
    assert (np.abs(mean[0]) < 0.01).all()  # a quarter costs nobody anything
    assert mean[1, 0] > 0.1
    assert mean[1, 0] > 2 * mean[1, 1]


def test_pitfall_tanh_and_sigmoid_are_never_zero(rng):
    for f in (tanh, sigmoid):
        network = mlp([64, 8, 10], rng=rng, activation=f, dtype=np.float64)
        rates = firing_rates(network, rng.random((50, 64)))["2.weight"]
        np.testing.assert_array_equal(rates, np.ones(8))
        scores = {"2.weight": activation_scores(network, rng.random((50, 64)))["2.weight"]}
        mask = neuron_masks(scores, 0.5)["2.weight"]
        np.testing.assert_array_equal(mask, [[True] * 4 + [False] * 4] * 10)  # by position


def test_pitfall_rates_from_few_samples_or_one_class():
    for seed in range(5):
        network, (x, labels, _, _) = trained(seed)
        never = [
            int((firing_rates(network, some)["2.weight"] == 0).sum())
            for some in (x, x[:10], x[labels == 6])
        ]
        assert min(never[1:]) > never[0]
    network, (x, labels, x_test, labels_test) = trained(0)
    silent = firing_rates(network, x[labels == 6])["2.weight"] > 0
    full = without(network, firing_rates(network, x)["2.weight"] > 0)
    assert accuracy(full, x_test, labels_test) == accuracy(network, x_test, labels_test)
    assert accuracy(without(network, silent), x[labels == 6], labels[labels == 6]) == accuracy(
        network, x[labels == 6], labels[labels == 6]
    )
    # And a zero is a proof for the samples looked at only: here are two that fire on others.
    dead = firing_rates(network, x)["2.weight"] == 0
    assert (firing_rates(network, x_test)["2.weight"][dead] > 0).sum() == 2


def test_pitfall_a_neuron_that_always_fires_may_be_a_bias(rng):
    x = rng.standard_normal((50, 3))
    first = Linear(rng.standard_normal((4, 3)), np.array([0.0, 0.0, 0.0, 2.0]))
    first.params["weight"][3] = 0  # neuron 3 is 2 for every sample
    network = Sequential([first, Activation(relu), Linear(rng.standard_normal((2, 4)))])
    rates = firing_rates(network, x)["2.weight"]
    assert rates[3] == 1
    assert (rates[:3] < 1).all()
    pruned = without(network, np.array([True, True, True, False]))
    pruned.layers[2].params["bias"][:] += 2 * network.params["2.weight"][:, 3]
    np.testing.assert_allclose(pruned.forward(x), network.forward(x), rtol=1e-12, atol=1e-12)


def test_neurons_that_always_fire_are_one_linear_map(rng):
    x = rng.random((50, 3))
    first = Linear(rng.random((4, 3)), np.ones(4))
    network = Sequential([first, Activation(relu), Linear(rng.standard_normal((2, 4)))])
    assert (firing_rates(network, x)["2.weight"] == 1).all()
    w, b, v = first.params["weight"], first.params["bias"], network.params["2.weight"]
    np.testing.assert_allclose(Linear(v @ w, v @ b).forward(x), network.forward(x), rtol=1e-12)


def test_a_dead_neuron_of_the_first_layer_gets_no_gradient(rng):
    network = small()
    network.forward(X)
    network.backward(rng.standard_normal((4, 2)))
    np.testing.assert_array_equal(network.grads["0.weight"][2], [0, 0])
    assert network.grads["0.bias"][2] == 0
    np.testing.assert_array_equal(network.grads["2.weight"][:, 2], [0, 0])
    assert (network.grads["2.weight"][:, :2] != 0).all()


def test_bad_input(rng):
    network, x = small(), X.copy()
    for scores in (firing_rates, activation_scores):
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match="x must be finite"):
                scores(network, np.where(X == 3, bad, X))
        with pytest.raises(TypeError, match="x must be float64"):
            scores(network, X.astype(np.float32))
        for shape in ((0, 2), (4, 3), (2,)):
            with pytest.raises(ValueError, match="x must be"):
                scores(network, np.zeros(shape))
        masked = MaskedLinear(Linear(np.eye(2)), np.eye(2, dtype=bool))
        with pytest.raises(TypeError, match="Linear or CSRLinear, got MaskedLinear"):
            scores(Sequential([masked]), X)
        broken = small()
        broken.params["2.bias"][0] = np.nan
        with pytest.raises(ValueError, match=r"finite parameters, 2\.bias has not"):
            scores(broken, X)
    np.testing.assert_array_equal(X, x)
