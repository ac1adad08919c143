import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import bsr_array, csr_array
from scipy.stats import norm

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.block_sparsity import BlockLinear, block_mask, block_scores
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.magnitude_prune import magnitude_mask
from lexicon.sparsity.mask import MaskedLinear, top_k
from lexicon.sparsity.sparse_matrix import BSR, break_even_density, stored_bytes
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

BY_HAND = np.array([[3.0, 1, 1, 0], [0, -2, 0, 1], [5, 0, 2, 2], [0, 0, -2, 2]])
weights = arrays(np.float64, (6, 8), elements=st.integers(-2, 2).map(float))
blocks = st.sampled_from([(1, 1), (2, 2), (3, 4), (6, 1), (1, 8), (2, 8), (6, 8)])


def held_bytes(layer):
    weight = layer.weight
    return weight.data.nbytes + weight.indices.nbytes + weight.indptr.nbytes


def spread(tiles, block):
    return np.repeat(np.repeat(tiles, block[0], axis=0), block[1], axis=1)


def test_by_hand():
    np.testing.assert_array_equal(block_scores(np.abs(BY_HAND), (2, 2)), [[6, 2], [5, 8]])
    tiles = block_mask(np.abs(BY_HAND), (2, 2), 0.5)
    np.testing.assert_array_equal(tiles, [[True, False], [False, True]])
    layer = BlockLinear.from_dense(BY_HAND, tiles, np.zeros(4))
    np.testing.assert_array_equal(layer.params["weight"], [[[3, 1], [0, -2]], [[2, 2], [-2, 2]]])
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2, 3, 4]])), [[5, -4, 14, 2]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 10, 1, 1]])), [[3, -19, 0, 4]])
    np.testing.assert_array_equal(layer.grads["weight"], [[[1, 2], [10, 20]], [[3, 4], [3, 4]]])
    np.testing.assert_array_equal(layer.grads["bias"], [1, 10, 1, 1])
    layer.params["bias"] += [10, 20, 30, 40]
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2, 3, 4]])), [[15, 16, 44, 42]])


@pytest.mark.parametrize("block", [(1, 1), (3, 2), (2, 6), (6, 12)])
def test_gradient_alone_and_in_a_stack(block, rng):
    x = rng.standard_normal((5, 12))
    weight, bias = rng.standard_normal((6, 12)), rng.standard_normal(6)
    layer = BlockLinear.from_dense(weight, block_mask(np.abs(weight), block, 0.4), bias)
    assert max(check_layer(layer, x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((12, 12)), rng.standard_normal(12)),
            layer,
            Linear(rng.standard_normal((3, 6))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(weights, blocks, st.floats(0, 0.95))
def test_exactly_so_many_of_the_best_tiles(weight, block, sparsity):
    sums = block_scores(np.abs(weight), block)
    height, width = block
    for (i, j), total in np.ndenumerate(sums):
        tile = weight[i * height : (i + 1) * height, j * width : (j + 1) * width]
        assert total == np.abs(tile).sum()
    removed = round(sparsity * sums.size)
    if removed == sums.size:
        with pytest.raises(ValueError, match="would leave none of"):
            block_mask(np.abs(weight), block, sparsity)
        return
    tiles = block_mask(np.abs(weight), block, sparsity)
    best = np.argsort(-sums.ravel(), kind="stable")[: sums.size - removed]
    np.testing.assert_array_equal(np.flatnonzero(tiles), np.sort(best))


@given(arrays(np.float64, (4, 6), elements=st.floats(0, 9)), st.integers(1, 6))
def test_no_other_choice_of_so_many_tiles_holds_more(scores, keep):
    tiles = block_mask(scores, (2, 2), 1 - keep / 6)
    every = block_scores(scores, (2, 2)).ravel()
    most = max(sum(chosen) for chosen in combinations(every, keep))
    assert scores[spread(tiles, (2, 2))].sum() == pytest.approx(most, rel=1e-12)


@given(st.integers(0, 2**32), blocks, st.integers(1, 4), st.floats(0, 0.9))
def test_agrees_with_the_masked_the_csr_layer_and_scipy(seed, block, samples, sparsity):
    rng = np.random.default_rng(seed)
    weight, bias = rng.standard_normal((6, 8)), rng.standard_normal(6)
    x, dy = rng.standard_normal((samples, 8)), rng.standard_normal((samples, 6))
    tiles = rng.random((6 // block[0], 8 // block[1])) >= sparsity  # perhaps none at all
    mask = spread(tiles, block)
    layer = BlockLinear.from_dense(weight, tiles, bias)
    np.testing.assert_array_equal(layer.weight.toarray(), weight * mask)
    y, dx = layer.forward(x), layer.backward(dy)
    np.testing.assert_allclose(y, (layer.weight @ x.T).T + bias, rtol=0, atol=1e-13)
    ours = bsr_array((layer.grads["weight"], layer.weight.indices, layer.weight.indptr), (6, 8))
    for other in (
        MaskedLinear(Linear(weight, bias), mask),
        CSRLinear.from_dense(weight, mask, bias),
    ):
        np.testing.assert_allclose(y, other.forward(x), rtol=0, atol=1e-13)
        np.testing.assert_allclose(dx, other.backward(dy), rtol=0, atol=1e-13)
        theirs = other.grads["weight"]
        theirs = theirs[mask] if theirs.shape == mask.shape else theirs
        np.testing.assert_allclose(ours.toarray()[mask], theirs, rtol=0, atol=1e-13)
        np.testing.assert_allclose(layer.grads["bias"], other.grads["bias"], rtol=0, atol=1e-13)


def test_sparsity_zero_is_the_dense_layer(rng):
    weight, x = rng.standard_normal((6, 8)), rng.standard_normal((3, 8))
    layer = BlockLinear.from_dense(weight, block_mask(np.abs(weight), (2, 4), 0), np.zeros(6))
    np.testing.assert_allclose(layer.forward(x), x @ weight.T, rtol=0, atol=1e-13)


def test_an_optimiser_trains_it_as_it_trains_the_csr_layer(rng):
    weight = rng.standard_normal((12, 16))
    tiles = block_mask(np.abs(weight), (4, 4), 0.5)
    block = BlockLinear.from_dense(weight, tiles, np.zeros(12))
    csr = CSRLinear.from_dense(weight, spread(tiles, (4, 4)), np.zeros(12))
    optimizers = [Momentum(layer, learning_rate=0.1) for layer in (block, csr)]
    for _ in range(5):
        x, dy = rng.standard_normal((2, 8, 16))
        for layer, optimizer in zip((block, csr), optimizers, strict=True):
            layer.forward(x)
            layer.backward(dy[:, :12])
            optimizer.step()
    assert block.params["weight"] is block.weight.data
    assert block.params["weight"].shape == (6, 4, 4)
    np.testing.assert_allclose(block.weight.toarray(), csr.weight.toarray(), rtol=0, atol=1e-12)
    assert np.abs(block.weight.toarray() - weight * spread(tiles, (4, 4))).max() > 0.1


def test_bytes(rng):
    weight = rng.standard_normal((128, 64), dtype=np.float32)
    for side in (1, 4, 8, 16):
        tiles = block_mask(np.abs(weight), (side, side), 0.75)
        layer = BlockLinear.from_dense(weight, tiles, np.zeros(128, np.float32))
        count = 128 * 64 // 4 // side**2
        assert layer.weight.data.shape == (count, side, side)
        assert held_bytes(layer) == 4 * 128 * 64 // 4 + 4 * count + 4 * (128 // side + 1)
        parts = layer.weight.data, layer.weight.indices, layer.weight.indptr
        assert held_bytes(layer) == stored_bytes(BSR(*parts, weight.shape))
    # The page's 94 %: with tiles of 16 numbers, 4 bytes of index against 64 of values.
    assert round(16 / 17, 2) == 0.94
    assert break_even_density((10**6, 10**6)) == pytest.approx(0.5, abs=1e-5)


def test_no_dense_weight_is_made(rng):
    weight = rng.standard_normal((2048, 2048), dtype=np.float32)
    tiles = block_mask(np.abs(weight), (16, 16), 0.95)
    layer = BlockLinear.from_dense(weight, tiles, np.zeros(2048, np.float32))
    size = weight.nbytes
    assert held_bytes(layer) < 0.051 * size
    x = np.ones((2048, 8), np.float32).T
    tracemalloc.start()
    y = layer.forward(x)
    assert tracemalloc.get_traced_memory()[1] < 0.02 * size
    tracemalloc.reset_peak()
    layer.backward(y)
    # The gradient, the transpose's copy of the tiles, and little else: not a dense gradient.
    assert tracemalloc.get_traced_memory()[1] < 0.15 * size
    tracemalloc.stop()


def test_nothing_given_is_changed_and_float32_stays(rng):
    weight = rng.standard_normal((4, 8), dtype=np.float32)
    given_weight = bsr_array(weight, blocksize=(2, 4))
    kept, bias = given_weight.copy(), np.zeros(4, np.float32)
    x = rng.standard_normal((3, 8), dtype=np.float32)
    x_kept = x.copy()
    layer = BlockLinear(given_weight, bias)
    assert layer.forward(x).dtype == np.float32
    assert layer.backward(np.ones((3, 4), np.float32)).dtype == np.float32
    assert layer.grads["weight"].dtype == layer.grads["bias"].dtype == np.float32
    np.testing.assert_array_equal(x, x_kept)
    layer.params["weight"] += 1
    layer.params["bias"] += 1
    layer.weight.indices[:] = 0
    np.testing.assert_array_equal(given_weight.data, kept.data)
    np.testing.assert_array_equal(given_weight.indices, kept.indices)
    assert not bias.any()
    np.testing.assert_array_equal(BlockLinear(given_weight).params["bias"], np.zeros(4))


def test_the_best_tiles_of_independent_weights():
    # A mean over rc numbers of mean mu and deviation sigma has deviation sigma / sqrt(rc), and the
    # top share d of a normal variable lies on average pdf(z) / d deviations above its mean.
    weight = np.random.default_rng(0).standard_normal((1024, 1024))
    ratio = np.sqrt(np.pi / 2 - 1)  # sigma over mu of |w|, for normal w
    assert np.abs(weight).std() / np.abs(weight).mean() == pytest.approx(ratio, rel=0.01)
    for density in (0.25, 0.1):
        for side, page in ((4, {0.25: 0.31, 0.1: 0.13}), (8, {0.25: 0.28}), (16, {0.25: 0.265})):
            tiles = block_mask(np.abs(weight), (side, side), 1 - density)
            share = np.abs(weight)[spread(tiles, (side, side))].sum() / np.abs(weight).sum()
            expected = density + ratio * norm.pdf(norm.isf(density)) / side
            assert share == pytest.approx(expected, abs=0.003)
            if density in page:
                assert expected == pytest.approx(page[density], abs=0.005)
    assert ratio * norm.pdf(norm.isf(0.25)) == pytest.approx(0.24, abs=0.001)


def test_claim_every_step_in_size_costs_accuracy():
    # A tenth of the hidden weights stays. The tolerance, set beforehand: a step costs something if
    # mean accuracy falls by one point, and a choice is worth something if chance is one behind.
    sides, seeds = (1, 4, 8, 16), range(4)
    tuned, share = np.zeros((5, len(seeds))), np.zeros((4, 2, len(seeds)))
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        dense = mlp([64, 128, 128, 10], rng=rng)
        optimizer = Momentum(dense, learning_rate=0.05)
        train(dense, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)
        first, relu_1, second, relu_2, output = dense.layers
        for i, side in enumerate((*sides, 4)):
            layers = []
            for layer in (first, second):
                w, b = layer.params["weight"], layer.params["bias"]
                scores = np.abs(w) if i < 4 else rng.random(w.shape)
                tiles = block_mask(scores, (side, side), 0.9)
                layers.append(BlockLinear.from_dense(w, tiles, b))
                if i < 4:
                    shuffled = rng.permuted(np.abs(w), axis=None)
                    there = spread(block_mask(shuffled, (side, side), 0.9), (side, side))
                    kept = np.abs(layers[-1].weight.data).sum(), shuffled[there].sum()
                    share[i, :, seed] += np.array(kept) / np.abs(w).sum() / 2
            last = Linear(output.params["weight"], output.params["bias"])
            network = Sequential([layers[0], relu_1, layers[1], relu_2, last])
            optimizer = Momentum(network, learning_rate=0.05)
            again = np.random.default_rng(seed)
            train(network, optimizer, x, labels, epochs=3, batch_size=64, rng=again)
            tuned[i, seed] = accuracy(network, x_test, labels_test)
    mean = tuned.mean(axis=1)
    assert mean[0] > 0.93
    assert (np.diff(mean[:4]) < -0.01).all()
    assert mean[0] - mean[3] > 0.2
    # Tiles of the trained layers hold no more than those of the same weights, shuffled.
    np.testing.assert_allclose(share[:, 0], share[:, 1], atol=0.012)
    np.testing.assert_allclose(share[1:, 0].mean(axis=1), [0.13, 0.12, 0.10], atol=0.01)
    assert mean[1] - mean[4] > 0.01  # at 4 by 4 the choice is worth something


def test_pitfall_tiles_that_are_nearly_empty(rng):
    weight = rng.standard_normal((64, 64))
    few = weight * magnitude_mask(weight, 0.9)
    stored = csr_array(few).tobsr(blocksize=(4, 4))
    assert stored.data.size / 4096 == pytest.approx(1 - 0.9**16, abs=0.05)
    stored.sum_duplicates()  # SciPy's conversion leaves tiles unsorted
    layer = BlockLinear(stored)  # nine of ten of those numbers are zeros, and are trained
    x, dy = rng.standard_normal((3, 64)), rng.standard_normal((3, 64))
    layer.forward(x)
    layer.backward(dy)
    assert (layer.grads["weight"][stored.data == 0] != 0).all()
    tiles = block_mask(np.abs(weight), (4, 4), 0.9)
    chosen = BlockLinear.from_dense(weight, tiles, np.zeros(64))
    assert chosen.weight.data.size == 16 * 26  # of 256 tiles
    assert round(1 - 0.9**16, 2) == 0.81


def test_pitfall_signed_weights_cancel():
    np.testing.assert_array_equal(block_scores(BY_HAND, (2, 2)), [[2, 2], [5, 4]])
    tiles = block_mask(BY_HAND, (2, 2), 0.5)
    np.testing.assert_array_equal(tiles, [[False, False], [True, True]])


def test_pitfall_neurons_go_deaf_by_the_dozen(rng):
    weight = rng.standard_normal((128, 128))
    sums = block_scores(np.abs(weight), (16, 16))
    deaf = 16 * (~block_mask(np.abs(weight), (16, 16), 0.9).any(axis=1)).sum()
    assert deaf >= 32
    tiles = top_k(sums, 1)  # the cure: so many in each block row
    assert tiles.any(axis=1).all()
    layer = BlockLinear.from_dense(weight, tiles, np.zeros(128))
    assert (layer.forward(np.ones((1, 128))) != 0).all()


def test_a_tall_tile_fetches_less_forward_and_a_wide_one_backward(rng):
    # The page's answer: rows fetched are numbers over the height, in the transpose over the width.
    weight = rng.standard_normal((32, 32))
    for block in ((16, 2), (2, 16)):
        layer = BlockLinear.from_dense(weight, block_mask(np.abs(weight), block, 0.5), np.zeros(32))
        assert layer.weight.nnz == 512
        assert len(layer.weight.indices) * block[1] == 512 // block[0]
        assert layer.weight.T.blocksize == block[::-1]


def test_bad_input():
    for block in ((4, 2), (2, 3), (0, 2), (-2, 2)):
        with pytest.raises(ValueError, match=r"block must divide scores of \(out, in\)"):
            block_scores(np.ones((10, 8)), block)
    for scores in (np.ones(8), np.ones((0, 8)), np.ones((2, 2, 2))):
        with pytest.raises(ValueError, match="block must divide scores"):
            block_mask(scores, (1, 1), 0.5)
    with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
        block_mask(np.ones((4, 4)), (2, 2), 1.0)
    with pytest.raises(ValueError, match="NaN"):
        block_mask(np.full((4, 4), np.nan), (2, 2), 0.5)
    tiles, bias = np.eye(2, dtype=bool), np.zeros(4)
    with pytest.raises(TypeError, match="tiles must be bool, got float64"):
        BlockLinear.from_dense(BY_HAND, np.eye(2), bias)
    for wrong in (np.ones((3, 2), bool), np.ones((2, 3), bool), np.ones(2, bool), tiles[:0]):
        with pytest.raises(ValueError, match="tiles must divide weight"):
            BlockLinear.from_dense(BY_HAND, wrong, bias)
    with pytest.raises(TypeError, match="weight must be float32 or float64, got int64"):
        BlockLinear.from_dense(BY_HAND.astype(int), tiles, bias)


def test_bad_input_to_the_layer():
    weight = bsr_array(BY_HAND, blocksize=(2, 2))
    with pytest.raises(TypeError, match="weight must be a bsr_array, got csr_array"):
        BlockLinear(csr_array(BY_HAND))
    with pytest.raises(ValueError, match="neither of them 0"):
        BlockLinear(bsr_array((0, 4), blocksize=(1, 1)))
    with pytest.raises(TypeError, match="bias must be float64 like weight, got float32"):
        BlockLinear(weight, np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"bias must be \(4,\), got \(2,\)"):
        BlockLinear(weight, np.zeros(2))
    for columns in ([1, 0, 0, 1], [0, 0, 0, 1]):
        parts = weight.data, np.array(columns), weight.indptr
        with pytest.raises(ValueError, match="weight must be canonical"):
            BlockLinear(bsr_array(parts, shape=(4, 4)))
    for outside in (-1, 2):
        damaged = weight.copy()
        damaged.indices[3] = outside
        with pytest.raises(ValueError, match="weight must have block columns 0 to 1, got"):
            BlockLinear(damaged)
    layer = BlockLinear(weight)
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.zeros((1, 4)))
    with pytest.raises(TypeError, match="x must be float64"):
        layer.forward(np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 4\)"):
        layer.forward(np.zeros((1, 2)))
    layer.forward(np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"dy must be \(1, 4\)"):
        layer.backward(np.zeros((2, 4)))
    with pytest.raises(TypeError, match="dy must be float64"):
        layer.backward(np.zeros((1, 4), np.float32))
    assert layer.grads == {}
    np.testing.assert_array_equal(layer.backward(np.ones((1, 4))), [BY_HAND.sum(axis=0)])
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((1, 4)))
