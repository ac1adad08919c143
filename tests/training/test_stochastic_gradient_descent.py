from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_array
from sklearn.linear_model import SGDRegressor

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches

TARGETS = np.array([1.0, 3.0, 5.0, 7.0])  # the page's four samples
PAIRS = [list(pair) for pair in combinations(range(4), 2)]


def one_parameter(theta):
    return SimpleNamespace(params={"theta": np.array([theta])}, grads={})


def gradient(network, batch):
    """Fill the gradient of the mean of (θ - t)² / 2 over a batch of the page's samples."""
    network.grads["theta"] = network.params["theta"] - TARGETS[batch].mean()
    return network.grads["theta"][0]


def two_layers(rng, dtype=np.float64):
    return Sequential(
        [
            Linear(rng.standard_normal((4, 3)).astype(dtype)),
            Activation(tanh),
            Linear(rng.standard_normal((2, 4)).astype(dtype)),
        ]
    )


def test_by_hand_the_six_batches_and_one_epoch():
    network = one_parameter(0.0)
    gradients = [gradient(network, pair) for pair in PAIRS]
    assert gradients == [-2, -3, -4, -4, -5, -6]
    assert gradient(network, slice(None)) == np.mean(gradients) == -4
    assert np.var(TARGETS) == 5
    assert np.var(gradients) == pytest.approx(5 / 3, rel=1e-15)

    optimizer = StochasticGradientDescent(network, learning_rate=0.5)
    optimizer.step()
    assert network.params["theta"][0] == 2  # with all four samples, whose gradient came last
    network.params["theta"][:] = 0
    assert gradient(network, [0, 1]) == -2
    optimizer.step()
    assert network.params["theta"][0] == 1
    assert gradient(network, [2, 3]) == -5
    optimizer.step()
    assert network.params["theta"][0] == 3.5
    network.params["theta"][:] = 0
    for pair in [2, 3], [0, 1]:
        gradient(network, pair)
        optimizer.step()
    assert network.params["theta"][0] == 2.5


def test_by_hand_a_linear_layer_with_and_without_decay():
    x, dy = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0], [2.0]])
    for weight_decay, weight in [(0.0, [[0.9, -2.4]]), (0.5, [[0.85, -2.3]])]:
        layer = Linear(np.array([[1.0, -2.0]]), np.array([3.0]))
        layer.forward(x)
        layer.backward(dy)
        np.testing.assert_array_equal(layer.grads["weight"], [[1.0, 4.0]])
        np.testing.assert_array_equal(layer.grads["bias"], [3.0])
        StochasticGradientDescent(layer, learning_rate=0.1, weight_decay=weight_decay).step()
        np.testing.assert_allclose(layer.params["weight"], weight, rtol=1e-15)
        np.testing.assert_allclose(layer.params["bias"], [2.7], rtol=1e-15)  # never decayed
        np.testing.assert_array_equal(layer.grads["weight"], [[1.0, 4.0]])  # read, not changed


def test_published_single_step():
    # keras/src/optimizers/sgd_test.py, test_single_step.
    model = SimpleNamespace(params={"theta": np.array([1.0, 2, 3, 4])}, grads={})
    model.grads["theta"] = np.array([1.0, 6, 7, 2])
    StochasticGradientDescent(model, learning_rate=0.5).step()
    np.testing.assert_array_equal(model.params["theta"], [0.5, -1.0, -0.5, 3.0])


@given(st.floats(0.1, 10), st.floats(0.01, 0.3), st.integers(0, 20))
def test_closed_form_on_a_quadratic(curvature, learning_rate, steps):
    network = one_parameter(3.0)
    optimizer = StochasticGradientDescent(network, learning_rate=learning_rate)
    for _ in range(steps):
        network.grads["theta"] = curvature * network.params["theta"]
        optimizer.step()
    expected = 3 * (1 - learning_rate * curvature) ** steps
    np.testing.assert_allclose(network.params["theta"], expected, rtol=1e-9, atol=1e-12)


@given(st.floats(0, 2), st.floats(0.01, 0.4), st.integers(0, 20))
def test_decay_alone_shrinks_weights_geometrically_and_leaves_biases(decay, rate, steps):
    layer = Linear(np.array([[2.0, -4.0]]), np.array([5.0]))
    layer.grads = {"weight": np.zeros((1, 2)), "bias": np.zeros(1)}
    optimizer = StochasticGradientDescent(layer, learning_rate=rate, weight_decay=decay)
    for _ in range(steps):
        optimizer.step()
    shrunk = (1 - rate * decay) ** steps
    np.testing.assert_allclose(layer.params["weight"], [[2 * shrunk, -4 * shrunk]], rtol=1e-12)
    np.testing.assert_array_equal(layer.params["bias"], [5.0])


def test_the_learning_rate_may_change_between_steps():
    network = one_parameter(1.0)
    network.grads["theta"] = np.array([1.0])
    optimizer = StochasticGradientDescent(network, learning_rate=0.5)
    optimizer.step()
    optimizer.learning_rate = 0.25
    optimizer.step()
    assert network.params["theta"][0] == 0.25


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_matches_scikit_learn_sample_by_sample(rng, decay):
    x = rng.standard_normal((40, 3))
    targets = x @ [1.0, -2.0, 0.5] + 0.7 + rng.standard_normal(40)
    theirs = SGDRegressor(
        penalty="l2" if decay else None,
        alpha=decay or 1e-4,
        learning_rate="constant",
        eta0=0.05,
        shuffle=False,
        max_iter=1,
        tol=None,
    ).fit(x, targets)
    layer = Linear(np.zeros((1, 3)))
    optimizer = StochasticGradientDescent(layer, learning_rate=0.05, weight_decay=decay)
    for n in range(40):
        y = layer.forward(x[n : n + 1])
        layer.backward(y - targets[n])
        optimizer.step()
    np.testing.assert_allclose(layer.params["weight"][0], theirs.coef_, rtol=1e-10)
    np.testing.assert_allclose(layer.params["bias"], theirs.intercept_, rtol=1e-10)


def test_arrays_are_updated_in_place(rng):
    network = two_layers(rng)
    arrays, kept = network.params, {k: p.copy() for k, p in network.params.items()}
    network.backward(network.forward(rng.standard_normal((5, 3))))
    StochasticGradientDescent(network, learning_rate=0.1, weight_decay=0.5).step()
    for name, theta in network.params.items():
        assert theta is arrays[name]
        # In a stack the names are "0.weight", "0.bias" and so on: decay has to find the weights.
        gradient = network.grads[name] + (
            0.5 * kept[name] if name in ("0.weight", "2.weight") else 0
        )
        np.testing.assert_allclose(theta, kept[name] - 0.1 * gradient, rtol=1e-14)
        assert (theta != kept[name]).all()


def test_a_sparse_layer_is_trained_through_its_values(rng):
    weight = csr_array(np.array([[1.0, 0, 2.0], [0, 3.0, 0]]))
    layer = CSRLinear(weight)
    layer.grads = {"weight": np.array([10.0, 20.0, 30.0]), "bias": np.zeros(2)}
    StochasticGradientDescent(layer, learning_rate=0.1, weight_decay=1.0).step()
    np.testing.assert_allclose(
        layer.weight.toarray(), [[-0.1, 0, -0.2], [0, -0.3, 0]], rtol=0, atol=1e-15
    )


def test_float32_stays(rng):
    network = two_layers(rng, np.float32)
    network.backward(network.forward(rng.standard_normal((5, 3), dtype=np.float32)))
    StochasticGradientDescent(network, learning_rate=0.1, weight_decay=0.1).step()
    assert {theta.dtype for theta in network.params.values()} == {np.dtype(np.float32)}


def test_follow_has_nothing_to_carry():
    network = one_parameter(1.0)
    network.grads["theta"] = np.array([1.0])
    optimizer = StochasticGradientDescent(network, learning_rate=0.5)
    optimizer.follow("theta", np.array([-1]))
    assert network.params["theta"][0] == 1
    optimizer.step()
    assert network.params["theta"][0] == 0.5


@given(st.integers(1, 60), st.data())
def test_minibatches_deal_every_sample_once(n, data):
    size = data.draw(st.integers(1, n))
    batches = list(minibatches(n, size, rng=np.random.default_rng(n)))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches[-1]) == (n % size or size)


def test_minibatches_repeat_with_the_seed_and_differ_between_epochs():
    def epochs(seed):
        rng = np.random.default_rng(seed)
        return [np.concatenate(list(minibatches(50, 8, rng=rng))) for _ in range(2)]

    first, second = epochs(0)
    np.testing.assert_array_equal([first, second], epochs(0))
    assert (first != second).any()
    assert (first != epochs(1)[0]).any()
    assert (first != np.arange(50)).any()


def test_every_ordered_pair_is_equally_likely(rng):
    counts = np.zeros((5, 5))
    for _ in range(10_000):
        first, second = next(minibatches(5, 2, rng=rng))
        counts[first, second] += 1
    assert (np.diag(counts) == 0).all()
    assert stats.chisquare(counts[~np.eye(5, dtype=bool)]).pvalue > 0.01


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_every_possible_batch_is_right_on_average_with_the_stated_variance(rng, size):
    x, dy = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    layer = Linear(rng.standard_normal((2, 3)))

    def of(batch):
        layer.forward(x[batch])
        layer.backward(dy[batch] / len(batch))
        return layer.grads["weight"]

    exact = of(list(range(6)))
    single = np.array([of([n]) for n in range(6)])
    all_batches = np.array([of(list(batch)) for batch in combinations(range(6), size)])
    np.testing.assert_allclose(all_batches.mean(axis=0), exact, atol=1e-14)
    expected = single.var(axis=0) / size * (6 - size) / 5
    np.testing.assert_allclose(all_batches.var(axis=0), expected, atol=1e-14)


def test_noise_on_digits_falls_with_the_root_of_the_batch(rng):
    x, labels = load_digits()
    network, criterion = Linear(np.zeros((10, 64), np.float32)), CrossEntropy()

    def of(batch):
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        return network.grads["weight"]

    exact = of(np.arange(len(x)))
    noise = {}
    for size in (4, 16, 64):
        batches = [next(minibatches(len(x), size, rng=rng)) for _ in range(400)]
        noise[size] = np.sqrt(np.mean([((of(batch) - exact) ** 2).sum() for batch in batches]))
    assert noise[4] / noise[16] == pytest.approx(2, rel=0.03)
    assert noise[16] / noise[64] == pytest.approx(2, rel=0.05)


def test_a_constant_learning_rate_keeps_jittering(rng):
    # Batches drawn independently: the stationary variance is η / (2 - η) · 5/3, for 0.5 it is 5/9.
    network = one_parameter(4.0)
    optimizer = StochasticGradientDescent(network, learning_rate=0.5)
    path = []
    for _ in range(20_000):
        gradient(network, next(minibatches(4, 2, rng=rng)))
        optimizer.step()
        path.append(network.params["theta"][0])
    assert np.mean(path) == pytest.approx(4, abs=0.03)
    assert np.var(path) == pytest.approx(5 / 9, rel=0.04)
    assert np.sqrt(5 / 9) == pytest.approx(0.75, abs=0.005)


def one_epoch(x, labels, batches, learning_rate):
    network, criterion = Linear(np.zeros((10, 64), np.float32)), CrossEntropy()
    optimizer = StochasticGradientDescent(network, learning_rate=learning_rate)
    for batch in batches:
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        optimizer.step()
    logits = network.forward(x)
    return logits.argmax(axis=1), criterion.forward(logits, labels)


def test_pitfall_data_sorted_by_class(rng):
    x, labels = load_digits()
    by_class = np.argsort(labels, kind="stable")
    in_order = [by_class[i : i + 32] for i in range(0, len(x), 32)]
    answers, _ = one_epoch(x, labels, in_order, 0.5)
    assert (answers == 9).all()
    # Most batches look learned: they hold the class of the batch before.
    network, criterion = Linear(np.zeros((10, 64), np.float32)), CrossEntropy()
    optimizer, losses = StochasticGradientDescent(network, learning_rate=0.5), []
    for batch in in_order:
        losses.append(criterion.forward(network.forward(x[batch]), labels[batch]))
        network.backward(criterion.backward())
        optimizer.step()
    assert np.median(losses) < 0.1
    answers, _ = one_epoch(x, labels, minibatches(len(x), 32, rng=rng), 0.5)
    assert (answers == labels).mean() > 0.8
    # The cure is the shuffling alone: dealing sorted data does as well.
    answers, _ = one_epoch(x[by_class], labels[by_class], minibatches(len(x), 32, rng=rng), 0.5)
    assert (answers == labels[by_class]).mean() > 0.8


def test_pitfall_a_larger_batch_with_the_old_learning_rate(rng):
    x, labels = load_digits()

    def loss(size, learning_rate):
        return one_epoch(x, labels, minibatches(len(x), size, rng=rng), learning_rate)[1]

    small = loss(16, 0.01)
    assert small == pytest.approx(2.1, abs=0.05)
    assert loss(256, 0.01) == pytest.approx(2.3, abs=0.05)
    assert loss(256, 0.16) == pytest.approx(small, abs=0.02)
    assert loss(256, 8.0) > 10


@pytest.mark.parametrize("seed", range(5))
def test_the_best_batch_depends_on_the_learning_rate(seed):
    rng = np.random.default_rng(seed)
    x, labels, *_ = stratified_split(*load_digits(), rng=rng)

    def loss(size, learning_rate):
        return one_epoch(x, labels, minibatches(len(x), size, rng=rng), learning_rate)[1]

    assert loss(16, 0.05) > 3 * loss(1, 0.05)
    assert loss(1, 2.0) > 1.5 * loss(16, 2.0)


def test_pitfall_a_new_array_in_a_fresh_dictionary_is_lost(rng):
    network = Sequential([Linear(np.array([[1.0]]))])
    network.params["0.weight"] = network.params["0.weight"] - 0.5
    np.testing.assert_array_equal(network.params["0.weight"], [[1.0]])
    weight = network.params["0.weight"]
    weight -= 0.5
    np.testing.assert_array_equal(network.params["0.weight"], [[0.5]])


@pytest.mark.parametrize("bad", [0.0, -0.1, np.inf, np.nan])
def test_bad_learning_rate(bad):
    with pytest.raises(ValueError, match="learning_rate must be above 0 and finite, got"):
        StochasticGradientDescent(one_parameter(1.0), learning_rate=bad)


@pytest.mark.parametrize("bad", [-0.1, np.inf, np.nan])
def test_bad_weight_decay(bad):
    with pytest.raises(ValueError, match="weight_decay must be 0 or above and finite, got"):
        StochasticGradientDescent(one_parameter(1.0), learning_rate=0.1, weight_decay=bad)


def test_bad_batches_are_refused_at_once_and_draw_nothing(rng):
    state = rng.bit_generator.state
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        minibatches(0, 1, rng=rng)
    with pytest.raises(ValueError, match="batch_size must be 1 to 4, got 0"):
        minibatches(4, 0, rng=rng)
    with pytest.raises(ValueError, match="batch_size must be 1 to 4, got 5"):
        minibatches(4, 5, rng=rng)
    assert rng.bit_generator.state == state
    assert [len(batch) for batch in minibatches(4, 4, rng=rng)] == [4]
    assert [len(batch) for batch in minibatches(1, 1, rng=rng)] == [1]
