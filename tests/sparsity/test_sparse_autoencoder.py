from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexicon.data import load_digits
from lexicon.foundations.activation import Activation, tanh
from lexicon.foundations.forward_pass import Sequential
from lexicon.foundations.gradient_check import check_layer
from lexicon.foundations.linear_layer import Linear
from lexicon.sparsity.sparse_autoencoder import (
    SparseAutoencoder,
    matched_cosines,
    train_autoencoder,
)
from lexicon.training.momentum import Momentum
from lexicon.training.stochastic_gradient_descent import StochasticGradientDescent


def small(k=1):
    model = SparseAutoencoder(2, 3, k, rng=np.random.default_rng(0), dtype=np.float64)
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    model.params["0.weight"][:] = rows
    model.params["3.weight"][:] = rows.T
    return model


def test_by_hand():
    model = small()
    np.testing.assert_allclose(model.forward(np.array([[3.0, 4.0]])), [[3.0, 4.0]], rtol=1e-15)
    np.testing.assert_allclose(model.code, [[0, 0, 5.0]], rtol=1e-15)
    # Another sample, rebuilt by feature 1: scores 0, 2, 1.6, error (0, 0), then a decoder bias.
    model.params["3.bias"][:] = [1.0, -1.0]
    np.testing.assert_array_equal(model.forward(np.array([[0.0, 2.0]])), [[1.0, 1.0]])
    dx = model.backward(np.array([[1.0, -1.0]]))
    np.testing.assert_array_equal(model.grads["3.bias"], [1.0, -1.0])
    np.testing.assert_array_equal(model.grads["3.weight"], [[0, 2.0, 0], [0, -2.0, 0]])
    np.testing.assert_array_equal(model.grads["0.bias"], [0, -1.0, 0])
    np.testing.assert_array_equal(model.grads["0.weight"], [[0, 0], [0, -2.0], [0, 0]])
    np.testing.assert_array_equal(dx, [[0, -1.0]])


def test_winners_that_are_negative_say_nothing():
    model = small(k=3)
    model.forward(np.array([[-1.0, 2.0]]))
    np.testing.assert_allclose(model.code, [[0, 2.0, 1.0]], rtol=1e-14)


def test_gradient_alone_and_in_a_stack(rng):
    x = rng.standard_normal((5, 4))
    model = SparseAutoencoder(4, 7, 3, rng=rng, dtype=np.float64)
    model.params["0.bias"][:] = rng.standard_normal(7)
    assert max(check_layer(model, x, rng=rng).values()) < 1e-8
    stack = Sequential(
        [
            Linear(rng.standard_normal((4, 4))),
            model,
            Linear(rng.standard_normal((2, 4))),
            Activation(tanh),
        ]
    )
    assert max(check_layer(stack, x, rng=rng).values()) < 1e-7


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_at_most_k_speak_and_no_amount_is_negative(seed, k):
    rng = np.random.default_rng(seed)
    model = SparseAutoencoder(3, 6, k, rng=rng, dtype=np.float64)
    x = rng.standard_normal((8, 3))
    rebuilt = model.forward(x)
    assert ((model.code > 0).sum(axis=1) <= k).all()
    assert (model.code >= 0).all()
    np.testing.assert_allclose(rebuilt, model.code @ model.features, atol=1e-14)


def test_it_starts_with_unit_features_and_the_encoder_alike(rng):
    model = SparseAutoencoder(5, 9, 2, rng=rng)
    np.testing.assert_allclose(np.linalg.norm(model.features, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.features, model.params["0.weight"])
    assert model.code is None
    assert {name: theta.shape for name, theta in model.params.items()} == {
        "0.weight": (9, 5),
        "0.bias": (9,),
        "3.weight": (5, 9),
        "3.bias": (5,),
    }


def test_normalize_keeps_directions_and_leaves_a_zero():
    model = small()
    kept = model.params["3.weight"]
    kept[:] = [[3.0, 0.0, 0.0], [4.0, -2.0, 0.0]]
    model.normalize()
    np.testing.assert_allclose(model.features, [[0.6, 0.8], [0, -1.0], [0, 0]], rtol=1e-15)
    assert model.params["3.weight"] is kept


def test_one_step_of_training_by_hand():
    model = small()
    x = np.array([[0.0, 2.0], [0.0, 4.0]])
    model.params["3.bias"][:] = [0.0, 1.0]  # the error of both is (0, 1)
    optimizer = StochasticGradientDescent(model, learning_rate=0.1)
    rng = np.random.default_rng(0)
    losses = train_autoencoder(model, optimizer, x, epochs=1, batch_size=2, rng=rng)
    assert losses == [0.5]
    np.testing.assert_allclose(model.params["3.bias"], [0, 0.9], rtol=1e-15)
    np.testing.assert_allclose(model.params["0.weight"][1], [0, 0.7], rtol=1e-15)  # 1 - 0.1 · 3
    np.testing.assert_allclose(model.features[1], [0, 1], rtol=1e-15)  # 0.7 before


def test_matched_cosines_agree_with_trying_every_pairing(rng):
    planted, found = rng.standard_normal((3, 4)), rng.standard_normal((5, 4))
    lengths = np.linalg.norm(planted, axis=1)[:, None] * np.linalg.norm(found, axis=1)
    cosines = abs(planted @ found.T) / lengths
    best = max(sum(cosines[i, j] for i, j in enumerate(p)) for p in permutations(range(5), 3))
    np.testing.assert_allclose(matched_cosines(planted, found).sum(), best, rtol=1e-12)
    np.testing.assert_allclose(matched_cosines(planted, -7 * planted), 1, rtol=1e-12)
    twice = np.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(matched_cosines(twice[[0, 0]], twice), [1, 0])  # not both the same


def plant(rng):
    planted = rng.standard_normal((40, 20)).astype(np.float32)
    planted /= np.linalg.norm(planted, axis=1, keepdims=True)
    amounts = np.zeros((2000, 40), dtype=np.float32)
    for sample in amounts:
        sample[rng.choice(40, 3, replace=False)] = rng.uniform(0.5, 1.5, size=3)
    return planted, amounts @ planted


def test_planted_features_are_found_where_few_may_speak():
    # The bounds leave room around what seeds 0 to 4 and 20 to 27 gave; these are others.
    for seed in range(10, 15):
        cosines, losses = {}, {}
        for features, k in [(80, 3), (40, 3), (80, 12)]:
            rng = np.random.default_rng(seed)
            planted, x = plant(rng)
            model = SparseAutoencoder(20, features, k, rng=rng)
            chance = matched_cosines(planted, model.features).mean()
            optimizer = Momentum(model, learning_rate=0.2)
            history = train_autoencoder(model, optimizer, x, epochs=20, batch_size=50, rng=rng)
            cosines[features, k] = matched_cosines(planted, model.features)
            losses[features, k] = history[-1]
            if features == 80:
                assert 0.5 < chance < 0.6
        assert cosines[80, 3].mean() > 0.93
        assert (cosines[80, 3] > 0.9).sum() >= 35
        assert 0.78 < cosines[40, 3].mean() < 0.96
        assert cosines[40, 3].mean() < cosines[80, 3].mean()
        assert (cosines[80, 12] > 0.9).sum() <= 3  # the lowest loss, and hardly one found
        assert losses[80, 12] < losses[80, 3] / 2
        axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2]
        assert (matched_cosines(axes, planted) < 0.9).all()


def test_surplus_features_are_dead_or_mixtures():
    rng = np.random.default_rng(10)
    planted, x = plant(rng)
    model = SparseAutoencoder(20, 160, 3, rng=rng)
    optimizer = Momentum(model, learning_rate=0.2)
    train_autoencoder(model, optimizer, x, epochs=20, batch_size=50, rng=rng)
    assert (matched_cosines(planted, model.features) > 0.9).sum() >= 37
    nearest = (planted @ model.features[~model.dead(x)].T).max(axis=0)
    assert (nearest < 0.9).sum() > 40


def test_pitfall_dead_features_on_digits_and_reviving_them():
    x, _ = load_digits()
    for seed in range(3):
        dead, losses = [], []
        for revive in (False, True):
            rng = np.random.default_rng(seed)
            model = SparseAutoencoder(64, 64, 4, rng=rng)
            optimizer = Momentum(model, learning_rate=0.05)
            history = train_autoencoder(
                model, optimizer, x, epochs=20, batch_size=50, rng=rng, revive=revive
            )
            dead.append(model.dead(x).sum())
            losses.append(history[-1])
        assert dead[0] > 12
        assert dead[1] < dead[0] / 2
        assert losses[1] < losses[0]


def test_dead_and_revive_by_hand():
    model = small()
    model.params["0.bias"][:] = [-9.0, 0.0, -9.0]
    x = np.array([[1.0, 1.0], [5.0, 0.5], [0.0, 1.0]])  # all rebuilt by feature 1, errors 1, 5, 0
    np.testing.assert_array_equal(model.dead(x), [True, False, True])
    assert model.revive(x) == 2
    np.testing.assert_array_equal(model.features, [[1, 0], [0, 1], [1, 0]])
    np.testing.assert_array_equal(model.params["0.weight"], model.features)
    np.testing.assert_array_equal(model.params["0.bias"], [0, 0, 0])
    model.params["0.bias"][:] = [-9.0, 0.0, -9.0]
    model.params["0.weight"][0] = model.features[0] = [0.6, -0.8]
    assert model.revive(x[1:2]) == 1  # as many as there are samples
    np.testing.assert_array_equal(model.features, [[1, 0], [0, 1], [1, 0]])
    np.testing.assert_array_equal(model.params["0.bias"], [0, 0, -9.0])
    assert model.revive(np.array([[0.0, 1.0], [2.0, 0.0]])) == 1  # one dead only
    assert model.revive(np.array([[0.0, 1.0], [2.0, 0.0], [2.0, 0.0]])) == 1


def test_reviving_happens_in_the_first_half_only(monkeypatch):
    called = []
    monkeypatch.setattr(SparseAutoencoder, "revive", lambda self, x: called.append(len(x)))
    model = small()
    x = np.ones((4, 2))
    optimizer = StochasticGradientDescent(model, learning_rate=0.01)
    rng = np.random.default_rng(0)
    train_autoencoder(model, optimizer, x, epochs=5, batch_size=2, rng=rng)
    assert called == []
    for epochs in (4, 5):
        called.clear()
        train_autoencoder(model, optimizer, x, epochs=epochs, batch_size=2, rng=rng, revive=True)
        assert called == [4, 4]


def test_a_silent_feature_gets_no_gradient():
    model = small()
    model.forward(np.array([[0.0, 2.0], [0.0, 3.0]]))
    model.backward(np.ones((2, 2)))
    assert not model.grads["3.weight"][:, [0, 2]].any()
    assert not model.grads["0.weight"][[0, 2]].any()
    assert not model.grads["0.bias"][[0, 2]].any()


def test_the_input_is_not_changed_and_float32_stays(rng):
    model = SparseAutoencoder(4, 6, 2, rng=rng)
    x = rng.standard_normal((5, 4), dtype=np.float32)
    kept = x.copy()
    optimizer = Momentum(model, learning_rate=0.1)
    train_autoencoder(model, optimizer, x, epochs=2, batch_size=2, rng=rng, revive=True)
    np.testing.assert_array_equal(x, kept)
    assert model.forward(x).dtype == model.code.dtype == np.float32
    assert model.backward(x).dtype == np.float32
    assert {theta.dtype for theta in model.params.values()} == {np.dtype(np.float32)}


def test_bad_input(rng):
    with pytest.raises(ValueError, match="n_in must be at least 1, got 0"):
        SparseAutoencoder(0, 3, 1, rng=rng)
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k must be 1 to n_features = 3, got {k}"):
            SparseAutoencoder(2, 3, k, rng=rng)
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got int64"):
        SparseAutoencoder(2, 3, 1, rng=rng, dtype=np.int64)
    model = small()
    before = {name: theta.copy() for name, theta in model.params.items()}
    optimizer = StochasticGradientDescent(model, learning_rate=0.1)
    with pytest.raises(RuntimeError, match="forward first"):
        model.backward(np.ones((1, 2)))
    for x, epochs, batch_size, error, match in [
        (np.ones((4, 2)), 0, 2, ValueError, "epochs must be at least 1, got 0"),
        (np.ones((4, 2)), 1, 5, ValueError, "batch_size"),
        (np.ones((4, 3)), 1, 2, ValueError, r"x must be \(N ≥ 1, 2\)"),
        (np.ones((4, 2), dtype=np.float32), 1, 2, TypeError, "x must be float64"),
        (np.array([[1.0, 1.0], [1.0, np.inf]]), 1, 1, ValueError, "x must be finite"),
    ]:
        with pytest.raises(error, match=match):
            train_autoencoder(model, optimizer, x, epochs=epochs, batch_size=batch_size, rng=rng)
    for name, theta in model.params.items():
        np.testing.assert_array_equal(theta, before[name])
    with pytest.raises(ValueError, match=r"found must be \(F, in\) like planted"):
        matched_cosines(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="found must be"):
        matched_cosines(np.ones(3), np.ones((2, 3)))
    with pytest.raises(ValueError, match="found must hold at least 2 features, got 1"):
        matched_cosines(np.ones((2, 3)), np.ones((1, 3)))
