import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.stats import chisquare, hypergeom

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import (
    epsilon_counts,
    erdos_renyi,
    erdos_renyi_kernel,
    sample_positions,
    uniform,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

shape = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(*[st.integers(1, 12)] * 2, *[st.integers(1, 5)] * 2),
)
networks = st.lists(shape, min_size=1, max_size=6)
densities = st.floats(0.001, 1)


def shares(distribute, shapes):
    """Write the three formulas of the docstring out once more, as plain products and sums."""
    if distribute is uniform:
        return np.array([float(np.prod(s)) for s in shapes])
    if distribute is erdos_renyi:
        return np.array([float((s[0] + s[1]) * np.prod(s[2:])) for s in shapes])
    return np.array([float(np.sum(s)) for s in shapes])


def test_by_hand():
    shapes = [(8, 8), (2, 8)]  # 64 + 16 = 80 positions
    assert uniform(shapes, 0.25) == [16, 4]
    # ε = 20 / (16 + 10): 12.31 and 7.69; the floors leave one, the larger remainder gets it.
    assert erdos_renyi(shapes, 0.25) == [12, 8]
    # ε = 48 / 26 would give 29.54 and 18.46 of 16: the second is full, the first gets the rest.
    assert erdos_renyi(shapes, 0.6) == [32, 16]
    # Two convolutions of 8 · 4 · 3 · 3 = 288 and 4 · 8 · 1 · 1 = 32 weights, 32 to give away.
    shapes = [(8, 4, 3, 3), (4, 8, 1, 1)]
    assert uniform(shapes, 0.1) == [29, 3]
    assert erdos_renyi(shapes, 0.1) == [29, 3]  # 108 and 12: the same 9 to 1
    assert erdos_renyi_kernel(shapes, 0.1) == [18, 14]  # 18 and 14


def test_the_network_of_the_set_paper_at_epsilon_20():
    # 784-1000-1000-1000-10: ε(out + in) is 35,680 of 784,000, twice 40,000 of a million, and for
    # the last layer 20,200 of 10,000, which is therefore full.
    shapes = [(1000, 784), (1000, 1000), (1000, 1000), (10, 1000)]
    counts = [35_680, 40_000, 40_000, 10_000]
    assert erdos_renyi(shapes, sum(counts) / 2_794_000) == counts
    assert epsilon_counts(shapes, 20) == counts
    assert [round(1 - n / (a * b), 3) for n, (a, b) in zip(counts, shapes, strict=True)] == [
        0.954,
        0.96,
        0.96,
        0.0,
    ]


@given(networks, st.floats(0.01, 30))
def test_epsilon_counts_are_shares_up_to_the_size(shapes, epsilon):
    wanted = epsilon * shares(erdos_renyi, shapes)
    for count, share, shape in zip(epsilon_counts(shapes, epsilon), wanted, shapes, strict=True):
        assert type(count) is int
        assert count == np.prod(shape) if share > np.prod(shape) else abs(count - share) <= 0.5


@pytest.mark.parametrize(
    ("sparsity", "expected"), [(0.5, [0.0, 0.31, 0.655]), (0.8, [0.556, 0.70, 0.85])]
)
def test_kernel_form_against_a_published_table(sparsity, expected):
    # Jaxpruner's sparsity_distributions_test.py, testGetSparsityERKSucceed: sparsity by layer.
    shapes = [(2, 4), (3, 6), (2, 4, 6)]
    counts = erdos_renyi_kernel(shapes, 1 - sparsity)
    sizes = [8, 18, 48]
    for count, size, published in zip(counts, sizes, expected, strict=True):
        assert abs(count - (1 - published) * size) < 1


def test_plain_form_against_a_published_table():
    # The same table without the kernel's own term, there with the kernel in front: (2, 4, 6).
    counts = erdos_renyi([(4, 2), (6, 3), (6, 4, 2)], 0.5)
    assert counts == [6, 10, 21]
    for count, size, published in zip(counts, [8, 18, 48], [0.21, 0.47, 0.56], strict=True):
        assert abs(count - (1 - published) * size) < 1


def test_largest_remainders_against_a_published_election():
    # Wikipedia, "Largest remainder method", Hare quota: 100,000 votes and ten seats.
    votes = [(470, 100), (160, 100), (158, 100), (120, 100), (61, 100), (31, 100)]
    assert uniform(votes, 1e-4) == [5, 2, 1, 1, 1, 0]


@pytest.mark.parametrize("distribute", [uniform, erdos_renyi, erdos_renyi_kernel])
@given(networks, densities)
def test_totals_are_exact_and_no_layer_is_over_full(distribute, shapes, density):
    counts = distribute(shapes, density)
    sizes = [int(np.prod(s)) for s in shapes]
    assert all(type(count) is int for count in counts)
    assert sum(counts) == round(density * sum(sizes))
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))


@pytest.mark.parametrize("shapes", [[(1, 1), (1, 1), (3, 2)], [(2, 8), (2, 2), (2, 1)]])
def test_every_total_from_one_connection_to_all(shapes):
    sizes = [a * b for a, b in shapes]
    for total in range(1, sum(sizes) + 1):
        counts = erdos_renyi(shapes, total / sum(sizes))
        assert sum(counts) == total
        assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))


@pytest.mark.parametrize("distribute", [uniform, erdos_renyi, erdos_renyi_kernel])
@given(networks, densities)
def test_shares_are_those_of_one_epsilon_for_all_layers(distribute, shapes, density):
    # scipy's root finder is the oracle: the ε at which min(ε · share, size) sums to the total.
    share = shares(distribute, shapes)
    sizes = np.array([float(np.prod(s)) for s in shapes])
    total = round(density * sizes.sum())
    epsilon = brentq(
        lambda e: np.minimum(e * share, sizes).sum() - total,
        0,
        (sizes / share).max(),
        xtol=1e-14,
        rtol=1e-14,
    )
    quota = np.minimum(epsilon * share, sizes)
    floor = np.floor(quota + 1e-7)
    extra = np.array(distribute(shapes, density)) - floor
    assert np.isin(extra, [0, 1]).all()
    remainder = quota - floor  # nobody got one more at the cost of a larger remainder
    assert remainder[extra == 1].min(initial=1) > remainder[extra == 0].max(initial=0) - 1e-6


@pytest.mark.parametrize("distribute", [uniform, erdos_renyi, erdos_renyi_kernel])
@given(networks)
def test_density_one_is_dense(distribute, shapes):
    assert distribute(shapes, 1.0) == [int(np.prod(s)) for s in shapes]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1), densities)
def test_without_kernels_both_forms_agree(shapes, density):
    assert erdos_renyi(shapes, density) == erdos_renyi_kernel(shapes, density)


def test_equal_remainders_go_to_the_first_layers():
    assert uniform([(2, 3), (3, 2), (1, 6)], 5 / 18) == [2, 2, 1]


def test_layers_that_fill_up_one_after_the_other():
    # ε = 3: 6 of 1, 9 of 2, 33 of 30. Two and then the third are full, and the fourth has room.
    shapes = [(1, 1), (1, 2), (1, 10), (50, 50)]
    assert erdos_renyi(shapes, 200 / 2513) == [1, 2, 10, 187]


@given(st.integers(0, 300), st.data())
def test_positions_are_distinct_ascending_in_range_and_as_many_as_asked(size, data):
    count = data.draw(st.integers(0, size))
    positions = sample_positions(size, count, rng=np.random.default_rng(count))
    assert positions.dtype == np.int64
    assert positions.shape == (count,)
    assert (np.diff(positions) > 0).all()
    assert ((positions >= 0) & (positions < size)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_set_of_positions_is_equally_likely(count):
    rng = np.random.default_rng(0)
    seen = dict.fromkeys(combinations(range(6), count), 0)
    for _ in range(3000):
        seen[tuple(sample_positions(6, count, rng=rng).tolist())] += 1
    assert chisquare(list(seen.values())).pvalue > 0.01


@pytest.mark.parametrize("count", [20, 45, 50, 80])
def test_a_region_gets_its_hypergeometric_share(count):
    # scipy's distribution of "how many of the 30 marked among count drawn of 100".
    rng = np.random.default_rng(1)
    hits = [int((sample_positions(100, count, rng=rng) < 30).sum()) for _ in range(4000)]
    expected = 4000 * hypergeom(100, 30, count).pmf(np.arange(31))
    likely = expected > 5
    observed = np.bincount(hits, minlength=31)[likely]
    scale = observed.sum() / expected[likely].sum()
    assert chisquare(observed, expected[likely] * scale).pvalue > 0.01


def test_a_huge_size_is_never_listed():
    size = 2**63 - 1
    positions = sample_positions(size, 1000, rng=np.random.default_rng(0))
    assert len(np.unique(positions)) == 1000
    assert 0 <= positions[0] < size * 0.01 < size * 0.99 < positions[-1] < size


def test_drawing_all_leaves_nothing_to_chance(rng):
    state = rng.bit_generator.state
    np.testing.assert_array_equal(sample_positions(1000, 1000, rng=rng), np.arange(1000))
    assert rng.bit_generator.state == state


def test_the_same_seed_draws_the_same(rng):
    first = sample_positions(1000, 300, rng=rng)
    np.testing.assert_array_equal(sample_positions(1000, 300, rng=np.random.default_rng(0)), first)
    assert (sample_positions(1000, 300, rng=rng) != first).any()


def test_every_neuron_gets_epsilon_connections_on_both_sides_on_average():
    # The page's derivation: ε(1 + in / out) inputs for each output, and the mirror image.
    shapes = [(256, 64), (256, 256), (10, 256)]
    counts = erdos_renyi(shapes, 0.03)
    epsilon = sum(counts) / sum(a + b for a, b in shapes)
    for (n_out, n_in), count in zip(shapes, counts, strict=True):
        assert abs(count / n_out - epsilon * (1 + n_in / n_out)) < 0.1
        assert min(count / n_out, count / n_in) > epsilon


def test_pitfall_clipping_an_over_full_layer_loses_connections():
    shapes = [(8, 8), (2, 8)]
    epsilon = 48 / 26
    wanted = [round(epsilon * (a + b)) for a, b in shapes]
    assert wanted == [30, 18]  # 18 of 16 positions
    clipped = [min(n, a * b) for n, (a, b) in zip(wanted, shapes, strict=True)]
    assert sum(clipped) == 46
    assert sum(erdos_renyi(shapes, 0.6)) == 48


def test_pitfall_drawing_with_replacement_falls_short(rng):
    size, count = 10_000, 5_000
    drawn = len(np.unique(rng.integers(size, size=count)))
    expected = size * (1 - (1 - 1 / size) ** count)  # each position is missed by all draws alike
    assert abs(drawn - expected) < 100
    assert expected / count < 0.79  # a fifth is missing
    assert len(sample_positions(size, count, rng=rng)) == count


def test_pitfall_neurons_without_any_input(rng):
    # The chance that none of a neuron's 64 positions is drawn; e^-mean is its limit.
    for mean in (1, 2, 4):
        law = hypergeom(256 * 64, 64, 256 * mean).pmf(0)
        np.testing.assert_allclose(law, np.exp(-mean), rtol=0.15)
        rows = sample_positions(256 * 64, 256 * mean, rng=rng) // 64
        empty = (np.bincount(rows, minlength=256) == 0).sum()
        assert abs(empty - 256 * law) < 3 * np.sqrt(256 * law)
    # Such a neuron says its bias to every sample, and only the bias can change.
    connections = csr_array((np.ones(2), np.array([0, 2]), np.array([0, 2, 2])), shape=(2, 3))
    layer = CSRLinear(connections, np.array([0.0, 0.7]))
    np.testing.assert_array_equal(layer.forward(rng.standard_normal((5, 3)))[:, 1], [0.7] * 5)
    layer.backward(np.ones((5, 2)))
    assert layer.grads["bias"][1] == 5
    assert layer.grads["weight"].shape == (2,)  # both of neuron 0


def test_claim_sparse_layers_of_unequal_size_need_unequal_densities():
    shapes = [(256, 64), (256, 256), (10, 256)]
    read = {}
    for density in (0.03, 0.2):
        for distribute in (uniform, erdos_renyi):
            for seed in range(3):
                rng = np.random.default_rng(seed)
                x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
                layers = []
                for (n_out, n_in), count in zip(shapes, distribute(shapes, density), strict=True):
                    mask = np.zeros(n_out * n_in, dtype=bool)
                    mask[sample_positions(n_out * n_in, count, rng=rng)] = True
                    weight = rng.normal(0, np.sqrt(2 * n_out / count), (n_out, n_in))
                    layers.append(
                        CSRLinear.from_dense(
                            weight.astype(np.float32),
                            mask.reshape(n_out, n_in),
                            np.zeros(n_out, dtype=np.float32),
                        )
                    )
                    layers.append(Activation(relu))
                network = Sequential(layers[:-1])
                optimizer = Momentum(network, learning_rate=0.05)
                train(network, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)
                read[density, distribute, seed] = accuracy(network, x_test, labels_test)
    gap = {
        density: [read[density, erdos_renyi, s] - read[density, uniform, s] for s in range(3)]
        for density in (0.03, 0.2)
    }
    assert min(gap[0.03]) > 0.1  # in every one of the three runs
    assert min(read[0.03, erdos_renyi, seed] for seed in range(3)) > 0.8
    assert max(read[0.03, uniform, seed] for seed in range(3)) < 0.75
    assert -0.01 < np.mean(gap[0.2]) < 0.03


@pytest.mark.parametrize("epsilon", [0, -1.0, np.inf, np.nan])
def test_epsilon_out_of_range(epsilon):
    with pytest.raises(ValueError, match=f"epsilon must be above 0 and finite, got {epsilon}"):
        epsilon_counts([(2, 3)], epsilon)
    with pytest.raises(ValueError, match="shapes must be one or more"):
        epsilon_counts([], 1.0)


def test_a_million_million_positions_without_listing_them(rng):
    tracemalloc.start()
    positions = sample_positions(10**12, 100_000, rng=rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(positions) == 100_000
    assert (np.diff(positions) > 0).all()
    assert positions[0] < 10**8
    assert positions[-1] > 10**12 - 10**8
    assert peak < 8 * positions.nbytes


@pytest.mark.parametrize("count", [1, 2, 3, 50, 99, 100, 101, 197, 199, 200])
def test_near_every_density_the_draw_ends(count, rng):
    for _ in range(20):
        positions = sample_positions(200, count, rng=rng)
        assert len(np.unique(positions)) == len(positions) == count


def test_bad_input(rng):
    for distribute in (uniform, erdos_renyi, erdos_renyi_kernel):
        for shapes in ([], [(3, 4), (0, 2)], [(3, -1)], [(3,)], [(3, 4), ()]):
            with pytest.raises(ValueError, match="shapes must be one or more"):
                distribute(shapes, 0.5)
        assert sum(distribute([(2**26, 2**27)], 1.0)) == 2**53
        for shapes in ([(2**26, 2**27), (1, 1)], [(2**40, 2**40)]):
            with pytest.raises(ValueError, match="shapes must hold at most 2⁵³ weights"):
                distribute(shapes, 0.5)
        for density in (0.0, -0.5, 1.001, np.nan):
            with pytest.raises(ValueError, match=r"density must be in \(0, 1\], got"):
                distribute([(3, 4)], density)
    state = rng.bit_generator.state
    for count in (-1, 11):
        with pytest.raises(ValueError, match=f"count must be 0 to 10, got {count}"):
            sample_positions(10, count, rng=rng)
    assert rng.bit_generator.state == state


def test_numpys_integers_count_as_pythons():
    shapes = [(np.int32(60_000), np.int32(60_000)), (np.int32(10), np.int32(60_000))]
    plain = [(60_000, 60_000), (10, 60_000)]
    for distribute in (uniform, erdos_renyi, erdos_renyi_kernel):
        assert distribute(shapes, 0.001) == distribute(plain, 0.001)
    assert sum(uniform(shapes, 0.001)) == 3_600_600
