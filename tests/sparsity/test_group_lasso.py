import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from sklearn.linear_model import MultiTaskLasso

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, relu
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.group_lasso import ProximalGroupLasso, group_soft_threshold
from lexicon.sparsity.l1_regularization import ProximalL1, soft_threshold
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent
from lexicon.training.training_loop import accuracy, train

groups = arrays(np.float64, (3, 4), elements=st.integers(-16, 16).map(lambda n: n / 4))
thresholds = st.integers(0, 24).map(lambda n: n / 4)


def length(weight):
    return np.linalg.norm(weight, axis=1)


def penalty(network, name="0.weight"):
    weight = network.params[name]
    return np.sqrt(weight.shape[1]) * length(weight).sum()


def cut(network, fold=True):
    """Leave out the dead neurons of 64-64-10, by NumPy's indexing alone."""
    weight, bias, weight_out, bias_out = network.params.values()
    alive = weight.any(axis=1)
    if fold:
        bias_out = bias_out + weight_out[:, ~alive] @ np.maximum(bias[~alive], 0)
    hidden = Linear(weight[alive], bias[alive])
    return Sequential([hidden, Activation(relu), Linear(weight_out[:, alive], bias_out)])


def test_by_hand():
    w = np.array([[3.0, 4.0], [0.3, -0.4], [0.0, 0.0]])  # lengths 5, 0.5 and 0
    shorter = group_soft_threshold(w, 1.0)
    np.testing.assert_allclose(shorter, [[2.4, 3.2], [0.0, 0.0], [0.0, 0.0]], rtol=1e-15)
    np.testing.assert_allclose(length(shorter), [4.0, 0.0, 0.0], rtol=1e-15)
    np.testing.assert_allclose(soft_threshold(w, 1.0)[:2], [[2, 3], [0, 0]], rtol=1e-15)
    uneven = np.array([[3.0, 0.2]])
    np.testing.assert_allclose(group_soft_threshold(uneven, 1.0), [[2.00, 0.13]], atol=0.005)
    np.testing.assert_array_equal(soft_threshold(uneven, 1.0), [[2.0, 0.0]])  # L1 makes a hole


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0, 2.5])
def test_is_the_minimiser_of_its_definition(rng, size, threshold):
    for w in rng.standard_normal((5, size)):

        def objective(z, w=w):
            return ((z - w) ** 2).sum() / 2 + threshold * np.sqrt((z**2).sum())

        z = group_soft_threshold(w[None], threshold)[0]
        found = minimize(
            objective, w, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14}
        )
        np.testing.assert_allclose(z, found.x, atol=1e-5)
        others = z + rng.standard_normal((200, size)) * rng.choice([1e-3, 0.1, 1], (200, 1))
        assert all(objective(z) <= objective(other) for other in others)


@given(groups, thresholds, thresholds, st.randoms(use_true_random=False))
def test_laws(w, a, b, random):
    kept = w.copy()
    shorter = group_soft_threshold(w, a)
    np.testing.assert_array_equal(w, kept)
    np.testing.assert_allclose(length(shorter), np.maximum(length(w) - a, 0), atol=1e-12)
    alive = length(w) > a + 1e-12
    np.testing.assert_allclose(  # directions stay
        shorter[alive] / length(shorter)[alive, None],
        w[alive] / length(w)[alive, None],
        atol=1e-9,
    )
    assert not shorter[length(w) < a].any()
    np.testing.assert_array_equal(group_soft_threshold(w, 0.0), w)
    np.testing.assert_allclose(
        group_soft_threshold(shorter, b), group_soft_threshold(w, a + b), atol=1e-12
    )
    order = random.sample(range(4), 4)  # members of a group have no order
    np.testing.assert_allclose(group_soft_threshold(w[:, order], a), shorter[:, order], atol=1e-12)
    # A rotation of a group is rotated through: lengths have no axes, where L1 has.
    turn = np.linalg.qr(np.random.default_rng(random.randrange(99)).standard_normal((4, 4)))[0]
    np.testing.assert_allclose(group_soft_threshold(w @ turn, a), shorter @ turn, atol=1e-12)


@given(groups, thresholds)
def test_a_group_of_one_is_the_soft_threshold(w, threshold):
    single = group_soft_threshold(w.reshape(-1, 1), threshold).reshape(w.shape)
    np.testing.assert_allclose(single, soft_threshold(w, threshold), rtol=1e-14, atol=1e-14)


def test_float32_stays_and_does_not_overflow():
    w = np.array([[3e25, 4e25], [3e-25, 4e-25]], dtype=np.float32)
    shorter = group_soft_threshold(w, np.float64(1e-26))
    assert shorter.dtype == np.float32
    np.testing.assert_allclose(shorter[0], w[0], rtol=1e-6)
    np.testing.assert_allclose(shorter[1], 0.98 * w[1], rtol=1e-6)


@pytest.mark.parametrize(("beta", "steps"), [(0.0, 2000), (0.9, 1500)])
def test_reaches_the_multi_task_lasso_of_scikit_learn(rng, beta, steps):
    # Its groups are the weights of one input to all outputs: columns. So the layer is turned:
    # outputs are fitted by xᵀ W with W of shape (inputs, outputs), and a row is a group.
    x = rng.standard_normal((60, 6))
    true = rng.standard_normal((6, 3)) * np.array([[2, 1, 0.3, 0, 0, 0]]).T
    target = x @ true + 0.5 * rng.standard_normal((60, 3))
    oracle = MultiTaskLasso(alpha=0.3, fit_intercept=False, tol=1e-14, max_iter=10**5)
    expected = oracle.fit(x, target).coef_.T
    layer = Linear(np.zeros((6, 3)))
    momentum = Momentum(layer, learning_rate=0.05, beta=beta)
    optimizer = ProximalGroupLasso(momentum, layer, strength=0.3 / np.sqrt(3), names=["weight"])
    w = layer.params["weight"]
    for _ in range(steps):
        gradient = x.T @ (x @ w - target) / 60
        layer.grads = {"weight": gradient, "bias": np.zeros(6)}
        optimizer.step()
    np.testing.assert_allclose(w, expected, atol=1e-9)
    np.testing.assert_array_equal(w.any(axis=1), expected.any(axis=1))
    assert 1 <= (~w.any(axis=1)).sum() <= 4
    # Where it stands still.
    pull, alive = x.T @ (x @ w - target) / 60, w.any(axis=1)
    assert (length(pull[~alive]) < 0.3).all()
    direction = w[alive] / length(w[alive])[:, None]
    np.testing.assert_allclose(pull[alive], -0.3 * direction, atol=1e-9)


def test_hidden_layers_shrink_by_the_root_of_their_inputs_and_nothing_else_does(rng):
    network = mlp([4, 9, 5, 2], rng=rng, dtype=np.float64)
    for name, theta in network.params.items():
        if name.endswith("bias"):
            theta[:] = 1.0
    before = {name: theta.copy() for name, theta in network.params.items()}
    momentum = Momentum(network, learning_rate=0.5, beta=0.5)
    optimizer = ProximalGroupLasso(momentum, network, strength=0.01)
    assert optimizer.names == ["0.weight", "2.weight"]
    network.forward(np.zeros((1, 4)))
    network.backward(np.zeros((1, 2)))
    optimizer.step()
    for name, theta in network.params.items():
        if name in optimizer.names:  # η λ √in / (1 - β)
            fell = length(before[name]) - length(theta)
            root = {"0.weight": 2.0, "2.weight": 3.0}[name]
            expected = np.minimum(0.5 * 0.01 * root / 0.5, length(before[name]))
            np.testing.assert_allclose(fell, expected, rtol=1e-9)
        else:
            np.testing.assert_array_equal(theta, before[name])
    chosen = ProximalGroupLasso(momentum, network, strength=0.01, names=["4.weight"])
    assert chosen.names == ["4.weight"]


def test_a_network_without_its_dead_neurons_computes_the_same(rng):
    network = mlp([6, 8, 3], rng=rng, dtype=np.float64)
    weight, bias, *_ = network.params.values()
    weight[[1, 4, 6]] = 0
    bias[:] = rng.standard_normal(8)
    bias[[1, 4, 6]] = [0.5, -0.5, 1.5]
    x = rng.standard_normal((20, 6))
    small = cut(network)
    assert small.params["0.weight"].shape == (5, 6)
    assert small.params["2.weight"].shape == (3, 5)
    np.testing.assert_allclose(small.forward(x), network.forward(x), rtol=1e-12, atol=1e-12)
    assert np.abs(cut(network, fold=False).forward(x) - network.forward(x)).max() > 0.1


def test_claim_group_lasso_removes_neurons_where_l1_leaves_holes():
    # Set beforehand: the same accuracy is a difference of means below 0.01.
    runs = [(ProximalL1, 0.001), (ProximalL1, 0.004)]
    runs += [(ProximalGroupLasso, 0.001), (ProximalGroupLasso, 0.002)]
    neurons, stored, read = np.zeros((3, len(runs), 4))
    tuned, narrow, grown, fallen = np.zeros((4, 4))
    for seed in range(4):
        split = stratified_split(*load_digits(), rng=np.random.default_rng(seed))
        x, labels, *test = split

        def trained(network, wrap, epochs, seed=seed, x=x, labels=labels):
            momentum = Momentum(network, learning_rate=0.05)
            optimizer, rng = wrap(momentum, network), np.random.default_rng(seed)
            train(network, optimizer, x, labels, epochs=epochs, batch_size=32, rng=rng)
            return network

        for i, (method, strength) in enumerate(runs):

            def wrap(momentum, network, method=method, strength=strength):
                return method(momentum, network, strength=strength, names=["0.weight"])

            network = mlp([64, 64, 10], rng=np.random.default_rng(seed))
            trained(network, wrap, 10)
            weight = network.params["0.weight"]
            alive = weight.any(axis=1)
            neurons[i, seed], stored[i, seed] = alive.sum(), (weight != 0).sum()
            read[i, seed] = accuracy(network, *test)
            if method is ProximalGroupLasso:
                # Hardly a hole: only in rows that just came back to life, from a batch in which
                # some pixels were dark.
                assert (weight[alive] != 0).mean() > 0.98
        # The last network is the group lasso's at 0.002.
        free = mlp([64, 64, 10], rng=np.random.default_rng(seed))
        trained(free, lambda momentum, _: momentum, 10)
        speaks, spoke = (net.params["2.weight"].T[alive] for net in (network, free))
        heard, used = (net.params["0.weight"][alive] for net in (network, free))
        grown[seed] = length(speaks).mean() / length(spoke).mean()
        fallen[seed] = length(heard).mean() / length(used).mean()
        small = cut(network)
        close = {"rtol": 1e-4, "atol": 1e-4}
        np.testing.assert_allclose(small.forward(test[0]), network.forward(test[0]), **close)
        assert (network.params["0.bias"][~alive] > 0).any()  # the dead who still speak
        change = np.abs(cut(network, fold=False).forward(test[0]) - network.forward(test[0]))
        assert change.max() > 0.02
        tuned[seed] = accuracy(trained(small, lambda momentum, _: momentum, 5), *test)
        fresh = mlp([64, int(alive.sum()), 10], rng=np.random.default_rng(seed))
        narrow[seed] = accuracy(trained(fresh, lambda momentum, _: momentum, 15), *test)

    l1_mild, l1_strong, mild, strong = range(4)
    assert abs(read[l1_mild].mean() - read[mild].mean()) < 0.01
    assert (neurons[l1_mild] == 64).all()
    assert (stored[l1_mild] < 4096 * 2 / 3).all()
    assert (neurons[mild] <= 59).all()
    assert neurons[mild].mean() < 54
    assert abs(read[l1_strong].mean() - read[strong].mean()) < 0.01
    assert (neurons[l1_strong] < 64).all()  # strong enough, L1 removes neurons as well
    assert (neurons[strong] < neurons[l1_strong]).all()
    assert (stored[l1_strong] < 0.5 * stored[strong]).all()
    # Trained on without the penalty it gains; and a narrow network from scratch is as good.
    assert 0.005 < tuned.mean() - read[strong].mean() < 0.02
    assert narrow.mean() >= tuned.mean()
    # What the living neurons lose in their inputs, the next layer makes up for in part.
    assert (fallen < 0.5).all()
    assert (grown > 1.2).all()


def test_pitfall_a_dead_neuron_still_speaks():
    hidden = Linear(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([0.0, 0.5]))
    output = Linear(np.array([[1.0, 3.0]]), np.array([0.0]))
    network = Sequential([hidden, Activation(relu), output])
    x = np.array([[1.0, 1.0], [2.0, 0.0]])
    np.testing.assert_array_equal(network.forward(x), [[4.5], [3.5]])
    np.testing.assert_array_equal(cut(network, fold=False).forward(x), [[3.0], [2.0]])
    np.testing.assert_array_equal(cut(network).forward(x), [[4.5], [3.5]])


def test_pitfall_one_threshold_punishes_small_groups_more(rng):
    small, large = np.full((1, 4), 0.1), np.full((1, 100), 0.1)
    assert not group_soft_threshold(small, 0.5).any()
    np.testing.assert_allclose(group_soft_threshold(large, 0.5), large / 2)
    for weight in (small, large):  # with the root, every group lives by its root mean square
        shrunk = group_soft_threshold(weight, 0.06 * np.sqrt(weight.shape[1]))
        np.testing.assert_allclose(shrunk, 0.4 * weight)


def test_pitfall_along_the_subgradient_a_group_never_arrives():
    w = np.array([[0.6, 0.63, -0.36]])
    by_slope, by_threshold = w.copy(), w.copy()
    for _ in range(30):
        by_slope -= 0.1 * by_slope / length(by_slope)[:, None]
        by_threshold = group_soft_threshold(by_threshold, 0.1)
        assert by_slope.all()
    assert 0 < length(by_slope)[0] < 0.1
    assert not by_threshold.any()


def test_pitfall_the_next_layer_makes_up_for_it(rng):
    network = mlp([6, 8, 3], rng=rng, dtype=np.float64)
    x = rng.standard_normal((5, 6))
    y, paid = network.forward(x), penalty(network)
    network.params["0.weight"][:] /= 4
    network.params["2.weight"][:] *= 4
    np.testing.assert_allclose(network.forward(x), y, rtol=1e-12)
    np.testing.assert_allclose(penalty(network), paid / 4, rtol=1e-12)


def test_bad_input():
    with pytest.raises(TypeError, match="weight must be floating point, got int64"):
        group_soft_threshold(np.array([[1, 2]]), 0.5)
    with pytest.raises(ValueError, match=r"weight must be \(groups, members\), got \(2,\)"):
        group_soft_threshold(np.ones(2), 0.5)
    for bad in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="threshold must be 0 or above and finite"):
            group_soft_threshold(np.ones((2, 2)), bad)
    rng = np.random.default_rng(0)
    network = mlp([3, 4, 2], rng=rng)
    momentum = Momentum(network, learning_rate=0.1)
    with pytest.raises(ValueError, match="strength must be 0 or above and finite, got -1"):
        ProximalGroupLasso(momentum, network, strength=-1)
    for name in ("0.bias", "1.weight"):
        with pytest.raises(ValueError, match="names must be among"):
            ProximalGroupLasso(momentum, network, strength=0.1, names=[name])
    sparse = CSRLinear.from_dense(np.eye(3), np.eye(3, dtype=bool), np.zeros(3))
    descent = StochasticGradientDescent(sparse, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"names must be of dense weights, got 'weight' of \(3,\)"):
        ProximalGroupLasso(descent, sparse, strength=0.1, names=["weight"])
