from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov
from scipy.signal import lfilter
from scipy.sparse import csr_array
from sklearn.neural_network import MLPClassifier

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.training.momentum import Momentum, carry
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import train

both_kinds = pytest.mark.parametrize("nesterov", [False, True])


def vector(*values):
    """Something to optimise whose gradients the test sets itself."""
    return SimpleNamespace(params={"theta": np.array(values)}, grads={})


def velocities(gradients, beta):
    model = vector(0.0)
    optimizer = Momentum(model, learning_rate=1.0, beta=beta)
    seen = []
    for g in gradients:
        model.grads["theta"] = np.array([g])
        optimizer.step()
        seen.append(optimizer.velocity["theta"][0])
    return np.array(seen)


def descend(curvature, steps, start=1.0, **settings):
    """Run down ½κθ² and return the path."""
    model = vector(start)
    optimizer = Momentum(model, **settings)
    path = [start]
    for _ in range(steps):
        model.grads["theta"] = curvature * model.params["theta"]
        optimizer.step()
        path.append(model.params["theta"][0])
    return np.array(path)


def test_by_hand_velocities():
    np.testing.assert_array_equal(velocities([1.0] * 4, 0.5), [1, 1.5, 1.75, 1.875])
    np.testing.assert_array_equal(velocities([1.0, -1.0] * 2, 0.5), [1, -0.5, 0.75, -0.625])
    assert velocities([1.0] * 60, 0.5)[-1] == pytest.approx(2, rel=1e-15)
    alternating = velocities([1.0, -1.0] * 30, 0.5)
    np.testing.assert_allclose(alternating[-2:], [2 / 3, -2 / 3], rtol=1e-15)
    # The usual 0.9: ten times against about a half.
    assert velocities([1.0] * 400, 0.9)[-1] == pytest.approx(10, rel=1e-12)
    assert velocities([1.0, -1.0] * 200, 0.9)[-2] == pytest.approx(0.526, abs=0.001)


def test_by_hand_down_a_parabola():
    settings = {"start": 8.0, "learning_rate": 0.25, "beta": 0.5}
    np.testing.assert_array_equal(descend(1.0, 3, **settings), [8, 6, 3.5, 1.375])
    ahead = descend(1.0, 3, **settings, nesterov=True)
    np.testing.assert_array_equal(ahead, [8, 5, 2.625, 1.078125])
    plain = descend(1.0, 3, **{**settings, "beta": 0.0})
    np.testing.assert_array_equal(plain, [8, 6, 4.5, 3.375])


def test_published_first_steps():
    # tensorflow.org, tf.keras.optimizers.SGD, "Usage": θ²/2 from 1 with η = 0.1 and β = 0.9.
    path = descend(1.0, 2, learning_rate=0.1, beta=0.9)
    np.testing.assert_allclose(-np.diff(path), [0.1, 0.18], rtol=1e-12)


@both_kinds
def test_by_hand_with_decay_on_the_weight_and_none_on_the_bias(nesterov):
    layer = Linear(np.array([[2.0]]), np.array([4.0]))
    layer.grads = {"weight": np.array([[1.0]]), "bias": np.array([1.0])}
    optimizer = Momentum(layer, learning_rate=0.25, beta=0.5, nesterov=nesterov, weight_decay=0.5)
    optimizer.step()  # weight: g = 1 + 0.5·2 = 2 = v; bias: g = 1 = v
    np.testing.assert_array_equal(optimizer.velocity["weight"], [[2.0]])
    np.testing.assert_array_equal(optimizer.velocity["bias"], [1.0])
    np.testing.assert_array_equal(layer.params["weight"], [[1.25]] if nesterov else [[1.5]])
    np.testing.assert_array_equal(layer.params["bias"], [3.625] if nesterov else [3.75])
    np.testing.assert_array_equal(layer.grads["weight"], [[1.0]])  # read, not changed


def test_defaults_are_heavy_ball_with_nine_tenths():
    np.testing.assert_array_equal(
        descend(1.0, 5, learning_rate=0.1),
        descend(1.0, 5, learning_rate=0.1, beta=0.9, nesterov=False, weight_decay=0.0),
    )


@given(st.floats(0, 0.99), st.integers(1, 50))
def test_closed_forms_of_steady_and_alternating_gradients(beta, steps):
    t = np.arange(1, steps + 1)
    steady = velocities(np.ones(steps), beta)
    np.testing.assert_allclose(steady, (1 - beta**t) / (1 - beta), rtol=1e-12)
    signs = (-1.0) ** (t + 1)
    alternating = velocities(signs, beta)
    np.testing.assert_allclose(alternating, signs * (1 - (-beta) ** t) / (1 + beta), rtol=1e-12)


@given(st.floats(0, 0.99), st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_velocity_is_scipys_recursive_filter(beta, gradients):
    np.testing.assert_allclose(
        velocities(gradients, beta), lfilter([1], [1, -beta], gradients), rtol=1e-12, atol=1e-12
    )


@given(st.floats(0, 0.95), st.floats(0.05, 1.5))
def test_a_step_tends_to_the_rate_over_one_minus_beta(beta, learning_rate):
    for nesterov in (False, True):
        model = vector(0.0)
        model.grads["theta"] = np.array([3.0])
        optimizer = Momentum(model, learning_rate=learning_rate, beta=beta, nesterov=nesterov)
        for _ in range(700):
            before = model.params["theta"].copy()
            optimizer.step()
        step = before - model.params["theta"]
        np.testing.assert_allclose(step, 3 * learning_rate / (1 - beta), rtol=1e-8)


@given(st.floats(0, 0.95), st.floats(0.01, 1.9))
def test_heavy_ball_follows_its_second_order_recursion(beta, step):
    # What step 3 of the page derives: θ₊ = (1 + β - ηκ) θ - β θ₋, as a power of a 2 × 2 matrix.
    path = descend(2.0, 20, learning_rate=step / 2, beta=beta)
    companion = np.array([[1 + beta - step, -beta], [1, 0]])
    expected = [(np.linalg.matrix_power(companion, t) @ [1, 1])[0] for t in range(21)]
    np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_longest_stable_steps(beta):
    limits = {False: 2 * (1 + beta), True: (2 + 2 * beta) / (1 + 2 * beta)}
    for nesterov, limit in limits.items():
        settings = {"beta": beta, "nesterov": nesterov}
        # The path swings, so compare stretches, not single steps.
        stable = np.abs(descend(1.0, 4000, learning_rate=0.99 * limit, **settings))
        assert stable[-100:].max() < 1e-6
        unstable = np.abs(descend(1.0, 4000, learning_rate=1.01 * limit, **settings))
        assert unstable[-100:].max() > 1e6
    if beta:
        assert limits[True] < 2 < limits[False]
    if beta == 0.9:
        assert limits[False] == pytest.approx(3.8)
        assert limits[True] == pytest.approx(1.36, abs=0.005)


def test_a_swinging_ball_loses_the_same_share_in_every_direction():
    for curvature in (1.0, 30.0, 100.0):
        path = np.abs(descend(curvature, 400, learning_rate=0.012))
        share = (path[350:400].max() / path[250:300].max()) ** (1 / 100)
        assert share == pytest.approx(np.sqrt(0.9), abs=0.003)


def test_the_best_settings_in_a_narrow_valley_as_polyak_states_them():
    # Curvatures 1 and 100. Plain: η = 2/(1 + 100) keeps (100 - 1)/(100 + 1) of the distance.
    # Heavy ball: √η = 2/(√1 + √100) and √β = (√100 - √1)/(√100 + √1) keep √β.
    plain = {"learning_rate": 2 / 101, "beta": 0.0}
    heavy = {"learning_rate": (2 / 11) ** 2, "beta": (9 / 11) ** 2}
    for settings, kept, stated in (plain, 99 / 101, 0.98), (heavy, 9 / 11, 0.82):
        assert kept == pytest.approx(stated, abs=0.005)
        for curvature in (1.0, 100.0):
            rate, beta = settings["learning_rate"], settings["beta"]
            roots = np.roots([1, -(1 + beta - rate * curvature), beta])
            assert np.abs(roots).max() == pytest.approx(kept, rel=1e-6)
            path = np.abs(descend(curvature, 300, **settings))
            assert (path[300] / path[200]) ** (1 / 100) == pytest.approx(kept, abs=0.005)


@given(st.floats(0.0, 0.95), st.floats(0.01, 0.5), st.floats(0.1, 2))
def test_nesterov_is_heavy_ball_seen_from_one_step_ahead(beta, learning_rate, curvature):
    # The book's form: the velocity moves u, and the gradient is taken at u - ηβv.
    u, v, ahead = 1.0, 0.0, [1.0]
    for _ in range(15):
        v = beta * v + curvature * (u - learning_rate * beta * v)
        u -= learning_rate * v
        ahead.append(u - learning_rate * beta * v)
    path = descend(curvature, 15, learning_rate=learning_rate, beta=beta, nesterov=True)
    np.testing.assert_allclose(path, ahead, rtol=1e-9, atol=1e-12)


@both_kinds
def test_without_memory_it_is_plain_descent(rng, nesterov):
    weight, x = rng.standard_normal((3, 4)), rng.standard_normal((6, 4))
    plain, ours = Linear(weight), Linear(weight)
    optimizers = [
        StochasticGradientDescent(plain, learning_rate=0.03, weight_decay=0.1),
        Momentum(ours, learning_rate=0.03, beta=0.0, nesterov=nesterov, weight_decay=0.1),
    ]
    for _ in range(5):
        for optimizer in optimizers:
            optimizer.network.backward(optimizer.network.forward(x))
            optimizer.step()
    np.testing.assert_array_equal(plain.params["weight"], ours.params["weight"])
    np.testing.assert_array_equal(plain.params["bias"], ours.params["bias"])


@both_kinds
def test_matches_scikit_learn_for_ten_steps(rng, nesterov):
    x, labels = rng.standard_normal((30, 5)), rng.integers(3, size=30)
    settings = {
        "hidden_layer_sizes": (7,),
        "activation": "tanh",
        "solver": "sgd",
        "alpha": 0.6,
        "batch_size": 30,
        "shuffle": False,
        "momentum": 0.8,
        "nesterovs_momentum": nesterov,
        "random_state": 0,
    }
    theirs = MLPClassifier(learning_rate_init=0.1, **settings)
    for _ in range(10):
        theirs.partial_fit(x, labels, classes=[0, 1, 2])
    # The same first weights, from one whose step is too short to change them.
    start = MLPClassifier(learning_rate_init=1e-300, **settings)
    start.partial_fit(x, labels, classes=[0, 1, 2])
    first, last = (Linear(w.T, b) for w, b in zip(start.coefs_, start.intercepts_, strict=True))
    network, criterion = Sequential([first, Activation(tanh), last]), CrossEntropy()
    optimizer = Momentum(
        network, learning_rate=0.1, beta=0.8, nesterov=nesterov, weight_decay=0.6 / 30
    )
    for _ in range(10):
        criterion.forward(network.forward(x), labels)
        network.backward(criterion.backward())
        optimizer.step()
    for layer, weight, bias in zip((first, last), theirs.coefs_, theirs.intercepts_, strict=True):
        np.testing.assert_allclose(layer.params["weight"], weight.T, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.params["bias"], bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@both_kinds
def test_arrays_are_updated_in_place_and_keep_their_type(rng, nesterov, dtype):
    network = Sequential([Linear(rng.standard_normal((2, 3)).astype(dtype)), Activation(tanh)])
    optimizer = Momentum(network, learning_rate=0.1, nesterov=nesterov, weight_decay=0.1)
    params, kept = network.params, {k: p.copy() for k, p in network.params.items()}
    velocity = dict(optimizer.velocity)
    for _ in range(2):
        network.backward(network.forward(rng.standard_normal((5, 3)).astype(dtype)))
        optimizer.step()
    for name, theta in network.params.items():
        assert theta is params[name]
        assert optimizer.velocity[name] is velocity[name]
        assert theta.dtype == velocity[name].dtype == dtype
        assert velocity[name].shape == theta.shape
        assert (theta != kept[name]).all()


def test_the_learning_rate_may_change_between_steps():
    model = vector(0.0)
    model.grads["theta"] = np.array([1.0])
    optimizer = Momentum(model, learning_rate=0.5, beta=0.5)
    optimizer.step()
    optimizer.learning_rate = 0.25  # acts on the whole velocity at once
    optimizer.step()
    assert model.params["theta"][0] == -0.5 - 0.25 * 1.5


def test_follow_by_hand():
    optimizer = Momentum(vector(1.0, 2.0, 3.0), learning_rate=0.1)
    optimizer.velocity["theta"][:] = [10.0, 20.0, 30.0]
    optimizer.follow("theta", np.array([2, -1, 0, -1]))
    np.testing.assert_array_equal(optimizer.velocity["theta"], [30.0, 0.0, 10.0, 0.0])
    optimizer.follow("theta", np.array([], dtype=np.int64))
    assert optimizer.velocity["theta"].shape == (0,)
    optimizer.follow("theta", np.array([-1, -1]))  # from no connection at all to two
    np.testing.assert_array_equal(optimizer.velocity["theta"], [0.0, 0.0])


def test_follow_keeps_the_type():
    model = SimpleNamespace(params={"theta": np.ones(2, np.float32)}, grads={})
    optimizer = Momentum(model, learning_rate=0.1)
    optimizer.velocity["theta"][:] = [1, 2]
    optimizer.follow("theta", np.array([1, -1], dtype=np.int32))
    np.testing.assert_array_equal(optimizer.velocity["theta"], np.array([2, 0], np.float32))
    assert optimizer.velocity["theta"].dtype == np.float32


@given(st.permutations(range(5)), st.booleans())
def test_moving_positions_changes_nothing_when_told(order, nesterov):
    curvature, start = np.arange(1.0, 6.0), np.array([3.0, -1.0, 4.0, -1.5, 5.0])
    order = np.array(order)

    def run(move):
        model, k = vector(*start), curvature
        optimizer = Momentum(model, learning_rate=0.1, nesterov=nesterov)
        for step in range(6):
            if move and step == 3:
                model.params["theta"] = model.params["theta"][order]
                k = k[order]
                optimizer.follow("theta", order)
            model.grads["theta"] = k * model.params["theta"]
            optimizer.step()
        return model.params["theta"]

    np.testing.assert_array_equal(run(move=True), run(move=False)[order])


def rewired(tell):
    layer = CSRLinear(csr_array([[1.0, 0.0, 2.0]]))
    optimizer = Momentum(layer, learning_rate=0.1)
    layer.grads = {"weight": np.array([0.0, 5.0]), "bias": np.zeros(1)}
    optimizer.step()
    source = layer.reconnect(np.array([0, 1]))
    if tell:
        optimizer.follow("weight", source)
    layer.grads = {"weight": np.zeros(2), "bias": np.zeros(1)}
    optimizer.step()
    return layer.weight.toarray()


def test_pitfall_a_new_connection_inherits_a_dropped_ones_velocity():
    np.testing.assert_allclose(rewired(tell=False), [[1.0, -0.45, 0.0]], rtol=1e-15)
    np.testing.assert_array_equal(rewired(tell=True), [[1.0, 0.0, 0.0]])


def test_pitfall_rewound_weights_with_the_old_velocity():
    model = vector(8.0)
    model.grads["theta"] = np.array([1.0])
    optimizer = Momentum(model, learning_rate=0.1)
    for _ in range(100):
        optimizer.step()
    model.params["theta"][:] = 8.0
    model.grads["theta"][:] = 0.0
    optimizer.step()
    # v = (1 - 0.9¹⁰⁰) / 0.1, of which 0.9 survives: nine tenths of ten first steps.
    moved = 8.0 - model.params["theta"][0]
    assert moved == pytest.approx(0.1 * 0.9 * (1 - 0.9**100) / 0.1, rel=1e-12)
    model.params["theta"][:] = 8.0
    optimizer.velocity["theta"][:] = 0.0
    optimizer.step()
    assert model.params["theta"][0] == 8.0


@pytest.mark.parametrize("seed", range(3))
def test_pitfall_compared_at_the_same_learning_rate(seed):
    def last_loss(learning_rate, beta):
        rng = np.random.default_rng(seed)
        network = mlp([64, 32, 10], rng=rng)
        optimizer = Momentum(network, learning_rate=learning_rate, beta=beta)
        return train(network, optimizer, *load_digits(), epochs=8, batch_size=32, rng=rng)[-1].loss

    heavy = last_loss(0.01, beta=0.9)
    assert last_loss(0.01, beta=0.0) > 6 * heavy
    assert last_loss(0.1, beta=0.0) == pytest.approx(heavy, rel=0.05)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.99])
def test_pitfall_raising_beta_alone_raises_the_noise(rng, beta):
    # Gradient κθ plus noise of variance 1: scipy solves for the stationary covariance of (θ, v).
    rate, curvature = 0.01, 1.0
    a = np.array([[1 - rate * curvature, -rate * beta], [curvature, beta]])
    b = np.array([[-rate], [1.0]])
    variance = solve_discrete_lyapunov(a, b @ b.T)[0, 0]
    assert variance == pytest.approx(rate / (2 * (1 - beta)), rel=0.01)  # η / 2(1 - β): ×10, ×100
    model = vector(*np.zeros(500))  # many balls at once
    optimizer = Momentum(model, learning_rate=rate, beta=beta)
    for _ in range(1000):
        model.grads["theta"] = curvature * model.params["theta"] + rng.standard_normal(500)
        optimizer.step()
    assert model.params["theta"].var() == pytest.approx(variance, rel=0.2)


def test_a_rounder_valley_is_faster_without_memory():
    # The example's valley with FLAT = 10: 12 % a step against 1 - √0.9.
    def arrival(**settings):
        path = np.abs([descend(k, 600, s, **settings) for k, s in ((10.0, 10.0), (100.0, 1.0))])
        return np.flatnonzero(path.max(axis=0) >= 0.01)[-1] + 1

    plain = arrival(learning_rate=0.012, beta=0.0)
    heavy = arrival(learning_rate=0.012, beta=0.9)
    assert heavy > 2 * plain
    assert 1 - np.sqrt(0.9) == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("bad", [-0.1, 1.0, 1.5, np.nan])
def test_bad_beta(bad):
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\), got"):
        Momentum(vector(1.0), learning_rate=0.1, beta=bad)


def test_bad_rates_are_refused():
    with pytest.raises(ValueError, match="learning_rate must be"):
        Momentum(vector(1.0), learning_rate=0.0)
    with pytest.raises(ValueError, match="weight_decay must be"):
        Momentum(vector(1.0), learning_rate=0.1, weight_decay=-1.0)


def test_a_step_without_gradients_changes_nothing():
    layer = Linear(np.ones((2, 2)))
    optimizer = Momentum(layer, learning_rate=0.1)
    with pytest.raises(RuntimeError, match="gradients of a backward of the whole network"):
        optimizer.step()
    np.testing.assert_array_equal(layer.params["weight"], np.ones((2, 2)))
    np.testing.assert_array_equal(optimizer.velocity["weight"], np.zeros((2, 2)))


def test_a_gradient_of_another_shape_changes_nothing():
    params, wrong = {"a": np.ones(2), "b": np.ones(3)}, {"a": np.ones(2), "b": np.ones(1)}
    optimizer = Momentum(SimpleNamespace(params=params, grads=wrong), learning_rate=0.1)
    with pytest.raises(RuntimeError, match=r"the gradient of b must be \(3,\), got \(1,\)"):
        optimizer.step()
    np.testing.assert_array_equal(params["a"], [1, 1])
    np.testing.assert_array_equal(optimizer.velocity["a"], [0, 0])


def test_a_sparse_gradient_is_refused_and_changes_nothing():
    # Every row moves by its velocity, those without a gradient too: nothing would be saved.
    params = {"a": np.ones(2), "weight": np.ones((3, 2))}
    grads = {"a": np.ones(2), "weight": csr_array(np.array([[0, 0], [1.0, 1.0], [0, 0]]))}
    optimizer = Momentum(SimpleNamespace(params=params, grads=grads), learning_rate=0.1)
    with pytest.raises(RuntimeError, match="weight must be dense for Momentum, got a csr_array"):
        optimizer.step()
    np.testing.assert_array_equal(params["a"], [1, 1])
    np.testing.assert_array_equal(params["weight"], np.ones((3, 2)))
    np.testing.assert_array_equal(optimizer.velocity["a"], [0, 0])


def test_a_stale_velocity_of_another_size_changes_nothing():
    model = SimpleNamespace(params={"a": np.ones(2), "b": np.ones(2)}, grads={})
    optimizer = Momentum(model, learning_rate=0.1)
    model.params["b"] = np.ones(3)
    model.grads = {"a": np.ones(2), "b": np.ones(3)}
    with pytest.raises(RuntimeError, match="velocity of b is stale: call follow"):
        optimizer.step()
    np.testing.assert_array_equal(model.params["a"], [1, 1])
    np.testing.assert_array_equal(optimizer.velocity["a"], [0, 0])
    optimizer.follow("b", np.array([0, 1, -1]))
    optimizer.step()
    np.testing.assert_array_equal(model.params["b"], [0.9, 0.9, 0.9])


def test_carry_moves_vectors_in_place_and_rebinds_only_where_sizes_change():
    kept = {"same": np.array([1.0, 2.0, 3.0]), "other": np.array([1.0, 2.0], np.float32)}
    array = kept["same"]
    carry(kept, "same", np.array([2, -1, 0]))
    assert kept["same"] is array
    np.testing.assert_array_equal(array, [3, 0, 1])
    carry(kept, "other", np.array([1, -1, 0]))
    np.testing.assert_array_equal(kept["other"], np.array([2, 0, 1], np.float32))
    assert kept["other"].dtype == np.float32


def test_bad_follow_changes_nothing():
    model = SimpleNamespace(params={"flat": np.ones(3), "square": np.ones((2, 2))}, grads={})
    optimizer = Momentum(model, learning_rate=0.1)
    optimizer.velocity["flat"][:] = [1, 2, 3]
    for name in ("square", "unknown"):
        with pytest.raises(ValueError, match="name must be one of the vectors that are kept, got"):
            optimizer.follow(name, np.array([0]))
    for source in (np.array([0, 3]), np.array([-2, 0])):
        with pytest.raises(ValueError, match="source must hold -1 or positions below 3"):
            optimizer.follow("flat", source)
    for source in (np.array([[0, 1]]), np.array([0.0, 1.0]), np.array([True, False, True])):
        with pytest.raises(ValueError, match="source must be a vector of integers"):
            optimizer.follow("flat", source)
    np.testing.assert_array_equal(optimizer.velocity["flat"], [1, 2, 3])
