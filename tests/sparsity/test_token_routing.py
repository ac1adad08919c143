from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax as scipy_softmax

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits, stratified_split
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer, numerical_gradient, relative_error
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.mask import top_k
from lexicon.sparsity.mixture_of_experts import MixtureOfExperts
from lexicon.sparsity.token_routing import (
    Assignment,
    LoadBalance,
    RoutedMixture,
    balance_loss,
    expert_capacity,
    route,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import accuracy, train
from lexicon.training.weight_initialization import he_normal

# Few distinct scores, so that ties are the rule and not the exception.
scores = arrays(np.float64, (7, 4), elements=st.integers(-2, 2).map(float))

# The page's worked case: four samples, two experts.
WORKED = np.log([[3.0, 1.0], [3.0, 1.0], [1.0, 3.0], [3.0, 1.0]])


def build(rng, n_in=5, experts=4):
    gate = Linear(rng.standard_normal((experts, n_in)))
    return gate, [
        mlp([n_in, 4, 3], rng=rng, activation=tanh, dtype=np.float64) for _ in range(experts)
    ]


def test_by_hand():
    assert expert_capacity(4, 2, 1, factor=1.0) == 2
    samples, dropped = route(WORKED, 1, 2)
    assert [own.tolist() for own in samples] == [[0, 1], [2]]
    assert dropped == 1  # sample 3
    loss, dz = balance_loss(WORKED, 1)
    # f = (3/4, 1/4), P = (5/8, 3/8): 2 (15/32 + 3/32) = 9/8
    np.testing.assert_allclose(loss, 1.125, rtol=1e-14)
    # dp = (3/8, 1/8) for each sample, and p₀ p₁ (dp₀ - dp₁) = 3/64
    np.testing.assert_allclose(dz, np.tile([3 / 64, -3 / 64], (4, 1)), rtol=1e-13)

    mixture = RoutedMixture(
        Linear(np.log([[3.0], [1.0]])), [Linear(np.array([[w]])) for w in (4.0, 8.0)], 1, factor=1.0
    )
    y = mixture.forward(np.array([[1.0], [1.0], [-1.0], [1.0]]))
    np.testing.assert_allclose(y, [[3.0], [3.0], [-6.0], [0.0]], rtol=1e-14)
    assert mixture.dropped == 1


@given(scores, st.integers(1, 4), st.integers(1, 9))
def test_matches_a_loop_that_serves_one_after_the_other(logits, k, capacity):
    expected, dropped = [[] for _ in range(4)], 0
    for n, row in enumerate(logits):
        for e in np.argsort(-row, kind="stable")[:k]:
            if len(expected[e]) < capacity:
                expected[e].append(n)
            else:
                dropped += 1
    assignment = route(logits, k, capacity)
    assert isinstance(assignment, Assignment)
    assert [own.tolist() for own in assignment.samples] == expected
    assert assignment.dropped == dropped
    assert sum(map(len, expected)) + dropped == 7 * k  # nobody is lost uncounted


@given(scores, st.integers(1, 4))
def test_room_for_all_drops_nobody(logits, k):
    assert route(logits, k, 7).dropped == 0
    assert route(logits, k, expert_capacity(7, 4, k, factor=4.0)).dropped == 0
    np.testing.assert_array_equal(
        [len(own) for own in route(logits, k, 7).samples], top_k(logits, k).sum(axis=0)
    )


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 64), st.data())
def test_capacity_is_the_share_rounded_up(samples, experts, quarters, data):
    k = data.draw(st.integers(1, experts))
    capacity = expert_capacity(samples, experts, k, factor=quarters / 4)
    assert capacity == ceil(Fraction(quarters, 4) * samples * k / experts) >= 1
    if quarters >= 4:
        assert capacity * experts >= samples * k  # factor 1 fits a perfect balance


def test_balance_loss_matches_its_formula_and_finite_differences(rng):
    z = rng.standard_normal((6, 4))
    for k in (1, 2, 3):
        f = top_k(z, k).mean(axis=0) / k  # held fixed
        loss, dz = balance_loss(z, k)

        def formula(f=f):
            return 4 * (f * scipy_softmax(z, axis=1).mean(axis=0)).sum()

        np.testing.assert_allclose(loss, formula(), rtol=1e-13)
        assert relative_error(dz, numerical_gradient(formula, z)) < 1e-8
        # Between jumps of the choice f is constant by itself: nothing was left out.
        whole = numerical_gradient(lambda k=k: balance_loss(z, k)[0], z)
        assert relative_error(dz, whole) < 1e-8


@given(arrays(np.float64, (6, 3), elements=st.floats(-5, 5)), st.integers(1, 3))
def test_the_balance_of_an_even_load_is_one(logits, k):
    even = np.stack([np.roll([3.0, 2.0, 1.0], n) for n in range(6)])  # each expert first twice
    np.testing.assert_allclose(balance_loss(even, k)[0], 1, rtol=1e-13)
    assert 0 < balance_loss(logits, k)[0] < 3 + 1e-12
    np.testing.assert_allclose(balance_loss(logits, 3)[0], 1, rtol=1e-12)
    np.testing.assert_allclose(balance_loss(logits, 3)[1], 0, atol=1e-12)
    np.testing.assert_allclose(balance_loss(logits, k)[1].sum(axis=1), 0, atol=1e-12)


def test_one_expert_with_everything_costs_the_number_of_experts():
    loss, _ = balance_loss(np.tile([50.0, 0.0, 0.0, 0.0], (5, 1)), 1)
    np.testing.assert_allclose(loss, 4, rtol=1e-12)


def test_the_balance_can_fall_below_one():
    # Three samples lean a little to expert 0, one leans far to expert 1.
    loss, _ = balance_loss(np.array([[0.1, 0.0]] * 3 + [[0.0, 9.0]]), 1)
    assert loss < 0.9
    # Where probabilities equal shares it cannot: Σ f² is at least 1/E.
    for f in ([0.5, 0.5], [0.7, 0.3], [1.0, 0.0]):
        assert 2 * np.square(f).sum() >= 1


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((7, 5))
    assert max(check_layer(LoadBalance(0.0, 2), x, rng=rng).values()) < 1e-8
    for k in (1, 2):
        mixture = RoutedMixture(*build(rng), k, factor=1.0)
        assert np.abs(np.diff(np.sort(mixture.gate.forward(x), axis=1))).min() > 1e-3
        assert max(check_layer(mixture, x, rng=rng).values()) < 1e-8
        assert mixture.dropped > 0
    stack = Sequential(
        [
            Linear(rng.standard_normal((5, 5)), rng.standard_normal(5)),
            mixture,
            Linear(rng.standard_normal((2, 3))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


def test_load_balance_adds_its_gradient_to_the_tasks(rng):
    # The whole loss: a weighting of the mixture's outputs, and 0.3 of the balance loss.
    linear, experts = build(rng)
    balance = LoadBalance(0.3, 2)
    mixture = MixtureOfExperts(Sequential([linear, balance]), experts, 2)
    x, dy = rng.standard_normal((7, 5)), rng.standard_normal((7, 3))

    def loss():
        y = mixture.forward(x)
        return (y * dy).sum() + 0.3 * balance.loss

    loss()
    assert balance.loss == balance_loss(linear.forward(x), 2)[0]
    dx, grads = mixture.backward(dy), mixture.grads
    assert relative_error(dx, numerical_gradient(loss, x)) < 1e-8
    for name, theta in mixture.params.items():
        assert relative_error(grads[name], numerical_gradient(loss, theta)) < 1e-8


def test_a_routed_mixture_is_the_mixture_minus_what_was_dropped(rng):
    gate, experts = build(rng)
    x = rng.standard_normal((9, 5)) + 1.0
    plain = MixtureOfExperts(gate, experts, 1).forward(x)
    roomy = RoutedMixture(gate, experts, 1, factor=4.0)
    np.testing.assert_array_equal(roomy.forward(x), plain)
    assert roomy.dropped == 0
    tight = RoutedMixture(gate, experts, 1, factor=1.0)
    y = tight.forward(x)
    samples, dropped = route(gate.forward(x), 1, 3)
    served = np.sort(np.concatenate(samples))
    assert tight.dropped == dropped == 9 - len(served) > 0
    np.testing.assert_allclose(y[served], plain[served], rtol=1e-12)
    gone = np.setdiff1d(np.arange(9), served)
    np.testing.assert_array_equal(y[gone], 0)
    np.testing.assert_array_equal(tight.backward(np.ones((9, 3)))[gone], 0)
    marked = tight.choose(gate.forward(x))
    assert (marked.sum(axis=0) <= 3).all()
    np.testing.assert_array_equal(np.flatnonzero(marked.any(axis=1)), served)


def test_the_input_is_not_changed_and_float32_stays(rng):
    x = rng.standard_normal((6, 4), np.float32)
    kept = x.copy()
    assert balance_loss(x, 2)[1].dtype == np.float32
    layer = LoadBalance(0.1, 2)
    y = layer.forward(x)
    np.testing.assert_array_equal(y, x)
    y += 1
    assert layer.backward(np.ones_like(x)).dtype == np.float32
    np.testing.assert_array_equal(x, kept)


def trained(seed, strength):
    rng = np.random.default_rng(seed)
    x, labels, x_test, labels_test = stratified_split(*load_digits(), rng=rng)
    views = np.stack([rng.permutation(64) for _ in range(4)])
    x = np.take_along_axis(x, views[rng.integers(4, size=len(x))], axis=1)
    x_test = np.take_along_axis(x_test, views[rng.integers(4, size=len(x_test))], axis=1)
    gate = Sequential([Linear(he_normal(64, 8, rng=rng)), LoadBalance(strength, 1)])
    experts = [mlp([64, 8, 10], rng=rng) for _ in range(8)]
    mixture = RoutedMixture(gate, experts, 1, factor=1.25)
    optimizer = Momentum(mixture, learning_rate=0.1)
    train(mixture, optimizer, x, labels, epochs=10, batch_size=32, rng=rng)
    read = accuracy(mixture, x_test, labels_test)
    dropped = mixture.dropped / len(x_test)
    logits = gate.forward(x_test)
    mixture.factor = 8.0
    roomy = accuracy(mixture, x_test, labels_test)
    assert mixture.dropped == 0
    load = np.sort(top_k(logits, 1).mean(axis=0))[::-1]
    return load, scipy_softmax(logits, axis=1).max(axis=1).mean(), dropped, read, roomy


def test_claim_without_balance_few_experts_get_everything():
    runs = {s: [trained(seed, s) for seed in range(3)] for s in (0.0, 0.1, 10.0)}
    for load, _, dropped, read, roomy in runs[0.0]:
        assert load[:4].sum() > 0.9  # half of the experts have nearly all
        assert dropped > 0.3
        assert roomy - read > 0.15  # most of what was lost was lost by dropping
    for load, _, dropped, _, _ in runs[0.1]:
        assert load[:4].sum() < 0.8
        assert dropped < 0.15
    for without, with_loss in zip(runs[0.0], runs[0.1], strict=True):
        assert with_loss[3] - without[3] > 0.1
    for load, largest, dropped, _, _ in runs[10.0]:
        assert load[:3].sum() > 0.95  # too strong: it collapses again
        assert largest > 0.95  # and sticks there, with a saturated softmax
        assert dropped > 0.5


def test_pitfall_ties_at_the_start_look_balanced(rng):
    gate = Linear(np.zeros((4, 5)))
    x = rng.standard_normal((100, 5))
    z = gate.forward(x)
    np.testing.assert_array_equal(top_k(z, 1).sum(axis=0), [100, 0, 0, 0])
    assert balance_loss(z, 1)[0] == 1.0
    assert route(z, 1, expert_capacity(100, 4, 1, factor=1.25)).dropped == 68
    small = Linear(0.01 * np.random.default_rng(0).standard_normal((4, 5)))
    assert top_k(small.forward(x), 1).sum(axis=0).min() > 5


def test_pitfall_a_dropped_sample_depends_on_its_batch(rng):
    gate, experts = build(rng)
    x = rng.standard_normal((8, 5))
    mixture = RoutedMixture(gate, experts, 1, factor=1.0)
    together = mixture.forward(x)
    assert mixture.dropped > 0
    alone = np.concatenate([mixture.forward(x[n : n + 1]) for n in range(8)])
    assert mixture.dropped == 0
    assert (together == 0).all(axis=1).sum() > 0
    assert (alone != 0).all()
    gate, experts = Linear(np.array([[9.0], [0.0]])), [Linear(np.ones((1, 1))) for _ in range(2)]
    mixture = RoutedMixture(gate, experts, 1, factor=1.0)
    np.testing.assert_array_equal(mixture.forward(np.ones((4, 1))).round(2), [[1], [1], [0], [0]])
    assert mixture.dropped == 2


def test_pitfall_a_strong_balance_overshoots():
    x = np.linspace(-1, 1, 8)[:, None]
    loads = {}
    for strength in (1.0, 20.0, 100.0):
        gate = Linear(np.array([[1.0], [-1.0]]), np.array([1.0, 0.0]))
        loads[strength] = []
        for _ in range(5):
            z = gate.forward(x)
            loads[strength].append(top_k(z, 1).sum(axis=0).tolist())
            gate.backward(strength * balance_loss(z, 1)[1])
            for name, theta in gate.params.items():
                theta -= gate.grads[name]
    assert loads[1.0] == [[6, 2], [5, 3], [5, 3], [5, 3], [4, 4]]
    assert loads[20.0] == [[6, 2], [0, 8], [2, 6], [4, 4], [4, 4]]
    assert loads[100.0] == [[6, 2], [0, 8], [0, 8], [0, 8], [0, 8]]


def test_bad_input(rng):
    z = np.zeros((3, 4))
    for samples, experts in ((0, 4), (3, 0)):
        with pytest.raises(ValueError, match="samples and experts must be at least 1"):
            expert_capacity(samples, experts, 1, factor=1.0)
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"k must be 1 to 4, got {k}"):
            expert_capacity(3, 4, k, factor=1.0)
        with pytest.raises(ValueError, match="k must be"):
            route(z, k, 1)
        with pytest.raises(ValueError, match="k must be"):
            balance_loss(z, k)
    for factor in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="factor must be above 0 and finite"):
            expert_capacity(3, 4, 1, factor=factor)
        with pytest.raises(ValueError, match="factor must be above 0 and finite"):
            RoutedMixture(*build(rng), 1, factor=factor)
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        route(z, 1, 0)
    for bad in (np.zeros(4), np.zeros((0, 4)), np.zeros((3, 0)), np.zeros((1, 3, 4))):
        for function in (lambda bad: route(bad, 1, 1), lambda bad: balance_loss(bad, 1)):
            with pytest.raises(ValueError, match="logits must be"):
                function(bad)
    for function in (lambda bad: route(bad, 1, 1), lambda bad: balance_loss(bad, 1)):
        with pytest.raises(ValueError, match="NaN"):
            function(np.full((3, 4), np.nan))
    with pytest.raises(TypeError, match="logits must be floating point"):
        balance_loss(np.zeros((3, 4), int), 1)
    for strength in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="strength must be 0 or above and finite"):
            LoadBalance(strength, 1)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        LoadBalance(0.1, 0)
    layer = LoadBalance(0.1, 1)
    assert layer.loss is None
    with pytest.raises(RuntimeError, match="forward first"):
        layer.backward(z)
    layer.forward(z)
    with pytest.raises(ValueError, match=r"dy must be \(3, 4\)"):
        layer.backward(np.zeros((1, 4)))
    with pytest.raises(TypeError, match="dy must be float64 like the scores, got float32"):
        layer.backward(np.zeros((3, 4), np.float32))
    layer.backward(z)
    with pytest.raises(RuntimeError, match="one for each backward"):
        layer.backward(z)
