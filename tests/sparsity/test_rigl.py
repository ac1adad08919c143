import tracemalloc
from functools import cache
from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, trace_signals
from lexicon.foundations.gradient_check import (
    check_layer,
    numerical_gradient,
    relative_error,
)
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity import rigl
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.prune_schedule import cosine
from lexicon.sparsity.rewiring import exchange, rewire_network
from lexicon.sparsity.rigl import (
    cosine_fraction,
    gradient_growth,
    rewire_by_gradient,
    rigl_flops,
)
from lexicon.sparsity.sparse_from_scratch import random_csr, sparse_mlp
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train

DY = np.array([[1.0, 0.0], [-1.0, 3.0]])
X = np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 1.0, 3.0]])


def sorted_out(gradient, occupied, count):
    """Return the same from the whole dense gradient, by a stable sort: ties go by position."""
    size = np.abs(gradient).ravel()
    size[occupied] = -1
    return np.sort(np.argsort(-size, kind="stable")[:count])


def network_of(rng, dtype=np.float64):
    inner = Sequential([CSRLinear(random_csr((7, 8), 20, rng=rng, dtype=dtype)), Activation(tanh)])
    return Sequential(
        [
            CSRLinear(random_csr((8, 6), 20, rng=rng, dtype=dtype)),
            Activation(tanh),
            inner,
            Linear(rng.standard_normal((7, 7)).astype(dtype)),
            CSRLinear(random_csr((4, 7), 12, rng=rng, dtype=dtype)),
        ]
    )


def sparse_layers(network):
    return {"0": network.layers[0], "2.0": network.layers[2].layers[0], "4": network.layers[4]}


def dense_twin(network):
    def dense(layer):
        if isinstance(layer, Sequential):
            return Sequential([dense(each) for each in layer.layers])
        if isinstance(layer, CSRLinear):
            return Linear(layer.weight.toarray(), layer.params["bias"].copy())
        if isinstance(layer, Linear):
            return Linear(layer.params["weight"].copy(), layer.params["bias"].copy())
        return Activation(tanh)

    return dense(network)


def dense_gradients(network, x, labels):
    twin, loss = dense_twin(network), CrossEntropy()
    loss.forward(twin.forward(x), labels)
    twin.backward(loss.backward())
    return twin.grads


def choice_of(network, x, labels, name, count):
    loss = CrossEntropy()

    def gradient(logits):
        loss.forward(logits, labels)
        return loss.backward()

    signals = trace_signals(network, x, gradient)[f"{name}.weight"]
    layer = network.layers[int(name)]
    return gradient_growth(signals.dy, signals.x, layer.positions, count)


def test_by_hand():
    # The page's case: of 2 · 4 positions 0, 2, 5 and 7 are taken.
    gradient = DY.T @ X
    np.testing.assert_array_equal(gradient, [[1, 1, -1, -2], [0, 3, 3, 9]])
    occupied = np.array([0, 2, 5, 7])
    np.testing.assert_array_equal(gradient_growth(DY, X, occupied, 2), [3, 6])
    np.testing.assert_array_equal(gradient_growth(DY, X, occupied, 1), [6])
    np.testing.assert_array_equal(gradient_growth(DY, X, occupied, 4), [1, 3, 4, 6])
    assert gradient_growth(DY, X[:, :0], occupied[:0], 0).size == 0  # no inputs, no positions
    weight, mask = np.zeros(8), np.isin(np.arange(8), occupied)
    weight[occupied] = [0.8, -0.1, 0.05, -0.6]
    layer = CSRLinear.from_dense(weight.reshape(2, 4), mask.reshape(2, 4), np.zeros(2))
    np.testing.assert_array_equal(exchange(layer, 2, np.array([3, 6])), [0, -1, -1, 3])
    np.testing.assert_array_equal(layer.weight.toarray(), [[0.8, 0, 0, 0], [0, 0, 0, -0.6]])
    np.testing.assert_array_equal(layer.positions, [0, 3, 6, 7])
    # In the paper 2 and 5 are free as well, once dropped: 5 would be back at once, as a zero.
    np.testing.assert_array_equal(gradient_growth(DY, X, np.array([0, 7]), 2), [5, 6])


def test_the_update_of_a_network_by_hand(monkeypatch):
    # One layer, logits 0 and 0: dz = p - y is (-0.5, 0.5). Inputs 1, 2, 3: |g| grows with them.
    mask = np.array([[True, False, False], [True, False, False]])
    layer = CSRLinear.from_dense(np.zeros((2, 3)), mask, np.zeros(2))
    network = Sequential([layer])
    optimizer = Momentum(network, learning_rate=0.1)
    optimizer.velocity["0.weight"][:] = [5, 7]
    x, labels = np.array([[1.0, 2.0, 3.0]]), np.array([0])
    rewire_by_gradient(network, optimizer, x, labels, fraction=0.5)
    # g is -0.5, -1, -1.5 and the opposite: 2 and 5 tie, 2 is first. Of 0 and 3 the last one goes.
    np.testing.assert_array_equal(layer.positions, [0, 2])
    np.testing.assert_array_equal(optimizer.velocity["0.weight"], [5, 0])


@given(st.data())
def test_equals_a_stable_sort_of_the_dense_gradient(data):
    # Whole numbers: products are exact, and ties are the rule.
    n, n_out, n_in = (data.draw(st.integers(1, top)) for top in (3, 7, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    dy, x = rng.integers(-2, 3, (n, n_out)) * 1.0, rng.integers(-2, 3, (n, n_in)) * 1.0
    taken = data.draw(st.integers(0, n_out * n_in))
    occupied = np.sort(rng.choice(n_out * n_in, taken, replace=False))
    count = data.draw(st.integers(0, n_out * n_in - taken))
    kept = dy.copy(), x.copy(), occupied.copy()
    before = rigl._BLOCK
    try:
        rigl._BLOCK = data.draw(st.sampled_from([1, 8, 2**16]))  # some rows, or all of them
        grown = gradient_growth(dy, x, occupied, count)
    finally:
        rigl._BLOCK = before
    np.testing.assert_array_equal(grown, sorted_out(dy.T @ x, occupied, count))
    assert grown.dtype == np.int64
    for array, copy in zip((dy, x, occupied), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_numpys_argpartition_over_many_blocks(rng, dtype):
    dy, x = (rng.standard_normal((8, size)).astype(dtype) for size in (900, 500))
    layer = CSRLinear(random_csr((900, 500), 9000, rng=rng, dtype=dtype))
    size = np.abs(dy.T @ x).ravel()  # 450,000 numbers: seven blocks
    size[layer.positions] = -1
    for count in (1, 2000, 200_000):
        largest = np.sort(np.argpartition(-size, count - 1)[:count])
        grown = gradient_growth(dy, x, layer.positions, count)
        # Blocks round differently than the whole: at the edge two near equals may change places.
        assert np.isin(grown, largest).mean() > 1 - 2 / count or count == 1
        np.testing.assert_allclose(size[grown].min(), size[largest].min(), rtol=1e-5)
        assert (np.diff(grown) > 0).all()


def test_the_gradient_of_a_missing_weight_is_the_slope_of_the_loss(rng):
    # Central differences on a dense twin, in which the missing weights exist and are 0.
    network = network_of(rng)
    x, labels = rng.standard_normal((5, 6)), np.arange(5) % 4
    twin = dense_twin(network)
    for name, layer in sparse_layers(network).items():
        weight = twin.params[f"{name}.weight"]
        slope = numerical_gradient(lambda: CrossEntropy().forward(twin.forward(x), labels), weight)
        dense = dense_gradients(network, x, labels)[f"{name}.weight"]
        assert relative_error(dense, slope) < 1e-7
        before = layer.positions
        expected = sorted_out(slope, before, 6)
        copy = network_of(np.random.default_rng(0))  # its layers take this network's weights
        for key, each in sparse_layers(copy).items():
            each.reconnect(sparse_layers(network)[key].positions)
        for key, theta in copy.params.items():
            theta[:] = network.params[key]
        optimizer = Momentum(copy, learning_rate=0.1)
        rewire_by_gradient(copy, optimizer, x, labels, fraction=6 / layer.weight.nnz)
        grown = np.setdiff1d(sparse_layers(copy)[name].positions, before)
        np.testing.assert_array_equal(grown, expected)


def test_all_layers_move_by_the_gradient_before_and_the_state_follows(rng):
    network = network_of(rng)
    x, labels = rng.standard_normal((5, 6)), np.arange(5) % 4
    optimizer = Momentum(network, learning_rate=0.1)
    layers = sparse_layers(network)
    for name, layer in layers.items():
        optimizer.velocity[f"{name}.weight"][:] = layer.positions + 0.5
    optimizer.velocity["3.weight"][:] = 3
    dense = dense_gradients(network, x, labels)
    old = {name: (layer.positions, layer.weight.data.copy()) for name, layer in layers.items()}
    rewire_by_gradient(network, optimizer, x, labels, fraction=0.5)
    for name, layer in layers.items():
        positions, values = old[name]
        moved = len(positions) // 2
        grown = sorted_out(dense[f"{name}.weight"], positions, moved)
        stayed = np.sort(np.argsort(-np.abs(values), kind="stable")[: len(positions) - moved])
        np.testing.assert_array_equal(
            layer.positions, np.sort(np.concatenate([positions[stayed], grown]))
        )
        new = np.isin(layer.positions, grown)
        np.testing.assert_array_equal(layer.weight.data[~new], values[stayed])
        assert (layer.weight.data[new] == 0).all()
        velocity = optimizer.velocity[f"{name}.weight"]
        np.testing.assert_array_equal(velocity, np.where(new, 0, layer.positions + 0.5))
    assert (optimizer.velocity["3.weight"] == 3).all()
    assert max(check_layer(network, x, rng=rng).values()) < 1e-7
    assert max(check_layer(layers["0"], x, rng=rng).values()) < 1e-8


def test_what_was_grown_has_the_largest_gradient_in_the_next_step(rng):
    # Where only zeros are dropped the function stays, and so does its gradient.
    network = network_of(rng)
    x, labels = rng.standard_normal((5, 6)), np.arange(5) % 4
    for layer in sparse_layers(network).values():
        layer.params["weight"][::2] = 0
    dense, before = dense_gradients(network, x, labels), network.forward(x)
    old = {name: layer.positions for name, layer in sparse_layers(network).items()}
    rewire_by_gradient(network, Momentum(network, learning_rate=1), x, labels, fraction=0.5)
    loss = CrossEntropy()
    np.testing.assert_allclose(network.forward(x), before, rtol=1e-12)
    loss.forward(network.forward(x), labels)
    network.backward(loss.backward())
    for name, layer in sparse_layers(network).items():
        new = ~np.isin(layer.positions, old[name])
        gradient = dense[f"{name}.weight"].ravel()
        np.testing.assert_allclose(
            layer.grads["weight"][new], gradient[layer.positions[new]], rtol=1e-9
        )
        missing = np.setdiff1d(np.arange(len(gradient)), [*old[name], *layer.positions])
        least = np.abs(layer.grads["weight"][new]).min()
        assert least >= np.abs(gradient[missing]).max(initial=0) * (1 - 1e-9)


def test_float32_stays_and_the_same_batch_gives_the_same_connections(rng):
    x, labels = rng.standard_normal((5, 6)).astype(np.float32), np.arange(5) % 4
    ends = []
    for _ in range(2):
        network = network_of(np.random.default_rng(1), np.float32)
        rewire_by_gradient(network, Momentum(network, learning_rate=1), x, labels, fraction=0.3)
        assert all(theta.dtype == np.float32 for theta in network.params.values())
        ends.append(np.concatenate([a.positions for a in sparse_layers(network).values()]))
    np.testing.assert_array_equal(*ends)


def test_full_layers_and_fraction_zero_change_nothing(rng):
    full = CSRLinear(random_csr((4, 6), 24, rng=rng, dtype=np.float64))
    x, labels = rng.standard_normal((5, 6)), np.arange(5) % 4
    for layer, fraction in ((full, 1.0), (CSRLinear(random_csr((4, 6), 9, rng=rng)), 0.0)):
        before, values = layer.positions, layer.weight.data.copy()
        network = Sequential([layer])
        optimizer = Momentum(network, learning_rate=0.1)
        batch = x.astype(layer.weight.dtype)
        rewire_by_gradient(network, optimizer, batch, labels, fraction=fraction)
        np.testing.assert_array_equal(layer.positions, before)
        np.testing.assert_array_equal(layer.weight.data, values)


def test_the_dense_gradient_is_never_stored(rng):
    n_out, n_in, nnz = 4000, 3000, 24_000
    layer = CSRLinear(random_csr((n_out, n_in), nnz, rng=rng))
    dy, x = (rng.standard_normal((2, size), dtype=np.float32) for size in (n_out, n_in))
    occupied = layer.positions
    tracemalloc.start()
    grown = gradient_growth(dy, x, occupied, 7200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(grown) == 7200
    assert 4 * n_out * n_in == 48_000_000  # bytes
    assert peak < 20 * nnz + 50 * 2**16 < 4_000_000  # the connections, and a block


def test_the_fraction_follows_half_a_cosine():
    assert cosine_fraction(0, end=8, initial=0.3) == 0.3
    np.testing.assert_allclose(cosine_fraction(4, end=8, initial=0.3), 0.15, rtol=1e-15)
    assert cosine_fraction(8, end=8, initial=0.3) == cosine_fraction(99, end=8, initial=0.3) == 0
    for step in range(12):  # a pruning schedule, upside down
        expected = 0.7 - cosine(step, start=0, end=9, final=0.7)
        np.testing.assert_allclose(
            cosine_fraction(step, end=9, initial=0.7), expected, rtol=1e-12, atol=1e-15
        )
    shares = [cosine_fraction(step, end=100, initial=1.0) for step in range(101)]
    assert (np.diff(shares) < 0).all()
    np.testing.assert_allclose(min(np.diff(shares)), -pi / 200, rtol=1e-3)  # steepest halfway


def test_claim_the_flops_of_a_step_as_the_paper_counts_them():
    # A fifth of the connections, an update after every 100 steps: 61.4 f_S-fifths over 101.
    np.testing.assert_allclose(rigl_flops(0.2, 1.0, interval=100), 61.4 / 101, rtol=1e-15)
    assert rigl_flops(3.0, 7.0, interval=0) == 13  # an update in every step: 2 f_S + f_D
    assert rigl_flops(5.0, 5.0, interval=9) == 15  # dense: 3 f_D
    # Step by step: 22 of training, then an update.
    steps = [3 * 2.0] * 22 + [2 * 2.0 + 100.0]
    np.testing.assert_allclose(rigl_flops(2.0, 100.0, interval=22), np.mean(steps), rtol=1e-15)
    # The page's numbers: with 2 % of the connections, how much comes on top of 3 f_S.
    more = [rigl_flops(0.02, 1.0, interval=i) / 0.06 - 1 for i in (22, 100, 1000)]
    np.testing.assert_allclose(more, [0.71, 0.16, 0.016], rtol=0.02)
    network = sparse_mlp([64, 256, 10], density=0.02, rng=np.random.default_rng(0))
    cost = network_cost(network)
    assert (cost.forward_flops, cost.step_flops) == (758, 2274)
    assert round(rigl_flops(758, 2 * 18944, interval=22)) == 3888  # what the example prints


@cache
def trained(way, seed, *, density, epochs=10, end=8, batch_size=64, constant=False):
    rng, draws = np.random.default_rng(seed), np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = sparse_mlp([64, 256, 10], density=density, rng=rng)
    optimizer = Momentum(network, learning_rate=0.1)

    def after_epoch(epoch):
        share = 0.3 if constant else cosine_fraction(epoch, end=end, initial=0.3)
        if way == "SET":
            rewire_network(network, optimizer, fraction=share, rng=draws)
        elif way == "RigL" and share:
            batch = draws.choice(len(x), batch_size, replace=False)
            rewire_by_gradient(network, optimizer, x[batch], labels[batch], fraction=share)

    train(
        network,
        optimizer,
        x,
        labels,
        epochs=epochs,
        batch_size=64,
        rng=rng,
        after_epoch=after_epoch,
    )
    return network, accuracy(network, x_test, labels_test)


def test_claim_rewiring_beats_static_and_the_gradient_beats_chance():
    # Three seeds, the same connections and steps. Set beforehand: ahead is two points or more in
    # every seed, level is a mean difference below two points, and else the seeds do not tell.
    def read(way, density, **how):
        return np.array([trained(way, seed, density=density, **how)[1] for seed in range(3)])

    level = read("RigL", 0.1) - read("SET", 0.1)
    assert abs(level.mean()) < 0.02
    ahead = {}
    for density in (0.02, 0.01):
        static, random, gradient = (read(way, density) for way in ("static", "SET", "RigL"))
        ahead[density] = (random - static).min(), (gradient - random).min()
        assert gradient.mean() > {0.02: 0.9, 0.01: 0.8}[density]
        assert (gradient - random).mean() > (random - static).mean()
    assert ahead[0.02][0] > 0.02
    assert ahead[0.01][0] < 0.02  # not ahead: neither reads
    assert ahead[0.02][1] > 0.1
    assert ahead[0.01][1] > 0.4
    # At 1 % the dense gradients cost more than the training; SET may have these FLOPs as well.
    extra = rigl_flops(1.0, 18944 / 189, interval=22) / 3
    assert 2.4 < extra < 2.5
    longer = read("SET", 0.01, epochs=25, end=20)
    assert (read("RigL", 0.01) - longer).min() > 0.15


def test_pitfall_one_small_batch_is_noise():
    found = np.zeros((3, 3))
    returned = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, labels, *_ = stratified_split(*load_digits(), rng=rng)
        network = sparse_mlp([64, 256, 10], density=0.02, rng=rng)
        optimizer = Momentum(network, learning_rate=0.1)
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
        best = choice_of(network, x, labels, "0", 60)
        assert len(np.unique(best // 64)) < 20  # the other pitfall: few neurons get all of it
        for i, size in enumerate([1, 32, 512]):
            for _ in range(8):
                batch = rng.choice(len(x), size, replace=False)
                some = choice_of(network, x[batch], labels[batch], "0", 60)
                found[seed, i] += np.isin(some, best).mean() / 8
        # The paper's rule would let few of the dropped return.
        for name, layer in (("0", network.layers[0]), ("2", network.layers[2])):
            count = round(0.3 * layer.weight.nnz)
            weakest = np.argsort(np.abs(layer.weight.data), kind="stable")[:count]
            dropped = layer.positions[weakest]
            gradient = np.abs(dense_gradients_of_digits(network, x, labels)[f"{name}.weight"])
            again = sorted_out(gradient, np.setdiff1d(layer.positions, dropped), count)
            returned.append(np.isin(again, dropped).mean())
    one, few, many = found.mean(axis=0)
    assert one < 0.35
    assert few < 0.6
    assert many > 0.7
    assert (np.diff(found, axis=1) > 0).all()
    assert max(returned) < 0.05


def dense_gradients_of_digits(network, x, labels):
    dense = [
        Linear(a.weight.toarray(), a.params["bias"]) if isinstance(a, CSRLinear) else a
        for a in network.layers
    ]
    twin, loss = Sequential(dense), CrossEntropy()
    loss.forward(twin.forward(x), labels)
    twin.backward(loss.backward())
    return twin.grads


def test_pitfall_rewired_to_the_last_step():
    for seed in range(3):
        network, late = trained("RigL", seed, density=0.02, constant=True)
        zeros = [(layer.weight.data == 0).mean() for layer in network.layers[::2]]
        np.testing.assert_allclose(zeros, 0.3, atol=0.01)  # grown, and never trained
        network, cured = trained("RigL", seed, density=0.02)
        assert max((layer.weight.data == 0).mean() for layer in network.layers[::2]) < 0.01
        assert cured > late + 0.02


def test_pitfall_a_neuron_without_inputs_gets_none():
    for seed in range(3):
        for activation in (relu, tanh):
            rng = np.random.default_rng(seed)
            x, labels, *_ = stratified_split(*load_digits(), rng=rng)
            network = sparse_mlp([64, 256, 10], density=0.02, rng=rng, activation=activation)
            optimizer = Momentum(network, learning_rate=0.1)
            first = network.layers[0]
            closed = np.diff(first.weight.indptr) == 0
            assert closed.sum() > 100
            opened = np.zeros(256, dtype=bool)
            for _ in range(3):
                train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
                rewire_by_gradient(network, optimizer, x, labels, fraction=0.3)
                opened |= np.diff(first.weight.indptr) > 0
            assert (opened & closed).any() == (activation is tanh)
    # Chance does connect it, in vain: at 0 a ReLU has no slope, and the new weight stays 0.
    layer = CSRLinear(random_csr((1, 3), 0, rng=rng, dtype=np.float64))
    layer.reconnect(np.array([1]))
    last = CSRLinear(random_csr((2, 1), 2, rng=rng, dtype=np.float64))
    for bias, learns in ((0.0, False), (0.1, True)):
        layer.params["bias"][:] = bias
        network, loss = Sequential([layer, Activation(relu), last]), CrossEntropy()
        loss.forward(network.forward(np.ones((1, 3))), np.array([0]))
        network.backward(loss.backward())
        assert (layer.grads["weight"] != 0).all() == learns


def test_bad_input_of_the_growth():
    occupied = np.array([0, 2])
    for dy, x in ((DY.astype(np.float32), X), (DY, X.astype(np.float32))):
        with pytest.raises(TypeError, match="dy and x must be of one floating type"):
            gradient_growth(dy, x, occupied, 1)
    with pytest.raises(TypeError, match="got int64 and int64"):
        gradient_growth(DY.astype(int), X.astype(int), occupied, 1)
    for dy, x in ((DY[0], X), (DY, X[0]), (DY[:1], X), (DY[:0], X[:0])):
        with pytest.raises(ValueError, match=r"dy and x must be \(N ≥ 1, out\) and \(N, in\)"):
            gradient_growth(dy, x, occupied, 1)
    with pytest.raises(TypeError, match="occupied must be int64, got int32"):
        gradient_growth(DY, X, occupied.astype(np.int32), 1)
    for bad in ([3, 1], [2, 2], [-1, 2], [2, 8]):
        with pytest.raises(ValueError, match=r"occupied must be strictly ascending .* \[0, 8\)"):
            gradient_growth(DY, X, np.array(bad), 1)
    for count in (-1, 7):
        with pytest.raises(ValueError, match=f"count must be 0 to 6, got {count}"):
            gradient_growth(DY, X, occupied, count)
    for bad in (np.nan, np.inf):
        wrong = X.copy()
        wrong[1, 1] = bad
        with pytest.raises(ValueError, match="dy and x must have a finite gradient"):
            gradient_growth(DY, wrong, occupied, 1)


def test_bad_input_of_the_network_changes_no_connection(rng):
    network = network_of(rng)
    optimizer = Momentum(network, learning_rate=0.1)
    x, labels = rng.standard_normal((5, 6)), np.arange(5) % 4
    before = {name: theta.copy() for name, theta in network.params.items()}
    positions = {name: layer.positions for name, layer in sparse_layers(network).items()}
    for fraction in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got"):
            rewire_by_gradient(network, optimizer, x, labels, fraction=fraction)
    with pytest.raises(TypeError, match="x must be float64"):
        rewire_by_gradient(network, optimizer, x.astype(np.float32), labels, fraction=0.3)
    with pytest.raises(ValueError, match="labels must be 0 to 3, got 0 to 4"):
        rewire_by_gradient(network, optimizer, x, np.arange(5), fraction=0.3)
    dense = Sequential([Linear(rng.standard_normal((4, 6)))])
    with pytest.raises(ValueError, match="network must hold at least one CSRLinear"):
        rewire_by_gradient(dense, Momentum(dense, learning_rate=0.1), x, labels, fraction=0.3)
    network.params["4.weight"][3] = np.nan  # in the last: the first must not move
    with pytest.raises(ValueError, match="layer must have finite weights"):
        rewire_by_gradient(network, optimizer, x, labels, fraction=0.3)
    network.params["4.weight"][3] = before["4.weight"][3]
    wrong = x.copy()
    wrong[2, 3] = np.inf  # tanh hides it from the loss, and not from the gradient
    with (
        pytest.raises(ValueError, match="dy and x must have a finite gradient"),
        np.errstate(invalid="ignore"),
    ):
        rewire_by_gradient(network, optimizer, wrong, labels, fraction=0.3)
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])
    for name, layer in sparse_layers(network).items():
        np.testing.assert_array_equal(layer.positions, positions[name])
    for step, end, initial in (
        (-1, 8, 0.3),
        (0, 0, 0.3),
        (0, 8, 1.1),
        (0, 8, -0.1),
        (0, 8, np.nan),
    ):
        with pytest.raises(ValueError, match=r"(step|end|initial) must be"):
            cosine_fraction(step, end=end, initial=initial)
    for sparse, dense_flops in ((-1.0, 2.0), (3.0, 2.0), (1.0, np.inf)):
        with pytest.raises(ValueError, match="FLOPs must be 0 ≤ sparse ≤ dense"):
            rigl_flops(sparse, dense_flops, interval=10)
    with pytest.raises(ValueError, match="interval must be 0 or above, got -1"):
        rigl_flops(1.0, 2.0, interval=-1)
