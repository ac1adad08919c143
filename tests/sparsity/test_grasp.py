import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import (
    Activation,
    gelu,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import layer_masks, prune_network, random_scores
from lexicon.sparsity.grasp import grasp_scores, hessian_vector_product
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train


def gradients(network, x, labels):
    criterion = CrossEntropy()
    criterion.forward(network.forward(x), labels)
    network.backward(criterion.backward())
    return {name: g.copy() for name, g in network.grads.items()}


def flow(network, x, labels):
    return sum((g**2).sum(dtype=float) for g in gradients(network, x, labels).values())


def vectors_like(network, rng):
    return {name: rng.standard_normal(p.shape) for name, p in network.params.items()}


def differences(network, x, labels, vectors, epsilon=1e-6):
    """Measure H v as (g(θ + εv) - g(θ - εv)) / 2ε."""
    start = {name: p.copy() for name, p in network.params.items()}
    ends = []
    for step in (epsilon, -epsilon):
        for name, p in network.params.items():
            p[...] = start[name] + step * vectors[name]
        ends.append(gradients(network, x, labels))
    for name, p in network.params.items():
        p[...] = start[name]
    return {name: (ends[0][name] - ends[1][name]) / (2 * epsilon) for name in start}


def worst(a, b):
    assert [*a] == [*b]
    return max(relative_error(a[name], b[name]) for name in a)


def digits_and_network(seed):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    return mlp([64, 64, 10], rng=rng), x, labels, x_test, labels_test, rng


def test_by_hand():
    network = Sequential([Linear(np.array([[2.0, -1.0], [-1.0, 2.0]]))])
    x, labels = np.ones((1, 2)), np.array([0])
    scores = grasp_scores(network, x, labels)
    assert [*scores] == ["0.weight"]
    np.testing.assert_allclose(scores["0.weight"], [[-1.5, 0.75], [-0.75, 1.5]], rtol=1e-15)
    np.testing.assert_allclose(network.grads["0.weight"], [[-0.5, -0.5], [0.5, 0.5]], rtol=1e-15)
    np.testing.assert_allclose(network.grads["0.bias"], [-0.5, 0.5], rtol=1e-15)
    moved = hessian_vector_product(network, x, labels, network.grads)
    np.testing.assert_allclose(moved["0.weight"], [[-0.75, -0.75], [0.75, 0.75]], rtol=1e-15)
    np.testing.assert_allclose(moved["0.bias"], [-0.75, 0.75], rtol=1e-15)
    assert flow(network, x, labels) == pytest.approx(1.5)
    # The last column of the page's table: the flow really left without each weight.
    without = []
    for row, column in np.ndindex(2, 2):
        pruned = Sequential([Linear(network.params["0.weight"])])
        pruned.params["0.weight"][row, column] = 0
        without.append(flow(pruned, x, labels))
    np.testing.assert_allclose(without, [4.655, 0.434, 3.207, 0.085], atol=0.0005)
    # At half sparsity both that stay push towards the wrong class.
    np.testing.assert_allclose(CrossEntropy().forward(network.forward(x), labels), np.log(2))
    pruned = prune_network(network, layer_masks(scores, 0.5))
    np.testing.assert_array_equal(pruned.layers[0].weight.toarray(), [[0, -1.0], [0, 2.0]])
    loss = CrossEntropy().forward(pruned.forward(x), labels)
    assert loss == pytest.approx(3.049, abs=0.0005)


@pytest.mark.parametrize("function", [relu, leaky_relu, tanh, sigmoid, softplus])
def test_matches_central_differences_of_gradients(function, rng):
    network = mlp([5, 6, 4, 3], rng=rng, activation=function, dtype=np.float64)
    for name in ("0.bias", "2.bias", "4.bias"):
        network.params[name] += 0.3 * rng.standard_normal(network.params[name].shape)
    x, labels = rng.standard_normal((7, 5)), np.arange(7) % 3
    vectors = vectors_like(network, rng)
    exact = hessian_vector_product(network, x, labels, vectors)
    assert worst(exact, differences(network, x, labels, vectors)) < 1e-8
    # A term left out would be seen: each part of the vector alone moves every part of the product.
    for name in vectors:
        alone = {other: v * (other == name) for other, v in vectors.items()}
        exact = hessian_vector_product(network, x, labels, alone)
        assert worst(exact, differences(network, x, labels, alone)) < 1e-7
        assert all(np.abs(part).max() > 1e-6 for part in exact.values())


def test_matches_the_whole_hessian_of_a_tiny_network(rng):
    network = mlp([2, 3, 2], rng=rng, activation=tanh, dtype=np.float64)
    x, labels = rng.standard_normal((4, 2)), np.array([0, 1, 1, 0])
    names, sizes = [*network.params], [p.size for p in network.params.values()]
    loss = CrossEntropy()

    def value():
        return loss.forward(network.forward(x), labels)

    def flat(parts):
        return np.concatenate([parts[name].ravel() for name in names])

    # Second differences of the loss itself: no gradient of ours takes part.
    places = [(network.params[name], i) for name in names for i in range(network.params[name].size)]
    hessian = np.zeros((len(places), len(places)))
    step = 1e-4
    for a, (p, i) in enumerate(places):
        for b, (q, j) in enumerate(places):
            for s, t in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                p.flat[i] += s * step
                q.flat[j] += t * step
                hessian[a, b] += s * t * value() / (4 * step**2)
                p.flat[i] -= s * step
                q.flat[j] -= t * step
    ours = []
    for a in range(len(places)):
        parts = np.split(np.eye(len(places))[a], np.cumsum(sizes)[:-1])
        unit = {n: v.reshape(network.params[n].shape) for n, v in zip(names, parts, strict=True)}
        ours.append(flat(hessian_vector_product(network, x, labels, unit)))
    np.testing.assert_allclose(ours, hessian, atol=2e-7)
    np.testing.assert_allclose(ours, np.transpose(ours), atol=1e-15)
    g = flat(gradients(network, x, labels))
    expected = (flat(network.params) * (hessian @ g))[: sizes[0]]
    scores = grasp_scores(network, x, labels)["0.weight"]
    np.testing.assert_allclose(scores.ravel(), expected, atol=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([relu, tanh]))
def test_symmetric_linear_and_blind_to_the_batch_order(seed, function):
    rng = np.random.default_rng(seed)
    network = mlp([3, 4, 3], rng=rng, activation=function, dtype=np.float64)
    x, labels = rng.standard_normal((6, 3)), rng.integers(0, 3, 6)
    u, v = vectors_like(network, rng), vectors_like(network, rng)
    hu = hessian_vector_product(network, x, labels, u)
    hv = hessian_vector_product(network, x, labels, v)
    across = sum((u[name] * hv[name]).sum() for name in u)
    assert across == pytest.approx(sum((v[name] * hu[name]).sum() for name in u), abs=1e-10)
    both = hessian_vector_product(network, x, labels, {name: 2 * u[name] - v[name] for name in u})
    order = rng.permutation(6)
    shuffled = hessian_vector_product(network, x[order], labels[order], u)
    twice = hessian_vector_product(network, np.tile(x, (2, 1)), np.tile(labels, 2), u)
    for name in u:
        np.testing.assert_allclose(both[name], 2 * hu[name] - hv[name], atol=1e-10)
        np.testing.assert_allclose(shuffled[name], hu[name], atol=1e-12)
        np.testing.assert_allclose(twice[name], hu[name], atol=1e-12)  # the loss is a mean


def test_csr_layers_agree_with_the_dense_ones(rng):
    first = random_csr((6, 5), 17, rng=rng, dtype=np.float64)
    last = random_csr((3, 6), 9, rng=rng, dtype=np.float64)
    biases = rng.standard_normal(6), rng.standard_normal(3)
    inner = Sequential([CSRLinear(first, biases[0]), Activation(tanh)])  # nested, as it may be
    sparse = Sequential([inner, CSRLinear(last, biases[1])])
    dense = Sequential(
        [
            Sequential([Linear(first.toarray(), biases[0]), Activation(tanh)]),
            Linear(last.toarray(), biases[1]),
        ]
    )
    x, labels = rng.standard_normal((8, 5)), np.arange(8) % 3
    vectors = vectors_like(sparse, rng)
    exact = hessian_vector_product(sparse, x, labels, vectors)
    assert worst(exact, differences(sparse, x, labels, vectors)) < 1e-8
    scores, full = grasp_scores(sparse, x, labels), {}
    where = {"0.0.weight": first, "1.weight": last}
    # The dense scores use the dense gradient, which has entries where the sparse one has none.
    g = gradients(dense, x, labels)
    for name, w in where.items():
        g[name] = g[name] * (w.toarray() != 0)
    moved = hessian_vector_product(dense, x, labels, g)
    for name, w in where.items():
        full[name] = dense.params[name] * moved[name]
        assert scores[name].shape == (w.nnz,)
        rows, columns = np.repeat(np.arange(w.shape[0]), np.diff(w.indptr)), w.indices
        np.testing.assert_allclose(scores[name], full[name][rows, columns], atol=1e-12)


def test_sparse_scores_allocate_no_dense_weight(rng):
    network = sparse_mlp([3000, 3000, 10], density=0.001, rng=rng)
    x, labels = rng.random((8, 3000), dtype=np.float32), np.arange(8) % 10
    tracemalloc.start()
    grasp_scores(network, x, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000 * 4 / 10  # a tenth of one dense weight in float32


def test_the_sign_and_size_against_brute_force(rng):
    # Weights so small that the first order is all there is: set each to 0 and measure ‖g‖².
    base = mlp([3, 4, 3], rng=rng, dtype=np.float64)
    x, labels = rng.standard_normal((9, 3)), np.arange(9) % 3
    for name in ("0.weight", "2.weight"):
        for index in np.ndindex(base.params[name].shape):
            network = Sequential(
                [
                    Linear(base.params["0.weight"]),
                    Activation(relu),
                    Linear(base.params["2.weight"]),
                ]
            )
            network.params[name][index] = 1e-6
            predicted = 2 * grasp_scores(network, x, labels)[name][index]
            before = flow(network, x, labels)
            network.params[name][index] = 0
            lost = before - flow(network, x, labels)
            assert lost == pytest.approx(predicted, rel=1e-3, abs=1e-13)


def test_one_weight_is_foreseen_and_many_are_not():
    # The page's first finding: rank correlation for single weights, growth for nine tenths.
    for seed in range(3):
        network, x, labels, _, _, rng = digits_and_network(seed)
        few, of_few = x[:300], labels[:300]
        scores = grasp_scores(network, few, of_few)["2.weight"]
        whole = flow(network, few, of_few)
        weight = network.params["2.weight"]
        places = rng.choice(weight.size, 100, replace=False)
        lost = []
        for place in places:
            kept, weight.flat[place] = weight.flat[place], 0
            lost.append(whole - flow(network, few, of_few))
            weight.flat[place] = kept
        ranks = [np.argsort(np.argsort(v)) for v in (lost, scores.flat[places])]
        assert np.corrcoef(ranks)[0, 1] > 0.9
        pruned = prune_network(network, layer_masks(grasp_scores(network, x, labels), 0.9))
        assert flow(pruned, x, labels) > 5 * flow(network, x, labels)
        chance = prune_network(network, layer_masks(random_scores(network, rng=rng), 0.9))
        assert flow(pruned, x, labels) > 100 * flow(chance, x, labels)


def test_claim_keeping_the_flow_trains_better_than_chance():
    # Means of five runs; single ones scatter too much to be promised.
    sparsities, rates = [0.9, 0.98], [0.02, 0.1]
    read = np.zeros((5, 2, 2, 2))
    unsigned, rescaled = np.zeros((2, 5))
    for seed in range(5):
        network, x, labels, x_test, labels_test, rng = digits_and_network(seed)
        kinds = grasp_scores(network, x, labels), random_scores(network, rng=rng)
        for j, scores in enumerate(kinds):
            for i, sparsity in enumerate(sparsities):
                for r, rate in enumerate(rates):
                    pruned = prune_network(network, layer_masks(scores, sparsity))
                    optimizer = Momentum(pruned, learning_rate=rate)
                    again = np.random.default_rng(seed)
                    train(pruned, optimizer, x, labels, epochs=10, batch_size=64, rng=again)
                    read[seed, r, i, j] = accuracy(pruned, x_test, labels_test)
        sizes = {name: np.abs(score) for name, score in kinds[0].items()}
        pruned = prune_network(network, layer_masks(sizes, 0.9))
        optimizer, again = Momentum(pruned, learning_rate=0.1), np.random.default_rng(seed)
        train(pruned, optimizer, x, labels, epochs=10, batch_size=64, rng=again)
        unsigned[seed] = accuracy(pruned, x_test, labels_test)
        pruned = prune_network(network, layer_masks(kinds[1], 0.9))
        for name in kinds[1]:
            pruned.params[name] *= np.float32(np.sqrt(10))
        optimizer, again = Momentum(pruned, learning_rate=0.02), np.random.default_rng(seed)
        train(pruned, optimizer, x, labels, epochs=10, batch_size=64, rng=again)
        rescaled[seed] = accuracy(pruned, x_test, labels_test)
    assert read[:, 0, 0, 1].mean() < rescaled.mean() < read[:, 0, 0, 0].mean()
    assert unsigned.mean() > read[:, 1, 0, 0].mean() + 0.1
    (small_90, small_98), (large_90, large_98) = (read[..., 0] - read[..., 1]).mean(axis=0)
    assert min(small_90, small_98) > 0.05  # small steps: holds
    assert large_90 < -0.1  # larger steps: at 90 % it is the other way round
    assert large_98 > 0.05  # and at 98 % not
    # Each at the better of the two rates, by the mean: chance at 90 %, GraSP at 98 %.
    best = read.mean(axis=0).max(axis=0)
    assert best[0, 1] > best[0, 0]
    assert best[1, 0] > best[1, 1]


def test_pitfall_one_class():
    for seed in range(3):
        network, x, labels, *_ = digits_and_network(seed)
        shared = layer_masks(grasp_scores(network, x, labels), 0.9)["2.weight"].sum(axis=1)
        own = np.zeros(10)
        for digit in range(10):
            one = labels == digit
            masks = layer_masks(grasp_scores(network, x[one], labels[one]), 0.9)
            own[digit] = masks["2.weight"].sum(axis=1)[digit]
        assert shared.sum() == 64
        assert own.min() > 6.4  # more than its tenth, whichever digit it was
        assert own.mean() > 2 * 6.4


def test_pitfall_the_sign():
    for seed in range(3):
        network, x, labels, *_ = digits_and_network(seed)
        scores = grasp_scores(network, x, labels)
        right = prune_network(network, layer_masks(scores, 0.9))
        wrong = prune_network(network, layer_masks({n: -s for n, s in scores.items()}, 0.9))
        assert flow(right, x, labels) > 1.5 * flow(wrong, x, labels)


def test_pitfall_a_difference_in_float32_is_noise():
    network, x, labels, *_ = digits_and_network(0)
    exact = mlp([64, 64, 10], rng=np.random.default_rng(0), dtype=np.float64)
    for name, p in exact.params.items():
        p[...] = network.params[name]
    truth = grasp_scores(exact, x.astype(float), labels)["0.weight"]
    ours = grasp_scores(network, x, labels)["0.weight"]
    assert ours.dtype == np.float32
    assert relative_error(ours, truth) < 1e-5
    g = gradients(network, x, labels)
    start = {name: p.copy() for name, p in network.params.items()}
    errors = []
    for epsilon in (1e-2, 1e-4, 1e-6):
        for name, p in network.params.items():
            p[...] = start[name] + np.float32(epsilon) * g[name]
        ends = gradients(network, x, labels)["0.weight"]
        difference = (ends - g["0.weight"]) / np.float32(epsilon)
        errors.append(relative_error(start["0.weight"] * difference, truth))
    assert min(errors) > 1000 * relative_error(ours, truth)


def test_parameters_stay_and_the_product_runs_nothing(rng):
    network = mlp([3, 4, 2], rng=rng)
    x, labels = rng.random((5, 3), dtype=np.float32), np.arange(5) % 2
    kept = {name: p.copy() for name, p in network.params.items()}
    scores = grasp_scores(network, x, labels)
    g = gradients(network, x, labels)
    moved = hessian_vector_product(network, x, labels, network.grads)
    for name, p in network.params.items():
        np.testing.assert_array_equal(p, kept[name])
        np.testing.assert_array_equal(network.grads[name], g[name])
        assert moved[name].dtype == np.float32
        assert moved[name].shape == p.shape
    assert [*scores] == ["0.weight", "2.weight"]
    with pytest.raises(RuntimeError, match="forward first"):
        network.backward(np.ones((5, 2), dtype=np.float32))


def test_bad_input(rng):
    network = mlp([3, 4, 2], rng=rng, dtype=np.float64)
    x, labels = rng.standard_normal((5, 3)), np.arange(5) % 2
    vectors = vectors_like(network, rng)
    for bad, message in (
        ({"0.weight": vectors["0.weight"]}, "vectors must be named .*0.weight"),
        ({**vectors, "0.bias": np.ones(3)}, r"vectors of 0.bias must be \(4,\), got \(3,\)"),
        ({**vectors, "0.bias": np.full(4, np.nan)}, "vectors of 0.bias must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            hessian_vector_product(network, x, labels, bad)
    bad = {**vectors, "0.bias": np.ones(4, dtype=np.float32)}
    with pytest.raises(TypeError, match=r"vectors must be float64, got float32 for 0\.bias"):
        hessian_vector_product(network, x, labels, bad)
    for function in (grasp_scores, lambda *a: hessian_vector_product(*a, vectors)):
        with pytest.raises(TypeError, match="x must be float64"):
            function(network, x.astype(np.float32), labels)
        with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3\)"):
            function(network, x[:, :2], labels)
        with pytest.raises(ValueError, match="labels must be 0 to 1, got 0 to 2"):
            function(network, x, np.array([0, 1, 2, 0, 1]))
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match="x must be finite"):
                function(network, np.where(x == x[3, 1], bad, x), labels)
        assert network.grads == {}
    for layer, message in (
        (Activation(gelu), "network must activate by one of relu, leaky_relu, .*gelu"),
        (MaskedLinear(Linear(np.ones((2, 2))), np.eye(2) > 0), "got MaskedLinear"),
    ):
        other = Sequential([Linear(np.ones((2, 3))), layer])
        with pytest.raises(TypeError, match=message):
            grasp_scores(other, x, labels)
        assert other.layers[0].grads == {}
