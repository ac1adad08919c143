import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import hypergeom

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import (
    global_masks,
    layer_masks,
    neuron_masks,
    prunable_layers,
    prune_network,
    random_scores,
)
from lexicon.sparsity.magnitude_prune import magnitude_mask, magnitude_scores
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

FIRST = np.array([[0.9, -0.7, 0.1, 0.45], [0.4, 0.3, -0.2, 0.05]])
SECOND = np.array([[0.6, -0.8]])

# Few distinct values, so that ties are the rule, between layers as well as within.
few = st.integers(-2, 2).map(float)
layers = st.fixed_dictionaries(
    {
        "0.weight": arrays(np.float64, (3, 4), elements=few),
        "2.weight": arrays(np.float64, (2, 3), elements=few),
        "4.weight": arrays(np.float64, (5,), elements=few),  # of a sparse layer
    }
)
sparsities = st.floats(0, 0.8)


def small(rng, dtype=np.float64):
    inner = Sequential([Linear(rng.standard_normal((5, 6)).astype(dtype)), Activation(relu)])
    return Sequential(
        [
            Linear(rng.standard_normal((6, 4)).astype(dtype), np.arange(6).astype(dtype)),
            Activation(relu),
            inner,
            CSRLinear(random_csr((3, 5), 9, rng=rng, dtype=dtype), threads=1),
        ]
    )


def test_by_hand():
    network = Sequential([Linear(FIRST, np.array([1.0, 2.0])), Activation(relu), Linear(SECOND)])
    scores = magnitude_scores(network)
    for choose, first, second in [
        (global_masks, [[1, 1, 0, 1], [0, 0, 0, 0]], [[1, 1]]),
        (layer_masks, [[1, 1, 0, 1], [1, 0, 0, 0]], [[0, 1]]),
        (neuron_masks, [[1, 1, 0, 0], [1, 1, 0, 0]], [[0, 1]]),
    ]:
        masks = choose(scores, 0.5)
        assert [*masks] == ["0.weight", "2.weight"]
        np.testing.assert_array_equal(masks["0.weight"], np.array(first, bool))
        np.testing.assert_array_equal(masks["2.weight"], np.array(second, bool))
    pruned = prune_network(network, global_masks(scores, 0.5))
    np.testing.assert_array_equal(pruned.params["0.weight"], [0.9, -0.7, 0.45])
    np.testing.assert_array_equal(pruned.params["0.bias"], [1, 2])
    np.testing.assert_array_equal(pruned.params["2.weight"], [0.6, -0.8])
    # 0.6 · (0.9 - 0.7 + 0.45 + 1) - 0.8 · 2
    np.testing.assert_allclose(pruned.forward(np.ones((1, 4))), [[-0.61]], rtol=1e-12)


@given(layers, sparsities)
def test_exact_counts_and_one_threshold(scores, sparsity):
    sizes = {name: score.size for name, score in scores.items()}
    masks = global_masks(scores, sparsity)
    assert {name: mask.shape for name, mask in masks.items()} == {
        name: score.shape for name, score in scores.items()
    }
    assert all(mask.dtype == np.bool_ for mask in masks.values())
    assert sum(mask.sum() for mask in masks.values()) == 23 - round(sparsity * 23)
    kept = np.concatenate([scores[name][mask] for name, mask in masks.items()])
    gone = np.concatenate([scores[name][~mask] for name, mask in masks.items()])
    assert kept.min() >= gone.max(initial=-np.inf)
    for name, mask in layer_masks(scores, sparsity).items():
        assert mask.shape == scores[name].shape
        assert mask.sum() == sizes[name] - round(sparsity * sizes[name])
    matrices = {name: scores[name] for name in ("0.weight", "2.weight")}
    if round(sparsity * 3) < 3:
        for name, mask in neuron_masks(matrices, sparsity).items():
            n_in = scores[name].shape[1]
            assert (mask.sum(axis=1) == n_in - round(sparsity * n_in)).all()


@given(layers, sparsities)
def test_a_stable_sort_makes_the_same_choice(scores, sparsity):
    # NumPy's stable sort of the negated scores is an oracle for "largest, then first".
    together = np.concatenate([score.ravel() for score in scores.values()])
    expected = np.zeros(23, bool)
    expected[np.argsort(-together, kind="stable")[: 23 - round(sparsity * 23)]] = True
    masks = global_masks(scores, sparsity)
    np.testing.assert_array_equal(np.concatenate([m.ravel() for m in masks.values()]), expected)
    # Position is that of the array's axes, not of memory.
    fortran = {name: np.asfortranarray(score) for name, score in scores.items()}
    for choose in (global_masks, layer_masks):
        again = choose(fortran, sparsity)
        for name, mask in choose(scores, sparsity).items():
            np.testing.assert_array_equal(again[name], mask)


@given(layers, sparsities)
def test_global_is_per_layer_at_shares_of_its_own(scores, sparsity):
    for name, mask in global_masks(scores, sparsity).items():
        if mask.any():
            share = 1 - mask.sum() / mask.size
            alone = layer_masks({name: scores[name]}, share)
            np.testing.assert_array_equal(alone[name], mask)


@given(layers, sparsities)
def test_layers_and_neurons_are_pruned_one_by_one(scores, sparsity):
    magnitudes = {name: np.abs(score) for name, score in scores.items()}
    for name, mask in layer_masks(magnitudes, sparsity).items():
        np.testing.assert_array_equal(mask, magnitude_mask(scores[name], sparsity))
    rows = neuron_masks({"0.weight": scores["0.weight"]}, min(sparsity, 0.7))["0.weight"]
    for row, score in zip(rows, scores["0.weight"], strict=True):
        alone = layer_masks({"row": score}, min(sparsity, 0.7))["row"]
        np.testing.assert_array_equal(row, alone)


@given(layers)
def test_sparsity_zero_keeps_all(scores):
    for masks in (global_masks(scores, 0.0), layer_masks(scores, 0.0)):
        assert all(mask.all() for mask in masks.values())
    assert neuron_masks({"0.weight": scores["0.weight"]}, 0.0)["0.weight"].all()


@given(layers, sparsities)
def test_no_choice_of_that_size_removes_a_smaller_sum_of_squares(scores, sparsity):
    magnitudes = {name: np.abs(score) for name, score in scores.items()}
    masks = global_masks(magnitudes, sparsity)
    removed = sum((scores[name][~mask] ** 2).sum() for name, mask in masks.items())
    squares = np.sort(np.concatenate([score.ravel() ** 2 for score in scores.values()]))
    assert removed == squares[: round(sparsity * 23)].sum()


def test_random_scores_have_the_weights_names_and_no_favourites(rng):
    network = small(rng)
    scores = random_scores(network, rng=rng)
    assert {name: score.shape for name, score in scores.items()} == {
        "0.weight": (6, 4),
        "2.0.weight": (5, 6),
        "3.weight": (9,),
    }
    again, other = (random_scores(network, rng=np.random.default_rng(i)) for i in (7, 8))
    for name, score in random_scores(network, rng=np.random.default_rng(7)).items():
        np.testing.assert_array_equal(score, again[name])
        assert (score != other[name]).all()
    wide = random_scores(Sequential([Linear(np.zeros((100, 100)))]), rng=rng)["0.weight"]
    assert 0 <= wide.min() < 0.01 < 0.99 < wide.max() < 1
    assert abs(wide.mean() - 0.5) < 0.02
    # What the page says of one weight in 32: a layer of 320 of 24,896 keeps 10, give or take 3.
    chance = hypergeom(24_896, 320, 778)
    assert chance.mean() == pytest.approx(10, abs=0.01)
    assert 3 < chance.std() < 3.2


def test_the_pruned_network_computes_what_masked_layers_do(rng):
    x, dy = rng.standard_normal((7, 4)), rng.standard_normal((7, 3))
    network = small(rng)
    scores = {name: np.abs(p) for name, p in network.params.items() if name.endswith("weight")}
    masks = global_masks(scores, 0.4)
    pruned = prune_network(network, masks)
    assert [type(layer) for layer in pruned.layers] == [
        CSRLinear,
        Activation,
        Sequential,
        CSRLinear,
    ]
    assert isinstance(pruned.layers[2].layers[0], CSRLinear)
    assert pruned.layers[3].threads == 1
    # The oracle: dense layers in which the same weights are zero.
    first, _, inner, last = network.layers
    dense_last = np.zeros((3, 5))
    rows = np.repeat(np.arange(3), np.diff(last.weight.indptr))[masks["3.weight"]]
    stored = masks["3.weight"]
    dense_last[rows, last.weight.indices[stored]] = last.weight.data[stored]
    masked = Sequential(
        [
            MaskedLinear(Linear(first.params["weight"], first.params["bias"]), masks["0.weight"]),
            Activation(relu),
            MaskedLinear(Linear(inner.layers[0].params["weight"]), masks["2.0.weight"]),
            Activation(relu),
            Linear(dense_last),
        ]
    )
    np.testing.assert_allclose(pruned.forward(x), masked.forward(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pruned.backward(dy), masked.backward(dy), rtol=1e-12, atol=1e-12)
    for ours, theirs in (("0", "0"), ("2.0", "2")):
        gradient = masked.grads[f"{theirs}.weight"][masks[f"{ours}.weight"]]
        np.testing.assert_allclose(pruned.grads[f"{ours}.weight"], gradient, rtol=1e-12)


def test_gradient_of_a_pruned_network(rng):
    network = mlp([6, 8, 4], rng=rng, activation=tanh, dtype=np.float64)
    pruned = prune_network(network, global_masks(magnitude_scores(network), 0.6))
    assert max(check_layer(pruned, rng.standard_normal((5, 6)), rng=rng).values()) < 1e-7


def test_pruning_a_sparse_network_again_takes_a_share_of_what_is_stored(rng):
    network = sparse_mlp([20, 30, 10], density=0.3, rng=rng, dtype=np.float64)
    pruned = prune_network(network, global_masks(magnitude_scores(network), 0.5))
    stored = sum(layer.weight.nnz for layer in network.layers[::2])
    assert sum(layer.weight.nnz for layer in pruned.layers[::2]) == stored - round(0.5 * stored)
    for before, after in zip(network.layers[::2], pruned.layers[::2], strict=True):
        dense, sparse = before.weight.toarray(), after.weight.toarray()
        assert after.weight.has_canonical_format
        np.testing.assert_array_equal(sparse[sparse != 0], dense[sparse != 0])
        assert (sparse != 0).sum() == after.weight.nnz


def test_nothing_is_shared_and_layers_without_a_mask_are_copies(rng):
    network = small(rng, np.float32)
    before = {name: p.copy() for name, p in network.params.items()}
    masks = {"0.weight": rng.random((6, 4)) < 0.5}
    pruned = prune_network(network, masks)
    assert isinstance(pruned.layers[2].layers[0], Linear)
    assert pruned.params["3.weight"].dtype == pruned.params["0.weight"].dtype == np.float32
    for parameter in pruned.params.values():
        parameter += 1
    for name, p in network.params.items():
        np.testing.assert_array_equal(p, before[name])
    # A mask that keeps nothing is obeyed: collapse is not this function's business.
    empty = prune_network(network, {"0.weight": np.zeros((6, 4), bool)})
    assert empty.layers[0].weight.nnz == 0
    # "1." is no prefix of "10.weight".
    tall = Sequential([Linear(np.full((2, 2), float(i))) for i in range(11)])
    one = prune_network(tall, {"10.weight": np.ones((2, 2), bool)})
    assert [isinstance(layer, CSRLinear) for layer in one.layers] == [False] * 10 + [True]


def test_prunable_layers_are_those_with_weights_if_they_are_of_a_kind_that_can_be_pruned(rng):
    dense, sparse = Linear(np.ones((3, 2))), CSRLinear(random_csr((4, 3), 5, rng=rng))
    network = Sequential([dense, Activation(relu), Sequential([sparse])])
    assert prunable_layers(network) == {"0.weight": dense, "2.0.weight": sparse}
    assert not prunable_layers(Sequential([Activation(relu)]))
    masked = MaskedLinear(Linear(np.ones((2, 2))), np.ones((2, 2), dtype=bool))
    with pytest.raises(TypeError, match="weights in Linear or CSRLinear, got MaskedLinear"):
        prunable_layers(Sequential([masked]))
    for bad in (np.nan, np.inf):
        dense.params["bias"][1] = bad
        with pytest.raises(
            ValueError, match=r"network must have finite parameters, 0\.bias has not"
        ):
            prunable_layers(network)


def test_no_dense_weight_is_made_of_a_sparse_network(rng):
    # 40,000 connections: some hundred kilobytes a list. A dense mask would take 400 MB.
    weight = random_csr((20_000, 20_000), 40_000, rng=rng)
    network = Sequential([CSRLinear(weight)])
    scores = random_scores(network, rng=rng)
    tracemalloc.start()
    pruned = prune_network(network, global_masks(scores, 0.9))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pruned.layers[0].weight.nnz == 4000
    assert peak < 4e6


def test_claim_one_list_beats_one_for_each_layer_where_weights_are_few():
    # Set beforehand: level means within 0.02 of mean accuracy, better means in every run.
    ways = {"all": global_masks, "layer": layer_masks, "neuron": neuron_masks}
    found = {}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        network = mlp([64, 256, 32, 10], rng=rng)
        sizes = [network.params[f"{i}.weight"].size for i in (0, 2, 4)]
        assert (sizes[0], sizes[2], sum(sizes)) == (16_384, 320, 24_896)
        untrained = global_masks(magnitude_scores(network), 0.95)
        optimizer = Momentum(network, learning_rate=0.1)
        train(network, optimizer, x, labels, epochs=10, batch_size=64, rng=rng)
        # Who keeps more than whom is settled before training.
        trained = global_masks(magnitude_scores(network), 0.95)
        for masks in (untrained, trained):
            first, middle, last = (mask.mean() for mask in masks.values())
            assert middle < 0.05 < first < last
        for name, scores in (
            ("largest", magnitude_scores(network)),
            ("random", random_scores(network, rng=rng)),
        ):
            for one_in, among in [
                (32, "all"),
                (32, "layer"),
                (32, "neuron"),
                (8, "all"),
                (8, "layer"),
            ]:
                pruned = prune_network(network, ways[among](scores, 1 - 1 / one_in))
                assert sum(layer.weight.nnz for layer in pruned.layers[::2]) == 24_896 / one_in
                before = accuracy(pruned, x_test, labels_test)
                if (name, one_in) != ("random", 8):
                    optimizer = Momentum(pruned, learning_rate=0.1)
                    again = np.random.default_rng(seed)
                    train(pruned, optimizer, x, labels, epochs=3, batch_size=64, rng=again)
                after = accuracy(pruned, x_test, labels_test)
                found.setdefault((name, one_in, among), []).append((before, after))
    pruned = {key: np.array(value)[:, 0] for key, value in found.items()}
    tuned = {key: np.array(value)[:, 1] for key, value in found.items()}
    gap = tuned["largest", 32, "all"] - tuned["largest", 32, "layer"]
    assert gap.min() > 0
    assert gap.mean() > 0.1
    assert tuned["largest", 32, "layer"].mean() > tuned["largest", 32, "neuron"].mean()
    assert abs(tuned["largest", 8, "all"].mean() - tuned["largest", 8, "layer"].mean()) < 0.02
    assert pruned["largest", 8, "all"].mean() - pruned["largest", 8, "layer"].mean() > 0.05
    assert max(tuned["random", 32, among].mean() for among in ways) < 0.2


def test_pitfall_a_layer_loses_everything(rng):
    scores = {
        "0.weight": np.abs(rng.normal(0, np.sqrt(2 / 64), size=(512, 64))),
        "2.weight": np.abs(rng.normal(0, np.sqrt(2 / 512), size=(64, 512))),
    }
    assert [mask.sum() for mask in global_masks(scores, 0.97).values()] == [1966, 0]
    assert [mask.sum() for mask in layer_masks(scores, 0.97).values()] == [983, 983]


def test_pitfall_layers_in_different_units(rng):
    network = mlp([64, 256, 32, 10], rng=rng, dtype=np.float64)
    network.params["0.bias"][:] = rng.standard_normal(256)
    x, labels = rng.random((20, 64)), rng.integers(10, size=20)
    criterion = CrossEntropy()
    logits = network.forward(x)

    def taylor():
        criterion.forward(network.forward(x), labels)
        network.backward(criterion.backward())
        return {name: np.abs(network.params[name] * network.grads[name]) for name in names}

    names = [*magnitude_scores(network)]
    products, before = taylor(), magnitude_scores(network)
    even = {name: score / np.sqrt((score**2).mean()) for name, score in before.items()}
    for name, factor in [("0.weight", 10), ("0.bias", 10), ("2.weight", 0.1)]:
        network.params[name][:] *= factor
    np.testing.assert_allclose(network.forward(x), logits, rtol=1e-10, atol=1e-12)
    after = magnitude_scores(network)
    kept = [mask.sum() for mask in global_masks(after, 0.5).values()]
    assert kept[1] == 0 < min(mask.sum() for mask in global_masks(before, 0.5).values())
    # The cures: one list for each layer, one scale for each layer, or the unit of the loss.
    rescaled = {name: score / np.sqrt((score**2).mean()) for name, score in after.items()}
    for first, second in (
        (layer_masks(before, 0.5), layer_masks(after, 0.5)),
        (neuron_masks(before, 0.5), neuron_masks(after, 0.5)),
        (global_masks(even, 0.5), global_masks(rescaled, 0.5)),
    ):
        for name in names:
            np.testing.assert_array_equal(first[name], second[name])
    for name, product in taylor().items():
        np.testing.assert_allclose(product, products[name], rtol=1e-8, atol=1e-15)


def test_pitfall_rounding_by_row_changes_the_count(rng):
    scores = random_scores(mlp([64, 256, 32, 10], rng=rng), rng=rng)
    counts = {
        (sparsity, choose): sum(mask.sum() for mask in choose(scores, sparsity).values())
        for sparsity in (0.95, 1 - 1 / 32)
        for choose in (layer_masks, neuron_masks)
    }
    assert [*counts.values()] == [1245, 1204, 778, 778]


def test_bad_input(rng):
    scores = {"a": np.ones((2, 3)), "b": np.ones((1, 2))}
    for choose in (global_masks, layer_masks, neuron_masks):
        with pytest.raises(ValueError, match="scores must hold at least one layer"):
            choose({}, 0.5)
        for sparsity in (-0.1, 1.0, np.nan):
            with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
                choose(scores, sparsity)
        with pytest.raises(ValueError, match="scores of b must not hold NaN"):
            choose(scores | {"b": np.array([[1.0, np.nan]])}, 0.5)
    with pytest.raises(ValueError, match=r"sparsity 0\.95 would leave none of 8"):
        global_masks(scores, 0.95)
    with pytest.raises(ValueError, match=r"sparsity 0\.8 would leave none of 2"):
        layer_masks(scores, 0.8)
    with pytest.raises(ValueError, match=r"sparsity 0\.8 would leave none of 2"):
        neuron_masks(scores, 0.8)
    with pytest.raises(ValueError, match=r"scores of b must be \(out, in\), got \(2,\)"):
        neuron_masks(scores | {"b": np.ones(2)}, 0.5)

    network = small(rng)
    before = {name: p.copy() for name, p in network.params.items()}
    whole = np.ones((6, 4), bool)
    for name in ("0.bias", "1.weight", "7.weight"):
        with pytest.raises(KeyError, match=f"masks must name weights of the network, got '{name}'"):
            prune_network(network, {"0.weight": whole, name: np.ones(6, bool)})
    with pytest.raises(TypeError, match=r"masks must be bool, got float64 for 0\.weight"):
        prune_network(network, {"0.weight": np.ones((6, 4))})
    for name, shape in (("0.weight", (4, 6)), ("3.weight", (3, 5))):
        with pytest.raises(ValueError, match=f"masks of {name} must be"):
            prune_network(network, {name: np.ones(shape, bool)})
    network.layers[0] = MaskedLinear(network.layers[0], whole)
    with pytest.raises(TypeError, match="masks must be of Linear or CSRLinear, got one of Masked"):
        prune_network(network, {"0.weight": whole})
    for name, p in network.params.items():
        np.testing.assert_array_equal(p, before[name])
