import tracemalloc
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import euclidean, sqeuclidean

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.fine_tuning import (
    Movement,
    constant_rate,
    earlier_values,
    movement,
    regained,
    rewind,
    rewound_rate,
)
from lexicon.sparsity.global_prune import global_masks, prune_network, random_scores
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import accuracy, train


def test_by_hand():
    dense = Sequential([Linear(np.array([[3.0, 0.5, -4.0]]))])
    pruned = prune_network(dense, global_masks(magnitude_scores(dense), 1 / 3))
    x = np.array([[1.0, 1.0, 1.0]])
    z = [network.forward(x) for network in (dense, pruned)]
    np.testing.assert_array_equal(z, [[[-0.5]], [[-1.0]]])
    assert movement(pruned, dense) == Movement(distance=0.0, growth=1.0)
    # One step with rate 0.1 on (z + 0.5)² / 2, whose slope at z = -1 is -0.5.
    pruned.backward(pruned.forward(x) + 0.5)
    StochasticGradientDescent(pruned, learning_rate=0.1).step()
    np.testing.assert_allclose(pruned.params["0.weight"], [3.05, -3.95], rtol=1e-15)
    np.testing.assert_allclose(pruned.params["0.bias"], [0.05], rtol=1e-12)
    np.testing.assert_allclose(pruned.forward(x), [[-0.85]], rtol=1e-12)
    moved = movement(pruned, dense)
    assert moved.distance == pytest.approx(0.05 * 2**0.5 / 5, rel=1e-12)
    assert round(moved.distance, 3) == 0.014
    assert moved.growth == pytest.approx((3.05**2 + 3.95**2) ** 0.5 / 5, rel=1e-12)
    assert regained(*z, pruned.forward(x)) == pytest.approx(0.51, rel=1e-12)
    rewind(pruned, dense)
    np.testing.assert_array_equal(pruned.params["0.weight"], [3.0, -4.0])
    np.testing.assert_array_equal(pruned.params["0.bias"], [0.0])


def test_rates_by_hand():
    rates = [0.1, 0.1, 0.1, 0.01, 0.001]
    constant = constant_rate(rates.__getitem__, trained=5)
    assert [constant(epoch) for epoch in range(3)] == [0.001] * 3
    assert [constant_rate(rates.__getitem__, trained=1)(9)] == [0.1]
    again = rewound_rate(rates.__getitem__, trained=5, epochs=3)
    assert [again(epoch) for epoch in range(3)] == [0.1, 0.01, 0.001]
    whole = rewound_rate(rates.__getitem__, trained=5, epochs=5)
    assert [whole(epoch) for epoch in range(5)] == rates


@given(st.integers(0, 99), st.floats(0.05, 0.8), st.floats(0.05, 0.8))
def test_values_come_back_by_position(seed, first, then):
    # Each weight is the number of its own position, so that it says where it belongs.
    rng = np.random.default_rng(seed)
    shapes = [(7, 5), (3, 7)]
    inner, outer = (Linear(np.arange(1.0, 1 + a * b).reshape(a, b)) for a, b in shapes)
    dense = Sequential([Sequential([inner, Activation(relu)]), outer])
    inner.params["bias"][:] = 9
    halfway = prune_network(dense, global_masks(random_scores(dense, rng=rng), first))
    pruned = prune_network(halfway, global_masks(random_scores(halfway, rng=rng), then))
    for earlier in (dense, halfway):
        kept = {name: theta.copy() for name, theta in earlier.params.items()}
        for theta in pruned.params.values():
            theta[:] = -1
        values = earlier_values(pruned, earlier)
        assert [*values] == [*pruned.params]
        rewind(pruned, earlier)
        for name, layer in (("0.0", pruned.layers[0].layers[0]), ("1", pruned.layers[1])):
            np.testing.assert_array_equal(values[f"{name}.weight"], layer.positions + 1)
            np.testing.assert_array_equal(layer.weight.data, layer.positions + 1)
        np.testing.assert_array_equal(pruned.params["0.0.bias"], np.full(7, 9))
        assert movement(pruned, earlier) == Movement(0.0, 1.0)
        for theta in (*values.values(), *pruned.params.values()):
            theta += 1  # copies, not the earlier network's own
        for name, theta in earlier.params.items():
            np.testing.assert_array_equal(theta, kept[name])


@given(st.integers(0, 99))
def test_laws_of_the_measures(seed):
    rng = np.random.default_rng(seed)
    network = sparse_mlp([6, 5, 3], density=0.5, rng=rng, dtype=np.float64)
    network.layers[0].params["bias"][:] = 7  # biases are not counted
    twice = deepcopy(network)
    for name, theta in twice.params.items():
        theta *= 2 if name.endswith("weight") else 5
    np.testing.assert_allclose(movement(twice, network), (1, 2), rtol=1e-14)
    np.testing.assert_allclose(movement(network, twice), (0.5, 0.5), rtol=1e-14)
    flipped = deepcopy(network)
    for theta in flipped.params.values():
        theta *= -1
    np.testing.assert_allclose(movement(flipped, network), (2, 1), rtol=1e-14)
    z, lost = rng.standard_normal((2, 4, 3))
    assert regained(z, z + lost, z) == 1
    assert regained(z, z + lost, z + lost) == 0
    assert regained(z, z + lost, z + lost / 2) == pytest.approx(0.75, rel=1e-12)
    assert regained(z, z + lost, z - 2 * lost) == pytest.approx(-3, rel=1e-12)


def test_measures_are_scipys_distances(rng):
    network = sparse_mlp([6, 5, 3], density=0.5, rng=rng, dtype=np.float64)
    other = deepcopy(network)
    for theta in other.params.values():
        theta += rng.standard_normal(theta.shape)
    w, was = (np.concatenate([*weights_of(each).values()]) for each in (other, network))
    moved = movement(other, network)
    assert moved.distance == pytest.approx(euclidean(w, was) / euclidean(was, 0 * was), rel=1e-12)
    assert moved.growth == pytest.approx(euclidean(w, 0 * w) / euclidean(was, 0 * was), rel=1e-12)
    z, pruned, after = rng.standard_normal((3, 12))
    expected = 1 - sqeuclidean(after, z) / sqeuclidean(pruned, z)
    found = regained(*(each.reshape(4, 3) for each in (z, pruned, after)))
    assert found == pytest.approx(expected, rel=1e-12)


def weights_of(network):
    return {name: w for name, w in network.params.items() if name.endswith("weight")}


def test_nothing_dense_is_made(rng):
    network = Sequential([CSRLinear(random_csr((2000, 2000), 40_000, rng=rng))])
    pruned = prune_network(network, {"0.weight": np.arange(40_000) % 2 == 0})
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    rewind(pruned, network)
    movement(pruned, network)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 2_000_000  # a dense mask alone would take 4,000,000
    assert earlier_values(pruned, network)["0.weight"].dtype == np.float32


RATES = [0.1] * 7 + [0.01] * 3


def trained(network, rates, data, rng):
    optimizer = Momentum(network, learning_rate=0.1)
    for rate in rates:
        optimizer.learning_rate = rate
        train(network, optimizer, *data, epochs=1, batch_size=64, rng=rng)
    return network


@pytest.fixture(scope="module")
def runs():
    """Five seeds: a network of ten epochs, what it was after five, and its twin of five more."""
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        start = mlp([64, 64, 10], rng=rng)
        earlier = trained(deepcopy(start), RATES[:5], (x, labels), rng)
        network = trained(deepcopy(earlier), RATES[5:], (x, labels), rng)
        twin = trained(deepcopy(network), RATES[5:], (x, labels), rng)
        found.append((start, earlier, network, twin, (x, labels), (x_test, labels_test)))
    return found


def prune(network, sparsity):
    return prune_network(network, global_masks(magnitude_scores(network), sparsity))


def healed(pruned, values, rates, data):
    network = deepcopy(pruned)
    rewind(network, values)
    return trained(network, rates, data, np.random.default_rng(0))


def test_claim_rewinding_heals_better_than_fine_tuning(runs):
    # The rule, set beforehand: better is more than 0.01 of mean test accuracy over five seeds.
    rate = {
        "small": constant_rate(RATES.__getitem__, trained=10),
        "again": rewound_rate(RATES.__getitem__, trained=10, epochs=5),
    }
    five = {name: [each(epoch) for epoch in range(5)] for name, each in rate.items()}
    assert five == {"small": [0.01] * 5, "again": [0.1, 0.1, 0.01, 0.01, 0.01]}
    read = {}
    for sparsity in (0.8, 0.95):
        for start, earlier, network, _, data, test in runs:
            pruned = prune(network, sparsity)
            ways = {
                "tuned": healed(pruned, network, five["small"], data),
                "rate": healed(pruned, network, five["again"], data),
                "weights": healed(pruned, earlier, five["again"], data),
            }
            if sparsity == 0.95:
                ways["large"] = healed(pruned, network, [0.1] * 5, data)
                ways["longer"] = healed(pruned, network, [0.01] * 15, data)
                ways["start"] = healed(pruned, start, RATES, data)
            for way, each in ways.items():
                read.setdefault((sparsity, way), []).append(accuracy(each, *test))
    mean = {key: np.mean(values) for key, values in read.items()}
    assert abs(mean[0.8, "rate"] - mean[0.8, "tuned"]) < 0.01  # at 80 % all three are level
    assert abs(mean[0.8, "weights"] - mean[0.8, "tuned"]) < 0.01
    assert mean[0.95, "rate"] - mean[0.95, "tuned"] > 0.01  # at 95 % both rewindings are better
    assert mean[0.95, "weights"] - mean[0.95, "tuned"] > 0.01
    assert all(np.greater(read[0.95, "rate"], read[0.95, "tuned"]))
    assert abs(mean[0.95, "weights"] - mean[0.95, "rate"]) < 0.01  # and level with each other
    # The large steps do it: a constant large rate is no worse, and three times as many small steps
    # close most of the gap. Values of before the training, trained in full here, are no worse.
    for rewound in ("rate", "weights"):
        assert mean[0.95, "large"] > mean[0.95, rewound] - 0.01
    assert mean[0.95, "rate"] - mean[0.95, "longer"] < 0.01
    assert mean[0.95, "start"] > mean[0.95, "rate"]


def test_claim_pruning_redistributes_what_was_learnt(runs):
    # Set beforehand. It holds in full if, over five seeds at 90 %, (1) the survivors move more
    # than twice as far as in a twin that is not pruned and trains as long, (2) their norm grows,
    # (3) more than half of the lost accuracy comes back, and (4) so do the hidden sums.
    read = []
    for _, _, network, twin, data, test in runs:
        pruned = prune(network, 0.9)
        after = healed(pruned, network, RATES[5:], data)
        still = deepcopy(pruned)
        rewind(still, twin)  # the twin's values at the surviving positions
        sums = [each.layers[0].forward(test[0]) for each in (network, pruned, after)]
        x, _ = data
        possible = deepcopy(pruned)
        weight = possible.layers[0].weight
        target = network.layers[0].forward(x)
        for row, (a, b) in enumerate(zip(weight.indptr[:-1], weight.indptr[1:], strict=True)):
            inputs = np.column_stack([x[:, weight.indices[a:b]], np.ones(len(x), x.dtype)])
            best = np.linalg.lstsq(inputs, target[:, row], rcond=None)[0]
            weight.data[a:b], possible.params["0.bias"][row] = best[:-1], best[-1]
        best = possible.layers[0].forward(test[0])
        moved, unmoved = movement(after, network), movement(still, network)
        assert moved.distance > 4 * unmoved.distance  # (1) holds
        assert unmoved.growth < 1.03 < 1.1 < moved.growth < 1.2  # (2) holds
        before, cut, then = (accuracy(each, *test) for each in (network, pruned, after))
        assert (then - cut) / (before - cut) > 0.5  # (3) holds
        assert 0.1 < regained(*sums) < 0.3  # (4) does not, though
        assert regained(*sums[:2], best) > 0.7  # the same connections could
        read.append((accuracy(possible, *test), then))
    fitted, tuned = np.mean(read, axis=0)
    assert tuned - fitted > 0.01  # and it would not read better
    gain = [
        accuracy(twin, *test) - accuracy(network, *test) for _, _, network, twin, _, test in runs
    ]
    assert np.mean(gain) < 0.01  # more training alone wins next to nothing


def test_pitfall_pruned_weights_grow_back(rng):
    x, labels = rng.standard_normal((40, 5)), np.arange(40) % 4
    dense = Sequential([Linear(rng.standard_normal((4, 5)))])
    old = Momentum(dense, learning_rate=0.1)
    train(dense, old, x, labels, epochs=1, batch_size=8, rng=rng)
    masks = global_masks(magnitude_scores(dense), 0.8)
    mask = masks["0.weight"]

    def connections(network, optimizer):
        train(network, optimizer, x, labels, epochs=2, batch_size=8, rng=rng)
        return np.count_nonzero(network.params["0.weight"])

    zeroed = deepcopy(dense)
    zeroed.params["0.weight"][~mask] = 0
    assert np.count_nonzero(zeroed.params["0.weight"]) == 4
    assert connections(zeroed, Momentum(zeroed, learning_rate=0.1)) == 20
    masked, stale = deepcopy((dense, old))
    masked.layers[0] = MaskedLinear(masked.layers[0], mask)
    assert connections(masked, stale) == 20  # the gradient is masked, the velocity is older
    for decay in (0.0, 0.1):  # weight decay shrinks what is there, and revives nothing
        masked = Sequential([MaskedLinear(deepcopy(dense.layers[0]), mask)])
        fresh = Momentum(masked, learning_rate=0.1, weight_decay=decay)
        assert connections(masked, fresh) == 4
        pruned = prune_network(dense, masks)
        fresh = Momentum(pruned, learning_rate=0.1, weight_decay=decay)
        assert connections(pruned, fresh) == 4


def test_pitfall_values_put_back_in_order_and_not_by_position(runs):
    _, earlier, network, _, _, test = runs[0]
    pruned = prune(network, 0.8)
    right, wrong = deepcopy(pruned), deepcopy(pruned)
    rewind(right, earlier)
    for name, theta in wrong.params.items():
        theta[:] = earlier.params[name].ravel()[: theta.size]
    assert accuracy(right, *test) > 0.8
    assert accuracy(wrong, *test) < 0.3


def test_pitfall_the_last_rate_is_next_to_nothing(runs):
    _, _, network, _, data, test = runs[0]

    def cosine(epoch):
        return 0.05 * (1 + np.cos(np.pi * epoch / 10))

    last = constant_rate(cosine, trained=10)
    again = rewound_rate(cosine, trained=10, epochs=3)
    assert round(last(0), 4) == round(last(2), 4) == 0.0024
    assert [round(again(epoch), 3) for epoch in range(3)] == [0.021, 0.01, 0.002]
    pruned = prune(network, 0.95)
    small, larger = (
        healed(pruned, network, [rate(epoch) for epoch in range(3)], data) for rate in (last, again)
    )
    assert movement(small, network).distance < movement(larger, network).distance / 1.5
    assert accuracy(small, *test) < accuracy(larger, *test) - 0.01


def test_bad_input(rng):
    with pytest.raises(ValueError, match="trained must be at least 1, got 0"):
        constant_rate(lambda epoch: 0.1, trained=0)
    for epochs in (0, 6):
        with pytest.raises(ValueError, match=f"epochs must be 1 to 5, .* got {epochs}"):
            rewound_rate(lambda epoch: 0.1, trained=5, epochs=epochs)
    z = np.ones((2, 3))
    for outputs in ((z, z[:1], z), (z[:1], z, z), (z, 2 * z, z[:1])):
        with pytest.raises(ValueError, match="outputs must have one shape"):
            regained(*outputs)
    with pytest.raises(ValueError, match="nothing was lost"):
        regained(z, z, z)
    with pytest.raises(ValueError, match="nothing was lost"):
        regained(z, z * (1 + 9e-7), 2 * z)
    assert regained(z, z * (1 + 2e-6), z) == 1

    dense = mlp([6, 5, 3], rng=rng, dtype=np.float64)
    pruned = prune_network(dense, global_masks(magnitude_scores(dense), 0.5))
    before = {name: theta.copy() for name, theta in pruned.params.items()}
    wider = mlp([6, 5, 4], rng=rng, dtype=np.float64)
    sideways = Sequential([Linear(np.ones((6, 5))), Activation(relu), Linear(np.ones((5, 6)))])
    bare = Sequential([dense.layers[1], Activation(relu), dense.layers[2]])
    sparser = prune_network(pruned, global_masks(magnitude_scores(pruned), 0.5))
    for earlier, error, what in [
        (Sequential(dense.layers[:2]), ValueError, "earlier must have the layers of network"),
        (wider, ValueError, r"earlier must have 2.weight of \(3, 5\)"),
        (sideways, ValueError, r"earlier must have 0.weight of \(5, 6\)"),
        (bare, ValueError, r"earlier must have 0.weight of \(5, 6\)"),
        (mlp([6, 5, 3], rng=rng), TypeError, "earlier must have 0.weight in float64, got float32"),
        (sparser, ValueError, "earlier must have stored all positions of 0.weight"),
    ]:
        for function in (rewind, movement, earlier_values):
            with pytest.raises(error, match=what):
                function(pruned, earlier)
    for name, theta in pruned.params.items():
        np.testing.assert_array_equal(theta, before[name])
    corners = np.array([[True, False], [False, True]])
    both, first, none = (
        Sequential([CSRLinear.from_dense(np.ones((2, 2)), mask, np.zeros(2))])
        for mask in (corners, corners & [[True], [False]], corners & False)
    )
    for earlier in (first, none):
        with pytest.raises(
            ValueError, match=r"earlier must have stored all positions of 0\.weight"
        ):
            rewind(both, earlier)
    for theta in dense.params.values():
        theta[:] = 0
    with pytest.raises(ValueError, match="earlier must have weights that are not all 0"):
        movement(pruned, dense)
