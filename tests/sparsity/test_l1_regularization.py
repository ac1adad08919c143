import tracemalloc
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from scipy.sparse import random_array
from sklearn.linear_model import Lasso

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import global_masks, prune_network
from lexicon.sparsity.l1_regularization import ProximalL1, SubgradientL1, soft_threshold
from lexicon.sparsity.magnitude_prune import magnitude_scores
from lexicon.sparsity.mask import MaskedLinear
from lexicon.sparsity.sparse_vs_dense import network_cost
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import accuracy, train

numbers = arrays(np.float64, 5, elements=st.integers(-40, 40).map(lambda n: n / 8))
thresholds = st.integers(0, 20).map(lambda n: n / 8)


def regress(method, optimizer_type, x, target, strength, *, steps, learning_rate, **kwargs):
    """Fit a linear layer to targets by full batches of the mean of ½ (y - target)²."""
    layer = Linear(np.zeros((target.shape[1], x.shape[1])))
    optimizer = optimizer_type(layer, learning_rate=learning_rate, **kwargs)
    penalized = method(optimizer, layer, strength=strength)
    for _ in range(steps):
        layer.backward((layer.forward(x) - target) / len(x))
        penalized.step()
    layer.backward((layer.forward(x) - target) / len(x))
    return layer


def test_by_hand():
    w = np.array([[0.8, -0.3, 0.05, 0.0]])
    np.testing.assert_allclose(soft_threshold(w, 0.1), [[0.7, -0.2, 0.0, 0.0]], rtol=1e-15)
    for method, expected in (
        (SubgradientL1, [[0.7, -0.2, -0.05, 0.0]]),
        (ProximalL1, [[0.7, -0.2, 0.0, 0.0]]),
    ):
        layer = Linear(w, np.array([0.5]))
        layer.forward(np.zeros((1, 4)))
        layer.backward(np.zeros((1, 1)))  # the loss does not pull at all
        method(StochasticGradientDescent(layer, learning_rate=0.1), layer, strength=1.0).step()
        np.testing.assert_allclose(layer.params["weight"], expected, rtol=1e-14)
        assert layer.params["bias"] == 0.5


@given(st.floats(-5, 5), st.floats(0, 4))
def test_soft_threshold_is_the_minimiser_of_its_definition(w, t):
    def objective(z):
        return (z - w) ** 2 / 2 + t * abs(z)

    z = float(soft_threshold(np.array([w]), t)[0])
    found = minimize_scalar(objective, bounds=(-6, 6), method="bounded", options={"xatol": 1e-9})
    assert abs(z - found.x) < 1e-6
    assert (objective(z) <= objective(np.linspace(-6, 6, 4001)) + 1e-12).all()


@given(numbers, numbers, thresholds, thresholds)
def test_laws_of_the_soft_threshold(w, u, a, b):
    kept = w.copy()
    soft = soft_threshold(w, a)
    np.testing.assert_array_equal(w, kept)
    np.testing.assert_array_equal(soft, np.sign(w) * np.maximum(np.abs(w) - a, 0))
    np.testing.assert_array_equal(soft_threshold(-w, a), -soft)
    np.testing.assert_array_equal(soft_threshold(w, 0.0), w)
    np.testing.assert_array_equal(soft_threshold(soft, b), soft_threshold(w, a + b))
    assert (np.abs(soft - soft_threshold(u, a)) <= np.abs(w - u)).all()  # nothing moves apart
    np.testing.assert_array_equal(soft == 0, np.abs(w) <= a)
    assert not np.signbit(soft[soft == 0]).any()


def test_types_shapes_and_what_is_not_finite():
    for dtype in (np.float32, np.float64):
        soft = soft_threshold(np.ones((2, 3, 4), dtype), np.float64(0.25))
        assert soft.dtype == dtype
        np.testing.assert_array_equal(soft, np.full((2, 3, 4), 0.75))
    odd = np.array([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(soft_threshold(odd, 1.0), odd)


@pytest.mark.parametrize(
    ("optimizer", "kwargs"),
    [
        (StochasticGradientDescent, {}),
        (Momentum, {"beta": 0.9}),
        (Momentum, {"beta": 0.5, "nesterov": True}),
    ],
)
def test_reaches_the_lasso_of_scikit_learn(rng, optimizer, kwargs):
    # scikit-learn minimises the same function by coordinate descent, which takes no gradient step.
    x = rng.standard_normal((60, 8))
    true = np.array([3.0, -2.0, 0.5, 0, 0, 0, 0, 0])
    target = (x @ true + 1.5 + rng.standard_normal(60))[:, None]
    lasso = Lasso(alpha=0.2, tol=1e-14, max_iter=10**5).fit(x, target[:, 0])
    layer = regress(ProximalL1, optimizer, x, target, 0.2, steps=1500, learning_rate=0.05, **kwargs)
    w = layer.params["weight"][0]
    np.testing.assert_allclose(w, lasso.coef_, atol=1e-9)
    np.testing.assert_allclose(layer.params["bias"], lasso.intercept_, atol=1e-9)
    np.testing.assert_array_equal(w == 0, lasso.coef_ == 0)
    assert 2 <= (w == 0).sum() <= 6
    # Where it stands still: pulled by less than λ at zero, by exactly λ elsewhere.
    pull = layer.grads["weight"][0]
    assert (np.abs(pull[w == 0]) < 0.2).all()
    np.testing.assert_allclose(pull[w != 0], -0.2 * np.sign(w[w != 0]), atol=1e-9)


def test_without_a_penalty_both_are_the_optimizer_itself():
    x, labels = load_digits()
    results = []
    for method in (None, SubgradientL1, ProximalL1):
        network = mlp([64, 8, 10], rng=np.random.default_rng(0))
        optimizer = Momentum(network, learning_rate=0.05)
        if method:
            optimizer = method(optimizer, network, strength=0.0)
        rng = np.random.default_rng(0)
        train(network, optimizer, x[:200], labels[:200], epochs=1, batch_size=20, rng=rng)
        results.append(network.params)
    for name, theta in results[0].items():
        assert theta.dtype == np.float32
        np.testing.assert_array_equal(results[1][name], theta)
        np.testing.assert_array_equal(results[2][name], theta)


@pytest.mark.parametrize("method", [SubgradientL1, ProximalL1])
def test_a_sparse_layer_and_a_masked_one_do_the_same(rng, method):
    mask = rng.random((6, 8)) < 0.4
    weight, bias = rng.standard_normal((6, 8)), rng.standard_normal(6)
    masked = MaskedLinear(Linear(weight, bias), mask)
    sparse = CSRLinear.from_dense(weight, mask, bias)
    for layer in (masked, sparse):
        optimizer = method(Momentum(layer, learning_rate=0.1), layer, strength=0.3)
        for seed in range(10):
            x = np.random.default_rng(seed).standard_normal((5, 8))
            layer.backward(layer.forward(x))
            optimizer.step()
    np.testing.assert_allclose(masked.params["weight"][mask], sparse.params["weight"], atol=1e-12)
    np.testing.assert_allclose(masked.params["bias"], sparse.params["bias"], atol=1e-12)
    assert (masked.params["weight"][~mask] == 0).all()
    assert (sparse.params["weight"] == 0).any() == (method is ProximalL1)


def test_only_the_named_weights_shrink_and_biases_never(rng):
    start = mlp([3, 4, 2], rng=rng, dtype=np.float64)
    for method in (ProximalL1, SubgradientL1):
        for names in (None, ["2.weight"], []):
            network = Sequential([Linear(*start.layers[i].params.values()) for i in (0, 2)])
            network.layers.insert(1, start.layers[1])
            for layer in network.layers[::2]:
                layer.params["bias"][:] = 1.0
            network.forward(np.zeros((1, 3)))
            network.backward(np.zeros((1, 2)))
            optimizer = StochasticGradientDescent(network, learning_rate=0.5)
            penalized = method(optimizer, network, strength=0.01, names=names)
            expected = ["0.weight", "2.weight"] if names is None else names
            assert penalized.names == expected
            before = {name: theta.copy() for name, theta in network.params.items()}
            penalized.step()
            for name, theta in network.params.items():
                moved = np.abs(theta - before[name])
                np.testing.assert_allclose(moved, 0.005 * (name in expected), atol=1e-3 / 7)


def test_the_slope_is_added_in_place_and_the_optimizer_sees_it(rng):
    network = mlp([3, 4, 2], rng=rng, dtype=np.float64)
    network.params["0.weight"][0, 0] = 0.0
    network.forward(rng.standard_normal((5, 3)))
    network.backward(rng.standard_normal((5, 2)))
    plain = {name: g.copy() for name, g in network.grads.items()}
    before = {name: theta.copy() for name, theta in network.params.items()}
    optimizer = Momentum(network, learning_rate=0.1)
    SubgradientL1(optimizer, network, strength=0.25).step()
    for name, theta in before.items():
        slope = 0.25 * np.sign(theta) if name.endswith("weight") else 0.0
        np.testing.assert_array_equal(network.grads[name], plain[name] + slope)
        np.testing.assert_array_equal(optimizer.velocity[name], plain[name] + slope)
        np.testing.assert_allclose(network.params[name], theta - 0.1 * (plain[name] + slope))


def test_learning_rate_is_the_optimizers_own_and_shrinking_follows_it():
    layer = Linear(np.array([[4.0]]))
    optimizer = StochasticGradientDescent(layer, learning_rate=0.5)
    penalized = ProximalL1(optimizer, layer, strength=2.0)
    assert penalized.optimizer is optimizer
    assert penalized.network is layer
    assert penalized.learning_rate == 0.5
    layer.forward(np.zeros((1, 1)))
    layer.backward(np.zeros((1, 1)))
    penalized.step()
    assert layer.params["weight"] == 3.0
    penalized.learning_rate = 0.25
    assert optimizer.learning_rate == 0.25
    penalized.step()
    assert layer.params["weight"] == 2.5
    penalized.strength = 4.0
    penalized.step()
    assert layer.params["weight"] == 1.5


def test_follow_reaches_the_optimizer():
    layer = CSRLinear.from_dense(np.ones((1, 3)), np.ones((1, 3), dtype=bool), np.zeros(1))
    optimizer = Momentum(layer, learning_rate=0.1)
    optimizer.velocity["weight"][:] = [1.0, 2.0, 3.0]
    ProximalL1(optimizer, layer, strength=0.1).follow("weight", np.array([2, -1, 0]))
    np.testing.assert_array_equal(optimizer.velocity["weight"], [3.0, 0.0, 1.0])


def test_a_sparse_layer_is_never_made_dense(rng):
    layer = CSRLinear(random_array((3000, 3000), density=1e-3, rng=rng).tocsr())
    optimizer = StochasticGradientDescent(layer, learning_rate=0.1)
    layer.grads = {name: np.zeros_like(theta) for name, theta in layer.params.items()}
    for method in (ProximalL1, SubgradientL1):
        penalized = method(optimizer, layer, strength=0.1)
        tracemalloc.start()
        penalized.step()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * 8 * layer.weight.nnz < 3000 * 3000


def test_claim_a_penalty_drives_unneeded_weights_to_zero():
    # Set beforehand: a little loss is at most 0.02 of mean accuracy against the dense network
    # trained for as long. Fine-tuning is three epochs for both.
    seeds, strengths = range(4), [0.001, 0.003]
    reference, zeros = np.zeros(len(seeds)), np.zeros((len(seeds), 2))
    slope, shrunk, tuned, cut, cut_tuned = np.zeros((5, len(seeds), 2))
    for seed in seeds:
        split = stratified_split(*load_digits(), rng=np.random.default_rng(seed))
        x, labels, *test = split

        def trained(method, strength, epochs, network=None, seed=seed, x=x, labels=labels):
            rng = np.random.default_rng(seed)
            network = network or mlp([64, 64, 10], rng=rng)
            optimizer = Momentum(network, learning_rate=0.05)
            if method:
                optimizer = method(optimizer, network, strength=strength)
            train(network, optimizer, x, labels, epochs=epochs, batch_size=32, rng=rng)
            return network

        dense = trained(None, 0.0, 10)
        reference[seed] = accuracy(dense, *test)
        dark = ~x.any(axis=0)  # pixels that are never lit: nobody needs their weights
        assert dark.sum() >= 3
        start = mlp([64, 64, 10], rng=np.random.default_rng(seed)).params["0.weight"][:, dark]
        for i, strength in enumerate(strengths):
            network = trained(SubgradientL1, strength, 10)
            slope[seed, i] = accuracy(network, *test)
            assert all(size.all() for size in magnitude_scores(network).values())  # not one zero

            network = trained(ProximalL1, strength, 10)
            shrunk[seed, i] = accuracy(network, *test)
            # Nothing but the penalty moves these weights, at every step by the same.
            steps = 10 * ceil(len(x) / 32)
            left = soft_threshold(start, steps * 0.05 * strength / (1 - 0.9))
            np.testing.assert_allclose(network.params["0.weight"][:, dark], left, atol=1e-4)
            assert (left == 0).mean() > (0.7 if strength == 0.001 else 0.99)

            masks = {name: size > 0 for name, size in magnitude_scores(network).items()}
            zeros[seed, i] = 1 - sum(mask.sum() for mask in masks.values()) / 4736
            sparse = prune_network(network, masks)
            # Cutting what is zero changes nothing: to the last bit of the same sums.
            full = prune_network(network, {n: np.ones_like(m) for n, m in masks.items()})
            np.testing.assert_array_equal(sparse.forward(test[0]), full.forward(test[0]))
            close = {"rtol": 1e-5, "atol": 2e-5}  # the dense product adds in another order
            np.testing.assert_allclose(sparse.forward(test[0]), network.forward(test[0]), **close)
            smaller = network_cost(sparse).weight_bytes < network_cost(network).weight_bytes
            assert smaller == (strength == 0.003)  # more than half has to go

            by_size = prune_network(dense, global_masks(magnitude_scores(dense), zeros[seed, i]))
            assert network_cost(by_size).connections == network_cost(sparse).connections
            cut[seed, i] = accuracy(by_size, *test)
            tuned[seed, i] = accuracy(trained(None, 0.0, 3, sparse), *test)
            cut_tuned[seed, i] = accuracy(trained(None, 0.0, 3, by_size), *test)

    assert reference.mean() > 0.95
    assert (zeros[:, 0] > 0.4).all()
    assert (zeros[:, 0] < 0.5).all()
    assert (zeros[:, 1] > 0.75).all()
    assert (reference.mean() - shrunk.mean(axis=0) < 0.02).all()
    assert (np.abs(slope.mean(axis=0) - shrunk.mean(axis=0)) < 0.01).all()
    # Against as many weights cut by size: at 0.003 better in every run before fine-tuning ...
    assert (shrunk[:, 1] > cut[:, 1]).all()
    assert (shrunk - cut).mean(axis=0)[1] > 0.03
    # ... and after it slightly behind, at both.
    behind = (cut_tuned - tuned).mean(axis=0)
    assert (behind >= 0).all()
    assert (behind < 0.02).all()


def test_pitfall_the_subgradient_oscillates_and_never_lands():
    for method in (SubgradientL1, ProximalL1):
        layer = Linear(np.array([[0.83, -0.36, 0.05]]))
        optimizer = StochasticGradientDescent(layer, learning_rate=0.1)
        penalized = method(optimizer, layer, strength=1.0)
        seen = []
        for _ in range(40):
            layer.forward(np.zeros((1, 3)))
            layer.backward(np.zeros((1, 1)))
            penalized.step()
            seen.append(layer.params["weight"][0].copy())
        late = np.array(seen[-20:])
        if method is ProximalL1:
            assert (late == 0).all()
        else:
            assert (np.sign(late[1:]) == -np.sign(late[:-1])).all()
            assert (np.abs(late) <= 0.1 + 1e-12).all()  # η λ
            assert (np.abs(late).max(axis=0) >= 0.05 - 1e-12).all()
            np.testing.assert_allclose(np.abs(late[1:] - late[:-1]), 0.1, rtol=1e-9)


def test_pitfall_momentum_outruns_a_shrinking_of_eta_lambda():
    # ½ (w - 0.5)² + 0.2 |w| has its minimum at 0.3.
    found = {}
    for beta in (0.0, 0.9):
        layer, by_hand = Linear(np.zeros((1, 1))), Linear(np.zeros((1, 1)))
        right = ProximalL1(
            Momentum(layer, learning_rate=0.1, beta=beta), layer, strength=0.2, names=["weight"]
        )
        naive = Momentum(by_hand, learning_rate=0.1, beta=beta)
        for _ in range(500):
            for each in (layer, by_hand):
                each.forward(np.ones((1, 1)))
                each.backward(each.params["weight"] - 0.5)
                each.grads["bias"][:] = 0
            right.step()
            naive.step()
            by_hand.params["weight"][...] = soft_threshold(by_hand.params["weight"], 0.1 * 0.2)
        found[beta] = layer.params["weight"].item(), by_hand.params["weight"].item()
    np.testing.assert_allclose(found[0.0], [0.3, 0.3], rtol=1e-9)
    np.testing.assert_allclose(found[0.9], [0.3, 0.48], rtol=1e-9)  # as if λ were 0.02


def test_pitfall_the_large_weights_shrink_as_well(rng):
    x = np.linalg.qr(rng.standard_normal((40, 4)))[0] * np.sqrt(40)  # xᵀx / N = 1
    target = x @ np.array([[3.0], [1.0], [0.0], [0.0]]) + 0.1 * rng.standard_normal((40, 1))
    best = np.linalg.lstsq(x, target, rcond=None)[0].T
    lasso = regress(
        ProximalL1, StochasticGradientDescent, x, target, 0.5, steps=300, learning_rate=0.1
    )
    w = lasso.params["weight"]
    centred = regress(
        ProximalL1, StochasticGradientDescent, x, target, 0.0, steps=300, learning_rate=0.1
    ).params["weight"]
    assert ((w != 0) == [[True, True, False, False]]).all()
    np.testing.assert_allclose(w[0, :2], [2.5, 0.5], atol=0.1)
    # The cure: keep the choice, drop the penalty.
    pruned = prune_network(Sequential([lasso]), {"0.weight": w != 0})
    optimizer = StochasticGradientDescent(pruned, learning_rate=0.1)
    for _ in range(300):
        pruned.backward((pruned.forward(x) - target) / 40)
        optimizer.step()
    np.testing.assert_allclose(pruned.params["0.weight"], [3.0, 1.0], atol=0.1)
    np.testing.assert_allclose(pruned.params["0.weight"], centred[0, :2], atol=0.05)
    np.testing.assert_allclose(centred, best, atol=0.1)


def test_bad_input():
    with pytest.raises(TypeError, match="theta must be floating point, got int64"):
        soft_threshold(np.array([1, 2]), 0.5)
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="threshold must be 0 or above and finite"):
            soft_threshold(np.ones(2), bad)
    network = mlp([3, 4, 2], rng=np.random.default_rng(0))
    before = {name: theta.copy() for name, theta in network.params.items()}
    optimizer = Momentum(network, learning_rate=0.1)
    for method in (ProximalL1, SubgradientL1):
        for bad in (-0.1, np.nan, np.inf):
            with pytest.raises(ValueError, match="strength must be 0 or above and finite"):
                method(optimizer, network, strength=bad)
            penalized = method(optimizer, network, strength=0.1)
            with pytest.raises(ValueError, match="strength must be 0 or above and finite"):
                penalized.strength = bad
            assert penalized.strength == 0.1
        with pytest.raises(ValueError, match="names must differ"):  # it would shrink twice
            method(optimizer, network, strength=0.1, names=["0.weight", "0.weight"])
        for name in ("0.bias", "1.weight"):
            with pytest.raises(ValueError, match=rf"names must be among .*, got '{name}'"):
                method(optimizer, network, strength=0.1, names=["0.weight", name])
        with pytest.raises(RuntimeError, match="step needs the gradients of a backward"):
            method(optimizer, network, strength=0.1).step()
    network.forward(np.ones((1, 3), dtype=np.float32))
    network.backward(np.ones((1, 2), dtype=np.float32))
    network.layers[0].grads["weight"] = np.ones(3, dtype=np.float32)  # of a backward long ago
    for method in (ProximalL1, SubgradientL1):
        with pytest.raises(RuntimeError, match=r"the gradient of 0\.weight must be \(4, 3\)"):
            method(optimizer, network, strength=0.1).step()
    for name, theta in network.params.items():
        np.testing.assert_array_equal(theta, before[name])
