import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import zscore
from sklearn.preprocessing import StandardScaler

from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.forward_pass import Sequential, evaluating
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.training.batch_norm import BatchNorm
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

HAND = np.array([[1.0], [3.0], [4.0], [5.0], [7.0]])
# Coarse steps, so that no feature's variance is near epsilon, unless it is 0.
batches = arrays(np.float64, (5, 3), elements=st.integers(-40, 40).map(lambda i: i / 4))


def moved(features, rng, **settings):
    """Give a layer in which no scale, shift or running average is what it started from."""
    norm = BatchNorm(features, dtype=np.float64, **settings)
    norm.params["scale"][:] = rng.uniform(0.5, 2, features)
    norm.params["shift"][:] = rng.standard_normal(features)
    norm.running_mean[:] = rng.standard_normal(features)
    norm.running_variance[:] = rng.uniform(0.5, 2, features)
    return norm


def test_by_hand():
    norm = BatchNorm(1, dtype=np.float64, epsilon=1e-14)
    np.testing.assert_allclose(norm.forward(HAND)[:, 0], [-1.5, -0.5, 0, 0.5, 1.5], rtol=1e-12)
    # From 0 and 1, a tenth of the way to the mean and to the unbiased variance, 20 / 4.
    np.testing.assert_allclose(norm.running_mean, [0.4], rtol=1e-12)
    np.testing.assert_allclose(norm.running_variance, [1.4], rtol=1e-12)
    dx = norm.backward(np.array([[1.0], [0], [0], [0], [0]]))
    np.testing.assert_allclose(dx[:, 0], [0.175, -0.175, -0.1, -0.025, 0.125], rtol=1e-12)
    np.testing.assert_allclose(norm.grads["scale"], [-1.5], rtol=1e-12)
    np.testing.assert_array_equal(norm.grads["shift"], [1])
    norm.params["scale"][:], norm.params["shift"][:] = 2, 10
    np.testing.assert_allclose(norm.forward(HAND)[:, 0], [7, 9, 10, 11, 13], rtol=1e-12)
    norm.training = False
    norm.running_mean[:], norm.running_variance[:] = 3, 16
    np.testing.assert_allclose(norm.forward(HAND[-1:]), [[2 * (7 - 3) / 4 + 10]], rtol=1e-12)
    np.testing.assert_allclose(norm.backward(np.array([[1.0]])), [[2 / 4]], rtol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_gradient_alone_and_in_a_stack(rng, training):
    x = 3 * rng.standard_normal((5, 4)) + 2
    norm = moved(4, rng)
    assert isinstance(norm, BatchNorm)
    norm.training = training
    running = norm.running_mean.copy(), norm.running_variance.copy()
    errors = check_layer(norm, x, rng=rng)
    assert errors.keys() == {"x", "scale", "shift"}
    assert max(errors.values()) < 1e-7
    # The many forwards have moved the averages in training, and only there; what they are worth
    # then plays no part in what was checked.
    assert (norm.running_mean == running[0]).all() == (not training)
    assert (norm.running_variance == running[1]).all() == (not training)
    stack = Sequential(
        [
            Linear(rng.standard_normal((3, 4)), rng.standard_normal(3)),
            moved(3, rng),
            Activation(tanh),
            Linear(rng.standard_normal((4, 3)) / 2),
            moved(4, rng),
            Linear(rng.standard_normal((2, 4)) / 2),
            Activation(tanh),
        ]
    )
    stack.layers[1].training = stack.layers[4].training = training
    errors = check_layer(stack, x, rng=rng)
    # A bias in front of a norm has no gradient in training: nothing to be relative to.
    biases = [errors.pop("0.bias"), errors.pop("3.bias")]
    assert len(errors) == 9
    assert max(errors.values()) < 1e-6
    assert training or max(biases) < 1e-6
    for i in (0, 3):
        gradient = np.abs(stack.layers[i].grads["bias"]).max()
        assert gradient < 1e-14 if training else gradient > 1e-3


def test_running_averages_have_no_say_in_training(rng):
    x, dy = rng.standard_normal((2, 6, 3))
    one, other = moved(3, rng), moved(3, rng)
    for name, theta in other.params.items():
        theta[:] = one.params[name]
    assert (one.running_mean != other.running_mean).all()
    np.testing.assert_array_equal(one.forward(x), other.forward(x))
    np.testing.assert_array_equal(one.backward(dy), other.backward(dy))


def test_backward_belongs_to_the_mode_in_which_forward_ran(rng):
    x, dy = rng.standard_normal((2, 6, 3))
    plain, switched = BatchNorm(3, dtype=np.float64), BatchNorm(3, dtype=np.float64)
    plain.forward(x)
    switched.forward(x)
    switched.training = False
    np.testing.assert_array_equal(plain.backward(dy), switched.backward(dy))


def test_matches_scipy_and_scikit_learn(rng):
    x = rng.standard_normal((50, 4)) * [1, 10, 0.1, 3] + [5, -2, 0, 100]
    norm = BatchNorm(4, momentum=1.0, epsilon=1e-14, dtype=np.float64)
    np.testing.assert_allclose(norm.forward(x), zscore(x, axis=0), rtol=1e-9, atol=1e-12)
    # With a share of 1 the averages are the last batch's: mean, and variance over N - 1.
    np.testing.assert_allclose(norm.running_mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(norm.running_variance, np.var(x, axis=0, ddof=1), rtol=1e-12)
    with evaluating(norm):
        np.testing.assert_allclose(norm.forward(x), zscore(x, axis=0, ddof=1), rtol=1e-9)
        scaler = StandardScaler().fit(x)
        norm.running_variance[:] = scaler.var_
        np.testing.assert_allclose(norm.forward(x[:1]), scaler.transform(x[:1]), rtol=1e-9)


def test_matches_the_gradients_that_the_paper_prints(rng):
    """Ioffe and Szegedy (2015), section 3, one after the other and unsimplified."""
    x, dy = rng.standard_normal((2, 7, 3))
    norm, m = moved(3, rng, epsilon=1e-3), 7
    mu, var, gamma = x.mean(axis=0), x.var(axis=0), norm.params["scale"]
    x_hat = (x - mu) / np.sqrt(var + 1e-3)
    d_hat = dy * gamma
    d_var = (d_hat * (x - mu) * -0.5 * (var + 1e-3) ** -1.5).sum(axis=0)
    d_mu = (d_hat * -1 / np.sqrt(var + 1e-3)).sum(axis=0) + d_var * (-2 * (x - mu)).sum(axis=0) / m
    d_x = d_hat / np.sqrt(var + 1e-3) + d_var * 2 * (x - mu) / m + d_mu / m
    norm.forward(x)
    np.testing.assert_allclose(norm.backward(dy), d_x, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(norm.grads["scale"], (dy * x_hat).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(norm.grads["shift"], dy.sum(axis=0), rtol=1e-12)


@given(batches, st.sampled_from([0.1, 3.0, 50.0]), st.integers(-9, 9))
def test_a_features_scale_and_offset_do_not_matter(x, factor, offset):
    norm = BatchNorm(3, epsilon=1e-12, dtype=np.float64)
    y = norm.forward(x)
    np.testing.assert_allclose(norm.forward(factor * x + offset), y, atol=1e-6)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    varies = np.ptp(x, axis=0) > 0
    np.testing.assert_allclose(y.var(axis=0), varies.astype(float), atol=1e-6)
    assert not y[:, ~varies].any()


@given(batches, batches, st.permutations(range(5)))
def test_the_gradient_asks_for_no_shift_and_no_stretch_of_a_column(x, dy, order):
    norm = BatchNorm(3, epsilon=1e-12, dtype=np.float64)
    y = norm.forward(x)
    dx = norm.backward(dy)
    # Relative to what a constant column makes of dy, which is large: 1 / sqrt(epsilon).
    unit = np.maximum(np.abs(dx).max(axis=0), 1)
    np.testing.assert_allclose(dx.sum(axis=0) / unit, 0, atol=1e-9)
    np.testing.assert_allclose((dx * y).sum(axis=0) / unit, 0, atol=1e-9)
    np.testing.assert_allclose(norm.forward(x[order]), y[order], atol=1e-6)
    np.testing.assert_allclose(norm.backward(dy[order]) / unit, dx[order] / unit, atol=1e-6)


def test_epsilon_is_added_to_the_variance():
    norm = BatchNorm(1, epsilon=5.0, dtype=np.float64)
    np.testing.assert_allclose(norm.forward(HAND)[:, 0], [-1, -1 / 3, 0, 1 / 3, 1])
    with evaluating(norm):
        norm.running_variance[:] = 4
        norm.running_mean[:] = 4
        np.testing.assert_allclose(norm.forward(HAND)[:, 0], [-1, -1 / 3, 0, 1 / 3, 1])
    constant = BatchNorm(1, dtype=np.float64)
    np.testing.assert_array_equal(constant.forward(np.full((4, 1), 7.0)), 0)


def test_running_averages_fade_by_a_power(rng):
    norm = BatchNorm(2, momentum=0.2, dtype=np.float64)
    mean, variance = norm.running_mean, norm.running_variance
    seen = [rng.standard_normal((n, 2)) * 3 + 1 for n in (4, 5, 6, 2)]
    for x in seen:
        norm.forward(x)
    weights = [0.2 * 0.8**age for age in (3, 2, 1, 0)]
    means = sum(w * x.mean(axis=0) for w, x in zip(weights, seen, strict=True))
    spreads = sum(w * np.var(x, axis=0, ddof=1) for w, x in zip(weights, seen, strict=True))
    np.testing.assert_allclose(norm.running_mean, means, rtol=1e-12)
    np.testing.assert_allclose(norm.running_variance, 0.8**4 + spreads, rtol=1e-12)
    # In place: whoever holds the arrays sees the change.
    assert mean is norm.running_mean
    assert variance is norm.running_variance


def test_the_running_variance_is_right_on_average_and_the_batchs_is_too_small(rng):
    norm = BatchNorm(2000, momentum=1.0, dtype=np.float64)
    x = 2 * rng.standard_normal((5, 2000))
    norm.forward(x)
    assert norm.running_variance.mean() == pytest.approx(4, abs=0.2)
    assert x.var(axis=0).mean() == pytest.approx(4 * 4 / 5, abs=0.2)


def test_in_use_it_folds_into_the_linear_layer_before(rng):
    linear, norm = Linear(rng.standard_normal((3, 4)), rng.standard_normal(3)), moved(3, rng)
    norm.training = False
    factor = norm.params["scale"] / np.sqrt(norm.running_variance + 1e-5)
    bias = (linear.params["bias"] - norm.running_mean) * factor + norm.params["shift"]
    folded = Linear(linear.params["weight"] * factor[:, None], bias)
    x = rng.standard_normal((6, 4))
    np.testing.assert_allclose(folded.forward(x), norm.forward(linear.forward(x)), rtol=1e-10)


def test_the_type_stays():
    for dtype in (np.float32, np.float64):
        norm = BatchNorm(3, dtype=dtype, momentum=np.float64(0.1), epsilon=np.float64(1e-5))
        kept = []
        for training in (True, False):
            norm.training = training
            x = np.arange(12, dtype=dtype).reshape(4, 3)
            kept += [norm.forward(x), norm.backward(x), *norm.grads.values()]
        kept += [*norm.params.values(), norm.running_mean, norm.running_variance]
        assert {array.dtype for array in kept} == {np.dtype(dtype)}
    assert norm.grads["scale"].shape == norm.grads["shift"].shape == (3,)
    assert BatchNorm(3).params["scale"].dtype == np.float32


def test_forward_and_backward_leave_what_they_are_given(rng):
    x, dy = rng.standard_normal((2, 5, 3))
    kept = x.copy(), dy.copy()
    for training in (True, False):
        norm = moved(3, rng)
        norm.training = training
        averages = norm.running_mean.copy(), norm.running_variance.copy()
        y = norm.forward(x)
        before = y.copy()
        norm.backward(dy)
        np.testing.assert_array_equal([x, dy], kept)
        np.testing.assert_array_equal(y, before)
        assert training or (averages[0] == norm.running_mean).all()
        assert training or (averages[1] == norm.running_variance).all()


def deep(seed, depth, normed, *, learning_rate, beta=0.0, epochs=5):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    layers, n_in = [], 64
    for _ in range(depth):
        layers.append(Linear(he_normal(n_in, 32, rng=rng)))
        layers += [BatchNorm(32)] * normed + [Activation(relu)]
        n_in = 32
    network = Sequential([*layers, Linear(he_normal(32, 10, rng=rng))])
    optimizer = Momentum(network, learning_rate=learning_rate, beta=beta)
    train(network, optimizer, x, labels, epochs=epochs, batch_size=32, rng=rng)
    return accuracy(network, x_test, labels_test)


def test_a_deep_stack_bears_a_large_rate_only_with_batch_norm():
    for seed in (0, 300, 301, 302):
        assert deep(seed, 8, False, learning_rate=0.3) < 0.5
        assert deep(seed, 8, True, learning_rate=0.3) > 0.7


def test_where_nothing_is_broken_there_is_little_to_mend():
    settings = {"learning_rate": 0.01, "beta": 0.9, "epochs": 20}
    for seed in (300, 301):
        plain, normed = (deep(seed, 2, normed, **settings) for normed in (False, True))
        assert abs(plain - normed) < 0.03
        assert min(plain, normed) > 0.93


def test_the_training_loop_switches_it_and_the_last_batch_may_be_smaller(rng):
    x, labels = rng.standard_normal((11, 3)).astype(np.float32), np.arange(11) % 2
    apart = 100 + x[:1], labels[:1]  # a single sample, and far off: it must leave no trace
    norm = BatchNorm(3)
    network = Sequential([norm, Linear(np.ones((2, 3), np.float32))])
    seen, forward = [], norm.forward
    norm.forward = lambda batch: (seen.append((batch.copy(), norm.training)), forward(batch))[1]
    optimizer = StochasticGradientDescent(network, learning_rate=0.1)
    settings = {"epochs": 2, "batch_size": 4, "rng": rng, "validation": apart}
    train(network, optimizer, x, labels, **settings)
    assert [(len(batch), mode) for batch, mode in seen] == 2 * [
        (4, True),
        (4, True),
        (3, True),
        (1, False),
    ]
    mean, variance = np.zeros(3), np.ones(3)
    for batch, training in seen:
        if training:
            mean = 0.9 * mean + 0.1 * batch.mean(axis=0, dtype=np.float64)
            variance = 0.9 * variance + 0.1 * batch.var(axis=0, dtype=np.float64, ddof=1)
    accuracy(network, *apart)
    assert norm.training
    np.testing.assert_allclose(norm.running_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_variance, variance, rtol=1e-5)
    arrays = [*network.params.values(), *network.grads.values(), norm.running_mean]
    assert {array.dtype for array in [*arrays, norm.running_variance]} == {np.dtype(np.float32)}
    # A last batch of one is refused.
    with pytest.raises(ValueError, match="x must hold at least 2 samples in training, got 1"):
        train(network, optimizer, x, labels, epochs=1, batch_size=5, rng=rng)


def test_optimisers_update_scale_and_shift_in_place(rng):
    norm = moved(3, rng)
    held = dict(norm.params)
    before = {name: theta.copy() for name, theta in held.items()}
    norm.forward(rng.standard_normal((4, 3)))
    norm.backward(rng.standard_normal((4, 3)))
    StochasticGradientDescent(norm, learning_rate=0.1).step()
    for name, theta in held.items():
        assert norm.params[name] is theta
        np.testing.assert_allclose(theta, before[name] - 0.1 * norm.grads[name], rtol=1e-12)


def test_pitfall_training_mode_in_use():
    norm = BatchNorm(1, dtype=np.float64)
    for _ in range(100):
        norm.forward(HAND)
    assert norm.running_variance == pytest.approx(5, abs=0.001)
    answers = [norm.forward(np.array([[5.0], [other]]))[0, 0] for other in (4.0, 6.0)]
    assert answers == pytest.approx([1, -1], abs=1e-4)
    assert norm.running_variance == pytest.approx(4.145, abs=0.001)
    with evaluating(norm):
        answers = [norm.forward(np.array([[5.0], [other]]))[0, 0] for other in (4.0, 6.0)]
        assert answers[0] == answers[1] == norm.forward(np.array([[5.0]]))[0, 0]
        assert norm.running_variance == pytest.approx(4.145, abs=0.001)
    assert norm.training


def test_pitfall_a_batch_of_one(rng):
    norm = moved(2, rng)
    averages = norm.running_mean.copy(), norm.running_variance.copy()
    with pytest.raises(ValueError, match="x must hold at least 2 samples in training, got 1"):
        norm.forward(np.ones((1, 2)))
    np.testing.assert_array_equal([norm.running_mean, norm.running_variance], averages)
    with evaluating(norm):
        assert norm.forward(np.ones((1, 2))).shape == (1, 2)
    # Of two samples only the order is left.
    two = BatchNorm(1, dtype=np.float64).forward(np.array([[5.0], [9.0]]))
    np.testing.assert_allclose(two, [[-1], [1]], atol=1e-5)


def test_pitfall_the_running_averages_are_not_ready():
    for momentum, mean in [(0.1, 10 * (1 - 0.9**20)), (0.01, 10 * (1 - 0.99**20))]:
        norm = BatchNorm(1, momentum=momentum, dtype=np.float64)
        for _ in range(20):
            norm.forward(np.array([[9.0], [11.0]]))
        assert norm.running_mean == pytest.approx(mean, rel=1e-12)
    # What a share of 0.001 leaves of the first values after the example's 200 batches.
    norm = BatchNorm(1, momentum=0.001, dtype=np.float64)
    norm.running_mean[:] = 1
    for _ in range(200):
        norm.forward(np.array([[-1.0], [1.0]]))
    assert norm.running_mean == pytest.approx(0.82, abs=0.005)


def test_pitfall_a_bias_in_front_is_useless_and_the_weights_lose_their_size(rng):
    x, dy = rng.standard_normal((8, 4)), rng.standard_normal((8, 3))
    weight, outputs, grads = rng.standard_normal((3, 4)), [], []
    for factor, bias in [(1, 0), (10, 5)]:
        linear = Linear(factor * weight, np.full(3, float(bias)))
        norm = BatchNorm(3, epsilon=1e-12, dtype=np.float64)
        outputs.append(norm.forward(linear.forward(x)))
        linear.backward(norm.backward(dy))
        grads.append(linear.grads)
        assert np.abs(linear.grads["bias"]).max() < 1e-13
        # Longer or shorter weights change nothing, so the gradient is at right angles to them.
        along = (linear.grads["weight"] * weight).sum(axis=1)
        np.testing.assert_allclose(along, 0, atol=1e-10)
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-9)
    np.testing.assert_allclose(10 * grads[1]["weight"], grads[0]["weight"], rtol=1e-9)


def test_bad_settings():
    for features in (0, -3):
        with pytest.raises(ValueError, match=f"features must be at least 1, got {features}"):
            BatchNorm(features)
    for momentum in (0.0, -0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="momentum must be above 0 and at most 1, got"):
            BatchNorm(2, momentum=momentum)
    for epsilon in (0.0, -1e-5, np.inf, np.nan):
        with pytest.raises(ValueError, match="epsilon must be above 0 and finite, got"):
            BatchNorm(2, epsilon=epsilon)
    for dtype in (np.float16, np.int64):
        with pytest.raises(TypeError, match="dtype must be float32 or float64, got"):
            BatchNorm(2, dtype=dtype)
    assert BatchNorm(1, momentum=1.0).momentum == 1


def test_bad_batches_leave_everything_as_it_was(rng):
    norm = moved(3, rng)
    averages = norm.running_mean.copy(), norm.running_variance.copy()
    with pytest.raises(RuntimeError, match="forward first"):
        norm.backward(np.ones((4, 3)))
    with pytest.raises(TypeError, match="x must be float64 like the layer's weights, got float32"):
        norm.forward(np.ones((4, 3), np.float32))
    for shape in [(3,), (0, 3), (4, 2), (4, 1), (2, 4, 3)]:
        with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3\), got"):
            norm.forward(np.ones(shape))
    for value in (np.nan, np.inf, 1e200):
        x = np.ones((4, 3))
        x[2, 1] = value
        with pytest.raises(FloatingPointError, match="x must have a finite mean and variance"):
            norm.forward(x)
    np.testing.assert_array_equal([norm.running_mean, norm.running_variance], averages)
    x, dy = rng.standard_normal((2, 4, 3))
    norm.forward(x)
    with pytest.raises(TypeError, match="dy must be float64"):
        norm.backward(dy.astype(np.float32))
    for shape in [(3,), (1, 3), (5, 3), (4, 1)]:
        with pytest.raises(ValueError, match=r"dy must be \(4, 3\), got"):
            norm.backward(np.ones(shape))
    assert norm.grads == {}
    norm.backward(dy)
    with pytest.raises(RuntimeError, match="one for each backward"):
        norm.backward(dy)
