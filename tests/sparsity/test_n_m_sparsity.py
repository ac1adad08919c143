import tracemalloc
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.magnitude_prune import magnitude_mask
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.n_m_sparsity import NMLinear, NMWeight, n_m_mask, pack_n_m, unpack_n_m
from lexicon.sparsity.sampled_gradient import blocked, fastest, gathered_by_row
from lexicon.sparsity.sparse_matrix import stored_bytes
from lexicon.sparsity.sparse_storage import pack_bitmask
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

# Few distinct magnitudes, both signs and zero: ties are the rule and not the exception.
weights = arrays(np.float64, (3, 12), elements=st.integers(-2, 2).map(float))
patterns = st.sampled_from(
    [(1, 2), (2, 4), (1, 4), (3, 4), (1, 3), (2, 3), (5, 6), (4, 12), (6, 6)]
)


def pruned(weight, n, m, bias=None):
    return NMLinear(pack_n_m(weight, n_m_mask(np.abs(weight), n, m), m), bias)


def test_by_hand():
    weight = np.array([[3.0, -1.0, 0.0, -2.0], [2.0, 5.0, -2.0, 1.0]])
    mask = n_m_mask(np.abs(weight), 2, 4)
    np.testing.assert_array_equal(mask, [[1, 0, 0, 1], [1, 1, 0, 0]])
    packed = pack_n_m(weight, mask, 4)
    np.testing.assert_array_equal(packed.values, [[[3, -2]], [[2, 5]]])
    np.testing.assert_array_equal(packed.positions, [[0b0011_0000], [0b0001_0000]])
    assert packed.m == 4
    layer = NMLinear(packed)
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2.0, 3.0, 5.0]])), [[-7, 12]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 10.0]])), [[23, 50, 0, -2]])
    np.testing.assert_array_equal(layer.grads["weight"], [[[1, 5]], [[10, 20]]])
    np.testing.assert_array_equal(layer.grads["bias"], [1, 10])
    layer.params["bias"] += [100, 200]
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2.0, 3.0, 5.0]])), [[93, 212]])


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (2, 3), (4, 12), (12, 12)])
def test_gradient_alone_and_in_a_stack(n, m, rng):
    x = rng.standard_normal((5, 12))
    weight, bias = rng.standard_normal((7, 12)), rng.standard_normal(7)
    layer = NMLinear(pack_n_m(weight, n_m_mask(np.abs(weight), n, m), m), bias)
    assert max(check_layer(layer, x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((12, 12)), rng.standard_normal(12)),
            layer,
            Linear(rng.standard_normal((3, 7))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(weights, patterns)
def test_exactly_n_of_every_m_the_first_of_the_largest(weight, pattern):
    n, m = pattern
    mask = n_m_mask(np.abs(weight), n, m)
    assert mask.dtype == np.bool_
    assert mask.shape == weight.shape
    for group, kept in zip(np.abs(weight).reshape(-1, m), mask.reshape(-1, m), strict=True):
        best = np.argsort(-group, kind="stable")[:n]  # NumPy's stable sort as the oracle
        np.testing.assert_array_equal(np.flatnonzero(kept), np.sort(best))


@given(
    arrays(np.float64, (2, 8), elements=st.floats(-9, 9)), st.sampled_from([(2, 4), (1, 4), (3, 8)])
)
def test_no_other_n_of_m_mask_changes_the_weights_less(weight, pattern):
    n, m = pattern
    mask = n_m_mask(np.abs(weight), n, m)
    for group, kept in zip(weight.reshape(-1, m), mask.reshape(-1, m), strict=True):
        every = [(np.delete(group, chosen) ** 2).sum() for chosen in combinations(range(m), n)]
        assert (group[~kept] ** 2).sum() <= min(every) * (1 + 1e-12)


@given(weights, patterns)
def test_unpacked_is_the_masked_matrix(weight, pattern):
    n, m = pattern
    mask = n_m_mask(np.abs(weight), n, m)
    packed = pack_n_m(weight, mask, m)
    assert packed.values.shape == (3, 12 // m, n)
    bits = int(np.ceil(np.log2(m)))
    assert packed.positions.shape == (3, -(-(12 // m) * n * bits // 8))
    np.testing.assert_array_equal(unpack_n_m(packed), weight * mask)


@given(st.integers(0, 2**32), patterns, st.integers(1, 4))
def test_agrees_with_the_masked_and_the_csr_layer(seed, pattern, samples):
    n, m = pattern
    rng = np.random.default_rng(seed)
    weight, bias = rng.standard_normal((5, 12)), rng.standard_normal(5)
    x, dy = rng.standard_normal((samples, 12)), rng.standard_normal((samples, 5))
    mask = n_m_mask(np.abs(weight), n, m)
    layer = pruned(weight, n, m, bias)
    for other in (
        MaskedLinear(Linear(weight, bias), mask),
        CSRLinear.from_dense(weight, mask, bias),
    ):
        y, dx = layer.forward(x), layer.backward(dy)
        np.testing.assert_allclose(y, other.forward(x), rtol=0, atol=1e-13)
        np.testing.assert_allclose(dx, other.backward(dy), rtol=0, atol=1e-13)
        theirs = other.grads["weight"]
        theirs = theirs[mask] if theirs.shape == mask.shape else theirs
        ours = layer.grads["weight"]
        assert ours.shape == layer.params["weight"].shape
        np.testing.assert_allclose(ours.ravel(), theirs, rtol=0, atol=1e-13)
        np.testing.assert_allclose(layer.grads["bias"], other.grads["bias"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("m", [2, 5, 16, 256])
def test_every_row_of_a_tall_matrix_and_groups_of_any_size(m, rng):
    weight = rng.standard_normal((300, 2 * m))  # three parts of 128, 128 and 44 rows
    mask = n_m_mask(rng.random(weight.shape), max(m // 3, 1), m)
    packed = pack_n_m(weight, mask, m)
    np.testing.assert_array_equal(unpack_n_m(packed), weight * mask)
    layer = NMLinear(packed)
    x, dy = rng.standard_normal((3, 2 * m)), rng.standard_normal((3, 300))
    np.testing.assert_allclose(layer.forward(x), x @ (weight * mask).T, rtol=0, atol=1e-11)
    np.testing.assert_allclose(layer.backward(dy), dy @ (weight * mask), rtol=0, atol=1e-11)
    np.testing.assert_allclose(layer.grads["weight"].ravel(), (dy.T @ x)[mask], rtol=0, atol=1e-11)


@given(arrays(np.float64, (2, 16), elements=st.floats(0, 9)))
def test_larger_groups_of_the_same_share_keep_no_less(scores):
    sums = [scores[n_m_mask(scores, m // 2, m)].sum() for m in (2, 4, 8, 16)]
    assert (np.diff(sums) >= -1e-12 * scores.sum()).all()
    rows = np.sort(scores, axis=1)[:, 8:].sum()  # the best half of each neuron
    np.testing.assert_allclose(sums[-1], rows, rtol=1e-12)


def test_scores_of_any_shape(rng):
    scores = rng.random((2, 3, 8))
    mask = n_m_mask(scores, 2, 4)
    np.testing.assert_array_equal(mask[1, 2], n_m_mask(scores[1, 2], 2, 4))
    assert (mask.reshape(-1, 4).sum(axis=1) == 2).all()


def test_bytes_against_dense_csr_and_bit_mask(rng):
    weight = rng.standard_normal((64, 64), dtype=np.float32)
    held = {}
    for n, m in ((2, 4), (1, 4), (4, 8)):
        mask = n_m_mask(np.abs(weight), n, m)
        layer = pruned(weight, n, m)
        csr = CSRLinear.from_dense(weight, mask, np.zeros(64, np.float32)).weight
        csr_bytes = csr.data.nbytes + csr.indices.nbytes + csr.indptr.nbytes
        bit_mask = stored_bytes(pack_bitmask(weight * mask))
        held[n, m] = stored_bytes(layer.weight), bit_mask, csr_bytes
        assert layer.params["weight"] is layer.weight.values
    # 4 bytes a value; 2, 2 and 3 bits a position; one bit for each place; 4 bytes a column.
    assert held[2, 4] == (8192 + 512, 8192 + 512, 16384 + 260)
    assert held[1, 4] == (4096 + 256, 4096 + 512, 8192 + 260)
    mask = n_m_mask(np.abs(weight), 2, 8)
    assert stored_bytes(pack_n_m(weight, mask, 8)) == 4096 + 384  # the page's prediction
    assert held[4, 8] == (8192 + 768, 8192 + 512, 16384 + 260)
    assert held[2, 4][0] / weight.nbytes == 0.53125  # the page's 53 %
    assert (2 * 16 + 2 * 2) / (4 * 16) == 0.5625  # in float16, its 56 %


def test_no_dense_weight_is_made(rng):
    weight = rng.standard_normal((4096, 512), dtype=np.float32)
    packed = pack_n_m(weight, n_m_mask(np.abs(weight), 2, 4), 4)
    x = np.ones((512, 8), np.float32).T
    tracemalloc.start()
    layer = NMLinear(packed)
    held, peak = tracemalloc.get_traced_memory()
    assert held < 0.54 * weight.nbytes
    assert peak < 0.75 * weight.nbytes
    tracemalloc.reset_peak()
    y = layer.forward(x)
    assert tracemalloc.get_traced_memory()[1] - held < 0.3 * weight.nbytes
    tracemalloc.reset_peak()
    layer.backward(y)
    # Beyond the gradient, half as large as the dense weight, less than another third.
    assert tracemalloc.get_traced_memory()[1] - held < 0.8 * weight.nbytes
    tracemalloc.stop()


def test_nothing_given_is_changed_and_float32_stays(rng):
    weight = rng.standard_normal((6, 8), dtype=np.float32)
    packed = pack_n_m(weight, n_m_mask(np.abs(weight), 2, 4), 4)
    kept, x = packed.values.copy(), rng.standard_normal((3, 8), dtype=np.float32)
    x_kept, bias = x.copy(), np.zeros(6, np.float32)
    layer = NMLinear(packed, bias)
    assert layer.forward(x).dtype == np.float32
    assert layer.backward(np.ones((3, 6), np.float32)).dtype == np.float32
    assert layer.grads["weight"].dtype == layer.grads["bias"].dtype == np.float32
    np.testing.assert_array_equal(x, x_kept)
    layer.params["weight"] += 1
    layer.params["bias"] += 1
    layer.weight.positions[:] = 0
    np.testing.assert_array_equal(packed.values, kept)
    assert packed.positions.any()
    assert not bias.any()


def test_a_half_fits_the_transpose_by_chance_only(rng):
    # Four weights of a column are kept or not independently, each with chance 1/2.
    mask = n_m_mask(rng.random((2000, 64)), 2, 4)
    over = (mask.T.reshape(-1, 4).sum(axis=1) > 2).mean()
    assert binom(4, 0.5).sf(2) == 5 / 16
    assert over == pytest.approx(5 / 16, abs=0.01)
    assert abs((11 / 16) ** 16 - 0.0025) < 5e-5  # a column of 64 without any
    # How many masks there are: half of 16 anywhere, 2 of 4 in rows, and in columns too.
    two = [p for p in product([0, 1], repeat=4) if sum(p) == 2]
    tiles = np.array([*product(two, repeat=4)])
    assert len(two) == comb(4, 2) == 6
    assert (comb(16, 8), len(tiles)) == (12870, 1296)
    assert (tiles.sum(axis=1) == 2).all(axis=1).sum() == 90


def test_pitfall_groups_that_run_the_wrong_way(rng):
    weight = rng.standard_normal((64, 64))
    along_outputs = n_m_mask(np.abs(weight.T), 2, 4).T
    with pytest.raises(ValueError, match="mask must keep equally many of every 4 along a row"):
        pack_n_m(weight, along_outputs, 4)
    along_inputs = n_m_mask(np.abs(weight), 2, 4)
    with pytest.raises(ValueError, match="mask must keep equally many of every 4 along a row"):
        pack_n_m(weight.T, along_inputs.T, 4)
    np.testing.assert_array_equal(
        unpack_n_m(pack_n_m(weight, along_inputs, 4)), weight * along_inputs
    )


def test_pitfall_the_transpose_and_a_mask_that_fits_both_ways(rng):
    two = [p for p in product([0, 1], repeat=4) if sum(p) == 2]
    both = np.array([t for t in product(two, repeat=4) if (np.sum(t, axis=0) == 2).all()], bool)
    shares = []
    for _ in range(5):
        weight = rng.standard_normal((64, 64))
        tiles = np.abs(weight).reshape(16, 4, 16, 4).swapaxes(1, 2)
        best = both[np.einsum("abij,pij->abp", tiles, both).argmax(axis=2)]
        fits = best.swapaxes(1, 2).reshape(64, 64)
        pack_n_m(weight, fits, 4)
        pack_n_m(weight.T, fits.T, 4)
        masks = magnitude_mask(weight, 0.5), n_m_mask(np.abs(weight), 2, 4), fits
        shares.append([np.abs(weight[mask]).sum() / np.abs(weight).sum() for mask in masks])
    anywhere, rows, both_ways = np.mean(shares, axis=0)
    assert anywhere > rows + 0.03 > both_ways + 0.06  # each condition costs at least 3 points


def test_pitfall_the_gradient_is_multiplied_in_full():
    # Half is far above the density up to which equally long rows are gathered.
    for kept, way in ((32, blocked), (8, gathered_by_row)):  # 2:4 and 2:16 of 64 inputs
        assert fastest((64, 64), np.arange(0, 64 * kept + 1, kept)) is way


def test_claim_two_of_four_costs_little_after_fine_tuning():
    # The tolerance, set beforehand: little is one point of mean accuracy.
    read, shares, over = np.zeros((5, 4, 2)), np.zeros((5, 3)), []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
        dense = mlp([64, 64, 10], rng=rng)
        optimizer = Momentum(dense, learning_rate=0.05)
        train(dense, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
        networks = [[], [], []]
        for layer in dense.layers[::2]:
            w, b = layer.params["weight"], layer.params["bias"]
            best = n_m_mask(np.abs(w), 2, 4)
            masks = magnitude_mask(w, 0.5), best, n_m_mask(rng.random(w.shape), 2, 4)
            networks[0] += [CSRLinear.from_dense(w, masks[0], b), Activation(relu)]
            for network, mask in zip(networks[1:], masks[1:], strict=True):
                network += [NMLinear(pack_n_m(w, mask, 4), b), Activation(relu)]
            if layer is dense.layers[0]:
                shares[seed] = [np.abs(w[mask]).sum() / np.abs(w).sum() for mask in masks]
                over.append((best.T.reshape(-1, 4).sum(axis=1) > 2).mean())
        for i, network in enumerate([*(Sequential(n[:-1]) for n in networks), dense]):
            read[seed, i, 0] = accuracy(network, x_test, labels_test)
            optimizer = Momentum(network, learning_rate=0.05)
            again = np.random.default_rng(seed)
            train(network, optimizer, x, labels, epochs=3, batch_size=32, rng=again)
            read[seed, i, 1] = accuracy(network, x_test, labels_test)
    np.testing.assert_allclose(shares.mean(axis=0), [0.80, 0.75, 0.50], atol=0.01)
    assert shares.std(axis=0).max() < 0.01
    assert 0.28 < min(over) < max(over) < 0.36  # about a third, in every network
    cut, tuned = read.mean(axis=0).T
    assert tuned[3] > 0.95
    assert 0 < cut[0] - cut[1] < 0.04  # right after the cut
    assert abs(tuned[0] - tuned[1]) < 0.01  # which fine-tuning takes back: it holds
    assert abs(tuned[3] - tuned[1]) < 0.01
    assert 0 < tuned[1] - tuned[2] < 0.03  # which two it is, is worth no more


def test_bad_input(rng):
    scores = np.ones((2, 8))
    for m in (0, 1, 257):
        with pytest.raises(ValueError, match=f"m must be 2 to 256, got {m}"):
            n_m_mask(scores, 1, m)
    for n in (0, 5):
        with pytest.raises(ValueError, match=f"n must be 1 to 4, got {n}"):
            n_m_mask(scores, n, 4)
    with pytest.raises(ValueError, match="m must divide the last axis of scores, got 3"):
        n_m_mask(scores, 1, 3)
    with pytest.raises(ValueError, match="m must divide the last axis of scores"):
        n_m_mask(np.array(1.0), 1, 4)
    with pytest.raises(ValueError, match="NaN"):
        n_m_mask(np.full((1, 4), np.nan), 2, 4)
    assert n_m_mask(np.ones((0, 8)), 2, 4).shape == (0, 8)
    mask = n_m_mask(scores, 2, 4)
    with pytest.raises(TypeError, match="mask must be bool, got int64"):
        pack_n_m(scores, mask.astype(int), 4)
    with pytest.raises(ValueError, match=r"weight and mask must be \(out, in\)"):
        pack_n_m(scores[:1], mask, 4)
    with pytest.raises(ValueError, match=r"weight and mask must be \(out, in\)"):
        pack_n_m(np.ones((0, 4)), np.ones((0, 4), bool), 4)
    with pytest.raises(ValueError, match=r"weight and mask must be \(out, in\)"):
        pack_n_m(scores[0], mask[0], 4)
    with pytest.raises(ValueError, match="m must divide the last axis of mask, got 3"):
        pack_n_m(scores, mask, 3)
    with pytest.raises(TypeError, match="weight must be float32 or float64, got int64"):
        pack_n_m(scores.astype(int), mask, 4)
    with pytest.raises(ValueError, match="at least one, got 0 to 0"):
        pack_n_m(scores, np.zeros_like(mask), 4)
    mask[1, 0] = False
    with pytest.raises(ValueError, match="at least one, got 1 to 2"):
        pack_n_m(scores, mask, 4)


def test_packed_weights_that_were_damaged_are_refused(rng):
    weight = rng.standard_normal((3, 12))
    packed = pack_n_m(weight, n_m_mask(np.abs(weight), 2, 3), 3)
    for refuses in (NMLinear, unpack_n_m):
        for values in (packed.values[..., 0], np.ones((3, 4, 4)), np.ones((3, 0, 2))):
            with pytest.raises(ValueError, match=r"weight must hold .* values, got"):
                refuses(packed._replace(values=values))
        with pytest.raises(TypeError, match="weight must be float32 or float64, got int64"):
            refuses(packed._replace(values=packed.values.astype(int)))
        for positions in (packed.positions[:, :1], packed.positions.astype(np.int64)):
            with pytest.raises(ValueError, match=r"weight must hold uint8 \(3, 2\) positions"):
                refuses(packed._replace(positions=positions))
        # Twice the same, then descending, then in the next group's place, though ascending.
        for damaged in (0b00_00_00_01, 0b01_00_00_01, 0b00_11_01_10):
            positions = packed.positions.copy()
            positions[2, 0] = damaged
            with pytest.raises(ValueError, match="ascending positions below 3 in every group"):
                refuses(packed._replace(positions=positions))
    with pytest.raises(ValueError, match=r"weight must hold \(out, in / 300"):
        NMLinear(NMWeight(packed.values, packed.positions, 300))


def test_bad_input_to_the_layer(rng):
    packed = pack_n_m(np.ones((2, 4)), n_m_mask(np.ones((2, 4)), 2, 4), 4)
    with pytest.raises(TypeError, match="bias must be float64 like weight, got float32"):
        NMLinear(packed, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"bias must be \(2,\), got \(4,\)"):
        NMLinear(packed, np.zeros(4))
    layer = NMLinear(packed)
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.zeros((1, 2)))
    with pytest.raises(TypeError, match="x must be float64"):
        layer.forward(np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 4\)"):
        layer.forward(np.zeros((1, 2)))
    layer.forward(np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"dy must be \(1, 2\)"):
        layer.backward(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="dy must be float64"):
        layer.backward(np.zeros((1, 2), np.float32))
    assert layer.grads == {}
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2))), [[2, 2, 0, 0]])
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((1, 2)))
