from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import numerical_gradient
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.regression_loss import MeanSquaredError
from lexicon.sparsity.grasp import hessian_vector_product
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.training.gradient_descent import GradientDescent
from lexicon.training.momentum import Momentum
from lexicon.training.sharp_and_flat_minima import (
    SharpnessAwareMinimization,
    hessian_times,
    sharpness,
)
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches
from lexicon.training.training_loop import accuracy


class Bowl:
    """A layer without input whose 'loss' is ½ Σ κθ²: its Hessian is known."""

    def __init__(self, curvature, theta):
        self.curvature = np.array(curvature)
        self.params, self.grads = {"theta": np.array(theta)}, {}

    def forward(self, x):
        return x

    def backward(self, dy):
        self.grads = {"theta": self.curvature * self.params["theta"]}
        return dy


class Nothing:
    """A loss that leaves the gradient to the layer."""

    def forward(self, predictions, targets):
        return 0.0

    def backward(self):
        return np.zeros(1)


ONE = np.ones((1, 1))


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays.values()])


def parts(network, vector):
    named = {}
    for name, theta in network.params.items():
        named[name], vector = vector[: theta.size].reshape(theta.shape), vector[theta.size :]
    return named


def test_by_hand_bowls():
    rng = np.random.default_rng(0)
    bowl = Bowl([1.0, 10.0, -3.0], [0.3, -0.2, 0.5])
    vector = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(
        hessian_times(bowl, Nothing(), ONE, ONE, vector), [1, 20, -12], rtol=1e-9
    )
    assert sharpness(bowl, Nothing(), ONE, ONE, rng=rng) == pytest.approx(10, rel=1e-6)
    # The largest, not the largest in size; and one or two parameters are enough.
    steep_down = Bowl([2.0, -9.0], [0.1, 0.1])
    assert sharpness(steep_down, Nothing(), ONE, ONE, rng=rng) == pytest.approx(2, rel=1e-6)
    for curvature in (-4.0, 0.0, 7.0):
        one = Bowl([curvature], [0.1])
        assert sharpness(one, Nothing(), ONE, ONE, rng=rng) == pytest.approx(curvature, abs=1e-6)
    assert sharpness(Bowl([0.0] * 3, [1.0] * 3), Nothing(), ONE, ONE, rng=rng) == 0.0


@pytest.mark.parametrize(
    ("curvatures", "largest"),
    [
        ([-1.0, -5.0, -3.0], -1),  # down along all: the least steep
        ([1.0, -1e4] * 5, 1),
        ([3.0] * 20, 3),  # a round bowl: every direction is an eigenvector
        ([-7.0] * 20, -7),
        ([5.0, -5.0] * 3, 5),  # equal in size: power iteration would never settle
        ([2.0, 2.0], 2),
        ([0.0] * 9 + [-1.0], 0),
    ],
)
def test_the_sign_counts_and_equal_curvatures_do_no_harm(curvatures, largest):
    for seed in range(3):
        bowl, rng = Bowl(curvatures, [0.1] * len(curvatures)), np.random.default_rng(seed)
        found = sharpness(bowl, Nothing(), ONE, ONE, rng=rng)
        assert found == pytest.approx(largest, rel=1e-6, abs=1e-6)


def chain(first, second):
    return Sequential([Linear(np.array([[first]])), Activation(relu), Linear(np.array([[second]]))])


def test_by_hand_two_minima_of_one_function():
    # The page's: at a perfect fit H = 2 J Jᵀ with J = (w₂x, w₂, h, 1), here x = h/w₁ = 1.
    rng, seen = np.random.default_rng(0), []
    for first, second in (1.0, 1.0), (4.0, 0.25):
        network = chain(first, second)
        np.testing.assert_array_equal(network.forward(ONE), ONE)
        seen.append(sharpness(network, MeanSquaredError(), ONE, ONE, rng=rng))
        assert seen[-1] == pytest.approx(2 * (2 * second**2 + first**2 + 1), rel=1e-6)
    np.testing.assert_allclose(seen, [8, 34.25], rtol=1e-6)


def test_the_product_is_the_exact_one_of_another_entry(rng):
    x, labels = load_digits()
    x, labels = x[:50].astype(np.float64), labels[:50]
    network = mlp([64, 8, 10], rng=rng, activation=tanh, dtype=np.float64)
    vector = rng.standard_normal(len(flat(network.params)))
    exact = flat(hessian_vector_product(network, x, labels, parts(network, vector)))
    ours = hessian_times(network, CrossEntropy(), x, labels, vector)
    np.testing.assert_allclose(ours, exact, atol=1e-9 * np.abs(exact).max())
    for scale in (1e6, 1e-6):  # the step does not depend on the vector's length
        scaled = hessian_times(network, CrossEntropy(), x, labels, scale * vector)
        np.testing.assert_allclose(scaled / scale, ours, atol=1e-9 * np.abs(exact).max())
    # And in float32 about four digits, without leaving the type.
    single = mlp([64, 8, 10], rng=np.random.default_rng(0), activation=tanh)
    ours = hessian_times(
        single, CrossEntropy(), x.astype(np.float32), labels, vector.astype(np.float32)
    )
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, exact, atol=1e-3 * np.abs(exact).max())


@pytest.mark.parametrize("make", [mlp, lambda s, **k: sparse_mlp(s, density=0.6, **k)])
def test_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian(rng, make):
    x, labels = rng.standard_normal((12, 4)), rng.integers(3, size=12)
    network = make([4, 5, 3], rng=rng, activation=tanh, dtype=np.float64)
    n = len(flat(network.params))
    columns = [
        flat(hessian_vector_product(network, x, labels, parts(network, unit))) for unit in np.eye(n)
    ]
    hessian = np.array(columns)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    measured = sharpness(network, CrossEntropy(), x, labels, rng=rng)
    assert measured == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-3)


def test_in_float32():
    x, labels = load_digits()
    x, labels, seen = x[:50], labels[:50], []
    for dtype, tolerance in (np.float64, 1e-8), (np.float32, 1e-3):
        draws = np.random.default_rng(1)
        network = mlp([64, 16, 10], rng=draws, activation=tanh, dtype=dtype)
        settings = {"rng": draws, "tolerance": tolerance}
        found = sharpness(network, CrossEntropy(), x.astype(dtype), labels, **settings)
        assert isinstance(found, float)
        seen.append(found)
    assert seen[1] == pytest.approx(seen[0], rel=2e-3)


def test_a_tolerance_saves_products_where_curvatures_crowd():
    calls = []

    class Counted(Nothing):
        def backward(self):
            calls.append(1)
            return super().backward()

    counts = []
    for tolerance in (1e-8, 1e-3, 0.3):
        calls.clear()
        crowd = Bowl(np.linspace(0.5, 1.0, 400), np.full(400, 0.1))
        found = sharpness(
            crowd, Counted(), ONE, ONE, rng=np.random.default_rng(0), tolerance=tolerance
        )
        assert found == pytest.approx(1, rel=max(tolerance, 1e-6))
        counts.append(len(calls))
    assert counts[0] > counts[1] > counts[2]


def test_parameters_come_back_to_the_bit_even_after_an_error(rng):
    x, labels = rng.standard_normal((6, 4)), rng.integers(3, size=6)
    network = mlp([4, 5, 3], rng=rng, dtype=np.float64)
    before = flat(network.params)
    arrays = dict(network.params)
    sharpness(network, CrossEntropy(), x, labels, rng=rng)
    np.testing.assert_array_equal(flat(network.params), before)
    with pytest.raises(ValueError, match="labels"):
        hessian_times(network, CrossEntropy(), x, labels + 9, before)
    np.testing.assert_array_equal(flat(network.params), before)
    assert all(network.params[name] is array for name, array in arrays.items())
    np.testing.assert_array_equal(
        hessian_times(network, CrossEntropy(), x, labels, 0 * before), 0 * before
    )


@given(st.floats(0.1, 100), st.floats(0.05, 1.95))
def test_a_rate_stays_at_a_minimum_only_below_two_over_its_curvature(curvature, share):
    for factor, stays in (share, True), (2 + share, False):
        bowl = Bowl([curvature], [1.0])
        optimizer = GradientDescent(bowl, learning_rate=factor / curvature)
        for _ in range(3):
            before = abs(bowl.params["theta"][0])
            bowl.backward(ONE)
            optimizer.step()
            kept = abs(1 - factor)  # the share of the distance that a step leaves
            assert (kept < 1) == stays
            assert abs(bowl.params["theta"][0]) == pytest.approx(kept * before, abs=1e-12)


# Sharpness-aware minimisation.


def sam_on(bowl, rate, rho):
    return SharpnessAwareMinimization(bowl, GradientDescent(bowl, learning_rate=rate), rho=rho)


def test_by_hand_sam():
    # κ = (1, 10) at (0.3, 0.04): g = (0.3, 0.4), ‖g‖ = 0.5, so ρ = 0.1 climbs by (0.06, 0.08).
    bowl = Bowl([1.0, 10.0], [0.3, 0.04])
    sam = sam_on(bowl, 0.1, 0.1)
    bowl.backward(ONE)
    sam.climb()
    np.testing.assert_allclose(bowl.params["theta"], [0.36, 0.12], rtol=1e-12)
    bowl.backward(ONE)
    np.testing.assert_allclose(bowl.grads["theta"], [0.36, 1.2], rtol=1e-12)
    sam.step()
    np.testing.assert_allclose(bowl.params["theta"], [0.264, -0.08], rtol=1e-12)


def test_by_hand_the_table_of_the_page():
    for curvature, rise, slope in (1.0, 0.005, 0.1), (10.0, 0.05, 1.0):
        assert curvature * 0.1**2 / 2 == pytest.approx(rise)
        bowl = Bowl([curvature], [0.1])
        bowl.backward(ONE)
        assert bowl.grads["theta"][0] == pytest.approx(slope)


@pytest.mark.parametrize(("curvature", "swing"), [(1.0, 0.1 / 19), (10.0, 0.1)])
def test_by_hand_sam_is_pushed_out_of_sharp_bowls(curvature, swing):
    # The page's ηκρ / (2 - ηκ) with η = ρ = 0.1: 0.005 and 0.1.
    assert swing == pytest.approx(0.1 * curvature * 0.1 / (2 - 0.1 * curvature))
    bowl = Bowl([curvature], [1.0])
    sam, seen = sam_on(bowl, 0.1, 0.1), []
    for _ in range(400):
        bowl.backward(ONE)
        sam.climb()
        bowl.backward(ONE)
        sam.step()
        seen.append(bowl.params["theta"][0])
    np.testing.assert_allclose(np.abs(seen[-2:]), swing, rtol=1e-6)
    assert seen[-1] * seen[-2] < 0


def test_to_first_order_it_descends_the_loss_and_the_norm_of_its_gradient(rng):
    x, labels = rng.standard_normal((8, 4)), rng.integers(3, size=8)
    network = mlp([4, 5, 3], rng=rng, activation=tanh, dtype=np.float64)
    criterion, rho = CrossEntropy(), 1e-4

    def gradient():
        criterion.forward(network.forward(x), labels)
        network.backward(criterion.backward())
        return flat(network.grads)

    plain = gradient()
    theta = network.params["0.weight"]
    norm_gradient = numerical_gradient(lambda: np.linalg.norm(gradient()), theta)
    gradient()
    sam = SharpnessAwareMinimization(network, GradientDescent(network, learning_rate=1), rho=rho)
    sam.climb()
    change = (gradient() - plain)[: theta.size].reshape(theta.shape) / rho
    np.testing.assert_allclose(change, norm_gradient, atol=1e-3 * np.abs(norm_gradient).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sam_moves_by_rho_and_comes_back_to_the_bit(rng, dtype):
    network = mlp([4, 5, 3], rng=rng, dtype=dtype)
    for theta in network.params.values():
        theta += 1  # no zeros, which even the shortest step would change
    before, arrays = flat(network.params), dict(network.params)
    x = rng.standard_normal((6, 4)).astype(dtype)
    network.backward(network.forward(x))
    sam = SharpnessAwareMinimization(
        network, GradientDescent(network, learning_rate=1e-30), rho=0.3
    )
    sam.climb()
    assert np.linalg.norm(flat(network.params) - before) == pytest.approx(0.3, rel=1e-5)
    network.backward(network.forward(x))
    sam.step()
    np.testing.assert_array_equal(flat(network.params), before)
    for name, theta in network.params.items():
        assert theta is arrays[name]
        assert theta.dtype == dtype


def test_where_nothing_pushes_nothing_moves():
    bowl = Bowl([1.0, 2.0], [0.0, 0.0])
    sam = sam_on(bowl, 0.1, 0.1)
    bowl.backward(ONE)
    sam.climb()
    np.testing.assert_array_equal(bowl.params["theta"], [0, 0])
    sam.step()
    np.testing.assert_array_equal(bowl.params["theta"], [0, 0])


@pytest.mark.parametrize("size", [1e-41, 1e-30, 1e30, 3e38])
def test_the_climb_is_as_long_for_the_smallest_and_the_largest_gradients_of_float32(size):
    theta, push = np.zeros(2, np.float32), np.array([0, -size], np.float32)
    model = SimpleNamespace(params={"theta": theta}, grads={"theta": push})
    sam_on(model, 0.1, 0.5).climb()
    np.testing.assert_allclose(theta, [0, -0.5], rtol=1e-6)


def test_the_learning_rate_is_the_optimisers():
    sam = sam_on(Bowl([1.0], [1.0]), 0.1, 0.1)
    assert sam.learning_rate == 0.1
    sam.learning_rate = 0.5
    assert sam.optimizer.learning_rate == 0.5


def test_sam_trains_a_sparse_network_that_rewires(rng):
    x, labels, apart, answers = stratified_split(*load_digits(), rng=rng)
    network = sparse_mlp([64, 32, 10], density=0.3, rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    sam, criterion = SharpnessAwareMinimization(network, optimizer, rho=0.1), CrossEntropy()
    for _ in range(5):
        for batch in minibatches(len(x), 32, rng=rng):
            criterion.forward(network.forward(x[batch]), labels[batch])
            network.backward(criterion.backward())
            sam.climb()
            criterion.forward(network.forward(x[batch]), labels[batch])
            network.backward(criterion.backward())
            sam.step()
        rewire_network(network, sam, fraction=0.1, rng=rng)
        velocity = optimizer.velocity["0.weight"]
        assert (velocity == 0).sum() >= round(0.1 * len(velocity))  # it followed
    assert accuracy(network, apart, answers) > 0.9


def test_follow_by_hand():
    model = SimpleNamespace(
        params={"theta": np.array([3.0, 4.0])}, grads={"theta": np.array([3.0, 4.0])}
    )
    optimizer = Momentum(model, learning_rate=1.0)
    optimizer.velocity["theta"][:] = [10.0, 20.0]
    sam = SharpnessAwareMinimization(model, optimizer, rho=0.5)
    sam.follow("theta", np.array([1, 0]))  # before a climb: only the optimiser's
    np.testing.assert_array_equal(optimizer.velocity["theta"], [20, 10])
    sam.climb()
    np.testing.assert_allclose(model.params["theta"], [3.3, 4.4], rtol=1e-12)
    sam.follow("theta", np.array([1, -1]))
    np.testing.assert_array_equal(optimizer.velocity["theta"], [10, 0])
    model.grads["theta"] = np.zeros(2)
    sam.step()  # from (4, 0), the places from before the climb, with 0.9 of the velocity
    np.testing.assert_allclose(model.params["theta"], [4 - 9, 0], rtol=1e-12)


def test_connections_may_even_move_between_climb_and_step(rng):
    network = sparse_mlp([6, 4], density=0.5, rng=rng, dtype=np.float64)
    layer, before = network.layers[0], network.layers[0].weight.toarray()
    sam = SharpnessAwareMinimization(
        network, GradientDescent(network, learning_rate=1e-30), rho=0.5
    )
    x = rng.standard_normal((5, 6))
    network.backward(network.forward(x))
    sam.climb()
    rewire_network(network, sam, fraction=0.3, rng=rng)
    assert (before.ravel()[layer.positions] == 0).any()
    network.backward(network.forward(x))
    sam.step()
    expected = before.ravel()[layer.positions]
    np.testing.assert_allclose(layer.params["weight"], expected, rtol=0, atol=1e-20)


# What the page measures on digits.


@cache
def run(seed, *, rho=0.0, rate=0.1, batch_size=10, epochs=15):
    rng = np.random.default_rng(seed)
    digits, labels = load_digits()
    digits = digits.astype(np.float64)
    apart, answers, x, labels = stratified_split(digits, labels, rng=rng, test_fraction=1 / 6)
    assert len(x) == 299
    network = mlp([64, 32, 10], rng=rng, activation=tanh, dtype=np.float64)
    optimizer, criterion = StochasticGradientDescent(network, learning_rate=rate), CrossEntropy()
    sam = SharpnessAwareMinimization(network, optimizer, rho=rho) if rho else None
    for _ in range(epochs):
        for batch in minibatches(len(x), batch_size, rng=rng):
            criterion.forward(network.forward(x[batch]), labels[batch])
            network.backward(criterion.backward())
            if sam:
                sam.climb()
                criterion.forward(network.forward(x[batch]), labels[batch])
                network.backward(criterion.backward())
            (sam or optimizer).step()
    return SimpleNamespace(
        sharpness=sharpness(network, criterion, x, labels, rng=rng, tolerance=0.01),
        loss=criterion.forward(network.forward(x), labels),
        right=accuracy(network, apart, answers),
    )


SEEDS = range(5)


def test_sam_is_flatter_in_each_run_and_no_better_here():
    plain, sam = ([run(seed, rho=rho) for seed in SEEDS] for rho in (0.0, 0.2))
    ratios = np.array([s.sharpness / p.sharpness for s, p in zip(sam, plain, strict=True)])
    assert ratios.max() < 0.85
    assert 0.6 < ratios.mean() < 0.75  # about a third lower
    loss = np.mean([s.loss for s in sam]) / np.mean([p.loss for p in plain])
    assert loss == pytest.approx(1, abs=0.05)  # as well trained
    gain = np.array([s.right - p.right for s, p in zip(sam, plain, strict=True)])
    assert abs(gain.mean()) < 0.01


def test_all_samples_at_once_are_about_as_sharp_and_no_worse():
    # The same rate and about the same number of steps: 15 epochs of 30 batches, or 450 of one.
    few = [run(seed) for seed in range(3)]
    full = [run(seed, batch_size=299, epochs=450) for seed in range(3)]
    ratios = np.array([a.sharpness / b.sharpness for a, b in zip(full, few, strict=True)])
    assert np.abs(ratios - 1).max() < 0.15
    gain = np.mean([a.right - b.right for a, b in zip(full, few, strict=True)])
    assert abs(gain) < 0.01


def test_pitfall_better_trained_looks_flatter():
    for seed in range(3):
        brief, long = run(seed), run(seed, rate=0.2, epochs=30)
        assert long.loss < brief.loss / 5
        assert long.sharpness < 0.6 * brief.sharpness


def test_the_edge_of_stability():
    x, labels = load_digits()
    x, targets = x[:200].astype(np.float64), np.eye(10)[labels[:200]]
    rng = np.random.default_rng(0)
    network = mlp([64, 32, 10], rng=rng, activation=tanh, dtype=np.float64)
    for theta in network.params.values():
        theta *= 0.3
    optimizer, criterion = GradientDescent(network, learning_rate=1.0), MeanSquaredError()
    measured, losses = [], []
    for step in range(600):
        if step % 60 == 0:
            measured.append(sharpness(network, criterion, x, targets, rng=rng, tolerance=0.02))
        losses.append(criterion.forward(network.forward(x), targets))
        network.backward(criterion.backward())
        optimizer.step()
    assert measured[0] < 1.2  # well below 2/η = 2
    assert all(np.diff(measured[:5]) > 0)  # it rises
    assert 2 < max(measured) < 2.7  # passes the edge
    assert 2 < min(measured[7:]) < max(measured[7:]) < 2.3  # and settles just above it
    rises = np.diff(losses) > 0
    assert not rises[:100].any()  # smooth below the edge
    assert rises[300:].mean() > 0.2  # up and down on it
    assert losses[-1] < losses[250]  # and yet on the way down


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("a", "least", "most"), [(2.0, 0.25, 0.67), (0.125, 20.0, 64.0)])
def test_pitfall_rescaled_layers_compute_the_same(seed, a, least, most):
    rng = np.random.default_rng(seed)
    x, labels = load_digits()
    x, labels = x[:100].astype(np.float64), labels[:100]
    network = mlp([64, 8, 10], rng=rng, dtype=np.float64)
    before = sharpness(network, CrossEntropy(), x, labels, rng=rng)
    logits = network.forward(x)
    params = network.params
    params["0.weight"] *= a
    params["0.bias"] *= a
    params["2.weight"] /= a
    np.testing.assert_array_equal(network.forward(x), logits)  # powers of 2: to the bit
    after = sharpness(network, CrossEntropy(), x, labels, rng=rng)
    assert least < after / before < most


def test_pitfall_without_the_second_backward_it_is_plain_descent():
    one, other = Bowl([1.0, 10.0], [0.3, 0.04]), Bowl([1.0, 10.0], [0.3, 0.04])
    sam, plain = sam_on(one, 0.1, 0.1), GradientDescent(other, learning_rate=0.1)
    one.backward(ONE)
    sam.climb()
    sam.step()  # the second backward was forgotten
    other.backward(ONE)
    plain.step()
    np.testing.assert_array_equal(one.params["theta"], other.params["theta"])


def test_pitfall_a_kink_is_no_curvature():
    # |θ| as relu(θ) + relu(-θ), at 0: the slope jumps by 2 over 2ε, so H v is about 1/ε.
    kink = Sequential(
        [Linear(np.array([[0.0], [0.0]])), Activation(relu), Linear(np.array([[1.0, 1.0]]))]
    )
    smooth = hessian_times(kink, Sum(), ONE, ONE, np.array([0.0] * 4 + [1.0, 0, 0]))
    np.testing.assert_array_equal(smooth, 0)
    across = hessian_times(kink, Sum(), ONE, ONE, np.array([1.0] + [0.0] * 6))
    assert across[0] > 1e4


class Sum:
    def forward(self, predictions, targets):
        self.shape = predictions.shape
        return float(predictions.sum())

    def backward(self):
        return np.ones(self.shape)


def test_bad_vectors_and_tolerances(rng):
    bowl = Bowl([1.0, 2.0], [0.1, 0.2])
    with pytest.raises(TypeError, match="vector must be float64 like the parameters, got float32"):
        hessian_times(bowl, Nothing(), ONE, ONE, np.ones(2, np.float32))
    for bad in (np.ones(3), np.ones((2, 1)), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match=r"vector must be \(2,\) finite numbers"):
            hessian_times(bowl, Nothing(), ONE, ONE, bad)
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="tolerance must be above 0, got"):
            sharpness(bowl, Nothing(), ONE, ONE, rng=rng, tolerance=bad)
    np.testing.assert_array_equal(bowl.params["theta"], [0.1, 0.2])
    bowl.curvature[0] = np.inf
    with pytest.raises(FloatingPointError, match="gradient near the parameters is not finite"):
        sharpness(bowl, Nothing(), ONE, ONE, rng=rng)
    np.testing.assert_array_equal(bowl.params["theta"], [0.1, 0.2])


def test_bad_use_of_sam_changes_nothing():
    bowl = Bowl([1.0, 2.0], [0.1, 0.2])
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="rho must be above 0 and finite, got"):
            sam_on(bowl, 0.1, bad)
    sam = sam_on(bowl, 0.1, 0.1)
    with pytest.raises(RuntimeError, match="climb needs the gradients of a backward"):
        sam.climb()
    with pytest.raises(RuntimeError, match="step needs a climb first"):
        sam.step()
    bowl.grads = {"theta": np.array([np.inf, 0.0])}
    with pytest.raises(FloatingPointError, match="climb needs finite gradients"):
        sam.climb()
    np.testing.assert_array_equal(bowl.params["theta"], [0.1, 0.2])
    bowl.backward(ONE)
    sam.climb()
    moved = bowl.params["theta"].copy()
    with pytest.raises(RuntimeError, match="climb must be followed by a step"):
        sam.climb()
    np.testing.assert_array_equal(bowl.params["theta"], moved)
    bowl.grads = {}
    with pytest.raises(RuntimeError, match="gradients of a backward of the whole network"):
        sam.step()
    np.testing.assert_array_equal(bowl.params["theta"], [0.1, 0.2])
    with pytest.raises(RuntimeError, match="step needs a climb first"):
        sam.step()
