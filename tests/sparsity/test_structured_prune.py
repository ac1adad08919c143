from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, sigmoid, softplus, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import global_masks, layer_masks, prune_network
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.sparse_vs_dense import network_cost, paired_difference
from lexicon.sparsity.structured_prune import neuron_scores, remove_neurons
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

seeds = st.integers(0, 2**32 - 1)
activations = st.sampled_from([relu, tanh, sigmoid, softplus])


def worked():
    """Build the case of the page: three hidden neurons, the middle one without inputs."""
    hidden = Linear(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, -1.0]]), np.array([0.0, 2.0, -1.0]))
    output = Linear(np.array([[1.0, 3.0, 2.0]]), np.array([1.0]))
    return Sequential([hidden, Activation(relu), output])


def drawn(rng, sizes, activation=tanh):
    network = mlp(sizes, rng=rng, activation=activation, dtype=np.float64)
    for name, theta in network.params.items():
        if name.endswith("bias"):
            theta[:] = rng.normal(size=theta.shape)
    return network


def test_by_hand():
    network, x = worked(), np.array([[3.0, 1.0]])
    np.testing.assert_array_equal(network.forward(x), [[12]])
    scores = neuron_scores(network)
    assert [*scores] == ["0.weight"]
    np.testing.assert_allclose(scores["0.weight"], [1, 0, 2 * np.sqrt(2)], rtol=1e-15)
    small = remove_neurons(network, {"0.weight": np.array([True, False, True])})
    expected = {
        "0.weight": [[1, 0], [1, -1]],
        "0.bias": [0, -1],
        "2.weight": [[1, 2]],
        "2.bias": [7],
    }
    assert {name: theta.tolist() for name, theta in small.params.items()} == expected
    np.testing.assert_array_equal(small.forward(x), [[12]])
    smallest = remove_neurons(network, {"0.weight": np.array([False, False, True])})
    np.testing.assert_array_equal(smallest.forward(x), [[9]])  # 3 was what the first one said


@given(seeds, activations)
def test_it_is_the_network_in_which_the_removed_neurons_hear_nothing(seed, activation):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng, [4, 6, 5, 3], activation), rng.normal(size=(7, 4))
    first, second = rng.random(6) < 0.5, rng.random(5) < 0.5
    first[rng.integers(6)] = second[rng.integers(5)] = True
    small = remove_neurons(network, {"0.weight": first, "2.weight": second})
    network.params["0.weight"][~first] = 0
    network.params["2.weight"][np.ix_(~second, first)] = 0  # constants are still heard
    np.testing.assert_allclose(small.forward(x), network.forward(x), rtol=1e-10, atol=1e-10)
    sizes = [layer.params["weight"].shape for layer in small.layers[::2]]
    assert sizes == [(first.sum(), 4), (second.sum(), first.sum()), (3, second.sum())]


@given(seeds, activations)
def test_dead_neurons_go_without_a_trace(seed, activation):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng, [4, 6, 5, 3], activation), rng.normal(size=(7, 4))
    network.params["0.weight"][[1, 4]] = 0  # hear nothing
    network.params["2.weight"][:, 2] = 0  # is heard by nobody
    network.params["2.weight"][3, [0, 2, 3, 5]] = 0  # hears only those who always say the same
    y, dy = network.forward(x), rng.normal(size=(7, 3))
    scores = neuron_scores(network)
    assert (scores["0.weight"] == 0).tolist() == [False, True, True, False, True, False]
    assert (scores["2.weight"] > 0).all()
    kept = {name: score > 0 for name, score in scores.items()}
    small = remove_neurons(network, kept)
    np.testing.assert_allclose(small.forward(x), y, rtol=1e-10, atol=1e-10)
    # Training goes on as it would have: the gradients are the same too, where there still are any.
    np.testing.assert_allclose(small.backward(dy), network.backward(dy), rtol=1e-9, atol=1e-10)
    rows = network.grads["0.weight"][kept["0.weight"]]
    np.testing.assert_allclose(small.grads["0.weight"], rows, rtol=1e-9, atol=1e-10)
    columns = network.grads["2.weight"][:, kept["0.weight"]]
    np.testing.assert_allclose(small.grads["2.weight"], columns, rtol=1e-9, atol=1e-10)
    # Now nobody says anything to the fourth of the second layer: a second round finds it.
    again = neuron_scores(small)
    assert np.flatnonzero(again["2.weight"] == 0).tolist() == [3]
    smaller = remove_neurons(small, {name: score > 0 for name, score in again.items()})
    np.testing.assert_allclose(smaller.forward(x), y, rtol=1e-10, atol=1e-10)


@given(seeds, st.sampled_from([relu, tanh, sigmoid]))
def test_the_scores_bound_what_a_removal_changes(seed, activation):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng, [4, 6, 3], activation), rng.normal(size=(20, 4))
    kept = np.arange(6) != rng.integers(6)
    small = remove_neurons(network, {"0.weight": kept})
    change = np.linalg.norm(network.forward(x) - small.forward(x), axis=1)
    score = neuron_scores(network)["0.weight"][~kept].sum()
    assert (change <= score * np.linalg.norm(x, axis=1) * (1 + 1e-9)).all()


def test_the_bound_is_reached():
    # One sample along the row, and a neuron that stays in its linear part.
    network = Sequential(
        [Linear(np.array([[3.0, 4.0], [1.0, 0.0]])), Activation(relu), Linear(np.ones((2, 2)))]
    )
    x = np.array([[3.0, 4.0]])
    small = remove_neurons(network, {"0.weight": np.array([False, True])})
    change = np.linalg.norm(network.forward(x) - small.forward(x))
    np.testing.assert_allclose(change, neuron_scores(network)["0.weight"][0] * 5, rtol=1e-14)


@given(seeds, st.floats(0.01, 100))
def test_neither_order_nor_scale_of_neurons_matters(seed, factor):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng, [4, 6, 3], relu), rng.normal(size=(5, 4))
    scores, y = neuron_scores(network)["0.weight"], network.forward(x)
    network.params["0.weight"][2] *= factor
    network.params["0.bias"][2] *= factor
    network.params["2.weight"][:, 2] /= factor
    np.testing.assert_allclose(network.forward(x), y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(neuron_scores(network)["0.weight"], scores, rtol=1e-12)
    order = rng.permutation(6)
    for name, axis in (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)):
        network.params[name][:] = np.take(network.params[name], order, axis=axis)
    np.testing.assert_allclose(neuron_scores(network)["0.weight"], scores[order], rtol=1e-12)


@given(seeds)
def test_in_steps_or_at_once(seed):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng, [4, 6, 5, 3]), rng.normal(size=(7, 4))
    first, second = np.arange(6) != rng.integers(6), np.arange(5) != rng.integers(5)
    once = remove_neurons(network, {"0.weight": first, "2.weight": second})
    steps = remove_neurons(remove_neurons(network, {"0.weight": first}), {"2.weight": second})
    np.testing.assert_allclose(steps.forward(x), once.forward(x), rtol=1e-12, atol=1e-12)


def test_to_keep_all_is_a_copy(rng):
    network = mlp([4, 6, 3], rng=rng)
    for keep in ({}, {"0.weight": np.ones(6, bool)}):
        copy = remove_neurons(network, keep)
        for name, theta in network.params.items():
            np.testing.assert_array_equal(copy.params[name], theta)
            assert copy.params[name].dtype == np.float32
            assert not np.shares_memory(copy.params[name], theta)
        assert copy.layers[1] is not network.layers[1]


def test_float32_stays_and_the_network_is_not_changed(rng):
    network = mlp([4, 6, 5, 3], rng=rng)
    before = {name: theta.copy() for name, theta in network.params.items()}
    small = remove_neurons(network, layer_masks(neuron_scores(network), 0.5))
    assert {theta.dtype for theta in small.params.values()} == {np.dtype(np.float32)}
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])
    for name, theta in small.params.items():
        theta += 1
        np.testing.assert_array_equal(network.params[name], before[name])
    # In float32 the squares of these weights are zero; they are not.
    network.params["0.weight"][0] = 1e-30
    assert neuron_scores(network)["0.weight"][0] > 0


def test_two_layers_of_half_the_neurons_share_a_quarter_of_the_weights(rng):
    network = mlp([64, 64, 64, 10], rng=rng)
    small = remove_neurons(network, layer_masks(neuron_scores(network), 0.5))
    assert network.params["2.weight"].size == 4 * small.params["2.weight"].size
    before, after = network_cost(network), network_cost(small)
    assert (before.connections, after.connections) == (8832, 3392)
    # Everything falls by counting: FLOPs with the weights, bytes without an index.
    assert after.forward_flops == 2 * 3392
    assert after.step_flops == 6 * 3392
    assert after.weight_bytes == 4 * (3392 + 32 + 32 + 10)


@pytest.fixture(scope="module")
def eight_seeds():
    """Train as the example does, and return accuracies by (neurons, network, when)."""
    read = {}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)

        def fit(network, epochs, x=x, labels=labels, seed=seed):
            order, optimizer = np.random.default_rng(seed), Momentum(network, learning_rate=0.05)
            train(network, optimizer, x, labels, epochs=epochs, batch_size=32, rng=order)

        test = partial(accuracy, x=x_test, labels=labels_test)
        network = mlp([64, 64, 10], rng=rng)
        fit(network, 10)
        scores, weights = neuron_scores(network)["0.weight"], magnitude_scores(network)
        for k in (16, 4):
            small = remove_neurons(network, {"0.weight": top_k(scores, k)})
            cost, fixed = network_cost(small), 4 * (2 * 74 + 2)  # biases and row starts of CSR
            chance = remove_neurons(network, {"0.weight": top_k(rng.random(64), k)})
            by_weights = prune_network(network, global_masks(weights, 1 - cost.connections / 4736))
            share = (cost.weight_bytes - fixed) / 8 / 4736
            by_bytes = prune_network(network, global_masks(weights, 1 - share))
            assert network_cost(by_weights).connections == cost.connections
            assert abs(network_cost(by_bytes).weight_bytes - cost.weight_bytes) <= 8
            made = {"neurons": small, "random": chance, "weights": by_weights, "bytes": by_bytes}
            for name, pruned in made.items():
                read.setdefault((k, name, "cut"), []).append(test(pruned))
                fit(pruned, 3)
                read.setdefault((k, name, "tuned"), []).append(test(pruned))
            scratch = mlp([64, k, 10], rng=rng)
            fit(scratch, 13)  # as many epochs as the others together
            read.setdefault((k, "scratch", "tuned"), []).append(test(scratch))
    return read


def lead(read, k, one, other, when="tuned"):
    """Return by how much one is ahead of the other: the mean of eight seeds, and at least."""
    mean, margin = paired_difference(read[k, one, when], read[k, other, when])
    return mean, mean - margin


def test_claim_single_weights_keep_more_accuracy_than_neurons(eight_seeds):
    # Set beforehand: ahead by much means by five points on average, and what
    # stays within two points is no difference worth a claim.
    by = partial(lead, eight_seeds)
    # At equal numbers of weights it holds, by much when just cut; tuned, only at the small end.
    assert by(16, "weights", "neurons", "cut")[0] > 0.05
    assert by(16, "weights", "neurons", "cut")[1] > 0
    assert abs(by(16, "weights", "neurons")[0]) < 0.02
    assert by(4, "weights", "neurons", "cut")[0] > 0.05
    assert by(4, "weights", "neurons", "cut")[1] > 0
    assert by(4, "weights", "neurons")[0] > 0.05
    assert by(4, "weights", "neurons")[1] > 0
    # At equal bytes it does not: the index of each weight is paid for in weights.
    assert abs(by(16, "bytes", "neurons")[0]) < 0.02
    assert by(4, "neurons", "bytes")[0] > 0.1
    assert by(4, "neurons", "bytes")[1] > 0


def test_claim_the_choice_of_neurons_matters_and_where_scratch_does_as_well(eight_seeds):
    by = partial(lead, eight_seeds)
    assert by(16, "neurons", "random", "cut")[1] > 0.1
    assert abs(by(16, "neurons", "random")[0]) < 0.03
    assert abs(by(16, "neurons", "scratch")[0]) < 0.03
    assert by(4, "neurons", "random")[0] > 0
    assert by(4, "neurons", "scratch")[0] > 0.1
    assert min(eight_seeds[4, "scratch", "tuned"]) < 0.5


def test_pitfall_the_columns_of_the_next_layer_forgotten():
    hidden, activation, output = worked().layers
    kept = np.array([True, False, True])
    rows = Linear(hidden.params["weight"][kept], hidden.params["bias"][kept])
    broken = Sequential([rows, activation, output])
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3\), got \(1, 2\)"):
        broken.forward(np.array([[3.0, 1.0]]))


def test_pitfall_the_constant_of_a_dead_neuron_forgotten():
    network, x = worked(), np.array([[3.0, 1.0]])
    small = remove_neurons(network, {"0.weight": np.array([True, False, True])})
    small.params["2.bias"][:] = network.params["2.bias"]
    np.testing.assert_array_equal(network.forward(x) - small.forward(x), [[6]])  # 3 · relu(2)


def test_pitfall_half_a_score(rng):
    network, x = worked(), rng.normal(size=(5, 2))
    y = network.forward(x)
    heard = np.linalg.norm(network.params["0.weight"], axis=1)
    network.params["0.weight"][0] *= 10
    network.params["0.bias"][0] *= 10
    network.params["2.weight"][:, 0] /= 10
    np.testing.assert_allclose(network.forward(x), y, rtol=1e-12, atol=1e-12)
    rescaled = np.linalg.norm(network.params["0.weight"], axis=1)
    assert heard.argmax() == 2
    assert rescaled.argmax() == 0
    assert neuron_scores(network)["0.weight"].argmax() == 2


def test_bad_input(rng):
    network = worked()
    before = {name: theta.copy() for name, theta in network.params.items()}
    good = np.array([True, False, True])
    for name in ("2.weight", "0.bias", "1.weight", "nothing"):
        with pytest.raises(KeyError, match="keep must name weights of hidden layers, got"):
            remove_neurons(network, {"0.weight": good, name: good})
    with pytest.raises(TypeError, match=r"keep must be bool, got int64 for 0\.weight"):
        remove_neurons(network, {"0.weight": np.array([0, 2])})
    for bad in (np.zeros(3, bool), np.ones(2, bool), np.ones((3, 1), bool)):
        with pytest.raises(ValueError, match=r"keep must mark 1 to 3 of 3 in 0\.weight, got"):
            remove_neurons(network, {"0.weight": bad})
    sparse = CSRLinear.from_dense(np.ones((2, 3)), np.ones((2, 3), bool), np.zeros(2))
    for other in (KWinnersTakeAll(1), sparse, Sequential([Activation(relu)])):
        mixed = Sequential([*network.layers, other])
        for function in (neuron_scores, partial(remove_neurons, keep={"0.weight": good})):
            with pytest.raises(TypeError, match="network must hold Linear and Activation layers"):
                function(mixed)
    assert {name: theta.tolist() for name, theta in network.params.items()} == {
        name: theta.tolist() for name, theta in before.items()
    }
