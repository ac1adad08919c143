import tracemalloc
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.erdos_renyi import epsilon_counts
from lexicon.sparsity.million_neurons import (
    PackedReLU,
    TrainingCost,
    training_cost,
    wide_mlp,
    wide_sizes,
)
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts, random_csr
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train


def shapes_of(sizes):
    return [(n_out, n_in) for n_in, n_out in pairwise(sizes)]


def wide(neurons, epsilon, rng, inputs=64):
    sizes = wide_sizes(neurons, inputs=inputs)
    counts = epsilon_counts(shapes_of(sizes), epsilon)
    return sizes, counts, wide_mlp(sizes, counts, rng=rng)


def test_by_hand():
    assert training_cost([4, 3, 2], [6, 4], 8) == TrainingCost(
        weight_bytes=60,
        index_bytes=68,
        gradient_bytes=60,
        velocity_bytes=60,
        activation_bytes=288 + 3,
        flops=480,
    )
    relu_layer = PackedReLU()
    y = relu_layer.forward(np.array([[-1.0, 2.0, 0.0]]))
    np.testing.assert_array_equal(y, [[0, 2, 0]])
    np.testing.assert_array_equal(relu_layer.backward(np.array([[5.0, 6.0, 7.0]])), [[0, 6, 0]])


def test_neurons_are_shared_equally():
    assert wide_sizes(1_000_000) == [784, 333_334, 333_333, 333_333, 10]
    assert wide_sizes(8, inputs=2, outputs=1, hidden_layers=3) == [2, 3, 3, 2, 1]
    assert wide_sizes(5, hidden_layers=1) == [784, 5, 10]
    assert wide_sizes(3) == [784, 1, 1, 1, 10]


@given(st.integers(1, 10**9), st.integers(1, 9))
def test_no_neuron_is_lost(neurons, layers):
    if neurons >= layers:
        hidden = wide_sizes(neurons, hidden_layers=layers)[1:-1]
        assert sum(hidden) == neurons
        assert len(hidden) == layers
        assert max(hidden) - min(hidden) <= 1


@pytest.mark.parametrize(("neurons", "samples"), [(300, 40), (1000, 7), (3000, 128)])
def test_the_counts_are_those_of_real_arrays(neurons, samples, rng):
    sizes, counts, network = wide(neurons, 5, rng)
    cost = training_cost(sizes, counts, samples)
    optimizer, loss = Momentum(network, learning_rate=0.1), CrossEntropy()
    x = rng.random((samples, 64), dtype=np.float32)
    y = network.forward(x)
    kept = y.nbytes
    for layer in network.layers:
        kept += layer._x.nbytes if isinstance(layer, CSRLinear) else layer._kept[0].nbytes
    assert cost.activation_bytes == kept
    loss.forward(y, rng.integers(10, size=samples))
    network.backward(loss.backward())
    optimizer.step()
    layers = network.layers[::2]
    assert cost.weight_bytes == sum(a.nbytes for a in network.params.values())
    assert cost.gradient_bytes == sum(a.nbytes for a in network.grads.values())
    assert cost.velocity_bytes == sum(a.nbytes for a in optimizer.velocity.values())
    assert cost.index_bytes == sum(
        layer.weight.indices.nbytes + layer.weight.indptr.nbytes for layer in layers
    )
    assert cost.flops == 6 * samples * sum(layer.weight.nnz for layer in layers)


@pytest.mark.parametrize("samples", [16, 128])
def test_the_counts_are_what_tracemalloc_sees(samples, rng):
    neurons = 12_000
    sizes = wide_sizes(neurons, inputs=64)
    counts = epsilon_counts(shapes_of(sizes), 5)
    cost = training_cost(sizes, counts, samples)
    x = rng.random((samples, 64), dtype=np.float32)
    labels = rng.integers(10, size=samples)

    def now():
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    network = wide_mlp(sizes, counts, rng=rng)
    built = now()
    optimizer, loss = Momentum(network, learning_rate=0.1), CrossEntropy()
    ready = now()
    tracemalloc.reset_peak()
    y = network.forward(x)
    kept = now() - ready
    loss.forward(y, labels)
    network.backward(loss.backward())
    learned = now() - ready - y.nbytes
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert built == pytest.approx(cost.weight_bytes + cost.index_bytes, rel=0.03)
    assert ready - built == pytest.approx(cost.velocity_bytes, rel=0.03)
    assert kept == pytest.approx(cost.activation_bytes, rel=0.01)
    assert learned == pytest.approx(cost.gradient_bytes, rel=0.1)
    # At most one array of the widest layer more, a byte a number, and a chunk of gathered vectors.
    widest = samples * neurons // 3
    assert sum(cost[:5]) < peak < sum(cost[:5]) + 5 * widest + 0.2e6


def test_cost_is_linear_in_neurons_at_constant_connections():
    costs = []
    for neurons in (300_000, 3_000_000):
        sizes = wide_sizes(neurons)
        counts = epsilon_counts(shapes_of(sizes), 5)
        assert sum(counts) == 5 * (2 * neurons + 794)
        costs.append(training_cost(sizes, counts, 128))
    for small, large in zip(*costs, strict=True):
        assert large == pytest.approx(10 * small, rel=0.02)


def test_the_numbers_of_the_page():
    sizes = wide_sizes(1_000_000)
    counts = epsilon_counts(shapes_of(sizes), 5)
    cost = training_cost(sizes, counts, 128)
    assert round(333_333**2 * 4 / 1e9) == 444
    assert sum(counts) == pytest.approx(10e6, rel=0.001)
    assert 8 * sum(counts) == pytest.approx(80e6, rel=0.001)
    # A hidden neuron: ten connections of 16 bytes, 16 for itself; 4 bytes and a bit for a sample.
    assert sum(cost[:4]) / 1e6 == pytest.approx(4 * 4 * 10 + 4 * 4, rel=0.001)
    assert cost.activation_bytes / 1e6 == pytest.approx(4 * 128 + 128 / 8, rel=0.001)
    below, above = (training_cost(sizes, counts, samples) for samples in (42, 43))
    assert below.activation_bytes < sum(below[:4]) == sum(above[:4]) < above.activation_bytes
    assert cost.activation_bytes / sum(cost[:5]) == pytest.approx(0.75, abs=0.01)
    assert counts[-1] == pytest.approx(10 * 333_333 / 2, rel=0.001)  # half of the last layer
    full = epsilon_counts(shapes_of(sizes), 20)
    assert full[-1] == 10 * 333_333
    assert 3.6 < sum(full) / sum(counts) < 3.7


def test_numpys_integers_do_not_overflow():
    sizes, counts = np.array([10**5] * 3, np.int32), np.array([10**9] * 2, np.int32)
    cost = training_cost(sizes, counts, np.int32(1000))
    assert cost == training_cost([10**5] * 3, [10**9] * 2, 1000)
    assert cost.flops == 12 * 10**12
    assert {type(number) for number in cost} == {int}
    sizes = wide_sizes(np.int8(9), inputs=np.int8(4), outputs=np.int8(2), hidden_layers=np.int8(2))
    assert sizes == [4, 5, 4, 2]
    assert {type(size) for size in sizes} == {int}


def test_indices_are_wider_where_int32_cannot_count():
    # 2³¹ connections in one row, then as many columns with none: 8 bytes each, and the rest 4.
    many = 2**31
    assert training_cost([many, 1], [many], 1).index_bytes == 8 * many + 8 * 2
    assert training_cost([many, 1], [0], 1).index_bytes == 8 * 2
    assert training_cost([many - 1, 1], [many - 1], 1).index_bytes == 4 * (many - 1) + 4 * 2
    assert training_cost([many - 1, 1], [5], 1).weight_bytes == 4 * 6


@given(
    arrays(
        st.sampled_from([np.float32, np.float64, np.float16]),
        array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        elements=st.floats(-3, 3, width=16) | st.sampled_from([np.nan, np.inf, -np.inf, -0.0]),
    ),
    st.randoms(use_true_random=False),
    st.integers(0, 3),
)
def test_same_bits_as_activation_in_every_layout(x, random, layout):
    axes = list(range(x.ndim))
    random.shuffle(axes)
    x = x.transpose(axes)
    if layout == 1:
        x = np.asfortranarray(x)
    elif layout == 2:
        x = x[tuple(slice(None, None, -1) for _ in axes)]
    elif layout == 3:
        x = x[tuple(slice(None, None, 2) for _ in axes)]
    ours, theirs = PackedReLU(), Activation(relu)
    dy = np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)
    for a, b in [
        (ours.forward(x), theirs.forward(x)),
        (ours.backward(dy), theirs.backward(dy)),
    ]:
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        assert a.dtype == b.dtype
        assert a.strides == b.strides


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((5, 6))
    x[np.abs(x) < 0.01] = 1  # away from the kink
    assert max(check_layer(PackedReLU(), x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((8, 6)), rng.standard_normal(8)),
            PackedReLU(),
            Linear(rng.standard_normal((4, 8))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


def test_one_bit_a_number_and_no_copy(rng):
    x = rng.standard_normal((3000, 128), dtype=np.float32).T
    layer = PackedReLU()
    layer.forward(x)
    tracemalloc.start()
    y = layer.forward(x)
    now, peak = tracemalloc.get_traced_memory()
    assert y.T.flags.c_contiguous
    assert now == pytest.approx(x.nbytes + x.size / 8, rel=0.01)
    assert peak == pytest.approx(x.nbytes + x.size / 8, rel=0.01)  # signs are gone before y comes
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    dx = layer.backward(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert dx.T.flags.c_contiguous
    assert peak - before == pytest.approx(x.nbytes + x.size, rel=0.02)


def test_a_wide_mlp_is_the_ordinary_one_with_bits(rng):
    sizes, counts = [20, 30, 25, 4], [60, 70, 50]
    ours = wide_mlp(sizes, counts, rng=np.random.default_rng(1))
    theirs = mlp_of_counts(sizes, counts, rng=np.random.default_rng(1))
    kinds = [type(layer) for layer in ours.layers]
    assert kinds == [CSRLinear, PackedReLU, CSRLinear, PackedReLU, CSRLinear]
    assert [layer.weight.nnz for layer in ours.layers[::2]] == counts
    optimizers = [Momentum(network, learning_rate=0.1) for network in (ours, theirs)]
    for _ in range(3):
        x, dy = rng.random((8, 20), np.float32), rng.random((8, 4), np.float32)
        outputs = []
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            outputs += [network.forward(x), network.backward(dy)]
            optimizer.step()
        np.testing.assert_array_equal(outputs[0], outputs[2])
        np.testing.assert_array_equal(outputs[1], outputs[3])
    for name, theta in ours.params.items():
        np.testing.assert_array_equal(theta, theirs.params[name])
        assert theta.dtype == np.float32


def test_the_input_is_not_changed_and_float32_stays(rng):
    x = rng.standard_normal((3, 5), dtype=np.float32)
    kept, layer = x.copy(), PackedReLU()
    assert layer.forward(x).dtype == np.float32
    assert layer.backward(np.ones_like(x)).dtype == np.float32
    np.testing.assert_array_equal(x, kept)
    assert layer.params == layer.grads == {}


def test_what_the_page_says_of_accuracy():
    reads = {(96, 5): [], (960, 5): [], (3000, 5): [], (3000, 2): []}
    connections = {}
    for neurons, epsilon in reads:
        for seed in range(6):
            rng = np.random.default_rng(seed)
            x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
            _, counts, network = wide(neurons, epsilon, rng)
            connections[neurons, epsilon] = sum(counts)
            optimizer = Momentum(network, learning_rate=0.05)
            train(network, optimizer, x, labels, epochs=5, batch_size=64, rng=rng)
            reads[neurons, epsilon].append(accuracy(network, x_test, labels_test))
    few, middle, many, thin = (np.array(read) for read in reads.values())
    # One test image is 0.2 points: each bound is at least two images away from what came out.
    assert [round(float(read.mean()), 2) for read in (few, middle, many)] == [0.87, 0.94, 0.95]
    assert -0.025 < (middle - few).min() < -0.01
    assert 0.125 < (middle - few).max() < 0.145
    assert -0.025 < (many - middle).min() < -0.01
    assert 0.045 < (many - middle).max() < 0.055
    assert 2.9 < connections[3000, 5] / connections[960, 5] < 3.1
    assert 1.15 < connections[3000, 2] / connections[960, 5] < 1.25
    assert -0.035 < (thin - middle).mean() < -0.025
    assert (thin < middle).all()


def test_pitfall_positions_overflow_in_32_bits():
    row, column = np.array([333_332], np.int32), np.array([5], np.int32)
    assert (row * 333_333 + column)[0] == -558_594_135
    assert (row.astype(np.int64) * 333_333 + column)[0] == 333_332 * 333_333 + 5
    # The package's own: 10 connections anywhere in 333,333 × 333,333, columns in int32.
    weight = random_csr((333_333, 333_333), 10, rng=np.random.default_rng(0))
    layer = CSRLinear(weight)
    assert weight.indices.dtype == np.int32
    assert layer.positions.dtype == np.int64
    assert (np.diff(layer.positions) > 0).all()
    assert layer.positions[-1] > 2**31


def test_pitfall_only_the_weights_were_counted():
    sizes = wide_sizes(1_000_000)
    counts = epsilon_counts(shapes_of(sizes), 5)
    large, small = (training_cost(sizes, counts, samples) for samples in (128, 16))
    assert large.activation_bytes > 6 * 8 * sum(counts)
    assert small.activation_bytes == pytest.approx(large.activation_bytes / 8, rel=1e-6)
    assert sum(small[:4]) > small.activation_bytes


def test_pitfall_one_float64_doubles_everything():
    drawn = np.ones(1000, np.float32)
    assert (drawn * np.sqrt(2 / 5)).nbytes == 2 * drawn.nbytes
    assert (drawn * sqrt(2 / 5)).nbytes == drawn.nbytes
    drawn *= np.sqrt(2 / 5)
    assert drawn.dtype == np.float32
    network = wide_mlp([4, 3, 2], [6, 4], rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="x must be float32 like the layer's weights, got float64"):
        network.forward(np.ones((1, 4)))


def test_bad_input(rng):
    for name in ("inputs", "outputs", "hidden_layers"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            wide_sizes(10, **{name: 0})
        with pytest.raises(TypeError):
            wide_sizes(10, **{name: 2.0})
    with pytest.raises(ValueError, match="neurons must be at least 3, one a layer, got 2"):
        wide_sizes(2)
    with pytest.raises(TypeError):
        wide_sizes(1e6)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        training_cost([4, 3, 2], [6, 4], 0)
    with pytest.raises(TypeError):
        training_cost([4, 3, 2], [6, 4], 1.5)
    for build in (
        lambda sizes, counts: training_cost(sizes, counts, 1),
        lambda sizes, counts: wide_mlp(sizes, counts, rng=rng),
    ):
        for sizes in ([4], [4, 0, 2], []):
            with pytest.raises(ValueError, match="sizes must be two or more numbers of at least 1"):
                build(sizes, [1])
        for counts in ([6], [6, 4, 1], [13, 4], [-1, 4], [6, 7]):
            with pytest.raises(ValueError, match="counts must be 0 to out · in"):
                build([4, 3, 2], counts)
        with pytest.raises(TypeError):
            build([4, 3, 2], [6.0, 4])
        with pytest.raises(TypeError):
            build([4, 3.0, 2], [6, 4])
    layer = PackedReLU()
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.zeros((1, 2)))
    with pytest.raises(TypeError, match="x must be floating point, got int64"):
        layer.forward(np.ones((1, 2), np.int64))
    layer.forward(np.array([[1.0, -1.0]]))
    with pytest.raises(TypeError, match="dy must be float64 like the input, got float32"):
        layer.backward(np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match=r"dy must be \(1, 2\), got \(2, 1\)"):
        layer.backward(np.zeros((2, 1)))
    np.testing.assert_array_equal(layer.backward(np.ones((1, 2))), [[1, 0]])
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((1, 2)))
