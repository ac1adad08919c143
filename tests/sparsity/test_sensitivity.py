from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import global_masks, layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import kept
from lexicon.sparsity.sensitivity import (
    budget_sparsities,
    sensitivity,
    sparsity_masks,
    tolerated_sparsities,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

GRID = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98]
WIDE, DEEP = (64, 256, 32, 10), (64, 64, 64, 64, 10)
HAND = {"a": [0.95, 0.95, 0.93, 0.80], "b": [0.95, 0.90, 0.70, 0.40]}
# Few distinct values, so that ties, plateaus and dips are the rule.
hills = st.lists(st.integers(0, 6).map(float), min_size=5, max_size=5)


@cache
def trained(sizes, seed):
    """A network, its training, validation and test samples, and its curves of accuracy."""
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    x, labels, x_val, labels_val = stratified_split(x, labels, rng=rng)
    network = mlp(sizes, rng=rng)
    rate, epochs, size = (0.1, 5, 64) if sizes == WIDE else (0.05, 10, 32)
    optimizer = Momentum(network, learning_rate=rate)
    train(network, optimizer, x, labels, epochs=epochs, batch_size=size, rng=rng)
    parts = (x, labels), (x_val, labels_val), (x_test, labels_test)
    scores = magnitude_scores(network)
    curves = sensitivity(network, scores, GRID, lambda n: accuracy(n, x_val, labels_val))
    return network, scores, curves, parts


def sizes_of(scores):
    return {name: score.size for name, score in scores.items()}


def test_by_hand():
    sparsities, sizes = [0, 0.25, 0.5, 0.75], {"a": 8, "b": 4}
    assert tolerated_sparsities(HAND, sparsities, 0.93) == {"a": 0.5, "b": 0.0}
    assert tolerated_sparsities(HAND, sparsities, 0.90) == {"a": 0.5, "b": 0.25}
    shares = budget_sparsities(HAND, sparsities, sizes, 0.5)
    assert shares == {"a": 5 / 8, "b": 1 / 4}  # of twelve weights, six go: 4 + 1 of a, 1 of b
    masks = sparsity_masks({"a": np.arange(8.0), "b": np.array([[4.0, 1], [3, 2]])}, shares)
    np.testing.assert_array_equal(masks["a"], [False] * 5 + [True] * 3)
    np.testing.assert_array_equal(masks["b"], [[True, False], [True, True]])
    prices = {
        name: -np.diff(curve) / (sizes[name] // 4) for name, curve in HAND.items()
    }  # of one weight, step by step
    np.testing.assert_allclose(prices["a"], [0, 0.01, 0.065], atol=1e-12)
    np.testing.assert_allclose(prices["b"], [0.05, 0.2, 0.3], atol=1e-12)


def test_one_layer_at_a_time_and_the_others_whole(rng):
    network = Sequential([Linear(rng.standard_normal((3, 4))), Linear(rng.standard_normal((2, 3)))])
    before = {name: theta.copy() for name, theta in network.params.items()}
    seen = []

    def evaluate(pruned):
        seen.append([layer.params["weight"].size for layer in pruned.layers])
        for i, layer in enumerate(pruned.layers):
            values = np.sort(np.abs(before[f"{i}.weight"]).ravel())[-seen[-1][i] :]
            np.testing.assert_array_equal(np.sort(np.abs(layer.params["weight"]).ravel()), values)
            pruned.params[f"{i}.bias"][:] = 9  # a copy: nobody else sees it
        return -len(seen)

    curves = sensitivity(network, magnitude_scores(network), (0.25, 0.5), evaluate)
    assert seen == [[9, 6], [12, 4], [6, 6], [12, 3]]
    assert curves == {"0.weight": [-1.0, -3.0], "1.weight": [-2.0, -4.0]}
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])


def test_the_curves_are_the_accuracies_and_some_layers_will_do():
    network, scores, curves, (_, validation, _) = trained(WIDE, 0)
    for name, score in scores.items():
        for sparsity, value in zip(GRID, curves[name], strict=True):
            # The oracle: zeros in a dense network, the smallest by a stable sort.
            copy = mlp(WIDE, rng=np.random.default_rng(0))
            for theta, mine in zip(copy.params.values(), network.params.values(), strict=True):
                theta[:] = mine
            order = np.argsort(-score.ravel(), kind="stable")
            copy.params[name].ravel()[order[score.size - round(sparsity * score.size) :]] = 0
            assert abs(accuracy(copy, *validation) - value) < 1.5 / len(validation[0])
    assert {curve[0] for curve in curves.values()} == {accuracy(network, *validation)}
    one = sensitivity(
        network, {"2.weight": scores["2.weight"]}, [0.9], lambda n: accuracy(n, *validation)
    )
    assert one == {"2.weight": [curves["2.weight"][4]]}


def test_a_sparse_network_can_be_looked_at_too():
    network, scores, _, (_, validation, _) = trained(WIDE, 0)
    sparse = prune_network(network, layer_masks(scores, 0.5))
    seen = sensitivity(
        sparse, magnitude_scores(sparse), [0.0, 0.5], lambda n: accuracy(n, *validation)
    )
    assert isinstance(sparse.layers[0], CSRLinear)
    assert {curve[0] for curve in seen.values()} == {accuracy(sparse, *validation)}
    mask = {"0.weight": layer_masks(magnitude_scores(sparse), 0.5)["0.weight"]}
    assert seen["0.weight"][1] == accuracy(prune_network(sparse, mask), *validation)


@given(st.lists(hills, min_size=1, max_size=3), st.integers(0, 6))
def test_tolerance_stops_at_the_first_fall(curves, lowest):
    sparsities = [0.1, 0.3, 0.5, 0.7, 0.9]
    named = {str(i): curve for i, curve in enumerate(curves)}
    for name, found in tolerated_sparsities(named, sparsities, lowest).items():
        steps = 0
        while steps < 5 and named[name][steps] >= lowest:
            steps += 1
        assert found == ([0.0, *sparsities])[steps]


@given(st.lists(hills, min_size=2, max_size=3), st.floats(0, 0.8), st.integers(0, 9))
def test_the_budget_is_met_exactly_and_within_the_curves(curves, sparsity, seed):
    sparsities = [0.0, 0.2, 0.5, 0.7, 0.8]
    sizes = {str(i): 5 + (7 * i + seed) % 11 for i in range(len(curves))}
    named = {str(i): curve for i, curve in enumerate(curves)}
    total = sum(sizes.values())
    most = {name: n - kept(n, 0.8) for name, n in sizes.items()}
    if sum(most.values()) < round(sparsity * total):
        with pytest.raises(ValueError, match="measure further"):
            budget_sparsities(named, sparsities, sizes, sparsity)
        return
    shares = budget_sparsities(named, sparsities, sizes, sparsity)
    gone = {name: n - kept(n, shares[name]) for name, n in sizes.items()}
    assert sum(gone.values()) == round(sparsity * total)
    assert all(0 <= gone[name] <= most[name] for name in gone)
    masks = sparsity_masks({name: np.ones(n) for name, n in sizes.items()}, shares)
    assert sum(mask.sum() for mask in masks.values()) == kept(total, sparsity)


@given(st.lists(hills, min_size=2, max_size=3), st.integers(0, 9))
def test_no_other_choice_from_the_curves_costs_less(curves, seed):
    # Brute force over all combinations of measured points. Between two corners of the hull the
    # budget lies on the line: no combination that removes as many or more lies below it.
    sparsities = [0.0, 0.2, 0.5, 0.7, 0.8]
    sizes = {str(i): 10 * (1 + (7 * i + seed) % 5) for i in range(len(curves))}
    named = {str(i): curve for i, curve in enumerate(curves)}
    total = sum(sizes.values())
    for sparsity in (0.0, 0.1, 0.35, 0.6, 0.8):
        wanted = round(sparsity * total)
        shares = budget_sparsities(named, sparsities, sizes, sparsity)
        mine = sum(on_the_hull(sparsities, named[name], shares[name]) for name in sizes)
        for choice in product(range(5), repeat=len(sizes)):
            removed = sum(sparsities[c] * n for c, n in zip(choice, sizes.values(), strict=True))
            drop = sum(curve[0] - curve[c] for c, curve in zip(choice, curves, strict=True))
            if round(removed) == wanted:
                assert mine <= drop + 1e-9


def on_the_hull(sparsities, curve, at):
    """The lower convex hull of the drops: the least of all lines between two points around."""
    drops = curve[0] - np.array(curve)
    lines = [drops[i] for i, s in enumerate(sparsities) if abs(s - at) < 1e-9]
    for i, a in enumerate(sparsities):
        for j, b in enumerate(sparsities):
            if a < at < b:
                lines.append(drops[i] + (drops[j] - drops[i]) * (at - a) / (b - a))
    return min(lines)


def test_a_small_layer_where_two_steps_are_one():
    shares = budget_sparsities({"a": [1.0, 0.9, 0.8]}, [0, 0.5, 0.51], {"a": 10}, 0.5)
    assert shares == {"a": 0.5}


def test_the_drop_alone_and_together():
    # Tolerated: five points of accuracy on the validation set, for each layer alone.
    sums, together, on_test = np.zeros((3, 2, 5))
    for i, sizes in enumerate((WIDE, DEEP)):
        for seed in range(5):
            network, scores, curves, (_, validation, test) = trained(sizes, seed)
            dense = accuracy(network, *validation)
            shares = tolerated_sparsities(curves, GRID, dense - 0.05)
            drops = [dense - curves[name][GRID.index(share)] for name, share in shares.items()]
            assert max(drops) <= 0.05
            sums[i, seed] = sum(drops)
            pruned = prune_network(network, sparsity_masks(scores, shares))
            together[i, seed] = dense - accuracy(pruned, *validation)
            on_test[i, seed] = accuracy(network, *test) - accuracy(pruned, *test)
    assert (together[1] > 0.05).all()
    assert together[1].mean() > 0.15
    assert (len(GRID) ** 4, len(GRID) * 4) == (2401, 28)  # all combinations against one at a time
    assert on_test[1].mean() > 0.1
    assert together[0].mean() > 0.05
    assert (together.mean(axis=1) > sums.mean(axis=1)).all()


def test_claim_sensitivity_beats_one_sparsity_and_one_threshold():
    # Level is a difference of at most 0.03 of mean accuracy; other seeds than these were looked at.
    totals = (0.5, 0.8, 0.9, 0.95)
    read, tuned = np.zeros((2, 5, 4, 3)), np.zeros((5, 2, 3))
    for i, sizes in enumerate((WIDE, DEEP)):
        for seed in range(5):
            network, scores, curves, (samples, _, test) = trained(sizes, seed)
            for j, total in enumerate(totals):
                shares = budget_sparsities(curves, GRID, sizes_of(scores), total)
                ways = layer_masks(scores, total), global_masks(scores, total)
                ways = *ways, sparsity_masks(scores, shares)
                for k, masks in enumerate(ways):
                    pruned = prune_network(network, masks)
                    read[i, seed, j, k] = accuracy(pruned, *test)
                    if i == 0 and total >= 0.9:
                        optimizer = Momentum(pruned, learning_rate=0.1)
                        again = np.random.default_rng(seed)
                        train(pruned, optimizer, *samples, epochs=3, batch_size=64, rng=again)
                        tuned[seed, j - 2, k] = accuracy(pruned, *test)
    over_one = (read[..., 2] - read[..., 0]).mean(axis=1)  # network, total
    over_global = (read[..., 2] - read[..., 1]).mean(axis=1)
    wide, deep = 0, 1
    assert (np.abs([over_one[:, 0], over_global[:, 0]]) < 0.03).all()  # 50 %: level
    assert (over_one[wide, 1:] > 0.05).all()  # from 80 %
    assert (over_global[wide, 2:] > 0.03).all()
    after = tuned.mean(axis=0)
    assert (np.abs(after[0, 2] - after[0, :2]) < 0.03).all()  # 90 %, tuned: level
    assert after[1, 2] - after[1, 1] > 0.01
    assert after[1, 1] - after[1, 0] > 0.05
    # Three hidden layers of one size: no clear gain on one threshold.
    assert (over_global[deep] < 0.05).all()
    assert (read[deep, :, 2, 2] < read[deep, :, 2, 1]).any()


def test_pitfall_the_samples_that_chose_cannot_judge():
    # The largest share of each layer that costs no more than a point, on 40 digits and on 380.
    bias = []
    for few in (40, 380):
        here, elsewhere = [], []
        for seed in range(5):
            network, scores, _, (_, _, (x, labels)) = trained(WIDE, seed)
            right = {}

            def evaluate(pruned, right=right, x=x, labels=labels):
                right[len(right)] = pruned.forward(x).argmax(axis=1) == labels
                return 0.0

            sensitivity(network, scores, GRID, evaluate)
            answers = np.array(list(right.values())).reshape(len(GRID), len(scores), -1)
            for start in range(0, len(x) - few + 1, 40):
                chosen = np.zeros(len(x), dtype=bool)
                chosen[start : start + few] = True
                mine, others = (answers[:, :, c].mean(axis=2).T for c in (chosen, ~chosen))
                curves = {name: list(c) for name, c in zip(scores, mine, strict=True)}
                shares = tolerated_sparsities(curves, GRID, mine[0, 0] - 0.01)
                for i, share in enumerate(shares.values()):
                    at = GRID.index(share)
                    here.append(mine[i, 0] - mine[i, at])
                    elsewhere.append(others[i, 0] - others[i, at])
        bias.append((np.mean(here), np.mean(elsewhere)))
    assert bias[0][0] < 0.001
    assert 0.005 < bias[0][1] < 0.015
    assert abs(bias[1][1] - bias[1][0]) < 0.005


def test_pitfall_a_share_is_not_a_number():
    first, last = "0.weight", "4.weight"
    better = []
    for seed in range(5):
        network, scores, curves, (_, validation, _) = trained(WIDE, seed)
        better.append(curves[first][4] - curves[last][4])
        left = {}
        for name in (first, last):
            share = 1 - 160 / scores[name].size
            masks = sparsity_masks({name: scores[name]}, {name: share})
            assert masks[name].sum() == 160
            left[name] = accuracy(prune_network(network, masks), *validation)
        assert left[first] < left[last] - 0.2  # 160 weights kept of each: it does not
    assert np.mean(better) > 0  # 10 % kept of each: the big one looks robust


def test_a_loss_is_looked_at_with_its_sign_turned():
    network, scores, _, (_, (x, labels), _) = trained(WIDE, 0)
    curves = sensitivity(
        network, scores, GRID, lambda n: -CrossEntropy().forward(n.forward(x), labels)
    )
    assert all(curve[-1] < curve[0] < 0 for curve in curves.values())


def test_bad_input(rng):
    network = Sequential([Linear(rng.standard_normal((2, 5)))])
    scores = magnitude_scores(network)

    def fine(pruned):
        return 0.5

    for sparsities in ([], [0.5, 0.5], [0.5, 0.2], [-0.1], [0.5, 1.0], [np.nan], [0.1, np.nan]):
        for call in (
            lambda s=sparsities: sensitivity(network, scores, s, fine),
            lambda s=sparsities: tolerated_sparsities({"a": [1.0] * len(s)}, s, 0.5),
            lambda s=sparsities: budget_sparsities({"a": [1.0] * len(s)}, s, {"a": 9}, 0.1),
        ):
            with pytest.raises(ValueError, match=r"sparsities must rise within \[0, 1\)"):
                call()
    for bad in (np.nan, -np.inf):
        with pytest.raises(ValueError, match=r"evaluate must be finite, got .* for 0\.weight at"):
            sensitivity(network, scores, [0.5], lambda n, bad=bad: bad)
    with pytest.raises(ValueError, match="sparsities must be of the layers"):
        sensitivity(network, {}, [0.5], fine)
    with pytest.raises(ValueError, match=r"0\.96 would leave none of 10"):
        sensitivity(network, scores, [0.5, 0.96], fine)
    with pytest.raises(KeyError, match="masks must name weights"):
        sensitivity(network, {"7.weight": np.ones(4)}, [0.5], fine)
    with pytest.raises(ValueError, match="masks of"):
        sensitivity(network, {"0.weight": np.ones(4)}, [0.5], fine)
    with pytest.raises(ValueError, match="NaN"):
        sparsity_masks({"a": np.array([1.0, np.nan])}, {"a": 0.5})
    with pytest.raises(ValueError, match="sparsities must be of the layers"):
        sparsity_masks({"a": np.ones(4)}, {"b": 0.5})
    with pytest.raises(ValueError, match="sparsity must be in"):
        sparsity_masks({"a": np.ones(4)}, {"a": 1.0})
    for curves in ({"a": [1.0]}, {"a": [1.0, np.nan]}):
        with pytest.raises(ValueError, match="curves must have 2 finite numbers each, a has not"):
            tolerated_sparsities(curves, [0, 0.5], 0.5)
        with pytest.raises(ValueError, match="curves must have 2 finite numbers each, a has not"):
            budget_sparsities(curves, [0, 0.5], {"a": 9}, 0.1)
    with pytest.raises(ValueError, match="curves must hold at least one layer"):
        tolerated_sparsities({}, [0.5], 0.5)
    with pytest.raises(ValueError, match="lowest must not be NaN"):
        tolerated_sparsities({"a": [1.0]}, [0.5], np.nan)
    with pytest.raises(ValueError, match=r"sparsities must start at 0, got 0\.1"):
        budget_sparsities({"a": [1.0]}, [0.1], {"a": 9}, 0.05)
    with pytest.raises(ValueError, match="sizes must be of the layers"):
        budget_sparsities({"a": [1.0, 0.5]}, [0, 0.5], {"b": 9}, 0.1)
    with pytest.raises(ValueError, match="sparsity must be in"):
        budget_sparsities({"a": [1.0, 0.5]}, [0, 0.5], {"a": 9}, 1.0)
    with pytest.raises(
        ValueError, match=r"removes 8 weights, the curves end at 5: measure further"
    ):
        budget_sparsities({"a": [1.0, 0.5]}, [0, 0.5], {"a": 10}, 0.8)
