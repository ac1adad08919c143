from functools import partial
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, sigmoid, tanh
from lexicon.foundations.forward_pass import Sequential, trace_shapes
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.filter_prune import filter_scores, remove_filters
from lexicon.sparsity.global_prune import global_masks, layer_masks
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.mask import top_k
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

seeds = st.integers(0, 2**32 - 1)
IMAGE = np.array([[[[1.0, 2.0], [3.0, 1.0]]]])


def worked():
    """Build the case of the page: two filters of 1 × 2, their maps of 2 × 1 read by one output."""
    filters = Convolution(np.array([[[[2.0, 1.0]]], [[[1.0, -1.0]]]]))
    output = Linear(np.array([[1.0, -1.0, 2.0, 3.0]]))
    return Sequential([filters, Activation(relu), Reshape((4,)), output])


def drawn(rng, activation=relu, padding=0, first=3, second=4, dtype=np.float64):
    """Build two convolutions and a linear layer for images of 1 × 6 × 5."""
    side = (2 + 4 * padding) * (1 + 4 * padding)
    shapes = [(first, 1, 3, 3), (second, first, 3, 3), (2, second * side)]
    weights = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    biases = [rng.normal(size=shape[0]).astype(dtype) for shape in shapes]
    return Sequential(
        [
            Reshape((1, 6, 5)),
            Convolution(weights[0], biases[0], padding=padding),
            Activation(activation),
            Convolution(weights[1], biases[1], padding=padding),
            Activation(activation),
            Reshape((second * side,)),
            Linear(weights[2], biases[2]),
        ]
    )


def test_by_hand():
    network = worked()
    np.testing.assert_array_equal(network.layers[0].forward(IMAGE)[0, :, :, 0], [[4, 7], [-1, 2]])
    np.testing.assert_array_equal(network.forward(IMAGE), [[3]])
    scores = filter_scores(network)
    assert {name: score.tolist() for name, score in scores.items()} == {"0.weight": [3, 2]}
    small = remove_filters(network, {"0.weight": np.array([True, False])})
    np.testing.assert_array_equal(small.params["0.weight"], [[[[2, 1]]]])
    np.testing.assert_array_equal(small.params["0.bias"], [0])
    np.testing.assert_array_equal(small.params["3.weight"], [[1, -1]])
    np.testing.assert_array_equal(small.forward(IMAGE), [[-3]])


@given(seeds, st.sampled_from([relu, tanh, sigmoid]), st.integers(0, 1))
def test_it_is_the_network_in_which_nobody_reads_those_maps(seed, activation, padding):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng, activation, padding), rng.normal(size=(3, 30))
    first, second = rng.random(3) < 0.5, rng.random(4) < 0.5
    first[rng.integers(3)] = second[rng.integers(4)] = True
    small = remove_filters(network, {"1.weight": first, "3.weight": second})
    network.params["3.weight"][:, ~first] = 0
    places = network.params["6.weight"].reshape(2, 4, -1)
    places[:, ~second] = 0
    np.testing.assert_allclose(small.forward(x), network.forward(x), rtol=1e-10, atol=1e-10)
    assert small.params["3.weight"].shape == (second.sum(), first.sum(), 3, 3)
    # Training goes on as it would have with those maps masked.
    dy = rng.normal(size=(3, 2))
    np.testing.assert_allclose(small.backward(dy), network.backward(dy), rtol=1e-9, atol=1e-10)
    for name, kept in {"1.weight": first, "1.bias": first, "3.bias": second}.items():
        expected = network.grads[name][kept]
        np.testing.assert_allclose(small.grads[name], expected, rtol=1e-9, atol=1e-9)
    expected = network.grads["3.weight"][np.ix_(second, first)]
    np.testing.assert_allclose(small.grads["3.weight"], expected, rtol=1e-9, atol=1e-9)
    expected = network.grads["6.weight"].reshape(2, 4, -1)[:, second].reshape(2, -1)
    np.testing.assert_allclose(small.grads["6.weight"], expected, rtol=1e-9, atol=1e-9)


@given(seeds, st.sampled_from([relu, tanh]), st.integers(0, 1))
def test_filters_without_weights_and_bias_go_without_a_trace(seed, activation, padding):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng, activation, padding), rng.normal(size=(3, 30))
    for name, dead in {"1.weight": 1, "3.weight": 2}.items():
        network.params[name][dead] = network.params[name.replace("weight", "bias")][dead] = 0
    kept = {name: score > 0 for name, score in filter_scores(network).items()}
    assert [mask.sum() for mask in kept.values()] == [2, 3]
    small = remove_filters(network, kept)
    np.testing.assert_allclose(small.forward(x), network.forward(x), rtol=1e-10, atol=1e-10)


def test_a_constant_map_is_not_the_same_at_the_border(rng):
    # What the page answers: a filter that hears nothing says relu(b), but a ring of zeros does not.
    said = np.full((1, 1, 4, 4), 2.0)
    inside = Convolution(rng.normal(size=(1, 1, 3, 3))).forward(said)
    beside = Convolution(rng.normal(size=(1, 1, 3, 3)), padding=1).forward(said)
    assert np.ptp(inside) < 1e-12
    assert np.ptp(beside) > 0.1


@given(seeds)
def test_in_steps_or_at_once_and_in_any_order(seed):
    rng = np.random.default_rng(seed)
    network, x = drawn(rng), rng.normal(size=(3, 30))
    keep = {
        "1.weight": np.arange(3) != rng.integers(3),
        "3.weight": np.arange(4) != rng.integers(4),
    }
    once, steps = remove_filters(network, keep), network
    for name in rng.permutation([*keep]):
        steps = remove_filters(steps, {str(name): keep[name]})
    for name, theta in once.params.items():
        np.testing.assert_array_equal(steps.params[name], theta)
    np.testing.assert_array_equal(steps.forward(x), once.forward(x))


def test_scores_are_sums_of_magnitudes_of_convolutions_only(rng):
    network = drawn(rng)
    scores = filter_scores(network)
    assert [*scores] == ["1.weight", "3.weight"]
    for name, score in scores.items():
        by_hand = [sum(abs(w) for w in kernels.ravel()) for kernels in network.params[name]]
        np.testing.assert_allclose(score, by_hand, rtol=1e-12)


def test_to_keep_all_is_a_copy_and_float32_stays(rng):
    network = drawn(rng, padding=1, dtype=np.float32)
    before = {name: theta.copy() for name, theta in network.params.items()}
    for keep in ({}, {"1.weight": np.ones(3, bool), "3.weight": np.ones(4, bool)}):
        copy = remove_filters(network, keep)
        for name, theta in copy.params.items():
            np.testing.assert_array_equal(theta, before[name])
            assert theta.dtype == np.float32
            theta += 1
            np.testing.assert_array_equal(network.params[name], before[name])
        assert not {id(layer) for layer in copy.layers} & {id(layer) for layer in network.layers}


def test_the_mask_ends_at_the_linear_layer(rng):
    # A second linear layer keeps all its columns.
    network = Sequential([*worked().layers, Activation(tanh), Linear(np.ones((3, 1)))])
    small = remove_filters(network, {"0.weight": np.array([False, True])})
    np.testing.assert_array_equal(small.params["3.weight"], [[2, 3]])
    np.testing.assert_array_equal(small.params["5.weight"], np.ones((3, 1)))


def digits_network(rng, first=8, second=16):
    return Sequential(
        [
            Reshape((1, 8, 8)),
            Convolution(he_normal(9, first, rng=rng).reshape(first, 1, 3, 3)),
            Activation(relu),
            Convolution(he_normal(9 * first, second, rng=rng).reshape(second, first, 3, 3)),
            Activation(relu),
            Reshape((16 * second,)),
            Linear(he_normal(16 * second, 10, rng=rng)),
        ]
    )


def counted(network):
    """Count weights and the FLOPs of one sample: two for each weight at each place of a map."""
    shapes = [shape for _, shape in trace_shapes(network, np.zeros((1, 64), np.float32))[1:]]
    sizes = {i: network.params[f"{i}.weight"].size for i in (1, 3, 6)}
    flops = {i: 2 * size * prod(shapes[i][2:]) for i, size in sizes.items()}
    return [*sizes.values()], [*flops.values()]


def test_half_of_the_filters_take_most_of_the_flops(rng):
    network = digits_network(rng)
    small = remove_filters(network, layer_masks(filter_scores(network), 0.5))
    assert counted(network) == ([72, 1152, 2560], [5184, 36864, 5120])
    assert counted(small) == ([36, 288, 1280], [2592, 9216, 2560])  # a half, a quarter, a half
    assert 0.30 < 14_368 / 47_168 < 0.31
    assert 0.88 < (5184 + 36864) / 47_168 < 0.9
    assert sum(counted(small)[1]) == 14_368
    # Nothing but values is stored: 4 bytes for each weight and bias.
    held = sum(theta.nbytes for theta in small.params.values())
    assert held == 4 * (36 + 288 + 1280 + 4 + 8 + 10)


@pytest.fixture(scope="module")
def five_seeds():
    """Train, cut half of the filters of both layers and tune; return accuracies by (way, when)."""
    read = {}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)

        def fit(network, epochs, x=x, labels=labels, seed=seed):
            order, optimizer = np.random.default_rng(seed), Momentum(network, learning_rate=0.05)
            train(network, optimizer, x, labels, epochs=epochs, batch_size=32, rng=order)

        test = partial(accuracy, x=x_test, labels=labels_test)
        network = digits_network(rng)
        fit(network, 4)
        scores = filter_scores(network)
        ranks = {
            "largest": scores,
            "random": {name: rng.random(len(score)) for name, score in scores.items()},
            "smallest": {name: -score for name, score in scores.items()},
        }
        for way, rank in ranks.items():
            keep = {name: top_k(score, len(score) // 2) for name, score in rank.items()}
            small = remove_filters(network, keep)
            read.setdefault((way, "cut"), []).append(test(small))
            fit(small, 3)
            read.setdefault((way, "tuned"), []).append(test(small))
        fit(network, 3)
        read.setdefault(("all", "tuned"), []).append(test(network))
    return read


def test_claim_half_of_the_filters_can_go_whichever_they_are(five_seeds):
    # Set beforehand: little is at most 0.03 of mean accuracy.
    mean = {key: np.mean(value) for key, value in five_seeds.items()}
    assert mean["all", "tuned"] > 0.95  # nothing cut, trained for as long
    assert mean["all", "tuned"] - mean["largest", "tuned"] < 0.03
    # Just cut, the choice is worth a lot; tuned, little is left of it.
    assert (np.array(five_seeds["largest", "cut"]) > five_seeds["random", "cut"]).all()
    assert mean["largest", "cut"] - mean["random", "cut"] > 0.1
    assert mean["random", "cut"] - mean["smallest", "cut"] > 0.1
    assert abs(mean["largest", "tuned"] - mean["random", "tuned"]) < 0.03
    assert abs(mean["largest", "tuned"] - mean["smallest", "tuned"]) < 0.04


def test_pitfall_the_wrong_columns_behind_the_flatten():
    network = worked()
    keep = np.array([True, False])
    filters, activation, _, output = network.layers
    first = Convolution(filters.params["weight"][keep])
    right = remove_filters(network, {"0.weight": keep})
    for columns, y in ((np.tile(keep, 2), 18), (np.repeat(keep, 2), -3)):
        last = Linear(output.params["weight"][:, columns])
        small = Sequential([first, activation, Reshape((2,)), last])
        np.testing.assert_array_equal(small.forward(IMAGE), [[y]])
    np.testing.assert_array_equal(right.forward(IMAGE), [[-3]])


def test_pitfall_the_kernels_of_the_next_layer_forgotten(rng):
    network = drawn(rng)
    kept = np.array([True, False, True])
    first = Convolution(network.params["1.weight"][kept], network.params["1.bias"][kept])
    broken = Sequential([network.layers[0], first, *network.layers[2:]])
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3, rows, columns\), got \(1, 2,"):
        broken.forward(np.zeros((1, 30)))


@pytest.mark.parametrize("seed", range(3))
def test_pitfall_filters_of_different_layers_compared(seed):
    scores = filter_scores(digits_network(np.random.default_rng(seed)))
    together = global_masks(scores, 0.25)
    assert together["1.weight"].sum() == 2  # 6 of 24 went, all from the first layer
    assert together["3.weight"].all()
    apart = layer_masks(scores, 0.25)
    assert [mask.sum() for mask in apart.values()] == [6, 12]


def test_bad_input(rng):
    network = drawn(rng)
    before = {name: theta.copy() for name, theta in network.params.items()}
    good = np.array([True, False, True])
    for name in ("6.weight", "1.bias", "2.weight", "nothing"):
        with pytest.raises(KeyError, match="keep must name convolutions that a layer reads, got"):
            remove_filters(network, {"1.weight": good, name: good})
    last = Sequential(network.layers[:5])
    with pytest.raises(KeyError, match="keep must name convolutions that a layer reads, got"):
        remove_filters(last, {"3.weight": np.ones(4, bool)})
    with pytest.raises(KeyError, match="keep must name convolutions that a layer reads, got"):
        remove_filters(Sequential([Activation(relu)]), {"0.weight": good})
    with pytest.raises(TypeError, match=r"keep must be bool, got int64 for 1\.weight"):
        remove_filters(network, {"1.weight": np.array([0, 2])})
    for bad in (np.zeros(3, bool), np.ones(2, bool), np.ones((3, 1), bool)):
        with pytest.raises(ValueError, match=r"keep must mark 1 to 3 of 3 in 1\.weight, got"):
            remove_filters(network, {"1.weight": bad})
    for other in (KWinnersTakeAll(1), Sequential([Activation(relu)])):
        with pytest.raises(TypeError, match="network must hold Convolution, Activation, Reshape"):
            remove_filters(Sequential([*network.layers, other]), {"1.weight": good})
    folded = Sequential([*network.layers[:3], Reshape((6, 6)), Reshape((36,)), network.layers[6]])
    with pytest.raises(ValueError, match=r"keep cannot follow maps reshaped to \(6, 6\)"):
        remove_filters(folded, {"1.weight": good})
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])
