import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import chisquare

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity import rewiring
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.rewiring import (
    exchange,
    movable,
    random_growth,
    rewire,
    rewire_network,
)
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import (
    StochasticGradientDescent,
    minibatches,
)
from lexicon.training.training_loop import accuracy, train


def layer_of(positions, values, shape):
    weight = np.zeros(shape[0] * shape[1])
    weight[positions] = values
    mask = np.zeros(weight.shape, dtype=bool)
    mask[positions] = True
    return CSRLinear.from_dense(weight.reshape(shape), mask.reshape(shape), np.zeros(shape[0]))


@st.composite
def layers(draw):
    n_out, n_in = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    count = draw(st.integers(0, n_out * n_in))
    layer = CSRLinear(random_csr((n_out, n_in), count, rng=rng, dtype=np.float64))
    if draw(st.booleans()):  # ties, zeros among them
        layer.params["weight"][:] = rng.integers(-2, 3, size=count)
    return layer


def test_by_hand(monkeypatch):
    # 2 · 4 positions, four taken; ζ = 1/2 drops 2 and 5, the smallest. Free were 1, 3, 4 and 6,
    # and of these four the draw took number 1 and number 3.
    layer = layer_of([0, 2, 5, 7], [0.8, -0.1, 0.05, -0.6], (2, 4))
    optimizer = Momentum(Sequential([layer]), learning_rate=0.1)
    optimizer.velocity["0.weight"][:] = [1.0, 2.0, 3.0, 4.0]
    x = np.array([[1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_allclose(layer.forward(x), [[0.7, -0.55]], rtol=1e-14)

    def draw(size, count, rng):
        assert (size, count) == (4, 2)
        return np.array([1, 3])

    monkeypatch.setattr(rewiring, "sample_positions", draw)
    source = rewire(layer, fraction=0.5, rng=None)
    np.testing.assert_array_equal(source, [0, -1, -1, 3])
    np.testing.assert_array_equal(layer.positions, [0, 3, 6, 7])
    np.testing.assert_array_equal(layer.weight.toarray(), [[0.8, 0, 0, 0], [0, 0, 0, -0.6]])
    optimizer.follow("0.weight", source)
    np.testing.assert_array_equal(optimizer.velocity["0.weight"], [1.0, 0, 0, 4.0])
    np.testing.assert_allclose(layer.forward(x), [[0.8, -0.6]], rtol=1e-14)


def test_free_positions_by_hand(monkeypatch):
    # Of 8 positions 1, 2 and 5 are taken: the five free ones are 0, 3, 4, 6 and 7.
    monkeypatch.setattr(rewiring, "sample_positions", lambda size, count, rng: np.arange(size))
    free = random_growth(np.array([1, 2, 5]), 8, 5, rng=None)
    np.testing.assert_array_equal(free, [0, 3, 4, 6, 7])


@given(st.integers(0, 40), st.data())
def test_asking_for_all_free_positions_gives_numpys_set_difference(size, data):
    everything = np.arange(size)
    occupied = everything[data.draw(st.lists(st.booleans(), min_size=size, max_size=size))]
    free = np.setdiff1d(everything, occupied)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(random_growth(occupied, size, len(free), rng=rng), free)
    some = random_growth(occupied, size, len(free) // 2, rng=rng)
    assert len(some) == len(free) // 2
    assert some.dtype == np.int64
    assert (np.diff(some) > 0).all()
    assert np.isin(some, free).all()


def test_growth_is_uniform_over_the_free_positions(rng):
    occupied = np.array([0, 1, 2, 7, 11, 12, 19])
    free = np.setdiff1d(np.arange(20), occupied)
    grown = np.concatenate([random_growth(occupied, 20, 3, rng=rng) for _ in range(4000)])
    hits = np.bincount(grown, minlength=20)
    assert hits[occupied].sum() == 0
    assert chisquare(hits[free]).pvalue > 0.01


def test_rewiring_grows_uniformly_where_nothing_was(rng):
    positions = [0, 3, 4, 9, 10, 14]
    hits = np.zeros(15, dtype=int)
    for _ in range(1500):
        layer = layer_of(positions, [0.1, 0.2, 3.0, 4.0, 5.0, 6.0], (3, 5))
        source = rewire(layer, fraction=1 / 3, rng=rng)
        hits[layer.positions[source < 0]] += 1
    free = np.setdiff1d(np.arange(15), positions)
    assert hits[positions].sum() == 0
    assert hits.sum() == 3000
    assert chisquare(hits[free]).pvalue > 0.01


def test_a_layer_of_a_huge_size_is_never_listed(rng):
    occupied = np.sort(rng.integers(2**61, size=1000)) * 2
    grown = random_growth(occupied, 2**62, 1000, rng=rng)
    assert len(np.unique(grown)) == 1000
    assert not np.isin(grown, occupied).any()
    assert grown[-1] > 2**61


@given(layers(), st.floats(0, 1), st.integers(0, 9))
def test_everything_that_must_hold_of_a_rewiring(layer, fraction, seed):
    n_out, n_in = layer.weight.shape
    old, values = layer.positions, layer.weight.data.copy()
    moved = min(round(fraction * len(old)), n_out * n_in - len(old))
    source = rewire(layer, fraction=fraction, rng=np.random.default_rng(seed))
    new = layer.positions
    # The number of connections is the same, to the last one, and as many moved as asked.
    assert layer.weight.nnz == len(layer.weight.data) == len(new) == len(old)
    assert layer.weight.has_canonical_format
    assert layer.params["weight"] is layer.weight.data
    assert (source < 0).sum() == moved
    # What is new was empty before, so nothing dropped came back, and it starts at zero.
    assert not np.isin(new[source < 0], old).any()
    assert (layer.weight.data[source < 0] == 0).all()
    # What stayed kept its place and value, and none of the dropped was larger.
    np.testing.assert_array_equal(new[source >= 0], old[source[source >= 0]])
    np.testing.assert_array_equal(layer.weight.data[source >= 0], values[source[source >= 0]])
    # A stable sort is the oracle for "largest first, among equals the first".
    kept = np.sort(np.argsort(-np.abs(values), kind="stable")[: len(old) - moved])
    np.testing.assert_array_equal(source[source >= 0], kept)


def test_fraction_zero_changes_nothing_and_draws_nothing(rng):
    layer = CSRLinear(random_csr((4, 5), 8, rng=rng))
    old, values = layer.positions, layer.weight.data.copy()
    state = rng.bit_generator.state
    np.testing.assert_array_equal(rewire(layer, fraction=0.0, rng=rng), np.arange(8))
    np.testing.assert_array_equal(layer.positions, old)
    np.testing.assert_array_equal(layer.weight.data, values)
    assert rng.bit_generator.state == state


def test_full_and_almost_full_and_empty_layers(rng):
    full = CSRLinear(random_csr((4, 5), 20, rng=rng))
    np.testing.assert_array_equal(rewire(full, fraction=1.0, rng=rng), np.arange(20))
    np.testing.assert_array_equal(full.positions, np.arange(20))
    almost = layer_of(np.delete(np.arange(20), 13), np.arange(1.0, 20.0), (4, 5))
    for dropped, grown in ((0, 13), (13, 0), (0, 13)):  # the one new zero is the next to go
        source = rewire(almost, fraction=0.5, rng=rng)
        assert (source < 0).sum() == 1
        np.testing.assert_array_equal(almost.positions, np.delete(np.arange(20), dropped))
        assert almost.weight.toarray().ravel()[grown] == 0
    empty = CSRLinear(csr_array((4, 5)))
    assert len(rewire(empty, fraction=0.5, rng=rng)) == 0
    half = CSRLinear(random_csr((4, 5), 10, rng=rng))
    before = half.positions
    assert (rewire(half, fraction=1.0, rng=rng) == -1).all()  # all moved, to where none was
    np.testing.assert_array_equal(half.positions, np.setdiff1d(np.arange(20), before))


def test_the_output_changes_only_by_what_was_dropped(rng):
    layer = CSRLinear(random_csr((6, 8), 20, rng=rng, dtype=np.float64), rng.standard_normal(6))
    x = rng.standard_normal((5, 8))
    before, weight = layer.forward(x), layer.weight.toarray()
    rewire(layer, fraction=0.4, rng=rng)
    dropped = np.where(layer.weight.toarray() == 0, weight, 0)
    assert (dropped != 0).sum() == 8
    np.testing.assert_allclose(layer.forward(x), before - x @ dropped.T, rtol=1e-12, atol=1e-12)


def test_new_connections_learn_from_the_first_step(rng):
    layer = CSRLinear(random_csr((6, 8), 20, rng=rng, dtype=np.float64))
    source = rewire(layer, fraction=0.4, rng=rng)
    x, dy = rng.standard_normal((5, 8)), rng.standard_normal((5, 6))
    layer.forward(x)
    layer.backward(dy)
    new = layer.positions[source < 0]
    np.testing.assert_allclose(
        layer.grads["weight"][source < 0], (dy.T @ x).ravel()[new], rtol=1e-12
    )
    assert (layer.grads["weight"][source < 0] != 0).all()


def test_gradient_after_rewiring_alone_and_in_a_stack(rng):
    x = rng.standard_normal((5, 6))
    layer = CSRLinear(random_csr((8, 6), 20, rng=rng, dtype=np.float64))
    rewire(layer, fraction=0.5, rng=rng)
    assert max(check_layer(layer, x, rng=rng).values()) < 1e-8
    network = Sequential(
        [
            Linear(rng.standard_normal((6, 6))),
            layer,
            Linear(rng.standard_normal((4, 8))),
            Activation(tanh),
        ]
    )
    optimizer = Momentum(network, learning_rate=0.1)
    rewire_network(network, optimizer, fraction=0.5, rng=rng)
    assert max(check_layer(network, x, rng=rng).values()) < 1e-7


def test_the_optimizers_state_goes_to_the_right_place(rng):
    # Every velocity is labelled with its position, plus a half, in two layers and a nested one.
    inner = Sequential([Activation(tanh), CSRLinear(random_csr((5, 7), 12, rng=rng))])
    network = Sequential(
        [
            CSRLinear(random_csr((6, 8), 20, rng=rng)),
            Linear(rng.standard_normal((7, 6), dtype=np.float32)),
            inner,
        ]
    )
    optimizer = Momentum(network, learning_rate=0.1)
    sparse = {"0": network.layers[0], "2.1": inner.layers[1]}
    for name, layer in sparse.items():
        optimizer.velocity[f"{name}.weight"][:] = layer.positions + 0.5
    optimizer.velocity["1.weight"][:] = 3
    optimizer.velocity["2.1.bias"][:] = 4
    before = {name: layer.positions for name, layer in sparse.items()}
    rewire_network(network, optimizer, fraction=0.5, rng=rng)
    for name, layer in sparse.items():
        stayed = np.isin(layer.positions, before[name])
        assert stayed.sum() == len(stayed) // 2
        velocity = optimizer.velocity[f"{name}.weight"]
        assert velocity.dtype == np.float32
        np.testing.assert_array_equal(velocity, np.where(stayed, layer.positions + 0.5, 0))
    assert (optimizer.velocity["1.weight"] == 3).all()
    assert (optimizer.velocity["2.1.bias"] == 4).all()
    rewire_network(
        network, StochasticGradientDescent(network, learning_rate=1), fraction=0.5, rng=rng
    )


def test_float32_stays_and_the_same_seed_rewires_the_same():
    ends = []
    for seed in (0, 0, 1):
        network = sparse_mlp([8, 9, 4], density=0.3, rng=np.random.default_rng(5))
        optimizer = Momentum(network, learning_rate=0.1)
        rewire_network(network, optimizer, fraction=0.5, rng=np.random.default_rng(seed))
        assert all(p.dtype == np.float32 for p in network.params.values())
        ends.append(np.concatenate([layer.positions for layer in network.layers[::2]]))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


def trained(seed, *, density, fraction, epochs=12, weight_decay=0.0):
    rng, draws = np.random.default_rng(seed), np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = sparse_mlp([64, 256, 10], density=density, rng=rng)
    optimizer = Momentum(network, learning_rate=0.05, weight_decay=weight_decay)
    counts = [layer.weight.nnz for layer in network.layers[::2]]

    def after_epoch(epoch):
        if epoch < epochs:
            rewire_network(network, optimizer, fraction=fraction, rng=draws)
            assert [layer.weight.nnz for layer in network.layers[::2]] == counts

    train(
        network,
        optimizer,
        x,
        labels,
        epochs=epochs,
        batch_size=32,
        rng=rng,
        after_epoch=after_epoch,
    )
    return accuracy(network, x_test, labels_test)


def test_claim_rewiring_beats_a_static_mask_where_connections_are_few():
    for seed in range(3):
        static = trained(seed, density=0.03, fraction=0.0)
        assert trained(seed, density=0.03, fraction=0.3) > static + 0.05
    gap = [
        trained(seed, density=0.2, fraction=0.3) - trained(seed, density=0.2, fraction=0.0)
        for seed in range(3)
    ]
    assert abs(np.mean(gap)) < 0.02


def test_where_everything_moves_an_epoch_is_not_enough_to_begin_again():
    assert trained(0, density=0.03, fraction=1.0, epochs=4) < 0.15


def test_pitfall_the_velocity_left_at_a_dropped_connections_place(rng):
    layer = layer_of([0, 2, 5, 7], [0.8, -0.1, 0.05, -0.6], (2, 4))
    network = Sequential([layer])
    optimizer = Momentum(network, learning_rate=0.1, beta=0.5)
    optimizer.velocity["0.weight"][:] = layer.positions  # 0, 2, 5, 7: each says where it belongs
    source = rewire(layer, fraction=0.5, rng=rng)
    stale = optimizer.velocity["0.weight"]
    assert stale.shape == layer.weight.data.shape  # so that no check of shapes can notice
    assert (stale[source < 0] != 0).all()  # the new ones have a past
    layer.forward(np.zeros((1, 4)))
    layer.backward(np.zeros((1, 2)))
    optimizer.step()  # no gradient at all, and no error
    new = layer.weight.data[source < 0]
    np.testing.assert_allclose(new, [-0.1, -0.25])  # somebody else's momentum, times 0.05


def test_pitfall_cure_follow_carries_the_velocity(rng):
    layer = layer_of([0, 2, 5, 7], [0.8, -0.1, 0.05, -0.6], (2, 4))
    optimizer = Momentum(Sequential([layer]), learning_rate=0.1, beta=0.5)
    optimizer.velocity["0.weight"][:] = layer.positions
    source = rewire(layer, fraction=0.5, rng=rng)
    optimizer.follow("0.weight", source)
    layer.forward(np.zeros((1, 4)))
    layer.backward(np.zeros((1, 2)))
    optimizer.step()
    assert (layer.weight.data[source < 0] == 0).all()
    np.testing.assert_allclose(layer.weight.data[source >= 0], [0.8, -0.6 - 0.1 * 0.5 * 7])


def dropped_again(steps_between, rewirings, fraction=0.1, learning_rate=0.05, seed=0):
    """Return by layer which share of the grown connections the next rewiring drops."""
    rng = np.random.default_rng(seed)
    x, labels, *_ = stratified_split(*load_digits(), rng=rng)
    network = sparse_mlp([64, 256, 10], density=0.05, rng=rng)
    assert network.layers[0].weight.data.std() > 2 * network.layers[2].weight.data.std()
    optimizer, criterion = Momentum(network, learning_rate=learning_rate), CrossEntropy()
    grown, again, done = {}, {0: [], 2: []}, 0
    while done < steps_between * rewirings:
        for batch in minibatches(len(x), 32, rng=rng):
            criterion.forward(network.forward(x[batch]), labels[batch])
            network.backward(criterion.backward())
            optimizer.step()
            done += 1
            if done % steps_between == 0:
                for i in (0, 2):
                    source = rewire(network.layers[i], fraction=fraction, rng=rng)
                    optimizer.follow(f"{i}.weight", source)
                    now = network.layers[i].positions
                    if i in grown:
                        again[i].append(1 - np.isin(grown[i], now).mean())
                    grown[i] = now[source < 0]
    return {i: np.mean(shares) for i, shares in again.items()}


def test_memory_after_a_hundred_rewirings_is_that_after_one():
    for _ in range(3):  # NumPy and Python keep small blocks for later use: the last time they have
        rng = np.random.default_rng(0)
        tracemalloc.start()
        network = sparse_mlp([700, 1000, 10], density=0.05, rng=rng)
        optimizer = Momentum(network, learning_rate=0.1)
        held = []
        for number in range(101):
            rewire_network(network, optimizer, fraction=0.3, rng=rng)
            if number in (1, 100):
                held.append(tracemalloc.get_traced_memory()[0])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    connections = sum(layer.weight.nnz for layer in network.layers[::2])
    assert connections == 35_500
    assert held[1] - held[0] < 4000  # bytes; an array of a number for each connection has 142,000
    assert 12 * connections < held[0] < 14 * connections  # value, index, velocity
    assert peak < 80 * connections


def test_a_nearly_full_layer_is_rewired_as_well(rng):
    layer = CSRLinear(random_csr((50, 40), 1999, rng=rng))
    missing = np.setdiff1d(np.arange(2000), layer.positions)
    rewire(layer, fraction=0.5, rng=rng)
    assert layer.weight.nnz == 1999
    assert missing in layer.positions


def test_pitfall_rewiring_too_often_drops_what_was_just_grown():
    every_step, every_epoch = dropped_again(1, rewirings=20), dropped_again(40, rewirings=8)
    every_five = dropped_again(200, rewirings=3)
    assert min(every_step.values()) > 0.95
    assert 0.75 < every_epoch[2] < 0.95  # still most of them, in the last layer
    assert every_epoch[0] > 0.95  # and nearly all in the first, whose first weights are large
    assert 0.5 < every_five[2] < every_epoch[2] - 0.05  # five epochs are better
    assert 0.7 < every_five[0] < every_epoch[0] - 0.03
    # The two other cures that the page names, with an epoch between as before.
    assert dropped_again(40, rewirings=8, fraction=0.02)[2] < every_epoch[2] - 0.03
    assert dropped_again(40, rewirings=8, learning_rate=0.15)[2] < every_epoch[2] - 0.02


def test_pitfall_an_input_that_is_always_zero_keeps_its_connections(rng):
    # Inputs 0 to 3 never speak. Their weights get no gradient, and keep their first magnitude.
    x = rng.standard_normal((200, 8))
    x[:, :4] = 0
    labels = (x[:, 4] + x[:, 5] > 0).astype(np.int64)
    for weight_decay, least, most in ((0.0, 0.9, 1.1), (0.05, 0.3, 0.6)):
        draws = np.random.default_rng(1)
        network = sparse_mlp([8, 40, 2], density=0.5, rng=draws, dtype=np.float64)
        optimizer = Momentum(network, learning_rate=0.1, weight_decay=weight_decay)
        before = (network.layers[0].weight.indices < 4).sum()
        first = network.layers[0].positions[network.layers[0].weight.indices < 4]
        for _ in range(40):
            train(network, optimizer, x, labels, epochs=1, batch_size=20, rng=draws)
            rewire_network(network, optimizer, fraction=0.1, rng=draws)
        after = (network.layers[0].weight.indices < 4).sum()
        assert least * before < after < most * before  # decay wears them down, then they go
        survived = np.isin(first, network.layers[0].positions).mean()
        assert (survived > 0.8) == (weight_decay == 0)
    np.testing.assert_array_equal(np.flatnonzero(~load_digits()[0].any(axis=0)), [0, 32, 39])


def test_exchange_drops_the_weakest_and_grows_where_it_is_told():
    layer = layer_of([0, 2, 5, 7], [0.8, -0.1, 0.05, -0.6], (2, 4))
    assert movable(layer, 0.5) == 2
    # One of four goes, two come: another number of connections than before.
    np.testing.assert_array_equal(exchange(layer, 1, np.array([1, 6])), [0, -1, 1, -1, 3])
    np.testing.assert_array_equal(layer.positions, [0, 1, 2, 6, 7])
    np.testing.assert_array_equal(layer.params["weight"], [0.8, 0, -0.1, 0, -0.6])
    assert movable(layer, 0.9) == 3  # no more than are free
    before = layer.params["weight"].copy()
    for count, grown, message in [
        (6, [3], "count must be 0 to 5, got 6"),
        (-1, [3], "count must be 0 to 5, got -1"),
        (1, [3, 6], "grown must hold free positions only"),  # even one that is about to be dropped
        (2, [0], "grown must hold free positions only"),
        (1, [8], "positions must be 0 to 7, got 0 to 8"),
        (1, [4, 3], "grown must be strictly ascending"),
    ]:
        with pytest.raises(ValueError, match=message):
            exchange(layer, count, np.array(grown))
    with pytest.raises(TypeError, match="grown must be int64, got int32"):
        exchange(layer, 1, np.array([3], dtype=np.int32))
    np.testing.assert_array_equal(layer.params["weight"], before)
    np.testing.assert_array_equal(layer.positions, [0, 1, 2, 6, 7])


def test_bad_input(rng):
    layer = CSRLinear(random_csr((4, 5), 8, rng=rng))
    network = Sequential([layer, CSRLinear(random_csr((3, 4), 6, rng=rng))])
    optimizer = Momentum(network, learning_rate=0.1)
    velocity = {name: v.copy() for name, v in optimizer.velocity.items()}
    positions = [each.positions for each in network.layers]
    dense = Sequential([Linear(rng.standard_normal((2, 2)))])
    state = rng.bit_generator.state
    for fraction in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got"):
            rewire(layer, fraction=fraction, rng=rng)
        with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got"):
            rewire_network(network, optimizer, fraction=fraction, rng=rng)
    for bad in (np.nan, np.inf):
        network.layers[1].params["weight"][3] = bad  # in the second: the first must not move
        with pytest.raises(ValueError, match="layer must have finite weights"):
            rewire_network(network, optimizer, fraction=0.5, rng=rng)
        with pytest.raises(ValueError, match="layer must have finite weights"):
            rewire(network.layers[1], fraction=0.5, rng=rng)
    with pytest.raises(ValueError, match="network must hold at least one CSRLinear"):
        rewire_network(dense, Momentum(dense, learning_rate=0.1), fraction=0.5, rng=rng)
    for occupied in ([3, 1], [2, 2], [-1, 2], [2, 8]):
        with pytest.raises(ValueError, match="occupied must be strictly ascending numbers in"):
            random_growth(np.array(occupied), 8, 1, rng=rng)
    for dtype in (np.float64, np.int32, np.uint64):
        with pytest.raises(TypeError, match="occupied must be int64, got"):
            random_growth(np.array([1, 2], dtype=dtype), 8, 1, rng=rng)
    with pytest.raises(ValueError, match="count must be 0 to 6, got 7"):
        random_growth(np.array([1, 2]), 8, 7, rng=rng)
    assert rng.bit_generator.state == state
    for each, before in zip(network.layers, positions, strict=True):
        np.testing.assert_array_equal(each.positions, before)
    for name, v in optimizer.velocity.items():
        np.testing.assert_array_equal(v, velocity[name])
