import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity import csr_layer as module
from lexicon.sparsity import sampled_gradient as sampling
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.mask import MaskedLinear
from lexicon.training.momentum import Momentum


def by_hand():
    # The worked case of the page: three connections of six.
    weight = csr_array(np.array([[0, 2.0, 0], [-1.0, 0, 3.0]]))
    return CSRLinear(weight, np.array([0.5, 0.0]))


def drawn(rng, n_out, n_in, density, dtype=np.float64):
    mask = rng.random((n_out, n_in)) < density
    weight = rng.standard_normal((n_out, n_in)).astype(dtype)
    return CSRLinear.from_dense(weight, mask, rng.standard_normal(n_out).astype(dtype))


def peak_of(function):
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_by_hand():
    layer = by_hand()
    np.testing.assert_array_equal(layer.params["weight"], [2, -1, 3])
    np.testing.assert_array_equal(layer.weight.indices, [1, 0, 2])
    np.testing.assert_array_equal(layer.weight.indptr, [0, 1, 3])
    np.testing.assert_array_equal(layer.positions, [1, 3, 5])
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2.0, 3.0]])), [[4.5, 8]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 10.0]])), [[-10, 2, 30]])
    np.testing.assert_array_equal(layer.grads["weight"], [2, 10, 30])
    np.testing.assert_array_equal(layer.grads["bias"], [1, 10])
    np.testing.assert_array_equal(layer.reconnect(np.array([1, 2, 5])), [0, -1, 2])
    np.testing.assert_array_equal(layer.weight.toarray(), [[0, 2, 0], [0, 0, 3]])
    np.testing.assert_array_equal(layer.params["weight"], [2, 0, 3])


@pytest.mark.parametrize("density", [0.05, 0.4, 1.0])  # gathered, blocked, nothing missing
def test_gradient_alone_and_in_a_stack(density, rng):
    alone, lower, upper = (
        CSRLinear.from_dense(
            rng.standard_normal(shape), rng.random(shape) < density, rng.standard_normal(shape[0])
        )
        for shape in [(7, 9), (7, 9), (5, 7)]
    )
    x = rng.standard_normal((4, 9))
    assert max(check_layer(alone, x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((9, 9)), rng.standard_normal(9)),
            lower,
            Activation(tanh),
            upper,
            Linear(rng.standard_normal((3, 5))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(
    st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(1, 4)
)
def test_agrees_with_the_dense_products(seed, n_out, n_in, density, samples):
    rng = np.random.default_rng(seed)
    layer = drawn(rng, n_out, n_in, density)
    x, dy = rng.standard_normal((samples, n_in)), rng.standard_normal((samples, n_out))
    dense, bias = layer.weight.toarray(), layer.params["bias"]
    np.testing.assert_allclose(layer.forward(x), x @ dense.T + bias, rtol=0, atol=1e-13)
    np.testing.assert_allclose(layer.backward(dy), dy @ dense, rtol=0, atol=1e-13)
    stored = layer.weight.tocoo()
    expected = (dy.T @ x)[stored.row, stored.col]
    np.testing.assert_allclose(layer.grads["weight"], expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(layer.grads["bias"], dy.sum(axis=0), rtol=0, atol=1e-13)


def test_trains_as_a_masked_dense_network_does(rng):
    # Three layers, real digits, ten steps of momentum with decay: the same numbers throughout.
    images, labels = load_digits()
    images = images.astype(np.float64)
    masked, sparse, masks = [], [], []
    for n_in, n_out in [(64, 90), (90, 70), (70, 10)]:
        weight = rng.standard_normal((n_out, n_in)) / np.sqrt(0.15 * n_in)
        mask, bias = rng.random((n_out, n_in)) < 0.15, rng.standard_normal(n_out)
        masked += [MaskedLinear(Linear(weight, bias), mask), Activation(relu)]
        sparse += [CSRLinear.from_dense(weight, mask, bias), Activation(relu)]
        masks.append(mask)
    networks = [Sequential(masked[:-1]), Sequential(sparse[:-1])]
    optimizers = [
        Momentum(network, learning_rate=0.1, weight_decay=0.01, nesterov=True)
        for network in networks
    ]
    first = sparse[0].params["weight"].copy()

    def same(a, b):
        assert np.abs(b).max() > 1e-4
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)

    for step in range(10):
        batch = slice(100 * step, 100 * step + 100)
        outputs, inputs = [], []
        for network, optimizer in zip(networks, optimizers, strict=True):
            loss = CrossEntropy()
            outputs.append(network.forward(images[batch]))
            loss.forward(outputs[-1], labels[batch])
            inputs.append(network.backward(loss.backward()))
            optimizer.step()
        same(*outputs)
        same(*inputs)
        for dense, csr, mask in zip(masked[::2], sparse[::2], masks, strict=True):
            same(csr.grads["weight"], dense.grads["weight"][mask])
            same(csr.grads["bias"], dense.grads["bias"])
            same(csr.params["weight"], dense.params["weight"][mask])
            same(csr.params["bias"], dense.params["bias"])
            same(csr.weight.toarray(), dense.params["weight"])
    assert np.abs(sparse[0].params["weight"] - first).max() > 0.01


def test_two_hundred_thousand_neurons_a_side(rng):
    # Dense, the weight alone would take 160 GB; this is one step of training, from nothing.
    n, k, samples = 200_000, 10, 8
    tracemalloc.start()
    start = rng.integers(n, size=(n, 1), dtype=np.int32)
    columns = np.sort((start + np.arange(k, dtype=np.int32) * 19_997) % n, axis=1)
    values = rng.standard_normal(n * k, dtype=np.float32)
    layer = CSRLinear(csr_array((values, columns.ravel(), np.arange(n + 1) * k), (n, n)))
    x = rng.standard_normal((n, samples), dtype=np.float32).T
    dy = rng.standard_normal((n, samples), dtype=np.float32).T
    optimizer = Momentum(layer, learning_rate=0.5)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    y = layer.forward(x)
    dx = layer.backward(dy)
    optimizer.step()
    extra = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert extra < 60e6  # of which 13 are y and dx, and 8 the gradient
    assert before + extra < 100e6
    assert (np.diff(layer.weight.indptr) == k).all()
    assert layer.weight.has_canonical_format
    assert layer.weight.indices.dtype == layer.weight.indptr.dtype == np.int32
    w = values.reshape(n, k)
    for i in [0, 1, 777, n - 1]:
        near = columns[i]
        np.testing.assert_allclose(y[:, i], x[:, near] @ w[i], rtol=1e-4, atol=1e-5)
        gradient = dy[:, i] @ x[:, near]
        stored = slice(i * k, i * k + k)
        np.testing.assert_allclose(layer.grads["weight"][stored], gradient, rtol=1e-4, atol=1e-5)
        moved = layer.weight[[i], :].data
        np.testing.assert_allclose(moved, w[i] - 0.5 * gradient, rtol=1e-4, atol=1e-5)
        to_i = np.nonzero(columns == i)
        backwards = dy[:, to_i[0]] @ w[to_i]
        np.testing.assert_allclose(dx[:, i], backwards, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_out", [3000, 30])
def test_no_dense_weight_and_no_dense_gradient(n_out, rng):
    # Ten thousand connections in up to nine million places, which would take 72 MB.
    n_in = 9_000_000 // n_out
    positions = np.sort(rng.choice(9_000_000, 10_000, replace=False))
    layer = CSRLinear(csr_array((n_out, n_in)))
    optimizer = Momentum(layer, learning_rate=0.1)
    x, dy = rng.standard_normal((n_in, 2)).T, rng.standard_normal((n_out, 2)).T

    def step():
        optimizer.follow("weight", layer.reconnect(positions))
        y, dx = layer.forward(x), layer.backward(dy)
        optimizer.step()
        assert (y.shape, dx.shape) == (dy.shape, x.shape)

    own = dy.nbytes + x.nbytes
    assert peak_of(step) - own < 1.5e6
    assert layer.weight.nnz == 10_000


def test_nothing_is_copied_between_layers(rng):
    layer = drawn(rng, 2000, 2000, 0.01)
    x = rng.standard_normal((2000, 64)).T
    y = layer.forward(x)
    assert y.T.flags.c_contiguous
    assert peak_of(lambda: layer.forward(x)) < 1.1 * y.nbytes
    assert peak_of(lambda: layer.forward(np.asarray(x, order="C"))) > 2.9 * y.nbytes
    layer.forward(x)
    dx = layer.backward(y)
    assert dx.T.flags.c_contiguous
    layer.forward(x)
    assert peak_of(lambda: layer.backward(y)) < 1.6 * dx.nbytes  # dx, and a chunk before it
    passed = np.maximum(y, 0)
    assert passed.T.flags.c_contiguous  # and an activation keeps the order


@pytest.mark.parametrize("density", [0.02, 0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_threads_give_the_same_bits(density, dtype, rng, monkeypatch):
    shared = []
    monkeypatch.setattr(
        module,
        "ThreadPoolExecutor",
        lambda count: shared.append(count) or ThreadPoolExecutor(count),
    )
    for n_out, n_in in [(300, 200), (3, 400), (1, 5)]:
        weight = drawn(rng, n_out, n_in, density, dtype).weight
        x, dy = (rng.standard_normal((16, n)).astype(dtype) for n in (n_in, n_out))
        results = []
        for threads in (1, 2):
            monkeypatch.setattr(module, "_WORTH_TWO_THREADS", 0)
            layer = CSRLinear(weight, np.linspace(-1, 1, n_out, dtype=dtype), threads=threads)
            shared.clear()
            results.append([layer.forward(x), layer.backward(dy), *layer.grads.values()])
            assert shared == ([2, 1] if threads == 2 else [])
        for one, two in zip(*results, strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype == dtype
        assert results[1][0].T.flags.c_contiguous


def test_a_second_thread_only_where_it_pays(rng, monkeypatch):
    shared = []
    monkeypatch.setattr(
        module,
        "ThreadPoolExecutor",
        lambda count: shared.append(count) or ThreadPoolExecutor(count),
    )
    layer = drawn(rng, 40, 50, 0.2)
    product = 2 * 8 * layer.weight.nnz  # FLOPs; backward has two of them to share
    x, dy = np.ones((8, 50)), np.ones((8, 40))
    for worth, expected in [(product, [2, 1]), (product + 1, [1]), (2 * product + 1, [])]:
        monkeypatch.setattr(module, "_WORTH_TWO_THREADS", worth)
        shared.clear()
        layer.forward(x)
        layer.backward(dy)
        assert shared == expected


@pytest.mark.parametrize("threads", [0, 3, -1])
def test_refuses_another_number_of_threads(threads):
    with pytest.raises(ValueError, match=f"threads must be 1 or 2, got {threads}"):
        CSRLinear(by_hand().weight, threads=threads)


def test_an_error_in_a_thread_reaches_the_caller(rng, monkeypatch):
    monkeypatch.setattr(module, "_WORTH_TWO_THREADS", 0)
    layer = drawn(rng, 4, 5, 0.5)
    layer.params["bias"] = layer.params["bias"][:2]  # broken from outside
    with pytest.raises(ValueError, match="broadcast"):
        layer.forward(np.ones((2, 5)))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_thread_keeps_to_the_callers_errstate(threads, monkeypatch):
    monkeypatch.setattr(module, "_WORTH_TWO_THREADS", 0)
    layer = CSRLinear(csr_array(np.eye(2)), np.full(2, -np.inf), threads=threads)
    x = np.full((1, 2), np.inf)
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError, match="invalid"):
        layer.forward(x)
    with np.errstate(invalid="ignore"):
        assert np.isnan(layer.forward(x)).all()


@pytest.mark.parametrize("broken", ["weight.T", "sampled_gradient"])
def test_an_error_within_backward_reaches_the_caller_and_leaves_the_gradients(
    broken, rng, monkeypatch
):
    monkeypatch.setattr(module, "_WORTH_TWO_THREADS", 0)

    def fail(*_):
        raise MemoryError(broken)

    layer = drawn(rng, 4, 5, 0.5)
    layer.forward(np.ones((2, 5)))
    layer.backward(np.ones((2, 4)))
    grads, kept = layer.grads, {name: grad.copy() for name, grad in layer.grads.items()}
    layer.forward(np.ones((2, 5)))
    if broken == "weight.T":
        monkeypatch.setattr(csr_array, "T", property(fail))
    else:
        monkeypatch.setattr(module, "sampled_gradient", fail)
    with pytest.raises(MemoryError, match=broken):
        layer.backward(np.ones((2, 4)))
    assert layer.grads is grads
    for name, grad in kept.items():
        np.testing.assert_array_equal(grads[name], grad)


def test_parameters_are_the_stored_values_themselves():
    layer = by_hand()
    assert layer.params["weight"] is layer.weight.data
    layer.params["weight"] *= 2
    np.testing.assert_array_equal(layer.forward(np.array([[1.0, 2.0, 3.0]])), [[8.5, 16]])
    layer.reconnect(np.array([0, 3]))
    assert layer.params["weight"] is layer.weight.data


def test_copies_what_it_is_given():
    weight, bias = csr_array(np.array([[0, 2.0], [1.0, 0]])), np.array([1.0, 2.0])
    layer = CSRLinear(weight, bias)
    for array in [weight.data, weight.indices, weight.indptr, bias]:
        array[:] = 0
    np.testing.assert_array_equal(layer.weight.toarray(), [[0, 2], [1, 0]])
    np.testing.assert_array_equal(layer.params["bias"], [1, 2])
    x = np.array([[1.0, 3.0]])
    layer.forward(x)
    layer.backward(np.array([[1.0, 1.0]]))
    np.testing.assert_array_equal(x, [[1, 3]])


def test_without_a_bias_it_starts_at_zero():
    layer = CSRLinear(csr_array(np.array([[0, 2.0], [1.0, 0]], dtype=np.float32)))
    np.testing.assert_array_equal(layer.params["bias"], [0, 0])
    assert layer.params["bias"].dtype == np.float32


def test_from_dense_stores_a_zero_that_the_mask_marks():
    weight = np.array([[0.0, 5.0, 6.0], [7.0, 0.0, 8.0]])
    mask = np.array([[True, False, True], [False, True, False]])
    kept = weight.copy()
    layer = CSRLinear.from_dense(weight, mask, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(layer.positions, [0, 2, 4])
    np.testing.assert_array_equal(layer.params["weight"], [0, 6, 0])
    np.testing.assert_array_equal(layer.params["bias"], [1, 2])
    np.testing.assert_array_equal(weight, kept)


def test_float32_stays_float32(rng):
    layer = drawn(rng, 6, 5, 0.4, np.float32)
    y = layer.forward(np.ones((3, 5), np.float32))
    dx = layer.backward(np.ones((3, 6), np.float32))
    layer.reconnect(np.arange(0, 30, 3))
    parts = [y, dx, *layer.grads.values(), *layer.params.values()]
    assert {part.dtype for part in parts} == {np.dtype(np.float32)}


def test_indices_take_32_bits_until_they_overflow(monkeypatch):
    wide = csr_array((np.ones(2), np.array([0, 3]), np.array([0, 1, 2])), (2, 4))
    assert wide.indices.dtype == np.int64
    layer = CSRLinear(wide)
    assert layer.weight.indices.dtype == layer.weight.indptr.dtype == np.int32
    layer.reconnect(np.array([1, 6]))
    assert layer.weight.indices.dtype == layer.weight.indptr.dtype == np.int32
    huge = csr_array((np.ones(1), np.array([2**31]), np.array([0, 1])), (1, 2**31 + 1))
    layer = CSRLinear(huge)
    np.testing.assert_array_equal(layer.positions, [2**31])
    np.testing.assert_array_equal(layer.reconnect(np.array([5, 2**31])), [-1, 0])
    np.testing.assert_array_equal(layer.weight.indices, [5, 2**31])

    # Two thousand million connections do not fit a test: let 32 bits end at 7.
    monkeypatch.setattr(module, "_INT32_MAX", 7)
    for shape, count, index_type in [
        ((4, 7), 7, np.int32),
        ((4, 7), 8, np.int64),
        ((1, 8), 1, np.int64),
        ((8, 1), 1, np.int32),
    ]:
        layer = CSRLinear(csr_array(shape))
        layer.reconnect(np.arange(count))
        assert layer.weight.indices.dtype == layer.weight.indptr.dtype == index_type


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6))
def test_reconnect_carries_values_and_says_where_from(seed, n_out, n_in):
    rng = np.random.default_rng(seed)
    layer = drawn(rng, n_out, n_in, rng.random())
    was, bias = (
        dict(zip(layer.positions, layer.params["weight"], strict=True)),
        layer.params["bias"],
    )
    np.testing.assert_array_equal(
        layer.positions, np.ravel_multi_index(layer.weight.nonzero(), (n_out, n_in))
    )
    optimizer = Momentum(layer, learning_rate=1.0)
    velocity = rng.standard_normal(len(was))
    optimizer.velocity["weight"][:] = velocity
    wanted = np.flatnonzero(rng.random(n_out * n_in) < rng.random())
    kept = wanted.copy()
    source = layer.reconnect(wanted)
    optimizer.follow("weight", source)

    old = list(was)
    assert source.dtype == np.int64
    assert source.tolist() == [old.index(p) if p in was else -1 for p in wanted]
    np.testing.assert_array_equal(layer.params["weight"], [was.get(p, 0.0) for p in wanted])
    np.testing.assert_array_equal(
        optimizer.velocity["weight"], [velocity[old.index(p)] if p in was else 0 for p in wanted]
    )
    np.testing.assert_array_equal(wanted, kept)
    np.testing.assert_array_equal(layer.positions, wanted)
    assert layer.positions.dtype == np.int64
    assert layer.weight.has_canonical_format
    assert layer.weight.shape == (n_out, n_in)
    assert layer.params["bias"] is bias
    dense = np.zeros(n_out * n_in)
    dense[wanted] = layer.params["weight"]
    np.testing.assert_array_equal(layer.weight.toarray().ravel(), dense)


@given(st.integers(0, 2**32))
def test_reconnect_to_the_same_positions_changes_nothing(seed):
    layer = drawn(np.random.default_rng(seed), 5, 4, 0.5)
    values = layer.params["weight"].copy()
    source = layer.reconnect(layer.positions)
    np.testing.assert_array_equal(source, np.arange(len(values)))
    np.testing.assert_array_equal(layer.params["weight"], values)


def test_as_many_connections_take_the_same_memory_again(rng):
    layer = drawn(rng, 5, 6, 0.5)
    count = layer.weight.nnz
    optimizer = Momentum(layer, learning_rate=0.1)
    parts = [layer.weight.data, layer.weight.indices, layer.weight.indptr]
    parts += [optimizer.velocity["weight"]]
    wanted = np.sort(rng.choice(30, count, replace=False))
    optimizer.follow("weight", layer.reconnect(wanted))
    now = [layer.weight.data, layer.weight.indices, layer.weight.indptr]
    for part, again in zip(parts, [*now, optimizer.velocity["weight"]], strict=True):
        assert part is again
    np.testing.assert_array_equal(layer.positions, wanted)
    fewer = layer.reconnect(wanted[1:])
    np.testing.assert_array_equal(fewer, np.arange(1, count))
    assert layer.params["weight"] is layer.weight.data
    assert len(layer.weight.data) == count - 1


def test_what_shares_the_arrays_is_overwritten_and_a_copy_is_not():
    layer = by_hand()
    held, shared, copy = layer.weight, layer.weight.tocoo(), layer.weight.copy()
    before = copy.toarray()
    layer.reconnect(np.array([0, 1, 2]))
    assert held is layer.weight
    np.testing.assert_array_equal(held.toarray(), [[0, 2, 0], [0, 0, 0]])
    # New columns and values beside the old rows: neither the old matrix nor the new one.
    np.testing.assert_array_equal(shared.toarray(), [[0, 0, 0], [0, 2, 0]])
    np.testing.assert_array_equal(copy.toarray(), before)


@pytest.mark.parametrize("positions", [[0, 3, 5], [0, 3]])
def test_reconnect_joins_a_weight_that_was_put_in_place_to_its_parameters(positions):
    layer = by_hand()
    layer.weight = layer.weight * 2
    layer.reconnect(np.array(positions))
    assert layer.params["weight"] is layer.weight.data
    np.testing.assert_array_equal(layer.weight.toarray()[1, 0], -2)


def test_reconnect_forgets_what_belonged_to_the_old_positions():
    layer = by_hand()
    optimizer = Momentum(layer, learning_rate=0.1)
    layer.forward(np.ones((1, 3)))
    layer.backward(np.ones((1, 2)))
    layer.forward(np.ones((1, 3)))
    optimizer.follow("weight", layer.reconnect(np.array([0, 3, 5])))
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.ones((1, 2)))
    with pytest.raises(RuntimeError, match="gradients of a backward"):
        optimizer.step()
    layer.forward(np.ones((1, 3)))
    layer.backward(np.ones((1, 2)))
    optimizer.step()
    np.testing.assert_allclose(layer.params["weight"], [-0.1, -1.1, 2.9])


def test_reconnect_to_nothing_leaves_the_bias():
    layer = by_hand()
    source = layer.reconnect(np.array([], dtype=np.int64))
    assert source.shape == layer.params["weight"].shape == (0,)
    np.testing.assert_array_equal(layer.forward(np.ones((2, 3))), [[0.5, 0], [0.5, 0]])
    np.testing.assert_array_equal(layer.backward(np.ones((2, 2))), np.zeros((2, 3)))
    np.testing.assert_array_equal(layer.grads["bias"], [2, 2])
    np.testing.assert_array_equal(layer.reconnect(np.array([5])), [-1])


@pytest.mark.parametrize(
    ("positions", "error", "message"),
    [
        (np.array([3, 1]), ValueError, "strictly ascending"),
        (np.array([1, 1]), ValueError, "strictly ascending"),
        (np.array([1, 4, 3]), ValueError, "strictly ascending"),
        (np.array([2**62, -(2**62) - 1]), ValueError, "strictly ascending"),
        (np.array([[1], [2]]), ValueError, "strictly ascending"),
        (np.array(1), ValueError, "strictly ascending"),
        (np.array([-1, 2]), ValueError, "positions must be 0 to 5, got -1 to 2"),
        (np.array([1, 6]), ValueError, "positions must be 0 to 5, got 1 to 6"),
        (np.array([1, 2, 6]), ValueError, "positions must be 0 to 5, got 1 to 6"),
        (np.array([0.0, 1.0]), TypeError, "positions must be int64, got float64"),
        (np.array([5, 1], dtype=np.uint64), TypeError, "positions must be int64, got uint64"),
        (np.array([True]), TypeError, "positions must be int64, got bool"),
    ],
)
def test_reconnect_refuses_and_changes_nothing(positions, error, message):
    layer = by_hand()
    layer.forward(np.ones((1, 3)))
    weight, grads = layer.weight, layer.grads
    with pytest.raises(error, match=message):
        layer.reconnect(positions)
    assert layer.weight is weight
    assert layer.grads is grads
    assert layer.params["weight"] is weight.data
    np.testing.assert_array_equal(weight.toarray(), [[0, 2, 0], [-1, 0, 3]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 10.0]])), [[-10, 2, 30]])


def test_pitfall_a_conversion_shares_the_weights():
    weight = by_hand().weight
    for conversion in [coo_array(weight), weight.tocoo(), csr_array(weight), weight.T]:
        assert np.shares_memory(conversion.data, weight.data)
    for copy in [weight.copy(), coo_array(weight, copy=True), csr_array(weight, copy=True)]:
        assert not np.shares_memory(copy.data, weight.data)
    gradient = coo_array(weight)
    gradient.data[:] = [0.1, 0.2, 0.3]
    np.testing.assert_array_equal(weight.data, [0.1, 0.2, 0.3])
    # The layer copies on the way in, so none of this can reach it from outside.
    mine = by_hand().weight
    layer = CSRLinear(mine)
    coo_array(mine).data[:] = 0
    np.testing.assert_array_equal(layer.params["weight"], [2, -1, 3])


def test_pitfall_adding_matrices_loses_connections_and_the_layer():
    layer = by_hand()
    layer.reconnect(np.array([1, 2, 3, 5]))  # (0, 2) is new and starts at 0
    step = csr_array(
        (np.array([1.0, 0, 0, 0]), layer.weight.indices, layer.weight.indptr), layer.weight.shape
    )
    moved = layer.weight - step
    np.testing.assert_array_equal(moved.toarray(), [[0, 1, 0], [-1, 0, 3]])
    assert (layer.weight.nnz, moved.nnz) == (4, 3)
    assert not np.shares_memory(moved.data, layer.weight.data)
    # Put in the weight's place, it leaves the optimiser with values that nothing reads.
    layer.weight = moved
    layer.params["weight"][:] = 100
    np.testing.assert_array_equal(layer.forward(np.ones((1, 3))), [[1.5, 2]])
    # The cure: arithmetic on the values, in place.
    layer = by_hand()
    layer.reconnect(np.array([1, 2, 3, 5]))
    layer.params["weight"] -= step.data
    assert layer.weight.nnz == 4
    np.testing.assert_array_equal(layer.weight.toarray(), moved.toarray())


def test_pitfall_toarray_in_the_training_path(rng):
    # As the page shows: the same output, and 128 MB for a layer of half a megabyte.
    n = 4000
    indices = np.arange(10 * n, dtype=np.int32) * 97 % n
    weight = csr_array((np.ones(10 * n), indices, np.arange(0, 10 * n + 1, 10)), (n, n))
    weight.sort_indices()
    layer = CSRLinear(weight)
    x = rng.standard_normal((8, n))
    np.testing.assert_allclose(layer.forward(x), x @ layer.weight.toarray().T, atol=1e-10)
    assert peak_of(lambda: x @ layer.weight.toarray().T) > 128e6
    assert peak_of(lambda: layer.forward(x)) < 1e6
    stored = layer.weight.data.nbytes + layer.weight.indices.nbytes + layer.weight.indptr.nbytes
    assert stored == 496_004


def test_the_numbers_in_the_pages_prose():
    # Bytes of training in float32: value, gradient, velocity, and an index where there is one.
    dense, csr = 3 * 4, 3 * 4 + 4
    assert dense / csr == 0.75
    assert 0.2 * (4 + 4) / 4 == 0.4
    assert 4 / (4 + 4) == 0.5
    # FLOPs of y, dx and dW at 20 % density: the last is above 8 %, and multiplied in blocks.
    assert (sampling._CROSSING, sampling._BLOCK) == (0.08, 128)
    assert module._WORTH_TWO_THREADS == 2e8
    assert round((0.2 + 0.2 + 1) / 3, 2) == 0.47
    assert 200_000**2 * 4 == 160e9
    assert round((2_000_000 * (4 + 4) + 200_001 * 4) / 1e6) == 17


@pytest.mark.parametrize(
    ("weight", "bias", "error", "message"),
    [
        (np.eye(2), None, TypeError, "weight must be a csr_array, got ndarray"),
        (csr_matrix(np.eye(2)), None, TypeError, "weight must be a csr_array, got csr_matrix"),
        (csc_array(np.eye(2)), None, TypeError, "weight must be a csr_array, got csc_array"),
        (csr_array(np.eye(2, dtype=int)), None, TypeError, "weight must be float.*, got int64"),
        (csr_array(np.eye(2) > 0), None, TypeError, "weight must be float.*, got bool"),
        (csr_array(np.eye(2) * 1j), None, TypeError, "weight must be float.*, got complex128"),
        (
            csr_array((np.ones(2, np.float16), [0, 1], [0, 1, 2]), (2, 2)),
            None,
            TypeError,
            "weight must be float32 or float64, got float16",
        ),
        (csr_array(np.ones(3)), None, ValueError, r"weight must be \(out, in\).* got \(3,\)"),
        (csr_array((0, 3)), None, ValueError, r"weight must be .* got \(0, 3\)"),
        (csr_array((3, 0)), None, ValueError, r"weight must be .* got \(3, 0\)"),
        (
            csr_array((np.ones(2), [1, 1], [0, 2]), (1, 3)),
            None,
            ValueError,
            "weight must be canonical",
        ),
        (
            csr_array((np.ones(2), [2, 1], [0, 2]), (1, 3)),
            None,
            ValueError,
            "weight must be canonical",
        ),
        (
            csr_array((np.ones(2), [0, 3], [0, 2]), (1, 3)),
            None,
            ValueError,
            "weight must have columns 0 to 2, got 0 to 3",
        ),
        (
            csr_array((np.ones(1), np.array([-1]), [0, 1]), (1, 3)),
            None,
            ValueError,
            "weight must have columns 0 to 2, got -1 to -1",
        ),
        (
            csr_array((np.ones(1), np.array([2**32]), np.array([0, 1])), (1, 3)),
            None,
            ValueError,
            "weight must have columns 0 to 2, got 4294967296",  # before a cast makes it 0
        ),
        (csr_array(np.eye(2, 4)), np.zeros(3), ValueError, r"bias must be \(2,\), got \(3,\)"),
        (csr_array(np.eye(2)), np.zeros((2, 1)), ValueError, r"bias must be \(2,\), got \(2, 1\)"),
        (csr_array(np.eye(2)), np.zeros(2, int), TypeError, "bias must be float64 .* int64"),
        (csr_array(np.eye(2)), np.zeros(2, "f4"), TypeError, "bias must be float64 .* float32"),
    ],
)
def test_bad_weight_or_bias(weight, bias, error, message):
    with pytest.raises(error, match=message):
        CSRLinear(weight, bias)


def test_positions_put_out_of_order_after_scipy_looked():
    weight = csr_array(np.array([[1.0, 0.0, 2.0]]))
    assert weight.has_canonical_format  # which SciPy remembers
    weight.indices[:] = [2, 0]
    with pytest.raises(ValueError, match="weight must be canonical"):
        CSRLinear(weight)


def test_bad_mask():
    weight, bias = np.ones((2, 3)), np.zeros(2)
    with pytest.raises(TypeError, match="mask must be bool, got float64"):
        CSRLinear.from_dense(weight, np.ones((2, 3)), bias)
    with pytest.raises(ValueError, match=r"mask must be \(2, 3\) like weight, got \(1, 3\)"):
        CSRLinear.from_dense(weight, np.ones((1, 3), bool), bias)
    with pytest.raises(TypeError, match="weight must be float32 or float64, got int64"):
        CSRLinear.from_dense(weight.astype(int), np.ones((2, 3), bool), bias)
    for shape in [(3,), (1, 2, 3)]:
        with pytest.raises(ValueError, match=r"weight must be \(out, in\), got"):
            CSRLinear.from_dense(np.ones(shape), np.ones(shape, bool), bias)


def test_bad_batches_leave_the_layer_as_it_was():
    layer = by_hand()
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.zeros((1, 2)))
    for x, error, message in [
        (np.zeros((1, 2)), ValueError, r"x must be \(N ≥ 1, 3\), got \(1, 2\)"),
        (np.zeros(3), ValueError, r"x must be \(N ≥ 1, 3\), got \(3,\)"),
        (np.zeros((0, 3)), ValueError, r"x must be \(N ≥ 1, 3\), got \(0, 3\)"),
        (np.zeros((1, 3), np.float32), TypeError, "x must be float64 .* got float32"),
        (np.zeros((1, 3), int), TypeError, "x must be float64 .* got int64"),
    ]:
        with pytest.raises(error, match=message):
            layer.forward(x)
    layer.forward(np.array([[1.0, 2.0, 3.0]]))
    for dy, error, message in [
        (np.zeros((1, 3)), ValueError, r"dy must be \(1, 2\), got \(1, 3\)"),
        (np.zeros((2, 2)), ValueError, r"dy must be \(1, 2\), got \(2, 2\)"),
        (np.zeros((1, 2), np.float32), TypeError, "dy must be float64 .* got float32"),
    ]:
        with pytest.raises(error, match=message):
            layer.backward(dy)
        assert layer.grads == {}
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 10.0]])), [[-10, 2, 30]])
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.array([[1.0, 10.0]]))
