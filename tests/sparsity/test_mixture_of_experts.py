from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax as scipy_softmax

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.foundations.softmax import Softmax
from lexicon.sparsity.mixture_of_experts import MixtureOfExperts
from lexicon.sparsity.sparse_vs_dense import dense_width, network_cost
from lexicon.sparsity.token_routing import LoadBalance
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal


def build(experts, k, *, seed=0, n_in=5, n_out=3, bias=None):
    rng = np.random.default_rng(seed)
    gate = Linear(rng.standard_normal((experts, n_in)), bias)
    parts = [
        mlp([n_in, 4, n_out], rng=rng, activation=tanh, dtype=np.float64) for _ in range(experts)
    ]
    return MixtureOfExperts(gate, parts, k)


def watched(mixture):
    """Count the samples that reach each expert."""
    reached = [0] * len(mixture.experts)

    def watch(e, forward):
        def counted(x):
            reached[e] += len(x)
            return forward(x)

        return counted

    for e, expert in enumerate(mixture.experts):
        expert.forward = watch(e, expert.forward)
    return reached


def test_by_hand():
    gate = Linear(np.log([[3.0], [1.0], [4.0]]))  # probabilities 3/8, 1/8, 4/8
    experts = [Linear(np.array([[w]])) for w in (10.0, 99.0, 20.0)]
    mixture = MixtureOfExperts(gate, experts, k=2)
    np.testing.assert_allclose(mixture.forward(np.ones((1, 1))), [[13.75]], rtol=1e-14)
    dx = mixture.backward(np.ones((1, 1)))
    dz = np.array([-1.40625, -1.71875, 3.125])
    np.testing.assert_allclose(mixture.grads["gate.weight"], dz[:, None], rtol=1e-13)
    np.testing.assert_allclose(mixture.grads["gate.bias"], dz, rtol=1e-13)
    answering = [mixture.grads[f"experts.{e}.weight"].item() for e in range(3)]
    np.testing.assert_allclose(answering, [0.375, 0, 0.5], rtol=1e-14)
    np.testing.assert_allclose(dx, [[13.75 + dz @ np.log([3, 1, 4])]], rtol=1e-13)


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((6, 5))
    for k in (1, 2, 4):
        mixture = build(4, k, bias=np.array([0.0, -6.0, 0.0, 0.0]))
        logits = mixture.gate.forward(x)
        assert mixture.choose(logits)[:, 1].any() == (k == 4)  # idle otherwise
        ranked = np.sort(logits, axis=1)
        assert all((b - a).min() > 1e-3 for a, b in pairwise(ranked.T)), "too near to a tie"
        assert max(check_layer(mixture, x, rng=rng).values()) < 1e-8
    mixture = MixtureOfExperts(build(4, 2).gate, build(4, 2).experts, 2)
    assert len(set(mixture.choose(mixture.gate.forward(x)).sum(axis=0))) > 1
    stack = Sequential(
        [
            Linear(rng.standard_normal((5, 5)), rng.standard_normal(5)),
            mixture,
            Linear(rng.standard_normal((2, 3))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7
    assert "1.experts.3.2.bias" in stack.params


@given(st.integers(1, 4), st.integers(0, 99))
def test_matches_a_loop_over_samples_and_scipy(k, seed):
    mixture = build(4, k, seed=seed)
    x = np.random.default_rng(seed).standard_normal((7, 5))
    logits = x @ mixture.params["gate.weight"].T
    p = scipy_softmax(logits, axis=1)
    expected = np.zeros((7, 3))
    for n in range(7):
        for e in np.argsort(-logits[n], kind="stable")[:k]:
            expected[n] += p[n, e] * mixture.experts[e].forward(x[n : n + 1])[0]
    np.testing.assert_allclose(mixture.forward(x), expected, rtol=1e-10, atol=1e-12)


def test_all_experts_are_the_dense_mixture(rng):
    mixture = build(3, 3)
    x = rng.standard_normal((6, 5))
    p = scipy_softmax(mixture.gate.forward(x), axis=1)
    answers = np.stack([expert.forward(x) for expert in mixture.experts])
    np.testing.assert_allclose(mixture.forward(x), np.einsum("ne,eno->no", p, answers), rtol=1e-12)
    alone = build(1, 1)  # a single expert has probability 1
    np.testing.assert_allclose(alone.forward(x), alone.experts[0].forward(x), rtol=1e-14)


@given(st.permutations(range(6)), st.integers(1, 4))
def test_the_order_of_the_batch_does_not_matter(order, k):
    mixture = build(4, k)
    x, dy = np.random.default_rng(1).standard_normal((2, 6, 5))
    y, dx = mixture.forward(x), mixture.backward(dy[:, :3])
    grads = mixture.grads
    np.testing.assert_allclose(mixture.forward(x[order]), y[order], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(mixture.backward(dy[order, :3]), dx[order], rtol=1e-10, atol=1e-12)
    for name, gradient in grads.items():
        np.testing.assert_allclose(mixture.grads[name], gradient, rtol=1e-9, atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 9))
def test_an_expert_sees_its_own_samples_and_no_others(k, samples):
    mixture = build(6, k)
    x = np.random.default_rng(samples).standard_normal((samples, 5))
    chosen = mixture.choose(mixture.gate.forward(x))
    assert (chosen.sum(axis=1) == k).all()
    reached = watched(mixture)
    mixture.forward(x)
    assert reached == chosen.sum(axis=0).tolist()
    # Hence the FLOPs of the page: two for each weight of an expert, each sample, each choice.
    weights = network_cost(mixture.experts[0]).connections
    assert sum(2 * weights * count for count in reached) == 2 * samples * k * weights


def test_the_counts_in_the_pages_prose():
    expert, gates = 64 * 8 + 8 * 10, [64 * e for e in (8, 16)]
    assert (expert, gates) == (592, [512, 1024])
    used = [gate + expert for gate in gates]
    held = [gate + e * expert for e, gate in zip((8, 16), gates, strict=True)]
    assert held == [5248, 10496]
    assert used == [1104, 1616]
    assert 4.5 < dense_width([64, 1, 10], held[0])[0] * 74 / used[0] < 5
    assert 0.09 < gates[0] / held[0] < 0.11
    rng = np.random.default_rng(0)
    mixture = MixtureOfExperts(
        Linear(he_normal(64, 8, rng=rng)), [mlp([64, 8, 10], rng=rng) for _ in range(8)], 1
    )
    weights = [theta.size for name, theta in mixture.params.items() if name.endswith("weight")]
    assert sum(weights) == 5248


def test_an_idle_expert_has_zero_gradients_of_the_right_shapes(rng):
    mixture = build(3, 1)
    mixture.gate.params["weight"][:] = 0
    x = rng.standard_normal((4, 5))
    for busy in (2, 0):  # expert 2 has gradients of its own when expert 0 gets everything
        mixture.gate.params["bias"][:] = np.where(np.arange(3) == busy, 5.0, 0.0)
        mixture.forward(x)
        mixture.backward(np.ones((4, 3)))
        assert mixture.grads.keys() == mixture.params.keys()
        for name, gradient in mixture.grads.items():
            assert gradient.shape == mixture.params[name].shape
            assert gradient.any() == (name.startswith((f"experts.{busy}.", "gate.bias", "gate.w")))


def test_the_input_is_not_changed_and_float32_stays(rng):
    mixture = MixtureOfExperts(
        Linear(he_normal(5, 4, rng=rng)), [mlp([5, 4, 3], rng=rng) for _ in range(4)], 2
    )
    x, dy = rng.standard_normal((6, 5), np.float32), rng.standard_normal((6, 3), np.float32)
    kept = x.copy(), dy.copy()
    assert mixture.forward(x).dtype == mixture.backward(dy).dtype == np.float32
    assert {gradient.dtype for gradient in mixture.grads.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(dy, kept[1])
    assert mixture.params["experts.1.0.weight"] is mixture.experts[1].layers[0].params["weight"]


def digits_in_domains(seed, domains):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    views = np.stack([np.arange(64), *(rng.permutation(64) for _ in range(domains - 1))])
    x = np.take_along_axis(x, views[rng.integers(domains, size=len(x))], axis=1)
    x_test = np.take_along_axis(x_test, views[rng.integers(domains, size=len(x_test))], axis=1)
    return x, labels, x_test, labels_test, rng


def test_claim_more_parameters_at_equal_flops():
    # Tolerances, set beforehand, for means over three seeds: it helps if the mixture is at least
    # 0.03 above the dense network of its FLOPs; it replaces the dense network of its parameters
    # if it is at most 0.02 below.
    read = {}
    for domains in (4, 1):
        for seed in range(3):
            x, labels, x_test, labels_test, rng = digits_in_domains(seed, domains)
            gate = Sequential([Linear(he_normal(64, 8, rng=rng)), LoadBalance(0.1, 1)])
            experts = [mlp([64, 8, 10], rng=rng) for _ in range(8)]
            networks = {
                "mixture": MixtureOfExperts(gate, experts, 1),
                "lean": mlp([64, dense_width([64, 1, 10], 1104)[0], 10], rng=rng),
                "large": mlp([64, dense_width([64, 1, 10], 5248)[0], 10], rng=rng),
            }
            for name, network in networks.items():
                optimizer = Momentum(network, learning_rate=0.1)
                train(network, optimizer, x, labels, epochs=12, batch_size=32, rng=rng)
                scores = read.setdefault((domains, name), [])
                scores.append(accuracy(network, x_test, labels_test))
    mean = {key: np.mean(scores) for key, scores in read.items()}
    assert mean[4, "mixture"] - mean[4, "lean"] > 0.03  # helps where the task splits
    assert mean[4, "large"] - mean[4, "mixture"] > 0.02  # does not replace the weights it idles
    assert mean[1, "lean"] > mean[1, "mixture"]  # does not help where it does not


def test_pitfall_softmax_over_the_chosen_leaves_the_gate_nothing_to_learn(rng):
    x, dy = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    mixture = build(4, 1)
    chosen = mixture.choose(mixture.gate.forward(x))
    after = Softmax()
    p = after.forward(np.where(chosen, mixture.gate.forward(x), -np.inf))
    np.testing.assert_array_equal(p, chosen)  # 1 for the chosen, whatever its score
    np.testing.assert_array_equal(after.backward(rng.standard_normal((6, 4)) * chosen), 0)
    mixture.forward(x)
    mixture.backward(dy)
    assert (mixture.grads["gate.weight"] != 0).all()


def test_pitfall_momentum_moves_an_expert_that_was_not_asked():
    for beta, moves in ((0.9, True), (0.0, False)):
        gate = Linear(np.array([[1.0], [-1.0]]))
        mixture = MixtureOfExperts(gate, [Linear(np.ones((1, 1))) for _ in range(2)], 1)
        optimizer = Momentum(mixture, learning_rate=0.1, beta=beta)
        for x in (1.0, -1.0):  # the first sample asks expert 0, the second expert 1
            before = mixture.params["experts.0.weight"].copy()
            mixture.forward(np.full((1, 1), x))
            mixture.backward(np.ones((1, 1)))
            optimizer.step()
        np.testing.assert_array_equal(mixture.grads["experts.0.weight"], [[0.0]])
        assert (mixture.params["experts.0.weight"] != before).item() == moves


def test_pitfall_multiplying_by_zero_saves_nothing(rng):
    mixture = build(4, 1)
    x = rng.standard_normal((100, 5))
    reached = watched(mixture)
    p = Softmax().forward(mixture.gate.forward(x)) * mixture.choose(mixture.gate.forward(x))
    masked = sum(p[:, e, None] * f.forward(x) for e, f in enumerate(mixture.experts))
    assert sum(reached) == 400
    y = mixture.forward(x)
    assert sum(reached) == 400 + 100
    np.testing.assert_allclose(y, masked, rtol=1e-12, atol=1e-14)


def test_bad_input(rng):
    gate, experts = Linear(np.ones((2, 3))), [Linear(np.ones((2, 3))) for _ in range(2)]
    with pytest.raises(ValueError, match="experts must hold at least one"):
        MixtureOfExperts(gate, [], 1)
    for twice in ([experts[0], experts[0]], [gate, experts[0]]):
        with pytest.raises(ValueError, match="experts and gate must be distinct"):
            MixtureOfExperts(gate, twice, 1)
    for k in (0, 3):
        with pytest.raises(ValueError, match=f"k must be 1 to 2, got {k}"):
            MixtureOfExperts(gate, experts, k)
    x = rng.standard_normal((4, 3))
    with pytest.raises(ValueError, match=r"gate must return \(4, 2\), got \(4, 5\)"):
        MixtureOfExperts(Linear(np.ones((5, 3))), experts, 1).forward(x)
    uneven = MixtureOfExperts(gate, [experts[0], Linear(np.ones((1, 3)))], 2)
    with pytest.raises(ValueError, match=r"experts must return rows of one shape"):
        uneven.forward(x)
    mixture = MixtureOfExperts(gate, experts, 1)
    with pytest.raises(RuntimeError, match="forward first"):
        mixture.backward(np.ones((4, 2)))
    with pytest.raises(TypeError, match="x must be float64"):
        mixture.forward(x.astype(np.float32))
    with pytest.raises(ValueError, match="NaN"):
        mixture.forward(np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="NaN"):
        mixture.choose(np.full((1, 2), np.nan))
    mixture.forward(x)
    with pytest.raises(TypeError, match="dy must be float64 like the output, got float32"):
        mixture.backward(np.ones((4, 2), np.float32))
    for shape in ((4, 1), (3, 2)):
        with pytest.raises(ValueError, match=r"dy must be \(4, 2\)"):
            mixture.backward(np.ones(shape))
    assert mixture.grads == {}
    mixture.backward(np.ones((4, 2)))
    with pytest.raises(RuntimeError, match="one for each backward"):
        mixture.backward(np.ones((4, 2)))
