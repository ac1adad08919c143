import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer, numerical_gradient, relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import layer_masks, prune_network
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.movement_prune import MovementLinear, movement_scores
from lexicon.sparsity.prune_schedule import cubic, prune_further, share_to_prune
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import accuracy, train

# Few distinct scores: ties are the rule and not the exception.
scores = arrays(np.float64, (3, 4), elements=st.integers(-2, 2).map(float))
sparsities = st.floats(0, 0.95)


def scored(rng, sparsity, shape=(3, 4)):
    layer = MovementLinear(Linear(rng.standard_normal(shape), rng.standard_normal(shape[0])))
    layer.params["scores"][:] = rng.standard_normal(shape)
    layer.sparsity = sparsity
    return layer


def test_by_hand():
    layer = MovementLinear(Linear(np.array([[1.0, 0.2, -0.3]])))
    x = np.array([[2.0, -1.0, 1.0]])
    np.testing.assert_allclose(layer.forward(x), [[1.5]], rtol=1e-15)
    np.testing.assert_array_equal(layer.backward(np.array([[1.0]])), [[1.0, 0.2, -0.3]])
    np.testing.assert_array_equal(layer.grads["weight"], [[2.0, -1.0, 1.0]])
    np.testing.assert_allclose(layer.grads["scores"], [[2.0, -0.2, -0.3]], rtol=1e-15)
    StochasticGradientDescent(layer, learning_rate=0.1).step()
    np.testing.assert_allclose(layer.params["weight"], [[0.8, 0.3, -0.4]], rtol=1e-15)
    np.testing.assert_allclose(layer.params["scores"], [[-0.2, 0.02, 0.03]], rtol=1e-15)
    layer.sparsity = 2 / 3
    np.testing.assert_array_equal(layer.mask, [[False, False, True]])
    assert np.abs(layer.params["weight"]).argmax() == 0  # what magnitude would keep
    np.testing.assert_allclose(layer.forward(x), [[-0.5]], rtol=1e-15)  # the bias moved too
    # Only the weight in use gets a gradient, and all scores do.
    np.testing.assert_allclose(layer.backward(np.array([[2.0]])), [[0, 0, -0.8]], rtol=1e-15)
    np.testing.assert_array_equal(layer.grads["weight"], [[0, 0, 2.0]])
    np.testing.assert_array_equal(layer.grads["bias"], [2.0])
    np.testing.assert_allclose(layer.grads["scores"], [[3.2, -0.6, -0.8]], rtol=1e-15)


def test_gradient_of_all_but_the_scores_alone_and_in_a_stack(rng):
    x = rng.standard_normal((5, 4))
    for sparsity in (0.0, 0.6):
        layer = MovementLinear(
            Linear(rng.standard_normal((3, 4)), rng.standard_normal(3)), sparsity
        )
        layer.params["scores"][:] = rng.standard_normal((3, 4))
        error = check_layer(layer, x, rng=rng)
        assert error.pop("scores") == pytest.approx(1)  # a step is flat: nothing was measured
        assert max(error.values()) < 1e-8
        stack = Sequential(
            [Linear(rng.standard_normal((4, 4))), layer, Linear(np.eye(3)), Activation(tanh)]
        )
        error = check_layer(stack, x, rng=rng)
        del error["1.scores"]
        assert len(error) == 7
        assert max(error.values()) < 1e-7


def test_the_scores_gradient_is_that_of_a_mask_of_real_numbers(rng):
    # Straight-through: dS = dM, where M is a factor that may take any value.
    layer = scored(rng, 0.5)
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    layer.forward(x)
    layer.backward(dy)
    factor = layer.mask.astype(float)
    measured = numerical_gradient(
        lambda: (x @ (factor * layer.params["weight"]).T * dy).sum(), factor
    )
    assert relative_error(layer.grads["scores"], measured) < 1e-8


@given(scores, sparsities)
def test_exactly_as_many_as_asked_the_best_first(values, sparsity):
    layer = MovementLinear(Linear(np.ones((3, 4))), sparsity)
    layer.params["scores"][:] = values
    order = np.argsort(-values.ravel(), kind="stable")  # NumPy as the oracle
    expected = np.zeros(12, dtype=bool)
    expected[order[: 12 - round(sparsity * 12)]] = True
    np.testing.assert_array_equal(layer.mask, expected.reshape(3, 4))
    layer.params["scores"] *= 0.125  # only the ranking counts
    np.testing.assert_array_equal(layer.mask, expected.reshape(3, 4))


@given(scores, sparsities)
def test_apart_from_the_scores_it_is_a_masked_layer(values, sparsity):
    rng = np.random.default_rng(0)
    linear = Linear(rng.standard_normal((3, 4)), rng.standard_normal(3))
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    layer = MovementLinear(linear, sparsity)
    layer.params["scores"][:] = values
    masked = MaskedLinear(Linear(**linear.params), layer.mask)
    np.testing.assert_array_equal(layer.forward(x), masked.forward(x))
    np.testing.assert_array_equal(layer.backward(dy), masked.backward(dy))
    for name in ("weight", "bias"):
        np.testing.assert_array_equal(layer.grads[name], masked.grads[name])


def test_the_mask_of_the_forward_is_that_of_its_backward(rng):
    layer = scored(rng, 0.5)
    used = layer.mask
    layer.forward(rng.standard_normal((5, 4)))
    layer.params["scores"] *= -1
    layer.backward(rng.standard_normal((5, 3)))
    np.testing.assert_array_equal(layer.grads["weight"] != 0, used)
    assert (layer.mask != used).any()


def test_scores_sum_the_movement_and_are_half_the_gain_of_the_squares(rng):
    weight, rate = rng.standard_normal((3, 4)), 0.05
    layer, plain = MovementLinear(Linear(weight)), Linear(weight)
    summed, steps = np.zeros((2, 3, 4))
    for _ in range(20):
        x, target = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
        before = plain.params["weight"].copy()
        for network in (layer, plain):
            network.backward((network.forward(x) - target) / 5)
            StochasticGradientDescent(network, learning_rate=rate).step()
        summed -= rate * before * plain.grads["weight"]
        steps += (plain.params["weight"] - before) ** 2
    after = plain.params["weight"]
    np.testing.assert_array_equal(layer.params["weight"], after)
    np.testing.assert_allclose(layer.params["scores"], summed, rtol=1e-12)
    gained = (after**2 - weight**2 - steps) / 2
    np.testing.assert_allclose(layer.params["scores"], gained, rtol=1e-10)
    assert (np.sign(summed) == np.sign(after**2 - weight**2)).mean() > 0.8


def test_a_weight_out_of_use_can_come_back():
    layer = MovementLinear(Linear(np.array([[1.0, 1.0]])), 0.5)
    x = np.array([[1.0, 3.0]])
    optimizer = StochasticGradientDescent(layer, learning_rate=0.1)
    used = []
    for _ in range(2):
        used.append(layer.mask[0].tolist())
        layer.forward(x)
        layer.backward(np.array([[-1.0]]))  # the output should rise: input 1 would do most
        optimizer.step()
    assert used == [[True, False], [False, True]]
    np.testing.assert_allclose(layer.params["weight"], [[1.1, 1.3]])


def test_from_one_half_to_minus_one_half_scores_nothing_and_zero_is_stuck():
    layer = MovementLinear(Linear(np.array([[0.5, 0.0]])), 0.0)
    optimizer = StochasticGradientDescent(layer, learning_rate=0.001)
    for _ in range(1000):
        layer.forward(np.array([[1.0, 0.0]]))
        layer.backward(np.array([[1.0]]))
        optimizer.step()
    np.testing.assert_allclose(layer.params["weight"], [[-0.5, 0]], rtol=1e-9)
    assert abs(layer.params["scores"][0, 0]) < 1e-3
    layer.sparsity = 0.5
    layer.params["scores"][:] = [[1.0, 0.0]]
    layer.forward(np.array([[1.0, 1.0]]))
    layer.backward(np.array([[1.0]]))
    assert layer.grads["weight"][0, 1] == layer.grads["scores"][0, 1] == 0


def test_pruned_it_has_the_same_output_and_stores_only_what_is_in_use(rng):
    first, last = scored(rng, 0.75, (8, 6)), scored(rng, 0.5, (4, 8))
    network = Sequential([Sequential([first, Activation(relu)]), last])
    found = movement_scores(network)
    assert [*found] == ["0.0.weight", "1.weight"]
    np.testing.assert_array_equal(found["1.weight"], last.params["scores"])
    masks = {
        name: layer_masks({name: found[name]}, sparsity)[name]
        for name, sparsity in (("0.0.weight", 0.75), ("1.weight", 0.5))
    }
    pruned = prune_network(network, masks)
    assert isinstance(pruned.layers[1], CSRLinear)
    assert pruned.params["0.0.weight"].size == 12
    assert pruned.params["1.weight"].size == 16
    x = rng.standard_normal((5, 6))
    np.testing.assert_allclose(pruned.forward(x), network.forward(x), rtol=1e-12)
    found["1.weight"] += 1  # a copy
    assert (found["1.weight"] != last.params["scores"]).all()


def test_the_dense_layer_and_the_input_stay_as_they_were_and_so_does_float32(rng):
    linear = Linear(rng.standard_normal((3, 4), dtype=np.float32))
    kept = linear.params["weight"].copy()
    layer = MovementLinear(linear, 0.5)
    x = rng.standard_normal((5, 4), dtype=np.float32)
    same = x.copy()
    assert layer.forward(x).dtype == layer.backward(np.ones((5, 3), np.float32)).dtype == np.float32
    assert {theta.dtype for theta in (layer.params | layer.grads).values()} == {x.dtype}
    assert all(layer.grads[name].dtype == np.float32 for name in layer.params)
    Momentum(layer, learning_rate=0.1).step()
    np.testing.assert_array_equal(linear.params["weight"], kept)
    np.testing.assert_array_equal(x, same)


def learned(seed, turn):
    rng = np.random.default_rng(seed)
    x, labels, *apart = stratified_split(*load_digits(), rng=rng)
    old = mlp([64, 64, 10], rng=rng)
    tune(old, x, labels, range(10))
    x, x_test = (np.rot90(a.reshape(-1, 8, 8), turn, (1, 2)).reshape(-1, 64) for a in (x, apart[0]))
    return old, (x, labels), (x_test, apart[1])


def tune(network, x, labels, epochs, optimizer=None):
    optimizer = optimizer or Momentum(network, learning_rate=0.1)
    for epoch in epochs:
        rng = np.random.default_rng(epoch)
        train(network, optimizer, x, labels, epochs=1, batch_size=64, rng=rng)


def movable(old):
    first, last = (MovementLinear(layer) for layer in old.layers[::2])
    return Sequential([first, Activation(relu), last])


def by_movement(old, data, sparsity, ramp=3):
    network = movable(old)
    optimizer = Momentum(network, learning_rate=0.1)
    for epoch in range(6):
        now = cubic(epoch, start=0, end=ramp, final=sparsity)
        network.layers[0].sparsity = network.layers[2].sparsity = now
        tune(network, *data, [epoch], optimizer)
    return network


def by_magnitude(old, data, sparsity):
    network = prune_network(old, layer_masks(magnitude_scores(old), 0.0))
    optimizer = Momentum(network, learning_rate=0.1)
    for epoch in range(6):
        share = share_to_prune(network, cubic(epoch, start=0, end=3, final=sparsity))
        prune_further(network, optimizer, layer_masks(magnitude_scores(network), share))
        tune(network, *data, [epoch], optimizer)
    return network


def test_claim_movement_wins_at_high_sparsity_where_the_task_is_new():
    # Set beforehand: level is within 0.02 of mean accuracy. Old task, new task; 50 %, 95 %.
    ahead = np.zeros((2, 2, 5))
    at_once = np.zeros((2, 5))
    for turn in (0, 1):
        for seed in range(5):
            old, data, apart = learned(seed, turn)
            for i, sparsity in enumerate((0.5, 0.95)):
                moved = accuracy(by_movement(old, data, sparsity), *apart)
                ahead[turn, i, seed] = moved - accuracy(by_magnitude(old, data, sparsity), *apart)
            # Pitfall: scores from three epochs at sparsity 0, one cut, three epochs to heal.
            network, read = movable(old), []
            tune(network, *data, range(3))
            for score in (movement_scores(network), magnitude_scores(network)):
                pruned = prune_network(network, layer_masks(score, 0.95))
                tune(pruned, *data, range(3))
                read.append(accuracy(pruned, *apart))
            at_once[turn, seed] = read[0] - read[1]
    mean = ahead.mean(axis=2)
    assert abs(mean[1, 0]) < 0.02  # new task, 50 %: level
    assert (ahead[1, 1] > 0).all()  # new task, 95 %: ahead in each run
    assert mean[1, 1] > 0.05
    assert mean[0, 0] < -0.01  # old task, 50 %: behind
    assert ahead[0, 1].min() < 0 < ahead[0, 1].max()  # old task, 95 %: now this, now that
    assert abs(mean[0, 1]) < 0.05
    assert at_once[0].mean() < -0.02  # a network that does not move says little
    assert at_once[1].mean() > 0.02


def test_pitfall_full_sparsity_from_the_first_step():
    layer = MovementLinear(Linear(np.ones((4, 3))), 0.5)
    np.testing.assert_array_equal(layer.mask.sum(axis=1), [3, 3, 0, 0])
    behind = []
    for seed in range(3):
        old, data, apart = learned(seed, 1)
        at_once, in_time = (by_movement(old, data, 0.5, ramp=ramp) for ramp in (0, 3))
        lost, fewer = (
            (network.layers[0].params["scores"] == 0).all(axis=1).sum()  # never felt a slope
            for network in (at_once, in_time)
        )
        assert lost > fewer
        behind.append(accuracy(in_time, *apart) - accuracy(at_once, *apart))
    assert min(behind) > 0
    assert np.mean(behind) > 0.02


def test_pitfall_the_wrong_sign_keeps_what_shrinks():
    for seed in range(3):
        old, data, apart = learned(seed, 1)
        network, read = movable(old), []
        tune(network, *data, range(3))
        for sign in (1, -1):
            scores = {name: sign * score for name, score in movement_scores(network).items()}
            pruned = prune_network(network, layer_masks(scores, 0.95))
            tune(pruned, *data, range(3))
            read.append(accuracy(pruned, *apart))
        assert read[0] > read[1] + 0.2


def test_bad_input():
    linear = Linear(np.ones((3, 4)))
    for sparsity in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"sparsity must be in \[0, 1\)"):
            MovementLinear(linear, sparsity)
    with pytest.raises(ValueError, match=r"sparsity 0\.99 would leave none of 12"):
        MovementLinear(linear, 0.99)
    layer = MovementLinear(linear, 0.5)
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(np.ones((5, 3)))
    with pytest.raises(TypeError, match="x must be float64 like the layer's weights"):
        layer.forward(np.ones((5, 4), dtype=np.float32))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 4\), got \(5, 3\)"):
        layer.forward(np.ones((5, 3)))
    layer.forward(np.ones((5, 4)))
    layer.sparsity = 1.0
    with pytest.raises(ValueError, match="sparsity must be in"):
        layer.forward(np.ones((2, 4)))
    layer.sparsity = 0.5
    layer.params["scores"][0, 0] = np.nan
    with pytest.raises(ValueError, match="scores must not hold NaN"):
        layer.forward(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"dy must be \(5, 3\), got \(4, 3\)"):
        layer.backward(np.ones((4, 3)))
    with pytest.raises(TypeError, match="dy must be float64"):
        layer.backward(np.ones((5, 3), dtype=np.float32))
    assert layer.grads == {}
    assert layer.backward(np.ones((5, 3))).shape == (5, 4)  # the forward before still counts
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(np.ones((5, 3)))
    with pytest.raises(ValueError, match="network must hold at least one MovementLinear"):
        movement_scores(Sequential([linear]))
