import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity import straight_through
from lexicon.sparsity.magnitude_prune import magnitude_mask, magnitude_prune
from lexicon.sparsity.mask import MaskedLinear, kept
from lexicon.sparsity.rewiring import rewire_network
from lexicon.sparsity.sampled_gradient import sampled_gradient
from lexicon.sparsity.sparse_from_scratch import mlp_of_counts
from lexicon.sparsity.straight_through import StraightThroughLinear
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent, minibatches
from lexicon.training.training_loop import accuracy, train

# Few distinct magnitudes: ties, at the threshold too, are the rule and not the exception.
weights = arrays(np.float64, (3, 5), elements=st.integers(-4, 4).map(float))
sparsities = st.floats(0, 0.95)


def page_layer(**options):
    weight = np.array([[0.5, -0.1, 0.2], [-2.0, 0.3, -0.4]])
    return StraightThroughLinear(Linear(weight), 0.5, **options)


def test_by_hand():
    x, dy = np.array([[1.0, 2.0, -1.0]]), np.array([[10.0, 1.0]])
    expected = {
        0.0: [[10, 20, -10], [1, 2, -1]],  # straight-through
        1 / 3: [[10, 0, 0], [1, 2, -1]],  # Top-KAST: one more than is used
        0.5: [[10, 0, 0], [1, 0, -1]],  # only what is used
    }
    for backward_sparsity, gradient in expected.items():
        layer = page_layer(backward_sparsity=backward_sparsity)
        np.testing.assert_allclose(layer.forward(x), [[0.5, -1.6]], rtol=1e-14)
        np.testing.assert_array_equal(layer.used, [[1, 0, 0], [1, 0, 1]])
        np.testing.assert_array_equal(layer.trained, np.array(gradient) != 0)
        np.testing.assert_allclose(layer.backward(dy), [[3, 0, -0.4]], rtol=1e-14)
        np.testing.assert_array_equal(layer.grads["weight"], gradient)
        np.testing.assert_array_equal(layer.grads["bias"], [10, 1])
    # One step: two weights return, two that were used leave.
    layer = page_layer()
    optimizer = StochasticGradientDescent(layer, learning_rate=0.02)
    layer.forward(x)
    layer.backward(dy)
    optimizer.step()
    theta = [[0.3, -0.5, 0.4], [-2.02, 0.26, -0.38]]
    np.testing.assert_allclose(layer.params["weight"], theta, rtol=1e-14)
    layer.forward(x)
    np.testing.assert_array_equal(layer.used, [[0, 1, 1], [1, 0, 0]])


def test_decay_by_hand():
    # |A| / size is 1/2, so what is trained and not used decays twice as fast; the rest not at all.
    layer = page_layer(backward_sparsity=1 / 3, weight_decay=0.1)
    layer.forward(np.zeros((1, 3)))
    layer.backward(np.zeros((1, 2)))
    expected = [[0.05, 0, 0], [-0.2, 0.06, -0.04]]
    np.testing.assert_allclose(layer.grads["weight"], expected, rtol=1e-14)
    np.testing.assert_array_equal(layer.grads["bias"], [0, 0])
    layer = page_layer(weight_decay=0.1)
    layer.forward(np.zeros((1, 3)))
    layer.backward(np.zeros((1, 2)))
    expected = [[0.05, -0.02, 0.04], [-0.2, 0.06, -0.04]]
    np.testing.assert_allclose(layer.grads["weight"], expected, rtol=1e-14)


@given(weights, sparsities, st.floats(0, 1))
def test_everything_that_must_hold_of_a_pass(weight, sparsity, part):
    rng = np.random.default_rng(0)
    bias, x, dy = rng.normal(size=3), rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    few, many = kept(15, sparsity), kept(15, part * sparsity)
    layer = StraightThroughLinear(Linear(weight, bias), sparsity, backward_sparsity=part * sparsity)
    theta, before = layer.params["weight"].copy(), x.copy()
    y, dx = layer.forward(x), layer.backward(dy)
    used, trained = layer.used, layer.trained
    # Exactly as many as asked, the largest, among equals the first: a stable sort is the oracle.
    order = np.argsort(-np.abs(weight).ravel(), kind="stable")
    np.testing.assert_array_equal(np.flatnonzero(used), np.sort(order[:few]))
    np.testing.assert_array_equal(np.flatnonzero(trained), np.sort(order[:many]))
    assert (used <= trained).all()
    # Forward and to the input it is the masked layer, and so is the gradient of what is used.
    masked = MaskedLinear(Linear(weight, bias), used)
    np.testing.assert_allclose(y, masked.forward(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, masked.backward(dy), rtol=1e-12, atol=1e-12)
    gradient = layer.grads["weight"]
    np.testing.assert_allclose(gradient[used], masked.grads["weight"][used], rtol=1e-12)
    np.testing.assert_allclose(layer.grads["bias"], masked.grads["bias"], rtol=1e-12)
    # Beyond it is that of a dense layer on B, and zero elsewhere.
    np.testing.assert_allclose(gradient[trained], (dy.T @ x)[trained], rtol=1e-12)
    assert (gradient[~trained] == 0).all()
    # Nothing but the gradient was touched: what is not used is kept, not set to zero.
    np.testing.assert_array_equal(layer.params["weight"], theta)
    np.testing.assert_array_equal(x, before)


def test_sparsity_zero_is_the_dense_layer(rng):
    linear = Linear(rng.standard_normal((3, 4)), rng.standard_normal(3))
    layer = StraightThroughLinear(linear, 0.0)
    assert layer.params is linear.params
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    np.testing.assert_allclose(layer.forward(x), linear.forward(x), rtol=1e-12)
    np.testing.assert_allclose(layer.backward(dy), linear.backward(dy), rtol=1e-12)
    for name, gradient in linear.grads.items():
        np.testing.assert_allclose(layer.grads[name], gradient, rtol=1e-12)


def stacked(layer, rng):
    first = Linear(rng.standard_normal((6, 6)))
    return Sequential([first, layer, Linear(rng.standard_normal((4, 8))), Activation(tanh)])


def test_gradient_where_only_the_used_are_trained(rng):
    # No weight is nearer to the threshold than the check's step, so that the mask stands still.
    x, linear = rng.standard_normal((5, 6)), Linear(rng.standard_normal((8, 6)))
    layer = StraightThroughLinear(linear, 0.7, backward_sparsity=0.7)
    assert np.diff(np.sort(np.abs(linear.params["weight"]), axis=None)).min() > 5e-5
    assert max(check_layer(layer, x, rng=rng).values()) < 1e-8
    assert max(check_layer(stacked(layer, rng), x, rng=rng).values()) < 1e-7


def test_gradient_straight_through_is_right_but_for_the_weight_that_it_estimates(rng):
    x = rng.standard_normal((5, 6))
    for backward_sparsity in (0.0, 0.4):
        linear = Linear(rng.standard_normal((8, 6)), rng.standard_normal(8))
        layer = StraightThroughLinear(linear, 0.7, backward_sparsity=backward_sparsity)
        errors = check_layer(layer, x, rng=rng)
        assert errors.pop("weight") > 0.1  # it is not the derivative, and does not claim to be
        assert len(errors) == 2
        assert max(errors.values()) < 1e-8
        errors = check_layer(stacked(layer, rng), x, rng=rng)
        assert errors.pop("1.weight") > 0.1
        assert max(errors.values()) < 1e-7


def test_what_it_costs(monkeypatch, rng):
    asked = []

    def spy(dy, x, indptr, indices):
        asked.append(len(indices))
        return sampled_gradient(dy, x, indptr, indices)

    monkeypatch.setattr(straight_through, "sampled_gradient", spy)
    x, dy = rng.standard_normal((2, 8, 500), dtype=np.float32)
    linear = Linear(rng.standard_normal((500, 500), dtype=np.float32))
    n, held = 250_000, {}
    for name, backward_sparsity in (("STE", 0.0), ("Top-KAST", 0.94)):
        layer = StraightThroughLinear(linear, 0.98, backward_sparsity=backward_sparsity)
        assert layer.params["weight"].nbytes == 4 * n  # dense at all times
        tracemalloc.start()
        layer.forward(x)
        held[name] = tracemalloc.get_traced_memory()[0]
        layer.backward(dy)
        tracemalloc.stop()
        assert layer.grads["weight"].nbytes == 4 * n
        assert layer.used.sum() == 5000
        # Between forward and backward: both masks, and A's values with their indices.
        assert held[name] == pytest.approx(2 * n + 8 * 5000 + 4 * 501, abs=30_000)
    assert asked == [15_000]  # Top-KAST gathers; B is below 8 %; straight-through is in full
    # The page's table: FLOPs of a step in units of those of a dense step, 6 n a sample.
    k, m = 0.02, 0.06
    assert round((2 * k + 2 * k + 2 * 1) / 6, 3) == 0.347
    assert round((2 * k + 2 * k + 2 * m) / 6, 3) == 0.033
    assert 6 * k / 6 == 0.02


def test_what_is_trained_was_settled_by_the_forward(rng):
    linear, dy = Linear(rng.standard_normal((6, 8))), rng.standard_normal((3, 6))
    layer = StraightThroughLinear(linear, 0.5, backward_sparsity=0.3)
    layer.forward(rng.standard_normal((3, 8)))
    layer.backward_sparsity = 0.0  # counts from the next forward on
    layer.backward(dy)
    np.testing.assert_array_equal(layer.grads["weight"] != 0, layer.trained)


def test_float32_stays_and_momentum_trains_it(rng):
    linear = Linear(rng.standard_normal((6, 8), dtype=np.float32))
    layer = StraightThroughLinear(linear, 0.5, backward_sparsity=0.3, weight_decay=0.1)
    optimizer = Momentum(layer, learning_rate=0.1)
    x = rng.standard_normal((3, 8), dtype=np.float32)
    assert layer.forward(x).dtype == np.float32
    assert layer.backward(np.ones((3, 6), np.float32)).dtype == np.float32
    assert all(gradient.dtype == np.float32 for gradient in layer.grads.values())
    before = layer.params["weight"].copy()
    optimizer.step()
    np.testing.assert_array_equal(before != layer.params["weight"], layer.trained)


def network_of(method, sparsity, rng):
    if method in ("static", "rewired"):
        counts = [kept(64 * 128, sparsity), kept(128 * 10, sparsity)]
        return mlp_of_counts([64, 128, 10], counts, rng=rng)
    dense = mlp([64, 128, 10], rng=rng)
    if method == "pruned":
        return dense
    options = {}
    if method == "Top-KAST":
        options = {"backward_sparsity": 1 - 3 * (1 - sparsity), "weight_decay": 3e-4}
    first, _, last = dense.layers
    layers = [StraightThroughLinear(linear, sparsity, **options) for linear in (first, last)]
    return Sequential([layers[0], Activation(relu), layers[1]])


def reads(method, sparsity, seed):
    rng, draws = np.random.default_rng(seed), np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    network = network_of(method, sparsity, rng)
    optimizer = Momentum(network, learning_rate=0.1)
    for epoch in range(6):
        if epoch and method == "rewired":
            rewire_network(network, optimizer, fraction=0.3, rng=draws)
        if epoch == 3 and method == "pruned":
            pruned = [magnitude_prune(linear, sparsity) for linear in network.layers[::2]]
            network = Sequential([pruned[0], Activation(relu), pruned[1]])
            optimizer = Momentum(network, learning_rate=0.1)
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
    return accuracy(network, x_test, labels_test)


# Settings (λ, width of B, steps) were chosen on seeds 0 to 4, and the tolerance of five points then
# applied to others. What did not hold on a third set, 20 to 25, was weakened to what holds on all.
SEEDS = range(10, 13)


def test_claim_training_what_is_not_used_helps():
    methods = ("static", "rewired", "pruned", "Top-KAST", "STE")
    for sparsity in (0.95, 0.98, 0.99):
        runs = [[reads(method, sparsity, seed) for method in methods] for seed in SEEDS]
        static, rewired, pruned, top_kast, ste = np.mean(runs, axis=0)
        assert min(top_kast, ste) > static + 0.05
        assert ste > top_kast + 0.05
        assert rewired < static + 0.05  # five rewirings in 120 steps are too few
        # Train, then prune is dense half of the time: the rival of what needs dense gradients.
        assert abs(ste - pruned) < 0.1 if sparsity == 0.95 else ste > pruned + 0.05
        assert top_kast > pruned - 0.05 if sparsity == 0.95 else top_kast < pruned
        assert sparsity < 0.99 or top_kast < pruned - 0.05


def digits_network(seed, sparsity=0.95, **options):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    first, _, last = mlp([64, 64, 10], rng=rng).layers
    layers = [StraightThroughLinear(linear, sparsity, **options) for linear in (first, last)]
    network = Sequential([layers[0], Activation(relu), layers[1]])
    return network, (x, labels), (x_test, labels_test), rng


def test_pitfall_a_mask_from_stale_magnitudes(monkeypatch):
    # Chosen once an epoch of 20 steps: in between, what is not used is pushed and never felt.
    for seed in SEEDS:
        network, (x, labels), test, rng = digits_network(seed)
        train(
            network,
            Momentum(network, learning_rate=0.1),
            x,
            labels,
            epochs=6,
            batch_size=64,
            rng=rng,
        )
        renewed = accuracy(network, *test)

        network, (x, labels), test, rng = digits_network(seed)
        optimizer, chosen = Momentum(network, learning_rate=0.1), {}

        def stale(weight, sparsity, chosen=chosen):
            return chosen.setdefault(id(weight), magnitude_mask(weight, sparsity))

        with monkeypatch.context() as patch:
            patch.setattr(straight_through, "magnitude_mask", stale)
            for _ in range(6):
                chosen.clear()
                train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
            assert (network.layers[0].used == chosen[id(network.params["0.weight"])]).all()
            assert accuracy(network, *test) < renewed - 0.3


def ever_trained(*, decay, optimizers):
    network, (x, labels), _, rng = digits_network(
        0, 0.98, backward_sparsity=0.94, weight_decay=decay
    )
    optimizer = Momentum(network, learning_rate=0.1, weight_decay=optimizers)
    hidden, ever = network.layers[0], np.zeros((64, 64), dtype=bool)
    for _ in range(6):
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)
        ever |= hidden.trained
    return ever.mean()


def test_pitfall_under_the_optimizers_decay_none_returns():
    first = kept(64 * 64, 0.94) / 64**2
    for optimizers in (0.0, 1e-3, 1e-2):
        assert first <= ever_trained(decay=0.0, optimizers=optimizers) < 1.1 * first
    assert ever_trained(decay=1e-3, optimizers=0.0) > 3 * first


def test_what_gets_no_gradient_stands_still_but_for_an_optimizers_decay(rng):
    for decays, factor in ((0.0, 1.0), (0.5, 0.95**20)):
        linear = Linear(rng.standard_normal((6, 8)))
        layer = StraightThroughLinear(linear, 0.8, backward_sparsity=0.6, weight_decay=0.1)
        optimizer = StochasticGradientDescent(layer, learning_rate=0.1, weight_decay=decays)
        before = layer.params["weight"].copy()
        outside = np.ones(before.shape, dtype=bool)
        for _ in range(20):
            layer.forward(rng.standard_normal((4, 8)))
            layer.backward(0.01 * rng.standard_normal((4, 6)))
            outside &= ~layer.trained
            optimizer.step()
        assert outside.sum() > 10
        now = layer.params["weight"][outside]
        np.testing.assert_allclose(now, factor * before[outside], rtol=1e-12)


def flips(learning_rate):
    network, (x, labels), _, rng = digits_network(0)
    train(
        network, Momentum(network, learning_rate=0.1), x, labels, epochs=5, batch_size=64, rng=rng
    )
    optimizer, criterion = Momentum(network, learning_rate=learning_rate), CrossEntropy()
    masks = []
    for batch in minibatches(len(x), 64, rng=rng):
        criterion.forward(network.forward(x[batch]), labels[batch])
        network.backward(criterion.backward())
        optimizer.step()
        masks.append(network.layers[0].used)
    changes = np.diff(np.array(masks).astype(int), axis=0) != 0
    return changes.sum(), (changes.sum(axis=0) > 1).sum()


def test_pitfall_flapping_at_the_threshold():
    changes, again = flips(0.1)
    assert changes > 50
    assert again > 10  # weights that changed sides at least twice in one epoch
    changes, again = flips(0.01)
    assert changes < 25
    assert again < 10


SIGNS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
TARGET = SIGNS @ np.array([[2.0], [1.0]])


def swings(layer, steps, learning_rate):
    """Train one of two weights on 2 x₀ + x₁; return how often the choice changed, and the loss."""
    optimizer, chosen = StochasticGradientDescent(layer, learning_rate=learning_rate), []
    for _ in range(steps):
        y = layer.forward(SIGNS)
        layer.backward((y - TARGET) / 4)
        optimizer.step()
        chosen.append(bool(layer.used[0, 0]))
    return int(np.diff(chosen).sum()), float(((layer.forward(SIGNS) - TARGET) ** 2).mean())


def test_pitfall_two_weights_that_are_both_wanted_take_turns():
    for learning_rate in (0.1, 0.02):  # a smaller one does not end it
        layer = StraightThroughLinear(Linear(np.array([[1.5, 0.1]])), 0.5)
        swings(layer, 150, learning_rate)
        changes, _ = swings(layer, 60, learning_rate)
        assert changes >= 35
        layer.backward_sparsity = 0.5  # the cure: only the used one is trained
        swings(layer, 400, learning_rate)
        changes, loss = swings(layer, 60, learning_rate)
        assert changes == 0
        assert loss == pytest.approx(1.0, abs=1e-4)  # the best that one weight can do
        np.testing.assert_allclose(layer.params["weight"][0, 0], 2, atol=0.01)


def test_pitfall_what_is_never_renewed_is_pushed_for_ever():
    # The page's two weights: mean gradients are what is used minus the target's weight.
    layer = Linear(np.array([[1.5, 0.1]]))
    used, theta = np.array([[True, False]]), layer.params["weight"]
    for _ in range(50):
        y = SIGNS @ np.where(used, theta, 0).T
        gradient = ((y - TARGET) / 4).T @ SIGNS
        np.testing.assert_allclose(gradient, np.where(used, theta, 0) - [[2.0, 1.0]], atol=1e-12)
        theta -= 0.1 * gradient
    np.testing.assert_allclose(theta, [[2.0, 5.1]], atol=0.01)  # 1 would have been right


def test_bad_input(rng):
    linear = Linear(rng.standard_normal((4, 5)))
    for sparsity in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
            StraightThroughLinear(linear, sparsity)
    with pytest.raises(ValueError, match=r"sparsity 0\.99 would leave none of 20 weights"):
        StraightThroughLinear(linear, 0.99)
    for bad in (-0.1, 0.6, np.nan):
        with pytest.raises(ValueError, match=r"backward_sparsity must be 0 to 0\.5, the sparsity"):
            StraightThroughLinear(linear, 0.5, backward_sparsity=bad)
    for bad in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="weight_decay must be 0 or above, finite, got"):
            StraightThroughLinear(linear, 0.5, weight_decay=bad)
    layer = StraightThroughLinear(linear, 0.5)
    assert layer.used is layer.trained is None
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 5\), got \(2, 4\)"):
        layer.forward(np.ones((2, 4)))
    with pytest.raises(TypeError, match="x must be float64 like the layer's weights, got float32"):
        layer.forward(np.ones((2, 5), dtype=np.float32))
    assert layer.used is layer.trained is None
    layer.forward(np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"dy must be \(2, 4\), got \(3, 4\)"):
        layer.backward(np.ones((3, 4)))
    with pytest.raises(TypeError, match="dy must be float64"):
        layer.backward(np.ones((2, 4), dtype=np.float32))
    assert layer.grads == {}
    layer.backward(np.ones((2, 4)))
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((2, 4)))
    layer.params["weight"][1, 1] = np.nan
    with pytest.raises(ValueError, match="weight must hold at least one number, and no NaN"):
        layer.forward(np.ones((2, 5)))
