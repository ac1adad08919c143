from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.magnitude_prune import (
    magnitude_mask,
    magnitude_prune,
    magnitude_scores,
)
from lexicon.sparsity.mask import MaskedLinear
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

# Few distinct magnitudes, both signs and zero: ties are the rule and not the exception.
weights = arrays(np.float64, (3, 4), elements=st.integers(-2, 2).map(float))
sparsities = st.floats(0, 0.95)


def test_by_hand():
    layer = Linear(np.array([[0.5, -0.1, 0.0], [-2.0, 0.3, -0.3]]), np.array([0.0, 1.0]))
    mask = magnitude_mask(layer.params["weight"], 0.5)
    np.testing.assert_array_equal(mask, [[True, False, False], [True, True, False]])
    pruned = magnitude_prune(layer, 0.5)
    np.testing.assert_array_equal(pruned.weight.toarray(), [[0.5, 0, 0], [-2.0, 0.3, 0]])
    np.testing.assert_array_equal(pruned.params["weight"], [0.5, -2.0, 0.3])
    np.testing.assert_array_equal(pruned.params["bias"], [0.0, 1.0])
    x = np.array([[1.0, 1.0, 1.0]])
    np.testing.assert_allclose(layer.forward(x), [[0.4, -1.0]], rtol=1e-15)
    np.testing.assert_allclose(pruned.forward(x), [[0.5, -0.7]], rtol=1e-15)


@given(weights, sparsities)
def test_exactly_as_many_as_asked_and_none_larger_left_out(weight, sparsity):
    mask = magnitude_mask(weight, sparsity)
    assert mask.dtype == np.bool_
    assert mask.shape == weight.shape
    assert (~mask).sum() == round(sparsity * 12)
    assert np.abs(weight)[mask].min() >= np.abs(weight)[~mask].max(initial=0)


@given(weights, sparsities)
def test_matches_a_stable_sort(weight, sparsity):
    # NumPy's stable sort of the negated magnitudes is an oracle for "largest, then first".
    order = np.argsort(-np.abs(weight).ravel(), kind="stable")
    expected = np.zeros(12, dtype=bool)
    expected[order[: 12 - round(sparsity * 12)]] = True
    expected = expected.reshape(3, 4)
    np.testing.assert_array_equal(magnitude_mask(weight, sparsity), expected)
    fortran = np.asfortranarray(weight)  # ties by position, not by place in memory
    np.testing.assert_array_equal(magnitude_mask(fortran, sparsity), expected)


@given(arrays(np.float64, (2, 3), elements=st.floats(-9, 9)), st.integers(1, 6))
def test_no_other_choice_of_that_size_changes_the_weights_less(weight, keep):
    lost = (weight[~magnitude_mask(weight, 1 - keep / 6)] ** 2).sum()
    every = [weight.ravel()[list(gone)] for gone in combinations(range(6), 6 - keep)]
    assert lost <= min((gone**2).sum() for gone in every) * (1 + 1e-12)


@given(weights, sparsities, sparsities)
def test_masks_are_nested_and_pruning_again_changes_nothing(weight, a, b):
    few, many = magnitude_mask(weight, max(a, b)), magnitude_mask(weight, min(a, b))
    assert (few <= many).all()
    np.testing.assert_array_equal(magnitude_mask(np.where(few, weight, 0), max(a, b)), few)


@given(weights, sparsities, st.sampled_from([-1.0, 0.25, -(2.0**-600)]))
def test_neither_sign_nor_scale_matters(weight, sparsity, factor):
    expected = magnitude_mask(weight, sparsity)
    np.testing.assert_array_equal(magnitude_mask(factor * weight, sparsity), expected)
    flipped = magnitude_mask(np.abs(weight), sparsity)
    np.testing.assert_array_equal(flipped, expected)


@given(st.integers(1, 40), sparsities)
def test_any_shape(size, sparsity):
    weight = np.arange(1.0, size + 1)
    gone = round(sparsity * size)
    if gone == size:
        with pytest.raises(ValueError, match=f"sparsity .* would leave none of {size}"):
            magnitude_mask(weight, sparsity)
    else:
        np.testing.assert_array_equal(magnitude_mask(weight, sparsity), np.arange(size) >= gone)


@given(weights, sparsities)
def test_the_sparse_layer_computes_what_the_masked_one_does(weight, sparsity):
    rng = np.random.default_rng(0)
    bias, x, dy = rng.normal(size=3), rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    mask = magnitude_mask(weight, sparsity)
    pruned = magnitude_prune(Linear(weight, bias), sparsity)
    masked = MaskedLinear(Linear(weight, bias), mask)
    assert isinstance(pruned, CSRLinear)
    assert pruned.weight.nnz == mask.sum()  # kept zeros are connections too
    np.testing.assert_allclose(pruned.forward(x), masked.forward(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pruned.backward(dy), masked.backward(dy), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pruned.grads["weight"], masked.grads["weight"][mask], rtol=1e-12)
    np.testing.assert_allclose(pruned.grads["bias"], masked.grads["bias"], rtol=1e-12)


def test_scores_are_the_magnitudes_of_every_weight_and_of_no_bias(rng):
    first = Linear(np.array([[0.5, -0.1], [-2.0, 0.3]]), np.array([9.0, -9.0]))
    second = CSRLinear.from_dense(np.array([[-4.0, 7.0]]), np.array([[True, False]]), np.ones(1))
    scores = magnitude_scores(Sequential([first, Activation(relu), second]))
    assert [*scores] == ["0.weight", "2.weight"]
    np.testing.assert_array_equal(scores["0.weight"], [[0.5, 0.1], [2.0, 0.3]])
    np.testing.assert_array_equal(scores["2.weight"], [4.0])  # stored values only


def test_sparsity_zero_is_the_dense_layer(rng):
    layer = Linear(rng.standard_normal((3, 4)), rng.standard_normal(3))
    pruned = magnitude_prune(layer, 0.0)
    np.testing.assert_array_equal(pruned.weight.toarray(), layer.params["weight"])
    np.testing.assert_array_equal(pruned.params["bias"], layer.params["bias"])


def test_the_sizes_in_the_pages_prose():
    # Bytes of a layer of 64 by 64 with half of it pruned: 8 k + 4 (out + 1), no less than 4 n.
    layer = Linear(np.ones((64, 64), dtype=np.float32))
    stored = magnitude_prune(layer, 0.5).weight
    assert stored.nnz == 2048
    size = stored.data.nbytes + stored.indices.nbytes + stored.indptr.nbytes
    assert size == 8 * 2048 + 4 * 65 > layer.params["weight"].nbytes == 4 * 4096
    # LeNet-300-100, the smallest network of Han and others, biases included.
    assert round(785 * 300 + 301 * 100 + 101 * 10, -3) == 267_000


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((5, 6))
    pruned = magnitude_prune(Linear(rng.standard_normal((8, 6)), rng.standard_normal(8)), 0.7)
    assert max(check_layer(pruned, x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((6, 6))),
            pruned,
            Linear(rng.standard_normal((4, 8))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


def test_the_dense_layer_stays_as_it_was_and_float32_stays(rng):
    layer = Linear(rng.standard_normal((3, 4), dtype=np.float32))
    kept = {name: theta.copy() for name, theta in layer.params.items()}
    pruned = magnitude_prune(layer, 0.5)
    assert pruned.params["weight"].dtype == pruned.params["bias"].dtype == np.float32
    pruned.params["weight"] += 1
    pruned.params["bias"] += 1
    for name, theta in layer.params.items():
        np.testing.assert_array_equal(theta, kept[name])


def test_the_loss_of_a_minimum_rises_with_the_square_of_what_is_removed(rng):
    # Linear regression on inputs of one scale: the page's derivation, with nothing neglected.
    x = np.linalg.qr(rng.standard_normal((50, 6)))[0] * np.sqrt(50)
    target = x @ rng.standard_normal(6) + rng.standard_normal(50)
    best = np.linalg.lstsq(x, target, rcond=None)[0]
    mask = magnitude_mask(best, 0.5)
    loss = [((x @ w - target) ** 2).mean() / 2 for w in (best, best * mask)]
    np.testing.assert_allclose(loss[1] - loss[0], (best[~mask] ** 2).sum() / 2, rtol=1e-10)


def test_claim_most_weights_can_go_with_little_loss():
    # The tolerance, set beforehand: little loss is at most 0.02 of mean accuracy against the
    # dense network trained for as long.
    sparsities = [0.0, 0.5, 0.8, 0.9, 0.95]
    pruned, tuned, chance = np.zeros((3, 5, len(sparsities)))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        dense = mlp([64, 64, 10], rng=rng)
        optimizer = Momentum(dense, learning_rate=0.05)
        train(dense, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
        hidden, _, output = dense.layers
        for i, sparsity in enumerate(sparsities):
            largest, anywhere = [], []
            for layer in (hidden, output):
                weight, bias = layer.params["weight"], layer.params["bias"]
                mask = rng.permuted(magnitude_mask(weight, sparsity))
                largest.append(magnitude_prune(layer, sparsity))
                anywhere.append(CSRLinear.from_dense(weight, mask, bias))
            for (first, last), after in ((largest, tuned), (anywhere, chance)):
                network = Sequential([first, Activation(relu), last])
                if after is tuned:
                    pruned[seed, i] = accuracy(network, x_test, labels_test)
                optimizer = Momentum(network, learning_rate=0.05)
                train(network, optimizer, x, labels, epochs=3, batch_size=32, rng=rng)
                after[seed, i] = accuracy(network, x_test, labels_test)
    reference = tuned[:, 0].mean()
    assert reference > 0.95
    loss = dict(zip(sparsities, reference - tuned.mean(axis=0), strict=True))
    assert loss[0.5] < 0.02  # holds
    assert loss[0.8] < 0.02  # holds
    assert 0.02 < loss[0.9] < 0.05  # does not, and not far from it
    assert loss[0.95] > 0.05  # past the knee
    unhealed = dict(zip(sparsities, reference - pruned.mean(axis=0), strict=True))
    assert unhealed[0.8] > 0.05  # without fine-tuning it does not hold at all
    assert unhealed[0.9] > 0.2
    # A random choice of the same size, fine-tuned for as long, is worse in every single run.
    assert (tuned[:, 2:] > chance[:, 2:]).all()
    assert (tuned - chance).mean(axis=0)[3] > 0.2


def test_pitfall_a_quantile_with_ties_removes_the_wrong_number():
    weight = np.array([[0.25, -0.25, 0.25, 0.5], [0.0, 0.25, -0.25, -0.25]])
    size = np.abs(weight)
    threshold = np.quantile(size, 0.5)
    assert threshold == 0.25
    assert (size > threshold).sum() == 1  # 7 of 8 removed
    assert (size >= threshold).sum() == 7  # 1 of 8 removed
    mask = magnitude_mask(weight, 0.5)
    assert mask.sum() == 4
    np.testing.assert_array_equal(mask, [[True, True, True, True], [False] * 4])


def test_pitfall_the_unit_of_an_input_decides(rng):
    metres, noise = rng.standard_normal((2, 200))
    target = metres + 0.01 * noise
    for scale, right in ((1000.0, False), (1.0, True)):
        x = np.stack([scale * metres, noise], axis=1)  # in millimetres, then in metres
        weight = np.linalg.lstsq(x, target, rcond=None)[0][None]
        np.testing.assert_array_equal(magnitude_mask(weight, 0.5), [[right, not right]])


def test_pitfall_the_optimizer_still_holds_the_dense_network(rng):
    dense = Sequential([Linear(rng.standard_normal((2, 4)))])
    optimizer = Momentum(dense, learning_rate=0.1)
    x, labels = rng.standard_normal((8, 4)), np.arange(8) % 2
    train(dense, optimizer, x, labels, epochs=1, batch_size=8, rng=rng)
    pruned = Sequential([magnitude_prune(dense.layers[0], 0.5)])
    before = pruned.params["0.weight"].copy()
    stale = train(pruned, optimizer, x, labels, epochs=3, batch_size=8, rng=rng)
    np.testing.assert_array_equal(pruned.params["0.weight"], before)
    assert len({epoch.update_ratio for epoch in stale}) == 1
    assert stale[0].update_ratio == 0
    fresh = Momentum(pruned, learning_rate=0.1)
    assert train(pruned, fresh, x, labels, epochs=1, batch_size=8, rng=rng)[0].update_ratio > 0
    assert (pruned.params["0.weight"] != before).all()


def test_bad_input():
    weight = np.ones((10, 10))
    for sparsity in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
            magnitude_mask(weight, sparsity)
    with pytest.raises(ValueError, match=r"sparsity 0\.999 would leave none of 100"):
        magnitude_mask(weight, 0.999)
    with pytest.raises(TypeError, match="weight must be floating point, got int8"):
        magnitude_mask(np.array([-128, 1, 2], dtype=np.int8), 0.5)
    for bad in ([np.nan, 1.0], [1.0, -np.inf], []):
        with pytest.raises(ValueError, match="weight must hold at least one number, and no NaN"):
            magnitude_mask(np.array(bad), 0.5)
    layer = Linear(weight)
    with pytest.raises(ValueError, match="sparsity must be in"):
        magnitude_prune(layer, 1.0)
    layer.params["weight"][3, 3] = np.nan
    with pytest.raises(ValueError, match="weight must hold"):
        magnitude_prune(layer, 0.5)
    weight[3, 3] = np.nan
    np.testing.assert_array_equal(layer.params["weight"], weight)
