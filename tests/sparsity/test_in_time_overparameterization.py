import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.in_time_overparameterization import Explored, expected_rate
from lexicon.sparsity.rewiring import rewire, rewire_network
from lexicon.sparsity.rigl import rewire_by_gradient
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import accuracy, train


def layer_at(positions, shape):
    mask = np.zeros(shape, dtype=bool)
    mask.ravel()[positions] = True
    return CSRLinear.from_dense(np.ones(shape), mask, np.zeros(shape[0]))


def test_by_hand():
    layer = layer_at([0, 2, 5, 7], (2, 4))
    explored = Explored(Sequential([layer]))
    assert explored.rate == 0  # nothing was trained yet
    rates = []
    for positions in ([0, 2, 5, 7], [0, 3, 6, 7], [0, 2, 6, 7]):  # 2 is dropped and comes back
        layer.reconnect(np.array(positions))
        explored.update()
        rates.append(explored.rate)
    assert rates == [4 / 8, 6 / 8, 6 / 8]
    assert explored.rates() == {"0.weight": 0.75}
    assert explored.nbytes == 1  # eight bits
    for rewirings, expected in enumerate([0.5, 0.75, 0.875]):
        assert expected_rate(8, 4, fraction=0.5, rewirings=rewirings) == expected


@given(
    st.integers(1, 9),
    st.integers(1, 150),
    st.lists(st.lists(st.floats(0, 1, exclude_max=True), max_size=30), max_size=6),
)
def test_it_is_the_size_of_pythons_union(n_out, n_in, draws):
    size = n_out * n_in
    layer = layer_at([], (n_out, n_in))
    explored, ever = Explored(Sequential([layer])), set()
    for draw in draws:
        positions = sorted({int(u * size) for u in draw})
        layer.reconnect(np.array(positions, dtype=np.int64))
        explored.update()
        before = explored.rate
        explored.update()  # again: nothing new
        ever.update(positions)
        assert before == explored.rate == len(ever) / size
        assert explored.nbytes == min(8 * len(ever), -(-size // 8))


def test_all_layers_together_and_each_alone(rng):
    nested = Sequential([Activation(relu), layer_at([0, 1, 5], (2, 3))])
    other = Linear(rng.standard_normal((4, 4)))
    network = Sequential([layer_at([3], (4, 10)), Activation(relu), other, nested])
    explored = Explored(network)
    explored.update()
    assert explored.rates() == {"0.weight": 1 / 40, "3.1.weight": 3 / 6}
    assert explored.rate == 4 / 46  # a share of all positions, not a mean of shares
    assert explored.nbytes == 5 + 1


def test_memory_is_that_of_what_was_tried_until_bits_take_less(rng):
    layer = CSRLinear(random_csr((10**5, 10**5), 1000, rng=rng))  # bits: 1.25 GB
    explored = Explored(Sequential([layer]))
    tracemalloc.start()
    for _ in range(3):
        explored.update()
        rewire(layer, fraction=0.5, rng=rng)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert explored.rate == 2000 / 10**10
    assert explored.nbytes == 16_000
    # The turning point is a rate of 1/64.
    for count, size in ((64, 512), (65, 512)):
        layer = layer_at(np.arange(count), (64, 64))
        explored = Explored(Sequential([layer]))
        explored.update()
        assert explored.nbytes == size == min(8 * count, 4096 // 8)
        assert explored.rate == count / 4096


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1), st.integers(0, 60))
def test_laws_of_the_expected_rate(size, density, fraction, rewirings):
    nnz = round(density * size)
    rate = expected_rate(size, nnz, fraction=fraction, rewirings=rewirings)
    assert nnz / size - 1e-12 <= rate <= 1
    assert expected_rate(size, nnz, fraction=fraction, rewirings=0) == pytest.approx(nnz / size)
    assert expected_rate(size, nnz, fraction=fraction, rewirings=rewirings + 1) >= rate - 1e-12
    once = expected_rate(size, nnz, fraction=fraction, rewirings=1)
    moved = min(round(fraction * nnz), size - nnz)
    assert once == pytest.approx((nnz + moved) / size)  # the first rewiring tries only new ones


def test_the_expected_rate_is_that_of_simulated_rewirings(rng):
    # 400 positions, 40 taken, 12 move: F = 360. The variance follows as the mean does, from pairs:
    # two positions never tried are both missed with (F - n)(F - n - 1) / (F (F - 1)).
    free, moved, times, runs = 360, 12, 20, 60
    pairs = free * (free - 1) * ((free - moved) * (free - moved - 1) / (free * (free - 1))) ** times
    mean = free * (1 - moved / free) ** times
    deviation = np.sqrt(pairs + mean - mean**2) / 400
    rates = []
    for _ in range(runs):
        layer = CSRLinear(random_csr((20, 20), 40, rng=rng))
        explored = Explored(Sequential([layer]))
        for _ in range(times):
            explored.update()
            rewire(layer, fraction=0.3, rng=rng)
            # What is dropped next does not matter: here always what has the highest number.
            layer.params["weight"][:] = np.arange(40, 0, -1)
        explored.update()
        rates.append(explored.rate)
    expected = expected_rate(400, 40, fraction=0.3, rewirings=times)
    assert expected == pytest.approx(1 - mean / 400)
    assert abs(np.mean(rates) - expected) < 3 * deviation / np.sqrt(runs)
    assert 0.7 * deviation < np.std(rates, ddof=1) < 1.3 * deviation
    assert deviation < 0.02  # one run is close to the mean of all


def test_the_numbers_in_the_pages_prose():
    # The answer on the page: rewirings until half of the positions have been tried.
    d, zeta = 0.03, 0.3
    times = np.log(0.5 / (1 - d)) / np.log(1 - zeta * d / (1 - d))
    assert round(times) == 71
    below, above = (expected_rate(10**6, 30_000, fraction=zeta, rewirings=t) for t in (71, 72))
    assert below < 0.5 < above
    # Every position tried: the rest shrinks by the same factor and is gone only late.
    assert 0.98 < expected_rate(10**6, 30_000, fraction=zeta, rewirings=450) < 0.99


def tried_and_read(seed, *, interval, density=0.03, steps=240):
    rng, draws = np.random.default_rng(seed), np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = sparse_mlp([64, 128, 10], density=density, rng=rng)
    optimizer, criterion = Momentum(network, learning_rate=0.1), CrossEntropy()
    explored = Explored(network)
    batches = [b for _ in range(steps // 40) for b in minibatches(len(x), 32, rng=rng)]
    for step, batch in enumerate(batches):
        if step and step % interval == 0:
            explored.update()
            rewire_network(network, optimizer, fraction=0.3, rng=draws)
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        optimizer.step()
    explored.update()
    assert step == steps - 1
    return explored.rate, accuracy(network, x_test, labels_test)


# Settings were chosen on seeds 0 to 4; what is claimed is checked on others. Not every bound was
# fixed beforehand: 0.5, and means in place of single runs, came after these seeds were seen. All
# bounds then held on 20 to 25, which nobody had seen.
SEEDS = range(10, 13)


def test_claim_trying_more_positions_helps_while_each_is_trained_long_enough():
    for density, intervals in ((0.03, (240, 80, 20, 1)), (0.02, (240, 20, 1))):
        runs = [
            [tried_and_read(seed, interval=i, density=density) for i in intervals] for seed in SEEDS
        ]
        rate, read = np.moveaxis(np.array(runs), 2, 0)
        assert (np.diff(rate) > 0).all()
        assert (read[:, -2] - read[:, 0]).mean() > 0.05  # holds
        assert (read[:, -1] - read[:, 0]).mean() < 0.05  # by far the most were tried, for nothing
        assert rate[:, -1].min() > 0.6
        assert spearmanr(rate[:, :-1].ravel(), read[:, :-1].ravel()).statistic > 0.5
        assert spearmanr(rate.ravel(), read.ravel()).statistic < 0.3


def test_claim_at_the_same_rate_the_longer_interval_reads_better():
    runs = [
        [
            tried_and_read(seed, interval=interval, steps=steps)
            for interval, steps in ((10, 240), (20, 480), (480, 480))
        ]
        for seed in SEEDS
    ]
    rate, read = np.moveaxis(np.array(runs), 2, 0)
    np.testing.assert_allclose(rate[:, 0], rate[:, 1], atol=0.01)
    often, seldom, static = read.mean(axis=0)
    assert seldom > often + 0.05
    assert static < seldom - 0.05  # steps alone do not do it


def test_claim_rigl_tries_fewer_positions_and_reads_better():
    gains = []
    for seed in SEEDS:
        tried, read = {}, {}
        for method in ("random", "gradient"):
            rng, draws = np.random.default_rng(seed), np.random.default_rng(seed)
            x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
            network = sparse_mlp([64, 64, 10], density=0.05, rng=rng)
            optimizer, explored = Momentum(network, learning_rate=0.1), Explored(network)
            for epoch in range(10):
                if epoch and method == "random":
                    rewire_network(network, optimizer, fraction=0.3, rng=draws)
                elif epoch:
                    rewire_by_gradient(network, optimizer, x, labels, fraction=0.3)
                train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
                explored.update()
            tried[method], read[method] = explored.rate, accuracy(network, x_test, labels_test)
        assert tried["gradient"] < 0.8 * tried["random"]
        gains.append(read["gradient"] - read["random"])
    assert np.mean(gains) > 0.05


def test_pitfall_a_sum_counts_revisited_positions_again(rng):
    layer = CSRLinear(random_csr((20, 20), 80, rng=rng))
    explored, total = Explored(Sequential([layer])), 80
    explored.update()
    for _ in range(20):
        total += int((rewire(layer, fraction=0.3, rng=rng) < 0).sum())
        explored.update()
    assert total / 400 == 1.4  # more than there is
    expected = expected_rate(400, 80, fraction=0.3, rewirings=20)
    assert expected == pytest.approx(explored.rate, abs=0.05)
    assert explored.rate < 0.9


def test_pitfall_counting_after_the_last_rewiring_counts_what_was_never_trained(rng):
    layer = CSRLinear(random_csr((20, 20), 40, rng=rng))
    explored = Explored(Sequential([layer]))
    explored.update()
    rewire(layer, fraction=0.5, rng=rng)
    assert explored.rate == 0.1
    explored.update()
    assert explored.rate == 0.15
    assert (layer.params["weight"] == 0).sum() == 20  # the 20 that made the difference


def test_pitfall_one_rate_for_all_layers_hides_the_small_one(rng):
    network = sparse_mlp([64, 128, 10], density=0.03, rng=rng)
    optimizer, explored = Momentum(network, learning_rate=0.1), Explored(network)
    for _ in range(20):
        explored.update()
        rewire_network(network, optimizer, fraction=0.3, rng=rng)
    rates = explored.rates()
    assert 0.1 < rates["0.weight"] < 0.15
    assert 0.15 < explored.rate < 0.2
    assert rates["2.weight"] > 0.45


def test_watching_changes_nothing_and_other_layers_do_not_count(rng):
    layer = CSRLinear(random_csr((5, 6), 9, rng=rng))
    before = layer.positions, layer.params["weight"].copy()
    explored = Explored(Sequential([layer]))
    explored.update()
    np.testing.assert_array_equal(layer.positions, before[0])
    np.testing.assert_array_equal(layer.params["weight"], before[1])
    with pytest.raises(ValueError, match="network must hold at least one CSRLinear"):
        Explored(Sequential([Linear(rng.standard_normal((2, 2)))]))


def test_bad_input():
    assert expected_rate(9, 9, fraction=1.0, rewirings=3) == 1  # full: nothing can move
    assert expected_rate(9, 0, fraction=1.0, rewirings=3) == 0  # empty: nothing does
    assert expected_rate(1, 0, fraction=0.0, rewirings=0) == 0
    for arguments, message in [
        ((0, 0, 0.5, 1), "size must be at least 1, got 0"),
        ((9, 10, 0.5, 1), "connections must be 0 to 9, got 10"),
        ((9, -1, 0.5, 1), "connections must be 0 to 9, got -1"),
        ((9, 3, 1.1, 1), r"fraction must be in \[0, 1\], got 1.1"),
        ((9, 3, -0.1, 1), r"fraction must be in \[0, 1\], got -0.1"),
        ((9, 3, np.nan, 1), r"fraction must be in \[0, 1\], got nan"),
        ((9, 3, 0.5, -1), "rewirings must be 0 or above, got -1"),
    ]:
        size, connections, fraction, rewirings = arguments
        with pytest.raises(ValueError, match=message):
            expected_rate(size, connections, fraction=fraction, rewirings=rewirings)
