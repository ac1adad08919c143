from copy import deepcopy
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential, named_layers
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_mask, magnitude_scores
from lexicon.sparsity.optimal_brain_surgeon import (
    obd_scores,
    obs_scores,
    optimal_brain_surgeon,
    output_hessian,
    remove_in_turn,
    surgeon_network,
)
from lexicon.sparsity.wanda import wanda_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

X = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0]])
W = np.array([1.0, 2.0, 0.8])
seeds = st.integers(0, 2**32 - 1)


def problem(seed, n=6):
    """A neuron and correlated inputs: every one holds a part of the others."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, n)) @ rng.uniform(-1, 1, (n, n)) + rng.uniform(-1, 1, n)
    return rng.standard_normal(n), x + rng.standard_normal((40, n)) / 2


def refit(w, x, gone):
    """Least squares by NumPy: the best weights without some, and half the mean squared error."""
    left = [j for j in range(len(w)) if j not in gone]
    best = np.zeros_like(w)
    best[left] = np.linalg.lstsq(x[:, left], x @ w, rcond=None)[0]
    return best, ((x @ (best - w)) ** 2).mean() / 2


@cache
def trained(seed):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 64, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    return network, (x, labels, x_test, labels_test)


@cache
def operated(seed, sparsity):
    network, (x, *_) = trained(seed)
    return surgeon_network(network, x, sparsity)


def test_by_hand():
    hessian = output_hessian(X, damping=0.0)
    np.testing.assert_array_equal(hessian, [[1, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    inverse = np.linalg.inv(hessian)
    np.testing.assert_allclose(inverse, [[2, -2, 0], [-2, 4, 0], [0, 0, 1]], atol=1e-15)
    network = Sequential([Linear(W[None])])
    np.testing.assert_allclose(obd_scores(network, X)["0.weight"], [[0.5, 1.0, 0.32]], rtol=1e-14)
    scores = obs_scores(network, X, damping=0.0)["0.weight"]
    np.testing.assert_allclose(scores, [[0.25, 0.5, 0.32]], rtol=1e-14)
    left, order, costs = remove_in_turn(W, inverse, 1)
    np.testing.assert_allclose(left, [0, 3, 0.8], atol=1e-15)
    np.testing.assert_array_equal(order, [0])
    np.testing.assert_allclose(costs, [0.25], rtol=1e-14)
    np.testing.assert_allclose(X @ W, [3.8, 2.2, 1.8, 0.2], rtol=1e-14)
    np.testing.assert_allclose(X @ left, [3.8, 2.2, 0.8, -0.8], rtol=1e-14)
    np.testing.assert_allclose(X @ [1, 2, 0], [3, 3, 1, 1], rtol=1e-14)  # without the cheapest, OBD
    errors = [((X @ (w - W)) ** 2).mean() / 2 for w in (left, W * [0, 1, 1], W * [1, 1, 0])]
    np.testing.assert_allclose(errors, [0.25, 0.5, 0.32], rtol=1e-14)
    weight, mask = optimal_brain_surgeon(W[None], X, 1 / 3, damping=0.0)
    np.testing.assert_array_equal(mask, [[False, True, True]])
    np.testing.assert_allclose(weight, [[0, 3, 0.8]], atol=1e-14)
    # Damping: a tenth of the diagonal's mean, (1 + 0.5 + 1) / 3.
    np.testing.assert_allclose(output_hessian(X, damping=0.1) - hessian, np.eye(3) / 12)


def test_the_hessian_is_the_slope_of_the_layers_gradients(rng):
    x, weight = rng.standard_normal((9, 4)), rng.standard_normal((3, 4))
    layer, target = Linear(weight + rng.standard_normal((3, 4))), x @ weight.T

    def gradient():
        layer.backward((layer.forward(x) - target) / len(x))  # of half the mean squared error
        return layer.grads["weight"].copy()

    hessian = output_hessian(x, damping=0.0)
    for i in range(3):
        for j in range(4):
            layer.params["weight"][i, j] += 1e-3
            more = gradient()
            layer.params["weight"][i, j] -= 2e-3
            slope = (more - gradient()) / 2e-3
            layer.params["weight"][i, j] += 1e-3
            expected = np.zeros((3, 4))
            expected[i] = hessian[j]  # its own neuron only, and the same for every neuron
            np.testing.assert_allclose(slope, expected, atol=1e-10)


@given(seeds)
def test_a_single_removal_is_exact(seed):
    w, x = problem(seed)
    network = Sequential([Linear(w[None])])
    inverse = np.linalg.inv(output_hessian(x, damping=0.0))
    every = [refit(w, x, [q]) for q in range(6)]
    costs = [cost for _, cost in every]
    scores = obs_scores(network, x, damping=0.0)["0.weight"][0]
    np.testing.assert_allclose(scores, costs, rtol=1e-7)
    left, order, cost = remove_in_turn(w, inverse, 1)
    assert order[0] == np.argmin(costs)
    np.testing.assert_allclose(cost[0], min(costs), rtol=1e-7)
    np.testing.assert_allclose(left, every[order[0]][0], rtol=1e-7, atol=1e-9)
    alone = [((x[:, q] * w[q]) ** 2).mean() / 2 for q in range(6)]  # the others stand still
    np.testing.assert_allclose(obd_scores(network, x)["0.weight"][0], alone, rtol=1e-12)
    assert (scores <= np.array(alone) * (1 + 1e-9)).all()


@given(seeds, st.integers(0, 6))
def test_every_step_is_the_cheapest_and_the_rest_is_refitted(seed, count):
    w, x = problem(seed)
    left, order, costs = remove_in_turn(w, np.linalg.inv(output_hessian(x, damping=0.0)), count)
    assert len(set(order)) == count
    for step in range(count):
        before = [*order[:step]]
        next_errors = {q: refit(w, x, [*before, q])[1] for q in range(6) if q not in before}
        assert order[step] == min(next_errors, key=next_errors.__getitem__)
        grown = next_errors[order[step]] - refit(w, x, before)[1]
        np.testing.assert_allclose(costs[step], grown, rtol=1e-6, atol=1e-9)
    best, error = refit(w, x, [*order])
    np.testing.assert_allclose(left, best, rtol=1e-6, atol=1e-8)
    assert (left[order] == 0).all()
    np.testing.assert_allclose(costs.sum(), error, rtol=1e-6, atol=1e-12)


@given(seeds)
def test_the_cost_is_what_the_other_inputs_cannot_tell(seed):
    # 1 / [H⁻¹]_qq is the mean squared residual of input q, regressed on all the others.
    w, x = problem(seed)
    scores = obs_scores(Sequential([Linear(w[None])]), x, damping=0.0)["0.weight"][0]
    for q in range(6):
        others = np.delete(x, q, axis=1)
        rest = x[:, q] - others @ np.linalg.lstsq(others, x[:, q], rcond=None)[0]
        np.testing.assert_allclose(scores[q], w[q] ** 2 * (rest**2).mean() / 2, rtol=1e-7)


@given(seeds, st.floats(0, 0.95))
def test_a_layer_is_pruned_as_one_would_in_plain_loops(seed, sparsity):
    rng = np.random.default_rng(seed)
    _, x = problem(seed, n=4)
    weight = rng.standard_normal((3, 4)) * rng.uniform(0.1, 3, (3, 1))
    pruned, mask = optimal_brain_surgeon(weight, x, sparsity, damping=0.0)
    gone = [[], [], []]
    for _ in range(round(sparsity * 12)):
        rises = {
            (i, q): refit(weight[i], x, [*gone[i], q])[1] - refit(weight[i], x, gone[i])[1]
            for i in range(3)
            for q in range(4)
            if q not in gone[i]
        }
        i, q = min(rises, key=rises.__getitem__)
        gone[i].append(q)
    expected = np.ones((3, 4), dtype=bool)
    for i in range(3):
        expected[i, gone[i]] = False
        best = refit(weight[i], x, gone[i])[0]
        np.testing.assert_allclose(pruned[i], best, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(mask, expected)
    assert (pruned[~mask] == 0).all()


def test_a_cheap_weight_behind_a_dear_one_waits_for_it():
    # Twins that do nothing together: the second one costs nothing once the first has gone.
    x = np.array([[1.0, 1.0, 0.0], [1.0, 1.1, 0.0], [0.0, 0.0, 1.0]])
    weight = np.array([[10.0, -9.5, 5.0], [3.0, 3.0, 0.3]])
    inverse = np.linalg.inv(output_hessian(x, damping=0.0))
    costs = [remove_in_turn(w, inverse, 3)[2] for w in weight]
    assert costs[0][1] < costs[1][0] < costs[1][1] < costs[0][0] < costs[0][2] < costs[1][2]
    for count, gone in ((1, [0, 1]), (2, [0, 2]), (4, [2, 2]), (5, [3, 2])):
        _, mask = optimal_brain_surgeon(weight, x, count / 6, damping=0.0)
        assert (~mask).sum(axis=1).tolist() == gone


def test_ties_go_by_position(rng):
    x = np.eye(4) * 2
    _, order, costs = remove_in_turn(np.ones(4), np.eye(4), 4)
    np.testing.assert_array_equal(order, [0, 1, 2, 3])
    np.testing.assert_array_equal(costs, [0.5] * 4)
    _, mask = optimal_brain_surgeon(np.ones((2, 4)), x, 5 / 8, damping=0.0)
    np.testing.assert_array_equal(mask, [[False] * 4, [False, True, True, True]])


@given(seeds)
def test_one_family_from_magnitude_to_the_surgeon(seed):
    rng = np.random.default_rng(seed)
    _, x = problem(seed)
    weight = rng.standard_normal((5, 6))
    network = Sequential([Linear(weight)])
    # H = h I, under endless damping: magnitude, and nothing moves.
    pruned, mask = optimal_brain_surgeon(weight, x, 0.5, damping=1e12)
    np.testing.assert_array_equal(mask, magnitude_mask(weight, 0.5))
    np.testing.assert_allclose(pruned, weight * mask, atol=1e-10)
    # The diagonal of H: OBD, which is Wanda squared, up to a factor for all.
    wanda = wanda_scores(network, x)["0.weight"]
    obd = obd_scores(network, x)["0.weight"]
    np.testing.assert_allclose(obd, wanda**2 / (2 * len(x)), rtol=1e-12)
    # Inputs that do not overlap: H is its diagonal, and the surgeon is OBD.
    apart = np.linalg.qr(x)[0] * rng.uniform(0.5, 2, 6)
    np.testing.assert_allclose(
        obs_scores(network, apart, damping=0.0)["0.weight"],
        obd_scores(network, apart)["0.weight"],
        rtol=1e-9,
    )
    pruned, mask = optimal_brain_surgeon(weight, apart, 0.5, damping=0.0)
    best = layer_masks(obd_scores(network, apart), 0.5)["0.weight"]
    np.testing.assert_array_equal(mask, best)
    np.testing.assert_allclose(pruned, weight * mask, atol=1e-9)


@given(seeds)
def test_without_damping_the_unit_of_an_input_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    _, x = problem(seed)
    weight, unit = rng.standard_normal((3, 6)), 2.0 ** rng.integers(-4, 5, 6)
    plain, scaled = (
        optimal_brain_surgeon(weight / u, x * u, 0.5, damping=0.0) for u in (1.0, unit)
    )
    np.testing.assert_array_equal(scaled[1], plain[1])
    np.testing.assert_allclose(scaled[0] * unit, plain[0], rtol=1e-6, atol=1e-8)
    # One unit for all inputs cancels with damping too: it is a share of the diagonal.
    plain, scaled = (optimal_brain_surgeon(weight / u, x * u, 0.5) for u in (1.0, 1024.0))
    np.testing.assert_array_equal(scaled[1], plain[1])
    np.testing.assert_allclose(scaled[0] * 1024, plain[0], rtol=1e-9)


def test_a_network_is_pruned_layer_by_layer_with_the_pruned_ones_outputs(rng):
    network, x = mlp([6, 8, 4], rng=rng, dtype=np.float64), rng.standard_normal((50, 6))
    network.params["0.bias"][:] = rng.standard_normal(8)
    kept = {name: theta.copy() for name, theta in network.params.items()}
    seen = x.copy()
    pruned = surgeon_network(network, x, 0.5, damping=0.02)
    first, mask = optimal_brain_surgeon(kept["0.weight"], x, 0.5, damping=0.02)
    assert isinstance(pruned.layers[0], CSRLinear)
    np.testing.assert_array_equal(pruned.layers[0].weight.toarray(), first)
    assert pruned.layers[0].weight.nnz == mask.sum() == 24
    handed_on = np.maximum(x @ first.T + kept["0.bias"], 0)
    second, mask = optimal_brain_surgeon(kept["2.weight"], handed_on, 0.5, damping=0.02)
    np.testing.assert_allclose(pruned.layers[2].weight.toarray(), second, rtol=1e-9)
    assert pruned.layers[2].weight.nnz == mask.sum() == 16
    for name in ("0.bias", "2.bias"):
        np.testing.assert_array_equal(pruned.params[name], kept[name])
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, kept[name])
    np.testing.assert_array_equal(x, seen)
    nested = surgeon_network(Sequential([network]), x, 0.5, damping=0.02)
    for name, theta in pruned.params.items():
        np.testing.assert_array_equal(nested.params[f"0.{name}"], theta)
    inputs = {"0.weight": x, "2.weight": np.maximum(x @ kept["0.weight"].T + kept["0.bias"], 0)}
    obs, obd = obs_scores(network, x, damping=0.02), obd_scores(network, x)
    assert [*obs] == [*obd] == [*inputs]
    for name, received in inputs.items():  # the scores look at the network as it is
        hessian = output_hessian(received, damping=0.02)
        cost = kept[name] ** 2 / (2 * np.diag(np.linalg.inv(hessian)))
        np.testing.assert_allclose(obs[name], cost, rtol=1e-9)
        cost = kept[name] ** 2 * (received**2).mean(axis=0) / 2
        np.testing.assert_allclose(obd[name], cost, rtol=1e-12)


def test_float32_stays_and_nothing_given_is_changed(rng):
    network, x = mlp([6, 5, 4], rng=rng), rng.standard_normal((30, 6), dtype=np.float32)
    weight = network.params["0.weight"].copy()
    for scores in (obd_scores(network, x), obs_scores(network, x)):
        assert {score.dtype for score in scores.values()} == {np.dtype(np.float32)}
    pruned, _ = optimal_brain_surgeon(network.params["0.weight"], x, 0.5)
    assert pruned.dtype == surgeon_network(network, x, 0.5).params["0.weight"].dtype == np.float32
    np.testing.assert_array_equal(network.params["0.weight"], weight)
    w, inverse = rng.standard_normal(3), np.eye(3)
    before = w.copy()
    remove_in_turn(w, inverse, 3)
    np.testing.assert_array_equal(w, before)
    np.testing.assert_array_equal(inverse, np.eye(3))


def test_the_sizes_on_the_page(rng):
    # A layer of 64 by 64: one H for all neurons, against one for all its weights.
    assert output_hessian(rng.random((9, 64)), damping=0.0).nbytes == 8 * 64**2 == 32_768
    assert 8 * 4096**2 == 134_217_728
    # Every weight of the layer removed in turn: a product and a difference for each number of H⁻¹.
    assert 64 * 64 * (2 * 64**2) == 33_554_432
    assert 33_554_432 / (2 * 64 * 64) == 4096  # forward passes of one sample


def masks_of(network):
    masks = {}
    for name, layer in named_layers(network):
        if isinstance(layer, CSRLinear):
            masks[f"{name}.weight"] = np.zeros(layer.weight.shape, dtype=bool)
            masks[f"{name}.weight"].ravel()[layer.positions] = True
    return masks


def test_claim_it_beats_magnitude_and_what_fine_tuning_leaves_of_that():
    # Set beforehand: level is a difference of at most 0.02 of mean accuracy; five seeds.
    sparsities, ways = (0.5, 0.8, 0.9, 0.95), ("surgeon", "mask", "once", "obd", "magnitude")
    read, tuned = np.zeros((5, 4, 5)), np.zeros((5, 4, 5))
    dense = []
    for seed in range(5):
        network, (x, labels, x_test, labels_test) = trained(seed)
        dense.append(accuracy(network, x_test, labels_test))
        scored = obs_scores(network, x), obd_scores(network, x), magnitude_scores(network)
        for i, sparsity in enumerate(sparsities):
            surgeon = operated(seed, sparsity)
            pruned = [deepcopy(surgeon), prune_network(network, masks_of(surgeon))]
            pruned += [prune_network(network, layer_masks(s, sparsity)) for s in scored]
            assert {p.layers[0].weight.nnz for p in pruned} == {4096 - round(4096 * sparsity)}
            for j, each in enumerate(pruned):
                read[seed, i, j] = accuracy(each, x_test, labels_test)
                if ways[j] in ("surgeon", "magnitude") and sparsity >= 0.9:
                    optimizer = Momentum(each, learning_rate=0.05)
                    again = np.random.default_rng(seed)
                    train(each, optimizer, x, labels, epochs=3, batch_size=32, rng=again)
                    tuned[seed, i, j] = accuracy(each, x_test, labels_test)
    mean = dict(zip(ways, read.mean(axis=0).T, strict=True))
    spread = dict(zip(ways, read.T, strict=True))
    assert (mean["surgeon"][:2] > np.mean(dense) - 0.02).all()  # up to 80 %: next to no loss
    assert (np.abs(mean["surgeon"] - mean["magnitude"])[0] < 0.02).all()  # at 50 %: level
    assert (spread["surgeon"][1:] > spread["magnitude"][1:]).all()  # from 80 %: every run
    assert (mean["surgeon"] - mean["magnitude"])[1] > 0.03
    assert ((mean["surgeon"] - mean["magnitude"])[2:] > 0.2).all()
    assert ((mean["surgeon"] - mean["mask"])[2:] > 0.1).all()  # the compensation
    assert (mean["mask"] > mean["magnitude"])[2:].all()  # the choice
    assert (mean["mask"] - mean["once"])[2] > 0.05  # choosing anew after every removal
    ahead = (spread["obd"] - spread["magnitude"])[1:]  # OBD: now behind magnitude, now ahead
    assert ahead.min() < 0 < ahead.max()
    after = dict(zip(ways, tuned.mean(axis=0).T, strict=True))
    assert (np.abs(after["surgeon"] - after["magnitude"])[2:] < [0.02, 0.03]).all()  # once tuned


def test_pitfall_constant_zeros_make_the_hessian_singular():
    network, (x, *_) = trained(0)
    dead = (x == 0).all(axis=0)
    assert dead.sum() == 3
    with pytest.raises(ValueError, match=r"damping must be larger: with 0\.0"):
        obs_scores(network, x, damping=0.0)
    assert (obs_scores(network, x)["0.weight"] > 0).all()
    weight = network.params["0.weight"]
    survive = [
        optimal_brain_surgeon(weight, x, 0.5, damping=damping)[1][:, dead].sum()
        for damping in (0.01, 0.0001)
    ]
    assert survive == [6, 0]  # of 192: with damping they are cheap, not free
    # Fewer samples than inputs, too; and two inputs that are one.
    with pytest.raises(ValueError, match="damping must be larger"):
        optimal_brain_surgeon(np.ones((1, 3)), np.ones((2, 3)), 0.5, damping=0.0)
    for seed in range(20):  # rounding leaves eigenvalues a hair above zero
        few = np.random.default_rng(seed).standard_normal((5, 8))
        with pytest.raises(ValueError, match="damping must be larger"):
            optimal_brain_surgeon(np.ones((1, 8)), few, 0.5, damping=0.0)
    twins = np.repeat(np.random.default_rng(0).standard_normal((30, 1)), 2, axis=1)
    with pytest.raises(ValueError, match="damping must be larger"):
        optimal_brain_surgeon(np.array([[1.0, 2.0]]), twins, 0.5, damping=0.0)
    weight, _ = optimal_brain_surgeon(np.array([[1.0, 2.0]]), twins, 0.5, damping=1e-6)
    np.testing.assert_allclose(weight, [[0.0, 3.0]], atol=1e-5)


def test_pitfall_the_best_steps_do_not_make_the_best_way():
    x = np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    w = np.array([2.0, 1.0, 1.0])
    inverse = np.linalg.inv(output_hessian(x, damping=0.0))
    _, order, costs = remove_in_turn(w, inverse, 2)
    np.testing.assert_array_equal(order, [1, 2])
    np.testing.assert_allclose(costs.sum(), 5 / 6)
    every = {pair: refit(w, x, pair)[1] for pair in combinations(range(3), 2)}
    assert min(every, key=every.__getitem__) == (0, 2)
    np.testing.assert_allclose(every[0, 2], 1 / 4)
    # How often, for neurons of eight inputs that lose four?
    worse = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        hessian = output_hessian(rng.random((40, 8)), damping=0.0)
        w, inverse = rng.standard_normal(8), np.linalg.inv(hessian)
        best = min(
            w[p] @ np.linalg.solve(inverse[np.ix_(p, p)], w[p]) / 2
            for p in map(list, combinations(range(8), 4))
        )
        worse.append(remove_in_turn(w, inverse, 4)[2].sum() / best - 1)
    assert 0 < sum(w > 1e-9 for w in worse) < 15
    assert max(worse) < 0.5


def test_pitfall_the_mean_is_left_to_the_weights():
    # The bias takes over what the mean of an input contributed: prune on centred inputs.
    read = np.zeros((5, 2))
    for seed in range(5):
        network, (x, _, x_test, labels_test) = trained(seed)
        layers, received = [], x
        for layer in network.layers:
            if isinstance(layer, Linear):
                weight, mean = layer.params["weight"], received.mean(axis=0)
                new, mask = optimal_brain_surgeon(weight, received - mean, 0.95)
                bias = layer.params["bias"] + (weight - new) @ mean
                layers.append(CSRLinear.from_dense(new, mask, bias))
            else:
                layers.append(Activation(relu))
            received = layers[-1].forward(received)
        both = operated(seed, 0.95), Sequential(layers)
        read[seed] = [accuracy(n, x_test, labels_test) for n in both]
    assert (read[:, 1] - read[:, 0]).mean() > 0.02


def test_few_samples_will_do():
    read = np.zeros((5, 3))
    for seed in range(5):
        network, (x, _, x_test, labels_test) = trained(seed)
        magnitude = prune_network(network, layer_masks(magnitude_scores(network), 0.9))
        three = magnitude, surgeon_network(network, x[:32], 0.9), operated(seed, 0.9)
        read[seed] = [accuracy(n, x_test, labels_test) for n in three]
    assert (read[:, 1] > read[:, 0]).all()
    assert 0.02 < (read[:, 2] - read[:, 1]).mean() < 0.1


def test_bad_input(rng):
    x, weight = rng.standard_normal((9, 3)), rng.standard_normal((2, 3))
    network = Sequential([Linear(weight)])
    with pytest.raises(TypeError, match="x must be floating point, got int64"):
        output_hessian(np.ones((4, 3), dtype=np.int64), damping=0.0)
    for bad in (np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0)), np.array([[np.nan, 1.0]])):
        with pytest.raises(ValueError, match="x must be"):
            output_hessian(bad, damping=0.0)
    for damping in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="damping must be at least 0"):
            output_hessian(x, damping=damping)
    with pytest.raises(TypeError, match="float64, got float32 and float64"):
        remove_in_turn(np.ones(3, dtype=np.float32), np.eye(3), 1)
    with pytest.raises(TypeError, match="float64, got float64 and float32"):
        remove_in_turn(np.ones(3), np.eye(3, dtype=np.float32), 1)
    for w, inverse in ((np.ones(3), np.eye(2)), (np.ones((1, 3)), np.eye(3))):
        with pytest.raises(ValueError, match="inverse must be"):
            remove_in_turn(w, inverse, 1)
    for count in (-1, 4):
        with pytest.raises(ValueError, match="count must be 0 to 3"):
            remove_in_turn(np.ones(3), np.eye(3), count)
    with pytest.raises(TypeError, match="weight must be floating point"):
        optimal_brain_surgeon(np.ones((2, 3), dtype=np.int64), x, 0.5)
    with pytest.raises(TypeError, match="x must be float64 like weight, got float32"):
        optimal_brain_surgeon(weight, x.astype(np.float32), 0.5)
    for bad in (weight[0], np.where(weight == weight[0, 0], np.nan, weight)):
        with pytest.raises(ValueError, match="weight must be"):
            optimal_brain_surgeon(bad, x, 0.5)
    with pytest.raises(ValueError, match=r"x must be \(N, 3\)"):
        optimal_brain_surgeon(weight, x[:, :2], 0.5)
    for sparsity in (-0.1, 1.0):
        with pytest.raises(ValueError, match="sparsity must be in"):
            optimal_brain_surgeon(weight, x, sparsity)
    with pytest.raises(ValueError, match="damping must be larger"):
        optimal_brain_surgeon(weight, np.zeros((9, 3)), 0.5)
    sparse = Sequential([CSRLinear.from_dense(weight, weight > 0, np.zeros(2))])
    for score in (obd_scores, obs_scores):
        with pytest.raises(TypeError, match="weights in Linear, got CSRLinear"):
            score(sparse, x)
        with pytest.raises(TypeError, match="x must be float64"):
            score(network, x.astype(np.float32))
        with pytest.raises(ValueError, match="x must be"):
            score(network, x[:, :2])
    with pytest.raises(TypeError, match="weights in Linear, got CSRLinear"):
        surgeon_network(sparse, x, 0.5)
    network.params["0.bias"][1] = np.inf
    with pytest.raises(ValueError, match="finite parameters, layer 0 has not"):
        surgeon_network(network, x, 0.5)
    np.testing.assert_array_equal(network.params["0.weight"], weight)
