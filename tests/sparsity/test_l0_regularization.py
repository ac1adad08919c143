import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import logistic

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.foundations.forward_pass import Sequential, evaluating
from lexicon.foundations.gradient_check import check_layer, numerical_gradient, relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.l0_regularization import HardConcrete, fold_gates
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import top_k
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import minibatches
from lexicon.training.training_loop import accuracy, train


class Held:
    """Stands in for a generator, and draws the same numbers every time."""

    def __init__(self, u):
        self.u = np.array(u)

    def random(self, size):
        assert size == len(self.u)
        return self.u


def test_by_hand():
    gate = HardConcrete(np.zeros(3), penalty=0.5, rng=Held([0.1, 0.6, 0.9]))
    x = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    y = gate.forward(x)
    assert y[0, 0] == 0  # exactly
    assert y[0, 1] == pytest.approx(0.677, abs=5e-4)
    assert y[0, 2] == 1  # exactly
    np.testing.assert_array_equal(y[1], 2 * y[0])
    s = 1 / (1 + (0.4 / 0.6) ** 1.5)  # σ((log 0.6 - log 0.4) · 3/2)
    assert s == pytest.approx(0.648, abs=5e-4)
    assert y[0, 1] == pytest.approx(1.2 * s - 0.1, rel=1e-14)
    for u, shown, stretched in ((0.1, 0.036, -0.057), (0.9, 0.964, 1.057)):
        other = 1 / (1 + ((1 - u) / u) ** 1.5)
        assert other == pytest.approx(shown, abs=5e-4)
        assert 1.2 * other - 0.1 == pytest.approx(stretched, abs=5e-4)
    np.testing.assert_array_equal(gate.backward(np.ones((2, 3))), [y[0], y[0]])
    p = gate.open_probability
    np.testing.assert_allclose(p, 0.832, atol=5e-4)
    price = 0.5 * p * (1 - p)  # dz is 1 + 2 for each gate, and the slope is 0 where cut off
    expected = price + np.array([0, 3 * 1.2 * s * (1 - s) * 1.5, 0])
    np.testing.assert_allclose(gate.grads["log_alpha"], expected, rtol=1e-12)
    gate.training = False
    np.testing.assert_allclose(gate.forward(x), x / 2, rtol=1e-15)
    np.testing.assert_allclose(gate.gates, 0.5, rtol=1e-15)


def test_a_gate_is_shut_from_minus_2_398_down_and_open_from_plus_2_398_up():
    around = np.array([-2.399, -2.397, 2.397, 2.399])
    z = HardConcrete(around, penalty=0.0, rng=np.random.default_rng(0)).gates
    assert z[0] == 0 < z[1] < z[2] < z[3] == 1
    assert np.log(11) == pytest.approx(2.398, abs=5e-4)


def test_gradient_with_the_noise_held_alone_and_in_a_stack(rng):
    # Draws away from the cuts, where there is no derivative; the price has its own test.
    x = rng.standard_normal((5, 4))
    for training in (True, False):
        gate = HardConcrete(
            np.array([0.5, -1.0, 2.0, -3.0]), penalty=0.0, rng=Held([0.3, 0.6, 0.2, 0.5])
        )
        gate.training = training
        assert max(check_layer(gate, x, rng=rng).values()) < 1e-8
        z = gate.forward(np.ones((1, 4)))
        assert ((z > 0) & (z < 1)).sum() == 3
        stack = Sequential(
            [Linear(rng.standard_normal((4, 4))), gate, Linear(np.eye(3, 4)), Activation(tanh)]
        )
        assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@pytest.mark.parametrize("temperature", [2 / 3, 0.3])
def test_the_price_has_the_slope_of_the_expected_count(temperature):
    gate = HardConcrete(
        np.array([-4.0, 0.0, 3.0]),
        penalty=0.7,
        rng=np.random.default_rng(0),
        temperature=temperature,
    )
    gate.forward(np.ones((2, 3)))
    gate.backward(np.zeros((2, 3)))
    measured = numerical_gradient(
        lambda: 0.7 * gate.open_probability.sum(), gate.params["log_alpha"]
    )
    assert relative_error(gate.grads["log_alpha"], measured) < 1e-8


@given(st.floats(-4, 4), st.sampled_from([0.2, 2 / 3, 1.5]))
def test_how_often_a_gate_is_open_is_what_the_formula_says(log_alpha, temperature):
    n = 4000
    gate = HardConcrete(
        np.full(n, log_alpha), penalty=0.0, rng=np.random.default_rng(0), temperature=temperature
    )
    p = gate.open_probability[0]
    # SciPy's logistic distribution as the oracle: noise above the place where the cut begins.
    assert p == pytest.approx(logistic.sf(temperature * np.log(0.1 / 1.1), loc=log_alpha))
    z = gate.forward(np.ones((1, n)))
    assert abs((z > 0).mean() - p) <= 4 * np.sqrt(p * (1 - p) / n)  # binomial
    ones = logistic.sf(temperature * np.log(1.1 / 0.1), loc=log_alpha)
    assert abs((z == 1).mean() - ones) <= 4 * np.sqrt(ones * (1 - ones) / n)


def test_the_slope_of_a_draw_is_that_of_the_mean_without_bias():
    def mean(log_alpha):  # over u, by quadrature
        ends = logistic.cdf(np.log([1 / 11, 11]) * 2 / 3 - log_alpha)
        s = lambda u: 1 / (1 + np.exp(-(np.log(u / (1 - u)) + log_alpha) * 1.5))  # noqa: E731
        return quad(lambda u: 1.2 * s(u) - 0.1, *ends)[0] + 1 - ends[1]

    for log_alpha in (-2.0, 0.0, 1.0):
        n = 20_000
        gate = HardConcrete(np.full(n, log_alpha), penalty=0.0, rng=np.random.default_rng(0))
        z = gate.forward(np.ones((1, n)))
        assert abs(z.mean() - mean(log_alpha)) < 4 * z.std() / np.sqrt(n)
        gate.backward(np.ones((1, n)))
        slope = gate.grads["log_alpha"]
        true = (mean(log_alpha + 1e-4) - mean(log_alpha - 1e-4)) / 2e-4
        assert abs(slope.mean() - true) < 4 * slope.std() / np.sqrt(n)
        assert 0 < 8 * slope.std() / np.sqrt(n) < 0.2 * true  # and that says something


def test_cold_it_is_a_coin():
    gate = HardConcrete(
        np.full(10_000, 1.0), penalty=0.0, rng=np.random.default_rng(0), temperature=1e-6
    )
    z = gate.forward(np.ones((1, 10_000)))
    assert set(np.unique(z)) == {0, 1}
    assert abs(z.mean() - 1 / (1 + np.exp(-1))) < 0.02
    np.testing.assert_allclose(gate.open_probability, 1 / (1 + np.exp(-1)), atol=1e-5)


def test_noise_is_drawn_anew_for_each_batch_and_the_same_seed_gives_the_same_bits(rng):
    first, second = (
        HardConcrete(np.zeros(6), penalty=0.0, rng=np.random.default_rng(3)) for _ in range(2)
    )
    x = np.ones((4, 6))
    draws = [first.forward(x), first.forward(x)]
    assert (draws[0] == draws[0][0]).all()  # one draw for all samples
    assert (draws[0] != draws[1]).any()
    for draw in draws:
        np.testing.assert_array_equal(second.forward(x), draw)
    first.training = False
    x = rng.standard_normal((4, 6))
    np.testing.assert_array_equal(first.forward(x), x * first.gates)


def test_float32_stays_and_nothing_given_is_changed(rng):
    log_alpha = np.zeros(4, dtype=np.float32)
    gate = HardConcrete(log_alpha, penalty=0.1, rng=rng)
    x = rng.standard_normal((3, 4), dtype=np.float32)
    same = x.copy()
    for training in (True, False):
        gate.training = training
        assert gate.forward(x).dtype == gate.backward(x).dtype == np.float32
        assert gate.grads["log_alpha"].dtype == np.float32
    assert gate.gates.dtype == np.float32
    gate.params["log_alpha"] += 1
    np.testing.assert_array_equal(log_alpha, 0)
    np.testing.assert_array_equal(x, same)


def test_folded_and_pruned_it_computes_the_same(rng):
    outer = HardConcrete(np.array([3.0, -3.0, 0.5, -5.0]), penalty=0.0, rng=rng)
    inner = HardConcrete(np.array([-1.0, -9.0, 9.0]), penalty=0.0, rng=rng)
    first = Linear(rng.standard_normal((3, 4)), rng.standard_normal(3))
    last = Linear(rng.standard_normal((2, 3)), rng.standard_normal(2))
    network = Sequential([Sequential([outer, first, Activation(tanh)]), inner, last])
    outer.training = inner.training = False
    plain = fold_gates(network)
    assert [*plain.params] == ["0.0.weight", "0.0.bias", "1.weight", "1.bias"]
    masks = {name: plain.params[name] != 0 for name in ("0.0.weight", "1.weight")}
    masks["0.0.weight"] &= (inner.gates > 0)[:, None]  # nobody reads neuron 1
    pruned = prune_network(plain, masks)
    assert pruned.params["0.0.weight"].size == 2 * 2
    assert pruned.params["1.weight"].size == 2 * 2
    x = rng.standard_normal((5, 4))
    before = first.params["weight"].copy()
    for other in (plain, pruned):
        np.testing.assert_allclose(other.forward(x), network.forward(x), rtol=1e-12)
    plain.params["1.weight"] += 1
    plain.params["1.bias"] += 1
    np.testing.assert_array_equal(first.params["weight"], before)
    np.testing.assert_allclose(pruned.forward(x), network.forward(x), rtol=1e-12)


def test_layers_without_a_gate_are_copied(rng):
    linear = Linear(rng.standard_normal((2, 3)))
    copied = fold_gates(Sequential([linear]))
    np.testing.assert_array_equal(copied.params["0.weight"], linear.params["weight"])
    copied.params["0.weight"] += 1
    assert (copied.params["0.weight"] != linear.params["weight"]).all()


def learn(seed, price, x, labels, start=2.0, rate=10.0):
    rng, loss = np.random.default_rng(seed), CrossEntropy()
    plain = mlp([64, 64, 10], rng=rng)
    log_alpha = np.full(64, start, dtype=np.float32)
    gates = [HardConcrete(log_alpha, penalty=price, rng=rng) for _ in range(2)]
    first, relu, last = plain.layers
    network = Sequential([gates[0], first, relu, gates[1], last])
    optimizers = Momentum(plain, learning_rate=0.1), Momentum(Sequential(gates), learning_rate=rate)
    for batch in (b for _ in range(10) for b in minibatches(len(x), 64, rng=rng)):
        loss.forward(network.forward(x[batch]), labels[batch])
        network.backward(loss.backward())
        for optimizer in optimizers:
            optimizer.step()
    for gate in gates:
        gate.training = False
    return network, *gates


def share_right(network, x, labels):
    """Answer in the mode that the gates are in, which `accuracy` does not."""
    return (network.forward(x).argmax(axis=1) == labels).mean()


def both_ends(feed, use):
    return {"0.weight": np.outer(use, feed), "2.weight": np.tile(use, (10, 1))}


def tuned(network, x, labels):
    optimizer, rng = Momentum(network, learning_rate=0.1), np.random.default_rng(0)
    train(network, optimizer, x, labels, epochs=3, batch_size=64, rng=rng)
    return network


def test_claim_gates_prune_without_a_fall_and_magnitude_catches_up():
    # Set beforehand: little loss is at most 0.02 of mean accuracy, near is within 0.03.
    left, whole = np.zeros((2, 4, 4))
    read = np.zeros((3, 2, 4, 3))  # gates, magnitude, norms of pixels and neurons; pruned, tuned
    for seed in range(4):
        x, labels, *apart = stratified_split(*load_digits(), rng=np.random.default_rng(seed))
        dense = mlp([64, 64, 10], rng=np.random.default_rng(seed))
        rng, optimizer = np.random.default_rng(seed), Momentum(dense, learning_rate=0.1)
        train(dense, optimizer, x, labels, epochs=10, batch_size=64, rng=rng)
        a, b = dense.params["0.weight"], dense.params["2.weight"]
        norms = (a**2).sum(axis=0), (a**2).sum(axis=1) * (b**2).sum(axis=0)
        for i, price in enumerate([0.0, 0.016, 0.032, 0.064]):
            network, pixels, neurons = learn(seed, price, x, labels)
            feed, use = pixels.gates > 0, neurons.gates > 0
            masks = both_ends(feed, use)
            count = sum(mask.sum() for mask in masks.values())
            left[seed, i] = count / 4736
            whole[seed, i] = accuracy(network, *apart)
            if price == 0:
                continue
            largest = (top_k(n, int(c.sum())) for n, c in zip(norms, (feed, use), strict=True))
            for j, pruned in enumerate(
                (
                    prune_network(fold_gates(network), masks),
                    prune_network(dense, global_masks(magnitude_scores(dense), 1 - count / 4736)),
                    prune_network(dense, both_ends(*largest)),
                )
            ):
                assert sum(w.size for w in magnitude_scores(pruned).values()) == count
                read[j, 0, seed, i - 1] = accuracy(pruned, *apart)
                read[j, 1, seed, i - 1] = accuracy(tuned(pruned, x, labels), *apart)
    np.testing.assert_allclose(read[0, 0], whole[:, 1:], atol=0.004)  # shutting costs nothing
    assert (np.diff(left, axis=1) < 0).all()  # the dearer, the fewer
    assert (left[:, 1:].mean(axis=0) < [1 / 3, 1 / 4, 1 / 10]).all()
    loss = (whole[:, :1] - whole[:, 1:]).mean(axis=0)
    assert loss[0] < 0.02
    assert 0.01 < loss[1] < 0.05 < loss[2]
    ahead = read[0] - read[1]  # of magnitude; pruned, tuned
    mean = ahead.mean(axis=1)
    assert mean[0, 0] > 0
    assert mean[0, 1] > 0.01
    assert mean[0, 2] > 0.1
    assert (ahead[0, :, 2] > 0).all()
    assert (np.abs(mean[1, :2]) < 0.03).all()
    assert mean[1, 2] < -0.03
    assert (ahead[1, :, 2] < 0).all()
    assert (np.abs((read[0] - read[2])[1].mean(axis=0)) < 0.03).all()


def test_pitfall_the_noise_is_left_on(rng):
    x, labels, *apart = stratified_split(*load_digits(), rng=rng)
    network, *gates = learn(0, 0.0, x, labels, rate=0.1)  # too slow to decide
    without = accuracy(network, *apart)
    for gate in gates:
        gate.training = True
    draws = [share_right(network, *apart) for _ in range(10)]
    assert len(set(draws)) > 1
    assert np.mean(draws) < without - 0.01
    assert {accuracy(network, *apart) for _ in range(10)} == {without}
    with evaluating(network):
        assert share_right(network, *apart) == without
    # Decided gates hide it.
    network, *gates = learn(0, 0.016, x, labels)
    without = accuracy(network, *apart)
    for gate in gates:
        gate.training = True
    assert abs(np.mean([share_right(network, *apart) for _ in range(10)]) - without) < 0.01


def test_pitfall_the_price_in_another_unit_shuts_all(rng):
    x, labels, *_ = stratified_split(*load_digits(), rng=rng)
    assert [(gate.gates > 0).sum() for gate in learn(0, 0.1 * 64, x, labels)[1:]] == [0, 0]
    left = [(gate.gates > 0).sum() for gate in learn(0, 0.1 * 64 / len(x), x, labels)[1:]]
    assert all(30 < count < 64 for count in left)


def test_pitfall_gates_that_never_shut(rng):
    x, labels, *_ = stratified_split(*load_digits(), rng=rng)
    for start, rate, counts in ((8.0, 10.0, {64}), (2.0, 0.1, {64}), (2.0, 10.0, set(range(45)))):
        for gate in learn(0, 0.02, x, labels, start, rate)[1:]:
            assert (gate.gates > 0).sum() in counts


def test_pitfall_too_cold_or_too_hot():
    shares = []
    for temperature in (0.05, 2 / 3, 5.0):
        rng, n = np.random.default_rng(0), 10_000
        gate = HardConcrete(np.zeros(n), penalty=0.0, rng=rng, temperature=temperature)
        z = gate.forward(np.ones((1, n)))
        gate.backward(np.ones((1, n)))
        between = (z > 0) & (z < 1)
        np.testing.assert_array_equal(gate.grads["log_alpha"] != 0, between[0])
        shares.append([(z == 0).mean(), between.mean()])
    assert shares[0][1] < 0.1  # few draws carry a slope
    assert 0.1 < shares[1][0] < 0.2
    assert shares[2][0] < 0.001  # hardly a draw is 0
    assert shares[2][1] > 0.999


def test_bad_input():
    rng = np.random.default_rng(0)
    start = np.zeros(3)
    with pytest.raises(TypeError, match="log_alpha must be floating point, got int64"):
        HardConcrete(np.zeros(3, dtype=np.int64), penalty=0.0, rng=rng)
    for bad in (np.zeros((3, 1)), np.zeros(0), np.array([0.0, np.inf])):
        with pytest.raises(ValueError, match=r"log_alpha must be \(n ≥ 1,\) and finite"):
            HardConcrete(bad, penalty=0.0, rng=rng)
    for number in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="penalty must be 0 or above and finite"):
            HardConcrete(start, penalty=number, rng=rng)
    for number in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="temperature must be above 0 and finite"):
            HardConcrete(start, penalty=0.0, rng=rng, temperature=number)
    gate = HardConcrete(start, penalty=0.0, rng=Held([0.5, 0.5, 0.5]))
    with pytest.raises(RuntimeError, match="forward first"):
        gate.backward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"x must be \(N ≥ 1, 3\), got \(2, 4\)"):
        gate.forward(np.ones((2, 4)))
    with pytest.raises(TypeError, match="x must be float64"):
        gate.forward(np.ones((2, 3), dtype=np.float32))
    gate.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"dy must be \(2, 3\), got \(1, 3\)"):
        gate.backward(np.ones((1, 3)))
    with pytest.raises(TypeError, match="dy must be float64"):
        gate.backward(np.ones((2, 3), dtype=np.float32))
    assert gate.grads == {}
    np.testing.assert_allclose(gate.backward(np.ones((2, 3))), 0.5)
    with pytest.raises(RuntimeError, match="one for each backward"):
        gate.backward(np.ones((2, 3)))
    with pytest.raises(TypeError, match="gates must stand before a Linear, got Activation"):
        fold_gates(Sequential([gate, Activation(tanh), Linear(np.eye(3))]))
    with pytest.raises(TypeError, match="gates must stand before a Linear, got the end"):
        fold_gates(Sequential([Sequential([Linear(np.eye(3)), gate]), Linear(np.eye(3))]))
