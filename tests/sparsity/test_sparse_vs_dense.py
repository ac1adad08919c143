from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.sparse import csr_array
from scipy.stats import norm, ttest_rel

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity import sampled_gradient
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.k_wta import KWinnersTakeAll
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.sparsity.sparse_vs_dense import (
    Cost,
    crossover,
    dense_width,
    network_cost,
    paired_difference,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

scores = st.lists(
    st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=12
).filter(lambda pairs: np.std([a - b for a, b in pairs]) > 1e-3)


def linear(n_out, n_in, dtype=np.float32):
    return Linear(np.ones((n_out, n_in), dtype))


def test_by_hand(rng):
    first = CSRLinear(random_csr((10, 6), 12, rng=rng))  # 20 %: its gradient is blocked
    second = CSRLinear(random_csr((10, 10), 5, rng=rng))  # 5 %: gathered
    last = linear(2, 10)
    assert network_cost(first) == (12, 12 * 8 + 11 * 4 + 10 * 4, 24, 24 + 24 + 120)
    assert network_cost(second) == (5, 5 * 8 + 11 * 4 + 10 * 4, 10, 10 + 10 + 10)
    assert network_cost(last) == (20, 20 * 4 + 2 * 4, 40, 40 + 40 + 40)
    sparse = network_cost(Sequential([first, Activation(relu), second, Activation(relu), last]))
    assert sparse == Cost(connections=37, weight_bytes=392, forward_flops=74, step_flops=318)
    assert sparse.step_flops == 74 + 74 + 170
    dense = network_cost(mlp([6, 10, 10, 2], rng=rng))
    assert dense == Cost(connections=180, weight_bytes=808, forward_flops=360, step_flops=3 * 360)
    shares = [round(100 * ours / theirs) for ours, theirs in zip(sparse, dense, strict=True)]
    assert shares == [21, 49, 21, 29]
    assert dense_width([6, 10, 10, 2], 37) == (3, 4)  # 3² + 8 · 3 = 33
    assert dense_width([6, 10, 10, 2], 318 // 6) == (4, 5)  # 4² + 8 · 4 = 48


def test_a_mask_saves_nothing_and_adds_a_byte_for_each_place():
    mask = np.zeros((4, 5), bool)
    mask[1, 2:] = True
    assert network_cost(MaskedLinear(linear(4, 5), mask)) == (3, 4 * 24 + 20, 40, 120)


def test_bytes_follow_the_types_held(rng):
    assert network_cost(linear(4, 5, np.float64)).weight_bytes == 8 * 24
    wide = random_csr((3, 7), 6, rng=rng, dtype=np.float64)
    assert network_cost(CSRLinear(wide)).weight_bytes == 6 * (8 + 4) + 4 * 4 + 3 * 8


def test_what_has_no_parameters_costs_nothing_and_nesting_changes_nothing(rng):
    layers = [linear(4, 5), KWinnersTakeAll(2), CSRLinear(random_csr((3, 4), 5, rng=rng))]
    flat = network_cost(Sequential(layers))
    assert network_cost(Sequential([Sequential(layers[:2]), layers[2]])) == flat
    assert network_cost(KWinnersTakeAll(2)) == (0, 0, 0, 0)
    assert flat.connections == 25
    assert all(type(count) is int for count in flat)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_flops_are_those_of_the_gradient_that_the_layer_takes(n_out, n_in, data):
    nnz = data.draw(st.integers(0, n_out * n_in))
    weight = random_csr((n_out, n_in), nnz, rng=np.random.default_rng(nnz))
    cost = network_cost(CSRLinear(weight))
    way = sampled_gradient.fastest(weight.shape, weight.indptr)
    density = nnz / (n_out * n_in)
    if way is sampled_gradient.blocked:
        share = (2 * density + 1) / 3
    else:
        assert way in (sampled_gradient.gathered, sampled_gradient.gathered_by_row)
        share = density
    assert cost.step_flops == pytest.approx(share * 6 * n_out * n_in)
    assert cost.forward_flops == 2 * cost.connections == 2 * nnz


def test_equal_rows_are_gathered_up_to_a_higher_density():
    indices = np.tile([0, 9, 20], 8)  # 12 %
    equal = csr_array((np.ones(24), indices, np.arange(0, 25, 3)), (8, 25))
    assert network_cost(CSRLinear(equal)).step_flops == 6 * 24
    indices, indptr = np.append(indices, 24), np.append(np.arange(0, 24, 3), 25)
    uneven = csr_array((np.ones(25), indices, indptr), (8, 25))
    assert network_cost(CSRLinear(uneven)).step_flops == 4 * 25 + 2 * 200


def test_flops_of_the_step_are_those_of_the_products_that_run(rng, monkeypatch):
    # Multiplications and additions seen by the products themselves, for one sample of eight.
    for nnz, expected in ((40, 40), (400, 1000)):  # 4 % gathered, 40 % blocked
        layer = CSRLinear(random_csr((25, 40), nnz, rng=rng))
        seen = []
        vecdot = np.vecdot

        def watched(a, b, out, seen=seen, vecdot=vecdot):
            seen.append(2 * a.size)
            return vecdot(a, b, out=out)

        monkeypatch.setattr(np, "vecdot", watched)
        y = layer.forward(rng.standard_normal((8, 40), dtype=np.float32))
        layer.backward(y)
        monkeypatch.undo()
        assert sum(seen) == (2 * 8 * nnz if nnz == expected else 0)
        assert network_cost(layer).step_flops == 2 * (2 * nnz + expected)


def test_80_percent_sparsity_keeps_20_percent_of_some_costs(rng):
    sparse = network_cost(CSRLinear(random_csr((500, 500), 50_000, rng=rng)))
    dense = network_cost(linear(500, 500))
    assert sparse.forward_flops / dense.forward_flops == 0.2
    assert round(100 * sparse.step_flops / dense.step_flops) == 47
    assert round(100 * sparse.weight_bytes / dense.weight_bytes) == 40


def weights(sizes, width):
    inner = [sizes[0], *[width] * (len(sizes) - 2), sizes[-1]]
    return sum(n_in * n_out for n_in, n_out in pairwise(inner))


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=7), st.integers(1, 10**18))
def test_the_width_is_the_largest_that_the_budget_pays(sizes, budget):
    assume(budget >= weights(sizes, 1))
    width, left_over = dense_width(sizes, budget)
    assert weights(sizes, width) + left_over == budget
    assert left_over >= 0
    assert weights(sizes, width + 1) > budget


@given(st.lists(st.integers(1, 50), min_size=3, max_size=5), st.integers(1, 50))
def test_an_exact_budget_leaves_nothing(sizes, width):
    assert dense_width(sizes, weights(sizes, width)) == (width, 0)
    if width > 1:
        assert dense_width(sizes, weights(sizes, width) - 1)[0] == width - 1


def test_the_width_is_that_of_a_network_with_equal_costs(rng):
    width, left_over = dense_width([20, 99, 99, 5], 1000)
    cost = network_cost(mlp([20, width, width, 5], rng=rng))
    assert cost.connections + left_over == 1000
    assert (cost.forward_flops, cost.step_flops) == (2 * cost.connections, 6 * cost.connections)


@given(st.floats(1.01, 30), st.lists(st.floats(0, 0.99), min_size=2, max_size=9, unique=True))
def test_at_one_price_the_crossover_is_at_the_density_one_over_the_price(price, sparsities):
    sparsities = sorted(sparsities)
    ratios = [price * (1 - s) for s in sparsities]
    found = crossover(sparsities, ratios)
    if ratios[0] < 1 or ratios[-1] >= 1:
        assert found is None
    else:
        assert found == pytest.approx(1 - 1 / price, abs=1e-9)


@pytest.mark.parametrize(
    ("r_y", "r_x", "r_w", "density"),
    [(5, 5, 12, 0.2), (4, 6, 30, 0.2), (20, 22, 18, 0.05)],
)
def test_the_crossover_of_a_step_with_three_prices(r_y, r_x, r_w, density):
    def ratio(d):
        return ((r_y + r_x) * d + (r_w * d if d <= 0.08 else 1)) / 3

    assert ratio(density) == pytest.approx(1)
    gathered, blocked = 3 / (r_y + r_x + r_w), 2 / (r_y + r_x)
    assert density == (gathered if gathered <= 0.08 and blocked <= 0.08 else blocked)
    near = [1 - 1.2 * density, 1 - 0.8 * density]
    assert crossover(near, [ratio(1 - s) for s in near]) == pytest.approx(1 - density)


def test_the_question_on_the_page():
    assert (sampled_gradient._CROSSING, sampled_gradient._CROSSING_BY_ROW) == (0.08, 0.14)
    assert 3 / (4 + 4 + 12) == 0.15 > sampled_gradient._CROSSING_BY_ROW
    assert 1 - 2 / (4 + 4) == 0.75


def test_the_crossover_by_hand():
    assert crossover([0.5, 0.9], [2.0, 0.5]) == pytest.approx(0.5 + 0.4 * 2 / 3)
    assert crossover([0.5, 0.7, 0.9], [1.2, 1.0, 0.8]) == pytest.approx(0.7)
    # Noise that crosses more than once: from the last crossing on, sparse costs less.
    assert crossover([0.1, 0.2, 0.3, 0.4], [0.9, 1.2, 1.1, 0.9]) == pytest.approx(0.35)
    assert crossover([0.1, 0.2, 0.3], [1.2, 0.9, 1.1]) is None
    assert crossover([0.1, 0.2], [1.2, 1.0]) is None
    assert crossover([0.1, 0.2], [0.9, 0.8]) is None
    assert crossover([0.1], [0.9]) is crossover([0.1], [1.1]) is None


def test_the_crossover_of_flops_and_of_bytes(rng):
    sparsities = [0.0, 0.2, 0.4, 0.6, 0.8]
    dense = network_cost(linear(200, 200))
    costs = [
        network_cost(CSRLinear(random_csr((200, 200), round(40_000 * (1 - s)), rng=rng)))
        for s in sparsities
    ]
    for part in ("forward_flops", "step_flops"):
        assert crossover(sparsities, [getattr(c, part) / getattr(dense, part) for c in costs]) == 0
    of_bytes = crossover(sparsities, [c.weight_bytes / dense.weight_bytes for c in costs])
    assert of_bytes == pytest.approx(0.5, abs=0.005)  # the row pointers take the rest


@given(scores)
def test_the_margin_is_that_of_scipys_paired_test(pairs):
    a, b = np.transpose(pairs)
    mean, margin = paired_difference(list(a), list(b))
    low, high = ttest_rel(a, b).confidence_interval(0.95)
    assert mean - margin == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert mean + margin == pytest.approx(high, rel=1e-9, abs=1e-9)


def test_pairing_by_hand():
    # Differences 1, 2, 3: mean 2, deviation 1, and Student's t for two degrees is 4.303.
    mean, margin = paired_difference([11, 22, 33], [10, 20, 30])
    assert mean == 2
    assert margin == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)


def test_pairing_removes_the_luck_that_both_share(rng):
    luck, own = rng.normal(0, 0.05, 8), rng.normal(0, 0.002, (2, 8))
    a, b = 0.95 + luck + own[0], 0.94 + luck + own[1]
    mean, margin = paired_difference(a, b)
    assert mean > margin  # ten times the spread of the differences, a fifth of that of the scores
    unpaired_mean, unpaired = paired_difference(a, rng.permutation(b))
    assert unpaired_mean == pytest.approx(mean)
    assert unpaired > 5 * margin


def test_four_times_as_many_seeds_halve_the_margin(rng):
    difference = rng.standard_normal((2000, 40))
    few = np.mean([paired_difference(d[:10], np.zeros(10))[1] for d in difference])
    many = np.mean([paired_difference(d, np.zeros(40))[1] for d in difference])
    assert 0.42 < many / few < 0.5


def test_pitfall_flops_are_not_seconds(rng):
    weight, n = random_csr((1000, 1000), 100_000, rng=rng), 128
    dense_flops, sparse_flops = 2 * n * 1000 * 1000, 2 * n * weight.nnz
    once = 4 * (1000 * 1000 + 2 * 1000 * n)
    each = weight.nnz * (4 + 4 + 4 * n) + 4 * 1000 * n
    assert sparse_flops * 10 == dense_flops
    assert each > 10 * once  # a tenth of the FLOPs, ten times the fetching
    assert (round(dense_flops / once), round(sparse_flops / each, 1)) == (51, 0.5)
    sparsities = [0, 0.5, 0.75, 0.9]
    assert crossover(sparsities, [1 - s for s in sparsities]) == 0
    assert crossover(sparsities, [5 * (1 - s) for s in sparsities]) == pytest.approx(0.8)


def test_pitfall_the_best_of_many_looks(rng):
    looks = 0.95 + 0.01 * rng.standard_normal((2000, 100))
    for n in (1, 10, 100):
        # The expected maximum of n normal numbers, integrated by SciPy.
        expected, _ = quad(lambda z, n=n: z * n * norm.pdf(z) * norm.cdf(z) ** (n - 1), -8, 8)
        found = looks[:, :n].max(axis=1).mean()
        assert found == pytest.approx(0.95 + 0.01 * expected, abs=5e-4)
    ahead, margin = paired_difference(looks[:8].max(axis=1), looks[:8, -1])
    assert ahead > margin
    fair, margin = paired_difference(looks[:8, 0], looks[:8, -1])
    assert abs(fair) < margin


SIZES = [64, 256, 10]


@cache  # some trainings serve two tests
def fit(kind, rate, seed, *, density=0.15, tuning=False):
    rng = np.random.default_rng(seed)
    x, labels, *apart = stratified_split(*load_digits(), rng=rng)
    if tuning:
        x, labels, *apart = stratified_split(x, labels, rng=rng)
    network = sparse_mlp(SIZES, density=density, rng=rng)
    cost = network_cost(network)
    if kind != "sparse":
        budget = cost.connections if kind == "equal weights" else cost.step_flops // 6
        network = mlp([64, dense_width(SIZES, budget)[0], 10], rng=rng)
    optimizer = Momentum(network, learning_rate=rate)
    train(network, optimizer, x, labels, epochs=5, batch_size=32, rng=rng)
    return accuracy(network, *apart)


def reads(kind, rate, seeds, **options):
    return [fit(kind, rate, seed, **options) for seed in range(seeds)]


def test_pitfall_a_baseline_that_nobody_tuned():
    kinds = ("sparse", "equal weights")
    # On a part of the training digits, three splits: no rate is better by a point than 0.1.
    for kind in kinds:
        tried = {rate: np.mean(reads(kind, rate, 3, tuning=True)) for rate in (0.05, 0.1, 0.2)}
        assert max(tried.values()) - tried[0.1] < 0.01
    sparse, dense = (reads(kind, 0.1, 5) for kind in kinds)
    # At 0.4 a rounding error may change a score by a tenth: 0.003 and 0.165 where this was written.
    bold = {kind: np.mean(reads(kind, 0.4, 5)) for kind in kinds}
    assert np.mean(sparse) - bold["sparse"] < 0.03
    assert np.mean(dense) - bold["equal weights"] > 0.05
    ahead, margin = paired_difference(sparse, reads("equal weights", 0.01, 5))
    assert ahead > margin
    ahead, margin = paired_difference(sparse, dense)
    assert abs(ahead) < margin


def test_claim_wide_and_sparse_beats_narrow_and_dense_at_the_same_budget():
    # It would hold if sparse were ahead by more than the margin. Eight seeds, each side tuned.
    ahead, margin = paired_difference(*(reads(k, 0.1, 8) for k in ("sparse", "equal weights")))
    assert abs(ahead) < margin < 0.02  # no winner at 15 %
    sparse = reads("sparse", 0.1, 8, density=0.05)
    for kind, behind in (("equal weights", 0.03), ("equal FLOPs", 0.05)):
        ahead, margin = paired_difference(sparse, reads(kind, 0.1, 8, density=0.05))
        assert ahead < -margin
        assert ahead < -behind  # fails


def test_bad_input(rng):
    class Scale:
        params = {"scale": np.ones(3)}  # noqa: RUF012

    with pytest.raises(TypeError, match="network must hold known layers, got Scale"):
        network_cost(Sequential([linear(3, 3), Scale()]))
    for sizes in ([], [3, 2], [3, 0, 2], [3, 4, -1]):
        with pytest.raises(ValueError, match="sizes must be three or more, of at least 1 each"):
            dense_width(sizes, 100)
    for sizes, budget in (([3, 4, 2], 10.0), ([3, 4.0, 2], 10)):
        with pytest.raises(TypeError, match="float"):
            dense_width(sizes, budget)
    with pytest.raises(ValueError, match="budget must be at least 7, got 6"):
        dense_width([3, 9, 9, 9, 2], 6)
    assert dense_width([3, 9, 9, 9, 2], 7) == (1, 0)
    for sparsities in ([], [0.5, 0.5], [0.9, 0.5], [-0.1, 0.5], [0.5, 1.0], [0.5, np.nan], [[0.5]]):
        with pytest.raises(ValueError, match=r"sparsities must ascend within \[0, 1\)"):
            crossover(sparsities, [1.5, 0.5][: len(sparsities)])
    for ratios in ([1.5], [1.5, 0.0], [1.5, np.inf], [np.nan, 0.5], [1.5, 0.7, 0.5]):
        with pytest.raises(ValueError, match="ratios must be 2 finite numbers above 0"):
            crossover([0.5, 0.9], ratios)
    for a, b in (([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]]), (1.0, 2.0)):
        with pytest.raises(ValueError, match=r"a and b must be \(n ≥ 2,\) both, got"):
            paired_difference(a, b)
    for a, b in (([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [np.inf, 2.0])):
        with pytest.raises(ValueError, match="a and b must be finite"):
            paired_difference(a, b)
