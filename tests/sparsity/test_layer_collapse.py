import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.gradient_check import check_layer
from lexicon.sparsity.global_prune import (
    global_masks,
    layer_masks,
    prune_network,
    random_scores,
)
from lexicon.sparsity.layer_collapse import (
    collapsed_layers,
    connected,
    critical_count,
    guarded_masks,
)
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

SCORES = {
    "0.weight": np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]]),
    "2.weight": np.array([[0.3, 0.2]]),
}
CUT = {
    "0.weight": np.array([[1, 0], [0, 0], [0, 1]], bool),
    "2.weight": np.array([[0, 1, 0], [1, 1, 0]], bool),
}
SIZES = [64, 512, 64, 32, 10]

# Few distinct values, so that ties are the rule, between layers as well as within.
few = st.integers(0, 3).map(float)
some_scores = st.tuples(
    arrays(np.float64, (3, 2), elements=few),
    arrays(np.float64, (1, 3), elements=few),
    arrays(np.float64, (2,), elements=few),
).map(lambda layers: dict(zip("abc", layers, strict=True)))
some_masks = st.tuples(
    arrays(np.bool_, (4, 3)), arrays(np.bool_, (3, 4)), arrays(np.bool_, (2, 3))
).map(lambda layers: dict(zip(["0.weight", "2.weight", "4.weight"], layers, strict=True)))
EVERY = np.arange(2**11)[:, None] >> np.arange(11) & 1  # every choice of eleven weights


def flat(arrays_by_name):
    return np.concatenate([array.ravel() for array in arrays_by_name.values()])


def test_by_hand():
    masks = global_masks(SCORES, 0.5)
    np.testing.assert_array_equal(masks["0.weight"], [[1, 1, 1], [1, 0, 0]])
    assert collapsed_layers(masks) == ["2.weight"]
    assert not flat(connected(masks)).any()
    assert critical_count(SCORES) == 7  # 0.3 has rank 7 of 8
    counts = {"0.weight": np.array([3, 1, 0], np.uint8), "2.weight": np.array([2, 0], np.uint8)}
    assert critical_count(counts) == 2
    guarded = guarded_masks(SCORES, 0.5)
    np.testing.assert_array_equal(guarded["0.weight"], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(guarded["2.weight"], [[1, 0]])
    assert collapsed_layers(guarded) == []
    np.testing.assert_array_equal(flat(connected(guarded)), flat(guarded))
    both = guarded_masks(SCORES, 0.5, least=2)
    np.testing.assert_array_equal(both["0.weight"], [[1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(both["2.weight"], [[1, 1]])


def test_paths_by_hand():
    # Neuron 1 hears no input, neuron 2 is heard by no output: of five connections two count.
    paths = connected(CUT)
    np.testing.assert_array_equal(paths["0.weight"], [[1, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(paths["2.weight"], [[0, 0, 0], [1, 0, 0]])
    assert flat(CUT).sum() == 5
    assert CUT["2.weight"].sum() == 3  # the masks are left as they were
    alone = {"0.weight": CUT["0.weight"]}
    np.testing.assert_array_equal(connected(alone)["0.weight"], CUT["0.weight"])
    assert connected(alone)["0.weight"] is not CUT["0.weight"]


@given(some_scores)
def test_one_weight_less_than_the_critical_count_empties_a_layer(scores):
    critical = critical_count(scores)
    assert 3 <= critical <= 11
    for count in range(1, 12):
        masks = global_masks(scores, 1 - count / 11)
        assert flat(masks).sum() == count
        assert bool(collapsed_layers(masks)) == (count < critical)


@given(some_scores, st.integers(1, 2), st.integers(3, 11))
def test_the_guard_is_exact_and_steps_in_only_where_it_must(scores, least, count):
    if count < 3 * least:
        with pytest.raises(ValueError, match=f"keeps {count} weights, too few for {least} in each"):
            guarded_masks(scores, 1 - count / 11, least=least)
        return
    before = {name: score.copy() for name, score in scores.items()}
    masks = guarded_masks(scores, 1 - count / 11, least=least)
    assert flat(masks).sum() == count
    assert all(mask.sum() >= least for mask in masks.values())
    assert {n: m.shape for n, m in masks.items()} == {n: s.shape for n, s in scores.items()}
    free = global_masks(scores, 1 - count / 11)
    if all(mask.sum() >= least for mask in free.values()):
        np.testing.assert_array_equal(flat(masks), flat(free))
    for name, score in scores.items():  # within a layer, the best and the first
        order = np.argsort(-score.ravel(), kind="stable")
        assert masks[name].ravel()[order[: masks[name].sum()]].all()
        np.testing.assert_array_equal(score, before[name])


@given(some_scores, st.integers(1, 2), st.integers(6, 8))
def test_no_guarded_choice_of_that_size_is_worth_more(scores, least, count):
    in_layer = [EVERY[:, :6].sum(axis=1), EVERY[:, 6:9].sum(axis=1), EVERY[:, 9:].sum(axis=1)]
    allowed = (EVERY.sum(axis=1) == count) & (np.min(in_layer, axis=0) >= least)
    masks = guarded_masks(scores, 1 - count / 11, least=least)
    assert flat(scores)[flat(masks)].sum() == (EVERY[allowed] @ flat(scores)).max()


@given(some_masks)
def test_paths_are_what_a_graph_search_finds(masks):
    # SciPy walks from a source before all inputs, and backwards from a sink after all outputs.
    starts = np.cumsum([0, 3, 4, 3])
    source, sink = 12, 13
    graph = np.zeros((14, 14), int)
    graph[source, :3] = graph[10:12, sink] = 1
    for start, stop, mask in zip(starts, starts[1:], masks.values(), strict=False):
        n_out, n_in = mask.shape
        graph[start : start + n_in, stop : stop + n_out] = mask.T
    reached = breadth_first_order(csr_array(graph), source, return_predecessors=False)
    heard = breadth_first_order(csr_array(graph.T), sink, return_predecessors=False)
    paths = connected(masks)
    for start, stop, (name, mask) in zip(starts, starts[1:], masks.items(), strict=False):
        inputs = np.isin(start + np.arange(mask.shape[1]), reached)
        outputs = np.isin(stop + np.arange(len(mask)), heard)
        np.testing.assert_array_equal(paths[name], mask & inputs & outputs[:, None])


@given(some_masks)
def test_either_every_layer_has_a_path_or_none(masks):
    paths = connected(masks)
    assert collapsed_layers(paths) in ([], [*masks])
    np.testing.assert_array_equal(flat(connected(paths)), flat(paths))
    if collapsed_layers(masks):
        assert collapsed_layers(paths) == [*masks]


@given(some_masks)
def test_without_biases_what_lies_on_no_path_changes_nothing(masks):
    rng = np.random.default_rng(0)
    network, x = mlp([3, 4, 3, 2], rng=rng, dtype=np.float64), rng.standard_normal((9, 3))
    kept, effective = (prune_network(network, m) for m in (masks, connected(masks)))
    np.testing.assert_allclose(kept.forward(x), effective.forward(x), rtol=1e-12, atol=1e-14)
    for name in network.params:
        if name.endswith("bias"):
            network.params[name][:] = rng.standard_normal(len(network.params[name]))
    # With biases, what nobody hears may still go; what hears nothing hands on a constant.
    heard = {**masks, "0.weight": masks["0.weight"] & masks["2.weight"].any(axis=0)[:, None]}
    kept, effective = (prune_network(network, m) for m in (masks, heard))
    np.testing.assert_allclose(kept.forward(x), effective.forward(x), rtol=1e-12, atol=1e-14)


def test_a_constant_neuron_acts_as_a_bias(rng):
    network, x = mlp([2, 3, 2], rng=rng, dtype=np.float64), rng.standard_normal((9, 2))
    network.params["0.bias"][:] = [0.5, 2.0, -1.0]
    kept, effective = (prune_network(network, masks) for masks in (CUT, connected(CUT)))
    shift = kept.forward(x) - effective.forward(x)
    # Neuron 1 is max(0, 2) for every sample.
    expected = 2.0 * network.params["2.weight"][:, 1]
    np.testing.assert_allclose(shift, np.tile(expected, (9, 1)), rtol=1e-12)


def test_what_a_dead_layer_does_to_both_passes(rng):
    network = mlp([6, 5, 4, 3], rng=rng, dtype=np.float64)
    for name in network.params:
        if name.endswith("bias"):
            network.params[name][:] = rng.uniform(0.1, 1, len(network.params[name]))
    masks = {name: np.ones(s.shape, bool) for name, s in magnitude_scores(network).items()}
    masks["2.weight"][:] = False
    pruned = prune_network(network, masks)
    x, labels = rng.standard_normal((8, 6)), np.arange(8) % 3
    logits = pruned.forward(x)
    assert (logits == logits[0]).all()
    # y = b of the dead layer, through ReLU and the layer after it.
    after = np.maximum(network.params["2.bias"], 0) @ network.params["4.weight"].T
    np.testing.assert_allclose(logits[0], after + network.params["4.bias"], rtol=1e-12)
    criterion = CrossEntropy()
    criterion.forward(logits, labels)
    dx = pruned.backward(criterion.backward())
    assert not dx.any()
    assert not pruned.grads["0.weight"].any()
    assert not pruned.grads["0.bias"].any()
    assert pruned.grads["2.weight"].shape == (0,)
    assert pruned.grads["2.bias"].any()
    assert pruned.grads["4.weight"].any()
    assert pruned.grads["4.bias"].any()
    assert max(check_layer(pruned, x, rng=rng).values()) < 1e-7  # zeros, and rightly so


def test_fine_tuning_a_dead_network_learns_the_frequencies_of_the_classes_and_no_more():
    rng = np.random.default_rng(0)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = mlp([64, 32, 10], rng=rng)
    masks = global_masks(magnitude_scores(network), 0.0)
    masks["2.weight"][:] = False
    pruned = prune_network(network, masks)
    before = {name: p.copy() for name, p in pruned.params.items()}
    optimizer = Momentum(pruned, learning_rate=0.05)
    history = train(pruned, optimizer, x, labels, epochs=10, batch_size=64, rng=rng)
    np.testing.assert_array_equal(pruned.params["0.weight"], before["0.weight"])
    np.testing.assert_array_equal(pruned.params["0.bias"], before["0.bias"])
    assert (pruned.params["2.bias"] != before["2.bias"]).any()
    share = np.bincount(labels) / len(labels)
    entropy = -(share * np.log(share)).sum()
    assert abs(entropy - np.log(10)) < 0.001  # the digits are balanced
    loss = CrossEntropy().forward(pruned.forward(x), labels)
    assert entropy <= loss < entropy + 0.02
    assert abs(history[-1].loss - np.log(10)) < 0.02
    # One answer for all: the share of one class.
    shares = np.bincount(labels_test) / len(labels_test)
    assert np.isclose(accuracy(pruned, x_test, labels_test), shares).any()


def test_weight_decay_shrinks_what_no_gradient_reaches(rng):
    network = mlp([4, 5, 3], rng=rng, dtype=np.float64)
    masks = {"2.weight": np.zeros((3, 5), bool)}
    for decay in (0.0, 0.1):
        pruned = prune_network(network, masks)
        optimizer = Momentum(pruned, learning_rate=0.1, beta=0.0, weight_decay=decay)
        x, labels = rng.standard_normal((6, 4)), np.arange(6) % 3
        train(pruned, optimizer, x, labels, epochs=1, batch_size=6, rng=rng)
        expected = network.params["0.weight"] * (1 - 0.1 * decay)
        np.testing.assert_allclose(pruned.params["0.weight"], expected, rtol=1e-14)


def test_claim_where_the_first_layer_dies():
    counts = {}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, labels, _, _ = stratified_split(*load_digits(), rng=rng)
        network = mlp(SIZES, rng=rng)
        criterion = CrossEntropy()
        criterion.forward(network.forward(x), labels)
        network.backward(criterion.backward())
        magnitudes = magnitude_scores(network)
        products = {name: np.abs(network.params[name] * network.grads[name]) for name in magnitudes}
        by_chance = random_scores(network, rng=rng)
        assert flat(magnitudes).size == 67_904
        for way, scores in (("w", magnitudes), ("wg", products), ("random", by_chance)):
            critical = critical_count(scores)
            dead = collapsed_layers(global_masks(scores, 1 - (critical - 1) / 67_904))
            counts.setdefault(way, []).append((critical, *dead))
    # Magnitude: the layer of 512 inputs a neuron, between 90 and 96 % sparsity, in every run.
    assert {dead for _, dead in counts["w"]} == {"2.weight"}
    sparsity = [1 - critical / 67_904 for critical, _ in counts["w"]]
    assert 0.9 < min(sparsity) < max(sparsity) < 0.96
    # |w · gradient|: one of the two largest layers, and not before few weights are left.
    assert {dead for _, dead in counts["wg"]} <= {"0.weight", "2.weight"}
    assert all(10 < critical < 200 for critical, _ in counts["wg"])
    # Random: a small layer, with a few hundred weights left at most.
    assert {dead for _, dead in counts["random"]} <= {"4.weight", "6.weight"}
    assert all(30 < critical < 1000 for critical, _ in counts["random"])


def test_claim_a_guard_of_one_is_none():
    # Guessing is below 0.12 accuracy; learning something is above 0.25.
    found = {}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        network = mlp(SIZES, rng=rng)
        scores = magnitude_scores(network)
        nine = global_masks(scores, 0.9)
        assert collapsed_layers(nine) == []
        assert flat(connected(nine)).sum() / flat(nine).sum() < 0.07
        assert collapsed_layers(global_masks(scores, 0.96)) == ["2.weight"]
        if seed > 2:  # the rest takes longer
            continue
        for way, masks in (
            ("global", global_masks(scores, 0.96)),
            ("one", guarded_masks(scores, 0.96)),
            ("hundred", guarded_masks(scores, 0.96, least=100)),
            ("layer", layer_masks(scores, 0.96)),
        ):
            assert abs(flat(masks).sum() - 2716) <= 1  # per layer rounds for itself
            pruned = prune_network(network, masks)
            optimizer = Momentum(pruned, learning_rate=0.1)
            again = np.random.default_rng(seed)
            train(pruned, optimizer, x, labels, epochs=5, batch_size=64, rng=again)
            found.setdefault(way, []).append(accuracy(pruned, x_test, labels_test))
    assert max(found["global"]) < 0.12
    assert np.mean(found["one"]) < 0.15
    assert min(found["hundred"]) > 0.25
    assert np.mean(found["hundred"]) > np.mean(found["layer"]) > 0.25


def test_bad_input():
    with pytest.raises(ValueError, match="masks must hold at least one layer"):
        collapsed_layers({})
    with pytest.raises(ValueError, match="masks must hold at least one layer"):
        connected({})
    for function in (collapsed_layers, connected):
        with pytest.raises(TypeError, match=r"masks must be bool, got float64 for 2\.weight"):
            function({**CUT, "2.weight": np.ones((2, 3))})
    with pytest.raises(ValueError, match=r"masks of 2\.weight must be \(out, in\), got \(6,\)"):
        connected({**CUT, "2.weight": np.ones(6, bool)})
    with pytest.raises(ValueError, match=r"must have the 3 outputs of 0\.weight as inputs, got 2"):
        connected({**CUT, "2.weight": np.ones((3, 2), bool)})
    for function in (critical_count, lambda scores: guarded_masks(scores, 0.5)):
        for bad in ({}, {**SCORES, "4.weight": np.ones(0)}):
            with pytest.raises(ValueError, match="scores must hold at least one layer, and each"):
                function(bad)
        with pytest.raises(ValueError, match=r"scores of 2\.weight must not hold NaN"):
            function({**SCORES, "2.weight": np.array([0.1, np.nan])})
    with pytest.raises(ValueError, match="scores must not hold infinity"):
        guarded_masks({**SCORES, "2.weight": np.array([0.1, np.inf])}, 0.5)
    for least in (0, 3):
        with pytest.raises(
            ValueError, match=f"least must be 1 to 2, the smallest layer, got {least}"
        ):
            guarded_masks(SCORES, 0.0, least=least)
    for sparsity in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
            guarded_masks(SCORES, sparsity)
    with pytest.raises(ValueError, match=r"keeps 3 weights, too few for 2 in each of 2 layers"):
        guarded_masks(SCORES, 0.625, least=2)
