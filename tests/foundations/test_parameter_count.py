import tracemalloc
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.neural_network import MLPClassifier

from lexicon.architectures.convolution import Convolution, Reshape
from lexicon.architectures.mlp import mlp
from lexicon.foundations.activation import Activation, relu, sigmoid, tanh
from lexicon.foundations.embedding import Embedding
from lexicon.foundations.forward_pass import Sequential, trace_shapes
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.parameter_count import (
    LayerCount,
    Memory,
    count_layers,
    total,
    training_memory,
)
from lexicon.foundations.softmax import Softmax
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.relu_sparsity import SparseInputLinear
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.training.adam import Adam
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent


def zeros(*shape):
    return np.zeros(shape, np.float32)


def small():
    return Sequential([Linear(zeros(2, 3)), Activation(relu), Linear(zeros(1, 2))])


def digits_network(rng):
    """Two convolutions, two linear layers, of everything a little."""
    shapes = [(4, 1, 3, 3), (6, 4, 3, 3), (32, 6 * 36), (10, 32)]
    first, second, third, fourth = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    return Sequential(
        [
            Convolution(first, padding=1),
            Activation(tanh),
            Sequential([Convolution(second), Activation(relu)]),
            Reshape((6 * 36,)),
            Linear(third),
            Activation(sigmoid),
            Linear(fourth),
            Softmax(),
        ]
    )


class Counted(np.ndarray):
    """An array that counts the FLOPs of the matrix products it takes part in."""

    flops = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        if out is not None:
            kwargs["out"] = tuple(x.view(np.ndarray) if isinstance(x, Counted) else x for x in out)
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul:
            Counted.flops += 2 * result.size * plain[0].shape[-1]
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def test_by_hand():
    rows = count_layers(small(), zeros(4, 3))
    assert rows == [
        # 6 weights and 2 biases; 4 · 2 numbers of 3 products and 3 sums; x is kept.
        LayerCount("0", "Linear", (4, 2), 8, 32, 48, 144, 4 * 3 * 4),
        # A slope of one byte for each of 4 · 2 numbers.
        LayerCount("1", "Activation", (4, 2), 0, 0, 0, 0, 8),
        LayerCount("2", "Linear", (4, 1), 3, 12, 16, 48, 4 * 2 * 4),
    ]
    assert total(rows) == LayerCount("total", "3 layers", (4, 1), 11, 44, 64, 192, 88)
    assert training_memory(rows, optimizer_arrays=1) == Memory(44, 44, 44, 88)
    assert sum(training_memory(rows, optimizer_arrays=2)) == 4 * 44 + 88


def test_lenet_as_published():
    # LeCun and others (1998), section II.B: trainable parameters and connections, biases included.
    first = count_layers(Sequential([Convolution(zeros(6, 1, 5, 5))]), zeros(1, 1, 32, 32))[0]
    assert first.shape == (1, 6, 28, 28)
    assert first.parameters == 156
    assert first.forward_flops == 2 * (122_304 - 6 * 28 * 28) == 235_200
    fifth = count_layers(Sequential([Convolution(zeros(120, 16, 5, 5))]), zeros(1, 16, 5, 5))[0]
    assert (fifth.shape, fifth.parameters) == ((1, 120, 1, 1), 48_120)
    sixth = count_layers(Sequential([Linear(zeros(84, 120))]), zeros(1, 120))[0]
    assert (sixth.parameters, sixth.forward_flops) == (10_164, 20_160)
    # What the page says of them: 65 times fewer parameters, more than 11 times the FLOPs.
    assert round(sixth.parameters / first.parameters) == 65
    assert 11 < first.forward_flops / sixth.forward_flops < 12


def test_parameters_are_as_many_as_scikit_learn_trains(rng):
    theirs = MLPClassifier(hidden_layer_sizes=(7, 5)).partial_fit(
        rng.standard_normal((4, 6)), np.array([0, 1, 2, 2]), classes=[0, 1, 2]
    )
    ours = count_layers(mlp([6, 7, 5, 3], rng=rng), zeros(1, 6))
    assert total(ours).parameters == sum(a.size for a in theirs.coefs_ + theirs.intercepts_)


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.integers(1, 6),
    st.sampled_from([np.float32, np.float64]),
)
def test_agrees_with_network_cost_and_scales_with_the_batch(sizes, batch, dtype):
    network = mlp(sizes, rng=np.random.default_rng(0), dtype=dtype)
    x = np.zeros((batch, sizes[0]), dtype)
    rows, one = count_layers(network, x), count_layers(network, x[:1])
    cost, whole = network_cost(network), total(one)
    assert (whole.forward_flops, whole.step_flops) == (cost.forward_flops, cost.step_flops)
    assert whole.parameter_bytes == cost.weight_bytes
    assert whole.parameters == sum(theta.size for theta in network.params.values())
    assert [(row.kind, row.shape) for row in rows] == trace_shapes(network, x)[1:]
    for many, single in zip(rows, one, strict=True):
        assert many.forward_flops == batch * single.forward_flops
        assert many.step_flops == 3 * many.forward_flops
        assert many.kept_bytes == batch * single.kept_bytes
        assert many[3:5] == single[3:5]


def test_a_masked_layer_multiplies_its_zeros(rng):
    masked = MaskedLinear(Linear(rng.standard_normal((5, 8))), rng.random((5, 8)) < 0.2)
    network = Sequential([masked])
    row, cost = count_layers(network, np.zeros((1, 8)))[0], network_cost(network)
    assert (row.forward_flops, row.step_flops) == (cost.forward_flops, cost.step_flops) == (80, 240)
    assert row.kept_bytes == 8 * 8
    assert row.parameter_bytes + masked.mask.nbytes == cost.weight_bytes


@pytest.mark.parametrize("batch", [1, 7])
def test_the_flops_are_those_of_the_products_that_run(rng, batch):
    network, x = digits_network(rng), zeros(batch, 1, 8, 8)
    rows = count_layers(network, x)
    for layer in (network.layers[0], network.layers[2].layers[0], *network.layers[4::2]):
        if "weight" in layer.params:
            layer.params["weight"] = layer.params["weight"].view(Counted)
    Counted.flops = 0
    y = network.forward(x)
    assert total(rows).forward_flops == Counted.flops > 0
    Counted.flops = 0
    network.forward(x)
    network.backward(np.ones_like(np.asarray(y)).view(Counted))
    assert total(rows).step_flops == Counted.flops


@pytest.mark.parametrize("batch", [8, 128])
def test_the_bytes_kept_are_those_that_tracemalloc_sees(rng, batch):
    network = digits_network(rng)
    images = rng.random((batch, 1, 8, 8)).astype(np.float32)
    whole = total(count_layers(network, images))
    network.forward(images)  # whatever is made only once
    network.backward(np.ones((batch, 10), np.float32))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        network.forward(images.copy())
        kept = tracemalloc.get_traced_memory()[0] - before
        network.backward(np.ones((batch, 10), np.float32))
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # Python's own objects are a few hundred bytes for each array.
    assert 0 <= kept - whole.kept_bytes < 4000
    assert 0 <= left - whole.parameter_bytes < 6000  # the gradients, and nothing of the batch


def test_an_array_that_two_layers_keep_is_counted_once():
    def itself(x):  # its derivatives are its values, as for the exponential
        y = np.exp(x)
        return y, y

    network = Sequential([Activation(itself), Linear(np.ones((2, 4)))])
    rows = count_layers(network, np.zeros((3, 4)))
    assert [row.kept_bytes for row in rows] == [3 * 4 * 8, 0]
    # A view is no array of its own: here the last layer keeps one of what the first one keeps.
    views = [Reshape((2, 2)), Reshape((4,))]
    network = Sequential([Activation(itself), *views, Linear(np.ones((2, 4)))])
    rows = count_layers(network, np.zeros((3, 4)))
    assert [row.kept_bytes for row in rows] == [3 * 4 * 8, 0, 0, 0]


def test_whatever_a_layer_keeps_it_in_is_looked_into():
    class Record:
        def __init__(self, *held):
            self.held, self.me = held, self

    class Keeper:
        def __init__(self):
            self.params, self.grads, self.kept = {}, {}, None

        def forward(self, x):
            self.kept = {"a": [x * 2], "b": Record(x + 1, csr_array(np.eye(2)))}
            return x

    row = count_layers(Sequential([Keeper()]), np.zeros((3, 4)))[0]
    assert (
        row.kept_bytes == 2 * 96 + 2 * 8 + 2 * 4 + 3 * 4
    )  # values, columns, rows of the csr_array


def test_an_embedding_has_many_parameters_and_no_flops():
    network = Sequential([Embedding(zeros(10_000, 32)), Reshape((96,)), Linear(zeros(10, 96))])
    words = np.zeros((4, 3), np.int32)
    rows = count_layers(network, words)
    assert rows[0] == LayerCount("0", "Embedding", (4, 3, 32), 320_000, 1_280_000, 0, 0, 48)
    assert rows[2] == LayerCount("2", "Linear", (4, 10), 970, 3880, 7680, 23_040, 4 * 96 * 4)


def test_a_layer_that_skips_zeros_is_counted_as_if_it_found_none(rng):
    layer = Linear(rng.standard_normal((5, 8)))
    x = np.zeros((3, 8))
    skipping, dense = (
        count_layers(Sequential([one]), x)[0] for one in (SparseInputLinear(layer), layer)
    )
    assert skipping[3:7] == dense[3:7]
    assert skipping.kept_bytes < dense.kept_bytes == x.nbytes


def test_nothing_is_changed(rng):
    network, x = digits_network(rng), rng.random((4, 1, 8, 8)).astype(np.float32)
    kept, params = x.copy(), deepcopy(network.params)
    y = network.forward(x)
    count_layers(network, np.zeros_like(x[:2]))
    dx = network.backward(np.ones_like(y))  # still that of the four
    assert dx.shape == x.shape
    np.testing.assert_array_equal(x, kept)
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, params[name])
    # A forward that nobody went back from does not hide what the next one keeps.
    network.forward(x)
    assert count_layers(network, x) == count_layers(digits_network(rng), x)


@pytest.mark.parametrize(
    ("optimizer", "arrays"), [(StochasticGradientDescent, 0), (Momentum, 1), (Adam, 2)]
)
def test_what_optimisers_keep(rng, optimizer, arrays):
    network = mlp([6, 5, 3], rng=rng)
    x = zeros(4, 6)
    memory = training_memory(count_layers(network, x), optimizer_arrays=arrays)
    made = optimizer(network, learning_rate=0.1)
    network.backward(network.forward(x))
    made.step()
    held = [kept for kept in vars(made).values() if isinstance(kept, dict)]
    arrays_held = [array for kept in held for array in kept.values() if array.ndim]
    assert memory.optimizer == sum(array.nbytes for array in arrays_held)
    assert memory.gradients == sum(array.nbytes for array in network.grads.values())
    assert memory.parameters == sum(array.nbytes for array in network.params.values())


def test_pitfall_few_parameters_is_not_cheap():
    few = count_layers(Sequential([Convolution(zeros(6, 1, 5, 5))]), zeros(1, 1, 32, 32))[0]
    many = count_layers(Sequential([Embedding(zeros(10_000, 32))]), np.array([7]))[0]
    assert (few.parameters, few.forward_flops) == (156, 235_200)
    assert (many.parameters, many.forward_flops) == (320_000, 0)


def test_pitfall_the_memory_is_not_that_of_the_parameters(rng):
    network, seen = mlp([64, 32, 10], rng=rng), []
    for batch in (1, 32, 1024):
        rows = count_layers(network, zeros(batch, 64))
        seen.append((total(rows).parameter_bytes, sum(training_memory(rows, optimizer_arrays=2))))
    assert seen == [(9640, 38_976), (9640, 51_872), (9640, 464_544)]
    assert seen[0][1] - 416 == 4 * 9640 == 38_560  # of a batch of 1, all that is not the batch's
    # 416 bytes an image: 64 and 32 numbers of four bytes, 32 slopes of one.
    assert seen[2][1] - seen[1][1] == (1024 - 32) * (4 * 64 + 4 * 32 + 32)


def test_pitfall_a_factor_of_two(rng):
    network = mlp([64, 32, 10], rng=rng)
    flops = total(count_layers(network, zeros(1, 64))).forward_flops
    multiply_adds = sum(layer.params["weight"].size for layer in network.layers[::2])
    assert (flops, multiply_adds) == (4736, 2368)


def test_what_a_slope_takes_depends_on_the_activation():
    for function, size in (relu, 1), (tanh, 4), (sigmoid, 4):
        assert (
            count_layers(Sequential([Activation(function)]), zeros(3, 5))[0].kept_bytes == 15 * size
        )


def test_layers_of_vectors_multiply_number_by_number():
    class Scale:
        def __init__(self):
            self.params, self.grads = {"scale": np.ones(4), "shift": np.zeros(4)}, {}

        def forward(self, x):
            return x * self.params["scale"] + self.params["shift"]

    row = count_layers(Sequential([Scale()]), np.zeros((3, 4)))[0]
    assert (row.parameters, row.forward_flops, row.kept_bytes) == (8, 0, 0)


def test_bad_networks():
    with pytest.raises(TypeError, match="network must be a Sequential, got Linear"):
        count_layers(Linear(zeros(2, 3)), zeros(4, 3))
    unknown = CSRLinear(csr_array(np.eye(3)))
    with pytest.raises(TypeError, match="layers of known products, got CSRLinear"):
        count_layers(Sequential([unknown]), np.zeros((4, 3)))

    class Odd:
        def __init__(self, outputs, **params):
            self.params, self.grads, self.outputs = params, {}, outputs

        def forward(self, x):
            return np.zeros((len(x), self.outputs))

    square, wide = np.zeros((3, 3)), np.zeros((5, 3))
    for layer in [
        Odd(3, table=square),
        Odd(3, weight=square, again=square),
        Odd(4, weight=wide),
        Odd(5, weight=wide.T),
        Odd(5, weight=np.zeros((5, 4))),
        Odd(3, weight=np.zeros(3)),
    ]:
        with pytest.raises(TypeError, match="layers of known products, got Odd"):
            count_layers(Sequential([layer]), np.zeros((4, 3)))
    assert count_layers(Sequential([Odd(5, weight=wide)]), np.zeros((4, 3)))[0].forward_flops == 120
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3\), got"):
        count_layers(small(), zeros(4, 2))


def test_bad_rows_and_numbers():
    rows = count_layers(small(), zeros(4, 3))
    for function in (total, lambda rows: training_memory(rows, optimizer_arrays=1)):
        with pytest.raises(ValueError, match="rows must hold at least one layer"):
            function([])
    with pytest.raises(ValueError, match="optimizer_arrays must be at least 0, got -1"):
        training_memory(rows, optimizer_arrays=-1)
    with pytest.raises(TypeError):
        training_memory(rows, optimizer_arrays=1.5)
