import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar, rosen, rosen_der
from scipy.sparse import coo_array, csc_array, csr_array

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import numerical_gradient
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.gradient_descent import (
    GradientDescent,
    Optimizer,
    descend,
    quadratic_path,
)

BOWL = np.diag([1.0, 4.0])  # the page's
START = np.array([4.0, 1.0])


def walk(rate, steps=3, start=START, hessian=BOWL):
    return descend(lambda theta: hessian @ theta, start, learning_rate=rate, steps=steps)


def some_hessian(rng, n=5):
    a = rng.standard_normal((2 * n, n))
    return a.T @ a / (2 * n)


def two_layers(rng, dtype=np.float64):
    return Sequential(
        [
            Linear(rng.standard_normal((4, 3)).astype(dtype)),
            Activation(tanh),
            Linear(rng.standard_normal((2, 4)).astype(dtype)),
        ]
    )


# The path


def test_by_hand_the_four_rates_of_the_page():
    table = {
        0.25: [(4, 1), (3, 0), (2.25, 0), (1.6875, 0)],
        0.4: [(4, 1), (2.4, -0.6), (1.44, 0.36), (0.864, -0.216)],
        0.5: [(4, 1), (2, -1), (1, 1), (0.5, -1)],
        0.6: [(4, 1), (1.6, -1.4), (0.64, 1.96), (0.256, -2.744)],
    }
    for rate, places in table.items():
        np.testing.assert_allclose(walk(rate), places, rtol=1e-14, atol=1e-14)
        closed = quadratic_path(BOWL, START, learning_rate=rate, steps=3)
        np.testing.assert_allclose(closed, places, rtol=1e-14, atol=1e-14)
        network = SimpleNamespace(params={"theta": START.copy()}, grads={})
        optimizer = GradientDescent(network, learning_rate=rate)
        for place in places[1:]:
            network.grads["theta"] = BOWL @ network.params["theta"]
            optimizer.step()
            np.testing.assert_allclose(network.params["theta"], place, rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(START, [4, 1])
    assert walk(0.25, steps=0).tolist() == [[4, 1]]


@given(
    arrays(np.float64, (4, 4), elements=st.floats(-2, 2)),
    arrays(np.float64, 4, elements=st.floats(-9, 9)),
    st.floats(0.001, 0.5),
    st.integers(0, 15),
)
def test_the_closed_form_is_the_walk_on_every_bowl_and_saddle(a, start, rate, steps):
    hessian = a + a.T
    walked = walk(rate, steps, start, hessian)
    closed = quadratic_path(hessian, start, learning_rate=rate, steps=steps)
    assert closed.shape == walked.shape == (steps + 1, 4)
    np.testing.assert_allclose(closed, walked, rtol=1e-9, atol=1e-9 * (1 + np.abs(walked).max()))


def test_the_gradient_is_steepest_and_a_short_step_falls_as_stated(rng):
    theta = np.array([-1.2, 1.0, 0.4])
    slope = rosen_der(theta)
    np.testing.assert_allclose(
        slope, numerical_gradient(lambda: rosen(theta), theta), rtol=1e-6, atol=1e-6
    )
    moves = rng.standard_normal((300, 3))
    moves *= 1e-6 / np.linalg.norm(moves, axis=1, keepdims=True)
    against = -1e-6 * slope / np.linalg.norm(slope)
    change = rosen(theta + against) - rosen(theta)
    assert change < min(rosen(theta + move) - rosen(theta) for move in moves)
    path = descend(rosen_der, theta, learning_rate=1e-9, steps=1)
    assert rosen(path[1]) - rosen(theta) == pytest.approx(-1e-9 * (slope @ slope), rel=1e-3)


def test_it_reaches_a_minimum_that_scipy_knows():
    # Rosenbrock's valley ends at (1, 1).
    path = descend(rosen_der, np.array([-1.2, 1.0]), learning_rate=1e-3, steps=20_000)
    np.testing.assert_allclose(path[-1], [1, 1], atol=1e-3)


def threshold(grows, guess):
    low, high = guess / 1.5, guess * 1.2
    while high / low > 1.0002:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if grows(middle) else (middle, high)
    return (low * high) ** 0.5


def test_pitfall_diverges_past_two_over_the_largest_curvature(rng):
    for _ in range(3):
        hessian = some_hessian(rng)
        start = rng.standard_normal(5)

        def grows(rate, hessian=hessian, start=start):
            # Long enough for the steepest direction to outgrow all others.
            late = np.linalg.norm(walk(rate, 500, start, hessian), axis=1)[[300, 500]]
            return late[1] > late[0]

        limit = 2 / np.linalg.eigvalsh(hessian)[-1]
        assert threshold(grows, 1.03 * limit) == pytest.approx(limit, rel=1e-3)


def test_the_limit_of_least_squares_on_the_digits():
    images, labels = load_digits()
    x, targets = images[:200].astype(np.float64), (labels[:200, None] == 3).astype(np.float64)
    with_bias = np.column_stack([x, np.ones(200)])
    limit = 2 / np.linalg.eigvalsh(with_bias.T @ with_bias / 200)[-1]

    def grows(rate):
        layer, norms = Linear(np.zeros((1, 64))), []
        optimizer = GradientDescent(layer, learning_rate=rate)
        for _ in range(600):
            layer.backward((layer.forward(x) - targets) / 200)
            norms.append(np.linalg.norm(layer.grads["weight"]))
            optimizer.step()
        return norms[599] > norms[500]

    assert threshold(grows, 1.03 * limit) == pytest.approx(limit, rel=1e-3)


def test_the_best_rate_and_what_it_keeps(rng):
    for hessian in (BOWL, some_hessian(rng)):
        curvatures = np.linalg.eigvalsh(hessian)
        flat, steep = curvatures[0], curvatures[-1]

        def kept(rate, curvatures=curvatures):
            return np.abs(1 - rate * curvatures).max()

        found = minimize_scalar(kept, bounds=(0, 2 / steep), options={"xatol": 1e-10})
        best, condition = 2 / (flat + steep), steep / flat
        assert found.x == pytest.approx(best, rel=1e-5)
        assert kept(best) == pytest.approx((condition - 1) / (condition + 1), rel=1e-12)
        path = quadratic_path(
            hessian, rng.standard_normal(len(hessian)), learning_rate=best, steps=400
        )
        lengths = np.linalg.norm(path[[50, 51]], axis=1)
        assert lengths[1] / lengths[0] == pytest.approx(kept(best), rel=0.02)
    assert (2 / 4, 2 / (1 + 4), (4 - 1) / (4 + 1)) == (0.5, 0.4, 0.6)  # the page's numbers


def test_a_round_bowl_takes_one_step(rng):
    path = walk(1 / 3, 1, rng.standard_normal(4), 3 * np.eye(4))
    np.testing.assert_allclose(path[1], 0, atol=1e-15)


def test_a_sum_instead_of_a_mean_divides_the_limit(rng):
    x = rng.standard_normal((100, 3))
    mean, total = x.T @ x / 100, x.T @ x
    limit = 2 / np.linalg.eigvalsh(mean)[-1]
    for hessian, edge in (mean, limit), (total, limit / 100):
        for share, fades in (0.98, True), (1.02, False):
            path = quadratic_path(hessian, np.ones(3), learning_rate=share * edge, steps=800)
            assert (np.linalg.norm(path[-1]) < 1e-4) == fades


def test_pitfall_the_loss_falls_before_it_grows():
    def losses(rate):
        path = walk(rate, 60, np.array([4.0, 0.001]))
        return (path**2 @ [1, 4]) / 2

    past, within = losses(0.55), losses(0.45)
    assert past[10] < 1e-4 * past[0]
    assert past[60] > 100 * past[0]
    assert past[60] / past[59] == pytest.approx(1.2**2, rel=1e-6)  # by the same factor each step
    assert (np.diff(within) < 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_examples_two_sides_of_the_limit(seed):
    images, labels = load_digits()
    chosen = np.random.default_rng(seed).permutation(len(images))[:300]
    x, targets = images[chosen], (labels[chosen, None] == np.arange(10)).astype(np.float32)

    def limit(x):
        with_bias = np.column_stack([x, np.ones(len(x))])
        return 2 / np.linalg.eigvalsh(with_bias.T @ with_bias / len(x))[-1]

    def losses(rate):
        layer, seen = Linear(np.zeros((10, 64), np.float32)), []
        optimizer = GradientDescent(layer, learning_rate=rate)
        for _ in range(201):
            error = layer.forward(x) - targets
            seen.append((error**2).sum() / 2 / len(x))
            layer.backward(error / np.float32(len(x)))
            optimizer.step()
        return seen

    below, above = losses(0.99 * limit(x)), losses(1.01 * limit(x))
    assert above[10] == pytest.approx(below[10], rel=0.3)  # nothing to see yet
    assert above[200] > 100 * below[0] > below[0] > below[200]
    assert 200 < limit(x) / limit(16 * x) < 256
    assert limit(x - x.mean(axis=0)) == pytest.approx(2, rel=1e-5)
    assert limit(x - x.mean(axis=0)) > 10 * limit(x)


def test_pitfall_one_input_in_another_unit(rng):
    x = rng.standard_normal((100, 2))
    steep = np.linalg.eigvalsh(x.T @ x / 100)[-1]
    far = x * [1, 1000]
    low, high = np.linalg.eigvalsh(far.T @ far / 100)
    assert high / low == pytest.approx(1e6, rel=0.5)
    path = quadratic_path(far.T @ far / 100, np.ones(2), learning_rate=1 / high, steps=1000)
    assert path[-1, 0] > 0.99  # at a rate the steep direction likes, the other stands still
    path = quadratic_path(x.T @ x / 100, np.ones(2), learning_rate=1 / steep, steps=1000)
    assert np.abs(path[-1]).max() < 1e-12


def test_pitfall_a_path_of_one_array():
    theta, path, copies = START.copy(), [], []
    for _ in range(3):
        path.append(theta)
        copies.append(theta.copy())
        theta -= 0.25 * (BOWL @ theta)
    assert [place[0] for place in path] == [1.6875] * 3
    np.testing.assert_array_equal(copies, walk(0.25, 2))


def test_a_gradient_that_works_in_place_cannot_spoil_the_path():
    def careless(theta):
        theta *= [1, 4]
        return theta

    path = descend(careless, START, learning_rate=0.25, steps=3)
    np.testing.assert_array_equal(path, walk(0.25))


def test_paths_keep_type_and_shape_and_end_in_infinity():
    for dtype in (np.float32, np.float64):
        start = START.astype(dtype)
        walked = descend(lambda theta: 2 * theta, start, learning_rate=0.1, steps=2)
        closed = quadratic_path(BOWL.astype(dtype), start, learning_rate=0.6, steps=9)
        assert walked.dtype == closed.dtype == dtype
    square = descend(lambda theta: theta, np.ones((2, 3)), learning_rate=0.5, steps=2)
    np.testing.assert_array_equal(square[2], np.full((2, 3), 0.25))
    for path in (walk(9.0, 400), quadratic_path(BOWL, START, learning_rate=9.0, steps=400)):
        assert not np.isfinite(path[-1]).all()


def test_bad_walks():
    with pytest.raises(TypeError, match="start must be floating point, got int64"):
        descend(lambda theta: theta, np.array([1, 2]), learning_rate=0.1, steps=1)
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="learning_rate must be above 0 and finite, got"):
            walk(bad)
        with pytest.raises(ValueError, match="learning_rate must be above 0 and finite, got"):
            quadratic_path(BOWL, START, learning_rate=bad, steps=1)
    for call in (
        walk,
        lambda rate, steps: quadratic_path(BOWL, START, learning_rate=rate, steps=steps),
    ):
        with pytest.raises(ValueError, match="steps must be 0 or more, got -1"):
            call(0.1, -1)
    for wrong in (1.0, np.ones(1), np.ones((2, 1))):
        with pytest.raises(ValueError, match=r"gradient must return \(2,\), got \("):
            descend(lambda theta, wrong=wrong: wrong, START, learning_rate=0.1, steps=1)
    with pytest.raises(TypeError, match="hessian must be float64 like start, got float32"):
        quadratic_path(BOWL.astype(np.float32), START, learning_rate=0.1, steps=1)
    for hessian, start in (BOWL, np.ones(3)), (np.ones(2), START), (BOWL, np.ones((2, 2))):
        with pytest.raises(
            ValueError, match=r"hessian must be \(n, n\) for a start of \(n,\), got"
        ):
            quadratic_path(hessian, start, learning_rate=0.1, steps=1)
    for hessian in (
        np.array([[1.0, 2.0], [0.0, 1.0]]),
        np.array([[0.0, 1e-9], [0.0, 0.0]]),  # small, but as crooked
        np.full((2, 2), np.nan),
        np.diag([1.0, np.inf]),
    ):
        with pytest.raises(ValueError, match="hessian must be symmetric and finite"):
            quadratic_path(hessian, START, learning_rate=0.1, steps=1)


# The step of an optimiser


def test_by_hand_a_linear_layer_with_and_without_decay():
    x, dy = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0], [2.0]])
    for weight_decay, weight in [(0.0, [[0.9, -2.4]]), (0.5, [[0.85, -2.3]])]:
        layer = Linear(np.array([[1.0, -2.0]]), np.array([3.0]))
        layer.forward(x)
        layer.backward(dy)  # dW = (1, 4), db = 3
        optimizer = GradientDescent(layer, learning_rate=0.1, weight_decay=weight_decay)
        optimizer.step()
        np.testing.assert_allclose(layer.params["weight"], weight, rtol=1e-15)
        np.testing.assert_allclose(layer.params["bias"], [2.7], rtol=1e-15)  # never decayed
        np.testing.assert_array_equal(layer.grads["weight"], [[1.0, 4.0]])  # read, not changed
        optimizer.learning_rate = 1.0  # may change between steps
        optimizer.step()
        np.testing.assert_allclose(layer.params["bias"], [-0.3], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_updated_in_place_and_keep_their_type(rng, dtype):
    network = two_layers(rng, dtype)
    arrays_, kept = network.params, {k: p.copy() for k, p in network.params.items()}
    network.backward(network.forward(rng.standard_normal((5, 3)).astype(dtype)))
    GradientDescent(network, learning_rate=0.1, weight_decay=0.5).step()
    for name, theta in network.params.items():
        assert theta is arrays_[name]
        assert theta.dtype == dtype
        decay = 0.5 * kept[name] if name in ("0.weight", "2.weight") else 0
        expected = kept[name] - 0.1 * (network.grads[name] + decay)
        np.testing.assert_allclose(theta, expected, rtol=1e-5 if dtype == np.float32 else 1e-13)
        assert (theta != kept[name]).all()


def test_a_csr_layer_is_trained_through_its_values():
    layer = CSRLinear(csr_array(np.array([[1.0, 0, 2.0], [0, 3.0, 0]])))
    layer.grads = {"weight": np.array([10.0, 20.0, 30.0]), "bias": np.zeros(2)}
    GradientDescent(layer, learning_rate=0.1, weight_decay=1.0).step()
    expected = [[-0.1, 0, -0.2], [0, -0.3, 0]]
    np.testing.assert_allclose(layer.weight.toarray(), expected, rtol=0, atol=1e-15)


def test_rewiring_is_survived_and_nothing_is_carried(rng):
    network = sparse_mlp([6, 8, 3], density=0.4, rng=rng)
    optimizer: Optimizer = GradientDescent(network, learning_rate=0.1)
    x = rng.standard_normal((5, 6), dtype=np.float32)
    for _ in range(3):
        network.backward(network.forward(x))
        kept = {name: theta.copy() for name, theta in network.params.items()}
        optimizer.step()
        for name, theta in network.params.items():
            expected = kept[name] - np.float32(0.1) * network.grads[name]
            np.testing.assert_allclose(theta, expected, rtol=1e-5, atol=1e-6)
        rewire_network(network, optimizer, fraction=0.3, rng=rng)
    with pytest.raises(RuntimeError, match="gradients of a backward of the whole network"):
        optimizer.step()  # the old gradients belong to connections that are gone
    kept = network.params["0.weight"].copy()
    optimizer.follow("0.weight", np.array([-1]))
    np.testing.assert_array_equal(network.params["0.weight"], kept)


# Gradients that store rows only


def table(grad, rows=4, dtype=np.float64):
    theta = np.arange(1, 2 * rows + 1, dtype=dtype).reshape(rows, 2)
    return SimpleNamespace(params={"weight": theta}, grads={"weight": grad})


def test_by_hand_a_sparse_gradient_moves_the_rows_it_stores():
    grad = csr_array(np.array([[0, 0], [10.0, 20.0], [0, 0], [30.0, 0]]))
    network = table(grad)
    GradientDescent(network, learning_rate=0.1).step()
    np.testing.assert_allclose(network.params["weight"], [[1, 2], [2, 2], [5, 6], [4, 8]])
    np.testing.assert_array_equal(grad.toarray()[1], [10, 20])
    network = table(csr_array((4, 2)))  # no row at all
    GradientDescent(network, learning_rate=0.1).step()
    np.testing.assert_array_equal(network.params["weight"], table(None).params["weight"])


@given(arrays(np.float32, (6, 3), elements=st.integers(-3, 3)), st.floats(0.01, 2))
def test_a_sparse_step_is_the_dense_step(gradient, rate):
    thetas = []
    for grad in (gradient, csr_array(gradient)):
        network = SimpleNamespace(
            params={"weight": np.ones((6, 3), np.float32)}, grads={"weight": grad}
        )
        theta = network.params["weight"]
        GradientDescent(network, learning_rate=rate).step()
        assert network.params["weight"] is theta
        assert theta.dtype == np.float32
        thetas.append(theta)
    np.testing.assert_array_equal(*thetas)


def test_a_position_stored_twice_counts_twice():
    twice = csr_array((np.array([1.0, 2.0]), np.array([0, 0]), np.array([0, 0, 2, 2, 2])), (4, 2))
    network = table(twice)
    GradientDescent(network, learning_rate=1.0).step()
    np.testing.assert_array_equal(network.params["weight"], [[1, 2], [0, 4], [5, 6], [7, 8]])


def test_a_sparse_step_allocates_nothing_of_the_tables_size():
    theta = np.zeros((20_000, 50), np.float32)  # 4 MB
    rows, indptr = np.array([3, 700, 19_999]), np.zeros(20_001, np.int32)
    indptr[rows + 1] = 50
    grad = csr_array(
        (np.ones(150, np.float32), np.tile(np.arange(50, dtype=np.int32), 3), indptr.cumsum()),
        theta.shape,
    )
    network = SimpleNamespace(params={"weight": theta}, grads={"weight": grad})
    optimizer = GradientDescent(network, learning_rate=0.5)
    peaks = []
    for gradient in (grad, grad.toarray()):
        network.grads["weight"] = gradient
        tracemalloc.start()
        optimizer.step()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Some bytes for each row, to see which are stored; never one for each number.
    assert peaks[0] < theta.nbytes / 10 < theta.nbytes <= peaks[1]
    assert (theta[rows] == -1).all()
    assert np.count_nonzero(theta) == 150


def test_a_sparse_gradient_and_weight_decay_do_not_go_together():
    grad = csr_array(np.ones((4, 2)))
    network = table(grad)
    network.params = {"bias": np.ones(2), **network.params}
    network.grads = {"bias": np.ones(2), **network.grads}
    with pytest.raises(RuntimeError, match="gradient of weight must be dense for weight_decay"):
        GradientDescent(network, learning_rate=0.1, weight_decay=0.1).step()
    np.testing.assert_array_equal(network.params["bias"], [1, 1])
    np.testing.assert_array_equal(network.params["weight"], table(None).params["weight"])
    # What is never decayed is none of its business.
    free = SimpleNamespace(params={"scale": np.ones((4, 2))}, grads={"scale": grad})
    GradientDescent(free, learning_rate=0.5, weight_decay=0.1).step()
    np.testing.assert_array_equal(free.params["scale"], np.full((4, 2), 0.5))


def test_other_sparse_formats_and_steps_without_a_use_for_rows_are_refused():
    class Other(GradientDescent):
        def step(self):
            self._checked()

    for kind, grad in (
        (GradientDescent, coo_array(np.ones((4, 2)))),
        (
            GradientDescent,
            csc_array(np.ones((4, 2))),
        ),
        (Other, csr_array(np.ones((4, 2)))),
    ):
        network = table(grad)
        expected = f"weight must be dense for {kind.__name__}, got a {type(grad).__name__}"
        with pytest.raises(RuntimeError, match=expected):
            kind(network, learning_rate=0.1).step()
        np.testing.assert_array_equal(network.params["weight"], table(None).params["weight"])
    with pytest.raises(RuntimeError, match=r"weight must be \(4, 2\), got \(4, 3\)"):
        GradientDescent(table(csr_array(np.ones((4, 3)))), learning_rate=0.1).step()


# Bad input


@pytest.mark.parametrize("bad", [0.0, -0.1, np.inf, np.nan])
def test_bad_learning_rate(bad):
    with pytest.raises(ValueError, match="learning_rate must be above 0 and finite, got"):
        GradientDescent(table(None), learning_rate=bad)


@pytest.mark.parametrize("bad", [-0.1, np.inf, np.nan])
def test_bad_weight_decay(bad):
    with pytest.raises(ValueError, match="weight_decay must be 0 or above and finite, got"):
        GradientDescent(table(None), learning_rate=0.1, weight_decay=bad)


def test_a_step_without_all_gradients_changes_nothing(rng):
    network = two_layers(rng)
    kept = {name: theta.copy() for name, theta in network.params.items()}
    optimizer = GradientDescent(network, learning_rate=0.1)
    with pytest.raises(RuntimeError, match="gradients of a backward of the whole network"):
        optimizer.step()
    first = network.layers[0]
    first.forward(np.ones((1, 3)))
    first.backward(np.ones((1, 4)))  # a part of the network only
    with pytest.raises(RuntimeError, match="gradients of a backward of the whole network"):
        optimizer.step()
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, kept[name])


def test_a_gradient_of_another_shape_changes_nothing():
    # A bias whose gradient was summed over both axes would broadcast, and every output move alike.
    params = {"weight": np.ones((3, 2)), "bias": np.ones(3)}
    for wrong in (np.float64(1.0), np.ones(1), np.ones((1, 3)), np.ones(2)):
        network = SimpleNamespace(params=params, grads={"weight": np.ones((3, 2)), "bias": wrong})
        with pytest.raises(RuntimeError, match=r"the gradient of bias must be \(3,\), got \("):
            GradientDescent(network, learning_rate=0.1).step()
        np.testing.assert_array_equal(params["weight"], np.ones((3, 2)))
        np.testing.assert_array_equal(params["bias"], np.ones(3))
